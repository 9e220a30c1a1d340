/* AWS Signature Version 4, see floe/net/sigv4.h. */
#include <floe/base/assert.h>
#include <floe/net/sigv4.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void floe_sigv4_signer_init(struct floe_sigv4_signer *s, const char *access_key, const char *secret_key,
                            const char *region, const char *service)
{
    *s = (struct floe_sigv4_signer){0};
    snprintf(s->access_key, sizeof s->access_key, "%s", access_key);
    snprintf(s->secret_key, sizeof s->secret_key, "%s", secret_key);
    snprintf(s->region, sizeof s->region, "%s", region);
    snprintf(s->service, sizeof s->service, "%s", service);
}

struct floe_sha256_hex floe_sigv4_hash(const struct floe_slice *pieces, size_t count)
{
    struct floe_sha256_hex out;
    uint8_t md[32];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    FLOE_ASSERT(ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1);
    for (size_t i = 0; i < count; i++)
        FLOE_ASSERT(EVP_DigestUpdate(ctx, pieces[i].p, pieces[i].n) == 1);
    FLOE_ASSERT(EVP_DigestFinal_ex(ctx, md, NULL) == 1);
    EVP_MD_CTX_free(ctx);
    floe_hex(out.hex, md, sizeof md);
    return out;
}

static void hmac(uint8_t out[32], const void *key, size_t key_n, const void *p, size_t n)
{
    unsigned len = 32;
    const unsigned char *ok = HMAC(EVP_sha256(), key, (int)key_n, p, n, out, &len);
    FLOE_ASSERT(ok != NULL && len == 32);
}

/* ---- canonical form ---- */

struct param {
    const char *name, *value; /* value null: no "=" */
    size_t name_n, value_n;
};

static int compare(const char *a, size_t an, const char *b, size_t bn)
{
    int c = memcmp(a, b, FLOE_MIN(an, bn));
    return c != 0 ? c : (an > bn) - (an < bn);
}

static int by_name_value(const void *pa, const void *pb)
{
    const struct param *a = pa, *b = pb;
    int c = compare(a->name, a->name_n, b->name, b->name_n);
    return c != 0 ? c : compare(a->value, a->value_n, b->value, b->value_n);
}

static enum floe_err write_query(struct floe_writer *w, const char *query, struct floe_error *err)
{
    struct param p[FLOE_SIGV4_QUERY_MAX];
    size_t n = 0;
    while (query && *query) {
        size_t len = strcspn(query, "&");
        const char *eq = memchr(query, '=', len);
        if (n == FLOE_COUNTOF(p))
            return floe_error_set(err, FLOE_ETOOLARGE, "a query of more than %d parameters",
                                  FLOE_SIGV4_QUERY_MAX);
        size_t name_n = eq ? (size_t)(eq - query) : len;
        if (len > 0)
            p[n++] = (struct param){query, eq ? eq + 1 : query + len, name_n, eq ? len - name_n - 1 : 0};
        query += len + (query[len] == '&');
    }
    qsort(p, n, sizeof *p, by_name_value);
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            floe_write_u8(w, '&');
        floe_write(w, p[i].name, p[i].name_n);
        floe_write_u8(w, '=');
        floe_write(w, p[i].value, p[i].value_n);
    }
    return FLOE_OK;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static int compare_names(const char *a, const char *b)
{
    for (; *a && lower(*a) == lower(*b); a++)
        b++;
    return (unsigned char)lower(*a) - (unsigned char)lower(*b);
}

static void write_lower(struct floe_writer *w, const char *s)
{
    for (; *s; s++)
        floe_write_u8(w, (uint8_t)lower(*s));
}

/* Trimmed, runs of spaces and tabs as one space. */
static void write_value(struct floe_writer *w, const char *v)
{
    bool gap = false, any = false;
    for (; *v; v++) {
        if (*v == ' ' || *v == '\t') {
            gap = any;
            continue;
        }
        if (gap)
            floe_write_u8(w, ' ');
        floe_write_u8(w, (uint8_t)*v);
        gap = false;
        any = true;
    }
}

