/* Session names and chain keys: round trips, and every spelling but the canonical one refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <floe/base/assert.h>
#include <floe/segment.h>

static void session_round_trip(void **state)
{
    (void)state;
    const struct floe_session_name names[] = {
        {1, 1, 1}, {0, 0, 0}, {INT32_MAX, INT32_MAX, UINT64_MAX}, {12, 345, 0x0123456789abcdefu}};
    for (size_t i = 0; i < FLOE_COUNTOF(names); i++) {
        char text[FLOE_SESSION_NAME_MAX];
        struct floe_session_name back;
        floe_session_format(text, &names[i]);
        assert_true(floe_session_parse(&back, text));
        assert_true(floe_session_name_eq(&back, &names[i]));
    }
    char text[FLOE_SESSION_NAME_MAX];
    floe_session_format(text, &names[3]);
    assert_string_equal(text, "12-345-0123456789abcdef");
}

static void session_refuses_other_spellings(void **state)
{
    (void)state;
    const char *bad[] = {"",
                         "1",
                         "1-1",
                         "1-1-",
                         "1-1-123",
                         "01-1-0123456789abcdef",
                         "1-01-0123456789abcdef",
                         "1-1-0123456789ABCDEF",
                         "1-1-0123456789abcdef0",
                         "1-1-0123456789abcde",
                         "-1-1-0123456789abcdef",
                         "+1-1-0123456789abcdef",
                         "1--1-0123456789abcdef",
                         "2147483648-1-0123456789abcdef",
                         "1-99999999999999999999-0123456789abcdef",
                         " 1-1-0123456789abcdef",
                         "1-1-0123456789abcdef ",
                         "1-1-0123456789abcdeg"};
    for (size_t i = 0; i < FLOE_COUNTOF(bad); i++) {
        struct floe_session_name out = {7, 7, 7};
        assert_false(floe_session_parse(&out, bad[i]));
        assert_int_equal(out.node, 7);
    }
}

static void chain_keys(void **state)
{
    (void)state;
    const struct floe_session_name s = {1, 7, 0xabcu};
    char key[FLOE_CHAIN_KEY_MAX], prefix[FLOE_CHAIN_KEY_MAX];
    floe_chain_key(key, &s, 42);
    assert_string_equal(key, "chain/1-7-0000000000000abc/00000000000000000042");
    floe_chain_prefix(prefix, &s);
    assert_string_equal(prefix, "chain/1-7-0000000000000abc/");
    struct floe_session_name back;
    uint64_t seq;
    assert_true(floe_chain_key_parse(key, &back, &seq));
    assert_true(floe_session_name_eq(&back, &s));
    assert_int_equal(seq, 42);
    const struct floe_session_name max = {INT32_MAX, INT32_MAX, UINT64_MAX};
    floe_chain_key(key, &max, UINT64_MAX);
    assert_true(floe_chain_key_parse(key, &back, &seq));
    assert_true(seq == UINT64_MAX);
    assert_int_equal(strlen(key) < FLOE_CHAIN_KEY_MAX, 1);
    const char *bad[] = {"chain/1-7-0000000000000abc/0000000000000000042",
                         "chain/1-7-0000000000000abc/000000000000000000042",
                         "chain/1-7-0000000000000abc/0000000000000000004x",
                         "chain/1-7-0000000000000abc/",
                         "chain/1-7-0000000000000abc",
                         "chain/1-7-0000000000000abc/18446744073709551616",
                         "Chain/1-7-0000000000000abc/00000000000000000042",
                         "table/1-7-0000000000000abc/00000000000000000042"};
    for (size_t i = 0; i < FLOE_COUNTOF(bad); i++)
        assert_false(floe_chain_key_parse(bad[i], &back, &seq));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(session_round_trip),
        cmocka_unit_test(session_refuses_other_spellings),
        cmocka_unit_test(chain_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
