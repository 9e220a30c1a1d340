/* floe cluster status */
#include "cli/cli_int.h"
#include "cli/client.h"

#include <floe/base/assert.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { METADATA = 3, BROKER_STATUS = 20030, TIMEOUT_MS = 30000, STATUS_TIMEOUT_MS = 3000, ASKED_MAX = 64 };

static enum floe_err call_metadata(struct floe_client *c, const struct floe_kafka_MetadataResponse **out,
                                   struct floe_error *err)
{
    struct floe_kafka_MetadataRequest request;
    void *response;
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &request);
    request.AllowAutoTopicCreation = false;
    request.Topics_n = -1;
    enum floe_err e = floe_client_call(c, METADATA, INT16_MAX, &request, &response, NULL, err);
    if (e == FLOE_OK) {
        const struct floe_kafka_MetadataResponse *r = response;
        if (r->ErrorCode != 0)
            return floe_client_error(r->ErrorCode, floe_kstr(NULL), err);
        *out = r;
    }
    return e;
}

struct counts {
    long partitions, leaderless, silent; /* the last: their leader does not answer */
};

static struct counts count_all(const struct floe_kafka_MetadataResponse *m)
{
    struct counts n = {0, 0, 0};
    for (int32_t i = 0; i < m->Topics_n; i++) {
        n.partitions += FLOE_MAX(m->Topics[i].Partitions_n, 0);
        for (int32_t k = 0; k < m->Topics[i].Partitions_n; k++)
            n.leaderless +=
                m->Topics[i].Partitions[k].LeaderId < 0 || m->Topics[i].Partitions[k].ErrorCode != 0;
    }
    return n;
}

static long leads(const struct floe_kafka_MetadataResponse *m, int32_t node)
{
    long n = 0;
    for (int32_t i = 0; i < m->Topics_n; i++)
        for (int32_t k = 0; k < m->Topics[i].Partitions_n; k++)
            n += m->Topics[i].Partitions[k].LeaderId == node;
    return n;
}

/* What a broker tells of itself. */
struct status {
    const struct floe_kafka_MetadataResponse_MetadataResponseBroker *of;
    pthread_t thread;
    bool known;
    char why[512]; /* it is not */
    char state[32], scarcest[32], version[32];
    double utilisation, idle_usd;
    int64_t view_lag_ms;
    int32_t format; /* 0: it does not tell */
    bool draining;
    int64_t store_trouble_ms;
    char store_trouble[320];
};
#define TROUBLE_MS 1000 /* a store that did not answer for less is not worth a word */

static void copy(char out[32], struct floe_kstr s)
{
    (void)snprintf(out, 32, "%.*s", (int)FLOE_MAX(s.n, 0), s.p != NULL ? s.p : "");
}

/* Asks the broker itself. One that does not answer is shown without: Metadata has told of it. */
static void *ask_status(void *arg)
{
    struct status *out = arg;
    const struct floe_kafka_MetadataResponse_MetadataResponseBroker *b = out->of;
    char host[FLOE_STR_HOST], addr[FLOE_STR_ADDR];
    struct floe_kafka_BrokerStatusRequest request;
    struct floe_client *c = NULL;
    struct floe_error err = {0};
    void *response;
    (void)snprintf(host, sizeof host, "%.*s", (int)FLOE_MAX(b->Host.n, 0),
                   b->Host.p != NULL ? b->Host.p : "");
    (void)floe_str_addr(addr, host, (uint16_t)b->Port);
    floe_kafka_defaults(&floe_kafka_BrokerStatusRequest_desc, &request);
    if (floe_client_connect(&c, addr, STATUS_TIMEOUT_MS, &err) == FLOE_OK &&
        floe_client_call(c, BROKER_STATUS, INT16_MAX, &request, &response, NULL, &err) == FLOE_OK) {
        const struct floe_kafka_BrokerStatusResponse *r = response;
        out->known = r->ErrorCode == 0 && r->NodeId == b->NodeId;
        copy(out->state, r->State);
        copy(out->scarcest, r->Scarcest);
        copy(out->version, r->Version);
        out->utilisation = r->UtilisationPpm / 1e6;
        out->idle_usd = (double)r->IdleMicroDollars / 1e6;
        out->view_lag_ms = r->ViewLagMs;
        out->format = r->Format;
        out->draining = r->Draining;
        out->store_trouble_ms = r->StoreTroubleMs;
        (void)snprintf(out->store_trouble, sizeof out->store_trouble, "%.*s",
                       (int)FLOE_MAX(r->StoreTrouble.n, 0),
                       r->StoreTrouble.p != NULL ? r->StoreTrouble.p : "");
        if (!out->known)
            (void)snprintf(out->why, sizeof out->why, "%s answers as another broker", addr);
    } else if (err.code == FLOE_EREFUSED) {
        (void)snprintf(out->why, sizeof out->why, "nothing listens on %s", addr);
    } else if (err.code == FLOE_ETIMEOUT) {
        (void)snprintf(out->why, sizeof out->why, "%s did not answer within %d s", addr,
                       STATUS_TIMEOUT_MS / 1000);
    } else {
        (void)snprintf(out->why, sizeof out->why, "%s", err.msg);
    }
    floe_client_close(&c);
    return NULL;
}

