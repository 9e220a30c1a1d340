/* Load generator for the bench: Kafka's protocol with next to no work of its own, so that what is measured is
 * the broker.
 *
 *   load_bench produce HOST:PORT TOPIC PARTITIONS CONNECTIONS BATCH_BYTES SECONDS ACKS IN_FLIGHT [MB_S]
 *   load_bench consume HOST:PORT TOPIC PARTITIONS CONNECTIONS SECONDS     from offset 0 on, until the end or
 * the time is up load_bench sink                                                       answers every Produce
 * at once; prints its port
 *
 * Records of 1 KiB. Each connection sends the same batch (made once) to its partitions in turn. One line of
 * figures: MB/s (10^6 bytes), requests a second, p50 and p99 in ms from sending to the answer, CPU seconds of
 * this process a GB. */
#include <arpa/inet.h>
#include <floe/base/assert.h>
#include <floe/kafka/batch.h>
#include <floe/kafka/codec.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RECORD_BYTES 1024
#define SAMPLES 65536
#define RESPONSE_MAX (256u << 20)

struct worker {
    pthread_t thread;
    int fd, id;
    uint64_t bytes, requests;
    float ms[SAMPLES];
    uint32_t samples;
};
static struct {
    struct sockaddr_in at;
    const char *topic;
    int partitions, connections, batch_bytes, acks, in_flight;
    double seconds, mb_s; /* mb_s: at most so fast; 0: as fast as it goes */
} o;
static atomic_bool over;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void address(const char *text)
{
    char host[64];
    int port = 0;
    if (sscanf(text, "%63[^:]:%d", host, &port) != 2)
        die(text);
    o.at = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, host, &o.at.sin_addr);
}

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&o.at, sizeof o.at) != 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void send_all(int fd, const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0)
            die("send");
        p += k;
        n -= (size_t)k;
    }
}

static bool recv_all(int fd, uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t k = recv(fd, p, n, 0);
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

/* Body of one answer into `buf` (grown as needed). */
static struct floe_slice answer(int fd, uint8_t **buf, size_t *cap)
{
    uint8_t head[4];
    if (!recv_all(fd, head, 4))
        die("the broker closed the connection");
    size_t n = floe_be32(head);
    FLOE_ASSERT(n <= RESPONSE_MAX);
    if (n > *cap) {
        free(*buf);
        *buf = malloc(n);
        *cap = n;
    }
    if (!recv_all(fd, *buf, n))
        die("the broker closed the connection");
    return floe_slice(*buf, n);
}

static void note(struct worker *w, double begun)
{
    w->ms[w->samples++ % SAMPLES] = (float)((now() - begun) * 1000);
}

/* ---- produce ---- */

static void make_batch(struct floe_writer *out)
{
    struct floe_batch_builder b;
    struct floe_error err;
    uint8_t value[RECORD_BYTES];
    uint32_t x = 12345;
    floe_batch_builder_init(&b, FLOE_COMPRESSION_NONE, 16 << 20);
    for (int left = o.batch_bytes - 100; left > RECORD_BYTES + 20; left -= RECORD_BYTES + 12) {
        for (size_t i = 0; i < sizeof value; i++) {
            x = x * 1664525 + 1013904223;
            value[i] = (uint8_t)(x >> 24);
        }
        if (floe_batch_builder_add(&b, 1700000000000, (struct floe_kbytes){NULL, -1},
                                   (struct floe_kbytes){value, sizeof value}, NULL, 0, &err))
            die(err.msg);
    }
    if (floe_batch_builder_finish(&b, out, &err))
        die(err.msg);
    floe_batch_builder_fini(&b);
}

/* One Produce v9 for each of the worker's partitions. */
static struct floe_writer *make_requests(const struct floe_writer *batch)
{
    const struct floe_kafka_api *api = floe_kafka_api_find(0);
    struct floe_writer *w = calloc((size_t)o.partitions, sizeof *w);
    for (int i = 0; i < o.partitions; i++) {
        struct floe_kafka_ProduceRequest rq;
        struct floe_kafka_ProduceRequest_TopicProduceData t;
        struct floe_kafka_ProduceRequest_PartitionProduceData p;
        struct floe_error err;
        floe_kafka_defaults(&floe_kafka_ProduceRequest_desc, &rq);
        floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_TopicProduceData_desc, &t);
        floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_PartitionProduceData_desc, &p);
        p.Index = i;
        p.Records = (struct floe_krecords){.p = batch->p, .n = (int32_t)batch->n};
        t.Name = floe_kstr(o.topic);
        t.PartitionData = &p;
        t.PartitionData_n = 1;
        rq.Acks = (int16_t)o.acks;
        rq.TimeoutMs = 60000;
        rq.TopicData = &t;
        rq.TopicData_n = 1;
        floe_writer_init(&w[i], 32 << 20);
        if (floe_kafka_request_frame(api, 9, i, floe_kstr("bench"), &rq, &w[i], &err))
            die(err.msg);
    }
    return w;
}

