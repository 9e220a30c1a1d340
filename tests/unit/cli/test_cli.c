/* ctest labels: threads */
/* The commands against a small broker of the test's own, in a thread. */
#include <floe_cmocka.h>

#include <floe/base/assert.h>
#include <floe/cli.h>
#include <floe/kafka/codec.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum mode { NORMAL, OLD_API_VERSIONS, HUGE_ANSWER, CLOSES, GARBAGE, WRONG_CORRELATION };
static _Atomic int mode;
static int listener = -1, port;
static char bootstrap[64];
static pthread_t server_thread;
static struct floe_kafka_CreateTopicsRequest_CreatableTopic last_created;
static char last_name[64], last_config[128];

static bool read_all(int fd, uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t got = recv(fd, p, n, 0);
        if (got <= 0)
            return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

static void *api_versions(struct floe_arena *a)
{
    static const int16_t keys[][3] = {{3, 0, 13}, {18, 0, 4}, {19, 2, 7}, {20, 1, 6}, {32, 1, 4}};
    struct floe_kafka_ApiVersionsResponse *r = floe_arena_alloc(a, sizeof *r);
    floe_kafka_defaults(&floe_kafka_ApiVersionsResponse_desc, r);
    r->ApiKeys_n = (int32_t)FLOE_COUNTOF(keys);
    r->ApiKeys = floe_kafka_array(&floe_kafka_ApiVersionsResponse_ApiVersion_desc, r->ApiKeys_n, a);
    for (int32_t i = 0; i < r->ApiKeys_n; i++) {
        r->ApiKeys[i].ApiKey = keys[i][0];
        r->ApiKeys[i].MinVersion = keys[i][1];
        r->ApiKeys[i].MaxVersion = keys[i][2];
    }
    return r;
}

static void *create_topics(struct floe_arena *a, const struct floe_kafka_CreateTopicsRequest *q)
{
    struct floe_kafka_CreateTopicsResponse *r = floe_arena_alloc(a, sizeof *r);
    floe_kafka_defaults(&floe_kafka_CreateTopicsResponse_desc, r);
    r->Topics_n = q->Topics_n;
    r->Topics = floe_kafka_array(&floe_kafka_CreateTopicsResponse_CreatableTopicResult_desc, q->Topics_n, a);
    for (int32_t i = 0; i < q->Topics_n; i++) {
        last_created = q->Topics[i];
        (void)snprintf(last_name, sizeof last_name, "%.*s", (int)q->Topics[i].Name.n, q->Topics[i].Name.p);
        last_config[0] = '\0';
        for (int32_t k = 0; k < q->Topics[i].Configs_n; k++) {
            size_t n = strlen(last_config);
            (void)snprintf(last_config + n, sizeof last_config - n, "%.*s=%.*s;",
                           (int)q->Topics[i].Configs[k].Name.n, q->Topics[i].Configs[k].Name.p,
                           (int)q->Topics[i].Configs[k].Value.n, q->Topics[i].Configs[k].Value.p);
        }
        r->Topics[i].Name = q->Topics[i].Name;
        r->Topics[i].NumPartitions = q->Topics[i].NumPartitions < 0 ? 1 : q->Topics[i].NumPartitions;
        r->Topics[i].TopicId.b[0] = 7;
        if (floe_kstr_is(q->Topics[i].Name, "taken"))
            r->Topics[i].ErrorCode = FLOE_KERR_TOPIC_ALREADY_EXISTS;
        if (floe_kstr_is(q->Topics[i].Name, "bad")) {
            r->Topics[i].ErrorCode = FLOE_KERR_INVALID_CONFIG;
            r->Topics[i].ErrorMessage = floe_kstr("Unknown topic config name: x");
        }
    }
    return r;
}

static void *metadata(struct floe_arena *a, const struct floe_kafka_MetadataRequest *q)
{
    static const char *const names[] = {"zeta", "alpha"};
    struct floe_kafka_MetadataResponse *r = floe_arena_alloc(a, sizeof *r);
    floe_kafka_defaults(&floe_kafka_MetadataResponse_desc, r);
    assert_false(q->AllowAutoTopicCreation);
    r->ClusterId = floe_kstr("the-cluster");
    r->Brokers_n = 2;
    r->Brokers = floe_kafka_array(&floe_kafka_MetadataResponse_MetadataResponseBroker_desc, 2, a);
    for (int32_t i = 0; i < 2; i++) {
        r->Brokers[i].NodeId = 2 - i;
        r->Brokers[i].Host = floe_kstr(i == 0 ? "::1" : "127.0.0.1");
        r->Brokers[i].Port = 9092 + i;
        r->Brokers[i].Rack = i == 0 ? floe_kstr(NULL) : floe_kstr("az-1");
    }
    int32_t n = q->Topics_n < 0 ? 2 : q->Topics_n;
    r->Topics_n = n;
    r->Topics = floe_kafka_array(&floe_kafka_MetadataResponse_MetadataResponseTopic_desc, n, a);
    for (int32_t i = 0; i < n; i++) {
        struct floe_kafka_MetadataResponse_MetadataResponseTopic *t = &r->Topics[i];
        t->Name = q->Topics_n < 0 ? floe_kstr(names[i]) : q->Topics[i].Name;
        if (floe_kstr_is(t->Name, "none")) {
            t->ErrorCode = FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION;
            continue;
        }
        t->Partitions_n = 3;
        t->Partitions = floe_kafka_array(&floe_kafka_MetadataResponse_MetadataResponsePartition_desc, 3, a);
        for (int32_t k = 0; k < 3; k++) {
            t->Partitions[k].PartitionIndex = 2 - k;
            t->Partitions[k].LeaderId = k == 2 ? -1 : 1 + k;
            t->Partitions[k].LeaderEpoch = 4;
            t->Partitions[k].ErrorCode = k == 2 ? FLOE_KERR_LEADER_NOT_AVAILABLE : 0;
        }
    }
    return r;
}

static void *delete_topics(struct floe_arena *a, const struct floe_kafka_DeleteTopicsRequest *q)
{
    struct floe_kafka_DeleteTopicsResponse *r = floe_arena_alloc(a, sizeof *r);
    floe_kafka_defaults(&floe_kafka_DeleteTopicsResponse_desc, r);
    r->Responses_n = q->Topics_n;
    r->Responses =
        floe_kafka_array(&floe_kafka_DeleteTopicsResponse_DeletableTopicResult_desc, q->Topics_n, a);
    for (int32_t i = 0; i < q->Topics_n; i++) {
        r->Responses[i].Name = q->Topics[i].Name;
        if (floe_kstr_is(q->Topics[i].Name, "none"))
            r->Responses[i].ErrorCode = FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    return r;
}

/* Every topic but zeta has one configuration that was set and one that was not. */
static void *describe_configs(struct floe_arena *a, const struct floe_kafka_DescribeConfigsRequest *q)
{
    struct floe_kafka_DescribeConfigsResponse *r = floe_arena_alloc(a, sizeof *r);
    floe_kafka_defaults(&floe_kafka_DescribeConfigsResponse_desc, r);
    r->Results_n = q->Resources_n;
    r->Results =
        floe_kafka_array(&floe_kafka_DescribeConfigsResponse_DescribeConfigsResult_desc, q->Resources_n, a);
    for (int32_t i = 0; i < q->Resources_n; i++) {
        assert_int_equal(q->Resources[i].ResourceType, 2);
        r->Results[i].ResourceType = 2;
        r->Results[i].ResourceName = q->Resources[i].ResourceName;
        r->Results[i].Configs_n = 2;
        r->Results[i].Configs =
            floe_kafka_array(&floe_kafka_DescribeConfigsResponse_DescribeConfigsResourceResult_desc, 2, a);
        for (int32_t k = 0; k < 2; k++) {
            struct floe_kafka_DescribeConfigsResponse_DescribeConfigsResourceResult *x =
                &r->Results[i].Configs[k];
            x->Name = floe_kstr(k == 0 ? "retention.ms" : "segment.ms");
            x->Value = floe_kstr("17");
            x->ConfigSource = k == 0 && !floe_kstr_is(q->Resources[i].ResourceName, "zeta") ? 1 : 5;
            x->Documentation = floe_kstr("Stored; not yet obeyed.");
        }
    }
    return r;
}

/* One request of a connection; false ends it. */
static bool answer(int fd, const uint8_t *frame, size_t n)
{
    struct floe_kafka_request_header h;
    struct floe_arena a;
    struct floe_kafka_out out;
    struct floe_error err;
    void *q = NULL, *r = NULL;
    floe_arena_init(&a, 1 << 20);
    floe_kafka_out_init(&out, 1 << 20, 16);
    assert_int_equal(floe_kafka_request_header(floe_slice(frame, n), &h, &err), FLOE_OK);
    assert_non_null(h.api);
    assert_int_equal(floe_kafka_decode(h.api->request, h.api_version, h.body, &a, &q, &err), FLOE_OK);
    int16_t version = h.api_version;
    switch (h.api_key) {
    case 18:
        r = api_versions(&a);
        if (mode == OLD_API_VERSIONS) {
            ((struct floe_kafka_ApiVersionsResponse *)r)->ErrorCode = FLOE_KERR_UNSUPPORTED_VERSION;
            version = 0;
        }
        break;
    case 19:
        r = create_topics(&a, q);
        break;
    case 20:
        r = delete_topics(&a, q);
        break;
    case 32:
        r = describe_configs(&a, q);
        break;
    default:
        r = metadata(&a, q);
    }
    bool api = h.api_key == 18;
    int32_t correlation = h.correlation_id + (mode == WRONG_CORRELATION && !api);
    assert_int_equal(floe_kafka_response_frame(h.api, version, correlation, r, &out, &err), FLOE_OK);
    if (mode == HUGE_ANSWER && !api)
        floe_put_be32(out.w.p, 0x7fffffff);
    if (mode == GARBAGE && !api)
        memset(out.w.p + 8, 0xff, out.w.n - 8);
    bool go_on = mode != CLOSES || api;
    if (go_on)
        assert_int_equal(send(fd, out.w.p, out.w.n, MSG_NOSIGNAL), out.w.n);
    floe_kafka_out_fini(&out);
    floe_arena_fini(&a);
    return go_on;
}

static void *serve(void *arg)
{
    (void)arg;
    int fd;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        uint8_t size[4];
        while (read_all(fd, size, sizeof size)) {
            uint32_t n = floe_be32(size);
            uint8_t *frame = malloc(n);
            bool ok = read_all(fd, frame, n) && answer(fd, frame, n);
            free(frame);
            if (!ok)
                break;
        }
        close(fd);
    }
    return NULL;
}

static int setup(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(listener, 8) != 0 ||
        getsockname(listener, (struct sockaddr *)&at, &n) != 0)
        return -1;
    port = ntohs(at.sin_port);
    (void)snprintf(bootstrap, sizeof bootstrap, "127.0.0.1:%d", port);
    return pthread_create(&server_thread, NULL, serve, NULL);
}

