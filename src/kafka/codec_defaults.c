/* Defaults of fields: setting them, and knowing them when a version lacks the field or a tag may be left out.
 */
#include "kafka/desc.h"

#include <floe/base/assert.h>

size_t floe_kafka_type_size(const struct floe_kafka_field *f)
{
    static const uint8_t size[] = {
        [FLOE_KT_BOOL] = sizeof(bool),
        [FLOE_KT_INT8] = 1,
        [FLOE_KT_INT16] = 2,
        [FLOE_KT_UINT16] = 2,
        [FLOE_KT_INT32] = 4,
        [FLOE_KT_INT64] = 8,
        [FLOE_KT_FLOAT64] = sizeof(double),
        [FLOE_KT_UUID] = sizeof(struct floe_uuid),
        [FLOE_KT_STRING] = sizeof(struct floe_kstr),
        [FLOE_KT_BYTES] = sizeof(struct floe_kbytes),
        [FLOE_KT_RECORDS] = sizeof(struct floe_krecords),
    };
    return f->type == FLOE_KT_STRUCT ? f->type_struct->size : size[f->type];
}

static void default_scalar(const struct floe_kafka_field *f, void *p)
{
    int32_t n = f->flags & FLOE_KF_DEFAULT_NULL ? -1 : 0;
    switch ((enum floe_kafka_type)f->type) {
    case FLOE_KT_BOOL:
        *(bool *)p = f->def != 0;
        break;
    case FLOE_KT_INT8:
        *(int8_t *)p = (int8_t)f->def;
        break;
    case FLOE_KT_INT16:
    case FLOE_KT_UINT16:
        *(uint16_t *)p = (uint16_t)f->def;
        break;
    case FLOE_KT_INT32:
        *(int32_t *)p = (int32_t)f->def;
        break;
    case FLOE_KT_INT64:
        *(int64_t *)p = f->def;
        break;
    case FLOE_KT_FLOAT64:
        *(double *)p = 0;
        break;
    case FLOE_KT_UUID:
        memset(p, 0, sizeof(struct floe_uuid));
        break;
    case FLOE_KT_STRING:
        *(struct floe_kstr *)p = (struct floe_kstr){n < 0 ? NULL : "", n};
        break;
    case FLOE_KT_BYTES:
        *(struct floe_kbytes *)p = (struct floe_kbytes){NULL, n};
        break;
    case FLOE_KT_RECORDS:
        *(struct floe_krecords *)p = (struct floe_krecords){.n = n};
        break;
    case FLOE_KT_STRUCT:
        floe_kafka_struct_defaults(f->type_struct, p);
        break;
    }
}

void floe_kafka_field_default(const struct floe_kafka_field *f, void *base)
{
    uint8_t *p = (uint8_t *)base + f->offset;
    if (f->flags & FLOE_KF_ARRAY) {
        *(void **)(void *)p = NULL;
        *(int32_t *)(void *)((uint8_t *)base + f->count_offset) = f->flags & FLOE_KF_DEFAULT_NULL ? -1 : 0;
    } else if (f->flags & FLOE_KF_POINTER) {
        *(void **)(void *)p = NULL;
    } else {
        default_scalar(f, p);
    }
}

void floe_kafka_struct_defaults(const struct floe_kafka_struct *s, void *p)
{
    for (uint32_t i = 0; i < s->field_count; i++)
        floe_kafka_field_default(&s->fields[i], p);
}

void floe_kafka_defaults(const struct floe_kafka_msg *m, void *msg)
{
    floe_kafka_struct_defaults(m->body, msg);
}

void *floe_kafka_array(const struct floe_kafka_struct *s, int32_t n, struct floe_arena *arena)
{
    FLOE_ASSERT(n >= 0);
    uint8_t *p = floe_arena_calloc(arena, (size_t)n, s->size);
    for (int32_t i = 0; p && i < n; i++)
        floe_kafka_struct_defaults(s, p + (size_t)i * s->size);
    return p;
}

static bool struct_is_default(const struct floe_kafka_struct *s, const void *p)
{
    for (uint32_t i = 0; i < s->field_count; i++)
        if (!floe_kafka_field_is_default(&s->fields[i], p))
            return false;
    return true;
}

static bool scalar_is_default(const struct floe_kafka_field *f, const void *p)
{
    bool null = f->flags & FLOE_KF_DEFAULT_NULL;
    int32_t n = 0;
    switch ((enum floe_kafka_type)f->type) {
    case FLOE_KT_BOOL:
        return *(const bool *)p == (f->def != 0);
    case FLOE_KT_INT8:
        return *(const int8_t *)p == f->def;
    case FLOE_KT_INT16:
        return *(const int16_t *)p == f->def;
    case FLOE_KT_UINT16:
        return *(const uint16_t *)p == f->def;
    case FLOE_KT_INT32:
        return *(const int32_t *)p == f->def;
    case FLOE_KT_INT64:
        return *(const int64_t *)p == f->def;
    case FLOE_KT_FLOAT64:
        return *(const double *)p == 0;
    case FLOE_KT_UUID:
        return floe_uuid_is_zero(p);
    case FLOE_KT_STRING:
        n = ((const struct floe_kstr *)p)->n;
        break;
    case FLOE_KT_BYTES:
        n = ((const struct floe_kbytes *)p)->n;
        break;
    case FLOE_KT_RECORDS:
        n = ((const struct floe_krecords *)p)->n;
        break;
    case FLOE_KT_STRUCT:
        return struct_is_default(f->type_struct, p);
    }
    return null ? n < 0 : n == 0;
}

bool floe_kafka_field_is_default(const struct floe_kafka_field *f, const void *base)
{
    const uint8_t *p = (const uint8_t *)base + f->offset;
    if (f->flags & FLOE_KF_ARRAY) {
        int32_t n = *(const int32_t *)(const void *)((const uint8_t *)base + f->count_offset);
        return f->flags & FLOE_KF_DEFAULT_NULL ? n < 0 : n == 0;
    }
    if (f->flags & FLOE_KF_POINTER)
        return *(void *const *)(const void *)p == NULL;
    return scalar_is_default(f, p);
}
