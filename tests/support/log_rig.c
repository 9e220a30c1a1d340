#include "log_rig.h"

#include <floe/base/assert.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- world ---------------------------------------------------------------------------------------- */

static void watch(void *user, const struct floe_sim_store_event *e)
{
    struct rig_world *w = user;
    w->puts += e->kind == FLOE_STORE_PUT;
    w->gets += e->kind == FLOE_STORE_GET;
}

struct rig_world *rig_world_create(uint64_t seed)
{
    struct rig_world *w = calloc(1, sizeof *w);
    FLOE_ASSERT(w);
    w->sim = floe_sim_create(seed);
    w->bucket = floe_sim_bucket_create(w->sim);
    floe_sim_bucket_watch(w->bucket, watch, w);
    memset(w->cluster.b, 7, sizeof w->cluster.b);
    w->leases = calloc(RIG_TPS, sizeof *w->leases);
    FLOE_ASSERT(w->leases);
    return w;
}

void rig_world_destroy(struct rig_world **w)
{
    floe_sim_destroy(&(*w)->sim);
    free((*w)->leases);
    free(*w);
    *w = NULL;
}

void rig_run(struct rig_world *w, uint64_t us)
{
    floe_sim_run_for(w->sim, us);
}

/* ---- hooks ---------------------------------------------------------------------------------------- */

static bool alive(void *user)
{
    return ((struct rig *)user)->alive;
}

static void adopted(void *user, const struct floe_tp *tp, int32_t epoch, const struct floe_error *err)
{
    struct rig *r = user;
    struct rig_lease *l = rig_lease(r->w, *tp);
    FLOE_ASSERT(l && l->epoch >= epoch);
    r->adopted += err->code == FLOE_OK;
    r->failed += err->code != FLOE_OK;
    if (err->code != FLOE_OK)
        r->last = *err;
}

static void recheck(void *user, const struct floe_tp *tp, int32_t epoch, uint64_t since_us,
                    void (*done)(void *, bool), void *user2)
{
    struct rig *r = user;
    (void)since_us; /* what it says is always new */
    struct rig_lease *l = rig_lease(r->w, *tp);
    bool mine = l && l->epoch == epoch && floe_session_name_eq(&l->holder, &r->session);
    done(user2, mine && r->recheck_says);
}

static void checkpointed(void *user, const struct floe_tp *tp, int32_t epoch,
                         const struct floe_checkpoint_ref *ref)
{
    struct rig *r = user;
    struct rig_lease *l = rig_lease(r->w, *tp);
    r->published++;
    if (!l || l->epoch != epoch)
        return;
    l->ckpt = *ref;
    l->spans[0] = l->spans[l->span_count - 1];
    l->spans[0].first = ref->seq;
    l->span_count = 1;
}

static void stopped(void *user, const struct floe_tp *tp, int32_t epoch, uint64_t end)
{
    struct rig *r = user;
    const struct rig_lease *l = rig_lease(r->w, *tp);
    FLOE_ASSERT(l->epoch == epoch && end <= floe_log_committed(r->log));
    r->stopped++;
    r->stopped_end = end;
}

static void floor_of(void *user, const struct floe_session_name *s,
                     void (*done)(void *, const struct floe_error *, uint64_t), void *user2)
{
    struct floe_error ok = {.code = FLOE_OK};
    (void)s;
    done(user2, &ok, ((struct rig *)user)->floor);
}

static void session_lost(void *user, const char *why)
{
    struct rig *r = user;
    r->lost++;
    floe_error_set(&r->last, FLOE_EFENCED, "%s", why);
}

static void fatal(void *user, const struct floe_error *err)
{
    struct rig *r = user;
    r->fatal++;
    r->last = *err;
}

static void note(void *user, const struct floe_error *err)
{
    struct rig *r = user;
    r->noted++;
    r->note = *err;
}

static void producer_id(void *user, void (*done)(void *, const struct floe_error *, int64_t, int16_t),
                        void *user2)
{
    struct rig *r = user;
    struct floe_error ok = {.code = FLOE_OK};
    done(user2, &ok, r->next_pid++, 0);
}

static bool sealed(void *user, const struct floe_session_name *s)
{
    (void)s;
    return ((struct rig *)user)->sealed_says;
}

