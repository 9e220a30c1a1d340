/* The placement of all leased partitions on the live nodes, kept while neither changes.
 *
 * Made anew in slices of about a millisecond, one a kick. A change of the nodes throws away what is under
 * way; a change of the partitions waits for its end, so that a stream of new topics does not keep it from
 * ever being complete. Until it is, nobody is placed. */
#include "lease_int.h"

#include <stdlib.h>

#define SLICE 500000 /* hashes */

void lease_placed_init(struct floe_lease *l)
{
    l->placed.stale = true;
}

void lease_placed_fini(struct floe_lease *l)
{
    floe_placement_destroy(&l->placed.now);
    floe_placement_destroy(&l->placed.next);
    free(l->placed.nodes);
    free(l->placed.live);
    free(l->placed.state);
}

static void live_nodes(struct floe_lease *l)
{
    struct lease_placed *pl = &l->placed;
    pl->live_count = 0;
    if (pl->cap < l->node_count) {
        pl->cap = l->node_cap;
        pl->state = realloc(pl->state, pl->cap * sizeof *pl->state);
        pl->live = realloc(pl->live, pl->cap * sizeof *pl->live);
        pl->nodes = realloc(pl->nodes, pl->cap * sizeof *pl->nodes);
        FLOE_ASSERT(pl->live != NULL && pl->nodes != NULL && pl->state != NULL);
    }
    /* Those that drain get nothing, unless there is nobody else. */
    for (int pass = 0; pass < 2 && pl->live_count == 0; pass++) {
        for (uint32_t i = 0; i < l->node_count; i++) {
            const struct lease_node *n = l->nodes[i];
            bool own = n->id == l->own.name.node, drains = own ? l->mover.draining : n->rec.info.draining;
            if (pass == (int)drains &&
                (own ? lease_own_open(l) && l->own.state != OWN_ENDING
                     : n->present && !n->bad && n->rec.info.state == FLOE_NODE_LIVE && !n->gone))
                pl->live[pl->live_count++] = (struct floe_placement_node){
                    .id = n->id, .rack = floe_placement_rack(own ? l->rack : n->rec.info.rack)};
        }
    }
}

uint64_t lease_placed_sessions(struct floe_lease *l)
{
    const struct lease_placed *pl = &l->placed;
    uint64_t h = 0;
    live_nodes(l);
    for (uint32_t i = 0; i < pl->live_count; i++) {
        int32_t id = pl->live[i].id;
        uint64_t session =
            id == l->own.name.node ? l->own.name.id : lease_node_find(l, id)->rec.info.session.id;
        h = (h ^ session ^ pl->live[i].rack) * 0x9e3779b97f4a7c15ull;
    }
    return h;
}

static bool same_nodes(const struct lease_placed *pl)
{
    if (pl->live_count != pl->node_count)
        return false;
    for (uint32_t i = 0; i < pl->node_count; i++)
        if (pl->live[i].id != pl->nodes[i].id || pl->live[i].rack != pl->nodes[i].rack)
            return false;
    return true;
}

static struct lease_placed_state *state_of(const struct lease_placed *pl, int32_t node)
{
    uint32_t lo = 0, hi = pl->node_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (pl->nodes[mid].id < node)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < pl->node_count && pl->nodes[lo].id == node ? &pl->state[lo] : NULL;
}

bool lease_placed_on(const struct floe_lease *l, int32_t node)
{
    return state_of(&l->placed, node) != NULL;
}

/* The live nodes become those that are placed on. Who joins others that were there before has newly come. */
static void take_nodes(struct lease_placed *pl)
{
    struct lease_placed_state *state = lease_alloc(pl->cap * sizeof *state);
    for (uint32_t i = 0; i < pl->live_count; i++) {
        const struct lease_placed_state *before = state_of(pl, pl->live[i].id);
        state[i].fresh = before != NULL ? before->fresh : pl->node_count > 0;
    }
    free(pl->state);
    pl->state = state;
    memcpy(pl->nodes, pl->live, pl->live_count * sizeof *pl->nodes);
    pl->node_count = pl->live_count;
    pl->counted = false;
    pl->stale = true;
    floe_placement_destroy(&pl->now);
    floe_placement_destroy(&pl->next);
}

