/* The table's records: both ways, truncated, flipped, out of range. */
#include "lease/records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct floe_session_name A = {1, 7, 0x0123456789abcdefull}, B = {2, 1, 0xfedcba9876543210ull};

static struct lease_node_record sample_node(enum floe_node_state state)
{
    struct lease_node_record r = {.beat = 12, .info.floor = 3, .format = 1, .version = "0.1.0"};
    r.info = (struct floe_node_info){.session = A,
                                     .state = state,
                                     .addr_count = 2,
                                     .peer_addr = "10.0.0.1:9093",
                                     .rack = "a \"b\"",
                                     .lease_ms = 10000,
                                     .committed = 41};
    snprintf(r.info.addrs[0].name, sizeof r.info.addrs[0].name, "inside");
    snprintf(r.info.addrs[0].addr, sizeof r.info.addrs[0].addr, "10.0.0.1:9092");
    snprintf(r.info.addrs[1].name, sizeof r.info.addrs[1].name, "outside");
    snprintf(r.info.addrs[1].addr, sizeof r.info.addrs[1].addr, "[::1]:9094");
    if (state != FLOE_NODE_LIVE)
        r.by = B;
    if (state == FLOE_NODE_SEALED || state == FLOE_NODE_ENDED)
        r.info.end = 57;
    return r;
}

static void node_both_ways(void **state)
{
    (void)state;
    for (int s = FLOE_NODE_LIVE; s <= FLOE_NODE_ENDED; s++) {
        struct lease_node_record r = sample_node((enum floe_node_state)s), back;
        struct floe_error err = {0};
        char *text = lease_node_encode(&r);
        assert_non_null(text);
        assert_int_equal(lease_node_decode("node/1", text, strlen(text), &back, &err), FLOE_OK);
        assert_memory_equal(&back.info.session, &A, sizeof A);
        assert_int_equal(back.info.state, s);
        assert_int_equal(back.info.end, r.info.end);
        assert_int_equal(back.info.addr_count, 2);
        assert_string_equal(back.info.addrs[1].name, "outside");
        assert_string_equal(back.info.addrs[1].addr, "[::1]:9094");
        assert_string_equal(back.info.rack, r.info.rack);
        assert_string_equal(back.info.peer_addr, r.info.peer_addr);
        assert_int_equal(back.info.committed, 41);
        assert_int_equal(back.beat, 12);
        assert_true(floe_session_name_eq(&back.by, &r.by));
        free(text);
    }
}

static void bad_nodes_name_key_and_field(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *names;
    } cases[] = {
        {"\"epoch\":7", "\"epoch\":0", "\"epoch\" is out of range"},
        {"\"epoch\":7", "\"epoch\":\"7\"", "\"epoch\" is not an integer"},
        {"\"id\":\"0123", "\"id\":\"x123", "\"id\" is not 16 hex digits"},
        {"\"state\":\"sealed\"", "\"state\":\"dead\"", "\"state\" is not a state"},
        {"\"end\":57", "\"fin\":57", "\"end\" is missing"},
        {"\"beat\":12", "\"beat\":-1", "\"beat\" is out of range"},
        {"\"beat\":12", "\"beat\":12,\"beat\":13", "duplicate"},
        {"\"by\":\"2-1", "\"by\":\"2:1", "\"by\" is not a session's name"},
        {"\"lease_ms\":10000", "\"lease_ms\":0", "\"lease_ms\""},
        {"\"peer\":", "\"pear\":", "\"peer\" is missing"},
    };
    struct lease_node_record r = sample_node(FLOE_NODE_SEALED), back;
    char *text = lease_node_encode(&r);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char bad[1024];
        const char *at = strstr(text, cases[i].from);
        struct floe_error err = {0};
        assert_non_null(at);
        snprintf(bad, sizeof bad, "%.*s%s%s", (int)(at - text), text, cases[i].to,
                 at + strlen(cases[i].from));
        assert_int_equal(lease_node_decode("node/1", bad, strlen(bad), &back, &err), FLOE_ECORRUPT);
        assert_non_null(strstr(err.msg, "node/1"));
        assert_non_null(strstr(err.msg, cases[i].names));
    }
    for (size_t n = 0; n < strlen(text); n++) {
        struct floe_error err = {0};
        assert_int_equal(lease_node_decode("node/1", text, n, &back, &err), FLOE_ECORRUPT);
    }
    struct floe_error err = {0};
    assert_int_equal(lease_node_decode("node/01", text, strlen(text), &back, &err), FLOE_ECORRUPT);
    free(text);
}

static void keys_have_one_spelling(void **state)
{
    (void)state;
    int32_t node;
    uint32_t shard;
    assert_true(lease_node_key_parse("node/1", &node));
    assert_int_equal(node, 1);
    assert_true(lease_node_key_parse("node/1000000", &node));
    assert_false(lease_node_key_parse("node/0", &node));
    assert_false(lease_node_key_parse("node/1000001", &node));
    assert_false(lease_node_key_parse("node/", &node));
    assert_false(lease_node_key_parse("node/1x", &node));
    assert_false(lease_node_key_parse("node/99999999999999999999", &node));
    assert_true(lease_shard_key_parse("lease/0127", &shard));
    assert_int_equal(shard, 127);
    assert_false(lease_shard_key_parse("lease/127", &shard));
    assert_false(lease_shard_key_parse("lease/9999", &shard));
}

