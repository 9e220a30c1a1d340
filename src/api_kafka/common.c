/* What several handlers need: errors, endpoints, leaders, and topics made known. */
#include "api_kafka/api_int.h"
#include <floe/base/str.h>
#include <floe/kafka/configs.h>
#include <stdio.h>
#include <stdlib.h>

int16_t api_error(enum floe_err e)
{
    switch (e) {
    case FLOE_OK:
        return FLOE_KERR_NONE;
    case FLOE_ENOTHOLDER:
    case FLOE_EFENCED:
    case FLOE_ECLOSED:
    case FLOE_ELAPSED:
        return FLOE_KERR_NOT_LEADER_OR_FOLLOWER;
    case FLOE_ENOTFOUND:
        return FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION;
    case FLOE_EEXISTS:
        return FLOE_KERR_TOPIC_ALREADY_EXISTS;
    case FLOE_ETIMEOUT:
    case FLOE_EINDETERMINATE:
    case FLOE_EAGAIN:
    case FLOE_ENOMEM:
    case FLOE_EUNAVAILABLE:
    case FLOE_EREFUSED:
        return FLOE_KERR_REQUEST_TIMED_OUT;
    case FLOE_ETOOLARGE:
        return FLOE_KERR_POLICY_VIOLATION;
    case FLOE_EINVAL:
        return FLOE_KERR_INVALID_REQUEST;
    case FLOE_EUNSUPPORTED:
        return FLOE_KERR_UNSUPPORTED_VERSION;
    case FLOE_ECORRUPT:
    case FLOE_EIO:
    case FLOE_ENOSPACE:
    case FLOE_EDENIED:
        return FLOE_KERR_KAFKA_STORAGE_ERROR;
    default:
        return FLOE_KERR_UNKNOWN_SERVER_ERROR;
    }
}

void api_give_up(struct floe_request *rq)
{
    floe_request_close(rq, "the request needs more memory than a request may take");
}

int16_t api_epoch_error(int32_t epoch, int32_t want)
{
    if (want < 0 || want == epoch)
        return 0;
    return want < epoch ? FLOE_KERR_FENCED_LEADER_EPOCH : FLOE_KERR_UNKNOWN_LEADER_EPOCH;
}

bool api_leader(struct floe_api *api, const struct floe_tp *tp, int32_t *node, int32_t *epoch)
{
    struct floe_lease_entry e;
    if (!floe_lease_lookup(api->cfg.lease, tp, &e))
        return false;
    *node = e.holder.node;
    *epoch = e.epoch;
    return true;
}

struct floe_node_info *api_nodes(struct floe_request *rq, uint32_t *n)
{
    struct floe_lease *l = api_of(rq)->cfg.lease;
    uint32_t count = floe_lease_nodes(l, NULL, 0);
    struct floe_node_info *nodes = floe_arena_calloc(&rq->arena, count, sizeof *nodes);
    if (!nodes)
        return NULL;
    *n = FLOE_MIN(floe_lease_nodes(l, nodes, count), count);
    return nodes;
}

/* "host:port" or "[v6]:port" in two. */
static void split_addr(struct floe_request *rq, const char *addr, struct api_endpoint *out)
{
    struct floe_str_addr a = {.host = ""};
    (void)!floe_str_parse_addr(addr, &a,
                               NULL); /* of a session record: one that is no address reads as empty */
    char *copy = floe_arena_strndup(&rq->arena, a.host, strlen(a.host));
    out->host = copy ? floe_kstr(copy) : (struct floe_kstr){"", 0};
    out->port = a.port;
}

void api_endpoint_of(struct floe_request *rq, const struct floe_node_info *node, struct api_endpoint *out)
{
    const char *name = api_of(rq)->cfg.listeners[rq->client->listener];
    const char *addr = node->addr_count ? node->addrs[0].addr : "";
    for (uint32_t i = 0; i < node->addr_count; i++) {
        if (strcmp(node->addrs[i].name, name) == 0)
            addr = node->addrs[i].addr;
    }
    out->node = node->session.node;
    out->rack = node->rack[0] ? api_copy(rq, node->rack) : (struct floe_kstr){NULL, -1};
    split_addr(rq, addr, out);
}

