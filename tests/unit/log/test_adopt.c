/* Rebuild: a second log serves what a dead one committed, with its producers, epochs and index. */
#include "floe_cmocka.h"
#include "log_rig.h"

#include <floe/base/assert.h>
#include <floe/kafka/codec.h>
#include <stdio.h>
#include <stdlib.h>

#include "log/log_int.h"

static struct rig_op *put(struct rig *r, struct floe_tp tp, const char *value)
{
    struct rig_op *op = rig_append(r, tp, -1, value);
    rig_await(op);
    assert_int_equal(op->a.err.code, FLOE_OK);
    return op;
}

/* Commits n batches "<prefix><i>", one segment each. */
static void fill(struct rig *r, struct floe_tp tp, const char *prefix, int n)
{
    char value[24];
    for (int i = 0; i < n; i++) {
        snprintf(value, sizeof value, "%s%d", prefix, i);
        rig_op_free(put(r, tp, value));
    }
}

struct list {
    char value[512][24];
    uint32_t n;
};
static void collect(void *user, int64_t offset, const char *value)
{
    struct list *l = user;
    assert_int_equal(offset, l->n);
    memcpy(l->value[l->n++], value, 24);
}

static void expect_list(struct rig *r, struct floe_tp tp, const char *const *prefix, const int *n, int parts)
{
    struct list l = {.n = 0};
    char want[24];
    uint32_t at = 0;
    rig_read_all(r, tp, 0, 5000, collect, &l);
    for (int p = 0; p < parts; p++)
        for (int i = 0; i < n[p]; i++) {
            snprintf(want, sizeof want, "%s%d", prefix[p], i);
            assert_true(at < l.n);
            assert_string_equal(l.value[at++], want);
        }
    assert_int_equal(l.n, at);
}

/* Dies with what is in flight; its chain is sealed and everything taken by a new broker. */
static struct rig *take_over(struct rig_world *w, struct rig **old, const struct rig_config *cfg)
{
    struct floe_session_name dead = (*old)->session;
    rig_free(old);
    uint64_t end = rig_seal(w, &dead);
    struct rig *r = rig_create(w, cfg);
    rig_open(r);
    rig_take(r, &dead, end);
    return r;
}

static void a_second_broker_serves_what_the_first_committed(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(1);
    struct rig *r = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0), empty = rig_tp(2, 0);
    rig_open(r);
    rig_new(r, tp);
    rig_new(r, empty);
    fill(r, tp, "a", 20);
    struct rig_op *lost = rig_append(r, tp, -1, "never");
    uint32_t gets = w->gets;
    r = take_over(w, &r, NULL);
    assert_int_equal(floe_log_find(r->log, &tp, NULL), FLOE_PARTITION_REBUILDING);
    rig_await_serving(r, tp);
    rig_await_serving(r, empty);
    assert_int_equal(w->gets - gets, 6); /* key 0, up to 8, up to 16, 17, 18, 19: once for both partitions */
    assert_int_equal(rig_hw(r, tp), 20);
    assert_int_equal(rig_hw(r, empty), 0);
    fill(r, tp, "b", 5);
    expect_list(r, tp, (const char *const[]){"a", "b"}, (const int[]){20, 5}, 2);
    struct floe_partition *p;
    int64_t end = -1;
    floe_log_find(r->log, &tp, &p);
    assert_int_equal(floe_partition_epoch(p), 1);
    assert_int_equal(floe_partition_epoch_end(p, 0, &end), 0);
    assert_int_equal(end, 20);
    assert_int_equal(floe_partition_epoch_end(p, 1, &end), 1);
    assert_int_equal(end, 25);
    assert_int_equal(floe_partition_epoch_end(p, 7, &end), 1);
    rig_run(w, 1000000);
    assert_int_equal(r->published, 2); /* in one segment */
    struct rig_lease *l = rig_lease(w, tp);
    assert_true(l->ckpt.present);
    assert_int_equal(l->span_count, 1);
    assert_false(lost->done);
    rig_op_free(lost);
    rig_free(&r);
    rig_world_destroy(&w);
}

