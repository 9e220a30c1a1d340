/* The assignors `uniform` and `range`: pure functions. */
#include "consumer_int.h"

#include <stdlib.h>

#define FREE UINT32_MAX

/* Partitions of all topics in a row; who has each; who subscribes to each topic. */
struct plan {
    const struct assign_topic *topics;
    struct assign_member *members;
    uint32_t topic_count, member_count;
    uint32_t *base;  /* of each topic: its first place; one more: the end */
    uint32_t *owner; /* by place: a member, or FREE */
    uint32_t *load;  /* partitions of each member */
    uint32_t *first; /* of each topic: its first subscriber in `subs`; one more: the end */
    uint32_t *subs;
};

static int by_range_order(const void *x, const void *y)
{
    const struct assign_member *a = *(struct assign_member *const *)x, *b = *(struct assign_member *const *)y;
    if (!a->instance != !b->instance)
        return a->instance ? -1 : 1;
    return a->instance ? strcmp(a->instance, b->instance) : strcmp(a->id, b->id);
}

static void plan_init(struct plan *p, struct floe_arena *a)
{
    uint32_t n = p->member_count;
    struct assign_member **order = consumer_alloc(a, n, sizeof(struct assign_member *));
    uint32_t *at = consumer_alloc(a, p->topic_count + 1ul, sizeof *at);
    p->base = consumer_alloc(a, p->topic_count + 1ul, sizeof *p->base);
    p->first = consumer_alloc(a, p->topic_count + 1ul, sizeof *p->first);
    p->load = consumer_alloc(a, n, sizeof *p->load);
    for (uint32_t i = 0; i < p->topic_count; i++)
        p->base[i + 1] = p->base[i] + (uint32_t)p->topics[i].partitions;
    p->owner = consumer_alloc(a, p->base[p->topic_count], sizeof *p->owner);
    for (uint32_t i = 0; i < p->base[p->topic_count]; i++)
        p->owner[i] = FREE;
    for (uint32_t i = 0; i < n; i++) {
        order[i] = &p->members[i];
        for (uint32_t k = 0; k < p->members[i].topic_count; k++)
            p->first[p->members[i].topics[k] + 1]++;
    }
    qsort(order, n, sizeof(struct assign_member *), by_range_order);
    for (uint32_t i = 0; i < p->topic_count; i++) {
        p->first[i + 1] += p->first[i];
        at[i] = p->first[i];
    }
    p->subs = consumer_alloc(a, p->first[p->topic_count], sizeof *p->subs);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < order[i]->topic_count; k++)
            p->subs[at[order[i]->topics[k]]++] = (uint32_t)(order[i] - p->members);
}

static void plan_out(struct plan *p, struct floe_arena *a)
{
    for (uint32_t i = 0; i < p->member_count; i++)
        p->members[i].out = (struct parts){consumer_alloc(a, p->load[i], sizeof(struct part)), 0};
    for (uint32_t t = 0; t < p->topic_count; t++) {
        for (uint32_t i = p->base[t]; i < p->base[t + 1]; i++) {
            if (p->owner[i] == FREE)
                continue;
            struct parts *out = &p->members[p->owner[i]].out;
            out->p[out->n++] = (struct part){p->topics[t].id, (int32_t)(i - p->base[t])};
        }
    }
}

static void give(struct plan *p, uint32_t place, uint32_t member)
{
    if (p->owner[place] != FREE)
        p->load[p->owner[place]]--;
    p->owner[place] = member;
    if (member != FREE)
        p->load[member]++;
}

/* ---- uniform ------------------------------------------------------------------------------------------- */

static bool subscribes(const struct assign_member *m, uint32_t topic)
{
    uint32_t lo = 0, hi = m->topic_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (m->topics[mid] < topic)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < m->topic_count && m->topics[lo] == topic;
}

/* Everybody keeps what it had, where it may. */
static void retain(struct plan *p)
{
    for (uint32_t i = 0; i < p->member_count; i++) {
        const struct assign_member *m = &p->members[i];
        for (uint32_t k = 0, t = 0; k < m->prior.n; k++) { /* both are in order of ids */
            const struct part *x = &m->prior.p[k];
            while (t < p->topic_count && memcmp(p->topics[t].id.b, x->topic.b, 16) < 0)
                t++;
            if (t == p->topic_count)
                break;
            if (!floe_uuid_eq(&p->topics[t].id, &x->topic) || x->index < 0 ||
                x->index >= p->topics[t].partitions || !subscribes(m, t))
                continue;
            uint32_t place = p->base[t] + (uint32_t)x->index;
            if (p->owner[place] == FREE)
                give(p, place, i);
        }
    }
}

static bool homogeneous(const struct plan *p)
{
    for (uint32_t i = 1; i < p->member_count; i++) {
        const struct assign_member *a = &p->members[0], *b = &p->members[i];
        if (a->topic_count != b->topic_count ||
            (a->topic_count > 0 && memcmp(a->topics, b->topics, a->topic_count * sizeof *a->topics) != 0))
            return false;
    }
    return true;
}

