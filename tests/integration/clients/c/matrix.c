/* librdkafka in C: the broker's address, a prefix for names and the features wanted. The topic is made by the
 * admin API, records go to given partitions, and group members are polled in turn on one thread. */
#include <librdkafka/rdkafka.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PARTITIONS 3
#define COUNT 300
#define T0 1700000000000

static const char *address, *prefix;
static jmp_buf failed;
static char why[1024];

__attribute__((format(printf, 2, 3))) static void check(bool ok, const char *format, ...)
{
    if (ok)
        return;
    va_list ap;
    va_start(ap, format);
    vsnprintf(why, sizeof why, format, ap);
    va_end(ap);
    longjmp(failed, 1);
}

static void ok(rd_kafka_resp_err_t e, const char *what)
{
    check(!e, "%s: %s", what, rd_kafka_err2str(e));
}

static time_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static rd_kafka_conf_t *conf(const char *const *pairs)
{
    char err[256];
    rd_kafka_conf_t *c = rd_kafka_conf_new();
    rd_kafka_conf_set(c, "bootstrap.servers", address, err, sizeof err);
    for (; pairs && *pairs; pairs += 2)
        check(!rd_kafka_conf_set(c, pairs[0], pairs[1], err, sizeof err), "%s", err);
    return c;
}

static rd_kafka_t *handle(rd_kafka_type_t type, const char *const *pairs)
{
    char err[256];
    rd_kafka_t *k = rd_kafka_new(type, conf(pairs), err, sizeof err);
    check(k != NULL, "%s", err);
    return k;
}

static const char *name_of(const char *topic)
{
    static char names[8][256];
    static int at;
    char *n = names[at++ % 8];
    snprintf(n, sizeof names[0], "%s%s", prefix, topic);
    return n;
}

/* Sends one admin request made by the caller and returns its answer. */
static rd_kafka_event_t *answer(rd_kafka_queue_t *q)
{
    rd_kafka_event_t *e = rd_kafka_queue_poll(q, 20000);
    check(e != NULL, "no answer within 20 s");
    ok(rd_kafka_event_error(e), "admin");
    return e;
}

static rd_kafka_resp_err_t topic_error(const rd_kafka_topic_result_t *const *r)
{
    return rd_kafka_topic_result_error(r[0]);
}

static rd_kafka_resp_err_t create(rd_kafka_t *k, const char *topic, int partitions)
{
    size_t n;
    rd_kafka_queue_t *q = rd_kafka_queue_new(k);
    rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(topic, partitions, 1, NULL, 0);
    rd_kafka_NewTopic_set_config(t, "retention.ms", "600000");
    rd_kafka_CreateTopics(k, &t, 1, NULL, q);
    rd_kafka_event_t *e = answer(q);
    rd_kafka_resp_err_t rc =
        topic_error(rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(e), &n));
    rd_kafka_event_destroy(e);
    rd_kafka_NewTopic_destroy(t);
    rd_kafka_queue_destroy(q);
    return rc;
}

static rd_kafka_resp_err_t delete_topic(rd_kafka_t *k, const char *topic)
{
    size_t n;
    rd_kafka_queue_t *q = rd_kafka_queue_new(k);
    rd_kafka_DeleteTopic_t *t = rd_kafka_DeleteTopic_new(topic);
    rd_kafka_DeleteTopics(k, &t, 1, NULL, q);
    rd_kafka_event_t *e = answer(q);
    rd_kafka_resp_err_t rc =
        topic_error(rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(e), &n));
    rd_kafka_event_destroy(e);
    rd_kafka_DeleteTopic_destroy(t);
    rd_kafka_queue_destroy(q);
    return rc;
}

static int partitions_of(rd_kafka_t *k, const char *topic)
{
    const struct rd_kafka_metadata *m;
    int n = -1;
    ok(rd_kafka_metadata(k, 1, NULL, &m, 20000), "metadata");
    for (int i = 0; i < m->topic_cnt; i++)
        n = strcmp(m->topics[i].topic, topic) == 0 ? m->topics[i].partition_cnt : n;
    rd_kafka_metadata_destroy(m);
    return n;
}

