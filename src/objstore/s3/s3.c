/* The `s3` driver, loop side: create, submit, cancel, close. */
#include "s3_int.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define RETRY_TOKENS_START 200 /* twenty retries in a row */

static void op_free(struct s3_op *op)
{
    struct s3_store *s = op->s;
    floe_list_remove(&op->all);
    s->open_count--;
    if (op->lane)
        op->lane->load--;
    floe_store_body_drop(&op->body);
    floe_buf_unref(op->data);
    free(op->piece_crc);
    floe_arena_fini(&op->arena);
    free(op->keys);
    free(op);
}

static void store_free(struct s3_store *s)
{
    for (int i = 0; i < S3_LANES; i++) {
        if (s->lanes[i].multi)
            curl_multi_cleanup(s->lanes[i].multi);
        free(s->lanes[i].waits);
        pthread_mutex_destroy(&s->lanes[i].lock);
    }
    pthread_mutex_destroy(&s->trouble_lock);
    explicit_bzero(&s->cred, sizeof s->cred);
    free(s);
}

static void maybe_closed(struct s3_store *s)
{
    if (!s->threads_gone || !floe_list_empty(&s->open))
        return;
    void (*closed)(void *) = s->closed;
    void *user = s->closed_user;
    store_free(s);
    closed(user);
}

static void join_all(struct s3_store *s)
{
    for (int i = 0; i < S3_LANES; i++) {
        if (s->lanes[i].started)
            pthread_join(s->lanes[i].thread, NULL);
    }
}

static void on_exit_task(struct floe_task *t)
{
    struct s3_store *s = t->user;
    join_all(s);
    s->threads_gone = true;
    maybe_closed(s);
}

static void answer(struct floe_store_req *r, struct s3_op *op)
{
    r->driver = NULL;
    r->err = op->err;
    memcpy(r->version, op->version, sizeof r->version);
    memcpy(r->got_nonce, op->answer.nonce, sizeof r->got_nonce);
    r->size = op->size;
    r->sent = op->sent;
    if (r->err.code == FLOE_OK) {
        r->data = op->data;
        r->piece_crc = op->piece_crc;
        op->piece_crc = NULL;
        r->arena = op->arena;
        r->entries = op->entries;
        r->entry_count = op->entry_count;
        r->truncated = op->truncated;
        op->data = NULL;
        op->arena = (struct floe_arena){0};
    } else {
        r->version[0] = r->got_nonce[0] = '\0';
        atomic_fetch_add_explicit(&op->s->base.stats.errors, 1, memory_order_relaxed);
    }
    r->done(r);
}

static void on_op_task(struct floe_task *t)
{
    struct s3_op *op = t->user;
    struct s3_store *s = op->s;
    struct floe_store_req *r = op->req;
    op->req = NULL;
    if (r)
        answer(r, op);
    op_free(op);
    if (s->closing)
        maybe_closed(s);
}

/* The body of a batch delete, as the op's body. */
static enum floe_err delete_body(struct s3_op *op, const struct floe_store_req *r)
{
    struct floe_writer w;
    static const char head[] =
        "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>";
    floe_writer_init(&w, (size_t)FLOE_STORE_LIST_MAX * (FLOE_STORE_KEY_MAX + S3_PREFIX_MAX) * 6);
    floe_write(&w, head, sizeof head - 1);
    for (uint32_t i = 0; i < r->key_count; i++) {
        const char *parts[] = {op->s->prefix, r->keys[i]};
        floe_write(&w, "<Object><Key>", 13);
        for (size_t k = 0; k < FLOE_COUNTOF(parts); k++) {
            for (const char *c = parts[k]; *c; c++) {
                char number[12];
                if (*c == '<' || *c == '>' || *c == '&' || (unsigned char)*c < ' ')
                    floe_write(&w, number, (size_t)snprintf(number, sizeof number, "&#%d;", *c));
                else
                    floe_write_u8(&w, (uint8_t)*c);
            }
        }
        floe_write(&w, "</Key></Object>", 15);
    }
    floe_write(&w, "</Delete>", 9);
    enum floe_err rc = FLOE_OK;
    struct floe_bufslice b = {.p = w.p, .n = w.n};
    if (w.bad)
        rc = floe_error_set(&op->err, FLOE_ENOMEM, "no memory for a batch delete");
    else
        rc = floe_store_body_hold(&op->body, &b, 1, &op->err);
    floe_writer_fini(&w);
    op->key_count = r->key_count;
    return rc;
}

