/* The simulated store: what each fault does to the bucket and to the answer. */
#include <floe_cmocka.h>

#include <stdio.h>

#include <floe/base/assert.h>
#include <floe/sim.h>

struct world {
    struct floe_sim *sim;
    struct floe_sim_bucket *bucket;
    struct floe_sim_node *node;
    struct floe_store *store;
};
static struct world open_world(uint64_t seed)
{
    struct world w = {.sim = floe_sim_create(seed)};
    w.bucket = floe_sim_bucket_create(w.sim);
    w.node = floe_sim_node_create(w.sim, "a");
    w.store = floe_sim_store_create(w.bucket, w.node);
    return w;
}
static void on_done(struct floe_store_req *r)
{
    *(bool *)r->user = true;
}
static bool is_set(void *user)
{
    return *(bool *)user;
}
static enum floe_err run(struct world *w, struct floe_store_req *r)
{
    bool done = false;
    r->done = on_done;
    r->user = &done;
    floe_store_submit(w->store, r);
    assert_false(done);
    assert_true(floe_sim_run_until(w->sim, is_set, &done, 120000000));
    if (r->err.code)
        assert_true(r->err.msg[0]);
    return r->err.code;
}
static struct floe_store_req put_req(enum floe_store_cond cond, const char *key, struct floe_bufslice *body)
{
    struct floe_store_req r = {
        .kind = FLOE_STORE_PUT, .cond = cond, .nonce = "n1", .body = body, .body_count = 1};
    snprintf(r.key, sizeof r.key, "%s", key);
    return r;
}
static struct floe_bufslice text(const char *s)
{
    return (struct floe_bufslice){.p = (const uint8_t *)s, .n = strlen(s)};
}

static void conditions_hold(void **state)
{
    (void)state;
    struct world w = open_world(1);
    struct floe_bufslice body = text("hello");
    struct floe_store_req r = put_req(FLOE_PUT_CREATE, "k", &body);
    char v[FLOE_STORE_VERSION_MAX];
    assert_int_equal(run(&w, &r), FLOE_OK);
    memcpy(v, r.version, sizeof v);
    assert_int_equal(run(&w, &r), FLOE_EEXISTS);
    floe_store_req_fini(&r);
    struct floe_store_req g = {.kind = FLOE_STORE_GET, .key = "k", .offset = -3, .length = 10};
    assert_int_equal(run(&w, &g), FLOE_OK);
    assert_int_equal(g.size, 5);
    assert_int_equal(g.data->n, 3);
    assert_memory_equal(g.data->data, "llo", 3);
    assert_string_equal(g.got_nonce, "n1");
    assert_string_equal(g.version, v);
    floe_store_req_fini(&g);
    body = text("other");
    r = put_req(FLOE_PUT_REPLACE, "k", &body);
    snprintf(r.if_version, sizeof r.if_version, "stale");
    assert_int_equal(run(&w, &r), FLOE_ECONFLICT);
    memcpy(r.if_version, v, sizeof v);
    assert_int_equal(run(&w, &r), FLOE_OK);
    assert_string_not_equal(r.version, v);
    r = put_req(FLOE_PUT_REPLACE, "none", &body);
    memcpy(r.if_version, v, sizeof v);
    assert_int_equal(run(&w, &r), FLOE_ECONFLICT);
    r = put_req(FLOE_PUT_CREATE, "a//b", &body);
    assert_int_equal(run(&w, &r), FLOE_EINVAL);
    floe_sim_destroy(&w.sim);
}

static void lists_page_in_order(void **state)
{
    (void)state;
    struct world w = open_world(1);
    for (int i = 0; i < 25; i++) {
        char key[16];
        snprintf(key, sizeof key, "l/%02d", (i * 7) % 25);
        floe_sim_bucket_put(w.bucket, key, "x", 1, "");
    }
    floe_sim_bucket_put(w.bucket, "k", "x", 1, "");
    floe_sim_bucket_put(w.bucket, "m", "x", 1, "");
    struct floe_store_req r = {.kind = FLOE_STORE_LIST, .key = "l/", .max_keys = 10};
    int n = 0;
    for (bool more = true; more;) {
        assert_int_equal(run(&w, &r), FLOE_OK);
        for (uint32_t i = 0; i < r.entry_count; i++) {
            char want[16];
            snprintf(want, sizeof want, "l/%02d", n++);
            assert_string_equal(r.entries[i].key, want);
            snprintf(r.start_after, sizeof r.start_after, "%s", want);
        }
        more = r.truncated;
        floe_store_req_fini(&r);
    }
    assert_int_equal(n, 25);
    floe_sim_destroy(&w.sim);
}

