/* Latency and throughput of PUTs and GETs, one and four at a time. */
#include "cli/selftest/selftest.h"

#include <floe/base/assert.h>

#include <stdio.h>
#include <stdlib.h>

#define FLIGHT_MAX 4
#define REQUESTS_MIN 4
#define KEYS_BYTES (256u << 20) /* what a cell leaves in the store until the end */

const uint32_t st_size[ST_SIZES] = {4096, 1u << 20, 8u << 20};

/* One cell of the table: requests of one kind and size, so many at a time. */
struct cell {
    struct st_client *c;
    enum floe_store_kind kind;
    uint32_t size, width;
    const uint8_t *bytes;
    uint32_t keys; /* that many are there */
    uint64_t until;
    uint32_t running, started, failed;
    double *ms;
    uint32_t n;
    struct slot {
        struct cell *cell;
        struct floe_store_req r;
        struct floe_bufslice body;
        uint64_t from;
    } slot[FLIGHT_MAX];
};

static void start(struct slot *s);

static void on_done(struct floe_store_req *r)
{
    struct slot *s = r->user;
    struct cell *k = s->cell;
    uint64_t now = st_now_us();
    if (r->err.code != FLOE_OK)
        k->failed++;
    else if (k->n < ST_LATENCIES_MAX)
        k->ms[k->n++] = (double)(now - s->from) / 1000;
    floe_store_req_fini(r);
    if (!st_stop && k->failed < 100 && (now < k->until || k->started < REQUESTS_MIN) &&
        k->n < ST_LATENCIES_MAX)
        start(s);
    else if (--k->running == 0)
        floe_loop_uv_stop(k->c->uv);
}

static void start(struct slot *s)
{
    struct cell *k = s->cell;
    uint32_t i = k->started++, most = k->kind == FLOE_STORE_GET ? k->keys : KEYS_BYTES / k->size;
    bool again = i >= most;
    i %= most;
    s->r = st_req(k->kind, "speed/%u/%u/%08u", k->size, k->width, i);
    s->r.done = on_done;
    s->r.user = s;
    s->r.attempts = 1;
    s->r.timeout_us *= 3;
    s->r.length = k->size;
    if (k->kind == FLOE_STORE_PUT) {
        s->body = (struct floe_bufslice){.p = k->bytes, .n = k->size};
        s->r.cond = again ? FLOE_PUT_ANY : FLOE_PUT_CREATE;
        s->r.body = &s->body;
        s->r.body_count = 1;
        st_id_text(s->r.nonce, ((uint64_t)k->size << 32) + i);
    }
    s->from = st_now_us();
    floe_store_submit(k->c->s, &s->r);
}

static struct st_latency run(struct cell *k)
{
    uint64_t from = st_now_us();
    k->running = k->width;
    for (uint32_t i = 0; i < k->width; i++) {
        k->slot[i].cell = k;
        start(&k->slot[i]);
    }
    floe_loop_uv_run(k->c->uv);
    if (k->kind == FLOE_STORE_PUT)
        k->keys = FLOE_MIN(k->started, KEYS_BYTES / k->size);
    return st_latency_of(k->ms, k->n, (uint64_t)k->n * k->size, (double)(st_now_us() - from) / 1e6);
}

static int by_value(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

struct st_latency st_latency_of(double *ms, uint32_t n, uint64_t bytes, double seconds)
{
    struct st_latency l = {.n = n};
    if (n == 0)
        return l;
    qsort(ms, n, sizeof *ms, by_value);
    l.p50_ms = ms[(n - 1) / 2];
    l.p90_ms = ms[(uint32_t)(0.9 * (n - 1))];
    l.p99_ms = ms[(uint32_t)(0.99 * (n - 1))];
    l.max_ms = ms[n - 1];
    l.mb_s = seconds > 0 ? (double)bytes / 1e6 / seconds : 0;
    return l;
}

void st_speed(struct st *st, uint64_t us)
{
    struct cell *k = malloc(sizeof *k);
    double *ms = malloc(ST_LATENCIES_MAX * sizeof *ms);
    uint8_t *bytes = malloc(st_size[ST_SIZES - 1]);
    uint64_t each = us / (ST_SIZES * 4);
    FLOE_ASSERT(k != NULL && ms != NULL && bytes != NULL);
    floe_rng_bytes(&floe_loop_uv_base(st->client[0].uv)->rng, bytes, st_size[ST_SIZES - 1]);
    for (uint32_t i = 0; i < ST_SIZES * 2 && !st_stop; i++) {
        uint32_t size = i / 2, wide = i % 2;
        static const uint32_t widths[2] = {1, FLIGHT_MAX};
        *k = (struct cell){.c = &st->client[0],
                           .kind = FLOE_STORE_PUT,
                           .size = st_size[size],
                           .width = widths[wide],
                           .bytes = bytes,
                           .ms = ms,
                           .until = st_now_us() + each};
        st->figures.put[size][wide] = run(k);
        st_progress(st, "PUTs of %u KiB, %u at a time", st_size[size] >> 10, widths[wide]);
        uint32_t keys = k->keys;
        if (st->figures.put[size][wide].n == 0)
            continue;
        *k = (struct cell){.c = &st->client[0],
                           .kind = FLOE_STORE_GET,
                           .size = st_size[size],
                           .width = widths[wide],
                           .keys = keys,
                           .ms = ms,
                           .until = st_now_us() + each};
        st->figures.get[size][wide] = run(k);
        st_progress(st, "GETs of %u KiB, %u at a time", st_size[size] >> 10, widths[wide]);
    }
    free(bytes);
    free(ms);
    free(k);
}
