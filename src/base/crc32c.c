/* CRC-32C four ways, the first that the processor has: folding 256 bytes at a time (AVX-512 with VPCLMULQDQ),
 * SSE4.2 with three interleaved streams, and slicing by eight with tables. All tables and constants are
 * computed at program start; the polynomial is 0x1EDC6F41, here bit-reversed. */
#include <floe/base/bytes.h>
#include <floe/base/crc32c.h>

enum { POLY = (int)0x82f63b78 };
enum { STREAM_LONG = 16384, STREAM_SHORT = 256 }; /* bytes of each of the three streams */

static uint32_t slice[8][256];

static uint32_t by_table(uint32_t crc, const uint8_t *p, size_t n)
{
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t v = floe_le64(p) ^ crc;
        crc = slice[7][v & 255] ^ slice[6][v >> 8 & 255] ^ slice[5][v >> 16 & 255] ^ slice[4][v >> 24 & 255] ^
              slice[3][v >> 32 & 255] ^ slice[2][v >> 40 & 255] ^ slice[1][v >> 48 & 255] ^ slice[0][v >> 56];
    }
    for (; n > 0; n--)
        crc = crc >> 8 ^ slice[0][(crc ^ *p++) & 255];
    return crc;
}

static uint32_t (*update)(uint32_t crc, const uint8_t *p, size_t n) = by_table;
static uint32_t (*ways[FLOE_CRC32C_WAYS])(uint32_t crc, const uint8_t *p, size_t n) = {by_table};

static void make_slices(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = (c & 1) != 0 ? c >> 1 ^ (uint32_t)POLY : c >> 1;
        slice[0][i] = c;
    }
    for (size_t k = 1; k < 8; k++)
        for (size_t i = 0; i < 256; i++)
            slice[k][i] = slice[k - 1][i] >> 8 ^ slice[0][slice[k - 1][i] & 255];
}

#if defined(__x86_64__)
#include <immintrin.h>

/* shift[k][b]: byte k of a CRC register with the value b, moved past so many zero bytes. */
static uint32_t shift_long[4][256], shift_short[4][256];

/* a * b modulo the polynomial, in the bit-reversed representation (bit 31 is x^0). */
static uint32_t multiply(uint32_t a, uint32_t b)
{
    uint32_t out = 0;
    for (uint32_t m = 1U << 31; m != 0; m >>= 1) {
        if ((a & m) != 0)
            out ^= b;
        b = (b & 1) != 0 ? b >> 1 ^ (uint32_t)POLY : b >> 1;
    }
    return out;
}

static void make_shift(uint32_t table[4][256], size_t bytes)
{
    uint32_t power = 1U << 31, square = 1U << 23; /* x^0 and x^8 */
    for (; bytes > 0; bytes >>= 1) {
        if ((bytes & 1) != 0)
            power = multiply(power, square);
        square = multiply(square, square);
    }
    for (uint32_t k = 0; k < 4; k++)
        for (uint32_t b = 0; b < 256; b++)
            table[k][b] = multiply(power, b << 8 * k);
}

static uint32_t shift(uint32_t table[4][256], uint32_t c)
{
    return table[0][c & 255] ^ table[1][c >> 8 & 255] ^ table[2][c >> 16 & 255] ^ table[3][c >> 24];
}

enum { LINE = 64, AHEAD = 2048 }; /* bytes */

/* For a hint: it may lie behind the buffer, where it has no effect. */
static void fetch_ahead(const uint8_t *p)
{
    __builtin_prefetch((const void *)((uintptr_t)p + AHEAD));
}

/* The instruction takes three cycles and starts one a cycle: three independent streams keep it busy. What is
 * not in the cache is asked for early: three streams at once are more than the processor looks ahead for. */
