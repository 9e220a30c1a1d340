#include <floe_cmocka.h>

#include <floe/base/assert.h>
#include <floe/base/rng.h>
#include <floe/base/str.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void numbers(void **state)
{
    (void)state;
    struct floe_error e;
    uint64_t u = 7;
    int64_t i = 7;
    assert_int_equal(floe_str_parse_u64("18446744073709551615", &u, &e), FLOE_OK);
    assert_true(u == UINT64_MAX);
    u = 7;
    static const char *const bad[] = {"", " 1", "1 ", "+1", "-1", "0x10", "1.5", "18446744073709551616", "a"};
    for (size_t k = 0; k < FLOE_COUNTOF(bad); k++) {
        assert_int_equal(floe_str_parse_u64(bad[k], &u, &e), FLOE_EINVAL);
        assert_true(u == 7);
        assert_non_null(strstr(e.msg, "is not a whole number"));
    }
    assert_int_equal(floe_str_parse_i64("-9223372036854775808", &i, &e), FLOE_OK);
    assert_true(i == INT64_MIN);
    assert_int_equal(floe_str_parse_i64("9223372036854775807", &i, &e), FLOE_OK);
    assert_true(i == INT64_MAX);
    assert_int_equal(floe_str_parse_i64("9223372036854775808", &i, &e), FLOE_EINVAL);
    assert_int_equal(floe_str_parse_i64("-9223372036854775809", &i, &e), FLOE_EINVAL);
    assert_int_equal(floe_str_parse_i64("-", &i, &e), FLOE_EINVAL);
    assert_int_equal(floe_str_parse_i64("--1", &i, &e), FLOE_EINVAL);
    assert_string_equal(e.msg,
                        "\"--1\" is not a whole number from -9223372036854775808 to 9223372036854775807");
}

static void bools(void **state)
{
    (void)state;
    struct floe_error e;
    bool b = false;
    assert_int_equal(floe_str_parse_bool("TRUE", &b, &e), FLOE_OK);
    assert_true(b);
    assert_int_equal(floe_str_parse_bool("off", &b, &e), FLOE_OK);
    assert_false(b);
    assert_int_equal(floe_str_parse_bool("1", &b, &e), FLOE_OK);
    assert_true(b);
    assert_int_equal(floe_str_parse_bool("maybe", &b, &e), FLOE_EINVAL);
    assert_true(b);
    assert_string_equal(e.msg, "\"maybe\" is not true or false");
    assert_int_equal(floe_str_parse_bool("", &b, &e), FLOE_EINVAL);
}

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        uint64_t v;
    } good[] = {
        {"0", 0},
        {"1048588", 1048588},
        {"512MiB", 512 << 20},
        {"8m", 8 << 20},
        {"8M", 8 << 20},
        {"64KiB", 64 << 10},
        {"1kB", 1000},
        {"10GB", 10000000000U},
        {"3b", 3},
        {"2TiB", UINT64_C(2) << 40},
        {"10GiB", UINT64_C(10) << 30},
        {"16777215t", UINT64_C(16777215) << 40},
    };
    struct floe_error e;
    uint64_t v = 0;
    for (size_t i = 0; i < FLOE_COUNTOF(good); i++) {
        assert_int_equal(floe_str_parse_size(good[i].s, &v, &e), FLOE_OK);
        assert_true(v == good[i].v);
    }
    static const char *const bad[] = {"", "MiB", "-1", "1 MiB", "1.5g", "12x", "8mm", "99999999999999999999"};
    v = 7;
    for (size_t i = 0; i < FLOE_COUNTOF(bad); i++) {
        assert_int_equal(floe_str_parse_size(bad[i], &v, &e), FLOE_EINVAL);
        assert_true(v == 7);
    }
    assert_int_equal(floe_str_parse_size("12x", &v, &e), FLOE_EINVAL);
    assert_string_equal(e.msg,
                        "\"12x\" is not a size: write digits and KiB, MiB, GiB or TiB, for example 512MiB");
    assert_int_equal(floe_str_parse_size("16777216t", &v, &e), FLOE_EINVAL);
    assert_string_equal(e.msg, "\"16777216t\" is too large");
}

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        uint64_t v;
    } good[] = {{"250", 250},     {"250ms", 250},  {"10s", 10000},   {"5m", 300000},
                {"5min", 300000}, {"2H", 7200000}, {"7d", 604800000}};
    struct floe_error e;
    uint64_t v = 0;
    for (size_t i = 0; i < FLOE_COUNTOF(good); i++) {
        assert_int_equal(floe_str_parse_duration_ms(good[i].s, &v, &e), FLOE_OK);
        assert_true(v == good[i].v);
    }
    assert_int_equal(floe_str_parse_duration_ms("10 s", &v, &e), FLOE_EINVAL);
    assert_string_equal(e.msg,
                        "\"10 s\" is not a duration: write digits and ms, s, m, h or d, for example 10s");
    assert_int_equal(floe_str_parse_duration_ms("99999999999999d", &v, &e), FLOE_EINVAL);
}

static void formats_parse_back(void **state)
{
    (void)state;
    char s[FLOE_STR_NUM];
    assert_string_equal(floe_str_size(s, 512 << 20), "512MiB");
    assert_string_equal(floe_str_size(s, 1048588), "1048588");
    assert_string_equal(floe_str_size(s, 0), "0");
    assert_string_equal(floe_str_duration_ms(s, 10000), "10s");
    assert_string_equal(floe_str_duration_ms(s, 250), "250ms");
    assert_string_equal(floe_str_duration_ms(s, 0), "0ms");
    struct floe_rng r;
    floe_rng_init(&r, 1);
    for (int i = 0; i < 2000; i++) {
        uint64_t v = floe_rng_u64(&r) >> floe_rng_below(&r, 64), back;
        if (i % 3 == 0)
            v = v << 22 & UINT64_MAX >> 1;
        assert_int_equal(floe_str_parse_size(floe_str_size(s, v), &back, NULL), FLOE_OK);
        assert_true(back == v);
        v = i % 2 != 0 ? v % 100000 * 60000 : v % 1000000;
        assert_int_equal(floe_str_parse_duration_ms(floe_str_duration_ms(s, v), &back, NULL), FLOE_OK);
        assert_true(back == v);
    }
}

