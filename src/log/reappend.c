/* Re-append: sessions that left something, oldest first; what is known of them in the tier.
 *
 *   start -> window of entries -> their session sealed -> producer id in the tier -> partitions
 * (reappend_send.c)
 *         <- next window of the same session <-
 *         <- "done up to" in the tier, entries dropped, next session <-                      -> finished,
 * reported */
#include <stdlib.h>

#include <floe/base/mutant.h>

#include "reappend_int.h"

#define META_NAME "reappend"
enum { META_VERSION = 1, META_BYTES = 40 };

static void next_window(struct floe_reappend *r);

static void free_all(struct floe_reappend *r)
{
    floe_timer_stop(&r->timer);
    floe_reappend_free_parts(r);
    free(r);
}

bool floe_reappend_came(struct floe_reappend *r)
{
    r->open--;
    if (!r->stopped)
        return true;
    if (r->open == 0) {
        floe_list_remove(&r->link);
        free_all(r);
    }
    return false;
}

void floe_reappend_pause(struct floe_reappend *r)
{
    if (!r->stopped && !floe_timer_armed(&r->timer))
        floe_timer_start(r->log->cfg.loop, &r->timer, FLOE_REAPPEND_PAUSE_US);
}

void floe_reappend_soon(struct floe_reappend *r)
{
    if (!r->stopped)
        floe_timer_start(r->log->cfg.loop, &r->timer, 0);
}

/* ---- the value in the tier ------------------------------------------------------------------------ */

static void put_meta(struct floe_reappend *r, uint64_t done_to,
                     void (*done)(void *user, const struct floe_error *err))
{
    uint8_t b[META_BYTES] = {0};
    floe_put_le32(b, META_VERSION);
    floe_put_le16(b + 4, (uint16_t)r->producer_epoch);
    floe_put_le64(b + 8, done_to);
    floe_put_le32(b + 16, (uint32_t)r->session.node);
    floe_put_le32(b + 20, (uint32_t)r->session.epoch);
    floe_put_le64(b + 24, r->session.id);
    floe_put_le64(b + 32, (uint64_t)r->producer_id);
    r->open++;
    r->log->cfg.tier->ops->meta_put(r->log->cfg.tier, META_NAME, floe_slice(b, sizeof b), done, r);
}

/* True when the value names `s`; its producer is taken over then. */
static bool read_meta(struct floe_reappend *r, const struct floe_session_name *s)
{
    struct floe_slice m = floe_tier_meta(r->log->cfg.tier, META_NAME);
    if (m.n != META_BYTES || floe_le32(m.p) != META_VERSION)
        return false;
    r->done_to = floe_le64(m.p + 8);
    struct floe_session_name at = {.node = (int32_t)floe_le32(m.p + 16),
                                   .epoch = (int32_t)floe_le32(m.p + 20),
                                   .id = floe_le64(m.p + 24)};
    if (!s || !floe_session_name_eq(&at, s) || FLOE_MUTANT(REAPPEND_NEW_PRODUCER))
        return false;
    r->producer_epoch = (int16_t)floe_le16(m.p + 4);
    r->producer_id = (int64_t)floe_le64(m.p + 32);
    return r->producer_id >= 0;
}

/* ---- producer ------------------------------------------------------------------------------------- */

static void on_producer_stored(void *user, const struct floe_error *err)
{
    struct floe_reappend *r = user;
    r->producer_ready = err->code == FLOE_OK;
    r->asking_producer = r->producer_ready;
    if (!floe_reappend_came(r))
        return;
    if (r->producer_ready)
        floe_reappend_soon(r);
    else
        floe_reappend_pause(r);
}

static void on_producer_id(void *user, const struct floe_error *err, int64_t id, int16_t epoch)
{
    struct floe_reappend *r = user;
    if (err->code == FLOE_OK && !r->stopped) {
        r->producer_id = id;
        r->producer_epoch = epoch;
        put_meta(r, r->done_to, on_producer_stored);
    }
    if (floe_reappend_came(r) && err->code != FLOE_OK) {
        r->asking_producer = false;
        floe_reappend_pause(r);
    }
}

