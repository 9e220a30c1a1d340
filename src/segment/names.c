/* Names of sessions and chain keys: one name, one spelling. */
#include <floe/base/assert.h>
#include <floe/segment.h>

#include <string.h>

/* Keys are made for each request: by hand, snprintf takes ten times as long. Returns the end. */
static char *write_decimal(char *p, uint64_t v, int digits)
{
    char text[20];
    int n = 0;
    do
        text[n++] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    for (; digits > n; digits--)
        *p++ = '0';
    while (n > 0)
        *p++ = text[--n];
    return p;
}
static char *write_session(char *p, const struct floe_session_name *s)
{
    FLOE_ASSERT(s->node >= 0 && s->epoch >= 0);
    p = write_decimal(p, (uint64_t)s->node, 1);
    *p++ = '-';
    p = write_decimal(p, (uint64_t)s->epoch, 1);
    *p++ = '-';
    for (int shift = 60; shift >= 0; shift -= 4)
        *p++ = "0123456789abcdef"[s->id >> shift & 15];
    return p;
}
static char *write_prefix(char *p, const struct floe_session_name *s)
{
    memcpy(p, "chain/", 6);
    p = write_session(p + 6, s);
    *p++ = '/';
    return p;
}
_Static_assert(FLOE_SESSION_NAME_MAX > 10 + 1 + 10 + 1 + 16, "every session's name fits");
_Static_assert(FLOE_CHAIN_KEY_MAX > 6 + 38 + 1 + 20, "every key of a chain fits");

void floe_session_format(char out[FLOE_SESSION_NAME_MAX], const struct floe_session_name *s)
{
    *write_session(out, s) = 0;
}

/* Canonical decimal of at most INT32_MAX: no sign, no leading zero. Returns what follows, or null. */
static const char *parse_i32(const char *p, int32_t *out)
{
    int64_t v = 0;
    const char *from = p;
    for (; *p >= '0' && *p <= '9'; p++) {
        v = v * 10 + (*p - '0');
        if (v > INT32_MAX)
            return NULL;
    }
    if (p == from || (*from == '0' && p - from > 1))
        return NULL;
    *out = (int32_t)v;
    return p;
}

static const char *parse_hex64(const char *p, uint64_t *out)
{
    uint64_t v = 0;
    for (int i = 0; i < 16; i++, p++) {
        if (*p >= '0' && *p <= '9')
            v = v << 4 | (uint64_t)(*p - '0');
        else if (*p >= 'a' && *p <= 'f')
            v = v << 4 | (uint64_t)(*p - 'a' + 10);
        else
            return NULL;
    }
    *out = v;
    return p;
}

static const char *parse_session(const char *p, struct floe_session_name *out)
{
    p = parse_i32(p, &out->node);
    if (!p || *p != '-')
        return NULL;
    p = parse_i32(p + 1, &out->epoch);
    if (!p || *p != '-')
        return NULL;
    return parse_hex64(p + 1, &out->id);
}

bool floe_session_parse(struct floe_session_name *out, const char *text)
{
    struct floe_session_name s;
    const char *end = parse_session(text, &s);
    if (!end || *end != 0)
        return false;
    *out = s;
    return true;
}

void floe_chain_prefix(char out[FLOE_CHAIN_KEY_MAX], const struct floe_session_name *s)
{
    *write_prefix(out, s) = 0;
}

void floe_chain_key(char out[FLOE_CHAIN_KEY_MAX], const struct floe_session_name *s, uint64_t seq)
{
    *write_decimal(write_prefix(out, s), seq, 20) = 0;
}

bool floe_chain_key_parse(const char *key, struct floe_session_name *s, uint64_t *seq)
{
    struct floe_session_name name;
    if (strncmp(key, "chain/", 6) != 0)
        return false;
    const char *p = parse_session(key + 6, &name);
    if (!p || *p++ != '/')
        return false;
    uint64_t v = 0;
    for (int i = 0; i < 20; i++, p++) {
        if (*p < '0' || *p > '9')
            return false;
        uint64_t digit = (uint64_t)(*p - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    if (*p != 0)
        return false;
    *s = name;
    *seq = v;
    return true;
}
