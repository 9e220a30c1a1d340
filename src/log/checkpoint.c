/* Checkpoints: a partition's state as bytes (docs/formats/checkpoint.md), and when one is wanted. */
#include "log_int.h"

enum {
    VERSION = 1,
    SECTION_STATE = 1,
    SECTION_EPOCHS = 2,
    SECTION_PRODUCERS = 3,
    SECTION_INDEX = 4,
    SECTION_SIZE = 5
};
enum { CRITICAL = 1, STATE_BYTES = 64, EPOCH_BYTES = 12, PRODUCER_BYTES = 16, BATCH_BYTES = 24 };

/* ---- wanted --------------------------------------------------------------------------------------- */

void floe_checkpoint_want(struct floe_partition *p)
{
    struct floe_log *log = p->log;
    struct floe_chain *c = &log->chain;
    if (p->state != FLOE_PARTITION_SERVING || !floe_list_empty(&p->ckpt_link))
        return;
    floe_list_push_back(&log->ckpt_due, &p->ckpt_link);
    if (!c->ckpt_over && !floe_timer_armed(&c->ckpt))
        floe_timer_start(log->cfg.loop, &c->ckpt, FLOE_LOG_CHECKPOINT_WAIT_US);
}

/* Also of partitions that did not change: who takes them over reads every footer from there on. */
void floe_checkpoint_round(struct floe_log *log)
{
    struct floe_chain *c = &log->chain;
    uint64_t now = floe_loop_now_us(log->cfg.loop), quarter = FLOE_LOG_SPAN_KEYS_MAX / 4;
    if (c->next_seq < c->round_seq || now < c->round_us)
        return;
    c->round_seq = c->next_seq + quarter;
    c->round_us = now + FLOE_LOG_SPAN_ROUND_US;
    for (struct floe_map_node *n = floe_map_iter(&log->partitions, NULL); n;
         n = floe_map_iter(&log->partitions, n)) {
        struct floe_partition *p = FLOE_MAP_ENTRY(n, struct floe_partition, node);
        if (p->span_from + FLOE_LOG_SPAN_KEYS_MAX - quarter <= c->next_seq)
            floe_checkpoint_want(p);
    }
}

void floe_checkpoint_dirty(struct floe_partition *p)
{
    if (floe_list_empty(&p->dirty_link))
        floe_list_push_back(&p->log->dirty, &p->dirty_link);
}

/* ---- encode --------------------------------------------------------------------------------------- */

/* Begins a section; its length is put right by end_section. */
static size_t begin_section(struct floe_writer *w, uint16_t type, uint16_t flags)
{
    floe_write_le16(w, type);
    floe_write_le16(w, flags);
    floe_write_le32(w, 0);
    return w->n;
}

static void end_section(struct floe_writer *w, size_t at)
{
    if (!w->bad)
        floe_put_le32(w->p + at - 4, (uint32_t)(w->n - at));
}

/* The batches of a producer that lie below the covered end, of its newest epoch there: [*from, *to) of its
 * ring. */
static uint32_t covered(const struct floe_producer *pr, int64_t end, uint32_t *from)
{
    uint32_t to = pr->count;
    while (to > 0 && pr->ring[to - 1].base_offset >= end)
        to--;
    *from = to;
    while (*from > 0 && to - *from < FLOE_PRODUCER_WINDOW &&
           pr->ring[*from - 1].epoch == pr->ring[to - 1].epoch)
        (*from)--;
    return to;
}

static void encode_producers(const struct floe_partition *p, struct floe_writer *w)
{
    uint64_t now = floe_loop_now_us(p->log->cfg.loop);
    size_t at = begin_section(w, SECTION_PRODUCERS, 0);
    uint32_t n = 0;
    floe_write_le32(w, 0);
    FLOE_LIST_EACH(it, &p->producer_lru)
    {
        const struct floe_producer *pr = FLOE_LIST_ENTRY(it, struct floe_producer, part_lru);
        uint32_t from, to = covered(pr, p->started_end, &from);
        if (from == to)
            continue;
        uint64_t age = (now - FLOE_MIN(now, pr->used_us)) / 1000000u;
        floe_write_le64(w, (uint64_t)pr->id);
        floe_write_le16(w, (uint16_t)pr->ring[to - 1].epoch);
        floe_write_u8(w, (uint8_t)(to - from));
        floe_write_u8(w, 0);
        floe_write_le32(w, (uint32_t)FLOE_MIN(age, (uint64_t)UINT32_MAX));
        for (uint32_t i = from; i < to; i++) {
            floe_write_le64(w, (uint64_t)pr->ring[i].base_offset);
            floe_write_le32(w, (uint32_t)pr->ring[i].first_sequence);
            floe_write_le32(w, (uint32_t)pr->ring[i].last_sequence);
            floe_write_le64(w, (uint64_t)pr->ring[i].timestamp);
        }
        n++;
    }
    if (!w->bad)
        floe_put_le32(w->p + at, n);
    end_section(w, at);
}

