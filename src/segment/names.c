/* Names of sessions and chain keys: one name, one spelling. */
#include <floe/base/assert.h>
#include <floe/segment.h>

#include <inttypes.h>
#include <stdio.h>

void floe_session_format(char out[FLOE_SESSION_NAME_MAX], const struct floe_session_name *s)
{
    FLOE_ASSERT(s->node >= 0 && s->epoch >= 0);
    int n =
        snprintf(out, FLOE_SESSION_NAME_MAX, "%" PRId32 "-%" PRId32 "-%016" PRIx64, s->node, s->epoch, s->id);
    FLOE_ASSERT(n > 0 && n < FLOE_SESSION_NAME_MAX);
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
    char name[FLOE_SESSION_NAME_MAX];
    floe_session_format(name, s);
    int n = snprintf(out, FLOE_CHAIN_KEY_MAX, "chain/%s/", name);
    FLOE_ASSERT(n > 0 && n < FLOE_CHAIN_KEY_MAX);
}

void floe_chain_key(char out[FLOE_CHAIN_KEY_MAX], const struct floe_session_name *s, uint64_t seq)
{
    char name[FLOE_SESSION_NAME_MAX];
    floe_session_format(name, s);
    int n = snprintf(out, FLOE_CHAIN_KEY_MAX, "chain/%s/%020" PRIu64, name, seq);
    FLOE_ASSERT(n > 0 && n < FLOE_CHAIN_KEY_MAX);
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
