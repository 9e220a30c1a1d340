#include "libs3_verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- bytes ---------------------------------------------------------------------------------------- */

struct input {
    const char *key;
    const uint8_t *p; /* the whole object */
    size_t n;
    char *why;
};

static bool wrong(const struct input *in, size_t at, const char *fmt, ...)
{
    va_list ap;
    int n = snprintf(in->why, 200, "%s: byte %zu: ", in->key, at);
    va_start(ap, fmt);
    if (n > 0 && n < 200)
        vsnprintf(in->why + n, 200 - (size_t)n, fmt, ap);
    va_end(ap);
    return false;
}

static uint32_t crc_more(uint32_t crc, const uint8_t *p, size_t n)
{
    static uint32_t table[256];
    if (!table[1])
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int k = 0; k < 8; k++)
                c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
            table[i] = c;
        }
    crc = ~crc;
    while (n--)
        crc = table[(crc ^ *p++) & 0xff] ^ crc >> 8;
    return ~crc;
}

static uint64_t little(const uint8_t *p, int n)
{
    uint64_t v = 0;
    while (n--)
        v = v << 8 | p[n];
    return v;
}

static uint64_t big(const uint8_t *p, int n)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

/* A place in the footer; `bad` once something was cut. */
struct walk {
    const uint8_t *p, *end;
    bool bad;
};

static uint64_t uvarint(struct walk *w)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 70; shift += 7) {
        if (w->p == w->end)
            break;
        uint8_t b = *w->p++;
        if (shift == 63 && b > 1)
            break;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80)
            return v;
    }
    w->bad = true;
    return 0;
}

static int64_t varint(struct walk *w)
{
    uint64_t u = uvarint(w);
    return (int64_t)(u >> 1 ^ (0 - (u & 1)));
}

static uint64_t fixed(struct walk *w, int n)
{
    if (w->end - w->p < n) {
        w->bad = true;
        return 0;
    }
    w->p += n;
    return little(w->p - n, n);
}

static bool grow(void **p, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return true;
    size_t more = *cap ? *cap * 2 : 256;
    void *q = realloc(*p, more * size);
    if (!q)
        return false;
    *p = q;
    *cap = more;
    return true;
}

/* ---- header, trailer, sections -------------------------------------------------------------------- */

static bool parse_key(const struct input *in, struct seen_object *o)
{
    char again[128];
    int end = 0;
    if (sscanf(in->key, "chain/%9" SCNu32 "-%9" SCNu32 "-%16" SCNx64 "/%20" SCNu64 "%n", &o->node, &o->epoch,
               &o->id, &o->seq, &end) != 4 ||
        in->key[end] != 0)
        return wrong(in, 0, "the key is not chain/<node>-<epoch>-<id>/<seq>");
    snprintf(again, sizeof again, "chain/%" PRIu32 "-%" PRIu32 "-%016" PRIx64 "/%020" PRIu64, o->node,
             o->epoch, o->id, o->seq);
    return strcmp(again, in->key) == 0 || wrong(in, 0, "the key should be spelt %s", again);
}

static bool check_header(const struct input *in, struct seen_object *o)
{
    const uint8_t *p = in->p;
    if (in->n < 96 + 32)
        return wrong(in, in->n, "too short");
    if (memcmp(p, "FLOESEG1", 8) != 0 || little(p + 8, 2) != 1 || little(p + 10, 2) > 1 ||
        little(p + 12, 4) != 96)
        return wrong(in, 0, "magic, version, flags or header length");
    if (little(p + 16, 4) != o->node || little(p + 20, 4) != o->epoch || little(p + 24, 8) != o->id ||
        little(p + 32, 8) != o->seq)
        return wrong(in, 16, "the header names another key");
    for (int i = 80; i < 92; i++)
        if (p[i])
            return wrong(in, 80, "reserved bytes are not zero");
    if (little(p + 92, 4) != crc_more(0, p, 92))
        return wrong(in, 92, "CRC of the header");
    memcpy(o->cluster, p + 40, 16);
    memcpy(o->nonce, p + 56, 16);
    o->seal = little(p + 10, 2) == 1;
    return true;
}

