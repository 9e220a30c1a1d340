/* The tier's use of RocksDB: see db.h. This file and its neighbours alone include rocksdb/c.h.
 *
 * Files stay on level 0: entries are written once, in about rising order, and forgotten from the front, so
 * that compaction would only copy what is about to go. What was dropped before its memtable is flushed is
 * never written to a file (the flush leaves out what a range tombstone covers); older files are deleted whole
 * once everything in them is below the head. RocksDB deletes single files of level 0 only oldest first, which
 * is the order in which ours die.
 */
#include "tier/rocksdb/db.h"

#include <floe/base/assert.h>
#include <floe/base/str.h>

#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY_N 9 /* 'e', then the sequence number big-endian */
#define HEAD_KEY "d"
#define BATCH_KEEP (2u << 20) /* a write batch that grew past this is not kept for reuse */
#define HEADERS_ONLY 5        /* of RocksDB's log levels */
#define DROPS_MAX 4096        /* ranges gathered in one group */
#define RECLAIM_FILES_MAX 64  /* files deleted in one go */

struct drop_range {
    uint64_t from, to;
};
struct floe_tier_db {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_block_based_table_options_t *table;
    rocksdb_cache_t *cache;
    rocksdb_writeoptions_t *with_wal, *without_wal;
    rocksdb_readoptions_t *reads, *gets;
    rocksdb_writebatch_t *durable, *volatile_;
    size_t durable_n, volatile_n; /* bytes in the open group */
    struct drop_range *drops;     /* of the open group */
    size_t drop_n, drop_cap;
    bool dropped; /* the open group has a drop, or a head to note */
    uint64_t head;
    size_t memtable_bytes;
    uint64_t since_reclaim; /* bytes written and dropped since files were last looked at */
};

static void make_key(char key[KEY_N], uint64_t seq)
{
    key[0] = 'e';
    floe_put_be64(key + 1, seq);
}

/* RocksDB's status text to an error kind. Frees the text. */
static enum floe_err status(struct floe_error *err, char *text, const char *what)
{
    enum floe_err code = FLOE_EIO;
    if (strstr(text, "No space left") || strstr(text, "File too large") || strstr(text, "quota exceeded"))
        code = FLOE_ENOSPACE;
    else if (strstr(text, "Resource temporarily unavailable") || strstr(text, "lock hold by current process"))
        code = FLOE_EAGAIN;
    else if (strstr(text, "Permission denied") || strstr(text, "Operation not permitted"))
        code = FLOE_EDENIED;
    else if (strncmp(text, "IO error", 8) != 0 || strstr(text, "No such file or directory"))
        code = FLOE_ECORRUPT; /* Corruption, Invalid argument, Not implemented, a file that is gone */
    floe_error_set(err, code, "tier: %s: %.200s", what, text);
    rocksdb_free(text);
    return code;
}

/* RocksDB's own log gets nothing but the options at an open, which stay in its buffer. Debian's build keeps
 * assertions, and one of them ends the process when a line follows one that the disk refused. Errors come
 * back as texts in any case. */
static void no_log(rocksdb_options_t *o)
{
    rocksdb_options_set_info_log_level(o, HEADERS_ONLY);
    rocksdb_options_set_keep_log_file_num(o, 1);
}

