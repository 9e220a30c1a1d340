/* What nobody needs goes, and only that: whole brokers over the simulated store, whose every removal is
 * watched. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include "broker/core_int.h"
#include "garbage_watch.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deleted_topics_go),
        cmocka_unit_test(late_copies_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
