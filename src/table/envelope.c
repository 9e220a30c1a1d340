#include "envelope.h"

#include <jansson.h>
#include <stdlib.h>

#define HEAD "{\"nonce\":\""
#define MIDDLE "\",\"value\":"

struct floe_buf *floe_table_envelope_write(const char nonce[FLOE_TABLE_NONCE_HEX], const char *value,
                                           size_t n)
{
    FLOE_ASSERT(strlen(nonce) == FLOE_TABLE_NONCE_HEX - 1);
    struct floe_writer w;
    floe_writer_init(&w, FLOE_TABLE_RECORD_MAX);
    floe_write(&w, HEAD, strlen(HEAD));
    floe_write(&w, nonce, FLOE_TABLE_NONCE_HEX - 1);
    floe_write(&w, MIDDLE, strlen(MIDDLE));
    floe_write(&w, value, n);
    floe_write_u8(&w, '}');
    struct floe_buf *b = w.bad ? NULL : floe_buf_create_forced(w.n, NULL);
    if (b) {
        memcpy(b->data, w.p, w.n);
        b->n = w.n;
    }
    floe_writer_fini(&w);
    return b;
}

/* The value's own text where the record has exactly our layout: numbers keep their digits. */
static char *slice_value(struct floe_slice bytes, size_t *n)
{
    size_t skip = strlen(HEAD) + FLOE_TABLE_NONCE_HEX - 1 + strlen(MIDDLE);
    const char *p = (const char *)bytes.p;
    if (bytes.n < skip + 2 || memcmp(p, HEAD, strlen(HEAD)) != 0 ||
        memcmp(p + skip - strlen(MIDDLE), MIDDLE, strlen(MIDDLE)) != 0 || p[bytes.n - 1] != '}')
        return NULL;
    *n = bytes.n - skip - 1;
    char *out = malloc(*n + 1);
    if (out) {
        memcpy(out, p + skip, *n);
        out[*n] = '\0';
    }
    return out;
}
enum floe_err floe_table_envelope_read(struct floe_table_record *out, const char *key,
                                       struct floe_slice bytes, struct floe_error *err)
{
    json_error_t je;
    json_t *root = NULL;
    enum floe_err e = FLOE_OK;
    if (bytes.n > FLOE_TABLE_RECORD_MAX)
        return floe_error_set(err, FLOE_ECORRUPT, "table record \"%s\": %zu bytes, at most %d are allowed",
                              key, bytes.n, FLOE_TABLE_RECORD_MAX);
    root = json_loadb((const char *)bytes.p, bytes.n, JSON_REJECT_DUPLICATES, &je);
    if (!root)
        return floe_error_set(err, FLOE_ECORRUPT, "table record \"%s\": not JSON at byte %d: %s", key,
                              je.position, je.text);
    const json_t *nonce = json_object_get(root, "nonce"), *value = json_object_get(root, "value");
    const char *text = json_string_value(nonce);
    if (!text || strlen(text) == 0 || strlen(text) >= sizeof out->nonce) {
        e = floe_error_set(err, FLOE_ECORRUPT,
                           "table record \"%s\": no field \"nonce\" of 1 to %zu characters", key,
                           sizeof out->nonce - 1);
        goto out;
    }
    if (!value || json_object_size(root) != 2) {
        e = floe_error_set(err, FLOE_ECORRUPT,
                           "table record \"%s\": its fields must be \"nonce\" and \"value\"", key);
        goto out;
    }
    size_t n = 0;
    char *copy = slice_value(bytes, &n);
    if (!copy) {
        copy = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        n = copy ? strlen(copy) : 0;
    }
    if (!copy) {
        e = floe_error_set(err, FLOE_ENOMEM, "table record \"%s\": no memory for %zu bytes", key, bytes.n);
        goto out;
    }
    if (n > FLOE_TABLE_VALUE_MAX) {
        free(copy);
        e = floe_error_set(err, FLOE_ECORRUPT,
                           "table record \"%s\": a value of %zu bytes, at most %d are allowed", key, n,
                           FLOE_TABLE_VALUE_MAX);
        goto out;
    }
    memcpy(out->nonce, text, strlen(text) + 1);
    out->value = copy;
    out->value_n = n;
out:
    json_decref(root);
    return e;
}

bool floe_table_json_ok(const char *text, size_t n)
{
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    json_decref(root);
    return root != NULL;
}
