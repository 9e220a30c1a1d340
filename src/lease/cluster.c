/* Start-up of a cluster on a bucket: whose bucket is it, whose table, and does the store keep its promise?
 *
 * One round trip in the usual case: the bucket's object `cluster`, the table's record `cluster` and the kept
 * verdict are read together; the store is then probed in the background. The first start of all probes before
 * it writes anything, then creates the object (create-only) and the record (expect absent), in that order. */
#include "records.h"

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>

#include <stdio.h>
#include <stdlib.h>

#define OBJECT_KEY "cluster"
#define START_TIMEOUT_US (15u * 1000 * 1000) /* a store that is not reached by then is refused */
#define TRY_US (3u * 1000 * 1000)            /* one request to the store; an answer may be lost */
#define OBJECT_MAX 4096
#define PROBE_SCRATCH_MAX (4u << 20)

struct open {
    struct floe_store *store;
    struct floe_table *table;
    void (*done)(void *user, const struct floe_error *err, const struct floe_cluster_info *info);
    void *user;
    int32_t newest; /* format that this broker reads */
    uint64_t deadline_us;
    uint32_t waiting; /* answers of the first reads that are still to come */
    struct floe_error err;
    struct floe_uuid own; /* the data directory's; zero: none */
    struct lease_cluster_record object, record;
    bool has_object, has_record, has_chain, rechecked, trusted, background, made;
    char verdict_version[FLOE_TABLE_VERSION_MAX]; /* of the kept verdict; empty: there is none */
    char *text;
    struct floe_bufslice body;
    struct floe_store_req object_req, list_req;
    struct floe_table_req record_req, verdict_req;
    struct floe_arena scratch;
};

static void advance(struct open *o);

static void finish(struct open *o)
{
    struct floe_cluster_info info = {.id = o->record.id, .shards = o->record.shards, .made = o->made};
    struct floe_error err = o->err;
    void (*done)(void *, const struct floe_error *, const struct floe_cluster_info *) = o->done;
    void *user = o->user;
    if (done != NULL && o->background && err.code == FLOE_OK) {
        o->done = NULL; /* the probe in the background goes on and frees */
    } else {
        floe_arena_fini(&o->scratch);
        free(o->text);
        free(o);
    }
    if (done != NULL)
        done(user, &err, err.code == FLOE_OK ? &info : NULL);
}

static void fail(struct open *o, const struct floe_error *err, const char *what)
{
    if (o->err.code != FLOE_OK)
        return;
    o->err = *err;
    if (strstr(err->msg, o->store->url) == NULL)
        floe_error_prefix(&o->err, "%s %s", what, o->store->url);
    else if (strcmp(what, "store") != 0) /* else it says so itself: "the store URL let …" */
        floe_error_prefix(&o->err, "%s", what);
}

/* ---- verdict --------------------------------------------------------------------------------------- */

static void verdict_key(const struct open *o, char out[FLOE_TABLE_KEY_MAX])
{
    char what[512];
    int n = snprintf(what, sizeof what, "%s|%s|%s|%s", o->store->url, o->store->ops->name,
                     o->table->ops->name, FLOE_VERSION);
    FLOE_ASSERT(n > 0 && (size_t)n < sizeof what);
    snprintf(out, FLOE_TABLE_KEY_MAX, "verdict/%016llx", (unsigned long long)floe_hash64(what, (size_t)n, 0));
}

static void on_verdict_put(struct floe_table_req *r)
{
    struct open *o = r->user;
    floe_table_req_fini(r); /* a verdict that was not kept is found again at the next start */
    free(o->text);
    o->text = NULL;
    if (o->done == NULL)
        finish(o); /* the background's end */
    else
        advance(o);
}

