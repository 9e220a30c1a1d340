/* Offsets while the catalog, or a part of it, cannot be read: what is not known may exist. */
#include "offset_calls.h"

/* A topic that is not known while the catalog cannot be read may exist: nobody hears that it does not, and
 * nobody that nothing was committed for it. */
static void test_catalog_unreadable(void **state)
{
    const int64_t loading = -100 - FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS;
    const struct floe_sim_rule unreadable = {.fault = FLOE_SIM_NOSPACE, .prefix = "table/topic/"};
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 15, 1);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    assert_ptr_equal(coordinator(&r, n, "g"), n);
    assert_int_equal(commit(n, 8, "g", "t", 0, 7, ""), 0);
    floe_sim_bucket_rule(r.bucket, &unreadable);
    for (int16_t v = 2; v <= 10; v++) {
        assert_int_equal(commit_once(n, v, "g", "perhaps", 0, 1, ""), FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS);
        assert_int_equal(commit_once(n, v, "g", "t", 0, 7, ""), 0);
    }
    for (int16_t v = 1; v <= 10; v++) {
        assert_int_equal(fetch(n, v, "g", "perhaps", 0), loading);
        assert_int_equal(fetch(n, v, "g", "t", 0), 7);
    }
    floe_sim_bucket_heal(r.bucket);
    assert_int_equal(commit(n, 8, "g", "perhaps", 0, 1, ""), FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(fetch(n, 7, "g", "perhaps", 0), -1);
    api_rig_stop(&r);
}

/* A coordinator that could not read of a topic does not take it for deleted: neither does it forget the
 * offsets that its predecessor was told, nor leaves them out. */
static void test_topic_not_read(void **state)
{
    struct api_rig r;
    (void)state;
    api_rig_start(&r, 16, 1);
    struct api_node *blind = &r.nodes[0], *n = NULL;
    char group[16];
    assert_ptr_equal(coordinator(&r, blind, "g"), blind);
    api_rig_add(&r);
    api_rig_run(&r, 20000); /* half of the coordinators move */
    for (int i = 0; n != &r.nodes[1] && i < 60; i++) {
        snprintf(group, sizeof group, "g%d", i);
        n = coordinator(&r, blind, group);
    }
    assert_ptr_equal(n, &r.nodes[1]);
    const struct floe_sim_rule unread = {
        .fault = FLOE_SIM_NOSPACE, .prefix = "table/topic/", .node = blind->node};
    floe_sim_bucket_rule(r.bucket, &unread);
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    assert_int_equal(commit(n, 8, group, "t", 0, 7, ""), 0);
    api_rig_kill(n);
    int32_t topics = -100;
    for (int i = 0; topics <= -100 && i < 300; i++) {
        api_rig_run(&r, 100);
        topics = fetch_all(blind, group);
    }
    for (int i = 0; i < 20; i++) {
        assert_int_equal(fetch_all(blind, group), 1);
        api_rig_run(&r, 37);
    }
    api_rig_run(&r, 1300000); /* offsets of deleted topics are looked for twice */
    floe_sim_bucket_heal(r.bucket);
    api_rig_run(&r, 2000);
    assert_int_equal(fetch(blind, 8, group, "t", 0), 7);
    api_rig_stop(&r);
}

/* Nor where the record of one topic is damaged: others go on. */
static void test_record_damaged(void **state)
{
    const int64_t loading = -100 - FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS;
    struct api_rig r;
    struct floe_uuid id;
    (void)state;
    api_rig_start(&r, 17, 1);
    struct api_node *n = &r.nodes[0], *next;
    assert_int_equal(api_make_topic(n, "t", 1, NULL, NULL), 0);
    assert_int_equal(api_make_topic(n, "u", 1, NULL, NULL), 0);
    assert_ptr_equal(coordinator(&r, n, "g"), n);
    assert_int_equal(commit(n, 8, "g", "t", 0, 7, ""), 0);
    assert_int_equal(commit(n, 8, "g", "u", 0, 8, ""), 0);
    assert_true(api_topic_id(n, "t", &id));
    floe_sim_bucket_put(r.bucket, "table/topic/t", "{\"n\":\"00\",\"v\":{}}", 17, "00");
    next = api_rig_add(&r);
    api_rig_kill(n);
    api_rig_run(&r, 30000);
    for (int16_t v = 1; v <= 9; v++) {
        assert_int_equal(fetch(next, v, "g", "t", 0), loading);
        assert_int_equal(fetch(next, v, "g", "u", 0), 8);
        assert_int_equal(fetch(next, v, "g", "none", 0), -1);
    }
    assert_int_equal(fetch_id(next, "g", &id), loading);
    assert_int_equal(fetch_all(next, "g"), 2);
    api_rig_stop(&r);
}

/* A coordinator that knows a topic's former self only neither says that nothing was committed for the new
 * one, nor replaces what was. */
static void test_made_anew_unheard(void **state)
{
    struct api_rig r;
    char group[16];
    (void)state;
    api_rig_start(&r, 21, 1);
    struct api_node *blind = &r.nodes[0], *n = NULL;
    assert_ptr_equal(coordinator(&r, blind, "g"), blind);
    assert_int_equal(api_make_topic(blind, "t", 2, NULL, NULL), 0);
    api_rig_add(&r);
    api_rig_run(&r, 20000);
    for (int i = 0; n != &r.nodes[1] && i < 60; i++) {
        snprintf(group, sizeof group, "g%d", i);
        n = coordinator(&r, blind, group);
    }
    assert_ptr_equal(n, &r.nodes[1]);
    const struct floe_sim_rule unread = {
        .fault = FLOE_SIM_NOSPACE, .prefix = "table/topic/", .node = blind->node};
    floe_sim_bucket_rule(r.bucket, &unread);
    delete_topic(n, "t");
    assert_int_equal(api_make_topic(n, "t", 2, NULL, NULL), 0);
    assert_int_equal(commit(n, 8, group, "t", 0, 7, ""), 0);
    api_rig_kill(n);
    for (int i = 0; i < 100; i++) {
        int64_t at = fetch(blind, 8, group, "t", 0);
        assert_true(at == -100 - FLOE_KERR_NOT_COORDINATOR ||
                    at == -100 - FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS);
        assert_true(commit_once(blind, 8, group, "t", 1, 1, "") != 0);
        api_rig_run(&r, 100);
    }
    floe_sim_bucket_heal(r.bucket);
    api_rig_run(&r, 2000);
    assert_int_equal(commit(blind, 8, group, "t", 1, 1, ""), 0);
    assert_int_equal(fetch(blind, 8, group, "t", 0), 7);
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_catalog_unreadable),
        cmocka_unit_test(test_topic_not_read),
        cmocka_unit_test(test_record_damaged),
        cmocka_unit_test(test_made_anew_unheard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
