/* Shared reads: two brokers of a rack over one store, with a wire between them that fails as told. */
#include "floe_cmocka.h"
#include "log/share_int.h"

#include <floe/base/assert.h>
#include <floe/kafka/codec.h>
#include <floe/sim.h>
#include <stdlib.h>

static const struct floe_session_name SESSION = {7, 2, 3};

enum wire { WIRE_FINE, WIRE_DOWN, WIRE_REFUSES, WIRE_LIES, WIRE_SILENT };
struct side {
    struct world *w;
    struct side *other;
    struct floe_sim_node *node;
    struct floe_log *log;
    struct floe_budget cache;
    struct floe_peers peers;
    struct floe_peer_call *call; /* the one under way */
    struct floe_timer timer;
    int32_t id, other_id; /* as it takes itself and the other for */
    uint32_t calls;
    bool alone;
};
struct world {
    struct floe_sim *sim;
    struct floe_sim_bucket *bucket;
    struct side a, b;
    enum wire wire;
    uint32_t gets;
};

static void count(void *user, const struct floe_sim_store_event *e)
{
    ((struct world *)user)->gets += e->kind == FLOE_STORE_GET;
}

/* ---- the wire ------------------------------------------------------------------------------------- */

static void lent(struct floe_log_lend *l)
{
    struct side *s = l->user; /* who asked */
    struct floe_peer_call *c = s->call;
    struct floe_kafka_PeerReadResponse rs;
    struct floe_writer w;
    struct floe_error err;
    s->call = NULL;
    floe_kafka_defaults(&floe_kafka_PeerReadResponse_desc, &rs);
    rs.Data = (struct floe_krecords){.p = (const uint8_t *)"", .n = 0};
    rs.ErrorCode = l->err.code || s->w->wire == WIRE_REFUSES ? FLOE_KERR_KAFKA_STORAGE_ERROR : 0;
    if (rs.ErrorCode == 0) {
        rs.Size = (int64_t)l->size;
        rs.From = (int64_t)l->from + (s->w->wire == WIRE_LIES);
        rs.Data = (struct floe_krecords){NULL, (int32_t)l->bytes, l->slice_count, l->slices};
    }
    floe_writer_init(&w, 8u << 20);
    assert_int_equal(floe_kafka_encode(&floe_kafka_PeerReadResponse_desc, 0, &rs, &w, &err), FLOE_OK);
    c->frame = floe_buf_create_forced(w.n, NULL);
    memcpy(c->frame->data, w.p, w.n);
    c->frame->n = w.n;
    c->response = floe_slice(c->frame->data, w.n);
    c->err = (struct floe_error){.code = FLOE_OK};
    floe_writer_fini(&w);
    floe_log_lend_fini(l);
    free(l);
    c->done(c);
}

static void on_wire(struct floe_timer *t)
{
    struct side *s = t->user;
    struct floe_peer_call *c = s->call;
    if (s->w->wire == WIRE_DOWN || s->w->wire == WIRE_SILENT) {
        s->call = NULL;
        floe_error_set(&c->err, s->w->wire == WIRE_DOWN ? FLOE_EUNAVAILABLE : FLOE_ETIMEOUT, "no answer");
        c->frame = NULL;
        c->done(c);
        return;
    }
    struct floe_arena arena;
    struct floe_error err;
    void *body;
    floe_arena_init(&arena, 4096);
    assert_int_equal(c->api_key, FLOE_PEER_READ);
    assert_int_equal(floe_kafka_decode(&floe_kafka_PeerReadRequest_desc, 0,
                                       floe_slice(c->body->p, c->body->n), &arena, &body, &err),
                     FLOE_OK);
    const struct floe_kafka_PeerReadRequest *rq = body;
    struct floe_log_lend *l = calloc(1, sizeof *l);
    *l = (struct floe_log_lend){.session = {rq->NodeId, rq->NodeEpoch, (uint64_t)rq->SessionId},
                                .seq = (uint64_t)rq->Seq,
                                .offset = rq->Offset,
                                .length = (uint32_t)rq->Length,
                                .done = lent,
                                .user = s};
    floe_arena_fini(&arena);
    floe_log_lend(s->other->log, l);
}

