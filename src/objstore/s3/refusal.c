/* What a refusal means: HTTP status and the error's XML, or curl's word on a broken transfer. */
#include "s3_int.h"

#include <errno.h>
#include <stdio.h>

static bool is_write(const struct s3_op *op)
{
    return op->kind == FLOE_STORE_PUT || op->kind == FLOE_STORE_DELETE;
}

/* Nobody knows whether it was applied; of a read: try again. */
static enum floe_err open_question(const struct s3_op *op)
{
    return is_write(op) ? FLOE_EINDETERMINATE : FLOE_EUNAVAILABLE;
}

static bool code_is(const struct s3_error_text *t, const char *const *codes)
{
    for (; *codes; codes++) {
        if (strcmp(t->code, *codes) == 0)
            return true;
    }
    return false;
}

static enum floe_err by_code(const struct s3_op *op, const struct s3_error_text *t)
{
    static const char *const full[] = {"XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded",
                                       "InsufficientCapacity", NULL};
    static const char *const denied[] = {"ExpiredToken", "InvalidToken", "InvalidAccessKeyId",
                                         "TokenRefreshRequired", NULL};
    static const char *const damaged[] = {"BadDigest",
                                          "InvalidDigest",
                                          "XAmzContentSHA256Mismatch",
                                          "XAmzContentChecksumMismatch",
                                          "IncompleteBody",
                                          NULL};
    if (code_is(t, full))
        return FLOE_ENOSPACE;
    if (strcmp(t->code, "NoSuchBucket") == 0 && op->kind != FLOE_STORE_PUT)
        return FLOE_EDENIED; /* no word on the object: a disk that is not mounted takes the bucket with it */
    if (code_is(t, denied))
        return FLOE_EDENIED;
    if (code_is(t, damaged))
        return FLOE_EUNAVAILABLE; /* damaged on the way and not applied */
    if (strcmp(t->code, "RequestTimeout") == 0 || strcmp(t->code, "SlowDown") == 0)
        return open_question(op);
    if (strcmp(t->code, "NotImplemented") == 0)
        return FLOE_EUNSUPPORTED;
    return FLOE_OK;
}

static enum floe_err by_status(const struct s3_op *op, const struct s3_error_text *t)
{
    bool replace = op->kind == FLOE_STORE_PUT && op->cond == FLOE_PUT_REPLACE;
    switch (op->answer.status) {
    case 401:
    case 403:
        return FLOE_EDENIED;
    case 404:
        return replace && strcmp(t->code, "NoSuchBucket") != 0 ? FLOE_ECONFLICT : FLOE_ENOTFOUND;
    case 405:
    case 501:
        return FLOE_EUNSUPPORTED;
    case 408:
    case 409:
    case 429:
        return open_question(op);
    case 412:
        return op->cond == FLOE_PUT_CREATE ? FLOE_EEXISTS : FLOE_ECONFLICT;
    case 507:
        return FLOE_ENOSPACE;
    default:
        return op->answer.status >= 500 ? open_question(op) : FLOE_EIO;
    }
}

/* The bucket is elsewhere: 301, 307, or 400 AuthorizationHeaderMalformed with the region to sign for. */
static bool elsewhere(struct s3_op *op, const struct s3_error_text *t)
{
    const char *region = t->region[0] ? t->region : op->answer.region;
    long st = op->answer.status;
    if ((st < 300 || st >= 400) && strcmp(t->code, "AuthorizationHeaderMalformed") != 0)
        return false;
    if (region[0] && strcmp(region, op->s->region) != 0)
        floe_error_set(&op->err, FLOE_EINVAL, "bucket %s is in region %s, not %s: set --s3-region %s",
                       op->s->bucket, region, op->s->region, region);
    else
        floe_error_set(&op->err, FLOE_EINVAL,
                       "%s answers %ld %s for bucket %s: check --s3-endpoint and --s3-region (%s now)",
                       op->s->endpoint, st, t->code, op->s->bucket, op->s->region);
    return true;
}

/* An S3 server names the error in XML, where an answer has a body. Who does not is something else that
 * listens there (a web server, a proxy's page): what it says of an object is no fact. */
