/* What the files of the simulated store share. */
#ifndef FLOE_OBJSTORE_SIM_INT_H
#define FLOE_OBJSTORE_SIM_INT_H

#include <floe/objstore/sim.h>

struct rule {
    struct floe_sim_rule r;
    char prefix[FLOE_STORE_KEY_MAX];
    uint32_t seen, hit;
};
struct object {
    struct floe_sim_object pub; /* pub.key and pub.data are owned */
};
struct floe_sim_bucket {
    struct floe_sim *sim;
    struct object **obj; /* ordered by key */
    size_t n, cap;
    struct rule *rules;
    size_t rule_n, rule_cap;
    struct floe_sim_bucket_config cfg;
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

#endif
