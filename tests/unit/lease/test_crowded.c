/* A lease record that grows by takeovers before checkpoints: it is made shorter in time, and taken over in
 * parts where it is too long for all at once. */
#include "lease_rig.h"

#include <stdio.h>
#include <stdlib.h>

enum { LEASE_MS = 3000, PARTS = 1700, TOPIC = 1, LONG_ENOUGH = 7 /* takeovers */ };

static bool all_served(struct lrig *r)
{
    return lrig_served(r, TOPIC, PARTS) == PARTS;
}

/* Looking at all partitions takes longer than what happens meanwhile. */
static bool await_served(struct lrig *r, uint64_t ms)
{
    for (uint64_t t = 0; t < ms && !all_served(r); t += 100)
        lrig_run_ms(r, 100);
    return all_served(r);
}

/* Spans of the record, as broker i knows it. */
static uint32_t spans(struct lrig *r, int i)
{
    uint32_t n = 0;
    for (int32_t k = 0; k < PARTS; k++) {
        struct floe_tp tp = lrig_tp(TOPIC, k);
        struct floe_lease_entry e;
        assert_true(floe_lease_lookup(r->b[i].lease, &tp, &e));
        n += e.span_count;
    }
    return n;
}

static void begin(struct lrig *r, bool moves)
{
    lrig_init(r, 1, LEASE_MS);
    r->shards = 1;
    r->moves = moves;
    lrig_boot_wait(r, 0);
    assert_int_equal(lrig_create(r, 0, TOPIC, PARTS), FLOE_OK);
    assert_true(await_served(r, 5000));
    lrig_write(r, 0);
    lrig_run_ms(r, 50);
}

/* The other broker takes everything over from this one, which has written since it took it. */
static void next(struct lrig *r, int from, int to)
{
    lrig_write(r, from);
    lrig_run_ms(r, 50);
    lrig_boot_wait(r, to);
    lrig_kill(r, from);
    lrig_wipe(r, from);
}

static void takeovers_force_checkpoints(void **state)
{
    (void)state;
    struct lrig r;
    begin(&r, false);
    for (int i = 0; i < LONG_ENOUGH; i++) { /* only the last one makes checkpoints */
        r.moves = i == LONG_ENOUGH - 1;
        next(&r, i % 2, (i + 1) % 2);
        assert_true(await_served(&r, 4 * LEASE_MS));
        lrig_run_ms(&r, 500);
        assert_int_equal(spans(&r, (i + 1) % 2), r.moves ? PARTS : (i + 2) * PARTS);
    }
    lrig_check(&r);
    lrig_fini(&r);
}

/* Nobody makes checkpoints: the record grows until no more can be taken. Then somebody does. */
static void a_full_record_is_taken_in_parts(void **state)
{
    (void)state;
    struct lrig r;
    int i = 0;
    begin(&r, false);
    for (; i < 2 * LONG_ENOUGH && all_served(&r); i++) {
        next(&r, i % 2, (i + 1) % 2);
        (void)await_served(&r, LEASE_MS + 500);
    }
    uint32_t n = lrig_served(&r, TOPIC, PARTS);
    assert_in_range(n, 1, PARTS - 1); /* as many as there was room for */
    r.moves = true;
    next(&r, i % 2, (i + 1) % 2);
    assert_true(await_served(&r, 10 * LEASE_MS));
    lrig_run_ms(&r, LEASE_MS);
    assert_in_range(spans(&r, (i + 1) % 2), PARTS, LONG_ENOUGH * PARTS);
    lrig_check(&r);
    for (int k = 0; k < LRIG_BROKERS; k++)
        assert_false(r.b[k].fatal);
    lrig_fini(&r);
}

#define FULL_ENTRY "%s\"%d\":{\"h\":%d,\"e\":%d,\"n\":\"%016x\",\"c\":[1,%llu],\"s\":["

/* A record without room for one more span: partition 0 of TOPIC is broker 0's, with a span of a dead session
 * before its own; all of TOPIC + 1 are the dead session's, with spans of as many leader epochs. */