static void keep_verdict(struct open *o, const struct floe_error *err)
{
    struct lease_verdict_record v = {.ok = err->code == FLOE_OK};
    snprintf(v.url, sizeof v.url, "%s", o->store->url);
    snprintf(v.why, sizeof v.why, "%s", err->msg);
    o->text = lease_verdict_encode(&v);
    if (o->text == NULL) {
        if (o->done == NULL)
            finish(o);
        else
            advance(o);
        return;
    }
    o->verdict_req = (struct floe_table_req){.kind = FLOE_TABLE_PUT,
                                             .value = o->text,
                                             .value_n = strlen(o->text),
                                             .timeout_us = START_TIMEOUT_US,
                                             .done = on_verdict_put,
                                             .user = o};
    verdict_key(o, o->verdict_req.key);
    snprintf(o->verdict_req.if_version, sizeof o->verdict_req.if_version, "%s", o->verdict_version);
    floe_table_submit(o->table, &o->verdict_req);
}

static void on_probe(void *user, const struct floe_error *result)
{
    struct open *o = user;
    const struct floe_error copy = *result, *err = &copy; /* `result` lies in the scratch memory */
    floe_arena_fini(&o->scratch);
    floe_arena_init(&o->scratch, PROBE_SCRATCH_MAX);
    if (o->background) {
        /* A good verdict is kept already. A bad one is told to the next start, which probes again before it
         * believes it. */
        o->background = false;
        if (err->code == FLOE_EUNSUPPORTED)
            keep_verdict(o, err);
        else
            finish(o);
        return;
    }
    if (err->code != FLOE_OK) {
        fail(o, err, "store");
        finish(o);
        return;
    }
    o->trusted = true;
    keep_verdict(o, err);
}

/* A read of the store that had no answer is tried again while there is time. */
static bool again(const struct open *o, enum floe_err code)
{
    return (code == FLOE_ETIMEOUT || code == FLOE_ECORRUPT) &&
           floe_loop_now_us(o->store->loop) + TRY_US < o->deadline_us;
}

/* ---- cluster object and record ---------------------------------------------------------------------- */

static void on_object(struct floe_store_req *r)
{
    struct open *o = r->user;
    if (again(o, r->err.code)) {
        floe_store_req_fini(r);
        floe_store_submit(o->store, r);
        return;
    }
    if (r->err.code == FLOE_OK) {
        struct floe_error err = {0};
        o->has_object = lease_cluster_decode(OBJECT_KEY, (const char *)r->data->data, r->data->n, o->newest,
                                             &o->object, &err) == FLOE_OK;
        if (!o->has_object)
            fail(o, &err, "store");
    } else if (r->err.code != FLOE_ENOTFOUND) {
        fail(o, &r->err, "cannot read the store");
    }
    floe_store_req_fini(r);
    o->waiting--;
    advance(o);
}

static void get_object(struct open *o)
{
    o->object_req = (struct floe_store_req){.kind = FLOE_STORE_GET,
                                            .cls = FLOE_STORE_CONTROL,
                                            .key = OBJECT_KEY,
                                            .length = OBJECT_MAX,
                                            .attempts = 8,
                                            .timeout_us = TRY_US,
                                            .done = on_object,
                                            .user = o};
    o->waiting++;
    floe_store_submit(o->store, &o->object_req);
}

static void on_record(struct floe_table_req *r)
{
    struct open *o = r->user;
    if (r->err.code == FLOE_OK) {
        struct floe_error err = {0};
        o->has_record =
            lease_cluster_decode(OBJECT_KEY, r->got, r->got_n, o->newest, &o->record, &err) == FLOE_OK;
        if (o->has_record && o->record.shards == 0) {
            o->has_record = false;
            floe_error_set(&err, FLOE_ECORRUPT, "table record \"cluster\": \"shards\" is missing");
        }
        if (!o->has_record)
            fail(o, &err, "table");
    } else if (r->err.code != FLOE_ENOTFOUND) {
        fail(o, &r->err, "cannot read the table");
    }
    floe_table_req_fini(r);
    o->waiting--;
    advance(o);
}

static void get_record(struct open *o)
{
    o->record_req = (struct floe_table_req){.kind = FLOE_TABLE_GET,
                                            .key = "cluster",
                                            .timeout_us = START_TIMEOUT_US,
                                            .done = on_record,
                                            .user = o};
    o->waiting++;
    floe_table_submit(o->table, &o->record_req);
}

