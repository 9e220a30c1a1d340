/* The verdict, in words and as JSON. */
#include "cli/cli_int.h"
#include "cli/selftest/selftest.h"

#include <floe/base/assert.h>

#include <stdio.h>

static const struct {
    const char *name, *kept; /* as JSON and in a sentence */
} promises[ST_PROMISES] = {
    [ST_CREATE] = {"create_only", "create-only writes are atomic: of many writers one wins"},
    [ST_REPLACE] = {"replace_if", "replace-if writes are atomic: no update is lost"},
    [ST_READ] = {"read_after_write", "a read sees the last write"},
    [ST_LIST] = {"list_after_write", "a list sees the last write, in order and complete"},
    [ST_BYTES] = {"bytes", "bytes and metadata come back as they were written"},
    [ST_RETRY] = {"retries", "a write whose answer was lost can be repeated safely"},
    [ST_CLUSTER] = {"cluster", "brokers on it lost, repeated and reordered nothing"},
};

const char *st_promise_name(enum st_promise p)
{
    return promises[p].name;
}

static const char *state(const struct st_promise_state *p)
{
    return p->broken > 0 ? "BROKEN" : p->checks > 0 ? "kept" : "not tested";
}

static bool good(const struct st *st, bool finished)
{
    for (int i = 0; i < ST_PROMISES; i++)
        finished = finished && st->promise[i].broken == 0 && st->promise[i].checks > 0;
    return finished;
}

static const char *verdict(const struct st *st, bool finished)
{
    return st_broken(st) ? "FAIL" : good(st, finished) ? "GOOD" : "UNFINISHED";
}

static void print_latencies(const struct st *st)
{
    static const char *const names[ST_SIZES] = {"4 KiB", "1 MiB", "8 MiB"};
    printf("\n%-18s %8s %9s %9s %9s %9s %9s\n", "latency in ms", "requests", "p50", "p90", "p99", "max",
           "MB/s");
    for (int kind = 0; kind < 2; kind++) {
        for (int i = 0; i < ST_SIZES * 2; i++) {
            const struct st_latency *l =
                kind == 0 ? &st->figures.put[i / 2][i % 2] : &st->figures.get[i / 2][i % 2];
            char what[32];
            (void)snprintf(what, sizeof what, "%s %s x%d", kind == 0 ? "PUT" : "GET", names[i / 2],
                           i % 2 ? 4 : 1);
            if (l->n > 0)
                printf("%-18s %8u %9.2f %9.2f %9.2f %9.2f %9.1f\n", what, l->n, l->p50_ms, l->p90_ms,
                       l->p99_ms, l->max_ms, l->mb_s);
        }
    }
}

static void print_advice(const struct st *st, bool free_puts)
{
    struct st_advice a;
    char size[FLOE_STR_NUM];
    st_advise(&a, &st->figures, free_puts);
    printf("\nsettings for this store\n");
    printf("  --linger-ms %-6u      %s\n", a.linger_ms, a.why_linger);
    printf("  --segment-bytes %-6s  %s\n", floe_str_size(size, a.segment_bytes), a.why_segment);
    printf("  --puts-in-flight %-5u  %s\n", a.puts_in_flight, a.why_puts);
    printf("  --lease-ms %-6u       %s\n", a.lease_ms, a.why_lease);
    printf("  --put-rate %-6.0f       %s\n", a.put_rate, a.why_rate);
    printf("\nPUTs of one broker, were it on AWS ($0.005 a thousand): $%.2f a month when idle, $%.2f when it "
           "flushes all the "
           "time (--put-rate auto)\n",
           a.idle_dollars, a.busy_dollars);
}

