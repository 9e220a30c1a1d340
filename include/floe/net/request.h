/* One Kafka request on its way from a socket to a handler on the core loop and back.
 *
 * What it is: the struct that the network threads and the core hand to each other, and the per-connection
 * queue on the core. What it is not: sockets (net/server.h), handlers (api_kafka).
 *
 *  1. A request is owned by one side at a time: the network thread until floe_request_arrive, the core until
 * it calls floe_request_complete, then the network thread again.
 *  2. Requests of a client start in the order of arrival: the next one when the former has called
 * floe_request_next or is complete. Replies leave in the order of arrival.
 *  3. Decoded strings and records borrow from `frame`; a handler that keeps records takes a reference on it.
 */
#ifndef FLOE_NET_REQUEST_H
#define FLOE_NET_REQUEST_H

#include <floe/base/arena.h>
#include <floe/base/buf.h>
#include <floe/kafka/codec.h>
#include <floe/os/loop.h>

struct floe_conn; /* the network thread's */

/* The core's view of a connection. */
struct floe_client {
    char addr[64];                    /* of the peer, for messages */
    uint32_t listener;                /* index of the listener it came by */
    struct floe_list queue;           /* requests in order of arrival; the core's */
    bool gone;                        /* the connection is closed: answers go nowhere */
    bool warned;                      /* what it asks for again and again was logged once */
    bool held;                        /* the first request of the queue runs and lets no other start */
    uint64_t waited_us, waited_at_us; /* how long requests have held up others lately; as of then. The
                                         service's own */
};

struct floe_request {
    struct floe_task task;
    struct floe_list link;      /* the connection's, in order of arrival */
    struct floe_list core_link; /* the client's queue, until floe_request_next or completion */
    struct floe_list own_link;  /* the handler's */
    struct floe_conn *conn;
    struct floe_client *client;
    struct floe_buf *frame;
    struct floe_arena arena;
    size_t decoded; /* bytes of the arena that were taken from that budget when it was decoded */
    struct floe_budget *decoded_budget;
    struct floe_kafka_request_header head;
    void *body;                                /* decoded request; null where `unsupported` */
    bool unsupported;                          /* ApiVersions of a version that is not served */
    void *service;                             /* the server's configured user */
    void *prepared;                            /* what the service's `prepare` made, in the arena */
    void (*start)(struct floe_request *rq);    /* service: begins it, on the core */
    void (*complete)(struct floe_request *rq); /* how it goes back; set by whoever made the request */
    void (*finished)(
        struct floe_request *rq); /* service: told on the core when the answer stands; may be null */
    uint64_t started_us;          /* the service's own */
    uint32_t errors;              /* what the answer refuses: partitions, topics; the service's own */

    /* handler */
    void *state;
    void (*cancel)(struct floe_request *rq); /* the client is gone: finish soon; may be null */
    void (*hurry)(struct floe_request *rq);  /* another kind of request waits behind it; may be null */
    void (*release)(
        struct floe_request *rq); /* on the network thread, after the answer was encoded; may be null */
    bool keep;            /* set before it arrives: runs even if the client has gone by then (Produce) */
    int16_t lookup_error; /* why what was asked for looks unknown, where that is not known for sure; else 0 */
    bool started, queued, done;
    bool hurried; /* another kind of request waits behind it, or did */
    bool few;     /* the connection's: of its kind few are inside at a time */
    /* answer */
    const void *response; /* body; null with no_response or close */
    bool no_response, close;
    uint32_t mute_ms; /* after the answer nothing more is read of the connection for so long (KIP-219) */
    /* Bytes that the answer keeps in memory until it is written, taken from that budget by the handler; given
     * back on the network thread. */
    size_t held;
    struct floe_budget *held_budget;
    char reason[160]; /* of a close, for the log */
};

/* Core loop. Takes the request into its client's queue and starts it when its turn has come. */
void floe_request_arrive(struct floe_request *rq);
/* The request is not looked at any more and its answer not begun: its frame, and what was decoded and
 * allocated, go. What the handler needs still is not in the arena. */
void floe_request_forget(struct floe_request *rq);
/* The arena, and what was taken for it, go. Any thread, by whoever owns the request. */
void floe_request_arena_fini(struct floe_request *rq);
/* The next request of the client may start (this one has taken its place in every order that matters). */
void floe_request_next(struct floe_request *rq);
/* The answer stands: hands the request back. */
void floe_request_complete(struct floe_request *rq);
/* Closes the connection instead of an answer; `reason` goes to the log with the peer and the API. */
void floe_request_close(struct floe_request *rq, const char *fmt, ...) FLOE_PRINTF(2, 3);
/* The connection is closed: requests that have not started are completed without running, but for those
 * marked `keep`; the one that holds the queue is asked to finish. */
void floe_client_gone(struct floe_client *c);
void floe_client_init(struct floe_client *c, const char *addr, uint32_t listener);

/* Bytes of arena that an answer may take beside what decoding took. */
#define FLOE_REQUEST_ANSWER_MAX ((size_t)128 << 20)

/* Decodes header and body of rq->frame. `served` says whether the version is served. FLOE_EUNSUPPORTED and
 * FLOE_EINVAL mean: close, with that reason. Pure. */
struct floe_version_range {
    int16_t key, min, max;
    bool peer; /* on the listener for brokers only */
};
enum floe_err floe_request_parse(struct floe_request *rq, const struct floe_version_range *served, uint32_t n,
                                 bool peer_listener, struct floe_error *err) FLOE_MUST_USE;

#endif
