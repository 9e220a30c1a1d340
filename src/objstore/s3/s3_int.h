/* Private parts of the `s3` store driver. A request travels loop → lane (a thread with a curl multi handle) →
 * loop. Data lanes share the data requests, one lane of its own carries control requests.
 */
#ifndef FLOE_OBJSTORE_S3_INT_H
#define FLOE_OBJSTORE_S3_INT_H

#include "../body.h"
#include "xml.h"

#include <curl/curl.h>
#include <floe/base/list.h>
#include <floe/net/sigv4.h>
#include <floe/objstore/s3.h>
#include <pthread.h>

#define S3_PREFIX_MAX 256 /* bytes, with terminator */
#define S3_HOST_MAX 320   /* host and port */
#define S3_PATH_MAX 3072  /* path as sent */
#define S3_URL_MAX 8192
#define S3_TEXT_MAX (8u << 20)         /* a LIST's answer */
#define S3_ERROR_TEXT_MAX (64u * 1024) /* an error's answer; the rest is dropped */
#define S3_CHECKED_MAX (1u << 20)      /* whole objects up to here are checked against ETag or checksum */
#define S3_LANES 3                     /* 0: control; 1..: data */
#define S3_CONTROL_CONNECTIONS 13
#define S3_CONTROL_URGENT 2 /* of these, for urgent requests alone: a renewal, the table's probe */
#define S3_DATA_CONNECTIONS 16
#define S3_QUEUED_MAX 8192

struct s3_store;
struct s3_lane;
struct s3_direct;

/* What an answer's headers say; set by the lane's thread, fresh for each attempt. */
struct s3_answer {
    long status;
    bool has_range, has_length, encrypted;
    bool encoded, closes; /* head.c: the body is not plain bytes; the connection ends with it */
    uint64_t range_from, range_to, range_size; /* range_size UINT64_MAX: not told */
    uint64_t length;
    char etag[FLOE_STORE_VERSION_MAX];
    char nonce[FLOE_STORE_NONCE_MAX];
    char crc32c[16];
    char region[64];
};

/* One request. The loop fills it; from the queue on it is the lane thread's until its task is posted. */
struct s3_op {
    struct floe_list link; /* a lane's incoming, waiting or active list */
    struct floe_list all;  /* the store's open requests, loop only */
    struct s3_store *s;
    struct s3_lane *lane;
    struct floe_store_req *req; /* loop only; null once cancelled */
    _Atomic bool cancelled;
    enum floe_store_kind kind;
    enum floe_store_cond cond;
    bool urgent;
    char key[FLOE_STORE_KEY_MAX], start_after[FLOE_STORE_KEY_MAX];
    char if_version[FLOE_STORE_VERSION_MAX], nonce[FLOE_STORE_NONCE_MAX];
    uint32_t max_keys, attempts, key_count;
    int64_t offset;
    bool pieces;
    uint64_t length, deadline_us, timeout_us, try_us;
    char **keys;
    struct floe_store_body body;
    struct floe_task task;

    /* lane thread */
    struct s3_direct *direct; /* the attempt goes this way (direct.c); easy is null then */
    bool no_direct;           /* it was tried and did not work */
    bool active;              /* counted by its lane */
    CURL *easy;
    struct curl_slist *headers;
    char curl_error[CURL_ERROR_SIZE];
    uint64_t not_before_us;
    uint64_t try_deadline_us; /* of the present attempt; UINT64_MAX: it has none of its own */
    uint32_t tries;
    uint32_t wire_tries; /* of this attempt: curl repeats by itself what a stale connection has swallowed */
    bool hashed, ambiguous, too_long, no_memory;
    struct floe_sha256_hex payload;
    uint32_t body_crc;
    uint8_t body_md5[16];
    uint32_t body_slice; /* where the upload is */
    size_t body_at;
    uint64_t came, went; /* body bytes of all attempts */
    struct s3_answer answer;
    struct floe_writer text; /* LIST, batch delete and error bodies */
    uint8_t seen_md5[16];    /* of a whole object that did not fit its ETag */
    bool has_seen_md5;

    /* results */
    uint32_t sent;
    struct floe_error err;
    char version[FLOE_STORE_VERSION_MAX];
    uint64_t size;
    struct floe_buf *data;
    uint32_t *piece_crc; /* of data; null: not asked for, or no memory for it */
    uint64_t pieces_done;
    struct floe_arena arena;
    struct floe_store_entry *entries;
    uint32_t entry_count;
    bool truncated;
};

struct s3_lane {
    struct s3_store *s;
    CURLM *multi;
    pthread_t thread;
    bool started;
    uint32_t connections, reserved; /* reserved: those that only urgent requests use */
    pthread_mutex_t lock;
    struct floe_list incoming; /* under the lock */
    uint32_t load;             /* loop only: requests given to this lane and not back */
    bool stopping;             /* under the lock */
    _Atomic bool sweep;        /* some op was cancelled */