static int teardown(void **state)
{
    (void)state;
    (void)shutdown(listener, SHUT_RDWR);
    pthread_join(server_thread, NULL);
    close(listener);
    return 0;
}

static char out_text[65536], err_text[65536];

/* Runs a command with its output in the two buffers. "@" stands for the test's broker. */
static int run(const char *const *words)
{
    char *argv[32];
    int argc = 0, saved[2], fd[2];
    char paths[2][40] = {"/tmp/floe-cli-out-XXXXXX", "/tmp/floe-cli-err-XXXXXX"};
    char *texts[2] = {out_text, err_text};
    for (; words[argc] != NULL; argc++)
        argv[argc] = strcmp(words[argc], "@") == 0 ? bootstrap : (char *)words[argc];
    (void)fflush(stdout);
    for (int i = 0; i < 2; i++) {
        saved[i] = dup(i + 1);
        fd[i] = mkstemp(paths[i]);
        unlink(paths[i]);
        (void)dup2(fd[i], i + 1);
    }
    int rc = floe_cli_main(argc, argv);
    (void)fflush(stdout);
    for (int i = 0; i < 2; i++) {
        (void)dup2(saved[i], i + 1);
        close(saved[i]);
        ssize_t n = pread(fd[i], texts[i], sizeof out_text - 1, 0);
        texts[i][n > 0 ? n : 0] = '\0';
        close(fd[i]);
    }
    return rc;
}
#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static void usage_is_checked(void **state)
{
    (void)state;
    static const struct {
        const char *words[6], *says;
    } cases[] = {
        {{"tpic"}, "floe: there is no command \"tpic\"; did you mean \"topic\"?\n"},
        {{"qqqqq"}, "floe: there is no command \"qqqqq\"; `floe help` lists them all\n"},
        {{"topic"},
         "floe: `floe topic` needs one more word: create list describe alter delete; `floe help topic` "
         "tells about them\n"},
        {{"topic", "crate"}, "floe: there is no command \"topic crate\"; did you mean \"topic create\"?\n"},
        {{"topic", "qqqqq"}, "floe: there is no command \"topic qqqqq\"; `floe help topic` lists them\n"},
        {{"metrcs"}, "floe: there is no command \"metrcs\"; did you mean \"metrics\"?\n"},
        {{"topic", "create"}, "floe: topic create: NAME is missing\n"},
        {{"topic", "create", "a", "b"}, "floe: topic create: \"b\" is one argument too many\n"},
        {{"topic", "create", "a", "--partitions"}, "floe: topic create: --partitions needs a value\n"},
        {{"topic", "create", "a", "--partitions=0"},
         "floe: topic create: --partitions \"0\" is not a number from 1 to 2147483647\n"},
        {{"topic", "create", "a", "--config", "x"}, "floe: topic create: --config \"x\" is not KEY=VALUE\n"},
        {{"topic", "create", "a", "--colour", "x"}, "floe: topic create: unknown flag \"--colour\"\n"},
        {{"topic", "list", "--json=1"}, "floe: topic list: --json takes no value\n"},
        {{"topic", "list", "--json", "--json"}, "floe: topic list: --json is given twice\n"},
        {{"cluster", "status", "x"}, "floe: cluster status: \"x\" is one argument too many\n"},
        {{"help", "nothing"}, "floe: there is no command \"nothing\"; `floe help` lists them all\n"},
    };
    for (size_t i = 0; i < FLOE_COUNTOF(cases); i++) {
        assert_int_equal(run(cases[i].words), FLOE_CLI_USAGE);
        assert_int_equal(strncmp(err_text, cases[i].says, strlen(cases[i].says)), 0);
        assert_string_equal(out_text, "");
    }
    assert_int_equal(run((const char *const[]){NULL}), FLOE_CLI_USAGE);
}

