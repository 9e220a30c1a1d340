/* The table over the simulated store: every fault at every step of a write; a register and many writers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include <floe/base/assert.h>
#include <floe/sim.h>
#include <floe/table.h>

#include "table/envelope.h"

struct world {
    struct floe_sim *sim;
    struct floe_sim_bucket *bucket;
    struct floe_sim_node *node[2];
    struct floe_store *store[2];
    struct floe_table *table[2];
};
static void open_world(struct world *w, uint64_t seed)
{
    w->sim = floe_sim_create(seed);
    w->bucket = floe_sim_bucket_create(w->sim);
    for (int i = 0; i < 2; i++) {
        w->node[i] = floe_sim_node_create(w->sim, i ? "b" : "a");
        w->store[i] = floe_sim_store_create(w->bucket, w->node[i]);
        assert_int_equal(floe_table_store_create(&w->table[i], w->store[i], NULL), FLOE_OK);
    }
}
static void close_world(struct world *w)
{
    floe_table_store_destroy(&w->table[0]);
    floe_table_store_destroy(&w->table[1]);
    floe_sim_destroy(&w->sim);
}

static int answers;
static void on_done(struct floe_table_req *r)
{
    answers++;
    *(bool *)r->user = true;
}
static bool is_set(void *user)
{
    return *(bool *)user;
}
/* Runs the request to its end. */
static enum floe_err run(struct world *w, int i, struct floe_table_req *r)
{
    bool done = false;
    r->done = on_done;
    r->user = &done;
    floe_table_submit(w->table[i], r);
    assert_false(done);
    assert_true(floe_sim_run_until(w->sim, is_set, &done, 60000000));
    return r->err.code;
}
static enum floe_err put(struct world *w, int i, const char *key, const char *version, const char *value,
                         char out[FLOE_TABLE_VERSION_MAX])
{
    struct floe_table_req r = {.kind = FLOE_TABLE_PUT, .value = value, .value_n = strlen(value)};
    snprintf(r.key, sizeof r.key, "%s", key);
    snprintf(r.if_version, sizeof r.if_version, "%s", version);
    enum floe_err e = run(w, i, &r);
    if (e == FLOE_OK) {
        assert_true(r.version[0]);
        assert_true(r.first_sent_us > 0);
    } else {
        assert_true(r.err.msg[0]);
    }
    if (out)
        snprintf(out, FLOE_TABLE_VERSION_MAX, "%s", r.version);
    floe_table_req_fini(&r);
    return e;
}
static enum floe_err get(struct world *w, int i, const char *key, char *value, size_t n, char *version)
{
    struct floe_table_req r = {.kind = FLOE_TABLE_GET};
    snprintf(r.key, sizeof r.key, "%s", key);
    enum floe_err e = run(w, i, &r);
    if (e == FLOE_OK && value)
        snprintf(value, n, "%s", r.got);
    if (e == FLOE_OK && version)
        snprintf(version, FLOE_TABLE_VERSION_MAX, "%s", r.version);
    if (e)
        assert_non_null(strstr(r.err.msg, key));
    floe_table_req_fini(&r);
    return e;
}

/* Who is refused is told what is there. */
static void refused(struct world *w, const char *key, const char *version, const char *there,
                    const char *there_version)
{
    struct floe_table_req r = {.kind = FLOE_TABLE_PUT, .value = "9", .value_n = 1};
    snprintf(r.key, sizeof r.key, "%s", key);
    snprintf(r.if_version, sizeof r.if_version, "%s", version);
    assert_int_equal(run(w, 0, &r), version[0] ? FLOE_ECONFLICT : FLOE_EEXISTS);
    if (there != NULL) {
        assert_string_equal(r.got, there);
        assert_int_equal(r.got_n, strlen(there));
        assert_string_equal(r.version, there_version);
    } else {
        assert_null(r.got);
    }
    floe_table_req_fini(&r);
}

