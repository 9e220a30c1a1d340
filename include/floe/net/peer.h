/* Broker-to-broker calls over the Kafka framing, as an interface: sockets in production, frames in the
 * simulator.
 *
 *  1. floe_peer_call runs on the loop; `done` runs there later, exactly once, unless cancelled.
 *  2. What a peer says is a hint: nothing counts that store or table does not confirm.
 *  3. FLOE_EREFUSED is only for a refused connection (nobody listens at that port); FLOE_ETIMEOUT and
 * FLOE_ECLOSED are other things.
 *  4. Connections are kept by address and lane; a call carries one request body (without header) and gets one
 * response body.
 *  5. Errors: FLOE_EREFUSED; FLOE_EUNAVAILABLE when there is no connection for another reason; FLOE_EINVAL,
 *     FLOE_ETOOLARGE, FLOE_EAGAIN (too many calls to one address): never sent. FLOE_ETIMEOUT and
 * FLOE_ECLOSED: it may have been received.
 *  6. After a failed connect the next attempt is put off, 25 ms to a second; calls wait for it within their
 * time-out.
 *  7. Close answers what is under way with FLOE_ECLOSED, then frees the object and runs `closed`.
 */
#ifndef FLOE_NET_PEER_H
#define FLOE_NET_PEER_H

#include <floe/base/buf.h>
#include <floe/base/err.h>
#include <floe/os/loop.h>

/* The private API keys of src/kafka/peer-messages.txt. */
enum {
    FLOE_BROKER_STATUS = 20030, /* also on clients' listeners: nothing secret, nothing trusted */
    FLOE_PEER_HEARTBEAT = 20000,
    FLOE_PEER_LEASE_CHANGED = 20001,
    FLOE_PEER_TOPIC_DELETED = 20002,
    FLOE_PEER_TOPIC_CHANGED = 20003,
    FLOE_PEER_MOVE_AHEAD = 20010,
    FLOE_PEER_CHAIN = 20020,
    FLOE_PEER_READ = 20021
};
/* Calls of one lane share a connection, and responses come in the order of the requests: what takes its time
 * has a lane of its own. */
enum {
    FLOE_PEER_LANE_CONTROL,
    FLOE_PEER_LANE_WAIT, /* long polls */
    FLOE_PEER_LANE_MOVE, /* what a broker of an older version closes the connection for */
    FLOE_PEER_LANE_DATA, /* this one and higher ones: long answers */
};

#define FLOE_PEER_ADDR_MAX 272 /* "host:port" with terminator; IPv6 in brackets */
#define FLOE_PEER_RESPONSE_MAX                                                                               \
    (1u << 20) /* bytes, unless the call says so; a longer one closes the connection */
#define FLOE_PEER_REQUEST_MAX (128u << 20)

struct floe_peers;
struct floe_peer_call {
    /* in; all owned by the caller until done or cancel */
    char addr[FLOE_PEER_ADDR_MAX];
    int16_t api_key, api_version;
    uint8_t lane;
    bool flexible;              /* request header v2 and response header v1 */
    struct floe_bufslice *body; /* request body in pieces */
    uint32_t body_count;
    uint64_t timeout_us;
    uint32_t response_max;      /* bytes; 0: FLOE_PEER_RESPONSE_MAX */
    struct floe_budget *budget; /* what the response is charged to, past its limit if need be; may be null */
    void (*done)(struct floe_peer_call *c);
    void *user;
    /* out */
    struct floe_error err;
    struct floe_buf *frame;     /* owned by the call; drop with floe_buf_unref */
    struct floe_slice response; /* response body inside frame, after its header */
    void *driver;
};
struct floe_peer_ops {
    void (*call)(struct floe_peers *p, struct floe_peer_call *c);
    void (*cancel)(struct floe_peers *p, struct floe_peer_call *c);
    void (*close)(struct floe_peers *p, void (*closed)(void *user), void *user);
};
struct floe_peers {
    const struct floe_peer_ops *ops;
    struct floe_loop *loop;
};
/* The libuv driver: connections on the given libuv loop (the core's). */
struct floe_loop_uv;
enum floe_err floe_peers_uv_create(struct floe_peers **out, struct floe_loop_uv *loop,
                                   struct floe_error *err) FLOE_MUST_USE;

#endif
