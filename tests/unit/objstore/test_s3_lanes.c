/* Which requests the `s3` driver has under way at the same time, seen by a server that never answers. */
#include "objstore/s3/s3_int.h"
#include "store_suite.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define ORDINARY (S3_CONTROL_CONNECTIONS - S3_CONTROL_URGENT)
#define WAIT_MS 10000

struct rig {
    struct store_rig store;
    int listener, fd[S3_CONTROL_CONNECTIONS];
    uint32_t connections;
    char host[32]; /* and port, as the endpoint spells them */
    struct floe_store_req waiting[2 * S3_CONTROL_CONNECTIONS], probe, renewal; /* until the store is closed */
};

static int setup_at(void **state, const char *host)
{
    struct rig *rig = calloc(1, sizeof *rig);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    char endpoint[64];
    struct floe_store_s3_config c = {
        .bucket = "bkt", .endpoint = endpoint, .credentials = {"access", "secret", ""}};
    struct floe_error err = {0};
    rig->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(rig->listener, (struct sockaddr *)&a, n) != 0 || listen(rig->listener, 64) != 0 ||
        getsockname(rig->listener, (struct sockaddr *)&a, &n) != 0)
        return -1;
    snprintf(rig->host, sizeof rig->host, "%s:%u", host, ntohs(a.sin_port));
    snprintf(endpoint, sizeof endpoint, "http://%s", rig->host);
    store_rig_open(&rig->store);
    if (floe_store_s3_create(&rig->store.store, rig->store.loop, &c, &err) != FLOE_OK)
        fail_msg("%s", err.msg);
    *state = rig;
    return 0;
}

static int setup(void **state)
{
    return setup_at(state, "127.0.0.1");
}

static int setup_short(void **state)
{
    return setup_at(state, "127.1");
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    store_rig_close(&rig->store);
    for (uint32_t i = 0; i < rig->connections; i++)
        close(rig->fd[i]);
    close(rig->listener);
    free(rig);
    return 0;
}

/* Until a request for the key is there on a connection of its own. */
static void expect_request(struct rig *rig, const char *key)
{
    struct pollfd p = {.fd = rig->listener, .events = POLLIN};
    char text[8192];
    size_t n = 0;
    if (poll(&p, 1, WAIT_MS) != 1)
        fail_msg("no connection for %s", key);
    assert_true(rig->connections < S3_CONTROL_CONNECTIONS);
    int fd = rig->fd[rig->connections++] = accept(rig->listener, NULL, NULL);
    do {
        ssize_t k = recv(fd, text + n, sizeof text - 1 - n, 0);
        assert_true(k > 0);
        n += (size_t)k;
        text[n] = '\0';
    } while (!strstr(text, "\r\n\r\n"));
    if (!strstr(text, key))
        fail_msg("not for %s:\n%s", key, text);
}

static struct floe_store_req get_req(struct rig *rig, const char *key, bool urgent)
{
    struct floe_store_req r = store_rig_req(&rig->store, FLOE_STORE_GET, key);
    r.cls = FLOE_STORE_CONTROL;
    r.urgent = urgent;
    r.length = 10;
    r.timeout_us = 600000000;
    return r;
}

/* Ordinary requests leave room for two urgent ones: a renewal goes out while the table's probe waits, and a
 * probe while a renewal does. */
static void two_urgent_requests_go_past_those_that_wait(void **state)
{
    struct rig *rig = *state;
    for (size_t i = 0; i < FLOE_COUNTOF(rig->waiting); i++) {
        rig->waiting[i] = get_req(rig, "ordinary", false);
        floe_store_submit(rig->store.store, &rig->waiting[i]);
    }
    for (int i = 0; i < ORDINARY; i++)
        expect_request(rig, "/ordinary ");
    rig->probe = get_req(rig, "probe", true);
    floe_store_submit(rig->store.store, &rig->probe);
    expect_request(rig, "/probe ");
    rig->renewal = get_req(rig, "renewal", true);
    floe_store_submit(rig->store.store, &rig->renewal);
    expect_request(rig, "/renewal ");
}

/* libcurl makes 127.0.0.1 of the address; what was signed is what must arrive. */
static void host_is_sent_as_it_was_signed(void **state)
{
    struct rig *rig = *state;
    char line[64];
    rig->probe = get_req(rig, "probe", true);
    floe_store_submit(rig->store.store, &rig->probe);
    snprintf(line, sizeof line, "\r\nHost: %s\r\n", rig->host);
    expect_request(rig, line);
}

/* Only what stays on this machine may go unsigned without TLS. */
static void only_this_machine_is_loopback(void **state)
{
    static const struct {
        const char *endpoint;
        bool loopback;
    } cases[] = {{"http://127.0.0.1:9000", true},
                 {"http://127.1", true},
                 {"http://localhost", true},
                 {"http://LOCALHOST:9000", true},
                 {"http://[::1]:9000", true},
                 {"http://localhost-minio:9000", false},
                 {"http://localhost.example.org", false},
                 {"http://127.example.org:9000", false},
                 {"http://127.0.0.1.example.org", false},
                 {"http://[::1:2]:9000", false}};
    struct store_rig rig = {0};
    (void)state;
    for (size_t i = 0; i < FLOE_COUNTOF(cases); i++) {
        struct floe_store_s3_config c = {
            .bucket = "bkt", .endpoint = cases[i].endpoint, .credentials = {"access", "secret", ""}};
        struct floe_error err = {0};
        store_rig_open(&rig);
        assert_int_equal(floe_store_s3_create(&rig.store, rig.loop, &c, &err), FLOE_OK);
        bool is = FLOE_CONTAINER(rig.store, struct s3_store, base)->loopback;
        store_rig_close(&rig);
        if (is != cases[i].loopback)
            fail_msg("%s", cases[i].endpoint);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(two_urgent_requests_go_past_those_that_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(host_is_sent_as_it_was_signed, setup_short, teardown),
        cmocka_unit_test(only_this_machine_is_loopback),
    };
    return cmocka_run_group_tests_name("s3_lanes", tests, NULL, NULL);
}
