/* The cases of the store suite. */
#include "store_suite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define VERSION FLOE_STORE_VERSION_MAX

static void create_twice(struct store_rig *rig)
{
    assert_int_equal(store_rig_put(rig, FLOE_PUT_CREATE, "c/one", "first", NULL, NULL), FLOE_OK);
    assert_int_equal(store_rig_put(rig, FLOE_PUT_CREATE, "c/one", "second", NULL, NULL), FLOE_EEXISTS);
    assert_int_equal(store_rig_put(rig, FLOE_PUT_CREATE, "c/one", "first", NULL, NULL), FLOE_EEXISTS);
    store_rig_expect(rig, "c/one", "first");
}

static void replace_by_version(struct store_rig *rig)
{
    char v1[VERSION], v2[VERSION], v3[VERSION];
    assert_int_equal(store_rig_put(rig, FLOE_PUT_CREATE, "r/x", "one", NULL, v1), FLOE_OK);
    assert_int_equal(store_rig_put(rig, FLOE_PUT_REPLACE, "r/x", "two", v1, v2), FLOE_OK);
    assert_string_not_equal(v1, v2);
    assert_int_equal(store_rig_put(rig, FLOE_PUT_REPLACE, "r/x", "three", v1, NULL), FLOE_ECONFLICT);
    store_rig_expect(rig, "r/x", "two");
    assert_int_equal(store_rig_put(rig, FLOE_PUT_ANY, "r/x", "four", NULL, v3), FLOE_OK);
    assert_int_equal(store_rig_put(rig, FLOE_PUT_REPLACE, "r/x", "five", v2, NULL), FLOE_ECONFLICT);
    assert_int_equal(store_rig_put(rig, FLOE_PUT_REPLACE, "r/x", "five", v3, NULL), FLOE_OK);
    store_rig_expect(rig, "r/x", "five");
    assert_int_equal(store_rig_put(rig, FLOE_PUT_REPLACE, "r/none", "x", v3, NULL), FLOE_ECONFLICT);
    struct floe_store_req r = store_rig_req(rig, FLOE_STORE_HEAD, "r/none");
    assert_int_equal(store_rig_do(rig, &r), FLOE_ENOTFOUND);
    floe_store_req_fini(&r);
}

static void nonce_and_head(struct store_rig *rig)
{
    struct floe_store_req put = store_rig_req(rig, FLOE_STORE_PUT, "n/x");
    struct floe_bufslice body[3] = {
        {.p = (const uint8_t *)"ab", .n = 2}, {.p = NULL, .n = 0}, {.p = (const uint8_t *)"cde", .n = 3}};
    put.body = body;
    put.body_count = 3;
    memset(put.nonce, 'a', sizeof put.nonce - 1);
    assert_int_equal(store_rig_do(rig, &put), FLOE_OK);
    assert_int_equal(put.sent, 1);

    struct floe_store_req head = store_rig_req(rig, FLOE_STORE_HEAD, "n/x");
    assert_int_equal(store_rig_do(rig, &head), FLOE_OK);
    assert_string_equal(head.got_nonce, put.nonce);
    assert_string_equal(head.version, put.version);
    assert_int_equal(head.size, 5);
    struct floe_store_req get = store_rig_req(rig, FLOE_STORE_GET, "n/x");
    assert_int_equal(store_rig_do(rig, &get), FLOE_OK);
    assert_string_equal(get.got_nonce, put.nonce);
    assert_string_equal(get.version, put.version);
    assert_int_equal(get.size, 5);
    assert_memory_equal(get.data->data, "abcde", 5);
    assert_int_equal(store_rig_put(rig, FLOE_PUT_ANY, "n/x", "zz", NULL, NULL), FLOE_OK);
    assert_int_equal(store_rig_do(rig, &head), FLOE_OK);
    assert_string_equal(head.got_nonce, "");
    floe_store_req_fini(&put);
    floe_store_req_fini(&head);
    floe_store_req_fini(&get);
}

