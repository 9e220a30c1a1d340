/* Classic groups. */
#include "group_int.h"

void classic_replay(struct group_shard *s, const struct floe_kafka_GroupMetadataKey *k,
                    const struct floe_kafka_GroupMetadataValue *v)
{
    (void)s, (void)k, (void)v;
}
void classic_snapshot(struct group *g)
{
    (void)g;
}
void classic_loaded(struct group *g)
{
    (void)g;
}
void classic_free(struct group *g)
{
    (void)g;
}
void classic_put_tombstones(struct group *g)
{
    (void)g;
}
int16_t classic_validate_commit(struct group *g, struct floe_kstr member, struct floe_kstr instance,
                                int32_t generation)
{
    (void)g, (void)member, (void)instance, (void)generation;
    return FLOE_KERR_UNKNOWN_MEMBER_ID;
}
bool classic_has_members(const struct group *g)
{
    (void)g;
    return false;
}
bool classic_subscribed(const struct group *g, struct floe_kstr topic)
{
    (void)g, (void)topic;
    return false;
}