static void wire_call(struct floe_peers *p, struct floe_peer_call *c)
{
    struct side *s = FLOE_CONTAINER(p, struct side, peers);
    FLOE_ASSERT(!s->call); /* these tests ask for one thing at a time */
    s->call = c;
    s->calls++;
    floe_timer_start(p->loop, &s->timer, s->w->wire == WIRE_SILENT ? c->timeout_us : 200);
}

static void wire_cancel(struct floe_peers *p, struct floe_peer_call *c)
{
    struct side *s = FLOE_CONTAINER(p, struct side, peers);
    (void)c;
    s->call = NULL;
    floe_timer_stop(&s->timer);
}

static const struct floe_peer_ops WIRE = {.call = wire_call, .cancel = wire_cancel};

static uint32_t neighbours(void *user, struct floe_log_neighbour *out, uint32_t max)
{
    struct side *s = user;
    FLOE_ASSERT(max >= 2);
    out[0] = (struct floe_log_neighbour){.node = s->id, .own = true, .addr = "own:1"};
    out[1] = (struct floe_log_neighbour){.node = s->other_id, .addr = "other:1"};
    return s->alone ? 1 : 2;
}

/* ---- the world ------------------------------------------------------------------------------------ */

static void side_init(struct world *w, struct side *s, struct side *other, int32_t id)
{
    *s = (struct side){.w = w, .other = other, .id = id, .other_id = 3 - id, .peers = {.ops = &WIRE}};
    s->node = floe_sim_node_create(w->sim, id == 1 ? "a" : "b");
    s->peers.loop = floe_sim_node_loop(s->node);
    floe_timer_init(&s->timer, on_wire, s);
    floe_budget_init(&s->cache, 16u << 20);
    s->log = calloc(1, sizeof *s->log);
    s->log->cfg.loop = floe_sim_node_loop(s->node);
    s->log->cfg.store = floe_sim_store_create(w->bucket, s->node);
    s->log->cfg.cache_budget = &s->cache;
    s->log->cfg.peers = &s->peers;
    s->log->cfg.hooks.user = s;
    s->log->cfg.hooks.neighbours = neighbours;
    assert_int_equal(floe_share_create(&s->log->share, s->log), FLOE_OK);
}

static uint8_t byte_at(uint64_t seq, uint64_t at)
{
    return (uint8_t)(at * 31 + at / 251 + seq * 7);
}

static void put(struct world *w, uint64_t seq, size_t n)
{
    char key[FLOE_CHAIN_KEY_MAX];
    uint8_t *p = malloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = byte_at(seq, i);
    floe_chain_key(key, &SESSION, seq);
    floe_sim_bucket_put(w->bucket, key, p, n, "");
    free(p);
}

static struct world *world_create(void)
{
    struct world *w = calloc(1, sizeof *w);
    w->sim = floe_sim_create(5);
    w->bucket = floe_sim_bucket_create(w->sim);
    floe_sim_bucket_watch(w->bucket, count, w);
    side_init(w, &w->a, &w->b, 1);
    side_init(w, &w->b, &w->a, 2);
    return w;
}

static void side_fini(struct side *s)
{
    floe_timer_stop(&s->timer);
    floe_share_destroy(&s->log->share);
    assert_int_equal(floe_budget_used(&s->cache), 0);
    free(s->log);
}

static void world_destroy(struct world *w)
{
    side_fini(&w->a);
    side_fini(&w->b);
    floe_sim_destroy(&w->sim);
    free(w);
}

struct get {
    struct floe_store_req r;
    bool done;
};

static void get_done(struct floe_store_req *r)
{
    FLOE_CONTAINER(r, struct get, r)->done = true;
}

static bool is_true(void *user)
{
    return *(bool *)user;
}