/* ---- windows -------------------------------------------------------------------------------------- */

static void report(struct floe_reappend *r)
{
    struct floe_error e;
    if (r->sent + r->present + r->aside + r->dropped == 0)
        return;
    floe_error_set(&e, FLOE_OK,
                   "of what acks=1 left in the tier %llu batches were appended again, %llu were in the store "
                   "already, %llu were set aside, %llu dropped",
                   (unsigned long long)r->sent, (unsigned long long)r->present, (unsigned long long)r->aside,
                   (unsigned long long)r->dropped);
    floe_log_note(r->log, &e);
}

static void on_done_stored(void *user, const struct floe_error *err)
{
    struct floe_reappend *r = user;
    if (!floe_reappend_came(r))
        return;
    if (err->code != FLOE_OK) { /* stored again with the next try */
        r->storing = false;
        floe_reappend_pause(r);
        return;
    }
    struct floe_tier *tier = r->log->cfg.tier;
    tier->ops->drop(tier, 0, r->next);
    r->log->tier_refuses = false;
    r->from = r->next;
    r->session_known = r->producer_ready = r->asking_producer = r->storing = false;
    floe_reappend_free_parts(r); /* sequences count anew with the next session's producer */
    next_window(r);
}

void floe_reappend_window_done(struct floe_reappend *r)
{
    if (r->scanning || r->storing)
        return;
    if (r->open > 0) { /* an answer is under way that names a partition */
        floe_reappend_pause(r);
        return;
    }
    if (!r->other_session && r->next < r->to) { /* more of the same session */
        r->from = r->next;
        next_window(r);
        return;
    }
    r->storing = true;
    r->done_to = r->next;
    put_meta(r, r->next, on_done_stored);
}

static void take_entry(void *user, uint64_t seq, struct floe_slice head, struct floe_slice body)
{
    struct floe_reappend *r = user;
    struct floe_stage_head h;
    struct floe_batch b;
    struct floe_error err;
    if (r->stopped || r->other_session || seq >= r->next)
        return;
    r->seen = seq + 1;
    enum floe_err rc = floe_stage_head_decode(head, &h, &err);
    if (rc == FLOE_OK)
        rc = floe_batch_parse(body, &b, &err);
    if (rc == FLOE_OK && b.length != body.n)
        rc = floe_error_set(&err, FLOE_ECORRUPT, "its batch is not whole");
    if (rc != FLOE_OK) {
        floe_error_prefix(&err, "entry %llu of the tier is lost", (unsigned long long)seq);
        floe_log_note(r->log, &err);
        r->dropped++;
        return;
    }
    if (h.acks != 1)
        return; /* spilled, never acknowledged */
    if (!r->session_known) {
        r->session = h.session;
        r->session_known = true;
    }
    if (!floe_session_name_eq(&h.session, &r->session)) {
        r->other_session = true;
        r->next = seq;
        return;
    }
    struct floe_reappend_part *part = floe_reappend_part_of(r, &h.tp);
    struct floe_reappend_item *it = part ? calloc(1, sizeof *it) : NULL;
    if (!it) { /* the window ends here */
        r->next = seq;
        return;
    }
    it->part = part;
    it->head = h;
    it->seq = seq;
    it->n = b.length;
    it->records = b.last_offset_delta + 1;
    it->own_producer = b.producer_id >= 0;
    floe_list_push_back(&part->items, &it->link);
    r->items++;
}

