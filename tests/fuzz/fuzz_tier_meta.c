/* The tier's meta file. The checksum is made to fit, or nothing would get past it. */
#include "tier/rocksdb/meta.h"

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>

#include <stdlib.h>

static void decode(const uint8_t *data, size_t n)
{
    struct floe_tier_metas m;
    struct floe_error err = {0};
    enum floe_err e = floe_tier_metas_decode(&m, floe_slice(data, n), &err);
    if (e) {
        FLOE_ASSERT(err.code == e && err.msg[0]);
        return;
    }
    struct floe_writer w;
    floe_writer_init(&w, FLOE_TIER_META_FILE_MAX);
    floe_tier_metas_encode(&m, &w);
    FLOE_ASSERT(!w.bad && w.n == n && memcmp(w.p, data, n) == 0);
    floe_writer_fini(&w);
    floe_tier_metas_fini(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    decode(data, n);
    uint8_t *copy = malloc(n + 4);
    if (!copy)
        return 0;
    memcpy(copy, data, n);
    floe_put_le32(copy + n, floe_crc32c(0, data, n));
    decode(copy, n + 4);
    free(copy);
    return 0;
}