static void describe(rd_kafka_t *k, const char *topic)
{
    size_t n, count;
    bool found = false;
    rd_kafka_queue_t *q = rd_kafka_queue_new(k);
    rd_kafka_ConfigResource_t *r = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    rd_kafka_DescribeConfigs(k, &r, 1, NULL, q);
    rd_kafka_event_t *e = answer(q);
    const rd_kafka_ConfigResource_t **rs =
        rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(e), &n);
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(rs[0], &count);
    for (size_t i = 0; i < count; i++)
        found |= strcmp(rd_kafka_ConfigEntry_name(entries[i]), "retention.ms") == 0 &&
                 strcmp(rd_kafka_ConfigEntry_value(entries[i]), "600000") == 0;
    rd_kafka_event_destroy(e);
    rd_kafka_ConfigResource_destroy(r);
    rd_kafka_queue_destroy(q);
    check(found, "retention.ms is not described");
}

static void admin(void)
{
    rd_kafka_t *k = handle(RD_KAFKA_PRODUCER, NULL);
    const char *topic = name_of("a"), *gone = name_of("gone");
    char err[256];
    ok(create(k, topic, 2), "create");
    ok(create(k, gone, 1), "create");
    check(create(k, topic, 2) == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, "made twice");
    check(create(k, "no/slash", 2) == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, "a bad name");
    rd_kafka_queue_t *q = rd_kafka_queue_new(k);
    rd_kafka_NewPartitions_t *p = rd_kafka_NewPartitions_new(topic, 4, err, sizeof err);
    rd_kafka_CreatePartitions(k, &p, 1, NULL, q);
    rd_kafka_event_destroy(answer(q));
    rd_kafka_NewPartitions_destroy(p);
    rd_kafka_queue_destroy(q);
    check(partitions_of(k, topic) == 4, "%d partitions", partitions_of(k, topic));
    describe(k, topic);
    ok(delete_topic(k, gone), "delete");
    check(partitions_of(k, gone) <= 0, "deleted");
    check(delete_topic(k, gone) == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, "deleted twice");
    rd_kafka_destroy(k);
}

struct sent {
    int count;
    bool bad;
    int64_t offset[COUNT];
};
static void delivered(rd_kafka_t *k, const rd_kafka_message_t *m, void *opaque)
{
    struct sent *s = opaque;
    (void)k;
    s->bad |= m->err != 0;
    s->offset[(intptr_t)m->_private] = m->offset;
    s->count++;
}

static void send_all(const char *topic, const char *codec, int partitions)
{
    static struct sent s;
    char err[256], key[16], value[64];
    const char *pairs[] = {"compression.codec", codec, "enable.idempotence", "true", "linger.ms", "5", NULL};
    rd_kafka_conf_t *c = conf(pairs);
    s = (struct sent){0};
    rd_kafka_conf_set_dr_msg_cb(c, delivered);
    rd_kafka_conf_set_opaque(c, &s);
    rd_kafka_t *k = rd_kafka_new(RD_KAFKA_PRODUCER, c, err, sizeof err);
    check(k != NULL, "%s", err);
    for (intptr_t i = 0; i < COUNT; i++) {
        int kn = snprintf(key, sizeof key, "k%d", (int)i),
            vn = snprintf(value, sizeof value, "value %d", (int)i);
        ok(rd_kafka_producev(k, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION((int32_t)(i % partitions)),
                             RD_KAFKA_V_KEY(key, (size_t)kn), RD_KAFKA_V_VALUE(value, (size_t)vn),
                             RD_KAFKA_V_TIMESTAMP(T0 + i), RD_KAFKA_V_HEADER("h", key, kn),
                             RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE((void *)i),
                             RD_KAFKA_V_END),
           "produce");
    }
    ok(rd_kafka_flush(k, 30000), "flush");
    check(s.count == COUNT && !s.bad, "%d were delivered", s.count);
    for (int i = 0; i < COUNT; i++)
        check(s.offset[i] == i / partitions, "offset %d of record %d", (int)s.offset[i], i);
    rd_kafka_destroy(k);
}