static void ranges(struct store_rig *rig)
{
    static const struct {
        int64_t offset;
        uint64_t length;
        const char *want;
    } cases[] = {{0, 4, "0123"},
                 {3, 4, "3456"},
                 {8, 4, "89"},
                 {0, 10, "0123456789"},
                 {-3, 3, "789"},
                 {-3, 9, "789"},
                 {-10, 10, "0123456789"},
                 {-20, 20, "0123456789"},
                 {10, 4, ""},
                 {99, 4, ""},
                 {9, 1, "9"}};
    assert_int_equal(store_rig_put(rig, FLOE_PUT_ANY, "g/x", "0123456789", NULL, NULL), FLOE_OK);
    for (size_t i = 0; i < FLOE_COUNTOF(cases); i++) {
        struct floe_store_req r = store_rig_req(rig, FLOE_STORE_GET, "g/x");
        r.offset = cases[i].offset;
        r.length = cases[i].length;
        if (store_rig_do(rig, &r) != FLOE_OK)
            fail_msg("range %zu: %s", i, r.err.msg);
        assert_int_equal(r.data->n, strlen(cases[i].want));
        assert_memory_equal(r.data->data, cases[i].want, r.data->n);
        if (r.data->n > 0 || r.size != 0)
            assert_int_equal(r.size, 10);
        floe_store_req_fini(&r);
    }
}

static void absent_and_empty(struct store_rig *rig)
{
    struct floe_store_req get = store_rig_req(rig, FLOE_STORE_GET, "a/none");
    struct floe_store_req del = store_rig_req(rig, FLOE_STORE_DELETE, "a/none");
    assert_int_equal(store_rig_do(rig, &get), FLOE_ENOTFOUND);
    assert_non_null(strstr(get.err.msg, "a/none"));
    assert_null(get.data);
    floe_store_req_fini(&get);
    assert_int_equal(store_rig_do(rig, &del), FLOE_OK);
    assert_int_equal(store_rig_put(rig, FLOE_PUT_CREATE, "a/empty", "", NULL, NULL), FLOE_OK);
    store_rig_expect(rig, "a/empty", "");
    del = store_rig_req(rig, FLOE_STORE_DELETE, "a/empty");
    assert_int_equal(store_rig_do(rig, &del), FLOE_OK);
    get = store_rig_req(rig, FLOE_STORE_GET, "a/empty");
    assert_int_equal(store_rig_do(rig, &get), FLOE_ENOTFOUND);
    assert_int_equal(store_rig_put(rig, FLOE_PUT_CREATE, "a/empty", "again", NULL, NULL), FLOE_OK);
    floe_store_req_fini(&get);
    floe_store_req_fini(&del);
}

static void bad_requests(struct store_rig *rig)
{
    static const char *const keys[] = {"/abs", "a//b", "dir/", ""};
    for (size_t i = 0; i < FLOE_COUNTOF(keys); i++) {
        struct floe_store_req r = store_rig_req(rig, FLOE_STORE_GET, "");
        snprintf(r.key, sizeof r.key, "%s", keys[i]);
        assert_int_equal(store_rig_do(rig, &r), FLOE_EINVAL);
        assert_int_equal(r.sent, 0);
    }
    struct floe_store_req r = store_rig_req(rig, FLOE_STORE_GET, "x");
    r.length = 0;
    assert_int_equal(store_rig_do(rig, &r), FLOE_ETOOLARGE);
    r.length = (uint64_t)FLOE_STORE_OBJECT_MAX + 1;
    assert_int_equal(store_rig_do(rig, &r), FLOE_ETOOLARGE);
    r.length = 4;
    r.offset = -5;
    assert_int_equal(store_rig_do(rig, &r), FLOE_EINVAL);
    r = store_rig_req(rig, FLOE_STORE_LIST, "x");
    r.max_keys = 1001;
    assert_int_equal(store_rig_do(rig, &r), FLOE_EINVAL);
    assert_int_equal(store_rig_put(rig, FLOE_PUT_REPLACE, "x", "y", NULL, NULL), FLOE_EINVAL);
    r = store_rig_req(rig, FLOE_STORE_PUT, "x");
    memcpy(r.nonce, "a\nb", 4);
    assert_int_equal(store_rig_do(rig, &r), FLOE_EINVAL);
}

/* Keys whose order by bytes is not the order of their folders, and names that a file system would trip over.
 */
