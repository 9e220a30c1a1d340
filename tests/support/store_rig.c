/* The rig of the store suite: a loop, a store, synchronous requests. */
#include "store_suite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

void store_rig_open(struct store_rig *rig)
{
    struct floe_error err = {0};
    uint8_t id[8];
    *rig = (struct store_rig){0};
    if (floe_loop_uv_create(&rig->uv, &err) != FLOE_OK)
        fail_msg("%s", err.msg);
    rig->loop = floe_loop_uv_base(rig->uv);
    floe_rng_bytes(&rig->loop->rng, id, sizeof id);
    memcpy(rig->ns, "suite-", 6);
    floe_hex(rig->ns + 6, id, sizeof id);
}

static void on_closed(void *user)
{
    struct store_rig *rig = user;
    rig->store = NULL;
    floe_loop_uv_stop(rig->uv);
}

void store_rig_close(struct store_rig *rig)
{
    if (rig->store) {
        floe_store_close(rig->store, on_closed, rig);
        floe_loop_uv_run(rig->uv);
        assert_null(rig->store);
    }
    floe_loop_uv_destroy(&rig->uv);
}

static void on_done(struct floe_store_req *r)
{
    struct store_rig *rig = r->user;
    assert_true(rig->pending > 0);
    if (--rig->pending == 0)
        floe_loop_uv_stop(rig->uv);
}

struct floe_store_req store_rig_req(struct store_rig *rig, enum floe_store_kind kind, const char *key)
{
    struct floe_store_req r = {
        .kind = kind, .done = on_done, .user = rig, .length = 1 << 20, .max_keys = 1000};
    snprintf(r.key, sizeof r.key, "%s/%s", rig->ns, key);
    return r;
}

void store_rig_do_all(struct store_rig *rig, struct floe_store_req *r, uint32_t n)
{
    assert_int_equal(rig->pending, 0);
    rig->pending = n;
    for (uint32_t i = 0; i < n; i++)
        floe_store_submit(rig->store, &r[i]);
    assert_int_equal(rig->pending, n); /* never answered from inside submit */
    floe_loop_uv_run(rig->uv);
    assert_int_equal(rig->pending, 0);
}

enum floe_err store_rig_do(struct store_rig *rig, struct floe_store_req *r)
{
    store_rig_do_all(rig, r, 1);
    return r->err.code;
}

static void on_time(struct floe_timer *t)
{
    floe_loop_uv_stop(((struct store_rig *)t->user)->uv);
}

void store_rig_run_us(struct store_rig *rig, uint64_t us)
{
    struct floe_timer t;
    floe_timer_init(&t, on_time, rig);
    floe_timer_start(rig->loop, &t, us);
    floe_loop_uv_run(rig->uv);
    floe_timer_stop(&t);
}

enum floe_err store_rig_put(struct store_rig *rig, enum floe_store_cond cond, const char *key,
                            const char *text, const char *if_version, char *version)
{
    struct floe_store_req r = store_rig_req(rig, FLOE_STORE_PUT, key);
    struct floe_bufslice body = {.p = (const uint8_t *)text, .n = strlen(text)};
    r.cond = cond;
    r.body = &body;
    r.body_count = 1;
    r.timeout_us = 10 * 1000 * 1000;
    if (if_version)
        snprintf(r.if_version, sizeof r.if_version, "%s", if_version);
    enum floe_err rc = store_rig_do(rig, &r);
    if (rc == FLOE_OK) {
        assert_true(r.version[0] != '\0');
        if (version)
            memcpy(version, r.version, sizeof r.version);
    } else {
        assert_true(r.err.msg[0] != '\0');
    }
    floe_store_req_fini(&r);
    return rc;
}

void store_rig_expect(struct store_rig *rig, const char *key, const char *text)
{
    struct floe_store_req r = store_rig_req(rig, FLOE_STORE_GET, key);
    if (store_rig_do(rig, &r) != FLOE_OK)
        fail_msg("GET %s: %s: %s", key, floe_err_name(r.err.code), r.err.msg);
    assert_int_equal(r.data->n, strlen(text));
    assert_memory_equal(r.data->data, text, r.data->n);
    floe_store_req_fini(&r);
}