struct api_endpoint *api_endpoints(struct floe_request *rq, uint32_t *n)
{
    struct floe_node_info *nodes = api_nodes(rq, n);
    struct api_endpoint *out = nodes ? floe_arena_calloc(&rq->arena, *n, sizeof *out) : NULL;
    if (!out)
        return NULL;
    for (uint32_t i = 0; i < *n; i++)
        api_endpoint_of(rq, &nodes[i], &out[i]);
    return out;
}

const struct floe_topic *api_topic(struct floe_api *api, const struct api_want *w)
{
    if (w->name.n >= 0)
        return floe_catalog_by_name(api->cfg.catalog, w->name.p, (size_t)w->name.n);
    return floe_catalog_by_id(api->cfg.catalog, &w->id);
}

struct wanted {
    const struct api_want *want;
    bool *repeated;
};

static int by_want(const void *a, const void *b)
{
    const struct api_want *x = ((const struct wanted *)a)->want, *y = ((const struct wanted *)b)->want;
    int c = (x->name.n > y->name.n) - (x->name.n < y->name.n);
    if (!c && x->name.n > 0)
        c = memcmp(x->name.p, y->name.p, (size_t)x->name.n);
    if (!c)
        c = memcmp(x->id.b, y->id.b, sizeof x->id.b);
    return c ? c : (x > y) - (x < y); /* the first of them comes first: one array */
}

bool api_repeated(struct floe_request *rq, const struct api_want *wants, uint32_t n, bool first_too,
                  bool *repeated)
{
    struct wanted *w = floe_arena_calloc(&rq->arena, n, sizeof *w);
    if (!w)
        return false;
    for (uint32_t i = 0; i < n; i++)
        w[i] = (struct wanted){&wants[i], &repeated[i]};
    if (n > 1)
        qsort(w, n, sizeof *w, by_want);
    for (uint32_t i = 1; i < n; i++) {
        const struct api_want *a = w[i - 1].want, *b = w[i].want;
        if (!floe_kstr_eq(a->name, b->name) || !floe_uuid_eq(&a->id, &b->id))
            continue;
        *w[i].repeated = true;
        *w[i - 1].repeated = *w[i - 1].repeated || first_too;
    }
    return true;
}

const bool *api_config_repeats(struct floe_request *rq, const struct api_config_change *w, uint32_t n)
{
    struct api_want *names = floe_arena_calloc(&rq->arena, n, sizeof *names);
    bool *repeated = floe_arena_calloc(&rq->arena, n, sizeof *repeated);
    for (uint32_t i = 0; names && i < n; i++)
        names[i].name = w[i].name;
    return names && repeated && api_repeated(rq, names, n, false, repeated) ? repeated : NULL;
}

enum api_place api_place(struct floe_api *api, const struct floe_topic *t, const struct floe_tp *tp,
                         struct floe_partition **p)
{
    if (!t || tp->index < 0 || tp->index >= t->partitions)
        return API_UNKNOWN;
    switch (floe_log_find(api->cfg.log, tp, p)) {
    case FLOE_PARTITION_SERVING:
        return API_SERVING;
    case FLOE_PARTITION_HANDING:
        return API_HANDING;
    case FLOE_PARTITION_REBUILDING:
        return API_WAIT;
    case FLOE_PARTITION_ABSENT:
        break;
    }
    struct floe_lease_entry e;
    const struct floe_session_name *own = floe_lease_session(api->cfg.lease);
    /* Ours: the log is told in a moment. Our node's former session's: it has ended, and we take it back or
     * another does, which changes the lease. */
    if (own && floe_lease_lookup(api->cfg.lease, tp, &e) && e.holder.node == own->node)
        return API_WAIT;
    /* On its way to us: who was sent here by its last holder is not to be sent back. */
    return floe_log_expects(api->cfg.log, tp) ? API_WAIT : API_ELSEWHERE;
}

