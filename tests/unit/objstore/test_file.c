/* ctest labels: threads
 * The `file` store: the suite, and what only it has (trailers, damage, several stores on one directory). */
#include "store_suite.h"

#include <floe/objstore/file.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[64];

/* What the store calls: fsync of a folder, which may fail or take its time. */
static pthread_mutex_t folder_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t folder_changed = PTHREAD_COND_INITIALIZER;
static int folder_syncs;
static bool folder_fails, folder_hangs;

static bool folder_synced(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISDIR(st.st_mode))
        return true;
    pthread_mutex_lock(&folder_lock);
    folder_syncs++;
    pthread_cond_broadcast(&folder_changed);
    while (folder_hangs)
        pthread_cond_wait(&folder_changed, &folder_lock);
    bool fails = folder_fails;
    pthread_mutex_unlock(&folder_lock);
    return !fails;
}

int fsync(int fd)
{
    if (folder_synced(fd))
        return (int)syscall(SYS_fsync, fd);
    errno = EIO;
    return -1;
}

static void folder(bool fails, bool hangs)
{
    pthread_mutex_lock(&folder_lock);
    folder_fails = fails;
    folder_hangs = hangs;
    pthread_cond_broadcast(&folder_changed);
    pthread_mutex_unlock(&folder_lock);
}

/* How often that was called; waits until it is more than `before`, unless that is -1. */
static int folder_count(int before)
{
    pthread_mutex_lock(&folder_lock);
    while (folder_syncs == before)
        pthread_cond_wait(&folder_changed, &folder_lock);
    int n = folder_syncs;
    pthread_mutex_unlock(&folder_lock);
    return n;
}

static int unlink_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st;
    (void)flag;
    (void)f;
    return remove(path);
}

static struct floe_store *open_store(struct store_rig *rig, const char *at, bool sync)
{
    struct floe_store *s = NULL;
    struct floe_error err = {0};
    struct floe_store_file_config cfg = {.dir = at, .fsync = sync};
    if (floe_store_file_create(&s, rig->loop, &cfg, &err) != FLOE_OK)
        fail_msg("%s", err.msg);
    return s;
}

