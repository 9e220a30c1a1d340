/* Table over any store driver: records below "table/", conditional PUTs, doubts resolved by reading back.
 *
 * A PUT goes through these steps, each one store request, each bounded by what is left of the caller's time:
 *
 *   send ── 200 ──────────────────────────────────────────────▶ OK
 *     │ └── certainly not applied (nothing sent) ─ wait ─▶ send
 *     └── any other answer ─▶ read back
 *                              ├─ own nonce ──────────────────▶ OK
 *                              ├─ the old version still there ─ wait ─▶ send the same bytes
 *                              ├─ another value, and no copy can have been applied before it
 *                              │    (each sent copy was answered 412) ▶ EEXISTS, ECONFLICT
 *                              ├─ another value otherwise ────▶ INDETERMINATE (the value goes with both)
 *                              └─ no answer ─ wait ─▶ read back
 *
 * When the time is over: INDETERMINATE if a copy may have been applied or still be on its way, else the
 * error that prevented sending. `done` is always the last thing a function does with the work.
 *
 * A store request may wait long, the longer the more of them were in vain. When a store that had left one
 * unanswered answers again, those that were sent before may have been lost as well: each work's is given up
 * once, as if its time were over. So that this is soon heard of, a small read is sent twice a second while
 * requests wait and nothing is answered. What waits long, for its kind, while others sent after it are
 * answered is taken for lost as well.
 *
 * Long because: the steps above are one machine.
 */
#include "envelope.h"

#include <floe/base/mutant.h>

#include <stdio.h>
#include <stdlib.h>

#define PREFIX "table/"
#define PREFIX_N (sizeof PREFIX - 1)
#define TIMEOUT_DEFAULT_US 10000000u
#define COPY_US_MIN 100000u
#define COPY_US_MAX 2000000u
#define WAIT_US_MIN 20000u
#define WAIT_US_MAX 500000u
#define PROBE_US 500000u
#define LOST_TIMES 4           /* as long as others take */
#define GET_FIRST (32u * 1024) /* most records fit; larger ones are asked for again */

enum step { STEP_READ, STEP_SEND, STEP_READBACK, STEP_LIST, STEP_DELETE };

struct store_table {
    struct floe_table base; /* first */
    struct floe_store *store;
    struct floe_list works;
    bool silent;          /* a store request was given up, and none was answered since */
    uint64_t back_us;     /* it answers again what was sent from then on; what was sent before may be lost */
    uint64_t heard_us;    /* when it answered last */
    uint64_t answered_us; /* the latest sending of what was answered */
    uint64_t took_us[2];  /* about the longest that answers to reads, and to writes, take lately */
    struct floe_timer probe_timer; /* runs, or the probe is under way, while works ask */
    struct floe_store_req probe;
    uint64_t probed_us;
    bool probing;
    bool closing;
    struct floe_task closed_task;
    void (*closed)(void *user);
    void *closed_user;
};
struct work {
    struct floe_list link;
    struct store_table *t;
    struct floe_table_req *r;
    struct floe_store_req sr;
    struct floe_timer timer;
    enum step step;
    uint64_t deadline_us, wait_us;
    uint64_t begun_us, copy_us; /* of the present store request */
    uint64_t read_max;          /* bytes asked for by the reads of this work */
    uint32_t sends;             /* copies of a write, or tries of a read, that went out */
    bool doubt;                 /* a copy may have been applied, or may still be */
    bool asking;                /* a store request is under way */
    uint32_t hurried;           /* how often its request was given up because others are answered */
    bool refused412;            /* the last answer was EEXISTS or ECONFLICT */
    char nonce[FLOE_TABLE_NONCE_HEX];
    struct floe_buf *record;
    struct floe_bufslice body;
    struct floe_error last; /* why the last step did not do */
};

static void begin(struct work *w);
static void on_store(struct floe_store_req *sr);

