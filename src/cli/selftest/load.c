/* Load for the small cluster: an idempotent producer and a reader, each a process. */
#include "cli/selftest/kafka.h"
#include "cli/selftest/selftest.h"

#include <floe/base/assert.h>
#include <floe/kafka/batch.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { PRODUCE = 0, FETCH = 1 };
enum { PRODUCE_VERSION = 12, FETCH_VERSION = 12 }; /* the last ones that name topics */
enum { DUPLICATE_SEQUENCE = 46 };
#define RECORDS 20
#define VALUE_BYTES 512
#define BATCH_MAX (64u * 1024)
#define PACE_MS 5
#define GIVE_UP_US (60u * 1000 * 1000)
#define FETCH_BYTES (1 << 20)

struct load {
    struct st_kafka k;
    uint32_t from, count; /* its partitions */
    int64_t producer_id;
    int16_t epoch;
    struct {
        uint64_t next; /* sequence of its next batch */
        bool pending;  /* batch was sent, or is to be */
        uint64_t since_us;
        struct floe_writer w;
    } part[ST_PARTITIONS];
};

static void die(const char *why)
{
    struct st_event e = {.op = ST_OP_FAILED, .err = FLOE_EIO};
    (void)snprintf(e.text, sizeof e.text, "%.120s", why);
    (void)fprintf(stderr, "%s\n", why);
    st_tell(&e);
    _exit(1);
}

static bool told_to_stop(void)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

static int64_t wall_ms(void)
{
    return (int64_t)time(NULL) * 1000;
}

/* Records `next` ... of the partition: each begins with its number. */
static void build(struct load *l, uint32_t p)
{
    struct floe_batch_builder b;
    struct floe_error err = {0};
    uint8_t value[VALUE_BYTES];
    memset(value, 'x', sizeof value);
    floe_writer_fini(&l->part[p].w);
    floe_writer_init(&l->part[p].w, BATCH_MAX);
    floe_batch_builder_init(&b, FLOE_COMPRESSION_NONE, BATCH_MAX);
    b.head.producer_id = l->producer_id;
    b.head.producer_epoch = l->epoch;
    b.head.base_sequence = (int32_t)(l->part[p].next & INT32_MAX);
    enum floe_err e = FLOE_OK;
    for (uint32_t i = 0; i < RECORDS && e == FLOE_OK; i++) {
        floe_put_be64(value, l->part[p].next + i);
        e = floe_batch_builder_add(&b, wall_ms(), (struct floe_kbytes){.n = -1},
                                   (struct floe_kbytes){.p = value, .n = sizeof value}, NULL, 0, &err);
    }
    if (e == FLOE_OK)
        e = floe_batch_builder_finish(&b, &l->part[p].w, &err);
    floe_batch_builder_fini(&b);
    if (e != FLOE_OK)
        die(err.msg);
    l->part[p].pending = true;
    l->part[p].since_us = st_now_us();
}

/* True when the partition's leader must be looked up again. */
static bool answered(struct load *l, const struct floe_kafka_ProduceResponse_PartitionProduceResponse *r)
{
    uint32_t p = (uint32_t)r->Index;
    if (r->Index < 0 || p >= ST_PARTITIONS || !l->part[p].pending)
        return false;
    if (r->ErrorCode != 0 && r->ErrorCode != DUPLICATE_SEQUENCE) {
        char why[120];
        if (floe_kafka_error_retriable(r->ErrorCode))
            return true;
        (void)snprintf(why, sizeof why, "the producer got %s for partition %u",
                       floe_kafka_error_name(r->ErrorCode), p);
        die(why);
    }
    struct st_event e = {.op = ST_OP_ACK,
                         .item = p,
                         .err = RECORDS,
                         .id = l->part[p].next,
                         .value = (uint64_t)r->BaseOffset,
                         .start_us = l->part[p].since_us,
                         .end_us = st_now_us()};
    if (r->ErrorCode == 0)
        st_tell(&e);
    l->part[p].next += RECORDS;
    l->part[p].pending = false;
    return false;
}

