/* Members of consumer groups as the bench has them (group_bench.c): each answers what comes on its connection
 * and does what is due, one request at a time. */
#ifndef FLOE_BENCH_GROUP_MEMBERS_H
#define FLOE_BENCH_GROUP_MEMBERS_H

#include <arpa/inet.h>
#include <floe/base/assert.h>
#include <floe/kafka/codec.h>

#define SAMPLES 4000000
#define MESSAGE_MAX (16u << 20)

enum protocol { EAGER, COOPERATIVE, CONSUMER };
enum api { METADATA = 3, FIND = 10, COMMIT = 8, JOIN = 11, HEARTBEAT = 12, LEAVE = 13, SYNC = 14, BEAT = 68 };
enum state { AWAY, JOINING, SETTLED };

struct member {
    int fd, group;
    enum state state;
    bool busy, left; /* left: it is to leave, or has */
    enum api sent;
    int32_t correlation, epoch; /* epoch: generation, or member epoch */
    char id[64];
    uint16_t *owned;
    int owned_n;
    bool rejoin, ack; /* what is sent next: a JoinGroup; a heartbeat that names what it has */
    double sent_ms, beat_ms, commit_ms; /* when sent; when due */
    int64_t offset;
    struct floe_writer in;
};
struct group {
    char name[40];
    struct member *m;
    bool even;
};
struct options {
    struct sockaddr_in at;
    const char *topic;
    struct floe_uuid topic_id;
    int partitions, groups, members;
    enum protocol protocol;
    double heartbeat_ms, commit_ms;
};
struct figures { /* of the time that is measured */
    bool measuring;
    uint64_t heartbeats, commits, refused;
    float *latency; /* of commits, ms */
    uint32_t samples;
};
extern struct options o;
extern struct group *groups;
extern struct figures figures;
extern double told_ms; /* when the last member heard that its group changes */

double now(void); /* ms */
_Noreturn void die(const char *what);
void refuse(const char *api, int16_t error);
double spread(double ms); /* some time within that */
void on_readable(struct member *m);
void act(struct member *m, double at); /* sends what is due, if the last request was answered */

#endif
