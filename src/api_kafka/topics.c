/* CreateTopics 2–7 and DeleteTopics 1–6. Checks and sentences follow Kafka's ReplicationControlManager; an
 * operation that outlasts the request's time goes on after REQUEST_TIMED_OUT. */
#include "api_kafka/api_int.h"
#include <floe/kafka/configs.h>
#include <stdio.h>
#include <stdlib.h>

/* The store keeps the copies, so that as many replicas are taken however few brokers there are; more than
 * that and than there are brokers is a mistake. */
#define REPLICAS_ALWAYS 5
#define TOPICS_MAX 10000      /* of one request */
#define PARTITIONS_MAX 100000 /* made by one request */

typedef struct floe_kafka_CreateTopicsRequest_CreatableTopic creatable;
typedef struct floe_kafka_CreateTopicsResponse_CreatableTopicResult created_topic;

struct work {
    struct admin *a;
    struct floe_catalog_op *op; /* null: finished or not begun */
    created_topic *made;
    struct floe_kafka_DeleteTopicsResponse_DeletableTopicResult *gone;
    struct floe_topic_spec spec;
    bool finished, repeated, copy; /* copy: and not the first; it is left out of the answer */
};
struct admin {
    struct floe_api *api;
    struct floe_request *rq;
    void *rs;
    struct api_want *wants;
    struct work *works;
    uint32_t n, open;
    struct metric *metrics; /* creation */
    uint32_t metric_count;
    struct floe_timer timer;
};

/* Kafka tells of what is named several times once. */
static void drop_copies(struct admin *a)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < a->n; i++) {
        struct work *w = &a->works[i];
        if (w->copy)
            continue;
        if (w->made)
            ((struct floe_kafka_CreateTopicsResponse *)a->rs)->Topics[left] = *w->made;
        else
            ((struct floe_kafka_DeleteTopicsResponse *)a->rs)->Responses[left] = *w->gone;
        left++;
    }
    if (a->n > 0 && a->works[0].made)
        ((struct floe_kafka_CreateTopicsResponse *)a->rs)->Topics_n = (int32_t)left;
    else if (a->n > 0)
        ((struct floe_kafka_DeleteTopicsResponse *)a->rs)->Responses_n = (int32_t)left;
}

static void answer_when_done(struct admin *a)
{
    if (a->open > 0)
        return;
    floe_timer_stop(&a->timer);
    drop_copies(a);
    a->rq->response = a->rs;
    floe_request_complete(a->rq);
}

static void finish(struct work *w, int16_t error, const char *message)
{
    struct floe_kstr text = {NULL, -1};
    if (error)
        text = message && *message ? api_copy(w->a->rq, message) : floe_kstr(floe_kafka_error_message(error));
    if (w->made) {
        w->made->ErrorCode = error;
        w->made->ErrorMessage = text;
        if (error) {
            w->made->NumPartitions = -1;
            w->made->ReplicationFactor = -1;
            w->made->Configs_n = 0;
        }
    } else {
        w->gone->ErrorCode = error;
        w->gone->ErrorMessage = text;
    }
    w->finished = true;
    w->op = NULL;
    w->a->open--;
}

static void timed_out(struct floe_timer *t)
{
    struct admin *a = t->user;
    for (uint32_t i = 0; i < a->n; i++) {
        struct work *w = &a->works[i];
        if (w->finished)
            continue;
        floe_catalog_op_detach(w->op);
        finish(w, FLOE_KERR_REQUEST_TIMED_OUT, NULL);
    }
    answer_when_done(a);
}

static void op_done(void *user, const struct floe_error *err, const struct floe_uuid *id)
{
    struct work *w = user;
    if (w->made && !err->code)
        w->made->TopicId = *id;
    int16_t error = api_error(err->code);
    if (w->gone && err->code == FLOE_ENOTFOUND && w->gone->Name.n < 0)
        error = FLOE_KERR_UNKNOWN_TOPIC_ID;
    finish(w, error, err->msg);
    answer_when_done(w->a);
}

