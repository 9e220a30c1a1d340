/* Builds one attempt: URL, headers, signature, curl's options. */
#include "s3_int.h"

#include <floe/base/crc32c.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define HEADERS_MAX 16
#define CONNECT_TIMEOUT_MS 5000L
#define LOW_SPEED_BYTES 1024L
#define LOW_SPEED_SECONDS 20L
#define CONNECTION_AGE_SECONDS 20L /* older idle ones are not used again: their far end may be gone */
#define BUFFER_SMALL (64L * 1024)
#define BUFFER_LARGE (512L * 1024)
#define BUFFER_LARGE_GET                                                                                     \
    (120L * 1024) /* malloc keeps it: a larger one would be mapped afresh for each GET                       \
                   */
#define LARGE_BODY (1u << 20)

struct request {
    const char *method;
    char path[S3_PATH_MAX], query[S3_PATH_MAX * 2];
    struct floe_sigv4_header h[HEADERS_MAX];
    uint32_t n;
    char text[HEADERS_MAX][224]; /* values that are not kept elsewhere */
    uint32_t texts;
};

bool s3_url_encode(char *out, size_t cap, size_t *at, const char *in, bool keep_slash)
{
    size_t n = *at;
    for (; *in; in++) {
        char c = *in;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '_' || c == '.' || c == '~' || (c == '/' && keep_slash);
        if (n + 4 > cap)
            return false;
        if (plain)
            out[n++] = c;
        else
            n += (size_t)snprintf(out + n, 4, "%%%02X", (unsigned char)c);
    }
    out[n] = '\0';
    *at = n;
    return true;
}

static void header(struct request *q, const char *name, const char *value)
{
    FLOE_ASSERT(q->n < HEADERS_MAX);
    q->h[q->n++] = (struct floe_sigv4_header){name, value};
}

static FLOE_PRINTF(3, 4) void header_text(struct request *q, const char *name, const char *fmt, ...)
{
    va_list ap;
    FLOE_ASSERT(q->texts < HEADERS_MAX);
    char *to = q->text[q->texts++];
    va_start(ap, fmt);
    vsnprintf(to, sizeof q->text[0], fmt, ap);
    va_end(ap);
    header(q, name, to);
}

/* Path and query. */
static bool target(struct request *q, const struct s3_op *op)
{
    const struct s3_store *s = op->s;
    size_t n = 0;
    bool bucket_only = op->kind == FLOE_STORE_LIST || op->key_count > 0;
    q->path[n++] = '/';
    q->path[n] = '\0';
    if (!s->virtual_host) {
        if (!s3_url_encode(q->path, sizeof q->path, &n, s->bucket, false) || n + 2 > sizeof q->path)
            return false;
        q->path[n++] = '/';
        q->path[n] = '\0';
    }
    if (!bucket_only)
        return s3_url_encode(q->path, sizeof q->path, &n, s->prefix, true) &&
               s3_url_encode(q->path, sizeof q->path, &n, op->key, true);
    if (op->kind == FLOE_STORE_DELETE) {
        snprintf(q->query, sizeof q->query, "delete=");
        return true;
    }
    n = (size_t)snprintf(q->query, sizeof q->query,
                         "encoding-type=url&list-type=2&max-keys=%u&prefix=", op->max_keys);
    if (!s3_url_encode(q->query, sizeof q->query, &n, s->prefix, false) ||
        !s3_url_encode(q->query, sizeof q->query, &n, op->key, false))
        return false;
    if (op->start_after[0] == '\0')
        return true;
    n += (size_t)snprintf(q->query + n, sizeof q->query - n, "&start-after=");
    return n < sizeof q->query && s3_url_encode(q->query, sizeof q->query, &n, s->prefix, false) &&
           s3_url_encode(q->query, sizeof q->query, &n, op->start_after, false);
}

/* Hashes of the body, once for all attempts. SHA-256 is what costs: it is left out where nobody on the way
 * can change the bytes (TLS, loopback); a CRC goes along then. */
