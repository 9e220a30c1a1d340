/* The `file` driver: requests travel loop → lane queue → thread → loop (floe_loop_post). */
#include "file_int.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define THREADS_DEFAULT 4
#define THREADS_MAX 64
#define CONTROL_THREADS 2
#define QUEUED_MAX 8192

static void run(struct file_op *op)
{
    switch (op->kind) {
    case FLOE_STORE_PUT:
        file_put(op);
        break;
    case FLOE_STORE_GET:
        file_get(op);
        break;
    case FLOE_STORE_HEAD:
        file_head(op);
        break;
    case FLOE_STORE_LIST:
        file_list(op);
        break;
    case FLOE_STORE_DELETE:
        file_delete(op);
        break;
    }
}

struct thread_arg {
    struct file_store *s;
    enum file_lane lane;
};

static void *thread_main(void *p)
{
    struct thread_arg arg = *(struct thread_arg *)p;
    struct file_store *s = arg.s;
    free(p);
    pthread_mutex_lock(&s->lock);
    for (;;) {
        struct floe_list *l = floe_list_pop_front(&s->queue[arg.lane]);
        if (!l && s->stopping)
            break;
        if (!l) {
            pthread_cond_wait(&s->work[arg.lane], &s->lock);
            continue;
        }
        struct file_op *op = FLOE_LIST_ENTRY(l, struct file_op, link);
        op->queued = false;
        s->queued--;
        pthread_mutex_unlock(&s->lock);
        run(op);
        floe_loop_post(s->base.loop, &op->task);
        pthread_mutex_lock(&s->lock);
    }
    bool last = --s->running == 0;
    pthread_mutex_unlock(&s->lock);
    if (last)
        floe_loop_post(s->base.loop, &s->exit_task);
    return NULL;
}

/* ---- loop side ---- */

static void op_free(struct file_op *op)
{
    floe_timer_stop(&op->timer);
    floe_list_remove(&op->all);
    floe_store_body_drop(&op->body);
    floe_buf_unref(op->data);
    floe_arena_fini(&op->arena);
    free(op->keys);
    free(op);
}

static void store_free(struct file_store *s)
{
    if (s->root_fd >= 0) {
        file_tmp_close(s);
        close(s->root_fd);
    }
    free(s->threads);
    free(s);
}

static void sync_fini(struct file_store *s)
{
    for (int i = 0; i < FILE_LANES; i++)
        pthread_cond_destroy(&s->work[i]);
    pthread_mutex_destroy(&s->lock);
    file_dirs_fini(&s->dirs);
}

static void maybe_closed(struct file_store *s)
{
    if (!s->threads_gone || !floe_list_empty(&s->open))
        return;
    void (*closed)(void *) = s->closed;
    void *user = s->closed_user;
    sync_fini(s);
    store_free(s);
    closed(user);
}

static void on_exit_task(struct floe_task *t)
{
    struct file_store *s = t->user;
    for (uint32_t i = 0; i < s->thread_count; i++)
        pthread_join(s->threads[i], NULL);
    s->threads_gone = true;
    maybe_closed(s);
}

static void answer(struct floe_store_req *r, struct file_op *op)
{
    struct file_store *s = op->s;
    r->driver = NULL;
    r->err = op->err;
    memcpy(r->version, op->version, sizeof r->version);
    memcpy(r->got_nonce, op->got_nonce, sizeof r->got_nonce);
    r->size = op->size;
    r->data = op->data;
    r->arena = op->arena;
    r->entries = op->entries;
    r->entry_count = op->entry_count;
    r->truncated = op->truncated;
    op->data = NULL;
    op->arena = (struct floe_arena){0};
    if (r->data)
        atomic_fetch_add_explicit(&s->base.stats.bytes_in, r->data->n, memory_order_relaxed);
    if (r->err.code != FLOE_OK)
        atomic_fetch_add_explicit(&s->base.stats.errors, 1, memory_order_relaxed);
    r->done(r);
}

