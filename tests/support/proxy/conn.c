/* One client connection: requests one after the other, each over this thread's own connection to the server.
 */
#include "proxy.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (256 * 1024)

/* A socket with what was read from it ahead. */
struct side {
    int fd;
    char *buf;
    size_t at, n, step; /* step: read at most so much at once; 0: what there is */
    bool gone;
};
struct body {
    bool chunked, until_close;
    uint64_t left;
    /* of a chunked body: where in its framing the next byte is */
    enum { SIZE_LINE, CHUNK_DATA, CHUNK_END, TRAILER } state;
    uint64_t chunk;
    size_t line_n;
};
struct message {
    char head[PROXY_HEAD_MAX + 1];
    size_t n;
    struct body body;
    bool close;
    int status; /* of an answer */
};

static char target_host[256], target_port[16];

void proxy_set_target(const char *host, const char *port)
{
    snprintf(target_host, sizeof target_host, "%s", host);
    snprintf(target_port, sizeof target_port, "%s", port);
}

static void nap_ms(uint64_t ms)
{
    struct timespec t = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static int dial(void)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int fd = -1, one = 1;
    if (getaddrinfo(target_host, target_port, &hints, &list) != 0)
        return -1;
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    if (fd >= 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static bool fill(struct side *s)
{
    ssize_t r = recv(s->fd, s->buf, s->step && s->step < CHUNK ? s->step : CHUNK, 0);
    s->at = 0;
    s->n = r > 0 ? (size_t)r : 0;
    s->gone = r <= 0;
    return r > 0;
}

static bool send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
        if (w <= 0)
            return false;
        p += w;
        n -= (size_t)w;
    }
    return true;
}

static bool read_head(struct side *s, struct message *m)
{
    m->n = 0;
    for (;;) {
        if (s->at == s->n && !fill(s))
            return false;
        while (s->at < s->n) {
            if (m->n == PROXY_HEAD_MAX)
                return false;
            m->head[m->n++] = s->buf[s->at++];
            if (m->n >= 4 && memcmp(m->head + m->n - 4, "\r\n\r\n", 4) == 0) {
                m->head[m->n] = '\0';
                return true;
            }
        }
    }
}

static bool header(const struct message *m, const char *name, char *out, size_t cap)
{
    size_t k = strlen(name);
    for (const char *l = strstr(m->head, "\r\n"); l && l[2] != '\r'; l = strstr(l + 2, "\r\n")) {
        if (strncasecmp(l + 2, name, k) == 0 && l[2 + k] == ':') {
            const char *v = l + 3 + k;
            v += strspn(v, " \t");
            snprintf(out, cap, "%.*s", (int)strcspn(v, "\r\n"), v);
            return true;
        }
    }
    return false;
}

static void framing(struct message *m, bool answer, bool no_body)
{
    char v[64];
    m->body = (struct body){0};
    m->close = header(m, "Connection", v, sizeof v) && strcasecmp(v, "close") == 0;
    if (no_body)
        return;
    if (header(m, "Transfer-Encoding", v, sizeof v) && strcasecmp(v, "chunked") == 0)
        m->body.chunked = true;
    else if (header(m, "Content-Length", v, sizeof v))
        m->body.left = strtoull(v, NULL, 10);
    else if (answer)
        m->body.until_close = true;
}

/* How many of the n bytes at p belong to the body; moves its state over them. */
static size_t body_bytes(struct body *b, const char *p, size_t n, bool *end)
{
    size_t i = 0;
    *end = false;
    if (b->until_close)
        return n;
    if (!b->chunked) {
        size_t k = n < b->left ? n : (size_t)b->left;
        b->left -= k;
        *end = b->left == 0;
        return k;
    }
    while (i < n && !*end) {
        if (b->state == CHUNK_DATA) {
            size_t k = n - i < b->chunk ? n - i : (size_t)b->chunk;
            b->chunk -= k;
            i += k;
            if (b->chunk == 0)
                b->state = CHUNK_END;
            continue;
        }
        char c = p[i++];
        if (c != '\n') {
            int d = c >= '0' && c <= '9'                     ? c - '0'
                    : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                             : -1;
            if (b->state == SIZE_LINE && d >= 0)
                b->chunk = b->chunk * 16 + (uint64_t)d;
            b->line_n += c != '\r';
            continue;
        }
        if (b->state == SIZE_LINE)
            b->state = b->chunk > 0 ? CHUNK_DATA : TRAILER;
        else if (b->state == CHUNK_END)
            b->state = SIZE_LINE;
        else if (b->line_n == 0)
            *end = true;
        b->line_n = 0;
    }
    return i;
}