static void epoch_end(void *user, const struct floe_tp *tp, int32_t epoch,
                      void (*done)(void *, const struct floe_error *, int64_t), void *user2)
{
    struct rig *to = ((struct rig *)user)->remote;
    struct floe_error err = {.code = FLOE_OK};
    struct floe_partition *p;
    int64_t end = 0;
    if (!to || floe_log_find(to->log, tp, &p) != FLOE_PARTITION_SERVING)
        err.code = FLOE_ENOTHOLDER;
    else if (floe_partition_epoch_end(p, epoch, &end) < 0)
        end = 0;
    done(user2, &err, end);
}

struct remote_send {
    struct floe_log_append a;
    struct floe_buf *buf;
    void (*done)(void *, const struct floe_error *, int16_t);
    void *user2;
};
static void remote_done(struct floe_log_append *a)
{
    struct remote_send *s = a->user;
    floe_buf_unref(s->buf);
    s->done(s->user2, &a->err, a->kafka_error);
    free(s);
}
static void remote_send(void *user, const struct floe_tp *tp, const struct floe_bufslice *batch,
                        void (*done)(void *, const struct floe_error *, int16_t), void *user2)
{
    struct rig *r = user, *to = r->remote;
    if (r->hold_send) {
        FLOE_ASSERT(!r->held);
        r->held = done;
        r->held_user = user2;
        return;
    }
    struct remote_send *s = calloc(1, sizeof *s);
    struct floe_error err;
    *s = (struct remote_send){.done = done, .user2 = user2, .buf = floe_buf_create_forced(batch->n, NULL)};
    memcpy(s->buf->data, batch->p, s->buf->n = batch->n);
    s->a = (struct floe_log_append){.tp = *tp,
                                    .acks = -1,
                                    .topic_name = "topic",
                                    .bytes = {s->buf, s->buf->data, s->buf->n},
                                    .done = remote_done,
                                    .user = s};
    FLOE_ASSERT(floe_batch_parse(floe_slice(batch->p, batch->n), &s->a.batch, &err) == FLOE_OK);
    if (floe_log_append(to->log, &s->a) != FLOE_OK)
        remote_done(&s->a);
}

void rig_fail_send(struct rig *r)
{
    struct floe_error err;
    floe_error_set(&err, FLOE_ETIMEOUT, "no answer");
    FLOE_ASSERT(r->held);
    r->held(r->held_user, &err, 0);
    r->held = NULL;
}

static bool lease_of(void *user, const struct floe_tp *tp, struct floe_lease_entry *out)
{
    const struct rig_lease *l = rig_lease(((struct rig *)user)->w, *tp);
    if (l)
        *out = (struct floe_lease_entry){.tp = l->tp,
                                         .holder = l->holder,
                                         .epoch = l->epoch,
                                         .checkpoint = l->ckpt,
                                         .spans = l->spans,
                                         .span_count = l->span_count};
    return l != NULL;
}

static bool node_of(void *user, int32_t node, struct floe_node_info *out)
{
    const struct rig_world *w = ((struct rig *)user)->w;
    if (node < 1 || node > (int32_t)RIG_NODES || w->records[node - 1].session.node == 0)
        return false;
    *out = w->records[node - 1];
    return true;
}

static bool set_aside(void *user, const struct floe_tp *tp, int64_t offset, struct floe_slice batch,
                      const char *why)
{
    struct rig *r = user;
    (void)tp, (void)offset, (void)batch, (void)why;
    r->aside++;
    return true;
}

/* ---- one broker ----------------------------------------------------------------------------------- */