static void help_is_everywhere(void **state)
{
    (void)state;
    assert_int_equal(RUN("help"), FLOE_CLI_OK);
    assert_non_null(strstr(out_text, "topic create NAME"));
    assert_non_null(strstr(out_text, "broker"));
    assert_int_equal(RUN("--version"), FLOE_CLI_OK);
    assert_string_equal(out_text, "floe " FLOE_VERSION "\n");
    static const char *const all[][2] = {{"topic", "create"},
                                         {"topic", "list"},
                                         {"topic", "describe"},
                                         {"topic", "delete"},
                                         {"cluster", "status"}};
    for (size_t i = 0; i < FLOE_COUNTOF(all); i++) {
        assert_int_equal(RUN(all[i][0], all[i][1], "--help"), FLOE_CLI_OK);
        assert_non_null(strstr(out_text, "--bootstrap HOST:PORT"));
        char first[sizeof out_text];
        memcpy(first, out_text, sizeof first);
        assert_int_equal(RUN("help", all[i][0], all[i][1]), FLOE_CLI_OK);
        assert_string_equal(out_text, first);
        assert_int_equal(RUN(all[i][0], "--help"), FLOE_CLI_OK);
        assert_non_null(strstr(out_text, all[i][1]));
    }
}

static void creates(void **state)
{
    (void)state;
    mode = NORMAL;
    assert_int_equal(RUN("topic", "create", "orders", "--partitions", "12", "--config", "retention.ms=-1",
                         "--config", "x=a=b", "--bootstrap", "@"),
                     FLOE_CLI_OK);
    assert_string_equal(out_text, "created topic orders with 12 partitions\n");
    assert_string_equal(err_text, "note: retention.ms: Stored; not yet obeyed.\n");
    assert_string_equal(last_name, "orders");
    assert_string_equal(last_config, "retention.ms=-1;x=a=b;");
    assert_int_equal(last_created.NumPartitions, 12);
    assert_int_equal(last_created.ReplicationFactor, -1);
    assert_int_equal(RUN("topic", "create", "--bootstrap", "@", "--json", "--", "--odd"), FLOE_CLI_OK);
    json_t *j = json_loads(out_text, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(j, "name")), "--odd");
    assert_int_equal(json_integer_value(json_object_get(j, "partitions")), 1);
    json_decref(j);
    assert_int_equal(last_created.NumPartitions, -1);
    assert_int_equal(RUN("topic", "create", "taken", "--bootstrap", "@"), FLOE_CLI_FAILED);
    assert_int_equal(strncmp(err_text, "floe: topic create: taken: TOPIC_ALREADY_EXISTS: ", 49), 0);
    assert_string_equal(out_text, "");
    assert_int_equal(RUN("topic", "create", "bad", "--bootstrap", "@"), FLOE_CLI_FAILED);
    assert_string_equal(err_text, "floe: topic create: bad: INVALID_CONFIG: Unknown topic config name: x\n");
}

