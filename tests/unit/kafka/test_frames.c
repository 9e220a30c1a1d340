/* Headers, frames, scattered output, defaults and what a version cannot say; errors by number. */
#include "kafka/tables.h"

#include <floe/base/assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct floe_kafka_api *api(int16_t key)
{
    const struct floe_kafka_api *a = floe_kafka_api_find(key);
    if (!a)
        fail_msg("no api %d", key);
    return a;
}

static void test_api_table(void **state)
{
    (void)state;
    uint32_t n;
    const struct floe_kafka_api *all = floe_kafka_api_all(&n);
    for (uint32_t i = 0; i < n; i++) {
        assert_ptr_equal(floe_kafka_api_find(all[i].key), &all[i]);
        assert_true(i == 0 || all[i].key > all[i - 1].key);
        assert_int_equal(all[i].peer, all[i].key >= 20000);
    }
    assert_string_equal(api(0)->name, "Produce");
    assert_int_equal(api(0)->flexible_from, 9);
    assert_int_equal(api(22)->max, 6);
    assert_int_equal(api(22)->max_stable, 5);
    assert_int_equal(api(17)->flexible_from, INT16_MAX);
    assert_null(floe_kafka_api_find(4));
    assert_null(floe_kafka_api_find(-1));
    assert_null(floe_kafka_api_find(INT16_MAX));
}

static void test_errors(void **state)
{
    (void)state;
    assert_string_equal(floe_kafka_error_name(FLOE_KERR_NOT_LEADER_OR_FOLLOWER), "NOT_LEADER_OR_FOLLOWER");
    assert_string_equal(floe_kafka_error_message(FLOE_KERR_INVALID_TOPIC_EXCEPTION), "invalid topic");
    assert_string_equal(floe_kafka_error_name(0), "NONE");
    assert_string_equal(floe_kafka_error_name(-1), "UNKNOWN_SERVER_ERROR");
    assert_string_equal(floe_kafka_error_name(9999), "UNKNOWN_SERVER_ERROR");
    assert_true(floe_kafka_error_retriable(FLOE_KERR_NOT_LEADER_OR_FOLLOWER));
    assert_false(floe_kafka_error_retriable(FLOE_KERR_MESSAGE_TOO_LARGE));
}

/* Every header there is, written and read back, cut off at every byte. */
static void test_request_headers(void **state)
{
    (void)state;
    uint32_t n;
    const struct floe_kafka_api *all = floe_kafka_api_all(&n);
    for (uint32_t i = 0; i < n; i++)
        for (int16_t v = all[i].min; v <= all[i].max; v++) {
            struct floe_writer w;
            struct floe_error err;
            struct floe_kafka_request_header h;
            floe_writer_init(&w, 1000);
            floe_kafka_write_request_header(&all[i], v, -7, floe_kstr("me"), &w);
            assert_int_equal(w.n, 12 + (v >= all[i].flexible_from));
            for (size_t cut = 0; cut < w.n; cut++)
                assert_int_equal(floe_kafka_request_header(floe_slice(w.p, cut), &h, &err), FLOE_EINVAL);
            floe_write(&w, "body", 4);
            assert_int_equal(floe_kafka_request_header(floe_slice(w.p, w.n), &h, &err), FLOE_OK);
            assert_true(h.api == &all[i] && h.known_version && h.api_version == v && h.correlation_id == -7);
            assert_true(floe_kstr_is(h.client_id, "me"));
            assert_true(floe_slice_eq(h.body, floe_slice_str("body")));
            floe_writer_fini(&w);
        }
}

