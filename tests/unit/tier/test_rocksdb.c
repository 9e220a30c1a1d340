/* ctest labels: threads */
#include <floe_cmocka.h>
#include "tier_fixture.h"

#include <floe/base/assert.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct tier_fx fx;

static int setup(void **state)
{
    (void)state;
    tier_fx_init(&fx, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tier_fx_fini(&fx);
    return 0;
}

static void must_open(void)
{
    enum floe_err e = tier_fx_open(&fx);
    if (e)
        fail_msg("%s", fx.err.msg);
}

static void entries_come_back(void **state)
{
    (void)state;
    must_open();
    assert_string_equal(fx.note, "");
    assert_int_equal(fx.tier->first_seq, fx.tier->next_seq);
    static const size_t sizes[] = {0, 1, 100, 5000, 70000, 3 << 20};
    for (uint64_t i = 0; i < FLOE_COUNTOF(sizes); i++)
        assert_int_equal(tier_fx_put(&fx, i, sizes[i], i % 2), FLOE_OK);
    assert_true(fx.tier->bytes > 3 << 20);
    for (uint64_t i = 0; i < FLOE_COUNTOF(sizes); i++)
        assert_int_equal(tier_fx_check(&fx, i, sizes[i]), FLOE_OK);
    assert_int_equal(tier_fx_check(&fx, 99, 0), FLOE_ENOTFOUND);
    assert_int_equal(tier_fx_put(&fx, 3, 10, true), FLOE_EINVAL); /* used */
    fx.tier->ops->drop(fx.tier, 0, 5);
    assert_int_equal(tier_fx_check(&fx, 4, 70000), FLOE_ENOTFOUND);
    assert_int_equal(tier_fx_check(&fx, 5, 3 << 20), FLOE_OK);
    assert_int_equal(tier_fx_put(&fx, 4, 10, true), FLOE_EINVAL); /* dropped */
    assert_int_equal(tier_fx_scan(&fx, 0, 100, NULL), 1);
    fx.tier->ops->drop(fx.tier, 0, UINT64_MAX);
    assert_int_equal(fx.tier->bytes, 0);
    assert_int_equal(tier_fx_scan(&fx, 0, 100, NULL), 0);
}

struct many {
    struct floe_tier_op op[3000];
    uint32_t answered;
    bool all;
};

static void on_many(struct floe_tier_op *op)
{
    struct many *m = op->user;
    assert_ptr_equal(op, &m->op[m->answered]); /* in the order of submission */
    assert_int_equal(op->err.code, op->seq == UINT64_MAX ? FLOE_EINVAL : FLOE_OK);
    m->all = ++m->answered == FLOE_COUNTOF(m->op);
}

static void answers_keep_the_order_of_submission(void **state)
{
    (void)state;
    static uint8_t body[3000];
    struct many *m = calloc(1, sizeof *m);
    tier_fx_fill(body, sizeof body, 1);
    must_open();
    for (uint32_t i = 0; i < FLOE_COUNTOF(m->op); i++) {
        m->op[i] =
            (struct floe_tier_op){.seq = i % 100 == 50 ? UINT64_MAX : i, /* refused ones wait their turn */
                                  .head = floe_slice("head", 4),
                                  .body = {NULL, body, i},
                                  .durable = i % 3 == 0,
                                  .done = on_many,
                                  .user = m};
        fx.tier->ops->put(fx.tier, &m->op[i]);
        if (i % 500 == 499)
            fx.tier->ops->drop(fx.tier, i - 400, i - 300);
    }
    assert_int_equal(m->answered, 0);
    tier_fx_wait(&fx, &m->all);
    free(m);
}

static void the_limit_is_kept(void **state)
{
    (void)state;
    fx.cfg.limit_bytes = 100000;
    must_open();
    uint64_t seq = 0;
    while (tier_fx_put(&fx, seq, 9000, false) == FLOE_OK)
        seq++;
    assert_int_equal(fx.err.code, FLOE_ENOSPACE);
    assert_int_equal(seq, 11);
    assert_true(fx.tier->bytes <= 100000);
    fx.tier->ops->drop(fx.tier, 0, 1);
    assert_int_equal(tier_fx_put(&fx, seq, 9000, true), FLOE_OK); /* room again, same number */
}

static void drops_come_in_any_order(void **state)
{
    (void)state;
    must_open();
    for (uint64_t i = 0; i < 600; i++)
        assert_int_equal(tier_fx_put(&fx, i, 50, true), FLOE_OK);
    for (uint64_t i = 0; i < 7; i++) /* as a segment of seven partitions drops them; 99 stays */
        for (uint64_t seq = i; seq < 500; seq += 7)
            if (seq != 99)
                fx.tier->ops->drop(fx.tier, seq, seq + 1);
    assert_int_equal(tier_fx_scan(&fx, 0, 600, NULL), 101);
    assert_int_equal(tier_fx_check(&fx, 99, 50), FLOE_OK);
    assert_int_equal(tier_fx_check(&fx, 98, 50), FLOE_ENOTFOUND);
    tier_fx_close(&fx);
    must_open();
    assert_int_equal(fx.tier->first_seq, 99);
    assert_int_equal(fx.tier->next_seq, 600);
    assert_int_equal(tier_fx_scan(&fx, 0, 600, NULL), 101);
    fx.tier->ops->drop(fx.tier, 99, 100);
    tier_fx_close(&fx);
    must_open();
    assert_int_equal(fx.tier->first_seq, 500);
}

static void a_scan_takes_turns(void **state)
{
    (void)state;
    must_open();
    for (uint64_t i = 10; i < 700; i++)
        assert_int_equal(tier_fx_put(&fx, i, i % 7 == 0 ? 40000 : 200, i % 2), FLOE_OK);
    fx.tier->ops->drop(fx.tier, 300, 310);
    assert_int_equal(tier_fx_scan(&fx, 0, UINT64_MAX, NULL), 680);
    assert_int_equal(tier_fx_scan(&fx, 295, 315, NULL), 10);
    assert_int_equal(tier_fx_scan(&fx, 20, 20, NULL), 0);
}

static void meta_values_are_kept(void **state)
{
    (void)state;
    must_open();
    assert_int_equal(floe_tier_meta(fx.tier, "node").n, 0);
    assert_int_equal(tier_fx_meta(&fx, "node", "7", 1), FLOE_OK);
    assert_int_equal(tier_fx_meta(&fx, "session", "a", 1), FLOE_OK);
    assert_int_equal(tier_fx_meta(&fx, "session", "bcd", 3), FLOE_OK);
    static uint8_t big[FLOE_TIER_META_VALUE_MAX + 1];
    assert_int_equal(tier_fx_meta(&fx, "big", big, sizeof big), FLOE_ETOOLARGE);
    tier_fx_close(&fx);
    must_open();
    assert_true(floe_slice_eq(floe_tier_meta(fx.tier, "node"), floe_slice_str("7")));
    assert_true(floe_slice_eq(floe_tier_meta(fx.tier, "session"), floe_slice_str("bcd")));
}

static void another_cluster_is_refused_by_name(void **state)
{
    (void)state;
    struct floe_uuid ours = fx.cfg.cluster;
    fx.cfg.cluster = (struct floe_uuid){{0}}; /* a tier that knows no cluster yet */
    must_open();
    tier_fx_close(&fx);
    fx.cfg.cluster = ours;
    must_open();
    assert_int_equal(tier_fx_put(&fx, 0, 100, true), FLOE_OK);
    tier_fx_close(&fx);
    fx.cfg.cluster.b[15] = 99;
    assert_int_equal(tier_fx_open(&fx), FLOE_EINVAL);
    char id[23];
    floe_uuid_b64(id, &ours);
    assert_non_null(strstr(fx.err.msg, id));
    fx.cfg.cluster = (struct floe_uuid){{0}}; /* adopts what is there */
    must_open();
    assert_int_equal(tier_fx_check(&fx, 0, 100), FLOE_OK);
}

static void on_put_again(struct floe_tier_op *op)
{
    if (op->err.code == FLOE_OK && op->seq == 0) { /* a caller that goes on while it is closed */
        op->seq = 1;
        op->user = op;
        fx.tier->ops->put(fx.tier, op);
        fx.tier->ops->drop(fx.tier, 0, 1);
        return;
    }
    op->user = NULL;
}

static void close_answers_everything(void **state)
{
    (void)state;
    must_open();
    struct floe_tier_op op = {.head = floe_slice("head", 4), .done = on_put_again, .user = &op};
    fx.tier->ops->put(fx.tier, &op);
    tier_fx_close(&fx);
    assert_null(op.user);
    assert_int_equal(op.seq, 1);
    assert_int_equal(op.err.code, FLOE_ECLOSED);
}

static void a_directory_has_one_process(void **state)
{
    (void)state;
    must_open();
    struct floe_tier *second = NULL;
    struct floe_error err;
    char note[256], pid[16];
    assert_int_equal(floe_tier_rocksdb_open(&second, fx.loop, &fx.cfg, note, &err), FLOE_EAGAIN);
    assert_null(second);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    assert_non_null(strstr(err.msg, pid));
    tier_fx_close(&fx);
    must_open();
}

/* Runs this program again as `what`, which works on the same folder and kills itself; waits for that. (A fork
 * alone would lack the threads of RocksDB's pool.) */
static void in_killed_process(const char *what)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execl("/proc/self/exe", "test_rocksdb", what, fx.root, (char *)NULL);
        _exit(2);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void child_must(bool ok)
{
    if (!ok)
        _exit(1); /* seen by the parent: not killed */
}

static void child_writes(void)
{
    uint64_t from = fx.tier->next_seq;
    for (uint64_t i = from; i < from + 300; i++)
        child_must(tier_fx_put(&fx, i, 1000 + i, i % 3 == 0) == FLOE_OK);
    fx.tier->ops->drop(fx.tier, from, from + 30);
    child_must(tier_fx_meta(&fx, "session", "s1", 2) == FLOE_OK); /* also says that the drop was written */
}

static void child_writes_more(void)
{
    for (uint64_t i = fx.tier->next_seq; i < 20000; i++) /* 20 MB: through several memtables */
        child_must(tier_fx_put(&fx, i, i % 64 == 0 ? 60000 : 100, i % 64 == 0) == FLOE_OK);
}

static void durable_entries_survive_a_killed_process(void **state)
{
    (void)state;
    in_killed_process("writes");
    must_open();
    assert_string_equal(fx.note, "");
    assert_int_equal(fx.tier->first_seq, 30);
    assert_true(fx.tier->next_seq >= 298 && fx.tier->next_seq <= 300);
    assert_true(fx.tier->bytes > 0);
    for (uint64_t i = 30; i < 300; i += 3)
        assert_int_equal(tier_fx_check(&fx, i, 1000 + i), FLOE_OK);
    assert_true(tier_fx_scan(&fx, 0, UINT64_MAX, NULL) >= 90);
    assert_true(floe_slice_eq(floe_tier_meta(fx.tier, "session"), floe_slice_str("s1")));
    fx.tier->ops->drop(fx.tier, 30, 150);
    tier_fx_close(&fx);
    in_killed_process("more");
    must_open();
    assert_int_equal(fx.tier->first_seq, 150);
    for (uint64_t i = 150; i < 300; i += 3)
        assert_int_equal(tier_fx_check(&fx, i, 1000 + i), FLOE_OK);
    for (uint64_t i = 320; i < 20000; i += 64)
        assert_int_equal(tier_fx_check(&fx, i, 60000), FLOE_OK);
    fx.tier->ops->drop(fx.tier, 0, UINT64_MAX);
    tier_fx_close(&fx);
    must_open();
    assert_int_equal(fx.tier->first_seq, fx.tier->next_seq);
    assert_true(fx.tier->next_seq >= 19969);
    assert_int_equal(fx.tier->bytes, 0);
}

/* The longest file of DIR/tier/db whose name has `part`. */
static off_t longest(const char *part, char path[600])
{
    char dir[400];
    off_t size = -1;
    snprintf(dir, sizeof dir, "%s/db", fx.dir);
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        struct stat st;
        char p[600];
        snprintf(p, sizeof p, "%s/%.190s", dir, e->d_name);
        if (strstr(e->d_name, part) && stat(p, &st) == 0 && st.st_size > size) {
            size = st.st_size;
            snprintf(path, 600, "%s", p);
        }
    }
    if (d)
        closedir(d);
    return size;
}

