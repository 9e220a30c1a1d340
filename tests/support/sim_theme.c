/* Some seeds have a theme besides the nemesis: one rare situation, brought about again and again. */
#include <floe/base/assert.h>

#include "simcluster_int.h"

/* One broker's writes of leases arrive, but their answers are lost, while it ends or another comes and goes,
 * so that it moves partitions. Once it has written that another holds one it learns nothing for long: it
 * hands over all that time, and the new holder is at work. */
static void deaf(struct simcluster *c)
{
    struct simproc *p = simproc_any(c), *ends = floe_rng_below(&c->rng, 3) ? p : simproc_any(c);
    if (!p || floe_sim_now_us(c->sim) < c->outage_until)
        return;
    floe_sim_bucket_heal(c->bucket);
    floe_sim_bucket_rule(c->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_LOST_ANSWER,
                                                            .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                                            .node = p->node,
                                                            .prefix = "table/lease/"});
    c->outage_until = floe_sim_now_us(c->sim) + 10000000;
    if (c->cfg.faults & SIM_F_END) {
        simproc_end(ends);
        floe_sim_after(c->sim, &c->machine[ends->machine].restart,
                       1000 * (1 + floe_rng_below(&c->rng, 1000)));
    }
}
/* Who has just been given partitions ends, so that they go back to the session that gave them. Half of the
 * time that one is killed as soon as it has them again, before a checkpoint has taken the spans away. */
static void return_moved(struct simcluster *c, uint32_t giver, uint32_t taker)
{
    if (c->healed || !(c->cfg.faults & SIM_F_END))
        return;
    if (c->returns == RETURN_NONE) {
        c->returns = RETURN_END;
        c->return_from = taker;
        c->return_to = giver;
        floe_sim_after(c->sim, &c->theme, floe_rng_below(&c->rng, 300000));
    } else if (c->returns == RETURN_WAIT && giver == c->return_from && taker == c->return_to) {
        c->returns = floe_rng_below(&c->rng, 2) ? RETURN_KILL : RETURN_WAIT;
        floe_sim_after(c->sim, &c->theme, floe_rng_below(&c->rng, 150000));
    }
}
static void returns(struct simcluster *c)
{
    bool end = c->returns == RETURN_END, kill = c->returns == RETURN_KILL;
    uint32_t machine = kill ? c->return_to : c->return_from;
    struct simproc *p = c->machine[machine].proc;
    c->returns = end ? RETURN_WAIT : RETURN_NONE;
    if ((end || kill) && p && p->state == PROC_UP) {
        if (kill)
            floe_sim_node_kill(p->node);
        else
            simproc_end(p);
        floe_sim_after(c->sim, &c->machine[machine].restart, 1000 * (1 + floe_rng_below(&c->rng, 1000)));
    }
    if (end) /* it may never come back */
        floe_sim_after(c->sim, &c->theme, 2000ull * c->shape.lease_ms);
}
/* Who has just taken partitions over reads nothing of chains for longer than its lease time, and has no table
 * for longer still: what it rebuilds then is another's by now. */
static void without(struct simcluster *c, const char *prefix)
{
    floe_sim_bucket_rule(c->bucket,
                         &(struct floe_sim_rule){.fault = FLOE_SIM_LOST_REQUEST,
                                                 .node = (struct floe_sim_node *)(uintptr_t)c->taker,
                                                 .prefix = prefix});
}
void simtheme_taken(struct simcluster *c, const struct floe_sim_store_event *e)
{
    uint64_t now = floe_sim_now_us(c->sim), lease = 1000ull * c->shape.lease_ms;
    if (c->shape.theme == SIM_THEME_RACED && c->taker && e->node != c->taker) {
        c->taker = NULL;
        floe_sim_bucket_heal(c->bucket);
    }
    if (c->shape.theme != SIM_THEME_TAKEN || c->healed || now < c->outage_until + lease)
        return;
    floe_sim_note(c->sim, e->node, "has taken over, and hears nothing of the store");
    c->taker = e->node;
    floe_sim_bucket_heal(c->bucket);
    without(c, "chain/");
    without(c, "table/");
    uint64_t later = now + lease + lease / 2 + floe_rng_below(&c->rng, lease);
    c->outage_until = later + lease / 2 + floe_rng_below(&c->rng, lease);
    floe_sim_at(c->sim, &c->theme, later);
    floe_sim_at(c->sim, &c->heal_outage, c->outage_until);
}
static void taken(struct simcluster *c)
{
    floe_sim_note(c->sim, c->taker, "has chains again, and no table");
    floe_sim_bucket_heal(c->bucket);
    without(c, "table/");
}
/* A broker dies, and another cannot write that it takes over: a third does, and moves what it has to the
 * second one, which has read ahead for a takeover of its own. */
