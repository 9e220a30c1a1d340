/* URLs of stores, and listeners with what they advertise. */
#include "broker/config_int.h"

#include <floe/base/assert.h>

#include <ctype.h>
#include <stdio.h>
#include <unistd.h>

static enum floe_err bad_url(const char *text, const char *why, struct floe_error *err)
{
    return floe_error_set(err, FLOE_EINVAL, "\"%.100s\" %s", text, why);
}

static bool bucket_char(char c)
{
    return isalnum((unsigned char)c) || c == '.' || c == '-' || c == '_';
}

/* s3://BUCKET[/PREFIX]. Prefix components are not empty, `.` or `..`: stores and proxies fold those. */
static enum floe_err parse_s3(struct floe_config_url *u, const char *rest, struct floe_error *err)
{
    size_t n = strcspn(rest, "/");
    bool fits = n >= 3 && n < sizeof u->bucket;
    for (size_t i = 0; i < n; i++)
        fits = fits && bucket_char(rest[i]);
    if (!fits)
        return bad_url(u->text,
                       "names no bucket: 3 to 63 letters, digits, dots and dashes, as in s3://bucket/prefix",
                       err);
    memcpy(u->bucket, rest, n);
    u->bucket[n] = '\0';
    const char *p = rest + n + (rest[n] == '/');
    size_t len = strlen(p);
    while (len > 0 && p[len - 1] == '/')
        len--;
    if (len > 200)
        return bad_url(u->text, "has a prefix of more than 200 bytes", err);
    for (size_t i = 0, start = 0; i <= len && len > 0; i++) {
        if (i < len && p[i] != '/') {
            if (!isgraph((unsigned char)p[i]) || strchr("?#%\\\"<>^`{|}", p[i]) != NULL)
                return bad_url(u->text, "has a character in its prefix that a key should not have", err);
            continue;
        }
        size_t part = i - start;
        if (part == 0 || (part <= 2 && p[start] == '.' && p[i - 1] == '.'))
            return bad_url(u->text, "has an empty or dotted part in its prefix", err);
        start = i + 1;
    }
    memcpy(u->path, p, len);
    u->path[len] = '\0';
    return FLOE_OK;
}

static enum floe_err parse_url(struct floe_config_url *u, const char *text, struct floe_error *err)
{
    if (!floe_str_copy(u->text, sizeof u->text, text))
        return bad_url(text, "is longer than 1023 bytes", err);
    if (strncmp(text, "s3://", 5) == 0) {
        u->scheme = FLOE_CONFIG_S3;
        return parse_s3(u, text + 5, err);
    }
    if (strncmp(text, "file://", 7) != 0)
        return bad_url(text, "is not file:///DIR or s3://BUCKET/PREFIX", err);
    u->scheme = FLOE_CONFIG_FILE;
    if (text[7] == '\0')
        return bad_url(text, "names no directory: write file:///DIR, for example file:///var/lib/floe", err);
    if (text[7] != '/')
        return bad_url(text,
                       "is not absolute: write file:///DIR with three slashes, for example "
                       "file:///var/lib/floe",
                       err);
    (void)floe_str_copy(u->path, sizeof u->path, text + 7);
    return FLOE_OK;
}

static enum floe_err set_endpoint(struct floe_config *c, const char *text, struct floe_error *err)
{
    size_t scheme = strncmp(text, "http://", 7) == 0 ? 7 : strncmp(text, "https://", 8) == 0 ? 8 : 0;
    if (scheme == 0 || text[scheme] == '\0')
        return bad_url(text, "is not http://HOST:PORT or https://HOST:PORT", err);
    size_t n = strlen(text);
    while (n > scheme && text[n - 1] == '/')
        n--;
    if (n >= sizeof c->s3_endpoint)
        return bad_url(text, "is longer than 511 bytes", err);
    if (memchr(text + scheme, '/', n - scheme) != NULL || memchr(text, '?', n) != NULL ||
        memchr(text, '@', n) != NULL)
        return bad_url(text, "has more than a host and a port; the bucket stands in --store", err);
    for (size_t i = 0; i < n; i++)
        if (!isgraph((unsigned char)text[i]))
            return bad_url(text, "has a space or a control character", err);
    memcpy(c->s3_endpoint, text, n);
    c->s3_endpoint[n] = '\0';
    return FLOE_OK;
}

