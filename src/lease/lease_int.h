/* The lease module's private state and the calls between its files.
 *
 * Everything runs on one loop. Driver answers, timers and the layer above only change state and call
 * lease_kick; the kick task then runs once and takes every step that the state allows, in one order
 * (lease.c: on_kick). Hooks are called from the kick and from driver answers only, never from inside a call
 * into floe_lease. Small allocations of the module's own assert: nothing useful can be done without them. */
#ifndef FLOE_LEASE_INT_H
#define FLOE_LEASE_INT_H

#include "records.h"

#include <floe/base/assert.h>
#include <floe/base/list.h>
#include <floe/base/map.h>
#include <floe/lease/placement.h>

#define LEASE_FORMERS_MAX 8                 /* ids of own sessions that the tier remembers */
#define LEASE_TRIES_MAX 16                  /* renewals sent since the last one that counted */
#define LEASE_COPY_US_MIN 100000u           /* one copy of a table request is waited for so long at least */
#define LEASE_FLIGHT_MAX 32                 /* shard requests at once */
#define LEASE_CREATE_BYTES_MAX (192 * 1024) /* a shard longer than this takes no new entries, */
#define LEASE_ENTRY_GROWS 48                /* once each has its checkpoint, and keys and offsets are long */
#define LEASE_TAKE_BYTES_MAX (240 * 1024)   /* and it is taken over in parts past this */
#define LEASE_TAKES_MIN 16                  /* but so many at once in any case */
#define LEASE_MOVES_MAX 256                 /* partitions handed over together, */
#define LEASE_MOVE_SHARDS 4                 /* of so many shards, or a sixteenth of all */
#define LEASE_GATHER_US 400000u             /* checkpoints that nobody waits for are named together, */
#define LEASE_GATHER_TAKEN_US 2000000u      /* those of what has just come here for longer: others move too */
#define LEASE_IDLE_PUTS_MAX 3               /* so few of them at once */
#define LEASE_CALM_US 1000000u        /* they keep clear of a shard of which partitions are being moved */
#define LEASE_TOLD_MAX 32u            /* receivers of a put's moves that are told at once */
#define LEASE_WINDOW_US 250000u       /* so long appends are thought to be stopped elsewhere */
#define LEASE_ADOPT_GATHER_US 200000u /* what is taken waits so long for what is being taken */
#define LEASE_TELL_US 60000u          /* moves are told to the others together, after their receivers, */
#define LEASE_BUMP_US                                                                                        \
    2000000u /* and counted in the catalog version once they are over, for who was not told */
#define LEASE_START_US 15000000u /* a start that takes longer has failed */

struct floe_lease;

/* ---- op.c: one request in flight ------------------------------------------------------------------- */

enum lease_op_kind { LEASE_OP_TABLE, LEASE_OP_STORE, LEASE_OP_PEER };
/* How long answers take, by what is asked for: table requests by their kind, then those to the store. */
enum { LEASE_PACE_LIST = FLOE_TABLE_SCAN + 1, LEASE_PACE_OBJECT_GET, LEASE_PACE_OBJECT_PUT, LEASE_PACES };
struct lease_op {
    struct floe_list link; /* l->ops */
    struct floe_lease *l;
    enum lease_op_kind kind;
    void (*fn)(struct lease_op *op); /* the op is freed after it */
    void *ctx;
    uint64_t tag, started_us;
    uint64_t patience_us; /* how long one copy of it is waited for */
    char *text;           /* what is put; owned */
    struct floe_bufslice body;
    union {
        struct floe_table_req table;
        struct floe_store_req store;
        struct floe_peer_call peer;
    } u;
};
struct lease_op *lease_op_get(struct floe_lease *l, const char *key, uint64_t timeout_us,
                              void (*fn)(struct lease_op *), void *ctx);
/* Takes `text` (asserted non-null: memory). `if_version` empty: expect absent. */
struct lease_op *lease_op_put(struct floe_lease *l, const char *key, const char *if_version, char *text,
                              uint64_t timeout_us, void (*fn)(struct lease_op *), void *ctx);