static void work_free(struct work *w)
{
    floe_timer_stop(&w->timer);
    floe_store_req_fini(&w->sr);
    floe_list_remove(&w->link);
    floe_buf_unref(w->record);
    w->r->driver = NULL;
    free(w);
}
static void finish(struct work *w, const struct floe_error *err)
{
    struct floe_table_req *r = w->r;
    struct floe_table_stats *s = &w->t->base.stats;
    r->err = err ? *err : (struct floe_error){0};
    if (r->err.code == FLOE_ECONFLICT || r->err.code == FLOE_EEXISTS)
        s->conflicts++;
    if (r->err.code == FLOE_EINDETERMINATE)
        s->indeterminate++;
    work_free(w);
    r->done(r);
}
static void fail(struct work *w, enum floe_err code, const char *what)
{
    struct floe_error err;
    floe_error_set(&err, code, "table record \"%.*s\": %s", FLOE_TABLE_KEY_MAX, w->r->key, what);
    finish(w, &err);
}
static uint64_t left_us(const struct work *w)
{
    uint64_t now = floe_loop_now_us(w->t->base.loop);
    return now < w->deadline_us ? w->deadline_us - now : 0;
}
static bool writes(const struct work *w)
{
    return w->r->kind == FLOE_TABLE_PUT || w->r->kind == FLOE_TABLE_DELETE;
}
/* Time or copies are used up. */
static void give_up(struct work *w)
{
    struct floe_error err = w->last;
    if (!err.code)
        floe_error_set(&err, writes(w) ? FLOE_EUNAVAILABLE : FLOE_ETIMEOUT, "no answer in time");
    if (writes(w) && (w->doubt || w->step == STEP_READBACK))
        err.code = FLOE_EINDETERMINATE;
    else if (writes(w) && (err.code == FLOE_ETIMEOUT || err.code == FLOE_EINDETERMINATE))
        err.code = FLOE_EUNAVAILABLE;
    floe_error_prefix(&err, "table record \"%.*s\"", FLOE_TABLE_KEY_MAX, w->r->key);
    finish(w, &err);
}
static void on_timer(struct floe_timer *timer)
{
    begin(timer->user);
}
/* Goes to `step` after a pause that grows, with full jitter; gives up when none is left. */
static void again(struct work *w, enum step step)
{
    struct floe_loop *loop = w->t->base.loop;
    w->step = step;
    uint64_t wait = WAIT_US_MIN / 4 + floe_rng_below(&loop->rng, w->wait_us);
    w->wait_us = FLOE_MIN(w->wait_us * 2, WAIT_US_MAX);
    if (wait >= left_us(w))
        give_up(w);
    else
        floe_timer_start(loop, &w->timer, wait);
}

/* Sends the store request of the present step. */
static void begin(struct work *w)
{
    struct floe_store_req *sr = &w->sr;
    struct floe_table_req *r = w->r;
    uint64_t left = left_us(w), whole = r->timeout_us ? r->timeout_us : TIMEOUT_DEFAULT_US;
    uint64_t first = r->copy_us ? r->copy_us : FLOE_MIN(FLOE_MAX(whole / 4, COPY_US_MIN), COPY_US_MAX);
    /* A store that is slower than that must get an answer through in the end: each one waits longer. */
    w->copy_us = FLOE_MIN(first << FLOE_MIN(r->unanswered, 8u), left);
    w->begun_us = floe_loop_now_us(w->t->base.loop);
    bool counted = w->step == STEP_SEND || w->step == STEP_DELETE || !writes(w);
    if (!left || (counted && r->attempts && w->sends >= r->attempts)) {
        give_up(w);
        return;
    }
    floe_store_req_fini(sr);
    *sr = (struct floe_store_req){
        .cls = FLOE_STORE_CONTROL,
        .urgent = r->urgent,
        .attempts = 1,
        .timeout_us = w->copy_us,
        .done = on_store,
        .user = w,
    };
    snprintf(sr->key, sizeof sr->key, PREFIX "%.*s", FLOE_TABLE_KEY_MAX - 1, r->key);
    switch (w->step) {
    case STEP_READ:
    case STEP_READBACK:
        sr->kind = FLOE_STORE_GET;
        sr->length = w->read_max;
        break;
    case STEP_SEND:
        sr->kind = FLOE_STORE_PUT;
        sr->cond = r->if_version[0] ? FLOE_PUT_REPLACE : FLOE_PUT_CREATE;
        memcpy(sr->if_version, r->if_version, sizeof sr->if_version);
        memcpy(sr->nonce, w->nonce, sizeof w->nonce);
        sr->body = &w->body;
        sr->body_count = 1;
        break;
    case STEP_LIST:
        sr->kind = FLOE_STORE_LIST;
        sr->max_keys = r->max_keys;
        if (r->start_after[0])
            snprintf(sr->start_after, sizeof sr->start_after, PREFIX "%.*s", FLOE_TABLE_KEY_MAX - 1,
                     r->start_after);
        break;
    case STEP_DELETE:
        sr->kind = FLOE_STORE_DELETE;
        break;
    }
    if (counted) {
        w->sends++;
        if (!r->first_sent_us)
            r->first_sent_us = floe_loop_now_us(w->t->base.loop);
    }
    w->asking = true;
    if (!w->t->probing && !floe_timer_armed(&w->t->probe_timer))
        floe_timer_start(w->t->base.loop, &w->t->probe_timer, PROBE_US);
    floe_store_submit(w->t->store, sr);
}
/* A copy that never went out does not count. */
static void uncount(struct work *w)
{
    w->sends--;
    if (!w->sends)
        w->r->first_sent_us = 0;
}
static bool passing(enum floe_err e)
{
    return e == FLOE_ETIMEOUT || e == FLOE_EUNAVAILABLE || e == FLOE_EREFUSED || e == FLOE_EINDETERMINATE ||
           e == FLOE_ECORRUPT || e == FLOE_ECLOSED || e == FLOE_ENOMEM || e == FLOE_EAGAIN;
}

