#include "lease_rig.h"

#include <floe/base/assert.h>
#include <floe/kafka/codec.h>

#include "lease/records.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the stand-in of the log -------------------------------------------------------------------------- */

struct write_op {
    struct floe_list link;
    struct lrig_broker *b;
    struct floe_session_name session;
    uint64_t seq;
    bool seal;
    struct floe_store_req req;
    struct floe_bufslice body;
    struct floe_buf *bytes;
};

struct lrig_part *lrig_part_of(struct lrig_broker *b, const struct floe_tp *tp)
{
    for (uint32_t i = 0; i < b->part_count; i++)
        if (floe_tp_eq(&b->parts[i].tp, tp))
            return &b->parts[i];
    FLOE_ASSERT(b->part_count < LRIG_PARTS);
    b->parts[b->part_count] = (struct lrig_part){.tp = *tp, .epoch = -1};
    return &b->parts[b->part_count++];
}

static void on_open(void *user, const struct floe_session_name *s)
{
    struct lrig_broker *b = user;
    assert_false(b->open);
    b->session = *s;
    b->open = b->alive = true;
    b->next = b->committed = 0;
    b->part_count = 0;
    b->opens++;
}

static void on_alive(void *user, bool alive)
{
    struct lrig_broker *b = user;
    assert_true(b->open);
    assert_true(b->alive != alive);
    b->alive = alive;
    b->lapses += !alive;
}

static void on_over(void *user, const char *why)
{
    struct lrig_broker *b = user;
    (void)why;
    assert_true(b->open);
    b->open = b->alive = false;
    b->part_count = 0;
    lrig_forget_moves(b);
    b->overs++;
}

struct adopting {
    struct floe_list link;
    struct lrig_broker *b;
    struct floe_session_name session;
    struct floe_tp tp;
    int32_t epoch;
};

static void on_rechecked(void *user, const struct floe_error *err)
{
    struct adopting *a = user, copy = *a;
    struct lrig_broker *b = copy.b;
    struct floe_lease_entry e;
    struct floe_error result = *err;
    floe_list_remove(&a->link);
    free(a);
    if (!b->open || !floe_session_name_eq(&b->session, &copy.session) || err->code == FLOE_ECLOSED)
        return;
    bool still = err->code == FLOE_OK && floe_lease_lookup(b->lease, &copy.tp, &e) && e.epoch == copy.epoch &&
                 floe_session_name_eq(&e.holder, &b->session);
    if (err->code == FLOE_OK && !still)
        result.code = FLOE_ENOTHOLDER;
    if (result.code == FLOE_OK) {
        if (floe_lease_alive(b->lease))
            lrig_check_single(b->rig, b, &copy.tp);
        lrig_part_of(b, &copy.tp)->epoch = copy.epoch;
    }
    floe_lease_adopted(b->lease, &copy.tp, copy.epoch, &result);
}

static void on_adopt(void *user, const struct floe_lease_entry *entries, uint32_t n)
{
    struct lrig_broker *b = user;
    assert_true(b->open);
    b->adopt_calls++;
    for (uint32_t i = 0; i < n; i++) {
        struct lrig_part *p = lrig_part_of(b, &entries[i].tp);
        assert_true(floe_session_name_eq(&entries[i].holder, &b->session));
        assert_int_equal(p->epoch, -1);
        p->adopts++;
        struct adopting *a = calloc(1, sizeof *a);
        *a = (struct adopting){.b = b, .session = b->session, .tp = entries[i].tp, .epoch = entries[i].epoch};
        floe_list_push_back(&b->adopting, &a->link);
        floe_lease_refresh(b->lease, &a->tp, on_rechecked, a);
    }
}

static void on_drop(void *user, const struct floe_tp *tp)
{
    struct lrig_broker *b = user;
    struct lrig_part *p = lrig_part_of(b, tp);
    p->epoch = -1;
    p->handing = p->stopping = false;
}

static uint64_t next_key(void *user)
{
    return ((struct lrig_broker *)user)->next;
}

static uint64_t committed(void *user)
{
    return ((struct lrig_broker *)user)->committed;
}

static void on_closed(void *user)
{
    struct lrig_broker *b = user;
    b->closed = true;
    if (b->destroy_on_close)
        floe_lease_destroy(&b->lease);
}

