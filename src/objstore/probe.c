/* Does a store keep the conditional-write promise? One step after the other, each a few requests at once:
 *
 *   create → create again → read → race of creates → read → replace → stale replace → replace of nothing →
 * read → race of replaces → read → list → clean → done
 *
 * A step that finds the promise broken ends it with FLOE_EUNSUPPORTED and a sentence that says what the store
 * did; passing trouble starts again under fresh keys, a few times. All states change in `next`.
 */
#include <floe/base/assert.h>
#include <floe/objstore.h>
#include <stdio.h>

#define RACERS 8
#define TRIES 3
#define REQUEST_TIMEOUT_US (10u * 1000 * 1000)

enum step {
    CREATE,
    CREATE_AGAIN,
    READ_CREATED,
    RACE_CREATE,
    READ_RACED,
    REPLACE,
    REPLACE_STALE,
    REPLACE_NOTHING,
    READ_REPLACED,
    RACE_REPLACE,
    READ_LAST,
    LIST,
    CLEAN
};

struct floe_store_probe {
    struct floe_store *s;
    void (*done)(void *user, const struct floe_error *err);
    void *user;
    enum step step;
    int tries;
    uint32_t pending, count;
    char base[40];                      /* "probe/<16 hex>" */
    char first[FLOE_STORE_VERSION_MAX]; /* version that CREATE made */
    char now[FLOE_STORE_VERSION_MAX];   /* newest version of "<base>/a" */
    char expect[40];                    /* what the next read must find */
    struct floe_error result;
    struct floe_store_req req[RACERS];
    struct floe_bufslice body[RACERS];
    char text[RACERS][40];
};

static void next(struct floe_store_probe *p);
static void start(struct floe_store_probe *p, enum step step);

static void on_answer(struct floe_store_req *r)
{
    struct floe_store_probe *p = r->user;
    FLOE_ASSERT(p->pending > 0);
    if (--p->pending == 0)
        next(p);
}

static struct floe_store_req *request(struct floe_store_probe *p, enum floe_store_kind kind, const char *name)
{
    uint32_t i = p->count++;
    struct floe_store_req *r = &p->req[i];
    FLOE_ASSERT(i < RACERS);
    *r = (struct floe_store_req){.kind = kind, .cls = FLOE_STORE_CONTROL, .done = on_answer, .user = p};
    r->timeout_us = REQUEST_TIMEOUT_US;
    r->attempts = kind == FLOE_STORE_PUT ? 1 : 3;
    r->length = sizeof p->expect;
    r->max_keys = 10;
    snprintf(r->key, sizeof r->key, "%s/%s", p->base, name);
    return r;
}

/* A PUT whose bytes and nonce are both `text`. */
static void put(struct floe_store_probe *p, enum floe_store_cond cond, const char *name, const char *text,
                const char *if_version)
{
    struct floe_store_req *r = request(p, FLOE_STORE_PUT, name);
    uint32_t i = p->count - 1;
    snprintf(p->text[i], sizeof p->text[i], "%s", text);
    snprintf(r->nonce, sizeof r->nonce, "%s", text);
    p->body[i] = (struct floe_bufslice){.p = (const uint8_t *)p->text[i], .n = strlen(p->text[i])};
    r->cond = cond;
    r->body = &p->body[i];
    r->body_count = 1;
    if (if_version)
        snprintf(r->if_version, sizeof r->if_version, "%s", if_version);
}

static void race(struct floe_store_probe *p, enum floe_store_cond cond, const char *name, const char *version)
{
    for (int i = 0; i < RACERS; i++) {
        char text[40];
        snprintf(text, sizeof text, "%s-%d", cond == FLOE_PUT_CREATE ? "create" : "replace", i);
        put(p, cond, name, text, version);
    }
}

