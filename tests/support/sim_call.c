/* Requests of clients to brokers: on their way, at the broker, on their way back. */
#include <stdlib.h>

#include <floe/base/assert.h>
#include <floe/kafka/codec.h>

#include "simcluster_int.h"

static uint64_t leg(struct simcluster *c)
{
    return 100 + floe_rng_below(&c->rng, 800);
}
static bool lost(struct simcluster *c)
{
    return !c->healed && floe_rng_below(&c->rng, 1000000) < c->shape.client_loss_ppm;
}

/* The end of a call at its client. The struct stays until the broker's modules have let go of it. */
static void leave_proc(struct simcall *k)
{
    floe_list_remove(&k->at_proc);
    k->proc = NULL;
}
static bool held(const struct simcall *k)
{
    return k->appending || k->reading || k->waiting || k->deliver.heap_at;
}
static void call_free(struct simcall *k)
{
    floe_sim_unschedule(k->c->sim, &k->deliver);
    floe_sim_unschedule(k->c->sim, &k->answer);
    floe_sim_unschedule(k->c->sim, &k->timeout);
    floe_list_remove(&k->link);
    floe_list_remove(&k->at_proc);
    free(k->batch);
    free(k->data);
    free(k->extra);
    free(k);
}
static void finish(struct simcall *k)
{
    if (k->done) {
        void (*done)(struct simcall * k2) = k->done;
        k->done = NULL;
        done(k);
    }
    floe_sim_unschedule(k->c->sim, &k->timeout);
    floe_sim_unschedule(k->c->sim, &k->answer);
    if (!held(k)) /* a request on its way arrives although nobody waits for its answer */
        call_free(k);
}
static void on_timeout(struct floe_sim_event *e)
{
    struct simcall *k = FLOE_CONTAINER(e, struct simcall, timeout);
    k->err = FLOE_ETIMEOUT;
    k->maybe = true;
    k->answered = false;
    finish(k);
}
static void on_answer(struct floe_sim_event *e)
{
    finish(FLOE_CONTAINER(e, struct simcall, answer));
}
/* The broker has answered; the answer may get lost. */
static void answer(struct simcall *k, enum floe_err err)
{
    k->err = err;
    k->answered = true;
    if (k->proc)
        leave_proc(k);
    if (!k->done) { /* the client gave up long ago */
        if (!held(k))
            call_free(k);
        return;
    }
    struct simlane *l = k->lane;
    if (l && lost(k->c))
        l->cut = true;
    if (l ? l->cut : lost(k->c))
        return;
    uint64_t at = floe_sim_now_us(k->c->sim) + leg(k->c);
    if (l)
        at = l->answers_us = FLOE_MAX(at, l->answers_us + 1);
    floe_sim_at(k->c->sim, &k->answer, at);
}

