/* Lease shards: the packed record of many partitions as a document in memory, and its JSON. */
#include "records.h"
#include "json.h"

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>

#include <stdio.h>
#include <stdlib.h>

#define SEED_SHARD 0x666c6f652d736831ull /* "floe-sh1": where a partition lives, for ever */
#define SHARD_RUN 64                     /* so many partitions of a topic lie together */

uint32_t lease_shard_of(const struct floe_tp *tp, uint32_t shards)
{
    uint8_t bytes[20];
    memcpy(bytes, tp->topic.b, 16);
    floe_put_be32(bytes + 16, (uint32_t)(tp->index / SHARD_RUN));
    return (uint32_t)(floe_hash64(bytes, sizeof bytes, SEED_SHARD) % shards);
}

void lease_shard_key(char out[FLOE_TABLE_KEY_MAX], uint32_t shard)
{
    snprintf(out, FLOE_TABLE_KEY_MAX, "lease/%04u", shard);
}

bool lease_shard_key_parse(const char *key, uint32_t *shard)
{
    uint32_t v = 0;
    if (strncmp(key, "lease/", 6) != 0 || strlen(key) != 10)
        return false;
    for (const char *p = key + 6; *p != '\0'; p++) {
        if (*p < '0' || *p > '9')
            return false;
        v = v * 10 + (uint32_t)(*p - '0');
    }
    if (v >= LEASE_SHARD_MAX)
        return false;
    *shard = v;
    return true;
}

void lease_doc_fini(struct lease_doc *d)
{
    floe_arena_fini(&d->arena);
    *d = (struct lease_doc){0};
}

static int tp_cmp(const struct floe_tp *a, const struct floe_tp *b)
{
    int c = memcmp(a->topic.b, b->topic.b, 16);
    return c != 0 ? c : (a->index > b->index) - (a->index < b->index);
}