static void test_odd_headers(void **state)
{
    (void)state;
    struct floe_error err;
    struct floe_kafka_request_header h;
    /* ApiVersions v9, which nobody knows: answered without a look at the rest. */
    static const uint8_t future[] = {0, 18, 0, 9, 0, 0, 0, 5, 0xff};
    assert_int_equal(floe_kafka_request_header(floe_slice(future, sizeof future), &h, &err), FLOE_OK);
    assert_true(h.api == api(18) && !h.known_version && h.correlation_id == 5 && h.body.n == 0);
    static const uint8_t unknown[] = {0x7f, 0, 0, 0, 0, 0, 0, 5};
    assert_int_equal(floe_kafka_request_header(floe_slice(unknown, sizeof unknown), &h, &err), FLOE_OK);
    assert_true(!h.api && !h.known_version);
    /* A null client id, and an unknown tag in header v2. */
    static const uint8_t tagged[] = {0, 18, 0, 3, 0, 0, 0, 5, 0xff, 0xff, 1, 9, 2, 'x', 'y', 'B'};
    assert_int_equal(floe_kafka_request_header(floe_slice(tagged, sizeof tagged), &h, &err), FLOE_OK);
    assert_true(floe_kstr_is_null(h.client_id) && h.body.n == 1 && h.body.p[0] == 'B');
    static const uint8_t negative[] = {0, 18, 0, 0, 0, 0, 0, 5, 0xff, 0xfe};
    assert_int_equal(floe_kafka_request_header(floe_slice(negative, sizeof negative), &h, &err), FLOE_EINVAL);
    static const uint8_t tags[] = {0, 18, 0, 3, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f};
    assert_int_equal(floe_kafka_request_header(floe_slice(tags, sizeof tags), &h, &err), FLOE_EINVAL);
}

static void test_response_headers(void **state)
{
    (void)state;
    struct floe_error err;
    struct floe_slice body;
    int32_t id = 0;
    for (int16_t v = 0; v <= 4; v++) {
        struct floe_writer w;
        floe_writer_init(&w, 100);
        floe_kafka_write_response_header(api(18), v, 3, &w);
        assert_int_equal(w.n, 4); /* never tags: KIP-511 */
        floe_kafka_write_response_header(api(12), v, 4, &w);
        assert_int_equal(w.n, v >= 4 ? 9 : 8);
        assert_int_equal(
            floe_kafka_read_response_header(api(12), v, floe_slice(w.p + 4, w.n - 4), &id, &body, &err),
            FLOE_OK);
        assert_int_equal(id, 4);
        assert_int_equal(body.n, 0);
        assert_int_equal(
            floe_kafka_read_response_header(api(12), v, floe_slice(w.p + 4, w.n - 5), &id, &body, &err),
            FLOE_EINVAL);
        floe_writer_fini(&w);
    }
}

/* A fetch response of one partition whose records lie in two buffers. */
static void fetch_response(struct floe_kafka_FetchResponse *r, struct floe_bufslice *slices, uint32_t n,
                           struct floe_arena *a)
{
    floe_kafka_defaults(&floe_kafka_FetchResponse_desc, r);
    r->Responses_n = 1;
    r->Responses = floe_kafka_array(&floe_kafka_FetchResponse_FetchableTopicResponse_desc, 1, a);
    r->Responses->Topic = floe_kstr("t");
    r->Responses->Partitions_n = 1;
    r->Responses->Partitions = floe_kafka_array(&floe_kafka_FetchResponse_PartitionData_desc, 1, a);
    struct floe_krecords *records = &r->Responses->Partitions->Records;
    assert_int_equal(r->Responses->Partitions->LastStableOffset, -1);
    assert_int_equal(records->n, -1);
    records->slices = slices;
    records->slice_count = n;
    records->n = 0;
    for (uint32_t i = 0; i < n; i++)
        records->n += (int32_t)slices[i].n;
}

static struct floe_slice join(const struct floe_bufslice *s, uint32_t n)
{
    size_t total = 0;
    for (uint32_t i = 0; i < n; i++)
        total += s[i].n;
    uint8_t *p = malloc(total), *at = p;
    for (uint32_t i = 0; i < n; at += s[i++].n)
        memcpy(at, s[i].p, s[i].n);
    return floe_slice(p, total);
}

