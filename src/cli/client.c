#include "cli/client.h"

#include <floe/base/assert.h>
#include <floe/base/str.h>

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { QUIET_MS = 2000 }; /* a wait that is longer is told of on stderr */
enum { API_VERSIONS = 18, APIS_MAX = 256, REQUEST_MAX = 16 << 20, ARENA_MAX = 256 << 20 };

struct floe_client {
    int fd;
    uint32_t timeout_ms;
    int32_t correlation;
    bool told; /* of the wait that is under way */
    char addr[FLOE_STR_ADDR];
    struct floe_arena arena; /* of the last answer */
    uint8_t *answer;
    struct {
        int16_t key, min, max;
    } apis[APIS_MAX];
    uint32_t api_count;
};

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static enum floe_err wait_for(struct floe_client *c, short events, int64_t deadline, const char *what,
                              struct floe_error *err)
{
    struct pollfd p = {.fd = c->fd, .events = events};
    for (;;) {
        int64_t left = deadline - now_ms(), quiet = c->told ? 0 : left - (int64_t)c->timeout_ms + QUIET_MS;
        int n = left > 0 ? poll(&p, 1, (int)FLOE_MIN(quiet > 0 ? quiet : left, (int64_t)INT32_MAX)) : 0;
        if (n > 0)
            return FLOE_OK;
        if (n == 0 && left > 0 && !c->told) {
            c->told = true;
            (void)fprintf(stderr, "waiting for %s to %s, for up to %u s\n", c->addr, what,
                          (c->timeout_ms + 999) / 1000);
        } else if (n == 0) {
            return floe_error_set(err, FLOE_ETIMEOUT, "%s did not %s within %u s", c->addr, what,
                                  (c->timeout_ms + 999) / 1000);
        } else if (errno != EINTR)
            return floe_error_set(err, FLOE_EIO, "%s: poll: %s", c->addr, strerror(errno));
    }
}

/* One address of the host. */
static enum floe_err try_connect(struct floe_client *c, const struct addrinfo *a, int64_t deadline,
                                 struct floe_error *err)
{
    c->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        return floe_error_set(err, FLOE_EIO, "cannot open a socket: %s", strerror(errno));
    int rc = connect(c->fd, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
    enum floe_err e = FLOE_OK;
    if (rc == EINPROGRESS) {
        e = wait_for(c, POLLOUT, deadline, "take a connection", err);
        socklen_t n = sizeof rc;
        if (e == FLOE_OK && getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &rc, &n) != 0)
            rc = errno;
    }
    if (e == FLOE_OK && rc == ECONNREFUSED)
        e = floe_error_set(
            err, FLOE_EREFUSED,
            "nothing listens on %s: start a broker there, or name another with --bootstrap HOST:PORT",
            c->addr);
    else if (e == FLOE_OK && rc != 0)
        e = floe_error_set(err, FLOE_EIO, "cannot connect to %s: %s", c->addr, strerror(rc));
    if (e != FLOE_OK) {
        (void)close(c->fd);
        c->fd = -1;
        return e;
    }
    int on = 1;
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return FLOE_OK;
}

static enum floe_err connect_any(struct floe_client *c, const struct floe_str_addr *addr,
                                 struct floe_error *err)
{
    char port[8];
    (void)snprintf(port, sizeof port, "%u", (unsigned)addr->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all = NULL;
    int rc = getaddrinfo(addr->host, port, &hints, &all);
    if (rc != 0)
        return floe_error_set(err, FLOE_ENOTFOUND, "cannot find the host \"%.100s\": %s", addr->host,
                              gai_strerror(rc));
    int64_t deadline = now_ms() + c->timeout_ms;
    enum floe_err e = FLOE_ENOTFOUND;
    for (const struct addrinfo *a = all; a != NULL && c->fd < 0; a = a->ai_next)
        e = try_connect(c, a, deadline, err);
    freeaddrinfo(all);
    return e;
}

static enum floe_err send_all(struct floe_client *c, const uint8_t *p, size_t n, int64_t deadline,
                              struct floe_error *err)
{
    while (n > 0) {
        enum floe_err e = wait_for(c, POLLOUT, deadline, "take a request", err);
        if (e != FLOE_OK)
            return e;
        ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR && errno != EAGAIN)
            return floe_error_set(err, FLOE_ECLOSED, "%s closed the connection: %s", c->addr,
                                  strerror(errno));
        if (sent > 0) {
            p += sent;
            n -= (size_t)sent;
        }
    }
    return FLOE_OK;
}

