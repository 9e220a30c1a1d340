/* The libuv peer driver: see peers_int.h and <floe/net/peer.h>. */
#include "net/peers_int.h"

#include <floe/base/assert.h>

#include <stdlib.h>

static struct peers_uv *driver(struct floe_peers *p)
{
    return FLOE_CONTAINER(p, struct peers_uv, base);
}

static void maybe_closed(struct peers_uv *u)
{
    if (!u->closing || u->open_handles > 0 || !floe_list_empty(&u->finished) ||
        floe_timer_armed(&u->run_finished))
        return;
    void (*closed)(void *user) = u->closed;
    void *user = u->closed_user;
    free(u);
    closed(user);
}

void floe_peers_handle_gone(struct peers_uv *u)
{
    u->open_handles--;
    maybe_closed(u);
}

/* Calls. */

static void free_if_over(struct peer_pending *p)
{
    if (floe_list_empty(&p->link) && floe_list_empty(&p->done_link)) {
        floe_timer_stop(&p->timeout);
        free(p);
    }
}

static void on_run_finished(struct floe_timer *t)
{
    struct peers_uv *u = t->user;
    struct floe_list *n;
    while ((n = floe_list_pop_front(&u->finished))) {
        struct peer_pending *p = FLOE_LIST_ENTRY(n, struct peer_pending, done_link);
        struct floe_peer_call *c = p->c;
        p->c = NULL;
        free_if_over(p);
        c->driver = NULL;
        c->done(c);
    }
    maybe_closed(u);
}

/* Settles the outcome of a call, whatever becomes of its place on the connection. */
static void answer(struct peer_pending *p, const struct floe_error *err)
{
    if (p->answered)
        return;
    struct peers_uv *u = p->owner;
    p->answered = true;
    p->c->err = *err;
    floe_timer_stop(&p->timeout);
    floe_list_push_back(&u->finished, &p->done_link);
    if (!floe_timer_armed(&u->run_finished))
        floe_timer_start(u->base.loop, &u->run_finished, 0);
}

/* Takes a call out of its queue. */
static void settle(struct peer_pending *p)
{
    floe_list_remove(&p->link);
    if (p->peer)
        p->peer->calls--;
    free_if_over(p);
}

/* A stale connection on which nobody waits any more goes. */
static void reap_stale(struct peer_conn *conn)
{
    FLOE_LIST_EACH(n, &conn->in_flight)
    if (!FLOE_LIST_ENTRY(n, struct peer_pending, link)->answered)
        return;
    struct floe_list *n;
    while ((n = conn->in_flight.next) != &conn->in_flight)
        settle(FLOE_LIST_ENTRY(n, struct peer_pending, link));
    floe_peer_conn_free(conn);
}

void floe_peers_finish(struct peer_pending *p, const struct floe_error *err)
{
    struct peer_conn *conn = p->conn;
    answer(p, err);
    settle(p);
    if (conn && conn->peer->conn != conn)
        reap_stale(conn);
}

static void on_timeout(struct floe_timer *t)
{
    struct peer_pending *p = t->user;
    struct peer_conn *conn = p->conn;
    struct floe_error err;
    floe_error_set(&err, FLOE_ETIMEOUT, "peer %s: no %s within %llu ms", p->c->addr,
                   conn ? "response" : "connection", (unsigned long long)p->c->timeout_us / 1000);
    if (!conn) {
        floe_peers_finish(p, &err);
        return;
    }
    answer(p, &err);
    struct peer *peer = conn->peer;
    if (peer->conn == conn) { /* later calls get a connection that answers */
        peer->conn = NULL;
        floe_list_push_back(&peer->stale, &conn->link);
    }
    reap_stale(conn);
}

/* Peers. */

static void peer_free(struct peer *peer)
{
    floe_timer_stop(&peer->retry);
    floe_list_remove(&peer->link);
    free(peer);
}

static void connect_now(struct peer *peer)
{
    peer->conn = floe_peer_conn_make(peer);
    FLOE_ASSERT(peer->conn); /* half a kilobyte: a process that cannot have it cannot go on */
    floe_peer_conn_go(peer->conn);
}

