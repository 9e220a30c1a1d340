/* The store reader: tasks that step until they have an answer, and what one read gathers. */
#include "log/read_int.h"

#include <floe/base/assert.h>

#include <inttypes.h>
#include <stdlib.h>

#define SEEKS_TURN 1000u /* that go one step */

/* ---- tasks ---------------------------------------------------------------------------------------- */

void reader_turn_soon(struct floe_log_reader *rd)
{
    if (!floe_timer_armed(&rd->turn))
        floe_timer_start(rd->cfg.loop, &rd->turn, 0);
}

void reader_make_ready(struct floe_log_reader *rd, struct task *t)
{
    floe_list_remove(&t->wait);
    floe_list_push_back(t->kind == TASK_SEEK ? &rd->seeks : &rd->ready, &t->wait);
    reader_turn_soon(rd);
}

static struct task *task_new(struct floe_log_reader *rd, enum task_kind kind, struct floe_index *ix)
{
    struct task *t = calloc(1, sizeof *t);
    FLOE_ASSERT(t); /* a few hundred bytes; there is no way to answer "no memory" later without them */
    t->kind = kind;
    t->ix = ix;
    floe_list_push_back(&rd->tasks, &t->link);
    floe_list_init(&t->wait);
    return t;
}

void task_detach(struct floe_log_reader *rd, struct task *t)
{
    floe_list_remove(&t->wait);
    if (t->pin)
        cache_unpin(rd, t->pin);
    t->pin = NULL;
}

static void task_free(struct floe_log_reader *rd, struct task *t)
{
    task_detach(rd, t);
    floe_list_remove(&t->link);
    free(t);
}

void reader_wake(struct floe_log_reader *rd, struct extent *x, const struct floe_error *err)
{
    while (!floe_list_empty(&x->waiters)) {
        struct task *t = FLOE_LIST_ENTRY(x->waiters.next, struct task, wait);
        if (err) {
            t->err = *err;
        } else {
            t->pin = x;
            x->pins++;
        }
        reader_make_ready(rd, t);
    }
}

/* ---- finding -------------------------------------------------------------------------------------- */

static enum find wait_for(struct extent *x, struct task *task)
{
    if (task)
        floe_list_push_back(&x->waiters, &task->wait);
    return FIND_WAIT;
}

enum find reader_find_page(struct floe_log_reader *rd, struct task *task, const struct floe_index_hit *hit,
                           const struct floe_index_page **out, struct floe_error *err)
{
    const struct floe_index_entry *e = &hit->entry;
    struct extent *x = cache_find(rd, hit->level, e);
    if (!x)
        x = cache_fetch(rd, hit->level, e, e->position + e->length, FETCH_ALONE);
    if (!x) {
        floe_error_set(err, FLOE_ENOMEM, "no memory to read an index block");
        return FIND_FAILED;
    }
    if (x->get)
        return wait_for(x, task);
    if (floe_index_page_check(x->page, hit, err) != FLOE_OK) {
        char key[FLOE_CHAIN_KEY_MAX];
        floe_chain_key(key, &e->session, e->seq);
        floe_error_prefix(err, "%s: byte %" PRIu64, key, e->position);
        return FIND_FAILED;
    }
    cache_touch(rd, x);
    *out = x->page;
    return FIND_FOUND;
}

enum find reader_find_entry(struct floe_log_reader *rd, const struct floe_index *ix, struct task *task,
                            int64_t offset, struct floe_index_entry *out, struct floe_error *err)
{
    struct floe_index_hit hit;
    /* A task goes on at the page that it waited for: those above it may have gone meanwhile, and what they
     * said of an offset is for ever. */
    if (task && task->down.level > 0 && task->down_offset == offset)
        hit = task->down;
    else if (floe_index_lookup(ix, offset, &hit) != FLOE_OK)
        return FIND_NONE;
    while (hit.level > 0) {
        const struct floe_index_page *page = NULL;
        if (task) {
            task->down = hit;
            task->down_offset = offset;
        }
        enum find f = reader_find_page(rd, task, &hit, &page, err);
        if (f != FIND_FOUND)
            return f;
        if (floe_index_page_lookup(page, offset, &hit) != FLOE_OK)
            return FIND_NONE; /* the check of the page rules this out */
    }
    *out = hit.entry;
    return FIND_FOUND;
}

