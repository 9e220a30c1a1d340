/* What the files of the catalog share. */
#ifndef FLOE_CATALOG_INT_H
#define FLOE_CATALOG_INT_H

#include <floe/catalog.h>
#include <floe/base/log.h>
#include <stdlib.h>

#define TOPIC_PREFIX "topic/"
#define READS_IN_FLIGHT 32     /* GETs of one round */
#define ROUND_NAMES_MAX 256    /* for more names than that one scan is cheaper */
#define HALF_MADE_US 5000000   /* a half-made topic is finished by placement's node after this long */
#define RESCAN_US 300000000    /* all topics are read again after this long, whatever was heard */
#define UNREADABLE_US 10000000 /* and after this long where one of them could not be read */
#define RETRY_US 200000        /* between tries of a step that failed in passing */
#define STOP_POLL_US 5000      /* how often the log is asked whether it stopped serving */
#define PRODUCER_ID_BLOCK 1000

/* One GET of a round. */
struct topic_read {
    struct floe_table_req req;
    struct floe_catalog *c;
    struct floe_list link;
};
struct pid_wait {
    struct floe_list link;
    void (*done)(void *user, const struct floe_error *err, int64_t id);
    void *user;
};
struct stop_wait {
    struct floe_list link;
    struct floe_catalog *c;
    struct floe_timer timer;
    struct floe_uuid topic;
    int32_t partitions;
    void (*done)(void *user);
    void *user;
};
struct floe_catalog {
    struct floe_catalog_config cfg;
    struct floe_map by_name, by_id;
    uint32_t live;             /* topics in state live */
    struct floe_topic **names; /* by floe_topic.name_index */
    uint32_t name_count, name_cap;
    uint64_t changes;
    struct floe_list waiting; /* floe_catalog_wait: for the next round */
    struct floe_list reading; /* for the running round */
    struct floe_list reads;   /* topic_read: in flight */
    struct floe_list todo;    /* topic_read: names of the round that are still to be read */
    uint32_t reads_in_flight;
    bool round, dirty; /* a round is running; another's change was seen since it began */
    struct floe_error round_err;
    struct floe_table_req scan;
    bool scanning, scanned; /* a scan runs; this round had one */
    bool loaded;            /* a round with a scan has succeeded */
    bool unreadable;        /* a record was corrupt since the last scan began: what it names is not known */
    uint64_t scanned_us;    /* when the last one began */
    uint64_t loaded_us;     /* when the last such scan began */
    bool complete;          /* a scan has read every record */
    uint64_t complete_us;   /* when the last such one began */
    uint64_t members;       /* the sessions as of the last sweep */
    struct floe_list ops;   /* floe_catalog_op */
    struct floe_timer sweep;
    struct floe_timer kick;
    struct floe_list stops; /* stop_wait */
    /* producer ids */
    int64_t pid_next, pid_end;
    struct floe_list pid_waits;
    struct floe_table_req pid_req;
    char pid_value[64];
    int64_t pid_want;
    bool pid_busy;
    struct floe_list quota_ops; /* floe_quotas_op */
    struct floe_dynamics dynamics;
    struct floe_list dynamics_ops; /* floe_dynamics_op; the first one runs */
    struct floe_table_req dynamics_req;
    bool dynamics_reading, dynamics_again, dynamics_missed;
};

/* records.c: `topic/<name>` as JSON. */
char *floe_topic_encode(const struct floe_topic *t);
enum floe_err floe_topic_decode(struct floe_topic **out, const char *name, const char *json, size_t n,
                                struct floe_error *err) FLOE_MUST_USE;
int64_t floe_producer_ids_decode(const char *json, size_t n); /* next free id, or -1 */

/* edit.c */
void floe_record_edit(struct floe_record_edit *e); /* table, key, change and done are set */
void floe_record_edit_fini(struct floe_record_edit *e);

/* quotas.c: record `quotas` as JSON; drops the open operations. */
char *floe_quotas_encode(const struct floe_quotas *q);
enum floe_err floe_quotas_decode(struct floe_quotas *out, const char *json, size_t n,
                                 struct floe_error *err) FLOE_MUST_USE;
void floe_quotas_free(struct floe_quotas *q);
void floe_quotas_fini(struct floe_catalog *c);

/* dynamics.c: record `configs` as JSON. */
char *floe_dynamics_encode(const struct floe_dynamics *d);
enum floe_err floe_dynamics_decode(struct floe_dynamics *out, const char *json, size_t n,
                                   struct floe_error *err) FLOE_MUST_USE;
