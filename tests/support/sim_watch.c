/* Watches the bucket while it changes: chains are written once, the table only by conditional writes, leader
 * epochs grow, a sealed end stays. */
#include <jansson.h>
#include <stdlib.h>

#include <floe/base/assert.h>

#include "simcluster_int.h"

#define EPOCHS_MAX 1024
#define SHARDS_MAX 256

struct lease_seen {
    int32_t epoch;
    uint64_t since_us; /* this epoch landed then */
    char holder[FLOE_SESSION_NAME_MAX];
    uint16_t node[EPOCHS_MAX]; /* of each epoch's holder; 0: none */
};
struct simwatch {
    struct simcluster *c;
    struct lease_seen lease[SIM_PARTITIONS_MAX];
    json_t *shard[SHARDS_MAX]; /* of leases, as it was last */
    int64_t node_epoch[64];
    char node_id[64][24];
    uint64_t claimed_us[64]; /* when a session of it was begun, and by whom */
    const struct floe_sim_node *claimed_by[64];
};

static void check_entry(struct simwatch *w, const char *key, int part, json_t *entry, json_t *sessions)
{
    struct lease_seen *seen = &w->lease[part];
    int32_t epoch = (int32_t)json_integer_value(json_object_get(entry, "e"));
    const char *holder =
        json_string_value(json_array_get(sessions, (size_t)json_integer_value(json_object_get(entry, "h"))));
    /* Whoever was still making a topic that others made and deleted meanwhile writes its leases once more,
     * and takes them away again when it finds that out. */
    if (holder && epoch == 0 && simcluster_part_gone(w->c, (uint32_t)part))
        return;
    if (!holder || epoch < seen->epoch || (epoch == seen->epoch && strcmp(holder, seen->holder) != 0))
        simcluster_violation(w->c, 6, "%s partition %d: holder %s epoch %d after %s epoch %d", key, part,
                             holder ? holder : "(none)", epoch, seen->holder, seen->epoch);
    if (epoch != seen->epoch)
        seen->since_us = floe_sim_now_us(w->c->sim);
    if (epoch != seen->epoch)
        floe_sim_note(w->c->sim, NULL, "lease of %d: %s at epoch %d", part, holder ? holder : "(none)",
                      epoch);
    if (epoch >= 0 && epoch < EPOCHS_MAX && holder)
        seen->node[epoch] = (uint16_t)atoi(holder);
    seen->epoch = epoch;
    snprintf(seen->holder, sizeof seen->holder, "%s", holder ? holder : "");
}
static const char *holder_of(json_t *value, json_t *entry)
{
    json_t *at = json_object_get(entry, "h");
    return at ? json_string_value(
                    json_array_get(json_object_get(value, "sessions"), (size_t)json_integer_value(at)))
              : NULL;
}
/* Who has something now that this session held, or null. */
static const char *gives_away(json_t *was, json_t *now, const char *session)
{
    const char *hex, *index;
    json_t *topic, *entry;
    json_object_foreach(json_object_get(was, "topics"), hex, topic)
    {
        json_object_foreach(topic, index, entry)
        {
            const char *before = holder_of(was, entry);
            json_t *then = json_object_get(json_object_get(json_object_get(now, "topics"), hex), index);
            const char *after = holder_of(now, then);
            if (before && after && strcmp(before, session) == 0 && strcmp(after, session) != 0)
                return after;
        }
    }
    return NULL;
}
static void check_moved(struct simwatch *w, const struct floe_sim_store_event *e, json_t *value)
{
    json_t **was = &w->shard[(uint32_t)atoi(e->key + strlen("table/lease/")) % SHARDS_MAX];
    for (uint32_t i = 0; i < w->c->shape.nodes && *was; i++) {
        const struct simproc *p = w->c->machine[i].proc;
        const struct floe_session_name *s = p && p->node == e->node ? floe_lease_session(p->lease) : NULL;
        char name[FLOE_SESSION_NAME_MAX];
        if (!s)
            continue;
        floe_session_format(name, s);
        if (gives_away(value, *was, name))
            simtheme_taken(w->c, e);
        const char *taker = gives_away(*was, value, name);
        if (taker)
            simtheme_lease_moved(w->c, e, i, taker);
    }
    json_decref(*was);
    *was = json_incref(value);
}
static void check_shard(struct simwatch *w, const struct floe_sim_store_event *e, json_t *value)
{
    const char *index, *key = e->key;
    json_t *entry, *topic, *sessions = json_object_get(value, "sessions");
    const char *hex;
    struct floe_uuid id;
    if ((w->c->shape.theme >= SIM_THEME_RETURN && w->c->shape.theme <= SIM_THEME_RACED) ||
        w->c->shape.theme == SIM_THEME_DEAF)
        check_moved(w, e, value);
    simmixed_lease(w->c, e, value);
    json_object_foreach(json_object_get(value, "topics"), hex, topic)
    {
        if (strlen(hex) != 32 || !floe_hex_decode(id.b, hex, sizeof id.b))
            continue;
        json_object_foreach(topic, index, entry)
        {
            int32_t part = simcluster_part(w->c, &id, atoi(index));
            if (part >= 0)
                check_entry(w, key, part, entry, sessions);
        }
    }
}
/* A broker has written that it lives: nobody takes it for dead before a lease time from now. Or that it has
 * ended: anybody may have taken over. */