struct lease_op *lease_op_scan(struct floe_lease *l, const char *prefix, const char *start_after,
                               void (*fn)(struct lease_op *), void *ctx);
struct lease_op *lease_op_list(struct floe_lease *l, const char *prefix, const char *start_after,
                               void (*fn)(struct lease_op *), void *ctx);
struct lease_op *lease_op_object_get(struct floe_lease *l, const char *key, uint64_t length,
                                     void (*fn)(struct lease_op *), void *ctx);
struct lease_op *lease_op_object_create(struct floe_lease *l, const char *key, const char *nonce,
                                        struct floe_slice bytes, void (*fn)(struct lease_op *), void *ctx);
/* Takes `text`, the encoded body of `n` bytes. */
struct lease_op *lease_op_call(struct floe_lease *l, const char *addr, int16_t api_key, uint8_t lane,
                               char *text, size_t n, uint64_t timeout_us, void (*fn)(struct lease_op *),
                               void *ctx);
void lease_op_cancel(struct lease_op *op); /* null is fine */
void lease_ops_cancel_all(struct floe_lease *l);

/* ---- session.c: the own session -------------------------------------------------------------------- */

struct lease_marks { /* of the own chain, as a renewal says them */
    uint64_t committed, floor;
};
enum lease_own_state { OWN_NONE, OWN_OPENING, OWN_LIVE, OWN_LAPSED, OWN_OVER, OWN_ENDING, OWN_ENDED };
struct lease_own {
    enum lease_own_state state;
    struct floe_session_name name; /* the newest that was opened; none before */
    char version[FLOE_TABLE_VERSION_MAX];
    uint64_t beat;
    uint64_t alive_from_us;  /* first sending of the last renewal that counted */
    uint64_t alive_since_us; /* when it last became alive: observers count from there */
    struct {
        uint64_t beat, sent_us;
        struct lease_marks marks;
    } tries[LEASE_TRIES_MAX];
    uint32_t try_count;
    struct lease_marks durable; /* as the last renewal that is known to be applied said */
    struct lease_op *op;        /* the one request on the own record */
    struct floe_timer renew, lapse;
    struct floe_error renewal; /* why the last one failed */
    bool told_alive, tell_over, tell_open;
    bool tell_lapse;                 /* it had lapsed before the renewal that counted was known of */
    uint64_t committed, progress_us; /* when it last rose, or nothing waited */
    uint64_t hold_until_us;          /* no new session before: the others shall take over */
    char why[200];
    /* opening */
    uint64_t formers[LEASE_FORMERS_MAX]; /* newest first; [0] is the one being opened or open */
    uint32_t former_count;
    bool id_durable;
    int32_t preferred;
    uint64_t begun_us;              /* when it was begun to open a session */
    struct floe_session_name claim; /* what is being claimed */
    bool claim_unclear;             /* an answer to it was ambiguous */
    uint64_t claim_sent_us, retry_us;
};
bool lease_own_open(const struct floe_lease *l); /* live, lapsed or ending */
bool lease_own_is(const struct floe_lease *l, const struct floe_session_name *s);
/* One of this data directory's sessions, but not the open one. */
bool lease_own_former(const struct floe_lease *l, const struct floe_session_name *s);
void lease_own_init(struct floe_lease *l);
void lease_own_begin(struct floe_lease *l);
void lease_own_step(struct floe_lease *l);
void lease_own_tell(struct floe_lease *l);
void lease_own_over(struct floe_lease *l, const char *why);
void lease_own_renew_now(struct floe_lease *l);
void lease_own_stop(struct floe_lease *l);

/* ending.c: the clean end */
enum lease_end_step { END_NONE, END_EDITS, END_CHAIN, END_RECORD, END_TELL, END_DONE };
struct lease_ending {
    enum lease_end_step step;
    uint64_t end, deadline_us, retry_us;
    bool record_busy;
    void (*done)(void *user, const struct floe_error *err);
    void *user;
};
void lease_ending_step(struct floe_lease *l);
void lease_ending_finish(struct floe_lease *l, enum floe_err code, const char *why);

