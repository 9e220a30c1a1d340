#include <floe_cmocka.h>

#include <floe/base/crc32c.h>
#include <floe/base/rng.h>

#include <stdlib.h>

/* The way that is tested; the last one stands for floe_crc32c, as do those that this processor has not. */
static unsigned way;

static uint32_t crc(uint32_t from, const void *p, size_t n)
{
    uint32_t c = from;
    return floe_crc32c_by(way, &c, p, n) ? c : floe_crc32c(from, p, n);
}

/* RFC 3720 B.4 and the usual check value. */
static void known_values(void **state)
{
    (void)state;
    uint8_t b[32];
    for (way = 0; way <= FLOE_CRC32C_WAYS; way++) {
        assert_true(crc(0, "123456789", 9) == 0xe3069283);
        assert_true(crc(0, "", 0) == 0);
        assert_true(crc(0, NULL, 0) == 0);
        memset(b, 0, sizeof b);
        assert_true(crc(0, b, 32) == 0x8a9136aa);
        memset(b, 0xff, sizeof b);
        assert_true(crc(0, b, 32) == 0x62a8ab43);
        for (size_t i = 0; i < 32; i++)
            b[i] = (uint8_t)i;
        assert_true(crc(0, b, 32) == 0x46dd794e);
    }
}

static uint32_t by_bit(const uint8_t *p, size_t n)
{
    uint32_t c = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++)
            c = (c & 1) != 0 ? c >> 1 ^ 0x82f63b78 : c >> 1;
    }
    return ~c;
}

/* Lengths around every border of the interleaved loops, at odd addresses, whole and in two parts. */
static void all_ways_agree(void **state)
{
    (void)state;
    enum { MAX = 3 * 16384 * 2 + 3 * 256 * 2 + 64 };
    uint8_t *b = malloc(MAX + 8);
    assert_non_null(b);
    struct floe_rng rng;
    floe_rng_init(&rng, 1);
    floe_rng_bytes(&rng, b, MAX + 8);
    const size_t borders[] = {
        0,   8,   3 * 256, 6 * 256,    3 * 16384, 3 * 16384 + 3 * 256, 6 * 16384 + 6 * 256,
        256, 512, 1024,    1024 + 256, 8192};
    for (size_t i = 0; i < sizeof borders / sizeof *borders; i++) {
        for (size_t d = 0; d < 20; d++) {
            size_t n = borders[i] + d >= 9 ? borders[i] + d - 9 : d, off = d % 8;
            uint32_t want = by_bit(b + off, n);
            size_t cut = (size_t)floe_rng_below(&rng, n + 1);
            for (way = 0; way <= FLOE_CRC32C_WAYS; way++) {
                assert_true(crc(0, b + off, n) == want);
                assert_true(crc(crc(0, b + off, cut), b + off + cut, n - cut) == want);
            }
        }
    }
    free(b);
}

/* Values of the xxHash specification's reference implementation. */
static void hash_is_xxh64(void **state)
{
    (void)state;
    assert_true(floe_hash64("", 0, 0) == 0xef46db3751d8e999U);
    assert_true(floe_hash64("a", 1, 0) == 0xd24ec4f1a98c6e5bU);
    assert_true(floe_hash64("abc", 3, 0) == 0x44bc2cf5ad770999U);
    const char *fox = "The quick brown fox jumps over the lazy dog";
    assert_true(floe_hash64(fox, strlen(fox), 0) == 0x0b242d361fda71bcU);
    assert_true(floe_hash64("abc", 3, 1) != floe_hash64("abc", 3, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values),
        cmocka_unit_test(all_ways_agree),
        cmocka_unit_test(hash_is_xxh64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
