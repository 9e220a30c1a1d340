/* Three brokers on the store, under load, killed one after the other with their disks. */
#include "cli/selftest/kafka.h"
#include "cli/selftest/selftest.h"

#include <floe/base/assert.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#define BROKERS 3
#define LOADS 2
#define TOPIC "selftest"
#define READY_MS 20000
#define END_MS 25000
#define GET_OVER_US (45u * 1000 * 1000)
#define CATCH_UP_US (40u * 1000 * 1000)

struct broker {
    struct st_child child;
    char addr[64]; /* as it was first told; kept */
    char data[320];
    bool down; /* killed by us */
    uint32_t lives;
    uint64_t since_us; /* of its start or kill */
};
struct cluster {
    struct st *st;
    struct broker broker[BROKERS];
    struct st_child load[LOADS], follow[2];
    char bootstrap[BROKERS * 64];
    char store[FLOE_CONFIG_PATH_MAX + 64], table[FLOE_CONFIG_PATH_MAX + 64], lease[16];
    struct st_runs acked[ST_PARTITIONS], read[2][ST_PARTITIONS];
    struct st_events h;
    uint64_t killed_us; /* the last kill that not every partition has got over yet; 0: none */
    uint32_t waiting;   /* bits of these partitions */
};

static enum floe_err launch(struct cluster *c, uint32_t i, struct floe_error *err)
{
    struct broker *b = &c->broker[i];
    struct st_settings settings;
    char log[48];
    const char *args[ST_ARGS_MAX] = {
        "floe",       "broker", "--store",  c->store,
        "--data-dir", b->data,  "--listen", b->addr[0] != '\0' ? b->addr : "127.0.0.1:0",
        "--lease-ms", c->lease, "--memory", "128MiB"};
    uint32_t n = 12;
    if (c->table[0] != '\0') {
        args[n++] = "--table";
        args[n++] = c->table;
    }
    st_settings_args(c->st, &settings, args, &n);
    (void)snprintf(log, sizeof log, "broker-%u-life-%u.log", i, ++b->lives);
    b->down = false;
    b->since_us = st_now_us();
    return st_spawn(c->st, &b->child, args, log, false, err);
}

/* Its `ready` line is there: the address. */
static bool ready(struct broker *b)
{
    char line[512];
    bool found = false;
    FILE *f = fopen(b->child.log, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *at = strncmp(line, "ready listen=", 13) == 0 ? line + 13 : NULL;
        if (at == NULL || strlen(at) >= sizeof b->addr)
            continue;
        memcpy(b->addr, at, strcspn(at, " \n"));
        b->addr[strcspn(at, " \n")] = '\0';
        found = true;
    }
    if (f != NULL)
        (void)fclose(f);
    return found;
}

/* The last line that a broker said, for a sentence. */
static void last_words(const struct broker *b, char out[200])
{
    char line[400];
    FILE *f = fopen(b->child.log, "re");
    out[0] = '\0';
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strstr(line, " ERROR ") != NULL || out[0] == '\0')
            (void)snprintf(out, 200, "%.*s", (int)FLOE_MIN(strcspn(line, "\n"), (size_t)199), line);
    if (f != NULL)
        (void)fclose(f);
}

static void broke(struct cluster *c, const char *what, const struct broker *b)
{
    char words[200];
    last_words(b, words);
    st_broke(c->st, ST_CLUSTER, "%s; it said: %s", what, words);
    c->st->keep_dir = true;
}

static bool wait_ready(struct cluster *c, struct broker *b)
{
    while (!ready(b)) {
        if (st_stop)
            return false;
        if (st_child_poll(&b->child) || st_now_us() > b->since_us + READY_MS * UINT64_C(1000)) {
            broke(c, "a broker did not start", b);
            return false;
        }
        st_sleep_ms(10);
        st_progress(c->st, "a broker starts");
    }
    return true;
}

static bool start_all(struct cluster *c)
{
    struct floe_error err;
    for (uint32_t i = 0; i < BROKERS; i++) {
        (void)snprintf(c->broker[i].data, sizeof c->broker[i].data, "%s/data-%u", c->st->dir, i);
        if (launch(c, i, &err) != FLOE_OK) {
            st_fail(c->st, "%s", err.msg);
            return false;
        }
    }
    for (uint32_t i = 0; i < BROKERS; i++) {
        if (!wait_ready(c, &c->broker[i]))
            return false;
        size_t n = strlen(c->bootstrap);
        (void)snprintf(c->bootstrap + n, sizeof c->bootstrap - n, "%s%s", n > 0 ? "," : "",
                       c->broker[i].addr);
    }
    if (st_kafka_create_topic(c->bootstrap, TOPIC, &err) == FLOE_OK)
        return true;
    st_broke(c->st, ST_CLUSTER, "the topic could not be created: %.200s", err.msg);
    return false;
}

static bool start_follower(struct cluster *c, uint32_t i)
{
    const char *args[] = {"floe", "selftest", "follow", c->bootstrap, TOPIC, NULL};
    struct floe_error err;
    if (st_spawn(c->st, &c->follow[i], args, i == 0 ? "reader.log" : "last-reader.log", true, &err) ==
        FLOE_OK)
        return true;
    st_fail(c->st, "%s", err.msg);
    return false;
}

