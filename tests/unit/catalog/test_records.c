/* The catalog's records: round trips, and bytes that are no record. */
#include <floe_cmocka.h>

#include "catalog/catalog_int.h"
#include <stdlib.h>
#include <string.h>

static void test_round_trip(void **state)
{
    static struct floe_topic_config configs[] = {
        {(char *)(uintptr_t) "cleanup.policy", (char *)(uintptr_t) "compact"},
        {(char *)(uintptr_t) "x", (char *)(uintptr_t) "\"\\\n\xc3\xa4"}};
    (void)state;
    for (int s = FLOE_TOPIC_CREATING; s <= FLOE_TOPIC_DELETED; s++) {
        for (uint32_t n = 0; n <= 2; n++) {
            struct floe_topic t = {.name = (char *)(uintptr_t) "a.b",
                                   .partitions = FLOE_TOPIC_PARTITIONS_MAX,
                                   .state = (enum floe_topic_state)s,
                                   .rev = 1u << 31,
                                   .configs = configs,
                                   .config_count = n};
            struct floe_topic *back;
            struct floe_error err;
            memset(t.id.b, 0xa5, sizeof t.id.b);
            char *text = floe_topic_encode(&t);
            assert_non_null(text);
            assert_int_equal(floe_topic_decode(&back, "a.b", text, strlen(text), &err), FLOE_OK);
            assert_string_equal(back->name, "a.b");
            assert_true(floe_uuid_eq(&back->id, &t.id));
            assert_int_equal(back->partitions, t.partitions);
            assert_int_equal(back->state, s);
            assert_int_equal(back->rev, t.rev);
            assert_int_equal(back->config_count, n);
            for (uint32_t i = 0; i < n; i++)
                assert_string_equal(back->configs[i].value, configs[i].value);
            struct floe_topic *copy = floe_topic_copy(back);
            char *again = floe_topic_encode(copy);
            assert_string_equal(again, text);
            /* Cut off anywhere it is none. */
            for (size_t cut = 0; cut < strlen(text); cut++) {
                struct floe_topic *none = NULL;
                assert_int_equal(floe_topic_decode(&none, "a.b", text, cut, &err), FLOE_ECORRUPT);
                assert_null(none);
            }
            free(again);
            free(text);
            floe_topic_free(copy);
            floe_topic_free(back);
        }
    }
}

static void test_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"id\":\"00\",\"partitions\":1,\"rev\":1,\"state\":\"live\",\"config\":{}}",
        "{\"id\":\"0123456789abcdef0123456789abcdeg\",\"partitions\":1,\"rev\":1,\"state\":\"live\","
        "\"config\":{}}",
        "{\"id\":\"0123456789abcdef0123456789abcdef\",\"partitions\":0,\"rev\":1,\"state\":\"live\","
        "\"config\":{}}",
        "{\"id\":\"0123456789abcdef0123456789abcdef\",\"partitions\":100001,\"rev\":1,\"state\":\"live\","
        "\"config\":{}}",
        "{\"id\":\"0123456789abcdef0123456789abcdef\",\"partitions\":1,\"rev\":0,\"state\":\"live\","
        "\"config\":{}}",
        "{\"id\":\"0123456789abcdef0123456789abcdef\",\"partitions\":1,\"rev\":1,\"state\":\"dead\","
        "\"config\":{}}",
        "{\"id\":\"0123456789abcdef0123456789abcdef\",\"partitions\":1,\"rev\":1,\"state\":\"live\","
        "\"config\":[]}",
        "{\"id\":\"0123456789abcdef0123456789abcdef\",\"partitions\":1,\"rev\":1,\"state\":\"live\","
        "\"config\":{\"a\":1}}",
        "{\"id\":\"0123456789abcdef0123456789abcdef\",\"partitions\":1,\"partitions\":1,\"rev\":1,\"state\":"
        "\"live\","
        "\"config\":{}}",
    };
    (void)state;
    for (size_t i = 0; i < FLOE_COUNTOF(bad); i++) {
        struct floe_topic *t = NULL;
        struct floe_error err = {0};
        assert_int_equal(floe_topic_decode(&t, "name", bad[i], strlen(bad[i]), &err), FLOE_ECORRUPT);
        assert_null(t);
        assert_non_null(strstr(err.msg, "topic/name"));
    }
    assert_int_equal(floe_producer_ids_decode("{\"next\":7}", 10), 7);
    assert_int_equal(floe_producer_ids_decode("{\"next\":-7}", 11), -1);
    assert_int_equal(floe_producer_ids_decode("{\"next\":\"7\"}", 12), -1);
    assert_int_equal(floe_producer_ids_decode("{}", 2), -1);
    assert_int_equal(floe_producer_ids_decode("{\"next\":7", 9), -1);
}

static void test_names(void **state)
{
    static const char *const good[] = {"a", "A-b_c.9", "...", "__consumer_offsets"};
    static const char *const bad[] = {"", ".", "..", "a b", "a/b", "\xc3\xa4", "a\n"};
    char longest[FLOE_TOPIC_NAME_MAX + 1];
    struct floe_error err;
    (void)state;
    memset(longest, 'x', sizeof longest);
    for (size_t i = 0; i < FLOE_COUNTOF(good); i++)
        assert_int_equal(floe_topic_name_check(good[i], strlen(good[i]), &err), FLOE_OK);
    for (size_t i = 0; i < FLOE_COUNTOF(bad); i++)
        assert_int_equal(floe_topic_name_check(bad[i], strlen(bad[i]), &err), FLOE_EINVAL);
    assert_int_equal(floe_topic_name_check(longest, FLOE_TOPIC_NAME_MAX, &err), FLOE_OK);
    assert_int_equal(floe_topic_name_check(longest, FLOE_TOPIC_NAME_MAX + 1, &err), FLOE_EINVAL);
    assert_int_equal(floe_topic_name_check("a\0b", 3, &err), FLOE_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
