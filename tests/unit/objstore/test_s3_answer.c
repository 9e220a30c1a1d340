/* The `s3` driver's view of answers, without a server: XML, LIST pages, headers, checks, refusals. */
#include "objstore/s3/s3_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct s3_store store = {
    .base = {.url = "s3://b/p"}, .bucket = "b", .prefix = "p/", .region = "us-east-1"};

static struct s3_op *op_new(enum floe_store_kind kind, const char *key)
{
    struct s3_op *op = calloc(1, sizeof *op);
    snprintf(store.endpoint, sizeof store.endpoint, "http://127.0.0.1:9");
    op->s = &store;
    op->kind = kind;
    op->max_keys = 10;
    op->length = 100;
    op->attempts = op->tries = 1;
    op->wire_tries = 1;
    snprintf(op->key, sizeof op->key, "%s", key);
    s3_answer_reset(op);
    return op;
}

static void op_free(struct s3_op *op)
{
    s3_answer_reset(op);
    floe_writer_fini(&op->text);
    free(op);
}

static void header(struct s3_op *op, const char *line)
{
    char copy[1024];
    int n = snprintf(copy, sizeof copy, "%s\r\n", line);
    assert_int_equal(s3_on_header(copy, 1, (size_t)n, op), n);
}

static size_t body(struct s3_op *op, const char *text)
{
    char copy[4096];
    size_t n = strlen(text);
    memcpy(copy, text, n);
    return s3_on_body(copy, 1, n, op);
}

static enum floe_err list(struct s3_op *op, const char *xml)
{
    s3_answer_reset(op);
    op->err = (struct floe_error){0};
    floe_write(&op->text, xml, strlen(xml));
    return s3_parse_list(op);
}

static void xml_events(void **state)
{
    (void)state;
    struct s3_xml *x = malloc(sizeof *x);
    const char *good =
        "<?xml version=\"1.0\"?><!-- <x> --><n:a q='>'>\n<b/>t&lt;&#x41;&#66;<![CDATA[<&]]></n:a> tail";
    static const struct {
        enum s3_xml_event e;
        const char *s;
    } want[] = {{S3_XML_START, "a"},     {S3_XML_TEXT, "\n"}, {S3_XML_START, "b"}, {S3_XML_END, "b"},
                {S3_XML_TEXT, "t<AB<&"}, {S3_XML_END, "a"},   {S3_XML_DONE, NULL}, {S3_XML_DONE, NULL}};
    s3_xml_init(x, good, strlen(good));
    for (size_t i = 0; i < FLOE_COUNTOF(want); i++) {
        assert_int_equal(s3_xml_next(x), want[i].e);
        if (want[i].s)
            assert_string_equal(want[i].e == S3_XML_TEXT ? x->text : x->name, want[i].s);
    }
    static const char *const bad[] = {"",
                                      "  ",
                                      "text",
                                      "<a>",
                                      "<a></b>",
                                      "<a",
                                      "<a b='>",
                                      "<!DOCTYPE a>",
                                      "<a>&x;</a>",
                                      "<a>&#0;</a>",
                                      "<a>&#xd800;</a>",
                                      "<a>&#1114112;</a>",
                                      "<a>&#99999999999999999999;</a>",
                                      "<a>&#;</a>",
                                      "<a><!-- </a>",
                                      "<a><![CDATA[x</a>",
                                      "<></>",
                                      "</a>",
                                      "<a b<c></a>"};
    for (size_t i = 0; i < FLOE_COUNTOF(bad); i++) {
        enum s3_xml_event e;
        int steps = 0;
        s3_xml_init(x, bad[i], strlen(bad[i]));
        while ((e = s3_xml_next(x)) != S3_XML_BAD) {
            if (e == S3_XML_DONE || ++steps > 20)
                fail_msg("\"%s\" was taken", bad[i]);
        }
        assert_int_equal(s3_xml_next(x), S3_XML_BAD);
    }
    char deep[20 * 3 + 1];
    for (int i = 0; i < 20; i++)
        memcpy(deep + 3 * i, "<a>", 4);
    s3_xml_init(x, deep, strlen(deep));
    for (int i = 0; i < S3_XML_DEPTH_MAX; i++)
        assert_int_equal(s3_xml_next(x), S3_XML_START);
    assert_int_equal(s3_xml_next(x), S3_XML_BAD);
    free(x);
}