/* True when the answer holds only a part of the record: then it is asked for whole. */
static bool too_short(struct work *w)
{
    struct floe_store_req *sr = &w->sr;
    if (sr->err.code || sr->size <= sr->length || w->read_max == FLOE_TABLE_RECORD_MAX)
        return false;
    w->read_max = FLOE_TABLE_RECORD_MAX;
    if (!writes(w))
        uncount(w); /* the caller counts tries, not pieces; a try went out at that time all the same */
    begin(w);
    return true;
}
static enum floe_err parse(struct work *w, struct floe_table_record *rec, struct floe_error *err)
{
    struct floe_store_req *sr = &w->sr;
    if (sr->size > sr->data->n)
        return floe_error_set(err, FLOE_ECORRUPT, "table record \"%s\": %llu bytes, at most %d are allowed",
                              w->r->key, (unsigned long long)sr->size, FLOE_TABLE_RECORD_MAX);
    return floe_table_envelope_read(rec, w->r->key, floe_slice(sr->data->data, sr->data->n), err);
}
static void on_read(struct work *w)
{
    struct floe_store_req *sr = &w->sr;
    struct floe_table_req *r = w->r;
    struct floe_table_record rec;
    struct floe_error err;
    if (too_short(w))
        return;
    if (passing(sr->err.code)) {
        w->last = sr->err;
        again(w, STEP_READ);
        return;
    }
    if (sr->err.code == FLOE_ENOTFOUND) {
        fail(w, FLOE_ENOTFOUND, "not there");
        return;
    }
    if (sr->err.code) {
        err = sr->err;
        finish(w, &err);
        return;
    }
    if (parse(w, &rec, &err)) {
        finish(w, &err);
        return;
    }
    memcpy(r->version, sr->version, sizeof r->version);
    r->got = rec.value;
    r->got_n = rec.value_n;
    finish(w, NULL);
}
static void on_list(struct work *w)
{
    struct floe_store_req *sr = &w->sr;
    struct floe_table_req *r = w->r;
    if (passing(sr->err.code)) {
        w->last = sr->err;
        again(w, STEP_LIST);
        return;
    }
    if (sr->err.code) {
        struct floe_error err = sr->err;
        finish(w, &err);
        return;
    }
    floe_arena_init(&r->arena, (size_t)FLOE_STORE_LIST_MAX * (sizeof *r->entries + FLOE_STORE_KEY_MAX) * 2);
    r->entries = floe_arena_calloc(&r->arena, sr->entry_count, sizeof *r->entries);
    bool ok = r->entries != NULL;
    for (uint32_t i = 0; ok && i < sr->entry_count; i++) {
        const char *key = sr->entries[i].key + PREFIX_N;
        r->entries[i].key = floe_arena_strndup(&r->arena, key, strlen(key));
        memcpy(r->entries[i].version, sr->entries[i].version, sizeof r->entries[i].version);
        ok = r->entries[i].key != NULL;
    }
    if (!ok) {
        floe_arena_fini(&r->arena);
        r->entries = NULL;
        fail(w, FLOE_ENOMEM, "no memory for a page of keys");
        return;
    }
    r->entry_count = sr->entry_count;
    r->truncated = sr->truncated;
    finish(w, NULL);
}

