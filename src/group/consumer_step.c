/* What one request of a member changes: its member record, the group's epoch, the target assignment, and
 * where the member goes from where it is. The same for members of both protocols. */
#include "consumer_int.h"

#include <stdlib.h>

static int by_name(const void *x, const void *y)
{
    const struct floe_kstr *a = x, *b = y;
    int d = memcmp(a->p, b->p, (size_t)FLOE_MIN(a->n, b->n));
    return d ? d : (a->n > b->n) - (a->n < b->n);
}

void consumer_set_names(member_meta *to, const struct floe_kstr *from, int32_t count, struct floe_arena *a)
{
    struct floe_kstr *names = consumer_alloc(a, (size_t)FLOE_MAX(count, 0), sizeof *names);
    int32_t n = 0;
    for (int32_t i = 0; i < count; i++)
        names[i] = from[i];
    if (count > 1)
        qsort(names, (size_t)count, sizeof *names, by_name);
    for (int32_t i = 0; i < count; i++)
        if (n == 0 || !floe_kstr_eq(names[n - 1], names[i]))
            names[n++] = names[i];
    to->SubscribedTopicNames = names;
    to->SubscribedTopicNames_n = n;
}

static bool same_text(struct floe_kstr a, struct floe_kstr b)
{
    return a.n < 0 || b.n < 0 ? a.n == b.n || (a.n < 0 && b.n < 0) : floe_kstr_eq(a, b);
}

static bool same_work(const member_meta *a, const member_meta *b) /* the target may stay */
{
    if (a->SubscribedTopicNames_n != b->SubscribedTopicNames_n ||
        !same_text(a->ServerAssignor, b->ServerAssignor) ||
        !same_text(a->SubscribedTopicRegex, b->SubscribedTopicRegex))
        return false;
    for (int32_t i = 0; i < a->SubscribedTopicNames_n; i++)
        if (!floe_kstr_eq(a->SubscribedTopicNames[i], b->SubscribedTopicNames[i]))
            return false;
    return true;
}

static bool same_classic(const classic_meta *a, const classic_meta *b)
{
    if (!a || !b)
        return a == b;
    if (a->SessionTimeoutMs != b->SessionTimeoutMs || a->SupportedProtocols_n != b->SupportedProtocols_n)
        return false;
    for (int32_t i = 0; i < a->SupportedProtocols_n; i++) {
        const classic_meta_protocol *p = &a->SupportedProtocols[i], *q = &b->SupportedProtocols[i];
        if (!same_text(p->Name, q->Name) || p->Metadata.n != q->Metadata.n ||
            (p->Metadata.n > 0 && memcmp(p->Metadata.p, q->Metadata.p, (size_t)p->Metadata.n) != 0))
            return false;
    }
    return true;
}

static bool same_meta(const member_meta *a, const member_meta *b)
{
    return same_work(a, b) && same_text(a->InstanceId, b->InstanceId) && same_text(a->RackId, b->RackId) &&
           same_text(a->ClientId, b->ClientId) && same_text(a->ClientHost, b->ClientHost) &&
           a->RebalanceTimeoutMs == b->RebalanceTimeoutMs &&
           same_classic(a->ClassicMemberMetadata, b->ClassicMemberMetadata);
}

/* ---- the step --------------------------------------------------------------------------------------------
 */

static bool same_current(const struct consumer_current *a, const struct consumer_current *b)
{
    return a->epoch == b->epoch && a->previous == b->previous && a->state == b->state &&
           parts_eq(&a->assigned, &b->assigned) && parts_eq(&a->revoking, &b->revoking);
}

uint64_t consumer_topics_state(const struct floe_groups *g)
{
    return floe_catalog_changes(g->cfg.catalog) + g->regexes.found;
}

static bool refresh_due(const struct consumer *c, uint64_t now)
{
    return c->checked_us == 0 || (c->checked != consumer_topics_state(c->g->shard->g) &&
                                  now - c->checked_us >= CONSUMER_REFRESH_US);
}

/* Before the topics are looked at: what is found meanwhile is looked at again. */
static void checked(struct consumer *c, uint64_t now)
{
    c->checked_us = now;
    c->checked = consumer_topics_state(c->g->shard->g);
}