static void raced(struct simcluster *c)
{
    struct simproc *p = simproc_any(c), *a = simproc_any(c);
    uint64_t now = floe_sim_now_us(c->sim), lease = 1000ull * c->shape.lease_ms;
    if (!p || !a || p == a || now < c->outage_until || c->healed || !(c->cfg.faults & SIM_F_KILL))
        return;
    floe_sim_note(c->sim, a->node, "cannot write leases, another dies");
    floe_sim_bucket_heal(c->bucket);
    floe_sim_bucket_rule(c->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_REFUSED,
                                                            .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                                            .node = a->node,
                                                            .prefix = "table/lease/"});
    c->taker = a->node;
    c->outage_until = now + 3 * lease + 5000000;
    uint32_t dies = p->machine;
    floe_sim_node_kill(p->node);
    floe_sim_at(c->sim, &c->machine[dies].restart, c->outage_until);
    floe_sim_at(c->sim, &c->heal_outage, c->outage_until);
}
/* Machine of the broker that is `session`, or as many as there are. */
static uint32_t machine_of(const struct simcluster *c, const char *session)
{
    uint32_t i = 0;
    for (; i < c->shape.nodes; i++) {
        const struct simproc *p = c->machine[i].proc;
        const struct floe_session_name *s = p && p->state == PROC_UP ? floe_lease_session(p->lease) : NULL;
        char name[FLOE_SESSION_NAME_MAX];
        if (s)
            floe_session_format(name, s);
        if (s && strcmp(name, session) == 0)
            break;
    }
    return i;
}
void simtheme_lease_moved(struct simcluster *c, const struct floe_sim_store_event *e, uint32_t giver,
                          const char *taker)
{
    uint32_t to = machine_of(c, taker);
    if (c->shape.theme == SIM_THEME_RETURN && to < c->shape.nodes)
        return_moved(c, giver, to);
    if (c->shape.theme != SIM_THEME_DEAF || c->healed || e->fault != FLOE_SIM_LOST_ANSWER)
        return;
    floe_sim_note(c->sim, e->node, "learns nothing of its leases");
    floe_sim_bucket_rule(c->bucket,
                         &(struct floe_sim_rule){.fault = FLOE_SIM_LOST_REQUEST,
                                                 .node = (struct floe_sim_node *)(uintptr_t)e->node,
                                                 .prefix = "table/lease/"});
    c->outage_until = floe_sim_now_us(c->sim) + 1000ull * c->shape.lease_ms +
                      floe_rng_below(&c->rng, 3000ull * c->shape.lease_ms);
    floe_sim_after(c->sim, &c->heal_outage, 0);
}
/* A broker cannot renew its session and lapses; it may hear of nothing else in the table either. */
static void lapse(struct simcluster *c)
{
    struct simproc *p = simproc_any(c);
    if (!p)
        return;
    floe_sim_note(c->sim, p->node, "cannot renew its session");
    floe_sim_bucket_rule(c->bucket,
                         &(struct floe_sim_rule){
                             .fault = floe_rng_below(&c->rng, 2) ? FLOE_SIM_REFUSED : FLOE_SIM_LOST_REQUEST,
                             .node = p->node,
                             .prefix = floe_rng_below(&c->rng, 2) ? "table/" : "table/node/"});
    floe_sim_after(c->sim, &c->heal_outage,
                   1000ull * c->shape.lease_ms + floe_rng_below(&c->rng, 2000ull * c->shape.lease_ms));
}
/* Bits flip in much of what is read of chains, and consumers go back to read it again. */
void simtheme_flip(struct simcluster *c)
{
    floe_sim_bucket_rule(c->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_FLIPPED,
                                                            .kinds = FLOE_SIM_KIND(FLOE_STORE_GET),
                                                            .prefix = "chain/",
                                                            .ppm = 300000});
    floe_sim_after(c->sim, &c->heal_outage, 500000 + floe_rng_below(&c->rng, 2000000));
    simconsumers_go_back(c);
}
/* Nobody has a table, for longer than every lease. */
static void no_table(struct simcluster *c)
{
    static const enum floe_sim_fault how[] = {FLOE_SIM_REFUSED, FLOE_SIM_LOST_REQUEST, FLOE_SIM_LOST_ANSWER,
                                              FLOE_SIM_E503};
    uint64_t now = floe_sim_now_us(c->sim), pause = 5000000 + 1000ull * c->shape.lease_ms;
    if (now < c->outage_until + pause)
        return;
    floe_sim_note(c->sim, NULL, "there is no table");
    floe_sim_bucket_rule(c->bucket,
                         &(struct floe_sim_rule){.fault = how[floe_rng_below(&c->rng, FLOE_COUNTOF(how))],
                                                 .prefix = "table/"});
    c->outage_until = now + 1000ull * c->shape.lease_ms * (1 + floe_rng_below(&c->rng, 6));
    floe_sim_at(c->sim, &c->heal_outage, c->outage_until);
}
/* A coordinator tells of a commit that it has not acknowledged, and dies a moment later. */
void simtheme_told(struct simcluster *c, struct simproc *p)
{
    if (c->shape.theme != SIM_THEME_TOLD || c->healed || !(c->cfg.faults & SIM_F_KILL) ||
        floe_sim_now_us(c->sim) < c->tellers_until)
        return;
    floe_sim_note(c->sim, p->node, "has told what it has not acknowledged");
    c->teller = p->machine;
    c->teller_since = p->started_us;
    c->tellers_until =
        floe_sim_now_us(c->sim) + 500000 + floe_rng_below(&c->rng, 3000000); /* one after another */
    floe_sim_after(c->sim, &c->theme, floe_rng_below(&c->rng, 2) ? 1 : floe_rng_below(&c->rng, 5000));
}
static void told(struct simcluster *c)
{
    struct simproc *p = c->machine[c->teller].proc;
    if (!p || p->state != PROC_UP || p->started_us != c->teller_since)
        return;
    floe_sim_node_kill(p->node);
    floe_sim_after(c->sim, &c->machine[p->machine].restart, 1000 * (1 + floe_rng_below(&c->rng, 1000)));
}
static void on_theme(struct floe_sim_event *e)
{
    struct simcluster *c = FLOE_CONTAINER(e, struct simcluster, theme);
    switch (c->shape.theme) {
    case SIM_THEME_DEAF:
        deaf(c);
        break;
    case SIM_THEME_LAPSE:
        lapse(c);
        break;
    case SIM_THEME_FLIP:
        simtheme_flip(c);
        break;
    case SIM_THEME_TABLE:
        no_table(c);
        break;
    case SIM_THEME_RETURN:
        returns(c);
        return;
    case SIM_THEME_TAKEN:
        taken(c);
        return;
    case SIM_THEME_TOLD:
        told(c);
        return;
    case SIM_THEME_RACED:
        raced(c);
        break;
    case SIM_THEME_NONE:
    case SIM_THEME_MIXED:   /* sim_mixed.c */
    case SIM_THEME_CONVERT: /* sim_convert.c */
    case SIM_THEME_COUNT:
        return;
    }
    floe_sim_after(c->sim, &c->theme, 1000000 + floe_rng_below(&c->rng, 4000000));
}
/* Drawn apart: a seed without a theme has the story that it would have without this file. */
void simtheme_draw(struct simcluster *c)
{
    c->theme.fn = on_theme;
    struct floe_rng rng;
    floe_rng_init(&rng, c->cfg.seed ^ 0x7e3e);
    uint64_t theme = c->cfg.theme ? c->cfg.theme : floe_rng_below(&rng, 3 * SIM_THEME_RETURN);
    if (theme <= (c->cfg.theme ? SIM_THEME_COUNT - 1 : SIM_THEME_RETURN) && (c->cfg.faults & SIM_F_STORE))
        c->shape.theme = (enum simtheme)theme;
    /* The others came later: seeds that have one of the first keep it. */
    if (c->shape.theme == SIM_THEME_NONE && (c->cfg.faults & SIM_F_STORE)) {
        if (floe_rng_below(&rng, 12) == 0)
            c->shape.theme = SIM_THEME_TAKEN;
        else if (c->cfg.groups && floe_rng_below(&rng, 3) == 0)
            c->shape.theme = SIM_THEME_TOLD;
    }
    if (c->shape.theme == SIM_THEME_DEAF || c->shape.theme == SIM_THEME_RETURN ||
        c->shape.theme == SIM_THEME_RACED)
        c->shape.fault_every_us += 5000000; /* who dies moves nothing */
    if (c->shape.theme == SIM_THEME_DEAF || c->shape.theme == SIM_THEME_TOLD)
        c->shape.committers = SIM_COMMITTERS_MAX;
    if (c->shape.theme == SIM_THEME_TOLD)
        c->shape.fault_every_us += 2000000;
}
void simtheme_start(struct simcluster *c)
{
    if (c->shape.theme && (c->shape.theme < SIM_THEME_RETURN || c->shape.theme == SIM_THEME_RACED))
        floe_sim_after(c->sim, &c->theme, floe_rng_below(&c->rng, 3000000));
}
