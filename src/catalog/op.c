/* Creation and deletion of topics, each step a conditional write that anyone may repeat:
 *
 *   create: record creating → first leases → record live → catalog version
 *   alter:  first leases of more partitions → record → catalog version (what it becomes: alter.c)
 *   delete: record deleting → holders stop (stop.c) → leases out → tombstone → catalog version
 */
#include "catalog/catalog_int.h"
#include <floe/base/crc32c.h>
#include <floe/base/mutant.h>
#include <stdio.h>

static void op_read(struct floe_catalog_op *op);
static void op_leases(struct floe_catalog_op *op);

static void op_free(struct floe_catalog_op *op)
{
    floe_timer_stop(&op->timer);
    if (op->in_table)
        floe_table_cancel(op->c->cfg.table, &op->req);
    floe_table_req_fini(&op->req);
    floe_catalog_stop_fini(op);
    floe_catalog_tell_fini(op);
    floe_list_remove(&op->link);
    floe_topic_free(op->topic);
    if (op->edit.free)
        op->edit.free(op->edit.data);
    free(op->value);
    free(op);
}

static void op_finish(struct floe_catalog_op *op, const struct floe_error *err)
{
    floe_catalog_done *done = op->done;
    void *user = op->user;
    struct floe_error e = err ? *err : op->failed;
    struct floe_uuid id = op->topic ? op->topic->id : (struct floe_uuid){{0}};
    op_free(op);
    if (done)
        done(user, &e, &id);
}

static void op_timer(struct floe_timer *t)
{
    struct floe_catalog_op *op = t->user;
    op->again(op);
}

void floe_catalog_op_retry(struct floe_catalog_op *op, void (*again)(struct floe_catalog_op *op))
{
    op->again = again;
    floe_timer_start(op->c->cfg.loop, &op->timer,
                     RETRY_US / 2 + floe_rng_below(&op->c->cfg.loop->rng, RETRY_US));
}

static void op_submit(struct floe_catalog_op *op, void (*done)(struct floe_table_req *))
{
    snprintf(op->req.key, sizeof op->req.key, TOPIC_PREFIX "%s", op->name);
    op->req.done = done;
    op->req.user = op;
    op->in_table = true;
    floe_table_submit(op->c->cfg.table, &op->req);
}

static struct floe_error op_taken(struct floe_catalog_op *op, struct floe_table_req *q)
{
    (void)q;
    op->in_table = false;
    return op->req.err;
}

/* The record was written: what follows from its state. */
static void op_advance(struct floe_catalog_op *op)
{
    switch (op->topic->state) {
    case FLOE_TOPIC_CREATING:
        op_leases(op);
        return;
    case FLOE_TOPIC_DELETING:
        floe_catalog_stop_holders(op);
        return;
    case FLOE_TOPIC_LIVE:
    case FLOE_TOPIC_DELETED:
        floe_lease_bump_catalog(op->c->cfg.lease);
        floe_catalog_tell_peers(op);
        return;
    }
}

void floe_catalog_told(struct floe_catalog_op *op)
{
    op_finish(op, NULL);
}

static void record_written(struct floe_table_req *q)
{
    struct floe_catalog_op *op = q->user;
    struct floe_error err = op_taken(op, q);
    if (!err.code) {
        op->begun = true;
        op->topic->state = op->writing;
        op->topic->rev++;
        memcpy(op->topic->version, q->version, sizeof op->topic->version);
        floe_table_req_fini(q);
        struct floe_topic *copy = floe_topic_copy(op->topic);
        if (copy)
            floe_catalog_apply(op->c, copy);
        op_advance(op);
        return;
    }
    floe_table_req_fini(q);
    op->unsure |= err.code == FLOE_EINDETERMINATE;
    if (err.code == FLOE_EEXISTS || err.code == FLOE_ECONFLICT || err.code == FLOE_EINDETERMINATE)
        op_read(op);
    else if (op->kind == OP_CREATE && !op->begun && (err.code != FLOE_EUNAVAILABLE || !op->done))
        op_finish(op, &err); /* nothing was begun, and it is no passing trouble or nobody waits */
    else
        floe_catalog_op_retry(op, op_read);
}