static void small_records_both_ways(void **state)
{
    (void)state;
    struct floe_error err = {0};
    struct lease_ended_record e = {.end = 57, .by = B}, e2;
    char *text = lease_ended_encode(&e);
    assert_int_equal(lease_ended_decode("ended/x", text, strlen(text), &e2, &err), FLOE_OK);
    assert_int_equal(e2.end, 57);
    assert_true(floe_session_name_eq(&e2.by, &B));
    free(text);
    uint64_t version = 0;
    text = lease_catalog_encode(1234567890123ull);
    assert_int_equal(lease_catalog_decode("catalog", text, strlen(text), &version, &err), FLOE_OK);
    assert_int_equal(version, 1234567890123ull);
    free(text);
    struct lease_cluster_record c = {.id.b = {1, 2, 3}, .shards = 128, .format = 1}, c2;
    text = lease_cluster_encode(&c);
    assert_int_equal(lease_cluster_decode("cluster", text, strlen(text), 1, &c2, &err), FLOE_OK);
    assert_true(floe_uuid_eq(&c.id, &c2.id));
    assert_int_equal(c2.shards, 128);
    free(text);
    c.format = 2;
    text = lease_cluster_encode(&c);
    assert_int_equal(lease_cluster_decode("cluster", text, strlen(text), 1, &c2, &err), FLOE_EUNSUPPORTED);
    assert_non_null(strstr(err.msg, "newer Floe"));
    free(text);
    struct lease_verdict_record v = {.ok = false, .url = "s3://x", .why = "two \"winners\""}, v2;
    text = lease_verdict_encode(&v);
    assert_int_equal(lease_verdict_decode("verdict/1", text, strlen(text), &v2, &err), FLOE_OK);
    assert_false(v2.ok);
    assert_string_equal(v2.why, v.why);
    free(text);
}

static struct lease_doc sample_doc(uint32_t n)
{
    struct lease_doc empty = {0}, d;
    assert_int_equal(lease_doc_clone(&empty, n, &d), FLOE_OK);
    for (uint32_t i = 0; i < n; i++) {
        struct floe_tp tp = {.index = (int32_t)(n - i)};
        tp.topic.b[0] = (uint8_t)(i % 5);
        struct lease_entry *at = lease_doc_insert(&d, &tp);
        assert_non_null(at);
        at->e.holder = i % 2 ? A : B;
        at->e.epoch = 5;
        at->nonce = 0x1000 + i;
        struct floe_span spans[] = {{A, 0, 13, 4}, {i % 2 ? A : B, 14, FLOE_SPAN_OPEN, 5}};
        assert_true(lease_doc_set_spans(&d, at, spans, 2));
        if (i % 3 == 0)
            at->e.checkpoint = (struct floe_checkpoint_ref){
                .session = B, .seq = i, .present = true, .log_start = i % 2 ? 1000 + i : 0};
    }
    return d;
}

static void doc_both_ways(void **state)
{
    (void)state;
    for (uint32_t n = 0; n <= 700; n += 100) {
        int32_t format = n < 400 ? 1 : 2;
        struct lease_doc d = sample_doc(n % 400), back;
        d.format = format;
        struct floe_writer w;
        struct floe_error err = {0};
        floe_writer_init(&w, FLOE_TABLE_VALUE_MAX);
        lease_doc_encode(&d, &w);
        assert_false(w.bad);
        assert_int_equal(lease_doc_decode("lease/0001", (const char *)w.p, w.n, format, &back, &err),
                         FLOE_OK);
        assert_int_equal(back.n, d.n);
        for (uint32_t i = 0; i < d.n; i++) {
            const struct lease_entry *a = &d.entries[i], *b = lease_doc_find(&back, &a->e.tp);
            assert_non_null(b);
            assert_true(floe_session_name_eq(&a->e.holder, &b->e.holder));
            assert_int_equal(a->e.epoch, b->e.epoch);
            assert_int_equal(a->nonce, b->nonce);
            assert_int_equal(a->e.checkpoint.present, b->e.checkpoint.present);
            assert_int_equal(a->e.checkpoint.seq, b->e.checkpoint.seq);
            assert_int_equal(b->e.checkpoint.log_start, format == 1 ? 0 : a->e.checkpoint.log_start);
            assert_int_equal(b->e.span_count, 2);
            for (uint32_t k = 0; k < 2; k++) {
                assert_true(floe_session_name_eq(&a->e.spans[k].session, &b->e.spans[k].session));
                assert_true(a->e.spans[k].first == b->e.spans[k].first);
                assert_true(a->e.spans[k].end == b->e.spans[k].end);
                assert_int_equal(a->e.spans[k].epoch, b->e.spans[k].epoch);
            }
        }
        floe_writer_fini(&w);
        lease_doc_fini(&d);
        lease_doc_fini(&back);
    }
}

