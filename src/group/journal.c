/* The journal: records of operations, gathered into batches of the shard's partition.
 *
 *   journal_put ─► open batch ─► queue (handed to the log, in order) ─► committed ─► who waits
 *
 * What the log accepts is committed, or the partition is dropped; what it puts off (its memory is full) is
 * handed over again, and nothing overtakes it. So memory may be ahead of the log, and answers wait. */
#include "group_int.h"

#include <stdlib.h>

struct group_append {
    struct floe_list link; /* shard.queue, or groups.orphans */
    struct group_shard *s; /* null: it is gone */
    struct floe_groups *g;
    struct floe_log_append a;
    int64_t seq; /* the last operation that has records in it */
    bool sent;
};

static void on_retry(struct floe_timer *t);
static void on_room(struct floe_log_waiter *w);

void journal_init(struct group_shard *s)
{
    floe_batch_builder_init(&s->open, FLOE_COMPRESSION_NONE, GROUP_BATCH_BYTES + GROUP_OP_BYTES_MAX);
    floe_list_init(&s->queue);
    floe_list_init(&s->waits);
    floe_timer_init(&s->retry, on_retry, s);
    s->room = (struct floe_log_waiter){.fn = on_room, .user = s};
    floe_list_init(&s->room.link);
}

static void append_free(struct group_append *ap)
{
    floe_list_remove(&ap->link);
    floe_buf_unref(ap->a.bytes.buf);
    free(ap);
}

void journal_fini(struct group_shard *s)
{
    floe_timer_stop(&s->retry);
    if (!s->g->closing) /* then the log is gone */
        floe_log_wait_cancel(&s->room);
    journal_fail_all(s);
    floe_batch_builder_fini(&s->open);
    FLOE_LIST_EACH_SAFE(it, &s->queue)
    {
        struct group_append *ap = FLOE_LIST_ENTRY(it, struct group_append, link);
        if (!ap->sent) {
            append_free(ap);
            continue;
        }
        floe_list_remove(&ap->link);
        ap->s = NULL;
        floe_list_push_back(&s->g->orphans, &ap->link);
    }
}

void journal_orphans_free(struct floe_groups *g)
{
    while (!floe_list_empty(&g->orphans))
        append_free(FLOE_LIST_ENTRY(g->orphans.next, struct group_append, link));
}

/* ---- waiting ----------------------------------------------------------------------------------------- */

static void wake(struct group_shard *s, int64_t upto, bool committed)
{
    while (!floe_list_empty(&s->waits)) {
        struct group_wait *w = FLOE_LIST_ENTRY(s->waits.next, struct group_wait, link);
        if (w->seq > upto)
            return;
        floe_list_remove(&w->link);
        if (!s->g->closing)
            w->fn(w, committed);
    }
}

void journal_fail_all(struct group_shard *s)
{
    wake(s, INT64_MAX, false);
}

bool journal_full(const struct group_shard *s)
{
    return s->unsent >= GROUP_UNSENT_MAX;
}

bool journal_idle(const struct group_shard *s)
{
    return s->committed == s->seq;
}

uint64_t journal_grace_us(const struct group_shard *s)
{
    uint64_t now = group_now_us(s->g);
    if (!journal_idle(s) && now - s->flow_us >= GROUP_STALL_US)
        return GROUP_GRACE_US;
    return s->well_us && now - s->well_us < GROUP_GRACE_US ? s->well_us + GROUP_GRACE_US - now : 0;
}

void journal_wait(struct group_shard *s, struct group_wait *w)
{
    w->seq = s->seq;
    floe_list_init(&w->link);
    if (s->state == SHARD_DEAD)
        w->fn(w, false);
    else if (journal_idle(s))
        w->fn(w, true);
    else
        floe_list_push_back(&s->waits, &w->link);
}

/* ---- appending ---------------------------------------------------------------------------------------- */

static void on_appended(struct floe_log_append *a)
{
    struct group_append *ap = a->user;
    struct group_shard *s = ap->s;
    enum floe_err rc = a->err.code;
    int64_t seq = ap->seq;
    append_free(ap);
    if (!s)
        return;
    if (rc == FLOE_OK) {
        uint64_t now = group_now_us(s->g);
        if (now - s->flow_us >= GROUP_STALL_US)
            s->well_us = now;
        s->flow_us = now;
        s->committed = seq;
        s->g->stats.commits++;
        wake(s, seq, true);
        snapshot_consider(s);
    } else { /* the session is over or the partition moved: the drop follows */
        s->state = SHARD_DEAD;
        journal_fail_all(s);
    }
}

