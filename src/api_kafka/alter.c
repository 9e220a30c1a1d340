/* CreatePartitions 0–3, AlterConfigs 0–2, IncrementalAlterConfigs 0–1: changes of topics, each one record of
 * the table; configurations of brokers and groups are handed on (dynamic.c). Checks and sentences follow
 * Kafka's controller. */
#include "api_kafka/api_int.h"
#include <floe/kafka/configs.h>
#include <stdio.h>
#include <stdlib.h>

#define CREATE_PARTITIONS 37
#define TYPE_TOPIC 2
#define TYPE_BROKER 4
#define TYPE_GROUP 32

struct change {
    uint8_t kind;
    char *name, *value;
};
/* What one topic's operation does; on the heap, since it may outlive the request. */
struct changes {
    int32_t partitions; /* 0: as they are */
    bool replace;       /* AlterConfigs: what is not named goes back to its default */
    uint32_t n;
    struct change c[];
};
struct alter;
struct item {
    struct alter *a;
    struct floe_catalog_op *op;
    struct api_dynamic *dynamic;
    int16_t *error;
    struct floe_kstr *message;
    bool finished;
};
struct alter {
    struct floe_request *rq;
    void *rs;
    struct item *items;
    uint32_t n, open;
    bool *copies; /* items that are left out of CreatePartitions' answer: told of once */
    struct floe_timer timer;
    void (*begin)(struct alter *a, uint32_t i);
    uint64_t timeout_us;
};

/* ---- the edit -------------------------------------------------------------------------------------------
 */

static void changes_free(void *data)
{
    struct changes *c = data;
    for (uint32_t i = 0; i < c->n; i++) {
        free(c->c[i].name);
        free(c->c[i].value);
    }
    free(c);
}

static enum floe_err grow(struct floe_topic *t, int32_t to, bool again, struct floe_error *err)
{
    if (to == t->partitions && again)
        return FLOE_OK;
    if (to == t->partitions)
        return floe_error_set(err, FLOE_EEXISTS, "Topic already has %d partition(s).", t->partitions);
    if (to < t->partitions)
        return floe_error_set(err, FLOE_EEXISTS,
                              "The topic %.120s currently has %d partition(s); %d would not be an increase.",
                              t->name, t->partitions, to);
    t->partitions = to;
    return FLOE_OK;
}

static bool has(const char *list, const char *word, size_t n)
{
    for (const char *p = list; *p;) {
        size_t len = strcspn(p, ",");
        if (len == n && memcmp(p, word, n) == 0)
            return true;
        p += len + (p[len] == ',');
    }
    return false;
}

char *api_list_edit(const char *list, const char *words, bool add)
{
    size_t cap = strlen(list) + strlen(words) + 2, n = 0;
    char *out = malloc(cap);
    const char *from[2] = {list, add ? words : ""};
    if (!out)
        return NULL;
    out[0] = '\0';
    for (int i = 0; i < 2; i++) {
        for (const char *p = from[i]; *p;) {
            size_t len = strcspn(p, ",");
            if (len > 0 && !has(out, p, len) && (add || !has(words, p, len)))
                n += (size_t)snprintf(out + n, cap - n, "%s%.*s", n > 0 ? "," : "", (int)len, p);
            p += len + (p[len] == ',');
        }
    }
    if (add && !*words && n > 0)
        snprintf(out + n, cap - n, ","); /* an empty element, which is for the check to refuse */
    return out;
}

static enum floe_err apply(struct floe_topic *t, const struct change *ch, struct floe_error *err)
{
    const struct floe_kafka_config *c = floe_kafka_config_find(FLOE_CONFIG_TOPIC, floe_slice_str(ch->name));
    char *made = NULL;
    if (ch->kind == API_CONFIG_APPEND || ch->kind == API_CONFIG_SUBTRACT) {
        const char *now = floe_topic_config_get(t, ch->name);
        made = api_list_edit(now ? now : c->def ? c->def : "", ch->value, ch->kind == API_CONFIG_APPEND);
        if (!made)
            return floe_error_set(err, FLOE_ENOMEM, "no memory");
    }
    const char *value = ch->kind == API_CONFIG_DELETE ? NULL : made ? made : ch->value;
    enum floe_err rc = value ? floe_kafka_config_check(c, floe_slice_str(value), err) : FLOE_OK;
    if (!rc && !floe_topic_config_set(t, ch->name, value))
        rc = floe_error_set(err, FLOE_EINVAL, "more than %d configurations", FLOE_TOPIC_CONFIGS_MAX);
    free(made);
    return rc;
}

