#include <floe/base/arena.h>
#include <floe/base/assert.h>

#include <stdlib.h>

enum { ALIGN = 16, CHUNK_MIN = 4096, CHUNK_MAX = 256 * 1024 };

struct floe_arena_chunk {
    struct floe_arena_chunk *next;
    size_t at, cap; /* bytes used and held after this header */
};
_Static_assert(sizeof(struct floe_arena_chunk) <= 2 * ALIGN, "the header fits its pad");
#define HEADER ((size_t)(2 * ALIGN))

void floe_arena_init(struct floe_arena *a, size_t max)
{
    *a = (struct floe_arena){.max = max};
}

void floe_arena_fini(struct floe_arena *a)
{
    for (struct floe_arena_chunk *c = a->head, *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
    *a = (struct floe_arena){0};
}

static struct floe_arena_chunk *add_chunk(struct floe_arena *a, size_t need)
{
    size_t cap = a->head != NULL ? FLOE_MIN(a->head->cap * 2, (size_t)CHUNK_MAX) : CHUNK_MIN - HEADER;
    cap = FLOE_MAX(cap, need);
    struct floe_arena_chunk *c = malloc(HEADER + cap);
    if (c == NULL)
        return NULL;
    *c = (struct floe_arena_chunk){.cap = cap};
    /* An oversized chunk goes behind the head, so that the head's free room stays in use. */
    if (a->head != NULL && need > CHUNK_MAX) {
        c->next = a->head->next;
        a->head->next = c;
    } else {
        c->next = a->head;
        a->head = c;
    }
    return c;
}

void *floe_arena_alloc(struct floe_arena *a, size_t n)
{
    if (n > SIZE_MAX - HEADER - ALIGN)
        return NULL;
    n = n == 0 ? ALIGN : (n + ALIGN - 1) / ALIGN * ALIGN;
    if (a->used > a->max || n > a->max - a->used)
        return NULL;
    struct floe_arena_chunk *c = a->head;
    if (c == NULL || n > c->cap - c->at) {
        c = add_chunk(a, n);
        if (c == NULL)
            return NULL;
    }
    void *p = memset((char *)c + HEADER + c->at, 0, n); /* not the whole chunk: most requests are small */
    c->at += n;
    a->used += n;
    return p;
}

void *floe_arena_calloc(struct floe_arena *a, size_t count, size_t size)
{
    size_t n;
    if (__builtin_mul_overflow(count, size, &n))
        return NULL;
    return floe_arena_alloc(a, n);
}

char *floe_arena_strndup(struct floe_arena *a, const char *s, size_t n)
{
    if (n == SIZE_MAX)
        return NULL;
    char *p = floe_arena_alloc(a, n + 1);
    if (p != NULL && n != 0)
        memcpy(p, s, n);
    return p;
}
