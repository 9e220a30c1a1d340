/* Encoding: walks the field tables over a bounded writer; records given as slices become references where the
 * output takes them. */
#include "kafka/desc.h"

#include <floe/base/assert.h>
#include <stdlib.h>

/* A slice this small is copied: it costs less than a piece of its own on the connection. */
#define COPY_MAX 128u

struct encoder {
    struct floe_writer *w;
    struct floe_kafka_out *out; /* null: everything is copied into w */
    const struct floe_kafka_msg *m;
    struct floe_error *err;
    int16_t version;
    bool flexible;
    bool in_tag; /* a tag's value is moved once its size is known: no references inside */
};

static enum floe_err fail(struct encoder *e, const struct floe_kafka_path *at, enum floe_err code,
                          const char *what)
{
    char path[160];
    floe_kafka_path_print(at, path, sizeof path);
    return floe_error_set(e->err, code, "%s v%d: %s%s%s", e->m->name, e->version, path, path[0] ? ": " : "",
                          what);
}

static enum floe_err encode_struct(struct encoder *e, const struct floe_kafka_struct *s, const void *src,
                                   const struct floe_kafka_path *up);

/* Length or count; -1 is null. */
static enum floe_err encode_length(struct encoder *e, const struct floe_kafka_path *at, int32_t n)
{
    const struct floe_kafka_field *f = at->field;
    bool element = f->flags & FLOE_KF_ARRAY && at->index >= 0;
    bool is_string = f->type == FLOE_KT_STRING && (!(f->flags & FLOE_KF_ARRAY) || element);
    if (n < 0 && (element || !floe_kafka_in(f->nullable, e->version)))
        return fail(e, at, FLOE_EINVAL, "null where this version has none");
    if (is_string && n > INT16_MAX)
        return fail(e, at, FLOE_EINVAL, "a string of more than 32767 bytes");
    n = n < 0 ? -1 : n;
    if (e->flexible && !(f->flags & FLOE_KF_NEVER_COMPACT))
        floe_write_uvarint(e->w, (uint64_t)((int64_t)n + 1));
    else if (is_string)
        floe_write_be16(e->w, (uint16_t)n);
    else
        floe_write_be32(e->w, (uint32_t)n);
    return FLOE_OK;
}

static enum floe_err reference(struct encoder *e, const struct floe_kafka_path *at,
                               const struct floe_bufslice *s)
{
    struct floe_kafka_out *o = e->out;
    if (o->cut_count == o->cut_max)
        return fail(e, at, FLOE_ETOOLARGE, "more slices than the output takes");
    if (o->cut_count == o->cut_cap) {
        uint32_t cap = o->cut_cap ? FLOE_MIN(o->cut_cap * 2, o->cut_max) : FLOE_MIN(16, o->cut_max);
        struct floe_kafka_cut *cuts = realloc(o->cuts, cap * sizeof *cuts);
        if (!cuts)
            return fail(e, at, FLOE_ENOMEM, "out of memory");
        o->cuts = cuts;
        o->cut_cap = cap;
    }
    if (s->buf)
        floe_buf_ref(s->buf);
    o->cuts[o->cut_count++] = (struct floe_kafka_cut){e->w->n, *s};
    o->external += s->n;
    return FLOE_OK;
}

static enum floe_err encode_records(struct encoder *e, const struct floe_kafka_path *at,
                                    const struct floe_krecords *r)
{
    enum floe_err rc = encode_length(e, at, r->n);
    if (rc != FLOE_OK || r->n <= 0)
        return rc;
    if (!r->slices) {
        floe_write(e->w, r->p, (size_t)r->n);
        return FLOE_OK;
    }
    size_t total = 0;
    for (uint32_t i = 0; i < r->slice_count && rc == FLOE_OK; i++) {
        const struct floe_bufslice *s = &r->slices[i];
        total += s->n;
        if (!e->out || e->in_tag || s->n <= COPY_MAX)
            floe_write(e->w, s->p, s->n);
        else
            rc = reference(e, at, s);
    }
    FLOE_ASSERT(rc != FLOE_OK || total == (size_t)r->n);
    return rc;
}

