#include "sim_run.h"

#include <assert.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <floe/base/assert.h>
#include <floe/base/bytes.h>
#include <floe/sim.h>

#define JOBS_MAX 64
#define SEED_SECONDS_MAX 300 /* of one seed: it hangs */

struct worker {
    pid_t pid;
    _Atomic uint64_t at; /* index of the seed that it plays, plus one; 0: none */
};
/* In memory that the workers share. */
struct shared {
    _Atomic uint64_t next; /* index of the next seed */
    _Atomic bool stop;
    struct worker worker[JOBS_MAX];
};
struct report {
    uint64_t seed;
    bool groups;
    struct simcluster_result r;
};
static_assert(sizeof(struct report) <= PIPE_BUF, "a report is written in one piece");
struct run {
    const struct simrun_config *cfg;
    struct simrun_result *out;
    struct shared *shared;
    struct timespec began;
    int pipe[2];
    double said;
    uint32_t me;   /* which worker this process is */
    uint64_t seed; /* that it plays */
};

static double elapsed(const struct run *u)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)(now.tv_sec - u->began.tv_sec) + (double)(now.tv_nsec - u->began.tv_nsec) / 1e9;
}
static uint64_t seed_of(const struct run *u, uint64_t i)
{
    return u->cfg->list ? u->cfg->list[i].seed : i;
}
static void enough(void *user, const struct simcluster_result *r);
static void play(struct run *u, uint64_t i, struct report *out)
{
    struct simcluster_config c = u->cfg->sim;
    struct simcluster_result again;
    memset(out, 0, sizeof *out);
    out->seed = c.seed = u->seed = seed_of(u, i);
    out->groups = c.groups = c.groups || (u->cfg->list && u->cfg->list[i].groups);
    if (u->cfg->list && u->cfg->list[i].theme)
        c.theme = u->cfg->list[i].theme;
    if (u->cfg->stop_at_first && u->cfg->quiet && u->cfg->jobs) {
        c.violated = enough;
        c.user = u;
    }
    c.quiet = u->cfg->quiet;
    c.hash = u->cfg->twice;
    simcluster_run(&c, &out->r);
    if (!u->cfg->twice)
        return;
    c.quiet = true;
    simcluster_run(&c, &again);
    if (again.hash != out->r.hash) {
        out->r.violations++;
        snprintf(out->r.first, sizeof out->r.first, "two runs differ");
    }
}
static bool take(struct run *u, uint64_t *i)
{
    if (atomic_load(&u->shared->stop) || (u->cfg->seconds && elapsed(u) >= u->cfg->seconds))
        return false;
    *i = atomic_fetch_add(&u->shared->next, 1);
    return *i <= u->cfg->to;
}
static void note(struct run *u, const struct report *p)
{
    struct simrun_result *o = u->out;
    const struct simcluster_result *r = &p->r;
    struct simcluster_result *s = &o->sum;
    o->played++;
    s->violations += r->violations;
    s->acked += r->acked;
    s->read += r->read;
    s->view_reads += r->view_reads;
    s->records += r->records;
    s->kills += r->kills;
    s->takeovers += r->takeovers;
    s->segments += r->segments;
    s->topics += r->topics;
    s->calls += r->calls;
    s->commits += r->commits;
    s->beats += r->beats;
    s->shares += r->shares;
    s->converted += r->converted;
    s->table_calls += r->table_calls;
    s->refused = s->refused || r->refused;
    s->removed += r->removed;
    s->writable_us = FLOE_MAX(s->writable_us, r->writable_us);
    if (r->violations) {
        o->bad++;
        if (o->bad == 1 || p->seed < o->first_bad) {
            o->first_bad = p->seed;
            memcpy(s->first, r->first, sizeof s->first);
        }
        if (!u->cfg->quiet)
            fprintf(stderr,
                    "seed %llu: %u violations, the first: %s; again: floe-sim%s --seed %llu --story\n",
                    (unsigned long long)p->seed, r->violations, r->first, p->groups ? " --groups" : "",
                    (unsigned long long)p->seed);
        if (u->cfg->stop_at_first)
            atomic_store(&u->shared->stop, true);
    }
    double now = elapsed(u);
    if (u->cfg->progress && now - u->said >= 5) {
        u->said = now;
        fprintf(stderr, "%llu of %llu seeds, %llu with violations, %.0f s\n", (unsigned long long)o->played,
                (unsigned long long)(u->cfg->to - u->cfg->from + 1), (unsigned long long)o->bad, now);
    }
}

/* ---- workers ---- */

/* One violation is all that is wanted: the rest of that run is not played. */
static void enough(void *user, const struct simcluster_result *r)
{
    struct run *u = user;
    struct report p = {.seed = u->seed, .groups = u->cfg->sim.groups, .r = *r};
    atomic_store(&u->shared->worker[u->me].at, 0);
    atomic_store(&u->shared->stop, true);
    _exit(write(u->pipe[1], &p, sizeof p) != sizeof p);
}

