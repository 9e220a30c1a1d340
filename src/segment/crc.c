/* The CRC-32C of a concatenation from the CRCs of its parts. A CRC register is a polynomial over GF(2);
 * appending n bytes multiplies it by x^(8n) modulo the generator, so that the CRC of a, then b, is
 * crc(a) * x^(8 |b|) + crc(b): initial and final inversion cancel out. */
#include <floe/segment.h>

#define CRC32C_POLY 0x82f63b78u /* reflected: bit 31 is x^0 */

/* x^(8 * 2^k) modulo the generator. */
static const uint32_t x8_pow2[31] = {
    0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a, 0xb82be955, 0xb8fdb1e7,
    0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc,
    0xfe7740e6, 0xf946610b, 0x3c204f8f, 0x538586e3, 0x59726915, 0x734d5309, 0xbc1ac763, 0x7d0722cc,
    0xd289cabe, 0xe94ca9bc, 0x05b74f3f, 0xa51e1f42, 0x40000000, 0x20000000, 0x08000000,
};

/* a * b modulo the generator. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (; a; a <<= 1) {
        product ^= b & (uint32_t) - (int32_t)(a >> 31);
        b = (b >> 1) ^ (CRC32C_POLY & (uint32_t) - (int32_t)(b & 1));
    }
    return product;
}

uint32_t floe_segment_crc_combine(uint32_t crc_a, uint32_t crc_b, uint64_t length_b)
{
    /* x has the order 2^31 - 1, so the table repeats after 31 entries. */
    for (unsigned k = 0; length_b; length_b >>= 1, k++)
        if (length_b & 1)
            crc_a = multiply(crc_a, x8_pow2[k % 31]);
    return crc_a ^ crc_b;
}