/* The window in hand, from its session's seal to its end. */
static void go_on(struct floe_reappend *r)
{
    const struct floe_log_hooks *h = &r->log->cfg.hooks;
    if (r->scanning || r->storing)
        return;
    if (r->rescan) {
        r->rescan = false;
        next_window(r);
        return;
    }
    if (r->finished) {
        report(r);
        r->log->tier_from = r->to;
        floe_reappend_stop(r->log);
        return;
    }
    if (r->items == 0) {
        floe_reappend_window_done(r);
        return;
    }
    if (h->sealed && !h->sealed(h->user, &r->session)) {
        floe_reappend_pause(r);
        return;
    }
    if (!r->producer_ready && !r->asking_producer) {
        r->asking_producer = true;
        if (read_meta(r, &r->session)) { /* stored again: the tier also tells what its disk did not take */
            put_meta(r, r->done_to, on_producer_stored);
        } else {
            r->open++;
            h->reappend_producer_id(h->user, on_producer_id, r);
        }
        return;
    }
    floe_reappend_pump(r);
}

static void on_scanned(void *user, const struct floe_error *err)
{
    struct floe_reappend *r = user;
    r->scanning = false;
    if (!floe_reappend_came(r))
        return;
    if (err->code == FLOE_ECLOSED) { /* everything stays; the next session looks again */
        floe_reappend_stop(r->log);
        return;
    }
    if (err->code != FLOE_OK) { /* the window ends there, and the next one begins with it */
        if (!r->told)
            floe_log_note(r->log, err);
        r->told = true;
        r->next = FLOE_MIN(r->next, r->seen);
        r->rescan = r->next == r->from;
    }
    if (r->rescan)
        floe_reappend_pause(r);
    else
        go_on(r);
}

static void next_window(struct floe_reappend *r)
{
    r->other_session = false;
    if (r->from >= r->to) {
        r->finished = true;
        floe_reappend_soon(r);
        return;
    }
    r->next = FLOE_MIN(r->to, r->from + FLOE_REAPPEND_WINDOW);
    r->seen = r->from;
    r->scanning = true;
    r->open++;
    r->log->cfg.tier->ops->scan(r->log->cfg.tier, r->from, r->next, take_entry, on_scanned, r);
}

static void on_timer(struct floe_timer *t)
{
    struct floe_reappend *r = t->user;
    r->asides_left = FLOE_REAPPEND_ASIDES;
    go_on(r);
}

/* ---- life ----------------------------------------------------------------------------------------- */

uint64_t floe_reappend_done_to(struct floe_tier *tier)
{
    struct floe_slice m = floe_tier_meta(tier, META_NAME);
    return m.n == META_BYTES && floe_le32(m.p) == META_VERSION ? floe_le64(m.p + 8) : 0;
}

void floe_reappend_start(struct floe_log *log)
{
    struct floe_tier *tier = log->cfg.tier;
    if (!tier || !log->cfg.hooks.reappend_producer_id || log->tier_from >= log->tier_next)
        return;
    struct floe_reappend *r = calloc(1, sizeof *r);
    if (!r)
        return; /* the entries stay for the next session */
    r->log = log;
    r->producer_id = -1;
    r->asides_left = FLOE_REAPPEND_ASIDES;
    floe_map_init(&r->map);
    floe_list_init(&r->parts);
    floe_timer_init(&r->timer, on_timer, r);
    (void)!read_meta(r, NULL);
    if (r->done_to > log->tier_from)
        tier->ops->drop(tier, 0, r->done_to); /* a crash may have forgotten it */
    r->from = FLOE_MAX(log->tier_from, r->done_to);
    r->to = log->tier_next;
    log->reappend = r;
    next_window(r);
}

void floe_reappend_stop(struct floe_log *log)
{
    struct floe_reappend *r = log->reappend;
    if (!r)
        return;
    log->reappend = NULL;
    r->stopped = true;
    floe_timer_stop(&r->timer);
    if (r->open == 0)
        free_all(r);
    else
        floe_list_push_back(&log->reappends, &r->link);
}

void floe_reappend_fini(struct floe_log *log)
{
    if (log->reappend)
        free_all(log->reappend);
    log->reappend = NULL;
    for (struct floe_list *n; (n = floe_list_pop_front(&log->reappends));)
        free_all(FLOE_LIST_ENTRY(n, struct floe_reappend, link));
}
