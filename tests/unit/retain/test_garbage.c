/* What nobody needs goes, and only that: whole brokers over the simulated store, whose every removal is
 * watched. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include "broker/core_int.h"
#include "garbage_watch.h"
#include "retain/retain_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGE_MS (API_GARBAGE_AGE_US / 1000)

static struct garbage_watch watch;

static void on_event(void *user, const struct floe_sim_store_event *e)
{
    char why[200];
    (void)user;
    if (garbage_watch(&watch, e, why) != NULL)
        fail_msg("%s", why);
}

static void start(struct api_rig *r, uint64_t seed, uint32_t nodes)
{
    api_rig_start(r, seed, nodes);
    watch = (struct garbage_watch){.bucket = r->bucket, .age_us = API_GARBAGE_AGE_US};
    floe_sim_bucket_watch(r->bucket, on_event, NULL);
}

static void stop(struct api_rig *r)
{
    api_rig_stop(r);
    garbage_watch_fini(&watch);
}

static void produce(struct api_rig *r, const char *topic, int32_t from, int32_t n)
{
    struct floe_arena a;
    floe_arena_init(&a, 1 << 20);
    for (int tries = 0; n > 0; tries++) {
        struct api_node *leader = api_leader_of(r, topic, 0);
        assert_true(tries < 400);
        if (leader != NULL &&
            api_produce_one(leader, topic, 0, -1, api_batch(&a, from, 1, true, 0), NULL) == 0) {
            from++;
            n--;
        } else {
            api_rig_run(r, 100);
        }
    }
    floe_arena_fini(&a);
}

static void delete_topic(struct api_node *n, const char *name)
{
    struct floe_kafka_DeleteTopicsRequest rq;
    struct floe_kafka_DeleteTopicsRequest_DeleteTopicState t;
    floe_kafka_defaults(&floe_kafka_DeleteTopicsRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_DeleteTopicsRequest_DeleteTopicState_desc, &t);
    rq.TimeoutMs = 30000;
    rq.Topics = &t;
    rq.Topics_n = 1;
    t.Name = floe_kstr(name);
    struct floe_kafka_DeleteTopicsResponse *rs = api_do(n, 20, 6, &rq);
    assert_int_equal(rs->Responses[0].ErrorCode, 0);
}

static struct floe_session_name session(struct api_node *n)
{
    return *floe_lease_session(floe_core_lease(n->core));
}

/* Keys of the chain that are there; `bits`: which of the first 64. */
static uint32_t keys(struct api_rig *r, const struct floe_session_name *s, uint64_t *bits)
{
    char prefix[FLOE_CHAIN_KEY_MAX];
    struct floe_session_name name;
    uint64_t seq;
    uint32_t n = 0;
    *bits = 0;
    floe_chain_prefix(prefix, s);
    for (size_t i = 0; i < floe_sim_bucket_count(r->bucket); i++) {
        const struct floe_sim_object *o = floe_sim_bucket_at(r->bucket, i);
        if (strncmp(o->key, prefix, strlen(prefix)) != 0 || !floe_chain_key_parse(o->key, &name, &seq))
            continue;
        n++;
        if (seq < 64)
            *bits |= UINT64_C(1) << seq;
    }
    return n;
}

struct reading {
    struct floe_log_read read;
    bool done;
};
static void read_done(struct floe_log_read *q)
{
    ((struct reading *)q->user)->done = true;
}
static bool is_read(void *user)
{
    return ((struct reading *)user)->done;
}