    /* thread only */
    struct floe_list waiting, active;
    uint32_t active_count;
    uint64_t next_deadline_us;
    CURL *idle[S3_DATA_CONNECTIONS];
    uint32_t idle_count;
    struct s3_direct *kept[S3_DATA_CONNECTIONS]; /* connections for large GETs that have none at present */
    uint32_t kept_count;
    uint64_t direct_from_us;   /* until then they all go the ordinary way */
    struct curl_waitfd *waits; /* as many as connections */
    struct floe_sigv4_signer signer;
    struct floe_rng rng;
};

struct s3_store {
    struct floe_store base;
    char bucket[256], prefix[S3_PREFIX_MAX]; /* prefix: empty, or ending with a slash */
    char endpoint[S3_HOST_MAX + 16];         /* scheme://host[:port], of the requests */
    char host[S3_HOST_MAX];                  /* the Host header */
    char region[64], ca_file[1024];
    bool tls, virtual_host, sign_payload, aws, loopback;
    struct floe_s3_credentials cred;
    _Atomic bool etag_is_not_md5;
    _Atomic int32_t retry_tokens;
    _Atomic uint64_t trouble_since_us; /* 0: the last attempt was answered */
    pthread_mutex_t trouble_lock;
    struct floe_error trouble; /* of the last attempt that was not; under the lock */

    struct s3_lane lanes[S3_LANES];
    _Atomic uint32_t running; /* threads */
    struct floe_list open;    /* loop only */
    uint32_t open_count;
    struct floe_task exit_task;
    bool closing, threads_gone;
    void (*closed)(void *user);
    void *closed_user;
};

/* lane.c */
void *s3_lane_main(void *lane);
uint64_t s3_now_us(void);

/* request.c: sets up op->easy for one attempt, signed anew. */
enum floe_err s3_request_build(struct s3_op *op, struct floe_error *err) FLOE_MUST_USE;
/* What every connection of the store has. */
void s3_request_transport(CURL *easy, const struct s3_op *op);
/* The same attempt as text for a connection of one's own, head and empty line; *n is its length. */
enum floe_err s3_request_text(struct s3_op *op, char *to, size_t cap, size_t *n,
                              struct floe_error *err) FLOE_MUST_USE;
/* Percent-encodes all but unreserved bytes (and slashes, where kept). False: no room. */
bool s3_url_encode(char *out, size_t cap, size_t *at, const char *in, bool keep_slash);

/* direct.c: large GETs on connections of their own. */
enum s3_direct_is {
    S3_DIRECT_GOES_ON,
    S3_DIRECT_DONE,  /* the answer is there, to be judged */
    S3_DIRECT_UNDONE /* to be sent the ordinary way */
};
bool s3_direct_wanted(const struct s3_op *op);
/* False: nothing was begun. */
bool s3_direct_begin(struct s3_op *op);
enum s3_direct_is s3_direct_connected(struct s3_op *op, CURLcode code) FLOE_MUST_USE;
/* Takes it as far as it goes without waiting. */
enum s3_direct_is s3_direct_step(struct s3_op *op) FLOE_MUST_USE;
/* What it waits for; false when libcurl knows. *ready is set when there is nothing to wait for. */
bool s3_direct_waits(struct s3_op *op, struct curl_waitfd *out, bool *ready);
void s3_direct_woken(struct s3_op *op);
/* The attempt is over, or the request: the connection is kept, or closed. Null is fine. */
void s3_direct_end(struct s3_op *op, bool keep);
/* Closes what was kept since then or longer. */
void s3_direct_close_kept(struct s3_lane *l, uint64_t idle_since_us);

/* head.c */
size_t s3_head_end(const char *p, size_t n); /* bytes up to the end of the empty line; 0: it is not there */
/* A whole head; false and nothing set when it is not well-formed. */
bool s3_head_parse(struct s3_answer *out, const char *p, size_t n);

/* answer.c: call-backs of curl, and what an ended attempt means. */
size_t s3_on_header(char *p, size_t size, size_t n, void *op);
size_t s3_on_body(char *p, size_t size, size_t n, void *op);
/* Room for a GET's answer of `bytes`; false when memory is out. */
bool s3_data_begin(struct s3_op *op, uint64_t bytes);
/* n more bytes lie in it. */
void s3_data_came(struct s3_op *op, size_t n);
/* Notes what one header says, if it is one of those that count. */
void s3_answer_header(struct s3_answer *a, const char *name, size_t name_n, const char *v, size_t n);
/* Makes op ready for another attempt's answer. */
void s3_answer_reset(struct s3_op *op);
/* Judges a finished attempt: op->err and the results. */
void s3_answer_judge(struct s3_op *op, CURLcode code);

/* refusal.c: the error of an HTTP status and its XML. */
void s3_refusal(struct s3_op *op);
/* A transfer that ended without a usable answer. */
void s3_broken(struct s3_op *op, CURLcode code);

/* parse.c */
enum floe_err s3_parse_list(struct s3_op *op) FLOE_MUST_USE;
enum floe_err s3_parse_deleted(struct s3_op *op) FLOE_MUST_USE;
struct s3_error_text {
    char code[64], message[160], region[64], size[24];
};
void s3_parse_error(struct s3_error_text *out, const char *text, size_t n);

#endif
