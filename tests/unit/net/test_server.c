/* ctest labels: threads */
/* The listeners against real sockets: a fake service on a core loop of its own thread, clients on this one.
 * Long because: one rig (service, clients, counters) serves every case of a connection's life. */
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
#define BIG_NAME 32000

static const struct floe_version_range served[] = {
    {0, 0, 13, false}, {3, 0, 13, false}, {18, 0, 4, false}, {20000, 0, 0, true}};

/* The fake service. A Metadata request's first topic says what to do: "hold", "next" (lets the next one
 * start, and is held), "big" (an answer of BIG bytes), "close", else it is answered at once. */
struct rig {
    struct floe_loop_uv *uv;
    struct floe_loop *core;
    pthread_t thread;
    struct floe_budget budget;
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

static void answer(struct floe_request *rq)
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

static void cancel(struct floe_request *rq)
{
    (void)rq;
    the->cancelled++;
}

static void start(struct floe_request *rq)
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

static bool prepare(void *user, struct floe_request *rq)
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
static void run_call(struct floe_task *t)
{
    struct call *c = t->user;
    c->fn(c->arg);
    pthread_mutex_lock(&c->lock);
    c->ran = true;
    pthread_cond_signal(&c->done);
    pthread_mutex_unlock(&c->lock);
}
static void on_core(void (*fn)(void *), void *arg)
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

static void *core_main(void *arg)
{
    floe_loop_uv_run(arg);
    return NULL;
}

static void nap(void)
{
    struct timespec ts = {.tv_nsec = 2000000};
    nanosleep(&ts, NULL); /* lint: nanosleep a poll of another thread's state, with a deadline */
}

struct counts {
    uint32_t held, started, cancelled;
    bool closed;
};
static void read_counts(void *p)
{
    struct counts *c = p;
    *c = (struct counts){the->held_n, the->started, the->cancelled, the->closed};
}
static struct counts counts(void)
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

static void release_at(void *p)
{
    uint32_t i = *(uint32_t *)p;
    struct floe_request *rq = the->held[i];
    assert_non_null(rq);
    the->held[i] = NULL;
    answer(rq);
}
static void release(uint32_t i)
{
    on_core(release_at, &i);
}

static void rig_start(struct rig *r, size_t budget, uint32_t frame_max)
{
    struct floe_error err = {0};
    memset(r, 0, sizeof *r);
    the = r;
    assert_int_equal(floe_loop_uv_create(&r->uv, &err), FLOE_OK);
    r->core = floe_loop_uv_base(r->uv);
    floe_budget_init(&r->budget, budget);
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

static void rig_open(struct rig *r)
{
    struct floe_error err = {0};
    if (floe_server_create(&r->server, &r->cfg, &err))
        fail_msg("%s", err.msg);
    assert_int_not_equal(r->listen[0].port, 0);
    assert_int_equal(pthread_create(&r->thread, NULL, core_main, r->uv), 0);
    floe_server_open(r->server);
}

static void server_closed(void *user)
{
    ((struct rig *)user)->closed = true;
}
static void close_server(void *p)
{
    floe_server_close(p, server_closed, the);
}
static void rig_end(struct rig *r)
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
    assert_int_equal(floe_server_stats(r->server)->connections, 0);
    floe_server_destroy(&r->server);
    floe_loop_uv_destroy(&r->uv);
}

/* ---- a client ---- */

static int dial(uint16_t port)
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

static void put(int fd, const void *p, size_t n)
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
static bool get(int fd, void *p, size_t n)
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

static void frame_metadata(struct floe_writer *w, int32_t id, const char *what)
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
static void frame_produce(struct floe_writer *w, int32_t id, const char *what, size_t bytes, int16_t acks)
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

static void send_metadata(int fd, int32_t id, const char *what)
{
    struct floe_writer w;
    floe_writer_init(&w, 1 << 20);
    frame_metadata(&w, id, what);
    put(fd, w.p, w.n);
    floe_writer_fini(&w);
}

/* The next answer's correlation id and size; -1 at the end of the stream. */
static int32_t next_answer(int fd, uint32_t *size)
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

static void expect_closed(int fd)
{
    char c;
    assert_false(get(fd, &c, 1));
    close(fd);
}

/* Somebody else is served while this or that goes on. */
static void expect_service(struct rig *r)
{
    int fd = dial(r->listen[0].port);
    send_metadata(fd, 4711, "x");
    assert_int_equal(next_answer(fd, NULL), 4711);
    close(fd);
}

/* ---- tests ---- */

static void test_split_and_joined(void **state)
{
    struct rig r;
    struct floe_writer w;
    (void)state;
    rig_start(&r, 1 << 20, 1 << 20);
    rig_open(&r);
    int fd = dial(r.listen[0].port);
    floe_writer_init(&w, 1 << 20);
    frame_metadata(&w, 1, "abc");
    for (size_t i = 0; i < w.n; i++) /* a byte a packet */
        put(fd, w.p + i, 1);
    assert_int_equal(next_answer(fd, NULL), 1);
    for (size_t cut = 1; cut < w.n; cut++) {
        put(fd, w.p, cut);
        put(fd, w.p + cut, w.n - cut);
        assert_int_equal(next_answer(fd, NULL), 1);
    }
    /* Many in one write, more than a connection may have inside; a large one among them. */
    floe_writer_fini(&w);
    floe_writer_init(&w, 4 << 20);
    for (int32_t i = 0; i < 300; i++) {
        if (i == 100)
            frame_produce(&w, i, "", 100000, 1);
        else
            frame_metadata(&w, i, "abc");
    }
    put(fd, w.p, w.n);
    for (int32_t i = 0; i < 300; i++)
        assert_int_equal(next_answer(fd, NULL), i);
    floe_writer_fini(&w);
    close(fd);
    rig_end(&r);
}

static void test_order(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r, 1 << 20, 1 << 20);
    rig_open(&r);
    int fd = dial(r.listen[0].port);
    send_metadata(fd, 1, "next");
    send_metadata(fd, 2, "next");
    send_metadata(fd, 3, "hold"); /* starts, and lets nobody else start */
    send_metadata(fd, 4, "x");
    WAIT_FOR(k.started == 3);
    expect_service(&r); /* other connections are not held up */
    assert_int_equal(counts().started, 4);
    release(1); /* out of order: waits for the first */
    release(2); /* and now the fourth starts */
    WAIT_FOR(k.started == 5);
    assert_int_equal(recv(fd, &(char){0}, 1, MSG_DONTWAIT), -1);
    release(0);
    for (int32_t i = 1; i <= 4; i++)
        assert_int_equal(next_answer(fd, NULL), i);
    close(fd);
    rig_end(&r);
}

