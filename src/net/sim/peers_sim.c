#include <floe/net/sim.h>

#include <stdio.h>
#include <stdlib.h>

#define NAMES_MAX 32
#define CUTS_MAX 64
#define RESPONSE_MAX (1u << 20)

struct listener {
    struct floe_list link;
    char addr[FLOE_PEER_ADDR_MAX];
    struct floe_sim_node *node;
    bool (*serve)(void *user, int16_t api_key, int16_t api_version, struct floe_slice body,
                  struct floe_writer *response);
    void (*serve_later)(void *user, int16_t api_key, int16_t api_version, struct floe_slice body,
                        struct floe_sim_reply *reply);
    void *user;
};
struct cut {
    char from[32], to[32]; /* empty: anybody */
};
struct floe_sim_net {
    struct floe_sim *sim;
    struct floe_list listeners, fronts;
    struct cut cut[CUTS_MAX];
    uint32_t cut_n;
    char gone[NAMES_MAX][32];
    uint32_t gone_n, loss_ppm;
};
struct front {
    struct floe_peers base; /* first */
    struct floe_list link;
    struct floe_sim_net *net;
    struct floe_sim_node *node;
    struct floe_sim_driver driver;
    struct floe_list calls;
    struct floe_sim_event closing;
    void (*closed_fn)(void *user);
    void *closed_user;
    bool closed;
};
/* One call on its way. Freed at its end: answer, time-out, cancel or death. */
struct call {
    struct floe_list link;
    struct front *front;
    struct floe_peer_call *c;
    struct floe_sim_event request, answer, timeout;
    struct floe_sim_node *server; /* who has the request */
    int16_t api_key, api_version;
    uint8_t *body;
    size_t body_n;
    enum floe_err result;
    struct floe_buf *frame;
    struct floe_sim_reply *reply;
};
struct floe_sim_reply {
    struct call *k; /* null: nobody waits any more */
};

static void *alloc(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    FLOE_ASSERT(p);
    return p;
}
static uint64_t leg(struct floe_sim_net *net)
{
    return 100 + floe_rng_below(floe_sim_rng(net->sim), 900);
}
static bool gone(const struct floe_sim_net *net, const char *name)
{
    for (uint32_t i = 0; i < net->gone_n; i++) {
        if (strcmp(net->gone[i], name) == 0)
            return true;
    }
    return false;
}
static bool passes(struct floe_sim_net *net, const char *from, const char *to)
{
    if (gone(net, from) || gone(net, to))
        return false;
    for (uint32_t i = 0; i < net->cut_n; i++) {
        const struct cut *c = &net->cut[i];
        if ((!c->from[0] || strcmp(c->from, from) == 0) && (!c->to[0] || strcmp(c->to, to) == 0))
            return false;
    }
    return !net->loss_ppm || floe_rng_below(floe_sim_rng(net->sim), 1000000) >= net->loss_ppm;
}
static struct listener *find(struct floe_sim_net *net, const char *addr)
{
    FLOE_LIST_EACH(it, &net->listeners)
    {
        struct listener *l = FLOE_LIST_ENTRY(it, struct listener, link);
        if (strcmp(l->addr, addr) == 0)
            return l;
    }
    return NULL;
}

