/* Roll-ups: refused, or entries that lie inside the block; footers in them are opened and walked. */
#include <floe/base/assert.h>
#include <floe/segment.h>
#include <floe/segment/rollup.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(struct floe_slice bytes, uint64_t object_size)
{
    struct floe_segment_tail tail;
    struct floe_segment_footer f;
    struct floe_segment_cursor c;
    struct floe_segment_block b;
    struct floe_segment_opaque o;
    struct floe_error err;
    if (floe_segment_tail_open(bytes, object_size, "key", &tail, &err) != FLOE_OK || tail.need ||
        floe_segment_footer_open(&tail, "key", &f, &err) != FLOE_OK)
        return;
    floe_segment_cursor_init(&c, &f);
    while (floe_segment_next_block(&c, &b))
        ;
    while (floe_segment_next_opaque(&c, &o))
        ;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct floe_rollup r;
    struct floe_error err;
    struct floe_slice bytes;
    uint64_t object_size;
    if (floe_rollup_open(floe_slice(data, size), "key", &r, &err) != FLOE_OK) {
        FLOE_ASSERT(err.msg[0]);
        return 0;
    }
    FLOE_ASSERT(r.count > 0 && r.count <= FLOE_ROLLUP_KEYS_MAX);
    while (floe_rollup_next(&r, &bytes, &object_size)) {
        FLOE_ASSERT(bytes.p >= data && bytes.p + bytes.n <= data + size && object_size >= bytes.n);
        walk(bytes, object_size);
    }
    return 0;
}