static enum floe_err hash_body(struct s3_op *op, struct floe_error *err)
{
    const struct s3_store *s = op->s;
    if (op->hashed)
        return FLOE_OK;
    struct floe_slice *p = calloc(op->body.count + 1u, sizeof *p);
    EVP_MD_CTX *md5 = op->key_count > 0 ? EVP_MD_CTX_new() : NULL;
    if (!p || (op->key_count > 0 && !md5)) {
        free(p);
        return floe_error_set(err, FLOE_ENOMEM, "%s: no memory to sign a request", s->base.url);
    }
    for (uint32_t i = 0; i < op->body.count; i++) {
        p[i] = floe_slice(op->body.slices[i].p, op->body.slices[i].n);
        op->body_crc = floe_crc32c(op->body_crc, p[i].p, p[i].n);
    }
    if (!s->sign_payload && op->body.n > 0)
        snprintf(op->payload.hex, sizeof op->payload.hex, "%s", FLOE_SIGV4_UNSIGNED);
    else
        op->payload = floe_sigv4_hash(p, op->body.count);
    if (md5) {
        FLOE_ASSERT(EVP_DigestInit_ex(md5, EVP_md5(), NULL) == 1);
        for (uint32_t i = 0; i < op->body.count; i++)
            FLOE_ASSERT(EVP_DigestUpdate(md5, p[i].p, p[i].n) == 1);
        FLOE_ASSERT(EVP_DigestFinal_ex(md5, op->body_md5, NULL) == 1);
        EVP_MD_CTX_free(md5);
    }
    free(p);
    op->hashed = true;
    return FLOE_OK;
}

static void base64(char *out, const uint8_t *p, size_t n)
{
    EVP_EncodeBlock((unsigned char *)out, p, (int)n);
}

static void put_headers(struct request *q, const struct s3_op *op)
{
    const char *mark = op->s->aws ? "\"" : ""; /* Ceph takes no quotes, AWS documents them */
    char b64[32];
    uint8_t crc[4];
    if (op->cond == FLOE_PUT_CREATE)
        header(q, "If-None-Match", "*");
    if (op->cond == FLOE_PUT_REPLACE)
        header_text(q, "If-Match", "%s%s%s", mark, op->if_version, mark);
    if (op->nonce[0])
        header(q, "x-amz-meta-floe-nonce", op->nonce);
    if (strcmp(op->payload.hex, FLOE_SIGV4_UNSIGNED) == 0 || op->body.n <= S3_CHECKED_MAX) {
        floe_put_be32(crc, op->body_crc);
        base64(b64, crc, sizeof crc);
        header_text(q, "x-amz-checksum-crc32c", "%s", b64);
    }
}

static void kind_headers(struct request *q, const struct s3_op *op)
{
    char b64[32];
    switch (op->kind) {
    case FLOE_STORE_PUT:
        q->method = "PUT";
        put_headers(q, op);
        break;
    case FLOE_STORE_GET:
        q->method = "GET";
        header(q, "x-amz-checksum-mode", "ENABLED");
        if (op->offset < 0)
            header_text(q, "Range", "bytes=%lld", (long long)op->offset);
        else
            header_text(q, "Range", "bytes=%llu-%llu", (unsigned long long)op->offset,
                        (unsigned long long)op->offset + op->length - 1);
        break;
    case FLOE_STORE_HEAD:
        q->method = "HEAD";
        break;
    case FLOE_STORE_LIST:
        q->method = "GET";
        break;
    case FLOE_STORE_DELETE:
        q->method = op->key_count > 0 ? "POST" : "DELETE";
        if (op->key_count > 0) {
            base64(b64, op->body_md5, sizeof op->body_md5);
            header_text(q, "Content-MD5", "%s", b64);
            header(q, "Content-Type", "application/xml");
        }
        break;
    }
}

/* The body as libcurl wants it, straight from the slices. There is no way back on purpose: a repeat that curl
 * starts by itself after body bytes went out must fail instead (CURLE_SEND_FAIL_REWIND). */
