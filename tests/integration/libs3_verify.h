/* A second reading of docs/formats/segment.md, written from the document and sharing no code with src/: what
 * lies in a bucket is exactly what the document says. */
#ifndef FLOE_TEST_LIBS3_VERIFY_H
#define FLOE_TEST_LIBS3_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One object's place and identity. */
struct seen_object {
    uint32_t node, epoch;
    uint64_t id, seq;
    uint8_t cluster[16], nonce[16];
    bool seal;
};
/* One block of batches. */
struct seen_block {
    uint8_t topic[16];
    uint32_t partition, leader_epoch;
    int64_t base, end;
    uint64_t records;
    bool counted; /* false: an orphan's */
};
struct seen_floor { /* keys below it may be missing */
    uint32_t node, epoch;
    uint64_t id, floor;
};
struct seen {
    struct seen_floor *floors;
    size_t floor_n, floor_cap;
    struct seen_object *objects;
    size_t object_n, object_cap;
    struct seen_block *blocks;
    size_t block_n, block_cap;
    bool alone;               /* set before: single objects, no chains */
    struct seen_object chain; /* the chain being walked: `seq` is the next key, `seal` says that it is over */
    bool chain_any;
    uint64_t segments, seals, orphans, batches, records, batch_bytes, opaques, bytes;
};

/* Before the objects: what table/floor/<name> says. */
bool verify_floor(struct seen *seen, const char *name, int64_t floor, char why[200]);
/* Checks one object below chain/ and notes it. On failure `why` (200 bytes) says what is wrong. */
bool verify_object(struct seen *seen, const char *key, const uint8_t *p, size_t n, char why[200]);
/* After all objects, which came in the order of their keys: chains dense from their floor up to their seal,
 * one cluster, no nonce twice, no offset of a partition twice. */
bool verify_all(struct seen *seen, char why[200]);
void seen_free(struct seen *seen);

#endif
