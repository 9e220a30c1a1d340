/* Subscriptions by regular expression: RE2's syntax, as Apache Kafka's coordinator has it, matched by PCRE2.
 *
 * What PCRE2 has beyond RE2 is refused first: assertions that look around, back references, recursion,
 * possessive and atomic groups, verbs. What is left is matched by PCRE2's second algorithm, which follows all
 * ways at once instead of going back, so that the time is bounded by the lengths of name and expression; a
 * limit on its steps stands behind that. A whole name must match. */
#include "consumer_int.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

#define REGEX_BYTES_MAX 4096
#define REGEX_STEPS_MAX 100000
#define REGEX_WORK 4096 /* of the matcher, in ints */

static const char *foreign_escape(char c)
{
    return (c >= '1' && c <= '9') || strchr("gkGKRXhHNVZcuUL", c)
               ? "an escape sequence that RE2 does not have"
               : NULL;
}

static bool is_flag(char c)
{
    return c == 'i' || c == 'm' || c == 's' || c == 'U' || c == '-';
}

/* Behind "(?": a group without a number, with a name, or flags. */
static bool own_group(const char *p, const char *end)
{
    if (p < end && (*p == ':' || (*p == 'P' && p + 1 < end && p[1] == '<')))
        return true;
    if (p + 1 < end && *p == '<')
        return p[1] != '=' && p[1] != '!';
    const char *from = p;
    while (p < end && is_flag(*p))
        p++;
    return p > from && p < end && (*p == ')' || *p == ':');
}

/* Why RE2 would not take it, where PCRE2 would. */
static const char *foreign(struct floe_kstr e)
{
    const char *p = e.p, *end = e.p + e.n;
    bool set = false, repeat = false;
    for (; p < end; p++) {
        bool again = repeat;
        repeat = false;
        if (*p == '\\' && p + 1 < end && p[1] == 'Q') { /* to \E all is text */
            while (p + 1 < end && !(p[0] == '\\' && p[1] == 'E'))
                p++;
            p++;
        } else if (*p == '\\' && p + 1 < end) {
            const char *why = !set || strchr("123456789", p[1]) ? foreign_escape(*++p) : (p++, NULL);
            if (why)
                return why;
        } else if (set) {
            set = *p != ']';
        } else if (*p == '[') {
            set = true;
            p += p + 1 < end && p[1] == '^';
            p += p + 1 < end && p[1] == ']'; /* the first one is itself */
        } else if (*p == '(' && p + 1 < end && p[1] == '*') {
            return "a repetition of nothing";
        } else if (*p == '(' && p + 1 < end && p[1] == '?' && !own_group(p + 2, end)) {
            return "a group that RE2 does not have";
        } else if (again && (*p == '+' || *p == '*')) {
            return "a repetition of a repetition";
        } else {
            repeat = *p == '*' || *p == '+' || *p == '?' || *p == '}';
        }
    }
    return NULL;
}

static pcre2_code *compile(struct floe_kstr e, char why[REGEX_WHY])
{
    int code;
    PCRE2_SIZE at;
    const char *no = e.n > REGEX_BYTES_MAX ? "it is longer than 4096 bytes" : foreign(e);
    if (no) {
        snprintf(why, REGEX_WHY, "%s", no);
        return NULL;
    }
    pcre2_code *re =
        pcre2_compile((PCRE2_SPTR)e.p, (PCRE2_SIZE)e.n,
                      PCRE2_ANCHORED | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
    if (!re) {
        int n = snprintf(why, REGEX_WHY, "at %zu: ", (size_t)at);
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why + n, REGEX_WHY - (size_t)n);
    }
    return re;
}

struct matcher {
    pcre2_code *re;
    pcre2_match_data *data;
    pcre2_match_context *limits;
    int work[REGEX_WORK];
};

/* The longest match is told first: does it reach the end? Too much work is no match. */
static bool matches(struct matcher *m, const char *name, size_t n)
{
    int rc = pcre2_dfa_match(m->re, (PCRE2_SPTR)name, n, 0, 0, m->data, m->limits, m->work, REGEX_WORK);
    return rc >= 0 && pcre2_get_ovector_pointer(m->data)[1] == n;
}

static bool matcher_init(struct matcher *m, struct floe_kstr e)
{
    char why[REGEX_WHY];
    m->re = compile(e, why);
    m->data = m->re ? pcre2_match_data_create(1, NULL) : NULL;
    m->limits = m->data ? pcre2_match_context_create(NULL) : NULL;
    if (m->limits) {
        pcre2_set_match_limit(m->limits, REGEX_STEPS_MAX);
        pcre2_set_depth_limit(m->limits, 250);
    }
    return m->limits != NULL;
}

static void matcher_fini(struct matcher *m)
{
    pcre2_match_context_free(m->limits);
    pcre2_match_data_free(m->data);
    pcre2_code_free(m->re);
}

bool regex_check(struct floe_kstr e, char why[REGEX_WHY])
{
    pcre2_code *re = compile(e, why);
    pcre2_code_free(re);
    return re != NULL;
}

bool regex_matches(struct floe_kstr e, struct floe_kstr name)
{
    struct matcher m;
    bool yes = matcher_init(&m, e) && matches(&m, name.p, (size_t)name.n);
    matcher_fini(&m);
    return yes;
}

struct floe_kstr *regex_topics(struct floe_kstr e, struct floe_catalog *topics, uint32_t *n,
                               struct floe_arena *a)
{
    uint32_t all = floe_catalog_list(topics, NULL, 0), kept = 0;
    const struct floe_topic **t = consumer_alloc(a, all, sizeof *t);
    struct floe_kstr *out = consumer_alloc(a, all, sizeof *out);
    struct matcher m;
    if (all > 0)
        floe_catalog_list(topics, t, all);
    all = matcher_init(&m, e) ? all : 0; /* one that was taken compiles */
    for (uint32_t i = 0; i < all; i++) {
        size_t length = strlen(t[i]->name);
        if (matches(&m, t[i]->name, length))
            out[kept++] = floe_kstr_n(t[i]->name, length);
    }
    matcher_fini(&m);
    *n = kept;
    return out;
}
