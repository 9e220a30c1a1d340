/* The simulator's world: virtual time, one event queue, and nodes whose loops run on it. Deterministic by
 * seed.
 *
 * What it is: the `sim` driver of floe/os/loop.h for any number of nodes in one thread, and what the other
 * sim drivers (store, tier, peers) schedule their work with. What it is not: a place for faults of those
 * drivers; each has its own.
 *
 *  1. One thread. Nothing runs but inside floe_sim_step and its kin; time moves only there.
 *  2. Events run by (time, time first due, order of scheduling); so a seed replays a run exactly.
 *  3. Everything that runs *on a node* (its timers, its tasks, answers of its drivers) waits while the node
 * is stalled and never runs once it is dead. Everything else (a PUT that lands in the bucket) goes on.
 *  4. A killed node's timers are disarmed, its posted tasks forgotten, and its drivers drop their call-backs,
 * at once, even from inside one of its own calls. Calls it makes afterwards do nothing. Its objects may then
 * be destroyed in any order. A node never comes back: a restarted process is another node.
 *  5. The node object and its drivers live until the world is destroyed.
 */
#ifndef FLOE_OS_SIM_H
#define FLOE_OS_SIM_H

#include <floe/base/list.h>
#include <floe/os/loop.h>

struct floe_sim;
struct floe_sim_node;

/* Memory running out aborts: the simulator is for tests. */
struct floe_sim *floe_sim_create(uint64_t seed);
void floe_sim_destroy(struct floe_sim **sim);
uint64_t floe_sim_now_us(const struct floe_sim *sim); /* true time; starts at 1 s */
struct floe_rng *floe_sim_rng(struct floe_sim *sim);
/* The node on which something runs right now; null: none. */
struct floe_sim_node *floe_sim_running(const struct floe_sim *sim);
/* Runs the next event; false when there is none. */
bool floe_sim_step(struct floe_sim *sim);
/* Runs everything due until now + us, then sets the clock there. */
void floe_sim_run_for(struct floe_sim *sim, uint64_t us);
/* Runs until stop(user) is true (asked before the first event and after each): true. False, and the clock
 * there, once `us` have passed. */
bool floe_sim_run_until(struct floe_sim *sim, bool (*stop)(void *user), void *user, uint64_t us);

/* The story: one line for everything that happens, hashed always (equal seeds give equal hashes), handed to
 * the hook where there is one. */
void floe_sim_story(struct floe_sim *sim, void (*fn)(void *user, const char *line), void *user);
void floe_sim_note(struct floe_sim *sim, const struct floe_sim_node *node, const char *fmt, ...)
    FLOE_PRINTF(3, 4);
uint64_t floe_sim_hash(const struct floe_sim *sim);
/* Nobody compares stories: lines are made only for a hook, and the hash stays. Saves a fifth of the time. */
void floe_sim_mute(struct floe_sim *sim);

/* Nodes. The name is copied; it is for the story. */
struct floe_sim_node *floe_sim_node_create(struct floe_sim *sim, const char *name);
struct floe_loop *floe_sim_node_loop(struct floe_sim_node *n);
struct floe_sim *floe_sim_node_world(struct floe_sim_node *n);
const char *floe_sim_node_name(const struct floe_sim_node *n);
bool floe_sim_node_dead(const struct floe_sim_node *n);
void floe_sim_node_kill(struct floe_sim_node *n);
/* Kills the node inside its k-th driver call from now (1 is the next): the call itself goes out when `sent`,
 * else not. 0 forgets the order. */
void floe_sim_node_kill_at(struct floe_sim_node *n, uint64_t k, bool sent);
uint64_t floe_sim_node_calls(const struct floe_sim_node *n); /* driver calls so far */
/* Runs nothing on the node for `us`. With `clock_stops` its clock stands still too (a virtual machine that
 * was paused or restored); without, it has gone on (SIGSTOP, suspend). */
void floe_sim_node_stall(struct floe_sim_node *n, uint64_t us, bool clock_stops);
bool floe_sim_node_stalled(const struct floe_sim_node *n);
/* How fast the node's clock runs, in parts per million of true time (1,000,000 is true). Not while stalled
 * with a standing clock. */
void floe_sim_node_clock(struct floe_sim_node *n, uint64_t rate_ppm, int64_t wall_offset_ms);

/* For drivers. An event is embedded in its owner's struct; `node` null runs whatever happens to nodes. */
struct floe_sim_event {
    void (*fn)(struct floe_sim_event *e);
    struct floe_sim_node *node;
    uint64_t at, due, order;
    size_t heap_at; /* 1-based while scheduled, else 0 */
};
void floe_sim_at(struct floe_sim *sim, struct floe_sim_event *e, uint64_t at_us);
void floe_sim_after(struct floe_sim *sim, struct floe_sim_event *e, uint64_t delay_us);
void floe_sim_unschedule(struct floe_sim *sim, struct floe_sim_event *e);
/* What a driver does when its node dies. Called in order of registration. */
struct floe_sim_driver {
    struct floe_list link;
    void (*killed)(struct floe_sim_driver *d);
};
void floe_sim_node_register(struct floe_sim_node *n, struct floe_sim_driver *d);
/* Every driver call begins with this; false: the node is dead, the call does nothing. The node may die in it
 * with `sent`: then the call goes out and its answer is dropped (the driver checks floe_sim_node_dead). */
bool floe_sim_node_call(struct floe_sim_node *n);
/* Frees the driver's front end when the world goes. */
void floe_sim_own(struct floe_sim *sim, void *p, void (*destroy)(void *p));

#endif
