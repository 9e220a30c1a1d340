/* What the files of the simulated store share. */
#ifndef FLOE_OBJSTORE_SIM_INT_H
#define FLOE_OBJSTORE_SIM_INT_H

#include <floe/base/map.h>
#include <floe/objstore/sim.h>

struct rule {
    struct floe_sim_rule r;
    char prefix[FLOE_STORE_KEY_MAX];
    uint32_t seen, hit;
};
struct object {
    struct floe_map_node by_key;
    struct floe_sim_object pub; /* pub.key and pub.data are owned */
    /* what lay there before, for a store that answers it: */
    uint8_t *old;
    size_t old_n;
    char old_version[FLOE_STORE_VERSION_MAX], old_nonce[FLOE_STORE_NONCE_MAX];
};
struct floe_sim_bucket {
    struct floe_sim *sim;
    struct object **obj; /* ordered by key */
    struct floe_map map; /* object.by_key */
    size_t n, cap;
    struct rule *rules;
    size_t rule_n, rule_cap;
    struct floe_sim_bucket_config cfg;
    enum floe_sim_break breaks;
    uint32_t break_ppm;
    struct floe_list ghosts; /* struct ghost: deleted, to come again */
    void (*watch)(void *user, const struct floe_sim_store_event *e);
    void *watch_user;
};

/* objects.c. `*at` is where the key is or would be. */
bool floe_sim_bucket_search(struct floe_sim_bucket *b, const char *key, size_t *at);
struct object *floe_sim_bucket_write(struct floe_sim_bucket *b, const char *key, const void *data, size_t n,
                                     const char *nonce);
/* faults.c: what happens to this request; *delay_us for LATE and HANG. */
enum floe_sim_fault floe_sim_bucket_fate(struct floe_sim_bucket *b, struct floe_sim_node *node,
                                         enum floe_store_kind kind, const char *key, uint64_t *delay_us);
uint64_t floe_sim_bucket_leg(struct floe_sim_bucket *b);
const char *floe_sim_fault_name(enum floe_sim_fault f);
const char *floe_sim_kind_name(enum floe_store_kind k);

/* faults.c: does the bucket break this promise now? */
bool floe_sim_bucket_breaks(struct floe_sim_bucket *b, enum floe_sim_break what);
/* objects.c: deletes as a store that breaks its promise does. */
void floe_sim_bucket_remove(struct floe_sim_bucket *b, const char *key);

#endif
