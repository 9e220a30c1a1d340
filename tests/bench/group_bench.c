/* Members of consumer groups by the thousand, for the bench: each has its own connection and does what a
 * client does (joins, divides, acknowledges, sends heartbeats, commits), in one thread with next to no work
 * of its own.
 *
 *   group_bench rebalance HOST:PORT TOPIC PARTITIONS MEMBERS PROTOCOL HEARTBEAT_MS ROUNDS
 *       All join a new group at once; then, ROUNDS times, one leaves and one joins. A line for each: ms until
 *       every partition belongs to one member, evenly, and ms from when the last member was told of it by the
 *       answer to its heartbeat (0: nobody had to be).
 *   group_bench load HOST:PORT TOPIC PARTITIONS GROUPS MEMBERS PROTOCOL HEARTBEAT_MS COMMIT_MS SECONDS
 *       All groups settle; `ready`; a line on stdin; then SECONDS of heartbeats and of commits of all of a
 *       member's partitions each COMMIT_MS (0: one after the other, -1: none), and a line of figures.
 *
 * PROTOCOL: eager, cooperative (classic groups, divided by their leader), consumer (KIP-848; the coordinator
 * says how often a heartbeat is due). Heartbeats are spread evenly over time, not in step. */
#include "group_members.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS 5 /* timers are looked at so often */

static int epoll_fd;

/* Every member in one generation (of whom KIP-848 moves nothing need not have heard), every partition with
 * one of them, nobody with two more than another. */
static bool even(const struct group *g)
{
    static uint8_t *seen;
    int all = 0, least = INT32_MAX, most = 0, count = 0;
    int32_t epoch = -1;
    seen = seen ? seen : malloc((size_t)o.partitions);
    memset(seen, 0, (size_t)o.partitions);
    for (int i = 0; i < o.members; i++) {
        const struct member *m = &g->m[i];
        if (m->state == AWAY && !m->left)
            continue;
        if (m->left && m->state != AWAY)
            return false;
        if (m->left)
            continue;
        if (m->state != SETTLED || m->rejoin || m->ack ||
            (o.protocol != CONSUMER && epoch >= 0 && m->epoch != epoch))
            return false;
        epoch = m->epoch;
        for (int k = 0; k < m->owned_n; k++)
            all += !seen[m->owned[k]]++;
        least = FLOE_MIN(least, m->owned_n);
        most = FLOE_MAX(most, m->owned_n);
        count++;
    }
    return count > 0 && all == o.partitions && most - least <= 1;
}

static void turn(void)
{
    static double next;
    struct epoll_event ev[256];
    double at = now();
    int n = epoll_wait(epoll_fd, ev, 256, next > at ? (int)(next - at) + 1 : 0);
    for (int i = 0; i < n; i++) {
        struct member *m = ev[i].data.ptr;
        on_readable(m);
        act(m, now());
    }
    if ((at = now()) < next)
        return;
    next = at + TICK_MS;
    for (int g = 0; g < o.groups; g++)
        for (int i = 0; i < o.members; i++)
            act(&groups[g].m[i], at);
}

static void settle(const char *what, double from)
{
    for (int left = o.groups, g = 0; left > 0;) {
        turn();
        if (now() - from > 60000)
            die("the groups do not settle within a minute");
        for (g = 0, left = 0; g < o.groups; g++) {
            groups[g].even = o.groups == 1 ? even(&groups[g]) : groups[g].even || even(&groups[g]);
            left += !groups[g].even;
        }
    }
    printf("%s settled_ms=%.0f after_last_told_ms=%.0f\n", what, now() - from,
           told_ms > from ? now() - told_ms : 0.0);
    fflush(stdout);
}

/* ---- scenarios --------------------------------------------------------------------------------------------
 */

static void dial(struct member *m)
{
    int one = 1;
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = m};
    m->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (m->fd < 0 || connect(m->fd, (struct sockaddr *)&o.at, sizeof o.at) != 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, m->fd, &ev) != 0)
        die(strerror(errno));
    setsockopt(m->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    floe_writer_init(&m->in, MESSAGE_MAX);
}

static void enter(struct member *m)
{
    m->left = false;
    m->state = JOINING;
    m->rejoin = o.protocol != CONSUMER;
    m->epoch = 0;
    m->id[0] = 0;
    if (o.protocol == CONSUMER)
        snprintf(m->id, sizeof m->id, "%08x%08x%08x", (unsigned)rand(), (unsigned)rand(), (unsigned)rand());
}

static void make(int argc, char **argv, int members_at)
{
    char host[64];
    int port = 0;
    if (sscanf(argv[2], "%63[^:]:%d", host, &port) != 2)
        die("HOST:PORT");
    o.at = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, host, &o.at.sin_addr);
    o.topic = argv[3];
    o.partitions = atoi(argv[4]);
    o.members = atoi(argv[members_at]);
    o.groups = members_at == 6 ? atoi(argv[5]) : 1;
    const char *p = argv[members_at + 1];
    o.protocol = strcmp(p, "eager") == 0 ? EAGER : strcmp(p, "cooperative") == 0 ? COOPERATIVE : CONSUMER;
    o.heartbeat_ms = atof(argv[members_at + 2]);
    (void)argc;
    groups = calloc((size_t)o.groups, sizeof *groups);
    epoll_fd = epoll_create1(0);
    srand((unsigned)time(NULL) ^ (unsigned)getpid());
    for (int g = 0; g < o.groups; g++) {
        snprintf(groups[g].name, sizeof groups[g].name, "bench-%d-%d", (int)getpid(), g);
        groups[g].m = calloc((size_t)o.members, sizeof *groups[g].m);
        for (int i = 0; i < o.members; i++) {
            groups[g].m[i].group = g;
            groups[g].m[i].owned = calloc((size_t)o.partitions, sizeof(uint16_t));
            dial(&groups[g].m[i]);
        }
    }
}

