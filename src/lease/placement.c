/* Placement: bounded-load rendezvous hashing over racks and nodes (rules and invariants:
 * floe/lease/placement.h).
 *
 *   SORT ─► RACKS ─► MATCH ─► DONE
 *
 * SORT brings the partitions into the order of (topic, index); RACKS gives each a first rack; MATCH lets
 * each propose to nodes in its order of preference until it is kept (deferred acceptance: the result does not
 * depend on who proposes first). Stable for ever, since all brokers must agree on it. */
#include <floe/lease/placement.h>

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>

#include <stdlib.h>

#define SEED_TP 0x666c6f652d747031ull    /* "floe-tp1" */
#define SEED_OWNER 0x666c6f652d6f776eull /* "floe-own" */
#define SEED_PART 0x666c6f652d706c31ull  /* "floe-pl1" */
#define SEED_TOPIC 0x666c6f652d706c74ull /* "floe-plt" */
#define SEED_NODE 0x666c6f652d706c6eull  /* "floe-pln" */
#define SEED_RACK 0x666c6f652d706c72ull  /* "floe-plr" */
#define SEED_LIMIT 0x666c6f652d706c6cull /* "floe-pll" */

static uint64_t hash_parts(const struct floe_uuid *topic, int32_t a, int32_t b, uint64_t seed)
{
    uint8_t bytes[24];
    memcpy(bytes, topic->b, 16);
    floe_put_be32(bytes + 16, (uint32_t)a);
    floe_put_be32(bytes + 20, (uint32_t)b);
    return floe_hash64(bytes, sizeof bytes, seed);
}

uint64_t floe_tp_hash(const struct floe_tp *tp)
{
    return hash_parts(&tp->topic, tp->index, 0, SEED_TP);
}

int32_t floe_placement_owner(const struct floe_tp *tp, const int32_t *nodes, uint32_t n)
{
    FLOE_ASSERT(n > 0);
    int32_t best = nodes[0];
    uint64_t best_weight = hash_parts(&tp->topic, tp->index, nodes[0], SEED_OWNER);
    for (uint32_t i = 1; i < n; i++) {
        uint64_t weight = hash_parts(&tp->topic, tp->index, nodes[i], SEED_OWNER);
        if (weight > best_weight || (weight == best_weight && nodes[i] < best)) {
            best = nodes[i];
            best_weight = weight;
        }
    }
    return best;
}

uint64_t floe_placement_rack(const char *name)
{
    return name == NULL || name[0] == '\0' ? 0 : floe_hash64(name, strlen(name), SEED_RACK) | 1;
}

/* ---- the object ------------------------------------------------------------------------------------- */

enum phase { SORT, RACKS, MATCH, DONE };

struct part {
    struct floe_tp tp;
    uint32_t node; /* index into nodes, once it has proposed */
};
struct node {
    int32_t id;
    uint32_t limit, load;
    uint64_t rack, hash;
    size_t heap; /* in p->heap: the partitions it keeps, the weakest first once it is full */
};
struct rack {
    uint64_t hash, score;  /* score: for the topic at hand */
    uint32_t first, count; /* nodes */
    uint32_t quota, used;  /* of the topic at hand */
};
/* What a partition needs while it is being matched. */
struct wish {
    uint64_t hash;
    uint64_t score; /* of the proposal made last; the next one is lower */
    uint32_t home;  /* its first rack */
    uint32_t rack;  /* where it proposes now */
};

struct floe_placement {
    enum phase phase;
    struct node *nodes; /* by rack, then id */
    uint32_t node_count;
    struct rack *racks;
    uint32_t rack_count;
    struct part *parts, *other; /* other: the sort's second half */
    size_t n, cap;
    size_t width; /* sort: runs of this length are sorted */
    size_t next;  /* racks, match: the next partition */
    struct wish *wishes;
    uint32_t *heap;
    uint32_t homeless; /* match: who proposes now; NONE: the next one */
    uint64_t hash;
};
#define NONE UINT32_MAX

static void *alloc(size_t n)
{
    void *p = calloc(1, n > 0 ? n : 1);
    FLOE_ASSERT(p != NULL);
    return p;
}

/* A bijection of 64 bits that spreads every one of them (multiply and fold, three rounds). */
static inline uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ull;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ull;
    return x ^ (x >> 32);
}

static inline uint64_t hash_u64(uint64_t v, uint64_t seed)
{
    return mix(mix(v ^ seed) + seed);
}

