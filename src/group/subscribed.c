/* Topics that a group's members subscribe to, all together: offsets of these are neither deleted nor expired.
 * Asked for many topics, so it is found out once. */
#include "consumer_int.h"

#include <stdlib.h>

static int by_name(const void *x, const void *y)
{
    const struct floe_kstr *a = x, *b = y;
    int d = memcmp(a->p, b->p, (size_t)FLOE_MIN(a->n, b->n));
    return d ? d : (a->n > b->n) - (a->n < b->n);
}

void subscribed_init(struct subscribed *s, struct group *g)
{
    *s = (struct subscribed){.g = g};
    floe_arena_init(&s->arena, SIZE_MAX / 2);
    if (g->kind == GROUP_CLASSIC)
        s->all = !classic_subscriptions(g, &s->names, &s->n, &s->arena);
    else if (g->kind == GROUP_CONSUMER)
        consumer_subscriptions(g, &s->names, &s->n, &s->arena);
    if (s->n > 1)
        qsort(s->names, s->n, sizeof *s->names, by_name);
}

bool subscribed_to(const struct subscribed *s, struct floe_kstr topic)
{
    if (s->all || (s->n > 0 && topic.n >= 0 && bsearch(&topic, s->names, s->n, sizeof topic, by_name)))
        return true;
    return s->g->kind == GROUP_CONSUMER && consumer_regex_subscribed(s->g, topic);
}

void subscribed_fini(struct subscribed *s)
{
    floe_arena_fini(&s->arena);
}