/* Writes op->topic in a new state over the version it was read at (none: expect absent). */
static void op_write(struct floe_catalog_op *op, enum floe_topic_state state)
{
    struct floe_topic next = *op->topic;
    next.state = state;
    next.rev++;
    free(op->value);
    op->value = floe_topic_encode(&next);
    if (!op->value) {
        floe_catalog_op_retry(op, op_read);
        return;
    }
    op->writing = state;
    op->req =
        (struct floe_table_req){.kind = FLOE_TABLE_PUT, .value = op->value, .value_n = strlen(op->value)};
    if (state == FLOE_TOPIC_DELETED && FLOE_MUTANT(DELETED_FOR_GOOD))
        op->req.kind = FLOE_TABLE_DELETE;
    memcpy(op->req.if_version, op->topic->version, sizeof op->req.if_version);
    op_submit(op, record_written);
}

static void leases_written(void *user, const struct floe_error *err)
{
    struct floe_catalog_op *op = user;
    if (!err->code) {
        op_write(op, FLOE_TOPIC_LIVE);
    } else if (op->kind == OP_ALTER) {
        if (err->code == FLOE_ETOOLARGE || err->code == FLOE_EINVAL)
            op_finish(op, err);
        else
            floe_catalog_op_retry(op, op_read);
    } else if (err->code == FLOE_ETOOLARGE || err->code == FLOE_EINVAL) {
        op->failed = *err; /* it can never be: taken back */
        op->kind = OP_DELETE;
        op_write(op, FLOE_TOPIC_DELETING);
    } else {
        floe_catalog_op_retry(op, op_read); /* others may have finished it, or deleted it */
    }
}

static void op_leases(struct floe_catalog_op *op)
{
    int32_t from = op->kind == OP_ALTER ? op->partitions : 0;
    floe_lease_create_topic(op->c->cfg.lease, &op->topic->id, from, op->topic->partitions, leases_written,
                            op);
}

void floe_catalog_stopped(struct floe_catalog_op *op)
{
    op_write(op, FLOE_TOPIC_DELETED);
}

/* A creation found a record: its own in some state, or somebody's. */
static void create_found(struct floe_catalog_op *op, struct floe_topic *found)
{
    struct floe_error err;
    if (!floe_uuid_eq(&found->id, &op->topic->id)) {
        /* What was begun has been deleted by another, and the name given anew: leases that were written after
         * that go, and nothing comes back. */
        if (op->begun) {
            op->kind = OP_DELETE;
            floe_catalog_stop_holders(op);
            return;
        }
        if (found->state != FLOE_TOPIC_DELETED) {
            floe_error_set(&err, FLOE_EEXISTS, "Topic '%s' already exists.", op->name);
            op_finish(op, &err);
            return;
        }
        /* An earlier write of it may have counted, and been deleted since. */
        floe_rng_uuid(&op->c->cfg.loop->rng, &op->topic->id);
        memcpy(op->topic->version, found->version, sizeof op->topic->version);
        op->topic->rev = found->rev;
        op_write(op, FLOE_TOPIC_CREATING);
        return;
    }
    op->begun = true;
    op->topic->rev = found->rev;
    op->topic->state = found->state;
    memcpy(op->topic->version, found->version, sizeof op->topic->version);
    /* Deleted in the meantime by another: leases that were written after that go as well. */
    if (found->state == FLOE_TOPIC_DELETED) {
        op->kind = OP_DELETE;
        floe_catalog_stop_holders(op);
        return;
    }
    op_advance(op);
}

static void delete_found(struct floe_catalog_op *op, struct floe_topic *found)
{
    struct floe_error err;
    bool other = op->topic && !floe_uuid_eq(&op->topic->id, &found->id);
    if (op->topic && (other || found->state == FLOE_TOPIC_DELETED)) {
        op_finish(op, NULL); /* somebody finished it */
        return;
    }
    if ((!floe_uuid_is_zero(&op->only) && !floe_uuid_eq(&op->only, &found->id)) ||
        (!op->topic && (found->state == FLOE_TOPIC_DELETED || found->state == FLOE_TOPIC_CREATING))) {
        floe_error_set(&err, FLOE_ENOTFOUND, "This server does not host topic '%s'.", op->name);
        op_finish(op, &err);
        return;
    }
    floe_topic_free(op->topic);
    op->topic = floe_topic_copy(found);
    if (!op->topic) {
        floe_error_set(&err, FLOE_ENOMEM, "no memory to delete topic '%s'", op->name);
        op_finish(op, &err);
    } else if (op->topic->state == FLOE_TOPIC_DELETING) {
        floe_catalog_stop_holders(op);
    } else {
        op_write(op, FLOE_TOPIC_DELETING);
    }
}

