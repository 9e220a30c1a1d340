/* Messages as JSON, in the shape of Kafka's own JSON converters. Strings that are no UTF-8 are printed with
 * U+FFFD. */
#include "kafka/desc.h"

#include <math.h>
#include <stdio.h>

static void put(struct floe_writer *w, const char *s)
{
    floe_write(w, s, strlen(s));
}

/* Bytes of the valid UTF-8 sequence at p, or 0. */
static size_t utf8_sequence(const uint8_t *p, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0x80                   ? 1
               : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
               : (p[0] & 0xf0) == 0xe0       ? 3
               : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                             : 0;
    if (n <= 1)
        return n;
    if (n > left)
        return 0;
    uint32_t v = p[0] & (0x7fU >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (p[i] & 0x3f);
    }
    return v < least[n] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000) ? 0 : n;
}

static void put_string(struct floe_writer *w, struct floe_kstr s)
{
    const uint8_t *p = (const uint8_t *)s.p;
    if (s.n < 0) {
        put(w, "null");
        return;
    }
    put(w, "\"");
    for (size_t i = 0, left; (left = (size_t)s.n - i) > 0;) {
        size_t n = utf8_sequence(p + i, left);
        char esc[8];
        if (n == 0) {
            put(w, "\xef\xbf\xbd");
            i++;
            continue;
        }
        if (p[i] == '"' || p[i] == '\\' || p[i] < 0x20) {
            snprintf(esc, sizeof esc, p[i] < 0x20 ? "\\u%04x" : "\\%c", p[i]);
            put(w, esc);
        } else {
            floe_write(w, p + i, n);
        }
        i += n;
    }
    put(w, "\"");
}

static void put_base64(struct floe_writer *w, const uint8_t *p, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v =
            (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
        char q[4] = {digit[v >> 18], digit[v >> 12 & 63], i + 1 < n ? digit[v >> 6 & 63] : '=',
                     i + 2 < n ? digit[v & 63] : '='};
        floe_write(w, q, 4);
    }
}

static void put_records(struct floe_writer *w, const struct floe_krecords *r)
{
    if (!r->slices) {
        put_base64(w, r->p, (size_t)r->n);
        return;
    }
    struct floe_writer all; /* groups of three bytes may cross slices */
    floe_writer_init(&all, (size_t)r->n);
    for (uint32_t i = 0; i < r->slice_count; i++)
        floe_write(&all, r->slices[i].p, r->slices[i].n);
    if (all.bad)
        w->bad = true;
    else
        put_base64(w, all.p, all.n);
    floe_writer_fini(&all);
}

static void put_double(struct floe_writer *w, double v)
{
    char text[40];
    if (isnan(v) || isinf(v))
        snprintf(text, sizeof text, "\"%s\"", isnan(v) ? "NaN" : v < 0 ? "-Infinity" : "Infinity");
    else
        snprintf(text, sizeof text, "%.17g", v);
    put(w, text);
    if (!strpbrk(text, ".eEnN"))
        put(w, ".0");
}

static void put_struct(struct floe_writer *w, const struct floe_kafka_struct *s, int16_t version,
                       const uint8_t *base);

static void put_one(struct floe_writer *w, const struct floe_kafka_field *f, int16_t version, const void *p)
{
    char text[32] = "";
    int32_t n;
    switch ((enum floe_kafka_type)f->type) {
    case FLOE_KT_BOOL:
        put(w, *(const bool *)p ? "true" : "false");
        return;
    case FLOE_KT_INT8:
        snprintf(text, sizeof text, "%d", *(const int8_t *)p);
        break;
    case FLOE_KT_INT16:
        snprintf(text, sizeof text, "%d", *(const int16_t *)p);
        break;
    case FLOE_KT_UINT16:
        snprintf(text, sizeof text, "%u", *(const uint16_t *)p);
        break;
    case FLOE_KT_INT32:
        snprintf(text, sizeof text, "%d", *(const int32_t *)p);
        break;
    case FLOE_KT_INT64:
        snprintf(text, sizeof text, "%lld", (long long)*(const int64_t *)p);
        break;
    case FLOE_KT_FLOAT64:
        put_double(w, *(const double *)p);
        return;
    case FLOE_KT_UUID:
        text[0] = '"';
        floe_uuid_b64(text + 1, p);
        put(w, text);
        put(w, "\"");
        return;
        break;
    case FLOE_KT_STRING:
        put_string(w, *(const struct floe_kstr *)p);
        return;
    case FLOE_KT_BYTES:
    case FLOE_KT_RECORDS:
        n = f->type == FLOE_KT_BYTES ? ((const struct floe_kbytes *)p)->n
                                     : ((const struct floe_krecords *)p)->n;
        put(w, n < 0 ? "null" : "\"");
        if (n >= 0 && f->type == FLOE_KT_BYTES)
            put_base64(w, ((const struct floe_kbytes *)p)->p, (size_t)n);
        else if (n >= 0)
            put_records(w, p);
        put(w, n < 0 ? "" : "\"");
        return;
    case FLOE_KT_STRUCT:
        put_struct(w, f->type_struct, version, p);
        return;
    }
    put(w, text);
}

static void put_field(struct floe_writer *w, const struct floe_kafka_field *f, int16_t version,
                      const uint8_t *base)
{
    const uint8_t *p = base + f->offset;
    if (!(f->flags & (FLOE_KF_ARRAY | FLOE_KF_POINTER))) {
        put_one(w, f, version, p);
        return;
    }
    p = *(const uint8_t *const *)(const void *)p;
    if (f->flags & FLOE_KF_POINTER) {
        if (p)
            put_one(w, f, version, p);
        else
            put(w, "null");
        return;
    }
    int32_t n = *(const int32_t *)(const void *)(base + f->count_offset);
    put(w, n < 0 ? "null" : "[");
    for (int32_t i = 0; i < n && !w->bad; i++) {
        put(w, i ? "," : "");
        put_one(w, f, version, p + (size_t)i * floe_kafka_type_size(f));
    }
    put(w, n < 0 ? "" : "]");
}

static void put_struct(struct floe_writer *w, const struct floe_kafka_struct *s, int16_t version,
                       const uint8_t *base)
{
    bool first = true;
    put(w, "{");
    for (uint32_t i = 0; i < s->field_count && !w->bad; i++) {
        const struct floe_kafka_field *f = &s->fields[i];
        if (!floe_kafka_in(f->present, version) ||
            (floe_kafka_in(f->tagged, version) && floe_kafka_field_is_default(f, base)))
            continue;
        put(w, first ? "\"" : ",\"");
        first = false;
        floe_write_u8(w, (uint8_t)(f->name[0] | 0x20)); /* names start with a capital letter */
        put(w, f->name + 1);
        put(w, "\":");
        put_field(w, f, version, base);
    }
    put(w, "}");
}

enum floe_err floe_kafka_json(const struct floe_kafka_msg *m, int16_t version, const void *msg,
                              struct floe_writer *w, struct floe_error *err)
{
    put_struct(w, m->body, version, msg);
    return w->bad ? floe_error_set(err, FLOE_ETOOLARGE, "%s v%d as JSON takes more than %zu bytes", m->name,
                                   version, w->max)
                  : FLOE_OK;
}
