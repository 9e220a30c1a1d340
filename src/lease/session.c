/* The own session: claim of a node id, renewals, lapse and return, its end by others.
 *
 *             own_begin            opened                     lapse timer
 *   NONE ──► OPENING ────────────► LIVE ◄──────────────────► LAPSED
 *              ▲                    │    a renewal that counts │
 *              │ after the hook     ├──────────────────────────┘
 *              └────── OVER ◄───────┤ lease_own_over
 *                                   └──► ENDING ──► ENDED   (ending.c)
 *
 * States change in set_state alone. The id of a session is on the disk before its record exists, so that the
 * next start knows its own ghost.
 * Long because: the states above are one machine. */
#include "lease_int.h"

#include <floe/base/mutant.h>

#include <stdio.h>
#include <stdlib.h>

#define META_SESSIONS "lease.sessions" /* 16 hex digits each, newest first */
#define META_NODE "lease.node"         /* decimal */

static void set_state(struct floe_lease *l, enum lease_own_state state)
{
    l->own.state = state;
}

bool lease_own_open(const struct floe_lease *l)
{
    return l->own.state == OWN_LIVE || l->own.state == OWN_LAPSED || l->own.state == OWN_ENDING;
}

bool lease_own_is(const struct floe_lease *l, const struct floe_session_name *s)
{
    return lease_own_open(l) && floe_session_name_eq(s, &l->own.name);
}

bool lease_own_former(const struct floe_lease *l, const struct floe_session_name *s)
{
    if (lease_own_is(l, s) || (l->own.state == OWN_ENDED && floe_session_name_eq(s, &l->own.name)))
        return false;
    /* While opening, the first is the one that is being opened. */
    for (uint32_t i = l->own.state == OWN_OPENING ? 1 : 0; i < l->own.former_count; i++)
        if (l->own.formers[i] == s->id)
            return true;
    return false;
}

bool floe_lease_alive(struct floe_lease *l)
{
    /* Once the record of the end is on its way, another may hold the leases before its answer is here. */
    return lease_own_open(l) && l->ending.step < END_RECORD &&
           (lease_now(l) - l->own.alive_from_us < l->lease_us || FLOE_MUTANT(ALIVE_FOREVER));
}

/* ---- renewal --------------------------------------------------------------------------------------- */

static void read_back(struct floe_lease *l);

/* What a renewal says of the own chain; of a session that the log does not know of yet: nothing. */
static struct lease_marks own_marks(struct floe_lease *l)
{
    const struct floe_lease_hooks *h = &l->cfg.hooks;
    struct lease_marks m = {0};
    if (lease_own_open(l) && !l->own.tell_open) {
        m.committed = h->committed(h->user);
        m.floor = h->floor != NULL ? h->floor(h->user, &l->own.name) : 0;
    }
    return m;
}

static char *own_record(struct floe_lease *l, const struct floe_session_name *name, uint64_t beat)
{
    struct lease_node_record r = {.beat = beat, .format = l->format.newest};
    r.info.session = *name;
    r.info.state = FLOE_NODE_LIVE;
    r.info.lease_ms = l->cfg.lease_ms;
    r.info.addr_count = l->cfg.addr_count;
    memcpy(r.info.addrs, l->addrs, sizeof r.info.addrs);
    memcpy(r.info.peer_addr, l->peer_addr, sizeof r.info.peer_addr);
    memcpy(r.info.rack, l->rack, sizeof r.info.rack);
    snprintf(r.version, sizeof r.version, "%s", FLOE_VERSION);
    if (lease_own_is(l, name)) {
        r.info.committed = own_marks(l).committed;
        r.info.floor = own_marks(l).floor;
    }
    r.info.draining = l->mover.draining;
    return lease_node_encode(&r);
}

static void renew_in(struct floe_lease *l, uint64_t us)
{
    floe_timer_start(l->loop, &l->own.renew, us);
}

