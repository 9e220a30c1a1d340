/* Idempotent producers, as Kafka answers them: a table of sendings and what comes of each. */
#include "floe_cmocka.h"
#include "log_rig.h"

#include <floe/base/assert.h>
#include <floe/kafka/codec.h>
#include <stdio.h>
#include <stdlib.h>

#include "log/log_int.h"

enum outcome { NEW, DUP, OLD, GAP, FENCED };
static const int16_t code[] = {
    [OLD] = FLOE_KERR_DUPLICATE_SEQUENCE_NUMBER,
    [GAP] = FLOE_KERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
    [FENCED] = FLOE_KERR_INVALID_PRODUCER_EPOCH,
};
struct sending {
    int16_t epoch;
    int32_t seq, count;
    enum outcome want;
    int64_t offset; /* of NEW and DUP */
};

static void play(const struct sending *s, size_t n, bool commit_each)
{
    struct rig_world *w = rig_world_create(1);
    struct rig *r = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0);
    struct rig_op *op[64];
    rig_open(r);
    rig_new(r, tp);
    assert_true(n <= 64);
    for (size_t i = 0; i < n; i++) {
        op[i] = rig_append_full(r, tp, -1, "v", 7, s[i].epoch, s[i].seq, (uint32_t)s[i].count, 0);
        bool ok = s[i].want == NEW || s[i].want == DUP;
        if (!ok && (op[i]->refused != FLOE_EINVAL || op[i]->a.kafka_error != code[s[i].want]))
            fail_msg("sending %zu: refused %d with %d, not %d", i, op[i]->refused, op[i]->a.kafka_error,
                     code[s[i].want]);
        if (ok && op[i]->refused != FLOE_OK)
            fail_msg("sending %zu: refused with %d", i, op[i]->a.kafka_error);
        if (ok && commit_each)
            rig_await(op[i]);
    }
    int64_t end = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i].want == NEW || s[i].want == DUP) {
            rig_await(op[i]);
            if (op[i]->a.base_offset != s[i].offset)
                fail_msg("sending %zu: offset %lld, not %lld", i, (long long)op[i]->a.base_offset,
                         (long long)s[i].offset);
            end = FLOE_MAX(end, s[i].offset + s[i].count);
        }
    }
    assert_int_equal(rig_hw(r, tp), end);
    assert_int_equal(rig_read_all(r, tp, 0, 100000, NULL, NULL), end);
    for (size_t i = 0; i < n; i++)
        rig_op_free(op[i]);
    rig_free(&r);
    rig_world_destroy(&w);
}

#define PLAY(...)                                                                                            \
    do {                                                                                                     \
        const struct sending s[] = {__VA_ARGS__};                                                            \
        play(s, FLOE_COUNTOF(s), true);                                                                      \
        play(s, FLOE_COUNTOF(s), false); /* nothing is committed when the next one comes */                  \
    } while (0)