static void put_get_replace(void **state)
{
    (void)state;
    struct world w;
    char v1[FLOE_TABLE_VERSION_MAX], v2[FLOE_TABLE_VERSION_MAX], v[FLOE_TABLE_VERSION_MAX], text[64];
    open_world(&w, 1);
    assert_int_equal(get(&w, 0, "a/b", NULL, 0, NULL), FLOE_ENOTFOUND);
    assert_int_equal(put(&w, 0, "a/b", "", "{\"x\":1.50}", v1), FLOE_OK);
    assert_int_equal(put(&w, 1, "a/b", "", "{}", NULL), FLOE_EEXISTS);
    assert_int_equal(get(&w, 1, "a/b", text, sizeof text, v), FLOE_OK);
    assert_string_equal(text, "{\"x\":1.50}");
    assert_string_equal(v, v1);
    assert_int_equal(put(&w, 1, "a/b", v1, "{\"x\":1.50}", v2), FLOE_OK);
    assert_string_not_equal(v1, v2); /* equal values, other nonce, other version */
    assert_int_equal(put(&w, 0, "a/b", v1, "3", NULL), FLOE_ECONFLICT);
    assert_int_equal(put(&w, 0, "none", v1, "3", NULL), FLOE_ECONFLICT);
    refused(&w, "a/b", v1, "{\"x\":1.50}", v2);
    refused(&w, "a/b", "", "{\"x\":1.50}", v2);
    refused(&w, "none", v1, NULL, NULL);
    assert_int_equal(put(&w, 0, "a/b", v2, "not json", NULL), FLOE_EINVAL);
    close_world(&w);
}

static void a_large_value_is_read_whole_and_a_larger_one_refused(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 1);
    char *big = malloc(FLOE_TABLE_VALUE_MAX + 2), *back = malloc(FLOE_TABLE_VALUE_MAX + 2);
    memset(big, 'x', FLOE_TABLE_VALUE_MAX + 1);
    big[0] = big[FLOE_TABLE_VALUE_MAX] = '"';
    big[FLOE_TABLE_VALUE_MAX + 1] = '\0';
    assert_int_equal(put(&w, 0, "big", "", big, NULL), FLOE_ETOOLARGE);
    big[FLOE_TABLE_VALUE_MAX - 1] = '"';
    big[FLOE_TABLE_VALUE_MAX] = '\0';
    assert_int_equal(put(&w, 0, "big", "", big, NULL), FLOE_OK);
    assert_int_equal(get(&w, 1, "big", back, FLOE_TABLE_VALUE_MAX + 2, NULL), FLOE_OK);
    assert_string_equal(big, back);
    free(big);
    free(back);
    close_world(&w);
}

/* What each fault at the first PUT must end as: the write is retried and read back until it is decided. */
static void one_fault_at_a_write_is_resolved(void **state)
{
    (void)state;
    static const enum floe_sim_fault faults[] = {
        FLOE_SIM_LOST_REQUEST, FLOE_SIM_LOST_ANSWER, FLOE_SIM_BROKEN,       FLOE_SIM_LATE,
        FLOE_SIM_TWICE,        FLOE_SIM_E409,        FLOE_SIM_E409_APPLIED, FLOE_SIM_E500,
        FLOE_SIM_E500_APPLIED, FLOE_SIM_E503,        FLOE_SIM_REFUSED,      FLOE_SIM_HANG,
    };
    for (size_t f = 0; f < FLOE_COUNTOF(faults); f++) {
        for (int replace = 0; replace < 2; replace++) {
            struct world w;
            char v[FLOE_TABLE_VERSION_MAX] = "", got[FLOE_TABLE_VERSION_MAX], text[32];
            open_world(&w, 100 + f);
            if (replace)
                assert_int_equal(put(&w, 0, "k", "", "1", v), FLOE_OK);
            floe_sim_bucket_rule(w.bucket, &(struct floe_sim_rule){.fault = faults[f],
                                                                   .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                                                   .times = 1,
                                                                   .delay_us = 3000000});
            assert_int_equal(put(&w, 0, "k", v, "2", got), FLOE_OK);
            floe_sim_run_for(w.sim, 30000000); /* late copies land and change nothing */
            assert_int_equal(get(&w, 1, "k", text, sizeof text, v), FLOE_OK);
            assert_string_equal(text, "2");
            assert_string_equal(v, got);
            close_world(&w);
        }
    }
}

