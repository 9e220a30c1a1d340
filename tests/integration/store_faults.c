/* The `s3` store against a real server through floe-proxy: lost, late, broken and refused requests. */
#include "proxy_client.h"
#include "store_suite.h"

#include <floe/objstore/s3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

struct test {
    struct store_rig rig;
    struct proxy proxy;
};

static int setup(void **state)
{
    struct test *t = calloc(1, sizeof *t);
    struct floe_store_s3_config c = {.bucket = getenv("S3SERVER_BUCKET"), .region = getenv("FLOE_S3_REGION")};
    struct floe_error err = {0};
    if (!c.bucket || !c.region)
        fail_msg("S3SERVER_BUCKET is not set: run this through tests/support/s3server run");
    snprintf(c.credentials.access_key, sizeof c.credentials.access_key, "%s", getenv("AWS_ACCESS_KEY_ID"));
    snprintf(c.credentials.secret_key, sizeof c.credentials.secret_key, "%s",
             getenv("AWS_SECRET_ACCESS_KEY"));
    c.connections = 4;
    proxy_start(&t->proxy, getenv("FLOE_S3_ENDPOINT"));
    store_rig_open(&t->rig);
    c.endpoint = t->proxy.endpoint;
    if (floe_store_s3_create(&t->rig.store, t->rig.loop, &c, &err) != FLOE_OK)
        fail_msg("%s", err.msg);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct test *t = *state;
    store_rig_close(&t->rig);
    proxy_stop(&t->proxy);
    free(t);
    return 0;
}

static const struct floe_bufslice one = {.p = (const uint8_t *)"body", .n = 4};

static struct floe_store_req put_req(struct test *t, enum floe_store_cond cond, const char *key,
                                     uint32_t attempts)
{
    struct floe_store_req r = store_rig_req(&t->rig, FLOE_STORE_PUT, key);
    r.cond = cond;
    r.body = &one;
    r.body_count = 1;
    r.attempts = attempts;
    snprintf(r.nonce, sizeof r.nonce, "nonce-of-%s", key);
    return r;
}

/* Is the object there, with the nonce of put_req? */
static bool landed(struct test *t, const char *key)
{
    struct floe_store_req r = store_rig_req(&t->rig, FLOE_STORE_HEAD, key);
    enum floe_err rc = store_rig_do(&t->rig, &r);
    assert_true(rc == FLOE_OK || rc == FLOE_ENOTFOUND);
    bool yes = rc == FLOE_OK;
    if (yes)
        assert_string_equal(r.got_nonce + strlen("nonce-of-"), key);
    floe_store_req_fini(&r);
    return yes;
}

static void ambiguous_statuses(void **state)
{
    struct test *t = *state;
    static const int codes[] = {409, 500, 502, 503, 504};
    for (size_t i = 0; i < FLOE_COUNTOF(codes); i++) {
        for (int applied = 0; applied < 2; applied++) {
            char key[32];
            snprintf(key, sizeof key, "chain-%d-%d", codes[i], applied);
            proxy_tell(&t->proxy, "rule r %s %d method=PUT times=1", applied ? "apply-status" : "status",
                       codes[i]);
            struct floe_store_req r = put_req(t, FLOE_PUT_CREATE, key, 1);
            assert_int_equal(store_rig_do(&t->rig, &r), FLOE_EINDETERMINATE);
            assert_int_equal(r.sent, 1);
            proxy_tell(&t->proxy, "clear");
            assert_int_equal(landed(t, key), applied);
        }
    }
}

static void clear_statuses(void **state)
{
    struct test *t = *state;
    static const struct {
        int status;
        enum floe_err code;
    } cases[] = {{403, FLOE_EDENIED},
                 {507, FLOE_ENOSPACE},
                 {501, FLOE_EUNSUPPORTED},
                 {412, FLOE_EEXISTS},
                 {400, FLOE_EIO}};
    for (size_t i = 0; i < FLOE_COUNTOF(cases); i++) {
        proxy_tell(&t->proxy, "rule r status %d method=PUT", cases[i].status);
        struct floe_store_req r = put_req(t, FLOE_PUT_CREATE, "clear", 3);
        assert_int_equal(store_rig_do(&t->rig, &r), cases[i].code);
        assert_int_equal(r.sent, 1); /* no repeat of a clear word */
        proxy_tell(&t->proxy, "clear");
    }
}

