/* Decoding: walks the field tables over a bounds-checked reader. */
#include "kafka/desc.h"

#include <floe/base/assert.h>
#include <stdio.h>

struct decoder {
    struct floe_reader r;
    const uint8_t *start;
    const struct floe_kafka_msg *m;
    struct floe_arena *arena;
    struct floe_error *err;
    int16_t version;
    bool flexible;
};

void floe_kafka_path_print(const struct floe_kafka_path *at, char *out, size_t n)
{
    if (!at) {
        out[0] = '\0';
        return;
    }
    floe_kafka_path_print(at->up, out, n);
    size_t used = strlen(out);
    if (at->index >= 0)
        snprintf(out + used, n - used, "%s%s[%d]", used ? "." : "", at->field->name, at->index);
    else
        snprintf(out + used, n - used, "%s%s", used ? "." : "", at->field->name);
}

static enum floe_err fail(struct decoder *d, const struct floe_kafka_path *at, enum floe_err code,
                          const char *what)
{
    char path[160];
    floe_kafka_path_print(at, path, sizeof path);
    return floe_error_set(d->err, code, "%s v%d: %s%s%s at byte %zu", d->m->name, d->version, path,
                          path[0] ? ": " : "", what, (size_t)(d->r.p - d->start));
}
static enum floe_err cut_short(struct decoder *d, const struct floe_kafka_path *at)
{
    return fail(d, at, FLOE_EINVAL, "the bytes end too early or a varint is too long");
}

static enum floe_err decode_struct(struct decoder *d, const struct floe_kafka_struct *s, void *dest,
                                   const struct floe_kafka_path *up);

/* Fewest bytes that a value of this struct takes on the wire. */
static size_t struct_min(const struct decoder *d, const struct floe_kafka_struct *s);

static size_t value_min(const struct decoder *d, const struct floe_kafka_field *f)
{
    static const uint8_t width[] = {
        [FLOE_KT_BOOL] = 1,  [FLOE_KT_INT8] = 1,  [FLOE_KT_INT16] = 2,   [FLOE_KT_UINT16] = 2,
        [FLOE_KT_INT32] = 4, [FLOE_KT_INT64] = 8, [FLOE_KT_FLOAT64] = 8, [FLOE_KT_UUID] = 16,
    };
    switch ((enum floe_kafka_type)f->type) {
    case FLOE_KT_STRING:
        return d->flexible && !(f->flags & FLOE_KF_NEVER_COMPACT) ? 1 : 2;
    case FLOE_KT_BYTES:
    case FLOE_KT_RECORDS:
        return d->flexible ? 1 : 4;
    case FLOE_KT_STRUCT:
        return struct_min(d, f->type_struct);
    default:
        return width[f->type];
    }
}
static size_t struct_min(const struct decoder *d, const struct floe_kafka_struct *s)
{
    size_t n = d->flexible ? 1 : 0;
    for (uint32_t i = 0; i < s->field_count; i++) {
        const struct floe_kafka_field *f = &s->fields[i];
        if (!floe_kafka_in(f->present, d->version) || floe_kafka_in(f->tagged, d->version))
            continue;
        if (f->flags & FLOE_KF_ARRAY)
            n += d->flexible ? 1 : 4;
        else if (f->flags & FLOE_KF_POINTER && floe_kafka_in(f->nullable, d->version))
            n += 1;
        else
            n += value_min(d, f);
    }
    return n;
}

/* A length or count, -1 for null; refuses null where the version has none and what no bytes left could hold.
 */
static enum floe_err decode_length(struct decoder *d, const struct floe_kafka_path *at, size_t unit,
                                   int32_t *out)
{
    const struct floe_kafka_field *f = at->field;
    bool is_string = f->type == FLOE_KT_STRING && (!(f->flags & FLOE_KF_ARRAY) || at->index >= 0);
    int64_t n;
    if (d->flexible && !(f->flags & FLOE_KF_NEVER_COMPACT))
        n = (int64_t)floe_read_uvarint32(&d->r) - 1;
    else
        n = is_string ? (int16_t)floe_read_be16(&d->r) : (int32_t)floe_read_be32(&d->r);
    if (d->r.bad)
        return cut_short(d, at);
    if (n < -1)
        return fail(d, at, FLOE_EINVAL, "a negative length");
    bool element = f->flags & FLOE_KF_ARRAY && at->index >= 0; /* elements are never null */
    if (n == -1 && (element || !floe_kafka_in(f->nullable, d->version)))
        return fail(d, at, FLOE_EINVAL, "null where this version has none");
    if (n > 0 && (uint64_t)n > floe_reader_left(&d->r) / unit)
        return fail(d, at, FLOE_EINVAL, "a length past the end of the message");
    if (is_string && n > INT16_MAX)
        return fail(d, at, FLOE_EINVAL, "a string of more than 32767 bytes");
    if (n > INT32_MAX)
        return fail(d, at, FLOE_EINVAL, "a length past the end of the message");
    *out = (int32_t)n;
    return FLOE_OK;
}

