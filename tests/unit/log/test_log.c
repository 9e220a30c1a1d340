/* The log over the simulated store: append, flush, commit, read; order, ambiguity, seals, lapses. */
#include "floe_cmocka.h"
#include "log_rig.h"
#include "log/log_int.h"

#include <floe/base/assert.h>
#include <floe/kafka/codec.h>
#include <stdio.h>
#include <stdlib.h>

static void expect(struct rig *r, struct floe_tp tp, int64_t offset, const char *want)
{
    char got[24];
    rig_value(r, tp, offset, got);
    assert_string_equal(got, want);
}

static void appends_are_answered_after_their_commit_and_read_back(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig *r = rig_one(&w, NULL, tp);
    struct rig_op *a = rig_append(r, tp, -1, "a"), *b = rig_append(r, tp, -1, "b");
    assert_int_equal(rig_hw(r, tp), 0);
    rig_await(a);
    rig_await(b);
    assert_int_equal(a->a.err.code, FLOE_OK);
    assert_int_equal(a->a.base_offset, 0);
    assert_int_equal(b->a.base_offset, 1);
    assert_true(a->order < b->order);
    assert_int_equal(rig_hw(r, tp), 2);
    assert_int_equal(w->puts, 1); /* what arrives in one turn travels together */
    expect(r, tp, 0, "a");
    expect(r, tp, 1, "b");
    struct floe_log_read rd = {.tp = tp, .offset = 3, .max_bytes = 100};
    assert_true(floe_log_read(r->log, &rd));
    assert_int_equal(rd.err.code, FLOE_EINVAL);
    rd.offset = 0;
    rd.max_bytes = 1; /* without min_one nothing fits */
    assert_true(floe_log_read(r->log, &rd));
    assert_int_equal(rd.err.code, FLOE_OK);
    assert_int_equal(rd.slice_count, 0);
    rig_op_free(a);
    rig_op_free(b);
    rig_close(&w, &r);
}

/* Every outcome of the PUT of key `skip`, with 12 appends spread over several PUTs in flight. */
static void run_fault(enum floe_sim_fault fault, uint32_t skip, uint32_t times, uint64_t seed)
{
    struct rig_world *w = rig_world_create(seed);
    struct rig_config cfg = {.linger_us = 1000, .segment_bytes = 400};
    struct rig *r = rig_create(w, &cfg);
    struct floe_tp tp[2] = {rig_tp(1, 0), rig_tp(2, 0)};
    rig_open(r);
    rig_new(r, tp[0]);
    rig_new(r, tp[1]);
    floe_sim_bucket_rule(w->bucket, &(struct floe_sim_rule){.fault = fault,
                                                            .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                                            .prefix = "chain/",
                                                            .skip = skip,
                                                            .times = times,
                                                            .delay_us = 700000});
    struct rig_op *op[12];
    char value[24];
    for (int i = 0; i < 12; i++) {
        snprintf(value, sizeof value, "v%d", i);
        op[i] = rig_append(r, tp[i % 2], -1, value);
        rig_run(w, 1500);
    }
    for (int i = 0; i < 12; i++) {
        rig_await(op[i]);
        assert_int_equal(op[i]->a.err.code, FLOE_OK);
        assert_int_equal(op[i]->a.base_offset, i / 2);
        assert_true(i == 0 || op[i - 1]->order < op[i]->order); /* in chain order */
    }
    for (int i = 0; i < 12; i++) {
        expect(r, tp[i % 2], i / 2, op[i]->value);
        rig_op_free(op[i]);
    }
    assert_int_equal(r->lost + r->fatal, 0);
    assert_int_equal(floe_log_committed(r->log), floe_log_next_key(r->log));
    rig_run(w, 60000000); /* late copies land */
    assert_int_equal(floe_sim_bucket_count(w->bucket), floe_log_committed(r->log));
    rig_close(&w, &r);
}

static void every_outcome_of_a_put_is_resolved(void **state)
{
    (void)state;
    static const enum floe_sim_fault faults[] = {
        FLOE_SIM_NONE,  FLOE_SIM_LOST_REQUEST, FLOE_SIM_LOST_ANSWER,  FLOE_SIM_BROKEN,  FLOE_SIM_LATE,
        FLOE_SIM_TWICE, FLOE_SIM_E409,         FLOE_SIM_E409_APPLIED, FLOE_SIM_E500,    FLOE_SIM_E500_APPLIED,
        FLOE_SIM_E503,  FLOE_SIM_DENIED,       FLOE_SIM_NOSPACE,      FLOE_SIM_REFUSED, FLOE_SIM_HANG};
    for (size_t f = 0; f < FLOE_COUNTOF(faults); f++)
        for (uint32_t skip = 0; skip < 4; skip++)
            for (uint64_t seed = 1; seed < 4; seed++)
                run_fault(faults[f], skip, 1 + skip % 3, seed);
}