static enum floe_err op_fill(struct s3_op *op, const struct floe_store_req *r)
{
    if (floe_store_req_check(r, &op->err) != FLOE_OK)
        return op->err.code;
    op->max_keys = r->max_keys;
    op->offset = r->offset;
    op->length = r->length;
    op->pieces = r->pieces;
    op->attempts = r->attempts ? r->attempts : 1;
    op->try_us = r->kind == FLOE_STORE_PUT || r->kind == FLOE_STORE_DELETE ? 0 : r->try_us;
    memcpy(op->start_after, r->start_after, sizeof op->start_after);
    memcpy(op->if_version, r->if_version, sizeof op->if_version);
    memcpy(op->nonce, r->nonce, sizeof op->nonce);
    if (op->kind == FLOE_STORE_DELETE && r->key_count > 0)
        return delete_body(op, r);
    if (op->kind == FLOE_STORE_PUT)
        return floe_store_body_hold(&op->body, r->body, r->body_count, &op->err);
    return FLOE_OK;
}

static struct s3_lane *pick_lane(struct s3_store *s, enum floe_store_class cls)
{
    struct s3_lane *best = &s->lanes[1];
    if (cls == FLOE_STORE_CONTROL)
        return &s->lanes[0];
    for (int i = 2; i < S3_LANES; i++) {
        if (s->lanes[i].load < best->load)
            best = &s->lanes[i];
    }
    return best;
}

static void enqueue(struct s3_op *op, enum floe_store_class cls)
{
    struct s3_lane *l = pick_lane(op->s, cls);
    op->lane = l;
    l->load++;
    pthread_mutex_lock(&l->lock);
    floe_list_push_back(&l->incoming, &op->link);
    pthread_mutex_unlock(&l->lock);
    curl_multi_wakeup(l->multi);
}

static void s3_submit(struct floe_store *base, struct floe_store_req *r)
{
    struct s3_store *s = FLOE_CONTAINER(base, struct s3_store, base);
    struct s3_op *op = calloc(1, sizeof *op);
    FLOE_ASSERT(op != NULL);
    op->s = s;
    op->req = r;
    op->kind = r->kind;
    op->cond = r->cond;
    op->urgent = r->urgent;
    op->timeout_us = r->timeout_us ? r->timeout_us : FLOE_STORE_TIMEOUT_US_DEFAULT;
    op->deadline_us = s3_now_us() + op->timeout_us;
    op->task = (struct floe_task){.fn = on_op_task, .user = op};
    memcpy(op->key, r->key, sizeof op->key);
    op->key[sizeof op->key - 1] = '\0';
    floe_list_push_back(&s->open, &op->all);
    s->open_count++;
    floe_store_req_fini(r);
    r->driver = op;
    floe_store_count(base, r->kind);
    enum floe_err rc = op_fill(op, r);
    if (rc == FLOE_OK && s->closing)
        rc = floe_error_set(&op->err, FLOE_ECLOSED, "%s: the store is closed", base->url);
    if (rc == FLOE_OK && s->open_count > S3_QUEUED_MAX)
        rc = floe_error_set(&op->err, FLOE_EUNAVAILABLE, "%s: more than %u requests wait", base->url,
                            S3_QUEUED_MAX);
    if (rc != FLOE_OK)
        floe_loop_post(base->loop, &op->task);
    else
        enqueue(op, r->cls);
}

static void s3_cancel(struct floe_store *base, struct floe_store_req *r)
{
    struct s3_op *op = r->driver;
    (void)base;
    if (!op)
        return;
    FLOE_ASSERT(op->req == r);
    op->req = NULL;
    r->driver = NULL;
    atomic_store(&op->cancelled, true);
    if (op->lane) {
        atomic_store(&op->lane->sweep, true);
        curl_multi_wakeup(op->lane->multi);
    }
}

static void stop_lanes(struct s3_store *s)
{
    for (int i = 0; i < S3_LANES; i++) {
        struct s3_lane *l = &s->lanes[i];
        pthread_mutex_lock(&l->lock);
        l->stopping = true;
        /* Under the lock: the thread frees the handle only after it has seen `stopping`. */
        if (l->started)
            curl_multi_wakeup(l->multi);
        pthread_mutex_unlock(&l->lock);
    }
}

static void s3_close(struct floe_store *base, void (*closed)(void *), void *user)
{
    struct s3_store *s = FLOE_CONTAINER(base, struct s3_store, base);
    FLOE_ASSERT(!s->closing);
    s->closing = true;
    s->closed = closed;
    s->closed_user = user;
    FLOE_LIST_EACH(it, &s->open)
    {
        struct s3_op *op = FLOE_LIST_ENTRY(it, struct s3_op, all);
        if (op->req)
            op->req->driver = NULL;
        op->req = NULL;
        atomic_store(&op->cancelled, true);
    }
    stop_lanes(s);
}

static void s3_trouble(struct floe_store *base, struct floe_store_trouble *out)
{
    struct s3_store *s = FLOE_CONTAINER(base, struct s3_store, base);
    out->since_us = atomic_load(&s->trouble_since_us);
    if (out->since_us == 0)
        return;
    pthread_mutex_lock(&s->trouble_lock);
    out->last = s->trouble;
    pthread_mutex_unlock(&s->trouble_lock);
}