static void on_retry(struct floe_timer *t)
{
    struct peer *peer = t->user;
    if (!peer->conn && !floe_list_empty(&peer->waiting))
        connect_now(peer);
}

/* Finds the peer of an address and lane, or makes it; forgets those that nobody needs. Null when memory is
 * out. */
static struct peer *peer_of(struct peers_uv *u, const char *addr, uint8_t lane,
                            const struct floe_str_addr *where)
{
    FLOE_LIST_EACH_SAFE(n, &u->peers)
    {
        struct peer *p = FLOE_LIST_ENTRY(n, struct peer, link);
        if (p->lane == lane && strcmp(p->addr, addr) == 0)
            return p;
        if (!p->conn && p->calls == 0 && floe_list_empty(&p->stale) && !floe_timer_armed(&p->retry))
            peer_free(p);
    }
    struct peer *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->owner = u;
    p->lane = lane;
    p->where = *where;
    (void)floe_str_copy(p->addr, sizeof p->addr, addr);
    floe_list_init(&p->waiting);
    floe_list_init(&p->stale);
    floe_timer_init(&p->retry, on_retry, p);
    floe_list_push_back(&u->peers, &p->link);
    return p;
}

void floe_peers_opened(struct peer *peer)
{
    peer->backoff_us = 0;
    struct peer_conn *conn = peer->conn;
    struct floe_list *n;
    while ((n = floe_list_pop_front(&peer->waiting))) {
        struct peer_pending *p = FLOE_LIST_ENTRY(n, struct peer_pending, link);
        enum floe_err e = floe_peer_conn_send(conn, p);
        if (e) {
            struct floe_error err;
            floe_error_set(&err, e, "peer %s: cannot send", peer->addr);
            floe_peers_finish(p, &err);
        }
    }
}

/* Answers all calls of a list. */
static void fail_all(struct floe_list *calls, const struct floe_error *err)
{
    while (!floe_list_empty(calls)) {
        struct peer_pending *p = FLOE_LIST_ENTRY(calls->next, struct peer_pending, link);
        answer(p, err);
        settle(p);
    }
}

void floe_peers_lost(struct peer_conn *conn, const struct floe_error *err)
{
    struct peer *peer = conn->peer;
    struct floe_loop *loop = peer->owner->base.loop;
    bool was_open = conn->open;
    if (peer->conn == conn)
        peer->conn = NULL;
    fail_all(&conn->in_flight, err);
    floe_peer_conn_free(conn);
    if (was_open)
        return;
    fail_all(&peer->waiting, err);
    uint64_t wait = FLOE_MAX(peer->backoff_us, (uint64_t)PEER_BACKOFF_MIN_US);
    peer->backoff_us = FLOE_MIN(wait * 2, (uint64_t)PEER_BACKOFF_MAX_US);
    floe_timer_start(loop, &peer->retry, wait / 2 + floe_rng_below(&loop->rng, wait / 2 + 1));
}

/* The interface. */

static enum floe_err admit(struct peers_uv *u, struct peer_pending *p, struct floe_error *err)
{
    struct floe_peer_call *c = p->c;
    struct floe_str_addr where;
    size_t n = 0;
    for (uint32_t i = 0; i < c->body_count; i++) {
        if (c->body[i].n > FLOE_PEER_REQUEST_MAX - n)
            return floe_error_set(err, FLOE_ETOOLARGE, "peer %s: a request of more than %u bytes", c->addr,
                                  FLOE_PEER_REQUEST_MAX);
        n += c->body[i].n;
    }
    if (memchr(c->addr, 0, sizeof c->addr) == NULL)
        return floe_error_set(err, FLOE_EINVAL, "peer: the address has no end");
    enum floe_err e = floe_str_parse_addr(c->addr, &where, err);
    if (e)
        return e;
    struct peer *peer = peer_of(u, c->addr, c->lane, &where);
    if (!peer)
        return floe_error_set(err, FLOE_ENOMEM, "peer %s: no memory", c->addr);
    if (peer->calls >= PEER_CALLS_MAX)
        return floe_error_set(err, FLOE_EAGAIN, "peer %s: %u calls are under way", c->addr, peer->calls);
    peer->calls++;
    p->peer = peer;
    return FLOE_OK;
}

