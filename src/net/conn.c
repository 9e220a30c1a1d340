/* One connection: frames in. */
#include "net/server_int.h"
#include <floe/base/assert.h>
#include <floe/base/log.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <arpa/inet.h>

static void consume(struct floe_conn *c, const uint8_t *p, size_t n);

static void complain(struct floe_conn *c, const char *api, const char *reason)
{
    if (c->t->log_left == 0)
        return;
    c->t->log_left--;
    floe_log_warn("net", "closing connection of %s: %s%s%s", c->client.addr, api, *api ? ": " : "", reason);
}

static void tcp_freed(uv_handle_t *h)
{
    struct floe_conn *c = h->data;
    struct net_thread *t = c->t;
    c->closed = true;
    if (c->gone_posted) {
        floe_conn_drop_requests(c);
        return;
    }
    free(c->stash);
    floe_list_remove(&c->link);
    free(c);
    floe_server_conn_freed(t);
}

/* After the core has seen that the client is gone. */
static void gone_back(struct floe_task *task)
{
    struct floe_conn *c = task->user;
    c->gone_back = true;
    floe_conn_drop_requests(c);
}

static void gone_on_core(struct floe_task *task)
{
    struct floe_conn *c = task->user;
    floe_client_gone(&c->client);
    floe_loop_post(c->t->loop, &c->back_task);
}

void floe_conn_close(struct floe_conn *c)
{
    if (c->closing)
        return;
    c->closing = true;
    floe_list_remove(&c->paused_link);
    if (c->frame) {
        if (c->charged)
            floe_budget_give(c->t->s->cfg.budget, c->charged);
        floe_buf_unref(c->frame);
        c->frame = NULL;
    }
    if (c->overdraft)
        atomic_flag_clear(&c->t->s->overdraft);
    c->overdraft = false;
    if (c->inside) {
        c->gone_posted = true;
        floe_loop_post(c->t->s->cfg.core, &c->gone_task);
    }
    uv_close((uv_handle_t *)&c->tcp, tcp_freed);
}

/* Room for `n` more bytes of the budget; the one connection that holds the overdraft always has it. */
static bool charge(struct floe_conn *c, size_t n)
{
    struct floe_server *s = c->t->s;
    if (floe_budget_take(s->cfg.budget, n))
        return true;
    if (!c->overdraft)
        return false;
    floe_budget_force(s->cfg.budget, n);
    return true;
}

static void pause_reading(struct floe_conn *c)
{
    struct net_thread *t = c->t;
    if (c->reading) {
        uv_read_stop((uv_stream_t *)&c->tcp);
        c->reading = false;
    }
    if (!floe_list_empty(&c->paused_link))
        return;
    atomic_fetch_add_explicit(&t->s->stats.paused, 1, memory_order_relaxed);
    if (floe_list_empty(&t->paused))
        t->paused_since_us = floe_loop_now_us(t->loop);
    floe_list_push_back(&t->paused, &c->paused_link);
    if (!floe_timer_armed(&t->resume))
        floe_timer_start(t->loop, &t->resume, RESUME_US);
}

