/* A lane: one thread, one curl multi handle, a queue above it whose deadlines count the waiting.
 *
 * States of an op: incoming → waiting → active → (waiting again for another attempt) → posted to the loop.
 * `start`, `retry_later` and `finish` are where they change.
 */
#include "s3_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define POLL_IDLE_MS 60000
#define BACKOFF_BASE_US 50000u
#define BACKOFF_MAX_US (5u * 1000 * 1000)
#define RETRY_COST 10 /* of S3_RETRY_TOKENS; an answered request gives one back */
#define RETRY_TOKENS_MAX 1000

uint64_t s3_now_us(void)
{
    struct timespec t;
    /* lint: clock_gettime a driver's thread has no loop */
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* ---- retry budget, shared by the lanes ---- */

static bool take_retry(struct s3_store *s)
{
    int32_t have = atomic_load(&s->retry_tokens);
    while (have >= RETRY_COST) {
        if (atomic_compare_exchange_weak(&s->retry_tokens, &have, have - RETRY_COST))
            return true;
    }
    return false;
}

static void give_retry(struct s3_store *s)
{
    int32_t have = atomic_load(&s->retry_tokens);
    while (have < RETRY_TOKENS_MAX && !atomic_compare_exchange_weak(&s->retry_tokens, &have, have + 1)) {
    }
}

/* ---- handles ---- */

static CURL *take_handle(struct s3_lane *l)
{
    if (l->idle_count > 0)
        return l->idle[--l->idle_count];
    return curl_easy_init();
}

static void release_handle(struct s3_lane *l, struct s3_op *op)
{
    l->active_count -= op->active;
    op->active = false;
    s3_direct_end(op, false);
    if (op->easy) {
        curl_multi_remove_handle(l->multi, op->easy);
        curl_easy_reset(op->easy);
        if (l->idle_count < FLOE_COUNTOF(l->idle))
            l->idle[l->idle_count++] = op->easy;
        else
            curl_easy_cleanup(op->easy);
        op->easy = NULL;
    }
    curl_slist_free_all(op->headers);
    op->headers = NULL;
}

/* ---- whether the store is there ---- */

/* A refusal that a condition, a race or an absent key explains is an answer. */
static bool answered(const struct s3_op *op)
{
    enum floe_err e = op->err.code;
    return e == FLOE_OK || e == FLOE_EEXISTS || e == FLOE_ECONFLICT || e == FLOE_ENOTFOUND ||
           op->answer.status == 409;
}

static void note_attempt(struct s3_op *op)
{
    struct s3_store *s = op->s;
    if (answered(op)) {
        if (atomic_load_explicit(&s->trouble_since_us, memory_order_relaxed) != 0)
            atomic_store(&s->trouble_since_us, 0);
        return;
    }
    uint64_t none = 0;
    pthread_mutex_lock(&s->trouble_lock);
    s->trouble = op->err;
    pthread_mutex_unlock(&s->trouble_lock);
    (void)atomic_compare_exchange_strong(&s->trouble_since_us, &none, s3_now_us());
}

/* ---- transitions ---- */

static void finish(struct s3_lane *l, struct s3_op *op)
{
    release_handle(l, op);
    floe_list_remove(&op->link);
    floe_writer_fini(&op->text);
    struct floe_store_stats *stats = &l->s->base.stats; /* once a request: the lanes share the line */
    atomic_fetch_add_explicit(&stats->bytes_in, op->came, memory_order_relaxed);
    atomic_fetch_add_explicit(&stats->bytes_out, op->went, memory_order_relaxed);
    floe_loop_post(l->s->base.loop, &op->task);
}

static bool is_write(const struct s3_op *op)
{
    return op->kind == FLOE_STORE_PUT || op->kind == FLOE_STORE_DELETE;
}

/* The final word on a write of which some earlier copy may have been applied. */
static void settle(struct s3_op *op)
{
    if (op->kind != FLOE_STORE_PUT || !op->ambiguous || op->err.code == FLOE_OK ||
        op->err.code == FLOE_EEXISTS || op->err.code == FLOE_EINDETERMINATE)
        return;
    op->err.code = FLOE_EINDETERMINATE;
    floe_error_prefix(&op->err, "an earlier attempt had no clear answer; then");
}

static void expire(struct s3_lane *l, struct s3_op *op)
{
    struct floe_error last = op->err;
    bool on_wire = op->sent > 0, active = op->active;
    enum floe_err code = !is_write(op) ? FLOE_ETIMEOUT : on_wire ? FLOE_EINDETERMINATE : FLOE_EUNAVAILABLE;
    floe_error_set(&op->err, code, "%s: object \"%s\": no answer within %llu ms%s%s%s", l->s->base.url,
                   op->key, (unsigned long long)(op->timeout_us / 1000),
                   on_wire ? "" : " (it was never sent)", last.msg[0] ? "; before: " : "", last.msg);
    if (active)
        note_attempt(op);
    finish(l, op);
}

static bool worth_repeating(enum floe_err e)
{
    return e == FLOE_EINDETERMINATE || e == FLOE_EUNAVAILABLE || e == FLOE_EREFUSED || e == FLOE_ETIMEOUT ||
           e == FLOE_ECORRUPT;
}

static uint64_t backoff_us(struct s3_lane *l, uint32_t tries)
{
    uint64_t cap = BACKOFF_BASE_US;
    for (uint32_t i = 1; i < tries && cap < BACKOFF_MAX_US; i++)
        cap *= 2;
    return floe_rng_below(&l->rng, FLOE_MIN(cap, BACKOFF_MAX_US) + 1);
}

/* True when the op waits for another attempt. */
static bool retry_later(struct s3_lane *l, struct s3_op *op)
{
    if (op->tries >= op->attempts || !worth_repeating(op->err.code))
        return false;
    uint64_t due = s3_now_us() + backoff_us(l, op->tries);
    if (due >= op->deadline_us || !take_retry(l->s))
        return false;
    atomic_fetch_add_explicit(&l->s->base.stats.retries, 1, memory_order_relaxed);
    release_handle(l, op);
    floe_list_remove(&op->link);
    op->not_before_us = due;
    floe_list_push_back(&l->waiting, &op->link);
    return true;
}

/* The attempt takes too long: another one where that is allowed, else this one may go on. */
static void try_again(struct s3_lane *l, struct s3_op *op)
{
    struct floe_error before = op->err;
    op->try_deadline_us = UINT64_MAX;
    floe_error_set(&op->err, FLOE_ETIMEOUT, "%s: object \"%s\": no answer to attempt %u in time",
                   l->s->base.url, op->key, op->tries);
    note_attempt(op);
    if (!retry_later(l, op))
        op->err = before;
}

/* The attempt goes through libcurl; the op is active already. */
static void start_ordinary(struct s3_lane *l, struct s3_op *op)
{
    enum floe_err rc = FLOE_OK;
    s3_answer_reset(op);
    op->easy = take_handle(l);
    if (!op->easy) {
        rc = floe_error_set(&op->err, FLOE_EUNAVAILABLE, "%s: no memory for a request", l->s->base.url);
    } else {
        rc = s3_request_build(op, &op->err);
    }
    if (rc == FLOE_OK && curl_multi_add_handle(l->multi, op->easy) != CURLM_OK)
        rc = floe_error_set(&op->err, FLOE_EUNAVAILABLE, "%s: curl refuses the request", l->s->base.url);
    if (rc != FLOE_OK) {
        settle(op);
        finish(l, op);
    }
}

static void start(struct s3_lane *l, struct s3_op *op)
{
    floe_list_remove(&op->link);
    op->tries++;
    op->try_deadline_us = UINT64_MAX;
    if (op->try_us && op->tries < op->attempts)
        op->try_deadline_us = s3_now_us() + (op->try_us << FLOE_MIN(op->tries - 1, 10u));
    l->next_deadline_us = FLOE_MIN(l->next_deadline_us, op->try_deadline_us);
    s3_answer_reset(op);
    op->err = (struct floe_error){0};
    floe_list_push_back(&l->active, &op->link);
    l->active_count++;
    op->active = true;
    if (!s3_direct_wanted(op) || !s3_direct_begin(op))
        start_ordinary(l, op);
}

static void complete(struct s3_lane *l, struct s3_op *op, CURLcode code)
{
    s3_answer_judge(op, code);
    note_attempt(op);
    if (op->err.code == FLOE_OK)
        give_retry(l->s);
    if (op->err.code == FLOE_EINDETERMINATE)
        op->ambiguous = true;
    if (op->err.code != FLOE_OK && retry_later(l, op))
        return;
    settle(op);
    finish(l, op);
}

static void direct_is(struct s3_lane *l, struct s3_op *op, enum s3_direct_is is)
{
    if (is == S3_DIRECT_GOES_ON)
        return;
    s3_direct_end(op, is == S3_DIRECT_DONE && !op->answer.closes);
    if (is == S3_DIRECT_UNDONE) {
        op->no_direct = true;
        start_ordinary(l, op);
        return;
    }
    complete(l, op, CURLE_OK);
}

/* ---- one turn of the thread ---- */

/* Takes what has come in; false when the lane is to end. */
static bool take_incoming(struct s3_lane *l)
{
    pthread_mutex_lock(&l->lock);
    for (struct floe_list *it; (it = floe_list_pop_front(&l->incoming)) != NULL;) {
        struct s3_op *op = FLOE_LIST_ENTRY(it, struct s3_op, link);
        if (op->urgent)
            floe_list_push_front(&l->waiting, it);
        else
            floe_list_push_back(&l->waiting, it);
        l->next_deadline_us = FLOE_MIN(l->next_deadline_us, op->deadline_us);
    }
    bool go_on = !l->stopping;
    pthread_mutex_unlock(&l->lock);
    return go_on;
}

static void drop(struct s3_lane *l, struct floe_list *list, bool all)
{
    FLOE_LIST_EACH_SAFE(it, list)
    {
        struct s3_op *op = FLOE_LIST_ENTRY(it, struct s3_op, link);
        if (all || atomic_load(&op->cancelled)) {
            floe_error_set(&op->err, FLOE_ECANCELLED, "cancelled");
            finish(l, op);
        }
    }
}

static void expire_due(struct s3_lane *l, uint64_t now)
{
    struct floe_list *lists[] = {&l->active, &l->waiting};
    if (now < l->next_deadline_us)
        return;
    l->next_deadline_us = UINT64_MAX;
    for (size_t i = 0; i < FLOE_COUNTOF(lists); i++) {
        FLOE_LIST_EACH_SAFE(it, lists[i])
        {
            struct s3_op *op = FLOE_LIST_ENTRY(it, struct s3_op, link);
            uint64_t due = op->deadline_us;
            if (due <= now) {
                expire(l, op);
                continue;
            }
            if (i == 0 && op->try_deadline_us <= now)
                try_again(l, op);
            else if (i == 0)
                due = FLOE_MIN(due, op->try_deadline_us);
            l->next_deadline_us = FLOE_MIN(l->next_deadline_us, due);
        }
    }
}

/* Starts what may start; gives the time when the next one may. */
static uint64_t start_due(struct s3_lane *l, uint64_t now)
{
    uint64_t next = UINT64_MAX;
    FLOE_LIST_EACH_SAFE(it, &l->waiting)
    {
        struct s3_op *op = FLOE_LIST_ENTRY(it, struct s3_op, link);
        if (l->active_count + (op->urgent ? 0 : l->reserved) >= l->connections)
            break;
        if (op->not_before_us <= now)
            start(l, op);
        else
            next = FLOE_MIN(next, op->not_before_us);
    }
    return next;
}

static bool collect(struct s3_lane *l)
{
    bool any = false;
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(l->multi, &left)) != NULL;) {
        if (m->msg != CURLMSG_DONE)
            continue;
        char *priv = NULL;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &priv);
        struct s3_op *op = (struct s3_op *)(void *)priv;
        if (op->direct)
            direct_is(l, op, s3_direct_connected(op, code));
        else
            complete(l, op, code);
        any = true;
    }
    FLOE_LIST_EACH_SAFE(it, &l->active)
    {
        struct s3_op *op = FLOE_LIST_ENTRY(it, struct s3_op, link);
        enum s3_direct_is is = op->direct ? s3_direct_step(op) : S3_DIRECT_GOES_ON;
        direct_is(l, op, is);
        any = any || is != S3_DIRECT_GOES_ON;
    }
    return any;
}