/* A renewal that was first sent at `sent` and said `marks` is known to be applied. */
static void renewed(struct floe_lease *l, uint64_t sent_us, struct lease_marks marks, const char *version)
{
    struct lease_own *o = &l->own;
    o->durable = marks;
    uint64_t now = lease_now(l);
    /* Whoever asked in between was told that nothing counts, and waits to hear that it does again. */
    o->tell_lapse |= o->told_alive && now - o->alive_from_us >= l->lease_us;
    o->alive_from_us = FLOE_MAX(o->alive_from_us, FLOE_MUTANT(ALIVE_FROM_ANSWER) ? now : sent_us);
    snprintf(o->version, sizeof o->version, "%s", version);
    o->try_count = 0;
    uint64_t age = now - o->alive_from_us;
    renew_in(l, age < l->lease_us / 3 && !lease_drain_renewed(l) ? l->lease_us / 3 - age : 0);
    floe_timer_start(l->loop, &o->lapse, age < l->lease_us ? l->lease_us - age : 0);
    lease_kick(l);
}

static void on_renewed(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    const struct floe_table_req *r = &op->u.table;
    l->own.op = NULL;
    if (!lease_own_open(l))
        return;
    l->own.renewal = r->err;
    if (r->err.code == FLOE_OK) {
        renewed(l, r->first_sent_us != 0 ? r->first_sent_us : op->started_us,
                l->own.tries[l->own.try_count - 1].marks, r->version);
    } else if (r->err.code == FLOE_ECONFLICT || r->err.code == FLOE_EEXISTS ||
               r->err.code == FLOE_EINDETERMINATE) {
        read_back(l);
    } else {
        renew_in(l, l->lease_us / 30); /* certainly not applied */
    }
}

static void renew(struct floe_lease *l)
{
    struct lease_own *o = &l->own;
    char key[FLOE_TABLE_KEY_MAX];
    if (o->op != NULL || !lease_own_open(l) || l->ending.step >= END_RECORD)
        return;
    o->beat++;
    if (o->try_count == LEASE_TRIES_MAX) {
        memmove(&o->tries[0], &o->tries[1], (LEASE_TRIES_MAX - 1) * sizeof o->tries[0]);
        o->try_count--;
    }
    o->tries[o->try_count].beat = o->beat;
    o->tries[o->try_count].marks = own_marks(l);
    o->tries[o->try_count++].sent_us = lease_now(l);
    lease_node_key(key, o->name.node);
    o->op = lease_op_put(l, key, o->version, own_record(l, &o->name, o->beat), lease_step_us(l), on_renewed,
                         NULL);
}

void lease_own_renew_now(struct floe_lease *l)
{
    renew(l);
}

static void on_renew_timer(struct floe_timer *t)
{
    renew(t->user);
}

static void on_lapse_timer(struct floe_timer *t)
{
    lease_kick(t->user);
}

/* What a read of the own record after an unclear answer says. */
static void judge(struct floe_lease *l, const struct lease_node_record *rec, const char *version)
{
    struct lease_own *o = &l->own;
    char by[FLOE_SESSION_NAME_MAX], why[160];
    if (!floe_session_name_eq(&rec->info.session, &o->name)) {
        lease_own_over(l, "another session has this node id");
        return;
    }
    if (rec->info.state != FLOE_NODE_LIVE) {
        floe_session_format(by, &rec->by);
        snprintf(why, sizeof why, "fenced by session %s", by);
        lease_own_over(l, why);
        return;
    }
    for (uint32_t i = 0; i < o->try_count; i++) {
        if (o->tries[i].beat == rec->beat) {
            renewed(l, o->tries[i].sent_us, o->tries[i].marks, version);
            return;
        }
    }
    snprintf(o->version, sizeof o->version, "%s", version);
    renew(l);
}

static void on_read_back(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    const struct floe_table_req *r = &op->u.table;
    struct lease_node_record rec;
    struct floe_error err = r->err;
    l->own.op = NULL;
    if (!lease_own_open(l))
        return;
    if (err.code == FLOE_OK && lease_node_decode(r->key, r->got, r->got_n, &rec, &err) == FLOE_OK) {
        judge(l, &rec, r->version);
    } else if (err.code == FLOE_ENOTFOUND) {
        lease_fatal(l, FLOE_ECORRUPT,
                    "the own record \"%s\" has vanished from the table: the table is lost or another one",
                    r->key);
    } else {
        if (err.code == FLOE_ECORRUPT)
            lease_note(l, FLOE_LOG_ERROR, "%s", err.msg);
        renew_in(l, l->lease_us / 30);
    }
}

