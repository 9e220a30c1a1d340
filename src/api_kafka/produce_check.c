/* What a topic asks of the records that are produced to it: size, keys, timestamps. Only a batch whose header
 * gives cause, or whose topic is compacted, is walked. Sentences follow Kafka's LogValidator. */
#include "api_kafka/api_int.h"
#include <stdio.h>

#define DECOMPRESSED_MAX ((size_t)256 << 20) /* of a batch whose records are looked at */
#define ERRORS_MAX 1000                      /* records that one answer tells of */

struct walk {
    struct floe_request *rq;
    const struct floe_topic *t;
    int32_t partition;
    int64_t now;
    bool keys, stamps;
    uint32_t bad_keys, bad_stamps;
    struct api_records_check *out;
};

/* No timestamp (-1) is none that could be wrong. */
static bool stamp_fits(const struct floe_topic *t, int64_t now, int64_t stamp)
{
    if (stamp == -1)
        return true;
    int64_t age = now - FLOE_MAX(stamp, now - INT64_MAX);
    return age <= t->stamp_before_ms && -age <= t->stamp_after_ms;
}

static bool tell(struct walk *w, int32_t index, const char *text)
{
    struct api_records_check *o = w->out;
    if (o->n == ERRORS_MAX)
        return true;
    if (!o->errors)
        o->errors = floe_kafka_array(&floe_kafka_ProduceResponse_BatchIndexAndErrorMessage_desc, ERRORS_MAX,
                                     &w->rq->arena);
    if (!o->errors)
        return false;
    o->errors[o->n].BatchIndex = index;
    o->errors[o->n++].BatchIndexErrorMessage = api_copy(w->rq, text);
    return true;
}

static bool check_one(struct walk *w, const struct floe_record *r, int32_t index)
{
    char text[FLOE_TOPIC_NAME_MAX + 160];
    if (w->keys && r->key.n < 0) {
        w->bad_keys++;
        snprintf(text, sizeof text,
                 "Compacted topic cannot accept message without key in topic partition %s-%d", w->t->name,
                 (int)w->partition);
        return tell(w, index, text);
    }
    if (!w->stamps || stamp_fits(w->t, w->now, r->timestamp))
        return true;
    int64_t low = w->t->stamp_before_ms > w->now ? 0 : w->now - w->t->stamp_before_ms;
    int64_t high = w->t->stamp_after_ms > INT64_MAX - w->now ? INT64_MAX : w->now + w->t->stamp_after_ms;
    w->bad_stamps++;
    snprintf(text, sizeof text,
             "Timestamp %lld of message with offset %d is out of range. The timestamp should be within "
             "[%lld, %lld]",
             (long long)r->timestamp, (int)index, (long long)low, (long long)high);
    return tell(w, index, text);
}

static int16_t walk(struct walk *w, struct floe_slice bytes)
{
    struct floe_record_iter *iter;
    struct floe_record record;
    struct floe_error err;
    int16_t error = 0;
    int32_t index = 0;
    enum floe_err rc;
    if (floe_record_iter_create(&iter, bytes, DECOMPRESSED_MAX, &err))
        return FLOE_KERR_CORRUPT_MESSAGE;
    while (!error && (rc = floe_record_iter_next(iter, &record, &err)) != FLOE_ENOTFOUND) {
        if (rc)
            error = FLOE_KERR_CORRUPT_MESSAGE;
        else if (!check_one(w, &record, index++))
            error = FLOE_KERR_UNKNOWN_SERVER_ERROR;
    }
    floe_record_iter_destroy(&iter);
    return error;
}

/* What of it must be looked at record by record. */
static struct walk walk_of(struct floe_request *rq, const struct floe_batch *b, const struct floe_topic *t)
{
    struct walk w = {.rq = rq, .t = t, .keys = t->compacted};
    if (t->log_append_time)
        return w;
    w.now = floe_loop_wall_ms(api_of(rq)->cfg.loop);
    /* The largest timestamp is the header's; the smallest may lie before its first. */
    w.stamps = !stamp_fits(t, w.now, b->max_timestamp) || t->stamp_before_ms < w.now;
    return w;
}

bool api_check_decompresses(struct floe_request *rq, const struct floe_batch *b, const struct floe_topic *t)
{
    struct walk w = walk_of(rq, b, t);
    return (w.keys || w.stamps) && floe_batch_compression(b) != FLOE_COMPRESSION_NONE;
}

void api_check_records(struct floe_request *rq, struct floe_bufslice bytes, const struct floe_batch *b,
                       const struct floe_topic *t, int32_t partition, struct api_records_check *out)
{
    *out = (struct api_records_check){.error = 0};
    if (b->length > t->max_message_bytes) {
        out->error = FLOE_KERR_MESSAGE_TOO_LARGE;
        return;
    }
    struct walk w = walk_of(rq, b, t);
    w.partition = partition;
    w.out = out;
    if (!w.keys && !w.stamps)
        return;
    out->error = walk(&w, floe_slice(bytes.p, bytes.n));
    if (out->error)
        return;
    if (w.bad_keys) {
        char text[96];
        snprintf(text, sizeof text, "One or more records have been rejected due to %u record errors in total",
                 w.bad_keys + w.bad_stamps);
        out->error = FLOE_KERR_INVALID_RECORD;
        out->message = api_copy(rq, text).p;
    } else if (w.bad_stamps) {
        out->error = FLOE_KERR_INVALID_TIMESTAMP;
        out->message = "One or more records have been rejected due to invalid timestamp";
    }
}
