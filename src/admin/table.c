/* The one table of metrics, and what is made from it: Prometheus text and the list for people.
 *
 * Rows of one name follow each other and differ in their label; the first has the sentence. */
#include <floe/admin.h>

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

enum kind { GAUGE, COUNTER, HISTOGRAM, API_COUNTER, API_ERRORS, API_HISTOGRAM };
struct metric {
    const char *name;
    enum kind kind;
    const char *label, *help;
    size_t at; /* of a double in the sample; of a struct floe_hist for a histogram */
};
#define AT(field) offsetof(struct floe_sample, field)

/* clang-format off */
static const struct metric metrics[] = {
    {"floe_utilisation", GAUGE, NULL, "Share of the scarcest resource that is in use, 0 to 1, smoothed over 30 s: the number to scale by.", AT(util_max)},
    {"floe_resource_utilisation", GAUGE, "resource=\"cpu\"", "Share of each resource that is in use, 0 to 1, smoothed over 30 s.", AT(util[FLOE_RES_CPU])},
    {"floe_resource_utilisation", GAUGE, "resource=\"core\"", NULL, AT(util[FLOE_RES_CORE])},
    {"floe_resource_utilisation", GAUGE, "resource=\"memory\"", NULL, AT(util[FLOE_RES_MEMORY])},
    {"floe_resource_utilisation", GAUGE, "resource=\"puts\"", NULL, AT(util[FLOE_RES_PUTS])},
    {"floe_resource_utilisation", GAUGE, "resource=\"tier\"", NULL, AT(util[FLOE_RES_TIER])},
    {"floe_resource_utilisation", GAUGE, "resource=\"network\"", NULL, AT(util[FLOE_RES_NETWORK])},
    {"floe_build_info", GAUGE, "version=\"" FLOE_VERSION "\"", "1; the label is the program's version.", AT(build)},
    {"floe_ready", GAUGE, NULL, "1 while this broker serves clients, else 0; what /readyz says.", AT(ready)},
    {"floe_session_alive", GAUGE, NULL, "1 while the session is alive, 0 while it is lapsed or there is none.", AT(alive)},
    {"floe_uptime_seconds", GAUGE, NULL, "Time since the process began to start.", AT(uptime_s)},
    {"floe_process_cpu_seconds_total", COUNTER, NULL, "CPU time of the process.", AT(cpu_s)},
    {"floe_core_cpu_seconds_total", COUNTER, NULL, "CPU time of the core loop's thread, which cannot use more than one core.", AT(core_cpu_s)},
    {"floe_cpu_cores", GAUGE, NULL, "Cores that the process may use, by affinity and control group.", AT(cores)},
    {"floe_process_resident_bytes", GAUGE, NULL, "Resident memory of the process.", AT(resident)},
    {"floe_memory_limit_bytes", GAUGE, NULL, "The setting memory.", AT(memory_limit)},
    {"floe_memory_used_bytes", GAUGE, "share=\"pending\"", "Memory in use of each share of the budget.", AT(pending_used)},
    {"floe_memory_used_bytes", GAUGE, "share=\"cache\"", NULL, AT(cache_used)},
    {"floe_memory_used_bytes", GAUGE, "share=\"members\"", NULL, AT(members_used)},
    {"floe_memory_share_bytes", GAUGE, "share=\"pending\"", "Size of each share of the budget.", AT(pending_limit)},
    {"floe_memory_share_bytes", GAUGE, "share=\"cache\"", NULL, AT(cache_limit)},
    {"floe_memory_share_bytes", GAUGE, "share=\"members\"", NULL, AT(members_limit)},
    {"floe_tier_bytes", GAUGE, NULL, "Bytes that wait in the tier on the local disk.", AT(tier_used)},
    {"floe_tier_limit_bytes", GAUGE, NULL, "What the tier holds at most.", AT(tier_limit)},
    {"floe_tier_refuses", GAUGE, NULL, "1 while the local disk takes no batches, and acks=1 waits for the store; else 0.", AT(tier_refuses)},
    {"floe_connections", GAUGE, NULL, "Open client connections.", AT(connections)},
    {"floe_open_files_max", GAUGE, NULL, "Files that the process may have open; each connection is one. 0: not limited.", AT(files_max)},
    {"floe_connections_accepted_total", COUNTER, NULL, "Connections that were accepted.", AT(accepted)},
    {"floe_connections_refused_total", COUNTER, NULL, "Connections that were closed at once because there were too many.", AT(refused)},
    {"floe_sockets_paused_total", COUNTER, NULL, "How often a socket was not read because request buffers had no room.", AT(paused)},
    {"floe_network_bytes_total", COUNTER, "direction=\"in\"", "Bytes read from and written to clients and brokers.", AT(net_in)},
    {"floe_network_bytes_total", COUNTER, "direction=\"out\"", NULL, AT(net_out)},
    {"floe_produced_batches_total", COUNTER, NULL, "Record batches that were appended.", AT(produced_batches)},
    {"floe_produced_records_total", COUNTER, NULL, "Records that were appended.", AT(produced_records)},
    {"floe_produced_bytes_total", COUNTER, NULL, "Bytes of appended batches, as they came.", AT(produced_bytes)},
    {"floe_fetched_bytes_total", COUNTER, NULL, "Bytes of record batches in fetch answers.", AT(fetched_bytes)},
    {"floe_throttled_appends_total", COUNTER, NULL, "Appends whose sender was slowed down because memory or tier fill up.", AT(throttled)},
    {"floe_throttle_seconds_total", COUNTER, NULL, "What producers were told to wait (throttle_time_ms), together.", AT(throttle_s)},
    {"floe_fetch_sessions", GAUGE, NULL, "Fetch sessions that consumers have (Kafka's NumIncrementalFetchSessions).", AT(fetch_sessions)},
    {"floe_fetch_session_partitions", GAUGE, NULL, "Partitions in them (Kafka's NumIncrementalFetchPartitionsCached).", AT(fetch_session_partitions)},
    {"floe_fetch_session_evictions_total", COUNTER, NULL, "Fetch sessions that went to make room (Kafka's IncrementalFetchSessionEvictionsPerSec).", AT(fetch_session_evictions)},
    {"floe_requests_total", API_COUNTER, NULL, "Requests that were answered, by API.", 0},
    {"floe_request_errors_total", API_ERRORS, NULL, "Partitions refused by Produce and Fetch, and connections closed for a bad request, by API.", 0},
    {"floe_request_seconds", API_HISTOGRAM, NULL, "Time from the start of a request's handler to its answer, by API; a Fetch may wait for data.", 0},
    {"floe_reads_total", COUNTER, "source=\"memory\"", "Reads of a partition, by where the records came from.", AT(reads_memory)},
    {"floe_reads_total", COUNTER, "source=\"store\"", NULL, AT(reads_store)},
    {"floe_reads_total", COUNTER, "source=\"view\"", NULL, AT(reads_view)},
    {"floe_shared_reads_total", COUNTER, "side=\"asked\"", "Ranges of segments that brokers of a rack ask each other for instead of the store: asked of others, got from them, lent to them.", AT(shared_asked)},
    {"floe_shared_reads_total", COUNTER, "side=\"got\"", NULL, AT(shared_got)},
    {"floe_shared_reads_total", COUNTER, "side=\"lent\"", NULL, AT(shared_lent)},
    {"floe_shared_read_bytes_total", COUNTER, "side=\"got\"", "Their bytes.", AT(shared_got_bytes)},
    {"floe_shared_read_bytes_total", COUNTER, "side=\"lent\"", NULL, AT(shared_lent_bytes)},
    {"floe_footers_read_total", COUNTER, NULL, "Segment footers that were read for rebuilds and views.", AT(footers)},
    {"floe_put_seconds", HISTOGRAM, NULL, "Time from sending a segment's PUT to its success.", AT(put_latency)},
    {"floe_segment_puts_total", COUNTER, NULL, "PUTs of segments that were sent, hedges and retries included.", AT(puts)},
    {"floe_segment_hedges_total", COUNTER, NULL, "Early second copies of a slow PUT.", AT(hedges)},
    {"floe_segment_puts_in_flight", GAUGE, NULL, "Segments whose PUT is under way.", AT(puts_in_flight)},
    {"floe_segments_total", COUNTER, NULL, "Segments that were built.", AT(segments)},
    {"floe_segment_bytes_total", COUNTER, NULL, "Bytes of segments that were built.", AT(segment_bytes)},
    {"floe_commits_total", COUNTER, NULL, "Segments that were committed.", AT(commits)},
    {"floe_pending_bytes", GAUGE, NULL, "Bytes of batches in memory that are not committed.", AT(pending_bytes)},
    {"floe_spilled_bytes_total", COUNTER, NULL, "Bytes of batches that went to the tier to leave memory.", AT(spilled_bytes)},
    {"floe_store_requests_total", COUNTER, "kind=\"put\"", "Requests to the store, the table's included where it lies there.", AT(store_put)},
    {"floe_store_requests_total", COUNTER, "kind=\"get\"", NULL, AT(store_get)},
    {"floe_store_requests_total", COUNTER, "kind=\"head\"", NULL, AT(store_head)},
    {"floe_store_requests_total", COUNTER, "kind=\"list\"", NULL, AT(store_list)},
    {"floe_store_requests_total", COUNTER, "kind=\"delete\"", NULL, AT(store_delete)},
    {"floe_store_retries_total", COUNTER, NULL, "Requests to the store that were sent again.", AT(store_retries)},
    {"floe_store_errors_total", COUNTER, NULL, "Requests to the store that failed.", AT(store_errors)},
    {"floe_store_trouble_seconds", GAUGE, NULL,
     "For how long the store has not answered, or has refused segments; 0 while all is well.", AT(store_trouble_s)},
    {"floe_store_bytes_total", COUNTER, "direction=\"in\"", "Bytes read from and written to the store.", AT(store_in)},
    {"floe_store_bytes_total", COUNTER, "direction=\"out\"", NULL, AT(store_out)},
    {"floe_table_requests_total", COUNTER, "kind=\"get\"", "Requests to the table.", AT(table_get)},
    {"floe_table_requests_total", COUNTER, "kind=\"put\"", NULL, AT(table_put)},
    {"floe_table_requests_total", COUNTER, "kind=\"delete\"", NULL, AT(table_delete)},
    {"floe_table_requests_total", COUNTER, "kind=\"scan\"", NULL, AT(table_scan)},
    {"floe_table_conflicts_total", COUNTER, NULL, "Conditional writes that met another version.", AT(table_conflicts)},
    {"floe_table_unclear_total", COUNTER, NULL, "Writes of the table whose outcome stayed unknown.", AT(table_unclear)},
    {"floe_partitions_led", GAUGE, NULL, "Partitions that this broker serves.", AT(partitions)},
    {"floe_sessions_total", COUNTER, NULL, "Sessions that were opened.", AT(sessions)},
    {"floe_lapses_total", COUNTER, NULL, "How often the session lapsed: no renewal succeeded within the lease time.", AT(lapses)},
    {"floe_partitions_adopted_total", COUNTER, "why=\"new\"", "Partitions that came to this broker: new ones, and taken over or moved here.", AT(adopted_new)},
    {"floe_partitions_adopted_total", COUNTER, "why=\"taken\"", NULL, AT(adopted_taken)},
    {"floe_partitions_dropped_total", COUNTER, NULL, "Partitions that left this broker.", AT(dropped)},
    {"floe_moves_total", COUNTER, "result=\"moved\"", "Partitions that this broker was to hand over as planned: handed over, or kept because it could not.", AT(moves_done)},
    {"floe_moves_total", COUNTER, "result=\"kept\"", NULL, AT(moves_kept)},
    {"floe_moving", GAUGE, NULL, "Partitions that are being handed over now.", AT(moving)},
    {"floe_move_stop_max_seconds", GAUGE, NULL, "The longest that a partition which was handed over had taken no appends here.", AT(move_stop_max_s)},
    {"floe_draining", GAUGE, NULL, "1 while this broker hands all its partitions over in order to end.", AT(draining)},
    {"floe_views", GAUGE, NULL, "Partitions of other brokers that are read here.", AT(views)},
    {"floe_view_lag_seconds", GAUGE, NULL, "How far the view that lags most may be behind its holder.", AT(view_lag_s)},
    {"floe_brokers", GAUGE, NULL, "Live brokers that this one knows of, itself included.", AT(brokers)},
    {"floe_idle_dollars_month", GAUGE, NULL, "What this broker's requests cost a month without clients, at AWS S3 prices.", AT(idle_usd)},
};
/* clang-format on */