#define ENTRY(key) "<Contents><Key>" key "</Key><Size>7</Size><ETag>&quot;e&quot;</ETag></Contents>"
#define PAGE(rest) "<ListBucketResult xmlns=\"x\">" rest "</ListBucketResult>"

static void list_pages(void **state)
{
    (void)state;
    struct s3_op *op = op_new(FLOE_STORE_LIST, "a");
    assert_int_equal(list(op, PAGE(ENTRY("p/a%2Bb+c") ENTRY("p/ab") "<IsTruncated>true</IsTruncated>"
                                                                    "<EncodingType>url</EncodingType>")),
                     FLOE_OK);
    assert_int_equal(op->entry_count, 2);
    assert_string_equal(op->entries[0].key, "a+b c");
    assert_string_equal(op->entries[0].version, "e");
    assert_int_equal(op->entries[0].size, 7);
    assert_true(op->truncated);
    assert_int_equal(list(op, PAGE(ENTRY("p/a+b"))), FLOE_OK); /* no EncodingType: as it is */
    assert_string_equal(op->entries[0].key, "a+b");
    assert_false(op->truncated);
    assert_int_equal(list(op, PAGE(ENTRY("p/a/") ENTRY("p/ab"))), FLOE_OK); /* a console's folder mark */
    assert_int_equal(op->entry_count, 1);
    assert_int_equal(
        list(op, PAGE("<Contents><Owner><ID>x</ID></Owner><Key>p/ab</Key><Size>1</Size></Contents>"
                      "<CommonPrefixes><Prefix>q</Prefix></CommonPrefixes>")),
        FLOE_OK);
    assert_string_equal(op->entries[0].version, "");
    snprintf(op->start_after, sizeof op->start_after, "ab");
    assert_int_equal(list(op, PAGE(ENTRY("p/ab") ENTRY("p/ac"))), FLOE_OK);
    assert_int_equal(op->entry_count, 1);
    op->max_keys = 1;
    op->start_after[0] = '\0';
    assert_int_equal(list(op, PAGE(ENTRY("p/ab") ENTRY("p/ac"))),
                     FLOE_OK); /* a store that ignores max-keys */
    assert_int_equal(op->entry_count, 1);
    assert_true(op->truncated);
    assert_int_equal(list(op, PAGE(ENTRY("p/ac") ENTRY("p/ab"))), FLOE_EUNSUPPORTED);
    assert_non_null(strstr(op->err.msg, "not ordered"));
    assert_int_equal(list(op, PAGE(ENTRY("q/ab"))), FLOE_ECORRUPT);
    assert_int_equal(list(op, PAGE(ENTRY("p/b"))), FLOE_ECORRUPT);
    assert_int_equal(list(op, PAGE("<Contents><Key>p/ab</Key></Contents>")), FLOE_ECORRUPT);
    assert_int_equal(list(op, PAGE("<Contents><Key>p/ab</Key><Size>1x</Size></Contents>")), FLOE_ECORRUPT);
    assert_int_equal(list(op, PAGE(ENTRY("p/a%zz") "<EncodingType>url</EncodingType>")), FLOE_ECORRUPT);
    assert_int_equal(list(op, PAGE(ENTRY("p/a%00") "<EncodingType>url</EncodingType>")), FLOE_ECORRUPT);
    assert_int_equal(list(op, PAGE("<IsTruncated>true</IsTruncated>")), FLOE_ECORRUPT);
    assert_int_equal(list(op, "<Other></Other>"), FLOE_ECORRUPT);
    const char *whole = PAGE(ENTRY("p/ab") ENTRY("p/ac"));
    for (size_t n = 0; n < strlen(whole); n++) {
        char cut[512];
        snprintf(cut, sizeof cut, "%.*s", (int)n, whole);
        assert_int_equal(list(op, cut), FLOE_ECORRUPT);
    }
    op_free(op);
}

