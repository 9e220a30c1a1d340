#include "records.h"
#include "json.h"

#include <floe/base/assert.h>

#include <stdio.h>
#include <stdlib.h>

static const char *const STATES[] = {
    [FLOE_NODE_LIVE] = "live",
    [FLOE_NODE_FENCED] = "fenced",
    [FLOE_NODE_SEALED] = "sealed",
    [FLOE_NODE_ENDED] = "ended",
};

void lease_node_key(char out[FLOE_TABLE_KEY_MAX], int32_t node)
{
    snprintf(out, FLOE_TABLE_KEY_MAX, "node/%d", (int)node);
}

/* A decimal number of at most `max` without sign or leading zero, up to the end of the text. */
static bool parse_number(const char *p, uint32_t max, uint32_t *out)
{
    uint64_t v = 0;
    size_t n = strlen(p);
    if (n == 0 || n > 10 || (p[0] == '0' && n > 1))
        return false;
    for (; *p != '\0'; p++) {
        if (*p < '0' || *p > '9')
            return false;
        v = v * 10 + (uint64_t)(*p - '0');
    }
    if (v > max)
        return false;
    *out = (uint32_t)v;
    return true;
}

bool lease_node_key_parse(const char *key, int32_t *node)
{
    uint32_t v;
    if (strncmp(key, "node/", 5) != 0 || !parse_number(key + 5, LEASE_NODE_ID_MAX, &v) || v == 0)
        return false;
    *node = (int32_t)v;
    return true;
}

static json_t *session_json(const struct floe_session_name *s)
{
    char text[FLOE_SESSION_NAME_MAX];
    floe_session_format(text, s);
    return json_string(text);
}

static void hex64(char out[17], uint64_t v)
{
    uint8_t b[8];
    floe_put_be64(b, v);
    floe_hex(out, b, 8);
}

/* Takes the object; null when it could not be built whole. */
static char *dump(json_t *obj, int failed)
{
    char *text = obj == NULL || failed ? NULL : json_dumps(obj, JSON_COMPACT);
    json_decref(obj);
    return text;
}

char *lease_node_encode(const struct lease_node_record *r)
{
    const struct floe_node_info *i = &r->info;
    char id[17];
    json_t *o = json_object(), *addr = json_object();
    int bad = 0;
    hex64(id, i->session.id);
    bad |= json_object_set_new(o, "epoch", json_integer(i->session.epoch));
    bad |= json_object_set_new(o, "id", json_string(id));
    bad |= json_object_set_new(o, "state", json_string(STATES[i->state]));
    bad |= json_object_set_new(o, "lease_ms", json_integer(i->lease_ms));
    bad |= json_object_set_new(o, "beat", json_integer((json_int_t)r->beat));
    bad |= json_object_set_new(o, "committed", json_integer((json_int_t)i->committed));
    bad |= json_object_set_new(o, "floor", json_integer((json_int_t)i->floor));
    if (i->state == FLOE_NODE_SEALED || i->state == FLOE_NODE_ENDED)
        bad |= json_object_set_new(o, "end", json_integer((json_int_t)i->end));
    for (uint32_t k = 0; k < i->addr_count; k++)
        bad |= json_object_set_new(addr, i->addrs[k].name, json_string(i->addrs[k].addr));
    bad |= json_object_set_new(o, "addr", addr);
    bad |= json_object_set_new(o, "peer", json_string(i->peer_addr));
    bad |= json_object_set_new(o, "rack", json_string(i->rack));
    bad |= json_object_set_new(o, "version", json_string(r->version));
    bad |= json_object_set_new(o, "format", json_integer(r->format));
    if (i->draining)
        bad |= json_object_set_new(o, "draining", json_true());
    if (!floe_session_name_is_none(&r->by))
        bad |= json_object_set_new(o, "by", session_json(&r->by));
    return dump(o, bad);
}

static void decode_addrs(struct lease_json *j, const json_t *o, struct floe_node_info *i)
{
    json_t *addr = json_object_get(o, "addr"), *v;
    const char *name;
    if (!json_is_object(addr)) {
        lease_json_fail(j, "addr", "is not an object");
        return;
    }
    json_object_foreach(addr, name, v)
    {
        struct floe_listener_addr *a = &i->addrs[i->addr_count];
        if (i->addr_count == FLOE_LISTENER_MAX || strlen(name) >= sizeof a->name) {
            lease_json_fail(j, "addr", "has too many listeners or too long a name");
            return;
        }
        snprintf(a->name, sizeof a->name, "%s", name);
        lease_json_str(j, addr, name, a->addr, sizeof a->addr, false);
        i->addr_count++;
    }
}

