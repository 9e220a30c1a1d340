/* What the files of the simulated cluster share. */
#ifndef FLOE_TEST_SIMCLUSTER_INT_H
#define FLOE_TEST_SIMCLUSTER_INT_H

#include "broker/core.h"
#include <floe/kafka/codec.h>
#include <floe/sim.h>

#include <jansson.h>

#include "simcluster.h"

#define SIM_MAIN_MAX 12       /* partitions of the topic that stays */
#define SIM_PARTITIONS_MAX 48 /* of all topics there ever are */
#define SIM_TOPICS_MAX 20
#define SIM_PRODUCERS_MAX 8 /* the last are the probe and the one of topics that come and go */
#define SIM_CONSUMERS_MAX 3
#define SIM_BATCH_RECORDS_MAX 3
#define SIM_GROUP_SIZE 3
#define SIM_MEMBERS (2 * SIM_GROUP_SIZE) /* with cfg.groups */
#define SIM_COMMITTERS_MAX 16            /* with cfg.groups */
#define SIM_CLASSIC_GROUPS 2             /* with cfg.groups, in every other seed */
#define SIM_CONVERT_GROUP (SIM_COMMITTERS_MAX + SIM_MEMBERS / SIM_GROUP_SIZE + SIM_CLASSIC_GROUPS)
#define SIM_CLASSIC_SIZE 4 /* members at most */

struct simcluster;
struct simproc;

/* One sending of a batch: what its records say is (sent number, index in the batch). */
enum simsent_state { SENT_OPEN, SENT_ACKED, SENT_UNKNOWN, SENT_REFUSED };
struct simsent {
    uint32_t producer;
    uint8_t part, count;
    int8_t acks;
    enum simsent_state state;
    bool idempotent, present; /* present: found by the final reading */
    int32_t sequence;
    int64_t base_offset;        /* acked with acks=all */
    struct floe_sim_disk *disk; /* acked with acks=1: whose disk has it */
    uint64_t acked_us;
};
/* What clients know of a partition: the value at each offset, from acks and reads. */
struct simledger {
    uint64_t *value; /* 0: unknown; else sent number * 256 + index + 1 */
    int64_t n, cap;
    int64_t acked_end, served_hw;
    int32_t served_epoch;
    bool writable; /* after the faults ended */
};

/* ---- calls: requests of clients to brokers ---- */
enum simcall_kind {
    CALL_META,
    CALL_PRODUCE,
    CALL_FETCH,
    CALL_LATEST,
    CALL_INIT_ID,
    CALL_CREATE,
    CALL_COORDINATOR,
    CALL_COMMIT,
    CALL_COMMITTED,
    CALL_BEAT,
    CALL_JOIN,
    CALL_SYNC,
    CALL_HEARTBEAT,
    CALL_LEAVE,
    CALL_CONVERT,
    CALL_DELETE
};
struct simcall {
    struct floe_list link;
    struct simcluster *c;
    enum simcall_kind kind;
    struct simproc *proc; /* null once its broker is gone or has answered */
    uint32_t part;
    struct floe_rng *rng; /* that its client draws from */
    uint64_t started_us;
    void (*done)(struct simcall *k);
    void *user;
    struct floe_sim_event deliver, answer, timeout;
    struct simconn *conn;
    const struct floe_kafka_api *api;
    int16_t version;
    uint8_t *frame; /* with its length */
    size_t frame_n;
    /* produce */
    struct simlane *lane;
    uint8_t *batch;
    size_t batch_n;
    int8_t acks;
    bool direct; /* past the front door */
    uint32_t sent;
    /* fetch, commit */
    int64_t offset;
    uint32_t group;
    bool roams;
    /* of a member of a classic group, sim_classic.c: the partition of an offset; in: what it says; join: what
     * it is told */
    const struct simclassic *classic;
    int32_t index, generation, synced;
    uint32_t life, place;
    struct simjoined *joined;
    /* of a member of a group that is converted, sim_convert.c: what it asks, how long it waits, what it is
     * told */
    int step;
    uint64_t patience_us;
    struct simconvert_answer *convert;
    /* create, delete */
    const char *name;
    int32_t partitions;
    /* broker's side, from delivery to answer */
    struct floe_list at_proc;
    struct floe_log_append append;
    struct floe_log_waiter waiter;
    bool appending, waiting, waited, inside;
    int32_t broker_epoch; /* under which it served the partition when the request came; -1: not */
    /* out */
    enum floe_err err;
    int16_t kafka_error;
    bool maybe;                   /* produce: may have been stored */
    int64_t result;               /* produce: base offset; latest, fetch: high watermark; init: producer id */
    int32_t node, epoch, machine; /* meta: leader and where it is; fetch: epoch of the answering broker */
    struct floe_uuid topic;       /* create, delete: which; metadata: whose leaders these are */
    uint8_t *data;                /* fetch */
    size_t data_n;
    bool answered, misled;
    bool assigns; /* heartbeat: it says which partitions the member has */
    uint32_t assigned;
    int64_t acked_end_at_start, served_hw_at_start;
};
struct simcall *simcall_new(struct simcluster *c, enum simcall_kind kind, uint32_t part,
                            void (*done)(struct simcall *k), void *user);
