#include <floe_cmocka.h>

#include <floe/base/assert.h>
#include <floe/broker/config.h>
#include <floe/group.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct floe_config c;
static struct floe_error err;

/* Flags up to a null, then variables up to a null. */
static enum floe_err load(const char *const *flags, const char *const *env)
{
    int argc = 0;
    while (flags != NULL && flags[argc] != NULL)
        argc++;
    memset(&c, 0, sizeof c);
    err.msg[0] = '\0';
    return floe_config_load(&c, argc, (char *const *)flags, (char *const *)env, &err);
}
#define FLAGS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define ENV FLAGS

static void refused(const char *const *flags, const char *const *env, const char *sentence)
{
    assert_int_equal(load(flags, env), FLOE_EINVAL);
    assert_string_equal(err.msg, sentence);
    assert_int_equal(c.listener_count, 0); /* untouched */
}

static char file_path[64];
static void write_file(const char *text)
{
    (void)snprintf(file_path, sizeof file_path, "/tmp/floe-config-XXXXXX");
    int fd = mkstemp(file_path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void defaults(void **state)
{
    (void)state;
    assert_int_equal(load(NULL, NULL), FLOE_OK);
    assert_string_equal(c.data_dir, "./floe-data");
    char here[512], want[600];
    assert_non_null(getcwd(here, sizeof here));
    (void)snprintf(want, sizeof want, "file://%s/floe-data/store", here);
    assert_string_equal(c.store.text, want);
    assert_string_equal(c.store.path, want + strlen("file://"));
    assert_int_equal(c.store.scheme, FLOE_CONFIG_FILE);
    assert_true(c.table_is_store);
    assert_int_equal(c.listener_count, 1);
    assert_string_equal(c.listeners[0].listen.host, "127.0.0.1");
    assert_int_equal(c.listeners[0].listen.port, 9092);
    assert_false(c.listeners[0].advertised);
    assert_int_equal(c.lease_ms, 10000);
    assert_int_equal(c.memory, 512 << 20);
    assert_int_equal(c.linger_ms, 5);
    assert_int_equal(c.segment_bytes, 8 << 20);
    assert_int_equal(c.puts_in_flight, 4);
    assert_true(c.put_rate == 0);
    assert_int_equal(c.put_burst, 50);
    assert_true(c.tier_limit == UINT64_C(10) << 30);
    assert_false(c.tier_all);
    assert_int_equal(c.net_threads, 1);
    assert_int_equal(c.log_level, FLOE_LOG_INFO);
    assert_false(c.log_json);
    assert_int_equal(c.num_partitions, 1);
    assert_true(c.auto_create_topics);
    assert_int_equal(c.default_replication_factor, 1);
    assert_int_equal(c.message_bytes_max, 1048588);
    assert_false(c.log_append_time);
    assert_int_equal(c.request_bytes_max, 100 << 20);
    assert_int_equal(c.s3_connections, 16);
}

static void flags_beat_environment_beats_file(void **state)
{
    (void)state;
    write_file("# a comment\n"
               "lease-ms = 3000   # behind a value\n"
               "\n"
               "linger-ms=7\r\n"
               "  rack = a#1  \n"
               "listen = 127.0.0.1:1, peer = 127.0.0.1:2\n"
               "auto.create.topics.enable = false");
    char var[100];
    (void)snprintf(var, sizeof var, "FLOE_CONFIG=%s", file_path);
    assert_int_equal(
        load(FLAGS("--lease-ms", "5000"), ENV("PATH=/bin", "FLOE_LEASE_MS=4000", "FLOE_LINGER_MS=8", var)),
        FLOE_EINVAL); /* "peer = " has spaces around its = */
    assert_non_null(strstr(err.msg, ":6: listen: \"peer = 127.0.0.1:2\": a listener's name has letters"));
    unlink(file_path);
    write_file("lease-ms = 3000   # behind a value\nlinger-ms=7\r\n  rack = a#1  \nput-burst = 9\n"
               "listen = 127.0.0.1:1, peer=127.0.0.1:2\nauto.create.topics.enable = false");
    (void)snprintf(var, sizeof var, "FLOE_CONFIG=%s", file_path);
    assert_int_equal(load(FLAGS("--lease-ms", "5000"), ENV("FLOE_LEASE_MS=4000", "FLOE_LINGER_MS=8", var)),
                     FLOE_OK);
    assert_int_equal(c.lease_ms, 5000);
    assert_int_equal(c.linger_ms, 8);
    assert_int_equal(c.put_burst, 9);
    assert_string_equal(c.rack, "a#1");
    assert_int_equal(c.listener_count, 2);
    assert_string_equal(c.listeners[1].name, "peer");
    assert_int_equal(c.peer_listener, 1);
    assert_false(c.auto_create_topics);
    /* Repeats are not mixed between sources. */
    assert_int_equal(load(FLAGS("--config", file_path, "--listen=127.0.0.1:3"), NULL), FLOE_OK);
    assert_int_equal(c.listener_count, 1);
    assert_int_equal(c.listeners[0].listen.port, 3);
    unlink(file_path);
}

static void file_errors_name_the_line(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"lease-ms = 3000\n\nlissen = 1\n", ":3: unknown setting \"lissen\"; did you mean \"listen\"?"},
        {"\n lease-ms\n", ":2: \"lease-ms\" is not a line of the form key = value"},
        {"= 4\n", ":1: \"= 4\" is not a line of the form key = value"},
        {"lease-ms = soon\n",
         ":1: lease-ms: \"soon\" is not a duration: write digits and ms, s, m, h or d, for "
         "example 10s"},
        {"rack = a\nrack = b\n", ":2: rack stands in line 1 already; repeats are separated by commas"},
        {"config = x\n", ":1: a configuration file names no other one"},
        {"\xef\xbb\xbflease-ms = soon\n",
         ":1: lease-ms: \"soon\" is not a duration: write digits and ms, s, m, h or d, for example 10s"},
        {"rack = \"a\"\n", ":1: rack: \"a\" stands in quotes: values are written without"},
        {"listen = a=127.0.0.1:1,b=127.0.0.1:1\n",
         ":1: listen: 127.0.0.1:1 is the address of listener a already: give each a port of its own"},
        {"listen = 127.0.0.1:1\nhttp = 127.0.0.1:1\n",
         ":2: http: 127.0.0.1:1 is the address of the listener already: give each a port of its own"},
        {"qqqqqqqq = x\n", ":1: unknown setting \"qqqqqqqq\"; `floe broker --help` lists them all"},
    };
    for (size_t i = 0; i < FLOE_COUNTOF(cases); i++) {
        char want[400];
        write_file(cases[i][0]);
        (void)snprintf(want, sizeof want, "%s%s", file_path, cases[i][1]);
        refused(FLAGS("--config", file_path), NULL, want);
        unlink(file_path);
    }
    assert_int_equal(load(FLAGS("--config", "/nonexistent/floe.conf"), NULL), FLOE_ENOTFOUND);
    assert_string_equal(
        err.msg, "cannot read the configuration file /nonexistent/floe.conf: No such file or directory");
    assert_int_equal(load(FLAGS("--config", "/"), NULL), FLOE_EIO);
}

