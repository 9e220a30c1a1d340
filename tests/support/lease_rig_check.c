/* The rig's checker: every write to the bucket as it happens, and the bucket as a whole. */
#include "lease_rig.h"

#include "lease/records.h"

#include <jansson.h>

#include <stdio.h>
#include <stdlib.h>

struct lrig_watch { /* the last document of each shard, to compare the next with */
    struct lease_doc doc[FLOE_LEASE_SHARDS_DEFAULT];
};

/* ---- checks of every write --------------------------------------------------------------------------- */

static char *value_of(const struct floe_sim_object *o)
{
    json_error_t e;
    json_t *root = json_loadb((const char *)o->data, o->n, 0, &e);
    assert_non_null(root);
    json_t *value = json_object_get(root, "value");
    assert_non_null(value);
    char *text = json_dumps(value, JSON_COMPACT);
    json_decref(root);
    assert_non_null(text);
    return text;
}

bool lrig_seal_at(struct lrig *r, const struct floe_session_name *s, uint64_t seq)
{
    char key[FLOE_CHAIN_KEY_MAX];
    floe_chain_key(key, s, seq);
    const struct floe_sim_object *o = floe_sim_bucket_find(r->bucket, key);
    struct floe_segment_id id;
    struct floe_error err;
    return o != NULL && floe_segment_header_decode(floe_slice(o->data, o->n), key, &id, &err) == FLOE_OK &&
           id.seal;
}

static struct lrig_broker *open_session(struct lrig *r, const struct floe_session_name *s)
{
    for (int i = 0; i < LRIG_BROKERS; i++)
        if (r->b[i].up && r->b[i].open && floe_session_name_eq(&r->b[i].session, s))
            return &r->b[i];
    return NULL;
}

/* A planned move: by a holder that lives, has stopped, and has everything before the end committed; to a key
 * that the receiver has not passed yet; with a checkpoint that makes the older spans superfluous. */
static bool is_move(struct lrig *r, const struct floe_lease_entry *was, const struct floe_lease_entry *now)
{
    struct lrig_broker *from = open_session(r, &was->holder), *to = open_session(r, &now->holder);
    const struct floe_span *own = &now->spans[now->span_count - 1];
    if (!r->moves)
        return false;
    if (from == NULL) /* it died when its write was on its way, unless it was sealed: then it is a takeover */
        return now->span_count == 2 && !lrig_seal_at(r, &was->holder, now->spans[0].end);
    for (uint64_t seq = from->committed; seq <= from->next; seq++)
        if (lrig_seal_at(r, &was->holder, seq))
            return false; /* it stands still, and is taken over */
    assert_true(lrig_part_of(from, &was->tp)->handing);
    assert_true(was->checkpoint.present && floe_session_name_eq(&was->checkpoint.session, &was->holder));
    assert_int_equal(was->span_count, 1);
    assert_true(to == NULL || own->first <= to->next);
    if (now->span_count == 2)
        assert_true(now->spans[0].end <= from->committed);
    else
        assert_int_equal(now->span_count, 1);
    return true;
}

bool lrig_lease_names(struct lrig *r, const struct floe_session_name *s, const struct floe_tp *tp,
                      int32_t epoch)
{
    const struct lease_entry *at =
        lease_doc_find(&r->watch->doc[lease_shard_of(tp, FLOE_LEASE_SHARDS_DEFAULT)], tp);
    return at != NULL && at->e.epoch == epoch && floe_session_name_eq(&at->e.holder, s);
}

static void check_entry(struct lrig *r, const struct lease_entry *was, const struct lease_entry *now)
{
    const struct floe_lease_entry *a = &was->e, *b = &now->e;
    if (floe_session_name_eq(&a->holder, &b->holder)) {
        assert_int_equal(a->epoch, b->epoch);
        return;
    }
    assert_int_equal(b->epoch, a->epoch + 1);
    assert_true(b->span_count >= 1);
    if (is_move(r, a, b))
        return;
    /* The dead holder's span: closed at its seal, or dropped because nothing lies in it. */
    const struct floe_span *old = &a->spans[a->span_count - 1];
    const struct floe_span *closed = b->span_count >= 2 ? &b->spans[b->span_count - 2] : NULL;
    if (closed != NULL && closed->epoch == a->epoch) {
        assert_true(closed->first == old->first);
        assert_true(lrig_seal_at(r, &a->holder, closed->end));
        assert_int_equal(b->span_count, a->span_count + 1);
    } else {
        assert_int_equal(b->span_count, a->span_count);
    }
}

static void check_shard(struct lrig *r, const struct floe_sim_object *o)
{
    struct lease_doc doc;
    struct floe_error err;
    uint32_t shard;
    assert_true(lease_shard_key_parse(o->key + strlen("table/"), &shard));
    char *text = value_of(o);
    if (lease_doc_decode(o->key + strlen("table/"), text, strlen(text), 2, &doc, &err) != FLOE_OK)
        fail_msg("%s", err.msg);
    free(text);
    struct lease_doc *was = &r->watch->doc[shard];
    for (uint32_t i = 0; i < was->n; i++) {
        const struct lease_entry *now = lease_doc_find(&doc, &was->entries[i].e.tp);
        if (now != NULL)
            check_entry(r, &was->entries[i], now);
    }
    lease_doc_fini(was);
    *was = doc;
}

/* No two brokers whose sessions are alive serve one partition. */
void lrig_check_single(struct lrig *r, struct lrig_broker *b, const struct floe_tp *tp)
{
    for (int i = 0; i < LRIG_BROKERS; i++) {
        struct lrig_broker *o = &r->b[i];
        if (o == b || !o->up || floe_sim_node_dead(o->node) || floe_sim_node_stalled(o->node) || !o->open ||
            !floe_lease_alive(o->lease))
            continue;
        for (uint32_t k = 0; k < o->part_count; k++)
            if (o->parts[k].epoch >= 0 && !o->parts[k].handing && floe_tp_eq(&o->parts[k].tp, tp))
                fail_msg("%s and %s both serve partition %d while alive", o->name, b->name, (int)tp->index);
    }
}

