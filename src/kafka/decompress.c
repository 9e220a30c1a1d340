/* Streams of decompressed bytes: gzip, snappy (xerial framing or one raw block), lz4 frames, zstd frames. */
#include "kafka/record.h"

#include <floe/base/assert.h>
#include <lz4frame.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>
#include <snappy-c.h>

struct floe_decompressor {
    enum floe_compression kind;
    const uint8_t *p, *end; /* what is not consumed yet */
    size_t limit;
    bool done;
    union {
        z_stream gzip;
        LZ4F_dctx *lz4;
        ZSTD_DStream *zstd;
        struct {
            bool framed;
            uint8_t *block; /* the current block, decompressed */
            size_t at, n, cap;
        } snappy;
    } u;
};

static const uint8_t xerial_magic[8] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};
#define XERIAL_HEADER 16u /* magic, version, lowest compatible version */

static enum floe_err corrupt(const struct floe_decompressor *d, const char *what, struct floe_error *err)
{
    return floe_error_set(err, FLOE_ECORRUPT, "%s-compressed records: %s", floe_compression_name(d->kind),
                          what);
}

static enum floe_err open_codec(struct floe_decompressor *d, struct floe_error *err)
{
    bool ok = true;
    switch (d->kind) {
    case FLOE_COMPRESSION_GZIP:
        ok = inflateInit2(&d->u.gzip, 15 + 16) == Z_OK; /* 16: a gzip header, nothing else */
        break;
    case FLOE_COMPRESSION_SNAPPY:
        d->u.snappy.framed = d->end - d->p >= (ptrdiff_t)XERIAL_HEADER && memcmp(d->p, xerial_magic, 8) == 0;
        d->p += d->u.snappy.framed ? XERIAL_HEADER : 0;
        break;
    case FLOE_COMPRESSION_LZ4:
        ok = !LZ4F_isError(LZ4F_createDecompressionContext(&d->u.lz4, LZ4F_VERSION));
        break;
    case FLOE_COMPRESSION_ZSTD:
        d->u.zstd = ZSTD_createDStream();
        ok = d->u.zstd != NULL;
        break;
    default:
        return floe_error_set(err, FLOE_EUNSUPPORTED, "compression %d is not known", d->kind);
    }
    return ok ? FLOE_OK
              : floe_error_set(err, FLOE_ENOMEM, "no memory to decompress %s",
                               floe_compression_name(d->kind));
}

enum floe_err floe_decompressor_create(struct floe_decompressor **out, enum floe_compression c,
                                       struct floe_slice in, size_t limit, struct floe_error *err)
{
    struct floe_decompressor *d = calloc(1, sizeof *d);
    if (!d)
        return floe_error_set(err, FLOE_ENOMEM, "no memory to decompress %s", floe_compression_name(c));
    d->kind = c;
    d->p = in.p;
    d->end = in.p + in.n;
    d->limit = limit;
    enum floe_err rc = open_codec(d, err);
    if (rc != FLOE_OK) {
        free(d);
        return rc;
    }
    *out = d;
    return FLOE_OK;
}

void floe_decompressor_destroy(struct floe_decompressor **dp)
{
    struct floe_decompressor *d = *dp;
    if (!d)
        return;
    if (d->kind == FLOE_COMPRESSION_GZIP)
        inflateEnd(&d->u.gzip);
    else if (d->kind == FLOE_COMPRESSION_LZ4)
        LZ4F_freeDecompressionContext(d->u.lz4);
    else if (d->kind == FLOE_COMPRESSION_ZSTD)
        ZSTD_freeDStream(d->u.zstd);
    else
        free(d->u.snappy.block);
    free(d);
    *dp = NULL;
}

/* One RFC 1952 member, or several in a row. */
static enum floe_err read_gzip(struct floe_decompressor *d, uint8_t *out, size_t cap, size_t *n,
                               struct floe_error *err)
{
    z_stream *z = &d->u.gzip;
    z->next_in = (Bytef *)(uintptr_t)d->p;
    z->avail_in = (uInt)FLOE_MIN((size_t)(d->end - d->p), (size_t)INT32_MAX);
    z->next_out = out;
    z->avail_out = (uInt)FLOE_MIN(cap, (size_t)INT32_MAX);
    uInt space = z->avail_out;
    while (z->avail_out == space) {
        int rc = inflate(z, Z_NO_FLUSH);
        d->p = z->next_in;
        if (rc == Z_STREAM_END && z->avail_in > 0) {
            if (inflateReset(z) != Z_OK)
                return corrupt(d, "the stream cannot be restarted", err);
        } else if (rc == Z_STREAM_END) {
            d->done = true;
            break;
        } else if (rc != Z_OK) {
            return corrupt(d, z->avail_in == 0 && rc == Z_BUF_ERROR ? "cut off" : "no valid gzip", err);
        }
    }
    *n = space - z->avail_out;
    return FLOE_OK;
}

