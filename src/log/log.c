/* The log itself: life, sessions, the turn in which answers are given, statistics. */
#include <stdlib.h>

#include "log_int.h"
#include "share.h"

/* ---- the turn ------------------------------------------------------------------------------------- */

void floe_log_kick(struct floe_log *log)
{
    if (!floe_timer_armed(&log->turn))
        floe_timer_start(log->cfg.loop, &log->turn, 0);
}

/* Moves all of `from` to `to`, so that what call-backs add waits for the next turn. */
static void splice(struct floe_list *to, struct floe_list *from)
{
    floe_list_init(to);
    if (floe_list_empty(from))
        return;
    *to = *from;
    to->next->prev = to;
    to->prev->next = to;
    floe_list_init(from);
}

static void give_answers(struct floe_log *log)
{
    struct floe_list batch;
    splice(&batch, &log->done);
    for (struct floe_list *n; (n = floe_list_pop_front(&batch));) {
        struct floe_log_append *a = FLOE_LIST_ENTRY(n, struct floe_log_append, link);
        a->done(a);
    }
    splice(&batch, &log->woken);
    for (struct floe_list *n; (n = floe_list_pop_front(&batch));) {
        struct floe_log_waiter *w = FLOE_LIST_ENTRY(n, struct floe_log_waiter, link);
        w->fn(w);
    }
    splice(&batch, &log->sought);
    for (struct floe_list *n; (n = floe_list_pop_front(&batch));) {
        struct floe_log_seek *s = FLOE_LIST_ENTRY(n, struct floe_log_seek, link);
        s->done(s);
    }
}

/* Told outside of everything, since the hooks call back into the log. */
static void tell_lost(struct floe_log *log)
{
    struct floe_chain *c = &log->chain;
    if (!c->lost || c->lost_told)
        return;
    c->lost_told = true;
    if (c->lost_fatal)
        log->cfg.hooks.fatal(log->cfg.hooks.user, &c->lost_why);
    else
        log->cfg.hooks.session_lost(log->cfg.hooks.user, c->lost_why.msg);
}

static void on_turn(struct floe_timer *t)
{
    struct floe_log *log = t->user;
    floe_chain_commit(log);
    give_answers(log);
    tell_lost(log);
    floe_handover_turn(log);
    floe_stage_spill(log);
    floe_pace_turn(log);
    floe_end_turn(log);
    floe_flush_turn(log);
    floe_memread_trim(log);
    floe_producers_expire(log);
}

void floe_log_answer(struct floe_log *log, struct floe_log_append *a, enum floe_err code, const char *msg)
{
    if (code == FLOE_OK)
        a->err.code = FLOE_OK;
    else
        floe_error_set(&a->err, code, "%s", msg ? msg : floe_err_name(code));
    floe_list_push_back(&log->done, &a->link);
    floe_log_kick(log);
}

static void answer_one(struct floe_log *log, struct floe_log_append *a, enum floe_err code,
                       bool maybe_applied)
{
    a->maybe_applied = code != FLOE_OK && maybe_applied;
    floe_log_answer(log, a, code, code == FLOE_EFENCED ? "the session is over" : NULL);
}

void floe_entry_answer(struct floe_log *log, struct floe_entry *e, enum floe_err code, bool maybe_applied)
{
    if (e->append)
        answer_one(log, e->append, code, maybe_applied);
    e->append = NULL;
    for (struct floe_list *n; (n = floe_list_pop_front(&e->dups));)
        answer_one(log, FLOE_LIST_ENTRY(n, struct floe_log_append, link), code, maybe_applied);
}

void floe_log_note(struct floe_log *log, const struct floe_error *err)
{
    if (log->cfg.hooks.note)
        log->cfg.hooks.note(log->cfg.hooks.user, err);
}

/* ---- entries -------------------------------------------------------------------------------------- */

struct floe_entry *floe_entry_new(struct floe_log *log)
{
    struct floe_list *n = floe_list_pop_front(&log->entry_pool);
    struct floe_entry *e = n ? FLOE_LIST_ENTRY(n, struct floe_entry, seg_link) : malloc(sizeof *e);
    if (!e)
        return NULL;
    if (n)
        log->entry_pool_n--;
    memset(e, 0, sizeof *e);
    floe_list_init(&e->seg_link);
    floe_list_init(&e->cache_link);
    floe_list_init(&e->stage_link);
    floe_list_init(&e->dups);
    e->tier_seq = UINT64_MAX;
    return e;
}

void floe_entry_free(struct floe_log *log, struct floe_entry *e)
{
    FLOE_ASSERT(!e->append && floe_list_empty(&e->dups) && !e->op && floe_list_empty(&e->stage_link));
    floe_buf_unref(e->bytes.buf);
    e->bytes.buf = NULL;
    if (log->entry_pool_n >= FLOE_LOG_POOL_MAX) {
        free(e);
        return;
    }
    floe_list_push_back(&log->entry_pool, &e->seg_link);
    log->entry_pool_n++;
}

void floe_entry_drop_bytes(struct floe_log *log, struct floe_entry *e)
{
    if (!e->bytes.p)
        return;
    floe_buf_unref(e->bytes.buf);
    e->bytes.buf = NULL;
    e->bytes.p = NULL;
    log->pending_mem -= e->bytes.n;
    log->pace.mem_out += e->bytes.n;
    e->seg->mem_bytes -= e->bytes.n;
}

/* ---- life ----------------------------------------------------------------------------------------- */