struct rig *rig_create(struct rig_world *w, const struct rig_config *given)
{
    struct rig_config cfg = given ? *given : (struct rig_config){0};
    struct rig *r = calloc(1, sizeof *r);
    struct floe_error err;
    char name[16];
    FLOE_ASSERT(r);
    snprintf(name, sizeof name, "n%u", ++w->nodes);
    r->w = w;
    r->alive = r->recheck_says = r->sealed_says = true;
    r->next_pid = 1000 * (int64_t)w->nodes;
    r->node = floe_sim_node_create(w->sim, name);
    r->store = floe_sim_store_create(w->bucket, r->node);
    r->session.node = (int32_t)w->nodes;
    floe_budget_init(&r->pending, cfg.pending ? cfg.pending : 64u << 20);
    floe_budget_init(&r->cache, cfg.cache ? cfg.cache : 32u << 20);
    if (cfg.tier) {
        struct floe_sim_disk *disk = cfg.disk ? cfg.disk : floe_sim_disk_create(w->sim);
        FLOE_ASSERT(floe_sim_tier_open(&r->tier, disk, r->node, &w->cluster,
                                       cfg.tier_limit ? cfg.tier_limit : 1u << 30, &err) == FLOE_OK);
    }
    struct floe_log_config lc = {.loop = floe_sim_node_loop(r->node),
                                 .store = r->store,
                                 .tier = r->tier,
                                 .cluster = w->cluster,
                                 .pending_budget = &r->pending,
                                 .cache_budget = &r->cache,
                                 .segment_bytes_max = cfg.segment_bytes ? cfg.segment_bytes : 8u << 20,
                                 .linger_us = cfg.linger_us ? cfg.linger_us : 5000,
                                 .puts_in_flight_max = cfg.puts ? cfg.puts : 4,
                                 .put_rate = cfg.rate,
                                 .put_burst = cfg.burst,
                                 .hooks = {.user = r,
                                           .alive = alive,
                                           .adopted = adopted,
                                           .recheck = recheck,
                                           .floor = floor_of,
                                           .checkpointed = checkpointed,
                                           .session_lost = session_lost,
                                           .stopped = stopped,
                                           .fatal = fatal,
                                           .note = note,
                                           .lease = lease_of,
                                           .node = node_of,
                                           .reappend_producer_id = cfg.reappend ? producer_id : NULL,
                                           .sealed = sealed,
                                           .reappend_epoch_end = cfg.remote ? epoch_end : NULL,
                                           .reappend_send = cfg.remote ? remote_send : NULL,
                                           .set_aside = set_aside}};
    FLOE_ASSERT(floe_log_create(&r->log, &lc, &err) == FLOE_OK);
    return r;
}

void rig_open(struct rig *r)
{
    r->session.epoch++;
    r->session.id = 0x1000u * (uint64_t)r->session.node + (uint64_t)r->session.epoch;
    floe_log_session_open(r->log, &r->session);
}

void rig_kill(struct rig *r)
{
    if (!floe_sim_node_dead(r->node))
        floe_sim_node_kill(r->node);
    floe_log_destroy(&r->log);
}

void rig_free(struct rig **r)
{
    rig_kill(*r);
    free(*r);
    *r = NULL;
}

/* ---- leases --------------------------------------------------------------------------------------- */

struct floe_tp rig_tp(uint8_t topic, int32_t index)
{
    struct floe_tp tp = {.index = index};
    memset(tp.topic.b, topic, sizeof tp.topic.b);
    return tp;
}

struct rig_lease *rig_lease(struct rig_world *w, struct floe_tp tp)
{
    uint32_t guess = (uint32_t)tp.index; /* rig_new_many makes them in order */
    if (guess < w->lease_count && floe_tp_eq(&w->leases[guess].tp, &tp))
        return &w->leases[guess];
    for (uint32_t i = 0; i < w->lease_count; i++)
        if (floe_tp_eq(&w->leases[i].tp, &tp))
            return &w->leases[i];
    return NULL;
}

void rig_adopt(struct rig *r)
{
    struct floe_lease_entry *e = calloc(r->w->lease_count, sizeof *e);
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->w->lease_count; i++) {
        const struct rig_lease *l = &r->w->leases[i];
        if (!floe_session_name_eq(&l->holder, &r->session) ||
            floe_log_find(r->log, &l->tp, NULL) != FLOE_PARTITION_ABSENT)
            continue;
        e[n++] = (struct floe_lease_entry){.tp = l->tp,
                                           .holder = l->holder,
                                           .epoch = l->epoch,
                                           .checkpoint = l->ckpt,
                                           .spans = l->spans,
                                           .span_count = l->span_count};
    }
    floe_log_adopt(r->log, e, n);
    free(e);
}

static void add_lease(struct rig *r, struct floe_tp tp)
{
    struct rig_world *w = r->w;
    FLOE_ASSERT(w->lease_count < RIG_TPS);
    w->leases[w->lease_count++] =
        (struct rig_lease){.tp = tp,
                           .holder = r->session,
                           .spans = {{.session = r->session, .end = FLOE_SPAN_OPEN}},
                           .span_count = 1};
}

struct waiting {
    struct rig *r;
    struct floe_tp tp;
};
static bool serves(void *user)
{
    struct waiting *w = user;
    return floe_log_find(w->r->log, &w->tp, NULL) == FLOE_PARTITION_SERVING;
}

