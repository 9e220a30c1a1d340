/* Lease shards: the cache, its reads, and the gathered edits.
 *
 * A shard has one request on its way at a time, a read or a put, so that answers never overtake each other.
 * All edits that wait go into one conditional put; whatever is unclear about its answer is resolved by
 * reading the shard and judging each edit again by what is there. Edits in flight are finished only when a
 * put was applied, or when nothing of them changes the document that the table holds. */
#include "lease_int.h"

#include <stdio.h>
#include <stdlib.h>

struct reader {
    struct floe_list link;
    void (*done)(void *user, const struct floe_error *err);
    void *user;
};

static void step(struct floe_lease *l, struct lease_shard *s);

void lease_shards_init(struct floe_lease *l)
{
    l->shards = lease_alloc(l->shard_count * sizeof *l->shards);
    l->scan_seen = lease_alloc(l->shard_count);
    l->tell_us = l->bump_us = UINT64_MAX;
    for (uint32_t i = 0; i < l->shard_count; i++) {
        struct lease_shard *s = &l->shards[i];
        s->index = i;
        s->wake_us = UINT64_MAX;
        floe_list_init(&s->pending);
        floe_list_init(&s->flight);
        floe_list_init(&s->readers);
        floe_list_init(&s->next_readers);
        floe_list_init(&s->served);
    }
}

static void free_list(struct floe_list *list)
{
    while (!floe_list_empty(list))
        free(FLOE_LIST_ENTRY(floe_list_pop_front(list), struct lease_edit, link));
}

static void free_readers(struct floe_list *list)
{
    while (!floe_list_empty(list))
        free(FLOE_LIST_ENTRY(floe_list_pop_front(list), struct reader, link));
}

void lease_shards_fini(struct floe_lease *l)
{
    for (uint32_t i = 0; i < l->shard_count && l->shards != NULL; i++) {
        struct lease_shard *s = &l->shards[i];
        free_list(&s->pending);
        free_list(&s->flight);
        free_readers(&s->readers);
        free_readers(&s->next_readers);
        lease_doc_fini(&s->doc);
        lease_doc_fini(&s->next);
        free(s->holders);
    }
    while (!floe_list_empty(&l->groups))
        free(FLOE_LIST_ENTRY(floe_list_pop_front(&l->groups), struct lease_group, link));
    free(l->shards);
    free(l->scan_seen);
}

struct lease_shard *lease_shard_at(struct floe_lease *l, const struct floe_tp *tp)
{
    return &l->shards[lease_shard_of(tp, l->shard_count)];
}

bool lease_shard_crowded(const struct lease_shard *s)
{
    return s->bytes > LEASE_CREATE_BYTES_MAX;
}

bool lease_shards_loaded(const struct floe_lease *l)
{
    if (!l->shards_scanned)
        return false;
    for (uint32_t i = 0; i < l->shard_count; i++)
        if (!l->shards[i].loaded && !l->shards[i].bad)
            return false;
    return true;
}

bool lease_shards_idle(const struct floe_lease *l)
{
    for (uint32_t i = 0; i < l->shard_count; i++)
        if (!floe_list_empty(&l->shards[i].pending) || !floe_list_empty(&l->shards[i].flight))
            return false;
    return true;
}

/* ---- edits' answers ---------------------------------------------------------------------------------- */

static void finish_edit(struct floe_lease *l, struct lease_edit *e)
{
    floe_list_remove(&e->link);
    if (e->group != NULL) {
        struct lease_group *g = e->group;
        if (g->err.code == FLOE_OK && e->result.code != FLOE_OK)
            g->err = e->result;
        g->left--; /* answered by the kick */
    }
    if (e->kind == EDIT_TAKE)
        lease_take_done(l, e);
    if (e->kind == EDIT_MOVE)
        lease_move_done(l, e);
    free(e);
    lease_kick(l);
}

