/* Listeners and network threads. Sockets are accepted on thread 0 and dealt out in turn. */
#include "net/server_int.h"
#include <errno.h>
#include <floe/base/assert.h>
#include <floe/base/log.h>
#include <floe/base/str.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct handoff {
    struct floe_task task;
    struct net_thread *t;
    int fd;
    uint32_t listener;
};

static void close_listeners(struct floe_server *s)
{
    for (uint32_t i = 0; i < s->cfg.listen_count; i++) {
        if (s->fds[i] >= 0)
            close(s->fds[i]);
        s->fds[i] = -1;
    }
}

static void handed(struct floe_task *task)
{
    struct handoff h = *FLOE_CONTAINER(task, struct handoff, task);
    free(FLOE_CONTAINER(task, struct handoff, task));
    floe_conn_open(h.t, h.fd, h.listener);
}

/* A connection is gone; the last one lets a stopping thread end. */
void floe_server_conn_freed(struct net_thread *t)
{
    atomic_fetch_sub(&t->s->open_conns, 1);
    atomic_fetch_sub_explicit(&t->s->stats.connections, 1, memory_order_relaxed);
    if (t->stopping && floe_list_empty(&t->conns))
        floe_loop_uv_stop(t->uv);
}

/* Clients that fill the limit must not keep other brokers out: as in Kafka, where these have a listener of
 * their own. */
static uint32_t connections_max(const struct floe_server *s, uint32_t listener)
{
    bool own = s->cfg.listens[listener].for_peers && s->cfg.listen_count > 1;
    return s->cfg.connections_max + (own ? FLOE_SERVER_PEERS_BEYOND : 0);
}

static void on_acceptable(uv_poll_t *p, int status, int events)
{
    struct net_thread *t = p->data;
    struct floe_server *s = t->s;
    uint32_t listener = (uint32_t)(p - t->polls);
    (void)events;
    if (status < 0)
        return;
    for (int i = 0; i < 64; i++) {
        int fd = accept4(s->fds[listener], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE) {
                if (t->log_left > 0) {
                    t->log_left--;
                    floe_log_warn("net", "cannot accept a connection: %s (ulimit -n, LimitNOFILE=)",
                                  strerror(errno));
                }
                uv_poll_stop(p); /* taken up again by the sweep */
            }
            return;
        }
        atomic_fetch_add_explicit(&s->stats.accepted, 1, memory_order_relaxed);
        struct net_thread *to = &s->threads[s->next_thread++ % s->cfg.threads];
        struct handoff *h = to == t ? NULL : malloc(sizeof *h);
        if ((to != t && !h) || atomic_load(&s->open_conns) >= connections_max(s, listener)) {
            atomic_fetch_add_explicit(&s->stats.refused, 1, memory_order_relaxed);
            free(h);
            close(fd);
            continue;
        }
        atomic_fetch_add(&s->open_conns, 1);
        atomic_fetch_add_explicit(&s->stats.connections, 1, memory_order_relaxed);
        if (to == t) {
            floe_conn_open(t, fd, listener);
            continue;
        }
        *h = (struct handoff){.task = {.fn = handed}, .t = to, .fd = fd, .listener = listener};
        floe_loop_post(to->loop, &h->task);
    }
}

static void accept_from_now(struct net_thread *t)
{
    for (uint32_t i = 0; i < t->poll_count; i++)
        uv_poll_start(&t->polls[i], UV_READABLE, on_acceptable);
}

static void opened(struct floe_task *task)
{
    struct net_thread *t = task->user;
    t->accepting = true;
    accept_from_now(t);
}

static void swept(struct floe_timer *timer)
{
    struct net_thread *t = timer->user;
    uint64_t now = floe_loop_now_us(t->loop);
    t->log_left = LOG_PER_S;
    FLOE_LIST_EACH_SAFE(it, &t->conns)
    floe_conn_sweep(FLOE_LIST_ENTRY(it, struct floe_conn, link), now);
    if (t->accepting && !t->stopping)
        accept_from_now(t); /* after a pause for want of descriptors */
    floe_timer_start(t->loop, &t->sweep, 1000000);
}

