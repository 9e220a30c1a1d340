/* FindCoordinator 0–6: the holder of the group's partition of __consumer_offsets, which is made when it is
 * first asked for. Transactions are not served: a producer that asks for their coordinator is sent here,
 * where InitProducerId says so, instead of being left to ask again for ever. */
#include "api_kafka/api_int.h"

#define CREATE_US 15000000 /* how long an answer waits for the topic to be made */

enum { KEY_GROUP, KEY_TRANSACTION, KEY_SHARE };

struct find {
    struct floe_request *rq;
    struct api_want want;
    struct floe_catalog_op *op;
    struct floe_timer timer;
    bool made;         /* one try is enough */
    uint64_t until_us; /* so long it waits for a coordinator here that is not ready */
    uint64_t held_since_us;
};

typedef struct floe_kafka_FindCoordinatorResponse_Coordinator coordinator;

static void refuse(coordinator *c, int16_t error, const char *why)
{
    c->ErrorCode = error;
    c->ErrorMessage = floe_kstr(why);
}

static void name_node(struct floe_request *rq, int32_t node, coordinator *c)
{
    struct floe_node_info n;
    struct api_endpoint e;
    if (!floe_lease_node(api_of(rq)->cfg.lease, node, &n)) {
        refuse(c, FLOE_KERR_COORDINATOR_NOT_AVAILABLE, "The coordinator is not available.");
        return;
    }
    api_endpoint_of(rq, &n, &e);
    c->NodeId = e.node;
    c->Host = e.host;
    c->Port = e.port;
    c->ErrorMessage = floe_kstr("");
}

static void find_group(struct floe_request *rq, coordinator *c)
{
    struct find *f = rq->state;
    const struct floe_topic *t = api_topic(api_of(rq), &f->want);
    int32_t node, epoch;
    if (c->Key.n < 0) {
        refuse(c, FLOE_KERR_INVALID_REQUEST, "The group id is null.");
        return;
    }
    struct floe_tp tp = {t ? t->id : (struct floe_uuid){{0}},
                         t ? floe_group_partition(c->Key, t->partitions) : 0};
    if (t && api_leader(api_of(rq), &tp, &node, &epoch))
        name_node(rq, node, c);
    else
        refuse(c, FLOE_KERR_COORDINATOR_NOT_AVAILABLE, "The coordinator is not available.");
}

/* group:topic id:partition */
static bool is_share_key(struct floe_kstr key)
{
    int colons = 0;
    for (int32_t i = 0; i < key.n; i++)
        colons += key.p[i] == ':';
    return colons >= 2 && key.p[0] != ':' && key.p[key.n - 1] >= '0' && key.p[key.n - 1] <= '9';
}

static void find_one(struct floe_request *rq, int8_t type, coordinator *c)
{
    c->NodeId = c->Port = -1;
    if (type == KEY_GROUP)
        find_group(rq, c);
    else if (type == KEY_TRANSACTION)
        name_node(rq, floe_lease_node_id(api_of(rq)->cfg.lease), c);
    else if (type == KEY_SHARE && rq->head.api_version >= 6)
        refuse(c, is_share_key(c->Key) ? FLOE_KERR_COORDINATOR_NOT_AVAILABLE : FLOE_KERR_INVALID_REQUEST,
               "Share groups are not served.");
    else
        refuse(c, FLOE_KERR_INVALID_REQUEST, "The key type is not known.");
}

static void look_again(struct floe_timer *t);

static void answer(struct floe_request *rq)
{
    const struct floe_kafka_FindCoordinatorRequest *in = rq->body;
    struct floe_kafka_FindCoordinatorResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    bool batched = rq->head.api_version >= 4;
    int32_t n = batched ? FLOE_MAX(in->CoordinatorKeys_n, 0) : 1;
    coordinator *all = floe_kafka_array(&floe_kafka_FindCoordinatorResponse_Coordinator_desc, n, &rq->arena);
    if (!rs || !all) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_FindCoordinatorResponse_desc, rs);
    for (int32_t i = 0; i < n; i++) {
        all[i].Key = batched ? in->CoordinatorKeys[i] : in->Key;
        find_one(rq, in->KeyType, &all[i]);
    }
    if (batched) {
        rs->Coordinators = all;
        rs->Coordinators_n = n;
    } else {
        rs->ErrorCode = all->ErrorCode;
        rs->ErrorMessage = all->ErrorMessage;
        rs->NodeId = all->NodeId;
        rs->Host = all->Host;
        rs->Port = all->Port;
    }
    rq->response = rs;
    floe_request_complete(rq);
}