/* The end of a call. */
static void call_free(struct call *k)
{
    struct floe_sim *sim = k->front->net->sim;
    floe_sim_unschedule(sim, &k->request);
    floe_sim_unschedule(sim, &k->answer);
    floe_sim_unschedule(sim, &k->timeout);
    floe_list_remove(&k->link);
    if (k->c)
        k->c->driver = NULL;
    if (k->reply)
        k->reply->k = NULL;
    floe_buf_unref(k->frame);
    free(k->body);
    free(k);
}
static void finish(struct call *k, enum floe_err code)
{
    struct floe_peer_call *c = k->c;
    struct front *f = k->front;
    c->err = (struct floe_error){.code = code};
    if (code) {
        floe_error_set(&c->err, code, "call %d to %s: %s", c->api_key, c->addr, floe_err_name(code));
    } else {
        c->frame = k->frame;
        c->response = floe_slice(k->frame->data, k->frame->n);
        k->frame = NULL;
    }
    floe_sim_note(f->net->sim, f->node, "peer %s api %d: %s", c->addr, c->api_key, floe_err_name(code));
    call_free(k);
    c->done(c);
}
static void on_timeout(struct floe_sim_event *e)
{
    finish(FLOE_CONTAINER(e, struct call, timeout), FLOE_ETIMEOUT);
}
static void on_answer(struct floe_sim_event *e)
{
    struct call *k = FLOE_CONTAINER(e, struct call, answer);
    finish(k, k->result);
}
static void answer(struct call *k, enum floe_err code)
{
    k->result = code;
    floe_sim_after(k->front->net->sim, &k->answer, leg(k->front->net));
}
void floe_sim_net_reply(struct floe_sim_reply *reply, const void *p, size_t n)
{
    struct call *k = reply->k;
    free(reply);
    if (!k)
        return;
    struct floe_sim_net *net = k->front->net;
    const char *here = floe_sim_node_name(k->server), *there = floe_sim_node_name(k->front->node);
    k->reply = NULL;
    k->server = NULL;
    if (p) {
        k->frame = floe_buf_create_forced(n ? n : 1, NULL);
        FLOE_ASSERT(k->frame);
        if (n)
            memcpy(k->frame->data, p, n);
        k->frame->n = n;
    }
    if (passes(net, here, there))
        answer(k, k->frame ? FLOE_OK : FLOE_ECLOSED);
}
/* Runs on the server's node: deferred while that one is stalled, dropped when it dies. */
static void on_request(struct floe_sim_event *e)
{
    struct call *k = FLOE_CONTAINER(e, struct call, request);
    struct floe_sim_net *net = k->front->net;
    struct listener *l = find(net, k->c->addr);
    if (!l || floe_sim_node_dead(l->node)) {
        k->server = NULL;
        answer(k, FLOE_ECLOSED);
        return;
    }
    k->server = l->node;
    k->reply = alloc(sizeof *k->reply);
    k->reply->k = k;
    struct floe_sim_reply *reply = k->reply; /* the call may be gone when the server has run */
    if (l->serve_later) {
        l->serve_later(l->user, k->api_key, k->api_version, floe_slice(k->body, k->body_n), reply);
        return;
    }
    struct floe_writer w;
    floe_writer_init(&w, RESPONSE_MAX);
    bool ok = l->serve(l->user, k->api_key, k->api_version, floe_slice(k->body, k->body_n), &w) && !w.bad;
    floe_sim_net_reply(reply, ok ? w.n ? w.p : (const uint8_t *)"" : NULL, w.n);
    floe_writer_fini(&w);
}
static void op_call(struct floe_peers *p, struct floe_peer_call *c)
{
    struct front *f = FLOE_CONTAINER(p, struct front, base);
    struct floe_sim_net *net = f->net;
    c->driver = NULL;
    c->frame = NULL;
    if (f->closed || !floe_sim_node_call(f->node) || floe_sim_node_dead(f->node))
        return;
    FLOE_ASSERT(c->done && c->timeout_us > 0);
    struct call *k = alloc(sizeof *k);
    k->front = f;
    k->c = c;
    k->api_key = c->api_key;
    k->api_version = c->api_version;
    for (uint32_t i = 0; i < c->body_count; i++)
        k->body_n += c->body[i].n;
    k->body = alloc(k->body_n);
    size_t at = 0;
    for (uint32_t i = 0; i < c->body_count; i++) {
        if (c->body[i].n)
            memcpy(k->body + at, c->body[i].p, c->body[i].n);
        at += c->body[i].n;
    }
    c->driver = k;
    floe_list_push_back(&f->calls, &k->link);
    k->timeout = (struct floe_sim_event){.fn = on_timeout, .node = f->node};
    k->answer = (struct floe_sim_event){.fn = on_answer, .node = f->node};
    floe_sim_after(net->sim, &k->timeout, c->timeout_us);
    struct listener *l = find(net, c->addr);
    if (l && !passes(net, floe_sim_node_name(f->node), floe_sim_node_name(l->node)))
        return;
    if (!l || floe_sim_node_dead(l->node)) {
        answer(k, FLOE_EREFUSED);
        return;
    }
    k->server = l->node;
    k->request = (struct floe_sim_event){.fn = on_request, .node = l->node};
    floe_sim_after(net->sim, &k->request, leg(net));
}
static void op_cancel(struct floe_peers *p, struct floe_peer_call *c)
{
    (void)p;
    if (c->driver)
        call_free(c->driver);
}
static void forget(struct front *f)
{
    while (!floe_list_empty(&f->calls))
        call_free(FLOE_LIST_ENTRY(f->calls.next, struct call, link));
}
static void on_closing(struct floe_sim_event *e)
{
    struct front *f = FLOE_CONTAINER(e, struct front, closing);
    f->closed_fn(f->closed_user);
}
static void op_close(struct floe_peers *p, void (*closed)(void *user), void *user)
{
    struct front *f = FLOE_CONTAINER(p, struct front, base);
    if (floe_sim_node_dead(f->node))
        return;
    FLOE_ASSERT(!f->closed);
    f->closed = true;
    forget(f);
    f->closed_fn = closed;
    f->closed_user = user;
    floe_sim_after(f->net->sim, &f->closing, 0);
}
/* The node's own calls are forgotten; connections that others have to it break. */
static void on_killed(struct floe_sim_driver *d)
{
    struct front *f = FLOE_CONTAINER(d, struct front, driver);
    forget(f);
    floe_sim_unschedule(f->net->sim, &f->closing);
    FLOE_LIST_EACH(it, &f->net->fronts)
    {
        struct front *other = FLOE_LIST_ENTRY(it, struct front, link);
        FLOE_LIST_EACH(jt, &other->calls)
        {
            struct call *k = FLOE_LIST_ENTRY(jt, struct call, link);
            if (k->server != f->node)
                continue;
            k->server = NULL;
            if (k->reply)
                k->reply->k = NULL;
            k->reply = NULL;
            floe_sim_unschedule(f->net->sim, &k->request);
            answer(k, FLOE_ECLOSED);
        }
    }
}
static const struct floe_peer_ops ops = {op_call, op_cancel, op_close};