static void on_verdict(struct floe_table_req *r)
{
    struct open *o = r->user;
    struct lease_verdict_record v;
    struct floe_error ignored;
    if (r->err.code == FLOE_OK) {
        snprintf(o->verdict_version, sizeof o->verdict_version, "%s", r->version);
        o->trusted = lease_verdict_decode(r->key, r->got, r->got_n, &v, &ignored) == FLOE_OK && v.ok;
    } else if (r->err.code != FLOE_ENOTFOUND) {
        fail(o, &r->err, "cannot read the table");
    }
    floe_table_req_fini(r);
    o->waiting--;
    advance(o);
}

static void on_chain(struct floe_store_req *r)
{
    struct open *o = r->user;
    if (again(o, r->err.code)) {
        floe_store_req_fini(r);
        floe_store_submit(o->store, r);
        return;
    }
    if (r->err.code != FLOE_OK)
        fail(o, &r->err, "cannot list the store");
    o->has_chain = r->entry_count > 0;
    floe_store_req_fini(r);
    o->waiting--;
    o->rechecked = true;
    if (o->err.code != FLOE_OK) {
        advance(o);
        return;
    }
    /* Another first broker may have written both since they were read. */
    get_object(o);
    get_record(o);
}

static void list_chain(struct open *o)
{
    o->list_req = (struct floe_store_req){.kind = FLOE_STORE_LIST,
                                          .cls = FLOE_STORE_CONTROL,
                                          .key = "chain/",
                                          .max_keys = 1,
                                          .attempts = 8,
                                          .timeout_us = TRY_US,
                                          .done = on_chain,
                                          .user = o};
    o->waiting++;
    floe_store_submit(o->store, &o->list_req);
}

static void on_object_put(struct floe_store_req *r)
{
    struct open *o = r->user;
    enum floe_err code = r->err.code;
    if (code != FLOE_OK && code != FLOE_EEXISTS && code != FLOE_EINDETERMINATE)
        fail(o, &r->err, "cannot write the cluster object");
    o->made = code == FLOE_OK;
    floe_store_req_fini(r);
    free(o->text);
    o->text = NULL;
    o->waiting--;
    if (o->err.code == FLOE_OK)
        get_object(o); /* whoever won: what lies there counts */
    else
        advance(o);
}

static void put_object(struct open *o)
{
    struct lease_cluster_record c = {.format = o->newest};
    floe_rng_uuid(&o->store->loop->rng, &c.id);
    o->text = lease_cluster_encode(&c);
    if (o->text == NULL) {
        floe_error_set(&o->err, FLOE_ENOMEM, "out of memory");
        finish(o);
        return;
    }
    o->body = (struct floe_bufslice){.p = (const uint8_t *)o->text, .n = strlen(o->text)};
    o->object_req = (struct floe_store_req){.kind = FLOE_STORE_PUT,
                                            .cls = FLOE_STORE_CONTROL,
                                            .cond = FLOE_PUT_CREATE,
                                            .key = OBJECT_KEY,
                                            .body = &o->body,
                                            .body_count = 1,
                                            .attempts = 1,
                                            .timeout_us = TRY_US,
                                            .done = on_object_put,
                                            .user = o};
    o->waiting++;
    floe_store_submit(o->store, &o->object_req);
}

static void on_record_put(struct floe_table_req *r)
{
    struct open *o = r->user;
    enum floe_err code = r->err.code;
    if (code != FLOE_OK && code != FLOE_EEXISTS && code != FLOE_EINDETERMINATE)
        fail(o, &r->err, "cannot write the table");
    floe_table_req_fini(r);
    free(o->text);
    o->text = NULL;
    o->waiting--;
    if (o->err.code == FLOE_OK)
        get_record(o);
    else
        advance(o);
}

static void put_record(struct open *o)
{
    struct lease_cluster_record c = {
        .id = o->object.id, .shards = FLOE_LEASE_SHARDS_DEFAULT, .format = o->newest};
    o->text = lease_cluster_encode(&c);
    if (o->text == NULL) {
        floe_error_set(&o->err, FLOE_ENOMEM, "out of memory");
        finish(o);
        return;
    }
    o->record_req = (struct floe_table_req){.kind = FLOE_TABLE_PUT,
                                            .key = "cluster",
                                            .value = o->text,
                                            .value_n = strlen(o->text),
                                            .timeout_us = START_TIMEOUT_US,
                                            .done = on_record_put,
                                            .user = o};
    o->waiting++;
    floe_table_submit(o->table, &o->record_req);
}