/* Room comes in the order in which it was asked for: who only asked again now and then would never get it
 * while producers wait all the time. */
static void wait_for_log(struct group_shard *s, size_t bytes)
{
    floe_timer_start(s->g->cfg.loop, &s->retry, GROUP_RETRY_US);
    if (floe_log_find(s->g->cfg.log, &s->tp, NULL) == FLOE_PARTITION_SERVING &&
        floe_list_empty(&s->room.link))
        floe_log_wait_room(s->g->cfg.log, bytes, &s->room);
}

/* Hands finished batches to the log, oldest first. */
static void send_queue(struct group_shard *s, bool waited)
{
    FLOE_LIST_EACH(it, &s->queue)
    {
        struct group_append *ap = FLOE_LIST_ENTRY(it, struct group_append, link);
        if (ap->sent)
            continue;
        ap->a.waited = waited;
        switch (floe_log_append(s->g->cfg.log, &ap->a)) {
        case FLOE_OK:
            ap->sent = true;
            s->unsent -= ap->a.bytes.n;
            continue;
        case FLOE_EAGAIN:
        case FLOE_ENOMEM:
            wait_for_log(s, ap->a.bytes.n);
            return;
        default:
            s->state = SHARD_DEAD;
            journal_fail_all(s);
            return;
        }
    }
}

static void on_room(struct floe_log_waiter *w)
{
    struct group_shard *s = w->user;
    floe_timer_stop(&s->retry);
    if (s->state == SHARD_ACTIVE)
        send_queue(s, true);
}

static void on_retry(struct floe_timer *t)
{
    struct group_shard *s = t->user;
    if (s->state == SHARD_LOADING)
        load_start(s);
    else if (s->state == SHARD_ACTIVE) {
        journal_flush(s);
        send_queue(s, false);
    }
}

/* The open batch as an append. Null: no memory now. */
static struct group_append *finish(struct group_shard *s)
{
    struct group_append *ap = calloc(1, sizeof *ap);
    struct floe_buf *buf = floe_buf_create_forced(FLOE_BATCH_HEADER + s->open.records.n, NULL);
    struct floe_writer w;
    if (!ap || !buf) {
        free(ap);
        floe_buf_unref(buf);
        return NULL;
    }
    floe_writer_init(&w, buf->cap);
    if (floe_batch_builder_finish(&s->open, &w, NULL) != FLOE_OK) {
        floe_writer_fini(&w);
        floe_buf_unref(buf);
        free(ap);
        return NULL;
    }
    memcpy(buf->data, w.p, w.n);
    buf->n = w.n;
    floe_writer_fini(&w);
    *ap = (struct group_append){.s = s, .g = s->g, .seq = s->seq};
    ap->a = (struct floe_log_append){.tp = s->tp,
                                     .bytes = {buf, buf->data, buf->n},
                                     .topic_name = FLOE_OFFSETS_TOPIC,
                                     .acks = -1,
                                     .done = on_appended,
                                     .user = ap};
    FLOE_ASSERT(floe_batch_parse(floe_slice(buf->data, buf->n), &ap->a.batch, NULL) == FLOE_OK);
    return ap;
}

void journal_flush(struct group_shard *s)
{
    s->gathering = false;
    if (s->state == SHARD_DEAD || s->open.head.count == 0)
        return;
    struct group_append *ap = finish(s);
    if (!ap) {
        floe_timer_start(s->g->cfg.loop, &s->retry, GROUP_RETRY_US);
        return;
    }
    s->journal_bytes += ap->a.bytes.n;
    s->unsent += ap->a.bytes.n;
    s->g->stats.batches++;
    floe_list_push_back(&s->queue, &ap->link);
    if (!floe_timer_armed(&s->retry))
        send_queue(s, false);
}

void journal_gather_for(struct floe_groups *g, struct floe_kstr group)
{
    g->committed_us[group_hash(group.p, (size_t)group.n) % GROUP_GATHER_SLOTS] = group_now_us(g);
}