/* What waits for this node, in one request. True when leaders must be looked up again. */
static bool send_to(struct load *l, uint32_t node)
{
    struct floe_kafka_ProduceRequest request;
    struct floe_kafka_ProduceRequest_TopicProduceData topic;
    struct floe_kafka_ProduceRequest_PartitionProduceData part[ST_PARTITIONS];
    void *response;
    struct floe_error err;
    floe_kafka_defaults(&floe_kafka_ProduceRequest_desc, &request);
    floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_TopicProduceData_desc, &topic);
    topic.Name = floe_kstr(l->k.topic);
    topic.PartitionData = part;
    for (uint32_t p = l->from; p < l->from + l->count; p++) {
        if (!l->part[p].pending || l->k.leader[p] != (int)node)
            continue;
        struct floe_kafka_ProduceRequest_PartitionProduceData *d = &part[topic.PartitionData_n++];
        floe_kafka_struct_defaults(&floe_kafka_ProduceRequest_PartitionProduceData_desc, d);
        d->Index = (int32_t)p;
        d->Records = (struct floe_krecords){.p = l->part[p].w.p, .n = (int32_t)l->part[p].w.n};
    }
    if (topic.PartitionData_n == 0)
        return false;
    request.Acks = -1;
    request.TimeoutMs = 30000;
    request.TopicData = &topic;
    request.TopicData_n = 1;
    request.TransactionalId = floe_kstr(NULL);
    if (st_kafka_call(&l->k, node, PRODUCE, PRODUCE_VERSION, &request, &response, &err) != FLOE_OK) {
        (void)fprintf(stderr, "produce: %s\n", err.msg);
        return true;
    }
    const struct floe_kafka_ProduceResponse *r = response;
    bool lost = false;
    for (int32_t t = 0; t < r->Responses_n; t++)
        for (int32_t i = 0; i < r->Responses[t].PartitionResponses_n; i++)
            lost |= answered(l, &r->Responses[t].PartitionResponses[i]);
    return lost;
}

static void refresh(struct st_kafka *k)
{
    struct floe_error err;
    if (st_kafka_refresh(k, &err) != FLOE_OK)
        (void)fprintf(stderr, "metadata: %s\n", err.msg);
}

static void produce(struct load *l)
{
    bool stopping = false;
    for (bool open = true; open;) {
        bool lost = false;
        open = false;
        stopping = stopping || told_to_stop();
        for (uint32_t p = l->from; p < l->from + l->count; p++) {
            if (!l->part[p].pending && !stopping)
                build(l, p);
            if (l->part[p].pending && st_now_us() - l->part[p].since_us > GIVE_UP_US)
                die("a batch was not acknowledged within 60 s");
            lost |= l->part[p].pending && l->k.leader[p] < 0;
        }
        for (uint32_t n = 0; n < l->k.node_n; n++)
            lost |= send_to(l, n);
        for (uint32_t p = l->from; p < l->from + l->count; p++)
            open |= l->part[p].pending;
        open |= !stopping;
        st_sleep_ms(lost ? 50 : PACE_MS);
        if (lost)
            refresh(&l->k);
    }
}

static bool two_numbers(char **argv, uint64_t *a, uint64_t *b)
{
    return floe_str_parse_u64(argv[2], a, NULL) == FLOE_OK &&
           floe_str_parse_u64(argv[3], b, NULL) == FLOE_OK && *a + *b <= ST_PARTITIONS;
}

/* argv: bootstrap, topic, first partition, partitions */
int st_load_main(int argc, char **argv)
{
    static struct load l;
    struct floe_error err = {0};
    uint64_t from, count;
    if (argc != 4 || !two_numbers(argv, &from, &count))
        return 2;
    l.k.bootstrap = argv[0];
    l.k.topic = argv[1];
    l.from = (uint32_t)from;
    l.count = (uint32_t)count;
    uint64_t until = st_now_us() + 20u * 1000 * 1000;
    while (st_kafka_refresh(&l.k, &err) != FLOE_OK ||
           st_kafka_producer_id(&l.k, &l.producer_id, &l.epoch, &err) != FLOE_OK) {
        if (st_now_us() > until)
            die(err.msg);
        st_sleep_ms(50);
    }
    produce(&l);
    struct st_event done = {.op = ST_OP_DONE};
    st_tell(&done);
    st_kafka_close(&l.k);
    for (int i = 0; i < ST_PARTITIONS; i++)
        floe_writer_fini(&l.part[i].w);
    return 0;
}

/* ---- the reader ---- */

struct follow {
    struct st_kafka k;
    uint64_t at[ST_PARTITIONS]; /* next offset */
};

static void tell_run(uint32_t p, struct st_run *run)
{
    struct st_event e = {.op = ST_OP_FETCHED,
                         .item = p,
                         .err = (uint32_t)run->count,
                         .id = run->seq,
                         .value = run->offset,
                         .end_us = st_now_us()};
    if (run->count > 0)
        st_tell(&e);
    run->count = 0;
}

