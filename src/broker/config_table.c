/* The one table of settings, and the help that is printed from it. */
#include "broker/config_int.h"

#include <floe/base/assert.h>

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define AT(field)                                                                                            \
    .offset = offsetof(struct floe_config, field), .size = sizeof(((struct floe_config *)0)->field)
#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define TIB (UINT64_C(1) << 40)

const struct floe_config_setting floe_config_settings[] = {
    {.name = "store",
     .form = FLOE_CONFIG_FORM_OTHER,
     .arg = "URL",
     .def_text = "file://DATA-DIR/store",
     .help = "where the records lie: file:///DIR or s3://BUCKET/PREFIX"},
    {.name = "table",
     .form = FLOE_CONFIG_FORM_OTHER,
     .arg = "URL",
     .def_text = "the store's own",
     .help = "where leases and topics lie: file:///DIR or s3://BUCKET/PREFIX"},
    {.name = "data-dir",
     .form = FLOE_CONFIG_FORM_TEXT,
     AT(data_dir),
     .arg = "DIR",
     .def = "./floe-data",
     .help = "this broker's own disk: write buffer and cache, made if it is not there"},
    {.name = "listen",
     .form = FLOE_CONFIG_FORM_OTHER,
     .arg = "[NAME=]HOST:PORT",
     .def_text = "127.0.0.1:9092",
     .repeat = true,
     .help = "an address to serve; port 0 takes a free one"},
    {.name = "advertise",
     .form = FLOE_CONFIG_FORM_OTHER,
     .arg = "[NAME=]HOST:PORT",
     .def_text = "what listen says",
     .repeat = true,
     .help = "what clients of the listener of that name are told to connect to"},
    {.name = "peer-listener",
     .form = FLOE_CONFIG_FORM_OTHER,
     .arg = "NAME",
     .def_text = "the one named peer, else the first",
     .help = "the listener that brokers use among themselves"},
    {.name = "http",
     .form = FLOE_CONFIG_FORM_OTHER,
     .arg = "HOST:PORT",
     .def_text = "none",
     .help = "where /metrics, /healthz and /readyz are served over HTTP; port 0 takes a free one"},
    {.name = "network-limit",
     .form = FLOE_CONFIG_FORM_SIZE,
     AT(network_limit),
     .def = "0",
     .def_text = "not known",
     .max = TIB,
     .unit = "bytes a second",
     .help = "what the network carries each way, for the utilisation that is shown; 0 leaves it out"},
    {.name = "rack",
     .form = FLOE_CONFIG_FORM_TEXT,
     AT(rack),
     .arg = "ID",
     .def = "",
     .def_text = "none",
     .help = "the rack or availability zone, which clients see"},
    {.name = "lease-ms",
     .form = FLOE_CONFIG_FORM_MS,
     AT(lease_ms),
     .def = "10000",
     .min = 2000,
     .max = 600000,
     .unit = "ms",
     .help = "after how long without a renewal others take a broker's partitions over"},
    {.name = "garbage-age-ms",
     .form = FLOE_CONFIG_FORM_MS,
     AT(garbage_age_ms),
     .def = "600000",
     .min = 1000,
     .max = 86400000,
     .unit = "ms",
     .help =
         "how long what nobody needs stays in the store once that is written down; at least ten lease times"},
    {.name = "config",
     .form = FLOE_CONFIG_FORM_OTHER,
     .arg = "FILE",
     .def_text = "none",
     .help = "a file of `key = value` lines; flags and environment beat it"},

    {.name = "s3-endpoint",
     .form = FLOE_CONFIG_FORM_OTHER,
     .arg = "URL",
     .def_text = "AWS",
     .help = "the S3 server: http://HOST:PORT or https://HOST:PORT"},
    {.name = "s3-region",
     .form = FLOE_CONFIG_FORM_TEXT,
     AT(s3_region),
     .arg = "REGION",
     .def = "",
     .def_text = "AWS's variables and files, else us-east-1",
     .help = "the region that requests are signed for"},
    {.name = "s3-ca",
     .form = FLOE_CONFIG_FORM_TEXT,
     AT(s3_ca),
     .arg = "FILE",
     .def = "",
     .def_text = "the system's",
     .help = "certificates that an https endpoint is checked with, as PEM"},
    {.name = "s3-style",
     .form = FLOE_CONFIG_FORM_CHOICE,
     AT(s3_style),
     .choices = "auto|path|virtual",
     .def = "auto",
     .help = "the bucket in the path or in the host name; auto: path with an s3-endpoint"},
    {.name = "s3-connections",
     .form = FLOE_CONFIG_FORM_COUNT,
     AT(s3_connections),
     .def = "16",
     .min = 1,
     .max = 256,
     .help = "connections for data; leases have their own"},

    {.name = "memory",
     .form = FLOE_CONFIG_FORM_SIZE,
     AT(memory),
     .def = "512MiB",
     .min = FLOE_CONFIG_MEMORY_MIN,
     .max = 64 * TIB,
     .help = "what the whole process may hold in memory"},
    {.name = "linger-ms",
     .form = FLOE_CONFIG_FORM_MS,
     AT(linger_ms),
     .def = "5",
     .max = 10000,
     .unit = "ms",
     .help = "how long a batch waits for company while a PUT is in flight; without one it never waits"},
    {.name = "segment-bytes",
     .form = FLOE_CONFIG_FORM_SIZE,
     AT(segment_bytes),
     .def = "8MiB",
     .min = 256 * KIB,
     .max = 256 * MIB,
     .help = "a segment of that size is written without waiting"},
    {.name = "puts-in-flight",
     .form = FLOE_CONFIG_FORM_COUNT,
     AT(puts_in_flight),
     .def = "4",
     .min = 1,
     .max = 64,
     .help = "segments that are being written to the store at once"},
    {.name = "put-rate",
     .form = FLOE_CONFIG_FORM_RATE,
     AT(put_rate),
     .def = "auto",
     .def_text = "auto: 10 on AWS, else 0",
     .max = 100000,
     .unit = "1/s",
     .help = "PUTs of segments a second, which bounds the bill; 0 is unlimited"},
    {.name = "put-burst",
     .form = FLOE_CONFIG_FORM_COUNT,
     AT(put_burst),
     .def = "50",
     .min = 1,
     .max = 100000,
     .help = "PUTs that may run ahead of put-rate"},
    {.name = "tier-limit",
     .form = FLOE_CONFIG_FORM_SIZE,
     AT(tier_limit),
     .def = "10GiB",
     .min = 64 * MIB,
     .max = 1024 * TIB,
     .help = "what the write buffer may hold on this disk before producers are slowed down"},
    {.name = "tier-mode",
     .form = FLOE_CONFIG_FORM_SWITCH,
     AT(tier_all),
     .choices = "auto|all",
     .def = "auto",
     .help = "auto: acks=1 and what memory cannot hold go through the disk; all: every batch"},
    {.name = "net-threads",
     .form = FLOE_CONFIG_FORM_COUNT,
     AT(net_threads),
     .def = "1",
     .min = 1,
     .max = 64,
     .help = "threads that carry, check and frame bytes of connections"},
    {.name = "log-level",
     .form = FLOE_CONFIG_FORM_CHOICE,
     AT(log_level),
     .choices = "error|warn|info|debug",
     .def = "info",
     .help = "the least important lines that are logged"},
    {.name = "log-format",
     .form = FLOE_CONFIG_FORM_SWITCH,
     AT(log_json),
     .choices = "text|json",
     .def = "text",
     .help = "lines for people, or one JSON object a line"},

    {.name = "num.partitions",
     .form = FLOE_CONFIG_FORM_COUNT,
     AT(num_partitions),
     .def = "1",
     .min = 1,
     .max = 100000,
     .help = "partitions of a topic that is created without saying how many"},
    {.name = "auto.create.topics.enable",
     .form = FLOE_CONFIG_FORM_BOOL,
     AT(auto_create_topics),
     .def = "true",
     .help = "an unknown topic is created when a client asks for it"},
    {.name = "default.replication.factor",
     .form = FLOE_CONFIG_FORM_COUNT,
     AT(default_replication_factor),
     .def = "1",
     .min = 1,
     .max = 32767,
     .help = "shown for topics; the store keeps the copies, whatever it says"},
    {.name = "message.max.bytes",
     .form = FLOE_CONFIG_FORM_BYTES,
     AT(message_bytes_max),
     .def = "1048588",
     .min = 1024,
     .max = 64 * MIB,
     .unit = "bytes",
     .help = "the largest batch that topics take by default"},
    {.name = "message.timestamp.type",
     .form = FLOE_CONFIG_FORM_SWITCH,
     AT(log_append_time),
     .choices = "CreateTime|LogAppendTime",
     .def = "CreateTime",
     .help = "whose clock stamps the records of topics that do not say"},
    {.name = "socket.request.max.bytes",
     .form = FLOE_CONFIG_FORM_BYTES,
     AT(request_bytes_max),
     .def_text = "100MiB, at most a quarter of memory",
     .min = 64 * KIB,
     .max = 1024 * MIB,
     .unit = "bytes",
     .help = "a larger request closes its connection"},
    {.name = "fetch.max.bytes",
     .form = FLOE_CONFIG_FORM_BYTES,
     AT(fetch_bytes_max),
     .def = "57671680",
     .min = 1024,
     .max = 1024 * MIB,
     .unit = "bytes",
     .help = "what one fetch answers at most"},
    {.name = "max.incremental.fetch.session.cache.slots",
     .form = FLOE_CONFIG_FORM_COUNT,
     AT(fetch_sessions),
     .def = "1000",
     .min = 0,
     .max = 1000000,
     .help = "fetch sessions that are remembered; a client without one sends all its partitions each time"},
    {.name = "offsets.topic.num.partitions",
     .form = FLOE_CONFIG_FORM_COUNT,
     AT(offsets_partitions),
     .def = "50",
     .min = 1,
     .max = 10000,
     .help = "partitions of __consumer_offsets, over which groups are spread; of use before it is made"},
    {.name = "offset.metadata.max.bytes",
     .form = FLOE_CONFIG_FORM_COUNT,
     AT(offset_metadata_max),
     .def = "4096",
     .min = 0,
     .max = 1048576,
     .help = "the longest text that a consumer may store beside an offset"},
    {.name = "offsets.retention.minutes",
     .form = FLOE_CONFIG_FORM_COUNT,
     AT(offsets_retention_min),
     .def = "10080",
     .min = 1,
     .max = INT32_MAX,
     .unit = "min",
     .help = "a group without members keeps its offsets for so long"},
    {.name = "offsets.retention.check.interval.ms",
     .form = FLOE_CONFIG_FORM_MS,
     AT(offsets_check_ms),
     .def = "600000",
     .min = 100,
     .max = UINT32_MAX,
     .unit = "ms",
     .help = "how often expired offsets are looked for"},
    {.name = "group.initial.rebalance.delay.ms",
     .form = FLOE_CONFIG_FORM_MS,
     AT(group_delay_ms),
     .def = "3000",
     .min = 0,
     .max = 600000,
     .unit = "ms",
     .help = "a new group waits so long for more members before its first rebalance"},
    {.name = "group.min.session.timeout.ms",
     .form = FLOE_CONFIG_FORM_MS,
     AT(group_session_min_ms),
     .def = "6000",
     .min = 1,
     .max = INT32_MAX,
     .unit = "ms",
     .help = "the shortest session time-out that a classic group's member may ask for"},
    {.name = "group.max.session.timeout.ms",
     .form = FLOE_CONFIG_FORM_MS,
     AT(group_session_max_ms),
     .def = "1800000",
     .min = 1,
     .max = INT32_MAX,
     .unit = "ms",
     .help = "the longest session time-out that a classic group's member may ask for"},
    {.name = "group.max.size",
     .form = FLOE_CONFIG_FORM_COUNT,
     AT(group_size_max),
     .def = "2147483647",
     .min = 1,
     .max = INT32_MAX,
     .help = "members of a classic group"},
    {.name = "group.consumer.session.timeout.ms",
     .form = FLOE_CONFIG_FORM_MS,
     AT(consumer_session_ms),
     .def = "45000",
     .min = 1,
     .max = INT32_MAX,
     .unit = "ms",
     .help = "a member of a group of the consumer protocol is out after so long without a heartbeat"},
    {.name = "group.consumer.heartbeat.interval.ms",
     .form = FLOE_CONFIG_FORM_MS,
     AT(consumer_heartbeat_ms),
     .def = "2000",
     .min = 1,
     .max = INT32_MAX,
     .unit = "ms",
     .help = "how often members of a group of the consumer protocol send heartbeats; each 500 ms while it "
             "rebalances"},
    {.name = "group.consumer.max.size",
     .form = FLOE_CONFIG_FORM_COUNT,
     AT(consumer_size_max),
     .def = "2147483647",
     .min = 1,
     .max = INT32_MAX,
     .help = "members of a group of the consumer protocol"},
    {.name = "group.consumer.migration.policy",
     .form = FLOE_CONFIG_FORM_CHOICE,
     AT(group_migration),
     .choices = "disabled|downgrade|upgrade|bidirectional", /* as enum floe_group_migration counts */
     .def = "bidirectional",
     .help = "whether groups are converted between the classic and the consumer protocol while they have "
             "members"},
    {.name = "commit-gather-ms",
     .form = FLOE_CONFIG_FORM_MS_AUTO,
     AT(commit_gather_ms),
     .def = "auto",
     .def_text = "auto: 200; where put-rate does not bound PUTs 5 for each group that commits at present, "
                 "200 at most",
     .max = 1000,
     .unit = "ms",
     .help = "offset commits wait so long for each other: one PUT for all of them"},
    {.name = "max.connections",
     .form = FLOE_CONFIG_FORM_COUNT,
     AT(connections_max),
     .def = "10000",
     .min = 1,
     .max = 1000000,
     .help = "connections that are accepted at once"},
    {.name = "connections.max.idle.ms",
     .form = FLOE_CONFIG_FORM_MS,
     AT(idle_ms),
     .def = "600000",
     .min = 1000,
     .max = UINT32_MAX,
     .unit = "ms",
     .help = "a connection that says nothing for so long is closed"},
};
const size_t floe_config_setting_count = FLOE_COUNTOF(floe_config_settings);
_Static_assert(FLOE_COUNTOF(floe_config_settings) <= FLOE_CONFIG_SETTINGS_MAX,
               "raise FLOE_CONFIG_SETTINGS_MAX");

