/* Records of __consumer_offsets come from a topic that anybody may have written to. The input is records,
 * each: type (a byte), key length and value length (two bytes each, little-endian; value length 65535: a
 * tombstone), key, value. They are replayed onto a shard's state, and what came of it is described. */
#include "group/consumer_int.h"

#include <floe/base/assert.h>
#include <floe/sim.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define RECORDS_MAX 64

static void shard_init(struct group_shard *s, struct floe_groups *g)
{
    *s = (struct group_shard){.g = g, .state = SHARD_LOADING};
    floe_map_init(&s->groups);
    floe_list_init(&s->order);
    journal_init(s);
}

static void replay(struct group_shard *s, struct floe_reader *r)
{
    for (int i = 0; i < RECORDS_MAX && floe_reader_left(r) > 5; i++) {
        uint8_t key[4096] = {0, floe_read_u8(r)};
        uint16_t key_n = floe_read_le16(r) % 4000, value_n = floe_read_le16(r);
        struct floe_arena scratch;
        struct floe_error err;
        const uint8_t *k = floe_reader_take(r, FLOE_MIN((size_t)key_n, floe_reader_left(r)));
        size_t left = floe_reader_left(r), take = FLOE_MIN((size_t)value_n, left);
        struct floe_kbytes value = {NULL, -1};
        if (!k)
            return;
        memcpy(key + 2, k, FLOE_MIN((size_t)key_n, (size_t)(r->p - k)));
        if (value_n != UINT16_MAX)
            value = (struct floe_kbytes){floe_reader_take(r, take), (int32_t)take};
        floe_arena_init(&scratch, 1 << 20);
        enum floe_err rc = records_replay(s, (struct floe_kbytes){key, key_n + 2}, value, &scratch, &err);
        FLOE_ASSERT(rc == FLOE_OK || err.msg[0] != '\0');
        floe_arena_fini(&scratch);
    }
}

static void describe(struct group_shard *s)
{
    FLOE_LIST_EACH(it, &s->order)
    {
        struct group *g = FLOE_LIST_ENTRY(it, struct group, link);
        struct floe_kafka_DescribeGroupsResponse_DescribedGroup out;
        struct floe_arena a;
        struct subscribed sub;
        subscribed_init(&sub, g);
        (void)subscribed_to(&sub, floe_kstr("t"));
        subscribed_fini(&sub);
        floe_arena_init(&a, 1 << 20);
        floe_kafka_struct_defaults(&floe_kafka_DescribeGroupsResponse_DescribedGroup_desc, &out);
        if (g->kind == GROUP_CONSUMER) {
            FLOE_ASSERT(g->consumer && !g->classic && consumer_state(g)[0] != '\0');
            (void)consumer_validate_fetch(g, floe_kstr("m"), 7);
            (void)migrate_may_downgrade(g->consumer, floe_kstr("c"));
        } else {
            FLOE_ASSERT(!g->consumer);
            classic_describe(g, &out, &a);
        }
        floe_arena_fini(&a);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct floe_sim *sim = floe_sim_create(1);
    struct floe_sim_node *node = floe_sim_node_create(sim, "n");
    struct floe_groups g = {.closing = true, .cfg = {.loop = floe_sim_node_loop(node)}};
    struct group_shard s;
    struct floe_reader r = floe_reader(floe_slice(data, n));
    floe_group_settings_default(&g.cfg.set);
    floe_list_init(&g.orphans);
    regexes_init(&g);
    shard_init(&s, &g);
    replay(&s, &r);
    describe(&s);
    while (!floe_list_empty(&s.order))
        group_free(FLOE_LIST_ENTRY(s.order.next, struct group, link));
    FLOE_ASSERT(g.stats.groups == 0 && g.stats.offsets == 0 && g.stats.members == 0);
    journal_fini(&s);
    regexes_fini(&g);
    floe_map_fini(&s.groups);
    floe_sim_destroy(&sim);
    return 0;
}
