/* Credentials from the environment, then from AWS's shared files, see floe/objstore/s3.h. Other sources (web
 * identity, container and instance endpoints) are not looked at yet. */
#include <errno.h>
#include <floe/base/assert.h>
#include <floe/objstore/s3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_SIZE 1024
#define LINE_SIZE 5120

struct profile {
    struct floe_s3_credentials cred;
    char region[64];
    bool found; /* a section of that name */
};

/* Copies a setting; false where it is too long to be one. */
static bool set(char *to, size_t cap, const char *v)
{
    size_t n = strlen(v);
    if (n >= cap)
        return false;
    memcpy(to, v, n + 1);
    return true;
}

static char *trim(char *s)
{
    while (*s == ' ' || *s == '\t')
        s++;
    size_t n = strlen(s);
    while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t' || s[n - 1] == '\r' || s[n - 1] == '\n'))
        s[--n] = '\0';
    return s;
}

/* "[name]" or, in the config file, "[profile name]". */
static bool is_section(char *line, const char *profile, bool config)
{
    char *end = strchr(line, ']');
    if (!end)
        return false;
    *end = '\0';
    char *name = trim(line + 1);
    if (config && strcmp(name, "default") != 0) {
        if (strncmp(name, "profile", 7) != 0 || (name[7] != ' ' && name[7] != '\t'))
            return false;
        name = trim(name + 7);
    }
    return strcmp(name, profile) == 0;
}

static bool take_setting(struct profile *p, char *line)
{
    char *eq = strchr(line, '=');
    if (!eq)
        return true;
    *eq = '\0';
    const char *name = trim(line), *value = trim(eq + 1);
    if (strcmp(name, "aws_access_key_id") == 0)
        return set(p->cred.access_key, sizeof p->cred.access_key, value);
    if (strcmp(name, "aws_secret_access_key") == 0)
        return set(p->cred.secret_key, sizeof p->cred.secret_key, value);
    if (strcmp(name, "aws_session_token") == 0)
        return set(p->cred.token, sizeof p->cred.token, value);
    if (strcmp(name, "region") == 0)
        return set(p->region, sizeof p->region, value);
    return true;
}

/* Adds what the file says of the profile. A missing file is no error. */
static enum floe_err read_file(struct profile *p, const char *path, const char *name, bool config,
                               struct floe_error *err)
{
    char line[LINE_SIZE];
    bool in = false;
    int number = 0;
    enum floe_err rc = FLOE_OK;
    /* lint: fopen AWS's own files are where they are */
    FILE *f = fopen(path, "re");
    if (!f)
        return errno == ENOENT || errno == ENOTDIR
                   ? FLOE_OK
                   : floe_error_set(err, FLOE_EDENIED, "%s cannot be read: %s", path, strerror(errno));
    while (rc == FLOE_OK && fgets(line, sizeof line, f)) {
        number++;
        bool nested = line[0] == ' ' || line[0] == '\t'; /* of a setting like "s3 =" */
        char *text = trim(line);
        if (*text == '#' || *text == ';' || *text == '\0')
            continue;
        if (*text == '[') {
            in = is_section(text, name, config);
            p->found |= in;
        } else if (in && !nested && !take_setting(p, text)) {
            rc = floe_error_set(err, FLOE_EINVAL, "%s:%d: the value is too long", path, number);
        }
    }
    fclose(f);
    explicit_bzero(line, sizeof line);
    return rc;
}

/* The variable's path, else ~/.aws/<name>. */
static void file_path(char out[PATH_SIZE], const char *variable, const char *name)
{
    const char *v = getenv(variable), *home = getenv("HOME");
    if (v && v[0])
        snprintf(out, PATH_SIZE, "%s", v);
    else
        snprintf(out, PATH_SIZE, "%s/.aws/%s", home ? home : "", name);
}

