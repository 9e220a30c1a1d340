/* Intrusive chained hash map that grows. The caller hashes and compares; nodes are embedded in the caller's
 * structs. Iteration order depends only on hashes and the order of insertions, so seeded runs repeat. */
#ifndef FLOE_BASE_MAP_H
#define FLOE_BASE_MAP_H

#include <floe/base/assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct floe_map_node {
    struct floe_map_node *next;
    uint64_t hash;
};
struct floe_map {
    struct floe_map_node **slot;
    size_t n, cap; /* entries, slots (power of two, 0 before the first insert) */
};
void floe_map_init(struct floe_map *m);
void floe_map_fini(struct floe_map *m); /* frees the slots, not the entries */
/* First node with this hash, then the next one; the caller compares keys. */
struct floe_map_node *floe_map_first(const struct floe_map *m, uint64_t hash);
struct floe_map_node *floe_map_next_same(const struct floe_map_node *node);
/* False only when memory is out. The caller has made sure that the key is absent. */
bool floe_map_insert(struct floe_map *m, struct floe_map_node *node, uint64_t hash);
void floe_map_remove(struct floe_map *m, struct floe_map_node *node); /* must be in the map */
/* Iteration: it = floe_map_iter(m, NULL); it; it = floe_map_iter(m, it). Remove the current node only after
 * stepping on. */
struct floe_map_node *floe_map_iter(const struct floe_map *m, struct floe_map_node *node);
#define FLOE_MAP_ENTRY(node, type, member) FLOE_CONTAINER(node, type, member)

#endif