/* ---- observe.c: the others' records ----------------------------------------------------------------- */

struct lease_node {
    int32_t id;
    bool loaded, present, bad; /* a read has answered; the record exists; it cannot be read */
    char version[FLOE_TABLE_VERSION_MAX];
    struct lease_node_record rec;
    uint64_t seen_us;   /* when this version was first seen */
    uint64_t read_us;   /* the last successful read */
    uint64_t asked_us;  /* when the last read that answered was begun */
    uint64_t fenced_us; /* when it was first seen fenced */
    uint64_t rose_us;   /* when its committed keys were last seen to rise */
    uint64_t next_read_us, write_after_us;
    struct lease_op *read, *fence, *mark;
    bool read_again;
    bool stale; /* a write met another version: nothing is decided before the next read */
    /* as a peer; for this session of it */
    bool reached, noted; /* noted: that it is being fenced */
    const char *gone;    /* why it is fenced without waiting; null: it is not */
    uint64_t heard_us, refused_us, next_call_us;
    uint64_t view, view_us; /* what it last answered: the view it places by, when; 0: it has not */
    int64_t next_key;       /* and its chain's next unused key then; -1: it takes nothing over */
    uint32_t refusals;
    struct lease_op *call;
};
struct lease_node *lease_node_find(const struct floe_lease *l, int32_t id);
struct lease_node *lease_node_make(struct floe_lease *l, int32_t id);
void lease_node_set(struct floe_lease *l, struct lease_node *n, const struct lease_node_record *rec,
                    const char *version);
void lease_node_read(struct floe_lease *l, struct lease_node *n);
void lease_node_drop(struct lease_node *n);
void lease_node_fence(struct floe_lease *l, struct lease_node *n, const char *why);
void lease_nodes_scan(struct floe_lease *l);
void lease_nodes_scan_soon(struct floe_lease *l);   /* on a hint: not more often than nodes are read anyway */
bool lease_nodes_ready(const struct floe_lease *l); /* every record was read */
void lease_observe(struct floe_lease *l);           /* tick and kick */
void lease_table_ok(struct floe_lease *l);          /* a read of the table succeeded */
uint64_t lease_poll_us(const struct floe_lease *l);

/* ---- peer.c ------------------------------------------------------------------------------------------ */

void lease_peers_tick(struct floe_lease *l);
struct floe_kafka_msg;
char *lease_peer_encode(const struct floe_kafka_msg *m, const void *msg, size_t *n);
/* Tells every live peer that these shards changed, except of those of which it was told, and the catalog
 * version. */
void lease_peers_tell(struct floe_lease *l, const int32_t *shards, uint32_t n);
/* The same, of shards with `tell` set, when it is time to; then raises the catalog version, when that is due.
 */
void lease_peers_tell_due(struct floe_lease *l, const int32_t *shards, uint32_t n);
/* One of them, at once. */
void lease_peer_tell(struct floe_lease *l, int32_t node, int32_t shard);
/* Tells them all that this broker moves partitions of these shards. */
void lease_peers_calm(struct floe_lease *l, const int32_t *shards, uint32_t n, bool stopping);

/* ---- seal.c ------------------------------------------------------------------------------------------ */

struct lease_seal;
/* Where a session's chain ended, as recorded in the table. */
bool lease_end_find(struct floe_lease *l, const struct floe_session_name *s, uint64_t *end,
                    uint64_t *since_us);
void lease_end_learn(struct floe_lease *l, const struct floe_session_name *s, uint64_t end);
/* Finds or makes the seal of a fenced session's chain, from key `from` on, and records it. */
void lease_seal_fenced(struct floe_lease *l, const struct floe_session_name *s, uint64_t from);
/* Asks ended/<session> of a session whose node has another one by now; seals where there is none. */
void lease_seal_superseded(struct floe_lease *l, const struct floe_session_name *s);
/* Records the end of the own chain, which is sealed at `end`. */
void lease_seal_own(struct floe_lease *l, const struct floe_session_name *s, uint64_t end);
/* Reads where the durable floor of a chain is; 0 where none was ever set. FLOE_OK, or why it cannot be told.
 */