static void work(struct run *u, uint32_t me)
{
    uint64_t i;
    struct report p;
    u->me = me;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (take(u, &i)) {
        atomic_store(&u->shared->worker[me].at, i + 1);
        alarm(SEED_SECONDS_MAX);
        play(u, i, &p);
        alarm(0);
        atomic_store(&u->shared->worker[me].at, 0);
        if (write(u->pipe[1], &p, sizeof p) != sizeof p)
            break;
    }
    fflush(NULL);
    _exit(0);
}
static void start(struct run *u, uint32_t me)
{
    fflush(NULL);
    pid_t pid = fork();
    FLOE_ASSERT(pid >= 0);
    if (pid == 0) {
        if (u->cfg->quiet && !freopen("/dev/null", "w", stderr)) /* assertions too */
            _exit(1);
        work(u, me);
    }
    u->shared->worker[me].pid = pid;
}
/* A report that is there within 50 ms. Pipes take one whole: it is shorter than PIPE_BUF. */
static bool next_report(struct run *u, struct report *p)
{
    struct pollfd f = {.fd = u->pipe[0], .events = POLLIN};
    if (poll(&f, 1, 50) != 1)
        return false;
    return read(u->pipe[0], p, sizeof *p) == sizeof *p;
}
/* One that died in a seed: that seed is bad, and another worker goes on. */
static void died(struct run *u, uint32_t me, int status)
{
    struct worker *w = &u->shared->worker[me];
    uint64_t at = atomic_exchange(&w->at, 0);
    w->pid = 0;
    if (at == 0)
        return;
    struct report p = {.seed = seed_of(u, at - 1), .r = {.violations = 1}};
    p.groups = u->cfg->sim.groups || (u->cfg->list && u->cfg->list[at - 1].groups);
    int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    snprintf(p.r.first, sizeof p.r.first, "the process %s (signal %d)",
             sig == SIGALRM ? "hangs" : "tripped an assertion or crashed", sig);
    note(u, &p);
    start(u, me);
}
static uint32_t reap(struct run *u)
{
    uint32_t alive = 0;
    for (uint32_t i = 0; i < u->cfg->jobs; i++) {
        int status;
        pid_t pid = u->shared->worker[i].pid;
        if (pid && waitpid(pid, &status, WNOHANG) == pid)
            died(u, i, status);
        alive += u->shared->worker[i].pid != 0;
    }
    return alive;
}
static void run_jobs(struct run *u)
{
    struct report p;
    uint32_t alive = u->cfg->jobs;
    FLOE_ASSERT(pipe(u->pipe) == 0);
    for (uint32_t i = 0; i < u->cfg->jobs; i++)
        start(u, i);
    while (alive) {
        alive = reap(u);
        while (next_report(u, &p))
            note(u, &p);
    }
    close(u->pipe[0]);
    close(u->pipe[1]);
}

static const struct {
    const char *name;
    uint32_t bit;
} fault_names[] = {
    {"kill", SIM_F_KILL},         {"wipe", SIM_F_WIPE}, {"stall", SIM_F_STALL},    {"store", SIM_F_STORE},
    {"net", SIM_F_NET},           {"end", SIM_F_END},   {"call", SIM_F_KILL_CALL}, {"disk", SIM_F_DISK},
    {"snapshot", SIM_F_SNAPSHOT}, {"none", 0},
};
bool simrun_faults(const char *list, uint32_t *out)
{
    *out = 0;
    while (*list) {
        size_t n = strcspn(list, ","), i = 0;
        for (; i < sizeof fault_names / sizeof *fault_names; i++) {
            if (strlen(fault_names[i].name) == n && memcmp(fault_names[i].name, list, n) == 0)
                break;
        }
        if (i == sizeof fault_names / sizeof *fault_names)
            return false;
        *out |= fault_names[i].bit;
        list += n + (list[n] == ',');
    }
    return true;
}
bool simrun_theme(const char *name, uint32_t *out)
{
    static const char *const names[] = {"none",  "deaf", "lapse", "flip",  "table",  "return",
                                        "taken", "told", "raced", "mixed", "convert"};
    for (uint32_t i = 1; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0) {
            *out = i;
            return true;
        }
    return false;
}
bool simrun_break(const char *name, int *out)
{
    for (int i = 1; i < FLOE_SIM_BREAK_COUNT; i++)
        if (strcmp(floe_sim_break_name((enum floe_sim_break)i), name) == 0) {
            *out = i;
            return true;
        }
    return false;
}
void simrun(const struct simrun_config *cfg, struct simrun_result *out)
{
    struct run u = {.cfg = cfg, .out = out};
    memset(out, 0, sizeof *out);
    FLOE_ASSERT(cfg->jobs <= JOBS_MAX);
    timespec_get(&u.began, TIME_UTC);
    u.shared = mmap(NULL, sizeof *u.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    FLOE_ASSERT(u.shared != MAP_FAILED);
    atomic_store(&u.shared->next, cfg->from);
    uint64_t i;
    if (cfg->jobs) {
        run_jobs(&u);
    } else {
        struct report p;
        while (take(&u, &i)) {
            play(&u, i, &p);
            note(&u, &p);
        }
    }
    munmap(u.shared, sizeof *u.shared);
    out->seconds = elapsed(&u);
}