/* The first entry that is not below tp. */
static uint32_t lower_bound(const struct lease_doc *d, const struct floe_tp *tp)
{
    uint32_t lo = 0, hi = d->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (tp_cmp(&d->entries[mid].e.tp, tp) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct lease_entry *lease_doc_find(const struct lease_doc *d, const struct floe_tp *tp)
{
    uint32_t at = lower_bound(d, tp);
    return at < d->n && floe_tp_eq(&d->entries[at].e.tp, tp) ? &d->entries[at] : NULL;
}

struct lease_entry *lease_doc_insert(struct lease_doc *d, const struct floe_tp *tp)
{
    uint32_t at = lower_bound(d, tp);
    FLOE_ASSERT(at == d->n || !floe_tp_eq(&d->entries[at].e.tp, tp));
    if (d->n == d->cap)
        return NULL;
    memmove(&d->entries[at + 1], &d->entries[at], (d->n - at) * sizeof *d->entries);
    d->entries[at] = (struct lease_entry){.e.tp = *tp};
    d->n++;
    return &d->entries[at];
}

void lease_doc_remove(struct lease_doc *d, struct lease_entry *at)
{
    uint32_t i = (uint32_t)(at - d->entries);
    FLOE_ASSERT(i < d->n);
    memmove(&d->entries[i], &d->entries[i + 1], (d->n - i - 1) * sizeof *d->entries);
    d->n--;
}

bool lease_doc_set_spans(struct lease_doc *d, struct lease_entry *at, const struct floe_span *spans,
                         uint32_t n)
{
    struct floe_span *copy = floe_arena_calloc(&d->arena, n, sizeof *copy);
    if (copy == NULL)
        return false;
    if (n > 0)
        memcpy(copy, spans, n * sizeof *copy);
    at->e.spans = copy;
    at->e.span_count = n;
    return true;
}

enum floe_err lease_doc_clone(const struct lease_doc *d, uint32_t extra, struct lease_doc *out)
{
    struct lease_doc c = {.cap = d->n + extra};
    floe_arena_init(&c.arena, LEASE_DOC_MEMORY_MAX);
    c.entries = floe_arena_calloc(&c.arena, c.cap, sizeof *c.entries);
    if (c.entries == NULL)
        goto nomem;
    for (uint32_t i = 0; i < d->n; i++) {
        c.entries[c.n] = d->entries[i];
        if (!lease_doc_set_spans(&c, &c.entries[c.n], d->entries[i].e.spans, d->entries[i].e.span_count))
            goto nomem;
        c.n++;
    }
    *out = c;
    return FLOE_OK;
nomem:
    lease_doc_fini(&c);
    return FLOE_ENOMEM;
}

/* ---- encode --------------------------------------------------------------------------------------- */

/* The dictionary of sessions in the order of their first mention. */
struct sessions {
    struct floe_session_name *s;
    uint32_t n, cap, last;
    bool nomem;
};

static uint32_t session_ref(struct sessions *t, const struct floe_session_name *name)
{
    if (t->last < t->n && floe_session_name_eq(&t->s[t->last], name))
        return t->last;
    for (uint32_t i = 0; i < t->n; i++)
        if (floe_session_name_eq(&t->s[i], name))
            return t->last = i;
    if (t->n == t->cap) {
        uint32_t cap = t->cap == 0 ? 16 : t->cap * 2;
        struct floe_session_name *s = realloc(t->s, cap * sizeof *s);
        if (s == NULL) {
            t->nomem = true;
            return 0;
        }
        t->s = s;
        t->cap = cap;
    }
    t->s[t->n] = *name;
    return t->last = t->n++;
}

static FLOE_PRINTF(2, 3) void put(struct floe_writer *w, const char *fmt, ...)
{
    char text[128];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    FLOE_ASSERT(n >= 0 && (size_t)n < sizeof text);
    floe_write(w, text, (size_t)n);
}

static void encode_entry(struct floe_writer *w, struct sessions *t, const struct lease_entry *at,
                         int32_t format)
{
    const struct floe_lease_entry *e = &at->e;
    bool start = format >= LEASE_FORMAT_STARTS && e->checkpoint.log_start > 0;
    put(w, "\"%d\":{\"h\":%u,\"e\":%d,\"n\":\"%016llx\"", (int)e->tp.index, session_ref(t, &e->holder),
        (int)e->epoch, (unsigned long long)at->nonce);
    if (e->checkpoint.present) {
        put(w, ",\"c\":[%u,%llu", session_ref(t, &e->checkpoint.session),
            (unsigned long long)e->checkpoint.seq);
        if (start)
            put(w, ",%lld", (long long)e->checkpoint.log_start);
        put(w, "]");
    }
    put(w, ",\"s\":[");
    for (uint32_t i = 0; i < e->span_count; i++) {
        const struct floe_span *s = &e->spans[i];
        put(w, "%s[%u,%llu,%lld,%d]", i == 0 ? "" : ",", session_ref(t, &s->session),
            (unsigned long long)s->first, s->end == FLOE_SPAN_OPEN ? -1LL : (long long)s->end, (int)s->epoch);
    }
    put(w, "]}");
}

void lease_doc_encode(const struct lease_doc *d, struct floe_writer *w)
{
    struct sessions t = {0};
    char hex[FLOE_UUID_HEX], name[FLOE_SESSION_NAME_MAX];
    put(w, "{");
    if (d->format > LEASE_FORMAT_FIRST)
        put(w, "\"format\":%d,", (int)d->format);
    put(w, "\"topics\":{");
    for (uint32_t i = 0; i < d->n; i++) {
        const struct floe_tp *tp = &d->entries[i].e.tp;
        if (i == 0 || !floe_uuid_eq(&d->entries[i - 1].e.tp.topic, &tp->topic)) {
            floe_uuid_hex(hex, &tp->topic);
            put(w, "%s\"%s\":{", i == 0 ? "" : "},", hex);
        } else {
            put(w, ",");
        }
        encode_entry(w, &t, &d->entries[i], d->format);
    }
    put(w, "%s},\"sessions\":[", d->n > 0 ? "}" : "");
    for (uint32_t i = 0; i < t.n; i++) {
        floe_session_format(name, &t.s[i]);
        put(w, "%s\"%s\"", i == 0 ? "" : ",", name);
    }
    put(w, "]}");
    if (t.nomem)
        w->bad = true;
    free(t.s);
}

/* ---- decode --------------------------------------------------------------------------------------- */

struct decoder {
    struct lease_json j;
    struct lease_doc doc;
    struct floe_session_name *sessions;
    uint32_t session_count;
};

static void decode_sessions(struct decoder *x, const json_t *root)
{
    const json_t *list = json_object_get(root, "sessions");
    if (!json_is_array(list)) {
        lease_json_fail(&x->j, "sessions", "is not an array");
        return;
    }
    x->session_count = (uint32_t)json_array_size(list);
    x->sessions = floe_arena_calloc(&x->doc.arena, x->session_count, sizeof *x->sessions);
    if (x->sessions == NULL) {
        lease_json_fail(&x->j, "sessions", "is too long");
        return;
    }
    for (uint32_t i = 0; i < x->session_count; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_string(v) || !floe_session_parse(&x->sessions[i], json_string_value(v)))
            lease_json_fail(&x->j, "sessions", "has something that is not a session's name");
    }
}

static struct floe_session_name session_at(struct decoder *x, const json_t *v, const char *field)
{
    int64_t i = lease_json_int_value(&x->j, v, field, 0, (int64_t)x->session_count - 1);
    return x->j.bad ? (struct floe_session_name){0} : x->sessions[i];
}

static void decode_span(struct decoder *x, const json_t *v, struct floe_span *s)
{
    if (!json_is_array(v) || json_array_size(v) != 4) {
        lease_json_fail(&x->j, "s", "has a span that is not [session, first, end, epoch]");
        return;
    }
    s->session = session_at(x, json_array_get(v, 0), "s");
    s->first = (uint64_t)lease_json_int_value(&x->j, json_array_get(v, 1), "s", 0, INT64_MAX - 1);
    int64_t end = lease_json_int_value(&x->j, json_array_get(v, 2), "s", -1, INT64_MAX - 1);
    s->end = end < 0 ? FLOE_SPAN_OPEN : (uint64_t)end;
    s->epoch = (int32_t)lease_json_int_value(&x->j, json_array_get(v, 3), "s", 0, INT32_MAX - 1);
    if (s->first > s->end)
        lease_json_fail(&x->j, "s", "has a span that ends before it begins");
}

/* The rules that a rebuild relies on: epochs rise along the list, all but the last span are closed, the last
 * one is the holder's own and open. */
static void check_spans(struct decoder *x, const struct floe_lease_entry *e)
{
    if (e->span_count == 0) {
        lease_json_fail(&x->j, "s", "is empty");
        return;
    }
    for (uint32_t i = 0; i < e->span_count; i++) {
        const struct floe_span *s = &e->spans[i];
        bool last = i + 1 == e->span_count;
        if (!last && (s->end == FLOE_SPAN_OPEN || s->epoch >= e->spans[i + 1].epoch))
            lease_json_fail(&x->j, "s", "has spans that are open or out of order before its last");
        if (last && (s->end != FLOE_SPAN_OPEN || s->epoch != e->epoch ||
                     !floe_session_name_eq(&s->session, &e->holder)))
            lease_json_fail(&x->j, "s", "does not end with the holder's own open span");
    }
}

static void decode_entry(struct decoder *x, const struct floe_tp *tp, const json_t *v)
{
    struct lease_entry *at = &x->doc.entries[x->doc.n];
    struct floe_lease_entry *e = &at->e;
    const json_t *c = json_object_get(v, "c"), *list = json_object_get(v, "s");
    if (!json_is_object(v) || json_object_size(v) != (c == NULL ? 4u : 5u) || !json_is_array(list) ||
        json_array_size(list) > LEASE_DOC_SPANS_MAX) {
        lease_json_fail(&x->j, "topics", "has an entry with other fields than h, e, n, c and s");
        return;
    }
    e->tp = *tp;
    e->holder = session_at(x, json_object_get(v, "h"), "h");
    e->epoch = (int32_t)lease_json_int(&x->j, v, "e", 0, INT32_MAX - 1);
    at->nonce = lease_json_hex64(&x->j, v, "n");
    if (c != NULL) {
        size_t n = json_array_size(c);
        if (n != 2 && (n != 3 || x->doc.format < LEASE_FORMAT_STARTS))
            lease_json_fail(&x->j, "c",
                            "is not [session, key] or, from format 2 on, [session, key, log start]");
        if (n == 3)
            e->checkpoint.log_start = lease_json_int_value(&x->j, json_array_get(c, 2), "c", 0, INT64_MAX);
        e->checkpoint.session = session_at(x, json_array_get(c, 0), "c");
        e->checkpoint.seq =
            (uint64_t)lease_json_int_value(&x->j, json_array_get(c, 1), "c", 0, INT64_MAX - 1);
        e->checkpoint.present = true;
    }
    e->span_count = (uint32_t)json_array_size(list);
    struct floe_span *spans = floe_arena_calloc(&x->doc.arena, e->span_count, sizeof *spans);
    if (spans == NULL) {
        lease_json_fail(&x->j, "s", "is too long");
        return;
    }
    for (uint32_t i = 0; i < e->span_count; i++)
        decode_span(x, json_array_get(list, i), &spans[i]);
    e->spans = spans;
    if (!x->j.bad)
        check_spans(x, e);
    x->doc.n++;
}

static bool parse_index(const char *text, int32_t *out)
{
    uint64_t v = 0;
    size_t n = strlen(text);
    if (n == 0 || n > 10 || (n > 1 && text[0] == '0'))
        return false;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p < '0' || *p > '9')
            return false;
        v = v * 10 + (uint64_t)(*p - '0');
    }
    if (v > INT32_MAX)
        return false;
    *out = (int32_t)v;
    return true;
}