static void test_malformed(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r, 1 << 20, 100000);
    rig_open(&r);
    static const struct {
        const char *bytes;
        size_t n;
    } bad[] = {
        {"\0\0\0\0", 4},                            /* no length */
        {"\xff\xff\xff\xff", 4},                    /* negative */
        {"\0\1\x86\xa1", 4},                        /* one above the limit */
        {"GET / HTTP/1.1\r\n\r\n", 18},             /* somebody else's protocol */
        {"\x16\3\1\2\0\1\0\1\xfc\3\3", 11},         /* TLS */
        {"\0\0\0\1x", 5},                           /* too short for a header */
        {"\0\0\0\x0a\0\x63\0\0\0\0\0\1\0\0", 14},   /* key 99 */
        {"\0\0\0\x0a\0\3\0\x63\0\0\0\1\0\0", 14},   /* Metadata 99 */
        {"\0\0\0\x0a\0\0\0\2\0\0\0\1\0\0", 14},     /* Produce 2: advertised, refused */
        {"\0\0\0\x0a\0\x2a\0\0\0\0\0\1\0\0", 14},   /* DeleteGroups: known, not served here */
        {"\0\0\0\x0a\x4e\x20\0\0\0\0\0\1\0\0", 14}, /* a broker's own API */
        {"\0\0\0\x10\0\3\0\1\0\0\0\1\xff\xff\x7f\xff\xff\xff\0\0", 20}, /* two thousand million topics */
    };
    for (size_t i = 0; i < FLOE_COUNTOF(bad); i++) {
        int fd = dial(r.listen[0].port);
        put(fd, bad[i].bytes, bad[i].n);
        expect_closed(fd);
        expect_service(&r);
    }
    assert_int_equal(counts().started, FLOE_COUNTOF(bad));
    /* What the service's own check refuses, and what a handler closes. */
    struct floe_writer w;
    int fd = dial(r.listen[0].port);
    floe_writer_init(&w, 1 << 20);
    frame_produce(&w, 1, "", 10, 77);
    put(fd, w.p, w.n);
    floe_writer_fini(&w);
    expect_closed(fd);
    fd = dial(r.listen[0].port);
    send_metadata(fd, 1, "x");
    send_metadata(fd, 2, "close");
    assert_int_equal(next_answer(fd, NULL), 1);
    expect_closed(fd);
    /* ApiVersions of an unknown version: header v0, body v0, error 35. */
    fd = dial(r.listen[0].port);
    put(fd, "\0\0\0\x0c\0\x12\0\x63\0\0\0\7\1\2\3\4", 16);
    uint8_t head[10];
    assert_true(get(fd, head, 10));
    assert_int_equal(floe_be32(head + 4), 7);
    assert_int_equal(floe_be16(head + 8), 35);
    close(fd);
    rig_end(&r);
}