static void deletes(void **state)
{
    (void)state;
    static const struct {
        const char *xml;
        enum floe_err code;
    } cases[] = {
        {"<DeleteResult/>", FLOE_OK},
        {"<DeleteResult><Deleted><Key>a</Key></Deleted></DeleteResult>", FLOE_OK},
        {"<DeleteResult><Error><Key>a</Key><Code>NoSuchKey</Code></Error></DeleteResult>", FLOE_OK},
        {"<DeleteResult><Error><Key>a</Key><Code>AccessDenied</Code></Error></DeleteResult>", FLOE_EDENIED},
        {"<DeleteResult><Error><Key>a</Key><Code>InternalError</Code></Error></DeleteResult>",
         FLOE_EUNAVAILABLE},
        {"<DeleteResult>", FLOE_EUNAVAILABLE},
        {"<html/>", FLOE_EUNSUPPORTED}};
    for (size_t i = 0; i < FLOE_COUNTOF(cases); i++) {
        struct s3_op *op = op_new(FLOE_STORE_DELETE, "k");
        floe_write(&op->text, cases[i].xml, strlen(cases[i].xml));
        assert_int_equal(s3_parse_deleted(op), cases[i].code);
        op_free(op);
    }
}

static enum floe_err got(struct s3_op *op, const char *range, const char *extra, const char *bytes)
{
    s3_answer_reset(op);
    header(op, range ? "HTTP/1.1 206 Partial Content" : "HTTP/1.1 200 OK");
    header(op, "ETag: \"abc\"");
    if (range)
        header(op, range);
    if (extra)
        header(op, extra);
    header(op, "x-amz-meta-Floe-Nonce:  n1 ");
    if (bytes && body(op, bytes) != strlen(bytes))
        op->err.code = FLOE_OK;
    s3_answer_judge(op, op->too_long ? CURLE_WRITE_ERROR : CURLE_OK);
    return op->err.code;
}

static void gets(void **state)
{
    (void)state;
    struct s3_op *op = op_new(FLOE_STORE_GET, "k");
    op->offset = 0;
    assert_int_equal(got(op, "Content-Range: bytes 0-3/4", NULL, "data"), FLOE_OK);
    assert_string_equal(op->version, "abc");
    assert_string_equal(op->answer.nonce, "n1");
    assert_int_equal(op->size, 4);
    assert_int_equal(got(op, "Content-Range: bytes 0-4/5", NULL, "data"), FLOE_ECORRUPT);
    assert_int_equal(got(op, "Content-Range: bytes 1-4/5", NULL, "data"), FLOE_ECORRUPT);
    assert_int_equal(got(op, "Content-Range: bytes 0-3/9", NULL, "data"),
                     FLOE_ECORRUPT); /* 9 were asked for */
    assert_int_equal(got(op, "Content-Range: bytes 0-3", NULL, "data"), FLOE_ECORRUPT);
    assert_int_equal(got(op, "Content-Range: items 0-3/4", NULL, "data"), FLOE_ECORRUPT);
    assert_int_equal(got(op, NULL, NULL, "data"), FLOE_OK);
    op->length = 3;
    assert_int_equal(got(op, NULL, NULL, "data"), FLOE_ETOOLARGE);
    assert_null(op->data);
    op->length = 100;
    op->offset = 2;
    assert_int_equal(got(op, NULL, NULL, "data"), FLOE_EUNSUPPORTED);
    op->offset = -4;
    assert_int_equal(got(op, "Content-Range: bytes 5-8/9", NULL, "data"), FLOE_OK);
    assert_int_equal(got(op, "Content-Range: bytes 4-7/9", NULL, "data"), FLOE_ECORRUPT);
    op->offset = 0;
    assert_int_equal(got(op, "Content-Range: bytes 0-3/4", "x-amz-checksum-crc32c: rth90Q==", "data"),
                     FLOE_OK);
    assert_int_equal(got(op, "Content-Range: bytes 0-3/4", "x-amz-checksum-crc32c: rth90Q==", "dato"),
                     FLOE_ECORRUPT);
    assert_int_equal(got(op, "Content-Range: bytes 0-3/4", "x-amz-checksum-crc32c: AAAAAA==-2", "data"),
                     FLOE_OK);
    op_free(op);
}

