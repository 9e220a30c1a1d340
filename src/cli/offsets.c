#include "cli/offsets.h"

#include <floe/base/assert.h>

#include <stdlib.h>
#include <string.h>

enum { LIST_OFFSETS = 2, METADATA = 3, OFFSET_COMMIT = 8, OFFSET_FETCH = 9, PIECE = 1000 };

void floe_cli_tps_free(struct floe_cli_tps *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->v[i].topic);
    free(t->v);
    *t = (struct floe_cli_tps){NULL, 0, 0};
}

struct floe_cli_tp *floe_cli_tps_add(struct floe_cli_tps *t, struct floe_kstr topic, int32_t partition)
{
    for (size_t i = t->n; i > 0; i--)
        if (t->v[i - 1].partition == partition && floe_kstr_is(topic, t->v[i - 1].topic))
            return &t->v[i - 1];
    if (t->n == t->cap) {
        t->cap = t->cap * 2 + 16;
        t->v = realloc(t->v, t->cap * sizeof *t->v);
        FLOE_ASSERT(t->v != NULL);
    }
    t->v[t->n] = (struct floe_cli_tp){.topic = floe_cli_text(topic),
                                      .partition = partition,
                                      .leader = -1,
                                      .committed = -1,
                                      .listed = -1,
                                      .start = -1,
                                      .end = -1,
                                      .target = -1};
    return &t->v[t->n++];
}

static int by_place(const void *x, const void *y)
{
    const struct floe_cli_tp *a = x, *b = y;
    int c = strcmp(a->topic, b->topic);
    return c != 0 ? c : (a->partition > b->partition) - (a->partition < b->partition);
}

void floe_cli_tps_sort(struct floe_cli_tps *t)
{
    if (t->n > 1)
        qsort(t->v, t->n, sizeof *t->v, by_place);
}

enum floe_err floe_cli_committed(struct floe_conns *c, const char *group, struct floe_cli_tps *t,
                                 struct floe_error *err)
{
    int64_t since = 0;
    int32_t node;
    for (;;) {
        struct floe_client *at;
        struct floe_kafka_OffsetFetchRequest request;
        void *response;
        enum floe_err e = floe_conns_coordinator(c, group, &at, &node, err);
        if (e != FLOE_OK)
            return e;
        floe_kafka_defaults(&floe_kafka_OffsetFetchRequest_desc, &request);
        request.GroupId = floe_kstr(group);
        request.Topics_n = -1;
        e = floe_client_call(at, OFFSET_FETCH, 7, &request, &response, NULL, err);
        if (e != FLOE_OK)
            return e;
        const struct floe_kafka_OffsetFetchResponse *r = response;
        if (r->ErrorCode != 0 && floe_cli_again(r->ErrorCode, &since))
            continue;
        if (r->ErrorCode != 0)
            return floe_client_error(r->ErrorCode, floe_kstr(NULL), err);
        for (int32_t i = 0; i < r->Topics_n; i++)
            for (int32_t k = 0; k < r->Topics[i].Partitions_n; k++)
                floe_cli_tps_add(t, r->Topics[i].Name, r->Topics[i].Partitions[k].PartitionIndex)->committed =
                    r->Topics[i].Partitions[k].CommittedOffset;
        return FLOE_OK;
    }
}

static enum floe_err call_metadata(struct floe_conns *c,
                                   struct floe_kafka_MetadataRequest_MetadataRequestTopic *topics, int32_t n,
                                   const struct floe_kafka_MetadataResponse **out, struct floe_error *err)
{
    struct floe_kafka_MetadataRequest request;
    void *response;
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &request);
    request.AllowAutoTopicCreation = false;
    request.Topics = topics;
    request.Topics_n = n;
    enum floe_err e =
        floe_client_call(floe_conns_first(c), METADATA, INT16_MAX, &request, &response, NULL, err);
    if (e == FLOE_OK)
        *out = response;
    return e;
}

