/* Where a run writes, and that nothing of it is left. */
#include "cli/selftest/selftest.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

void st_make_name(struct st *st)
{
    struct floe_rng rng;
    struct tm t;
    time_t now = time(NULL);
    uint8_t id[4];
    char hex[9], stamp[24];
    floe_rng_init_os(&rng);
    floe_rng_bytes(&rng, id, sizeof id);
    floe_hex(hex, id, sizeof id);
    (void)gmtime_r(&now, &t);
    (void)strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &t);
    (void)snprintf(st->name, sizeof st->name, "selftest-%s-%s", stamp, hex);
}

bool st_make_dir(struct st *st)
{
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(st->dir, sizeof st->dir, "%.200s/floe-selftest-XXXXXX",
                   tmp != NULL && tmp[0] == '/' ? tmp : "/tmp");
    if (mkdtemp(st->dir) != NULL)
        return true;
    st_fail(st, "cannot make the folder %s", st->dir);
    st->dir[0] = '\0';
    return false;
}

/* The URL of a client: what the user named, with our folder behind it. */
static struct floe_config_url below(const struct st *st, const struct floe_config_url *base)
{
    struct floe_config_url u = *base;
    size_t n = strlen(u.path);
    while (n > 1 && u.path[n - 1] == '/')
        u.path[--n] = '\0';
    (void)snprintf(u.path + n, sizeof u.path - n, "%s%s", n > 0 ? "/" : "", st->name);
    return u;
}

bool st_open(struct st *st)
{
    st->url[0] = st->cfg.store;
    st->url[1] = st->cfg.table;
    st->store_count = st->cfg.table_is_store ? 1 : 2;
    for (uint32_t i = 0; i < st->store_count; i++) {
        struct floe_error err;
        struct floe_config_url url = below(st, &st->url[i]);
        st->made_dir[i] = url.scheme == FLOE_CONFIG_FILE && access(st->url[i].path, F_OK) != 0;
        if (st_client_open(&st->client[i], NULL, &st->cfg, &url, &err) != FLOE_OK) {
            st_fail(st, "%s", err.msg);
            return false;
        }
    }
    return true;
}

/* One object written, read and listed: credentials, bucket, rights. */
bool st_reach(struct st *st, uint32_t store)
{
    static const enum floe_store_kind kinds[] = {FLOE_STORE_LIST, FLOE_STORE_PUT, FLOE_STORE_GET,
                                                 FLOE_STORE_DELETE};
    struct floe_bufslice body;
    for (size_t i = 0; i < FLOE_COUNTOF(kinds) && !st_stop; i++) {
        struct floe_store_req r = kinds[i] == FLOE_STORE_PUT
                                      ? st_put(&body, "reached", FLOE_PUT_CREATE, NULL, "reach")
                                      : st_req(kinds[i], "%s", "reach");
        r.attempts = 3;
        enum floe_err e = st_do(&st->client[store], &r);
        /* The second attempt of a PUT meets the first one's object; a GET that is stale is a later phase's.
         */
        if (e != FLOE_OK && e != FLOE_EEXISTS && e != FLOE_ENOTFOUND && e != FLOE_ECORRUPT)
            st_fail(st, "%s", r.err.msg);
        else if (e == FLOE_ENOTFOUND && kinds[i] != FLOE_STORE_GET)
            st_fail(st, "%s", r.err.msg);
        floe_store_req_fini(&r);
        if (st->failed.code != FLOE_OK)
            return false;
    }
    return !st_stop;
}

static bool remove_files(struct st *st, uint32_t i)
{
    struct floe_config_url url = below(st, &st->url[i]);
    bool gone = st_remove_tree(url.path);
    if (st->made_dir[i])
        (void)rmdir(st->url[i].path);
    if (!gone)
        (void)fprintf(stderr, "floe: selftest: %s could not be removed\n", url.path);
    return gone;
}