/* What holds below p->started_end, given out to no later segment than `seq` - 1. */
enum floe_err floe_checkpoint_encode(const struct floe_partition *p, const struct floe_session_name *session,
                                     uint64_t seq, struct floe_writer *w)
{
    floe_write_le32(w, VERSION);
    floe_write_le32(w, 5);
    size_t at = begin_section(w, SECTION_STATE, CRITICAL);
    floe_write(w, p->tp.topic.b, 16);
    floe_write_le32(w, (uint32_t)p->tp.index);
    floe_write_le32(w, (uint32_t)p->epoch);
    floe_write_le32(w, (uint32_t)session->node);
    floe_write_le32(w, (uint32_t)session->epoch);
    floe_write_le64(w, session->id);
    floe_write_le64(w, seq);
    floe_write_le64(w, (uint64_t)p->started_end);
    floe_write_le64(w, (uint64_t)FLOE_MAX(p->log_start, p->wanted_start));
    end_section(w, at);

    at = begin_section(w, SECTION_EPOCHS, CRITICAL);
    uint32_t n = p->epoch_count;
    while (n > 0 && p->epochs[n - 1].start > p->started_end)
        n--;
    floe_write_le32(w, n);
    for (uint32_t i = 0; i < n; i++) {
        floe_write_le32(w, (uint32_t)p->epochs[i].epoch);
        floe_write_le64(w, (uint64_t)p->epochs[i].start);
    }
    end_section(w, at);

    encode_producers(p, w);
    at = begin_section(w, SECTION_INDEX, CRITICAL);
    enum floe_err rc = floe_index_encode(p->index, w);
    end_section(w, at);
    at = begin_section(w, SECTION_SIZE, 0);
    floe_write_le64(w, floe_index_bytes(p->index));
    end_section(w, at);
    return rc != FLOE_OK ? rc : w->bad ? FLOE_ENOMEM : FLOE_OK;
}

/* ---- decode --------------------------------------------------------------------------------------- */

static enum floe_err corrupt(struct floe_error *err, const char *key, const char *what)
{
    return floe_error_set(err, FLOE_ECORRUPT, "checkpoint in %s: %s", key, what);
}

static enum floe_err decode_state(struct floe_partition *p, struct floe_slice in,
                                  const struct floe_checkpoint_ref *ref, const char *key,
                                  struct floe_error *err)
{
    struct floe_reader r = floe_reader(in);
    const uint8_t *topic = floe_reader_take(&r, 16);
    int32_t index = (int32_t)floe_read_le32(&r), epoch = (int32_t)floe_read_le32(&r);
    struct floe_session_name s = {.node = (int32_t)floe_read_le32(&r), .epoch = (int32_t)floe_read_le32(&r)};
    s.id = floe_read_le64(&r);
    uint64_t seq = floe_read_le64(&r);
    int64_t next = (int64_t)floe_read_le64(&r), start = (int64_t)floe_read_le64(&r);
    if (r.bad)
        return corrupt(err, key, "its state section is cut short");
    if (memcmp(topic, p->tp.topic.b, 16) != 0 || index != p->tp.index)
        return corrupt(err, key, "it is of another partition");
    if (!floe_session_name_eq(&s, &ref->session) || seq != ref->seq)
        return corrupt(err, key, "it belongs to another key");
    if (start < 0 || next < start || epoch < 0)
        return corrupt(err, key, "its offsets or epoch cannot be");
    p->next_offset = next;
    p->log_start = start;
    return FLOE_OK;
}

static enum floe_err decode_epochs(struct floe_partition *p, struct floe_slice in, const char *key,
                                   struct floe_error *err)
{
    struct floe_reader r = floe_reader(in);
    uint32_t n = floe_read_le32(&r);
    if (r.bad || n > FLOE_LOG_EPOCHS_MAX || floe_reader_left(&r) != (size_t)n * EPOCH_BYTES)
        return corrupt(err, key, "its epoch history has a wrong length");
    for (uint32_t i = 0; i < n; i++) {
        int32_t epoch = (int32_t)floe_read_le32(&r);
        int64_t start = (int64_t)floe_read_le64(&r);
        const struct floe_epoch_start *last = i ? &p->epochs[i - 1] : NULL;
        if (epoch < 0 || start < 0 || (last && (last->epoch >= epoch || last->start >= start)))
            return corrupt(err, key, "its epoch history does not ascend");
        if (floe_partition_begin_epoch(p, epoch, start) != FLOE_OK)
            return floe_error_set(err, FLOE_ENOMEM, "out of memory");
    }
    return FLOE_OK;
}