static void on_changed(void *user)
{
    struct lrig_broker *b = user;
    b->changes++;
    if (b->close_on_change)
        floe_lease_close(b->lease, on_closed, b);
}

static void on_catalog(void *user)
{
    ((struct lrig_broker *)user)->catalog_calls++;
}

static void on_fatal(void *user, const struct floe_error *err)
{
    struct lrig_broker *b = user;
    b->fatal = true;
    snprintf(b->last_fatal, sizeof b->last_fatal, "%s", err->msg);
}

static void on_note(void *user, enum floe_log_level level, const char *msg)
{
    struct lrig_broker *b = user;
    b->notes++;
    if (b->rig->verbose)
        printf("%8llu %s note %d: %s\n", (unsigned long long)floe_sim_now_us(b->rig->sim) / 1000, b->name,
               level, msg);
}

static bool serve(void *user, int16_t api_key, int16_t api_version, struct floe_slice body,
                  struct floe_writer *w)
{
    struct lrig_broker *b = user;
    struct floe_arena arena;
    struct floe_error err;
    void *rq;
    bool ok = false;
    if (b->lease == NULL)
        return false;
    floe_arena_init(&arena, 1 << 20);
    (void)api_version;
    if (api_key == 20000 &&
        floe_kafka_decode(&floe_kafka_PeerHeartbeatRequest_desc, 0, body, &arena, &rq, &err) == FLOE_OK) {
        struct floe_kafka_PeerHeartbeatResponse rs;
        floe_lease_heard(b->lease, rq, &rs);
        ok = floe_kafka_encode(&floe_kafka_PeerHeartbeatResponse_desc, 0, &rs, w, &err) == FLOE_OK;
    } else if (api_key == 20001 && floe_kafka_decode(&floe_kafka_PeerLeaseChangedRequest_desc, 0, body,
                                                     &arena, &rq, &err) == FLOE_OK) {
        struct floe_kafka_PeerLeaseChangedResponse rs;
        floe_kafka_defaults(&floe_kafka_PeerLeaseChangedResponse_desc, &rs);
        floe_lease_hint(b->lease, rq);
        ok = floe_kafka_encode(&floe_kafka_PeerLeaseChangedResponse_desc, 0, &rs, w, &err) == FLOE_OK;
    } else if (api_key == 20010 && floe_kafka_decode(&floe_kafka_PeerMoveAheadRequest_desc, 0, body, &arena,
                                                     &rq, &err) == FLOE_OK) {
        struct floe_kafka_PeerMoveAheadResponse rs;
        floe_kafka_defaults(&floe_kafka_PeerMoveAheadResponse_desc, &rs);
        rs.Waiting = lrig_read_ahead(b, rq);
        ok = floe_kafka_encode(&floe_kafka_PeerMoveAheadResponse_desc, 0, &rs, w, &err) == FLOE_OK;
    }
    floe_arena_fini(&arena);
    assert_true(ok);
    return ok;
}

/* ---- life ---------------------------------------------------------------------------------------------- */

void lrig_init(struct lrig *r, uint64_t seed, uint32_t lease_ms)
{
    *r = (struct lrig){.lease_ms = lease_ms, .shards = FLOE_LEASE_SHARDS_DEFAULT};
    r->sim = floe_sim_create(seed);
    r->bucket = floe_sim_bucket_create(r->sim);
    r->net = floe_sim_net_create(r->sim);
    r->cluster.b[0] = 7;
    r->verbose = getenv("LRIG_VERBOSE") != NULL;
    if (r->verbose)
        setvbuf(stdout, NULL, _IOLBF, 0);
    lrig_watch_start(r);
    for (int i = 0; i < LRIG_BROKERS; i++) {
        struct lrig_broker *b = &r->b[i];
        b->rig = r;
        snprintf(b->name, sizeof b->name, "b%d", i);
        snprintf(b->addr, sizeof b->addr, "10.0.0.%d:9093", i + 1);
        floe_list_init(&b->adopting);
        floe_list_init(&b->writes);
        floe_list_init(&b->ckpts);
        b->disk = floe_sim_disk_create(r->sim);
        b->parts = calloc(LRIG_PARTS, sizeof *b->parts);
    }
}

void lrig_fini(struct lrig *r)
{
    for (int i = 0; i < LRIG_BROKERS; i++) {
        if (r->b[i].up)
            lrig_kill(r, i);
        free(r->b[i].parts);
    }
    lrig_watch_stop(r);
    floe_sim_destroy(&r->sim);
}