/* Keys and regions are one word. What comes from a file with its line break would end a header too early. */
static enum floe_err one_word(const char *variable, struct floe_error *err)
{
    const char *v = getenv(variable);
    for (const char *c = v ? v : ""; *c; c++) {
        if ((unsigned char)*c <= ' ' || *c == 0x7f)
            return floe_error_set(err, FLOE_EINVAL,
                                  "%s has a blank or a line break at its end, or in it: set it without",
                                  variable);
    }
    return FLOE_OK;
}

static enum floe_err from_environment(struct floe_s3_credentials *out, struct floe_error *err)
{
    const char *id = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY"),
               *token = getenv("AWS_SESSION_TOKEN");
    bool has_id = id && id[0], has_secret = secret && secret[0];
    if (!has_id && !has_secret)
        return FLOE_ENOTFOUND;
    if (!has_id || !has_secret)
        return floe_error_set(err, FLOE_EINVAL, "%s is set, but %s is not",
                              has_id ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
                              has_id ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
    if (one_word("AWS_ACCESS_KEY_ID", err) != FLOE_OK || one_word("AWS_SECRET_ACCESS_KEY", err) != FLOE_OK ||
        one_word("AWS_SESSION_TOKEN", err) != FLOE_OK)
        return FLOE_EINVAL;
    if (!set(out->access_key, sizeof out->access_key, id) ||
        !set(out->secret_key, sizeof out->secret_key, secret) ||
        !set(out->token, sizeof out->token, token ? token : ""))
        return floe_error_set(err, FLOE_EINVAL,
                              "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or "
                              "AWS_SESSION_TOKEN is too long to be one");
    return FLOE_OK;
}

static enum floe_err set_region(char region[64], const struct profile *p, struct floe_error *err)
{
    const char *const from[] = {getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION"), p->region};
    if (!region || region[0])
        return FLOE_OK;
    if (one_word("AWS_REGION", err) != FLOE_OK || one_word("AWS_DEFAULT_REGION", err) != FLOE_OK)
        return FLOE_EINVAL;
    for (size_t i = 0; i < FLOE_COUNTOF(from); i++) {
        if (!from[i] || !from[i][0])
            continue;
        if (!set(region, 64, from[i]))
            return floe_error_set(err, FLOE_EINVAL, "the region \"%.80s\" is too long to be one", from[i]);
        return FLOE_OK;
    }
    return FLOE_OK;
}

enum floe_err floe_s3_credentials_load(struct floe_s3_credentials *out, char region[64],
                                       struct floe_error *err)
{
    char cred_path[PATH_SIZE], config_path[PATH_SIZE];
    const char *name = getenv("AWS_PROFILE");
    struct profile p = {0};
    struct floe_s3_credentials env = {0};
    name = name && name[0] ? name : "default";
    file_path(cred_path, "AWS_SHARED_CREDENTIALS_FILE", "credentials");
    file_path(config_path, "AWS_CONFIG_FILE", "config");
    enum floe_err rc = from_environment(&env, err);
    bool by_env = rc == FLOE_OK;
    if (rc != FLOE_OK && rc != FLOE_ENOTFOUND)
        return rc;
    /* The credentials file's settings beat the config file's: it is read last. */
    rc = read_file(&p, config_path, name, true, by_env ? NULL : err);
    if (rc == FLOE_OK)
        rc = read_file(&p, cred_path, name, false, by_env ? NULL : err);
    if (by_env)
        rc = FLOE_OK; /* files that nobody needs may be as they are */
    if (rc == FLOE_OK && !by_env && (p.cred.access_key[0] == '\0' || p.cred.secret_key[0] == '\0'))
        rc = floe_error_set(err, FLOE_EDENIED,
                            "no S3 credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, and "
                            "profile \"%.60s\" %s in %.80s",
                            name, p.found ? "has no complete keys" : "was not found", cred_path);
    if (rc == FLOE_OK)
        rc = set_region(region, &p, err);
    if (rc == FLOE_OK)
        *out = by_env ? env : p.cred;
    explicit_bzero(&p, sizeof p);
    explicit_bzero(&env, sizeof env);
    return rc;
}