static void start(struct side *s, struct get *g, uint64_t seq, int64_t offset, uint64_t length, bool fresh)
{
    *g = (struct get){.r = {.kind = FLOE_STORE_GET,
                            .cls = FLOE_STORE_DATA,
                            .offset = offset,
                            .length = length,
                            .fresh = fresh,
                            .attempts = 3,
                            .done = get_done}};
    floe_chain_key(g->r.key, &SESSION, seq);
    floe_store_submit(floe_share_store(s->log->share), &g->r);
}

/* Waits for it and looks at every byte. */
static void finish(struct world *w, struct get *g, uint64_t seq, uint64_t from, uint64_t n, uint64_t size)
{
    assert_true(floe_sim_run_until(w->sim, is_true, &g->done, 60000000));
    assert_int_equal(g->r.err.code, FLOE_OK);
    assert_int_equal(g->r.data->n, n);
    assert_int_equal(g->r.size, size);
    for (uint64_t i = 0; i < n; i++)
        assert_int_equal(g->r.data->data[i], byte_at(seq, from + i));
    floe_store_req_fini(&g->r);
}

static void get(struct side *s, uint64_t seq, int64_t offset, uint64_t length, uint64_t size)
{
    struct get g;
    uint64_t from = offset >= 0 ? (uint64_t)offset : size - FLOE_MIN(size, (uint64_t)-offset);
    start(s, &g, seq, offset, length, false);
    finish(s->w, &g, seq, from, FLOE_MIN(length, size - from), size);
}

/* ---- tests ---------------------------------------------------------------------------------------- */

#define SIZE 1000000u

static void an_empty_object_is_read_once(void **state)
{
    (void)state;
    struct world *w = world_create();
    for (uint64_t seq = 0; seq < 12; seq++) { /* each side owns some */
        put(w, seq, 0);
        w->gets = 0;
        get(&w->a, seq, -1000, 1000, 0);
        get(&w->a, seq, 0, 1000, 0);
        assert_in_range(w->gets, 1, 4);
    }
    world_destroy(w);
}

static void a_rack_reads_once(void **state)
{
    (void)state;
    struct world *w = world_create();
    for (uint64_t seq = 0; seq < 40; seq++) {
        put(w, seq, SIZE);
        get(&w->a, seq, 1000, 200000, SIZE);
        get(&w->b, seq, 50000, 100000, SIZE);
        get(&w->a, seq, 1000, 200000, SIZE);
        assert_int_equal(w->gets, seq + 1);
    }
    assert_in_range(w->a.calls, 5, 35); /* each owns some */
    assert_in_range(w->b.calls, 5, 35);
    assert_int_equal(w->a.log->stats.shared_got, w->a.calls);
    assert_int_equal(w->b.log->stats.lent, w->a.calls);
    assert_int_equal(w->b.log->stats.lent_bytes, w->a.log->stats.shared_bytes);
    for (uint64_t seq = 100; seq < 120; seq++) { /* last bytes, and a short object */
        uint64_t n = seq % 2 ? SIZE : 3000;
        uint32_t before = w->gets;
        put(w, seq, n);
        get(&w->a, seq, -4096, 4096, n);
        get(&w->b, seq, -4096, 4096, n);
        get(&w->b, seq, (int64_t)n - 100, 500, n);
        assert_int_equal(w->gets, before + 1);
    }
    world_destroy(w);
}

/* Whatever the neighbour does the bytes come, and are right; one that does not answer is not asked for a
 * while. */
static void a_bad_neighbour(void **state)
{
    (void)state;
    for (enum wire wire = WIRE_DOWN; wire <= WIRE_SILENT; wire++) {
        struct world *w = world_create();
        w->wire = wire;
        for (uint64_t seq = 0; seq < 20; seq++) {
            put(w, seq, SIZE);
            get(&w->a, seq, 0, 300000, SIZE);
        }
        assert_int_equal(w->a.log->stats.shared_got, 0);
        assert_true(w->a.calls > 0 && w->gets >= 20);
        bool answers = wire == WIRE_REFUSES || wire == WIRE_LIES;
        if (!answers)
            assert_int_equal(w->a.calls, 1);
        w->wire = WIRE_FINE;
        floe_sim_run_for(w->sim, 2 * SHARE_AVOID_MIN_US);
        for (uint64_t seq = 20; seq < 40; seq++) {
            put(w, seq, SIZE);
            get(&w->a, seq, 0, 300000, SIZE);
        }
        assert_true(w->a.log->stats.shared_got > 0);
        world_destroy(w);
    }
}