static enum floe_err encode_one(struct encoder *e, const struct floe_kafka_path *at, const void *src)
{
    const struct floe_kafka_field *f = at->field;
    uint64_t bits;
    enum floe_err rc;
    switch ((enum floe_kafka_type)f->type) {
    case FLOE_KT_BOOL:
        floe_write_u8(e->w, *(const bool *)src ? 1 : 0);
        return FLOE_OK;
    case FLOE_KT_INT8:
        floe_write_u8(e->w, *(const uint8_t *)src);
        return FLOE_OK;
    case FLOE_KT_INT16:
    case FLOE_KT_UINT16:
        floe_write_be16(e->w, *(const uint16_t *)src);
        return FLOE_OK;
    case FLOE_KT_INT32:
        floe_write_be32(e->w, *(const uint32_t *)src);
        return FLOE_OK;
    case FLOE_KT_INT64:
        floe_write_be64(e->w, *(const uint64_t *)src);
        return FLOE_OK;
    case FLOE_KT_FLOAT64:
        memcpy(&bits, src, sizeof bits);
        floe_write_be64(e->w, bits);
        return FLOE_OK;
    case FLOE_KT_UUID:
        floe_write(e->w, src, sizeof(struct floe_uuid));
        return FLOE_OK;
    case FLOE_KT_STRING: {
        const struct floe_kstr *s = src;
        rc = encode_length(e, at, s->n);
        if (rc == FLOE_OK && s->n > 0)
            floe_write(e->w, s->p, (size_t)s->n);
        return rc;
    }
    case FLOE_KT_BYTES: {
        const struct floe_kbytes *b = src;
        rc = encode_length(e, at, b->n);
        if (rc == FLOE_OK && b->n > 0)
            floe_write(e->w, b->p, (size_t)b->n);
        return rc;
    }
    case FLOE_KT_RECORDS:
        return encode_records(e, at, src);
    case FLOE_KT_STRUCT:
        break;
    }
    return encode_struct(e, f->type_struct, src, at);
}

static enum floe_err encode_array(struct encoder *e, struct floe_kafka_path *at, const uint8_t *base)
{
    const struct floe_kafka_field *f = at->field;
    const uint8_t *elements = *(const uint8_t *const *)(const void *)(base + f->offset);
    int32_t n = *(const int32_t *)(const void *)(base + f->count_offset);
    size_t size = floe_kafka_type_size(f);
    enum floe_err rc = encode_length(e, at, n);
    for (int32_t i = 0; rc == FLOE_OK && i < n && !e->w->bad; i++) {
        at->index = i;
        rc = encode_one(e, at, elements + (size_t)i * size);
    }
    return rc;
}

static enum floe_err encode_field(struct encoder *e, const struct floe_kafka_field *f, const uint8_t *base,
                                  const struct floe_kafka_path *up)
{
    struct floe_kafka_path at = {up, f, -1};
    if (f->flags & FLOE_KF_ARRAY)
        return encode_array(e, &at, base);
    const uint8_t *src = base + f->offset;
    if (f->flags & FLOE_KF_POINTER) {
        bool nullable = floe_kafka_in(f->nullable, e->version);
        src = *(const uint8_t *const *)(const void *)src;
        if (!src && !nullable)
            return fail(e, &at, FLOE_EINVAL, "null where this version has none");
        if (nullable)
            floe_write_u8(e->w, src ? 1 : 0xff);
        if (!src)
            return FLOE_OK;
    }
    return encode_one(e, &at, src);
}

/* Tag, size, value; the size is known only after the value is written, which then moves up. */
static enum floe_err encode_tag(struct encoder *e, const struct floe_kafka_field *f, const uint8_t *base,
                                const struct floe_kafka_path *up)
{
    bool outer = e->in_tag;
    floe_write_uvarint(e->w, (uint64_t)f->tag);
    size_t at = e->w->n;
    e->in_tag = true;
    enum floe_err rc = encode_field(e, f, base, up);
    e->in_tag = outer;
    if (rc != FLOE_OK || e->w->bad)
        return rc;
    size_t size = e->w->n - at;
    uint8_t prefix[10];
    size_t n = 0;
    for (size_t v = size; n == 0 || v; v >>= 7)
        prefix[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
    if (!floe_writer_grow(e->w, n))
        return FLOE_OK; /* the writer remembers that it is full */
    memmove(e->w->p + at + n, e->w->p + at, size);
    memcpy(e->w->p + at, prefix, n);
    return FLOE_OK;
}

static enum floe_err encode_tags(struct encoder *e, const struct floe_kafka_struct *s, const uint8_t *base,
                                 const struct floe_kafka_path *up)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->field_count; i++)
        if (floe_kafka_in(s->fields[i].tagged, e->version) &&
            !floe_kafka_field_is_default(&s->fields[i], base))
            count++;
    floe_write_uvarint(e->w, count);
    int32_t last = -1;
    for (; count > 0; count--) {
        const struct floe_kafka_field *next = NULL; /* the lowest tag above the last one */
        for (uint32_t i = 0; i < s->field_count; i++) {
            const struct floe_kafka_field *f = &s->fields[i];
            if (floe_kafka_in(f->tagged, e->version) && f->tag > last && (!next || f->tag < next->tag) &&
                !floe_kafka_field_is_default(f, base))
                next = f;
        }
        FLOE_ASSERT(next);
        last = next->tag;
        enum floe_err rc = encode_tag(e, next, base, up);
        if (rc != FLOE_OK)
            return rc;
    }
    return FLOE_OK;
}