/* Produce, at the broker. */
static void on_reappended(struct floe_log_append *a)
{
    struct simcall *k = a->user;
    k->appending = false;
    k->kafka_error = a->kafka_error;
    answer(k, a->err.code);
}
/* As the handler of Produce does. */
static void note_refused(struct simcall *k)
{
    struct floe_tp tp = simcluster_tp(k->c, k->part);
    if (k->kafka_error != FLOE_KERR_OUT_OF_ORDER_SEQUENCE_NUMBER &&
        k->kafka_error != FLOE_KERR_DUPLICATE_SEQUENCE_NUMBER)
        floe_log_refused(k->proc->log, &tp, &k->append.batch);
}
static void on_appended(struct floe_log_append *a)
{
    struct simcall *k = a->user;
    struct simproc *p = k->proc;
    struct simcluster *c = k->c;
    struct simsent *s = &c->sent[k->sent];
    k->appending = false;
    k->kafka_error = a->kafka_error;
    k->result = a->base_offset;
    k->maybe = a->maybe_applied;
    floe_sim_note(c->sim, p->node, "sending %u (acks %d) to %u: %s at %lld%s", k->sent, a->acks, k->part,
                  floe_err_name(a->err.code), (long long)a->base_offset, k->maybe ? ", perhaps applied" : "");
    if (a->err.code == FLOE_OK && a->acks == -1) {
        /* Alive when it was decided; a stall may lie between that and this turn. */
        if (!floe_lease_alive(p->lease) && floe_sim_now_us(c->sim) > p->stalled_until + 10000)
            simcluster_violation(c, 8, "node %s acknowledges while it is not alive",
                                 floe_sim_node_name(p->node));
        if (s->state == SENT_REFUSED)
            simcluster_violation(c, 5, "sending %u was refused, and is acknowledged now", k->sent);
        for (uint32_t i = 0; i < s->count; i++)
            simledger_note(c, k->part, a->base_offset + i, simledger_value(k->sent, i), "acknowledged");
        struct simledger *l = &c->ledger[k->part];
        l->acked_end = FLOE_MAX(l->acked_end, a->base_offset + s->count);
        if (c->healed && k->started_us >= c->healed_us && !l->writable) {
            l->writable = true;
            c->out->writable_us = floe_sim_now_us(c->sim) - c->healed_us;
        }
        if (s->state != SENT_ACKED)
            c->out->acked += s->count;
        s->state = SENT_ACKED;
        s->base_offset = a->base_offset;
        s->acked_us = floe_sim_now_us(c->sim);
    } else if (a->err.code == FLOE_OK && a->acks == 1) {
        s->state = SENT_ACKED;
        s->disk = c->machine[p->machine].disk;
    }
    if (a->err.code != FLOE_OK)
        note_refused(k);
    answer(k, a->err.code);
}
static void serve_produce(struct simcall *k);
static void on_serving(struct floe_log_waiter *w)
{
    struct simcall *k = w->user;
    k->waiting = false;
    if (k->proc)
        serve_produce(k);
    else if (!k->done)
        call_free(k);
}
/* A broker starts no request of a connection while an earlier one of it waits. */
static bool behind_another(const struct simcall *k)
{
    FLOE_LIST_EACH(it, &k->proc->calls)
    {
        const struct simcall *other = FLOE_LIST_ENTRY(it, struct simcall, at_proc);
        if (other != k && other->lane == k->lane && other->waiting)
            return true;
    }
    return false;
}
static void serve_produce(struct simcall *k)
{
    struct simproc *p = k->proc;
    struct floe_tp tp = simcluster_tp(k->c, k->part);
    struct floe_partition *part;
    if (!k->waited &&
        ((k->lane && behind_another(k)) || floe_log_find(p->log, &tp, &part) == FLOE_PARTITION_REBUILDING)) {
        k->waited = k->waiting = true;
        k->waiter = (struct floe_log_waiter){.fn = on_serving, .user = k};
        floe_log_wait_serving(p->log, &tp, &k->waiter);
        return;
    }
    struct floe_buf *b = floe_buf_create(k->batch_n, &p->pending);
    if (!b) {
        FLOE_ASSERT(floe_batch_parse(floe_slice(k->batch, k->batch_n), &k->append.batch, NULL) == FLOE_OK);
        if (k->kind == CALL_PRODUCE)
            note_refused(k);
        floe_sim_note(k->c->sim, p->node, "no memory for sending %u", k->sent);
        answer(k, FLOE_EAGAIN);
        return;
    }
    memcpy(b->data, k->batch, k->batch_n);
    b->n = k->batch_n;
    k->append = (struct floe_log_append){
        .tp = tp,
        .bytes = {b, b->data, b->n},
        .topic_name = "topic",
        .acks = k->acks,
        .done = k->kind == CALL_REAPPEND ? on_reappended : on_appended,
        .user = k,
    };
    FLOE_ASSERT(floe_batch_parse(floe_slice(b->data, b->n), &k->append.batch, NULL) == FLOE_OK);
    enum floe_err e = floe_log_append(p->log, &k->append);
    floe_buf_unref(b);
    if (e == FLOE_OK) {
        k->appending = true;
    } else {
        floe_sim_note(k->c->sim, p->node, "sending %u to %u refused: %s", k->sent, k->part,
                      k->append.err.msg);
        k->kafka_error = k->append.kafka_error;
        if (k->kind == CALL_PRODUCE)
            note_refused(k);
        answer(k, e);
    }
}

