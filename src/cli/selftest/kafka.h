/* A cluster through the Kafka protocol, for one topic: who leads, produce, fetch. Blocking, for children. */
#ifndef FLOE_SRC_CLI_SELFTEST_KAFKA_H
#define FLOE_SRC_CLI_SELFTEST_KAFKA_H

#include "cli/client.h"
#include <floe/base/str.h>

#define ST_PARTITIONS 6
#define ST_NODES_MAX 16

struct st_kafka {
    const char *bootstrap, *topic;
    struct {
        int32_t id;
        char addr[FLOE_STR_ADDR];
        struct floe_client *c; /* null: not connected */
    } node[ST_NODES_MAX];
    uint32_t node_n;
    int leader[ST_PARTITIONS]; /* index into node; -1: unknown */
};
/* Asks any broker for the leaders; connections to addresses that are gone are closed. */
enum floe_err st_kafka_refresh(struct st_kafka *k, struct floe_error *err) FLOE_MUST_USE;
void st_kafka_close(struct st_kafka *k);
/* A call to a node, connected where it is not yet; the connection is dropped when it fails. */
enum floe_err st_kafka_call(struct st_kafka *k, uint32_t node, int16_t api, int16_t max_version,
                            const void *request, void **response, struct floe_error *err) FLOE_MUST_USE;
enum floe_err st_kafka_producer_id(struct st_kafka *k, int64_t *id, int16_t *epoch,
                                   struct floe_error *err) FLOE_MUST_USE;
enum floe_err st_kafka_create_topic(const char *bootstrap, const char *topic,
                                    struct floe_error *err) FLOE_MUST_USE;

#endif
