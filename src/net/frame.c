/* One connection: frames in, within the memory budget.
 *
 * A frame's bytes are charged as they come: before a read room is taken for what may come, and what did not
 * is given back. Where there is no room the connection goes on its thread's `paused` list and is looked at
 * again every RESUME_US. A connection that has enough inside (PIPELINE_MAX, FEW_MAX, WRITE_HIGH) is simply
 * not read: its answers wake it; so is one that was muted, until its time is over. A frame that was begun is
 * read on. So is a connection that ends, and what comes is dropped: a close with bytes unread would take
 * answers back that its client has not got yet, and a client that leaves would not be seen.
 */
#include "net/server_int.h"
#include <floe/base/assert.h>
#include <stdio.h>
#include <stdlib.h>

static bool full(const struct floe_conn *c)
{
    return !c->ending && (c->inside >= PIPELINE_MAX || c->few >= FEW_MAX || c->write_bytes > WRITE_HIGH ||
                          floe_timer_armed(&c->unmute));
}

static void stop_reading(struct floe_conn *c)
{
    if (c->reading)
        uv_read_stop((uv_stream_t *)&c->tcp);
    c->reading = false;
}

void floe_conn_unpause(struct floe_conn *c)
{
    if (floe_list_empty(&c->paused_link))
        return;
    floe_list_remove(&c->paused_link);
    atomic_fetch_sub(&c->t->s->waiting, 1);
}

/* Waits for room in the budget. */
static void wait_for_room(struct floe_conn *c)
{
    struct net_thread *t = c->t;
    stop_reading(c);
    if (!floe_list_empty(&c->paused_link))
        return;
    atomic_fetch_add_explicit(&t->s->stats.paused, 1, memory_order_relaxed);
    atomic_fetch_add(&t->s->waiting, 1);
    if (floe_list_empty(&t->paused))
        t->paused_since_us = floe_loop_now_us(t->loop);
    floe_list_push_back(&t->paused, &c->paused_link);
    if (!floe_timer_armed(&t->resume))
        floe_timer_start(t->loop, &t->resume, RESUME_US);
}

static void end_overdraft(struct floe_conn *c)
{
    if (c->overdraft)
        atomic_flag_clear(&c->t->s->overdraft);
    c->overdraft = false;
}

/* Frames that were begun fill the budget and none can go on: one may finish. What else is in the budget goes
 * away by itself, so nothing is overdrawn while that is much: at most half the limit and a frame. */
static void try_overdraft(struct floe_conn *c)
{
    struct floe_server *s = c->t->s;
    uint64_t now = floe_loop_now_us(c->t->loop);
    size_t limit = s->cfg.budget->limit, used = floe_budget_used(s->cfg.budget);
    size_t partial = atomic_load(&s->partial), others = used > partial ? used - partial : 0;
    if (c->overdraft || now - c->t->paused_since_us < OVERDRAFT_US || partial < limit / 2 ||
        others > limit / 2 || atomic_flag_test_and_set(&s->overdraft))
        return;
    c->overdraft = true;
    c->overdraft_us = c->active_us = now;
}

/* Takes room for up to `want` bytes of the frame; how many, 0 for none. */
static size_t take_room(struct floe_conn *c, size_t want)
{
    struct floe_server *s = c->t->s;
    size_t got = 0;
    for (size_t n = want; n > 0 && !got; n = n > FORCED_MAX ? FLOE_MAX(n / 8, (size_t)FORCED_MAX) : 0) {
        if (floe_budget_take(s->cfg.budget, n))
            got = n;
    }
    if (!got && c->overdraft) {
        floe_budget_force(s->cfg.budget, want);
        got = want;
    }
    atomic_fetch_add(&s->partial, got);
    return got;
}

static void give_room(struct floe_conn *c, size_t n)
{
    atomic_fetch_sub(&c->t->s->partial, n);
    floe_budget_give(c->t->s->cfg.budget, n);
}

void floe_conn_drop_frame(struct floe_conn *c)
{
    if (c->charged)
        give_room(c, c->charged);
    c->charged = 0;
    floe_buf_unref(c->frame);
    c->frame = NULL;
    end_overdraft(c);
}

static void request_run(struct floe_task *task)
{
    struct floe_request *rq = FLOE_CONTAINER(task, struct floe_request, task);
    floe_request_arrive(rq);
}

static void request_complete(struct floe_request *rq)
{
    rq->task = (struct floe_task){.fn = floe_conn_returned, .user = rq};
    floe_loop_post(rq->conn->t->loop, &rq->task);
}