static bool full(const struct floe_conn *c)
{
    return c->inside >= PIPELINE_MAX || c->write_bytes > WRITE_HIGH;
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

/* The frame is whole: decode it and hand it to the core. */
static bool frame_done(struct floe_conn *c)
{
    struct floe_server *s = c->t->s;
    struct floe_request *rq = calloc(1, sizeof *rq);
    struct floe_error err = {0};
    c->frame->n = c->frame_len;
    if (!c->frame->budget) { /* charged in steps up to here */
        c->frame->budget = s->cfg.budget;
        FLOE_ASSERT(c->charged == c->frame->cap);
    }
    if (c->overdraft)
        atomic_flag_clear(&s->overdraft);
    c->overdraft = false;
    c->last_large = c->frame_len > SCRATCH / 2;
    struct floe_buf *frame = c->frame;
    c->frame = NULL;
    c->charged = 0;
    c->head_n = 0;
    atomic_fetch_add_explicit(&s->stats.requests, 1, memory_order_relaxed);
    if (!rq) {
        floe_buf_unref(frame);
        complain(c, "", "no memory for a request");
        return false;
    }
    rq->frame = frame;
    rq->conn = c;
    rq->client = &c->client;
    rq->service = s->cfg.user;
    rq->start = s->cfg.start;
    rq->complete = request_complete;
    const char *api = "";
    bool ok = floe_request_parse(rq, s->cfg.served, s->cfg.served_count, c->for_peers, &err) == FLOE_OK;
    if (rq->head.api)
        api = rq->head.api->name;
    if (ok && s->cfg.prepare && !rq->unsupported && !s->cfg.prepare(s->cfg.user, rq)) {
        ok = false;
        snprintf(err.msg, sizeof err.msg, "%s", rq->reason);
    }
    if (!ok) {
        atomic_fetch_add_explicit(&s->stats.refused, 1, memory_order_relaxed);
        complain(c, api, err.msg);
        floe_arena_fini(&rq->arena);
        floe_buf_unref(frame);
        free(rq);
        return false;
    }
    floe_list_push_back(&c->requests, &rq->link);
    c->inside++;
    rq->task = (struct floe_task){.fn = request_run, .user = rq};
    floe_loop_post(s->cfg.core, &rq->task);
    return true;
}

/* The length is known: a buffer for the frame. 1: there; 0: no room now; -1: not acceptable. */
static int frame_begin(struct floe_conn *c)
{
    struct floe_server *s = c->t->s;
    uint32_t n = floe_be32(c->head);
    if (n == 0 || n > s->cfg.frame_max) {
        char reason[96];
        snprintf(reason, sizeof reason, "a frame of %u bytes is outside 1 to %u", n, s->cfg.frame_max);
        complain(c, "", reason);
        return -1;
    }
    if (n <= FORCED_MAX) {
        c->frame = floe_buf_create_forced(n, s->cfg.budget);
    } else if (n <= PROGRESSIVE) {
        if (!charge(c, n))
            return 0;
        c->frame = floe_buf_create(n, NULL);
        if (c->frame)
            c->frame->budget = s->cfg.budget;
        else
            floe_budget_give(s->cfg.budget, n);
    } else {
        if (!charge(c, PROGRESSIVE))
            return 0;
        c->frame = floe_buf_create(n, NULL);
        c->charged = PROGRESSIVE;
        if (!c->frame)
            floe_budget_give(s->cfg.budget, PROGRESSIVE);
    }
    if (!c->frame) {
        c->charged = 0;
        return 0;
    }
    c->frame_len = n;
    c->frame->n = 0;
    return 1;
}

/* How many more bytes the frame may take now; 0: the budget has no room. */
static size_t frame_room(struct floe_conn *c)
{
    size_t left = c->frame_len - c->frame->n;
    if (c->frame->budget || c->charged == c->frame_len)
        return left;
    if (c->frame->n == c->charged) {
        size_t more = FLOE_MIN((size_t)PROGRESSIVE, c->frame_len - c->charged);
        if (!charge(c, more))
            return 0;
        c->charged += more;
    }
    return c->charged - c->frame->n;
}

static void stash(struct floe_conn *c, const uint8_t *p, size_t n)
{
    uint8_t *copy = malloc(n);
    if (!copy) {
        complain(c, "", "no memory");
        floe_conn_close(c);
        return;
    }
    memcpy(copy, p, n);
    free(c->stash);
    c->stash = copy;
    c->stash_n = n;
    c->stash_at = 0;
    pause_reading(c);
}

static void consume(struct floe_conn *c, const uint8_t *p, size_t n)
{
    while (n > 0 && !c->closing) {
        if (!c->frame) {
            if (full(c)) {
                stash(c, p, n);
                return;
            }
            while (c->head_n < 4 && n > 0) {
                c->head[c->head_n++] = *p++;
                n--;
            }
            if (c->head_n < 4)
                return;
            int rc = frame_begin(c);
            if (rc < 0) {
                floe_conn_close(c);
                return;
            }
            if (rc == 0) { /* the four bytes are read again when there is room */
                c->head_n = 0;
                uint8_t *all = malloc(n + 4);
                if (!all) {
                    floe_conn_close(c);
                    return;
                }
                memcpy(all, c->head, 4);
                memcpy(all + 4, p, n);
                free(c->stash);
                c->stash = all;
                c->stash_n = n + 4;
                c->stash_at = 0;
                pause_reading(c);
                return;
            }
        }
        size_t room = frame_room(c);
        if (room == 0) {
            if (n)
                stash(c, p, n);
            else
                pause_reading(c);
            return;
        }
        size_t take = FLOE_MIN(room, n);
        memcpy(c->frame->data + c->frame->n, p, take);
        c->frame->n += take;
        p += take;
        n -= take;
        if (c->frame->n == c->frame_len && !frame_done(c))
            floe_conn_close(c);
    }
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    struct floe_conn *c = h->data;
    (void)suggested;
    if (c->frame) {
        size_t room = frame_room(c);
        *out = uv_buf_init((char *)c->frame->data + c->frame->n, (unsigned)FLOE_MIN(room, (size_t)1 << 30));
        return; /* no room: libuv answers UV_ENOBUFS to on_read */
    }
    *out = uv_buf_init((char *)c->t->scratch, c->last_large ? 4096 : SCRATCH);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct floe_conn *c = stream->data;
    if (n == UV_ENOBUFS) {
        pause_reading(c);
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
    if ((uint8_t *)buf->base == c->t->scratch) {
        consume(c, c->t->scratch, (size_t)n);
    } else {
        c->frame->n += (size_t)n;
        if (c->frame->n == c->frame_len && !frame_done(c))
            floe_conn_close(c);
    }
    if (!c->closing && !c->frame && full(c))
        pause_reading(c);
}

void floe_conn_resume(struct floe_conn *c)
{
    struct net_thread *t = c->t;
    if (c->closing || (!c->frame && full(c)))
        return;
    if (!c->overdraft && floe_loop_now_us(t->loop) - t->paused_since_us > OVERDRAFT_US &&
        !atomic_flag_test_and_set(&t->s->overdraft))
        c->overdraft = true;
    floe_list_remove(&c->paused_link);
    if (c->stash) {
        uint8_t *bytes = c->stash;
        size_t n = c->stash_n;
        c->stash = NULL;
        consume(c, bytes, n);
        free(bytes);
    } else if (c->frame && frame_room(c) == 0) {
        pause_reading(c);
    }
    if (c->overdraft && !c->frame && !c->closing) { /* it was not memory that it waited for */
        c->overdraft = false;
        atomic_flag_clear(&t->s->overdraft);
    }
    if (c->closing || !floe_list_empty(&c->paused_link) || c->reading)
        return;
    c->reading = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) == 0;
}

void floe_conn_sweep(struct floe_conn *c, uint64_t now_us)
{
    uint64_t idle_ms = (now_us - c->active_us) / 1000;
    if (c->closing)
        return;
    if (c->inside == 0 && c->write_bytes == 0 && !c->frame && idle_ms > c->t->s->cfg.idle_ms) {
        floe_conn_close(c);
    } else if (c->frame && floe_list_empty(&c->paused_link) && idle_ms > STALLED_MS) {
        complain(c, "", "a frame was begun and not finished");
        floe_conn_close(c);
    } else if (c->write_bytes && idle_ms > STALLED_MS * 10) {
        floe_conn_close(c); /* it does not read its answers */
    }
}

static void name_peer(struct floe_conn *c, uint32_t listener)
{
    struct sockaddr_storage a;
    int len = sizeof a;
    char host[INET6_ADDRSTRLEN] = "?", text[80];
    unsigned port = 0;
    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&a, &len) == 0) {
        if (a.ss_family == AF_INET6) {
            uv_ip6_name((struct sockaddr_in6 *)&a, host, sizeof host);
            port = ntohs(((struct sockaddr_in6 *)&a)->sin6_port);
        } else {
            uv_ip4_name((struct sockaddr_in *)&a, host, sizeof host);
            port = ntohs(((struct sockaddr_in *)&a)->sin_port);
        }
    }
    snprintf(text, sizeof text, a.ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host, port);
    floe_client_init(&c->client, text, listener);
}

void floe_conn_open(struct net_thread *t, int fd, uint32_t listener)
{
    struct floe_conn *c = calloc(1, sizeof *c);
    if (!c || uv_tcp_init(floe_loop_uv_raw(t->uv), &c->tcp) != 0) {
        free(c);
        uv_fs_t rq;
        uv_fs_close(NULL, &rq, fd, NULL);
        floe_server_conn_freed(t);
        return;
    }
    c->t = t;
    c->tcp.data = c;
    c->for_peers = t->s->cfg.listens[listener].for_peers;
    c->gone_task = (struct floe_task){.fn = gone_on_core, .user = c};
    c->back_task = (struct floe_task){.fn = gone_back, .user = c};
    c->active_us = floe_loop_now_us(t->loop);
    floe_list_init(&c->requests);
    floe_list_init(&c->paused_link);
    floe_list_push_back(&t->conns, &c->link);
    bool ok = uv_tcp_open(&c->tcp, fd) == 0;
    name_peer(c, listener);
    uv_tcp_nodelay(&c->tcp, 1);
    if (!ok || t->stopping)
        floe_conn_close(c);
    else
        floe_conn_resume(c);
}
