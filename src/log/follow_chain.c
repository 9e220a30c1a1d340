/* One chain that is followed: the footers of its keys, in order, each read once for all views.
 *
 * A key is looked for when the session's record, a lease or the holder tell of it (up to FOLLOW_GETS_MAX at a
 * time), else one at a time with pauses. It counts when it is there and everything below it is: `proven`
 * moves by one key, never over an absent one, and stops at a seal. */
#include <stdlib.h>

#include "follow_int.h"
#include "rebuild_int.h"
#include "share.h"

#include <floe/base/mutant.h>

static uint64_t now_us(const struct follow_chain *c)
{
    return floe_loop_now_us(c->log->cfg.loop);
}

bool follow_chain_wanted(const struct follow_chain *c)
{
    uint64_t now = now_us(c);
    FLOE_LIST_EACH(it, &c->feeds)
    {
        const struct floe_feed *f = FLOE_LIST_ENTRY(it, struct floe_feed, link);
        if (f->view->used_us + FOLLOW_USED_US > now || !floe_list_empty(&f->p->data_waiters))
            return true;
    }
    return false;
}

/* ---- gets ----------------------------------------------------------------------------------------- */

static void get_free(struct follow_get *g)
{
    struct follow_chain *c = g->chain;
    if (g->active && !c->log->detached)
        floe_store_cancel(floe_share_store(c->log->share), &g->req);
    floe_store_req_fini(&g->req);
    c->window[g->seq % FOLLOW_GETS_MAX] = NULL;
    free(g);
}

/* What is under way is asked for again, after a pause. */
static void back_off(struct follow_chain *c)
{
    for (uint32_t i = 0; i < FOLLOW_GETS_MAX; i++)
        if (c->window[i])
            get_free(c->window[i]);
    c->fetch_at = c->proven;
    c->fails++;
    c->wait_us = FLOE_MIN(FLOE_MAX(c->wait_us * 2, FOLLOW_POLL_MIN_US), FOLLOW_POLL_MAX_US);
    c->next_us = now_us(c) + c->wait_us;
}

static void on_tail(struct floe_store_req *r);

static void get_tail(struct follow_get *g, uint64_t bytes)
{
    g->req = (struct floe_store_req){.kind = FLOE_STORE_GET,
                                     .cls = FLOE_STORE_DATA,
                                     .offset = -(int64_t)bytes,
                                     .length = bytes,
                                     .fresh = g->chain->fails > 1,
                                     .attempts = FOLLOW_ATTEMPTS,
                                     .try_us = FOLLOW_TRY_US + bytes / 10,
                                     .timeout_us = (FOLLOW_TRY_US + bytes / 10) << FOLLOW_ATTEMPTS,
                                     .done = on_tail,
                                     .user = g};
    floe_chain_key(g->req.key, &g->chain->session, g->seq);
    g->active = true;
    floe_store_submit(floe_share_store(g->chain->log->share), &g->req);
}

static bool get_next(struct follow_chain *c)
{
    struct follow_get *g = calloc(1, sizeof *g);
    if (!g)
        return false;
    g->chain = c;
    g->seq = c->fetch_at++;
    c->window[g->seq % FOLLOW_GETS_MAX] = g;
    get_tail(g, FLOE_SEGMENT_TAIL_BYTES);
    return true;
}

/* ---- what came ------------------------------------------------------------------------------------ */

static void passed(struct follow_chain *c)
{
    c->proven++;
    c->wait_us = c->next_us = 0;
    c->fails = 0;
    c->ok_us = now_us(c);
    if (c->proven >= FLOE_MAX(c->hinted, c->known))
        c->behind_us = 0;
    c->log->stats.footers_read++;
}

/* A segment was there: it is not needed any more by what leases list now. */
static void miss(struct follow_chain *c, const struct follow_get *g)
{
    struct floe_error err;
    floe_error_set(&err, FLOE_ENOTFOUND, "%s has gone", g->req.key);
    c->proven = c->known;
    back_off(c);
    follow_missed(c, &err);
}

/* False when the front cannot be passed now. */
static bool take_front(struct follow_chain *c, struct follow_get *g)
{
    struct floe_segment_footer footer;
    struct floe_segment_cursor cur;
    struct floe_segment_block b;
    struct floe_error err = g->req.err;
    uint64_t need = 0;
    if (err.code == FLOE_OK &&
        floe_rebuild_open(c->log, &g->req, &c->session, g->seq, &footer, &need, &err)) {
        if (footer.id.seal && c->proven < c->known) {
            miss(c, g); /* a stray one, in a gap below the floor */
            return false;
        }
        if (footer.id.seal && FLOE_MUTANT(VIEW_PAST_SEAL)) {
            passed(c);
            return true;
        }
        if (footer.id.seal) {
            c->ended = true;
            c->behind_us = 0;
            c->ok_us = now_us(c);
            return false;
        }
        floe_segment_cursor_init(&cur, &footer);
        while (floe_segment_next_block(&cur, &b))
            ; /* nothing of a footer counts that is not all right */
        err = *floe_segment_cursor_err(&cur);
        if (err.code == FLOE_OK) {
            passed(c);
            floe_segment_cursor_init(&cur, &footer);
            while (floe_segment_next_block(&cur, &b))
                follow_take_block(c, g->seq, &b);
            return true;
        }
    }
    if (err.code == FLOE_ENOTFOUND && c->proven < c->known) {
        miss(c, g);
        return false;
    }
    if (err.code == FLOE_ENOTFOUND) {
        c->hinted = FLOE_MIN(c->hinted, c->proven);
        c->caught_up = true;
        c->ok_us = now_us(c);
        c->behind_us = 0;
    } else if (c->fails == 5) {
        floe_log_note(c->log, &err);
    }
    back_off(c);
    return false;
}