/* A takeover comes shard by shard; the footers are read twice at most: for the first, and for all others. */
static void what_is_taken_piece_by_piece_reads_footers_together(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(1);
    struct rig *r = rig_create(w, NULL);
    rig_open(r);
    rig_new_many(r, 16);
    fill(r, rig_tp(1, 0), "a", 20);
    fill(r, rig_tp(1, 15), "b", 20);
    struct floe_session_name dead = r->session;
    rig_free(&r);
    uint64_t end = rig_seal(w, &dead);
    r = rig_create(w, NULL);
    rig_open(r);
    uint32_t gets = w->gets;
    for (w->lease_count = 1; w->lease_count < 16; w->lease_count++) {
        rig_take(r, &dead, end);
        rig_run(w, 100);
    }
    rig_take(r, &dead, end);
    for (int32_t i = 0; i < 16; i++)
        rig_await_serving(r, rig_tp(1, i));
    assert_int_equal(w->gets - gets, 2 * 12); /* twice key 0, 8, 16, 24, 32, 33 to 39 */
    assert_int_equal(rig_hw(r, rig_tp(1, 0)), 20);
    assert_int_equal(rig_hw(r, rig_tp(1, 15)), 20);
    rig_free(&r);
    rig_world_destroy(&w);
}

static void deaths_before_the_first_checkpoint_lose_nothing(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(2);
    struct rig *r = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0);
    rig_open(r);
    rig_new(r, tp);
    fill(r, tp, "a", 3);
    r = take_over(w, &r, NULL);
    rig_await_serving(r, tp); /* it dies at once */
    r = take_over(w, &r, NULL);
    rig_await_serving(r, tp);
    assert_int_equal(rig_lease(w, tp)->span_count, 3);
    floe_sim_bucket_rule(w->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_LOST_REQUEST,
                                                            .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                                            .skip = 1}); /* one commit, nothing after it */
    fill(r, tp, "b", 1);
    struct rig_op *lost = rig_append(r, tp, -1, "never");
    rig_run(w, 1000);
    r = take_over(w, &r, NULL);
    floe_sim_bucket_heal(w->bucket);
    rig_await_serving(r, tp);
    fill(r, tp, "c", 2);
    expect_list(r, tp, (const char *const[]){"a", "b", "c"}, (const int[]){3, 1, 2}, 3);
    rig_op_free(lost);
    rig_free(&r);
    rig_world_destroy(&w);
}

/* Checkpoints ride along the chain, also of a partition that nobody writes to. */
static void a_long_life_keeps_rebuilds_short(void **state)
{
    (void)state;
    enum { SEGMENTS = 3 * FLOE_LOG_SPAN_KEYS_MAX };
    struct rig_world *w = rig_world_create(8);
    struct rig *r = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0), still = rig_tp(2, 0);
    rig_open(r);
    rig_new(r, tp);
    rig_new(r, still);
    fill(r, still, "s", 3);
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        fill(r, tp, "a", 1);
        rig_run(w, 100000);
    }
    assert_in_range(r->published, 4, 10);
    uint32_t gets = w->gets;
    r = take_over(w, &r, NULL);
    rig_await_serving(r, tp);
    rig_await_serving(r, still);
    assert_in_range(w->gets - gets, 1, FLOE_LOG_SPAN_KEYS_MAX / 64 + 18);
    assert_int_equal(rig_hw(r, tp), SEGMENTS);
    assert_int_equal(rig_hw(r, still), 3);
    assert_int_equal(rig_read_all(r, tp, 0, 100000, NULL, NULL), SEGMENTS);
    assert_int_equal(rig_read_all(r, still, 0, 100000, NULL, NULL), 3);
    rig_free(&r);
    rig_world_destroy(&w);
}

/* Some ninety segments a second: a checkpoint after six seconds, not only after eleven. */
static void a_fast_life_keeps_rebuilds_short(void **state)
{
    (void)state;
    enum { SEGMENTS = 800 };
    struct rig_world *w = rig_world_create(9);
    struct rig *r = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0);
    rig_open(r);
    rig_new(r, tp);
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        fill(r, tp, "a", 1);
        rig_run(w, 1000);
    }
    uint32_t gets = w->gets;
    r = take_over(w, &r, NULL);
    rig_await_serving(r, tp);
    assert_in_range(w->gets - gets, 1, 600 / 64 + 18);
    assert_int_equal(rig_hw(r, tp), SEGMENTS);
    rig_free(&r);
    rig_world_destroy(&w);
}

static void checkpoints_keep_rebuilds_short(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(3);
    struct rig *r = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0);
    rig_open(r);
    rig_new(r, tp);
    fill(r, tp, "a", 150); /* index blocks are cut as well */
    for (int i = 0; i < 6; i++) {
        r = take_over(w, &r, NULL);
        rig_await_serving(r, tp);
        rig_run(w, 1000000); /* the checkpoint is published */
        assert_int_equal(r->published, 1);
        assert_int_equal(rig_lease(w, tp)->span_count, 1);
        fill(r, tp, "b", 30);
    }
    uint32_t gets = w->gets;
    r = take_over(w, &r, NULL);
    rig_await_serving(r, tp);
    assert_in_range(w->gets - gets, 2, 17); /* of 30 segments, not 330 */
    expect_list(r, tp, (const char *const[]){"a", "b", "b", "b", "b", "b", "b"},
                (const int[]){150, 30, 30, 30, 30, 30, 30}, 7);
    rig_free(&r);
    rig_world_destroy(&w);
}

