/* Planned moves follow from state: what this session holds is compared with what placement names, and handed
 * over in batches. (design.md, "Leases")
 *
 *   NONE ─► PREPARE ─► AHEAD ─► STOP ─► GIVE ─► NONE
 *
 *  PREPARE  checkpoints are put and named by the leases, so that the receiver reads little; appends go on
 *  AHEAD    the receivers read them, and the chain so far; appends go on
 *  STOP     appends wait; what is open is flushed; until every segment that carries the partitions is
 *           committed
 *  GIVE     one conditional write a shard names the receivers; they are told at once
 *
 * What fails before GIVE is served on. In GIVE a partition is served on only when its write has certainly not
 * been applied, and never will be (edits.c: take_back); until that is known nothing is appended to it.
 *
 * Moves begin only under a view (the live sessions that do not drain) that has not changed for a while, and
 * go only to sessions that have answered that they place by the same view: two views would fight. The
 * receiver's first key is one that this very session has answered. */
#include "lease_int.h"

#include <floe/base/mutant.h>

#include <stdlib.h>

#define STABLE_US 3000000u /* a view that has not changed for so long, or a third of the lease time */
#define PAUSE_US 200000u   /* between two batches: table and store have others to serve */
#define DRAIN_BEAT_NEXT 2u /* of the next session: its claim may have been on its way */
#define KEEP_US 1000000u   /* a partition that could not be moved is not tried again before */

static bool moves_wanted(const struct floe_lease *l)
{
    return l->cfg.hooks.stop != NULL && l->cfg.peers != NULL;
}

/* ---- the view -------------------------------------------------------------------------------------- */

uint64_t lease_view(struct floe_lease *l)
{
    uint64_t placed = floe_lease_placed_hash(l);
    return placed != 0 ? (placed ^ lease_placed_sessions(l)) | 1 : 0;
}

static void watch_view(struct floe_lease *l)
{
    struct lease_mover *m = &l->mover;
    uint64_t sessions = lease_placed_sessions(l), view = lease_view(l);
    if (sessions != m->sessions)
        m->since_us = lease_now(l);
    m->look |= view != m->view;
    m->sessions = sessions;
    m->view = view;
}

static bool view_stands(const struct floe_lease *l)
{
    uint64_t wait = FLOE_MIN((uint64_t)STABLE_US, l->lease_us / 3);
    return lease_now(l) - l->mover.since_us >= FLOE_MAX(wait, l->lease_us / 5);
}

/* Places by the same view, and takes partitions over. */
static const struct lease_node *receiver(const struct floe_lease *l, int32_t id)
{
    const struct lease_node *n = lease_node_find(l, id);
    bool ok = n != NULL && n->present && !n->bad && n->gone == NULL && n->rec.info.state == FLOE_NODE_LIVE &&
              n->view_us != 0 && n->view == l->mover.view && n->next_key >= 0 &&
              lease_now(l) - n->view_us <= l->lease_us / 3;
    return ok ? n : NULL;
}

static bool may_move(struct floe_lease *l)
{
    return l->life == LIFE_RUNNING && l->own.state == OWN_LIVE && !l->own.tell_open && floe_lease_alive(l) &&
           l->mover.view != 0 && view_stands(l);
}

/* ---- one move -------------------------------------------------------------------------------------- */

static struct lease_move *find(struct floe_lease *l, const struct floe_tp *tp)
{
    FLOE_LIST_EACH(it, &l->mover.moves)
    {
        struct lease_move *m = FLOE_LIST_ENTRY(it, struct lease_move, link);
        if (floe_tp_eq(&m->tp, tp))
            return m;
    }
    return NULL;
}

static void free_move(struct floe_lease *l, struct lease_move *m)
{
    floe_list_remove(&m->link);
    l->mover.count--;
    free(m);
}

static struct lease_served *serving(struct floe_lease *l, const struct lease_move *m)
{
    struct lease_served *v = lease_served_find(l, &m->tp);
    return v != NULL && v->state == SERVED_SERVING && v->epoch == m->epoch ? v : NULL;
}

/* It stays here, and another time may be better. */
static void keep(struct floe_lease *l, struct lease_move *m)
{
    struct lease_served *v = serving(l, m);
    if (v != NULL) {
        v->move_after_us = lease_now(l) + FLOE_MIN((uint64_t)KEEP_US, l->lease_us / 3);
        if (l->mover.step >= MOVE_STOP)
            l->cfg.hooks.resume(l->cfg.hooks.user, &m->tp);
        l->mover.stats.kept++;
    }
    free_move(l, m);
}

static void gave(struct floe_lease *l, struct lease_move *m)
{
    l->mover.given++;
    l->mover.stats.moved++;
    free_move(l, m);
}

