/* Kafka's configurations: names, defaults, what a value may be. */
#include "kafka/tables.h"

#include <floe/base/assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct floe_kafka_config *find(enum floe_config_kind kind, const char *name)
{
    const struct floe_kafka_config *c = floe_kafka_config_find(kind, floe_slice_str(name));
    if (!c)
        fail_msg("no configuration %s", name);
    return c;
}

static void test_table(void **state)
{
    (void)state;
    static const uint32_t want[] = {
        [FLOE_CONFIG_BROKER] = 316, [FLOE_CONFIG_GROUP] = 10, [FLOE_CONFIG_TOPIC] = 33};
    struct floe_error err;
    for (int kind = FLOE_CONFIG_BROKER; kind <= FLOE_CONFIG_TOPIC; kind++) {
        uint32_t n = 0;
        for (const struct floe_kafka_config *c; (c = floe_kafka_config_at((enum floe_config_kind)kind, n));
             n++) {
            assert_ptr_equal(find(c->kind, c->name), c);
            /* Every default passes its own check, but for lists that must be set where they are used. */
            if (c->def && c->def[0] && floe_kafka_config_check(c, floe_slice_str(c->def), &err) != FLOE_OK)
                fail_msg("%s", err.msg);
        }
        assert_int_equal(n, want[kind]);
    }
    assert_null(floe_kafka_config_find(FLOE_CONFIG_TOPIC, floe_slice_str("retention")));
    assert_null(floe_kafka_config_find(FLOE_CONFIG_TOPIC, floe_slice_str("retention.msx")));
    assert_null(floe_kafka_config_find(FLOE_CONFIG_TOPIC, floe_slice_str("")));
    assert_null(floe_kafka_config_find(FLOE_CONFIG_TOPIC, floe_slice_str("broker.id")));
    assert_string_equal(find(FLOE_CONFIG_TOPIC, "max.message.bytes")->def, "1048588");
    assert_null(find(FLOE_CONFIG_BROKER, "broker.rack")->def);
    assert_string_equal(find(FLOE_CONFIG_BROKER, "process.roles")->def, "");
    assert_int_equal(floe_kafka_config_wire_type(find(FLOE_CONFIG_TOPIC, "cleanup.policy")->type), 7);
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value;
        bool ok;
    } row[] = {
        {"retention.ms", "-1", true},
        {"retention.ms", "-2", false},
        {"retention.ms", " 86400000 ", true},
        {"retention.ms", "1d", false},
        {"retention.ms", "", false},
        {"retention.ms", "9223372036854775807", true},
        {"retention.ms", "9223372036854775808", false},
        {"max.message.bytes", "0", true},
        {"max.message.bytes", "2147483648", false},
        {"max.message.bytes", "-1", false},
        {"min.cleanable.dirty.ratio", "0.25", true},
        {"min.cleanable.dirty.ratio", "1.5", false},
        {"min.cleanable.dirty.ratio", "-0.5", false},
        {"min.cleanable.dirty.ratio", "nan", false},
        {"min.cleanable.dirty.ratio", "0x1", false},
        {"compression.gzip.level", "-1", true},
        {"compression.gzip.level", "0", false},
        {"compression.gzip.level", "9", true},
        {"compression.gzip.level", "10", false},
        {"compression.type", "zstd", true},
        {"compression.type", "ZSTD", false},
        {"compression.type", "brotli", false},
        {"cleanup.policy", "compact,delete", true},
        {"cleanup.policy", "compact, delete", true},
        {"cleanup.policy", "compact,", false},
        {"cleanup.policy", "", true},
        {"cleanup.policy", "none", false},
        {"message.timestamp.type", "LogAppendTime", true},
        {"message.timestamp.type", "logappendtime", false},
        {"preallocate", "TRUE", true},
        {"preallocate", "yes", false},
        {"leader.replication.throttled.replicas", "", true},
        {"leader.replication.throttled.replicas", "*", true},
        {"leader.replication.throttled.replicas", "0:1,1:2", true},
        {"leader.replication.throttled.replicas", "0-1", false},
        {"segment.bytes", "1048575", false},
    };
    for (size_t i = 0; i < FLOE_COUNTOF(row); i++) {
        struct floe_error err = {FLOE_OK, ""};
        const struct floe_kafka_config *c = find(FLOE_CONFIG_TOPIC, row[i].name);
        enum floe_err rc = floe_kafka_config_check(c, floe_slice_str(row[i].value), &err);
        if ((rc == FLOE_OK) != row[i].ok ||
            (rc != FLOE_OK && (rc != FLOE_EINVAL || !strstr(err.msg, row[i].name))))
            fail_msg("%s = '%s': %s", row[i].name, row[i].value, err.msg);
    }
}

