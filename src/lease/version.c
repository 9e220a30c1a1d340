/* The catalog's version record: a counter that every change of topics, leases and membership raises.
 *
 * A bump must raise it *after* the change. The put is conditional on the version known; when it conflicts,
 * the record is read and put again, and a second conflict means that somebody raised it after that read,
 * hence after the change: done. A version that was not raised by this broker means that others changed
 * something: nodes and shards are scanned and the catalog's listener is called. */
#include "lease_int.h"

#include <stdlib.h>

static void saw(struct floe_lease *l, uint64_t version, const char *table_version)
{
    struct lease_catalog *c = &l->catalog;
    bool foreign = c->loaded && version > c->version;
    c->loaded = true;
    c->version = FLOE_MAX(c->version, version);
    memcpy(c->table_version, table_version, sizeof c->table_version);
    if (foreign) {
        lease_nodes_scan(l);
        lease_shards_scan(l);
        c->foreign = true;
    }
    lease_kick(l);
}

static void on_get(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_catalog *c = &l->catalog;
    const struct floe_table_req *r = &op->u.table;
    struct floe_error err = r->err;
    uint64_t version = 0;
    static const char absent[FLOE_TABLE_VERSION_MAX];
    c->op = NULL;
    c->next_read_us = lease_now(l) + lease_poll_us(l) * 2;
    if (err.code == FLOE_OK)
        err.code = lease_catalog_decode(r->key, r->got, r->got_n, &version, &err);
    if (err.code == FLOE_OK || err.code == FLOE_ENOTFOUND) {
        lease_table_ok(l);
        c->fresh = true;
        saw(l, version, err.code == FLOE_OK ? r->version : absent);
        return;
    }
    l->trouble = err;
    if (err.code == FLOE_ECORRUPT)
        lease_note(l, FLOE_LOG_ERROR, "%s", err.msg);
    c->stale = true;
    c->retry_us = lease_now(l) + lease_backoff_us(l, 2);
    lease_kick(l);
}

static void on_put(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_catalog *c = &l->catalog;
    const struct floe_table_req *r = &op->u.table;
    bool again = c->want_bump; /* wanted anew while this one was under way */
    c->op = NULL;
    c->bumping = false;
    if (r->err.code == FLOE_OK) {
        c->version = op->tag;
        memcpy(c->table_version, r->version, sizeof c->table_version);
        c->fresh = false;
        lease_peers_tell(l, NULL, 0);
    } else if (r->err.code == FLOE_ECONFLICT || r->err.code == FLOE_EEXISTS) {
        /* Conflict with what was read after the change: it has been raised since. */
        c->want_bump = again || !c->fresh;
        c->fresh = false;
        c->stale = true;
    } else {
        c->want_bump = c->stale = true;
        c->fresh = false;
        c->retry_us = lease_now(l) + lease_backoff_us(l, 2);
    }
    lease_kick(l);
}

void lease_catalog_step(struct floe_lease *l)
{
    struct lease_catalog *c = &l->catalog;
    uint64_t now = lease_now(l);
    if (c->op == NULL && now >= c->retry_us) {
        if (c->stale || !c->loaded || now >= c->next_read_us) {
            c->stale = false;
            c->op = lease_op_get(l, "catalog", lease_step_us(l), on_get, NULL);
        } else if (c->want_bump && (lease_own_open(l) || l->own.state == OWN_ENDED)) {
            c->want_bump = false;
            c->bumping = true;
            c->op = lease_op_put(l, "catalog", c->table_version, lease_catalog_encode(c->version + 1),
                                 lease_step_us(l), on_put, NULL);
            c->op->tag = c->version + 1;
        }
    }
    if (c->foreign && l->on_catalog != NULL) {
        c->foreign = false;
        l->on_catalog(l->on_catalog_user);
    }
}

void lease_catalog_hint(struct floe_lease *l, uint64_t version)
{
    if (version > l->catalog.version && l->catalog.loaded) {
        l->catalog.stale = true;
        lease_kick(l);
    }
}

/* ---- from the layer above --------------------------------------------------------------------------- */

void floe_lease_bump_catalog(struct floe_lease *l)
{
    l->catalog.want_bump = true;
    l->catalog.fresh = false;
    lease_kick(l);
}

uint64_t floe_lease_catalog_version(struct floe_lease *l)
{
    return l->catalog.version;
}

void floe_lease_on_catalog(struct floe_lease *l, void (*fn)(void *user), void *user)
{
    l->on_catalog = fn;
    l->on_catalog_user = user;
}
