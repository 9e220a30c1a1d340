/* Members of one group that commit all the time, for tests of a coordinator's death: what was acknowledged is
 * never found turned back, and nobody has to join again.
 *
 *   fault_group BOOTSTRAP GROUP TOPIC MEMBERS
 *
 * A line each tenth of a second: acked, the commits that were acknowledged; assigned, how often a member was
 * given partitions; held, how many are held; slowest_ms, the longest time between two acknowledgements of a
 * member since the last `mark`. Commands on stdin: mark, quit (then a line `end PARTITION OFFSET` for each,
 * as acknowledged last). Offsets are numbers that rise; nothing is read. Exit code 1, and a sentence: a
 * committed offset was lost or turned back, or a member was thrown out. */
#include <librdkafka/rdkafka.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PARTITIONS 256
#define COMMIT_MS 20

struct member {
    pthread_t thread;
    rd_kafka_t *rk;
    _Atomic int64_t acked_ms;
};
static struct {
    const char *bootstrap, *group, *topic;
    int members;
} o;
static _Atomic int64_t sent[PARTITIONS], acked[PARTITIONS];
static _Atomic uint64_t commits, assigned;
static _Atomic int64_t held, slowest_ms;
static atomic_bool over;

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static _Noreturn void wrong(const char *what, const char *why)
{
    printf("WRONG %s: %s\n", what, why);
    fflush(stdout);
    _exit(1);
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *p,
                         void *user)
{
    (void)user;
    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        assigned++;
        held += p->cnt;
        rd_kafka_assign(rk, p);
    } else {
        held -= p->cnt;
        rd_kafka_assign(rk, NULL);
    }
}

/* What the group has committed is what was acknowledged last, or sent since. */
static void look(struct member *m, rd_kafka_topic_partition_list_t *mine)
{
    char text[160];
    int64_t least[PARTITIONS];
    for (int i = 0; i < mine->cnt; i++)
        least[mine->elems[i].partition] = acked[mine->elems[i].partition];
    if (rd_kafka_committed(m->rk, mine, 2000) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    for (int i = 0; i < mine->cnt; i++) {
        int p = mine->elems[i].partition;
        int64_t got = mine->elems[i].offset;
        if (mine->elems[i].err)
            continue;
        snprintf(text, sizeof text, "partition %d has %lld committed, acknowledged %lld, sent %lld", p,
                 (long long)got, (long long)least[p], (long long)sent[p]);
        if (least[p] > 0 && (got < least[p] || got > sent[p]))
            wrong("turned back", text);
        if (sent[p] == 0 && got > 0) /* a member that was here before */
            sent[p] = acked[p] = got;
    }
}

static void commit(struct member *m, rd_kafka_topic_partition_list_t *mine)
{
    for (int i = 0; i < mine->cnt; i++)
        mine->elems[i].offset = ++sent[mine->elems[i].partition];
    rd_kafka_resp_err_t err = rd_kafka_commit(m->rk, mine, 0);
    if (err == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID || err == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION)
        wrong("thrown out", rd_kafka_err2name(err));
    if (err)
        return;
    int64_t now = now_ms(), took = m->acked_ms ? now - m->acked_ms : 0;
    m->acked_ms = now;
    if (took > slowest_ms)
        slowest_ms = took;
    commits++;
    for (int i = 0; i < mine->cnt; i++)
        if (!mine->elems[i].err)
            acked[mine->elems[i].partition] = mine->elems[i].offset;
}

static void *run(void *arg)
{
    struct member *m = arg;
    for (int turn = 0; !over; turn++) {
        rd_kafka_topic_partition_list_t *mine = NULL;
        rd_kafka_message_t *msg = rd_kafka_consumer_poll(m->rk, COMMIT_MS);
        if (msg)
            rd_kafka_message_destroy(msg);
        if (rd_kafka_assignment(m->rk, &mine) == RD_KAFKA_RESP_ERR_NO_ERROR && mine->cnt > 0) {
            if (turn % 8 == 0)
                look(m, mine);
            commit(m, mine);
        }
        if (mine)
            rd_kafka_topic_partition_list_destroy(mine);
    }
    return NULL;
}

static void start(struct member *m)
{
    const char *const props[][2] = {{"bootstrap.servers", o.bootstrap},
                                    {"group.id", o.group},
                                    {"enable.auto.commit", "false"},
                                    {"auto.offset.reset", "latest"},
                                    {"session.timeout.ms", "20000"},
                                    {"heartbeat.interval.ms", "500"},
                                    {"socket.timeout.ms", "3000"},
                                    {"reconnect.backoff.max.ms", "500"},
                                    {"log_level", "0"}};
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < sizeof props / sizeof *props; i++)
        if (rd_kafka_conf_set(conf, props[i][0], props[i][1], why, sizeof why) != RD_KAFKA_CONF_OK)
            wrong(props[i][0], why);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    m->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!m->rk)
        wrong("rd_kafka_new", why);
    rd_kafka_poll_set_consumer(m->rk);
    rd_kafka_topic_partition_list_t *t = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(t, o.topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t err = rd_kafka_subscribe(m->rk, t);
    rd_kafka_topic_partition_list_destroy(t);
    if (err || pthread_create(&m->thread, NULL, run, m))
        wrong("subscribe", rd_kafka_err2name(err));
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    o.bootstrap = argv[1];
    o.group = argv[2];
    o.topic = argv[3];
    o.members = atoi(argv[4]);
    struct member *m = calloc((size_t)o.members, sizeof *m);
    for (int i = 0; i < o.members; i++)
        start(&m[i]);
    while (!over) {
        struct pollfd in = {.fd = 0, .events = POLLIN};
        char line[64] = "";
        if (poll(&in, 1, 100) > 0) {
            ssize_t n = read(0, line, sizeof line - 1);
            over = n <= 0 || strncmp(line, "quit", 4) == 0;
            if (strncmp(line, "mark", 4) == 0)
                slowest_ms = 0;
        }
        printf("acked %llu assigned %llu held %lld slowest_ms %lld\n", (unsigned long long)commits,
               (unsigned long long)assigned, (long long)held, (long long)slowest_ms);
        fflush(stdout);
    }
    for (int i = 0; i < o.members; i++)
        pthread_join(m[i].thread, NULL);
    for (int p = 0; p < PARTITIONS; p++)
        if (acked[p])
            printf("end %d %lld\n", p, (long long)acked[p]);
    fflush(stdout);
    _exit(0); /* without leaving: the group stays as it is */
}
