/* Dispatch, parsing and help of the command line, all from the table of commands. */
#include "cli/cli_int.h"

#include <floe/base/assert.h>
#include <floe/base/str.h>

#include <stdarg.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct floe_cli_command segment_dump = {
    .group = "segment",
    .verb = "dump",
    .positional = "FILE|KEY",
    .help = "print what a segment holds and check it",
    .raw = floe_cli_segment_dump,
};

/* A command of one word. */
static const struct floe_cli_command selftest = {
    .group = "selftest",
    .verb = "",
    .positional = "--store URL",
    .help = "test whether a store keeps the promises that Floe is built on",
    .raw = floe_cli_selftest,
};

static const struct floe_cli_command *const commands[] = {
    &floe_cli_topic_create,
    &floe_cli_topic_list,
    &floe_cli_topic_describe,
    &floe_cli_topic_alter,
    &floe_cli_topic_delete,
    &floe_cli_group_list,
    &floe_cli_group_describe,
    &floe_cli_group_delete,
    &floe_cli_group_reset,
    &floe_cli_config_describe,
    &floe_cli_config_set,
    &floe_cli_config_delete,
    &floe_cli_cluster_status,
    &floe_cli_metrics_list,
    &segment_dump,
    &selftest,
};

const char *floe_cli_value(const struct floe_cli_args *a, const char *flag, size_t i)
{
    for (size_t k = 0; k < a->given_count; k++)
        if (strcmp(a->given[k].flag->name, flag) == 0 && i-- == 0)
            return a->given[k].value;
    return NULL;
}

bool floe_cli_is_set(const struct floe_cli_args *a, const char *flag)
{
    return floe_cli_value(a, flag, 0) != NULL;
}

int floe_cli_fail(const struct floe_cli_args *a, const struct floe_error *err)
{
    (void)fprintf(stderr, "floe: %s %s: %s\n", a->cmd->group, a->cmd->verb, err->msg);
    return FLOE_CLI_FAILED;
}

int floe_cli_usage(const struct floe_cli_args *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fprintf(stderr, "floe: %s %s: ", a->cmd->group, a->cmd->verb);
    (void)vfprintf(stderr, fmt, ap);
    (void)fprintf(stderr, "\nusage: see `floe %s %s --help`\n", a->cmd->group, a->cmd->verb);
    va_end(ap);
    return FLOE_CLI_USAGE;
}

void floe_cli_print_json(json_t *o)
{
    FLOE_ASSERT(o != NULL);
    (void)json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    (void)fputc('\n', stdout);
    json_decref(o);
}

static void help_of(const struct floe_cli_command *c)
{
    printf("usage: floe %s %s%s%s%s\n\n%s\n", c->group, c->verb, c->positional[0] != '\0' ? " " : "",
           c->positional, c->flag_count > 0 ? " [flags]" : "", c->help);
    if (c->more != NULL)
        printf("%s\n", c->more);
    if (c->flag_count > 0)
        printf("\nflags:\n");
    for (size_t i = 0; i < c->flag_count; i++) {
        char left[64];
        (void)snprintf(left, sizeof left, "--%s%s%s", c->flags[i].name, c->flags[i].arg != NULL ? " " : "",
                       c->flags[i].arg != NULL ? c->flags[i].arg : "");
        printf("  %-26s %s%s\n", left, c->flags[i].help, c->flags[i].repeat ? " (may repeat)" : "");
    }
}

/* All commands, or those of one group. */
static void help_list(const char *group)
{
    printf("usage: floe %s%sCOMMAND [flags]\n\n", group != NULL ? group : "", group != NULL ? " " : "");
    if (group == NULL)
        printf("  %-44s %s\n", "broker", "run a broker");
    for (size_t i = 0; i < FLOE_COUNTOF(commands); i++) {
        const struct floe_cli_command *c = commands[i];
        char left[96];
        if (group != NULL && strcmp(group, c->group) != 0)
            continue;
        (void)snprintf(left, sizeof left, "%s%s%s %s", c->group, c->verb[0] != '\0' ? " " : "", c->verb,
                       c->positional);
        printf("  %-44s %s\n", left, c->help);
    }
    if (group == NULL)
        printf("  %-44s %s\n  %-44s %s\n", "version", "print the version", "help [COMMAND]",
               "this text, or a command's");
    printf("\n`floe %s%sCOMMAND --help` tells all about a command. Exit codes: 0 done, 1 failed, 2 wrong "
           "usage.\n",
           group != NULL ? group : "", group != NULL ? " " : "");
}

