#ifndef FLOE_BROKER_CORE_INT_H
#define FLOE_BROKER_CORE_INT_H

#include "broker/core.h"

struct floe_core {
    struct floe_core_config cfg;
    struct floe_lease *lease;
    struct floe_log *log;
    struct floe_catalog *catalog;
    struct floe_retain *retain;
    struct floe_catalog_wait all_topics; /* for the garbage collector */
    void (*all_topics_done)(void *user2, bool complete);
    void *all_topics_user;
    struct floe_groups *groups;
    struct floe_api *api;
    struct floe_list rechecks; /* struct recheck: waiting for their shard */
    struct floe_list take_ids; /* struct take_id: waiting for a producer id */
    struct floe_list remotes;  /* struct remote: calls to partitions' holders */
    struct floe_core_stats stats;
    void (*started)(void *user, const struct floe_error *err);
    void *started_user;
    void (*ended)(void *user, const struct floe_error *err);
    void *ended_user;
    char aside_dir[1024];
    bool aside_fails; /* and that was told */
};

/* reappend.c: the log's hooks that reach other brokers. */
void floe_core_reappend_fini(struct floe_core *c);
void floe_core_reappend_epoch_end(void *user, const struct floe_tp *tp, int32_t epoch,
                                  void (*done)(void *user2, const struct floe_error *err, int64_t end),
                                  void *user2);
void floe_core_reappend_send(void *user, const struct floe_tp *tp, const struct floe_bufslice *batch,
                             void (*done)(void *user2, const struct floe_error *err, int16_t kafka_error),
                             void *user2);
enum floe_reappend_topic floe_core_reappend_topic(void *user, const struct floe_uuid *topic);
bool floe_core_set_aside(void *user, const struct floe_tp *tp, int64_t offset, struct floe_slice batch,
                         const char *why);

#endif
