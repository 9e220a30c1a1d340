/* Members that subscribe by expressions that are dear to match: what the core loop spends on them at a time,
 * and that others hear of their topics all the same. */
#include "broker/core_int.h"
#include "group/consumer_int.h"
#include "migrate_rig.h"

#define TOPICS 100
#define MEMBERS 150
#define SHARE 2500u   /* steps in a millisecond: a tenth of it */
#define BURST 600000u /* and what was saved, with a slice that is under way */
/* Some 1,800 steps for a name of 60 bytes that ends otherwise. */
#define DEAR                                                                                                 \
    "(?:.*[a-z])?(?:.*[a-z])?(?:.*[a-z])?(?:.*[a-z])?(?:.*[a-z])?(?:.*[a-z])?(?:.*[a-z])?(?:.*[a-z])?(?:.*[" \
    "a-z])?"

static void make_topics(struct api_node *n, int from, int to)
{
    for (int i = from; i < to; i++) {
        char name[128];
        snprintf(name, sizeof name, "orders.eu-west-%d.customers.by-region.v%d.longer-suffix-as-people-have_",
                 i, i);
        assert_int_equal(api_make_topic(n, name, 1, NULL, NULL), 0);
    }
}

static uint64_t spent(const struct api_node *n)
{
    const struct floe_map *all = &n->core->groups->regexes.map;
    uint64_t sum = 0;
    for (struct floe_map_node *m = floe_map_iter(all, NULL); m; m = floe_map_iter(all, m))
        sum += FLOE_MAP_ENTRY(m, struct regex, node)->spent;
    return sum;
}

/* A member of group `g` says that it is there. */
static struct api_call *beat_send(struct api_node *n, const char *g, const char *id, const char *re,
                                  int32_t epoch)
{
    struct floe_kafka_ConsumerGroupHeartbeatRequest rq;
    struct floe_kafka_ConsumerGroupHeartbeatRequest_TopicPartitions none;
    floe_kafka_defaults(&floe_kafka_ConsumerGroupHeartbeatRequest_desc, &rq);
    rq.GroupId = floe_kstr(g);
    rq.MemberId = floe_kstr(id);
    rq.MemberEpoch = epoch;
    rq.InstanceId = rq.RackId = floe_kstr(NULL);
    if (re) {
        rq.RebalanceTimeoutMs = 60000;
        rq.SubscribedTopicRegex = floe_kstr(re);
        rq.TopicPartitions = &none;
        rq.TopicPartitions_n = 0;
    }
    return api_send(n, &n->client, 68, 1, &rq);
}

/* How many partitions it has. */
static int32_t beat_regex(struct api_node *n, const char *g, const char *id, const char *re, int32_t *epoch,
                          int32_t had)
{
    struct api_call *c = beat_send(n, g, id, re, *epoch);
    struct floe_kafka_ConsumerGroupHeartbeatResponse *rs = api_wait(n, c, 60000);
    assert_non_null(rs);
    assert_int_equal(rs->ErrorCode, 0);
    *epoch = rs->MemberEpoch;
    if (rs->Assignment)
        had = 0;
    for (int32_t i = 0; rs->Assignment && i < rs->Assignment->TopicPartitions_n; i++)
        had += rs->Assignment->TopicPartitions[i].Partitions_n;
    api_call_free(c);
    return had;
}

/* Heartbeats until it has that many; the milliseconds that it took. */
static int wait_for(struct api_node *n, const char *g, const char *id, int32_t *epoch, int32_t had,
                    int32_t want)
{
    int ms = 0;
    while (had != want) {
        assert_true(ms < 60000);
        api_rig_run(n->rig, 500);
        ms += 500;
        had = beat_regex(n, g, id, NULL, epoch, had);
    }
    return ms;
}

static void test_dear(void **state)
{
    struct api_rig r;
    struct api_node *n;
    int32_t nice = 0, other = 0, quick = 0;
    char id[16], re[200];
    struct api_call *calls[MEMBERS];
    (void)state;
    start(&r, 900, &n);
    make_topics(n, 0, TOPICS);
    uint64_t from = floe_loop_now_us(n->core->groups->cfg.loop);
    for (int i = 0; i < MEMBERS; i++) {
        snprintf(id, sizeof id, "m%d", i);
        snprintf(re, sizeof re, DEAR "_?%d", i); /* nothing matches */
        calls[i] = beat_send(n, "g", id, re, 0);
    }
    for (int i = 0; i < MEMBERS; i++) {
        struct floe_kafka_ConsumerGroupHeartbeatResponse *rs = api_wait(n, calls[i], 60000);
        assert_true(rs && rs->ErrorCode == 0);
        api_call_free(calls[i]);
    }
    assert_true(spent(n) <= (floe_loop_now_us(n->core->groups->cfg.loop) - from) / 1000 * SHARE + BURST);
    /* Many wait still. One more of the group, and one of another, need not wait for all of them. */
    assert_false(floe_list_empty(&n->core->groups->regexes.queue));
    int32_t had = beat_regex(n, "h", "other", "orders.*", &other, 0);
    assert_true(wait_for(n, "h", "other", &other, had, TOPICS) <= 1500);
    had = beat_regex(n, "g", "nice", "orders.*", &nice, 0);
    wait_for(n, "g", "nice", &nice, had, TOPICS);
    /* Where nobody waits the first answer has it. */
    for (int i = 0; i < 200 && !floe_list_empty(&n->core->groups->regexes.queue); i++)
        api_rig_run(&r, 100);
    assert_true(floe_list_empty(&n->core->groups->regexes.queue));
    assert_int_equal(beat_regex(n, "q", "quick", "orders.*", &quick, 0), TOPICS);
    /* What is known is not looked at again; a new topic's name is, once. */
    uint64_t before = spent(n);
    for (int i = 0; i < 10; i++) {
        api_rig_run(&r, 1000);
        beat_regex(n, "g", "nice", NULL, &nice, TOPICS);
        beat_regex(n, "q", "quick", NULL, &quick, TOPICS);
    }
    assert_int_equal(spent(n), before);
    make_topics(n, TOPICS, TOPICS + 1);
    wait_for(n, "q", "quick", &quick, TOPICS, TOPICS + 1);
    wait_for(n, "g", "nice", &nice, TOPICS, TOPICS + 1);
    assert_true(spent(n) > before && spent(n) - before <= (MEMBERS + 2) * 4000);
    api_rig_stop(&r);
}

/* A member that comes with another expression each time takes no more than its slices, and leaves nothing. */
static void test_restless(void **state)
{
    struct api_rig r;
    struct api_node *n;
    int32_t epoch = 0, nice = 0, had = 0;
    char re[200];
    (void)state;
    start(&r, 901, &n);
    make_topics(n, 0, TOPICS);
    had = beat_regex(n, "g", "nice", "orders.*", &nice, 0);
    assert_int_equal(had, TOPICS);
    for (int i = 0; i < 100; i++) {
        snprintf(re, sizeof re, DEAR "_?y%d", i);
        assert_int_equal(beat_regex(n, "g", "restless", re, &epoch, 0), 0);
    }
    assert_int_equal(n->core->groups->regexes.map.n, 2);
    assert_int_equal(wait_for(n, "g", "nice", &nice, had, TOPICS), 0);
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dear),
        cmocka_unit_test(test_restless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