static void test_scatter(void **state)
{
    (void)state;
    struct floe_arena arena;
    struct floe_error err;
    struct floe_budget budget;
    struct floe_kafka_FetchResponse r;
    floe_budget_init(&budget, 1 << 20);
    floe_arena_init(&arena, 1 << 16);
    for (int16_t v = 4; v <= 18; v++) {
        struct floe_buf *a = floe_buf_create(1000, NULL), *b = floe_buf_create(10, NULL);
        memset(a->data, 'a', 1000);
        memset(b->data, 'b', 10);
        struct floe_bufslice in[] = {{a, a->data, 600}, {b, b->data, 10}, {a, a->data + 600, 400}},
                             *out = NULL;
        struct floe_kafka_out o;
        struct floe_writer w;
        uint32_t n = 0;
        fetch_response(&r, in, 3, &arena);
        floe_kafka_out_init(&o, 4096, 8);
        assert_int_equal(floe_kafka_response_frame(api(1), v, 99, &r, &o, &err), FLOE_OK);
        assert_int_equal(o.cut_count, 2); /* the small one is copied */
        assert_int_equal(a->refs, 3);
        size_t size = floe_kafka_out_size(&o);
        assert_int_equal(floe_be32(o.w.p), size - 4);
        assert_int_equal(floe_kafka_out_take(&o, &budget, &out, &n, &err), FLOE_OK);
        struct floe_slice all = join(out, n);
        assert_int_equal(all.n, size);
        assert_true(floe_budget_used(&budget) > 0);
        /* Same bytes as the plain encoder's, and they decode to the same records. */
        floe_writer_init(&w, 4096);
        assert_int_equal(floe_kafka_encode(&floe_kafka_FetchResponse_desc, v, &r, &w, &err), FLOE_OK);
        struct floe_slice body;
        int32_t id;
        assert_int_equal(
            floe_kafka_read_response_header(api(1), v, floe_slice(all.p + 4, all.n - 4), &id, &body, &err),
            FLOE_OK);
        assert_int_equal(id, 99);
        assert_true(floe_slice_eq(body, floe_slice(w.p, w.n)));
        struct floe_kafka_FetchResponse *back;
        assert_int_equal(
            floe_kafka_decode(&floe_kafka_FetchResponse_desc, v, body, &arena, (void **)&back, &err),
            FLOE_OK);
        const struct floe_krecords *rec = &back->Responses->Partitions->Records;
        assert_int_equal(rec->n, 1010);
        assert_true(rec->p[599] == 'a' && rec->p[600] == 'b' && rec->p[610] == 'a');
        for (uint32_t i = 0; i < n; i++)
            floe_buf_unref(out[i].buf);
        assert_int_equal(a->refs, 1);
        assert_int_equal(floe_budget_used(&budget), 0);
        free(out);
        free((void *)(uintptr_t)all.p);
        floe_writer_fini(&w);
        floe_kafka_out_fini(&o);
        floe_buf_unref(a);
        floe_buf_unref(b);
    }
    floe_arena_fini(&arena);
}

static void test_scatter_limits(void **state)
{
    (void)state;
    struct floe_arena arena;
    struct floe_error err;
    struct floe_kafka_FetchResponse r;
    struct floe_buf *a = floe_buf_create(1000, NULL);
    struct floe_bufslice in[] = {{a, a->data, 300}, {a, a->data, 300}, {a, a->data, 300}};
    struct floe_kafka_out o;
    floe_arena_init(&arena, 1 << 16);
    fetch_response(&r, in, 3, &arena);
    floe_kafka_out_init(&o, 4096, 2);
    assert_int_equal(floe_kafka_encode_out(&floe_kafka_FetchResponse_desc, 12, &r, &o, &err), FLOE_ETOOLARGE);
    assert_true(o.w.n == 0 && o.cut_count == 0 && o.external == 0 && a->refs == 1); /* nothing stays behind */
    floe_kafka_out_fini(&o);
    floe_kafka_out_init(&o, 20, 8);
    assert_int_equal(floe_kafka_encode_out(&floe_kafka_FetchResponse_desc, 12, &r, &o, &err), FLOE_ETOOLARGE);
    assert_true(o.w.n == 0 && a->refs == 1);
    floe_kafka_out_fini(&o);
    floe_kafka_out_init(&o, 4096, 8); /* references that nobody took are dropped */
    assert_int_equal(floe_kafka_encode_out(&floe_kafka_FetchResponse_desc, 12, &r, &o, &err), FLOE_OK);
    assert_int_equal(a->refs, 4);
    floe_kafka_out_fini(&o);
    assert_int_equal(a->refs, 1);
    floe_buf_unref(a);
    floe_arena_fini(&arena);
}

