/* What the histories of a store and a cluster that keep their promises look like. */
#include "cli/selftest/selftest.h"

#include <floe/base/assert.h>

#include <stdio.h>
#include <stdlib.h>

bool st_events_add(struct st_events *h, const struct st_event *e)
{
    if (h->n == h->cap) {
        size_t cap = h->cap > 0 ? h->cap * 2 : 256;
        struct st_event *more = realloc(h->e, cap * sizeof *more);
        if (more == NULL)
            return false;
        h->e = more;
        h->cap = cap;
    }
    h->e[h->n++] = *e;
    return true;
}

static bool breach(struct st_breach *out, enum st_promise p, const char *fmt, ...) FLOE_PRINTF(3, 4);
static bool breach(struct st_breach *out, enum st_promise p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(out->why, sizeof out->why, fmt, ap);
    va_end(ap);
    out->promise = p;
    return false;
}

/* ---- creates ---- */

bool st_check_create(const struct st_event *e, size_t n, bool deleted, uint64_t first,
                     const struct st_end *end, struct st_breach *out)
{
    uint32_t won = 0, open = 0;
    bool gone = false; /* the delete may have been applied */
    const struct st_event *of_end = NULL, *winner = NULL;
    for (size_t i = 0; i < n; i++) {
        if (e[i].op == ST_OP_DELETE) {
            gone = gone || e[i].err == FLOE_OK || st_is_trouble((enum floe_err)e[i].err);
            continue;
        }
        if (e[i].err == FLOE_OK) {
            won++;
            winner = &e[i];
        }
        open += st_is_trouble((enum floe_err)e[i].err);
        if (end->there && e[i].id == end->id)
            of_end = &e[i];
    }
    if (won > 1)
        return breach(out, ST_CREATE,
                      "%u of %zu writers that raced were told that they had created the same object", won, n);
    if (deleted && !gone && won > 0)
        return breach(out, ST_CREATE, "a writer created an object that was there");
    if (!end->known)
        return true;
    if (end->there && !end->named)
        return breach(out, ST_BYTES, "an object came back without the metadata that it was written with");
    if (!deleted && open == 0 && won == 0)
        return breach(out, ST_CREATE,
                      "%zu writers raced to create an object that was not there, and all were refused", n);
    if (winner != NULL && !end->there)
        return breach(out, ST_READ,
                      "an object was not found after a writer had been told that it created it");
    if (winner != NULL && deleted && end->id == first)
        return breach(out, ST_READ,
                      "a read found an object that had been deleted and created again by another");
    if (winner != NULL && end->id != winner->id)
        return breach(out, ST_CREATE,
                      "one writer was told that it had created an object, another one's bytes are in it");
    if (end->there && winner == NULL && of_end != NULL && of_end->err == FLOE_EEXISTS)
        return breach(out, ST_CREATE,
                      "a writer was refused because the object was there, and its bytes are in it");
    if (end->there && of_end == NULL && !(deleted && end->id == first))
        return breach(out, ST_BYTES, "an object holds what nobody wrote");
    return true;
}

/* ---- counters ---- */

static int by_id(const void *x, const void *y)
{
    const struct st_event *a = x, *b = y;
    return (a->id > b->id) - (a->id < b->id);
}

static int by_value(const void *x, const void *y)
{
    const struct st_event *a = x, *b = y;
    return (a->value > b->value) - (a->value < b->value);
}

static int by_end(const void *x, const void *y)
{
    const struct st_event *a = x, *b = y;
    return (a->end_us > b->end_us) - (a->end_us < b->end_us);
}

static size_t only(struct st_event *e, size_t n, enum st_op op, bool settled, struct st_event *out)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (e[i].op == (uint32_t)op &&
            (e[i].err == FLOE_OK || (!settled && st_is_trouble((enum floe_err)e[i].err))))
            out[k++] = e[i];
    return k;
}

/* Every number up to the end was written by one that was told so, or by one whose answer said nothing. */
static bool check_chain(struct st_event *writes, size_t n, const struct st_end *end, struct st_breach *out)
{
    uint64_t at = 0;
    qsort(writes, n, sizeof *writes, by_value);
    for (size_t i = 0; i < n;) {
        uint64_t value = writes[i].value;
        uint32_t told = 0;
        if (value != at + 1)
            return breach(out, ST_REPLACE, "a counter went from %llu to %llu: nobody wrote what is between",
                          (unsigned long long)at, (unsigned long long)value);
        for (; i < n && writes[i].value == value; i++)
            told += writes[i].err == FLOE_OK;
        if (told > 1)
            return breach(out, ST_REPLACE,
                          "%u writers were told that they had replaced the same version: updates were lost",
                          told);
        if (told == 1 && end->known && value > end->value)
            return breach(out, ST_REPLACE,
                          "a counter stands at %llu after a writer was told that it had set it to %llu",
                          (unsigned long long)end->value, (unsigned long long)value);
        at = value;
    }
    if (end->known && at < end->value)
        return breach(out, ST_REPLACE, "a counter stands at %llu, and nobody wrote more than %llu",
                      (unsigned long long)end->value, (unsigned long long)at);
    return true;
}

