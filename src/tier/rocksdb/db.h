/* RocksDB as the tier uses it: entries under big-endian sequence numbers, written in groups, read one by one,
 * forgotten by range. Wraps the C API: options, error texts, keys and values. Bytes:
 * docs/formats/tier-files.md.
 *
 * A group is two write batches, so that one reply costs one write however many entries wait: those without
 * the write-ahead log go first, then the durable ones together with the drops. (A drop covers only entries
 * given before it, so writing drops last keeps the order.)
 *
 * Owned by one thread at a time: the opener's, then the writer's.
 */
#ifndef FLOE_TIER_DB_H
#define FLOE_TIER_DB_H

#include <floe/tier.h>

#define FLOE_TIER_ENTRY_MAX ((size_t)256 << 20)

struct floe_tier_db;
/* Opens or creates `path`. FLOE_ECORRUPT: what lies there cannot be used, but may be set aside. Others: the
 * disk's. */
enum floe_err floe_tier_db_open(struct floe_tier_db **out, const char *path, size_t memory_bytes,
                                struct floe_error *err) FLOE_MUST_USE;
void floe_tier_db_close(struct floe_tier_db **db);
/* Deletes the database's files, and nothing else. */
void floe_tier_db_erase(const char *path);

struct floe_tier_db_found {
    uint64_t first, next; /* entries lie in [first, next) */
    uint64_t bytes;       /* about what they take */
};
/* Looks for what lies there. Costs two seeks. */
enum floe_err floe_tier_db_find(struct floe_tier_db *db, struct floe_tier_db_found *out,
                                struct floe_error *err) FLOE_MUST_USE;

/* The open group. */
void floe_tier_db_put(struct floe_tier_db *db, uint64_t seq, struct floe_slice head, struct floe_slice body,
                      bool durable);
/* `head` is the lowest number that may still be live once the drop is done; `freed` about what the entries
 * took. */
void floe_tier_db_drop(struct floe_tier_db *db, uint64_t from, uint64_t to, uint64_t head, uint64_t freed);
size_t floe_tier_db_group_bytes(const struct floe_tier_db *db);
struct floe_tier_db_written {
    struct floe_error volatile_err, durable_err; /* of entries without and with the write-ahead log */
};
void floe_tier_db_write(struct floe_tier_db *db, struct floe_tier_db_written *out);

/* Reads an entry into a fresh buffer: head, then body. */
enum floe_err floe_tier_db_get(struct floe_tier_db *db, uint64_t seq, struct floe_budget *budget,
                               struct floe_buf **data, uint32_t *head_n,
                               struct floe_error *err) FLOE_MUST_USE;
/* Reads entries of [from, to) in order until `take` returns false. */
enum floe_err floe_tier_db_scan(struct floe_tier_db *db, uint64_t from, uint64_t to,
                                bool (*take)(void *user, uint64_t seq, struct floe_slice head,
                                             struct floe_slice body),
                                void *user, struct floe_error *err) FLOE_MUST_USE;

#endif
