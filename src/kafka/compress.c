/* Compression of whole batches, in the forms that every client reads. */
#include "kafka/record.h"

#include <floe/base/assert.h>
#include <lz4frame.h>
#include <zlib.h>
#include <zstd.h>
#include <snappy-c.h>

#define XERIAL_BLOCK (32u * 1024)

static enum floe_err no_memory(struct floe_error *err)
{
    return floe_error_set(err, FLOE_ETOOLARGE, "a compressed batch above the limit, or no memory");
}

static enum floe_err gzip(struct floe_slice in, struct floe_writer *w, struct floe_error *err)
{
    z_stream z = {0};
    if (in.n > INT32_MAX ||
        deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return no_memory(err);
    uLong bound = deflateBound(&z, in.n);
    uint8_t *to = floe_writer_grow(w, bound);
    int rc = Z_MEM_ERROR;
    if (to) {
        z.next_in = (Bytef *)(uintptr_t)in.p;
        z.avail_in = (uInt)in.n;
        z.next_out = to;
        z.avail_out = (uInt)bound;
        rc = deflate(&z, Z_FINISH);
        w->n -= z.avail_out;
    }
    deflateEnd(&z);
    return rc == Z_STREAM_END ? FLOE_OK : no_memory(err);
}

static enum floe_err snappy(struct floe_slice in, struct floe_writer *w, struct floe_error *err)
{
    static const uint8_t header[16] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1};
    floe_write(w, header, sizeof header);
    while (in.n > 0) {
        size_t take = FLOE_MIN(in.n, (size_t)XERIAL_BLOCK), n = snappy_max_compressed_length(take), bound = n;
        uint8_t *to = floe_writer_grow(w, 4 + n);
        if (!to || snappy_compress((const char *)in.p, take, (char *)to + 4, &n) != SNAPPY_OK)
            return no_memory(err);
        floe_put_be32(to, (uint32_t)n);
        w->n -= bound - n;
        in = floe_slice(in.p + take, in.n - take);
    }
    return FLOE_OK;
}

/* Independent blocks of 64 KiB, no content size, no checksums: Java refuses linked blocks. */
static enum floe_err lz4(struct floe_slice in, struct floe_writer *w, struct floe_error *err)
{
    LZ4F_preferences_t prefs = LZ4F_INIT_PREFERENCES;
    prefs.frameInfo.blockSizeID = LZ4F_max64KB;
    prefs.frameInfo.blockMode = LZ4F_blockIndependent;
    size_t bound = LZ4F_compressFrameBound(in.n, &prefs);
    uint8_t *to = floe_writer_grow(w, bound);
    if (!to)
        return no_memory(err);
    size_t n = LZ4F_compressFrame(to, bound, in.p, in.n, &prefs);
    if (LZ4F_isError(n))
        return no_memory(err);
    w->n -= bound - n;
    return FLOE_OK;
}

static enum floe_err zstd(struct floe_slice in, struct floe_writer *w, struct floe_error *err)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    size_t bound = ZSTD_compressBound(in.n), n = 0;
    uint8_t *to = c ? floe_writer_grow(w, bound) : NULL;
    if (to) {
        ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0);
        n = ZSTD_compress2(c, to, bound, in.p, in.n);
    }
    ZSTD_freeCCtx(c);
    if (!to || ZSTD_isError(n))
        return no_memory(err);
    w->n -= bound - n;
    return FLOE_OK;
}

enum floe_err floe_compress(enum floe_compression c, struct floe_slice in, struct floe_writer *w,
                            struct floe_error *err)
{
    switch (c) {
    case FLOE_COMPRESSION_GZIP:
        return gzip(in, w, err);
    case FLOE_COMPRESSION_SNAPPY:
        return snappy(in, w, err);
    case FLOE_COMPRESSION_LZ4:
        return lz4(in, w, err);
    case FLOE_COMPRESSION_ZSTD:
        return zstd(in, w, err);
    default:
        FLOE_ASSERT(c == FLOE_COMPRESSION_NONE);
    }
    floe_write(w, in.p, in.n);
    return w->bad ? no_memory(err) : FLOE_OK;
}