static size_t on_read(char *to, size_t size, size_t count, void *arg)
{
    struct s3_op *op = arg;
    size_t room = size * count, n = 0;
    while (n < room && op->body_slice < op->body.count) {
        const struct floe_bufslice *b = &op->body.slices[op->body_slice];
        size_t k = FLOE_MIN(room - n, b->n - op->body_at);
        if (k > 0)
            memcpy(to + n, b->p + op->body_at, k);
        n += k;
        op->body_at += k;
        if (op->body_at == b->n) {
            op->body_slice++;
            op->body_at = 0;
        }
    }
    op->went += n;
    return n;
}

/* Called each time a request is about to go onto a connection: counts copies, and stops a write that curl
 * would repeat by itself (the caller must know of every copy). */
static int on_prereq(void *arg, char *ip, char *local, int port, int local_port)
{
    struct s3_op *op = arg;
    (void)ip;
    (void)local;
    (void)port;
    (void)local_port;
    if (op->wire_tries++ > 0) {
        if (op->kind == FLOE_STORE_PUT)
            return CURL_PREREQFUNC_ABORT;
        s3_answer_reset(op);
    }
    op->sent++;
    return CURL_PREREQFUNC_OK;
}

/* Host too: curl would write the address as it understands it (127.0.0.1 for 127.1), and not as it was
 * signed. */
static bool add_headers(struct s3_op *op, const struct request *q, const char *authorization)
{
    char line[FLOE_SIGV4_AUTHORIZATION_MAX + 4200];
    struct curl_slist *l;
    bool ok = true;
    for (uint32_t i = 0; i < q->n && ok; i++) {
        int n = snprintf(line, sizeof line, "%s: %s", q->h[i].name, q->h[i].value);
        l = (size_t)n < sizeof line ? curl_slist_append(op->headers, line) : NULL;
        ok = l != NULL;
        op->headers = l ? l : op->headers;
    }
    snprintf(line, sizeof line, "Authorization: %s", authorization);
    const char *const rest[] = {line, "Expect:", "Accept:"};
    for (size_t i = 0; i < FLOE_COUNTOF(rest) && ok; i++) {
        l = curl_slist_append(op->headers, rest[i]);
        ok = l != NULL;
        op->headers = l ? l : op->headers;
    }
    return ok;
}

void s3_request_transport(CURL *e, const struct s3_op *op)
{
    const struct s3_store *s = op->s;
    bool large_get = op->kind == FLOE_STORE_GET && op->length >= LARGE_BODY;
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, LOW_SPEED_BYTES);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, LOW_SPEED_SECONDS);
    curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, CONNECTION_AGE_SECONDS);
    curl_easy_setopt(e, CURLOPT_BUFFERSIZE, large_get ? BUFFER_LARGE_GET : BUFFER_SMALL);
    curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, op->body.n >= LARGE_BODY ? BUFFER_LARGE : BUFFER_SMALL);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "floe/" FLOE_VERSION);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, s->tls ? "https" : "http");
    if (s->loopback)
        curl_easy_setopt(e, CURLOPT_NOPROXY, "*");
    if (s->ca_file[0])
        curl_easy_setopt(e, CURLOPT_CAINFO, s->ca_file);
}

static void set_callbacks(CURL *e, struct s3_op *op)
{
    op->curl_error[0] = '\0';
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, op->curl_error);
    curl_easy_setopt(e, CURLOPT_PRIVATE, op);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, op->headers);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, s3_on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, op);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, s3_on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, op);
    curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_prereq);
    curl_easy_setopt(e, CURLOPT_PREREQDATA, op);
}

static void set_method(CURL *e, struct s3_op *op, const char *method)
{
    bool upload = op->kind == FLOE_STORE_PUT || op->key_count > 0;
    if (upload) {
        curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)op->body.n);
        curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read);
        curl_easy_setopt(e, CURLOPT_READDATA, op);
    }
    if (op->kind == FLOE_STORE_HEAD)
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    else if (op->kind == FLOE_STORE_DELETE)
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, method);
}