void lease_moves_reset(struct floe_lease *l)
{
    while (!floe_list_empty(&l->mover.moves))
        free_move(l, FLOE_LIST_ENTRY(l->mover.moves.next, struct lease_move, link));
    l->mover.step = MOVE_NONE;
    l->mover.look = true;
    l->mover.drain_beat = DRAIN_BEAT_NEXT;
}

bool lease_move_waits(struct floe_lease *l, const struct floe_tp *tp)
{
    return l->mover.step == MOVE_PREPARE && find(l, tp) != NULL;
}

void lease_move_forget(struct floe_lease *l, const struct floe_tp *tp)
{
    struct lease_move *m = l->mover.count > 0 ? find(l, tp) : NULL;
    struct floe_lease_entry e;
    if (m == NULL)
        return;
    if (floe_lease_lookup(l, tp, &e) && floe_session_name_eq(&e.holder, &m->to) && e.epoch == m->epoch + 1) {
        gave(l, m); /* applied, though the answer was lost */
        return;
    }
    if (m->edit != NULL)
        m->edit->cancelled = true;
    free_move(l, m);
}

void lease_moves_written(struct floe_lease *l, struct lease_shard *s)
{
    s->told_n = 0;
    FLOE_LIST_EACH(it, &s->flight)
    {
        const struct lease_edit *e = FLOE_LIST_ENTRY(it, struct lease_edit, link);
        if (e->kind != EDIT_MOVE || (!e->changed && !e->unclear) || e->result.code != FLOE_OK)
            continue;
        if (lease_shard_told(s, e->to.node) || s->told_n == LEASE_TOLD_MAX)
            continue; /* the others hear of it with everybody */
        s->told[s->told_n++] = e->to.node;
        lease_peer_tell(l, e->to.node, (int32_t)s->index);
    }
}

void lease_move_done(struct floe_lease *l, const struct lease_edit *e)
{
    FLOE_LIST_EACH(it, &l->mover.moves)
    {
        struct lease_move *m = FLOE_LIST_ENTRY(it, struct lease_move, link);
        if (m->edit != e)
            continue;
        m->edit = NULL;
        if (e->result.code == FLOE_OK)
            gave(l, m); /* reconcile lets go of it: the lease names another session */
        else
            keep(l, m);
        return;
    }
}

void floe_lease_stopped(struct floe_lease *l, const struct floe_tp *tp, int32_t epoch, uint64_t end)
{
    struct lease_move *m = find(l, tp);
    if (m == NULL || l->mover.step != MOVE_STOP || m->epoch != epoch)
        return;
    m->stopped = true;
    m->end = end;
    lease_kick(l);
}

/* ---- a batch --------------------------------------------------------------------------------------- */

static void add(struct floe_lease *l, const struct floe_lease_entry *e, const struct lease_node *to)
{
    struct lease_move *m = lease_alloc(sizeof *m);
    m->tp = e->tp;
    m->epoch = e->epoch;
    m->to = to->rec.info.session;
    m->ckpt_key = l->cfg.hooks.checkpoint_now(l->cfg.hooks.user, &m->tp);
    lease_shard_at(l, &m->tp)->put_us = 0; /* it may wait to be named with others */
    floe_list_push_back(&l->mover.moves, &m->link);
    l->mover.count++;
}

/* What of the shard belongs elsewhere. Counts what this session holds in *held; false when a receiver has not
 * agreed to the view yet. */
static bool collect(struct floe_lease *l, struct lease_shard *s, uint32_t *held)
{
    uint64_t now = lease_now(l);
    bool agreed = now >= s->theirs_us;
    for (uint32_t i = 0; i < s->doc.n; i++) {
        const struct floe_lease_entry *e = &s->doc.entries[i].e;
        if (!lease_own_is(l, &e->holder) || floe_lease_topic_forgotten(l, &e->tp.topic))
            continue;
        ++*held;
        int32_t owner = floe_lease_placed(l, &e->tp);
        if (owner == 0 || owner == l->own.name.node)
            continue;
        struct lease_served *v = lease_served_find(l, &e->tp);
        const struct lease_node *to = receiver(l, owner);
        if (v == NULL || v->state != SERVED_SERVING || v->epoch != e->epoch || now < v->move_after_us ||
            to == NULL)
            agreed = false;
        else if (l->mover.count == LEASE_MOVES_MAX)
            l->mover.look = true;
        else if (now >= s->theirs_us && (l->mover.draining || lease_placed_move(l, e) != 0))
            add(l, e, to);
    }
    return agreed;
}

