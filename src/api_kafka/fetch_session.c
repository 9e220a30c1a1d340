/* See fetch_session.h. A session is two arrays: topics in the order of their names or ids, and partitions in
 * the order of (topic, index). An update of what is there changes it in place; another set of partitions
 * makes new arrays. */
#include "api_kafka/fetch_session.h"
#include <stdlib.h>

struct topic {
    struct floe_kstr name; /* n < 0: by id */
    struct floe_uuid id;
    uint32_t first, n; /* its partitions */
};
struct part {
    int64_t offset, high_watermark, log_start; /* the last two as the client was told; -1: tell it again */
    uint32_t topic;
    int32_t index, leader_epoch, last_epoch, bytes;
};
struct fetch_session {
    struct floe_map_node node;
    struct floe_list link;
    int32_t id, epoch;
    bool by_id, gone;
    uint32_t uses, topics, n;
    uint32_t start; /* the first partition of the next answer: behind the one that was answered last */
    uint64_t made_us, used_us;
    size_t cost;
    struct topic *topic;
    struct part *part;
    char *names;
};

void fetch_sessions_init(struct fetch_sessions *c, struct floe_loop *loop, uint32_t slots, size_t bytes)
{
    *c = (struct fetch_sessions){.loop = loop, .slots = slots};
    floe_map_init(&c->by_id);
    floe_list_init(&c->used);
    floe_list_init(&c->gone);
    floe_budget_init(&c->bytes, bytes);
}

static void destroy(struct fetch_sessions *c, struct fetch_session *s)
{
    floe_list_remove(&s->link);
    floe_budget_give(&c->bytes, s->cost);
    free(s->topic);
    free(s->part);
    free(s->names);
    free(s);
}

void fetch_sessions_fini(struct fetch_sessions *c)
{
    FLOE_LIST_EACH_SAFE(it, &c->used)
    destroy(c, FLOE_LIST_ENTRY(it, struct fetch_session, link));
    FLOE_LIST_EACH_SAFE(it, &c->gone)
    destroy(c, FLOE_LIST_ENTRY(it, struct fetch_session, link));
    floe_map_fini(&c->by_id);
}

uint64_t fetch_sessions_partitions(const struct fetch_sessions *c)
{
    uint64_t n = 0;
    FLOE_LIST_EACH(it, &c->used)
    n += FLOE_LIST_ENTRY(it, struct fetch_session, link)->n;
    return n;
}

static struct fetch_session *find(const struct fetch_sessions *c, int32_t id)
{
    struct floe_map_node *node = floe_map_first(&c->by_id, (uint64_t)id);
    return node ? FLOE_MAP_ENTRY(node, struct fetch_session, node) : NULL; /* the hash is the id */
}

static void take_out(struct fetch_sessions *c, struct fetch_session *s)
{
    floe_map_remove(&c->by_id, &s->node);
    s->gone = true;
    if (s->uses == 0) {
        destroy(c, s);
        return;
    }
    floe_list_remove(&s->link);
    floe_list_push_back(&c->gone, &s->link);
}

/* ---- the set of partitions --------------------------------------------------------------------------- */

static int32_t compare_topics(const struct floe_kstr *a, const struct floe_uuid *ai,
                              const struct floe_kstr *b, const struct floe_uuid *bi)
{
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    return a->n < 0 ? memcmp(ai, bi, sizeof *ai) : memcmp(a->p, b->p, (size_t)a->n);
}