static void on_started(void *user, const struct floe_error *err)
{
    struct lrig_broker *b = user;
    b->started = err->code == FLOE_OK;
    b->start_failed = !b->started;
    b->start_err = *err;
    if (b->close_on_start)
        floe_lease_close(b->lease, on_closed, b);
}

void lrig_boot(struct lrig *r, int i)
{
    struct lrig_broker *b = &r->b[i];
    struct floe_error err = {0};
    assert_false(b->up);
    if (b->vanished) {
        floe_sim_net_unlisten(r->net, b->addr);
        floe_sim_net_vanish(r->net, b->name, false);
        b->vanished = false;
    }
    b->node = floe_sim_node_create(r->sim, b->name);
    b->store = floe_sim_store_create(r->bucket, b->node);
    assert_int_equal(floe_table_store_create(&b->table, b->store, &err), FLOE_OK);
    assert_int_equal(floe_sim_tier_open(&b->tier, b->disk, b->node, &r->cluster, 1 << 20, &err), FLOE_OK);
    b->peers = floe_sim_peers_create(r->net, b->node);
    b->up = true;
    b->started = b->start_failed = b->open = b->alive = b->ended = b->closed = b->fatal = false;
    b->part_count = 0;
    struct floe_listener_addr addr = {.name = "main"};
    snprintf(addr.addr, sizeof addr.addr, "%s", b->addr);
    struct floe_lease_config cfg = {.loop = floe_sim_node_loop(b->node),
                                    .store = b->store,
                                    .table = b->table,
                                    .tier = b->tier,
                                    .peers = b->peers,
                                    .cluster = r->cluster,
                                    .shards = r->shards,
                                    .lease_ms = r->lease_ms,
                                    .addrs = &addr,
                                    .addr_count = 1,
                                    .peer_addr = b->addr,
                                    .rack = "r",
                                    .newest_format = b->newest,
                                    .hooks = {.user = b,
                                              .session_open = on_open,
                                              .session_alive = on_alive,
                                              .session_over = on_over,
                                              .adopt = on_adopt,
                                              .drop = on_drop,
                                              .next_key = next_key,
                                              .committed = committed,
                                              .changed = on_changed,
                                              .fatal = on_fatal,
                                              .note = on_note}};
    if (r->moves)
        lrig_move_hooks(&cfg.hooks);
    assert_int_equal(floe_lease_create(&b->lease, &cfg, &err), FLOE_OK);
    floe_lease_on_catalog(b->lease, on_catalog, b);
    floe_sim_net_listen(r->net, b->node, b->addr, serve, b);
    floe_lease_start(b->lease, on_started, b);
}

struct until {
    struct lrig *r;
    bool (*stop)(struct lrig *);
    struct lrig_broker *b;
};

static bool until(void *user)
{
    struct until *u = user;
    return u->stop(u->r);
}

bool lrig_until(struct lrig *r, bool (*stop)(struct lrig *), uint64_t ms)
{
    struct until u = {.r = r, .stop = stop};
    return floe_sim_run_until(r->sim, until, &u, ms * 1000);
}

static bool is_started(void *user)
{
    struct lrig_broker *b = user;
    return b->started || b->start_failed || floe_sim_node_dead(b->node);
}

void lrig_boot_wait(struct lrig *r, int i)
{
    lrig_boot(r, i);
    assert_true(floe_sim_run_until(r->sim, is_started, &r->b[i], 20000000));
    if (!r->b[i].started)
        fail_msg("%s did not start: %s", r->b[i].name, r->b[i].start_err.msg);
}

static void free_write(struct write_op *w)
{
    floe_list_remove(&w->link);
    floe_store_req_fini(&w->req);
    floe_buf_unref(w->bytes);
    free(w);
}

void lrig_reap(struct lrig *r, int i)
{
    struct lrig_broker *b = &r->b[i];
    assert_true(b->up);
    lrig_forget_moves(b);
    floe_lease_destroy(&b->lease);
    floe_table_store_destroy(&b->table);
    while (!floe_list_empty(&b->adopting))
        free(FLOE_LIST_ENTRY(floe_list_pop_front(&b->adopting), struct adopting, link));
    while (!floe_list_empty(&b->writes))
        free_write(FLOE_LIST_ENTRY(b->writes.next, struct write_op, link));
    if (!b->vanished)
        floe_sim_net_unlisten(r->net, b->addr);
    b->up = b->open = false;
    b->part_count = 0;
}

