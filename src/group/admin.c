/* DescribeGroups 0–6, ListGroups 0–5, DeleteGroups 0–2. */
#include "group_int.h"

#include <stdlib.h>
#include <strings.h>

/* Read, delete, describe, describe and alter configurations, as bits of Kafka's AclOperation codes 3, 6, 8,
 * 10, 11. */
#define AUTHORIZED_ALL 0xd48

/* ---- DescribeGroups ----------------------------------------------------------------------------------- */

typedef struct floe_kafka_DescribeGroupsResponse describe_response;
typedef struct floe_kafka_DescribeGroupsResponse_DescribedGroup described;

/* Answers leave when every group's shard has committed what they tell. */
struct describe {
    struct floe_group_call *c;
    int32_t left;
    struct describe_part {
        struct group_wait w;
        struct describe *d;
        described *out;
    } * parts;
};

static void failed(described *out, int16_t error)
{
    out->ErrorCode = error;
    out->GroupState = floe_kstr("");
    out->ProtocolType = out->ProtocolData = floe_kstr("");
    out->Members_n = 0;
}

static void describe_finish(struct describe *d)
{
    if (--d->left == 0)
        group_answer(d->c);
}

static void on_committed(struct group_wait *w, bool committed)
{
    struct describe_part *p = FLOE_CONTAINER(w, struct describe_part, w);
    if (!committed)
        failed(p->out, FLOE_KERR_NOT_COORDINATOR);
    describe_finish(p->d);
}

static void describe_one(struct floe_groups *g, struct describe *d, int32_t i)
{
    const struct floe_kafka_DescribeGroupsRequest *in = d->c->request;
    described *out = &((describe_response *)d->c->response)->Groups[i];
    struct describe_part *p = &d->parts[i];
    struct group_shard *s;
    out->GroupId = in->Groups[i];
    int16_t error = groups_shard(g, in->Groups[i], true, &s);
    d->left++;
    if (error) {
        failed(out, error);
        describe_finish(d);
        return;
    }
    struct group *group = group_find(s, in->Groups[i]);
    if (!group || group->kind == GROUP_CONSUMER) {
        failed(out, d->c->version >= 6 ? FLOE_KERR_GROUP_ID_NOT_FOUND : 0);
        out->GroupState = floe_kstr("Dead");
        if (d->c->version >= 6)
            out->ErrorMessage =
                floe_kstr(group ? "The group uses the consumer protocol." : "The group is not found.");
    } else {
        classic_describe(group, out, d->c->arena);
    }
    if (in->IncludeAuthorizedOperations && !out->ErrorCode)
        out->AuthorizedOperations = AUTHORIZED_ALL;
    *p = (struct describe_part){.w = {.fn = on_committed}, .d = d, .out = out};
    journal_wait(s, &p->w);
}

void floe_group_describe(struct floe_groups *g, struct floe_group_call *c)
{
    c->g = g;
    const struct floe_kafka_DescribeGroupsRequest *in = c->request;
    int32_t n = FLOE_MAX(in->Groups_n, 0);
    describe_response *rs = group_response(c, &floe_kafka_DescribeGroupsResponse_desc);
    struct describe *d = floe_arena_alloc(c->arena, sizeof *d);
    if (rs && d) {
        rs->Groups = floe_kafka_array(&floe_kafka_DescribeGroupsResponse_DescribedGroup_desc, n, c->arena);
        d->parts = floe_arena_calloc(c->arena, (size_t)n, sizeof *d->parts);
    }
    if (!rs || !d || !rs->Groups || !d->parts) {
        c->response = NULL;
        group_answer(c);
        return;
    }
    rs->Groups_n = n;
    d->c = c;
    d->left = 1;
    for (int32_t i = 0; i < n; i++)
        describe_one(g, d, i);
    describe_finish(d);
}

/* ---- ListGroups --------------------------------------------------------------------------------------- */

typedef struct floe_kafka_ListGroupsResponse list_response;

static const char *state_of(const struct group *g)
{
    return g->kind == GROUP_CONSUMER ? consumer_state(g) : classic_state(g);
}
static const char *type_of(const struct group *g)
{
    return g->kind == GROUP_CONSUMER ? "consumer" : "classic";
}