const struct floe_config_setting *floe_config_setting_find(const char *name, size_t n)
{
    for (size_t i = 0; i < floe_config_setting_count; i++)
        if (strlen(floe_config_settings[i].name) == n && memcmp(floe_config_settings[i].name, name, n) == 0)
            return &floe_config_settings[i];
    return NULL;
}

void floe_config_env_name(char out[FLOE_CONFIG_ENV_MAX], const char *name)
{
    int n = snprintf(out, FLOE_CONFIG_ENV_MAX, "FLOE_%s", name);
    FLOE_ASSERT(n > 0 && n < FLOE_CONFIG_ENV_MAX);
    for (char *c = out; *c != '\0'; c++)
        *c = *c == '-' || *c == '.' ? '_' : (char)toupper((unsigned char)*c);
}

static const char *arg_of(const struct floe_config_setting *s)
{
    if (s->arg != NULL)
        return s->arg;
    switch (s->form) {
    case FLOE_CONFIG_FORM_SIZE:
    case FLOE_CONFIG_FORM_BYTES:
        return "SIZE";
    case FLOE_CONFIG_FORM_MS:
        return "MS";
    case FLOE_CONFIG_FORM_RATE:
        return "N|auto";
    case FLOE_CONFIG_FORM_MS_AUTO:
        return "MS|auto";
    case FLOE_CONFIG_FORM_BOOL:
        return "true|false";
    case FLOE_CONFIG_FORM_CHOICE:
    case FLOE_CONFIG_FORM_SWITCH:
        return s->choices;
    default:
        return "N";
    }
}

