/* What world.c and node.c share. */
#ifndef FLOE_OS_SIM_INT_H
#define FLOE_OS_SIM_INT_H

#include <floe/os/sim.h>

#define SIM_PPM 1000000u
#define SIM_START_US 1000000u
#define SIM_WALL_START_MS 1790000000000 /* some day in 2026 */

struct owned {
    void *p;
    void (*destroy)(void *p);
};
/* A scheduled event; its key lies in the heap, so that sifting touches nothing else. */
struct slot {
    uint64_t at, due, order;
    struct floe_sim_event *e;
};
struct floe_sim {
    struct floe_rng rng;
    uint64_t now, order;
    struct floe_sim_node *running;
    struct slot *heap; /* heap[0] is unused */
    size_t n, cap;
    struct owned *own;
    size_t own_n, own_cap;
    void (*story)(void *user, const char *line);
    void *story_user;
    uint64_t hash;
    bool mute;
};

struct floe_sim_node {
    struct floe_loop loop; /* first: the loop is the node */
    struct floe_sim *sim;
    char name[32];
    bool dead, clock_stands;
    uint64_t stalled_until;
    /* local clock = local0 + (world - world0) * rate / 10^6 */
    uint64_t local0, world0, rate;
    int64_t wall_offset_ms;
    struct floe_timer **timers; /* heap by (due_us, order); timers[0] is unused */
    size_t n, cap;
    uint64_t timer_order;
    struct floe_task *tasks, **tasks_tail;
    struct floe_sim_event wake_timer, wake_task;
    struct floe_list drivers;
    uint64_t calls, kill_at;
    bool kill_sent;
};

void *floe_sim_alloc(size_t n); /* zeroed, never null */
void *floe_sim_realloc(void *p, size_t n);
/* True when the node is stalled: then the event was put off to the end of the stall. */
bool floe_sim_node_defer(struct floe_sim_node *n, struct floe_sim_event *e);
void floe_sim_node_free(void *p);

#endif
