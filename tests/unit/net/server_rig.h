#ifndef FLOE_TEST_SERVER_RIG_H
#define FLOE_TEST_SERVER_RIG_H

/* For tests of the listeners: a fake service on a core loop of its own thread, and clients with real sockets.
 */
#include <floe_cmocka.h>

#include <errno.h>
#include <floe/base/log.h>
#include <floe/net/server.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HELD_MAX 4096
#define BIG (5 << 18)
#define MUTE_MS 300
#define BIG_NAME 32000

static const struct floe_version_range served[] = {
    {0, 0, 13, false}, {3, 0, 13, false}, {18, 0, 4, false}, {20000, 0, 0, true}};

/* The fake service. A Metadata request's first topic says what to do: "hold", "next" (lets the next one
 * start, and is held), "big" (an answer of BIG bytes), "mute" (MUTE_MS), "close", else it is answered at
 * once. */
struct rig {
    struct floe_loop_uv *uv;
    struct floe_loop *core;
    pthread_t thread;
    struct floe_budget budget;
    struct floe_budget answers; /* a hundred bytes of it for each big answer */
    struct floe_listen listen[2];
    struct floe_server_config cfg;
    struct floe_server *server;
    bool closed;
    /* the core's */
    struct floe_request *held[HELD_MAX];
    uint32_t held_n, started, cancelled;
};
static char big[BIG_NAME];
static struct rig *the; /* of the running test */

static inline void answer(struct floe_request *rq)
{
    if (rq->head.api_key == 18) {
        struct floe_kafka_ApiVersionsResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
        floe_kafka_defaults(&floe_kafka_ApiVersionsResponse_desc, rs);
        rs->ErrorCode = rq->unsupported ? FLOE_KERR_UNSUPPORTED_VERSION : 0;
        rq->response = rs;
    } else if (rq->head.api_key == 3) {
        const struct floe_kafka_MetadataRequest *in = rq->body;
        struct floe_kafka_MetadataResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
        floe_kafka_defaults(&floe_kafka_MetadataResponse_desc, rs);
        if (in->Topics_n > 0 && floe_kstr_is(in->Topics[0].Name, "big")) {
            rs->Topics_n = BIG / BIG_NAME + 1;
            rs->Topics = floe_kafka_array(&floe_kafka_MetadataResponse_MetadataResponseTopic_desc,
                                          rs->Topics_n, &rq->arena);
            for (int32_t i = 0; i < rs->Topics_n; i++)
                rs->Topics[i].Name = floe_kstr_n(big, BIG_NAME);
            floe_budget_force(&the->answers, 100);
            rq->held = 100;
            rq->held_budget = &the->answers;
        } else if (in->Topics_n > 0 && floe_kstr_is(in->Topics[0].Name, "mute")) {
            rq->mute_ms = MUTE_MS;
        }
        rq->response = rs;
    } else if (rq->head.api_key == 0) {
        struct floe_kafka_ProduceResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
        floe_kafka_defaults(&floe_kafka_ProduceResponse_desc, rs);
        rq->response = rs;
    } else {
        struct floe_kafka_PeerHeartbeatResponse *rs = floe_arena_alloc(&rq->arena, sizeof *rs);
        floe_kafka_defaults(&floe_kafka_PeerHeartbeatResponse_desc, rs);
        rq->response = rs;
    }
    floe_request_complete(rq);
}

static inline void cancel(struct floe_request *rq)
{
    (void)rq;
    the->cancelled++;
}

static inline void start(struct floe_request *rq)
{
    the->started++;
    struct floe_kstr what = {NULL, -1};
    if (rq->head.api_key == 3 && !rq->unsupported) {
        const struct floe_kafka_MetadataRequest *in = rq->body;
        if (in->Topics_n > 0)
            what = in->Topics[0].Name;
    } else if (rq->head.api_key == 0) {
        const struct floe_kafka_ProduceRequest *in = rq->body;
        what = in->TransactionalId;
    }
    bool next = floe_kstr_is(what, "next");
    if (floe_kstr_is(what, "close")) {
        floe_request_close(rq, "asked to");
    } else if (next || floe_kstr_is(what, "hold")) {
        rq->cancel = cancel;
        assert_true(the->held_n < HELD_MAX);
        the->held[the->held_n++] = rq;
        if (next)
            floe_request_next(rq);
    } else {
        answer(rq);
    }
}