static enum floe_node_state decode_state(struct lease_json *j, const json_t *o)
{
    char state[16];
    lease_json_str(j, o, "state", state, sizeof state, false);
    for (unsigned s = 0; s < FLOE_COUNTOF(STATES); s++)
        if (strcmp(state, STATES[s]) == 0)
            return (enum floe_node_state)s;
    lease_json_fail(j, "state", "is not a state");
    return FLOE_NODE_LIVE;
}

enum floe_err lease_node_decode(const char *key, const char *json, size_t n, struct lease_node_record *out,
                                struct floe_error *err)
{
    struct lease_json j = {.key = key, .err = err};
    struct lease_node_record r = {0};
    struct floe_node_info *i = &r.info;
    if (!lease_node_key_parse(key, &i->session.node))
        return floe_error_set(err, FLOE_ECORRUPT, "table record \"%s\": the key is not node/<id>", key);
    json_t *o = lease_json_load(&j, json, n);
    if (o == NULL)
        return FLOE_ECORRUPT;
    r.format = (int32_t)lease_json_int(&j, o, "format", 1, INT32_MAX);
    i->session.epoch = (int32_t)lease_json_int(&j, o, "epoch", 1, INT32_MAX - 1);
    i->session.id = lease_json_hex64(&j, o, "id");
    i->state = decode_state(&j, o);
    i->lease_ms = (uint32_t)lease_json_int(&j, o, "lease_ms", 1, 3600 * 1000);
    r.beat = (uint64_t)lease_json_int(&j, o, "beat", 0, INT64_MAX - 1);
    i->committed = (uint64_t)lease_json_int(&j, o, "committed", 0, INT64_MAX - 1);
    i->floor = (uint64_t)lease_json_int(&j, o, "floor", 0, INT64_MAX - 1);
    if (i->state == FLOE_NODE_SEALED || i->state == FLOE_NODE_ENDED)
        i->end = (uint64_t)lease_json_int(&j, o, "end", 0, INT64_MAX - 1);
    i->draining = json_is_true(json_object_get(o, "draining"));
    decode_addrs(&j, o, i);
    lease_json_str(&j, o, "peer", i->peer_addr, sizeof i->peer_addr, false);
    lease_json_str(&j, o, "rack", i->rack, sizeof i->rack, false);
    lease_json_str(&j, o, "version", r.version, sizeof r.version, true);
    lease_json_session(&j, o, "by", &r.by, true);
    json_decref(o);
    if (j.bad)
        return FLOE_ECORRUPT;
    *out = r;
    return FLOE_OK;
}

void lease_ended_key(char out[FLOE_TABLE_KEY_MAX], const struct floe_session_name *s)
{
    char text[FLOE_SESSION_NAME_MAX];
    floe_session_format(text, s);
    snprintf(out, FLOE_TABLE_KEY_MAX, "ended/%s", text);
}

char *lease_ended_encode(const struct lease_ended_record *r)
{
    json_t *o = json_object();
    int bad = json_object_set_new(o, "end", json_integer((json_int_t)r->end));
    bad |= json_object_set_new(o, "by", session_json(&r->by));
    return dump(o, bad);
}

enum floe_err lease_ended_decode(const char *key, const char *json, size_t n, struct lease_ended_record *out,
                                 struct floe_error *err)
{
    struct lease_json j = {.key = key, .err = err};
    struct lease_ended_record r = {0};
    json_t *o = lease_json_load(&j, json, n);
    if (o == NULL)
        return FLOE_ECORRUPT;
    r.end = (uint64_t)lease_json_int(&j, o, "end", 0, INT64_MAX - 1);
    lease_json_session(&j, o, "by", &r.by, false);
    json_decref(o);
    if (j.bad)
        return FLOE_ECORRUPT;
    *out = r;
    return FLOE_OK;
}

void lease_floor_key(char out[FLOE_TABLE_KEY_MAX], const struct floe_session_name *s)
{
    char text[FLOE_SESSION_NAME_MAX];
    floe_session_format(text, s);
    snprintf(out, FLOE_TABLE_KEY_MAX, "floor/%s", text);
}

