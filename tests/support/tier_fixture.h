/* A RocksDB tier in a temporary folder with a libuv loop, and calls that wait for their answer. */
#ifndef FLOE_TEST_TIER_FIXTURE_H
#define FLOE_TEST_TIER_FIXTURE_H

#include <floe/tier.h>

struct tier_fx {
    char root[256], dir[300]; /* the data directory, and its tier */
    struct floe_loop_uv *uv;
    struct floe_loop *loop;
    struct floe_tier *tier;
    struct floe_tier_config cfg;
    char note[256];
    struct floe_error err;
};
/* Makes folder and loop, opens nothing. `base` null: the system's folder for temporary files. */
void tier_fx_init(struct tier_fx *f, const char *base);
void tier_fx_fini(struct tier_fx *f); /* closes the tier if it is open, removes the folder */
enum floe_err tier_fx_open(struct tier_fx *f);
void tier_fx_close(struct tier_fx *f);

/* Runs the loop until *flag; fails the test after 30 s. */
void tier_fx_wait(struct tier_fx *f, const bool *flag);
/* Body of entry `seq`: bytes that depend on it. */
void tier_fx_fill(uint8_t *p, size_t n, uint64_t seq);
enum floe_err tier_fx_put(struct tier_fx *f, uint64_t seq, size_t n, bool durable);
/* Reads and checks against tier_fx_fill. */
enum floe_err tier_fx_check(struct tier_fx *f, uint64_t seq, size_t n);
enum floe_err tier_fx_meta(struct tier_fx *f, const char *name, const void *p, size_t n);
/* Scans [from, to): checks order and bytes, returns how many came; `lost` (may be null) gets the scan's
 * error. */
uint32_t tier_fx_scan(struct tier_fx *f, uint64_t from, uint64_t to, struct floe_error *err);
/* Number of names in `dir` that contain `part`; the last one found goes to `path` (may be null). */
int tier_fx_find(const char *dir, const char *part, char path[512]);

#endif