static void faults_do_what_they_say(void **state)
{
    (void)state;
    static const struct {
        enum floe_sim_fault fault;
        enum floe_err put, get;
        bool applied, later; /* at the answer; 30 s later */
    } c[] = {
        {FLOE_SIM_NONE, FLOE_OK, FLOE_OK, true, true},
        {FLOE_SIM_LOST_REQUEST, FLOE_EINDETERMINATE, FLOE_ETIMEOUT, false, false},
        {FLOE_SIM_LOST_ANSWER, FLOE_EINDETERMINATE, FLOE_ETIMEOUT, true, true},
        {FLOE_SIM_BROKEN, FLOE_EINDETERMINATE, FLOE_EUNAVAILABLE, true, true},
        {FLOE_SIM_LATE, FLOE_EINDETERMINATE, FLOE_EUNAVAILABLE, false, true},
        {FLOE_SIM_TWICE, FLOE_EEXISTS, FLOE_OK, true, true},
        {FLOE_SIM_E409, FLOE_EINDETERMINATE, FLOE_EUNAVAILABLE, false, false},
        {FLOE_SIM_E409_APPLIED, FLOE_EINDETERMINATE, FLOE_EUNAVAILABLE, true, true},
        {FLOE_SIM_E500, FLOE_EINDETERMINATE, FLOE_EUNAVAILABLE, false, false},
        {FLOE_SIM_E500_APPLIED, FLOE_EINDETERMINATE, FLOE_EUNAVAILABLE, true, true},
        {FLOE_SIM_E503, FLOE_EINDETERMINATE, FLOE_EUNAVAILABLE, false, false},
        {FLOE_SIM_DENIED, FLOE_EDENIED, FLOE_EDENIED, false, false},
        {FLOE_SIM_NOSPACE, FLOE_ENOSPACE, FLOE_ENOSPACE, false, false},
        {FLOE_SIM_REFUSED, FLOE_EREFUSED, FLOE_EREFUSED, false, false},
        {FLOE_SIM_TRUNCATED, FLOE_ECORRUPT, FLOE_ECORRUPT, true, true},
        {FLOE_SIM_FLIPPED, FLOE_OK, FLOE_OK, true, true},
        {FLOE_SIM_HANG, FLOE_OK, FLOE_OK, true, true},
        {FLOE_SIM_ABSENT, FLOE_OK, FLOE_ENOTFOUND, true, true},
    };
    for (size_t i = 0; i < FLOE_COUNTOF(c); i++) {
        struct world w = open_world(i);
        struct floe_bufslice body = text("hello");
        struct floe_store_req r = put_req(FLOE_PUT_CREATE, "p", &body);
        struct floe_store_req g = {.kind = FLOE_STORE_GET, .key = "g", .length = 10};
        floe_sim_bucket_put(w.bucket, "g", "hello", 5, "");
        floe_sim_bucket_rule(w.bucket, &(struct floe_sim_rule){.fault = c[i].fault, .delay_us = 5000000});
        if (c[i].fault != FLOE_SIM_TRUNCATED) {
            assert_int_equal(run(&w, &r), c[i].put);
            assert_int_equal(floe_sim_bucket_find(w.bucket, "p") != NULL, c[i].applied);
        }
        assert_int_equal(r.sent, c[i].fault != FLOE_SIM_REFUSED && c[i].fault != FLOE_SIM_TRUNCATED);
        assert_int_equal(run(&w, &g), c[i].get);
        if (c[i].fault == FLOE_SIM_FLIPPED)
            assert_memory_not_equal(g.data->data, "hello", 5);
        floe_sim_run_for(w.sim, 30000000);
        if (c[i].fault != FLOE_SIM_TRUNCATED)
            assert_int_equal(floe_sim_bucket_find(w.bucket, "p") != NULL, c[i].later);
        floe_store_req_fini(&r);
        floe_store_req_fini(&g);
        floe_sim_destroy(&w.sim);
    }
}