static bool no_s3(struct s3_op *op, const struct s3_error_text *t)
{
    long st = op->answer.status;
    if (t->code[0] || op->kind == FLOE_STORE_HEAD || (st != 400 && st != 404 && st != 405 && st != 501))
        return false;
    floe_error_set(&op->err,
                   st == 404   ? open_question(op)
                   : st == 400 ? FLOE_EIO
                               : FLOE_EUNSUPPORTED,
                   "%s answers HTTP %ld without an S3 error: is that an S3 server%s? check --s3-endpoint",
                   op->s->endpoint, st, st == 400 && !op->s->tls ? ", or one that wants https://" : "");
    return true;
}

void s3_refusal(struct s3_op *op)
{
    struct s3_error_text t = {0};
    struct s3_store *s = op->s;
    if (op->text.n > 0)
        s3_parse_error(&t, (const char *)op->text.p, op->text.n);
    if (elsewhere(op, &t) || no_s3(op, &t))
        return;
    enum floe_err code = by_code(op, &t);
    if (code == FLOE_OK)
        code = by_status(op, &t);
    if (op->kind == FLOE_STORE_DELETE && op->answer.status == 404 && strcmp(t.code, "NoSuchBucket") != 0 &&
        op->key_count == 0)
        return; /* gone already */
    if (strcmp(t.code, "NoSuchBucket") == 0)
        floe_error_set(&op->err, code, "bucket %s is not there (%s): create it, or check --s3-endpoint",
                       s->bucket, s->endpoint);
    else if (code == FLOE_ENOTFOUND)
        floe_error_set(&op->err, code, "%s: object \"%s\" is not there", s->base.url, op->key);
    else if (strcmp(t.code, "RequestTimeTooSkewed") == 0)
        floe_error_set(&op->err, code, "%s: this machine's clock is too far from the store's: %s",
                       s->endpoint, t.message);
    else if (strcmp(t.code, "AccessDenied") == 0)
        floe_error_set(
            &op->err, code,
            "%s: object \"%s\": HTTP %ld AccessDenied: does bucket %s exist, and do its policy and that "
            "of these keys let them list it, and read, write and delete below the prefix?",
            s->base.url, op->key, op->answer.status, s->bucket);
    else
        floe_error_set(&op->err, code, "%s: object \"%s\": HTTP %ld%s%s%s%s", s->base.url, op->key,
                       op->answer.status, t.code[0] ? " " : "", t.code, t.message[0] ? ": " : "", t.message);
}

void s3_broken(struct s3_op *op, CURLcode code)
{
    struct s3_store *s = op->s;
    const char *why = op->curl_error[0] ? op->curl_error : curl_easy_strerror(code);
    long os = 0;
    curl_easy_getinfo(op->easy, CURLINFO_OS_ERRNO, &os);
    if (op->wire_tries == 0) {
        /* It never reached a connection. */
        if (code == CURLE_COULDNT_CONNECT && os == ECONNREFUSED)
            floe_error_set(&op->err, FLOE_EREFUSED, "nobody listens at %s: is the store up?", s->endpoint);
        else if (code == CURLE_COULDNT_RESOLVE_HOST)
            floe_error_set(&op->err, FLOE_EUNAVAILABLE, "%s: the name cannot be resolved: %s", s->endpoint,
                           why);
        else if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
            floe_error_set(&op->err, FLOE_EDENIED,
                           "%s: its certificate is not trusted (%s): name its authority with --s3-ca",
                           s->endpoint, why);
        else if (strncmp(s->endpoint, "https:", 6) == 0 && strstr(why, "wrong version number") != NULL)
            floe_error_set(&op->err, FLOE_EUNAVAILABLE,
                           "%s: the server does not speak TLS: write http:// in --s3-endpoint", s->endpoint);
        else
            floe_error_set(&op->err, FLOE_EUNAVAILABLE, "%s: no connection: %s", s->endpoint, why);
        return;
    }
    enum floe_err kind = open_question(op);
    if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_WEIRD_SERVER_REPLY) {
        floe_error_set(
            &op->err, kind,
            "%s: what listens there does not speak HTTP (%s): is that an S3 server? check --s3-endpoint",
            s->endpoint, why);
        return;
    }
    if (code == CURLE_OPERATION_TIMEDOUT && !is_write(op))
        kind = FLOE_ETIMEOUT;
    if (code == CURLE_PARTIAL_FILE && op->kind == FLOE_STORE_GET)
        kind = FLOE_ECORRUPT;
    floe_error_set(&op->err, kind, "%s: object \"%s\": the connection to %s broke: %s", s->base.url, op->key,
                   s->endpoint, why);
}