__attribute__((target("sse4.2"))) static uint32_t three(uint32_t crc, const uint8_t *p, size_t stream,
                                                        uint32_t table[4][256])
{
    uint64_t a = crc, b = 0, c = 0;
    for (size_t i = 0; i < stream; i += 8) {
        if (i % LINE == 0) {
            fetch_ahead(p + i);
            fetch_ahead(p + stream + i);
            fetch_ahead(p + 2 * stream + i);
        }
        a = _mm_crc32_u64(a, floe_le64(p + i));
        b = _mm_crc32_u64(b, floe_le64(p + stream + i));
        c = _mm_crc32_u64(c, floe_le64(p + 2 * stream + i));
    }
    return shift(table, shift(table, (uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
}

__attribute__((target("sse4.2"))) static uint32_t by_sse42(uint32_t crc, const uint8_t *p, size_t n)
{
    for (; n >= 3 * (size_t)STREAM_LONG; n -= 3 * (size_t)STREAM_LONG, p += 3 * (size_t)STREAM_LONG)
        crc = three(crc, p, STREAM_LONG, shift_long);
    for (; n >= 3 * (size_t)STREAM_SHORT; n -= 3 * (size_t)STREAM_SHORT, p += 3 * (size_t)STREAM_SHORT)
        crc = three(crc, p, STREAM_SHORT, shift_short);
    uint64_t wide = crc;
    for (; n >= 8; n -= 8, p += 8)
        wide = _mm_crc32_u64(wide, floe_le64(p));
    crc = (uint32_t)wide;
    for (; n > 0; n--)
        crc = _mm_crc32_u8(crc, *p++);
    return crc;
}

enum { FOLD = 256, FOLD_MIN = 1024 }; /* bytes */

/* Bit i of a lane of 128 stands for x^(127-i): its low half is worth x^64 more than the high one. A product
 * of two halves lands one bit too low, so x^63 and x^-1 take the place of x^64 and 1. */
static uint64_t fold_low, fold_high;

static uint32_t power_of_x(uint64_t n)
{
    uint32_t power = 1U << 31, square = 1U << 30;
    for (; n > 0; n >>= 1, square = multiply(square, square))
        power = (n & 1) != 0 ? multiply(power, square) : power;
    return power;
}

static void make_fold(void)
{
    fold_low = (uint64_t)power_of_x(FOLD * 8 + 63) << 32;
    fold_high = (uint64_t)power_of_x(FOLD * 8 - 1) << 32;
}

#define FOLDS __attribute__((target("avx512f,vpclmulqdq,sse4.2")))

/* What was gathered, moved past 256 bytes, and the next 64 of them. */
FOLDS static inline __m512i folded(__m512i x, __m512i k, const uint8_t *next)
{
    return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(x, k, 0x00),
                                     _mm512_clmulepi64_epi128(x, k, 0x11), _mm512_loadu_si512(next),
                                     0x96); /* the sum of the three */
}

FOLDS static uint32_t by_folding(uint32_t crc, const uint8_t *p, size_t n)
{
    uint8_t rest[FOLD];
    if (n < FOLD_MIN)
        return by_sse42(crc, p, n);
    __m512i k =
        _mm512_set4_epi64((int64_t)fold_high, (int64_t)fold_low, (int64_t)fold_high, (int64_t)fold_low);
    __m512i a = _mm512_loadu_si512(p), b = _mm512_loadu_si512(p + 64), c = _mm512_loadu_si512(p + 128),
            d = _mm512_loadu_si512(p + 192);
    a = _mm512_xor_si512(a, _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)crc)));
    for (n -= FOLD, p += FOLD; n >= FOLD; n -= FOLD, p += FOLD) {
        fetch_ahead(p);
        fetch_ahead(p + 64);
        fetch_ahead(p + 128);
        fetch_ahead(p + 192);
        a = folded(a, k, p);
        b = folded(b, k, p + 64);
        c = folded(c, k, p + 128);
        d = folded(d, k, p + 192);
    }
    _mm512_storeu_si512(rest, a);
    _mm512_storeu_si512(rest + 64, b);
    _mm512_storeu_si512(rest + 128, c);
    _mm512_storeu_si512(rest + 192, d);
    return by_sse42(by_sse42(0, rest, FOLD), p, n);
}
#endif

__attribute__((constructor)) static void choose(void)
{
    make_slices();
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) {
        make_shift(shift_long, STREAM_LONG);
        make_shift(shift_short, STREAM_SHORT);
        update = ways[1] = by_sse42;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq")) {
            make_fold();
            update = ways[2] = by_folding;
        }
    }
#endif
}

uint32_t floe_crc32c(uint32_t crc, const void *p, size_t n)
{
    return ~update(~crc, p, n);
}

bool floe_crc32c_by(unsigned way, uint32_t *crc, const void *p, size_t n)
{
    if (way >= FLOE_CRC32C_WAYS || !ways[way])
        return false;
    *crc = ~ways[way](~*crc, p, n);
    return true;
}

/* XXH64, from the specification of xxHash: a stable, public hash, so that other tools can compute placement.
 */
#define X1 0x9e3779b185ebca87U
#define X2 0xc2b2ae3d27d4eb4fU
#define X3 0x165667b19e3779f9U
#define X4 0x85ebca77c2b2ae63U
#define X5 0x27d4eb2f165667c5U

static uint64_t rotl(uint64_t v, unsigned by)
{
    return v << by | v >> (64 - by);
}

static uint64_t x_round(uint64_t acc, uint64_t lane)
{
    return rotl(acc + lane * X2, 31) * X1;
}

static uint64_t x_merge(uint64_t h, uint64_t acc)
{
    return (h ^ x_round(0, acc)) * X1 + X4;
}

uint64_t floe_hash64(const void *data, size_t n, uint64_t seed)
{
    const uint8_t *p = data;
    size_t left = n;
    uint64_t h = seed + X5;
    if (left >= 32) {
        uint64_t a = seed + X1 + X2, b = seed + X2, c = seed, d = seed - X1;
        for (; left >= 32; left -= 32, p += 32) {
            a = x_round(a, floe_le64(p));
            b = x_round(b, floe_le64(p + 8));
            c = x_round(c, floe_le64(p + 16));
            d = x_round(d, floe_le64(p + 24));
        }
        h = rotl(a, 1) + rotl(b, 7) + rotl(c, 12) + rotl(d, 18);
        h = x_merge(x_merge(x_merge(x_merge(h, a), b), c), d);
    }
    h += n;
    for (; left >= 8; left -= 8, p += 8)
        h = rotl(h ^ x_round(0, floe_le64(p)), 27) * X1 + X4;
    if (left >= 4) {
        h = rotl(h ^ (uint64_t)floe_le32(p) * X1, 23) * X2 + X3;
        left -= 4;
        p += 4;
    }
    for (; left > 0; left--)
        h = rotl(h ^ *p++ * X5, 11) * X1;
    h = (h ^ h >> 33) * X2;
    h = (h ^ h >> 29) * X3;
    return h ^ h >> 32;
}