/* Is this broker the coordinator of one of the groups, and not ready for it? */
static bool loading(struct floe_request *rq)
{
    const struct floe_kafka_FindCoordinatorRequest *in = rq->body;
    struct find *f = rq->state;
    struct floe_api *api = api_of(rq);
    const struct floe_topic *t = api_topic(api, &f->want);
    bool batched = rq->head.api_version >= 4;
    int32_t n = batched ? in->CoordinatorKeys_n : 1, node, epoch;
    for (int32_t i = 0; t && i < n; i++) {
        struct floe_kstr key = batched ? in->CoordinatorKeys[i] : in->Key;
        if (key.n < 0)
            continue;
        struct floe_tp tp = {t->id, floe_group_partition(key, t->partitions)};
        if (api_leader(api, &tp, &node, &epoch) && node == floe_lease_node_id(api->cfg.lease) &&
            floe_group_loading(api->cfg.groups, key))
            return true;
    }
    return false;
}

/* A coordinator that is named is asked at once, and one that has just come refuses a moment long: there are
 * clients that take this for the end. */
static void answer_when_ready(struct floe_request *rq)
{
    struct find *f = rq->state;
    uint64_t now = floe_loop_now_us(api_of(rq)->cfg.loop);
    if (f->until_us == 0)
        f->until_us = f->made ? now + API_SETTLE_US : api_hold_until(rq);
    bool waits = now < f->until_us && loading(rq);
    api_held(rq, &f->held_since_us, waits);
    if (!waits) {
        answer(rq);
        return;
    }
    floe_timer_init(&f->timer, look_again, f);
    floe_timer_start(api_of(rq)->cfg.loop, &f->timer, POLL_US);
}

static void look_again(struct floe_timer *t)
{
    struct find *f = t->user;
    answer_when_ready(f->rq);
}

static void known(struct floe_request *rq);

static void created(void *user, const struct floe_error *err, const struct floe_uuid *id)
{
    struct find *f = user;
    (void)err; /* made, there already, or the answer says that there is no coordinator */
    (void)id;
    f->op = NULL;
    floe_timer_stop(&f->timer);
    f->rq->cancel = NULL;
    api_topics_ready(f->rq, &f->want, 1, known);
}

static void create_timed_out(struct floe_timer *t)
{
    struct find *f = t->user;
    floe_catalog_op_detach(f->op);
    answer(f->rq);
}

/* The client is gone: the topic is made without it. */
static void cancel(struct floe_request *rq)
{
    struct find *f = rq->state;
    floe_timer_stop(&f->timer);
    create_timed_out(&f->timer);
}

struct floe_topic_spec api_auto_spec(const struct floe_api *api, const char *name)
{
    static const struct floe_topic_config configs[] = {{(char *)"cleanup.policy", (char *)"compact"},
                                                       {(char *)"compression.type", (char *)"producer"}};
    if (strcmp(name, FLOE_OFFSETS_TOPIC) != 0)
        return (struct floe_topic_spec){.name = name, .partitions = api->cfg.num_partitions};
    return (struct floe_topic_spec){.name = name,
                                    .partitions = api->cfg.offsets_partitions,
                                    .configs = configs,
                                    .config_count = FLOE_COUNTOF(configs)};
}

static void known(struct floe_request *rq)
{
    struct find *f = rq->state;
    struct floe_api *api = api_of(rq);
    if (!api_topic(api, &f->want) && !f->made && !rq->lookup_error) {
        struct floe_topic_spec spec = api_auto_spec(api, FLOE_OFFSETS_TOPIC);
        f->made = true;
        f->op = floe_catalog_create_topic(api->cfg.catalog, &spec, created, f);
        if (f->op) {
            rq->cancel = cancel;
            floe_timer_start(api->cfg.loop, &f->timer, CREATE_US);
            return;
        }
    }
    answer_when_ready(rq);
}

void api_find_coordinator(struct floe_request *rq)
{
    const struct floe_kafka_FindCoordinatorRequest *in = rq->body;
    struct find *f = floe_arena_alloc(&rq->arena, sizeof *f);
    if (!f) {
        api_give_up(rq);
        return;
    }
    *f = (struct find){.rq = rq, .want = {.name = floe_kstr(FLOE_OFFSETS_TOPIC)}};
    floe_timer_init(&f->timer, create_timed_out, f);
    rq->state = f;
    if (in->KeyType == KEY_GROUP)
        api_topics_ready(rq, &f->want, 1, known);
    else
        answer(rq);
}