static void test_what_a_version_cannot_say(void **state)
{
    (void)state;
    struct floe_error err;
    struct floe_writer w;
    struct floe_kafka_FetchRequest f;
    struct floe_kafka_MetadataRequest m;
    floe_writer_init(&w, 4096);
    floe_kafka_defaults(&floe_kafka_FetchRequest_desc, &f);
    assert_true(f.ReplicaId == -1 && f.MaxBytes == INT32_MAX && f.ClusterId.n == -1 && f.RackId.n == 0);
    f.RackId = floe_kstr("a"); /* ignorable: dropped in v10, there in v11 */
    assert_int_equal(floe_kafka_encode(&floe_kafka_FetchRequest_desc, 10, &f, &w, &err), FLOE_OK);
    size_t v10 = w.n;
    assert_int_equal(floe_kafka_encode(&floe_kafka_FetchRequest_desc, 11, &f, &w, &err), FLOE_OK);
    assert_int_equal(w.n - v10, v10 + 3);
    f.ReplicaState.ReplicaId = 4; /* not ignorable */
    v10 = w.n;
    assert_int_equal(floe_kafka_encode(&floe_kafka_FetchRequest_desc, 14, &f, &w, &err), FLOE_EINVAL);
    assert_string_equal(err.msg, "FetchRequest v14: ReplicaState: a value that this version cannot say");
    assert_int_equal(w.n, v10);
    assert_int_equal(floe_kafka_encode(&floe_kafka_FetchRequest_desc, 19, &f, &w, &err), FLOE_EUNSUPPORTED);
    /* Null topics are "all" from v1 on; v0 has no null. */
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &m);
    m.Topics_n = -1;
    m.AllowAutoTopicCreation = true;
    assert_int_equal(floe_kafka_encode(&floe_kafka_MetadataRequest_desc, 1, &m, &w, &err), FLOE_OK);
    assert_int_equal(floe_kafka_encode(&floe_kafka_MetadataRequest_desc, 0, &m, &w, &err), FLOE_EINVAL);
    floe_writer_fini(&w);
}

static void test_limits(void **state)
{
    (void)state;
    struct floe_error err;
    struct floe_arena arena;
    struct floe_writer w;
    void *msg;
    struct floe_kafka_MetadataRequest m;
    static char name[40000];
    struct floe_kafka_MetadataRequest_MetadataRequestTopic topic = {.Name = {name, 32768}};
    memset(name, 'x', sizeof name);
    floe_kafka_defaults(&floe_kafka_MetadataRequest_desc, &m);
    m.Topics = &topic;
    m.Topics_n = 1;
    floe_writer_init(&w, 1 << 20);
    assert_int_equal(floe_kafka_encode(&floe_kafka_MetadataRequest_desc, 9, &m, &w, &err), FLOE_EINVAL);
    topic.Name.n = 32767;
    assert_int_equal(floe_kafka_encode(&floe_kafka_MetadataRequest_desc, 9, &m, &w, &err), FLOE_OK);
    floe_arena_init(&arena, 40); /* too little for one topic and the message */
    assert_int_equal(
        floe_kafka_decode(&floe_kafka_MetadataRequest_desc, 9, floe_slice(w.p, w.n), &arena, &msg, &err),
        FLOE_ETOOLARGE);
    floe_arena_fini(&arena);
    floe_writer_fini(&w);
    floe_writer_init(&w, 100); /* the writer's maximum */
    assert_int_equal(floe_kafka_encode(&floe_kafka_MetadataRequest_desc, 9, &m, &w, &err), FLOE_ETOOLARGE);
    assert_true(w.n == 0 && !w.bad);
    floe_writer_fini(&w);
    /* Counts that no bytes stand behind: refused before anything is allocated, with the field's name. */
    static const uint8_t huge[] = {0x7f, 0xff, 0xff, 0xff}, many[] = {0xff, 0xff, 0xff, 0xff, 0x0f};
    floe_arena_init(&arena, 1 << 20);
    assert_int_equal(
        floe_kafka_decode(&floe_kafka_MetadataRequest_desc, 1, floe_slice(huge, 4), &arena, &msg, &err),
        FLOE_EINVAL);
    assert_string_equal(err.msg,
                        "MetadataRequest v1: Topics: a length past the end of the message at byte 4");
    assert_int_equal(
        floe_kafka_decode(&floe_kafka_MetadataRequest_desc, 9, floe_slice(many, 5), &arena, &msg, &err),
        FLOE_EINVAL);
    assert_true(arena.used < 200);
    floe_arena_fini(&arena);
}

