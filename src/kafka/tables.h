/* The generated tables behind floe_kafka_api_find, floe_kafka_error_name and floe_kafka_config_find. Private
 * to src/kafka. */
#ifndef FLOE_KAFKA_TABLES_H
#define FLOE_KAFKA_TABLES_H

#include <floe/kafka/codec.h>
#include <floe/kafka/configs.h>

extern const struct floe_kafka_msg *const floe_kafka_messages[];
extern const uint32_t floe_kafka_message_count;
extern const struct floe_kafka_api floe_kafka_apis[]; /* ascending by key */
extern const uint32_t floe_kafka_api_count;

struct floe_kafka_error_row {
    int16_t code;
    bool retriable;
    const char *name, *message;
};
extern const struct floe_kafka_error_row floe_kafka_error_rows[]; /* ascending by code */
extern const uint32_t floe_kafka_error_count;

enum floe_config_check {
    FLOE_CHECK_ANY,
    FLOE_CHECK_RANGE, /* low..high, or one of words */
    FLOE_CHECK_WORDS, /* one of words; of a list each element */
    FLOE_CHECK_WORDS_ANY_CASE,
    FLOE_CHECK_NON_EMPTY,
    FLOE_CHECK_THROTTLED, /* "*" or partition:broker pairs */
};
struct floe_kafka_config_row {
    struct floe_kafka_config c;
    enum floe_config_check check;
    int64_t low, high;
    const char *const *words; /* ends in null */
};
extern const struct floe_kafka_config_row floe_kafka_config_rows[]; /* by kind (broker, topic), then name */
extern const uint32_t floe_kafka_config_count;

#endif
