/* Edits of leases: creation, checkpoints, deletion, limits; reads shared and fresh. */
#include "lease_rig.h"

#include "lease/records.h"

#include <stdio.h>
#include <stdlib.h>

enum { LEASE_MS = 1500, TOPIC = 1 };

struct answer {
    uint32_t count;
    struct floe_error err;
};

static void on_answer(void *user, const struct floe_error *err)
{
    struct answer *a = user;
    a->count++;
    a->err = *err;
}

static struct floe_lease_entry lookup(struct lrig *r, int i, int32_t index)
{
    struct floe_tp tp = lrig_tp(TOPIC, index);
    struct floe_lease_entry e = {0};
    assert_true(floe_lease_lookup(r->b[i].lease, &tp, &e));
    return e;
}

static void creation_is_idempotent_and_placed(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 1, LEASE_MS);
    lrig_boot_wait(&r, 0);
    lrig_boot_wait(&r, 1);
    lrig_run_ms(&r, 500);
    for (int i = 0; i < 4; i++)
        lrig_write(&r, 1);
    lrig_run_ms(&r, 800); /* a renewal tells of them */
    assert_int_equal(lrig_create(&r, 0, TOPIC, 10), FLOE_OK);
    bool other = false;
    int of_first = 0;
    for (int32_t i = 0; i < 10; i++) {
        struct floe_lease_entry e = lookup(&r, 0, i);
        assert_in_range(e.holder.node, 1, 2);
        of_first += e.holder.node == 1;
        assert_int_equal(e.epoch, 0);
        assert_int_equal(e.span_count, 1);
        assert_true(e.spans[0].first <= (e.holder.node == 2 ? 4 : 0));
        other |= e.holder.node == 2 && e.spans[0].first == 4;
        assert_false(e.checkpoint.present);
    }
    assert_int_equal(of_first, 5);
    assert_true(other); /* not the whole chain of the other broker has to be looked through */
    lrig_run_ms(&r, 300);
    assert_int_not_equal(floe_lease_placed_hash(r.b[0].lease), 0);
    assert_int_equal(floe_lease_placed_hash(r.b[0].lease), floe_lease_placed_hash(r.b[1].lease));
    for (int32_t i = 0; i < 10; i++) {
        struct floe_tp tp = lrig_tp(TOPIC, i);
        assert_in_range(floe_lease_placed(r.b[0].lease, &tp), 1, 2);
        assert_int_equal(floe_lease_placed(r.b[1].lease, &tp), floe_lease_placed(r.b[0].lease, &tp));
    }
    lrig_count_reset(&r);
    assert_int_equal(lrig_create(&r, 1, TOPIC, 10), FLOE_OK);
    assert_int_equal(r.lease_puts, 0); /* nothing changes: nothing is written */
    /* Both at once, more partitions. */
    struct answer a = {0}, b = {0}, none = {0};
    struct floe_tp tp = lrig_tp(TOPIC, 0);
    floe_lease_create_topic(r.b[0].lease, &tp.topic, 0, 200, on_answer, &a);
    floe_lease_create_topic(r.b[1].lease, &tp.topic, 5, 200, on_answer, &b);
    floe_lease_create_topic(r.b[1].lease, &tp.topic, 5, 5, on_answer, &none);
    assert_int_equal(none.count, 0);
    lrig_run_ms(&r, 500);
    assert_int_equal(a.count + b.count + none.count, 3);
    assert_int_equal(a.err.code + b.err.code + none.err.code, FLOE_OK);
    assert_int_equal(lrig_served(&r, TOPIC, 200), 200);
    /* The other broker was told, and its catalog's listener called. */
    assert_true(r.b[1].catalog_calls > 0);
    lrig_fini(&r);
}

/* From format 2 on the entry tells the log start of its checkpoint. Who reads elsewhere has to know when it
 * rises. */