void lease_moves_calm(struct floe_lease *l, bool stopping)
{
    int32_t shards[LEASE_MOVES_MAX];
    uint32_t n = 0;
    FLOE_LIST_EACH(it, &l->mover.moves)
    {
        struct lease_shard *s = lease_shard_at(l, &FLOE_LIST_ENTRY(it, struct lease_move, link)->tp);
        uint32_t k = 0;
        while (k < n && shards[k] != (int32_t)s->index)
            k++;
        if (k < n)
            continue;
        shards[n++] = (int32_t)s->index;
        lease_shard_calm(l, s);
    }
    lease_peers_calm(l, shards, n, stopping);
}

/* How many shards a batch may touch, of `used` in which this session serves something: few, since each is a
 * conditional put that others may spoil, and all of the batch waits for the last one; but so many that a
 * large holder is empty after some sixteen batches. */
static uint32_t shards_max(uint32_t used)
{
    return FLOE_MAX((uint32_t)LEASE_MOVE_SHARDS, used / 16);
}

/* Where among them this broker begins: those who move at the same time, which a newcomer makes of all, shall
 * not spoil each other's puts. */
static uint32_t first_of(const struct lease_placed *pl, int32_t own, uint32_t used)
{
    uint32_t rank = 0;
    for (uint32_t i = 0; i < pl->node_count; i++)
        rank += pl->nodes[i].id < own;
    return pl->node_count > 0 ? (uint32_t)((uint64_t)rank * used / pl->node_count) % FLOE_MAX(used, 1u) : 0;
}

/* Looks at every lease. */
static void begin(struct floe_lease *l)
{
    struct lease_mover *m = &l->mover;
    struct lease_shard *used[LEASE_SHARD_MAX];
    uint32_t n = 0, held = 0, shards = 0;
    bool agreed = true;
    m->look = false;
    for (uint32_t i = 0; i < l->shard_count; i++) {
        struct lease_shard *s = &l->shards[i];
        if (s->loaded && !s->bad && s->holder_count > 0)
            used[n++] = s;
    }
    uint32_t from = first_of(&l->placed, l->own.name.node, n), max = shards_max(n);
    for (uint32_t i = 0; i < n && shards < max; i++) {
        uint32_t before = m->count;
        agreed &= collect(l, used[(from + i) % n], &held);
        shards += m->count > before;
    }
    if (m->count > 0) {
        m->step = MOVE_PREPARE;
        m->begun_us = lease_now(l);
        m->deadline_us = m->begun_us + l->lease_us;
        m->given = 0;
        lease_moves_calm(l, false);
        return;
    }
    m->look |= !agreed;
    m->look_us = lease_now(l) + l->lease_us / (agreed ? 3 : 40);
    if (m->draining && held == 0)
        m->drain_deadline_us = 0;
}

static bool prepared(struct floe_lease *l, const struct lease_move *m)
{
    struct floe_lease_entry e;
    if (FLOE_MUTANT(MOVE_BEFORE_CHECKPOINT))
        return true;
    return floe_lease_lookup(l, &m->tp, &e) && e.checkpoint.present &&
           lease_own_is(l, &e.checkpoint.session) && e.checkpoint.seq >= m->ckpt_key;
}

/* Keeps what cannot be moved (any more). True when all that is left is ready for the next step. */
static bool ready(struct floe_lease *l, bool (*is_ready)(struct floe_lease *l, const struct lease_move *m))
{
    bool late = lease_now(l) >= l->mover.deadline_us, all = true;
    FLOE_LIST_EACH_SAFE(it, &l->mover.moves)
    {
        struct lease_move *m = FLOE_LIST_ENTRY(it, struct lease_move, link);
        const struct lease_node *to = receiver(l, m->to.node);
        bool fits = serving(l, m) != NULL && to != NULL &&
                    floe_session_name_eq(&to->rec.info.session, &m->to) && !l->own.tell_open;
        bool is = is_ready(l, m);
        if (!fits || (late && !is))
            keep(l, m);
        else
            all &= is;
    }
    return all;
}

static bool stopped(struct floe_lease *l, const struct lease_move *m)
{
    (void)l;
    return m->stopped;
}

static void stop_all(struct floe_lease *l)
{
    l->mover.step = MOVE_STOP;
    l->mover.stopped_us = lease_now(l);
    l->mover.deadline_us = l->mover.stopped_us + l->lease_us / 3;
    FLOE_LIST_EACH(it, &l->mover.moves)
    l->cfg.hooks.stop(l->cfg.hooks.user, &FLOE_LIST_ENTRY(it, struct lease_move, link)->tp);
}

static void give_all(struct floe_lease *l)
{
    l->mover.step = MOVE_GIVE;
    l->mover.given_us = lease_now(l);
    l->mover.deadline_us = l->mover.given_us + l->lease_us / 3;
    FLOE_LIST_EACH(it, &l->mover.moves)
    {
        struct lease_move *m = FLOE_LIST_ENTRY(it, struct lease_move, link);
        struct lease_edit *e = lease_edit_add(l, EDIT_MOVE, &m->tp);
        e->session = l->own.name;
        e->to = m->to;
        e->epoch = m->epoch;
        e->key = m->end;
        e->first =
            (uint64_t)lease_node_find(l, m->to.node)->next_key + (FLOE_MUTANT(MOVE_HINT_HIGH) ? 20 : 0);
        e->ref.seq = m->ckpt_key;
        m->edit = e;
    }
    lease_ahead_stopped(l);
}

