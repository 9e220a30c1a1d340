/* Client quotas: what Kafka answers, on every broker, with writers in each other's way. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct floe_kafka_AlterClientQuotasRequest alter_request;
typedef struct floe_kafka_DescribeClientQuotasResponse described;

struct one { /* an alteration of one entity by one op */
    struct floe_kafka_AlterClientQuotasRequest_EntityData entity[2];
    struct floe_kafka_AlterClientQuotasRequest_OpData op;
    struct floe_kafka_AlterClientQuotasRequest_EntryData entry;
    alter_request rq;
};

static void prepare(struct one *o, const char *type, const char *name, const char *key, double value)
{
    floe_kafka_defaults(&floe_kafka_AlterClientQuotasRequest_desc, &o->rq);
    floe_kafka_struct_defaults(&floe_kafka_AlterClientQuotasRequest_EntryData_desc, &o->entry);
    for (int i = 0; i < 2; i++)
        floe_kafka_struct_defaults(&floe_kafka_AlterClientQuotasRequest_EntityData_desc, &o->entity[i]);
    floe_kafka_struct_defaults(&floe_kafka_AlterClientQuotasRequest_OpData_desc, &o->op);
    o->entity[0].EntityType = floe_kstr(type);
    o->entity[0].EntityName = name ? floe_kstr(name) : (struct floe_kstr){NULL, -1};
    o->op.Key = floe_kstr(key);
    o->op.Value = value;
    o->op.Remove = value == 0;
    o->entry.Entity = o->entity;
    o->entry.Entity_n = 1;
    o->entry.Ops = &o->op;
    o->entry.Ops_n = 1;
    o->rq.Entries = &o->entry;
    o->rq.Entries_n = 1;
}

static int16_t send(struct api_node *n, struct one *o)
{
    struct floe_kafka_AlterClientQuotasResponse *rs = api_do(n, 49, 1, &o->rq);
    assert_non_null(rs);
    assert_int_equal(rs->Entries_n, 1);
    assert_int_equal(rs->Entries[0].Entity_n, o->entry.Entity_n);
    return rs->Entries[0].ErrorCode;
}

static int16_t alter(struct api_node *n, const char *type, const char *name, const char *key, double value)
{
    struct one o;
    prepare(&o, type, name, key, value);
    return send(n, &o);
}

static described *describe(struct api_node *n, const char *type, int8_t match, const char *name, bool strict)
{
    struct floe_kafka_DescribeClientQuotasRequest rq;
    struct floe_kafka_DescribeClientQuotasRequest_ComponentData c;
    floe_kafka_defaults(&floe_kafka_DescribeClientQuotasRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_DescribeClientQuotasRequest_ComponentData_desc, &c);
    c.EntityType = floe_kstr(type ? type : "");
    c.MatchType = match;
    c.Match = name ? floe_kstr(name) : (struct floe_kstr){NULL, -1};
    rq.Components = &c;
    rq.Components_n = type ? 1 : 0;
    rq.Strict = strict;
    described *rs = api_do(n, 48, 1, &rq);
    assert_non_null(rs);
    return rs;
}

