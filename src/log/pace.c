/* Pace: how fast producers may go on when memory or the tier is running short, and who is next when it has
 * run out.
 *
 * Nobody is slowed down before the tier holds half of what it may, or what waits in memory is near the point
 * where appends are pushed back. From there on all appends together get a rate: what has drained lately, a
 * little less the fuller it is, and a share of the room that is left, so that with nothing draining it fills
 * ever more slowly. Each append takes its bytes' time of that rate, behind the appends before it; until then
 * whoever sent it should send nothing more. Where that is not enough, appends are pushed back and wait their
 * turn. */
#include "log_int.h"

#define RATE_WINDOW_US 1000000.0
#define SAMPLE_US 100000u
#define TIER_ROOM_S 60.0      /* the room that is left in the tier is meant to last so long, */
#define MEM_ROOM_S 1.0        /* ... and that in memory */
#define PACE_MAX_US 2000000.0 /* a partition that can be written again is soon written again */
#define TELL_US 200000.0
#define QUIET_US 10000000u /* without need for so long before the end of it is told */

/* Bytes that pending batches may hold before appends are pushed back: closed segments leave memory for the
 * tier (stage.c) above a half of the budget; above three quarters the tier cannot keep up, is full, or there
 * is none. */
static size_t stop_at(const struct floe_log *log)
{
    size_t limit = log->cfg.pending_budget ? log->cfg.pending_budget->limit : 0;
    return limit - limit / 4;
}

bool floe_pace_full(const struct floe_log *log, size_t n)
{
    size_t stop = stop_at(log);
    return stop && log->pending_mem > 0 && log->pending_mem + n > stop;
}

static void follow(double *rate, uint64_t *seen, uint64_t total, double gone_us)
{
    double now = (double)(total - *seen) * 1e6 / gone_us;
    *rate += (now - *rate) * gone_us / (gone_us + RATE_WINDOW_US);
    *seen = total;
}

static void sample(struct floe_pace *p, uint64_t now)
{
    uint64_t gone = now - p->sampled_us;
    if (gone < SAMPLE_US)
        return;
    follow(&p->mem_rate, &p->mem_seen, p->mem_out, (double)gone);
    follow(&p->tier_rate, &p->tier_seen, p->tier_out, (double)gone);
    p->sampled_us = now;
}

/* Bytes a second at `used` of `limit`, where that is more than `from`; else no bound. */
static double bound(double drain, uint64_t used, uint64_t from, uint64_t limit, double room_s)
{
    if (used <= from)
        return HUGE_VAL;
    double room = used < limit ? (double)(limit - used) : 0;
    double share = FLOE_MIN(1.0, (double)(used - from) / (double)(limit - from));
    return drain * (1 - share / 2) + room / room_s;
}

static void tell(struct floe_log *log, uint64_t now, bool slow, bool tier)
{
    struct floe_pace *p = &log->pace;
    struct floe_error note;
    if (slow == p->told || (!slow && now - p->short_us < QUIET_US))
        return;
    p->told = slow;
    const struct floe_tier *t = log->cfg.tier;
    if (!slow)
        floe_error_set(&note, FLOE_OK, "producers go at full speed again");
    else if (tier)
        floe_error_set(
            &note, FLOE_EAGAIN,
            "producers are slowed down: the store is behind, and the tier holds %llu of %llu bytes",
            (unsigned long long)t->bytes, (unsigned long long)t->limit);
    else
        floe_error_set(&note, FLOE_EAGAIN,
                       "producers are slowed down: store and tier are behind, and memory is short");
    floe_log_note(log, &note);
}

void floe_pace_append(struct floe_log *log, struct floe_log_append *a)
{
    struct floe_pace *p = &log->pace;
    const struct floe_tier *t = log->cfg.tier;
    uint64_t now = floe_loop_now_us(log->cfg.loop);
    size_t stop = stop_at(log);
    sample(p, now);
    double mem = stop ? bound(p->mem_rate, log->pending_mem, stop / 6 * 5, stop, MEM_ROOM_S) : HUGE_VAL;
    double tier = t ? bound(p->tier_rate, t->bytes, t->limit / 2, t->limit, TIER_ROOM_S) : HUGE_VAL;
    double rate = FLOE_MIN(mem, tier);
    if (isinf(rate)) {
        p->next_us = 0;
        tell(log, now, false, false);
        return;
    }
    double ahead = (double)(FLOE_MAX(p->next_us, now) - now) + (double)a->bytes.n * 1e6 / FLOE_MAX(rate, 1.0);
    p->next_us = now + (uint64_t)FLOE_MIN(ahead, PACE_MAX_US);
    p->short_us = now;
    tell(log, now, ahead > TELL_US, tier <= mem);
    a->paced_us = p->next_us;
    log->stats.paced++;
}

/* ---- waiting for room ----------------------------------------------------------------------------- */

void floe_log_wait_room(struct floe_log *log, size_t bytes, struct floe_log_waiter *w)
{
    w->offset = (int64_t)bytes;
    floe_list_push_back(&log->room_waiters, &w->link);
}

void floe_pace_turn(struct floe_log *log)
{
    size_t given = 0;
    bool any = false;
    while (!floe_list_empty(&log->room_waiters)) {
        struct floe_log_waiter *w = FLOE_LIST_ENTRY(log->room_waiters.next, struct floe_log_waiter, link);
        if (log->chain.open && floe_pace_full(log, given + (size_t)w->offset))
            break;
        given += (size_t)w->offset;
        any = true;
        floe_list_remove(&w->link);
        floe_list_push_back(&log->woken, &w->link);
    }
    if (any)
        floe_log_kick(log);
}