static void repeats(void **state)
{
    struct test *t = *state;
    struct floe_store_req r = put_req(t, FLOE_PUT_CREATE, "again", 3);
    proxy_tell(&t->proxy, "rule r status 500 method=PUT times=1");
    assert_int_equal(store_rig_do(&t->rig, &r), FLOE_OK);
    assert_int_equal(r.sent, 2);
    char version[FLOE_STORE_VERSION_MAX];
    memcpy(version, r.version, sizeof version);

    /* The own earlier copy answers the second: create says EEXISTS, replace that nobody knows. */
    proxy_tell(&t->proxy, "rule r2 apply-status 500 method=PUT times=1");
    r = put_req(t, FLOE_PUT_CREATE, "own", 2);
    assert_int_equal(store_rig_do(&t->rig, &r), FLOE_EEXISTS);
    assert_int_equal(r.sent, 2);
    proxy_tell(&t->proxy, "rule r3 apply-status 500 method=PUT times=1");
    r = put_req(t, FLOE_PUT_REPLACE, "again", 2);
    static const struct floe_bufslice other = {.p = (const uint8_t *)"other", .n = 5};
    r.body = &other;
    memcpy(r.if_version, version, sizeof version);
    assert_int_equal(store_rig_do(&t->rig, &r), FLOE_EINDETERMINATE);
    assert_int_equal(r.sent, 2);
    store_rig_expect(&t->rig, "again", "other");

    proxy_tell(&t->proxy, "rule g status 503 method=GET times=2");
    r = store_rig_req(&t->rig, FLOE_STORE_GET, "again");
    r.attempts = 3;
    assert_int_equal(store_rig_do(&t->rig, &r), FLOE_OK);
    assert_int_equal(r.sent, 3);
    floe_store_req_fini(&r);
    proxy_tell(&t->proxy, "rule l status 503 method=LIST");
    r = store_rig_req(&t->rig, FLOE_STORE_LIST, "");
    r.attempts = 3;
    assert_int_equal(store_rig_do(&t->rig, &r), FLOE_EUNAVAILABLE);
    assert_int_equal(r.sent, 3);
}

/* An answer lost on a kept connection: curl would send the request again by itself. */
static void lost_answers(void **state)
{
    struct test *t = *state;
    for (int i = 0; i < 8; i++) {
        struct floe_store_req get = store_rig_req(&t->rig, FLOE_STORE_HEAD, "warm");
        (void)store_rig_do(&t->rig, &get);
    }
    proxy_tell(&t->proxy, "reset");
    proxy_tell(&t->proxy, "rule r drop-answer method=PUT");
    struct floe_store_req r = put_req(t, FLOE_PUT_CREATE, "lost", 1);
    assert_int_equal(store_rig_do(&t->rig, &r), FLOE_EINDETERMINATE);
    assert_int_equal(r.sent, 1);
    assert_int_equal(proxy_count(&t->proxy, "PUT other", "requests"), 1);
    assert_true(landed(t, "lost"));
    proxy_tell(&t->proxy, "clear");
    proxy_tell(&t->proxy, "rule r drop method=PUT");
    r = put_req(t, FLOE_PUT_CREATE, "never", 1);
    assert_int_equal(store_rig_do(&t->rig, &r), FLOE_EINDETERMINATE);
    assert_int_equal(r.sent, 1);
    assert_false(landed(t, "never"));
    proxy_tell(&t->proxy, "rule g drop method=GET times=2");
    r = store_rig_req(&t->rig, FLOE_STORE_GET, "lost");
    r.attempts = 4;
    if (store_rig_do(&t->rig, &r) != FLOE_OK)
        fail_msg("%s", r.err.msg);
    floe_store_req_fini(&r);
}