static void test_stored(void **state)
{
    struct api_rig r;
    struct one o;
    (void)state;
    api_rig_start(&r, 31, 2);
    struct api_node *a = &r.nodes[0], *b = &r.nodes[1];
    assert_int_equal(describe(a, NULL, 0, NULL, false)->Entries_n, 0);
    assert_int_equal(alter(a, "user", "alice", "producer_byte_rate", 1024), 0);
    assert_int_equal(alter(b, "user", "alice", "request_percentage", 12.5), 0);
    assert_int_equal(alter(b, "user", NULL, "producer_byte_rate", 7), 0);
    assert_int_equal(alter(a, "ip", "10.0.0.1", "connection_creation_rate", 3), 0);
    prepare(&o, "user", "alice", "consumer_byte_rate", 9);
    o.entity[1].EntityType = floe_kstr("client-id");
    o.entity[1].EntityName = floe_kstr("c");
    o.entry.Entity_n = 2;
    assert_int_equal(send(a, &o), 0);
    assert_int_equal(describe(b, NULL, 0, NULL, false)->Entries_n, 4);
    described *d = describe(b, "user", 0, "alice", true);
    assert_int_equal(d->Entries_n, 1);
    assert_int_equal(d->Entries[0].Values_n, 2);
    assert_true(d->Entries[0].Values[0].Value == 1024 && d->Entries[0].Values[1].Value == 12.5);
    assert_int_equal(describe(b, "user", 0, "alice", false)->Entries_n, 2);
    d = describe(b, "user", 1, NULL, true);
    assert_int_equal(d->Entries_n, 1);
    assert_true(d->Entries[0].Entity[0].EntityName.n < 0);
    assert_int_equal(describe(b, "user", 2, NULL, false)->Entries_n, 3);
    /* Without values there is no entity. */
    assert_int_equal(alter(b, "user", NULL, "producer_byte_rate", 0), 0);
    assert_int_equal(describe(a, "user", 1, NULL, true)->Entries_n, 0);
    prepare(&o, "user", "bob", "producer_byte_rate", 5);
    o.rq.ValidateOnly = true;
    assert_int_equal(send(a, &o), 0);
    assert_int_equal(describe(a, "user", 0, "bob", false)->Entries_n, 0);
    api_rig_stop(&r);
}

static void test_refused(void **state)
{
    struct api_rig r;
    struct one o;
    (void)state;
    api_rig_start(&r, 32, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(alter(n, "group", "g", "producer_byte_rate", 1), FLOE_KERR_INVALID_REQUEST);
    assert_int_equal(alter(n, "user", "", "producer_byte_rate", 1), FLOE_KERR_INVALID_REQUEST);
    assert_int_equal(alter(n, "user", "u", "no_such_rate", 1), FLOE_KERR_INVALID_REQUEST);
    assert_int_equal(alter(n, "user", "u", "connection_creation_rate", 1), FLOE_KERR_INVALID_REQUEST);
    assert_int_equal(alter(n, "user", "u", "producer_byte_rate", 1.5), FLOE_KERR_INVALID_REQUEST);
    assert_int_equal(alter(n, "user", "u", "request_percentage", -1), FLOE_KERR_INVALID_REQUEST);
    prepare(&o, "user", "u", "producer_byte_rate", 1);
    o.entity[1].EntityType = floe_kstr("ip");
    o.entity[1].EntityName = floe_kstr("10.0.0.1");
    o.entry.Entity_n = 2;
    assert_int_equal(send(n, &o), FLOE_KERR_INVALID_REQUEST);
    o.entry.Entity_n = 0;
    assert_int_equal(send(n, &o), FLOE_KERR_INVALID_REQUEST);
    assert_int_equal(describe(n, "", 0, "x", false)->ErrorCode, FLOE_KERR_INVALID_REQUEST);
    assert_int_equal(describe(n, "group", 0, "x", false)->ErrorCode, FLOE_KERR_UNSUPPORTED_VERSION);
    assert_int_equal(describe(n, "user", 0, NULL, false)->ErrorCode, FLOE_KERR_INVALID_REQUEST);
    assert_int_equal(describe(n, "user", 1, "x", false)->ErrorCode, FLOE_KERR_INVALID_REQUEST);
    assert_int_equal(describe(n, "user", 3, NULL, false)->ErrorCode, FLOE_KERR_INVALID_REQUEST);
    described *d = describe(n, "user", 3, NULL, false);
    assert_true(d->Entries_n < 0);
    api_rig_stop(&r);
}

/* Two brokers at once, with lost answers: both edits are there. */
static void test_writers_at_once(void **state)
{
    const struct floe_sim_rule lost = {.fault = FLOE_SIM_BROKEN,
                                       .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                       .prefix = "table/quotas",
                                       .times = 2};
    struct api_rig r;
    struct one o[8];
    struct api_call *calls[8];
    (void)state;
    api_rig_start(&r, 33, 2);
    floe_sim_bucket_rule(r.bucket, &lost);
    for (int i = 0; i < 8; i++) {
        static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
        prepare(&o[i], "client-id", names[i], "consumer_byte_rate", 100 + i);
        calls[i] = api_send(&r.nodes[i % 2], NULL, 49, 0, &o[i].rq);
    }
    for (int i = 0; i < 8; i++) {
        struct floe_kafka_AlterClientQuotasResponse *rs = api_wait(&r.nodes[i % 2], calls[i], 30000);
        assert_non_null(rs);
        assert_int_equal(rs->Entries[0].ErrorCode, 0);
        api_call_free(calls[i]);
    }
    assert_int_equal(describe(&r.nodes[0], "client-id", 2, NULL, true)->Entries_n, 8);
    api_rig_stop(&r);
}

/* Names with quotes and bytes that are no UTF-8; a record that is none. */
static void test_bad_record(void **state)
{
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 34, 1);
    assert_int_equal(alter(&r.nodes[0], "user", "a\"b\\", "producer_byte_rate", 1), 0);
    assert_int_equal(describe(&r.nodes[0], "user", 0, "a\"b\\", true)->Entries_n, 1);
    const char bad[] = "{\"nonce\":\"00000000000000000000000000000001\",\"value\":{\"quotas\":[7]}}";
    floe_sim_bucket_put(r.bucket, "table/quotas", bad, sizeof bad - 1, "00000000000000000000000000000001");
    assert_int_not_equal(describe(&r.nodes[0], NULL, 0, NULL, false)->ErrorCode, 0);
    assert_int_not_equal(alter(&r.nodes[0], "user", "x", "producer_byte_rate", 1), 0);
    api_rig_stop(&r);
}