static void decode_topics(struct decoder *x, json_t *topics)
{
    const char *hex, *index;
    json_t *parts, *v;
    json_object_foreach(topics, hex, parts)
    {
        struct floe_tp tp;
        if (strlen(hex) != 32 || !floe_uuid_parse(&tp.topic, hex) || !json_is_object(parts)) {
            lease_json_fail(&x->j, "topics", "has a key that is no topic id, or its value is no object");
            return;
        }
        json_object_foreach(parts, index, v)
        {
            if (x->j.bad)
                return;
            if (!parse_index(index, &tp.index)) {
                lease_json_fail(&x->j, "topics", "has a partition that is no number");
                return;
            }
            decode_entry(x, &tp, v);
        }
    }
}

static int entry_cmp(const void *a, const void *b)
{
    return tp_cmp(&((const struct lease_entry *)a)->e.tp, &((const struct lease_entry *)b)->e.tp);
}

static uint32_t count_entries(json_t *topics)
{
    const char *hex;
    json_t *parts;
    size_t n = 0;
    json_object_foreach(topics, hex, parts)
    {
        n += json_object_size(parts);
    }
    return n > LEASE_DOC_ENTRIES_MAX ? LEASE_DOC_ENTRIES_MAX + 1 : (uint32_t)n;
}

