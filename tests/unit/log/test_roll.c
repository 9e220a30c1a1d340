/* Roll-ups: what segments carry of those before, that rebuilds read few footers for it, and that they need
 * none. */
#include "floe_cmocka.h"
#include "log_rig.h"
#include "segment_fixture.h"

#include <floe/base/assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "log/log_int.h"

/* ---- the block ------------------------------------------------------------------------------------ */

static const struct floe_session_name SESSION = {3, 7, 0xfeedfacecafebeefu};

/* The end of a segment with one batch. */
static struct floe_buf *segment(uint64_t seq, struct floe_slice *tail)
{
    struct floe_segment_writer *w;
    struct floe_uuid cluster = fixture_uuid(0xc1), nonce = fixture_uuid(0x4e);
    struct floe_segment_image image;
    struct floe_error err;
    struct fixture_batch f = {.base_offset = 100 + (int64_t)seq * 4,
                              .timestamp = INT64_C(1763900000000),
                              .producer_id = -1,
                              .producer_epoch = -1,
                              .base_sequence = -1,
                              .leader_epoch = 5,
                              .count = 4,
                              .payload = 20};
    assert_int_equal(floe_segment_writer_create(&w, &cluster), FLOE_OK);
    fixture_add(w, 1, 3, &f);
    assert_int_equal(floe_segment_finish(w, &SESSION, seq, &nonce, INT64_C(1763900000000), &image, &err),
                     FLOE_OK);
    size_t n = image.slices[image.slice_count - 1].n;
    struct floe_buf *flat = fixture_flatten(&image);
    *tail = floe_slice(flat->data + flat->n - n, n);
    floe_segment_writer_destroy(&w);
    return flat;
}

static void note(struct floe_roll *r, uint64_t seq, size_t max)
{
    struct floe_slice tail;
    struct floe_buf *flat = segment(seq, &tail);
    floe_roll_note(r, seq, tail, max);
    floe_buf_unref(flat);
}

/* What rides in `seq` tells of [first, first + count), each by its own footer. */
static void expect(const struct floe_roll *r, uint64_t seq, uint64_t first, uint32_t count)
{
    struct floe_writer w;
    struct floe_rollup u;
    struct floe_error err;
    struct floe_slice bytes;
    uint64_t size;
    floe_writer_init(&w, 1u << 20);
    assert_int_equal(floe_roll_block(r, seq, &w), count > 0);
    if (count > 0) {
        assert_int_equal(floe_rollup_open(floe_slice(w.p, w.n), "key", &u, &err), FLOE_OK);
        assert_int_equal(u.first, first);
        assert_int_equal(u.count, count);
        for (uint64_t at = first; floe_rollup_next(&u, &bytes, &size); at++) {
            struct floe_segment_tail tail;
            struct floe_segment_footer f;
            assert_int_equal(floe_segment_tail_open(bytes, size, "key", &tail, &err), FLOE_OK);
            assert_int_equal(tail.need, 0);
            assert_int_equal(floe_segment_footer_open(&tail, "key", &f, &err), FLOE_OK);
            assert_int_equal(f.id.seq, at);
            assert_int_equal(f.block_count, 1);
        }
        assert_int_equal(u.first, first + count);
    }
    floe_writer_fini(&w);
}

static void segments_carry_those_before(void **state)
{
    (void)state;
    struct floe_roll r;
    floe_roll_init(&r);
    for (uint64_t seq = 0; seq < 150; seq++) {
        uint64_t step = seq % FLOE_ROLLUP_KEYS == 0 ? FLOE_ROLLUP_KEYS : FLOE_ROLLUP_STEP;
        bool carries = seq > 0 && seq % FLOE_ROLLUP_STEP == 0;
        expect(&r, seq, carries ? seq - step + 1 : 0, carries ? (uint32_t)step - 1 : 0);
        note(&r, seq, SIZE_MAX);
    }
    floe_roll_fini(&r);
}