static struct admin *admin_new(struct floe_request *rq, uint32_t n, void *rs)
{
    struct admin *a = floe_arena_alloc(&rq->arena, sizeof *a);
    if (!a)
        return NULL;
    *a = (struct admin){.api = api_of(rq), .rq = rq, .rs = rs, .n = n, .open = n};
    a->works = floe_arena_calloc(&rq->arena, n, sizeof *a->works);
    a->wants = floe_arena_calloc(&rq->arena, n, sizeof *a->wants);
    floe_timer_init(&a->timer, timed_out, a);
    for (uint32_t i = 0; a->works && i < n; i++)
        a->works[i].a = a;
    rq->state = a;
    return a->works && a->wants ? a : NULL;
}

/* Marks the works whose topic another one has too: none of them is done, as in Kafka. */
static bool mark_repeated(struct admin *a, const struct api_want *wants)
{
    bool *repeated = floe_arena_calloc(&a->rq->arena, a->n, sizeof *repeated);
    bool *copies = floe_arena_calloc(&a->rq->arena, a->n, sizeof *copies);
    if (!repeated || !copies || !api_repeated(a->rq, wants, a->n, true, repeated) ||
        !api_repeated(a->rq, wants, a->n, false, copies))
        return false;
    for (uint32_t i = 0; i < a->n; i++) {
        a->works[i].repeated = repeated[i];
        a->works[i].copy = copies[i];
    }
    return true;
}

/* The client is gone: what was begun goes on without it. */
static void cancel(struct floe_request *rq)
{
    struct admin *a = rq->state;
    timed_out(&a->timer);
}

/* Begins what is left to be done, within the request's time. */
static void run(struct admin *a, int32_t timeout_ms)
{
    a->rq->cancel = cancel;
    if (a->open > 0)
        floe_timer_start(a->api->cfg.loop, &a->timer, (uint64_t)(timeout_ms > 0 ? timeout_ms : 0) * 1000);
    answer_when_done(a);
}

/* ---- creation ---- */

static int16_t check_assignments(struct floe_request *rq, const creatable *t, int32_t *partitions,
                                 struct floe_error *err)
{
    int16_t error = 0;
    if (t->NumPartitions != -1 || t->ReplicationFactor != -1) {
        floe_error_set(err, FLOE_EINVAL,
                       "A manual partition assignment was specified, but numPartitions or "
                       "replicationFactor was not set to -1.");
        return FLOE_KERR_INVALID_REQUEST;
    }
    bool *seen = t->Assignments_n <= FLOE_TOPIC_PARTITIONS_MAX
                     ? floe_arena_calloc(&rq->arena, (size_t)t->Assignments_n, sizeof *seen)
                     : NULL;
    for (int32_t i = 0; !error && i < t->Assignments_n; i++) {
        int32_t at = t->Assignments[i].PartitionIndex;
        if (!seen || at < 0 || at >= t->Assignments_n || seen[at]) {
            floe_error_set(err, FLOE_EINVAL, "partitions should be a consecutive 0-based integer sequence");
            return FLOE_KERR_INVALID_REPLICA_ASSIGNMENT;
        }
        seen[at] = true;
        error = api_check_brokers(rq, t->Assignments[i].BrokerIds, t->Assignments[i].BrokerIds_n, err);
    }
    *partitions = t->Assignments_n;
    return error;
}

