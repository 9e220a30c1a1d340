/* The lease object: creation, start, the kick that takes every step, close. */
#include "lease_int.h"

#include <floe/base/mutant.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- small services --------------------------------------------------------------------------------- */

uint64_t lease_now(const struct floe_lease *l)
{
    return floe_loop_now_us(l->loop);
}

uint64_t lease_step_us(const struct floe_lease *l)
{
    return FLOE_MAX(l->lease_us / 10, FLOE_MIN((uint64_t)100000, l->lease_us / 3));
}

bool floe_lease_pressed(const struct floe_lease *l)
{
    /* A renewal goes out when the last one is a third of the lease time old. */
    return lease_own_open(l) && lease_now(l) - l->own.alive_from_us > l->lease_us / 2;
}

void *lease_alloc(size_t n)
{
    void *p = calloc(1, n);
    FLOE_ASSERT(p != NULL);
    return p;
}

uint64_t lease_backoff_us(struct floe_lease *l, uint32_t fails)
{
    uint64_t base = l->lease_us / 100 << FLOE_MIN(fails, 4u), max = l->lease_us / 10;
    base = FLOE_MAX(FLOE_MIN(base, max), (uint64_t)1000);
    return base / 2 + floe_rng_below(&l->loop->rng, base / 2 + 1);
}

void lease_note(struct floe_lease *l, enum floe_log_level level, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    if (l->cfg.hooks.note == NULL)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    l->cfg.hooks.note(l->cfg.hooks.user, level, text);
}

void lease_fatal(struct floe_lease *l, enum floe_err code, const char *fmt, ...)
{
    struct floe_error err = {.code = code};
    va_list ap;
    if (l->fatal || l->life >= LIFE_CLOSING)
        return;
    l->fatal = true;
    va_start(ap, fmt);
    vsnprintf(err.msg, sizeof err.msg, fmt, ap);
    va_end(ap);
    l->cfg.hooks.fatal(l->cfg.hooks.user, &err);
}

/* ---- the kick ---------------------------------------------------------------------------------------- */

static void finish_start(struct floe_lease *l, const struct floe_error *err)
{
    l->life = err->code == FLOE_OK ? LIFE_RUNNING : LIFE_FAILED;
    if (err->code != FLOE_OK)
        lease_own_stop(l);
    l->started(l->started_user, err);
}

static void check_start(struct floe_lease *l)
{
    struct floe_error err = {0};
    if (l->life != LIFE_STARTING)
        return;
    /* Joined: a broker that does not read the cluster's format stops before anybody takes it for ready.
     * Alive: one that lapsed on its way may be over, and have missed that the format was raised. */
    if (lease_own_open(l) && floe_lease_alive(l) && !l->own.tell_open && lease_nodes_ready(l) &&
        lease_shards_loaded(l) && l->catalog.loaded && (l->format.joined || FLOE_MUTANT(FORMAT_JOIN_LATE))) {
        finish_start(l, &err);
    } else if (lease_now(l) >= l->start_deadline_us) {
        floe_error_set(&err, l->trouble.code != FLOE_OK ? l->trouble.code : FLOE_ETIMEOUT,
                       "no session could be opened on the table at %.100s within %u s: %.150s",
                       l->cfg.table->url, LEASE_START_US / 1000000,
                       l->trouble.msg[0] != '\0' ? l->trouble.msg : "it does not answer");
        finish_start(l, &err);
    }
}

static void check_closed(struct floe_lease *l)
{
    if (l->life != LIFE_CLOSING || l->meta_puts > 0)
        return;
    l->life = LIFE_CLOSED;
    lease_shards_fail_all(l, FLOE_ECLOSED, "the broker is closing");
    lease_ending_finish(l, FLOE_ECLOSED, "the broker is closing");
    l->closed(l->closed_user); /* may free l */
}

static bool active(const struct floe_lease *l)
{
    return l->life == LIFE_STARTING || l->life == LIFE_RUNNING;
}

/* Every step that the state allows, in one order. Each may call hooks, and a hook may close this object. */
static void on_kick(struct floe_task *t)
{
    struct floe_lease *l = t->user;
    static void (*const steps[])(struct floe_lease *) = {
        lease_own_tell,    lease_own_step,      lease_observe,     lease_seals_tick,   lease_placed_step,
        lease_reconcile,   lease_moves_step,    lease_shards_step, lease_catalog_step, lease_format_step,
        lease_ending_step, lease_groups_answer, lease_peers_tick,  check_start,
    };
    l->kicked = false;
    for (size_t i = 0; i < FLOE_COUNTOF(steps) && active(l); i++)
        steps[i](l);
    if (active(l) && l->changed) {
        l->changed = false;
        l->cfg.hooks.changed(l->cfg.hooks.user);
    }
    if (l->life == LIFE_CLOSING && !l->kicked) /* closed by a hook just now: the next kick sees to it */
        check_closed(l);
}

void lease_kick(struct floe_lease *l)
{
    if (l->kicked || l->life == LIFE_NEW || l->life == LIFE_CLOSED)
        return;
    l->kicked = true;
    floe_loop_post(l->loop, &l->kick);
}

static void on_wake(struct floe_timer *t)
{
    lease_kick(t->user);
}

void lease_wake(struct floe_lease *l, uint64_t at_us)
{
    uint64_t now = lease_now(l);
    if (!floe_timer_armed(&l->wake) || l->wake.due_us > at_us)
        floe_timer_start(l->loop, &l->wake, FLOE_MAX(at_us, now) - now);
}