static const char *type_of(enum kind k)
{
    return k == GAUGE ? "gauge" : k == HISTOGRAM || k == API_HISTOGRAM ? "histogram" : "counter";
}

static const char *unit_of(const struct metric *m)
{
    static const struct {
        const char *part, *unit;
    } units[] = {
        {"_seconds", "seconds"}, {"_bytes", "bytes"}, {"_dollars", "dollars"}, {"utilisation", "share"}};
    for (size_t i = 0; i < FLOE_COUNTOF(units); i++)
        if (strstr(m->name, units[i].part) != NULL)
            return units[i].unit;
    return "count";
}

FLOE_PRINTF(2, 3) static void print(struct floe_writer *w, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    floe_write(w, line, FLOE_MIN((size_t)FLOE_MAX(n, 0), sizeof line - 1));
}

/* Whole numbers without an exponent, so that counters keep every digit. */
static void print_value(struct floe_writer *w, double v)
{
    if (v == (double)(int64_t)v)
        print(w, " %lld\n", (long long)v);
    else
        print(w, " %.9g\n", v);
}

static void print_histogram(struct floe_writer *w, const char *name, const char *label,
                            const struct floe_hist *h)
{
    const char *comma = label[0] != '\0' ? "," : "";
    uint64_t n = 0;
    for (unsigned i = 0; i < FLOE_HIST_BOUNDS; i++) {
        n += h->counts[i];
        print(w, "%s_bucket{%s%sle=\"%g\"} %llu\n", name, label, comma, (double)floe_hist_bounds_us[i] / 1e6,
              (unsigned long long)n);
    }
    print(w, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, label, comma, (unsigned long long)h->n);
    const char *open = label[0] != '\0' ? "{" : "", *close = label[0] != '\0' ? "}" : "";
    print(w, "%s_sum%s%s%s %.6f\n", name, open, label, close, (double)h->sum_us / 1e6);
    print(w, "%s_count%s%s%s %llu\n", name, open, label, close, (unsigned long long)h->n);
}