struct sections {
    struct walk at[6]; /* by type; p null when it is not there */
    size_t footer;
};

static bool check_trailer(const struct input *in, const struct seen_object *o, struct sections *s)
{
    const uint8_t *t = in->p + in->n - 32;
    size_t at = in->n - 32;
    uint64_t position = little(t, 8), length = little(t + 8, 4);
    if (memcmp(t + 24, "FLOEEND1", 8) != 0 || little(t + 20, 4) != crc_more(0, t, 20))
        return wrong(in, at, "magic or CRC of the trailer");
    if (little(t + 16, 2) != 1 || little(t + 18, 2) != (o->seal ? 1u : 0u))
        return wrong(in, at + 16, "version or flags of the trailer");
    if (position < 96 || position > at || length != at - position)
        return wrong(in, at, "place of the footer");
    if (little(t + 12, 4) != crc_more(0, in->p + position, length))
        return wrong(in, at + 12, "CRC of the footer");
    s->footer = position;
    return true;
}

static bool find_sections(const struct input *in, const struct seen_object *o, struct sections *s)
{
    size_t at = s->footer, end = in->n - 32;
    while (at < end) {
        const uint8_t *h = in->p + at;
        if (end - at < 12 || little(h + 4, 4) > end - at - 12)
            return wrong(in, at, "a section is cut");
        uint64_t type = little(h, 2), n = little(h + 4, 4);
        if (type < 1 || type > 5 || little(h + 2, 2) != 1 || s->at[type].p)
            return wrong(in, at, "section of type %" PRIu64 " with flags %" PRIu64, type, little(h + 2, 2));
        if (little(h + 8, 4) != crc_more(crc_more(0, h, 8), h + 12, n))
            return wrong(in, at + 8, "CRC of a section");
        s->at[type] = (struct walk){h + 12, h + 12 + n, false};
        at += 12 + n;
    }
    const struct walk *id = &s->at[1];
    if (!id->p || id->end - id->p != 96 || memcmp(id->p, in->p, 96) != 0)
        return wrong(in, s->footer, "the identity is not the header's copy");
    bool segment = s->at[2].p && s->at[3].p && s->at[4].p && !s->at[5].p;
    bool seal = !s->at[2].p && !s->at[3].p && !s->at[4].p && s->at[5].p;
    return (o->seal ? seal : segment) || wrong(in, s->footer, "sections are missing or too many");
}

/* ---- blocks --------------------------------------------------------------------------------------- */

struct dictionary {
    const uint8_t *ids;
    uint64_t n;
};

static bool read_dictionary(const struct input *in, struct walk w, struct dictionary *d)
{
    size_t at = (size_t)(w.p - in->p);
    d->n = fixed(&w, 4);
    if (w.bad || d->n > (uint64_t)(w.end - w.p) / 18)
        return wrong(in, at, "count of the dictionary");
    d->ids = w.p;
    w.p += d->n * 16;
    for (uint64_t i = 0; i < d->n; i++) {
        uint64_t n = fixed(&w, 1);
        if (w.bad || n == 0 || n > 249 || n > (uint64_t)(w.end - w.p))
            return wrong(in, at, "a name of the dictionary");
        w.p += n;
    }
    return w.p == w.end || wrong(in, at, "bytes behind the dictionary");
}

struct batch_state {
    int64_t offset, timestamp, producer_id;
    size_t position;
};

