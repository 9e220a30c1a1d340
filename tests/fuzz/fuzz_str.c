/* The parsers of base/str.h and the variable-length integers of base/bytes.h: no crash, and what was accepted
 * is printed and read back to the same value. */
#include <floe/base/assert.h>
#include <floe/base/bytes.h>
#include <floe/base/str.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"listen", "linger-ms", "lease-ms"};
    char *s = malloc(size + 1), num[FLOE_STR_NUM], text[FLOE_STR_ADDR];
    FLOE_ASSERT(s != NULL);
    if (size != 0)
        memcpy(s, data, size);
    s[size] = '\0';
    struct floe_error err;
    struct floe_str_addr a, b;
    uint64_t v, w;
    bool flag;
    if (floe_str_parse_size(s, &v, &err) == FLOE_OK)
        FLOE_ASSERT(floe_str_parse_size(floe_str_size(num, v), &w, &err) == FLOE_OK && v == w);
    if (floe_str_parse_duration_ms(s, &v, &err) == FLOE_OK)
        FLOE_ASSERT(floe_str_parse_duration_ms(floe_str_duration_ms(num, v), &w, &err) == FLOE_OK && v == w);
    if (floe_str_parse_listen(s, &a, &err) == FLOE_OK) {
        FLOE_ASSERT(floe_str_parse_listen(floe_str_addr(text, a.host, a.port), &b, &err) == FLOE_OK);
        FLOE_ASSERT(strcmp(a.host, b.host) == 0 && a.port == b.port);
        (void)floe_str_addr_is_wildcard(&a);
    }
    int64_t i;
    (void)!floe_str_parse_u64(s, &v, &err);
    (void)!floe_str_parse_i64(s, &i, &err);
    (void)!floe_str_parse_bool(s, &flag, &err);
    (void)floe_str_nearest(s, names, FLOE_COUNTOF(names));
    struct floe_reader r = floe_reader(floe_slice(data, size));
    while (floe_reader_left(&r) > 0)
        (void)(floe_read_uvarint64(&r) + (uint64_t)floe_read_varint32(&r));
    free(s);
    return 0;
}