static void finish_flight(struct floe_lease *l, struct lease_shard *s)
{
    while (!floe_list_empty(&s->flight))
        finish_edit(l, FLOE_LIST_ENTRY(s->flight.next, struct lease_edit, link));
}

static void fail_edits(struct floe_lease *l, struct lease_shard *s, const struct floe_error *err)
{
    lease_list_splice(&s->flight, &s->pending);
    FLOE_LIST_EACH_SAFE(it, &s->flight)
    {
        struct lease_edit *e = FLOE_LIST_ENTRY(it, struct lease_edit, link);
        if (lease_edit_stays(l, s, e))
            continue;
        e->result = *err;
        finish_edit(l, e);
    }
}

static void answer_readers(struct floe_lease *l, struct floe_list *list, const struct floe_error *err)
{
    struct floe_list now;
    floe_list_init(&now);
    lease_list_splice(&now, list);
    while (!floe_list_empty(&now)) {
        struct reader *r = FLOE_LIST_ENTRY(floe_list_pop_front(&now), struct reader, link);
        struct reader copy = *r;
        free(r);
        copy.done(copy.user, err);
    }
    lease_kick(l);
}

void lease_shards_fail_all(struct floe_lease *l, enum floe_err code, const char *why)
{
    struct floe_error err;
    floe_error_set(&err, code, "%s", why);
    for (uint32_t i = 0; i < l->shard_count; i++) {
        fail_edits(l, &l->shards[i], &err);
        answer_readers(l, &l->shards[i].readers, &err);
        answer_readers(l, &l->shards[i].next_readers, &err);
    }
    lease_groups_answer(l);
}

void lease_groups_answer(struct floe_lease *l)
{
    struct floe_list ready;
    floe_list_init(&ready);
    FLOE_LIST_EACH_SAFE(it, &l->groups)
    {
        if (FLOE_LIST_ENTRY(it, struct lease_group, link)->left == 0) {
            floe_list_remove(it);
            floe_list_push_back(&ready, it);
        }
    }
    while (!floe_list_empty(&ready)) {
        struct lease_group *g = FLOE_LIST_ENTRY(floe_list_pop_front(&ready), struct lease_group, link);
        struct lease_group copy = *g;
        free(g);
        copy.done(copy.user, &copy.err);
    }
}

/* ---- the document ----------------------------------------------------------------------------------- */

static bool same_partitions(const struct lease_doc *a, const struct lease_doc *b)
{
    if (a->n != b->n)
        return false;
    for (uint32_t i = 0; i < a->n; i++)
        if (!floe_tp_eq(&a->entries[i].e.tp, &b->entries[i].e.tp))
            return false;
    return true;
}

/* Makes `doc` the cached one. */
static void publish(struct floe_lease *l, struct lease_shard *s, struct lease_doc *doc, size_t bytes,
                    const char *version)
{
    s->bytes = bytes;
    l->placed.counted = false;
    l->placed.stale |= !same_partitions(&s->doc, doc);
    lease_doc_fini(&s->doc);
    s->doc = *doc;
    *doc = (struct lease_doc){0};
    if (s->version != version)
        snprintf(s->version, sizeof s->version, "%s", version);
    s->loaded = s->dirty = true;
    s->bad = false;
    s->fails = 0;
    free(s->holders);
    s->holders = NULL;
    s->holder_count = 0;
    for (uint32_t i = 0; i < s->doc.n; i++) {
        int32_t node = s->doc.entries[i].e.holder.node;
        uint32_t k = 0;
        while (k < s->holder_count && s->holders[k] != node)
            k++;
        if (k < s->holder_count)
            continue;
        s->holders = realloc(s->holders, (s->holder_count + 1) * sizeof *s->holders);
        FLOE_ASSERT(s->holders != NULL);
        s->holders[s->holder_count++] = node;
    }
    l->changed = l->mover.look = true;
    lease_kick(l);
}