void simcall_send(struct simcall *k, struct simproc *to, uint64_t timeout_us);
void simcalls_broken(struct simproc *p); /* the process is dead */
void simcalls_reap(struct simproc *p);   /* its log is destroyed: nothing points to the calls' structs */
void simcalls_fini(struct simcluster *c);
/* For the broker's side. */
void simcall_answer(struct simcall *k, enum floe_err err);
void simcall_decided(struct simcall *k, const uint8_t *frame, size_t n, bool closes); /* null: no answer */
void simcall_left_door(struct simcall *k); /* will not be answered */
void simcall_acked(struct simcall *k, int64_t base_offset);
void simcall_acked_by_disk(struct simcall *k);
void simdirect_produce(struct simcall *k);
/* Kafka's bytes: of the request into `frame`; what the answer says into the call. */
void simwire_encode(struct simcall *k);
void simwire_decode(struct simcall *k, const uint8_t *frame, size_t n);
void simwire_frame(struct simcall *k, int16_t key, int16_t version, const void *body);
/* The same of members of classic groups: their own kinds of calls; what they add to a commit, and its
 * version. */
void simclassic_encode(struct simcall *k, struct floe_kstr group);
void simclassic_decode(struct simcall *k, const void *response);
/* And of members of a group that is converted. */
void simconvert_encode(struct simcall *k, struct floe_kstr group);
void simconvert_decode(struct simcall *k, const void *response);
int16_t simclassic_commit(struct simcall *k, struct floe_kafka_OffsetCommitRequest *rq);

/* A client's connection to a broker, counted: a call that is on its way holds it too. */
struct simconn;
struct simconn *simconn_open(struct simproc *p);
struct simconn *simconn_ref(struct simconn *n);
void simconn_unref(struct simconn *n);
void simconn_close(struct simconn *n,
                   uint64_t after_us); /* the broker hears of it then; drops the reference */
bool simconn_is_open(const struct simconn *n, const struct simproc *p);
void simdoor_arrive(struct simconn *n, struct simcall *call, const uint8_t *frame, size_t bytes);
void simdoor_peer(void *user, int16_t api_key, int16_t api_version, struct floe_slice body,
                  struct floe_sim_reply *reply);
void simdoor_init(struct simproc *p);
void simdoor_reap(struct simproc *p);

/* ---- brokers ---- */
enum simproc_state { PROC_STARTING, PROC_UP, PROC_ENDING, PROC_DEAD };
struct simproc {
    struct simcluster *c;
    uint32_t machine;
    enum simproc_state state;
    struct floe_sim_node *node;
    struct floe_store *store;
    struct floe_tier *tier;
    struct floe_peers *peers;
    struct floe_table *table;
    struct floe_core *core;
    struct floe_lease *lease; /* of the core */
    struct floe_log *log;
    struct floe_budget pending, cache;
    struct floe_list calls;                              /* simcall.at_proc */
    struct floe_list conns, requests, decided, answered; /* sim_door.c */
    struct floe_sim_event sweep;
    struct floe_sim_event reap;
    struct floe_sim_driver driver; /* hears of the node's death */
    uint64_t started_us, stalled_until, ending_us;
    int32_t newest, needed; /* format that it reads; that the cluster demanded at some time since it began */
    uint64_t renewed_us;    /* its last renewal landed */
    bool over;              /* and later that it has ended */
    bool refused;           /* to go on: it does not read the cluster's format */
    uint64_t stands_until, misled_until; /* its clock stood still: it may believe in its lease for so long */
};
struct simmachine {
    struct simcluster *c;
    uint32_t index;
    char name[16], addr[32];
    struct floe_sim_disk *disk;
    struct simproc *proc; /* null while nothing runs on it */
    struct floe_sim_event restart;
    bool keep_down, back_late;
};
void simproc_start(struct simcluster *c, uint32_t machine);
const char *simproc_rack(uint32_t machine);
void simproc_end(struct simproc *p);                               /* as SIGTERM */
struct simproc *simproc_at(struct simcluster *c, int32_t machine); /* that serves there, or null */
struct simproc *simproc_of(struct simcluster *c, const struct floe_sim_node *node); /* or null */
void simprocs_see_each_other(struct simcluster *c);
bool simproc_lapsed(const struct simproc *p);      /* what it promises now is worth nothing */
struct simproc *simproc_any(struct simcluster *c); /* a random one that is up, or null */
struct simproc *simproc_any_from(struct simcluster *c,
                                 uint64_t from); /* the first that is up, from that machine on */

