/* A bump allocator for one request: many small allocations, one free. Not thread-safe. Memory is zeroed. */
#ifndef FLOE_BASE_ARENA_H
#define FLOE_BASE_ARENA_H

#include <floe/base/bytes.h>

struct floe_arena_chunk;
struct floe_arena {
    struct floe_arena_chunk *head;
    size_t used, max; /* bytes handed out, and their limit */
};
void floe_arena_init(struct floe_arena *a, size_t max);
void floe_arena_fini(struct floe_arena *a);
/* Zeroed, 16-byte aligned memory; null past `max` or out of memory. n of 0 gives a valid pointer. */
void *floe_arena_alloc(struct floe_arena *a, size_t n);
/* count * size with overflow check. */
void *floe_arena_calloc(struct floe_arena *a, size_t count, size_t size);
/* Copy with a terminator added. */
char *floe_arena_strndup(struct floe_arena *a, const char *s, size_t n);

#endif