/* One batch entry against the batch itself, which is Kafka's (magic 2). */
static bool check_batch(const struct input *in, struct walk *w, const struct seen_block *b,
                        struct batch_state *s, size_t block_end, struct seen *seen)
{
    int64_t base = s->offset + (int64_t)uvarint(w);
    uint64_t last = uvarint(w), length = uvarint(w);
    int64_t count = varint(w) + (int64_t)last + 1;
    uint64_t attributes = uvarint(w);
    int64_t first_time = (int64_t)((uint64_t)s->timestamp + (uint64_t)varint(w));
    int64_t max_time = (int64_t)((uint64_t)first_time + (uint64_t)varint(w));
    int64_t producer = (int64_t)((uint64_t)s->producer_id + (uint64_t)varint(w));
    int64_t producer_epoch = producer != -1 ? varint(w) : -1, sequence = producer != -1 ? varint(w) : -1;
    if (w->bad || length < 61 || length > block_end - s->position)
        return wrong(in, s->position, "a batch's entry");
    const uint8_t *p = in->p + s->position;
    if ((int64_t)big(p, 8) != base || big(p + 8, 4) + 12 != length || big(p + 12, 4) != b->leader_epoch ||
        p[16] != 2 || big(p + 21, 2) != attributes || big(p + 23, 4) != last ||
        (int64_t)big(p + 27, 8) != first_time || (int64_t)big(p + 35, 8) != max_time ||
        (int64_t)big(p + 43, 8) != producer || (int16_t)big(p + 51, 2) != producer_epoch ||
        (int32_t)big(p + 53, 4) != sequence || (int64_t)big(p + 57, 4) != count)
        return wrong(in, s->position, "the batch is not what the footer says");
    if (big(p + 17, 4) != crc_more(0, p + 21, length - 21))
        return wrong(in, s->position + 17, "CRC of a batch");
    *s = (struct batch_state){base + (int64_t)last + 1, first_time, producer, s->position + length};
    seen->batches++;
    seen->records += (uint64_t)count;
    seen->batch_bytes += length;
    return true;
}

static bool check_block(const struct input *in, struct walk *w, const struct dictionary *d, size_t footer,
                        size_t *end, struct seen *seen)
{
    struct seen_block b = {.counted = true};
    uint64_t topic = uvarint(w);
    b.partition = (uint32_t)uvarint(w);
    b.leader_epoch = (uint32_t)uvarint(w);
    uint64_t gap = uvarint(w), length = uvarint(w), crc = fixed(w, 4);
    b.base = (int64_t)uvarint(w);
    b.end = b.base + (int64_t)uvarint(w);
    int64_t max_time = varint(w);
    uint64_t batches = uvarint(w), entry_bytes = uvarint(w);
    size_t position = *end + gap;
    if (w->bad || topic >= d->n || position > footer || length == 0 || length > footer - position ||
        b.base < 0 || b.end <= b.base || batches == 0 || entry_bytes > (uint64_t)(w->end - w->p))
        return wrong(in, (size_t)(w->p - in->p), "a block's entry");
    if (length > 1u << 20 && batches > 1)
        return wrong(in, position, "a block of %" PRIu64 " bytes was not split", length);
    if (crc_more(0, in->p + position, length) != crc)
        return wrong(in, position, "CRC of a block");
    struct walk entries = {w->p, w->p + entry_bytes, false};
    struct batch_state s = {b.base, max_time, -1, position};
    uint64_t records = seen->records;
    int64_t largest = -1;
    for (uint64_t i = 0; i < batches; i++) {
        size_t at = s.position;
        if (!check_batch(in, &entries, &b, &s, position + length, seen))
            return false;
        int64_t t = (int64_t)big(in->p + at + 35, 8);
        largest = t > largest ? t : largest;
    }
    if (entries.p != entries.end || s.position != position + length || s.offset != b.end ||
        largest != max_time)
        return wrong(in, position, "the batches do not make up their block");
    w->p += entry_bytes;
    *end = position + length;
    memcpy(b.topic, d->ids + topic * 16, 16);
    b.records = seen->records - records;
    if (!grow((void **)&seen->blocks, seen->block_n, &seen->block_cap, sizeof b))
        return wrong(in, position, "no memory");
    seen->blocks[seen->block_n++] = b;
    return true;
}