static void on_event(void *user, const struct floe_sim_store_event *e)
{
    struct lrig *r = user;
    bool table = strncmp(e->key, "table/", 6) == 0;
    r->requests++;
    r->faults += e->fault != FLOE_SIM_NONE;
    if (e->kind == FLOE_STORE_LIST)
        r->lists++;
    if (table && e->kind == FLOE_STORE_GET)
        r->table_gets++;
    if (table && e->kind == FLOE_STORE_PUT)
        r->table_puts++;
    if (e->kind == FLOE_STORE_PUT && strncmp(e->key, "table/lease/", 12) == 0)
        r->lease_puts++;
    if (r->verbose)
        printf("%8llu %s kind %d %s fault %d -> %s\n", (unsigned long long)e->at_us / 1000,
               e->node ? floe_sim_node_name(e->node) : "-", e->kind, e->key, e->fault,
               floe_err_name(e->result));
    if (e->kind != FLOE_STORE_PUT || e->result != FLOE_OK || e->object == NULL)
        return;
    if (strncmp(e->key, "table/lease/", 12) == 0)
        check_shard(r, e->object);
}

void lrig_watch_start(struct lrig *r)
{
    r->watch = calloc(1, sizeof *r->watch);
    assert_non_null(r->watch);
    floe_sim_bucket_watch(r->bucket, on_event, r);
}

void lrig_watch_stop(struct lrig *r)
{
    for (uint32_t i = 0; i < FLOE_LEASE_SHARDS_DEFAULT; i++)
        lease_doc_fini(&r->watch->doc[i]);
    free(r->watch);
}

/* ---- the bucket as a whole
 * ----------------------------------------------------------------------------------- */

static void check_ended(struct lrig *r, const struct floe_sim_object *o)
{
    struct lease_ended_record rec;
    struct floe_session_name s;
    struct floe_error err;
    char *text = value_of(o);
    assert_true(floe_session_parse(&s, o->key + strlen("table/ended/")));
    assert_int_equal(lease_ended_decode(o->key, text, strlen(text), &rec, &err), FLOE_OK);
    free(text);
    assert_true(lrig_seal_at(r, &s, rec.end));
}

/* What the broker knows of the nodes has its own session. */
static void check_sees_itself(const struct lrig_broker *b)
{
    struct floe_node_info n;
    if (b->lease == NULL || floe_sim_node_dead(b->node) || !floe_lease_alive(b->lease))
        return;
    const struct floe_session_name *own = floe_lease_session(b->lease);
    assert_true(floe_lease_node(b->lease, own->node, &n));
    assert_true(floe_session_name_eq(&n.session, own) && n.state == FLOE_NODE_LIVE);
}

void lrig_check(struct lrig *r)
{
    struct floe_session_name s, last = {0};
    uint64_t seq, want = 0;
    bool sealed = false, hole = false;
    for (size_t i = 0; i < floe_sim_bucket_count(r->bucket); i++) {
        const struct floe_sim_object *o = floe_sim_bucket_at(r->bucket, i);
        if (strncmp(o->key, "table/ended/", 12) == 0)
            check_ended(r, o);
        if (!floe_chain_key_parse(o->key, &s, &seq))
            continue;
        if (!floe_session_name_eq(&s, &last)) {
            last = s;
            want = 0;
            sealed = hole = false;
        }
        bool seal = lrig_seal_at(r, &s, seq);
        /* What is under way may come in any order, but a seal lies at the first gap, and is the only one. */
        hole |= !sealed && seq != want;
        assert_false(seal && (sealed || hole));
        sealed |= seal;
        want = seq + 1;
    }
    for (int i = 0; i < LRIG_BROKERS; i++)
        check_sees_itself(&r->b[i]);
}

/* ---- who serves what --------------------------------------------------------------------------------- */

uint32_t lrig_serves(struct lrig *r, int i)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < r->b[i].part_count; k++)
        n += r->b[i].parts[k].epoch >= 0;
    return n;
}

int lrig_holder(struct lrig *r, uint64_t topic, int32_t index)
{
    struct floe_tp tp = lrig_tp(topic, index);
    int holder = -1;
    for (int i = 0; i < LRIG_BROKERS; i++) {
        struct lrig_broker *b = &r->b[i];
        if (!b->up || floe_sim_node_dead(b->node) || !b->open || !floe_lease_alive(b->lease))
            continue;
        for (uint32_t k = 0; k < b->part_count; k++)
            if (b->parts[k].epoch >= 0 && !b->parts[k].handing && floe_tp_eq(&b->parts[k].tp, &tp)) {
                assert_int_equal(holder, -1);
                holder = i;
            }
    }
    return holder;
}

uint32_t lrig_served(struct lrig *r, uint64_t topic, int32_t n)
{
    uint32_t served = 0;
    for (int i = 0; i < LRIG_BROKERS; i++) {
        struct lrig_broker *b = &r->b[i];
        if (!b->up || floe_sim_node_dead(b->node) || !b->open || !floe_lease_alive(b->lease))
            continue;
        for (uint32_t k = 0; k < b->part_count; k++) {
            struct floe_tp tp = lrig_tp(topic, b->parts[k].tp.index);
            served += b->parts[k].epoch >= 0 && !b->parts[k].handing && tp.index < n &&
                      floe_tp_eq(&b->parts[k].tp, &tp);
        }
    }
    return served;
}
