/* The store reader over the sim store: what it gives against what was written, faults, cache bounds,
 * read-ahead.
 * Long because: one rig of segments, index and a metered store serves all cases. */
#include "floe_cmocka.h"
#include "segment_fixture.h"

#include "log/read.h"

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>
#include <floe/sim.h>

#include <stdio.h>
#include <stdlib.h>

#define BATCHES_MAX 20000u
#define T0 INT64_C(1700000000000)

static const struct floe_session_name SESSION = {1, 2, 3};

struct record {
    int64_t offset, timestamp;
};
/* Passes requests on and adds up what GETs ask for. */
struct meter {
    struct floe_store base;
    struct floe_store *inner;
    uint64_t asked;
};
struct rig {
    struct meter meter;
    struct floe_sim *sim;
    struct floe_sim_bucket *bucket;
    struct floe_sim_node *node;
    struct floe_store *store;
    struct floe_budget budget;
    struct floe_log_reader *rd;
    struct floe_index *ix;
    struct floe_rng rng;
    uint64_t seq;
    int64_t end;
    struct floe_bufslice batch[BATCHES_MAX]; /* partition 0, in order */
    struct floe_batch head[BATCHES_MAX];
    uint32_t n;
    struct record *records; /* seek tests */
    uint32_t record_n;
    uint64_t gets;
};

static void count(void *user, const struct floe_sim_store_event *e)
{
    struct rig *g = user;
    g->gets += e->kind == FLOE_STORE_GET;
}

static void meter_submit(struct floe_store *s, struct floe_store_req *r)
{
    struct meter *m = FLOE_CONTAINER(s, struct meter, base);
    m->asked += r->length;
    floe_store_submit(m->inner, r);
}

static void meter_cancel(struct floe_store *s, struct floe_store_req *r)
{
    floe_store_cancel(FLOE_CONTAINER(s, struct meter, base)->inner, r);
}

static const struct floe_store_ops METER = {.name = "meter", .submit = meter_submit, .cancel = meter_cancel};

static struct rig *rig_create(size_t budget)
{
    struct rig *g = calloc(1, sizeof *g);
    g->sim = floe_sim_create(7);
    g->bucket = floe_sim_bucket_create(g->sim);
    g->node = floe_sim_node_create(g->sim, "reader");
    g->store = floe_sim_store_create(g->bucket, g->node);
    floe_sim_bucket_watch(g->bucket, count, g);
    floe_budget_init(&g->budget, budget);
    g->store->budget = &g->budget;
    g->meter = (struct meter){
        .base = {.ops = &METER, .loop = g->store->loop, .budget = &g->budget, .free_puts = true},
        .inner = g->store};
    floe_rng_init(&g->rng, 3);
    struct floe_log_reader_config cfg = {
        .loop = floe_sim_node_loop(g->node), .store = &g->meter.base, .cache_budget = &g->budget};
    assert_int_equal(floe_log_reader_create(&g->rd, &cfg), FLOE_OK);
    assert_int_equal(floe_index_create(&g->ix), FLOE_OK);
    return g;
}

static void rig_destroy(struct rig *g)
{
    floe_log_reader_destroy(&g->rd);
    floe_index_destroy(&g->ix);
    floe_sim_destroy(&g->sim);
    assert_int_equal(floe_budget_used(&g->budget), 0);
    for (uint32_t i = 0; i < g->n; i++)
        floe_buf_unref(g->batch[i].buf);
    free(g->records);
    free(g);
}