/* ---- clients ---- */
struct simproducer {
    struct simcluster *c;
    uint32_t id;
    bool idempotent;
    int8_t acks;
    uint64_t timeout_us, pause_us; /* longest; 0: as others */
    uint32_t window;               /* batches in flight a partition */
    bool direct;                   /* past the front door */
    int64_t producer_id;           /* -1: not known yet */
    struct floe_sim_event start;
    struct simlane {
        struct simproducer *p;
        uint32_t part;
        int32_t machine; /* of the leader as last heard, -1: unknown */
        int32_t next_sequence;
        struct simconn *conn;
        uint32_t queue[8]; /* sent numbers not yet decided, oldest first */
        uint8_t *bytes[8];
        size_t bytes_n[8];
        bool flying[8];
        uint32_t n, in_flight;
        bool failed; /* something came back wrong: send again once all are back */
        bool known;  /* the last answer was an acknowledgement */
        bool cut;    /* its connection broke: nothing more arrives until it is made again */
        uint64_t arrives_us, answers_us; /* the last one: a connection keeps the order */
        struct floe_sim_event tick;
    } lane[SIM_PARTITIONS_MAX];
};
struct simconsumer {
    struct simcluster *c;
    uint32_t id;
    struct simcursor {
        struct simconsumer *owner;
        uint32_t part;
        bool roams;                      /* asks any broker, in the name of its rack */
        int32_t machine, epoch;          /* of the leader as last heard */
        int64_t seen[SIM_NODES_MAX];     /* high watermark that a machine's process has told, */
        uint64_t seen_of[SIM_NODES_MAX]; /* the one that started then */
        int64_t position, back;          /* back: where to go on reading; -1: at the position */
        struct floe_sim_event tick;
    } cur[SIM_PARTITIONS_MAX], roam[SIM_PARTITIONS_MAX];
};
struct simcommitter {
    struct simcluster *c;
    uint32_t id;
    int32_t machine;     /* of the coordinator as last heard, -1: unknown */
    int64_t next, last;  /* offset that was last committed; what the group has, as acknowledged or read */
    int64_t flying;      /* the commit that is on its way; -1: none */
    int64_t unknown[64]; /* commits whose outcome is not known */
    uint32_t unknown_n;
    struct floe_sim_event tick, peek;
};
struct simmember {
    struct simcluster *c;
    uint32_t id;
    int32_t machine, epoch, settled; /* of the coordinator, -1: unknown; of the member; of its group */
    uint32_t owned;                  /* a bit a partition */
    bool full;                       /* the next heartbeat tells everything */
    struct floe_sim_event tick;
};
void simmember_start(struct simmember *m, struct simcluster *c, uint32_t id);
void simmember_fini(struct simmember *m);
bool simmembers_settled(struct simcluster *c); /* every partition has its owner */
void simclassics_start(struct simcluster *c);
void simclassics_fini(struct simcluster *c);
bool simclassics_settled(const struct simcluster *c); /* the same */
void simconverts_start(struct simcluster *c);
void simconverts_fini(struct simcluster *c);
bool simconverts_settled(const struct simcluster *c); /* the same */
void simcommitter_start(struct simcommitter *m, struct simcluster *c, uint32_t id);
void simcommitter_told(struct simcall *k);
void simcommitter_fini(struct simcommitter *m);
void simproducer_start(struct simproducer *p, struct simcluster *c, uint32_t id);
/* One that tries every few milliseconds: how soon is each partition writable? */
void simprobe_start(struct simproducer *p, struct simcluster *c, uint32_t id);
void simextra_start(struct simproducer *p, struct simcluster *c, uint32_t id);
void simproducer_lane(struct simproducer *p, uint32_t part);
void simproducer_fini(struct simproducer *p);
void simconsumer_start(struct simconsumer *s, struct simcluster *c, uint32_t id);
/* Those of a seed with flipped bits read anew: from anywhere, or from the start once the faults are over. */
void simconsumers_go_back(struct simcluster *c);
void simlane_disconnect(struct simlane *l);
bool simproducers_idle(struct simcluster *c);