enum floe_err floe_cli_topic_partitions(struct floe_conns *c, const char *topic, int32_t only,
                                        struct floe_cli_tps *t, struct floe_error *err)
{
    struct floe_kafka_MetadataRequest_MetadataRequestTopic want;
    const struct floe_kafka_MetadataResponse *m;
    int64_t since = 0;
    do {
        floe_kafka_struct_defaults(&floe_kafka_MetadataRequest_MetadataRequestTopic_desc, &want);
        want.Name = floe_kstr(topic);
        enum floe_err e = call_metadata(c, &want, 1, &m, err);
        if (e != FLOE_OK)
            return e;
    } while (m->Topics_n == 1 && m->Topics[0].ErrorCode == FLOE_KERR_LEADER_NOT_AVAILABLE &&
             floe_cli_again(FLOE_KERR_LEADER_NOT_AVAILABLE, &since));
    if (m->Topics_n != 1 || m->Topics[0].ErrorCode != 0) {
        (void)floe_client_error(m->Topics_n == 1 ? m->Topics[0].ErrorCode : -1, floe_kstr(NULL), err);
        floe_error_prefix(err, "topic %.249s", topic);
        return err->code;
    }
    bool found = only < 0;
    for (int32_t i = 0; i < m->Topics[0].Partitions_n; i++) {
        int32_t p = m->Topics[0].Partitions[i].PartitionIndex;
        if (only >= 0 && p != only)
            continue;
        (void)floe_cli_tps_add(t, floe_kstr(topic), p);
        found = true;
    }
    return found ? FLOE_OK
                 : floe_error_set(err, FLOE_ENOTFOUND, "topic %.249s has no partition %d", topic, only);
}

/* Leaders of those that are still to be listed. */
static enum floe_err find_leaders(struct floe_conns *c, struct floe_cli_tps *t, struct floe_error *err)
{
    struct floe_kafka_MetadataRequest_MetadataRequestTopic *topics = calloc(t->n + 1, sizeof *topics);
    const struct floe_kafka_MetadataResponse *m = NULL;
    int32_t n = 0;
    FLOE_ASSERT(topics != NULL);
    for (size_t i = 0; i < t->n; i++) {
        if (t->v[i].listed_now || (n > 0 && floe_kstr_is(topics[n - 1].Name, t->v[i].topic)))
            continue;
        floe_kafka_struct_defaults(&floe_kafka_MetadataRequest_MetadataRequestTopic_desc, &topics[n]);
        topics[n++].Name = floe_kstr(t->v[i].topic);
    }
    enum floe_err e = call_metadata(c, topics, n, &m, err);
    free(topics);
    for (size_t i = 0; e == FLOE_OK && i < t->n; i++) {
        struct floe_cli_tp *p = &t->v[i];
        if (p->listed_now)
            continue;
        p->leader = -1;
        p->error = FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION;
        for (int32_t k = 0; k < m->Topics_n; k++) {
            if (!floe_kstr_is(m->Topics[k].Name, p->topic))
                continue;
            if (m->Topics[k].ErrorCode != 0)
                p->error = m->Topics[k].ErrorCode;
            for (int32_t j = 0; j < m->Topics[k].Partitions_n; j++) {
                if (m->Topics[k].Partitions[j].PartitionIndex != p->partition)
                    continue;
                p->leader = m->Topics[k].Partitions[j].LeaderId;
                p->error = FLOE_KERR_LEADER_NOT_AVAILABLE; /* until it has answered */
            }
        }
    }
    return e;
}

