/* Regular expressions of subscriptions: RE2's syntax, whole names, bounded time. */
#include <floe_cmocka.h>

#include "group/consumer_int.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

static bool check(struct floe_kstr e, char why[REGEX_WHY])
{
    struct regex_code *c = regex_compile(e, why);
    regex_code_free(c);
    return c != NULL;
}

static bool matches(struct floe_kstr e, const char *name)
{
    char why[REGEX_WHY];
    uint64_t steps = 20000;
    struct regex_code *c = regex_compile(e, why);
    assert_non_null(c);
    bool yes = regex_match(c, name, strlen(name), &steps) == REGEX_YES;
    regex_code_free(c);
    return yes;
}

static void test_matches(void **state)
{
    (void)state;
    static const struct {
        const char *e, *yes, *no;
    } t[] = {
        {"orders", "orders", "orders-2"},
        {"a|ab", "ab", "abc"},
        {"(?:eu|us)-[a-z]+\\.v\\d{1,2}", "eu-west.v12", "eu-west.v123"},
        {"(?i)Top.*", "topic", "atop"},
        {"(?P<name>x)y?", "xy", "xyy"},
        {"[^]a]+", "b", "a"},
        {"[[:alpha:]]+", "abc", "ab1"},
        {"\\Qa.b\\E.*", "a.bc", "axbc"},
        {"\\Q(?=\\1\\E+", "(?=\\1", "x"},
        {"a.*?b", "a1b2b", "a1b2c"},
        {"^x$", "x", "xx"},
        {".+", "anything", ""},
        {"a{0,1000}b", "aab", "a{0,1000}b"},
        {"[{]{1}2000}", "{2000}", "2000"},
    };
    for (size_t i = 0; i < FLOE_COUNTOF(t); i++) {
        char why[REGEX_WHY] = "";
        if (!check(floe_kstr(t[i].e), why))
            fail_msg("%s: %s", t[i].e, why);
        assert_true(matches(floe_kstr(t[i].e), t[i].yes));
        if (matches(floe_kstr(t[i].e), t[i].no))
            fail_msg("%s matches %s", t[i].e, t[i].no);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"(",      ")",       "[",      "a{2,1}",  "*",       "a**",
                                      "a++",    "a?+",     "(?=a)",  "(?!a)",   "(?<=a)",  "(?<!a)b",
                                      "(a)\\1", "(?>a)",   "(?R)",   "(?1)(a)", "(*FAIL)", "\\Ka",
                                      "\\G",    "(?|a|b)", "(?#a)",  "(?(1)a)", "\\g{1}",  "a{2}+",
                                      "\\C",    "(?P=a)",  "\\k<a>", "a\\",     "a{1001}", "a{2,1001}"};
    for (size_t i = 0; i < FLOE_COUNTOF(bad); i++) {
        char why[REGEX_WHY] = "";
        if (check(floe_kstr(bad[i]), why))
            fail_msg("%s was taken", bad[i]);
        assert_true(strlen(why) > 0);
    }
    char why[REGEX_WHY];
    static char many[5000];
    memset(many, 'a', sizeof many - 1);
    assert_false(check(floe_kstr(many), why));
}

/* What a matcher that goes back would never end. */
static void test_time(void **state)
{
    (void)state;
    static const char *const slow[] = {"(a+)+b",           "(a|a)*b",   "(a|aa)+b",
                                       "(.*)*(.*)*(.*)*b", "((a*)*)*b", "(a?){64}a{64}b"};
    static const char *const many[] = {"(a|a)*", "a*?", "(.*)*", "(?:a{0,9})", "(?:.*a)?", "[ab]?"};
    char name[250];
    memset(name, 'a', 249);
    name[249] = '\0';
    name[247] = 'b'; /* what must be there is */
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (size_t i = 0; i < FLOE_COUNTOF(slow); i++) {
        char why[REGEX_WHY];
        assert_true(check(floe_kstr(slow[i]), why));
        assert_false(matches(floe_kstr(slow[i]), name));
    }
    for (size_t i = 0; i < FLOE_COUNTOF(many); i++) {
        for (size_t times = 10; times < 500; times *= 2) {
            char e[8192] = "";
            size_t n = 0;
            for (size_t k = 0; k < times && n < 4000; k++)
                n += (size_t)snprintf(e + n, sizeof e - n, "%s", many[i]);
            e[n] = 'b';
            (void)matches(floe_kstr(e), name); /* or it gives up */
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    assert_true(to.tv_sec - from.tv_sec < 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
