/* The libuv peer driver against a small server on the same loop, which does what each test tells it. */
#include <floe_cmocka.h>

#include <floe/base/assert.h>
#include <floe/base/list.h>
#include <floe/net/peer.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

enum mode {
    DO_ECHO,        /* answers with the request's body */
    DO_SILENT,      /* reads, never answers */
    DO_SILENT_ONCE, /* the first connection stays silent, the next ones echo */
    DO_HOLD,        /* answers when told to */
    DO_HANG_UP,     /* closes after the first request */
    DO_HANG_UP_MID, /* closes in the middle of a response */
    DO_HUGE,        /* claims a response of 1 MiB and a byte */
    DO_TINY,        /* claims a response of 3 bytes */
    DO_WRONG_ID,    /* answers another correlation id */
    DO_BAD_TAGS,    /* tag section runs past the frame */
    DO_TAGS,        /* a tag section to step over */
    DO_DRIBBLE,     /* answers byte by byte */
};

struct client { /* of the server */
    uv_tcp_t tcp;
    uint8_t in[1 << 16];
    size_t n;
    bool silent;
};
struct wbuf {
    uv_write_t req;
    uint8_t bytes[];
};

static struct floe_loop_uv *uv;
static struct floe_loop *loop;
static struct floe_peers *peers;
static uv_tcp_t server;
static struct client *clients[32];
static int accepted, requests;
static enum mode mode;
static bool listening;
static char addr[FLOE_PEER_ADDR_MAX];
static uint8_t last_head[64];

static void on_written(uv_write_t *req, int status)
{
    (void)status;
    free(FLOE_CONTAINER(req, struct wbuf, req));
}

static void send_bytes(struct client *c, const void *p, size_t n)
{
    struct wbuf *w = malloc(sizeof *w + n);
    memcpy(w->bytes, p, n);
    uv_buf_t b = uv_buf_init((char *)w->bytes, (unsigned)n);
    assert_int_equal(uv_write(&w->req, (uv_stream_t *)&c->tcp, &b, 1, on_written), 0);
}

static void hang_up(struct client *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, NULL);
}

/* The body begins after the header, which the test's calls make 18 bytes long, 19 when flexible (key 2). */
static void respond(struct client *c, const uint8_t *frame, size_t n)
{
    uint8_t out[1 << 16];
    bool flexible = floe_be16(frame + 4) == 2;
    size_t head = flexible ? 19 : 18, at = 8;
    memcpy(last_head, frame, head);
    memcpy(out + 4, frame + 8, 4);
    if (mode == DO_WRONG_ID)
        out[7]++;
    if (flexible) {
        static const uint8_t none[] = {0}, two[] = {2, 0, 3, 'a', 'b', 'c', 9, 0}, bad[] = {1, 0, 200, 1};
        const uint8_t *tags = mode == DO_TAGS ? two : mode == DO_BAD_TAGS ? bad : none;
        size_t tags_n = mode == DO_TAGS ? sizeof two : mode == DO_BAD_TAGS ? sizeof bad : sizeof none;
        memcpy(out + at, tags, tags_n);
        at += tags_n;
    }
    memcpy(out + at, frame + head, n - head);
    at += n - head;
    floe_put_be32(out, mode == DO_HUGE ? FLOE_PEER_RESPONSE_MAX + 1 : mode == DO_TINY ? 3 : (uint32_t)at - 4);
    if (mode == DO_HANG_UP_MID) {
        send_bytes(c, out, at - 1);
        hang_up(c);
    } else if (mode == DO_DRIBBLE) {
        for (size_t i = 0; i < at; i++)
            send_bytes(c, out + i, 1);
    } else {
        send_bytes(c, out, at);
    }
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    struct client *c = FLOE_CONTAINER(h, struct client, tcp);
    (void)hint;
    *buf = uv_buf_init((char *)c->in + c->n, (unsigned)(sizeof c->in - c->n));
}