void lrig_kill(struct lrig *r, int i)
{
    if (!floe_sim_node_dead(r->b[i].node))
        floe_sim_node_kill(r->b[i].node);
    lrig_reap(r, i);
}

void lrig_vanish(struct lrig *r, int i)
{
    r->b[i].vanished = true;
    floe_sim_net_vanish(r->net, r->b[i].name, true);
    lrig_kill(r, i);
}

void lrig_wipe(struct lrig *r, int i)
{
    floe_sim_disk_wipe(r->b[i].disk);
}

static void on_ended(void *user, const struct floe_error *err)
{
    struct lrig_broker *b = user;
    b->ended = true;
    b->end_err = *err;
}

/* Resolves a doubtful answer by a look at what lies there. */
static enum floe_err outcome(struct write_op *w)
{
    struct lrig *r = w->b->rig;
    const struct floe_sim_object *o = floe_sim_bucket_find(r->bucket, w->req.key);
    if (w->req.err.code == FLOE_OK)
        return FLOE_OK;
    if (o == NULL)
        return FLOE_EINDETERMINATE;
    return o->n == w->bytes->n && memcmp(o->data, w->bytes->data, o->n) == 0 ? FLOE_OK : FLOE_EEXISTS;
}

/* What is there, from the first key on without a gap, is committed. */
static void commit(struct lrig_broker *b)
{
    char key[FLOE_CHAIN_KEY_MAX];
    for (; b->committed < b->next; b->committed++) {
        floe_chain_key(key, &b->session, b->committed);
        if (floe_sim_bucket_find(b->rig->bucket, key) == NULL ||
            lrig_seal_at(b->rig, &b->session, b->committed))
            break;
    }
    lrig_committed(b);
}

static void on_written(struct floe_store_req *req)
{
    struct write_op *w = req->user;
    struct lrig_broker *b = w->b;
    bool mine = b->open && floe_session_name_eq(&b->session, &w->session);
    enum floe_err code = outcome(w);
    if (mine && code == FLOE_EINDETERMINATE && floe_lease_alive(b->lease)) {
        floe_store_req_fini(req);
        floe_store_submit(b->store, req);
        return;
    }
    if (mine && code == FLOE_OK && w->seal)
        floe_lease_end(b->lease, w->seq, on_ended, b);
    else if (mine && code == FLOE_OK)
        commit(b);
    else if (mine && code != FLOE_OK)
        floe_lease_session_lost(b->lease, "a seal in its chain");
    free_write(w);
}

struct floe_buf *lrig_object(struct lrig *r, const struct floe_session_name *session, uint64_t seq, bool seal)
{
    struct floe_uuid nonce;
    struct floe_buf *out;
    floe_rng_uuid(floe_sim_rng(r->sim), &nonce);
    if (seal) {
        struct floe_seal s = {.id = {.session = *session, .seq = seq, .cluster = r->cluster, .nonce = nonce},
                              .by = *session};
        out = floe_buf_create_forced(FLOE_SEAL_BYTES, NULL);
        floe_seal_encode(out->data, &s);
        out->n = FLOE_SEAL_BYTES;
        return out;
    }
    struct floe_segment_writer *sw;
    struct floe_segment_image image;
    struct floe_segment_opaque o = {.kind = 999};
    struct floe_bufslice junk = {.p = (const uint8_t *)"junk", .n = 4};
    struct floe_error err;
    assert_int_equal(floe_segment_writer_create(&sw, &r->cluster), FLOE_OK);
    assert_int_equal(floe_segment_add_opaque(sw, &o, NULL, &junk, NULL), FLOE_OK);
    assert_int_equal(floe_segment_finish(sw, session, seq, &nonce, 0, &image, &err), FLOE_OK);
    out = floe_buf_create_forced(image.bytes, NULL);
    for (uint32_t i = 0; i < image.slice_count; i++) {
        memcpy(out->data + out->n, image.slices[i].p, image.slices[i].n);
        out->n += image.slices[i].n;
    }
    floe_segment_writer_destroy(&sw);
    return out;
}