static void cut_bodies(void **state)
{
    struct test *t = *state;
    struct floe_store_req r = put_req(t, FLOE_PUT_CREATE, "cut", 1);
    assert_int_equal(store_rig_do(&t->rig, &r), FLOE_OK);
    proxy_tell(&t->proxy, "rule r cut 2 method=GET times=1");
    r = store_rig_req(&t->rig, FLOE_STORE_GET, "cut");
    r.attempts = 2;
    assert_int_equal(store_rig_do(&t->rig, &r), FLOE_OK);
    assert_memory_equal(r.data->data, "body", 4);
    floe_store_req_fini(&r);
    proxy_tell(&t->proxy, "rule r2 cut 2 method=GET");
    assert_int_equal(store_rig_do(&t->rig, &r), FLOE_ECORRUPT);
    assert_null(r.data);
    assert_int_equal(r.sent, 2);
}

/* The same in the middle of a large range, which goes on a connection of its own and then the ordinary way.
 */
static void cut_ranges(void **state)
{
    struct test *t = *state;
    static const uint8_t bytes[1 << 20] = {7};
    static const struct floe_bufslice body = {.p = bytes, .n = sizeof bytes};
    struct floe_store_req r = put_req(t, FLOE_PUT_CREATE, "cut-range", 1);
    r.body = &body;
    assert_int_equal(store_rig_do(&t->rig, &r), FLOE_OK);
    floe_store_req_fini(&r);
    static const char *const rules[] = {"cut 300000", "drop", "swallow", "status 503", "status 404"};
    for (size_t i = 0; i < FLOE_COUNTOF(rules); i++) {
        proxy_tell(&t->proxy, "rule r %s method=GET times=1", rules[i]);
        r = store_rig_req(&t->rig, FLOE_STORE_GET, "cut-range");
        r.length = sizeof bytes;
        r.attempts = 3;
        r.try_us = 100000 + (strcmp(rules[i], "swallow") ? 5000000 : 0);
        if (store_rig_do(&t->rig, &r) != FLOE_OK)
            fail_msg("%s: %s", rules[i], r.err.msg);
        assert_int_equal(r.data->n, sizeof bytes);
        assert_memory_equal(r.data->data, bytes, sizeof bytes);
        assert_int_equal(r.sent, 2);
        floe_store_req_fini(&r);
        proxy_tell(&t->proxy, "clear");
    }
}

/* A PUT that is late: its deadline passes, then it lands. */
static void late_puts(void **state)
{
    struct test *t = *state;
    proxy_tell(&t->proxy, "rule r hold method=PUT key=late");
    struct floe_store_req r = put_req(t, FLOE_PUT_CREATE, "late", 1);
    r.timeout_us = 300000;
    assert_int_equal(store_rig_do(&t->rig, &r), FLOE_EINDETERMINATE);
    assert_int_equal(r.sent, 1);
    assert_false(landed(t, "late"));
    assert_int_equal(proxy_held(&t->proxy), 1);
    proxy_tell(&t->proxy, "clear");
    for (int i = 0; i < 100 && proxy_count(&t->proxy, "PUT other", "open") > 0; i++)
        store_rig_run_us(&t->rig, 10000);
    assert_true(landed(t, "late"));
}

/* Data that is held up on every connection does not hold up control requests. */
static void control_passes(void **state)
{
    struct test *t = *state;
    struct floe_store_req r[12];
    proxy_tell(&t->proxy, "rule r hold key=chain");
    for (int i = 0; i < 12; i++) {
        char key[32];
        snprintf(key, sizeof key, "chain/%d", i);
        r[i] = put_req(t, FLOE_PUT_CREATE, key, 1);
        floe_store_submit(t->rig.store, &r[i]);
    }
    for (int i = 0; i < 200 && proxy_held(&t->proxy) < 4; i++)
        store_rig_run_us(&t->rig, 5000);
    assert_int_equal(proxy_held(&t->proxy), 4); /* all connections there are for data */
    struct floe_store_req c[20];
    for (int i = 0; i < 20; i++) {
        char key[32];
        snprintf(key, sizeof key, "table/%d", i);
        c[i] = put_req(t, FLOE_PUT_CREATE, key, 1);
        c[i].cls = FLOE_STORE_CONTROL;
        c[i].timeout_us = 5000000;
    }
    store_rig_do_all(&t->rig, c, 20);
    for (int i = 0; i < 20; i++)
        assert_int_equal(c[i].err.code, FLOE_OK);
    assert_int_equal(proxy_held(&t->proxy), 4);
    t->rig.pending = 12;
    proxy_tell(&t->proxy, "clear");
    floe_loop_uv_run(t->rig.uv);
    for (int i = 0; i < 12; i++)
        assert_int_equal(r[i].err.code, FLOE_OK);
    assert_int_equal(proxy_count(&t->proxy, "PUT chain", "2xx"), 12);
    assert_int_equal(proxy_count(&t->proxy, "PUT chain", "up"), 48);
    assert_int_equal(proxy_count(&t->proxy, "PUT table", "2xx"), 20);
}