static void flip(const char *path, off_t at)
{
    uint8_t b = 0;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && pread(fd, &b, 1, at) == 1);
    b ^= 0x40;
    assert_int_equal(pwrite(fd, &b, 1, at), 1);
    close(fd);
}

static void a_torn_tail_costs_the_last_entry_only(void **state)
{
    (void)state;
    char path[600];
    in_killed_process("writes");
    off_t size = longest(".log", path);
    assert_true(size > 0);
    /* The last record is the drop; the one before it is entry 297. */
    assert_int_equal(truncate(path, size - 5), 0);
    must_open();
    assert_string_equal(fx.note, "");
    assert_int_equal(tier_fx_check(&fx, 297, 1297), FLOE_OK);
}

static void a_corrupt_log_is_set_aside(void **state)
{
    (void)state;
    char path[600];
    in_killed_process("writes");
    assert_true(longest(".log", path) > 60000);
    flip(path, 30000);
    must_open();
    assert_non_null(strstr(fx.note, "tier.corrupt-"));
    assert_int_equal(tier_fx_find(fx.root, "tier.corrupt-", NULL), 1);
    assert_int_equal(fx.tier->first_seq, fx.tier->next_seq);
    assert_true(floe_slice_eq(floe_tier_meta(fx.tier, "session"), floe_slice_str("s1"))); /* meta is sound */
    assert_int_equal(tier_fx_put(&fx, 0, 10, true), FLOE_OK);
}

