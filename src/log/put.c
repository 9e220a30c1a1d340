/* One key of the own chain, written once: a create-only PUT driven until its outcome is known.
 *
 *                      +--> OK ----------------------------------------------------> durable
 *   start -> [may send] -> PUT --> refused, unavailable: certainly not applied ------> back-off -> PUT (same
 * bytes) ^  \____ slower than recent p99 x 2: the same PUT once more, on another connection |       \->
 * anything else (time-out, 409, 412, 5xx) -> read the key back: own nonce -> durable | a seal -> the session
 * is lost
 *              +---- absent: back-off, same bytes again <------------ absent
 *                                                                    anything else -> fatal
 *
 * A lapsed session sends nothing, and reads back only. */
#include "log_int.h"

#include <floe/base/mutant.h>

#define REREADS_MAX 9u /* of an object that cannot be read, with growing pauses */

static void read_back(struct floe_put *put);

static void name_key(struct floe_put *put, char out[FLOE_STORE_KEY_MAX])
{
    floe_chain_key(out, &put->log->chain.session, put->seq);
}

/* ---- sending -------------------------------------------------------------------------------------- */

static uint64_t hedge_after_us(const struct floe_chain *c)
{
    uint32_t first = 0, second = 0;
    for (uint32_t i = 0; i < c->latency_n; i++) {
        uint32_t v = c->latency_us[i];
        if (v > first) {
            second = first;
            first = v;
        } else if (v > second) {
            second = v;
        }
    }
    uint64_t p99 = c->latency_n == FLOE_LOG_LATENCY_SAMPLES ? second : first;
    return FLOE_MIN(FLOE_MAX(FLOE_LOG_HEDGE_MIN_US, 2 * p99), FLOE_LOG_HEDGE_MAX_US);
}

/* Not of an answer that lay there while this process stood still: then the hedge is overdue too. */
static void note_latency(struct floe_put *put, uint64_t sent_us)
{
    struct floe_chain *c = &put->log->chain;
    uint64_t now = floe_loop_now_us(put->log->cfg.loop), us = now - sent_us;
    floe_hist_note(&put->log->stats.put_latency, us);
    if (floe_timer_armed(&put->hedge) && put->hedge.due_us < now)
        return;
    c->latency_us[c->latency_at] = (uint32_t)FLOE_MIN(us, (uint64_t)UINT32_MAX);
    c->latency_at = (c->latency_at + 1) % FLOE_LOG_LATENCY_SAMPLES;
    c->latency_n = FLOE_MIN(c->latency_n + 1, FLOE_LOG_LATENCY_SAMPLES);
}

static void on_try(struct floe_store_req *r);

static void send_try(struct floe_put *put, struct floe_put_try *t)
{
    struct floe_log *log = put->log;
    FLOE_ASSERT(!t->active && !put->durable);
    t->req = (struct floe_store_req){.kind = FLOE_STORE_PUT,
                                     .cls = FLOE_STORE_DATA,
                                     .cond = FLOE_PUT_CREATE,
                                     .body = put->body,
                                     .body_count = put->body_count,
                                     .attempts = 1,
                                     .timeout_us = FLOE_LOG_PUT_TIMEOUT_US,
                                     .done = on_try,
                                     .user = t};
    name_key(put, t->req.key);
    floe_uuid_hex(t->req.nonce, &put->nonce);
    t->put = put;
    t->sent_us = floe_loop_now_us(log->cfg.loop);
    t->active = true;
    log->stats.puts++;
    floe_store_submit(log->cfg.store, &t->req);
}

static void send_first(struct floe_put *put)
{
    floe_timer_stop(&put->retry); /* of what was read back while it waited for the session */
    put->idle = !floe_chain_may_send(put->log);
    if (put->idle)
        return;
    put->hedges = 0;
    put->sent_us = floe_loop_now_us(put->log->cfg.loop);
    send_try(put, &put->try[0]);
    floe_timer_start(put->log->cfg.loop, &put->hedge, hedge_after_us(&put->log->chain));
}

