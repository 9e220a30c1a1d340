/* SigV4 against requests signed by AWS's own SDK (tests/golden/sigv4.jsonl). */
#include <floe/base/assert.h>
#include <floe/net/sigv4.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const char *str(const json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}

static void check_vector(const json_t *v, struct floe_sigv4_signer *kept)
{
    struct floe_sigv4_header h[16];
    uint32_t n = 0;
    char host[128], path[256], got[FLOE_SIGV4_AUTHORIZATION_MAX];
    uint8_t body[4096];
    const char *url = strstr(str(v, "url"), "://") + 3, *name, *hex = str(v, "body_hex");
    size_t host_n = strcspn(url, "/"), path_n = strcspn(url + host_n, "?");
    json_t *value;
    snprintf(host, sizeof host, "%.*s", (int)host_n, url);
    snprintf(path, sizeof path, "%.*s", (int)path_n, url + host_n);
    json_object_foreach(json_object_get(v, "headers"), name, value)
    {
        h[n++] = (struct floe_sigv4_header){name, json_string_value(value)};
    }
    assert_true(strlen(hex) / 2 <= sizeof body && floe_hex_decode(body, hex, strlen(hex) / 2));
    struct floe_slice whole = floe_slice(body, strlen(hex) / 2);
    struct floe_sha256_hex hash = floe_sigv4_hash(&whole, 1);
    const char *sent = str(v, "sent_sha256");
    if (sent && strcmp(sent, FLOE_SIGV4_UNSIGNED) != 0)
        assert_string_equal(hash.hex, sent);
    h[n++] = (struct floe_sigv4_header){"Host", host};
    h[n++] = (struct floe_sigv4_header){"x-amz-date", str(v, "date")};
    if (strcmp(str(v, "date"), "20260309T235958Z") != 0)
        fail_msg("unexpected date");
    if (str(v, "token"))
        h[n++] = (struct floe_sigv4_header){"X-Amz-Security-Token", str(v, "token")};
    if (sent)
        h[n++] = (struct floe_sigv4_header){"x-amz-content-sha256", sent};
    const char *q = url + host_n + path_n;
    struct floe_sigv4_request r = {.method = str(v, "method"),
                                   .path = path,
                                   .query = *q ? q + 1 : NULL,
                                   .headers = h,
                                   .header_count = n,
                                   .payload = sent ? sent : hash.hex};
    struct floe_sigv4_signer s;
    struct floe_error err = {0};
    floe_sigv4_signer_init(&s, str(v, "access_key"), str(v, "secret_key"), str(v, "region"),
                           str(v, "service"));
    for (int twice = 0; twice < 2; twice++) { /* the second time with the cached key */
        assert_int_equal(floe_sigv4_sign(&s, got, &r, str(v, "date"), &err), FLOE_OK);
        assert_string_equal(got, str(v, "authorization"));
    }
    /* Another day's key is not used. */
    if (strcmp(kept->access_key, s.access_key) != 0)
        *kept = s;
    assert_int_equal(floe_sigv4_sign(&s, got, &r, "20260310T000000Z", &err), FLOE_OK);
    assert_string_not_equal(got, str(v, "authorization"));
    assert_int_equal(floe_sigv4_sign(&s, got, &r, str(v, "date"), &err), FLOE_OK);
    assert_string_equal(got, str(v, "authorization"));
}

static void vectors(void **state)
{
    (void)state;
    struct floe_sigv4_signer kept = {0};
    char *line = NULL;
    size_t cap = 0;
    int seen = 0;
    FILE *f = fopen(FLOE_TEST_GOLDEN "/sigv4.jsonl", "r");
    assert_non_null(f);
    while (getline(&line, &cap, f) > 0) {
        json_error_t je;
        json_t *v = json_loads(line, 0, &je);
        assert_non_null(v);
        check_vector(v, &kept);
        json_decref(v);
        seen++;
    }
    free(line);
    fclose(f);
    assert_int_equal(seen, 84);
}

static void pieces_and_repeated_headers(void **state)
{
    (void)state;
    struct floe_slice p[3] = {floe_slice_str("he"), floe_slice_str(""), floe_slice_str("llo")};
    assert_string_equal(floe_sigv4_hash(p, 3).hex,
                        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    struct floe_sigv4_header h[] = {{"B", " 2  3\t4 "}, {"a", "x"}, {"b", ""}, {"A", "y"}};
    struct floe_sigv4_request r = {"GET", "/p", "b=1&&a&a=0", h, 4, "P"};
    char names[FLOE_SIGV4_AUTHORIZATION_MAX];
    struct floe_writer w;
    struct floe_error err = {0};
    floe_writer_init(&w, FLOE_SIGV4_CANONICAL_MAX);
    assert_int_equal(floe_sigv4_canonical(&w, names, &r, &err), FLOE_OK);
    const char *want = "GET\n/p\na=&a=0&b=1\na:x,y\nb:2 3 4,\n\na;b\nP";
    assert_int_equal(w.n, strlen(want));
    assert_memory_equal(w.p, want, w.n);
    assert_string_equal(names, "a;b");
    floe_writer_fini(&w);
}

static void limits(void **state)
{
    (void)state;
    struct floe_sigv4_header h[65];
    char names[FLOE_SIGV4_AUTHORIZATION_MAX], query[256] = "", big[3000];
    struct floe_error err = {0};
    struct floe_writer w;
    for (int i = 0; i < 65; i++)
        h[i] = (struct floe_sigv4_header){"x", "y"};
    struct floe_sigv4_request r = {"GET", "/", "", h, 65, "P"};
    floe_writer_init(&w, FLOE_SIGV4_CANONICAL_MAX);
    assert_int_equal(floe_sigv4_canonical(&w, names, &r, &err), FLOE_ETOOLARGE);
    r.header_count = 1;
    for (int i = 0; i < 65; i++)
        memcpy(query + 2 * i, "q&", 3);
    r.query = query;
    assert_int_equal(floe_sigv4_canonical(&w, names, &r, &err), FLOE_ETOOLARGE);
    r.query = "";
    memset(big, 'n', sizeof big);
    big[sizeof big - 1] = '\0';
    h[0].name = big;
    assert_int_equal(floe_sigv4_canonical(&w, names, &r, &err), FLOE_ETOOLARGE);
    floe_writer_fini(&w);
    char date[17];
    floe_sigv4_date(date, 1773100798999);
    assert_string_equal(date, "20260309T235958Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(pieces_and_repeated_headers),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests_name("net.sigv4", tests, NULL, NULL);
}
