/* The front door of a broker process: what its network threads do with a connection. Frames come in order,
 * are charged to the memory budget, parsed and prepared, and handed to the core; answers are encoded. */
#include <stdlib.h>

#include <floe/base/assert.h>

#include "simcluster_int.h"

#define NO_MEMORY_US 5000      /* a socket that is not read is looked at again */
#define FORCED_AFTER_US 500000 /* one frame is let through, past the limit (net/server.h, 2) */

struct simconn {
    struct floe_client client;
    struct simproc *proc; /* null once it is dead */
    struct floe_sim *sim;
    struct floe_list link;  /* simproc.conns */
    struct floe_list inbox; /* struct arrival */
    struct floe_list order; /* struct simrequest: not answered, by arrival */
    struct floe_sim_event read, gone;
    uint32_t refs;   /* of the client and of its calls */
    uint32_t inside; /* requests that the core has */
    bool closed;     /* the broker knows that it is */
};
struct arrival {
    struct floe_list link;
    struct simcall *call; /* null: its client has given up */
    uint64_t at_us;
    size_t n;
    uint8_t frame[];
};
struct simrequest {
    struct floe_request rq; /* first */
    struct floe_list link;  /* simproc.requests */
    struct simproc *proc;
    struct simconn *conn;   /* a client's, else null */
    struct simcall *call;   /* who waits for the answer; may be null */
    struct floe_list order; /* simconn.order */
    bool decided;           /* what the answer is; those before it may be open */
    struct floe_client peer;
    struct floe_sim_reply *reply; /* a peer's */
};

/* ---- connections ---- */

static void conn_drop_inbox(struct simconn *n)
{
    for (struct floe_list *l; (l = floe_list_pop_front(&n->inbox));) {
        struct arrival *a = FLOE_LIST_ENTRY(l, struct arrival, link);
        if (a->call)
            simcall_left_door(a->call);
        free(a);
    }
}
static void conn_maybe_free(struct simconn *n)
{
    if (n->refs || n->inside || (n->proc && !n->closed))
        return;
    floe_sim_unschedule(n->sim, &n->read);
    floe_sim_unschedule(n->sim, &n->gone);
    conn_drop_inbox(n);
    floe_list_remove(&n->link);
    free(n);
}
static void on_gone(struct floe_sim_event *e)
{
    struct simconn *n = FLOE_CONTAINER(e, struct simconn, gone);
    if (!n->closed) {
        n->closed = true;
        n->inside++; /* it stays until all of them have been completed */
        conn_drop_inbox(n);
        floe_client_gone(&n->client);
        n->inside--;
    }
    conn_maybe_free(n);
}
void simconn_close(struct simconn *n, uint64_t after_us)
{
    if (n->proc && !n->closed && !n->gone.heap_at)
        floe_sim_after(n->sim, &n->gone, after_us);
    simconn_unref(n);
}
void simconn_unref(struct simconn *n)
{
    n->refs--;
    conn_maybe_free(n);
}
struct simconn *simconn_ref(struct simconn *n)
{
    n->refs++;
    return n;
}
static void on_read(struct floe_sim_event *e);
struct simconn *simconn_open(struct simproc *p)
{
    struct simconn *n = calloc(1, sizeof *n);
    FLOE_ASSERT(n);
    floe_client_init(&n->client, "client", 0);
    n->proc = p;
    n->sim = p->c->sim;
    n->refs = 1;
    floe_list_init(&n->inbox);
    floe_list_init(&n->order);
    n->read = (struct floe_sim_event){.fn = on_read, .node = p->node};
    n->gone = (struct floe_sim_event){.fn = on_gone, .node = p->node};
    floe_list_push_back(&p->conns, &n->link);
    return n;
}
bool simconn_is_open(const struct simconn *n, const struct simproc *p)
{
    return n->proc == p && !n->closed && !n->gone.heap_at;
}

/* ---- requests ---- */

/* The answer as it leaves: the whole frame behind its length. */
static uint8_t *encode(struct floe_request *rq, size_t *n)
{
    struct floe_error err = {0};
    struct floe_kafka_out out;
    struct floe_bufslice *slices = NULL;
    uint32_t count = 0;
    floe_kafka_out_init(&out, 64 << 20, 1 << 16);
    if (floe_kafka_response_frame(rq->head.api, rq->unsupported ? 0 : rq->head.api_version,
                                  rq->head.correlation_id, rq->response, &out, &err) ||
        floe_kafka_out_take(&out, NULL, &slices, &count, &err))
        FLOE_ASSERT(false); /* an answer that cannot be encoded */
    floe_kafka_out_fini(&out);
    *n = 0;
    for (uint32_t i = 0; i < count; i++)
        *n += slices[i].n;
    uint8_t *frame = malloc(*n);
    FLOE_ASSERT(frame);
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(frame + at, slices[i].p, slices[i].n);
        at += slices[i].n;
        floe_buf_unref(slices[i].buf);
    }
    free(slices);
    return frame;
}
static void request_fini(struct simrequest *r)
{
    struct floe_request *rq = &r->rq;
    if (rq->release)
        rq->release(rq);
    if (rq->held)
        floe_budget_give(rq->held_budget, rq->held);
    floe_arena_fini(&rq->arena);
    floe_buf_unref(rq->frame);
    floe_list_remove(&r->link);
}
/* What a session tells of its next key may be too low, never too high: brokers of other makes may look at it
 * seldom. */
