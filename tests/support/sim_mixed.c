/* Brokers of two versions: those that know only the first format of table and bucket, and those of today.
 * The cluster begins with old ones; one machine after another is given the new program, one may go back to
 * the old program before the format is raised, or try to after. What is checked: nothing newer is written
 * than the cluster's record says; the record rises only when no session that may be at work reads less; no
 * old broker that lives meets what it cannot read; one that comes too late says why, and does not serve. */
#include <stdlib.h>

#include <floe/base/assert.h>

#include "simcluster_int.h"

#define NODES 64
#define RUSH_US 1000000u
#define OLD 1 /* the first format, which every Floe reads */

/* A node id's session, as its record has it. */
struct session {
    char id[24];
    const struct floe_sim_node *node; /* whose claim landed */
    uint64_t claimed, claimed_us;     /* in the order of all writes; when */
    int32_t format;
    bool open; /* live or fenced: it may be at work */
};
struct simmixed {
    struct simcluster *c;
    struct floe_rng rng; /* of its own */
    struct floe_sim_event tick, rush;
    struct session session[NODES];
    uint64_t order, announced; /* when the format, or the one that comes, was announced */
    int32_t format, next;      /* as the record says */
    int32_t newest[SIM_NODES_MAX];
    bool back;  /* some machine goes back to the old program, whatever the record says */
    bool stays; /* the old ones stay to the end */
};

static uint64_t below(struct simmixed *m, uint64_t n)
{
    return floe_rng_below(&m->rng, n);
}
static int32_t needed(const struct simmixed *m)
{
    return FLOE_MAX(m->format, m->next);
}

/* ---- what lands ---- */

void simmixed_cluster(struct simcluster *c, json_t *value)
{
    struct simmixed *m = c->mixed;
    int32_t format = (int32_t)json_integer_value(json_object_get(value, "format")),
            next = (int32_t)json_integer_value(json_object_get(value, "next"));
    m->order++;
    if (format < m->format)
        simcluster_violation(c, 6, "the cluster's format goes back from %d to %d", m->format, format);
    if (next > format && next != m->next)
        m->announced = m->order;
    else if (format > m->format && m->next == 0)
        m->announced = m->order; /* raised without a word */
    for (uint32_t i = 0; format > m->format && i < NODES; i++) {
        const struct session *s = &m->session[i];
        if (s->open && s->format < format && s->claimed < m->announced)
            simcluster_violation(c, 6, "format %d is raised while node %u lives, which reads up to %d",
                                 format, i, s->format);
    }
    if (format != m->format || next != m->next)
        floe_sim_note(c->sim, NULL, "the cluster's format is %d, next %d", format, next);
    m->format = format;
    m->next = next;
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        if (c->machine[i].proc)
            c->machine[i].proc->needed = FLOE_MAX(c->machine[i].proc->needed, needed(m));
}
void simmixed_node(struct simcluster *c, int id, const struct floe_sim_node *node, json_t *value)
{
    struct simmixed *m = c->mixed;
    struct session *s = &m->session[id];
    const char *session = json_string_value(json_object_get(value, "id")),
               *state = json_string_value(json_object_get(value, "state"));
    m->order++;
    if (session && strcmp(session, s->id) != 0) {
        *s = (struct session){.node = node, .claimed = m->order, .claimed_us = floe_sim_now_us(c->sim)};
        snprintf(s->id, sizeof s->id, "%s", session);
    }
    bool had = s->open && s->format < floe_format_newest;
    s->format = (int32_t)json_integer_value(json_object_get(value, "format"));
    s->open = state && (strcmp(state, "live") == 0 || strcmp(state, "fenced") == 0);
    bool old = false;
    for (uint32_t i = 0; i < NODES; i++)
        old = old || (m->session[i].open && m->session[i].format < floe_format_newest);
    /* The last old one has gone: the format may rise. Now one more comes, while what is written of the format
     * is still on its way. */
    if (had && !old && m->back && !c->healed && (c->cfg.faults & SIM_F_KILL) && below(m, 2)) {
        floe_sim_after(c->sim, &m->rush, below(m, RUSH_US));
        floe_sim_bucket_rule(c->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_LATE,
                                                                .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                                                .prefix = "table/cluster",
                                                                .delay_us = below(m, RUSH_US),
                                                                .times = 1 + (uint32_t)below(m, 2)});
    }
}
void simmixed_lease(struct simcluster *c, const struct floe_sim_store_event *e, json_t *value)
{
    int32_t format = (int32_t)json_integer_value(json_object_get(value, "format"));
    if (format > FLOE_MAX(c->mixed->format, OLD))
        simcluster_violation(c, 6, "%s is written in format %d by node %s, the cluster's is %d", e->key,
                             format, e->node ? floe_sim_node_name(e->node) : "(dead)", c->mixed->format);
}

