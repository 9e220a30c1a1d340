/* floe-sim: plays seeds of the simulated cluster. Exit code 1 when one of them broke an invariant. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "simcluster.h"

static const char usage[] =
    "floe-sim: plays a whole cluster under virtual time, one run a seed\n"
    "\n"
    "  --seed N          one seed\n"
    "  --seeds A..B      seeds A to B\n"
    "  --story           print everything that happens\n"
    "  --nodes N         2 to 4 (default: by seed)\n"
    "  --run-ms N        simulated time under faults (default 40000)\n"
    "  --faults LIST     of kill,wipe,stall,store,net,end,call,disk,snapshot, or none (default: all)\n"
    "  --twice           play each seed twice and compare the stories\n"
    "  --seconds N       start no new seed after so long\n";

static const struct {
    const char *name;
    uint32_t bit;
} fault_names[] = {
    {"kill", SIM_F_KILL},         {"wipe", SIM_F_WIPE}, {"stall", SIM_F_STALL},    {"store", SIM_F_STORE},
    {"net", SIM_F_NET},           {"end", SIM_F_END},   {"call", SIM_F_KILL_CALL}, {"disk", SIM_F_DISK},
    {"snapshot", SIM_F_SNAPSHOT}, {"none", 0},
};
static bool parse_faults(const char *list, uint32_t *out)
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
struct options {
    struct simcluster_config cfg;
    uint64_t from, to;
    bool twice;
    long seconds;
};
static bool parse(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        char *end = NULL;
        if (strcmp(a, "--story") == 0) {
            o->cfg.story = stdout;
            continue;
        }
        if (strcmp(a, "--twice") == 0) {
            o->twice = true;
            continue;
        }
        if (!v)
            return false;
        i++;
        if (strcmp(a, "--seed") == 0) {
            o->from = o->to = strtoull(v, &end, 10);
        } else if (strcmp(a, "--seeds") == 0) {
            o->from = strtoull(v, &end, 10);
            if (strncmp(end, "..", 2) != 0)
                return false;
            o->to = strtoull(end + 2, &end, 10);
        } else if (strcmp(a, "--nodes") == 0) {
            o->cfg.nodes = (uint32_t)strtoul(v, &end, 10);
            if (o->cfg.nodes < 1 || o->cfg.nodes > 4)
                return false;
        } else if (strcmp(a, "--run-ms") == 0) {
            o->cfg.run_ms = (uint32_t)strtoul(v, &end, 10);
        } else if (strcmp(a, "--seconds") == 0) {
            o->seconds = strtol(v, &end, 10);
        } else if (strcmp(a, "--faults") == 0) {
            if (!parse_faults(v, &o->cfg.faults))
                return false;
            continue;
        } else {
            return false;
        }
        if (!end || *end)
            return false;
    }
    return o->from <= o->to;
}

int main(int argc, char **argv)
{
    struct options o = {.cfg = {.faults = SIM_F_ALL}, .from = 1, .to = 1};
    struct simcluster_result sum = {0};
    uint64_t bad = 0, played = 0, slowest = 0;
    if (!parse(&o, argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    struct timespec t0, t1;
    timespec_get(&t0, TIME_UTC);
    for (uint64_t seed = o.from; seed <= o.to; seed++) {
        struct simcluster_result r, again;
        timespec_get(&t1, TIME_UTC);
        if (o.seconds && t1.tv_sec - t0.tv_sec >= o.seconds)
            break;
        o.cfg.seed = seed;
        simcluster_run(&o.cfg, &r);
        if (o.twice) {
            simcluster_run(&o.cfg, &again);
            if (again.hash != r.hash) {
                fprintf(stderr, "seed %llu: two runs differ\n", (unsigned long long)seed);
                r.violations++;
            }
        }
        if (r.violations)
            fprintf(stderr, "seed %llu: %u violations; again: floe-sim --seed %llu --story\n",
                    (unsigned long long)seed, r.violations, (unsigned long long)seed);
        bad += r.violations != 0;
        played++;
        sum.acked += r.acked;
        sum.read += r.read;
        sum.records += r.records;
        sum.kills += r.kills;
        sum.takeovers += r.takeovers;
        sum.segments += r.segments;
        slowest = r.writable_us > slowest ? r.writable_us : slowest;
    }
    timespec_get(&t1, TIME_UTC);
    printf("%llu seeds, %llu with violations, %.1f s: %llu records acknowledged, %llu stored, %llu read, "
           "%llu kills, "
           "%llu adoptions, %llu segments, slowest recovery %.3f s\n",
           (unsigned long long)played, (unsigned long long)bad,
           (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9,
           (unsigned long long)sum.acked, (unsigned long long)sum.records, (unsigned long long)sum.read,
           (unsigned long long)sum.kills, (unsigned long long)sum.takeovers, (unsigned long long)sum.segments,
           (double)slowest / 1e6);
    return bad != 0;
}