static void a_log_start_is_told(void **state)
{
    (void)state;
    for (int32_t format = 1; format <= 2; format++) {
        struct lrig r;
        lrig_init(&r, 2, LEASE_MS);
        r.b[0].newest = format;
        lrig_put_cluster(&r, format, 0);
        lrig_boot_wait(&r, 0);
        lrig_run_ms(&r, 500);
        assert_int_equal(lrig_create(&r, 0, TOPIC, 1), FLOE_OK);
        lrig_run_ms(&r, 300);
        struct floe_tp tp = lrig_tp(TOPIC, 0);
        int64_t told = 0;
        for (uint64_t i = 0; i < 4; i++) {
            struct floe_checkpoint_ref ref = {
                .session = r.b[0].session, .seq = i, .log_start = i < 2 ? 0 : 5};
            uint64_t version = floe_lease_catalog_version(r.b[0].lease);
            lrig_write(&r, 0);
            floe_lease_checkpointed(r.b[0].lease, &tp, 0, &ref);
            lrig_run_ms(&r, 500);
            struct floe_lease_entry e = lookup(&r, 0, 0);
            assert_int_equal(e.checkpoint.seq, i);
            int64_t want = format == 1 ? 0 : ref.log_start;
            assert_int_equal(e.checkpoint.log_start, want);
            assert_int_equal(floe_lease_catalog_version(r.b[0].lease) > version, want > told);
            told = want;
        }
        lrig_check(&r);
        lrig_fini(&r);
    }
}

static void a_checkpoint_drops_spans(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 2, LEASE_MS);
    lrig_boot_wait(&r, 0);
    lrig_boot_wait(&r, 1);
    lrig_run_ms(&r, 500);
    assert_int_equal(lrig_create(&r, 0, TOPIC, 10), FLOE_OK);
    lrig_run_ms(&r, 300);
    lrig_write(&r, 1);
    lrig_run_ms(&r, 50);
    struct floe_session_name dead = r.b[1].session;
    lrig_kill(&r, 1);
    lrig_run_ms(&r, 1000);
    assert_int_equal(lrig_serves(&r, 0), 10);
    int32_t taken = -1;
    for (int32_t i = 0; i < 10; i++)
        if (lookup(&r, 0, i).epoch == 1)
            taken = i;
    assert_true(taken >= 0);
    struct floe_lease_entry e = lookup(&r, 0, taken);
    assert_int_equal(e.span_count, 2);
    assert_true(floe_session_name_eq(&e.spans[0].session, &dead));
    assert_int_equal(e.spans[0].end, 1);
    assert_int_equal(e.spans[1].end, FLOE_SPAN_OPEN);
    for (int i = 0; i < 3; i++)
        lrig_write(&r, 0);
    lrig_run_ms(&r, 50);
    struct floe_tp tp = lrig_tp(TOPIC, taken);
    struct floe_checkpoint_ref ref = {.session = r.b[0].session, .seq = 2, .present = true};
    floe_lease_checkpointed(r.b[0].lease, &tp, 0, &ref); /* of an epoch that is past: nothing */
    lrig_run_ms(&r, 400);                                /* those of what was taken over are gathered */
    assert_int_equal(lookup(&r, 0, taken).span_count, 2);
    uint64_t version = floe_lease_catalog_version(r.b[0].lease);
    floe_lease_checkpointed(r.b[0].lease, &tp, 1, &ref);
    lrig_run_ms(&r, 400);
    e = lookup(&r, 0, taken);
    assert_int_equal(e.span_count, 1);
    assert_int_equal(e.spans[0].first, 2);
    assert_true(e.checkpoint.present && e.checkpoint.seq == 2);
    assert_true(floe_session_name_eq(&e.checkpoint.session, &r.b[0].session));
    assert_true(floe_lease_catalog_version(r.b[0].lease) == version); /* nobody else has to know */
    /* An older one that comes late changes nothing. */
    ref.seq = 1;
    floe_lease_checkpointed(r.b[0].lease, &tp, 1, &ref);
    lrig_run_ms(&r, 100);
    assert_int_equal(lookup(&r, 0, taken).checkpoint.seq, 2);
    /* The next death: the span from the checkpoint on is what is left to read. */
    lrig_boot_wait(&r, 1);
    lrig_run_ms(&r, 800);
    lrig_kill(&r, 0);
    lrig_run_ms(&r, 1500);
    e = lookup(&r, 1, taken);
    assert_int_equal(e.epoch, 2);
    assert_int_equal(e.span_count, 2);
    assert_int_equal(e.spans[0].first, 2);
    assert_int_equal(e.spans[0].end, 3);
    assert_int_equal(e.checkpoint.seq, 2);
    lrig_check(&r);
    lrig_fini(&r);
}