static void alter_found(struct floe_catalog_op *op, const struct floe_topic *found)
{
    struct floe_error err = {0};
    bool gone =
        op->topic && (found->state >= FLOE_TOPIC_DELETING || !floe_uuid_eq(&op->topic->id, &found->id));
    enum floe_err rc = floe_catalog_edit(op, found, &err);
    if (rc == FLOE_ECANCELLED) {
        op_advance(op);             /* others may not have been told */
    } else if (gone && op->begun) { /* leases that were written after the deletion go as well */
        op->failed = err;
        op->kind = OP_DELETE;
        floe_catalog_stop_holders(op);
    } else if (rc != FLOE_OK) {
        op_finish(op, &err);
    } else if (op->topic->partitions > op->partitions) {
        op->begun = true;
        op_leases(op);
    } else {
        op_write(op, FLOE_TOPIC_LIVE);
    }
}

static void record_read(struct floe_table_req *q)
{
    struct floe_catalog_op *op = q->user;
    struct floe_error err = op_taken(op, q);
    struct floe_topic *t = NULL;
    if (!err.code && floe_topic_decode(&t, op->name, q->got, q->got_n, &err) == FLOE_OK)
        memcpy(t->version, q->version, sizeof t->version);
    floe_table_req_fini(q);
    if (t) {
        struct floe_topic *found = floe_topic_copy(t); /* what was read, not what is cached */
        floe_catalog_apply(op->c, t);
        if (!found) {
            floe_catalog_op_retry(op, op_read);
            return;
        }
        if (op->kind == OP_CREATE)
            create_found(op, found);
        else if (op->kind == OP_ALTER)
            alter_found(op, found);
        else
            delete_found(op, found);
        floe_topic_free(found);
    } else if (err.code == FLOE_ENOTFOUND && op->kind == OP_CREATE && !op->begun) {
        op->topic->version[0] = 0;
        op->topic->rev = 0;
        op_write(op, FLOE_TOPIC_CREATING);
    } else if (err.code == FLOE_ENOTFOUND || err.code == FLOE_ECORRUPT || !op->topic ||
               (op->kind == OP_CREATE && !op->begun)) {
        if (err.code == FLOE_ENOTFOUND)
            floe_error_set(&err, FLOE_ENOTFOUND, "This server does not host topic '%s'.", op->name);
        op_finish(op, &err);
    } else {
        floe_catalog_op_retry(op, op_read);
    }
}

static void op_read(struct floe_catalog_op *op)
{
    op->req = (struct floe_table_req){.kind = FLOE_TABLE_GET};
    op_submit(op, record_read);
}

void floe_catalog_op_read(struct floe_catalog_op *op)
{
    op_read(op);
}

struct floe_catalog_op *floe_catalog_op_new(struct floe_catalog *c, enum op_kind kind, const char *name)
{
    struct floe_catalog_op *op = calloc(1, sizeof *op);
    if (!op)
        return NULL;
    op->c = c;
    op->kind = kind;
    snprintf(op->name, sizeof op->name, "%s", name);
    floe_timer_init(&op->timer, op_timer, op);
    floe_list_push_back(&c->ops, &op->link);
    return op;
}