/* The data directory's own store, as an absolute URL, which may be given back to any command. */
static void default_store(char *out, size_t cap, const char *data_dir)
{
    char here[FLOE_CONFIG_PATH_MAX];
    const char *rest = data_dir;
    if (data_dir[0] == '/' || getcwd(here, sizeof here) == NULL)
        here[0] = '\0';
    while (rest[0] == '.' && rest[1] == '/')
        rest += 2 + strspn(rest + 2, "/");
    (void)snprintf(out, cap, "file://%s%s%s/store", here, here[0] != '\0' ? "/" : "", rest);
}

enum floe_err floe_config_set_urls(struct floe_config *c, const struct floe_config_values *vs,
                                   struct floe_error *err)
{
    const struct floe_config_setting *s;
    const struct floe_config_value *v = floe_config_value_of(vs, "store", &s);
    enum floe_err e;
    c->store_named = v->n > 0;
    if (c->store_named) {
        e = parse_url(&c->store, v->v[0], err);
    } else {
        char text[2 * FLOE_CONFIG_PATH_MAX + 32];
        default_store(text, sizeof text, c->data_dir);
        e = parse_url(&c->store, text, err);
    }
    if (e != FLOE_OK)
        goto out;
    v = floe_config_value_of(vs, "table", &s);
    c->table = c->store;
    if (v->n > 0)
        e = parse_url(&c->table, v->v[0], err);
    if (e != FLOE_OK)
        goto out;
    c->table_is_store = c->table.scheme == c->store.scheme && strcmp(c->table.path, c->store.path) == 0 &&
                        strcmp(c->table.bucket, c->store.bucket) == 0;
    v = floe_config_value_of(vs, "s3-endpoint", &s);
    if (v->n > 0 && v->v[0][0] != '\0')
        e = set_endpoint(c, v->v[0], err);
out:
    if (e != FLOE_OK)
        floe_config_blame(vs, s, err);
    return e;
}

/* Splits [NAME=]HOST:PORT. */
static enum floe_err named_addr(const char *text, char name[32], struct floe_str_addr *addr, bool listen,
                                struct floe_error *err)
{
    const char *eq = strchr(text, '=');
    size_t n = eq != NULL ? (size_t)(eq - text) : 0;
    if (eq != NULL && (n == 0 || n >= 32))
        return floe_error_set(err, FLOE_EINVAL, "\"%.64s\": a listener's name has 1 to 31 letters", text);
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '-' && text[i] != '_' && text[i] != '.')
            return floe_error_set(err, FLOE_EINVAL,
                                  "\"%.64s\": a listener's name has letters, digits, dots and dashes only",
                                  text);
    memcpy(name, text, n);
    name[n] = '\0';
    const char *addr_text = eq != NULL ? eq + 1 : text;
    return listen ? floe_str_parse_listen(addr_text, addr, err) : floe_str_parse_addr(addr_text, addr, err);
}

static struct floe_config_listener *find_listener(struct floe_config *c, const char *name)
{
    for (uint32_t i = 0; i < c->listener_count; i++)
        if (strcmp(c->listeners[i].name, name) == 0)
            return &c->listeners[i];
    return NULL;
}

static enum floe_err add_listener(struct floe_config *c, const char *text, struct floe_error *err)
{
    struct floe_config_listener l = {.advertised = false};
    enum floe_err e = named_addr(text, l.name, &l.listen, true, err);
    if (e != FLOE_OK)
        return e;
    if (find_listener(c, l.name) != NULL)
        return l.name[0] != '\0'
                   ? floe_error_set(err, FLOE_EINVAL, "two listeners are named \"%s\"", l.name)
                   : floe_error_set(err, FLOE_EINVAL,
                                    "\"%.64s\" is the second listener without a name: write NAME=HOST:PORT",
                                    text);
    if (c->listener_count == FLOE_CONFIG_LISTENERS_MAX)
        return floe_error_set(err, FLOE_EINVAL, "more than %d listeners", FLOE_CONFIG_LISTENERS_MAX);
    c->listeners[c->listener_count++] = l;
    return FLOE_OK;
}

