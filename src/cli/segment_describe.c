/* Describing a segment or seal: JSON first, text from it. */
#include "segment_dump.h"

#include <floe/base/crc32c.h>
#include <floe/kafka/batch.h>
#include <floe/log/index.h>
#include <floe/segment/rollup.h>
#include <floe/segment.h>

#include <inttypes.h>

static json_t *text_of_session(const struct floe_session_name *s)
{
    char name[FLOE_SESSION_NAME_MAX];
    floe_session_format(name, s);
    return json_string(name);
}

static json_t *text_of_uuid(const struct floe_uuid *u)
{
    char hex[FLOE_UUID_HEX];
    floe_uuid_hex(hex, u);
    return json_string(hex);
}

static json_t *text_of_crc(uint32_t crc)
{
    char hex[9];
    snprintf(hex, sizeof hex, "%08" PRIx32, crc);
    return json_string(hex);
}

static void set_integer(json_t *o, const char *name, int64_t v)
{
    json_object_set_new(o, name, json_integer((json_int_t)v));
}

static json_t *describe_id(const struct floe_segment_id *id, uint64_t size)
{
    json_t *o = json_object();
    json_object_set_new(o, "kind", json_string(id->seal ? "seal" : "segment"));
    set_integer(o, "version", FLOE_SEGMENT_VERSION);
    set_integer(o, "bytes", (int64_t)size);
    json_object_set_new(o, "session", text_of_session(&id->session));
    set_integer(o, "seq", (int64_t)id->seq);
    json_object_set_new(o, "cluster", text_of_uuid(&id->cluster));
    json_object_set_new(o, "nonce", text_of_uuid(&id->nonce));
    set_integer(o, "created_ms", id->created_ms);
    return o;
}

static json_t *describe_batch(const struct floe_segment_batch *b)
{
    json_t *o = json_object();
    set_integer(o, "base_offset", b->base_offset);
    set_integer(o, "last_offset", b->base_offset + b->last_offset_delta);
    set_integer(o, "position", (int64_t)b->position);
    set_integer(o, "length", b->length);
    set_integer(o, "records", b->count);
    json_object_set_new(o, "compression",
                        json_string(floe_compression_name(
                            (enum floe_compression)(b->attributes & FLOE_BATCH_COMPRESSION_MASK))));
    set_integer(o, "attributes", b->attributes);
    set_integer(o, "base_timestamp", b->base_timestamp);
    set_integer(o, "max_timestamp", b->max_timestamp);
    set_integer(o, "producer_id", b->producer_id);
    set_integer(o, "producer_epoch", b->producer_epoch);
    set_integer(o, "base_sequence", b->base_sequence);
    return o;
}

/* True when the block's bytes fit their checksum; says so in `o`. */
static bool describe_place(json_t *o, struct floe_slice object, uint64_t position, uint32_t length,
                           uint32_t crc)
{
    bool ok = position + length <= object.n && floe_crc32c(0, object.p + position, length) == crc;
    set_integer(o, "position", (int64_t)position);
    set_integer(o, "length", length);
    json_object_set_new(o, "crc", text_of_crc(crc));
    json_object_set_new(o, "crc_ok", json_boolean(ok));
    return ok;
}

static json_t *describe_blocks(struct floe_segment_cursor *c, struct floe_slice object, uint32_t *bad)
{
    json_t *blocks = json_array();
    struct floe_segment_block b;
    struct floe_segment_batch m;
    char name[FLOE_SEGMENT_TOPIC_NAME_MAX + 1];
    while (floe_segment_next_block(c, &b)) {
        json_t *o = json_object();
        floe_segment_topic_name(c->f, b.topic_ref, name);
        json_object_set_new(o, "topic", json_string(name));
        json_object_set_new(o, "topic_id", text_of_uuid(&b.topic));
        set_integer(o, "partition", b.partition);
        set_integer(o, "leader_epoch", b.leader_epoch);
        set_integer(o, "base_offset", b.base_offset);
        set_integer(o, "end_offset", b.end_offset);
        set_integer(o, "max_timestamp", b.max_timestamp);
        *bad += !describe_place(o, object, b.position, b.length, b.crc);
        json_t *batches = json_array();
        while (floe_segment_next_batch(c, &m))
            json_array_append_new(batches, describe_batch(&m));
        json_object_set_new(o, "batches", batches);
        json_array_append_new(blocks, o);
    }
    return blocks;
}