static const struct floe_store_ops ops = {
    .name = "s3", .submit = s3_submit, .cancel = s3_cancel, .close = s3_close, .trouble = s3_trouble};

/* ---- create ---- */

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && strcasecmp(s + n - k, tail) == 0;
}

/* A name that only begins so ("localhost-minio") may be any machine's. */
static bool is_loopback(const char *host)
{
    size_t n = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    return (n == 9 && strncasecmp(host, "localhost", n) == 0) || (n == 5 && memcmp(host, "[::1]", n) == 0) ||
           (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == n);
}

/* Takes scheme and host apart. */
static enum floe_err set_endpoint(struct s3_store *s, const struct floe_store_s3_config *cfg,
                                  struct floe_error *err)
{
    char derived[128];
    const char *url = cfg->endpoint && cfg->endpoint[0] ? cfg->endpoint : NULL;
    if (!url) {
        snprintf(derived, sizeof derived, "https://s3.%s.amazonaws.com%s", s->region,
                 strncmp(s->region, "cn-", 3) == 0 ? ".cn" : "");
        url = derived;
    }
    if (strncasecmp(url, "https://", 8) == 0)
        s->tls = true;
    else if (strncasecmp(url, "http://", 7) != 0)
        return floe_error_set(err, FLOE_EINVAL,
                              "the S3 endpoint \"%.200s\" is not of the form http(s)://host[:port]", url);
    const char *host = strstr(url, "://") + 3;
    size_t n = strcspn(host, "/?#@");
    if (n == 0 || n + sizeof s->bucket + 2 > sizeof s->host ||
        (host[n] != '\0' && strcmp(host + n, "/") != 0))
        return floe_error_set(err, FLOE_EINVAL,
                              "the S3 endpoint \"%.200s\" is not of the form http(s)://host[:port]", url);
    char plain[S3_HOST_MAX];
    snprintf(plain, sizeof plain, "%.*s", (int)n, host);
    /* The port that the scheme implies is not part of Host. */
    const char *implied = s->tls ? ":443" : ":80";
    if (ends_with(plain, implied))
        plain[n - strlen(implied)] = '\0';
    s->loopback = is_loopback(plain);
    s->sign_payload = s->tls ? cfg->sign_payload_tls : !s->loopback;
    s->aws = strstr(plain, ".amazonaws.com") != NULL;
    s->virtual_host = cfg->virtual_host && !(s->tls && s->aws && strchr(s->bucket, '.'));
    if (s->virtual_host)
        snprintf(s->host, sizeof s->host, "%s.%.*s", s->bucket, (int)(sizeof s->host - sizeof s->bucket - 2),
                 plain);
    else
        snprintf(s->host, sizeof s->host, "%s", plain);
    snprintf(s->endpoint, sizeof s->endpoint, "%s://%s", s->tls ? "https" : "http", s->host);
    return FLOE_OK;
}

/* Read as curl will, so that a start says at once what each connection would fail with. */
static enum floe_err check_ca(const char *file, struct floe_error *err)
{
    BIO *in;
    X509_STORE *into;
    bool holds;
    errno = 0;
    if (!file || !file[0])
        return FLOE_OK;
    if (!(in = BIO_new_file(file, "r")))
        return floe_error_set(err, FLOE_EINVAL, "the certificates of --s3-ca \"%.200s\" cannot be read: %s",
                              file, errno ? strerror(errno) : "not a file");
    BIO_free(in);
    into = X509_STORE_new();
    holds = into && X509_STORE_load_file(into, file) == 1;
    X509_STORE_free(into);
    ERR_clear_error();
    return holds ? FLOE_OK
                 : floe_error_set(
                       err, FLOE_EINVAL,
                       "--s3-ca \"%.200s\" holds no certificate that could be read: it must be PEM, with "
                       "-----BEGIN CERTIFICATE----- lines",
                       file);
}

