/* Subscriptions by regular expression: RE2's syntax, as Apache Kafka's coordinator has it, matched by PCRE2.
 *
 * What PCRE2 has beyond RE2 is refused first: assertions that look around, back references, recursion,
 * possessive and atomic groups, verbs. What is left is matched by PCRE2's second algorithm, which follows all
 * ways at once instead of going back: a step for each way and byte of the name, and a step is the longer the
 * more ways there are. Steps are counted (PCRE2 calls back at each item) and bounded for all topics together,
 * ways by the matcher's memory: the core loop waits while names are matched. A whole name must match. */
#include "consumer_int.h"

#include <floe/base/log.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

#define REGEX_BYTES_MAX 4096
#define REGEX_STEPS_MIN 20000 /* for one expression and all topics, and for each topic so many more */
#define REGEX_STEPS_TOPIC 256
#define REGEX_WORK 2048 /* of the matcher, in ints */

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
                      PCRE2_ANCHORED | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT,
                      &code, &at, NULL);
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
    uint64_t steps; /* that are left */
    bool gave_up;   /* on a name: steps or memory did not suffice */
    int work[REGEX_WORK];
};

static int on_step(pcre2_callout_block *at, void *user)
{
    struct matcher *m = user;
    (void)at;
    return m->steps > 0 ? (m->steps--, 0) : PCRE2_ERROR_MATCHLIMIT;
}

/* The longest match is told first: does it reach the end? */
static bool matches(struct matcher *m, const char *name, size_t n)
{
    int rc = pcre2_dfa_match(m->re, (PCRE2_SPTR)name, n, 0, 0, m->data, m->limits, m->work, REGEX_WORK);
    m->gave_up |= rc < 0 && rc != PCRE2_ERROR_NOMATCH;
    return rc >= 0 && pcre2_get_ovector_pointer(m->data)[1] == n;
}

static bool matcher_init(struct matcher *m, struct floe_kstr e, uint32_t names, char why[REGEX_WHY])
{
    m->steps = REGEX_STEPS_MIN + (uint64_t)names * REGEX_STEPS_TOPIC;
    m->gave_up = false;
    m->re = compile(e, why);
    m->data = m->re ? pcre2_match_data_create(1, NULL) : NULL;
    m->limits = m->data ? pcre2_match_context_create(NULL) : NULL;
    if (m->limits) {
        pcre2_set_callout(m->limits, on_step, m);
        pcre2_set_depth_limit(m->limits, 250);
        pcre2_set_heap_limit(m->limits, 1024); /* KiB */
    }
    return m->limits != NULL;
}

static void matcher_fini(struct matcher *m)
{
    pcre2_match_context_free(m->limits);
    pcre2_match_data_free(m->data);
    pcre2_code_free(m->re);
}

bool regex_matches(struct floe_kstr e, struct floe_kstr name)
{
    struct matcher m;
    char why[REGEX_WHY];
    bool yes = matcher_init(&m, e, 1, why) && matches(&m, name.p, (size_t)name.n);
    matcher_fini(&m);
    return yes;
}

/* Names that match. False: why not all of them could be told. */
static bool find(struct floe_kstr e, struct floe_catalog *topics, struct floe_kstr **out, uint32_t *n,
                 struct floe_arena *a, char why[REGEX_WHY])
{
    uint32_t all = floe_catalog_list(topics, NULL, 0);
    const struct floe_topic **t = consumer_alloc(a, all, sizeof *t);
    struct matcher m;
    *n = 0;
    *out = consumer_alloc(a, all, sizeof **out);
    if (all > 0)
        floe_catalog_list(topics, t, all);
    bool ok = matcher_init(&m, e, all, why);
    for (uint32_t i = 0; ok && i < all; i++) {
        size_t length = strlen(t[i]->name);
        if (matches(&m, t[i]->name, length))
            (*out)[(*n)++] = floe_kstr_n(t[i]->name, length);
    }
    if (ok && m.gave_up)
        snprintf(why, REGEX_WHY, "matching the names of all topics takes too many steps");
    matcher_fini(&m);
    return ok && !m.gave_up;
}

bool regex_check(struct floe_kstr e, struct floe_catalog *topics, char why[REGEX_WHY])
{
    struct floe_kstr *names;
    struct floe_arena a;
    uint32_t n;
    pcre2_code *re = compile(e, why);
    pcre2_code_free(re);
    if (!re || !topics)
        return re != NULL;
    floe_arena_init(&a, SIZE_MAX / 2);
    bool ok = find(e, topics, &names, &n, &a, why);
    floe_arena_fini(&a);
    return ok;
}

struct floe_kstr *regex_topics(struct floe_kstr e, struct floe_catalog *topics, uint32_t *n,
                               struct floe_arena *a)
{
    struct floe_kstr *names;
    char why[REGEX_WHY];
    if (!find(e, topics, &names, n, a, why))
        floe_log_warn("group", "subscription \"%.*s\" gets %u of the topics: %s", FLOE_MIN(e.n, 200), e.p, *n,
                      why);
    return names;
}