static bool start_load(struct cluster *c)
{
    struct floe_error err;
    for (uint32_t i = 0; i < LOADS; i++) {
        char from[16], count[16], log[32];
        const char *args[] = {"floe", "selftest", "load", c->bootstrap, TOPIC, from, count, NULL};
        (void)snprintf(from, sizeof from, "%u", i * (ST_PARTITIONS / LOADS));
        (void)snprintf(count, sizeof count, "%d", ST_PARTITIONS / LOADS);
        (void)snprintf(log, sizeof log, "load-%u.log", i);
        if (st_spawn(c->st, &c->load[i], args, log, true, &err) != FLOE_OK) {
            st_fail(c->st, "%s", err.msg);
            return false;
        }
    }
    return start_follower(c, 0);
}

static void take_events(struct cluster *c, uint32_t reader)
{
    bool ok = true;
    for (size_t i = 0; i < c->h.n; i++) {
        const struct st_event *e = &c->h.e[i];
        if (e->item >= ST_PARTITIONS)
            continue;
        if (e->op == ST_OP_ACK) {
            ok &= st_runs_add(&c->acked[e->item], e->value, e->id, e->err);
            c->st->figures.records_acked += e->err;
            if (c->killed_us > 0 && e->end_us > c->killed_us)
                c->waiting &= ~(1u << e->item);
            if (c->killed_us > 0 && c->waiting == 0) {
                uint32_t ms = (uint32_t)((e->end_us - c->killed_us) / 1000);
                c->st->figures.failover_ms_max = FLOE_MAX(c->st->figures.failover_ms_max, ms);
                c->killed_us = 0;
            }
        } else if (e->op == ST_OP_FETCHED) {
            ok &= st_runs_add(&c->read[reader][e->item], e->value, e->id, e->err);
            c->st->figures.records_read += e->err;
        }
    }
    c->h.n = 0;
    if (!ok)
        st_fail(c->st, "out of memory for the history");
}

/* Takes what the children tell for so long. False: one of them gave up, which is a finding. */
static bool listen_to(struct cluster *c, struct st_child *const *who, uint32_t n, uint32_t reader,
                      uint32_t want_done, uint64_t until)
{
    struct floe_error err;
    enum floe_err e = st_children_read(who, n, &c->h, want_done, until, &err);
    take_events(c, reader);
    if (e == FLOE_OK || st_stop)
        return e == FLOE_OK;
    st_broke(c->st, ST_CLUSTER, "%s", err.msg);
    c->st->keep_dir = true;
    return false;
}

static bool brokers_live(struct cluster *c)
{
    for (uint32_t i = 0; i < BROKERS; i++)
        if (!c->broker[i].down && st_child_poll(&c->broker[i].child)) {
            broke(c, "a broker ended by itself", &c->broker[i]);
            return false;
        }
    return true;
}

static bool all_ready(struct cluster *c)
{
    for (uint32_t i = 0; i < BROKERS; i++)
        if (!ready(&c->broker[i]))
            return false;
    return true;
}

static void kill_one(struct cluster *c, uint32_t i)
{
    (void)st_child_end(&c->broker[i].child, SIGKILL, 0);
    (void)st_remove_tree(c->broker[i].data);
    c->broker[i].down = true;
    c->broker[i].since_us = st_now_us();
    c->st->figures.kills++;
    c->killed_us = st_now_us();
    c->waiting = (1u << ST_PARTITIONS) - 1;
}

static bool run_load(struct cluster *c, uint64_t until)
{
    struct st_child *who[] = {&c->load[0], &c->load[1], &c->follow[0]};
    struct floe_error err;
    uint64_t every = FLOE_MAX(c->st->figures.lease_ms + 500u, 2500u) * UINT64_C(1000),
             next = st_now_us() + 1500000;
    uint64_t last = until + GET_OVER_US; /* a broker is killed at least once, and that is got over */
    uint32_t victim = 0;
    while (!st_stop &&
           (st_now_us() < until || ((c->killed_us > 0 || c->st->figures.kills == 0) && st_now_us() < last))) {
        if (!listen_to(c, who, FLOE_COUNTOF(who), 0, 0, st_now_us() + 100000) || !brokers_live(c))
            return false;
        struct broker *b = &c->broker[victim % BROKERS];
        uint64_t now = st_now_us();
        if (b->down && now > b->since_us + 800000) {
            if (launch(c, victim % BROKERS, &err) != FLOE_OK) {
                st_fail(c->st, "%s", err.msg);
                return false;
            }
            victim++;
        } else if (!b->down && now > next && c->killed_us == 0 &&
                   (c->st->figures.kills == 0 || now + every / 2 < until) && all_ready(c)) {
            kill_one(c, victim % BROKERS);
            next = now + every;
        }
        st_progress(c->st, "%llu records acknowledged, %llu read, %llu brokers killed",
                    (unsigned long long)c->st->figures.records_acked,
                    (unsigned long long)c->st->figures.records_read,
                    (unsigned long long)c->st->figures.kills);
    }
    return !st_stop;
}