static enum floe_err encode_struct(struct encoder *e, const struct floe_kafka_struct *s, const void *src,
                                   const struct floe_kafka_path *up)
{
    for (uint32_t i = 0; i < s->field_count; i++) {
        const struct floe_kafka_field *f = &s->fields[i];
        if (!floe_kafka_in(f->present, e->version)) {
            if (!(f->flags & FLOE_KF_IGNORABLE) && !floe_kafka_field_is_default(f, src))
                return fail(e, &(struct floe_kafka_path){up, f, -1}, FLOE_EINVAL,
                            "a value that this version cannot say");
            continue;
        }
        if (floe_kafka_in(f->tagged, e->version))
            continue;
        enum floe_err rc = encode_field(e, f, src, up);
        if (rc != FLOE_OK)
            return rc;
    }
    return e->flexible ? encode_tags(e, s, src, up) : FLOE_OK;
}

static void drop_cuts(struct floe_kafka_out *o, uint32_t from)
{
    while (o->cut_count > from) {
        struct floe_bufslice *s = &o->cuts[--o->cut_count].slice;
        o->external -= s->n;
        floe_buf_unref(s->buf);
    }
}

static enum floe_err encode(const struct floe_kafka_msg *m, int16_t version, const void *msg,
                            struct floe_writer *w, struct floe_kafka_out *out, struct floe_error *err)
{
    struct encoder e = {w, out, m, err, version, version >= m->flexible_from, false};
    if (version < m->min || version > m->max)
        return floe_error_set(err, FLOE_EUNSUPPORTED, "%s has versions %d to %d, not %d", m->name, m->min,
                              m->max, version);
    if (w->bad)
        return fail(&e, NULL, FLOE_ETOOLARGE, "the output is full");
    size_t start = w->n;
    uint32_t cuts = out ? out->cut_count : 0;
    enum floe_err rc = encode_struct(&e, m->body, msg, NULL);
    if (rc == FLOE_OK && w->bad)
        rc = floe_error_set(err, FLOE_ETOOLARGE, "%s v%d: more than the %zu bytes allowed", m->name, version,
                            w->max);
    if (rc != FLOE_OK) {
        w->n = start;
        w->bad = false;
        if (out)
            drop_cuts(out, cuts);
    }
    return rc;
}

enum floe_err floe_kafka_encode(const struct floe_kafka_msg *m, int16_t version, const void *msg,
                                struct floe_writer *w, struct floe_error *err)
{
    return encode(m, version, msg, w, NULL, err);
}

enum floe_err floe_kafka_encode_out(const struct floe_kafka_msg *m, int16_t version, const void *msg,
                                    struct floe_kafka_out *o, struct floe_error *err)
{
    return encode(m, version, msg, &o->w, o, err);
}

void floe_kafka_out_init(struct floe_kafka_out *o, size_t max, uint32_t cut_max)
{
    *o = (struct floe_kafka_out){.cut_max = cut_max};
    floe_writer_init(&o->w, max);
}

void floe_kafka_out_fini(struct floe_kafka_out *o)
{
    drop_cuts(o, 0);
    free(o->cuts);
    o->cuts = NULL;
    o->cut_cap = 0;
    floe_writer_fini(&o->w);
}

size_t floe_kafka_out_size(const struct floe_kafka_out *o)
{
    return o->w.n + o->external;
}

enum floe_err floe_kafka_out_take(struct floe_kafka_out *o, struct floe_budget *budget,
                                  struct floe_bufslice **slices, uint32_t *count, struct floe_error *err)
{
    struct floe_buf *buf = NULL;
    struct floe_bufslice *list = malloc(((size_t)o->cut_count * 2 + 1) * sizeof *list);
    if (o->w.n > 0)
        buf = floe_buf_create_forced(o->w.n, budget);
    if (!list || (o->w.n > 0 && !buf)) {
        free(list);
        floe_buf_unref(buf);
        return floe_error_set(err, FLOE_ENOMEM, "no memory for a response of %zu bytes",
                              floe_kafka_out_size(o));
    }
    if (buf) {
        memcpy(buf->data, o->w.p, o->w.n);
        buf->n = o->w.n;
    }
    uint32_t n = 0;
    size_t at = 0;
    for (uint32_t i = 0; i <= o->cut_count; i++) {
        size_t end = i < o->cut_count ? o->cuts[i].at : o->w.n;
        if (end > at)
            list[n++] = (struct floe_bufslice){floe_buf_ref(buf), buf->data + at, end - at};
        at = end;
        if (i < o->cut_count)
            list[n++] = o->cuts[i].slice; /* its reference moves */
    }
    floe_buf_unref(buf);
    o->cut_count = 0;
    o->external = 0;
    o->w.n = 0;
    *slices = list;
    *count = n;
    return FLOE_OK;
}
