/* One connection: its life. */
#include "net/server_int.h"
#include <floe/base/assert.h>
#include <floe/base/log.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <arpa/inet.h>

void floe_conn_complain(struct floe_conn *c, const char *api, const char *reason)
{
    if (c->t->log_left == 0)
        return;
    c->t->log_left--;
    floe_log_warn("net", "closing connection of %s: %s%s%s", c->client.addr, api, *api ? ": " : "", reason);
}

void floe_conn_free(struct floe_conn *c)
{
    struct net_thread *t = c->t;
    free(c->stash);
    floe_list_remove(&c->link);
    free(c);
    floe_server_conn_freed(t);
}

static void tcp_freed(uv_handle_t *h)
{
    struct floe_conn *c = h->data;
    c->closed = true;
    if (c->gone_posted)
        floe_conn_drop_requests(c);
    else
        floe_conn_free(c);
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
    floe_timer_stop(&c->unmute);
    floe_conn_unpause(c);
    floe_conn_drop_frame(c);
    if (c->known) { /* the core may still be at the end of the call that completed its last request */
        c->gone_posted = true;
        floe_loop_post(c->t->s->cfg.core, &c->gone_task);
    }
    uv_close((uv_handle_t *)&c->tcp, tcp_freed);
}

void floe_conn_ended(struct floe_conn *c)
{
    if (c->ending && c->inside == 0 && c->write_bytes == 0)
        floe_conn_close(c);
}

void floe_conn_end(struct floe_conn *c)
{
    c->ending = true;
    floe_conn_unpause(c);
    floe_conn_drop_frame(c);
    floe_conn_ended(c);
}

/* How long a client may take nothing of its answers: less while others wait for the memory that they keep. */
static uint64_t patience_ms(const struct floe_conn *c)
{
    const struct floe_budget *b = c->t->s->cfg.budget;
    bool wanted = (c->held && floe_budget_used(c->held_budget) >= c->held_budget->limit) ||
                  (c->own_bytes > OWN_LITTLE && floe_budget_used(b) >= b->limit);
    return wanted ? STALLED_SHORT_MS : STALLED_MS;
}

/* Once a second: closes what has nothing more to say, or does not say it. */
void floe_conn_sweep(struct floe_conn *c, uint64_t now_us)
{
    struct floe_server *s = c->t->s;
    if (c->closing)
        return;
    size_t left = uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp);
    if (left != c->write_left)
        c->active_us = c->write_us = now_us; /* some of a large answer was taken */
    c->write_left = left;
    uint64_t idle_ms = (now_us - c->active_us) / 1000;
    uint64_t stalled_ms = atomic_load(&s->waiting) ? STALLED_SHORT_MS : STALLED_MS;
    const char *why = NULL;
    if (c->overdraft && (idle_ms > OVERDRAFT_IDLE_MS || (now_us - c->overdraft_us) / 1000 > OVERDRAFT_MAX_MS))
        why = "memory is short, and a frame that was begun does not come";
    else if (c->frame && floe_list_empty(&c->paused_link) && c->reading && idle_ms > stalled_ms)
        why = "a frame was begun and not finished";
    else if (c->write_bytes && (now_us - c->write_us) / 1000 > patience_ms(c))
        why = "its answers are not taken";
    if (why)
        floe_conn_complain(c, "", why);
    if (why || (c->inside == 0 && c->write_bytes == 0 && !c->frame && !c->stash && idle_ms > s->cfg.idle_ms))
        floe_conn_close(c);
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

static void unmuted(struct floe_timer *t)
{
    floe_conn_resume(t->user);
}

/* The longest of what its answers ask for. */
void floe_conn_mute(struct floe_conn *c, uint32_t ms)
{
    uint64_t until = floe_loop_now_us(c->t->loop) + (uint64_t)ms * 1000;
    if (c->broker || until <= c->muted_us)
        return;
    c->muted_us = until;
    floe_timer_start(c->t->loop, &c->unmute, (uint64_t)ms * 1000);
    atomic_fetch_add_explicit(&c->t->s->stats.muted, 1, memory_order_relaxed);
}

static void close_fd(int fd)
{
    uv_fs_t rq;
    uv_fs_close(NULL, &rq, fd, NULL);
    uv_fs_req_cleanup(&rq);
}

void floe_conn_open(struct net_thread *t, int fd, uint32_t listener)
{
    struct floe_conn *c = calloc(1, sizeof *c);
    if (!c || uv_tcp_init(floe_loop_uv_raw(t->uv), &c->tcp) != 0) {
        free(c);
        close_fd(fd);
        floe_server_conn_freed(t);
        return;
    }
    c->t = t;
    c->tcp.data = c;
    c->for_peers = t->s->cfg.listens[listener].for_peers;
    c->gone_task = (struct floe_task){.fn = gone_on_core, .user = c};
    c->back_task = (struct floe_task){.fn = gone_back, .user = c};
    c->active_us = floe_loop_now_us(t->loop);
    floe_timer_init(&c->unmute, unmuted, c);
    floe_list_init(&c->requests);
    floe_list_init(&c->paused_link);
    floe_list_push_back(&t->conns, &c->link);
    bool ok = uv_tcp_open(&c->tcp, fd) == 0;
    if (!ok)
        close_fd(fd);
    name_peer(c, listener);
    uv_tcp_nodelay(&c->tcp, 1);
    if (!ok || t->stopping)
        floe_conn_close(c);
    else
        floe_conn_resume(c);
}