static void wait_for(struct s3_lane *l, int ms)
{
    unsigned n = 0, i = 0;
    bool ready = false;
    FLOE_LIST_EACH(it, &l->active)
    n += s3_direct_waits(FLOE_LIST_ENTRY(it, struct s3_op, link), &l->waits[n], &ready);
    curl_multi_poll(l->multi, l->waits, n, ready ? 0 : ms, NULL);
    FLOE_LIST_EACH(it, &l->active)
    {
        struct s3_op *op = FLOE_LIST_ENTRY(it, struct s3_op, link);
        struct curl_waitfd none;
        if (s3_direct_waits(op, &none, &ready) && l->waits[i++].revents != 0)
            s3_direct_woken(op);
    }
}

static int wait_ms(uint64_t now, uint64_t until)
{
    if (until <= now)
        return 0;
    uint64_t ms = (until - now) / 1000 + 1;
    return until == UINT64_MAX || ms > POLL_IDLE_MS ? POLL_IDLE_MS : (int)ms;
}

void *s3_lane_main(void *arg)
{
    struct s3_lane *l = arg;
    struct s3_store *s = l->s;
    while (take_incoming(l)) {
        int running = 0;
        if (atomic_exchange(&l->sweep, false)) {
            drop(l, &l->waiting, false);
            drop(l, &l->active, false);
        }
        uint64_t now = s3_now_us();
        expire_due(l, now);
        uint64_t next = start_due(l, now);
        curl_multi_perform(l->multi, &running);
        if (collect(l))
            continue;
        now = s3_now_us();
        wait_for(l, wait_ms(now, FLOE_MIN(next, l->next_deadline_us)));
    }
    drop(l, &l->waiting, true);
    drop(l, &l->active, true);
    s3_direct_close_kept(l, UINT64_MAX);
    while (l->idle_count > 0)
        curl_easy_cleanup(l->idle[--l->idle_count]);
    curl_multi_cleanup(l->multi);
    l->multi = NULL;
    if (atomic_fetch_sub(&s->running, 1) == 1)
        floe_loop_post(s->base.loop, &s->exit_task);
    return NULL;
}
