/* A disk that fills up: a small tmpfs where this process may mount one (root, or user namespaces), else a
 * limit on the size of files, which RocksDB meets at the same place. */
#include <floe_cmocka.h>
#include "tier_fixture.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

static struct tier_fx fx;
static char mount_point[] = "/tmp/floe-full-XXXXXX";
static const char *base;

static bool mount_small(void)
{
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return false;
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", mount_point, "tmpfs", 0, "size=24m,mode=0700") == 0;
}

static void limit_files(rlim_t bytes)
{
    struct rlimit l = {bytes, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static int setup(void **state)
{
    (void)state;
    tier_fx_init(&fx, base);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tier_fx_fini(&fx);
    return 0;
}

static void fill(bool durable)
{
    if (!base)
        limit_files(3 << 20);
    assert_int_equal(tier_fx_open(&fx), FLOE_OK);
    uint64_t seq = 0;
    while (tier_fx_put(&fx, seq, 200000, durable) == FLOE_OK)
        assert_true(++seq < 1000);
    assert_int_equal(fx.err.code, FLOE_ENOSPACE);
    assert_non_null(strstr(fx.err.msg, base ? "No space" : "File too large"));
    assert_true(seq > 3);
    uint64_t held = fx.tier->bytes;
    assert_int_equal(tier_fx_put(&fx, seq + 1, 10, durable),
                     FLOE_ENOSPACE); /* even a small one: it is broken */
    assert_int_equal(fx.tier->bytes, held);
    for (uint64_t i = 0; i < seq; i++) /* what was acknowledged is still read */
        assert_int_equal(tier_fx_check(&fx, i, 200000), FLOE_OK);
    assert_int_equal(tier_fx_check(&fx, seq, 200000), FLOE_ENOTFOUND);
    if (!base)
        limit_files(RLIM_INFINITY);
    fx.tier->ops->drop(fx.tier, 0, seq);
    /* Empty, it starts afresh: the same number can be put now. */
    for (int i = 0; tier_fx_put(&fx, seq, 200000, durable) != FLOE_OK; i++)
        assert_true(i < 100000);
    assert_int_equal(tier_fx_check(&fx, seq, 200000), FLOE_OK);
    assert_int_equal(tier_fx_put(&fx, 0, 10, durable), FLOE_EINVAL);
    assert_int_equal(tier_fx_put(&fx, seq + 1, 10, true), FLOE_OK);
    tier_fx_close(&fx);
    assert_int_equal(tier_fx_open(&fx), FLOE_OK);
    assert_string_equal(fx.note, "");
    assert_true(fx.tier->first_seq == (durable ? seq : seq + 1) && fx.tier->next_seq == seq + 2);
}

static void a_full_disk_refuses_durable_entries(void **state)
{
    (void)state;
    fill(true);
}

static void a_full_disk_refuses_spilled_entries(void **state)
{
    (void)state;
    fill(false);
}

int main(void)
{
    if (!mkdtemp(mount_point))
        return 1;
    base = mount_small() ? mount_point : NULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_full_disk_refuses_durable_entries, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_refuses_spilled_entries, setup, teardown),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (base)
        umount(mount_point);
    rmdir(mount_point);
    return failed;
}