static enum floe_err edit(void *data, struct floe_topic *t, bool again, struct floe_error *err)
{
    const struct changes *c = data;
    enum floe_err rc = c->partitions ? grow(t, c->partitions, again, err) : FLOE_OK;
    while (c->replace && t->config_count > 0)
        (void)floe_topic_config_set(t, t->configs[0].name, NULL);
    for (uint32_t i = 0; !rc && i < c->n; i++)
        rc = apply(t, &c->c[i], err);
    return rc || c->partitions ? rc : api_configs_agree(t->configs, t->config_count, err);
}

/* ---- the request ----------------------------------------------------------------------------------------
 */

static void drop_copies(struct alter *a)
{
    struct floe_kafka_CreatePartitionsResponse *rs = a->rs;
    rs->Results_n = 0;
    for (uint32_t i = 0; i < a->n; i++)
        if (!a->copies[i])
            rs->Results[rs->Results_n++] = rs->Results[i];
}

static void answer_when_done(struct alter *a)
{
    if (a->open > 0)
        return;
    floe_timer_stop(&a->timer);
    if (a->copies)
        drop_copies(a);
    a->rq->response = a->rs;
    floe_request_complete(a->rq);
}

static void finish(struct item *it, int16_t error, const char *message)
{
    *it->error = error;
    *it->message = (struct floe_kstr){NULL, -1};
    if (error && message && *message)
        *it->message = api_copy(it->a->rq, message);
    else if (error && it->a->rq->head.api_key != CREATE_PARTITIONS) /* which says nothing more, as in Kafka */
        *it->message = floe_kstr(floe_kafka_error_message(error));
    it->finished = true;
    it->op = NULL;
    it->a->open--;
}

static void timed_out(struct floe_timer *t)
{
    struct alter *a = t->user;
    for (uint32_t i = 0; i < a->n; i++) {
        if (a->items[i].finished)
            continue;
        if (a->items[i].op)
            floe_catalog_op_detach(a->items[i].op);
        api_dynamic_detach(a->items[i].dynamic);
        finish(&a->items[i], FLOE_KERR_REQUEST_TIMED_OUT, NULL);
    }
    answer_when_done(a);
}

static int16_t edit_error(enum floe_err e, bool partitions)
{
    if (e == FLOE_EEXISTS)
        return FLOE_KERR_INVALID_PARTITIONS;
    if (e == FLOE_EINVAL)
        return partitions ? FLOE_KERR_INVALID_PARTITIONS : FLOE_KERR_INVALID_CONFIG;
    return api_error(e);
}

static void op_done(void *user, const struct floe_error *err, const struct floe_uuid *id)
{
    struct item *it = user;
    (void)id;
    finish(it, err->code ? edit_error(err->code, it->a->rq->head.api_key == CREATE_PARTITIONS) : 0, err->msg);
    answer_when_done(it->a);
}

/* Runs the changes on the topic, or with `validate` on a copy of it. Takes `c`. */
static void change(struct item *it, const struct floe_topic *t, struct changes *c, bool validate)
{
    struct floe_error err = {0};
    struct floe_topic_edit e = {.edit = edit, .data = c, .free = changes_free};
    if (validate) {
        struct floe_topic *copy = floe_topic_copy(t);
        enum floe_err rc = copy ? edit(c, copy, false, &err) : FLOE_ENOMEM;
        floe_topic_free(copy);
        changes_free(c);
        finish(it, rc ? edit_error(rc, it->a->rq->head.api_key == CREATE_PARTITIONS) : 0, err.msg);
        return;
    }
    it->op = floe_catalog_alter_topic(api_of(it->a->rq)->cfg.catalog, t->name, &e, op_done, it);
    if (!it->op)
        finish(it, FLOE_KERR_REQUEST_TIMED_OUT, NULL);
}