static rocksdb_options_t *make_options(struct floe_tier_db *d, size_t memory_bytes, struct floe_error *err)
{
    size_t cache = memory_bytes / 8;
    d->memtable_bytes = FLOE_MAX((memory_bytes - cache) / 4, (size_t)1 << 20);
    d->cache = rocksdb_cache_create_lru(cache);
    d->table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(d->table, d->cache);
    rocksdb_block_based_options_set_block_size(d->table, 32 << 10);
    rocksdb_block_based_options_set_format_version(d->table, 5);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(d->table, 1);

    rocksdb_options_t *base = rocksdb_options_create(), *o = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(base, 1);
    rocksdb_options_set_paranoid_checks(base, 1);
    rocksdb_options_set_block_based_table_factory(base, d->table);
    rocksdb_options_set_compression(base, rocksdb_no_compression);
    rocksdb_options_set_disable_auto_compactions(base, 1);
    rocksdb_options_set_level0_slowdown_writes_trigger(base, 1 << 30);
    rocksdb_options_set_level0_stop_writes_trigger(base, 1 << 30);
    rocksdb_options_set_write_buffer_size(base, d->memtable_bytes);
    /* Two memtables are flushed together: what was dropped while they filled up is not written. Meanwhile two
     * others take what comes. */
    rocksdb_options_set_min_write_buffer_number_to_merge(base, 2);
    rocksdb_options_set_max_write_buffer_number(base, 4);
    rocksdb_options_set_arena_block_size(base, 64 << 10); /* an idle tier takes little memory */
    rocksdb_options_set_allow_concurrent_memtable_write(base, 0);
    rocksdb_options_set_enable_write_thread_adaptive_yield(base, 0);
    rocksdb_options_set_max_open_files(base, 64);
    rocksdb_options_set_max_file_opening_threads(base, 1);
    rocksdb_options_set_table_cache_numshardbits(base, 2);
    rocksdb_options_set_max_background_jobs(base, 1);
    rocksdb_options_set_wal_bytes_per_sync(base, 1 << 20);
    rocksdb_options_set_bytes_per_sync(base, 1 << 20);
    rocksdb_options_set_wal_recovery_mode(base, rocksdb_tolerate_corrupted_tail_records_recovery);
    rocksdb_options_set_avoid_unnecessary_blocking_io(base, 1);
    rocksdb_options_set_skip_stats_update_on_db_open(base, 1);
    rocksdb_options_set_stats_dump_period_sec(base, 0);
    rocksdb_options_set_stats_persist_period_sec(base, 0);
    rocksdb_options_set_max_manifest_file_size(base, 4 << 20);
    no_log(base);
    /* What the C API has no setter for: a close keeps the write-ahead log as it is (what was not in it is
     * worth nothing after a close); an open does not rewrite what it recovered; with three memtables full
     * writes go on at full speed, not at 16 MB/s (the fourth stops them); an idle tier takes no megabytes of
     * disk ahead. */
    static const char more[] = "avoid_flush_during_shutdown=true;avoid_flush_during_recovery=true;"
                               "delayed_write_rate=8589934592;allow_fallocate=false";
    char *text = NULL;
    rocksdb_get_options_from_string(base, more, o, &text);
    rocksdb_options_destroy(base);
    if (!text)
        return o;
    (void)status(err, text, "options");
    rocksdb_options_destroy(o);
    return NULL;
}

enum floe_err floe_tier_db_open(struct floe_tier_db **out, const char *path, size_t memory_bytes,
                                struct floe_error *err)
{
    struct floe_tier_db *d = calloc(1, sizeof *d);
    if (!d)
        return floe_error_set(err, FLOE_ENOMEM, "tier: no memory");
    char *text = NULL;
    enum floe_err e = FLOE_EIO;
    d->options = make_options(d, memory_bytes, err);
    if (!d->options)
        goto out;
    d->with_wal = rocksdb_writeoptions_create();
    d->without_wal = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(d->without_wal, 1);
    d->reads = rocksdb_readoptions_create();
    /* The ledger knows what was dropped: a get need not ask the tombstones. */
    d->gets = rocksdb_readoptions_create();
    rocksdb_readoptions_set_ignore_range_deletions(d->gets, 1);
    d->durable = rocksdb_writebatch_create();
    d->volatile_ = rocksdb_writebatch_create();
    d->db = rocksdb_open(d->options, path, &text);
    e = text ? status(err, text, "cannot open") : FLOE_OK;
out:
    if (e)
        floe_tier_db_close(&d);
    else
        *out = d;
    return e;
}

void floe_tier_db_close(struct floe_tier_db **db)
{
    struct floe_tier_db *d = *db;
    if (!d)
        return;
    *db = NULL;
    if (d->db)
        rocksdb_close(d->db);
    if (d->durable) {
        rocksdb_writebatch_destroy(d->durable);
        rocksdb_writebatch_destroy(d->volatile_);
        rocksdb_readoptions_destroy(d->reads);
        rocksdb_readoptions_destroy(d->gets);
        rocksdb_writeoptions_destroy(d->with_wal);
        rocksdb_writeoptions_destroy(d->without_wal);
        rocksdb_options_destroy(d->options);
    }
    rocksdb_block_based_options_destroy(d->table);
    rocksdb_cache_destroy(d->cache);
    free(d->drops);
    free(d);
}

