/* DescribeClientQuotas and AlterClientQuotas 0-1 (KIP-546): stored for all brokers, not enforced yet. Checks
 * and sentences follow Kafka's ClientQuotaControlManager and ClientQuotasImage. */
#include "api_kafka/api_int.h"
#include <math.h>
#include <stdio.h>

typedef struct floe_kafka_AlterClientQuotasRequest_EntryData alter_entry;
typedef struct floe_kafka_AlterClientQuotasResponse_EntryData altered;
typedef struct floe_kafka_DescribeClientQuotasRequest_ComponentData component;

enum { MATCH_EXACT, MATCH_DEFAULT, MATCH_ANY };

static int type_of(struct floe_kstr s)
{
    int t = 0;
    while (t < FLOE_QUOTA_TYPES && !floe_kstr_is(s, floe_quota_types[t]))
        t++;
    return t;
}

static int key_of(struct floe_kstr s, bool ip)
{
    for (int k = 0; k < FLOE_QUOTA_KEYS; k++)
        if (floe_kstr_is(s, floe_quota_keys[k]))
            return (k == FLOE_QUOTA_KEYS - 1) == ip ? k : -1;
    return -1;
}

static struct floe_kstr say(struct floe_request *rq, const char *format, struct floe_kstr s)
{
    char text[256];
    snprintf(text, sizeof text, format, (int)FLOE_MIN(s.n, 128), s.n > 0 ? s.p : "");
    return api_copy(rq, text);
}

/* ---- AlterClientQuotas --------------------------------------------------------------------------------- */

struct alter {
    struct floe_quotas_op op;
    struct floe_request *rq;
    struct floe_kafka_AlterClientQuotasResponse *rs;
    bool *copies; /* entries that name an entity again: told of once */
};

