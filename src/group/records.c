/* Records of the journal: whom they belong to, and back. Keys and values are Apache Kafka's
 * (docs/formats/group.md). */
#include "group_int.h"

struct record_kind {
    int16_t type;
    const struct floe_kafka_msg *key, *value;
    int16_t version; /* of a value that records_put writes */
};
static const struct record_kind kinds[] = {
    {GROUP_REC_OFFSET_OLD, &floe_kafka_OffsetCommitKey_desc, &floe_kafka_OffsetCommitValue_desc, 0},
    {GROUP_REC_OFFSET, &floe_kafka_OffsetCommitKey_desc, &floe_kafka_OffsetCommitValue_desc, 0},
    {GROUP_REC_CLASSIC, &floe_kafka_GroupMetadataKey_desc, &floe_kafka_GroupMetadataValue_desc,
     CLASSIC_VALUE_VERSION},
    {GROUP_REC_CONSUMER, &floe_kafka_ConsumerGroupMetadataKey_desc,
     &floe_kafka_ConsumerGroupMetadataValue_desc, 0},
    {GROUP_REC_MEMBER, &floe_kafka_ConsumerGroupMemberMetadataKey_desc,
     &floe_kafka_ConsumerGroupMemberMetadataValue_desc, 0},
    {GROUP_REC_TARGET, &floe_kafka_ConsumerGroupTargetAssignmentMetadataKey_desc,
     &floe_kafka_ConsumerGroupTargetAssignmentMetadataValue_desc, 0},
    {GROUP_REC_TARGET_MEMBER, &floe_kafka_ConsumerGroupTargetAssignmentMemberKey_desc,
     &floe_kafka_ConsumerGroupTargetAssignmentMemberValue_desc, 0},
    {GROUP_REC_CURRENT, &floe_kafka_ConsumerGroupCurrentMemberAssignmentKey_desc,
     &floe_kafka_ConsumerGroupCurrentMemberAssignmentValue_desc, 0},
    {GROUP_REC_REGEX, &floe_kafka_ConsumerGroupRegularExpressionKey_desc,
     &floe_kafka_ConsumerGroupRegularExpressionValue_desc, 0},
};

static enum floe_err decode_value(const struct floe_kafka_msg *m, struct floe_kbytes value,
                                  struct floe_arena *scratch, void **out, struct floe_error *err)
{
    *out = NULL;
    if (value.n < 0)
        return FLOE_OK; /* a tombstone */
    if (value.n < 2)
        return floe_error_set(err, FLOE_ECORRUPT, "a value of %d bytes", (int)value.n);
    int16_t version = (int16_t)floe_be16(value.p);
    if (version < m->min || version > m->max)
        return floe_error_set(err, FLOE_EUNSUPPORTED, "%s of version %d", m->name, (int)version);
    return floe_kafka_decode(m, version, floe_slice(value.p + 2, (size_t)value.n - 2), scratch, out, err);
}

enum floe_err records_replay(struct group_shard *s, struct floe_kbytes key, struct floe_kbytes value,
                             struct floe_arena *scratch, struct floe_error *err)
{
    const struct record_kind *k = kinds;
    void *kd, *vd;
    if (key.n < 2)
        return floe_error_set(err, FLOE_ECORRUPT, "a key of %d bytes", (int)key.n);
    int16_t type = (int16_t)floe_be16(key.p);
    while (k < kinds + FLOE_COUNTOF(kinds) && k->type != type)
        k++;
    if (k == kinds + FLOE_COUNTOF(kinds))
        return floe_error_set(err, FLOE_EUNSUPPORTED, "record type %d", (int)type);
    enum floe_err rc =
        floe_kafka_decode(k->key, 0, floe_slice(key.p + 2, (size_t)key.n - 2), scratch, &kd, err);
    if (rc == FLOE_OK)
        rc = decode_value(k->value, value, scratch, &vd, err);
    if (rc != FLOE_OK)
        return rc;
    if (type <= GROUP_REC_OFFSET)
        offsets_replay(s, kd, vd);
    else
        records_apply(s, type, kd, vd);
    return FLOE_OK;
}

void records_apply(struct group_shard *s, int16_t type, const void *key, const void *value)
{
    if (type == GROUP_REC_CLASSIC)
        classic_replay(s, key, value);
    else
        consumer_replay(s, type, key, value);
}

void records_put(struct group_shard *s, int16_t type, const void *key, const void *value)
{
    const struct record_kind *k = kinds;
    while (k->type != type)
        k++;
    journal_put(s, type, k->key, key, k->value, k->version, value);
}

void records_snapshot(struct group *g)
{
    if (g->kind == GROUP_CLASSIC)
        classic_snapshot(g);
    else if (g->kind == GROUP_CONSUMER)
        consumer_snapshot(g);
    offsets_snapshot(g);
}
