/* ctest labels: threads */
/* The listeners: frames, order, malformed requests, clients that leave, ports. */
#include "server_rig.h"

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
    /* Bytes past the message are ignored, as Apache Kafka does. */
    fd = dial(r.listen[0].port);
    put(fd, "\0\0\0\x11\0\3\0\1\0\0\0\1\xff\xff\xff\xff\xff\xff\1\2\3", 21);
    assert_int_equal(next_answer(fd, NULL), 1);
    close(fd);
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

/* What came before a bad frame is answered, as Apache Kafka does; nothing behind it is looked at. */
static void test_malformed_behind_others(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r, 1 << 20, 100000);
    rig_open(&r);
    static const char key_99[] = "\0\0\0\x0a\0\x63\0\0\0\0\0\1\0\0", no_length[] = "\0\0\0\0";
    int bad[2] = {dial(r.listen[0].port), dial(r.listen[0].port)};
    for (int i = 0; i < 2; i++) {
        struct floe_writer w;
        floe_writer_init(&w, 1 << 20);
        frame_metadata(&w, 1, "x");
        frame_metadata(&w, 2, "hold");
        floe_write(&w, i ? no_length : key_99, i ? sizeof no_length - 1 : sizeof key_99 - 1);
        frame_metadata(&w, 3, "x");
        put(bad[i], w.p, w.n);
        floe_writer_fini(&w);
    }
    WAIT_FOR(k.held == 2);
    expect_service(&r);
    assert_int_equal(counts().started, 5);
    for (uint32_t i = 0; i < 2; i++)
        release(i);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(next_answer(bad[i], NULL), 1);
        assert_int_equal(next_answer(bad[i], NULL), 2);
        expect_closed(bad[i]);
    }
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

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void test_mute(void **state)
{
    struct rig r;
    struct floe_writer w;
    struct floe_kafka_PeerHeartbeatRequest rq;
    struct floe_error err;
    (void)state;
    rig_start(&r, 1 << 20, 1 << 20);
    r.listen[0].for_peers = true;
    rig_open(&r);
    int fd = dial(r.listen[0].port);
    double from = seconds();
    send_metadata(fd, 1, "mute");
    assert_int_equal(next_answer(fd, NULL), 1); /* the answer itself does not wait */
    assert_true(seconds() - from < MUTE_MS / 2000.0);
    send_metadata(fd, 2, "x");
    expect_service(&r);
    assert_true(seconds() - from < MUTE_MS / 1000.0); /* or this shows nothing */
    assert_int_equal(recv(fd, &(char){0}, 1, MSG_DONTWAIT), -1);
    assert_int_equal(next_answer(fd, NULL), 2);
    assert_true(seconds() - from >= MUTE_MS / 1000.0);
    /* Closed while muted. */
    send_metadata(fd, 3, "mute");
    assert_int_equal(next_answer(fd, NULL), 3);
    close(fd);
    /* A connection of another broker goes on. */
    fd = dial(r.listen[0].port);
    floe_kafka_defaults(&floe_kafka_PeerHeartbeatRequest_desc, &rq);
    floe_writer_init(&w, 1 << 20);
    assert_int_equal(
        floe_kafka_request_frame(floe_kafka_api_find(20000), 0, 4, floe_kstr("b"), &rq, &w, &err), FLOE_OK);
    put(fd, w.p, w.n);
    floe_writer_fini(&w);
    assert_int_equal(next_answer(fd, NULL), 4);
    from = seconds();
    send_metadata(fd, 5, "mute");
    send_metadata(fd, 6, "mute");
    send_metadata(fd, 7, "x");
    for (int32_t i = 5; i <= 7; i++)
        assert_int_equal(next_answer(fd, NULL), i);
    assert_true(seconds() - from < MUTE_MS / 1000.0);
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

/* Clients that fill the limit do not keep brokers out, where these have a listener of their own. */
static void test_limit_and_peers(void **state)
{
    struct rig r;
    int fd[2], peer[FLOE_SERVER_PEERS_BEYOND];
    (void)state;
    rig_start(&r, 1 << 20, 1 << 20);
    r.cfg.connections_max = 2;
    r.listen[1] = (struct floe_listen){.name = "peer", .host = "127.0.0.1", .for_peers = true};
    r.cfg.listen_count = 2;
    rig_open(&r);
    for (int i = 0; i < 2; i++) {
        fd[i] = dial(r.listen[0].port);
        send_metadata(fd[i], 1, "x");
        assert_int_equal(next_answer(fd[i], NULL), 1);
    }
    expect_closed(dial(r.listen[0].port));
    for (int i = 0; i < FLOE_SERVER_PEERS_BEYOND; i++) {
        peer[i] = dial(r.listen[1].port);
        send_metadata(peer[i], 1, "x");
        assert_int_equal(next_answer(peer[i], NULL), 1);
    }
    expect_closed(dial(r.listen[1].port));
    expect_closed(dial(r.listen[0].port));
    for (int i = 0; i < FLOE_SERVER_PEERS_BEYOND; i++)
        close(peer[i]);
    for (int i = 0; i < 2; i++)
        close(fd[i]);
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
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0) { /* a machine without IPv6 says so */
        struct floe_server *none = NULL;
        struct floe_listen l = {.name = "a", .host = "::1"};
        struct floe_error err = {0};
        if (fd >= 0)
            close(fd);
        rig_start(&r, 1 << 20, 1 << 20);
        struct floe_server_config cfg = {.core = r.core, .threads = 1, .listens = &l, .listen_count = 1};
        assert_int_equal(floe_server_create(&none, &cfg, &err), FLOE_EIO);
        assert_non_null(strstr(err.msg, "cannot listen on [::1]"));
        rig_end(&r);
        return;
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
        cmocka_unit_test(test_malformed_behind_others),
        cmocka_unit_test(test_peer_listener),
        cmocka_unit_test(test_mute),
        cmocka_unit_test(test_client_gone),
        cmocka_unit_test(test_close_with_open_connections),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_limit_and_peers),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_ipv6),
    };
    rig_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
