/* Large GETs on connections of their own (objstore/s3/direct.c): a server that follows a script, one step a
 * request. Whatever it does, the request ends with the right bytes or with what the ordinary way says. */
#include "objstore/s3/s3_int.h"
#include "store_suite.h"

#include <floe/base/crc32c.h>
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define SIZE (512u * 1024) /* the object */
#define FROM 1000u
#define LENGTH 300000u

enum what {
    GOOD,
    DRIBBLE,   /* in small pieces */
    LAST,      /* "Connection: close", and so it is */
    LEAVE,     /* good, then the connection goes without a word */
    NO_BODY,   /* the connection ends behind the head, */
    HALF,      /* in the middle of the body, */
    STALL,     /* or stands still there */
    LONGER,    /* more bytes than announced */
    CHUNKED,   /* right, but in chunks */
    ELSEWHERE, /* another range, as its head says */
    BUSY,      /* 503 */
    GONE,      /* 404 */
    TEXT       /* what `text` says, then the connection ends */
};
struct step {
    enum what what;
    const char *text;
};
static struct {
    pthread_mutex_t lock;
    const struct step *steps;
    size_t n, at;
    uint32_t connections, direct; /* requests that did not go through libcurl, which puts Host first */
    int listener;
    uint16_t port;
    uint8_t object[SIZE];
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool put(int fd, const void *p, size_t n)
{
    const uint8_t *at = p;
    while (n > 0) {
        ssize_t k = send(fd, at, n, MSG_NOSIGNAL);
        if (k <= 0)
            return false;
        at += k;
        n -= (size_t)k;
    }
    return true;
}

static bool put_text(int fd, const char *text)
{
    return put(fd, text, strlen(text));
}

static bool put_pieces(int fd, const uint8_t *p, size_t n, size_t piece)
{
    for (size_t at = 0; at < n; at += piece) {
        if (!put(fd, p + at, FLOE_MIN(piece, n - at)))
            return false;
    }
    return true;
}

/* One request; false at the end of the connection. */
static bool got_request(int fd)
{
    char text[8192];
    size_t n = 0;
    for (;;) {
        ssize_t k = recv(fd, text + n, sizeof text - 1 - n, 0);
        if (k <= 0)
            return false;
        n += (size_t)k;
        text[n] = '\0';
        if (strstr(text, "\r\n\r\n"))
            break;
    }
    bool ok = strncmp(text, "GET /bkt/", 9) == 0 && strstr(text, "\r\nRange: bytes=1000-300999\r\n") &&
              strstr(text, "\r\nAuthorization: AWS4-HMAC-SHA256 ") && strstr(text, "\r\nHost: 127.0.0.1:");
    if (!ok)
        fprintf(stderr, "not the request that was due:\n%s\n", text);
    pthread_mutex_lock(&server.lock);
    server.direct += strstr(text, " HTTP/1.1\r\nUser-Agent: ") != NULL;
    pthread_mutex_unlock(&server.lock);
    return ok;
}

static bool chunked(int fd)
{
    return put_text(fd, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1000-300999/524288\r\n"
                        "Transfer-Encoding: chunked\r\n\r\n493e0\r\n") &&
           put(fd, server.object + FROM, LENGTH) && put_text(fd, "\r\n0\r\n\r\n");
}

/* True when the connection goes on. */
static bool play(int fd, const struct step *s)
{
    char head[256], rest[64];
    bool wrong = s->what == ELSEWHERE;
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 206 Partial Content\r\nETag: \"e\"\r\nContent-Length: %u\r\n"
                     "Content-Range: bytes %u-%u/%u\r\n%s\r\n",
                     LENGTH, FROM + wrong, FROM + LENGTH - 1 + wrong, SIZE,
                     s->what == LAST ? "Connection: close\r\n" : "");
    switch (s->what) {
    case BUSY:
        return put_text(fd, "HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n");
    case GONE:
        return put_text(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 37\r\n\r\n"
                            "<Error><Code>NoSuchKey</Code></Error>");
    case TEXT:
        put_text(fd, s->text);
        return false;
    case CHUNKED:
        return chunked(fd);
    case DRIBBLE:
        return put_pieces(fd, (const uint8_t *)head, (size_t)n, 7) &&
               put_pieces(fd, server.object + FROM, LENGTH, 3001);
    default:
        break;
    }
    if (!put(fd, head, (size_t)n) || s->what == NO_BODY)
        return false;
    if (s->what == HALF || s->what == STALL) {
        put(fd, server.object + FROM, LENGTH / 2);
        return s->what == STALL && recv(fd, rest, 1, 0) > 0;
    }
    return put(fd, server.object + FROM, LENGTH) && (s->what != LONGER || put_text(fd, "and more")) &&
           s->what != LAST && s->what != LEAVE;
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    while (got_request(fd)) {
        struct step s = {.what = TEXT, .text = ""};
        pthread_mutex_lock(&server.lock);
        if (server.at < server.n)
            s = server.steps[server.at];
        server.at++;
        pthread_mutex_unlock(&server.lock);
        if (!play(fd, &s))
            break;
    }
    close(fd);
    return NULL;
}