static void replies_keep_the_chain_order_when_puts_overtake(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 30; seed++) {
        struct rig_world *w = rig_world_create(seed);
        struct floe_sim_bucket_config slow = {.min_us = 100, .mean_us = 40000};
        struct rig_config cfg = {.linger_us = 500};
        struct rig *r = rig_create(w, &cfg);
        struct floe_tp tp = rig_tp(1, 0);
        struct rig_op *op[30];
        rig_open(r);
        rig_new(r, tp);
        floe_sim_bucket_configure(w->bucket, &slow);
        for (int i = 0; i < 30; i++) {
            op[i] = rig_append(r, tp, -1, "x");
            rig_run(w, 800);
        }
        for (int i = 0; i < 30; i++) {
            rig_await(op[i]);
            assert_int_equal(op[i]->a.base_offset, i);
            assert_true(i == 0 || op[i - 1]->order < op[i]->order);
        }
        for (int i = 0; i < 30; i++)
            rig_op_free(op[i]);
        assert_true(w->puts > 3);
        rig_close(&w, &r);
    }
}

static void a_seal_in_the_chain_ends_the_session(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig *r = rig_one(&w, NULL, tp);
    struct rig_op *a = rig_append(r, tp, -1, "a");
    rig_await(a);
    assert_int_equal(rig_seal(w, &r->session), 1);
    struct rig_op *b = rig_append(r, tp, -1, "b");
    rig_run(w, 1000000);
    assert_int_equal(r->lost, 1);
    assert_false(b->done);
    struct rig_op *c = rig_append(r, tp, -1, "c");
    assert_int_equal(c->refused, FLOE_ENOTHOLDER);
    floe_log_session_over(r->log);
    rig_run(w, 1000);
    assert_true(b->done);
    assert_int_equal(b->a.err.code, FLOE_EFENCED);
    assert_true(b->a.maybe_applied);
    assert_int_equal(floe_log_find(r->log, &tp, NULL), FLOE_PARTITION_ABSENT);
    rig_op_free(a);
    rig_op_free(b);
    rig_op_free(c);
    rig_close(&w, &r);
}

static void a_seal_that_is_read_wrongly_is_read_again(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct rig_world *w;
        struct rig *r = rig_one(&w, NULL, rig_tp(1, 0));
        for (int k = 0; k < i; k++)
            (void)floe_rng_u64(floe_sim_rng(w->sim)); /* another bit each time */
        assert_int_equal(rig_seal(w, &r->session), 0);
        floe_sim_bucket_rule(w->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_FLIPPED,
                                                                .kinds = FLOE_SIM_KIND(FLOE_STORE_GET),
                                                                .times = i % 7 + 1});
        struct rig_op *a = rig_append(r, rig_tp(1, 0), -1, "a");
        rig_run(w, 10000000);
        assert_true(r->fatal == 0 && r->lost == 1);
        floe_log_session_over(r->log);
        rig_run(w, 1000);
        rig_op_free(a);
        rig_close(&w, &r);
    }
}

static void a_foreign_object_in_the_chain_is_fatal(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig *r = rig_one(&w, NULL, tp);
    char key[FLOE_CHAIN_KEY_MAX];
    floe_chain_key(key, &r->session, 0);
    floe_sim_bucket_put(w->bucket, key, "who wrote this?", 15, "other");
    struct rig_op *a = rig_append(r, tp, -1, "a");
    rig_run(w, 30000000);
    assert_int_equal(r->fatal, 1);
    assert_int_equal(r->last.code, FLOE_ECORRUPT);
    assert_non_null(strstr(r->last.msg, key));
    assert_false(a->done);
    floe_log_session_over(r->log);
    rig_run(w, 1000);
    assert_int_equal(a->a.err.code, FLOE_EFENCED);
    rig_op_free(a);
    rig_close(&w, &r);
}