/* One request to one leader about at most PIECE partitions, `v[0]` the first of them. */
static enum floe_err list_piece(struct floe_client *at, struct floe_cli_tp *const *v, int32_t n, int64_t time,
                                struct floe_error *err)
{
    struct floe_kafka_ListOffsetsRequest request;
    struct floe_kafka_ListOffsetsRequest_ListOffsetsTopic topics[PIECE];
    struct floe_kafka_ListOffsetsRequest_ListOffsetsPartition parts[PIECE];
    void *response;
    floe_kafka_defaults(&floe_kafka_ListOffsetsRequest_desc, &request);
    request.ReplicaId = -1;
    request.Topics = topics;
    request.TimeoutMs = FLOE_CLI_TIMEOUT_MS;
    for (int32_t i = 0; i < n; i++) {
        floe_kafka_struct_defaults(&floe_kafka_ListOffsetsRequest_ListOffsetsPartition_desc, &parts[i]);
        parts[i].PartitionIndex = v[i]->partition;
        parts[i].Timestamp = time;
        if (i == 0 || strcmp(v[i - 1]->topic, v[i]->topic) != 0) {
            struct floe_kafka_ListOffsetsRequest_ListOffsetsTopic *t = &topics[request.Topics_n++];
            floe_kafka_struct_defaults(&floe_kafka_ListOffsetsRequest_ListOffsetsTopic_desc, t);
            t->Name = floe_kstr(v[i]->topic);
            t->Partitions = &parts[i];
        }
        topics[request.Topics_n - 1].Partitions_n++;
    }
    enum floe_err e = floe_client_call(at, LIST_OFFSETS, 9, &request, &response, NULL, err);
    if (e != FLOE_OK)
        return e;
    const struct floe_kafka_ListOffsetsResponse *r = response;
    for (int32_t i = 0; i < n; i++)
        v[i]->error = FLOE_KERR_UNKNOWN_SERVER_ERROR; /* it was not answered for */
    for (int32_t i = 0; i < r->Topics_n; i++) {
        for (int32_t k = 0; k < r->Topics[i].Partitions_n; k++) {
            const struct floe_kafka_ListOffsetsResponse_ListOffsetsPartitionResponse *p =
                &r->Topics[i].Partitions[k];
            for (int32_t j = 0; j < n; j++) {
                if (v[j]->partition != p->PartitionIndex || !floe_kstr_is(r->Topics[i].Name, v[j]->topic))
                    continue;
                v[j]->error = p->ErrorCode;
                v[j]->listed = p->ErrorCode == 0 ? p->Offset : -1;
            }
        }
    }
    return FLOE_OK;
}

/* A leader that has come since the brokers were read is one of them from now on. */
static void know_leaders(struct floe_conns *c, const struct floe_cli_tps *t)
{
    for (size_t i = 0; i < t->n; i++) {
        struct floe_client *at;
        struct floe_error ignored;
        bool known = t->v[i].listed_now || t->v[i].leader < 0;
        for (size_t b = 0; !known && b < floe_conns_count(c); b++)
            known = floe_conns_id(c, b) == t->v[i].leader;
        if (!known) { /* reads them again: once is enough */
            (void)!floe_conns_node(c, t->v[i].leader, &at, &ignored);
            return;
        }
    }
}

/* Asks every leader once for those that are still to be listed. */
static enum floe_err list_round(struct floe_conns *c, struct floe_cli_tps *t, int64_t time,
                                struct floe_cli_progress *progress, struct floe_error *err)
{
    struct floe_cli_tp *piece[PIECE];
    enum floe_err e = find_leaders(c, t, err);
    if (e == FLOE_OK)
        know_leaders(c, t);
    for (size_t b = 0; e == FLOE_OK && b < floe_conns_count(c); b++) {
        struct floe_client *at = NULL;
        int32_t n = 0, node = floe_conns_id(c, b);
        for (size_t i = 0; e == FLOE_OK && i <= t->n; i++) {
            if (n == PIECE || (i == t->n && n > 0)) {
                struct floe_error ignored;
                if (at == NULL && floe_conns_node(c, node, &at, &ignored) != FLOE_OK)
                    break; /* another leads what it led, in a moment */
                e = list_piece(at, piece, n, time, err);
                n = 0;
                floe_cli_progress(progress, "partitions asked for their offsets", i, t->n);
            }
            if (i == t->n || t->v[i].listed_now || t->v[i].leader != node)
                continue;
            piece[n++] = &t->v[i];
        }
    }
    return e;
}