static void later(struct floe_lease *l, struct lease_shard *s)
{
    s->fails++;
    s->retry_us = lease_now(l) + lease_backoff_us(l, s->fails);
}

static void done_op(struct floe_lease *l, struct lease_shard *s)
{
    s->op = NULL;
    FLOE_ASSERT(l->flight > 0);
    l->flight--;
}

/* ---- reads ----------------------------------------------------------------------------------------- */

static void unreadable(struct floe_lease *l, struct lease_shard *s, const struct floe_error *err)
{
    if (!s->bad)
        lease_note(l, FLOE_LOG_ERROR, "%s", err->msg);
    s->bad = true;
    fail_edits(l, s, err);
}

/* What a read, or a put that met it, brought. FLOE_OK or FLOE_ECORRUPT. */
static enum floe_err take_in(struct floe_lease *l, struct lease_shard *s, const struct lease_op *op,
                             struct floe_error *err)
{
    const struct floe_table_req *r = &op->u.table;
    struct lease_doc doc = {0};
    s->asked_us = op->started_us;
    if (s->loaded && !s->bad && strcmp(s->version, r->version) == 0) {
        s->fails = 0;
        return FLOE_OK;
    }
    if (lease_doc_decode(r->key, r->got, r->got_n, l->format.newest, &doc, err) != FLOE_OK) {
        unreadable(l, s, err);
        return err->code;
    }
    lease_format_saw(l, doc.format);
    publish(l, s, &doc, r->got_n, r->version);
    return FLOE_OK;
}

static void on_get(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_shard *s = op->ctx;
    const struct floe_table_req *r = &op->u.table;
    struct floe_error err = r->err, ok = {0};
    struct lease_doc doc = {0};
    done_op(l, s);
    if (err.code == FLOE_OK || err.code == FLOE_ENOTFOUND)
        lease_table_ok(l);
    if (err.code == FLOE_OK) {
        (void)!take_in(l, s, op, &err);
    } else if (err.code == FLOE_ENOTFOUND && s->version[0] == '\0') {
        err = ok;
        publish(l, s, &doc, 0, "");
    } else if (err.code == FLOE_ENOTFOUND) {
        floe_error_set(&err, FLOE_ECORRUPT, "table record \"%s\" has vanished", r->key);
        unreadable(l, s, &err);
    } else if (err.code == FLOE_ECORRUPT) {
        unreadable(l, s, &err);
    } else {
        l->trouble = err;
        s->stale = true;
        later(l, s);
    }
    answer_readers(l, &s->readers, err.code == FLOE_OK ? &ok : &err);
}

static void read_shard(struct floe_lease *l, struct lease_shard *s)
{
    char key[FLOE_TABLE_KEY_MAX];
    s->stale = false;
    lease_list_splice(&s->readers, &s->next_readers);
    lease_shard_key(key, s->index);
    s->op = lease_op_get(l, key, lease_step_us(l), on_get, s);
    l->flight++;
}

/* ---- puts ------------------------------------------------------------------------------------------ */

/* The others are told of it: of a move, whose receiver is told at once, with those that follow it. */
static void tell_later(struct floe_lease *l, struct lease_shard *s, const struct lease_edit *e)
{
    bool move = e->kind == EDIT_MOVE;
    if ((!e->changed && !e->unclear) || (e->kind == EDIT_CHECKPOINT && !e->raises_start))
        return;
    s->tell = true;
    l->tell_us = FLOE_MIN(l->tell_us, lease_now(l) + (move ? LEASE_TELL_US : 0));
    l->tell_bump |= !move;
}

static void note_written(struct floe_lease *l, struct lease_shard *s)
{
    FLOE_LIST_EACH(it, &s->flight)
    {
        tell_later(l, s, FLOE_LIST_ENTRY(it, struct lease_edit, link));
    }
    lease_moves_written(l, s);
}