/* Both take the other for the owner: who is asked reads the store. */
static void no_ring(void **state)
{
    (void)state;
    struct world *w = world_create();
    w->b.id = w->a.id;
    w->b.other_id = w->a.other_id;
    struct get ga, gb;
    for (uint64_t seq = 0; seq < 20; seq++) {
        put(w, seq, SIZE);
        start(&w->a, &ga, seq, 0, 100000, false);
        start(&w->b, &gb, seq, 0, 100000, false);
        finish(w, &ga, seq, 0, 100000, SIZE);
        finish(w, &gb, seq, 0, 100000, SIZE);
    }
    assert_true(w->a.calls > 0 && w->a.calls == w->b.calls);
    world_destroy(w);
}

static void fresh_ones_come_from_the_store(void **state)
{
    (void)state;
    struct world *w = world_create();
    struct get g;
    put(w, 1, SIZE);
    get(&w->a, 1, 0, 100000, SIZE);
    get(&w->b, 1, 0, 100000, SIZE);
    uint32_t before = w->gets, calls = w->a.calls + w->b.calls;
    start(&w->a, &g, 1, 0, 100000, true);
    finish(w, &g, 1, 0, 100000, SIZE);
    assert_int_equal(w->gets, before + 1);
    assert_int_equal(w->a.calls + w->b.calls, calls);
    world_destroy(w);
}

/* What is kept is a quarter of the cache at most; without another broker the store is read as it is. */
static void what_is_kept(void **state)
{
    (void)state;
    struct world *w = world_create();
    for (uint64_t seq = 0; seq < 60; seq++) {
        put(w, seq, SIZE);
        get(&w->a, seq, 0, SIZE, SIZE);
        assert_true(floe_budget_used(&w->a.cache) <= w->a.cache.limit / 4);
        assert_true(floe_budget_used(&w->b.cache) <= w->b.cache.limit / 4);
    }
    world_destroy(w);
    w = world_create();
    w->a.alone = true;
    put(w, 0, SIZE);
    for (uint32_t i = 0; i < 3; i++)
        get(&w->a, 0, 0, 100000, SIZE);
    assert_int_equal(w->gets, 3);
    assert_int_equal(floe_budget_used(&w->a.cache), 0);
    world_destroy(w);
}

/* Requests that are given up, an object that is not there, a broker that goes with requests under way. */
static void ends(void **state)
{
    (void)state;
    struct world *w = world_create();
    struct get g;
    put(w, 0, SIZE);
    start(&w->a, &g, 0, 0, 100000, false);
    floe_sim_run_for(w->sim, 50);
    floe_store_cancel(floe_share_store(w->a.log->share), &g.r);
    floe_sim_run_for(w->sim, 1000000);
    assert_false(g.done);
    for (uint64_t seq = 50; seq < 54; seq++) {
        start(&w->a, &g, seq, 0, 100000, false);
        assert_true(floe_sim_run_until(w->sim, is_true, &g.done, 60000000));
        assert_int_equal(g.r.err.code, FLOE_ENOTFOUND);
        floe_store_req_fini(&g.r);
    }
    start(&w->a, &g, 0, 300000, 100000, false);
    floe_sim_run_for(w->sim, 50);
    world_destroy(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rack_reads_once),
        cmocka_unit_test(an_empty_object_is_read_once),
        cmocka_unit_test(a_bad_neighbour),
        cmocka_unit_test(no_ring),
        cmocka_unit_test(fresh_ones_come_from_the_store),
        cmocka_unit_test(what_is_kept),
        cmocka_unit_test(ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