static void on_op_task(struct floe_task *t)
{
    struct file_op *op = t->user;
    struct file_store *s = op->s;
    struct floe_store_req *r = op->req;
    op->req = NULL;
    floe_timer_stop(&op->timer);
    if (r)
        answer(r, op);
    op_free(op);
    if (s->closing)
        maybe_closed(s);
}

/* Takes the op out of its queue; false when a thread has it (or had it). */
static bool unqueue(struct file_op *op)
{
    struct file_store *s = op->s;
    pthread_mutex_lock(&s->lock);
    bool was = op->queued;
    if (was) {
        floe_list_remove(&op->link);
        op->queued = false;
        s->queued--;
    }
    pthread_mutex_unlock(&s->lock);
    return was;
}

static void on_deadline(struct floe_timer *t)
{
    struct file_op *op = t->user;
    struct floe_store_req *r = op->req;
    bool write = op->kind == FLOE_STORE_PUT || op->kind == FLOE_STORE_DELETE;
    bool unsent = unqueue(op);
    FLOE_ASSERT(r != NULL);
    op->req = NULL;
    r->driver = NULL;
    r->sent = unsent ? 0 : 1;
    floe_error_set(&r->err,
                   !write   ? FLOE_ETIMEOUT
                   : unsent ? FLOE_EUNAVAILABLE
                            : FLOE_EINDETERMINATE,
                   "%s: object \"%s\": no answer from the disk within %llu ms%s", op->s->base.url, op->key,
                   (unsigned long long)(op->timeout_us / 1000), unsent ? " (it was never begun)" : "");
    atomic_fetch_add_explicit(&op->s->base.stats.errors, 1, memory_order_relaxed);
    if (unsent)
        op_free(op);
    r->done(r);
}

static enum floe_err op_fill(struct file_op *op, const struct floe_store_req *r)
{
    if (floe_store_req_check(r, &op->err) != FLOE_OK)
        return op->err.code;
    op->max_keys = r->max_keys;
    op->offset = r->offset;
    op->length = r->length;
    memcpy(op->start_after, r->start_after, sizeof op->start_after);
    memcpy(op->if_version, r->if_version, sizeof op->if_version);
    memcpy(op->nonce, r->nonce, sizeof op->nonce);
    floe_rng_bytes(&op->s->base.loop->rng, op->random, sizeof op->random);
    if (op->kind == FLOE_STORE_DELETE && r->key_count > 0) {
        op->keys = floe_store_keys_copy(r->keys, r->key_count);
        op->key_count = r->key_count;
        if (!op->keys)
            return floe_error_set(&op->err, FLOE_ENOMEM, "no memory for a batch delete");
    }
    if (op->kind == FLOE_STORE_PUT)
        return floe_store_body_hold(&op->body, r->body, r->body_count, &op->err);
    return FLOE_OK;
}

static void file_submit(struct floe_store *base, struct floe_store_req *r)
{
    struct file_store *s = FLOE_CONTAINER(base, struct file_store, base);
    struct file_op *op = calloc(1, sizeof *op);
    FLOE_ASSERT(op != NULL);
    op->s = s;
    op->req = r;
    op->kind = r->kind;
    op->cond = r->cond;
    op->lane = r->cls == FLOE_STORE_CONTROL ? FILE_CONTROL : FILE_DATA;
    op->timeout_us = r->timeout_us ? r->timeout_us : FLOE_STORE_TIMEOUT_US_DEFAULT;
    op->task = (struct floe_task){.fn = on_op_task, .user = op};
    memcpy(op->key, r->key, sizeof op->key);
    op->key[sizeof op->key - 1] = '\0';
    floe_timer_init(&op->timer, on_deadline, op);
    floe_list_push_back(&s->open, &op->all);
    floe_store_req_fini(r);
    r->driver = op;
    floe_store_count(base, r->kind);
    bool ok = op_fill(op, r) == FLOE_OK;
    pthread_mutex_lock(&s->lock);
    if (ok && s->stopping)
        ok = floe_error_set(&op->err, FLOE_ECLOSED, "%s: the store is closed", base->url) == FLOE_OK;
    else if (ok && s->queued >= QUEUED_MAX)
        ok = floe_error_set(&op->err, FLOE_EUNAVAILABLE, "%s: more than %u requests wait", base->url,
                            QUEUED_MAX) == FLOE_OK;
    if (ok) {
        op->queued = true;
        s->queued++;
        floe_list_push_back(&s->queue[op->lane], &op->link);
        pthread_cond_signal(&s->work[op->lane]);
    }
    pthread_mutex_unlock(&s->lock);
    if (!ok) {
        floe_loop_post(base->loop, &op->task);
        return;
    }
    r->sent = 1; /* corrected when the deadline finds it still waiting */
    atomic_fetch_add_explicit(&s->base.stats.bytes_out, op->body.n, memory_order_relaxed);
    floe_timer_start(base->loop, &op->timer, op->timeout_us);
}