static int16_t check_counts(struct floe_request *rq, const creatable *t, int32_t *partitions,
                            struct floe_error *err)
{
    const struct floe_api *api = api_of(rq);
    *partitions = t->NumPartitions == -1 ? api->cfg.num_partitions : t->NumPartitions;
    if (t->Assignments_n > 0) {
        int16_t error = check_assignments(rq, t, partitions, err);
        if (error)
            return error;
    }
    if (*partitions > FLOE_TOPIC_PARTITIONS_MAX)
        return FLOE_KERR_POLICY_VIOLATION;
    if (*partitions < 1) {
        floe_error_set(err, FLOE_EINVAL, "Number of partitions was set to an invalid non-positive value.");
        return FLOE_KERR_INVALID_PARTITIONS;
    }
    if (t->ReplicationFactor == 0 || t->ReplicationFactor < -1) {
        floe_error_set(err, FLOE_EINVAL,
                       "Replication factor must be larger than 0, or -1 to use the default value.");
        return FLOE_KERR_INVALID_REPLICATION_FACTOR;
    }
    uint32_t brokers = floe_lease_nodes(api->cfg.lease, NULL, 0);
    if (t->ReplicationFactor > REPLICAS_ALWAYS && (uint32_t)t->ReplicationFactor > brokers) {
        floe_error_set(
            err, FLOE_EINVAL,
            "Unable to replicate the partition %d time(s): The target replication factor of %d cannot "
            "be reached because only %u broker(s) are registered.",
            t->ReplicationFactor, t->ReplicationFactor, brokers);
        return FLOE_KERR_INVALID_REPLICATION_FACTOR;
    }
    return 0;
}

static int16_t check_configs(struct floe_request *rq, const creatable *t, struct floe_topic_spec *spec,
                             struct floe_error *err)
{
    uint32_t n = (uint32_t)FLOE_MAX(t->Configs_n, 0);
    struct floe_topic_config *out =
        n <= FLOE_TOPIC_CONFIGS_MAX ? floe_arena_calloc(&rq->arena, n, sizeof *out) : NULL;
    if (!out) {
        floe_error_set(err, FLOE_EINVAL, "more than %d configurations", FLOE_TOPIC_CONFIGS_MAX);
        return FLOE_KERR_INVALID_CONFIG;
    }
    spec->configs = out;
    for (uint32_t i = 0; i < n; i++) {
        struct floe_kstr name = t->Configs[i].Name, value = t->Configs[i].Value;
        struct floe_slice key = floe_slice(name.p, (size_t)FLOE_MAX(name.n, 0));
        const struct floe_kafka_config *c = floe_kafka_config_find(FLOE_CONFIG_TOPIC, key);
        if (!c) {
            floe_error_set(err, FLOE_EINVAL, "Unknown topic config name: %.*s", (int)FLOE_MIN(key.n, 200),
                           (const char *)key.p);
            return FLOE_KERR_INVALID_CONFIG;
        }
        if (value.n < 0 || value.n > FLOE_TOPIC_CONFIG_VALUE_MAX) {
            floe_error_set(err, FLOE_EINVAL,
                           value.n < 0 ? "Null value not supported for topic configs: %s"
                                       : "Value too long for topic config: %s",
                           c->name);
            return FLOE_KERR_INVALID_CONFIG;
        }
        if (floe_kafka_config_check(c, floe_slice(value.p, (size_t)value.n), err))
            return FLOE_KERR_INVALID_CONFIG;
        uint32_t at = 0; /* given twice: the last one counts */
        while (at < spec->config_count && strcmp(out[at].name, c->name) != 0)
            at++;
        out[at].name = (char *)(uintptr_t)c->name;
        out[at].value = floe_arena_strndup(&rq->arena, value.p, (size_t)value.n);
        if (!out[at].value)
            return FLOE_KERR_REQUEST_TIMED_OUT;
        spec->config_count = FLOE_MAX(spec->config_count, at + 1);
    }
    return api_configs_agree(out, spec->config_count, err) ? FLOE_KERR_INVALID_CONFIG : 0;
}

/* '.' and '_' are one character to Kafka's metrics: names that differ only in them are refused. */
struct metric {
    const char *folded, *name;
};

static const char *fold(struct floe_arena *a, const char *name)
{
    char *out = floe_arena_strndup(a, name, strlen(name));
    for (char *p = out; p && (p = strchr(p, '.'));)
        *p = '_';
    return out;
}