/* An early copy is paid for by PUTs that succeeded, twenty of them: a store that is slow under load would be
 * slower still if every PUT were sent twice. One that has had no answer for a second is sent again whatever
 * that costs. */
static bool may_hedge(struct floe_put *put, uint64_t now)
{
    struct floe_chain *c = &put->log->chain;
    if (now - put->sent_us >= FLOE_LOG_REHEDGE_MIN_US)
        return true;
    if (c->hedge_credit < FLOE_LOG_HEDGE_COST)
        return false;
    c->hedge_credit -= FLOE_LOG_HEDGE_COST;
    return true;
}

/* The longest pause between two copies: an outage must not be outlived by it (partitions are writable again
 * within the lease time plus a second), and a copy on a slow line, 1 MB/s, must have the time to arrive. */
static uint64_t rehedge_max_us(const struct floe_put *put)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < put->body_count; i++)
        bytes += put->body[i].n;
    return FLOE_MIN(FLOE_LOG_REHEDGE_MAX_US, FLOE_LOG_REHEDGE_MIN_US * 3 / 2 + bytes);
}

/* Told once until a PUT succeeds again, and anew when the reason is another one, now and then. */
static void tell(struct floe_put *put, const struct floe_error *note)
{
    struct floe_chain *c = &put->log->chain;
    uint64_t now = floe_loop_now_us(put->log->cfg.loop);
    bool first = c->trouble.since_us == 0;
    if (first)
        c->trouble.since_us = FLOE_MAX(put->since_us, 1u);
    c->trouble.last = *note;
    if (!first && (note->code == c->told || now - c->told_us < FLOE_LOG_TELL_US))
        return;
    c->told = note->code;
    c->told_us = now;
    floe_log_note(put->log, note);
}

static void note_silence(struct floe_put *put, uint64_t now)
{
    struct floe_chain *c = &put->log->chain;
    bool refused = c->trouble.since_us > 0 && c->trouble.last.code != FLOE_ETIMEOUT;
    if (refused || now - put->since_us < FLOE_LOG_SILENT_US)
        return;
    struct floe_error note;
    char key[FLOE_STORE_KEY_MAX];
    name_key(put, key);
    floe_error_set(&note, FLOE_ETIMEOUT,
                   "the store has not answered PUTs for a while (they are repeated): %s, sent %llu s ago",
                   key, (unsigned long long)((now - put->since_us) / 1000000));
    tell(put, &note);
}

/* Slower than it should be: a second copy; then, at growing intervals, a new copy for the older of the two,
 * whose connection may be dead. */
static void on_hedge(struct floe_timer *timer)
{
    struct floe_put *put = timer->user;
    struct floe_log *log = put->log;
    struct floe_put_try *a = &put->try[0], *b = &put->try[1];
    if (put->durable || (!a->active && !b->active))
        return;
    uint64_t now = floe_loop_now_us(log->cfg.loop);
    note_silence(put, now);
    if (!may_hedge(put, now)) {
        floe_timer_start(log->cfg.loop, timer, put->sent_us + FLOE_LOG_REHEDGE_MIN_US - now);
        return;
    }
    uint64_t pause = FLOE_MAX(FLOE_LOG_REHEDGE_MIN_US, 4 * hedge_after_us(&log->chain));
    floe_timer_start(log->cfg.loop, timer, FLOE_MIN(pause << put->hedges, rehedge_max_us(put)));
    /* Everything behind this key waits for it: past that second it does not queue for tokens behind new
     * segments. */
    bool overdue = now - put->sent_us >= FLOE_LOG_REHEDGE_MIN_US;
    if (!floe_chain_may_send(log) || !floe_flush_take_token(log, overdue))
        return;
    struct floe_put_try *t = !a->active ? a : !b->active ? b : a->sent_us <= b->sent_us ? a : b;
    if (t->active) {
        floe_store_cancel(log->cfg.store, &t->req);
        t->active = false;
    }
    put->hedges = FLOE_MIN(put->hedges + 1, 8u);
    log->stats.put_hedges++;
    send_try(put, t);
}

