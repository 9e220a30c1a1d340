/* The mutations of <floe/base/mutants.def>: is each found? */
#include "sim_run.h"

#include <assert.h>
#include <limits.h>
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
#include <floe/base/mutant.h>

#define SEEDS_MAX 1000

static const struct {
    const char *name, *what;
    int invariant;
} mutants[] = {
    {"NONE", "", 0},
#define MUTANT(name, invariant, what) {#name, what, invariant},
#include <floe/base/mutants.def>
#undef MUTANT
};

void simmutants_list(FILE *out)
{
    for (int i = 1; i < FLOE_MUTANT_COUNT; i++)
        fprintf(out, "%-24s breaks %2d: %s\n", mutants[i].name, mutants[i].invariant, mutants[i].what);
}
static int find(const char *name)
{
    for (int i = 1; i < FLOE_MUTANT_COUNT; i++)
        if (strcmp(mutants[i].name, name) == 0)
            return i;
    return 0;
}
bool simmutant_choose(const char *name)
{
#ifdef FLOE_MUTANTS
    floe_mutant_chosen = (enum floe_mutant)find(name);
    return floe_mutant_chosen != FLOE_MUTANT_NONE;
#else
    (void)name, (void)find;
    return false;
#endif
}

struct pin {
    uint64_t seed; /* 0: not looked for yet */
    uint32_t faults, theme;
    bool known, rare;
};
/* What came of one mutation, as its worker tells. */
struct outcome {
    int mutant;
    bool found, clean;
    uint64_t seed, played;
    double seconds;
    char first[256];
};
static_assert(sizeof(struct outcome) <= PIPE_BUF, "an outcome is written in one piece");

/* What the workers share: which mutation is the next, and the seeds that are known to be clean without one.
 */
struct shared {
    _Atomic int next;
    _Atomic uint32_t clean_n;
    struct clean {
        struct simrun_config how;
        _Atomic bool there;
    } clean[FLOE_MUTANT_COUNT]; /* one a mutation at most */
};

/* FAULTS, or theme=NAME. */
static bool read_how(const char *text, struct pin *p)
{
    return strncmp(text, "theme=", 6) == 0 ? simrun_theme(text + 6, &p->theme)
                                           : simrun_faults(text, &p->faults);
}
/* "NAME FIRST-SEED [FAULTS|theme=THEME]", "NAME ~FIRST-SEED …" (rare), '#' begins a comment. False when
 * a line is neither, or a mutation has none. */