static int by_folded(const void *a, const void *b)
{
    return strcmp(((const struct metric *)a)->folded, ((const struct metric *)b)->folded);
}

/* The topics that another name may collide with, in order: looked for once. */
static void list_metrics(struct admin *a)
{
    uint32_t n = 0;
    struct api_want *all = api_all_topics(a->rq, &n);
    struct metric *m = all ? floe_arena_calloc(&a->rq->arena, n, sizeof *m) : NULL;
    for (uint32_t i = 0; m && i < n; i++) {
        if (!all[i].name.p || !strpbrk(all[i].name.p, "._"))
            continue;
        m[a->metric_count] = (struct metric){fold(&a->rq->arena, all[i].name.p), all[i].name.p};
        a->metric_count += m[a->metric_count].folded != NULL;
    }
    if (a->metric_count > 1)
        qsort(m, a->metric_count, sizeof *m, by_folded);
    a->metrics = m;
}

/* Null: with none. */
static const char *collides(struct admin *a, const char *name)
{
    if (!strpbrk(name, "._"))
        return NULL;
    if (!a->metrics)
        list_metrics(a);
    struct metric key = {.folded = fold(&a->rq->arena, name)};
    const struct metric *m = key.folded && a->metric_count > 0
                                 ? bsearch(&key, a->metrics, a->metric_count, sizeof key, by_folded)
                                 : NULL;
    return m ? m->name : NULL;
}

static int16_t check_topic(struct work *w, const struct floe_kafka_CreateTopicsRequest *in, int32_t i,
                           struct floe_error *err)
{
    struct floe_request *rq = w->a->rq;
    const creatable *t = &in->Topics[i];
    if (w->repeated) {
        floe_error_set(err, FLOE_EINVAL, "Duplicate topic name.");
        return FLOE_KERR_INVALID_REQUEST;
    }
    if (floe_topic_name_check(t->Name.p, (size_t)FLOE_MAX(t->Name.n, 0), err))
        return FLOE_KERR_INVALID_TOPIC_EXCEPTION;
    char *name = floe_arena_strndup(&rq->arena, t->Name.p, (size_t)t->Name.n);
    if (!name)
        return FLOE_KERR_REQUEST_TIMED_OUT;
    if (floe_catalog_by_name(w->a->api->cfg.catalog, name, strlen(name))) {
        floe_error_set(err, FLOE_EEXISTS, "Topic '%s' already exists.", name);
        return FLOE_KERR_TOPIC_ALREADY_EXISTS;
    }
    const char *other = collides(w->a, name);
    if (other) {
        floe_error_set(err, FLOE_EINVAL, "Topic '%.120s' collides with existing topic: %.120s", name, other);
        return FLOE_KERR_INVALID_TOPIC_EXCEPTION;
    }
    w->spec.name = name;
    int16_t error = check_counts(rq, t, &w->spec.partitions, err);
    return error ? error : check_configs(rq, t, &w->spec, err);
}

#define SOURCE_TOPIC 1
#define SOURCE_DEFAULT 5

/* v5+: the whole configuration that the topic got. */
static void put_configs(struct work *w)
{
    struct floe_arena *arena = &w->a->rq->arena;
    int32_t n = 0;
    while (floe_kafka_config_at(FLOE_CONFIG_TOPIC, (uint32_t)n))
        n++;
    w->made->Configs =
        floe_kafka_array(&floe_kafka_CreateTopicsResponse_CreatableTopicConfigs_desc, n, arena);
    for (int32_t i = 0; w->made->Configs && i < n; i++) {
        const struct floe_kafka_config *c = floe_kafka_config_at(FLOE_CONFIG_TOPIC, (uint32_t)i);
        struct floe_kafka_CreateTopicsResponse_CreatableTopicConfigs *o = &w->made->Configs[i];
        o->Name = floe_kstr(c->name);
        o->Value = floe_kstr(c->def);
        o->ConfigSource = SOURCE_DEFAULT;
        for (uint32_t j = 0; j < w->spec.config_count; j++) {
            if (strcmp(w->spec.configs[j].name, c->name) == 0) {
                o->Value = floe_kstr(w->spec.configs[j].value);
                o->ConfigSource = SOURCE_TOPIC;
            }
        }
        w->made->Configs_n = i + 1;
    }
}