static void attempts_get_past_passing_trouble(void **state)
{
    (void)state;
    struct world w = open_world(1);
    floe_sim_bucket_put(w.bucket, "g", "hello", 5, "");
    floe_sim_bucket_rule(w.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_E503, .times = 2});
    struct floe_store_req g = {.kind = FLOE_STORE_GET, .key = "g", .length = 10, .attempts = 2};
    assert_int_equal(run(&w, &g), FLOE_EUNAVAILABLE);
    assert_int_equal(g.sent, 2);
    floe_sim_bucket_rule(w.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_TRUNCATED, .times = 1});
    assert_int_equal(run(&w, &g), FLOE_OK);
    assert_int_equal(g.sent, 2);
    floe_store_req_fini(&g);
    floe_sim_destroy(&w.sim);
}

static void a_slow_attempt_is_repeated(void **state)
{
    (void)state;
    struct world w = open_world(1);
    floe_sim_bucket_put(w.bucket, "g", "hello", 5, "");
    floe_sim_bucket_rule(w.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_LOST_ANSWER, .times = 2});
    struct floe_store_req g = {
        .kind = FLOE_STORE_GET, .key = "g", .length = 10, .attempts = 4, .try_us = 100000};
    uint64_t t0 = floe_sim_now_us(w.sim);
    assert_int_equal(run(&w, &g), FLOE_OK);
    assert_int_equal(g.sent, 3);
    assert_true(floe_sim_now_us(w.sim) - t0 >= 300000 && floe_sim_now_us(w.sim) - t0 < 400000);
    floe_store_req_fini(&g);
    floe_sim_destroy(&w.sim);
}

/* Nothing is heard of a request after its node's death or its cancel; on the wire it goes on. */
static void death_and_cancel_drop_answers_only(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        struct world w = open_world(3);
        struct floe_budget budget;
        floe_budget_init(&budget, 1 << 20);
        struct floe_buf *b = floe_buf_create(5, &budget);
        memcpy(b->data, "bytes", 5);
        struct floe_bufslice body = {b, b->data, 5};
        struct floe_store_req r = put_req(FLOE_PUT_CREATE, "p", &body);
        bool done = false;
        r.done = on_done;
        r.user = &done;
        if (how >= 2)
            floe_sim_node_kill_at(w.node, 1, how == 2);
        floe_store_submit(w.store, &r);
        floe_buf_unref(b);
        if (how == 0)
            floe_store_cancel(w.store, &r);
        if (how == 1)
            floe_sim_node_kill(w.node);
        if (how)
            assert_int_equal(floe_budget_used(&budget), 0); /* the dead keep no memory of the node's */
        floe_store_cancel(w.store, &r);
        floe_sim_run_for(w.sim, 60000000);
        assert_false(done);
        assert_int_equal(floe_sim_bucket_find(w.bucket, "p") != NULL, how != 3);
        assert_int_equal(floe_budget_used(&budget), 0);
        floe_sim_destroy(&w.sim);
    }
}

static void a_stalled_node_hears_later(void **state)
{
    (void)state;
    struct world w = open_world(1);
    struct floe_bufslice body = text("hello");
    struct floe_store_req r = put_req(FLOE_PUT_CREATE, "p", &body);
    bool done = false;
    r.done = on_done;
    r.user = &done;
    floe_store_submit(w.store, &r);
    floe_sim_node_stall(w.node, 60000000, false);
    floe_sim_run_for(w.sim, 59000000);
    assert_non_null(floe_sim_bucket_find(w.bucket, "p"));
    assert_false(done);
    floe_sim_run_for(w.sim, 2000000);
    assert_true(done);
    assert_int_equal(r.err.code, FLOE_OK); /* the answer came before the time-out, and is heard before it */
    floe_store_req_fini(&r);
    floe_sim_destroy(&w.sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions_hold),
        cmocka_unit_test(lists_page_in_order),
        cmocka_unit_test(faults_do_what_they_say),
        cmocka_unit_test(attempts_get_past_passing_trouble),
        cmocka_unit_test(a_slow_attempt_is_repeated),
        cmocka_unit_test(death_and_cancel_drop_answers_only),
        cmocka_unit_test(a_stalled_node_hears_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