static void took(struct store_table *t, bool write, uint64_t us)
{
    uint64_t *p = &t->took_us[write];
    *p = FLOE_MAX(*p - *p / 8, us);
}

/* PUT. */
static void on_sent(struct work *w)
{
    struct floe_store_req *sr = &w->sr;
    enum floe_err e = sr->err.code;
    w->refused412 = e == FLOE_EEXISTS || e == FLOE_ECONFLICT;
    if (e == FLOE_OK) {
        memcpy(w->r->version, sr->version, sizeof w->r->version);
        finish(w, NULL);
        return;
    }
    w->last = sr->err;
    if (w->refused412) {
        w->wait_us = WAIT_US_MIN;
        w->step = STEP_READBACK;
        begin(w);
        return;
    }
    if (!sr->sent) {
        uncount(w);
        again(w, w->doubt ? STEP_READBACK : STEP_SEND);
        return;
    }
    if (e == FLOE_EINDETERMINATE || e == FLOE_ETIMEOUT || e == FLOE_ECLOSED)
        w->doubt = true;
    else if (e == FLOE_EUNAVAILABLE || e == FLOE_EREFUSED) {
        again(w, w->doubt ? STEP_READBACK : STEP_SEND);
        return;
    } else if (!w->doubt) { /* denied, no space, no bucket, ...: an answer for the caller */
        struct floe_error err = sr->err;
        finish(w, &err);
        return;
    }
    w->step = STEP_READBACK;
    begin(w);
}
static void on_readback(struct work *w)
{
    struct floe_store_req *sr = &w->sr;
    struct floe_table_req *r = w->r;
    struct floe_table_record rec = {.value = NULL};
    struct floe_error err = {0};
    bool create = r->if_version[0] == '\0', absent = sr->err.code == FLOE_ENOTFOUND;
    if (too_short(w))
        return;
    if (sr->err.code && !absent) {
        if (passing(sr->err.code))
            again(w, STEP_READBACK);
        else
            give_up(w);
        return;
    }
    bool own = !absent && (strcmp(sr->got_nonce, w->nonce) == 0 || FLOE_MUTANT(TABLE_NONCE_UNCHECKED));
    if (!absent && !own && parse(w, &rec, &err) == FLOE_OK)
        own = strcmp(rec.nonce, w->nonce) == 0;
    bool other = rec.value && !own && (create || strcmp(sr->version, r->if_version) != 0);
    if (own || other)
        memcpy(r->version, sr->version, sizeof r->version);
    if (other) {
        r->got = rec.value;
        r->got_n = rec.value_n;
    } else {
        free(rec.value);
    }
    if (own) {
        if (w->hurried) /* its answer was not waited for: about so long it takes */
            took(w->t, true, floe_loop_now_us(w->t->base.loop) - r->first_sent_us);
        finish(w, NULL);
    } else if (absent ? create : !create && strcmp(sr->version, r->if_version) == 0) {
        again(w, STEP_SEND);
    } else if (w->doubt && !FLOE_MUTANT(TABLE_DOUBT_REFUSED)) {
        fail(w, FLOE_EINDETERMINATE,
             "another value is there, and this write may have been applied before it");
    } else if (err.code) {
        finish(w, &err);
    } else {
        fail(w, create ? FLOE_EEXISTS : FLOE_ECONFLICT,
             absent ? "deleted by another" : "another value is there");
    }
}