void rig_await_serving(struct rig *r, struct floe_tp tp)
{
    struct waiting w = {r, tp};
    FLOE_ASSERT(floe_sim_run_until(r->w->sim, serves, &w, 60000000));
}

void rig_new(struct rig *r, struct floe_tp tp)
{
    add_lease(r, tp);
    rig_adopt(r);
    rig_await_serving(r, tp);
}

void rig_new_many(struct rig *r, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        add_lease(r, rig_tp(1, (int32_t)i));
    rig_adopt(r);
    for (uint32_t i = 0; i < n; i++)
        rig_await_serving(r, rig_tp(1, (int32_t)i));
}

uint64_t rig_seal(struct rig_world *w, const struct floe_session_name *s)
{
    char key[FLOE_CHAIN_KEY_MAX];
    uint64_t seq = 0;
    for (;; seq++) {
        floe_chain_key(key, s, seq);
        if (!floe_sim_bucket_find(w->bucket, key))
            break;
    }
    uint8_t bytes[FLOE_SEAL_BYTES];
    struct floe_seal seal = {.id = {.session = *s, .seq = seq, .cluster = w->cluster, .seal = true},
                             .by = {.node = 99, .epoch = 1, .id = 5}};
    memset(seal.id.nonce.b, 0x5e, 16);
    floe_seal_encode(bytes, &seal);
    floe_sim_bucket_put(w->bucket, key, bytes, sizeof bytes, "seal");
    return seq;
}

void rig_take(struct rig *r, const struct floe_session_name *from, uint64_t end)
{
    for (uint32_t i = 0; i < r->w->lease_count; i++) {
        struct rig_lease *l = &r->w->leases[i];
        if (!floe_session_name_eq(&l->holder, from))
            continue;
        FLOE_ASSERT(l->span_count < RIG_SPANS);
        l->spans[l->span_count - 1].end = end;
        l->holder = r->session;
        l->epoch++;
        l->spans[l->span_count++] = (struct floe_span){.session = r->session,
                                                       .first = floe_log_next_key(r->log),
                                                       .end = FLOE_SPAN_OPEN,
                                                       .epoch = l->epoch};
    }
    rig_adopt(r);
}

static bool view_there(void *user)
{
    struct waiting *w = user;
    struct floe_partition *p;
    return floe_log_view(w->r->log, &w->tp, &p) == FLOE_VIEW_SERVING;
}

int64_t rig_view(struct rig *r, struct floe_tp tp)
{
    struct waiting w = {r, tp};
    struct floe_partition *p;
    FLOE_ASSERT(floe_sim_run_until(r->w->sim, view_there, &w, 60000000));
    FLOE_ASSERT(floe_log_view(r->log, &tp, &p) == FLOE_VIEW_SERVING);
    return floe_partition_high_watermark(p);
}

/* ---- appends -------------------------------------------------------------------------------------- */

static void on_append(struct floe_log_append *a)
{
    struct rig_op *op = a->user;
    FLOE_ASSERT(!op->done);
    op->done = true;
    op->order = ++op->r->w->order;
}

static struct floe_bufslice make_batch(struct rig *r, struct rig_op *op, int64_t pid, int16_t epoch,
                                       int32_t seq, uint32_t count, size_t payload)
{
    struct floe_batch_builder b;
    struct floe_writer w;
    struct floe_error err;
    floe_writer_init(&w, 64u << 20);
    floe_batch_builder_init(&b, FLOE_COMPRESSION_NONE, 64u << 20);
    b.head.producer_id = pid;
    b.head.producer_epoch = pid < 0 ? -1 : epoch;
    b.head.base_sequence = pid < 0 ? -1 : seq;
    uint8_t *value = calloc(1, payload + sizeof op->value);
    memcpy(value, op->value, strlen(op->value));
    int32_t n = (int32_t)(payload ? payload + strlen(op->value) : strlen(op->value));
    for (uint32_t i = 0; i < count; i++)
        FLOE_ASSERT(floe_batch_builder_add(&b, 1000 + i, (struct floe_kbytes){NULL, -1},
                                           (struct floe_kbytes){value, n}, NULL, 0, &err) == FLOE_OK);
    FLOE_ASSERT(floe_batch_builder_finish(&b, &w, &err) == FLOE_OK);
    free(value);
    floe_batch_builder_fini(&b);
    struct floe_buf *buf = floe_buf_create_forced(w.n, &r->pending);
    memcpy(buf->data, w.p, w.n);
    buf->n = w.n;
    floe_writer_fini(&w);
    FLOE_ASSERT(floe_batch_parse(floe_slice(buf->data, buf->n), &op->a.batch, &err) == FLOE_OK);
    return (struct floe_bufslice){buf, buf->data, buf->n};
}