static void only_batches_of_the_spans_epoch_are_taken(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(4);
    struct rig *r = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0);
    rig_open(r);
    rig_new(r, tp);
    fill(r, tp, "a", 4);
    struct floe_session_name dead = r->session;
    rig_free(&r);
    uint64_t end = rig_seal(w, &dead);
    r = rig_create(w, NULL);
    rig_open(r);
    struct rig_lease *l = rig_lease(w, tp);
    l->spans[0].epoch = 9; /* as if the lease had named it under another epoch */
    rig_take(r, &dead, end);
    rig_await_serving(r, tp);
    assert_int_equal(rig_hw(r, tp), 0);
    rig_free(&r);
    rig_world_destroy(&w);
}

static void duplicates_are_known_across_a_takeover(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(5);
    struct rig *r = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0);
    struct rig_op *op;
    rig_open(r);
    rig_new(r, tp);
    for (int i = 0; i < 8; i++) {
        op = rig_append_full(r, tp, -1, "p", 77, 0, i * 2, 2, 0);
        rig_await(op);
        rig_op_free(op);
    }
    for (int round = 0; round < 2; round++) { /* from footers, then from a checkpoint */
        r = take_over(w, &r, NULL);
        rig_await_serving(r, tp);
        rig_run(w, 1000000);
        for (int i = 3; i < 8; i++) {
            op = rig_append_full(r, tp, -1, "p", 77, 0, i * 2, 2, 0);
            rig_await(op);
            assert_int_equal(op->a.err.code, FLOE_OK);
            assert_int_equal(op->a.base_offset, i * 2);
            rig_op_free(op);
        }
        op = rig_append_full(r, tp, -1, "p", 77, 0, 4, 2, 0);
        assert_int_equal(op->a.kafka_error, FLOE_KERR_DUPLICATE_SEQUENCE_NUMBER);
        rig_op_free(op);
        op = rig_append_full(r, tp, -1, "p", 77, 0, 18, 2, 0); /* what is missing may be on its way */
        assert_int_equal(op->a.kafka_error, FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
        rig_op_free(op);
    }
    assert_int_equal(rig_hw(r, tp), 16);
    op = rig_append_full(r, tp, -1, "p", 77, 0, 16, 2, 0);
    rig_await(op);
    assert_int_equal(op->a.base_offset, 16);
    rig_op_free(op);
    rig_free(&r);
    rig_world_destroy(&w);
}

static int16_t sent(struct rig *r, struct floe_tp tp, int64_t producer, int16_t epoch, int32_t seq)
{
    struct rig_op *op = rig_append_full(r, tp, -1, "p", producer, epoch, seq, 1, 0);
    if (op->refused == FLOE_OK)
        rig_await(op);
    int16_t error = op->a.kafka_error;
    rig_op_free(op);
    return error;
}

/* A client has sent a batch to the dead broker and the next one to the one that took over: it sends both
 * again, unless it is told that its sequence is out of order, which no client survives unharmed. */