static void put_full_record(struct lrig *r, const struct floe_session_name *dead)
{
    char own[FLOE_SESSION_NAME_MAX], gone[FLOE_SESSION_NAME_MAX], hex[FLOE_UUID_HEX], key[100], tail[200];
    struct floe_tp mine = lrig_tp(TOPIC, 0), others = lrig_tp(TOPIC + 1, 0);
    size_t cap = FLOE_TABLE_VALUE_MAX + 4096, n = 0, room = FLOE_TABLE_VALUE_MAX + 48;
    char *text = malloc(cap);
    floe_session_format(own, &r->b[0].session);
    floe_session_format(gone, dead);
    int tail_n = snprintf(tail, sizeof tail, "}},\"sessions\":[\"%s\",\"%s\"]}}", own, gone);
    floe_uuid_hex(hex, &mine.topic);
    n += (size_t)snprintf(text, cap,
                          "{\"nonce\":\"00112233445566778899aabbccddeeff\",\"value\":{\"format\":2,"
                          "\"topics\":{\"%s\":{" FULL_ENTRY "[1,0,5,0],[0,0,-1,1]]}",
                          hex, "", 0, 0, 1, 7u, 0ull);
    floe_uuid_hex(hex, &others.topic);
    n += (size_t)snprintf(text + n, cap - n, "},\"%s\":{", hex);
    for (int k = 0; n + (size_t)tail_n + 12 <= room; k++) {
        size_t left = room - n - (size_t)tail_n;
        unsigned long long ckpt = 1;
        char one[400];
        int len = 0, spans = left < 400 ? 1 : 9, e = spans - 1;
        for (int digits = 1; digits < 17 && (spans > 1 ? digits < 2 : len < (int)left - 5); digits++) {
            len = snprintf(one, sizeof one, FULL_ENTRY, k ? "," : "", k, 1, e, 9u, ckpt);
            for (int i = 0; i < spans; i++)
                len += snprintf(one + len, sizeof one - (size_t)len, "%s[1,0,%d,%d]", i ? "," : "",
                                i == e ? -1 : 5, i);
            len += snprintf(one + len, sizeof one - (size_t)len, "]}");
            ckpt *= 10;
        }
        if ((size_t)len > left)
            break;
        memcpy(text + n, one, (size_t)len);
        n += (size_t)len;
    }
    memcpy(text + n, tail, (size_t)tail_n);
    n += (size_t)tail_n;
    assert_in_range(n, room - 110, room);
    floe_sim_bucket_put(r->bucket, "table/lease/0000", text, n, "");
    free(text);
    snprintf(key, sizeof key, "table/ended/%s", gone);
    snprintf(tail, sizeof tail,
             "{\"nonce\":\"00112233445566778899aabbccddeeff\",\"value\":{\"end\":5,\"by\":\"%s\"}}", own);
    floe_sim_bucket_put(r->bucket, key, tail, strlen(tail), "");
    for (uint64_t seq = 0; seq < 6; seq++)
        lrig_place(r, dead, seq, seq == 5);
}

/* What is to be taken over does not fit, and a checkpoint that would make room goes in spite of it. */
static void a_full_record_takes_checkpoints(void **state)
{
    (void)state;
    struct lrig r;
    struct floe_lease_entry e;
    struct floe_session_name dead = {9, 1, 13};
    struct floe_tp mine = lrig_tp(TOPIC, 0);
    lrig_init(&r, 3, LEASE_MS);
    r.shards = 1;
    lrig_boot_wait(&r, 0);
    put_full_record(&r, &dead);
    lrig_run_ms(&r, 5 * LEASE_MS);
    assert_in_range(lrig_served(&r, TOPIC + 1, PARTS), 0, 20); /* what found room */
    assert_true(floe_lease_lookup(r.b[0].lease, &mine, &e));
    assert_int_equal(e.span_count, 2);
    struct floe_checkpoint_ref ref = {.session = r.b[0].session, .seq = 1, .present = true};
    floe_lease_checkpointed(r.b[0].lease, &mine, 1, &ref);
    lrig_run_ms(&r, LEASE_MS);
    assert_true(floe_lease_lookup(r.b[0].lease, &mine, &e));
    assert_int_equal(e.span_count, 1);
    lrig_fini(&r);
}

/* As many as one record takes; then each gets its checkpoint, whose keys have grown long. */
static void a_record_that_takes_no_more_has_room_for_checkpoints(void **state)
{
    (void)state;
    struct lrig r;
    struct floe_lease_entry e;
    int32_t n = 0;
    lrig_init(&r, 2, LEASE_MS);
    r.shards = 1;
    lrig_boot_wait(&r, 0);
    while (lrig_create(&r, 0, TOPIC + (uint64_t)n, 100) == FLOE_OK)
        n++;
    assert_in_range(n, 10, 40);
    lrig_run_ms(&r, 2000);
    for (int32_t i = 0; i < 100 * n; i++) {
        struct floe_tp tp = lrig_tp(TOPIC + (uint64_t)(i / 100), i % 100);
        struct floe_checkpoint_ref ref = {
            .session = r.b[0].session, .seq = 12345678, .present = true, .log_start = 123456789012};
        floe_lease_checkpointed(r.b[0].lease, &tp, 0, &ref);
    }
    lrig_run_ms(&r, 2000);
    for (int32_t i = 0; i < 100 * n; i++) {
        struct floe_tp tp = lrig_tp(TOPIC + (uint64_t)(i / 100), i % 100);
        assert_true(floe_lease_lookup(r.b[0].lease, &tp, &e));
        assert_true(e.checkpoint.present);
    }
    lrig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_that_takes_no_more_has_room_for_checkpoints),
        cmocka_unit_test(a_full_record_takes_checkpoints),
        cmocka_unit_test(takeovers_force_checkpoints),
        cmocka_unit_test(a_full_record_is_taken_in_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
