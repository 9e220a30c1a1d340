#include "sim_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <floe/base/assert.h>

const char *floe_sim_fault_name(enum floe_sim_fault f)
{
    static const char *const name[FLOE_SIM_FAULT_COUNT] = {
        "none",    "lost-request", "lost-answer", "broken",      "late", "twice",
        "409",     "409-applied",  "500",         "500-applied", "503",  "denied",
        "nospace", "refused",      "truncated",   "flipped",     "hang", "absent",
    };
    return name[f];
}
const char *floe_sim_kind_name(enum floe_store_kind k)
{
    static const char *const name[] = {"PUT", "GET", "HEAD", "LIST", "DELETE"};
    return name[k];
}
const char *floe_sim_break_name(enum floe_sim_break what)
{
    static const char *const name[FLOE_SIM_BREAK_COUNT] = {
        "none",         "create-overwrites", "replace-ignored",   "get-stale", "list-misses-fresh",
        "put-vanishes", "body-corrupted",    "delete-resurrects",
    };
    return what < FLOE_SIM_BREAK_COUNT ? name[what] : NULL;
}
void floe_sim_bucket_break(struct floe_sim_bucket *b, enum floe_sim_break what, uint32_t ppm)
{
    b->breaks = what;
    b->break_ppm = ppm;
}
bool floe_sim_bucket_breaks(struct floe_sim_bucket *b, enum floe_sim_break what)
{
    return b->breaks == what && floe_rng_below(floe_sim_rng(b->sim), 1000000) < b->break_ppm;
}
void floe_sim_bucket_configure(struct floe_sim_bucket *b, const struct floe_sim_bucket_config *cfg)
{
    b->cfg = *cfg;
}
void floe_sim_bucket_rule(struct floe_sim_bucket *b, const struct floe_sim_rule *r)
{
    if (b->rule_n == b->rule_cap) {
        b->rule_cap = b->rule_cap ? b->rule_cap * 2 : 8;
        b->rules = realloc(b->rules, b->rule_cap * sizeof *b->rules);
        FLOE_ASSERT(b->rules);
    }
    struct rule *n = &b->rules[b->rule_n++];
    *n = (struct rule){.r = *r};
    n->r.prefix = NULL;
    snprintf(n->prefix, sizeof n->prefix, "%s", r->prefix ? r->prefix : "");
}
void floe_sim_bucket_heal(struct floe_sim_bucket *b)
{
    b->rule_n = 0;
    memset(b->cfg.ppm, 0, sizeof b->cfg.ppm);
}
static bool chance(struct floe_sim_bucket *b, uint32_t ppm)
{
    return floe_rng_below(floe_sim_rng(b->sim), 1000000) < ppm;
}
static bool applies(enum floe_sim_fault f, enum floe_store_kind k)
{
    switch (f) {
    case FLOE_SIM_TRUNCATED:
    case FLOE_SIM_FLIPPED:
        return k == FLOE_STORE_GET;
    case FLOE_SIM_ABSENT:
        return k == FLOE_STORE_GET || k == FLOE_STORE_HEAD;
    case FLOE_SIM_E409:
    case FLOE_SIM_E409_APPLIED:
    case FLOE_SIM_TWICE:
        return k == FLOE_STORE_PUT;
    default:
        return true;
    }
}
enum floe_sim_fault floe_sim_bucket_fate(struct floe_sim_bucket *b, struct floe_sim_node *node,
                                         enum floe_store_kind kind, const char *key, uint64_t *delay_us)
{
    for (size_t i = 0; i < b->rule_n; i++) {
        struct rule *u = &b->rules[i];
        if ((u->r.kinds && !(u->r.kinds & FLOE_SIM_KIND(kind))) || (u->r.node && u->r.node != node) ||
            strncmp(key, u->prefix, strlen(u->prefix)) != 0)
            continue;
        if (u->seen++ < u->r.skip || (u->r.times && u->hit >= u->r.times))
            continue;
        if (u->r.ppm && !chance(b, u->r.ppm))
            continue;
        u->hit++;
        *delay_us = u->r.delay_us ? u->r.delay_us : 1000000;
        return u->r.fault;
    }
    uint64_t late = b->cfg.late_us_max ? b->cfg.late_us_max : 20000000;
    for (enum floe_sim_fault f = FLOE_SIM_LOST_REQUEST; f < FLOE_SIM_FAULT_COUNT; f++) {
        if (!b->cfg.ppm[f] || !applies(f, kind) || !chance(b, b->cfg.ppm[f]))
            continue;
        *delay_us = floe_rng_below(floe_sim_rng(b->sim), late);
        return f;
    }
    return FLOE_SIM_NONE;
}
uint64_t floe_sim_bucket_leg(struct floe_sim_bucket *b)
{
    uint64_t min = b->cfg.min_us, mean = b->cfg.mean_us;
    if (!min && !mean) {
        min = 2000;
        mean = 3000;
    }
    double u = floe_rng_unit(floe_sim_rng(b->sim));
    return min + (uint64_t)(-log(1.0 - u) * (double)mean);
}
