/* Configurations of brokers and groups over the wire (IncrementalAlterConfigs, AlterConfigs): checked as
 * Kafka's broker and controller do, stored for all brokers. What is in force of them:
 * docs/operations/configuration.md.
 */
#include "api_kafka/api_int.h"
#include <floe/base/str.h>
#include <floe/kafka/configs.h>
#include <stdio.h>
#include <stdlib.h>

struct api_dynamic {
    struct floe_dynamics_op op;
    enum floe_dynamic_kind kind;
    bool replace;
    char *resource;
    void (*done)(void *user, const struct floe_error *err); /* null: nobody waits any more */
    void *user;
    uint32_t n;
    struct dynamic_set {
        uint8_t kind;
        char *name, *value;
    } set[];
};

static int16_t refuse(struct floe_error *err, int16_t code, const char *format, struct floe_kstr name)
{
    char text[200];
    snprintf(text, sizeof text, format, (int)FLOE_MIN(FLOE_MAX(name.n, 0), 100), name.n > 0 ? name.p : "");
    floe_error_set(err, FLOE_EINVAL, "%s", text);
    return code;
}

static bool begins(struct floe_kstr s, const char *with)
{
    size_t n = strlen(with);
    return s.n >= 0 && (size_t)s.n >= n && memcmp(s.p, with, n) == 0;
}

/* Of listeners, TLS and authentication: they belong to the broker's start here. Those of Kerberos, which no
 * listener speaks, are kept without effect like any other that has none. */
static bool of_listeners(struct floe_kstr name)
{
    return begins(name, "ssl.") || (begins(name, "sasl.") && !begins(name, "sasl.kerberos.")) ||
           begins(name, "listener") || begins(name, "principal.builder") || begins(name, "metric.reporters");
}

/* Kafka takes half of the threads that there are, up to twice as many. */
static bool threads_fit(struct floe_request *rq, const struct floe_kafka_config *c, int64_t want)
{
    size_t n = strlen(c->name);
    bool threads = strstr(c->name, "threads") || strcmp(c->name, "num.replica.fetchers") == 0;
    const char *now = api_dynamic_value(rq, c->name);
    int64_t have = 0;
    if (!threads || n == 0 || floe_str_parse_i64(now ? now : c->def ? c->def : "", &have, NULL) || have < 1)
        return true;
    return want <= 2 * have && want >= have / 2;
}

static int16_t check_broker(struct floe_request *rq, const struct api_config_change *w, bool cluster,
                            const struct floe_kafka_config *c, struct floe_error *err)
{
    struct floe_slice v = floe_slice(w->value.p, (size_t)FLOE_MAX(w->value.n, 0));
    if ((c && !c->dynamic) || of_listeners(w->name))
        return refuse(err, FLOE_KERR_INVALID_REQUEST, "Cannot update these configs dynamically: Set(%.*s)",
                      w->name);
    if (w->kind == API_CONFIG_DELETE || !c)
        return 0;
    if (cluster && begins(w->name, "sasl.kerberos."))
        return refuse(err, FLOE_KERR_INVALID_REQUEST,
                      "Cannot update these configs at default cluster level, broker id must be specified: "
                      "Set(%.*s)",
                      w->name);
    if (!cluster && strcmp(c->name, "min.insync.replicas") == 0)
        return refuse(err, FLOE_KERR_INVALID_CONFIG, "%.*s is configured for all brokers", w->name);
    if (w->kind != API_CONFIG_SET)
        return 0; /* checked with what is there */
    if (floe_kafka_config_check(c, v, err))
        return FLOE_KERR_INVALID_REQUEST;
    if (c->type == FLOE_CONFIG_INT && !threads_fit(rq, c, floe_kafka_config_int(c, v)))
        return refuse(
            err, FLOE_KERR_INVALID_REQUEST,
            "Dynamic thread count update validation failed for %.*s: the value should be at least half "
            "and at most twice the current one",
            w->name);
    return 0;
}

/* "consumer.session.timeout.ms" lies between the broker's "group.consumer.min.session.timeout.ms" and
 * "…max…". */