static void take_ready(struct follow_chain *c)
{
    while (!c->ended) {
        struct follow_get *g = c->window[c->proven % FOLLOW_GETS_MAX];
        if (!g || g->active || g->seq != c->proven)
            break;
        c->window[g->seq % FOLLOW_GETS_MAX] = NULL;
        bool on = take_front(c, g);
        floe_store_req_fini(&g->req);
        free(g);
        if (!on)
            break;
    }
}

static void on_tail(struct floe_store_req *r)
{
    struct follow_get *g = r->user;
    struct follow_chain *c = g->chain;
    g->active = false;
    if (r->err.code == FLOE_OK) {
        struct floe_segment_tail tail;
        struct floe_error err;
        if (floe_segment_tail_open(floe_slice(r->data->data, r->data->n), r->size, r->key, &tail, &err) ==
                FLOE_OK &&
            tail.need) {
            floe_store_req_fini(r);
            get_tail(g, tail.need);
            return;
        }
    }
    take_ready(c);
    follow_chain_run(c);
}

/* ---- running -------------------------------------------------------------------------------------- */

static void on_timer(struct floe_timer *t)
{
    struct follow_chain *c = t->user;
    if (floe_list_empty(&c->feeds))
        follow_chain_free(c);
    else
        follow_chain_run(c);
}

/* Nothing is told of that was not read, and what was told is news. */
static bool up_to_date(const struct follow_chain *c, uint64_t now)
{
    return now < c->told_until_us && FLOE_MAX(c->known, c->hinted) <= c->proven;
}

bool follow_chain_caught_up(const struct follow_chain *c)
{
    uint64_t now = now_us(c);
    return c->ended || c->caught_up || up_to_date(c, now) || now - c->from_us > FOLLOW_CATCH_US;
}

uint64_t follow_chain_lag_us(const struct follow_chain *c)
{
    uint64_t now = now_us(c);
    if (c->behind_us)
        return now - c->behind_us;
    return c->ended || up_to_date(c, now) ? 0 : now - c->ok_us;
}

void follow_chain_run(struct follow_chain *c)
{
    uint64_t now = now_us(c), told = FLOE_MAX(c->known, c->hinted);
    if (c->ended || c->log->detached || !follow_chain_wanted(c))
        return;
    if (c->ran_us + FOLLOW_USED_US < now) {
        c->caught_up = false;
        c->from_us = now;
    }
    c->ran_us = now;
    c->caught_up = c->caught_up || up_to_date(c, now);
    follow_hint(c);
    if (told > c->proven && c->behind_us == 0)
        c->behind_us = now;
    uint64_t next =
        up_to_date(c, now) ? FLOE_MIN(c->ok_us + FOLLOW_TOLD_POLL_US, c->told_until_us) : c->next_us;
    if (now < next) {
        floe_timer_start(c->log->cfg.loop, &c->timer, next - now);
        return;
    }
    /* One more than is told of, where nothing is under way: it may be there. */
    uint64_t to = c->fetch_at == c->proven ? FLOE_MAX(told, c->proven + 1) : told;
    while (c->fetch_at < to && c->fetch_at - c->proven < FOLLOW_GETS_MAX)
        if (!get_next(c)) {
            floe_timer_start(c->log->cfg.loop, &c->timer, FOLLOW_POLL_MIN_US);
            return;
        }
}

void follow_chain_known(struct follow_chain *c, uint64_t keys)
{
    c->known = FLOE_MAX(c->known, keys);
}

struct follow_chain *follow_chain_of(struct floe_log *log, const struct floe_session_name *session,
                                     uint64_t base)
{
    FLOE_LIST_EACH(it, &log->follow->chains)
    {
        struct follow_chain *c = FLOE_LIST_ENTRY(it, struct follow_chain, link);
        if (floe_session_name_eq(&c->session, session)) {
            follow_chain_known(c, base);
            return c;
        }
    }
    struct follow_chain *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->log = log;
    c->session = *session;
    c->proven = c->known = c->fetch_at = base;
    c->ok_us = floe_loop_now_us(log->cfg.loop);
    floe_list_init(&c->feeds);
    floe_timer_init(&c->timer, on_timer, c);
    floe_list_push_back(&log->follow->chains, &c->link);
    return c;
}

void follow_chain_free(struct follow_chain *c)
{
    FLOE_ASSERT(floe_list_empty(&c->feeds));
    for (uint32_t i = 0; i < FOLLOW_GETS_MAX; i++)
        if (c->window[i])
            get_free(c->window[i]);
    follow_hint_cancel(c);
    floe_timer_stop(&c->timer);
    floe_list_remove(&c->link);
    free(c);
}
