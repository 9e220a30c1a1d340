/* A PUT's body held by a driver for as long as the bytes may be on their way, whatever the caller does: its
 * own references to buffers, its own copies of slices that have none. Any thread; one owner. */
#ifndef FLOE_OBJSTORE_BODY_H
#define FLOE_OBJSTORE_BODY_H

#include <floe/objstore.h>

struct floe_store_body {
    struct floe_bufslice *slices;
    uint32_t count;
    uint64_t n; /* bytes in all slices */
    uint8_t *copied;
};
/* Holds `count` slices. FLOE_ETOOLARGE above FLOE_STORE_OBJECT_MAX, FLOE_ENOMEM. */
enum floe_err floe_store_body_hold(struct floe_store_body *b, const struct floe_bufslice *slices,
                                   uint32_t count, struct floe_error *err) FLOE_MUST_USE;
void floe_store_body_drop(struct floe_store_body *b); /* a zeroed one is fine */

/* Null-terminated copies of keys in one block, freed with free(3). Null when memory is out. */
char **floe_store_keys_copy(const char *const *keys, uint32_t count);

/* FLOE_OK when the request can be sent as it is, else FLOE_EINVAL or FLOE_ETOOLARGE with a sentence. */
enum floe_err floe_store_req_check(const struct floe_store_req *r, struct floe_error *err) FLOE_MUST_USE;
/* Rule 8 of floe/objstore.h. `prefix`: a LIST's, which may be empty or end with a slash. */
bool floe_store_key_ok(const char *key, bool prefix);
/* Adds one request to the store's counters. */
void floe_store_count(struct floe_store *s, enum floe_store_kind kind);

#define FLOE_STORE_TIMEOUT_US_DEFAULT (30u * 1000 * 1000)

#endif
