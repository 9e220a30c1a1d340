/* The catalog: topics by name and id with their configurations, and the making and deleting of topics.
 *
 * What it is: a cache of the table's `topic/<name>` records on the core loop, the state machines of creation
 * and deletion, and blocks of producer ids. What it is not: leases (floe/lease.h) or data (floe/log.h).
 *
 * Invariants
 *  1. A topic is known by its id everywhere; a name made again is another topic. A record is never removed: a
 *     deleted topic leaves a tombstone.
 *  2. First leases are written before a topic turns live; entries of a deleted topic go only after each
 * holder confirmed that it stopped, or its session was sealed.
 *  3. An answer "unknown" comes only from a read begun after the question. One read runs at a time and serves
 * all who wait.
 *  4. Anyone finishes a creation or deletion that its starter left half made: the node that placement names.
 *
 * Records: docs/formats/table.md, `topic/<name>` and `producer-ids`. Topic pointers are borrowed until the
 * next turn of the loop.
 */
#ifndef FLOE_CATALOG_H
#define FLOE_CATALOG_H

#include <floe/base/list.h>
#include <floe/base/map.h>
#include <floe/kafka/types.h>
#include <floe/lease.h>
#include <floe/table.h>

#define FLOE_TOPIC_NAME_MAX 249
#define FLOE_TOPIC_PARTITIONS_MAX 100000
#define FLOE_TOPIC_CONFIGS_MAX 100
#define FLOE_TOPIC_CONFIG_VALUE_MAX 4096

enum floe_topic_state { FLOE_TOPIC_CREATING, FLOE_TOPIC_LIVE, FLOE_TOPIC_DELETING, FLOE_TOPIC_DELETED };

struct floe_topic_config {
    char *name, *value;
};
struct floe_topic {
    struct floe_map_node by_name, by_id;
    char *name;
    struct floe_uuid id;
    int32_t partitions;
    enum floe_topic_state state;
    uint64_t rev; /* raised by every write of the record */
    struct floe_topic_config *configs;
    uint32_t config_count;
    /* what of the configuration is obeyed, with the broker's defaults filled in */
    uint32_t max_message_bytes;
    bool log_append_time;
    int64_t stamp_before_ms, stamp_after_ms; /* how far from now a record's timestamp may be */
    bool compacted;                          /* cleanup.policy has `compact`: records must have keys */
    char version[FLOE_TABLE_VERSION_MAX];
    uint64_t seen_us;    /* when this revision was first seen */
    uint32_t name_index; /* floe_catalog_name */
};

struct floe_catalog;
struct floe_catalog_config {
    struct floe_loop *loop;
    struct floe_table *table;
    struct floe_lease *lease;
    struct floe_peers *peers; /* may be null: only sessions of this process hold leases */
    struct floe_uuid cluster;
    uint32_t default_max_message_bytes;
    bool default_log_append_time;
    /* Does the log still serve (or rebuild) a partition of this topic? */
    bool (*topic_served)(void *user, const struct floe_uuid *topic, int32_t partitions);
    /* A topic is deleted for good: its record is a tombstone, or another topic's by now. May be null; runs
     * from driver answers. */
    void (*topic_gone)(void *user);
    void *user;
};
enum floe_err floe_catalog_create(struct floe_catalog **out, const struct floe_catalog_config *cfg,
                                  struct floe_error *err) FLOE_MUST_USE;
/* Open operations are dropped without their call-backs. */
void floe_catalog_destroy(struct floe_catalog **c);
/* While the session is being opened: reads all topics and configurations, so that they are known when clients
 * come. What changes meanwhile is seen by floe_catalog_start. */
void floe_catalog_read_early(struct floe_catalog *c);
/* Reads all topics in the background and follows changes from now on. */
void floe_catalog_start(struct floe_catalog *c);

/* Have all topics been read once? */
bool floe_catalog_loaded(const struct floe_catalog *c);
/* The revision of the topic's record that is known here, whatever its state; 0: none. */
uint64_t floe_catalog_revision(struct floe_catalog *c, const char *name, size_t n);
/* From the cache, live topics only; null when it is not known. */
const struct floe_topic *floe_catalog_by_name(struct floe_catalog *c, const char *name, size_t n);
const struct floe_topic *floe_catalog_by_id(struct floe_catalog *c, const struct floe_uuid *id);
/* True only when the topic of this id is known to be deleted, or on its way: so says its record, or all
 * records were read, in a read begun after `since_us` (on the loop's clock), when the topic was there, and
 * none is of it (a topic that is made anew takes over the record of its name). A read that failed tells
 * nothing. */
bool floe_catalog_is_deleted(struct floe_catalog *c, const struct floe_uuid *id, uint64_t since_us);
/* What is certain of a topic: ABSENT means that no record that was read is of it, which tells nothing before
 * all records were read (floe_catalog_complete) in a read begun after the topic was. */
