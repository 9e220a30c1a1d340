/* `floe segment dump`: exit codes and output for files, and for objects of a `file` store. */
#include "floe_cmocka.h"

#include <floe/broker/broker.h>
#include <floe/cli.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define KEY "chain/3-7-feedfacecafebeef/00000000000000000041"

static char dir[] = "/tmp/floe-dump-XXXXXX";

/* Runs the command with its standard output in a file; the text goes to `out`. */
static int dump(char *out, size_t cap, int argc, const char **argv)
{
    char path[64];
    snprintf(path, sizeof path, "%s/out", dir);
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    assert_non_null(freopen(path, "w", stdout));
    int rc = floe_cli_segment_dump(argc, (char **)argv);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    size_t n = fread(out, 1, cap - 1, in);
    out[n] = 0;
    fclose(in);
    return rc;
}

static size_t golden(const char *name, uint8_t *out, size_t cap)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", FLOE_TEST_GOLDEN, name);
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    size_t n = fread(out, 1, cap, in);
    fclose(in);
    return n;
}

static void files(void **state)
{
    (void)state;
    static char out[1 << 16], want[1 << 16];
    want[golden("segment-v1-basic.txt", (uint8_t *)want, sizeof want - 1)] = 0;
    assert_int_equal(dump(out, sizeof out, 1, (const char *[]){FLOE_TEST_GOLDEN "/segment-v1-basic.bin"}), 0);
    assert_string_equal(out, want);
    assert_int_equal(
        dump(out, sizeof out, 2, (const char *[]){"--json", FLOE_TEST_GOLDEN "/segment-v1-seal.bin"}), 0);
    json_t *v = json_loads(out, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(v, "sealed_by")), "9-1-0123456789abcdef");
    json_decref(v);

    uint8_t bytes[8192];
    size_t n = golden("segment-v1-basic.bin", bytes, sizeof bytes);
    bytes[200] ^= 1;
    char path[64];
    snprintf(path, sizeof path, "%s/damaged", dir);
    FILE *f = fopen(path, "wb");
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
    assert_int_equal(dump(out, sizeof out, 1, (const char *[]){path}), 1);
    assert_non_null(strstr(out, "crc_ok=NO"));
    assert_int_equal(truncate(path, (off_t)n - 5), 0);
    assert_int_equal(dump(out, sizeof out, 1, (const char *[]){path}), 1);
    assert_string_equal(out, "");
}

static void usage(void **state)
{
    (void)state;
    static char out[1 << 14];
    assert_int_equal(dump(out, sizeof out, 0, NULL), 2);
    assert_int_equal(dump(out, sizeof out, 2, (const char *[]){"a", "b"}), 2);
    assert_int_equal(dump(out, sizeof out, 1, (const char *[]){"-x"}), 2);
    assert_int_equal(dump(out, sizeof out, 3, (const char *[]){"--stoer", "file:///x", "k"}), 2);
    assert_int_equal(dump(out, sizeof out, 2, (const char *[]){"k", "--store"}), 2);
    assert_int_equal(dump(out, sizeof out, 1, (const char *[]){"--help"}), 0);
    assert_non_null(strstr(out, "usage: floe segment dump"));
    assert_int_equal(dump(out, sizeof out, 1, (const char *[]){"/nowhere/at/all"}), 1);
}

static void stop(struct floe_store_req *r)
{
    floe_loop_uv_stop(r->user);
}

static void stop_closed(void *user)
{
    floe_loop_uv_stop(user);
}

static void store(void **state)
{
    (void)state;
    static struct floe_config cfg;
    static char out[1 << 16];
    char url[80];
    snprintf(url, sizeof url, "file://%s/store", dir);
    char *args[] = {"--store", url};
    char *none[] = {NULL};
    struct floe_error err = {0};
    struct floe_loop_uv *uv = NULL;
    struct floe_store *s = NULL;
    if (floe_config_load(&cfg, 2, args, none, &err) || floe_loop_uv_create(&uv, &err) ||
        floe_broker_open_store(&s, floe_loop_uv_base(uv), &cfg, &cfg.store, &err))
        fail_msg("%s", err.msg);
    uint8_t bytes[8192];
    struct floe_bufslice body = {NULL, bytes, golden("segment-v1-basic.bin", bytes, sizeof bytes)};
    struct floe_store_req r = {
        .kind = FLOE_STORE_PUT, .key = KEY, .body = &body, .body_count = 1, .done = stop, .user = uv};
    floe_store_submit(s, &r);
    floe_loop_uv_run(uv);
    assert_int_equal(r.err.code, FLOE_OK);
    floe_store_req_fini(&r);
    floe_store_close(s, stop_closed, uv);
    floe_loop_uv_run(uv);
    floe_loop_uv_destroy(&uv);

    assert_int_equal(dump(out, sizeof out, 3, (const char *[]){"--store", url, KEY}), 0);
    assert_non_null(strstr(out, "session=3-7-feedfacecafebeef seq=41"));
    assert_int_equal(dump(out, sizeof out, 3, (const char *[]){"--store", url, "chain/absent"}), 1);
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),
        cmocka_unit_test(usage),
        cmocka_unit_test(store),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