/* ---- the cluster ---- */
struct simshape { /* drawn from the seed */
    enum simtheme theme;
    uint32_t nodes, partitions, producers, consumers, committers, lease_ms;
    uint32_t client_loss_ppm, puts_in_flight, segment_bytes, linger_us;
    uint64_t pending_bytes, cache_bytes, tier_bytes, answers_bytes;
    double put_rate;
    bool spill_all;
    uint64_t fault_every_us;
    bool mixed;              /* brokers of two versions */
    uint64_t garbage_age_us; /* 0: production's, which no run is long enough for */
};
struct simcluster {
    struct simcluster_config cfg;
    struct simcluster_result *out;
    struct simshape shape;
    struct floe_sim *sim;
    struct floe_rng rng; /* the nemesis's and the clients' */
    struct floe_sim_bucket *bucket;
    struct floe_sim_net *net;
    struct floe_cluster_info info;
    struct simtopic { /* one incarnation of a name; the first stays */
        char name[16];
        struct floe_uuid id;
        uint32_t first_part, parts;
        enum simtopic_state { SIMTOPIC_CREATING, SIMTOPIC_LIVE, SIMTOPIC_DELETING, SIMTOPIC_DELETED } state;
        bool gone; /* its deletion was answered */
    } topic[SIM_TOPICS_MAX];
    uint32_t topics;
    struct simpart {
        uint32_t topic;
        int32_t index;
    } part[SIM_PARTITIONS_MAX];
    uint32_t parts;
    bool topic_made;
    struct simproducer extra; /* writes to topics that come and go */
    struct floe_sim_event admin;
    struct simmachine machine[SIM_NODES_MAX];
    struct simproducer producer[SIM_PRODUCERS_MAX];
    struct simconsumer consumer[SIM_CONSUMERS_MAX];
    struct simcommitter committer[SIM_COMMITTERS_MAX];
    struct simmember member[SIM_MEMBERS];
    struct simclassics *classics; /* null: without */
    struct simconverts *converts; /* null: without */
    struct simledger ledger[SIM_PARTITIONS_MAX];
    struct simsent *sent;
    uint32_t sent_n, sent_cap;
    struct floe_list calls;
    int64_t *ids; /* producer ids that were given out */
    uint32_t ids_n;
    uint32_t producers;    /* started */
    bool set_back;         /* a disk was: what it had sent again may be sent once more */
    bool healed, stopping; /* no more faults; no more new batches */
    bool unseen_healed;    /* simwatch_unseen then */
    uint64_t healed_us;
    struct floe_sim_event nemesis, heal_outage, heal_faults, theme;
    /* theme: partitions that were given away go back */
    enum simreturn { RETURN_NONE, RETURN_END, RETURN_WAIT, RETURN_KILL } returns;
    uint32_t return_from, return_to;      /* machines */
    const struct floe_sim_node *taker;    /* theme: who has taken over */
    uint32_t teller;                      /* theme: machine of the coordinator that has told too much, */
    uint64_t teller_since, tellers_until; /* whose process began then; no other dies before */
    uint64_t outage_until;                /* no outage is healed before */
    struct simwatch *watch;
    struct simtables *tables;
    struct simgarbage *garbage;
    struct simmixed *mixed;
};
struct floe_tp simcluster_tp(const struct simcluster *c, uint32_t part);
int32_t simcluster_part(const struct simcluster *c, const struct floe_uuid *topic,
                        int32_t index);                               /* -1: none */