enum floe_catalog_certain { FLOE_CATALOG_ABSENT, FLOE_CATALOG_KEPT, FLOE_CATALOG_TOMBSTONE };
enum floe_catalog_certain floe_catalog_certain_of(struct floe_catalog *c, const struct floe_uuid *id);
/* Were all records read, but for damaged ones, in a read begun after `since_us` (on the loop's clock)? Where
 * not, it is begun. */
bool floe_catalog_read_since(struct floe_catalog *c, uint64_t since_us);
/* Was every record read, and could all be? */
bool floe_catalog_complete(const struct floe_catalog *c);
/* Raised by every change of a topic's record that comes to be known. */
uint64_t floe_catalog_changes(const struct floe_catalog *c);
/* Names that were ever known, in the order in which they came: a name keeps its place whatever becomes of its
 * topics. The topic that has the name, or had it last, in whatever state. */
uint32_t floe_catalog_names(const struct floe_catalog *c);
const struct floe_topic *floe_catalog_name(const struct floe_catalog *c, uint32_t index);
/* Live topics in order of their names. Fills at most `max`, returns how many there are. */
uint32_t floe_catalog_list(struct floe_catalog *c, const struct floe_topic **out, uint32_t max);

/* Reads the table for topics that the cache does not know: the given names, or everything (`all`: for ids and
 * lists). `done` runs later, once, with why the table, or the record of one of the names, could not be read,
 * if so. With `all` a record that is corrupt is left out (floe_catalog_complete). */
struct floe_catalog_wait {
    const struct floe_slice *names; /* borrowed until done */
    uint32_t name_count;
    bool all;
    void (*done)(struct floe_catalog_wait *w);
    void *user;
    struct floe_error err;
    struct floe_list link;
};
void floe_catalog_resolve(struct floe_catalog *c, struct floe_catalog_wait *w);
void floe_catalog_resolve_cancel(struct floe_catalog_wait *w);

/* One creation or deletion. Everything in the struct is the caller's until `done`; the operation itself goes
 * on after floe_catalog_op_detach. */
struct floe_catalog_op;
struct floe_topic_spec {
    const char *name; /* valid (floe_topic_name_check) */
    int32_t partitions;
    const struct floe_topic_config *configs;
    uint32_t config_count;
};
typedef void floe_catalog_done(void *user, const struct floe_error *err, const struct floe_uuid *id);
/* FLOE_EEXISTS: a topic of that name exists (or is being deleted). The topic is usable on every broker when
 * `done` runs. Null when memory is out. */
struct floe_catalog_op *floe_catalog_create_topic(struct floe_catalog *c, const struct floe_topic_spec *spec,
                                                  floe_catalog_done *done, void *user);
/* FLOE_ENOTFOUND: no such topic. With a non-null id only that very topic is deleted. */
struct floe_catalog_op *floe_catalog_delete_topic(struct floe_catalog *c, const char *name,
                                                  const struct floe_uuid *id, floe_catalog_done *done,
                                                  void *user);
/* A change of a live topic's partitions or configurations. `edit` gets a copy of the record as it is now and
 * makes it what it shall be (partitions may only grow); its error ends the operation. It may run several
 * times, when others write in between, and must not mind its own change: with `again`, an earlier write of it
 * may have been applied. First leases of new partitions are written before the record says that they exist.
 * Otherwise as above. */
struct floe_topic_edit {
    enum floe_err (*edit)(void *data, struct floe_topic *t, bool again, struct floe_error *err);
    void *data;               /* what `edit` is called with; the operation's from now on */
    void (*free)(void *data); /* at its end */
};
struct floe_catalog_op *floe_catalog_alter_topic(struct floe_catalog *c, const char *name,
                                                 const struct floe_topic_edit *edit, floe_catalog_done *done,
                                                 void *user);
/* A copy of one's own, and its end. */
struct floe_topic *floe_topic_copy(const struct floe_topic *t);
void floe_topic_free(struct floe_topic *t); /* null is fine */
/* For `edit`: sets a configuration, or takes it out (a null value). False when memory is out, or there are
 * too many.
 */
bool floe_topic_config_set(struct floe_topic *t, const char *name, const char *value);
const char *floe_topic_config_get(const struct floe_topic *t, const char *name); /* null: not set */
/* The caller waits no longer: `done` will not run, the operation goes on. */
void floe_catalog_op_detach(struct floe_catalog_op *op);

/* A peer says that a topic is deleted: stops serving it, then `done`. False when memory is out. */
bool floe_catalog_peer_deleted(struct floe_catalog *c, const struct floe_uuid *topic,
                               void (*done)(void *user), void *user);