static const char *const tricky[] = {"l/%41",   "l/.",           "l/..",        "l/.hidden",
                                     "l/a",     "l/a b&c=d?e#f", "l/a+b",       "l/a-b",
                                     "l/a.obj", "l/a.obj/x",     "l/a/../../b", "l/a/b",
                                     "l/a/b/c", "l/a0",          "l/b\"'<&>",   "l/\xc3\xbc/\xe4\xb8\xad",
                                     "l/\xff"};

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void list_tricky_keys(struct store_rig *rig)
{
    /* A store may refuse names that are not UTF-8 (S3 does), or with dots for components (MinIO). */
    const char *kept[FLOE_COUNTOF(tricky)];
    uint32_t n = 0;
    for (size_t i = 0; i < FLOE_COUNTOF(tricky); i++) {
        bool nested = strncmp(tricky[i], "l/a/", 4) == 0 || strncmp(tricky[i], "l/a.obj/", 8) == 0;
        if (rig->no_nesting && nested)
            continue;
        if (store_rig_put(rig, FLOE_PUT_ANY, tricky[i], tricky[i], NULL, NULL) != FLOE_OK)
            continue;
        store_rig_expect(rig, tricky[i], tricky[i]);
        kept[n++] = tricky[i];
    }
    assert_true(n >= 9);
    qsort(kept, n, sizeof *kept, by_text);
    for (uint32_t page = 1; page <= n + 1; page += page < 4 ? 1 : 5) {
        struct floe_store_req r = store_rig_req(rig, FLOE_STORE_LIST, "l/");
        uint32_t at = 0;
        r.max_keys = page;
        do {
            if (store_rig_do(rig, &r) != FLOE_OK)
                fail_msg("LIST: %s", r.err.msg);
            assert_true(r.entry_count <= page);
            for (uint32_t i = 0; i < r.entry_count; i++, at++) {
                assert_true(at < n);
                assert_string_equal(r.entries[i].key + strlen(rig->ns) + 1, kept[at]);
                assert_int_equal(r.entries[i].size, strlen(kept[at]));
            }
            assert_int_equal(r.truncated, at < n);
            if (r.entry_count)
                snprintf(r.start_after, sizeof r.start_after, "%s", r.entries[r.entry_count - 1].key);
            bool more = r.truncated;
            floe_store_req_fini(&r);
            if (!more)
                break;
        } while (true);
        assert_int_equal(at, n);
    }
}

static void list_prefixes(struct store_rig *rig)
{
    char version[VERSION];
    static const char *const keys[] = {"p/aa/1", "p/aa/2", "p/ab/1", "p/ab/2", "p/b"};
    static const struct {
        const char *prefix, *after;
        uint32_t from, n;
    } cases[] = {{"p/", "", 0, 5},          {"p/a", "", 0, 4},      {"p/aa", "", 0, 2},
                 {"p/aa/", "p/aa/1", 1, 1}, {"p/", "p/aa/2", 2, 3}, {"p/", "p/aa0", 2, 3},
                 {"p/", "p/b", 0, 0},       {"p/ab/2", "", 3, 1},   {"p/zz/", "", 0, 0},
                 {"p/b", "p/a", 4, 1},      {"p/b/", "", 0, 0},     {"p/a", "o", 0, 4}};
    for (size_t i = 0; i < FLOE_COUNTOF(keys); i++)
        assert_int_equal(store_rig_put(rig, FLOE_PUT_ANY, keys[i], "x", NULL, version), FLOE_OK);
    for (size_t c = 0; c < FLOE_COUNTOF(cases); c++) {
        struct floe_store_req r = store_rig_req(rig, FLOE_STORE_LIST, cases[c].prefix);
        if (cases[c].after[0])
            snprintf(r.start_after, sizeof r.start_after, "%s/%s", rig->ns, cases[c].after);
        assert_int_equal(store_rig_do(rig, &r), FLOE_OK);
        assert_int_equal(r.entry_count, cases[c].n);
        assert_false(r.truncated);
        for (uint32_t i = 0; i < r.entry_count; i++)
            assert_string_equal(r.entries[i].key + strlen(rig->ns) + 1, keys[cases[c].from + i]);
        if (cases[c].n > 0 && cases[c].from + cases[c].n == 5)
            assert_string_equal(r.entries[r.entry_count - 1].version, version);
        floe_store_req_fini(&r);
    }
}