/* DELETE: read and compare (STEP_READBACK), then delete. */
static void on_delete_read(struct work *w)
{
    struct floe_store_req *sr = &w->sr;
    enum floe_err e = sr->err.code;
    if (e == FLOE_ENOTFOUND && w->sends) {
        finish(w, NULL);
    } else if (e == FLOE_ENOTFOUND) {
        fail(w, FLOE_ENOTFOUND, "not there");
    } else if (e && passing(e)) {
        w->last = sr->err;
        if (w->sends)
            again(w, STEP_READBACK);
        else
            again(w, STEP_READ);
    } else if (e) {
        struct floe_error err = sr->err;
        finish(w, &err);
    } else if (w->r->if_version[0] && strcmp(sr->version, w->r->if_version) != 0) {
        fail(w, w->doubt ? FLOE_EINDETERMINATE : FLOE_ECONFLICT, "another value is there");
    } else if (w->sends) {
        again(w, STEP_DELETE);
    } else {
        w->step = STEP_DELETE;
        begin(w);
    }
}
static void on_deleted(struct work *w)
{
    struct floe_store_req *sr = &w->sr;
    enum floe_err e = sr->err.code;
    w->last = sr->err;
    if (e == FLOE_OK) {
        finish(w, NULL);
    } else if (!sr->sent) {
        uncount(w);
        again(w, STEP_DELETE);
    } else if (passing(e)) {
        w->doubt = w->doubt || e == FLOE_EINDETERMINATE || e == FLOE_ETIMEOUT;
        again(w, STEP_READBACK);
    } else {
        struct floe_error err = sr->err;
        finish(w, &err);
    }
}

/* Nobody is told here: a request that is sent anew is answered later. */
static void hurry_one(struct work *w)
{
    w->hurried++;
    w->r->unanswered++;
    floe_store_cancel(w->t->store, &w->sr);
    if (w->step == STEP_SEND || w->step == STEP_DELETE) {
        w->doubt = true;
        w->step = STEP_READBACK;
    } else if (!writes(w)) {
        w->sends--; /* a try of the caller's that was cut short */
    }
    begin(w);
}
static void hurry(struct store_table *t)
{
    uint64_t now = floe_loop_now_us(t->base.loop);
    bool older = false;
    FLOE_LIST_EACH(it, &t->works)
    {
        struct work *w = FLOE_LIST_ENTRY(it, struct work, link);
        if (!w->asking || w->hurried || w->begun_us >= t->back_us || !left_us(w))
            continue;
        if (now - w->begun_us >= COPY_US_MIN)
            hurry_one(w);
        else
            older = true;
    }
    if (!older)
        t->back_us = 0;
}
/* Of which kind it is, for took_us. */
static bool is_write(const struct floe_store_req *sr)
{
    return sr->kind == FLOE_STORE_PUT || sr->kind == FLOE_STORE_DELETE;
}
/* What the answer to a request, or that there was none within `patience_us`, says of the store. True: none.
 */
static bool notice(struct store_table *t, const struct floe_store_req *sr, uint64_t begun_us,
                   uint64_t patience_us)
{
    enum floe_err e = sr->err.code;
    uint64_t now = floe_loop_now_us(t->base.loop);
    bool answered = e == FLOE_OK || e == FLOE_ENOTFOUND || e == FLOE_EEXISTS || e == FLOE_ECONFLICT;
    bool unanswered = e && now - begun_us >= patience_us;
    if (unanswered)
        t->silent = true;
    if (!answered)
        return unanswered;
    t->heard_us = now;
    t->answered_us = FLOE_MAX(t->answered_us, begun_us);
    took(t, is_write(sr), now - begun_us);
    if (t->silent) {
        t->silent = false;
        t->back_us = begun_us;
    }
    if (t->back_us)
        hurry(t);
    return unanswered;
}