static void lost_files_are_set_aside(void **state)
{
    (void)state;
    static const char *const names[] = {"CURRENT", "MANIFEST"};
    for (size_t i = 0; i < FLOE_COUNTOF(names); i++) {
        char path[600];
        in_killed_process("writes");
        assert_true(longest(names[i], path) > 0);
        assert_int_equal(unlink(path), 0);
        must_open();
        assert_non_null(strstr(fx.note, "tier.corrupt-"));
        assert_int_equal(tier_fx_find(fx.root, "tier.corrupt-", NULL), (int)i + 1);
        tier_fx_close(&fx);
    }
}

static void a_corrupt_meta_file_sets_the_tier_aside(void **state)
{
    (void)state;
    char path[600];
    must_open();
    assert_int_equal(tier_fx_put(&fx, 0, 100, true), FLOE_OK);
    tier_fx_close(&fx);
    snprintf(path, sizeof path, "%s/meta", fx.dir);
    flip(path, 20);
    must_open();
    assert_non_null(strstr(fx.note, "tier.corrupt-"));
    assert_int_equal(fx.tier->next_seq, 0);
    tier_fx_close(&fx);
    assert_int_equal(unlink(path), 0); /* entries, but nobody knows whose */
    must_open();
    assert_non_null(strstr(fx.note, "meta"));
    assert_int_equal(tier_fx_find(fx.root, "tier.corrupt-", NULL), 2);
}