/* Another writer gets in between an ambiguous copy and its read-back. */
static void a_doubt_is_told_when_another_value_is_there(void **state)
{
    (void)state;
    struct world w;
    char v[FLOE_TABLE_VERSION_MAX];
    open_world(&w, 3);
    assert_int_equal(put(&w, 0, "k", "", "1", v), FLOE_OK);
    /* 500 without being applied, and b writes before a has read back. */
    floe_sim_bucket_rule(w.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_E500,
                                                           .node = w.node[0],
                                                           .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                                           .times = 1});
    floe_sim_bucket_rule(w.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_HANG,
                                                           .node = w.node[0],
                                                           .kinds = FLOE_SIM_KIND(FLOE_STORE_GET),
                                                           .times = 1,
                                                           .delay_us = 500000});
    bool done = false;
    struct floe_table_req r = {
        .kind = FLOE_TABLE_PUT, .key = "k", .value = "2", .value_n = 1, .done = on_done, .user = &done};
    snprintf(r.if_version, sizeof r.if_version, "%s", v);
    floe_table_submit(w.table[0], &r);
    floe_sim_run_for(w.sim, 100000);
    assert_int_equal(put(&w, 1, "k", v, "3", NULL), FLOE_OK);
    assert_true(floe_sim_run_until(w.sim, is_set, &done, 60000000));
    assert_int_equal(r.err.code, FLOE_EINDETERMINATE);
    floe_table_req_fini(&r);
    close_world(&w);
}

static void a_refusal_is_told_and_an_outage_ends_in_time(void **state)
{
    (void)state;
    static const struct {
        enum floe_sim_fault fault;
        enum floe_err put, get;
    } c[] = {
        {FLOE_SIM_DENIED, FLOE_EDENIED, FLOE_EDENIED},
        {FLOE_SIM_NOSPACE, FLOE_ENOSPACE, FLOE_ENOSPACE},
        {FLOE_SIM_REFUSED, FLOE_EREFUSED, FLOE_EREFUSED},
        {FLOE_SIM_LOST_REQUEST, FLOE_EINDETERMINATE, FLOE_ETIMEOUT},
        {FLOE_SIM_E503, FLOE_EINDETERMINATE, FLOE_EUNAVAILABLE},
        {FLOE_SIM_LOST_ANSWER, FLOE_EINDETERMINATE, FLOE_ETIMEOUT},
    };
    for (size_t i = 0; i < FLOE_COUNTOF(c); i++) {
        struct world w;
        open_world(&w, 7);
        floe_sim_bucket_rule(w.bucket, &(struct floe_sim_rule){.fault = c[i].fault});
        uint64_t t0 = floe_sim_now_us(w.sim);
        assert_int_equal(put(&w, 0, "k", "", "1", NULL), c[i].put);
        assert_int_equal(get(&w, 0, "k", NULL, 0, NULL), c[i].get);
        assert_true(floe_sim_now_us(w.sim) - t0 <= 21000000);
        close_world(&w);
    }
}

