/* Answers: headers and bodies as they arrive, and what a finished attempt means. */
#include "s3_int.h"

#include <floe/base/crc32c.h>
#include <floe/base/str.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

void s3_answer_reset(struct s3_op *op)
{
    op->answer = (struct s3_answer){0};
    op->too_long = op->no_memory = false;
    floe_writer_fini(&op->text);
    floe_writer_init(&op->text, S3_TEXT_MAX);
    floe_buf_unref(op->data);
    op->data = NULL;
    free(op->piece_crc);
    op->piece_crc = NULL;
    floe_arena_fini(&op->arena);
    op->entries = NULL;
    op->entry_count = 0;
    op->truncated = false;
    op->version[0] = '\0';
    op->size = 0;
}

/* ---- headers ---- */

static bool is(const char *line, size_t name_n, const char *name)
{
    return strlen(name) == name_n && strncasecmp(line, name, name_n) == 0;
}

static void copy(char *to, size_t cap, const char *v, size_t n)
{
    if (n >= cap)
        n = 0; /* too long to be what we look for */
    memcpy(to, v, n);
    to[n] = '\0';
}

/* Digits at *p, which ends behind them. */
static bool digits(const char **p, uint64_t *out)
{
    char text[24];
    size_t n = strspn(*p, "0123456789");
    copy(text, sizeof text, *p, n);
    *p += n;
    return floe_str_parse_u64(text, out, NULL) == FLOE_OK;
}

/* "bytes 0-9/10", or with a star for the range (416) or the size. */
static void content_range(struct s3_answer *a, const char *v, size_t n)
{
    char text[80];
    uint64_t from, to, size;
    const char *p = text + 6;
    copy(text, sizeof text, v, n);
    if (strncmp(text, "bytes ", 6) != 0)
        return;
    if (*p == '*') {
        p += 2;
        if (p[-1] == '/' && digits(&p, &size) && *p == '\0')
            a->range_size = size;
        return;
    }
    bool ok = digits(&p, &from) && *p++ == '-' && digits(&p, &to) && *p++ == '/' && digits(&p, &size);
    if (ok && *p == '\0' && from <= to && to < size) {
        a->has_range = true;
        a->range_from = from;
        a->range_to = to;
        a->range_size = size;
    }
}

void s3_answer_header(struct s3_answer *a, const char *name, size_t name_n, const char *v, size_t n)
{
    char number[24];
    if (is(name, name_n, "etag")) {
        if (n >= 2 && v[0] == '"' && v[n - 1] == '"') {
            v++;
            n -= 2;
        }
        copy(a->etag, sizeof a->etag, v, n);
    } else if (is(name, name_n, "content-range")) {
        content_range(a, v, n);
    } else if (is(name, name_n, "content-length")) {
        copy(number, sizeof number, v, n);
        a->has_length = floe_str_parse_u64(number, &a->length, NULL) == FLOE_OK;
    } else if (is(name, name_n, "x-amz-meta-floe-nonce")) {
        copy(a->nonce, sizeof a->nonce, v, n);
    } else if (is(name, name_n, "x-amz-checksum-crc32c")) {
        copy(a->crc32c, sizeof a->crc32c, v, n);
    } else if (is(name, name_n, "x-amz-bucket-region")) {
        copy(a->region, sizeof a->region, v, n);
    } else if (is(name, name_n, "x-amz-server-side-encryption") ||
               is(name, name_n, "x-amz-server-side-encryption-customer-algorithm")) {
        a->encrypted = n > 0 && strncmp(v, "AES256", n) != 0;
    }
}

size_t s3_on_header(char *p, size_t size, size_t count, void *arg)
{
    struct s3_op *op = arg;
    size_t total = size * count, n = total;
    while (n > 0 && (p[n - 1] == '\r' || p[n - 1] == '\n' || p[n - 1] == ' '))
        n--;
    if (n >= 5 && memcmp(p, "HTTP/", 5) == 0) {
        char line[32];
        copy(line, sizeof line, p, FLOE_MIN(n, sizeof line - 1));
        const char *code = line + strcspn(line, " ");
        uint64_t status = 0;
        op->answer = (struct s3_answer){.range_size = UINT64_MAX};
        code += *code == ' ';
        if (digits(&code, &status) && status < 1000)
            op->answer.status = (long)status;
        return total;
    }
    const char *colon = memchr(p, ':', n);
    if (!colon)
        return total;
    const char *v = colon + 1;
    while (v < p + n && (*v == ' ' || *v == '\t'))
        v++;
    s3_answer_header(&op->answer, p, (size_t)(colon - p), v, (size_t)(p + n - v));
    return total;
}

