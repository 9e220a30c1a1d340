/* The target assignment of a group, and a member's way from what it has to what it shall have. */
#include "consumer_int.h"

#include <floe/base/mutant.h>

#include <stdlib.h>

/* ---- the group as it will be ----------------------------------------------------------------------------
 */

struct line {                        /* a member of the new target */
    const struct consumer_member *m; /* null: the subject */
    struct floe_kstr id;
    const member_meta *meta;
    struct regex *regex; /* null: it has none */
    const struct parts *prior;
    const struct floe_kstr *names; /* what it subscribes to: by name, and what its expression matches */
    uint32_t name_count;
    bool shared; /* they are those of a line before */
};

static bool same(struct floe_kstr a, struct floe_kstr b)
{
    return a.n >= 0 && b.n >= 0 && floe_kstr_eq(a, b);
}

static struct line *list_members(const struct consumer *c, const struct consumer_subject *subject,
                                 uint32_t *n, struct floe_arena *a)
{
    struct line *out = consumer_alloc(a, (c ? c->count : 0) + 1ul, sizeof *out);
    *n = 0;
    if (subject && subject->meta)
        out[(*n)++] = (struct line){
            .id = subject->id, .meta = subject->meta, .regex = subject->regex, .prior = &subject->target};
    if (!c)
        return out;
    FLOE_LIST_EACH(it, &c->members)
    {
        const struct consumer_member *m = FLOE_LIST_ENTRY(it, struct consumer_member, link);
        struct floe_kstr id = floe_kstr(m->id);
        if (!m->leaving && (!subject || (!same(subject->id, id) && !same(subject->replaces, id))))
            out[(*n)++] =
                (struct line){.m = m, .id = id, .meta = m->meta, .regex = m->regex, .prior = &m->target};
    }
    return out;
}

static int by_name(const void *x, const void *y)
{
    const struct floe_kstr *a = x, *b = y;
    int d = memcmp(a->p, b->p, (size_t)FLOE_MIN(a->n, b->n));
    return d ? d : (a->n > b->n) - (a->n < b->n);
}

/* Topics whose names the expression matches; of one that is not ready, those that the member has. */
static struct floe_kstr *matched(const struct line *l, struct floe_catalog *topics, uint32_t *n,
                                 struct floe_arena *a)
{
    bool ready = l->regex->ready;
    uint32_t all = ready ? l->regex->seen : l->prior->n;
    struct floe_kstr *out = consumer_alloc(a, all, sizeof *out);
    *n = 0;
    for (uint32_t i = 0; i < all; i = ready ? i + 1 : parts_topic_end(l->prior, i)) {
        const struct floe_topic *t = !ready ? floe_catalog_by_id(topics, &l->prior->p[i].topic)
                                     : regex_has(l->regex, i) ? floe_catalog_name(topics, i)
                                                              : NULL;
        if (t && t->state == FLOE_TOPIC_LIVE)
            out[(*n)++] = floe_kstr(t->name);
    }
    return out;
}

/* Of lines of one expression the first one's names are all's. */
static bool share_matched(struct line *lines, uint32_t i)
{
    struct regex *r = lines[i].regex;
    uint32_t first = r->line;
    if (r->ready && lines[i].meta->SubscribedTopicNames_n <= 0) {
        if (first < i && lines[first].regex == r && lines[first].meta->SubscribedTopicNames_n <= 0) {
            lines[i].names = lines[first].names;
            lines[i].name_count = lines[first].name_count;
            return lines[i].shared = true;
        }
        r->line = i;
    }
    return false;
}

static bool same_names(const struct line *a, const struct line *b)
{
    bool same = a->name_count == b->name_count;
    for (uint32_t i = 0; same && i < a->name_count; i++)
        same = floe_kstr_eq(a->names[i], b->names[i]);
    return same;
}

/* Finds out what each line subscribes to. */
static void subscribe(struct line *lines, uint32_t n, struct floe_groups *g, struct floe_arena *a)
{
    for (uint32_t i = 0; i < n; i++)
        if (lines[i].regex)
            regex_look(g, lines[i].regex); /* first: all lines see the same */
    for (uint32_t i = 0; i < n; i++) {
        struct line *l = &lines[i];
        uint32_t named = (uint32_t)FLOE_MAX(l->meta->SubscribedTopicNames_n, 0), more;
        l->names = l->meta->SubscribedTopicNames;
        l->name_count = named;
        if (!l->regex)
            l->shared = i > 0 && same_names(l, &lines[i - 1]);
        if (!l->regex || share_matched(lines, i))
            continue;
        const struct floe_kstr *found = matched(l, g->cfg.catalog, &more, a);
        struct floe_kstr *both = consumer_alloc(a, (size_t)named + more, sizeof *both);
        if (named)
            memcpy(both, l->names, named * sizeof *both);
        if (more)
            memcpy(both + named, found, more * sizeof *both);
        l->names = both; /* one that is named and matched is twice there: later steps mind */
        l->name_count = named + more;
    }
}

