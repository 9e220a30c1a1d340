/* Simulated producers: idempotent ones repeat a batch until it is acknowledged, in order; others make a new
 * sending of each try, so that every sending is stored at most once. */
#include <stdio.h>
#include <stdlib.h>

#include <floe/base/assert.h>

#include "simcluster_int.h"

static void pump(struct simlane *l);
static void tick_soon(struct simlane *l, uint64_t us)
{
    if (!l->tick.heap_at)
        floe_sim_after(l->p->c->sim, &l->tick, us);
}

static uint32_t new_sent(struct simcluster *c, const struct simlane *l, uint32_t count)
{
    if (c->sent_n == c->sent_cap) {
        c->sent_cap = c->sent_cap ? c->sent_cap * 2 : 1024;
        c->sent = realloc(c->sent, c->sent_cap * sizeof *c->sent);
        FLOE_ASSERT(c->sent);
    }
    struct simsent *s = &c->sent[c->sent_n];
    *s = (struct simsent){
        .producer = l->p->id,
        .part = (uint8_t)l->part,
        .count = (uint8_t)count,
        .acks = l->p->acks,
        .idempotent = l->p->idempotent,
        .sequence = l->p->idempotent ? l->next_sequence : -1,
    };
    return c->sent_n++;
}
static void build(struct simlane *l, uint32_t slot)
{
    struct simcluster *c = l->p->c;
    uint32_t id = l->queue[slot];
    const struct simsent *s = &c->sent[id];
    struct floe_batch_builder b;
    struct floe_writer w;
    floe_batch_builder_init(&b, FLOE_COMPRESSION_NONE, 1 << 16);
    floe_writer_init(&w, 1 << 16);
    for (uint32_t i = 0; i < s->count; i++) {
        char text[1600];
        int pad = (int)floe_rng_below(&c->rng, floe_rng_below(&c->rng, 20) ? 40 : 1500);
        int n = snprintf(text, sizeof text, "%u:%u%*s", id, i, pad, "");
        struct floe_kbytes key = {NULL, -1}, value = {(const uint8_t *)text, n};
        FLOE_ASSERT(floe_batch_builder_add(&b, 1000, key, value, NULL, 0, NULL) == FLOE_OK);
    }
    b.head.producer_id = s->idempotent ? l->p->producer_id : -1;
    b.head.producer_epoch = s->idempotent ? 0 : -1;
    b.head.base_sequence = s->sequence;
    FLOE_ASSERT(floe_batch_builder_finish(&b, &w, NULL) == FLOE_OK);
    floe_batch_builder_fini(&b);
    l->bytes[slot] = w.p;
    l->bytes_n[slot] = w.n;
}
static void new_batch(struct simlane *l)
{
    uint32_t slot = l->n, count = 1 + (uint32_t)floe_rng_below(&l->p->c->rng, SIM_BATCH_RECORDS_MAX);
    l->queue[slot] = new_sent(l->p->c, l, count);
    build(l, slot);
    l->flying[slot] = false;
    l->n++;
    if (l->p->idempotent)
        l->next_sequence += (int32_t)count;
}
static void take_out(struct simlane *l, uint32_t slot)
{
    free(l->bytes[slot]);
    l->n--;
    for (uint32_t i = slot; i < l->n; i++) {
        l->queue[i] = l->queue[i + 1];
        l->bytes[i] = l->bytes[i + 1];
        l->bytes_n[i] = l->bytes_n[i + 1];
        l->flying[i] = l->flying[i + 1];
    }
}
/* The broker of an idempotent batch that it holds in its window answers with the offset; anything else that
 * is not an acknowledgement is tried again. */