static void read_back(struct floe_lease *l)
{
    char key[FLOE_TABLE_KEY_MAX];
    FLOE_ASSERT(l->own.op == NULL);
    lease_node_key(key, l->own.name.node);
    l->own.op = lease_op_get(l, key, lease_step_us(l), on_read_back, NULL);
}

/* ---- over ------------------------------------------------------------------------------------------ */

void lease_own_over(struct floe_lease *l, const char *why)
{
    struct lease_own *o = &l->own;
    if (!lease_own_open(l))
        return;
    set_state(l, OWN_OVER);
    snprintf(o->why, sizeof o->why, "%s", why);
    o->tell_over = !o->tell_open; /* of one that was never told of, nothing is told */
    o->tell_open = o->told_alive = o->tell_lapse = false;
    lease_own_stop(l);
    lease_node_make(l, o->name.node)->loaded = false; /* what is known of the own record is old */
    lease_reconcile_reset(l);
    lease_ending_finish(l, FLOE_EFENCED, why);
    lease_note(l, FLOE_LOG_WARN, "session over: %s", why);
    lease_kick(l);
}

void lease_own_stop(struct floe_lease *l)
{
    floe_timer_stop(&l->own.renew);
    floe_timer_stop(&l->own.lapse);
    lease_op_cancel(l->own.op);
    l->own.op = NULL;
}

/* ---- opening --------------------------------------------------------------------------------------- */

static void load_formers(struct floe_lease *l)
{
    struct lease_own *o = &l->own;
    struct floe_slice s = floe_tier_meta(l->cfg.tier, META_SESSIONS);
    uint8_t b[8];
    char hex[17] = {0};
    for (; s.n >= 16 && o->former_count < LEASE_FORMERS_MAX; s.p += 16, s.n -= 16) {
        memcpy(hex, s.p, 16);
        if (!floe_hex_decode(b, hex, 8))
            break;
        o->formers[o->former_count++] = floe_be64(b);
    }
    struct floe_slice n = floe_tier_meta(l->cfg.tier, META_NODE);
    char text[16] = {0}, key[FLOE_TABLE_KEY_MAX];
    if (n.n > 0 && n.n < sizeof text) {
        memcpy(text, n.p, n.n);
        snprintf(key, sizeof key, "node/%s", text);
        if (!lease_node_key_parse(key, &o->preferred))
            o->preferred = 0;
    }
}

void lease_own_init(struct floe_lease *l)
{
    floe_timer_init(&l->own.renew, on_renew_timer, l);
    floe_timer_init(&l->own.lapse, on_lapse_timer, l);
    if (l->cfg.tier != NULL)
        load_formers(l);
}

static void on_meta(void *user, const struct floe_error *err)
{
    struct floe_lease *l = user;
    l->meta_puts--;
    if (l->life >= LIFE_CLOSING) {
        lease_kick(l);
        return;
    }
    /* Without it the next start would have to wait for its own ghost, should this one die in the claim. That
     * is better than no session for as long as the disk is full. */
    if (err->code != FLOE_OK)
        lease_note(l, FLOE_LOG_WARN, "the session's id cannot be kept in the data directory: %s", err->msg);
    l->own.id_durable = true;
    lease_kick(l);
}

static void on_meta_node(void *user, const struct floe_error *err)
{
    struct floe_lease *l = user;
    (void)err; /* only a preference is lost */
    l->meta_puts--;
    if (l->life >= LIFE_CLOSING)
        lease_kick(l);
}