/* All `n` records of partition 0 are there, in order. */
static void check_data(struct api_rig *r, const char *topic, int32_t n)
{
    struct api_node *leader = NULL;
    struct floe_uuid id;
    for (int tries = 0; leader == NULL; tries++) {
        leader = api_leader_of(r, topic, 0);
        assert_true(tries < 400);
        if (leader == NULL)
            api_rig_run(r, 100);
    }
    assert_true(api_topic_id(leader, topic, &id));
    int64_t at = 0;
    while (at < n) {
        struct reading x = {.read = {.tp = {id, 0}, .offset = at, .max_bytes = 1 << 20, .done = read_done}};
        x.read.user = &x;
        x.done = floe_log_read(floe_core_log(leader->core), &x.read);
        assert_true(x.done || floe_sim_run_until(r->sim, is_read, &x, 60000000));
        assert_int_equal(x.read.err.code, FLOE_OK);
        assert_int_equal(x.read.high_watermark, n);
        assert_true(x.read.slice_count > 0);
        char want[16];
        for (uint32_t i = 0; i < x.read.slice_count; i++) {
            struct floe_slice s = floe_slice(x.read.slices[i].p, x.read.slices[i].n);
            while (s.n > 12) { /* one record a batch */
                size_t batch = 12 + floe_be32(s.p + 8);
                assert_int_equal((int64_t)floe_be64(s.p), at);
                snprintf(want, sizeof want, "v%06d", (int)at);
                assert_non_null(memmem(s.p, batch, want, strlen(want)));
                at++;
                s.p += batch;
                s.n -= batch;
            }
        }
        floe_log_read_fini(&x.read);
    }
}

static void kill_and_replace(struct api_rig *r, struct api_node *n)
{
    api_rig_kill(n);
    api_rig_add(r);
    api_rig_run(r, 8000);
}

/* Two topics in one chain; one goes. The other is whole in the same broker and in the next. */
static void deleted_topics_go(void **state)
{
    struct api_rig r;
    uint64_t bits;
    (void)state;
    start(&r, 1, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "keep", 1, NULL, NULL), 0);
    assert_int_equal(api_make_topic(n, "gone", 1, NULL, NULL), 0);
    produce(&r, "keep", 0, 2);
    produce(&r, "gone", 0, 5);
    produce(&r, "keep", 2, 1);
    produce(&r, "gone", 5, 5);
    produce(&r, "keep", 3, 1);
    struct floe_session_name s = session(n);
    assert_int_equal(keys(&r, &s, &bits), 14);
    delete_topic(n, "gone");
    api_rig_run(&r, AGE_MS - 1000);
    assert_int_equal(keys(&r, &s, &bits), 14);
    api_rig_run(&r, AGE_MS + 10000);
    assert_int_equal(keys(&r, &s, &bits), 4);
    assert_int_equal(bits, 1 << 0 | 1 << 1 | 1 << 7 | 1 << 13);
    assert_int_equal(garbage_floor(&watch, &s), 13);
    struct floe_retain_stats st;
    floe_retain_get_stats(floe_core_retain(n->core), &st);
    assert_int_equal(st.objects, 10);
    assert_true(st.bytes > 1000 && st.floors == 1);
    check_data(&r, "keep", 4);
    kill_and_replace(&r, n); /* its rebuild finds the gaps */
    check_data(&r, "keep", 4);
    assert_int_equal(garbage_end(r.bucket, &s), 14);
    produce(&r, "keep", 4, 1);
    check_data(&r, "keep", 5);
    /* The last topic: nothing but seals stays, and no record of the sessions that are over. */
    delete_topic(&r.nodes[1], "keep");
    api_rig_run(&r, 8 * AGE_MS);
    assert_int_equal(keys(&r, &s, &bits), 1);
    assert_int_equal(bits, 1 << 14);
    assert_int_equal(garbage_end(r.bucket, &s), -1);
    assert_int_equal(watch.sessions, 1);
    stop(&r);
}

