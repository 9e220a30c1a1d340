#include <floe/base/assert.h>
#include <floe/base/str.h>

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SHOWN 64 /* bytes of a bad value that an error quotes */
#define QUOTED "\"%.64s%s\""
#define QUOTE(s) (s), strlen(s) > SHOWN ? "..." : ""

/* Digits from *s on; moves *s behind them. False when there is none or the value does not fit. */
static bool digits(const char **s, uint64_t *out)
{
    uint64_t v = 0;
    const char *p = *s;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
            return false;
    if (p == *s)
        return false;
    *s = p;
    *out = v;
    return true;
}

enum floe_err floe_str_parse_u64(const char *s, uint64_t *out, struct floe_error *err)
{
    const char *p = s;
    uint64_t v;
    if (!digits(&p, &v) || *p != '\0')
        return floe_error_set(err, FLOE_EINVAL,
                              QUOTED " is not a whole number from 0 to 18446744073709551615", QUOTE(s));
    *out = v;
    return FLOE_OK;
}

enum floe_err floe_str_parse_i64(const char *s, int64_t *out, struct floe_error *err)
{
    const char *p = s;
    uint64_t v;
    bool minus = *p == '-';
    p += minus;
    if (!digits(&p, &v) || *p != '\0' || v > (uint64_t)INT64_MAX + minus)
        return floe_error_set(
            err, FLOE_EINVAL,
            QUOTED " is not a whole number from -9223372036854775808 to 9223372036854775807", QUOTE(s));
    *out = minus ? (int64_t)(0 - v) : (int64_t)v;
    return FLOE_OK;
}

enum floe_err floe_str_parse_bool(const char *s, bool *out, struct floe_error *err)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < FLOE_COUNTOF(words); i++)
        if (strcasecmp(s, words[i]) == 0) {
            *out = i % 2 == 1;
            return FLOE_OK;
        }
    return floe_error_set(err, FLOE_EINVAL, QUOTED " is not true or false", QUOTE(s));
}

struct unit {
    const char *name;
    uint64_t by;
};

/* A number with a unit of the table; FLOE_EINVAL with the sentence `allowed`. */
static enum floe_err with_unit(const char *s, const struct unit *units, size_t n, uint64_t *out,
                               const char *allowed, struct floe_error *err)
{
    const char *p = s;
    uint64_t v;
    if (!digits(&p, &v))
        goto bad;
    for (size_t i = 0; i < n; i++) {
        if (strcasecmp(p, units[i].name) != 0)
            continue;
        if (__builtin_mul_overflow(v, units[i].by, &v))
            return floe_error_set(err, FLOE_EINVAL, QUOTED " is too large", QUOTE(s));
        *out = v;
        return FLOE_OK;
    }
bad:
    return floe_error_set(err, FLOE_EINVAL, QUOTED " is not %s", QUOTE(s), allowed);
}

#define KIB UINT64_C(1024)
#define KB UINT64_C(1000)

enum floe_err floe_str_parse_size(const char *s, uint64_t *out, struct floe_error *err)
{
    static const struct unit units[] = {
        {"", 1},
        {"b", 1},
        {"k", KIB},
        {"kib", KIB},
        {"m", KIB * KIB},
        {"mib", KIB * KIB},
        {"g", KIB * KIB * KIB},
        {"gib", KIB * KIB * KIB},
        {"t", KIB * KIB * KIB * KIB},
        {"tib", KIB * KIB * KIB * KIB},
        {"kb", KB},
        {"mb", KB * KB},
        {"gb", KB * KB * KB},
        {"tb", KB * KB * KB * KB},
    };
    return with_unit(s, units, FLOE_COUNTOF(units), out,
                     "a size: write digits and KiB, MiB, GiB or TiB, for example 512MiB", err);
}

enum floe_err floe_str_parse_duration_ms(const char *s, uint64_t *out, struct floe_error *err)
{
    static const struct unit units[] = {
        {"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000},
    };
    return with_unit(s, units, FLOE_COUNTOF(units), out,
                     "a duration: write digits and ms, s, m, h or d, for example 10s", err);
}

static bool host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
}

/* Hex digits, colons and dots, and a zone name behind a percent sign. */
static bool ipv6_chars(const char *s, size_t n)
{
    size_t colons = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '%')
            return colons >= 2 && i + 1 < n;
        if (s[i] == ':')
            colons++;
        else if (!(s[i] == '.' || (s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f') ||
                   (s[i] >= 'A' && s[i] <= 'F')))
            return false;
    }
    return colons >= 2;
}

