/* Records inside a batch: what validation, iterator and builder share. Private to src/kafka. */
#ifndef FLOE_KAFKA_RECORD_H
#define FLOE_KAFKA_RECORD_H

#include <floe/kafka/batch.h>

/* One record that has been taken apart. Deltas are as on the wire. */
struct floe_record_raw {
    int64_t timestamp_delta;
    int32_t offset_delta;
    struct floe_kbytes key, value;
    int32_t header_count;
    struct floe_slice headers;
};
/* Takes apart the record body (what follows its length) of n bytes; null, or what is wrong with it. */
const char *floe_record_parse(const uint8_t *p, size_t n, struct floe_record_raw *out);
/* Zigzag varint of at most 5 bytes at p: its bytes, or 0 when it is cut off or too long. */
size_t floe_record_length(const uint8_t *p, const uint8_t *end, int32_t *out);

/* Writes all 61 bytes and the CRC; the records stand behind them already. */
void floe_batch_write_header(uint8_t *p, const struct floe_batch *b);
/* Maximum timestamp alone, and the CRC. */
void floe_batch_set_max_timestamp(uint8_t *p, const struct floe_batch *b, int64_t timestamp_ms);

/* A stream of decompressed bytes over compressed ones that outlive it. */
struct floe_decompressor;
enum floe_err floe_decompressor_create(struct floe_decompressor **out, enum floe_compression c,
                                       struct floe_slice in, size_t limit,
                                       struct floe_error *err) FLOE_MUST_USE;
/* Up to cap bytes (cap > 0); *n of 0 is the end. FLOE_ECORRUPT, FLOE_ETOOLARGE for a single block above the
 * limit. */
enum floe_err floe_decompressor_read(struct floe_decompressor *d, uint8_t *out, size_t cap, size_t *n,
                                     struct floe_error *err) FLOE_MUST_USE;
void floe_decompressor_destroy(struct floe_decompressor **d);

/* All of `in`, compressed and appended to w. FLOE_COMPRESSION_NONE copies. */
enum floe_err floe_compress(enum floe_compression c, struct floe_slice in, struct floe_writer *w,
                            struct floe_error *err) FLOE_MUST_USE;

#endif