static void a_corrupt_block_names_its_entry(void **state)
{
    (void)state;
    char path[600];
    must_open();
    for (uint64_t i = 0; i < 200; i++)
        assert_int_equal(tier_fx_put(&fx, i, 100000, false), FLOE_OK); /* 20 MB: some is in files */
    off_t size = longest(".sst", path);
    assert_true(size > 1000000);
    flip(path, size / 2);
    int bad = 0;
    for (uint64_t i = 0; i < 200; i++) {
        enum floe_err e = tier_fx_check(&fx, i, 100000);
        assert_true(e == FLOE_OK || e == FLOE_ECORRUPT);
        bad += e != FLOE_OK;
    }
    assert_int_equal(bad, 1);
    struct floe_error err;
    assert_true(tier_fx_scan(&fx, 0, 200, &err) < 200);
    assert_int_equal(err.code, FLOE_ECORRUPT);
}

/* Bytes of the files of entries. */
static off_t files_bytes(void)
{
    off_t all = 0;
    char dir[400], path[600];
    snprintf(dir, sizeof dir, "%s/db", fx.dir);
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        struct stat st;
        snprintf(path, sizeof path, "%s/%.190s", dir, e->d_name);
        if (strstr(e->d_name, ".sst") && stat(path, &st) == 0)
            all += st.st_size;
    }
    if (d)
        closedir(d);
    return all;
}