static void a_lapsed_session_sends_nothing_and_forgets_nothing(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig *r = rig_one(&w, NULL, tp);
    struct rig_op *a = rig_append(r, tp, -1, "a"); /* its PUT is on the wire when the session lapses */
    rig_run(w, 100);
    assert_int_equal(floe_log_next_key(r->log), 1);
    r->alive = false;
    floe_log_session_alive(r->log, false);
    struct rig_op *b = rig_append(r, tp, -1, "b");
    rig_run(w, 5000000);
    assert_int_equal(w->puts, 1); /* it landed, its answer waits */
    assert_false(a->done || b->done);
    assert_int_equal(rig_hw(r, tp), 0);
    r->alive = true;
    floe_log_session_alive(r->log, true);
    rig_await(a);
    rig_await(b);
    assert_int_equal(a->a.err.code, FLOE_OK);
    assert_int_equal(b->a.base_offset, 1);
    assert_int_equal(w->puts, 2);
    rig_op_free(a);
    rig_op_free(b);
    rig_close(&w, &r);
}

static void a_retry_waits_while_the_session_is_lapsed(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig *r = rig_one(&w, NULL, tp);
    floe_sim_bucket_rule(
        w->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_E503, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT)});
    struct rig_op *a = rig_append(r, tp, -1, "a");
    rig_run(w, 1000000);
    assert_true(w->puts > 2);
    r->alive = false;
    rig_run(w, 3000000);
    uint32_t puts = w->puts;
    rig_run(w, 30000000);
    assert_int_equal(w->puts, puts);
    assert_int_equal(r->noted, 1); /* an outage is told, once */
    floe_sim_bucket_heal(w->bucket);
    r->alive = true;
    floe_log_session_alive(r->log, true);
    rig_await(a);
    assert_int_equal(a->a.err.code, FLOE_OK);
    assert_int_equal(r->note.code, FLOE_OK); /* and its end */
    rig_op_free(a);
    rig_close(&w, &r);
}

static void refusals_are_named_once_and_repeated(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig *r = rig_one(&w, NULL, tp);
    floe_sim_bucket_rule(w->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_DENIED,
                                                            .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                                            .times = 5});
    struct rig_op *a = rig_append(r, tp, -1, "a");
    rig_run(w, 100000);
    assert_int_equal(r->noted, 1);
    assert_int_equal(r->note.code, FLOE_EDENIED);
    rig_await(a);
    assert_int_equal(r->noted, 2);
    assert_int_equal(r->note.code, FLOE_OK);
    rig_op_free(a);
    rig_close(&w, &r);
}

static void the_put_budget_holds_back_all_but_full_segments(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig_config cfg = {.rate = 2, .burst = 3, .linger_us = 1000, .segment_bytes = 4000};
    struct rig *r = rig_one(&w, &cfg, tp);
    struct rig_op *op[100];
    for (int i = 0; i < 100; i++) { /* ten seconds, one append each 100 ms */
        op[i] = rig_append(r, tp, -1, "x");
        rig_run(w, 100000);
    }
    assert_in_range(w->puts, 20, 24); /* 3 at once, then 2 a second */
    for (int i = 0; i < 100; i++) {
        rig_await(op[i]);
        rig_op_free(op[i]);
    }
    uint32_t before = w->puts;
    rig_run(w, 1000);
    struct rig_op *full[8];
    for (int i = 0; i < 8; i++)
        full[i] = rig_append_full(r, tp, -1, "f", -1, -1, -1, 1, 5000);
    rig_run(w, 100000);
    for (int i = 0; i < 8; i++) {
        assert_true(full[i]->done);
        rig_op_free(full[i]);
    }
    assert_int_equal(w->puts, before + 8);
    rig_close(&w, &r);
}

static void log_append_time_is_stamped_in_place(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig *r = rig_one(&w, NULL, tp);
    struct rig_op *a = rig_append(r, tp, -1, "a");
    struct rig_op *op = calloc(1, sizeof *op);
    *op = *a; /* the same batch again, under LogAppendTime */
    rig_await(a);
    assert_int_equal(a->a.log_append_ms, -1);
    struct floe_log_read rd = {.tp = tp, .max_bytes = 10000};
    assert_true(floe_log_read(r->log, &rd));
    struct floe_buf *buf = floe_buf_create_forced(rd.slices[0].n, NULL);
    memcpy(buf->data, rd.slices[0].p, buf->n = rd.slices[0].n);
    floe_log_read_fini(&rd);
    op->done = false;
    op->a.log_append_time = true;
    op->a.user = op;
    op->a.bytes = (struct floe_bufslice){buf, buf->data, buf->n};
    assert_int_equal(floe_log_append(r->log, &op->a), FLOE_OK);
    floe_buf_unref(buf);
    op->refused = FLOE_OK;
    rig_await(op);
    assert_int_equal(op->a.base_offset, 1);
    assert_int_equal(op->a.log_append_ms, floe_be64(buf->data + 35));
    expect(r, tp, 1, "a");
    rig_op_free(op);
    rig_op_free(a);
    rig_close(&w, &r);
}