static void attempts_bound_the_copies(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 7);
    floe_sim_bucket_rule(
        w.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_E500, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT)});
    struct floe_table_req r = {.kind = FLOE_TABLE_PUT, .key = "k", .value = "2", .value_n = 1, .attempts = 2};
    assert_int_equal(run(&w, 0, &r), FLOE_EINDETERMINATE);
    assert_true(r.first_sent_us > 0);
    floe_table_req_fini(&r);
    floe_sim_bucket_heal(w.bucket);
    floe_sim_bucket_rule(w.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_REFUSED});
    r = (struct floe_table_req){.kind = FLOE_TABLE_PUT, .key = "k", .value = "2", .value_n = 1};
    assert_int_equal(run(&w, 0, &r), FLOE_EREFUSED);
    assert_int_equal(r.first_sent_us, 0); /* nothing went out */
    floe_table_req_fini(&r);
    close_world(&w);
}

static void submit_all(struct world *w, struct floe_table_req *r, bool *done, int n)
{
    for (int i = 0; i < n; i++) {
        r[i].done = on_done;
        r[i].user = &done[i];
        floe_table_submit(w->table[0], &r[i]);
    }
}
static void all_succeed(struct world *w, struct floe_table_req *r, bool *done, int n)
{
    for (int i = 0; i < n; i++) {
        assert_true(floe_sim_run_until(w->sim, is_set, &done[i], 60000000));
        assert_int_equal(r[i].err.code, FLOE_OK);
        floe_table_req_fini(&r[i]);
    }
}
/* A write, a scan and a read were lost in a silence of the store that another request has waited out. */
static void what_a_silence_swallowed_is_sent_anew_once_it_is_over(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 7);
    assert_int_equal(put(&w, 0, "old", "", "1", NULL), FLOE_OK);
    floe_sim_bucket_rule(w.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_LOST_REQUEST, .times = 4});
    uint64_t begun = floe_sim_now_us(w.sim);
    bool done[4] = {false};
    struct floe_table_req r[4] = {
        {.kind = FLOE_TABLE_PUT, .key = "k", .value = "2", .value_n = 1},
        {.kind = FLOE_TABLE_SCAN, .max_keys = 10},
        {.kind = FLOE_TABLE_DELETE, .key = "old"},
        {.kind = FLOE_TABLE_GET, .key = "old", .copy_us = 300000},
    };
    submit_all(&w, r, done, 4);
    all_succeed(&w, r, done, 4); /* each would have waited for two seconds */
    assert_in_range(floe_sim_now_us(w.sim) - begun, 300000, 700000);
    close_world(&w);
}

/* Everything that was asked was lost, and waits long; the store is back, which a probe finds out. */
static void a_store_that_is_back_is_soon_heard_of(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 7);
    assert_int_equal(put(&w, 0, "old", "", "1", NULL), FLOE_OK);
    floe_sim_bucket_rule(w.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_LOST_REQUEST});
    uint64_t begun = floe_sim_now_us(w.sim), gets = w.store[0]->stats.get;
    bool done[2] = {false};
    struct floe_table_req r[2] = {
        {.kind = FLOE_TABLE_GET, .key = "old", .timeout_us = 30000000, .copy_us = 10000000},
        {.kind = FLOE_TABLE_DELETE, .key = "old", .timeout_us = 30000000, .copy_us = 10000000},
    };
    submit_all(&w, r, done, 2);
    floe_sim_run_for(w.sim, 3200000);
    assert_in_range(w.store[0]->stats.get - gets, 6, 8); /* two of them the requests' own */
    floe_sim_bucket_heal(w.bucket);
    all_succeed(&w, r, done, 2); /* each would have waited for ten seconds */
    assert_in_range(floe_sim_now_us(w.sim) - begun, 3200000, 4200000);
    gets = w.store[0]->stats.get;
    floe_sim_run_for(w.sim, 10000000);
    assert_int_equal(w.store[0]->stats.get, gets); /* nobody waits: nothing is asked */
    close_world(&w);
}

