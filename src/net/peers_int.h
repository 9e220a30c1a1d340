/* The libuv peer driver's private parts:
 *   peers_uv.c    the interface: calls, their time-outs, cancel, close; peers by address
 *   peer_conn.c   one connection: resolve, connect, write frames, read frames
 *
 * A *peer* is an address and lane that somebody called. It has at most one current connection; calls wait in
 * the peer until that is open, then they are in flight on it, in order. A connection on which a call timed
 * out takes no new calls (its peer makes another) and goes when its last call does. Everything lives on the
 * loop.
 *
 * What libuv owns until its call-back (a socket, a name lookup, a write) is an object of its own, which
 * outlives the connection: the connection is freed at once and leaves a null behind.
 */
#ifndef FLOE_NET_PEERS_INT_H
#define FLOE_NET_PEERS_INT_H

#include <floe/base/list.h>
#include <floe/base/str.h>
#include <floe/net/peer.h>

#include <uv.h>

#define PEER_CALLS_MAX 256 /* waiting or in flight to one address */
#define PEER_BACKOFF_MIN_US 50000
#define PEER_BACKOFF_MAX_US 1000000
#define PEER_ADDRS_MAX 8 /* addresses tried of one name */

struct peers_uv {
    struct floe_peers base; /* first */
    uv_loop_t *uv;
    struct floe_list peers;    /* struct peer */
    struct floe_list finished; /* struct peer_pending: answered, `done` not run yet */
    struct floe_timer run_finished;
    uint32_t open_handles; /* sockets and lookups that libuv still owns */
    bool closing;
    void (*closed)(void *user);
    void *closed_user;
};
struct peer {
    struct floe_list link;
    struct peers_uv *owner;
    char addr[FLOE_PEER_ADDR_MAX];
    uint8_t lane;
    struct floe_str_addr where;
    struct peer_conn *conn;   /* current, or null */
    struct floe_list waiting; /* calls for it once it is open */
    struct floe_list stale;   /* connections that take no new calls */
    uint32_t calls;
    uint64_t backoff_us; /* 0 after a success */
    struct floe_timer retry;
};
/* A call under way; c->driver points here. */
struct peer_pending {
    struct floe_list link;      /* in peer.waiting or conn.in_flight; self-linked when in neither */
    struct floe_list done_link; /* in owner.finished */
    struct floe_peer_call *c;   /* null once cancelled, or `done` ran */
    bool answered;              /* the response, if it is still due, goes nowhere */
    struct peers_uv *owner;
    struct peer *peer;      /* null when the call never got that far */
    struct peer_conn *conn; /* null while it waits */
    struct floe_timer timeout;
    int32_t correlation;
    bool flexible;
    uint32_t response_max;
};
struct peer_sock;
struct peer_lookup;
struct peer_conn {
    struct floe_list link; /* in peer.stale, or self-linked */
    struct peer *peer;
    struct peer_sock *sock;
    struct peer_lookup *lookup;
    struct sockaddr_storage addrs[PEER_ADDRS_MAX];
    uint32_t addr_n, addr_at;
    bool open, all_refused;
    int32_t next_correlation;
    struct floe_list in_flight; /* in the order of their requests */
    uint8_t len[4];             /* of the frame being read */
    uint32_t len_n;
    struct floe_buf *frame;
};

/* peers_uv.c */
/* A call's response came, or will never: takes it off its connection, `done` runs in a later turn. May free
 * the connection, when that is stale. */
void floe_peers_finish(struct peer_pending *p, const struct floe_error *err);
/* The connection is open: sends what waits. */
void floe_peers_opened(struct peer *peer);
/* The connection failed or ended, and is freed. Calls in flight get `err`; so do waiting ones when it never
 * opened, and the next attempt is put off. */
void floe_peers_lost(struct peer_conn *conn, const struct floe_error *err);
/* Something that libuv owned is gone. */
void floe_peers_handle_gone(struct peers_uv *u);

/* peer_conn.c */
struct peer_conn *floe_peer_conn_make(struct peer *peer);
/* Starts to connect. May lose the connection before it returns. */
void floe_peer_conn_go(struct peer_conn *conn);
enum floe_err floe_peer_conn_send(struct peer_conn *conn, struct peer_pending *p) FLOE_MUST_USE;
/* Steps over a response header (v1 when flexible, else v0). Null, or what is wrong. */
const char *floe_peer_strip_header(struct floe_slice frame, int32_t correlation, bool flexible,
                                   struct floe_slice *body);
/* Detaches from libuv and frees. The lists must be empty. */
void floe_peer_conn_free(struct peer_conn *conn);

#endif
