/* Re-append, one partition: its items in order, as far as the limits go. */
#include <stdlib.h>

#include <floe/base/mutant.h>

#include "reappend_int.h"

#include <floe/kafka/codec.h>

struct floe_reappend_part *floe_reappend_part_of(struct floe_reappend *r, const struct floe_tp *tp)
{
    uint64_t hash = floe_tp_hash(tp);
    for (struct floe_map_node *n = floe_map_first(&r->map, hash); n; n = floe_map_next_same(n)) {
        struct floe_reappend_part *part = FLOE_MAP_ENTRY(n, struct floe_reappend_part, node);
        if (floe_tp_eq(&part->tp, tp))
            return part;
    }
    struct floe_reappend_part *part = calloc(1, sizeof *part);
    if (!part || !floe_map_insert(&r->map, &part->node, hash)) {
        free(part);
        return NULL;
    }
    part->r = r;
    part->tp = *tp;
    floe_list_init(&part->items);
    floe_list_push_back(&r->parts, &part->link);
    return part;
}

static void release(struct floe_reappend_item *it)
{
    if (it->buf)
        it->part->r->bytes -= it->n;
    floe_buf_unref(it->buf);
    it->buf = NULL;
}

void floe_reappend_free_parts(struct floe_reappend *r)
{
    for (struct floe_list *n; (n = floe_list_pop_front(&r->parts));) {
        struct floe_reappend_part *part = FLOE_LIST_ENTRY(n, struct floe_reappend_part, link);
        for (struct floe_list *i; (i = floe_list_pop_front(&part->items));) {
            struct floe_reappend_item *it = FLOE_LIST_ENTRY(i, struct floe_reappend_item, link);
            release(it);
            free(it);
        }
        free(part);
    }
    floe_map_fini(&r->map);
    floe_map_init(&r->map);
}

static void finish(struct floe_reappend_item *it, uint64_t *counter)
{
    release(it);
    it->state = FLOE_ITEM_DONE;
    (*counter)++;
    it->part->r->items--;
}

/* ---- is it in the store already? ------------------------------------------------------------------ */

static void on_epoch_end(void *user, const struct floe_error *err, int64_t end)
{
    struct floe_reappend_part *part = user;
    struct floe_reappend *r = part->r;
    part->asking = false;
    if (err->code == FLOE_OK) {
        part->end = end;
        part->end_epoch = part->asked_epoch;
        part->end_known = true;
    }
    if (!floe_reappend_came(r))
        return;
    if (err->code == FLOE_OK)
        floe_reappend_soon(r); /* the pump may be running */
    else
        floe_reappend_pause(r);
}

/* True when part->end is the end of `epoch`. */
static bool know_end(struct floe_reappend_part *part, int32_t epoch)
{
    struct floe_reappend *r = part->r;
    const struct floe_log_hooks *h = &r->log->cfg.hooks;
    struct floe_partition *p;
    if (part->end_known && part->end_epoch == epoch)
        return true;
    if (part->asking)
        return false;
    enum floe_partition_state state = floe_log_find(r->log, &part->tp, &p);
    if (state == FLOE_PARTITION_SERVING && p->epoch > epoch) {
        int64_t end = 0;
        part->end = floe_partition_epoch_end(p, epoch, &end) < 0 ? 0 : end;
        part->end_epoch = epoch;
        part->end_known = true;
        return true;
    }
    if (state == FLOE_PARTITION_ABSENT && h->reappend_epoch_end) {
        part->asking = true;
        part->asked_epoch = epoch;
        r->open++;
        h->reappend_epoch_end(h->user, &part->tp, epoch, on_epoch_end, part);
    }
    return false;
}

/* Decides what becomes of the next item of a partition. False: later. */
static bool decide(struct floe_reappend_item *it)
{
    struct floe_reappend_part *part = it->part;
    struct floe_reappend *r = part->r;
    const struct floe_log_hooks *h = &r->log->cfg.hooks;
    enum floe_reappend_topic topic =
        h->reappend_topic ? h->reappend_topic(h->user, &part->tp.topic) : FLOE_REAPPEND_SEND;
    if (topic == FLOE_REAPPEND_DROP) {
        finish(it, &r->dropped);
        return true;
    }
    if (topic == FLOE_REAPPEND_LATER || !know_end(part, it->head.epoch))
        return false;
    if (it->head.offset < part->end && !FLOE_MUTANT(REAPPEND_UNCHECKED)) {
        finish(it, &r->present);
        return true;
    }
    if (!it->own_producer) { /* counted whether it is sent or not: a second run counts the same */
        it->sequence = part->next_sequence;
        part->next_sequence = (int32_t)(((uint32_t)it->sequence + (uint32_t)it->records) & INT32_MAX);
    }
    if (topic == FLOE_REAPPEND_ASIDE)
        it->aside = "the topic is compacted";
    else if (floe_loop_wall_ms(r->log->cfg.loop) - it->head.time_ms > FLOE_REAPPEND_AGE_MS)
        it->aside = "it is older than an hour";
    it->state = FLOE_ITEM_WANTED;
    return true;
}