static bool tells_less(struct simcluster *c, struct floe_slice body, struct floe_writer *w)
{
    const struct floe_kafka_msg *m = &floe_kafka_PeerHeartbeatResponse_desc;
    struct floe_kafka_PeerHeartbeatResponse *rs;
    struct floe_arena arena;
    struct floe_error err;
    floe_arena_init(&arena, 1 << 16);
    FLOE_ASSERT(floe_kafka_decode(m, 0, body, &arena, (void **)&rs, &err) == FLOE_OK);
    bool less = rs->NextKey > 0 && floe_rng_below(&c->rng, 2);
    if (less) {
        rs->NextKey -= (int64_t)floe_rng_below(&c->rng, (uint64_t)FLOE_MIN(rs->NextKey, 100) + 1);
        FLOE_ASSERT(floe_kafka_encode(m, 0, rs, w, &err) == FLOE_OK);
    }
    floe_arena_fini(&arena);
    return less;
}
/* A peer's answer goes without its header: the peers' interface carries bodies. */
static void answer_peer(struct simrequest *r, const uint8_t *frame, size_t n)
{
    struct floe_slice body = {0};
    struct floe_error err;
    int32_t id;
    if (frame && floe_kafka_read_response_header(r->rq.head.api, r->rq.head.api_version,
                                                 floe_slice(frame + 4, n - 4), &id, &body, &err))
        FLOE_ASSERT(false);
    struct floe_writer w;
    floe_writer_init(&w, 256);
    if (body.n && r->proc->c->shape.theme == SIM_THEME_RETURN && r->rq.head.api->key == FLOE_PEER_HEARTBEAT &&
        tells_less(r->proc->c, body, &w))
        body = floe_slice(w.p, w.n);
    floe_sim_net_reply(r->reply, frame ? body.p : NULL, body.n);
    floe_writer_fini(&w);
}
/* Answers leave in the order of the requests. */
static void send_answers(struct simconn *conn)
{
    while (!floe_list_empty(&conn->order)) {
        struct simrequest *r = FLOE_LIST_ENTRY(conn->order.next, struct simrequest, order);
        if (!r->decided)
            return;
        floe_list_remove(&r->order);
        floe_list_remove(&r->link);
        /* Its client is in use until this turn has ended. */
        floe_list_push_back(&r->proc->answered, &r->link);
        floe_sim_after(r->proc->c->sim, &r->proc->sweep, 0);
        if (r->call)
            simcall_answer(r->call, r->call->err);
    }
}
static void on_complete(struct floe_request *rq)
{
    struct simrequest *r = FLOE_CONTAINER(rq, struct simrequest, rq);
    struct simconn *conn = r->conn;
    bool closes = rq->close;
    size_t n = 0;
    uint8_t *frame = rq->no_response || closes ? NULL : encode(rq, &n);
    if (r->reply)
        answer_peer(r, frame, n);
    if (closes)
        floe_sim_note(r->proc->c->sim, r->proc->node, "closes a connection: %s", rq->reason);
    if (r->call)
        simcall_decided(r->call, frame, n, closes);
    free(frame);
    request_fini(r);
    r->decided = true;
    if (conn) {
        floe_list_push_back(&r->proc->decided, &r->link);
        send_answers(conn);
        if (closes && !conn->gone.heap_at)
            floe_sim_after(conn->sim, &conn->gone, 0);
    } else {
        floe_list_push_back(&r->proc->answered, &r->link);
        floe_sim_after(r->proc->c->sim, &r->proc->sweep, 0);
    }
}
static void sweep(struct simproc *p)
{
    for (struct floe_list *l; (l = floe_list_pop_front(&p->answered));) {
        struct simrequest *r = FLOE_LIST_ENTRY(l, struct simrequest, link);
        struct simconn *conn = r->conn;
        free(r);
        if (!conn)
            continue;
        conn->inside--;
        conn_maybe_free(conn);
    }
}
static void on_sweep(struct floe_sim_event *e)
{
    sweep(FLOE_CONTAINER(e, struct simproc, sweep));
}
void simdoor_init(struct simproc *p)
{
    floe_list_init(&p->conns);
    floe_list_init(&p->requests);
    floe_list_init(&p->answered);
    floe_list_init(&p->decided);
    p->sweep.fn = on_sweep;
}
/* Hands a frame to the core. */
static void take(struct simproc *p, struct simconn *conn, struct simcall *call, struct floe_sim_reply *reply,
                 struct floe_buf *frame)
{
    uint32_t served_n;
    const struct floe_version_range *served = floe_api_served(&served_n);
    struct simrequest *r = calloc(1, sizeof *r);
    struct floe_error err = {0};
    FLOE_ASSERT(r);
    r->proc = p;
    r->conn = conn;
    r->call = call;
    r->reply = reply;
    floe_list_push_back(&p->requests, &r->link);
    if (!conn)
        floe_client_init(&r->peer, "peer", 0);
    r->rq = (struct floe_request){.client = conn ? &conn->client : &r->peer,
                                  .frame = frame,
                                  .service = floe_core_api(p->core),
                                  .start = floe_api_start,
                                  .complete = on_complete};
    if (conn) {
        conn->inside++;
        floe_list_push_back(&conn->order, &r->order);
    }
    if (floe_request_parse(&r->rq, served, served_n, !conn, &err) ||
        !floe_api_prepare(floe_core_api(p->core), &r->rq)) {
        r->rq.close = r->rq.done = true;
        snprintf(r->rq.reason, sizeof r->rq.reason, "%.150s", err.code ? err.msg : "not prepared");
        on_complete(&r->rq);
        return;
    }
    floe_request_arrive(&r->rq);
}
static struct floe_buf *frame_buf(struct simproc *p, const uint8_t *bytes, size_t n, bool force)
{
    struct floe_buf *b = force ? floe_buf_create_forced(n, &p->pending) : floe_buf_create(n, &p->pending);
    if (!b)
        return NULL;
    memcpy(b->data, bytes, n);
    b->n = n;
    return b;
}
static void on_read(struct floe_sim_event *e)
{
    struct simconn *n = FLOE_CONTAINER(e, struct simconn, read);
    struct simproc *p = n->proc;
    while (!floe_list_empty(&n->inbox)) {
        struct arrival *a = FLOE_LIST_ENTRY(n->inbox.next, struct arrival, link);
        bool force = floe_sim_now_us(p->c->sim) - a->at_us >= FORCED_AFTER_US;
        struct floe_buf *b = frame_buf(p, a->frame, a->n, force);
        if (!b) {
            floe_sim_after(p->c->sim, &n->read, NO_MEMORY_US);
            return;
        }
        struct simcall *call = a->call;
        floe_list_remove(&a->link);
        free(a);
        n->inside++;
        take(p, n, call, NULL, b);
        n->inside--;
        if (floe_sim_node_dead(p->node))
            return;
    }
    conn_maybe_free(n);
}
void simdoor_arrive(struct simconn *n, struct simcall *call, const uint8_t *frame, size_t bytes)
{
    struct simproc *p = n->proc;
    if (!p || n->closed) {
        simcall_left_door(call);
        return;
    }
    struct arrival *a = malloc(sizeof *a + bytes);
    FLOE_ASSERT(a);
    *a = (struct arrival){.call = call, .n = bytes, .at_us = floe_sim_now_us(p->c->sim)};
    memcpy(a->frame, frame, bytes);
    floe_list_push_back(&n->inbox, &a->link);
    if (!n->read.heap_at)
        on_read(&n->read);
}
void simdoor_peer(void *user, int16_t api_key, int16_t api_version, struct floe_slice body,
                  struct floe_sim_reply *reply)
{
    struct simproc *p = user;
    const struct floe_kafka_api *api = floe_kafka_api_find(api_key);
    if (p->state == PROC_DEAD || p->state == PROC_STARTING || !api) {
        floe_sim_net_reply(reply, NULL, 0);
        return;
    }
    struct floe_writer w;
    floe_writer_init(&w, 256);
    floe_kafka_write_request_header(api, api_version, 1, floe_kstr("peer"), &w);
    struct floe_buf *b = floe_buf_create_forced(w.n + body.n, &p->pending);
    FLOE_ASSERT(b && !w.bad);
    memcpy(b->data, w.p, w.n);
    memcpy(b->data + w.n, body.p, body.n);
    b->n = w.n + body.n;
    floe_writer_fini(&w);
    take(p, NULL, NULL, reply, b);
}
/* The core is destroyed: what it had not answered is dropped. */
void simdoor_reap(struct simproc *p)
{
    struct floe_list *lists[] = {&p->requests, &p->decided, &p->answered};
    for (size_t i = 0; i < FLOE_COUNTOF(lists); i++)
        for (struct floe_list *l; (l = floe_list_pop_front(lists[i]));) {
            struct simrequest *r = FLOE_LIST_ENTRY(l, struct simrequest, link);
            if (i < 2 && r->call)
                simcall_left_door(r->call);
            if (i == 0 && r->reply)
                floe_sim_net_reply(r->reply, NULL, 0);
            if (i == 0)
                request_fini(r);
            floe_list_remove(&r->order);
            free(r);
        }
    floe_sim_unschedule(p->c->sim, &p->sweep);
    while (!floe_list_empty(&p->conns)) {
        struct simconn *n = FLOE_LIST_ENTRY(p->conns.next, struct simconn, link);
        floe_list_remove(&n->link);
        floe_sim_unschedule(n->sim, &n->read);
        floe_sim_unschedule(n->sim, &n->gone);
        conn_drop_inbox(n);
        n->proc = NULL;
        n->inside = 0;
        conn_maybe_free(n);
    }
}