static void take_back_late(struct floe_lease *l)
{
    if (lease_now(l) < l->mover.deadline_us)
        return;
    FLOE_LIST_EACH(it, &l->mover.moves)
    {
        struct lease_move *m = FLOE_LIST_ENTRY(it, struct lease_move, link);
        if (m->edit != NULL)
            m->edit->cancelled = true;
    }
}

static void end_batch(struct floe_lease *l)
{
    struct lease_mover *m = &l->mover;
    uint64_t now = lease_now(l);
    bool given = m->step == MOVE_GIVE && m->given > 0;
    m->step = MOVE_NONE;
    m->look = true;
    m->look_us = now;
    if (!given)
        return;
    m->look_us += FLOE_MIN((uint64_t)PAUSE_US, l->lease_us / 100);
    m->stats.stop_us_max = FLOE_MAX(m->stats.stop_us_max, now - m->stopped_us);
    lease_note(
        l, FLOE_LOG_INFO,
        "handed over %u partitions in %u ms; they took no appends for %u ms of it: flush %u, leases %u ms",
        m->given, (unsigned)((now - m->begun_us) / 1000), (unsigned)((now - m->stopped_us) / 1000),
        (unsigned)((m->given_us - m->stopped_us) / 1000), (unsigned)((now - m->given_us) / 1000));
}

/* ---- drain ----------------------------------------------------------------------------------------- */

bool lease_drain_renewed(struct floe_lease *l)
{
    struct lease_mover *m = &l->mover;
    if (!m->draining || m->drain_told)
        return false;
    if (l->own.beat < m->drain_beat)
        return true;
    m->drain_told = true;
    lease_peers_tell(l, NULL, 0); /* they read this broker's record now */
    return false;
}

static void check_drained(struct floe_lease *l)
{
    struct lease_mover *m = &l->mover;
    if (m->drained == NULL || m->step == MOVE_GIVE) /* what is on its way is waited for */
        return;
    bool alone = !moves_wanted(l) || !lease_own_open(l);
    alone |= lease_placed_on(l, l->own.name.node); /* nobody else is there */
    if (!alone && lease_now(l) < m->drain_deadline_us)
        return;
    while (!floe_list_empty(&m->moves))
        keep(l, FLOE_LIST_ENTRY(m->moves.next, struct lease_move, link));
    m->step = MOVE_NONE;
    void (*done)(void *) = m->drained;
    m->drained = NULL;
    done(m->drained_user);
}

void floe_lease_drain(struct floe_lease *l, uint64_t limit_us, void (*done)(void *user), void *user)
{
    struct lease_mover *m = &l->mover;
    FLOE_ASSERT(!m->draining);
    m->draining = true;
    m->drain_beat = lease_own_open(l) ? l->own.beat + 1 : DRAIN_BEAT_NEXT;
    m->drain_deadline_us = lease_now(l) + limit_us;
    m->drained = done;
    m->drained_user = user;
    m->look = true;
    m->look_us = 0;
    lease_own_renew_now(l);
    lease_reconcile_all(l);
    lease_kick(l);
}

/* ---- the step -------------------------------------------------------------------------------------- */

void lease_moves_step(struct floe_lease *l)
{
    struct lease_mover *m = &l->mover;
    watch_view(l);
    if (moves_wanted(l)) {
        if (m->step == MOVE_NONE && may_move(l) && lease_now(l) >= m->look_us && (m->look || m->draining))
            begin(l);
        if (m->step == MOVE_NONE && m->look && lease_now(l) < m->look_us)
            lease_wake(l, m->look_us);
        if (m->step == MOVE_PREPARE && ready(l, prepared) && m->count > 0) {
            m->step = MOVE_AHEAD;
            lease_ahead_begin(l);
        }
        if (m->step == MOVE_AHEAD && ready(l, prepared) && m->count > 0 && lease_ahead_read(l))
            stop_all(l);
        if (m->step == MOVE_STOP && ready(l, stopped) && m->count > 0)
            give_all(l);
        if (m->step == MOVE_GIVE)
            take_back_late(l);
        if (m->step != MOVE_NONE && m->count == 0)
            end_batch(l);
    }
    check_drained(l);
}

void floe_lease_get_stats(const struct floe_lease *l, struct floe_lease_stats *out)
{
    *out = l->mover.stats;
    out->moving = l->mover.count;
    out->draining = l->mover.draining;
}
