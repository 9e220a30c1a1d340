/* Roll-ups: what segments carry so that a rebuild need not read the footer of each (docs/formats/rollup.md).
 *
 * What it is: the codec of one opaque block, pure. What it is not: which segments carry one, and of which
 * keys (log/roll.c), and what is done with it (log/rebuild_roll.c).
 *
 * Invariants
 *  1. An entry is the end of an object as it lies in the store, footer and trailer: whoever takes it from
 *     here checks it as if it had come from there.
 *  2. floe_rollup_open checks that every entry lies inside the block; none is copied.
 *
 * Errors: FLOE_ECORRUPT, FLOE_EUNSUPPORTED for a newer version. */
#ifndef FLOE_SEGMENT_ROLLUP_H
#define FLOE_SEGMENT_ROLLUP_H

#include <floe/base/bytes.h>
#include <floe/base/err.h>

/* Segments whose key is a multiple of KEYS carry the footers of those before it, back to the multiple before,
 * as far as they fit; those at other multiples of STEP the same for STEP. */
#define FLOE_ROLLUP_KEYS 64u
#define FLOE_ROLLUP_STEP 8u
#define FLOE_ROLLUP_MAX (4u << 20)        /* bytes of its entries */
#define FLOE_ROLLUP_STEP_MAX (512u << 10) /* at a multiple of STEP */
#define FLOE_ROLLUP_KEYS_MAX 1024u        /* that a reader takes */
#define FLOE_ROLLUP_HEAD_BYTES 16u

/* Keys [first, first + count) of its own chain. */
struct floe_rollup {
    uint64_t first;
    uint32_t count;
    struct floe_reader entries;
};
/* What stands before the entries; each entry is u32 length, then so many last bytes of the object. */
void floe_rollup_head(uint8_t out[FLOE_ROLLUP_HEAD_BYTES], uint64_t first, uint32_t count);
/* `key` only names the object in errors. Borrows the block. */
enum floe_err floe_rollup_open(struct floe_slice block, const char *key, struct floe_rollup *out,
                               struct floe_error *err) FLOE_MUST_USE;
/* The entry of r->first, which goes up by one, for floe_segment_tail_open. False: none is left. */
bool floe_rollup_next(struct floe_rollup *r, struct floe_slice *tail, uint64_t *object_size);

#endif
