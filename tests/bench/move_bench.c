/* Load for the benches of moves and takeovers: producers that follow the leaders, and how long each partition
 * went without an acknowledgement.
 *
 *   move_bench HOST:PORT TOPIC PARTITIONS THREADS BATCH_BYTES INTERVAL_MS SECONDS
 *
 * Each partition gets one batch every INTERVAL_MS (0: as soon as the last one is answered), acks=all, one in
 * flight; what a thread has for one broker travels in one Produce v12. A batch that is not acknowledged is
 * sent again, to the leader that the answer names (KIP-951) or Metadata does. "go" on stdin begins what is
 * counted; before, nothing is. At the end one line: MB/s; errors that were not a leader change; of all
 * partitions, and of those whose leader changed: how many they are, the longest that a batch of each waited
 * from its first sending to its acknowledgement (its stall), and the longest time between two
 * acknowledgements (which has the interval in it): median, 99 %, maximum. */
#include <arpa/inet.h>
#include <floe/base/assert.h>
#include <floe/kafka/batch.h>
#include <floe/kafka/codec.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { NODES = 16, VERSION = 12, FLYING = 4, THREADS = 32 };

struct part {
    int leader; /* node id; -1: not known */
    bool flying, moved;
    double due, sent, acked, gap, wait; /* sent: first, of the batch under way; 0: none is */
};
struct conn {
    int node, fd;
    char addr[64];
    uint8_t *in;
    size_t n, cap;
    uint32_t flying; /* requests */
    uint32_t *parts; /* of each request that flies, in order: count, then indexes */
    size_t parts_n;
};
struct worker {
    pthread_t thread;
    int id;
    struct conn conn[NODES];
    double next_meta;
    uint64_t bytes, errors;
};
static struct {
    char first[64];
    const char *topic;
    int partitions, threads, batch_bytes;
    double interval, seconds;
} o;
static struct part *parts;
static struct floe_writer batch;
static atomic_bool over, counting;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void die(const char *what)
{
    fprintf(stderr, "move_bench: %s\n", what);
    exit(1);
}

static int dial(const char *addr)
{
    char host[64];
    int port = 0, one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET};
    if (sscanf(addr, "%63[^:]:%d", host, &port) != 2)
        die(addr);
    at.sin_port = htons((uint16_t)port);
    inet_pton(AF_INET, host, &at.sin_addr);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static bool send_all(int fd, const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

static void hang_up(struct worker *w, struct conn *c)
{
    for (size_t i = 0; i < c->parts_n; i += c->parts[i] + 1)
        for (uint32_t k = 0; k < c->parts[i]; k++)
            parts[c->parts[i + 1 + k]].flying = false;
    close(c->fd);
    c->fd = -1;
    c->n = c->parts_n = c->flying = 0;
    for (int i = w->id; i < o.partitions; i += o.threads)
        if (parts[i].leader == c->node)
            parts[i].leader = -1;
    w->next_meta = 0;
}

static struct conn *conn_of(struct worker *w, int node)
{
    for (int i = 0; i < NODES; i++)
        if (w->conn[i].node == node && w->conn[i].addr[0])
            return &w->conn[i];
    return NULL;
}

static void learn(struct worker *w, int node, struct floe_kstr host, int32_t port)
{
    struct conn *c = conn_of(w, node);
    char addr[64];
    snprintf(addr, sizeof addr, "%.*s:%d", (int)host.n, host.p, (int)port);
    for (int i = 0; c == NULL && i < NODES; i++)
        if (!w->conn[i].addr[0])
            c = &w->conn[i];
    if (c == NULL)
        die("too many nodes");
    if (strcmp(c->addr, addr) != 0 && c->fd >= 0)
        hang_up(w, c);
    c->node = node;
    snprintf(c->addr, sizeof c->addr, "%s", addr);
}

/* ---- metadata, one blocking question ------------------------------------------------------------------ */

static bool ask(const char *addr, struct worker *w)
{
    const struct floe_kafka_api *api = floe_kafka_api_find(3);
    struct floe_kafka_MetadataRequest rq;
    struct floe_kafka_MetadataRequest_MetadataRequestTopic t;
    struct floe_writer out;
    struct floe_error err;
    struct floe_slice body;
    struct floe_arena a;
    uint8_t head[4], *in = NULL;
    int32_t id;
    void *got;
    int fd = dial(addr);
    bool ok = fd >= 0;
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_MetadataRequest_MetadataRequestTopic_desc, &t);
    t.Name = floe_kstr(o.topic);
    rq.Topics = &t;
    rq.Topics_n = 1;
    floe_writer_init(&out, 1 << 20);
    floe_arena_init(&a, 16 << 20);
    ok = ok && !floe_kafka_request_frame(api, 9, 1, floe_kstr("bench"), &rq, &out, &err);
    ok = ok && send_all(fd, out.p, out.n) && recv(fd, head, 4, MSG_WAITALL) == 4;
    size_t n = ok ? floe_be32(head) : 0;
    ok = ok && (in = malloc(n)) != NULL && recv(fd, in, n, MSG_WAITALL) == (ssize_t)n;
    ok = ok && !floe_kafka_read_response_header(api, 9, floe_slice(in, n), &id, &body, &err) &&
         !floe_kafka_decode(api->response, 9, body, &a, &got, &err);
    if (ok) {
        const struct floe_kafka_MetadataResponse *rs = got;
        for (int32_t i = 0; i < rs->Brokers_n; i++)
            learn(w, rs->Brokers[i].NodeId, rs->Brokers[i].Host, rs->Brokers[i].Port);
        for (int32_t i = 0; i < rs->Topics_n; i++)
            for (int32_t k = 0; k < rs->Topics[i].Partitions_n; k++) {
                int p = rs->Topics[i].Partitions[k].PartitionIndex;
                if (p < o.partitions && p % o.threads == w->id && parts[p].leader < 0)
                    parts[p].leader = rs->Topics[i].Partitions[k].LeaderId;
            }
    }
    if (fd >= 0)
        close(fd);
    free(in);
    floe_arena_fini(&a);
    floe_writer_fini(&out);
    return ok;
}