/* The client is gone: what was begun goes on without it. */
static void cancel(struct floe_request *rq)
{
    struct alter *a = rq->state;
    timed_out(&a->timer);
}

static void begin_all(struct floe_request *rq)
{
    struct alter *a = rq->state;
    rq->cancel = cancel;
    for (uint32_t i = 0; i < a->n; i++) {
        if (!a->items[i].finished)
            a->begin(a, i);
    }
    if (a->open > 0)
        floe_timer_start(api_of(rq)->cfg.loop, &a->timer, a->timeout_us);
    answer_when_done(a);
}

static struct alter *alter_new(struct floe_request *rq, uint32_t n, void *rs,
                               void (*begin)(struct alter *a, uint32_t i), uint64_t timeout_us)
{
    struct alter *a = floe_arena_alloc(&rq->arena, sizeof *a);
    if (!a)
        return NULL;
    *a = (struct alter){.rq = rq, .rs = rs, .n = n, .open = n, .begin = begin, .timeout_us = timeout_us};
    a->items = floe_arena_calloc(&rq->arena, n, sizeof *a->items);
    floe_timer_init(&a->timer, timed_out, a);
    for (uint32_t i = 0; a->items && i < n; i++)
        a->items[i].a = a;
    rq->state = a;
    return a->items ? a : NULL;
}

/* ---- CreatePartitions -------------------------------------------------------------------------------------
 */

static const struct floe_topic *topic_for(struct item *it, struct floe_kstr name)
{
    struct api_want want = {.name = name};
    const struct floe_topic *t = api_topic(api_of(it->a->rq), &want);
    bool partitions = it->a->rq->head.api_key == CREATE_PARTITIONS;
    if (!t && !partitions && name.n <= 0)
        finish(it, FLOE_KERR_INVALID_REQUEST, "Default topic resources are not allowed.");
    else if (!t && !partitions && floe_topic_name_check(name.p, (size_t)name.n, NULL))
        finish(it, FLOE_KERR_INVALID_TOPIC_EXCEPTION, NULL);
    else if (!t)
        finish(it,
               it->a->rq->lookup_error ? FLOE_KERR_REQUEST_TIMED_OUT : FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION,
               NULL);
    return t;
}

static void begin_partitions(struct alter *a, uint32_t i)
{
    const struct floe_kafka_CreatePartitionsRequest *in = a->rq->body;
    const struct floe_kafka_CreatePartitionsRequest_CreatePartitionsTopic *w = &in->Topics[i];
    struct item *it = &a->items[i];
    const struct floe_topic *t = topic_for(it, w->Name);
    struct floe_error err;
    if (!t)
        return;
    if (strcmp(t->name, FLOE_OFFSETS_TOPIC) == 0) {
        finish(it, FLOE_KERR_INVALID_PARTITIONS,
               "The number of partitions of " FLOE_OFFSETS_TOPIC
               " says where each group lives: with another one all groups would lose their offsets.");
        return;
    }
    if (w->Count < 1 || w->Count > FLOE_TOPIC_PARTITIONS_MAX) {
        floe_error_set(&err, FLOE_EINVAL, "The number of partitions must be 1 to %d.",
                       FLOE_TOPIC_PARTITIONS_MAX);
        finish(it, FLOE_KERR_INVALID_PARTITIONS, err.msg);
        return;
    }
    if (w->Assignments_n >= 0 && w->Count > t->partitions && w->Assignments_n != w->Count - t->partitions) {
        floe_error_set(
            &err, FLOE_EINVAL,
            "Attempted to add %d additional partition(s), but only %d assignment(s) were specified.",
            w->Count - t->partitions, w->Assignments_n);
        finish(it, FLOE_KERR_INVALID_REPLICA_ASSIGNMENT, err.msg);
        return;
    }
    for (int32_t k = 0; w->Count > t->partitions && k < w->Assignments_n; k++) {
        int16_t error =
            api_check_brokers(a->rq, w->Assignments[k].BrokerIds, w->Assignments[k].BrokerIds_n, &err);
        if (error) {
            finish(it, error, err.msg);
            return;
        }
    }
    struct changes *c = calloc(1, sizeof *c);
    if (!c) {
        finish(it, FLOE_KERR_REQUEST_TIMED_OUT, NULL);
        return;
    }
    c->partitions = w->Count;
    change(it, t, c, in->ValidateOnly);
}