/* ---- bodies ---- */

static bool good(const struct s3_answer *a)
{
    return a->status >= 200 && a->status < 300;
}

bool s3_data_begin(struct s3_op *op, uint64_t bytes)
{
    op->data = floe_buf_create_forced(bytes, op->s->base.budget);
    op->piece_crc = op->data && op->pieces ? floe_store_pieces_new(bytes) : NULL;
    op->pieces_done = 0;
    return op->data != NULL;
}

void s3_data_came(struct s3_op *op, size_t n)
{
    op->data->n += n;
    if (op->piece_crc)
        floe_store_note_pieces(op->piece_crc, &op->pieces_done, op->data);
}

static size_t take_data(struct s3_op *op, const char *p, size_t n)
{
    if (!op->data) {
        uint64_t cap = op->length;
        if (op->answer.has_length && op->answer.length < cap)
            cap = op->answer.length;
        op->no_memory = !s3_data_begin(op, cap ? cap : 1);
        if (op->no_memory)
            return 0;
    }
    if (n > op->data->cap - op->data->n || op->data->n + n > op->length) {
        op->too_long = true;
        return 0;
    }
    memcpy(op->data->data + op->data->n, p, n);
    s3_data_came(op, n);
    return n;
}

size_t s3_on_body(char *p, size_t size, size_t count, void *arg)
{
    struct s3_op *op = arg;
    size_t n = size * count;
    op->came += n;
    if (op->kind == FLOE_STORE_GET && good(&op->answer))
        return take_data(op, p, n);
    if (!good(&op->answer) && op->text.n + n > S3_ERROR_TEXT_MAX)
        return n; /* enough was kept for a sentence */
    floe_write(&op->text, p, n);
    if (op->text.bad)
        op->too_long = true;
    return op->text.bad ? 0 : n;
}

/* ---- checks of what was read ---- */

static bool crc_matches(const struct s3_op *op)
{
    uint8_t raw[8];
    /* Four bytes in base64; anything else ("...-2", of parts) is not a checksum of the whole. */
    if (strlen(op->answer.crc32c) != 8 || EVP_DecodeBlock(raw, (const uint8_t *)op->answer.crc32c, 8) != 6)
        return true;
    return floe_be32(raw) == floe_crc32c(0, op->data->data, op->data->n);
}

/* An ETag of 32 hex digits is the MD5 of the bytes, unless the store has its own idea of it (encryption):
 * seen when a second reading of the same bytes does not fit either. */
static bool md5_matches(struct s3_op *op)
{
    uint8_t want[16], got[16];
    unsigned n = 0;
    if (op->answer.encrypted || atomic_load(&op->s->etag_is_not_md5) || strlen(op->answer.etag) != 32 ||
        !floe_hex_decode(want, op->answer.etag, sizeof want))
        return true;
    if (EVP_Digest(op->data->data, op->data->n, got, &n, EVP_md5(), NULL) != 1 || n != sizeof got)
        return true; /* no MD5 in this OpenSSL (FIPS) */
    if (memcmp(want, got, sizeof got) == 0)
        return true;
    if (op->has_seen_md5 && memcmp(op->seen_md5, got, sizeof got) == 0) {
        atomic_store(&op->s->etag_is_not_md5, true);
        return true;
    }
    memcpy(op->seen_md5, got, sizeof got);
    op->has_seen_md5 = true;
    if (op->attempts <= op->tries)
        op->attempts = op->tries + 1; /* the second reading decides */
    return false;
}

static enum floe_err corrupt(struct s3_op *op, const char *what)
{
    return floe_error_set(&op->err, FLOE_ECORRUPT, "%s: object \"%s\": %s", op->s->base.url, op->key, what);
}

static enum floe_err no_data(struct s3_op *op)
{
    if (!op->data)
        op->data = floe_buf_create_forced(1, op->s->base.budget);
    if (!op->data)
        return floe_error_set(&op->err, FLOE_ENOMEM, "%s: no memory for an answer", op->s->base.url);
    op->data->n = 0;
    return FLOE_OK;
}

