#include <stdarg.h>
#include <stdlib.h>

#include <floe/base/assert.h>
#include <floe/base/log.h>

#include "simcluster_int.h"

#define SECOND UINT64_C(1000000)

void simcluster_violation(struct simcluster *c, int invariant, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    floe_sim_note(c->sim, NULL, "VIOLATION of %d: %s", invariant, text);
    if (!c->out->violations)
        snprintf(c->out->first, sizeof c->out->first, "%d at %.3f: %.220s", invariant,
                 (double)floe_sim_now_us(c->sim) / 1e6, text);
    if (c->out->violations++ == 0 && c->cfg.violated)
        c->cfg.violated(c->cfg.user, c->out);
    if (c->out->violations <= 10 && !c->cfg.story && !c->cfg.quiet)
        fprintf(stderr, "seed %llu at %.6f: invariant %d: %s\n", (unsigned long long)c->cfg.seed,
                (double)floe_sim_now_us(c->sim) / 1e6, invariant, text);
}
static void on_story(void *user, const char *line)
{
    struct simcluster *c = user;
    fprintf(c->cfg.story, "%s\n", line);
}

/* What brokers log. */
static void on_log(void *user, enum floe_log_level level, const char *line)
{
    struct simcluster *c = user;
    (void)level;
    floe_sim_note(c->sim, floe_sim_running(c->sim), "%s", line);
}

static void draw_shape(struct simcluster *c)
{
    struct simshape *s = &c->shape;
    s->nodes = 2 + (uint32_t)floe_rng_below(&c->rng, floe_rng_below(&c->rng, 8) ? 3 : SIM_NODES_MAX - 1);
    s->nodes = c->cfg.nodes ? c->cfg.nodes : s->nodes;
    s->partitions = 2 + (uint32_t)floe_rng_below(&c->rng, SIM_MAIN_MAX - 1);
    s->producers = 2 + (uint32_t)floe_rng_below(&c->rng, SIM_PRODUCERS_MAX - 3);
    s->consumers = 1 + (uint32_t)floe_rng_below(&c->rng, SIM_CONSUMERS_MAX);
    s->lease_ms = 2000 + (uint32_t)floe_rng_below(&c->rng, 3) * 1500;
    s->puts_in_flight = 1 + (uint32_t)floe_rng_below(&c->rng, 4);
    s->segment_bytes = 2048u << floe_rng_below(&c->rng, 7);
    s->linger_us = (uint32_t)floe_rng_below(&c->rng, 3) * 10000;
    s->pending_bytes = 12000ull << floe_rng_below(&c->rng, 8);
    s->cache_bytes = 16384ull << floe_rng_below(&c->rng, 7);
    s->tier_bytes = 65536ull << floe_rng_below(&c->rng, 6);
    s->put_rate = floe_rng_below(&c->rng, 4) ? 0 : 20;
    s->answers_bytes = 8192ull << floe_rng_below(&c->rng, 8);
    s->spill_all = floe_rng_below(&c->rng, 6) == 0;
    s->fault_every_us = 200000 + floe_rng_below(&c->rng, 3 * SECOND);
    s->committers = 4;
    simtheme_draw(c);
    simmixed_draw(c);
}

