/* Writes whose answer is lost, and copies of them that arrive late.
 *
 * Over plain HTTP a relay on loopback does it: it drops the answer after the server has given it, or keeps
 * the whole request until another writer is done. Elsewhere the request is withdrawn at a random moment. */
#include "cli/selftest/selftest.h"

#include <floe/base/assert.h>

#include <stdio.h>
#include <stdlib.h>

#define BRIEF_US (1000u * 1000) /* how long a request that gets no answer is waited for */
#define SETTLED_MAX 256

struct retry {
    struct st *st;
    struct st_client *c, via; /* straight, and through the relay */
    struct st_relay *relay;
    uint64_t next_id;
    uint32_t round;
    /* Keys that were written to the end, and what they must hold for ever. */
    struct {
        uint32_t round;
        uint64_t id;
    } settled[SETTLED_MAX];
    uint32_t settled_n;
};

/* One write of the story: its text and request, kept for repeats. */
struct write {
    char text[ST_ID_MAX], key[64];
    uint64_t id;
    struct floe_bufslice body;
    struct floe_store_req r;
};

static void prepare(struct retry *t, struct write *w, enum floe_store_cond cond, const char *version)
{
    w->id = t->next_id++;
    st_id_text(w->text, w->id);
    (void)snprintf(w->key, sizeof w->key, "retry/%08u", t->round);
    w->r = st_put(&w->body, w->text, cond, version, w->key);
    w->r.timeout_us = BRIEF_US * 5;
}

/* Through the relay, which keeps the request or its answer. */
static enum floe_err lose(struct retry *t, struct write *w, enum st_relay_mode mode)
{
    st_relay_mode(t->relay, mode);
    enum floe_err e = st_do(&t->via, &w->r);
    floe_store_req_fini(&w->r);
    return e;
}

static bool put(struct retry *t, struct write *w)
{
    bool ok = st_do(t->c, &w->r) == FLOE_OK;
    floe_store_req_fini(&w->r);
    return ok;
}

/* Is this write in the key? False also when the store did not say. */
static bool holds(struct retry *t, const char *key, uint64_t id, bool *known)
{
    struct floe_store_req get = st_req(FLOE_STORE_GET, "%s", key);
    uint64_t got = 0;
    enum floe_err e = st_do(t->c, &get);
    *known = e == FLOE_OK || e == FLOE_ENOTFOUND;
    bool same = e == FLOE_OK && st_id_of(get.got_nonce, &got) && got == id && get.data->n == ST_ID_LENGTH &&
                strncmp((const char *)get.data->data, get.got_nonce, get.data->n) == 0;
    floe_store_req_fini(&get);
    return same;
}

static const char *kind(enum floe_store_cond cond)
{
    return cond == FLOE_PUT_CREATE ? "create-only" : "replace-if";
}

/* A key for a replace: created by another write, whose version is given. */
static bool first_version(struct retry *t, struct write *w, char version[FLOE_STORE_VERSION_MAX])
{
    prepare(t, w, FLOE_PUT_CREATE, NULL);
    enum floe_err e = st_do(t->c, &w->r);
    memcpy(version, w->r.version, FLOE_STORE_VERSION_MAX);
    return e == FLOE_OK;
}

/* The answer is lost, then the same bytes are sent again. */
static void lost_answer(struct retry *t, enum floe_store_cond cond)
{
    struct write first, w;
    char version[FLOE_STORE_VERSION_MAX] = "";
    bool known;
    t->round++;
    if (cond == FLOE_PUT_REPLACE && !first_version(t, &first, version))
        return;
    prepare(t, &w, cond, version);
    enum floe_err first_said = lose(t, &w, ST_RELAY_SWALLOW);
    int status = st_relay_swallowed(t->relay);
    st_relay_mode(t->relay, ST_RELAY_PASS);
    enum floe_err again = st_do(&t->via, &w.r);
    if (status / 100 == 2 && again == FLOE_OK) {
        st_broke(t->st, ST_RETRY,
                 "a %s write whose answer was lost was applied, and its repeat was applied as well",
                 kind(cond));
    } else if (status / 100 == 2 && first_said != FLOE_OK) {
        if (holds(t, w.key, w.id, &known))
            st_kept(t->st, ST_RETRY);
        else if (known)
            st_broke(t->st, ST_RETRY, "a %s write was answered with %d, and reading back did not find it",
                     kind(cond), status);
        t->st->figures.retry_rounds++;
    }
    floe_store_req_fini(&w.r);
}

/* A copy arrives after another writer was there; with `repeated` it is the late copy of a write that was
 * repeated and applied meanwhile. */