static void on_put(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    struct lease_shard *s = op->ctx;
    const struct floe_table_req *r = &op->u.table;
    done_op(l, s);
    l->idle_puts -= s->idle;
    s->idle = false;
    if (r->err.code == FLOE_OK) {
        s->asked_us = op->started_us; /* its condition held after that */
        publish(l, s, &s->next, s->next_bytes, r->version);
        note_written(l, s);
        finish_flight(l, s);
    } else {
        bool unclear = r->err.code == FLOE_ECONFLICT || r->err.code == FLOE_EEXISTS ||
                       r->err.code == FLOE_EINDETERMINATE;
        lease_doc_fini(&s->next);
        FLOE_LIST_EACH(it, &s->flight)
        {
            struct lease_edit *e = FLOE_LIST_ENTRY(it, struct lease_edit, link);
            e->unclear |= unclear;
            e->doubtful |= r->err.code != FLOE_ECONFLICT && r->err.code != FLOE_EEXISTS;
        }
        struct floe_error err;
        if (r->got != NULL)
            (void)!take_in(l, s, op, &err); /* what is in the way; the edits are tried again on it */
        else if (unclear)
            s->stale = true;
        else
            later(l, s);
        if (r->err.code == FLOE_ETOOLARGE)
            fail_edits(l, s, &r->err);
    }
    lease_kick(l);
}

/* Too long with all that is taken over: so many takes (of `takes`) stay as have room. Those that are served
 * and have their checkpoints named give room to the others, which are tried again. */
static void refuse_takes(struct lease_shard *s, uint32_t takes, size_t bytes)
{
    size_t each = bytes > s->bytes ? (bytes - s->bytes) / takes + 1 : 1;
    size_t room = s->bytes < LEASE_TAKE_BYTES_MAX ? (LEASE_TAKE_BYTES_MAX - s->bytes) / each : 0;
    uint32_t keep = FLOE_MIN((uint32_t)FLOE_MAX(room, (size_t)LEASE_TAKES_MIN), takes / 2);
    FLOE_LIST_EACH(it, &s->flight)
    {
        struct lease_edit *e = FLOE_LIST_ENTRY(it, struct lease_edit, link);
        if (e->kind != EDIT_TAKE || !e->changed)
            continue;
        e->refused_size = keep == 0;
        keep -= keep > 0;
    }
}

/* Applies all edits of the flight to a copy of the document; its JSON in `w`. False: nothing changes. */
static bool build(struct floe_lease *l, struct lease_shard *s, struct floe_writer *w)
{
    uint32_t creates = 0, created = 0, takes = 0;
    bool changed = false;
    FLOE_LIST_EACH(it, &s->flight)
    {
        creates += FLOE_LIST_ENTRY(it, struct lease_edit, link)->kind == EDIT_CREATE;
    }
    lease_doc_fini(&s->next);
    FLOE_ASSERT(lease_doc_clone(&s->doc, creates, &s->next) == FLOE_OK);
    s->next.format = floe_lease_format(l);
    FLOE_LIST_EACH(it, &s->flight)
    {
        struct lease_edit *e = FLOE_LIST_ENTRY(it, struct lease_edit, link);
        lease_edit_apply(l, e, &s->next);
        changed |= e->changed;
        created += e->changed && e->kind == EDIT_CREATE;
        takes += e->changed && e->kind == EDIT_TAKE;
    }
    if (!changed)
        return false;
    w->n = 0;
    w->bad = false;
    lease_doc_encode(&s->next, w);
    size_t bytes = w->bad ? FLOE_TABLE_VALUE_MAX : w->n;
    if (created > 0 && bytes + (size_t)s->next.n * LEASE_ENTRY_GROWS > LEASE_CREATE_BYTES_MAX) {
        FLOE_LIST_EACH(it, &s->flight)
        {
            struct lease_edit *e = FLOE_LIST_ENTRY(it, struct lease_edit, link);
            e->refused_size |= e->kind == EDIT_CREATE && e->changed;
        }
        return build(l, s, w); /* once: none is created now */
    }
    if (takes > 0 && (w->bad || (takes > LEASE_TAKES_MIN && bytes > LEASE_TAKE_BYTES_MAX))) {
        refuse_takes(s, takes, bytes);
        return build(l, s, w); /* with half as many at most */
    }
    s->next_bytes = w->n;
    return true;
}

