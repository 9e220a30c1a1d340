/* Finds the values: flags, environment, file. What they mean is config_set.c's. */
#include "broker/config_int.h"

#include <floe/base/assert.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILE_MAX = 1 << 20 };
#define TEST_LEASE_MIN "FLOE_TEST_LEASE_MS_MIN" /* lets tests run with leases shorter than the allowed */

static size_t index_of(const struct floe_config_setting *s)
{
    return (size_t)(s - floe_config_settings);
}

void floe_config_blame(const struct floe_config_values *vs, const struct floe_config_setting *s,
                       struct floe_error *err)
{
    const struct floe_config_value *v = &vs->of[index_of(s)];
    char env[FLOE_CONFIG_ENV_MAX];
    switch (v->from) {
    case FLOE_CONFIG_FROM_FLAG:
        floe_error_prefix(err, "--%s", s->name);
        break;
    case FLOE_CONFIG_FROM_ENV:
        floe_config_env_name(env, s->name);
        floe_error_prefix(err, "%s", env);
        break;
    case FLOE_CONFIG_FROM_FILE:
        floe_error_prefix(err, "%s:%u: %s", vs->file, v->line, s->name);
        break;
    default:
        floe_error_prefix(err, "%s (default)", s->name);
    }
}

/* What operators of Kafka look for first. */
static const struct {
    const char *theirs, *here;
} kafka_names[] = {
    {"advertised.listeners", "advertise"},
    {"bootstrap.servers", "store: brokers find each other there"},
    {"broker.id", "not set: ids are claimed in the table"},
    {"broker.rack", "rack"},
    {"controller.quorum.voters", "not needed: there is no controller"},
    {"inter.broker.listener.name", "a listener that is named peer"},
    {"listeners", "listen"},
    {"log.dir", "data-dir, and store for the records"},
    {"log.dirs", "data-dir, and store for the records"},
    {"log.retention.bytes", "a topic's retention.bytes"},
    {"log.retention.hours", "a topic's retention.ms"},
    {"log.retention.ms", "a topic's retention.ms"},
    {"node.id", "not set: ids are claimed in the table"},
    {"process.roles", "not needed: every broker does everything"},
    {"zookeeper.connect", "store: it keeps what ZooKeeper would"},
};

/* The sentence for a name that is not in the table. `shape` prints names as they are written there. */
static enum floe_err unknown(const char *where, const char *name, const char *mark, bool env,
                             struct floe_error *err)
{
    char written[FLOE_CONFIG_SETTINGS_MAX][FLOE_CONFIG_ENV_MAX];
    const char *names[FLOE_CONFIG_SETTINGS_MAX];
    for (size_t i = 0; i < floe_config_setting_count; i++) {
        if (env)
            floe_config_env_name(written[i], floe_config_settings[i].name);
        else
            (void)floe_str_copy(written[i], sizeof written[i], floe_config_settings[i].name);
        names[i] = written[i];
    }
    const char *near = floe_str_nearest(name, names, floe_config_setting_count);
    for (size_t i = 0; i < FLOE_COUNTOF(kafka_names) && !env; i++)
        if (strcmp(name, kafka_names[i].theirs) == 0)
            return floe_error_set(err, FLOE_EINVAL, "%sunknown setting \"%s%.64s\"; here it is %s", where,
                                  mark, name, kafka_names[i].here);
    if (near == NULL)
        return floe_error_set(err, FLOE_EINVAL,
                              "%sunknown setting \"%s%.64s\"; `floe broker --help` lists them all", where,
                              mark, name);
    return floe_error_set(err, FLOE_EINVAL, "%sunknown setting \"%s%.64s\"; did you mean \"%s%s\"?", where,
                          mark, name, mark, near);
}

