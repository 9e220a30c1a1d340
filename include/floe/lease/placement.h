/* Placement: which live broker each partition belongs to.
 *
 * What it is: a pure function of (live nodes with their racks, partitions), the same on every broker whatever
 * the order of its input. What it is not: who holds a lease now, or when something moves (reconcile.c).
 * The rule, its cost, the figures and what was rejected: docs/rfcs/0002-placement.md.
 *
 *  1. No node gets more than ceil(1.25 * partitions / nodes).
 *  2. A topic's partitions are dealt evenly over the racks (each gets floor or ceil of its share), as far as
 *     the racks' nodes have room. A rack is chosen without looking at other topics.
 *  3. In its rack a partition wants the node whose hash with it is highest (rendezvous); a node past its
 *     limit keeps those that score highest there, and the others want their next best node, in the end of
 *     another rack: a stable matching, which is unique. While no node's wishers pass its limit, nothing that
 *     happens to other topics moves a partition.
 *  4. Values are frozen: brokers of different versions must agree on them.
 *
 * The work is done in steps of bounded length, for a core loop that must not stall. One owning thread. Memory
 * that cannot be had ends the process (FLOE_ASSERT). */
#ifndef FLOE_LEASE_PLACEMENT_H
#define FLOE_LEASE_PLACEMENT_H

#include <floe/lease.h>

struct floe_placement_node {
    int32_t id;    /* unique */
    uint64_t rack; /* floe_placement_rack of its name */
};
/* 0 for no name: all nodes without one are one rack. */
uint64_t floe_placement_rack(const char *name);

struct floe_placement;
/* A placement of up to `parts` partitions on `n` > 0 nodes (copied, any order). */
struct floe_placement *floe_placement_create(const struct floe_placement_node *nodes, uint32_t n,
                                             size_t parts);
/* Each partition once, in any order, before the first step. */
void floe_placement_add(struct floe_placement *p, const struct floe_tp *tp);
/* Works for about `budget` hashes (some 2 ns each); true when the placement is complete. */
bool floe_placement_step(struct floe_placement *p, uint64_t budget);
/* The node of a partition; 0 when it was not added. Complete placements only, as all below. */
int32_t floe_placement_find(const struct floe_placement *p, const struct floe_tp *tp);
/* Nodes for a topic's partitions [from, to): of new ones, where a placement with them will put them as long
 * as no node passes its limit. Those count as load from now on. */
void floe_placement_extend(struct floe_placement *p, const struct floe_uuid *topic, int32_t from, int32_t to,
                           int32_t *owners);
/* What is worth a planned move from a live holder to the node that placement names. Only an overloaded holder
 * has to let go, and only a node that has newly come gets something while it is starved: what does no harm
 * where it is stays. When nothing of an overloaded holder is left to move, it is past the bound no more. */
bool floe_placement_overloaded(const struct floe_placement *p, uint32_t holds);
bool floe_placement_starved(const struct floe_placement *p, uint32_t holds);
/* Of nodes, racks and partitions: two brokers with the same hash place alike. */
uint64_t floe_placement_hash(const struct floe_placement *p);
size_t floe_placement_count(const struct floe_placement *p);
void floe_placement_destroy(struct floe_placement **p); /* null is fine */

#endif