/* MD5 of "data" is 8d777f385d3dfec8815d20f7496026dc. */
static void etags(void **state)
{
    (void)state;
    struct s3_op *op = op_new(FLOE_STORE_GET, "k");
    const char *right = "ETag: \"8d777f385d3dfec8815d20f7496026dc\"",
               *wrong = "ETag: \"8d777f385d3dfec8815d20f7496026dd\"";
    assert_int_equal(got(op, NULL, right, "data"), FLOE_OK);
    assert_int_equal(got(op, NULL, "ETag: \"8d777f385d3dfec8815d20f7496026dd-2\"", "data"), FLOE_OK);
    op->attempts = op->tries = 1;
    assert_int_equal(got(op, NULL, wrong, "data"), FLOE_ECORRUPT);
    assert_int_equal(op->attempts, 2); /* a second reading is to decide */
    assert_int_equal(got(op, NULL, wrong, "dato"), FLOE_ECORRUPT);
    assert_false(atomic_load(&store.etag_is_not_md5));
    assert_int_equal(got(op, NULL, wrong, "dato"), FLOE_OK); /* twice the same bytes: this ETag is no MD5 */
    assert_true(atomic_load(&store.etag_is_not_md5));
    atomic_store(&store.etag_is_not_md5, false);
    op_free(op);
    op = op_new(FLOE_STORE_GET, "k");
    s3_answer_reset(op);
    header(op, "HTTP/1.1 200 OK");
    header(op, wrong);
    header(op, "x-amz-server-side-encryption: aws:kms");
    body(op, "data");
    s3_answer_judge(op, CURLE_OK);
    assert_int_equal(op->err.code, FLOE_OK);
    op_free(op);
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        enum floe_store_kind kind;
        enum floe_store_cond cond;
        int status;
        const char *code, *words;
        enum floe_err want;
    } cases[] = {
        {FLOE_STORE_PUT, FLOE_PUT_CREATE, 412, "PreconditionFailed", "", FLOE_EEXISTS},
        {FLOE_STORE_PUT, FLOE_PUT_REPLACE, 412, "PreconditionFailed", "", FLOE_ECONFLICT},
        {FLOE_STORE_PUT, FLOE_PUT_REPLACE, 404, "NoSuchKey", "", FLOE_ECONFLICT},
        {FLOE_STORE_PUT, FLOE_PUT_REPLACE, 404, "NoSuchBucket", "bucket b is not there", FLOE_ENOTFOUND},
        {FLOE_STORE_PUT, FLOE_PUT_CREATE, 409, "ConditionalRequestConflict", "", FLOE_EINDETERMINATE},
        {FLOE_STORE_PUT, FLOE_PUT_CREATE, 500, "InternalError", "", FLOE_EINDETERMINATE},
        {FLOE_STORE_PUT, FLOE_PUT_CREATE, 503, "SlowDown", "", FLOE_EINDETERMINATE},
        {FLOE_STORE_PUT, FLOE_PUT_CREATE, 501, "NotImplemented", "", FLOE_EUNSUPPORTED},
        {FLOE_STORE_PUT, FLOE_PUT_CREATE, 507, "XMinioStorageFull", "", FLOE_ENOSPACE},
        {FLOE_STORE_PUT, FLOE_PUT_CREATE, 400, "BadDigest", "", FLOE_EUNAVAILABLE},
        {FLOE_STORE_PUT, FLOE_PUT_CREATE, 400, "ExpiredToken", "", FLOE_EDENIED},
        {FLOE_STORE_PUT, FLOE_PUT_CREATE, 400, "EntityTooLarge", "EntityTooLarge", FLOE_EIO},
        {FLOE_STORE_GET, FLOE_PUT_ANY, 503, "SlowDown", "", FLOE_EUNAVAILABLE},
        {FLOE_STORE_GET, FLOE_PUT_ANY, 404, "NoSuchKey", "\"k\" is not there", FLOE_ENOTFOUND},
        /* Whether the object is there, nobody knows: a record that was not found is taken for lost. */
        {FLOE_STORE_GET, FLOE_PUT_ANY, 404, "NoSuchBucket", "bucket b is not there", FLOE_EDENIED},
        {FLOE_STORE_LIST, FLOE_PUT_ANY, 404, "NoSuchBucket", "bucket b is not there", FLOE_EDENIED},
        {FLOE_STORE_DELETE, FLOE_PUT_ANY, 404, "NoSuchBucket", "bucket b is not there", FLOE_EDENIED},
        {FLOE_STORE_GET, FLOE_PUT_ANY, 403, "RequestTimeTooSkewed", "clock", FLOE_EDENIED},
        {FLOE_STORE_GET, FLOE_PUT_ANY, 403, "AccessDenied", "does bucket b exist", FLOE_EDENIED},
        {FLOE_STORE_DELETE, FLOE_PUT_ANY, 404, "NoSuchKey", "", FLOE_OK},
        {FLOE_STORE_LIST, FLOE_PUT_ANY, 301, "PermanentRedirect", "--s3-endpoint", FLOE_EINVAL},
        {FLOE_STORE_LIST, FLOE_PUT_ANY, 400, "AuthorizationHeaderMalformed", "region", FLOE_EINVAL},
        {FLOE_STORE_HEAD, FLOE_PUT_ANY, 400, "", "HTTP 400", FLOE_EIO},
        /* No S3 server: what it says of an object is not taken for true. */
        {FLOE_STORE_GET, FLOE_PUT_ANY, 404, "", "is that an S3 server?", FLOE_EUNAVAILABLE},
        {FLOE_STORE_LIST, FLOE_PUT_ANY, 404, "", "is that an S3 server?", FLOE_EUNAVAILABLE},
        {FLOE_STORE_PUT, FLOE_PUT_CREATE, 404, "", "is that an S3 server?", FLOE_EINDETERMINATE},
        {FLOE_STORE_PUT, FLOE_PUT_REPLACE, 404, "", "is that an S3 server?", FLOE_EINDETERMINATE},
        {FLOE_STORE_PUT, FLOE_PUT_CREATE, 501, "", "is that an S3 server?", FLOE_EUNSUPPORTED},
        {FLOE_STORE_HEAD, FLOE_PUT_ANY, 404, "", "is not there", FLOE_ENOTFOUND},
        {FLOE_STORE_GET, FLOE_PUT_ANY, 400, "", "or one that wants https://? check", FLOE_EIO},
    };
    for (size_t i = 0; i < FLOE_COUNTOF(cases); i++) {
        struct s3_op *op = op_new(cases[i].kind, "k");
        char line[64], xml[256];
        op->cond = cases[i].cond;
        snprintf(line, sizeof line, "HTTP/1.1 %d Whatever", cases[i].status);
        snprintf(xml, sizeof xml, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>m</Message></Error>",
                 cases[i].code);
        header(op, line);
        if (cases[i].code[0])
            body(op, xml);
        s3_answer_judge(op, CURLE_OK);
        if (op->err.code != cases[i].want || !strstr(op->err.msg, cases[i].words))
            fail_msg("case %zu: %s: %s", i, floe_err_name(op->err.code), op->err.msg);
        op_free(op);
    }
    struct s3_op *op = op_new(FLOE_STORE_LIST, "");
    header(op, "HTTP/1.1 301 Moved");
    header(op, "x-amz-bucket-region: eu-west-1");
    s3_answer_judge(op, CURLE_OK);
    assert_non_null(strstr(op->err.msg, "set --s3-region eu-west-1"));
    op_free(op);
}

