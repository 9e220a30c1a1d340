#include "sim_int.h"

#include <stdio.h>
#include <stdlib.h>

static struct floe_sim_node *node_of(struct floe_loop *l)
{
    return FLOE_CONTAINER(l, struct floe_sim_node, loop);
}

/* Clock. Whole and rest apart, so that a rate times a long run does not overflow. */
static uint64_t local_now(const struct floe_sim_node *n)
{
    if (n->clock_stands)
        return n->local0;
    uint64_t d = n->sim->now - n->world0;
    return n->local0 + d / SIM_PPM * n->rate + d % SIM_PPM * n->rate / SIM_PPM;
}
/* The first world time at which the local clock shows at least `local`. */
static uint64_t world_at(const struct floe_sim_node *n, uint64_t local)
{
    if (local <= n->local0)
        return n->world0;
    uint64_t d = local - n->local0;
    return n->world0 + d / n->rate * SIM_PPM + (d % n->rate * SIM_PPM + n->rate - 1) / n->rate;
}
static void rebase(struct floe_sim_node *n)
{
    n->local0 = local_now(n);
    n->world0 = n->sim->now;
}

/* Timers: a heap a node, and one world event for the earliest. */
static bool sooner(const struct floe_timer *a, const struct floe_timer *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}
static void timer_place(struct floe_sim_node *n, size_t i, struct floe_timer *t)
{
    n->timers[i] = t;
    t->heap_at = i;
}
static void timer_sift(struct floe_sim_node *n, size_t i, struct floe_timer *t)
{
    while (i > 1 && sooner(t, n->timers[i / 2])) {
        timer_place(n, i, n->timers[i / 2]);
        i /= 2;
    }
    for (size_t c; (c = i * 2) <= n->n; i = c) {
        if (c < n->n && sooner(n->timers[c + 1], n->timers[c]))
            c++;
        if (!sooner(n->timers[c], t))
            break;
        timer_place(n, i, n->timers[c]);
    }
    timer_place(n, i, t);
}
static void timer_remove(struct floe_sim_node *n, struct floe_timer *t)
{
    size_t i = t->heap_at;
    FLOE_ASSERT(i >= 1 && i <= n->n && n->timers[i] == t);
    t->loop = NULL;
    struct floe_timer *last = n->timers[n->n--];
    if (last != t)
        timer_sift(n, i, last);
}
static void arm(struct floe_sim_node *n)
{
    if (n->n == 0 || n->clock_stands)
        floe_sim_unschedule(n->sim, &n->wake_timer);
    else
        floe_sim_at(n->sim, &n->wake_timer, world_at(n, n->timers[1]->due_us));
}
/* One timer a turn: others that are due wait for the next event, so that node and world interleave. */
static void on_wake_timer(struct floe_sim_event *e)
{
    struct floe_sim_node *n = e->node;
    if (n->n && n->timers[1]->due_us <= local_now(n)) {
        struct floe_timer *t = n->timers[1];
        timer_remove(n, t);
        t->fn(t);
    }
    if (!n->dead)
        arm(n);
}
static void on_wake_task(struct floe_sim_event *e)
{
    struct floe_sim_node *n = e->node;
    struct floe_task *t = n->tasks;
    if (!t)
        return;
    n->tasks = t->next;
    if (!n->tasks)
        n->tasks_tail = &n->tasks;
    else
        floe_sim_after(n->sim, &n->wake_task, 0);
    t->next = NULL;
    t->fn(t);
}

static uint64_t op_now(struct floe_loop *l)
{
    return local_now(node_of(l));
}
static int64_t op_wall(struct floe_loop *l)
{
    struct floe_sim_node *n = node_of(l);
    return SIM_WALL_START_MS + (int64_t)(n->sim->now / 1000) + n->wall_offset_ms;
}
static void op_timer_start(struct floe_loop *l, struct floe_timer *t, uint64_t delay_us)
{
    struct floe_sim_node *n = node_of(l);
    FLOE_ASSERT(t->fn);
    if (n->dead)
        return;
    if (t->loop)
        timer_remove(n, t);
    if (n->n + 1 >= n->cap) {
        n->cap = n->cap ? n->cap * 2 : 64;
        n->timers = floe_sim_realloc(n->timers, n->cap * sizeof *n->timers);
    }
    t->loop = l;
    t->due_us = local_now(n) + FLOE_MIN(delay_us, UINT64_C(1) << 50);
    t->order = ++n->timer_order;
    n->n++;
    timer_sift(n, n->n, t);
    arm(n);
}
static void op_timer_stop(struct floe_loop *l, struct floe_timer *t)
{
    struct floe_sim_node *n = node_of(l);
    timer_remove(n, t);
    arm(n);
}
static void op_post(struct floe_loop *l, struct floe_task *t)
{
    struct floe_sim_node *n = node_of(l);
    if (n->dead)
        return;
    t->next = NULL;
    *n->tasks_tail = t;
    n->tasks_tail = &t->next;
    if (!n->wake_task.heap_at)
        floe_sim_after(n->sim, &n->wake_task, 0);
}
static const struct floe_loop_ops loop_ops = {op_now, op_wall, op_timer_start, op_timer_stop, op_post};

