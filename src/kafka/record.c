/* Taking records and their headers apart. Hot: every record of every produce request that is not compressed
 * comes through here. */
#include "kafka/record.h"

struct cursor {
    const uint8_t *p, *end;
    bool bad;
};

static uint64_t varint(struct cursor *c, unsigned bits)
{
    if (c->p < c->end && *c->p < 0x80)
        return *c->p++;
    uint64_t v = 0;
    for (unsigned shift = 0; shift < bits && c->p < c->end; shift += 7) {
        uint64_t b = *c->p++;
        if (bits - shift < 7 && (b & 0x7f) >> (bits - shift))
            break;
        v |= (b & 0x7f) << shift;
        if (b < 0x80)
            return v;
    }
    c->bad = true;
    return 0;
}
static int32_t varint32(struct cursor *c)
{
    uint32_t u = (uint32_t)varint(c, 32);
    return (int32_t)((u >> 1) ^ (0U - (u & 1)));
}
static int64_t varint64(struct cursor *c)
{
    uint64_t u = varint(c, 64);
    return (int64_t)((u >> 1) ^ (0U - (u & 1)));
}
/* Length and bytes; null of -1 where it may be. */
static struct floe_kbytes bytes(struct cursor *c, bool nullable)
{
    int32_t n = varint32(c);
    if (n == -1 && nullable)
        return (struct floe_kbytes){NULL, -1};
    if (c->bad || n < 0 || n > c->end - c->p) {
        c->bad = true;
        return (struct floe_kbytes){NULL, -1};
    }
    const uint8_t *p = c->p;
    c->p += n;
    return (struct floe_kbytes){p, n};
}

size_t floe_record_length(const uint8_t *p, const uint8_t *end, int32_t *out)
{
    struct cursor c = {p, end, false};
    *out = varint32(&c);
    return c.bad ? 0 : (size_t)(c.p - p);
}

const char *floe_record_parse(const uint8_t *p, size_t n, struct floe_record_raw *out)
{
    struct cursor c = {p, p + n, false};
    if (n < 1)
        return "a record without attributes";
    c.p++; /* attributes: none is defined */
    out->timestamp_delta = varint64(&c);
    out->offset_delta = varint32(&c);
    out->key = bytes(&c, true);
    out->value = bytes(&c, true);
    out->header_count = varint32(&c);
    if (c.bad)
        return "a record's fields run past its length";
    if (out->header_count < 0 || out->header_count > (c.end - c.p) / 2)
        return "a record with more headers than bytes";
    out->headers = floe_slice(c.p, (size_t)(c.end - c.p));
    for (int32_t i = 0; i < out->header_count && !c.bad; i++) {
        bytes(&c, false);
        bytes(&c, true);
    }
    if (c.bad)
        return "a record's headers run past its length";
    return c.p == c.end ? NULL : "a record longer than its fields";
}

bool floe_record_header_next(struct floe_slice *headers, struct floe_record_header *out)
{
    if (headers->n == 0)
        return false;
    struct cursor c = {headers->p, headers->p + headers->n, false};
    struct floe_kbytes key = bytes(&c, false), value = bytes(&c, true);
    if (c.bad)
        return false;
    *out = (struct floe_record_header){{(const char *)key.p, key.n}, value};
    *headers = floe_slice(c.p, (size_t)(c.end - c.p));
    return true;
}
