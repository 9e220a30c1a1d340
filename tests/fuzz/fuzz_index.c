/* Index blocks and a checkpoint's levels: refused, or in order and coming back as the same bytes' meaning. */
#include <floe/base/assert.h>
#include <floe/base/crc32c.h>
#include <floe/log/index.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void page(const uint8_t *data, size_t size, bool mend)
{
    struct floe_error err;
    struct floe_index_page *out = malloc(sizeof *out);
    uint8_t *p = malloc(size ? size : 1);
    FLOE_ASSERT(p != NULL && out != NULL);
    if (size)
        memcpy(p, data, size);
    if (mend && size > 12) {
        memcpy(p, "FLIX\1\0", 6);
        floe_put_le32(p + 8, floe_crc32c(floe_crc32c(0, p, 8), p + 12, size - 12));
    }
    if (floe_index_page_decode(floe_slice(p, size), out, &err) == FLOE_OK) {
        FLOE_ASSERT(out->n > 0 && out->n <= FLOE_INDEX_FANOUT);
        for (uint32_t i = 0; i < out->n; i++) {
            const struct floe_index_entry *e = &out->entries[i];
            struct floe_index_hit hit;
            FLOE_ASSERT(e->base_offset >= (i ? e[-1].end_offset : 0) && e->end_offset > e->base_offset);
            FLOE_ASSERT(floe_index_page_lookup(out, e->base_offset, &hit) == FLOE_OK &&
                        hit.entry.base_offset == e->base_offset);
        }
    }
    free(p);
    free(out);
}

static void levels(const uint8_t *data, size_t size)
{
    struct floe_error err;
    struct floe_index *ix, *again;
    FLOE_ASSERT(floe_index_create(&ix) == FLOE_OK && floe_index_create(&again) == FLOE_OK);
    if (floe_index_decode(ix, floe_slice(data, size), &err) == FLOE_OK) {
        struct floe_writer w;
        floe_writer_init(&w, 1u << 26);
        FLOE_ASSERT(floe_index_encode(ix, &w) == FLOE_OK);
        FLOE_ASSERT(floe_index_decode(again, floe_slice(w.p, w.n), &err) == FLOE_OK);
        FLOE_ASSERT(floe_index_end(again) == floe_index_end(ix) &&
                    floe_index_start(again) == floe_index_start(ix));
        struct floe_index_hit hit;
        for (int64_t at = 0, steps = 0; steps < 1000 && floe_index_lookup(ix, at, &hit) == FLOE_OK; steps++) {
            FLOE_ASSERT(hit.entry.end_offset > at);
            at = hit.entry.end_offset;
        }
        floe_writer_fini(&w);
    }
    floe_index_destroy(&ix);
    floe_index_destroy(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    page(data, size, false);
    page(data, size, true);
    levels(data, size);
    return 0;
}