static int by_rack(const void *a, const void *b)
{
    const struct node *x = a, *y = b;
    if (x->rack != y->rack)
        return x->rack < y->rack ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

struct floe_placement *floe_placement_create(const struct floe_placement_node *nodes, uint32_t n,
                                             size_t parts)
{
    FLOE_ASSERT(n > 0 && parts < NONE);
    struct floe_placement *p = alloc(sizeof *p);
    p->nodes = alloc(n * sizeof *p->nodes);
    p->racks = alloc(n * sizeof *p->racks);
    p->parts = alloc(parts * sizeof *p->parts);
    p->node_count = n;
    p->cap = parts;
    p->width = 1;
    p->homeless = NONE;
    for (uint32_t i = 0; i < n; i++) {
        p->nodes[i] = (struct node){
            .id = nodes[i].id, .rack = nodes[i].rack, .hash = hash_u64((uint64_t)nodes[i].id, SEED_NODE)};
        p->hash += hash_u64(p->nodes[i].hash, p->nodes[i].rack);
    }
    qsort(p->nodes, n, sizeof *p->nodes, by_rack);
    for (uint32_t i = 0; i < n; i++) {
        if (i == 0 || p->nodes[i].rack != p->nodes[i - 1].rack)
            p->racks[p->rack_count++] =
                (struct rack){.hash = hash_u64(p->nodes[i].rack, SEED_RACK), .first = i};
        p->racks[p->rack_count - 1].count++;
    }
    return p;
}

void floe_placement_destroy(struct floe_placement **pp)
{
    struct floe_placement *p = *pp;
    if (p == NULL)
        return;
    *pp = NULL;
    free(p->nodes);
    free(p->racks);
    free(p->parts);
    free(p->other);
    free(p->wishes);
    free(p->heap);
    free(p);
}

void floe_placement_add(struct floe_placement *p, const struct floe_tp *tp)
{
    FLOE_ASSERT(p->phase == SORT && p->width == 1 && p->n < p->cap);
    p->parts[p->n++].tp = *tp;
}

/* ---- sort: bottom-up merges, one width a step -------------------------------------------------------- */

static int compare(const struct floe_tp *a, const struct floe_tp *b)
{
    int c = memcmp(a->topic.b, b->topic.b, sizeof a->topic.b);
    return c != 0 ? c : a->index < b->index ? -1 : a->index > b->index;
}

static void merge(struct part *out, const struct part *a, const struct part *a_end, const struct part *b,
                  const struct part *b_end)
{
    while (a < a_end && b < b_end)
        *out++ = compare(&a->tp, &b->tp) <= 0 ? *a++ : *b++;
    memcpy(out, a, (size_t)(a_end - a) * sizeof *a);
    memcpy(out + (a_end - a), b, (size_t)(b_end - b) * sizeof *b);
}

static uint64_t sort_pass(struct floe_placement *p)
{
    if (p->width >= p->n) {
        free(p->other);
        p->other = NULL;
        p->wishes = alloc(p->n * sizeof *p->wishes);
        p->phase = RACKS;
        return 1;
    }
    if (p->other == NULL)
        p->other = alloc(p->n * sizeof *p->other);
    for (size_t i = 0; i < p->n; i += 2 * p->width) {
        size_t mid = FLOE_MIN(i + p->width, p->n), end = FLOE_MIN(i + 2 * p->width, p->n);
        merge(p->other + i, p->parts + i, p->parts + mid, p->parts + mid, p->parts + end);
    }
    struct part *sorted = p->other;
    p->other = p->parts;
    p->parts = sorted;
    p->width *= 2;
    return p->n * 4;
}

/* ---- racks ------------------------------------------------------------------------------------------- */

static uint64_t part_hash(const struct floe_tp *tp)
{
    return hash_parts(&tp->topic, tp->index, 0, SEED_PART);
}

/* Shares `k` partitions of the topic out: each rack gets the floor, and those that the topic's hash likes
 * best one more. */
static void deal_topic(struct floe_placement *p, const struct floe_uuid *topic, uint32_t k)
{
    uint64_t t = hash_parts(topic, 0, 0, SEED_TOPIC);
    uint32_t more = k % p->rack_count;
    for (uint32_t r = 0; r < p->rack_count; r++) {
        p->racks[r].score = mix(t ^ p->racks[r].hash);
        p->racks[r].quota = k / p->rack_count;
        p->racks[r].used = 0;
    }
    for (; more > 0; more--) {
        struct rack *best = NULL;
        for (uint32_t r = 0; r < p->rack_count; r++)
            if (p->racks[r].quota == k / p->rack_count && (best == NULL || p->racks[r].score > best->score))
                best = &p->racks[r];
        best->quota++;
    }
}

static uint32_t pick_rack(struct floe_placement *p, uint64_t hash)
{
    uint32_t best = NONE;
    uint64_t best_score = 0;
    for (uint32_t r = 0; r < p->rack_count; r++) {
        uint64_t score = mix(hash ^ p->racks[r].hash);
        if (p->racks[r].used < p->racks[r].quota && (best == NONE || score > best_score)) {
            best = r;
            best_score = score;
        }
    }
    FLOE_ASSERT(best != NONE);
    p->racks[best].used++;
    return best;
}

static uint64_t load_bound(uint64_t parts, uint64_t nodes)
{
    return (5 * parts + 4 * nodes - 1) / (4 * nodes);
}

/* How many partitions a node may get at most: floor(9/8 * mean + u) with a u in [0, 1) of its own, so that
 * the limits of all nodes do not fall at once when the mean crosses a border; with few partitions a node the
 * ceiling itself. It is below the bound so that what stays where it was placed earlier has room too. */
static uint32_t node_limit(const struct node *n, uint64_t parts, uint64_t nodes)
{
    uint64_t u = hash_u64(n->hash, SEED_LIMIT) >> 48;
    if (parts <= 8 * nodes)
        return (uint32_t)((parts + nodes - 1) / nodes);
    return (uint32_t)((parts * 9 * 8192 + u * nodes) / (65536 * nodes));
}

static void start_match(struct floe_placement *p)
{
    size_t room = 0;
    for (uint32_t i = 0; i < p->node_count; i++) {
        struct node *n = &p->nodes[i];
        n->limit = node_limit(n, p->n, p->node_count);
        n->heap = room;
        room += n->limit;
    }
    FLOE_ASSERT(room >= p->n);
    p->heap = alloc(room * sizeof *p->heap);
    p->next = 0;
    p->phase = MATCH;
}

/* One topic. */
static uint64_t deal_racks(struct floe_placement *p)
{
    size_t from = p->next, to = from;
    if (from == p->n) {
        start_match(p);
        return 1;
    }
    while (to < p->n && floe_uuid_eq(&p->parts[to].tp.topic, &p->parts[from].tp.topic))
        to++;
    deal_topic(p, &p->parts[from].tp.topic, (uint32_t)(to - from));
    for (size_t i = from; i < to; i++) {
        struct wish *w = &p->wishes[i];
        w->hash = part_hash(&p->parts[i].tp);
        w->score = UINT64_MAX;
        w->home = w->rack = pick_rack(p, w->hash);
        p->hash += mix(w->hash);
    }
    p->next = to;
    return (uint64_t)(to - from) * (p->rack_count + 20);
}

/* ---- match ------------------------------------------------------------------------------------------- */

/* The node of rack `r` that scores highest below `below`; NONE when there is none. */
static uint32_t best_node(const struct floe_placement *p, uint32_t r, uint64_t hash, uint64_t below,
                          uint64_t *score)
{
    const struct rack *rack = &p->racks[r];
    uint32_t best = NONE;
    uint64_t best_score = 0;
    for (uint32_t i = rack->first; i < rack->first + rack->count; i++) {
        uint64_t s = mix(hash ^ p->nodes[i].hash);
        if (s >= best_score && s < below) {
            best = i;
            best_score = s;
        }
    }
    *score = best_score;
    return best;
}

/* The rack after `w->rack` in the partition's order: its home, then the others by score. */
static uint32_t next_rack(const struct floe_placement *p, const struct wish *w)
{
    uint64_t below = w->rack == w->home ? UINT64_MAX : mix(w->hash ^ p->racks[w->rack].hash), best_score = 0;
    uint32_t best = NONE;
    for (uint32_t r = 0; r < p->rack_count; r++) {
        uint64_t s = mix(w->hash ^ p->racks[r].hash);
        if (r != w->home && s >= best_score && s < below) {
            best = r;
            best_score = s;
        }
    }
    return best;
}

/* Is `a` kept rather than `b` by the node both propose to? Those at home come first, then the higher score.
 */
static bool stronger(const struct floe_placement *p, uint32_t a, uint32_t b)
{
    const struct wish *x = &p->wishes[a], *y = &p->wishes[b];
    bool home = x->rack == x->home;
    if (home != (y->rack == y->home))
        return home;
    return x->score != y->score ? x->score > y->score : a < b;
}

/* The weakest lies at the root. */
static void sift(const struct floe_placement *p, uint32_t *heap, uint32_t n, uint32_t at)
{
    uint32_t v = heap[at];
    for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && stronger(p, heap[child], heap[child + 1]))
            child++;
        if (!stronger(p, v, heap[child]))
            break;
        heap[at] = heap[child];
    }
    heap[at] = v;
}