struct floe_catalog_op *floe_catalog_create_topic(struct floe_catalog *c, const struct floe_topic_spec *spec,
                                                  floe_catalog_done *done, void *user)
{
    struct floe_topic t = {.name = (char *)(uintptr_t)spec->name,
                           .partitions = spec->partitions,
                           .configs = (struct floe_topic_config *)(uintptr_t)spec->configs,
                           .config_count = spec->config_count};
    FLOE_ASSERT(spec->partitions >= 1 && spec->partitions <= FLOE_TOPIC_PARTITIONS_MAX);
    struct floe_catalog_op *op = floe_catalog_op_new(c, OP_CREATE, spec->name);
    if (!op)
        return NULL;
    floe_rng_uuid(&c->cfg.loop->rng, &t.id);
    if (FLOE_MUTANT(TOPIC_ID_BY_NAME))
        for (size_t i = 0, n = strlen(spec->name); i < sizeof t.id.b; i++)
            t.id.b[i] = (uint8_t)spec->name[i % n];
    op->topic = floe_topic_copy(&t);
    if (!op->topic) {
        op_free(op);
        return NULL;
    }
    op->done = done;
    op->user = user;
    /* A cached tombstone saves a read: its version is what the first write expects. */
    struct floe_topic *have = floe_catalog_cached(c, op->name, strlen(op->name));
    if (have && have->state == FLOE_TOPIC_DELETED) {
        memcpy(op->topic->version, have->version, sizeof op->topic->version);
        op->topic->rev = have->rev;
    }
    op_write(op, FLOE_TOPIC_CREATING);
    return op;
}

struct floe_catalog_op *floe_catalog_delete_topic(struct floe_catalog *c, const char *name,
                                                  const struct floe_uuid *id, floe_catalog_done *done,
                                                  void *user)
{
    struct floe_catalog_op *op = floe_catalog_op_new(c, OP_DELETE, name);
    if (!op)
        return NULL;
    if (id)
        op->only = *id;
    op->done = done;
    op->user = user;
    op_read(op);
    return op;
}

void floe_catalog_op_detach(struct floe_catalog_op *op)
{
    op->done = NULL;
}

static bool op_running(const struct floe_catalog *c, const char *name)
{
    FLOE_LIST_EACH(it, &c->ops)
    {
        if (strcmp(FLOE_LIST_ENTRY(it, struct floe_catalog_op, link)->name, name) == 0)
            return true;
    }
    return false;
}

static bool mine_to_finish(struct floe_catalog *c, const struct floe_topic *t)
{
    uint32_t n = floe_lease_nodes(c->cfg.lease, NULL, 0), live = 0;
    struct floe_node_info *nodes = calloc((size_t)n + 1, sizeof *nodes);
    int32_t *ids = calloc((size_t)n + 1, sizeof *ids);
    if (nodes && ids)
        n = FLOE_MIN(floe_lease_nodes(c->cfg.lease, nodes, n), n);
    for (uint32_t i = 0; nodes && ids && i < n; i++) {
        if (nodes[i].state == FLOE_NODE_LIVE)
            ids[live++] = nodes[i].session.node;
    }
    struct floe_tp tp = {t->id, -1};
    bool mine = live && floe_placement_owner(&tp, ids, live) == floe_lease_node_id(c->cfg.lease);
    free(nodes);
    free(ids);
    return mine;
}

void floe_catalog_finish_half_made(struct floe_catalog *c)
{
    uint64_t now = floe_loop_now_us(c->cfg.loop);
    for (struct floe_map_node *m = floe_map_iter(&c->by_name, NULL); m; m = floe_map_iter(&c->by_name, m)) {
        struct floe_topic *t = FLOE_MAP_ENTRY(m, struct floe_topic, by_name);
        if ((t->state != FLOE_TOPIC_CREATING && t->state != FLOE_TOPIC_DELETING) ||
            now - t->seen_us < HALF_MADE_US || op_running(c, t->name) || !mine_to_finish(c, t))
            continue;
        struct floe_catalog_op *op =
            floe_catalog_op_new(c, t->state == FLOE_TOPIC_CREATING ? OP_CREATE : OP_DELETE, t->name);
        if (!op)
            return;
        op->begun = true;
        op->topic = floe_topic_copy(t);
        if (op->topic)
            floe_catalog_op_retry(op, op_read);
        else
            op_free(op);
    }
}

void floe_catalog_ops_init(struct floe_catalog *c)
{
    floe_list_init(&c->ops);
}

void floe_catalog_ops_fini(struct floe_catalog *c)
{
    while (!floe_list_empty(&c->ops))
        op_free(FLOE_LIST_ENTRY(c->ops.next, struct floe_catalog_op, link));
}