static bool read_pins(const char *path, struct pin pin[FLOE_MUTANT_COUNT])
{
    char line[512], name[128], seed[32], faults[128];
    bool ok = true;
    FILE *f = fopen(path, "r");
    if (!f) {
        fprintf(stderr, "cannot read %s\n", path);
        return false;
    }
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "#\n")] = 0;
        int n = sscanf(line, "%127s %31s %127s", name, seed, faults);
        if (n <= 0)
            continue;
        int i = find(name);
        bool rare = n >= 2 && *seed == '~';
        struct pin p = {.faults = SIM_F_ALL, .known = true, .rare = rare};
        if (n >= 2)
            p.seed = strtoull(seed + rare, NULL, 10);
        if (n < 2 || !i || !p.seed || (n == 3 && !read_how(faults, &p))) {
            fprintf(stderr, "%s: \"%s\" is no \"NAME SEED [FAULTS|theme=THEME]\" of a mutation\n", path,
                    line);
            ok = false;
            continue;
        }
        pin[i] = p;
    }
    fclose(f);
    for (int i = 1; i < FLOE_MUTANT_COUNT; i++)
        if (!pin[i].known) {
            fprintf(stderr, "%s: no seed for %s: floe-sim-mutants --mutant %s --seeds 1..1000 finds one\n",
                    path, mutants[i].name, mutants[i].name);
            ok = false;
        }
    return ok;
}
/* Several mutations are found by the same seed: it is played once without any. */
static bool is_clean(struct shared *sh, const struct simrun_config *c)
{
    struct simrun_result r;
    for (uint32_t i = 0; i < atomic_load(&sh->clean_n); i++) {
        const struct simrun_config *k = &sh->clean[i].how;
        if (atomic_load(&sh->clean[i].there) && k->from == c->from && k->sim.groups == c->sim.groups &&
            k->sim.faults == c->sim.faults && k->sim.theme == c->sim.theme)
            return true;
    }
    simmutant_choose("NONE");
    simrun(c, &r);
    if (r.bad)
        return false;
    struct clean *now = &sh->clean[atomic_fetch_add(&sh->clean_n, 1)];
    now->how = *c;
    atomic_store(&now->there, true);
    return true;
}
static void play(const struct simrun_config *cfg, int i, const struct pin *pin, struct shared *sh,
                 struct outcome *out)
{
    struct simrun_result r;
    struct simrun_config c = *cfg;
    memset(out, 0, sizeof *out);
    out->mutant = i;
    c.quiet = c.stop_at_first = true;
    c.progress = false;
    c.jobs = 1; /* assertions are findings too */
    c.sim.groups = strncmp(mutants[i].name, "GROUP_", 6) == 0;
    c.sim.faults = pin->faults;
    c.sim.theme = pin->theme;
    c.from = pin->seed;
    c.to = pin->seed + SEEDS_MAX - 1;
    simmutant_choose(mutants[i].name);
    simrun(&c, &r);
    out->seconds = r.seconds;
    out->played = r.played;
    out->found = r.bad > 0;
    out->seed = r.first_bad;
    snprintf(out->first, sizeof out->first, "%.255s", r.sum.first);
    if (!r.bad)
        return;
    c.from = c.to = r.first_bad;
    c.seconds = 0;
    c.quiet = false;
    out->clean = is_clean(sh, &c);
}
static void work(const struct simrun_config *cfg, const struct pin *pins, struct shared *sh, int to)
{
    struct outcome o;
    int i;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while ((i = atomic_fetch_add(&sh->next, 1)) < FLOE_MUTANT_COUNT) {
        if (!pins[i].seed)
            continue;
        play(cfg, i, &pins[i], sh, &o);
        if (write(to, &o, sizeof o) != sizeof o)
            break;
    }
    fflush(NULL);
    _exit(0);
}
static bool judge(const struct outcome *o, const struct pin *pin)
{
    const char *name = mutants[o->mutant].name;
    if (!o->found)
        printf("%-24s NOT FOUND by the %llu seeds from %llu on, %.1f s\n", name,
               (unsigned long long)o->played, (unsigned long long)pin->seed, o->seconds);
    else
        printf("%-24s seed %llu%s, %.1f s: %s%s\n", name, (unsigned long long)o->seed,
               o->seed == pin->seed ? "" : " (not the one in the file: --repin)", o->seconds, o->first,
               o->clean ? "" : "; THE SAME SEED FAILS WITHOUT THE MUTATION");
    fflush(stdout);
    return o->found && o->clean;
}
/* Puts the seeds that found something into the file. */
static bool write_pins(const char *path, const uint64_t seed[FLOE_MUTANT_COUNT])
{
    char line[512], name[128], was[32], *text = NULL;
    size_t n = 0;
    FILE *f = fopen(path, "r"), *out = open_memstream(&text, &n);
    if (!f || !out)
        return false;
    while (fgets(line, sizeof line, f)) {
        int rest = 0;
        int i = sscanf(line, "%127s %31s%n", name, was, &rest) == 2 ? find(name) : 0;
        if (i && seed[i])
            fprintf(out, "%-24s %s%llu%s", name, *was == '~' ? "~" : "", (unsigned long long)seed[i],
                    line + rest);
        else
            fputs(line, out);
    }
    fclose(f);
    fclose(out);
    f = fopen(path, "w");
    bool ok = f && fwrite(text, 1, n, f) == n;
    ok = f && fclose(f) == 0 && ok;
    free(text);
    return ok;
}
int simmutants_check(const struct simrun_config *cfg, const char *path, bool rare, bool repin)
{
    struct pin pin[FLOE_MUTANT_COUNT] = {{0}};
    uint64_t seed[FLOE_MUTANT_COUNT] = {0}, wanted = 0, told = 0;
    int pipes[2];
    bool ok = read_pins(path, pin);
    struct outcome o;
    struct timespec began, now;
    if (!ok || pipe(pipes))
        return 1;
    for (int i = 1; i < FLOE_MUTANT_COUNT; i++) {
        pin[i].seed = pin[i].rare == rare ? pin[i].seed : 0;
        wanted += pin[i].seed != 0;
    }
    timespec_get(&began, TIME_UTC);
    struct shared *sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    FLOE_ASSERT(sh != MAP_FAILED);
    atomic_store(&sh->next, 1);
    for (uint32_t i = 0; i < (cfg->jobs ? cfg->jobs : 1); i++) {
        fflush(NULL);
        pid_t pid = fork();
        FLOE_ASSERT(pid >= 0);
        if (pid == 0)
            work(cfg, pin, sh, pipes[1]);
    }
    close(pipes[1]); /* the workers' ends are left: reading ends with the last of them */
    while (read(pipes[0], &o, sizeof o) == sizeof o) {
        ok = judge(&o, &pin[o.mutant]) && ok;
        seed[o.mutant] = o.found ? o.seed : 0;
        told++;
    }
    close(pipes[0]);
    while (wait(NULL) > 0)
        ;
    timespec_get(&now, TIME_UTC);
    printf("%llu mutations of %llu played in %ld s\n", (unsigned long long)told, (unsigned long long)wanted,
           (long)(now.tv_sec - began.tv_sec));
    munmap(sh, sizeof *sh);
    if (repin && !write_pins(path, seed)) {
        fprintf(stderr, "cannot write %s\n", path);
        return 1;
    }
    return ok && told == wanted ? 0 : 1;
}