static enum floe_err recv_all(struct floe_client *c, uint8_t *p, size_t n, int64_t deadline,
                              struct floe_error *err)
{
    while (n > 0) {
        enum floe_err e = wait_for(c, POLLIN, deadline, "answer", err);
        if (e != FLOE_OK)
            return e;
        ssize_t got = recv(c->fd, p, n, 0);
        if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN))
            return floe_error_set(err, FLOE_ECLOSED, "%s closed the connection before it answered%s%s",
                                  c->addr, got < 0 ? ": " : "", got < 0 ? strerror(errno) : "");
        if (got > 0) {
            p += got;
            n -= (size_t)got;
        }
    }
    return FLOE_OK;
}

/* One exchange: *body is the answer's body, in c->answer. */
static enum floe_err exchange(struct floe_client *c, const struct floe_kafka_api *api, int16_t version,
                              const void *request, struct floe_slice *body, struct floe_error *err)
{
    int64_t deadline = now_ms() + c->timeout_ms;
    c->told = false;
    struct floe_writer w;
    floe_writer_init(&w, REQUEST_MAX);
    int32_t correlation = ++c->correlation, answered = 0;
    enum floe_err e =
        floe_kafka_request_frame(api, version, correlation, floe_kstr("floe-cli"), request, &w, err);
    if (e == FLOE_OK)
        e = send_all(c, w.p, w.n, deadline, err);
    floe_writer_fini(&w);
    uint8_t size[4];
    if (e == FLOE_OK)
        e = recv_all(c, size, sizeof size, deadline, err);
    if (e != FLOE_OK)
        return e;
    uint32_t n = floe_be32(size);
    if (n < 4 || n > FLOE_CLIENT_ANSWER_MAX)
        return floe_error_set(err, FLOE_EINVAL, "%s answered with %u bytes: is this a Kafka port?", c->addr,
                              n);
    free(c->answer);
    c->answer = malloc(n);
    if (c->answer == NULL)
        return floe_error_set(err, FLOE_ENOMEM, "out of memory for an answer of %u bytes", n);
    if ((e = recv_all(c, c->answer, n, deadline, err)) != FLOE_OK)
        return e;
    e = floe_kafka_read_response_header(api, version, floe_slice(c->answer, n), &answered, body, err);
    if (e != FLOE_OK)
        floe_error_prefix(err, "the answer of %s", c->addr);
    if (e == FLOE_OK && answered != correlation)
        e = floe_error_set(err, FLOE_EINVAL, "%s answered request %d instead of %d", c->addr, answered,
                           correlation);
    return e;
}

static enum floe_err decode(struct floe_client *c, const struct floe_kafka_api *api, int16_t version,
                            struct floe_slice body, void **out, struct floe_error *err)
{
    floe_arena_fini(&c->arena);
    floe_arena_init(&c->arena, ARENA_MAX);
    enum floe_err e = floe_kafka_decode(api->response, version, body, &c->arena, out, err);
    if (e != FLOE_OK)
        floe_error_prefix(err, "the answer of %s", c->addr);
    return e;
}

static enum floe_err ask_versions(struct floe_client *c, struct floe_error *err)
{
    const struct floe_kafka_api *api = floe_kafka_api_find(API_VERSIONS);
    struct floe_kafka_ApiVersionsRequest request;
    floe_kafka_defaults(api->request, &request);
    request.ClientSoftwareName = floe_kstr("floe-cli");
    request.ClientSoftwareVersion = floe_kstr(FLOE_VERSION);
    struct floe_slice body;
    void *out;
    enum floe_err e = exchange(c, api, 3, &request, &body, err);
    if (e == FLOE_ECLOSED || e == FLOE_ETIMEOUT)
        (void)floe_error_set(err, e, "%s: is this the port of a Kafka listener?", err->msg);
    if (e != FLOE_OK)
        return e;
    /* A broker that does not know version 3 says so in version 0. */
    bool old = body.n >= 2 && (int16_t)floe_be16(body.p) == FLOE_KERR_UNSUPPORTED_VERSION;
    if ((e = decode(c, api, old ? 0 : 3, body, &out, err)) != FLOE_OK)
        return e;
    const struct floe_kafka_ApiVersionsResponse *r = out;
    if (r->ErrorCode != 0 && !old)
        return floe_client_error(r->ErrorCode, floe_kstr(NULL), err);
    for (int32_t i = 0; i < r->ApiKeys_n && c->api_count < APIS_MAX; i++) {
        c->apis[c->api_count].key = r->ApiKeys[i].ApiKey;
        c->apis[c->api_count].min = r->ApiKeys[i].MinVersion;
        c->apis[c->api_count++].max = r->ApiKeys[i].MaxVersion;
    }
    return FLOE_OK;
}

