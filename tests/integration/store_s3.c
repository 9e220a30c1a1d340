/* The `s3` store against a real server: the suite, the probe, and refusals that only a server can give. Run
 * by tests/support/s3server, which sets the environment. */
#include "store_suite.h"

#include <floe/objstore/s3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <unistd.h>
#include <cmocka.h>

static const char *env(const char *name)
{
    const char *v = getenv(name);
    if (!v || !v[0])
        fail_msg("%s is not set: run this through tests/support/s3server run", name);
    return v;
}

static struct floe_store_s3_config config(void)
{
    struct floe_store_s3_config c = {.bucket = env("S3SERVER_BUCKET"),
                                     .endpoint = env("FLOE_S3_ENDPOINT"),
                                     .region = env("FLOE_S3_REGION"),
                                     .prefix = "pre fix/x+y",
                                     .ca_file = getenv("S3SERVER_CA")};
    snprintf(c.credentials.access_key, sizeof c.credentials.access_key, "%s", env("AWS_ACCESS_KEY_ID"));
    snprintf(c.credentials.secret_key, sizeof c.credentials.secret_key, "%s", env("AWS_SECRET_ACCESS_KEY"));
    return c;
}

static void use(struct store_rig *rig, const struct floe_store_s3_config *c)
{
    struct floe_error err = {0};
    struct floe_store *s = NULL;
    if (floe_store_s3_create(&s, rig->loop, c, &err) != FLOE_OK)
        fail_msg("%s", err.msg);
    rig->store = s;
}

static int setup(void **state)
{
    struct store_rig *rig = calloc(1, sizeof *rig);
    struct floe_store_s3_config c = config();
    store_rig_open(rig);
    use(rig, &c);
    rig->no_nesting = strncmp(env("S3SERVER_KIND"), "minio", 5) == 0;
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    store_rig_close(*state);
    free(*state);
    return 0;
}

static void suite(void **state)
{
    for (uint32_t i = 0; i < store_suite_count; i++) {
        printf("  %s\n", store_suite[i].name);
        fflush(stdout);
        store_suite[i].fn(*state);
    }
}

static struct floe_error verdict;

static void on_verdict(void *user, const struct floe_error *err)
{
    verdict = *err;
    floe_loop_uv_stop(((struct store_rig *)user)->uv);
}

static void probe(void **state)
{
    struct store_rig *rig = *state;
    struct floe_arena scratch;
    floe_arena_init(&scratch, 1 << 20);
    floe_store_probe_start(rig->store, &scratch, on_verdict, rig);
    floe_loop_uv_run(rig->uv);
    floe_arena_fini(&scratch);
    if (verdict.code != FLOE_OK)
        fail_msg("%s: %s", floe_err_name(verdict.code), verdict.msg);
}

static void closed(void *user)
{
    floe_loop_uv_stop(((struct store_rig *)user)->uv);
}

/* Does one request on a store of another configuration. */
static struct floe_store_req with(struct store_rig *rig, const struct floe_store_s3_config *c,
                                  enum floe_store_kind kind, const char *key)
{
    struct floe_store *own = rig->store;
    struct floe_store_req r = store_rig_req(rig, kind, key);
    use(rig, c);
    r.attempts = 2;
    (void)store_rig_do(rig, &r);
    floe_store_close(rig->store, closed, rig);
    floe_loop_uv_run(rig->uv);
    rig->store = own;
    return r;
}