/* ---- bytes ---------------------------------------------------------------------------------------- */

static void on_get(struct floe_tier_op *op)
{
    struct floe_reappend_item *it = op->user;
    struct floe_reappend *r = it->part->r;
    struct floe_buf *b = op->data;
    op->data = NULL;
    if (r->stopped || op->err.code != FLOE_OK || b->n < op->head_n || b->n - op->head_n != it->n) {
        floe_buf_unref(b);
        r->bytes -= it->n;
        it->state = FLOE_ITEM_WANTED;
        if (!r->stopped && op->err.code == FLOE_ENOTFOUND)
            finish(it, &r->dropped); /* dropped behind our back: nothing to save */
    } else {
        it->buf = b;
        it->head_n = op->head_n;
        it->bytes = (struct floe_bufslice){b, b->data + op->head_n, it->n};
        it->state = FLOE_ITEM_READY;
    }
    bool again = it->state == FLOE_ITEM_WANTED; /* not at once: what cannot be read now mostly stays so */
    if (floe_reappend_came(r)) {
        if (again)
            floe_reappend_pause(r);
        else
            floe_reappend_pump(r);
    }
}

static void load(struct floe_reappend_item *it)
{
    struct floe_reappend *r = it->part->r;
    it->get = (struct floe_tier_op){
        .seq = it->seq, .budget = r->log->cfg.pending_budget, .done = on_get, .user = it};
    it->state = FLOE_ITEM_LOADING;
    r->bytes += it->n;
    r->open++;
    r->log->cfg.tier->ops->get(r->log->cfg.tier, &it->get);
}

/* ---- sending -------------------------------------------------------------------------------------- */

static bool set_aside(struct floe_reappend_item *it)
{
    struct floe_reappend *r = it->part->r;
    const struct floe_log_hooks *h = &r->log->cfg.hooks;
    if (r->asides_left == 0)
        return false; /* until the timer runs */
    if (--r->asides_left == 0)
        floe_timer_start(r->log->cfg.loop, &r->timer, FLOE_REAPPEND_ASIDES_US);
    if (!h->set_aside || !h->set_aside(h->user, &it->part->tp, it->head.offset,
                                       floe_slice(it->bytes.p, it->bytes.n), it->aside))
        return false;
    finish(it, &r->aside);
    return true;
}

/* What the partition's holder said. */
static void answered(struct floe_reappend_item *it, enum floe_err code, int16_t kafka_error)
{
    struct floe_reappend *r = it->part->r;
    if (code == FLOE_OK && kafka_error == 0) {
        finish(it, &r->sent);
    } else if (kafka_error == FLOE_KERR_DUPLICATE_SEQUENCE_NUMBER) {
        finish(it, &r->present);
    } else if (kafka_error != 0 && !floe_kafka_error_retriable(kafka_error)) {
        it->aside = floe_kafka_error_name(kafka_error);
        it->state = FLOE_ITEM_READY;
    } else if (kafka_error == FLOE_KERR_OUT_OF_ORDER_SEQUENCE_NUMBER) {
        it->aside = "its producer's sequence went on without it";
        it->state = FLOE_ITEM_READY;
    } else {
        /* Another holder, or a pause: the same batch again, in a buffer of its own, since a PUT that is under
         * way may still hold this one. */
        release(it);
        it->state = FLOE_ITEM_WANTED;
        floe_reappend_pause(r);
    }
}

static void on_append(struct floe_log_append *a)
{
    struct floe_reappend_item *it = a->user;
    struct floe_reappend *r = it->part->r;
    answered(it, a->err.code, a->kafka_error);
    if (floe_reappend_came(r))
        floe_reappend_pump(r);
}

