#include "sim_int.h"

#include <stdio.h>
#include <stdlib.h>

#include <floe/base/crc32c.h>

void *floe_sim_alloc(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    FLOE_ASSERT(p);
    return p;
}
void *floe_sim_realloc(void *p, size_t n)
{
    p = realloc(p, n);
    FLOE_ASSERT(p);
    return p;
}

struct floe_sim *floe_sim_create(uint64_t seed)
{
    struct floe_sim *sim = floe_sim_alloc(sizeof *sim);
    floe_rng_init(&sim->rng, seed);
    sim->now = SIM_START_US;
    return sim;
}
void floe_sim_destroy(struct floe_sim **sim)
{
    struct floe_sim *s = *sim;
    if (!s)
        return;
    *sim = NULL;
    /* Last made, first gone: drivers are made after their nodes. */
    while (s->own_n) {
        struct owned o = s->own[--s->own_n];
        o.destroy(o.p);
    }
    free(s->own);
    free(s->heap);
    free(s);
}
void floe_sim_own(struct floe_sim *sim, void *p, void (*destroy)(void *p))
{
    if (sim->own_n == sim->own_cap) {
        sim->own_cap = sim->own_cap ? sim->own_cap * 2 : 16;
        sim->own = floe_sim_realloc(sim->own, sim->own_cap * sizeof *sim->own);
    }
    sim->own[sim->own_n++] = (struct owned){p, destroy};
}
uint64_t floe_sim_now_us(const struct floe_sim *sim)
{
    return sim->now;
}
struct floe_sim_node *floe_sim_running(const struct floe_sim *sim)
{
    return sim->running;
}
struct floe_rng *floe_sim_rng(struct floe_sim *sim)
{
    return &sim->rng;
}

/* The event heap. */
static bool before(const struct slot *a, const struct slot *b)
{
    if (a->at != b->at)
        return a->at < b->at;
    if (a->due != b->due)
        return a->due < b->due;
    return a->order < b->order;
}
static void place(struct floe_sim *sim, size_t i, const struct slot *s)
{
    sim->heap[i] = *s;
    s->e->heap_at = i;
}
static void sift(struct floe_sim *sim, size_t i, struct slot s)
{
    while (i > 1 && before(&s, &sim->heap[i / 2])) {
        place(sim, i, &sim->heap[i / 2]);
        i /= 2;
    }
    for (size_t c; (c = i * 2) <= sim->n; i = c) {
        if (c < sim->n && before(&sim->heap[c + 1], &sim->heap[c]))
            c++;
        if (!before(&sim->heap[c], &s))
            break;
        place(sim, i, &sim->heap[c]);
    }
    place(sim, i, &s);
}
void floe_sim_unschedule(struct floe_sim *sim, struct floe_sim_event *e)
{
    size_t i = e->heap_at;
    if (!i)
        return;
    FLOE_ASSERT(i <= sim->n && sim->heap[i].e == e);
    e->heap_at = 0;
    struct slot last = sim->heap[sim->n--];
    if (last.e != e)
        sift(sim, i, last);
}
static void insert(struct floe_sim *sim, struct floe_sim_event *e)
{
    if (sim->n + 1 >= sim->cap) {
        sim->cap = sim->cap ? sim->cap * 2 : 256;
        sim->heap = floe_sim_realloc(sim->heap, sim->cap * sizeof *sim->heap);
    }
    sim->n++;
    sift(sim, sim->n, (struct slot){e->at, e->due, e->order, e});
}
void floe_sim_at(struct floe_sim *sim, struct floe_sim_event *e, uint64_t at_us)
{
    floe_sim_unschedule(sim, e);
    e->at = e->due = FLOE_MAX(at_us, sim->now);
    e->order = ++sim->order;
    insert(sim, e);
}
void floe_sim_after(struct floe_sim *sim, struct floe_sim_event *e, uint64_t delay_us)
{
    floe_sim_at(sim, e, sim->now + delay_us);
}

/* Runs the next event that is due by `until`; false when there is none. */
static bool step(struct floe_sim *sim, uint64_t until)
{
    while (sim->n && sim->heap[1].at <= until) {
        struct floe_sim_event *e = sim->heap[1].e;
        floe_sim_unschedule(sim, e);
        FLOE_ASSERT(e->at >= sim->now);
        sim->now = e->at;
        if (e->node && floe_sim_node_dead(e->node))
            continue;
        if (e->node && floe_sim_node_defer(e->node, e)) {
            insert(sim, e);
            continue;
        }
        sim->running = e->node;
        e->fn(e);
        sim->running = NULL;
        return true;
    }
    return false;
}
bool floe_sim_step(struct floe_sim *sim)
{
    return step(sim, UINT64_MAX);
}
void floe_sim_run_for(struct floe_sim *sim, uint64_t us)
{
    uint64_t until = sim->now + us;
    while (step(sim, until))
        ;
    sim->now = until;
}
bool floe_sim_run_until(struct floe_sim *sim, bool (*stop)(void *user), void *user, uint64_t us)
{
    uint64_t until = sim->now + us;
    while (!stop(user)) {
        if (!step(sim, until)) {
            sim->now = until;
            return false;
        }
    }
    return true;
}

void floe_sim_story(struct floe_sim *sim, void (*fn)(void *user, const char *line), void *user)
{
    sim->story = fn;
    sim->story_user = user;
}
void floe_sim_note(struct floe_sim *sim, const struct floe_sim_node *node, const char *fmt, ...)
{
    char line[1024];
    if (sim->mute && !sim->story)
        return;
    int n = snprintf(line, sizeof line, "%3llu.%06llu %-8s ", (unsigned long long)(sim->now / 1000000),
                     (unsigned long long)(sim->now % 1000000), node ? floe_sim_node_name(node) : "-");
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line + n, sizeof line - (size_t)n, fmt, ap);
    va_end(ap);
    sim->hash = floe_hash64(line, strlen(line), sim->hash);
    if (sim->story)
        sim->story(sim->story_user, line);
}
void floe_sim_mute(struct floe_sim *sim)
{
    sim->mute = true;
}
uint64_t floe_sim_hash(const struct floe_sim *sim)
{
    return sim->hash;
}
