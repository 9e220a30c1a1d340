/* DescribeConfigs 1–4: topics' and the broker's configurations with their sources and synonyms. What is not
 * obeyed says so in its documentation. */
#include "api_kafka/api_int.h"
#include <floe/kafka/configs.h>
#include <stdio.h>
#include <stdlib.h>

#define TYPE_TOPIC 2
#define TYPE_BROKER 4
#define TYPE_GROUP 32
#define SOURCE_TOPIC 1
#define SOURCE_DYNAMIC_BROKER 2
#define SOURCE_DYNAMIC_DEFAULT 3
#define SOURCE_STATIC_BROKER 4
#define SOURCE_DEFAULT 5
#define SOURCE_DYNAMIC_GROUP 8

#define TURN_CONFIGS 2000 /* about so many are told of in one turn of the loop: a millisecond or two */

typedef struct floe_kafka_DescribeConfigsResponse_DescribeConfigsResourceResult config_entry;
typedef struct floe_kafka_DescribeConfigsRequest_DescribeConfigsResource describe_resource;

static bool obeyed(const char *name)
{
    static const char *const names[] = {"max.message.bytes", "message.timestamp.after.max.ms",
                                        "message.timestamp.before.max.ms", "message.timestamp.type"};
    for (size_t i = 0; i < FLOE_COUNTOF(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

#define KEYS_MAX 10000 /* that a resource names */
#define KIND_MAX 512u  /* configurations of one kind */

/* What of a kind's configurations a resource asks for. */
struct wanted {
    bool all, on[KIND_MAX];
};

static struct wanted wanted_of(const describe_resource *in, enum floe_config_kind kind)
{
    struct wanted w = {.all = in->ConfigurationKeys_n <= 0};
    for (int32_t i = 0; i < in->ConfigurationKeys_n; i++) {
        struct floe_kstr key = in->ConfigurationKeys[i];
        const struct floe_kafka_config *c =
            floe_kafka_config_find(kind, floe_slice(key.p, (size_t)FLOE_MAX(key.n, 0)));
        if (c)
            w.on[floe_kafka_config_index(c) % KIND_MAX] = true;
    }
    return w;
}

static bool wanted(const struct wanted *w, uint32_t i)
{
    FLOE_ASSERT(i < KIND_MAX);
    return w->all || w->on[i];
}

/* A configuration's value and where it is from, newest first; what DescribeConfigs calls synonyms. */
#define LAYERS_MAX 12
struct layer {
    struct floe_kstr name, value;
    int8_t source;
};
struct layers {
    struct layer v[LAYERS_MAX];
    int32_t n;
};

static void add(struct layers *l, const char *name, struct floe_kstr value, int8_t source)
{
    if (l->n < LAYERS_MAX)
        l->v[l->n++] = (struct layer){floe_kstr(name), value, source};
}

static const char *setting(struct floe_request *rq, const char *name, char out[32])
{
    const struct floe_api_config *cfg = &api_of(rq)->cfg;
    const struct {
        const char *name;
        long long value;
    } numbers[] = {{"default.replication.factor", cfg->replication_factor},
                   {"message.max.bytes", cfg->message_max},
                   {"num.partitions", cfg->num_partitions},
                   {"node.id", floe_lease_node_id(cfg->lease)},
                   {"broker.id", floe_lease_node_id(cfg->lease)}};
    for (size_t i = 0; i < FLOE_COUNTOF(numbers); i++) {
        if (strcmp(name, numbers[i].name) != 0)
            continue;
        snprintf(out, 32, "%lld", numbers[i].value);
        return out;
    }
    if (strcmp(name, "auto.create.topics.enable") == 0)
        return cfg->auto_create ? "true" : "false";
    if (strcmp(name, "broker.rack") == 0)
        return cfg->rack && *cfg->rack ? cfg->rack : NULL;
    return cfg->setting ? cfg->setting(cfg->status_user, name, out) : NULL;
}

/* What the broker itself gives, and Kafka's default below it. True where Floe has such a setting. */
static bool add_broker(struct floe_request *rq, struct layers *l, const struct floe_kafka_config *c,
                       bool defaults)
{
    const struct floe_dynamics *d = floe_catalog_dynamics(api_of(rq)->cfg.catalog);
    char text[32];
    snprintf(text, sizeof text, "%d", floe_lease_node_id(api_of(rq)->cfg.lease));
    const char *own = floe_dynamics_get(d, FLOE_DYNAMIC_BROKER, floe_kstr(text), c->name);
    const char *all = floe_dynamics_get(d, FLOE_DYNAMIC_BROKER, floe_kstr(""), c->name);
    const char *value = setting(rq, c->name, text);
    if (own)
        add(l, c->name, api_copy(rq, own), SOURCE_DYNAMIC_BROKER);
    if (all)
        add(l, c->name, api_copy(rq, all), SOURCE_DYNAMIC_DEFAULT);
    if (value && !(c->def && strcmp(c->def, value) == 0))
        add(l, c->name, api_copy(rq, value), SOURCE_STATIC_BROKER);
    if (c->def && defaults)
        add(l, c->name, floe_kstr(c->def), SOURCE_DEFAULT);
    return value != NULL;
}

/* The broker's configurations that stand for a topic's where it does not say, in the order in which Kafka
 * asks them; the others have the topic's name, some with "log." or "log.cleaner." before it. */
static void add_synonyms(struct floe_request *rq, struct layers *l, const char *topic)
{
    static const char *const special[][4] = {
        {"file.delete.delay.ms", "log.segment.delete.delay.ms"},
        {"flush.messages", "log.flush.interval.messages"},
        {"flush.ms", "log.flush.interval.ms", "log.flush.scheduler.interval.ms"},
        {"max.message.bytes", "message.max.bytes"},
        {"min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio"},
        {"retention.ms", "log.retention.ms", "log.retention.minutes", "log.retention.hours"},
        {"segment.index.bytes", "log.index.size.max.bytes"},
        {"segment.jitter.ms", "log.roll.jitter.ms", "log.roll.jitter.hours"},
        {"segment.ms", "log.roll.ms", "log.roll.hours"},
    };
    static const char *const prefixes[] = {"log.", "log.cleaner.", ""};
    const struct floe_kafka_config *c;
    for (size_t i = 0; i < FLOE_COUNTOF(special); i++) {
        if (strcmp(special[i][0], topic) != 0)
            continue;
        for (size_t k = 1; k < 4 && special[i][k]; k++) {
            c = floe_kafka_config_find(FLOE_CONFIG_BROKER, floe_slice_str(special[i][k]));
            if (c)
                (void)add_broker(rq, l, c, k == 1); /* Kafka shows no default but the first one's */
        }
        return;
    }
    for (size_t i = 0; i < FLOE_COUNTOF(prefixes); i++) {
        char name[96];
        snprintf(name, sizeof name, "%s%s", prefixes[i], topic);
        c = floe_kafka_config_find(FLOE_CONFIG_BROKER, floe_slice_str(name));
        if (c) {
            (void)add_broker(rq, l, c, true);
            return;
        }
    }
}

static bool put_entry(struct floe_request *rq, config_entry *e, const struct floe_kafka_config *c,
                      const struct layers *l, struct floe_kstr value, int8_t source, const char *note)
{
    const struct floe_kafka_DescribeConfigsRequest *in = rq->body;
    bool secret = c->type == FLOE_CONFIG_PASSWORD;
    e->Name = floe_kstr(c->name);
    e->Value = secret ? (struct floe_kstr){NULL, -1} : value;
    e->ConfigSource = source;
    e->ReadOnly = c->kind == FLOE_CONFIG_BROKER && !c->dynamic; /* set at the broker's start */
    e->IsSensitive = secret;
    e->ConfigType = floe_kafka_config_wire_type(c->type);
    e->Documentation = in->IncludeDocumentation ? floe_kstr(note) : (struct floe_kstr){NULL, -1};
    if (!in->IncludeSynonyms || secret)
        return true;
    e->Synonyms =
        floe_kafka_array(&floe_kafka_DescribeConfigsResponse_DescribeConfigsSynonym_desc, l->n, &rq->arena);
    if (!e->Synonyms)
        return false;
    e->Synonyms_n = l->n;
    for (int32_t i = 0; i < l->n; i++) {
        e->Synonyms[i].Name = l->v[i].name;
        e->Synonyms[i].Value = l->v[i].value;
        e->Synonyms[i].Source = l->v[i].source;
    }
    return true;
}

static config_entry *entries(struct floe_request *rq, enum floe_config_kind kind)
{
    int32_t n = 0;
    while (floe_kafka_config_at(kind, (uint32_t)n))
        n++;
    return floe_kafka_array(&floe_kafka_DescribeConfigsResponse_DescribeConfigsResourceResult_desc, n,
                            &rq->arena);
}

static struct floe_kstr shown(struct floe_request *rq, const struct floe_kafka_config *c, const char *value)
{
    size_t n = strlen(value);
    char *out = floe_arena_alloc(&rq->arena, n + 32);
    return out ? (struct floe_kstr){out, (int32_t)floe_kafka_config_shown(c, floe_slice(value, n), out)}
               : floe_kstr(NULL);
}

static bool put_topic(struct floe_request *rq, const struct floe_topic *t, const describe_resource *in,
                      struct floe_kafka_DescribeConfigsResponse_DescribeConfigsResult *out)
{
    const struct floe_kafka_config *c;
    out->Configs = entries(rq, FLOE_CONFIG_TOPIC);
    struct wanted want = wanted_of(in, FLOE_CONFIG_TOPIC);
    if (!out->Configs)
        return false;
    for (uint32_t i = 0; (c = floe_kafka_config_at(FLOE_CONFIG_TOPIC, i)); i++) {
        struct layers l = {.n = 0};
        struct floe_kstr value = floe_kstr(c->def);
        int8_t source = SOURCE_DEFAULT;
        char number[16];
        if (!wanted(&want, i))
            continue;
        const char *set = floe_topic_config_get(t, c->name);
        if (set)
            add(&l, c->name, shown(rq, c, set), SOURCE_TOPIC);
        add_synonyms(rq, &l, c->name);
        if (strcmp(c->name, "max.message.bytes") == 0) {
            snprintf(number, sizeof number, "%u", t->max_message_bytes);
            value = api_copy(rq, number);
        } else if (strcmp(c->name, "message.timestamp.type") == 0) {
            value = floe_kstr(t->log_append_time ? "LogAppendTime" : "CreateTime");
        } else if (set || (l.n > 0 && l.v[0].source != SOURCE_DEFAULT)) {
            value = l.v[0].value;
        }
        if (l.n > 0)
            source = l.v[0].source;
        if (!put_entry(rq, &out->Configs[out->Configs_n++], c, &l, value, source,
                       obeyed(c->name) ? "Obeyed." : "Stored; not yet obeyed."))
            return false;
    }
    return true;
}

/* All of Kafka's broker configurations: those that are settings of Floe with their values, the others at
 * Kafka's default, which tools look for. */
static bool put_broker(struct floe_request *rq, const describe_resource *in,
                       struct floe_kafka_DescribeConfigsResponse_DescribeConfigsResult *out)
{
    const struct floe_kafka_config *c;
    out->Configs = entries(rq, FLOE_CONFIG_BROKER);
    struct wanted want = wanted_of(in, FLOE_CONFIG_BROKER);
    if (!out->Configs)
        return false;
    for (uint32_t i = 0; (c = floe_kafka_config_at(FLOE_CONFIG_BROKER, i)); i++) {
        struct layers l = {.n = 0};
        if (!wanted(&want, i))
            continue;
        bool own = add_broker(rq, &l, c, true);
        if (!put_entry(rq, &out->Configs[out->Configs_n++], c, &l,
                       l.n > 0 ? l.v[0].value : (struct floe_kstr){NULL, -1},
                       l.n > 0 ? l.v[0].source : SOURCE_DEFAULT,
                       own ? "Obeyed."
                       : l.n > 0 && l.v[0].source != SOURCE_DEFAULT
                           ? "Stored; without meaning here."
                           : "Without meaning here: Kafka's default."))
            return false;
    }
    return true;
}

/* What was set for all brokers, and nothing else. */
static bool put_cluster(struct floe_request *rq, const describe_resource *in,
                        struct floe_kafka_DescribeConfigsResponse_DescribeConfigsResult *out)
{
    const struct floe_dynamics *d = floe_catalog_dynamics(api_of(rq)->cfg.catalog);
    const struct floe_kafka_config *c;
    out->Configs = entries(rq, FLOE_CONFIG_BROKER);
    struct wanted want = wanted_of(in, FLOE_CONFIG_BROKER);
    if (!out->Configs)
        return false;
    for (uint32_t i = 0; (c = floe_kafka_config_at(FLOE_CONFIG_BROKER, i)); i++) {
        struct layers l = {.n = 0};
        const char *all = floe_dynamics_get(d, FLOE_DYNAMIC_BROKER, floe_kstr(""), c->name);
        if (!all || !wanted(&want, i))
            continue;
        add(&l, c->name, api_copy(rq, all), SOURCE_DYNAMIC_DEFAULT);
        char text[32];
        if (!put_entry(rq, &out->Configs[out->Configs_n++], c, &l, l.v[0].value, SOURCE_DYNAMIC_DEFAULT,
                       setting(rq, c->name, text) ? "Obeyed." : "Stored; without meaning here."))
            return false;
    }
    return true;
}

static bool put_group(struct floe_request *rq, const describe_resource *in,
                      struct floe_kafka_DescribeConfigsResponse_DescribeConfigsResult *out)
{
    const struct floe_dynamics *d = floe_catalog_dynamics(api_of(rq)->cfg.catalog);
    const struct floe_kafka_config *c;
    out->Configs = entries(rq, FLOE_CONFIG_GROUP);
    struct wanted want = wanted_of(in, FLOE_CONFIG_GROUP);
    if (!out->Configs)
        return false;
    for (uint32_t i = 0; (c = floe_kafka_config_at(FLOE_CONFIG_GROUP, i)); i++) {
        struct layers l = {.n = 0};
        char text[32], name[96];
        const char *set = floe_dynamics_get(d, FLOE_DYNAMIC_GROUP, in->ResourceName, c->name);
        if (!wanted(&want, i))
            continue;
        snprintf(name, sizeof name, "group.%s", c->name);
        const char *value = setting(rq, name, text);
        if (set)
            add(&l, c->name, api_copy(rq, set), SOURCE_DYNAMIC_GROUP);
        else
            add(&l, c->name, api_copy(rq, value ? value : c->def), SOURCE_DEFAULT);
        bool own = strncmp(c->name, "consumer.", 9) == 0;
        if (!put_entry(rq, &out->Configs[out->Configs_n++], c, &l, l.v[0].value, l.v[0].source,
                       own ? "Obeyed." : "Stored; such groups are not served."))
            return false;
    }
    return true;
}

static bool put_result(struct floe_request *rq, const describe_resource *in,
                       struct floe_kafka_DescribeConfigsResponse_DescribeConfigsResult *out)
{
    out->ResourceType = in->ResourceType;
    out->ResourceName = in->ResourceName;
    out->ErrorMessage = (struct floe_kstr){"", 0};
    if (in->ConfigurationKeys_n > KEYS_MAX) {
        out->ErrorCode = FLOE_KERR_INVALID_REQUEST;
        out->ErrorMessage = floe_kstr("A resource can't name more than 10000 configurations.");
    } else if (in->ResourceType == TYPE_TOPIC) {
        struct api_want want = {.name = in->ResourceName};
        struct floe_error err = {0};
        const struct floe_topic *t = api_topic(api_of(rq), &want);
        if (t)
            return put_topic(rq, t, in, out);
        out->ErrorCode = api_unknown(rq, &want);
        if (floe_topic_name_check(in->ResourceName.p, (size_t)FLOE_MAX(in->ResourceName.n, 0), &err)) {
            out->ErrorCode = FLOE_KERR_INVALID_TOPIC_EXCEPTION;
            out->ErrorMessage = api_copy(rq, err.msg);
        }
    } else if (in->ResourceType == TYPE_BROKER) {
        char id[16];
        snprintf(id, sizeof id, "%d", floe_lease_node_id(api_of(rq)->cfg.lease));
        if (in->ResourceName.n <= 0)
            return put_cluster(rq, in, out);
        if (floe_kstr_is(in->ResourceName, id))
            return put_broker(rq, in, out);
        out->ErrorCode = FLOE_KERR_INVALID_REQUEST;
        out->ErrorMessage = floe_kstr("Ask that broker itself.");
    } else if (in->ResourceType == TYPE_GROUP && in->ResourceName.n > 0) {
        return put_group(rq, in, out);
    } else {
        out->ErrorCode = FLOE_KERR_INVALID_REQUEST;
        out->ErrorMessage = floe_kstr("Only topics, brokers and groups have configurations here.");
    }
    return true;
}

struct describe {
    struct floe_kafka_DescribeConfigsResponse *rs;
    struct floe_timer timer;
    int32_t done; /* resources */
};

/* Of what is looked at beside what is told: names asked for, and those of the kind. */
static int32_t cost(const describe_resource *in)
{
    return 1 + FLOE_MAX(in->ConfigurationKeys_n, 0) / 4 + (in->ResourceType == TYPE_TOPIC ? 8 : 50);
}

/* Some resources a turn: others come to their turn between. */
static void ready(struct floe_request *rq)
{
    const struct floe_kafka_DescribeConfigsRequest *in = rq->body;
    struct describe *d = rq->state;
    int32_t told = 0;
    for (; d->done < d->rs->Results_n && told < TURN_CONFIGS; d->done++) {
        told += cost(&in->Resources[d->done]);
        if (!put_result(rq, &in->Resources[d->done], &d->rs->Results[d->done])) {
            api_give_up(rq);
            return;
        }
        told += d->rs->Results[d->done].Configs_n;
    }
    if (d->done < d->rs->Results_n) {
        floe_timer_start(api_of(rq)->cfg.loop, &d->timer, 0);
        return;
    }
    rq->response = d->rs;
    floe_request_complete(rq);
}

static void on_turn(struct floe_timer *t)
{
    ready(t->user);
}

void api_describe_configs(struct floe_request *rq)
{
    const struct floe_kafka_DescribeConfigsRequest *in = rq->body;
    struct floe_arena *arena = &rq->arena;
    struct floe_kafka_DescribeConfigsResponse *rs = floe_arena_alloc(arena, sizeof *rs);
    int32_t n = FLOE_MAX(in->Resources_n, 0);
    uint32_t topics = 0;
    struct api_want *wants = floe_arena_calloc(arena, (size_t)n, sizeof *wants);
    struct describe *d = floe_arena_alloc(arena, sizeof *d);
    if (rs && wants && d) {
        floe_kafka_defaults(&floe_kafka_DescribeConfigsResponse_desc, rs);
        rs->Results =
            floe_kafka_array(&floe_kafka_DescribeConfigsResponse_DescribeConfigsResult_desc, n, arena);
    }
    if (!rs || !wants || !d || !rs->Results) {
        api_give_up(rq);
        return;
    }
    rs->Results_n = n;
    *d = (struct describe){.rs = rs};
    floe_timer_init(&d->timer, on_turn, rq);
    for (int32_t i = 0; i < n; i++) {
        if (in->Resources[i].ResourceType == TYPE_TOPIC)
            wants[topics++].name = in->Resources[i].ResourceName;
    }
    rq->state = d;
    api_topics_ready(rq, wants, topics, ready);
}
