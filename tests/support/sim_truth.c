/* The truth: what lies in the bucket, read by the segment reader alone, without lease, index or checkpoint.
 *
 * A partition's log is the batches of its leader epochs, in order; those of one epoch lie in the chain of the
 * one session that held it, in key order, below the chain's end (its seal or its first absent key).
 */
#include <stdlib.h>

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>

#include "simcluster_int.h"

struct found { /* a batch */
    uint32_t part;
    int32_t epoch;
    struct floe_session_name session;
    uint64_t seq, position;
    struct floe_batch head;
    const uint8_t *bytes; /* in the bucket */
    uint64_t order;
};
struct truth {
    struct simcluster *c;
    struct found *f;
    size_t n, cap;
    int64_t end[SIM_PARTITIONS_MAX];
};
static int64_t last_end[SIM_PARTITIONS_MAX];

int64_t simtruth_end(struct simcluster *c, uint32_t part)
{
    (void)c;
    return last_end[part];
}
static void add(struct truth *t, const struct found *f)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 1024;
        t->f = realloc(t->f, t->cap * sizeof *t->f);
        FLOE_ASSERT(t->f);
    }
    t->f[t->n] = *f;
    t->f[t->n].order = t->n;
    t->n++;
}
static void read_block(struct truth *t, const struct floe_sim_object *o, const struct floe_session_name *s,
                       uint64_t seq, struct floe_segment_cursor *cur, const struct floe_segment_block *b)
{
    struct floe_segment_batch sb;
    int32_t part = simcluster_part(t->c, &b->topic, b->partition);
    if (part >= 0 && simcluster_part_gone(t->c, (uint32_t)part))
        return; /* what is left of it is nobody's business */
    if (part < 0 && (t->c->shape.garbage_age_us || t->c->cfg.groups))
        return; /* one of those that share segments with what must stay, or the groups' journal */
    if (part < 0 || floe_crc32c(0, o->data + b->position, b->length) != b->crc) {
        simcluster_violation(t->c, 7, "%s: a block of a wrong partition or with a wrong checksum", o->key);
        return;
    }
    while (floe_segment_next_batch(cur, &sb)) {
        struct found f = {.part = (uint32_t)part,
                          .epoch = b->leader_epoch,
                          .session = *s,
                          .seq = seq,
                          .position = sb.position,
                          .bytes = o->data + sb.position};
        struct floe_error err;
        if (floe_batch_parse(floe_slice(f.bytes, sb.length), &f.head, &err) ||
            !floe_batch_crc_ok(f.bytes, &f.head) || f.head.base_offset != sb.base_offset ||
            f.head.leader_epoch != b->leader_epoch || f.head.producer_id != sb.producer_id ||
            f.head.base_sequence != sb.base_sequence || f.head.count != sb.count) {
            simcluster_violation(t->c, 7, "%s: batch at %llu is not what the footer says", o->key,
                                 (unsigned long long)sb.position);
            return;
        }
        add(t, &f);
    }
}
/* False at the chain's end. */
static bool read_object(struct truth *t, const struct floe_sim_object *o, const struct floe_session_name *s,
                        uint64_t seq)
{
    struct floe_segment_id id;
    struct floe_segment_tail tail;
    struct floe_segment_footer footer;
    struct floe_segment_cursor cur;
    struct floe_segment_block b;
    struct floe_error err;
    if (floe_segment_header_decode(floe_slice(o->data, o->n), o->key, &id, &err) ||
        floe_segment_id_check(&id, o->key, s, seq, &t->c->info.id, &err)) {
        simcluster_violation(t->c, 7, "%s", err.msg);
        return false;
    }
    if (id.seal)
        return false;
    if (floe_segment_tail_open(floe_slice(o->data, o->n), o->n, o->key, &tail, &err) || tail.need ||
        floe_segment_footer_open(&tail, o->key, &footer, &err)) {
        simcluster_violation(t->c, 7, "%s: %s", o->key, err.msg);
        return false;
    }
    floe_segment_cursor_init(&cur, &footer);
    while (floe_segment_next_block(&cur, &b))
        read_block(t, o, s, seq, &cur, &b);
    if (floe_segment_cursor_err(&cur)->code)
        simcluster_violation(t->c, 7, "%s", floe_segment_cursor_err(&cur)->msg);
    t->c->out->segments++;
    return true;
}
static void read_chains(struct truth *t)
{
    struct floe_session_name cur = {0, 0, 0};
    uint64_t next = 0, floor = 0;
    bool open = false;
    for (size_t i = 0; i < floe_sim_bucket_count(t->c->bucket); i++) {
        const struct floe_sim_object *o = floe_sim_bucket_at(t->c->bucket, i);
        struct floe_session_name s;
        uint64_t seq;
        if (!floe_chain_key_parse(o->key, &s, &seq))
            continue;
        if (!floe_session_name_eq(&s, &cur)) {
            cur = s;
            next = 0;
            open = true;
            floor = simgarbage_floor(t->c, &s);
        }
        if (open &&
            seq < floor) { /* those below that are missing held nothing wanted; a seal is a stray one */
            (void)read_object(t, o, &s, seq);
            next = seq + 1;
            continue;
        }
        next = FLOE_MAX(next, floor);
        open = open && seq == next++ && read_object(t, o, &s, seq);
    }
}
uint64_t simtruth_longest_chain(struct simcluster *c)
{
    uint64_t longest = 0;
    for (size_t i = 0; i < floe_sim_bucket_count(c->bucket); i++) {
        struct floe_session_name s;
        uint64_t seq;
        if (floe_chain_key_parse(floe_sim_bucket_at(c->bucket, i)->key, &s, &seq))
            longest = FLOE_MAX(longest, seq);
    }
    return longest;
}
static int by_place(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->part != y->part)
        return x->part < y->part ? -1 : 1;
    if (x->epoch != y->epoch)
        return x->epoch < y->epoch ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}