static enum floe_err next_snappy_block(struct floe_decompressor *d, struct floe_error *err)
{
    size_t left = (size_t)(d->end - d->p), in = left, n;
    if (d->u.snappy.framed) {
        if (left < 4 || floe_be32(d->p) > left - 4)
            return corrupt(d, "cut off", err);
        in = floe_be32(d->p);
        d->p += 4;
    }
    if (snappy_uncompressed_length((const char *)d->p, in, &n) != SNAPPY_OK)
        return corrupt(d, "a block without a length", err);
    if (n > d->limit)
        return floe_error_set(err, FLOE_ETOOLARGE, "a snappy block of %zu bytes, allowed are %zu", n,
                              d->limit);
    if (n > in * 64 + 64) /* no snappy block expands so far: three bytes copy at most 64 */
        return corrupt(d, "a block shorter than its length says", err);
    if (n > d->u.snappy.cap) {
        uint8_t *block = realloc(d->u.snappy.block, n);
        if (!block)
            return floe_error_set(err, FLOE_ENOMEM, "no memory for a snappy block of %zu bytes", n);
        d->u.snappy.block = block;
        d->u.snappy.cap = n;
    }
    size_t got = n;
    if (snappy_uncompress((const char *)d->p, in, n ? (char *)d->u.snappy.block : (char *)&got, &got) !=
            SNAPPY_OK ||
        got != n)
        return corrupt(d, "no valid snappy", err);
    d->p += in;
    d->u.snappy.at = 0;
    d->u.snappy.n = n;
    return FLOE_OK;
}

static enum floe_err read_snappy(struct floe_decompressor *d, uint8_t *out, size_t cap, size_t *n,
                                 struct floe_error *err)
{
    while (d->u.snappy.at == d->u.snappy.n) {
        if (d->p == d->end) {
            d->done = true;
            *n = 0;
            return FLOE_OK;
        }
        enum floe_err rc = next_snappy_block(d, err);
        if (rc != FLOE_OK)
            return rc;
    }
    size_t take = FLOE_MIN(cap, d->u.snappy.n - d->u.snappy.at);
    memcpy(out, d->u.snappy.block + d->u.snappy.at, take);
    d->u.snappy.at += take;
    *n = take;
    return FLOE_OK;
}

static enum floe_err read_lz4(struct floe_decompressor *d, uint8_t *out, size_t cap, size_t *n,
                              struct floe_error *err)
{
    for (;;) {
        size_t in = (size_t)(d->end - d->p), got = cap;
        size_t hint = LZ4F_decompress(d->u.lz4, out, &got, d->p, &in, NULL);
        if (LZ4F_isError(hint))
            return corrupt(d, LZ4F_getErrorName(hint), err);
        d->p += in;
        if (hint == 0 && d->p == d->end)
            d->done = true;
        if (got > 0 || d->done) {
            *n = got;
            return FLOE_OK;
        }
        if (in == 0)
            return corrupt(d, "cut off", err);
    }
}

static enum floe_err read_zstd(struct floe_decompressor *d, uint8_t *out, size_t cap, size_t *n,
                               struct floe_error *err)
{
    for (;;) {
        ZSTD_inBuffer in = {d->p, (size_t)(d->end - d->p), 0};
        ZSTD_outBuffer to = {out, cap, 0};
        size_t hint = ZSTD_decompressStream(d->u.zstd, &to, &in);
        if (ZSTD_isError(hint))
            return corrupt(d, ZSTD_getErrorName(hint), err);
        d->p += in.pos;
        if (hint == 0 && d->p == d->end)
            d->done = true;
        if (to.pos > 0 || d->done) {
            *n = to.pos;
            return FLOE_OK;
        }
        if (in.pos == 0)
            return corrupt(d, "cut off", err);
    }
}

enum floe_err floe_decompressor_read(struct floe_decompressor *d, uint8_t *out, size_t cap, size_t *n,
                                     struct floe_error *err)
{
    FLOE_ASSERT(cap > 0);
    if (d->done) {
        *n = 0;
        return FLOE_OK;
    }
    switch (d->kind) {
    case FLOE_COMPRESSION_GZIP:
        return read_gzip(d, out, cap, n, err);
    case FLOE_COMPRESSION_SNAPPY:
        return read_snappy(d, out, cap, n, err);
    case FLOE_COMPRESSION_LZ4:
        return read_lz4(d, out, cap, n, err);
    default:
        return read_zstd(d, out, cap, n, err);
    }
}
