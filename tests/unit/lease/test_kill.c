/* A broker that dies at each of its driver calls in turn, in everything it does: whatever is left behind, the
 * others (and its own next start) serve every partition again, and no promise is broken. */
#include "lease_rig.h"

#include <stdio.h>

enum { LEASE_MS = 1500, PARTS = 24, TOPIC = 1 };

static bool all_served(struct lrig *r)
{
    return lrig_served(r, TOPIC, PARTS) == PARTS;
}

static bool victim_idle(struct lrig *r)
{
    return floe_sim_node_dead(r->b[1].node) || (r->b[1].started && all_served(r));
}

/* After the victim (b1) died or came through: b0 alone serves all, b1's next start changes nothing of that,
 * and all comes back once more after both have died. */
static bool settle(struct lrig *r)
{
    bool died = floe_sim_node_dead(r->b[1].node);
    lrig_kill(r, 1);
    assert_true(lrig_until(r, all_served, LEASE_MS + 1000 + 1500));
    lrig_boot_wait(r, 1);
    assert_true(lrig_until(r, all_served, LEASE_MS + 1000));
    lrig_check(r);
    for (int i = 0; i < 2; i++) {
        assert_false(r->b[i].fatal);
        assert_int_equal(r->b[i].overs, 0);
    }
    return died;
}

static void boots(struct lrig *r)
{
    lrig_boot(r, 1);
}

/* b1 starts again over the disk of its killed former life, which had written something. */
static void boots_again(struct lrig *r)
{
    lrig_boot_wait(r, 1);
    lrig_run_ms(r, 300);
    for (int i = 0; i < 3; i++)
        lrig_write(r, 1);
    lrig_run_ms(r, 50);
    lrig_kill(r, 1);
    lrig_boot(r, 1);
}

/* b2 dies: b0 and b1 take its partitions over. */
static void takes_over(struct lrig *r)
{
    lrig_boot_wait(r, 1);
    lrig_boot_wait(r, 2);
    lrig_run_ms(r, 800);
    lrig_kill(r, 0);
    assert_true(lrig_until(r, all_served, 5000));
    for (int i = 0; i < 3; i++)
        lrig_write(r, 2);
    lrig_run_ms(r, 50);
    lrig_boot_wait(r, 0);
    lrig_run_ms(r, 800);
    lrig_kill(r, 2);
}

static void dies_in(void (*scene)(struct lrig *), uint64_t steps_min)
{
    uint64_t k = 1;
    for (bool died = true; died; k++) {
        for (int sent = 0; sent < 2; sent++) {
            struct lrig r;
            lrig_init(&r, 1000 + k * 2 + (uint64_t)sent, LEASE_MS);
            lrig_boot_wait(&r, 0);
            assert_int_equal(lrig_create(&r, 0, TOPIC, PARTS), FLOE_OK);
            scene(&r);
            floe_sim_node_kill_at(r.b[1].node, k, sent != 0);
            lrig_until(&r, victim_idle, 6000);
            died = settle(&r);
            lrig_fini(&r);
        }
    }
    printf("died at each of %d calls\n", (int)k - 2);
    assert_true(k > steps_min);
}

static void dies_starting(void **state)
{
    (void)state;
    dies_in(boots, 5);
}

static void dies_starting_after_a_kill(void **state)
{
    (void)state;
    dies_in(boots_again, 12);
}

static void dies_taking_over(void **state)
{
    (void)state;
    dies_in(takes_over, 12);
}

/* Ends cleanly, and dies on the way: its leases are taken over, at once when the end was recorded. */
static void dies_ending(void **state)
{
    (void)state;
    uint64_t k = 1;
    for (bool died = true; died; k++) {
        struct lrig r;
        lrig_init(&r, 4000 + k, LEASE_MS);
        lrig_boot_wait(&r, 0);
        lrig_boot_wait(&r, 1);
        lrig_run_ms(&r, 500);
        assert_int_equal(lrig_create(&r, 0, TOPIC, PARTS), FLOE_OK);
        lrig_run_ms(&r, 300);
        lrig_write(&r, 1);
        lrig_run_ms(&r, 50);
        assert_in_range(lrig_serves(&r, 1), 1, PARTS);
        floe_sim_node_kill_at(r.b[1].node, k, k % 2 == 0);
        lrig_end_begin(&r, 1);
        lrig_run_ms(&r, 400);
        died = floe_sim_node_dead(r.b[1].node);
        if (!died)
            assert_true(r.b[1].ended && r.b[1].end_err.code == FLOE_OK);
        lrig_kill(&r, 1);
        assert_true(lrig_until(&r, all_served, died ? LEASE_MS + 2500 : 1000));
        lrig_check(&r);
        lrig_boot_wait(&r, 1);
        assert_int_equal(floe_lease_node_id(r.b[1].lease), 2);
        lrig_fini(&r);
    }
    printf("died at each of %d calls\n", (int)k - 2);
    assert_true(k > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dies_starting),
        cmocka_unit_test(dies_starting_after_a_kill),
        cmocka_unit_test(dies_taking_over),
        cmocka_unit_test(dies_ending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