/* RocksDB deletes files in the background. */
static void wait_for_files(off_t limit)
{
    for (int i = 0; files_bytes() >= limit; i++) {
        assert_true(i < 20000);
        assert_int_equal(tier_fx_check(&fx, 0, 0), FLOE_ENOTFOUND); /* takes a millisecond */
    }
}

static void space_comes_back(void **state)
{
    (void)state;
    must_open();
    uint64_t held = 0;
    for (uint64_t i = 0; i < 1000; i++) { /* 100 MB through, 10 MB held */
        assert_int_equal(tier_fx_put(&fx, i, 100000, i % 2), FLOE_OK);
        if (i >= 100) {
            fx.tier->ops->drop(fx.tier, i - 100, i - 99);
            held = i - 99;
        }
    }
    assert_true(fx.tier->bytes < 11000000);
    wait_for_files(40000000);
    assert_int_equal(tier_fx_check(&fx, held, 100000), FLOE_OK);
    assert_int_equal(tier_fx_check(&fx, held - 1, 100000), FLOE_ENOTFOUND);
}

static int child(const char *what, const char *root)
{
    tier_fx_init(&fx, NULL);
    child_must(rmdir(fx.root) == 0);
    snprintf(fx.root, sizeof fx.root, "%s", root);
    snprintf(fx.dir, sizeof fx.dir, "%.200s/tier", root);
    child_must(tier_fx_open(&fx) == FLOE_OK);
    if (strcmp(what, "writes") == 0)
        child_writes();
    else
        child_writes_more();
    kill(getpid(), SIGKILL);
    return 1;
}

/* A store that was away is back: what was spilled is read and dropped, and nothing new is written. */
static void space_comes_back_without_new_entries(void **state)
{
    (void)state;
    must_open();
    for (uint64_t i = 0; i < 400; i++)
        assert_int_equal(tier_fx_put(&fx, i, 100000, false), FLOE_OK);
    assert_true(files_bytes() > 20000000);
    for (uint64_t i = 0; i < 400; i += 20) {
        assert_int_equal(tier_fx_check(&fx, i, 100000), FLOE_OK);
        fx.tier->ops->drop(fx.tier, i, i + 20);
    }
    assert_int_equal(tier_fx_check(&fx, 0, 0), FLOE_ENOTFOUND); /* says that the drops were done */
    wait_for_files(18000000); /* a flush may end later still: no more than memory held */
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return child(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(entries_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_keep_the_order_of_submission, setup, teardown),
        cmocka_unit_test_setup_teardown(the_limit_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(drops_come_in_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_scan_takes_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(meta_values_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(another_cluster_is_refused_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(close_answers_everything, setup, teardown),
        cmocka_unit_test_setup_teardown(a_directory_has_one_process, setup, teardown),
        cmocka_unit_test_setup_teardown(durable_entries_survive_a_killed_process, setup, teardown),
        cmocka_unit_test_setup_teardown(a_torn_tail_costs_the_last_entry_only, setup, teardown),
        cmocka_unit_test_setup_teardown(a_corrupt_log_is_set_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_files_are_set_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(a_corrupt_meta_file_sets_the_tier_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(a_corrupt_block_names_its_entry, setup, teardown),
        cmocka_unit_test_setup_teardown(space_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(space_comes_back_without_new_entries, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