static void *accept_all(void *arg)
{
    (void)arg;
    for (;;) {
        pthread_t t;
        int fd = accept(server.listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        pthread_mutex_lock(&server.lock);
        server.connections++;
        pthread_mutex_unlock(&server.lock);
        if (pthread_create(&t, NULL, serve, (void *)(intptr_t)fd) != 0)
            abort();
        pthread_detach(t);
    }
}

static int start_server(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    pthread_t t;
    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        server.object[i] = (uint8_t)(i * 7 % 251);
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server.listener, (struct sockaddr *)&a, n) != 0 || listen(server.listener, 16) != 0 ||
        getsockname(server.listener, (struct sockaddr *)&a, &n) != 0 ||
        pthread_create(&t, NULL, accept_all, NULL) != 0)
        return -1;
    pthread_detach(t);
    server.port = ntohs(a.sin_port);
    return 0;
}

static int setup(void **state)
{
    struct store_rig *rig = calloc(1, sizeof *rig);
    char endpoint[64];
    struct floe_store_s3_config c = {
        .bucket = "bkt", .endpoint = endpoint, .connections = 4, .credentials = {"access", "secret", ""}};
    struct floe_error err = {0};
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u", server.port);
    store_rig_open(rig);
    if (floe_store_s3_create(&rig->store, rig->loop, &c, &err) != FLOE_OK)
        fail_msg("%s", err.msg);
    *state = rig;
    return 0;
}

static void script(const struct step *steps, size_t n)
{
    pthread_mutex_lock(&server.lock);
    server.steps = steps;
    server.n = n;
    server.at = 0;
    server.connections = server.direct = 0;
    pthread_mutex_unlock(&server.lock);
}

static int teardown(void **state)
{
    store_rig_close(*state);
    free(*state);
    script(NULL, 0);
    return 0;
}

static struct floe_store_req get_req(struct store_rig *rig)
{
    struct floe_store_req r = store_rig_req(rig, FLOE_STORE_GET, "o");
    r.offset = FROM;
    r.length = LENGTH;
    r.attempts = 3;
    r.try_us = 5000000;
    r.pieces = true;
    return r;
}

/* How often it was sent. */
static uint32_t expect_bytes(struct store_rig *rig, struct floe_store_req *r)
{
    if (store_rig_do(rig, r) != FLOE_OK)
        fail_msg("%s", r->err.msg);
    assert_int_equal(r->data->n, LENGTH);
    assert_memory_equal(r->data->data, server.object + FROM, LENGTH);
    assert_int_equal(r->size, SIZE);
    assert_non_null(r->piece_crc);
    for (size_t i = 0; i < LENGTH / FLOE_STORE_PIECE; i++) {
        const uint8_t *p = server.object + FROM + i * FLOE_STORE_PIECE;
        assert_true(r->piece_crc[i] == floe_crc32c(0, p, FLOE_STORE_PIECE));
    }
    uint32_t sent = r->sent;
    floe_store_req_fini(r);
    return sent;
}

static void expect_served(size_t requests, uint32_t direct)
{
    pthread_mutex_lock(&server.lock);
    size_t at = server.at;
    uint32_t n = server.direct;
    pthread_mutex_unlock(&server.lock);
    assert_int_equal(at, requests);
    assert_int_equal(n, direct);
}

