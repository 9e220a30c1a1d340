#include "cli/conns.h"

#include <floe/base/assert.h>
#include <floe/base/str.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { METADATA = 3, FIND_COORDINATOR = 10, PAUSE_MS = 100, PROGRESS_MS = 2000, WAIT_MS = 10000 };

struct node {
    int32_t id;
    char addr[FLOE_STR_ADDR];
    struct floe_client *client; /* null until it is asked */
};
struct floe_conns {
    struct floe_client *first;
    struct node *nodes;
    size_t n;
};

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

char *floe_cli_text(struct floe_kstr s)
{
    char *p = strndup(s.n > 0 ? s.p : "", s.n > 0 ? (size_t)s.n : 0);
    FLOE_ASSERT(p != NULL);
    return p;
}

json_t *floe_cli_json_kstr(struct floe_kstr s)
{
    return s.n < 0 ? json_null() : json_stringn(s.n > 0 ? s.p : "", (size_t)s.n);
}

bool floe_cli_again(int16_t code, int64_t *since_ms)
{
    if (!floe_kafka_error_retriable(code))
        return false;
    if (*since_ms == 0)
        *since_ms = now_ms();
    static int64_t told_ms; /* by any wait */
    int64_t now = now_ms(), waited = now - *since_ms;
    if (waited > FLOE_CLI_TIMEOUT_MS)
        return false;
    if (waited >= PROGRESS_MS && (told_ms < *since_ms || now - told_ms >= WAIT_MS)) {
        told_ms = now;
        (void)fprintf(stderr, "waiting, for up to %d s: %s: %s\n", FLOE_CLI_TIMEOUT_MS / 1000,
                      floe_kafka_error_name(code), floe_kafka_error_message(code));
    }
    (void)nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
    return true;
}

void floe_cli_progress(struct floe_cli_progress *p, const char *what, size_t done, size_t all)
{
    int64_t now = now_ms();
    if (p->last_ms == 0)
        p->last_ms = now;
    if (now - p->last_ms < PROGRESS_MS)
        return;
    p->last_ms = now;
    (void)fprintf(stderr, "%s: %zu of %zu\n", what, done, all);
}

/* Reads the brokers; who was connected stays. */
static enum floe_err refresh(struct floe_conns *c, struct floe_error *err)
{
    struct floe_kafka_MetadataRequest request;
    void *response;
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &request);
    request.AllowAutoTopicCreation = false;
    request.Topics_n = 0;
    enum floe_err e = floe_client_call(c->first, METADATA, INT16_MAX, &request, &response, NULL, err);
    if (e != FLOE_OK)
        return e;
    const struct floe_kafka_MetadataResponse *r = response;
    if (r->ErrorCode != 0)
        return floe_client_error(r->ErrorCode, floe_kstr(NULL), err);
    size_t n = (size_t)FLOE_MAX(r->Brokers_n, 0);
    struct node *nodes = calloc(n + 1, sizeof *nodes);
    FLOE_ASSERT(nodes != NULL);
    for (size_t i = 0; i < n; i++) {
        char host[FLOE_STR_HOST];
        (void)snprintf(host, sizeof host, "%.*s", (int)FLOE_MAX(r->Brokers[i].Host.n, 0),
                       r->Brokers[i].Host.p != NULL ? r->Brokers[i].Host.p : "");
        nodes[i].id = r->Brokers[i].NodeId;
        (void)floe_str_addr(nodes[i].addr, host, (uint16_t)r->Brokers[i].Port);
        for (size_t k = 0; k < c->n; k++) {
            if (c->nodes[k].id != nodes[i].id || strcmp(c->nodes[k].addr, nodes[i].addr) != 0)
                continue;
            nodes[i].client = c->nodes[k].client;
            c->nodes[k].client = NULL;
        }
    }
    for (size_t k = 0; k < c->n; k++)
        floe_client_close(&c->nodes[k].client);
    free(c->nodes);
    c->nodes = nodes;
    c->n = n;
    return FLOE_OK;
}

enum floe_err floe_conns_open(struct floe_conns **out, const struct floe_cli_args *a, struct floe_error *err)
{
    struct floe_conns *c = calloc(1, sizeof *c);
    FLOE_ASSERT(c != NULL);
    enum floe_err e = floe_client_connect(&c->first, floe_cli_bootstrap(a), FLOE_CLI_TIMEOUT_MS, err);
    if (e == FLOE_OK)
        e = refresh(c, err);
    if (e != FLOE_OK)
        floe_conns_close(&c);
    else
        *out = c;
    return e;
}

void floe_conns_close(struct floe_conns **c)
{
    struct floe_conns *x = *c;
    if (x == NULL)
        return;
    *c = NULL;
    floe_client_close(&x->first);
    for (size_t i = 0; i < x->n; i++)
        floe_client_close(&x->nodes[i].client);
    free(x->nodes);
    free(x);
}

struct floe_client *floe_conns_first(struct floe_conns *c)
{
    return c->first;
}

size_t floe_conns_count(const struct floe_conns *c)
{
    return c->n;
}

int32_t floe_conns_id(const struct floe_conns *c, size_t i)
{
    return c->nodes[i].id;
}

static struct node *find(struct floe_conns *c, int32_t id)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->nodes[i].id == id)
            return &c->nodes[i];
    return NULL;
}

enum floe_err floe_conns_node(struct floe_conns *c, int32_t id, struct floe_client **out,
                              struct floe_error *err)
{
    struct node *n = find(c, id);
    if (n == NULL) {
        enum floe_err e = refresh(c, err);
        if (e != FLOE_OK)
            return e;
        n = find(c, id);
    }
    if (n == NULL)
        return floe_error_set(err, FLOE_ENOTFOUND, "broker %d is not in the cluster", id);
    if (n->client == NULL) {
        enum floe_err e = floe_client_connect(&n->client, n->addr, FLOE_CLI_TIMEOUT_MS, err);
        if (e != FLOE_OK) {
            floe_error_prefix(err, "broker %d", id);
            return e;
        }
    }
    *out = n->client;
    return FLOE_OK;
}

enum floe_err floe_conns_coordinator(struct floe_conns *c, const char *group, struct floe_client **out,
                                     int32_t *node, struct floe_error *err)
{
    int64_t since = 0;
    for (;;) {
        struct floe_kafka_FindCoordinatorRequest request;
        void *response;
        floe_kafka_defaults(&floe_kafka_FindCoordinatorRequest_desc, &request);
        request.Key = floe_kstr(group);
        /* Version 4 asks for several keys; one is what is wanted. */
        enum floe_err e = floe_client_call(c->first, FIND_COORDINATOR, 3, &request, &response, NULL, err);
        if (e != FLOE_OK)
            return e;
        const struct floe_kafka_FindCoordinatorResponse *r = response;
        if (r->ErrorCode == 0) {
            *node = r->NodeId;
            return floe_conns_node(c, r->NodeId, out, err);
        }
        if (!floe_cli_again(r->ErrorCode, &since))
            return floe_client_error(r->ErrorCode, r->ErrorMessage, err);
    }
}