/* The group's epoch after this, and its record. */
static int32_t next_epoch(struct consumer_step *b, bool bump)
{
    struct floe_groups *g = b->g;
    uint64_t now = group_now_us(g), hash = b->c ? b->c->hash : 0;
    int32_t epoch = b->c ? b->c->epoch : 0;
    if (bump || refresh_due(b->c, now)) {
        if (b->c)
            checked(b->c, now);
        hash = consumer_topics_hash(b->c, g, &b->subject, &b->x.a);
    }
    if (!bump && hash == b->c->hash)
        return epoch;
    change_group(&b->x, epoch + 1, hash);
    return epoch + 1;
}

struct consumer_current consumer_step(struct consumer_step *b, const member_meta *meta)
{
    const struct consumer_member *from = b->m ? b->m : b->old;
    bool fresh = !b->m;
    struct consumer_current now = {.assigned = {NULL, 0}};
    b->subject = (struct consumer_subject){.id = b->id,
                                           .replaces = b->old ? floe_kstr(b->old->id) : floe_kstr(NULL),
                                           .meta = meta,
                                           .regex = regex_find(b->g, b->x.group, meta->SubscribedTopicRegex)};
    if (from) {
        b->subject.target = from->target;
        now = from->now;
    }
    if (b->old || now.epoch < 0) /* back after a leave: nobody is asked to give back what it had */
        now.epoch = now.previous = 0;
    if (fresh || !same_meta(meta, b->m->meta))
        change_member(&b->x, b->id, meta);
    struct parts target = b->subject.target;
    int32_t epoch = next_epoch(b, !from || !same_work(meta, from->meta));
    int32_t target_epoch = b->c ? b->c->target_epoch : 0;
    if (epoch > target_epoch) {
        consumer_compute_target(&b->x, b->c, &b->subject, epoch);
        target_epoch = epoch;
    }
    if (fresh || !parts_eq(&target, &b->subject.target))
        change_target(&b->x, b->id, &b->subject.target);
    struct consumer_current next =
        consumer_reconcile(b->c, &b->subject, &now, target_epoch, b->owned, &b->x.a);
    if (fresh || !same_current(&next, &b->m->now))
        change_current(&b->x, b->id, &next);
    if (b->old) /* last: the other records may borrow from it */
        change_remove(&b->x, floe_kstr(b->old->id));
    return next;
}

/* ---- topics -------------------------------------------------------------------------------------------- */

void consumer_refresh(struct consumer *c)
{
    struct floe_groups *g = c->g->shard->g;
    uint64_t now = group_now_us(g);
    struct change x;
    if (!refresh_due(c, now) || !floe_catalog_loaded(g->cfg.catalog) || consumer_topics_unsure(c))
        return;
    checked(c, now);
    change_begin(&x, c->g->shard, floe_kstr(c->g->name));
    uint64_t hash = consumer_topics_hash(c, g, NULL, &x.a);
    if (hash == c->hash) {
        change_drop(&x);
        return;
    }
    change_group(&x, c->epoch + 1, hash);
    (void)!change_commit(&x); /* a few bytes: always fits */
}

bool consumer_topic_unsure(struct group_shard *s, struct floe_kstr name, uint64_t since_us)
{
    struct floe_catalog *topics = s->g->cfg.catalog;
    return name.n > 0 && floe_catalog_revision(topics, name.p, (size_t)name.n) == 0 &&
           !floe_catalog_read_since(topics, since_us);
}

bool consumer_topics_unsure(struct consumer *c)
{
    struct group_shard *s = c->g->shard;
    bool unsure = false;
    if (c->topics_known)
        return false;
    FLOE_LIST_EACH(it, &c->members)
    {
        const member_meta *meta = FLOE_LIST_ENTRY(it, struct consumer_member, link)->meta;
        for (int32_t i = 0; i < meta->SubscribedTopicNames_n && !unsure; i++)
            unsure = consumer_topic_unsure(s, meta->SubscribedTopicNames[i], s->loaded_us);
    }
    c->topics_known = !unsure;
    return unsure;
}

bool consumer_lookup_failed(const struct floe_group_call *call, struct floe_catalog *topics,
                            const struct floe_kstr *names, int32_t n)
{
    for (int32_t i = 0; i < n && call->topics_unsure; i++)
        if (names[i].n > 0 && floe_catalog_revision(topics, names[i].p, (size_t)names[i].n) == 0)
            return true;
    return false;
}