/* A real batch whose records have timestamps that go up and down. */
static struct floe_bufslice real_batch(struct rig *g, int64_t base, struct floe_batch *out)
{
    struct floe_batch_builder b;
    struct floe_writer w;
    struct floe_error err = {0};
    floe_writer_init(&w, 1u << 20);
    floe_batch_builder_init(&b, (enum floe_compression)floe_rng_below(&g->rng, FLOE_COMPRESSION_COUNT),
                            1u << 20);
    b.head.base_offset = base;
    b.head.leader_epoch = 4;
    uint32_t n = 1 + (uint32_t)floe_rng_below(&g->rng, 6);
    for (uint32_t i = 0; i < n; i++) {
        int64_t t = T0 + base * 10 + (int64_t)floe_rng_below(&g->rng, 400);
        assert_int_equal(floe_batch_builder_add(&b, t, (struct floe_kbytes){NULL, -1},
                                                (struct floe_kbytes){(const uint8_t *)"value", 5}, NULL, 0,
                                                &err),
                         FLOE_OK);
        g->records = realloc(g->records, (g->record_n + 1) * sizeof *g->records);
        g->records[g->record_n++] = (struct record){base + i, t};
    }
    assert_int_equal(floe_batch_builder_finish(&b, &w, &err), FLOE_OK);
    floe_batch_builder_fini(&b);
    struct floe_buf *buf = floe_buf_create_forced(w.n, NULL);
    memcpy(buf->data, w.p, w.n);
    buf->n = w.n;
    floe_writer_fini(&w);
    floe_batch_patch(buf->data, base, 4);
    assert_int_equal(floe_batch_parse(floe_slice(buf->data, buf->n), out, &err), FLOE_OK);
    return (struct floe_bufslice){buf, buf->data, buf->n};
}

/* Writes one segment: `batches` of partition 0 with `payload` bytes each, one of another, index blocks due.
 */
static void segment(struct rig *g, uint32_t batches, uint32_t payload, bool real)
{
    struct floe_segment_writer *w;
    struct floe_uuid cluster = fixture_uuid(1), topic = fixture_uuid(2),
                     nonce = fixture_uuid((uint8_t)g->seq);
    assert_int_equal(floe_segment_writer_create(&w, &cluster), FLOE_OK);
    fixture_add(w, 9, 5, &(struct fixture_batch){.base_offset = (int64_t)g->seq, .count = 1, .payload = 100});
    for (uint32_t i = 0; i < batches; i++) {
        FLOE_ASSERT(g->n < BATCHES_MAX);
        struct fixture_batch f = {.base_offset = g->end,
                                  .timestamp = T0 + g->end,
                                  .producer_id = -1,
                                  .leader_epoch = 4,
                                  .count = 1 + (int32_t)(g->n % 7),
                                  .payload = payload};
        g->batch[g->n] =
            real ? real_batch(g, g->end, &g->head[g->n]) : fixture_batch_make(&f, &g->head[g->n]);
        assert_int_equal(floe_segment_add_batch(w, &topic, 0, 4, "t", &g->head[g->n], &g->batch[g->n], NULL),
                         FLOE_OK);
        g->end = floe_batch_last_offset(&g->head[g->n]) + 1;
        g->n++;
    }
    struct floe_index_block rides[8];
    uint32_t ride_n = 0;
    while (ride_n < 8 && floe_index_block_due(g->ix)) {
        struct floe_writer iw;
        floe_writer_init(&iw, FLOE_INDEX_BLOCK_BYTES_MAX);
        assert_int_equal(floe_index_block_begin(g->ix, &iw, &rides[ride_n++]), FLOE_OK);
        struct floe_buf *b = floe_buf_create_forced(iw.n, NULL);
        memcpy(b->data, iw.p, iw.n);
        struct floe_bufslice s = {b, b->data, iw.n};
        struct floe_segment_opaque o = {.kind = FLOE_OPAQUE_INDEX, .has_topic = true, .topic = topic};
        assert_int_equal(floe_segment_add_opaque(w, &o, "t", &s, NULL), FLOE_OK);
        floe_buf_unref(b);
        floe_writer_fini(&iw);
    }
    struct floe_segment_image image;
    struct floe_error err = {0};
    assert_int_equal(floe_segment_finish(w, &SESSION, g->seq, &nonce, T0, &image, &err), FLOE_OK);
    struct floe_buf *flat = fixture_flatten(&image);
    char key[FLOE_CHAIN_KEY_MAX];
    floe_chain_key(key, &SESSION, g->seq);
    floe_sim_bucket_put(g->bucket, key, flat->data, flat->n, "");
    for (uint32_t i = 0; i < image.block_count; i++)
        if (floe_uuid_eq(&image.blocks[i].topic, &topic)) {
            struct floe_index_entry e = floe_index_entry_of(&image.blocks[i], &SESSION, g->seq);
            assert_int_equal(floe_index_append(g->ix, &e), FLOE_OK);
        }
    for (uint32_t i = 0; i < ride_n; i++) {
        struct floe_index_entry where = {.session = SESSION,
                                         .seq = g->seq,
                                         .position = image.opaques[i].position,
                                         .length = image.opaques[i].length,
                                         .crc = image.opaques[i].crc};
        assert_int_equal(floe_index_block_done(g->ix, &rides[i], &where), FLOE_OK);
    }
    floe_buf_unref(flat);
    floe_segment_writer_destroy(&w);
    g->seq++;
}

