/* Conditional writes raced by several processes. */
#include "cli/selftest/selftest.h"

#include <floe/base/assert.h>

#include <stdio.h>
#include <stdlib.h>

#define KEYS 8 /* of one round */
#define COUNTERS 2
#define COUNT_US (400u * 1000)
#define JOB_LIMIT_US (30u * 1000 * 1000)

struct race {
    struct st *st;
    struct st_client *c;
    struct st_child child[ST_WORKERS];
    uint32_t round;
    uint64_t next_id; /* of the parent's own writes */
    struct st_events h;
    uint64_t writes;
};

static bool start_workers(struct race *r, uint32_t store)
{
    struct st_settings settings;
    char url[FLOE_CONFIG_PATH_MAX + 64], number[16];
    struct floe_error err;
    st_url_below(url, r->st, &r->st->url[store], "");
    for (uint32_t i = 0; i < ST_WORKERS; i++) {
        const char *args[ST_ARGS_MAX] = {"floe", "selftest", "worker", number, "--store", url};
        uint32_t n = 6;
        char log[32];
        (void)snprintf(number, sizeof number, "%u", i);
        (void)snprintf(log, sizeof log, "worker-%u-%u.log", store, i);
        st_settings_args(r->st, &settings, args, &n);
        if (st_spawn(r->st, &r->child[i], args, log, true, &err) != FLOE_OK) {
            st_fail(r->st, "%s", err.msg);
            return false;
        }
    }
    return true;
}

/* All workers do the job; their events are in r->h. */
static bool run_job(struct race *r, enum st_job_kind kind, uint32_t count)
{
    struct st_child *all[ST_WORKERS];
    struct st_job job = {
        .kind = kind, .round = r->round, .count = count, .workers = ST_WORKERS, .run_us = COUNT_US};
    struct floe_error err;
    r->h.n = 0;
    for (uint32_t i = 0; i < ST_WORKERS; i++) {
        all[i] = &r->child[i];
        (void)st_child_tell(all[i], &job, sizeof job);
    }
    if (st_children_read(all, ST_WORKERS, &r->h, ST_WORKERS, st_now_us() + JOB_LIMIT_US, &err) == FLOE_OK)
        return true;
    if (err.code != FLOE_ECANCELLED)
        st_fail(r->st, "%s", err.msg);
    return false;
}

static struct st_end end_of(const struct floe_store_req *get)
{
    struct st_end end = {.there = get->err.code == FLOE_OK,
                         .known = get->err.code == FLOE_OK || get->err.code == FLOE_ENOTFOUND};
    if (!end.there)
        return end;
    end.named = st_id_of(get->got_nonce, &end.id);
    if (!st_counter_of(get->data, get->got_nonce, &end.value))
        end.value = 0; /* no counter */
    return end;
}

static bool by_item(const struct race *r, uint32_t item, struct st_events *out)
{
    out->n = 0;
    for (size_t i = 0; i < r->h.n; i++)
        if (r->h.e[i].item == item && !st_events_add(out, &r->h.e[i]))
            return false;
    return true;
}

static void judge(struct race *r, bool ok, const struct st_breach *b, enum st_promise kept)
{
    if (ok)
        st_kept(r->st, kept);
    else
        st_broke(r->st, b->promise, "%s", b->why);
}

/* Reads what the round's keys hold now. */
static void read_keys(struct race *r, const char *folder, uint32_t count, struct st_end *end)
{
    static struct floe_store_req get[KEYS];
    for (uint32_t i = 0; i < count; i++)
        get[i] = st_req(FLOE_STORE_GET, "%s/%08u/%02u", folder, r->round, i);
    st_ask(r->c, get, count);
    for (uint32_t i = 0; i < count; i++) {
        end[i] = end_of(&get[i]);
        if (get[i].err.code == FLOE_ECORRUPT)
            st_broke(r->st, ST_BYTES, "%s", get[i].err.msg);
        floe_store_req_fini(&get[i]);
    }
}

static void create_round(struct race *r, enum st_job_kind kind)
{
    struct st_end end[KEYS];
    struct st_events some = {0};
    uint64_t first[KEYS] = {0};
    r->round++;
    if (kind == ST_JOB_RECREATE) { /* the keys are there when the race begins */
        static struct floe_store_req put[KEYS];
        struct floe_bufslice body[KEYS];
        char text[KEYS][ST_ID_MAX], key[64];
        for (uint32_t i = 0; i < KEYS; i++) {
            first[i] = r->next_id++;
            st_id_text(text[i], first[i]);
            (void)snprintf(key, sizeof key, "race/%08u/%02u", r->round, i);
            put[i] = st_put(&body[i], text[i], FLOE_PUT_CREATE, NULL, key);
        }
        st_ask(r->c, put, KEYS);
        for (uint32_t i = 0; i < KEYS; i++) {
            if (put[i].err.code != FLOE_OK)
                first[i] = 0;
            floe_store_req_fini(&put[i]);
        }
    }
    if (!run_job(r, kind, KEYS))
        return;
    r->writes += r->h.n;
    read_keys(r, "race", KEYS, end);
    for (uint32_t i = 0; i < KEYS && !st_broken(r->st); i++) {
        struct st_breach b;
        if (kind == ST_JOB_RECREATE && first[i] == 0)
            continue;
        if (!by_item(r, i, &some)) {
            st_fail(r->st, "out of memory for the history");
            break;
        }
        judge(r, st_check_create(some.e, some.n, kind == ST_JOB_RECREATE, first[i], &end[i], &b), &b,
              ST_CREATE);
    }
    r->st->figures.create_rounds += KEYS;
    free(some.e);
}

