/* Simulated consumers: read every partition from its start, for ever, and now and then ask for the latest
 * offset. Each has a second reader of every partition, which asks any broker (reads anywhere). */
#include <stdlib.h>

#include <floe/base/assert.h>

#include "simcluster_int.h"

static void tick(struct simcursor *u, uint64_t us)
{
    floe_sim_after(u->owner->c->sim, &u->tick, us);
}
static void on_meta(struct simcall *k)
{
    struct simcursor *u = k->user;
    if (k->err == FLOE_OK) {
        u->machine = k->machine;
        u->epoch = k->epoch;
    }
    tick(u, k->err == FLOE_OK ? 0 : 100000);
}
static void on_fetched(struct simcall *k)
{
    struct simcursor *u = k->user;
    struct simcluster *c = k->c;
    struct simledger *l = &c->ledger[k->part];
    if (k->err == FLOE_OK) {
        int64_t next = simledger_read(c, k->part, u->position, k->data, k->data_n, "read");
        if (next > u->position && next > k->result)
            simcluster_violation(c, 3, "partition %u: read up to %lld past the high watermark %lld", k->part,
                                 (long long)next, (long long)k->result);
        if (next >= 0)
            u->position = next;
    } else if (k->err == FLOE_EINVAL && k->epoch >= l->served_epoch) {
        simcluster_violation(
            c, 3, "partition %u epoch %d: offset %lld is out of range for a reader of what was served",
            k->part, k->epoch, (long long)u->position);
    }
    if (k->err) {
        u->machine = -1;
        tick(u, 50000 + floe_rng_below(&c->rng, 100000));
    } else {
        tick(u, k->data_n ? 500 : 20000 + floe_rng_below(&c->rng, 50000));
    }
}
static void on_latest(struct simcall *k)
{
    struct simcursor *u = k->user;
    struct simcluster *c = k->c;
    /* No clock protects the answers of a machine that was paused without seeing time pass. */
    if (k->err == FLOE_OK && !k->misled && k->result < k->acked_end_at_start)
        simcluster_violation(
            c, 8, "partition %u epoch %d: latest is %lld, %lld was acknowledged before the question", k->part,
            k->epoch, (long long)k->result, (long long)k->acked_end_at_start);
    tick(u, 1000);
}
/* Anywhere; once the faults are over one broker each, that mostly leads another partition. */
static void roam(struct simcursor *u)
{
    struct simcluster *c = u->owner->c;
    if (c->healed)
        u->machine = (int32_t)((u->part + u->owner->id) % c->shape.nodes);
    for (uint32_t i = 0; c->healed && i < c->shape.nodes && !simproc_at(c, u->machine); i++)
        u->machine = (int32_t)(((uint32_t)u->machine + 1) % c->shape.nodes); /* not one that stays down */
    if (u->machine < 0)
        u->machine = (int32_t)floe_rng_below(&c->rng, c->shape.nodes);
    struct simcall *k = simcall_new(c, CALL_FETCH, u->part, on_fetched, u);
    k->offset = u->position;
    k->epoch = -1;
    k->roams = true;
    simcall_send(k, simproc_at(c, u->machine), 1000000);
}
static void on_tick(struct floe_sim_event *e)
{
    struct simcursor *u = FLOE_CONTAINER(e, struct simcursor, tick);
    struct simcluster *c = u->owner->c;
    struct simcall *k;
    if (u->back >= 0) {
        u->position = u->back;
        u->back = -1;
    }
    if (u->roams) {
        roam(u);
        return;
    }
    if (u->machine < 0) {
        struct simproc *any = simproc_any(c);
        if (any)
            simcall_send(simcall_new(c, CALL_META, u->part, on_meta, u), any, 1000000);
        else
            tick(u, 100000);
        return;
    }
    if (floe_rng_below(&c->rng, 8) == 0) {
        k = simcall_new(c, CALL_LATEST, u->part, on_latest, u);
    } else {
        k = simcall_new(c, CALL_FETCH, u->part, on_fetched, u);
        k->offset = u->position;
        k->epoch = floe_rng_below(&c->rng, 2) ? u->epoch : -1;
    }
    simcall_send(k, simproc_at(c, u->machine), 1000000);
}
static void cursor_start(struct simconsumer *s, struct simcursor *u, uint32_t part, bool roams)
{
    u->owner = s;
    u->part = part;
    u->machine = -1;
    u->roams = roams;
    u->back = -1;
    u->tick.fn = on_tick;
    tick(u, floe_rng_below(&s->c->rng, 300000));
}
void simconsumers_go_back(struct simcluster *c)
{
    for (uint32_t i = 0; i < c->shape.consumers; i++) {
        for (uint32_t j = 0; j < c->shape.partitions; j++) {
            struct simcursor *u =
                floe_rng_below(&c->rng, 2) ? &c->consumer[i].cur[j] : &c->consumer[i].roam[j];
            u->back = c->healed ? 0 : (int64_t)floe_rng_below(&c->rng, (uint64_t)u->position + 1);
        }
    }
}
void simconsumer_start(struct simconsumer *s, struct simcluster *c, uint32_t id)
{
    *s = (struct simconsumer){.c = c, .id = id};
    for (uint32_t i = 0; i < c->shape.partitions; i++) {
        cursor_start(s, &s->cur[i], i, false);
        cursor_start(s, &s->roam[i], i, true);
    }
}
