/* The assignors' promises, over many random groups: every partition that somebody subscribes to has one
 * owner, who subscribes to it; loads are even; who stays keeps what it may. */
#include <floe_cmocka.h>

#include "group/consumer_int.h"
#include <floe/base/rng.h>

#include <stdio.h>
#include <string.h>

#define TOPICS 6
#define MEMBERS 12

struct world {
    struct floe_arena a;
    struct assign_topic topics[TOPICS];
    struct assign_member members[MEMBERS];
    uint32_t subscribed[MEMBERS][TOPICS];
    char ids[MEMBERS][8];
    uint32_t topic_count, member_count;
};

static void world_make(struct world *w, struct floe_rng *r, bool even)
{
    memset(w, 0, sizeof *w);
    floe_arena_init(&w->a, 64u << 20);
    w->topic_count = 1 + (uint32_t)floe_rng_below(r, TOPICS);
    w->member_count = 1 + (uint32_t)floe_rng_below(r, MEMBERS);
    for (uint32_t t = 0; t < w->topic_count; t++) {
        w->topics[t].id.b[0] = (uint8_t)(t + 1);
        w->topics[t].partitions = 1 + (int32_t)floe_rng_below(r, 20);
    }
    for (uint32_t i = 0; i < w->member_count; i++) {
        struct assign_member *m = &w->members[i];
        snprintf(w->ids[i], sizeof w->ids[i], "m%02u", i % 100);
        m->id = w->ids[i];
        m->topics = w->subscribed[i];
        for (uint32_t t = 0; t < w->topic_count; t++)
            if (even || floe_rng_below(r, 2) == 0)
                w->subscribed[i][m->topic_count++] = t;
    }
}

static bool subscribes(const struct assign_member *m, uint32_t topic)
{
    for (uint32_t i = 0; i < m->topic_count; i++)
        if (m->topics[i] == topic)
            return true;
    return false;
}

static void check_owners(const struct world *w)
{
    for (uint32_t t = 0; t < w->topic_count; t++) {
        bool wanted = false;
        for (uint32_t i = 0; i < w->member_count; i++)
            wanted |= subscribes(&w->members[i], t);
        for (int32_t k = 0; k < w->topics[t].partitions; k++) {
            struct part p = {w->topics[t].id, k};
            uint32_t owners = 0;
            for (uint32_t i = 0; i < w->member_count; i++) {
                if (!parts_has(&w->members[i].out, &p))
                    continue;
                owners++;
                assert_true(subscribes(&w->members[i], t));
            }
            assert_int_equal(owners, wanted ? 1 : 0);
        }
    }
}

/* No single move would make loads more alike. */
static void check_balance(const struct world *w)
{
    for (uint32_t i = 0; i < w->member_count; i++) {
        const struct assign_member *m = &w->members[i];
        for (uint32_t k = 0; k < m->out.n; k++) {
            uint32_t t = (uint32_t)m->out.p[k].topic.b[0] - 1;
            for (uint32_t o = 0; o < w->member_count; o++)
                assert_true(!subscribes(&w->members[o], t) || m->out.n <= w->members[o].out.n + 1);
        }
    }
}

static uint32_t moved(const struct world *w)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->member_count; i++)
        for (uint32_t k = 0; k < w->members[i].prior.n; k++)
            n += !parts_has(&w->members[i].out, &w->members[i].prior.p[k]);
    return n;
}

static void run_again(struct world *w)
{
    for (uint32_t i = 0; i < w->member_count; i++)
        w->members[i].prior = w->members[i].out;
    assign_uniform(w->topics, w->topic_count, w->members, w->member_count, &w->a);
    check_owners(w);
    check_balance(w);
}

static void test_uniform(void **state)
{
    struct floe_rng r;
    (void)state;
    floe_rng_init(&r, 848);
    for (int i = 0; i < 600; i++) {
        struct world w;
        world_make(&w, &r, i % 2 == 0);
        assign_uniform(w.topics, w.topic_count, w.members, w.member_count, &w.a);
        check_owners(&w);
        check_balance(&w);
        run_again(&w);
        assert_int_equal(moved(&w), 0); /* nothing has changed: nothing moves */
        /* A member leaves: what the others have, they keep. */
        if (w.member_count > 1 && i % 2 == 0) {
            w.member_count--;
            run_again(&w);
            assert_int_equal(moved(&w), 0);
            /* It comes back: only its share moves. */
            w.members[w.member_count].prior = w.members[w.member_count].out = (struct parts){NULL, 0};
            w.member_count++;
            run_again(&w);
            assert_int_equal(moved(&w), w.members[w.member_count - 1].out.n);
        }
        floe_arena_fini(&w.a);
    }
}

/* What it had so far may be anything: topics that are gone, partitions that never were, another's. */
static void test_strange_prior(void **state)
{
    struct floe_rng r;
    (void)state;
    floe_rng_init(&r, 849);
    for (int i = 0; i < 300; i++) {
        struct world w;
        struct part prior[MEMBERS][20];
        world_make(&w, &r, i % 2 == 0);
        for (uint32_t m = 0; m < w.member_count; m++) {
            for (uint32_t k = 0; k < 20; k++) {
                prior[m][k] = (struct part){.index = (int32_t)floe_rng_below(&r, 40) - 5};
                prior[m][k].topic.b[0] = (uint8_t)floe_rng_below(&r, TOPICS + 3);
            }
            w.members[m].prior = (struct parts){prior[m], 20};
            parts_sort(&w.members[m].prior);
        }
        assign_uniform(w.topics, w.topic_count, w.members, w.member_count, &w.a);
        check_owners(&w);
        check_balance(&w);
        floe_arena_fini(&w.a);
    }
}

static void test_range(void **state)
{
    struct floe_rng r;
    (void)state;
    floe_rng_init(&r, 850);
    for (int i = 0; i < 300; i++) {
        struct world w;
        world_make(&w, &r, i % 2 == 0);
        assign_range(w.topics, w.topic_count, w.members, w.member_count, &w.a);
        check_owners(&w);
        floe_arena_fini(&w.a);
    }
    static const uint32_t both[] = {0, 1};
    /* Seven partitions of two topics over three members, of whom the last is static: it comes first. */
    struct world w;
    world_make(&w, &r, true);
    w.topic_count = 2;
    w.member_count = 3;
    for (uint32_t m = 0; m < 3; m++) {
        w.members[m] = (struct assign_member){.id = (const char *[]){"a", "b", "c"}[m],
                                              .instance = m == 2 ? "i" : NULL,
                                              .topics = both,
                                              .topic_count = 2};
    }
    for (uint32_t t = 0; t < 2; t++) {
        w.topics[t].id.b[0] = (uint8_t)(t + 1);
        w.topics[t].partitions = 7;
    }
    assign_range(w.topics, 2, w.members, 3, &w.a);
    assert_int_equal(w.members[2].out.n, 6); /* 0 to 2 of both */
    assert_int_equal(w.members[2].out.p[0].index, 0);
    assert_int_equal(w.members[0].out.n, 4); /* 3, 4 */
    assert_int_equal(w.members[0].out.p[0].index, 3);
    assert_int_equal(w.members[1].out.n, 4); /* 5, 6 */
    assert_int_equal(w.members[1].out.p[3].index, 6);
    floe_arena_fini(&w.a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_strange_prior),
        cmocka_unit_test(test_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
