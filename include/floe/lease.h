/* Sessions, membership, partition leases: who may append to what, and how the dead are replaced.
 *
 * What it is: one object a broker, `struct floe_lease`, on the core loop. It claims a node id, opens and
 * renews this broker's session, watches the others, fences and seals the dead, keeps a cache of every lease
 * shard, edits shards by conditional writes, and tells the layer above which partitions to serve (hooks).
 * What it is not: the log. It never reads segments (but LISTs and seals chains) and knows nothing of records.
 *
 * Invariants
 *  1. A session's keys are never used again; a node id has one live session at most, decided by the node
 * record.
 *  2. Leader epochs of a partition strictly increase; an entry changes only by a conditional write of its
 * shard.
 *  3. The dead holder's span is closed at its seal before another session's span is opened.
 *  4. floe_lease_alive is the only judge of acknowledgement: last successful renewal's first sending less
 * than lease_ms ago on CLOCK_BOOTTIME, and the session is not known to be over.
 *  5. Life of others is judged by change on the own clock, with own reads gapless and the own session alive.
 *
 * Formats: docs/ARCHITECTURE.md "What lies in the bucket", docs/formats/table.md.
 */
#ifndef FLOE_LEASE_H
#define FLOE_LEASE_H

#include <floe/base/bytes.h>
#include <floe/base/err.h>
#include <floe/base/log.h>
#include <floe/net/peer.h>
#include <floe/objstore.h>
#include <floe/os/loop.h>
#include <floe/segment.h> /* struct floe_session_name, chain keys */
#include <floe/table.h>
#include <floe/tier.h>

#define FLOE_LEASE_SHARDS_DEFAULT 128
#define FLOE_LISTENER_MAX 8
#define FLOE_RACK_MAX 64

/* A partition: topic id and index. */
struct floe_tp {
    struct floe_uuid topic;
    int32_t index;
};
static inline bool floe_tp_eq(const struct floe_tp *a, const struct floe_tp *b)
{
    return a->index == b->index && floe_uuid_eq(&a->topic, &b->topic);
}
uint64_t floe_tp_hash(const struct floe_tp *tp);

#define FLOE_SPAN_OPEN UINT64_MAX
struct floe_span {
    struct floe_session_name session;
    uint64_t first, end; /* keys [first, end); end FLOE_SPAN_OPEN while the holder appends */
    int32_t epoch;       /* a rebuild takes only batches of this leader epoch from the span */
};
struct floe_checkpoint_ref {
    struct floe_session_name session;
    uint64_t seq;
    bool present;
    int64_t log_start; /* what it says of it; 0 also where an entry of format 1 does not tell */
};
/* One lease entry as cached. Borrowed: valid until the next turn of the loop. */
struct floe_lease_entry {
    struct floe_tp tp;
    struct floe_session_name holder;
    int32_t epoch;
    struct floe_checkpoint_ref checkpoint;
    const struct floe_span *spans; /* oldest first; the last is the holder's own */
    uint32_t span_count;
};

struct floe_listener_addr {
    char name[32];
    char addr[FLOE_PEER_ADDR_MAX]; /* advertised host:port */
};
enum floe_node_state { FLOE_NODE_LIVE, FLOE_NODE_FENCED, FLOE_NODE_SEALED, FLOE_NODE_ENDED };
struct floe_node_info {
    struct floe_session_name session;
    enum floe_node_state state;
    struct floe_listener_addr addrs[FLOE_LISTENER_MAX];
    uint32_t addr_count;
    char peer_addr[FLOE_PEER_ADDR_MAX]; /* where other brokers call it */
    char rack[FLOE_RACK_MAX];
    uint32_t lease_ms;
    bool draining;      /* it hands its partitions over, and ends */
    uint64_t committed; /* as of its last renewal: keys below are committed */
    uint64_t floor;     /* the durable floor as of then: below it keys may be gone, and none is needed */
    uint64_t end;       /* sealed, ended: key of the seal */
};

/* What the layer above does for the lease module. All run on the loop, never from inside a call into
 * floe_lease. */
