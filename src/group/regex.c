/* Regular expressions: RE2's syntax, as Apache Kafka's coordinator has it, matched by PCRE2.
 *
 * What PCRE2 has beyond RE2 is refused first: assertions that look around, back references, recursion,
 * possessive and atomic groups, verbs. What is left is matched by PCRE2's second algorithm, which follows all
 * ways at once instead of going back: a step for each way and byte of the name, and a step is the longer the
 * more ways there are. Steps are counted (PCRE2 calls back at each item), and ways are bounded by the
 * matcher's memory: a name takes a millisecond or two at most. A whole name must match. Which names are
 * matched, and when: regexes.c. */
#include "consumer_int.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define REGEX_BYTES_MAX 4096
#define REPEAT_MAX 1000 /* RE2's */
#define REGEX_WORK 1024 /* of the matcher, in ints: about 170 ways */

struct regex_code {
    pcre2_code *re;
    pcre2_match_data *data;
    pcre2_match_context *limits;
    uint64_t steps; /* that are left for the name */
};

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

/* At "{": a number of repetitions that RE2 refuses. What is no such number is text. */
static bool too_often(const char *p, const char *end)
{
    long n[2] = {0, 0};
    int i = 0;
    for (p++; p < end && (isdigit((unsigned char)*p) || (*p == ',' && i == 0)); p++) {
        if (*p == ',')
            i++;
        else
            n[i] = FLOE_MIN(n[i] * 10 + (*p - '0'), REPEAT_MAX + 1);
    }
    return p < end && *p == '}' && FLOE_MAX(n[0], n[1]) > REPEAT_MAX;
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
        } else if (*p == '{' && too_often(p, end)) {
            return "invalid repeat count";
        } else if (again && (*p == '+' || *p == '*')) {
            return "a repetition of a repetition";
        } else {
            repeat = *p == '*' || *p == '+' || *p == '?' || *p == '}';
        }
    }
    return NULL;
}

static int on_step(pcre2_callout_block *at, void *user)
{
    struct regex_code *c = user;
    (void)at;
    return c->steps > 0 ? (c->steps--, 0) : PCRE2_ERROR_MATCHLIMIT;
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

void regex_code_free(struct regex_code *c)
{
    if (!c)
        return;
    pcre2_match_context_free(c->limits);
    pcre2_match_data_free(c->data);
    pcre2_code_free(c->re);
    free(c);
}

struct regex_code *regex_compile(struct floe_kstr e, char why[REGEX_WHY])
{
    struct regex_code *c = calloc(1, sizeof *c);
    snprintf(why, REGEX_WHY, "no memory");
    if (c && (c->re = compile(e, why)) && (c->data = pcre2_match_data_create(1, NULL)) &&
        (c->limits = pcre2_match_context_create(NULL))) {
        pcre2_set_callout(c->limits, on_step, c);
        pcre2_set_depth_limit(c->limits, 250);
        pcre2_set_heap_limit(c->limits, 1024); /* KiB */
        return c;
    }
    regex_code_free(c);
    return NULL;
}

/* The longest match is told first: does it reach the end? */
enum regex_answer regex_match(struct regex_code *c, const char *name, size_t n, uint64_t *steps)
{
    int work[REGEX_WORK];
    c->steps = *steps;
    int rc = pcre2_dfa_match(c->re, (PCRE2_SPTR)name, n, 0, 0, c->data, c->limits, work, REGEX_WORK);
    *steps = c->steps;
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
        return REGEX_GAVE_UP;
    return rc >= 0 && pcre2_get_ovector_pointer(c->data)[1] == n ? REGEX_YES : REGEX_NO;
}