static inline bool prepare(void *user, struct floe_request *rq)
{
    assert_ptr_equal(user, the);
    const struct floe_kafka_ProduceRequest *in = rq->body;
    if (rq->head.api_key == 0 && in->Acks == 77) {
        snprintf(rq->reason, sizeof rq->reason, "acks are 77");
        return false;
    }
    rq->keep = rq->head.api_key == 0;
    return true;
}

/* Runs fn on the core and waits for it. */
struct call {
    struct floe_task task;
    void (*fn)(void *);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool ran;
};
static inline void run_call(struct floe_task *t)
{
    struct call *c = t->user;
    c->fn(c->arg);
    pthread_mutex_lock(&c->lock);
    c->ran = true;
    pthread_cond_signal(&c->done);
    pthread_mutex_unlock(&c->lock);
}
static inline void on_core(void (*fn)(void *), void *arg)
{
    struct call c = {.fn = fn, .arg = arg};
    pthread_mutex_init(&c.lock, NULL);
    pthread_cond_init(&c.done, NULL);
    c.task = (struct floe_task){.fn = run_call, .user = &c};
    floe_loop_post(the->core, &c.task);
    pthread_mutex_lock(&c.lock);
    while (!c.ran)
        pthread_cond_wait(&c.done, &c.lock);
    pthread_mutex_unlock(&c.lock);
    pthread_cond_destroy(&c.done);
    pthread_mutex_destroy(&c.lock);
}

static inline void *core_main(void *arg)
{
    floe_loop_uv_run(arg);
    return NULL;
}

static inline void nap(void)
{
    struct timespec ts = {.tv_nsec = 2000000};
    nanosleep(&ts, NULL); /* lint: nanosleep a poll of another thread's state, with a deadline */
}

struct counts {
    uint32_t held, started, cancelled;
    bool closed;
};
static inline void read_counts(void *p)
{
    struct counts *c = p;
    *c = (struct counts){the->held_n, the->started, the->cancelled, the->closed};
}
static inline struct counts counts(void)
{
    struct counts c;
    on_core(read_counts, &c);
    return c;
}
/* Waits (at most 20 s) until the condition over counts `k` holds. */
#define WAIT_FOR(cond)                                                                                       \
    do {                                                                                                     \
        struct counts k = counts();                                                                          \
        for (int tries = 0; tries < 10000 && !(cond); tries++) {                                             \
            nap();                                                                                           \
            k = counts();                                                                                    \
        }                                                                                                    \
        if (!(cond))                                                                                         \
            fail_msg("never: %s (held %u, started %u, cancelled %u)", #cond, k.held, k.started,              \
                     k.cancelled);                                                                           \
    } while (0)

static inline void release_at(void *p)
{
    uint32_t i = *(uint32_t *)p;
    struct floe_request *rq = the->held[i];
    assert_non_null(rq);
    the->held[i] = NULL;
    answer(rq);
}
static inline void release(uint32_t i)
{
    on_core(release_at, &i);
}

static inline void rig_start(struct rig *r, size_t budget, uint32_t frame_max)
{
    struct floe_error err = {0};
    memset(r, 0, sizeof *r);
    the = r;
    assert_int_equal(floe_loop_uv_create(&r->uv, &err), FLOE_OK);
    r->core = floe_loop_uv_base(r->uv);
    floe_budget_init(&r->budget, budget);
    floe_budget_init(&r->answers, SIZE_MAX);
    r->listen[0] = (struct floe_listen){.name = "a", .host = "127.0.0.1"};
    r->cfg = (struct floe_server_config){.core = r->core,
                                         .threads = 2,
                                         .budget = &r->budget,
                                         .frame_max = frame_max,
                                         .connections_max = 1000,
                                         .idle_ms = 600000,
                                         .listens = r->listen,
                                         .listen_count = 1,
                                         .served = served,
                                         .served_count = FLOE_COUNTOF(served),
                                         .user = r,
                                         .prepare = prepare,
                                         .start = start};
}

static inline void rig_open(struct rig *r)
{
    struct floe_error err = {0};
    if (floe_server_create(&r->server, &r->cfg, &err))
        fail_msg("%s", err.msg);
    assert_int_not_equal(r->listen[0].port, 0);
    assert_int_equal(pthread_create(&r->thread, NULL, core_main, r->uv), 0);
    floe_server_open(r->server);
}

