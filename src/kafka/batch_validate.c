/* What a producer may send: Kafka's checks of one partition of a produce request, in Kafka's order. */
#include "kafka/record.h"

#include <floe/gen/kafka_errors.h>

struct check {
    int16_t *kafka_error;
    struct floe_error *err;
};

#define REFUSE(c, kerr, code, ...) (*(c)->kafka_error = (kerr), floe_error_set((c)->err, (code), __VA_ARGS__))

static enum floe_err check_header(const struct check *c, const struct floe_batch *b)
{
    if (b->count < 1 || b->last_offset_delta != b->count - 1)
        return REFUSE(c, FLOE_KERR_INVALID_RECORD, FLOE_EINVAL,
                      "a batch of %d records with last offset delta %d", b->count, b->last_offset_delta);
    if (b->attributes & (FLOE_BATCH_CONTROL | FLOE_BATCH_DELETE_HORIZON))
        return REFUSE(c, FLOE_KERR_INVALID_RECORD, FLOE_EINVAL,
                      "clients may not write control batches or delete horizons");
    if (b->attributes & FLOE_BATCH_LOG_APPEND_TIME)
        return REFUSE(c, FLOE_KERR_INVALID_TIMESTAMP, FLOE_EINVAL,
                      "producers may not set the timestamp type to log append time");
    if (b->producer_id < -1 || (b->producer_id >= 0 && (b->base_sequence < 0 || b->producer_epoch < 0)))
        return REFUSE(c, FLOE_KERR_INVALID_RECORD, FLOE_EINVAL,
                      "producer id %lld with epoch %d and sequence %d", (long long)b->producer_id,
                      b->producer_epoch, b->base_sequence);
    return FLOE_OK;
}

static enum floe_err bad_record(const struct check *c, int32_t index, const char *why)
{
    return REFUSE(c, FLOE_KERR_INVALID_RECORD, FLOE_EINVAL, "record %d: %s", index, why);
}

static enum floe_err walk_plain(const struct check *c, uint8_t *start, struct floe_batch *b, bool keys)
{
    const uint8_t *p = start + FLOE_BATCH_HEADER, *end = start + b->length;
    int64_t max = INT64_MIN;
    for (int32_t i = 0; i < b->count; i++) {
        struct floe_record_raw r;
        int32_t n;
        size_t varint = floe_record_length(p, end, &n);
        if (varint == 0 || n < 0 || n > end - p - (ptrdiff_t)varint)
            return bad_record(c, i, "a length past the end of the batch");
        const char *why = floe_record_parse(p + varint, (size_t)n, &r);
        if (why)
            return bad_record(c, i, why);
        if (r.offset_delta != i)
            return bad_record(c, i, "an offset delta out of order");
        if (keys && r.key.n < 0)
            return bad_record(c, i, "no key, which a compacted topic needs");
        int64_t t = (int64_t)((uint64_t)b->base_timestamp + (uint64_t)r.timestamp_delta);
        max = t > max ? t : max;
        p += varint + (size_t)n;
    }
    if (p != end)
        return bad_record(c, b->count, "bytes behind the last record");
    if (max != b->max_timestamp) {
        b->max_timestamp = max;
        floe_batch_set_max_timestamp(start, b, max);
        return floe_batch_parse(floe_slice(start, b->length), b, c->err);
    }
    return FLOE_OK;
}

/* Compacted topics need a key in every record, so theirs are decompressed. */
static enum floe_err walk_compressed(const struct check *c, const uint8_t *p, const struct floe_batch *b,
                                     size_t limit)
{
    struct floe_record_iter *it = NULL;
    struct floe_record r;
    enum floe_err rc = floe_record_iter_create(&it, floe_slice(p, b->length), limit, c->err);
    while (rc == FLOE_OK) {
        rc = floe_record_iter_next(it, &r, c->err);
        if (rc == FLOE_OK && r.key.n < 0) {
            rc = bad_record(c, (int32_t)(r.offset - b->base_offset), "no key, which a compacted topic needs");
            goto out;
        }
    }
    if (rc == FLOE_ENOTFOUND)
        rc = FLOE_OK;
    else
        *c->kafka_error = rc == FLOE_ETOOLARGE ? FLOE_KERR_MESSAGE_TOO_LARGE
                          : rc == FLOE_ENOMEM  ? FLOE_KERR_UNKNOWN_SERVER_ERROR
                                               : FLOE_KERR_INVALID_RECORD;
out:
    floe_record_iter_destroy(&it);
    return rc;
}