/* ---- reads ---------------------------------------------------------------------------------------- */

struct read {
    struct floe_log_read r;
    bool done;
};

static void read_done(struct floe_log_read *r)
{
    FLOE_CONTAINER(r, struct read, r)->done = true;
}

static bool is_true(void *user)
{
    return *(bool *)user;
}

static void start_read(struct rig *g, struct read *r, int64_t offset, uint32_t max_bytes, bool min_one)
{
    *r = (struct read){.r = {.offset = offset,
                             .max_bytes = max_bytes,
                             .min_one = min_one,
                             .done = read_done,
                             .high_watermark = g->end}};
    floe_log_reader_read(g->rd, g->ix, g->end, &r->r);
    assert_false(r->done);
}

static void run_read(struct rig *g, struct read *r, int64_t offset, uint32_t max_bytes, bool min_one)
{
    start_read(g, r, offset, max_bytes, min_one);
    assert_true(floe_sim_run_until(g->sim, is_true, &r->done, 600000000));
}

static void fini_read(struct read *r)
{
    for (uint32_t i = 0; i < r->r.slice_count; i++)
        floe_buf_unref(r->r.slices[i].buf);
    free(r->r.slices);
}

/* The bytes are those of whole batches from the one that holds `offset`; returns where to go on. */
static int64_t check_bytes(const struct rig *g, const struct read *r)
{
    uint32_t i = 0;
    while (floe_batch_last_offset(&g->head[i]) < r->r.offset)
        i++;
    int64_t next = r->r.offset;
    uint64_t total = 0;
    for (uint32_t s = 0; s < r->r.slice_count; s++)
        for (size_t at = 0; at < r->r.slices[s].n; i++) {
            assert_true(i < g->n && at + g->batch[i].n <= r->r.slices[s].n);
            assert_memory_equal(r->r.slices[s].p + at, g->batch[i].p, g->batch[i].n);
            at += g->batch[i].n;
            total += g->batch[i].n;
            next = floe_batch_last_offset(&g->head[i]) + 1;
        }
    assert_int_equal(total, r->r.bytes);
    return next;
}

struct seek {
    struct floe_log_seek s;
    bool done;
};

static void seek_done(struct floe_log_seek *s)
{
    FLOE_CONTAINER(s, struct seek, s)->done = true;
}

static void run_seek(struct rig *g, struct seek *s, int64_t timestamp)
{
    *s = (struct seek){.s = {.timestamp = timestamp, .done = seek_done}};
    floe_log_reader_seek(g->rd, g->ix, 0, g->end, &s->s);
    assert_false(s->done);
    assert_true(floe_sim_run_until(g->sim, is_true, &s->done, 600000000));
}

static void replay(void **state)
{
    (void)state;
    struct rig *g = rig_create(64u << 20);
    for (int i = 0; i < 200; i++)
        segment(g, 30, 9000, false); /* about 270 KiB of partition 0 each */
    uint64_t bytes = 0, t0 = floe_sim_now_us(g->sim);
    for (int64_t at = 0; at < g->end;) {
        struct read r;
        run_read(g, &r, at, 1000000, true);
        if (r.r.err.code)
            fail_msg("%s", r.r.err.msg);
        assert_true(r.r.bytes > 0 && r.r.bytes <= 1000000);
        at = check_bytes(g, &r);
        bytes += r.r.bytes;
        assert_true(floe_budget_used(&g->budget) <= g->budget.limit);
        fini_read(&r);
    }
    uint64_t took = floe_sim_now_us(g->sim) - t0;
    assert_true(bytes > 50u << 20);
    /* Each block once, some pages; and in far less time than one GET after the other takes (10 ms on
     * average). */
    assert_true(g->gets <= 200 + 10);
    assert_true(took < g->gets * 10000 / 3);
    rig_destroy(g);
}