/* A writer stalled past the age: a copy of a segment and a fencer's seal land in the gaps below the floor. */
static void late_copies_change_nothing(void **state)
{
    struct api_rig r;
    uint64_t bits;
    char key[FLOE_CHAIN_KEY_MAX], stray[FLOE_CHAIN_KEY_MAX];
    uint8_t bytes[FLOE_SEAL_BYTES];
    (void)state;
    start(&r, 2, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "keep", 1, NULL, NULL), 0);
    assert_int_equal(api_make_topic(n, "gone", 1, NULL, NULL), 0);
    produce(&r, "keep", 0, 1);
    produce(&r, "gone", 0, 4);
    produce(&r, "keep", 1, 1);
    struct floe_session_name s = session(n);
    floe_chain_key(key, &s, 2);
    const struct floe_sim_object *o = floe_sim_bucket_find(r.bucket, key);
    assert_non_null(o);
    size_t copy_n = o->n;
    uint8_t *copy = malloc(copy_n);
    memcpy(copy, o->data, copy_n);
    delete_topic(n, "gone");
    api_rig_run(&r, 2 * AGE_MS);
    assert_int_equal(keys(&r, &s, &bits), 2);
    floe_sim_bucket_put(r.bucket, key, copy, copy_n, "late");
    struct floe_seal seal = {.id = {.session = s, .seq = 3, .cluster = r.cluster}, .by = s};
    floe_seal_encode(bytes, &seal);
    floe_chain_key(stray, &s, 3);
    floe_sim_bucket_put(r.bucket, stray, bytes, sizeof bytes, "stray");
    check_data(&r, "keep", 2);
    kill_and_replace(&r, n);
    assert_int_equal(garbage_end(r.bucket, &s), 6);
    check_data(&r, "keep", 2);
    api_rig_run(&r, 4 * AGE_MS); /* what came back goes, now that the chain has another keeper */
    assert_int_equal(keys(&r, &s, &bits), 3);
    assert_int_equal(bits, 1 << 0 | 1 << 5 | 1 << 6);
    /* And once more, when all else is gone: the record stays until they are. */
    delete_topic(&r.nodes[1], "keep");
    api_rig_run(&r, 2 * AGE_MS + 10000);
    assert_int_equal(keys(&r, &s, &bits), 1);
    assert_int_equal(garbage_end(r.bucket, &s), 6);
    floe_sim_bucket_put(r.bucket, key, copy, copy_n, "late");
    floe_sim_bucket_put(r.bucket, stray, bytes, sizeof bytes, "stray");
    api_rig_run(&r, 6 * AGE_MS);
    assert_int_equal(keys(&r, &s, &bits), 1);
    assert_int_equal(bits, 1 << 6);
    assert_int_equal(garbage_end(r.bucket, &s), -1);
    free(copy);
    stop(&r);
}

/* One record with acks=0, for which nobody waits. */
static void send_one(struct api_node *n, const char *topic)
{
    struct floe_kafka_ProduceRequest rq;
    struct floe_kafka_ProduceRequest_TopicProduceData t;
    struct floe_kafka_ProduceRequest_PartitionProduceData part;
    struct floe_arena a;
    floe_arena_init(&a, 1 << 20);
    floe_kafka_defaults(&floe_kafka_ProduceRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_TopicProduceData_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_PartitionProduceData_desc, &part);
    rq.TimeoutMs = 1000;
    rq.TopicData = &t;
    rq.TopicData_n = 1;
    t.Name = floe_kstr(topic);
    t.PartitionData = &part;
    t.PartitionData_n = 1;
    part.Records = api_batch(&a, 3, 1, true, 0);
    struct api_call *call = api_send(n, NULL, 0, 9, &rq);
    api_rig_run(n->rig, 50);
    assert_true(call->done);
    api_call_free(call);
    floe_arena_fini(&a);
}

static void fault_puts(struct api_node *n, const char *key, enum floe_sim_fault fault, uint32_t times,
                       uint64_t delay_us)
{
    floe_sim_bucket_rule(n->rig->bucket, &(struct floe_sim_rule){.fault = fault,
                                                                 .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                                                 .prefix = key,
                                                                 .node = n->node,
                                                                 .times = times,
                                                                 .delay_us = delay_us});
}

/* A fencer stalls in the middle of its work for longer than the age. The key that it was about to seal was
 * taken by a segment that landed late, which has come and gone as garbage since; its seal lands in that gap.
 */
