/* Requests of clients to brokers: on their way, at the broker, on their way back. */
#include <stdlib.h>

#include <floe/base/assert.h>

#include "simcluster_int.h"

/* One way between a client and a broker. */
static uint64_t leg(const struct simcall *k)
{
    return 100 + floe_rng_below(k->rng, 800);
}
static bool lost(const struct simcall *k)
{
    return !k->c->healed && floe_rng_below(k->rng, 1000000) < k->c->shape.client_loss_ppm;
}

/* The end of a call at its client. The struct stays until the broker's modules have let go of it. */
static void leave_proc(struct simcall *k)
{
    floe_list_remove(&k->at_proc);
    k->proc = NULL;
}
static bool held(const struct simcall *k)
{
    return k->appending || k->waiting || k->inside || k->deliver.heap_at;
}
static void call_free(struct simcall *k)
{
    floe_sim_unschedule(k->c->sim, &k->deliver);
    floe_sim_unschedule(k->c->sim, &k->answer);
    floe_sim_unschedule(k->c->sim, &k->timeout);
    floe_list_remove(&k->link);
    floe_list_remove(&k->at_proc);
    if (k->conn)
        simconn_unref(k->conn);
    free(k->batch);
    free(k->frame);
    free(k->data);
    free(k->joined);
    free(k->convert);
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
    if (k->conn && !k->lane) { /* hangs up */
        simconn_close(simconn_ref(k->conn), leg(k));
    }
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
void simcall_answer(struct simcall *k, enum floe_err err)
{
    k->err = err;
    k->answered = true;
    k->inside = false;
    if (k->proc) {
        k->misled = floe_sim_now_us(k->c->sim) < k->proc->misled_until;
        leave_proc(k);
    }
    if (!k->done) { /* the client gave up long ago */
        if (!held(k))
            call_free(k);
        return;
    }
    struct simlane *l = k->lane;
    if (l && lost(k))
        l->cut = true;
    if (l ? l->cut : lost(k))
        return;
    uint64_t at = floe_sim_now_us(k->c->sim) + leg(k);
    if (l)
        at = l->answers_us = FLOE_MAX(at, l->answers_us + 1);
    floe_sim_at(k->c->sim, &k->answer, at);
}

/* ---- at the broker ---- */

/* A broker promises that the batch stays at this offset. */
void simcall_acked(struct simcall *k, int64_t base_offset)
{
    struct simcluster *c = k->c;
    struct simproc *p = k->proc;
    struct simsent *s = &c->sent[k->sent];
    struct simledger *l = &c->ledger[k->part];
    if (simproc_lapsed(p))
        simcluster_violation(c, 8, "node %s acknowledges while it is not alive", floe_sim_node_name(p->node));
    if (s->state == SENT_REFUSED)
        simcluster_violation(c, 5, "sending %u was refused, and is acknowledged now", k->sent);
    simtopics_acked(c, p, k->part);
    for (uint32_t i = 0; i < s->count; i++)
        simledger_note(c, k->part, base_offset + i, simledger_value(k->sent, i), "acknowledged");
    l->acked_end = FLOE_MAX(l->acked_end, base_offset + s->count);
    if (c->healed && k->started_us >= c->healed_us && !l->writable) {
        l->writable = true;
        c->out->writable_us = floe_sim_now_us(c->sim) - c->healed_us;
    }
    if (s->state != SENT_ACKED)
        c->out->acked += s->count;
    s->state = SENT_ACKED;
    s->base_offset = base_offset;
    s->acked_us = floe_sim_now_us(c->sim);
}
void simcall_acked_by_disk(struct simcall *k)
{
    struct simsent *s = &k->c->sent[k->sent];
    s->state = SENT_ACKED;
    s->disk = k->c->machine[k->proc->machine].disk;
}
/* The leader epoch under which this broker serves the partition; -1: it does not. */
static int32_t served_epoch(const struct simcall *k)
{
    struct floe_tp tp = simcluster_tp(k->c, k->part);
    struct floe_partition *part;
    return floe_log_find(k->proc->log, &tp, &part) >= FLOE_PARTITION_SERVING ? floe_partition_epoch(part)
                                                                             : -1;
}
/* A deposed broker may be behind; the newest that served may not. */
static void note_watermark(struct simcall *k)
{
    struct simledger *l = &k->c->ledger[k->part];
    if (k->epoch >= l->served_epoch && k->result < k->served_hw_at_start)
        simcluster_violation(k->c, 3, "partition %u epoch %d: high watermark %lld, %lld was served before",
                             k->part, k->epoch, (long long)k->result, (long long)k->served_hw_at_start);
    l->served_hw = FLOE_MAX(l->served_hw, k->result);
}
/* Read at a broker that does not lead. It may be behind the leader, or a moment before it; but it does not go
 * back, and does not judge positions. */
static void judge_view(struct simcall *k)
{
    struct simcursor *u = k->user;
    uint32_t m = k->proc->machine;
    if (!k->done)
        return; /* the reader has gone on */
    if (k->err == FLOE_EINVAL && k->broker_epoch < 0 && served_epoch(k) < 0)
        simcluster_violation(k->c, 3,
                             "partition %u: node %s does not lead it and says that %lld is out of range",
                             k->part, floe_sim_node_name(k->proc->node), (long long)k->offset);
    /* What it told as the leader, when it was asked or when it answers, is another view. */
    if (k->err || k->result < 0 || k->broker_epoch >= 0 || served_epoch(k) >= 0)
        return;
    if (u->seen_of[m] == k->proc->started_us && k->result < u->seen[m])
        simcluster_violation(k->c, 3, "partition %u: node %s told of a high watermark of %lld, now of %lld",
                             k->part, floe_sim_node_name(k->proc->node), (long long)u->seen[m],
                             (long long)k->result);
    u->seen_of[m] = k->proc->started_us;
    u->seen[m] = k->result;
    k->c->out->view_reads += k->data_n > 0;
}
static bool lapsed(const struct simcall *k)
{
    return k->err == FLOE_OK && simproc_lapsed(k->proc);
}
static void judge(struct simcall *k)
{
    struct simcluster *c = k->c;
    if (k->kind != CALL_DELETE && c->part[k->part].topic == 0 &&
        (k->kafka_error == FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION ||
         k->kafka_error == FLOE_KERR_UNKNOWN_TOPIC_ID))
        simcluster_violation(c, 0, "partition %u: node %s does not know its topic", k->part,
                             floe_sim_node_name(k->proc->node));
    switch (k->kind) {
    case CALL_PRODUCE:
        floe_sim_note(c->sim, k->proc->node, "sending %u (acks %d) to %u: %s at %lld", k->sent, k->acks,
                      k->part, floe_kafka_error_name(k->kafka_error), (long long)k->result);
        if (k->err == FLOE_OK && k->acks == -1)
            simcall_acked(k, k->result);
        else if (k->err == FLOE_OK && k->acks == 1)
            simcall_acked_by_disk(k);
        break;
    case CALL_FETCH:
    case CALL_LATEST:
        if (k->err)
            floe_sim_note(c->sim, k->proc->node, "%s of %u at %lld: %s",
                          k->kind == CALL_FETCH ? "fetch" : "latest", k->part, (long long)k->offset,
                          floe_kafka_error_name(k->kafka_error));
        if (k->kind == CALL_LATEST && lapsed(k))
            simcluster_violation(c, 8, "node %s says what is latest while it is not alive",
                                 floe_sim_node_name(k->proc->node));
        /* As long as it has served at one epoch: else it is not known which of them answers. */
        k->epoch = k->broker_epoch == served_epoch(k) ? k->broker_epoch : -1;
        if (k->roams && k->epoch < 0)
            judge_view(k);
        else if (k->err == FLOE_OK && k->result >= 0)
            note_watermark(k);
        break;
    case CALL_META:
        if (k->err == FLOE_OK)
            simwatch_check_leader(c, k->part, k->node, k->epoch);
        break;
    case CALL_COMMIT:
        if (lapsed(k))
            simcluster_violation(c, 9, "node %s acknowledges a commit while it is not alive",
                                 floe_sim_node_name(k->proc->node));
        break;
    case CALL_COMMITTED:
        if (lapsed(k))
            simcluster_violation(c, 9, "node %s tells a committed offset while it is not alive",
                                 floe_sim_node_name(k->proc->node));
        if (!k->classic)
            simcommitter_told(k);
        break;
    case CALL_BEAT:
    case CALL_JOIN:
    case CALL_SYNC:
    case CALL_HEARTBEAT:
    case CALL_CONVERT:
        if (lapsed(k))
            simcluster_violation(c, 9, "node %s answers a member while it is not alive",
                                 floe_sim_node_name(k->proc->node));
        break;
    case CALL_COORDINATOR:
    case CALL_CREATE:
    case CALL_DELETE:
        simtopics_answered(k);
        break;
    case CALL_INIT_ID:
    case CALL_LEAVE:
        break;
    }
}
void simcall_left_door(struct simcall *k)
{
    k->inside = false;
    if (!k->done && !held(k))
        call_free(k);
}
void simcall_decided(struct simcall *k, const uint8_t *frame, size_t n, bool closes)
{
    if (frame) {
        simwire_decode(k, frame, n);
        k->maybe = k->err != FLOE_OK; /* most errors say nothing of what was stored */
        judge(k);
    } else if (closes) {
        k->err = FLOE_ECLOSED;
        k->maybe = true;
        if (k->lane)
            k->lane->cut = true;
    }
}
static void on_deliver(struct floe_sim_event *e)
{
    struct simcall *k = FLOE_CONTAINER(e, struct simcall, deliver);
    if (k->direct) {
        simdirect_produce(k);
        return;
    }
    k->served_hw_at_start = k->c->ledger[k->part].served_hw;
    k->broker_epoch = served_epoch(k);
    k->inside = true;
    simdoor_arrive(k->conn, k, k->frame + 4, k->frame_n - 4);
}

struct simcall *simcall_new(struct simcluster *c, enum simcall_kind kind, uint32_t part,
                            void (*done)(struct simcall *k), void *user)
{
    struct simcall *k = calloc(1, sizeof *k);
    FLOE_ASSERT(k);
    k->c = c;
    k->kind = kind;
    k->part = part;
    k->rng = &c->rng;
    k->done = done;
    k->user = user;
    k->timeout.fn = on_timeout;
    k->answer.fn = on_answer;
    floe_list_push_back(&c->calls, &k->link);
    return k;
}
/* A lane keeps its connection; everything else has one of its own, which its end closes. */
static struct simconn *connect_to(struct simlane *l, struct simproc *to)
{
    if (!l)
        return simconn_open(to);
    if (l->conn && !simconn_is_open(l->conn, to))
        simlane_disconnect(l);
    if (!l->conn)
        l->conn = simconn_open(to);
    return simconn_ref(l->conn);
}
void simlane_disconnect(struct simlane *l)
{
    if (l->conn)
        simconn_close(l->conn,
                      floe_rng_below(&l->p->c->rng, floe_rng_below(&l->p->c->rng, 3) ? 2000 : 3000000));
    l->conn = NULL;
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
        floe_sim_after(c->sim, &k->answer, leg(k));
        return;
    }
    k->proc = to;
    floe_list_push_back(&to->calls, &k->at_proc);
    struct simlane *l = k->lane;
    if (l && lost(k))
        l->cut = true;
    if (l ? l->cut : lost(k))
        return;
    if (!k->direct) {
        k->conn = connect_to(l, to);
        simwire_encode(k);
    }
    uint64_t at = k->started_us + leg(k);
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
        if (!k->done || floe_rng_below(k->rng, 5) == 0)
            continue;
        k->err = FLOE_ECLOSED;
        k->maybe = true;
        floe_sim_after(k->c->sim, &k->answer, leg(k));
    }
}
void simcalls_reap(struct simproc *p)
{
    while (!floe_list_empty(&p->calls)) {
        struct simcall *k = FLOE_LIST_ENTRY(p->calls.next, struct simcall, at_proc);
        leave_proc(k);
        k->appending = k->waiting = k->inside = false;
        if (!k->done)
            call_free(k);
    }
}
void simcalls_fini(struct simcluster *c)
{
    while (!floe_list_empty(&c->calls))
        call_free(FLOE_LIST_ENTRY(c->calls.next, struct simcall, link));
}