static int16_t check_group(const struct api_config_change *w, const struct floe_kafka_config *c,
                           struct floe_error *err)
{
    struct floe_slice v = floe_slice(w->value.p, (size_t)FLOE_MAX(w->value.n, 0));
    if (w->kind != API_CONFIG_SET)
        return 0;
    if (floe_kafka_config_check(c, v, err))
        return FLOE_KERR_INVALID_CONFIG;
    const char *dot = strchr(c->name, '.');
    for (int max = 0; c->type == FLOE_CONFIG_INT && max < 2; max++) {
        char name[96];
        snprintf(name, sizeof name, "group.%.*s.%s%s", (int)(dot - c->name), c->name, max ? "max" : "min",
                 dot);
        const struct floe_kafka_config *b = floe_kafka_config_find(FLOE_CONFIG_BROKER, floe_slice_str(name));
        int64_t bound = b && b->def ? floe_kafka_config_int(b, floe_slice_str(b->def)) : 0;
        int64_t want = floe_kafka_config_int(c, v);
        if (!b || (max ? want <= bound : want >= bound))
            continue;
        floe_error_set(err, FLOE_EINVAL, "%s must be %s than or equal to %s", c->name,
                       max ? "less" : "greater", name);
        return FLOE_KERR_INVALID_CONFIG;
    }
    return 0;
}

int16_t api_dynamic_resource(struct floe_request *rq, enum floe_dynamic_kind kind, struct floe_kstr name,
                             struct floe_error *err)
{
    char text[16];
    int64_t id;
    if (kind == FLOE_DYNAMIC_GROUP)
        return name.n > 0 ? 0
                          : refuse(err, FLOE_KERR_INVALID_REQUEST,
                                   "Default group resources are not allowed.%.*s", name);
    if (name.n == 0)
        return 0;
    snprintf(text, sizeof text, "%.*s", (int)FLOE_MIN(FLOE_MAX(name.n, 0), 15), name.n > 0 ? name.p : "");
    if (name.n < 15 && floe_str_parse_i64(text, &id, NULL) == FLOE_OK &&
        id == floe_lease_node_id(api_of(rq)->cfg.lease))
        return 0;
    return refuse(err, FLOE_KERR_INVALID_REQUEST,
                  "Unexpected broker id, expected this broker's or an empty string, but received %.*s", name);
}

int16_t api_dynamic_check(struct floe_request *rq, enum floe_dynamic_kind kind, struct floe_kstr resource,
                          const struct api_config_change *w, uint32_t n, struct floe_error *err)
{
    enum floe_config_kind table = kind == FLOE_DYNAMIC_BROKER ? FLOE_CONFIG_BROKER : FLOE_CONFIG_GROUP;
    if (n > API_CONFIG_CHANGES_MAX)
        return refuse(err, FLOE_KERR_INVALID_REQUEST, "More than 512 configurations of %.*s", resource);
    const bool *repeated = api_config_repeats(rq, w, n);
    for (uint32_t i = 0; i < n; i++) {
        struct floe_slice name = floe_slice(w[i].name.p, (size_t)FLOE_MAX(w[i].name.n, 0));
        const struct floe_kafka_config *c = floe_kafka_config_find(table, name);
        if (!repeated || repeated[i])
            return refuse(err, FLOE_KERR_INVALID_REQUEST, "Error due to duplicate config keys: %.*s",
                          w[i].name);
        if (w[i].kind > API_CONFIG_SUBTRACT)
            return refuse(err, FLOE_KERR_INVALID_REQUEST, "Unknown operation for config %.*s", w[i].name);
        if (!c && kind == FLOE_DYNAMIC_GROUP && w[i].kind != API_CONFIG_DELETE)
            return refuse(err, FLOE_KERR_INVALID_CONFIG, "Unknown group config name: %.*s", w[i].name);
        if (w[i].kind != API_CONFIG_DELETE && w[i].value.n < 0)
            return refuse(err, FLOE_KERR_INVALID_REQUEST, "Null value not supported for : %.*s", w[i].name);
        if (w[i].value.n > FLOE_TOPIC_CONFIG_VALUE_MAX || w[i].name.n > 256)
            return refuse(err, FLOE_KERR_INVALID_CONFIG, "Too long: %.*s", w[i].name);
        if (w[i].kind >= API_CONFIG_APPEND && (!c || c->type != FLOE_CONFIG_LIST))
            return refuse(err, FLOE_KERR_INVALID_CONFIG,
                          "Can't APPEND to or SUBTRACT from key %.*s because its type is not LIST.",
                          w[i].name);
        int16_t error = kind == FLOE_DYNAMIC_BROKER ? check_broker(rq, &w[i], resource.n == 0, c, err)
                        : c                         ? check_group(&w[i], c, err)
                                                    : 0;
        if (error)
            return error;
    }
    return 0;
}

/* ---- storing ---------------------------------------------------------------------------------------------
 */

static void dynamic_free(struct floe_dynamics_op *op)
{
    struct api_dynamic *d = FLOE_CONTAINER(op, struct api_dynamic, op);
    for (uint32_t i = 0; i < d->n; i++) {
        free(d->set[i].name);
        free(d->set[i].value);
    }
    free(d->resource);
    free(d);
}