/* The bucket's first broker, before anything can go wrong. */
static void on_opened(void *user, const struct floe_error *err, const struct floe_cluster_info *info)
{
    struct simcluster *c = user;
    if (err && err->code)
        simcluster_violation(c, 0, "the cluster cannot be opened: %s", err->msg);
    else
        c->info = *info;
}
static void open_cluster(struct simcluster *c)
{
    struct floe_sim_node *n = floe_sim_node_create(c->sim, "admin");
    struct floe_table *table;
    struct floe_store *store = floe_sim_store_create(c->bucket, n);
    FLOE_ASSERT(floe_table_store_create(&table, store, NULL) == FLOE_OK);
    floe_cluster_open(store, table, NULL, c->shape.mixed ? 1 : floe_format_newest, on_opened, c);
    floe_sim_run_for(c->sim, 10 * SECOND);
    floe_sim_node_kill(n);
    floe_table_store_destroy(&table);
}
/* A broker that starts on a store which breaks its promise every time. */
static void on_probed(void *user, const struct floe_error *err, const struct floe_cluster_info *info)
{
    struct simcluster *c = user;
    (void)info;
    c->out->refused = err && err->code;
    floe_sim_note(c->sim, NULL, "a start on the broken store: %s",
                  err && err->code ? err->msg : "not refused");
}
static void probe_broken(struct simcluster *c)
{
    struct floe_sim_node *n = floe_sim_node_create(c->sim, "probe");
    struct floe_sim_bucket *bucket = floe_sim_bucket_create(c->sim);
    struct floe_store *store = floe_sim_store_create(bucket, n);
    struct floe_table *table;
    FLOE_ASSERT(floe_table_store_create(&table, store, NULL) == FLOE_OK);
    floe_sim_bucket_break(bucket, (enum floe_sim_break)c->cfg.breaks, 1000000);
    floe_cluster_open(store, table, NULL, floe_format_newest, on_probed, c);
    floe_sim_run_for(c->sim, 60 * SECOND);
    floe_sim_node_kill(n);
    floe_table_store_destroy(&table);
}
static bool all_up(void *user)
{
    struct simcluster *c = user;
    for (uint32_t i = 0; i < c->shape.nodes; i++) {
        if (!c->machine[i].proc || c->machine[i].proc->state != PROC_UP)
            return false;
    }
    return true;
}
static void on_topic(struct simcall *k)
{
    if (k->err || !k->answered)
        simcluster_violation(k->c, 0, "the topic cannot be created: %s",
                             k->kafka_error ? floe_kafka_error_name(k->kafka_error) : floe_err_name(k->err));
    else
        k->c->topic_made = true;
}
static bool is_topic_made(void *user)
{
    struct simcluster *c = user;
    return c->topic_made || c->out->violations;
}
void simcluster_note_id(struct simcluster *c, int64_t id, const char *who)
{
    for (uint32_t i = 0; i < c->ids_n; i++)
        if (c->ids[i] == id)
            simcluster_violation(c, 4, "producer id %lld is %s, and was given out before", (long long)id,
                                 who);
    c->ids = realloc(c->ids, (c->ids_n + 1) * sizeof *c->ids);
    FLOE_ASSERT(c->ids);
    c->ids[c->ids_n++] = id;
}
static bool bring_up(struct simcluster *c)
{
    if (c->cfg.breaks)
        probe_broken(c);
    open_cluster(c);
    if (c->out->violations)
        return false;
    simgarbage_start(c);
    simtables_start(c);
    simwatch_start(c);
    for (uint32_t i = 0; i < c->shape.nodes; i++) {
        simcluster_machine_init(c, i);
        floe_sim_after(c->sim, &c->machine[i].restart, floe_rng_below(&c->rng, SECOND));
    }
    if (!floe_sim_run_until(c->sim, all_up, c, 30 * SECOND)) {
        simcluster_violation(c, 10, "not every broker is up after 30 s without a fault");
        return false;
    }
    struct simcall *k = simcall_new(c, CALL_CREATE, 0, on_topic, c);
    k->name = "topic";
    k->partitions = (int32_t)c->shape.partitions;
    simcall_send(k, c->machine[0].proc, 10 * SECOND);
    if (!floe_sim_run_until(c->sim, is_topic_made, c, 10 * SECOND))
        simcluster_violation(c, 10, "the topic is not made after 10 s without a fault");
    return !c->out->violations;
}