static void refusals(void **state)
{
    struct store_rig *rig = *state;
    struct floe_store_s3_config c = config();
    const enum floe_store_kind kinds[] = {FLOE_STORE_PUT, FLOE_STORE_GET, FLOE_STORE_HEAD, FLOE_STORE_LIST};
    memcpy(c.credentials.secret_key, "wrong", 6);
    for (size_t i = 0; i < FLOE_COUNTOF(kinds); i++) {
        struct floe_store_req r = with(rig, &c, kinds[i], "x");
        assert_int_equal(r.err.code, FLOE_EDENIED);
        assert_int_equal(r.sent, 1);
    }
    /* A user who may use one bucket only is not told what others there are. */
    bool one_bucket = strcmp(env("S3SERVER_KIND"), "minio-user") == 0;
    c = config();
    c.bucket = "no-such-bucket-here";
    for (size_t i = 0; i < FLOE_COUNTOF(kinds); i++) {
        struct floe_store_req r = with(rig, &c, kinds[i], "x");
        /* Of a read it does not mean that the object is not there; an answer to HEAD cannot tell the two. */
        bool absent = !one_bucket && (kinds[i] == FLOE_STORE_PUT || kinds[i] == FLOE_STORE_HEAD);
        if (r.err.code != (absent ? FLOE_ENOTFOUND : FLOE_EDENIED))
            fail_msg("%s", r.err.msg);
        if (!one_bucket && kinds[i] != FLOE_STORE_HEAD)
            assert_non_null(strstr(r.err.msg, "bucket no-such-bucket-here is not there"));
    }
}

/* A port of loopback where nobody listens: bound, not listening. */
static int closed_port(char endpoint[64])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    snprintf(endpoint, 64, "http://127.0.0.1:%d", ntohs(a.sin_port));
    return fd;
}

static void nobody_listens(void **state)
{
    struct store_rig *rig = *state;
    struct floe_store_s3_config c = config();
    char endpoint[64];
    int fd = closed_port(endpoint);
    c.endpoint = endpoint;
    struct floe_store_req r = with(rig, &c, FLOE_STORE_PUT, "x");
    assert_int_equal(r.err.code, FLOE_EREFUSED);
    assert_int_equal(r.sent, 0);
    assert_non_null(strstr(r.err.msg, endpoint));
    close(fd);
    c.endpoint = "http://no-such-host.invalid";
    r = with(rig, &c, FLOE_STORE_GET, "x");
    assert_int_equal(r.err.code, FLOE_EUNAVAILABLE);
    assert_int_equal(r.sent, 0);
}

/* A server that takes connections and says nothing: the deadline decides, and control requests do not wait
 * behind data. */
static void silence(void **state)
{
    struct store_rig *rig = *state;
    struct floe_store_s3_config c = config();
    struct floe_store *own = rig->store;
    char endpoint[64];
    int fd = closed_port(endpoint);
    assert_int_equal(listen(fd, 128), 0);
    c.endpoint = endpoint;
    c.connections = 2;
    use(rig, &c);
    struct floe_store_req r[7];
    for (int i = 0; i < 7; i++) {
        r[i] = store_rig_req(rig, i < 4 ? FLOE_STORE_PUT : FLOE_STORE_GET, "x");
        r[i].cond = FLOE_PUT_CREATE;
        r[i].timeout_us = 200000;
        r[i].attempts = 3;
    }
    r[6].cls = FLOE_STORE_CONTROL;
    store_rig_do_all(rig, r, 7);
    int sent = 0, unsent = 0;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(r[i].err.code, r[i].sent ? FLOE_EINDETERMINATE : FLOE_EUNAVAILABLE);
        sent += r[i].sent > 0;
        unsent += r[i].sent == 0;
    }
    assert_int_equal(sent, 2); /* one for each lane */
    assert_int_equal(unsent, 2);
    for (int i = 4; i < 7; i++)
        assert_int_equal(r[i].err.code, FLOE_ETIMEOUT);
    assert_int_equal(r[6].sent, 1);
    floe_store_close(rig->store, closed, rig);
    floe_loop_uv_run(rig->uv);
    rig->store = own;
    close(fd);
}