struct floe_lease_hooks {
    void *user;
    /* A new session is live: its chain starts at key 0. */
    void (*session_open)(void *user, const struct floe_session_name *s);
    /* Alive or lapsed changed: on `alive` what waited may count again. */
    void (*session_alive)(void *user, bool alive);
    /* The session is over (fenced, sealed, or its record overwritten): nothing of it will be acknowledged any
     * more. A new session opens after. */
    void (*session_over)(void *user, const char *why);
    /* The lease names this session: rebuild and serve. Answer with floe_lease_adopted. Entries come in
     * batches. */
    void (*adopt)(void *user, const struct floe_lease_entry *entries, uint32_t n);
    /* This session is about to take the partition: its lease is `e`, whose last span ends at `end`. What
     * `adopt` will ask for may be read meanwhile. May be null. */
    void (*taking)(void *user, const struct floe_lease_entry *e, uint64_t end);
    /* The lease names this session no longer. */
    void (*drop)(void *user, const struct floe_tp *tp);
    /* This session's next unused chain key, and the number of keys known to be committed. */
    uint64_t (*next_key)(void *user);
    uint64_t (*committed)(void *user);
    /* Shards or nodes changed: Metadata answers change. */
    void (*changed)(void *user);
    /* A process must not go on: foreign object in the own chain, another cluster's table, ... */
    void (*fatal)(void *user, const struct floe_error *err);
    /* Something worth a log line: a peer fenced, a chain sealed, a record that cannot be read. May be null.
     */
    void (*note)(void *user, enum floe_log_level level, const char *msg);
    /* The durable floor of this session's chain, for its renewals. May be null: 0. */
    uint64_t (*floor)(void *user, const struct floe_session_name *s);
    /* Planned moves; all null: this broker moves nothing away. `checkpoint_now`: a checkpoint of the
     * partition is put at once, at the key that is returned or a later one, and published
     * (floe_lease_checkpointed). `stop`: no more appends, a flush; answered with floe_lease_stopped, then
     * comes drop or resume. */
    uint64_t (*checkpoint_now)(void *user, const struct floe_tp *tp);
    void (*stop)(void *user, const struct floe_tp *tp);
    void (*resume)(void *user, const struct floe_tp *tp);
};

struct floe_lease_config {
    struct floe_loop *loop;
    struct floe_store *store;
    struct floe_table *table;
    struct floe_tier *tier;   /* keeps node id and session ids on disk; may be null */
    struct floe_peers *peers; /* may be null */
    struct floe_uuid cluster;
    uint32_t shards; /* floe_cluster_info.shards; 0: FLOE_LEASE_SHARDS_DEFAULT */
    uint32_t lease_ms;
    const struct floe_listener_addr *addrs;
    uint32_t addr_count;
    const char *peer_addr; /* what other brokers call */
    const char *rack;
    int32_t newest_format; /* of table and bucket that is read; 0: floe_format_newest */
    struct floe_lease_hooks hooks;
};
extern const int32_t floe_format_newest;

struct floe_lease;
enum floe_err floe_lease_create(struct floe_lease **out, const struct floe_lease_config *cfg,
                                struct floe_error *err) FLOE_MUST_USE;
/* Claims a node id, fences the own former session where there is one, opens the first session; loads nodes
 * and shards. `started` runs when this broker can serve (session live, caches loaded), or with the error
 * after which it cannot. */
void floe_lease_start(struct floe_lease *l, void (*started)(void *user, const struct floe_error *err),
                      void *user);
/* Clean end. The layer above has stopped appending, resolved every PUT, published checkpoints and put its own
 * seal at key `end`. Writes ended/, the node record, and leaves the leases naming the ended session. `done`
 * with what failed, if anything. */
void floe_lease_end(struct floe_lease *l, uint64_t end,
                    void (*done)(void *user, const struct floe_error *err), void *user);
