/* Brokers' logs over the simulated store and tier, with a toy of the lease module: for the tests of src/log.
 * Leases change only where the test says so; checkpoints that a log publishes are entered at once. */
#ifndef FLOE_TEST_LOG_RIG_H
#define FLOE_TEST_LOG_RIG_H

#include <floe/log.h>
#include <floe/sim.h>

#define RIG_TPS 6000u
#define RIG_SPANS 8u
#define RIG_NODES 8u

struct rig_lease {
    struct floe_tp tp;
    struct floe_session_name holder;
    int32_t epoch;
    struct floe_checkpoint_ref ckpt;
    struct floe_span spans[RIG_SPANS];
    uint32_t span_count;
};
struct rig_world {
    struct floe_sim *sim;
    struct floe_sim_bucket *bucket;
    struct floe_uuid cluster;
    struct rig_lease *leases;
    uint32_t lease_count;
    uint32_t puts, gets, nodes;
    uint64_t get_bytes;
    uint64_t order;                           /* of answers */
    struct floe_node_info records[RIG_NODES]; /* by node id - 1, as rig_record wrote them */
};
struct rig {
    struct rig_world *w;
    struct floe_sim_node *node;
    struct floe_store *store;
    struct floe_tier *tier;
    struct floe_log *log;
    struct floe_session_name session;
    struct floe_budget pending, cache;
    bool alive;
    bool view; /* rig_read_all and rig_value read views */
    uint32_t adopted, failed, published, lost, fatal, noted, aside;
    bool hold_recheck, recheck_says;
    uint64_t floor;         /* of every chain, as the log is told */
    struct floe_error last; /* of adopted, lost, fatal */
    struct floe_error note;
    int64_t next_pid;
    struct rig *remote; /* whom re-append asks for partitions that this broker does not serve */
    bool sealed_says;
    bool hold_send; /* what re-append sends to `remote` is lost; rig_fail_send tells so */
    void (*held)(void *user2, const struct floe_error *err, int16_t kafka_error);
    void *held_user;
    uint32_t stopped;
    uint64_t stopped_end; /* of the last one that stopped */
    bool ended;
    struct floe_error end_err;
    uint64_t end_key;
};
struct rig_op {
    struct floe_log_append a;
    struct rig *r;
    bool done;
    enum floe_err refused;
    uint64_t order;
    char value[24];
};
struct rig_config {
    uint32_t segment_bytes, linger_us, puts;
    double rate, burst;
    size_t pending, cache;
    bool tier, reappend, remote;
    struct floe_sim_disk *disk; /* null: a fresh one */
    uint64_t tier_limit;
};

struct rig_world *rig_world_create(uint64_t seed);
void rig_world_destroy(struct rig_world **w);
/* cfg null: 8 MiB segments, 5 ms linger, 4 PUTs, no PUT budget, 64 MiB and 32 MiB, no tier. */
struct rig *rig_create(struct rig_world *w, const struct rig_config *cfg);
/* Opens the log's session; a new epoch each time. */
void rig_open(struct rig *r);
void rig_kill(struct rig *r);  /* the node dies; its log is freed */
void rig_free(struct rig **r); /* kills it if need be */
void rig_run(struct rig_world *w, uint64_t us);

/* The toy lease. */
struct floe_tp rig_tp(uint8_t topic, int32_t index);
struct rig_lease *rig_lease(struct rig_world *w, struct floe_tp tp);
/* A new topic's partition: r holds it and adopts it. Runs until it serves. */
void rig_new(struct rig *r, struct floe_tp tp);

/* A world with one log that serves a new topic's partition; and its end. */
static inline struct rig *rig_one(struct rig_world **w, const struct rig_config *cfg, struct floe_tp tp)
{
    *w = rig_world_create(1);
    struct rig *r = rig_create(*w, cfg);
    rig_open(r);
    rig_new(r, tp);
    return r;
}
static inline void rig_close(struct rig_world **w, struct rig **r)
{
    rig_free(r);
    rig_world_destroy(w);
}

void rig_new_many(struct rig *r, uint32_t n); /* rig_tp(1, 0..n-1) */
/* Puts the seal of `s` at the first absent key; returns that key. */
uint64_t rig_seal(struct rig_world *w, const struct floe_session_name *s);
/* Takes all leases of `from` (sealed at `end`) and adopts them. */
void rig_take(struct rig *r, const struct floe_session_name *from, uint64_t end);
/* A planned move of a partition that `from` has stopped: the lease names `to`, which adopts it. */
void rig_move(struct rig *from, struct rig *to, struct floe_tp tp);
void rig_adopt(struct rig *r); /* asks the log to adopt every lease that names it */
void rig_await_serving(struct rig *r, struct floe_tp tp);

/* Writes the session's record: so many keys are committed. */
void rig_record(struct rig *r, uint64_t committed);
/* Asks for a view until it is there; its high watermark. */
int64_t rig_view(struct rig *r, struct floe_tp tp);
/* Runs until the view's high watermark is `hw`, asking for it now and then; false after `us`. */
bool rig_view_reaches(struct rig *r, struct floe_tp tp, int64_t hw, uint64_t us);

/* Appends. pid -1: no producer. One record "value" a batch unless `count`. */
struct rig_op *rig_append(struct rig *r, struct floe_tp tp, int8_t acks, const char *value);
struct rig_op *rig_append_full(struct rig *r, struct floe_tp tp, int8_t acks, const char *value, int64_t pid,
                               int16_t epoch, int32_t seq, uint32_t count, size_t payload);
/* Runs until it is answered, at most 60 s. */
void rig_await(struct rig_op *op);
void rig_op_free(struct rig_op *op);
/* Reads [from, high watermark) of the partition through floe_log_read; values of all records, one for each
 * offset, are compared by `check`. Returns the number of records. */
uint32_t rig_read_all(struct rig *r, struct floe_tp tp, int64_t from, uint32_t max_bytes,
                      void (*check)(void *user, int64_t offset, const char *value), void *user);
void rig_fail_send(struct rig *r);
int64_t rig_hw(struct rig *r, struct floe_tp tp);
/* The value at one offset, read through the log; "" when there is none. */
void rig_value(struct rig *r, struct floe_tp tp, int64_t offset, char out[24]);

#endif
