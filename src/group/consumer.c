/* KIP-848 groups. */
#include "group_int.h"

void consumer_replay(struct group_shard *s, int16_t type, const void *key, const void *value)
{
    (void)s, (void)type, (void)key, (void)value;
}
void consumer_snapshot(struct group *g)
{
    (void)g;
}
void consumer_loaded(struct group *g)
{
    (void)g;
}
void consumer_free(struct group *g)
{
    (void)g;
}
void consumer_put_tombstones(struct group *g)
{
    (void)g;
}
int16_t consumer_validate_commit(struct group *g, struct floe_kstr member, struct floe_kstr instance,
                                 int32_t member_epoch, int16_t version)
{
    (void)g, (void)member, (void)instance, (void)member_epoch, (void)version;
    return FLOE_KERR_UNKNOWN_MEMBER_ID;
}
int16_t consumer_validate_fetch(struct group *g, struct floe_kstr member, int32_t member_epoch)
{
    (void)g, (void)member, (void)member_epoch;
    return 0;
}
bool consumer_has_members(const struct group *g)
{
    (void)g;
    return false;
}
bool consumer_subscribed(const struct group *g, struct floe_kstr topic)
{
    (void)g, (void)topic;
    return false;
}
void consumer_classic_join(struct group *g, struct floe_group_call *c)
{
    (void)g, (void)c;
}
bool consumer_classic_sync(struct floe_groups *g, struct floe_group_call *c)
{
    (void)g, (void)c;
    return false;
}
bool consumer_classic_heartbeat(struct floe_groups *g, struct floe_group_call *c)
{
    (void)g, (void)c;
    return false;
}
bool consumer_classic_leave(struct floe_groups *g, struct floe_group_call *c)
{
    (void)g, (void)c;
    return false;
}
const char *consumer_state(const struct group *g)
{
    (void)g;
    return "Empty";
}