static enum find bad_block(struct floe_log_reader *rd, struct extent *x, const struct floe_index_entry *e,
                           struct floe_error *err)
{
    char key[FLOE_CHAIN_KEY_MAX];
    floe_chain_key(key, &e->session, e->seq);
    floe_error_set(err, FLOE_ECORRUPT,
                   "%s: byte %" PRIu64 ": checksum of %" PRIu32 " bytes with offsets %" PRId64 " to %" PRId64
                   " does not fit",
                   key, e->position, e->length, e->base_offset, e->end_offset);
    cache_drop(rd, x); /* who asks again gets fresh bytes */
    return FIND_FAILED;
}

enum find reader_find_block(struct floe_log_reader *rd, struct task *task, const struct floe_index_entry *e,
                            uint64_t to, bool share, struct piece *out, struct floe_error *err)
{
    enum fetch_mode mode = share ? FETCH_SHARED : FETCH_ALONE;
    struct extent *x = cache_find(rd, 0, e);
    if (x && !x->get) {
        const uint8_t *p = cache_take(rd, x, e);
        if (p) {
            *out = (struct piece){x, p};
            return FIND_FOUND;
        }
        if (x->second)
            return bad_block(rd, x, e, err);
        cache_drop(rd, x); /* once more, this block alone: the wire may be to blame */
        x = NULL;
        to = e->position + e->length;
        mode = FETCH_SECOND;
    }
    if (!x)
        x = cache_fetch(rd, 0, e, to, mode);
    if (x)
        return wait_for(x, task);
    floe_error_set(err, FLOE_ENOMEM, "no memory to read batches");
    return FIND_FAILED;
}

/* As far as the cached pages tell. A guess must not start a GET: it would crowd out the one that it is for.
 */
bool reader_cached_entry(struct floe_log_reader *rd, const struct floe_index *ix, int64_t offset,
                         struct floe_index_entry *out)
{
    struct floe_index_hit hit;
    if (floe_index_lookup(ix, offset, &hit) != FLOE_OK)
        return false;
    while (hit.level > 0) {
        struct extent *x = cache_find(rd, hit.level, &hit.entry);
        if (!x || x->get || !x->page || floe_index_page_check(x->page, &hit, NULL) != FLOE_OK ||
            floe_index_page_lookup(x->page, offset, &hit) != FLOE_OK)
            return false;
    }
    *out = hit.entry;
    return true;
}

uint64_t reader_adjacent(struct floe_log_reader *rd, const struct floe_index *ix,
                         const struct floe_index_entry *first, uint64_t bytes, int64_t high_watermark,
                         struct floe_index_entry *last)
{
    struct floe_index_entry e;
    *last = *first;
    for (uint32_t n = 1; n < READ_EXTENT_BLOCKS && last->end_offset < high_watermark; n++) {
        if (!reader_cached_entry(rd, ix, last->end_offset, &e) || e.seq != last->seq ||
            !floe_session_name_eq(&e.session, &last->session) ||
            e.position != last->position + last->length || e.base_offset >= high_watermark ||
            e.position + e.length - first->position > bytes || cache_find(rd, 0, &e))
            break;
        *last = e;
    }
    return last->position + last->length;
}

/* ---- reads ---------------------------------------------------------------------------------------- */

/* Bytes of a piece with what keeps them. A slice keeps its whole buffer: while answers keep so many that the
 * cache is over its budget, a small one is copied out instead. */
static struct floe_bufslice hand_out(const struct floe_log_reader *rd, const struct piece *piece,
                                     const uint8_t *from, size_t n)
{
    const struct floe_budget *b = rd->cfg.cache_budget;
    struct floe_buf *buf = piece->extent->buf, *copy = NULL;
    if (b && floe_budget_used(b) > b->limit && n < buf->cap / 2)
        copy = floe_buf_create_forced(n, NULL);
    if (!copy)
        return (struct floe_bufslice){floe_buf_ref(buf), from, n};
    memcpy(copy->data, from, n);
    copy->n = n;
    return (struct floe_bufslice){copy, copy->data, n};
}

/* Gathers whole batches of one block from `offset` on. False when the read is full; *next is where to go on.
 */