static void metadata(struct worker *w)
{
    w->next_meta = now() + 0.05;
    for (int i = 0; i < NODES; i++)
        if (w->conn[i].addr[0] && ask(w->conn[i].addr, w))
            return;
    if (!ask(o.first, w))
        w->next_meta = now() + 0.1;
}

/* ---- produce --------------------------------------------------------------------------------------------
 */

static void note(struct worker *w, uint32_t index,
                 const struct floe_kafka_ProduceResponse_PartitionProduceResponse *r)
{
    struct part *p = &parts[index];
    double t = now();
    p->flying = false;
    if (r->ErrorCode == 0) {
        if (p->acked > 0 && atomic_load(&counting) && t - p->acked > p->gap)
            p->gap = t - p->acked;
        if (atomic_load(&counting) && t - p->sent > p->wait)
            p->wait = t - p->sent;
        p->acked = t;
        p->sent = 0;
        if (o.interval > 0)
            p->due = p->due + o.interval > t ? p->due + o.interval : t;
        w->bytes += batch.n;
    } else if (r->ErrorCode == FLOE_KERR_NOT_LEADER_OR_FOLLOWER) {
        p->moved |= atomic_load(&counting);
        p->leader = r->CurrentLeader.LeaderId != p->leader ? r->CurrentLeader.LeaderId : -1;
    } else {
        w->errors++;
        p->leader = -1;
    }
}

static void answered(struct worker *w, struct conn *c, struct floe_slice frame)
{
    const struct floe_kafka_api *api = floe_kafka_api_find(0);
    struct floe_arena a;
    struct floe_error err;
    struct floe_slice body;
    int32_t id;
    void *out;
    floe_arena_init(&a, 16 << 20);
    if (floe_kafka_read_response_header(api, VERSION, frame, &id, &body, &err) ||
        floe_kafka_decode(api->response, VERSION, body, &a, &out, &err))
        die(err.msg);
    const struct floe_kafka_ProduceResponse *rs = out;
    for (int32_t i = 0; i < rs->NodeEndpoints_n; i++)
        learn(w, rs->NodeEndpoints[i].NodeId, rs->NodeEndpoints[i].Host, rs->NodeEndpoints[i].Port);
    for (int32_t i = 0; i < rs->Responses[0].PartitionResponses_n; i++)
        note(w, (uint32_t)rs->Responses[0].PartitionResponses[i].Index,
             &rs->Responses[0].PartitionResponses[i]);
    size_t used = c->parts[0] + 1;
    c->parts_n -= used;
    memmove(c->parts, c->parts + used, c->parts_n * sizeof *c->parts);
    c->flying--;
    floe_arena_fini(&a);
}

