/* Intrusive doubly linked list. A node that is on no list points to itself (after floe_list_init) or to null.
 */
#ifndef FLOE_BASE_LIST_H
#define FLOE_BASE_LIST_H

#include <floe/base/assert.h>
#include <stdbool.h>
#include <stddef.h>

struct floe_list {
    struct floe_list *prev, *next;
};
static inline void floe_list_init(struct floe_list *l)
{
    l->prev = l->next = l;
}
static inline bool floe_list_empty(const struct floe_list *l)
{
    return l->next == l || l->next == NULL;
}
static inline void floe_list_insert_before(struct floe_list *at, struct floe_list *n)
{
    n->prev = at->prev;
    n->next = at;
    at->prev->next = n;
    at->prev = n;
}
static inline void floe_list_push_back(struct floe_list *l, struct floe_list *n)
{
    floe_list_insert_before(l, n);
}
static inline void floe_list_push_front(struct floe_list *l, struct floe_list *n)
{
    floe_list_insert_before(l->next, n);
}
/* Takes the node off whatever list it is on; harmless on a node that is on none. */
static inline void floe_list_remove(struct floe_list *n)
{
    if (n->next == NULL)
        return;
    n->prev->next = n->next;
    n->next->prev = n->prev;
    floe_list_init(n);
}
static inline struct floe_list *floe_list_pop_front(struct floe_list *l)
{
    if (floe_list_empty(l))
        return NULL;
    struct floe_list *n = l->next;
    floe_list_remove(n);
    return n;
}
#define FLOE_LIST_ENTRY(node, type, member) FLOE_CONTAINER(node, type, member)
#define FLOE_LIST_EACH(it, l) for (struct floe_list *it = (l)->next; it != (l); it = it->next)
#define FLOE_LIST_EACH_SAFE(it, l)                                                                           \
    for (struct floe_list *it = (l)->next, *it##_next = it->next; it != (l);                                 \
         it = it##_next, it##_next = it->next)

#endif