static bool take_batches(const struct floe_log_reader *rd, struct floe_log_read *r,
                         const struct floe_index_entry *at, const struct piece *piece, int64_t offset,
                         int64_t *next, struct floe_error *err)
{
    struct floe_slice rest = floe_slice(piece->p, at->length), bytes;
    const uint8_t *from = NULL, *to = NULL;
    bool full = false;
    int64_t end = offset;
    while (rest.n > 0 && !full) {
        struct floe_batch batch;
        if (floe_batch_next(&rest, &batch, &bytes, err) != FLOE_OK) {
            char key[FLOE_CHAIN_KEY_MAX];
            floe_chain_key(key, &at->session, at->seq);
            floe_error_prefix(err, "%s: byte %" PRIu64, key, at->position + (uint64_t)(rest.p - piece->p));
            return false;
        }
        if (floe_batch_last_offset(&batch) < offset)
            continue;
        uint64_t have = r->bytes + (uint64_t)(from ? to - from : 0);
        if (have + bytes.n > r->max_bytes && (have > 0 || !r->min_one)) {
            full = true;
        } else {
            from = from ? from : bytes.p;
            to = bytes.p + bytes.n;
            end = floe_batch_last_offset(&batch) + 1;
        }
    }
    if (from) {
        struct floe_bufslice *slices = realloc(r->slices, (r->slice_count + 1) * sizeof *slices);
        if (!slices) {
            floe_error_set(err, FLOE_ENOMEM, "no memory for a read's slices");
            return false;
        }
        r->slices = slices;
        slices[r->slice_count++] = hand_out(rd, piece, from, (size_t)(to - from));
        r->bytes += (uint32_t)(to - from);
    }
    *next = full ? end : at->end_offset;
    return !full;
}

/* The next entry and its bytes: in the cache, or fetched with what follows them. */
static enum find find_bytes(struct floe_log_reader *rd, struct task *t, int64_t offset,
                            struct floe_index_entry *e, struct piece *out)
{
    bool first = t->read->bytes == 0;
    if (first && t->found && t->entry.base_offset <= offset && offset < t->entry.end_offset) {
        *e = t->entry; /* the index pages that led to it may have gone while its bytes were read */
    } else {
        enum find f = reader_find_entry(rd, t->ix, first ? t : NULL, offset, e, &t->err);
        if (f != FIND_FOUND)
            return f;
    }
    if (first) {
        t->found = true;
        t->entry = *e;
    }
    if (e->base_offset >= t->high_watermark)
        return FIND_NONE;
    bool cached = cache_find(rd, 0, e) != NULL;
    if (!first && !cached)
        return FIND_WAIT; /* there is something to answer with: what follows comes with the next read */
    struct floe_index_entry last;
    uint64_t most = FLOE_MAX(FLOE_MIN(READ_EXTENT_BYTES, cache_limit(rd) / 8), FLOE_SEGMENT_BLOCK_MAX);
    uint64_t bytes = FLOE_MIN(FLOE_MAX(t->read->max_bytes, FLOE_SEGMENT_BLOCK_MAX), most);
    uint64_t to = e->position + e->length;
    if (!cached)
        ahead_missed(rd, t->ix, offset);
    if (!cached)
        to = reader_adjacent(rd, t->ix, e, bytes, t->high_watermark, &last);
    return reader_find_block(rd, first ? t : NULL, e, to, true, out, &t->err);
}

static bool read_step(struct floe_log_reader *rd, struct task *t)
{
    struct floe_log_read *r = t->read;
    int64_t next = r->offset;
    while (next < t->high_watermark) {
        struct floe_index_entry e;
        struct piece piece;
        enum find f = find_bytes(rd, t, next, &e, &piece);
        if (f == FIND_WAIT && r->bytes == 0)
            return false;
        if (f == FIND_NONE && r->bytes == 0)
            floe_error_set(&t->err, FLOE_ECORRUPT,
                           "offset %" PRId64 " is below the high watermark %" PRId64 " and in no segment",
                           next, t->high_watermark);
        if (f != FIND_FOUND || !take_batches(rd, r, &e, &piece, next, &next, &t->err))
            break;
    }
    if (r->bytes > 0) {
        t->err = (struct floe_error){0}; /* what follows is bad: said when it is asked for */
        ahead_note(rd, t->ix, r->offset, next, r->bytes, t->high_watermark);
    }
    return true;
}

/* ---- answers -------------------------------------------------------------------------------------- */

static void answer(struct floe_log_reader *rd, struct task *t)
{
    struct floe_log_read *r = t->read;
    struct floe_log_seek *s = t->seek;
    struct floe_error err = t->err;
    enum task_kind kind = t->kind;
    task_free(rd, t);
    if (kind == TASK_READ) {
        r->driver = NULL;
        r->err = err;
        r->done(r);
    } else {
        s->driver = NULL;
        s->err = err;
        s->done(s);
    }
}

/* True when it is answered. */
static bool step(struct floe_log_reader *rd, struct task *t)
{
    switch (t->kind) {
    case TASK_READ:
        return t->err.code || read_step(rd, t);
    case TASK_SEEK:
        return t->err.code || seek_step(rd, t);
    case TASK_AHEAD:
        ahead_step(rd, t);
        break;
    }
    return false;
}