static bool check_opaques(const struct input *in, struct walk w, const struct dictionary *d, size_t footer,
                          struct seen *seen)
{
    uint64_t n = fixed(&w, 4);
    size_t end = 96;
    for (uint64_t i = 0; i < n && !w.bad; i++) {
        uint64_t kind = uvarint(&w), topic = uvarint(&w);
        if (topic) {
            uvarint(&w);
            uvarint(&w);
        }
        uint64_t gap = uvarint(&w), length = uvarint(&w), crc = fixed(&w, 4), covers = uvarint(&w);
        size_t position = end + gap;
        if (w.bad || kind == 0 || topic > d->n || position > footer || length == 0 ||
            length > footer - position || (kind != 1 && covers != 0))
            return wrong(in, (size_t)(w.p - in->p), "an opaque block's entry");
        if (crc_more(0, in->p + position, length) != crc)
            return wrong(in, position, "CRC of an opaque block");
        end = position + length;
        seen->opaques++;
    }
    return (!w.bad && w.p == w.end) || wrong(in, (size_t)(w.p - in->p), "the section of opaque blocks");
}

static bool check_segment(const struct input *in, const struct sections *s, struct seen *seen)
{
    struct dictionary d = {0};
    if (!read_dictionary(in, s->at[2], &d))
        return false;
    struct walk w = s->at[3];
    uint64_t n = fixed(&w, 4);
    size_t end = 96;
    for (uint64_t i = 0; i < n; i++)
        if (!check_block(in, &w, &d, s->footer, &end, seen))
            return false;
    if (w.bad || w.p != w.end)
        return wrong(in, s->footer, "the section of batches");
    return check_opaques(in, s->at[4], &d, s->footer, seen);
}

/* The object's place in its chain. What lies behind a seal, or behind a hole that nobody has sealed yet (the
 * PUT of a lower key never landed), is never read; a seal behind a hole cannot be. */
static uint64_t floor_of(const struct seen *seen, const struct seen_object *o)
{
    for (size_t i = 0; i < seen->floor_n; i++) {
        const struct seen_floor *f = &seen->floors[i];
        if (f->node == o->node && f->epoch == o->epoch && f->id == o->id)
            return f->floor;
    }
    return 0;
}

/* Keys that may be missing before this one: below the floor any, up to it; all, where only the seal is left.
 */
static void pass_gap(struct seen *seen, const struct seen_object *o, uint64_t floor, bool first)
{
    if (o->seq < floor || (seen->chain.seq < floor && o->seq == floor) || (first && o->seal))
        seen->chain.seq = o->seq;
}

static bool take_place(const struct input *in, const struct seen_object *o, struct seen *seen,
                       size_t first_block)
{
    const struct seen_object *c = &seen->chain;
    uint64_t floor = floor_of(seen, o);
    bool first = false;
    if (c->node != o->node || c->epoch != o->epoch || c->id != o->id || !seen->chain_any) {
        seen->chain = *o;
        seen->chain.seq = 0;
        seen->chain.seal = false; /* ended */
        seen->chain_any = first = true;
    }
    if (!seen->chain.seal && o->seq > seen->chain.seq)
        pass_gap(seen, o, floor, first);
    if (!seen->chain.seal && o->seal && o->seq < floor) { /* a stray one: the last seal ends a chain */
        seen->orphans++;
        seen->chain.seq = o->seq + 1;
        return true;
    }
    if (!seen->chain.seal && o->seq != seen->chain.seq) {
        if (o->seal)
            return wrong(in, 0, "a seal behind a hole in its chain");
        seen->chain.seal = true;
    }
    if (seen->chain.seal) {
        if (o->seal)
            return true;
        seen->orphans++;
        for (size_t i = first_block; i < seen->block_n; i++)
            seen->blocks[i].counted = false;
        return true;
    }
    seen->chain.seq++;
    seen->chain.seal = o->seal;
    seen->bytes += in->n;
    if (!grow((void **)&seen->objects, seen->object_n, &seen->object_cap, sizeof *o))
        return wrong(in, 0, "no memory");
    seen->objects[seen->object_n++] = *o;
    return true;
}