static void on_tick(struct floe_timer *t)
{
    struct floe_lease *l = t->user;
    floe_timer_start(l->loop, &l->tick, l->tick_us);
    lease_kick(l);
}

/* ---- life -------------------------------------------------------------------------------------------- */

static enum floe_err check_config(const struct floe_lease_config *c, struct floe_error *err)
{
    if (c->lease_ms < 100 || c->lease_ms > 3600 * 1000)
        return floe_error_set(err, FLOE_EINVAL, "a lease time of %u ms: 100 to 3600000 allowed", c->lease_ms);
    if (c->addr_count > FLOE_LISTENER_MAX)
        return floe_error_set(err, FLOE_EINVAL, "%u listeners: at most %d allowed", c->addr_count,
                              FLOE_LISTENER_MAX);
    if (c->shards > LEASE_SHARD_MAX)
        return floe_error_set(err, FLOE_EINVAL, "%u lease shards: at most %d allowed", c->shards,
                              LEASE_SHARD_MAX);
    if (c->rack != NULL && strlen(c->rack) >= FLOE_RACK_MAX)
        return floe_error_set(err, FLOE_ETOOLARGE, "the rack's name is longer than %d bytes",
                              FLOE_RACK_MAX - 1);
    if (c->peer_addr != NULL && strlen(c->peer_addr) >= FLOE_PEER_ADDR_MAX)
        return floe_error_set(err, FLOE_ETOOLARGE, "the peer address is longer than %d bytes",
                              FLOE_PEER_ADDR_MAX - 1);
    return FLOE_OK;
}

enum floe_err floe_lease_create(struct floe_lease **out, const struct floe_lease_config *cfg,
                                struct floe_error *err)
{
    enum floe_err code = check_config(cfg, err);
    if (code != FLOE_OK)
        return code;
    struct floe_lease *l = lease_alloc(sizeof *l);
    l->cfg = *cfg;
    l->loop = cfg->loop;
    snprintf(l->peer_addr, sizeof l->peer_addr, "%s", cfg->peer_addr != NULL ? cfg->peer_addr : "");
    snprintf(l->rack, sizeof l->rack, "%s", cfg->rack != NULL ? cfg->rack : "");
    for (uint32_t i = 0; i < cfg->addr_count; i++)
        l->addrs[i] = cfg->addrs[i];
    l->cfg.addrs = l->addrs;
    l->lease_us = (uint64_t)cfg->lease_ms * 1000;
    l->tick_us = FLOE_MIN(l->lease_us / 40, (uint64_t)250000);
    l->shard_count = cfg->shards != 0 ? cfg->shards : FLOE_LEASE_SHARDS_DEFAULT;
    l->kick = (struct floe_task){.fn = on_kick, .user = l};
    floe_timer_init(&l->tick, on_tick, l);
    floe_timer_init(&l->wake, on_wake, l);
    floe_list_init(&l->ops);
    floe_list_init(&l->seals);
    floe_list_init(&l->groups);
    floe_list_init(&l->mover.moves);
    floe_map_init(&l->ends);
    floe_map_init(&l->served);
    floe_map_init(&l->forgotten);
    lease_shards_init(l);
    lease_placed_init(l);
    lease_format_init(l);
    lease_own_init(l);
    *out = l;
    return FLOE_OK;
}

void floe_lease_start(struct floe_lease *l, void (*started)(void *user, const struct floe_error *err),
                      void *user)
{
    FLOE_ASSERT(l->life == LIFE_NEW);
    l->life = LIFE_STARTING;
    l->started = started;
    l->started_user = user;
    l->start_deadline_us = lease_now(l) + LEASE_START_US;
    l->table_ok_us = l->gap_us = lease_now(l);
    /* Everything that needs nothing else, at once: one round trip. */
    if (l->own.preferred != 0)
        lease_node_read(l, lease_node_make(l, l->own.preferred));
    lease_nodes_scan(l);
    lease_shards_scan(l);
    lease_catalog_step(l);
    lease_own_begin(l);
    floe_timer_start(l->loop, &l->tick, l->tick_us);
}

void floe_lease_close(struct floe_lease *l, void (*closed)(void *user), void *user)
{
    FLOE_ASSERT(l->life < LIFE_CLOSING);
    l->closed = closed;
    l->closed_user = user;
    l->life = LIFE_CLOSING;
    floe_timer_stop(&l->tick);
    floe_timer_stop(&l->own.renew);
    floe_timer_stop(&l->own.lapse);
    floe_timer_stop(&l->wake);
    lease_ops_cancel_all(l);
    lease_kick(l);
}

void floe_lease_destroy(struct floe_lease **lp)
{
    struct floe_lease *l = *lp;
    if (l == NULL)
        return;
    *lp = NULL;
    lease_ops_cancel_all(l); /* of a killed node: the drivers that are left let go of them */
    lease_reconcile_reset(l);
    lease_shards_fini(l);
    lease_seals_drop(l);
    lease_forgotten_drop(l);
    floe_map_fini(&l->served);
    for (uint32_t i = 0; i < l->node_count; i++)
        free(l->nodes[i]);
    free(l->nodes);
    lease_placed_fini(l);
    free(l->adopt);
    free(l);
}

bool floe_lease_lookup(struct floe_lease *l, const struct floe_tp *tp, struct floe_lease_entry *out)
{
    const struct lease_entry *at = lease_doc_find(&lease_shard_at(l, tp)->doc, tp);
    if (at == NULL)
        return false;
    *out = at->e;
    return true;
}