static void bad_docs(void **state)
{
    (void)state;
#define DOC(sessions, entry)                                                                                 \
    "{\"sessions\":[" sessions "],\"topics\":{\"0102030405060708090a0b0c0d0e0f10\":{\"0\":" entry "}}}"
#define S "\"1-7-0123456789abcdef\",\"2-1-fedcba9876543210\""
#define N "\"n\":\"0123456789abcdef\""
    static const char *const good =
        DOC(S, "{\"h\":0,\"e\":5," N ",\"c\":[1,2],\"s\":[[1,0,3,4],[0,9,-1,5]]}");
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"sessions\":[],\"topics\":[]}",
        "{\"sessions\":[3],\"topics\":{}}",
        DOC("", "{\"h\":0,\"e\":5," N ",\"s\":[[0,9,-1,5]]}"),
        DOC(S, "{\"h\":2,\"e\":5," N ",\"s\":[[0,9,-1,5]]}"),
        DOC(S, "{\"h\":0,\"e\":-1," N ",\"s\":[[0,9,-1,5]]}"),
        DOC(S, "{\"h\":0,\"e\":5,\"n\":\"1\",\"s\":[[0,9,-1,5]]}"),
        DOC(S, "{\"h\":0,\"e\":5," N ",\"s\":[]}"),
        DOC(S, "{\"h\":0,\"e\":5," N ",\"s\":[[0,9,-1,4]]}"),
        DOC(S, "{\"h\":0,\"e\":5," N ",\"s\":[[1,9,-1,5]]}"),
        DOC(S, "{\"h\":0,\"e\":5," N ",\"s\":[[0,9,12,5]]}"),
        DOC(S, "{\"h\":0,\"e\":5," N ",\"s\":[[1,0,-1,4],[0,9,-1,5]]}"),
        DOC(S, "{\"h\":0,\"e\":5," N ",\"s\":[[1,3,0,4],[0,9,-1,5]]}"),
        DOC(S, "{\"h\":0,\"e\":5," N ",\"s\":[[1,0,3,5],[0,9,-1,5]]}"),
        DOC(S, "{\"h\":0,\"e\":5," N ",\"c\":[1],\"s\":[[0,9,-1,5]]}"),
        DOC(S, "{\"h\":0,\"e\":5," N ",\"x\":1,\"s\":[[0,9,-1,5]]}"),
        "{\"sessions\":[" S "],\"topics\":{\"01\":{}}}",
        "{\"sessions\":[" S "],\"topics\":{\"0102030405060708090a0b0c0d0e0f10\":{\"00\":{}}}}",
    };
    struct lease_doc d;
    struct floe_error err = {0};
    assert_int_equal(lease_doc_decode("lease/0001", good, strlen(good), 1, &d, &err), FLOE_OK);
    assert_int_equal(d.n, 1);
    lease_doc_fini(&d);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err = (struct floe_error){0};
        assert_int_equal(lease_doc_decode("lease/0001", bad[i], strlen(bad[i]), 1, &d, &err), FLOE_ECORRUPT);
        assert_non_null(strstr(err.msg, "lease/0001"));
    }
    for (size_t n = 0; n < strlen(good); n++)
        assert_int_equal(lease_doc_decode("lease/0001", good, n, 1, &d, &err), FLOE_ECORRUPT);
    /* Flipped bits: an error or a document, never a crash. */
    char text[512];
    for (size_t i = 0; i < strlen(good) * 8; i++) {
        memcpy(text, good, strlen(good) + 1);
        text[i / 8] = (char)(text[i / 8] ^ (1 << i % 8));
        if (lease_doc_decode("lease/0001", text, strlen(good), 1, &d, &err) == FLOE_OK)
            lease_doc_fini(&d);
    }
}

static void doc_edits(void **state)
{
    (void)state;
    struct lease_doc d = sample_doc(10), c;
    assert_int_equal(lease_doc_clone(&d, 1, &c), FLOE_OK);
    struct floe_tp tp = {.index = 100};
    assert_null(lease_doc_find(&c, &tp));
    assert_non_null(lease_doc_insert(&c, &tp));
    struct floe_tp other = {.index = 101};
    assert_null(lease_doc_insert(&c, &other)); /* full */
    lease_doc_remove(&c, lease_doc_find(&c, &d.entries[3].e.tp));
    assert_null(lease_doc_find(&c, &d.entries[3].e.tp));
    assert_non_null(lease_doc_find(&c, &tp));
    assert_int_equal(c.n, 10);
    assert_int_equal(d.n, 10);
    assert_non_null(lease_doc_find(&d, &d.entries[3].e.tp));
    lease_doc_fini(&c);
    lease_doc_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(node_both_ways),
        cmocka_unit_test(bad_nodes_name_key_and_field),
        cmocka_unit_test(keys_have_one_spelling),
        cmocka_unit_test(small_records_both_ways),
        cmocka_unit_test(doc_both_ways),
        cmocka_unit_test(bad_docs),
        cmocka_unit_test(doc_edits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