/* The bucket as a host name. */
static void virtual_host(void **state)
{
    struct store_rig *rig = *state;
    struct floe_store_s3_config c = config();
    struct floe_store *own = rig->store;
    char endpoint[64];
    bool given = strcmp(env("S3SERVER_KIND"), "given") == 0;
    const char *style = getenv("FLOE_TEST_S3_STYLE");
    if (given && style && strcmp(style, "path") == 0) {
        print_message("FLOE_TEST_S3_STYLE=path: buckets of the given server are no host names, not tested\n");
        return;
    }
    if (!given) { /* ours are known by this name */
        const char *port = strrchr(c.endpoint, ':');
        snprintf(endpoint, sizeof endpoint, "%s://localhost%s", c.ca_file ? "https" : "http", port);
        c.endpoint = endpoint;
    }
    c.virtual_host = true;
    use(rig, &c);
    for (uint32_t i = 0; i < store_suite_count; i++) {
        if (strcmp(store_suite[i].name, "cancel") != 0 && strcmp(store_suite[i].name, "large_object") != 0)
            store_suite[i].fn(rig);
    }
    floe_store_close(rig->store, closed, rig);
    floe_loop_uv_run(rig->uv);
    rig->store = own;
    store_rig_expect(rig, "c/one", "first"); /* the same bucket */
}

static void untrusted(void **state)
{
    struct store_rig *rig = *state;
    struct floe_store_s3_config c = config();
    if (!c.ca_file)
        return; /* plain HTTP: the run with TLS has it */
    c.ca_file = NULL;
    struct floe_store_req r = with(rig, &c, FLOE_STORE_PUT, "x");
    assert_int_equal(r.err.code, FLOE_EDENIED);
    assert_int_equal(r.sent, 0);
    assert_non_null(strstr(r.err.msg, "--s3-ca"));
    struct floe_store *none = NULL;
    struct floe_error err = {0};
    c.ca_file = "/nothing/here.pem";
    assert_int_equal(floe_store_s3_create(&none, rig->loop, &c, &err), FLOE_EINVAL);
    assert_null(none);
    assert_non_null(strstr(err.msg, "--s3-ca \"/nothing/here.pem\" cannot be read"));
    c = config();
    c.sign_payload_tls = true;
    r = with(rig, &c, FLOE_STORE_PUT, "x");
    assert_int_equal(r.err.code, FLOE_OK);
}

static void bad_configuration(void **state)
{
    struct store_rig *rig = *state;
    struct floe_store *s = NULL;
    struct floe_error err = {0};
    struct floe_store_s3_config c = config();
    static const char *const endpoints[] = {"127.0.0.1:9000", "ftp://x", "http://", "http://host/path",
                                            "http://u@h"};
    for (size_t i = 0; i < FLOE_COUNTOF(endpoints); i++) {
        c.endpoint = endpoints[i];
        assert_int_equal(floe_store_s3_create(&s, rig->loop, &c, &err), FLOE_EINVAL);
    }
    c = config();
    c.bucket = "a/b";
    assert_int_equal(floe_store_s3_create(&s, rig->loop, &c, &err), FLOE_EINVAL);
    c = config();
    c.prefix = "a//b";
    assert_int_equal(floe_store_s3_create(&s, rig->loop, &c, &err), FLOE_EINVAL);
    c = config();
    c.credentials.secret_key[0] = '\0';
    assert_int_equal(floe_store_s3_create(&s, rig->loop, &c, &err), FLOE_EDENIED);
    assert_non_null(strstr(err.msg, "AWS_ACCESS_KEY_ID"));
    assert_null(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(probe, setup, teardown),
        cmocka_unit_test_setup_teardown(suite, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_listens, setup, teardown),
        cmocka_unit_test_setup_teardown(silence, setup, teardown),
        cmocka_unit_test_setup_teardown(virtual_host, setup, teardown),
        cmocka_unit_test_setup_teardown(untrusted, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_configuration, setup, teardown),
    };
    return cmocka_run_group_tests_name("integration.store_s3", tests, NULL, NULL);
}