void floe_dynamics_free(struct floe_dynamics *d);
void floe_dynamics_refresh(struct floe_catalog *c); /* reads the record again */
void floe_dynamics_fini(struct floe_catalog *c);

/* catalog.c */
/* What of the configurations is obeyed, for every topic again. */
void floe_catalog_derive_all(struct floe_catalog *c);
/* Takes the record into the cache unless a newer revision is there; owns `t` from now on. Returns what is
 * cached. */
struct floe_topic *floe_catalog_apply(struct floe_catalog *c, struct floe_topic *t);
struct floe_topic *floe_catalog_cached(struct floe_catalog *c, const char *name, size_t n);

/* A session that may hold partitions of a topic that is being deleted. */
struct topic_holder {
    struct floe_catalog_op *op;
    struct floe_session_name session;
    bool stopped, calling;
    struct floe_peer_call call;
    struct floe_bufslice body;
    uint8_t bytes[64];
};
/* A peer that is told of a change. */
struct topic_told {
    struct floe_catalog_op *op;
    bool calling;
    struct floe_timer retry;
    uint64_t until_us;
    struct floe_peer_call call;
    struct floe_bufslice body;
    uint8_t bytes[FLOE_TOPIC_NAME_MAX + 64];
};
enum op_kind { OP_CREATE, OP_DELETE, OP_ALTER };
struct floe_catalog_op {
    struct floe_list link;
    struct floe_catalog *c;
    enum op_kind kind;
    char name[FLOE_TOPIC_NAME_MAX + 1];
    struct floe_topic *topic; /* create: what is being made; delete: the record that is being deleted */
    struct floe_uuid only;    /* delete: this topic only, when not zero */
    floe_catalog_done *done;  /* null once detached */
    void *user;
    struct floe_topic_edit edit; /* alter */
    int32_t partitions;          /* alter: of the record that was read */
    struct floe_error failed;    /* create: why the half-made topic is taken back */
    struct floe_table_req req;
    bool in_table, begun; /* create: the record is known to have been written; alter: leases */
    bool unsure;          /* an earlier write may have been applied */
    char *value;
    enum floe_topic_state writing; /* the state of the record that the running PUT writes */
    struct floe_timer timer;
    void (*again)(struct floe_catalog_op *op); /* what the timer does */
    /* stop.c */
    uint32_t refreshing;
    int32_t stop_n; /* partitions that are to be stopped */
    int32_t *epochs;
    struct topic_holder *holders;
    uint32_t holder_count;
    /* tell.c */
    struct topic_told *told;
    uint32_t told_count, telling;
};

/* In whatever state; null when it is not known. */
const struct floe_topic *floe_catalog_find_id(struct floe_catalog *c, const struct floe_uuid *id);

/* stop.c: sends a private API's request to a peer, its body encoded into `bytes` (of `cap`); `user` of the
 * call is set by the caller before. False: it could not be encoded, and nothing was sent. */
bool floe_catalog_call_peer(struct floe_catalog *c, const struct floe_node_info *node, int16_t key,
                            const void *rq, struct floe_peer_call *call, struct floe_bufslice *body,
                            uint8_t *bytes, size_t cap);
/* stop.c: makes every holder of op->topic stop, then takes its leases out; then `next`. */
void floe_catalog_stop_holders(struct floe_catalog_op *op);
void floe_catalog_stop_fini(struct floe_catalog_op *op);
/* tell.c: every live peer reads the topic's record again, or has had the time to lapse; then
 * floe_catalog_told. */
void floe_catalog_tell_peers(struct floe_catalog_op *op);
void floe_catalog_tell_fini(struct floe_catalog_op *op);
/* producer_ids.c */
void floe_producer_ids_fini(struct floe_catalog *c);
/* alter.c: what a record that was read becomes; FLOE_ECANCELLED: it is as it shall be already. */
enum floe_err floe_catalog_edit(struct floe_catalog_op *op, const struct floe_topic *found,
                                struct floe_error *err) FLOE_MUST_USE;
/* op.c */
struct floe_catalog_op *floe_catalog_op_new(struct floe_catalog *c, enum op_kind kind, const char *name);
void floe_catalog_op_read(struct floe_catalog_op *op);
void floe_catalog_stopped(struct floe_catalog_op *op); /* holders stopped and leases gone */
void floe_catalog_told(struct floe_catalog_op *op);
void floe_catalog_op_retry(struct floe_catalog_op *op, void (*again)(struct floe_catalog_op *op));
void floe_catalog_ops_init(struct floe_catalog *c);
void floe_catalog_ops_fini(struct floe_catalog *c);
/* Finishes half-made topics that placement gives to this node. */
void floe_catalog_finish_half_made(struct floe_catalog *c);

#endif
