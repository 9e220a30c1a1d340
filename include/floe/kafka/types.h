/* The value types of Kafka's messages as the generated structs (floe/gen/kafka_messages.h) hold them.
 *
 * A zeroed value is Kafka's default "" or empty; null is a count of -1. Pointers are borrowed: of a decoded
 * message from the frame it was decoded from, of a message to be encoded from whoever filled it in.
 */
#ifndef FLOE_KAFKA_TYPES_H
#define FLOE_KAFKA_TYPES_H

#include <floe/base/buf.h>

/* UTF-8 without terminator. n -1: null. */
struct floe_kstr {
    const char *p;
    int32_t n;
};
struct floe_kbytes {
    const uint8_t *p;
    int32_t n; /* -1: null */
};
/* Record batches. For encoding the bytes may be given as slices instead of `p`; n is then their total. */
struct floe_krecords {
    const uint8_t *p;
    int32_t n; /* -1: null */
    uint32_t slice_count;
    const struct floe_bufslice *slices;
};

static inline struct floe_kstr floe_kstr(const char *s)
{
    return s ? (struct floe_kstr){s, (int32_t)strlen(s)} : (struct floe_kstr){NULL, -1};
}
static inline struct floe_kstr floe_kstr_n(const char *p, size_t n)
{
    return (struct floe_kstr){p, (int32_t)n};
}
static inline bool floe_kstr_is_null(struct floe_kstr s)
{
    return s.n < 0;
}
/* Null equals null only. */
static inline bool floe_kstr_eq(struct floe_kstr a, struct floe_kstr b)
{
    return a.n == b.n && (a.n <= 0 || memcmp(a.p, b.p, (size_t)a.n) == 0);
}
static inline bool floe_kstr_is(struct floe_kstr a, const char *s)
{
    return floe_kstr_eq(a, floe_kstr(s));
}

#endif