static inline void server_closed(void *user)
{
    ((struct rig *)user)->closed = true;
}
static inline void close_server(void *p)
{
    floe_server_close(p, server_closed, the);
}
static inline void rig_end(struct rig *r)
{
    on_core(close_server, r->server);
    for (uint32_t i = 0; i < r->held_n; i++) {
        if (r->held[i])
            release(i);
    }
    WAIT_FOR(k.closed);
    floe_loop_uv_stop(r->uv);
    pthread_join(r->thread, NULL);
    assert_int_equal(floe_budget_used(&r->budget), 0);
    assert_int_equal(floe_budget_used(&r->answers), 0);
    assert_int_equal(floe_server_stats(r->server)->connections, 0);
    floe_server_destroy(&r->server);
    floe_loop_uv_destroy(&r->uv);
}

/* ---- a client ---- */

static inline int dial(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct timeval tv = {.tv_sec = 60};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static inline void put(int fd, const void *p, size_t n)
{
    const char *at = p;
    while (n > 0) {
        ssize_t k = send(fd, at, n, MSG_NOSIGNAL);
        if (k < 0)
            fail_msg("send: %s", strerror(errno));
        at += k;
        n -= (size_t)k;
    }
}

/* False at the end of the stream (or a reset). */
static inline bool get(int fd, void *p, size_t n)
{
    char *at = p;
    while (n > 0) {
        ssize_t k = recv(fd, at, n, 0);
        if (k < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            fail_msg("nothing came within the time limit");
        if (k <= 0)
            return false;
        at += k;
        n -= (size_t)k;
    }
    return true;
}

static inline void frame_metadata(struct floe_writer *w, int32_t id, const char *what)
{
    struct floe_kafka_MetadataRequest rq;
    struct floe_kafka_MetadataRequest_MetadataRequestTopic t;
    struct floe_error err;
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_MetadataRequest_MetadataRequestTopic_desc, &t);
    t.Name = floe_kstr(what);
    rq.Topics = &t;
    rq.Topics_n = 1;
    assert_int_equal(floe_kafka_request_frame(floe_kafka_api_find(3), 9, id, floe_kstr("test"), &rq, w, &err),
                     FLOE_OK);
}

/* A Produce request with so many bytes of (invalid) records. */
static inline void frame_produce(struct floe_writer *w, int32_t id, const char *what, size_t bytes,
                                 int16_t acks)
{
    struct floe_kafka_ProduceRequest rq;
    struct floe_kafka_ProduceRequest_TopicProduceData t;
    struct floe_kafka_ProduceRequest_PartitionProduceData p;
    struct floe_error err;
    floe_kafka_defaults(&floe_kafka_ProduceRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_TopicProduceData_desc, &t);
    floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_PartitionProduceData_desc, &p);
    uint8_t *data = calloc(1, bytes + 1);
    rq.TransactionalId = floe_kstr(what);
    rq.Acks = acks;
    rq.TopicData = &t;
    rq.TopicData_n = 1;
    t.Name = floe_kstr("t");
    t.PartitionData = &p;
    t.PartitionData_n = 1;
    p.Records = (struct floe_krecords){.p = data, .n = (int32_t)bytes};
    assert_int_equal(floe_kafka_request_frame(floe_kafka_api_find(0), 9, id, floe_kstr("test"), &rq, w, &err),
                     FLOE_OK);
    free(data);
}

static inline void send_metadata(int fd, int32_t id, const char *what)
{
    struct floe_writer w;
    floe_writer_init(&w, 1 << 20);
    frame_metadata(&w, id, what);
    put(fd, w.p, w.n);
    floe_writer_fini(&w);
}

/* The next answer's correlation id and size; -1 at the end of the stream. */
static inline int32_t next_answer(int fd, uint32_t *size)
{
    uint8_t head[8];
    char sink[65536];
    if (!get(fd, head, 8))
        return -1;
    uint32_t n = floe_be32(head);
    if (size)
        *size = n;
    for (uint32_t left = n - 4; left > 0;) {
        uint32_t k = FLOE_MIN(left, (uint32_t)sizeof sink);
        assert_true(get(fd, sink, k));
        left -= k;
    }
    return (int32_t)floe_be32(head + 4);
}

static inline void expect_closed(int fd)
{
    char c;
    assert_false(get(fd, &c, 1));
    close(fd);
}

/* Somebody else is served while this or that goes on. */
static inline void expect_service(struct rig *r)
{
    int fd = dial(r->listen[0].port);
    send_metadata(fd, 4711, "x");
    assert_int_equal(next_answer(fd, NULL), 4711);
    close(fd);
}

static inline void rig_init(void)
{
    if (getenv("ONLY"))
        cmocka_set_test_filter(getenv("ONLY"));
    signal(SIGPIPE, SIG_IGN);
    memset(big, 'b', sizeof big);
}

#endif
