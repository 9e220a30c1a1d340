/* Members of both protocols come, go and take their time, and coordinators die, at random: no partition ever
 * has two owners, as the members themselves see it, and in the end each has one. Nobody is ever out of time
 * here, so what a member has is nobody else's before it said that it gave it back. */
#include "migrate_rig.h"

#include <floe/base/rng.h>

#define ACTORS 5
#define STEPS 260
#define SEEDS 16

enum actor_state { OUT, IDLE, JOINING, SYNCING, IN };
struct actor {
    struct member m;
    enum actor_state state;
    bool consumer;
    bool has[PARTS], shall[PARTS]; /* what it has, and was told last that it shall have */
    char id[24];
    bool late; /* it has not given back yet what it shall not have */
};
struct world {
    struct api_rig r;
    struct floe_rng rng;
    struct api_node *n;
    char group[GROUP_MAX];
    struct actor a[ACTORS];
    bool cooperative, calm; /* of all classic members; nobody comes, goes or dies any more */
    uint32_t names, kills;
};

static bool chance(struct world *w, uint32_t n)
{
    return floe_rng_below(&w->rng, n) == 0;
}

static void check_owners(const struct world *w)
{
    for (int p = 0; p < PARTS; p++) {
        int owners = 0;
        for (int i = 0; i < ACTORS; i++)
            owners += w->a[i].has[p];
        assert_true(owners <= 1);
    }
}

/* What the member says that it has. */
static void tell(struct actor *a)
{
    a->m.count = 0;
    for (int32_t p = 0; p < PARTS; p++)
        if (a->has[p])
            a->m.parts[a->m.count++] = p;
}
/* It was told: what is new it has at once, the rest it gives back sooner or later. */
static void told(struct world *w, struct actor *a)
{
    memset(a->shall, 0, sizeof a->shall);
    a->late = false;
    for (int32_t i = 0; i < a->m.count; i++)
        a->shall[a->m.parts[i]] = a->has[a->m.parts[i]] = true;
    for (int p = 0; p < PARTS; p++)
        a->late |= a->has[p] && !a->shall[p];
    check_owners(w);
}
static void give_back(struct actor *a)
{
    for (int p = 0; p < PARTS; p++)
        a->has[p] &= a->shall[p];
    a->late = false;
}
static void lose(struct actor *a)
{
    memset(a->has, 0, sizeof a->has);
    a->late = false;
}

static bool coordinator_error(int16_t e)
{
    return e == FLOE_KERR_NOT_COORDINATOR || e == FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS ||
           e == FLOE_KERR_COORDINATOR_NOT_AVAILABLE;
}

/* ---- members of the consumer protocol
 * ------------------------------------------------------------------------ */

static void consumer_turn(struct world *w, struct actor *a)
{
    bool joins = a->state == IDLE;
    if (a->late && chance(w, 2))
        give_back(a);
    tell(a);
    if (joins)
        a->m.epoch = a->m.count = 0;
    int16_t error = beat(&a->m, joins);
    if (error == 0) {
        if (a->m.heard)
            told(w, a);
        a->state = IN;
    } else if (error == FLOE_KERR_UNKNOWN_MEMBER_ID || error == FLOE_KERR_FENCED_MEMBER_EPOCH ||
               (error == FLOE_KERR_GROUP_ID_NOT_FOUND && !joins)) {
        lose(a);
        a->state = IDLE;
    } else {
        assert_true(coordinator_error(error));
    }
}

/* ---- members of the classic protocol
 * ------------------------------------------------------------------------- */

struct share { /* what a leader gives one member */
    char id[80];
    bool owns[PARTS], gets[PARTS];
};

static void read_owned(struct share *s, struct floe_kbytes in)
{
    struct floe_arena arena;
    void *out;
    floe_arena_init(&arena, 1 << 20);
    assert_int_equal(floe_kafka_decode(&floe_kafka_ConsumerProtocolSubscription_desc,
                                       (int16_t)floe_be16(in.p), floe_slice(in.p + 2, (size_t)in.n - 2),
                                       &arena, &out, NULL),
                     FLOE_OK);
    const struct floe_kafka_ConsumerProtocolSubscription *v = out;
    for (int32_t i = 0; i < v->OwnedPartitions_n; i++)
        for (int32_t k = 0; k < v->OwnedPartitions[i].Partitions_n; k++)
            s->owns[v->OwnedPartitions[i].Partitions[k]] = true;
    floe_arena_fini(&arena);
}

