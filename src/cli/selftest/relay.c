/* A relay on loopback between a store's driver and its server, which loses answers and keeps requests.
 *
 * Bytes pass as they are: a signature covers the Host that the driver was told, and servers check it against
 * the Host they are sent. Of HTTP it knows only where a request ends and the status of an answer. */
#include "cli/selftest/selftest.h"

#include <floe/base/assert.h>

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define HELD_MAX 16
#define REQUEST_MAX (1u << 20)
#define CHUNK (64u * 1024)
#define RELEASE_S 10

struct pair;
struct side {
    uv_tcp_t tcp;
    struct pair *pair;
    bool open;
};
struct pair {
    struct st_relay *r;
    struct side client, server;
    int handles; /* not closed yet */
    bool connected;
    struct floe_writer early; /* of the client, until the server is connected; or a request to be held */
    bool holding;
};
struct st_relay {
    struct floe_loop_uv *uv;
    uv_tcp_t listener;
    int pairs, handles;
    char endpoint[64];
    struct sockaddr_storage target;
    socklen_t target_n;
    enum st_relay_mode mode;
    int swallowed;
    struct {
        uint8_t *p;
        size_t n;
    } held[HELD_MAX];
    uint32_t held_n;
    char chunk[CHUNK];
    bool closing;
};

static void on_pair_closed(uv_handle_t *h)
{
    struct pair *p = ((struct side *)h->data)->pair;
    if (--p->handles > 0)
        return;
    struct st_relay *r = p->r;
    floe_writer_fini(&p->early);
    free(p);
    if (--r->pairs == 0 && r->closing && r->handles == 0)
        floe_loop_uv_stop(r->uv);
}

static void close_side(struct side *s)
{
    if (!s->open)
        return;
    s->open = false;
    uv_close((uv_handle_t *)&s->tcp, on_pair_closed);
}

static void close_pair(struct pair *p)
{
    close_side(&p->client);
    close_side(&p->server);
}

struct write {
    uv_write_t req;
    struct pair *pair;
    char bytes[];
};

static void on_written(uv_write_t *req, int status)
{
    struct write *w = req->data;
    if (status < 0)
        close_pair(w->pair);
    free(w);
}

static void pass(struct pair *p, struct side *to, const void *bytes, size_t n)
{
    struct write *w = n > 0 ? malloc(sizeof *w + n) : NULL;
    if (w == NULL || !to->open) {
        free(w);
        return;
    }
    w->pair = p;
    w->req.data = w;
    memcpy(w->bytes, bytes, n);
    uv_buf_t buf = uv_buf_init(w->bytes, (unsigned)n);
    if (uv_write(&w->req, (uv_stream_t *)&to->tcp, &buf, 1, on_written) != 0) {
        free(w);
        close_pair(p);
    }
}