static void flag_errors(void **state)
{
    (void)state;
    refused(FLAGS("--lissen", "x"), NULL, "unknown setting \"--lissen\"; did you mean \"--listen\"?");
    refused(FLAGS("--lease"), NULL, "unknown setting \"--lease\"; did you mean \"--lease-ms\"?");
    refused(FLAGS("--lease-ms"), NULL, "--lease-ms needs a value");
    refused(FLAGS("store"), NULL, "\"store\" is not a flag: flags are written --NAME VALUE");
    refused(FLAGS("--"), NULL, "\"--\" is not a flag: flags are written --NAME VALUE");
    refused(FLAGS("--rack", "a", "--rack", "b"), NULL, "--rack is given twice");
    refused(FLAGS("--lease-ms=1999"), NULL,
            "--lease-ms: \"1999\" is out of range: allowed is 2000 to 600000 "
            "milliseconds");
    refused(FLAGS("--lease-ms=11m"), NULL,
            "--lease-ms: \"11m\" is out of range: allowed is 2000 to 600000 "
            "milliseconds");
    refused(FLAGS("--memory", "64MiB"), NULL,
            "--memory: \"64MiB\" is out of range: allowed is 128MiB to 64TiB");
    refused(FLAGS("--log-level", "loud"), NULL,
            "--log-level: \"loud\" is not allowed: choose one of error|warn|info|debug");
    refused(FLAGS("--s3-style", ""), NULL,
            "--s3-style: \"\" is not allowed: choose one of auto|path|virtual");
    refused(FLAGS("--put-rate", "fast"), NULL,
            "--put-rate: \"fast\" is not allowed: write auto or a number from 0 to 100000");
    refused(FLAGS("--auto.create.topics.enable", "2"), NULL,
            "--auto.create.topics.enable: \"2\" is not true or false");
    refused(FLAGS("--data-dir", ""), NULL, "--data-dir: an empty name is no directory");
    refused(FLAGS("--memory=128MiB", "--segment-bytes=64MiB"), NULL,
            "--memory: 128MiB is too little for puts-in-flight 4 and segment-bytes 64MiB: at least 640MiB");
    refused(FLAGS("--memory=128MiB", "--socket.request.max.bytes=33MiB"), NULL,
            "--socket.request.max.bytes: 33MiB is more than a quarter of memory, which is 32MiB");
    refused(FLAGS("--message.max.bytes=2MiB", "--socket.request.max.bytes=1MiB"), NULL,
            "--message.max.bytes: 2MiB is more than socket.request.max.bytes, which is 1MiB");
    assert_int_equal(load(FLAGS("--memory=128MiB"), NULL), FLOE_OK);
    assert_int_equal(c.request_bytes_max, 32 << 20);
}