static bool body_empty(const struct body *b)
{
    return !b->chunked && !b->until_close && b->left == 0;
}

/* Where a body goes: an fd (-1: nowhere), at most `max` bytes of it, counted for a request. */
struct sink {
    int fd;
    uint64_t max;
    const struct proxy_request *r;
    bool up;
    uint64_t per_s;   /* at most so many bytes a second; 0: as they come */
    uint64_t corrupt; /* this byte (from 1) is changed; 0: none */
};

/* False: broken, or cut. */
static bool copy_body(struct side *from, struct sink to, struct body *b)
{
    bool end = body_empty(b);
    uint64_t gone = 0;
    while (!end) {
        if (to.per_s) /* in steps of a tenth of a second */
            from->step = to.per_s / 10 + 1;
        if (from->at == from->n && !fill(from))
            return b->until_close;
        size_t k = body_bytes(b, from->buf + from->at, from->n - from->at, &end);
        size_t out = k < to.max ? k : (size_t)to.max;
        if (to.corrupt && gone < to.corrupt && to.corrupt <= gone + out)
            from->buf[from->at + (to.corrupt - gone - 1)] ^= 0x40;
        gone += out;
        if (to.per_s)
            nap_ms(out * 1000 / to.per_s);
        if (to.r)
            proxy_bytes(to.r, to.up ? out : 0, to.up ? 0 : out);
        if (to.fd >= 0 && !send_all(to.fd, from->buf + from->at, out))
            return false;
        from->at += k;
        to.max -= out;
        if (out < k)
            return false;
    }
    return true;
}

static const struct sink nowhere = {.fd = -1, .max = UINT64_MAX};

struct exchange {
    struct side client, server;
    struct message in, out;
    struct proxy_request r;
};

/* Waits for the server's answer. A read whose client leaves meanwhile is given up, as the server would see it
 * without a proxy: else reads pile up in a slow server until it takes no more. What writes is seen through.
 */
static bool await_answer(struct exchange *x)
{
    bool reads = strncmp(x->in.head, "GET ", 4) == 0 || strncmp(x->in.head, "HEAD ", 5) == 0;
    struct pollfd p[2] = {{.fd = x->server.fd, .events = POLLIN}, {.fd = x->client.fd, .events = POLLRDHUP}};
    while (reads && p[0].revents == 0) {
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return false;
        if (p[1].revents)
            return false;
    }
    return true;
}

/* Sends the request on, over a fresh connection where the kept one has gone, and reads the answer's head. */
static bool forward(struct exchange *x, const struct proxy_verdict *v)
{
    bool kept = x->server.fd >= 0;
    struct pollfd idle = {.fd = x->server.fd, .events = POLLIN};
    if (kept && poll(&idle, 1, 0) != 0) { /* nothing should come while nothing was asked: it is closing */
        close(x->server.fd);
        kept = false;
    }
    if (!kept) {
        x->server.fd = dial();
        x->server.at = x->server.n = 0;
    }
    if (x->server.fd < 0)
        return false;
    /* A server may answer before it has read the body: the answer is looked for in any case. */
    struct sink up = {.fd = x->server.fd, .max = UINT64_MAX, .r = &x->r, .up = true};
    up.max = v->action == PROXY_CUT_UP ? v->arg : UINT64_MAX;
    up.per_s = v->action == PROXY_TRICKLE ? v->arg : 0;
    bool whole = send_all(x->server.fd, x->in.head, x->in.n) && copy_body(&x->client, up, &x->in.body);
    x->client.step = 0;
    /* Half a request is closed, as its client did: a server may hold a lock on the key until then. */
    if (!whole && (v->action == PROXY_CUT_UP || x->client.gone))
        return false;
    if (!await_answer(x))
        return false;
    do {
        if (!read_head(&x->server, &x->out))
            return false;
        x->out.status = atoi(x->out.head + 9);
    } while (x->out.status == 100);
    framing(&x->out, true, x->r.head || x->out.status == 204 || x->out.status == 304);
    return true;
}