enum floe_err floe_cli_list_offsets(struct floe_conns *c, struct floe_cli_tps *t, int64_t at,
                                    struct floe_error *err)
{
    struct floe_cli_progress progress = {0};
    int64_t since = 0;
    for (size_t i = 0; i < t->n; i++) {
        t->v[i].listed = -1;
        t->v[i].listed_now = false;
    }
    for (;;) {
        int16_t passing = 0;
        enum floe_err e = list_round(c, t, at, &progress, err);
        if (e != FLOE_OK)
            return e;
        for (size_t i = 0; i < t->n; i++) {
            t->v[i].listed_now = t->v[i].error == 0 || !floe_kafka_error_retriable(t->v[i].error) ||
                                 t->v[i].error == FLOE_KERR_UNKNOWN_TOPIC_OR_PARTITION;
            if (!t->v[i].listed_now)
                passing = t->v[i].error;
        }
        if (passing == 0 || !floe_cli_again(passing, &since))
            return FLOE_OK;
    }
}

/* Commits v[0..n); *code gets the first error that passes by itself. */
static enum floe_err commit_piece(struct floe_client *at, const char *group, const struct floe_cli_tp *v,
                                  int32_t n, int16_t *code, struct floe_error *err)
{
    struct floe_kafka_OffsetCommitRequest request;
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic topics[PIECE];
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition parts[PIECE];
    void *response;
    floe_kafka_defaults(&floe_kafka_OffsetCommitRequest_desc, &request);
    request.GroupId = floe_kstr(group);
    request.Topics = topics;
    for (int32_t i = 0; i < n; i++) {
        floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition_desc,
                                   &parts[i]);
        parts[i].PartitionIndex = v[i].partition;
        parts[i].CommittedOffset = v[i].target;
        parts[i].CommittedMetadata = floe_kstr("");
        if (i == 0 || strcmp(v[i - 1].topic, v[i].topic) != 0) {
            struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic *t = &topics[request.Topics_n++];
            floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic_desc, t);
            t->Name = floe_kstr(v[i].topic);
            t->Partitions = &parts[i];
        }
        topics[request.Topics_n - 1].Partitions_n++;
    }
    enum floe_err e = floe_client_call(at, OFFSET_COMMIT, 9, &request, &response, NULL, err);
    if (e != FLOE_OK)
        return e;
    const struct floe_kafka_OffsetCommitResponse *r = response;
    *code = 0;
    for (int32_t i = 0; i < r->Topics_n; i++) {
        for (int32_t k = 0; k < r->Topics[i].Partitions_n; k++) {
            int16_t error = r->Topics[i].Partitions[k].ErrorCode;
            if (error == 0)
                continue;
            *code = error;
            (void)floe_client_error(error, floe_kstr(NULL), err);
            floe_error_prefix(err, "%.*s-%d", (int)FLOE_MAX(r->Topics[i].Name.n, 0), r->Topics[i].Name.p,
                              r->Topics[i].Partitions[k].PartitionIndex);
            if (!floe_kafka_error_retriable(error))
                return err->code;
        }
    }
    return FLOE_OK;
}

enum floe_err floe_cli_commit(struct floe_conns *c, const char *group, struct floe_cli_tps *t,
                              struct floe_error *err)
{
    struct floe_cli_progress progress = {0};
    int64_t since = 0;
    for (size_t i = 0; i < t->n;) {
        struct floe_client *at;
        int32_t node, n = (int32_t)FLOE_MIN(t->n - i, (size_t)PIECE);
        int16_t code;
        enum floe_err e = floe_conns_coordinator(c, group, &at, &node, err);
        if (e == FLOE_OK)
            e = commit_piece(at, group, &t->v[i], n, &code, err);
        if (e != FLOE_OK)
            return e;
        if (code != 0) {
            if (!floe_cli_again(code, &since))
                return err->code;
            continue;
        }
        since = 0;
        i += (size_t)n;
        floe_cli_progress(&progress, "partitions committed", i, t->n);
    }
    return FLOE_OK;
}