static void test_peer_listener(void **state)
{
    struct rig r;
    struct floe_writer w;
    struct floe_kafka_PeerHeartbeatRequest rq;
    struct floe_error err;
    (void)state;
    rig_start(&r, 1 << 20, 1 << 20);
    r.listen[1] = (struct floe_listen){.name = "peer", .host = "127.0.0.1", .for_peers = true};
    r.cfg.listen_count = 2;
    rig_open(&r);
    floe_kafka_defaults(&floe_kafka_PeerHeartbeatRequest_desc, &rq);
    floe_writer_init(&w, 1 << 20);
    assert_int_equal(
        floe_kafka_request_frame(floe_kafka_api_find(20000), 0, 5, floe_kstr("b"), &rq, &w, &err), FLOE_OK);
    int fd = dial(r.listen[1].port);
    put(fd, w.p, w.n);
    assert_int_equal(next_answer(fd, NULL), 5);
    close(fd);
    fd = dial(r.listen[0].port);
    put(fd, w.p, w.n);
    expect_closed(fd);
    floe_writer_fini(&w);
    rig_end(&r);
}

/* Hundreds of connections declare 100 MiB and send little. */
static void test_flood(void **state)
{
    enum { N = 200, SOME = 30000 };
    struct rig r;
    static int fd[N];
    static char zero[SOME];
    (void)state;
    rig_start(&r, 4 << 20, 100 << 20);
    rig_open(&r);
    for (int i = 0; i < N; i++) {
        fd[i] = dial(r.listen[0].port);
        put(fd[i], "\6\x40\0\0\0\0\0\x09", 8);
    }
    while (floe_server_stats(r.server)->bytes_in < 8 * N || floe_budget_used(&r.budget) < 4 * N)
        nap();
    expect_service(&r);
    assert_in_range(r.budget.peak, 0, 4 << 20);
    assert_in_range(floe_budget_used(&r.budget), 4 * N, 8 * N + 4096);
    /* They go on until the budget is full: it never holds more than the one that is over it brings. */
    for (int i = 0; i < N; i++)
        put(fd[i], zero, SOME);
    while (floe_server_stats(r.server)->paused == 0)
        nap();
    assert_in_range(floe_budget_used(&r.budget), 0, (4 << 20) + SOME);
    expect_service(&r); /* small requests pass */
    for (int i = 0; i < N; i++)
        close(fd[i]);
    rig_end(&r);
}

static void test_pause_and_resume(void **state)
{
    struct rig r;
    struct floe_writer w;
    int fd[4];
    (void)state;
    rig_start(&r, 1 << 20, 1 << 20);
    rig_open(&r);
    for (uint32_t i = 0; i < 4; i++) {
        fd[i] = dial(r.listen[0].port);
        floe_writer_init(&w, 1 << 20);
        frame_produce(&w, 1, "hold", 300000, 1);
        put(fd[i], w.p, w.n);
        floe_writer_fini(&w);
        if (i < 3)
            WAIT_FOR(k.held == i + 1);
    }
    while (floe_server_stats(r.server)->paused == 0)
        nap();
    assert_int_equal(counts().held, 3);
    assert_in_range(floe_budget_used(&r.budget), 900000, 1 << 20);
    expect_service(&r);
    release(1); /* its bytes are given back: the fourth comes in whole */
    WAIT_FOR(k.held == 4);
    assert_int_equal(next_answer(fd[1], NULL), 1);
    release(0);
    release(2);
    release(3);
    for (uint32_t i = 0; i < 4; i++) {
        if (i != 1)
            assert_int_equal(next_answer(fd[i], NULL), 1);
        close(fd[i]);
    }
    rig_end(&r);
}