static bool say(struct exchange *x, int status)
{
    proxy_answered(&x->r, status);
    char text[512], body[256];
    int n = snprintf(body, sizeof body, "<Error><Code>%s</Code><Message>floe-proxy says so</Message></Error>",
                     status == 409   ? "ConditionalRequestConflict"
                     : status == 412 ? "PreconditionFailed"
                     : status == 503 ? "SlowDown"
                     : status == 403 ? "AccessDenied"
                     : status == 507 ? "XMinioStorageFull"
                                     : "InternalError");
    int k = snprintf(text, sizeof text,
                     "HTTP/1.1 %d Proxy\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s",
                     status, n, x->r.head ? "" : body);
    return send_all(x->client.fd, text, (size_t)k);
}

static bool relay(struct exchange *x, const struct proxy_verdict *v)
{
    switch (v->action) {
    case PROXY_DROP_ANSWER:
    case PROXY_SWALLOW:
    case PROXY_APPLY_STATUS:
        (void)copy_body(&x->server, nowhere, &x->out.body);
        if (v->action == PROXY_APPLY_STATUS)
            return say(x, (int)v->arg);
        proxy_answered(&x->r, x->out.status);
        if (v->action == PROXY_SWALLOW)
            (void)fill(&x->client); /* until the client gives up */
        return false;
    case PROXY_HOLD_ANSWER:
        proxy_hold(&x->r, v->rule);
        break;
    default:
        break;
    }
    proxy_answered(&x->r, x->out.status);
    struct sink down = {.fd = x->client.fd, .max = UINT64_MAX, .r = &x->r};
    down.max = v->action == PROXY_CUT ? v->arg : UINT64_MAX;
    down.per_s = v->action == PROXY_TRICKLE ? v->arg : 0;
    down.corrupt = v->action == PROXY_CORRUPT ? v->arg + 1 : 0;
    bool ok = send_all(x->client.fd, x->out.head, x->out.n) && copy_body(&x->server, down, &x->out.body);
    x->server.step = 0;
    return ok && !x->out.close && !x->out.body.until_close;
}

/* One request and its answer; false when the connection is to end. */
static bool exchange(struct exchange *x)
{
    char method[16], path[PROXY_PATH_MAX];
    if (!read_head(&x->client, &x->in) || sscanf(x->in.head, "%15s %4095s", method, path) != 2)
        return false;
    framing(&x->in, false, false);
    proxy_classify(&x->r, method, path);
    x->out.status = 0;
    struct proxy_verdict v = proxy_begin(&x->r);
    bool go_on = false, ask = v.action != PROXY_DROP && v.action != PROXY_STATUS;
    if (v.action == PROXY_DELAY)
        nap_ms(v.arg);
    if (v.action == PROXY_HOLD)
        proxy_hold(&x->r, v.rule);
    if (v.action == PROXY_STATUS) {
        (void)copy_body(&x->client, nowhere, &x->in.body);
        go_on = say(x, (int)v.arg);
    }
    if (ask) {
        bool answered = forward(x, &v);
        go_on = answered && relay(x, &v);
        if ((!answered || x->out.close || !go_on) && x->server.fd >= 0) {
            close(x->server.fd);
            x->server.fd = -1;
        }
    }
    proxy_end(&x->r);
    return go_on && !x->in.close;
}

void proxy_serve(int fd)
{
    struct exchange *x = calloc(1, sizeof *x);
    char *buffers = malloc(2 * CHUNK);
    if (x && buffers) {
        x->client = (struct side){.fd = fd, .buf = buffers};
        x->server = (struct side){.fd = -1, .buf = buffers + CHUNK};
        while (exchange(x)) {
        }
        if (x->server.fd >= 0)
            close(x->server.fd);
    }
    free(buffers);
    free(x);
}
