/* Wiring: what the lease module decides, the log does; what the log achieves, the lease module writes down.
 */
#include "broker/core_int.h"
#include <floe/base/log.h>
#include <stdio.h>
#include <stdlib.h>

#define DRAIN_LIMIT_US 15000000u /* of the 25 s that an end may take */

/* ---- lease → log ---- */

static void session_open(void *user, const struct floe_session_name *s)
{
    struct floe_core *c = user;
    char name[FLOE_SESSION_NAME_MAX];
    floe_session_format(name, s);
    floe_log_info("session", "session %s is open", name);
    c->stats.sessions++;
    floe_log_session_open(c->log, s);
}

static void session_alive(void *user, bool alive)
{
    struct floe_core *c = user;
    c->stats.lapses += !alive;
    floe_log_session_alive(c->log, alive);
}

static void session_over(void *user, const char *why)
{
    struct floe_core *c = user;
    floe_log_warn("session", "the session is over: %s; a new one opens", why);
    floe_groups_over(c->groups);
    floe_log_session_over(c->log);
}

static void adopt(void *user, const struct floe_lease_entry *entries, uint32_t n)
{
    struct floe_core *c = user;
    for (uint32_t i = 0; i < n; i++)
        ++*(entries[i].epoch == 0 ? &c->stats.adopted_new : &c->stats.adopted_taken);
    floe_log_adopt(c->log, entries, n);
}

static void taking(void *user, const struct floe_lease_entry *e, uint64_t end)
{
    struct floe_core *c = user;
    floe_log_taking(c->log, e, end);
}

static void drop(void *user, const struct floe_tp *tp)
{
    struct floe_core *c = user;
    floe_groups_dropped(c->groups, tp);
    c->stats.dropped++;
    floe_log_drop(c->log, tp);
}

static uint64_t next_key(void *user)
{
    struct floe_core *c = user;
    return floe_log_next_key(c->log);
}

static uint64_t committed(void *user)
{
    struct floe_core *c = user;
    return floe_log_committed(c->log);
}

static uint64_t own_floor(void *user, const struct floe_session_name *s)
{
    struct floe_core *c = user;
    return floe_retain_floor(c->retain, s);
}

static uint64_t checkpoint_now(void *user, const struct floe_tp *tp)
{
    struct floe_core *c = user;
    return floe_log_checkpoint_now(c->log, tp);
}

static void stop(void *user, const struct floe_tp *tp)
{
    struct floe_core *c = user;
    floe_log_stop(c->log, tp);
}

static void resume(void *user, const struct floe_tp *tp)
{
    struct floe_core *c = user;
    floe_log_resume(c->log, tp);
}

static void changed(void *user)
{
    struct floe_core *c = user; /* Metadata is answered from the lease module's cache */
    floe_log_leases_changed(c->log);
}

static void lease_note(void *user, enum floe_log_level level, const char *msg)
{
    (void)user;
    floe_log(level, "lease", "%s", msg);
}

static void fatal(void *user, const struct floe_error *err)
{
    struct floe_core *c = user;
    c->cfg.fatal(c->cfg.user, err);
}

/* ---- log → lease ---- */

static bool alive(void *user)
{
    struct floe_core *c = user;
    return floe_lease_alive(c->lease);
}

static bool pressed(void *user)
{
    struct floe_core *c = user;
    return floe_lease_pressed(c->lease);
}

static void adopted(void *user, const struct floe_tp *tp, int32_t epoch, const struct floe_error *err)
{
    struct floe_core *c = user;
    if (err->code == FLOE_ENOTHOLDER) /* somebody else has taken it meanwhile */
        floe_log_debug("log", "a partition was rebuilt in vain: %s", err->msg);
    else if (err->code)
        floe_log_error("log", "a partition could not be rebuilt (others go on): %s", err->msg);
    else
        floe_groups_serving(c->groups, tp, epoch);
    if (!err->code && c->cfg.serves)
        c->cfg.serves(c->cfg.user, tp, epoch);
    floe_lease_adopted(c->lease, tp, epoch, err);
}