/* Most of the budget is the reader's, until others want it: then half. */
static void gives_way(void **state)
{
    (void)state;
    struct rig *g = rig_create(16u << 20);
    for (int i = 0; i < 100; i++)
        segment(g, 30, 9000, false);
    for (int64_t at = 0; at < g->end;) {
        struct read r;
        run_read(g, &r, at, 1000000, true);
        at = check_bytes(g, &r);
        fini_read(&r);
    }
    floe_sim_run_for(g->sim, 1000000);
    assert_in_range(floe_budget_used(&g->budget), 11u << 20, 14u << 20);
    floe_log_reader_give_way(g->rd, 1u << 20);
    assert_true(floe_budget_used(&g->budget) >= 11u << 20); /* there was room */
    floe_log_reader_give_way(g->rd, 16u << 20);
    assert_in_range(floe_budget_used(&g->budget), 6u << 20, 8u << 20);
    rig_destroy(g);
}

static void random_reads(void **state)
{
    (void)state;
    struct rig *g = rig_create(8u << 20);
    for (int i = 0; i < 40; i++)
        segment(g, 1 + (uint32_t)floe_rng_below(&g->rng, 60), (uint32_t)floe_rng_below(&g->rng, 40000),
                false);
    for (int i = 0; i < 400; i++) {
        struct read r;
        int64_t at = (int64_t)floe_rng_below(&g->rng, (uint64_t)g->end);
        uint32_t max = (uint32_t)floe_rng_below(&g->rng, 200000);
        bool min_one = floe_rng_below(&g->rng, 2) == 0;
        run_read(g, &r, at, max, min_one);
        assert_int_equal(r.r.err.code, FLOE_OK);
        int64_t next = check_bytes(g, &r);
        assert_true(r.r.bytes <= max || (min_one && r.r.slice_count == 1));
        assert_true(next > at || !min_one);
        fini_read(&r);
        assert_true(floe_budget_used(&g->budget) <= g->budget.limit);
    }
    rig_destroy(g);
}

/* Many segments of one block each: the index has pages on two levels, and memory stays small. */
static void old_index_blocks_come_from_the_store(void **state)
{
    (void)state;
    struct rig *g = rig_create(16u << 20);
    for (int i = 0; i < 6000; i++)
        segment(g, 1, 50, false);
    assert_true(floe_index_memory(g->ix) < 64u << 10);
    for (int i = 0; i < 200; i++) {
        struct read r;
        run_read(g, &r, (int64_t)floe_rng_below(&g->rng, (uint64_t)g->end), 100, true);
        assert_int_equal(r.r.err.code, FLOE_OK);
        assert_true(check_bytes(g, &r) > r.r.offset);
        fini_read(&r);
    }
    rig_destroy(g);
}

/* A cache that can keep no index block at all: whoever waits for one gets further by it all the same, and
 * nobody fetches in circles. */
static void a_cache_that_keeps_nothing(void **state)
{
    (void)state;
    struct rig *g = rig_create(4096);
    for (int i = 0; i < 4500; i++)
        segment(g, 1, 0, true); /* two levels of index blocks */
    struct floe_index_hit hit;
    assert_int_equal(floe_index_lookup(g->ix, 0, &hit), FLOE_OK);
    assert_int_equal(hit.level, 2);
    static struct read r[20];
    int64_t at[20];
    for (int i = 0; i < 20; i++)
        at[i] = (int64_t)floe_rng_below(&g->rng, (uint64_t)g->end / 2);
    for (int turn = 0; turn < 12; turn++) { /* sequential, so that there is read-ahead */
        for (int i = 0; i < 20; i++)
            start_read(g, &r[i], at[i], 100, true);
        for (int i = 0; i < 20; i++) {
            assert_true(floe_sim_run_until(g->sim, is_true, &r[i].done, 450000000));
            assert_int_equal(r[i].r.err.code, FLOE_OK);
            at[i] = check_bytes(g, &r[i]);
            assert_true(at[i] > r[i].r.offset);
            fini_read(&r[i]);
        }
        assert_true(floe_budget_used(&g->budget) < 1u << 20);
    }
    floe_sim_run_for(g->sim, 10000000);
    uint64_t gets = g->gets;
    floe_sim_run_for(g->sim, 45000000);
    assert_int_equal(g->gets, gets);
    for (int i = 0; i < 200; i++) {
        struct seek s;
        int64_t t = T0 + (int64_t)floe_rng_below(&g->rng, (uint64_t)g->end * 5);
        gets = g->gets;
        run_seek(g, &s, i % 20 ? t : FLOE_LOG_MAX_TIMESTAMP);
        assert_int_equal(s.s.err.code, FLOE_OK);
        assert_true(s.s.offset >= 0);
        assert_in_range(g->gets - gets, 1, 12); /* a way down for each block that is looked into */
    }
    assert_true(floe_budget_used(&g->budget) <= 4096);
    rig_destroy(g);
}

