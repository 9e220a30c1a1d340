/* The event loop a module runs on, as an interface: libuv in production, virtual time in the simulator.
 *
 *  1. Everything but floe_loop_post is called on the loop's own thread only.
 *  2. Call-backs are never run from inside the call that arms them.
 *  3. floe_loop_now_us counts suspend (CLOCK_BOOTTIME): leases are measured with it. The wall clock is for
 * timestamps that users see, never for decisions about life.
 *  4. Timers and tasks are embedded in the caller's structs and owned by the caller; stop a timer before
 * freeing it.
 */
#ifndef FLOE_OS_LOOP_H
#define FLOE_OS_LOOP_H

#include <floe/base/err.h>
#include <floe/base/list.h>
#include <floe/base/rng.h>

struct floe_loop;

struct floe_timer {
    void (*fn)(struct floe_timer *t);
    void *user;
    struct floe_loop *loop; /* set while armed, else null */
    uint64_t due_us;
    uint64_t order; /* driver's own: ties are run in the order they were armed */
    size_t heap_at; /* driver's own */
};
struct floe_task {
    void (*fn)(struct floe_task *t);
    void *user;
    struct floe_task *next; /* driver's own */
};

struct floe_loop_ops {
    uint64_t (*now_us)(struct floe_loop *l);
    int64_t (*wall_ms)(struct floe_loop *l);
    void (*timer_start)(struct floe_loop *l, struct floe_timer *t, uint64_t delay_us);
    void (*timer_stop)(struct floe_loop *l, struct floe_timer *t);
    void (*post)(struct floe_loop *l, struct floe_task *t);
};
struct floe_loop {
    const struct floe_loop_ops *ops;
    struct floe_rng rng; /* the loop's randomness; seeded by the driver */
};

static inline uint64_t floe_loop_now_us(struct floe_loop *l)
{
    return l->ops->now_us(l);
}
/* Milliseconds since 1970. */
static inline int64_t floe_loop_wall_ms(struct floe_loop *l)
{
    return l->ops->wall_ms(l);
}
static inline void floe_timer_init(struct floe_timer *t, void (*fn)(struct floe_timer *), void *user)
{
    *t = (struct floe_timer){.fn = fn, .user = user};
}
/* Arms the timer, or moves it when it is armed already. Delay 0 runs after what is ready now. */
static inline void floe_timer_start(struct floe_loop *l, struct floe_timer *t, uint64_t delay_us)
{
    l->ops->timer_start(l, t, delay_us);
}
static inline void floe_timer_stop(struct floe_timer *t)
{
    if (t->loop)
        t->loop->ops->timer_stop(t->loop, t);
}
static inline bool floe_timer_armed(const struct floe_timer *t)
{
    return t->loop != NULL;
}
/* Runs t->fn on the loop, later, once. The only call that is allowed from other threads. */
static inline void floe_loop_post(struct floe_loop *l, struct floe_task *t)
{
    l->ops->post(l, t);
}

/* The libuv driver. */
struct floe_loop_uv;
enum floe_err floe_loop_uv_create(struct floe_loop_uv **out, struct floe_error *err) FLOE_MUST_USE;
struct floe_loop *floe_loop_uv_base(struct floe_loop_uv *l);
void *floe_loop_uv_raw(struct floe_loop_uv *l); /* the uv_loop_t, for sockets and signals */
/* Runs until floe_loop_uv_stop. */
void floe_loop_uv_run(struct floe_loop_uv *l);
void floe_loop_uv_stop(struct floe_loop_uv *l); /* any thread */
void floe_loop_uv_destroy(struct floe_loop_uv **l);

#endif