static void environment_errors(void **state)
{
    (void)state;
    refused(NULL, ENV("FLOE_LEASE_MS=x"),
            "FLOE_LEASE_MS: \"x\" is not a duration: write digits and ms, s, m, h or d, for example 10s");
    refused(NULL, ENV("FLOE_STOR=x"),
            "environment: unknown setting \"FLOE_STOR\"; did you mean \"FLOE_STORE\"?");
    /* Kubernetes' own for a service called floe, and the tests'. */
    assert_int_equal(load(NULL, ENV("FLOE_SERVICE_HOST=10.0.0.1", "FLOE_PORT=tcp://10.0.0.1:9092",
                                    "FLOE_PORT_9092_TCP=x", "FLOE_TEST_S3=http://x", "FLOE", "floe_x=1")),
                     FLOE_OK);
    /* Of other services whose names begin with floe-; the longest such name has 63 letters. */
    assert_int_equal(
        load(NULL,
             ENV("FLOE_KAFKA_SERVICE_HOST=10.0.0.1", "FLOE_KAFKA_SERVICE_PORT=9092",
                 "FLOE_KAFKA_SERVICE_PORT_TLS_9093=9093", "FLOE_KAFKA_PORT=tcp://10.0.0.1:9092",
                 "FLOE_KAFKA_PORT_9092_TCP=tcp://10.0.0.1:9092", "FLOE_KAFKA_PORT_9092_TCP_PROTO=tcp",
                 "FLOE_KAFKA_PORT_9092_TCP_PORT=9092", "FLOE_KAFKA_PORT_9092_TCP_ADDR=10.0.0.1",
                 "FLOE_89012345678901234567890123456789012345678901234567890123_SERVICE_HOST=10.0.0.1")),
        FLOE_OK);
    refused(NULL, ENV("FLOE_HTTP_PORT=8080"),
            "environment: unknown setting \"FLOE_HTTP_PORT\"; `floe broker --help` lists them all");
    assert_int_equal(load(NULL, ENV("FLOE_NUM_PARTITIONS=12", "FLOE_AUTO_CREATE_TOPICS_ENABLE=no")), FLOE_OK);
    assert_int_equal(c.num_partitions, 12);
    assert_false(c.auto_create_topics);
}

static void tests_may_have_short_leases(void **state)
{
    (void)state;
    assert_int_equal(load(FLAGS("--lease-ms=300"), ENV("FLOE_TEST_LEASE_MS_MIN=300")), FLOE_OK);
    assert_int_equal(c.lease_ms, 300);
    refused(FLAGS("--lease-ms=299"), ENV("FLOE_TEST_LEASE_MS_MIN=1"),
            "--lease-ms: \"299\" is out of range: allowed is 300 to 600000 milliseconds");
}