static void print_apis(struct floe_writer *w, const struct metric *m, const struct floe_sample *s)
{
    for (uint32_t i = 0; i < s->api_count; i++) {
        const struct floe_api_count *c = &s->apis[i];
        char label[96];
        snprintf(label, sizeof label, "api=\"%s\"", c->name);
        if (m->kind == API_HISTOGRAM) {
            if (c->latency.n > 0) /* sixteen lines for each API that nobody uses help nobody */
                print_histogram(w, m->name, label, &c->latency);
        } else {
            print(w, "%s{%s} %llu\n", m->name, label,
                  (unsigned long long)(m->kind == API_ERRORS ? c->errors : c->latency.n));
        }
    }
}

void floe_admin_render(const struct floe_sample *s, struct floe_writer *w)
{
    for (size_t i = 0; i < FLOE_COUNTOF(metrics); i++) {
        const struct metric *m = &metrics[i];
        const char *at = (const char *)s + m->at;
        if (i == 0 || strcmp(m->name, metrics[i - 1].name) != 0)
            print(w, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, type_of(m->kind));
        if (m->kind >= API_COUNTER) {
            print_apis(w, m, s);
        } else if (m->kind == HISTOGRAM) {
            print_histogram(w, m->name, "", (const struct floe_hist *)at);
        } else {
            print(w, m->label != NULL ? "%s{%s}" : "%s", m->name, m->label);
            print_value(w, *(const double *)at);
        }
    }
}

