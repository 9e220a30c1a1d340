/* Simulated calls between nodes: answers, refusals, cuts, deaths. */
#include <floe_cmocka.h>

#include <stdio.h>

#include <floe/base/assert.h>
#include <floe/sim.h>

static bool echo(void *user, int16_t api_key, int16_t api_version, struct floe_slice body,
                 struct floe_writer *response)
{
    floe_write_be16(response, (uint16_t)api_key);
    floe_write_be16(response, (uint16_t)api_version);
    floe_write(response, body.p, body.n);
    return *(bool *)user;
}
static void on_done(struct floe_peer_call *c)
{
    *(int *)c->user += 1;
}
static void calls_end_as_the_network_says(void **state)
{
    (void)state;
    static const enum floe_err want[] = {FLOE_OK,       FLOE_EREFUSED, FLOE_EREFUSED,
                                         FLOE_ETIMEOUT, FLOE_ETIMEOUT, FLOE_ETIMEOUT,
                                         FLOE_ECLOSED,  FLOE_ECLOSED,  FLOE_OK};
    for (size_t i = 0; i < FLOE_COUNTOF(want); i++) {
        struct floe_sim *sim = floe_sim_create(i);
        struct floe_sim_net *net = floe_sim_net_create(sim);
        struct floe_sim_node *a = floe_sim_node_create(sim, "a"), *b = floe_sim_node_create(sim, "b");
        struct floe_peers *p = floe_sim_peers_create(net, a);
        (void)floe_sim_peers_create(net, b);
        bool yes = i != 6;
        floe_sim_net_listen(net, b, "b:1", echo, &yes);
        struct floe_bufslice body[2] = {{NULL, (const uint8_t *)"he", 2}, {NULL, (const uint8_t *)"llo", 3}};
        int done = 0;
        struct floe_peer_call c = {.addr = "b:1",
                                   .api_key = 7,
                                   .api_version = 1,
                                   .body = body,
                                   .body_count = 2,
                                   .timeout_us = 1000000,
                                   .done = on_done,
                                   .user = &done};
        if (i == 1)
            snprintf(c.addr, sizeof c.addr, "nobody:1");
        if (i == 2)
            floe_sim_node_kill(b);
        if (i == 3)
            floe_sim_net_cut(net, "a", "b", true);
        if (i == 4)
            floe_sim_net_cut(net, "b", "a", true);
        if (i == 5)
            floe_sim_net_vanish(net, "b", true);
        if (i == 7 || i == 8)
            floe_sim_node_stall(b, 500000, false);
        p->ops->call(p, &c);
        floe_sim_run_for(sim, 100000);
        if (i == 7)
            floe_sim_node_kill(b);
        floe_sim_run_for(sim, 2000000);
        assert_int_equal(done, 1);
        assert_int_equal(c.err.code, want[i]);
        if (c.err.code == FLOE_OK) {
            assert_int_equal(c.response.n, 9);
            assert_memory_equal(c.response.p, "\0\7\0\1hello", 9);
        }
        floe_buf_unref(c.frame);
        floe_sim_net_heal(net);
        floe_sim_destroy(&sim);
    }
}
static void a_cancelled_call_is_silent(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct floe_sim *sim = floe_sim_create(1);
        struct floe_sim_net *net = floe_sim_net_create(sim);
        struct floe_sim_node *a = floe_sim_node_create(sim, "a"), *b = floe_sim_node_create(sim, "b");
        struct floe_peers *p = floe_sim_peers_create(net, a);
        bool yes = true;
        int done = 0;
        floe_sim_net_listen(net, b, "b:1", echo, &yes);
        struct floe_peer_call c = {.addr = "b:1", .timeout_us = 1000000, .done = on_done, .user = &done};
        p->ops->call(p, &c);
        if (how == 1)
            floe_sim_run_for(sim, 1200); /* the answer is on its way, or about to be */
        if (how == 2)
            floe_sim_node_kill(a);
        p->ops->cancel(p, &c);
        floe_sim_run_for(sim, 5000000);
        assert_int_equal(done, 0);
        floe_sim_destroy(&sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_end_as_the_network_says),
        cmocka_unit_test(a_cancelled_call_is_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