static void *produce_once(void *arg)
{
    struct floe_writer w;
    int fd = dial(*(uint16_t *)arg);
    floe_writer_init(&w, 1 << 20);
    frame_produce(&w, 9, "", 600000, 1);
    put(fd, w.p, w.n);
    floe_writer_fini(&w);
    int32_t id = next_answer(fd, NULL);
    close(fd);
    return (void *)(intptr_t)id;
}

/* Frames that together (and even each alone) do not fit the budget block each other for a moment only. */
static void test_overdraft(void **state)
{
    struct rig r;
    pthread_t t[6];
    (void)state;
    rig_start(&r, 500000, 1 << 20);
    rig_open(&r);
    for (int i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&t[i], NULL, produce_once, &r.listen[0].port), 0);
    for (int i = 0; i < 6; i++) {
        void *id;
        pthread_join(t[i], &id);
        assert_int_equal((intptr_t)id, 9);
    }
    assert_in_range(r.budget.peak, 500001, 500000 + 250000 + 700000);
    rig_end(&r);
}

/* A client that has a budget's worth of frames begun and sends no more does not stop the others for ever. */
static void test_overdraft_is_taken_away(void **state)
{
    struct rig r;
    static char zero[450000];
    (void)state;
    rig_start(&r, 500000, 1 << 20);
    rig_open(&r);
    int lazy[2];
    for (int i = 0; i < 2; i++) {
        lazy[i] = dial(r.listen[0].port);
        put(lazy[i], "\0\x0f\0\0\0\0\0\x09", 8);
        put(lazy[i], zero, i == 0 ? sizeof zero : 100000);
    }
    assert_int_equal((intptr_t)produce_once(&r.listen[0].port), 9);
    close(lazy[0]);
    close(lazy[1]);
    rig_end(&r);
}

static void test_slow_reader(void **state)
{
    struct rig r;
    struct floe_writer w;
    uint32_t size;
    (void)state;
    rig_start(&r, 64 << 20, 1 << 20);
    rig_open(&r);
    int fd = dial(r.listen[0].port);
    floe_writer_init(&w, 1 << 20);
    for (int32_t i = 0; i < 80; i++)
        frame_metadata(&w, i, "big");
    put(fd, w.p, w.n);
    floe_writer_fini(&w);
    WAIT_FOR(k.started > 0);
    expect_service(&r);
    for (int32_t i = 0; i < 80; i++) {
        assert_int_equal(next_answer(fd, &size), i);
        assert_true(size > BIG);
    }
    /* And one that never reads goes away with its answers. */
    send_metadata(fd, 1, "big");
    WAIT_FOR(k.started == 82);
    close(fd);
    rig_end(&r);
}

static void test_client_gone(void **state)
{
    struct rig r;
    struct floe_writer w;
    (void)state;
    rig_start(&r, 1 << 20, 1 << 20);
    rig_open(&r);
    int fd = dial(r.listen[0].port);
    send_metadata(fd, 1, "next");
    send_metadata(fd, 2, "hold");
    send_metadata(fd, 3, "hold"); /* never starts */
    WAIT_FOR(k.held == 2);
    close(fd);
    WAIT_FOR(k.cancelled == 1); /* the one that holds the queue is asked to end */
    release(1);
    release(0);
    assert_int_equal(counts().started, 2);
    /* In the middle of a frame, and in the middle of a length. */
    for (size_t n = 1; n < 20; n += 6) {
        fd = dial(r.listen[0].port);
        put(fd, "\0\0\0\x40\0\3\0\1\0\0\0\1\xff\xff\0\0\0\1\0\1", n);
        close(fd);
    }
    /* Produce requests that have come run even so: with acks=0 nobody waits for an answer. */
    fd = dial(r.listen[0].port);
    send_metadata(fd, 1, "hold");
    floe_writer_init(&w, 1 << 20);
    for (int32_t i = 0; i < 5; i++)
        frame_produce(&w, 2 + i, "", 10, 0);
    put(fd, w.p, w.n);
    floe_writer_fini(&w);
    WAIT_FOR(k.held == 3);
    close(fd);
    WAIT_FOR(k.cancelled == 2);
    assert_int_equal(counts().started, 3);
    release(2);
    WAIT_FOR(k.started == 8);
    expect_service(&r);
    rig_end(&r);
}