void api_create_partitions(struct floe_request *rq)
{
    const struct floe_kafka_CreatePartitionsRequest *in = rq->body;
    struct floe_kafka_CreatePartitionsResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    uint32_t n = (uint32_t)FLOE_MAX(in->Topics_n, 0);
    struct api_want *wants = floe_arena_calloc(&rq->arena, n, sizeof *wants);
    bool *repeated = floe_arena_calloc(&rq->arena, n, sizeof *repeated);
    struct alter *a = alter_new(rq, n, rs, begin_partitions, (uint64_t)FLOE_MAX(in->TimeoutMs, 0) * 1000);
    if (rs) {
        floe_kafka_defaults(&floe_kafka_CreatePartitionsResponse_desc, rs);
        rs->Results = floe_kafka_array(&floe_kafka_CreatePartitionsResponse_CreatePartitionsTopicResult_desc,
                                       (int32_t)n, &rq->arena);
    }
    if (!rs || !rs->Results || !wants || !repeated || !a) {
        api_give_up(rq);
        return;
    }
    rs->Results_n = (int32_t)n;
    for (uint32_t i = 0; i < n; i++) {
        wants[i].name = rs->Results[i].Name = in->Topics[i].Name;
        a->items[i].error = &rs->Results[i].ErrorCode;
        a->items[i].message = &rs->Results[i].ErrorMessage;
    }
    a->copies = floe_arena_calloc(&rq->arena, n, sizeof *a->copies);
    if (!a->copies || !api_repeated(rq, wants, n, true, repeated) ||
        !api_repeated(rq, wants, n, false, a->copies)) {
        api_give_up(rq);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        if (repeated[i])
            finish(&a->items[i], FLOE_KERR_INVALID_REQUEST, "Duplicate topic name.");
    api_topics_ready(rq, wants, n, begin_all);
}

/* ---- configurations
 * ----------------------------------------------------------------------------------------- */

static int16_t check_asked(const struct api_config_change *w, bool incremental, struct floe_error *err)
{
    struct floe_slice name = floe_slice(w->name.p, (size_t)FLOE_MAX(w->name.n, 0));
    const struct floe_kafka_config *c = floe_kafka_config_find(FLOE_CONFIG_TOPIC, name);
    if (!c && incremental && w->kind == API_CONFIG_DELETE)
        return 0; /* it is not there */
    if (!c) {
        floe_error_set(err, FLOE_EINVAL, "Unknown topic config name: %.*s",
                       (int)FLOE_MIN(name.n, (size_t)200), (const char *)name.p);
        return FLOE_KERR_INVALID_CONFIG;
    }
    if (w->kind > API_CONFIG_SUBTRACT) {
        floe_error_set(err, FLOE_EINVAL, "Unknown operation %d for config %s.", (int)w->kind, c->name);
        return FLOE_KERR_INVALID_REQUEST;
    }
    if ((w->kind == API_CONFIG_APPEND || w->kind == API_CONFIG_SUBTRACT) && c->type != FLOE_CONFIG_LIST) {
        floe_error_set(err, FLOE_EINVAL, "Can't %s to key %s because its type is not LIST.",
                       w->kind == API_CONFIG_APPEND ? "APPEND" : "SUBTRACT", c->name);
        return FLOE_KERR_INVALID_CONFIG;
    }
    if (w->kind == API_CONFIG_DELETE)
        return 0;
    if (w->value.n < 0) {
        floe_error_set(err, FLOE_EINVAL, "Null value not supported for : %s", c->name);
        return FLOE_KERR_INVALID_REQUEST;
    }
    if (w->value.n > FLOE_TOPIC_CONFIG_VALUE_MAX) {
        floe_error_set(err, FLOE_EINVAL, "Value too long for topic config: %s", c->name);
        return FLOE_KERR_INVALID_CONFIG;
    }
    if (w->kind == API_CONFIG_SET &&
        floe_kafka_config_check(c, floe_slice(w->value.p, (size_t)w->value.n), err))
        return FLOE_KERR_INVALID_CONFIG;
    return 0;
}

static char *text_of(struct floe_kstr s)
{
    return s.n < 0 ? NULL : strndup(s.p ? s.p : "", (size_t)s.n);
}

static struct changes *changes_of(const struct api_config_change *w, uint32_t n)
{
    struct changes *c = calloc(1, sizeof *c + n * sizeof *c->c);
    for (uint32_t i = 0; c && i < n; i++) {
        c->c[i] = (struct change){w[i].kind, text_of(w[i].name), text_of(w[i].value)};
        c->n = i + 1;
        if (!c->c[i].name || (w[i].value.n >= 0 && !c->c[i].value)) {
            changes_free(c);
            return NULL;
        }
    }
    return c;
}

static void alter_topic(struct item *it, struct floe_kstr name, const struct api_config_change *w, uint32_t n,
                        bool incremental, bool validate)
{
    const struct floe_topic *t = topic_for(it, name);
    struct floe_error err = {0};
    if (!t)
        return;
    if (n > API_CONFIG_CHANGES_MAX) {
        finish(it, FLOE_KERR_INVALID_REQUEST, "More than 512 configurations of one topic");
        return;
    }
    const bool *repeated = api_config_repeats(it->a->rq, w, n);
    for (uint32_t i = 0; i < n; i++) {
        int16_t error = check_asked(&w[i], incremental, &err);
        if (!error && (!repeated || repeated[i])) {
            floe_error_set(&err, FLOE_EINVAL, "Error due to duplicate config keys");
            error = FLOE_KERR_INVALID_REQUEST;
        }
        if (error) {
            finish(it, error, err.msg);
            return;
        }
    }
    struct changes *c = changes_of(w, n);
    if (!c) {
        finish(it, FLOE_KERR_REQUEST_TIMED_OUT, NULL);
        return;
    }
    c->replace = !incremental;
    change(it, t, c, validate);
}

static void dynamic_done(void *user, const struct floe_error *err)
{
    struct item *it = user;
    it->dynamic = NULL;
    finish(it,
           !err->code                 ? 0
           : err->code == FLOE_EINVAL ? FLOE_KERR_INVALID_REQUEST
                                      : api_error(err->code),
           err->msg);
    answer_when_done(it->a);
}

/* Of a broker, of all, or of a group. */
static void alter_dynamic(struct item *it, enum floe_dynamic_kind kind, struct floe_kstr name,
                          const struct api_config_change *w, uint32_t n, bool incremental, bool validate)
{
    struct floe_request *rq = it->a->rq;
    struct floe_error err = {0};
    int16_t error = api_dynamic_resource(rq, kind, name, &err);
    error = error ? error : api_dynamic_check(rq, kind, name, w, n, &err);
    if (error || validate || (n == 0 && incremental)) {
        finish(it, error, err.msg);
        return;
    }
    it->dynamic = api_dynamic_store(rq, kind, name, w, n, !incremental, dynamic_done, it);
    if (!it->dynamic)
        finish(it, FLOE_KERR_REQUEST_TIMED_OUT, NULL);
}

static void alter_resource(struct item *it, int8_t type, struct floe_kstr name,
                           const struct api_config_change *w, uint32_t n, bool incremental, bool validate)
{
    if (!w)
        finish(it, FLOE_KERR_REQUEST_TIMED_OUT, NULL);
    else if (type == TYPE_TOPIC)
        alter_topic(it, name, w, n, incremental, validate);
    else if (type == TYPE_BROKER || type == TYPE_GROUP)
        alter_dynamic(it, type == TYPE_BROKER ? FLOE_DYNAMIC_BROKER : FLOE_DYNAMIC_GROUP, name, w, n,
                      incremental, validate);
    else
        finish(it, FLOE_KERR_INVALID_REQUEST, "Unknown resource type.");
}

static void begin_replace(struct alter *a, uint32_t i)
{
    const struct floe_kafka_AlterConfigsRequest *in = a->rq->body;
    const struct floe_kafka_AlterConfigsRequest_AlterConfigsResource *r = &in->Resources[i];
    uint32_t n = (uint32_t)FLOE_MAX(r->Configs_n, 0);
    struct api_config_change *w = floe_arena_calloc(&a->rq->arena, n, sizeof *w);
    for (uint32_t k = 0; w && k < n; k++)
        w[k] = (struct api_config_change){r->Configs[k].Name, r->Configs[k].Value, API_CONFIG_SET};
    alter_resource(&a->items[i], r->ResourceType, r->ResourceName, w, n, false, in->ValidateOnly);
}

static void begin_incremental(struct alter *a, uint32_t i)
{
    const struct floe_kafka_IncrementalAlterConfigsRequest *in = a->rq->body;
    const struct floe_kafka_IncrementalAlterConfigsRequest_AlterConfigsResource *r = &in->Resources[i];
    uint32_t n = (uint32_t)FLOE_MAX(r->Configs_n, 0);
    struct api_config_change *w = floe_arena_calloc(&a->rq->arena, n, sizeof *w);
    for (uint32_t k = 0; w && k < n; k++)
        w[k] = (struct api_config_change){r->Configs[k].Name, r->Configs[k].Value,
                                          (uint8_t)r->Configs[k].ConfigOperation};
    alter_resource(&a->items[i], r->ResourceType, r->ResourceName, w, n, true, in->ValidateOnly);
}

#define CONFIG_TIMEOUT_US 30000000ull /* these requests carry none */

/* Both have the same answer, by other names. */
#define ALTER_CONFIGS(fn, api, step)                                                                         \
    void fn(struct floe_request *rq)                                                                         \
    {                                                                                                        \
        const struct floe_kafka_##api##Request *in = rq->body;                                               \
        struct floe_kafka_##api##Response *rs = floe_arena_alloc(&rq->arena, sizeof *rs);                    \
        uint32_t n = (uint32_t)FLOE_MAX(in->Resources_n, 0), topics = 0;                                     \
        struct api_want *wants = floe_arena_calloc(&rq->arena, n, sizeof *wants);                            \
        struct api_want *keys = floe_arena_calloc(&rq->arena, n, sizeof *keys);                              \
        bool *repeated = floe_arena_calloc(&rq->arena, n, sizeof *repeated);                                 \
        struct alter *a = alter_new(rq, n, rs, step, CONFIG_TIMEOUT_US);                                     \
        if (rs) {                                                                                            \
            floe_kafka_defaults(&floe_kafka_##api##Response_desc, rs);                                       \
            rs->Responses = floe_kafka_array(&floe_kafka_##api##Response_AlterConfigsResourceResponse_desc,  \
                                             (int32_t)n, &rq->arena);                                        \
        }                                                                                                    \
        if (!rs || !rs->Responses || !wants || !keys || !repeated || !a) {                                   \
            api_give_up(rq);                                                                                 \
            return;                                                                                          \
        }                                                                                                    \
        rs->Responses_n = (int32_t)n;                                                                        \
        for (uint32_t i = 0; i < n; i++) {                                                                   \
            rs->Responses[i].ResourceType = in->Resources[i].ResourceType;                                   \
            rs->Responses[i].ResourceName = in->Resources[i].ResourceName;                                   \
            a->items[i].error = &rs->Responses[i].ErrorCode;                                                 \
            a->items[i].message = &rs->Responses[i].ErrorMessage;                                            \
            keys[i].name = in->Resources[i].ResourceName;                                                    \
            keys[i].id.b[0] = (uint8_t)in->Resources[i].ResourceType;                                        \
            if (in->Resources[i].ResourceType == TYPE_TOPIC)                                                 \
                wants[topics++].name = in->Resources[i].ResourceName;                                        \
        }                                                                                                    \
        if (!api_repeated(rq, keys, n, true, repeated)) {                                                    \
            api_give_up(rq);                                                                                 \
            return;                                                                                          \
        }                                                                                                    \
        for (uint32_t i = 0; i < n; i++)                                                                     \
            if (repeated[i])                                                                                 \
                finish(&a->items[i], FLOE_KERR_INVALID_REQUEST, "Each resource must appear at most once.");  \
        api_topics_ready(rq, wants, topics, begin_all);                                                      \
    }
ALTER_CONFIGS(api_alter_configs, AlterConfigs, begin_replace)
ALTER_CONFIGS(api_incremental_alter_configs, IncrementalAlterConfigs, begin_incremental)