bool simcluster_part_gone(const struct simcluster *c, uint32_t part); /* its topic is on its way out */
/* Names the broken invariant; the run goes on. */
void simcluster_violation(struct simcluster *c, int invariant, const char *fmt, ...) FLOE_PRINTF(3, 4);
/* A producer id was given out: never twice. */
void simcluster_note_id(struct simcluster *c, int64_t id, const char *who);
void simcluster_machine_init(struct simcluster *c, uint32_t i);
void simcluster_nemesis_start(struct simcluster *c);
void simcluster_heal(struct simcluster *c);
void simtheme_draw(struct simcluster *c);
void simtheme_start(struct simcluster *c);
void simtheme_taken(struct simcluster *c, const struct floe_sim_store_event *e);
void simtheme_told(struct simcluster *c, struct simproc *p);
void simtheme_flip(struct simcluster *c);
/* `giver` is a machine, `taker` a session. */
void simtheme_lease_moved(struct simcluster *c, const struct floe_sim_store_event *e, uint32_t giver,
                          const char *taker);

/* ---- garbage: topics that come and go ---- */
void simgarbage_start(struct simcluster *c); /* draws the age */
void simgarbage_play(struct simcluster *c);
void simgarbage_event(struct simcluster *c, const struct floe_sim_store_event *e);
uint64_t simgarbage_floor(struct simcluster *c, const struct floe_session_name *s); /* as it is durable */
void simgarbage_fini(struct simcluster *c);

/* ---- brokers of two versions ---- */
void simmixed_draw(struct simcluster *c);
void simmixed_start(struct simcluster *c);
void simmixed_heal(struct simcluster *c);
void simmixed_settle(struct simcluster *c);
void simmixed_fini(struct simcluster *c);
void simmixed_starts(struct simproc *p);                                /* sets which version it is */
void simmixed_started(struct simproc *p);                               /* it serves */
bool simmixed_refuses(struct simproc *p, const struct floe_error *err); /* it must exit: rightly? */
void simmixed_cluster(struct simcluster *c, json_t *value);             /* such a record has landed */
void simmixed_node(struct simcluster *c, int id, const struct floe_sim_node *node, json_t *value);
void simmixed_lease(struct simcluster *c, const struct floe_sim_store_event *e, json_t *value);
void simmixed_read(struct simcluster *c, const struct floe_sim_node *node, const char *key, const char *value,
                   size_t n);

/* ---- topics that come and go ---- */
void simtopics_start(struct simcluster *c);
void simtopics_record(struct simcluster *c, const char *name, json_t *value);
void simtopics_answered(struct simcall *k);
void simtopics_acked(struct simcluster *c, const struct simproc *p, uint32_t part);
void simtopics_settle(struct simcluster *c);

/* ---- the checker ---- */
uint64_t simledger_value(uint32_t sent, uint32_t index);
/* A client was told, or has read, that `value` lies there. */
void simledger_note(struct simcluster *c, uint32_t part, int64_t offset, uint64_t value, const char *who);
/* Walks batches; notes every record as read. Returns the offset behind the last, or -1 after a violation. */
int64_t simledger_read(struct simcluster *c, uint32_t part, int64_t position, const uint8_t *p, size_t n,
                       const char *who);
bool simvalue_parse(const uint8_t *p, int32_t n, uint32_t *sent, uint32_t *index);
/* Reads the bucket and compares everything with it. */
void simtruth_check(struct simcluster *c);
uint64_t simtruth_longest_chain(struct simcluster *c);     /* segments */
int64_t simtruth_end(struct simcluster *c, uint32_t part); /* of the last check */
/* A broker's table, whose answers are checked; and what happens at the bucket below "table/". */
struct floe_table *simtable_create(struct simcluster *c, struct floe_store *store,
                                   const struct floe_sim_node *node);
void simtable_destroy(struct floe_table **table);
void simtables_start(struct simcluster *c);
void simtables_event(struct simcluster *c, const struct floe_sim_store_event *e);
void simtables_fini(struct simcluster *c);
void simwatch_start(struct simcluster *c);
void simwatch_fini(struct simcluster *c);
/* A broker came within the last lease time and has died: others, who list the brokers that often, may not
 * have seen it yet, and then see it for a lease time before they take it for dead. */
bool simwatch_unseen(struct simcluster *c);
/* Brokers name only leaders that a lease has named. */
uint64_t simwatch_superseded(struct simcluster *c, uint32_t part, int32_t epoch); /* when, or 0: not yet */
void simwatch_check_leader(struct simcluster *c, uint32_t part, int32_t node, int32_t epoch);

#endif