/* Fetch, at the broker. */
/* A deposed broker may be behind; the newest that served may not. */
static void note_watermark(struct simcall *k)
{
    struct simledger *l = &k->c->ledger[k->part];
    if (k->epoch >= l->served_epoch && k->result < k->served_hw_at_start)
        simcluster_violation(k->c, 3, "partition %u epoch %d: high watermark %lld, %lld was served before",
                             k->part, k->epoch, (long long)k->result, (long long)k->served_hw_at_start);
    l->served_hw = FLOE_MAX(l->served_hw, k->result);
}
static void answer_fetch(struct simcall *k)
{
    struct floe_log_read *r = &k->read;
    if (r->err.code == FLOE_OK) {
        k->result = r->high_watermark;
        note_watermark(k);
        k->data = malloc(r->bytes ? r->bytes : 1);
        FLOE_ASSERT(k->data);
        for (uint32_t i = 0; i < r->slice_count; i++) {
            memcpy(k->data + k->data_n, r->slices[i].p, r->slices[i].n);
            k->data_n += r->slices[i].n;
        }
    }
    enum floe_err e = r->err.code;
    if (e)
        floe_sim_note(k->c->sim, k->proc ? k->proc->node : NULL, "fetch of %u at %lld: %s", k->part,
                      (long long)k->offset, r->err.msg);
    floe_log_read_fini(r);
    answer(k, e);
}
static void on_read(struct floe_log_read *r)
{
    struct simcall *k = r->user;
    k->reading = false;
    answer_fetch(k);
}
static void serve_fetch(struct simcall *k)
{
    struct simproc *p = k->proc;
    struct floe_tp tp = simcluster_tp(k->c, k->part);
    struct floe_partition *part;
    if (floe_log_find(p->log, &tp, &part) != FLOE_PARTITION_SERVING) {
        answer(k, FLOE_ENOTHOLDER);
        return;
    }
    k->epoch = floe_partition_epoch(part);
    k->served_hw_at_start = k->c->ledger[k->part].served_hw;
    k->read = (struct floe_log_read){
        .tp = tp,
        .offset = k->offset,
        .max_bytes = k->c->healed ? 8192 : 400,
        .min_one = true,
        .done = on_read,
        .user = k,
    };
    k->reading = true;
    if (floe_log_read(p->log, &k->read)) {
        k->reading = false;
        answer_fetch(k);
    }
}
static void serve_latest(struct simcall *k)
{
    struct floe_tp tp = simcluster_tp(k->c, k->part);
    struct floe_partition *part;
    if (floe_log_find(k->proc->log, &tp, &part) != FLOE_PARTITION_SERVING ||
        !floe_lease_alive(k->proc->lease)) {
        answer(k, FLOE_ENOTHOLDER);
        return;
    }
    k->epoch = floe_partition_epoch(part);
    k->served_hw_at_start = k->c->ledger[k->part].served_hw;
    k->result = floe_partition_high_watermark(part);
    k->misled = floe_sim_now_us(k->c->sim) < k->proc->misled_until;
    note_watermark(k);
    answer(k, FLOE_OK);
}
static void serve_epoch_end(struct simcall *k)
{
    struct floe_tp tp = simcluster_tp(k->c, k->part);
    struct floe_partition *part;
    if (floe_log_find(k->proc->log, &tp, &part) != FLOE_PARTITION_SERVING ||
        floe_partition_epoch(part) <= k->epoch) {
        answer(k, FLOE_ENOTHOLDER);
        return;
    }
    if (floe_partition_epoch_end(part, k->epoch, &k->result) < 0)
        k->result = 0;
    answer(k, FLOE_OK);
}
static void serve_meta(struct simcall *k)
{
    struct floe_tp tp = simcluster_tp(k->c, k->part);
    struct floe_lease_entry e;
    if (k->proc->state != PROC_UP || !floe_lease_lookup(k->proc->lease, &tp, &e)) {
        answer(k, FLOE_ENOTFOUND);
        return;
    }
    k->node = e.holder.node;
    k->epoch = e.epoch;
    answer(k, FLOE_OK);
}
static void on_deliver(struct floe_sim_event *e)
{
    struct simcall *k = FLOE_CONTAINER(e, struct simcall, deliver);
    switch (k->kind) {
    case CALL_META:
        serve_meta(k);
        break;
    case CALL_PRODUCE:
    case CALL_REAPPEND:
        serve_produce(k);
        break;
    case CALL_EPOCH_END:
        serve_epoch_end(k);
        break;
    case CALL_FETCH:
        serve_fetch(k);
        break;
    case CALL_LATEST:
        serve_latest(k);
        break;
    }
}