static void on_probed(struct floe_store_req *sr)
{
    struct store_table *t = sr->user;
    uint64_t next = t->probed_us + PROBE_US, now = floe_loop_now_us(t->base.loop);
    t->probing = false;
    floe_timer_start(t->base.loop, &t->probe_timer, next > now ? next - now : 0);
    (void)notice(t, sr, t->probed_us, PROBE_US);
}
static void probe(struct store_table *t)
{
    floe_store_req_fini(&t->probe);
    t->probe = (struct floe_store_req){
        .kind = FLOE_STORE_GET,
        .key = PREFIX "probe", /* not there: that is an answer */
        .cls = FLOE_STORE_CONTROL,
        .urgent = true, /* every other connection may be held by what waits */
        .attempts = 1,
        .length = 1,
        .timeout_us = PROBE_US,
        .done = on_probed,
        .user = t,
    };
    t->probed_us = floe_loop_now_us(t->base.loop);
    t->probing = true;
    floe_timer_stop(&t->probe_timer);
    floe_store_submit(t->store, &t->probe);
}
/* Nothing is heard of it while what was sent later was answered. The next time a read waits twice as long: it
 * must get its answer through in the end. What is written is found by reading back. */
static bool is_lost(const struct work *w, uint64_t now)
{
    const struct store_table *t = w->t;
    bool write = is_write(&w->sr);
    uint64_t patience_us = FLOE_MAX((uint64_t)PROBE_US << (write ? 0 : FLOE_MIN(w->hurried, 8u)),
                                    LOST_TIMES * t->took_us[write]);
    return w->asking && left_us(w) && w->begun_us < t->answered_us && now - w->begun_us >= patience_us;
}
static void on_probe_timer(struct floe_timer *timer)
{
    struct store_table *t = timer->user;
    uint64_t oldest = UINT64_MAX, now = floe_loop_now_us(t->base.loop);
    FLOE_LIST_EACH(it, &t->works)
    {
        struct work *w = FLOE_LIST_ENTRY(it, struct work, link);
        if (is_lost(w, now))
            hurry_one(w);
        if (w->asking)
            oldest = FLOE_MIN(oldest, w->begun_us);
    }
    if (oldest == UINT64_MAX)
        return;
    uint64_t due = FLOE_MAX(oldest, t->heard_us) + PROBE_US;
    if (now >= due)
        probe(t);
    else
        floe_timer_start(t->base.loop, timer, due - now);
}
static void on_store(struct floe_store_req *sr)
{
    struct work *w = sr->user;
    w->asking = false;
    if (notice(w->t, sr, w->begun_us, w->copy_us))
        w->r->unanswered++;
    switch (w->step) {
    case STEP_READ:
        if (w->r->kind == FLOE_TABLE_DELETE)
            on_delete_read(w);
        else
            on_read(w);
        return;
    case STEP_SEND:
        on_sent(w);
        return;
    case STEP_READBACK:
        if (w->r->kind == FLOE_TABLE_DELETE)
            on_delete_read(w);
        else
            on_readback(w);
        return;
    case STEP_LIST:
        on_list(w);
        return;
    case STEP_DELETE:
        on_deleted(w);
        return;
    }
}

