#include "garbage_watch.h"

#include <floe/base/assert.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct garbage_floor *floor_of(const struct garbage_watch *w, const struct floe_session_name *s)
{
    for (uint32_t i = 0; i < w->n; i++)
        if (floe_session_name_eq(&w->floors[i].session, s))
            return &w->floors[i];
    return NULL;
}

static int64_t number(const struct floe_sim_object *o, const char *field)
{
    json_t *root = o != NULL ? json_loadb((const char *)o->data, o->n, 0, NULL) : NULL;
    const json_t *v = json_object_get(json_object_get(root, "value"), field);
    int64_t n = json_is_integer(v) ? json_integer_value(v) : -1;
    json_decref(root);
    return n;
}

int64_t garbage_end(struct floe_sim_bucket *b, const struct floe_session_name *s)
{
    char name[FLOE_SESSION_NAME_MAX], key[100];
    floe_session_format(name, s);
    snprintf(key, sizeof key, "table/ended/%s", name);
    return number(floe_sim_bucket_find(b, key), "end");
}

uint64_t garbage_floor(const struct garbage_watch *w, const struct floe_session_name *s)
{
    const struct garbage_floor *f = floor_of(w, s);
    return f != NULL ? f->highest : 0;
}

static const char *raised(struct garbage_watch *w, const struct floe_sim_store_event *e, char why[200])
{
    struct floe_session_name s;
    int64_t floor = number(e->object, "floor");
    if (!floe_session_parse(&s, e->key + strlen("table/floor/")) || floor < 0) {
        snprintf(why, 200, "%s is no floor", e->key);
        return why;
    }
    struct garbage_floor *f = floor_of(w, &s);
    if (f == NULL) {
        w->floors = realloc(w->floors, (w->n + 1) * sizeof *w->floors);
        FLOE_ASSERT(w->floors != NULL);
        f = &w->floors[w->n++];
        *f = (struct garbage_floor){.session = s};
    }
    if (f->gone) { /* its record was removed, and begins anew */
        f->gone = false;
        f->n = 0;
    }
    if (f->n > 0 && (uint64_t)floor < f->floor[f->n - 1]) {
        snprintf(why, 200, "%s goes down to %lld", e->key, (long long)floor);
        return why;
    }
    f->highest = FLOE_MAX(f->highest, (uint64_t)floor);
    if (f->n < 256 && (f->n == 0 || (uint64_t)floor > f->floor[f->n - 1])) {
        f->floor[f->n] = (uint64_t)floor;
        f->since_us[f->n++] = e->at_us;
    }
    return NULL;
}

/* Has the floor been above the key for the age? */
static bool aged(const struct garbage_watch *w, const struct floe_session_name *s, uint64_t seq, uint64_t now)
{
    const struct garbage_floor *f = floor_of(w, s);
    for (uint32_t i = 0; f != NULL && i < f->n; i++)
        if (f->floor[i] > seq)
            return now - f->since_us[i] >= w->age_us;
    return false;
}

static bool is_seal(const struct floe_sim_object *o, const char *key)
{
    struct floe_segment_id id;
    struct floe_error err;
    return floe_segment_header_decode(floe_slice(o->data, o->n), key, &id, &err) == FLOE_OK && id.seal;
}

/* The key of the chain's last seal; -1: none. */
static int64_t last_seal(struct floe_sim_bucket *b, const struct floe_session_name *s, uint32_t *others)
{
    char prefix[FLOE_CHAIN_KEY_MAX];
    struct floe_session_name name;
    uint64_t seq;
    int64_t last = -1;
    *others = 0;
    floe_chain_prefix(prefix, s);
    for (size_t i = 0; i < floe_sim_bucket_count(b); i++) {
        const struct floe_sim_object *o = floe_sim_bucket_at(b, i);
        if (strncmp(o->key, prefix, strlen(prefix)) != 0 || !floe_chain_key_parse(o->key, &name, &seq))
            continue;
        (*others)++;
        if (is_seal(o, o->key))
            last = (int64_t)seq;
    }
    *others -= last >= 0;
    return last;
}

static const char *removed(struct garbage_watch *w, const struct floe_sim_store_event *e, char why[200])
{
    struct floe_session_name s;
    uint64_t seq;
    uint32_t others;
    const struct floe_sim_object *o = floe_sim_bucket_find(w->bucket, e->key);
    if (o == NULL)
        return NULL;
    if (!floe_chain_key_parse(e->key, &s, &seq)) {
        snprintf(why, 200, "%s is removed", e->key);
        return why;
    }
    int64_t end = garbage_end(w->bucket, &s);
    w->removed++;
    if (is_seal(o, e->key) && last_seal(w->bucket, &s, &others) == (int64_t)seq)
        snprintf(why, 200, "%s, the seal of its chain, is removed", e->key);
    else if (!(end >= 0 && (int64_t)seq > end) && !aged(w, &s, seq, e->at_us))
        snprintf(why, 200, "%s is removed, and the floor (%llu) has not been above it for long enough",
                 e->key, (unsigned long long)garbage_floor(w, &s));
    else
        return NULL;
    return why;
}

static const char *record_removed(struct garbage_watch *w, const struct floe_sim_store_event *e,
                                  char why[200])
{
    struct floe_session_name s;
    uint32_t others = 1;
    bool ended = strncmp(e->key, "table/ended/", 12) == 0;
    if (!ended && strncmp(e->key, "table/floor/", 12) != 0) {
        snprintf(why, 200, "%s is removed", e->key);
        return why;
    }
    if (!floe_session_parse(&s, e->key + 12) || last_seal(w->bucket, &s, &others) < 0 || others > 0) {
        snprintf(why, 200, "%s is removed, but %u keys beside the seal are there", e->key, others);
        return why;
    }
    struct garbage_floor *f = floor_of(w, &s);
    if (!ended && f != NULL)
        f->gone = true;
    w->sessions += ended;
    return NULL;
}

const char *garbage_watch(struct garbage_watch *w, const struct floe_sim_store_event *e, char why[200])
{
    if (e->kind == FLOE_STORE_PUT && e->result == FLOE_OK && strncmp(e->key, "table/floor/", 12) == 0)
        return raised(w, e, why);
    if (e->kind == FLOE_STORE_DELETE && e->result == FLOE_OK && strncmp(e->key, "chain/", 6) == 0)
        return removed(w, e, why);
    if (e->kind == FLOE_STORE_DELETE && e->result == FLOE_OK && strncmp(e->key, "table/", 6) == 0 &&
        floe_sim_bucket_find(w->bucket, e->key) != NULL)
        return record_removed(w, e, why);
    return NULL;
}

void garbage_watch_fini(struct garbage_watch *w)
{
    free(w->floors);
    *w = (struct garbage_watch){0};
}