static void keep_ids(struct floe_lease *l)
{
    struct lease_own *o = &l->own;
    char text[LEASE_FORMERS_MAX * 16 + 1];
    if (l->cfg.tier == NULL) {
        o->id_durable = true;
        return;
    }
    for (uint32_t i = 0; i < o->former_count; i++) {
        uint8_t b[8];
        floe_put_be64(b, o->formers[i]);
        floe_hex(text + (size_t)i * 16, b, 8);
    }
    l->meta_puts++;
    l->cfg.tier->ops->meta_put(l->cfg.tier, META_SESSIONS, floe_slice(text, o->former_count * 16u), on_meta,
                               l);
}

/* Begins to open a session: a fresh id, made durable first. lease_own_step goes on. */
void lease_own_begin(struct floe_lease *l)
{
    struct lease_own *o = &l->own;
    FLOE_ASSERT(o->state == OWN_NONE || o->state == OWN_OVER);
    set_state(l, OWN_OPENING);
    if (o->former_count == LEASE_FORMERS_MAX)
        o->former_count--;
    memmove(&o->formers[1], &o->formers[0], o->former_count * sizeof o->formers[0]);
    do
        o->formers[0] = floe_rng_u64(&l->loop->rng);
    while (o->formers[0] == 0);
    o->former_count++;
    o->id_durable = o->claim_unclear = false;
    o->retry_us = 0;
    o->begun_us = lease_now(l);
    o->claim = (struct floe_session_name){0};
    keep_ids(l);
    lease_kick(l);
}

static void opened(struct floe_lease *l, uint64_t sent_us, const char *version)
{
    struct lease_own *o = &l->own;
    char text[16];
    int n = snprintf(text, sizeof text, "%d", (int)o->claim.node);
    o->name = o->claim;
    o->preferred = o->name.node;
    o->beat = 1;
    o->alive_from_us = sent_us;
    o->progress_us = lease_now(l);
    /* Who stood back was alive before, and has read the others' records all the while. */
    if (o->hold_until_us == 0)
        o->alive_since_us = o->progress_us;
    o->hold_until_us = 0;
    o->committed = 0;
    o->tell_open = true;
    set_state(l, OWN_LIVE);
    renewed(l, sent_us, (struct lease_marks){0}, version);
    if (l->cfg.tier != NULL) {
        l->meta_puts++;
        l->cfg.tier->ops->meta_put(l->cfg.tier, META_NODE, floe_slice(text, (size_t)n), on_meta_node, l);
    }
    /* The cache's view of the own record: what nodes and placement see. */
    struct lease_node *node = lease_node_make(l, o->name.node);
    lease_node_drop(node);
    struct lease_node_record rec = {.beat = 1, .format = l->format.newest};
    rec.info.session = o->name;
    rec.info.lease_ms = l->cfg.lease_ms;
    rec.info.addr_count = l->cfg.addr_count;
    memcpy(rec.info.addrs, l->addrs, sizeof rec.info.addrs);
    memcpy(rec.info.peer_addr, l->peer_addr, sizeof rec.info.peer_addr);
    memcpy(rec.info.rack, l->rack, sizeof rec.info.rack);
    lease_node_set(l, node, &rec, version);
    lease_reconcile_all(l);
    floe_lease_bump_catalog(l);
    lease_format_join(l);
}

static void on_claim_read(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    const struct floe_table_req *r = &op->u.table;
    struct lease_node *n = lease_node_make(l, l->own.claim.node);
    struct lease_node_record rec;
    struct floe_error err = r->err;
    l->own.op = NULL;
    if (err.code == FLOE_OK && lease_node_decode(r->key, r->got, r->got_n, &rec, &err) == FLOE_OK) {
        lease_table_ok(l);
        lease_node_set(l, n, &rec, r->version);
        if (floe_session_name_eq(&rec.info.session, &l->own.claim) && rec.info.state == FLOE_NODE_LIVE) {
            opened(l, l->own.claim_sent_us, r->version);
            return;
        }
        l->own.claim_unclear = false; /* what is there decides again */
    } else if (err.code == FLOE_ENOTFOUND) {
        l->own.claim_unclear = false;
    } else if (err.code == FLOE_ECORRUPT) {
        n->bad = true;
        l->own.claim_unclear = false;
    } else {
        l->trouble = err;
        l->own.retry_us = lease_now(l) + lease_backoff_us(l, 2);
    }
    lease_kick(l);
}