void floe_tier_db_erase(const char *path)
{
    rocksdb_options_t *o = rocksdb_options_create();
    char *text = NULL;
    no_log(o);
    rocksdb_destroy_db(o, path, &text);
    if (text)
        rocksdb_free(text); /* the open that follows says what is wrong */
    rocksdb_options_destroy(o);
}

/* The head noted by the last drop that reached the disk; 0 when there is none. */
static enum floe_err noted_head(struct floe_tier_db *d, uint64_t *head, struct floe_error *err)
{
    char *text = NULL;
    size_t n = 0;
    char *v = rocksdb_get(d->db, d->reads, HEAD_KEY, 1, &n, &text);
    if (text)
        return status(err, text, "cannot read the head");
    enum floe_err e = FLOE_OK;
    if (v && n != 8)
        e = floe_error_set(err, FLOE_ECORRUPT, "tier: the head has %zu bytes, not 8", n);
    else
        *head = v ? floe_be64(v) : 0;
    rocksdb_free(v);
    return e;
}

static uint64_t stored_bytes(struct floe_tier_db *d)
{
    uint64_t bytes = 0, mem = 0;
    const rocksdb_livefiles_t *files = rocksdb_livefiles(d->db);
    for (int i = 0; i < rocksdb_livefiles_count(files); i++)
        bytes += rocksdb_livefiles_size(files, i);
    rocksdb_livefiles_destroy(files);
    if (rocksdb_property_int(d->db, "rocksdb.cur-size-all-mem-tables", &mem) == 0)
        bytes += mem;
    return bytes;
}

/* Sequence number under the iterator. False when it stands on no entry. */
static bool entry_seq(const rocksdb_iterator_t *it, uint64_t *seq)
{
    size_t n = 0;
    const char *k = rocksdb_iter_valid(it) ? rocksdb_iter_key(it, &n) : NULL;
    if (!k || n != KEY_N || k[0] != 'e')
        return false;
    *seq = floe_be64(k + 1);
    return true;
}

enum floe_err floe_tier_db_find(struct floe_tier_db *d, struct floe_tier_db_found *out,
                                struct floe_error *err)
{
    uint64_t head = 0, first = 0, last = 0;
    enum floe_err e = noted_head(d, &head, err);
    if (e)
        return e;
    char key[KEY_N], *text = NULL;
    make_key(key, head);
    rocksdb_iterator_t *it = rocksdb_create_iterator(d->db, d->reads);
    rocksdb_iter_seek(it, key, KEY_N); /* never to the first: dropped entries lie there */
    bool any = entry_seq(it, &first);
    if (any) {
        rocksdb_iter_seek_to_last(it);
        any = entry_seq(it, &last);
    }
    rocksdb_iter_get_error(it, &text);
    rocksdb_iter_destroy(it);
    if (text)
        return status(err, text, "cannot read");
    if (any && (last < first || last == UINT64_MAX))
        return floe_error_set(err, FLOE_ECORRUPT, "tier: entries out of order");
    d->head = any ? first : head;
    *out = any ? (struct floe_tier_db_found){first, last + 1, stored_bytes(d)}
               : (struct floe_tier_db_found){head, head, 0};
    return FLOE_OK;
}

void floe_tier_db_put(struct floe_tier_db *d, uint64_t seq, struct floe_slice head, struct floe_slice body,
                      bool durable)
{
    FLOE_ASSERT(head.n <= FLOE_TIER_ENTRY_MAX && body.n <= FLOE_TIER_ENTRY_MAX);
    char key[KEY_N];
    uint8_t head_n[4];
    make_key(key, seq);
    floe_put_le32(head_n, (uint32_t)head.n);
    const char *keys[1] = {key};
    const size_t key_sizes[1] = {KEY_N};
    /* Gathered by RocksDB into its batch: no copy of ours. */
    const char *parts[3] = {(const char *)head_n, (const char *)head.p, (const char *)body.p};
    const size_t sizes[3] = {sizeof head_n, head.n, body.n};
    rocksdb_writebatch_putv(durable ? d->durable : d->volatile_, 1, keys, key_sizes, 3, parts, sizes);
    *(durable ? &d->durable_n : &d->volatile_n) += KEY_N + sizeof head_n + head.n + body.n;
}