/* What was read was written, by one who was not refused. */
static bool check_reads(struct st_event *e, size_t n, struct st_event *scratch, struct st_breach *out)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (e[i].op == ST_OP_REPLACE)
            scratch[k++] = e[i];
    qsort(scratch, k, sizeof *scratch, by_id);
    for (size_t i = 0; i < n; i++) {
        if (e[i].op != ST_OP_READ)
            continue;
        if (e[i].err == FLOE_ECORRUPT)
            return breach(out, ST_BYTES, "a counter's bytes or metadata came back damaged");
        if (e[i].err == FLOE_ENOTFOUND)
            return breach(out, ST_READ, "a counter that is never deleted was not found");
        if (e[i].err != FLOE_OK || e[i].value == 0)
            continue;
        const struct st_event *w = k > 0 ? bsearch(&e[i], scratch, k, sizeof *scratch, by_id) : NULL;
        if (w == NULL)
            return breach(out, ST_BYTES, "a read found a write that nobody made");
        if (w->value != e[i].value)
            return breach(out, ST_BYTES, "a read found the metadata of one write with the bytes of another");
        if (w->err == FLOE_ECONFLICT)
            return breach(out, ST_REPLACE,
                          "a writer was told that its version was stale, and its bytes were read");
    }
    return true;
}

/* What began after an answer sees at least what that answer said. */
static bool check_time(struct st_event *e, size_t n, struct st_event *done, struct st_breach *out)
{
    size_t k = 0;
    uint64_t top = 0;
    for (size_t i = 0; i < n; i++)
        if (e[i].err == FLOE_OK)
            done[k++] = e[i];
    qsort(done, k, sizeof *done, by_end);
    for (size_t i = 0; i < k; i++)
        done[i].value = top = FLOE_MAX(top, done[i].value);
    for (size_t i = 0; i < n; i++) {
        size_t low = 0, high = k;
        while (low < high) { /* the first that ended at or after this one's start */
            size_t mid = low + (high - low) / 2;
            if (done[mid].end_us < e[i].start_us)
                low = mid + 1;
            else
                high = mid;
        }
        if (low == 0 || e[i].err != FLOE_OK)
            continue;
        uint64_t floor = done[low - 1].value;
        if (e[i].op == ST_OP_READ && e[i].value < floor)
            return breach(out, ST_READ, "a read found %llu after another process had seen %llu",
                          (unsigned long long)e[i].value, (unsigned long long)floor);
        if (e[i].op == ST_OP_REPLACE && e[i].value <= floor)
            return breach(out, ST_REPLACE,
                          "a write that replaced %llu was taken after another process had seen %llu",
                          (unsigned long long)e[i].value - 1, (unsigned long long)floor);
    }
    return true;
}

bool st_check_counter(struct st_event *e, size_t n, const struct st_end *end, struct st_breach *out)
{
    struct st_event *scratch = malloc((n + 1) * sizeof *scratch);
    bool ok = true;
    FLOE_ASSERT(scratch != NULL);
    ok = check_reads(e, n, scratch, out) &&
         check_chain(scratch, only(e, n, ST_OP_REPLACE, false, scratch), end, out) &&
         check_time(e, n, scratch, out);
    free(scratch);
    return ok;
}

/* ---- partitions ---- */

bool st_runs_add(struct st_runs *l, uint64_t offset, uint64_t seq, uint64_t count)
{
    struct st_run *last = l->n > 0 ? &l->r[l->n - 1] : NULL;
    if (last != NULL && last->offset + last->count == offset && last->seq + last->count == seq) {
        last->count += count;
        return true;
    }
    if (l->n == l->cap) {
        size_t cap = l->cap > 0 ? l->cap * 2 : 64;
        struct st_run *more = realloc(l->r, cap * sizeof *more);
        if (more == NULL)
            return false;
        l->r = more;
        l->cap = cap;
    }
    l->r[l->n++] = (struct st_run){offset, seq, count};
    return true;
}

/* Is every record of `r` at its place in `all`? Gives the first that is not. */
static bool holds(const struct st_runs *all, const struct st_run *r, uint64_t *missing)
{
    uint64_t at = r->offset, end = r->offset + r->count;
    for (size_t i = 0; i < all->n && at < end; i++) {
        const struct st_run *a = &all->r[i];
        if (at < a->offset || at >= a->offset + a->count)
            continue;
        if (a->seq + (at - a->offset) != r->seq + (at - r->offset))
            break;
        at = FLOE_MIN(end, a->offset + a->count);
    }
    *missing = at;
    return at >= end;
}

static bool check_order(uint32_t partition, const struct st_runs *l, const char *who, struct st_breach *out)
{
    uint64_t seq = 0, offset = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct st_run *r = &l->r[i];
        if (i > 0 && r->offset < offset)
            return breach(out, ST_CLUSTER, "partition %u: %s got offset %llu after %llu", partition, who,
                          (unsigned long long)r->offset, (unsigned long long)offset - 1);
        if (r->seq != seq)
            return breach(
                out, ST_CLUSTER, "partition %u: %s got record %llu at offset %llu where %llu was to come: %s",
                partition, who, (unsigned long long)r->seq, (unsigned long long)r->offset,
                (unsigned long long)seq, r->seq > seq ? "records are lost" : "records are repeated");
        seq = r->seq + r->count;
        offset = r->offset + r->count;
    }
    return true;
}

bool st_check_partition(uint32_t partition, const struct st_runs *acked, const struct st_runs *first,
                        const struct st_runs *last, struct st_breach *out)
{
    uint64_t at;
    for (size_t i = 0; i < acked->n; i++)
        if (!holds(last, &acked->r[i], &at))
            return breach(out, ST_CLUSTER,
                          "partition %u: record %llu was acknowledged at offset %llu and is not there",
                          partition, (unsigned long long)(acked->r[i].seq + (at - acked->r[i].offset)),
                          (unsigned long long)at);
    for (size_t i = 0; i < first->n; i++)
        if (!holds(last, &first->r[i], &at))
            return breach(out, ST_CLUSTER,
                          "partition %u: a reader got a record at offset %llu that is not there any more",
                          partition, (unsigned long long)at);
    return check_order(partition, first, "the reader during the load", out) &&
           check_order(partition, last, "the reader at the end", out);
}
