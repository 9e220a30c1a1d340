/* What Floe writes through its own S3 driver, read back by libs3_check: another client, another signature,
 * another parser. Run by tests/support/s3server, which sets the environment. */
#include "floe_cmocka.h"
#include "segment_fixture.h"
#include "store_suite.h"

#include <floe/objstore/s3.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct floe_session_name SESSION = {2, 5, 0x1122334455667788u};

static const char *env(const char *name)
{
    const char *v = getenv(name);
    if (!v || !v[0])
        fail_msg("%s is not set: run this through tests/support/s3server run", name);
    return v;
}

static int setup(void **state)
{
    struct store_rig *rig = calloc(1, sizeof *rig);
    struct floe_error err = {0};
    store_rig_open(rig);
    struct floe_store_s3_config c = {.bucket = env("S3SERVER_BUCKET"),
                                     .endpoint = env("FLOE_S3_ENDPOINT"),
                                     .region = env("FLOE_S3_REGION"),
                                     .prefix = rig->ns};
    snprintf(c.credentials.access_key, sizeof c.credentials.access_key, "%s", env("AWS_ACCESS_KEY_ID"));
    snprintf(c.credentials.secret_key, sizeof c.credentials.secret_key, "%s", env("AWS_SECRET_ACCESS_KEY"));
    if (floe_store_s3_create(&rig->store, rig->loop, &c, &err) != FLOE_OK)
        fail_msg("%s", err.msg);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    store_rig_close(*state);
    free(*state);
    return 0;
}

static void put(struct store_rig *rig, const char *key, enum floe_store_cond cond,
                const struct floe_bufslice *body, uint32_t n, const char *nonce)
{
    struct floe_store_req r = store_rig_req(rig, FLOE_STORE_PUT, "");
    snprintf(r.key, sizeof r.key, "%s", key);
    snprintf(r.nonce, sizeof r.nonce, "%s", nonce);
    r.cond = cond;
    r.body = body;
    r.body_count = n;
    if (store_rig_do(rig, &r) != FLOE_OK)
        fail_msg("%s", r.err.msg);
    floe_store_req_fini(&r);
}

static void put_text(struct store_rig *rig, const char *key, const char *text)
{
    struct floe_bufslice s = {NULL, (const uint8_t *)text, strlen(text)};
    put(rig, key, FLOE_PUT_ANY, &s, 1, "");
}

/* A segment of 20 batches in five partitions, straight from the writer's slices. `flip`: one bit of a batch
 * is wrong. */
static void put_segment(struct store_rig *rig, uint64_t seq, bool flip)
{
    struct floe_segment_writer *w;
    struct floe_uuid cluster = fixture_uuid(7), nonce = fixture_uuid((uint8_t)(0x40 + seq));
    struct floe_error err = {0};
    assert_int_equal(floe_segment_writer_create(&w, &cluster), FLOE_OK);
    for (int i = 0; i < 20; i++)
        fixture_add(w, (uint8_t)(1 + i % 2), i % 5,
                    &(struct fixture_batch){.base_offset = (int64_t)seq * 1000 + i * 10,
                                            .timestamp = 1700000000000 + i,
                                            .producer_id = i % 3 ? 9000 + i : -1,
                                            .producer_epoch = i % 3 ? 1 : -1,
                                            .base_sequence = i % 3 ? i : -1,
                                            .leader_epoch = 3,
                                            .count = 10,
                                            .payload = (uint32_t)(i * 9000)});
    struct floe_segment_image image;
    assert_int_equal(floe_segment_finish(w, &SESSION, seq, &nonce, 1700000000000, &image, &err), FLOE_OK);
    char key[FLOE_CHAIN_KEY_MAX], hex[FLOE_UUID_HEX];
    floe_chain_key(key, &SESSION, seq);
    floe_uuid_hex(hex, &nonce);
    if (flip) {
        struct floe_buf *flat = fixture_flatten(&image);
        flat->data[5000] ^= 1;
        struct floe_bufslice s = {flat, flat->data, flat->n};
        put(rig, key, FLOE_PUT_ANY, &s, 1, hex);
        floe_buf_unref(flat);
    } else {
        put(rig, key, FLOE_PUT_ANY, image.slices, image.slice_count, hex);
    }
    floe_segment_writer_destroy(&w);
}

static void put_seal(struct store_rig *rig, uint64_t seq)
{
    struct floe_seal seal = {.id = {.session = SESSION,
                                    .seq = seq,
                                    .cluster = fixture_uuid(7),
                                    .nonce = fixture_uuid((uint8_t)(0x80 + seq))},
                             .by = {3, 1, 99}};
    uint8_t bytes[FLOE_SEAL_BYTES];
    char key[FLOE_CHAIN_KEY_MAX];
    floe_seal_encode(bytes, &seal);
    floe_chain_key(key, &SESSION, seq);
    struct floe_bufslice s = {NULL, bytes, sizeof bytes};
    put(rig, key, FLOE_PUT_CREATE, &s, 1, "seal");
}

static int check(const struct store_rig *rig)
{
    char self[400], command[1200];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = 0;
    *strrchr(self, '/') = 0;
    snprintf(command, sizeof command, "%s/libs3_check --endpoint %s --bucket %s --prefix %s --partitions",
             self, env("FLOE_S3_ENDPOINT"), env("S3SERVER_BUCKET"), rig->ns);
    int rc = system(command);
    assert_true(WIFEXITED(rc));
    return WEXITSTATUS(rc);
}

static void another_client_reads_what_we_wrote(void **state)
{
    struct store_rig *rig = *state;
    put_text(rig, "cluster", "{\"id\":\"x\"}");
    put_text(rig, "table/topic/a", "{\"v\":1}");
    for (uint64_t seq = 0; seq < 3; seq++)
        put_segment(rig, seq, false);
    assert_int_equal(check(rig), 0);
    put_segment(rig, 5, false); /* an orphan behind a hole: nobody reads it */
    assert_int_equal(check(rig), 0);
    put_seal(rig, 3);
    assert_int_equal(check(rig), 0);
    put_segment(rig, 1, true);
    assert_int_equal(check(rig), 1);
    put_segment(rig, 1, false);
    assert_int_equal(check(rig), 0);
    put_text(rig, "table/topic/b", "{\"v\":");
    assert_int_equal(check(rig), 1);
    put_text(rig, "table/topic/b", "{}");
    put_text(rig, "something", "else");
    assert_int_equal(check(rig), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(another_client_reads_what_we_wrote, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