/* All subscribe to the same: each gets `quota`, and `extra` of them one more. */
static void balance_even(struct plan *p, struct floe_arena *a)
{
    uint32_t total = p->base[p->topic_count], n = p->member_count;
    uint32_t quota = total / n, extra = total % n;
    uint32_t *limit = consumer_alloc(a, n, sizeof *limit);
    for (uint32_t i = 0; i < n; i++) {
        limit[i] = quota;
        if (p->load[i] > quota && extra > 0) { /* who has more already keeps it */
            limit[i]++;
            extra--;
        }
    }
    for (uint32_t i = 0; i < n && extra > 0; i++) {
        if (limit[i] == quota) {
            limit[i]++;
            extra--;
        }
    }
    for (uint32_t i = total; i-- > 0;)
        if (p->owner[i] != FREE && p->load[p->owner[i]] > limit[p->owner[i]])
            give(p, i, FREE);
    for (uint32_t i = 0, m = 0; i < total; i++) {
        if (p->owner[i] != FREE)
            continue;
        while (p->load[m] >= limit[m])
            m++;
        give(p, i, m);
    }
}

static uint32_t least_loaded(const struct plan *p, uint32_t topic)
{
    uint32_t best = p->subs[p->first[topic]];
    for (uint32_t i = p->first[topic]; i < p->first[topic + 1]; i++)
        if (p->load[p->subs[i]] < p->load[best])
            best = p->subs[i];
    return best;
}

/* One partition of the topic from who has most to who has least, where that makes them more alike. */
static bool move_one(struct plan *p, uint32_t topic)
{
    uint32_t to = least_loaded(p, topic), from = FREE;
    for (uint32_t i = p->base[topic]; i < p->base[topic + 1]; i++)
        if (from == FREE || p->load[p->owner[i]] > p->load[p->owner[from]])
            from = i;
    if (from == FREE || p->load[p->owner[from]] <= p->load[to] + 1)
        return false;
    give(p, from, to);
    return true;
}

struct topic_rank {
    uint32_t topic, subscribers;
};
static int by_subscribers(const void *x, const void *y)
{
    const struct topic_rank *a = x, *b = y;
    if (a->subscribers != b->subscribers)
        return a->subscribers < b->subscribers ? -1 : 1;
    return (a->topic > b->topic) - (a->topic < b->topic);
}

/* Subscriptions differ: topics with few subscribers first, each partition to who has least; then single moves
 * as long as one helps. The sum of the loads' squares falls with each, so they end. */
static void balance_uneven(struct plan *p, struct floe_arena *a)
{
    struct topic_rank *rank = consumer_alloc(a, p->topic_count, sizeof *rank);
    for (uint32_t t = 0; t < p->topic_count; t++)
        rank[t] = (struct topic_rank){t, p->first[t + 1] - p->first[t]};
    qsort(rank, p->topic_count, sizeof *rank, by_subscribers);
    for (uint32_t r = 0; r < p->topic_count; r++) {
        uint32_t t = rank[r].topic;
        for (uint32_t i = p->base[t]; i < p->base[t + 1] && rank[r].subscribers > 0; i++)
            if (p->owner[i] == FREE)
                give(p, i, least_loaded(p, t));
    }
    for (bool moved = true; moved;) {
        moved = false;
        for (uint32_t r = 0; r < p->topic_count; r++)
            while (rank[r].subscribers > 1 && move_one(p, rank[r].topic))
                moved = true;
    }
}

void assign_uniform(const struct assign_topic *t, uint32_t topics, struct assign_member *m, uint32_t members,
                    struct floe_arena *a)
{
    struct plan p = {.topics = t, .topic_count = topics, .members = m, .member_count = members};
    if (members == 0)
        return;
    plan_init(&p, a);
    retain(&p);
    if (homogeneous(&p) && m[0].topic_count == topics)
        balance_even(&p, a);
    else
        balance_uneven(&p, a);
    plan_out(&p, a);
}

/* ---- range --------------------------------------------------------------------------------------------- */

void assign_range(const struct assign_topic *t, uint32_t topics, struct assign_member *m, uint32_t members,
                  struct floe_arena *a)
{
    struct plan p = {.topics = t, .topic_count = topics, .members = m, .member_count = members};
    if (members == 0)
        return;
    plan_init(&p, a);
    for (uint32_t x = 0; x < topics; x++) {
        uint32_t n = p.first[x + 1] - p.first[x], place = p.base[x];
        for (uint32_t i = 0; i < n; i++) {
            uint32_t size = (uint32_t)t[x].partitions / n + (i < (uint32_t)t[x].partitions % n);
            while (size-- > 0)
                give(&p, place++, p.subs[p.first[x] + i]);
        }
    }
    plan_out(&p, a);
}