/* All at once, ASKED_MAX at a time: one that does not answer costs the others nothing. */
static struct status *ask_all(const struct floe_kafka_MetadataResponse *m)
{
    int32_t n = FLOE_MAX(m->Brokers_n, 0);
    struct status *status = calloc((size_t)n + 1, sizeof *status);
    FLOE_ASSERT(status != NULL);
    for (int32_t from = 0; from < n; from += ASKED_MAX) {
        int32_t to = FLOE_MIN(from + ASKED_MAX, n);
        for (int32_t i = from; i < to; i++) {
            status[i].of = &m->Brokers[i];
            /* lint: pthread_create a command has no loop, and its client waits for each answer */
            if (pthread_create(&status[i].thread, NULL, ask_status, &status[i]) != 0) {
                status[i].thread = pthread_self();
                ask_status(&status[i]);
            }
        }
        for (int32_t i = from; i < to; i++)
            if (!pthread_equal(status[i].thread, pthread_self()))
                (void)pthread_join(status[i].thread, NULL);
    }
    return status;
}

static int by_id(const void *x, const void *y)
{
    const struct floe_kafka_MetadataResponse_MetadataResponseBroker *a = x, *b = y;
    return (a->NodeId > b->NodeId) - (a->NodeId < b->NodeId);
}

/* The newest that any of them writes; 0: none tells. */
static int32_t cluster_format(const struct floe_kafka_MetadataResponse *m, const struct status *status)
{
    int32_t format = 0;
    for (int32_t i = 0; i < m->Brokers_n; i++)
        format = FLOE_MAX(format, status[i].format);
    return format;
}

static void print_json(const struct floe_kafka_MetadataResponse *m, const struct counts *n,
                       const struct status *status)
{
    json_t *brokers = json_array();
    for (int32_t i = 0; i < m->Brokers_n; i++) {
        const struct floe_kafka_MetadataResponse_MetadataResponseBroker *b = &m->Brokers[i];
        json_t *rack = b->Rack.n < 0 ? json_null() : json_stringn(b->Rack.p, (size_t)b->Rack.n);
        json_t *row = json_pack("{si ss# si so sI}", "id", b->NodeId, "host", b->Host.p, (int)b->Host.n,
                                "port", b->Port, "rack", rack, "leads", (json_int_t)leads(m, b->NodeId));
        const struct status *s = &status[i];
        if (s->known)
            (void)json_object_update_new(
                row, json_pack("{ss sf ss sI sf ss si sb sI ss}", "state", s->state, "utilisation",
                               s->utilisation, "scarcest", s->scarcest, "view_lag_ms",
                               (json_int_t)s->view_lag_ms, "idle_dollars_month", s->idle_usd, "version",
                               s->version, "format", s->format, "draining", s->draining, "store_trouble_ms",
                               (json_int_t)s->store_trouble_ms, "store_trouble", s->store_trouble));
        else
            (void)json_object_update_new(row, json_pack("{sn ss}", "state", "no_answer", status[i].why));
        (void)json_array_append_new(brokers, row);
    }
    json_t *id = m->ClusterId.n < 0 ? json_null() : json_stringn(m->ClusterId.p, (size_t)m->ClusterId.n);
    int32_t format = cluster_format(m, status);
    floe_cli_print_json(json_pack("{so so so si sI sI sI}", "cluster", id, "format",
                                  format > 0 ? json_integer(format) : json_null(), "brokers", brokers,
                                  "topics", m->Topics_n, "partitions", (json_int_t)n->partitions,
                                  "partitions_without_leader", (json_int_t)n->leaderless,
                                  "partitions_without_answer", (json_int_t)n->silent));
}