/* A connection serves one request after the other. */
static void keeps_alive(void **state)
{
    static const struct step steps[] = {
        {GOOD, NULL}, {DRIBBLE, NULL}, {GOOD, NULL}, {LAST, NULL}, {GOOD, NULL}};
    script(steps, FLOE_COUNTOF(steps));
    for (size_t i = 0; i < FLOE_COUNTOF(steps); i++) {
        struct floe_store_req r = get_req(*state);
        assert_int_equal(expect_bytes(*state, &r), 1);
    }
    expect_served(5, 5);
    assert_int_equal(server.connections, 2); /* the one, and another after it was closed */
}

/* What is not a whole range goes the ordinary way at once, as the same attempt. */
static void ordinary_way(void **state)
{
    static const enum what whats[] = {NO_BODY, HALF, CHUNKED};
    for (size_t i = 0; i < FLOE_COUNTOF(whats); i++) {
        const struct step steps[] = {{whats[i], NULL}, {whats[i] == CHUNKED ? CHUNKED : GOOD, NULL}};
        script(steps, 2);
        struct floe_store_req r = get_req(*state);
        r.attempts = 2;
        expect_bytes(*state, &r);
        expect_served(2, 1);
    }
    static const struct step gone[] = {{GONE, NULL}, {GONE, NULL}};
    script(gone, 2);
    struct floe_store_req r = get_req(*state);
    assert_int_equal(store_rig_do(*state, &r), FLOE_ENOTFOUND);
    expect_served(2, 1);
}

static void stale_connections(void **state)
{
    static const struct step steps[] = {
        {LEAVE, NULL}, {GOOD, NULL}, {LONGER, NULL}, {GOOD, NULL}, {GOOD, NULL}};
    script(steps, FLOE_COUNTOF(steps));
    for (int i = 0; i < 4; i++) {
        struct floe_store_req r = get_req(*state);
        expect_bytes(*state, &r);
        store_rig_run_us(*state, 5000); /* so that the end is there */
    }
}

static void malformed(void **state)
{
    static const char *const heads[] = {
        "",
        "\r\n\r\n",
        "HTTP/1.1 206",
        "HTTP/1.0 206 x\r\nContent-Length: 300000\r\nContent-Range: bytes 1000-300999/524288\r\n\r\n",
        "HTTP/1.1 206 x\nContent-Length: 300000\n\n\r\n\r\n",
        "HTTP/1.1 206 x\r\nContent-Length: 300000\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 206 x\r\nContent-Length: 300000\r\n\r\n",
        "HTTP/1.1 206 x\r\nContent-Range: bytes 1000-300999/524288\r\n\r\n",
        "HTTP/1.1 206 x\r\nContent-Length: 300001\r\nContent-Range: bytes 1000-301000/524288\r\n\r\n",
        "HTTP/1.1 206 x\r\nContent-Length: 300000\r\nContent-Range: bytes 1000-300998/524288\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 206 x\r\nContent-Length: 2\r\nContent-Range: bytes 1000-1001/524288\r\n\r\nabc",
    };
    for (size_t i = 0; i < FLOE_COUNTOF(heads); i++) {
        const struct step steps[] = {{TEXT, heads[i]}, {GOOD, NULL}};
        script(steps, 2);
        struct floe_store_req r = get_req(*state);
        expect_bytes(*state, &r);
        expect_served(2, 1);
    }
    static char endless[40000]; /* the server may still be sending it when the request has ended */
    memset(endless, 'a', sizeof endless - 1);
    memcpy(endless, "HTTP/1.1 206 x\r\na: ", 19);
    const struct step steps[] = {{TEXT, endless}, {GOOD, NULL}};
    script(steps, 2);
    struct floe_store_req r = get_req(*state);
    expect_bytes(*state, &r);
}

/* Later attempts: of a busy store, of one that stands still, of a wrong range. */
static void repeats(void **state)
{
    static const enum what whats[] = {BUSY, ELSEWHERE, STALL};
    for (size_t i = 0; i < FLOE_COUNTOF(whats); i++) {
        const struct step steps[] = {{whats[i], NULL}, {GOOD, NULL}};
        script(steps, 2);
        struct floe_store_req r = get_req(*state);
        r.try_us = whats[i] == STALL ? 60000 : r.try_us;
        assert_int_equal(expect_bytes(*state, &r), 2); /* a busy store is not asked twice an attempt */
        expect_served(2, 2);
    }
    static const struct step stall[] = {{STALL, NULL}, {STALL, NULL}};
    script(stall, 2);
    struct floe_store_req r = get_req(*state);
    r.attempts = 1;
    r.timeout_us = 60000;
    assert_int_equal(store_rig_do(*state, &r), FLOE_ETIMEOUT);
}

