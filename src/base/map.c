#include <floe/base/map.h>

#include <stdlib.h>

enum { CAP_MIN = 16 };

void floe_map_init(struct floe_map *m)
{
    *m = (struct floe_map){0};
}

void floe_map_fini(struct floe_map *m)
{
    free(m->slot);
    *m = (struct floe_map){0};
}

static struct floe_map_node *same(struct floe_map_node *n, uint64_t hash)
{
    while (n != NULL && n->hash != hash)
        n = n->next;
    return n;
}

struct floe_map_node *floe_map_first(const struct floe_map *m, uint64_t hash)
{
    if (m->n == 0)
        return NULL;
    return same(m->slot[hash & (m->cap - 1)], hash);
}

struct floe_map_node *floe_map_next_same(const struct floe_map_node *node)
{
    return same(node->next, node->hash);
}

/* Doubling splits a chain into two and reverses neither: entries keep their order. */
static bool grow(struct floe_map *m)
{
    size_t cap = m->cap != 0 ? m->cap * 2 : CAP_MIN;
    if (cap > SIZE_MAX / sizeof(struct floe_map_node *))
        return false;
    struct floe_map_node **slot = calloc(cap, sizeof *slot);
    if (slot == NULL)
        return false;
    for (size_t i = 0; i < m->cap; i++) {
        struct floe_map_node **low = &slot[i], **high = &slot[i + m->cap];
        for (struct floe_map_node *n = m->slot[i], *next; n != NULL; n = next) {
            next = n->next;
            n->next = NULL;
            struct floe_map_node ***to = (n->hash & m->cap) != 0 ? &high : &low;
            **to = n;
            *to = &n->next;
        }
    }
    free(m->slot);
    m->slot = slot;
    m->cap = cap;
    return true;
}

bool floe_map_insert(struct floe_map *m, struct floe_map_node *node, uint64_t hash)
{
    /* A full table that cannot grow still takes entries: its chains get longer. */
    if (m->n >= m->cap && !grow(m) && m->cap == 0)
        return false;
    struct floe_map_node **slot = &m->slot[hash & (m->cap - 1)];
    *node = (struct floe_map_node){.next = *slot, .hash = hash};
    *slot = node;
    m->n++;
    return true;
}

void floe_map_remove(struct floe_map *m, struct floe_map_node *node)
{
    FLOE_ASSERT(m->n > 0);
    struct floe_map_node **at = &m->slot[node->hash & (m->cap - 1)];
    while (*at != NULL && *at != node)
        at = &(*at)->next;
    FLOE_ASSERT(*at == node);
    *at = node->next;
    node->next = NULL;
    m->n--;
}

struct floe_map_node *floe_map_iter(const struct floe_map *m, struct floe_map_node *node)
{
    if (m->n == 0)
        return NULL;
    size_t i = 0;
    if (node != NULL) {
        if (node->next != NULL)
            return node->next;
        i = (node->hash & (m->cap - 1)) + 1;
    }
    for (; i < m->cap; i++)
        if (m->slot[i] != NULL)
            return m->slot[i];
    return NULL;
}