static enum floe_err set_names(struct s3_store *s, const struct floe_store_s3_config *cfg,
                               struct floe_error *err)
{
    const char *b = cfg->bucket, *p = cfg->prefix ? cfg->prefix : "";
    size_t bn = b ? strlen(b) : 0, pn = strlen(p);
    if (bn < 3 || bn >= sizeof s->bucket ||
        strspn(b, "abcdefghijklmnopqrstuvwxyz0123456789.-_ABCDEFGHIJKLMNOP"
                  "QRSTUVWXYZ") != bn)
        return floe_error_set(err, FLOE_EINVAL, "\"%.100s\" is not the name of a bucket", b ? b : "");
    if (pn + 2 > sizeof s->prefix || (pn > 0 && !floe_store_key_ok(p, false)))
        return floe_error_set(err, FLOE_EINVAL,
                              "the prefix \"%.100s\" is empty in part or longer than %d bytes", p,
                              S3_PREFIX_MAX - 2);
    snprintf(s->bucket, sizeof s->bucket, "%s", b);
    snprintf(s->prefix, sizeof s->prefix, "%s%s", p, pn > 0 ? "/" : "");
    snprintf(s->region, sizeof s->region, "%s", cfg->region && cfg->region[0] ? cfg->region : "us-east-1");
    snprintf(s->ca_file, sizeof s->ca_file, "%s", cfg->ca_file ? cfg->ca_file : "");
    snprintf(s->base.url, sizeof s->base.url, "s3://%.120s%s%.120s", b, pn ? "/" : "", p);
    if (cfg->credentials.access_key[0] == '\0' || cfg->credentials.secret_key[0] == '\0')
        return floe_error_set(err, FLOE_EDENIED,
                              "%s: no credentials: set AWS_ACCESS_KEY_ID and "
                              "AWS_SECRET_ACCESS_KEY",
                              s->base.url);
    s->cred = cfg->credentials;
    return FLOE_OK;
}

static bool lane_init(struct s3_store *s, int i, uint32_t connections)
{
    struct s3_lane *l = &s->lanes[i];
    l->s = s;
    l->connections = connections;
    l->reserved = i == 0 ? S3_CONTROL_URGENT : 0;
    l->next_deadline_us = UINT64_MAX;
    floe_list_init(&l->waiting);
    floe_list_init(&l->active);
    floe_rng_init(&l->rng, floe_rng_u64(&s->base.loop->rng));
    floe_sigv4_signer_init(&l->signer, s->cred.access_key, s->cred.secret_key, s->region, "s3");
    l->multi = curl_multi_init();
    l->waits = calloc(connections, sizeof *l->waits);
    if (!l->multi || !l->waits)
        return false;
    curl_multi_setopt(l->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, (long)connections * 2); /* half of them of direct.c */
    return true;
}

static bool start_lanes(struct s3_store *s, uint32_t connections)
{
    sigset_t all, before;
    bool ok = true;
    uint32_t data = FLOE_MAX(connections / (S3_LANES - 1), 1u);
    for (int i = 0; i < S3_LANES && ok; i++)
        ok = lane_init(s, i, i == 0 ? S3_CONTROL_CONNECTIONS : data);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    atomic_store(&s->running, 1); /* ours: no thread is the last one to leave before all are started */
    for (int i = 0; i < S3_LANES && ok; i++) {
        struct s3_lane *l = &s->lanes[i];
        atomic_fetch_add(&s->running, 1);
        l->started = ok = pthread_create(&l->thread, NULL, s3_lane_main, l) == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (ok) {
        atomic_fetch_sub(&s->running, 1);
        return true;
    }
    stop_lanes(s);
    join_all(s);
    return false;
}

static bool curl_ok;
static void curl_once(void)
{
    curl_ok = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

enum floe_err floe_store_s3_create(struct floe_store **out, struct floe_loop *loop,
                                   const struct floe_store_s3_config *cfg, struct floe_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct floe_error why = {0};
    struct s3_store *s = calloc(1, sizeof *s);
    if (!s)
        return floe_error_set(err, FLOE_ENOMEM, "no memory for the S3 store");
    pthread_once(&once, curl_once);
    s->base = (struct floe_store){.ops = &ops, .loop = loop};
    s->exit_task = (struct floe_task){.fn = on_exit_task, .user = s};
    atomic_store(&s->retry_tokens, RETRY_TOKENS_START);
    floe_list_init(&s->open);
    pthread_mutex_init(&s->trouble_lock, NULL);
    for (int i = 0; i < S3_LANES; i++) {
        floe_list_init(&s->lanes[i].incoming);
        pthread_mutex_init(&s->lanes[i].lock, NULL); /* never fails on Linux */
    }
    enum floe_err rc = set_names(s, cfg, &why);
    if (rc == FLOE_OK)
        rc = set_endpoint(s, cfg, &why);
    if (rc == FLOE_OK)
        rc = check_ca(cfg->ca_file, &why);
    s->base.free_puts = !s->aws;
    if (rc == FLOE_OK &&
        (!curl_ok ||
         !start_lanes(s, FLOE_MIN(cfg->connections ? cfg->connections : S3_DATA_CONNECTIONS, 1024u))))
        rc = floe_error_set(&why, FLOE_ENOMEM, "%s: cannot start its threads", s->base.url);
    if (rc != FLOE_OK) {
        store_free(s);
        return floe_error_set(err, rc, "%s", why.msg);
    }
    *out = &s->base;
    return FLOE_OK;
}