static void a_corrupt_record_is_named(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "{}",
        "[]",
        "{\"nonce\":\"\",\"value\":1}",
        "{\"nonce\":7,\"value\":1}",
        "{\"nonce\":\"a\"}",
        "{\"nonce\":\"a\",\"value\":1,\"more\":2}",
        "{\"nonce\":\"a\",\"value\":1} x",
        "{\"nonce\":\"a\",\"nonce\":\"b\",\"value\":1}",
    };
    struct world w;
    char text[32], v[FLOE_TABLE_VERSION_MAX];
    open_world(&w, 1);
    for (size_t i = 0; i < FLOE_COUNTOF(bad); i++) {
        floe_sim_bucket_put(w.bucket, "table/bad", bad[i], strlen(bad[i]), "");
        assert_int_equal(get(&w, 0, "bad", NULL, 0, NULL), FLOE_ECORRUPT);
        assert_int_equal(put(&w, 0, "bad", "", "1", NULL), FLOE_ECORRUPT);
    }
    const char *good = " { \"value\" : { \"a\" : [ 1, 2 ] }, \"nonce\" : \"by hand\" } ";
    floe_sim_bucket_put(w.bucket, "table/bad", good, strlen(good), "");
    assert_int_equal(get(&w, 0, "bad", text, sizeof text, v), FLOE_OK);
    assert_string_equal(text, "{\"a\":[1,2]}");
    assert_int_equal(put(&w, 0, "bad", v, "1", NULL), FLOE_OK);
    /* Each cut of a good record is an error, never a crash. */
    struct floe_buf *b =
        floe_table_envelope_write("00112233445566778899aabbccddeeff", "{\"k\":[1,null]}", 14);
    for (size_t n = 0; n < b->n; n++) {
        struct floe_table_record rec;
        struct floe_error err;
        assert_int_equal(floe_table_envelope_read(&rec, "k", floe_slice(b->data, n), &err), FLOE_ECORRUPT);
    }
    floe_buf_unref(b);
    close_world(&w);
}

static void scan_pages_in_order(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 1);
    for (int i = 0; i < 7; i++) {
        char key[16];
        snprintf(key, sizeof key, "s/%d", (i * 3) % 7);
        assert_int_equal(put(&w, 0, key, "", "1", NULL), FLOE_OK);
    }
    assert_int_equal(put(&w, 0, "t", "", "1", NULL), FLOE_OK);
    struct floe_table_req r = {.kind = FLOE_TABLE_SCAN, .key = "s/", .max_keys = 3};
    int n = 0;
    do {
        assert_int_equal(run(&w, 1, &r), FLOE_OK);
        for (uint32_t i = 0; i < r.entry_count; i++) {
            char want[16], v[FLOE_TABLE_VERSION_MAX];
            snprintf(want, sizeof want, "s/%d", n++);
            assert_string_equal(r.entries[i].key, want);
            assert_int_equal(get(&w, 0, want, NULL, 0, v), FLOE_OK);
            assert_string_equal(r.entries[i].version, v);
            snprintf(r.start_after, sizeof r.start_after, "%s", want);
        }
        if (!r.truncated)
            break;
        floe_table_req_fini(&r);
    } while (true);
    assert_int_equal(n, 7);
    floe_table_req_fini(&r);
    close_world(&w);
}