/* The chain found a seal at its own key, or cannot send a PUT ever again: the session is over. */
void floe_lease_session_lost(struct floe_lease *l, const char *why);
void floe_lease_close(struct floe_lease *l, void (*closed)(void *user), void *user);
void floe_lease_destroy(
    struct floe_lease **l); /* after close, or after the drivers forgot this node (simulated kill) */

bool floe_lease_alive(struct floe_lease *l);
/* The session's renewals are late, or it has lapsed: what can wait shall not compete with them. */
bool floe_lease_pressed(const struct floe_lease *l);
/* Null before the first session. */
const struct floe_session_name *floe_lease_session(struct floe_lease *l);
int32_t floe_lease_node_id(struct floe_lease *l);
/* The newest format of table and bucket that every broker reads, as far as this one knows: nothing newer is
 * written. */
int32_t floe_lease_format(const struct floe_lease *l);

/* Answer to `adopt`: the log serves the partition (err FLOE_OK) or could not rebuild it (retried with
 * back-off; other partitions go on). */
void floe_lease_adopted(struct floe_lease *l, const struct floe_tp *tp, int32_t epoch,
                        const struct floe_error *err);
/* A checkpoint that covers everything of `tp` before key `ref->seq` of this session's chain is committed: one
 * edit names it and drops the spans it covers (the own open span then starts at ref->seq). Gathered by shard.
 */
void floe_lease_checkpointed(struct floe_lease *l, const struct floe_tp *tp, int32_t epoch,
                             const struct floe_checkpoint_ref *ref);

/* Answer to hooks.stop: nothing of the partition is pending, and this session's keys from `end` on carry no
 * batch of it. */
void floe_lease_stopped(struct floe_lease *l, const struct floe_tp *tp, int32_t epoch, uint64_t end);
/* Scale-in: this broker's partitions are handed over to those whom placement names without it. `done` runs
 * when none is left, when there is nobody to take them, or after `limit_us`. Before floe_lease_end. */
void floe_lease_drain(struct floe_lease *l, uint64_t limit_us, void (*done)(void *user), void *user);

struct floe_lease_stats {
    uint64_t moved, kept;      /* partitions that were handed over; that could not be, and were served on */
    uint64_t taken;            /* from sessions that had ended */
    uint64_t stop_us_max;      /* the longest time that appends of a handed over partition had stopped here */
    uint32_t moving, draining; /* on their way now; 1 while draining */
};
void floe_lease_get_stats(const struct floe_lease *l, struct floe_lease_stats *out);

/* The cached lease of a partition; false when no lease is known. */
bool floe_lease_lookup(struct floe_lease *l, const struct floe_tp *tp, struct floe_lease_entry *out);
/* Reads the partition's shard again (one read at a time a shard, shared by all who wait; a read begun after
 * this call). */
void floe_lease_refresh(struct floe_lease *l, const struct floe_tp *tp,
                        void (*done)(void *user, const struct floe_error *err), void *user);
/* The same where the cached lease was not read since `since_us` (the loop's clock); else `done` runs at once.
 */
void floe_lease_refresh_since(struct floe_lease *l, const struct floe_tp *tp, uint64_t since_us,
                              void (*done)(void *user, const struct floe_error *err), void *user);
/* Writes first leases of a new topic's partitions [from, to), placed by rendezvous over live nodes.
 * Idempotent: existing entries stay. */
void floe_lease_create_topic(struct floe_lease *l, const struct floe_uuid *topic, int32_t from, int32_t to,
                             void (*done)(void *user, const struct floe_error *err), void *user);
/* Takes the topic's entries out of its shards. The caller has seen every holder stop (or sealed) at the
 * leader epochs `epochs[0..partitions)`: an entry with a higher epoch has a new holder and stays, and the
 * answer is FLOE_ECONFLICT. Absent entries are fine. */
void floe_lease_delete_topic(struct floe_lease *l, const struct floe_uuid *topic, int32_t partitions,
                             const int32_t *epochs, void (*done)(void *user, const struct floe_error *err),
                             void *user);
/* How many partitions of the topic leases are known of: one more than the highest index. They may be more
 * than its record says, where somebody had begun to give it more. */
