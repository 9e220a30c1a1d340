/* Simulated members of classic groups: what sim_classic.c (what they do and what is checked) and
 * sim_classic_wire.c (what they say and hear) share. */
#ifndef FLOE_TEST_SIM_CLASSIC_H
#define FLOE_TEST_SIM_CLASSIC_H

#include "simcluster_int.h"

#define CLASSIC_IDS_MAX 16 /* of the members that a leader divides the work among */
#define CLASSIC_DIVISIONS_MAX 1024
#define CLASSIC_COMMITS_MAX 8192
#define SIM_CLASSIC_REBALANCE_MS 10000

/* What an answer to JoinGroup says. */
struct simjoined {
    char id[96];
    bool leads, skips;
    uint32_t n; /* for the leader: all members */
    struct {
        char id[96];
        uint8_t slot;
    } member[CLASSIC_IDS_MAX];
};
/* One division by a leader, sent once or more often. Each share names its own place in it. */
struct simdivision {
    int32_t generation;
    uint32_t n;
    struct {
        uint64_t id; /* hashed */
        uint8_t slot;
    } member[CLASSIC_IDS_MAX];
};
struct simclassic_group {
    bool steady;        /* nobody leaves or dies: nothing changes once it has settled */
    uint32_t size;      /* members */
    int32_t synced;     /* the newest generation of which a member was given its share */
    int32_t settled;    /* the generation in which it settled; 0: not yet */
    uint64_t doubt_us;  /* until then a request to join may still arrive of which nobody knows */
    uint32_t divided_n; /* divisions */
    struct simdivision divided[CLASSIC_DIVISIONS_MAX];
    uint32_t
        of_generation[CLASSIC_DIVISIONS_MAX]; /* which division, plus 1, members were given; 0: none yet */
    uint32_t commits;
    struct simcommit {
        int32_t generation;
        uint8_t part;
        enum { COMMIT_FLYING, COMMIT_STANDS, COMMIT_UNKNOWN, COMMIT_REFUSED } state;
        uint64_t began_us, stands_us;
    } commit[CLASSIC_COMMITS_MAX]; /* by the offset that it commits */
};
struct simclassic {
    struct simclassics *all;
    struct simclassic_group *group;
    uint8_t slot;
    bool fixed; /* a static member */
    enum { CLASSIC_GONE, CLASSIC_OUT, CLASSIC_JOINED, CLASSIC_MEMBER } state;
    uint32_t life; /* what a former life asked is not heard */
    int32_t machine, generation;
    bool new_to_share; /* reads first what was committed */
    struct simjoined joined;
    int32_t division; /* that this leader has sent in its generation; -1: none */
    uint32_t owned;   /* a bit a partition */
    uint64_t beat_us; /* its last heartbeat that was taken began then; 0: it need not be known */
    struct floe_sim_event tick;
};
struct simclassics {
    struct simcluster *c;
    struct floe_rng rng; /* of its own: what others draw does not change */
    struct simclassic_group group[SIM_CLASSIC_GROUPS];
    struct simclassic member[SIM_CLASSIC_GROUPS][SIM_CLASSIC_SIZE];
};
/* Of n members, the partitions of the one at `place`. */
uint32_t simclassic_share(const struct simcluster *c, uint32_t place, uint32_t n);
uint32_t simclassic_session_ms(const struct simclassic_group *g);

#endif
