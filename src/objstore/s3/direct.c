/* Large GETs, received straight into their buffer: libcurl would copy each byte once more, which is a fifth
 * of what a replay costs. libcurl opens the connection (names, TLS, certificates) and sends and receives on
 * it (CURLOPT_CONNECT_ONLY); request and head are written and read here.
 *
 * Rule: such an attempt brings all bytes of the range that was asked for, or a store's word that it is busy,
 * or it did not happen: whatever else comes (an error, another length, chunks, a broken or stale connection),
 * the connection is closed and the same attempt goes the ordinary way, which judges and words it. So nothing
 * but whole ranges has to be understood here. It is for attempts with a deadline of their own, which ends one
 * that stands still.
 *
 * States: CONNECTING → SENDING → HEAD → BODY → kept for the next one, or closed.
 */
#include "s3_int.h"

#include <stdlib.h>

#define DIRECT_MIN (256u * 1024)       /* shorter ones gain nothing */
#define DIRECT_TEXT (16u * 1024)       /* a request, or an answer's head */
#define DIRECT_TURN (1u << 20)         /* bytes, then the other transfers have their turn */
#define DIRECT_ONCE (256u * 1024)      /* bytes of one receive: still in the cache when their CRC is taken */
#define DIRECT_IDLE_US (20u * 1000000) /* a connection idle for longer is not used again */
#define DIRECT_PAUSE_US (30u * 1000000)

struct s3_direct {
    CURL *easy; /* in the lane's multi handle for as long as the connection is to last */
    curl_socket_t fd;
    enum { CONNECTING, SENDING, HEAD, BODY } phase;
    bool ready; /* its socket, or bytes that libcurl holds */
    uint64_t idle_since_us;
    size_t n, at; /* bytes of text; how many of them were sent */
    char text[DIRECT_TEXT];
};

bool s3_direct_wanted(const struct s3_op *op)
{
    return op->kind == FLOE_STORE_GET && op->offset >= 0 && op->length >= DIRECT_MIN && !op->no_direct &&
           op->try_deadline_us != UINT64_MAX && s3_now_us() >= op->lane->direct_from_us;
}

/* ---- connections ---- */

static void close_direct(struct s3_lane *l, struct s3_direct *d)
{
    curl_multi_remove_handle(l->multi, d->easy); /* closes the connection */
    curl_easy_cleanup(d->easy);
    free(d);
}

void s3_direct_close_kept(struct s3_lane *l, uint64_t idle_since_us)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < l->kept_count; i++) {
        if (l->kept[i]->idle_since_us <= idle_since_us)
            close_direct(l, l->kept[i]);
        else
            l->kept[left++] = l->kept[i];
    }
    l->kept_count = left;
}

static struct s3_direct *open_direct(struct s3_op *op)
{
    struct s3_direct *d = malloc(sizeof *d);
    CURL *easy = d ? curl_easy_init() : NULL;
    if (!easy) {
        free(d);
        return NULL;
    }
    d->easy = easy;
    d->phase = CONNECTING;
    s3_request_transport(easy, op);
    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPPROXYTUNNEL, 1L); /* a proxy sees nothing but the connection */
    curl_easy_setopt(easy, CURLOPT_PRIVATE, op);
    if (curl_easy_setopt(easy, CURLOPT_URL, op->s->endpoint) == CURLE_OK &&
        curl_multi_add_handle(op->lane->multi, easy) == CURLM_OK)
        return d;
    curl_easy_cleanup(easy);
    free(d);
    return NULL;
}

void s3_direct_end(struct s3_op *op, bool keep)
{
    struct s3_lane *l = op->lane;
    struct s3_direct *d = op->direct;
    op->direct = NULL;
    if (!d)
        return;
    if (!keep || l->kept_count == FLOE_COUNTOF(l->kept)) {
        close_direct(l, d);
        return;
    }
    d->idle_since_us = s3_now_us();
    l->kept[l->kept_count++] = d;
}

/* ---- one attempt ---- */

static bool write_request(struct s3_op *op)
{
    struct s3_direct *d = op->direct;
    struct floe_error err = {0}; /* the ordinary way will say it */
    d->phase = SENDING;
    d->ready = true;
    d->n = d->at = 0;
    return s3_request_text(op, d->text, sizeof d->text, &d->n, &err) == FLOE_OK;
}

bool s3_direct_begin(struct s3_op *op)
{
    struct s3_lane *l = op->lane;
    uint64_t now = s3_now_us();
    s3_direct_close_kept(l, now > DIRECT_IDLE_US ? now - DIRECT_IDLE_US : 0);
    bool kept = l->kept_count > 0;
    op->direct = kept ? l->kept[--l->kept_count] : open_direct(op);
    if (op->direct && kept && !write_request(op))
        s3_direct_end(op, false);
    return op->direct != NULL;
}