static void start(struct floe_store_probe *p, enum step step)
{
    for (uint32_t i = 0; i < p->count; i++)
        floe_store_req_fini(&p->req[i]);
    p->step = step;
    p->count = 0;
    switch (step) {
    case CREATE:
        put(p, FLOE_PUT_CREATE, "a", "first", NULL);
        break;
    case CREATE_AGAIN:
        put(p, FLOE_PUT_CREATE, "a", "second", NULL);
        break;
    case RACE_CREATE:
        race(p, FLOE_PUT_CREATE, "b", NULL);
        break;
    case REPLACE:
        put(p, FLOE_PUT_REPLACE, "a", "replaced", p->first);
        break;
    case REPLACE_STALE:
        put(p, FLOE_PUT_REPLACE, "a", "stale", p->first);
        break;
    case REPLACE_NOTHING:
        put(p, FLOE_PUT_REPLACE, "c", "nothing", p->now);
        break;
    case RACE_REPLACE:
        race(p, FLOE_PUT_REPLACE, "a", p->now);
        break;
    case READ_CREATED:
    case READ_REPLACED:
    case READ_LAST:
        request(p, FLOE_STORE_GET, "a");
        break;
    case READ_RACED:
        request(p, FLOE_STORE_GET, "b");
        break;
    case LIST:
        request(p, FLOE_STORE_LIST, "");
        break;
    case CLEAN:
        request(p, FLOE_STORE_DELETE, "a");
        request(p, FLOE_STORE_DELETE, "b");
        request(p, FLOE_STORE_DELETE, "c");
        break;
    }
    p->pending = p->count;
    for (uint32_t i = 0; i < p->count; i++)
        floe_store_submit(p->s, &p->req[i]);
}

static void fresh_keys(struct floe_store_probe *p)
{
    uint8_t id[8];
    floe_rng_bytes(&p->s->loop->rng, id, sizeof id);
    memcpy(p->base, "probe/", 6);
    floe_hex(p->base + 6, id, sizeof id);
}

static enum floe_err broken(struct floe_store_probe *p, const char *what)
{
    return floe_error_set(&p->result, FLOE_EUNSUPPORTED,
                          "the store %s %s: Floe cannot keep data safe on it; use a store with conditional "
                          "writes (AWS S3, MinIO, Ceph RGW, ...)",
                          p->s->url, what);
}

/* The store could not be asked, or refused. */
static enum floe_err failed(struct floe_store_probe *p, const struct floe_store_req *r)
{
    p->result = r->err;
    return r->err.code;
}

static enum floe_err check_refused(struct floe_store_probe *p, enum floe_err want, const char *what)
{
    const struct floe_store_req *r = &p->req[0];
    if (r->err.code == FLOE_OK)
        return broken(p, what);
    return r->err.code == want ? FLOE_OK : failed(p, r);
}

static enum floe_err check_written(struct floe_store_probe *p, const char *text)
{
    if (p->req[0].err.code == FLOE_ECONFLICT || p->req[0].err.code == FLOE_EEXISTS)
        return broken(p, p->step == CREATE ? "refused to create an object that was not there"
                                           : "refused to replace an object by its current version");
    if (p->req[0].err.code != FLOE_OK)
        return failed(p, &p->req[0]);
    snprintf(p->expect, sizeof p->expect, "%s", text);
    memcpy(p->now, p->req[0].version, sizeof p->now);
    return FLOE_OK;
}

static enum floe_err check_race(struct floe_store_probe *p, enum floe_err lost)
{
    int winner = -1, won = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        enum floe_err c = p->req[i].err.code;
        if (c == FLOE_OK) {
            winner = (int)i;
            won++;
        } else if (c != lost && c != FLOE_EINDETERMINATE) {
            return failed(p, &p->req[i]);
        }
    }
    if (won > 1)
        return broken(p, lost == FLOE_EEXISTS ? "let several of eight writers create the same object"
                                              : "let several of eight writers replace the same version");
    if (won == 0)
        return floe_error_set(&p->result, FLOE_EUNAVAILABLE,
                              "%s: none of eight racing writers was told that it won", p->s->url);
    snprintf(p->expect, sizeof p->expect, "%s", p->text[winner]);
    memcpy(p->now, p->req[winner].version, sizeof p->now);
    return FLOE_OK;
}

