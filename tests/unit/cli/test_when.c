/* Times and durations of the command line. */
#include <floe_cmocka.h>

#include "cli/when.h"

#include <floe/base/assert.h>

static void datetimes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"1970-01-01T00:00", 0},
                {"1970-01-01T00:00:00.001Z", 1},
                {"1969-12-31T23:59:59.9", -100},
                {"2000-02-29", 951782400000},
                {"2000-02-29+01:00", 951778800000},
                {"2000-02-29T12:30:15", 951827415000},
                {"2026-11-28T06:22:27.123456", 1795846947123},
                {"2026-11-28T06:22:27+02:00", 1795839747000},
                {"2026-11-28T06:22:27-0130", 1795852347000},
                {"9999-12-31T23:59:59.999", 253402300799999}};
    static const char *const bad[] = {"",
                                      "x",
                                      "2026-11-2",
                                      "2026-11-28T",
                                      "2026-11-28.5",
                                      "2026-11-28:00",
                                      "2026-11-28 06:22",
                                      "2026-02-29T00:00",
                                      "2100-02-29T00:00",
                                      "2026-13-01T00:00",
                                      "2026-00-01T00:00",
                                      "2026-01-01T24:00",
                                      "2026-01-01T00:60",
                                      "2026-01-01T00:00:60",
                                      "2026-01-01T00:00:00.",
                                      "2026-01-01T00:00z",
                                      "2026-01-01T00:00+1",
                                      "2026-01-01T00:00+19:00",
                                      "2026-01-01T00:00Zx",
                                      "0000-01-01T00:00"};
    int64_t ms;
    struct floe_error err;
    for (size_t i = 0; i < FLOE_COUNTOF(good); i++) {
        assert_int_equal(floe_when_datetime(good[i].text, &ms, &err), FLOE_OK);
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < FLOE_COUNTOF(bad); i++)
        assert_int_equal(floe_when_datetime(bad[i], &ms, &err), FLOE_EINVAL);
}

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"P1D", 86400000}, {"PT1H", 3600000},       {"P7DT1H2M3S", 608523000}, {"PT0.25S", 250},
                {"PT0.0019S", 1},  {"P1W", 604800000},      {"90m", 5400000},          {"7d", 604800000},
                {"PT0S", 0},       {"P1DT0H0M0S", 86400000}};
    static const char *const bad[] = {
        "",      "P",    "PT",   "P1DT", "P1H",   "PT1D", "PT1S1H", "PT1H1H",          "P1.5D",
        "P1D1W", "-P1D", "P-1D", "1y",   "PT1Sx", "P1",   "P1DT5",  "P9999999999999D", "1000000000d"};
    int64_t ms;
    struct floe_error err;
    for (size_t i = 0; i < FLOE_COUNTOF(good); i++) {
        assert_int_equal(floe_when_duration(good[i].text, &ms, &err), FLOE_OK);
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < FLOE_COUNTOF(bad); i++)
        assert_int_equal(floe_when_duration(bad[i], &ms, &err), FLOE_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(datetimes), cmocka_unit_test(durations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
