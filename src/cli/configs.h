/* Configurations of a topic, broker or group over the wire, for the commands that change them. */
#ifndef FLOE_SRC_CLI_CONFIGS_H
#define FLOE_SRC_CLI_CONFIGS_H

#include "cli/client.h"

enum { FLOE_CLI_RESOURCE_TOPIC = 2, FLOE_CLI_RESOURCE_BROKER = 4, FLOE_CLI_RESOURCE_GROUP = 32 };
enum { FLOE_CLI_CONFIG_SET = 0, FLOE_CLI_CONFIG_DELETE = 1 };

typedef struct floe_kafka_IncrementalAlterConfigsRequest_AlterableConfig floe_cli_config;

struct floe_cli_resource {
    int8_t type;
    const char *name;
    struct floe_client *client; /* who is asked about it */
};
/* KEY is set to the value, or (null) put back to its default. The key is borrowed. */
void floe_cli_config_fill(floe_cli_config *out, const char *key, size_t key_n, const char *value);
/* All or none. What is to be put back must be set (else FLOE_ENOTFOUND): nothing would change. */
enum floe_err floe_cli_alter_configs(const struct floe_cli_resource *r, floe_cli_config *configs, int32_t n,
                                     struct floe_error *err) FLOE_MUST_USE;
/* Says on stderr which of those that were set a broker keeps, but does not act on. */
enum floe_err floe_cli_note_unobeyed(const struct floe_cli_resource *r, const floe_cli_config *configs,
                                     int32_t n, struct floe_error *err) FLOE_MUST_USE;

#endif