static void test_close_with_open_connections(void **state)
{
    struct rig r;
    int fd[20];
    (void)state;
    rig_start(&r, 1 << 20, 1 << 20);
    rig_open(&r);
    for (int i = 0; i < 20; i++) {
        fd[i] = dial(r.listen[0].port);
        if (i % 3 == 0)
            send_metadata(fd[i], 1, "hold");
        else if (i % 3 == 1)
            put(fd[i], "\0\0\0\x40\0\3", 6);
    }
    WAIT_FOR(k.held == 7);
    on_core(close_server, r.server);
    WAIT_FOR(k.cancelled == 7);
    assert_false(counts().closed); /* requests are inside */
    for (uint32_t i = 0; i < 7; i++)
        release(i);
    WAIT_FOR(k.closed);
    for (int i = 0; i < 20; i++)
        expect_closed(fd[i]);
    floe_loop_uv_stop(r.uv);
    pthread_join(r.thread, NULL);
    assert_int_equal(floe_budget_used(&r.budget), 0);
    floe_server_destroy(&r.server);
    floe_loop_uv_destroy(&r.uv);
}

static void test_limits(void **state)
{
    struct rig r;
    int fd[3];
    (void)state;
    rig_start(&r, 1 << 20, 1 << 20);
    r.cfg.connections_max = 3;
    r.cfg.idle_ms = 300;
    rig_open(&r);
    for (int i = 0; i < 3; i++) {
        fd[i] = dial(r.listen[0].port);
        send_metadata(fd[i], 1, i == 0 ? "hold" : "x");
        if (i > 0)
            assert_int_equal(next_answer(fd[i], NULL), 1);
    }
    WAIT_FOR(k.held == 1);
    expect_closed(dial(r.listen[0].port)); /* the fourth */
    expect_closed(fd[1]);                  /* idle */
    expect_closed(fd[2]);
    release(0); /* waits for an answer: not idle */
    assert_int_equal(next_answer(fd[0], NULL), 1);
    expect_closed(fd[0]);
    rig_end(&r);
}

static void test_ports(void **state)
{
    struct rig r;
    struct floe_error err = {0};
    struct floe_server *other = NULL;
    (void)state;
    rig_start(&r, 1 << 20, 1 << 20);
    rig_open(&r);
    /* Two listeners, the second one's port in use: everything is taken back. */
    struct floe_listen l[2] = {{.name = "a", .host = "127.0.0.1"},
                               {.name = "b", .host = "127.0.0.1", .port = r.listen[0].port}};
    struct floe_server_config cfg = r.cfg;
    cfg.listens = l;
    cfg.listen_count = 2;
    assert_int_equal(floe_server_create(&other, &cfg, &err), FLOE_EIO);
    char want[80];
    snprintf(want, sizeof want, "cannot listen on 127.0.0.1:%u: Address already in use (another process",
             r.listen[0].port);
    assert_memory_equal(err.msg, want, strlen(want));
    assert_null(other);
    l[1] = (struct floe_listen){.name = "b", .host = "192.0.2.1"};
    assert_int_equal(floe_server_create(&other, &cfg, &err), FLOE_EIO);
    assert_non_null(strstr(err.msg, "no interface of this machine"));
    l[1].host = "no-such-host.invalid";
    assert_int_equal(floe_server_create(&other, &cfg, &err), FLOE_EINVAL);
    rig_end(&r);
}

static void test_ipv6(void **state)
{
    struct rig r;
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    (void)state;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        print_message("no IPv6 on this machine's loopback: not tested\n");
        if (fd >= 0)
            close(fd);
        skip();
    }
    close(fd);
    rig_start(&r, 1 << 20, 1 << 20);
    r.listen[0].host = "::1";
    rig_open(&r);
    a.sin6_port = htons(r.listen[0].port);
    fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    send_metadata(fd, 3, "x");
    assert_int_equal(next_answer(fd, NULL), 3);
    close(fd);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split_and_joined),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_peer_listener),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_pause_and_resume),
        cmocka_unit_test(test_overdraft),
        cmocka_unit_test(test_overdraft_is_taken_away),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_client_gone),
        cmocka_unit_test(test_close_with_open_connections),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_ipv6),
    };
    if (getenv("ONLY"))
        cmocka_set_test_filter(getenv("ONLY"));
    signal(SIGPIPE, SIG_IGN);
    memset(big, 'b', sizeof big);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