enum floe_err lease_floor_read(const struct lease_op *op, uint64_t *floor,
                               struct floe_error *err) FLOE_MUST_USE;
struct lease_op *lease_op_floor(struct floe_lease *l, const struct floe_session_name *s,
                                void (*fn)(struct lease_op *), void *ctx);
void lease_seals_tick(struct floe_lease *l);
void lease_seals_drop(struct floe_lease *l);

/* ---- shards.c, edits.c ------------------------------------------------------------------------------- */

enum lease_edit_kind { EDIT_CREATE, EDIT_TAKE, EDIT_MOVE, EDIT_CHECKPOINT, EDIT_REMOVE };
struct lease_group { /* edits that are answered together */
    struct floe_list link;
    uint32_t left;
    struct floe_error err;
    void (*done)(void *user, const struct floe_error *err);
    void *user;
};
struct lease_edit {
    struct floe_list link; /* of its shard: pending or flight */
    enum lease_edit_kind kind;
    struct floe_tp tp;
    uint64_t nonce;                   /* kept by retries */
    struct floe_session_name session; /* create: the holder; take, move, checkpoint: the own session */
    struct floe_session_name expect;  /* take: the dead holder */
    struct floe_session_name to;      /* move: the receiver */
    int32_t epoch;                    /* take, move, checkpoint: as expected; remove: at most */
    uint64_t key;                     /* create: first key; take, move: end of the last holder's span */
    uint64_t first;                   /* move: a key that the receiver has reported as its next */
    struct floe_checkpoint_ref ref;   /* move: at least that one */
    struct lease_group *group;        /* create, remove */
    bool changed, refused_size;
    bool raises_start;        /* checkpoint: readers elsewhere have to know */
    bool unclear, cancelled;  /* move: a copy of it may still be applied; it is not wanted any more */
    bool doubtful;            /* create: it failed, so that the topic may be gone by now */
    struct floe_error result; /* of the last try */
};
/* Applies the edit to a document that is being made. Sets changed and result. */
void lease_edit_apply(struct floe_lease *l, struct lease_edit *e, struct lease_doc *doc);
/* It does not fail with its shard: a move of which a copy may still be applied, until the record tells; a
 * checkpoint, while the record cannot be read, since no other may come of a partition that does not change.
 */
struct lease_shard;
bool lease_edit_stays(const struct floe_lease *l, const struct lease_shard *s, const struct lease_edit *e);

struct lease_shard {
    uint32_t index;
    bool loaded, bad, stale, dirty, tell;
    char version[FLOE_TABLE_VERSION_MAX]; /* empty: absent */
    struct lease_doc doc, next;
    size_t bytes, next_bytes; /* of their JSON */
    struct lease_op *op;      /* one request a shard at a time */
    struct floe_list pending, flight;
    struct floe_list readers, next_readers; /* who waits for the read under way; for the next one */
    struct floe_list served;
    int32_t *holders; /* nodes that the document names as holders, each once */
    uint32_t holder_count;
    uint64_t retry_us, wake_us;
    uint64_t asked_us;            /* when the request that told of `doc` last was begun */
    uint64_t put_us;              /* checkpoints alone are gathered until then, */
    uint64_t calm_us;             /* and not written before: partitions of it are being moved */
    uint64_t theirs_us;           /* another broker moves some until then */
    bool idle;                    /* the put under way is one that nobody waits for */
    int32_t told[LEASE_TOLD_MAX]; /* the nodes that were told of all that is to be told */
    uint32_t told_n;
    uint32_t fails, gen;
};
void lease_shards_init(struct floe_lease *l);
void lease_shards_fini(struct floe_lease *l);
void lease_shards_scan(struct floe_lease *l);
void lease_shards_step(struct floe_lease *l);
void lease_groups_answer(struct floe_lease *l);
bool lease_shards_loaded(const struct floe_lease *l);
bool lease_shards_idle(const struct floe_lease *l); /* no edit is pending or in flight */
void lease_shards_fail_all(struct floe_lease *l, enum floe_err code, const char *why);
/* So long that it must get shorter: spans that checkpoints can take the place of shall go. */
bool lease_shard_crowded(const struct lease_shard *s);
/* That node was told of all that is to be told. */
bool lease_shard_told(const struct lease_shard *s, int32_t node);
/* Partitions of it are being moved, by this broker or another: no put may spoil that one's for a moment. */
void lease_shard_calm(struct floe_lease *l, struct lease_shard *s);
struct lease_shard *lease_shard_at(struct floe_lease *l, const struct floe_tp *tp);
/* Queues a new edit; it is sent by the next kick. */
struct lease_edit *lease_edit_add(struct floe_lease *l, enum lease_edit_kind kind, const struct floe_tp *tp);

