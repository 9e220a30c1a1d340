/* A session's clean end: no more appends, one last segment with what is open and the checkpoints, the own
 * seal.
 *
 *   active -> everything committed, checkpoints published -> sealing -> done(key of the seal) */
#include "log_int.h"

#include <floe/base/mutant.h>

/* A rebuild would read every footer from here on: worth a checkpoint even when nothing of the partition
 * changed. */
#define SPAN_KEYS_MAX 16u

static void finish(struct floe_log *log, const struct floe_error *err, uint64_t key)
{
    struct floe_log_end *end = &log->end;
    void (*done)(void *, const struct floe_error *, uint64_t) = end->done;
    floe_put_fini(&end->put);
    floe_buf_unref(end->body.buf);
    end->body.buf = NULL;
    end->active = end->sealing = false;
    end->done = NULL;
    if (done)
        done(end->user, err, key);
}

static void on_sealed(struct floe_put *put)
{
    put->log->end.sealed = true;
    floe_log_kick(put->log);
}

static void put_seal(struct floe_log *log)
{
    struct floe_log_end *end = &log->end;
    struct floe_chain *c = &log->chain;
    end->sealing = true;
    floe_put_init(&end->put, log, c->next_seq++);
    struct floe_seal seal = {.id = {.session = c->session,
                                    .seq = end->put.seq,
                                    .cluster = log->cfg.cluster,
                                    .nonce = end->put.nonce,
                                    .created_ms = floe_loop_wall_ms(log->cfg.loop),
                                    .seal = true},
                             .by = c->session};
    /* A copy that is late on the wire outlives the log's structs: the bytes are counted. */
    struct floe_buf *buf = floe_buf_create_forced(FLOE_SEAL_BYTES, NULL);
    if (!buf) {
        struct floe_error err;
        floe_error_set(&err, FLOE_ENOMEM, "out of memory");
        finish(log, &err, 0);
        return;
    }
    floe_seal_encode(buf->data, &seal);
    buf->n = FLOE_SEAL_BYTES;
    end->body = (struct floe_bufslice){buf, buf->data, buf->n};
    end->put.body = &end->body;
    end->put.body_count = 1;
    end->put.done = on_sealed;
    floe_put_start(&end->put);
}

static void want_checkpoints(struct floe_log *log)
{
    for (struct floe_map_node *n = floe_map_iter(&log->partitions, NULL); n;
         n = floe_map_iter(&log->partitions, n)) {
        struct floe_partition *p = FLOE_MAP_ENTRY(n, struct floe_partition, node);
        bool changed = !floe_list_empty(&p->dirty_link) || p->next_offset > p->started_end;
        if (changed || p->span_from + SPAN_KEYS_MAX < log->chain.next_seq)
            floe_checkpoint_want(p);
    }
}

void floe_end_turn(struct floe_log *log)
{
    struct floe_log_end *end = &log->end;
    struct floe_chain *c = &log->chain;
    if (!end->active)
        return;
    if (end->sealed) {
        struct floe_error ok = {.code = FLOE_OK};
        c->lost = c->lost_told = true; /* the chain is at its end */
        finish(log, &ok, end->put.seq);
        return;
    }
    if (c->lost) {
        struct floe_error err;
        floe_error_set(&err, FLOE_EFENCED, "%s", c->lost_why.msg);
        finish(log, &err, 0);
        return;
    }
    if (end->sealing)
        return;
    if (!end->checkpointed) { /* they ride with the last data */
        if (!floe_list_empty(&c->waiting))
            return; /* the answer of a PUT runs the next turn */
        end->checkpointed = true;
        want_checkpoints(log);
    }
    bool open = (c->open_seg && c->open_seg->batch_count > 0) || !floe_list_empty(&c->waiting) ||
                (!floe_list_empty(&c->started) && !FLOE_MUTANT(RELEASE_UNRESOLVED)) ||
                !floe_list_empty(&log->ckpt_due);
    if (!open)
        put_seal(log);
}

void floe_log_session_end(struct floe_log *log,
                          void (*done)(void *user, const struct floe_error *err, uint64_t end), void *user)
{
    FLOE_ASSERT(!log->end.active);
    log->end = (struct floe_log_end){.active = true, .done = done, .user = user};
    log->chain.stopping = true;
    if (!log->chain.open) {
        struct floe_error err;
        floe_error_set(&err, FLOE_EFENCED, "there is no session to end");
        finish(log, &err, 0);
        return;
    }
    floe_log_kick(log);
}

void floe_end_over(struct floe_log *log)
{
    if (!log->end.active)
        return;
    struct floe_error err;
    floe_error_set(&err, FLOE_EFENCED, "the session is over");
    if (log->detached)
        log->end.done = NULL;
    finish(log, &err, 0);
}