struct recheck {
    struct floe_list link;
    struct floe_core *c;
    struct floe_tp tp;
    int32_t epoch;
    void (*done)(void *user2, bool still);
    void *user2;
};

static void rechecked(void *user, const struct floe_error *err)
{
    struct recheck *r = user;
    struct floe_lease_entry e;
    const struct floe_session_name *own = floe_lease_session(r->c->lease);
    bool still = !err->code && own && floe_lease_lookup(r->c->lease, &r->tp, &e) &&
                 floe_session_name_eq(&e.holder, own) && e.epoch == r->epoch;
    void (*done)(void *, bool) = r->done;
    void *user2 = r->user2;
    floe_list_remove(&r->link);
    free(r);
    done(user2, still);
}

static void recheck(void *user, const struct floe_tp *tp, int32_t epoch, uint64_t since_us,
                    void (*done)(void *user2, bool still), void *user2)
{
    struct floe_core *c = user;
    struct recheck *r = calloc(1, sizeof *r);
    if (!r) {
        done(user2, false);
        return;
    }
    *r = (struct recheck){.c = c, .tp = *tp, .epoch = epoch, .done = done, .user2 = user2};
    floe_list_push_back(&c->rechecks, &r->link);
    floe_lease_refresh_since(c->lease, tp, since_us, rechecked, r);
}

static void checkpointed(void *user, const struct floe_tp *tp, int32_t epoch,
                         const struct floe_checkpoint_ref *ref)
{
    struct floe_core *c = user;
    floe_lease_checkpointed(c->lease, tp, epoch, ref);
}

static void stopped(void *user, const struct floe_tp *tp, int32_t epoch, uint64_t end)
{
    struct floe_core *c = user;
    floe_lease_stopped(c->lease, tp, epoch, end);
}

static void session_lost(void *user, const char *why)
{
    struct floe_core *c = user;
    floe_lease_session_lost(c->lease, why);
}

static void log_note(void *user, const struct floe_error *err)
{
    (void)user;
    floe_log(err->code ? FLOE_LOG_WARN : FLOE_LOG_INFO, "log", "%s", err->msg);
}

static bool lease_of(void *user, const struct floe_tp *tp, struct floe_lease_entry *out)
{
    struct floe_core *c = user;
    return floe_lease_lookup(c->lease, tp, out);
}

static bool node_of(void *user, int32_t node, struct floe_node_info *out)
{
    struct floe_core *c = user;
    return floe_lease_node(c->lease, node, out);
}

static uint32_t neighbours(void *user, struct floe_log_neighbour *out, uint32_t max)
{
    struct floe_core *c = user;
    uint32_t n = 0, count = c->cfg.rack && c->cfg.rack[0] ? floe_lease_nodes(c->lease, NULL, 0) : 0;
    struct floe_node_info *nodes = count ? calloc(count, sizeof *nodes) : NULL;
    if (nodes)
        count = FLOE_MIN(floe_lease_nodes(c->lease, nodes, count), count);
    for (uint32_t i = 0; nodes && i < count && n < max; i++) {
        if (nodes[i].state != FLOE_NODE_LIVE || strcmp(nodes[i].rack, c->cfg.rack) != 0)
            continue;
        out[n].node = nodes[i].session.node;
        out[n].own = nodes[i].session.node == floe_lease_node_id(c->lease);
        memcpy(out[n++].addr, nodes[i].peer_addr, sizeof out[0].addr);
    }
    free(nodes);
    return n;
}

static const char *topic_name(void *user, const struct floe_uuid *topic)
{
    struct floe_core *c = user;
    const struct floe_topic *t = floe_catalog_by_id(c->catalog, topic);
    return t ? t->name : NULL;
}