static enum floe_err set_one(struct floe_dynamics *all, const struct api_dynamic *d,
                             const struct dynamic_set *s, struct floe_error *err)
{
    struct floe_kstr resource = floe_kstr(d->resource), none = {NULL, -1};
    char *made = NULL;
    if (s->kind >= API_CONFIG_APPEND) {
        const struct floe_kafka_config *c =
            floe_kafka_config_find(FLOE_CONFIG_BROKER, floe_slice_str(s->name));
        const char *now = floe_dynamics_get(all, d->kind, resource, s->name);
        made = api_list_edit(now ? now : c && c->def ? c->def : "", s->value, s->kind == API_CONFIG_APPEND);
        if (!made)
            return floe_error_set(err, FLOE_ENOMEM, "no memory");
        if (c && floe_kafka_config_check(c, floe_slice_str(made), err)) {
            free(made);
            return err->code;
        }
    }
    struct floe_kstr value = s->kind == API_CONFIG_DELETE ? none : floe_kstr(made ? made : s->value);
    bool ok = floe_dynamics_set(all, d->kind, resource, floe_kstr(s->name), value);
    free(made);
    return ok ? FLOE_OK : floe_error_set(err, FLOE_ETOOLARGE, "more configurations than one record holds");
}

/* Runs on each fresh copy of the record. */
static enum floe_err edit(void *user, struct floe_dynamics *all, struct floe_error *err)
{
    struct api_dynamic *d = user;
    enum floe_err rc = FLOE_OK;
    for (uint32_t i = all->n; d->replace && i > 0; i--) {
        const struct floe_dynamic *e = &all->list[i - 1];
        if (e->kind == d->kind && strcmp(e->resource, d->resource) == 0)
            (void)floe_dynamics_set(all, d->kind, floe_kstr(d->resource), floe_kstr(e->name),
                                    (struct floe_kstr){NULL, -1});
    }
    for (uint32_t i = 0; !rc && i < d->n; i++)
        rc = set_one(all, d, &d->set[i], err);
    return rc;
}

static void stored(struct floe_dynamics_op *op)
{
    struct api_dynamic *d = FLOE_CONTAINER(op, struct api_dynamic, op);
    if (d->done)
        d->done(d->user, &op->err);
    dynamic_free(op);
}

static char *text_of(struct floe_kstr s)
{
    return strndup(s.n > 0 ? s.p : "", (size_t)FLOE_MAX(s.n, 0));
}

struct api_dynamic *api_dynamic_store(struct floe_request *rq, enum floe_dynamic_kind kind,
                                      struct floe_kstr resource, const struct api_config_change *w,
                                      uint32_t n, bool replace,
                                      void (*done)(void *user, const struct floe_error *err), void *user)
{
    struct api_dynamic *d = calloc(1, sizeof *d + n * sizeof d->set[0]);
    char id[16];
    if (!d)
        return NULL;
    snprintf(id, sizeof id, "%d", floe_lease_node_id(api_of(rq)->cfg.lease));
    bool own = kind == FLOE_DYNAMIC_BROKER && resource.n > 0; /* "01" is 1 */
    d->resource = own ? strdup(id) : text_of(resource);
    bool ok = d->resource != NULL;
    for (uint32_t i = 0; ok && i < n; i++) {
        d->set[i] = (struct dynamic_set){w[i].kind, text_of(w[i].name), text_of(w[i].value)};
        d->n = i + 1;
        ok = d->set[i].name && d->set[i].value;
    }
    d->op = (struct floe_dynamics_op){.edit = edit, .done = stored, .drop = dynamic_free, .user = d};
    if (!ok) {
        dynamic_free(&d->op);
        return NULL;
    }
    d->kind = kind;
    d->replace = replace;
    d->done = done;
    d->user = user;
    floe_catalog_dynamics_change(api_of(rq)->cfg.catalog, &d->op);
    return d;
}

void api_dynamic_detach(struct api_dynamic *d)
{
    if (d)
        d->done = NULL;
}

const char *api_dynamic_value(struct floe_request *rq, const char *name)
{
    const struct floe_dynamics *d = floe_catalog_dynamics(api_of(rq)->cfg.catalog);
    char id[16];
    snprintf(id, sizeof id, "%d", floe_lease_node_id(api_of(rq)->cfg.lease));
    const char *own = floe_dynamics_get(d, FLOE_DYNAMIC_BROKER, floe_kstr(id), name);
    return own ? own : floe_dynamics_get(d, FLOE_DYNAMIC_BROKER, floe_kstr(""), name);
}