static struct topic *find_topic(const struct fetch_session *s, const struct floe_kstr *name,
                                const struct floe_uuid *id)
{
    for (uint32_t low = 0, high = s->topics; low < high;) {
        uint32_t mid = (low + high) / 2;
        int32_t d = compare_topics(&s->topic[mid].name, &s->topic[mid].id, name, id);
        if (d == 0)
            return &s->topic[mid];
        if (d < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

static struct part *find_part(const struct fetch_session *s, const struct topic *t, int32_t index)
{
    for (uint32_t low = t->first, high = t->first + t->n; low < high;) {
        uint32_t mid = (low + high) / 2;
        if (s->part[mid].index == index)
            return &s->part[mid];
        if (s->part[mid].index < index)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

static void ask(struct part *p, const struct floe_kafka_FetchRequest_FetchPartition *in)
{
    p->offset = in->FetchOffset;
    p->leader_epoch = in->CurrentLeaderEpoch;
    p->last_epoch = in->LastFetchedEpoch;
    p->bytes = in->PartitionMaxBytes;
}

static struct floe_kstr key_of(bool by_id, struct floe_kstr name)
{
    return by_id || name.n < 0 ? (struct floe_kstr){NULL, -1} : name;
}

/* Is every partition of the request there, and none forgotten? Then it is up to date after this. */
static bool update_in_place(struct fetch_session *s, const struct floe_kafka_FetchRequest *in)
{
    for (int32_t i = 0; i < in->Topics_n; i++) {
        struct floe_kstr name = key_of(s->by_id, in->Topics[i].Topic);
        const struct topic *t = find_topic(s, &name, &in->Topics[i].TopicId);
        for (int32_t j = 0; j < in->Topics[i].Partitions_n; j++) {
            struct part *p = t ? find_part(s, t, in->Topics[i].Partitions[j].Partition) : NULL;
            if (!p)
                return false;
            ask(p, &in->Topics[i].Partitions[j]);
        }
    }
    return in->ForgottenTopicsData_n <= 0;
}

/* A partition on its way into new arrays: of several with one key the last one holds. */
struct entry {
    struct floe_kstr name;
    struct floe_uuid id;
    struct part part;
    uint32_t turn;
    bool known, forget;
};

static int by_key(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int32_t d = compare_topics(&x->name, &x->id, &y->name, &y->id);
    if (d)
        return d;
    if (x->part.index != y->part.index)
        return x->part.index < y->part.index ? -1 : 1;
    return x->turn < y->turn ? -1 : x->turn > y->turn;
}

static bool same_key(const struct entry *a, const struct entry *b)
{
    return a->part.index == b->part.index && compare_topics(&a->name, &a->id, &b->name, &b->id) == 0;
}

/* The partitions of a session (none yet: null), changed by a request; sorted, each once. Null when memory is
 * out. */
static struct entry *gather(const struct fetch_session *s, bool by_id,
                            const struct floe_kafka_FetchRequest *in, struct floe_arena *arena,
                            uint32_t *count)
{
    size_t most = s ? s->n : 0;
    for (int32_t i = 0; i < in->Topics_n; i++)
        most += (size_t)FLOE_MAX(in->Topics[i].Partitions_n, 0);
    for (int32_t i = 0; i < in->ForgottenTopicsData_n; i++)
        most += (size_t)FLOE_MAX(in->ForgottenTopicsData[i].Partitions_n, 0);
    struct entry *all = floe_arena_calloc(arena, FLOE_MAX(most, (size_t)1), sizeof *all);
    uint32_t n = 0, kept = 0;
    if (!all)
        return NULL;
    for (; s && n < s->n; n++) {
        const struct topic *t = &s->topic[s->part[n].topic];
        all[n] = (struct entry){t->name, t->id, s->part[n], n, true, false};
    }
    for (int32_t i = 0; i < in->Topics_n; i++) {
        for (int32_t j = 0; j < in->Topics[i].Partitions_n; j++, n++) {
            all[n] = (struct entry){
                .name = key_of(by_id, in->Topics[i].Topic), .id = in->Topics[i].TopicId, .turn = n};
            all[n].part = (struct part){
                .high_watermark = -1, .log_start = -1, .index = in->Topics[i].Partitions[j].Partition};
            ask(&all[n].part, &in->Topics[i].Partitions[j]);
        }
    }
    for (int32_t i = 0; i < in->ForgottenTopicsData_n; i++) {
        const struct floe_kafka_FetchRequest_ForgottenTopic *t = &in->ForgottenTopicsData[i];
        for (int32_t j = 0; j < t->Partitions_n; j++, n++)
            all[n] = (struct entry){
                key_of(by_id, t->Topic), t->TopicId, {.index = t->Partitions[j]}, n, false, true};
    }
    qsort(all, n, sizeof *all, by_key);
    for (uint32_t i = 0; i < n; i++) {
        if (kept && same_key(&all[kept - 1], &all[i])) {
            bool known = all[kept - 1].known && !all[i].forget;
            struct part was = all[kept - 1].part;
            all[kept - 1] = all[i];
            all[kept - 1].known = known;
            if (known) { /* what the client was told stays */
                all[kept - 1].part.high_watermark = was.high_watermark;
                all[kept - 1].part.log_start = was.log_start;
            }
        } else {
            all[kept++] = all[i];
        }
    }
    for (uint32_t i = n = 0; i < kept; i++) {
        if (!all[i].forget)
            all[n++] = all[i];
    }
    *count = n;
    return all;
}

struct shape {
    uint32_t topics;
    size_t names, cost;
};
static struct shape measure(const struct entry *all, uint32_t n)
{
    struct shape h = {0, 0, 0};
    for (uint32_t i = 0; i < n; i++) {
        if (i && compare_topics(&all[i - 1].name, &all[i - 1].id, &all[i].name, &all[i].id) == 0)
            continue;
        h.topics++;
        h.names += (size_t)FLOE_MAX(all[i].name.n, 0);
    }
    h.cost =
        sizeof(struct fetch_session) + n * sizeof(struct part) + h.topics * sizeof(struct topic) + h.names;
    return h;
}

/* Gives the session these partitions; false, and nothing changed, when memory is out. Their cost is taken
 * already. */
static bool set(struct fetch_session *s, const struct entry *all, uint32_t n, const struct shape *h)
{
    struct topic *topic = calloc(FLOE_MAX(h->topics, 1u), sizeof *topic);
    struct part *part = calloc(FLOE_MAX(n, 1u), sizeof *part);
    char *names = malloc(FLOE_MAX(h->names, (size_t)1)), *at = names;
    uint32_t topics = 0;
    if (!topic || !part || !names) {
        free(topic);
        free(part);
        free(names);
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!i || compare_topics(&all[i - 1].name, &all[i - 1].id, &all[i].name, &all[i].id)) {
            struct topic *t = &topic[topics++];
            *t = (struct topic){all[i].name, all[i].id, i, 0};
            if (t->name.n >= 0) {
                memcpy(at, t->name.p, (size_t)t->name.n);
                t->name.p = at;
                at += t->name.n;
            }
        }
        part[i] = all[i].part;
        part[i].topic = topics - 1;
        topic[topics - 1].n++;
    }
    free(s->topic);
    free(s->part);
    free(s->names);
    s->topic = topic;
    s->part = part;
    s->names = names;
    s->topics = topics;
    s->n = n;
    s->start = s->start < n ? s->start : 0;
    s->cost = h->cost;
    return true;
}

/* ---- the cache --------------------------------------------------------------------------------------- */

/* Room for one more session; one that is worth less goes. */
static bool make_room(struct fetch_sessions *c, uint32_t n, size_t cost)
{
    uint64_t now = floe_loop_now_us(c->loop);
    while (c->by_id.n >= c->slots || floe_budget_used(&c->bytes) + cost > c->bytes.limit) {
        struct fetch_session *victim = NULL;
        FLOE_LIST_EACH_SAFE(it, &c->used)
        {
            struct fetch_session *s = FLOE_LIST_ENTRY(it, struct fetch_session, link);
            if (it == c->used.next && now - s->used_us > FETCH_SESSION_STALE_US) {
                victim = s;
                break;
            }
            if (now - s->made_us > FETCH_SESSION_STALE_US && s->n < n && (!victim || s->n < victim->n))
                victim = s;
        }
        if (!victim)
            return false;
        c->evictions++;
        take_out(c, victim);
    }
    return true;
}

static int32_t next_epoch(int32_t epoch)
{
    return epoch == INT32_MAX ? 1 : epoch + 1;
}

static int32_t new_id(struct fetch_sessions *c)
{
    int32_t id;
    do
        id = (int32_t)(floe_rng_u64(&c->loop->rng) >> 33);
    while (id == 0 || find(c, id));
    return id;
}

static struct fetch_session *make(struct fetch_sessions *c, struct floe_request *rq,
                                  const struct floe_kafka_FetchRequest *in)
{
    uint32_t n;
    bool by_id = rq->head.api_version >= 13;
    struct entry *all = c->slots ? gather(NULL, by_id, in, &rq->arena, &n) : NULL;
    if (!all)
        return NULL;
    struct shape h = measure(all, n);
    struct fetch_session *s = make_room(c, n, h.cost) ? calloc(1, sizeof *s) : NULL;
    if (!s)
        return NULL;
    floe_list_init(&s->link);
    s->by_id = by_id;
    s->epoch = 1;
    s->id = new_id(c);
    s->made_us = s->used_us = floe_loop_now_us(c->loop);
    if (!set(s, all, n, &h) || !floe_map_insert(&c->by_id, &s->node, (uint64_t)s->id)) {
        s->cost = 0;
        destroy(c, s);
        return NULL;
    }
    floe_budget_force(&c->bytes, s->cost);
    floe_list_push_back(&c->used, &s->link);
    return s;
}

/* ---- a request --------------------------------------------------------------------------------------- */

/* Another set of partitions. False when there is no memory for them. */
static bool change(struct fetch_sessions *c, struct fetch_session *s, struct floe_request *rq,
                   const struct floe_kafka_FetchRequest *in)
{
    uint32_t n;
    struct entry *all = gather(s, s->by_id, in, &rq->arena, &n);
    if (!all)
        return false;
    struct shape h = measure(all, n);
    size_t was = s->cost;
    floe_budget_give(&c->bytes, was);
    bool ok = floe_budget_used(&c->bytes) + h.cost <= c->bytes.limit && set(s, all, n, &h);
    floe_budget_force(&c->bytes, s->cost);
    return ok;
}

/* The session as a request, from its partition `start` on, in runs of one topic. Names are copied: the
 * session may change while the request waits. Null when memory is out. */
static const struct floe_kafka_FetchRequest *whole(const struct fetch_session *s, struct floe_request *rq,
                                                   const struct floe_kafka_FetchRequest *in)
{
    struct floe_kafka_FetchRequest *all = floe_arena_alloc(&rq->arena, sizeof *all);
    struct floe_kafka_FetchRequest_FetchTopic *t = floe_arena_calloc(&rq->arena, s->topics + 1, sizeof *t);
    struct floe_kafka_FetchRequest_FetchPartition *p = floe_arena_calloc(&rq->arena, s->n, sizeof *p);
    if (!all || !t || !p)
        return NULL;
    *all = *in;
    all->Topics = t;
    all->Topics_n = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t at = (s->start + i) % s->n;
        const struct part *from = &s->part[at];
        if (i == 0 || at == 0 || from->topic != s->part[at - 1].topic) {
            struct floe_kafka_FetchRequest_FetchTopic *run = &t[all->Topics_n++];
            const struct topic *of = &s->topic[from->topic];
            run->TopicId = of->id;
            run->Topic = of->name;
            run->Partitions = &p[i];
            if (of->name.n > 0 &&
                !(run->Topic.p = floe_arena_strndup(&rq->arena, of->name.p, (size_t)of->name.n)))
                return NULL;
        }
        t[all->Topics_n - 1].Partitions_n++;
        p[i] = (struct floe_kafka_FetchRequest_FetchPartition){.Partition = from->index,
                                                               .CurrentLeaderEpoch = from->leader_epoch,
                                                               .FetchOffset = from->offset,
                                                               .LastFetchedEpoch = from->last_epoch,
                                                               .LogStartOffset = -1,
                                                               .PartitionMaxBytes = from->bytes};
    }
    return all;
}

int16_t fetch_session_begin(struct fetch_sessions *c, struct floe_request *rq,
                            const struct floe_kafka_FetchRequest **in, struct fetch_use *use)
{
    int32_t id = (*in)->SessionId, epoch = (*in)->SessionEpoch;
    struct fetch_session *s = id ? find(c, id) : NULL;
    *use = (struct fetch_use){0};
    if (epoch == 0 || epoch == -1) { /* full; it also ends the session that it names */
        if (s)
            take_out(c, s);
        use->make = epoch == 0;
        return 0;
    }
    if (!s)
        return FLOE_KERR_FETCH_SESSION_ID_NOT_FOUND;
    if (s->epoch != epoch)
        return FLOE_KERR_INVALID_FETCH_SESSION_EPOCH;
    if (s->by_id != (rq->head.api_version >= 13))
        return FLOE_KERR_FETCH_SESSION_TOPIC_ID_ERROR;
    if (!update_in_place(s, *in) && !change(c, s, rq, *in)) {
        c->evictions++;
        take_out(c, s);
        return FLOE_KERR_FETCH_SESSION_ID_NOT_FOUND; /* the client begins again */
    }
    if (s->n == 0) { /* nothing is left of it */
        take_out(c, s);
        return 0;
    }
    const struct floe_kafka_FetchRequest *all = whole(s, rq, *in);
    if (!all)
        return FLOE_KERR_UNKNOWN_SERVER_ERROR;
    *in = all;
    s->epoch = next_epoch(s->epoch);
    s->used_us = floe_loop_now_us(c->loop);
    floe_list_remove(&s->link);
    floe_list_push_back(&c->used, &s->link);
    s->uses++;
    *use = (struct fetch_use){.session = s, .epoch = s->epoch};
    return 0;
}

void fetch_session_drop(struct fetch_sessions *c, struct fetch_use *use)
{
    struct fetch_session *s = use->session;
    use->session = NULL;
    use->make = false;
    if (s && --s->uses == 0 && s->gone)
        destroy(c, s);
}

/* Must the client hear of this partition? Remembers what it hears. */
static bool news(struct part *p, const struct floe_kafka_FetchResponse_PartitionData *out)
{
    bool again = out->ErrorCode || out->DivergingEpoch.Epoch >= 0;
    bool tell = again || out->Records.n > 0 || out->PreferredReadReplica >= 0 ||
                p->high_watermark != out->HighWatermark || p->log_start != out->LogStartOffset;
    p->high_watermark = again ? -1 : out->HighWatermark; /* when that is over, it is told */
    p->log_start = out->LogStartOffset;
    return tell;
}

/* Keeps what is new, in the answer's own arrays. */
static void keep_news(struct fetch_session *s, struct floe_kafka_FetchResponse *rs)
{
    uint32_t at = 0, last = s->n;
    int32_t topics = 0;
    for (int32_t i = 0; i < rs->Responses_n; i++) {
        struct floe_kafka_FetchResponse_FetchableTopicResponse *t = &rs->Responses[i];
        int32_t n = 0;
        for (int32_t j = 0; j < t->Partitions_n; j++, at++) {
            uint32_t place = (s->start + at) % s->n;
            last = t->Partitions[j].Records.n > 0 ? place : last;
            if (news(&s->part[place], &t->Partitions[j]))
                t->Partitions[n++] = t->Partitions[j];
        }
        t->Partitions_n = n;
        if (n)
            rs->Responses[topics++] = *t;
    }
    rs->Responses_n = topics;
    if (last < s->n)
        s->start = (last + 1) % s->n;
}

/* A full answer: the client has heard all of it. */
static void told_all(struct fetch_session *s, const struct floe_kafka_FetchRequest *in,
                     const struct floe_kafka_FetchResponse *rs)
{
    for (int32_t i = 0; i < in->Topics_n; i++) {
        struct floe_kstr name = key_of(s->by_id, in->Topics[i].Topic);
        const struct topic *t = find_topic(s, &name, &in->Topics[i].TopicId);
        for (int32_t j = 0; t && j < in->Topics[i].Partitions_n; j++) {
            struct part *p = find_part(s, t, in->Topics[i].Partitions[j].Partition);
            if (p)
                news(p, &rs->Responses[i].Partitions[j]);
        }
    }
}

void fetch_session_answer(struct fetch_sessions *c, struct floe_request *rq,
                          const struct floe_kafka_FetchRequest *in, struct floe_kafka_FetchResponse *rs,
                          struct fetch_use *use)
{
    struct fetch_session *s = use->session;
    if (use->make) {
        s = make(c, rq, in);
        if (s) {
            told_all(s, in, rs);
            rs->SessionId = s->id;
        }
    } else if (s && s->epoch != use->epoch) { /* overtaken by a request of the same session */
        rs->SessionId = s->id;
        rs->ErrorCode = FLOE_KERR_INVALID_FETCH_SESSION_EPOCH;
        rs->Responses_n = 0;
    } else if (s) {
        rs->SessionId = s->id;
        keep_news(s, rs);
    }
    fetch_session_drop(c, use);
}