static enum floe_err decode_fixed(struct decoder *d, const struct floe_kafka_path *at, void *dest)
{
    uint64_t bits;
    const uint8_t *p;
    switch ((enum floe_kafka_type)at->field->type) {
    case FLOE_KT_BOOL:
        *(bool *)dest = floe_read_u8(&d->r) != 0;
        break;
    case FLOE_KT_INT8:
        *(int8_t *)dest = (int8_t)floe_read_u8(&d->r);
        break;
    case FLOE_KT_INT16:
    case FLOE_KT_UINT16:
        *(uint16_t *)dest = floe_read_be16(&d->r);
        break;
    case FLOE_KT_INT32:
        *(uint32_t *)dest = floe_read_be32(&d->r);
        break;
    case FLOE_KT_INT64:
        *(uint64_t *)dest = floe_read_be64(&d->r);
        break;
    case FLOE_KT_FLOAT64:
        bits = floe_read_be64(&d->r);
        memcpy(dest, &bits, sizeof bits);
        break;
    case FLOE_KT_UUID:
        p = floe_reader_take(&d->r, sizeof(struct floe_uuid));
        if (p)
            memcpy(dest, p, sizeof(struct floe_uuid));
        break;
    default:
        FLOE_ASSERT(!"a type of fixed width");
    }
    return d->r.bad ? cut_short(d, at) : FLOE_OK;
}

/* One value: the field itself, or one element of its array. */
static enum floe_err decode_one(struct decoder *d, const struct floe_kafka_path *at, void *dest)
{
    const struct floe_kafka_field *f = at->field;
    if (f->type == FLOE_KT_STRUCT)
        return decode_struct(d, f->type_struct, dest, at);
    if (f->type < FLOE_KT_STRING)
        return decode_fixed(d, at, dest);
    int32_t n;
    enum floe_err rc = decode_length(d, at, 1, &n);
    if (rc != FLOE_OK)
        return rc;
    const uint8_t *p = n < 0 ? NULL : floe_reader_take(&d->r, (size_t)n);
    if (f->type == FLOE_KT_STRING)
        *(struct floe_kstr *)dest = (struct floe_kstr){(const char *)p, n};
    else if (f->type == FLOE_KT_BYTES)
        *(struct floe_kbytes *)dest = (struct floe_kbytes){p, n};
    else
        *(struct floe_krecords *)dest = (struct floe_krecords){.p = p, .n = n};
    return FLOE_OK;
}

static enum floe_err decode_array(struct decoder *d, struct floe_kafka_path *at, void *base)
{
    const struct floe_kafka_field *f = at->field;
    size_t least = value_min(d, f), size = floe_kafka_type_size(f);
    int32_t n;
    enum floe_err rc = decode_length(d, at, least ? least : 1, &n);
    if (rc != FLOE_OK)
        return rc;
    uint8_t *elements = NULL;
    if (n > 0) {
        elements = floe_arena_calloc(d->arena, (size_t)n, size);
        if (!elements)
            return fail(d, at, FLOE_ETOOLARGE, "more than the memory allowed for one message");
    }
    for (int32_t i = 0; i < n; i++) {
        at->index = i;
        rc = decode_one(d, at, elements + (size_t)i * size);
        if (rc != FLOE_OK)
            return rc;
    }
    *(void **)(void *)((uint8_t *)base + f->offset) = elements;
    *(int32_t *)(void *)((uint8_t *)base + f->count_offset) = n;
    return FLOE_OK;
}

static enum floe_err decode_pointer(struct decoder *d, const struct floe_kafka_path *at, void *dest)
{
    const struct floe_kafka_field *f = at->field;
    if (floe_kafka_in(f->nullable, d->version)) {
        int8_t there = (int8_t)floe_read_u8(&d->r);
        if (d->r.bad)
            return cut_short(d, at);
        if (there < 0) {
            *(void **)dest = NULL;
            return FLOE_OK;
        }
    }
    void *p = floe_arena_alloc(d->arena, f->type_struct->size);
    if (!p)
        return fail(d, at, FLOE_ETOOLARGE, "more than the memory allowed for one message");
    *(void **)dest = p;
    return decode_struct(d, f->type_struct, p, at);
}

