/* Constants and small codecs of docs/formats/segment.md that writer and reader share. Private to segment/. */
#ifndef FLOE_SEGMENT_FORMAT_H
#define FLOE_SEGMENT_FORMAT_H

#include <floe/segment.h>

#define SEGMENT_MAGIC "FLOESEG1"
#define SEGMENT_END_MAGIC "FLOEEND1"
#define SEGMENT_MAGIC_BYTES 8u

enum segment_flag { SEGMENT_FLAG_SEAL = 1 };

#define SECTION_HEADER_BYTES 12u
enum section_type {
    SECTION_IDENTITY = 1,
    SECTION_DICTIONARY = 2,
    SECTION_BATCHES = 3,
    SECTION_OPAQUES = 4,
    SECTION_SEAL = 5,
};
/* A reader that does not know a section with this flag must not use the object. */
enum section_flag { SECTION_FLAG_REQUIRED = 1 };

#define SEAL_SECTION_BYTES 16u

/* Shortest encodings: what bounds a count before anything is walked. */
#define BLOCK_ENTRY_MIN 14u
#define BATCH_ENTRY_MIN 8u
#define OPAQUE_ENTRY_MIN 9u
#define DICTIONARY_ENTRY_MIN 18u

void segment_header_encode(uint8_t out[FLOE_SEGMENT_HEADER_BYTES], const struct floe_segment_id *id);
/* `footer` is complete; the trailer goes to `out`. */
void segment_trailer_encode(uint8_t out[FLOE_SEGMENT_TRAILER_BYTES], uint64_t footer_position,
                            struct floe_slice footer, bool seal);
/* Fills the 12 bytes before a payload that is already in place. */
void segment_section_encode(uint8_t *head, enum section_type type, uint16_t flags, uint32_t length);
/* CRC-32C of a section: its first eight header bytes, then its payload. */
uint32_t segment_section_crc(const uint8_t *head, uint32_t length);

#endif