static void print_text(const struct floe_kafka_MetadataResponse *m, const struct counts *n,
                       const struct status *status)
{
    printf("cluster %.*s\n", (int)FLOE_MAX(m->ClusterId.n, 0), m->ClusterId.p != NULL ? m->ClusterId.p : "");
    if (cluster_format(m, status) > 0)
        printf("format %d\n", (int)cluster_format(m, status));
    printf("brokers %d\n", m->Brokers_n);
    for (int32_t i = 0; i < m->Brokers_n; i++) {
        const struct floe_kafka_MetadataResponse_MetadataResponseBroker *b = &m->Brokers[i];
        char host[FLOE_STR_HOST], addr[FLOE_STR_ADDR];
        (void)snprintf(host, sizeof host, "%.*s", (int)FLOE_MAX(b->Host.n, 0),
                       b->Host.p != NULL ? b->Host.p : "");
        printf("  id=%d  address=%s  leads=%ld", b->NodeId, floe_str_addr(addr, host, (uint16_t)b->Port),
               leads(m, b->NodeId));
        if (b->Rack.n > 0)
            printf("  rack=%.*s", (int)b->Rack.n, b->Rack.p);
        if (status[i].known)
            printf(
                "  state=%s  utilisation=%.0f%% (%s)  view-lag=%lldms  idle=$%.2f/month-on-AWS  version=%s",
                status[i].state, status[i].utilisation * 100, status[i].scarcest,
                (long long)status[i].view_lag_ms, status[i].idle_usd, status[i].version);
        else
            printf("  state=no-answer");
        if (status[i].draining)
            printf("  draining");
        if (status[i].store_trouble_ms >= TROUBLE_MS)
            printf("  store-trouble=%llds (%s)", (long long)status[i].store_trouble_ms / 1000,
                   status[i].store_trouble);
        printf("\n");
    }
    printf("topics %d\n", m->Topics_n);
    printf("partitions %ld, %ld without a leader", n->partitions, n->leaderless);
    if (n->silent > 0)
        printf(", %ld led by brokers that do not answer", n->silent);
    printf("\n");
}

static int run_status(const struct floe_cli_args *a)
{
    struct floe_client *c = NULL;
    struct floe_error err;
    const struct floe_kafka_MetadataResponse *m = NULL;
    int rc = FLOE_CLI_OK;
    if (floe_client_connect(&c, floe_cli_bootstrap(a), TIMEOUT_MS, &err) != FLOE_OK ||
        call_metadata(c, &m, &err) != FLOE_OK) {
        rc = floe_cli_fail(a, &err);
    } else {
        struct counts n = count_all(m);
        if (m->Brokers_n > 1)
            qsort(m->Brokers, (size_t)m->Brokers_n, sizeof *m->Brokers, by_id);
        struct status *status = ask_all(m);
        for (int32_t i = 0; i < m->Brokers_n; i++)
            n.silent += status[i].known ? 0 : leads(m, m->Brokers[i].NodeId);
        if (floe_cli_is_set(a, "json"))
            print_json(m, &n, status);
        else
            print_text(m, &n, status);
        for (int32_t i = 0; i < m->Brokers_n; i++)
            if (!status[i].known)
                (void)fprintf(stderr, "note: broker %d does not answer: %s\n", m->Brokers[i].NodeId,
                              status[i].why);
        free(status);
    }
    floe_client_close(&c);
    return rc;
}

static const struct floe_cli_flag flags[] = {FLOE_CLI_CLIENT_FLAGS};
const struct floe_cli_command floe_cli_cluster_status = {
    .group = "cluster",
    .verb = "status",
    .positional = "",
    .help = "show brokers, how busy they are, and whether every partition has a leader",
    .flags = flags,
    .flag_count = FLOE_COUNTOF(flags),
    .run = run_status,
};