struct floe_sim_node *floe_sim_node_create(struct floe_sim *sim, const char *name)
{
    struct floe_sim_node *n = floe_sim_alloc(sizeof *n);
    n->loop.ops = &loop_ops;
    n->sim = sim;
    snprintf(n->name, sizeof n->name, "%s", name);
    floe_rng_init(&n->loop.rng, floe_rng_u64(&sim->rng));
    /* No two machines booted at the same time. */
    n->local0 = floe_rng_below(&sim->rng, UINT64_C(3600) * 1000000) + 1;
    n->world0 = sim->now;
    n->rate = SIM_PPM;
    n->tasks_tail = &n->tasks;
    n->wake_timer = (struct floe_sim_event){.fn = on_wake_timer, .node = n};
    n->wake_task = (struct floe_sim_event){.fn = on_wake_task, .node = n};
    floe_list_init(&n->drivers);
    floe_sim_own(sim, n, floe_sim_node_free);
    return n;
}
void floe_sim_node_free(void *p)
{
    struct floe_sim_node *n = p;
    floe_sim_node_kill(n);
    free(n->timers);
    free(n);
}
struct floe_loop *floe_sim_node_loop(struct floe_sim_node *n)
{
    return &n->loop;
}
struct floe_sim *floe_sim_node_world(struct floe_sim_node *n)
{
    return n->sim;
}
const char *floe_sim_node_name(const struct floe_sim_node *n)
{
    return n->name;
}
bool floe_sim_node_dead(const struct floe_sim_node *n)
{
    return n->dead;
}
void floe_sim_node_kill(struct floe_sim_node *n)
{
    if (n->dead)
        return;
    n->dead = true;
    floe_sim_note(n->sim, n, "killed");
    for (size_t i = 1; i <= n->n; i++)
        n->timers[i]->loop = NULL;
    n->n = 0;
    n->tasks = NULL;
    n->tasks_tail = &n->tasks;
    floe_sim_unschedule(n->sim, &n->wake_timer);
    floe_sim_unschedule(n->sim, &n->wake_task);
    FLOE_LIST_EACH_SAFE(it, &n->drivers)
    {
        struct floe_sim_driver *d = FLOE_LIST_ENTRY(it, struct floe_sim_driver, link);
        d->killed(d);
    }
}
void floe_sim_node_kill_at(struct floe_sim_node *n, uint64_t k, bool sent)
{
    n->kill_at = k ? n->calls + k : 0;
    n->kill_sent = sent;
}
uint64_t floe_sim_node_calls(const struct floe_sim_node *n)
{
    return n->calls;
}
bool floe_sim_node_call(struct floe_sim_node *n)
{
    if (n->dead)
        return false;
    if (++n->calls != n->kill_at)
        return true;
    floe_sim_node_kill(n);
    return n->kill_sent;
}
void floe_sim_node_register(struct floe_sim_node *n, struct floe_sim_driver *d)
{
    FLOE_ASSERT(!n->dead);
    floe_list_push_back(&n->drivers, &d->link);
}

void floe_sim_node_stall(struct floe_sim_node *n, uint64_t us, bool clock_stops)
{
    if (n->dead)
        return;
    floe_sim_note(n->sim, n, "stalls for %llu us%s", (unsigned long long)us,
                  clock_stops ? ", clock stands" : "");
    n->stalled_until = FLOE_MAX(n->stalled_until, n->sim->now + us);
    if (clock_stops && !n->clock_stands) {
        rebase(n);
        n->clock_stands = true;
    }
    /* Something must run at the end to start the clock again; a task event does. */
    if (n->clock_stands)
        floe_sim_at(n->sim, &n->wake_task, n->stalled_until);
}
bool floe_sim_node_stalled(const struct floe_sim_node *n)
{
    return n->sim->now < n->stalled_until;
}
bool floe_sim_node_defer(struct floe_sim_node *n, struct floe_sim_event *e)
{
    if (floe_sim_node_stalled(n)) {
        e->at = n->stalled_until;
        return true;
    }
    if (n->clock_stands) {
        n->world0 = n->sim->now;
        n->clock_stands = false;
        arm(n);
    }
    return false;
}
void floe_sim_node_clock(struct floe_sim_node *n, uint64_t rate_ppm, int64_t wall_offset_ms)
{
    FLOE_ASSERT(rate_ppm > 0 && !n->clock_stands);
    rebase(n);
    n->rate = rate_ppm;
    n->wall_offset_ms = wall_offset_ms;
    if (!n->dead)
        arm(n);
}