static void many_at_once(void **state)
{
    (void)state;
    struct rig *g = rig_create(16u << 20);
    for (int i = 0; i < 100; i++)
        segment(g, 10, 5000, false);
    static struct read r[300];
    for (int i = 0; i < 300; i++)
        start_read(g, &r[i], (int64_t)floe_rng_below(&g->rng, (uint64_t)g->end), 60000, true);
    for (int i = 0; i < 300; i++) {
        assert_true(floe_sim_run_until(g->sim, is_true, &r[i].done, 600000000));
        assert_int_equal(r[i].r.err.code, FLOE_OK);
        assert_true(check_bytes(g, &r[i]) > r[i].r.offset);
        fini_read(&r[i]);
    }
    assert_true(g->gets <= 300); /* readers of the same block share its GET */
    rig_destroy(g);
}

static void wrong_bytes(void **state)
{
    (void)state;
    struct rig *g = rig_create(16u << 20);
    segment(g, 4, 1000, false);
    segment(g, 4, 1000, false);
    struct read r;
    /* Once: read again, nobody notices. */
    floe_sim_bucket_rule(g->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_FLIPPED, .times = 1});
    run_read(g, &r, 0, 2000, true);
    assert_int_equal(r.r.err.code, FLOE_OK);
    check_bytes(g, &r);
    fini_read(&r);
    assert_int_equal(g->gets, 2);
    floe_sim_bucket_heal(g->bucket);
    /* For ever: an error that names the place; the next try asks the store again. */
    char key[FLOE_CHAIN_KEY_MAX];
    floe_chain_key(key, &SESSION, 1);
    floe_sim_bucket_rule(g->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_FLIPPED, .prefix = key});
    int64_t second = g->head[4].base_offset;
    for (int i = 0; i < 2; i++) {
        run_read(g, &r, second, 2000, true);
        assert_int_equal(r.r.err.code, FLOE_ECORRUPT);
        assert_non_null(strstr(r.r.err.msg, key));
        assert_int_equal(r.r.slice_count, 0);
        fini_read(&r);
    }
    run_read(g, &r, 0, 2000, true); /* others go on */
    assert_int_equal(r.r.err.code, FLOE_OK);
    fini_read(&r);
    floe_sim_bucket_heal(g->bucket);
    run_read(g, &r, second, 2000, true);
    assert_int_equal(r.r.err.code, FLOE_OK);
    check_bytes(g, &r);
    fini_read(&r);
    rig_destroy(g);
}

/* Wherever the wrong bit lies: in whole pieces, of which the driver tells the CRC, or at a block's ends. */
static void wrong_bytes_of_large_blocks(void **state)
{
    (void)state;
    struct rig *g = rig_create(1u << 20);
    enum { SEGMENTS = 80, BATCHES = 3 };
    for (int i = 0; i < SEGMENTS; i++)
        segment(g, BATCHES, 21000, false);
    for (uint32_t i = SEGMENTS; i-- > 0;) { /* backwards: nothing is read ahead */
        struct read r;
        uint64_t before = g->gets;
        floe_sim_bucket_rule(g->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_FLIPPED, .times = 1});
        run_read(g, &r, g->head[i * BATCHES].base_offset, 1u << 20, true);
        assert_int_equal(r.r.err.code, FLOE_OK);
        check_bytes(g, &r);
        fini_read(&r);
        assert_true(g->gets >= before + 2); /* seen, and read again */
        floe_sim_bucket_heal(g->bucket);
    }
    rig_destroy(g);
}

