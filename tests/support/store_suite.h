/* The promises of floe/objstore.h as test cases over any store that runs on a libuv loop: the unit tests run
 * them over `file`, the integration tests over `file` and `s3`.
 *
 * A rig owns the loop; keys of a rig lie below a name space of its own, so that many runs may share a store.
 */
#ifndef FLOE_TESTS_STORE_SUITE_H
#define FLOE_TESTS_STORE_SUITE_H

#include <floe/objstore.h>

struct store_rig {
    struct floe_loop_uv *uv;
    struct floe_loop *loop;
    struct floe_store *store;
    char ns[64];
    uint32_t pending; /* requests on their way */
    bool no_nesting;  /* the store lists "a/b" wrongly where "a" is an object too (MinIO) */
    bool small;       /* leave out the cases that need much data or time */
};
/* Makes the loop; the caller then creates the store on rig->loop and sets rig->store. */
void store_rig_open(struct store_rig *rig);
/* Closes the store (where there is one) and the loop. */
void store_rig_close(struct store_rig *rig);

/* A request with kind, key (below the rig's name space) and rig_done set. */
struct floe_store_req store_rig_req(struct store_rig *rig, enum floe_store_kind kind, const char *key);
/* Submits and runs the loop until the answer; returns its code. */
enum floe_err store_rig_do(struct store_rig *rig, struct floe_store_req *r);
/* Submits n requests at once and runs the loop until all are answered. */
void store_rig_do_all(struct store_rig *rig, struct floe_store_req *r, uint32_t n);
/* Runs the loop for so long. */
void store_rig_run_us(struct store_rig *rig, uint64_t us);
/* PUT and GET of text; the version goes to `version` (may be null). */
enum floe_err store_rig_put(struct store_rig *rig, enum floe_store_cond cond, const char *key,
                            const char *text, const char *if_version, char *version);
/* Asserts that the object holds the text. */
void store_rig_expect(struct store_rig *rig, const char *key, const char *text);

/* All cases; each asserts through cmocka. */
struct store_case {
    const char *name;
    void (*fn)(struct store_rig *rig);
};
extern const struct store_case store_suite[];
extern const uint32_t store_suite_count;

#endif
