/* Garbage under faults: topics beside the one that clients use are made, written to and deleted all the time,
 * by whichever brokers live, in seeds that have a short garbage age; every removal is watched. What is
 * written to them is not looked at again: it is there to share segments with what must stay. */
#include <stdlib.h>

#include <floe/base/assert.h>

#include "broker/core_int.h"
#include "garbage_watch.h"
#include "simcluster_int.h"

#define SCRATCH_MAX 3u

struct simgarbage {
    struct simcluster *c;
    struct floe_rng rng; /* of its own: other seeds' stories stay as they are */
    struct garbage_watch watch;
    struct floe_sim_event tick;
    uint32_t names;
};

static uint64_t below(struct simgarbage *g, uint64_t n)
{
    return floe_rng_below(&g->rng, n);
}

/* One batch without a producer, acks=0: nobody waits for it. */
static void append(struct simgarbage *g, struct simproc *p, const struct floe_topic *t, int32_t part)
{
    struct floe_batch_builder b;
    struct floe_error err;
    struct floe_writer w;
    struct floe_partition *at;
    uint8_t bytes[200] = {0};
    struct floe_kbytes value = {bytes, (int32_t)(1 + below(g, sizeof bytes - 1))}, none = {NULL, -1};
    struct floe_log_append a = {.tp = {t->id, part}, .topic_name = t->name, .acks = 0};
    if (floe_log_find(p->log, &a.tp, &at) != FLOE_PARTITION_SERVING)
        return;
    floe_batch_builder_init(&b, FLOE_COMPRESSION_NONE, 1 << 20);
    floe_writer_init(&w, 1 << 20);
    FLOE_ASSERT(floe_batch_builder_add(&b, 1000000, none, value, NULL, 0, &err) == FLOE_OK &&
                floe_batch_builder_finish(&b, &w, &err) == FLOE_OK);
    struct floe_buf *buf = floe_buf_create(w.n, &p->pending);
    if (buf) {
        memcpy(buf->data, w.p, w.n);
        buf->n = w.n;
        a.bytes = (struct floe_bufslice){buf, buf->data, w.n};
        FLOE_ASSERT(floe_batch_parse(floe_slice(buf->data, buf->n), &a.batch, &err) == FLOE_OK);
        (void)!floe_log_append(p->log, &a);
        floe_buf_unref(buf);
    }
    floe_batch_builder_fini(&b);
    floe_writer_fini(&w);
}

static void churn(struct simgarbage *g, struct simproc *p)
{
    struct floe_catalog *cat = p->core->catalog;
    const struct floe_topic *list[SCRATCH_MAX + 1];
    char name[32];
    uint32_t n = FLOE_MIN(floe_catalog_list(cat, list, FLOE_COUNTOF(list)), (uint32_t)FLOE_COUNTOF(list));
    for (uint32_t i = 0; i < n; i++) {
        if (strncmp(list[i]->name, "scratch-", 8) != 0)
            continue;
        for (int32_t part = 0; part < list[i]->partitions; part++)
            append(g, p, list[i], part);
    }
    uint64_t what = below(g, 12);
    if (what == 0 && n <= SCRATCH_MAX && !g->c->stopping) {
        /* Now and then the name of one that was deleted. */
        snprintf(name, sizeof name, "scratch-%u",
                 below(g, 3) ? g->names++ : (uint32_t)below(g, g->names + 1));
        struct floe_topic_spec spec = {.name = name, .partitions = 1 + (int32_t)below(g, 4)};
        struct floe_catalog_op *op = floe_catalog_create_topic(cat, &spec, NULL, NULL);
        FLOE_ASSERT(op);
        g->c->out->topics++;
    } else if (what == 1 && n > 0) {
        const struct floe_topic *t = list[below(g, n)];
        if (strncmp(t->name, "scratch-", 8) == 0)
            FLOE_ASSERT(floe_catalog_delete_topic(cat, t->name, &t->id, NULL, NULL));
    }
}

static void on_tick(struct floe_sim_event *e)
{
    struct simgarbage *g = FLOE_CONTAINER(e, struct simgarbage, tick);
    for (uint32_t i = 0; i < g->c->shape.nodes; i++) {
        struct simproc *p = g->c->machine[i].proc;
        if (p && p->state == PROC_UP && !floe_sim_node_stalled(p->node))
            churn(g, p);
    }
    floe_sim_after(g->c->sim, &g->tick, 50000 + below(g, 300000));
}

void simgarbage_start(struct simcluster *c)
{
    struct simgarbage *g = calloc(1, sizeof *g);
    FLOE_ASSERT(g);
    c->garbage = g;
    g->c = c;
    g->tick.fn = on_tick;
    floe_rng_init(&g->rng, c->cfg.seed ^ 0x6a2ba6e);
    if (below(&(struct simgarbage){.rng = g->rng}, 3) == 0)
        c->shape.garbage_age_us = 1000000 + below(g, 6000000);
    g->watch = (struct garbage_watch){.bucket = c->bucket,
                                      .age_us = c->shape.garbage_age_us / 1000 * 999 /* clocks run apart */};
    floe_sim_note(c->sim, NULL, "garbage age %llu ms", (unsigned long long)c->shape.garbage_age_us / 1000);
}

void simgarbage_play(struct simcluster *c)
{
    if (c->shape.garbage_age_us)
        floe_sim_after(c->sim, &c->garbage->tick, 1);
}

void simgarbage_event(struct simcluster *c, const struct floe_sim_store_event *e)
{
    char why[200];
    if (garbage_watch(&c->garbage->watch, e, why))
        simcluster_violation(c, 7, "%s", why);
}

uint64_t simgarbage_floor(struct simcluster *c, const struct floe_session_name *s)
{
    return garbage_floor(&c->garbage->watch, s);
}

void simgarbage_fini(struct simcluster *c)
{
    floe_sim_unschedule(c->sim, &c->garbage->tick);
    c->out->removed = c->garbage->watch.removed;
    garbage_watch_fini(&c->garbage->watch);
    free(c->garbage);
    c->garbage = NULL;
}