/* One more value of a setting from the same source. The text of a repeatable one is cut at its commas. */
static enum floe_err add(struct floe_config_value *v, const struct floe_config_setting *s, char *text,
                         struct floe_error *err)
{
    while (text != NULL) {
        char *rest = s->repeat ? strchr(text, ',') : NULL;
        if (rest != NULL)
            *rest++ = '\0';
        while (isspace((unsigned char)*text))
            text++;
        for (size_t n = strlen(text); n > 0 && isspace((unsigned char)text[n - 1]); n--)
            text[n - 1] = '\0';
        if (v->n == FLOE_CONFIG_REPEATS_MAX)
            return floe_error_set(err, FLOE_EINVAL, "more than %d values", FLOE_CONFIG_REPEATS_MAX);
        v->v[v->n++] = text;
        text = rest;
    }
    return FLOE_OK;
}

/* Copies that are cut in place; freed together when loading ends. */
struct pool {
    char *p[4 * FLOE_CONFIG_SETTINGS_MAX];
    size_t n;
};

static char *pooled(struct pool *pool, const char *s)
{
    char *copy = pool->n < FLOE_COUNTOF(pool->p) ? strdup(s) : NULL;
    if (copy != NULL)
        pool->p[pool->n++] = copy;
    return copy;
}

static enum floe_err read_flags(struct floe_config_values *vs, int argc, char *const *argv, struct pool *pool,
                                struct floe_error *err)
{
    for (int i = 0; i < argc; i++) {
        const char *a = argv[i];
        if (strncmp(a, "--", 2) != 0 || a[2] == '\0')
            return floe_error_set(err, FLOE_EINVAL, "\"%.64s\" is not a flag: flags are written --NAME VALUE",
                                  a);
        size_t n = strcspn(a + 2, "=");
        const struct floe_config_setting *s = floe_config_setting_find(a + 2, n);
        if (s == NULL) {
            char name[80];
            (void)snprintf(name, sizeof name, "%.*s", (int)FLOE_MIN(n, (size_t)70), a + 2);
            return unknown("", name, "--", false, err);
        }
        struct floe_config_value *v = &vs->of[index_of(s)];
        if (a[2 + n] != '=' && i + 1 == argc)
            return floe_error_set(err, FLOE_EINVAL, "--%s needs a value", s->name);
        if (v->from == FLOE_CONFIG_FROM_FLAG && !s->repeat)
            return floe_error_set(err, FLOE_EINVAL, "--%s is given twice", s->name);
        v->from = FLOE_CONFIG_FROM_FLAG;
        char *text = pooled(pool, a[2 + n] == '=' ? a + 3 + n : argv[++i]);
        if (text == NULL)
            return floe_error_set(err, FLOE_ETOOLARGE, "too many flags");
        enum floe_err e = add(v, s, text, err);
        if (e != FLOE_OK) {
            floe_config_blame(vs, s, err);
            return e;
        }
    }
    return FLOE_OK;
}

/* What Kubernetes sets in each container for a service of its namespace, here one that is called floe or
 * begins so: FLOE_X_SERVICE_HOST, FLOE_X_SERVICE_PORT..., FLOE_X_PORT=tcp://..., FLOE_X_PORT_9092_TCP... */
static bool of_service(const char *name, size_t n, const char *value)
{
    static const char port[] = "_PORT";
    const size_t port_n = sizeof port - 1;
    if (memmem(name, n, "_SERVICE_HOST", 13) != NULL || memmem(name, n, "_SERVICE_PORT", 13) != NULL)
        return true;
    for (const char *p = name; (p = memmem(p, n - (size_t)(p - name), port, port_n)) != NULL;) {
        p += port_n;
        if (p[0] == '=' ? strstr(value, "://") != NULL : p[0] == '_' && isdigit((unsigned char)p[1]))
            return true;
    }
    return false;
}

/* That, what tests set for themselves, and the client commands' variable. */
static bool foreign(const char *name, size_t n, const char *value)
{
    return strncmp(name, "FLOE_TEST_", 10) == 0 || strncmp(name, "FLOE_BOOTSTRAP=", 15) == 0 ||
           of_service(name, n, value);
}