/* One request on a connection of its own. */
static const void *ask(enum api api, int16_t version, const void *body, struct floe_arena *a)
{
    const struct floe_kafka_api *k = floe_kafka_api_find((int16_t)api);
    struct floe_error err;
    struct floe_slice in;
    uint8_t head[4];
    int32_t id;
    void *v;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct floe_writer out;
    floe_writer_init(&out, MESSAGE_MAX);
    if (floe_kafka_request_frame(k, version, 1, floe_kstr("bench"), body, &out, &err))
        die(err.msg);
    if (connect(fd, (struct sockaddr *)&o.at, sizeof o.at) || send(fd, out.p, out.n, 0) != (ssize_t)out.n ||
        recv(fd, head, 4, MSG_WAITALL) != 4)
        die("no answer");
    size_t n = floe_be32(head);
    uint8_t *p = floe_arena_alloc(a, n);
    if (!p || recv(fd, p, n, MSG_WAITALL) != (ssize_t)n)
        die("no answer");
    close(fd);
    floe_writer_fini(&out);
    if (floe_kafka_read_response_header(k, version, floe_slice(p, n), &id, &in, &err) ||
        floe_kafka_decode(k->response, version, in, a, &v, &err))
        die(err.msg);
    return v;
}

/* The topic's id, which KIP-848 speaks of; and coordinators there are only when somebody has asked for one.
 */
static void learn(void)
{
    struct floe_kafka_MetadataRequest rq;
    struct floe_kafka_MetadataRequest_MetadataRequestTopic t;
    struct floe_kafka_FindCoordinatorRequest find;
    struct floe_arena a;
    floe_arena_init(&a, MESSAGE_MAX);
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_MetadataRequest_MetadataRequestTopic_desc, &t);
    t.Name = floe_kstr(o.topic);
    rq.Topics = &t;
    rq.Topics_n = 1;
    const struct floe_kafka_MetadataResponse *rs = ask(METADATA, 12, &rq, &a);
    if (rs->Topics_n != 1 || rs->Topics[0].ErrorCode)
        die("Metadata: no such topic");
    o.topic_id = rs->Topics[0].TopicId;
    floe_kafka_defaults(&floe_kafka_FindCoordinatorRequest_desc, &find);
    find.Key = floe_kstr(groups[0].name);
    const struct floe_kafka_FindCoordinatorResponse *found;
    while ((found = ask(FIND, 3, &find, &a))->ErrorCode == FLOE_KERR_COORDINATOR_NOT_AVAILABLE)
        usleep(100000);
    if (found->ErrorCode)
        refuse("FindCoordinator", found->ErrorCode);
    floe_arena_fini(&a);
}

/* Until nothing of what was hurries on, and heartbeats stand somewhere. */
static void rest(void)
{
    double ms = o.protocol == CONSUMER ? 5500 : 1000;
    for (double until = now() + ms + spread(FLOE_MAX(o.heartbeat_ms, 3000)); now() < until;)
        turn();
}

static void rebalance(int rounds)
{
    double from = now();
    for (int i = 0; i < o.members; i++)
        enter(&groups[0].m[i]);
    settle("all_join", from);
    for (int r = 0; r < rounds; r++) {
        struct member *m = &groups[0].m[rand() % o.members];
        rest();
        from = now();
        m->left = true;
        settle("one_leaves", from);
        rest();
        from = now();
        enter(m);
        settle("one_joins", from);
    }
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void load(double seconds)
{
    double from = now();
    for (int g = 0; g < o.groups; g++)
        for (int i = 0; i < o.members; i++)
            enter(&groups[g].m[i]);
    settle("all_join", from);
    for (from = now(); now() - from < FLOE_MAX(o.heartbeat_ms, 2000);) /* what the start left */
        turn();
    printf("ready\n");
    fflush(stdout);
    fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    for (char c; read(0, &c, 1) != 1;)
        turn();
    figures.latency = malloc(sizeof *figures.latency * SAMPLES);
    figures.measuring = true;
    for (int g = 0; g < o.groups; g++)
        for (int i = 0; i < o.members; i++)
            groups[g].m[i].commit_ms = now() + spread(FLOE_MAX(o.commit_ms, 0));
    for (from = now(); now() - from < seconds * 1000;)
        turn();
    double took = (now() - from) / 1000;
    uint32_t n = FLOE_MIN(figures.samples, SAMPLES);
    qsort(figures.latency, n, sizeof *figures.latency, by_value);
    printf(
        "load seconds=%.2f heartbeats=%llu commits=%llu refused=%llu p50_ms=%.1f p99_ms=%.1f max_ms=%.1f\n",
        took, (unsigned long long)figures.heartbeats, (unsigned long long)figures.commits,
        (unsigned long long)figures.refused, n ? (double)figures.latency[n / 2] : 0.0,
        n ? (double)figures.latency[n - 1 - n / 100] : 0.0, n ? (double)figures.latency[n - 1] : 0.0);
}

int main(int argc, char **argv)
{
    bool loads = argc == 11 && strcmp(argv[1], "load") == 0;
    if (!loads && !(argc == 9 && strcmp(argv[1], "rebalance") == 0)) {
        fprintf(stderr, "usage: see the comment at the top of group_bench.c\n");
        return 2;
    }
    make(argc, argv, loads ? 6 : 5);
    learn();
    if (loads) {
        o.commit_ms = atof(argv[9]);
        load(atof(argv[10]));
    } else {
        rebalance(atoi(argv[8]));
    }
    return 0;
}