static void on_sent(void *user, const struct floe_error *err, int16_t kafka_error)
{
    struct floe_reappend_item *it = user;
    struct floe_reappend *r = it->part->r;
    if (!floe_reappend_came(r))
        return;
    answered(it, err->code, kafka_error);
    if (it->state != FLOE_ITEM_WANTED)
        floe_reappend_soon(r);
}

/* False: not now. */
static bool send_item(struct floe_reappend_item *it, bool local)
{
    struct floe_reappend *r = it->part->r;
    const struct floe_log_hooks *h = &r->log->cfg.hooks;
    struct floe_batch b;
    struct floe_error err;
    if (floe_batch_parse(floe_slice(it->bytes.p, it->bytes.n), &b, &err) != FLOE_OK || b.length != it->n ||
        !floe_batch_crc_ok(it->bytes.p, &b)) {
        it->aside = "its bytes are damaged";
        return set_aside(it);
    }
    if (!it->own_producer) {
        uint8_t *p = (uint8_t *)(uintptr_t)it->bytes.p;
        floe_batch_set_producer(p, &b, r->producer_id, r->producer_epoch, it->sequence);
        if (floe_batch_parse(floe_slice(p, it->n), &b, &err) != FLOE_OK)
            FLOE_ASSERT(false);
    }
    if (!local) {
        if (!h->reappend_send)
            return false;
        it->state = FLOE_ITEM_SENT;
        it->remote = true;
        r->open++;
        h->reappend_send(h->user, &it->part->tp, &it->bytes, on_sent, it);
        return true;
    }
    it->append = (struct floe_log_append){.tp = it->part->tp,
                                          .batch = b,
                                          .bytes = it->bytes,
                                          .acks = -1,
                                          .waited = true,
                                          .done = on_append,
                                          .user = it};
    enum floe_err rc = floe_log_append(r->log, &it->append);
    if (rc == FLOE_OK) {
        it->state = FLOE_ITEM_SENT;
        it->remote = false;
        r->open++;
        return true;
    }
    if (rc == FLOE_EINVAL) {
        answered(it, rc, it->append.kafka_error);
        return true;
    }
    return false;
}

/* ---- pump ----------------------------------------------------------------------------------------- */

/* One item as far as it goes. False: nothing behind it may go on either. */
static bool step(struct floe_reappend_item *it, bool *blocked, bool local)
{
    struct floe_reappend *r = it->part->r;
    if (it->state == FLOE_ITEM_NEW && !decide(it)) {
        floe_reappend_pause(r);
        return false;
    }
    if (it->state == FLOE_ITEM_WANTED) {
        if (r->bytes > 0 && r->bytes + it->n > FLOE_REAPPEND_BYTES_MAX)
            return false;
        load(it);
    }
    if (it->state == FLOE_ITEM_READY && !*blocked) {
        bool ok = it->aside ? set_aside(it) : send_item(it, local);
        if (!ok) {
            floe_reappend_pause(r);
            return false;
        }
        if (it->state == FLOE_ITEM_READY && it->aside && !set_aside(it)) {
            floe_reappend_pause(r);
            return false;
        }
    }
    /* What another broker has not answered yet may have to be sent here, before anything behind it: Kafka's
     * check takes any first sequence of a producer that it does not know. */
    *blocked |= it->state == FLOE_ITEM_LOADING || it->state == FLOE_ITEM_READY ||
                (it->state == FLOE_ITEM_SENT && it->remote);
    return true;
}

static void pump_part(struct floe_reappend_part *part)
{
    struct floe_log *log = part->r->log;
    bool local = floe_log_find(log, &part->tp, NULL) != FLOE_PARTITION_ABSENT, blocked = false;
    uint32_t window = local ? FLOE_REAPPEND_PARTITION_WINDOW : 1;
    FLOE_LIST_EACH_SAFE(n, &part->items)
    {
        struct floe_reappend_item *it = FLOE_LIST_ENTRY(n, struct floe_reappend_item, link);
        if (window == 0 || !step(it, &blocked, local))
            return;
        if (it->state == FLOE_ITEM_DONE) {
            floe_list_remove(&it->link);
            free(it);
        } else {
            window--;
        }
    }
}

void floe_reappend_pump(struct floe_reappend *r)
{
    if (r->stopped || !r->producer_ready)
        return;
    FLOE_LIST_EACH(n, &r->parts)
    pump_part(FLOE_LIST_ENTRY(n, struct floe_reappend_part, link));
    if (r->items == 0)
        floe_reappend_window_done(r);
}