/* ---- what brokers see and do ---- */

/* The session that this process has at the bucket, if its claim was there before what is newer was announced:
 * whoever announced must have seen it. */
static const struct session *known(const struct simmixed *m, const struct simproc *p)
{
    for (uint32_t i = 0; i < NODES; i++) {
        const struct session *s = &m->session[i];
        if (s->open && s->node == p->node && s->claimed < m->announced)
            return s;
    }
    return NULL;
}
/* A broker is given a record of leases. */
void simmixed_read(struct simcluster *c, const struct floe_sim_node *node, const char *key, const char *value,
                   size_t n)
{
    struct simmixed *m = c->mixed;
    struct simproc *p = c->shape.mixed ? simproc_of(c, node) : NULL;
    if (!p || p->newest >= m->format || p->state == PROC_DEAD)
        return;
    json_t *root = json_loadb(value, n, 0, NULL);
    int32_t format = (int32_t)json_integer_value(json_object_get(root, "format"));
    json_decref(root);
    if (format > p->newest && known(m, p))
        simcluster_violation(c, 6, "node %s, which lives and reads up to %d, meets %s in format %d",
                             floe_sim_node_name(p->node), p->newest, key, format);
}
/* It must exit: because of what it cannot read? */
bool simmixed_refuses(struct simproc *p, const struct floe_error *err)
{
    struct simmixed *m = p->c->mixed;
    if (!p->c->shape.mixed || err->code != FLOE_EUNSUPPORTED || p->newest >= p->needed)
        return false;
    floe_sim_note(p->c->sim, p->node, "refuses: %s", err->msg);
    p->refused = true;
    if (p->c->healed || below(m, 2)) /* somebody reads that */
        m->newest[p->machine] = floe_format_newest;
    return true;
}
void simmixed_started(struct simproc *p)
{
    struct simmixed *m = p->c->mixed;
    if (p->newest < needed(m) && !known(m, p))
        simcluster_violation(p->c, 6, "node %s, which reads up to %d, starts to serve: the record says %d",
                             floe_sim_node_name(p->node), p->newest, needed(m));
}
/* The version that the machine's program has. */
void simmixed_starts(struct simproc *p)
{
    struct simmixed *m = p->c->mixed;
    p->newest = m->newest[p->machine];
    p->needed = needed(m);
    if (p->newest < floe_format_newest)
        floe_sim_note(p->c->sim, p->node, "is an old one");
}

/* ---- who has which program ---- */

/* The machine has another program from now on; its broker is asked to end, or dies, and comes back with it.
 */