static void create_ready(struct floe_request *rq)
{
    struct admin *a = rq->state;
    const struct floe_kafka_CreateTopicsRequest *in = rq->body;
    int64_t partitions = 0;
    for (uint32_t i = 0; i < a->n; i++) {
        struct work *w = &a->works[i];
        struct floe_error err = {0};
        int16_t error = a->n > TOPICS_MAX ? FLOE_KERR_POLICY_VIOLATION : check_topic(w, in, (int32_t)i, &err);
        partitions += error ? 0 : w->spec.partitions;
        if (!error && partitions > PARTITIONS_MAX)
            error = FLOE_KERR_POLICY_VIOLATION;
        if (error == FLOE_KERR_POLICY_VIOLATION)
            floe_error_set(&err, FLOE_EINVAL, "Excessively large number of partitions per request.");
        if (error) {
            finish(w, error, err.msg);
            continue;
        }
        w->made->NumPartitions = w->spec.partitions;
        w->made->ReplicationFactor = in->Topics[i].ReplicationFactor > 0 ? in->Topics[i].ReplicationFactor
                                                                         : a->api->cfg.replication_factor;
        if (rq->head.api_version >= 5)
            put_configs(w);
        if (in->validateOnly) {
            finish(w, 0, NULL);
            continue;
        }
        w->op = floe_catalog_create_topic(a->api->cfg.catalog, &w->spec, op_done, w);
        if (!w->op)
            finish(w, FLOE_KERR_REQUEST_TIMED_OUT, NULL);
    }
    run(a, in->timeoutMs);
}

void api_create_topics(struct floe_request *rq)
{
    const struct floe_kafka_CreateTopicsRequest *in = rq->body;
    struct floe_kafka_CreateTopicsResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    int32_t n = FLOE_MAX(in->Topics_n, 0);
    struct admin *a = rs ? admin_new(rq, (uint32_t)n, rs) : NULL;
    if (!a) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_CreateTopicsResponse_desc, rs);
    rs->Topics = floe_kafka_array(&floe_kafka_CreateTopicsResponse_CreatableTopicResult_desc, n, &rq->arena);
    if (!rs->Topics) {
        api_give_up(rq);
        return;
    }
    rs->Topics_n = n;
    for (int32_t i = 0; i < n; i++) {
        a->works[i].made = &rs->Topics[i];
        a->wants[i].name = rs->Topics[i].Name = in->Topics[i].Name;
    }
    if (mark_repeated(a, a->wants))
        create_ready(rq);
    else
        api_give_up(rq);
}

/* ---- deletion ---- */

/* A topic by its name and by its id: neither counts. */
static bool mark_both(struct admin *a)
{
    struct api_want *ids = floe_arena_calloc(&a->rq->arena, a->n, sizeof *ids);
    bool *repeated = floe_arena_calloc(&a->rq->arena, a->n, sizeof *repeated);
    bool *copies = floe_arena_calloc(&a->rq->arena, a->n, sizeof *copies);
    struct work **known = floe_arena_calloc(&a->rq->arena, a->n, sizeof(void *));
    uint32_t n = 0;
    if (!ids || !repeated || !copies || !known)
        return false;
    for (uint32_t i = 0; i < a->n; i++) {
        struct work *w = &a->works[i];
        const struct floe_topic *t = w->finished || w->repeated ? NULL : api_topic(a->api, &a->wants[i]);
        if (!t)
            continue;
        known[n] = w;
        ids[n++] = (struct api_want){{NULL, -1}, t->id};
    }
    if (!api_repeated(a->rq, ids, n, true, repeated) || !api_repeated(a->rq, ids, n, false, copies))
        return false;
    for (uint32_t i = 0; i < n; i++) {
        const struct floe_topic *t = repeated[i] ? api_topic(a->api, &ids[i]) : NULL;
        if (!t)
            continue;
        known[i]->copy = copies[i];
        known[i]->gone->TopicId = t->id;
        known[i]->gone->Name = api_copy(a->rq, t->name);
        finish(known[i], FLOE_KERR_INVALID_REQUEST,
               "The provided topic name maps to an ID that was already supplied.");
    }
    return true;
}