/* ---- reconcile.c ------------------------------------------------------------------------------------- */

enum lease_served_state { SERVED_NONE, SERVED_TAKING, SERVED_ADOPTING, SERVED_SERVING, SERVED_WAITING };
struct lease_served {
    struct floe_map_node node;
    struct floe_list link; /* its shard's */
    struct floe_tp tp;
    enum lease_served_state state;
    int32_t epoch;    /* adopting, serving, waiting */
    int32_t released; /* the highest leader epoch that this session has let go; -1: none */
    uint32_t fails, gen;
    uint64_t retry_us, move_after_us;
    uint64_t shrink_us; /* no checkpoint is asked for to make the record shorter before */
};
void lease_reconcile(struct floe_lease *l);
void lease_reconcile_all(struct floe_lease *l);   /* marks every shard */
void lease_reconcile_reset(struct floe_lease *l); /* the session is over: nothing is served */
void lease_take_done(struct floe_lease *l, const struct lease_edit *e);
struct lease_served *lease_served_find(struct floe_lease *l, const struct floe_tp *tp);
void lease_forgotten_drop(struct floe_lease *l);

/* ---- placed.c: the placement of all leased partitions on the live nodes ------------------------------ */

struct lease_placed {
    struct floe_placement *now;        /* null: not known for these nodes yet */
    struct floe_placement *next;       /* being made */
    struct floe_placement_node *nodes; /* that it is made for, by id */
    struct floe_placement_node *live;  /* that are live now, by id */
    struct lease_placed_state {
        uint32_t load; /* partitions that it holds */
        bool fresh;    /* has newly come, and not been seen with its share since */
    } * state;         /* of each of `nodes` */
    uint32_t node_count, live_count, cap;
    bool stale;   /* partitions came or went since it was begun */
    bool counted; /* loads are those of the cached shards, and of the moves answered since */
};
void lease_placed_init(struct floe_lease *l);
void lease_placed_fini(struct floe_lease *l);
void lease_placed_step(struct floe_lease *l);
/* Nodes for new partitions of a topic; false when no live node is known. */
bool lease_placed_new(struct floe_lease *l, const struct floe_uuid *topic, int32_t from, int32_t to,
                      int32_t *owners);
/* A hash of the live sessions that placement is for, and of their racks. */
uint64_t lease_placed_sessions(struct floe_lease *l);
/* Whether the present placement is one on that node too. */
bool lease_placed_on(const struct floe_lease *l, int32_t node);
/* The node to which its live holder should move the partition now; 0: it stays where it is. What it answers
 * counts as moved until a shard changes. */
int32_t lease_placed_move(struct floe_lease *l, const struct floe_lease_entry *e);

/* ---- move.c: planned moves ------------------------------------------------------------------------------
 */