static int setup(void **state)
{
    struct store_rig *rig = calloc(1, sizeof *rig);
    snprintf(dir, sizeof dir, "/tmp/floe-file-XXXXXX");
    assert_non_null(mkdtemp(dir));
    store_rig_open(rig);
    rig->store = open_store(rig, dir, true);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    store_rig_close(*state);
    free(*state);
    nftw(dir, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static void suite(void **state)
{
    for (uint32_t i = 0; i < store_suite_count; i++)
        store_suite[i].fn(*state);
}

static void object_path(struct store_rig *rig, const char *key, char out[256])
{
    snprintf(out, 256, "%s/objects/%s/%s.obj", dir, rig->ns, key);
}

static void store_closed(void *user)
{
    floe_loop_uv_stop(((struct store_rig *)user)->uv);
}

static void close_other(struct store_rig *rig, struct floe_store *s)
{
    floe_store_close(s, store_closed, rig);
    floe_loop_uv_run(rig->uv);
}

static void damage_is_named(void **state)
{
    struct store_rig *rig = *state;
    char path[256];
    assert_int_equal(store_rig_put(rig, FLOE_PUT_CREATE, "dmg", "0123456789", NULL, NULL), FLOE_OK);
    object_path(rig, "dmg", path);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 10 + 128);
    for (off_t at = 0; at < st.st_size; at++) {
        int fd = open(path, O_RDWR);
        char c = 0, flipped;
        assert_true(fd >= 0 && pread(fd, &c, 1, at) == 1);
        flipped = (char)(c ^ 0x10);
        assert_int_equal(pwrite(fd, &flipped, 1, at), 1);
        struct floe_store_req r = store_rig_req(rig, FLOE_STORE_GET, "dmg");
        assert_int_equal(store_rig_do(rig, &r), FLOE_ECORRUPT);
        assert_non_null(strstr(r.err.msg, "dmg"));
        assert_int_equal(pwrite(fd, &c, 1, at), 1);
        close(fd);
    }
    store_rig_expect(rig, "dmg", "0123456789");
    for (off_t n = st.st_size - 1; n >= 0; n -= 7) {
        assert_int_equal(truncate(path, n), 0);
        struct floe_store_req r = store_rig_req(rig, FLOE_STORE_HEAD, "dmg");
        assert_int_equal(store_rig_do(rig, &r), FLOE_ECORRUPT);
    }
    struct floe_store_req r = store_rig_req(rig, FLOE_STORE_LIST, "");
    assert_int_equal(store_rig_do(rig, &r), FLOE_OK);
    assert_int_equal(r.entry_count, 1);
    assert_string_equal(r.entries[0].version, "");
    floe_store_req_fini(&r);
}

static void two_stores_share_a_directory(void **state)
{
    struct store_rig *rig = *state;
    struct floe_store *a = rig->store, *b = open_store(rig, dir, true);
    char version[FLOE_STORE_VERSION_MAX];
    assert_int_equal(store_rig_put(rig, FLOE_PUT_CREATE, "s", "a", NULL, version), FLOE_OK);
    rig->store = b;
    assert_int_equal(store_rig_put(rig, FLOE_PUT_CREATE, "s", "b", NULL, NULL), FLOE_EEXISTS);
    assert_int_equal(store_rig_put(rig, FLOE_PUT_REPLACE, "s", "b", version, NULL), FLOE_OK);
    rig->store = a;
    assert_int_equal(store_rig_put(rig, FLOE_PUT_REPLACE, "s", "a", version, NULL), FLOE_ECONFLICT);
    store_rig_expect(rig, "s", "b");
    close_other(rig, b);
}

static void dead_writers_files_go(void **state)
{
    struct store_rig *rig = *state;
    char lock[128], left[128], alive[128];
    snprintf(lock, sizeof lock, "%s/tmp/00000000000000aa.lock", dir);
    snprintf(left, sizeof left, "%s/tmp/00000000000000aa-17", dir);
    snprintf(alive, sizeof alive, "%s/tmp/00000000000000bb-1", dir);
    int a = open(lock, O_CREAT | O_RDWR, 0644), b = open(left, O_CREAT | O_RDWR, 0644);
    int c = open(alive, O_CREAT | O_RDWR, 0644);
    assert_true(a >= 0 && b >= 0 && c >= 0);
    assert_int_equal(flock(a, LOCK_EX), 0);
    close_other(rig, open_store(rig, dir, false));
    assert_int_equal(access(left, F_OK), 0); /* its owner lives */
    close(a);
    close_other(rig, open_store(rig, dir, false));
    assert_int_equal(access(left, F_OK), -1);
    assert_int_equal(access(lock, F_OK), -1);
    assert_int_equal(access(alive, F_OK), 0);
    close(b);
    close(c);
}

static void held_lock_ends_with_the_deadline(void **state)
{
    struct store_rig *rig = *state;
    char version[FLOE_STORE_VERSION_MAX];
    assert_int_equal(store_rig_put(rig, FLOE_PUT_CREATE, "k", "1", NULL, version), FLOE_OK);
    assert_int_equal(store_rig_put(rig, FLOE_PUT_REPLACE, "k", "2", version, version), FLOE_OK);
    int fds[1024];
    for (int i = 0; i < 1024; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/locks/%03x", dir, i);
        fds[i] = open(path, O_CREAT | O_RDWR, 0644);
        assert_true(fds[i] >= 0);
        assert_int_equal(flock(fds[i], LOCK_EX), 0);
    }
    struct floe_store_req r = store_rig_req(rig, FLOE_STORE_PUT, "k");
    r.cond = FLOE_PUT_REPLACE;
    memcpy(r.if_version, version, sizeof version);
    r.timeout_us = 50000;
    enum floe_err rc = store_rig_do(rig, &r);
    assert_true(rc == FLOE_EINDETERMINATE || rc == FLOE_EUNAVAILABLE);
    for (int i = 0; i < 1024; i++)
        close(fds[i]);
}

static void trouble_is_mapped(void **state)
{
    struct store_rig *rig = *state;
    struct floe_store *s = NULL;
    struct floe_error err = {0};
    struct floe_store_file_config cfg = {.dir = "/proc/nothing/here"};
    assert_int_equal(floe_store_file_create(&s, rig->loop, &cfg, &err), FLOE_EDENIED);
    assert_non_null(strstr(err.msg, "/proc/nothing"));
    cfg.dir = "";
    assert_int_equal(floe_store_file_create(&s, rig->loop, &cfg, &err), FLOE_EINVAL);
    assert_null(s);
    char path[128];
    snprintf(path, sizeof path, "%s/file", dir);
    close(open(path, O_CREAT | O_RDWR, 0644));
    cfg.dir = path;
    assert_int_equal(floe_store_file_create(&s, rig->loop, &cfg, &err), FLOE_EDENIED);
    char long_key[400];
    memset(long_key, 'k', sizeof long_key);
    long_key[300] = '\0';
    assert_int_equal(store_rig_put(rig, FLOE_PUT_CREATE, long_key, "x", NULL, NULL), FLOE_EINVAL);
}

static void folder_removed_by_hand(void **state)
{
    struct store_rig *rig = *state;
    char path[256];
    assert_int_equal(store_rig_put(rig, FLOE_PUT_CREATE, "sub/a", "1", NULL, NULL), FLOE_OK);
    snprintf(path, sizeof path, "%s/objects/%s", dir, rig->ns);
    nftw(path, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
    assert_int_equal(store_rig_put(rig, FLOE_PUT_CREATE, "sub/a", "2", NULL, NULL), FLOE_OK);
    store_rig_expect(rig, "sub/a", "2");
}

/* Folders go with their last object, even while others are written there, by another process for all they
 * know. */
static void empty_folders_go(void **state)
{
    struct store_rig *rig = *state;
    enum { N = 32 };
    static struct floe_store_req r[2 * N];
    struct floe_store *other = open_store(rig, dir, true);
    char path[256];
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 2 * N; i++) {
            char key[32];
            snprintf(key, sizeof key, "f/%d/g/%d", i % 4, round % 2 ? i : i / 2);
            r[i] = store_rig_req(rig, i % 2 ? FLOE_STORE_PUT : FLOE_STORE_DELETE, key);
            r[i].cond = i % 4 == 1 ? FLOE_PUT_CREATE : FLOE_PUT_ANY;
            rig->pending++;
            floe_store_submit(i / 2 % 2 ? other : rig->store, &r[i]);
        }
        floe_loop_uv_run(rig->uv);
        for (int i = 0; i < 2 * N; i++) {
            if (r[i].err.code != FLOE_OK && r[i].err.code != FLOE_EEXISTS)
                fail_msg("%s", r[i].err.msg);
        }
    }
    close_other(rig, other);
    struct floe_store_req list = store_rig_req(rig, FLOE_STORE_LIST, "");
    assert_int_equal(store_rig_do(rig, &list), FLOE_OK);
    assert_true(list.entry_count > 0);
    for (uint32_t i = 0; i < list.entry_count; i++) {
        struct floe_store_req del = store_rig_req(rig, FLOE_STORE_DELETE, "x");
        snprintf(del.key, sizeof del.key, "%s", list.entries[i].key);
        assert_int_equal(store_rig_do(rig, &del), FLOE_OK);
    }
    floe_store_req_fini(&list);
    snprintf(path, sizeof path, "%s/objects/%s", dir, rig->ns);
    assert_int_equal(access(path, F_OK), -1);
    snprintf(path, sizeof path, "%s/objects", dir);
    assert_int_equal(access(path, F_OK), 0);
}