/* How long records wait for company, and what a flush of them counts for. */
static uint64_t gather_us(const struct floe_groups *g)
{
    uint64_t now = group_now_us(g), groups = 0;
    for (uint32_t i = 0; i < GROUP_GATHER_SLOTS; i++)
        groups += g->committed_us[i] != 0 && now - g->committed_us[i] < 1000000;
    return FLOE_MIN(FLOE_MAX(groups, 1u) * g->cfg.set.gather_group_us, g->cfg.set.gather_us);
}

/* All shards' gathered records leave together: they ride in one segment. */
void journal_gather_due(struct floe_groups *g)
{
    g->paid_us = FLOE_MAX(g->paid_us, group_now_us(g)) + gather_us(g);
    FLOE_LIST_EACH(it, &g->list)
    {
        struct group_shard *s = FLOE_LIST_ENTRY(it, struct group_shard, link);
        if (s->gathering)
            journal_flush(s);
    }
}

/* ---- operations ---------------------------------------------------------------------------------------- */

void journal_begin(struct group_shard *s)
{
    FLOE_ASSERT(!s->op && s->state != SHARD_LOADING);
    s->op = true;
    s->op_failed = false;
    s->op_bytes = s->open.records.n;
    s->op_head = s->open.head;
}

void journal_put(struct group_shard *s, int16_t type, const struct floe_kafka_msg *key_desc, const void *key,
                 const struct floe_kafka_msg *value_desc, int16_t version, const void *value)
{
    struct floe_writer *k = &s->g->key, *v = &s->g->value;
    FLOE_ASSERT(s->op);
    k->n = v->n = 0;
    k->bad = v->bad = false;
    floe_write_be16(k, (uint16_t)type);
    bool ok = floe_kafka_encode(key_desc, 0, key, k, NULL) == FLOE_OK;
    if (ok && value) {
        floe_write_be16(v, (uint16_t)version);
        ok = floe_kafka_encode(value_desc, version, value, v, NULL) == FLOE_OK;
    }
    ok = ok && floe_batch_builder_add(
                   &s->open, group_wall_ms(s->g), (struct floe_kbytes){k->p, (int32_t)k->n},
                   value ? (struct floe_kbytes){v->p, (int32_t)v->n} : (struct floe_kbytes){NULL, -1}, NULL,
                   0, NULL) == FLOE_OK;
    s->op_failed |= !ok;
}

bool journal_op_large(const struct group_shard *s)
{
    return s->open.records.n - s->op_bytes >= GROUP_BATCH_BYTES;
}

/* So far ahead of what is paid for a flush may go: a lone client that commits record by record is not slowed
 * down, many that do are gathered. */
static uint64_t credit(const struct floe_groups *g)
{
    return (uint64_t)GROUP_BURST * g->cfg.set.gather_us;
}

bool journal_end(struct group_shard *s, bool urgent)
{
    FLOE_ASSERT(s->op);
    s->op = false;
    if (s->op_failed || s->open.records.n - s->op_bytes > GROUP_OP_BYTES_MAX) {
        s->open.records.n = s->op_bytes;
        s->open.head = s->op_head;
        s->op_refused = true;
        return false;
    }
    int32_t records = s->open.head.count - s->op_head.count;
    if (records == 0)
        return true;
    if (s->state == SHARD_DEAD) { /* its state goes in a moment; timers and loops may come first */
        s->open.records.n = s->op_bytes;
        s->open.head = s->op_head;
        return true;
    }
    if (journal_idle(s))
        s->flow_us = group_now_us(s->g);
    s->seq++;
    s->g->stats.records += (uint64_t)records;
    if (urgent || s->open.records.n >= GROUP_BATCH_BYTES) {
        journal_flush(s);
    } else if (!s->gathering) {
        uint64_t now = group_now_us(s->g), due = s->g->paid_us - FLOE_MIN(s->g->paid_us, credit(s->g));
        s->gathering = true;
        if (floe_timer_armed(&s->g->gather))
            return true;
        if (due > now) { /* the time runs from the first one that waits: no more than one a gather_us, ever */
            due = now + gather_us(s->g);
            s->g->paid_us = due + credit(s->g);
        }
        floe_timer_start(s->g->cfg.loop, &s->g->gather, due > now ? due - now : 0);
    }
    return true;
}