static void lists_and_describes(void **state)
{
    (void)state;
    mode = NORMAL;
    assert_int_equal(RUN("topic", "list", "--bootstrap", "@"), FLOE_CLI_OK);
    assert_string_equal(out_text, "alpha  partitions=3\nzeta  partitions=3\n");
    assert_string_equal(err_text, "");
    assert_int_equal(RUN("topic", "describe", "alpha", "none", "--bootstrap", "@"), FLOE_CLI_FAILED);
    assert_string_equal(out_text, "topic alpha  id=AAAAAAAAAAAAAAAAAAAAAA  partitions=3\n"
                                  "  partition=0  leader=-1  epoch=4  state=LEADER_NOT_AVAILABLE\n"
                                  "  partition=1  leader=2  epoch=4  state=ok\n"
                                  "  partition=2  leader=1  epoch=4  state=ok\n"
                                  "  config retention.ms=17  (Stored; not yet obeyed.)\n");
    assert_int_equal(strncmp(err_text, "floe: topic describe: none: UNKNOWN_TOPIC_OR_PARTITION: ", 56), 0);
    assert_int_equal(RUN("topic", "describe", "--json", "--bootstrap", "@"), FLOE_CLI_OK);
    json_t *j = json_loads(out_text, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(j, "topics")), 2);
    json_t *t = json_array_get(json_object_get(j, "topics"), 1);
    assert_string_equal(json_string_value(json_object_get(t, "name")), "zeta");
    assert_int_equal(json_array_size(json_object_get(t, "partitions")), 3);
    assert_int_equal(json_object_size(json_object_get(t, "configs")), 0);
    t = json_object_get(json_object_get(json_array_get(json_object_get(j, "topics"), 0), "configs"),
                        "retention.ms");
    assert_string_equal(json_string_value(json_object_get(t, "value")), "17");
    assert_non_null(json_object_get(j, "retention"));
    json_decref(j);
    assert_int_equal(RUN("topic", "list", "--json", "--bootstrap", "@"), FLOE_CLI_OK);
    j = json_loads(out_text, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(j, "topics")), 2);
    json_decref(j);
}

