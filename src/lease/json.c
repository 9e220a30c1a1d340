#include "json.h"

#include <floe/table.h>

#include <stdio.h>
#include <string.h>

void lease_json_fail(struct lease_json *j, const char *field, const char *what)
{
    if (j->bad)
        return;
    j->bad = true;
    floe_error_set(j->err, FLOE_ECORRUPT, "table record \"%s\": \"%s\" %s", j->key, field, what);
}

json_t *lease_json_load(struct lease_json *j, const char *text, size_t n)
{
    json_error_t e;
    if (n > FLOE_TABLE_VALUE_MAX) {
        j->bad = true;
        floe_error_set(j->err, FLOE_ECORRUPT, "table record \"%s\": %zu bytes, at most %d allowed", j->key, n,
                       FLOE_TABLE_VALUE_MAX);
        return NULL;
    }
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
    if (root == NULL || !json_is_object(root)) {
        j->bad = true;
        floe_error_set(j->err, FLOE_ECORRUPT, "table record \"%s\": %s (at byte %d)", j->key,
                       root == NULL ? e.text : "not a JSON object", root == NULL ? e.position : 0);
        json_decref(root);
        return NULL;
    }
    return root;
}

int64_t lease_json_int_value(struct lease_json *j, const json_t *v, const char *field, int64_t min,
                             int64_t max)
{
    if (j->bad)
        return 0;
    if (v == NULL || !json_is_integer(v)) {
        lease_json_fail(j, field, v == NULL ? "is missing" : "is not an integer");
        return 0;
    }
    int64_t n = json_integer_value(v);
    if (n < min || n > max) {
        lease_json_fail(j, field, "is out of range");
        return 0;
    }
    return n;
}

int64_t lease_json_int(struct lease_json *j, const json_t *obj, const char *field, int64_t min, int64_t max)
{
    return lease_json_int_value(j, json_object_get(obj, field), field, min, max);
}

int64_t lease_json_int_or(struct lease_json *j, const json_t *obj, const char *field, int64_t min,
                          int64_t max, int64_t absent)
{
    return json_object_get(obj, field) == NULL ? absent : lease_json_int(j, obj, field, min, max);
}

bool lease_json_bool(struct lease_json *j, const json_t *obj, const char *field)
{
    const json_t *v = json_object_get(obj, field);
    if (!json_is_boolean(v))
        lease_json_fail(j, field, v == NULL ? "is missing" : "is not true or false");
    return json_is_true(v);
}

void lease_json_str(struct lease_json *j, const json_t *obj, const char *field, char *out, size_t cap,
                    bool optional)
{
    const json_t *v = json_object_get(obj, field);
    out[0] = '\0';
    if (j->bad || (v == NULL && optional))
        return;
    if (!json_is_string(v)) {
        lease_json_fail(j, field, v == NULL ? "is missing" : "is not a string");
        return;
    }
    size_t n = json_string_length(v);
    if (n >= cap) {
        lease_json_fail(j, field, "is too long");
        return;
    }
    memcpy(out, json_string_value(v), n);
    out[n] = '\0';
}

uint64_t lease_json_hex64(struct lease_json *j, const json_t *obj, const char *field)
{
    char hex[17];
    uint8_t b[8] = {0};
    lease_json_str(j, obj, field, hex, sizeof hex, false);
    if (!j->bad && (strlen(hex) != 16 || !floe_hex_decode(b, hex, 8)))
        lease_json_fail(j, field, "is not 16 hex digits");
    return j->bad ? 0 : floe_be64(b);
}

void lease_json_session(struct lease_json *j, const json_t *obj, const char *field,
                        struct floe_session_name *out, bool optional)
{
    char text[FLOE_SESSION_NAME_MAX];
    *out = (struct floe_session_name){0};
    lease_json_str(j, obj, field, text, sizeof text, optional);
    if (j->bad || (optional && text[0] == '\0'))
        return;
    if (!floe_session_parse(out, text))
        lease_json_fail(j, field, "is not a session's name");
}
