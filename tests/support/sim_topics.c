/* Topics that come and go under faults: somebody creates and deletes a few names over and over, through
 * whichever broker answers. What became of them is learned from their records in the table. */
#include <jansson.h>
#include <stdlib.h>

#include <floe/base/assert.h>

#include "simcluster_int.h"

static const char *const names[] = {"comes", "goes"};
static const char *const state_names[] = {"creating", "live", "deleting", "deleted"};

struct floe_tp simcluster_tp(const struct simcluster *c, uint32_t part)
{
    return (struct floe_tp){c->topic[c->part[part].topic].id, c->part[part].index};
}
int32_t simcluster_part(const struct simcluster *c, const struct floe_uuid *topic, int32_t index)
{
    for (uint32_t i = 0; i < c->topics; i++)
        if (floe_uuid_eq(&c->topic[i].id, topic))
            return index >= 0 && (uint32_t)index < c->topic[i].parts
                       ? (int32_t)(c->topic[i].first_part + (uint32_t)index)
                       : -1;
    return -1;
}
bool simcluster_part_gone(const struct simcluster *c, uint32_t part)
{
    return c->topic[c->part[part].topic].state >= SIMTOPIC_DELETING;
}
static struct simtopic *find(struct simcluster *c, const struct floe_uuid *id)
{
    for (uint32_t i = 0; i < c->topics; i++)
        if (floe_uuid_eq(&c->topic[i].id, id))
            return &c->topic[i];
    return NULL;
}
static struct simtopic *youngest(struct simcluster *c, const char *name)
{
    for (uint32_t i = c->topics; i-- > 0;)
        if (strcmp(c->topic[i].name, name) == 0)
            return &c->topic[i];
    return NULL;
}
static bool room(const struct simcluster *c)
{
    return c->topics < SIM_TOPICS_MAX && c->parts + 3 <= SIM_PARTITIONS_MAX;
}

/* ---- what the table says ---- */

static struct simtopic *begin(struct simcluster *c, const char *name, const struct floe_uuid *id,
                              uint32_t parts)
{
    if (c->topics == SIM_TOPICS_MAX || c->parts + parts > SIM_PARTITIONS_MAX)
        return NULL; /* a late copy of a request makes one more: it is not looked at */
    struct simtopic *t = &c->topic[c->topics];
    *t = (struct simtopic){.id = *id, .first_part = c->parts, .parts = parts};
    snprintf(t->name, sizeof t->name, "%s", name);
    for (uint32_t i = 0; i < parts; i++)
        c->part[c->parts++] = (struct simpart){.topic = c->topics, .index = (int32_t)i};
    c->topics++;
    c->out->topics++;
    return t;
}
void simtopics_record(struct simcluster *c, const char *name, json_t *value)
{
    struct floe_uuid id;
    const char *hex = json_string_value(json_object_get(value, "id"));
    const char *state = json_string_value(json_object_get(value, "state"));
    uint32_t parts = (uint32_t)json_integer_value(json_object_get(value, "partitions"));
    enum simtopic_state s = SIMTOPIC_CREATING;
    while (s < SIMTOPIC_DELETED && (!state || strcmp(state, state_names[s]) != 0))
        s++;
    if (!hex || strlen(hex) != 32 || !floe_hex_decode(id.b, hex, sizeof id.b)) {
        simcluster_violation(c, 6, "topic %s has no id", name);
        return;
    }
    if (strcmp(name, "topic") != 0 && strcmp(name, names[0]) != 0 && strcmp(name, names[1]) != 0)
        return; /* of sim_garbage.c, or the groups' */
    struct simtopic *t = find(c, &id);
    floe_sim_note(c->sim, NULL, "topic %s %.8s is %s", name, hex, state);
    if (!t && s == SIMTOPIC_CREATING)
        t = begin(c, name, &id, parts);
    if (!t)
        return;
    if (s < t->state)
        simcluster_violation(c, 6, "topic %s %.8s is %s after it was %s", name, hex, state,
                             state_names[t->state]);
    bool live = s == SIMTOPIC_LIVE && t->state != SIMTOPIC_LIVE;
    t->state = s;
    for (uint32_t i = 0; live && t != &c->topic[0] && i < t->parts; i++)
        simproducer_lane(&c->extra, t->first_part + i);
}