static void deletes(void **state)
{
    (void)state;
    mode = NORMAL;
    assert_int_equal(RUN("topic", "delete", "orders", "--bootstrap", "@"), FLOE_CLI_OK);
    assert_string_equal(out_text, "deleted topic orders\n");
    assert_int_equal(RUN("topic", "delete", "none", "--bootstrap", "@"), FLOE_CLI_FAILED);
    assert_int_equal(strncmp(err_text, "floe: topic delete: none: UNKNOWN_TOPIC_OR_PARTITION: ", 54), 0);
}

static void shows_the_cluster(void **state)
{
    (void)state;
    mode = OLD_API_VERSIONS; /* falls back, then goes on as with any other */
    assert_int_equal(RUN("cluster", "status", "--bootstrap", "@"), FLOE_CLI_OK);
    assert_string_equal(out_text, "cluster the-cluster\nbrokers 2\n"
                                  "  id=1  address=127.0.0.1:9093  leads=2  rack=az-1  state=no-answer\n"
                                  "  id=2  address=[::1]:9092  leads=2  state=no-answer\n"
                                  "topics 2\npartitions 6, 2 without a leader, 4 led by brokers that do not "
                                  "answer\n");
    assert_int_equal(strncmp(err_text, "note: broker 1 does not answer: ", 32), 0);
    assert_int_equal(RUN("cluster", "status", "--json", "--bootstrap", "@"), FLOE_CLI_OK);
    json_t *j = json_loads(out_text, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(j, "partitions_without_leader")), 2);
    assert_int_equal(json_array_size(json_object_get(j, "brokers")), 2);
    assert_true(json_is_null(json_object_get(json_array_get(json_object_get(j, "brokers"), 0), "state")));
    json_decref(j);
}