/* What a group's state and type may be: those that a request asks for. */
static const char *const words[] = {
    "Empty",   "PreparingRebalance", "CompletingRebalance", "Stable", "Assigning", "Reconciling", "classic",
    "consumer"};
#define WORDS FLOE_COUNTOF(words)
struct filter {
    bool all, on[WORDS];
};

static struct filter filter_of(const struct floe_kstr *list, int32_t n)
{
    struct filter f = {.all = n <= 0};
    for (int32_t i = 0; i < n; i++)
        for (size_t k = 0; k < WORDS; k++)
            f.on[k] |= list[i].n > 0 && (size_t)list[i].n == strlen(words[k]) &&
                       strncasecmp(list[i].p, words[k], (size_t)list[i].n) == 0;
    return f;
}

static bool passes(const struct filter *f, const char *word)
{
    size_t k = 0;
    while (k < WORDS && strcmp(words[k], word) != 0)
        k++;
    return f->all || (k < WORDS && f->on[k]);
}

static void list_shard(const struct group_shard *s, struct floe_group_call *c, const struct filter *states,
                       const struct filter *types)
{
    list_response *rs = c->response;
    FLOE_LIST_EACH(it, &s->order)
    {
        const struct group *g = FLOE_LIST_ENTRY(it, struct group, link);
        if (!passes(states, state_of(g)) || !passes(types, type_of(g)))
            continue;
        struct floe_kafka_ListGroupsResponse_ListedGroup *out = &rs->Groups[rs->Groups_n++];
        out->GroupId = group_arena_str(c->arena, g->name);
        out->ProtocolType =
            g->kind == GROUP_CONSUMER ? floe_kstr("consumer") : classic_protocol_type(g, c->arena);
        out->GroupState = floe_kstr(state_of(g));
        out->GroupType = floe_kstr(type_of(g));
    }
}

/* The answer leaves when every shard has committed what it tells of it. */
struct list {
    struct floe_group_call *c;
    uint32_t left;
    struct list_part {
        struct group_wait w;
        struct list *l;
    } * parts;
};

static void list_finish(struct list *l)
{
    list_response *rs = l->c->response;
    if (--l->left > 0)
        return;
    if (rs->ErrorCode)
        rs->Groups_n = 0;
    group_answer(l->c);
}

static void on_listed(struct group_wait *w, bool committed)
{
    struct list *l = FLOE_CONTAINER(w, struct list_part, w)->l;
    list_response *rs = l->c->response;
    if (!committed) /* somebody else's by now: clients ask again, and find out who */
        rs->ErrorCode = FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS;
    list_finish(l);
}

static struct list *list_begin(struct floe_groups *g, struct floe_group_call *c)
{
    list_response *rs = group_response(c, &floe_kafka_ListGroupsResponse_desc);
    struct list *l = floe_arena_alloc(c->arena, sizeof *l);
    if (!rs || !l)
        return NULL;
    rs->Groups =
        floe_kafka_array(&floe_kafka_ListGroupsResponse_ListedGroup_desc, (int32_t)g->stats.groups, c->arena);
    *l = (struct list){.c = c, .left = 1};
    l->parts = floe_arena_calloc(c->arena, g->stats.shards, sizeof *l->parts);
    return rs->Groups && l->parts ? l : NULL;
}

void floe_group_list(struct floe_groups *g, struct floe_group_call *c)
{
    c->g = g;
    const struct floe_kafka_ListGroupsRequest *in = c->request;
    struct list *l = list_begin(g, c);
    struct filter states = filter_of(in->StatesFilter, in->StatesFilter_n);
    struct filter types = filter_of(in->TypesFilter, in->TypesFilter_n);
    if (!l) {
        c->response = NULL;
        group_answer(c);
        return;
    }
    list_response *rs = c->response;
    struct list_part *p = l->parts;
    if (!floe_lease_alive(g->cfg.lease))
        rs->ErrorCode = FLOE_KERR_COORDINATOR_NOT_AVAILABLE;
    FLOE_LIST_EACH(it, &g->list)
    {
        struct group_shard *s = FLOE_LIST_ENTRY(it, struct group_shard, link);
        if (s->state == SHARD_LOADING)
            rs->ErrorCode = FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS;
        if (rs->ErrorCode)
            break;
        list_shard(s, c, &states, &types);
        *p = (struct list_part){.w = {.fn = on_listed}, .l = l};
        l->left++;
        journal_wait(s, &p++->w);
    }
    list_finish(l);
}