/* Letters, digits, dots and dashes of a host's name, or an address. */
static bool is_host(struct floe_kstr s)
{
    for (int32_t i = 0; i < s.n; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:_", s.p[i]))
            return false;
    return true;
}

/* The entity of an entry; false with the error said. */
static bool entity_of(struct floe_request *rq, const alter_entry *in, bool has[FLOE_QUOTA_TYPES],
                      struct floe_kstr name[FLOE_QUOTA_TYPES], altered *out)
{
    memset(has, 0, FLOE_QUOTA_TYPES * sizeof *has);
    for (int32_t i = 0; i < in->Entity_n; i++) {
        struct floe_kstr type = in->Entity[i].EntityType, n = in->Entity[i].EntityName;
        int t = type_of(type);
        if (t == FLOE_QUOTA_TYPES)
            out->ErrorMessage = say(rq, "Unhandled client quota entity type: %.*s", type);
        else if (n.n == 0)
            out->ErrorMessage = say(rq, "Empty %.*s not supported", type);
        else if (t == FLOE_QUOTA_IP && n.n > 0 && !is_host(n))
            out->ErrorMessage = say(rq, "%.*s is not a valid IP or resolvable host.", n);
        else if (memchr(n.n > 0 ? n.p : "x", '\0', (size_t)FLOE_MAX(n.n, 1)))
            out->ErrorMessage = say(rq, "The name of a %.*s has a zero byte", type);
        else {
            has[t] = true;
            name[t] = n;
            continue;
        }
        return false;
    }
    if (in->Entity_n <= 0)
        out->ErrorMessage = floe_kstr("Invalid empty client quota entity");
    else if (has[FLOE_QUOTA_IP] && (has[FLOE_QUOTA_USER] || has[FLOE_QUOTA_CLIENT_ID]))
        out->ErrorMessage =
            floe_kstr("Invalid quota entity combination, IP entity should not be used with User or "
                      "ClientId");
    else
        return true;
    return false;
}

static bool check_ops(struct floe_request *rq, const alter_entry *in, bool ip, altered *out)
{
    for (int32_t i = 0; i < in->Ops_n; i++) {
        int k = key_of(in->Ops[i].Key, ip);
        double v = in->Ops[i].Value;
        if (in->Ops[i].Remove)
            continue;
        bool again = false; /* the same key before */
        for (int32_t j = 0; j < i; j++)
            again |= floe_kstr_eq(in->Ops[j].Key, in->Ops[i].Key);
        if (again)
            out->ErrorMessage = say(rq, "Duplicate quota key %.*s not updated", in->Ops[i].Key);
        else if (k < 0)
            out->ErrorMessage = say(rq, "Invalid configuration key %.*s", in->Ops[i].Key);
        else if (!(v > 0) || !isfinite(v))
            out->ErrorMessage = say(rq, "Quota %.*s must be greater than 0", in->Ops[i].Key);
        else if (k != 2 && k != 3 && (v != floor(v) || v > 9007199254740992.0))
            out->ErrorMessage = say(rq, "%.*s cannot be a fractional value.", in->Ops[i].Key);
        else
            continue;
        return false;
    }
    return true;
}

/* Runs on each fresh copy of the record. */
static bool edit(void *user, struct floe_quotas *q)
{
    struct alter *a = user;
    const struct floe_kafka_AlterClientQuotasRequest *in = a->rq->body;
    for (int32_t i = 0; i < a->rs->Entries_n; i++) {
        struct floe_kstr name[FLOE_QUOTA_TYPES];
        bool has[FLOE_QUOTA_TYPES];
        if (a->rs->Entries[i].ErrorCode || !entity_of(a->rq, &in->Entries[i], has, name, &a->rs->Entries[i]))
            continue;
        struct floe_quota *at = floe_quotas_at(q, has, name);
        if (!at)
            return false;
        for (int32_t k = 0; k < in->Entries[i].Ops_n; k++) {
            int key = key_of(in->Entries[i].Ops[k].Key, has[FLOE_QUOTA_IP]);
            if (key < 0)
                continue; /* removed, and never there */
            at->set[key] = !in->Entries[i].Ops[k].Remove;
            at->value[key] = in->Entries[i].Ops[k].Value;
        }
    }
    return true;
}

static void answer(struct alter *a)
{
    int32_t left = 0;
    for (int32_t i = 0; i < a->rs->Entries_n; i++)
        if (!a->copies[i])
            a->rs->Entries[left++] = a->rs->Entries[i];
    a->rs->Entries_n = left;
    a->rq->response = a->rs;
    floe_request_complete(a->rq);
}

#define TYPES_TOLD 16 /* of an entity; one of more types than there are is refused */

/* Of a type that comes twice the last one counts. */
static void put_entity(const alter_entry *e, int32_t m, altered *out)
{
    for (int32_t k = 0; k < m; k++) {
        int32_t at = 0;
        while (at < out->Entity_n && !floe_kstr_eq(out->Entity[at].EntityType, e->Entity[k].EntityType))
            at++;
        if (at == TYPES_TOLD)
            continue;
        out->Entity[at].EntityType = e->Entity[k].EntityType;
        out->Entity[at].EntityName = e->Entity[k].EntityName;
        out->Entity_n = FLOE_MAX(out->Entity_n, at + 1);
    }
}

/* A name for an entity that no other has; null when memory is out. */
static struct floe_kstr entity_key(struct floe_request *rq, const alter_entry *e, int32_t m)
{
    struct floe_kstr none = {NULL, -1};
    size_t n = 1, cap = 1;
    for (int32_t k = 0; k < m; k++)
        cap += (size_t)FLOE_MAX(e->Entity[k].EntityType.n, 0) +
               (size_t)FLOE_MAX(e->Entity[k].EntityName.n, 0) + 16;
    char *text = floe_arena_alloc(&rq->arena, cap);
    if (!text)
        return none;
    text[0] = '{';
    for (int t = 0; t < FLOE_QUOTA_TYPES; t++) {
        for (int32_t k = m - 1; k >= 0; k--) {
            struct floe_kstr name = e->Entity[k].EntityName;
            if (type_of(e->Entity[k].EntityType) != t)
                continue;
            n += (size_t)snprintf(text + n, cap - n, "%s%d:%.*s,", floe_quota_types[t], (int)name.n,
                                  (int)FLOE_MAX(name.n, 0), name.n > 0 ? name.p : "");
            break;
        }
    }
    return (struct floe_kstr){text, (int32_t)FLOE_MIN(n, cap)};
}

static void on_altered(struct floe_quotas_op *op)
{
    struct alter *a = op->user;
    for (int32_t i = 0; op->err.code && i < a->rs->Entries_n; i++) {
        if (a->rs->Entries[i].ErrorCode)
            continue;
        a->rs->Entries[i].ErrorCode =
            op->err.code == FLOE_ETOOLARGE ? FLOE_KERR_POLICY_VIOLATION : api_error(op->err.code);
        a->rs->Entries[i].ErrorMessage = api_copy(a->rq, op->err.msg);
    }
    answer(a);
}

void api_alter_client_quotas(struct floe_request *rq)
{
    const struct floe_kafka_AlterClientQuotasRequest *in = rq->body;
    struct alter *a = floe_arena_calloc(&rq->arena, 1, sizeof *a);
    struct floe_kafka_AlterClientQuotasResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    int32_t n = FLOE_MAX(in->Entries_n, 0), good = 0;
    if (a && rs) {
        floe_kafka_defaults(&floe_kafka_AlterClientQuotasResponse_desc, rs);
        rs->Entries = floe_kafka_array(&floe_kafka_AlterClientQuotasResponse_EntryData_desc, n, &rq->arena);
    }
    struct api_want *wants = floe_arena_calloc(&rq->arena, (size_t)n, sizeof *wants);
    bool *repeated = floe_arena_calloc(&rq->arena, (size_t)n, sizeof *repeated);
    if (a)
        a->copies = floe_arena_calloc(&rq->arena, (size_t)n, sizeof *a->copies);
    if (!a || !rs || !rs->Entries || !wants || !repeated || !a->copies) {
        api_give_up(rq);
        return;
    }
    a->rq = rq;
    a->rs = rs;
    rs->Entries_n = n;
    for (int32_t i = 0; i < n; i++) {
        const alter_entry *e = &in->Entries[i];
        struct floe_kstr name[FLOE_QUOTA_TYPES];
        bool has[FLOE_QUOTA_TYPES];
        int32_t m = FLOE_MAX(e->Entity_n, 0);
        rs->Entries[i].Entity =
            floe_kafka_array(&floe_kafka_AlterClientQuotasResponse_EntityData_desc, m, &rq->arena);
        if (!rs->Entries[i].Entity) {
            api_give_up(rq);
            return;
        }
        put_entity(e, m, &rs->Entries[i]);
        rs->Entries[i].ErrorMessage = (struct floe_kstr){NULL, -1};
        bool ok = entity_of(rq, e, has, name, &rs->Entries[i]) &&
                  check_ops(rq, e, has[FLOE_QUOTA_IP], &rs->Entries[i]);
        wants[i].name = entity_key(rq, e, m);
        if (!wants[i].name.p) {
            api_give_up(rq);
            return;
        }
        if (!ok)
            rs->Entries[i].ErrorCode = FLOE_KERR_INVALID_REQUEST;
    }
    if (!api_repeated(rq, wants, (uint32_t)n, true, repeated) ||
        !api_repeated(rq, wants, (uint32_t)n, false, a->copies)) {
        api_give_up(rq);
        return;
    }
    for (int32_t i = 0; i < n; i++) {
        if (repeated[i]) {
            rs->Entries[i].ErrorCode = FLOE_KERR_INVALID_REQUEST;
            rs->Entries[i].ErrorMessage = say(rq, "Ignoring duplicate entity %.*s", wants[i].name);
        }
        good += !rs->Entries[i].ErrorCode;
    }
    if (good == 0 || in->ValidateOnly) {
        answer(a);
        return;
    }
    a->op = (struct floe_quotas_op){.edit = edit, .done = on_altered, .user = a};
    floe_catalog_quotas(api_of(rq)->cfg.catalog, &a->op);
}

/* ---- DescribeClientQuotas ------------------------------------------------------------------------------ */

struct describe {
    struct floe_quotas_op op;
    struct floe_request *rq;
    struct floe_kafka_DescribeClientQuotasResponse *rs;
    const component *want[FLOE_QUOTA_TYPES]; /* null: not asked for */
};

static bool matches(const struct describe *d, const struct floe_quota *q)
{
    const struct floe_kafka_DescribeClientQuotasRequest *in = d->rq->body;
    for (int t = 0; t < FLOE_QUOTA_TYPES; t++) {
        const component *c = d->want[t];
        if (!c && in->Strict && q->has[t])
            return false;
        if (!c)
            continue;
        if (!q->has[t] || (c->MatchType == MATCH_DEFAULT && q->name[t]) ||
            (c->MatchType == MATCH_EXACT && (!q->name[t] || !floe_kstr_is(c->Match, q->name[t]))))
            return false;
    }
    return true;
}

static bool put(struct floe_request *rq, const struct floe_quota *q,
                struct floe_kafka_DescribeClientQuotasResponse_EntryData *out)
{
    out->Entity = floe_kafka_array(&floe_kafka_DescribeClientQuotasResponse_EntityData_desc, FLOE_QUOTA_TYPES,
                                   &rq->arena);
    out->Values = floe_kafka_array(&floe_kafka_DescribeClientQuotasResponse_ValueData_desc, FLOE_QUOTA_KEYS,
                                   &rq->arena);
    if (!out->Entity || !out->Values)
        return false;
    for (int t = 0; t < FLOE_QUOTA_TYPES; t++) {
        if (!q->has[t])
            continue;
        out->Entity[out->Entity_n].EntityType = floe_kstr(floe_quota_types[t]);
        out->Entity[out->Entity_n++].EntityName =
            q->name[t] ? api_copy(rq, q->name[t]) : (struct floe_kstr){NULL, -1};
    }
    for (int k = 0; k < FLOE_QUOTA_KEYS; k++) {
        if (!q->set[k])
            continue;
        out->Values[out->Values_n].Key = floe_kstr(floe_quota_keys[k]);
        out->Values[out->Values_n++].Value = q->value[k];
    }
    return true;
}

static void on_read(struct floe_quotas_op *op)
{
    struct describe *d = op->user;
    struct floe_kafka_DescribeClientQuotasResponse *rs = d->rs;
    d->rq->response = rs;
    if (op->err.code) {
        rs->ErrorCode = api_error(op->err.code);
        rs->ErrorMessage = api_copy(d->rq, op->err.msg);
        floe_request_complete(d->rq);
        return;
    }
    rs->Entries = floe_kafka_array(&floe_kafka_DescribeClientQuotasResponse_EntryData_desc,
                                   (int32_t)op->quotas.n, &d->rq->arena);
    bool ok = rs->Entries != NULL;
    rs->Entries_n = 0;
    for (uint32_t i = 0; ok && i < op->quotas.n; i++)
        if (matches(d, &op->quotas.list[i]))
            ok = put(d->rq, &op->quotas.list[i], &rs->Entries[rs->Entries_n++]);
    if (ok)
        floe_request_complete(d->rq);
    else
        api_give_up(d->rq);
}

/* Takes a component of the filter; the error's code, with its sentence. */
static int16_t take(struct describe *d, const component *c, struct floe_kstr *message)
{
    int t = type_of(c->EntityType);
    int16_t error = FLOE_KERR_INVALID_REQUEST;
    if (c->EntityType.n <= 0) {
        *message = floe_kstr("Invalid empty entity type.");
    } else if (t == FLOE_QUOTA_TYPES) {
        *message = say(d->rq, "Custom entity type %.*s not supported", c->EntityType);
        error = FLOE_KERR_UNSUPPORTED_VERSION;
    } else if (d->want[t]) {
        *message = say(d->rq, "Entity type %.*s cannot appear more than once in the filter.", c->EntityType);
    } else if (c->MatchType < MATCH_EXACT || c->MatchType > MATCH_ANY) {
        *message = say(d->rq, "Unknown match type for %.*s", c->EntityType);
    } else if (c->MatchType == MATCH_EXACT && c->Match.n < 0) {
        *message = floe_kstr("Request specified MATCH_TYPE_EXACT, but set match string to null.");
    } else if (c->MatchType == MATCH_DEFAULT && c->Match.n >= 0) {
        *message = floe_kstr("Request specified MATCH_TYPE_DEFAULT, but also specified a match string.");
    } else if (c->MatchType == MATCH_ANY && c->Match.n >= 0) {
        *message = floe_kstr("Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.");
    } else {
        d->want[t] = c;
        return 0;
    }
    return error;
}

void api_describe_client_quotas(struct floe_request *rq)
{
    const struct floe_kafka_DescribeClientQuotasRequest *in = rq->body;
    struct describe *d = floe_arena_calloc(&rq->arena, 1, sizeof *d);
    struct floe_kafka_DescribeClientQuotasResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
    if (!d || !rs) {
        api_give_up(rq);
        return;
    }
    floe_kafka_defaults(&floe_kafka_DescribeClientQuotasResponse_desc, rs);
    rs->Entries_n = -1;
    d->rq = rq;
    d->rs = rs;
    for (int32_t i = 0; !rs->ErrorCode && i < in->Components_n; i++)
        rs->ErrorCode = take(d, &in->Components[i], &rs->ErrorMessage);
    if (!rs->ErrorCode && d->want[FLOE_QUOTA_IP] &&
        (d->want[FLOE_QUOTA_USER] || d->want[FLOE_QUOTA_CLIENT_ID])) {
        rs->ErrorCode = FLOE_KERR_INVALID_REQUEST;
        rs->ErrorMessage =
            floe_kstr("Invalid entity filter component combination, IP filter component should not be "
                      "used with User or ClientId filter component.");
    }
    if (rs->ErrorCode) {
        rq->response = rs;
        floe_request_complete(rq);
        return;
    }
    d->op = (struct floe_quotas_op){.done = on_read, .user = d};
    floe_catalog_quotas(api_of(rq)->cfg.catalog, &d->op);
}