static void serve(struct client *c)
{
    size_t at = 0;
    while (!uv_is_closing((uv_handle_t *)&c->tcp) && c->n - at >= 4 &&
           c->n - at >= 4 + (size_t)floe_be32(c->in + at)) {
        size_t n = 4 + (size_t)floe_be32(c->in + at);
        requests++;
        if (mode == DO_HANG_UP) {
            hang_up(c);
            return;
        }
        if (mode != DO_SILENT && mode != DO_HOLD && !c->silent)
            respond(c, c->in + at, n);
        if (mode == DO_HOLD)
            return; /* stays in the buffer */
        at += n;
    }
    memmove(c->in, c->in + at, c->n - at);
    c->n -= at;
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct client *c = FLOE_CONTAINER(s, struct client, tcp);
    (void)buf;
    if (n < 0) {
        hang_up(c);
        return;
    }
    c->n += (size_t)n;
    serve(c);
}

static void on_connection(uv_stream_t *s, int status)
{
    assert_int_equal(status, 0);
    struct client *c = calloc(1, sizeof *c);
    c->silent = mode == DO_SILENT_ONCE && accepted == 0;
    assert_true(accepted < (int)FLOE_COUNTOF(clients));
    clients[accepted++] = c;
    assert_int_equal(uv_tcp_init(s->loop, &c->tcp), 0);
    assert_int_equal(uv_accept(s, (uv_stream_t *)&c->tcp), 0);
    assert_int_equal(uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read), 0);
}

static void listen_on(int port)
{
    struct sockaddr_in a;
    int n = sizeof a;
    uv_ip4_addr("127.0.0.1", port, &a);
    assert_int_equal(uv_tcp_init(floe_loop_uv_raw(uv), &server), 0);
    assert_int_equal(uv_tcp_bind(&server, (struct sockaddr *)&a, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&server, 16, on_connection), 0);
    assert_int_equal(uv_tcp_getsockname(&server, (struct sockaddr *)&a, &n), 0);
    snprintf(addr, sizeof addr, "127.0.0.1:%d", ntohs(a.sin_port));
    listening = true;
}

/* Runs the loop until *n reaches `want` (or for `ms` when n is null). */
struct until {
    const int *n;
    int want, ticks;
};

static void on_tick(struct floe_timer *t)
{
    struct until *u = t->user;
    if ((u->n && *u->n >= u->want) || --u->ticks <= 0)
        floe_loop_uv_stop(uv);
    else
        floe_timer_start(loop, t, 1000);
}

static void run_until(const int *n, int want, int ms)
{
    struct until u = {n, want, ms};
    struct floe_timer t;
    floe_timer_init(&t, on_tick, &u);
    floe_timer_start(loop, &t, 0);
    floe_loop_uv_run(uv);
    if (n && *n < want)
        fail_msg("%d of %d after %d ms", *n, want, ms);
}

static int done_n;
static struct floe_peer_call calls[300];
static struct floe_bufslice bodies[300];
static char texts[300][16];

static void on_done(struct floe_peer_call *c)
{
    c->user = (void *)(intptr_t)++done_n; /* its place in the order */
    assert_null(c->driver);
}

static struct floe_peer_call *start(int i, bool flexible, uint64_t timeout_ms)
{
    snprintf(texts[i], sizeof texts[i], "body %d", i);
    bodies[i] = (struct floe_bufslice){NULL, (const uint8_t *)texts[i], strlen(texts[i])};
    calls[i] = (struct floe_peer_call){.api_key = flexible ? 2 : 1,
                                       .api_version = 7,
                                       .flexible = flexible,
                                       .body = &bodies[i],
                                       .body_count = 1,
                                       .timeout_us = timeout_ms * 1000,
                                       .done = on_done};
    memcpy(calls[i].addr, addr, sizeof addr);
    int before = done_n;
    peers->ops->call(peers, &calls[i]);
    assert_int_equal(done_n, before); /* never from inside */
    return &calls[i];
}

static void expect_echo(int i)
{
    if (calls[i].err.code)
        fail_msg("call %d: %s", i, calls[i].err.msg);
    assert_int_equal(calls[i].response.n, bodies[i].n);
    assert_memory_equal(calls[i].response.p, bodies[i].p, bodies[i].n);
    floe_buf_unref(calls[i].frame);
}

static void expect_error(int i, enum floe_err code)
{
    if (calls[i].err.code != code)
        fail_msg("call %d: %s (%s), not %s", i, floe_err_name(calls[i].err.code), calls[i].err.msg,
                 floe_err_name(code));
    assert_null(calls[i].frame);
    assert_non_null(strstr(calls[i].err.msg, "peer"));
}

