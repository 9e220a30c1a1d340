/* The format that every broker reads: brokers of two versions, one after another and at once. */
#include "lease_rig.h"

#include "lease/records.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum { LEASE_MS = 3000, TOPIC = 1 };

static struct lease_cluster_record record(struct lrig *r)
{
    struct lease_cluster_record c = {0};
    struct floe_error err = {0};
    const struct floe_sim_object *o = floe_sim_bucket_find(r->bucket, "table/cluster");
    json_t *root = json_loadb((const char *)o->data, o->n, 0, NULL);
    char *text = json_dumps(json_object_get(root, "value"), JSON_COMPACT);
    assert_int_equal(lease_cluster_decode("cluster", text, strlen(text), INT32_MAX, &c, &err), FLOE_OK);
    free(text);
    json_decref(root);
    return c;
}

static void boot(struct lrig *r, int i, int32_t newest)
{
    r->b[i].newest = newest;
    lrig_boot_wait(r, i);
}

static bool raised(struct lrig *r)
{
    return record(r).format == 2;
}

static bool lease_says(struct lrig *r, const char *what)
{
    for (size_t i = 0; i < floe_sim_bucket_count(r->bucket); i++) {
        const struct floe_sim_object *o = floe_sim_bucket_at(r->bucket, i);
        if (strncmp(o->key, "table/lease/", 12) == 0 && memmem(o->data, o->n, what, strlen(what)) != NULL)
            return true;
    }
    return false;
}

static void refused(struct lrig *r, int i)
{
    lrig_boot(r, i);
    lrig_run_ms(r, 2000);
    assert_true(r->b[i].fatal);
    assert_string_equal(
        r->b[i].last_fatal,
        "table record \"cluster\": format 2 was written by a newer Floe, this one reads up to 1");
    lrig_kill(r, i); /* as the process does */
}

static void raised_when_the_last_old_one_is_gone(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 1, LEASE_MS);
    lrig_put_cluster(&r, 1, 0);
    for (int i = 0; i < 3; i++)
        boot(&r, i, 1);
    assert_int_equal(lrig_create(&r, 0, TOPIC, 100), FLOE_OK);
    for (int i = 0; i < 3; i++) {
        lrig_run_ms(&r, 3 * LEASE_MS);
        assert_int_equal(record(&r).format, 1);
        assert_int_equal(record(&r).next, 0);
        assert_false(lease_says(&r, "\"format\""));
        lrig_end(&r, i);
        if (i < 2)
            boot(&r, i, 2);
    }
    lrig_kill(&r, 0); /* a session that may still be at work counts, whatever it reads */
    assert_true(lrig_until(&r, raised, 3 * LEASE_MS));
    lrig_run_ms(&r, LEASE_MS);
    assert_int_equal(record(&r).next, 0);
    assert_int_equal(record(&r).shards, 128);
    assert_int_equal(floe_lease_format(r.b[1].lease), 2);
    assert_int_equal(lrig_create(&r, 1, TOPIC + 1, 100), FLOE_OK);
    assert_true(lease_says(&r, "\"format\":2"));
    r.b[2].newest = 1;
    refused(&r, 2);
    boot(&r, 0, 2);
    lrig_run_ms(&r, LEASE_MS);
    assert_int_equal(floe_lease_format(r.b[0].lease), 2);
    lrig_check(&r);
    lrig_fini(&r);
}

/* One that knows only the first format comes at any moment of a raise: it is refused, or it is seen. */
static void an_old_one_comes_in_between(void **state)
{
    (void)state;
    uint32_t gone = 0, stays = 0;
    for (uint64_t seed = 0; seed < 150; seed++) {
        struct lrig r;
        lrig_init(&r, seed + 1, LEASE_MS);
        lrig_put_cluster(&r, 1, 0);
        boot(&r, 0, 2);
        boot(&r, 1, 2);
        r.b[2].newest = 1;
        floe_sim_run_for(r.sim, 400000 + seed * 7000);
        lrig_boot(&r, 2);
        lrig_run_ms(&r, 4 * LEASE_MS);
        bool refused = r.b[2].fatal;
        if (refused) {
            lrig_kill(&r, 2);
            lrig_run_ms(&r, 5 * LEASE_MS);
        }
        struct lease_cluster_record c = record(&r);
        assert_int_equal(c.next, 0);
        if (refused) {
            assert_int_equal(c.format, 2);
            gone++;
        } else {
            assert_int_equal(c.format, 1);
            assert_true(r.b[2].alive);
            stays++;
        }
        lrig_fini(&r);
    }
    printf("refused %u, seen %u\n", gone, stays);
    assert_true(gone > 10 && stays > 10);
}

/* Whoever announced the next format died: another broker withdraws it, and raises it when it can. */
static void an_announcement_that_is_left(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 1, LEASE_MS);
    lrig_put_cluster(&r, 1, 0);
    boot(&r, 0, 1);
    lrig_put_cluster(&r, 1, 2);
    r.b[2].newest = 1;
    refused(&r, 2); /* it could not tell whether somebody has looked at the nodes already */
    boot(&r, 1, 2);
    lrig_run_ms(&r, 2 * LEASE_MS);
    assert_int_equal(record(&r).next, 0);
    assert_int_equal(record(&r).format, 1);
    lrig_end(&r, 0);
    assert_true(lrig_until(&r, raised, 3 * LEASE_MS));
    lrig_fini(&r);
}

/* A round trip takes 5 ms or so; the step that looks at everything runs by itself every hundredth of the
 * lease time or later. */
static void a_start_waits_for_no_step(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct lrig r;
        lrig_init(&r, seed, 10 * LEASE_MS);
        lrig_put_cluster(&r, 2, 0);
        uint64_t begun = floe_sim_now_us(r.sim);
        boot(&r, 0, 2);
        assert_in_range(floe_sim_now_us(r.sim) - begun, 1000, 70000);
        lrig_fini(&r);
    }
}

/* A session may be named by leases that this broker cannot read: nothing of it goes. */
static void what_is_not_read_may_name_a_session(void **state)
{
    (void)state;
    static const char newer[] =
        "{\"nonce\":\"00000000000000000000000000000009\",\"value\":{\"format\":9,\"topics\":{},"
        "\"sessions\":[]}}";
    const struct floe_session_name other = {.node = 9, .epoch = 1, .id = 0x77};
    struct lrig r;
    lrig_init(&r, 1, LEASE_MS);
    lrig_put_cluster(&r, 1, 0);
    boot(&r, 0, 1);
    assert_false(floe_lease_names_session(r.b[0].lease, &other));
    floe_sim_bucket_put(r.bucket, "table/lease/0005", newer, sizeof newer - 1, "x");
    boot(&r, 1, 1);
    assert_true(floe_lease_names_session(r.b[1].lease, &other));
    lrig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raised_when_the_last_old_one_is_gone), cmocka_unit_test(an_old_one_comes_in_between),
        cmocka_unit_test(an_announcement_that_is_left),         cmocka_unit_test(a_start_waits_for_no_step),
        cmocka_unit_test(what_is_not_read_may_name_a_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
