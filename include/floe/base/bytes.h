/* Byte slices, a bounds-checked reader and big/little-endian accessors.
 *
 * A slice is borrowed: it is valid until the call-back or request it came with ends. `struct floe_reader` has
 * a sticky error: after the first failure every read returns zero and `bad` stays set, so a decoder checks
 * once at its end.
 */
#ifndef FLOE_BASE_BYTES_H
#define FLOE_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct floe_slice {
    const uint8_t *p;
    size_t n;
};

static inline struct floe_slice floe_slice(const void *p, size_t n)
{
    return (struct floe_slice){(const uint8_t *)p, n};
}
static inline struct floe_slice floe_slice_str(const char *s)
{
    return floe_slice(s, strlen(s));
}
static inline bool floe_slice_eq(struct floe_slice a, struct floe_slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Fixed-width accessors at any alignment. Kafka's wire is big-endian (be), Floe's own formats little-endian
 * (le). */
#define FLOE_ENDIAN_FN(bits)                                                                                 \
    static inline uint##bits##_t floe_be##bits(const void *p)                                                \
    {                                                                                                        \
        uint##bits##_t v;                                                                                    \
        memcpy(&v, p, sizeof v);                                                                             \
        return __builtin_bswap##bits(v);                                                                     \
    }                                                                                                        \
    static inline uint##bits##_t floe_le##bits(const void *p)                                                \
    {                                                                                                        \
        uint##bits##_t v;                                                                                    \
        memcpy(&v, p, sizeof v);                                                                             \
        return v;                                                                                            \
    }                                                                                                        \
    static inline void floe_put_be##bits(void *p, uint##bits##_t v)                                          \
    {                                                                                                        \
        v = __builtin_bswap##bits(v);                                                                        \
        memcpy(p, &v, sizeof v);                                                                             \
    }                                                                                                        \
    static inline void floe_put_le##bits(void *p, uint##bits##_t v)                                          \
    {                                                                                                        \
        memcpy(p, &v, sizeof v);                                                                             \
    }
FLOE_ENDIAN_FN(16)
FLOE_ENDIAN_FN(32)
FLOE_ENDIAN_FN(64)
#undef FLOE_ENDIAN_FN
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "Floe runs on little-endian machines");

struct floe_reader {
    const uint8_t *p, *end;
    bool bad;
};

static inline struct floe_reader floe_reader(struct floe_slice s)
{
    return (struct floe_reader){s.p, s.n ? s.p + s.n : s.p, false}; /* null and 0 is a slice, too */
}
static inline size_t floe_reader_left(const struct floe_reader *r)
{
    return r->bad ? 0 : (size_t)(r->end - r->p);
}
/* Returns `n` borrowed bytes and steps over them, or null (and sets bad) where fewer are left. */
static inline const uint8_t *floe_reader_take(struct floe_reader *r, size_t n)
{
    if (r->bad || (size_t)(r->end - r->p) < n) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->p;
    r->p += n;
    return p;
}
static inline uint8_t floe_read_u8(struct floe_reader *r)
{
    const uint8_t *p = floe_reader_take(r, 1);
    return p ? *p : 0;
}
#define FLOE_READ_FN(e, bits)                                                                                \
    static inline uint##bits##_t floe_read_##e##bits(struct floe_reader *r)                                  \
    {                                                                                                        \
        const uint8_t *p = floe_reader_take(r, bits / 8);                                                    \
        return p ? floe_##e##bits(p) : 0;                                                                    \
    }
FLOE_READ_FN(be, 16)
FLOE_READ_FN(be, 32)
FLOE_READ_FN(be, 64)
FLOE_READ_FN(le, 16)
FLOE_READ_FN(le, 32)
FLOE_READ_FN(le, 64)
#undef FLOE_READ_FN
/* Unsigned LEB128 of at most 5 (u32) or 10 (u64) bytes; longer or overflowing ones set bad. */
uint32_t floe_read_uvarint32(struct floe_reader *r);
uint64_t floe_read_uvarint64(struct floe_reader *r);
/* Zigzag LEB128, as in Kafka's records. */
int32_t floe_read_varint32(struct floe_reader *r);
int64_t floe_read_varint64(struct floe_reader *r);

/* A growing byte string with a hard maximum; sticky error as well. Owns its memory until floe_writer_fini. */
struct floe_writer {
    uint8_t *p;
    size_t n, cap, max;
    bool bad; /* went over max, or no memory */
};
void floe_writer_init(struct floe_writer *w, size_t max);
void floe_writer_fini(struct floe_writer *w);
/* Appends n uninitialised bytes (w->n grows by n) and returns them; null when bad. */
uint8_t *floe_writer_grow(struct floe_writer *w, size_t n);
void floe_write(struct floe_writer *w, const void *p, size_t n);
void floe_write_u8(struct floe_writer *w, uint8_t v);
void floe_write_be16(struct floe_writer *w, uint16_t v);
void floe_write_be32(struct floe_writer *w, uint32_t v);
void floe_write_be64(struct floe_writer *w, uint64_t v);
void floe_write_le16(struct floe_writer *w, uint16_t v);
void floe_write_le32(struct floe_writer *w, uint32_t v);
void floe_write_le64(struct floe_writer *w, uint64_t v);
void floe_write_uvarint(struct floe_writer *w, uint64_t v);
void floe_write_varint(struct floe_writer *w, int64_t v);

/* Lower-case hex. `out` takes 2n+1 bytes. floe_hex_decode returns false on odd length or a non-hex digit. */
void floe_hex(char *out, const void *p, size_t n);
bool floe_hex_decode(uint8_t *out, const char *hex, size_t n_out);

/* 16-byte ids: topics (Kafka's uuid), clusters, nonces. */
struct floe_uuid {
    uint8_t b[16];
};
static inline bool floe_uuid_eq(const struct floe_uuid *a, const struct floe_uuid *b)
{
    return memcmp(a->b, b->b, 16) == 0;
}
static inline bool floe_uuid_is_zero(const struct floe_uuid *a)
{
    static const struct floe_uuid zero;
    return floe_uuid_eq(a, &zero);
}
#define FLOE_UUID_HEX 33 /* buffer for floe_uuid_hex, with its terminator */
void floe_uuid_hex(char out[FLOE_UUID_HEX], const struct floe_uuid *u);
bool floe_uuid_parse(struct floe_uuid *out, const char *hex32);
/* Base64url without padding, 22 characters: Kafka's way to print a uuid. */
void floe_uuid_b64(char out[23], const struct floe_uuid *u);

#endif