static void write_shard(struct floe_lease *l, struct lease_shard *s)
{
    struct floe_writer w;
    char key[FLOE_TABLE_KEY_MAX];
    struct floe_error err;
    bool idle = s->idle;
    s->idle = false;
    lease_list_splice(&s->flight, &s->pending);
    floe_writer_init(&w, FLOE_TABLE_VALUE_MAX);
    if (!build(l, s, &w)) {
        lease_doc_fini(&s->next);
        note_written(l, s); /* by a put whose answer was lost */
        finish_flight(l, s);
    } else if (w.bad) {
        lease_doc_fini(&s->next);
        lease_shard_key(key, s->index);
        floe_error_set(&err, FLOE_ETOOLARGE, "table record \"%s\" would pass %d bytes", key,
                       FLOE_TABLE_VALUE_MAX);
        lease_note(l, FLOE_LOG_ERROR, "%s", err.msg);
        fail_edits(l, s, &err);
    } else {
        char *text = lease_alloc(w.n + 1);
        memcpy(text, w.p, w.n);
        lease_shard_key(key, s->index);
        s->idle = idle;
        l->idle_puts += idle;
        s->op = lease_op_put(l, key, s->version, text, lease_step_us(l), on_put, s);
        l->flight++;
    }
    floe_writer_fini(&w);
}

/* A move that is not wanted any more, and of which no copy can be applied, need not wait for the table. */
static void drop_cancelled(struct floe_lease *l, struct floe_list *edits)
{
    FLOE_LIST_EACH_SAFE(it, edits)
    {
        struct lease_edit *e = FLOE_LIST_ENTRY(it, struct lease_edit, link);
        if (!e->cancelled || e->unclear)
            continue;
        floe_error_set(&e->result, FLOE_ETIMEOUT, "the table does not answer");
        finish_edit(l, e);
    }
}

/* Whether what is pending may be put now. Checkpoints that nobody waits for go a few at a time, and not while
 * appends are stopped for a move, here or elsewhere. */
static bool may_put(struct floe_lease *l, struct lease_shard *s)
{
    uint64_t now = lease_now(l);
    if (!floe_list_empty(&s->flight) || s->put_us == 0 || l->own.state == OWN_ENDING)
        return true;
    if (now < s->put_us)
        return false;
    if (now < l->mover.window_us)
        lease_wake(l, l->mover.window_us);
    s->idle = l->idle_puts < LEASE_IDLE_PUTS_MAX && l->mover.step < MOVE_STOP && now >= l->mover.window_us;
    return s->idle;
}

static void step(struct floe_lease *l, struct lease_shard *s)
{
    if (s->op == NULL && l->mover.step == MOVE_GIVE) {
        drop_cancelled(l, &s->flight);
        drop_cancelled(l, &s->pending);
    }
    bool edits = !floe_list_empty(&s->pending) || !floe_list_empty(&s->flight);
    struct floe_error err;
    if (s->op != NULL || l->flight >= LEASE_FLIGHT_MAX || lease_now(l) < s->retry_us)
        return;
    if (s->stale || !floe_list_empty(&s->next_readers) || (edits && !s->loaded && !s->bad)) {
        read_shard(l, s);
    } else if (edits && s->bad) {
        floe_error_set(&err, FLOE_ECORRUPT, "its lease record cannot be read");
        fail_edits(l, s, &err);
    } else if (edits && may_put(l, s)) {
        write_shard(l, s);
    }
}

