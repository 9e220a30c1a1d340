#include <floe_cmocka.h>

#include "tier/rocksdb/meta.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct floe_tier_metas m;
static struct floe_writer w;

static int setup(void **state)
{
    (void)state;
    m = (struct floe_tier_metas){.cluster = {{9, 8, 7}}};
    floe_writer_init(&w, FLOE_TIER_META_FILE_MAX);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    floe_tier_metas_fini(&m);
    floe_writer_fini(&w);
    return 0;
}

static void set(const char *name, const char *value)
{
    assert_int_equal(floe_tier_metas_set(&m, name, floe_slice_str(value), NULL), FLOE_OK);
}

static void values_go_and_come_back(void **state)
{
    (void)state;
    set("node", "1");
    set("session", "1-7-00ff");
    set("node", "23");
    set("gone", "x");
    set("gone", "");
    floe_tier_metas_encode(&m, &w);
    struct floe_tier_metas back;
    assert_int_equal(floe_tier_metas_decode(&back, floe_slice(w.p, w.n), NULL), FLOE_OK);
    assert_true(floe_uuid_eq(&back.cluster, &m.cluster));
    assert_true(floe_slice_eq(floe_tier_metas_get(&back, "node"), floe_slice_str("23")));
    assert_true(floe_slice_eq(floe_tier_metas_get(&back, "session"), floe_slice_str("1-7-00ff")));
    assert_int_equal(floe_tier_metas_get(&back, "gone").n, 0);
    assert_int_equal(back.n, 2);
    floe_tier_metas_fini(&back);
}

static void limits_are_kept(void **state)
{
    (void)state;
    static char big[FLOE_TIER_META_VALUE_MAX + 1], name[FLOE_TIER_META_NAME_MAX + 2];
    struct floe_error err;
    assert_int_equal(floe_tier_metas_set(&m, "a", floe_slice(big, sizeof big), &err), FLOE_ETOOLARGE);
    assert_non_null(strstr(err.msg, "4096"));
    memset(name, 'n', sizeof name - 1);
    assert_int_equal(floe_tier_metas_set(&m, name, floe_slice("x", 1), &err), FLOE_EINVAL);
    assert_int_equal(floe_tier_metas_set(&m, "", floe_slice("x", 1), &err), FLOE_EINVAL);
    for (int i = 0; i < FLOE_TIER_META_COUNT_MAX; i++) {
        snprintf(name, sizeof name, "%063d", i);
        assert_int_equal(floe_tier_metas_set(&m, name, floe_slice(big, sizeof big - 1), &err), FLOE_OK);
    }
    assert_int_equal(floe_tier_metas_set(&m, "more", floe_slice("x", 1), &err), FLOE_ETOOLARGE);
    floe_tier_metas_encode(&m, &w); /* the largest file there can be */
    assert_false(w.bad);
    struct floe_tier_metas back;
    assert_int_equal(floe_tier_metas_decode(&back, floe_slice(w.p, w.n), NULL), FLOE_OK);
    assert_int_equal(back.n, FLOE_TIER_META_COUNT_MAX);
    floe_tier_metas_fini(&back);
}

static void damage_is_found(void **state)
{
    (void)state;
    set("node", "1");
    set("session", "1-7-00ff");
    floe_tier_metas_encode(&m, &w);
    struct floe_tier_metas back;
    struct floe_error err;
    for (size_t n = 0; n < w.n; n++) {
        uint8_t *cut = malloc(n + 1); /* exact size, so that reading past it is seen */
        memcpy(cut, w.p, n);
        assert_int_equal(floe_tier_metas_decode(&back, floe_slice(cut, n), &err), FLOE_ECORRUPT);
        free(cut);
    }
    for (size_t i = 0; i < w.n * 8; i++) {
        w.p[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(floe_tier_metas_decode(&back, floe_slice(w.p, w.n), &err), FLOE_ECORRUPT);
        w.p[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    floe_write_u8(&w, 0);
    assert_int_equal(floe_tier_metas_decode(&back, floe_slice(w.p, w.n), &err), FLOE_ECORRUPT);
}

static void the_file_is_replaced_whole(void **state)
{
    (void)state;
    char dir[] = "/tmp/floe-meta-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    struct floe_tier_metas back;
    struct floe_error err;
    assert_int_equal(floe_tier_metas_load(&back, dir, &err), FLOE_ENOTFOUND);
    set("node", "1");
    floe_tier_metas_encode(&m, &w);
    assert_int_equal(floe_tier_metas_store(dir, floe_slice(w.p, w.n), &err), FLOE_OK);
    assert_int_equal(floe_tier_metas_load(&back, dir, &err), FLOE_OK);
    assert_int_equal(back.n, 1);
    floe_tier_metas_fini(&back);
    /* A full device: the old file stays. */
    snprintf(path, sizeof path, "%s/meta.new", dir);
    assert_int_equal(symlink("/dev/full", path), 0);
    assert_int_equal(floe_tier_metas_store(dir, floe_slice(w.p, w.n), &err), FLOE_ENOSPACE);
    assert_int_equal(floe_tier_metas_load(&back, dir, &err), FLOE_OK);
    floe_tier_metas_fini(&back);
    unlink(path);
    snprintf(path, sizeof path, "%s/meta", dir);
    assert_int_equal(truncate(path, FLOE_TIER_META_FILE_MAX + 1), 0);
    assert_int_equal(floe_tier_metas_load(&back, dir, &err), FLOE_ECORRUPT);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(floe_tier_metas_load(&back, dir, &err), FLOE_ECORRUPT);
    unlink(path);
    rmdir(dir);
    assert_int_equal(floe_tier_metas_store(dir, floe_slice(w.p, w.n), &err), FLOE_ENOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_go_and_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(limits_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(the_file_is_replaced_whole, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