static void start_probe(struct open *o)
{
    floe_store_probe_start(o->store, &o->scratch, on_probe, o);
}

/* Both are there: do they agree? */
static void conclude(struct open *o)
{
    if (!floe_uuid_eq(&o->object.id, &o->record.id)) {
        char a[23], b[23];
        floe_uuid_b64(a, &o->object.id);
        floe_uuid_b64(b, &o->record.id);
        floe_error_set(
            &o->err, FLOE_EINVAL,
            "the bucket at %.80s is cluster %s, but the table at %.80s belongs to cluster %s: give "
            "--store and --table that belong together",
            o->store->url, a, o->table->url, b);
    } else {
        o->background = o->trusted;
    }
    if (o->background)
        start_probe(o);
    finish(o);
}

/* A data directory's records belong to one cluster. False: the store is another's, or empty. */
static bool own_store(struct open *o)
{
    char ours[23], theirs[23] = "";
    if (floe_uuid_is_zero(&o->own) || (o->has_object && floe_uuid_eq(&o->own, &o->object.id)))
        return true;
    floe_uuid_b64(ours, &o->own);
    if (o->has_object)
        floe_uuid_b64(theirs, &o->object.id);
    floe_error_set(&o->err, FLOE_EINVAL,
                   "the data directory belongs to cluster %s, but the store %.100s %s%s: name the store that "
                   "it was made with, or another --data-dir; nothing was written",
                   ours, o->store->url, o->has_object ? "is cluster " : "holds no cluster", theirs);
    return false;
}

/* Looks at what is known and does the next step. Called whenever something has become known. */
static void advance(struct open *o)
{
    if (o->waiting > 0)
        return;
    if (o->err.code != FLOE_OK || !own_store(o)) {
        finish(o);
    } else if (!o->trusted) {
        start_probe(o);
    } else if (o->has_object && o->has_record) {
        conclude(o);
    } else if (!o->rechecked) {
        list_chain(o);
    } else if (o->has_record) {
        floe_error_set(&o->err, FLOE_EINVAL,
                       "the table at %.100s belongs to a cluster, but the bucket at %.100s has no cluster "
                       "object: it is another bucket, or \"cluster\" was deleted from it",
                       o->table->url, o->store->url);
        finish(o);
    } else if (o->has_chain) {
        floe_error_set(
            &o->err, FLOE_EINVAL,
            "the table is lost: the bucket at %.100s holds data, but the table at %.100s is empty; "
            "restore the table, or start with the one that belongs to this bucket",
            o->store->url, o->table->url);
        finish(o);
    } else if (!o->has_object) {
        put_object(o);
    } else {
        put_record(o);
    }
}

void floe_cluster_open(
    struct floe_store *store, struct floe_table *table, const struct floe_uuid *own, int32_t newest,
    void (*done)(void *user, const struct floe_error *err, const struct floe_cluster_info *info), void *user)
{
    struct open *o = calloc(1, sizeof *o);
    FLOE_ASSERT(o != NULL); /* the first allocation of a start */
    *o = (struct open){.store = store, .table = table, .newest = newest, .done = done, .user = user};
    floe_arena_init(&o->scratch, PROBE_SCRATCH_MAX);
    if (own != NULL)
        o->own = *own;
    o->deadline_us = floe_loop_now_us(store->loop) + START_TIMEOUT_US;
    o->verdict_req = (struct floe_table_req){
        .kind = FLOE_TABLE_GET, .timeout_us = START_TIMEOUT_US, .done = on_verdict, .user = o};
    verdict_key(o, o->verdict_req.key);
    o->waiting = 1; /* on_verdict gives it back */
    get_object(o);
    get_record(o);
    floe_table_submit(o->table, &o->verdict_req);
}