static const char *const codecs[] = {"none", "gzip", "snappy", "lz4", "zstd"};

static void produce(void)
{
    for (int i = 0; i < 5; i++)
        send_all(name_of(codecs[i]), codecs[i], 1);
}

static rd_kafka_t *consumer(const char *group)
{
    const char *pairs[] = {"group.id",
                           group,
                           "auto.offset.reset",
                           "earliest",
                           "enable.auto.commit",
                           "false",
                           "session.timeout.ms",
                           "10000",
                           "heartbeat.interval.ms",
                           "500",
                           "topic.metadata.refresh.interval.ms",
                           "1000",
                           "check.crcs",
                           "true",
                           NULL};
    rd_kafka_t *k = handle(RD_KAFKA_CONSUMER, pairs);
    rd_kafka_poll_set_consumer(k);
    return k;
}

static void assign(rd_kafka_t *k, const char *topic, int32_t first, int32_t last, int64_t offset)
{
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(PARTITIONS);
    for (int32_t p = first; p <= last; p++)
        rd_kafka_topic_partition_list_add(l, topic, p)->offset = offset;
    ok(rd_kafka_assign(k, l), "assign");
    rd_kafka_topic_partition_list_destroy(l);
}

/* Takes `n` records; seen[i] counts record i. */
static void take(rd_kafka_t *k, int n, int *seen)
{
    char text[64];
    while (n > 0) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(k, 20000);
        check(m != NULL, "nothing came for 20 s, %d are missing", n);
        ok(m->err, "poll");
        int i = atoi(strndupa(m->key, m->key_len) + 1);
        size_t vn = (size_t)snprintf(text, sizeof text, "value %d", i);
        check(i >= 0 && i < COUNT && m->len == vn && memcmp(m->payload, text, vn) == 0,
              "record %d has another value", i);
        check(rd_kafka_message_timestamp(m, NULL) == T0 + i, "record %d has another time", i);
        seen[i]++;
        n--;
        rd_kafka_message_destroy(m);
    }
}

static void each(const int *seen, int from, int want)
{
    for (int i = from; i < COUNT; i++)
        check(seen[i] == want, "record %d came %d times", i, seen[i]);
}

static void consume(void)
{
    rd_kafka_t *k = consumer("none");
    for (int i = 0; i < 5; i++) {
        int seen[COUNT] = {0};
        assign(k, name_of(codecs[i]), 0, 0, 0);
        take(k, COUNT, seen);
        each(seen, 0, 1);
    }
    int seen[COUNT] = {0};
    int64_t low, high;
    const char *topic = name_of("c");
    ok(create(k, topic, PARTITIONS), "create");
    send_all(topic, "lz4", PARTITIONS);
    assign(k, topic, 0, PARTITIONS - 1, 0);
    take(k, COUNT, seen);
    each(seen, 0, 1);
    ok(rd_kafka_query_watermark_offsets(k, topic, 1, &low, &high, 20000), "offsets");
    check(low == 0 && high == COUNT / PARTITIONS, "offsets %d to %d", (int)low, (int)high);
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(l, topic, 1)->offset = T0 + 122;
    ok(rd_kafka_offsets_for_times(k, l, 20000), "by time");
    check(l->elems[0].offset == 41, "by time: %d", (int)l->elems[0].offset);
    rd_kafka_topic_partition_list_destroy(l);
    assign(k, topic, 1, 1, 60);
    take(k, 40, seen);
    rd_kafka_consumer_close(k);
    rd_kafka_destroy(k);
}

static void subscribe(rd_kafka_t *k, const char *topic)
{
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(l, topic, -1);
    ok(rd_kafka_subscribe(k, l), "subscribe");
    rd_kafka_topic_partition_list_destroy(l);
}

