/* The clean end of the own session: pending edits are published, the end of the chain (which the log has
 * sealed) is recorded in ended/, the node record says `ended`. The leases go on naming the ended session: any
 * broker takes them over at once. Renewals go on until the last step. */
#include "lease_int.h"

#include <stdio.h>

#define END_TIMEOUT_US 15000000u
#define TELL_US 500000u /* how long telling the others may hold up the end */

static void on_record(struct lease_op *op);

void lease_ending_finish(struct floe_lease *l, enum floe_err code, const char *why)
{
    struct lease_ending *e = &l->ending;
    struct floe_error err = {.code = code};
    if (e->step == END_NONE || e->step == END_DONE)
        return;
    e->step = END_DONE;
    if (code != FLOE_OK)
        snprintf(err.msg, sizeof err.msg, "the session could not be ended: %s", why);
    e->done(e->user, &err);
}

/* The record says so. What is left is to tell the others, who would find out by themselves a little later. */
static void ended(struct floe_lease *l)
{
    struct lease_ending *e = &l->ending;
    lease_own_stop(l);
    l->own.state = OWN_ENDED;
    lease_reconcile_reset(l);
    e->step = END_TELL;
    e->deadline_us = lease_now(l) + FLOE_MIN((uint64_t)TELL_US, l->lease_us / 10);
    floe_lease_bump_catalog(l);
    lease_peers_tell(l, NULL, 0);
    lease_kick(l);
}

static void on_read(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_ending *e = &l->ending;
    const struct floe_table_req *r = &op->u.table;
    struct lease_node_record rec;
    struct floe_error err = r->err;
    l->own.op = NULL;
    if (e->step != END_RECORD)
        return;
    if (err.code == FLOE_OK && lease_node_decode(r->key, r->got, r->got_n, &rec, &err) == FLOE_OK) {
        if (!floe_session_name_eq(&rec.info.session, &l->own.name) || rec.info.state != FLOE_NODE_LIVE) {
            /* Ended by the copy whose answer was lost, or fenced by another who finds the same seal. */
            ended(l);
            return;
        }
        memcpy(l->own.version, r->version, sizeof l->own.version);
    }
    e->retry_us = lease_now(l) + lease_backoff_us(l, 0);
    lease_kick(l);
}

static void on_record(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_ending *e = &l->ending;
    const struct floe_table_req *r = &op->u.table;
    char key[FLOE_TABLE_KEY_MAX];
    l->own.op = NULL;
    if (e->step != END_RECORD)
        return;
    if (r->err.code == FLOE_OK) {
        ended(l);
    } else if (r->err.code == FLOE_ECONFLICT || r->err.code == FLOE_EINDETERMINATE) {
        lease_node_key(key, l->own.name.node);
        l->own.op = lease_op_get(l, key, lease_step_us(l), on_read, NULL);
    } else {
        e->retry_us = lease_now(l) + lease_backoff_us(l, 2);
    }
}

static void put_record(struct floe_lease *l)
{
    struct lease_ending *e = &l->ending;
    char key[FLOE_TABLE_KEY_MAX];
    struct lease_node_record rec = lease_node_make(l, l->own.name.node)->rec;
    rec.info.session = l->own.name;
    rec.info.state = FLOE_NODE_ENDED;
    rec.info.end = rec.info.committed = e->end;
    rec.by = l->own.name;
    rec.beat = ++l->own.beat;
    snprintf(rec.version, sizeof rec.version, "%s", FLOE_VERSION);
    lease_node_key(key, l->own.name.node);
    l->own.op =
        lease_op_put(l, key, l->own.version, lease_node_encode(&rec), lease_step_us(l), on_record, NULL);
}

void lease_ending_step(struct floe_lease *l)
{
    struct lease_ending *e = &l->ending;
    uint64_t now = lease_now(l), end, since;
    if (e->step == END_NONE || e->step == END_DONE)
        return;
    if (e->step == END_TELL) {
        if (now >= e->deadline_us || (!l->catalog.want_bump && !l->catalog.bumping && l->tells == 0))
            lease_ending_finish(l, FLOE_OK, "");
        return;
    }
    if (now >= e->deadline_us) {
        lease_ending_finish(l, FLOE_ETIMEOUT, l->trouble.msg[0] != '\0' ? l->trouble.msg : "out of time");
        return;
    }
    if (e->step == END_EDITS && lease_shards_idle(l)) {
        e->step = END_CHAIN;
        lease_seal_own(l, &l->own.name, e->end);
    }
    if (e->step == END_CHAIN && lease_end_find(l, &l->own.name, &end, &since))
        e->step = END_RECORD;
    if (e->step == END_RECORD && l->own.op == NULL && now >= e->retry_us)
        put_record(l);
}

void floe_lease_end(struct floe_lease *l, uint64_t end,
                    void (*done)(void *user, const struct floe_error *err), void *user)
{
    struct lease_ending *e = &l->ending;
    FLOE_ASSERT(e->step == END_NONE);
    *e = (struct lease_ending){.step = END_EDITS, .end = end, .done = done, .user = user};
    e->deadline_us = lease_now(l) + END_TIMEOUT_US;
    if (lease_own_open(l)) {
        l->own.state = OWN_ENDING;
    } else {
        snprintf(l->trouble.msg, sizeof l->trouble.msg, "it is over already");
        e->deadline_us = 0; /* answered by the kick */
    }
    lease_kick(l);
}