static void put_key(struct lrig_broker *b, bool seal)
{
    struct write_op *w = calloc(1, sizeof *w);
    *w = (struct write_op){.b = b, .session = b->session, .seq = b->next, .seal = seal};
    w->bytes = lrig_object(b->rig, &b->session, w->seq, seal);
    floe_list_push_back(&b->writes, &w->link);
    b->next++;
    w->body = (struct floe_bufslice){.buf = w->bytes, .p = w->bytes->data, .n = w->bytes->n};
    w->req = (struct floe_store_req){.kind = FLOE_STORE_PUT,
                                     .cond = FLOE_PUT_CREATE,
                                     .body = &w->body,
                                     .body_count = 1,
                                     .attempts = 1,
                                     .timeout_us = 500000,
                                     .done = on_written,
                                     .user = w};
    floe_chain_key(w->req.key, &b->session, w->seq);
    floe_store_submit(b->store, &w->req);
}

void lrig_place(struct lrig *r, const struct floe_session_name *session, uint64_t seq, bool seal)
{
    char key[FLOE_CHAIN_KEY_MAX];
    struct floe_buf *o = lrig_object(r, session, seq, seal);
    floe_chain_key(key, session, seq);
    floe_sim_bucket_put(r->bucket, key, o->data, o->n, "x");
    floe_buf_unref(o);
}

void lrig_write(struct lrig *r, int i)
{
    if (r->b[i].open && floe_lease_alive(r->b[i].lease))
        put_key(&r->b[i], false);
}

static bool is_ended(void *user)
{
    struct lrig_broker *b = user;
    return b->ended || b->overs > 0;
}

static bool is_closed(void *user)
{
    return ((struct lrig_broker *)user)->closed;
}

void lrig_end_begin(struct lrig *r, int i)
{
    r->b[i].ended = r->b[i].closed = false;
    put_key(&r->b[i], true);
}

void lrig_end(struct lrig *r, int i)
{
    struct lrig_broker *b = &r->b[i];
    lrig_end_begin(r, i);
    assert_true(floe_sim_run_until(r->sim, is_ended, b, 30000000));
    floe_lease_close(b->lease, on_closed, b);
    assert_true(floe_sim_run_until(r->sim, is_closed, b, 1000000));
    floe_sim_node_kill(b->node);
    lrig_reap(r, i);
}

void lrig_run_ms(struct lrig *r, uint64_t ms)
{
    floe_sim_run_for(r->sim, ms * 1000);
}

/* ---- topics ----------------------------------------------------------------------------------------------
 */

struct floe_tp lrig_tp(uint64_t topic, int32_t index)
{
    struct floe_tp tp = {.index = index};
    floe_put_be64(tp.topic.b, topic * 0x9e3779b97f4a7c15ull);
    floe_put_be64(tp.topic.b + 8, topic);
    return tp;
}

struct answer {
    bool done;
    struct floe_error err;
};

static void on_answer(void *user, const struct floe_error *err)
{
    struct answer *a = user;
    a->done = true;
    a->err = *err;
}

static bool is_answered(void *user)
{
    return ((struct answer *)user)->done;
}

enum floe_err lrig_create(struct lrig *r, int i, uint64_t topic, int32_t n)
{
    struct answer a = {0};
    struct floe_tp tp = lrig_tp(topic, 0);
    floe_lease_create_topic(r->b[i].lease, &tp.topic, 0, n, on_answer, &a);
    assert_false(a.done); /* never from inside the call */
    assert_true(floe_sim_run_until(r->sim, is_answered, &a, 60000000));
    return a.err.code;
}

bool lrig_fault_hit(struct lrig *r)
{
    return r->faults > 0;
}

void lrig_count_reset(struct lrig *r)
{
    r->lease_puts = r->table_puts = r->table_gets = r->lists = r->requests = 0;
}

void lrig_put_cluster(struct lrig *r, int32_t format, int32_t next)
{
    struct lease_cluster_record c = {.id = r->cluster, .shards = 128, .format = format, .next = next};
    char *value = lease_cluster_encode(&c), text[400];
    int n = snprintf(text, sizeof text, "{\"nonce\":\"%032d\",\"value\":%s}", 7, value);
    floe_sim_bucket_put(r->bucket, "table/cluster", text, (size_t)n, "x");
    free(value);
}