/* 416: nothing lies in the range. The size is in Content-Range, in the XML, or not told. */
static void judge_nothing(struct s3_op *op)
{
    struct s3_error_text t;
    memcpy(op->version, op->answer.etag, sizeof op->version);
    s3_parse_error(&t, (const char *)op->text.p, op->text.n);
    op->size = op->answer.range_size;
    if (op->size == UINT64_MAX && floe_str_parse_u64(t.size, &op->size, NULL) != FLOE_OK)
        op->size = 0;
    (void)no_data(op);
}

static enum floe_err judge_get(struct s3_op *op)
{
    const struct s3_answer *a = &op->answer;
    if (!op->data && no_data(op) != FLOE_OK)
        return op->err.code;
    uint64_t n = op->data->n;
    if (a->status == 206 && n == 0 && !a->has_range && op->offset < 0) {
        op->size = 0; /* the tail of an empty object: MinIO says "bytes 0--1/0" */
    } else if (a->status == 206) {
        if (!a->has_range || a->range_to - a->range_from + 1 != n)
            return corrupt(op, "the answer is not as long as its Content-Range says");
        if (op->offset >= 0 ? a->range_from != (uint64_t)op->offset : a->range_to + 1 != a->range_size)
            return corrupt(op, "the answer is another range than asked for");
        if (op->offset < 0 && n != FLOE_MIN((uint64_t)-op->offset, a->range_size))
            return corrupt(op, "the answer is shorter than asked for");
        if (op->offset >= 0 && n != FLOE_MIN(op->length, a->range_size - a->range_from))
            return corrupt(op, "the answer is shorter than asked for");
        op->size = a->range_size;
    } else {
        /* The whole object, instead of a range of it: right when that is what the range came to. */
        if (op->offset > 0 || (op->offset < 0 && n > (uint64_t)-op->offset))
            return floe_error_set(&op->err, FLOE_EUNSUPPORTED, "%s: the store ignores Range",
                                  op->s->base.url);
        op->size = n;
    }
    if (n == op->size && n > 0 && n <= S3_CHECKED_MAX) {
        if (!crc_matches(op))
            return corrupt(op, "its bytes do not fit the checksum the store sent");
        if (op->answer.crc32c[0] == '\0' && !md5_matches(op))
            return corrupt(op, "its bytes do not fit its ETag");
    }
    return FLOE_OK;
}

static enum floe_err judge_good(struct s3_op *op)
{
    const struct s3_answer *a = &op->answer;
    memcpy(op->version, a->etag, sizeof op->version);
    switch (op->kind) {
    case FLOE_STORE_PUT:
        if (a->etag[0] == '\0')
            return floe_error_set(&op->err, FLOE_EINDETERMINATE, "%s: object \"%s\": an answer without ETag",
                                  op->s->base.url, op->key);
        return FLOE_OK;
    case FLOE_STORE_GET:
        return judge_get(op);
    case FLOE_STORE_HEAD:
        op->size = a->has_length ? a->length : 0;
        return FLOE_OK;
    case FLOE_STORE_LIST:
        return s3_parse_list(op);
    case FLOE_STORE_DELETE:
        return op->key_count > 0 ? s3_parse_deleted(op) : FLOE_OK;
    }
    return FLOE_OK;
}

void s3_answer_judge(struct s3_op *op, CURLcode code)
{
    struct s3_answer *a = &op->answer;
    op->err = (struct floe_error){0};
    if (op->too_long) {
        floe_error_set(&op->err, FLOE_ETOOLARGE, "%s: object \"%s\": the answer is longer than asked for",
                       op->s->base.url, op->key);
    } else if (op->no_memory) {
        floe_error_set(&op->err, FLOE_ENOMEM, "%s: object \"%s\": no memory for the answer", op->s->base.url,
                       op->key);
    } else if (code == CURLE_OK && good(a)) {
        (void)judge_good(op);
    } else if (op->kind == FLOE_STORE_GET && a->status == 416 && code == CURLE_OK) {
        judge_nothing(op);
    } else if (a->status >= 300) {
        s3_refusal(op); /* a clear word, whatever became of the connection after it */
    } else {
        s3_broken(op, code);
    }
    if (op->err.code != FLOE_OK && op->err.code != FLOE_ECORRUPT) {
        floe_buf_unref(op->data);
        op->data = NULL;
    }
}
