/* The HTTP server for load balancers and Prometheus, on one thread of its own (libmicrohttpd). */
#include <floe/admin.h>

#include <floe/net/server.h>
#include <floe/os/usage.h>

#include <microhttpd.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define BODY_MAX (1u << 20)
#define IDLE_S 15

struct floe_admin {
    struct MHD_Daemon *daemon;
    uint16_t port;
    pthread_mutex_t lock; /* of sample */
    struct floe_sample sample;
};

/* ---- answers ----------------------------------------------------------------------------------------- */

static void say(struct floe_writer *w, const char *text)
{
    floe_write(w, text, strlen(text));
}

static unsigned ready(const struct floe_sample *s, bool turns, struct floe_writer *body)
{
    static const char *const why[] = {[FLOE_ADMIN_STARTING] = "starting\n",
                                      [FLOE_ADMIN_SERVING] = "ready\n",
                                      [FLOE_ADMIN_LAPSED] =
                                          "the session has lapsed: the table does not answer\n",
                                      [FLOE_ADMIN_ENDING] = "ending\n"};
    bool ok = turns && s->phase == FLOE_ADMIN_SERVING;
    say(body, turns || s->phase == FLOE_ADMIN_STARTING ? why[s->phase] : "the core loop does not turn\n");
    return ok ? 200 : 503;
}

struct floe_admin_answer floe_admin_handle(const struct floe_sample *s, uint64_t now_us, const char *method,
                                           const char *path, struct floe_writer *body)
{
    struct floe_admin_answer a = {.status = 200, .type = "text/plain; charset=utf-8"};
    /* Before the first sample the process starts, which has a time limit of its own. */
    bool turns = s->at_us == 0 || now_us - s->at_us < FLOE_ADMIN_STALE_US || now_us < s->at_us;
    bool metrics = strcmp(path, "/metrics") == 0, health = strcmp(path, "/healthz") == 0;
    if (!metrics && !health && strcmp(path, "/readyz") != 0) {
        a.status = 404;
        say(body, "not found: there are /metrics, /healthz and /readyz\n");
    } else if (strcmp(method, "HEAD") != 0 && strcmp(method, "GET") != 0) {
        a.status = 405;
        say(body, "GET and HEAD are allowed\n");
    } else if (metrics) {
        a.type = "text/plain; version=0.0.4; charset=utf-8";
        floe_admin_render(s, body);
    } else if (health) {
        a.status = turns ? 200 : 503;
        say(body, turns ? "alive\n" : "the core loop does not turn\n");
    } else {
        a.status = ready(s, turns, body);
    }
    return a;
}

/* ---- server ------------------------------------------------------------------------------------------ */

static enum MHD_Result respond(struct MHD_Connection *c, const struct floe_admin_answer *a,
                               struct floe_writer *body)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(
        body->n, body->n > 0 ? (void *)body->p : (void *)"", MHD_RESPMEM_MUST_COPY);
    if (r == NULL)
        return MHD_NO;
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, a->type);
    MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (a->status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result rc = MHD_queue_response(c, a->status, r);
    MHD_destroy_response(r);
    return rc;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *c, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_n, void **state)
{
    static int seen;
    struct floe_admin *a = user;
    (void)version;
    (void)upload;
    if (*state == NULL) { /* the head alone: answered once the request is complete, so that it stays usable */
        *state = &seen;
        return MHD_YES;
    }
    if (*upload_n > 0) { /* a body is not wanted, and thrown away */
        *upload_n = 0;
        return MHD_YES;
    }
    struct floe_sample *s = malloc(sizeof *s);
    if (s == NULL)
        return MHD_NO;
    pthread_mutex_lock(&a->lock);
    *s = a->sample;
    pthread_mutex_unlock(&a->lock);
    struct floe_writer body;
    floe_writer_init(&body, BODY_MAX);
    struct floe_admin_answer answer = floe_admin_handle(s, floe_os_clock_us(), method, url, &body);
    enum MHD_Result rc = body.bad ? MHD_NO : respond(c, &answer, &body);
    floe_writer_fini(&body);
    free(s);
    return rc;
}

enum floe_err floe_admin_open(struct floe_admin **out, const struct floe_str_addr *listen,
                              struct floe_error *err)
{
    struct floe_listen at = {.name = "http", .host = listen->host, .port = listen->port, .flag = "--http"};
    struct floe_admin *a = calloc(1, sizeof *a);
    int fd = -1;
    if (a == NULL)
        return floe_error_set(err, FLOE_ENOMEM, "no memory");
    enum floe_err rc = floe_listen_bind(&fd, &at, err);
    if (rc != FLOE_OK) {
        free(a);
        return rc;
    }
    a->port = at.port;
    pthread_mutex_init(&a->lock, NULL);
    a->daemon =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, 0, NULL, NULL, on_request, a,
                         MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                         (unsigned)FLOE_ADMIN_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                         (unsigned)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16384, MHD_OPTION_END);
    if (a->daemon == NULL) {
        close(fd);
        pthread_mutex_destroy(&a->lock);
        free(a);
        return floe_error_set(err, FLOE_EIO, "the HTTP server on %s:%u could not be started", listen->host,
                              listen->port);
    }
    *out = a;
    return FLOE_OK;
}

uint16_t floe_admin_port(const struct floe_admin *a)
{
    return a->port;
}

void floe_admin_put(struct floe_admin *a, const struct floe_sample *s)
{
    if (pthread_mutex_trylock(&a->lock) != 0)
        return; /* it is being copied: the next sample will do */
    a->sample = *s;
    pthread_mutex_unlock(&a->lock);
}

void floe_admin_close(struct floe_admin **ap)
{
    struct floe_admin *a = *ap;
    if (a == NULL)
        return;
    *ap = NULL;
    MHD_stop_daemon(a->daemon);
    pthread_mutex_destroy(&a->lock);
    free(a);
}