/* Every n-th partition; one that another still owns is nobody's this time. */
static void divide(struct share *s, int32_t n)
{
    for (int32_t p = 0; p < PARTS; p++) {
        bool owned = false;
        for (int32_t i = 0; i < n; i++)
            owned |= i != p % n && s[i].owns[p];
        s[p % n].gets[p] = !owned;
    }
}

static struct api_call *sync_shares(struct actor *a, const struct share *s, int32_t n)
{
    struct floe_kafka_SyncGroupRequest rq;
    struct floe_kafka_SyncGroupRequest_SyncGroupRequestAssignment out[ACTORS];
    uint8_t bytes[ACTORS][128];
    floe_kafka_defaults(&floe_kafka_SyncGroupRequest_desc, &rq);
    rq.GroupId = floe_kstr(a->m.group);
    rq.MemberId = floe_kstr(a->m.id);
    rq.GenerationId = a->m.epoch;
    rq.ProtocolType = floe_kstr("consumer");
    rq.ProtocolName = floe_kstr(a->m.protocol);
    rq.Assignments = out;
    rq.Assignments_n = n;
    for (int32_t i = 0; i < n; i++) {
        int32_t parts[PARTS], count = 0;
        for (int32_t p = 0; p < PARTS; p++)
            if (s[i].gets[p])
                parts[count++] = p;
        floe_kafka_struct_defaults(&floe_kafka_SyncGroupRequest_SyncGroupRequestAssignment_desc, &out[i]);
        out[i].MemberId = floe_kstr(s[i].id);
        out[i].Assignment = share_bytes(parts, count, 1, NULL, bytes[i], sizeof bytes[i]);
    }
    return api_send(a->m.n, &a->m.client, 14, 5, &rq);
}

static void joined(struct actor *a, struct floe_kafka_JoinGroupResponse *rs)
{
    struct share s[ACTORS] = {0};
    a->m.epoch = rs->GenerationId;
    snprintf(a->m.protocol, sizeof a->m.protocol, "%.*s", (int)rs->ProtocolName.n, rs->ProtocolName.p);
    snprintf(a->m.id_text, sizeof a->m.id_text, "%.*s", (int)rs->MemberId.n, rs->MemberId.p);
    a->m.id = a->m.id_text;
    int32_t n = floe_kstr_is(rs->Leader, a->m.id) ? rs->Members_n : 0;
    assert_true(n <= ACTORS);
    for (int32_t i = 0; i < n; i++) {
        snprintf(s[i].id, sizeof s[i].id, "%.*s", (int)rs->Members[i].MemberId.n, rs->Members[i].MemberId.p);
        read_owned(&s[i], rs->Members[i].Metadata);
    }
    if (n > 0)
        divide(s, n);
    a->m.call = sync_shares(a, s, n);
    a->state = SYNCING;
}

/* The answer was an error: what that means for who asked. */
static void turned_away(struct actor *a, int16_t error)
{
    a->state = IDLE;
    if (error == FLOE_KERR_UNKNOWN_MEMBER_ID || error == FLOE_KERR_ILLEGAL_GENERATION)
        lose(a);
    if (error == FLOE_KERR_UNKNOWN_MEMBER_ID)
        a->m.id = NULL;
    assert_true(error == FLOE_KERR_UNKNOWN_MEMBER_ID || error == FLOE_KERR_ILLEGAL_GENERATION ||
                error == FLOE_KERR_REBALANCE_IN_PROGRESS || coordinator_error(error));
}

static void join_answered(struct actor *a)
{
    struct api_call *c = a->m.call;
    struct floe_kafka_JoinGroupResponse *rs = c->response;
    assert_non_null(rs);
    if (rs->ErrorCode == FLOE_KERR_MEMBER_ID_REQUIRED) {
        snprintf(a->m.id_text, sizeof a->m.id_text, "%.*s", (int)rs->MemberId.n, rs->MemberId.p);
        a->m.id = a->m.id_text;
        a->state = IDLE;
    } else if (rs->ErrorCode) {
        turned_away(a, rs->ErrorCode);
    } else {
        joined(a, rs);
    }
    api_call_free(c);
}

static void sync_answered(struct world *w, struct actor *a)
{
    a->state = IN;
    int16_t error = sync_take(&a->m, a->m.call);
    if (error)
        turned_away(a, error);
    else
        told(w, a);
}