/* Everybody who waits for room is looked at once, in turn. */
static void resumed(struct floe_timer *timer)
{
    struct net_thread *t = timer->user;
    uint32_t n = 0;
    bool went_on = false;
    FLOE_LIST_EACH(it, &t->paused)
    n++;
    while (n-- > 0 && !floe_list_empty(&t->paused)) {
        struct floe_conn *c = FLOE_LIST_ENTRY(t->paused.next, struct floe_conn, paused_link);
        floe_conn_resume(c);
        if (t->paused.next == &c->paused_link) { /* still waiting: behind the others */
            floe_list_remove(&c->paused_link);
            floe_list_push_back(&t->paused, &c->paused_link);
        }
        went_on = went_on || floe_list_empty(&c->paused_link);
    }
    if (went_on)
        t->paused_since_us = floe_loop_now_us(t->loop);
    if (!floe_list_empty(&t->paused))
        floe_timer_start(t->loop, &t->resume, RESUME_US);
}

/* Thread 0 first: it accepts no more, and what it has handed out reaches the others before they are told. */
static void stopped(struct floe_task *task)
{
    struct net_thread *t = task->user;
    struct floe_server *s = t->s;
    t->stopping = true;
    for (uint32_t i = 0; i < t->poll_count; i++)
        uv_close((uv_handle_t *)&t->polls[i], NULL);
    t->poll_count = 0;
    if (t == s->threads) {
        close_listeners(s);
        for (uint32_t i = 1; i < s->cfg.threads; i++)
            floe_loop_post(s->threads[i].loop, &s->threads[i].stop);
    }
    FLOE_LIST_EACH_SAFE(it, &t->conns)
    floe_conn_close(FLOE_LIST_ENTRY(it, struct floe_conn, link));
    if (floe_list_empty(&t->conns))
        floe_loop_uv_stop(t->uv);
}

static void all_ended(struct floe_task *task)
{
    struct floe_server *s = task->user;
    for (uint32_t i = 0; i < s->cfg.threads; i++)
        pthread_join(s->threads[i].thread, NULL);
    s->closed(s->closed_user);
}

static void *thread_main(void *arg)
{
    struct net_thread *t = arg;
    floe_timer_start(t->loop, &t->sweep, 1000000);
    floe_loop_uv_run(t->uv);
    floe_timer_stop(&t->sweep);
    floe_timer_stop(&t->resume);
    if (atomic_fetch_sub(&t->s->threads_left, 1) == 1)
        floe_loop_post(t->s->cfg.core, &t->s->closed_task);
    return NULL;
}

/* A listening socket, or -1 with the error number. */
static int listen_at(const struct addrinfo *a, int *problem)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 1024) == 0)
        return fd;
    *problem = errno;
    if (fd >= 0)
        close(fd);
    return -1;
}

enum floe_err floe_listen_bind(int *out, struct floe_listen *l, struct floe_error *err)
{
    const char *flag = l->flag ? l->flag : "--listen";
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE},
                    *list;
    char port[8], addr[FLOE_STR_ADDR];
    snprintf(port, sizeof port, "%u", l->port);
    int rc = getaddrinfo(l->host, port, &hints, &list);
    if (rc != 0)
        return floe_error_set(err, FLOE_EINVAL, "cannot listen on %s: %s (correct the host in %s)",
                              floe_str_addr(addr, l->host, l->port), gai_strerror(rc), flag);
    int fd = -1, problem = 0;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
        fd = listen_at(a, &problem);
    freeaddrinfo(list);
    struct sockaddr_storage a = {0};
    socklen_t len = sizeof a;
    if (fd >= 0 && getsockname(fd, (struct sockaddr *)&a, &len) != 0) {
        problem = errno;
        close(fd);
        fd = -1;
    }
    if (fd < 0)
        return floe_error_set(
            err, FLOE_EIO, "cannot listen on %s: %s%s%s%s", floe_str_addr(addr, l->host, l->port),
            strerror(problem),
            problem == EADDRINUSE ? " (another process has this port: stop it or choose another "
                                    "one with "
            : problem == EADDRNOTAVAIL
                ? " (no interface of this machine has this address: give an own one to "
            : problem == EACCES ? " (ports below 1024 need privileges: choose another with "
                                : "",
            problem == EADDRINUSE || problem == EADDRNOTAVAIL || problem == EACCES ? flag : "",
            problem == EADDRINUSE      ? "; port 0 takes any free one)"
            : problem == EADDRNOTAVAIL ? (l->flag ? ", or 0.0.0.0)" : ", or 0.0.0.0 with --advertise)")
            : problem == EACCES        ? ")"
                                       : "");
    l->port = ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
                                            : ((struct sockaddr_in *)&a)->sin_port);
    *out = fd;
    return FLOE_OK;
}

