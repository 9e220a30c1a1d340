#include "lease_int.h"

#include <stdio.h>
#include <stdlib.h>

static void free_op(struct lease_op *op)
{
    switch (op->kind) {
    case LEASE_OP_TABLE:
        floe_table_req_fini(&op->u.table);
        break;
    case LEASE_OP_STORE:
        floe_store_req_fini(&op->u.store);
        floe_buf_unref(op->body.buf);
        break;
    case LEASE_OP_PEER:
        floe_buf_unref(op->u.peer.frame);
        break;
    }
    free(op->text);
    free(op);
}

/* ---- how long is waited ------------------------------------------------------------------------------
 *
 * A lost answer must be found out soon, so a step gets a short time. Where all answers take longer than that
 * (a slow store, a machine that has too much to do), each would be given up before it is here, and sent
 * again, for ever: so what was waited for in vain is waited for four times as long the next time, and answers
 * bring that down again to what they take themselves. */

static uint64_t *pace(struct lease_op *op)
{
    uint64_t *p = op->l->pace_us;
    if (op->kind == LEASE_OP_TABLE)
        return &p[op->u.table.kind];
    return op->u.store.kind == FLOE_STORE_LIST  ? &p[LEASE_PACE_LIST]
           : op->u.store.kind == FLOE_STORE_GET ? &p[LEASE_PACE_OBJECT_GET]
                                                : &p[LEASE_PACE_OBJECT_PUT];
}

static void learn(struct lease_op *op)
{
    enum floe_err code = op->kind == LEASE_OP_TABLE ? op->u.table.err.code : op->u.store.err.code;
    uint64_t took = lease_now(op->l) - op->started_us, *p = pace(op);
    bool gone = op->kind == LEASE_OP_TABLE ? op->u.table.unanswered > 0 : took >= op->patience_us;
    bool answered =
        code == FLOE_OK || code == FLOE_ENOTFOUND || code == FLOE_ECONFLICT || code == FLOE_EEXISTS;
    if (answered && !gone) /* else nobody knows which copy was answered */
        *p = FLOE_MAX(*p / 2, 2 * took);
    else if (!answered && gone)
        *p = FLOE_MAX(*p, 4 * op->patience_us);
    *p = FLOE_MIN(*p, op->l->lease_us / 2);
}

/* The own record's requests keep the session alive. */
static bool is_own(const struct floe_lease *l, const char *key)
{
    char own[FLOE_TABLE_KEY_MAX];
    if (l->own.name.node == 0)
        return false;
    lease_node_key(own, l->own.name.node);
    return strcmp(own, key) == 0;
}

static void submit_table(struct lease_op *op, uint64_t timeout_us)
{
    struct floe_table_req *r = &op->u.table;
    uint64_t least_us = FLOE_MIN(FLOE_MAX(timeout_us / 4, (uint64_t)LEASE_COPY_US_MIN), timeout_us);
    op->patience_us = r->copy_us = FLOE_MAX(least_us, *pace(op));
    r->timeout_us = FLOE_MAX(timeout_us, *pace(op) > least_us ? 2 * *pace(op) : 0);
    r->urgent = is_own(op->l, r->key);
    floe_table_submit(op->l->cfg.table, r);
}

static void submit_store(struct lease_op *op)
{
    op->patience_us = FLOE_MAX(lease_step_us(op->l), *pace(op));
    op->u.store.timeout_us = op->patience_us;
    floe_store_submit(op->l->cfg.store, &op->u.store);
}

/* The op is off the list while its function runs, so that a close from there does not cancel it. */
static void finish(struct lease_op *op)
{
    floe_list_remove(&op->link);
    if (op->kind != LEASE_OP_PEER)
        learn(op);
    op->fn(op);
    free_op(op);
}

static void table_done(struct floe_table_req *r)
{
    finish(r->user);
}

static void store_done(struct floe_store_req *r)
{
    finish(r->user);
}

static void peer_done(struct floe_peer_call *c)
{
    finish(c->user);
}

static struct lease_op *make(struct floe_lease *l, enum lease_op_kind kind, void (*fn)(struct lease_op *),
                             void *ctx)
{
    struct lease_op *op = lease_alloc(sizeof *op);
    op->l = l;
    op->kind = kind;
    op->fn = fn;
    op->ctx = ctx;
    op->started_us = lease_now(l);
    floe_list_push_back(&l->ops, &op->link);
    return op;
}

static struct lease_op *make_table(struct floe_lease *l, enum floe_table_kind kind, const char *key,
                                   void (*fn)(struct lease_op *), void *ctx)
{
    struct lease_op *op = make(l, LEASE_OP_TABLE, fn, ctx);
    op->u.table.kind = kind;
    op->u.table.done = table_done;
    op->u.table.user = op;
    snprintf(op->u.table.key, sizeof op->u.table.key, "%s", key);
    return op;
}

struct lease_op *lease_op_get(struct floe_lease *l, const char *key, uint64_t timeout_us,
                              void (*fn)(struct lease_op *), void *ctx)
{
    struct lease_op *op = make_table(l, FLOE_TABLE_GET, key, fn, ctx);
    submit_table(op, timeout_us);
    return op;
}