/* Starts what can be started, each broker from another shard on, so that those who take over at the same time
 * meet seldom; and tells the others of what was changed, once all of it is written. */
void lease_shards_step(struct floe_lease *l)
{
    int32_t shards[LEASE_SHARD_MAX];
    uint32_t n = 0, from = (uint32_t)(l->own.name.id % l->shard_count);
    bool busy = false;
    if (l->shards_scan == NULL && lease_now(l) >= l->shards_scan_us)
        lease_shards_scan(l);
    for (uint32_t i = 0; i < l->shard_count; i++)
        step(l, &l->shards[(from + i) % l->shard_count]);
    for (uint32_t i = 0; i < l->shard_count; i++) {
        struct lease_shard *s = &l->shards[i];
        busy |= !floe_list_empty(&s->flight) || !floe_list_empty(&s->pending);
        if (s->tell)
            shards[n++] = (int32_t)i;
    }
    if (!busy)
        lease_peers_tell_due(l, shards, n);
}

/* ---- scans ----------------------------------------------------------------------------------------- */

static void scan_page(struct floe_lease *l, const char *after);

static void on_scan(struct lease_op *op)
{
    struct floe_lease *l = op->l;
    const struct floe_table_req *r = &op->u.table;
    struct lease_doc empty = {0};
    uint32_t i;
    l->shards_scan = NULL;
    if (r->err.code != FLOE_OK) {
        l->trouble = r->err;
        l->shards_scan_us = lease_now(l) + lease_backoff_us(l, 2);
        lease_kick(l);
        return;
    }
    lease_table_ok(l);
    l->shards_scan_us = lease_now(l) + 3 * l->lease_us;
    for (uint32_t k = 0; k < r->entry_count; k++) {
        if (!lease_shard_key_parse(r->entries[k].key, &i) || i >= l->shard_count)
            continue;
        l->scan_seen[i] = 1;
        if (!l->shards[i].loaded || strcmp(l->shards[i].version, r->entries[k].version) != 0)
            l->shards[i].stale = true;
    }
    if (r->truncated && r->entry_count > 0) {
        scan_page(l, r->entries[r->entry_count - 1].key);
        return;
    }
    for (i = 0; i < l->shard_count; i++)
        if (!l->scan_seen[i] && !l->shards[i].loaded && l->shards[i].op == NULL && !l->shards[i].stale)
            publish(l, &l->shards[i], &empty, 0, "");
    l->shards_scanned = true;
    if (l->shards_scan_again) {
        l->shards_scan_again = false;
        lease_shards_scan(l);
    }
    lease_kick(l);
}

static void scan_page(struct floe_lease *l, const char *after)
{
    l->shards_scan = lease_op_scan(l, "lease/", after, on_scan, NULL);
}

void lease_shards_scan(struct floe_lease *l)
{
    if (l->shards_scan != NULL) {
        l->shards_scan_again = true;
        return;
    }
    memset(l->scan_seen, 0, l->shard_count);
    scan_page(l, "");
}

/* ---- from the layer above --------------------------------------------------------------------------- */

void floe_lease_refresh(struct floe_lease *l, const struct floe_tp *tp,
                        void (*done)(void *user, const struct floe_error *err), void *user)
{
    struct reader *r = lease_alloc(sizeof *r);
    r->done = done;
    r->user = user;
    floe_list_push_back(&lease_shard_at(l, tp)->next_readers, &r->link);
    lease_kick(l);
}

void floe_lease_refresh_since(struct floe_lease *l, const struct floe_tp *tp, uint64_t since_us,
                              void (*done)(void *user, const struct floe_error *err), void *user)
{
    const struct lease_shard *s = lease_shard_at(l, tp);
    struct floe_error ok = {.code = FLOE_OK};
    if (s->loaded && !s->bad && s->asked_us >= since_us)
        done(user, &ok);
    else
        floe_lease_refresh(l, tp, done, user);
}