/* The first ones, then no more before the next multiple. */
static void what_does_not_fit_is_left_out(void **state)
{
    (void)state;
    struct floe_roll r;
    struct floe_slice tail;
    struct floe_buf *flat = segment(70, &tail);
    size_t max = 12 * (tail.n + 4);
    floe_buf_unref(flat);
    floe_roll_init(&r);
    for (uint64_t seq = 64; seq < 128; seq++) {
        uint32_t fits = seq == 72 ? 7 : seq == 80 ? 4 : 0;
        expect(&r, seq, seq - 7, fits);
        note(&r, seq, max);
    }
    expect(&r, 128, 65, 12);
    note(&r, 128, max);
    note(&r, 129, max);
    expect(&r, 136, 129, 1);
    floe_roll_fini(&r);
}

static void golden(void **state)
{
    (void)state;
    struct floe_roll r;
    struct floe_writer w;
    static uint8_t want[4096];
    floe_roll_init(&r);
    floe_writer_init(&w, 1u << 20);
    for (uint64_t seq = 64; seq < 68; seq++)
        note(&r, seq, SIZE_MAX);
    assert_true(floe_roll_block(&r, 128, &w));
    if (getenv("FLOE_GOLDEN_WRITE")) {
        FILE *out = fopen(FLOE_TEST_GOLDEN "/rollup-v1.bin", "wb");
        assert_non_null(out);
        assert_int_equal(fwrite(w.p, 1, w.n, out), w.n);
        assert_int_equal(fclose(out), 0);
    }
    FILE *in = fopen(FLOE_TEST_GOLDEN "/rollup-v1.bin", "rb");
    assert_non_null(in);
    size_t n = fread(want, 1, sizeof want, in);
    fclose(in);
    assert_int_equal(n, w.n);
    assert_memory_equal(want, w.p, n);
    struct floe_error err;
    struct floe_rollup u;
    for (size_t cut = 0; cut < n; cut++) {
        assert_int_not_equal(floe_rollup_open(floe_slice(want, cut), "the key", &u, &err), FLOE_OK);
        assert_non_null(strstr(err.msg, "the key"));
    }
    want[0] = 2;
    assert_int_equal(floe_rollup_open(floe_slice(want, n), "the key", &u, &err), FLOE_EUNSUPPORTED);
    floe_writer_fini(&w);
    floe_roll_fini(&r);
}

/* ---- rebuilds ------------------------------------------------------------------------------------- */

static void fill(struct rig *r, struct floe_tp tp, int from, int n)
{
    for (int i = from; i < from + n; i++) {
        char value[24];
        snprintf(value, sizeof value, "v%d", i);
        struct rig_op *op = rig_append_full(r, tp, -1, value, 77, 0, i, 1, 0);
        rig_await(op);
        assert_int_equal(op->a.err.code, FLOE_OK);
        assert_int_equal(op->a.base_offset, i);
        rig_op_free(op);
    }
}

static void check(void *user, int64_t offset, const char *value)
{
    char want[24];
    (void)user;
    snprintf(want, sizeof want, "v%lld", (long long)offset);
    assert_string_equal(value, want);
}

/* Another broker takes over `keys` segments, and has everything; how many GETs that took. */
static uint32_t take_over(struct rig_world *w, struct rig **r, struct floe_tp tp, int keys)
{
    struct floe_session_name dead = (*r)->session;
    rig_free(r);
    uint64_t end = rig_seal(w, &dead);
    *r = rig_create(w, NULL);
    rig_open(*r);
    uint32_t gets = w->gets;
    rig_take(*r, &dead, end);
    for (int s = 0; floe_log_find((*r)->log, &tp, NULL) != FLOE_PARTITION_SERVING; s++) {
        assert_in_range(s, 0, 600);
        rig_run(w, 1000000);
        rig_adopt(*r); /* as the lease module repeats it */
    }
    gets = w->gets - gets;
    assert_int_equal(rig_hw(*r, tp), keys);
    assert_int_equal(rig_read_all(*r, tp, 0, 100000, check, NULL), keys);
    struct rig_op *op = rig_append_full(*r, tp, -1, "again", 77, 0, keys - 1, 1, 0); /* a duplicate */
    rig_await(op);
    assert_int_equal(op->a.err.code, FLOE_OK);
    assert_int_equal(op->a.base_offset, keys - 1);
    rig_op_free(op);
    return gets;
}