/* ---- who makes and deletes them ---- */

static void again(struct simcluster *c)
{
    if (!c->healed)
        floe_sim_after(c->sim, &c->admin, 200000 + floe_rng_below(&c->rng, 5000000));
}
static void on_done(struct simcall *k)
{
    struct simcluster *c = k->c;
    floe_sim_note(c->sim, NULL, "%s of topic %s: %s", k->kind == CALL_CREATE ? "creation" : "deletion",
                  k->name, k->kafka_error ? floe_kafka_error_name(k->kafka_error) : floe_err_name(k->err));
    again(c);
}
static void on_admin(struct floe_sim_event *e)
{
    struct simcluster *c = FLOE_CONTAINER(e, struct simcluster, admin);
    const char *name = names[floe_rng_below(&c->rng, FLOE_COUNTOF(names))];
    struct simtopic *t = youngest(c, name);
    struct simproc *any = simproc_any(c);
    bool create =
        !t || t->state == SIMTOPIC_DELETED || (t->state != SIMTOPIC_LIVE && floe_rng_below(&c->rng, 2));
    if (!any || (create && !room(c))) {
        again(c);
        return;
    }
    struct simcall *k = simcall_new(c, create ? CALL_CREATE : CALL_DELETE, 0, on_done, NULL);
    k->name = name;
    k->partitions = 1 + (int32_t)floe_rng_below(&c->rng, 3);
    simcall_send(k, any, 1000000 + floe_rng_below(&c->rng, 10000000));
}
void simtopics_start(struct simcluster *c)
{
    c->admin.fn = on_admin;
    again(c);
}
/* The broker answers. */
void simtopics_answered(struct simcall *k)
{
    struct simtopic *t = k->err ? NULL : find(k->c, &k->topic);
    if (!t)
        return;
    if (k->kind == CALL_CREATE && t->state == SIMTOPIC_CREATING)
        simcluster_violation(k->c, 0, "topic %s is said to be made, and its record says creating", t->name);
    if (k->kind != CALL_DELETE)
        return;
    if (t->state < SIMTOPIC_DELETING)
        simcluster_violation(k->c, 0, "topic %s is said to be deleted, and its record says %s", t->name,
                             state_names[t->state]);
    t->gone = true;
}
/* A broker acknowledges a batch of this partition. */
void simtopics_acked(struct simcluster *c, const struct simproc *p, uint32_t part)
{
    const struct simtopic *t = &c->topic[c->part[part].topic];
    if (t->gone && floe_sim_now_us(c->sim) >= p->misled_until)
        simcluster_violation(c, 0, "partition %u of topic %s is written after its deletion was answered",
                             part, t->name);
}
static bool settled(void *user)
{
    struct simcluster *c = user;
    for (uint32_t i = 0; i < c->topics; i++)
        if (c->topic[i].state == SIMTOPIC_CREATING || c->topic[i].state == SIMTOPIC_DELETING)
            return false;
    return true;
}
/* What was left half made is finished by somebody; what a broker wrote as it died, by the scan that comes
 * every 300 s (RESCAN_US of the catalog), if none among the sessions makes it sooner. */
#define SETTLED_WITHIN_US 330000000
void simtopics_settle(struct simcluster *c)
{
    if (floe_sim_run_until(c->sim, settled, c, SETTLED_WITHIN_US))
        return;
    for (uint32_t i = 0; i < c->topics; i++)
        if (c->topic[i].state == SIMTOPIC_CREATING || c->topic[i].state == SIMTOPIC_DELETING)
            simcluster_violation(c, 10, "topic %s is still %s", c->topic[i].name,
                                 state_names[c->topic[i].state]);
}
