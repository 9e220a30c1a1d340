/* Record batches (magic 2): parse, check, patch, build, and walk their records.
 *
 * What it is: the bytes between a producer and a consumer. Floe stores a batch as it came, but for the base
 * offset and leader epoch (outside the CRC) and, where the topic wants it, timestamp type and maximum
 * timestamp. What it is not: messages (kafka/codec.h), offsets' assignment (log).
 *
 *  1. A header that floe_batch_parse accepts describes a whole batch inside the slice: 61 <= length <= slice
 * length.
 *  2. Patching base offset and leader epoch leaves the CRC valid; every other change here recomputes it.
 *  3. Decompression is streamed: memory is one window and the largest record, and no more than `limit` bytes
 * come out.
 *
 * Layout (big-endian): baseOffset 0, length 8 (counted from byte 12), leaderEpoch 12, magic 16, crc 17
 * (CRC-32C from byte 21), attributes 21, lastOffsetDelta 23, baseTimestamp 27, maxTimestamp 35, producerId
 * 43, producerEpoch 51, baseSequence 53, count 57, records 61.
 *
 * Threads: pure functions, any thread; an iterator belongs to one. Errors: FLOE_ECORRUPT for bytes that are
 * no valid batch, FLOE_EUNSUPPORTED for an old magic or an unknown compression, FLOE_ETOOLARGE past a limit.
 */
#ifndef FLOE_KAFKA_BATCH_H
#define FLOE_KAFKA_BATCH_H

#include <floe/base/bytes.h>
#include <floe/base/err.h>
#include <floe/kafka/types.h>

#define FLOE_BATCH_HEADER 61u      /* bytes before the records */
#define FLOE_BATCH_LENGTH_FROM 12u /* what the length field does not count */

enum floe_compression {
    FLOE_COMPRESSION_NONE,
    FLOE_COMPRESSION_GZIP,
    FLOE_COMPRESSION_SNAPPY,
    FLOE_COMPRESSION_LZ4,
    FLOE_COMPRESSION_ZSTD,
    FLOE_COMPRESSION_COUNT
};
enum {
    FLOE_BATCH_COMPRESSION_MASK = 0x07,
    FLOE_BATCH_LOG_APPEND_TIME = 0x08,
    FLOE_BATCH_TRANSACTIONAL = 0x10,
    FLOE_BATCH_CONTROL = 0x20,
    FLOE_BATCH_DELETE_HORIZON = 0x40,
};

struct floe_batch {
    int64_t base_offset;
    uint32_t length; /* bytes of the whole batch, header included */
    int32_t leader_epoch;
    uint32_t crc;
    uint16_t attributes;
    int32_t last_offset_delta;
    int64_t base_timestamp, max_timestamp;
    int64_t producer_id; /* -1: none */
    int16_t producer_epoch;
    int32_t base_sequence;
    int32_t count;
};

static inline enum floe_compression floe_batch_compression(const struct floe_batch *b)
{
    return (enum floe_compression)(b->attributes & FLOE_BATCH_COMPRESSION_MASK);
}
static inline int64_t floe_batch_last_offset(const struct floe_batch *b)
{
    return b->base_offset + b->last_offset_delta;
}
/* Sequence of the last record; sequences wrap from INT32_MAX to 0. */
static inline int32_t floe_batch_last_sequence(const struct floe_batch *b)
{
    return b->base_sequence < 0
               ? -1
               : (int32_t)(((uint32_t)b->base_sequence + (uint32_t)b->last_offset_delta) & INT32_MAX);
}
const char *floe_compression_name(enum floe_compression c); /* "none", "gzip", ... */

/* Header of the batch that starts at s; s may go on behind it. The CRC is not checked. A negative base
 * offset, offset delta or count is FLOE_ECORRUPT. */
enum floe_err floe_batch_parse(struct floe_slice s, struct floe_batch *out,
                               struct floe_error *err) FLOE_MUST_USE;
/* The CRC of a parsed batch that starts at p. */
bool floe_batch_crc_ok(const uint8_t *p, const struct floe_batch *b);
/* Walks a set of batches: the first batch of *rest, which then starts behind it. FLOE_ENOTFOUND when *rest is
 * empty; FLOE_ECORRUPT, also for a batch cut off at the end, leaves *rest alone. */
enum floe_err floe_batch_next(struct floe_slice *rest, struct floe_batch *out, struct floe_slice *bytes,
                              struct floe_error *err) FLOE_MUST_USE;