static void read_claim(struct floe_lease *l)
{
    char key[FLOE_TABLE_KEY_MAX];
    lease_node_key(key, l->own.claim.node);
    l->own.op = lease_op_get(l, key, l->lease_us / 3, on_claim_read, NULL);
}

static void on_claim(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    const struct floe_table_req *r = &op->u.table;
    l->own.op = NULL;
    if (r->err.code == FLOE_OK) {
        opened(l, l->own.claim_sent_us, r->version);
    } else if (r->err.code == FLOE_EEXISTS || r->err.code == FLOE_ECONFLICT ||
               r->err.code == FLOE_EINDETERMINATE) {
        l->own.claim_unclear = true;
        read_claim(l);
    } else {
        l->trouble = r->err;
        l->own.retry_us = lease_now(l) + lease_backoff_us(l, 2);
        lease_kick(l);
    }
}

static void claim(struct floe_lease *l, struct lease_node *n)
{
    struct lease_own *o = &l->own;
    char key[FLOE_TABLE_KEY_MAX];
    struct floe_session_name name = {
        .node = n->id, .epoch = n->present ? n->rec.info.session.epoch + 1 : 1, .id = o->formers[0]};
    if (!floe_session_name_eq(&name, &o->claim))
        o->claim_sent_us = lease_now(l); /* of the first copy: an earlier one may be what is applied */
    o->claim = name;
    lease_node_key(key, n->id);
    lease_op_cancel(n->read); /* what it would tell is about to change */
    n->read = NULL;
    o->op = lease_op_put(l, key, n->present ? n->version : "", own_record(l, &o->claim, 1), l->lease_us / 3,
                         on_claim, NULL);
}

static bool claimable(struct floe_lease *l, const struct lease_node *n)
{
    uint64_t end, since;
    if (!n->loaded || n->bad)
        return false;
    if (!n->present || n->rec.info.state == FLOE_NODE_SEALED || n->rec.info.state == FLOE_NODE_ENDED)
        return true;
    /* The own former session, whose end is recorded: nobody needs to see `sealed` between. */
    return n->rec.info.state == FLOE_NODE_FENCED && lease_own_former(l, &n->rec.info.session) &&
           lease_end_find(l, &n->rec.info.session, &end, &since);
}

/* The preferred id, or the lowest free one; null while that is not known yet or must be waited for. */
static struct lease_node *candidate(struct floe_lease *l)
{
    struct lease_own *o = &l->own;
    if (o->preferred != 0) {
        struct lease_node *n = lease_node_make(l, o->preferred);
        if (!n->loaded) {
            if (n->read == NULL)
                lease_node_read(l, n);
            return NULL;
        }
        if (claimable(l, n))
            return n;
        /* The own former session is fenced and sealed first; what came damaged is read again (observe.c). */
        if (n->bad ? lease_now(l) - o->begun_us < l->lease_us : lease_own_former(l, &n->rec.info.session))
            return NULL;
        o->preferred = 0;
    }
    if (!l->nodes_loaded)
        return NULL;
    for (int32_t id = 1; id <= LEASE_NODE_ID_MAX; id++) {
        struct lease_node *n = lease_node_find(l, id);
        if (n == NULL) { /* the scan has not seen it */
            n = lease_node_make(l, id);
            n->loaded = true;
        }
        if (!n->loaded)
            return NULL;
        if (claimable(l, n))
            return n;
    }
    return NULL;
}

/* Is somebody there who takes over? Who is silent for longer than between two renewals and the reads of them
 * may be dead. */
static bool peers_live(const struct floe_lease *l)
{
    uint64_t now = lease_now(l);
    for (uint32_t i = 0; i < l->node_count; i++) {
        const struct lease_node *n = l->nodes[i];
        if (n->id != l->own.name.node && n->present && n->rec.info.state == FLOE_NODE_LIVE &&
            n->gone == NULL && now - n->seen_us < (uint64_t)n->rec.info.lease_ms * 500)
            return true;
    }
    return false;
}