static void store_away(void **state)
{
    struct test *t = *state;
    struct floe_store_req r = put_req(t, FLOE_PUT_CREATE, "away", 1);
    proxy_tell(&t->proxy, "down");
    assert_int_equal(store_rig_do(&t->rig, &r), FLOE_EREFUSED);
    assert_int_equal(r.sent, 0);
    proxy_tell(&t->proxy, "up");
    assert_int_equal(store_rig_do(&t->rig, &r), FLOE_OK);
    proxy_tell(&t->proxy, "rule r swallow method=GET");
    r = store_rig_req(&t->rig, FLOE_STORE_GET, "away");
    r.timeout_us = 200000;
    r.attempts = 5;
    assert_int_equal(store_rig_do(&t->rig, &r), FLOE_ETIMEOUT);
    assert_int_equal(r.sent, 1);
}

/* A read whose answer is lost is repeated after its attempt's own limit; without one it waits. */
static void slow_attempts(void **state)
{
    struct test *t = *state;
    struct floe_store_req r = put_req(t, FLOE_PUT_CREATE, "slow", 1);
    assert_int_equal(store_rig_do(&t->rig, &r), FLOE_OK);
    proxy_tell(&t->proxy, "rule r swallow method=GET times=2");
    r = store_rig_req(&t->rig, FLOE_STORE_GET, "slow");
    r.attempts = 4;
    r.try_us = 100000;
    r.timeout_us = 10000000;
    uint64_t t0 = floe_loop_now_us(t->rig.loop);
    if (store_rig_do(&t->rig, &r) != FLOE_OK)
        fail_msg("%s", r.err.msg);
    uint64_t took = floe_loop_now_us(t->rig.loop) - t0;
    assert_int_equal(r.sent, 3);
    assert_true(took >= 300000 && took < 5000000);
    floe_store_req_fini(&r);
    /* The last attempt that is allowed has the rest of the time: a slow answer still counts. */
    proxy_tell(&t->proxy, "rule d delay 400 method=GET");
    r = store_rig_req(&t->rig, FLOE_STORE_GET, "slow");
    r.attempts = 2;
    r.try_us = 100000;
    assert_int_equal(store_rig_do(&t->rig, &r), FLOE_OK);
    assert_int_equal(r.sent, 2);
    floe_store_req_fini(&r);
}

/* Retries have a budget: an outage is not answered with a storm. */
static void budget(void **state)
{
    struct test *t = *state;
    enum { N = 100 };
    static struct floe_store_req r[N];
    proxy_tell(&t->proxy, "rule r status 503");
    for (int i = 0; i < N; i++) {
        r[i] = store_rig_req(&t->rig, FLOE_STORE_HEAD, "b");
        r[i].attempts = 10;
    }
    store_rig_do_all(&t->rig, r, N);
    uint32_t sent = 0;
    for (int i = 0; i < N; i++) {
        assert_int_equal(r[i].err.code, FLOE_EUNAVAILABLE);
        sent += r[i].sent;
    }
    assert_true(sent >= N && sent <= N + 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ambiguous_statuses, setup, teardown),
        cmocka_unit_test_setup_teardown(clear_statuses, setup, teardown),
        cmocka_unit_test_setup_teardown(repeats, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(cut_bodies, setup, teardown),
        cmocka_unit_test_setup_teardown(cut_ranges, setup, teardown),
        cmocka_unit_test_setup_teardown(late_puts, setup, teardown),
        cmocka_unit_test_setup_teardown(control_passes, setup, teardown),
        cmocka_unit_test_setup_teardown(store_away, setup, teardown),
        cmocka_unit_test_setup_teardown(slow_attempts, setup, teardown),
        cmocka_unit_test_setup_teardown(budget, setup, teardown),
    };
    return cmocka_run_group_tests_name("integration.store_faults", tests, NULL, NULL);
}
