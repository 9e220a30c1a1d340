/* A whole cluster in one process under virtual time: the real lease and log modules of several brokers over
 * the simulated drivers, simulated producers and consumers, a nemesis, and a checker of the invariants of
 * docs/ARCHITECTURE.md (1-8 and 10).
 *
 * What it is: simcluster_run plays one seed and returns how many violations it found; equal seeds give equal
 * stories. What it is not: the front door. Clients call floe_log_append and floe_log_read of whichever broker
 * the leases name, over simulated requests that take time, get lost, and end with their broker.
 */
#ifndef FLOE_TEST_SIMCLUSTER_H
#define FLOE_TEST_SIMCLUSTER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SIM_NODES_MAX 8

/* What the nemesis may do. */
enum simcluster_fault {
    SIM_F_KILL = 1,       /* process gone, disk stays */
    SIM_F_WIPE = 2,       /* process gone with its disk */
    SIM_F_STALL = 4,      /* SIGSTOP, suspended and paused machines */
    SIM_F_STORE = 8,      /* faults of single store requests, and outages */
    SIM_F_NET = 16,       /* cuts between brokers, lost client frames */
    SIM_F_END = 32,       /* clean ends */
    SIM_F_KILL_CALL = 64, /* killed inside a driver call */
    SIM_F_DISK = 128,     /* a full or failing disk */
    SIM_F_SNAPSHOT = 256, /* process gone, disk set back to how it was some time ago */
    SIM_F_ALL = 511,
};
/* A rare situation that is brought about again and again, sim_theme.c. */
enum simtheme {
    SIM_THEME_NONE,
    SIM_THEME_DEAF,
    SIM_THEME_LAPSE,
    SIM_THEME_FLIP,
    SIM_THEME_TABLE,
    SIM_THEME_RETURN,
    SIM_THEME_TAKEN,
    SIM_THEME_TOLD,
    SIM_THEME_RACED,
    SIM_THEME_MIXED,
    SIM_THEME_CONVERT,
    SIM_THEME_COUNT
};
struct simcluster_result;
struct simcluster_config {
    uint64_t seed;
    uint32_t faults; /* enum simcluster_fault bits */
    uint32_t nodes;  /* 0: by seed, 2 to 4; at most SIM_NODES_MAX */
    uint32_t theme;  /* enum simtheme; 0: by seed, two of five have one */
    uint32_t run_ms; /* time under faults; 0: 40 s */
    FILE *story;     /* null: only violations are printed */
    bool quiet;      /* not even those */
    int breaks;  /* enum floe_sim_break: a promise that the store breaks from the start of the faults on */
    bool groups; /* consumer groups commit offsets as well */
    bool hash;   /* of the story is wanted */
    /* Null, or called at the first violation, with what there is so far: may end the process. */
    void (*violated)(void *user, const struct simcluster_result *r);
    void *user;
};
struct simcluster_result {
    uint32_t violations;
    uint64_t hash; /* of the story */
    uint64_t acked, read, view_reads, records, kills, takeovers, segments, topics, calls, commits,
        table_calls, beats, shares, converted;
    uint64_t removed;     /* objects, as garbage */
    uint64_t writable_us; /* the slowest partition after the faults ended */
    char first[256];      /* the first violation */
    bool refused;         /* of a store that breaks a promise: the start-up probe finds it */
};
void simcluster_run(const struct simcluster_config *cfg, struct simcluster_result *out);

#endif
