/* floe-sim: plays seeds of the simulated cluster. Exit code 1 when one of them broke an invariant. */
#include "sim_run.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "floe-sim: plays a whole cluster under virtual time, one run a seed\n"
    "\n"
    "  --seed N          one seed\n"
    "  --seeds A..B      seeds A to B\n"
    "  --fresh N         N seeds that the time of day gives; the range is printed\n"
    "  --file PATH       the seeds that the file lists, one a line, with \"groups\" behind\n"
    "                    where groups commit, \"theme=NAME\" for a theme; the rest of a line is a comment\n"
    "  --story           print everything that happens\n"
    "  --nodes N         1 to 8 (default: by seed)\n"
    "  --run-ms N        simulated time under faults (default 40000)\n"
    "  --faults LIST     of kill,wipe,stall,store,net,end,call,disk,snapshot, or none (default: all)\n"
    "  --theme NAME      deaf, lapse, flip, table, return, taken, told, raced, mixed,\n"
    "                    convert (default: by seed)\n"
    "  --break PROMISE   a store that breaks one: create-overwrites, replace-ignored, get-stale, "
    "list-misses-fresh,\n"
    "                    put-vanishes, body-corrupted, delete-resurrects; exit code 0 when that was noticed\n"
    "  --groups          consumer groups commit offsets as well\n"
    "  --twice           play each seed twice and compare the stories\n"
    "  --seconds N       start no new seed after so long\n"
    "  --jobs N          worker processes (default: none; a crash or a hang then ends all)\n"
    "  --progress        a line every five seconds (default: where stderr is a terminal)\n"
#ifdef FLOE_MUTANTS
    "  --mutants         list the mutations\n"
    "  --mutant NAME     play with one; exit code 0 when a seed found it, 1 when none did\n"
    "  --check PATH      play every mutation from the seed on that the file names, and those seeds without\n"
    "  --rare            with --check: those that few seeds find, not the others\n"
    "  --repin           with --check: write the seeds that found them into the file\n"
#endif
    ;

