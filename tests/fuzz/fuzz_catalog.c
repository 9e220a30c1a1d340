/* Records of topics and of producer ids come from a table that anybody may have written to. What is accepted
 * as a topic is within its bounds, and its encoding says the same. */
#include "catalog/catalog_int.h"

#include <floe/base/assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct floe_topic *t = NULL, *again = NULL;
    struct floe_error err = {0};
    FLOE_ASSERT(floe_producer_ids_decode((const char *)data, n) >= -1);
    if (floe_topic_decode(&t, "name", (const char *)data, n, &err) != FLOE_OK) {
        FLOE_ASSERT(!t && err.code == FLOE_ECORRUPT && err.msg[0] != '\0');
        return 0;
    }
    FLOE_ASSERT(t->partitions >= 1 && t->partitions <= FLOE_TOPIC_PARTITIONS_MAX && t->rev >= 1);
    char *text = floe_topic_encode(t);
    FLOE_ASSERT(text);
    FLOE_ASSERT(floe_topic_decode(&again, "name", text, strlen(text), &err) == FLOE_OK);
    FLOE_ASSERT(memcmp(&again->id, &t->id, sizeof t->id) == 0 && again->partitions == t->partitions &&
                again->state == t->state && again->rev == t->rev && again->config_count == t->config_count);
    free(text);
    floe_topic_free(again);
    floe_topic_free(t);
    return 0;
}