static void what_a_former_holder_lost_comes_again(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(4);
    struct rig *r = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0), idle = rig_tp(2, 0);
    rig_open(r);
    rig_new(r, tp);
    rig_new(r, idle);
    assert_int_equal(sent(r, tp, 7, 0, 0), 0);
    assert_int_equal(sent(r, tp, 7, 0, 2), FLOE_KERR_OUT_OF_ORDER_SEQUENCE_NUMBER); /* nobody lost it */
    r = take_over(w, &r, NULL);
    rig_await_serving(r, tp);
    rig_await_serving(r, idle);
    /* known producers: the next sequence, the next epoch */
    assert_int_equal(sent(r, tp, 7, 0, 2), FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(sent(r, tp, 7, 0, 1), 0);
    assert_int_equal(sent(r, tp, 7, 0, 2), 0);
    assert_int_equal(sent(r, tp, 7, 1, 1), FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(sent(r, tp, 7, 1, 0), 0);
    assert_int_equal(sent(r, tp, 7, 1, 1), 0);
    /* unknown ones: what comes first is not taken for the first */
    assert_int_equal(sent(r, idle, 8, 0, 3), FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(sent(r, idle, 8, 0, 4), FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(sent(r, idle, 8, 0, 2), 0);
    assert_int_equal(sent(r, idle, 8, 0, 3), 0);
    assert_int_equal(sent(r, idle, 9, 0, 3), FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(sent(r, idle, 9, 0, 3), 0); /* nothing was before it that is still known (KIP-360) */
    assert_int_equal(sent(r, idle, 10, 0, 0), 0);
    /* of a client that skips */
    assert_int_equal(sent(r, tp, 7, 1, 9), FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    rig_run(w, FLOE_LOG_REFUSED_US);
    assert_int_equal(sent(r, tp, 7, 1, 9), FLOE_KERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_int_equal(sent(r, tp, 7, 1, 2), 0);
    assert_int_equal(sent(r, tp, 7, 1, 9), FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    rig_run(w, FLOE_LOG_MOVED_US);
    assert_int_equal(sent(r, tp, 7, 1, 3), 0);
    assert_int_equal(sent(r, tp, 7, 1, 9), FLOE_KERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_int_equal(sent(r, idle, 11, 0, 3), 0);
    rig_free(&r);
    rig_world_destroy(&w);
}

static void a_bad_footer_fails_only_whom_it_concerns(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct rig_world *w = rig_world_create(6);
        struct rig *r = rig_create(w, NULL);
        struct floe_tp tp = rig_tp(1, 0), other = rig_tp(2, 0);
        char key[FLOE_CHAIN_KEY_MAX];
        rig_open(r);
        rig_new(r, tp);
        fill(r, tp, "a", 3);
        rig_new(r, other);
        rig_lease(w, other)->spans[0].first = 3;
        fill(r, other, "o", 2);
        floe_chain_key(key, &r->session, 1);
        const struct floe_sim_object *o = floe_sim_bucket_find(w->bucket, key);
        uint8_t *bytes = malloc(o->n);
        size_t n = o->n;
        memcpy(bytes, o->data, n);
        struct floe_session_name dead = r->session;
        uint64_t end = floe_log_next_key(r->log);
        if (how == 0) {
            uint8_t flipped = bytes[n - 40];
            bytes[n - 40] ^= 1;
            floe_sim_bucket_put(w->bucket, key, bytes, n, "x");
            bytes[n - 40] = flipped;
        } else if (how == 1) {
            floe_sim_bucket_delete(w->bucket, key);
        } else {
            floe_sim_bucket_put(w->bucket, key, bytes, 60, "x");
        }
        rig_free(&r);
        r = rig_create(w, NULL);
        rig_open(r);
        rig_take(r, &dead, end);
        rig_await_serving(r, other);
        rig_run(w, 1000000);
        assert_int_equal(rig_hw(r, other), 2);
        assert_int_equal(floe_log_find(r->log, &tp, NULL), FLOE_PARTITION_ABSENT);
        assert_int_equal(r->failed, 1);
        assert_int_equal(r->last.code, FLOE_ECORRUPT);
        assert_non_null(strstr(r->last.msg, key));
        floe_sim_bucket_put(w->bucket, key, bytes, n, "x"); /* mended: the next try serves */
        rig_adopt(r);
        rig_await_serving(r, tp);
        assert_int_equal(rig_hw(r, tp), 3);
        free(bytes);
        rig_free(&r);
        rig_world_destroy(&w);
    }
}

static void a_rebuild_rides_out_passing_faults(void **state)
{
    (void)state;
    static const enum floe_sim_fault faults[] = {FLOE_SIM_E503, FLOE_SIM_E500, FLOE_SIM_REFUSED};
    for (size_t f = 0; f < FLOE_COUNTOF(faults); f++) {
        struct rig_world *w = rig_world_create(7 + f);
        struct rig *r = rig_create(w, NULL);
        struct floe_tp tp = rig_tp(1, 0);
        rig_open(r);
        rig_new(r, tp);
        fill(r, tp, "a", 40);
        floe_sim_bucket_rule(w->bucket, &(struct floe_sim_rule){.fault = faults[f],
                                                                .kinds = FLOE_SIM_KIND(FLOE_STORE_GET),
                                                                .times = 20,
                                                                .ppm = 500000});
        r = take_over(w, &r, NULL);
        while (floe_log_find(r->log, &tp, NULL) != FLOE_PARTITION_SERVING) {
            rig_run(w, 1000000);
            rig_adopt(r); /* as the lease module repeats it */
        }
        expect_list(r, tp, (const char *const[]){"a"}, (const int[]){40}, 1);
        rig_free(&r);
        rig_world_destroy(&w);
    }
}

static void drops_and_ends_while_rebuilding(void **state)
{
    (void)state;
    for (uint64_t us = 0; us < 40000; us += 1500) {
        struct rig_world *w = rig_world_create(8);
        struct rig *r = rig_create(w, NULL);
        struct floe_tp tp = rig_tp(1, 0), other = rig_tp(2, 0);
        rig_open(r);
        rig_new(r, tp);
        rig_new(r, other);
        fill(r, tp, "a", 10);
        r = take_over(w, &r, NULL);
        rig_await_serving(r, tp);
        rig_run(w, 1000000);
        r = take_over(w, &r, NULL); /* checkpoint and footers */
        rig_run(w, us);
        floe_log_drop(r->log, &tp);
        if (us % 2000 == 0)
            floe_log_session_over(r->log);
        rig_run(w, 1000000);
        assert_int_equal(floe_log_find(r->log, &tp, NULL), FLOE_PARTITION_ABSENT);
        rig_free(&r);
        rig_world_destroy(&w);
    }
}

static void the_lease_is_read_again_before_serving(void **state)
{
    (void)state;
    struct rig_world *w = rig_world_create(9);
    struct rig *r = rig_create(w, NULL);
    struct floe_tp tp = rig_tp(1, 0);
    rig_open(r);
    rig_new(r, tp);
    fill(r, tp, "a", 3);
    struct floe_session_name dead = r->session;
    rig_free(&r);
    uint64_t end = rig_seal(w, &dead);
    r = rig_create(w, NULL);
    rig_open(r);
    r->recheck_says = false;
    rig_take(r, &dead, end);
    rig_run(w, 1000000);
    assert_int_equal(floe_log_find(r->log, &tp, NULL), FLOE_PARTITION_ABSENT);
    assert_int_equal(r->failed, 1);
    assert_int_equal(r->last.code, FLOE_ENOTHOLDER);
    rig_free(&r);
    rig_world_destroy(&w);
}

static void five_thousand_partitions_share_a_segment(void **state)
{
    (void)state;
    enum { N = 5000 };
    struct rig_world *w = rig_world_create(10);
    struct rig *r = rig_create(w, NULL);
    struct rig_op **op = calloc(N, sizeof *op);
    rig_open(r);
    rig_new_many(r, N);
    for (int32_t i = 0; i < N; i++)
        op[i] = rig_append(r, rig_tp(1, i), -1, "x");
    for (int32_t i = 0; i < N; i++) {
        rig_await(op[i]);
        assert_int_equal(op[i]->a.base_offset, 0);
        rig_op_free(op[i]);
    }
    assert_int_equal(w->puts, 1);
    uint32_t gets = w->gets;
    r = take_over(w, &r, NULL);
    for (int32_t i = 0; i < N; i++)
        rig_await_serving(r, rig_tp(1, i));
    assert_in_range(w->gets - gets, 1, 2);
    rig_run(w, 2000000);
    assert_int_equal(r->published, N);
    assert_in_range(floe_log_committed(r->log), 1, 2);
    gets = w->gets;
    r = take_over(w, &r, NULL);
    for (int32_t i = 0; i < N; i++)
        rig_await_serving(r, rig_tp(1, i));
    assert_in_range(w->gets - gets, 2, 6); /* footers, and the checkpoints in large ranges */
    for (int32_t i = 0; i < N; i += 611)
        assert_int_equal(rig_hw(r, rig_tp(1, i)), 1);
    free(op);
    rig_free(&r);
    rig_world_destroy(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_broker_serves_what_the_first_committed),
        cmocka_unit_test(what_is_taken_piece_by_piece_reads_footers_together),
        cmocka_unit_test(deaths_before_the_first_checkpoint_lose_nothing),
        cmocka_unit_test(a_long_life_keeps_rebuilds_short),
        cmocka_unit_test(a_fast_life_keeps_rebuilds_short),
        cmocka_unit_test(checkpoints_keep_rebuilds_short),
        cmocka_unit_test(only_batches_of_the_spans_epoch_are_taken),
        cmocka_unit_test(duplicates_are_known_across_a_takeover),
        cmocka_unit_test(what_a_former_holder_lost_comes_again),
        cmocka_unit_test(a_bad_footer_fails_only_whom_it_concerns),
        cmocka_unit_test(a_rebuild_rides_out_passing_faults),
        cmocka_unit_test(drops_and_ends_while_rebuilding),
        cmocka_unit_test(the_lease_is_read_again_before_serving),
        cmocka_unit_test(five_thousand_partitions_share_a_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