static void begin(struct floe_lease *l)
{
    struct lease_placed *pl = &l->placed;
    size_t n = 0;
    for (uint32_t s = 0; s < l->shard_count; s++)
        n += l->shards[s].doc.n;
    floe_placement_destroy(&pl->next);
    pl->next = floe_placement_create(pl->nodes, pl->node_count, n);
    for (uint32_t s = 0; s < l->shard_count; s++)
        for (uint32_t i = 0; i < l->shards[s].doc.n; i++)
            floe_placement_add(pl->next, &l->shards[s].doc.entries[i].e.tp);
    pl->stale = false;
}

/* Notices changes; begins what has to be made anew. */
static void look(struct floe_lease *l)
{
    struct lease_placed *pl = &l->placed;
    live_nodes(l);
    if (!same_nodes(pl))
        take_nodes(pl);
    if (pl->stale && pl->next == NULL && pl->node_count > 0)
        begin(l);
}

static void complete(struct floe_lease *l)
{
    struct lease_placed *pl = &l->placed;
    floe_placement_destroy(&pl->now);
    pl->now = pl->next;
    pl->next = NULL;
    lease_reconcile_all(l);
}

void lease_placed_step(struct floe_lease *l)
{
    struct lease_placed *pl = &l->placed;
    if (!lease_shards_loaded(l))
        return;
    look(l);
    if (pl->next == NULL)
        return;
    if (floe_placement_step(pl->next, SLICE))
        complete(l);
    if (pl->next != NULL || pl->stale)
        lease_kick(l);
}

bool lease_placed_new(struct floe_lease *l, const struct floe_uuid *topic, int32_t from, int32_t to,
                      int32_t *owners)
{
    struct lease_placed *pl = &l->placed;
    look(l);
    if (pl->node_count == 0)
        return false;
    if (pl->now == NULL) { /* the nodes have just changed */
        while (!floe_placement_step(pl->next, UINT64_MAX))
            ;
        complete(l);
    }
    floe_placement_extend(pl->now, topic, from, to, owners);
    return true;
}

int32_t floe_lease_placed(struct floe_lease *l, const struct floe_tp *tp)
{
    return l->placed.now != NULL ? floe_placement_find(l->placed.now, tp) : 0;
}

static void count_loads(struct floe_lease *l)
{
    struct lease_placed *pl = &l->placed;
    for (uint32_t i = 0; i < pl->node_count; i++)
        pl->state[i].load = 0;
    for (uint32_t s = 0; s < l->shard_count; s++)
        for (uint32_t i = 0; i < l->shards[s].doc.n; i++) {
            struct lease_placed_state *n = state_of(pl, l->shards[s].doc.entries[i].e.holder.node);
            if (n != NULL)
                n->load++;
        }
    pl->counted = true;
}

int32_t lease_placed_move(struct floe_lease *l, const struct floe_lease_entry *e)
{
    struct lease_placed *pl = &l->placed;
    int32_t to = floe_lease_placed(l, &e->tp);
    if (to == 0 || to == e->holder.node)
        return 0;
    if (!pl->counted)
        count_loads(l);
    struct lease_placed_state *from = state_of(pl, e->holder.node), *at = state_of(pl, to);
    at->fresh = at->fresh && floe_placement_starved(pl->now, at->load);
    if (from == NULL || (!at->fresh && !floe_placement_overloaded(pl->now, from->load)))
        return 0;
    from->load--;
    at->load++;
    return to;
}

uint64_t floe_lease_placed_hash(struct floe_lease *l)
{
    return l->placed.now != NULL && !l->placed.stale ? floe_placement_hash(l->placed.now) : 0;
}