static void receive(struct worker *w, struct conn *c)
{
    if (c->cap - c->n < 65536) {
        c->cap = c->cap ? c->cap * 2 : 262144;
        c->in = realloc(c->in, c->cap);
    }
    ssize_t k = recv(c->fd, c->in + c->n, c->cap - c->n, MSG_DONTWAIT);
    if (k <= 0) {
        hang_up(w, c);
        return;
    }
    c->n += (size_t)k;
    while (c->n >= 4 && c->n - 4 >= floe_be32(c->in)) {
        size_t n = floe_be32(c->in);
        answered(w, c, floe_slice(c->in + 4, n));
        if (c->fd < 0)
            return;
        memmove(c->in, c->in + 4 + n, c->n - 4 - n);
        c->n -= 4 + n;
    }
}

static void send_due(struct worker *w, struct conn *c,
                     struct floe_kafka_ProduceRequest_PartitionProduceData *data)
{
    const struct floe_kafka_api *api = floe_kafka_api_find(0);
    struct floe_kafka_ProduceRequest rq;
    struct floe_kafka_ProduceRequest_TopicProduceData t;
    struct floe_error err;
    double at = now();
    uint32_t n = 0;
    uint32_t *list = c->parts + c->parts_n;
    for (int i = w->id; i < o.partitions; i += o.threads) {
        if (parts[i].leader != c->node || parts[i].flying || parts[i].due > at)
            continue;
        if (c->fd < 0 && (c->fd = dial(c->addr)) < 0) {
            parts[i].leader = -1;
            return;
        }
        floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_PartitionProduceData_desc, &data[n]);
        data[n].Index = i;
        data[n].Records = (struct floe_krecords){.p = batch.p, .n = (int32_t)batch.n};
        parts[i].flying = true;
        parts[i].sent = parts[i].sent > 0 ? parts[i].sent : at;
        list[++n] = (uint32_t)i;
    }
    if (n == 0)
        return;
    list[0] = n;
    c->parts_n += n + 1;
    c->flying++;
    floe_kafka_defaults(&floe_kafka_ProduceRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_TopicProduceData_desc, &t);
    t.Name = floe_kstr(o.topic);
    t.PartitionData = data;
    t.PartitionData_n = (int32_t)n;
    rq.Acks = -1;
    rq.TimeoutMs = 30000;
    rq.TopicData = &t;
    rq.TopicData_n = 1;
    struct floe_writer out;
    floe_writer_init(&out, 128 << 20);
    if (floe_kafka_request_frame(api, VERSION, 1, floe_kstr("bench"), &rq, &out, &err))
        die(err.msg);
    if (!send_all(c->fd, out.p, out.n))
        hang_up(w, c);
    floe_writer_fini(&out);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    size_t room = (size_t)o.partitions * 2 + FLYING * 2 + 2;
    struct floe_kafka_ProduceRequest_PartitionProduceData *data = calloc((size_t)o.partitions, sizeof *data);
    for (int i = 0; i < NODES; i++) {
        w->conn[i].fd = -1;
        w->conn[i].parts = calloc(room, sizeof *w->conn[i].parts);
    }
    while (!atomic_load(&over)) {
        struct pollfd fds[NODES];
        struct conn *at[NODES];
        nfds_t n = 0;
        bool lost = false;
        for (int i = w->id; i < o.partitions; i += o.threads)
            lost |= parts[i].leader < 0;
        if (lost && now() >= w->next_meta)
            metadata(w);
        for (int i = 0; i < NODES; i++) {
            struct conn *c = &w->conn[i];
            if (c->addr[0] && c->flying < FLYING)
                send_due(w, c, data);
            if (c->fd >= 0) {
                at[n] = c;
                fds[n++] = (struct pollfd){.fd = c->fd, .events = POLLIN};
            }
        }
        if (poll(fds, n, 2) > 0)
            for (nfds_t i = 0; i < n; i++)
                if (fds[i].revents && at[i]->fd == fds[i].fd)
                    receive(w, at[i]);
    }
    free(data);
    return NULL;
}

