/* Kafka's topic, group and broker configurations (src/kafka/configs.txt): names, types, defaults, and what a
 * value may be.
 *
 * What it is not: which of them Floe obeys (catalog and api_kafka), or Floe's own settings (broker/config.h).
 * Pure; any thread.
 */
#ifndef FLOE_KAFKA_CONFIGS_H
#define FLOE_KAFKA_CONFIGS_H

#include <floe/base/bytes.h>
#include <floe/base/err.h>

enum floe_config_kind { FLOE_CONFIG_BROKER, FLOE_CONFIG_GROUP, FLOE_CONFIG_TOPIC };
enum floe_config_type {
    FLOE_CONFIG_BOOLEAN,
    FLOE_CONFIG_STRING,
    FLOE_CONFIG_INT,
    FLOE_CONFIG_SHORT,
    FLOE_CONFIG_LONG,
    FLOE_CONFIG_DOUBLE,
    FLOE_CONFIG_LIST,
    FLOE_CONFIG_CLASS,
    FLOE_CONFIG_PASSWORD,
};
struct floe_kafka_config {
    enum floe_config_kind kind;
    const char *name;
    enum floe_config_type type;
    const char *def;     /* null: none */
    const char *allowed; /* for people: "[0,...]"; "" where anything goes */
    bool dynamic;        /* a broker's that Kafka takes while the broker runs */
};

/* Null for an unknown name. */
const struct floe_kafka_config *floe_kafka_config_find(enum floe_config_kind kind, struct floe_slice name);
/* All of a kind, in order of name: floe_kafka_config_at(kind, 0), 1, ... until null. */
const struct floe_kafka_config *floe_kafka_config_at(enum floe_config_kind kind, uint32_t i);
uint32_t floe_kafka_config_index(const struct floe_kafka_config *c); /* where it is in that order */
/* FLOE_OK, or FLOE_EINVAL with the sentence of Kafka's INVALID_CONFIG ("Invalid value x for configuration y:
 * ..."). */
enum floe_err floe_kafka_config_check(const struct floe_kafka_config *c, struct floe_slice value,
                                      struct floe_error *err) FLOE_MUST_USE;
/* A value as Kafka shows it: without blanks around it (in lists around the elements), numbers and booleans in
 * one spelling. `out` has room for value.n + 32 bytes; the length. */
size_t floe_kafka_config_shown(const struct floe_kafka_config *c, struct floe_slice value, char *out);
/* A number or boolean (0, 1) that floe_kafka_config_check has passed. */
int64_t floe_kafka_config_int(const struct floe_kafka_config *c, struct floe_slice value);
/* The number that `value` is to the configuration of that name; `def` where it is null, or none. */
int64_t floe_kafka_config_int_or(enum floe_config_kind kind, const char *name, const char *value,
                                 int64_t def);
/* The number that DescribeConfigs gives for a type (boolean 1, string 2, int 3, ...). */
int8_t floe_kafka_config_wire_type(enum floe_config_type type);

#endif
