/* Strict reading of JSON objects with errors that name key and field. Folder-internal.
 *
 * A cursor with a sticky error: after the first failure every call returns a zero value and `bad` stays set,
 * so that a decoder checks once at its end. */
#ifndef FLOE_LEASE_JSON_H
#define FLOE_LEASE_JSON_H

#include <floe/segment.h>
#include <jansson.h>

struct lease_json {
    const char *key; /* table key, for errors */
    struct floe_error *err;
    bool bad;
};
/* The document's root object, null (and the error) when the text is not one JSON object without duplicates.
 */
json_t *lease_json_load(struct lease_json *j, const char *text, size_t n);
/* Sets the error (the first one stays). */
void lease_json_fail(struct lease_json *j, const char *field, const char *what);
int64_t lease_json_int(struct lease_json *j, const json_t *obj, const char *field, int64_t min, int64_t max);
/* As above for a value that is at hand. */
int64_t lease_json_int_value(struct lease_json *j, const json_t *v, const char *field, int64_t min,
                             int64_t max);
int64_t lease_json_int_or(struct lease_json *j, const json_t *obj, const char *field, int64_t min,
                          int64_t max, int64_t absent);
bool lease_json_bool(struct lease_json *j, const json_t *obj, const char *field);
/* Copies a string of at most cap - 1 bytes. An absent one is an error unless `optional`, then out is "". */
void lease_json_str(struct lease_json *j, const json_t *obj, const char *field, char *out, size_t cap,
                    bool optional);
uint64_t lease_json_hex64(struct lease_json *j, const json_t *obj, const char *field);
void lease_json_session(struct lease_json *j, const json_t *obj, const char *field,
                        struct floe_session_name *out, bool optional);

#endif
