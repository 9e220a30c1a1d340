/* A shard's state is what its journal says: read when the partition is taken over, from the last snapshot on.
 *
 * A snapshot is every group's records written once more at the end of the journal, a few at a time; when the
 * last of them is committed, the table's record coordinator/<topic id>/<partition> names the offset at which
 * it began. An old or lost record costs reading more, nothing else: so it needs no fence. */
#include "group_int.h"

#include <floe/base/log.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define READ_BYTES (1u << 20)
#define RECORD_BYTES_MAX (64u << 20) /* decompressed bytes of one batch */
#define SCRATCH_MAX (64u << 20)

struct group_load {
    struct floe_table_req record;
    bool asking, reading;
    struct floe_log_read read;
    struct floe_timer next;
    int64_t at, end;
};

static void record_key(const struct group_shard *s, char out[FLOE_TABLE_KEY_MAX])
{
    char id[FLOE_UUID_HEX];
    floe_uuid_hex(id, &s->tp.topic);
    snprintf(out, FLOE_TABLE_KEY_MAX, "coordinator/%s/%d", id, (int)s->tp.index);
}

/* ---- replay ------------------------------------------------------------------------------------------- */

static void replay_batch(struct group_shard *s, struct floe_slice bytes)
{
    struct floe_record_iter *it;
    struct floe_record r;
    struct floe_error err;
    enum floe_err rc = floe_record_iter_create(&it, bytes, RECORD_BYTES_MAX, &err);
    if (rc != FLOE_OK) {
        floe_log_error("group", "%s-%d: a batch of the journal cannot be read: %s", FLOE_OFFSETS_TOPIC,
                       (int)s->tp.index, err.msg);
        return;
    }
    while ((rc = floe_record_iter_next(it, &r, &err)) == FLOE_OK) {
        struct floe_arena scratch;
        floe_arena_init(&scratch, SCRATCH_MAX);
        rc = records_replay(s, r.key, r.value, &scratch, &err);
        floe_arena_fini(&scratch);
        if (rc != FLOE_OK && rc != FLOE_EUNSUPPORTED)
            floe_log_error("group", "%s-%d: the record at offset %lld is left out: %s", FLOE_OFFSETS_TOPIC,
                           (int)s->tp.index, (long long)r.offset, err.msg);
    }
    if (rc != FLOE_ENOTFOUND)
        floe_log_error("group", "%s-%d: a batch of the journal is damaged: %s", FLOE_OFFSETS_TOPIC,
                       (int)s->tp.index, err.msg);
    floe_record_iter_destroy(&it);
}

static void replay(struct group_shard *s, struct floe_log_read *r)
{
    struct group_load *ld = s->load;
    for (uint32_t i = 0; i < r->slice_count; i++) {
        struct floe_slice rest = floe_slice(r->slices[i].p, r->slices[i].n), bytes;
        struct floe_batch b;
        while (floe_batch_next(&rest, &b, &bytes, NULL) == FLOE_OK) {
            int64_t next = floe_batch_last_offset(&b) + 1;
            if (next <= ld->at || b.base_offset >= ld->end)
                continue;
            if (!(b.attributes & FLOE_BATCH_CONTROL))
                replay_batch(s, bytes);
            ld->at = next;
            s->journal_bytes += b.length;
        }
    }
}

/* ---- load --------------------------------------------------------------------------------------------- */

static void load_free(struct group_shard *s)
{
    struct group_load *ld = s->load;
    s->load = NULL;
    floe_timer_stop(&ld->next);
    floe_log_read_fini(&ld->read);
    floe_table_req_fini(&ld->record);
    free(ld);
}

void load_stop(struct group_shard *s)
{
    struct group_load *ld = s->load;
    if (!ld)
        return;
    if (ld->asking)
        floe_table_cancel(s->g->cfg.table, &ld->record);
    if (ld->reading && !s->g->closing)
        floe_log_read_cancel(s->g->cfg.log, &ld->read);
    load_free(s);
}

static void again(struct group_shard *s)
{
    uint64_t wait = (uint64_t)GROUP_RETRY_US << FLOE_MIN(s->load_fails++, 8u);
    load_free(s);
    floe_timer_start(s->g->cfg.loop, &s->retry, FLOE_MIN(wait, (uint64_t)GROUP_LOAD_RETRY_MAX_US));
}