/* Every name that somebody subscribes to, once. */
static struct floe_kstr *list_names(const struct line *lines, uint32_t n, uint32_t *count,
                                    struct floe_arena *a)
{
    size_t all = 0, kept = 0;
    for (uint32_t i = 0; i < n; i++)
        all += lines[i].shared ? 0 : lines[i].name_count;
    struct floe_kstr *out = consumer_alloc(a, all, sizeof *out);
    all = 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; !lines[i].shared && k < lines[i].name_count; k++)
            out[all++] = lines[i].names[k];
    if (all > 1)
        qsort(out, all, sizeof *out, by_name);
    for (size_t i = 0; i < all; i++)
        if (kept == 0 || !floe_kstr_eq(out[kept - 1], out[i]))
            out[kept++] = out[i];
    *count = (uint32_t)kept;
    return out;
}

static const struct floe_topic *topic_of(struct floe_catalog *topics, struct floe_kstr name)
{
    return name.n > 0 ? floe_catalog_by_name(topics, name.p, (size_t)name.n) : NULL;
}

uint64_t consumer_topics_hash(const struct consumer *c, struct floe_groups *g,
                              const struct consumer_subject *subject, struct floe_arena *a)
{
    uint32_t n, names;
    uint64_t hash = 0;
    struct line *lines = list_members(c, subject, &n, a);
    subscribe(lines, n, g, a);
    struct floe_kstr *name = list_names(lines, n, &names, a);
    for (uint32_t i = 0; i < names; i++) {
        const struct floe_topic *t = topic_of(g->cfg.catalog, name[i]);
        uint8_t bytes[24] = {0};
        if (!t)
            continue;
        memcpy(bytes, t->id.b, 16);
        memcpy(bytes + 16, &(uint64_t){group_hash(name[i].p, (size_t)name[i].n)}, 8);
        hash = hash * 31 + group_hash(bytes, sizeof bytes) + (uint64_t)t->partitions;
    }
    return hash;
}

/* ---- target -------------------------------------------------------------------------------------------- */

struct named_topic {
    struct assign_topic t;
    struct floe_kstr name;
    uint32_t at; /* in order of ids */
};
static int by_id(const void *x, const void *y)
{
    const struct named_topic *a = x, *b = y;
    return memcmp(a->t.id.b, b->t.id.b, sizeof a->t.id.b);
}
static int by_topic_name(const void *x, const void *y)
{
    const struct named_topic *a = x, *b = y;
    return by_name(&a->name, &b->name);
}
static int by_number(const void *x, const void *y)
{
    const uint32_t *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

/* Topics that exist of those that somebody subscribes to: in `sorted` by id; the result by name. */
static struct named_topic *list_topics(struct floe_catalog *topics, const struct line *lines, uint32_t n,
                                       uint32_t *count, struct assign_topic **sorted, struct floe_arena *a)
{
    uint32_t names, kept = 0;
    struct floe_kstr *name = list_names(lines, n, &names, a);
    struct named_topic *out = consumer_alloc(a, names, sizeof *out);
    for (uint32_t i = 0; i < names; i++) {
        const struct floe_topic *t = topic_of(topics, name[i]);
        if (t)
            out[kept++] = (struct named_topic){{t->id, t->partitions}, name[i], 0};
    }
    if (kept > 1)
        qsort(out, kept, sizeof *out, by_id);
    *sorted = consumer_alloc(a, kept, sizeof **sorted);
    for (uint32_t i = 0; i < kept; i++) {
        out[i].at = i;
        (*sorted)[i] = out[i].t;
    }
    if (kept > 1)
        qsort(out, kept, sizeof *out, by_topic_name);
    *count = kept;
    return out;
}

static void fill_topics(struct assign_member *to, const struct line *l, const struct named_topic *topics,
                        uint32_t n, struct floe_arena *a)
{
    uint32_t *at = consumer_alloc(a, l->name_count, sizeof *at);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < l->name_count; i++) {
        struct named_topic key = {.name = l->names[i]};
        const struct named_topic *t = n > 0 ? bsearch(&key, topics, n, sizeof key, by_topic_name) : NULL;
        if (t)
            at[kept++] = t->at;
    }
    if (kept > 1)
        qsort(at, kept, sizeof *at, by_number);
    for (uint32_t i = 0; i < kept; i++)
        if (to->topic_count == 0 || at[to->topic_count - 1] != at[i])
            at[to->topic_count++] = at[i];
    to->topics = at;
}