#define MANY 300
static void many_in_parallel(struct store_rig *rig)
{
    static struct floe_store_req r[MANY];
    static char names[MANY][32];
    struct floe_bufslice body = {.p = (const uint8_t *)"x", .n = 1};
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "m/%05u", i);
        r[i] = store_rig_req(rig, FLOE_STORE_PUT, names[i]);
        r[i].cond = FLOE_PUT_CREATE;
        r[i].cls = i % 7 == 0 ? FLOE_STORE_CONTROL : FLOE_STORE_DATA;
        r[i].body = &body;
        r[i].body_count = 1;
    }
    store_rig_do_all(rig, r, MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        if (r[i].err.code != FLOE_OK)
            fail_msg("PUT %u: %s", i, r[i].err.msg);
        floe_store_req_fini(&r[i]);
    }
    struct floe_store_req list = store_rig_req(rig, FLOE_STORE_LIST, "m/");
    uint32_t seen = 0;
    list.max_keys = 128;
    do {
        assert_int_equal(store_rig_do(rig, &list), FLOE_OK);
        for (uint32_t i = 0; i < list.entry_count; i++)
            assert_string_equal(list.entries[i].key + strlen(rig->ns) + 1, names[seen++]);
        snprintf(list.start_after, sizeof list.start_after, "%s", list.entries[list.entry_count - 1].key);
    } while (list.truncated);
    assert_int_equal(seen, MANY);
    floe_store_req_fini(&list);
}

static void race(struct store_rig *rig, enum floe_store_cond cond, const char *key, const char *version)
{
    struct floe_store_req r[8];
    struct floe_bufslice body[8];
    char text[8][16];
    int won = -1;
    for (int i = 0; i < 8; i++) {
        snprintf(text[i], sizeof text[i], "racer %d", i);
        body[i] = (struct floe_bufslice){.p = (const uint8_t *)text[i], .n = strlen(text[i])};
        r[i] = store_rig_req(rig, FLOE_STORE_PUT, key);
        r[i].cond = cond;
        r[i].body = &body[i];
        r[i].body_count = 1;
        if (version)
            snprintf(r[i].if_version, sizeof r[i].if_version, "%s", version);
    }
    store_rig_do_all(rig, r, 8);
    for (int i = 0; i < 8; i++) {
        if (r[i].err.code == FLOE_OK) {
            assert_int_equal(won, -1);
            won = i;
        } else if (r[i].err.code != FLOE_EINDETERMINATE) {
            assert_int_equal(r[i].err.code, cond == FLOE_PUT_CREATE ? FLOE_EEXISTS : FLOE_ECONFLICT);
        }
    }
    assert_true(won >= 0);
    store_rig_expect(rig, key, text[won]);
}

static void races(struct store_rig *rig)
{
    for (int round = 0; round < 10; round++) {
        char key[32], version[VERSION];
        snprintf(key, sizeof key, "race/%d", round);
        race(rig, FLOE_PUT_CREATE, key, NULL);
        assert_int_equal(store_rig_put(rig, FLOE_PUT_ANY, key, "base", NULL, version), FLOE_OK);
        race(rig, FLOE_PUT_REPLACE, key, version);
    }
}

static void batch_delete(struct store_rig *rig)
{
    static char names[50][FLOE_STORE_KEY_MAX];
    const char *keys[51];
    for (int i = 0; i < 50; i++) {
        char name[32];
        snprintf(name, sizeof name, "d/<%02d>&", i);
        snprintf(names[i], sizeof names[i], "%s/%s", rig->ns, name);
        keys[i] = names[i];
        assert_int_equal(store_rig_put(rig, FLOE_PUT_CREATE, name, "x", NULL, NULL), FLOE_OK);
    }
    char absent[128];
    snprintf(absent, sizeof absent, "%s/d/absent", rig->ns);
    keys[50] = absent;
    struct floe_store_req r = store_rig_req(rig, FLOE_STORE_DELETE, "unused");
    r.keys = keys + 1;
    r.key_count = 50;
    if (store_rig_do(rig, &r) != FLOE_OK)
        fail_msg("batch delete: %s", r.err.msg);
    r = store_rig_req(rig, FLOE_STORE_LIST, "d/");
    assert_int_equal(store_rig_do(rig, &r), FLOE_OK);
    assert_int_equal(r.entry_count, 1);
    assert_string_equal(r.entries[0].key, names[0]);
    floe_store_req_fini(&r);
    r = store_rig_req(rig, FLOE_STORE_DELETE, "unused");
    keys[1] = "bad//key";
    r.keys = keys;
    r.key_count = 2;
    assert_int_equal(store_rig_do(rig, &r), FLOE_EINVAL);
    store_rig_expect(rig, "d/<00>&", "x");
}