static void op_call(struct floe_peers *base, struct floe_peer_call *c)
{
    struct peers_uv *u = driver(base);
    FLOE_ASSERT(!u->closing);
    struct peer_pending *p = calloc(1, sizeof *p);
    FLOE_ASSERT(p); /* a few words: a process that cannot have them cannot go on */
    struct floe_error err = {0};
    c->err = err;
    c->frame = NULL;
    c->response = floe_slice(NULL, 0);
    c->driver = p;
    p->c = c;
    p->owner = u;
    p->flexible = c->flexible;
    p->response_max = c->response_max ? c->response_max : FLOE_PEER_RESPONSE_MAX;
    floe_list_init(&p->link);
    floe_list_init(&p->done_link);
    floe_timer_init(&p->timeout, on_timeout, p);
    if (admit(u, p, &err)) {
        answer(p, &err);
        return;
    }
    struct peer *peer = p->peer;
    floe_timer_start(base->loop, &p->timeout, c->timeout_us);
    floe_list_push_back(&peer->waiting, &p->link);
    if (peer->conn && peer->conn->open)
        floe_peers_opened(peer); /* sends it */
    else if (!peer->conn && !floe_timer_armed(&peer->retry))
        connect_now(peer);
}

static void op_cancel(struct floe_peers *base, struct floe_peer_call *c)
{
    (void)base;
    struct peer_pending *p = c->driver;
    if (!p)
        return;
    c->driver = NULL;
    p->c = NULL;
    p->answered = true;
    floe_timer_stop(&p->timeout);
    floe_list_remove(&p->done_link);
    floe_buf_unref(c->frame);
    c->frame = NULL;
    struct peer_conn *conn = p->conn;
    if (floe_list_empty(&p->link))
        free_if_over(p);
    else if (!conn)
        settle(p);
    else if (conn->peer->conn != conn)
        reap_stale(conn);
}

static void op_close(struct floe_peers *base, void (*closed)(void *user), void *user)
{
    struct peers_uv *u = driver(base);
    FLOE_ASSERT(!u->closing);
    struct floe_error err;
    floe_error_set(&err, FLOE_ECLOSED, "peers: closed");
    u->closing = true;
    u->closed = closed;
    u->closed_user = user;
    FLOE_LIST_EACH_SAFE(n, &u->peers)
    {
        struct peer *peer = FLOE_LIST_ENTRY(n, struct peer, link);
        fail_all(&peer->waiting, &err);
        if (peer->conn) {
            fail_all(&peer->conn->in_flight, &err);
            floe_peer_conn_free(peer->conn);
        }
        FLOE_LIST_EACH_SAFE(s, &peer->stale)
        {
            struct peer_conn *conn = FLOE_LIST_ENTRY(s, struct peer_conn, link);
            fail_all(&conn->in_flight, &err);
            floe_peer_conn_free(conn);
        }
        peer_free(peer);
    }
    floe_timer_start(base->loop, &u->run_finished, 0); /* `closed` runs from there, or with the last handle */
}

static const struct floe_peer_ops ops = {.call = op_call, .cancel = op_cancel, .close = op_close};

enum floe_err floe_peers_uv_create(struct floe_peers **out, struct floe_loop_uv *loop, struct floe_error *err)
{
    struct peers_uv *u = calloc(1, sizeof *u);
    if (!u)
        return floe_error_set(err, FLOE_ENOMEM, "peers: no memory");
    u->base.ops = &ops;
    u->base.loop = floe_loop_uv_base(loop);
    u->uv = floe_loop_uv_raw(loop);
    floe_list_init(&u->peers);
    floe_list_init(&u->finished);
    floe_timer_init(&u->run_finished, on_run_finished, u);
    *out = &u->base;
    return FLOE_OK;
}
