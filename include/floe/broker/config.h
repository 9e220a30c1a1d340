/* The broker's configuration: one table of settings, read from flags, environment and a file.
 *
 * What it is: `struct floe_config`, plain data that is complete, in range and consistent after
 * floe_config_load. What it is not: topics' configurations (kafka/configs.h), credentials (AWS's variables
 * and files, see objstore/s3.h).
 *
 *  1. A setting NAME is the flag `--NAME VALUE` (or `--NAME=VALUE`), the variable FLOE_NAME (upper case, `-`
 * and
 *     `.` become `_`) and the key NAME of the file: `NAME = VALUE` lines, `#` begins a comment, commas
 * separate repeats. A flag beats the environment, which beats the file; repeats are not mixed between them.
 *  2. An unknown name or a bad value is an error that names the source (file and line, variable, flag), the
 *     value, what is allowed, and the nearest known name. Nothing is ignored but variables that Kubernetes
 * makes for a service called floe (FLOE_SERVICE_*, FLOE_PORT, FLOE_PORT_*) and FLOE_TEST_*.
 *  3. Broker keys of Kafka's that mean something here keep Kafka's names, and its spelling of values.
 *
 * Any thread; no state is kept. Errors are FLOE_EINVAL, or FLOE_ENOTFOUND and FLOE_EIO for the file.
 */
#ifndef FLOE_BROKER_CONFIG_H
#define FLOE_BROKER_CONFIG_H

#include <floe/base/bytes.h>
#include <floe/base/log.h>
#include <floe/base/str.h>

#define FLOE_CONFIG_LISTENERS_MAX 8
#define FLOE_CONFIG_PATH_MAX 1024
#define FLOE_CONFIG_MEMORY_MIN (UINT64_C(128) << 20)

struct floe_config_listener {
    char name[32];                  /* as in NAME=HOST:PORT; empty when it has none */
    struct floe_str_addr listen;    /* port 0: the kernel chooses */
    struct floe_str_addr advertise; /* what clients are told; with `advertised` false it is what `listen`
                                       says, with the real port */
    bool advertised;
};

enum floe_config_scheme { FLOE_CONFIG_FILE, FLOE_CONFIG_S3 };
struct floe_config_url {
    enum floe_config_scheme scheme;
    char text[FLOE_CONFIG_PATH_MAX]; /* the whole URL, for messages */
    char path[FLOE_CONFIG_PATH_MAX]; /* file: the directory; s3: the prefix, no slash at its ends, may be
                                        empty */
    char bucket[64];                 /* s3 */
};

enum floe_config_s3_style { FLOE_CONFIG_S3_AUTO, FLOE_CONFIG_S3_PATH, FLOE_CONFIG_S3_VIRTUAL };

struct floe_config {
    struct floe_config_url store; /* default file://DATA-DIR/store */
    bool store_named;             /* it is not the default */
    struct floe_config_url table;
    bool table_is_store; /* no table of its own: it lies in the store */
    char data_dir[FLOE_CONFIG_PATH_MAX - 16];
    struct floe_config_listener listeners[FLOE_CONFIG_LISTENERS_MAX];
    uint32_t listener_count;
    bool has_http;
    struct floe_str_addr http; /* metrics and health; port 0: the kernel chooses */
    uint64_t network_limit;    /* bytes a second each way; 0: not known */
    uint32_t peer_listener;    /* index of the one that brokers use */
    char rack[256];            /* empty: none */
    uint32_t lease_ms, garbage_age_ms;

    char s3_endpoint[512]; /* empty: AWS */
    char s3_region[64];    /* empty: AWS's variables and files, else us-east-1 */
    char s3_ca[FLOE_CONFIG_PATH_MAX];
    int s3_style; /* enum floe_config_s3_style */
    uint32_t s3_connections;

    uint64_t memory; /* bytes that resident size never passes */
    uint32_t linger_ms;
    uint64_t segment_bytes;
    uint32_t puts_in_flight;
    double put_rate; /* PUTs a second; 0: unlimited. `auto` is resolved here */
    uint32_t put_burst;
    uint64_t tier_limit;
    bool tier_all; /* every batch goes through the tier */
    uint32_t net_threads;

    int log_level; /* enum floe_log_level */
    bool log_json;

    /* Kafka's */
    uint32_t num_partitions;
    bool auto_create_topics;
    uint32_t default_replication_factor; /* accepted and shown; the store replicates */
    uint32_t message_bytes_max;
    bool log_append_time;       /* message.timestamp.type of topics that do not say */
    uint32_t request_bytes_max; /* socket.request.max.bytes */
    uint32_t fetch_bytes_max;   /* fetch.max.bytes */
    uint32_t idle_ms;           /* connections.max.idle.ms */
    uint32_t connections_max;   /* max.connections */
    uint32_t fetch_sessions;    /* max.incremental.fetch.session.cache.slots */
    /* Groups; Kafka's but for the last */
    uint32_t offsets_partitions;
    uint32_t offset_metadata_max;
    uint32_t offsets_retention_min;
    uint32_t offsets_check_ms;
    uint32_t group_delay_ms;
    uint32_t group_session_min_ms;
    uint32_t group_session_max_ms;
    uint32_t group_size_max;
    uint32_t consumer_session_ms;
    uint32_t consumer_heartbeat_ms;
    uint32_t consumer_size_max;
    int group_migration;           /* enum floe_group_migration */
    double commit_gather_ms;       /* `auto` is resolved, as in: */
    double commit_gather_group_ms; /* for each group that commits at present, where that is less */
};

/* argv without the program and the command's name; envp ends with null. */
enum floe_err floe_config_load(struct floe_config *out, int argc, char *const *argv, char *const *envp,
                               struct floe_error *err) FLOE_MUST_USE;
/* What the setting that is called as Kafka's broker configuration `name` is set to, written as Kafka writes
 * it; null where there is none. */
const char *floe_config_kafka(const struct floe_config *cfg, const char *name, char out[FLOE_STR_NUM]);
/* The table as text for people (a terminal of 80 columns) or as JSON (an array of objects). */
void floe_config_help(struct floe_writer *w);
/* Of these settings only. */
void floe_config_help_of(struct floe_writer *w, const char *const *names, size_t n);
void floe_config_help_json(struct floe_writer *w);

#endif