static void check_produced(struct floe_slice frame)
{
    const struct floe_kafka_api *api = floe_kafka_api_find(0);
    struct floe_arena a;
    struct floe_error err;
    struct floe_slice body;
    int32_t id;
    void *out;
    floe_arena_init(&a, 1 << 20);
    if (floe_kafka_read_response_header(api, 9, frame, &id, &body, &err) ||
        floe_kafka_decode(api->response, 9, body, &a, &out, &err)) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    struct floe_kafka_ProduceResponse *rs = out;
    if (rs->Responses_n != 1 || rs->Responses[0].PartitionResponses[0].ErrorCode) {
        fprintf(stderr, "produce: %s\n",
                floe_kafka_error_name(rs->Responses[0].PartitionResponses[0].ErrorCode));
        exit(1);
    }
    floe_arena_fini(&a);
}

static struct floe_writer batch, *requests;

static void *produce(void *arg)
{
    struct worker *w = arg;
    double *begun = calloc((size_t)o.in_flight, sizeof *begun);
    uint64_t sent = 0, done = 0;
    double from = now();
    uint8_t *buf = NULL;
    size_t cap = 0;
    while (!over || done < sent) {
        if (o.mb_s > 0 && sent == done) {
            double ahead = (double)(sent * batch.n) * o.connections / (o.mb_s * 1e6) - (now() - from);
            if (ahead > 0)
                usleep((useconds_t)(ahead * 1e6));
        }
        while (!over && sent - done < (uint64_t)o.in_flight) {
            const struct floe_writer *r =
                &requests[((uint64_t)w->id + sent * (uint64_t)o.connections) % (uint64_t)o.partitions];
            begun[sent++ % (uint64_t)o.in_flight] = now();
            send_all(w->fd, r->p, r->n);
        }
        if (done == sent)
            break;
        check_produced(answer(w->fd, &buf, &cap));
        note(w, begun[done++ % (uint64_t)o.in_flight]);
        w->bytes += batch.n;
        w->requests++;
    }
    free(begun);
    free(buf);
    return NULL;
}

/* ---- consume ---- */

static void ask(struct worker *w, const int64_t *offsets, const int *mine, int n, struct floe_writer *out)
{
    const struct floe_kafka_api *api = floe_kafka_api_find(1);
    struct floe_kafka_FetchRequest rq;
    struct floe_kafka_FetchRequest_FetchTopic t;
    struct floe_kafka_FetchRequest_FetchPartition *p = calloc((size_t)n, sizeof *p);
    struct floe_error err;
    floe_kafka_defaults(&floe_kafka_FetchRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_FetchRequest_FetchTopic_desc, &t);
    for (int i = 0; i < n; i++) {
        floe_kafka_struct_defaults(&floe_kafka_FetchRequest_FetchPartition_desc, &p[i]);
        p[i].Partition = mine[i];
        p[i].FetchOffset = offsets[mine[i]];
        p[i].PartitionMaxBytes = 8 << 20;
    }
    t.Topic = floe_kstr(o.topic);
    t.Partitions = p;
    t.Partitions_n = n;
    rq.MaxWaitMs = 500;
    rq.MinBytes = 1;
    rq.MaxBytes = 50 << 20;
    rq.Topics = &t;
    rq.Topics_n = 1;
    out->n = 0;
    if (floe_kafka_request_frame(api, 12, w->id, floe_kstr("bench"), &rq, out, &err))
        die(err.msg);
    free(p);
}

/* Moves the offsets on; how many bytes of batches came, and whether every partition is at its end. */
static uint64_t take(struct floe_slice frame, int64_t *offsets, bool *at_end)
{
    const struct floe_kafka_api *api = floe_kafka_api_find(1);
    struct floe_arena a;
    struct floe_error err = {0};
    struct floe_slice body;
    int32_t id;
    void *out;
    uint64_t bytes = 0;
    floe_arena_init(&a, 16 << 20);
    if (floe_kafka_read_response_header(api, 12, frame, &id, &body, &err) ||
        floe_kafka_decode(api->response, 12, body, &a, &out, &err)) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    struct floe_kafka_FetchResponse *rs = out;
    *at_end = true;
    for (int32_t i = 0; rs->Responses_n && i < rs->Responses[0].Partitions_n; i++) {
        const struct floe_kafka_FetchResponse_PartitionData *p = &rs->Responses[0].Partitions[i];
        struct floe_slice rest = floe_slice(p->Records.p, p->Records.n > 0 ? (size_t)p->Records.n : 0), one;
        struct floe_batch b;
        if (p->ErrorCode) {
            fprintf(stderr, "fetch: %s\n", floe_kafka_error_name(p->ErrorCode));
            exit(1);
        }
        while (rest.n && floe_batch_next(&rest, &b, &one, &err) == FLOE_OK) {
            FLOE_ASSERT(b.base_offset <= offsets[p->PartitionIndex]);
            offsets[p->PartitionIndex] = floe_batch_last_offset(&b) + 1;
            bytes += one.n;
        }
        *at_end = *at_end && offsets[p->PartitionIndex] >= p->HighWatermark;
    }
    floe_arena_fini(&a);
    return bytes;
}

