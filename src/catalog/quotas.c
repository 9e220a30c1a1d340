/* Client quotas: the record `quotas`, a list of entities with their values, replaced as a whole by a
 * conditional write (docs/formats/table.md). */
#include "catalog/catalog_int.h"
#include <jansson.h>

#define KEY "quotas"
#define ENTITIES_MAX 5000u /* more than a record takes, however short they are */

const char *const floe_quota_types[FLOE_QUOTA_TYPES] = {"user", "client-id", "ip"};
const char *const floe_quota_keys[FLOE_QUOTA_KEYS] = {"producer_byte_rate", "consumer_byte_rate",
                                                      "request_percentage", "controller_mutation_rate",
                                                      "connection_creation_rate"};

/* ---- the list ------------------------------------------------------------------------------------------ */

static void quota_free(struct floe_quota *q)
{
    for (int t = 0; t < FLOE_QUOTA_TYPES; t++)
        free(q->name[t]);
}

void floe_quotas_free(struct floe_quotas *q)
{
    for (uint32_t i = 0; i < q->n; i++)
        quota_free(&q->list[i]);
    free(q->list);
    *q = (struct floe_quotas){0};
}

static bool is_of(const struct floe_quota *q, const bool has[FLOE_QUOTA_TYPES],
                  const struct floe_kstr name[FLOE_QUOTA_TYPES])
{
    for (int t = 0; t < FLOE_QUOTA_TYPES; t++) {
        if (q->has[t] != has[t])
            return false;
        if (has[t] && (q->name[t] ? !floe_kstr_is(name[t], q->name[t]) : name[t].n >= 0))
            return false;
    }
    return true;
}

struct floe_quota *floe_quotas_at(struct floe_quotas *q, const bool has[FLOE_QUOTA_TYPES],
                                  const struct floe_kstr name[FLOE_QUOTA_TYPES])
{
    for (uint32_t i = 0; i < q->n; i++)
        if (is_of(&q->list[i], has, name))
            return &q->list[i];
    if (q->n == ENTITIES_MAX)
        return NULL;
    if (q->n == q->cap) {
        uint32_t cap = FLOE_MAX(16u, 2 * q->cap);
        struct floe_quota *list = realloc(q->list, cap * sizeof *list);
        if (!list)
            return NULL;
        q->list = list;
        q->cap = cap;
    }
    struct floe_quota n = {0};
    bool ok = true;
    for (int t = 0; t < FLOE_QUOTA_TYPES; t++) {
        n.has[t] = has[t];
        if (has[t] && name[t].n >= 0)
            ok = (n.name[t] = strndup(name[t].p, (size_t)name[t].n)) && ok;
    }
    if (!ok) {
        quota_free(&n);
        return NULL;
    }
    q->list[q->n] = n;
    return &q->list[q->n++];
}

/* ---- the record ---------------------------------------------------------------------------------------- */

char *floe_quotas_encode(const struct floe_quotas *q)
{
    json_t *list = json_array(), *o = json_object();
    bool bad = !list || !o;
    for (uint32_t i = 0; !bad && i < q->n; i++) {
        json_t *entity = json_object(), *values = json_object();
        for (int t = 0; t < FLOE_QUOTA_TYPES; t++) {
            const char *name = q->list[i].name[t];
            if (q->list[i].has[t])
                bad |= json_object_set_new(entity, floe_quota_types[t],
                                           name ? json_string(name) : json_null()) != 0;
        }
        for (int k = 0; k < FLOE_QUOTA_KEYS; k++)
            if (q->list[i].set[k])
                bad |= json_object_set_new(values, floe_quota_keys[k], json_real(q->list[i].value[k])) != 0;
        bool kept = values && json_object_size(values) > 0;
        json_t *one = json_object();
        bad |= json_object_set_new(one, "entity", entity) != 0;
        bad |= json_object_set_new(one, "values", values) != 0;
        if (kept)
            bad |= json_array_append(list, one) != 0;
        json_decref(one);
    }
    bad |= json_object_set_new(o, "quotas", list) != 0;
    char *text = bad ? NULL : json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return text;
}