/* ---- DeleteGroups ------------------------------------------------------------------------------------- */

typedef struct floe_kafka_DeleteGroupsResponse delete_response;
typedef struct floe_kafka_DeleteGroupsResponse_DeletableGroupResult deleted;

struct removal {
    struct floe_group_call *c;
    int32_t left;
    struct removal_part {
        struct group_wait w;
        struct removal *r;
        deleted *out;
    } * parts;
};

static void removal_finish(struct removal *r)
{
    if (--r->left == 0)
        group_answer(r->c);
}

static void on_removed(struct group_wait *w, bool committed)
{
    struct removal_part *p = FLOE_CONTAINER(w, struct removal_part, w);
    if (!committed)
        p->out->ErrorCode = FLOE_KERR_NOT_COORDINATOR;
    removal_finish(p->r);
}

static bool put_end(struct group_shard *s, struct group *g)
{
    journal_begin(s);
    offsets_put_tombstones(g);
    if (g->kind == GROUP_CLASSIC)
        classic_put_tombstones(g);
    else if (g->kind == GROUP_CONSUMER)
        consumer_put_tombstones(g);
    return journal_end(s, true);
}

static int16_t remove_group(struct group_shard *s, struct floe_kstr name)
{
    struct group *g = group_find(s, name);
    if (!g)
        return FLOE_KERR_GROUP_ID_NOT_FOUND;
    if (g->kind == GROUP_CLASSIC ? strcmp(classic_state(g), "Empty") != 0 /* ids handed out do not count */
                                 : g->kind == GROUP_CONSUMER && consumer_has_members(g))
        return FLOE_KERR_NON_EMPTY_GROUP;
    if (!put_end(s, g) && (!offsets_take_out(g) || !put_end(s, g)))
        return FLOE_KERR_UNKNOWN_SERVER_ERROR;
    group_free(g);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct floe_kstr *x = a, *y = b;
    int c = (x->n > y->n) - (x->n < y->n);
    return c || x->n <= 0 ? c : memcmp(x->p, y->p, (size_t)x->n);
}

/* The names, each once; how many. */
static int32_t each_once(const struct floe_kstr *in, int32_t n, struct floe_kstr *out)
{
    int32_t left = 0;
    for (int32_t i = 0; i < n; i++)
        out[i] = in[i];
    if (n > 1)
        qsort(out, (size_t)n, sizeof *out, by_name);
    for (int32_t i = 0; i < n; i++)
        if (left == 0 || by_name(&out[i], &out[left - 1]) != 0)
            out[left++] = out[i];
    return left;
}

void floe_group_delete(struct floe_groups *g, struct floe_group_call *c)
{
    c->g = g;
    const struct floe_kafka_DeleteGroupsRequest *in = c->request;
    int32_t n = FLOE_MAX(in->GroupsNames_n, 0);
    delete_response *rs = group_response(c, &floe_kafka_DeleteGroupsResponse_desc);
    struct removal *r = floe_arena_alloc(c->arena, sizeof *r);
    struct floe_kstr *names = NULL;
    if (rs && r) {
        rs->Results =
            floe_kafka_array(&floe_kafka_DeleteGroupsResponse_DeletableGroupResult_desc, n, c->arena);
        r->parts = floe_arena_calloc(c->arena, (size_t)n, sizeof *r->parts);
        names = floe_arena_calloc(c->arena, (size_t)n, sizeof *names);
    }
    if (!rs || !r || !rs->Results || !r->parts || !names) {
        c->response = NULL;
        group_answer(c);
        return;
    }
    n = each_once(in->GroupsNames, n, names);
    rs->Results_n = n;
    r->c = c;
    r->left = 1;
    for (int32_t i = 0; i < n; i++) {
        deleted *out = &rs->Results[i];
        struct group_shard *s;
        out->GroupId = names[i];
        out->ErrorCode = groups_shard(g, names[i], true, &s);
        if (!out->ErrorCode)
            out->ErrorCode = remove_group(s, names[i]);
        if (out->ErrorCode)
            continue;
        r->parts[i] = (struct removal_part){.w = {.fn = on_removed}, .r = r, .out = out};
        r->left++;
        journal_wait(s, &r->parts[i].w);
    }
    removal_finish(r);
}