static int by_from(const void *a, const void *b)
{
    const struct drop_range *x = a, *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

/* A segment's entries lie by partition, so its drops come one by one and out of order: sorted, they are few
 * ranges. */
static void emit_drops(struct floe_tier_db *d)
{
    if (d->drop_n > 1)
        qsort(d->drops, d->drop_n, sizeof *d->drops, by_from);
    for (size_t i = 0; i < d->drop_n;) {
        struct drop_range r = d->drops[i++];
        for (; i < d->drop_n && d->drops[i].from <= r.to; i++)
            r.to = FLOE_MAX(r.to, d->drops[i].to);
        char a[KEY_N], b[KEY_N];
        make_key(a, r.from);
        make_key(b, r.to);
        rocksdb_writebatch_delete_range(d->durable, a, KEY_N, b, KEY_N);
        d->durable_n += 2 * KEY_N;
    }
    d->drop_n = 0;
}

void floe_tier_db_drop(struct floe_tier_db *d, uint64_t from, uint64_t to, uint64_t head, uint64_t freed)
{
    d->dropped = true;
    d->since_reclaim = freed > UINT64_MAX - d->since_reclaim ? UINT64_MAX : d->since_reclaim + freed;
    d->head = FLOE_MAX(d->head, head);
    if (from >= to)
        return;
    if (d->drop_n > 0 && d->drops[d->drop_n - 1].to == from) {
        d->drops[d->drop_n - 1].to = to;
        return;
    }
    if (d->drop_n == d->drop_cap && d->drop_cap < DROPS_MAX) {
        size_t cap = d->drop_cap ? d->drop_cap * 2 : 16;
        struct drop_range *all = realloc(d->drops, cap * sizeof *all);
        FLOE_ASSERT(all); /* 64 KiB at most: a process that cannot have them cannot go on */
        d->drops = all;
        d->drop_cap = cap;
    }
    if (d->drop_n == d->drop_cap)
        emit_drops(d);
    d->drops[d->drop_n++] = (struct drop_range){from, to};
}

static void finish_drops(struct floe_tier_db *d)
{
    uint8_t v[8];
    if (!d->dropped)
        return;
    emit_drops(d);
    floe_put_be64(v, d->head);
    rocksdb_writebatch_put(d->durable, HEAD_KEY, 1, (const char *)v, sizeof v);
    d->durable_n += sizeof v + 1;
}

size_t floe_tier_db_group_bytes(const struct floe_tier_db *d)
{
    return d->durable_n + d->volatile_n + d->dropped;
}

static void write_one(struct floe_tier_db *d, rocksdb_writebatch_t **batch, size_t *n,
                      const rocksdb_writeoptions_t *how, struct floe_error *err)
{
    err->code = FLOE_OK;
    err->msg[0] = 0;
    if (*n == 0)
        return;
    char *text = NULL;
    rocksdb_write(d->db, how, *batch, &text);
    if (text)
        (void)status(err, text, "cannot write");
    if (d->since_reclaim < UINT64_MAX - *n)
        d->since_reclaim += *n;
    if (*n > BATCH_KEEP) {
        rocksdb_writebatch_destroy(*batch);
        *batch = rocksdb_writebatch_create();
    } else {
        rocksdb_writebatch_clear(*batch);
    }
    *n = 0;
}

/* The oldest file of level 0, if all its keys are below the head. */
static bool oldest_dead(struct floe_tier_db *d, char name[64])
{
    const rocksdb_livefiles_t *files = rocksdb_livefiles(d->db);
    int count = rocksdb_livefiles_count(files), oldest = -1;
    uint64_t lowest = UINT64_MAX;
    for (int i = 0; i < count; i++) {
        char digits[24] = ""; /* names read /000123.sst */
        uint64_t number;
        const char *file = rocksdb_livefiles_name(files, i);
        file += *file == '/';
        (void)snprintf(digits, sizeof digits, "%.*s", (int)strspn(file, "0123456789"), file);
        if (floe_str_parse_u64(digits, &number, NULL) == FLOE_OK && number < lowest) {
            lowest = number;
            oldest = i;
        }
    }
    bool dead = false;
    if (oldest >= 0) {
        char key[KEY_N];
        size_t n = 0;
        const char *largest = rocksdb_livefiles_largestkey(files, oldest, &n);
        make_key(key, d->head);
        dead = n < KEY_N || (n == KEY_N && memcmp(largest, key, KEY_N) < 0);
        snprintf(name, 64, "%s", rocksdb_livefiles_name(files, oldest));
    }
    rocksdb_livefiles_destroy(files);
    return dead;
}

static void reclaim(struct floe_tier_db *d)
{
    char name[64], last[64] = "";
    d->since_reclaim = 0;
    for (int i = 0; i < RECLAIM_FILES_MAX && oldest_dead(d, name); i++) {
        if (strcmp(name, last) == 0)
            return; /* RocksDB refused: a flush is under way; the next time will do */
        memcpy(last, name, sizeof last);
        rocksdb_delete_file(d->db, name + 1);
    }
}

void floe_tier_db_write(struct floe_tier_db *d, struct floe_tier_db_written *out)
{
    finish_drops(d);
    write_one(d, &d->volatile_, &d->volatile_n, d->without_wal, &out->volatile_err);
    write_one(d, &d->durable, &d->durable_n, d->with_wal, &out->durable_err);
    if (d->dropped && !out->durable_err.code && d->since_reclaim >= d->memtable_bytes)
        reclaim(d);
    d->dropped = false;
}

/* Splits a stored value. */
static bool split(const char *v, size_t n, struct floe_slice *head, struct floe_slice *body)
{
    uint32_t head_n = n >= 4 ? floe_le32(v) : 0;
    if (n < 4 || head_n > n - 4)
        return false;
    *head = floe_slice(v + 4, head_n);
    *body = floe_slice(v + 4 + head_n, n - 4 - head_n);
    return true;
}

enum floe_err floe_tier_db_get(struct floe_tier_db *d, uint64_t seq, struct floe_budget *budget,
                               struct floe_buf **data, uint32_t *head_n, struct floe_error *err)
{
    char key[KEY_N], *text = NULL;
    make_key(key, seq);
    rocksdb_pinnableslice_t *pin = rocksdb_get_pinned(d->db, d->gets, key, KEY_N, &text);
    if (text)
        return status(err, text, "cannot read");
    if (!pin)
        return floe_error_set(err, FLOE_ENOTFOUND, "tier: entry %llu is not there", (unsigned long long)seq);
    size_t n = 0;
    const char *v = rocksdb_pinnableslice_value(pin, &n);
    struct floe_slice head, body;
    enum floe_err e = FLOE_OK;
    struct floe_buf *buf = NULL;
    if (!split(v, n, &head, &body))
        e = floe_error_set(err, FLOE_ECORRUPT, "tier: entry %llu is malformed", (unsigned long long)seq);
    else if (!(buf = floe_buf_create_forced(head.n + body.n, budget)))
        e = floe_error_set(err, FLOE_ENOMEM, "tier: no memory for entry %llu", (unsigned long long)seq);
    if (!e) {
        memcpy(buf->data, head.p, head.n + body.n);
        buf->n = head.n + body.n;
        *data = buf;
        *head_n = (uint32_t)head.n;
    }
    rocksdb_pinnableslice_destroy(pin);
    return e;
}

enum floe_err floe_tier_db_scan(struct floe_tier_db *d, uint64_t from, uint64_t to,
                                bool (*take)(void *user, uint64_t seq, struct floe_slice head,
                                             struct floe_slice body),
                                void *user, struct floe_error *err)
{
    char a[KEY_N], b[KEY_N], *text = NULL;
    from = FLOE_MAX(from, d->head);
    if (from >= to)
        return FLOE_OK;
    make_key(a, from);
    make_key(b, to);
    rocksdb_readoptions_t *how = rocksdb_readoptions_create();
    rocksdb_readoptions_set_iterate_upper_bound(how, b, KEY_N);
    rocksdb_readoptions_set_fill_cache(how, 0);
    rocksdb_iterator_t *it = rocksdb_create_iterator(d->db, how);
    enum floe_err e = FLOE_OK;
    uint64_t seq;
    bool more = true;
    for (rocksdb_iter_seek(it, a, KEY_N); more && !e && entry_seq(it, &seq);) {
        size_t n = 0;
        const char *v = rocksdb_iter_value(it, &n);
        struct floe_slice head, body;
        if (!split(v, n, &head, &body)) {
            e = floe_error_set(err, FLOE_ECORRUPT, "tier: entry %llu is malformed", (unsigned long long)seq);
        } else {
            more = take(user, seq, head, body);
            if (more)
                rocksdb_iter_next(it);
        }
    }
    if (!e && more) {
        rocksdb_iter_get_error(it, &text);
        if (text)
            e = status(err, text, "cannot read");
    }
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(how);
    return e;
}