/* Proposes to the node; who has no place then, NONE if all have one. */
static uint32_t propose(struct floe_placement *p, uint32_t part, struct node *n)
{
    uint32_t *heap = p->heap + n->heap;
    if (n->load < n->limit) {
        heap[n->load++] = part;
        if (n->load == n->limit)
            for (uint32_t i = n->load / 2; i-- > 0;)
                sift(p, heap, n->load, i);
        return NONE;
    }
    uint32_t weakest = heap[0];
    if (!stronger(p, part, weakest))
        return part;
    heap[0] = part;
    sift(p, heap, n->load, 0);
    return weakest;
}

/* One proposal. */
static uint64_t match_one(struct floe_placement *p)
{
    if (p->homeless == NONE) {
        if (p->next == p->n) {
            free(p->wishes);
            free(p->heap);
            p->wishes = NULL;
            p->heap = NULL;
            p->phase = DONE;
            return 1;
        }
        p->homeless = (uint32_t)p->next++;
    }
    uint32_t part = p->homeless;
    struct wish *w = &p->wishes[part];
    uint64_t cost = p->racks[w->rack].count + 8, score;
    uint32_t node = best_node(p, w->rack, w->hash, w->score, &score);
    if (node == NONE) {
        w->rack = next_rack(p, w);
        w->score = UINT64_MAX;
        FLOE_ASSERT(w->rack != NONE); /* the limits have room for all */
        return cost + p->rack_count;
    }
    w->score = score;
    p->parts[part].node = node;
    p->homeless = propose(p, part, &p->nodes[node]);
    return cost;
}