/* The same bytes again, or the reading back, after a full-jitter pause. */
static void again(struct floe_put *put, bool read)
{
    if (put->try[0].active || put->try[1].active)
        return; /* the other copy's answer decides */
    struct floe_log *log = put->log;
    floe_timer_stop(&put->hedge);
    uint32_t shift = FLOE_MIN(put->failures, 10u);
    put->failures++;
    uint64_t span = FLOE_MIN(FLOE_LOG_RETRY_MAX_US, FLOE_LOG_RETRY_MIN_US << shift);
    put->reread = read;
    floe_timer_start(log->cfg.loop, &put->retry, 1 + floe_rng_below(&log->cfg.loop->rng, span));
}

static void on_retry(struct floe_timer *timer)
{
    struct floe_put *put = timer->user;
    if (put->reread) {
        read_back(put);
        return;
    }
    floe_flush_take_token(put->log, true);
    send_first(put);
}

/* ---- answers -------------------------------------------------------------------------------------- */

static void put_durable(struct floe_put *put)
{
    struct floe_chain *c = &put->log->chain;
    c->hedge_credit = FLOE_MIN(c->hedge_credit + 1, FLOE_LOG_HEDGE_CREDIT_MAX);
    put->durable = true;
    put->idle = false;
    floe_timer_stop(&put->retry);
    floe_timer_stop(&put->hedge);
    for (int i = 0; i < 2; i++) {
        if (put->try[i].active)
            floe_store_cancel(put->log->cfg.store, &put->try[i].req);
        put->try[i].active = false;
    }
    if (c->trouble.since_us > 0) {
        c->trouble = (struct floe_store_trouble){0};
        struct floe_error ok;
        floe_error_set(&ok, FLOE_OK, "the store takes segments again");
        floe_log_note(put->log, &ok);
    }
    put->done(put);
}

/* Refusals at once, other trouble after a few tries. */
static void note_trouble(struct floe_put *put, const struct floe_error *why)
{
    struct floe_chain *c = &put->log->chain;
    bool refused = why->code == FLOE_EDENIED || why->code == FLOE_ENOSPACE || why->code == FLOE_ENOTFOUND;
    bool long_ago = floe_loop_now_us(put->log->cfg.loop) - put->since_us >= FLOE_LOG_SILENT_US;
    bool quiet = !refused && !long_ago && put->failures < FLOE_LOG_QUIET_TRIES;
    if (c->trouble.since_us == 0 && quiet)
        return;
    struct floe_error note = *why;
    floe_error_prefix(&note, "the store %s (they are repeated)",
                      refused ? "refuses PUTs" : "has not answered PUTs for a while");
    tell(put, &note);
}

static void on_try(struct floe_store_req *r)
{
    struct floe_put_try *t = r->user;
    struct floe_put *put = t->put;
    struct floe_error err = r->err;
    t->active = false;
    floe_store_req_fini(r);
    if (put->log->chain.lost)
        return;
    if (err.code != FLOE_OK)
        note_trouble(put, &err);
    switch (err.code) {
    case FLOE_OK:
        note_latency(put, t->sent_us);
        put_durable(put);
        return;
    case FLOE_EUNAVAILABLE:
    case FLOE_EREFUSED:
    case FLOE_EDENIED:
    case FLOE_ENOSPACE:
    case FLOE_ENOTFOUND:
        again(put, false);
        return;
    default:
        read_back(put);
    }
}

/* ---- reading back --------------------------------------------------------------------------------- */