/* How many bytes the first batch of p has; 0: none that is whole, which Kafka takes for no batch at all;
 * -1: a length that none can have. */
static int64_t first_batch(const uint8_t *p, size_t n)
{
    if (n < FLOE_BATCH_LENGTH_FROM)
        return 0;
    int64_t length = (int32_t)floe_be32(p + 8);
    if (length < 14) /* the shortest message of any magic */
        return -1;
    return n < 17 || (size_t)length > n - FLOE_BATCH_LENGTH_FROM ? 0 : length + FLOE_BATCH_LENGTH_FROM;
}

enum floe_err floe_batch_validate_produce(uint8_t *p, size_t n, const struct floe_batch_limits *limits,
                                          struct floe_batch *out, int16_t *kafka_error,
                                          struct floe_error *err)
{
    struct check c = {kafka_error, err};
    struct floe_batch b;
    int64_t first = first_batch(p, n);
    if (first == 0)
        return REFUSE(&c, FLOE_KERR_INVALID_RECORD, FLOE_EUNSUPPORTED,
                      "a produce request must hold exactly one batch a partition");
    if (first < 0)
        return REFUSE(&c, FLOE_KERR_CORRUPT_MESSAGE, FLOE_ECORRUPT, "a batch of length %d",
                      (int32_t)floe_be32(p + 8));
    if (p[16] < 2)
        return REFUSE(&c, FLOE_KERR_INVALID_RECORD, FLOE_EUNSUPPORTED, "a batch of magic %d, only 2 is known",
                      p[16]);
    if ((size_t)first < n && first_batch(p + first, n - (size_t)first) != 0)
        return REFUSE(&c, FLOE_KERR_INVALID_RECORD, FLOE_EUNSUPPORTED,
                      "a batch of %lld bytes with %zu more behind it", (long long)first, n - (size_t)first);
    enum floe_err rc = floe_batch_parse(floe_slice(p, (size_t)first), &b, err);
    if (rc != FLOE_OK) { /* what is wrong with a whole one of magic 2 is an offset, a delta or the count */
        bool whole = p[16] == 2 && (size_t)first >= FLOE_BATCH_HEADER;
        *kafka_error = whole ? FLOE_KERR_INVALID_RECORD : FLOE_KERR_CORRUPT_MESSAGE;
        return rc;
    }
    enum floe_compression comp = floe_batch_compression(&b);
    if (comp >= FLOE_COMPRESSION_COUNT || (comp == FLOE_COMPRESSION_ZSTD && !limits->zstd))
        return REFUSE(&c, FLOE_KERR_UNSUPPORTED_COMPRESSION_TYPE, FLOE_EUNSUPPORTED,
                      "compression %s (%d) in this version", floe_compression_name(comp), comp);
    if (b.length > limits->max_bytes)
        return REFUSE(&c, FLOE_KERR_MESSAGE_TOO_LARGE, FLOE_ETOOLARGE,
                      "a batch of %u bytes, max.message.bytes is %u", b.length, limits->max_bytes);
    if (!floe_batch_crc_ok(p, &b))
        return REFUSE(&c, FLOE_KERR_CORRUPT_MESSAGE, FLOE_ECORRUPT, "the batch fails its CRC");
    rc = check_header(&c, &b);
    if (rc == FLOE_OK && comp == FLOE_COMPRESSION_NONE)
        rc = walk_plain(&c, p, &b, limits->keys);
    else if (rc == FLOE_OK && limits->keys)
        rc = walk_compressed(&c, p, &b, limits->records_limit);
    if (rc == FLOE_OK)
        *out = b;
    return rc;
}