static void file_cancel(struct floe_store *base, struct floe_store_req *r)
{
    struct file_op *op = r->driver;
    (void)base;
    if (!op)
        return;
    FLOE_ASSERT(op->req == r);
    op->req = NULL;
    r->driver = NULL;
    floe_timer_stop(&op->timer);
    if (unqueue(op))
        op_free(op);
}

static void file_close(struct floe_store *base, void (*closed)(void *), void *user)
{
    struct file_store *s = FLOE_CONTAINER(base, struct file_store, base);
    FLOE_ASSERT(!s->closing);
    s->closing = true;
    s->closed = closed;
    s->closed_user = user;
    FLOE_LIST_EACH_SAFE(it, &s->open)
    {
        struct file_op *op = FLOE_LIST_ENTRY(it, struct file_op, all);
        if (op->req)
            op->req->driver = NULL;
        op->req = NULL;
        floe_timer_stop(&op->timer);
        if (unqueue(op))
            op_free(op);
    }
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    for (int i = 0; i < FILE_LANES; i++)
        pthread_cond_broadcast(&s->work[i]);
    pthread_mutex_unlock(&s->lock);
}

static const struct floe_store_ops ops = {
    .name = "file", .submit = file_submit, .cancel = file_cancel, .close = file_close};

/* ---- create ---- */

static enum floe_err make_dirs(const char *dir, struct floe_error *err)
{
    char p[4096];
    size_t n = strlen(dir);
    if (n == 0 || n >= sizeof p)
        return floe_error_set(err, FLOE_EINVAL, "the file store's directory \"%.100s\" is not a usable path",
                              dir);
    memcpy(p, dir, n + 1);
    for (char *c = p + 1;; c++) {
        if (*c != '/' && *c != '\0')
            continue;
        char end = *c;
        *c = '\0';
        if (mkdir(p, 0755) != 0 && errno != EEXIST && errno != EISDIR)
            return floe_error_set(err, errno == ENOSPC ? FLOE_ENOSPACE : FLOE_EDENIED,
                                  "the file store's directory %s cannot be made: %s", p, strerror(errno));
        *c = end;
        if (end == '\0')
            return FLOE_OK;
    }
}

static enum floe_err open_root(struct file_store *s, const char *dir, bool sync, struct floe_error *err)
{
    enum floe_err rc = FLOE_OK;
    static const char *const subs[] = {"objects", "tmp", "locks"};
    if (make_dirs(dir, err) != FLOE_OK)
        return err ? err->code : FLOE_EIO;
    s->root_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->root_fd < 0)
        return floe_error_set(err, FLOE_EDENIED, "the file store's directory %s cannot be opened: %s", dir,
                              strerror(errno));
    for (size_t i = 0; i < FLOE_COUNTOF(subs); i++) {
        if (mkdirat(s->root_fd, subs[i], 0755) != 0 && errno != EEXIST)
            return floe_error_set(err, errno == ENOSPC ? FLOE_ENOSPACE : FLOE_EDENIED,
                                  "%s: cannot make the folder %s: %s", s->base.url, subs[i], strerror(errno));
    }
    int up = sync ? openat(s->root_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool bad = sync && (up < 0 || fsync(s->root_fd) != 0 || fsync(up) != 0);
    if (bad)
        rc = floe_error_set(err, FLOE_EIO, "%s: fsync of the folder: %s", s->base.url, strerror(errno));
    if (up >= 0)
        close(up);
    return rc == FLOE_OK ? file_tmp_open(s, err) : rc;
}