static void found(struct floe_put *put, const struct floe_store_req *r)
{
    struct floe_log *log = put->log;
    struct floe_segment_id id;
    struct floe_error err;
    char nonce[FLOE_UUID_HEX];
    floe_uuid_hex(nonce, &put->nonce);
    enum floe_err rc =
        floe_segment_header_decode(floe_slice(r->data->data, r->data->n), put->probe.key, &id, &err);
    if (strcmp(r->got_nonce, nonce) == 0 || (rc == FLOE_OK && floe_uuid_eq(&id.nonce, &put->nonce)) ||
        FLOE_MUTANT(SEGMENT_NONCE_UNCHECKED)) {
        put_durable(put);
        return;
    }
    if (rc != FLOE_OK && put->unread++ < REREADS_MAX) {
        again(put, true); /* the wire may be to blame */
        return;
    }
    struct floe_error why;
    if (rc == FLOE_OK && id.seal && floe_session_name_eq(&id.session, &log->chain.session)) {
        floe_error_set(&why, FLOE_EFENCED, "the session's chain was sealed at %s", put->probe.key);
        floe_chain_lost(log, false, &why);
        return;
    }
    if (rc != FLOE_OK) {
        why = err;
        floe_error_prefix(&why, "an object in this session's chain that it did not write cannot be read");
    } else {
        floe_error_set(
            &why, FLOE_ECORRUPT,
            "%s holds an object that this session did not write: another process uses its chain "
            "(copied data directory, or a bucket restored from a copy?); this broker must not go on",
            put->probe.key);
    }
    floe_chain_lost(log, true, &why);
}

static void on_probe(struct floe_store_req *r)
{
    struct floe_put *put = r->user;
    put->probing = false;
    if (!put->log->chain.lost && !put->durable) {
        if (r->err.code == FLOE_OK && r->data) {
            found(put, r);
        } else {
            if (r->err.code != FLOE_ENOTFOUND)
                note_trouble(put, &r->err);
            again(put, r->err.code != FLOE_ENOTFOUND);
        }
    }
    floe_store_req_fini(r);
}

static void read_back(struct floe_put *put)
{
    if (put->probing || put->durable)
        return;
    floe_timer_stop(&put->retry);
    put->probe = (struct floe_store_req){
        .kind = FLOE_STORE_GET,
        .cls = FLOE_STORE_CONTROL,
        .offset = 0,
        .length = FLOE_SEGMENT_HEADER_BYTES,
        .attempts = 4,
        .try_us = 300000,
        .timeout_us = FLOE_LOG_PROBE_TIMEOUT_US, /* then anew: an answer may be lost each time */
        .done = on_probe,
        .user = put};
    name_key(put, put->probe.key);
    put->probing = true;
    floe_store_submit(put->log->cfg.store, &put->probe);
}

/* ---- life ----------------------------------------------------------------------------------------- */

void floe_put_init(struct floe_put *put, struct floe_log *log, uint64_t seq)
{
    memset(put, 0, sizeof *put);
    put->log = log;
    put->seq = seq;
    floe_rng_bytes(&log->cfg.loop->rng, put->nonce.b, sizeof put->nonce.b);
    floe_timer_init(&put->retry, on_retry, put);
    floe_timer_init(&put->hedge, on_hedge, put);
}

void floe_put_start(struct floe_put *put)
{
    put->since_us = floe_loop_now_us(put->log->cfg.loop);
    send_first(put);
}

void floe_put_kick(struct floe_put *put)
{
    if (put->idle && !put->durable)
        send_first(put);
}

void floe_put_fini(struct floe_put *put)
{
    if (!put->log)
        return;
    floe_timer_stop(&put->retry);
    floe_timer_stop(&put->hedge);
    for (int i = 0; i < 2; i++) {
        if (put->try[i].active && !put->log->detached)
            floe_store_cancel(put->log->cfg.store, &put->try[i].req);
        put->try[i].active = false;
    }
    if (put->probing && !put->log->detached)
        floe_store_cancel(put->log->cfg.store, &put->probe);
    put->probing = false;
}