static void deletion_names_epochs(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 3, LEASE_MS);
    lrig_boot_wait(&r, 0);
    assert_int_equal(lrig_create(&r, 0, TOPIC, 4), FLOE_OK);
    lrig_run_ms(&r, 200);
    lrig_kill(&r, 0);
    lrig_boot_wait(&r, 0);
    lrig_run_ms(&r, 500);
    assert_int_equal(lookup(&r, 0, 0).epoch, 1);
    struct floe_tp tp = lrig_tp(TOPIC, 0);
    struct answer a = {0};
    int32_t old[4] = {1, 1, 0, 1}, now[6] = {1, 1, 1, 1, -1, -1};
    assert_int_equal(lrig_serves(&r, 0), 4);
    floe_lease_forget_topic(r.b[0].lease, &tp.topic);
    lrig_run_ms(&r, 50);
    assert_int_equal(lrig_serves(&r, 0), 0);
    floe_lease_delete_topic(r.b[0].lease, &tp.topic, 4, old, on_answer, &a);
    lrig_run_ms(&r, 200);
    assert_int_equal(a.count, 1);
    assert_int_equal(a.err.code, FLOE_ECONFLICT);
    tp.index = 2;
    struct floe_lease_entry e;
    assert_true(floe_lease_lookup(r.b[0].lease, &tp, &e)); /* has a newer holder than was seen to stop */
    floe_lease_delete_topic(r.b[0].lease, &tp.topic, 6, now, on_answer, &a);
    lrig_run_ms(&r, 200);
    assert_int_equal(a.count, 2);
    assert_int_equal(a.err.code, FLOE_OK);
    assert_false(floe_lease_lookup(r.b[0].lease, &tp, &e));
    assert_int_equal(lrig_serves(&r, 0), 0);
    lrig_fini(&r);
}

/* One shard: the limit on creations is met long before the value's, and is named. */
static void a_full_shard_refuses_new_entries(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 4, LEASE_MS);
    r.shards = 1;
    lrig_boot_wait(&r, 0);
    lrig_boot_wait(&r, 1);
    lrig_run_ms(&r, 500);
    uint32_t made = 0;
    enum floe_err code = FLOE_OK;
    for (uint64_t topic = 1; topic < 50 && code == FLOE_OK; topic++) {
        code = lrig_create(&r, 0, topic, 100);
        made += code == FLOE_OK ? 100 : 0;
    }
    assert_int_equal(code, FLOE_ETOOLARGE);
    assert_in_range(made, 1500, 2500);
    lrig_run_ms(&r, 500);
    assert_int_equal(lrig_serves(&r, 0) + lrig_serves(&r, 1), made);
    /* And is no obstacle to a takeover. */
    lrig_kill(&r, 1);
    lrig_run_ms(&r, 2000);
    assert_int_equal(lrig_serves(&r, 0), made);
    lrig_check(&r);
    lrig_fini(&r);
}

/* A record that cannot be read: its partitions wait, the others go on; it is read again when it is mended. */
static void a_corrupt_shard_stops_only_itself(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 5, LEASE_MS);
    lrig_boot_wait(&r, 0);
    lrig_boot_wait(&r, 1);
    lrig_run_ms(&r, 500);
    assert_int_equal(lrig_create(&r, 0, 1, 10), FLOE_OK);
    assert_int_equal(lrig_create(&r, 0, 2, 10), FLOE_OK);
    lrig_run_ms(&r, 300);
    struct floe_tp tp = lrig_tp(1, 0);
    char key[FLOE_TABLE_KEY_MAX], full[FLOE_TABLE_KEY_MAX + 8];
    lease_shard_key(key, lease_shard_of(&tp, 128));
    snprintf(full, sizeof full, "table/%s", key);
    const struct floe_sim_object *o = floe_sim_bucket_find(r.bucket, full);
    char *was = malloc(o->n);
    size_t n = o->n;
    memcpy(was, o->data, n);
    const char *junk = "{\"nonce\":\"00112233445566778899aabbccddeeff\",\"value\":{\"topics\":3}}";
    floe_sim_bucket_watch(r.bucket, NULL, NULL);
    floe_sim_bucket_put(r.bucket, full, junk, strlen(junk), "x");
    lrig_kill(&r, 1);
    lrig_boot_wait(&r, 1); /* a start goes on without it */
    lrig_run_ms(&r, 2000);
    assert_int_equal(lrig_served(&r, 2, 10), 10);
    assert_int_equal(lrig_create(&r, 1, 1, 12), FLOE_ECORRUPT);
    struct answer a = {0};
    floe_lease_refresh(r.b[1].lease, &tp, on_answer, &a);
    lrig_run_ms(&r, 100);
    assert_int_equal(a.err.code, FLOE_ECORRUPT);
    assert_non_null(strstr(a.err.msg, key));
    assert_true(r.b[1].notes > 0);
    floe_sim_bucket_put(r.bucket, full, was, n, "x");
    free(was);
    lrig_run_ms(&r, 5 * LEASE_MS);
    assert_int_equal(lrig_served(&r, 1, 10), 10);
    lrig_fini(&r);
}

