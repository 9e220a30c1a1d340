/* Walking the records of one batch, decompressed as they are needed; looking one up by its timestamp. */
#include "kafka/record.h"

#include <floe/base/assert.h>
#include <stdlib.h>

#define WINDOW_MIN (16u * 1024)

struct floe_record_iter {
    struct floe_batch head;
    struct floe_decompressor *stream; /* null: not compressed, p..end is the batch itself */
    const uint8_t *p, *end;           /* bytes at hand */
    uint8_t *window;                  /* where decompressed bytes lie */
    size_t cap, total, limit;         /* of the window; decompressed so far; allowed */
    int32_t index;
};

enum floe_err floe_record_iter_create(struct floe_record_iter **out, struct floe_slice s, size_t limit,
                                      struct floe_error *err)
{
    struct floe_record_iter *it = calloc(1, sizeof *it);
    if (!it)
        return floe_error_set(err, FLOE_ENOMEM, "no memory to read a batch");
    enum floe_err rc = floe_batch_parse(s, &it->head, err);
    if (rc != FLOE_OK)
        goto out;
    it->limit = limit;
    it->p = s.p + FLOE_BATCH_HEADER;
    it->end = s.p + it->head.length;
    if (floe_batch_compression(&it->head) != FLOE_COMPRESSION_NONE) {
        struct floe_slice in = floe_slice(it->p, (size_t)(it->end - it->p));
        it->p = it->end = NULL;
        rc = floe_decompressor_create(&it->stream, floe_batch_compression(&it->head), in, limit, err);
    }
out:
    if (rc != FLOE_OK)
        floe_record_iter_destroy(&it);
    else
        *out = it;
    return rc;
}

void floe_record_iter_destroy(struct floe_record_iter **it)
{
    if (!*it)
        return;
    floe_decompressor_destroy(&(*it)->stream);
    free((*it)->window);
    free(*it);
    *it = NULL;
}

/* Moves what is at hand to the window's start and makes room for `want` bytes in all. */
static enum floe_err make_room(struct floe_record_iter *it, size_t want, struct floe_error *err)
{
    size_t have = (size_t)(it->end - it->p);
    if (want > it->cap) {
        size_t cap = FLOE_MAX(it->cap * 2, FLOE_MAX(want, (size_t)WINDOW_MIN));
        uint8_t *window = malloc(cap);
        if (!window)
            return floe_error_set(err, FLOE_ENOMEM, "no memory for a record of %zu bytes", want);
        if (have > 0)
            memcpy(window, it->p, have);
        free(it->window);
        it->window = window;
        it->cap = cap;
    } else if (have > 0) {
        memmove(it->window, it->p, have);
    }
    it->p = it->window;
    it->end = it->window + have;
    return FLOE_OK;
}

/* Has at least `want` bytes at hand, or all that are left. */
static enum floe_err fill(struct floe_record_iter *it, size_t want, struct floe_error *err)
{
    if (!it->stream || (size_t)(it->end - it->p) >= want)
        return FLOE_OK;
    if (it->cap == 0 || (size_t)(it->window + it->cap - it->p) < want || it->end == it->window + it->cap) {
        enum floe_err rc = make_room(it, want, err);
        if (rc != FLOE_OK)
            return rc;
    }
    while ((size_t)(it->end - it->p) < want) {
        uint8_t beyond, *to = it->window + (it->end - it->window);
        size_t room = FLOE_MIN((size_t)(it->window + it->cap - it->end), it->limit - it->total), n;
        enum floe_err rc = floe_decompressor_read(it->stream, room ? to : &beyond, room ? room : 1, &n, err);
        if (rc != FLOE_OK)
            return rc;
        if (n == 0)
            return FLOE_OK;
        if (room == 0)
            return floe_error_set(err, FLOE_ETOOLARGE, "a batch of more than %zu bytes when decompressed",
                                  it->limit);
        it->end += n;
        it->total += n;
    }
    return FLOE_OK;
}

static enum floe_err corrupt(const struct floe_record_iter *it, const char *what, struct floe_error *err)
{
    return floe_error_set(err, FLOE_ECORRUPT, "record %d of the batch at offset %lld: %s", it->index,
                          (long long)it->head.base_offset, what);
}

enum floe_err floe_record_iter_next(struct floe_record_iter *it, struct floe_record *out,
                                    struct floe_error *err)
{
    const struct floe_batch *h = &it->head;
    struct floe_record_raw r;
    int32_t n;
    enum floe_err rc = fill(it, it->index == h->count ? 1 : 5, err);
    if (rc != FLOE_OK)
        return rc;
    if (it->index == h->count)
        return it->p == it->end ? floe_error_set(err, FLOE_ENOTFOUND, "no more records")
                                : corrupt(it, "bytes behind the last record", err);
    size_t varint = floe_record_length(it->p, it->end, &n);
    if (varint == 0 || n < 0)
        return corrupt(it, "a length that is none", err);
    if (it->stream && (size_t)n > it->limit)
        return floe_error_set(err, FLOE_ETOOLARGE, "a record of %d bytes, allowed are %zu", n, it->limit);
    rc = fill(it, varint + (size_t)n, err);
    if (rc != FLOE_OK)
        return rc;
    if ((size_t)(it->end - it->p) < varint + (size_t)n)
        return corrupt(it, "a length past the end of the batch", err);
    const char *why = floe_record_parse(it->p + varint, (size_t)n, &r);
    if (why)
        return corrupt(it, why, err);
    if (r.offset_delta < 0 || r.offset_delta > h->last_offset_delta)
        return corrupt(it, "an offset outside of the batch", err);
    it->p += varint + (size_t)n;
    it->index++;
    out->offset = h->base_offset + r.offset_delta;
    out->timestamp = h->attributes & FLOE_BATCH_LOG_APPEND_TIME
                         ? h->max_timestamp
                         : (int64_t)((uint64_t)h->base_timestamp + (uint64_t)r.timestamp_delta);
    out->key = r.key;
    out->value = r.value;
    out->header_count = r.header_count;
    out->headers = r.headers;
    return FLOE_OK;
}

enum floe_err floe_batch_find_timestamp(struct floe_slice s, int64_t from, int64_t timestamp, size_t limit,
                                        int64_t *offset, int64_t *found_timestamp, struct floe_error *err)
{
    struct floe_record_iter *it = NULL;
    struct floe_record r;
    enum floe_err rc = floe_record_iter_create(&it, s, limit, err);
    while (rc == FLOE_OK) {
        rc = floe_record_iter_next(it, &r, err);
        if (rc == FLOE_OK && r.offset >= from && r.timestamp >= timestamp) {
            *offset = r.offset;
            *found_timestamp = r.timestamp;
            break;
        }
    }
    floe_record_iter_destroy(&it);
    return rc;
}

enum floe_err floe_batch_max_timestamp_offset(struct floe_slice s, size_t limit, int64_t *offset,
                                              int64_t *found_timestamp, struct floe_error *err)
{
    struct floe_record_iter *it = NULL;
    struct floe_record r;
    int64_t best_offset = -1, best = 0;
    enum floe_err rc = floe_record_iter_create(&it, s, limit, err);
    while (rc == FLOE_OK) {
        rc = floe_record_iter_next(it, &r, err);
        if (rc == FLOE_OK && (best_offset < 0 || r.timestamp > best)) {
            best_offset = r.offset;
            best = r.timestamp;
        }
    }
    floe_record_iter_destroy(&it);
    if (rc != FLOE_ENOTFOUND || best_offset < 0)
        return rc;
    *offset = best_offset;
    *found_timestamp = best;
    return FLOE_OK;
}