/* What most of those want that want a certain assignor; `uniform` where nobody does, or it is a draw. */
static bool wants_range(const struct line *lines, uint32_t n)
{
    uint32_t range = 0, uniform = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct floe_kstr name = lines[i].meta->ServerAssignor;
        range += name.n >= 0 && floe_kstr_is(name, "range");
        uniform += name.n >= 0 && floe_kstr_is(name, "uniform");
    }
    return range > uniform;
}

bool consumer_wants_range(const struct consumer *c, struct floe_arena *a)
{
    uint32_t n;
    struct line *lines = list_members(c, NULL, &n, a);
    return wants_range(lines, n);
}

static const char *text(struct floe_kstr s, struct floe_arena *a)
{
    if (s.n < 0)
        return NULL;
    const char *p = floe_arena_strndup(a, s.n > 0 ? s.p : "", (size_t)s.n);
    FLOE_ASSERT(p);
    return p;
}

void consumer_compute_target(struct change *x, const struct consumer *c, struct consumer_subject *subject,
                             int32_t epoch)
{
    uint32_t n, count;
    struct assign_topic *topics;
    struct line *lines = list_members(c, subject, &n, &x->a);
    subscribe(lines, n, x->s->g, &x->a);
    struct named_topic *named = list_topics(x->s->g->cfg.catalog, lines, n, &count, &topics, &x->a);
    struct assign_member *m = consumer_alloc(&x->a, n, sizeof *m);
    for (uint32_t i = 0; i < n; i++) {
        m[i] = (struct assign_member){.id = text(lines[i].id, &x->a),
                                      .instance = text(lines[i].meta->InstanceId, &x->a),
                                      .prior = *lines[i].prior};
        fill_topics(&m[i], &lines[i], named, count, &x->a);
    }
    (wants_range(lines, n) ? assign_range : assign_uniform)(topics, count, m, n, &x->a);
    for (uint32_t i = 0; i < n; i++) {
        if (!lines[i].m)
            subject->target = m[i].out; /* its record is the caller's */
        else if (!parts_eq(&m[i].out, lines[i].prior))
            change_target(x, lines[i].id, &m[i].out);
    }
    change_target_epoch(x, epoch);
}

/* ---- a member's way -------------------------------------------------------------------------------------
 */

/* Of `want`, what no other member has or gives back. */
static struct parts released(const struct consumer *c, const struct consumer_subject *subject,
                             struct parts want, struct floe_arena *a)
{
    if (!c || want.n == 0 || FLOE_MUTANT(GROUP_PARTITION_TWICE))
        return want;
    FLOE_LIST_EACH(it, &c->members)
    {
        const struct consumer_member *m = FLOE_LIST_ENTRY(it, struct consumer_member, link);
        struct floe_kstr id = floe_kstr(m->id);
        if (same(subject->id, id) || same(subject->replaces, id))
            continue;
        if (parts_meet(&want, &m->now.assigned))
            want = parts_filter(&want, &m->now.assigned, false, a);
        if (parts_meet(&want, &m->now.revoking))
            want = parts_filter(&want, &m->now.revoking, false, a);
    }
    return want;
}

struct consumer_current consumer_reconcile(const struct consumer *c, const struct consumer_subject *subject,
                                           const struct consumer_current *now, int32_t target_epoch,
                                           const struct parts *owned, struct floe_arena *a)
{
    const struct parts *target = &subject->target;
    struct consumer_current next = *now;
    if (now->state == MEMBER_STABLE && now->epoch == target_epoch)
        return next;
    if (now->state == MEMBER_UNREVOKED && (!owned || parts_meet(owned, &now->revoking)))
        return next; /* it has not given back what it shall */
    struct parts kept = parts_filter(&now->assigned, target, true, a);
    struct parts revoking = parts_filter(&now->assigned, target, false, a);
    if (revoking.n > 0 && (!owned || parts_meet(owned, &revoking))) {
        next.state = MEMBER_UNREVOKED;
        next.assigned = kept;
        next.revoking = revoking;
        return next;
    }
    struct parts missing = parts_filter(target, &kept, false, a);
    struct parts more = released(c, subject, missing, a);
    next.state = more.n < missing.n ? MEMBER_UNRELEASED : MEMBER_STABLE;
    next.assigned = parts_union(&kept, &more, a);
    next.revoking = (struct parts){NULL, 0};
    if (next.epoch != target_epoch) {
        next.previous = next.epoch;
        next.epoch = target_epoch;
    }
    return next;
}

bool consumer_waits(const struct consumer_member *m)
{
    struct consumer_subject subject = {.id = floe_kstr(m->id), .replaces = floe_kstr(NULL)};
    struct floe_arena a;
    floe_arena_init(&a, SIZE_MAX / 2);
    struct parts missing = parts_filter(&m->target, &m->now.assigned, false, &a);
    bool waits = released(m->c, &subject, missing, &a).n < missing.n;
    floe_arena_fini(&a);
    return waits;
}