static bool sealed(void *user, const struct floe_session_name *s)
{
    struct floe_core *c = user;
    struct floe_node_info n;
    if (!floe_lease_node(c->lease, s->node, &n))
        return false;
    /* The next epoch of a node id opens only after the former session was sealed or had ended. */
    if (!floe_session_name_eq(&n.session, s))
        return n.session.epoch > s->epoch;
    return n.state == FLOE_NODE_SEALED || n.state == FLOE_NODE_ENDED;
}

struct take_id {
    struct floe_list link;
    void (*done)(void *user2, const struct floe_error *err, int64_t id, int16_t epoch);
    void *user2;
};

static void id_taken(void *user, const struct floe_error *err, int64_t id)
{
    struct take_id *t = user;
    void (*done)(void *, const struct floe_error *, int64_t, int16_t) = t->done;
    void *user2 = t->user2;
    floe_list_remove(&t->link);
    free(t);
    done(user2, err, id, 0);
}

static void reappend_producer_id(void *user,
                                 void (*done)(void *user2, const struct floe_error *err, int64_t id,
                                              int16_t epoch),
                                 void *user2)
{
    struct floe_core *c = user;
    struct take_id *t = calloc(1, sizeof *t);
    if (!t) {
        struct floe_error err;
        floe_error_set(&err, FLOE_ENOMEM, "no memory");
        done(user2, &err, -1, -1);
        return;
    }
    *t = (struct take_id){.done = done, .user2 = user2};
    floe_list_push_back(&c->take_ids, &t->link);
    floe_catalog_producer_id(c->catalog, id_taken, t);
}

static bool topic_served(void *user, const struct floe_uuid *topic, int32_t partitions)
{
    struct floe_core *c = user;
    for (int32_t i = 0; i < partitions; i++) {
        struct floe_tp tp = {*topic, i};
        struct floe_partition *p;
        if (floe_log_find(c->log, &tp, &p) != FLOE_PARTITION_ABSENT)
            return true;
    }
    return false;
}

static void chain_floor(void *user, const struct floe_session_name *s,
                        void (*done)(void *user2, const struct floe_error *err, uint64_t floor), void *user2)
{
    struct floe_core *c = user;
    floe_lease_read_floor(c->lease, s, done, user2);
}

/* ---- catalog → garbage ---- */

static void topic_gone(void *user)
{
    struct floe_core *c = user;
    floe_retain_topic_gone(c->retain);
}

static enum floe_retain_topic retain_topic(void *user, const struct floe_uuid *id)
{
    static const enum floe_retain_topic of[] = {[FLOE_CATALOG_ABSENT] = FLOE_RETAIN_TOPIC_UNKNOWN,
                                                [FLOE_CATALOG_KEPT] = FLOE_RETAIN_TOPIC_LIVE,
                                                [FLOE_CATALOG_TOMBSTONE] = FLOE_RETAIN_TOPIC_GONE};
    struct floe_core *c = user;
    return of[floe_catalog_certain_of(c->catalog, id)];
}

static void all_topics_read(struct floe_catalog_wait *w)
{
    struct floe_core *c = w->user;
    c->all_topics_done(c->all_topics_user, !w->err.code && floe_catalog_complete(c->catalog));
}

static void read_topics(void *user, void (*done)(void *user2, bool complete), void *user2)
{
    struct floe_core *c = user;
    c->all_topics_done = done;
    c->all_topics_user = user2;
    c->all_topics = (struct floe_catalog_wait){.all = true, .done = all_topics_read, .user = c};
    floe_catalog_resolve(c->catalog, &c->all_topics);
}

/* ---- life ---- */

static enum floe_err create_retain(struct floe_core *c, struct floe_error *err)
{
    struct floe_retain_config cfg = {.loop = c->cfg.loop,
                                     .store = c->cfg.store,
                                     .table = c->cfg.table,
                                     .lease = c->lease,
                                     .cluster = c->cfg.cluster.id,
                                     .age_us = c->cfg.garbage_age_us ? c->cfg.garbage_age_us
                                                                     : FLOE_RETAIN_AGE_US_DEFAULT,
                                     .user = c,
                                     .topic = retain_topic,
                                     .read_topics = read_topics};
    return floe_retain_create(&c->retain, &cfg, err);
}