struct lease_op *lease_op_put(struct floe_lease *l, const char *key, const char *if_version, char *text,
                              uint64_t timeout_us, void (*fn)(struct lease_op *), void *ctx)
{
    FLOE_ASSERT(text != NULL);
    struct lease_op *op = make_table(l, FLOE_TABLE_PUT, key, fn, ctx);
    op->text = text;
    op->u.table.value = text;
    op->u.table.value_n = strlen(text);
    snprintf(op->u.table.if_version, sizeof op->u.table.if_version, "%s", if_version);
    submit_table(op, timeout_us);
    return op;
}

struct lease_op *lease_op_scan(struct floe_lease *l, const char *prefix, const char *start_after,
                               void (*fn)(struct lease_op *), void *ctx)
{
    struct lease_op *op = make_table(l, FLOE_TABLE_SCAN, prefix, fn, ctx);
    snprintf(op->u.table.start_after, sizeof op->u.table.start_after, "%s", start_after);
    op->u.table.max_keys = 1000;
    submit_table(op, l->lease_us / 3);
    return op;
}

static struct lease_op *make_store(struct floe_lease *l, enum floe_store_kind kind, const char *key,
                                   void (*fn)(struct lease_op *), void *ctx)
{
    struct lease_op *op = make(l, LEASE_OP_STORE, fn, ctx);
    op->u.store.kind = kind;
    op->u.store.cls = FLOE_STORE_CONTROL;
    op->u.store.attempts = 1;
    op->u.store.done = store_done;
    op->u.store.user = op;
    snprintf(op->u.store.key, sizeof op->u.store.key, "%s", key);
    return op;
}

struct lease_op *lease_op_list(struct floe_lease *l, const char *prefix, const char *start_after,
                               void (*fn)(struct lease_op *), void *ctx)
{
    struct lease_op *op = make_store(l, FLOE_STORE_LIST, prefix, fn, ctx);
    snprintf(op->u.store.start_after, sizeof op->u.store.start_after, "%s", start_after);
    op->u.store.max_keys = FLOE_STORE_LIST_MAX;
    submit_store(op);
    return op;
}

struct lease_op *lease_op_object_get(struct floe_lease *l, const char *key, uint64_t length,
                                     void (*fn)(struct lease_op *), void *ctx)
{
    struct lease_op *op = make_store(l, FLOE_STORE_GET, key, fn, ctx);
    op->u.store.length = length;
    submit_store(op);
    return op;
}

struct lease_op *lease_op_object_create(struct floe_lease *l, const char *key, const char *nonce,
                                        struct floe_slice bytes, void (*fn)(struct lease_op *), void *ctx)
{
    struct lease_op *op = make_store(l, FLOE_STORE_PUT, key, fn, ctx);
    struct floe_buf *buf = floe_buf_create_forced(bytes.n, NULL); /* may outlive a cancel */
    FLOE_ASSERT(buf != NULL);
    memcpy(buf->data, bytes.p, bytes.n);
    buf->n = bytes.n;
    op->body = (struct floe_bufslice){.buf = buf, .p = buf->data, .n = bytes.n};
    op->u.store.cond = FLOE_PUT_CREATE;
    op->u.store.body = &op->body;
    op->u.store.body_count = 1;
    snprintf(op->u.store.nonce, sizeof op->u.store.nonce, "%s", nonce);
    submit_store(op);
    return op;
}

struct lease_op *lease_op_call(struct floe_lease *l, const char *addr, int16_t api_key, uint8_t lane,
                               char *text, size_t n, uint64_t timeout_us, void (*fn)(struct lease_op *),
                               void *ctx)
{
    struct lease_op *op = make(l, LEASE_OP_PEER, fn, ctx);
    op->text = text;
    op->body = (struct floe_bufslice){.p = (const uint8_t *)text, .n = n};
    op->u.peer.api_key = api_key;
    op->u.peer.lane = lane;
    op->u.peer.flexible = true;
    op->u.peer.body = &op->body;
    op->u.peer.body_count = 1;
    op->u.peer.timeout_us = timeout_us;
    op->u.peer.done = peer_done;
    op->u.peer.user = op;
    snprintf(op->u.peer.addr, sizeof op->u.peer.addr, "%s", addr);
    l->cfg.peers->ops->call(l->cfg.peers, &op->u.peer);
    return op;
}

void lease_op_cancel(struct lease_op *op)
{
    if (op == NULL)
        return;
    switch (op->kind) {
    case LEASE_OP_TABLE:
        floe_table_cancel(op->l->cfg.table, &op->u.table);
        break;
    case LEASE_OP_STORE:
        floe_store_cancel(op->l->cfg.store, &op->u.store);
        break;
    case LEASE_OP_PEER:
        op->l->cfg.peers->ops->cancel(op->l->cfg.peers, &op->u.peer);
        break;
    }
    floe_list_remove(&op->link);
    free_op(op);
}

void lease_ops_cancel_all(struct floe_lease *l)
{
    while (!floe_list_empty(&l->ops))
        lease_op_cancel(FLOE_LIST_ENTRY(l->ops.next, struct lease_op, link));
}