static enum floe_err parse_addr(const char *s, unsigned port_min, struct floe_str_addr *out,
                                struct floe_error *err)
{
    const char *host = s, *colon = strrchr(s, ':');
    size_t n_host;
    if (s[0] == '[') {
        const char *close = strchr(s, ']');
        if (close == NULL)
            return floe_error_set(err, FLOE_EINVAL, QUOTED " has a [ without its ]", QUOTE(s));
        host = s + 1;
        n_host = (size_t)(close - host);
        if (!ipv6_chars(host, n_host))
            return floe_error_set(err, FLOE_EINVAL, QUOTED ": what stands in brackets is not an IPv6 address",
                                  QUOTE(s));
        colon = close[1] == ':' ? close + 1 : NULL;
        if (close[1] != ':' && close[1] != '\0')
            return floe_error_set(err, FLOE_EINVAL, QUOTED ": \":PORT\" must follow the bracket", QUOTE(s));
    } else {
        n_host = colon != NULL ? (size_t)(colon - s) : strlen(s);
        if (strstr(s, "://") != NULL)
            return floe_error_set(err, FLOE_EINVAL,
                                  QUOTED " is a URL: write HOST:PORT alone, for example localhost:9092",
                                  QUOTE(s));
        if (memchr(s, ':', n_host) != NULL)
            return floe_error_set(err, FLOE_EINVAL,
                                  QUOTED ": an IPv6 address stands in brackets, for example [::1]:9092",
                                  QUOTE(s));
    }
    if (colon == NULL || colon[1] == '\0')
        return floe_error_set(err, FLOE_EINVAL, QUOTED " has no port: write HOST:PORT, for example %s",
                              QUOTE(s), s[0] == '[' ? "[::1]:9092" : "localhost:9092");
    if (n_host == 0)
        return floe_error_set(err, FLOE_EINVAL,
                              QUOTED " has no host: write HOST:PORT, for example 0.0.0.0%.6s", QUOTE(s),
                              colon);
    if (n_host >= sizeof out->host)
        return floe_error_set(err, FLOE_EINVAL, QUOTED ": the host is longer than %zu bytes", QUOTE(s),
                              sizeof out->host - 1);
    for (size_t i = 0; s[0] != '[' && i < n_host; i++)
        if (!host_char(host[i]))
            return floe_error_set(err, FLOE_EINVAL,
                                  QUOTED ": a host has letters, digits, dots and dashes only", QUOTE(s));
    uint64_t port = 0;
    const char *p = colon + 1;
    if (!digits(&p, &port) || *p != '\0' || port < port_min || port > 65535)
        return floe_error_set(err, FLOE_EINVAL, QUOTED ": the port is a number from %u to 65535", QUOTE(s),
                              port_min);
    memcpy(out->host, host, n_host);
    out->host[n_host] = '\0';
    out->port = (uint16_t)port;
    return FLOE_OK;
}

enum floe_err floe_str_parse_addr(const char *s, struct floe_str_addr *out, struct floe_error *err)
{
    return parse_addr(s, 1, out, err);
}

enum floe_err floe_str_parse_listen(const char *s, struct floe_str_addr *out, struct floe_error *err)
{
    return parse_addr(s, 0, out, err);
}

bool floe_str_addr_is_wildcard(const struct floe_str_addr *a)
{
    if (strcmp(a->host, "0.0.0.0") == 0)
        return true;
    /* All spellings of the IPv6 one: zeros and colons. */
    return strchr(a->host, ':') != NULL && strspn(a->host, "0:") == strlen(a->host);
}

const char *floe_str_size(char out[FLOE_STR_NUM], uint64_t bytes)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    size_t u = 0;
    while (bytes != 0 && u + 1 < FLOE_COUNTOF(units) && bytes % KIB == 0) {
        bytes /= KIB;
        u++;
    }
    (void)snprintf(out, FLOE_STR_NUM, "%llu%s", (unsigned long long)bytes, units[u]);
    return out;
}

const char *floe_str_duration_ms(char out[FLOE_STR_NUM], uint64_t ms)
{
    static const struct unit units[] = {
        {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    size_t u = 0;
    while (ms % units[u].by != 0 || (ms == 0 && units[u].by != 1))
        u++;
    (void)snprintf(out, FLOE_STR_NUM, "%llu%s", (unsigned long long)(ms / units[u].by), units[u].name);
    return out;
}

const char *floe_str_addr(char out[FLOE_STR_ADDR], const char *host, uint16_t port)
{
    bool v6 = strchr(host, ':') != NULL;
    (void)snprintf(out, FLOE_STR_ADDR, "%s%.*s%s:%u", v6 ? "[" : "", FLOE_STR_HOST - 1, host, v6 ? "]" : "",
                   (unsigned)port);
    return out;
}

enum { NAME_MAX_BYTES = 63 };

/* Levenshtein's distance by one row; both at most NAME_MAX_BYTES long. Case does not count. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_BYTES + 1], n = strlen(b);
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t change = diagonal + (strncasecmp(&a[i], &b[j], 1) != 0);
            diagonal = row[j + 1];
            row[j + 1] = FLOE_MIN(change, FLOE_MIN(row[j], row[j + 1]) + 1);
        }
    }
    return row[n];
}

const char *floe_str_nearest(const char *name, const char *const *candidates, size_t n)
{
    size_t len = strlen(name), best = SIZE_MAX;
    const char *nearest = NULL;
    if (len > NAME_MAX_BYTES)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t len_other = strlen(candidates[i]);
        if (len_other > NAME_MAX_BYTES)
            continue;
        size_t d = distance(name, candidates[i]);
        if (len >= 3 && d > 1 && strncasecmp(name, candidates[i], len) == 0)
            d = 1; /* its beginning */
        if (d < best && 3 * d <= FLOE_MAX(len, len_other)) {
            best = d;
            nearest = candidates[i];
        }
    }
    return nearest;
}

bool floe_str_copy(char *out, size_t cap, const char *s)
{
    FLOE_ASSERT(cap > 0);
    size_t n = strlen(s);
    bool fits = n < cap;
    n = fits ? n : cap - 1;
    memcpy(out, s, n);
    out[n] = '\0';
    return fits;
}
