/* Building batches, record by record. */
#include "kafka/record.h"

#include <floe/base/assert.h>

void floe_batch_builder_init(struct floe_batch_builder *b, enum floe_compression c, size_t max)
{
    FLOE_ASSERT((unsigned)c < FLOE_COMPRESSION_COUNT && max <= INT32_MAX);
    *b = (struct floe_batch_builder){.head = {.leader_epoch = -1,
                                              .attributes = (uint16_t)c,
                                              .producer_id = -1,
                                              .producer_epoch = -1,
                                              .base_sequence = -1}};
    floe_writer_init(&b->records, max);
}

void floe_batch_builder_fini(struct floe_batch_builder *b)
{
    floe_writer_fini(&b->records);
}

static size_t varint_size(int64_t v)
{
    size_t n = 1;
    for (uint64_t u = ((uint64_t)v << 1) ^ (uint64_t)(v >> 63); u > 0x7f; u >>= 7)
        n++;
    return n;
}
static size_t bytes_size(int32_t n)
{
    return varint_size(n) + (n > 0 ? (size_t)n : 0);
}
static void write_bytes(struct floe_writer *w, const void *p, int32_t n)
{
    floe_write_varint(w, n < 0 ? -1 : n);
    if (n > 0)
        floe_write(w, p, (size_t)n);
}

enum floe_err floe_batch_builder_add(struct floe_batch_builder *b, int64_t timestamp, struct floe_kbytes key,
                                     struct floe_kbytes value, const struct floe_record_header *headers,
                                     int32_t header_count, struct floe_error *err)
{
    FLOE_ASSERT(header_count >= 0);
    struct floe_batch *h = &b->head;
    struct floe_writer *w = &b->records;
    size_t start = w->n;
    if (h->count == 0)
        h->base_timestamp = h->max_timestamp = timestamp;
    int64_t delta = (int64_t)((uint64_t)timestamp - (uint64_t)h->base_timestamp);
    size_t n = 1 + varint_size(delta) + varint_size(h->count) + bytes_size(key.n) + bytes_size(value.n) +
               varint_size(header_count);
    for (int32_t i = 0; i < header_count; i++)
        n += bytes_size(headers[i].key.n) + bytes_size(headers[i].value.n);
    if (h->count == INT32_MAX || n + 5 > w->max - w->n)
        return floe_error_set(err, FLOE_ETOOLARGE, "a record of %zu bytes does not fit the batch", n);
    floe_write_varint(w, (int64_t)n);
    floe_write_u8(w, 0);
    floe_write_varint(w, delta);
    floe_write_varint(w, h->count);
    write_bytes(w, key.p, key.n);
    write_bytes(w, value.p, value.n);
    floe_write_varint(w, header_count);
    for (int32_t i = 0; i < header_count; i++) {
        write_bytes(w, headers[i].key.p, headers[i].key.n);
        write_bytes(w, headers[i].value.p, headers[i].value.n);
    }
    if (w->bad) {
        w->bad = false;
        w->n = start;
        return floe_error_set(err, FLOE_ENOMEM, "no memory for a record of %zu bytes", n);
    }
    h->max_timestamp = FLOE_MAX(h->max_timestamp, timestamp);
    h->count++;
    return FLOE_OK;
}

enum floe_err floe_batch_builder_finish(struct floe_batch_builder *b, struct floe_writer *w,
                                        struct floe_error *err)
{
    size_t start = w->n;
    if (b->head.count == 0)
        return floe_error_set(err, FLOE_EINVAL, "a batch without records");
    if (w->bad)
        return floe_error_set(err, FLOE_ETOOLARGE, "the output is full");
    enum floe_err rc = FLOE_OK;
    if (!floe_writer_grow(w, FLOE_BATCH_HEADER))
        rc = floe_error_set(err, FLOE_ETOOLARGE, "no room for a batch");
    else
        rc = floe_compress(floe_batch_compression(&b->head), floe_slice(b->records.p, b->records.n), w, err);
    if (rc == FLOE_OK && w->n - start > INT32_MAX)
        rc = floe_error_set(err, FLOE_ETOOLARGE, "a batch of %zu bytes", w->n - start);
    if (rc != FLOE_OK) {
        w->n = start;
        w->bad = false;
        return rc;
    }
    b->head.length = (uint32_t)(w->n - start);
    b->head.last_offset_delta = b->head.count - 1;
    floe_batch_write_header(w->p + start, &b->head);
    b->records.n = 0;
    b->head.count = 0;
    return FLOE_OK;
}