/* Polls the members until each has some partitions and all are with one. */
static void share(rd_kafka_t *const *members, int n, const char *what)
{
    for (time_t end = now() + 40;;) {
        int owners[PARTITIONS] = {0}, some = 0;
        for (int i = 0; i < n; i++) {
            rd_kafka_topic_partition_list_t *l;
            rd_kafka_message_t *m = rd_kafka_consumer_poll(members[i], 50);
            if (m)
                rd_kafka_message_destroy(m);
            ok(rd_kafka_assignment(members[i], &l), "assignment");
            some += l->cnt > 0;
            for (int j = 0; j < l->cnt; j++)
                owners[l->elems[j].partition]++;
            rd_kafka_topic_partition_list_destroy(l);
        }
        if (some == n && owners[0] == 1 && owners[1] == 1 && owners[2] == 1)
            return;
        check(now() < end, "not within 40 s: %s", what);
    }
}

static void groups(void)
{
    const char *topic = name_of("g");
    const struct rd_kafka_group_list *l;
    rd_kafka_t *m[2] = {consumer(topic), NULL};
    ok(create(m[0], topic, PARTITIONS), "create");
    subscribe(m[0], topic);
    share(m, 1, "one member has all");
    m[1] = consumer(topic);
    subscribe(m[1], topic);
    share(m, 2, "two members share");
    ok(rd_kafka_list_groups(m[0], topic, &l, 20000), "list groups");
    check(l->group_cnt == 1 && strcmp(l->groups[0].state, "Stable") == 0 && l->groups[0].member_cnt == 2,
          "%d groups", l->group_cnt);
    rd_kafka_group_list_destroy(l);
    rd_kafka_consumer_close(m[1]);
    rd_kafka_destroy(m[1]);
    share(m, 1, "the one that stays has all");
    rd_kafka_consumer_close(m[0]);
    rd_kafka_destroy(m[0]);
}

static void offsets(void)
{
    const char *topic = name_of("o");
    int seen[COUNT] = {0};
    rd_kafka_t *k = consumer(topic);
    ok(create(k, topic, PARTITIONS), "create");
    send_all(topic, "none", PARTITIONS);
    for (int round = 0; round < 2; round++) {
        k = round ? consumer(topic) : k;
        subscribe(k, topic);
        take(k, round ? COUNT - 100 : 100, seen);
        ok(rd_kafka_commit(k, NULL, 0), "commit");
        rd_kafka_consumer_close(k);
        rd_kafka_destroy(k);
    }
    each(seen, 0, 1);
    k = consumer(topic);
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(l, topic, 1);
    ok(rd_kafka_committed(k, l, 20000), "committed");
    check(l->elems[0].offset == COUNT / PARTITIONS, "%d is committed", (int)l->elems[0].offset);
    rd_kafka_topic_partition_list_destroy(l);
    size_t n;
    for (int round = 0; round < 2; round++) {
        rd_kafka_queue_t *q = rd_kafka_queue_new(k);
        rd_kafka_DeleteGroup_t *d = rd_kafka_DeleteGroup_new(topic);
        rd_kafka_DeleteGroups(k, &d, 1, NULL, q);
        rd_kafka_event_t *e = answer(q);
        const rd_kafka_error_t *err = rd_kafka_group_result_error(
            rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(e), &n)[0]);
        check(rd_kafka_error_code(err) == (round ? RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND : 0), "delete: %s",
              err ? rd_kafka_error_string(err) : "it was there");
        rd_kafka_event_destroy(e);
        rd_kafka_DeleteGroup_destroy(d);
        rd_kafka_queue_destroy(q);
    }
    rd_kafka_destroy(k);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } features[] = {{"admin", admin},
                    {"produce", produce},
                    {"consume", consume},
                    {"groups", groups},
                    {"offsets", offsets}};
    volatile int status = 0;
    if (argc != 4)
        return 2;
    address = argv[1];
    prefix = argv[2];
    for (volatile size_t i = 0; i < sizeof features / sizeof *features; i++) {
        if (!strstr(argv[3], features[i].name))
            continue;
        if (setjmp(failed)) {
            printf("failed %s: %s\n", features[i].name, why);
            status = 1;
        } else {
            features[i].run();
            printf("ok %s\n", features[i].name);
        }
        fflush(stdout);
    }
    return status;
}