static void no_offset_is_read_before_its_commit(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig *r = rig_one(&w, NULL, tp);
    struct rig_op *a = rig_append(r, tp, 0, "a"); /* acks=0 waits for nothing */
    rig_run(w, 10);
    assert_true(a->done);
    struct floe_log_read rd = {.tp = tp, .max_bytes = 10000};
    assert_true(floe_log_read(r->log, &rd));
    assert_int_equal(rd.slice_count, 0);
    assert_int_equal(rd.high_watermark, 0);
    rig_run(w, 1000000);
    expect(r, tp, 0, "a");
    rig_op_free(a);
    rig_close(&w, &r);
}

struct sleeper {
    struct floe_log_waiter w;
    int woken;
};
static void woken(struct floe_log_waiter *w)
{
    ((struct sleeper *)w->user)->woken++;
}

static void readers_are_woken_by_data_and_by_a_drop(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig *r = rig_one(&w, NULL, tp);
    struct sleeper s[4] = {{.woken = 0}};
    for (int i = 0; i < 4; i++) {
        s[i].w = (struct floe_log_waiter){.fn = woken, .user = &s[i]};
        floe_log_wait_data(r->log, &tp, i == 3 ? 0 : i, &s[i].w);
    }
    floe_log_wait_cancel(&s[3].w);
    rig_run(w, 1000000);
    assert_int_equal(s[0].woken, 0);
    struct rig_op *a = rig_append(r, tp, -1, "a");
    rig_await(a);
    rig_run(w, 1000);
    assert_int_equal(s[0].woken, 1);
    assert_int_equal(s[1].woken, 0);
    floe_log_drop(r->log, &tp);
    rig_run(w, 1000);
    assert_int_equal(s[0].woken, 1);
    assert_int_equal(s[1].woken + s[2].woken, 2);
    assert_int_equal(s[3].woken, 0);
    floe_log_wait_data(r->log, &tp, 0, &s[0].w); /* absent: told at once */
    rig_run(w, 1000);
    assert_int_equal(s[0].woken, 2);
    rig_op_free(a);
    rig_close(&w, &r);
}

static void a_drop_answers_what_waits(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0), other = rig_tp(2, 0);
    struct rig *r = rig_one(&w, NULL, tp);
    rig_new(r, other);
    struct rig_op *a = rig_append(r, tp, -1, "a"), *o = rig_append(r, other, -1, "o");
    rig_run(w, 100); /* its PUT is started */
    struct rig_op *b = rig_append(r, tp, -1, "b");
    floe_log_drop(r->log, &tp);
    rig_run(w, 10);
    assert_true(a->done && b->done);
    assert_int_equal(a->a.err.code, FLOE_ENOTHOLDER);
    assert_true(a->a.maybe_applied);
    assert_false(b->a.maybe_applied); /* it was taken out before any PUT carried it */
    rig_await(o);
    assert_int_equal(o->a.err.code, FLOE_OK);
    rig_run(w, 1000000);
    assert_int_equal(w->puts, 1);
    assert_int_equal(floe_budget_used(&r->pending), 0);
    rig_op_free(a);
    rig_op_free(b);
    rig_op_free(o);
    rig_close(&w, &r);
}

static void the_cache_stays_within_its_budget(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig_config cfg = {.cache = 1u << 20};
    struct rig *r = rig_one(&w, &cfg, tp);
    char value[24];
    for (int i = 0; i < 300; i++) {
        snprintf(value, sizeof value, "v%d", i);
        struct rig_op *op = rig_append_full(r, tp, -1, value, -1, -1, -1, 1, 10000);
        if (i % 10 == 9)
            rig_await(op);
        else
            while (!op->done)
                rig_run(w, 1000);
        rig_op_free(op);
        assert_in_range(floe_budget_used(&r->cache), 0, (1u << 20) + 20000);
    }
    assert_int_equal(floe_budget_used(&r->pending), 0);
    for (int i = 0; i < 300; i += 37) { /* old ones from the store, young ones from memory */
        snprintf(value, sizeof value, "v%d", i);
        expect(r, tp, i, value);
    }
    struct floe_log_stats st;
    floe_log_get_stats(r->log, &st);
    assert_true(st.reads_store > 0 && st.reads_memory > 0);
    assert_int_equal(rig_read_all(r, tp, 0, 64u << 10, NULL, NULL), 300);
    rig_close(&w, &r);
}