static bool all_writable(void *user)
{
    struct simcluster *c = user;
    for (uint32_t i = 0; i < c->shape.partitions; i++) {
        if (!c->ledger[i].writable)
            return false;
    }
    return true;
}
static void check_writable(struct simcluster *c)
{
    /* A rebuild reads every footer since the last checkpoint, 32 at a time, until checkpoints ride along the
     * chain: then this allowance goes. */
    uint64_t limit = 1000ull * c->shape.lease_ms + SECOND + 1000 * simtruth_longest_chain(c);
    if (c->unseen_healed)
        limit += 1000ull * c->shape.lease_ms;
    simprobe_start(&c->producer[c->producers], c, c->producers);
    c->producers++;
    if (!floe_sim_run_until(c->sim, all_writable, c, c->healed_us - floe_sim_now_us(c->sim) + 30 * SECOND)) {
        for (uint32_t i = 0; i < c->shape.partitions; i++) {
            if (!c->ledger[i].writable)
                simcluster_violation(c, 10, "partition %u is not writable 30 s after the faults ended", i);
        }
    } else if (c->out->writable_us > limit) {
        simcluster_violation(
            c, 10, "the last partition was writable %llu us after the faults ended, allowed are %llu",
            (unsigned long long)c->out->writable_us, (unsigned long long)limit);
    }
}
static bool producers_idle(void *user)
{
    return simproducers_idle(user);
}
static bool consumers_done(void *user)
{
    struct simcluster *c = user;
    for (uint32_t i = 0; i < c->shape.consumers; i++) {
        for (uint32_t j = 0; j < c->shape.partitions; j++) {
            const struct simcursor *u = &c->consumer[i].cur[j], *v = &c->consumer[i].roam[j];
            if (u->back >= 0 || u->position < simtruth_end(c, j) || v->back >= 0 ||
                v->position < simtruth_end(c, j))
                return false;
        }
    }
    return true;
}
static void name_stuck_consumers(struct simcluster *c)
{
    for (uint32_t i = 0; i < c->shape.consumers; i++) {
        for (uint32_t j = 0; j < c->shape.partitions; j++) {
            const struct simcursor *u[] = {&c->consumer[i].cur[j], &c->consumer[i].roam[j]};
            for (int k = 0; k < 2; k++)
                if (u[k]->position < simtruth_end(c, j))
                    simcluster_violation(
                        c, 3, "consumer %u of partition %u is at %lld and cannot read on to %lld%s", i, j,
                        (long long)u[k]->position, (long long)simtruth_end(c, j), k ? " (anywhere)" : "");
        }
    }
}
/* acks=1 is kept by the disk: once its machine is back and nothing more happens, the record is in the log. */
static bool tiers_empty(void *user)
{
    struct simcluster *c = user;
    for (uint32_t m = 0; m < c->shape.nodes; m++) {
        size_t durable;
        if (c->machine[m].proc && c->machine[m].proc->state == PROC_UP &&
            floe_sim_disk_entries(c->machine[m].disk, &durable) && durable)
            return false;
    }
    return true;
}
static void check_tiers(struct simcluster *c)
{
    for (uint32_t m = 0; m < c->shape.nodes; m++) {
        size_t durable, n = floe_sim_disk_entries(c->machine[m].disk, &durable);
        if (durable && c->machine[m].proc && c->machine[m].proc->state == PROC_UP)
            simcluster_violation(c, 0, "%zu entries (%zu durable) are left in the tier of %s", n, durable,
                                 c->machine[m].name);
    }
}
static void check_acks1(struct simcluster *c)
{
    for (uint32_t i = 0; i < c->sent_n; i++) {
        const struct simsent *s = &c->sent[i];
        if (s->state != SENT_ACKED || s->acks != 1 || !s->disk || s->present)
            continue;
        for (uint32_t m = 0; m < c->shape.nodes; m++) {
            if (c->machine[m].disk == s->disk && c->machine[m].proc && c->machine[m].proc->state == PROC_UP)
                simcluster_violation(
                    c, 0, "partition %u: sending %u was acknowledged with acks=1 by %s and is nowhere",
                    s->part, i, c->machine[m].name);
        }
    }
}
static bool members_settled(void *user)
{
    return simmembers_settled(user);
}
static bool classics_settled(void *user)
{
    return simclassics_settled(user);
}
static bool converts_settled(void *user)
{
    return simconverts_settled(user);
}
static void settle(struct simcluster *c)
{
    if (!floe_sim_run_until(c->sim, producers_idle, c, 60 * SECOND))
        simcluster_violation(c, 10, "a producer has not ended 60 s after the faults");
    /* Whoever was stopped goes on only then. */
    floe_sim_run_for(c->sim,
                     FLOE_MAX(c->healed_us, floe_sim_now_us(c->sim)) - floe_sim_now_us(c->sim) + 2 * SECOND);
    simprocs_see_each_other(c);
    simmixed_settle(c);
    if (!floe_sim_run_until(c->sim, members_settled, c, 10 * SECOND))
        simcluster_violation(c, 9, "a group has partitions without an owner 10 s after the faults");
    /* Who died last is out after its session, who has come back since after a rebalance. */
    if (!floe_sim_run_until(c->sim, classics_settled, c, 40 * SECOND))
        simcluster_violation(c, 9, "a classic group has partitions without an owner 40 s after the faults");
    /* Members of the consumer protocol that died are out after 45 s. */
    if (!floe_sim_run_until(c->sim, converts_settled, c, 70 * SECOND))
        simcluster_violation(
            c, 9, "the group that is converted has partitions without an owner 70 s after the faults");
    /* What acks=1 left is sent again: calls that got lost time out first. */
    (void)floe_sim_run_until(c->sim, tiers_empty, c, 45 * SECOND);
    floe_sim_run_for(c->sim, 1 * SECOND);
    simtruth_check(c);
    check_acks1(c);
    check_tiers(c);
    if (c->shape.theme == SIM_THEME_FLIP)
        simtheme_flip(c);
    if (!floe_sim_run_until(c->sim, consumers_done, c, 120 * SECOND))
        name_stuck_consumers(c);
}
static bool all_down(void *user)
{
    struct simcluster *c = user;
    for (uint32_t i = 0; i < c->shape.nodes; i++) {
        if (c->machine[i].proc)
            return false;
    }
    return true;
}
static bool none_starts(void *user)
{
    const struct simcluster *c = user;
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        if (c->machine[i].proc && c->machine[i].proc->state == PROC_STARTING)
            return false;
    return true;
}
/* A clean end of every broker, at once or one after the other, changes nothing that was written. */
static void end_all(struct simcluster *c)
{
    bool at_once = floe_rng_below(&c->rng, 2);
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        c->machine[i].keep_down = true;
    if (!floe_sim_run_until(c->sim, none_starts, c, 10 * SECOND))
        simcluster_violation(c, 10, "a broker has not started 10 s after the faults");
    for (uint32_t i = 0; i < c->shape.nodes; i++) {
        if (c->machine[i].proc && c->machine[i].proc->state == PROC_UP)
            simproc_end(c->machine[i].proc);
        if (!at_once)
            floe_sim_run_for(c->sim, 3 * SECOND);
    }
    if (!floe_sim_run_until(c->sim, all_down, c, 25 * SECOND))
        simcluster_violation(c, 0, "a broker has not ended 25 s after it was asked to");
    simtruth_check(c);
}
static void play(struct simcluster *c)
{
    if (!bring_up(c))
        return;
    while (c->producers < c->shape.producers) {
        simproducer_start(&c->producer[c->producers], c, c->producers);
        c->producers++;
    }
    for (uint32_t i = 0; i < c->shape.consumers; i++)
        simconsumer_start(&c->consumer[i], c, i);
    simgarbage_play(c);
    for (uint32_t i = 0; c->cfg.groups && i < c->shape.committers; i++)
        simcommitter_start(&c->committer[i], c, i);
    for (uint32_t i = 0; c->cfg.groups && i < SIM_MEMBERS; i++)
        simmember_start(&c->member[i], c, i);
    if (c->cfg.groups && c->cfg.seed % 2 == 0) /* the others keep the story that they had before */
        simclassics_start(c);
    if (c->shape.theme == SIM_THEME_CONVERT || (c->cfg.groups && c->cfg.seed >> 32 && c->cfg.seed % 2))
        simconverts_start(c);
    floe_sim_run_for(c->sim, 2 * SECOND);
    simextra_start(&c->extra, c, SIM_PRODUCERS_MAX - 1);
    simtopics_start(c);
    simcluster_nemesis_start(c);
    simtheme_start(c);
    simmixed_start(c);
    if (c->cfg.breaks)
        floe_sim_bucket_break(c->bucket, (enum floe_sim_break)c->cfg.breaks,
                              c->cfg.breaks <= FLOE_SIM_REPLACE_IGNORED ? 400000 : 20000);
    floe_sim_run_for(c->sim, 1000ull * (c->cfg.run_ms ? c->cfg.run_ms : 40000));
    simcluster_heal(c);
    floe_sim_unschedule(c->sim, &c->admin);
    check_writable(c);
    c->stopping = true;
    simtopics_settle(c);
    settle(c);
    end_all(c);
}
static void clean_up(struct simcluster *c)
{
    for (uint32_t i = 0; i < c->shape.nodes; i++) {
        c->machine[i].keep_down = true;
        if (c->machine[i].proc)
            floe_sim_node_kill(c->machine[i].proc->node);
    }
    floe_sim_run_for(c->sim, 1);
    for (uint32_t i = 0; i < SIM_PRODUCERS_MAX; i++)
        simproducer_fini(&c->producer[i]);
    simproducer_fini(&c->extra);
    floe_sim_unschedule(c->sim, &c->admin);
    for (uint32_t i = 0; i < SIM_CONSUMERS_MAX; i++) {
        for (uint32_t j = 0; j < SIM_PARTITIONS_MAX; j++) {
            floe_sim_unschedule(c->sim, &c->consumer[i].cur[j].tick);
            floe_sim_unschedule(c->sim, &c->consumer[i].roam[j].tick);
        }
    }
    for (uint32_t i = 0; c->cfg.groups && i < c->shape.committers; i++)
        simcommitter_fini(&c->committer[i]);
    for (uint32_t i = 0; c->cfg.groups && i < SIM_MEMBERS; i++)
        simmember_fini(&c->member[i]);
    if (c->classics)
        simclassics_fini(c);
    if (c->converts)
        simconverts_fini(c);
    simcalls_fini(c);
    if (c->watch)
        simwatch_fini(c);
    if (c->tables)
        simtables_fini(c);
    if (c->garbage)
        simgarbage_fini(c);
    simmixed_fini(c);
    for (uint32_t i = 0; i < SIM_PARTITIONS_MAX; i++)
        free(c->ledger[i].value);
    free(c->sent);
    free(c->ids);
}
void simcluster_run(const struct simcluster_config *cfg, struct simcluster_result *out)
{
    struct simcluster *c = calloc(1, sizeof *c);
    FLOE_ASSERT(c);
    *out = (struct simcluster_result){0};
    c->cfg = *cfg;
    c->cfg.groups |= cfg->theme == SIM_THEME_CONVERT;
    c->out = out;
    c->sim = floe_sim_create(cfg->seed);
    floe_rng_init(&c->rng, cfg->seed ^ 0x5eed);
    if (cfg->story)
        floe_sim_story(c->sim, on_story, c);
    if (!cfg->hash)
        floe_sim_mute(c->sim);
    floe_log_hook(on_log, c);
    floe_log_setup(cfg->story || cfg->hash ? FLOE_LOG_DEBUG : FLOE_LOG_ERROR, false);
    c->bucket = floe_sim_bucket_create(c->sim);
    c->net = floe_sim_net_create(c->sim);
    for (uint32_t i = 0; i < SIM_PARTITIONS_MAX; i++)
        c->ledger[i].served_epoch = -1;
    floe_list_init(&c->calls);
    draw_shape(c);
    const struct simshape *sh = &c->shape;
    floe_sim_note(c->sim, NULL, "%u nodes, %u partitions, %u producers, %u consumers, lease %u ms", sh->nodes,
                  sh->partitions, sh->producers, sh->consumers, sh->lease_ms);
    floe_sim_note(
        c->sim, NULL,
        "%u PUTs in flight, rate %.0f, segments of %u bytes, linger %u us, memory %llu + %llu, tier %llu%s",
        sh->puts_in_flight, sh->put_rate, sh->segment_bytes, sh->linger_us,
        (unsigned long long)sh->pending_bytes, (unsigned long long)sh->cache_bytes,
        (unsigned long long)sh->tier_bytes, sh->spill_all ? ", all through the tier" : "");
    play(c);
    out->hash = floe_sim_hash(c->sim);
    clean_up(c);
    floe_log_hook(NULL, NULL);
    floe_sim_destroy(&c->sim);
    free(c);
}