static enum floe_err del(struct world *w, const char *key, const char *version)
{
    struct floe_table_req r = {.kind = FLOE_TABLE_DELETE};
    snprintf(r.key, sizeof r.key, "%s", key);
    snprintf(r.if_version, sizeof r.if_version, "%s", version);
    enum floe_err e = run(w, 0, &r);
    floe_table_req_fini(&r);
    return e;
}
static void delete_compares_first(void **state)
{
    (void)state;
    static const enum floe_sim_fault faults[] = {FLOE_SIM_NONE, FLOE_SIM_LOST_ANSWER, FLOE_SIM_E500,
                                                 FLOE_SIM_E500_APPLIED, FLOE_SIM_REFUSED};
    for (size_t f = 0; f < FLOE_COUNTOF(faults); f++) {
        struct world w;
        char v1[FLOE_TABLE_VERSION_MAX], v2[FLOE_TABLE_VERSION_MAX];
        open_world(&w, 20 + f);
        assert_int_equal(put(&w, 0, "k", "", "1", v1), FLOE_OK);
        assert_int_equal(put(&w, 0, "k", v1, "2", v2), FLOE_OK);
        assert_int_equal(del(&w, "k", v1), FLOE_ECONFLICT);
        floe_sim_bucket_rule(w.bucket, &(struct floe_sim_rule){.fault = faults[f],
                                                               .times = 1,
                                                               .kinds = FLOE_SIM_KIND(FLOE_STORE_DELETE)});
        assert_int_equal(del(&w, "k", v2), FLOE_OK);
        assert_int_equal(get(&w, 0, "k", NULL, 0, NULL), FLOE_ENOTFOUND);
        assert_int_equal(del(&w, "k", v2), FLOE_ENOTFOUND);
        close_world(&w);
    }
}

static void on_closed(void *user)
{
    *(bool *)user = true;
}
static void cancel_close_and_kill_answer_nothing(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        for (uint64_t at = 0; at < 40000; at += 1500) {
            struct world w;
            open_world(&w, 5);
            /* A 412 to itself: the work goes through sending and reading back. */
            floe_sim_bucket_rule(w.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_TWICE});
            bool done = false, closed = false;
            struct floe_table_req r = {.kind = FLOE_TABLE_PUT,
                                       .key = "k",
                                       .value = "2",
                                       .value_n = 1,
                                       .done = on_done,
                                       .user = &done};
            floe_table_submit(w.table[0], &r);
            floe_sim_run_for(w.sim, at);
            bool before = done;
            if (how == 0 && !done)
                floe_table_cancel(w.table[0], &r);
            if (how == 1)
                floe_table_close(w.table[0], on_closed, &closed);
            if (how == 2)
                floe_sim_node_kill(w.node[0]);
            floe_sim_run_for(w.sim, 20000000);
            assert_int_equal(done, before);
            assert_int_equal(closed, how == 1);
            if (how == 1)
                w.table[0] = NULL;
            if (how == 2 && !done)
                floe_table_cancel(w.table[0], &r);
            floe_table_req_fini(&r);
            close_world(&w);
        }
    }
}

/* Many writers append their own number to one list by compare-and-set, under every fault. The list only
 * grows, so its end tells of each write whether it was applied. */