static enum floe_err read_env(struct floe_config_values *vs, char *const *envp, struct pool *pool,
                              struct floe_error *err)
{
    for (; envp != NULL && *envp != NULL; envp++) {
        const char *eq = strchr(*envp, '=');
        if (strncmp(*envp, "FLOE_", 5) != 0 || eq == NULL || eq[1] == '\0')
            continue; /* an empty one is as good as none, as templates leave them */
        char name[80], env[FLOE_CONFIG_ENV_MAX];
        (void)snprintf(name, sizeof name, "%.*s", (int)FLOE_MIN((size_t)(eq - *envp), (size_t)70), *envp);
        if (foreign(*envp, (size_t)(eq - *envp), eq + 1))
            continue;
        size_t i = 0;
        for (; i < floe_config_setting_count; i++) {
            floe_config_env_name(env, floe_config_settings[i].name);
            if (strcmp(env, name) == 0)
                break;
        }
        if (i == floe_config_setting_count)
            return unknown("environment: ", name, "", true, err);
        struct floe_config_value *v = &vs->of[i];
        if (v->from > FLOE_CONFIG_FROM_ENV)
            continue;
        *v = (struct floe_config_value){.from = FLOE_CONFIG_FROM_ENV};
        char *text = pooled(pool, eq + 1);
        if (text == NULL)
            return floe_error_set(err, FLOE_ETOOLARGE, "too many variables");
        enum floe_err e = add(v, &floe_config_settings[i], text, err);
        if (e != FLOE_OK) {
            floe_config_blame(vs, &floe_config_settings[i], err);
            return e;
        }
    }
    return FLOE_OK;
}

/* One line without its end. `seen` keeps in which line a key stood, whatever beats it. */
static enum floe_err read_line(struct floe_config_values *vs, char *line, unsigned number, unsigned *seen,
                               struct floe_error *err)
{
    for (char *c = line; *c != '\0'; c++)
        if (*c == '#' && (c == line || isspace((unsigned char)c[-1]))) {
            *c = '\0';
            break;
        }
    char *key = line + strspn(line, " \t\r");
    if (*key == '\0')
        return FLOE_OK;
    char *eq = strchr(key, '=');
    size_t n = eq != NULL ? (size_t)(eq - key) : 0;
    while (n > 0 && isspace((unsigned char)key[n - 1]))
        n--;
    if (n == 0)
        return floe_error_set(err, FLOE_EINVAL, "%s:%u: \"%.64s\" is not a line of the form key = value",
                              vs->file, number, key);
    const struct floe_config_setting *s = floe_config_setting_find(key, n);
    if (s == NULL) {
        char where[FLOE_CONFIG_PATH_MAX + 16];
        key[n] = '\0';
        (void)snprintf(where, sizeof where, "%s:%u: ", vs->file, number);
        return unknown(where, key, "", false, err);
    }
    if (strcmp(s->name, "config") == 0)
        return floe_error_set(err, FLOE_EINVAL, "%s:%u: a configuration file names no other one", vs->file,
                              number);
    if (seen[index_of(s)] != 0)
        return floe_error_set(err, FLOE_EINVAL,
                              "%s:%u: %s stands in line %u already; repeats are separated by commas",
                              vs->file, number, s->name, seen[index_of(s)]);
    seen[index_of(s)] = number;
    struct floe_config_value *v = &vs->of[index_of(s)];
    if (v->from > FLOE_CONFIG_FROM_FILE)
        return FLOE_OK;
    *v = (struct floe_config_value){.from = FLOE_CONFIG_FROM_FILE, .line = number};
    enum floe_err e = add(v, s, eq + 1, err);
    if (e == FLOE_OK && v->n > 0 && (v->v[0][0] == '"' || v->v[0][0] == '\''))
        e = floe_error_set(err, FLOE_EINVAL, "%.64s stands in quotes: values are written without", v->v[0]);
    if (e != FLOE_OK)
        floe_config_blame(vs, s, err);
    return e;
}