static void *consume(void *arg)
{
    struct worker *w = arg;
    int64_t *offsets = calloc((size_t)o.partitions, sizeof *offsets);
    int *mine = calloc((size_t)o.partitions, sizeof *mine), n = 0;
    struct floe_writer rq;
    uint8_t *buf = NULL;
    size_t cap = 0;
    bool at_end = false;
    for (int i = w->id; i < o.partitions; i += o.connections)
        mine[n++] = i;
    floe_writer_init(&rq, 1 << 20);
    while (!over && n && !at_end) {
        double begun = now();
        ask(w, offsets, mine, n, &rq);
        send_all(w->fd, rq.p, rq.n);
        w->bytes += take(answer(w->fd, &buf, &cap), offsets, &at_end);
        w->requests++;
        note(w, begun);
        int first = mine[0]; /* who came last in this answer comes first in the next */
        memmove(mine, mine + 1, (size_t)(n - 1) * sizeof *mine);
        mine[n - 1] = first;
    }
    floe_writer_fini(&rq);
    free(offsets);
    free(mine);
    free(buf);
    return NULL;
}

/* ---- sink ---- */

static void *sink_one(void *arg)
{
    int fd = (int)(intptr_t)arg;
    static const uint8_t canned[] = {0, 0, 0, 0, 0, 2, 2, 's', 2,   0,   0,   0,   0,   0,   0,   0,
                                     0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0,
                                     0, 0, 0, 0, 0, 0, 0, 1,   0,   0,   0,   0,   0,   0,   0,   0};
    uint8_t *buf = malloc(32 << 20), head[4], out[4 + sizeof canned];
    while (recv_all(fd, head, 4) && recv_all(fd, buf, floe_be32(head))) {
        memcpy(out + 4, canned, sizeof canned);
        floe_put_be32(out, sizeof canned);
        memcpy(out + 4, buf + 4, 4); /* correlation id */
        send_all(fd, out, sizeof out);
    }
    free(buf);
    close(fd);
    return NULL;
}

static _Noreturn void sink(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 64) ||
        getsockname(fd, (struct sockaddr *)&a, &n))
        die("sink");
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
    for (;;) {
        pthread_t t;
        int c = accept(fd, NULL, NULL);
        if (c < 0 || pthread_create(&t, NULL, sink_one, (void *)(intptr_t)c))
            die("accept");
        pthread_detach(t);
    }
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void run(void *(*fn)(void *), const char *name)
{
    struct worker *w = calloc((size_t)o.connections, sizeof *w);
    for (int i = 0; i < o.connections; i++) {
        w[i].id = i;
        w[i].fd = dial();
    }
    double from = now();
    for (int i = 0; i < o.connections; i++) {
        if (pthread_create(&w[i].thread, NULL, fn, &w[i]))
            die("thread");
    }
    if (fn == produce) {
        usleep((useconds_t)(o.seconds * 1e6));
        over = true;
    }
    uint64_t bytes = 0, requests = 0;
    uint32_t n = 0;
    float *all = malloc(sizeof *all * SAMPLES * (size_t)o.connections);
    for (int i = 0; i < o.connections; i++) {
        pthread_join(w[i].thread, NULL);
        bytes += w[i].bytes;
        requests += w[i].requests;
        uint32_t k = w[i].samples < SAMPLES ? w[i].samples : SAMPLES;
        memcpy(all + n, w[i].ms, k * sizeof *all);
        n += k;
    }
    double took = now() - from;
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    double cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                 (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
    qsort(all, n, sizeof *all, by_value);
    printf("%s mb_s=%.1f requests_s=%.1f p50_ms=%.2f p99_ms=%.2f bytes=%llu seconds=%.2f cpu_s_gb=%.2f\n",
           name, (double)bytes / took / 1e6, (double)requests / took, n ? (double)all[n / 2] : 0.0,
           n ? (double)all[n - 1 - n / 100] : 0.0, (unsigned long long)bytes, took,
           cpu / ((double)bytes / 1e9 + 1e-9));
    free(all);
    free(w);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "sink") == 0)
        sink();
    bool producing = (argc == 10 || argc == 11) && strcmp(argv[1], "produce") == 0;
    if (!producing && !(argc == 7 && strcmp(argv[1], "consume") == 0)) {
        fprintf(stderr, "usage: see the comment at the top of load_bench.c\n");
        return 2;
    }
    address(argv[2]);
    o.topic = argv[3];
    o.partitions = atoi(argv[4]);
    o.connections = atoi(argv[5]);
    o.seconds = atof(argv[producing ? 7 : 6]);
    if (!producing) {
        run(consume, "consume");
        return 0;
    }
    o.batch_bytes = atoi(argv[6]);
    o.acks = atoi(argv[8]);
    o.in_flight = atoi(argv[9]);
    o.mb_s = argc == 11 ? atof(argv[10]) : 0;
    floe_writer_init(&batch, 32 << 20);
    make_batch(&batch);
    requests = make_requests(&batch);
    run(produce, "produce");
    return 0;
}
