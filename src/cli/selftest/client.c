/* One store and the loop it runs on, asked as if it were blocking. */
#include "cli/selftest/selftest.h"

#include <floe/base/assert.h>

#include <stdio.h>
#include <time.h>

#define REQUEST_US (10u * 1000 * 1000)
#define TICK_US (100u * 1000)

volatile sig_atomic_t st_stop;

uint64_t st_now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void st_sleep_ms(uint32_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)nanosleep(&t, NULL);
}

/* Looks after the user's wish to stop: a store may take long to answer. */
static void on_tick(struct floe_timer *t)
{
    struct st_client *c = t->user;
    if (st_stop && !c->cleaning)
        floe_loop_uv_stop(c->uv);
    else
        floe_timer_start(floe_loop_uv_base(c->uv), t, TICK_US);
}

static void on_limit(struct floe_timer *t)
{
    floe_loop_uv_stop(((struct st_client *)t->user)->uv);
}

enum floe_err st_client_open(struct st_client *c, struct floe_loop_uv *loop, const struct floe_config *cfg,
                             const struct floe_config_url *url, struct floe_error *err)
{
    *c = (struct st_client){.uv = loop, .borrowed = loop != NULL};
    enum floe_err e = loop != NULL ? FLOE_OK : floe_loop_uv_create(&c->uv, err);
    if (e != FLOE_OK)
        return e;
    e = floe_broker_open_store(&c->s, floe_loop_uv_base(c->uv), cfg, url, err);
    if (e != FLOE_OK) {
        if (!c->borrowed)
            floe_loop_uv_destroy(&c->uv);
        c->uv = NULL;
        return e;
    }
    floe_timer_init(&c->tick, on_tick, c);
    floe_timer_init(&c->limit, on_limit, c);
    return FLOE_OK;
}

static void on_closed(void *user)
{
    floe_loop_uv_stop(((struct st_client *)user)->uv);
}

void st_client_close(struct st_client *c)
{
    if (c->uv == NULL)
        return;
    floe_store_close(c->s, on_closed, c);
    floe_loop_uv_run(c->uv);
    if (!c->borrowed)
        floe_loop_uv_destroy(&c->uv);
    c->uv = NULL;
    c->s = NULL;
}

struct floe_store_req st_req(enum floe_store_kind kind, const char *fmt, ...)
{
    struct floe_store_req r = {.kind = kind, .cls = FLOE_STORE_DATA, .timeout_us = REQUEST_US};
    va_list ap;
    r.attempts = kind == FLOE_STORE_PUT ? 1 : 3;
    r.max_keys = FLOE_STORE_LIST_MAX;
    r.length = 64;
    va_start(ap, fmt);
    int n = vsnprintf(r.key, sizeof r.key, fmt, ap);
    va_end(ap);
    FLOE_ASSERT(n >= 0 && (size_t)n < sizeof r.key);
    return r;
}

/* A PUT that has ended in this way may be in the store. */
static bool may_be_there(enum floe_err e)
{
    return e == FLOE_OK || e == FLOE_EINDETERMINATE || e == FLOE_ETIMEOUT || e == FLOE_ECANCELLED;
}

static void on_done(struct floe_store_req *r)
{
    struct st_client *c = r->user;
    r->user = NULL;
    c->wrote |= r->kind == FLOE_STORE_PUT && may_be_there(r->err.code);
    if (st_is_trouble(r->err.code))
        c->trouble++;
    FLOE_ASSERT(c->pending > 0);
    if (--c->pending == 0)
        floe_loop_uv_stop(c->uv);
}

static void submit(struct st_client *c, struct floe_store_req *r)
{
    r->done = on_done;
    r->user = c;
    c->pending++;
    floe_store_submit(c->s, r);
}

static void withdraw(struct st_client *c, struct floe_store_req *r)
{
    floe_store_cancel(c->s, r);
    r->user = NULL;
    c->pending--;
    c->wrote |= r->kind == FLOE_STORE_PUT;
    (void)floe_error_set(&r->err, FLOE_ECANCELLED, "stopped");
}

void st_ask(struct st_client *c, struct floe_store_req *r, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        submit(c, &r[i]);
    if (n == 0)
        return;
    floe_timer_start(floe_loop_uv_base(c->uv), &c->tick, TICK_US);
    floe_loop_uv_run(c->uv);
    floe_timer_stop(&c->tick);
    for (uint32_t i = 0; i < n; i++)
        if (r[i].user != NULL)
            withdraw(c, &r[i]);
}

bool st_ask_briefly(struct st_client *c, struct floe_store_req *r, uint64_t us)
{
    submit(c, r);
    floe_timer_start(floe_loop_uv_base(c->uv), &c->limit, us);
    floe_loop_uv_run(c->uv);
    floe_timer_stop(&c->limit);
    if (r->user == NULL)
        return true;
    withdraw(c, r);
    return false;
}

struct floe_store_req st_put(struct floe_bufslice *body, const char *text, enum floe_store_cond cond,
                             const char *if_version, const char *key)
{
    struct floe_store_req r = st_req(FLOE_STORE_PUT, "%s", key);
    *body = (struct floe_bufslice){.p = (const uint8_t *)text, .n = strlen(text)};
    r.body = body;
    r.body_count = 1;
    r.cond = cond;
    (void)snprintf(r.nonce, sizeof r.nonce, "%s", text);
    if (if_version != NULL)
        (void)snprintf(r.if_version, sizeof r.if_version, "%s", if_version);
    return r;
}

enum floe_err st_do(struct st_client *c, struct floe_store_req *r)
{
    st_ask(c, r, 1);
    return r->err.code;
}

bool st_is_trouble(enum floe_err e)
{
    return e == FLOE_EINDETERMINATE || e == FLOE_EUNAVAILABLE || e == FLOE_ETIMEOUT || e == FLOE_EREFUSED ||
           e == FLOE_ECANCELLED;
}

/* One page of keys, deleted. */
static enum floe_err delete_page(struct st_client *c, const struct floe_store_req *list, uint64_t *deleted,
                                 struct floe_error *err)
{
    static const char *keys[FLOE_STORE_LIST_MAX];
    for (uint32_t i = 0; i < list->entry_count; i++)
        keys[i] = list->entries[i].key;
    struct floe_store_req del = st_req(FLOE_STORE_DELETE, "%s", list->entries[0].key);
    del.keys = keys;
    del.key_count = list->entry_count;
    del.attempts = 5;
    del.timeout_us = 3 * REQUEST_US;
    enum floe_err e = st_do(c, &del);
    if (e == FLOE_OK)
        *deleted += list->entry_count;
    else
        *err = del.err;
    floe_store_req_fini(&del);
    return e;
}

enum floe_err st_delete_below(struct st_client *c, const char *prefix, uint64_t *deleted,
                              struct floe_error *err)
{
    /* A store whose lists are stale may show what is gone for a while. */
    for (int pass = 0; pass < 1000; pass++) {
        struct floe_store_req list = st_req(FLOE_STORE_LIST, "%s", prefix);
        list.attempts = 5;
        enum floe_err e = st_do(c, &list);
        bool empty = e == FLOE_OK && list.entry_count == 0;
        if (e != FLOE_OK)
            *err = list.err;
        else if (!empty)
            e = delete_page(c, &list, deleted, err);
        floe_store_req_fini(&list);
        if (e != FLOE_OK || empty)
            return e;
    }
    return floe_error_set(err, FLOE_EIO, "%s: lists still show objects that were deleted", c->s->url);
}
