/* Commands as a table, and their arguments after parsing. Private to src/cli. */
#ifndef FLOE_SRC_CLI_CLI_INT_H
#define FLOE_SRC_CLI_CLI_INT_H

#include <floe/base/err.h>
#include <floe/base/str.h>
#include <floe/cli.h>

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct floe_cli_flag {
    const char *name; /* without its dashes */
    const char *arg;  /* null: a switch */
    const char *help;
    bool repeat;
};
struct floe_cli_args;
struct floe_cli_command {
    const char *group, *verb; /* "topic", "create" */
    const char *positional;   /* as help shows it, "" for none */
    size_t min, max;          /* of positional arguments */
    const char *help;         /* one line */
    const char *more;         /* what else --help says; null: nothing */
    const struct floe_cli_flag *flags;
    size_t flag_count;
    int (*run)(const struct floe_cli_args *a);
    int (*raw)(int argc, char **argv); /* instead: parses for itself, --help too */
};
enum { FLOE_CLI_POSITIONAL_MAX = 256, FLOE_CLI_FLAGS_MAX = 64 };
struct floe_cli_args {
    const struct floe_cli_command *cmd;
    const char *positional[FLOE_CLI_POSITIONAL_MAX];
    size_t positional_count;
    struct {
        const struct floe_cli_flag *flag;
        const char *value; /* "" for a switch */
    } given[FLOE_CLI_FLAGS_MAX];
    size_t given_count;
};
/* The i-th value of a flag; null where there are fewer. */
const char *floe_cli_value(const struct floe_cli_args *a, const char *flag, size_t i);
bool floe_cli_is_set(const struct floe_cli_args *a, const char *flag);
/* The addresses of --bootstrap, else of FLOE_BOOTSTRAP, else the default. */
const char *floe_cli_bootstrap(const struct floe_cli_args *a);
/* "floe: topic create: <message>" on stderr. The value is the exit code. */
int floe_cli_fail(const struct floe_cli_args *a, const struct floe_error *err);
int floe_cli_usage(const struct floe_cli_args *a, const char *fmt, ...) FLOE_PRINTF(2, 3);
/* Prints the object and a newline, and drops the reference. */
void floe_cli_print_json(json_t *o);

/* The flags of every command that talks to a broker. */
#define FLOE_CLI_CLIENT_FLAGS                                                                                \
    {.name = "bootstrap",                                                                                    \
     .arg = "HOST:PORT",                                                                                     \
     .help =                                                                                                 \
         "a broker to ask, or several with commas (default 127.0.0.1:9092; environment: FLOE_BOOTSTRAP)"},   \
    {                                                                                                        \
        .name = "json", .help = "print JSON"                                                                 \
    }

/* All commands, in the order of help. */
extern const struct floe_cli_command floe_cli_topic_create, floe_cli_topic_list, floe_cli_topic_describe,
    floe_cli_topic_alter, floe_cli_topic_delete, floe_cli_group_list, floe_cli_group_describe,
    floe_cli_group_delete, floe_cli_group_reset, floe_cli_config_describe, floe_cli_config_set,
    floe_cli_config_delete, floe_cli_cluster_status, floe_cli_metrics_list;

#endif