static bool stop_load(struct cluster *c)
{
    struct st_child *who[] = {&c->load[0], &c->load[1], &c->follow[0]};
    for (uint32_t i = 0; i < LOADS; i++)
        (void)st_child_tell(&c->load[i], "x", 1);
    return listen_to(c, who, FLOE_COUNTOF(who), 0, LOADS, st_now_us() + 70u * UINT64_C(1000000));
}

static uint64_t end_of(const struct st_runs *l)
{
    uint64_t end = 0;
    for (size_t i = 0; i < l->n; i++)
        end = FLOE_MAX(end, l->r[i].offset + l->r[i].count);
    return end;
}

/* The reader gets all that was acknowledged. */
static bool catch_up(struct cluster *c, uint32_t reader)
{
    struct st_child *who[] = {&c->follow[reader]};
    uint64_t until = st_now_us() + CATCH_UP_US;
    for (;;) {
        uint32_t behind = 0, p = 0;
        for (uint32_t i = 0; i < ST_PARTITIONS; i++)
            if (end_of(&c->read[reader][i]) < end_of(&c->acked[i])) {
                behind++;
                p = i;
            }
        if (behind == 0)
            break;
        if (st_now_us() > until) {
            st_broke(
                c->st, ST_CLUSTER,
                "partition %u was acknowledged up to offset %llu; a reader got no further than %llu in 40 s",
                p, (unsigned long long)end_of(&c->acked[p]), (unsigned long long)end_of(&c->read[reader][p]));
            c->st->keep_dir = true;
            return false;
        }
        if (!listen_to(c, who, 1, reader, 0, st_now_us() + 50000))
            return false;
        st_progress(c->st, "reading all again: %llu of %llu records",
                    (unsigned long long)c->st->figures.records_read,
                    (unsigned long long)c->st->figures.records_acked * 2);
    }
    (void)st_child_end(&c->follow[reader], SIGKILL, 0);
    return true;
}

static void verify(struct cluster *c)
{
    for (uint32_t p = 0; p < ST_PARTITIONS; p++) {
        struct st_breach b;
        if (st_check_partition(p, &c->acked[p], &c->read[0][p], &c->read[1][p], &b)) {
            st_kept(c->st, ST_CLUSTER);
        } else {
            st_broke(c->st, ST_CLUSTER, "%s", b.why);
            c->st->keep_dir = true;
        }
    }
}

/* All at once; each must end with 0. */
static void end_brokers(struct cluster *c)
{
    for (uint32_t i = 0; i < BROKERS; i++)
        if (!c->broker[i].down && !wait_ready(c, &c->broker[i]))
            return;
    for (uint32_t i = 0; i < BROKERS; i++)
        if (c->broker[i].child.pid != 0)
            (void)kill(c->broker[i].child.pid, SIGTERM);
    for (uint32_t i = 0; i < BROKERS; i++) {
        struct st_child *b = &c->broker[i].child;
        if (b->pid == 0)
            continue;
        if (!st_child_end(b, 0, st_stop ? 0 : END_MS)) /* only waits */
            continue;
        if (!WIFEXITED(b->status) || WEXITSTATUS(b->status) != 0)
            broke(c, "a broker did not end cleanly", &c->broker[i]);
    }
}

void st_cluster(struct st *st, uint64_t us)
{
    struct cluster *c = calloc(1, sizeof *c);
    FLOE_ASSERT(c != NULL);
    c->st = st;
    uint64_t until = st_now_us() + us;
    /* A renewal is due every third of the lease: that must be time enough for several slow PUTs. */
    double slow = st->figures.put[0][1].n > 0 ? st->figures.put[0][1].p99_ms : 50;
    st->figures.lease_ms = (uint32_t)FLOE_MIN(FLOE_MAX(slow * 40, 2000.0), 30000.0);
    (void)snprintf(c->lease, sizeof c->lease, "%u", st->figures.lease_ms);
    st_url_below(c->store, st, &st->url[0], "cluster");
    if (st->store_count > 1)
        st_url_below(c->table, st, &st->url[1], "cluster");
    if (start_all(c) && start_load(c) && run_load(c, until) && stop_load(c) && catch_up(c, 0) &&
        start_follower(c, 1) && catch_up(c, 1)) {
        if (st->figures.records_acked == 0)
            st_broke(st, ST_CLUSTER, "nothing was acknowledged");
        verify(c);
        end_brokers(c);
    }
    for (uint32_t i = 0; i < LOADS; i++)
        (void)st_child_end(&c->load[i], SIGKILL, 0);
    for (uint32_t i = 0; i < 2; i++)
        (void)st_child_end(&c->follow[i], SIGKILL, 0);
    for (uint32_t i = 0; i < BROKERS; i++)
        (void)st_child_end(&c->broker[i].child, SIGKILL, 0);
    for (uint32_t i = 0; i < ST_PARTITIONS; i++) {
        free(c->acked[i].r);
        free(c->read[0][i].r);
        free(c->read[1][i].r);
    }
    free(c->h.e);
    free(c);
}