/* THE BOUND of docs/ARCHITECTURE.md "Roll-ups", at every length of a chain: the first key, at most 7 up to a
 * multiple of 8 and 7 steps up to one of 64, one for each 64, 7 steps and 7 keys at the end. */
static void a_rebuild_reads_few_footers(void **state)
{
    (void)state;
    static const int KEYS[] = {1, 8, 9, 10, 63, 64, 65, 66, 72, 100, 127, 128, 129, 130, 500, 1400};
    struct floe_tp tp = rig_tp(1, 0);
    for (size_t i = 0; i < FLOE_COUNTOF(KEYS); i++) {
        struct rig_world *w;
        struct rig *r = rig_one(&w, NULL, tp);
        floe_sim_bucket_configure(w->bucket, &(struct floe_sim_bucket_config){.min_us = 100, .mean_us = 200});
        fill(r, tp, 0, KEYS[i]); /* faster than checkpoints may follow each other */
        assert_int_equal(r->published, 0);
        uint32_t gets = take_over(w, &r, tp, KEYS[i]);
        assert_in_range(gets, 1, (uint32_t)KEYS[i] / 64 + 16);
        rig_close(&w, &r);
    }
}

/* The span begins anywhere: behind a checkpoint. */
static void also_from_the_middle_of_a_chain(void **state)
{
    (void)state;
    struct floe_tp tp = rig_tp(1, 0);
    for (int before = 57; before < 75; before++) {
        struct rig_world *w;
        struct rig *r = rig_one(&w, NULL, tp);
        struct floe_partition *p;
        fill(r, tp, 0, before);
        floe_log_find(r->log, &tp, &p);
        floe_checkpoint_want(p);
        fill(r, tp, before, 200);
        assert_int_equal(r->published, 1);
        uint32_t gets = take_over(w, &r, tp, before + 200);
        assert_in_range(gets, 1, 200 / 64 + 16);
        rig_close(&w, &r);
    }
}

/* A chain of an older version has none, a full one has some: the rest is read key by key. */
static void a_rebuild_needs_no_rollup(void **state)
{
    (void)state;
    static const uint32_t ROOM[] = {64, 6000};
    struct floe_tp tp = rig_tp(1, 0);
    for (size_t i = 0; i < FLOE_COUNTOF(ROOM); i++) {
        struct rig_config cfg = {.segment_bytes = ROOM[i]};
        struct rig_world *w;
        struct rig *r = rig_one(&w, &cfg, tp);
        fill(r, tp, 0, 300);
        uint32_t gets = take_over(w, &r, tp, 300);
        if (i == 0)
            assert_int_equal(gets, 300);
        else
            assert_in_range(gets, 100, 290);
        rig_close(&w, &r);
    }
}

/* Bytes that went wrong in roll-ups, or a missing one's segment, cost requests and nothing else. */
static void a_bad_rollup_is_passed_by(void **state)
{
    (void)state;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig_world *w;
    struct rig *r = rig_one(&w, NULL, tp);
    fill(r, tp, 0, 300);
    for (uint64_t seq = 8; seq < 300; seq += 8) {
        char key[FLOE_CHAIN_KEY_MAX];
        floe_chain_key(key, &r->session, seq);
        const struct floe_sim_object *o = floe_sim_bucket_find(w->bucket, key);
        size_t n = o->n;
        uint8_t *bytes = malloc(n);
        FLOE_ASSERT(bytes);
        memcpy(bytes, o->data, n);
        bytes[floe_le64(bytes + n - FLOE_SEGMENT_TRAILER_BYTES) - 5] ^= 1; /* just before the footer */
        floe_sim_bucket_put(w->bucket, key, bytes, n, "x");
        free(bytes);
    }
    assert_int_equal(take_over(w, &r, tp, 300), 300);
    rig_close(&w, &r);
}