static const char *form_name(enum floe_config_form form)
{
    static const char *const names[] = {"text",     "size", "duration", "count",  "size", "rate",
                                        "duration", "bool", "choice",   "choice", "text"};
    return names[form];
}

/* "from 2000 to 600000", or nothing where every value is allowed. */
static const char *range_of(const struct floe_config_setting *s, char *out, size_t cap)
{
    char low[FLOE_STR_NUM], high[FLOE_STR_NUM];
    out[0] = '\0';
    if (s->max == 0)
        return out;
    if (s->form == FLOE_CONFIG_FORM_SIZE || s->form == FLOE_CONFIG_FORM_BYTES)
        (void)snprintf(out, cap, "%s to %s", floe_str_size(low, s->min), floe_str_size(high, s->max));
    else
        (void)snprintf(out, cap, "%llu to %llu", (unsigned long long)s->min, (unsigned long long)s->max);
    return out;
}

static void write_text(struct floe_writer *w, const char *s)
{
    floe_write(w, s, strlen(s));
}

static void help_one(struct floe_writer *w, const struct floe_config_setting *s)
{
    char line[512], env[FLOE_CONFIG_ENV_MAX], range[96];
    floe_config_env_name(env, s->name);
    (void)range_of(s, range, sizeof range);
    (void)snprintf(line, sizeof line, "  --%s %s%s\n      %s\n      default: %s%s%s; environment: %s\n",
                   s->name, arg_of(s), s->repeat ? "   (may repeat)" : "", s->help,
                   s->def_text != NULL ? s->def_text : s->def, range[0] != '\0' ? "; " : "", range, env);
    write_text(w, line);
}

