/* One connection: answers out, in the order of the requests. */
#include "net/server_int.h"
#include <floe/base/assert.h>
#include <floe/base/log.h>
#include <stdio.h>
#include <stdlib.h>

struct reply {
    uv_write_t write;
    struct floe_conn *conn;
    struct floe_bufslice *slices;
    uint32_t count;
    size_t bytes;
    size_t own;  /* of them those in the memory budget */
    size_t held; /* the request's, until the answer is written */
    struct floe_budget *held_budget;
};

static void reply_free(struct reply *r)
{
    for (uint32_t i = 0; i < r->count; i++)
        floe_buf_unref(r->slices[i].buf);
    if (r->held)
        floe_budget_give(r->held_budget, r->held);
    free(r->slices);
    free(r);
}

static void request_free(struct floe_conn *c, struct floe_request *rq)
{
    if (rq->release)
        rq->release(rq);
    if (rq->held)
        floe_budget_give(rq->held_budget, rq->held);
    floe_list_remove(&rq->link);
    c->inside--;
    c->few -= rq->few;
    floe_request_arena_fini(rq);
    floe_buf_unref(rq->frame);
    free(rq);
}

/* Once the socket is closed, what came back from the core is dropped, and with the last of it the connection.
 */
void floe_conn_drop_requests(struct floe_conn *c)
{
    if (!c->closed)
        return;
    FLOE_LIST_EACH_SAFE(it, &c->requests)
    {
        struct floe_request *rq = FLOE_LIST_ENTRY(it, struct floe_request, link);
        if (rq->conn == NULL)
            request_free(c, rq);
    }
    if (c->inside == 0 && c->gone_posted && c->gone_back)
        floe_conn_free(c);
}

static void written(uv_write_t *w, int status)
{
    struct reply *r = w->data;
    struct floe_conn *c = r->conn;
    c->write_bytes -= r->bytes;
    c->own_bytes -= r->own;
    c->held -= r->held;
    c->active_us = c->write_us = floe_loop_now_us(c->t->loop);
    reply_free(r);
    if (status < 0)
        floe_conn_close(c);
    else
        floe_conn_resume(c);
    floe_conn_ended(c);
}

static bool send_reply(struct floe_conn *c, struct reply *r)
{
    uv_buf_t small[16], *bufs = small;
    if (r->count > 16 && !(bufs = malloc(r->count * sizeof *bufs)))
        return false;
    for (uint32_t i = 0; i < r->count; i++) {
        bufs[i] = uv_buf_init((char *)(uintptr_t)r->slices[i].p, (unsigned)r->slices[i].n);
        r->bytes += r->slices[i].n;
    }
    r->conn = c;
    r->write.data = r;
    if (c->write_bytes == 0)
        c->write_us = floe_loop_now_us(c->t->loop);
    c->write_bytes += r->bytes;
    c->own_bytes += r->own;
    c->held += r->held;
    if (r->held)
        c->held_budget = r->held_budget;
    atomic_fetch_add_explicit(&c->t->s->stats.bytes_out, r->bytes, memory_order_relaxed);
    int rc = uv_write(&r->write, (uv_stream_t *)&c->tcp, bufs, r->count, written);
    if (bufs != small)
        free(bufs);
    if (rc < 0) {
        c->held -= r->held;
        c->own_bytes -= r->own;
        c->write_bytes -= r->bytes;
        return false;
    }
    return true;
}

static bool answer(struct floe_conn *c, struct floe_request *rq)
{
    struct floe_error err = {0};
    struct floe_kafka_out out;
    struct reply *r = calloc(1, sizeof *r);
    int16_t version = rq->unsupported ? 0 : rq->head.api_version;
    bool ok = false;
    floe_kafka_out_init(&out, REPLY_MAX, 1u << 20);
    if (!r) {
        floe_error_set(&err, FLOE_ENOMEM, "no memory for an answer");
    } else if (floe_kafka_response_frame(rq->head.api, version, rq->head.correlation_id, rq->response, &out,
                                         &err) == FLOE_OK &&
               (r->own = out.w.n) > 0 &&
               floe_kafka_out_take(&out, c->t->s->cfg.budget, &r->slices, &r->count, &err) == FLOE_OK) {
        r->held = rq->held;
        r->held_budget = rq->held_budget;
        rq->held = 0;
        ok = send_reply(c, r);
    }
    floe_kafka_out_fini(&out);
    if (ok)
        return true;
    if (err.code)
        floe_log_error("net", "answer to %s of %s could not be written: %s", rq->head.api->name,
                       c->client.addr, err.msg);
    if (r)
        reply_free(r);
    return false;
}

void floe_conn_flush(struct floe_conn *c)
{
    bool ok = true;
    while (ok && !c->closing && !floe_list_empty(&c->requests)) {
        struct floe_request *rq = FLOE_LIST_ENTRY(c->requests.next, struct floe_request, link);
        if (rq->conn != NULL)
            break; /* still with the core */
        if (rq->close) {
            if (*rq->reason && c->t->log_left > 0) {
                c->t->log_left--;
                floe_log_warn("net", "closing connection of %s: %s: %s", c->client.addr, rq->head.api->name,
                              rq->reason);
            }
            ok = false;
        } else if (!rq->no_response) {
            ok = answer(c, rq);
        }
        if (rq->mute_ms)
            floe_conn_mute(c, rq->mute_ms);
        request_free(c, rq);
    }
    if (!ok)
        floe_conn_close(c);
    else
        floe_conn_resume(c);
    floe_conn_ended(c);
}

/* A request comes back from the core. */
void floe_conn_returned(struct floe_task *task)
{
    struct floe_request *rq = FLOE_CONTAINER(task, struct floe_request, task);
    struct floe_conn *c = rq->conn;
    rq->conn = NULL; /* marks it as back */
    if (c->closing)
        floe_conn_drop_requests(c);
    else
        floe_conn_flush(c);
}