static enum floe_err create_lease(struct floe_core *c, struct floe_error *err)
{
    struct floe_lease_config cfg = {
        .loop = c->cfg.loop,
        .store = c->cfg.store,
        .table = c->cfg.table,
        .tier = c->cfg.tier,
        .peers = c->cfg.peers,
        .cluster = c->cfg.cluster.id,
        .shards = c->cfg.cluster.shards,
        .lease_ms = c->cfg.lease_ms,
        .addrs = c->cfg.addrs,
        .addr_count = c->cfg.addr_count,
        .peer_addr = c->cfg.peer_addr,
        .rack = c->cfg.rack,
        .newest_format = c->cfg.newest_format,
        .hooks = {.user = c,
                  .session_open = session_open,
                  .session_alive = session_alive,
                  .session_over = session_over,
                  .adopt = adopt,
                  .taking = taking,
                  .drop = drop,
                  .next_key = next_key,
                  .committed = committed,
                  .changed = changed,
                  .checkpoint_now = checkpoint_now,
                  .stop = stop,
                  .resume = resume,
                  .note = lease_note,
                  .floor = own_floor,
                  .fatal = fatal},
    };
    return floe_lease_create(&c->lease, &cfg, err);
}

static enum floe_err create_log(struct floe_core *c, struct floe_error *err)
{
    struct floe_log_config cfg = {
        .loop = c->cfg.loop,
        .store = c->cfg.store,
        .tier = c->cfg.tier,
        .peers = c->cfg.peers,
        .cluster = c->cfg.cluster.id,
        .pending_budget = c->cfg.pending,
        .cache_budget = c->cfg.cache,
        .segment_bytes_max = c->cfg.segment_bytes,
        .linger_us = c->cfg.linger_us,
        .puts_in_flight_max = c->cfg.puts_in_flight,
        .put_rate = c->cfg.put_rate,
        .put_burst = c->cfg.put_burst,
        .spill_all = c->cfg.spill_all,
        .hooks = {.user = c,
                  .alive = alive,
                  .pressed = pressed,
                  .adopted = adopted,
                  .recheck = recheck,
                  .checkpointed = checkpointed,
                  .session_lost = session_lost,
                  .stopped = stopped,
                  .fatal = fatal,
                  .note = log_note,
                  .topic_name = topic_name,
                  .lease = lease_of,
                  .node = node_of,
                  .neighbours = neighbours,
                  .floor = chain_floor,
                  .sealed = sealed,
                  .reappend_producer_id = reappend_producer_id,
                  .reappend_topic = floe_core_reappend_topic,
                  .reappend_epoch_end = c->cfg.peers ? floe_core_reappend_epoch_end : NULL,
                  .reappend_send = c->cfg.peers ? floe_core_reappend_send : NULL,
                  .set_aside = floe_core_set_aside},
    };
    return floe_log_create(&c->log, &cfg, err);
}

