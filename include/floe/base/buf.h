/* Shared, reference-counted byte buffers: the bytes of a produce request from the socket to the committed
 * segment.
 *
 *  1. A buffer's bytes change only while its reference count is one, or in the fields its holder owns (base
 * offset and leader epoch of a batch, patched by the log before the batch can be seen).
 *  2. Capacity is charged to a budget at creation and given back when the last reference goes, on whatever
 * thread.
 *  3. References may be taken and dropped on any thread.
 */
#ifndef FLOE_BASE_BUF_H
#define FLOE_BASE_BUF_H

#include <floe/base/bytes.h>
#include <stdatomic.h>

/* A memory budget: a limit and a counter that any thread moves. */
struct floe_budget {
    size_t limit;
    _Atomic size_t used;
    _Atomic size_t peak;
};
void floe_budget_init(struct floe_budget *b, size_t limit);
/* True when n more bytes fit and were taken. */
bool floe_budget_take(struct floe_budget *b, size_t n);
/* Takes n bytes whatever the limit: for what cannot wait (bounded elsewhere). */
void floe_budget_force(struct floe_budget *b, size_t n);
void floe_budget_give(struct floe_budget *b, size_t n);
size_t floe_budget_used(const struct floe_budget *b);

struct floe_buf {
    _Atomic uint32_t refs;
    struct floe_budget *budget; /* may be null */
    size_t cap;
    size_t n;                    /* bytes in use, set by whoever fills it */
    size_t room;                 /* what was allocated */
    struct floe_buf_arena *home; /* buf.c's own */
    uint8_t *data;
};

/* A buffer of `cap` bytes with one reference, or null when the budget refuses or memory is out. */
struct floe_buf *floe_buf_create(size_t cap, struct floe_budget *budget);
/* As above, past the budget's limit if need be. Null only when memory is out. */
struct floe_buf *floe_buf_create_forced(size_t cap, struct floe_budget *budget);
struct floe_buf *floe_buf_ref(struct floe_buf *b);
void floe_buf_unref(struct floe_buf *b); /* null is fine */
/* Bytes of large buffers that may be kept for reuse after their last reference, outside any budget (64 MiB
 * unless told). Shrinks what is held. Any thread. */
void floe_buf_cache_limit(size_t limit);
/* More than the limit may be kept while it and the large buffers in use are at most so many bytes together (0
 * unless told): what nobody uses at present. */
void floe_buf_cache_together(size_t together);
size_t floe_buf_cache_held(void);

/* An owned slice: bytes and the reference that keeps them. `buf` null: the bytes are static or owned
 * elsewhere. */
struct floe_bufslice {
    struct floe_buf *buf;
    const uint8_t *p;
    size_t n;
};

#endif