static void store_errors(void **state)
{
    (void)state;
    const struct {
        enum floe_sim_fault fault;
        enum floe_err code;
    } cases[] = {{FLOE_SIM_DENIED, FLOE_EDENIED},
                 {FLOE_SIM_ABSENT, FLOE_ECORRUPT},
                 {FLOE_SIM_E503, FLOE_EUNAVAILABLE},
                 {FLOE_SIM_TRUNCATED, FLOE_ECORRUPT}};
    struct rig *g = rig_create(16u << 20);
    segment(g, 4, 1000, false);
    for (size_t i = 0; i < FLOE_COUNTOF(cases); i++) {
        floe_sim_bucket_rule(g->bucket, &(struct floe_sim_rule){.fault = cases[i].fault});
        struct read r;
        run_read(g, &r, 0, 2000, true);
        assert_int_equal(r.r.err.code, cases[i].code);
        assert_non_null(strstr(r.r.err.msg, "chain/1-2-0000000000000003/00000000000000000000: byte "));
        fini_read(&r);
        floe_sim_bucket_heal(g->bucket);
    }
    struct read r;
    run_read(g, &r, 0, 2000, true);
    assert_int_equal(r.r.err.code, FLOE_OK);
    fini_read(&r);
    rig_destroy(g);
}

static void bad_index_blocks(void **state)
{
    (void)state;
    struct rig *g = rig_create(16u << 20);
    for (int i = 0; i < 140; i++)
        segment(g, 1, 50, false);
    struct floe_index_hit hit;
    assert_int_equal(floe_index_lookup(g->ix, 0, &hit), FLOE_OK);
    assert_true(hit.level > 0);
    char key[FLOE_CHAIN_KEY_MAX];
    floe_chain_key(key, &hit.entry.session, hit.entry.seq);
    floe_sim_bucket_rule(g->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_ABSENT, .prefix = key});
    struct read r;
    run_read(g, &r, 0, 100, true);
    assert_int_equal(r.r.err.code, FLOE_ECORRUPT);
    assert_non_null(strstr(r.r.err.msg, key));
    fini_read(&r);
    run_read(g, &r, g->end - 1, 100, true); /* newer data needs no index block */
    assert_int_equal(r.r.err.code, FLOE_OK);
    fini_read(&r);
    floe_sim_bucket_heal(g->bucket);
    run_read(g, &r, 0, 100, true);
    assert_int_equal(r.r.err.code, FLOE_OK);
    fini_read(&r);
    rig_destroy(g);
}

static void cancel_forget_destroy(void **state)
{
    (void)state;
    struct rig *g = rig_create(16u << 20);
    for (int i = 0; i < 5; i++)
        segment(g, 4, 1000, false);
    struct read a, b, c;
    start_read(g, &a, 0, 2000, true);
    start_read(g, &b, 0, 2000, true);
    floe_sim_run_for(g->sim, 10); /* the GET is on its way */
    floe_log_reader_cancel(g->rd, &a.r);
    assert_true(floe_sim_run_until(g->sim, is_true, &b.done, 60000000));
    assert_false(a.done);
    assert_int_equal(b.r.err.code, FLOE_OK);
    fini_read(&b);
    floe_log_reader_cancel(g->rd, &b.r); /* after the end: nothing */
    start_read(g, &c, g->head[16].base_offset, 2000, true);
    floe_sim_run_for(g->sim, 10);
    floe_log_reader_forget(g->rd, g->ix);
    assert_false(c.done);
    assert_true(floe_sim_run_until(g->sim, is_true, &c.done, 1000));
    assert_int_equal(c.r.err.code, FLOE_ENOTHOLDER);
    fini_read(&c);
    start_read(g, &a, g->head[8].base_offset, 2000, true); /* under way when the reader goes */
    floe_sim_run_for(g->sim, 10);
    rig_destroy(g);
    assert_false(a.done);

    g = rig_create(16u << 20);
    segment(g, 4, 1000, false);
    start_read(g, &a, 0, 2000, true);
    floe_sim_run_for(g->sim, 10);
    floe_sim_node_kill(g->node);
    rig_destroy(g);
}

/* ---- seeks ---------------------------------------------------------------------------------------- */