static void stores(void **state)
{
    (void)state;
    assert_int_equal(load(FLAGS("--store", "s3://my-bucket/a/b/", "--table=s3://my-bucket/a/b"), NULL),
                     FLOE_OK);
    assert_int_equal(c.store.scheme, FLOE_CONFIG_S3);
    assert_string_equal(c.store.bucket, "my-bucket");
    assert_string_equal(c.store.path, "a/b");
    assert_true(c.table_is_store);
    assert_true(c.put_rate == 10); /* AWS costs money */
    assert_true(c.commit_gather_ms == 200 && c.commit_gather_group_ms == 200);
    assert_int_equal(
        load(FLAGS("--store=s3://bucket", "--table=file:///x", "--s3-endpoint=http://127.0.0.1:9000/"), NULL),
        FLOE_OK);
    assert_string_equal(c.store.path, "");
    assert_string_equal(c.table.path, "/x");
    assert_false(c.table_is_store);
    assert_string_equal(c.s3_endpoint, "http://127.0.0.1:9000");
    assert_true(c.put_rate == 0);
    assert_true(c.commit_gather_ms == 200 && c.commit_gather_group_ms == 5);
    assert_int_equal(load(FLAGS("--store=s3://bucket", "--s3-endpoint=https://s3.eu-west-1.amazonaws.com",
                                "--put-rate=3", "--commit-gather-ms=1s"),
                          NULL),
                     FLOE_OK);
    assert_true(c.commit_gather_ms == 1000 && c.commit_gather_group_ms == 1000);
    refused(
        FLAGS("--commit-gather-ms=2s"), NULL,
        "--commit-gather-ms: \"2s\" is not allowed: write auto or a duration from 0 to 1000 milliseconds, "
        "for example 200ms");
    refused(FLAGS("--store=file://relative"), NULL,
            "--store: \"file://relative\" is not absolute: write file:///DIR with three slashes, for example "
            "file:///var/lib/floe");
    assert_int_equal(load(FLAGS("--store=s3://bucket", "--s3-endpoint=https://s3.eu-west-1.amazonaws.com",
                                "--put-rate=3", "--commit-gather-ms=0"),
                          NULL),
                     FLOE_OK);
    assert_true(c.put_rate == 3);
    assert_true(c.commit_gather_ms == 0 && c.commit_gather_group_ms == 0);
}

static void bad_stores(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "s3:/x",
        "s3://",
        "s3://ab",
        "s3://a b c/x",
        "s3://bucket//x",
        "s3://bucket/a//b",
        "s3://bucket/..",
        "s3://bucket/a/./b",
        "s3://bucket/a?b",
        "file://",
        "file://relative",
        "file://./relative",
        "/var/floe",
        "http://x",
        "s3://bucket/a b",
    };
    for (size_t i = 0; i < FLOE_COUNTOF(bad); i++) {
        assert_int_equal(load(FLAGS("--store", bad[i]), NULL), FLOE_EINVAL);
        assert_int_equal(strncmp(err.msg, "--store: \"", 10), 0);
        assert_int_equal(load(FLAGS("--table", bad[i]), NULL), FLOE_EINVAL);
        assert_int_equal(strncmp(err.msg, "--table: \"", 10), 0);
    }
    refused(FLAGS("--store", "/var/floe"), NULL,
            "--store: \"/var/floe\" is not file:///DIR or s3://BUCKET/PREFIX");
    refused(FLAGS("--s3-endpoint", "127.0.0.1:9000"), NULL,
            "--s3-endpoint: \"127.0.0.1:9000\" is not http://HOST:PORT or https://HOST:PORT");
    refused(
        FLAGS("--s3-endpoint", "http://h:1/bucket"), NULL,
        "--s3-endpoint: \"http://h:1/bucket\" has more than a host and a port; the bucket stands in --store");
    refused(FLAGS("--s3-endpoint", "https://"), NULL,
            "--s3-endpoint: \"https://\" is not http://HOST:PORT or https://HOST:PORT");
}

