/* One connection to a peer: see peers_int.h. */
#include "net/peers_int.h"

#include <floe/base/assert.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#define CLIENT_ID "floe"

struct peer_sock {
    uv_tcp_t tcp;
    uv_connect_t connect;
    struct peers_uv *owner;
    struct peer_conn *conn; /* null once detached */
};
struct peer_lookup {
    uv_getaddrinfo_t req;
    struct peers_uv *owner;
    struct peer_conn *conn; /* null once detached */
};
struct peer_write {
    uv_write_t req;
    uint8_t bytes[];
};

static void try_next(struct peer_conn *conn, int why);

static void lost(struct peer_conn *conn, enum floe_err code, const char *what)
{
    struct floe_error err;
    floe_error_set(&err, code, "peer %s: %s", conn->peer->addr, what);
    floe_peers_lost(conn, &err);
}

/* Sockets. */

static void on_sock_closed(uv_handle_t *h)
{
    struct peer_sock *s = FLOE_CONTAINER(h, struct peer_sock, tcp);
    struct peers_uv *u = s->owner;
    free(s);
    floe_peers_handle_gone(u);
}

static void drop_sock(struct peer_conn *conn)
{
    if (!conn->sock)
        return;
    conn->sock->conn = NULL;
    uv_close((uv_handle_t *)&conn->sock->tcp, on_sock_closed);
    conn->sock = NULL;
}

void floe_peer_conn_free(struct peer_conn *conn)
{
    FLOE_ASSERT(floe_list_empty(&conn->in_flight));
    drop_sock(conn);
    if (conn->lookup) {
        conn->lookup->conn = NULL;
        uv_cancel((uv_req_t *)&conn->lookup->req);
    }
    floe_buf_unref(conn->frame);
    floe_list_remove(&conn->link);
    free(conn);
}

/* Reading. Exactly a length, then exactly a frame: the socket's buffer holds what comes after. */

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    struct peer_conn *conn = FLOE_CONTAINER(h, struct peer_sock, tcp)->conn;
    (void)hint;
    *buf = uv_buf_init(NULL, 0);
    if (!conn)
        return;
    if (!conn->frame)
        *buf = uv_buf_init((char *)conn->len + conn->len_n, 4 - conn->len_n);
    else
        *buf = uv_buf_init((char *)conn->frame->data + conn->frame->n,
                           (unsigned)(floe_be32(conn->len) - conn->frame->n));
}

const char *floe_peer_strip_header(struct floe_slice frame, int32_t correlation, bool flexible,
                                   struct floe_slice *body)
{
    struct floe_reader r = floe_reader(frame);
    int32_t got = (int32_t)floe_read_be32(&r);
    if (r.bad || got != correlation)
        return "it answered another request than was sent";
    uint32_t tags = flexible ? floe_read_uvarint32(&r) : 0;
    for (; tags > 0 && !r.bad; tags--) {
        (void)floe_read_uvarint32(&r);
        uint32_t n = floe_read_uvarint32(&r);
        (void)floe_reader_take(&r, n);
    }
    if (r.bad)
        return "malformed response header";
    *body = floe_slice(r.p, (size_t)(r.end - r.p));
    return NULL;
}

