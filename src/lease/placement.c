/* Placement: which node a partition belongs to. Pure; stable for ever, since all brokers must agree on it.
 *
 * Rendezvous hashing: each node's weight for a partition is a hash of both, the highest wins. A node that
 * leaves moves only its own partitions, a node that joins takes an equal part from each. */
#include <floe/base/assert.h>
#include <floe/base/crc32c.h>
#include <floe/lease.h>

#define SEED_TP 0x666c6f652d747031ull    /* "floe-tp1" */
#define SEED_OWNER 0x666c6f652d6f776eull /* "floe-own" */

static uint64_t hash_parts(const struct floe_uuid *topic, int32_t a, int32_t b, uint64_t seed)
{
    uint8_t bytes[24];
    memcpy(bytes, topic->b, 16);
    floe_put_be32(bytes + 16, (uint32_t)a);
    floe_put_be32(bytes + 20, (uint32_t)b);
    return floe_hash64(bytes, sizeof bytes, seed);
}

uint64_t floe_tp_hash(const struct floe_tp *tp)
{
    return hash_parts(&tp->topic, tp->index, 0, SEED_TP);
}

int32_t floe_placement_owner(const struct floe_tp *tp, const int32_t *nodes, uint32_t n)
{
    FLOE_ASSERT(n > 0);
    int32_t best = nodes[0];
    uint64_t best_weight = hash_parts(&tp->topic, tp->index, nodes[0], SEED_OWNER);
    for (uint32_t i = 1; i < n; i++) {
        uint64_t weight = hash_parts(&tp->topic, tp->index, nodes[i], SEED_OWNER);
        if (weight > best_weight || (weight == best_weight && nodes[i] < best)) {
            best = nodes[i];
            best_weight = weight;
        }
    }
    return best;
}