static void print_text(const struct st *st, bool finished, bool cleaned, bool free_puts)
{
    const struct st_figures *f = &st->figures;
    printf("%-18s %-11s %10s\n", "promise", "", "checks");
    for (int i = 0; i < ST_PROMISES; i++) {
        const struct st_promise_state *p = &st->promise[i];
        printf("%-18s %-11s %10llu  %s\n", promises[i].name, state(p), (unsigned long long)p->checks,
               p->broken > 0 ? p->why : promises[i].kept);
    }
    if (f->put[0][0].n > 0)
        print_latencies(st);
    if (f->kills > 0)
        printf("\ncluster: 3 brokers, lease %u ms, %llu killed with their disks; %llu records acknowledged; "
               "all partitions written again within %u ms of a kill\n",
               f->lease_ms, (unsigned long long)f->kills, (unsigned long long)f->records_acked,
               f->failover_ms_max);
    if (good(st, finished))
        print_advice(st, free_puts);
    if (f->trouble > 0)
        printf(
            "\nnote: requests without a clear answer (time-outs, 5xx): %llu; they prove nothing either way\n",
            (unsigned long long)f->trouble);
    if (f->wall_jump_s > 1 || f->wall_jump_s < -1)
        printf("\nnote: this machine's wall clock jumped by %.1f s during the test\n", f->wall_jump_s);
    if (st->wrote)
        printf("\n%s %s\n", cleaned ? "removed:" : "NOT removed:", st->name);
    else
        printf("\nnothing was written\n");
    if (st_broken(st))
        printf("FAIL: do not run Floe on this store: it does not keep");
    for (int i = 0, n = 0; i < ST_PROMISES; i++)
        if (st->promise[i].broken > 0)
            printf("%s %s", n++ > 0 ? "," : "", promises[i].name);
    if (st_broken(st))
        printf(" (%.0f s)\n", f->seconds);
    else if (good(st, finished))
        printf("GOOD: this store keeps what Floe is built on (%.0f s)\n", f->seconds);
    else
        printf("UNFINISHED: %s (%.0f s)\n",
               st->failed.msg[0] != '\0' ? st->failed.msg : "not everything was tested", f->seconds);
}

static json_t *latencies(const struct st_latency l[ST_SIZES][2])
{
    json_t *all = json_array();
    for (int i = 0; i < ST_SIZES * 2; i++) {
        const struct st_latency *x = &l[i / 2][i % 2];
        (void)json_array_append_new(all, json_pack("{si si si sf sf sf sf sf}", "bytes", (int)st_size[i / 2],
                                                   "at_once", i % 2 ? 4 : 1, "requests", (int)x->n, "p50_ms",
                                                   x->p50_ms, "p90_ms", x->p90_ms, "p99_ms", x->p99_ms,
                                                   "max_ms", x->max_ms, "mb_s", x->mb_s));
    }
    return all;
}

static json_t *advice(const struct st *st, bool free_puts)
{
    struct st_advice a;
    st_advise(&a, &st->figures, free_puts);
    return json_pack("{si sI si si sf sf sf}", "linger-ms", (int)a.linger_ms, "segment-bytes",
                     (json_int_t)a.segment_bytes, "puts-in-flight", (int)a.puts_in_flight, "lease-ms",
                     (int)a.lease_ms, "put-rate", a.put_rate, "idle_dollars_a_month", a.idle_dollars,
                     "busy_dollars_a_month", a.busy_dollars);
}

static void print_json(const struct st *st, bool finished, bool cleaned, bool free_puts)
{
    const struct st_figures *f = &st->figures;
    json_t *all = json_object(), *o;
    for (int i = 0; i < ST_PROMISES; i++) {
        const struct st_promise_state *p = &st->promise[i];
        (void)json_object_set_new(all, promises[i].name,
                                  json_pack("{ss sI ss}", "state", state(p), "checks", (json_int_t)p->checks,
                                            "why", p->broken > 0 ? p->why : ""));
    }
    o = json_pack("{ss so ss sf sb sI so so s{si sI sI sI si}}", "verdict", verdict(st, finished), "promises",
                  all, "unfinished_because", st->failed.msg, "seconds", f->seconds, "removed", (int)cleaned,
                  "no_clear_answer", (json_int_t)f->trouble, "put", latencies(f->put), "get",
                  latencies(f->get), "cluster", "lease_ms", (int)f->lease_ms, "kills", (json_int_t)f->kills,
                  "acknowledged", (json_int_t)f->records_acked, "read", (json_int_t)f->records_read,
                  "failover_ms_max", (int)f->failover_ms_max);
    FLOE_ASSERT(o != NULL);
    if (good(st, finished))
        (void)json_object_set_new(o, "settings", advice(st, free_puts));
    floe_cli_print_json(o);
}

bool st_report(struct st *st, bool finished, bool cleaned, bool free_puts)
{
    if (st->json)
        print_json(st, finished, cleaned, free_puts);
    else
        print_text(st, finished, cleaned, free_puts);
    return good(st, finished) && cleaned;
}
