/* Ends of chains: finding or making the seal, recording it in ended/<session>.
 *
 * A job walks a dead session's chain from a key that is known to be committed: LIST gives dense keys; at the
 * first absent one a seal is put create-only. What lies there already decides: a seal ends the chain, a
 * segment means going on behind it. An object of a seal's exact length on the way is looked into, since an
 * earlier fencer may have sealed and died, and segments that were in flight may lie behind its seal: no
 * fencer passes a seal. The end is then recorded (expect absent; a record that is there must agree).
 *
 *   ASK ──► FLOOR ──► LIST ◄──► CHECK (an object of a seal's length)
 *                       ▼  ▲
 *                      PUT ─► READ (whatever the answer left open) ──► RECORD ──► RECORD_READ ──► learned
 *                                                                                     ▼  another end
 *                                                                       LATER ◄──► BEYOND
 *
 * Below the durable floor keys may be gone (floe/retain.h). The search starts at the floor as it is known;
 * but a fencer that was stalled for long, on any clock, may find, or put, a seal in a gap that is below it by
 * now. Where two ends are told of, what lies behind the lower one is listed: the last seal ends a chain, and
 * it is never removed. (A record that such a fencer makes after the right one has gone is harmless: no lease
 * names the session any more.) Every step can be repeated; a failure is tried again after a back-off. */
#include "lease_int.h"

#include <floe/base/crc32c.h>
#include <floe/base/mutant.h>

#include <stdio.h>
#include <stdlib.h>

enum step {
    STEP_ASK,
    STEP_FLOOR,
    STEP_LIST,
    STEP_CHECK,
    STEP_PUT,
    STEP_READ,
    STEP_BEYOND,
    STEP_LATER,
    STEP_RECORD,
    STEP_RECORD_READ
};

struct lease_seal {
    struct floe_list link;
    struct floe_session_name session;
    enum step step;
    uint64_t next;      /* keys below it are segments */
    uint64_t end;       /* where the seal is */
    uint64_t told;      /* BEYOND, LATER: the higher one of two ends */
    uint64_t behind;    /* the same: keys up to here hold no later seal; LATER: the one that is looked into */
    bool settled;       /* of two ends the right one was found */
    uint64_t bytes_for; /* the key that `bytes` are made for */
    uint8_t bytes[FLOE_SEAL_BYTES];
    struct floe_uuid nonce;
    struct lease_op *op;
    uint64_t retry_us;
    uint32_t fails;
    uint32_t lost; /* seals for that key that were not there afterwards */
    bool own, reported;
};

struct end_entry {
    struct floe_map_node node;
    struct floe_session_name session;
    uint64_t end, since_us;
};

static void run(struct floe_lease *l, struct lease_seal *s);
static void doubt(struct floe_lease *l, const struct floe_session_name *session, uint64_t a, uint64_t b);

/* ---- known ends ------------------------------------------------------------------------------------ */

static uint64_t session_hash(const struct floe_session_name *s)
{
    uint8_t b[16];
    floe_put_be32(b, (uint32_t)s->node);
    floe_put_be32(b + 4, (uint32_t)s->epoch);
    floe_put_be64(b + 8, s->id);
    return floe_hash64(b, sizeof b, 0);
}

static struct end_entry *end_entry(struct floe_lease *l, const struct floe_session_name *s)
{
    struct floe_map_node *m = floe_map_first(&l->ends, session_hash(s));
    for (; m != NULL; m = floe_map_next_same(m)) {
        struct end_entry *e = FLOE_MAP_ENTRY(m, struct end_entry, node);
        if (floe_session_name_eq(&e->session, s))
            return e;
    }
    return NULL;
}

bool lease_end_find(struct floe_lease *l, const struct floe_session_name *s, uint64_t *end,
                    uint64_t *since_us)
{
    const struct end_entry *e = end_entry(l, s);
    if (e == NULL)
        return false;
    *end = e->end;
    *since_us = e->since_us;
    return true;
}

void lease_end_learn(struct floe_lease *l, const struct floe_session_name *s, uint64_t end)
{
    struct end_entry *e = end_entry(l, s);
    if (e != NULL) {
        if (e->end != end)
            doubt(l, s, e->end, end);
        return;
    }
    e = lease_alloc(sizeof *e);
    *e = (struct end_entry){.session = *s, .end = end, .since_us = lease_now(l)};
    FLOE_ASSERT(floe_map_insert(&l->ends, &e->node, session_hash(s)));
    lease_reconcile_all(l);
    lease_kick(l);
}

/* ---- jobs ------------------------------------------------------------------------------------------ */

