/* What is read and listed right after it was written, replaced or deleted. */
#include "cli/selftest/selftest.h"

#include <floe/base/assert.h>

#include <stdio.h>
#include <stdlib.h>

#define KEYS_MAX 1100 /* more than a page of any store */
#define KEYS_MIN 150
#define BATCH 50

struct listing {
    struct st *st;
    struct st_client *c;
    uint64_t next_id;
    uint32_t round;
};

/* Does the key hold this write (0: nothing)? False when the store said otherwise. */
static bool reads_as(struct listing *l, const char *key, uint64_t id, enum floe_store_kind how)
{
    struct floe_store_req r = st_req(how, "%s", key);
    uint64_t got = 0;
    enum floe_err e = st_do(l->c, &r);
    bool right = e == FLOE_OK ? st_id_of(r.got_nonce, &got) && got == id : e != FLOE_ENOTFOUND || id == 0;
    if (e != FLOE_ENOTFOUND)
        st_refused(l->st, ST_READ, &r);
    floe_store_req_fini(&r);
    return right;
}

static void check_read(struct listing *l, const char *key, uint64_t id, const char *after)
{
    bool get = reads_as(l, key, id, FLOE_STORE_GET), head = reads_as(l, key, id, FLOE_STORE_HEAD);
    if (get && head)
        st_kept(l->st, ST_READ);
    else
        st_broke(l->st, ST_READ, "a %s right after %s showed what was before it", get ? "HEAD" : "GET",
                 after);
}

/* Is the key listed? -1: the store did not say. */
static int listed(struct listing *l, const char *folder, const char *key)
{
    struct floe_store_req r = st_req(FLOE_STORE_LIST, "%s", folder);
    int found = st_do(l->c, &r) == FLOE_OK ? 0 : -1;
    st_refused(l->st, ST_LIST, &r);
    for (uint32_t i = 0; i < r.entry_count; i++)
        found = found == 0 && strcmp(r.entries[i].key, key) == 0 ? 1 : found;
    floe_store_req_fini(&r);
    return found;
}

static void check_listed(struct listing *l, const char *folder, const char *key, int want, const char *after)
{
    int found = listed(l, folder, key);
    if (found >= 0 && found != want)
        st_broke(l->st, ST_LIST, "a LIST right after %s %s the object", after,
                 found ? "still shows" : "does not show");
    else if (found >= 0)
        st_kept(l->st, ST_LIST);
}

/* Absent, created, replaced, deleted: read and listed after each. */
static void one_key(struct listing *l)
{
    char folder[32], key[64], text[2][ST_ID_MAX];
    struct floe_bufslice body[2];
    uint64_t first = l->next_id++, second = l->next_id++;
    st_id_text(text[0], first);
    st_id_text(text[1], second);
    (void)snprintf(folder, sizeof folder, "fresh/%04u/", l->round / 50);
    (void)snprintf(key, sizeof key, "%s%08u", folder, l->round++);
    check_read(l, key, 0, "nothing");
    check_listed(l, folder, key, 0, "nothing");
    struct floe_store_req put = st_put(&body[0], text[0], FLOE_PUT_CREATE, NULL, key);
    if (st_do(l->c, &put) != FLOE_OK) {
        st_refused(l->st, ST_CREATE, &put);
        return;
    }
    check_read(l, key, first, "a PUT");
    check_listed(l, folder, key, 1, "a PUT");
    struct floe_store_req again = st_put(&body[1], text[1], FLOE_PUT_REPLACE, put.version, key);
    if (st_do(l->c, &again) == FLOE_OK)
        check_read(l, key, second, "a PUT that replaced it");
    if (l->round % 2)
        return;
    struct floe_store_req del = st_req(FLOE_STORE_DELETE, "%s", key);
    del.attempts = 1;
    if (st_do(l->c, &del) != FLOE_OK)
        return;
    check_read(l, key, 0, "a DELETE");
    check_listed(l, folder, key, 0, "a DELETE");
}

/* ---- many keys ---- */