static void replace(struct simmixed *m, uint32_t machine, int32_t newest)
{
    struct simcluster *c = m->c;
    struct simproc *p = c->machine[machine].proc;
    m->newest[machine] = newest;
    floe_sim_note(c->sim, p ? p->node : NULL, "%s gets a program that reads up to format %d",
                  c->machine[machine].name, newest);
    if (!p || p->state == PROC_DEAD || p->state == PROC_ENDING)
        return;
    if (p->state == PROC_UP && (!(c->cfg.faults & SIM_F_KILL) || below(m, 4)))
        simproc_end(p);
    else
        floe_sim_node_kill(p->node);
    floe_sim_after(c->sim, &c->machine[machine].restart, 1000 * (1 + below(m, 1500)));
}
static void on_rush(struct floe_sim_event *e)
{
    struct simmixed *m = FLOE_CONTAINER(e, struct simmixed, rush);
    struct simmachine *at = &m->c->machine[below(m, m->c->shape.nodes)];
    m->newest[at->index] = OLD;
    floe_sim_note(m->c->sim, NULL, "%s comes back as an old one", at->name);
    if (at->proc && at->proc->state != PROC_DEAD)
        floe_sim_node_kill(at->proc->node);
    floe_sim_after(m->c->sim, &at->restart, 1000 + below(m, 100000));
}
static uint32_t old_ones(const struct simmixed *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->c->shape.nodes; i++)
        n += m->newest[i] < floe_format_newest;
    return n;
}
static void on_tick(struct floe_sim_event *e)
{
    struct simmixed *m = FLOE_CONTAINER(e, struct simmixed, tick);
    uint32_t i = (uint32_t)below(m, m->c->shape.nodes), old = old_ones(m);
    bool back = m->back && below(m, 3) == 0;
    if (back && m->newest[i] > OLD) {
        replace(m, i, OLD);
    } else if (old > m->stays) {
        while (m->newest[i] > OLD)
            i = (i + 1) % m->c->shape.nodes;
        replace(m, i, floe_format_newest);
    }
    floe_sim_after(m->c->sim, &m->tick, 300000 + below(m, old ? 5000000 : 10000000));
}
void simmixed_heal(struct simcluster *c)
{
    struct simmixed *m = c->mixed;
    floe_sim_unschedule(c->sim, &m->tick);
    floe_sim_unschedule(c->sim, &m->rush);
    for (uint32_t i = 0; i < c->shape.nodes; i++) {
        const struct simproc *p = c->machine[i].proc;
        bool runs = p && (p->state == PROC_UP || p->state == PROC_STARTING);
        if (needed(m) > OLD && !(runs && known(m, p)))
            m->newest[i] = floe_format_newest; /* what does not start is not left so */
    }
}
static bool runs_old(const struct simcluster *c, uint32_t i)
{
    const struct simproc *p = c->machine[i].proc;
    return p && p->state != PROC_DEAD && p->newest < floe_format_newest;
}
static bool none_starts(void *user)
{
    struct simcluster *c = user;
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        if (c->machine[i].proc ? c->machine[i].proc->state != PROC_UP : c->machine[i].restart.heap_at != 0)
            return false;
    return true;
}
static bool raised(void *user)
{
    const struct simcluster *c = user;
    return c->mixed->format == floe_format_newest && c->mixed->next == 0;
}
/* Without faults: the rest is upgraded, one after another, and then the format is raised. */
void simmixed_settle(struct simcluster *c)
{
    struct simmixed *m = c->mixed;
    if (!c->shape.mixed)
        return;
    for (uint32_t i = 0; i < c->shape.nodes && !m->stays; i++) {
        if (runs_old(c, i))
            replace(m, i, floe_format_newest);
        m->newest[i] = floe_format_newest;
        if (!floe_sim_run_until(c->sim, none_starts, c, 60000000))
            simcluster_violation(c, 10, "a broker is not up 60 s after %s was given the new program",
                                 c->machine[i].name);
    }
    bool old = false;
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        old = old || runs_old(c, i);
    /* Who died last is fenced and sealed first. */
    if (!old && !floe_sim_run_until(c->sim, raised, c, 4000ull * c->shape.lease_ms + 5000000))
        simcluster_violation(c, 10, "every broker reads format %d, and the cluster's is %d, next %d",
                             floe_format_newest, m->format, m->next);
}
static bool wanted(const struct simcluster *c, struct floe_rng *rng)
{
    bool drawn = floe_rng_below(rng, 6) == 0;
    return c->shape.theme == SIM_THEME_MIXED || (c->cfg.seed >> 32 && drawn);
}
void simmixed_draw(struct simcluster *c)
{
    struct simmixed *m = calloc(1, sizeof *m);
    FLOE_ASSERT(m);
    m->c = c;
    m->tick.fn = on_tick;
    m->rush.fn = on_rush;
    floe_rng_init(&m->rng, c->cfg.seed ^ 0x313d);
    c->mixed = m;
    c->shape.mixed = wanted(c, &m->rng);
    m->format = c->shape.mixed ? OLD : floe_format_newest;
    m->back = below(m, 2);
    m->stays = below(m, 4) == 0;
    bool some = below(m, 3) == 0; /* new ones from the beginning */
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        m->newest[i] = !c->shape.mixed || (some && below(m, 2)) ? floe_format_newest : OLD;
    if (m->stays && c->shape.mixed)
        m->newest[0] = OLD;
}
void simmixed_start(struct simcluster *c)
{
    if (c->shape.mixed)
        floe_sim_after(c->sim, &c->mixed->tick, below(c->mixed, 5000000));
}
void simmixed_fini(struct simcluster *c)
{
    floe_sim_unschedule(c->sim, &c->mixed->tick);
    floe_sim_unschedule(c->sim, &c->mixed->rush);
    free(c->mixed);
    c->mixed = NULL;
}