/* The whole frame leaves the connection; its charge goes with the buffer. */
static struct floe_buf *detach_frame(struct floe_conn *c)
{
    struct floe_buf *frame = c->frame;
    if (!frame->budget) {
        FLOE_ASSERT(c->charged == c->frame_len && frame->cap == c->frame_len);
        frame->budget = c->t->s->cfg.budget;
        atomic_fetch_sub(&c->t->s->partial, c->charged);
    }
    end_overdraft(c);
    c->last_large = c->frame_len > SCRATCH / 2;
    c->frame = NULL;
    c->charged = 0;
    c->head_n = 0;
    return frame;
}

/* What a request takes once it is decoded, up to sixteen times its frame, is in memory as long as that: it
 * counts too, so that the next frame waits. A little is not worth the account. */
static void charge_decoded(struct floe_request *rq, struct floe_budget *b)
{
    if (rq->arena.used < DECODED_FREE)
        return;
    rq->decoded = rq->arena.used;
    rq->decoded_budget = b;
    floe_budget_force(b, rq->decoded);
}

/* The frame is whole: decode it and hand it to the core. False: the connection must end. */
static bool frame_done(struct floe_conn *c)
{
    struct floe_server *s = c->t->s;
    struct floe_buf *frame = detach_frame(c);
    struct floe_request *rq = calloc(1, sizeof *rq);
    struct floe_error err = {0};
    atomic_fetch_add_explicit(&s->stats.requests, 1, memory_order_relaxed);
    if (!rq) {
        floe_buf_unref(frame);
        floe_conn_complain(c, "", "no memory for a request");
        return false;
    }
    rq->frame = frame;
    rq->conn = c;
    rq->client = &c->client;
    rq->service = s->cfg.user;
    rq->start = s->cfg.start;
    rq->complete = request_complete;
    bool ok = floe_request_parse(rq, s->cfg.served, s->cfg.served_count, c->for_peers, &err) == FLOE_OK;
    if (ok && s->cfg.prepare && !rq->unsupported && !s->cfg.prepare(s->cfg.user, rq)) {
        ok = false;
        snprintf(err.msg, sizeof err.msg, "%s", rq->reason);
    }
    if (!ok) {
        atomic_fetch_add_explicit(&s->stats.refused, 1, memory_order_relaxed);
        floe_conn_complain(c, rq->head.api ? rq->head.api->name : "", err.msg);
        floe_arena_fini(&rq->arena);
        floe_buf_unref(frame);
        free(rq);
        return false;
    }
    charge_decoded(rq, s->cfg.budget);
    floe_list_push_back(&c->requests, &rq->link);
    c->inside++;
    rq->few = !rq->keep && !rq->head.api->peer;
    c->few += rq->few;
    c->known = true;
    c->broker = c->broker || rq->head.api->peer;
    rq->task = (struct floe_task){.fn = request_run, .user = rq};
    floe_loop_post(s->cfg.core, &rq->task);
    return true;
}

/* What a length that is out of bounds is the beginning of. */
static const char *looks_like(uint32_t head)
{
    static const char *const methods[] = {"GET ", "HEAD", "POST", "PUT ", "OPTI"};
    for (size_t i = 0; i < FLOE_COUNTOF(methods); i++)
        if (head == floe_be32((const uint8_t *)methods[i]))
            return ": it looks like HTTP, whose pages are at the address of --http";
    return head >> 16 == 0x1603 ? ": it looks like TLS, which is not spoken here" : "";
}

/* The length is known: a buffer for the frame. 1: there; 0: no room now; -1: not acceptable. */
static int frame_begin(struct floe_conn *c)
{
    struct floe_server *s = c->t->s;
    uint32_t n = floe_be32(c->head);
    if (n == 0 || n > s->cfg.frame_max) {
        char reason[128];
        snprintf(reason, sizeof reason, "a frame of %u bytes is outside 1 to %u%s", n, s->cfg.frame_max,
                 looks_like(n));
        floe_conn_complain(c, "", reason);
        return -1;
    }
    if (n > FORCED_MAX) {
        c->frame = floe_buf_create(n, NULL);
    } else {
        c->frame = floe_buf_create(n, s->cfg.budget);
        /* Heartbeats and metadata get through, but of nobody who has not taken his last answer. */
        if (!c->frame && c->inside == 0 && c->write_bytes == 0)
            c->frame = floe_buf_create_forced(n, s->cfg.budget);
    }
    if (!c->frame)
        return 0;
    c->charged = 0;
    c->frame_len = n;
    c->frame->n = 0;
    return 1;
}