static void timestamps_are_found_to_the_record(void **state)
{
    (void)state;
    struct rig *g = rig_create(16u << 20);
    struct seek s;
    run_seek(g, &s, T0); /* an empty partition has no answer */
    assert_int_equal(s.s.offset, -1);
    for (int i = 0; i < 900; i++)
        segment(g, 1 + (uint32_t)floe_rng_below(&g->rng, 3), 0, true);
    for (int k = 0; k < 300; k++) {
        int64_t t = T0 - 100 + (int64_t)floe_rng_below(&g->rng, (uint64_t)g->end * 10 + 700);
        run_seek(g, &s, t);
        assert_int_equal(s.s.err.code, FLOE_OK);
        uint32_t i = 0;
        while (i < g->record_n && g->records[i].timestamp < t)
            i++;
        assert_int_equal(s.s.offset, i == g->record_n ? -1 : g->records[i].offset);
        assert_int_equal(s.s.found_timestamp, i == g->record_n ? -1 : g->records[i].timestamp);
        assert_int_equal(s.s.leader_epoch, i == g->record_n ? -1 : 4);
    }
    run_seek(g, &s, FLOE_LOG_MAX_TIMESTAMP);
    uint32_t best = 0;
    for (uint32_t i = 0; i < g->record_n; i++)
        if (g->records[i].timestamp > g->records[best].timestamp)
            best = i;
    assert_int_equal(s.s.found_timestamp, g->records[best].timestamp);
    assert_int_equal(s.s.offset, g->records[best].offset);
    rig_destroy(g);
}

/* ---- many partitions ------------------------------------------------------------------------------ */

#define PARTS 40

/* Segments of one 50 KB batch of each of many partitions. */
struct spread {
    struct rig *g;
    struct floe_index *ix[PARTS];
    int64_t end, at[PARTS];
};

static void spread_create(struct spread *s, int segments)
{
    s->g = rig_create(64u << 20);
    s->end = segments * 10;
    for (int p = 0; p < PARTS; p++)
        assert_int_equal(floe_index_create(&s->ix[p]), FLOE_OK);
    for (uint64_t seq = 0; seq < (uint64_t)segments; seq++) {
        struct floe_segment_writer *w;
        struct floe_uuid cluster = fixture_uuid(1), nonce = fixture_uuid((uint8_t)seq);
        assert_int_equal(floe_segment_writer_create(&w, &cluster), FLOE_OK);
        for (int p = 0; p < PARTS; p++)
            fixture_add(
                w, 2, p,
                &(struct fixture_batch){
                    .base_offset = (int64_t)seq * 10, .count = 10, .producer_id = p, .payload = 50000});
        struct floe_segment_image image;
        struct floe_error err = {0};
        assert_int_equal(floe_segment_finish(w, &SESSION, seq, &nonce, T0, &image, &err), FLOE_OK);
        struct floe_buf *flat = fixture_flatten(&image);
        char key[FLOE_CHAIN_KEY_MAX];
        floe_chain_key(key, &SESSION, seq);
        floe_sim_bucket_put(s->g->bucket, key, flat->data, flat->n, "");
        for (uint32_t i = 0; i < image.block_count; i++) {
            struct floe_index_entry e = floe_index_entry_of(&image.blocks[i], &SESSION, seq);
            assert_int_equal(floe_index_append(s->ix[image.blocks[i].partition], &e), FLOE_OK);
        }
        floe_buf_unref(flat);
        floe_segment_writer_destroy(&w);
    }
}

static void spread_destroy(struct spread *s)
{
    struct rig *g = s->g;
    for (int p = 0; p < PARTS; p++)
        floe_log_reader_forget(g->rd, s->ix[p]);
    for (int p = 0; p < PARTS; p++)
        floe_index_destroy(&s->ix[p]);
    rig_destroy(g);
}

/* One read of a partition, checked; returns its bytes. */
static uint64_t spread_read(struct spread *s, int p)
{
    struct read r = {.r = {.offset = s->at[p], .max_bytes = 200000, .min_one = true, .done = read_done}};
    floe_log_reader_read(s->g->rd, s->ix[p], s->end, &r.r);
    assert_true(floe_sim_run_until(s->g->sim, is_true, &r.done, 600000000));
    assert_int_equal(r.r.err.code, FLOE_OK);
    uint64_t bytes = r.r.bytes;
    for (uint32_t i = 0; i < r.r.slice_count; i++) {
        struct floe_slice rest = floe_slice(r.r.slices[i].p, r.r.slices[i].n), one;
        struct floe_batch b;
        while (rest.n > 0) {
            assert_int_equal(floe_batch_next(&rest, &b, &one, NULL), FLOE_OK);
            assert_int_equal(b.base_offset, s->at[p]);
            assert_int_equal(b.producer_id, p);
            assert_true(floe_batch_crc_ok(one.p, &b));
            s->at[p] = floe_batch_last_offset(&b) + 1;
        }
    }
    fini_read(&r);
    return bytes;
}

