/* The libuv driver of the loop interface.
 *
 * Timers lie in a binary heap ordered by (due, order of arming). One timerfd on CLOCK_BOOTTIME wakes the loop
 * for the earliest: it has microseconds and counts suspend, which libuv's own timers do not. It is set at
 * most once a turn, just before the loop sleeps. Posted tasks go through a lock-free stack, which the loop
 * takes as a whole and reverses, and one uv_async. They run for TASKS_US at a time: what is due comes to its
 * turn between, however many there are.
 */
#include <floe/base/assert.h>
#include <floe/os/loop.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define TASKS_US 20000u

struct floe_loop_uv {
    struct floe_loop base; /* first: a floe_loop is turned back into its driver */
    uv_loop_t uv;
    uv_async_t async;
    uv_poll_t poll;
    uv_prepare_t prepare;
    uv_check_t check;
    int fd;
    uint64_t armed_us; /* what the timerfd is set to, 0 when it is not */
    struct floe_timer **heap;
    size_t n_timers, cap_timers;
    uint64_t next_order;
    _Atomic(struct floe_task *) posted; /* newest first */
    struct floe_task *first, *last;     /* taken from there, in order, and not run yet */
    atomic_bool stop;
    unsigned open_handles;
};

static struct floe_loop_uv *driver(struct floe_loop *l)
{
    return FLOE_CONTAINER(l, struct floe_loop_uv, base);
}