static void listeners(void **state)
{
    (void)state;
    assert_int_equal(
        load(FLAGS("--listen", "in=0.0.0.0:9092", "--listen", "out=[::]:9094", "--advertise",
                   "in=broker-1:9092", "--advertise=out=example.org:19094", "--peer-listener=out"),
             NULL),
        FLOE_OK);
    assert_int_equal(c.listener_count, 2);
    assert_string_equal(c.listeners[1].advertise.host, "example.org");
    assert_int_equal(c.listeners[1].advertise.port, 19094);
    assert_int_equal(c.peer_listener, 1);
    assert_int_equal(load(FLAGS("--listen", "0.0.0.0:0", "--advertise", "h:1"), NULL), FLOE_OK);
    assert_int_equal(load(FLAGS("--listen", "a=127.0.0.1:0", "--advertise", "h:1"), NULL), FLOE_OK);
    assert_true(c.listeners[0].advertised);

    refused(
        FLAGS("--listen", "0.0.0.0:9092"), NULL,
        "--listen: 0.0.0.0:9092 listens on every interface, so clients must be told a name: add --advertise "
        "HOST:9092");
    refused(NULL, ENV("FLOE_LISTEN=in=127.0.0.1:1,out=[::]:9094"),
            "FLOE_LISTEN: out=[::]:9094 listens on every interface, so clients must be told a name: add "
            "--advertise "
            "out=HOST:9094");
    refused(FLAGS("--listen", "0.0.0.0:9092", "--advertise", "0.0.0.0:9092"), NULL,
            "--advertise: \"0.0.0.0:9092\" names no machine that a client could connect to");
    refused(FLAGS("--listen", "a=127.0.0.1:1", "--listen", "a=127.0.0.1:2"), NULL,
            "--listen: two listeners are named \"a\"");
    refused(FLAGS("--listen", "127.0.0.1:1", "--listen", "127.0.0.1:2"), NULL,
            "--listen: \"127.0.0.1:2\" is the second listener without a name: write NAME=HOST:PORT");
    refused(FLAGS("--listen", "a=127.0.0.1:1,b=127.0.0.1:2", "--advertise", "h:1"), NULL,
            "--advertise: \"h:1\" does not say for which listener: write NAME=HOST:PORT");
    refused(FLAGS("--advertise", "x=h:1"), NULL, "--advertise: \"x=h:1\": no listener is named \"x\"");
    refused(FLAGS("--advertise", "h:1,h:2"), NULL,
            "--advertise: \"h:2\" is the second address of its listener");
    refused(FLAGS("--advertise", "h:0"), NULL, "--advertise: \"h:0\": the port is a number from 1 to 65535");
    refused(FLAGS("--listen", "=h:1"), NULL, "--listen: \"=h:1\": a listener's name has 1 to 31 letters");
    refused(FLAGS("--peer-listener", "x"), NULL, "--peer-listener: no listener is named \"x\"");
    refused(FLAGS("--listen", "a=h:1,b=h:1,c=h:1,d=h:1,e=h:1,f=h:1,g=h:1,h=h:1,i=h:1"), NULL,
            "--listen: more than 8 listeners");
    refused(FLAGS("--listen", ",,,,,,,,,,,,,,,,,,"), NULL, "--listen: more than 16 values");
}

/* Help and JSON come from the table: every name, flag and variable is there, and defaults are values. */
static void help_is_complete(void **state)
{
    (void)state;
    struct floe_writer text, js;
    floe_writer_init(&text, 1 << 20);
    floe_writer_init(&js, 1 << 20);
    floe_config_help(&text);
    floe_config_help_json(&js);
    floe_write_u8(&text, 0);
    assert_false(text.bad);
    json_t *all = json_loadb((const char *)js.p, js.n, 0, NULL);
    assert_non_null(all);
    assert_true(json_array_size(all) > 30);
    size_t i;
    json_t *o;
    json_array_foreach(all, i, o)
    {
        char flag[80];
        const char *name = json_string_value(json_object_get(o, "name"));
        (void)snprintf(flag, sizeof flag, "  --%s ", name);
        assert_non_null(strstr((const char *)text.p, flag));
        assert_non_null(strstr((const char *)text.p, json_string_value(json_object_get(o, "environment"))));
        assert_true(strlen(json_string_value(json_object_get(o, "help"))) > 15);
        assert_true(strlen(json_string_value(json_object_get(o, "default"))) > 0);
        /* An empty value is refused or means none; it never crashes. */
        (void)snprintf(flag, sizeof flag, "--%s=", name);
        if (load(FLAGS(flag), NULL) != FLOE_OK)
            assert_non_null(strstr(err.msg, name));
    }
    json_decref(all);
    floe_writer_fini(&text);
    floe_writer_fini(&js);
}

static void kafka_sees_what_is_set(void **state)
{
    char out[FLOE_STR_NUM];
    (void)state;
    assert_int_equal(
        load(FLAGS("--group.consumer.migration.policy", "upgrade", "--group.max.size", "7"), NULL), FLOE_OK);
    assert_string_equal(floe_config_kafka(&c, "group.consumer.migration.policy", out), "upgrade");
    assert_int_equal(c.group_migration, FLOE_GROUP_MIGRATION_UPGRADE);
    assert_string_equal(floe_config_kafka(&c, "group.max.size", out), "7");
    assert_string_equal(floe_config_kafka(&c, "message.timestamp.type", out), "CreateTime");
    assert_null(floe_config_kafka(&c, "lease-ms", out));
    assert_int_equal(load(FLAGS("--group.consumer.migration.policy", "both"), NULL), FLOE_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(flags_beat_environment_beats_file),
        cmocka_unit_test(file_errors_name_the_line),
        cmocka_unit_test(flag_errors),
        cmocka_unit_test(environment_errors),
        cmocka_unit_test(tests_may_have_short_leases),
        cmocka_unit_test(stores),
        cmocka_unit_test(bad_stores),
        cmocka_unit_test(listeners),
        cmocka_unit_test(help_is_complete),
        cmocka_unit_test(kafka_sees_what_is_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
