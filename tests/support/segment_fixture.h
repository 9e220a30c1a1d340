/* Batches and segments for tests: valid batches with opaque payloads, and whole objects as flat bytes. */
#ifndef FLOE_TEST_SEGMENT_FIXTURE_H
#define FLOE_TEST_SEGMENT_FIXTURE_H

#include <floe/base/rng.h>
#include <floe/kafka/batch.h>
#include <floe/segment.h>

struct fixture_batch {
    int64_t base_offset, timestamp, producer_id;
    int32_t leader_epoch, count, base_sequence;
    int16_t producer_epoch;
    uint16_t attributes;
    uint32_t payload; /* bytes after the 61 of the header, filled from the offset */
};
/* A batch in a buffer of its own (one reference, the caller's), its CRC right. The records are noise: fine
 * for whoever does not look inside. */
struct floe_bufslice fixture_batch_make(const struct fixture_batch *f, struct floe_batch *out);
/* The finished object in one buffer (one reference, the caller's). */
struct floe_buf *fixture_flatten(const struct floe_segment_image *image);
struct floe_uuid fixture_uuid(uint8_t fill);
/* Adds a batch of `count` records and `payload` bytes; drops the fixture's own reference. */
void fixture_add(struct floe_segment_writer *w, uint8_t topic, int32_t partition,
                 const struct fixture_batch *f);

#endif
