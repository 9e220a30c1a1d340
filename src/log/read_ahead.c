/* Read-ahead: a reader that goes on where it left off gets its next blocks fetched before it asks, several
 * GETs at a time, within a window that doubles while it keeps going. Of all such readers the one furthest
 * behind comes first: they stay together, and one GET serves many of them (read_share.c). */
#include "log/read_int.h"

#include <floe/base/assert.h>

#include <stdlib.h>

static void stream_free(struct floe_log_reader *rd, struct stream *s)
{
    task_detach(rd, &s->look);
    floe_list_remove(&s->link);
    rd->stream_count--;
    rd->sequential -= s->window > 0;
    free(s);
}

/* The stream that continues at `offset`, or asks again for what it got last. */
static struct stream *stream_find(struct floe_log_reader *rd, const struct floe_index *ix, int64_t offset)
{
    FLOE_LIST_EACH(it, &rd->streams)
    {
        struct stream *s = FLOE_LIST_ENTRY(it, struct stream, link);
        if (s->ix == ix && offset >= s->from && offset <= s->next)
            return s;
    }
    return NULL;
}

static struct stream *stream_new(struct floe_log_reader *rd, const struct floe_index *ix, int64_t offset)
{
    if (rd->stream_count >= READ_STREAMS_MAX)
        stream_free(rd, FLOE_LIST_ENTRY(rd->streams.prev, struct stream, link));
    struct stream *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->ix = ix;
    s->from = s->next = s->ahead = offset;
    s->look.kind = TASK_AHEAD;
    floe_list_init(&s->look.wait);
    floe_list_push_front(&rd->streams, &s->link);
    rd->stream_count++;
    return s;
}

/* What one stream may have ahead: the cache is shared. */
static uint64_t window_of(const struct floe_log_reader *rd, const struct stream *s)
{
    uint64_t all = cache_limit(rd) / 4, least = FLOE_MIN(all, READ_WINDOW_FIRST / 8);
    return FLOE_MIN(s->window, FLOE_MAX(all / FLOE_MAX(rd->stream_count, 1u), least));
}

/* What lies there for readers that have not come for it counts as well: those in front wait for those behind.
 */
static bool may_start(const struct floe_log_reader *rd)
{
    return rd->get_count < READ_AHEAD_GETS && rd->loading_bytes + rd->unread_bytes < cache_limit(rd) / 2;
}

static void passed(struct stream *s, uint64_t bytes, int64_t end)
{
    s->fetched += bytes;
    s->ahead = end;
}

/* The entry of what is to be fetched next; false when an index block must be read first, which is then under
 * way. What was found is kept: the blocks that led to it may be gone when it is asked for again. */
static bool entry_ahead(struct floe_log_reader *rd, struct stream *s, struct floe_index_entry *e)
{
    struct task *t = &s->look;
    struct floe_error err;
    if (!floe_list_empty(&t->wait))
        return false;
    if (!t->found || s->ahead < t->from || s->ahead >= t->entry.end_offset) {
        t->from = s->ahead;
        t->found = reader_find_entry(rd, s->ix, t, s->ahead, &t->entry, &err) == FIND_FOUND;
    }
    *e = t->entry;
    return t->found;
}

void ahead_step(struct floe_log_reader *rd, struct task *t)
{
    struct stream *s = FLOE_CONTAINER(t, struct stream, look);
    struct floe_index_entry e;
    if (t->err.code == FLOE_OK) {
        (void)entry_ahead(rd, s, &e);
        rd->ahead_due = true;
        return;
    }
    t->err = (struct floe_error){0}; /* the reader will ask for it, and be told */
    t->down.level = 0;
}

/* The next block that nobody fetches yet and that the stream's window has room for. */
static bool wanted_ahead(struct floe_log_reader *rd, struct stream *s, uint64_t step,
                         struct floe_index_entry *e)
{
    if (s->ahead < s->next) {
        s->ahead = s->next;
        s->fetched = s->consumed;
    }
    for (;;) {
        /* Not for every little bit that the reader has taken: GETs would shrink to what it takes at a time.
         */
        uint64_t out = s->fetched > s->consumed ? s->fetched - s->consumed : 0;
        if (s->ahead >= s->high_watermark || out + step > window_of(rd, s) || !entry_ahead(rd, s, e) ||
            e->base_offset >= s->high_watermark)
            return false;
        if (!cache_find(rd, 0, e))
            return true;
        passed(s, e->length, e->end_offset);
    }
}

static uint64_t step_of(const struct floe_log_reader *rd, const struct stream *s)
{
    return FLOE_MIN(READ_EXTENT_BYTES, window_of(rd, s) / 2);
}

/* The stream that is furthest behind, and what it needs. */
static struct stream *furthest_behind(struct floe_log_reader *rd, struct floe_index_entry *at)
{
    struct stream *best = NULL;
    FLOE_LIST_EACH(it, &rd->streams)
    {
        struct stream *s = FLOE_LIST_ENTRY(it, struct stream, link);
        struct floe_index_entry e;
        if (s->window == 0 || !wanted_ahead(rd, s, step_of(rd, s), &e))
            continue;
        if (best && (e.seq >= at->seq || !floe_session_name_eq(&e.session, &at->session)))
            continue;
        best = s;
        *at = e;
    }
    return best;
}

void ahead_fetch(struct floe_log_reader *rd)
{
    rd->ahead_due = false;
    while (may_start(rd)) {
        struct floe_index_entry e, last;
        struct stream *s = furthest_behind(rd, &e);
        if (!s)
            return;
        uint64_t most = FLOE_MAX(step_of(rd, s), e.length);
        uint64_t to = reader_adjacent(rd, s->ix, &e, most, s->high_watermark, &last);
        if (!cache_fetch(rd, 0, &e, to, FETCH_SHARED))
            return;
        passed(s, to - e.position, last.end_offset);
    }
}

void ahead_note(struct floe_log_reader *rd, const struct floe_index *ix, int64_t offset, int64_t next,
                uint64_t bytes, int64_t high_watermark)
{
    struct stream *s = stream_find(rd, ix, offset);
    bool sequential = s && offset == s->next && s->next > s->from;
    if (!s) {
        s = stream_new(rd, ix, offset);
        if (!s)
            return; /* read-ahead is a help, not a promise */
    }
    if (sequential && s->window == 0)
        rd->sequential++;
    if (sequential)
        s->window = s->window ? FLOE_MIN(s->window * 2, READ_WINDOW_MAX) : READ_WINDOW_FIRST;
    if (offset >= s->next)
        s->consumed += bytes;
    s->from = offset;
    s->next = FLOE_MAX(next, s->next);
    s->high_watermark = high_watermark;
    floe_list_remove(&s->link);
    floe_list_push_front(&rd->streams, &s->link);
    rd->ahead_due = rd->ahead_due || s->window;
}

void ahead_missed(struct floe_log_reader *rd, const struct floe_index *ix, int64_t offset)
{
    struct stream *s = stream_find(rd, ix, offset);
    if (s) {
        s->ahead = s->next;
        s->fetched = s->consumed;
    }
}

void ahead_forget(struct floe_log_reader *rd, const struct floe_index *ix)
{
    FLOE_LIST_EACH_SAFE(it, &rd->streams)
    {
        struct stream *s = FLOE_LIST_ENTRY(it, struct stream, link);
        if (s->ix == ix)
            stream_free(rd, s);
    }
}

void ahead_fini(struct floe_log_reader *rd)
{
    while (!floe_list_empty(&rd->streams))
        stream_free(rd, FLOE_LIST_ENTRY(rd->streams.next, struct stream, link));
}