bool verify_object(struct seen *seen, const char *key, const uint8_t *p, size_t n, char why[200])
{
    struct input in = {key, p, n, why};
    struct seen_object o = {0};
    struct sections s = {0};
    size_t first_block = seen->block_n;
    if (!parse_key(&in, &o) || !check_header(&in, &o) || !check_trailer(&in, &o, &s) ||
        !find_sections(&in, &o, &s))
        return false;
    if (o.seal) {
        if (n != 264 || s.footer != 96 || s.at[5].end - s.at[5].p != 16)
            return wrong(&in, 0, "a seal is 264 bytes");
        seen->seals++;
    } else {
        if (!check_segment(&in, &s, seen))
            return false;
        seen->segments++;
    }
    return seen->alone || take_place(&in, &o, seen, first_block);
}

/* ---- the whole bucket ----------------------------------------------------------------------------- */

static int by_nonce(const void *a, const void *b)
{
    return memcmp(((const struct seen_object *)a)->nonce, ((const struct seen_object *)b)->nonce, 16);
}

static int by_offset(const void *va, const void *vb)
{
    const struct seen_block *a = va, *b = vb;
    if (a->counted != b->counted)
        return a->counted ? -1 : 1;
    int c = memcmp(a->topic, b->topic, 16);
    if (c)
        return c;
    if (a->partition != b->partition)
        return a->partition < b->partition ? -1 : 1;
    return a->base < b->base ? -1 : a->base > b->base;
}

bool verify_all(struct seen *seen, char why[200])
{
    if (seen->object_n)
        qsort(seen->objects, seen->object_n, sizeof *seen->objects, by_nonce);
    for (size_t i = 1; i < seen->object_n; i++) {
        if (memcmp(seen->objects[i].cluster, seen->objects[0].cluster, 16) != 0) {
            snprintf(why, 200, "objects of two clusters");
            return false;
        }
        if (by_nonce(&seen->objects[i - 1], &seen->objects[i]) == 0) {
            snprintf(why, 200,
                     "key %" PRIu64 " of session %" PRIu32 "-%" PRIu32 " has another object's nonce",
                     seen->objects[i].seq, seen->objects[i].node, seen->objects[i].epoch);
            return false;
        }
    }
    if (seen->block_n)
        qsort(seen->blocks, seen->block_n, sizeof *seen->blocks, by_offset);
    for (size_t i = 1; i < seen->block_n && seen->blocks[i].counted; i++) {
        const struct seen_block *a = &seen->blocks[i - 1], *b = &seen->blocks[i];
        if (a->partition != b->partition || memcmp(a->topic, b->topic, 16) != 0)
            continue;
        if (b->base < a->end || b->leader_epoch < a->leader_epoch) {
            snprintf(why, 200,
                     "partition %" PRIu32 ": offset %" PRId64 " (epoch %" PRIu32
                     ") is there although %" PRId64 " to %" PRId64 " (epoch %" PRIu32 ") is",
                     b->partition, b->base, b->leader_epoch, a->base, a->end, a->leader_epoch);
            return false;
        }
    }
    return true;
}

bool verify_floor(struct seen *seen, const char *name, int64_t floor, char why[200])
{
    struct seen_floor f = {.floor = (uint64_t)floor};
    int end = 0;
    if (floor < 0 ||
        sscanf(name, "%9" SCNu32 "-%9" SCNu32 "-%16" SCNx64 "%n", &f.node, &f.epoch, &f.id, &end) != 3 ||
        name[end] != 0 || !grow((void **)&seen->floors, seen->floor_n, &seen->floor_cap, sizeof f)) {
        snprintf(why, 200, "table/floor/%s: not the floor of a session", name);
        return false;
    }
    seen->floors[seen->floor_n++] = f;
    return true;
}

void seen_free(struct seen *seen)
{
    free(seen->floors);
    free(seen->objects);
    free(seen->blocks);
}
