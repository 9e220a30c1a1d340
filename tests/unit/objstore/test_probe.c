/* The start-up probe: passes on the `file` store, and names each way in which a store may break the promise
 * (a store between probe and `file` that lies). */
#include "store_suite.h"

#include <floe/objstore/file.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum lie {
    HONEST,
    CREATE_OVERWRITES,
    RACE_CREATES, /* create-only holds, but not among writers of one moment */
    REPLACE_BLINDLY,
    REPLACE_CREATES,
    RACE_REPLACES,
    DROPS_NONCE,
    WRONG_BYTES,
    LISTS_NOTHING,
    DENIES,
    BUSY_ONCE, /* an ambiguous answer to the first requests */
    BUSY,
    FORGETS,
};
struct liar {
    struct floe_store base;
    struct floe_store *real;
    enum lie lie;
    int asked;
};

static char dir[64];
static struct floe_error result;
static int answers;
static uint8_t wrong[] = "wrong";

struct wrap {
    struct liar *l;
    struct floe_store_req *r;
    struct floe_store_req inner;
    struct floe_timer timer;
};

static void inner_done(struct floe_store_req *inner)
{
    struct wrap *w = inner->user;
    struct floe_store_req *r = w->r;
    enum floe_store_kind kind = inner->kind;
    bool race = strstr(inner->nonce, "-") != NULL;
    r->err = inner->err;
    memcpy(r->version, inner->version, sizeof r->version);
    memcpy(r->got_nonce, inner->got_nonce, sizeof r->got_nonce);
    r->size = inner->size;
    r->data = inner->data;
    r->arena = inner->arena;
    r->entries = inner->entries;
    r->entry_count = inner->entry_count;
    if (w->l->lie == DROPS_NONCE)
        r->got_nonce[0] = '\0';
    if (w->l->lie == WRONG_BYTES && r->data)
        memcpy(r->data->data, wrong, FLOE_MIN(r->data->n, sizeof wrong));
    if (w->l->lie == LISTS_NOTHING)
        r->entry_count = 0;
    if (kind == FLOE_STORE_PUT && race &&
        ((w->l->lie == RACE_CREATES && r->err.code == FLOE_EEXISTS) ||
         (w->l->lie == RACE_REPLACES && r->err.code == FLOE_ECONFLICT)))
        r->err = (struct floe_error){0};
    free(w);
    r->done(r);
}

static void refuse(struct floe_timer *t)
{
    struct wrap *w = t->user;
    struct floe_store_req *r = w->r;
    enum lie lie = w->l->lie;
    free(w);
    floe_error_set(&r->err,
                   lie == DENIES    ? FLOE_EDENIED
                   : lie == FORGETS ? FLOE_ENOTFOUND
                                    : FLOE_EINDETERMINATE,
                   "the liar said no");
    r->done(r);
}

static void liar_submit(struct floe_store *s, struct floe_store_req *r)
{
    struct liar *l = FLOE_CONTAINER(s, struct liar, base);
    struct wrap *w = calloc(1, sizeof *w);
    l->asked++;
    floe_store_req_fini(r);
    w->l = l;
    w->r = r;
    w->inner = *r;
    w->inner.done = inner_done;
    w->inner.user = w;
    if (l->lie == DENIES || l->lie == BUSY || (l->lie == BUSY_ONCE && l->asked < 3) ||
        (l->lie == FORGETS && r->kind == FLOE_STORE_GET)) {
        floe_timer_init(&w->timer, refuse, w);
        floe_timer_start(s->loop, &w->timer, 0);
        return;
    }
    if (l->lie == CREATE_OVERWRITES && r->cond == FLOE_PUT_CREATE)
        w->inner.cond = FLOE_PUT_ANY;
    if (l->lie == REPLACE_BLINDLY && r->cond == FLOE_PUT_REPLACE)
        w->inner.cond = FLOE_PUT_ANY;
    if (l->lie == REPLACE_CREATES && r->cond == FLOE_PUT_REPLACE && strcmp(strrchr(r->key, '/'), "/c") == 0)
        w->inner.cond = FLOE_PUT_ANY;
    floe_store_submit(l->real, &w->inner);
}

static const struct floe_store_ops liar_ops = {.name = "liar", .submit = liar_submit};

static void on_result(void *user, const struct floe_error *err)
{
    struct store_rig *rig = user;
    result = *err;
    answers++;
    floe_loop_uv_stop(rig->uv);
}

static enum floe_err probe(struct store_rig *rig, enum lie lie)
{
    struct liar l = {
        .base = {.ops = &liar_ops, .loop = rig->loop, .url = "liar://"}, .real = rig->store, .lie = lie};
    struct floe_arena scratch;
    floe_arena_init(&scratch, 1 << 20);
    answers = 0;
    floe_store_probe_start(&l.base, &scratch, on_result, rig);
    floe_loop_uv_run(rig->uv);
    assert_int_equal(answers, 1);
    floe_arena_fini(&scratch);
    return result.code;
}

static void expect_lie(struct store_rig *rig, enum lie lie, const char *words)
{
    assert_int_equal(probe(rig, lie), FLOE_EUNSUPPORTED);
    if (!strstr(result.msg, words) || !strstr(result.msg, "liar://"))
        fail_msg("\"%s\" does not say \"%s\"", result.msg, words);
}

static void verdicts(void **state)
{
    struct store_rig *rig = *state;
    if (probe(rig, HONEST) != FLOE_OK)
        fail_msg("%s", result.msg);
    expect_lie(rig, CREATE_OVERWRITES, "create-only PUT overwrite");
    expect_lie(rig, RACE_CREATES, "create the same object");
    expect_lie(rig, REPLACE_BLINDLY, "no longer there");
    expect_lie(rig, REPLACE_CREATES, "replacing PUT create");
    expect_lie(rig, RACE_REPLACES, "replace the same version");
    expect_lie(rig, DROPS_NONCE, "metadata");
    expect_lie(rig, WRONG_BYTES, "other bytes");
    expect_lie(rig, LISTS_NOTHING, "list");
    expect_lie(rig, FORGETS, "did not find");
    assert_int_equal(probe(rig, DENIES), FLOE_EDENIED);
    assert_string_equal(result.msg, "the liar said no");
    assert_int_equal(probe(rig, BUSY_ONCE), FLOE_OK);
    assert_int_equal(probe(rig, BUSY), FLOE_EINDETERMINATE);
    struct floe_store_req r = store_rig_req(rig, FLOE_STORE_LIST, "");
    r.key[0] = '\0';
    assert_int_equal(store_rig_do(rig, &r), FLOE_OK);
    assert_int_equal(r.entry_count, 0); /* all that the probes wrote is gone */
    floe_store_req_fini(&r);
}

static int unlink_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st;
    (void)flag;
    (void)f;
    return remove(path);
}

static int setup(void **state)
{
    struct store_rig *rig = calloc(1, sizeof *rig);
    struct floe_error err = {0};
    struct floe_store_file_config cfg = {.dir = dir};
    snprintf(dir, sizeof dir, "/tmp/floe-probe-XXXXXX");
    assert_non_null(mkdtemp(dir));
    store_rig_open(rig);
    assert_int_equal(floe_store_file_create(&rig->store, rig->loop, &cfg, &err), FLOE_OK);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    store_rig_close(*state);
    free(*state);
    nftw(dir, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(verdicts, setup, teardown)};
    return cmocka_run_group_tests_name("objstore.probe", tests, NULL, NULL);
}