static enum floe_err sign(struct s3_op *op, struct request *q, char *authorization, struct floe_error *err)
{
    struct timespec now;
    char date[17];
    /* lint: clock_gettime a driver's thread has no loop; a signature needs the time of day */
    clock_gettime(CLOCK_REALTIME, &now);
    floe_sigv4_date(date, (int64_t)now.tv_sec * 1000);
    header(q, "Host", op->s->host);
    header_text(q, "x-amz-date", "%s", date);
    header(q, "x-amz-content-sha256", op->payload.hex);
    if (op->s->cred.token[0])
        header(q, "x-amz-security-token", op->s->cred.token);
    struct floe_sigv4_request r = {.method = q->method,
                                   .path = q->path,
                                   .query = q->query,
                                   .headers = q->h,
                                   .header_count = q->n,
                                   .payload = op->payload.hex};
    return floe_sigv4_sign(&op->lane->signer, authorization, &r, date, err);
}

/* Target, headers, signature. */
static enum floe_err prepare(struct s3_op *op, struct request *q, char *authorization, struct floe_error *err)
{
    enum floe_err rc = hash_body(op, err);
    if (rc != FLOE_OK)
        return rc;
    if (!target(q, op))
        return floe_error_set(err, FLOE_EINVAL, "%s: the key \"%s\" is too long", op->s->base.url, op->key);
    kind_headers(q, op);
    return sign(op, q, authorization, err);
}

enum floe_err s3_request_text(struct s3_op *op, char *to, size_t cap, size_t *n, struct floe_error *err)
{
    struct request q = {0};
    char authorization[FLOE_SIGV4_AUTHORIZATION_MAX];
    enum floe_err rc = prepare(op, &q, authorization, err);
    if (rc != FLOE_OK)
        return rc;
    int k = snprintf(to, cap, "%s %s%s%s HTTP/1.1\r\nUser-Agent: floe/" FLOE_VERSION "\r\n", q.method, q.path,
                     q.query[0] ? "?" : "", q.query);
    size_t at = k < 0 ? cap : (size_t)k;
    for (uint32_t i = 0; i < q.n && at < cap; i++)
        at += (size_t)snprintf(to + at, cap - at, "%s: %s\r\n", q.h[i].name, q.h[i].value);
    if (at < cap)
        at += (size_t)snprintf(to + at, cap - at, "Authorization: %s\r\n\r\n", authorization);
    if (at >= cap)
        return floe_error_set(err, FLOE_ETOOLARGE, "%s: the request is too long", op->s->base.url);
    *n = at;
    return FLOE_OK;
}

enum floe_err s3_request_build(struct s3_op *op, struct floe_error *err)
{
    struct request q = {0};
    char authorization[FLOE_SIGV4_AUTHORIZATION_MAX], url[S3_URL_MAX + S3_PATH_MAX];
    enum floe_err rc = prepare(op, &q, authorization, err);
    if (rc != FLOE_OK)
        return rc;
    int n = snprintf(url, sizeof url, "%s%s%s%s", op->s->endpoint, q.path, q.query[0] ? "?" : "", q.query);
    if (n < 0 || (size_t)n >= sizeof url || !add_headers(op, &q, authorization))
        return floe_error_set(err, FLOE_ENOMEM, "%s: no memory for a request", op->s->base.url);
    op->body_slice = 0;
    op->body_at = 0;
    op->wire_tries = 0;
    s3_request_transport(op->easy, op);
    set_method(op->easy, op, q.method);
    set_callbacks(op->easy, op);
    if (curl_easy_setopt(op->easy, CURLOPT_URL, url) != CURLE_OK)
        return floe_error_set(err, FLOE_ENOMEM, "%s: no memory for a request", op->s->base.url);
    return FLOE_OK;
}