#define MANY 100000
#define SOON_S                                                                                               \
    10 /* of the processor; ten seconds are a lease time, and one in a hundred of these is needed */

/* A request is one turn of the loop: what it names is looked through once, not each against each. */
static void test_many(void **state)
{
    struct floe_kafka_AlterClientQuotasRequest_EntityData *entity = calloc(MANY, sizeof *entity);
    struct floe_kafka_AlterClientQuotasRequest_EntryData *entry = calloc(MANY, sizeof *entry);
    char(*text)[8] = calloc(MANY, sizeof *text);
    struct api_rig r;
    struct one o;
    (void)state;
    assert_true(entity && entry && text);
    api_rig_start(&r, 35, 1);
    struct api_node *n = &r.nodes[0];
    for (int i = 0; i < MANY; i++)
        snprintf(text[i], sizeof text[i], "%d", i);
    clock_t from = clock();
    /* Types of one entity. */
    prepare(&o, "user", "u", "producer_byte_rate", 1);
    for (int i = 0; i < MANY; i++) {
        entity[i] = o.entity[0];
        entity[i].EntityType = floe_kstr(text[i]);
    }
    o.entry.Entity = entity;
    o.entry.Entity_n = MANY;
    struct floe_kafka_AlterClientQuotasResponse *rs = api_do(n, 49, 1, &o.rq);
    assert_non_null(rs);
    assert_int_equal(rs->Entries_n, 1);
    assert_int_equal(rs->Entries[0].ErrorCode, FLOE_KERR_INVALID_REQUEST);
    /* Entities of one request: more than the record takes. */
    prepare(&o, "user", "u", "producer_byte_rate", 1);
    for (int i = 0; i < MANY; i++) {
        entity[i] = o.entity[0];
        entity[i].EntityName = floe_kstr(text[i]);
        entry[i] = o.entry;
        entry[i].Entity = &entity[i];
    }
    o.rq.Entries = entry;
    o.rq.Entries_n = MANY;
    rs = api_do(n, 49, 1, &o.rq);
    assert_non_null(rs);
    assert_int_equal(rs->Entries_n, MANY);
    assert_int_equal(rs->Entries[0].ErrorCode, FLOE_KERR_POLICY_VIOLATION);
    assert_int_equal(rs->Entries[MANY - 1].ErrorCode, FLOE_KERR_POLICY_VIOLATION);
    assert_in_range((clock() - from) / CLOCKS_PER_SEC, 0, SOON_S);
    assert_int_equal(describe(n, NULL, 0, NULL, false)->Entries_n, 0);
    api_rig_stop(&r);
    free(entity);
    free(entry);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many),       cmocka_unit_test(test_stored),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_writers_at_once),
        cmocka_unit_test(test_bad_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