/* Answers that are lost, late, cut short or wrong. */
static void faults_while_rolled(void **state)
{
    (void)state;
    static const enum floe_sim_fault FAULTS[] = {FLOE_SIM_LOST_REQUEST, FLOE_SIM_HANG, FLOE_SIM_E503,
                                                 FLOE_SIM_TRUNCATED, FLOE_SIM_FLIPPED};
    struct floe_tp tp = rig_tp(1, 0);
    for (size_t i = 0; i < 2 * FLOE_COUNTOF(FAULTS); i++) {
        struct rig_world *w;
        struct rig *r = rig_one(&w, NULL, tp);
        fill(r, tp, 0, 333);
        floe_sim_bucket_rule(w->bucket, &(struct floe_sim_rule){.fault = FAULTS[i / 2],
                                                                .kinds = FLOE_SIM_KIND(FLOE_STORE_GET),
                                                                .prefix = "chain/",
                                                                .times = 15,
                                                                .ppm = i % 2 ? 900000 : 300000});
        take_over(w, &r, tp, 333);
        rig_close(&w, &r);
    }
}

/* Answers of PUTs that are lost, late or doubled: what lies at a key is what the roll-ups tell of. */
static void segments_that_were_put_again(void **state)
{
    (void)state;
    static const enum floe_sim_fault FAULTS[] = {
        FLOE_SIM_LOST_REQUEST, FLOE_SIM_LOST_ANSWER,  FLOE_SIM_BROKEN,      FLOE_SIM_LATE,
        FLOE_SIM_TWICE,        FLOE_SIM_E409_APPLIED, FLOE_SIM_E500_APPLIED};
    struct floe_tp tp = rig_tp(1, 0);
    for (size_t i = 0; i < FLOE_COUNTOF(FAULTS); i++) {
        struct rig_world *w;
        struct rig *r = rig_one(&w, NULL, tp);
        floe_sim_bucket_rule(w->bucket, &(struct floe_sim_rule){.fault = FAULTS[i],
                                                                .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                                                .prefix = "chain/",
                                                                .times = 20,
                                                                .ppm = 200000});
        fill(r, tp, 0, 140);
        floe_sim_bucket_heal(w->bucket);
        take_over(w, &r, tp, 140);
        rig_close(&w, &r);
    }
}

/* The session ended in the middle of what a roll-up would tell of: the next chain's tell of its own keys. */
static void a_new_session_begins_anew(void **state)
{
    (void)state;
    struct floe_tp tp = rig_tp(1, 0);
    struct rig_world *w;
    struct rig *r = rig_one(&w, NULL, tp);
    fill(r, tp, 0, 45);
    struct floe_session_name over = r->session;
    floe_log_session_over(r->log);
    uint64_t end = rig_seal(w, &over);
    rig_open(r);
    rig_take(r, &over, end);
    rig_await_serving(r, tp);
    fill(r, tp, 45, 200);
    assert_in_range(take_over(w, &r, tp, 245), 1, 200 / 64 + 16);
    rig_close(&w, &r);
}

static bool has_stopped(void *user)
{
    return ((struct rig *)user)->stopped > 0;
}

/* The span that begins for `to`. */
static struct floe_span move_to(struct rig *from, struct rig *to, struct floe_tp tp)
{
    from->stopped = 0;
    floe_log_stop(from->log, &tp);
    assert_true(floe_sim_run_until(from->w->sim, has_stopped, from, 20000000));
    rig_move(from, to, tp);
    const struct rig_lease *l = rig_lease(to->w, tp);
    struct floe_span next = l->spans[l->span_count - 1];
    rig_await_serving(to, tp);
    return next;
}

/* A partition that went and came back is in the same roll-ups twice, under two leader epochs; the span of its
 * second stay may begin too low, at keys of the first, which a checkpoint of the stay between may cover or
 * not. Each batch is taken once, from the span of its epoch. */