static void check_batch(struct truth *t, const struct found *f, const struct found *before)
{
    struct simcluster *c = t->c;
    if (before && before->epoch == f->epoch && !floe_session_name_eq(&before->session, &f->session))
        simcluster_violation(c, 6, "partition %u: epoch %d lies in two chains, one of node %d", f->part,
                             f->epoch, (int)f->session.node);
    if (f->head.base_offset != t->end[f->part])
        simcluster_violation(
            c, 1, "partition %u epoch %d: node %d key %llu begins at offset %lld, the log ended at %lld",
            f->part, f->epoch, (int)f->session.node, (unsigned long long)f->seq,
            (long long)f->head.base_offset, (long long)t->end[f->part]);
    t->end[f->part] = floe_batch_last_offset(&f->head) + 1;
    uint64_t notes = c->out->read;
    simledger_read(c, f->part, f->head.base_offset, f->bytes, f->head.length, "in the bucket");
    c->out->read = notes;
}
/* Every record once; an idempotent producer's in order and without a gap. */
static void check_records(struct truth *t)
{
    struct simcluster *c = t->c;
    int32_t(*next)[SIM_PARTITIONS_MAX] = calloc(SIM_PRODUCERS_MAX, sizeof *next);
    FLOE_ASSERT(next);
    for (uint32_t i = 0; i < c->sent_n; i++)
        c->sent[i].present = false;
    for (uint32_t part = 0; part < c->parts; part++) {
        if (simcluster_part_gone(c, part))
            continue;
        struct simledger *l = &c->ledger[part];
        if (l->n > t->end[part])
            simcluster_violation(c, 2, "partition %u ends at %lld in the bucket; clients know of offset %lld",
                                 part, (long long)t->end[part], (long long)l->n - 1);
        for (int64_t o = 0; o < FLOE_MIN(l->n, t->end[part]); o++) {
            uint32_t id = (uint32_t)((l->value[o] - 1) / 256), index = (uint32_t)((l->value[o] - 1) % 256);
            if (!l->value[o] || id >= c->sent_n)
                continue;
            struct simsent *s = &c->sent[id];
            c->out->records++;
            if (s->part != part || index >= s->count)
                simcluster_violation(c, 1, "partition %u offset %lld holds %u:%u of partition %u", part,
                                     (long long)o, id, index, s->part);
            if (index == 0 && s->present && !(c->set_back && s->acks == 1))
                simcluster_violation(c, 4, "partition %u offset %lld: sending %u is stored twice", part,
                                     (long long)o, id);
            s->present = true;
            if (!s->idempotent || index)
                continue;
            if (s->sequence != next[s->producer][part])
                simcluster_violation(c, 4, "partition %u offset %lld: producer %u sequence %d, expected %d",
                                     part, (long long)o, s->producer, s->sequence, next[s->producer][part]);
            next[s->producer][part] = s->sequence + s->count;
        }
    }
    free(next);
}
static void check_sent(struct truth *t)
{
    struct simcluster *c = t->c;
    for (uint32_t i = 0; i < c->sent_n; i++) {
        struct simsent *s = &c->sent[i];
        if (simcluster_part_gone(c, s->part))
            continue;
        if (s->state == SENT_ACKED && s->acks == -1 && !s->present)
            simcluster_violation(c, 2,
                                 "partition %u: sending %u was acknowledged at offset %lld and is nowhere",
                                 s->part, i, (long long)s->base_offset);
        if (s->state == SENT_REFUSED && s->present)
            simcluster_violation(c, 5, "partition %u: sending %u was refused and is stored", s->part, i);
    }
}
void simtruth_check(struct simcluster *c)
{
    struct truth t = {.c = c};
    c->out->segments = c->out->records = 0;
    read_chains(&t);
    if (t.n)
        qsort(t.f, t.n, sizeof *t.f, by_place);
    for (size_t i = 0; i < t.n; i++)
        check_batch(&t, &t.f[i], i && t.f[i - 1].part == t.f[i].part ? &t.f[i - 1] : NULL);
    check_records(&t);
    check_sent(&t);
    memcpy(last_end, t.end, sizeof last_end);
    free(t.f);
}
