/* Simulated members of a group that is converted: what sim_convert.c (what they do and what is checked) and
 * sim_convert_wire.c (what they say and hear) share. */
#ifndef FLOE_TEST_SIM_CONVERT_H
#define FLOE_TEST_SIM_CONVERT_H

#include "simcluster_int.h"

#define CONVERT_SIZE 4 /* members at most */
#define CONVERT_IDS_MAX 16
#define CONVERT_COMMITS_MAX 4096
#define CONVERT_TIME_MS 10000 /* session of classic members; in which any member must come, or give back */

enum simconvert_step {
    CONVERT_FIND,
    CONVERT_BEAT, /* of the consumer protocol: joins, stays, leaves */
    CONVERT_JOIN,
    CONVERT_SYNC,
    CONVERT_HEARTBEAT,
    CONVERT_LEAVE,
    CONVERT_COMMIT,
    CONVERT_READ
};
/* What an answer says, beside what the call has room for. */
struct simconvert_answer {
    char id[96];
    bool classic, leads; /* the group is a classic one; this member divides */
    uint32_t n;
    struct {
        char id[96];
        uint32_t owned; /* as it says */
    } member[CONVERT_IDS_MAX];
};
struct simconvert {
    struct simconverts *all;
    uint8_t slot;
    bool speaks_classic;
    enum { CONVERT_GONE, CONVERT_OUT, CONVERT_JOINED, CONVERT_MEMBER } state;
    uint32_t life; /* what a former life asked is not heard */
    int32_t machine, epoch;
    char id[96];
    bool full;      /* the next heartbeat tells everything */
    uint32_t owned; /* a bit a partition */
    uint32_t gives; /* of these it gives up at that time, and joins again */
    uint64_t gives_us;
    uint64_t heard_us;               /* the last request began then that said nothing is to be done */
    bool reads;                      /* first what was committed */
    struct simconvert_answer joined; /* of a classic leader: whom it divides among */
    struct floe_sim_event tick;
};
struct simconverts {
    struct simcluster *c;
    struct floe_rng rng; /* of its own */
    uint32_t size;
    bool cooperative, was_classic, known;
    struct simconvert member[CONVERT_SIZE];
    uint32_t commits;
    struct simconvert_commit {
        uint8_t part;
        enum { CONVERT_FLYING, CONVERT_STANDS, CONVERT_UNKNOWN, CONVERT_REFUSED } state;
        uint64_t began_us, stands_us;
    } commit[CONVERT_COMMITS_MAX]; /* by the offset that it commits */
};
/* The share of the member that the leader lists at `place`: of a cooperative group without what others own.
 */
uint32_t simconvert_share(const struct simconvert *m, uint32_t place);

#endif