void floe_config_help(struct floe_writer *w)
{
    for (size_t i = 0; i < floe_config_setting_count; i++)
        help_one(w, &floe_config_settings[i]);
}

void floe_config_help_of(struct floe_writer *w, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct floe_config_setting *s = floe_config_setting_find(names[i], strlen(names[i]));
        FLOE_ASSERT(s != NULL);
        help_one(w, s);
    }
}

void floe_config_help_json(struct floe_writer *w)
{
    json_t *all = json_array();
    FLOE_ASSERT(all != NULL);
    for (size_t i = 0; i < floe_config_setting_count; i++) {
        const struct floe_config_setting *s = &floe_config_settings[i];
        char env[FLOE_CONFIG_ENV_MAX], range[96];
        floe_config_env_name(env, s->name);
        json_t *o =
            json_pack("{ss ss ss ss ss ss ss ss sb sb}", "name", s->name, "argument", arg_of(s), "type",
                      form_name(s->form), "unit", s->unit != NULL ? s->unit : "", "range",
                      range_of(s, range, sizeof range), "default", s->def_text != NULL ? s->def_text : s->def,
                      "environment", env, "help", s->help, "repeatable", s->repeat, "secret", s->secret);
        FLOE_ASSERT(o != NULL && json_array_append_new(all, o) == 0);
    }
    char *text = json_dumps(all, JSON_INDENT(2));
    FLOE_ASSERT(text != NULL);
    write_text(w, text);
    write_text(w, "\n");
    free(text);
    json_decref(all);
}
