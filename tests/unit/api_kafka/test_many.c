/* Requests that name as much as a request may: each is a turn of the core loop, which the lease waits for. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include "broker/core_int.h"
#include "catalog/catalog_int.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Topics that the broker knows, without what else belongs to one. */
static void know_topics(struct api_node *n, const char *format, int count)
{
    for (int i = 0; i < count; i++) {
        char name[32];
        struct floe_topic t = {.name = name, .partitions = 1, .state = FLOE_TOPIC_LIVE, .rev = 1};
        snprintf(name, sizeof name, format, i);
        memcpy(t.id.b, &i, sizeof i);
        t.id.b[15] = 1;
        struct floe_topic *copy = floe_topic_copy(&t);
        assert_non_null(copy);
        (void)floe_catalog_apply(n->core->catalog, copy);
    }
}

/* Each name is compared with all that there are as Kafka's metrics would write them. The answer's memory must
 * not be spent on that. */
static void test_create_with_dots(void **state)
{
    enum { THERE = 2000, MORE = 10000 };
    struct floe_kafka_CreateTopicsRequest_CreatableTopic *t = calloc(MORE, sizeof *t);
    char(*name)[16] = calloc(MORE, sizeof *name);
    struct floe_kafka_CreateTopicsRequest rq;
    struct api_rig r;
    (void)state;
    assert_true(t && name);
    api_rig_start(&r, 71, 1);
    struct api_node *n = &r.nodes[0];
    know_topics(n, "there.%d", THERE);
    floe_kafka_defaults(&floe_kafka_CreateTopicsRequest_desc, &rq);
    rq.timeoutMs = 30000;
    rq.validateOnly = true;
    rq.Topics = t;
    rq.Topics_n = MORE;
    for (int i = 0; i < MORE; i++) {
        floe_kafka_struct_defaults(&floe_kafka_CreateTopicsRequest_CreatableTopic_desc, &t[i]);
        snprintf(name[i], sizeof name[i], i < MORE - 2 ? "more.%d" : i < MORE - 1 ? "there.0" : "there_1", i);
        t[i].Name = floe_kstr(name[i]);
        t[i].NumPartitions = 1;
        t[i].ReplicationFactor = 1;
    }
    struct floe_kafka_CreateTopicsResponse *rs = api_do(n, 19, 7, &rq);
    assert_non_null(rs);
    assert_int_equal(rs->Topics_n, MORE);
    for (int i = 0; i < MORE - 2; i++)
        assert_int_equal(rs->Topics[i].ErrorCode, 0);
    assert_int_equal(rs->Topics[MORE - 2].ErrorCode, FLOE_KERR_TOPIC_ALREADY_EXISTS);
    assert_int_equal(rs->Topics[MORE - 1].ErrorCode, FLOE_KERR_INVALID_TOPIC_EXCEPTION);
    assert_true(floe_kstr_is(rs->Topics[MORE - 1].ErrorMessage,
                             "Topic 'there_1' collides with existing topic: there.1"));
    api_rig_stop(&r);
    free(t);
    free(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_with_dots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