/* A request that cannot be sent at all is answered from the loop like any other. */
static void on_bad(struct floe_timer *timer)
{
    struct work *w = timer->user;
    struct floe_error err = w->last;
    finish(w, &err);
}
static enum floe_err prepare_put(struct work *w)
{
    struct floe_table_req *r = w->r;
    struct floe_uuid nonce;
    if (r->value_n > FLOE_TABLE_VALUE_MAX)
        return floe_error_set(&w->last, FLOE_ETOOLARGE,
                              "table record \"%s\": a value of %zu bytes, at most %d are allowed", r->key,
                              r->value_n, FLOE_TABLE_VALUE_MAX);
    if (!floe_table_json_ok(r->value, r->value_n))
        return floe_error_set(&w->last, FLOE_EINVAL, "table record \"%s\": the value is not JSON", r->key);
    floe_rng_bytes(&w->t->base.loop->rng, nonce.b, sizeof nonce.b);
    floe_uuid_hex(w->nonce, &nonce);
    w->record = floe_table_envelope_write(w->nonce, r->value, r->value_n);
    if (!w->record)
        return floe_error_set(&w->last, FLOE_ENOMEM, "table record \"%s\": no memory for %zu bytes", r->key,
                              r->value_n);
    w->body = (struct floe_bufslice){w->record, w->record->data, w->record->n};
    return FLOE_OK;
}
static void table_submit(struct floe_table *base, struct floe_table_req *r)
{
    struct store_table *t = FLOE_CONTAINER(base, struct store_table, base);
    _Atomic uint64_t *stat[] = {[FLOE_TABLE_GET] = &base->stats.get,
                                [FLOE_TABLE_PUT] = &base->stats.put,
                                [FLOE_TABLE_DELETE] = &base->stats.del,
                                [FLOE_TABLE_SCAN] = &base->stats.scan};
    FLOE_ASSERT(r->done && memchr(r->key, 0, sizeof r->key) && !t->closing);
    struct work *w = calloc(1, sizeof *w);
    FLOE_ASSERT(w); /* a small fixed-size struct: memory is bounded by the budgets, not by this */
    atomic_fetch_add_explicit(stat[r->kind], 1, memory_order_relaxed);
    w->t = t;
    w->r = r;
    w->wait_us = WAIT_US_MIN;
    w->read_max = GET_FIRST;
    w->deadline_us = floe_loop_now_us(base->loop) + (r->timeout_us ? r->timeout_us : TIMEOUT_DEFAULT_US);
    r->driver = w;
    r->first_sent_us = 0;
    r->unanswered = 0;
    floe_list_push_back(&t->works, &w->link);
    floe_timer_init(&w->timer, on_timer, w);
    enum floe_err e = FLOE_OK;
    switch (r->kind) {
    case FLOE_TABLE_GET:
    case FLOE_TABLE_DELETE:
        w->step = STEP_READ;
        break;
    case FLOE_TABLE_SCAN:
        w->step = STEP_LIST;
        break;
    case FLOE_TABLE_PUT:
        w->step = STEP_SEND;
        e = prepare_put(w);
        break;
    }
    if (e) {
        w->timer.fn = on_bad;
        floe_timer_start(base->loop, &w->timer, 0);
        return;
    }
    begin(w);
}
static void table_cancel(struct floe_table *base, struct floe_table_req *r)
{
    (void)base;
    struct work *w = r->driver;
    if (!w)
        return;
    floe_store_cancel(w->t->store, &w->sr);
    work_free(w);
}
static void drop_all(struct store_table *t)
{
    while (!floe_list_empty(&t->works))
        table_cancel(&t->base, FLOE_LIST_ENTRY(t->works.next, struct work, link)->r);
    floe_timer_stop(&t->probe_timer);
    if (t->probing)
        floe_store_cancel(t->store, &t->probe);
    t->probing = false;
    floe_store_req_fini(&t->probe);
}
static void on_closed(struct floe_task *task)
{
    struct store_table *t = task->user;
    void (*closed)(void *user) = t->closed;
    void *user = t->closed_user;
    free(t);
    closed(user);
}
static void table_close(struct floe_table *base, void (*closed)(void *user), void *user)
{
    struct store_table *t = FLOE_CONTAINER(base, struct store_table, base);
    FLOE_ASSERT(!t->closing);
    t->closing = true;
    drop_all(t);
    t->closed = closed;
    t->closed_user = user;
    t->closed_task = (struct floe_task){.fn = on_closed, .user = t};
    floe_loop_post(base->loop, &t->closed_task);
}
static const struct floe_table_ops ops = {"store", table_submit, table_cancel, table_close};

enum floe_err floe_table_store_create(struct floe_table **out, struct floe_store *store,
                                      struct floe_error *err)
{
    struct store_table *t = calloc(1, sizeof *t);
    if (!t)
        return floe_error_set(err, FLOE_ENOMEM, "no memory for the table");
    t->base.ops = &ops;
    t->base.loop = store->loop;
    snprintf(t->base.url, sizeof t->base.url, "%s", store->url);
    t->store = store;
    floe_list_init(&t->works);
    floe_timer_init(&t->probe_timer, on_probe_timer, t);
    *out = &t->base;
    return FLOE_OK;
}
void floe_table_store_destroy(struct floe_table **table)
{
    if (!*table)
        return;
    struct store_table *t = FLOE_CONTAINER(*table, struct store_table, base);
    *table = NULL;
    drop_all(t);
    free(t);
}