enum floe_err floe_core_create(struct floe_core **out, const struct floe_core_config *cfg,
                               struct floe_error *err)
{
    struct floe_core *c = calloc(1, sizeof *c);
    if (!c)
        return floe_error_set(err, FLOE_ENOMEM, "no memory");
    c->cfg = *cfg;
    floe_list_init(&c->rechecks);
    floe_list_init(&c->take_ids);
    floe_list_init(&c->remotes);
    snprintf(c->aside_dir, sizeof c->aside_dir, "%s", cfg->aside_dir ? cfg->aside_dir : "");
    enum floe_err rc = create_lease(c, err);
    if (!rc)
        rc = create_log(c, err);
    if (!rc)
        rc = create_retain(c, err);
    if (!rc) {
        struct floe_catalog_config cat = {.loop = cfg->loop,
                                          .table = cfg->table,
                                          .lease = c->lease,
                                          .peers = cfg->peers,
                                          .cluster = cfg->cluster.id,
                                          .default_max_message_bytes = cfg->api.message_max,
                                          .default_log_append_time = cfg->log_append_time,
                                          .topic_served = topic_served,
                                          .topic_gone = topic_gone,
                                          .user = c};
        rc = floe_catalog_create(&c->catalog, &cat, err);
    }
    if (!rc) {
        struct floe_groups_config groups = {.loop = cfg->loop,
                                            .table = cfg->table,
                                            .lease = c->lease,
                                            .log = c->log,
                                            .catalog = c->catalog,
                                            .set = cfg->group};
        if (groups.set.partitions == 0)
            floe_group_settings_default(&groups.set);
        rc = floe_groups_create(&c->groups, &groups, err);
        c->cfg.group = groups.set;
    }
    if (!rc) {
        struct floe_api_config api = cfg->api;
        api.loop = cfg->loop;
        api.lease = c->lease;
        api.catalog = c->catalog;
        api.log = c->log;
        api.groups = c->groups;
        api.offsets_partitions = c->cfg.group.partitions;
        api.cluster = cfg->cluster.id;
        api.rack = cfg->rack;
        rc = floe_api_create(&c->api, &api, err);
    }
    if (rc)
        floe_core_destroy(&c);
    else
        *out = c;
    return rc;
}

static void lease_started(void *user, const struct floe_error *err)
{
    struct floe_core *c = user;
    if (!err->code) {
        floe_catalog_start(c->catalog);
        floe_retain_start(c->retain);
    }
    c->started(c->started_user, err);
}

void floe_core_start(struct floe_core *c, void (*started)(void *user, const struct floe_error *err),
                     void *user)
{
    c->started = started;
    c->started_user = user;
    floe_lease_start(c->lease, lease_started, c);
    floe_catalog_read_early(c->catalog);
}

static void log_ended(void *user, const struct floe_error *err, uint64_t end)
{
    struct floe_core *c = user;
    if (err->code)
        c->ended(c->ended_user, err);
    else
        floe_lease_end(c->lease, end, c->ended, c->ended_user);
}

static void drained(void *user)
{
    struct floe_core *c = user;
    floe_log_session_end(c->log, log_ended, c);
}

void floe_core_end(struct floe_core *c, void (*done)(void *user, const struct floe_error *err), void *user)
{
    c->ended = done;
    c->ended_user = user;
    floe_lease_drain(c->lease, DRAIN_LIMIT_US, drained, c);
}

void floe_core_destroy(struct floe_core **cp)
{
    struct floe_core *c = *cp;
    if (!c)
        return;
    *cp = NULL;
    floe_catalog_destroy(&c->catalog);
    floe_retain_destroy(&c->retain);
    floe_log_destroy(&c->log);
    floe_groups_destroy(&c->groups);
    floe_lease_destroy(&c->lease);
    floe_api_destroy(&c->api); /* the log knew its appends */
    floe_core_reappend_fini(c);
    struct floe_list *l;
    while ((l = floe_list_pop_front(&c->rechecks)))
        free(FLOE_LIST_ENTRY(l, struct recheck, link));
    while ((l = floe_list_pop_front(&c->take_ids)))
        free(FLOE_LIST_ENTRY(l, struct take_id, link));
    free(c);
}

struct floe_api *floe_core_api(struct floe_core *c)
{
    return c->api;
}
const struct floe_core_stats *floe_core_stats(const struct floe_core *c)
{
    return &c->stats;
}
struct floe_log *floe_core_log(struct floe_core *c)
{
    return c->log;
}
struct floe_lease *floe_core_lease(struct floe_core *c)
{
    return c->lease;
}
struct floe_retain *floe_core_retain(struct floe_core *c)
{
    return c->retain;
}
struct floe_groups *floe_core_groups(struct floe_core *c)
{
    return c->groups;
}
