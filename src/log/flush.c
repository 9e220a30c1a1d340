/* Flush: when the open segment is closed and sent.
 *
 * At once when no PUT is in flight; otherwise when it is full, when its linger ends, or when a PUT returns.
 * At most puts_in_flight_max PUTs, each for a token; a full segment and a session's last one go without. "At
 * once" means at the end of the loop's turn, so that what arrived together travels together. Closed segments
 * wait only when they are full and no PUT is free, or the session may not send. */
#include <stdlib.h>

#include "log_int.h"

static void on_linger(struct floe_timer *t)
{
    struct floe_log *log = t->user;
    log->chain.linger_over = true;
    floe_log_kick(log);
}

static void on_bucket(struct floe_timer *t)
{
    floe_log_kick(t->user);
}

static void on_checkpoint_wait(struct floe_timer *t)
{
    struct floe_log *log = t->user;
    log->chain.ckpt_over = true;
    floe_log_kick(log);
}

void floe_flush_init(struct floe_log *log)
{
    struct floe_chain *c = &log->chain;
    floe_list_init(&c->waiting);
    floe_list_init(&c->started);
    floe_timer_init(&c->linger, on_linger, log);
    floe_timer_init(&c->bucket, on_bucket, log);
    floe_timer_init(&c->ckpt, on_checkpoint_wait, log);
    c->tokens = log->cfg.put_burst;
    c->tokens_at_us = floe_loop_now_us(log->cfg.loop);
}

void floe_flush_fini(struct floe_log *log)
{
    floe_timer_stop(&log->chain.linger);
    floe_timer_stop(&log->chain.bucket);
    floe_timer_stop(&log->chain.ckpt);
}

/* A PUT's token. `force`: it goes whatever the bucket holds (a retry, whose pace is the back-off's), and is
 * counted.
 */
bool floe_flush_take_token(struct floe_log *log, bool force)
{
    struct floe_chain *c = &log->chain;
    double rate = log->cfg.put_rate, burst = FLOE_MAX(log->cfg.put_burst, 1.0);
    if (rate <= 0)
        return true;
    uint64_t now = floe_loop_now_us(log->cfg.loop);
    c->tokens = FLOE_MIN(burst, c->tokens + rate * (double)(now - c->tokens_at_us) / 1e6);
    c->tokens_at_us = now;
    if (c->tokens < 1.0 && !force)
        return false;
    c->tokens = FLOE_MAX(c->tokens - 1.0, -burst);
    return true;
}

struct floe_log_segment *floe_flush_open_segment(struct floe_log *log)
{
    struct floe_chain *c = &log->chain;
    if (c->open_seg)
        return c->open_seg;
    struct floe_log_segment *seg = calloc(1, sizeof *seg);
    if (!seg)
        return NULL;
    seg->log = log;
    seg->state = FLOE_SEG_OPEN;
    floe_list_init(&seg->link);
    floe_list_init(&seg->batches);
    c->open_seg = seg;
    return seg;
}

static void close_open(struct floe_log *log)
{
    struct floe_chain *c = &log->chain;
    struct floe_log_segment *seg = c->open_seg;
    FLOE_ASSERT(seg && seg->state == FLOE_SEG_OPEN);
    seg->state = FLOE_SEG_WAITING;
    floe_list_push_back(&c->waiting, &seg->link);
    c->open_seg = NULL;
    c->linger_over = c->put_returned = c->hand_over = false;
    floe_timer_stop(&c->linger);
}

void floe_flush_appended(struct floe_log *log)
{
    struct floe_chain *c = &log->chain;
    if (c->open_seg->bytes >= log->cfg.segment_bytes_max ||
        c->open_seg->batch_count >= FLOE_LOG_SEGMENT_BATCHES_MAX)
        close_open(log);
    else if (!floe_timer_armed(&c->linger) && !c->linger_over)
        floe_timer_start(log->cfg.loop, &c->linger, log->cfg.linger_us);
    floe_log_kick(log);
}

/* Segments in flight stay in memory, whatever the store does: they take at most half of the budget (one may
 * be in flight in any case), or nothing would be left to take in what goes on into the tier. */
static bool room_in_flight(const struct floe_log *log, const struct floe_log_segment *next)
{
    const struct floe_budget *b = log->cfg.pending_budget;
    uint64_t bytes = next->bytes;
    if (!b || b->limit == 0 || floe_list_empty(&log->chain.started))
        return true;
    FLOE_LIST_EACH(it, &log->chain.started)
    bytes += FLOE_LIST_ENTRY(it, struct floe_log_segment, link)->bytes;
    return bytes <= b->limit / 2;
}

/* The oldest waiting segment is sent. False when it cannot be (now). */
static bool start_oldest(struct floe_log *log)
{
    struct floe_chain *c = &log->chain;
    uint32_t ahead = 0; /* spilled bytes of the next few come back meanwhile */
    FLOE_LIST_EACH(it, &c->waiting)
    {
        if (ahead++ == log->cfg.puts_in_flight_max ||
            (!floe_stage_load(FLOE_LIST_ENTRY(it, struct floe_log_segment, link)) &&
             FLOE_LIST_ENTRY(it, struct floe_log_segment, link)->state != FLOE_SEG_LOADING))
            break;
    }
    struct floe_log_segment *seg = FLOE_LIST_ENTRY(c->waiting.next, struct floe_log_segment, link);
    if (!floe_stage_load(seg) || !room_in_flight(log, seg))
        return false;
    floe_list_remove(&seg->link);
    if (seg->batch_count == 0 && floe_list_empty(&log->ckpt_due)) { /* its partitions were dropped */
        floe_segment_free(seg);
        return true;
    }
    floe_list_push_back(&c->started, &seg->link);
    return floe_build_start(seg);
}

static bool due(const struct floe_log *log)
{
    const struct floe_chain *c = &log->chain;
    bool data = c->open_seg && c->open_seg->batch_count > 0;
    bool checkpoints = !floe_list_empty(&log->ckpt_due);
    if (data && (c->puts_n == 0 || c->linger_over || c->put_returned || c->stopping || c->hand_over))
        return true;
    return checkpoints && (c->ckpt_over || c->stopping);
}

void floe_flush_turn(struct floe_log *log)
{
    struct floe_chain *c = &log->chain;
    uint32_t max = log->cfg.puts_in_flight_max;
    if (!floe_chain_may_send(log) || log->end.sealing) /* nothing goes behind the own seal */
        return;
    for (;;) {
        while (!floe_list_empty(&c->waiting)) {
            if (c->puts_n >= max || !start_oldest(log))
                return;
        }
        if (c->puts_n >= max || !due(log))
            break;
        if (!c->stopping && !floe_flush_take_token(log, c->hand_over)) {
            double wait = (1.0 - c->tokens) / log->cfg.put_rate * 1e6;
            floe_timer_start(log->cfg.loop, &c->bucket, (uint64_t)wait + 1);
            break;
        }
        if (!floe_flush_open_segment(log))
            break;
        close_open(log);
    }
    if (!c->open_seg || c->open_seg->batch_count == 0)
        c->put_returned = false;
}