enum floe_err lease_doc_decode(const char *key, const char *json, size_t n, int32_t newest,
                               struct lease_doc *out, struct floe_error *err)
{
    struct decoder x = {.j = {.key = key, .err = err}};
    enum floe_err code = FLOE_ECORRUPT;
    floe_arena_init(&x.doc.arena, LEASE_DOC_MEMORY_MAX);
    json_t *root = lease_json_load(&x.j, json, n);
    if (root == NULL)
        goto out;
    json_t *topics = json_object_get(root, "topics");
    x.doc.format =
        (int32_t)lease_json_int_or(&x.j, root, "format", LEASE_FORMAT_FIRST, INT32_MAX, LEASE_FORMAT_FIRST);
    if (!x.j.bad && (code = lease_format_check(key, x.doc.format, newest, err)) != FLOE_OK) {
        x.j.bad = true;
        goto out;
    }
    code = FLOE_ECORRUPT;
    decode_sessions(&x, root);
    if (!json_is_object(topics)) {
        lease_json_fail(&x.j, "topics", "is not an object");
        goto out;
    }
    x.doc.cap = count_entries(topics);
    if (x.doc.cap > LEASE_DOC_ENTRIES_MAX) {
        lease_json_fail(&x.j, "topics", "has too many entries");
        goto out;
    }
    x.doc.entries = floe_arena_calloc(&x.doc.arena, x.doc.cap, sizeof *x.doc.entries);
    if (x.doc.entries == NULL)
        lease_json_fail(&x.j, "topics", "is too long");
    if (!x.j.bad)
        decode_topics(&x, topics);
    if (!x.j.bad && x.doc.n > 1)
        qsort(x.doc.entries, x.doc.n, sizeof *x.doc.entries, entry_cmp);
    for (uint32_t i = 1; !x.j.bad && i < x.doc.n; i++)
        if (entry_cmp(&x.doc.entries[i - 1], &x.doc.entries[i]) == 0)
            lease_json_fail(&x.j, "topics", "has a partition twice");
out:
    json_decref(root);
    if (x.j.bad) {
        lease_doc_fini(&x.doc);
        return code;
    }
    *out = x.doc;
    return FLOE_OK;
}