/* What a producer may send. */
struct floe_batch_limits {
    uint32_t max_bytes;     /* max.message.bytes: of the whole batch */
    bool zstd;              /* Produce v7 and above */
    bool keys;              /* compacted topic: a record without key is refused (decompresses) */
    uint32_t records_limit; /* decompressed bytes, where `keys` asks for it */
};
/* Checks the records of one partition of a produce request: exactly one batch of magic 2, of
 * acceptable size (a piece of another one behind it is left out, as Kafka does), CRC right, count and offset
 * delta in accord, no control bit, producer id with epoch and sequence, compression known and allowed.
 * Records that are not compressed are walked: offset deltas 0..n-1, lengths in bounds, nothing behind them; a
 * maximum timestamp that they do not bear out is put right in place with a new CRC, as Kafka does. Compressed
 * ones are taken at their header's word. On failure *kafka_error is Kafka's code, and FLOE_EUNSUPPORTED what
 * no partition was asked about: CORRUPT_MESSAGE, INVALID_RECORD, INVALID_TIMESTAMP, MESSAGE_TOO_LARGE,
 * UNSUPPORTED_COMPRESSION_TYPE.
 */
enum floe_err floe_batch_validate_produce(uint8_t *p, size_t n, const struct floe_batch_limits *limits,
                                          struct floe_batch *out, int16_t *kafka_error,
                                          struct floe_error *err) FLOE_MUST_USE;

/* Changes in place; p is the start of a batch that was parsed. */
void floe_batch_patch(uint8_t *p, int64_t base_offset, int32_t leader_epoch); /* CRC unaffected */
void floe_batch_set_log_append_time(uint8_t *p, const struct floe_batch *b, int64_t timestamp_ms);
void floe_batch_set_producer(uint8_t *p, const struct floe_batch *b, int64_t producer_id,
                             int16_t producer_epoch, int32_t base_sequence);

/* One record. Slices are valid until the iterator's next step or end. */
struct floe_record {
    int64_t offset, timestamp; /* absolute; under LogAppendTime the batch's maximum timestamp */
    struct floe_kbytes key, value;
    int32_t header_count;
    struct floe_slice headers; /* encoded; walked by floe_record_header_next */
};
struct floe_record_header {
    struct floe_kstr key;
    struct floe_kbytes value;
};
struct floe_record_iter;
/* Over the batch that s holds (parsed here; not CRC-checked), with at most `limit` decompressed bytes: then
 * FLOE_ETOOLARGE. `s` must outlive the iterator. */
enum floe_err floe_record_iter_create(struct floe_record_iter **out, struct floe_slice s, size_t limit,
                                      struct floe_error *err) FLOE_MUST_USE;
void floe_record_iter_destroy(struct floe_record_iter **it);
/* FLOE_ENOTFOUND after the last record (which is checked to be the count-th, with nothing behind it). */
enum floe_err floe_record_iter_next(struct floe_record_iter *it, struct floe_record *out,
                                    struct floe_error *err) FLOE_MUST_USE;
/* Takes the next header off *headers; false at the end (or on bytes that the iterator would have refused). */
bool floe_record_header_next(struct floe_slice *headers, struct floe_record_header *out);

/* First record of one batch at or after offset `from` and `timestamp`; FLOE_ENOTFOUND when it has none. */
enum floe_err floe_batch_find_timestamp(struct floe_slice s, int64_t from, int64_t timestamp, size_t limit,
                                        int64_t *offset, int64_t *found_timestamp,
                                        struct floe_error *err) FLOE_MUST_USE;
/* First record of one batch with its largest timestamp. */
enum floe_err floe_batch_max_timestamp_offset(struct floe_slice s, size_t limit, int64_t *offset,
                                              int64_t *found_timestamp, struct floe_error *err) FLOE_MUST_USE;

/* Builder: for the command line, tests and markers. Records are gathered in memory, compressed at the end. */
struct floe_batch_builder {
    struct floe_writer records;
    struct floe_batch
        head; /* base_offset, leader_epoch, attributes, producer_*, base_sequence may be set before finish */
};
/* `max` bounds the records before compression, and the finished batch. */
void floe_batch_builder_init(struct floe_batch_builder *b, enum floe_compression c, size_t max);
void floe_batch_builder_fini(struct floe_batch_builder *b);
/* Appends a record with the next offset delta. Null key or value: n of -1. FLOE_ETOOLARGE past the maximum:
 * the builder is as before. */
enum floe_err floe_batch_builder_add(struct floe_batch_builder *b, int64_t timestamp, struct floe_kbytes key,
                                     struct floe_kbytes value, const struct floe_record_header *headers,
                                     int32_t header_count, struct floe_error *err) FLOE_MUST_USE;
/* Appends the finished batch to w. FLOE_EINVAL for no record. The builder is then empty, for the next batch.
 */
enum floe_err floe_batch_builder_finish(struct floe_batch_builder *b, struct floe_writer *w,
                                        struct floe_error *err) FLOE_MUST_USE;

#endif
