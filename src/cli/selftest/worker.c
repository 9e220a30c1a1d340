/* One of the racing processes: does the jobs that come on stdin and tells what it saw on stdout. */
#include "cli/selftest/selftest.h"

#include <floe/base/assert.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ITEMS_MAX 16

extern char **environ;

struct worker {
    struct st_client c;
    uint32_t index;
    uint64_t next_id;
};

void st_id_text(char out[ST_ID_MAX], uint64_t id)
{
    (void)snprintf(out, ST_ID_MAX, "st-%016llx", (unsigned long long)id);
}

bool st_id_of(const char *nonce, uint64_t *id)
{
    uint8_t raw[8];
    if (strlen(nonce) != ST_ID_LENGTH || strncmp(nonce, "st-", 3) != 0 ||
        !floe_hex_decode(raw, nonce + 3, sizeof raw))
        return false;
    *id = floe_be64(raw);
    return true;
}

void st_counter_text(char out[ST_COUNTER_MAX], uint64_t value, const char *nonce, struct floe_bufslice *body)
{
    int n = snprintf(out, ST_COUNTER_MAX, "%llu %s", (unsigned long long)value, nonce);
    *body = (struct floe_bufslice){.p = (const uint8_t *)out, .n = (size_t)n};
}

bool st_counter_of(const struct floe_buf *data, const char *nonce, uint64_t *value)
{
    char text[ST_COUNTER_MAX] = "";
    if (data->n >= sizeof text)
        return false;
    memcpy(text, data->data, data->n);
    char *space = strchr(text, ' ');
    if (space == NULL || strcmp(space + 1, nonce) != 0)
        return false;
    *space = '\0';
    return floe_str_parse_u64(text, value, NULL) == FLOE_OK;
}

void st_tell(const struct st_event *e)
{
    if (write(STDOUT_FILENO, e, sizeof *e) != (ssize_t)sizeof *e)
        _exit(1); /* the parent is gone */
}

static void fail(const struct floe_error *err)
{
    struct st_event e = {.op = ST_OP_FAILED, .err = err->code};
    (void)snprintf(e.text, sizeof e.text, "%.120s", err->msg);
    (void)fprintf(stderr, "%s\n", err->msg);
    st_tell(&e);
    _exit(1);
}

/* An answer that neither says yes, nor no, nor "perhaps": the test cannot go on. */
static void must_be_answer(const struct floe_store_req *r)
{
    enum floe_err e = r->err.code;
    if (e != FLOE_OK && e != FLOE_EEXISTS && e != FLOE_ECONFLICT && e != FLOE_ENOTFOUND &&
        e != FLOE_ECORRUPT && !st_is_trouble(e))
        fail(&r->err);
}

static struct st_event event(const struct worker *w, enum st_op op, uint32_t item,
                             const struct floe_store_req *r, uint64_t start, uint64_t id)
{
    return (struct st_event){.op = op,
                             .worker = w->index,
                             .item = item,
                             .err = r->err.code,
                             .start_us = start,
                             .end_us = st_now_us(),
                             .id = id};
}

/* All keys of the round at once, each worker beginning elsewhere. */
static void create(struct worker *w, const struct st_job *job, bool deleting)
{
    static struct floe_store_req r[ITEMS_MAX];
    struct floe_bufslice body[ITEMS_MAX];
    char text[ITEMS_MAX][ST_ID_MAX];
    uint64_t id[ITEMS_MAX], start = st_now_us();
    uint32_t n = FLOE_MIN(job->count, (uint32_t)ITEMS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t item = deleting ? i : (i + w->index) % n;
        char key[64];
        id[i] = w->next_id++;
        st_id_text(text[i], id[i]);
        (void)snprintf(key, sizeof key, "race/%08u/%02u", job->round, item);
        r[i] = deleting ? st_req(FLOE_STORE_DELETE, "%s", key)
                        : st_put(&body[i], text[i], FLOE_PUT_CREATE, NULL, key);
        if (deleting)
            r[i].attempts = 1;
    }
    st_ask(&w->c, r, n);
    for (uint32_t i = 0; i < n; i++) {
        must_be_answer(&r[i]);
        struct st_event e = event(w, deleting ? ST_OP_DELETE : ST_OP_CREATE,
                                  deleting ? i : (i + w->index) % n, &r[i], start, id[i]);
        st_tell(&e);
        floe_store_req_fini(&r[i]);
    }
}

/* Reads the counter; false where there is none to be replaced. */
static bool read_counter(struct worker *w, const char *key, uint32_t item, uint64_t *value,
                         char version[FLOE_STORE_VERSION_MAX])
{
    uint64_t start = st_now_us();
    struct floe_store_req get = st_req(FLOE_STORE_GET, "%s", key);
    (void)st_do(&w->c, &get);
    must_be_answer(&get);
    struct st_event e = event(w, ST_OP_READ, item, &get, start, 0);
    bool ok = get.err.code == FLOE_OK;
    if (ok && !(st_id_of(get.got_nonce, &e.id) && st_counter_of(get.data, get.got_nonce, value))) {
        e.err = FLOE_ECORRUPT;
        ok = false;
    }
    e.value = *value;
    memcpy(version, get.version, FLOE_STORE_VERSION_MAX);
    st_tell(&e);
    floe_store_req_fini(&get);
    return ok;
}

static void count(struct worker *w, const struct st_job *job)
{
    uint64_t until = st_now_us() + job->run_us;
    for (uint32_t turn = 0; st_now_us() < until; turn++) {
        uint32_t item = (turn + w->index) % job->count;
        char key[64], text[ST_ID_MAX], number[ST_COUNTER_MAX], version[FLOE_STORE_VERSION_MAX];
        uint64_t value = 0, id = w->next_id;
        (void)snprintf(key, sizeof key, "count/%08u/%02u", job->round, item);
        if (!read_counter(w, key, item, &value, version))
            continue;
        w->next_id++;
        st_id_text(text, id);
        struct floe_bufslice body;
        uint64_t start = st_now_us();
        struct floe_store_req put = st_put(&body, text, FLOE_PUT_REPLACE, version, key);
        st_counter_text(number, value + 1, text, &body);
        (void)st_do(&w->c, &put);
        must_be_answer(&put);
        struct st_event e = event(w, ST_OP_REPLACE, item, &put, start, id);
        e.value = value + 1;
        st_tell(&e);
        floe_store_req_fini(&put);
    }
}

/* argv: the worker's number, then the store's settings. */
int st_worker_main(int argc, char **argv)
{
    static struct floe_config cfg;
    struct worker w = {.index = 0};
    struct floe_error err = {0};
    struct st_job job;
    uint64_t index = 0;
    if (argc < 1 || floe_str_parse_u64(argv[0], &index, NULL) != FLOE_OK)
        return 2;
    w.index = (uint32_t)index;
    w.next_id = (index + 1) << 40;
    if (floe_config_load(&cfg, argc - 1, argv + 1, environ, &err) != FLOE_OK ||
        st_client_open(&w.c, NULL, &cfg, &cfg.store, &err) != FLOE_OK)
        fail(&err);
    while (read(STDIN_FILENO, &job, sizeof job) == (ssize_t)sizeof job) {
        if (job.kind == ST_JOB_COUNT)
            count(&w, &job);
        else
            create(&w, &job, job.kind == ST_JOB_RECREATE && w.index == job.round % job.workers);
        struct st_event done = {.op = ST_OP_DONE, .worker = w.index};
        st_tell(&done);
    }
    st_client_close(&w.c);
    return 0;
}