static void take_turn(struct floe_log_reader *rd, struct floe_list *from)
{
    struct task *t = FLOE_LIST_ENTRY(from->next, struct task, wait);
    struct extent *pin = t->pin;
    floe_list_remove(&t->wait);
    t->pin = NULL;
    bool done = step(rd, t);
    if (pin)
        cache_unpin(rd, pin);
    if (done)
        answer(rd, t);
}

/* A batch that is looked into takes milliseconds to decompress, or a good part of a second: one in a turn,
 * however many partitions are asked for by time. */
static void seek_turn(struct floe_log_reader *rd)
{
    rd->looked = 0;
    for (uint32_t i = 0; i < SEEKS_TURN && rd->looked == 0 && !floe_list_empty(&rd->seeks); i++)
        take_turn(rd, &rd->seeks);
    if (!floe_list_empty(&rd->seeks))
        reader_turn_soon(rd);
}

static void turn(struct floe_timer *timer)
{
    struct floe_log_reader *rd = timer->user;
    struct floe_list batch;
    floe_list_init(&batch); /* what becomes ready meanwhile has its own turn */
    while (!floe_list_empty(&rd->ready))
        floe_list_push_back(&batch, floe_list_pop_front(&rd->ready));
    while (!floe_list_empty(&batch))
        take_turn(rd, &batch);
    seek_turn(rd);
    if (rd->ahead_due)
        ahead_fetch(rd);
    cache_trim(rd);
}

void floe_log_reader_read(struct floe_log_reader *rd, struct floe_index *ix, int64_t high_watermark,
                          struct floe_log_read *r)
{
    FLOE_ASSERT(r->offset < high_watermark);
    struct task *t = task_new(rd, TASK_READ, ix);
    t->read = r;
    t->high_watermark = high_watermark;
    r->slices = NULL;
    r->slice_count = r->bytes = 0;
    r->driver = t;
    reader_make_ready(rd, t);
}

void floe_log_reader_cancel(struct floe_log_reader *rd, struct floe_log_read *r)
{
    if (!r->driver)
        return;
    task_free(rd, r->driver);
    r->driver = NULL;
}

void floe_log_reader_seek(struct floe_log_reader *rd, struct floe_index *ix, int64_t log_start,
                          int64_t high_watermark, struct floe_log_seek *s)
{
    struct task *t = task_new(rd, TASK_SEEK, ix);
    t->seek = s;
    t->from = log_start;
    t->high_watermark = high_watermark;
    t->max = s->timestamp == FLOE_LOG_MAX_TIMESTAMP;
    s->offset = s->found_timestamp = -1;
    s->leader_epoch = -1;
    s->driver = t;
    reader_make_ready(rd, t);
}

void floe_log_reader_forget(struct floe_log_reader *rd, struct floe_index *ix)
{
    FLOE_LIST_EACH(it, &rd->tasks)
    {
        struct task *t = FLOE_LIST_ENTRY(it, struct task, link);
        if (t->ix != ix)
            continue;
        t->ix = NULL;
        floe_error_set(&t->err, FLOE_ENOTHOLDER, "the partition moved while it was read");
        reader_make_ready(rd, t);
    }
    ahead_forget(rd, ix);
}

enum floe_err floe_log_reader_create(struct floe_log_reader **out, const struct floe_log_reader_config *cfg)
{
    struct floe_log_reader *rd = calloc(1, sizeof *rd);
    if (!rd)
        return FLOE_ENOMEM;
    rd->cfg = *cfg;
    floe_map_init(&rd->extents);
    floe_list_init(&rd->lru);
    floe_list_init(&rd->spent);
    floe_list_init(&rd->pages);
    floe_list_init(&rd->pinned);
    floe_list_init(&rd->gets);
    floe_list_init(&rd->tasks);
    floe_list_init(&rd->ready);
    floe_list_init(&rd->seeks);
    floe_list_init(&rd->streams);
    floe_timer_init(&rd->turn, turn, rd);
    *out = rd;
    return FLOE_OK;
}

void floe_log_reader_destroy(struct floe_log_reader **rdp)
{
    struct floe_log_reader *rd = *rdp;
    if (!rd)
        return;
    floe_timer_stop(&rd->turn);
    FLOE_LIST_EACH_SAFE(it, &rd->tasks)
    task_free(rd, FLOE_LIST_ENTRY(it, struct task, link));
    ahead_fini(rd);
    cache_fini(rd);
    free(rd);
    *rdp = NULL;
}