/* A cancelled request is never answered, whatever its bytes' owner does meanwhile. */
static void cancel(struct store_rig *rig)
{
    enum { N = 40 };
    static struct floe_store_req r[N];
    for (int i = 0; i < N; i++) {
        char key[32];
        snprintf(key, sizeof key, "x/%02d", i);
        r[i] = store_rig_req(rig, i % 3 == 2 ? FLOE_STORE_GET : FLOE_STORE_PUT, key);
        struct floe_buf *buf = floe_buf_create(200000, NULL);
        assert_non_null(buf);
        memset(buf->data, i, 200000);
        buf->n = 200000;
        struct floe_bufslice body[2] = {{.buf = buf, .p = buf->data, .n = buf->n},
                                        {.p = (const uint8_t *)key, .n = 4}};
        r[i].body = body;
        r[i].body_count = 2;
        rig->pending++;
        floe_store_submit(rig->store, &r[i]);
        floe_buf_unref(buf);
        memset(key, 'Z', sizeof key);
        if (i == N / 2)
            store_rig_run_us(rig, 3000);
    }
    for (int i = 0; i < N; i++) {
        if (r[i].driver)
            floe_store_cancel(rig->store, &r[i]);
        floe_store_req_fini(&r[i]);
        memset(&r[i], 0x5a, sizeof r[i]);
    }
    rig->pending = 0;
    store_rig_run_us(rig, 50000);
    /* A PUT of ANY that got through is whole. */
    for (int i = 0; i < N; i++) {
        char key[32];
        snprintf(key, sizeof key, "x/%02d", i);
        struct floe_store_req get = store_rig_req(rig, FLOE_STORE_GET, key);
        if (store_rig_do(rig, &get) == FLOE_OK) {
            assert_int_equal(get.data->n, 200004);
            assert_int_equal(get.data->data[199999], i);
            assert_memory_equal(get.data->data + 200000, key, 4);
        } else {
            assert_int_equal(get.err.code, FLOE_ENOTFOUND);
        }
        floe_store_req_fini(&get);
    }
}

static void large_object(struct store_rig *rig)
{
    size_t n = rig->small ? 1 << 20 : 16 << 20;
    struct floe_buf *buf = floe_buf_create(n, NULL);
    assert_non_null(buf);
    struct floe_rng rng;
    floe_rng_init(&rng, 7);
    floe_rng_bytes(&rng, buf->data, n);
    buf->n = n;
    struct floe_bufslice body[3] = {
        {buf, buf->data, 1}, {buf, buf->data + 1, n / 2}, {buf, buf->data + 1 + n / 2, n - 1 - n / 2}};
    struct floe_store_req put = store_rig_req(rig, FLOE_STORE_PUT, "big");
    put.cond = FLOE_PUT_CREATE;
    put.body = body;
    put.body_count = 3;
    if (store_rig_do(rig, &put) != FLOE_OK)
        fail_msg("PUT: %s", put.err.msg);
    /* Plain, then as the broker reads, twice: the second time on the connections of the first. */
    for (int round = 0; round < 3; round++) {
        struct floe_store_req get[6];
        for (int i = 0; i < 6; i++) {
            get[i] = store_rig_req(rig, FLOE_STORE_GET, "big");
            get[i].offset = i < 4 ? (int64_t)(n / 4) * i : i == 4 ? 0 : (int64_t)(n / 2);
            get[i].length = i < 4 ? n / 4 : n; /* the last one's range passes the end */
            get[i].attempts = round ? 3 : 1;
            get[i].try_us = round ? 10000000 : 0;
        }
        store_rig_do_all(rig, get, 6);
        for (int i = 0; i < 6; i++) {
            if (get[i].err.code != FLOE_OK)
                fail_msg("GET: %s", get[i].err.msg);
            assert_int_equal(get[i].data->n, i == 5 ? n / 2 : get[i].length);
            assert_memory_equal(get[i].data->data, buf->data + get[i].offset, get[i].data->n);
            assert_int_equal(get[i].size, n);
            floe_store_req_fini(&get[i]);
        }
    }
    floe_store_req_fini(&put);
    floe_buf_unref(buf);
}

const struct store_case store_suite[] = {
    {"create_twice", create_twice},         {"replace_by_version", replace_by_version},
    {"nonce_and_head", nonce_and_head},     {"ranges", ranges},
    {"absent_and_empty", absent_and_empty}, {"bad_requests", bad_requests},
    {"list_tricky_keys", list_tricky_keys}, {"list_prefixes", list_prefixes},
    {"many_in_parallel", many_in_parallel}, {"races", races},
    {"batch_delete", batch_delete},         {"cancel", cancel},
    {"large_object", large_object},
};
const uint32_t store_suite_count = FLOE_COUNTOF(store_suite);