static void on_produced(struct simcall *k)
{
    struct simlane *l = k->user;
    struct simcluster *c = k->c;
    struct simsent *s = &c->sent[k->sent];
    uint32_t slot = 0;
    while (slot < l->n && l->queue[slot] != k->sent)
        slot++;
    FLOE_ASSERT(slot < l->n && l->flying[slot]);
    l->flying[slot] = false;
    l->in_flight--;
    floe_sim_note(c->sim, NULL, "producer %u hears of sending %u: %s%s", l->p->id, k->sent,
                  floe_err_name(k->err), k->answered ? "" : " (no answer)");
    /* Stored, and too long ago for the broker to know where: clients take that for success. */
    bool duplicate = l->p->idempotent && k->kafka_error == FLOE_KERR_DUPLICATE_SEQUENCE_NUMBER;
    bool ok = k->err == FLOE_OK || duplicate;
    if (duplicate && s->state != SENT_ACKED) {
        s->state = SENT_ACKED;
        s->base_offset = -1;
    }
    if (!k->answered) /* the client closes a connection on which a request timed out */
        l->cut = true;
    if (ok) {
        l->known |= slot == 0; /* while the oldest is open, nothing new follows: it would leave the window */
        take_out(l, slot);
    } else if (l->p->idempotent) {
        l->failed = true;
        l->known = false; /* the oldest goes alone until it has passed, as Kafka's clients do */
        /* "Out of order" ends a client, or has it repeat under a new epoch what was stored and not answered:
         * nobody is told so, but by a broker that cannot know better. */
        bool usual = k->kafka_error == FLOE_KERR_OUT_OF_ORDER_SEQUENCE_NUMBER && k->misled;
        if (k->kafka_error && !usual && !floe_kafka_error_retriable(k->kafka_error))
            simcluster_violation(c, 4, "idempotent producer %u, sending %u: error %d", l->p->id, k->sent,
                                 k->kafka_error);
    } else {
        /* Definitely failed, unless a broker had it and its end is not known. */
        if (s->state == SENT_OPEN)
            s->state = k->maybe ? SENT_UNKNOWN : SENT_REFUSED;
        take_out(l, slot);
    }
    if (!ok)
        l->machine = -1;
    if (l->p->pause_us)
        tick_soon(l, l->p->pause_us);
    else
        tick_soon(l, ok ? floe_rng_below(&c->rng, 300000) : 20000 + floe_rng_below(&c->rng, 100000));
}
static void on_meta(struct simcall *k)
{
    struct simlane *l = k->user;
    if (k->err == FLOE_OK)
        l->machine = k->machine;
    tick_soon(l, k->err == FLOE_OK ? 0 : l->p->pause_us ? l->p->pause_us : 50000);
}
static void send_slot(struct simlane *l, uint32_t slot)
{
    struct simcluster *c = l->p->c;
    struct simcall *k = simcall_new(c, CALL_PRODUCE, l->part, on_produced, l);
    k->lane = l;
    k->direct = l->p->direct;
    k->acks = l->p->acks;
    k->sent = l->queue[slot];
    k->batch = malloc(l->bytes_n[slot]);
    FLOE_ASSERT(k->batch);
    memcpy(k->batch, l->bytes[slot], l->bytes_n[slot]);
    k->batch_n = l->bytes_n[slot];
    l->flying[slot] = true;
    l->in_flight++;
    uint64_t timeout = l->p->timeout_us ? l->p->timeout_us : 1000000 + floe_rng_below(&c->rng, 3000000);
    simcall_send(k, simproc_at(c, l->machine), timeout);
}
static void pump(struct simlane *l)
{
    struct simproducer *p = l->p;
    struct simcluster *c = p->c;
    if ((l->failed || l->cut) && l->in_flight) /* all come back first, or the order would be lost */
        return;
    if (l->cut)
        simlane_disconnect(l);
    if (simcluster_part_gone(c, l->part)) {
        while (l->n && !l->in_flight)
            take_out(l, 0);
        return;
    }
    if (p->idempotent && p->producer_id < 0) {
        tick_soon(l, 200000);
        return;
    }
    l->failed = l->cut = false;
    if (l->machine < 0) {
        if (l->n || !c->stopping) {
            struct simproc *any = simproc_any(c);
            if (any)
                simcall_send(simcall_new(c, CALL_META, l->part, on_meta, l), any, 1000000);
            else
                tick_soon(l, 100000);
        }
        return;
    }
    while (!c->stopping && l->n < p->window)
        new_batch(l);
    /* After a refusal one goes alone. */
    uint32_t window = p->idempotent && !l->known ? 1 : p->window;
    for (uint32_t i = 0; i < l->n && l->in_flight < window; i++) {
        if (!l->flying[i])
            send_slot(l, i);
    }
}
static void on_tick(struct floe_sim_event *e)
{
    pump(FLOE_CONTAINER(e, struct simlane, tick));
}
static void start_lanes(struct simproducer *p)
{
    for (uint32_t i = 0; i < p->c->shape.partitions && p != &p->c->extra; i++)
        simproducer_lane(p, i);
}
void simproducer_lane(struct simproducer *p, uint32_t part)
{
    struct simcluster *c = p->c;
    struct simlane *l = &p->lane[part];
    if (!c || l->p) /* not started; there is one */
        return;
    l->p = p;
    l->part = part;
    l->machine = -1;
    l->known = true; /* clients do not wait for their first answer */
    l->tick.fn = on_tick;
    tick_soon(l, floe_rng_below(&c->rng, p->pause_us ? p->pause_us : 200000));
}
static void on_id(struct simcall *k)
{
    struct simproducer *p = k->user;
    struct simcluster *c = k->c;
    if (k->err) {
        floe_sim_after(c->sim, &p->start, 100000);
        return;
    }
    simcluster_note_id(c, k->result, "given to a client");
    p->producer_id = k->result;
    start_lanes(p);
}
static void on_start(struct floe_sim_event *e)
{
    struct simproducer *p = FLOE_CONTAINER(e, struct simproducer, start);
    struct simproc *any = simproc_any(p->c);
    if (any)
        simcall_send(simcall_new(p->c, CALL_INIT_ID, 0, on_id, p), any, 2000000);
    else
        floe_sim_after(p->c->sim, &p->start, 100000);
}
static void start(struct simproducer *p)
{
    p->start.fn = on_start;
    if (p->idempotent)
        on_start(&p->start);
    else
        start_lanes(p);
}
void simproducer_start(struct simproducer *p, struct simcluster *c, uint32_t id)
{
    uint64_t kind = floe_rng_below(&c->rng, 8);
    *p = (struct simproducer){.c = c, .id = id};
    p->idempotent = kind < 4;
    p->acks = kind < 6 ? -1 : kind == 6 ? 1 : 0;
    p->window = 1 + (uint32_t)floe_rng_below(&c->rng, 5);
    p->direct = floe_rng_below(&c->rng, 4) == 0;
    start(p);
}
void simprobe_start(struct simproducer *p, struct simcluster *c, uint32_t id)
{
    *p = (struct simproducer){
        .c = c, .id = id, .acks = -1, .window = 1, .timeout_us = 400000, .pause_us = 20000};
    start(p);
}
/* Writes to topics that come and go: lanes are made when a topic turns live, and end with it. */
void simextra_start(struct simproducer *p, struct simcluster *c, uint32_t id)
{
    *p = (struct simproducer){
        .c = c, .id = id, .idempotent = true, .acks = -1, .window = 3, .producer_id = -1};
    start(p);
}
void simproducer_fini(struct simproducer *p)
{
    if (p->c)
        floe_sim_unschedule(p->c->sim, &p->start);
    for (uint32_t i = 0; i < SIM_PARTITIONS_MAX; i++) {
        struct simlane *l = &p->lane[i];
        if (p->c)
            floe_sim_unschedule(p->c->sim, &l->tick);
        if (l->conn)
            simconn_unref(l->conn);
        for (uint32_t j = 0; j < l->n; j++)
            free(l->bytes[j]);
    }
}
bool simproducers_idle(struct simcluster *c)
{
    for (uint32_t i = 0; i < c->producers; i++) {
        for (uint32_t j = 0; j < c->shape.partitions; j++) {
            if (c->producer[i].lane[j].n)
                return false;
        }
    }
    for (uint32_t j = 0; j < c->parts; j++)
        if (c->extra.lane[j].n && !simcluster_part_gone(c, j))
            return false;
    return true;
}