static void a_stalled_fencer_makes_no_second_end(void **state)
{
    struct api_rig r;
    uint64_t bits;
    char key[FLOE_CHAIN_KEY_MAX];
    (void)state;
    start(&r, 3, 3);
    assert_int_equal(api_make_topic(&r.nodes[0], "gone", 1, NULL, NULL), 0);
    produce(&r, "gone", 0, 3);
    struct api_node *holder = api_leader_of(&r, "gone", 0), *slow = NULL, *other = NULL;
    for (uint32_t i = 0; i < r.n; i++)
        if (&r.nodes[i] != holder)
            *(slow == NULL ? &slow : &other) = &r.nodes[i];
    struct floe_session_name s = session(holder);
    uint32_t at = keys(&r, &s, &bits);
    floe_chain_key(key, &s, at);
    fault_puts(holder, key, FLOE_SIM_LATE, 1, 6000000);
    fault_puts(slow, key, FLOE_SIM_HANG, 1, 12ull * API_GARBAGE_AGE_US);
    fault_puts(slow, key, FLOE_SIM_REFUSED, 0, 0); /* no other seal comes there before the late segment */
    fault_puts(other, key, FLOE_SIM_REFUSED, 0, 0);
    send_one(holder, "gone");
    api_rig_kill(holder);
    for (int i = 0; i < 20000 && floe_sim_bucket_find(r.bucket, key) == NULL; i++)
        api_rig_run(&r, 1);
    const struct floe_sim_object *o = floe_sim_bucket_find(r.bucket, key);
    assert_true(o != NULL && o->n > FLOE_SEAL_BYTES); /* the late segment */
    floe_sim_node_stall(slow->node, 10ull * API_GARBAGE_AGE_US, false);
    floe_sim_bucket_heal(r.bucket);
    api_rig_run(&r, 20000);
    assert_int_equal(garbage_end(r.bucket, &s), at + 1);
    delete_topic(other, "gone");
    api_rig_run(&r, 4 * AGE_MS);
    assert_int_equal(keys(&r, &s, &bits), 1);
    assert_int_equal(bits, UINT64_C(2) << at);
    api_rig_run(&r, 20 * AGE_MS); /* the stray seal has landed; the fencer has woken up and gone on */
    assert_int_equal(keys(&r, &s, &bits), 1);
    assert_int_equal(bits, UINT64_C(2) << at);
    assert_int_equal(garbage_end(r.bucket, &s), -1);
    stop(&r);
}

/* What lies behind a seal goes, though the chain keeps all else. */
static void orphans_go(void **state)
{
    struct api_rig r;
    uint64_t bits;
    char key[FLOE_CHAIN_KEY_MAX];
    (void)state;
    start(&r, 4, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "keep", 1, NULL, NULL), 0);
    produce(&r, "keep", 0, 3);
    struct floe_session_name s = session(n);
    floe_chain_key(key, &s, 1);
    const struct floe_sim_object *o = floe_sim_bucket_find(r.bucket, key);
    size_t bytes_n = o->n;
    uint8_t *bytes = malloc(bytes_n);
    memcpy(bytes, o->data, bytes_n);
    kill_and_replace(&r, n);
    assert_int_equal(garbage_end(r.bucket, &s), 3);
    for (uint64_t k = 5; k < 8; k++) { /* what was in flight when the seal was put */
        floe_chain_key(key, &s, k);
        floe_sim_bucket_put(r.bucket, key, bytes, bytes_n, "orphan");
    }
    api_rig_run(&r, 40 * AGE_MS);
    assert_int_equal(keys(&r, &s, &bits), 4);
    assert_int_equal(bits, 0xf);
    check_data(&r, "keep", 3);
    free(bytes);
    stop(&r);
}

/* So many topics were deleted, and others made under their names, that not all are remembered: one more goes
 * all the same, and is not asked about for ever. */