static void note_own(struct simwatch *w, const struct floe_sim_node *node, bool lives)
{
    struct simproc *p = simproc_of(w->c, node);
    if (!p)
        return;
    p->over = !lives;
    if (lives)
        p->renewed_us = floe_sim_now_us(w->c->sim);
}
static void check_node(struct simwatch *w, const struct floe_sim_store_event *e, json_t *value)
{
    const char *key = e->key;
    int id = atoi(key + strlen("table/node/"));
    if (id < 0 || id >= 64)
        return;
    simmixed_node(w->c, id, e->node, value);
    int64_t epoch = json_integer_value(json_object_get(value, "epoch"));
    const char *session = json_string_value(json_object_get(value, "id"));
    const char *state = json_string_value(json_object_get(value, "state"));
    bool other = w->node_epoch[id] && (!session || strcmp(session, w->node_id[id]) != 0);
    if (epoch < w->node_epoch[id] || (epoch == w->node_epoch[id] && other))
        simcluster_violation(w->c, 6, "%s: epoch %lld of session %s after epoch %lld of %s", key,
                             (long long)epoch, session ? session : "(none)", (long long)w->node_epoch[id],
                             w->node_id[id]);
    bool live = state && strcmp(state, "live") == 0;
    if (live && (other || !w->node_epoch[id])) {
        w->claimed_us[id] = floe_sim_now_us(w->c->sim);
        w->claimed_by[id] = e->node;
    }
    if (live || (state && strcmp(state, "ended") == 0))
        note_own(w, e->node, live);
    if (state && !live)
        floe_sim_note(w->c->sim, NULL, "node %d epoch %lld is %s", id, (long long)epoch, state);
    w->node_epoch[id] = epoch;
    snprintf(w->node_id[id], sizeof w->node_id[id], "%s", session ? session : "");
}
bool simwatch_unseen(struct simcluster *c)
{
    const struct simwatch *w = c->watch;
    for (uint32_t id = 0; id < 64; id++) {
        const struct simproc *p = simproc_of(c, w->claimed_by[id]);
        bool lives = p && p->state != PROC_DEAD;
        if (w->claimed_us[id] && !lives &&
            floe_sim_now_us(c->sim) < w->claimed_us[id] + 1000ull * c->shape.lease_ms)
            return true;
    }
    return false;
}
static void check_table(struct simwatch *w, const struct floe_sim_store_event *e)
{
    if (e->cond == FLOE_PUT_ANY)
        simcluster_violation(w->c, 6, "%s is written without a condition", e->key);
    if (strncmp(e->key, "table/ended/", 12) == 0 && e->cond != FLOE_PUT_CREATE)
        simcluster_violation(w->c, 7, "%s: a sealed end is overwritten", e->key);
    json_t *root = json_loadb((const char *)e->object->data, e->object->n, 0, NULL);
    json_t *value = json_object_get(root, "value");
    if (!value)
        simcluster_violation(w->c, 6, "%s is no table record", e->key);
    else if (strncmp(e->key, "table/lease/", 12) == 0)
        check_shard(w, e, value);
    else if (strncmp(e->key, "table/node/", 11) == 0)
        check_node(w, e, value);
    else if (strcmp(e->key, "table/cluster") == 0)
        simmixed_cluster(w->c, value);
    else if (strncmp(e->key, "table/topic/", 12) == 0)
        simtopics_record(w->c, e->key + 12, value);
    json_decref(root);
}
static void on_event(void *user, const struct floe_sim_store_event *e)
{
    struct simwatch *w = user;
    bool chain = strncmp(e->key, "chain/", 6) == 0, table = strncmp(e->key, "table/", 6) == 0;
    simgarbage_event(w->c, e);
    if (table)
        simtables_event(w->c, e);
    if (e->kind != FLOE_STORE_PUT)
        return;
    if (chain && e->cond != FLOE_PUT_CREATE)
        simcluster_violation(w->c, 7, "%s is written without create-only", e->key);
    if (table && e->result == FLOE_OK)
        check_table(w, e);
}
uint64_t simwatch_superseded(struct simcluster *c, uint32_t part, int32_t epoch)
{
    const struct lease_seen *seen = &c->watch->lease[part];
    return seen->epoch > epoch ? seen->since_us : 0;
}
void simwatch_check_leader(struct simcluster *c, uint32_t part, int32_t node, int32_t epoch)
{
    const struct lease_seen *seen = &c->watch->lease[part];
    if (epoch < 0 || epoch >= EPOCHS_MAX || node <= 0 || seen->node[epoch] != node)
        simcluster_violation(c, 6,
                             "partition %u: node %d is named as leader of epoch %d, which no lease does",
                             part, node, epoch);
}
void simwatch_start(struct simcluster *c)
{
    c->watch = calloc(1, sizeof *c->watch);
    FLOE_ASSERT(c->watch);
    c->watch->c = c;
    for (uint32_t i = 0; i < SIM_PARTITIONS_MAX; i++)
        c->watch->lease[i].epoch = -1;
    floe_sim_bucket_watch(c->bucket, on_event, c->watch);
}
void simwatch_fini(struct simcluster *c)
{
    floe_sim_bucket_watch(c->bucket, NULL, NULL);
    for (uint32_t i = 0; i < SHARDS_MAX; i++)
        json_decref(c->watch->shard[i]);
    free(c->watch);
    c->watch = NULL;
}