static json_t *describe_opaques(struct floe_segment_cursor *c, struct floe_slice object, uint32_t *bad)
{
    json_t *opaques = json_array();
    struct floe_segment_opaque q;
    char name[FLOE_SEGMENT_TOPIC_NAME_MAX + 1];
    while (floe_segment_next_opaque(c, &q)) {
        json_t *o = json_object();
        const char *kind = q.kind == FLOE_OPAQUE_CHECKPOINT ? "checkpoint"
                           : q.kind == FLOE_OPAQUE_INDEX    ? "index"
                           : q.kind == FLOE_OPAQUE_ROLLUP   ? "roll-up"
                                                            : "unknown";
        json_object_set_new(o, "opaque", json_string(kind));
        set_integer(o, "opaque_kind", q.kind);
        if (q.has_topic) {
            floe_segment_topic_name(c->f, q.topic_ref, name);
            json_object_set_new(o, "topic", json_string(name));
            json_object_set_new(o, "topic_id", text_of_uuid(&q.topic));
            set_integer(o, "partition", q.partition);
            set_integer(o, "leader_epoch", q.leader_epoch);
        }
        if (q.kind == FLOE_OPAQUE_CHECKPOINT)
            set_integer(o, "covers", (int64_t)q.covers);
        bool ok = describe_place(o, object, q.position, q.length, q.crc);
        struct floe_index_page page;
        if (ok && q.kind == FLOE_OPAQUE_INDEX) {
            ok = floe_index_page_decode(floe_slice(object.p + q.position, q.length), &page, NULL) == FLOE_OK;
            set_integer(o, "level", ok ? (int64_t)page.level : -1);
            set_integer(o, "entries", ok ? (int64_t)page.n : -1);
        }
        struct floe_rollup rolled;
        if (ok && q.kind == FLOE_OPAQUE_ROLLUP) {
            ok = floe_rollup_open(floe_slice(object.p + q.position, q.length), c->f->key, &rolled, NULL) ==
                 FLOE_OK;
            set_integer(o, "first_key", ok ? (int64_t)rolled.first : -1);
            set_integer(o, "keys", ok ? (int64_t)rolled.count : -1);
        }
        *bad += !ok;
        json_array_append_new(opaques, o);
    }
    return opaques;
}

static json_t *describe_topics(const struct floe_segment_footer *f)
{
    json_t *topics = json_array();
    char name[FLOE_SEGMENT_TOPIC_NAME_MAX + 1];
    for (uint32_t i = 0; i < f->topic_count; i++) {
        struct floe_uuid id = floe_segment_topic_id(f, i);
        floe_segment_topic_name(f, i, name);
        json_t *o = json_object();
        json_object_set_new(o, "topic", json_string(name));
        json_object_set_new(o, "topic_id", text_of_uuid(&id));
        json_array_append_new(topics, o);
    }
    return topics;
}

json_t *floe_segment_describe(struct floe_slice object, const char *name, uint32_t *bad,
                              struct floe_error *err)
{
    struct floe_segment_id head;
    struct floe_segment_tail tail;
    struct floe_segment_footer f;
    *bad = 0;
    if (floe_segment_header_decode(object, name, &head, err) != FLOE_OK ||
        floe_segment_tail_open(object, object.n, name, &tail, err) != FLOE_OK)
        return NULL;
    if (floe_segment_footer_open(&tail, name, &f, err) != FLOE_OK ||
        floe_segment_id_check(&f.id, name, &head.session, head.seq, &head.cluster, err) != FLOE_OK)
        return NULL;
    json_t *o = describe_id(&head, object.n);
    if (head.seal) {
        struct floe_seal seal;
        if (floe_seal_decode(object, name, &seal, err) != FLOE_OK) {
            json_decref(o);
            return NULL;
        }
        json_object_set_new(o, "sealed_by", text_of_session(&seal.by));
        return o;
    }
    set_integer(o, "footer_position", (int64_t)tail.footer_position);
    set_integer(o, "footer_bytes", (int64_t)tail.footer.n);
    json_object_set_new(o, "topics", describe_topics(&f));
    struct floe_segment_cursor c;
    floe_segment_cursor_init(&c, &f);
    json_object_set_new(o, "blocks", describe_blocks(&c, object, bad));
    json_object_set_new(o, "opaques", describe_opaques(&c, object, bad));
    const struct floe_error *walked = floe_segment_cursor_err(&c);
    if (walked->code) {
        floe_error_set(err, walked->code, "%s", walked->msg);
        json_decref(o);
        return NULL;
    }
    return o;
}

/* ---- text ----------------------------------------------------------------------------------------- */

/* "name=value" for every plain member, in the order in which they were set. */
static void print_members(const json_t *o, FILE *out)
{
    const char *name;
    const json_t *v;
    json_object_foreach((json_t *)o, name, v)
    {
        if (json_is_string(v))
            fprintf(out, " %s=%s", name, json_string_value(v));
        else if (json_is_integer(v))
            fprintf(out, " %s=%" JSON_INTEGER_FORMAT, name, json_integer_value(v));
        else if (json_is_boolean(v))
            fprintf(out, " %s=%s", name, json_is_true(v) ? "yes" : "NO");
    }
    fputc('\n', out);
}

static void print_list(const json_t *o, const char *list, const char *label, const char *inner, FILE *out)
{
    size_t i;
    const json_t *v;
    json_array_foreach(json_object_get(o, list), i, v)
    {
        fputs(label, out);
        print_members(v, out);
        if (inner)
            print_list(v, inner, "  batch", NULL, out);
    }
}

void floe_segment_describe_print(const json_t *o, FILE *out)
{
    fputs("object", out);
    print_members(o, out);
    print_list(o, "topics", "topic", NULL, out);
    print_list(o, "blocks", "block", "batches", out);
    print_list(o, "opaques", "opaque-block", NULL, out);
}
