/* Field descriptors of Kafka's messages: what gen.py makes of messages.txt and codec's interpreter walks.
 * Private to src/kafka.
 *
 *  1. Fields stand in wire order; tagged ones (tag >= 0 in versions `tagged`) are taken in ascending order of
 * their tags.
 *  2. An array field is a pointer at `offset` and an int32 count at `count_offset`; a nullable struct is a
 * pointer at `offset`.
 *  3. No struct contains itself, so recursion is bounded by the tables (gen.py refuses cycles).
 */
#ifndef FLOE_KAFKA_DESC_H
#define FLOE_KAFKA_DESC_H

#include <floe/kafka/codec.h>

enum floe_kafka_type {
    FLOE_KT_BOOL,
    FLOE_KT_INT8,
    FLOE_KT_INT16,
    FLOE_KT_UINT16,
    FLOE_KT_INT32,
    FLOE_KT_INT64,
    FLOE_KT_FLOAT64,
    FLOE_KT_UUID,
    FLOE_KT_STRING,
    FLOE_KT_BYTES,
    FLOE_KT_RECORDS,
    FLOE_KT_STRUCT,
};

/* Inclusive; lo > hi: in no version. "3+" has hi INT16_MAX. */
struct floe_kafka_versions {
    int16_t lo, hi;
};
static inline bool floe_kafka_in(struct floe_kafka_versions v, int16_t version)
{
    return version >= v.lo && version <= v.hi;
}

enum {
    FLOE_KF_ARRAY = 1,
    FLOE_KF_IGNORABLE = 2,
    FLOE_KF_POINTER = 4,       /* a struct that may be null */
    FLOE_KF_DEFAULT_NULL = 8,  /* the default is null (strings, bytes, records, arrays, structs) */
    FLOE_KF_NEVER_COMPACT = 16 /* keeps its int16 length in flexible versions */
};

struct floe_kafka_field {
    const char *name;
    const struct floe_kafka_struct *type_struct;
    int64_t def; /* default of integers and bools */
    uint32_t offset, count_offset;
    uint8_t type, flags;
    int16_t tag; /* -1: none */
    struct floe_kafka_versions present, nullable, tagged;
};
struct floe_kafka_struct {
    const char *name;
    const struct floe_kafka_field *fields;
    uint32_t field_count;
    uint32_t size; /* sizeof the generated struct */
};

/* Bytes of one value of a type in memory, without pointer or array around it. */
size_t floe_kafka_type_size(const struct floe_kafka_field *f);
/* A field of the struct at `base`. */
void floe_kafka_field_default(const struct floe_kafka_field *f, void *base);
bool floe_kafka_field_is_default(const struct floe_kafka_field *f, const void *base);

/* Where decoder or encoder stands, for errors: a chain on the stack from the inmost field outwards. */
struct floe_kafka_path {
    const struct floe_kafka_path *up;
    const struct floe_kafka_field *field;
    int32_t index; /* -1: not inside an array */
};
/* "Topics[3].Partitions[0].Index" */
void floe_kafka_path_print(const struct floe_kafka_path *at, char *out, size_t n);

#endif