static void partitions_of_a_segment_share_its_gets(void **state)
{
    (void)state;
    struct spread s = {0};
    spread_create(&s, 60);
    for (bool more = true; more;) {
        more = false;
        for (int p = 0; p < PARTS; p++)
            if (s.at[p] < s.end) {
                spread_read(&s, p);
                more = true;
                assert_true(floe_budget_used(&s.g->budget) <= s.g->budget.limit);
            }
    }
    /* 60 segments of 2 MB, 2,400 blocks: some are read alone before the readers are known as sequential. */
    assert_true(s.g->gets < 400);
    assert_true(s.g->meter.asked < (uint64_t)60 * PARTS * 50000 * 5 / 4);
    spread_destroy(&s);
}

/* Few readers far apart: wide GETs would bring mostly what nobody asks for, and are given up. */
static void lone_readers_do_not_pay_for_others(void **state)
{
    (void)state;
    struct spread s = {0};
    spread_create(&s, 150);
    s.at[7] = 500;
    s.at[20] = 1000;
    uint64_t bytes = 0;
    for (int i = 0; i < 60; i++)
        for (int p = 0; p < PARTS; p++)
            if ((p == 0 || p == 7 || p == 20) && s.at[p] < s.end)
                bytes += spread_read(&s, p);
    assert_true(s.g->meter.asked < bytes * 2);
    spread_destroy(&s);
}

/* Answers that nobody takes keep the buffers of their GETs: these count, and small pieces of large ones are
 * copied before they outgrow the cache. */
static void what_slow_readers_keep_is_bounded(void **state)
{
    (void)state;
    struct spread s = {0};
    static struct read kept[60 * PARTS];
    uint32_t n = 0;
    spread_create(&s, 60);
    s.g->budget.limit = 24u << 20;
    for (bool more = true; more;) {
        more = false;
        for (int p = 0; p < PARTS; p++) {
            if (s.at[p] >= s.end)
                continue;
            more = true;
            if (p % 20 != 0) {
                spread_read(&s, p);
                continue;
            }
            struct read *r = &kept[n++];
            *r = (struct read){
                .r = {.offset = s.at[p], .max_bytes = 60000, .min_one = true, .done = read_done}};
            floe_log_reader_read(s.g->rd, s.ix[p], s.end, &r->r);
            assert_true(floe_sim_run_until(s.g->sim, is_true, &r->done, 600000000));
            s.at[p] += 10;
        }
        assert_true(floe_budget_used(&s.g->budget) <= s.g->budget.limit + (4u << 20));
    }
    uint64_t pinned = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct floe_buf *b = kept[i].r.slices[0].buf;
        bool seen = false;
        assert_int_equal(kept[i].r.slice_count, 1);
        for (uint32_t k = 0; k < i; k++)
            seen = seen || kept[k].r.slices[0].buf == b;
        pinned += seen ? 0 : b->cap;
    }
    assert_int_equal(n, 120);
    assert_true(pinned < 40u << 20); /* the segments are 120 MB */
    for (uint32_t i = 0; i < n; i++)
        fini_read(&kept[i]);
    spread_destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replay),
        cmocka_unit_test(gives_way),
        cmocka_unit_test(random_reads),
        cmocka_unit_test(old_index_blocks_come_from_the_store),
        cmocka_unit_test(a_cache_that_keeps_nothing),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(wrong_bytes),
        cmocka_unit_test(wrong_bytes_of_large_blocks),
        cmocka_unit_test(store_errors),
        cmocka_unit_test(bad_index_blocks),
        cmocka_unit_test(cancel_forget_destroy),
        cmocka_unit_test(timestamps_are_found_to_the_record),
        cmocka_unit_test(partitions_of_a_segment_share_its_gets),
        cmocka_unit_test(lone_readers_do_not_pay_for_others),
        cmocka_unit_test(what_slow_readers_keep_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