bool floe_placement_step(struct floe_placement *p, uint64_t budget)
{
    static uint64_t (*const work[])(struct floe_placement *) = {sort_pass, deal_racks, match_one};
    for (uint64_t used = 0; p->phase != DONE && used < budget;)
        used += work[p->phase](p);
    return p->phase == DONE;
}

/* ---- what came out ----------------------------------------------------------------------------------- */

int32_t floe_placement_find(const struct floe_placement *p, const struct floe_tp *tp)
{
    FLOE_ASSERT(p->phase == DONE);
    size_t lo = 0, hi = p->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (compare(&p->parts[mid].tp, tp) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < p->n && floe_tp_eq(&p->parts[lo].tp, tp) ? p->nodes[p->parts[lo].node].id : 0;
}

/* The partition's first wish among nodes with room for it. */
static struct node *extend_one(struct floe_placement *p, uint64_t hash, uint32_t home, uint64_t parts)
{
    struct wish w = {.hash = hash, .home = home, .rack = home};
    for (; w.rack != NONE; w.rack = next_rack(p, &w)) {
        uint64_t below = UINT64_MAX;
        for (uint32_t i; (i = best_node(p, w.rack, hash, below, &below)) != NONE;)
            if (p->nodes[i].load < node_limit(&p->nodes[i], parts, p->node_count))
                return &p->nodes[i];
    }
    FLOE_ASSERT(false); /* the limits have room for all */
    return NULL;
}

void floe_placement_extend(struct floe_placement *p, const struct floe_uuid *topic, int32_t from, int32_t to,
                           int32_t *owners)
{
    FLOE_ASSERT(p->phase == DONE && from >= 0 && from <= to);
    uint64_t parts = (uint64_t)(to - from);
    for (uint32_t i = 0; i < p->node_count; i++)
        parts += p->nodes[i].load;
    deal_topic(p, topic, (uint32_t)to);
    for (int32_t i = 0; i < to; i++) {
        struct floe_tp tp = {.topic = *topic, .index = i};
        uint64_t hash = part_hash(&tp);
        uint32_t home = pick_rack(p, hash);
        if (i < from)
            continue;
        owners[i - from] = floe_placement_find(p, &tp);
        if (owners[i - from] != 0)
            continue;
        struct node *n = extend_one(p, hash, home, parts);
        n->load++;
        owners[i - from] = n->id;
    }
}

bool floe_placement_overloaded(const struct floe_placement *p, uint32_t holds)
{
    return holds > load_bound(p->n, p->node_count);
}

bool floe_placement_starved(const struct floe_placement *p, uint32_t holds)
{
    return holds < 7 * p->n / (8 * p->node_count);
}

uint64_t floe_placement_hash(const struct floe_placement *p)
{
    FLOE_ASSERT(p->phase == DONE);
    return p->hash;
}

size_t floe_placement_count(const struct floe_placement *p)
{
    return p->n;
}
