/* The Kafka listeners: sockets, frames, replies, on network threads of their own.
 *
 * What it is: it reads frames whole into one buffer each, charged to the memory budget as their bytes arrive,
 * decodes them, hands them to the core loop, and writes the answers in the order of the requests. What it is
 * not: dispatch or any broker state.
 *
 *  1. No length from the wire is trusted: a frame above `frame_max` closes the connection; memory grows only
 * with bytes that have come.
 *  2. Without room in the budget a socket is not read. When nothing has room, one connection at a time may
 * finish the frame it has begun, so that partial frames never block each other for ever.
 *  3. A connection has at most 64 requests inside, four of those that may have large answers, and is not read
 * while a megabyte of answers waits to be written.
 *  4. A connection whose request asks for it (mute_ms) gets its answer and is then not read for so long;
 * other brokers' are.
 *  5. A malformed or unserved request closes its connection, once those before it are answered, with one log
 * line naming peer, API and reason; no other connection notices.
 */
#ifndef FLOE_NET_SERVER_H
#define FLOE_NET_SERVER_H

#include <floe/net/request.h>

struct floe_listen {
    const char *name;
    const char *host;
    uint16_t port;    /* 0: any; the chosen one is filled in */
    bool for_peers;   /* private APIs are served here */
    const char *flag; /* the setting that names it, for errors; null: --listen */
};
/* A listening socket, not blocking; l->port is filled in. For servers that are not this one, too. */
enum floe_err floe_listen_bind(int *out, struct floe_listen *l, struct floe_error *err) FLOE_MUST_USE;
/* So many connections are let in beyond connections_max on a listener for peers that is not the only one. */
#define FLOE_SERVER_PEERS_BEYOND 64
struct floe_server_config {
    struct floe_loop *core;
    uint32_t threads;
    struct floe_budget *budget;
    uint32_t frame_max;       /* socket.request.max.bytes */
    uint32_t connections_max; /* further ones are closed at once */
    uint32_t idle_ms;         /* connections.max.idle.ms */
    struct floe_listen *listens;
    uint32_t listen_count;
    /* The service. */
    const struct floe_version_range *served;
    uint32_t served_count;
    void *user;
    /* Network thread, after decoding: checks what needs no broker state. False closes the connection with
     * rq->reason. */
    bool (*prepare)(void *user, struct floe_request *rq);
    void (*start)(struct floe_request *rq); /* core loop; rq->client->listener and service_user tell where */
};
struct floe_server;
/* Binds every listener (the ports are then known) and starts the threads, which accept nothing yet. */
enum floe_err floe_server_create(struct floe_server **out, const struct floe_server_config *cfg,
                                 struct floe_error *err) FLOE_MUST_USE;
void floe_server_open(struct floe_server *s); /* accepts from now on */
/* Stops listening and closes every connection; `closed` runs on the core loop when all requests came back and
 * the threads have ended. The core loop must go on until then. */
void floe_server_close(struct floe_server *s, void (*closed)(void *user), void *user);
void floe_server_destroy(struct floe_server **s); /* after `closed` */

struct floe_server_stats {
    _Atomic uint64_t connections, accepted, requests, bytes_in, bytes_out, refused, paused, muted;
};
const struct floe_server_stats *floe_server_stats(const struct floe_server *s);

#endif