/* Everything below our folder, in each store; true when nothing is left. */
bool st_clean_up(struct st *st)
{
    bool all = true;
    for (uint32_t i = 0; i < st->store_count; i++) {
        struct st_client *c = &st->client[i];
        struct floe_error err;
        if (c->uv == NULL)
            continue;
        c->cleaning = true;
        st->figures.trouble += c->trouble;
        /* What a killed process had under way may land after the first pass. Other processes write only once
         * this one has. */
        bool s3 = st->url[i].scheme == FLOE_CONFIG_S3;
        for (int pass = 0; c->wrote && pass < (st->figures.kills > 0 && s3 ? 2 : 1); pass++) {
            if (pass > 0)
                st_sleep_ms(1000);
            if (st_delete_below(c, "", &st->figures.deleted, &err) != FLOE_OK) {
                (void)fprintf(stderr, "floe: selftest: not everything could be deleted: %s\n", err.msg);
                all = false;
            }
        }
        st->wrote |= c->wrote;
        st_client_close(c);
        all = (s3 || remove_files(st, i)) && all;
    }
    if (st->dir[0] != '\0' && st->keep_dir)
        (void)fprintf(stderr, "selftest: the logs of its processes are in %s\n", st->dir);
    else if (st->dir[0] != '\0')
        (void)st_remove_tree(st->dir);
    return all;
}

/* ---- leftovers ---- */

/* "selftest-YYYYMMDDTHHMMSSZ-<8 hex>" and nothing else. */
static bool is_ours(const char *name, size_t n)
{
    static const char shape[] = "selftest-ddddddddTddddddZ-hhhhhhhh";
    if (n != sizeof shape - 1)
        return false;
    for (size_t i = 0; i < n; i++) {
        bool digit = name[i] >= '0' && name[i] <= '9', hex = digit || (name[i] >= 'a' && name[i] <= 'f');
        if (i < 9 || shape[i] == 'T' || shape[i] == 'Z' || shape[i] == '-' ? name[i] != shape[i]
            : shape[i] == 'd'                                              ? !digit
                                                                           : !hex)
            return false;
    }
    return true;
}

/* Of a bucket. */
static int leftover_objects(struct st *st, const struct floe_config_url *url, bool remove,
                            struct floe_error *err)
{
    struct st_client c;
    char after[FLOE_STORE_KEY_MAX] = "";
    int found = 0;
    if (st_client_open(&c, NULL, &st->cfg, url, err) != FLOE_OK)
        return -1;
    while (!st_stop && found >= 0) {
        struct floe_store_req r = st_req(FLOE_STORE_LIST, "selftest-");
        char name[FLOE_STORE_KEY_MAX] = "";
        uint64_t deleted = 0;
        r.max_keys = 1;
        memcpy(r.start_after, after, sizeof after);
        if (st_do(&c, &r) != FLOE_OK) {
            *err = r.err;
            found = -1;
        } else if (r.entry_count > 0) {
            (void)snprintf(name, sizeof name, "%s", r.entries[0].key);
        }
        floe_store_req_fini(&r);
        if (name[0] == '\0')
            break;
        size_t n = strcspn(name, "/");
        bool ours = name[n] == '/' && is_ours(name, n);
        (void)snprintf(after, sizeof after, "%.*s%s", (int)n, name,
                       name[n] == '/' ? "0" : ""); /* behind the folder */
        name[n + (name[n] == '/')] = '\0';
        found += ours;
        if (ours && remove && st_delete_below(&c, name, &deleted, err) != FLOE_OK)
            found = -1;
        else if (ours && remove)
            printf("removed %s (%llu objects)\n", name, (unsigned long long)deleted);
    }
    st_client_close(&c);
    return found;
}

/* Of a directory. */
static int leftover_folders(const char *dir, bool remove, struct floe_error *err)
{
    char path[FLOE_CONFIG_PATH_MAX + 64];
    int found = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d != NULL && found >= 0 && (e = readdir(d)) != NULL;) {
        if (!is_ours(e->d_name, strlen(e->d_name)))
            continue;
        found++;
        (void)snprintf(path, sizeof path, "%s/%.40s", dir, e->d_name);
        if (remove && st_remove_tree(path)) {
            printf("removed %s\n", path);
        } else if (remove) {
            (void)floe_error_set(err, FLOE_EIO, "%s could not be removed", path);
            found = -1;
        }
    }
    if (d != NULL)
        (void)closedir(d);
    return found;
}

int st_leftovers(struct st *st, bool remove, struct floe_error *err)
{
    const struct floe_config_url *urls[] = {&st->cfg.store, &st->cfg.table};
    int found = 0;
    for (int i = 0; i < (st->cfg.table_is_store ? 1 : 2) && found >= 0; i++) {
        int n = urls[i]->scheme == FLOE_CONFIG_S3 ? leftover_objects(st, urls[i], remove, err)
                                                  : leftover_folders(urls[i]->path, remove, err);
        found = n < 0 ? n : found + n;
    }
    return found;
}