static enum floe_err check_read(struct floe_store_probe *p)
{
    const struct floe_store_req *r = &p->req[0];
    if (r->err.code == FLOE_ENOTFOUND)
        return broken(p, "did not find an object that it had just confirmed");
    if (r->err.code != FLOE_OK)
        return failed(p, r);
    if (r->data->n != strlen(p->expect) || memcmp(r->data->data, p->expect, r->data->n) != 0)
        return broken(p, "gave back other bytes than the write that it had confirmed");
    if (strcmp(r->got_nonce, p->expect) != 0)
        return broken(p, "does not keep an object's metadata");
    if (strcmp(r->version, p->now) != 0)
        return broken(p, "named another version when read than when written");
    return FLOE_OK;
}

static enum floe_err check_list(struct floe_store_probe *p)
{
    const struct floe_store_req *r = &p->req[0];
    char a[48], b[48];
    if (r->err.code != FLOE_OK)
        return failed(p, r);
    snprintf(a, sizeof a, "%s/a", p->base);
    snprintf(b, sizeof b, "%s/b", p->base);
    if (r->entry_count != 2 || strcmp(r->entries[0].key, a) != 0 || strcmp(r->entries[1].key, b) != 0)
        return broken(p, "did not list two objects that had just been written");
    return FLOE_OK;
}

static enum floe_err check(struct floe_store_probe *p)
{
    switch (p->step) {
    case CREATE: {
        enum floe_err rc = check_written(p, "first");
        memcpy(p->first, p->now, sizeof p->first);
        return rc;
    }
    case CREATE_AGAIN:
        return check_refused(p, FLOE_EEXISTS, "let a create-only PUT overwrite an object");
    case RACE_CREATE:
        return check_race(p, FLOE_EEXISTS);
    case REPLACE:
        return check_written(p, "replaced");
    case REPLACE_STALE:
        return check_refused(p, FLOE_ECONFLICT, "let a PUT replace a version that was no longer there");
    case REPLACE_NOTHING:
        return check_refused(p, FLOE_ECONFLICT, "let a replacing PUT create an object");
    case RACE_REPLACE:
        return check_race(p, FLOE_ECONFLICT);
    case READ_CREATED:
    case READ_RACED:
    case READ_REPLACED:
    case READ_LAST:
        return check_read(p);
    case LIST:
        return check_list(p);
    case CLEAN:
        return FLOE_OK;
    }
    return FLOE_OK;
}

static bool passing(enum floe_err e)
{
    return e == FLOE_EINDETERMINATE || e == FLOE_EUNAVAILABLE || e == FLOE_ETIMEOUT || e == FLOE_EREFUSED;
}

static void next(struct floe_store_probe *p)
{
    if (p->step == CLEAN) {
        for (uint32_t i = 0; i < p->count; i++)
            floe_store_req_fini(&p->req[i]);
        p->done(p->user, &p->result);
        return;
    }
    enum floe_err rc = check(p);
    if (rc == FLOE_OK && p->step == READ_RACED) {
        /* Back to "a", whose version the race of creates has overwritten here. */
        memcpy(p->now, p->first, sizeof p->now);
    }
    if (rc != FLOE_OK && passing(rc) && ++p->tries < TRIES) {
        p->result = (struct floe_error){0};
        fresh_keys(p);
        start(p, CREATE);
        return;
    }
    start(p, rc == FLOE_OK ? p->step + 1 : CLEAN);
}

void floe_store_probe_start(struct floe_store *s, struct floe_arena *scratch,
                            void (*done)(void *user, const struct floe_error *err), void *user)
{
    struct floe_store_probe *p = floe_arena_alloc(scratch, sizeof *p);
    FLOE_ASSERT(p != NULL);
    p->s = s;
    p->done = done;
    p->user = user;
    fresh_keys(p);
    start(p, CREATE);
}