static void test_peer_messages(void **state)
{
    (void)state;
    struct floe_error err;
    struct floe_writer w;
    struct floe_arena arena;
    struct floe_kafka_PeerLeaseChangedRequest r, *back;
    int32_t shards[] = {1, 127};
    struct floe_kafka_request_header h;
    floe_kafka_defaults(&floe_kafka_PeerLeaseChangedRequest_desc, &r);
    r.NodeId = 3;
    r.SessionId = -1;
    r.Shards = shards;
    r.Shards_n = 2;
    floe_writer_init(&w, 4096);
    floe_arena_init(&arena, 4096);
    assert_true(api(20001)->peer);
    assert_int_equal(floe_kafka_request_frame(api(20001), 0, 8, floe_kstr("floe"), &r, &w, &err), FLOE_OK);
    assert_int_equal(floe_be32(w.p), w.n - 4);
    assert_int_equal(floe_kafka_request_header(floe_slice(w.p + 4, w.n - 4), &h, &err), FLOE_OK);
    assert_int_equal(floe_kafka_decode(h.api->request, h.api_version, h.body, &arena, (void **)&back, &err),
                     FLOE_OK);
    assert_true(back->NodeId == 3 && back->SessionId == -1 && back->Shards_n == 2 && back->Shards[1] == 127);
    floe_writer_fini(&w);
    floe_arena_fini(&arena);
}

/* Counted by hand from the grammar, so that generator and interpreter cannot be wrong together. */
static void test_known_bytes(void **state)
{
    (void)state;
    struct floe_error err;
    struct floe_writer w;
    struct floe_kafka_ApiVersionsResponse r;
    struct floe_kafka_ApiVersionsResponse_ApiVersion keys[1];
    floe_kafka_defaults(&floe_kafka_ApiVersionsResponse_desc, &r);
    assert_int_equal(r.FinalizedFeaturesEpoch, -1);
    floe_kafka_struct_defaults(&floe_kafka_ApiVersionsResponse_ApiVersion_desc, keys);
    keys[0].ApiKey = 18;
    keys[0].MaxVersion = 4;
    r.ApiKeys = keys;
    r.ApiKeys_n = 1;
    r.FinalizedFeaturesEpoch = 5;
    floe_writer_init(&w, 100);
    assert_int_equal(floe_kafka_encode(&floe_kafka_ApiVersionsResponse_desc, 0, &r, &w, &err), FLOE_OK);
    static const uint8_t v0[] = {0, 0, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4};
    assert_true(floe_slice_eq(floe_slice(w.p, w.n), floe_slice(v0, sizeof v0)));
    w.n = 0;
    assert_int_equal(floe_kafka_encode(&floe_kafka_ApiVersionsResponse_desc, 3, &r, &w, &err), FLOE_OK);
    static const uint8_t v3[] = {0, 0, 2, 0, 18, 0, 0, 0, 4, 0, 0, 0, 0, 0, 1, 1, 8, 0, 0, 0, 0, 0, 0, 0, 5};
    assert_true(floe_slice_eq(floe_slice(w.p, w.n), floe_slice(v3, sizeof v3)));
    floe_writer_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_table),        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_request_headers),  cmocka_unit_test(test_odd_headers),
        cmocka_unit_test(test_response_headers), cmocka_unit_test(test_scatter),
        cmocka_unit_test(test_scatter_limits),   cmocka_unit_test(test_what_a_version_cannot_say),
        cmocka_unit_test(test_limits),           cmocka_unit_test(test_peer_messages),
        cmocka_unit_test(test_known_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