static void reads_are_shared_and_fresh(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 6, LEASE_MS);
    lrig_boot_wait(&r, 0);
    lrig_run_ms(&r, 500);
    struct floe_tp tp = lrig_tp(TOPIC, 0);
    struct answer a = {0};
    lrig_count_reset(&r);
    for (int i = 0; i < 50; i++)
        floe_lease_refresh(r.b[0].lease, &tp, on_answer, &a);
    assert_int_equal(a.count, 0);
    floe_sim_run_for(r.sim, 4000); /* the read is on its way: later ones wait for another */
    floe_lease_refresh(r.b[0].lease, &tp, on_answer, &a);
    lrig_run_ms(&r, 60);
    assert_int_equal(a.count, 51);
    assert_in_range(r.table_gets, 2, 4);
    lrig_fini(&r);
}

/* The own record is gone from the table, or the table says another end: the process must not go on. */
static void a_broken_table_is_fatal(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 7, LEASE_MS);
    lrig_boot_wait(&r, 0);
    floe_sim_bucket_delete(r.bucket, "table/node/1");
    lrig_run_ms(&r, LEASE_MS);
    assert_true(r.b[0].fatal);
    assert_non_null(strstr(r.b[0].last_fatal, "node/1"));
    lrig_fini(&r);

    lrig_init(&r, 8, LEASE_MS);
    lrig_boot_wait(&r, 0);
    lrig_boot_wait(&r, 1);
    lrig_run_ms(&r, 800);
    char name[FLOE_SESSION_NAME_MAX], key[128];
    floe_session_format(name, &r.b[1].session);
    snprintf(key, sizeof key, "table/ended/%s", name);
    const char *lie = "{\"nonce\":\"00112233445566778899aabbccddeeff\",\"value\":{\"end\":7,"
                      "\"by\":\"1-1-0000000000000001\"}}";
    floe_sim_bucket_put(r.bucket, key, lie, strlen(lie), "x");
    lrig_kill(&r, 1);
    lrig_run_ms(&r, 1500);
    assert_true(r.b[0].fatal);
    assert_non_null(strstr(r.b[0].last_fatal, "and 7, and no seal at the second"));
    lrig_fini(&r);
}

static void a_start_without_table_fails_in_time(void **state)
{
    (void)state;
    struct lrig r;
    lrig_init(&r, 9, LEASE_MS);
    struct floe_sim_rule rule = {.fault = FLOE_SIM_DENIED, .prefix = "table/"};
    floe_sim_bucket_rule(r.bucket, &rule);
    lrig_boot(&r, 0);
    lrig_run_ms(&r, 16000);
    assert_true(r.b[0].start_failed);
    assert_false(r.b[0].started);
    assert_true(strlen(r.b[0].start_err.msg) > 20);
    lrig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(creation_is_idempotent_and_placed),
        cmocka_unit_test(a_checkpoint_drops_spans),
        cmocka_unit_test(a_log_start_is_told),
        cmocka_unit_test(deletion_names_epochs),
        cmocka_unit_test(a_full_shard_refuses_new_entries),
        cmocka_unit_test(a_corrupt_shard_stops_only_itself),
        cmocka_unit_test(reads_are_shared_and_fresh),
        cmocka_unit_test(a_broken_table_is_fatal),
        cmocka_unit_test(a_start_without_table_fails_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