enum floe_err lease_floor_decode(const char *key, const char *json, size_t n, uint64_t *floor,
                                 struct floe_error *err)
{
    struct lease_json j = {.key = key, .err = err};
    json_t *o = lease_json_load(&j, json, n);
    if (o == NULL)
        return FLOE_ECORRUPT;
    uint64_t v = (uint64_t)lease_json_int(&j, o, "floor", 0, INT64_MAX - 1);
    json_decref(o);
    if (j.bad)
        return FLOE_ECORRUPT;
    *floor = v;
    return FLOE_OK;
}

char *lease_catalog_encode(uint64_t version)
{
    json_t *o = json_object();
    int bad = json_object_set_new(o, "version", json_integer((json_int_t)version));
    return dump(o, bad);
}

enum floe_err lease_catalog_decode(const char *key, const char *json, size_t n, uint64_t *version,
                                   struct floe_error *err)
{
    struct lease_json j = {.key = key, .err = err};
    json_t *o = lease_json_load(&j, json, n);
    if (o == NULL)
        return FLOE_ECORRUPT;
    int64_t v = lease_json_int(&j, o, "version", 0, INT64_MAX - 1);
    json_decref(o);
    if (j.bad)
        return FLOE_ECORRUPT;
    *version = (uint64_t)v;
    return FLOE_OK;
}

char *lease_cluster_encode(const struct lease_cluster_record *r)
{
    char id[FLOE_UUID_HEX];
    json_t *o = json_object();
    floe_uuid_hex(id, &r->id);
    int bad = json_object_set_new(o, "id", json_string(id));
    if (r->shards != 0)
        bad |= json_object_set_new(o, "shards", json_integer(r->shards));
    bad |= json_object_set_new(o, "format", json_integer(r->format));
    if (r->next != 0)
        bad |= json_object_set_new(o, "next", json_integer(r->next));
    return dump(o, bad);
}

enum floe_err lease_format_check(const char *key, int32_t format, int32_t newest, struct floe_error *err)
{
    if (format <= newest)
        return FLOE_OK;
    return floe_error_set(err, FLOE_EUNSUPPORTED,
                          "\"%s\": format %d was written by a newer Floe, this one reads up to %d", key,
                          (int)format, (int)newest);
}

enum floe_err lease_cluster_decode(const char *key, const char *json, size_t n, int32_t newest,
                                   struct lease_cluster_record *out, struct floe_error *err)
{
    struct lease_json j = {.key = key, .err = err};
    struct lease_cluster_record r = {0};
    char id[FLOE_UUID_HEX];
    json_t *o = lease_json_load(&j, json, n);
    if (o == NULL)
        return FLOE_ECORRUPT;
    r.format = (int32_t)lease_json_int(&j, o, "format", 1, INT32_MAX);
    r.next = (int32_t)lease_json_int_or(&j, o, "next", 1, INT32_MAX, 0);
    r.shards = (uint32_t)lease_json_int_or(&j, o, "shards", 1, LEASE_SHARD_MAX, 0);
    lease_json_str(&j, o, "id", id, sizeof id, false);
    if (!j.bad && !floe_uuid_parse(&r.id, id))
        lease_json_fail(&j, "id", "is not 32 hex digits");
    json_decref(o);
    if (j.bad)
        return FLOE_ECORRUPT;
    enum floe_err code = lease_format_check(key, FLOE_MAX(r.format, r.next), newest, err);
    if (code != FLOE_OK)
        return code;
    *out = r;
    return FLOE_OK;
}

char *lease_verdict_encode(const struct lease_verdict_record *r)
{
    json_t *o = json_object();
    int bad = json_object_set_new(o, "ok", json_boolean(r->ok));
    bad |= json_object_set_new(o, "url", json_string(r->url));
    bad |= json_object_set_new(o, "why", json_string(r->why));
    return dump(o, bad);
}

enum floe_err lease_verdict_decode(const char *key, const char *json, size_t n,
                                   struct lease_verdict_record *out, struct floe_error *err)
{
    struct lease_json j = {.key = key, .err = err};
    struct lease_verdict_record r = {0};
    json_t *o = lease_json_load(&j, json, n);
    if (o == NULL)
        return FLOE_ECORRUPT;
    r.ok = lease_json_bool(&j, o, "ok");
    lease_json_str(&j, o, "url", r.url, sizeof r.url, false);
    lease_json_str(&j, o, "why", r.why, sizeof r.why, true);
    json_decref(o);
    if (j.bad)
        return FLOE_ECORRUPT;
    *out = r;
    return FLOE_OK;
}