static enum floe_err decode_producer(struct floe_partition *p, struct floe_reader *r, const char *key,
                                     struct floe_error *err)
{
    uint64_t now = floe_loop_now_us(p->log->cfg.loop);
    int64_t id = (int64_t)floe_read_le64(r);
    int16_t epoch = (int16_t)floe_read_le16(r);
    uint8_t count = floe_read_u8(r);
    floe_read_u8(r);
    uint64_t age = (uint64_t)floe_read_le32(r) * 1000000u;
    if (r->bad || id < 0 || epoch < 0 || count == 0 || count > FLOE_PRODUCER_WINDOW ||
        floe_producer_find(p, id))
        return corrupt(err, key, "it has a producer that cannot be");
    struct floe_producer *pr = floe_producer_add(p, id, epoch, now - FLOE_MIN(now, age));
    if (!pr)
        return floe_error_set(err, FLOE_ENOMEM, "out of memory");
    for (uint8_t i = 0; i < count; i++) {
        struct floe_producer_batch b = {.base_offset = (int64_t)floe_read_le64(r), .epoch = epoch};
        b.first_sequence = (int32_t)floe_read_le32(r);
        b.last_sequence = (int32_t)floe_read_le32(r);
        b.timestamp = (int64_t)floe_read_le64(r);
        if (r->bad || b.base_offset < 0 || b.first_sequence < 0 || b.last_sequence < 0 ||
            (i > 0 && pr->ring[i - 1].base_offset >= b.base_offset))
            return corrupt(err, key, "it has a producer's batch that cannot be");
        pr->ring[pr->count++] = b;
    }
    return FLOE_OK;
}

static enum floe_err decode_producers(struct floe_partition *p, struct floe_slice in, const char *key,
                                      struct floe_error *err)
{
    struct floe_reader r = floe_reader(in);
    uint32_t n = floe_read_le32(&r);
    if (r.bad || n > floe_reader_left(&r) / (PRODUCER_BYTES + BATCH_BYTES))
        return corrupt(err, key, "its producers do not fit into it");
    for (uint32_t i = 0; i < n; i++) {
        enum floe_err rc = decode_producer(p, &r, key, err);
        if (rc != FLOE_OK)
            return rc;
    }
    return floe_reader_left(&r) ? corrupt(err, key, "bytes follow its producers") : FLOE_OK;
}

static enum floe_err decode_section(struct floe_partition *p, uint16_t type, uint16_t flags,
                                    struct floe_slice in, const struct floe_checkpoint_ref *ref,
                                    const char *key, struct floe_error *err)
{
    switch (type) {
    case SECTION_STATE:
        return decode_state(p, in, ref, key, err);
    case SECTION_EPOCHS:
        return decode_epochs(p, in, key, err);
    case SECTION_PRODUCERS:
        if (p->feed)
            return FLOE_OK; /* a view accepts no batches */
        return decode_producers(p, in, key, err);
    case SECTION_INDEX: {
        enum floe_err rc = floe_index_decode(p->index, in, err);
        if (rc != FLOE_OK)
            floe_error_prefix(err, "checkpoint in %s", key);
        return rc;
    }
    case SECTION_SIZE: {
        struct floe_reader r = floe_reader(in);
        floe_index_set_bytes(p->index, floe_read_le64(&r));
        return r.bad || floe_reader_left(&r) ? corrupt(err, key, "its size section has a wrong length")
                                             : FLOE_OK;
    }
    default:
        if (flags & CRITICAL)
            return floe_error_set(err, FLOE_EUNSUPPORTED,
                                  "checkpoint in %s: section %u is of a newer version", key, type);
        return FLOE_OK;
    }
}

enum floe_err floe_checkpoint_decode(struct floe_partition *p, struct floe_slice in,
                                     const struct floe_checkpoint_ref *ref, const char *key,
                                     struct floe_error *err)
{
    struct floe_reader r = floe_reader(in);
    uint32_t version = floe_read_le32(&r), sections = floe_read_le32(&r), seen = 0;
    if (r.bad)
        return corrupt(err, key, "it is cut short");
    if (version != VERSION)
        return floe_error_set(err, FLOE_EUNSUPPORTED, "checkpoint in %s: version %u", key, version);
    for (uint32_t i = 0; i < sections; i++) {
        uint16_t type = floe_read_le16(&r), flags = floe_read_le16(&r);
        uint32_t n = floe_read_le32(&r);
        const uint8_t *bytes = floe_reader_take(&r, n);
        if (r.bad)
            return corrupt(err, key, "a section is cut short");
        if (type >= SECTION_STATE && type <= SECTION_SIZE) {
            if (seen & (1u << type))
                return corrupt(err, key, "a section is there twice");
            seen |= 1u << type;
        }
        enum floe_err rc = decode_section(p, type, flags, floe_slice(bytes, n), ref, key, err);
        if (rc != FLOE_OK)
            return rc;
    }
    if (floe_reader_left(&r) || (seen & 0x1e) != 0x1e)
        return corrupt(err, key, "sections are missing, or bytes follow the last one");
    if (floe_index_end(p->index) > p->next_offset)
        return corrupt(err, key, "its index goes past its end");
    return FLOE_OK;
}
