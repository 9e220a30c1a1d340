/* The `sim` tier driver: floe/tier.h over a simulated disk that outlives the node.
 *
 * A disk holds what landed. A killed process leaves it: durable entries and values that were answered are
 * there, of those under way a part, of the entries without write-ahead log a part, and the last drops may be
 * forgotten (rule 7 of floe/tier.h).
 * Wiping a disk, or giving the next node a new one, is its loss.
 */
#ifndef FLOE_TIER_SIM_H
#define FLOE_TIER_SIM_H

#include <floe/os/sim.h>
#include <floe/tier.h>

struct floe_sim_disk;
struct floe_sim_disk *floe_sim_disk_create(struct floe_sim *sim); /* freed with the world */
void floe_sim_disk_wipe(struct floe_sim_disk *d);                 /* not while a living node has it open */
/* An image of the disk as it is (one a disk, the last taken), and the disk set back to it, while nobody has
 * it open: a virtual machine restored from a snapshot. False when there is no image. */
void floe_sim_disk_snapshot(struct floe_sim_disk *d);
bool floe_sim_disk_restore(struct floe_sim_disk *d);
/* Puts fail with this until FLOE_OK: FLOE_ENOSPACE, FLOE_EIO. */
void floe_sim_disk_fail(struct floe_sim_disk *d, enum floe_err with);
/* Gets and scans of entries from `from` on fail with this until FLOE_OK; and how many gets there were. */
void floe_sim_disk_fail_gets(struct floe_sim_disk *d, enum floe_err with, uint64_t from);
uint64_t floe_sim_disk_gets(const struct floe_sim_disk *d);
/* A write takes min plus an exponential with this mean; both 0: 100 us, 200 us. */
void floe_sim_disk_speed(struct floe_sim_disk *d, uint64_t min_us, uint64_t mean_us);
/* Entries on the disk, for checkers. */
size_t floe_sim_disk_entries(const struct floe_sim_disk *d, size_t *durable);

/* Opens at once. FLOE_EAGAIN while a living node has it open, FLOE_EINVAL for another cluster's. The tier is
 * freed by its close, or with the world. */
enum floe_err floe_sim_tier_open(struct floe_tier **out, struct floe_sim_disk *d, struct floe_sim_node *n,
                                 const struct floe_uuid *cluster, uint64_t limit_bytes,
                                 struct floe_error *err) FLOE_MUST_USE;

#endif
