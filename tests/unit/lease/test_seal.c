/* Ends of chains: where the seal goes, whatever lies in the chain and whoever was there before. */
#include "lease_rig.h"

#include "lease/records.h"

#include <floe/base/buf.h>

#include <stdio.h>
#include <stdlib.h>

enum { LEASE_MS = 1500 };

/* b0 and b1 live; b1 dies with `make` having changed its chain; returns the recorded end. */
static uint64_t end_of(uint64_t seed, void (*make)(struct lrig *, const struct floe_session_name *),
                       uint64_t *lists)
{
    struct lrig r;
    char key[FLOE_TABLE_KEY_MAX], full[FLOE_TABLE_KEY_MAX + 8];
    uint64_t end = UINT64_MAX;
    lrig_init(&r, seed, LEASE_MS);
    lrig_boot_wait(&r, 0);
    lrig_boot_wait(&r, 1);
    lrig_run_ms(&r, 800);
    struct floe_session_name s = r.b[1].session;
    lrig_kill(&r, 1);
    lrig_count_reset(&r);
    make(&r, &s);
    lrig_run_ms(&r, 1500);
    lease_ended_key(key, &s);
    snprintf(full, sizeof full, "table/%s", key);
    const struct floe_sim_object *o = floe_sim_bucket_find(r.bucket, full);
    if (o != NULL) {
        const char *at = strstr((const char *)o->data, "\"end\":");
        assert_non_null(at);
        end = strtoull(at + 6, NULL, 10);
        lrig_check(&r);
    }
    assert_false(r.b[0].fatal);
    if (lists != NULL)
        *lists = r.lists;
    lrig_fini(&r);
    return end;
}

static void segments(struct lrig *r, const struct floe_session_name *s, uint64_t from, uint64_t to)
{
    for (; from < to; from++)
        lrig_place(r, s, from, false);
}

static void nothing(struct lrig *r, const struct floe_session_name *s)
{
    (void)r;
    (void)s;
}

static void five(struct lrig *r, const struct floe_session_name *s)
{
    segments(r, s, 0, 5);
}

static void gap(struct lrig *r, const struct floe_session_name *s)
{
    segments(r, s, 0, 5);
    segments(r, s, 6, 9);
}

/* Another fencer sealed at 5 and died; what was in flight landed behind its seal. */
static void seal_and_orphans(struct lrig *r, const struct floe_session_name *s)
{
    segments(r, s, 0, 5);
    lrig_place(r, s, 5, true);
    segments(r, s, 6, 9);
}

static void own_seal_at_zero(struct lrig *r, const struct floe_session_name *s)
{
    lrig_place(r, s, 0, true);
}

static void many(struct lrig *r, const struct floe_session_name *s)
{
    segments(r, s, 0, 2500);
}

static void exactly_a_page(struct lrig *r, const struct floe_session_name *s)
{
    segments(r, s, 0, 1000);
}

/* A segment lands at the gap between the fencer's LIST and its seal: it belongs to the chain. */
static void on_list(void *user, const struct floe_sim_store_event *e)
{
    struct lrig *r = user;
    struct floe_session_name s;
    uint64_t seq;
    if (e->kind != FLOE_STORE_LIST || strncmp(e->key, "chain/", 6) != 0)
        return;
    char key[FLOE_CHAIN_KEY_MAX];
    snprintf(key, sizeof key, "%s%020d", e->key, 0);
    assert_true(floe_chain_key_parse(key, &s, &seq));
    r->lists++;
    if (r->lists < 4)
        lrig_place(r, &s, r->lists - 1, false);
}

static void racing(struct lrig *r, const struct floe_session_name *s)
{
    (void)s;
    floe_sim_bucket_watch(r->bucket, on_list, r);
}

static void ends_are_where_they_must_be(void **state)
{
    (void)state;
    uint64_t lists;
    assert_int_equal(end_of(1, nothing, NULL), 0);
    assert_int_equal(end_of(2, five, NULL), 5);
    assert_int_equal(end_of(3, gap, NULL), 5);
    assert_int_equal(end_of(4, seal_and_orphans, NULL), 5);
    assert_int_equal(end_of(5, own_seal_at_zero, NULL), 0);
    assert_int_equal(end_of(6, many, NULL), 2500);
    assert_int_equal(end_of(7, exactly_a_page, &lists), 1000);
    assert_int_equal(end_of(8, racing, NULL), 3);
}

static void foreign(struct lrig *r, const struct floe_session_name *s)
{
    char key[FLOE_CHAIN_KEY_MAX];
    char junk[FLOE_SEAL_BYTES] = "not a chain object";
    segments(r, s, 0, 2);
    floe_chain_key(key, s, 2);
    floe_sim_bucket_put(r->bucket, key, junk, sizeof junk, "x");
}

static void a_foreign_object_stops_the_seal(void **state)
{
    (void)state;
    assert_true(end_of(9, foreign, NULL) == UINT64_MAX);
}

/* The search starts at what the dead session's record says is committed: one short LIST. */
static void the_search_starts_at_committed(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 30, LEASE_MS);
    lrig_boot_wait(&r, 0);
    lrig_boot_wait(&r, 1);
    lrig_run_ms(&r, 800);
    struct floe_session_name s = r.b[1].session;
    segments(&r, &s, 0, 5000);
    r.b[1].next = r.b[1].committed = 5000;
    lrig_run_ms(&r, 700); /* a renewal tells */
    lrig_kill(&r, 1);
    floe_sim_bucket_delete(r.bucket, "chain/none");
    lrig_count_reset(&r);
    lrig_run_ms(&r, 600);
    char key[FLOE_CHAIN_KEY_MAX];
    floe_chain_key(key, &s, 5000);
    assert_non_null(floe_sim_bucket_find(r.bucket, key));
    assert_true(r.lists < 10);
    lrig_fini(&r);
}

/* A store that is asked for less answers PUTs with 503 at once, and reads well: it is not asked for more. */
static void a_seal_that_is_not_taken_is_put_with_pauses(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 3, LEASE_MS);
    lrig_boot_wait(&r, 0);
    lrig_boot_wait(&r, 1);
    lrig_run_ms(&r, 800);
    floe_sim_bucket_rule(r.bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_E503,
                                                           .kinds = FLOE_SIM_KIND(FLOE_STORE_PUT),
                                                           .prefix = "chain/"});
    lrig_kill(&r, 1);
    lrig_run_ms(&r, 2 * LEASE_MS);
    lrig_count_reset(&r);
    lrig_run_ms(&r, 10000);
    assert_in_range(r.requests, 50, 700);
    floe_sim_bucket_heal(r.bucket);
    lrig_run_ms(&r, 1000);
    lrig_check(&r);
    lrig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_are_where_they_must_be),
        cmocka_unit_test(a_foreign_object_stops_the_seal),
        cmocka_unit_test(the_search_starts_at_committed),
        cmocka_unit_test(a_seal_that_is_not_taken_is_put_with_pauses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
