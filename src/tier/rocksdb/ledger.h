/* What the tier holds, entry by entry: how many bytes each takes and which were dropped.
 *
 * Two bytes of memory an entry, so that ten million small batches cost 20 MiB. Sizes are rounded up (by 0.05
 * % at most, or to 64 bytes) and the same rounded size is taken away again, so that the sum never drifts.
 *
 * Invariants
 *  1. Every sequence number below `head` was dropped; `head` itself was not.
 *  2. bytes is the sum of the rounded sizes of all entries in [head, next) that were put and not dropped.
 *  3. next - head <= FLOE_TIER_LEDGER_SPAN_MAX.
 *
 * Owned by the loop's thread. Pure: no I/O.
 */
#ifndef FLOE_TIER_LEDGER_H
#define FLOE_TIER_LEDGER_H

#include <floe/base/bytes.h>
#include <floe/base/err.h>

#define FLOE_TIER_LEDGER_SPAN_MAX                                                                            \
    ((uint64_t)1 << 25) /* sequence numbers between the oldest and the newest                                \
                         */
#define FLOE_TIER_AHEAD_MAX                                                                                  \
    ((uint64_t)1 << 20) /* a drop may cover numbers never put, this far past `next`                          \
                         */

struct floe_tier_ledger {
    uint64_t head, next;
    uint64_t bytes;
    uint16_t **pages; /* sizes of FLOE_TIER_LEDGER_PAGE sequence numbers each; null where nothing was noted */
    uint64_t first_page;
    size_t page_count, page_cap;
};

/* Starts with [first, next) held, `bytes` together. FLOE_ECORRUPT when the range is wider than any tier
 * writes. */
enum floe_err floe_tier_ledger_init(struct floe_tier_ledger *l, uint64_t first, uint64_t next,
                                    uint64_t bytes) FLOE_MUST_USE;
void floe_tier_ledger_fini(struct floe_tier_ledger *l);
/* What an entry of n bytes will be counted as. */
uint64_t floe_tier_ledger_charge(uint64_t n);
/* Notes an entry. FLOE_EINVAL: the number was used or dropped before; FLOE_ENOSPACE: the span would be too
 * wide; FLOE_ENOMEM. */
enum floe_err floe_tier_ledger_put(struct floe_tier_ledger *l, uint64_t seq, uint64_t n) FLOE_MUST_USE;
/* The put failed: the number is free again. */
void floe_tier_ledger_unput(struct floe_tier_ledger *l, uint64_t seq);
/* Drops [from, to), numbers that were never put included. A `to` far past `next` means all there is. */
void floe_tier_ledger_drop(struct floe_tier_ledger *l, uint64_t from, uint64_t to);
/* True when the entry was put (or found at open) and not dropped. */
bool floe_tier_ledger_has(const struct floe_tier_ledger *l, uint64_t seq);

#endif