/* ---- waiting for a partition ------------------------------------------------------------------------ */

uint64_t api_hold_until(struct floe_request *rq)
{
    struct floe_client *c = rq->client;
    uint64_t now = floe_loop_now_us(api_of(rq)->cfg.loop);
    c->waited_us -= FLOE_MIN(c->waited_us, (now - c->waited_at_us) / HOLD_REFILL);
    c->waited_at_us = now;
    return now + HOLD_US - FLOE_MIN(c->waited_us, (uint64_t)HOLD_US);
}

void api_held(struct floe_request *rq, uint64_t *since_us, bool waits)
{
    uint64_t now = floe_loop_now_us(api_of(rq)->cfg.loop);
    if (waits && *since_us == 0) {
        *since_us = now;
    } else if (!waits && *since_us != 0) {
        rq->client->waited_us += now - *since_us;
        *since_us = 0;
    }
}

int16_t api_check_brokers(struct floe_request *rq, const int32_t *ids, int32_t n, struct floe_error *err)
{
    struct floe_node_info node;
    if (n <= 0) {
        floe_error_set(err, FLOE_EINVAL, "The manual partition assignment includes an empty replica list.");
        return FLOE_KERR_INVALID_REPLICA_ASSIGNMENT;
    }
    for (int32_t i = 0; i < n; i++) {
        bool known = floe_lease_node(api_of(rq)->cfg.lease, ids[i], &node);
        for (int32_t k = 0; known && k < i; k++) { /* so no longer than there are brokers */
            if (ids[k] != ids[i])
                continue;
            floe_error_set(err, FLOE_EINVAL,
                           "The manual partition assignment includes the broker %d more than once.", ids[i]);
            return FLOE_KERR_INVALID_REPLICA_ASSIGNMENT;
        }
        if (known)
            continue;
        floe_error_set(err, FLOE_EINVAL,
                       "The manual partition assignment includes broker %d, but no such broker is "
                       "registered.",
                       ids[i]);
        return FLOE_KERR_INVALID_REPLICA_ASSIGNMENT;
    }
    return 0;
}

static const char *config_of(const struct floe_topic_config *c, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(c[i].name, name) == 0)
            return c[i].value;
    const struct floe_kafka_config *k = floe_kafka_config_find(FLOE_CONFIG_TOPIC, floe_slice_str(name));
    return k->def;
}

enum floe_err api_configs_agree(const struct floe_topic_config *c, uint32_t n, struct floe_error *err)
{
    static const char *const lag[2] = {"min.compaction.lag.ms", "max.compaction.lag.ms"};
    int64_t ms[2];
    for (int i = 0; i < 2; i++)
        ms[i] = floe_kafka_config_int(floe_kafka_config_find(FLOE_CONFIG_TOPIC, floe_slice_str(lag[i])),
                                      floe_slice_str(config_of(c, n, lag[i])));
    if (ms[0] > ms[1])
        return floe_error_set(err, FLOE_EINVAL, "conflict topic config setting %s (%lld) > %s (%lld)", lag[0],
                              (long long)ms[0], lag[1], (long long)ms[1]);
    const char *remote = "remote.storage.enable";
    const struct floe_kafka_config *r = floe_kafka_config_find(FLOE_CONFIG_TOPIC, floe_slice_str(remote));
    if (floe_kafka_config_int(r, floe_slice_str(config_of(c, n, remote))))
        return floe_error_set(err, FLOE_EINVAL,
                              "Tiered Storage functionality is disabled in the broker. Topic cannot be "
                              "configured with remote log storage.");
    return FLOE_OK;
}

struct ready {
    struct floe_request *rq;
    void (*then)(struct floe_request *rq);
    struct floe_catalog_wait wait;
    const struct api_want *wants;
    uint32_t n, refreshing;
};

static void shard_refreshed(void *user, const struct floe_error *err)
{
    struct ready *r = user;
    (void)err; /* a partition without a known lease answers for itself */
    if (--r->refreshing == 0)
        r->then(r->rq);
}