struct lease_move {
    struct floe_list link; /* mover's */
    struct floe_tp tp;
    int32_t epoch;
    struct floe_session_name to;
    uint64_t ckpt_key, end;
    bool stopped;
    struct lease_edit *edit; /* its shard's */
};
enum lease_move_step { MOVE_NONE, MOVE_PREPARE, MOVE_AHEAD, MOVE_STOP, MOVE_GIVE };
struct lease_ahead { /* move_ahead.c */
    uint64_t round, until_us, again_us, pause_us;
    uint32_t asked;                       /* receivers that have not answered */
    bool waiting;                         /* one of them has not read everything yet */
    uint64_t announced_us, turn_until_us; /* when the others were told that appends stop; 0: not yet */
    bool waited;                          /* for another's window since */
};
struct lease_mover {
    uint64_t sessions, since_us; /* the live sessions that partitions are placed on; since when */
    uint64_t view;               /* and the partitions; 0: no placement is known */
    enum lease_move_step step;
    struct floe_list moves; /* all in the same step */
    uint32_t count, given;
    uint64_t deadline_us, stopped_us, given_us, begun_us;
    bool look;        /* something changed since all leases were last looked at */
    uint64_t look_us; /* not before */
    bool draining, drain_told;
    uint64_t drain_beat, drain_deadline_us; /* drain_beat: the first renewal that says so */
    void (*drained)(void *user);
    void *drained_user;
    struct lease_ahead ahead;
    uint64_t window_at_us, window_us; /* when another said that appends stop; until when they may */
    int32_t window_of;
    struct floe_lease_stats stats;
};
void lease_moves_step(struct floe_lease *l);
/* A renewal was applied. True when another must follow at once, to say that this broker drains. */
bool lease_drain_renewed(struct floe_lease *l);
void lease_moves_reset(struct floe_lease *l); /* the session is over */
/* The shard was put: the receivers of the moves in its flight are told at once. */
void lease_moves_written(struct floe_lease *l, struct lease_shard *s);
void lease_move_done(struct floe_lease *l, const struct lease_edit *e);
/* Who writes the batch's shards without need, this broker too, leaves that for a moment. `stopping`: appends
 * stop next. */
void lease_moves_calm(struct floe_lease *l, bool stopping);
/* Somebody waits for a checkpoint of the partition. */
bool lease_move_waits(struct floe_lease *l, const struct floe_tp *tp);
/* The partition is let go of. */
void lease_move_forget(struct floe_lease *l, const struct floe_tp *tp);
/* move_ahead.c: the receivers read ahead; true once they have, or took too long, and no other broker's
 * appends are stopped; where the spans end. */
void lease_ahead_begin(struct floe_lease *l);
bool lease_ahead_read(struct floe_lease *l);
void lease_ahead_stopped(struct floe_lease *l);
/* A hash of what placement depends on. */
uint64_t lease_view(struct floe_lease *l);

/* ---- format.c: the newest format that every broker reads ---------------------------------------------- */

enum lease_format_step {
    FORMAT_IDLE,
    FORMAT_JOIN, /* the first read after the own node record was written */
    FORMAT_LOOK,
    FORMAT_ANNOUNCE,
    FORMAT_SCAN, /* which nodes are there? */
    FORMAT_CHECK,
    FORMAT_RAISE
};
struct lease_format {
    int32_t newest, known; /* that this broker reads; that it has seen in the table */
    int32_t next, wanted;
    enum lease_format_step step;
    bool joined;
    struct lease_op *op;
    struct lease_cluster_record rec, put; /* as read; as last put */
    char version[FLOE_TABLE_VERSION_MAX];
    uint64_t check_us, ask_us,
        retry_us; /* when it was announced; when nodes are asked again; the next look */
};
void lease_format_init(struct floe_lease *l);
void lease_format_join(struct floe_lease *l); /* the own node record was written */
void lease_format_step(struct floe_lease *l);
void lease_format_saw(struct floe_lease *l, int32_t format); /* in a record */

/* ---- version.c: the catalog's version record --------------------------------------------------------- */

struct lease_catalog {
    bool loaded, stale, want_bump, foreign;
    bool fresh; /* the version was read after the change that wants to be counted */
    uint64_t version, next_read_us, retry_us;
    char table_version[FLOE_TABLE_VERSION_MAX];
    struct lease_op *op;
    bool bumping; /* op is a put for want_bump */
};
void lease_catalog_step(struct floe_lease *l);
void lease_catalog_hint(struct floe_lease *l, uint64_t version);

