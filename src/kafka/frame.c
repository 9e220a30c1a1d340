/* The API table's look-ups, request and response headers, whole frames. */
#include "kafka/tables.h"

#include <floe/base/assert.h>

const struct floe_kafka_api *floe_kafka_api_find(int16_t key)
{
    uint32_t lo = 0, hi = floe_kafka_api_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (floe_kafka_apis[mid].key < key)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < floe_kafka_api_count && floe_kafka_apis[lo].key == key ? &floe_kafka_apis[lo] : NULL;
}

const struct floe_kafka_api *floe_kafka_api_all(uint32_t *count)
{
    *count = floe_kafka_api_count;
    return floe_kafka_apis;
}

static const struct floe_kafka_error_row *error_row(int16_t code)
{
    uint32_t lo = 0, hi = floe_kafka_error_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (floe_kafka_error_rows[mid].code < code)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < floe_kafka_error_count && floe_kafka_error_rows[lo].code == code)
        return &floe_kafka_error_rows[lo];
    return &floe_kafka_error_rows[0]; /* -1, UNKNOWN_SERVER_ERROR */
}

const char *floe_kafka_error_name(int16_t code)
{
    return error_row(code)->name;
}

const char *floe_kafka_error_message(int16_t code)
{
    return error_row(code)->message;
}

bool floe_kafka_error_retriable(int16_t code)
{
    return error_row(code)->retriable;
}

#define API_VERSIONS_KEY 18

/* Tags of a header: none has a meaning to us; all are skipped. */
static void skip_tags(struct floe_reader *r)
{
    uint32_t count = floe_read_uvarint32(r);
    if (count > floe_reader_left(r) / 2)
        r->bad = true;
    for (uint32_t i = 0; i < count && !r->bad; i++) {
        floe_read_uvarint32(r);
        floe_reader_take(r, floe_read_uvarint32(r));
    }
}

enum floe_err floe_kafka_request_header(struct floe_slice frame, struct floe_kafka_request_header *out,
                                        struct floe_error *err)
{
    struct floe_reader r = floe_reader(frame);
    struct floe_kafka_request_header h = {.client_id = {NULL, -1}};
    h.api_key = (int16_t)floe_read_be16(&r);
    h.api_version = (int16_t)floe_read_be16(&r);
    h.correlation_id = (int32_t)floe_read_be32(&r);
    if (r.bad)
        return floe_error_set(err, FLOE_EINVAL, "a request of %zu bytes is too short for a header", frame.n);
    h.api = floe_kafka_api_find(h.api_key);
    h.known_version = h.api && h.api_version >= h.api->min && h.api_version <= h.api->max;
    if (!h.known_version) {
        *out = h;
        return FLOE_OK;
    }
    int16_t n = (int16_t)floe_read_be16(&r);
    const uint8_t *id = n >= 0 ? floe_reader_take(&r, (size_t)n) : NULL;
    if (n < -1)
        r.bad = true;
    h.client_id = (struct floe_kstr){(const char *)id, n};
    if (floe_kafka_flexible(h.api, h.api_version))
        skip_tags(&r);
    if (r.bad)
        return floe_error_set(err, FLOE_EINVAL,
                              "the header of a %s request (version %d) is cut off or malformed", h.api->name,
                              h.api_version);
    h.body = floe_slice(r.p, floe_reader_left(&r));
    *out = h;
    return FLOE_OK;
}

void floe_kafka_write_request_header(const struct floe_kafka_api *a, int16_t version, int32_t correlation_id,
                                     struct floe_kstr client_id, struct floe_writer *w)
{
    FLOE_ASSERT(client_id.n <= INT16_MAX);
    floe_write_be16(w, (uint16_t)a->key);
    floe_write_be16(w, (uint16_t)version);
    floe_write_be32(w, (uint32_t)correlation_id);
    floe_write_be16(w, (uint16_t)(client_id.n < 0 ? -1 : client_id.n));
    if (client_id.n > 0)
        floe_write(w, client_id.p, (size_t)client_id.n);
    if (floe_kafka_flexible(a, version))
        floe_write_u8(w, 0);
}

/* ApiVersions answers in header v0, so that a client that knows no flexible version can read it (KIP-511). */
static bool response_header_has_tags(const struct floe_kafka_api *a, int16_t version)
{
    return floe_kafka_flexible(a, version) && a->key != API_VERSIONS_KEY;
}

void floe_kafka_write_response_header(const struct floe_kafka_api *a, int16_t version, int32_t correlation_id,
                                      struct floe_writer *w)
{
    floe_write_be32(w, (uint32_t)correlation_id);
    if (response_header_has_tags(a, version))
        floe_write_u8(w, 0);
}

enum floe_err floe_kafka_read_response_header(const struct floe_kafka_api *a, int16_t version,
                                              struct floe_slice frame, int32_t *correlation_id,
                                              struct floe_slice *body, struct floe_error *err)
{
    struct floe_reader r = floe_reader(frame);
    int32_t id = (int32_t)floe_read_be32(&r);
    if (response_header_has_tags(a, version))
        skip_tags(&r);
    if (r.bad)
        return floe_error_set(err, FLOE_EINVAL,
                              "the header of a %s response (version %d) is cut off or malformed", a->name,
                              version);
    *correlation_id = id;
    *body = floe_slice(r.p, floe_reader_left(&r));
    return FLOE_OK;
}

enum floe_err floe_kafka_response_frame(const struct floe_kafka_api *a, int16_t version,
                                        int32_t correlation_id, const void *body, struct floe_kafka_out *o,
                                        struct floe_error *err)
{
    FLOE_ASSERT(floe_kafka_out_size(o) == 0);
    floe_write_be32(&o->w, 0);
    floe_kafka_write_response_header(a, version, correlation_id, &o->w);
    enum floe_err rc = floe_kafka_encode_out(a->response, version, body, o, err);
    if (rc == FLOE_OK && floe_kafka_out_size(o) - 4 > INT32_MAX)
        rc = floe_error_set(err, FLOE_ETOOLARGE, "a %s response of %zu bytes", a->name,
                            floe_kafka_out_size(o));
    if (rc == FLOE_OK)
        floe_put_be32(o->w.p, (uint32_t)(floe_kafka_out_size(o) - 4));
    else
        o->w.n = 0;
    return rc;
}

enum floe_err floe_kafka_request_frame(const struct floe_kafka_api *a, int16_t version,
                                       int32_t correlation_id, struct floe_kstr client_id, const void *body,
                                       struct floe_writer *w, struct floe_error *err)
{
    size_t start = w->n;
    floe_write_be32(w, 0);
    floe_kafka_write_request_header(a, version, correlation_id, client_id, w);
    enum floe_err rc = floe_kafka_encode(a->request, version, body, w, err);
    if (rc == FLOE_OK && w->n - start - 4 > INT32_MAX)
        rc = floe_error_set(err, FLOE_ETOOLARGE, "a %s request of %zu bytes", a->name, w->n - start);
    if (rc == FLOE_OK)
        floe_put_be32(w->p + start, (uint32_t)(w->n - start - 4));
    else
        w->n = start;
    return rc;
}