struct simcall *simcall_new(struct simcluster *c, enum simcall_kind kind, uint32_t part,
                            void (*done)(struct simcall *k), void *user)
{
    struct simcall *k = calloc(1, sizeof *k);
    FLOE_ASSERT(k);
    k->c = c;
    k->kind = kind;
    k->part = part;
    k->done = done;
    k->user = user;
    k->timeout.fn = on_timeout;
    k->answer.fn = on_answer;
    floe_list_push_back(&c->calls, &k->link);
    return k;
}
void *simcall_extra(struct simcall *k, size_t n)
{
    k->extra = calloc(1, n);
    FLOE_ASSERT(k->extra);
    return k->extra;
}
void simcall_from(struct simcall *k, struct floe_sim_node *node)
{
    k->timeout.node = k->answer.node = node;
}
void simcall_send(struct simcall *k, struct simproc *to, uint64_t timeout_us)
{
    struct simcluster *c = k->c;
    k->started_us = floe_sim_now_us(c->sim);
    k->acked_end_at_start = c->ledger[k->part].acked_end;
    floe_sim_after(c->sim, &k->timeout, timeout_us);
    if (!to || to->state == PROC_DEAD) {
        k->answered = true; /* refused: certainly nothing was sent */
        k->err = FLOE_EREFUSED;
        floe_sim_after(c->sim, &k->answer, leg(c));
        return;
    }
    k->proc = to;
    floe_list_push_back(&to->calls, &k->at_proc);
    struct simlane *l = k->lane;
    if (l && lost(c))
        l->cut = true;
    if (l ? l->cut : lost(c))
        return;
    uint64_t at = k->started_us + leg(c);
    if (l)
        at = l->arrives_us = FLOE_MAX(at, l->arrives_us + 1);
    k->deliver = (struct floe_sim_event){.fn = on_deliver, .node = to->node};
    floe_sim_at(c->sim, &k->deliver, at);
}
/* Connections break: most clients hear of it, some only by their time-out. What arrived may have been stored.
 */
void simcalls_broken(struct simproc *p)
{
    FLOE_LIST_EACH(it, &p->calls)
    {
        struct simcall *k = FLOE_LIST_ENTRY(it, struct simcall, at_proc);
        floe_sim_unschedule(k->c->sim, &k->deliver);
        if (k->lane)
            k->lane->cut = true;
        if (!k->done || floe_rng_below(&k->c->rng, 5) == 0)
            continue;
        k->err = FLOE_ECLOSED;
        k->maybe = true;
        floe_sim_after(k->c->sim, &k->answer, leg(k->c));
    }
}
void simcalls_reap(struct simproc *p)
{
    while (!floe_list_empty(&p->calls)) {
        struct simcall *k = FLOE_LIST_ENTRY(p->calls.next, struct simcall, at_proc);
        leave_proc(k);
        k->appending = k->reading = k->waiting = false;
        if (!k->done)
            call_free(k);
    }
}
void simcalls_fini(struct simcluster *c)
{
    while (!floe_list_empty(&c->calls))
        call_free(FLOE_LIST_ENTRY(c->calls.next, struct simcall, link));
}
