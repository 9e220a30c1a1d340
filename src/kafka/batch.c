/* Batch headers: parse, walk, patch. */
#include <floe/kafka/batch.h>
#include <floe/base/assert.h>
#include <floe/base/crc32c.h>

enum {
    AT_LENGTH = 8,
    AT_LEADER_EPOCH = 12,
    AT_MAGIC = 16,
    AT_CRC = 17,
    AT_ATTRIBUTES = 21, /* the CRC covers from here to the end */
    AT_LAST_OFFSET_DELTA = 23,
    AT_BASE_TIMESTAMP = 27,
    AT_MAX_TIMESTAMP = 35,
    AT_PRODUCER_ID = 43,
    AT_PRODUCER_EPOCH = 51,
    AT_BASE_SEQUENCE = 53,
    AT_COUNT = 57,
};

const char *floe_compression_name(enum floe_compression c)
{
    static const char *const name[] = {"none", "gzip", "snappy", "lz4", "zstd"};
    return (unsigned)c < FLOE_COMPRESSION_COUNT ? name[c] : "unknown";
}

enum floe_err floe_batch_parse(struct floe_slice s, struct floe_batch *out, struct floe_error *err)
{
    if (s.n < FLOE_BATCH_HEADER)
        return floe_error_set(err, FLOE_ECORRUPT, "%zu bytes are too few for the header of a batch", s.n);
    const uint8_t *p = s.p;
    if (p[AT_MAGIC] != 2)
        return floe_error_set(err, p[AT_MAGIC] < 2 ? FLOE_EUNSUPPORTED : FLOE_ECORRUPT,
                              "a batch of magic %d, only 2 is known", p[AT_MAGIC]);
    uint32_t length = floe_be32(p + AT_LENGTH);
    if (length < FLOE_BATCH_HEADER - FLOE_BATCH_LENGTH_FROM || length > s.n - FLOE_BATCH_LENGTH_FROM)
        return floe_error_set(err, FLOE_ECORRUPT, "a batch of length %u where %zu bytes are left", length,
                              s.n - FLOE_BATCH_LENGTH_FROM);
    struct floe_batch b = {
        .base_offset = (int64_t)floe_be64(p),
        .length = length + FLOE_BATCH_LENGTH_FROM,
        .leader_epoch = (int32_t)floe_be32(p + AT_LEADER_EPOCH),
        .crc = floe_be32(p + AT_CRC),
        .attributes = floe_be16(p + AT_ATTRIBUTES),
        .last_offset_delta = (int32_t)floe_be32(p + AT_LAST_OFFSET_DELTA),
        .base_timestamp = (int64_t)floe_be64(p + AT_BASE_TIMESTAMP),
        .max_timestamp = (int64_t)floe_be64(p + AT_MAX_TIMESTAMP),
        .producer_id = (int64_t)floe_be64(p + AT_PRODUCER_ID),
        .producer_epoch = (int16_t)floe_be16(p + AT_PRODUCER_EPOCH),
        .base_sequence = (int32_t)floe_be32(p + AT_BASE_SEQUENCE),
        .count = (int32_t)floe_be32(p + AT_COUNT),
    };
    if (b.base_offset < 0 || b.last_offset_delta < 0 || b.count < 0 ||
        b.base_offset > INT64_MAX - b.last_offset_delta)
        return floe_error_set(err, FLOE_ECORRUPT,
                              "a batch at offset %lld with last offset delta %d and %d records",
                              (long long)b.base_offset, b.last_offset_delta, b.count);
    *out = b;
    return FLOE_OK;
}

bool floe_batch_crc_ok(const uint8_t *p, const struct floe_batch *b)
{
    return floe_crc32c(0, p + AT_ATTRIBUTES, b->length - AT_ATTRIBUTES) == b->crc;
}

enum floe_err floe_batch_next(struct floe_slice *rest, struct floe_batch *out, struct floe_slice *bytes,
                              struct floe_error *err)
{
    if (rest->n == 0)
        return floe_error_set(err, FLOE_ENOTFOUND, "no more batches");
    enum floe_err rc = floe_batch_parse(*rest, out, err);
    if (rc != FLOE_OK)
        return rc;
    *bytes = floe_slice(rest->p, out->length);
    *rest = floe_slice(rest->p + out->length, rest->n - out->length);
    return FLOE_OK;
}

static void write_crc(uint8_t *p, uint32_t length)
{
    floe_put_be32(p + AT_CRC, floe_crc32c(0, p + AT_ATTRIBUTES, length - AT_ATTRIBUTES));
}

void floe_batch_patch(uint8_t *p, int64_t base_offset, int32_t leader_epoch)
{
    floe_put_be64(p, (uint64_t)base_offset);
    floe_put_be32(p + AT_LEADER_EPOCH, (uint32_t)leader_epoch);
}

void floe_batch_set_max_timestamp(uint8_t *p, const struct floe_batch *b, int64_t timestamp_ms)
{
    floe_put_be64(p + AT_MAX_TIMESTAMP, (uint64_t)timestamp_ms);
    write_crc(p, b->length);
}

void floe_batch_set_log_append_time(uint8_t *p, const struct floe_batch *b, int64_t timestamp_ms)
{
    floe_put_be16(p + AT_ATTRIBUTES, b->attributes | FLOE_BATCH_LOG_APPEND_TIME);
    floe_batch_set_max_timestamp(p, b, timestamp_ms);
}

void floe_batch_set_producer(uint8_t *p, const struct floe_batch *b, int64_t producer_id,
                             int16_t producer_epoch, int32_t base_sequence)
{
    floe_put_be64(p + AT_PRODUCER_ID, (uint64_t)producer_id);
    floe_put_be16(p + AT_PRODUCER_EPOCH, (uint16_t)producer_epoch);
    floe_put_be32(p + AT_BASE_SEQUENCE, (uint32_t)base_sequence);
    write_crc(p, b->length);
}

void floe_batch_write_header(uint8_t *p, const struct floe_batch *b)
{
    FLOE_ASSERT(b->length >= FLOE_BATCH_HEADER);
    floe_batch_patch(p, b->base_offset, b->leader_epoch);
    floe_put_be32(p + AT_LENGTH, b->length - FLOE_BATCH_LENGTH_FROM);
    p[AT_MAGIC] = 2;
    floe_put_be16(p + AT_ATTRIBUTES, b->attributes);
    floe_put_be32(p + AT_LAST_OFFSET_DELTA, (uint32_t)b->last_offset_delta);
    floe_put_be64(p + AT_BASE_TIMESTAMP, (uint64_t)b->base_timestamp);
    floe_put_be64(p + AT_MAX_TIMESTAMP, (uint64_t)b->max_timestamp);
    floe_put_be32(p + AT_COUNT, (uint32_t)b->count);
    floe_batch_set_producer(p, b, b->producer_id, b->producer_epoch, b->base_sequence);
}