struct rig_op *rig_append_full(struct rig *r, struct floe_tp tp, int8_t acks, const char *value, int64_t pid,
                               int16_t epoch, int32_t seq, uint32_t count, size_t payload)
{
    struct rig_op *op = calloc(1, sizeof *op);
    FLOE_ASSERT(op && strlen(value) < sizeof op->value);
    strcpy(op->value, value);
    op->r = r;
    op->a = (struct floe_log_append){
        .tp = tp, .topic_name = "topic", .acks = acks, .done = on_append, .user = op};
    op->a.bytes = make_batch(r, op, pid, epoch, seq, count, payload);
    op->refused = floe_log_append(r->log, &op->a);
    floe_buf_unref(op->a.bytes.buf);
    return op;
}

struct rig_op *rig_append(struct rig *r, struct floe_tp tp, int8_t acks, const char *value)
{
    return rig_append_full(r, tp, acks, value, -1, -1, -1, 1, 0);
}

static bool op_done(void *user)
{
    return ((struct rig_op *)user)->done;
}

void rig_await(struct rig_op *op)
{
    FLOE_ASSERT(op->refused == FLOE_OK);
    FLOE_ASSERT(floe_sim_run_until(op->r->w->sim, op_done, op, 60000000));
}

void rig_op_free(struct rig_op *op)
{
    free(op);
}

/* ---- reads ---------------------------------------------------------------------------------------- */

static void on_read(struct floe_log_read *r)
{
    *(bool *)r->user = true;
}

static bool flag(void *user)
{
    return *(bool *)user;
}

static int64_t walk(struct floe_slice s, int64_t from, uint32_t *n,
                    void (*check)(void *, int64_t, const char *), void *user)
{
    struct floe_record_iter *it;
    struct floe_record rec;
    struct floe_error err;
    int64_t next = from;
    FLOE_ASSERT(floe_record_iter_create(&it, s, 64u << 20, &err) == FLOE_OK);
    while (floe_record_iter_next(it, &rec, &err) == FLOE_OK) {
        if (rec.offset < from)
            continue;
        char value[24] = "";
        memcpy(value, rec.value.p, FLOE_MIN((size_t)rec.value.n, sizeof value - 1));
        FLOE_ASSERT(rec.offset == next);
        next++;
        (*n)++;
        if (check)
            check(user, rec.offset, value);
    }
    floe_record_iter_destroy(&it);
    return next;
}

uint32_t rig_read_all(struct rig *r, struct floe_tp tp, int64_t from, uint32_t max_bytes,
                      void (*check)(void *user, int64_t offset, const char *value), void *user)
{
    uint32_t n = 0;
    for (;;) {
        bool done = false;
        struct floe_log_read rd = {.tp = tp,
                                   .offset = from,
                                   .max_bytes = max_bytes,
                                   .min_one = true,
                                   .view = r->view,
                                   .done = on_read,
                                   .user = &done};
        if (!floe_log_read(r->log, &rd))
            FLOE_ASSERT(floe_sim_run_until(r->w->sim, flag, &done, 60000000));
        FLOE_ASSERT(rd.err.code == FLOE_OK);
        bool end = rd.slice_count == 0;
        for (uint32_t i = 0; i < rd.slice_count; i++) {
            struct floe_slice rest = floe_slice(rd.slices[i].p, rd.slices[i].n), bytes;
            struct floe_batch b;
            struct floe_error err;
            while (floe_batch_next(&rest, &b, &bytes, &err) == FLOE_OK) {
                FLOE_ASSERT(floe_batch_crc_ok(bytes.p, &b));
                from = walk(bytes, from, &n, check, user);
            }
        }
        floe_log_read_fini(&rd);
        if (end)
            return n;
    }
}

int64_t rig_hw(struct rig *r, struct floe_tp tp)
{
    struct floe_partition *p;
    return floe_log_find(r->log, &tp, &p) == FLOE_PARTITION_SERVING ? floe_partition_high_watermark(p) : -1;
}