static void broken_transfers(void **state)
{
    (void)state;
    static const struct {
        enum floe_store_kind kind;
        CURLcode curl;
        uint32_t wire;
        enum floe_err want;
    } cases[] = {{FLOE_STORE_PUT, CURLE_RECV_ERROR, 1, FLOE_EINDETERMINATE},
                 {FLOE_STORE_PUT, CURLE_SEND_FAIL_REWIND, 1, FLOE_EINDETERMINATE},
                 {FLOE_STORE_PUT, CURLE_ABORTED_BY_CALLBACK, 2, FLOE_EINDETERMINATE},
                 {FLOE_STORE_DELETE, CURLE_GOT_NOTHING, 1, FLOE_EINDETERMINATE},
                 {FLOE_STORE_GET, CURLE_PARTIAL_FILE, 1, FLOE_ECORRUPT},
                 {FLOE_STORE_GET, CURLE_OPERATION_TIMEDOUT, 1, FLOE_ETIMEOUT},
                 {FLOE_STORE_GET, CURLE_GOT_NOTHING, 1, FLOE_EUNAVAILABLE},
                 {FLOE_STORE_PUT, CURLE_OPERATION_TIMEDOUT, 0, FLOE_EUNAVAILABLE},
                 {FLOE_STORE_PUT, CURLE_COULDNT_RESOLVE_HOST, 0, FLOE_EUNAVAILABLE},
                 {FLOE_STORE_PUT, CURLE_PEER_FAILED_VERIFICATION, 0, FLOE_EDENIED}};
    for (size_t i = 0; i < FLOE_COUNTOF(cases); i++) {
        struct s3_op *op = op_new(cases[i].kind, "k");
        op->wire_tries = cases[i].wire;
        s3_answer_judge(op, cases[i].curl);
        if (op->err.code != cases[i].want)
            fail_msg("case %zu: %s: %s", i, floe_err_name(op->err.code), op->err.msg);
        op_free(op);
    }
    /* A clear word counts, even when the connection broke behind it. */
    struct s3_op *op = op_new(FLOE_STORE_PUT, "k");
    op->cond = FLOE_PUT_CREATE;
    header(op, "HTTP/1.1 412 Precondition Failed");
    s3_answer_judge(op, CURLE_SEND_ERROR);
    assert_int_equal(op->err.code, FLOE_EEXISTS);
    op_free(op);
    /* So does an applied PUT without a version: nobody can go on from it. */
    op = op_new(FLOE_STORE_PUT, "k");
    header(op, "HTTP/1.1 200 OK");
    s3_answer_judge(op, CURLE_OK);
    assert_int_equal(op->err.code, FLOE_EINDETERMINATE);
    op_free(op);
}

static void urls(void **state)
{
    (void)state;
    char out[32];
    size_t n = 0;
    assert_true(s3_url_encode(out, sizeof out, &n, "a/b c~\xff", true));
    assert_string_equal(out, "a/b%20c~%FF");
    n = 0;
    assert_true(s3_url_encode(out, sizeof out, &n, "a/b", false));
    assert_string_equal(out, "a%2Fb");
    n = 0;
    assert_false(s3_url_encode(out, 8, &n, "abcdefgh", true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xml_events),
        cmocka_unit_test(list_pages),
        cmocka_unit_test(deletes),
        cmocka_unit_test(gets),
        cmocka_unit_test(etags),
        cmocka_unit_test(refusals),
        cmocka_unit_test(broken_transfers),
        cmocka_unit_test(urls),
    };
    return cmocka_run_group_tests_name("objstore.s3_answer", tests, NULL, NULL);
}