#define OPS 200
struct writer {
    struct world *w;
    int i;
    struct floe_table_req r;
    char *text, version[FLOE_TABLE_VERSION_MAX];
    int *next, op;
    enum floe_err *verdict;
};
static void writer_read(struct writer *me);
static void writer_put_done(struct floe_table_req *r)
{
    struct writer *me = r->user;
    me->verdict[me->op] = r->err.code;
    floe_table_req_fini(r);
    free(me->text);
    me->text = NULL;
    if (*me->next < OPS)
        writer_read(me);
}
static void writer_got(struct floe_table_req *r)
{
    struct writer *me = r->user;
    enum floe_err e = r->err.code;
    char *old = r->got;
    r->got = NULL;
    snprintf(me->version, sizeof me->version, "%s", e == FLOE_OK ? r->version : "");
    floe_table_req_fini(r);
    if (e != FLOE_OK && e != FLOE_ENOTFOUND) {
        free(old);
        writer_read(me);
        return;
    }
    if (*me->next >= OPS) {
        free(old);
        return;
    }
    me->op = (*me->next)++;
    size_t n = (old ? strlen(old) : 2) + 16;
    me->text = malloc(n);
    if (old)
        snprintf(me->text, n, "%.*s,%d]", (int)strlen(old) - 1, old, me->op);
    else
        snprintf(me->text, n, "[%d]", me->op);
    free(old);
    me->r = (struct floe_table_req){.kind = FLOE_TABLE_PUT,
                                    .key = "list",
                                    .value = me->text,
                                    .value_n = strlen(me->text),
                                    .timeout_us = 2000000,
                                    .done = writer_put_done,
                                    .user = me};
    snprintf(me->r.if_version, sizeof me->r.if_version, "%s", me->version);
    floe_table_submit(me->w->table[me->i], &me->r);
}
static void writer_read(struct writer *me)
{
    me->r = (struct floe_table_req){.kind = FLOE_TABLE_GET, .key = "list", .done = writer_got, .user = me};
    floe_table_submit(me->w->table[me->i], &me->r);
}
static uint64_t register_run(uint64_t seed, int tally[FLOE_ERR_COUNT])
{
    struct world w;
    struct writer writer[4];
    enum floe_err verdict[OPS];
    int next = 0, seen[OPS] = {0};
    open_world(&w, seed);
    struct floe_sim_bucket_config cfg = {.late_us_max = 4000000};
    for (int f = FLOE_SIM_LOST_REQUEST; f <= FLOE_SIM_REFUSED; f++)
        cfg.ppm[f] = f == FLOE_SIM_DENIED || f == FLOE_SIM_NOSPACE || f == FLOE_SIM_TWICE ? 0 : 30000;
    cfg.ppm[FLOE_SIM_TRUNCATED] = cfg.ppm[FLOE_SIM_HANG] = 30000;
    floe_sim_bucket_configure(w.bucket, &cfg);
    for (int i = 0; i < 4; i++) {
        writer[i] = (struct writer){.w = &w, .i = i % 2, .next = &next, .verdict = verdict};
        writer_read(&writer[i]);
    }
    while (floe_sim_step(w.sim))
        ;
    floe_sim_bucket_heal(w.bucket);
    char *list = malloc(1 << 16);
    assert_int_equal(get(&w, 0, "list", list, 1 << 16, NULL), FLOE_OK);
    for (char *p = list + 1; *p; p += strcspn(p, ",]") + 1)
        seen[atoi(p)]++;
    free(list);
    for (int i = 0; i < OPS; i++) {
        tally[verdict[i]]++;
        if (verdict[i] == FLOE_OK)
            assert_int_equal(seen[i], 1);
        else if (verdict[i] == FLOE_EINDETERMINATE)
            assert_true(seen[i] <= 1);
        else
            assert_int_equal(seen[i], 0);
    }
    uint64_t h = floe_sim_hash(w.sim);
    close_world(&w);
    return h;
}
static void a_register_under_faults_is_linearizable(void **state)
{
    (void)state;
    int tally[FLOE_ERR_COUNT] = {0};
    for (uint64_t seed = 1; seed <= 60; seed++)
        register_run(seed, tally);
    assert_true(tally[FLOE_OK] > 60 * OPS / 10);
    assert_true(tally[FLOE_ECONFLICT] > 0 && tally[FLOE_EINDETERMINATE] > 0);
    assert_true(register_run(5, tally) == register_run(5, tally));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_get_replace),
        cmocka_unit_test(a_large_value_is_read_whole_and_a_larger_one_refused),
        cmocka_unit_test(one_fault_at_a_write_is_resolved),
        cmocka_unit_test(a_doubt_is_told_when_another_value_is_there),
        cmocka_unit_test(a_refusal_is_told_and_an_outage_ends_in_time),
        cmocka_unit_test(attempts_bound_the_copies),
        cmocka_unit_test(what_a_silence_swallowed_is_sent_anew_once_it_is_over),
        cmocka_unit_test(a_store_that_is_back_is_soon_heard_of),
        cmocka_unit_test(a_corrupt_record_is_named),
        cmocka_unit_test(scan_pages_in_order),
        cmocka_unit_test(delete_compares_first),
        cmocka_unit_test(cancel_close_and_kill_answer_nothing),
        cmocka_unit_test(a_register_under_faults_is_linearizable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
