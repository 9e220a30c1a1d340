/* Record batches: walked, decompressed within a limit, searched, validated as produced (as they are, and with
 * their CRC mended). */
#include <floe/base/assert.h>
#include <floe/base/crc32c.h>
#include <floe/kafka/batch.h>

#include <stdlib.h>

#define LIMIT ((size_t)256 << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(struct floe_slice bytes, const struct floe_batch *b)
{
    struct floe_record_iter *it = NULL;
    struct floe_record r;
    struct floe_record_header h;
    struct floe_error err;
    int64_t offset, timestamp, largest = INT64_MIN;
    int32_t n = 0;
    enum floe_err rc = floe_record_iter_create(&it, bytes, LIMIT, &err);
    while (rc == FLOE_OK) {
        rc = floe_record_iter_next(it, &r, &err);
        if (rc != FLOE_OK)
            break;
        n++;
        FLOE_ASSERT(r.offset >= b->base_offset && r.offset <= floe_batch_last_offset(b));
        int32_t headers = 0;
        for (struct floe_slice rest = r.headers; floe_record_header_next(&rest, &h);)
            headers++;
        FLOE_ASSERT(headers == r.header_count);
        largest = FLOE_MAX(largest, r.timestamp);
    }
    floe_record_iter_destroy(&it);
    FLOE_ASSERT(rc != FLOE_ENOTFOUND || n == b->count);
    rc = floe_batch_max_timestamp_offset(bytes, LIMIT, &offset, &timestamp, &err);
    FLOE_ASSERT(rc != FLOE_OK || timestamp == largest);
    rc = floe_batch_find_timestamp(bytes, 0, b->max_timestamp, LIMIT, &offset, &timestamp, &err);
    FLOE_ASSERT(rc != FLOE_OK || timestamp >= b->max_timestamp);
}

static void validate(const uint8_t *data, size_t size, bool mend)
{
    struct floe_batch_limits limits = {
        .max_bytes = 1 << 20, .zstd = true, .keys = mend, .records_limit = LIMIT};
    struct floe_batch b;
    struct floe_error err;
    int16_t kafka_error = 0;
    uint8_t *p = malloc(size ? size : 1);
    FLOE_ASSERT(p != NULL);
    if (size)
        memcpy(p, data, size);
    if (mend && size > 21)
        floe_put_be32(p + 17, floe_crc32c(0, p + 21, size - 21));
    enum floe_err rc = floe_batch_validate_produce(p, size, &limits, &b, &kafka_error, &err);
    FLOE_ASSERT((rc == FLOE_OK) == (kafka_error == 0));
    if (rc == FLOE_OK) {
        FLOE_ASSERT(b.length <= size && b.count == b.last_offset_delta + 1 && floe_batch_crc_ok(p, &b));
        floe_batch_set_log_append_time(p, &b, 1);
        FLOE_ASSERT(floe_batch_parse(floe_slice(p, size), &b, &err) == FLOE_OK && floe_batch_crc_ok(p, &b));
    }
    free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct floe_slice rest = floe_slice(data, size), bytes;
    struct floe_batch b;
    struct floe_error err;
    while (floe_batch_next(&rest, &b, &bytes, &err) == FLOE_OK)
        walk(bytes, &b);
    validate(data, size, false);
    validate(data, size, true);
    return 0;
}
