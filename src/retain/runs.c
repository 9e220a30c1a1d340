/* Runs of keys with what pins them, and the record they are kept in (docs/formats/table.md,
 * `floor/<session>`). */
#include "retain/retain_int.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

void retain_runs_fini(struct retain_runs *r)
{
    free(r->v);
    *r = (struct retain_runs){0};
}

static bool same_pin(const struct retain_pin *a, const struct retain_pin *b)
{
    return a->kind == b->kind && floe_uuid_eq(&a->topic, &b->topic);
}

bool retain_runs_push(struct retain_runs *r, uint64_t from, uint64_t to, const struct retain_pin *pin)
{
    struct retain_run *last = r->n > 0 ? &r->v[r->n - 1] : NULL;
    FLOE_ASSERT(from < to && (last == NULL || last->to <= from));
    if (last != NULL && last->to == from && same_pin(&last->pin, pin)) {
        last->to = to;
        return true;
    }
    if (r->n == RETAIN_RUNS_MAX) { /* keeps more than it must, until the next sweep looks again */
        last->to = to;
        last->pin = (struct retain_pin){.kind = RETAIN_PIN_MIXED};
        return true;
    }
    if (r->n == r->cap) {
        uint32_t cap = r->cap != 0 ? r->cap * 2 : 4;
        struct retain_run *v = realloc(r->v, cap * sizeof *v);
        if (v == NULL)
            return false;
        r->v = v;
        r->cap = cap;
    }
    r->v[r->n++] = (struct retain_run){.from = from, .to = to, .pin = *pin};
    return true;
}

const struct retain_run *retain_runs_from(const struct retain_runs *r, uint64_t seq)
{
    uint32_t lo = 0, hi = r->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (r->v[mid].to <= seq)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < r->n ? &r->v[lo] : NULL;
}

const struct retain_run *retain_runs_find(const struct retain_runs *r, uint64_t seq)
{
    const struct retain_run *run = retain_runs_from(r, seq);
    return run != NULL && run->from <= seq ? run : NULL;
}

/* ---- the record ---------------------------------------------------------------------------------------- */

void retain_floor_key(char out[FLOE_TABLE_KEY_MAX], const struct floe_session_name *s)
{
    char name[FLOE_SESSION_NAME_MAX];
    floe_session_format(name, s);
    snprintf(out, FLOE_TABLE_KEY_MAX, "floor/%s", name);
}

char *retain_record_encode(const struct retain_record *r)
{
    json_t *o = json_object(), *runs = json_array();
    int bad = json_object_set_new(o, "floor", json_integer((json_int_t)r->floor));
    bad |= json_object_set_new(o, "known", json_integer((json_int_t)r->known));
    for (uint32_t i = 0; i < r->runs.n && bad == 0; i++) {
        const struct retain_run *v = &r->runs.v[i];
        char hex[FLOE_UUID_HEX];
        json_t *a = json_array();
        floe_uuid_hex(hex, &v->pin.topic);
        bad |= json_array_append_new(a, json_integer((json_int_t)v->from));
        bad |= json_array_append_new(a, json_integer((json_int_t)v->to));
        bad |= json_array_append_new(a, json_integer((json_int_t)v->pin.kind));
        if (!floe_uuid_is_zero(&v->pin.topic))
            bad |= json_array_append_new(a, json_string(hex));
        bad |= json_array_append_new(runs, a);
    }
    bad |= json_object_set_new(o, "kept", runs);
    char *text = bad == 0 ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return text;
}

static bool get_u64(const json_t *v, uint64_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) == INT64_MAX)
        return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

static bool decode_run(const json_t *a, struct retain_run *out)
{
    uint64_t kind;
    size_t n = json_array_size(a);
    *out = (struct retain_run){0};
    if (n < 3 || n > 4 || !get_u64(json_array_get(a, 0), &out->from) ||
        !get_u64(json_array_get(a, 1), &out->to) || !get_u64(json_array_get(a, 2), &kind) ||
        kind < RETAIN_PIN_TOPIC || kind > RETAIN_PIN_ALWAYS)
        return false;
    out->pin.kind = (enum retain_pin_kind)kind;
    bool topic = kind == RETAIN_PIN_TOPIC || kind == RETAIN_PIN_CHECKPOINT;
    if (topic != (n == 4))
        return false;
    const json_t *id = json_array_get(a, 3);
    return !topic || (json_is_string(id) && json_string_length(id) == 32 &&
                      floe_hex_decode(out->pin.topic.b, json_string_value(id), 16) &&
                      !floe_uuid_is_zero(&out->pin.topic));
}

static const char *decode(const json_t *o, struct retain_record *r)
{
    const json_t *kept = json_object_get(o, "kept");
    if (!get_u64(json_object_get(o, "floor"), &r->floor))
        return "\"floor\" is no number";
    if (!get_u64(json_object_get(o, "known"), &r->known))
        return "\"known\" is no number";
    if (!json_is_array(kept) || json_array_size(kept) > RETAIN_RUNS_MAX)
        return "\"kept\" is no list of at most 1024 runs";
    uint64_t at = 0;
    for (size_t i = 0; i < json_array_size(kept); i++) {
        struct retain_run v;
        if (!decode_run(json_array_get(kept, i), &v) || v.from < at || v.from >= v.to || v.to > r->known)
            return "\"kept\" has a run that cannot be";
        at = v.to;
        if (!retain_runs_push(&r->runs, v.from, v.to, &v.pin))
            return "no memory";
    }
    return NULL;
}

enum floe_err retain_record_decode(const char *key, const char *json, size_t n, struct retain_record *out,
                                   struct floe_error *err)
{
    struct retain_record r = {0};
    json_error_t e;
    if (n > FLOE_TABLE_VALUE_MAX)
        return floe_error_set(err, FLOE_ECORRUPT, "table record \"%s\": %zu bytes", key, n);
    json_t *o = json_loadb(json, n, JSON_REJECT_DUPLICATES, &e);
    const char *why = o == NULL ? e.text : !json_is_object(o) ? "not a JSON object" : decode(o, &r);
    enum floe_err rc = FLOE_OK;
    if (why != NULL) {
        rc = floe_error_set(err, FLOE_ECORRUPT, "table record \"%s\": %s", key, why);
        retain_runs_fini(&r.runs);
    } else {
        *out = r;
    }
    json_decref(o);
    return rc;
}