/* Names whose byte order is not that of a dictionary, nor that in which they are written. */
static void name_of(char out[64], uint32_t i)
{
    static const char first[] = "-.09=AZ_az";
    (void)snprintf(out, 64, "many/keys/%c%c%05u", first[i % 10], first[(i / 10) % 10], i * 7919 % 100000);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Neighbours of the folder that a careless prefix search would give. */
static const char *const neighbours[] = {"many/keys-", "many/keyz", "many/key", "many/keys.0"};

static bool write_many(struct listing *l, char (*name)[64], uint32_t n, uint64_t until, uint32_t *written)
{
    static struct floe_store_req put[BATCH];
    struct floe_bufslice body[BATCH];
    char text[ST_ID_MAX];
    st_id_text(text, l->next_id++);
    for (uint32_t at = 0; at < n; at += BATCH) {
        uint32_t k = FLOE_MIN(n - at, (uint32_t)BATCH);
        for (uint32_t i = 0; i < k; i++) {
            put[i] = st_put(&body[i], text, FLOE_PUT_ANY, NULL, name[at + i]);
            put[i].attempts = 4;
        }
        st_ask(l->c, put, k);
        for (uint32_t i = 0; i < k; i++)
            if (put[i].err.code != FLOE_OK)
                return false;
        *written = at + k;
        st_progress(l->st, "%u of %u keys", at + k, n);
        if (st_stop || (st_now_us() > until && *written >= KEYS_MIN))
            break;
    }
    return !st_stop;
}

/* Pages through the folder; false once a promise is broken or the store did not answer. */
static bool page_through(struct listing *l, const char *const *want, uint32_t n, uint32_t page,
                         const char *after)
{
    uint32_t at = 0;
    while (at < n && strcmp(want[at], after) <= 0)
        at++;
    char from[FLOE_STORE_KEY_MAX];
    (void)snprintf(from, sizeof from, "%s", after);
    for (bool more = true; more;) {
        struct floe_store_req r = st_req(FLOE_STORE_LIST, "many/keys/");
        r.max_keys = page;
        memcpy(r.start_after, from, sizeof from);
        bool ok = st_do(l->c, &r) == FLOE_OK;
        st_refused(l->st, ST_LIST, &r);
        for (uint32_t i = 0; ok && i < r.entry_count; i++, at++) {
            if (at < n && strcmp(r.entries[i].key, want[at]) == 0)
                continue;
            bool foreign = at == n || strcmp(r.entries[i].key, want[at]) < 0;
            st_broke(l->st, ST_LIST, "a LIST of %u keys %s (\"%s\")", n,
                     foreign ? "shows one that does not belong there, or twice, or out of order"
                             : "leaves one out",
                     foreign ? r.entries[i].key : want[at]);
            ok = false;
        }
        more = ok && r.truncated && r.entry_count > 0;
        if (more)
            (void)snprintf(from, sizeof from, "%s", r.entries[r.entry_count - 1].key);
        if (ok && !more && at < n)
            st_broke(l->st, ST_LIST, "a LIST of %u keys ends before \"%s\"", n, want[at]);
        floe_store_req_fini(&r);
        if (!ok)
            return false;
    }
    st_kept(l->st, ST_LIST);
    return at == n;
}

static void delete_many(struct listing *l, const char *const *name, uint32_t n)
{
    static const char *keys[FLOE_STORE_LIST_MAX];
    uint32_t k = FLOE_MIN(n, (uint32_t)FLOE_STORE_LIST_MAX);
    for (uint32_t i = 0; i < k; i++)
        keys[i] = name[i];
    struct floe_store_req del = st_req(FLOE_STORE_DELETE, "%s", keys[0]);
    del.keys = keys;
    del.key_count = k;
    if (st_do(l->c, &del) != FLOE_OK)
        return;
    (void)page_through(l, name + k, n - k, FLOE_STORE_LIST_MAX, "");
}

static void many_keys(struct listing *l, uint64_t until)
{
    char(*name)[64] = calloc(KEYS_MAX, sizeof *name);
    const char **order = calloc(KEYS_MAX, sizeof *order);
    uint32_t n = 0, other = 0;
    FLOE_ASSERT(name != NULL && order != NULL);
    for (uint32_t i = 0; i < KEYS_MAX; i++)
        name_of(name[i], i);
    char beside[FLOE_COUNTOF(neighbours)][64];
    for (size_t i = 0; i < FLOE_COUNTOF(neighbours); i++)
        (void)snprintf(beside[i], sizeof beside[i], "%s", neighbours[i]);
    if (!write_many(l, beside, FLOE_COUNTOF(neighbours), until, &other) ||
        !write_many(l, name, KEYS_MAX, until, &n))
        goto out;
    for (uint32_t i = 0; i < n; i++)
        order[i] = name[i];
    qsort(order, n, sizeof *order, by_name);
    l->st->figures.listed_keys += n;
    const uint32_t pages[] = {FLOE_STORE_LIST_MAX, 137};
    for (size_t i = 0; i < FLOE_COUNTOF(pages) && !st_broken(l->st) && !st_stop; i++)
        (void)page_through(l, order, n, pages[i], "");
    if (!st_broken(l->st))
        (void)page_through(l, order, n, 500, order[n / 2]);
    if (!st_broken(l->st))
        (void)page_through(l, order, n, 500, "many/keys/A~"); /* a key that is not there */
    if (!st_broken(l->st) && !st_stop)
        delete_many(l, order, n);
out:
    free(order);
    free(name);
}

void st_listing(struct st *st, uint32_t store, uint64_t us)
{
    struct listing l = {.st = st, .c = &st->client[store], .next_id = UINT64_C(3) << 32};
    uint64_t now = st_now_us(), until = now + us;
    for (uint32_t i = 0; i < 4 || (st_now_us() < now + us / 3 && i < 2000); i++) {
        if (!st_goes_on(st, UINT64_MAX))
            return;
        one_key(&l);
        st_progress(st, "%u keys read and listed", l.round);
    }
    many_keys(&l, until);
}