static void loaded(struct group_shard *s)
{
    load_free(s);
    s->state = SHARD_ACTIVE;
    s->load_fails = 0;
    s->loaded_us = group_now_us(s->g);
    s->g->stats.loads++;
    FLOE_LIST_EACH_SAFE(it, &s->order)
    {
        struct group *g = FLOE_LIST_ENTRY(it, struct group, link);
        if (g->kind == GROUP_CLASSIC)
            classic_loaded(g);
        else if (g->kind == GROUP_CONSUMER)
            consumer_loaded(g);
        else
            group_drop_if_nothing(g);
    }
    floe_log(s->group_count > 0 ? FLOE_LOG_INFO : FLOE_LOG_DEBUG, "group",
             "%s-%d: %u groups loaded, epoch %d", FLOE_OFFSETS_TOPIC, (int)s->tp.index, s->group_count,
             (int)s->epoch);
    snapshot_consider(s);
}

static void took(struct group_shard *s)
{
    struct group_load *ld = s->load;
    struct floe_log_read *r = &ld->read;
    int64_t before = ld->at;
    if (r->err.code == FLOE_ENOTHOLDER)
        return; /* the drop follows */
    if (r->err.code != FLOE_OK) {
        floe_log_warn("group", "%s-%d: its journal cannot be read at offset %lld, tried again: %s",
                      FLOE_OFFSETS_TOPIC, (int)s->tp.index, (long long)ld->at, r->err.msg);
        again(s);
        return;
    }
    ld->at = FLOE_MAX(ld->at, r->log_start);
    replay(s, r);
    floe_log_read_fini(r);
    if (ld->at >= ld->end)
        loaded(s);
    else
        floe_timer_start(s->g->cfg.loop, &ld->next, ld->at > before ? 0 : GROUP_RETRY_US);
}

static void on_read(struct floe_log_read *r)
{
    struct group_shard *s = r->user;
    s->load->reading = false;
    took(s);
}

static void on_next(struct floe_timer *t)
{
    struct group_shard *s = t->user;
    struct group_load *ld = s->load;
    ld->read = (struct floe_log_read){
        .tp = s->tp, .offset = ld->at, .max_bytes = READ_BYTES, .min_one = true, .done = on_read, .user = s};
    if (floe_log_read(s->g->cfg.log, &ld->read))
        took(s);
    else
        ld->reading = true;
}

static void on_record(struct floe_table_req *q)
{
    struct group_shard *s = q->user;
    struct group_load *ld = s->load;
    struct floe_partition *p;
    ld->asking = false;
    int64_t from = 0;
    if (q->err.code == FLOE_OK) {
        json_t *j = json_loadb(q->got, q->got_n, 0, NULL);
        from = json_integer_value(json_object_get(j, "from"));
        json_decref(j);
    } else if (q->err.code == FLOE_ECORRUPT) {
        floe_log_error("group", "%s; the whole journal is read", q->err.msg);
    } else if (q->err.code != FLOE_ENOTFOUND) {
        again(s);
        return;
    }
    enum floe_partition_state st = floe_log_find(s->g->cfg.log, &s->tp, &p);
    if (st == FLOE_PARTITION_HANDING) { /* it leaves, or stays after all: soon */
        s->load_fails = 0;
        again(s);
        return;
    }
    if (st != FLOE_PARTITION_SERVING)
        return; /* the drop follows */
    ld->end = floe_partition_high_watermark(p);
    if (from < 0 || from > ld->end)
        from = 0;
    ld->at = FLOE_MAX(from, floe_partition_log_start(p));
    if (ld->at >= ld->end)
        loaded(s);
    else
        floe_timer_start(s->g->cfg.loop, &ld->next, 0);
}

void load_start(struct group_shard *s)
{
    struct group_load *ld = calloc(1, sizeof *ld);
    if (!ld) {
        floe_timer_start(s->g->cfg.loop, &s->retry, GROUP_RETRY_US);
        return;
    }
    s->load = ld;
    s->journal_bytes = 0;
    floe_timer_init(&ld->next, on_next, s);
    ld->record = (struct floe_table_req){.kind = FLOE_TABLE_GET, .done = on_record, .user = s};
    record_key(s, ld->record.key);
    ld->asking = true;
    floe_table_submit(s->g->cfg.table, &ld->record);
}

/* ---- snapshots ---------------------------------------------------------------------------------------- */

static void snapshot_step(struct group_shard *s);

