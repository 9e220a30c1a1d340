/* Producer ids: the record `producer-ids` {"next":N} is raised by a block at a time; ids of a block that is
 * not used up are lost, as in Kafka. An id is given out once only. */
#include "catalog/catalog_int.h"
#include <floe/base/mutant.h>
#include <stdio.h>

static void answer_all(struct floe_catalog *c, const struct floe_error *err)
{
    while (!floe_list_empty(&c->pid_waits) && (err || c->pid_next < c->pid_end)) {
        struct pid_wait *w = FLOE_LIST_ENTRY(floe_list_pop_front(&c->pid_waits), struct pid_wait, link);
        static const struct floe_error ok;
        w->done(w->user, err ? err : &ok, err ? -1 : c->pid_next++);
        free(w);
    }
}

static void block_read(struct floe_table_req *q);

static void read_block(struct floe_catalog *c)
{
    c->pid_busy = true;
    c->pid_req = (struct floe_table_req){.kind = FLOE_TABLE_GET, .done = block_read, .user = c};
    snprintf(c->pid_req.key, sizeof c->pid_req.key, "producer-ids");
    floe_table_submit(c->cfg.table, &c->pid_req);
}

/* Anything but a certain success is read again: a block whose write may have been applied is simply skipped.
 */
static void block_written(struct floe_table_req *q)
{
    struct floe_catalog *c = q->user;
    struct floe_error err = q->err;
    floe_table_req_fini(q);
    c->pid_busy = false;
    if (!err.code || (FLOE_MUTANT(PRODUCER_ID_TWICE) && err.code != FLOE_EUNAVAILABLE)) {
        c->pid_next = c->pid_want;
        c->pid_end = c->pid_want + PRODUCER_ID_BLOCK;
        answer_all(c, NULL);
    } else if (err.code != FLOE_EEXISTS && err.code != FLOE_ECONFLICT && err.code != FLOE_EINDETERMINATE) {
        answer_all(c, &err);
    }
    if (!floe_list_empty(&c->pid_waits) && !c->pid_busy)
        read_block(c);
}

static void block_read(struct floe_table_req *q)
{
    struct floe_catalog *c = q->user;
    struct floe_error err = q->err;
    int64_t next = 1000;
    char version[FLOE_TABLE_VERSION_MAX] = "";
    if (!err.code) {
        next = floe_producer_ids_decode(q->got, q->got_n);
        memcpy(version, q->version, sizeof version);
        if (next < 0 || next > INT64_MAX - 2 * PRODUCER_ID_BLOCK)
            floe_error_set(&err, FLOE_ECORRUPT, "table record 'producer-ids' has no usable field 'next'");
    } else if (err.code == FLOE_ENOTFOUND) {
        err = (struct floe_error){0};
    }
    floe_table_req_fini(q);
    if (err.code) {
        c->pid_busy = false;
        answer_all(c, &err);
        return;
    }
    c->pid_want = next;
    int n =
        snprintf(c->pid_value, sizeof c->pid_value, "{\"next\":%lld}", (long long)(next + PRODUCER_ID_BLOCK));
    c->pid_req = (struct floe_table_req){.kind = FLOE_TABLE_PUT,
                                         .value = c->pid_value,
                                         .value_n = (size_t)n,
                                         .done = block_written,
                                         .user = c};
    snprintf(c->pid_req.key, sizeof c->pid_req.key, "producer-ids");
    memcpy(c->pid_req.if_version, version, sizeof version);
    floe_table_submit(c->cfg.table, &c->pid_req);
}

void floe_catalog_producer_id(struct floe_catalog *c,
                              void (*done)(void *user, const struct floe_error *err, int64_t id), void *user)
{
    static const struct floe_error ok;
    if (c->pid_next < c->pid_end && floe_list_empty(&c->pid_waits)) {
        done(user, &ok, c->pid_next++);
        return;
    }
    struct pid_wait *w = calloc(1, sizeof *w);
    if (!w) {
        struct floe_error err;
        floe_error_set(&err, FLOE_ENOMEM, "no memory");
        done(user, &err, -1);
        return;
    }
    w->done = done;
    w->user = user;
    floe_list_push_back(&c->pid_waits, &w->link);
    if (!c->pid_busy)
        read_block(c);
}

void floe_producer_ids_fini(struct floe_catalog *c)
{
    struct floe_list *l;
    if (c->pid_busy) {
        floe_table_cancel(c->cfg.table, &c->pid_req);
        floe_table_req_fini(&c->pid_req);
    }
    while ((l = floe_list_pop_front(&c->pid_waits)))
        free(FLOE_LIST_ENTRY(l, struct pid_wait, link));
}
