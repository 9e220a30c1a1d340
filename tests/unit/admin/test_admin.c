/* Answers without the server around them, the metrics' text, utilisation, idle cost, the machine's limits. */
#include "floe_cmocka.h"

#include <floe/admin.h>
#include <floe/os/usage.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct floe_writer body;

static struct floe_admin_answer ask(const struct floe_sample *s, uint64_t now_us, const char *method,
                                    const char *path)
{
    floe_writer_fini(&body);
    floe_writer_init(&body, 1u << 20);
    struct floe_admin_answer a = floe_admin_handle(s, now_us, method, path, &body);
    assert_false(body.bad);
    floe_write_u8(&body, 0);
    return a;
}

static void health_follows_the_sample(void **state)
{
    (void)state;
    struct floe_sample s = {0};
    /* Nothing was told yet: alive, but not ready. */
    assert_int_equal(ask(&s, 5, "GET", "/healthz").status, 200);
    assert_int_equal(ask(&s, 5, "GET", "/readyz").status, 503);
    assert_string_equal((const char *)body.p, "starting\n");
    s.at_us = 1000000;
    for (s.phase = FLOE_ADMIN_STARTING; s.phase <= FLOE_ADMIN_ENDING; s.phase++) {
        assert_int_equal(ask(&s, 2000000, "GET", "/readyz").status,
                         s.phase == FLOE_ADMIN_SERVING ? 200 : 503);
        assert_int_equal(ask(&s, 2000000, "HEAD", "/healthz").status, 200);
    }
    s.phase = FLOE_ADMIN_SERVING;
    assert_int_equal(ask(&s, 999999, "GET", "/readyz").status, 200); /* taken while it was asked */
    assert_int_equal(ask(&s, s.at_us + FLOE_ADMIN_STALE_US - 1, "GET", "/readyz").status, 200);
    assert_int_equal(ask(&s, s.at_us + FLOE_ADMIN_STALE_US, "GET", "/readyz").status, 503);
    assert_string_equal((const char *)body.p, "the core loop does not turn\n");
    assert_int_equal(ask(&s, s.at_us + FLOE_ADMIN_STALE_US, "GET", "/healthz").status, 503);
}

static void other_requests_are_refused(void **state)
{
    (void)state;
    struct floe_sample s = {0};
    assert_int_equal(ask(&s, 1, "GET", "/").status, 404);
    assert_int_equal(ask(&s, 1, "GET", "/metrics/").status, 404);
    assert_int_equal(ask(&s, 1, "POST", "/nothing").status, 404);
    assert_int_equal(ask(&s, 1, "POST", "/metrics").status, 405);
    assert_int_equal(ask(&s, 1, "DELETE", "/readyz").status, 405);
    assert_int_equal(ask(&s, 1, "", "").status, 404);
}

static void text_has_what_the_sample_says(void **state)
{
    (void)state;
    struct floe_sample s = {.util_max = 0.25, .produced_bytes = 9007199254740991.0, .api_count = 2};
    s.apis[0] = (struct floe_api_count){.key = 0, .name = "Produce", .errors = 3};
    s.apis[1] = (struct floe_api_count){.key = 1, .name = "Fetch"};
    floe_hist_note(&s.apis[0].latency, 500);
    floe_hist_note(&s.apis[0].latency, 501);
    floe_hist_note(&s.apis[0].latency, UINT64_C(31000000));
    struct floe_admin_answer a = ask(&s, 1, "GET", "/metrics");
    const char *text = (const char *)body.p;
    assert_int_equal(a.status, 200);
    assert_string_equal(a.type, "text/plain; version=0.0.4; charset=utf-8");
    static const char *const lines[] = {
        "\nfloe_utilisation 0.25\n",
        "\nfloe_produced_bytes_total 9007199254740991\n",
        "\n# TYPE floe_request_seconds histogram\n",
        "\nfloe_request_seconds_bucket{api=\"Produce\",le=\"0.0005\"} 1\n",
        "\nfloe_request_seconds_bucket{api=\"Produce\",le=\"0.001\"} 2\n",
        "\nfloe_request_seconds_bucket{api=\"Produce\",le=\"30\"} 2\n",
        "\nfloe_request_seconds_bucket{api=\"Produce\",le=\"+Inf\"} 3\n",
        "\nfloe_request_seconds_sum{api=\"Produce\"} 31.001001\n",
        "\nfloe_request_seconds_count{api=\"Produce\"} 3\n",
        "\nfloe_requests_total{api=\"Produce\"} 3\n",
        "\nfloe_request_errors_total{api=\"Produce\"} 3\n",
        "\nfloe_requests_total{api=\"Fetch\"} 0\n",
        "\nfloe_put_seconds_count 0\n",
    };
    for (size_t i = 0; i < FLOE_COUNTOF(lines); i++)
        if (strstr(text, lines[i]) == NULL)
            fail_msg("there is no line %s", lines[i]);
    assert_null(strstr(text, "floe_request_seconds_count{api=\"Fetch\"}"));
}

