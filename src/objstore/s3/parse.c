/* The three documents that S3 answers with: ListBucketResult, DeleteResult, Error. */
#include "s3_int.h"

#include <floe/base/str.h>
#include <stdio.h>
#include <stdlib.h>

/* Appends text to a fixed field, cut where it is full. */
static void take(char *out, size_t cap, const char *text)
{
    size_t n = strlen(out), more = strlen(text);
    more = FLOE_MIN(more, cap - 1 - n);
    memcpy(out + n, text, more);
    out[n + more] = '\0';
}

void s3_parse_error(struct s3_error_text *out, const char *text, size_t n)
{
    struct s3_xml x;
    *out = (struct s3_error_text){0};
    s3_xml_init(&x, text, n);
    for (;;) {
        switch (s3_xml_next(&x)) {
        case S3_XML_START:
        case S3_XML_END:
            break;
        case S3_XML_TEXT: {
            const char *in = x.open[x.depth - 1];
            if (x.depth != 2)
                break;
            if (strcmp(in, "Code") == 0)
                take(out->code, sizeof out->code, x.text);
            else if (strcmp(in, "Message") == 0)
                take(out->message, sizeof out->message, x.text);
            else if (strcmp(in, "Region") == 0)
                take(out->region, sizeof out->region, x.text);
            else if (strcmp(in, "ActualObjectSize") == 0)
                take(out->size, sizeof out->size, x.text);
            break;
        }
        case S3_XML_DONE:
        case S3_XML_BAD:
            return;
        }
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* encoding-type=url: percent escapes, and a plus for a space. In place; false on a broken escape. */
static bool url_decode(char *s)
{
    char *to = s;
    for (; *s; s++) {
        if (*s == '+') {
            *to++ = ' ';
        } else if (*s == '%') {
            int hi = hex_digit(s[1]), lo = hi < 0 ? -1 : hex_digit(s[2]);
            if (lo < 0 || (hi == 0 && lo == 0))
                return false;
            *to++ = (char)(hi * 16 + lo);
            s += 2;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
    return true;
}

struct list_state {
    char key[S3_XML_TEXT_MAX + 1], etag[FLOE_STORE_VERSION_MAX + 16], size[24], truncated[8], encoding[8];
    char last[S3_XML_TEXT_MAX + 1];
};

static enum floe_err bad_list(struct s3_op *op, const char *what)
{
    return floe_error_set(&op->err, FLOE_ECORRUPT, "%s: LIST of \"%s\": %s", op->s->base.url, op->key, what);
}

/* The element Contents has ended. */
static enum floe_err add_entry(struct s3_op *op, struct list_state *l)
{
    size_t prefix_n = strlen(op->s->prefix);
    uint64_t size;
    if (strcmp(l->encoding, "url") == 0 && !url_decode(l->key))
        return bad_list(op, "a key with a broken escape");
    if (l->last[0] && strcmp(l->key, l->last) <= 0)
        return floe_error_set(&op->err, FLOE_EUNSUPPORTED,
                              "%s: LIST of \"%s\" is not ordered by key (a directory bucket?)",
                              op->s->base.url, op->key);
    memcpy(l->last, l->key, strlen(l->key) + 1);
    if (floe_str_parse_u64(l->size, &size, NULL) != FLOE_OK)
        return bad_list(op, "an object without a size");
    const char *key = l->key + prefix_n;
    if (strncmp(l->key, op->s->prefix, prefix_n) != 0 || strncmp(key, op->key, strlen(op->key)) != 0)
        return bad_list(op, "a key that does not begin with the prefix");
    /* Not ours: the mark that a console makes of a "folder", keys longer than ours can be. */
    if (!floe_store_key_ok(key, false) || strcmp(key, op->start_after) <= 0)
        return FLOE_OK;
    if (op->entry_count == op->max_keys) {
        op->truncated = true;
        return FLOE_OK;
    }
    struct floe_store_entry *e = &op->entries[op->entry_count];
    e->key = floe_arena_strndup(&op->arena, key, strlen(key));
    if (!e->key)
        return floe_error_set(&op->err, FLOE_ENOMEM, "%s: no memory for a LIST", op->s->base.url);
    e->size = size;
    const char *v = l->etag;
    size_t n = strlen(v);
    if (n >= 2 && v[0] == '"' && v[n - 1] == '"') {
        v++;
        n -= 2;
    }
    snprintf(e->version, sizeof e->version, "%.*s", (int)FLOE_MIN(n, sizeof e->version - 1), v);
    op->entry_count++;
    return FLOE_OK;
}

/* Text of an element of interest goes to its field. */
static void list_text(struct list_state *l, const struct s3_xml *x)
{
    const char *in = x->open[x->depth - 1];
    if (x->depth == 3 && strcmp(x->open[1], "Contents") == 0) {
        if (strcmp(in, "Key") == 0)
            take(l->key, sizeof l->key, x->text);
        else if (strcmp(in, "Size") == 0)
            take(l->size, sizeof l->size, x->text);
        else if (strcmp(in, "ETag") == 0)
            take(l->etag, sizeof l->etag, x->text);
    } else if (x->depth == 2) {
        if (strcmp(in, "IsTruncated") == 0)
            take(l->truncated, sizeof l->truncated, x->text);
        else if (strcmp(in, "EncodingType") == 0)
            take(l->encoding, sizeof l->encoding, x->text);
    }
}

/* EncodingType may stand behind the keys: it is looked for first. */
static enum floe_err list_pass(struct s3_op *op, struct s3_xml *x, struct list_state *l, bool entries)
{
    s3_xml_init(x, op->text.p, op->text.n);
    for (;;) {
        enum floe_err rc = FLOE_OK;
        switch (s3_xml_next(x)) {
        case S3_XML_START:
            if (x->depth == 1 && strcmp(x->name, "ListBucketResult") != 0)
                return bad_list(op, "the answer is no ListBucketResult");
            if (x->depth == 2 && strcmp(x->name, "Contents") == 0)
                l->key[0] = l->etag[0] = l->size[0] = '\0';
            if (x->depth == 2 && strcmp(x->name, "IsTruncated") == 0)
                l->truncated[0] = '\0';
            if (x->depth == 2 && strcmp(x->name, "EncodingType") == 0)
                l->encoding[0] = '\0';
            break;
        case S3_XML_TEXT:
            list_text(l, x);
            break;
        case S3_XML_END:
            if (entries && x->depth == 1 && strcmp(x->name, "Contents") == 0)
                rc = add_entry(op, l);
            if (rc != FLOE_OK)
                return rc;
            break;
        case S3_XML_DONE:
            return FLOE_OK;
        case S3_XML_BAD:
            return bad_list(op, "the answer is not well-formed XML");
        }
    }
}

enum floe_err s3_parse_list(struct s3_op *op)
{
    struct s3_xml *x = malloc(sizeof *x);
    struct list_state *l = calloc(1, sizeof *l);
    enum floe_err rc = FLOE_ENOMEM;
    floe_arena_init(&op->arena,
                    (size_t)op->max_keys * (sizeof *op->entries + FLOE_STORE_KEY_MAX + 64) + 4096);
    op->entries = floe_arena_calloc(&op->arena, op->max_keys, sizeof *op->entries);
    op->entry_count = 0;
    op->truncated = false;
    if (!x || !l || !op->entries) {
        floe_error_set(&op->err, FLOE_ENOMEM, "%s: no memory for a LIST", op->s->base.url);
        goto out;
    }
    rc = list_pass(op, x, l, false);
    if (rc == FLOE_OK)
        rc = list_pass(op, x, l, true);
    if (rc == FLOE_OK && strcmp(l->truncated, "true") == 0)
        op->truncated = true;
    if (rc == FLOE_OK && op->truncated && op->entry_count == 0)
        rc = bad_list(op, "a page without keys that is not the last");
out:
    free(x);
    free(l);
    return rc;
}

enum floe_err s3_parse_deleted(struct s3_op *op)
{
    struct s3_xml x;
    char key[FLOE_STORE_KEY_MAX] = "", code[64] = "", message[128] = "";
    s3_xml_init(&x, op->text.p, op->text.n);
    for (;;) {
        switch (s3_xml_next(&x)) {
        case S3_XML_START:
            if (x.depth == 1 && strcmp(x.name, "DeleteResult") != 0)
                return floe_error_set(&op->err, FLOE_EUNSUPPORTED,
                                      "%s: batch delete: the answer is no DeleteResult", op->s->base.url);
            break;
        case S3_XML_TEXT:
            if (x.depth != 3 || strcmp(x.open[1], "Error") != 0)
                break;
            if (strcmp(x.open[2], "Key") == 0)
                take(key, sizeof key, x.text);
            else if (strcmp(x.open[2], "Code") == 0)
                take(code, sizeof code, x.text);
            else if (strcmp(x.open[2], "Message") == 0)
                take(message, sizeof message, x.text);
            break;
        case S3_XML_END:
            if (x.depth == 1 && strcmp(x.name, "Error") == 0) {
                if (strcmp(code, "NoSuchKey") != 0)
                    return floe_error_set(
                        &op->err, strcmp(code, "AccessDenied") == 0 ? FLOE_EDENIED : FLOE_EUNAVAILABLE,
                        "%s: batch delete of \"%s\": %s: %s", op->s->base.url, key, code, message);
                key[0] = code[0] = message[0] = '\0';
            }
            break;
        case S3_XML_DONE:
            return FLOE_OK;
        case S3_XML_BAD:
            return floe_error_set(&op->err, FLOE_EUNAVAILABLE,
                                  "%s: batch delete: the answer is not well-formed XML", op->s->base.url);
        }
    }
}
