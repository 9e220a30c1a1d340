/* Sets of partitions as sorted arrays. */
#include "consumer_int.h"

#include <stdlib.h>

int part_cmp(const struct part *a, const struct part *b)
{
    int d = memcmp(a->topic.b, b->topic.b, sizeof a->topic.b);
    return d ? d : (a->index > b->index) - (a->index < b->index);
}

static int by_part(const void *a, const void *b)
{
    return part_cmp(a, b);
}

void *consumer_alloc(struct floe_arena *a, size_t count, size_t size)
{
    void *p = floe_arena_calloc(a, count, size);
    FLOE_ASSERT(p);
    return p;
}

bool parts_has(const struct parts *s, const struct part *p)
{
    return s->n > 0 && bsearch(p, s->p, s->n, sizeof *p, by_part) != NULL;
}

bool parts_eq(const struct parts *a, const struct parts *b)
{
    return a->n == b->n && parts_subset(a, b);
}

bool parts_subset(const struct parts *a, const struct parts *b)
{
    for (uint32_t i = 0; i < a->n; i++)
        if (!parts_has(b, &a->p[i]))
            return false;
    return true;
}

bool parts_meet(const struct parts *a, const struct parts *b)
{
    for (uint32_t i = 0; i < a->n; i++)
        if (parts_has(b, &a->p[i]))
            return true;
    return false;
}

struct parts parts_filter(const struct parts *a, const struct parts *b, bool keep, struct floe_arena *arena)
{
    struct parts out = {consumer_alloc(arena, a->n, sizeof *out.p), 0};
    for (uint32_t i = 0; i < a->n; i++)
        if (parts_has(b, &a->p[i]) == keep)
            out.p[out.n++] = a->p[i];
    return out;
}

struct parts parts_union(const struct parts *a, const struct parts *b, struct floe_arena *arena)
{
    struct parts out = {consumer_alloc(arena, (size_t)a->n + b->n, sizeof *out.p), 0};
    uint32_t i = 0, k = 0;
    while (i < a->n || k < b->n) {
        int d = i == a->n ? 1 : k == b->n ? -1 : part_cmp(&a->p[i], &b->p[k]);
        out.p[out.n++] = d <= 0 ? a->p[i] : b->p[k];
        i += d <= 0;
        k += d >= 0;
    }
    return out;
}

void parts_sort(struct parts *s)
{
    uint32_t n = 0;
    if (s->n > 1)
        qsort(s->p, s->n, sizeof *s->p, by_part);
    for (uint32_t i = 0; i < s->n; i++)
        if (n == 0 || part_cmp(&s->p[n - 1], &s->p[i]) != 0)
            s->p[n++] = s->p[i];
    s->n = n;
}

void parts_set(struct parts *at, const struct parts *to)
{
    struct part *copy = to->n > 0 ? malloc(to->n * sizeof *copy) : NULL;
    FLOE_ASSERT(copy || to->n == 0);
    if (copy)
        memcpy(copy, to->p, to->n * sizeof *copy);
    uint32_t n = to->n;
    free(at->p);
    *at = (struct parts){copy, n};
}

uint32_t parts_topic_end(const struct parts *s, uint32_t from)
{
    uint32_t i = from;
    while (i < s->n && floe_uuid_eq(&s->p[i].topic, &s->p[from].topic))
        i++;
    return i;
}

int32_t parts_topics(const struct parts *s)
{
    int32_t n = 0;
    for (uint32_t i = 0; i < s->n; i = parts_topic_end(s, i))
        n++;
    return n;
}