static void the_list_names_every_metric(void **state)
{
    (void)state;
    struct floe_sample s = {0};
    struct floe_writer list;
    ask(&s, 1, "GET", "/metrics");
    floe_writer_init(&list, 1u << 20);
    floe_admin_list(&list, true);
    floe_write_u8(&list, 0);
    unsigned n = 0;
    for (const char *p = (const char *)body.p; (p = strstr(p, "# TYPE ")) != NULL; n++) {
        char name[128];
        p += 7;
        snprintf(name, sizeof name, "\"%.*s\"", (int)strcspn(p, " "), p);
        assert_non_null(strstr((const char *)list.p, name));
    }
    assert_true(n > 50);
    floe_writer_fini(&list);
    floe_writer_init(&list, 1u << 20);
    floe_admin_list(&list, false);
    floe_write_u8(&list, 0);
    assert_non_null(strstr((const char *)list.p, "floe_utilisation (gauge, share)\n"));
    floe_writer_fini(&list);
}

static struct floe_usage usage_at(uint64_t s)
{
    /* A second: half of two cores, most of it by the core loop; one of four PUT slots. */
    return (struct floe_usage){.at_us = s * 1000000,
                               .cpu_us = s * 1000000,
                               .core_cpu_us = s * 700000,
                               .cores = 2,
                               .memory = 30,
                               .memory_max = 100,
                               .put_us = s * 1000000,
                               .put_slots = 4,
                               .tier = 1,
                               .tier_max = 10,
                               .net_in = s * 500,
                               .net_out = s * 100,
                               .net_max = 1000};
}

static void near(double have, double want)
{
    if (fabs(have - want) > 0.02)
        fail_msg("%f, not %f", have, want);
}

static void utilisation_is_that_of_the_scarcest(void **state)
{
    (void)state;
    struct floe_utilisation u = {0};
    for (uint64_t s = 1; s <= 31; s++) {
        struct floe_usage now = usage_at(s);
        floe_utilisation_add(&u, &now);
        if (s == 1)
            assert_true(u.max == 0);
    }
    near(u.of[FLOE_RES_CORE], 0.7 * (1 - exp(-1))); /* thirty seconds are the time constant */
    for (uint64_t s = 32; s <= 300; s++) {
        struct floe_usage now = usage_at(s);
        floe_utilisation_add(&u, &now);
    }
    near(u.of[FLOE_RES_CPU], 0.5);
    near(u.of[FLOE_RES_CORE], 0.7);
    near(u.of[FLOE_RES_MEMORY], 0.3);
    near(u.of[FLOE_RES_PUTS], 0.25);
    near(u.of[FLOE_RES_TIER], 0.1);
    near(u.of[FLOE_RES_NETWORK], 0.5);
    near(u.max, 0.7);
    assert_int_equal(u.scarcest, FLOE_RES_CORE);
    /* No limit known, no share; counters that go back, and more than all, stay between 0 and 1. */
    struct floe_usage odd = {
        .at_us = 301000000, .cpu_us = 0, .core_cpu_us = UINT64_MAX, .net_in = UINT64_MAX};
    floe_utilisation_add(&u, &odd);
    for (int i = 0; i < FLOE_RESOURCES; i++)
        assert_true(u.of[i] >= 0 && u.of[i] <= 1);
    struct floe_utilisation before = u;
    floe_utilisation_add(&u, &odd); /* no time has passed */
    assert_true(before.max == u.max);
}

static void idle_costs_follow_brokers_and_lease(void **state)
{
    (void)state;
    struct floe_idle_cost one = floe_idle_cost(1, 10000), five = floe_idle_cost(5, 10000),
                          slow = floe_idle_cost(1, 20000);
    assert_true(one.usd_month > 0.5 && one.usd_month < 15);
    assert_true(five.puts == one.puts && five.gets > one.gets && five.usd_month > one.usd_month);
    near(slow.usd_month * 2, one.usd_month);
    assert_true(floe_idle_cost(0, 10000).usd_month == one.usd_month);
}

static void limits_are_read(void **state)
{
    (void)state;
    assert_true(floe_os_cpu_max("max 100000\n") == 0);
    assert_true(floe_os_cpu_max("150000 100000\n") == 1.5);
    assert_true(floe_os_cpu_max("50000 0\n") == 0);
    assert_true(floe_os_cpu_max("") == 0 && floe_os_cpu_max("-1 100000") == 0 && floe_os_cpu_max("7") == 0);
    assert_true(floe_os_cores() > 0);
    assert_true(floe_os_resident() > 1 << 16);
    uint64_t before = floe_os_thread_cpu_us(), from = floe_os_clock_us();
    while (floe_os_thread_cpu_us() < before + 2000)
        assert_true(floe_os_clock_us() - from < 20000000);
    assert_true(floe_os_cpu_us() >= 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health_follows_the_sample),
        cmocka_unit_test(other_requests_are_refused),
        cmocka_unit_test(text_has_what_the_sample_says),
        cmocka_unit_test(the_list_names_every_metric),
        cmocka_unit_test(utilisation_is_that_of_the_scarcest),
        cmocka_unit_test(idle_costs_follow_brokers_and_lease),
        cmocka_unit_test(limits_are_read),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    floe_writer_fini(&body);
    return rc;
}