/* Keeps bytes that were read for when there is room (or an answer has gone out). */
static void stash(struct floe_conn *c, const uint8_t *head, size_t head_n, const uint8_t *p, size_t n)
{
    FLOE_ASSERT(!c->stash);
    c->stash = malloc(head_n + n);
    if (!c->stash) {
        floe_conn_complain(c, "", "no memory");
        floe_conn_close(c);
        return;
    }
    memcpy(c->stash, head, head_n);
    memcpy(c->stash + head_n, p, n);
    c->stash_n = head_n + n;
}

static void consume(struct floe_conn *c, const uint8_t *p, size_t n)
{
    while (n > 0 && !c->closing) {
        if (!c->frame && full(c)) {
            stop_reading(c);
            stash(c, c->head, 0, p, n);
            return;
        }
        if (!c->frame) {
            while (c->head_n < 4 && n > 0) {
                c->head[c->head_n++] = *p++;
                n--;
            }
            if (c->head_n < 4)
                return;
            int rc = frame_begin(c);
            if (rc < 0) {
                floe_conn_end(c);
                return;
            }
            if (rc == 0) { /* the four bytes are read again when there is room */
                c->head_n = 0;
                wait_for_room(c);
                stash(c, c->head, 4, p, n);
                return;
            }
            continue;
        }
        size_t take = FLOE_MIN(c->frame_len - c->frame->n, n);
        if (!c->frame->budget) {
            take = take_room(c, take);
            c->charged += take;
        }
        if (take == 0) {
            wait_for_room(c);
            stash(c, c->head, 0, p, n);
            return;
        }
        memcpy(c->frame->data + c->frame->n, p, take);
        c->frame->n += take;
        p += take;
        n -= take;
        if (c->frame->n == c->frame_len && !frame_done(c)) {
            floe_conn_end(c);
            return;
        }
    }
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    struct floe_conn *c = h->data;
    const struct floe_budget *b = c->t->s->cfg.budget;
    (void)suggested;
    if (!c->frame) {
        bool little = c->last_large || floe_budget_used(b) >= b->limit;
        *out = uv_buf_init((char *)c->t->scratch, little ? SCRATCH_SHORT : SCRATCH);
        return;
    }
    size_t room = c->frame_len - c->frame->n;
    if (!c->frame->budget) {
        room = take_room(c, FLOE_MIN(room, (size_t)READ_STEP));
        c->reserved = room;
    }
    /* Without room libuv answers UV_ENOBUFS to on_read. */
    *out = uv_buf_init((char *)c->frame->data + c->frame->n, (unsigned)FLOE_MIN(room, (size_t)READ_STEP));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct floe_conn *c = stream->data;
    size_t came = n > 0 ? (size_t)n : 0;
    if (c->reserved) {
        FLOE_ASSERT(came <= c->reserved);
        give_room(c, c->reserved - came);
        c->charged += came;
        c->reserved = 0;
    }
    if (n == UV_ENOBUFS) {
        wait_for_room(c);
        return;
    }
    if (n < 0) {
        floe_conn_close(c);
        return;
    }
    if (n == 0)
        return;
    c->active_us = floe_loop_now_us(c->t->loop);
    atomic_fetch_add_explicit(&c->t->s->stats.bytes_in, (uint64_t)n, memory_order_relaxed);
    if (c->ending)
        return;
    if ((uint8_t *)buf->base == c->t->scratch) {
        consume(c, c->t->scratch, came);
    } else {
        c->frame->n += came;
        if (c->frame->n == c->frame_len && !frame_done(c))
            floe_conn_end(c);
    }
    if (!c->closing && !c->frame && full(c))
        stop_reading(c);
}

/* Would the next read of the frame find no room? */
static bool short_of_room(const struct floe_conn *c)
{
    const struct floe_budget *b = c->t->s->cfg.budget;
    size_t used = floe_budget_used(b);
    if (!c->frame || c->frame->budget)
        return false;
    return used > b->limit || b->limit - used < FLOE_MIN(c->frame_len - c->frame->n, (size_t)FORCED_MAX);
}

void floe_conn_resume(struct floe_conn *c)
{
    bool waited = !floe_list_empty(&c->paused_link);
    if (c->closing || c->reading || (!c->frame && full(c)))
        return;
    if (waited)
        try_overdraft(c);
    if (waited && !c->overdraft && short_of_room(c))
        return; /* as before */
    floe_conn_unpause(c);
    if (c->stash) {
        uint8_t *bytes = c->stash;
        c->stash = NULL;
        consume(c, bytes, c->stash_n);
        free(bytes);
    }
    if (!c->frame)
        end_overdraft(c);
    if (c->closing || c->stash || !floe_list_empty(&c->paused_link) || (!c->frame && full(c)))
        return;
    c->reading = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) == 0;
}