/* The next producer id; ids are taken from the table in blocks. */
void floe_catalog_producer_id(struct floe_catalog *c,
                              void (*done)(void *user, const struct floe_error *err, int64_t id), void *user);

/* Client quotas (KIP-546): stored and described, not enforced yet. Record `quotas` of the table, read anew by
 * each call. */
enum { FLOE_QUOTA_USER, FLOE_QUOTA_CLIENT_ID, FLOE_QUOTA_IP, FLOE_QUOTA_TYPES };
enum { FLOE_QUOTA_KEYS = 5 };
extern const char *const floe_quota_types[FLOE_QUOTA_TYPES]; /* as Kafka names them */
extern const char *const floe_quota_keys[FLOE_QUOTA_KEYS];
struct floe_quota {
    bool has[FLOE_QUOTA_TYPES];
    char *name[FLOE_QUOTA_TYPES]; /* null where `has`: the default of its type */
    bool set[FLOE_QUOTA_KEYS];
    double value[FLOE_QUOTA_KEYS];
};
struct floe_quotas {
    struct floe_quota *list;
    uint32_t n, cap;
};
/* The quota of that entity (names are copied); null when memory is out, or there are more than a record
 * takes. One without values is not kept. */
struct floe_quota *floe_quotas_at(struct floe_quotas *q, const bool has[FLOE_QUOTA_TYPES],
                                  const struct floe_kstr name[FLOE_QUOTA_TYPES]);
/* A whole record is read, changed, and written unless somebody else has written it meanwhile: then once more.
 * The catalog's own part of its operations. */
struct floe_record_edit {
    struct floe_table *table;
    const char *key;
    /* What to write where `got` is (null: there is no such record), malloc'd. Null: nothing, because of err
     * if that is set. May run again. */
    char *(*change)(struct floe_record_edit *e, const struct floe_slice *got, struct floe_error *err);
    void (*done)(struct floe_record_edit *e); /* once, later; may free it */
    bool written;
    struct floe_error err;
    struct floe_table_req req;
    char *text;
    uint32_t tries;
};
struct floe_quotas_op {
    /* in */
    bool (*edit)(void *user, struct floe_quotas *q); /* null: only read; may run again; false: no memory */
    void (*done)(struct floe_quotas_op *op);         /* once, later */
    void *user;
    /* out, until `done` returns */
    struct floe_error err;
    struct floe_quotas quotas;
    /* the catalog's own */
    struct floe_list link;
    struct floe_record_edit record;
};
void floe_catalog_quotas(struct floe_catalog *c, struct floe_quotas_op *op);

/* ---- configurations of brokers and groups that were set over the wire ---- */
enum floe_dynamic_kind { FLOE_DYNAMIC_BROKER, FLOE_DYNAMIC_GROUP, FLOE_DYNAMIC_KINDS };
struct floe_dynamic {
    enum floe_dynamic_kind kind;
    char *resource; /* a broker's id, "": every broker's; a group */
    char *name, *value;
};
struct floe_dynamics {
    struct floe_dynamic *list; /* in order of kind, resource and name */
    uint32_t n, cap;
};
const char *floe_dynamics_get(const struct floe_dynamics *d, enum floe_dynamic_kind kind,
                              struct floe_kstr resource, const char *name);
/* A value of n < 0: taken away. False: memory is out, or there are too many. */
bool floe_dynamics_set(struct floe_dynamics *d, enum floe_dynamic_kind kind, struct floe_kstr resource,
                       struct floe_kstr name, struct floe_kstr value);
struct floe_dynamics_op {
    /* in */
    enum floe_err (*edit)(void *user, struct floe_dynamics *d, struct floe_error *err); /* may run again */
    void (*done)(struct floe_dynamics_op *op); /* once, later; may free it */
    void (*drop)(struct floe_dynamics_op *op); /* instead, at the catalog's end */
    void *user;
    struct floe_error err;
    /* the catalog's own */
    struct floe_dynamics dynamics;
    struct floe_catalog *c;
    struct floe_list link;
    struct floe_record_edit record;
};
/* One after another; what was written is in force here when `done` runs, and soon everywhere. */
void floe_catalog_dynamics_change(struct floe_catalog *c, struct floe_dynamics_op *op);
/* What is in force. */
const struct floe_dynamics *floe_catalog_dynamics(const struct floe_catalog *c);

/* FLOE_OK, or FLOE_EINVAL with Kafka's sentence. */
enum floe_err floe_topic_name_check(const char *name, size_t n, struct floe_error *err) FLOE_MUST_USE;

/* Whether a topic of that name is the broker's own, as Kafka has it: clients see it marked so, and write
 * nothing into it. */
bool floe_topic_internal(const char *name, size_t n);

#endif