static void the_memory_of_topics_is_bounded(void **state)
{
    struct api_rig r;
    uint64_t bits;
    (void)state;
    start(&r, 6, 1);
    struct api_node *n = &r.nodes[0];
    struct floe_retain *retain = floe_core_retain(n->core);
    assert_int_equal(api_make_topic(n, "keep", 1, NULL, NULL), 0);
    assert_int_equal(api_make_topic(n, "gone", 1, NULL, NULL), 0);
    produce(&r, "gone", 0, 5);
    produce(&r, "keep", 0, 1);
    struct floe_session_name s = session(n);
    assert_int_equal(keys(&r, &s, &bits), 6);
    for (uint32_t i = 0; i < RETAIN_GONE_MAX; i++) {
        struct floe_uuid id = {{1}};
        floe_put_le32(id.b + 4, i);
        retain_gone_add(retain, &id);
    }
    delete_topic(n, "gone");
    assert_int_equal(api_make_topic(n, "gone", 1, NULL, NULL), 0);
    uint64_t scans = n->table->stats.scan;
    api_rig_run(&r, 3 * AGE_MS);
    assert_in_range(n->table->stats.scan - scans, 1, 100);
    assert_int_equal(keys(&r, &s, &bits), 1);
    check_data(&r, "keep", 1);
    stop(&r);
}

/* More runs than are remembered: the last one stands for all that follows, also for the gaps in it. What is
 * missing there is asked for, however much it is, and what is there goes with its topic. */
static void a_run_of_many_gaps(void **state)
{
    struct api_rig r;
    uint64_t bits;
    char name[FLOE_SESSION_NAME_MAX], key[100];
    const int32_t gone = 1100;
    (void)state;
    start(&r, 7, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "keep", 1, NULL, NULL), 0);
    assert_int_equal(api_make_topic(n, "gone", 1, NULL, NULL), 0);
    produce(&r, "keep", 0, 1);
    for (int32_t i = 0; i < gone; i += 100)
        produce(&r, "gone", i, 100);
    produce(&r, "keep", 1, 1);
    struct floe_session_name s = session(n);
    delete_topic(n, "gone");
    api_rig_run(&r, 2 * AGE_MS + 10000);
    assert_in_range(keys(&r, &s, &bits), 2, 20); /* some may hold a checkpoint of the other */
    uint32_t floor = (uint32_t)garbage_floor(&watch, &s);
    assert_in_range(floor, gone - 20, gone + 1);
    api_rig_kill(n);
    char record[200];
    int len = snprintf(record, sizeof record,
                       "{\"nonce\":\"00112233445566778899aabbccddeeff\",\"value\":{\"floor\":%u,"
                       "\"known\":%d,\"kept\":[[0,%d,%d]]}}",
                       floor, gone + 2, gone + 2, RETAIN_PIN_MIXED);
    floe_session_format(name, &s);
    snprintf(key, sizeof key, "table/floor/%s", name);
    floe_sim_bucket_put(r.bucket, key, record, (size_t)len, "");
    api_rig_add(&r);
    api_rig_run(&r, 8000);
    check_data(&r, "keep", 2);
    delete_topic(&r.nodes[1], "keep");
    api_rig_run(&r, 8 * AGE_MS);
    assert_int_equal(keys(&r, &s, &bits), 1);
    stop(&r);
}

/* Nothing is asked for while nothing happens, however many chains and partitions there are. */
static void idle_brokers_ask_for_nothing(void **state)
{
    struct api_rig r;
    struct floe_retain_stats before, after;
    (void)state;
    start(&r, 5, 2);
    assert_int_equal(api_make_topic(&r.nodes[0], "keep", 50, NULL, NULL), 0);
    produce(&r, "keep", 0, 20);
    api_rig_run(&r, 4 * AGE_MS); /* the first sweep is over */
    floe_retain_get_stats(floe_core_retain(r.nodes[0].core), &before);
    api_rig_run(&r, 20 * AGE_MS);
    floe_retain_get_stats(floe_core_retain(r.nodes[0].core), &after);
    assert_int_equal(after.footers, before.footers);
    assert_int_equal(after.sweeps, before.sweeps);
    stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deleted_topics_go),
        cmocka_unit_test(late_copies_change_nothing),
        cmocka_unit_test(a_stalled_fencer_makes_no_second_end),
        cmocka_unit_test(orphans_go),
        cmocka_unit_test(the_memory_of_topics_is_bounded),
        cmocka_unit_test(a_run_of_many_gaps),
        cmocka_unit_test(idle_brokers_ask_for_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
