/* Bytes and metadata of all sizes, whole and in ranges. */
#include "cli/selftest/selftest.h"

#include <floe/base/assert.h>

#include <stdio.h>
#include <stdlib.h>

#define LARGEST (16u << 20)

static const uint32_t sizes[] = {0, 1, 17, 4095, 4096, 65537, 1u << 20, (5u << 20) + 3, LARGEST};

struct range {
    int64_t offset;
    uint64_t length;
};

/* What lies in the range of an object of n bytes. */
static struct floe_slice expected(const uint8_t *p, uint64_t n, const struct range *r)
{
    uint64_t from = r->offset >= 0 ? (uint64_t)r->offset : n - FLOE_MIN(n, (uint64_t)-r->offset);
    if (from >= n)
        return floe_slice(p, 0);
    return floe_slice(p + from, (size_t)FLOE_MIN(r->length, n - from));
}

static void check_range(struct st *st, struct st_client *c, const char *key, const uint8_t *p, uint64_t n,
                        const struct range *range)
{
    struct floe_store_req r = st_req(FLOE_STORE_GET, "%s", key);
    struct floe_slice want = expected(p, n, range);
    r.offset = range->offset;
    r.length = range->length;
    r.timeout_us *= 3;
    enum floe_err e = st_do(c, &r);
    if (e == FLOE_OK && floe_slice_eq(floe_slice(r.data->data, r.data->n), want))
        st_kept(st, ST_BYTES);
    else if (e == FLOE_OK || e == FLOE_ECORRUPT || e == FLOE_EUNSUPPORTED || e == FLOE_ETOOLARGE)
        st_broke(st, ST_BYTES,
                 "a GET of %llu bytes at %lld of an object of %llu bytes gave other bytes%s%.160s",
                 (unsigned long long)range->length, (long long)range->offset, (unsigned long long)n,
                 e == FLOE_OK ? "" : ": ", e == FLOE_OK ? "" : r.err.msg);
    floe_store_req_fini(&r);
}

static void check_head(struct st *st, struct st_client *c, const char *key, const char *nonce,
                       const char *version, uint64_t n)
{
    struct floe_store_req r = st_req(FLOE_STORE_HEAD, "%s", key);
    if (st_do(c, &r) == FLOE_OK) {
        if (strcmp(r.got_nonce, nonce) != 0)
            st_broke(st, ST_BYTES, "an object's metadata is \"%.30s\" instead of \"%s\"", r.got_nonce, nonce);
        else if (r.size != n)
            st_broke(st, ST_BYTES, "a HEAD says that an object of %llu bytes has %llu", (unsigned long long)n,
                     (unsigned long long)r.size);
        else if (strcmp(r.version, version) != 0)
            st_broke(st, ST_BYTES, "a HEAD names another version than the PUT's answer did");
        else
            st_kept(st, ST_BYTES);
    }
    floe_store_req_fini(&r);
}

static void one_size(struct st *st, struct st_client *c, const uint8_t *p, uint32_t n, uint32_t round)
{
    char key[64], nonce[ST_ID_MAX];
    struct floe_bufslice body;
    const struct range ranges[] = {
        {0, n > 0 ? n : 1},         /* all */
        {0, 1},                     /* the first byte */
        {n / 3, 4096},              /* in the middle, or across the end */
        {n > 10 ? n - 10 : 0, 100}, /* across the end */
        {n, 10},                    /* at the end: nothing */
        {(int64_t)n + 5, 10},       /* past it: nothing */
        {-100, 100},                /* the last ones */
    };
    st_id_text(nonce, (UINT64_C(4) << 32) + round);
    (void)snprintf(key, sizeof key, "bytes/%06u-%u", round, n);
    struct floe_store_req put = st_put(&body, nonce, FLOE_PUT_CREATE, NULL, key);
    body = (struct floe_bufslice){.p = p, .n = n};
    put.timeout_us *= 3;
    if (st_do(c, &put) != FLOE_OK) {
        st_refused(st, ST_BYTES, &put);
        return;
    }
    check_head(st, c, key, nonce, put.version, n);
    for (size_t i = 0; i < FLOE_COUNTOF(ranges) && !st_stop && !st_broken(st); i++)
        check_range(st, c, key, p, n, &ranges[i]);
}

void st_bytes(struct st *st, uint32_t store, uint64_t us)
{
    struct st_client *c = &st->client[store];
    uint64_t until = st_now_us() + us, slowest = 0;
    uint8_t *p = malloc(LARGEST);
    FLOE_ASSERT(p != NULL);
    floe_rng_bytes(&floe_loop_uv_base(c->uv)->rng, p, LARGEST);
    for (uint32_t round = 0; st_goes_on(st, UINT64_MAX); round++) {
        uint32_t i = round % FLOE_COUNTOF(sizes);
        uint64_t from = st_now_us();
        if (round > 0 && i == 0 && from > until)
            break;
        /* Each small size once at least; a large one where the time may last. */
        if (sizes[i] > (1u << 20) && from + slowest * 4 > until)
            continue;
        if (round >= FLOE_COUNTOF(sizes) && from > until)
            break;
        one_size(st, c, p, sizes[i], round);
        slowest = st_now_us() - from;
        st_progress(st, "%u objects of 0 to 16 MiB read in ranges", round + 1);
    }
    free(p);
}
