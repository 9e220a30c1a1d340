/* Load for the fault tests: idempotent librdkafka producers with acks=all, and a consumer that follows.
 *
 *   fault_load BOOTSTRAP TOPIC PARTITIONS PRODUCERS VALUE_BYTES RATE FOLDER [NAME=VALUE]...
 *
 * NAME=VALUE sets a property of the producers (librdkafka's names) after the defaults below.
 *
 * Each producer sends "<producer>:<sequence>:padding" round robin to all partitions, RATE messages a second
 * in all, and writes what was acknowledged to FOLDER/acked.<producer> ("partition offset producer:sequence" a
 * line). What failed for good goes to FOLDER/failed.<producer>. The consumer writes FOLDER/consumed. Lines on
 * stdin: "stop" ends sending; when all is answered, the consumer has until "quit". A line of counts goes to
 * stdout every tenth of a second; throttled_ms is the longest throttle time that an answer asked for,
 * throttles how many asked for one; slowest_ms is the longest time from sending to the acknowledgement since
 * "mark". */
#include <errno.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
    const char *bootstrap, *topic, *folder;
    int partitions, producers, value_bytes, rate;
    char **props;
    int prop_count;
} opt;
static atomic_bool stop_sending, quit;
static atomic_ullong sent, acked, failed, consumed, throttles, throttled_ms, slowest_us;

struct producer {
    int id;
    FILE *acked, *failed;
    pthread_t thread;
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "fault_load: %s: %s\n", what, why);
    exit(1);
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char err[256];
    if (rd_kafka_conf_set(conf, name, value, err, sizeof err) != RD_KAFKA_CONF_OK)
        die(name, err);
}

static FILE *open_file(const char *name, int id)
{
    char path[512];
    if (id >= 0)
        snprintf(path, sizeof path, "%s/%s.%d", opt.folder, name, id);
    else
        snprintf(path, sizeof path, "%s/%s", opt.folder, name);
    FILE *f = fopen(path, "w");
    if (!f)
        die(path, strerror(errno));
    return f;
}

/* Raises what is kept to the value. */
static void raise_to(atomic_ullong *kept, unsigned long long value)
{
    unsigned long long now = atomic_load(kept);
    while (now < value && !atomic_compare_exchange_weak(kept, &now, value)) {
    }
}

/* The part of a value before its padding. */
static int name_length(const char *value, size_t n)
{
    const char *a = memchr(value, ':', n);
    const char *b = a ? memchr(a + 1, ':', n - (size_t)(a + 1 - value)) : NULL;
    return b ? (int)(b - value) : (int)n;
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct producer *p = opaque;
    (void)rk;
    int n = name_length(m->payload, m->len);
    if (m->err) {
        atomic_fetch_add(&failed, 1);
        fprintf(p->failed, "%d %.*s %s\n", m->partition, n, (const char *)m->payload,
                rd_kafka_err2name(m->err));
        return;
    }
    atomic_fetch_add(&acked, 1);
    raise_to(&slowest_us, (unsigned long long)rd_kafka_message_latency(m));
    fprintf(p->acked, "%d %" PRId64 " %.*s\n", m->partition, m->offset, n, (const char *)m->payload);
}

static void throttled(rd_kafka_t *rk, const char *broker, int32_t id, int ms, void *opaque)
{
    (void)rk;
    (void)broker;
    (void)id;
    (void)opaque;
    if (ms <= 0)
        return;
    atomic_fetch_add(&throttles, 1);
    raise_to(&throttled_ms, (unsigned long long)ms);
}

static void *produce(void *arg)
{
    struct producer *p = arg;
    char err[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", opt.bootstrap);
    set(conf, "enable.idempotence", "true");
    set(conf, "acks", "all");
    set(conf, "linger.ms", "5");
    set(conf, "message.timeout.ms", "180000");
    set(conf, "socket.timeout.ms", "10000");
    set(conf, "reconnect.backoff.max.ms", "500");
    set(conf, "topic.metadata.refresh.interval.ms", "1000");
    set(conf, "queue.buffering.max.messages", "20000");
    set(conf, "log_level", "2");
    for (int i = 0; i < opt.prop_count; i++) {
        char name[128];
        const char *eq = strchr(opt.props[i], '=');
        snprintf(name, sizeof name, "%.*s", eq ? (int)(eq - opt.props[i]) : 0, opt.props[i]);
        set(conf, name, eq ? eq + 1 : "");
    }
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_conf_set_throttle_cb(conf, throttled);
    rd_kafka_conf_set_opaque(conf, p);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, err, sizeof err);
    if (!rk)
        die("producer", err);
    rd_kafka_topic_t *t = rd_kafka_topic_new(rk, opt.topic, NULL);
    char *value = malloc((size_t)opt.value_bytes + 64);
    memset(value, 'x', (size_t)opt.value_bytes + 64);
    double interval = 1e9 * opt.producers / opt.rate;
    struct timespec from, now;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (uint64_t seq = 0; !atomic_load(&stop_sending);) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        double gone = (double)(now.tv_sec - from.tv_sec) * 1e9 + (double)(now.tv_nsec - from.tv_nsec);
        if ((double)seq * interval > gone) {
            rd_kafka_poll(rk, 1);
            continue;
        }
        int n = sprintf(value, "%d:%" PRIu64 ":", p->id, seq);
        value[n] = 'x';
        int32_t part = (int32_t)(seq % (uint64_t)opt.partitions);
        if (rd_kafka_produce(t, part, RD_KAFKA_MSG_F_COPY, value,
                             (size_t)(n > opt.value_bytes ? n : opt.value_bytes), NULL, 0, NULL) == 0) {
            seq++;
            atomic_fetch_add(&sent, 1);
            rd_kafka_poll(rk, 0);
        } else {
            rd_kafka_poll(rk, 10); /* the queue is full: the cluster is away */
        }
    }
    rd_kafka_flush(rk, 180000);
    rd_kafka_topic_destroy(t);
    rd_kafka_destroy(rk);
    fclose(p->acked);
    fclose(p->failed);
    free(value);
    return NULL;
}