static void front_destroy(void *p)
{
    struct front *f = p;
    forget(f);
    floe_sim_unschedule(f->net->sim, &f->closing);
    floe_list_remove(&f->link);
    floe_list_remove(&f->driver.link);
    free(f);
}
struct floe_peers *floe_sim_peers_create(struct floe_sim_net *net, struct floe_sim_node *n)
{
    struct front *f = alloc(sizeof *f);
    f->base.ops = &ops;
    f->base.loop = floe_sim_node_loop(n);
    f->net = net;
    f->node = n;
    floe_list_init(&f->calls);
    f->closing = (struct floe_sim_event){.fn = on_closing, .node = n};
    f->driver.killed = on_killed;
    floe_sim_node_register(n, &f->driver);
    floe_list_push_back(&net->fronts, &f->link);
    floe_sim_own(net->sim, f, front_destroy);
    return &f->base;
}

static void net_destroy(void *p)
{
    struct floe_sim_net *net = p;
    FLOE_LIST_EACH_SAFE(it, &net->listeners)
    free(FLOE_LIST_ENTRY(it, struct listener, link));
    free(net);
}
struct floe_sim_net *floe_sim_net_create(struct floe_sim *sim)
{
    struct floe_sim_net *net = alloc(sizeof *net);
    net->sim = sim;
    floe_list_init(&net->listeners);
    floe_list_init(&net->fronts);
    floe_sim_own(sim, net, net_destroy);
    return net;
}
static struct listener *listen_at(struct floe_sim_net *net, struct floe_sim_node *n, const char *addr,
                                  void *user)
{
    floe_sim_net_unlisten(net, addr);
    struct listener *l = alloc(sizeof *l);
    FLOE_ASSERT(strlen(addr) < sizeof l->addr);
    memcpy(l->addr, addr, strlen(addr));
    l->node = n;
    l->user = user;
    floe_list_push_back(&net->listeners, &l->link);
    return l;
}
void floe_sim_net_listen(struct floe_sim_net *net, struct floe_sim_node *n, const char *addr,
                         bool (*serve)(void *user, int16_t api_key, int16_t api_version,
                                       struct floe_slice body, struct floe_writer *response),
                         void *user)
{
    struct listener *l = listen_at(net, n, addr, user);
    l->serve = serve;
}
void floe_sim_net_listen_later(struct floe_sim_net *net, struct floe_sim_node *n, const char *addr,
                               void (*serve)(void *user, int16_t api_key, int16_t api_version,
                                             struct floe_slice body, struct floe_sim_reply *reply),
                               void *user)
{
    struct listener *l = listen_at(net, n, addr, user);
    l->serve_later = serve;
}
void floe_sim_net_unlisten(struct floe_sim_net *net, const char *addr)
{
    struct listener *l = find(net, addr);
    if (!l)
        return;
    floe_list_remove(&l->link);
    free(l);
}
void floe_sim_net_cut(struct floe_sim_net *net, const char *from, const char *to, bool cut)
{
    struct cut c = {{0}, {0}};
    snprintf(c.from, sizeof c.from, "%s", from);
    snprintf(c.to, sizeof c.to, "%s", to);
    uint32_t i = 0;
    while (i < net->cut_n && (strcmp(net->cut[i].from, c.from) != 0 || strcmp(net->cut[i].to, c.to) != 0))
        i++;
    if (cut && i == net->cut_n) {
        FLOE_ASSERT(i < CUTS_MAX);
        net->cut[net->cut_n++] = c;
    } else if (!cut && i < net->cut_n) {
        net->cut[i] = net->cut[--net->cut_n];
    }
}
void floe_sim_net_cut_all(struct floe_sim_net *net, const char *name, bool cut)
{
    floe_sim_net_cut(net, name, "", cut);
    floe_sim_net_cut(net, "", name, cut);
}
void floe_sim_net_heal(struct floe_sim_net *net)
{
    net->cut_n = net->gone_n = net->loss_ppm = 0;
}
void floe_sim_net_vanish(struct floe_sim_net *net, const char *name, bool is_gone)
{
    uint32_t i = 0;
    while (i < net->gone_n && strcmp(net->gone[i], name) != 0)
        i++;
    if (is_gone && i == net->gone_n) {
        FLOE_ASSERT(i < NAMES_MAX);
        snprintf(net->gone[net->gone_n++], sizeof net->gone[0], "%s", name);
    } else if (!is_gone && i < net->gone_n) {
        memmove(net->gone[i], net->gone[net->gone_n - 1], sizeof net->gone[0]);
        net->gone_n--;
    }
}
void floe_sim_net_loss(struct floe_sim_net *net, uint32_t ppm)
{
    net->loss_ppm = ppm;
}
