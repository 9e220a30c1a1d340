/* Racks (KIP-392): which broker of a client's rack reads a partition for it, and clients that come back from
 * there. */
#include "api_kafka/api_int.h"
#include <floe/base/crc32c.h>
#include <stdlib.h>

#define RACKS_FRESH_US 200000 /* how long the list of brokers' racks is used */
#define BACK_TIMES 3u         /* a client that is sent there so often */
#define BACK_WITHIN_US                                                                                       \
    10000000u /* within this time, and asks the leader again, does not get what it wants there */
#define BACK_STAY_US 30000000u /* and is served here for so long */

static int by_rack(const void *a, const void *b)
{
    const struct api_rack_node *x = a, *y = b;
    int c = strcmp(x->rack, y->rack);
    return c ? c : (x->node > y->node) - (x->node < y->node);
}

static void look(struct floe_api *api)
{
    struct api_racks *k = &api->racks;
    uint64_t now = floe_loop_now_us(api->cfg.loop);
    if (k->read && now - k->read_us < RACKS_FRESH_US)
        return;
    uint32_t max = floe_lease_nodes(api->cfg.lease, NULL, 0), n = 0;
    struct floe_node_info *info = calloc(max ? max : 1, sizeof *info);
    struct api_rack_node *nodes = calloc(max ? max : 1, sizeof *nodes);
    if (info && nodes) {
        max = FLOE_MIN(floe_lease_nodes(api->cfg.lease, info, max), max);
        for (uint32_t i = 0; i < max; i++) {
            if (info[i].state != FLOE_NODE_LIVE || !info[i].rack[0])
                continue;
            nodes[n].node = info[i].session.node;
            memcpy(nodes[n++].rack, info[i].rack, sizeof nodes[0].rack);
        }
        qsort(nodes, n, sizeof *nodes, by_rack);
        free(k->nodes);
        k->nodes = nodes;
        k->n = n;
        k->read = true;
        k->read_us = now;
        nodes = NULL;
    }
    free(nodes);
    free(info);
}

static uint64_t weight(uint64_t tp_hash, int32_t node)
{
    uint8_t bytes[12];
    floe_put_le64(bytes, tp_hash);
    floe_put_le32(bytes + 8, (uint32_t)node);
    return floe_hash64(bytes, sizeof bytes, 0x666c6f652d72646bull);
}

/* Rendezvous hashing over the rack's live brokers [from, to): consumers of one rack share one cache. */
static int32_t reader_of(const struct api_racks *k, uint32_t from, uint32_t to, const struct floe_tp *tp)
{
    uint64_t h = floe_tp_hash(tp), best = 0;
    int32_t node = -1;
    for (uint32_t i = from; i < to; i++) {
        uint64_t w = weight(h, k->nodes[i].node);
        if (node < 0 || w > best) {
            node = k->nodes[i].node;
            best = w;
        }
    }
    return node;
}

static uint32_t rack_end(const struct api_racks *k, uint32_t from)
{
    uint32_t to = from + 1;
    while (to < k->n && strcmp(k->nodes[to].rack, k->nodes[from].rack) == 0)
        to++;
    return to;
}

static bool is(struct floe_kstr rack, const char *name)
{
    return rack.n > 0 && strlen(name) == (size_t)rack.n && memcmp(rack.p, name, (size_t)rack.n) == 0;
}

bool api_rack_own(const struct floe_api *api, struct floe_kstr rack)
{
    return api->cfg.rack && is(rack, api->cfg.rack);
}

int32_t api_rack_reader(struct floe_api *api, struct floe_kstr rack, const struct floe_tp *tp)
{
    struct api_racks *k = &api->racks;
    if (rack.n <= 0 || api_rack_own(api, rack))
        return -1;
    look(api);
    for (uint32_t i = 0, to; i < k->n; i = to) {
        to = rack_end(k, i);
        if (is(rack, k->nodes[i].rack))
            return reader_of(k, i, to, tp);
    }
    return -1;
}

int32_t *api_replicas(struct floe_request *rq, const struct floe_tp *tp, int32_t leader, int32_t *n)
{
    struct floe_api *api = api_of(rq);
    struct api_racks *k = &api->racks;
    look(api);
    uint32_t racks = 0;
    for (uint32_t i = 0; i < k->n; i = rack_end(k, i))
        racks++;
    int32_t *out = floe_arena_calloc(&rq->arena, racks + 1, sizeof *out);
    if (!out)
        return NULL;
    out[0] = leader;
    *n = 1;
    for (uint32_t i = 0, to; i < k->n; i = to) {
        to = rack_end(k, i);
        bool leads = false;
        for (uint32_t j = i; j < to; j++)
            leads |= k->nodes[j].node == leader;
        if (!leads)
            out[(*n)++] = reader_of(k, i, to, tp);
    }
    return out;
}

bool api_rack_send(struct floe_api *api, const struct floe_client *client, const struct floe_tp *tp)
{
    uint64_t id = floe_hash64(client->addr, strlen(client->addr), floe_tp_hash(tp));
    struct api_sent *s = &api->racks.sent[id % API_SENT_MAX];
    uint64_t now = floe_loop_now_us(api->cfg.loop);
    bool known = s->id == id && s->times > 0;
    if (known && now < s->stay_us)
        return false;
    if (!known || now - s->sent_us >= BACK_WITHIN_US)
        *s = (struct api_sent){.id = id, .sent_us = now};
    if (s->times++ < BACK_TIMES)
        return true;
    s->stay_us = now + BACK_STAY_US;
    return false;
}