static void bad_peers_are_named(void **state)
{
    (void)state;
    static const struct {
        enum mode mode;
        const char *says;
    } cases[] = {
        {HUGE_ANSWER, "answered with 2147483647 bytes: is this a Kafka port?"},
        {CLOSES, "closed the connection before it answered"},
        {GARBAGE, "the answer of 127.0.0.1:"},
        {WRONG_CORRELATION, "answered request 3 instead of 2"},
    };
    for (size_t i = 0; i < FLOE_COUNTOF(cases); i++) {
        mode = (int)cases[i].mode;
        assert_int_equal(RUN("topic", "list", "--bootstrap", "@"), FLOE_CLI_FAILED);
        assert_non_null(strstr(err_text, cases[i].says));
        assert_string_equal(out_text, "");
    }
    mode = NORMAL;
    assert_int_equal(RUN("topic", "list", "--bootstrap", "127.0.0.1:1"), FLOE_CLI_FAILED);
    assert_string_equal(err_text,
                        "floe: topic list: nothing listens on 127.0.0.1:1: start a broker there, or name "
                        "another with --bootstrap HOST:PORT\n");
    char several[100];
    (void)snprintf(several, sizeof several, "127.0.0.1:1,%s", bootstrap);
    assert_int_equal(RUN("topic", "list", "--bootstrap", several), FLOE_CLI_OK);
    assert_int_equal(RUN("topic", "list", "--bootstrap", "127.0.0.1:1,127.0.0.1:2"), FLOE_CLI_FAILED);
    assert_non_null(strstr(err_text, "nothing listens on 127.0.0.1:2"));
    assert_int_equal(RUN("topic", "list", "--bootstrap", "nowhere"), FLOE_CLI_USAGE);
    assert_string_equal(err_text,
                        "floe: topic list: --bootstrap: \"nowhere\" has no port: write HOST:PORT, for "
                        "example localhost:9092\nusage: see `floe topic list --help`\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage_is_checked),
        cmocka_unit_test(help_is_everywhere),
        cmocka_unit_test(creates),
        cmocka_unit_test(lists_and_describes),
        cmocka_unit_test(deletes),
        cmocka_unit_test(shows_the_cluster),
        cmocka_unit_test(bad_peers_are_named),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