enum s3_direct_is s3_direct_connected(struct s3_op *op, CURLcode code)
{
    struct s3_direct *d = op->direct;
    if (code != CURLE_OK || curl_easy_getinfo(d->easy, CURLINFO_ACTIVESOCKET, &d->fd) != CURLE_OK ||
        d->fd == CURL_SOCKET_BAD) {
        op->lane->direct_from_us = s3_now_us() + DIRECT_PAUSE_US;
        return S3_DIRECT_UNDONE;
    }
    curl_easy_setopt(d->easy, CURLOPT_BUFFERSIZE, (long)DIRECT_ONCE); /* what one receive takes at most */
    return write_request(op) ? s3_direct_step(op) : S3_DIRECT_UNDONE;
}

bool s3_direct_waits(struct s3_op *op, struct curl_waitfd *out, bool *ready)
{
    const struct s3_direct *d = op->direct;
    if (!d || d->phase == CONNECTING)
        return false;
    *out = (struct curl_waitfd){.fd = d->fd,
                                .events = d->phase == SENDING ? CURL_WAIT_POLLOUT : CURL_WAIT_POLLIN};
    *ready = *ready || d->ready;
    return true;
}

void s3_direct_woken(struct s3_op *op)
{
    op->direct->ready = true;
}

static enum s3_direct_is step_sending(struct s3_op *op)
{
    struct s3_direct *d = op->direct;
    while (d->at < d->n) {
        size_t n = 0;
        CURLcode code = curl_easy_send(d->easy, d->text + d->at, d->n - d->at, &n);
        if (code == CURLE_AGAIN)
            return S3_DIRECT_GOES_ON;
        if (code != CURLE_OK)
            return S3_DIRECT_UNDONE;
        d->at += n;
    }
    op->sent++;
    d->phase = HEAD;
    d->n = 0;
    return S3_DIRECT_GOES_ON; /* the answer takes a moment */
}

static bool busy(long status)
{
    return status == 429 || status == 500 || (status >= 502 && status <= 504);
}

/* The head is there, with the first bytes of the body behind it. */
static enum s3_direct_is take_head(struct s3_op *op, size_t head)
{
    struct s3_direct *d = op->direct;
    const struct s3_answer *a = &op->answer;
    size_t rest = d->n - head;
    if (!s3_head_parse(&op->answer, d->text, head))
        return S3_DIRECT_UNDONE;
    if (busy(a->status)) {
        op->answer.closes = true; /* its text is not read */
        return S3_DIRECT_DONE;
    }
    if (a->status != 206 || a->encoded || !a->has_length || !a->has_range || a->length > op->length ||
        a->range_to - a->range_from + 1 != a->length || rest > a->length)
        return S3_DIRECT_UNDONE;
    if (!s3_data_begin(op, a->length))
        return S3_DIRECT_UNDONE;
    memcpy(op->data->data, d->text + head, rest);
    s3_data_came(op, rest);
    op->came += rest;
    d->phase = BODY;
    return rest == a->length ? S3_DIRECT_DONE : S3_DIRECT_GOES_ON;
}

static enum s3_direct_is step_head(struct s3_op *op)
{
    struct s3_direct *d = op->direct;
    while (d->n < sizeof d->text) {
        size_t n = 0, room = sizeof d->text - d->n;
        CURLcode code = curl_easy_recv(d->easy, d->text + d->n, FLOE_MIN(room, 2048u), &n);
        if (code == CURLE_AGAIN)
            return S3_DIRECT_GOES_ON;
        if (code != CURLE_OK || n == 0)
            break;
        d->n += n;
        size_t head = s3_head_end(d->text, d->n);
        if (head > 0)
            return take_head(op, head);
    }
    return S3_DIRECT_UNDONE;
}

static enum s3_direct_is step_body(struct s3_op *op)
{
    struct s3_direct *d = op->direct;
    struct floe_buf *b = op->data;
    uint64_t end = op->answer.length, turn = FLOE_MIN(end, b->n + DIRECT_TURN);
    while (b->n < turn) {
        size_t n = 0;
        CURLcode code = curl_easy_recv(d->easy, b->data + b->n, end - b->n, &n);
        if (code == CURLE_AGAIN)
            return S3_DIRECT_GOES_ON;
        if (code != CURLE_OK || n == 0)
            return S3_DIRECT_UNDONE;
        FLOE_ASSERT(n <= end - b->n);
        s3_data_came(op, n);
        op->came += n;
    }
    d->ready = true; /* libcurl may hold bytes of which the socket knows nothing */
    return b->n == end ? S3_DIRECT_DONE : S3_DIRECT_GOES_ON;
}

enum s3_direct_is s3_direct_step(struct s3_op *op)
{
    struct s3_direct *d = op->direct;
    enum s3_direct_is is = S3_DIRECT_GOES_ON;
    if (d->phase == CONNECTING || !d->ready)
        return is;
    d->ready = false;
    if (d->phase == SENDING)
        is = step_sending(op);
    else if (d->phase == HEAD)
        is = step_head(op);
    if (d->phase == BODY && is == S3_DIRECT_GOES_ON)
        is = step_body(op);
    return is;
}