static enum floe_err connect_one(struct floe_client **out, const char *text, uint32_t timeout_ms,
                                 struct floe_error *err)
{
    struct floe_str_addr addr;
    enum floe_err e = floe_str_parse_addr(text, &addr, err);
    if (e != FLOE_OK) {
        floe_error_prefix(err, "--bootstrap");
        return e;
    }
    struct floe_client *c = calloc(1, sizeof *c);
    if (c == NULL)
        return floe_error_set(err, FLOE_ENOMEM, "out of memory for a connection");
    c->fd = -1;
    c->timeout_ms = timeout_ms;
    (void)floe_str_addr(c->addr, addr.host, addr.port);
    if ((e = connect_any(c, &addr, err)) == FLOE_OK)
        e = ask_versions(c, err);
    if (e != FLOE_OK)
        floe_client_close(&c);
    else
        *out = c;
    return e;
}

enum floe_err floe_client_connect(struct floe_client **out, const char *bootstrap, uint32_t timeout_ms,
                                  struct floe_error *err)
{
    char *list = strdup(bootstrap);
    if (list == NULL)
        return floe_error_set(err, FLOE_ENOMEM, "out of memory for a connection");
    enum floe_err e = FLOE_EINVAL;
    for (char *text = list, *next; text != NULL; text = next) {
        next = strchr(text, ',');
        if (next != NULL)
            *next++ = '\0';
        e = connect_one(out, text, timeout_ms, err);
        if (e == FLOE_OK || e == FLOE_EINVAL)
            break; /* a brokers' list may name dead ones, but nothing that is no address */
    }
    free(list);
    return e;
}

void floe_client_close(struct floe_client **c)
{
    struct floe_client *x = *c;
    if (x == NULL)
        return;
    *c = NULL;
    if (x->fd >= 0)
        (void)close(x->fd);
    floe_arena_fini(&x->arena);
    free(x->answer);
    free(x);
}

enum floe_err floe_client_call(struct floe_client *c, int16_t api_key, int16_t max_version,
                               const void *request, void **response, int16_t *version, struct floe_error *err)
{
    const struct floe_kafka_api *api = floe_kafka_api_find(api_key);
    FLOE_ASSERT(api != NULL);
    int16_t max = FLOE_MIN(api->max_stable, max_version), min = api->min;
    bool served = api->peer; /* Floe's own are not listed: who does not serve one closes the connection */
    for (uint32_t i = 0; i < c->api_count; i++) {
        if (c->apis[i].key != api_key)
            continue;
        served = true;
        max = FLOE_MIN(max, c->apis[i].max);
        min = FLOE_MAX(min, c->apis[i].min);
    }
    if (!served || max < min)
        return floe_error_set(err, FLOE_EUNSUPPORTED, "%s does not serve %s%s", c->addr, api->name,
                              served ? " in a version that this command speaks" : "");
    struct floe_slice body;
    enum floe_err e = exchange(c, api, max, request, &body, err);
    if (e == FLOE_OK)
        e = decode(c, api, max, body, response, err);
    if (e == FLOE_OK && version != NULL)
        *version = max;
    return e;
}

enum floe_err floe_client_error(int16_t code, struct floe_kstr message, struct floe_error *err)
{
    if (message.n > 0)
        return floe_error_set(err, FLOE_EINVAL, "%s: %.*s", floe_kafka_error_name(code),
                              (int)FLOE_MIN(message.n, 280), message.p);
    return floe_error_set(err, FLOE_EINVAL, "%s: %s", floe_kafka_error_name(code),
                          floe_kafka_error_message(code));
}