static enum floe_err decode_field(struct decoder *d, const struct floe_kafka_field *f, void *base,
                                  const struct floe_kafka_path *up)
{
    struct floe_kafka_path at = {up, f, -1};
    if (f->flags & FLOE_KF_ARRAY)
        return decode_array(d, &at, base);
    void *dest = (uint8_t *)base + f->offset;
    return f->flags & FLOE_KF_POINTER ? decode_pointer(d, &at, dest) : decode_one(d, &at, dest);
}

static const struct floe_kafka_field *find_tag(const struct decoder *d, const struct floe_kafka_struct *s,
                                               uint32_t tag)
{
    for (uint32_t i = 0; i < s->field_count; i++)
        if (s->fields[i].tag >= 0 && (uint32_t)s->fields[i].tag == tag &&
            floe_kafka_in(s->fields[i].tagged, d->version))
            return &s->fields[i];
    return NULL;
}

static enum floe_err decode_tags(struct decoder *d, const struct floe_kafka_struct *s, void *base,
                                 const struct floe_kafka_path *up)
{
    uint32_t count = floe_read_uvarint32(&d->r);
    if (!d->r.bad && count > floe_reader_left(&d->r) / 2)
        return fail(d, up, FLOE_EINVAL, "more tags than bytes");
    for (uint32_t i = 0; i < count && !d->r.bad; i++) {
        uint32_t tag = floe_read_uvarint32(&d->r);
        uint32_t size = floe_read_uvarint32(&d->r);
        if (d->r.bad || size > floe_reader_left(&d->r))
            return fail(d, up, FLOE_EINVAL, "a tag past the end of the message");
        const struct floe_kafka_field *f = find_tag(d, s, tag);
        if (!f) {
            floe_reader_take(&d->r, size);
            continue;
        }
        const uint8_t *end = d->r.end, *tag_end = d->r.p + size;
        d->r.end = tag_end;
        enum floe_err rc = decode_field(d, f, base, up);
        if (rc != FLOE_OK)
            return rc;
        if (d->r.p != tag_end)
            return fail(d, up, FLOE_EINVAL, "a tagged field shorter than its size");
        d->r.end = end;
    }
    return d->r.bad ? cut_short(d, up) : FLOE_OK;
}

static enum floe_err decode_struct(struct decoder *d, const struct floe_kafka_struct *s, void *dest,
                                   const struct floe_kafka_path *up)
{
    for (uint32_t i = 0; i < s->field_count; i++) {
        const struct floe_kafka_field *f = &s->fields[i];
        if (!floe_kafka_in(f->present, d->version) || floe_kafka_in(f->tagged, d->version)) {
            floe_kafka_field_default(f, dest);
            continue;
        }
        enum floe_err rc = decode_field(d, f, dest, up);
        if (rc != FLOE_OK)
            return rc;
    }
    return d->flexible ? decode_tags(d, s, dest, up) : FLOE_OK;
}

enum floe_err floe_kafka_decode_prefix(const struct floe_kafka_msg *m, int16_t version, struct floe_slice in,
                                       size_t *used, struct floe_arena *arena, void **out,
                                       struct floe_error *err)
{
    if (version < m->min || version > m->max)
        return floe_error_set(err, FLOE_EUNSUPPORTED, "%s has versions %d to %d, not %d", m->name, m->min,
                              m->max, version);
    static const uint8_t nothing;
    if (!in.p)
        in = floe_slice(&nothing, 0);
    struct decoder d = {floe_reader(in), in.p, m, arena, err, version, version >= m->flexible_from};
    void *msg = floe_arena_alloc(arena, m->body->size);
    if (!msg)
        return fail(&d, NULL, FLOE_ETOOLARGE, "more than the memory allowed for one message");
    enum floe_err rc = decode_struct(&d, m->body, msg, NULL);
    if (rc != FLOE_OK)
        return rc;
    *used = (size_t)(d.r.p - in.p);
    *out = msg;
    return FLOE_OK;
}

enum floe_err floe_kafka_decode(const struct floe_kafka_msg *m, int16_t version, struct floe_slice in,
                                struct floe_arena *arena, void **out, struct floe_error *err)
{
    size_t used;
    void *msg;
    enum floe_err rc = floe_kafka_decode_prefix(m, version, in, &used, arena, &msg, err);
    if (rc != FLOE_OK)
        return rc;
    if (used != in.n)
        return floe_error_set(err, FLOE_EINVAL, "%s v%d: %zu bytes left over after the message at byte %zu",
                              m->name, version, in.n - used, used);
    *out = msg;
    return FLOE_OK;
}