static void a_small_batch_does_not_pin_a_large_request(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig *r = rig_one(&w, NULL, tp);
    struct rig_op *op = rig_append(r, tp, -1, "tiny");
    rig_await(op);
    struct floe_log_read rd = {.tp = tp, .max_bytes = 10000};
    assert_true(floe_log_read(r->log, &rd));
    struct floe_buf *big = floe_buf_create_forced(1u << 20, &r->pending);
    memcpy(big->data, rd.slices[0].p, big->n = rd.slices[0].n);
    floe_log_read_fini(&rd);
    op->done = false;
    op->a.bytes = (struct floe_bufslice){big, big->data, big->n};
    assert_int_equal(floe_log_append(r->log, &op->a), FLOE_OK);
    floe_buf_unref(big);
    rig_await(op);
    rig_run(w, 1000);
    assert_int_equal(floe_budget_used(&r->pending), 0);
    assert_in_range(floe_budget_used(&r->cache), 1, 4096);
    expect(r, tp, 1, "tiny");
    rig_op_free(op);
    rig_close(&w, &r);
}

static void memory_pushes_back_without_a_tier(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig_config cfg = {.pending = 1u << 20, .segment_bytes = 100000};
    struct rig *r = rig_one(&w, &cfg, tp);
    floe_sim_bucket_rule(
        w->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_E503, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT)});
    struct rig_op *op[200];
    int n = 0, refused = 0;
    for (; n < 200; n++) {
        op[n] = rig_append_full(r, tp, -1, "x", -1, -1, -1, 1, 10000);
        refused += op[n]->refused == FLOE_EAGAIN;
        rig_run(w, 100);
    }
    assert_in_range(refused, 110, 130); /* three quarters of a MiB went in */
    assert_in_range(floe_budget_used(&r->pending), 1, 1u << 20);
    floe_sim_bucket_heal(w->bucket);
    for (int i = 0; i < n; i++) {
        if (op[i]->refused == FLOE_OK) {
            rig_await(op[i]);
            assert_int_equal(op[i]->a.err.code, FLOE_OK);
        }
        rig_op_free(op[i]);
    }
    struct rig_op *last = rig_append(r, tp, -1, "last");
    rig_await(last);
    rig_op_free(last);
    rig_close(&w, &r);
}

/* A large segment of the smallest batches: their footer would not fit. */
static void a_segment_is_full_of_batches_too(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig *r = rig_one(&w, &(struct rig_config){.segment_bytes = 256u << 20}, tp);
    floe_sim_bucket_rule(
        w->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_E503, .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT)});
    struct rig_op *a = rig_append(r, tp, -1, "a");
    rig_run(w, 1000); /* its PUT is under way */
    struct rig_op *b = rig_append(r, tp, -1, "b");
    r->log->chain.open_seg->batch_count += FLOE_LOG_SEGMENT_BATCHES_MAX - 2; /* they need not be there */
    struct rig_op *c = rig_append(r, tp, -1, "c");
    assert_null(r->log->chain.open_seg);
    floe_sim_bucket_heal(w->bucket);
    rig_await(a);
    rig_await(b);
    rig_await(c);
    assert_int_equal(rig_hw(r, tp), 3);
    rig_op_free(a);
    rig_op_free(b);
    rig_op_free(c);
    rig_close(&w, &r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_are_answered_after_their_commit_and_read_back),
        cmocka_unit_test(every_outcome_of_a_put_is_resolved),
        cmocka_unit_test(replies_keep_the_chain_order_when_puts_overtake),
        cmocka_unit_test(a_seal_in_the_chain_ends_the_session),
        cmocka_unit_test(a_seal_that_is_read_wrongly_is_read_again),
        cmocka_unit_test(a_foreign_object_in_the_chain_is_fatal),
        cmocka_unit_test(a_lapsed_session_sends_nothing_and_forgets_nothing),
        cmocka_unit_test(a_retry_waits_while_the_session_is_lapsed),
        cmocka_unit_test(refusals_are_named_once_and_repeated),
        cmocka_unit_test(the_put_budget_holds_back_all_but_full_segments),
        cmocka_unit_test(log_append_time_is_stamped_in_place),
        cmocka_unit_test(no_offset_is_read_before_its_commit),
        cmocka_unit_test(readers_are_woken_by_data_and_by_a_drop),
        cmocka_unit_test(a_drop_answers_what_waits),
        cmocka_unit_test(the_cache_stays_within_its_budget),
        cmocka_unit_test(a_small_batch_does_not_pin_a_large_request),
        cmocka_unit_test(memory_pushes_back_without_a_tier),
        cmocka_unit_test(a_segment_is_full_of_batches_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