/* ---- lease.c ------------------------------------------------------------------------------------------ */

enum lease_life { LIFE_NEW, LIFE_STARTING, LIFE_RUNNING, LIFE_FAILED, LIFE_CLOSING, LIFE_CLOSED };
struct floe_lease {
    struct floe_lease_config cfg; /* strings below */
    struct floe_loop *loop;
    char peer_addr[FLOE_PEER_ADDR_MAX], rack[FLOE_RACK_MAX];
    struct floe_listener_addr addrs[FLOE_LISTENER_MAX];
    enum lease_life life;
    uint64_t lease_us;
    struct floe_list ops;
    uint64_t pace_us[LEASE_PACES]; /* how long one copy of a request is waited for, as lately learned */
    uint32_t tells;                /* hints to peers without an answer */
    uint32_t meta_puts;            /* tier writes without an answer */
    struct floe_task kick;
    bool kicked, changed, fatal;
    struct floe_timer tick, wake; /* wake: a kick before the next tick */
    uint64_t tick_us, start_deadline_us;
    struct floe_error trouble; /* what last went wrong while starting */

    struct lease_own own;
    struct lease_ending ending;

    struct lease_node **nodes; /* by id */
    uint32_t node_count, node_cap;
    bool nodes_loaded, nodes_scan_again;
    struct lease_op *nodes_scan;
    uint64_t nodes_scan_us, nodes_scanned_us; /* when the next one is due; when the last one ended */
    uint64_t table_ok_us, gap_us;

    struct floe_list seals;
    struct floe_map ends;

    struct lease_shard *shards;
    uint32_t shard_count, flight, idle_puts; /* idle_puts: of those in flight, that nobody waits for */
    bool shards_scanned, shards_scan_again;
    struct lease_op *shards_scan;
    uint8_t *scan_seen; /* one flag a shard, for the scan under way */
    uint64_t shards_scan_us;
    uint64_t tell_us, bump_us; /* when the others are told of shards with `tell` set; the version raised, */
    uint64_t bump_by_us;       /* at the latest */
    bool tell_bump;            /* raised with that at once: it is not only moves */
    struct floe_list groups;   /* answered by the kick once none of their edits is left */

    struct floe_map served, forgotten;
    struct lease_placed placed;
    uint64_t reconcile_us;
    struct lease_mover mover;
    struct floe_lease_entry *adopt; /* queued since; 0: nothing is */
    uint32_t adopt_count, adopt_cap;
    uint64_t adopt_since_us;

    struct lease_format format;
    struct lease_catalog catalog;
    void (*on_catalog)(void *user);
    void *on_catalog_user;

    void (*started)(void *user, const struct floe_error *err);
    void *started_user;
    void (*closed)(void *user);
    void *closed_user;
};
void lease_kick(struct floe_lease *l);
void lease_wake(struct floe_lease *l, uint64_t at_us); /* a kick not later than then */
uint64_t lease_now(const struct floe_lease *l);
/* How long a renewal or a step of a takeover may take before it is looked at again. */
uint64_t lease_step_us(const struct floe_lease *l);
void lease_note(struct floe_lease *l, enum floe_log_level level, const char *fmt, ...) FLOE_PRINTF(3, 4);
void lease_fatal(struct floe_lease *l, enum floe_err code, const char *fmt, ...) FLOE_PRINTF(3, 4);
void *lease_alloc(size_t n); /* zeroed; asserts */
/* Back-off after `fails` failures in a row, with jitter: from a hundredth to a tenth of the lease time. */
uint64_t lease_backoff_us(struct floe_lease *l, uint32_t fails);
/* Moves everything of `from` to the end of `to`. */
static inline void lease_list_splice(struct floe_list *to, struct floe_list *from)
{
    while (!floe_list_empty(from))
        floe_list_push_back(to, floe_list_pop_front(from));
}

#endif