static void cancelled(void **state)
{
    struct store_rig *rig = *state;
    static const struct step steps[] = {{STALL, NULL}, {GOOD, NULL}};
    script(steps, 2);
    struct floe_store_req r = get_req(rig), other = get_req(rig);
    floe_store_submit(rig->store, &r);
    while (server.at == 0)
        store_rig_run_us(rig, 2000);
    floe_store_cancel(rig->store, &r);
    expect_bytes(rig, &other);
    script(steps, 1);
    r = get_req(rig);
    floe_store_submit(rig->store, &r); /* the store is closed over it */
    while (server.at == 0)
        store_rig_run_us(rig, 2000);
}

/* Nobody listens: the sentence is that of the ordinary way. */
static int setup_nobody(void **state)
{
    uint16_t port = server.port;
    server.port = 1;
    int rc = setup(state);
    server.port = port;
    return rc;
}

static void refused(void **state)
{
    struct floe_store_req r = get_req(*state);
    r.attempts = 2;
    assert_int_equal(store_rig_do(*state, &r), FLOE_EREFUSED);
    assert_int_equal(r.sent, 0);
}

static void head_text(void **state)
{
    (void)state;
    struct s3_answer a = {0};
    const char *good =
        "HTTP/1.1 206 Partial\tContent\r\nContent-Length:5 \r\nX_y:\r\nConnection: Keep-Alive\r\n"
        "Content-Range: bytes 1-5/9\r\nx-amz-meta-floe-nonce: n\r\n\r\n";
    assert_int_equal(s3_head_end(good, strlen(good)), strlen(good));
    assert_int_equal(s3_head_end(good, strlen(good) - 1), 0);
    assert_true(s3_head_parse(&a, good, strlen(good)));
    assert_int_equal(a.status, 206);
    assert_true(a.has_length && a.has_range && !a.encoded && !a.closes);
    assert_int_equal(a.length, 5);
    assert_int_equal(a.range_from, 1);
    assert_string_equal(a.nonce, "n");
    static const char *const bad[] = {"HTTP/1.1 206\r\n",
                                      "HTTP/1.1 2x6 a\r\n\r\n",
                                      "HTTP/1.1 2066 a\r\n\r\n",
                                      "HTTP/1.1 206 a\r\n b: c\r\n\r\n",
                                      "HTTP/1.1 206 a\r\nb : c\r\n\r\n",
                                      "HTTP/1.1 206 a\r\n: c\r\n\r\n",
                                      "HTTP/1.1 206 a\r\nb\r\n\r\n",
                                      "HTTP/1.1 206 a\r\nb: \x01\r\n\r\n",
                                      "HTTP/1.1 206 a\r\nb: c\rd\r\n\r\n",
                                      "HTTP/1.1 206 a\r\nContent-Length: -1\r\n\r\n",
                                      "HTTP/1.1 206 a\r\nContent-Length: 5, 5\r\n\r\n",
                                      "HTTP/1.1 206 a\r\n\r\nb: c\r\n\r\n",
                                      "\r\nHTTP/1.1 206 a\r\n\r\n"};
    a.status = 7;
    for (size_t i = 0; i < FLOE_COUNTOF(bad); i++) {
        if (s3_head_parse(&a, bad[i], strlen(bad[i])))
            fail_msg("taken: %s", bad[i]);
    }
    assert_int_equal(a.status, 7);
    const char *end = "HTTP/1.1 503 a\r\nConnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_true(s3_head_parse(&a, end, strlen(end)) && a.closes && a.encoded && a.status == 503);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_text),
        cmocka_unit_test_setup_teardown(keeps_alive, setup, teardown),
        cmocka_unit_test_setup_teardown(ordinary_way, setup, teardown),
        cmocka_unit_test_setup_teardown(stale_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(repeats, setup, teardown),
        cmocka_unit_test_setup_teardown(cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(refused, setup_nobody, teardown),
    };
    return cmocka_run_group_tests_name("s3_direct", tests, start_server, NULL);
}