/* A whole frame is there. False when the connection is gone. */
static bool on_frame(struct peer_conn *conn)
{
    struct floe_list *first = floe_list_empty(&conn->in_flight) ? NULL : conn->in_flight.next;
    struct floe_buf *frame = conn->frame;
    struct floe_slice body = {0};
    const char *wrong = "it sent a response to nothing";
    struct peer_pending *p = first ? FLOE_LIST_ENTRY(first, struct peer_pending, link) : NULL;
    conn->frame = NULL;
    conn->len_n = 0;
    if (p)
        wrong = floe_peer_strip_header(floe_slice(frame->data, frame->n), p->correlation, p->flexible, &body);
    if (wrong) {
        floe_buf_unref(frame);
        lost(conn, FLOE_ECLOSED, wrong);
        return false;
    }
    if (!p->answered) {
        p->c->frame = frame;
        p->c->response = body;
    } else {
        floe_buf_unref(frame);
    }
    static const struct floe_error none;
    floe_peers_finish(p, &none); /* may free a stale connection */
    return true;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct peer_conn *conn = FLOE_CONTAINER(stream, struct peer_sock, tcp)->conn;
    (void)buf;
    if (!conn || n == 0)
        return;
    if (n < 0) {
        lost(conn, FLOE_ECLOSED, n == UV_EOF ? "it closed the connection" : uv_strerror((int)n));
        return;
    }
    if (conn->frame) {
        conn->frame->n += (size_t)n;
        if (conn->frame->n == floe_be32(conn->len))
            (void)on_frame(conn);
        return;
    }
    conn->len_n += (uint32_t)n;
    if (conn->len_n < 4)
        return;
    struct floe_list *first = floe_list_empty(&conn->in_flight) ? NULL : conn->in_flight.next;
    const struct peer_pending *p = first ? FLOE_LIST_ENTRY(first, struct peer_pending, link) : NULL;
    uint32_t len = floe_be32(conn->len), most = p ? p->response_max : FLOE_PEER_RESPONSE_MAX;
    if (len < 4 || len > most) {
        char what[96];
        snprintf(what, sizeof what, "a response of %u bytes, 4 to %u are allowed", len, most);
        lost(conn, FLOE_ECLOSED, what);
        return;
    }
    conn->frame = floe_buf_create_forced(len, p && p->c ? p->c->budget : NULL);
    if (!conn->frame)
        lost(conn, FLOE_ENOMEM, "no memory for a response");
}

/* Connecting. */

static void on_connect(uv_connect_t *req, int status)
{
    struct peer_sock *s = FLOE_CONTAINER(req, struct peer_sock, connect);
    struct peer_conn *conn = s->conn;
    if (!conn)
        return;
    if (status == 0)
        status = uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_read);
    if (status != 0) {
        try_next(conn, status);
        return;
    }
    uv_tcp_nodelay(&s->tcp, 1);
    uv_tcp_keepalive(&s->tcp, 1, 30);
    conn->open = true;
    floe_peers_opened(conn->peer);
}

/* One attempt. A uv error, or 0 when on_connect will tell. */
static int attempt(struct peer_conn *conn, const struct sockaddr *to)
{
    struct peers_uv *u = conn->peer->owner;
    struct peer_sock *s = calloc(1, sizeof *s);
    if (!s)
        return UV_ENOMEM;
    s->owner = u;
    int e = uv_tcp_init(u->uv, &s->tcp);
    if (e != 0) {
        free(s);
        return e;
    }
    u->open_handles++;
    s->conn = conn;
    conn->sock = s;
    return uv_tcp_connect(&s->connect, &s->tcp, to, on_connect);
}

/* Tries the next address after one that failed with `why` (0 at first); gives up after the last. */
static void try_next(struct peer_conn *conn, int why)
{
    while (true) {
        if (why != 0 && why != UV_ECONNREFUSED)
            conn->all_refused = false;
        drop_sock(conn);
        if (conn->addr_at == conn->addr_n) {
            lost(conn, conn->all_refused && conn->addr_n > 0 ? FLOE_EREFUSED : FLOE_EUNAVAILABLE,
                 why != 0 ? uv_strerror(why) : "no address");
            return;
        }
        why = attempt(conn, (const struct sockaddr *)&conn->addrs[conn->addr_at++]);
        if (why == 0)
            return;
    }
}

static void on_lookup(uv_getaddrinfo_t *req, int status, struct addrinfo *all)
{
    struct peer_lookup *l = FLOE_CONTAINER(req, struct peer_lookup, req);
    struct peers_uv *u = l->owner;
    struct peer_conn *conn = l->conn;
    free(l);
    if (conn) {
        conn->lookup = NULL;
        for (struct addrinfo *a = all; a && conn->addr_n < PEER_ADDRS_MAX; a = a->ai_next)
            memcpy(&conn->addrs[conn->addr_n++], a->ai_addr, a->ai_addrlen);
        conn->all_refused = status == 0;
        try_next(conn, status);
    }
    uv_freeaddrinfo(all);
    floe_peers_handle_gone(u);
}

