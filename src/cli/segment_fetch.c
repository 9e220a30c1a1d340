/* One object out of a store, for `floe segment dump --store URL KEY`: a loop that runs until the answer is
 * there. */
#include "segment_dump.h"

#include <floe/broker/broker.h>

#include <stdlib.h>
#include <unistd.h>

extern char **environ;

struct fetch {
    struct floe_loop_uv *uv;
    struct floe_store *store;
    struct floe_store_req req;
};

static void on_done(struct floe_store_req *r)
{
    floe_loop_uv_stop(((struct fetch *)r->user)->uv);
}

static void on_closed(void *user)
{
    floe_loop_uv_stop(((struct fetch *)user)->uv);
}

static enum floe_err ask(struct fetch *f, enum floe_store_kind kind, uint64_t length, struct floe_error *err)
{
    floe_store_req_fini(&f->req);
    f->req.kind = kind;
    f->req.length = length;
    floe_store_submit(f->store, &f->req);
    floe_loop_uv_run(f->uv);
    if (f->req.err.code)
        *err = f->req.err;
    return f->req.err.code;
}

enum floe_err floe_segment_fetch(int argc, char **argv, const char *key, struct floe_buf **out,
                                 struct floe_error *err)
{
    struct fetch f = {.req = {.attempts = 3, .done = on_done}};
    struct floe_config *cfg = calloc(1, sizeof *cfg);
    if (!cfg)
        return floe_error_set(err, FLOE_ENOMEM, "no memory");
    f.req.user = &f;
    enum floe_err e = FLOE_OK;
    if (strlen(key) >= sizeof f.req.key)
        e = floe_error_set(err, FLOE_EINVAL, "a key has less than %d bytes", FLOE_STORE_KEY_MAX);
    if (!e)
        e = floe_config_load(cfg, argc, argv, environ, err);
    if (!e && cfg->store.scheme == FLOE_CONFIG_FILE &&
        access(cfg->store.path, F_OK) != 0) /* opening would make it */
        e = floe_error_set(err, FLOE_ENOTFOUND, "there is no store in %s", cfg->store.path);
    if (!e)
        e = floe_loop_uv_create(&f.uv, err);
    if (!e)
        e = floe_broker_open_store(&f.store, floe_loop_uv_base(f.uv), cfg, &cfg->store, err);
    if (e)
        goto out;
    memcpy(f.req.key, key, strlen(key) + 1);
    e = ask(&f, FLOE_STORE_HEAD, 0, err);
    if (!e && f.req.size > FLOE_STORE_OBJECT_MAX)
        e = floe_error_set(err, FLOE_ETOOLARGE, "%s: more than %u bytes are no segment", key,
                           FLOE_STORE_OBJECT_MAX);
    if (!e)
        e = ask(&f, FLOE_STORE_GET, f.req.size ? f.req.size : 1, err);
    if (!e)
        *out = floe_buf_ref(f.req.data);
    floe_store_req_fini(&f.req);
    floe_store_close(f.store, on_closed, &f);
    floe_loop_uv_run(f.uv);
out:
    floe_loop_uv_destroy(&f.uv);
    free(cfg);
    return e;
}