static void finish(struct floe_lease *l, struct lease_seal *s)
{
    char name[FLOE_SESSION_NAME_MAX];
    floe_session_format(name, &s->session);
    if (!s->own)
        lease_note(l, FLOE_LOG_INFO, "the chain of session %s ends at %llu", name,
                   (unsigned long long)s->end);
    floe_list_remove(&s->link);
    struct end_entry *known = end_entry(l, &s->session);
    if (s->settled && known != NULL)
        known->end = s->end;
    lease_end_learn(l, &s->session, s->end);
    free(s);
}

static void go(struct floe_lease *l, struct lease_seal *s, enum step step)
{
    s->step = step;
    s->fails = 0;
    run(l, s);
}

static void later(struct floe_lease *l, struct lease_seal *s, const struct floe_error *err)
{
    if (!s->reported && (err->code == FLOE_ECORRUPT || err->code == FLOE_EDENIED ||
                         err->code == FLOE_ENOSPACE || err->code == FLOE_EUNSUPPORTED)) {
        s->reported = true;
        lease_note(l, FLOE_LOG_ERROR, "sealing is held up: %s", err->msg);
    }
    s->fails++;
    s->retry_us = lease_now(l) + lease_backoff_us(l, s->fails);
}

static void found(struct floe_lease *l, struct lease_seal *s, uint64_t end)
{
    s->end = end;
    go(l, s, STEP_RECORD);
}

/* Two ends: the last seal is the right one, and it lies no lower than either. */
static void settle(struct floe_lease *l, struct lease_seal *s)
{
    char name[FLOE_SESSION_NAME_MAX];
    struct floe_error err = {0};
    floe_session_format(name, &s->session);
    if (s->end >= s->told) {
        s->settled = true;
        finish(l, s);
        return;
    }
    lease_fatal(
        l, FLOE_ECORRUPT,
        "session %s has two ends, %llu and %llu, and no seal at the second: the store or table is broken",
        name, (unsigned long long)s->end, (unsigned long long)s->told);
    later(l, s, &err);
}

static void two_ends(struct floe_lease *l, struct lease_seal *s, uint64_t other)
{
    s->told = FLOE_MAX(s->end, other);
    s->end = s->behind = FLOE_MIN(s->end, other);
    go(l, s, STEP_BEYOND);
}

/* A later object of a seal's length? */
static void on_behind(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_seal *s = op->ctx;
    const struct floe_store_req *r = &op->u.store;
    struct floe_session_name name;
    uint64_t seq;
    s->op = NULL;
    if (r->err.code != FLOE_OK) {
        later(l, s, &r->err);
        return;
    }
    for (uint32_t i = 0; i < r->entry_count; i++) {
        if (!floe_chain_key_parse(r->entries[i].key, &name, &seq) || seq <= s->behind)
            continue;
        s->behind = seq;
        if (r->entries[i].size == FLOE_SEAL_BYTES) {
            go(l, s, STEP_LATER);
            return;
        }
    }
    if (r->truncated && r->entry_count > 0)
        go(l, s, STEP_BEYOND);
    else
        settle(l, s);
}

static void list_behind(struct floe_lease *l, struct lease_seal *s)
{
    char prefix[FLOE_CHAIN_KEY_MAX], after[FLOE_CHAIN_KEY_MAX];
    floe_chain_prefix(prefix, &s->session);
    floe_chain_key(after, &s->session, s->behind);
    s->op = lease_op_list(l, prefix, after, on_behind, s);
}

static void on_later(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_seal *s = op->ctx;
    const struct floe_store_req *r = &op->u.store;
    struct floe_segment_id id;
    struct floe_error err = r->err;
    s->op = NULL;
    struct floe_slice body = r->data != NULL ? floe_slice(r->data->data, r->data->n) : (struct floe_slice){0};
    if (err.code == FLOE_OK)
        (void)!floe_segment_header_decode(body, r->key, &id, &err);
    if (err.code == FLOE_OK && id.seal)
        s->end = s->behind;
    if (err.code == FLOE_OK || err.code == FLOE_ENOTFOUND)
        go(l, s, STEP_BEYOND);
    else
        later(l, s, &err);
}

static void look_behind(struct floe_lease *l, struct lease_seal *s)
{
    char key[FLOE_CHAIN_KEY_MAX];
    floe_chain_key(key, &s->session, s->behind);
    s->op = lease_op_object_get(l, key, FLOE_SEAL_BYTES, on_later, s);
}