static uint64_t now_us(struct floe_loop *l)
{
    (void)l;
    struct timespec t;
    int rc = clock_gettime(CLOCK_BOOTTIME, &t);
    FLOE_ASSERT(rc == 0);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int64_t wall_ms(struct floe_loop *l)
{
    (void)l;
    struct timespec t;
    int rc = clock_gettime(CLOCK_REALTIME, &t);
    FLOE_ASSERT(rc == 0);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Timers. heap[i] knows its place, so that stopping one needs no search. */

static bool before(const struct floe_timer *a, const struct floe_timer *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void place(struct floe_loop_uv *u, size_t i, struct floe_timer *t)
{
    u->heap[i] = t;
    t->heap_at = i;
}

static void sift_up(struct floe_loop_uv *u, size_t i)
{
    struct floe_timer *t = u->heap[i];
    for (; i > 0 && before(t, u->heap[(i - 1) / 2]); i = (i - 1) / 2)
        place(u, i, u->heap[(i - 1) / 2]);
    place(u, i, t);
}

static void sift_down(struct floe_loop_uv *u, size_t i)
{
    struct floe_timer *t = u->heap[i];
    for (size_t kid; (kid = 2 * i + 1) < u->n_timers; i = kid) {
        if (kid + 1 < u->n_timers && before(u->heap[kid + 1], u->heap[kid]))
            kid++;
        if (!before(u->heap[kid], t))
            break;
        place(u, i, u->heap[kid]);
    }
    place(u, i, t);
}

static void timer_stop(struct floe_loop *l, struct floe_timer *t)
{
    struct floe_loop_uv *u = driver(l);
    size_t i = t->heap_at;
    FLOE_ASSERT(t->loop == l && i < u->n_timers && u->heap[i] == t);
    struct floe_timer *last = u->heap[--u->n_timers];
    t->loop = NULL;
    if (last == t)
        return;
    place(u, i, last);
    sift_up(u, i);
    sift_down(u, last->heap_at);
}

static void timer_start(struct floe_loop *l, struct floe_timer *t, uint64_t delay_us)
{
    struct floe_loop_uv *u = driver(l);
    FLOE_ASSERT(t->fn != NULL);
    if (t->loop != NULL)
        timer_stop(t->loop, t);
    if (u->n_timers == u->cap_timers) {
        size_t cap = u->cap_timers != 0 ? u->cap_timers * 2 : 64;
        struct floe_timer **heap = realloc(u->heap, cap * sizeof(*heap));
        FLOE_ASSERT(heap != NULL); /* a few words: a process that cannot have them cannot go on */
        u->heap = heap;
        u->cap_timers = cap;
    }
    uint64_t now = now_us(l);
    t->due_us = delay_us > UINT64_MAX / 2 - now ? UINT64_MAX / 2 : now + delay_us;
    t->order = u->next_order++;
    t->loop = l;
    place(u, u->n_timers++, t);
    sift_up(u, t->heap_at);
}

/* Runs what is due now, but nothing that a call-back arms: that waits for the next turn. */
static void run_due(struct floe_loop_uv *u)
{
    if (u->n_timers == 0)
        return;
    uint64_t now = now_us(&u->base), limit = u->next_order;
    while (u->n_timers > 0 && !atomic_load_explicit(&u->stop, memory_order_relaxed)) {
        struct floe_timer *t = u->heap[0];
        if (t->due_us > now || t->order >= limit)
            break;
        timer_stop(&u->base, t);
        t->fn(t);
    }
}

static void on_check(uv_check_t *h)
{
    run_due(h->data);
}

/* Sets the timerfd for the earliest timer; a time in the past wakes the loop at once. */
static void on_prepare(uv_prepare_t *h)
{
    struct floe_loop_uv *u = h->data;
    uint64_t due = u->n_timers > 0 ? FLOE_MAX(u->heap[0]->due_us, (uint64_t)1) : 0;
    if (due == u->armed_us)
        return;
    struct itimerspec at = {
        .it_value = {.tv_sec = (time_t)(due / 1000000), .tv_nsec = (long)(due % 1000000) * 1000}};
    int rc = timerfd_settime(u->fd, TFD_TIMER_ABSTIME, &at, NULL);
    FLOE_ASSERT(rc == 0);
    u->armed_us = due;
}

static void on_timerfd(uv_poll_t *h, int status, int events)
{
    (void)status, (void)events;
    struct floe_loop_uv *u = h->data;
    uint64_t count;
    ssize_t n = read(u->fd, &count, sizeof count);
    FLOE_ASSERT(n == (ssize_t)sizeof count || (n < 0 && (errno == EAGAIN || errno == EINTR)));
    u->armed_us = 0; /* on_check, in this same turn, runs what is due */
}

/* Posted tasks. */

static void post(struct floe_loop *l, struct floe_task *t)
{
    struct floe_loop_uv *u = driver(l);
    FLOE_ASSERT(t->fn != NULL);
    struct floe_task *head = atomic_load_explicit(&u->posted, memory_order_relaxed);
    do
        t->next = head;
    while (!atomic_compare_exchange_weak_explicit(&u->posted, &head, t, memory_order_release,
                                                  memory_order_relaxed));
    /* Whoever found the stack empty wakes the loop, for all that join before it is taken. */
    if (head == NULL)
        (void)uv_async_send(&u->async);
}

static void take_posted(struct floe_loop_uv *u)
{
    struct floe_task *newest = atomic_exchange_explicit(&u->posted, NULL, memory_order_acquire);
    struct floe_task *last = newest, *first = NULL;
    while (newest != NULL) {
        struct floe_task *next = newest->next;
        newest->next = first;
        first = newest;
        newest = next;
    }
    if (first == NULL)
        return;
    if (u->first == NULL)
        u->first = first;
    else
        u->last->next = first;
    u->last = last;
}

static void on_async(uv_async_t *h)
{
    struct floe_loop_uv *u = h->data;
    take_posted(u);
    uint64_t until = u->first != NULL ? now_us(&u->base) + TASKS_US : 0;
    while (u->first != NULL) {
        struct floe_task *t = u->first;
        u->first = t->next; /* before the call: the task may be posted again or freed by it */
        t->fn(t);
        if (u->first != NULL && now_us(&u->base) >= until && !atomic_load(&u->stop)) {
            (void)uv_async_send(&u->async);
            break;
        }
    }
    if (atomic_load(&u->stop))
        uv_stop(&u->uv);
}

static const struct floe_loop_ops ops = {
    .now_us = now_us,
    .wall_ms = wall_ms,
    .timer_start = timer_start,
    .timer_stop = timer_stop,
    .post = post,
};

/* Life. */

static void on_closed(uv_handle_t *h)
{
    ((struct floe_loop_uv *)h->data)->open_handles--;
}

static void close_handle(struct floe_loop_uv *u, void *handle)
{
    ((uv_handle_t *)handle)->data = u;
    u->open_handles++;
    uv_close(handle, on_closed);
}

enum floe_err floe_loop_uv_create(struct floe_loop_uv **out, struct floe_error *err)
{
    struct floe_loop_uv *u = calloc(1, sizeof *u);
    if (u == NULL)
        return floe_error_set(err, FLOE_ENOMEM, "out of memory for an event loop");
    const char *what = "timerfd_create";
    int rc;
    u->base.ops = &ops;
    floe_rng_init_os(&u->base.rng);
    u->fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (u->fd < 0) {
        rc = uv_translate_sys_error(errno);
        goto out_free;
    }
    what = "uv_loop_init";
    if ((rc = uv_loop_init(&u->uv)) != 0)
        goto out_fd;
    what = "uv_async_init";
    if ((rc = uv_async_init(&u->uv, &u->async, on_async)) != 0)
        goto out_loop;
    what = "uv_poll_init";
    if ((rc = uv_poll_init(&u->uv, &u->poll, u->fd)) != 0)
        goto out_async;
    (void)uv_prepare_init(&u->uv, &u->prepare); /* these cannot fail */
    (void)uv_check_init(&u->uv, &u->check);
    u->async.data = u->poll.data = u->prepare.data = u->check.data = u;
    (void)uv_poll_start(&u->poll, UV_READABLE, on_timerfd);
    (void)uv_prepare_start(&u->prepare, on_prepare);
    (void)uv_check_start(&u->check, on_check);
    *out = u;
    return FLOE_OK;

out_async:
    close_handle(u, &u->async);
    (void)uv_run(&u->uv, UV_RUN_NOWAIT);
out_loop:
    (void)uv_loop_close(&u->uv);
out_fd:
    (void)close(u->fd);
out_free:
    free(u);
    return floe_error_set(err, FLOE_EIO, "cannot make an event loop: %s: %s", what, uv_strerror(rc));
}

struct floe_loop *floe_loop_uv_base(struct floe_loop_uv *l)
{
    return &l->base;
}

void *floe_loop_uv_raw(struct floe_loop_uv *l)
{
    return &l->uv;
}

void floe_loop_uv_run(struct floe_loop_uv *l)
{
    while (!atomic_load(&l->stop))
        (void)uv_run(&l->uv, UV_RUN_DEFAULT);
    atomic_store(&l->stop, false);
}

void floe_loop_uv_stop(struct floe_loop_uv *l)
{
    atomic_store(&l->stop, true);
    (void)uv_async_send(&l->async);
}

void floe_loop_uv_destroy(struct floe_loop_uv **l)
{
    struct floe_loop_uv *u = *l;
    if (u == NULL)
        return;
    *l = NULL;
    close_handle(u, &u->async);
    close_handle(u, &u->poll);
    close_handle(u, &u->prepare);
    close_handle(u, &u->check);
    while (u->open_handles > 0)
        (void)uv_run(&u->uv, UV_RUN_NOWAIT);
    for (size_t i = 0; i < u->n_timers; i++)
        u->heap[i]->loop = NULL; /* a timer that outlives its loop is stopped */
    int rc = uv_loop_close(&u->uv);
    FLOE_ASSERT(rc == 0); /* else somebody left a handle of his on this loop */
    (void)close(u->fd);
    free(u->heap);
    free(u);
}
