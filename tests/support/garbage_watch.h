/* Watches what is removed from a bucket: no seal that ends a chain; nothing that is not below a durable
 * floor, and has been for the garbage age, or behind a recorded end; no table record but those of a session
 * of whose chain nothing but the seal is left. Floors never go down. */
#ifndef FLOE_TEST_GARBAGE_WATCH_H
#define FLOE_TEST_GARBAGE_WATCH_H

#include <floe/sim.h>

#include <floe/segment.h>

struct garbage_floor {
    struct floe_session_name session;
    uint64_t floor[256], since_us[256]; /* how it rose, with the time of each */
    uint32_t n;
    uint64_t highest;
    bool gone; /* its record was removed */
};
struct garbage_watch {
    struct floe_sim_bucket *bucket;
    uint64_t age_us; /* as the slowest clock may count it */
    struct garbage_floor *floors;
    uint32_t n, removed, sessions;
};
/* After each event at the bucket: null, or what is wrong (in `why`). */
const char *garbage_watch(struct garbage_watch *w, const struct floe_sim_store_event *e, char why[200]);
void garbage_watch_fini(struct garbage_watch *w);
/* The highest floor that a chain ever had: below it keys may be missing. */
uint64_t garbage_floor(const struct garbage_watch *w, const struct floe_session_name *s);
/* The end that is recorded; -1: none. */
int64_t garbage_end(struct floe_sim_bucket *b, const struct floe_session_name *s);

#endif