static void on_list(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_seal *s = op->ctx;
    const struct floe_store_req *r = &op->u.store;
    struct floe_session_name name;
    uint64_t seq;
    s->op = NULL;
    if (r->err.code != FLOE_OK) {
        later(l, s, &r->err);
        return;
    }
    for (uint32_t i = 0; i < r->entry_count; i++) {
        if (!floe_chain_key_parse(r->entries[i].key, &name, &seq) || seq < s->next)
            continue;
        if (seq > s->next && FLOE_MUTANT(SEAL_WRONG_GAP)) {
            s->next = seq;
        } else if (seq > s->next) {
            go(l, s, STEP_PUT);
            return;
        }
        if (r->entries[i].size == FLOE_SEAL_BYTES && !FLOE_MUTANT(SEAL_PASSED)) {
            go(l, s, STEP_CHECK);
            return;
        }
        s->next++;
    }
    go(l, s, r->truncated && r->entry_count > 0 ? STEP_LIST : STEP_PUT);
}

static void list(struct floe_lease *l, struct lease_seal *s)
{
    char prefix[FLOE_CHAIN_KEY_MAX], after[FLOE_CHAIN_KEY_MAX] = "";
    floe_chain_prefix(prefix, &s->session);
    if (s->next > 0)
        floe_chain_key(after, &s->session, s->next - 1);
    s->op = lease_op_list(l, prefix, after, on_list, s);
}

/* Looks at what lies at s->next: for CHECK and READ. */
static void on_look(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_seal *s = op->ctx;
    const struct floe_store_req *r = &op->u.store;
    struct floe_segment_id id;
    struct floe_seal seal;
    struct floe_error err = r->err;
    s->op = NULL;
    if (err.code == FLOE_ENOTFOUND) { /* once more at once, then with pauses: the store may be overloaded */
        s->step = STEP_PUT;
        s->fails = s->lost++;
        if (s->fails == 0)
            run(l, s);
        else
            later(l, s, &err);
        return;
    }
    struct floe_slice body = r->data != NULL ? floe_slice(r->data->data, r->data->n) : (struct floe_slice){0};
    if (err.code != FLOE_OK || floe_segment_header_decode(body, r->key, &id, &err) != FLOE_OK ||
        floe_segment_id_check(&id, r->key, &s->session, s->next, &l->cfg.cluster, &err) != FLOE_OK) {
        later(l, s, &err);
    } else if (!id.seal) {
        s->next++;
        go(l, s, STEP_LIST);
    } else if (floe_seal_decode(body, r->key, &seal, &err) != FLOE_OK) {
        later(l, s, &err);
    } else {
        found(l, s, s->next);
    }
}

static void look(struct floe_lease *l, struct lease_seal *s)
{
    char key[FLOE_CHAIN_KEY_MAX];
    floe_chain_key(key, &s->session, s->next);
    s->op = lease_op_object_get(l, key, FLOE_SEAL_BYTES, on_look, s);
}

static void on_put(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_seal *s = op->ctx;
    const struct floe_store_req *r = &op->u.store;
    s->op = NULL;
    if (r->err.code == FLOE_OK)
        found(l, s, s->next);
    else if (r->err.code == FLOE_EEXISTS || r->err.code == FLOE_EINDETERMINATE)
        go(l, s, STEP_READ);
    else
        later(l, s, &r->err);
}

static void put(struct floe_lease *l, struct lease_seal *s)
{
    char key[FLOE_CHAIN_KEY_MAX], nonce[FLOE_UUID_HEX];
    if (s->bytes_for != s->next || floe_uuid_is_zero(&s->nonce)) {
        floe_rng_uuid(&l->loop->rng, &s->nonce);
        struct floe_seal seal = {.id = {.session = s->session,
                                        .seq = s->next,
                                        .cluster = l->cfg.cluster,
                                        .nonce = s->nonce,
                                        .created_ms = floe_loop_wall_ms(l->loop),
                                        .seal = true},
                                 .by = lease_own_open(l) ? l->own.name : s->session};
        floe_seal_encode(s->bytes, &seal);
        s->bytes_for = s->next;
        s->lost = 0;
    }
    floe_uuid_hex(nonce, &s->nonce);
    floe_chain_key(key, &s->session, s->next);
    s->op = lease_op_object_create(l, key, nonce, floe_slice(s->bytes, sizeof s->bytes), on_put, s);
}

static void on_record(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_seal *s = op->ctx;
    const struct floe_table_req *r = &op->u.table;
    s->op = NULL;
    if (r->err.code == FLOE_OK)
        finish(l, s);
    else if (r->err.code == FLOE_EEXISTS || r->err.code == FLOE_EINDETERMINATE)
        go(l, s, STEP_RECORD_READ);
    else
        later(l, s, &r->err);
}

static void record(struct floe_lease *l, struct lease_seal *s)
{
    char key[FLOE_TABLE_KEY_MAX];
    struct lease_ended_record rec = {.end = s->end, .by = lease_own_open(l) ? l->own.name : s->session};
    lease_ended_key(key, &s->session);
    s->op = lease_op_put(l, key, "", lease_ended_encode(&rec), lease_step_us(l), on_record, s);
}