/* The whole file with a terminator, to be freed. */
static enum floe_err slurp(const char *path, char **out, struct floe_error *err)
{
    enum floe_err e = FLOE_OK;
    char *text = malloc(FILE_MAX + 1);
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        e = floe_error_set(err, errno == ENOENT ? FLOE_ENOTFOUND : FLOE_EIO,
                           "cannot read the configuration file %s: %s", path, strerror(errno));
        goto out;
    }
    if (text == NULL) {
        e = floe_error_set(err, FLOE_ENOMEM, "out of memory for %s", path);
        goto out;
    }
    size_t n = fread(text, 1, FILE_MAX, f);
    if (ferror(f) != 0)
        e = floe_error_set(err, FLOE_EIO, "cannot read the configuration file %s: %s", path, strerror(errno));
    else if (n == FILE_MAX)
        e = floe_error_set(err, FLOE_ETOOLARGE, "the configuration file %s is larger than 1MiB", path);
    else if (memchr(text, '\0', n) != NULL)
        e = floe_error_set(err, FLOE_EINVAL, "%s is not text: it has a zero byte", path);
    text[n] = '\0';
out:
    if (f != NULL)
        (void)fclose(f);
    if (e != FLOE_OK)
        free(text);
    else
        *out = text;
    return e;
}

static enum floe_err read_file(struct floe_config_values *vs, char *text, struct floe_error *err)
{
    unsigned seen[FLOE_CONFIG_SETTINGS_MAX] = {0}, number = 1;
    enum floe_err e = FLOE_OK;
    if (strncmp(text, "\xef\xbb\xbf", 3) == 0) /* the mark that some editors put before UTF-8 */
        text += 3;
    for (char *line = text; line != NULL && e == FLOE_OK; number++) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end++ = '\0';
        e = read_line(vs, line, number, seen, err);
        line = end;
    }
    return e;
}

static uint32_t lease_ms_min(char *const *envp)
{
    size_t n = strlen(TEST_LEASE_MIN);
    uint64_t v;
    for (; envp != NULL && *envp != NULL; envp++)
        if (strncmp(*envp, TEST_LEASE_MIN, n) == 0 && (*envp)[n] == '=' &&
            floe_str_parse_u64(*envp + n + 1, &v, NULL) == FLOE_OK)
            return (uint32_t)FLOE_MIN(FLOE_MAX(v, (uint64_t)300), (uint64_t)2000);
    return 2000;
}

enum floe_err floe_config_load(struct floe_config *out, int argc, char *const *argv, char *const *envp,
                               struct floe_error *err)
{
    struct floe_config_values *vs = calloc(1, sizeof *vs);
    struct floe_config *c = calloc(1, sizeof *c);
    struct pool pool = {.n = 0};
    char *text = NULL;
    enum floe_err e = FLOE_ENOMEM;
    if (vs == NULL || c == NULL) {
        e = floe_error_set(err, FLOE_ENOMEM, "out of memory for the configuration");
        goto out;
    }
    if ((e = read_flags(vs, argc, argv, &pool, err)) != FLOE_OK)
        goto out;
    if ((e = read_env(vs, envp, &pool, err)) != FLOE_OK)
        goto out;
    const struct floe_config_value *file = floe_config_value_of(vs, "config", NULL);
    if (file->n > 0 && file->v[0][0] == '\0') {
        e = floe_error_set(err, FLOE_EINVAL, "--config: an empty name is no file");
        goto out;
    }
    if (file->n > 0) {
        vs->file = file->v[0];
        if ((e = slurp(vs->file, &text, err)) != FLOE_OK)
            goto out;
        if ((e = read_file(vs, text, err)) != FLOE_OK)
            goto out;
    }
    if ((e = floe_config_set(c, vs, lease_ms_min(envp), err)) != FLOE_OK)
        goto out;
    *out = *c;
out:
    for (size_t i = 0; i < pool.n; i++)
        free(pool.p[i]);
    free(text);
    free(vs);
    free(c);
    return e;
}