/* A file system of 1 MiB; where this process may not mount one, files of at most 1 MiB. */
static void full_disk(void **state)
{
    struct store_rig *rig = *state;
    char at[128], cmd[256];
    snprintf(at, sizeof at, "%s/full", dir);
    assert_int_equal(mkdir(at, 0755), 0);
    snprintf(cmd, sizeof cmd, "mount -t tmpfs -o size=1m tmpfs %s 2>/dev/null", at);
    bool mounted = system(cmd) == 0;
    struct rlimit limit, small_files = {.rlim_cur = 1 << 20};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    if (!mounted) { /* no right to mount: a file of more than 1 MiB does not fit either */
        small_files.rlim_max = limit.rlim_max;
        signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small_files), 0);
    }
    struct floe_store *own = rig->store;
    rig->store = open_store(rig, at, true);
    struct floe_buf *buf = floe_buf_create(2 << 20, NULL);
    struct floe_bufslice body = {buf, buf->data, 2 << 20};
    struct floe_store_req r = store_rig_req(rig, FLOE_STORE_PUT, "huge");
    memset(buf->data, 1, 2 << 20);
    r.cond = FLOE_PUT_CREATE;
    r.body = &body;
    r.body_count = 1;
    enum floe_err rc = store_rig_do(rig, &r);
    enum floe_err small = store_rig_put(rig, FLOE_PUT_CREATE, "small", "fits", NULL, NULL);
    close_other(rig, rig->store);
    rig->store = own;
    floe_buf_unref(buf);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    if (mounted) { /* and read-only: a name and no start */
        struct floe_store *none = NULL;
        struct floe_store_file_config ro = {.dir = at};
        struct floe_error err = {0};
        snprintf(cmd, sizeof cmd, "mount -o remount,ro %s", at);
        assert_int_equal(system(cmd), 0);
        assert_int_equal(floe_store_file_create(&none, rig->loop, &ro, &err), FLOE_EDENIED);
    }
    snprintf(cmd, sizeof cmd, "umount %s", at);
    assert_true(!mounted || system(cmd) == 0);
    assert_int_equal(rc, FLOE_ENOSPACE);
    assert_int_equal(small, FLOE_OK);
}

