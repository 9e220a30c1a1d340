/* Whole cores (lease, log, catalog, Kafka handlers) over the simulator's drivers, and clients that hand them
 * requests as the network threads would: encoded, parsed, prepared, answered, encoded, decoded. */
#ifndef FLOE_TEST_API_RIG_H
#define FLOE_TEST_API_RIG_H

#include "broker/core.h"
#include <floe/sim.h>

#define API_NODES 5
#define API_GARBAGE_AGE_US 30000000u /* ten lease times */
struct api_rig;
struct api_node {
    struct api_rig *rig;
    struct floe_sim_node *node;
    struct floe_store *store;
    struct floe_table *table;
    struct floe_tier *tier;
    struct floe_peers *peers;
    struct floe_core *core;
    struct floe_budget pending, cache;
    struct floe_listener_addr addr;
    struct floe_client client;  /* of api_call */
    struct floe_list abandoned; /* struct api_call of peers that got no answer */
    bool started;
};
struct api_rig {
    struct floe_sim *sim;
    struct floe_sim_bucket *bucket;
    struct floe_sim_net *net;
    struct floe_uuid cluster;
    struct api_node nodes[API_NODES];
    uint32_t n;
    struct floe_api_config api;       /* of nodes that start from now on */
    struct floe_group_settings group; /* the same; zero: the default */
    const char *racks[API_NODES];
};

/* One request. Zero it, or let api_call make it. */
struct api_call {
    struct floe_request *rq; /* null once it is done */
    const struct floe_kafka_api *api;
    int16_t version;
    int32_t id;
    bool done, closed, silent; /* closed without an answer; no answer wanted (acks=0) */
    char reason[160];
    struct floe_buf *frame; /* what the response borrows from */
    struct floe_arena arena;
    void *response; /* decoded */
    uint64_t at_us; /* when it was done */
    struct floe_client *own_client;
    bool abandoned; /* on its node's list, until it is done */
    struct floe_list link;
    struct floe_budget *held_budget; /* the request's */
};

void api_rig_start(struct api_rig *r, uint64_t seed, uint32_t nodes);
/* The same with a rack for each node; else all are in "r1". */
void api_rig_start_racks(struct api_rig *r, uint64_t seed, uint32_t nodes, const char *const *racks);
void api_rig_stop(struct api_rig *r);
struct api_node *api_rig_add(struct api_rig *r);
void api_rig_kill(struct api_node *n);
void api_rig_run(struct api_rig *r, uint64_t ms);

/* Sends; `client` null: the node's own. */
struct api_call *api_send(struct api_node *n, struct floe_client *client, int16_t key, int16_t version,
                          const void *body);
/* Runs the world until the call is done, at most `ms`; the response or null. */
void *api_wait(struct api_node *n, struct api_call *c, uint64_t ms);
void api_call_free(struct api_call *c);
/* Nobody waits for it any more: freed when it is done, or with the node. */
void api_abandon(struct api_node *n, struct api_call *c);
/* Both, within 60 s of virtual time. The call is freed with the next api_call (or the rig). */
void *api_do(struct api_node *n, int16_t key, int16_t version, const void *body);
struct api_call *api_last(void);

/* Shortcuts. */
int16_t api_make_topic(struct api_node *n, const char *name, int32_t partitions, const char *config,
                       const char *value);
/* The node that coordinates the group; waits until one does. */
struct api_node *api_coordinator(struct api_rig *r, const char *group);
bool api_topic_id(struct api_node *n, const char *name, struct floe_uuid *id);
/* A batch of `count` records with values "v000001..." from `first` on; null keys unless `keys`. */
struct floe_krecords api_batch(struct floe_arena *a, int32_t first, int32_t count, bool keys,
                               enum floe_compression c);
/* Produces one batch; the error code, and the base offset. */
int16_t api_produce_one(struct api_node *n, const char *topic, int32_t partition, int16_t acks,
                        struct floe_krecords batch, int64_t *base);
/* Node whose log serves the partition now; null when there is none. */
struct api_node *api_leader_of(struct api_rig *r, const char *topic, int32_t partition);

#endif