static void sequences_as_kafka_checks_them(void **state)
{
    (void)state;
    /* in order, and duplicates of the last five */
    PLAY({0, 0, 1, NEW, 0}, {0, 1, 2, NEW, 1}, {0, 3, 1, NEW, 3}, {0, 1, 2, DUP, 1}, {0, 0, 1, DUP, 0},
         {0, 3, 1, DUP, 3}, {0, 4, 1, NEW, 4});
    /* a sixth is too old to be told from others: it was stored */
    PLAY({0, 0, 1, NEW, 0}, {0, 1, 1, NEW, 1}, {0, 2, 1, NEW, 2}, {0, 3, 1, NEW, 3}, {0, 4, 1, NEW, 4},
         {0, 5, 1, NEW, 5}, {0, 1, 1, DUP, 1}, {0, 0, 1, OLD, 0}, {0, 6, 1, NEW, 6}, {0, 1, 1, OLD, 0});
    /* gaps, and batches that are cut differently */
    PLAY({0, 0, 2, NEW, 0}, {0, 3, 1, GAP, 0}, {0, 0, 1, GAP, 0}, {0, 1, 1, GAP, 0}, {0, 1, 2, GAP, 0},
         {0, 2, 1, NEW, 2});
    /* no state: any first sequence (KIP-360) */
    PLAY({0, 17, 3, NEW, 0}, {0, 20, 1, NEW, 3}, {0, 17, 3, DUP, 0}, {0, 16, 1, OLD, 0});
    /* epochs: a new one starts at 0, an old one is fenced, and the old one's batches are no duplicates */
    PLAY({0, 0, 1, NEW, 0}, {0, 1, 1, NEW, 1}, {1, 2, 1, GAP, 0}, {1, 0, 1, NEW, 2}, {0, 2, 1, FENCED, 0},
         {0, 1, 1, FENCED, 0}, {1, 1, 1, NEW, 3}, {1, 0, 1, DUP, 2}, {5, 0, 1, NEW, 4}, {4, 0, 1, FENCED, 0});
    /* the wrap at 2^31 */
    PLAY({0, INT32_MAX - 2, 2, NEW, 0}, {0, INT32_MAX, 3, NEW, 2}, {0, 2, 1, NEW, 5},
         {0, INT32_MAX - 2, 2, DUP, 0}, {0, INT32_MAX, 3, DUP, 2}, {0, INT32_MAX - 3, 1, OLD, 0},
         {0, 4, 1, GAP, 0}, {0, 3, 1, NEW, 6});
    PLAY({0, INT32_MAX, 1, NEW, 0}, {0, 0, 1, NEW, 1}, {0, INT32_MAX, 1, DUP, 0});
}

static int16_t sent(struct rig *r, struct floe_tp tp, int64_t pid, int16_t epoch, int32_t seq)
{
    struct rig_op *op = rig_append_full(r, tp, -1, "v", pid, epoch, seq, 1, 0);
    if (op->refused == FLOE_OK)
        rig_await(op);
    int16_t error = op->a.kafka_error;
    assert_true(error != 0 || op->a.err.code == FLOE_OK);
    rig_op_free(op);
    return error;
}