/* ---- figures ----------------------------------------------------------------------------------------------
 */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* `what`: the value's place in struct part. */
static void print_figure(const char *name, size_t what, bool moved_only)
{
    double *v = calloc((size_t)o.partitions, sizeof *v);
    size_t n = 0;
    for (int i = 0; i < o.partitions; i++)
        if (!moved_only || parts[i].moved)
            memcpy(&v[n++], (const char *)&parts[i] + what, sizeof *v);
    qsort(v, n, sizeof *v, by_value);
    printf("%s_p50=%.0f %s_p99=%.0f %s_max=%.0f ", name, n ? v[n / 2] * 1000 : 0, name,
           n ? v[n * 99 / 100] * 1000 : 0, name, n ? v[n - 1] * 1000 : 0);
    free(v);
}

static size_t moved_count(void)
{
    size_t n = 0;
    for (int i = 0; i < o.partitions; i++)
        n += parts[i].moved;
    return n;
}

static void make_batch(void)
{
    struct floe_batch_builder b;
    struct floe_error err;
    uint8_t value[100];
    floe_batch_builder_init(&b, FLOE_COMPRESSION_NONE, 16 << 20);
    memset(value, 'x', sizeof value);
    for (int left = o.batch_bytes; left > 0; left -= 110)
        if (floe_batch_builder_add(&b, 1700000000000, (struct floe_kbytes){NULL, -1},
                                   (struct floe_kbytes){value, sizeof value}, NULL, 0, &err))
            die(err.msg);
    if (floe_batch_builder_finish(&b, &batch, &err))
        die(err.msg);
    floe_batch_builder_fini(&b);
}

int main(int argc, char **argv)
{
    static struct worker w[THREADS];
    char line[16];
    if (argc != 8) {
        fprintf(stderr,
                "usage: move_bench HOST:PORT TOPIC PARTITIONS THREADS BATCH_BYTES INTERVAL_MS SECONDS\n");
        return 2;
    }
    snprintf(o.first, sizeof o.first, "%s", argv[1]);
    o.topic = argv[2];
    o.partitions = atoi(argv[3]);
    o.threads = atoi(argv[4]);
    o.batch_bytes = atoi(argv[5]);
    o.interval = atof(argv[6]) / 1000;
    o.seconds = atof(argv[7]);
    if (o.partitions < 1 || o.threads < 1 || o.threads > THREADS)
        die("partitions or threads cannot be");
    floe_writer_init(&batch, 32 << 20);
    make_batch();
    parts = calloc((size_t)o.partitions, sizeof *parts);
    for (int i = 0; i < o.partitions; i++)
        parts[i] = (struct part){.leader = -1, .due = now() + o.interval * i / o.partitions};
    for (int i = 0; i < o.threads; i++) {
        w[i].id = i;
        pthread_create(&w[i].thread, NULL, work, &w[i]);
    }
    if (fgets(line, sizeof line, stdin) == NULL)
        return 1;
    uint64_t bytes = 0, errors = 0;
    for (int i = 0; i < o.threads; i++)
        bytes -= w[i].bytes;
    atomic_store(&counting, true);
    usleep((useconds_t)(o.seconds * 1e6));
    atomic_store(&over, true);
    for (int i = 0; i < o.threads; i++) {
        pthread_join(w[i].thread, NULL);
        bytes += w[i].bytes;
        errors += w[i].errors;
    }
    double t = now(); /* one that is silent to the end */
    for (int i = 0; i < o.partitions; i++)
        if (t - parts[i].acked > parts[i].gap && t - parts[i].acked > 1)
            parts[i].gap = parts[i].wait = t - parts[i].acked;
    printf("mb_s=%.1f errors=%llu ", (double)bytes / 1e6 / o.seconds, (unsigned long long)errors);
    printf("all=%d moved=%zu ", o.partitions, moved_count());
    print_figure("all", offsetof(struct part, wait), false);
    print_figure("moved", offsetof(struct part, wait), true);
    print_figure("gap", offsetof(struct part, gap), false);
    printf("\n");
    return 0;
}
