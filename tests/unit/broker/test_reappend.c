/* The broker's side of re-append: topics that are gone, batches that are set aside. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include "broker/core_int.h"

#include <floe/base/log.h>
#include <floe/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void delete_topic(struct api_node *n, const char *name)
{
    struct floe_kafka_DeleteTopicsRequest rq;
    struct floe_kstr names[1] = {floe_kstr(name)};
    floe_kafka_defaults(&floe_kafka_DeleteTopicsRequest_desc, &rq);
    rq.TopicNames = names;
    rq.TopicNames_n = 1;
    rq.TimeoutMs = 30000;
    struct floe_kafka_DeleteTopicsResponse *rs = api_do(n, 20, 5, &rq);
    assert_non_null(rs);
    assert_int_equal(rs->Responses_n, 1);
    assert_int_equal(rs->Responses[0].ErrorCode, 0);
}

/* A topic that was made anew under its old name has taken the old one's record: what is left of that one
 * would hold up everything behind it for ever. */
static void a_topic_whose_name_is_another_one_s_is_gone(void **state)
{
    (void)state;
    struct api_rig r;
    struct floe_uuid first, second, third, never = {{9}};
    api_rig_start(&r, 1, 2);
    struct api_node *n = &r.nodes[0];
    assert_int_equal(api_make_topic(n, "t", 2, NULL, NULL), 0);
    assert_true(api_topic_id(n, "t", &first));
    delete_topic(n, "t");
    assert_int_equal(floe_core_reappend_topic(n->core, &first), FLOE_REAPPEND_DROP);
    assert_int_equal(api_make_topic(&r.nodes[1], "t", 2, NULL, NULL), 0);
    assert_true(api_topic_id(&r.nodes[1], "t", &second));
    api_rig_run(&r, 5000);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(floe_core_reappend_topic(r.nodes[i].core, &first), FLOE_REAPPEND_DROP);
        assert_int_equal(floe_core_reappend_topic(r.nodes[i].core, &second), FLOE_REAPPEND_SEND);
    }
    floe_lease_forget_topic(floe_core_lease(n->core), &never); /* told by who deletes it */
    assert_int_equal(floe_core_reappend_topic(n->core, &never), FLOE_REAPPEND_DROP);
    /* One that starts later has never seen the first. */
    struct api_node *late = api_rig_add(&r);
    assert_int_equal(floe_core_reappend_topic(late->core, &first), FLOE_REAPPEND_LATER);
    api_rig_run(&r, 5000);
    assert_int_equal(floe_core_reappend_topic(late->core, &first), FLOE_REAPPEND_DROP);
    assert_int_equal(floe_core_reappend_topic(late->core, &second), FLOE_REAPPEND_SEND);
    /* A record that cannot be read may be of any topic. */
    floe_sim_bucket_put(r.bucket, "table/topic/bad", "?", 1, "n");
    assert_int_equal(api_make_topic(n, "other", 1, NULL, NULL), 0);
    assert_true(api_topic_id(n, "other", &third));
    api_rig_run(&r, 5000);
    assert_int_equal(floe_core_reappend_topic(late->core, &never), FLOE_REAPPEND_LATER);
    assert_int_equal(floe_core_reappend_topic(late->core, &third), FLOE_REAPPEND_SEND);
    api_rig_stop(&r);
}

static bool there(const char *dir, const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    bool is = access(path, F_OK) == 0;
    (void)remove(path);
    return is;
}

/* Two sessions may have given one offset to two batches. */
static void batches_set_aside_do_not_meet(void **state)
{
    (void)state;
    struct floe_core c = {0};
    struct floe_tp tp = {.topic = {{1}}, .index = 3};
    uint8_t batch[FLOE_BATCH_HEADER] = {0};
    char dir[] = "/tmp/floe-aside-XXXXXX";
    assert_non_null(mkdtemp(dir));
    snprintf(c.aside_dir, sizeof c.aside_dir, "%s", dir);
    for (int32_t epoch = 7; epoch < 9; epoch++) {
        floe_batch_patch(batch, 5, epoch);
        assert_true(floe_core_set_aside(&c, &tp, 5, floe_slice(batch, sizeof batch), "the test says so"));
    }
    assert_true(there(dir, "01000000000000000000000000000000-3-7-5.batch"));
    assert_true(there(dir, "01000000000000000000000000000000-3-8-5.batch"));
    assert_int_equal(rmdir(dir), 0);
}

static void keep_line(void *user, enum floe_log_level level, const char *line)
{
    char *lines = user;
    size_t n = strlen(lines);
    if (level == FLOE_LOG_WARN)
        snprintf(lines + n, 1024 - n, "%s\n", line);
}

/* It is tried again each second, and what lies behind it waits: that is told, once. */
static void a_batch_that_cannot_be_set_aside_is_told(void **state)
{
    (void)state;
    struct floe_core c = {0};
    struct floe_tp tp = {.topic = {{1}}, .index = 3};
    uint8_t batch[FLOE_BATCH_HEADER] = {0};
    char dir[] = "/tmp/floe-aside-XXXXXX", lines[1024] = "", file[64];
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/aside", dir);
    snprintf(c.aside_dir, sizeof c.aside_dir, "%s", file);
    floe_batch_patch(batch, 5, 7);
    FILE *f = fopen(file, "w"); /* where the folder should be */
    assert_non_null(f);
    fclose(f);
    floe_log_hook(keep_line, lines);
    for (int i = 0; i < 2; i++)
        assert_false(floe_core_set_aside(&c, &tp, 5, floe_slice(batch, sizeof batch), "the test says so"));
    assert_int_equal(remove(file), 0);
    const char *first = strstr(lines, "Not a directory");
    assert_non_null(first);
    assert_non_null(strstr(lines, file));
    assert_non_null(strstr(lines, "the test says so"));
    assert_null(strstr(first + 1, "Not a directory"));
    assert_true(floe_core_set_aside(&c, &tp, 5, floe_slice(batch, sizeof batch), "the test says so"));
    floe_log_hook(NULL, NULL);
    assert_non_null(strstr(first, "was set aside in"));
    assert_true(there(file, "01000000000000000000000000000000-3-7-5.batch"));
    assert_int_equal(rmdir(file), 0);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_topic_whose_name_is_another_one_s_is_gone),
        cmocka_unit_test(batches_set_aside_do_not_meet),
        cmocka_unit_test(a_batch_that_cannot_be_set_aside_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