enum floe_err floe_log_create(struct floe_log **out, const struct floe_log_config *cfg,
                              struct floe_error *err)
{
    const struct floe_log_hooks *h = &cfg->hooks;
    FLOE_ASSERT(cfg->loop && cfg->store && h->alive && h->adopted && h->recheck && h->checkpointed &&
                h->session_lost && h->fatal);
    if (cfg->puts_in_flight_max == 0 || cfg->segment_bytes_max == 0 || cfg->put_rate < 0)
        return floe_error_set(err, FLOE_EINVAL,
                              "segment size, PUTs in flight and PUT rate must not be zero, zero or negative");
    struct floe_log *log = calloc(1, sizeof *log);
    if (!log)
        return floe_error_set(err, FLOE_ENOMEM, "out of memory");
    log->cfg = *cfg;
    floe_map_init(&log->partitions);
    floe_ahead_init(log);
    struct floe_list *lists[] = {&log->done,      &log->woken,      &log->ckpt_due,     &log->dirty,
                                 &log->index_due, &log->recent,     &log->rebuilds,     &log->entry_pool,
                                 &log->stage_ops, &log->stage_wait, &log->rechecks,     &log->floor_asks,
                                 &log->sought,    &log->reappends,  &log->room_waiters, &log->handing,
                                 &log->starts};
    for (size_t i = 0; i < FLOE_COUNTOF(lists); i++)
        floe_list_init(lists[i]);
    for (uint32_t i = 0; i < FLOE_PRODUCER_AGES; i++)
        floe_list_init(&log->producer_ages[i]);
    floe_list_init(&log->chain.commit_waiters);
    floe_timer_init(&log->turn, on_turn, log);
    floe_flush_init(log);
    floe_stage_init(log);
    log->tier_from = cfg->tier ? cfg->tier->first_seq : 0;
    if (cfg->tier)
        log->tier_next = FLOE_MAX(cfg->tier->next_seq, floe_reappend_done_to(cfg->tier));
    struct floe_log_reader_config rc = {.loop = cfg->loop, .cache_budget = cfg->cache_budget};
    bool ok = floe_share_create(&log->share, log) == FLOE_OK;
    if (ok)
        rc.store = floe_share_store(log->share);
    ok = ok && floe_log_reader_create(&log->reader, &rc) == FLOE_OK && floe_follow_init(log) == FLOE_OK;
    if (!ok) {
        floe_log_reader_destroy(&log->reader);
        floe_share_destroy(&log->share);
        free(log);
        return floe_error_set(err, FLOE_ENOMEM, "out of memory");
    }
    *out = log;
    return FLOE_OK;
}

static void drop_partitions(struct floe_log *log, enum floe_err why)
{
    for (struct floe_map_node *n = floe_map_iter(&log->partitions, NULL); n;) {
        struct floe_partition *p = FLOE_MAP_ENTRY(n, struct floe_partition, node);
        n = floe_map_iter(&log->partitions, n);
        floe_partition_destroy(p, why);
    }
}

void floe_log_destroy(struct floe_log **out)
{
    struct floe_log *log = *out;
    if (!log)
        return;
    *out = NULL;
    log->detached = true;
    drop_partitions(log, FLOE_ECLOSED);
    floe_ahead_fini(log);
    floe_end_over(log);
    floe_chain_abandon(log);
    floe_follow_fini(log);
    floe_rebuild_fini(log);
    floe_reappend_fini(log);
    floe_stage_fini(log);
    floe_log_reader_destroy(&log->reader);
    floe_share_destroy(&log->share);
    floe_flush_fini(log);
    floe_timer_stop(&log->turn);
    /* Who waits goes later than the log, and takes itself out of these. */
    while (floe_list_pop_front(&log->room_waiters) || floe_list_pop_front(&log->woken))
        ;
    for (struct floe_list *n; (n = floe_list_pop_front(&log->entry_pool));)
        free(FLOE_LIST_ENTRY(n, struct floe_entry, seg_link));
    floe_map_fini(&log->partitions);
    free(log);
}

/* ---- sessions ------------------------------------------------------------------------------------- */

void floe_log_session_open(struct floe_log *log, const struct floe_session_name *s)
{
    floe_chain_open(log, s);
    floe_reappend_start(log);
}

void floe_log_session_alive(struct floe_log *log, bool alive)
{
    if (!alive || !log->chain.open)
        return;
    FLOE_LIST_EACH(it, &log->chain.started)
    floe_put_kick(&FLOE_LIST_ENTRY(it, struct floe_log_segment, link)->put);
    if (log->end.sealing)
        floe_put_kick(&log->end.put);
    floe_chain_commit(log);
    floe_log_kick(log);
}

void floe_log_session_over(struct floe_log *log)
{
    floe_reappend_stop(log);
    drop_partitions(log, FLOE_EFENCED);
    floe_ahead_drop_all(log);
    floe_end_over(log);
    floe_chain_abandon(log);
    floe_pace_turn(log);
}

uint64_t floe_log_next_key(const struct floe_log *log)
{
    return log->chain.next_seq;
}

uint64_t floe_log_committed(const struct floe_log *log)
{
    return log->chain.committed;
}

void floe_log_wait_commit(struct floe_log *log, uint64_t keys, struct floe_log_waiter *w)
{
    w->offset = (int64_t)FLOE_MIN(keys, (uint64_t)INT64_MAX);
    floe_list_push_back(&log->chain.commit_waiters, &w->link);
    if (!log->chain.open || log->chain.committed > keys)
        floe_chain_wake(log, false);
}

void floe_log_put_trouble(const struct floe_log *log, struct floe_store_trouble *out)
{
    *out = log->chain.trouble;
}

void floe_log_get_stats(const struct floe_log *log, struct floe_log_stats *out)
{
    *out = log->stats;
    out->pending_bytes = log->pending_mem;
    out->cache_bytes = log->recent_bytes;
    out->partitions = log->partition_count;
    out->tier_refuses = log->tier_noted;
    out->views = floe_follow_count(log);
    out->puts_in_flight = log->chain.puts_n;
}