/* What was on its way behind a batch that was refused does not take its place. */
static void nothing_overtakes_a_refused_batch(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(5);
    struct rig *r = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0), other = rig_tp(2, 0), any = {.index = 0};
    struct floe_batch b = {.producer_id = 7, .base_sequence = 0, .length = 100};
    rig_open(r);
    rig_new(r, tp);
    rig_new(r, other);
    floe_log_refused(r->log, &tp, &b);
    b.base_sequence = 2; /* the next one of the same connection */
    floe_log_refused(r->log, &tp, &b);
    assert_int_equal(sent(r, tp, 7, 0, 3), FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(sent(r, tp, 7, 0, 1), FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(sent(r, tp, 8, 0, 3), 0);    /* another producer */
    assert_int_equal(sent(r, other, 7, 0, 3), 0); /* another partition */
    assert_int_equal(sent(r, tp, 7, 0, 0), 0);
    assert_int_equal(sent(r, tp, 7, 0, 1), 0);
    assert_int_equal(sent(r, tp, 7, 0, 0), 0); /* a duplicate */
    assert_int_equal(rig_hw(r, tp), 3);
    /* of a topic that was not known then */
    b = (struct floe_batch){.producer_id = 9, .base_sequence = 5, .length = 100};
    floe_log_refused(r->log, &any, &b);
    assert_int_equal(sent(r, tp, 9, 0, 6), FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(sent(r, tp, 9, 1, 6), 0); /* it has begun anew */
    /* by a client that gave it up; and one that was never parsed */
    b.producer_id = 10;
    floe_log_refused(r->log, &tp, &b);
    floe_log_refused(r->log, &tp, &(struct floe_batch){0});
    assert_int_equal(sent(r, tp, 0, 0, 4), 0);
    assert_int_equal(sent(r, tp, 10, 0, 6), FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    rig_run(w, FLOE_LOG_REFUSED_US);
    assert_int_equal(sent(r, tp, 10, 0, 6), 0);
    /* more of them than are remembered */
    for (int64_t id = 100; id < 100 + 2 * (int64_t)FLOE_LOG_REFUSED_MAX; id++) {
        b.producer_id = id;
        floe_log_refused(r->log, &tp, &b);
    }
    assert_int_equal(sent(r, tp, 100, 0, 6), 0);
    assert_int_equal(sent(r, tp, b.producer_id, 0, 6), FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    rig_free(&r);
    rig_world_destroy(&w);
}

static void a_duplicate_waits_for_its_original(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(2);
    struct rig_config cfg = {.tier = true};
    struct rig *r = rig_create(w, &cfg);
    struct floe_tp tp = rig_tp(1, 0);
    rig_open(r);
    rig_new(r, tp);
    r->alive = false; /* nothing commits */
    struct rig_op *a = rig_append_full(r, tp, -1, "a", 7, 0, 0, 1, 0);
    struct rig_op *d1 = rig_append_full(r, tp, -1, "a", 7, 0, 0, 1, 0);
    struct rig_op *d2 = rig_append_full(r, tp, 1, "a", 7, 0, 0, 1, 0);
    struct rig_op *b = rig_append_full(r, tp, -1, "b", 7, 0, 1, 1, 0);
    rig_run(w, 5000000);
    assert_false(a->done || d1->done || d2->done || b->done);
    r->alive = true;
    floe_log_session_alive(r->log, true);
    rig_await(b);
    assert_true(a->done && d1->done && d2->done);
    assert_true(a->order < d1->order && d1->order < b->order);
    assert_int_equal(d1->a.base_offset, 0);
    assert_int_equal(d2->a.base_offset, 0);
    assert_int_equal(rig_hw(r, tp), 2);
    struct rig_op *d3 = rig_append_full(r, tp, -1, "a", 7, 0, 0, 1, 0); /* committed: at once */
    uint32_t puts = w->puts;
    rig_run(w, 10);
    assert_true(d3->done);
    assert_int_equal(w->puts, puts);
    /* what an uncommitted duplicate waits for may never come */
    r->alive = false;
    struct rig_op *c = rig_append_full(r, tp, -1, "c", 7, 0, 2, 1, 0);
    struct rig_op *d4 = rig_append_full(r, tp, -1, "c", 7, 0, 2, 1, 0);
    floe_log_session_over(r->log);
    rig_run(w, 1000);
    assert_int_equal(c->a.err.code, FLOE_EFENCED);
    assert_int_equal(d4->a.err.code, FLOE_EFENCED);
    assert_false(d4->a.maybe_applied);
    struct rig_op *all[] = {a, b, c, d1, d2, d3, d4};
    for (size_t i = 0; i < FLOE_COUNTOF(all); i++)
        rig_op_free(all[i]);
    rig_free(&r);
    rig_world_destroy(&w);
}

/* What a later holder has taken since is not known here: "out of order" would be a client's end. */
static void a_lapsed_session_judges_no_sequence(void **state)
{
    (void)state;
    static const struct {
        int16_t epoch;
        int32_t seq;
        int16_t alive; /* the code while the session is alive */
    } sends[] = {{0, 9, FLOE_KERR_OUT_OF_ORDER_SEQUENCE_NUMBER},
                 {1, 9, FLOE_KERR_OUT_OF_ORDER_SEQUENCE_NUMBER},
                 {0, 0, FLOE_KERR_DUPLICATE_SEQUENCE_NUMBER}};
    struct rig_world *w = rig_world_create(6);
    struct rig *r = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0);
    rig_open(r);
    rig_new(r, tp);
    for (int32_t seq = 0; seq < 6; seq++)
        assert_int_equal(sent(r, tp, 7, 0, seq), 0);
    for (size_t i = 0; i < FLOE_COUNTOF(sends); i++) {
        r->alive = false;
        struct rig_op *op = rig_append_full(r, tp, -1, "v", 7, sends[i].epoch, sends[i].seq, 1, 0);
        assert_int_equal(op->refused, FLOE_ELAPSED);
        assert_int_equal(op->a.kafka_error, FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
        assert_true(op->a.maybe_applied);
        rig_op_free(op);
        r->alive = true;
        assert_int_equal(sent(r, tp, 7, sends[i].epoch, sends[i].seq), sends[i].alive);
    }
    assert_int_equal(rig_hw(r, tp), 6);
    rig_free(&r);
    rig_world_destroy(&w);
}

static void producers_are_bounded_and_expire(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(3);
    struct rig *r = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0);
    struct floe_partition *p;
    rig_open(r);
    rig_new(r, tp);
    for (int64_t id = 0; id < FLOE_PARTITION_PRODUCERS_MAX + 100; id++) {
        struct rig_op *op = rig_append_full(r, tp, 0, "v", id, 0, 0, 1, 0);
        assert_int_equal(op->refused, FLOE_OK);
        if (id % 50 == 0)
            rig_run(w, 100000);
        while (!op->done)
            rig_run(w, 10);
        rig_op_free(op);
    }
    rig_run(w, 1000000);
    assert_int_equal(floe_log_find(r->log, &tp, &p), FLOE_PARTITION_SERVING);
    assert_int_equal(p->producers.n, FLOE_PARTITION_PRODUCERS_MAX);
    assert_null(floe_producer_find(p, 0)); /* the one that was silent longest went */
    assert_non_null(floe_producer_find(p, FLOE_PARTITION_PRODUCERS_MAX));
    rig_run(w, FLOE_PRODUCER_EXPIRE_US + 120000000);
    struct rig_op *op = rig_append_full(r, tp, -1, "v", 1u << 20, 0, 0, 1, 0);
    rig_await(op);
    rig_run(w, 1000000);
    assert_int_equal(p->producers.n, 1);
    rig_op_free(op);
    rig_free(&r);
    rig_world_destroy(&w);
}

/* Partitions come with producers of other brokers, most of which have been silent for long: the one that sent
 * something a moment ago, and may send it again, is remembered all the same. */
static void who_comes_along_is_as_old_as_it_is(void **state)
{
    (void)state;
    struct rig_world *w;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig *r = rig_one(&w, NULL, tp);
    rig_run(w, FLOE_PRODUCER_EXPIRE_US);
    assert_int_equal(sent(r, tp, 7, 0, 0), 0);
    uint64_t now = floe_sim_now_us(w->sim), hour = FLOE_PRODUCER_EXPIRE_US / 24;
    int64_t id = 1000;
    for (int32_t i = 0; i < (int32_t)(FLOE_LOG_PRODUCERS_MAX / FLOE_PARTITION_PRODUCERS_MAX) + 2; i++) {
        struct floe_tp other = rig_tp(2, i);
        struct floe_partition *p = floe_partition_create(r->log, &other, 1);
        for (uint32_t k = 0; k < FLOE_PARTITION_PRODUCERS_MAX; k++)
            assert_non_null(floe_producer_add(p, id++, 0, now - 20 * hour + k));
    }
    assert_int_equal(r->log->producer_count, FLOE_LOG_PRODUCERS_MAX);
    assert_int_equal(sent(r, tp, 7, 0, 0), 0); /* again */
    assert_int_equal(rig_hw(r, tp), 1);
    /* They are forgotten when their day is over. */
    rig_run(w, 5 * hour);
    assert_int_equal(sent(r, tp, 8, 0, 0), 0);
    assert_int_equal(r->log->producer_count, 2);
    assert_int_equal(sent(r, tp, 7, 0, 0), 0);
    assert_int_equal(rig_hw(r, tp), 2);
    rig_close(&w, &r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequences_as_kafka_checks_them),
        cmocka_unit_test(nothing_overtakes_a_refused_batch),
        cmocka_unit_test(a_duplicate_waits_for_its_original),
        cmocka_unit_test(a_lapsed_session_judges_no_sequence),
        cmocka_unit_test(producers_are_bounded_and_expire),
        cmocka_unit_test(who_comes_along_is_as_old_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
