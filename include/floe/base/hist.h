/* A histogram of durations with fixed bounds, and nothing else: one owning thread, copied by value. */
#ifndef FLOE_BASE_HIST_H
#define FLOE_BASE_HIST_H

#include <floe/base/bytes.h>

#define FLOE_HIST_BOUNDS 16
extern const uint64_t floe_hist_bounds_us[FLOE_HIST_BOUNDS]; /* ascending; 0.5 ms to 30 s */

struct floe_hist {
    uint64_t counts[FLOE_HIST_BOUNDS + 1]; /* at most bound i, above bound i - 1; the last: above all */
    uint64_t n, sum_us;
};
void floe_hist_note(struct floe_hist *h, uint64_t us);

#endif