static int setup(void **state)
{
    (void)state;
    struct floe_error err;
    done_n = accepted = requests = 0;
    listening = false;
    if (floe_loop_uv_create(&uv, &err) || floe_peers_uv_create(&peers, uv, &err))
        return -1;
    loop = floe_loop_uv_base(uv);
    listen_on(0);
    return 0;
}

static int closed_n;
static void on_closed(void *user)
{
    (void)user;
    closed_n++;
}

static void close_peers(void)
{
    closed_n = 0;
    peers->ops->close(peers, on_closed, NULL);
    assert_int_equal(closed_n, 0);
    run_until(&closed_n, 1, 5000);
    peers = NULL;
}

static void stop_listening(void)
{
    if (listening)
        uv_close((uv_handle_t *)&server, NULL);
    listening = false;
    for (int i = 0; i < accepted; i++)
        hang_up(clients[i]);
    run_until(NULL, 0, 5);
}

static int teardown(void **state)
{
    (void)state;
    if (peers)
        close_peers();
    stop_listening();
    floe_loop_uv_destroy(&uv);
    for (int i = 0; i < accepted; i++)
        free(clients[i]);
    return 0;
}

static void a_call_is_answered(void **state)
{
    (void)state;
    mode = DO_ECHO;
    start(0, false, 5000);
    run_until(&done_n, 1, 5000);
    expect_echo(0);
    static const uint8_t head[] = {0, 0, 0, 20, 0, 1, 0, 7, 0, 0, 0, 0, 0, 4, 'f', 'l', 'o', 'e'};
    assert_memory_equal(last_head, head, sizeof head);
    start(1, true, 5000);
    run_until(&done_n, 2, 5000);
    expect_echo(1);
    static const uint8_t head2[] = {0, 0, 0, 21, 0, 2, 0, 7, 0, 0, 0, 1, 0, 4, 'f', 'l', 'o', 'e', 0};
    assert_memory_equal(last_head, head2, sizeof head2);
    assert_int_equal(accepted, 1); /* one connection */
    mode = DO_TAGS;
    start(2, true, 5000);
    run_until(&done_n, 3, 5000);
    expect_echo(2);
    mode = DO_DRIBBLE;
    start(3, true, 5000);
    run_until(&done_n, 4, 5000);
    expect_echo(3);
}

static void names_are_looked_up(void **state)
{
    (void)state;
    mode = DO_ECHO;
    char port[8];
    snprintf(port, sizeof port, "%s", strchr(addr, ':') + 1);
    snprintf(addr, sizeof addr, "localhost:%s", port); /* perhaps ::1 first, where nobody listens */
    start(0, false, 5000);
    run_until(&done_n, 1, 5000);
    expect_echo(0);
    snprintf(addr, sizeof addr, "no-such-host.invalid:%s", port);
    start(1, false, 5000);
    run_until(&done_n, 2, 10000);
    assert_true(calls[1].err.code == FLOE_EUNAVAILABLE || calls[1].err.code == FLOE_ETIMEOUT);
    static const char *const bad[] = {"", "127.0.0.1", "127.0.0.1:0", "::1:9", "h:99999"};
    for (int i = 0; i < (int)FLOE_COUNTOF(bad); i++) {
        snprintf(addr, sizeof addr, "%s", bad[i]);
        start(2, false, 5000);
        run_until(&done_n, 3 + i, 5000);
        assert_int_equal(calls[2].err.code, FLOE_EINVAL);
    }
}

static void many_calls_share_a_connection(void **state)
{
    (void)state;
    mode = DO_ECHO;
    for (int i = 0; i < 257; i++)
        start(i, i % 2, 10000);
    run_until(&done_n, 257, 10000);
    expect_error(256, FLOE_EAGAIN);
    for (int i = 0; i < 256; i++) {
        expect_echo(i);
        if (i > 0)
            assert_true(calls[i].user > calls[i - 1].user);
    }
    assert_int_equal(accepted, 1);
}