static void addresses(void **state)
{
    (void)state;
    static const struct {
        const char *s, *host;
        uint16_t port;
        bool wildcard;
    } good[] = {
        {"localhost:9092", "localhost", 9092, false},
        {"0.0.0.0:1", "0.0.0.0", 1, true},
        {"[::1]:65535", "::1", 65535, false},
        {"[::]:9092", "::", 9092, true},
        {"[0:0::0]:9", "0:0::0", 9, true},
        {"my_host-1.example:80", "my_host-1.example", 80, false},
        {"[fe80::1%eth0]:9", "fe80::1%eth0", 9, false},
        {"00:5", "00", 5, false},
    };
    struct floe_error e;
    struct floe_str_addr a;
    char back[FLOE_STR_ADDR];
    for (size_t i = 0; i < FLOE_COUNTOF(good); i++) {
        assert_int_equal(floe_str_parse_addr(good[i].s, &a, &e), FLOE_OK);
        assert_string_equal(a.host, good[i].host);
        assert_int_equal(a.port, good[i].port);
        assert_int_equal(floe_str_addr_is_wildcard(&a), good[i].wildcard);
        assert_string_equal(floe_str_addr(back, a.host, a.port), good[i].s);
    }
    static const char *const bad[][2] = {
        {"", "\"\" has no port: write HOST:PORT, for example localhost:9092"},
        {"host", "\"host\" has no port: write HOST:PORT, for example localhost:9092"},
        {"host:", "\"host:\" has no port: write HOST:PORT, for example localhost:9092"},
        {"[::1]", "\"[::1]\" has no port: write HOST:PORT, for example [::1]:9092"},
        {":9092", "\":9092\" has no host: write HOST:PORT, for example 0.0.0.0:9092"},
        {"::1:9092", "\"::1:9092\": an IPv6 address stands in brackets, for example [::1]:9092"},
        {"[::1:9092", "\"[::1:9092\" has a [ without its ]"},
        {"[::1]9092", "\"[::1]9092\": \":PORT\" must follow the bracket"},
        {"[host]:9092", "\"[host]:9092\": what stands in brackets is not an IPv6 address"},
        {"[]:9092", "\"[]:9092\": what stands in brackets is not an IPv6 address"},
        {"host:0", "\"host:0\": the port is a number from 1 to 65535"},
        {"host:65536", "\"host:65536\": the port is a number from 1 to 65535"},
        {"host:9092x", "\"host:9092x\": the port is a number from 1 to 65535"},
        {"ho st:1", "\"ho st:1\": a host has letters, digits, dots and dashes only"},
    };
    for (size_t i = 0; i < FLOE_COUNTOF(bad); i++) {
        struct floe_str_addr untouched = {.host = "x", .port = 1};
        assert_int_equal(floe_str_parse_addr(bad[i][0], &untouched, &e), FLOE_EINVAL);
        assert_string_equal(e.msg, bad[i][1]);
        assert_string_equal(untouched.host, "x");
    }
    assert_int_equal(floe_str_parse_listen("127.0.0.1:0", &a, &e), FLOE_OK);
    assert_int_equal(a.port, 0);
    assert_int_equal(floe_str_parse_listen("127.0.0.1:70000", &a, &e), FLOE_EINVAL);
    assert_string_equal(e.msg, "\"127.0.0.1:70000\": the port is a number from 0 to 65535");
    char big[400];
    memset(big, 'a', sizeof big);
    (void)snprintf(big + 254, sizeof big - 254, ":1");
    assert_int_equal(floe_str_parse_addr(big, &a, &e), FLOE_EINVAL);
    assert_non_null(strstr(e.msg, "aaa...\": the host is longer than 253 bytes"));
    assert_int_equal(floe_str_parse_addr(big + 1, &a, &e), FLOE_OK);
}

static void nearest_names(void **state)
{
    (void)state;
    static const char *const names[] = {"listen", "linger-ms", "lease-ms", "num.partitions"};
    assert_string_equal(floe_str_nearest("lissen", names, 4), "listen");
    assert_string_equal(floe_str_nearest("linger", names, 4), "linger-ms");
    assert_string_equal(floe_str_nearest("num-partitions", names, 4), "num.partitions");
    assert_string_equal(floe_str_nearest("LEASE-MS", names, 4), "lease-ms");
    assert_null(floe_str_nearest("zzz", names, 4));
    assert_null(floe_str_nearest("", names, 4));
    assert_null(floe_str_nearest("listen", names, 0));
    char big[100];
    memset(big, 'l', sizeof big);
    big[99] = '\0';
    assert_null(floe_str_nearest(big, names, 4));
}

static void copies_are_bounded(void **state)
{
    (void)state;
    char b[4];
    assert_true(floe_str_copy(b, sizeof b, "abc"));
    assert_string_equal(b, "abc");
    assert_false(floe_str_copy(b, sizeof b, "abcd"));
    assert_string_equal(b, "abc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(bools),
        cmocka_unit_test(sizes),
        cmocka_unit_test(durations),
        cmocka_unit_test(formats_parse_back),
        cmocka_unit_test(addresses),
        cmocka_unit_test(nearest_names),
        cmocka_unit_test(copies_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