static bool start_thread(struct file_store *s, enum file_lane lane)
{
    struct thread_arg *arg = malloc(sizeof *arg);
    if (!arg)
        return false;
    *arg = (struct thread_arg){s, lane};
    s->running++;
    if (pthread_create(&s->threads[s->thread_count], NULL, thread_main, arg) == 0) {
        s->thread_count++;
        return true;
    }
    s->running--;
    free(arg);
    return false;
}

/* Starts as many threads as it can; false, and none is left, unless each lane has one. Signals are for the
 * main thread. */
static bool start_threads(struct file_store *s, uint32_t data_threads)
{
    sigset_t all, before;
    bool lane[FILE_LANES] = {false};
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_mutex_lock(&s->lock);
    s->running = 1; /* ours: no thread is the last one to leave before all are started */
    for (uint32_t i = 0; i < data_threads; i++)
        lane[FILE_DATA] |= start_thread(s, FILE_DATA);
    for (uint32_t i = 0; i < CONTROL_THREADS; i++)
        lane[FILE_CONTROL] |= start_thread(s, FILE_CONTROL);
    bool ok = lane[FILE_DATA] && lane[FILE_CONTROL];
    if (ok)
        s->running--;
    s->stopping = !ok;
    for (int i = 0; i < FILE_LANES; i++)
        pthread_cond_broadcast(&s->work[i]);
    pthread_mutex_unlock(&s->lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (uint32_t i = 0; !ok && i < s->thread_count; i++)
        pthread_join(s->threads[i], NULL);
    return ok;
}

static bool sync_init(struct file_store *s, bool with_fsync)
{
    int conds = 0;
    if (pthread_mutex_init(&s->lock, NULL) != 0)
        return false;
    while (conds < FILE_LANES && pthread_cond_init(&s->work[conds], NULL) == 0)
        floe_list_init(&s->queue[conds++]);
    if (conds == FILE_LANES && file_dirs_init(&s->dirs, s->root_fd, with_fsync))
        return true;
    while (conds > 0)
        pthread_cond_destroy(&s->work[--conds]);
    pthread_mutex_destroy(&s->lock);
    return false;
}

enum floe_err floe_store_file_create(struct floe_store **out, struct floe_loop *loop,
                                     const struct floe_store_file_config *cfg, struct floe_error *err)
{
    uint32_t threads = FLOE_MIN(cfg->threads ? cfg->threads : THREADS_DEFAULT, THREADS_MAX);
    struct file_store *s = calloc(1, sizeof *s);
    struct floe_error why = {0};
    enum floe_err rc;
    if (!s)
        return floe_error_set(err, FLOE_ENOMEM, "no memory for the file store");
    s->base = (struct floe_store){.ops = &ops, .loop = loop, .free_puts = true};
    snprintf(s->base.url, sizeof s->base.url, "file://%s", cfg->dir);
    s->root_fd = s->tmp_lock_fd = -1;
    s->exit_task = (struct floe_task){.fn = on_exit_task, .user = s};
    floe_list_init(&s->open);
    s->threads = calloc(threads + CONTROL_THREADS, sizeof *s->threads);
    if (!s->threads)
        rc = floe_error_set(&why, FLOE_ENOMEM, "no memory for the file store");
    else
        rc = open_root(s, cfg->dir, cfg->fsync, &why);
    if (rc == FLOE_OK && !sync_init(s, cfg->fsync))
        rc = floe_error_set(&why, FLOE_ENOMEM, "%s: no memory for locks", s->base.url);
    if (rc != FLOE_OK) {
        store_free(s);
        return floe_error_set(err, rc, "%s", why.msg);
    }
    if (!start_threads(s, threads)) {
        sync_fini(s);
        store_free(s);
        return floe_error_set(err, FLOE_ENOMEM, "file://%s: cannot start its threads", cfg->dir);
    }
    *out = &s->base;
    return FLOE_OK;
}