static void on_recorded(struct floe_table_req *q)
{
    struct group_shard *s = q->user;
    bool ok = q->err.code == FLOE_OK;
    floe_table_req_fini(q);
    s->recording = s->snapshotting = false;
    if (!ok) /* another's write came between, or it is not known: the next snapshot names its own start */
        return;
    s->g->stats.snapshots++;
    snapshot_consider(s);
}

static void put_record(struct group_shard *s, const char *version)
{
    int n = snprintf(s->record_value, sizeof s->record_value, "{\"from\":%lld,\"epoch\":%d}",
                     (long long)s->snapshot_from, (int)s->epoch);
    s->record = (struct floe_table_req){.kind = FLOE_TABLE_PUT,
                                        .value = s->record_value,
                                        .value_n = (size_t)n,
                                        .done = on_recorded,
                                        .user = s};
    record_key(s, s->record.key);
    snprintf(s->record.if_version, sizeof s->record.if_version, "%s", version);
    floe_table_submit(s->g->cfg.table, &s->record);
}

static void on_version(struct floe_table_req *q)
{
    struct group_shard *s = q->user;
    char version[FLOE_TABLE_VERSION_MAX] = "";
    enum floe_err rc = q->err.code;
    if (rc == FLOE_OK)
        snprintf(version, sizeof version, "%s", q->version);
    floe_table_req_fini(q);
    if (rc == FLOE_OK || rc == FLOE_ENOTFOUND) {
        put_record(s, version);
        return;
    }
    s->recording = s->snapshotting = false;
}

static void snapshot_done(struct group_shard *s)
{
    s->snapshot_bytes = s->journal_bytes - s->snapshot_start;
    s->journal_bytes = s->snapshot_bytes;
    if (s->snapshot_spoiled) {
        floe_log_error("group", "%s-%d: a group is too large for a snapshot: its journal is not shortened",
                       FLOE_OFFSETS_TOPIC, (int)s->tp.index);
        s->snapshotting = false;
        return;
    }
    s->recording = true;
    s->record = (struct floe_table_req){.kind = FLOE_TABLE_GET, .done = on_version, .user = s};
    record_key(s, s->record.key);
    floe_table_submit(s->g->cfg.table, &s->record);
}

static void on_chunk(struct group_wait *w, bool committed)
{
    struct group_shard *s = FLOE_CONTAINER(w, struct group_shard, snapshot_wait);
    if (committed && s->state == SHARD_ACTIVE)
        snapshot_step(s);
}

static void snapshot_step(struct group_shard *s)
{
    if (s->snapshot_last) {
        snapshot_done(s);
        return;
    }
    uint64_t stop = s->journal_bytes + s->open.records.n + GROUP_SNAPSHOT_CHUNK;
    while (!floe_list_empty(&s->order) && s->journal_bytes + s->open.records.n < stop) {
        struct group *g = FLOE_LIST_ENTRY(s->order.next, struct group, link);
        if (g->snapshot == s->snapshot)
            break;
        s->op_refused = false;
        records_snapshot(g);
        s->snapshot_spoiled |= s->op_refused;
        g->snapshot = s->snapshot;
        floe_list_remove(&g->link);
        floe_list_push_back(&s->order, &g->link);
    }
    s->snapshot_last = floe_list_empty(&s->order) ||
                       FLOE_LIST_ENTRY(s->order.next, struct group, link)->snapshot == s->snapshot;
    journal_flush(s);
    journal_wait(s, &s->snapshot_wait);
}

void snapshot_consider(struct group_shard *s)
{
    struct floe_partition *p;
    if (s->snapshotting || s->state != SHARD_ACTIVE ||
        s->journal_bytes <= FLOE_MAX((uint64_t)GROUP_SNAPSHOT_MIN, 3 * s->snapshot_bytes) ||
        floe_log_find(s->g->cfg.log, &s->tp, &p) != FLOE_PARTITION_SERVING)
        return;
    s->snapshotting = true;
    s->snapshot_last = s->snapshot_spoiled = false;
    s->snapshot++;
    /* What is under way was appended below; what is gathered or put off comes behind, and says nothing older.
     */
    s->snapshot_from = floe_partition_next_offset(p);
    s->snapshot_start = s->journal_bytes;
    s->snapshot_wait.fn = on_chunk;
    snapshot_step(s);
}

void snapshot_stop(struct group_shard *s)
{
    floe_list_remove(&s->snapshot_wait.link);
    if (s->recording) {
        floe_table_cancel(s->g->cfg.table, &s->record);
        floe_table_req_fini(&s->record);
    }
    s->snapshotting = s->recording = false;
}