static void on_floor(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_seal *s = op->ctx;
    struct floe_error err = {0};
    uint64_t floor;
    s->op = NULL;
    if (lease_floor_read(op, &floor, &err) != FLOE_OK) {
        later(l, s, &err);
        return;
    }
    s->next = FLOE_MAX(s->next, floor);
    go(l, s, STEP_LIST);
}

static void on_recorded(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_seal *s = op->ctx;
    const struct floe_table_req *r = &op->u.table;
    struct lease_ended_record rec;
    struct floe_error err = r->err;
    bool asked = s->step == STEP_ASK;
    s->op = NULL;
    if (err.code == FLOE_OK && lease_ended_decode(r->key, r->got, r->got_n, &rec, &err) == FLOE_OK) {
        lease_table_ok(l);
        if (!asked && rec.end != s->end) {
            two_ends(l, s, rec.end);
            return;
        }
        s->end = rec.end;
        finish(l, s);
    } else if (err.code == FLOE_ENOTFOUND) {
        go(l, s, asked ? STEP_FLOOR : STEP_RECORD);
    } else {
        later(l, s, &err);
    }
}

static void ask(struct floe_lease *l, struct lease_seal *s)
{
    char key[FLOE_TABLE_KEY_MAX];
    lease_ended_key(key, &s->session);
    s->op = lease_op_get(l, key, lease_step_us(l), on_recorded, s);
}

static void run(struct floe_lease *l, struct lease_seal *s)
{
    FLOE_ASSERT(s->op == NULL);
    switch (s->step) {
    case STEP_ASK:
    case STEP_RECORD_READ:
        ask(l, s);
        break;
    case STEP_BEYOND:
        list_behind(l, s);
        break;
    case STEP_LATER:
        look_behind(l, s);
        break;
    case STEP_FLOOR:
        s->op = lease_op_floor(l, &s->session, on_floor, s);
        break;
    case STEP_LIST:
        list(l, s);
        break;
    case STEP_CHECK:
    case STEP_READ:
        look(l, s);
        break;
    case STEP_PUT:
        put(l, s);
        break;
    case STEP_RECORD:
        record(l, s);
        break;
    }
}

/* Null when there is a job for that session already. */
static struct lease_seal *job(struct floe_lease *l, const struct floe_session_name *session)
{
    FLOE_LIST_EACH(it, &l->seals)
    {
        if (floe_session_name_eq(&FLOE_LIST_ENTRY(it, struct lease_seal, link)->session, session))
            return NULL;
    }
    struct lease_seal *s = lease_alloc(sizeof *s);
    s->session = *session;
    floe_list_push_back(&l->seals, &s->link);
    return s;
}

static void start(struct floe_lease *l, const struct floe_session_name *session, enum step step,
                  uint64_t from, bool own)
{
    struct lease_seal *s = job(l, session);
    if (s == NULL)
        return;
    s->step = step;
    s->next = s->end = from;
    s->own = own;
    run(l, s);
}

/* Two ends of that session were told: which is it? (A job under way tells of a third, or comes here again.)
 */
static void doubt(struct floe_lease *l, const struct floe_session_name *session, uint64_t a, uint64_t b)
{
    struct lease_seal *s = job(l, session);
    if (s == NULL)
        return;
    s->end = a;
    two_ends(l, s, b);
}

void lease_seal_fenced(struct floe_lease *l, const struct floe_session_name *s, uint64_t from)
{
    start(l, s, STEP_LIST, from, false);
}

void lease_seal_superseded(struct floe_lease *l, const struct floe_session_name *s)
{
    start(l, s, STEP_ASK, 0, false);
}

void lease_seal_own(struct floe_lease *l, const struct floe_session_name *s, uint64_t end)
{
    start(l, s, STEP_RECORD, end, true);
}

void lease_seals_tick(struct floe_lease *l)
{
    uint64_t now = lease_now(l);
    FLOE_LIST_EACH_SAFE(it, &l->seals)
    {
        struct lease_seal *s = FLOE_LIST_ENTRY(it, struct lease_seal, link);
        if (s->op == NULL && now >= s->retry_us)
            run(l, s);
    }
}

void lease_seals_drop(struct floe_lease *l)
{
    while (!floe_list_empty(&l->seals))
        free(FLOE_LIST_ENTRY(floe_list_pop_front(&l->seals), struct lease_seal, link));
    for (struct floe_map_node *m = floe_map_iter(&l->ends, NULL), *next; m != NULL; m = next) {
        next = floe_map_iter(&l->ends, m);
        free(FLOE_MAP_ENTRY(m, struct end_entry, node));
    }
    floe_map_fini(&l->ends);
}