static bool decode_one(struct floe_quotas *out, const json_t *entity, const json_t *values)
{
    struct floe_kstr name[FLOE_QUOTA_TYPES];
    bool has[FLOE_QUOTA_TYPES];
    for (int t = 0; t < FLOE_QUOTA_TYPES; t++) {
        const json_t *v = json_object_get(entity, floe_quota_types[t]);
        has[t] = v != NULL;
        name[t] = (struct floe_kstr){NULL, -1};
        if (json_is_string(v))
            name[t] = (struct floe_kstr){json_string_value(v), (int32_t)json_string_length(v)};
        else if (v && !json_is_null(v))
            return false;
    }
    struct floe_quota *q = floe_quotas_at(out, has, name);
    for (int k = 0; q && k < FLOE_QUOTA_KEYS; k++) {
        const json_t *v = json_object_get(values, floe_quota_keys[k]);
        if (v && !json_is_number(v))
            return false;
        q->set[k] = v != NULL;
        q->value[k] = v ? json_number_value(v) : 0;
    }
    return q != NULL;
}

enum floe_err floe_quotas_decode(struct floe_quotas *out, const char *json, size_t n, struct floe_error *err)
{
    json_error_t je;
    json_t *o = json_loadb(json, n, JSON_REJECT_DUPLICATES, &je), *list = json_object_get(o, "quotas"), *one;
    size_t i;
    bool ok = json_is_array(list);
    *out = (struct floe_quotas){0};
    json_array_foreach(list, i, one)
    {
        const json_t *entity = json_object_get(one, "entity"), *values = json_object_get(one, "values");
        ok = ok && json_is_object(entity) && json_is_object(values) && decode_one(out, entity, values);
    }
    json_decref(o);
    if (ok)
        return FLOE_OK;
    floe_quotas_free(out);
    return floe_error_set(err, FLOE_ECORRUPT, "table record '" KEY "' is no list of quotas");
}

/* ---- operations ---------------------------------------------------------------------------------------- */

static char *change(struct floe_record_edit *e, const struct floe_slice *got, struct floe_error *err)
{
    struct floe_quotas_op *op = FLOE_CONTAINER(e, struct floe_quotas_op, record);
    char *text = NULL;
    floe_quotas_free(&op->quotas);
    if (got)
        (void)!floe_quotas_decode(&op->quotas, (const char *)got->p, got->n, err);
    if (!err->code && op->edit) {
        bool ok = op->edit(op->user, &op->quotas);
        if (!ok && op->quotas.n == ENTITIES_MAX)
            floe_error_set(err, FLOE_ETOOLARGE, "more quotas than one record holds");
        else if (!ok || !(text = floe_quotas_encode(&op->quotas)))
            floe_error_set(err, FLOE_EINVAL, "a name is not UTF-8, or memory is out");
    }
    return text;
}

static void finish(struct floe_record_edit *e)
{
    struct floe_quotas_op *op = FLOE_CONTAINER(e, struct floe_quotas_op, record);
    floe_list_remove(&op->link);
    op->err = e->err;
    struct floe_quotas quotas = op->quotas; /* the operation may be gone after this */
    op->done(op);
    floe_quotas_free(&quotas);
}

void floe_catalog_quotas(struct floe_catalog *c, struct floe_quotas_op *op)
{
    op->quotas = (struct floe_quotas){0};
    op->record =
        (struct floe_record_edit){.table = c->cfg.table, .key = KEY, .change = change, .done = finish};
    floe_list_push_back(&c->quota_ops, &op->link);
    floe_record_edit(&op->record);
}

void floe_quotas_fini(struct floe_catalog *c)
{
    struct floe_list *l;
    while ((l = floe_list_pop_front(&c->quota_ops))) {
        struct floe_quotas_op *op = FLOE_LIST_ENTRY(l, struct floe_quotas_op, link);
        floe_record_edit_fini(&op->record);
        floe_quotas_free(&op->quotas);
    }
}