/* Leases of 64 partitions share a shard: one look at each shard tells whether it must be read. */
static void ready_leases(struct ready *r)
{
    struct floe_api *api = api_of(r->rq);
    r->refreshing = 1;
    for (uint32_t i = 0; i < r->n; i++) {
        const struct floe_topic *t = api_topic(api, &r->wants[i]);
        struct floe_uuid id = t ? t->id : (struct floe_uuid){{0}};
        int32_t partitions = t ? t->partitions : 0;
        for (int32_t p = 0; p < partitions; p += 64) {
            struct floe_tp tp = {id, p};
            struct floe_lease_entry e;
            if (floe_lease_lookup(api->cfg.lease, &tp, &e))
                continue;
            r->refreshing++;
            floe_lease_refresh(api->cfg.lease, &tp, shard_refreshed, r);
        }
    }
    static const struct floe_error ok;
    shard_refreshed(r, &ok);
}

static void topics_read(struct floe_catalog_wait *w)
{
    struct ready *r = w->user;
    if (w->err.code || (w->all && !floe_catalog_complete(api_of(r->rq)->cfg.catalog)))
        r->rq->lookup_error = FLOE_KERR_LEADER_NOT_AVAILABLE; /* clients look again */
    ready_leases(r);
}

static bool all_known(struct floe_api *api, const struct api_want *wants, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct floe_topic *t = api_topic(api, &wants[i]);
        if (!t)
            return false;
        for (int32_t p = 0; p < t->partitions; p += 64) {
            struct floe_tp tp = {t->id, p};
            struct floe_lease_entry e;
            if (!floe_lease_lookup(api->cfg.lease, &tp, &e))
                return false;
        }
    }
    return true;
}

struct api_want *api_all_topics(struct floe_request *rq, uint32_t *n)
{
    struct floe_catalog *catalog = api_of(rq)->cfg.catalog;
    uint32_t room = floe_catalog_list(catalog, NULL, 0);
    const struct floe_topic **list = floe_arena_calloc(&rq->arena, room, sizeof(void *));
    struct api_want *wants = floe_arena_calloc(&rq->arena, room, sizeof *wants);
    if (!list || !wants)
        return NULL;
    *n = FLOE_MIN(floe_catalog_list(catalog, list, room), room);
    for (uint32_t i = 0; i < *n; i++)
        wants[i].name = api_copy(rq, list[i]->name);
    return wants;
}

void api_topics_ready(struct floe_request *rq, const struct api_want *wants, uint32_t n,
                      void (*then)(struct floe_request *rq))
{
    struct floe_api *api = api_of(rq);
    if (all_known(api, wants, n)) {
        then(rq);
        return;
    }
    struct ready *r = floe_arena_alloc(&rq->arena, sizeof *r);
    struct floe_slice *names = floe_arena_calloc(&rq->arena, n, sizeof *names);
    if (!r || !names) {
        api_give_up(rq);
        return;
    }
    *r = (struct ready){.rq = rq, .then = then, .wants = wants, .n = n};
    bool unknown = false;
    for (uint32_t i = 0; i < n; i++) {
        bool by_id = wants[i].name.n < 0;
        if (api_topic(api, &wants[i]) ||
            (!by_id && floe_topic_name_check(wants[i].name.p, (size_t)wants[i].name.n, NULL)))
            continue; /* known, or no topic can have that name */
        unknown = true;
        if (by_id)
            r->wait.all = true;
        else
            names[r->wait.name_count++] = floe_slice(wants[i].name.p, (size_t)wants[i].name.n);
    }
    r->wait.names = names;
    r->wait.done = topics_read;
    r->wait.user = r;
    if (unknown)
        floe_catalog_resolve(api->cfg.catalog, &r->wait);
    else
        ready_leases(r);
}

bool api_settled(const struct floe_request *rq, const struct floe_partition *p, int64_t after,
                 uint64_t until_us)
{
    return floe_partition_high_watermark(p) >= after || rq->client->gone ||
           floe_loop_now_us(api_of(rq)->cfg.loop) >= until_us;
}