static void late_copy(struct retry *t, enum floe_store_cond cond, bool repeated)
{
    struct write first, w, other;
    char version[FLOE_STORE_VERSION_MAX] = "";
    bool known;
    t->round++;
    if (cond == FLOE_PUT_REPLACE && !first_version(t, &first, version))
        return;
    prepare(t, &w, cond, version);
    (void)lose(t, &w, ST_RELAY_HOLD);
    st_relay_mode(t->relay, ST_RELAY_PASS);
    if (repeated) {
        if (st_do(t->c, &w.r) != FLOE_OK)
            goto out;
        prepare(t, &other, FLOE_PUT_REPLACE, w.r.version);
    } else {
        prepare(t, &other, cond, version);
    }
    if (!put(t, &other))
        goto out;
    bool held = st_relay_held(t->relay) > 0;
    int status = st_relay_release(t->relay);
    if (!held)
        goto out;
    t->st->figures.late_rounds++;
    if (status / 100 == 2)
        st_broke(t->st, ST_RETRY, "a late copy of a %s write was applied after another writer's", kind(cond));
    else if (!holds(t, other.key, other.id, &known) && known)
        st_broke(t->st, ST_RETRY, "a late copy of a %s write was refused (%d), and yet the object changed",
                 kind(cond), status);
    else
        st_kept(t->st, ST_RETRY);
out:
    (void)st_relay_release(t->relay);
    floe_store_req_fini(&w.r);
}

/* Withdrawn at a random moment, then repeated until there is an answer; what it wrote must stay. */
static void withdrawn(struct retry *t, enum floe_store_cond cond)
{
    struct write first, w;
    char version[FLOE_STORE_VERSION_MAX] = "";
    bool known, lost = false;
    t->round++;
    uint64_t from = st_now_us();
    if (!first_version(t, &first, version))
        return;
    uint64_t took = st_now_us() - from;
    if (cond == FLOE_PUT_CREATE)
        t->round++;
    prepare(t, &w, cond, version);
    lost = !st_ask_briefly(t->c, &w.r, 1 + floe_rng_below(&floe_loop_uv_base(t->c->uv)->rng, took + 1));
    floe_store_req_fini(&w.r);
    enum floe_err e = st_do(t->c, &w.r);
    for (int i = 0; i < 5 && st_is_trouble(e) && !st_stop; i++) {
        floe_store_req_fini(&w.r);
        e = st_do(t->c, &w.r);
    }
    if (st_is_trouble(e))
        return;
    if (lost)
        t->st->figures.retry_rounds++;
    if (holds(t, w.key, w.id, &known))
        st_kept(t->st, ST_RETRY);
    else if (known)
        st_broke(t->st, ST_RETRY,
                 "a %s write that was repeated was answered \"%s\", and reading back did not find it",
                 kind(cond), floe_err_name(e));
    if (t->settled_n < SETTLED_MAX) {
        t->settled[t->settled_n].round = t->round;
        t->settled[t->settled_n++].id = w.id;
    }
    floe_store_req_fini(&w.r);
}

static void check_settled(struct retry *t)
{
    for (uint32_t i = 0; i < t->settled_n && !st_stop && !st_broken(t->st); i++) {
        char key[64];
        bool known;
        (void)snprintf(key, sizeof key, "retry/%08u", t->settled[i].round);
        if (holds(t, key, t->settled[i].id, &known))
            st_kept(t->st, ST_RETRY);
        else if (known)
            st_broke(t->st, ST_RETRY, "an object changed after its last write was answered");
    }
}

/* The relay, where the store is reached by plain HTTP with the bucket in the path. */
static bool open_relay(struct retry *t, uint32_t store)
{
    static struct floe_config cfg;
    struct floe_error err;
    cfg = t->st->cfg;
    if (t->st->url[store].scheme != FLOE_CONFIG_S3 || strncmp(cfg.s3_endpoint, "http://", 7) != 0 ||
        cfg.s3_style == FLOE_CONFIG_S3_VIRTUAL)
        return true;
    enum floe_err e = st_relay_create(&t->relay, t->c->uv, cfg.s3_endpoint, &err);
    if (e == FLOE_OK) {
        struct floe_config_url url = t->st->url[store];
        (void)snprintf(cfg.s3_endpoint, sizeof cfg.s3_endpoint, "%s", st_relay_endpoint(t->relay));
        size_t n = strlen(url.path);
        (void)snprintf(url.path + n, sizeof url.path - n, "%s%s", n > 0 ? "/" : "", t->st->name);
        e = st_client_open(&t->via, t->c->uv, &cfg, &url, &err);
    }
    if (e != FLOE_OK)
        st_fail(t->st, "%s", err.msg);
    return e == FLOE_OK;
}

void st_retries(struct st *st, uint32_t store, uint64_t us)
{
    uint64_t until = st_now_us() + us;
    struct retry *t = calloc(1, sizeof *t);
    FLOE_ASSERT(t != NULL);
    t->st = st;
    t->c = &st->client[store];
    t->next_id = UINT64_C(2) << 32;
    bool ready = open_relay(t, store);
    for (uint32_t turn = 0; ready && st_goes_on(st, until); turn++) {
        enum floe_store_cond cond = turn % 2 ? FLOE_PUT_REPLACE : FLOE_PUT_CREATE;
        if (t->relay == NULL || turn % 8 >= 6)
            withdrawn(t, cond);
        else if (turn % 8 < 2)
            lost_answer(t, cond);
        else
            late_copy(t, cond, turn % 8 >= 4);
        st_progress(st, "%llu lost answers, %llu late copies", (unsigned long long)st->figures.retry_rounds,
                    (unsigned long long)st->figures.late_rounds);
    }
    check_settled(t);
    st_client_close(&t->via);
    st_relay_destroy(&t->relay);
    free(t);
}