static void refused_is_only_refused(void **state)
{
    (void)state;
    mode = DO_ECHO;
    start(0, false, 5000);
    run_until(&done_n, 1, 5000);
    expect_echo(0);
    stop_listening();
    uint64_t t0 = floe_loop_now_us(loop);
    for (int i = 1; i <= 3; i++) {
        start(i, false, 5000);
        run_until(&done_n, i + 1, 5000);
        expect_error(i, FLOE_EREFUSED);
    }
    uint64_t took = floe_loop_now_us(loop) - t0;
    assert_true(took >= 75000); /* two waits: 25 to 50 ms, then 50 to 100 ms */
    start(4, false, 10);        /* still put off: it waits, and its time runs out */
    run_until(&done_n, 5, 5000);
    assert_int_equal(calls[4].err.code, FLOE_ETIMEOUT);
    listen_on(atoi(strchr(addr, ':') + 1)); /* back again */
    start(5, false, 5000);
    run_until(&done_n, 6, 5000);
    expect_echo(5);
}

static void broken_responses_close_the_connection(void **state)
{
    (void)state;
    static const enum mode modes[] = {DO_HANG_UP, DO_HANG_UP_MID, DO_HUGE, DO_TINY, DO_WRONG_ID, DO_BAD_TAGS};
    for (int i = 0; i < (int)FLOE_COUNTOF(modes); i++) {
        mode = modes[i];
        done_n = 0;
        start(0, true, 5000);
        start(1, true, 5000);
        run_until(&done_n, 2, 5000);
        expect_error(0, FLOE_ECLOSED);
        expect_error(1, FLOE_ECLOSED);
        mode = DO_ECHO; /* and the next call gets a new one */
        start(2, true, 5000);
        run_until(&done_n, 3, 5000);
        expect_echo(2);
        assert_int_equal(accepted, 2 * i + 2);
        hang_up(clients[accepted - 1]);
        run_until(NULL, 0, 5);
        stop_listening();
        listen_on(atoi(strchr(addr, ':') + 1));
    }
}

static void a_silent_connection_is_replaced(void **state)
{
    (void)state;
    mode = DO_SILENT_ONCE;
    start(0, false, 30);
    start(1, false, 300);
    run_until(&done_n, 1, 5000);
    expect_error(0, FLOE_ETIMEOUT);
    start(2, false, 5000); /* does not wait behind the silent ones */
    run_until(&done_n, 2, 5000);
    expect_echo(2);
    assert_int_equal(accepted, 2);
    run_until(&done_n, 3, 5000);
    expect_error(1, FLOE_ETIMEOUT);
}

static void late_responses_reach_those_who_wait(void **state)
{
    (void)state;
    mode = DO_HOLD;
    start(0, false, 40);
    start(1, false, 5000);
    run_until(&done_n, 1, 5000);
    expect_error(0, FLOE_ETIMEOUT);
    mode = DO_ECHO;
    serve(clients[0]); /* both answers come now; the first goes nowhere */
    run_until(&done_n, 2, 5000);
    expect_echo(1);
}

static void a_cancelled_call_is_never_answered(void **state)
{
    (void)state;
    mode = DO_ECHO;
    peers->ops->cancel(peers, start(0, false, 5000)); /* while it connects */
    start(1, false, 5000);
    run_until(&done_n, 1, 5000);
    expect_echo(1);
    mode = DO_HOLD;
    start(2, false, 5000);
    start(3, false, 5000);
    run_until(&requests, 2, 5000);
    peers->ops->cancel(peers, &calls[2]); /* in flight */
    peers->ops->cancel(peers, &calls[2]); /* twice is harmless */
    memset(&calls[2], 0xee, sizeof calls[2]);
    memset(texts[2], 0xee, sizeof texts[2]);
    mode = DO_ECHO;
    serve(clients[0]);
    run_until(&done_n, 2, 5000);
    expect_echo(3);
    assert_int_equal(accepted, 1);
}

static void close_answers_everything(void **state)
{
    (void)state;
    mode = DO_SILENT;
    start(0, false, 5000);
    run_until(&requests, 1, 5000);
    start(1, false, 5000); /* in flight */
    memcpy(addr, "127.0.0.1:1", 12);
    start(2, false, 5000); /* connecting */
    memcpy(addr, "localhost:1", 12);
    start(3, false, 5000); /* looked up */
    close_peers();
    assert_int_equal(done_n, 4);
    for (int i = 0; i < 4; i++)
        expect_error(i, FLOE_ECLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_call_is_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_looked_up, setup, teardown),
        cmocka_unit_test_setup_teardown(many_calls_share_a_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_is_only_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_responses_close_the_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(a_silent_connection_is_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(late_responses_reach_those_who_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cancelled_call_is_never_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(close_answers_everything, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