static void stays_are_told_apart_by_their_epochs(void **state)
{
    (void)state;
    enum { EXACT, LOW, LOW_BEHIND_A_CHECKPOINT, WAYS };
    struct floe_tp tp = rig_tp(1, 0);
    for (int how = 0; how < WAYS; how++) {
        struct rig_world *w;
        struct rig *a = rig_one(&w, NULL, tp), *b = rig_create(w, NULL);
        rig_open(b);
        struct floe_span stay[3] = {{.session = a->session}};
        fill(a, tp, 0, 70);
        stay[1] = move_to(a, b, tp);
        stay[0].end = a->stopped_end;
        fill(b, tp, 70, 20);
        rig_run(w, 1000000);
        struct rig_lease *l = rig_lease(w, tp);
        struct floe_checkpoint_ref between = l->ckpt;
        assert_true(between.present && floe_session_name_eq(&between.session, &b->session));
        stay[2] = move_to(b, a, tp);
        stay[1].end = FLOE_MAX(b->stopped_end, between.seq + 1);
        fill(a, tp, 90, 150);
        uint32_t from = how == LOW_BEHIND_A_CHECKPOINT ? 1 : 0; /* no later checkpoint was named */
        l->ckpt = between;
        l->ckpt.present = from == 1;
        if (from == 1)
            stay[1].first = between.seq;
        if (how != EXACT)
            stay[2].first = 0;
        l->span_count = 3 - from;
        memcpy(l->spans, &stay[from], l->span_count * sizeof stay[0]);
        assert_in_range(take_over(w, &a, tp, 240), 1, 240 / 64 + 3 * 16);
        rig_free(&b);
        rig_close(&w, &a);
    }
}

/* Garbage goes key by key: roll-ups that stay tell of segments that have gone, and those that went leave keys
 * without one. What is still there of the partition is found, and nothing else. */
static void what_lies_below_the_floor_is_not_missed(void **state)
{
    (void)state;
    static const int GONE[] = {1, 30, 63, 64, 65, 100, 128};
    struct floe_tp tp = rig_tp(1, 0), deleted = rig_tp(2, 1);
    for (size_t i = 0; i < FLOE_COUNTOF(GONE); i++) {
        struct rig_world *w;
        struct rig *r = rig_one(&w, NULL, tp);
        rig_new(r, deleted);
        fill(r, deleted, 0, GONE[i]);
        fill(r, tp, 0, 150); /* the lease names key 0 as the first one: it may be too low */
        assert_int_equal(r->published, 0);
        for (int seq = 0; seq < GONE[i]; seq++) {
            char key[FLOE_CHAIN_KEY_MAX];
            floe_chain_key(key, &r->session, (uint64_t)seq);
            assert_true(floe_sim_bucket_delete(w->bucket, key));
        }
        struct floe_session_name dead = r->session;
        rig_lease(w, deleted)->holder.epoch = 77; /* nobody's any more */
        rig_free(&r);
        r = rig_create(w, NULL);
        r->floor = (uint64_t)GONE[i];
        rig_open(r);
        rig_take(r, &dead, (uint64_t)GONE[i] + 150);
        rig_await_serving(r, tp);
        assert_int_equal(rig_hw(r, tp), 150);
        assert_int_equal(rig_read_all(r, tp, 0, 100000, check, NULL), 150);
        assert_int_equal(floe_log_find(r->log, &deleted, NULL), FLOE_PARTITION_ABSENT);
        rig_close(&w, &r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_carry_those_before),
        cmocka_unit_test(what_does_not_fit_is_left_out),
        cmocka_unit_test(golden),
        cmocka_unit_test(a_rebuild_reads_few_footers),
        cmocka_unit_test(also_from_the_middle_of_a_chain),
        cmocka_unit_test(a_rebuild_needs_no_rollup),
        cmocka_unit_test(a_bad_rollup_is_passed_by),
        cmocka_unit_test(faults_while_rolled),
        cmocka_unit_test(segments_that_were_put_again),
        cmocka_unit_test(a_new_session_begins_anew),
        cmocka_unit_test(stays_are_told_apart_by_their_epochs),
        cmocka_unit_test(what_lies_below_the_floor_is_not_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
