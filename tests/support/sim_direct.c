/* Appends past the front door: the log itself says whether a batch that failed may have been stored, which
 * Kafka's errors do not tell. So what was certainly refused is known, and that it never appears can be
 * checked. */
#include <stdlib.h>

#include <floe/base/assert.h>
#include <floe/kafka/codec.h>

#include "simcluster_int.h"

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
    k->appending = false;
    k->kafka_error = a->kafka_error;
    k->result = a->base_offset;
    k->maybe = a->maybe_applied;
    floe_sim_note(c->sim, p->node, "sending %u (acks %d) to %u: %s at %lld%s", k->sent, a->acks, k->part,
                  floe_err_name(a->err.code), (long long)a->base_offset, k->maybe ? ", perhaps applied" : "");
    if (a->err.code == FLOE_OK && a->acks == -1)
        simcall_acked(k, a->base_offset);
    else if (a->err.code == FLOE_OK && a->acks == 1)
        simcall_acked_by_disk(k);
    if (a->err.code != FLOE_OK)
        note_refused(k);
    simcall_answer(k, a->err.code);
}
static void on_serving(struct floe_log_waiter *w)
{
    struct simcall *k = w->user;
    k->waiting = false;
    if (k->proc)
        simdirect_produce(k);
    else
        simcall_left_door(k);
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
void simdirect_produce(struct simcall *k)
{
    struct simproc *p = k->proc;
    struct floe_tp tp = simcluster_tp(k->c, k->part);
    struct floe_partition *part;
    if (!k->waited &&
        ((k->lane && behind_another(k)) || floe_log_find(p->log, &tp, &part) == FLOE_PARTITION_REBUILDING ||
         floe_log_find(p->log, &tp, &part) == FLOE_PARTITION_HANDING)) {
        k->waited = k->waiting = true;
        k->waiter = (struct floe_log_waiter){.fn = on_serving, .user = k};
        floe_log_wait_serving(p->log, &tp, &k->waiter);
        return;
    }
    struct floe_buf *b = floe_buf_create(k->batch_n, &p->pending);
    if (!b) {
        FLOE_ASSERT(floe_batch_parse(floe_slice(k->batch, k->batch_n), &k->append.batch, NULL) == FLOE_OK);
        note_refused(k);
        floe_sim_note(k->c->sim, p->node, "no memory for sending %u", k->sent);
        simcall_answer(k, FLOE_EAGAIN);
        return;
    }
    memcpy(b->data, k->batch, k->batch_n);
    b->n = k->batch_n;
    k->append = (struct floe_log_append){
        .tp = tp,
        .bytes = {b, b->data, b->n},
        .topic_name = k->c->topic[0].name,
        .acks = k->acks,
        .done = on_appended,
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
        note_refused(k);
        simcall_answer(k, e);
    }
}