void lease_own_step(struct floe_lease *l)
{
    struct lease_own *o = &l->own;
    uint64_t now = lease_now(l);
    if (o->state != OWN_OPENING || o->op != NULL || !o->id_durable || now < o->retry_us)
        return;
    if (now < o->hold_until_us && peers_live(l))
        return;
    if (o->claim_unclear) {
        read_claim(l);
        return;
    }
    struct lease_node *n = candidate(l);
    if (n != NULL)
        claim(l, n);
}

static bool peers_commit(const struct floe_lease *l, uint64_t since_us)
{
    for (uint32_t i = 0; i < l->node_count; i++) {
        const struct lease_node *n = l->nodes[i];
        if (n->id != l->own.name.node && n->rec.info.state == FLOE_NODE_LIVE && n->rose_us > since_us)
            return true;
    }
    return false;
}

/* A broker whose PUTs have failed for a lease time while a peer's succeed hands over: its session ends, and
 * it waits for a lease time before the next, so that the others take its partitions; no longer than there are
 * others. */
static void mind_progress(struct floe_lease *l)
{
    struct lease_own *o = &l->own;
    const struct floe_lease_hooks *h = &l->cfg.hooks;
    uint64_t now = lease_now(l);
    if (o->state != OWN_LIVE || !o->told_alive) {
        o->progress_us = now;
        return;
    }
    uint64_t committed = h->committed(h->user);
    if (committed != o->committed || h->next_key(h->user) <= committed) {
        o->committed = committed;
        o->progress_us = now;
    } else if (now - o->progress_us >= l->lease_us && peers_commit(l, o->progress_us)) {
        o->hold_until_us = now + l->lease_us;
        lease_own_over(l, "no segment could be put for a lease time, while a peer puts its own");
    }
}

static void tell_alive(struct floe_lease *l, bool alive)
{
    struct lease_own *o = &l->own;
    o->told_alive = alive;
    if (alive)
        o->alive_since_us = o->progress_us = lease_now(l);
    if (o->state != OWN_ENDING)
        set_state(l, alive ? OWN_LIVE : OWN_LAPSED);
    lease_note(l, alive ? FLOE_LOG_INFO : FLOE_LOG_WARN,
               alive ? "alive again: renewals succeed%s" : "lapsed: no renewal succeeded in time: %s",
               alive               ? ""
               : o->renewal.msg[0] ? o->renewal.msg
                                   : "the table does not answer");
    l->cfg.hooks.session_alive(l->cfg.hooks.user, alive);
}

/* Tells the layer above what has become of the session; its hooks run nowhere else. */
void lease_own_tell(struct floe_lease *l)
{
    struct lease_own *o = &l->own;
    const struct floe_lease_hooks *h = &l->cfg.hooks;
    if (o->tell_over) {
        o->tell_over = false;
        h->session_over(h->user, o->why);
    }
    if (l->life >= LIFE_CLOSING)
        return;
    if (o->state == OWN_OVER)
        lease_own_begin(l);
    if (o->tell_open) {
        o->tell_open = false;
        o->told_alive = true;
        h->session_open(h->user, &o->name);
    }
    bool alive = floe_lease_alive(l), lapsed = o->tell_lapse;
    o->tell_lapse = false;
    if (alive)
        mind_progress(l);
    if (!lease_own_open(l) || l->ending.step >= END_RECORD)
        return;
    if (o->told_alive && (lapsed || !alive))
        tell_alive(l, false);
    if (lease_own_open(l) && l->life < LIFE_CLOSING && alive && !o->told_alive)
        tell_alive(l, true);
}

/* ---- from the layer above --------------------------------------------------------------------------- */

void floe_lease_session_lost(struct floe_lease *l, const char *why)
{
    lease_own_over(l, why);
}

const struct floe_session_name *floe_lease_session(struct floe_lease *l)
{
    return floe_session_name_is_none(&l->own.name) ? NULL : &l->own.name;
}

int32_t floe_lease_node_id(struct floe_lease *l)
{
    return l->own.name.node;
}