static int look_up(struct peer_conn *conn)
{
    const struct floe_str_addr *where = &conn->peer->where;
    struct peers_uv *u = conn->peer->owner;
    char port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    struct peer_lookup *l = calloc(1, sizeof *l);
    if (!l)
        return UV_ENOMEM;
    snprintf(port, sizeof port, "%u", where->port);
    l->owner = u;
    l->conn = conn;
    int e = uv_getaddrinfo(u->uv, &l->req, on_lookup, where->host, port, &hints);
    if (e != 0) {
        free(l);
        return e;
    }
    u->open_handles++;
    conn->lookup = l;
    return 0;
}

struct peer_conn *floe_peer_conn_make(struct peer *peer)
{
    struct peer_conn *conn = calloc(1, sizeof *conn);
    if (!conn)
        return NULL;
    conn->peer = peer;
    conn->all_refused = true;
    floe_list_init(&conn->link);
    floe_list_init(&conn->in_flight);
    return conn;
}

void floe_peer_conn_go(struct peer_conn *conn)
{
    const struct floe_str_addr *where = &conn->peer->where;
    int e = 0;
    /* Addresses need no lookup, which would go through a thread. */
    if (uv_ip4_addr(where->host, where->port, (struct sockaddr_in *)&conn->addrs[0]) == 0 ||
        uv_ip6_addr(where->host, where->port, (struct sockaddr_in6 *)&conn->addrs[0]) == 0)
        conn->addr_n = 1;
    else
        e = look_up(conn);
    if (conn->addr_n > 0 || e != 0)
        try_next(conn, e);
}

/* Writing. */

static void on_write(uv_write_t *req, int status)
{
    (void)status; /* a failed write is seen by the reader, too */
    free(FLOE_CONTAINER(req, struct peer_write, req));
}

enum floe_err floe_peer_conn_send(struct peer_conn *conn, struct peer_pending *p)
{
    const struct floe_peer_call *c = p->c;
    size_t head = 4 + 2 + 2 + 4 + 2 + strlen(CLIENT_ID) + (c->flexible ? 1 : 0), n = head;
    for (uint32_t i = 0; i < c->body_count; i++)
        n += c->body[i].n;
    struct peer_write *w = malloc(sizeof *w + n);
    if (!w)
        return FLOE_ENOMEM;
    p->correlation = conn->next_correlation;
    conn->next_correlation = conn->next_correlation == INT32_MAX ? 0 : conn->next_correlation + 1;
    floe_put_be32(w->bytes, (uint32_t)(n - 4));
    floe_put_be16(w->bytes + 4, (uint16_t)c->api_key);
    floe_put_be16(w->bytes + 6, (uint16_t)c->api_version);
    floe_put_be32(w->bytes + 8, (uint32_t)p->correlation);
    floe_put_be16(w->bytes + 12, (uint16_t)strlen(CLIENT_ID));
    memcpy(w->bytes + 14, CLIENT_ID, strlen(CLIENT_ID));
    if (c->flexible)
        w->bytes[head - 1] = 0; /* no tags */
    size_t at = head;
    for (uint32_t i = 0; i < c->body_count; i++) {
        if (c->body[i].n > 0)
            memcpy(w->bytes + at, c->body[i].p, c->body[i].n);
        at += c->body[i].n;
    }
    /* The bytes are copied: a cancelled call's are the caller's again at once. */
    uv_buf_t buf = uv_buf_init((char *)w->bytes, (unsigned)n);
    if (uv_write(&w->req, (uv_stream_t *)&conn->sock->tcp, &buf, 1, on_write) != 0) {
        free(w);
        return FLOE_ECLOSED;
    }
    p->conn = conn;
    floe_list_push_back(&conn->in_flight, &p->link);
    return FLOE_OK;
}