static enum floe_err thread_init(struct floe_server *s, struct net_thread *t, struct floe_error *err)
{
    enum floe_err rc = floe_loop_uv_create(&t->uv, err);
    if (rc)
        return rc;
    t->s = s;
    t->loop = floe_loop_uv_base(t->uv);
    t->log_left = LOG_PER_S;
    floe_list_init(&t->conns);
    floe_list_init(&t->paused);
    floe_timer_init(&t->resume, resumed, t);
    floe_timer_init(&t->sweep, swept, t);
    t->open = (struct floe_task){.fn = opened, .user = t};
    t->stop = (struct floe_task){.fn = stopped, .user = t};
    if (t != s->threads)
        return FLOE_OK;
    t->polls = calloc(s->cfg.listen_count, sizeof *t->polls);
    if (!t->polls)
        return floe_error_set(err, FLOE_ENOMEM, "no memory");
    for (uint32_t i = 0; i < s->cfg.listen_count; i++) {
        if (uv_poll_init(floe_loop_uv_raw(t->uv), &t->polls[i], s->fds[i]) != 0)
            return floe_error_set(err, FLOE_EIO, "cannot watch a listening socket");
        t->polls[i].data = t;
        t->poll_count = i + 1;
    }
    return FLOE_OK;
}

/* After a failed start-up: threads that run are ended, everything else goes. */
static void undo(struct floe_server *s)
{
    for (uint32_t i = 0; s->threads && i < s->cfg.threads; i++) {
        struct net_thread *t = &s->threads[i];
        if (t->started) {
            floe_loop_uv_stop(t->uv);
            pthread_join(t->thread, NULL);
        }
        for (uint32_t j = 0; j < t->poll_count; j++)
            uv_close((uv_handle_t *)&t->polls[j], NULL);
    }
    if (s->fds)
        close_listeners(s);
    floe_server_destroy(&s);
}

enum floe_err floe_server_create(struct floe_server **out, const struct floe_server_config *cfg,
                                 struct floe_error *err)
{
    struct floe_server *s = calloc(1, sizeof *s);
    enum floe_err rc = FLOE_OK;
    FLOE_ASSERT(cfg->threads > 0 && cfg->listen_count > 0 && cfg->budget);
    if (!s)
        return floe_error_set(err, FLOE_ENOMEM, "no memory");
    s->cfg = *cfg;
    atomic_flag_clear(&s->overdraft);
    atomic_init(&s->threads_left, cfg->threads + 1); /* one more than there are, until floe_server_close */
    s->closed_task = (struct floe_task){.fn = all_ended, .user = s};
    s->fds = calloc(cfg->listen_count, sizeof *s->fds);
    s->threads = calloc(cfg->threads, sizeof *s->threads);
    if (!s->fds || !s->threads)
        rc = floe_error_set(err, FLOE_ENOMEM, "no memory");
    for (uint32_t i = 0; s->fds && i < cfg->listen_count; i++)
        s->fds[i] = -1;
    for (uint32_t i = 0; !rc && i < cfg->listen_count; i++)
        rc = floe_listen_bind(&s->fds[i], &cfg->listens[i], err);
    for (uint32_t i = 0; !rc && i < cfg->threads; i++)
        rc = thread_init(s, &s->threads[i], err);
    for (uint32_t i = 0; !rc && i < cfg->threads; i++) {
        if (pthread_create(&s->threads[i].thread, NULL, thread_main, &s->threads[i]) != 0)
            rc = floe_error_set(err, FLOE_EIO, "cannot start a network thread");
        s->threads[i].started = !rc;
    }
    if (rc)
        undo(s);
    else
        *out = s;
    return rc;
}

void floe_server_open(struct floe_server *s)
{
    floe_loop_post(s->threads[0].loop, &s->threads[0].open);
}

void floe_server_close(struct floe_server *s, void (*closed)(void *user), void *user)
{
    s->closed = closed;
    s->closed_user = user;
    atomic_fetch_sub(&s->threads_left, 1);
    floe_loop_post(s->threads[0].loop, &s->threads[0].stop);
}

void floe_server_destroy(struct floe_server **sp)
{
    struct floe_server *s = *sp;
    if (!s)
        return;
    *sp = NULL;
    for (uint32_t i = 0; s->threads && i < s->cfg.threads; i++) {
        floe_loop_uv_destroy(&s->threads[i].uv);
        free(s->threads[i].polls);
    }
    free(s->threads);
    free(s->fds);
    free(s);
}

const struct floe_server_stats *floe_server_stats(const struct floe_server *s)
{
    return &s->stats;
}