static void count_round(struct race *r)
{
    struct st_end end[COUNTERS];
    struct st_events some = {0};
    r->round++;
    for (uint32_t i = 0; i < COUNTERS; i++) {
        char text[ST_ID_MAX], key[64];
        struct floe_bufslice body;
        st_id_text(text, r->next_id++);
        (void)snprintf(key, sizeof key, "count/%08u/%02u", r->round, i);
        struct floe_store_req put = st_put(&body, text, FLOE_PUT_CREATE, NULL, key);
        char number[ST_COUNTER_MAX];
        st_counter_text(number, 0, text, &body);
        put.attempts = 5;
        enum floe_err e = st_do(r->c, &put);
        floe_store_req_fini(&put);
        if (e != FLOE_OK)
            return; /* passing trouble: the next round */
    }
    if (!run_job(r, ST_JOB_COUNT, COUNTERS))
        return;
    read_keys(r, "count", COUNTERS, end);
    for (uint32_t i = 0; i < COUNTERS && !st_broken(r->st); i++) {
        struct st_breach b;
        if (!by_item(r, i, &some)) {
            st_fail(r->st, "out of memory for the history");
            break;
        }
        judge(r, st_check_counter(some.e, some.n, &end[i], &b), &b, ST_REPLACE);
        r->st->figures.counter_writes += end[i].value;
        r->writes += some.n / 2;
    }
    free(some.e);
}

/* What one writer alone must see: an object is there, a version is stale, none is there. */
static void refusals(struct race *r)
{
    char key[64], text[4][ST_ID_MAX];
    struct floe_bufslice body;
    r->round++;
    (void)snprintf(key, sizeof key, "alone/%08u", r->round);
    for (int i = 0; i < 4; i++)
        st_id_text(text[i], r->next_id++);
    struct floe_store_req a =
        st_put(&body, text[0], FLOE_PUT_REPLACE, "0123456789abcdef0123456789abcdef", key);
    if (st_do(r->c, &a) == FLOE_OK)
        st_broke(r->st, ST_REPLACE, "a replacing write created an object that was not there");
    floe_store_req_fini(&a);
    a = st_put(&body, text[0], FLOE_PUT_CREATE, NULL, key);
    if (st_do(r->c, &a) != FLOE_OK)
        return;
    struct floe_store_req b = st_put(&body, text[1], FLOE_PUT_CREATE, NULL, key);
    if (st_do(r->c, &b) == FLOE_OK)
        st_broke(r->st, ST_CREATE, "a create-only write overwrote an object");
    b = st_put(&body, text[2], FLOE_PUT_REPLACE, a.version, key);
    if (st_do(r->c, &b) == FLOE_ECONFLICT)
        st_broke(r->st, ST_REPLACE, "a write was refused although it named the current version");
    struct floe_store_req s = st_put(&body, text[3], FLOE_PUT_REPLACE, a.version, key);
    if (b.err.code == FLOE_OK && st_do(r->c, &s) == FLOE_OK)
        st_broke(r->st, ST_REPLACE, "a write replaced a version that was no longer there");
    else
        st_kept(r->st, ST_REPLACE);
}

void st_races(struct st *st, uint32_t store, uint64_t us)
{
    uint64_t until = st_now_us() + us;
    struct race *r = calloc(1, sizeof *r);
    FLOE_ASSERT(r != NULL);
    r->st = st;
    r->c = &st->client[store];
    r->next_id = UINT64_C(1) << 32;
    if (start_workers(r, store)) {
        for (uint32_t turn = 0; st_goes_on(st, until); turn++) {
            if (turn % 8 == 3)
                count_round(r);
            else if (turn % 8 == 5)
                refusals(r);
            else
                create_round(r, turn % 8 == 6 ? ST_JOB_RECREATE : ST_JOB_CREATE);
            st_progress(st, "%llu races to create, %llu counted writes",
                        (unsigned long long)st->figures.create_rounds,
                        (unsigned long long)st->figures.counter_writes);
        }
    }
    for (uint32_t i = 0; i < ST_WORKERS; i++)
        (void)st_child_end(&r->child[i], SIGKILL, 0);
    free(r->h.e);
    free(r);
}
