/* Kafka's configurations: look-up and validation over the generated table. */
#include "kafka/tables.h"

#include <floe/base/assert.h>
#include <floe/base/str.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define VALUE_MAX 16384u /* longest value that is looked at */

static int compare(const struct floe_kafka_config_row *r, enum floe_config_kind kind, struct floe_slice name)
{
    if (r->c.kind != kind)
        return r->c.kind < kind ? -1 : 1;
    size_t n = strlen(r->c.name);
    int c = memcmp(r->c.name, name.p, FLOE_MIN(n, name.n));
    return c ? c : n < name.n ? -1 : n > name.n;
}

static const struct floe_kafka_config_row *row_of(const struct floe_kafka_config *c)
{
    return FLOE_CONTAINER(c, const struct floe_kafka_config_row, c);
}

/* The first row that is not before it. */
static uint32_t place_of(enum floe_config_kind kind, struct floe_slice name)
{
    uint32_t lo = 0, hi = floe_kafka_config_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (compare(&floe_kafka_config_rows[mid], kind, name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct floe_kafka_config *floe_kafka_config_find(enum floe_config_kind kind, struct floe_slice name)
{
    uint32_t at = place_of(kind, name);
    if (name.n == 0 || at == floe_kafka_config_count || compare(&floe_kafka_config_rows[at], kind, name) != 0)
        return NULL;
    return &floe_kafka_config_rows[at].c;
}

const struct floe_kafka_config *floe_kafka_config_at(enum floe_config_kind kind, uint32_t i)
{
    uint32_t first = place_of(kind, floe_slice("", 0));
    if (i >= floe_kafka_config_count - first || floe_kafka_config_rows[first + i].c.kind != kind)
        return NULL;
    return &floe_kafka_config_rows[first + i].c;
}

uint32_t floe_kafka_config_index(const struct floe_kafka_config *c)
{
    return (uint32_t)(row_of(c) - floe_kafka_config_rows) - place_of(c->kind, floe_slice("", 0));
}

/* Value without the blanks around it. */
static struct floe_slice trim(struct floe_slice s)
{
    while (s.n > 0 && isspace(s.p[0]))
        s = floe_slice(s.p + 1, s.n - 1);
    while (s.n > 0 && isspace(s.p[s.n - 1]))
        s.n--;
    return s;
}

static bool parse_int(struct floe_slice s, int64_t *out)
{
    char text[32];
    if (s.n == 0 || s.n >= sizeof text ||
        !(isdigit(s.p[0]) || (s.n > 1 && (s.p[0] == '-' || s.p[0] == '+') && isdigit(s.p[1]))))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return floe_str_parse_i64(text + (text[0] == '+'), out, NULL) == FLOE_OK;
}

static bool parse_double(struct floe_slice s, double *out)
{
    char text[64];
    char *end;
    if (s.n == 0 || s.n >= sizeof text || !(isdigit(s.p[0]) || strchr("+-.", s.p[0])))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    double v = strtod(text, &end);
    if (*end || strpbrk(text, "xX") || v != v)
        return false;
    *out = v;
    return true;
}

static bool parse_bool(struct floe_slice s, bool *out)
{
    bool yes = s.n == 4 && strncasecmp((const char *)s.p, "true", 4) == 0;
    bool no = s.n == 5 && strncasecmp((const char *)s.p, "false", 5) == 0;
    *out = yes;
    return yes || no;
}

static enum floe_err invalid(const struct floe_kafka_config *c, struct floe_slice value,
                             struct floe_error *err, const char *why)
{
    return floe_error_set(err, FLOE_EINVAL, "Invalid value %.*s for configuration %s: %s",
                          (int)FLOE_MIN(value.n, (size_t)80), value.n ? (const char *)value.p : "", c->name,
                          why);
}

static enum floe_err not_allowed(const struct floe_kafka_config *c, struct floe_slice value,
                                 struct floe_error *err)
{
    char why[160];
    snprintf(why, sizeof why, "Value must be %s%s", c->allowed[0] == '[' ? "one of: " : "", c->allowed);
    return invalid(c, value, err, why);
}

static enum floe_err check_whole(const struct floe_kafka_config_row *r, struct floe_slice v,
                                 struct floe_error *err)
{
    int64_t lo = r->c.type == FLOE_CONFIG_INT     ? INT32_MIN
                 : r->c.type == FLOE_CONFIG_SHORT ? INT16_MIN
                                                  : INT64_MIN;
    int64_t hi = r->c.type == FLOE_CONFIG_INT     ? INT32_MAX
                 : r->c.type == FLOE_CONFIG_SHORT ? INT16_MAX
                                                  : INT64_MAX;
    char why[96];
    int64_t n, also;
    if (!parse_int(v, &n) || n < lo || n > hi) {
        snprintf(why, sizeof why, "Not a number of type %s",
                 r->c.type == FLOE_CONFIG_INT     ? "INT"
                 : r->c.type == FLOE_CONFIG_SHORT ? "SHORT"
                                                  : "LONG");
        return invalid(&r->c, v, err, why);
    }
    if (r->check != FLOE_CHECK_RANGE || (n >= r->low && n <= r->high))
        return FLOE_OK;
    if (r->words[0] && parse_int(floe_slice_str(r->words[0]), &also) && n == also)
        return FLOE_OK;
    snprintf(why, sizeof why, "Value must be %s %lld", n < r->low ? "at least" : "no more than",
             (long long)(n < r->low ? r->low : r->high));
    return invalid(&r->c, v, err, why);
}

static enum floe_err check_double(const struct floe_kafka_config_row *r, struct floe_slice v,
                                  struct floe_error *err)
{
    double d;
    if (!parse_double(v, &d))
        return invalid(&r->c, v, err, "Not a number of type DOUBLE");
    if (r->check == FLOE_CHECK_RANGE && d < (double)r->low)
        return invalid(&r->c, v, err, "Value must be at least 0");
    if (r->check == FLOE_CHECK_RANGE && r->high != INT64_MAX && d > (double)r->high)
        return invalid(&r->c, v, err, "Value must be no more than 1");
    return FLOE_OK;
}

static bool is_word(const struct floe_kafka_config_row *r, struct floe_slice v)
{
    for (const char *const *w = r->words; *w; w++) {
        size_t n = strlen(*w);
        const char *colon =
            strchr(*w, ':'); /* "by_duration:PnDTnHnMn.nS": a prefix and an ISO 8601 duration */
        if (colon && v.n > (size_t)(colon - *w) + 2 && memcmp(v.p, *w, (size_t)(colon - *w) + 1) == 0 &&
            v.p[colon - *w + 1] == 'P')
            return true;
        if (colon || n != v.n)
            continue;
        if (r->check == FLOE_CHECK_WORDS_ANY_CASE ? strncasecmp(*w, (const char *)v.p, n) == 0
                                                  : memcmp(*w, v.p, n) == 0)
            return true;
    }
    return false;
}

/* partition:broker, both numbers; or the wildcard alone. */
static bool is_throttled(struct floe_slice v)
{
    const uint8_t *colon = memchr(v.p, ':', v.n);
    int64_t a, b;
    return colon && parse_int(floe_slice(v.p, (size_t)(colon - v.p)), &a) && a >= 0 &&
           parse_int(floe_slice(colon + 1, v.n - (size_t)(colon - v.p) - 1), &b) && b >= 0;
}

static bool element_ok(const struct floe_kafka_config_row *r, struct floe_slice v)
{
    if (r->check == FLOE_CHECK_WORDS || r->check == FLOE_CHECK_WORDS_ANY_CASE)
        return is_word(r, v);
    return r->check != FLOE_CHECK_THROTTLED || is_throttled(v);
}

static enum floe_err check_list(const struct floe_kafka_config_row *r, struct floe_slice v,
                                struct floe_error *err)
{
    if (v.n == 0) {
        return r->check == FLOE_CHECK_NON_EMPTY
                   ? invalid(&r->c, v, err, "Configuration value must not be empty")
                   : FLOE_OK;
    }
    if (r->check == FLOE_CHECK_THROTTLED && floe_slice_eq(v, floe_slice_str("*")))
        return FLOE_OK;
    for (struct floe_slice rest = v;;) {
        const uint8_t *comma = memchr(rest.p, ',', rest.n);
        struct floe_slice e = trim(floe_slice(rest.p, comma ? (size_t)(comma - rest.p) : rest.n));
        if (e.n == 0)
            return invalid(&r->c, v, err, "an element of the list is empty");
        if (!element_ok(r, e))
            return not_allowed(&r->c, v, err);
        if (!comma)
            return FLOE_OK;
        rest = floe_slice(comma + 1, rest.n - (size_t)(comma - rest.p) - 1);
    }
}

enum floe_err floe_kafka_config_check(const struct floe_kafka_config *c, struct floe_slice value,
                                      struct floe_error *err)
{
    const struct floe_kafka_config_row *r = row_of(c);
    struct floe_slice v = trim(value);
    bool b;
    if (value.n > VALUE_MAX)
        return floe_error_set(err, FLOE_EINVAL, "Invalid value for configuration %s: longer than %u bytes",
                              c->name, VALUE_MAX);
    if (value.n > 0 && memchr(value.p, '\0', value.n))
        return floe_error_set(err, FLOE_EINVAL, "Invalid value for configuration %s: it contains a zero byte",
                              c->name);
    switch (c->type) {
    case FLOE_CONFIG_BOOLEAN:
        return parse_bool(v, &b) ? FLOE_OK : invalid(c, v, err, "Expected value to be either true or false");
    case FLOE_CONFIG_INT:
    case FLOE_CONFIG_SHORT:
    case FLOE_CONFIG_LONG:
        return check_whole(r, v, err);
    case FLOE_CONFIG_DOUBLE:
        return check_double(r, v, err);
    case FLOE_CONFIG_LIST:
        return check_list(r, v, err);
    case FLOE_CONFIG_STRING:
        if (r->check == FLOE_CHECK_NON_EMPTY && v.n == 0)
            return invalid(c, v, err, "String must be non-empty");
        return r->check == FLOE_CHECK_ANY || r->check == FLOE_CHECK_NON_EMPTY || element_ok(r, v)
                   ? FLOE_OK
                   : not_allowed(c, v, err);
    case FLOE_CONFIG_CLASS:
    case FLOE_CONFIG_PASSWORD:
        break;
    }
    return FLOE_OK;
}

int64_t floe_kafka_config_int(const struct floe_kafka_config *c, struct floe_slice value)
{
    int64_t n = 0;
    bool b = false;
    if (c->type == FLOE_CONFIG_BOOLEAN) {
        FLOE_ASSERT(parse_bool(trim(value), &b));
        return b;
    }
    FLOE_ASSERT(parse_int(trim(value), &n));
    return n;
}

int64_t floe_kafka_config_int_or(enum floe_config_kind kind, const char *name, const char *value, int64_t def)
{
    const struct floe_kafka_config *c = value ? floe_kafka_config_find(kind, floe_slice_str(name)) : NULL;
    bool ok = c && floe_kafka_config_check(c, floe_slice_str(value), NULL) == FLOE_OK;
    return ok ? floe_kafka_config_int(c, floe_slice_str(value)) : def;
}

/* In the fewest digits that mean the same number; 0: very small and very large ones stay as they are. */
static size_t shown_double(struct floe_slice v, char *out)
{
    double d;
    int digits = 1;
    if (!parse_double(v, &d) || (d != 0 && (fabs(d) < 1e-3 || fabs(d) >= 1e7)))
        return 0;
    while (snprintf(out, 32, "%.*g", digits, d), digits < 17 && strtod(out, NULL) != d)
        digits++;
    if (strchr(out, 'e')) /* 1e+06: fewer digits than places */
        snprintf(out, 32, "%.0f", d);
    size_t n = strlen(out);
    return strchr(out, '.') ? n : n + (size_t)snprintf(out + n, 32 - n, ".0");
}

static size_t shown_list(struct floe_slice v, char *out)
{
    size_t n = 0;
    for (struct floe_slice rest = v;;) {
        const uint8_t *comma = rest.n ? memchr(rest.p, ',', rest.n) : NULL;
        struct floe_slice e = trim(floe_slice(rest.p, comma ? (size_t)(comma - rest.p) : rest.n));
        if (e.n)
            memcpy(out + n, e.p, e.n);
        n += e.n;
        if (!comma)
            return n;
        out[n++] = ',';
        rest = floe_slice(comma + 1, rest.n - (size_t)(comma - rest.p) - 1);
    }
}

size_t floe_kafka_config_shown(const struct floe_kafka_config *c, struct floe_slice value, char *out)
{
    struct floe_slice v = trim(value);
    size_t n = 0;
    int64_t whole;
    bool yes;
    if (c->type == FLOE_CONFIG_LIST)
        return shown_list(v, out);
    if (c->type == FLOE_CONFIG_BOOLEAN && parse_bool(v, &yes))
        n = (size_t)snprintf(out, 32, "%s", yes ? "true" : "false");
    else if (c->type == FLOE_CONFIG_DOUBLE)
        n = shown_double(v, out);
    else if ((c->type == FLOE_CONFIG_INT || c->type == FLOE_CONFIG_SHORT || c->type == FLOE_CONFIG_LONG) &&
             parse_int(v, &whole))
        n = (size_t)snprintf(out, 32, "%lld", (long long)whole);
    if (n)
        return n;
    if (v.n)
        memcpy(out, v.p, v.n);
    return v.n;
}

int8_t floe_kafka_config_wire_type(enum floe_config_type type)
{
    /* org.apache.kafka.common.requests.DescribeConfigsResponse.ConfigType, as KIP-569 numbers them. */
    static const int8_t number[] = {
        [FLOE_CONFIG_BOOLEAN] = 1, [FLOE_CONFIG_STRING] = 2, [FLOE_CONFIG_INT] = 3,
        [FLOE_CONFIG_SHORT] = 4,   [FLOE_CONFIG_LONG] = 5,   [FLOE_CONFIG_DOUBLE] = 6,
        [FLOE_CONFIG_LIST] = 7,    [FLOE_CONFIG_CLASS] = 8,  [FLOE_CONFIG_PASSWORD] = 9,
    };
    return number[type];
}