static bool is_group(const char *word)
{
    for (size_t i = 0; i < FLOE_COUNTOF(commands); i++)
        if (strcmp(commands[i]->group, word) == 0)
            return true;
    return false;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

/* Takes one flag at argv[*i], and its value. */
static int take_flag(struct floe_cli_args *a, int argc, char **argv, int *i)
{
    const char *text = argv[*i] + 2;
    size_t n = strcspn(text, "=");
    const struct floe_cli_flag *f = NULL;
    for (size_t k = 0; k < a->cmd->flag_count && f == NULL; k++)
        if (strlen(a->cmd->flags[k].name) == n && memcmp(a->cmd->flags[k].name, text, n) == 0)
            f = &a->cmd->flags[k];
    if (f == NULL)
        return floe_cli_usage(a, "unknown flag \"%.64s\"", argv[*i]);
    const char *value = text[n] == '=' ? text + n + 1 : NULL;
    if (f->arg == NULL && value != NULL)
        return floe_cli_usage(a, "--%s takes no value", f->name);
    if (f->arg != NULL && value == NULL) {
        if (*i + 1 >= argc)
            return floe_cli_usage(a, "--%s needs a value", f->name);
        value = argv[++*i];
    }
    if (!f->repeat && floe_cli_is_set(a, f->name))
        return floe_cli_usage(a, "--%s is given twice", f->name);
    if (a->given_count == FLOE_CLI_FLAGS_MAX)
        return floe_cli_usage(a, "more than %d flags", FLOE_CLI_FLAGS_MAX);
    a->given[a->given_count].flag = f;
    a->given[a->given_count++].value = value != NULL ? value : "";
    return FLOE_CLI_OK;
}

const char *floe_cli_bootstrap(const struct floe_cli_args *a)
{
    const char *flag = floe_cli_value(a, "bootstrap", 0), *env = getenv("FLOE_BOOTSTRAP");
    return flag != NULL ? flag : env != NULL && env[0] != '\0' ? env : "127.0.0.1:9092";
}

/* Each of the addresses has the form of one. */
static int check_bootstrap(const struct floe_cli_args *a)
{
    const char *text = floe_cli_bootstrap(a);
    while (text != NULL) {
        char one[512];
        struct floe_str_addr addr;
        struct floe_error err = {0};
        int n = (int)strcspn(text, ",");
        if (snprintf(one, sizeof one, "%.*s", n, text) >= (int)sizeof one)
            return floe_cli_usage(a, "--bootstrap: \"%.64s...\" is too long for an address", one);
        if (floe_str_parse_addr(one, &addr, &err) != FLOE_OK)
            return floe_cli_usage(a, "--bootstrap: %s", err.msg);
        text = text[n] == ',' ? text + n + 1 : NULL;
    }
    return FLOE_CLI_OK;
}

static int run_command(const struct floe_cli_command *c, int argc, char **argv)
{
    if (c->raw != NULL)
        return c->raw(argc, argv);
    struct floe_cli_args a = {.cmd = c};
    bool flags_over = false;
    for (int i = 0; i < argc; i++) {
        if (!flags_over && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            help_of(c);
            return FLOE_CLI_OK;
        }
        if (!flags_over && strcmp(argv[i], "--") == 0) {
            flags_over = true;
        } else if (!flags_over && strncmp(argv[i], "--", 2) == 0) {
            int rc = take_flag(&a, argc, argv, &i);
            if (rc != FLOE_CLI_OK)
                return rc;
        } else if (a.positional_count == FLOE_CLI_POSITIONAL_MAX || a.positional_count == c->max) {
            return floe_cli_usage(&a, "\"%.64s\" is one argument too many", argv[i]);
        } else {
            a.positional[a.positional_count++] = argv[i];
        }
    }
    if (a.positional_count < c->min)
        return floe_cli_usage(&a, "%s is missing", c->positional);
    int rc = check_bootstrap(&a);
    return rc != FLOE_CLI_OK ? rc : c->run(&a);
}

/* The first command of `group`, or the one with that verb. */
static const struct floe_cli_command *find_command(const char *group, const char *verb)
{
    for (size_t i = 0; i < FLOE_COUNTOF(commands); i++)
        if (strcmp(commands[i]->group, group) == 0 && strcmp(commands[i]->verb, verb) == 0)
            return commands[i];
    return NULL;
}

static int help(int argc, char **argv)
{
    const struct floe_cli_command *c = argc >= 1 ? find_command(argv[0], "") : NULL;
    if (c == NULL && argc >= 2)
        c = find_command(argv[0], argv[1]);
    if (argc == 0) {
        help_list(NULL);
    } else if (c != NULL && c->raw != NULL) {
        char word[] = "--help", *args[] = {word, NULL};
        return c->raw(1, args);
    } else if (c != NULL) {
        help_of(c);
    } else if (is_group(argv[0])) {
        help_list(argv[0]);
    } else {
        (void)fprintf(stderr, "floe: there is no command \"%.64s\"; `floe help` lists them all\n", argv[0]);
        return FLOE_CLI_USAGE;
    }
    return FLOE_CLI_OK;
}

static void needs_verb(const char *group)
{
    (void)fprintf(stderr, "floe: `floe %s` needs one more word:", group);
    for (size_t i = 0; i < FLOE_COUNTOF(commands); i++)
        if (strcmp(commands[i]->group, group) == 0)
            (void)fprintf(stderr, " %s", commands[i]->verb);
    (void)fprintf(stderr, "; `floe help %s` tells about them\n", group);
}

static void no_verb(const char *group, const char *verb)
{
    const char *verbs[FLOE_COUNTOF(commands)];
    size_t n = 0;
    for (size_t i = 0; i < FLOE_COUNTOF(commands); i++)
        if (strcmp(commands[i]->group, group) == 0)
            verbs[n++] = commands[i]->verb;
    const char *near = floe_str_nearest(verb, verbs, n);
    if (near != NULL)
        (void)fprintf(stderr, "floe: there is no command \"%s %.64s\"; did you mean \"%s %s\"?\n", group,
                      verb, group, near);
    else
        (void)fprintf(stderr, "floe: there is no command \"%s %.64s\"; `floe help %s` lists them\n", group,
                      verb, group);
}

static int dispatch(int argc, char **argv)
{
    if (argc == 0) {
        help_list(NULL);
        return FLOE_CLI_USAGE;
    }
    if (strcmp(argv[0], "--version") == 0 || strcmp(argv[0], "version") == 0) {
        printf("floe %s\n", FLOE_VERSION);
        return FLOE_CLI_OK;
    }
    if (is_help(argv[0]))
        return help(argc - 1, argv + 1);
    if (!is_group(argv[0])) {
        static const char *const words[] = {"broker",  "topic",   "group",    "config",  "cluster",
                                            "metrics", "segment", "selftest", "version", "help"};
        const char *near = floe_str_nearest(argv[0], words, FLOE_COUNTOF(words));
        (void)fprintf(stderr, "floe: there is no command \"%.64s\"; %s%s%s\n", argv[0],
                      near != NULL ? "did you mean \"" : "`floe help` lists them all",
                      near != NULL ? near : "", near != NULL ? "\"?" : "");
        return FLOE_CLI_USAGE;
    }
    const struct floe_cli_command *c = find_command(argv[0], "");
    if (c != NULL)
        return run_command(c, argc - 1, argv + 1);
    c = argc >= 2 ? find_command(argv[0], argv[1]) : NULL;
    if (c != NULL)
        return run_command(c, argc - 2, argv + 2);
    if (argc >= 2 && is_help(argv[1])) {
        help_list(argv[0]);
        return FLOE_CLI_OK;
    }
    if (argc >= 2)
        no_verb(argv[0], argv[1]);
    else
        needs_verb(argv[0]);
    return FLOE_CLI_USAGE;
}

int floe_cli_main(int argc, char **argv)
{
    int rc = dispatch(argc, argv);
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return rc;
    (void)fprintf(stderr, "floe: cannot write to standard output: %s\n", strerror(errno ? errno : EIO));
    return rc != FLOE_CLI_OK ? rc : FLOE_CLI_FAILED;
}