/* The names of a metric's labels. */
static const char *label_names(const struct metric *m, char out[32])
{
    const char *label = m->kind >= API_COUNTER ? "api=" : m->label != NULL ? m->label : "=";
    snprintf(out, 32, "%.*s", (int)FLOE_MIN(strcspn(label, "="), (size_t)31), label);
    return out;
}

void floe_admin_list(struct floe_writer *w, bool json)
{
    json_t *all = json_array();
    char label[32];
    for (size_t i = 0; i < FLOE_COUNTOF(metrics); i++) {
        const struct metric *m = &metrics[i];
        if (i > 0 && strcmp(m->name, metrics[i - 1].name) == 0)
            continue;
        if (json)
            (void)json_array_append_new(all, json_pack("{ss ss ss ss ss}", "name", m->name, "type",
                                                       type_of(m->kind), "unit", unit_of(m), "label",
                                                       label_names(m, label), "help", m->help));
        else
            print(w, "%s (%s, %s)\n    %s\n", m->name, type_of(m->kind), unit_of(m), m->help);
    }
    if (json) {
        char *text = json_dumps(all, JSON_INDENT(2));
        floe_write(w, text != NULL ? text : "[]", text != NULL ? strlen(text) : 2);
        floe_write_u8(w, '\n');
        free(text);
    }
    json_decref(all);
}
