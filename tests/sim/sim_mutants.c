/* The mutations of <floe/base/mutants.def>: is each found? */
#include "sim_run.h"

#include <stdlib.h>
#include <string.h>

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

/* "NAME FIRST-SEED" or "NAME - WHY NOT YET", '#' begins a comment. False when a line is neither, or a
 * mutation has none. */
static bool read_pins(const char *path, uint64_t pin[FLOE_MUTANT_COUNT])
{
    char line[512], name[128], seed[32];
    bool ok = true, known[FLOE_MUTANT_COUNT] = {false};
    FILE *f = fopen(path, "r");
    if (!f) {
        fprintf(stderr, "cannot read %s\n", path);
        return false;
    }
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "#\n")] = 0;
        int n = sscanf(line, "%127s %31s", name, seed);
        if (n <= 0)
            continue;
        int i = find(name);
        bool later = n == 2 && strcmp(seed, "-") == 0;
        if (n != 2 || !i || (!later && (pin[i] = strtoull(seed, NULL, 10)) == 0)) {
            fprintf(stderr, "%s: \"%s\" is no \"NAME SEED\" of a mutation\n", path, line);
            ok = false;
            continue;
        }
        known[i] = true;
        if (later)
            printf("not looked for: %s\n", line);
    }
    fclose(f);
    for (int i = 1; i < FLOE_MUTANT_COUNT; i++)
        if (!known[i]) {
            fprintf(stderr, "%s: no seed for %s: floe-sim-mutants --mutant %s --seeds 1..1000 finds one\n",
                    path, mutants[i].name, mutants[i].name);
            ok = false;
        }
    return ok;
}
int simmutants_check(const struct simrun_config *cfg, const char *path)
{
    uint64_t pin[FLOE_MUTANT_COUNT] = {0}, found[FLOE_MUTANT_COUNT];
    uint64_t found_n = 0;
    struct simrun_result r;
    struct simrun_config c = *cfg;
    bool ok = read_pins(path, pin);
    double seconds = 0;
    c.quiet = c.stop_at_first = true;
    if (!c.jobs)
        c.jobs = 1;
    for (int i = 1; ok && i < FLOE_MUTANT_COUNT; i++) {
        if (!pin[i])
            continue;
        simmutant_choose(mutants[i].name);
        c.sim.groups = strncmp(mutants[i].name, "GROUP_", 6) == 0;
        c.from = pin[i];
        c.to = pin[i] + SEEDS_MAX - 1;
        simrun(&c, &r);
        seconds += r.seconds;
        if (!r.bad) {
            printf("%-24s NOT FOUND by seeds %llu..%llu\n", mutants[i].name, (unsigned long long)c.from,
                   (unsigned long long)c.to);
            ok = false;
            continue;
        }
        printf("%-24s seed %llu%s, %.1f s: %s\n", mutants[i].name, (unsigned long long)r.first_bad,
               r.first_bad == pin[i] ? "" : " (not the one in the file)", r.seconds, r.sum.first);
        found[found_n++] = r.first_bad;
    }
    simmutant_choose("NONE");
    c.quiet = c.stop_at_first = c.sim.groups = false;
    c.list = found;
    c.from = 0;
    c.to = found_n - 1;
    if (found_n) {
        simrun(&c, &r);
        printf("%llu mutations found in %.1f s; without one %llu of those seeds broke something\n",
               (unsigned long long)found_n, seconds, (unsigned long long)r.bad);
        ok = ok && !r.bad;
    }
    return ok ? 0 : 1;
}
