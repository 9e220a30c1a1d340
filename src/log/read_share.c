/* One GET for several sequential readers. The batches of many partitions lie in one segment, and a store
 * charges, in CPU and in money, by the request: what the others will ask this object for next comes along, as
 * long as half of the bytes are wanted. Nothing is guessed: the index of each reader's partition says what it
 * will ask for. */
#include "log/read_int.h"

#include <floe/base/assert.h>

/* A range of the object that somebody will ask for. */
struct want {
    uint64_t from, to;
};

/* What a stream will ask of the object of `e`, once it comes there; false when that is nothing, not soon, or
 * fetched already. */
static bool want_of(struct floe_log_reader *rd, const struct stream *s, const struct floe_index_entry *e,
                    struct want *out)
{
    struct floe_index_entry at, last;
    int64_t offset = FLOE_MAX(s->ahead, s->next);
    for (uint32_t step = 0; step < READ_SHARE_STEPS; step++) {
        if (!reader_cached_entry(rd, s->ix, offset, &at) || !floe_session_name_eq(&at.session, &e->session) ||
            at.seq > e->seq || e->seq - at.seq > READ_SHARE_BEHIND)
            return false;
        if (at.seq == e->seq && !cache_find(rd, 0, &at)) {
            out->from = at.position;
            out->to = reader_adjacent(rd, s->ix, &at, READ_SHARE_BYTES, INT64_MAX, &last);
            return true;
        }
        offset = at.end_offset;
    }
    return false;
}

/* Ranges of all streams but those that [from, to) holds, by position, without overlaps; *own is the index of
 * [from, to). */
static uint32_t gather(struct floe_log_reader *rd, const struct floe_index_entry *e, uint64_t from,
                       uint64_t to, struct want *wants, uint32_t *own)
{
    uint32_t n = 1;
    wants[0] = (struct want){from, to};
    *own = 0;
    FLOE_LIST_EACH(it, &rd->streams)
    {
        struct want w;
        if (FLOE_LIST_ENTRY(it, struct stream, link)->window == 0 ||
            !want_of(rd, FLOE_LIST_ENTRY(it, struct stream, link), e, &w))
            continue;
        uint32_t i = n;
        while (i > 0 && wants[i - 1].from >= w.from)
            i--;
        if ((i > 0 && wants[i - 1].to > w.from) || (i < n && wants[i].from < w.to))
            continue; /* another reader of the same partition */
        memmove(wants + i + 1, wants + i, (n - i) * sizeof *wants);
        wants[i] = w;
        *own += i <= *own;
        n++;
    }
    return n;
}

uint64_t reader_share(struct floe_log_reader *rd, const struct floe_index_entry *e, uint64_t *from,
                      uint64_t *to)
{
    struct want wants[READ_STREAMS_MAX + 1];
    uint64_t most = FLOE_MIN(READ_SHARE_BYTES, cache_limit(rd) / 4), sum = 0;
    uint32_t own;
    if (rd->sequential < 2 || rd->loading_bytes > cache_limit(rd))
        return *to - *from;
    uint32_t first = 0, last = gather(rd, e, *from, *to, wants, &own) - 1;
    for (uint32_t i = first; i <= last; i++)
        sum += wants[i].to - wants[i].from;
    while (first < last && (wants[last].to - wants[first].from > most ||
                            wants[last].to - wants[first].from > sum * READ_SHARE_SPARSE)) {
        /* The end that brings less for its bytes goes. */
        const struct want *a = &wants[first], *z = &wants[last];
        bool front = last == own || (first != own && (a->to - a->from) * (z->to - z[-1].to) <
                                                         (z->to - z->from) * (a[1].from - a->from));
        sum -= front ? a->to - a->from : z->to - z->from;
        first += front;
        last -= !front;
    }
    *from = wants[first].from;
    *to = wants[last].to;
    return sum;
}