static enum floe_err add_advertised(struct floe_config *c, const char *text, struct floe_error *err)
{
    char name[32];
    struct floe_str_addr addr;
    enum floe_err e = named_addr(text, name, &addr, false, err);
    if (e != FLOE_OK)
        return e;
    struct floe_config_listener *l = find_listener(c, name);
    /* One listener and one address need no names to belong together. */
    if (l == NULL && name[0] == '\0' && c->listener_count == 1)
        l = &c->listeners[0];
    if (l == NULL && name[0] == '\0')
        return floe_error_set(err, FLOE_EINVAL,
                              "\"%.64s\" does not say for which listener: write NAME=HOST:PORT", text);
    if (l == NULL)
        return floe_error_set(err, FLOE_EINVAL, "\"%.64s\": no listener is named \"%s\"", text, name);
    if (l->advertised)
        return floe_error_set(err, FLOE_EINVAL, "\"%.64s\" is the second address of its listener", text);
    if (floe_str_addr_is_wildcard(&addr))
        return floe_error_set(err, FLOE_EINVAL, "\"%.64s\" names no machine that a client could connect to",
                              text);
    l->advertise = addr;
    l->advertised = true;
    return FLOE_OK;
}

static enum floe_err check_wildcards(const struct floe_config *c, struct floe_error *err)
{
    char addr[FLOE_STR_ADDR];
    for (uint32_t i = 0; i < c->listener_count; i++) {
        const struct floe_config_listener *l = &c->listeners[i];
        if (l->advertised || !floe_str_addr_is_wildcard(&l->listen))
            continue;
        return floe_error_set(
            err, FLOE_EINVAL,
            "%s%s%s listens on every interface, so clients must be told a name: add --advertise %s%sHOST:%u",
            l->name, l->name[0] != '\0' ? "=" : "", floe_str_addr(addr, l->listen.host, l->listen.port),
            l->name, l->name[0] != '\0' ? "=" : "", l->listen.port != 0 ? l->listen.port : 9092);
    }
    return FLOE_OK;
}

/* Two of our own sockets cannot share an address; the system would blame another process. */
static enum floe_err check_shared(const struct floe_config *c, const struct floe_str_addr *a, uint32_t before,
                                  struct floe_error *err)
{
    char addr[FLOE_STR_ADDR];
    for (uint32_t i = 0; i < before; i++) {
        const struct floe_config_listener *l = &c->listeners[i];
        if (a->port != 0 && a->port == l->listen.port && strcmp(a->host, l->listen.host) == 0)
            return floe_error_set(err, FLOE_EINVAL,
                                  "%s is the address of %s%s already: give each a port of its own",
                                  floe_str_addr(addr, a->host, a->port),
                                  l->name[0] != '\0' ? "listener " : "the listener", l->name);
    }
    return FLOE_OK;
}

static enum floe_err choose_peer(struct floe_config *c, const struct floe_config_value *v,
                                 struct floe_error *err)
{
    const char *name = v->n > 0 && v->v[0][0] != '\0' ? v->v[0] : NULL;
    struct floe_config_listener *l = find_listener(c, name != NULL ? name : "peer");
    if (l == NULL && name != NULL)
        return floe_error_set(err, FLOE_EINVAL, "no listener is named \"%.64s\"", name);
    c->peer_listener = l != NULL ? (uint32_t)(l - c->listeners) : 0;
    return FLOE_OK;
}

enum floe_err floe_config_set_listeners(struct floe_config *c, const struct floe_config_values *vs,
                                        struct floe_error *err)
{
    const struct floe_config_setting *s;
    const struct floe_config_value *v = floe_config_value_of(vs, "listen", &s);
    enum floe_err e = v->n == 0 ? add_listener(c, "127.0.0.1:9092", err) : FLOE_OK;
    for (unsigned i = 0; i < v->n && e == FLOE_OK; i++)
        e = add_listener(c, v->v[i], err);
    for (uint32_t i = 0; i < c->listener_count && e == FLOE_OK; i++)
        e = check_shared(c, &c->listeners[i].listen, i, err);
    if (e != FLOE_OK)
        goto out;
    v = floe_config_value_of(vs, "advertise", &s);
    for (unsigned i = 0; i < v->n && e == FLOE_OK; i++)
        e = add_advertised(c, v->v[i], err);
    if (e != FLOE_OK)
        goto out;
    (void)floe_config_value_of(vs, "listen", &s);
    if ((e = check_wildcards(c, err)) != FLOE_OK)
        goto out;
    if ((e = choose_peer(c, floe_config_value_of(vs, "peer-listener", &s), err)) != FLOE_OK)
        goto out;
    v = floe_config_value_of(vs, "http", &s);
    c->has_http = v->n > 0 && v->v[0][0] != '\0';
    e = c->has_http ? floe_str_parse_listen(v->v[0], &c->http, err) : FLOE_OK;
    if (e == FLOE_OK && c->has_http)
        e = check_shared(c, &c->http, c->listener_count, err);
out:
    if (e != FLOE_OK)
        floe_config_blame(vs, s, err);
    return e;
}
