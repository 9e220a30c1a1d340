/* Many seeds, in worker processes: a seed that trips an assertion or hangs is a finding like any other. */
#ifndef FLOE_TEST_SIM_RUN_H
#define FLOE_TEST_SIM_RUN_H

#include "simcluster.h"

struct simrun_seed {
    uint64_t seed;
    bool groups;    /* as with --groups */
    uint32_t theme; /* as with --theme; 0: by seed */
};
struct simrun_config {
    struct simcluster_config sim;   /* seed and quiet are the run's */
    const struct simrun_seed *list; /* the seeds in order; null: from..to */
    uint64_t from, to;              /* both included; of the list: indices */
    uint32_t jobs;                  /* worker processes; 0: none, in this process */
    uint32_t seconds;               /* no new seed after so long; 0: all */
    bool twice;                     /* each seed twice: the stories must agree */
    bool stop_at_first;             /* no new seed once one broke an invariant */
    bool quiet;                     /* violations are counted, not printed */
    bool progress;
};
struct simrun_result {
    struct simcluster_result sum; /* of all seeds; `first` is of first_bad */
    uint64_t played, bad, first_bad;
    double seconds;
};
/* SIM_F_… by their names, with commas between; "none". */
bool simrun_faults(const char *list, uint32_t *out);
/* An enum simtheme by its name. */
bool simrun_theme(const char *name, uint32_t *out);
/* An enum floe_sim_break by its name. */
bool simrun_break(const char *name, int *out);
void simrun(const struct simrun_config *cfg, struct simrun_result *out);

/* Mutations (only in floe-sim-mutants). */
void simmutants_list(FILE *out);
/* Chooses one for this process and its workers; false: there is none of that name. */
bool simmutant_choose(const char *name);
/* Plays the mutations that the file names (lines "NAME FIRST-SEED [FAULTS|theme=THEME]"; those with a ~
 * before the seed only, or not, as `rare` says) from the first seed on, 1,000 at most and for cfg->seconds at
 * most, and then the seed that found it without one; cfg->jobs mutations at once. With `repin` the file's
 * seeds become those. Exit code. */
int simmutants_check(const struct simrun_config *cfg, const char *path, bool rare, bool repin);

#endif