/* The bytes of the one request that `p` begins with; 0: not all of it is there. */
static size_t whole_request(const uint8_t *p, size_t n)
{
    static const char name[] = "content-length:";
    const uint8_t *end = memmem(p, n, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    size_t head = (size_t)(end - p) + 4;
    uint64_t body = 0;
    for (const uint8_t *line = p; line < end; line++) {
        const uint8_t *next = memchr(line, '\n', (size_t)(end + 2 - line));
        if ((size_t)(end - line) > sizeof name &&
            strncasecmp((const char *)line, name, sizeof name - 1) == 0) {
            char text[16] = "";
            const uint8_t *v = line + sizeof name - 1;
            while (v < end && *v == ' ')
                v++;
            for (size_t k = 0; v < end && *v >= '0' && *v <= '9' && k < sizeof text - 1; k++)
                text[k] = (char)*v++;
            if (floe_str_parse_u64(text, &body, NULL) != FLOE_OK)
                body = 0;
        }
        if (next == NULL)
            break;
        line = next;
    }
    return body <= n - head ? head + (size_t)body : 0;
}

static void hold(struct pair *p)
{
    struct st_relay *r = p->r;
    size_t n = whole_request(p->early.p, p->early.n);
    if (n == 0)
        return;
    if (r->held_n < HELD_MAX) {
        r->held[r->held_n].p = p->early.p;
        r->held[r->held_n++].n = n;
        floe_writer_init(&p->early, REQUEST_MAX);
    }
    close_pair(p);
}

static int status_of(const uint8_t *p, size_t n)
{
    if (n < 12 || memcmp(p, "HTTP/1.", 7) != 0)
        return 0;
    return (p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0');
}

static void on_alloc(uv_handle_t *h, size_t n, uv_buf_t *buf)
{
    struct st_relay *r = ((struct side *)h->data)->pair->r;
    (void)n;
    *buf = uv_buf_init(r->chunk, CHUNK);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct side *side = ((uv_handle_t *)s)->data;
    struct pair *p = side->pair;
    struct st_relay *r = p->r;
    if (n < 0) {
        close_pair(p);
    } else if (n > 0 && side == &p->server) {
        if (r->mode == ST_RELAY_SWALLOW) {
            if (r->swallowed == 0)
                r->swallowed = status_of((const uint8_t *)buf->base, (size_t)n);
            close_pair(p);
        } else {
            pass(p, &p->client, buf->base, (size_t)n);
        }
    } else if (n > 0 && (p->holding || r->mode == ST_RELAY_HOLD)) {
        p->holding = true;
        floe_write(&p->early, buf->base, (size_t)n);
        hold(p);
    } else if (n > 0 && p->connected) {
        pass(p, &p->server, buf->base, (size_t)n);
    } else if (n > 0) {
        floe_write(&p->early, buf->base, (size_t)n);
    }
}

static void on_connected(uv_connect_t *req, int status)
{
    struct pair *p = req->data;
    free(req);
    if (status < 0 || !p->server.open) {
        close_pair(p);
        return;
    }
    p->connected = true;
    (void)uv_tcp_nodelay(&p->server.tcp, 1);
    (void)uv_read_start((uv_stream_t *)&p->server.tcp, on_alloc, on_read);
    if (!p->holding) {
        pass(p, &p->server, p->early.p, p->early.n);
        p->early.n = 0;
    }
}

static void open_side(struct pair *p, struct side *s)
{
    (void)uv_tcp_init(floe_loop_uv_raw(p->r->uv), &s->tcp);
    s->tcp.data = s;
    s->pair = p;
    s->open = true;
    p->handles++;
}

static bool dial(struct pair *p)
{
    uv_connect_t *req = malloc(sizeof *req);
    if (req != NULL)
        req->data = p;
    if (req != NULL &&
        uv_tcp_connect(req, &p->server.tcp, (const struct sockaddr *)&p->r->target, on_connected) == 0)
        return true;
    free(req);
    return false;
}

static void on_client(uv_stream_t *listener, int status)
{
    struct st_relay *r = ((uv_handle_t *)listener)->data;
    struct pair *p = status == 0 ? calloc(1, sizeof *p) : NULL;
    if (p == NULL)
        return;
    p->r = r;
    r->pairs++;
    floe_writer_init(&p->early, REQUEST_MAX);
    open_side(p, &p->client);
    open_side(p, &p->server);
    if (uv_accept(listener, (uv_stream_t *)&p->client.tcp) != 0 || !dial(p)) {
        close_pair(p);
        return;
    }
    (void)uv_tcp_nodelay(&p->client.tcp, 1);
    (void)uv_read_start((uv_stream_t *)&p->client.tcp, on_alloc, on_read);
}

static enum floe_err resolve(struct st_relay *r, const char *endpoint, struct floe_error *err)
{
    struct floe_str_addr a;
    char text[600], port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all = NULL;
    bool has_port = strrchr(endpoint + 7, ':') != NULL && strrchr(endpoint, ']') < strrchr(endpoint + 7, ':');
    (void)snprintf(text, sizeof text, "%s%s", endpoint + 7, has_port ? "" : ":80");
    enum floe_err e = floe_str_parse_addr(text, &a, err);
    if (e != FLOE_OK)
        return e;
    (void)snprintf(port, sizeof port, "%u", (unsigned)a.port);
    int rc = getaddrinfo(a.host, port, &hints, &all);
    if (rc != 0)
        return floe_error_set(err, FLOE_EUNAVAILABLE, "cannot find the host \"%.100s\": %s", a.host,
                              gai_strerror(rc));
    memcpy(&r->target, all->ai_addr, all->ai_addrlen);
    r->target_n = all->ai_addrlen;
    freeaddrinfo(all);
    return FLOE_OK;
}

enum floe_err st_relay_create(struct st_relay **out, struct floe_loop_uv *uv, const char *endpoint,
                              struct floe_error *err)
{
    struct st_relay *r = calloc(1, sizeof *r);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, got;
    int n = sizeof got;
    FLOE_ASSERT(r != NULL && strncmp(endpoint, "http://", 7) == 0);
    enum floe_err e = resolve(r, endpoint, err);
    if (e != FLOE_OK) {
        free(r);
        return e;
    }
    r->uv = uv;
    (void)uv_tcp_init(floe_loop_uv_raw(uv), &r->listener);
    r->listener.data = r;
    r->handles = 1;
    int rc = uv_tcp_bind(&r->listener, (const struct sockaddr *)&any, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&r->listener, 64, on_client);
    if (rc == 0)
        rc = uv_tcp_getsockname(&r->listener, (struct sockaddr *)&got, &n);
    if (rc != 0) {
        st_relay_destroy(&r);
        return floe_error_set(err, FLOE_EIO, "cannot listen on 127.0.0.1: %s", uv_strerror(rc));
    }
    (void)snprintf(r->endpoint, sizeof r->endpoint, "http://127.0.0.1:%u", (unsigned)ntohs(got.sin_port));
    *out = r;
    return FLOE_OK;
}

static void on_listener_closed(uv_handle_t *h)
{
    struct st_relay *r = h->data;
    if (--r->handles == 0 && r->pairs == 0)
        floe_loop_uv_stop(r->uv);
}

/* The clients of the relay have closed their connections by now, or do while the loop runs. */
void st_relay_destroy(struct st_relay **r)
{
    struct st_relay *x = *r;
    if (x == NULL)
        return;
    *r = NULL;
    x->closing = true;
    uv_close((uv_handle_t *)&x->listener, on_listener_closed);
    floe_loop_uv_run(x->uv);
    for (uint32_t i = 0; i < x->held_n; i++)
        free(x->held[i].p);
    free(x);
}

const char *st_relay_endpoint(const struct st_relay *r)
{
    return r->endpoint;
}

void st_relay_mode(struct st_relay *r, enum st_relay_mode mode)
{
    r->mode = mode;
    r->swallowed = 0;
}

int st_relay_swallowed(const struct st_relay *r)
{
    return r->swallowed;
}

uint32_t st_relay_held(const struct st_relay *r)
{
    return r->held_n;
}

/* One request over a connection of its own; the status of its answer, 0: none. */
static int send_held(const struct st_relay *r, const uint8_t *p, size_t n)
{
    struct timeval limit = {.tv_sec = RELEASE_S};
    uint8_t answer[64];
    size_t got = 0;
    int fd = socket(r->target.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    bool ok = connect(fd, (const struct sockaddr *)&r->target, r->target_n) == 0;
    while (ok && n > 0) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        ok = k > 0;
        p += ok ? k : 0;
        n -= ok ? (size_t)k : 0;
    }
    while (ok && got < 12) {
        ssize_t k = recv(fd, answer + got, sizeof answer - got, 0);
        ok = k > 0;
        got += ok ? (size_t)k : 0;
    }
    (void)close(fd);
    return status_of(answer, got);
}

int st_relay_release(struct st_relay *r)
{
    int lowest = 0;
    for (uint32_t i = 0; i < r->held_n; i++) {
        int status = send_held(r, r->held[i].p, r->held[i].n);
        free(r->held[i].p);
        if (status > 0 && (lowest == 0 || status < lowest))
            lowest = status;
    }
    r->held_n = 0;
    return lowest;
}