/* The records of one batch from `at` on, told in stretches. */
static void take_batch(struct follow *f, uint32_t p, struct floe_slice bytes)
{
    struct floe_record_iter *it = NULL;
    struct floe_record rec;
    struct floe_error err = {0};
    struct st_run run = {0};
    if (floe_record_iter_create(&it, bytes, FETCH_BYTES, &err) != FLOE_OK)
        die(err.msg);
    while (floe_record_iter_next(it, &rec, &err) == FLOE_OK) {
        if (rec.offset < (int64_t)f->at[p])
            continue;
        if (rec.value.n < 8)
            die("a record that was read is none of those that were written");
        uint64_t seq = floe_be64(rec.value.p), offset = (uint64_t)rec.offset;
        if (run.count == 0 || offset != run.offset + run.count || seq != run.seq + run.count) {
            tell_run(p, &run);
            run = (struct st_run){offset, seq, 0};
        }
        run.count++;
        f->at[p] = offset + 1;
    }
    tell_run(p, &run);
    floe_record_iter_destroy(&it);
}

static bool take_partition(struct follow *f, const struct floe_kafka_FetchResponse_PartitionData *d)
{
    struct floe_error err = {0};
    uint32_t p = (uint32_t)d->PartitionIndex;
    if (d->PartitionIndex < 0 || p >= ST_PARTITIONS)
        return false;
    if (d->ErrorCode != 0) {
        char why[120];
        if (floe_kafka_error_retriable(d->ErrorCode))
            return true;
        (void)snprintf(why, sizeof why, "the reader got %s for partition %u at offset %llu",
                       floe_kafka_error_name(d->ErrorCode), p, (unsigned long long)f->at[p]);
        die(why);
    }
    struct floe_slice rest = floe_slice(d->Records.p, d->Records.n > 0 ? (size_t)d->Records.n : 0), bytes;
    struct floe_batch b;
    while (floe_batch_next(&rest, &b, &bytes, &err) == FLOE_OK) {
        if (!floe_batch_crc_ok(bytes.p, &b))
            die("a batch that was read fails its checksum");
        take_batch(f, p, bytes);
    }
    return false;
}

static bool fetch_from(struct follow *f, uint32_t node)
{
    struct floe_kafka_FetchRequest request;
    struct floe_kafka_FetchRequest_FetchTopic topic;
    struct floe_kafka_FetchRequest_FetchPartition part[ST_PARTITIONS];
    void *response;
    struct floe_error err;
    floe_kafka_defaults(&floe_kafka_FetchRequest_desc, &request);
    floe_kafka_struct_defaults(&floe_kafka_FetchRequest_FetchTopic_desc, &topic);
    topic.Topic = floe_kstr(f->k.topic);
    topic.Partitions = part;
    for (uint32_t p = 0; p < ST_PARTITIONS; p++) {
        if (f->k.leader[p] != (int)node)
            continue;
        struct floe_kafka_FetchRequest_FetchPartition *d = &part[topic.Partitions_n++];
        floe_kafka_struct_defaults(&floe_kafka_FetchRequest_FetchPartition_desc, d);
        d->Partition = (int32_t)p;
        d->FetchOffset = (int64_t)f->at[p];
        d->PartitionMaxBytes = FETCH_BYTES;
    }
    if (topic.Partitions_n == 0)
        return false;
    request.MaxWaitMs = 50;
    request.MinBytes = 1;
    request.MaxBytes = 4 * FETCH_BYTES;
    request.Topics = &topic;
    request.Topics_n = 1;
    if (st_kafka_call(&f->k, node, FETCH, FETCH_VERSION, &request, &response, &err) != FLOE_OK) {
        (void)fprintf(stderr, "fetch: %s\n", err.msg);
        return true;
    }
    const struct floe_kafka_FetchResponse *r = response;
    bool lost = r->ErrorCode != 0;
    for (int32_t t = 0; t < r->Responses_n; t++)
        for (int32_t i = 0; i < r->Responses[t].Partitions_n; i++)
            lost |= take_partition(f, &r->Responses[t].Partitions[i]);
    return lost;
}

/* argv: bootstrap, topic. Reads all partitions from their start until it is told to stop. */
int st_follow_main(int argc, char **argv)
{
    static struct follow f;
    if (argc != 2)
        return 2;
    f.k.bootstrap = argv[0];
    f.k.topic = argv[1];
    refresh(&f.k);
    while (!told_to_stop()) {
        bool lost = f.k.node_n == 0;
        for (uint32_t p = 0; p < ST_PARTITIONS; p++)
            lost |= f.k.leader[p] < 0;
        for (uint32_t n = 0; n < f.k.node_n; n++)
            lost |= fetch_from(&f, n);
        if (!lost)
            continue;
        st_sleep_ms(50);
        refresh(&f.k);
    }
    st_kafka_close(&f.k);
    return 0;
}