struct options {
    struct simrun_config run;
    const char *mutant, *check, *breaks;
    bool rare, repin;
    struct simrun_seed list[4096];
};
static bool read_list(struct options *o, const char *path)
{
    char line[1024];
    FILE *f = fopen(path, "r");
    if (!f) {
        fprintf(stderr, "cannot read %s\n", path);
        return false;
    }
    o->run.from = o->run.to = 0;
    while (fgets(line, sizeof line, f) && o->run.to < sizeof o->list / sizeof *o->list) {
        char *end, word[32];
        struct simrun_seed s = {.seed = strtoull(line, &end, 10)};
        if (end == line)
            continue;
        if (sscanf(end, "%31s", word) == 1) {
            s.groups = strcmp(word, "groups") == 0;
            if (strncmp(word, "theme=", 6) == 0 && !simrun_theme(word + 6, &s.theme)) {
                fprintf(stderr, "%s: there is no %s\n", path, word);
                fclose(f);
                return false;
            }
        }
        o->list[o->run.to++] = s;
    }
    fclose(f);
    o->run.list = o->list;
    return o->run.to-- > 0;
}
static void fresh(struct options *o, uint64_t n)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    o->run.from = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
    o->run.to = o->run.from + n - 1;
    printf("fresh: --seeds %llu..%llu\n", (unsigned long long)o->run.from, (unsigned long long)o->run.to);
    fflush(stdout);
}
static bool number(const char *v, uint64_t min, uint64_t max, uint64_t *out)
{
    char *end;
    *out = strtoull(v, &end, 10);
    return end != v && *end == 0 && *out >= min && *out <= max;
}
static bool range(const char *v, uint64_t *from, uint64_t *to)
{
    char *end;
    *from = strtoull(v, &end, 10);
    return end != v && strncmp(end, "..", 2) == 0 && number(end + 2, *from, UINT64_MAX - 1, to);
}
/* An option with a value. */
static bool parse_value(struct options *o, const char *a, const char *v)
{
    struct simrun_config *r = &o->run;
    uint64_t n = 0;
    bool ok = true;
    if (strcmp(a, "--seeds") == 0)
        return range(v, &r->from, &r->to);
    if (strcmp(a, "--faults") == 0)
        return simrun_faults(v, &r->sim.faults);
    if (strcmp(a, "--file") == 0)
        return read_list(o, v);
    if (strcmp(a, "--theme") == 0)
        ok = simrun_theme(v, &r->sim.theme);
    else if (strcmp(a, "--break") == 0)
        ok = simrun_break(v, &r->sim.breaks) && (o->breaks = v);
    else if (strcmp(a, "--mutant") == 0)
        o->mutant = v;
    else if (strcmp(a, "--check") == 0)
        o->check = v;
    else if (strcmp(a, "--seed") == 0 && (ok = number(v, 0, UINT64_MAX - 1, &n)))
        r->from = r->to = n;
    else if (strcmp(a, "--fresh") == 0 && (ok = number(v, 1, 1000000, &n)))
        fresh(o, n);
    else if (strcmp(a, "--nodes") == 0 && (ok = number(v, 1, SIM_NODES_MAX, &n)))
        r->sim.nodes = (uint32_t)n;
    else if (strcmp(a, "--run-ms") == 0 && (ok = number(v, 1, 100000000, &n)))
        r->sim.run_ms = (uint32_t)n;
    else if (strcmp(a, "--seconds") == 0 && (ok = number(v, 1, 10000000, &n)))
        r->seconds = (uint32_t)n;
    else if (strcmp(a, "--jobs") == 0 && (ok = number(v, 1, 64, &n)))
        r->jobs = (uint32_t)n;
    else
        ok = false;
    return ok;
}
static bool parse(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        if (strcmp(a, "--story") == 0)
            o->run.sim.story = stdout;
        else if (strcmp(a, "--twice") == 0)
            o->run.twice = true;
        else if (strcmp(a, "--groups") == 0)
            o->run.sim.groups = true;
        else if (strcmp(a, "--progress") == 0)
            o->run.progress = true;
        else if (strcmp(a, "--rare") == 0)
            o->rare = true;
        else if (strcmp(a, "--repin") == 0)
            o->repin = true;
        else if (i + 1 >= argc || !parse_value(o, a, argv[++i]))
            return false;
    }
    return true;
}
/* Something is wrong on purpose: is it found? */
static int find(struct options *o, const char *what)
{
    struct simrun_result r;
    o->run.stop_at_first = true;
    o->run.quiet = !o->run.sim.story;
    if (!o->run.jobs && o->run.quiet)
        o->run.jobs = 1; /* assertions are findings too */
    simrun(&o->run, &r);
    if (o->breaks)
        printf("%s: the start-up probe %s\n", what, r.sum.refused ? "refuses it" : "does not see it");
    if (r.bad)
        printf("%s: found by seed %llu, %.1f s: %s\n", what, (unsigned long long)r.first_bad, r.seconds,
               r.sum.first);
    else
        printf("%s: NOT FOUND by %llu seeds, %.1f s\n", what, (unsigned long long)r.played, r.seconds);
    return r.bad ? 0 : 1;
}
static int mutant(struct options *o)
{
    if (!simmutant_choose(o->mutant)) {
        fprintf(stderr, "%s is no mutation of this program: floe-sim-mutants --mutants lists them\n",
                o->mutant);
        return 2;
    }
    return find(o, o->mutant);
}
int main(int argc, char **argv)
{
    static struct options o = {.run = {.sim = {.faults = SIM_F_ALL}, .from = 1, .to = 1}};
    struct simrun_result r;
    const struct simcluster_result *s = &r.sum;
    o.run.progress = isatty(STDERR_FILENO);
    if (argc == 2 && strcmp(argv[1], "--mutants") == 0) {
        simmutants_list(stdout);
        return 0;
    }
    if (!parse(&o, argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    if (o.check)
        return simmutants_check(&o.run, o.check, o.rare, o.repin);
    if (o.mutant)
        return mutant(&o);
    if (o.breaks)
        return find(&o, o.breaks);
    simrun(&o.run, &r);
    printf("%llu seeds, %llu with violations, %.1f s: %llu records acknowledged, %llu stored, %llu read "
           "(%llu answers by who does not lead), "
           "%llu kills, "
           "%llu adoptions, %llu table calls, %llu segments, %llu removed as garbage (%llu topics), slowest "
           "recovery %.3f s\n",
           (unsigned long long)r.played, (unsigned long long)r.bad, r.seconds, (unsigned long long)s->acked,
           (unsigned long long)s->records, (unsigned long long)s->read, (unsigned long long)s->view_reads,
           (unsigned long long)s->kills, (unsigned long long)s->takeovers, (unsigned long long)s->table_calls,
           (unsigned long long)s->segments, (unsigned long long)s->removed, (unsigned long long)s->topics,
           (double)s->writable_us / 1e6);
    if (s->converted)
        printf("%llu conversions of groups\n", (unsigned long long)s->converted);
    if (o.run.sim.groups)
        printf("%llu commits of groups acknowledged, %llu heartbeats, %llu shares of classic groups\n",
               (unsigned long long)s->commits, (unsigned long long)s->beats, (unsigned long long)s->shares);
    if (r.bad)
        printf("the first failing seed: %llu (%s)\n", (unsigned long long)r.first_bad, s->first);
    return r.bad != 0;
}