/* As Apache Kafka 4.1 shows what was set. */
static void test_shown(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *shown;
    } row[] = {
        {"retention.ms", " +5 ", "5"},
        {"retention.ms", "-1", "-1"},
        {"preallocate", "TRUE", "true"},
        {"min.cleanable.dirty.ratio", ".5", "0.5"},
        {"min.cleanable.dirty.ratio", "5e-1", "0.5"},
        {"min.cleanable.dirty.ratio", "1", "1.0"},
        {"min.cleanable.dirty.ratio", "0", "0.0"},
        {"min.cleanable.dirty.ratio", "0.1", "0.1"},
        {"cleanup.policy", " compact , delete ", "compact,delete"},
        {"cleanup.policy", "", ""},
        {"compression.type", " gzip ", "gzip"},
        {"retention.ms", "what an older version took", "what an older version took"},
    };
    for (size_t i = 0; i < FLOE_COUNTOF(row); i++) {
        char out[64];
        size_t n =
            floe_kafka_config_shown(find(FLOE_CONFIG_TOPIC, row[i].name), floe_slice_str(row[i].value), out);
        assert_int_equal(n, strlen(row[i].shown));
        assert_memory_equal(out, row[i].shown, n);
    }
}

static void test_sentences(void **state)
{
    (void)state;
    struct floe_error err;
    const struct floe_kafka_config *c = find(FLOE_CONFIG_TOPIC, "compression.type");
    assert_int_equal(floe_kafka_config_check(c, floe_slice_str("brotli"), &err), FLOE_EINVAL);
    assert_string_equal(err.msg,
                        "Invalid value brotli for configuration compression.type: Value must be one of: "
                        "[uncompressed, zstd, lz4, snappy, gzip, producer]");
    c = find(FLOE_CONFIG_TOPIC, "retention.ms");
    assert_int_equal(floe_kafka_config_check(c, floe_slice_str("-2"), &err), FLOE_EINVAL);
    assert_string_equal(err.msg,
                        "Invalid value -2 for configuration retention.ms: Value must be at least -1");
    assert_int_equal(floe_kafka_config_check(c, floe_slice("1\0002", 3), &err), FLOE_EINVAL);
    static const char longest[20000] = {'1'};
    assert_int_equal(floe_kafka_config_check(c, floe_slice(longest, sizeof longest), &err), FLOE_EINVAL);
    assert_int_equal(floe_kafka_config_int(c, floe_slice_str(" 12 ")), 12);
    assert_int_equal(floe_kafka_config_int(find(FLOE_CONFIG_TOPIC, "preallocate"), floe_slice_str("True")),
                     1);
    c = find(FLOE_CONFIG_GROUP, "share.auto.offset.reset");
    assert_int_equal(floe_kafka_config_check(c, floe_slice_str("by_duration:PT1H"), &err), FLOE_OK);
    assert_int_equal(floe_kafka_config_check(c, floe_slice_str("by_duration:1H"), &err), FLOE_EINVAL);
    c = find(FLOE_CONFIG_BROKER, "group.consumer.migration.policy");
    assert_int_equal(floe_kafka_config_check(c, floe_slice_str("Upgrade"), &err), FLOE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