/* A put whose folder's fsync has failed, or is under way, is not told of as if it had succeeded. */
static void what_is_read_back_is_durable(void **state)
{
    struct store_rig *rig = *state;
    assert_int_equal(store_rig_put(rig, FLOE_PUT_CREATE, "first", "a", NULL, NULL), FLOE_OK);
    folder(true, false);
    enum floe_err rc = store_rig_put(rig, FLOE_PUT_CREATE, "x", "a", NULL, NULL);
    struct floe_store_req get = store_rig_req(rig, FLOE_STORE_GET, "x");
    get.cls = FLOE_STORE_CONTROL;
    (void)store_rig_do(rig, &get);
    folder(false, false);
    assert_int_equal(rc, FLOE_EINDETERMINATE);
    assert_int_equal(get.err.code, FLOE_EIO);
    store_rig_expect(rig, "x", "a");
    assert_int_equal(store_rig_do(rig, &get), FLOE_OK);
    floe_store_req_fini(&get);
    int before = folder_count(-1);
    assert_int_equal(store_rig_do(rig, &get), FLOE_OK);
    floe_store_req_fini(&get);
    assert_int_equal(folder_count(-1), before); /* once is enough */

    folder(false, true);
    struct floe_buf *buf = floe_buf_create(1, NULL);
    struct floe_bufslice body = {buf, buf->data, 1};
    struct floe_store_req put = store_rig_req(rig, FLOE_STORE_PUT, "y"), again = get;
    put.cond = FLOE_PUT_CREATE;
    put.body = &body;
    put.body_count = 1;
    put.timeout_us = again.timeout_us = 60000000;
    snprintf(again.key, sizeof again.key, "%s", put.key);
    buf->data[0] = 'b';
    rig->pending = 2;
    floe_store_submit(rig->store, &put);
    (void)folder_count(before);
    floe_store_submit(rig->store, &again);
    store_rig_run_us(rig, 100000);
    uint32_t waiting = rig->pending;
    folder(false, false);
    while (rig->pending > 0)
        store_rig_run_us(rig, 1000);
    assert_int_equal(put.err.code, FLOE_OK);
    assert_int_equal(again.err.code, FLOE_OK);
    floe_store_req_fini(&put);
    floe_store_req_fini(&again);
    floe_buf_unref(buf);
    assert_int_equal(waiting, 2);
}

static void close_drops_open_requests(void **state)
{
    struct store_rig *rig = *state;
    struct floe_store *s = open_store(rig, dir, true), *own = rig->store;
    struct floe_store_req r[64];
    rig->store = s;
    for (int i = 0; i < 64; i++) {
        char key[16];
        snprintf(key, sizeof key, "z%d", i);
        r[i] = store_rig_req(rig, FLOE_STORE_PUT, key);
        floe_store_submit(s, &r[i]);
    }
    close_other(rig, s); /* a call-back would fail on rig->pending == 0 */
    rig->store = own;
    store_rig_run_us(rig, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(suite, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(two_stores_share_a_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(dead_writers_files_go, setup, teardown),
        cmocka_unit_test_setup_teardown(held_lock_ends_with_the_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(trouble_is_mapped, setup, teardown),
        cmocka_unit_test_setup_teardown(folder_removed_by_hand, setup, teardown),
        cmocka_unit_test_setup_teardown(empty_folders_go, setup, teardown),
        cmocka_unit_test_setup_teardown(full_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_read_back_is_durable, setup, teardown),
        cmocka_unit_test_setup_teardown(close_drops_open_requests, setup, teardown),
    };
    return cmocka_run_group_tests_name("objstore.file", tests, NULL, NULL);
}