int32_t floe_lease_partitions(struct floe_lease *l, const struct floe_uuid *topic);
/* The topic is being deleted: this session drops its partitions (hooks.drop runs for each, later) and never
 * adopts one of them again. */
void floe_lease_forget_topic(struct floe_lease *l, const struct floe_uuid *topic);
bool floe_lease_topic_forgotten(const struct floe_lease *l, const struct floe_uuid *topic);

/* Live nodes and nodes that a lease still names, by ascending id. Returns how many; fills at most `max`. */
uint32_t floe_lease_nodes(struct floe_lease *l, struct floe_node_info *out, uint32_t max);
bool floe_lease_node(struct floe_lease *l, int32_t node, struct floe_node_info *out);

/* Chains. Where a session's chain has ended, as far as this broker knows. */
bool floe_lease_end_of(struct floe_lease *l, const struct floe_session_name *s, uint64_t *end);
/* What the last renewal that is known to be applied said of the own chain: a fencer starts at `committed`. */
void floe_lease_durable(struct floe_lease *l, uint64_t *committed, uint64_t *floor);
/* Reads the durable floor of any session's chain, from record `floor/<session>`: keys below it may be gone,
 * and nobody needs one that is. */
void floe_lease_read_floor(struct floe_lease *l, const struct floe_session_name *s,
                           void (*done)(void *user, const struct floe_error *err, uint64_t floor),
                           void *user);
/* Does any cached lease name that session: as holder, in a span, as where a checkpoint lies? True while there
 * are leases that could not be read: they may. */
bool floe_lease_names_session(struct floe_lease *l, const struct floe_session_name *s);

/* Raises the catalog version (conditional, repeated until it is higher) and tells live peers. `shards` as a
 * hint of what changed. */
void floe_lease_bump_catalog(struct floe_lease *l);
uint64_t floe_lease_catalog_version(struct floe_lease *l);
/* Called when another's change of the catalog version was seen: topics may have changed. One listener. */
void floe_lease_on_catalog(struct floe_lease *l, void (*fn)(void *user), void *user);
/* Inbound peer requests PeerHeartbeat and PeerLeaseChanged, decoded; fills the response. */
struct floe_kafka_PeerHeartbeatRequest;
struct floe_kafka_PeerHeartbeatResponse;
struct floe_kafka_PeerLeaseChangedRequest;
void floe_lease_heard(struct floe_lease *l, const struct floe_kafka_PeerHeartbeatRequest *rq,
                      struct floe_kafka_PeerHeartbeatResponse *rs);
void floe_lease_hint(struct floe_lease *l, const struct floe_kafka_PeerLeaseChangedRequest *rq);

/* The node that placement (floe/lease/placement.h) gives a leased partition among the live ones; 0 while that
 * is not known. */
int32_t floe_lease_placed(struct floe_lease *l, const struct floe_tp *tp);
/* Of what the placement was made from; 0 while it is not known, or being made for other partitions. */
uint64_t floe_lease_placed_hash(struct floe_lease *l);
/* Pure: the node of `nodes` (ids, any order, n > 0) that plain rendezvous hashing gives a single job. */
int32_t floe_placement_owner(const struct floe_tp *tp, const int32_t *nodes, uint32_t n);

/* Start-up of a cluster on a bucket: reads or creates PREFIX/cluster and table `cluster`, checks that they
 * agree (an empty table adopts the bucket's cluster only while there is no chain), probes store and table or
 * reads the kept verdict (then probes in the background). `own` is the cluster that this broker's data
 * directory belongs to (null or zero: to none yet): a store without it is refused before anything is written.
 * `newest` is the newest format that this broker reads: a cluster of a newer one is refused.
 */
struct floe_cluster_info {
    struct floe_uuid id;
    uint32_t shards;
    bool made; /* there was none before */
};
void floe_cluster_open(
    struct floe_store *store, struct floe_table *table, const struct floe_uuid *own, int32_t newest,
    void (*done)(void *user, const struct floe_error *err, const struct floe_cluster_info *info), void *user);

#endif