static void *consume(void *arg)
{
    FILE *out = arg;
    char err[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", opt.bootstrap);
    set(conf, "group.id", "none");
    set(conf, "enable.auto.commit", "false");
    set(conf, "auto.offset.reset", "error");
    set(conf, "topic.metadata.refresh.interval.ms", "1000");
    set(conf, "reconnect.backoff.max.ms", "500");
    set(conf, "fetch.wait.max.ms", "100");
    set(conf, "log_level", "2");
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, err, sizeof err);
    if (!rk)
        die("consumer", err);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(opt.partitions);
    for (int i = 0; i < opt.partitions; i++)
        rd_kafka_topic_partition_list_add(list, opt.topic, i)->offset = 0;
    if (rd_kafka_assign(rk, list))
        die("consumer", "assign");
    while (!atomic_load(&quit)) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 100);
        if (!m)
            continue;
        if (!m->err) {
            fprintf(out, "%d %" PRId64 " %.*s\n", m->partition, m->offset, name_length(m->payload, m->len),
                    (const char *)m->payload);
            atomic_fetch_add(&consumed, 1);
        } else if (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
                   m->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
            fprintf(out, "%d %" PRId64 " RESET:%s\n", m->partition, m->offset, rd_kafka_err2name(m->err));
        }
        rd_kafka_message_destroy(m);
    }
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    fclose(out);
    return NULL;
}

static void print_counts(const char *before)
{
    printf("%ssent %llu acked %llu failed %llu consumed %llu throttles %llu throttled_ms %llu "
           "slowest_ms %llu\n",
           before, atomic_load(&sent), atomic_load(&acked), atomic_load(&failed), atomic_load(&consumed),
           atomic_load(&throttles), atomic_load(&throttled_ms), atomic_load(&slowest_us) / 1000);
    fflush(stdout);
}

/* Reads commands and prints counts until "quit". */
static void command_loop(void)
{
    char line[64];
    while (!atomic_load(&quit)) {
        struct pollfd in = {.fd = 0, .events = POLLIN};
        if (poll(&in, 1, 100) > 0) {
            if (!fgets(line, sizeof line, stdin) || strncmp(line, "quit", 4) == 0) {
                atomic_store(&stop_sending, true);
                atomic_store(&quit, true);
            } else if (strncmp(line, "stop", 4) == 0) {
                atomic_store(&stop_sending, true);
            } else if (strncmp(line, "mark", 4) == 0) {
                atomic_store(&slowest_us, 0);
            }
        }
        print_counts("");
    }
}

int main(int argc, char **argv)
{
    if (argc < 8) {
        fprintf(stderr, "usage: fault_load BOOTSTRAP TOPIC PARTITIONS PRODUCERS VALUE_BYTES RATE FOLDER "
                        "[NAME=VALUE]...\n");
        return 2;
    }
    opt.bootstrap = argv[1];
    opt.topic = argv[2];
    opt.partitions = atoi(argv[3]);
    opt.producers = atoi(argv[4]);
    opt.value_bytes = atoi(argv[5]);
    opt.rate = atoi(argv[6]);
    opt.folder = argv[7];
    opt.props = argv + 8;
    opt.prop_count = argc - 8;
    setvbuf(stdin, NULL, _IONBF, 0);
    struct producer *p = calloc((size_t)opt.producers, sizeof *p);
    pthread_t consumer;
    for (int i = 0; i < opt.producers; i++) {
        p[i] = (struct producer){.id = i, .acked = open_file("acked", i), .failed = open_file("failed", i)};
        if (pthread_create(&p[i].thread, NULL, produce, &p[i]))
            die("thread", "cannot start");
    }
    if (pthread_create(&consumer, NULL, consume, open_file("consumed", -1)))
        die("thread", "cannot start");
    command_loop();
    for (int i = 0; i < opt.producers; i++)
        pthread_join(p[i].thread, NULL);
    pthread_join(consumer, NULL);
    print_counts("end ");
    free(p);
    return 0;
}