static void classic_step(struct world *w, struct actor *a)
{
    if (a->state == IDLE) {
        if (!a->m.cooperative)
            lose(a); /* given up before it joins */
        tell(a);
        a->m.call = join_send(&a->m, 9);
        a->state = JOINING;
    } else if (a->state == JOINING || a->state == SYNCING) {
        if (!a->m.call->done)
            return;
        if (a->state == JOINING)
            join_answered(a);
        else
            sync_answered(w, a);
    } else if (a->late) {
        if (chance(w, 2)) {
            give_back(a);
            a->state = IDLE; /* says so */
        } else {
            (void)heartbeat(&a->m);
        }
    } else {
        int16_t error = heartbeat(&a->m);
        if (error && !coordinator_error(error))
            turned_away(a, error);
    }
}

/* ---- the world
 * ----------------------------------------------------------------------------------------------- */

static void start_actor(struct world *w, struct actor *a)
{
    bool consumer = chance(w, 2);
    memset(a, 0, sizeof *a);
    snprintf(a->id, sizeof a->id, "c%u", w->names++);
    member_init(&a->m, w->n, consumer ? a->id : NULL, NULL);
    a->m.group = w->group;
    a->m.session_ms = 300000;
    a->m.rebalance_ms = 300000;
    a->m.cooperative = w->cooperative;
    a->m.protocols[0] = w->cooperative ? "cooperative-sticky" : "range";
    a->consumer = consumer;
    a->state = IDLE;
}

static void end_actor(struct actor *a)
{
    struct member m = a->m;
    tell(a);
    int16_t error = a->consumer ? new_leave(&m) : leave(&m, m.id, NULL);
    if (error)
        return; /* another time */
    lose(a);
    a->state = OUT;
}

static void hang_up(struct world *w)
{
    for (int i = 0; i < ACTORS; i++) {
        struct actor *a = &w->a[i];
        if (a->state != JOINING && a->state != SYNCING)
            continue;
        if (a->m.call->done)
            api_call_free(a->m.call);
        else
            api_abandon(w->n, a->m.call);
        floe_client_init(&a->m.client, "10.0.0.9:4711", 0); /* another connection */
        a->state = IDLE;
    }
}

static void kill_coordinator(struct world *w)
{
    struct api_node *dead = w->n;
    if (dead == &w->r.nodes[0] || w->r.n == API_NODES)
        return;
    hang_up(w);
    api_rig_kill(dead);
    api_rig_add(&w->r);
    w->kills++;
    do {
        api_rig_run(&w->r, 200);
        w->n = api_coordinator(&w->r, w->group);
    } while (w->n == dead);
    for (int i = 0; i < ACTORS; i++)
        w->a[i].m.n = w->n;
}

static void turn(struct world *w)
{
    struct actor *a = &w->a[floe_rng_below(&w->rng, ACTORS)];
    if (a->state == OUT && !w->calm)
        start_actor(w, a);
    else if (a->state == IN && !w->calm && chance(w, 12))
        end_actor(a);
    else if (a->state != OUT && a->consumer)
        consumer_turn(w, a);
    else if (a->state != OUT)
        classic_step(w, a);
    check_owners(w);
    if (!w->calm && chance(w, 80))
        kill_coordinator(w);
    api_rig_run(&w->r, floe_rng_below(&w->rng, 400));
}

static bool settled(const struct world *w)
{
    int members = 0, owned = 0;
    for (int i = 0; i < ACTORS; i++) {
        members += w->a[i].state != OUT;
        if (w->a[i].state != OUT && (w->a[i].state != IN || w->a[i].late))
            return false;
        for (int p = 0; p < PARTS; p++)
            owned += w->a[i].has[p];
    }
    return owned == (members > 0 ? PARTS : 0);
}

static uint32_t one_seed(uint64_t seed)
{
    struct world w = {.cooperative = seed % 2};
    floe_rng_init(&w.rng, seed);
    w.n = start_far(&w.r, 300 + seed, 3, w.group);
    for (int i = 0; i < STEPS; i++)
        turn(&w);
    w.calm = true;
    for (int i = 0; i < 4000 && !settled(&w); i++)
        turn(&w);
    assert_true(settled(&w));
    hang_up(&w);
    api_rig_stop(&w.r);
    return w.kills;
}

static void test_random(void **state)
{
    (void)state;
    uint32_t kills = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        kills += one_seed(seed);
    }
    assert_true(kills >= SEEDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