static void delete_ready(struct floe_request *rq)
{
    struct admin *a = rq->state;
    const struct floe_kafka_DeleteTopicsRequest *in = rq->body;
    if (rq->head.api_version >= 6 && !mark_both(a)) {
        api_give_up(rq);
        return;
    }
    for (uint32_t i = 0; i < a->n; i++) {
        struct work *w = &a->works[i];
        if (w->finished)
            continue;
        if (w->repeated) {
            finish(w, FLOE_KERR_INVALID_REQUEST,
                   w->gone->Name.n < 0 ? "Duplicate topic id." : "Duplicate topic name.");
            continue;
        }
        const struct floe_topic *t = api_topic(a->api, &a->wants[i]);
        if (!t) {
            finish(w, rq->lookup_error ? FLOE_KERR_REQUEST_TIMED_OUT : api_unknown(rq, &a->wants[i]), NULL);
            continue;
        }
        if (w->gone->Name.n >= 0 && floe_topic_internal(t->name, strlen(t->name))) {
            finish(
                w, FLOE_KERR_INVALID_REQUEST,
                "This topic holds every consumer group and all committed offsets; only its id deletes it.");
            continue;
        }
        w->gone->TopicId = t->id;
        w->gone->Name = api_copy(rq, t->name);
        w->op = floe_catalog_delete_topic(a->api->cfg.catalog, t->name, &t->id, op_done, w);
        if (!w->op)
            finish(w, FLOE_KERR_REQUEST_TIMED_OUT, NULL);
    }
    run(a, in->TimeoutMs);
}

void api_delete_topics(struct floe_request *rq)
{
    const struct floe_kafka_DeleteTopicsRequest *in = rq->body;
    struct floe_kafka_DeleteTopicsResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    bool states = rq->head.api_version >= 6;
    int32_t n = states ? FLOE_MAX(in->Topics_n, 0) : FLOE_MAX(in->TopicNames_n, 0);
    struct admin *a = rs ? admin_new(rq, (uint32_t)n, rs) : NULL;
    if (!a) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_DeleteTopicsResponse_desc, rs);
    rs->Responses =
        floe_kafka_array(&floe_kafka_DeleteTopicsResponse_DeletableTopicResult_desc, n, &rq->arena);
    if (!rs->Responses) {
        api_give_up(rq);
        return;
    }
    rs->Responses_n = n;
    for (int32_t i = 0; i < n; i++) {
        struct work *w = &a->works[i];
        w->gone = &rs->Responses[i];
        w->gone->Name = states ? in->Topics[i].Name : in->TopicNames[i];
        a->wants[i].name = w->gone->Name;
        if (!states)
            continue;
        w->gone->TopicId = a->wants[i].id = in->Topics[i].TopicId;
        if (w->gone->Name.n >= 0 && !floe_uuid_is_zero(&in->Topics[i].TopicId))
            finish(w, FLOE_KERR_INVALID_REQUEST, "You may not specify both topic name and topic id.");
        else if (w->gone->Name.n < 0 && floe_uuid_is_zero(&in->Topics[i].TopicId))
            finish(w, FLOE_KERR_INVALID_REQUEST, "Neither topic name nor id were specified.");
    }
    if (mark_repeated(a, a->wants))
        api_topics_ready(rq, a->wants, a->n, delete_ready);
    else
        api_give_up(rq);
}
