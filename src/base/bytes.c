#include <floe/base/assert.h>
#include <floe/base/bytes.h>

#include <stdlib.h>

uint64_t floe_read_uvarint64(struct floe_reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t b = floe_read_u8(r);
        if (r->bad || (shift == 63 && b > 1))
            break;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80)
            return v;
    }
    r->bad = true;
    return 0;
}

uint32_t floe_read_uvarint32(struct floe_reader *r)
{
    uint32_t v = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        uint8_t b = floe_read_u8(r);
        if (r->bad || (shift == 28 && b > 0x0f))
            break;
        v |= (uint32_t)(b & 0x7f) << shift;
        if (b < 0x80)
            return v;
    }
    r->bad = true;
    return 0;
}

int32_t floe_read_varint32(struct floe_reader *r)
{
    uint32_t u = floe_read_uvarint32(r);
    return (int32_t)((u >> 1) ^ (0U - (u & 1)));
}

int64_t floe_read_varint64(struct floe_reader *r)
{
    uint64_t u = floe_read_uvarint64(r);
    return (int64_t)((u >> 1) ^ (0U - (u & 1)));
}

void floe_writer_init(struct floe_writer *w, size_t max)
{
    *w = (struct floe_writer){.max = max};
}

void floe_writer_fini(struct floe_writer *w)
{
    free(w->p);
    *w = (struct floe_writer){.bad = true};
}

/* Doubles the capacity, within max, until n more bytes fit. */
static bool reserve(struct floe_writer *w, size_t n)
{
    if (n > w->max - w->n)
        return false;
    size_t need = w->n + n, cap = FLOE_MAX(w->cap, (size_t)64);
    while (cap < need)
        cap = cap > w->max / 2 ? w->max : cap * 2;
    uint8_t *p = realloc(w->p, cap);
    if (p == NULL)
        return false;
    w->p = p;
    w->cap = cap;
    return true;
}

uint8_t *floe_writer_grow(struct floe_writer *w, size_t n)
{
    if (w->bad)
        return NULL;
    FLOE_ASSERT(w->n <= w->max);
    if (w->p == NULL || n > w->cap - w->n || n > w->max - w->n) {
        if (!reserve(w, n)) {
            w->bad = true;
            return NULL;
        }
    }
    uint8_t *p = w->p + w->n;
    w->n += n;
    return p;
}

void floe_write(struct floe_writer *w, const void *p, size_t n)
{
    uint8_t *to = floe_writer_grow(w, n);
    if (to != NULL && n != 0)
        memcpy(to, p, n);
}

void floe_write_u8(struct floe_writer *w, uint8_t v)
{
    uint8_t *to = floe_writer_grow(w, 1);
    if (to != NULL)
        *to = v;
}

#define WRITE_FN(e, bits)                                                                                    \
    void floe_write_##e##bits(struct floe_writer *w, uint##bits##_t v)                                       \
    {                                                                                                        \
        uint8_t *to = floe_writer_grow(w, (bits) / 8);                                                       \
        if (to != NULL)                                                                                      \
            floe_put_##e##bits(to, v);                                                                       \
    }
WRITE_FN(be, 16)
WRITE_FN(be, 32)
WRITE_FN(be, 64)
WRITE_FN(le, 16)
WRITE_FN(le, 32)
WRITE_FN(le, 64)
#undef WRITE_FN

void floe_write_uvarint(struct floe_writer *w, uint64_t v)
{
    uint8_t tmp[10];
    size_t n = 0;
    while (v >= 0x80) {
        tmp[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    tmp[n++] = (uint8_t)v;
    floe_write(w, tmp, n);
}

void floe_write_varint(struct floe_writer *w, int64_t v)
{
    floe_write_uvarint(w, ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0));
}

void floe_hex(char *out, const void *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[b[i] >> 4];
        out[2 * i + 1] = digits[b[i] & 15];
    }
    out[2 * n] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool floe_hex_decode(uint8_t *out, const char *hex, size_t n_out)
{
    /* Checked whole before the first byte is written: `out` is untouched on failure. */
    for (size_t i = 0; i < 2 * n_out; i++)
        if (hex_digit(hex[i]) < 0) /* the terminator too: a short string never reads past its end */
            return false;
    if (hex[2 * n_out] != '\0')
        return false;
    for (size_t i = 0; i < n_out; i++)
        out[i] = (uint8_t)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
    return true;
}

void floe_uuid_hex(char out[FLOE_UUID_HEX], const struct floe_uuid *u)
{
    floe_hex(out, u->b, sizeof u->b);
}

bool floe_uuid_parse(struct floe_uuid *out, const char *hex32)
{
    return floe_hex_decode(out->b, hex32, sizeof out->b);
}

void floe_uuid_b64(char out[23], const struct floe_uuid *u)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t at = 0;
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < sizeof u->b; i++) {
        bits = bits << 8 | u->b[i];
        held += 8;
        while (held >= 6) {
            held -= 6;
            out[at++] = digits[bits >> held & 63];
        }
    }
    out[at++] = digits[bits << (6 - held) & 63];
    FLOE_ASSERT(at == 22);
    out[at] = '\0';
}
