/* The table's records as structs, and their JSON: docs/formats/table.md.
 *
 * What it is: pure encoders and strict, bounded decoders of everything that the lease module keeps in the
 * table. What it is not: I/O. Errors are FLOE_ECORRUPT and name the key and the field; FLOE_EUNSUPPORTED for
 * a newer format. A decoder's output is untouched on failure. Encoders give malloc'd text, null when memory
 * is out.
 */
#ifndef FLOE_LEASE_RECORDS_H
#define FLOE_LEASE_RECORDS_H

#include <floe/lease.h>

#define LEASE_FORMAT_FIRST 1  /* of table and bucket; every Floe reads it */
#define LEASE_FORMAT_STARTS 2 /* lease entries tell the log start of their checkpoint */
#define LEASE_VERSION_MAX 32

/* node/<id> */
struct lease_node_record {
    struct floe_node_info info; /* info.session.node comes from the key */
    uint64_t beat;
    int32_t format;
    char version[LEASE_VERSION_MAX];
    struct floe_session_name by; /* who fenced it; none while live */
};
#define LEASE_NODE_ID_MAX 1000000
void lease_node_key(char out[FLOE_TABLE_KEY_MAX], int32_t node);
/* False when the key is not node/<id> in its one spelling. */
bool lease_node_key_parse(const char *key, int32_t *node);
char *lease_node_encode(const struct lease_node_record *r);
enum floe_err lease_node_decode(const char *key, const char *json, size_t n, struct lease_node_record *out,
                                struct floe_error *err) FLOE_MUST_USE;

/* ended/<session> */
struct lease_ended_record {
    uint64_t end;
    struct floe_session_name by; /* who sealed it */
};
void lease_ended_key(char out[FLOE_TABLE_KEY_MAX], const struct floe_session_name *s);
char *lease_ended_encode(const struct lease_ended_record *r);
enum floe_err lease_ended_decode(const char *key, const char *json, size_t n, struct lease_ended_record *out,
                                 struct floe_error *err) FLOE_MUST_USE;

/* floor/<session>: what this module reads of it (floe/retain.h writes it) */
void lease_floor_key(char out[FLOE_TABLE_KEY_MAX], const struct floe_session_name *s);
enum floe_err lease_floor_decode(const char *key, const char *json, size_t n, uint64_t *floor,
                                 struct floe_error *err) FLOE_MUST_USE;

/* catalog */
char *lease_catalog_encode(uint64_t version);
enum floe_err lease_catalog_decode(const char *key, const char *json, size_t n, uint64_t *version,
                                   struct floe_error *err) FLOE_MUST_USE;

/* The bucket's object `cluster` (shards 0: not in it) and the table's record `cluster`. */
struct lease_cluster_record {
    struct floe_uuid id;
    uint32_t shards;
    int32_t format;
    int32_t next; /* announced, and not raised to yet; 0: none */
};
char *lease_cluster_encode(const struct lease_cluster_record *r);
/* FLOE_EUNSUPPORTED for a format above `newest`. */
enum floe_err lease_format_check(const char *key, int32_t format, int32_t newest,
                                 struct floe_error *err) FLOE_MUST_USE;
enum floe_err lease_cluster_decode(const char *key, const char *json, size_t n, int32_t newest,
                                   struct lease_cluster_record *out, struct floe_error *err) FLOE_MUST_USE;

/* verdict/<hash> */
struct lease_verdict_record {
    bool ok;
    char url[256], why[320];
};
char *lease_verdict_encode(const struct lease_verdict_record *r);
enum floe_err lease_verdict_decode(const char *key, const char *json, size_t n,
                                   struct lease_verdict_record *out, struct floe_error *err) FLOE_MUST_USE;

/* lease/<shard>: packed leases, in memory as a document that is never changed once it is published. */
struct lease_entry {
    struct floe_lease_entry e; /* spans lie in the document's arena */
    uint64_t nonce;            /* of its last change */
};
struct lease_doc {
    struct floe_arena arena;
    struct lease_entry *entries; /* by topic id, then index */
    uint32_t n, cap;
    int32_t format;
};
#define LEASE_SHARD_MAX 4096       /* shards of a cluster */
#define LEASE_DOC_ENTRIES_MAX 8192 /* what 256 KiB can hold is less */
#define LEASE_DOC_SPANS_MAX 4096   /* of one entry */
#define LEASE_DOC_MEMORY_MAX (16u << 20)

uint32_t lease_shard_of(const struct floe_tp *tp, uint32_t shards);
void lease_shard_key(char out[FLOE_TABLE_KEY_MAX], uint32_t shard);
bool lease_shard_key_parse(const char *key, uint32_t *shard);
void lease_doc_fini(struct lease_doc *d);
enum floe_err lease_doc_decode(const char *key, const char *json, size_t n, int32_t newest,
                               struct lease_doc *out, struct floe_error *err) FLOE_MUST_USE;
/* Appends the JSON to `w`, whose maximum bounds it: look at w->bad. */
void lease_doc_encode(const struct lease_doc *d, struct floe_writer *w);
/* A copy to edit, with room for `extra` more entries. FLOE_ENOMEM. */
enum floe_err lease_doc_clone(const struct lease_doc *d, uint32_t extra, struct lease_doc *out) FLOE_MUST_USE;
struct lease_entry *lease_doc_find(const struct lease_doc *d, const struct floe_tp *tp);
/* A new zeroed entry at its place; null when there is no room. The partition must be absent. */
struct lease_entry *lease_doc_insert(struct lease_doc *d, const struct floe_tp *tp);
void lease_doc_remove(struct lease_doc *d, struct lease_entry *at);
/* Gives the entry a span list of n, taken from the arena; false when it is full. */
bool lease_doc_set_spans(struct lease_doc *d, struct lease_entry *at, const struct floe_span *spans,
                         uint32_t n);

#endif