/* Headers in the order of their names; equal names keep the order in which they came. */
static enum floe_err sort_headers(const struct floe_sigv4_header *sorted[FLOE_SIGV4_HEADERS_MAX],
                                  const struct floe_sigv4_request *r, struct floe_error *err)
{
    if (r->header_count > FLOE_SIGV4_HEADERS_MAX)
        return floe_error_set(err, FLOE_ETOOLARGE, "%u headers to sign, at most %d", r->header_count,
                              FLOE_SIGV4_HEADERS_MAX);
    for (uint32_t i = 0; i < r->header_count; i++) {
        uint32_t at = i;
        for (; at > 0 && compare_names(sorted[at - 1]->name, r->headers[i].name) > 0; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = &r->headers[i];
    }
    return FLOE_OK;
}

enum floe_err floe_sigv4_canonical(struct floe_writer *w, char *signed_headers,
                                   const struct floe_sigv4_request *r, struct floe_error *err)
{
    const struct floe_sigv4_header *h[FLOE_SIGV4_HEADERS_MAX];
    struct floe_writer names;
    enum floe_err rc = sort_headers(h, r, err);
    if (rc != FLOE_OK)
        return rc;
    floe_writer_init(&names, FLOE_SIGV4_AUTHORIZATION_MAX);
    floe_write(w, r->method, strlen(r->method));
    floe_write_u8(w, '\n');
    floe_write(w, r->path, strlen(r->path));
    floe_write_u8(w, '\n');
    rc = write_query(w, r->query, err);
    if (rc != FLOE_OK)
        goto out;
    floe_write_u8(w, '\n');
    for (uint32_t i = 0; i < r->header_count; i++) {
        bool again = i > 0 && compare_names(h[i - 1]->name, h[i]->name) == 0;
        if (again) {
            floe_write_u8(w, ',');
        } else {
            if (i > 0) {
                floe_write_u8(w, '\n');
                floe_write_u8(&names, ';');
            }
            write_lower(w, h[i]->name);
            floe_write_u8(w, ':');
            write_lower(&names, h[i]->name);
        }
        write_value(w, h[i]->value);
    }
    floe_write(w, "\n\n", r->header_count > 0 ? 2 : 1);
    floe_write_u8(&names, '\0');
    floe_write(w, names.p, names.n ? names.n - 1 : 0);
    floe_write_u8(w, '\n');
    floe_write(w, r->payload, strlen(r->payload));
    if (w->bad || names.bad)
        rc = floe_error_set(err, FLOE_ETOOLARGE, "a request of more than %d bytes to sign",
                            FLOE_SIGV4_CANONICAL_MAX);
    else
        memcpy(signed_headers, names.p, names.n);
out:
    floe_writer_fini(&names);
    return rc;
}

/* ---- signature ---- */

static void derive(struct floe_sigv4_signer *s, const char *date)
{
    char first[4 + sizeof s->secret_key];
    uint8_t k[32];
    if (memcmp(s->day, date, 8) == 0)
        return;
    int n = snprintf(first, sizeof first, "AWS4%s", s->secret_key);
    hmac(k, first, (size_t)n, date, 8);
    hmac(k, k, sizeof k, s->region, strlen(s->region));
    hmac(k, k, sizeof k, s->service, strlen(s->service));
    hmac(s->key, k, sizeof k, "aws4_request", 12);
    memcpy(s->day, date, 8);
    s->day[8] = '\0';
}

void floe_sigv4_signature(struct floe_sigv4_signer *s, char out[65], struct floe_slice canonical,
                          const char *date)
{
    char text[256];
    uint8_t mac[32];
    FLOE_ASSERT(strlen(date) == 16);
    struct floe_sha256_hex hash = floe_sigv4_hash(&canonical, 1);
    derive(s, date);
    int n = snprintf(text, sizeof text, "AWS4-HMAC-SHA256\n%s\n%.8s/%s/%s/aws4_request\n%s", date, date,
                     s->region, s->service, hash.hex);
    FLOE_ASSERT(n > 0 && (size_t)n < sizeof text);
    hmac(mac, s->key, sizeof s->key, text, (size_t)n);
    floe_hex(out, mac, sizeof mac);
}

enum floe_err floe_sigv4_sign(struct floe_sigv4_signer *s, char *authorization,
                              const struct floe_sigv4_request *r, const char *date, struct floe_error *err)
{
    char names[FLOE_SIGV4_AUTHORIZATION_MAX], signature[65];
    struct floe_writer w;
    floe_writer_init(&w, FLOE_SIGV4_CANONICAL_MAX);
    enum floe_err rc = floe_sigv4_canonical(&w, names, r, err);
    if (rc == FLOE_OK) {
        floe_sigv4_signature(s, signature, floe_slice(w.p, w.n), date);
        int n =
            snprintf(authorization, FLOE_SIGV4_AUTHORIZATION_MAX,
                     "AWS4-HMAC-SHA256 Credential=%s/%.8s/%s/%s/aws4_request, SignedHeaders=%s, Signature=%s",
                     s->access_key, date, s->region, s->service, names, signature);
        if (n < 0 || n >= FLOE_SIGV4_AUTHORIZATION_MAX)
            rc = floe_error_set(err, FLOE_ETOOLARGE, "an Authorization header of %d bytes", n);
    }
    floe_writer_fini(&w);
    return rc;
}

void floe_sigv4_date(char out[17], int64_t wall_ms)
{
    struct tm tm;
    time_t t = (time_t)(wall_ms / 1000);
    FLOE_ASSERT(gmtime_r(&t, &tm) != NULL);
    size_t n = strftime(out, 17, "%Y%m%dT%H%M%SZ", &tm);
    FLOE_ASSERT(n == 16);
}
