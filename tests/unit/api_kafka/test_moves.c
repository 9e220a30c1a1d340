/* Planned moves through whole cores: the receiver has read ahead when the lease names it, and a client that
 * is sent there before is kept waiting, not sent back. */
#include <floe_cmocka.h>

#include "api_rig.h"
#include <stdlib.h>

enum { PARTITIONS = 24 };

static struct floe_log_stats log_stats(struct api_node *n)
{
    struct floe_log_stats s;
    floe_log_get_stats(floe_core_log(n->core), &s);
    return s;
}

static void a_newcomer_has_read_ahead(void **state)
{
    struct api_rig r;
    struct floe_arena a;
    int64_t base;
    (void)state;
    api_rig_start(&r, 3, 2);
    floe_arena_init(&a, 16 << 20);
    assert_int_equal(api_make_topic(&r.nodes[0], "t", PARTITIONS, NULL, NULL), 0);
    api_rig_run(&r, 1000);
    struct floe_krecords three = api_batch(&a, 1, 3, true, FLOE_COMPRESSION_NONE);
    for (int32_t i = 0; i < PARTITIONS; i++)
        assert_int_equal(api_produce_one(api_leader_of(&r, "t", i), "t", i, -1, three, &base), 0);
    struct api_node *fresh = api_rig_add(&r);
    api_rig_run(&r, 10000);
    uint32_t moved = 0;
    for (int32_t i = 0; i < PARTITIONS; i++) {
        struct api_node *n = api_leader_of(&r, "t", i);
        assert_non_null(n);
        moved += n == fresh;
        assert_int_equal(api_produce_one(n, "t", i, -1, three, &base), 0);
        assert_int_equal(base, 3);
    }
    assert_in_range(moved, PARTITIONS / 6, PARTITIONS / 2);
    assert_int_equal(log_stats(fresh).read_ahead, moved);
    assert_int_equal(floe_core_stats(fresh->core)->adopted_taken, moved);
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

static struct floe_kafka_PeerMoveAheadRequest ahead(struct api_rig *r)
{
    struct floe_kafka_PeerMoveAheadRequest rq;
    const struct floe_session_name *s = floe_lease_session(floe_core_lease(r->nodes[0].core));
    floe_kafka_defaults(&floe_kafka_PeerMoveAheadRequest_desc, &rq);
    rq.ClusterId = r->cluster;
    rq.NodeId = s->node;
    rq.NodeEpoch = s->epoch;
    rq.SessionId = (int64_t)s->id;
    rq.Stopped = true;
    return rq;
}

/* Node 0 says that its partition is about to move to node 1, which then does not happen. */
static void who_is_sent_ahead_waits_a_little(void **state)
{
    struct api_rig r;
    struct floe_arena a;
    int64_t base;
    (void)state;
    api_rig_start(&r, 4, 2);
    floe_arena_init(&a, 16 << 20);
    assert_int_equal(api_make_topic(&r.nodes[0], "t", 8, NULL, NULL), 0);
    struct floe_krecords three = api_batch(&a, 1, 3, true, FLOE_COMPRESSION_NONE);
    struct floe_kafka_PeerMoveAheadRequest rq = ahead(&r);
    struct floe_kafka_PeerMoveAheadRequest_MovingPartition part;
    floe_kafka_struct_defaults(&floe_kafka_PeerMoveAheadRequest_MovingPartition_desc, &part);
    while (api_leader_of(&r, "t", part.Index) != &r.nodes[0])
        part.Index++;
    assert_int_equal(api_produce_one(&r.nodes[0], "t", part.Index, -1, three, &base), 0);
    assert_true(api_topic_id(&r.nodes[0], "t", &part.TopicId));
    struct floe_tp tp = {part.TopicId, part.Index};
    struct floe_lease_entry e;
    (void)floe_log_checkpoint_now(floe_core_log(r.nodes[0].core), &tp);
    api_rig_run(&r, 1000);
    assert_true(floe_lease_lookup(floe_core_lease(r.nodes[0].core), &tp, &e) && e.checkpoint.present);
    part.LeaderEpoch = e.epoch;
    part.Checkpoint = part.End = (int64_t)e.checkpoint.seq;
    uint64_t from = floe_sim_now_us(r.sim);
    assert_int_equal(api_produce_one(&r.nodes[1], "t", part.Index, -1, three, &base),
                     FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    assert_true(floe_sim_now_us(r.sim) - from < 200000);
    rq.Partitions = &part;
    rq.Partitions_n = 1;
    const struct floe_kafka_PeerMoveAheadResponse *rs = api_do(&r.nodes[1], FLOE_PEER_MOVE_AHEAD, 0, &rq);
    assert_non_null(rs);
    assert_int_equal(rs->ErrorCode, 0);
    from = floe_sim_now_us(r.sim);
    assert_int_equal(api_produce_one(&r.nodes[1], "t", part.Index, -1, three, &base),
                     FLOE_KERR_NOT_LEADER_OR_FOLLOWER);
    assert_in_range(floe_sim_now_us(r.sim) - from, 200000, 1500000);
    part.Checkpoint = -1; /* what cannot be is left out */
    rs = api_do(&r.nodes[1], FLOE_PEER_MOVE_AHEAD, 0, &rq);
    assert_true(rs != NULL && rs->ErrorCode == 0 && rs->Waiting == 0);
    rq.ClusterId.b[0] ^= 1;
    rs = api_do(&r.nodes[1], FLOE_PEER_MOVE_AHEAD, 0, &rq);
    assert_non_null(rs);
    assert_int_equal(rs->ErrorCode, FLOE_KERR_INCONSISTENT_CLUSTER_ID);
    floe_arena_fini(&a);
    api_rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_newcomer_has_read_ahead),
        cmocka_unit_test(who_is_sent_ahead_waits_a_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
