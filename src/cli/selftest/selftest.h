/* `floe selftest`: does this store keep the promises that Floe is built on? Private to src/cli/selftest.
 *
 *   command.c   arguments, the order of the phases, signals
 *   setup.c     where it writes, cleaning up
 *   client.c    one store and its loop, asked as if it were blocking
 *   children.c  processes of this program: racing writers, brokers, load
 *   race.c, worker.c       conditional writes raced from several processes
 *   retry.c, relay.c       answers that are lost, copies that are late
 *   listing.c, bytes.c     what is read and listed after it was written
 *   speed.c                latency and throughput
 *   cluster.c, load.c      brokers under load, killed
 *   history.c              what the histories of all of these must look like; pure
 *   report.c, advice.c     verdict, figures, settings
 *
 *  1. Nothing outside PREFIX/selftest-<time>-<random> is written or deleted, but for `--clean`, which deletes
 *     other folders of that form.
 *  2. A promise is broken only by an answer that no store that keeps it can give: passing trouble (time-outs,
 *     5xx) is counted and proves nothing.
 *  3. Children die with their parent, however it ends.
 *
 * One thread a process. The broker depends on nothing in here.
 */
#ifndef FLOE_SRC_CLI_SELFTEST_H
#define FLOE_SRC_CLI_SELFTEST_H

#include <floe/broker/broker.h>
#include <floe/broker/config.h>
#include <floe/objstore.h>

#include <signal.h>
#include <sys/types.h>

enum st_promise {
    ST_CREATE,  /* create-only writes are atomic */
    ST_REPLACE, /* replace-if writes are atomic */
    ST_READ,    /* a read sees the last write */
    ST_LIST,    /* a list sees the last write */
    ST_BYTES,   /* bytes and metadata come back as they were written */
    ST_RETRY,   /* a write whose answer was lost can be repeated */
    ST_CLUSTER, /* brokers on it lose, repeat and reorder nothing */
    ST_PROMISES
};
struct st_promise_state {
    uint64_t checks, broken;
    char why[320]; /* of the first breach */
};

/* ---- client.c ---- */

struct st_client {
    struct floe_loop_uv *uv;
    struct floe_store *s;
    uint32_t pending;
    bool borrowed; /* the loop is another's */
    bool cleaning; /* goes on although the user wants to stop */
    bool wrote;    /* a PUT was carried out, or may have been */
    struct floe_timer tick, limit;
    uint64_t trouble; /* answers that say nothing */
};
extern volatile sig_atomic_t st_stop; /* the signal that asked to stop */

uint64_t st_now_us(void);
void st_sleep_ms(uint32_t ms);
/* On a loop of its own, or on another client's. */
enum floe_err st_client_open(struct st_client *c, struct floe_loop_uv *loop, const struct floe_config *cfg,
                             const struct floe_config_url *url, struct floe_error *err) FLOE_MUST_USE;
void st_client_close(struct st_client *c);
/* A request with sane limits; its key is printf's. */
struct floe_store_req st_req(enum floe_store_kind kind, const char *fmt, ...) FLOE_PRINTF(2, 3);
/* Submits all and runs the loop until each is answered; FLOE_ECANCELLED where the user stopped it. The
 * requests' `done` and `user` are taken. */
void st_ask(struct st_client *c, struct floe_store_req *r, uint32_t n);
/* As st_ask for one request that is cancelled after so long: true when it was answered before. */
bool st_ask_briefly(struct st_client *c, struct floe_store_req *r, uint64_t us);
/* A PUT whose bytes and nonce are the text. `body` must outlive the request. */
struct floe_store_req st_put(struct floe_bufslice *body, const char *text, enum floe_store_cond cond,
                             const char *if_version, const char *key);
/* Submits one and waits; its error's kind. */
enum floe_err st_do(struct st_client *c, struct floe_store_req *r);
/* One that did not answer the question: passing trouble. */
bool st_is_trouble(enum floe_err e);
/* Deletes everything below the client's prefix that begins with `prefix`; gives how many objects went. */
enum floe_err st_delete_below(struct st_client *c, const char *prefix, uint64_t *deleted,
                              struct floe_error *err) FLOE_MUST_USE;

/* ---- history.c: pure ---- */

enum st_op {
    ST_OP_CREATE,
    ST_OP_DELETE,
    ST_OP_READ,
    ST_OP_REPLACE,
    ST_OP_ACK,
    ST_OP_FETCHED,
    ST_OP_DONE,
    ST_OP_FAILED
};
/* What a child saw; whole structs go through a pipe. */
struct st_event {
    uint32_t op, worker, item, err; /* enum floe_err; of ACK and FETCHED the number of records */
    uint64_t start_us, end_us;
    uint64_t id;    /* of the write (its nonce); of a read the id it found; of records the first's sequence */
    uint64_t value; /* of a counter; of records the first offset */
    char text[128]; /* FAILED: why */
};
_Static_assert(sizeof(struct st_event) <= 512, "a write of it to a pipe is atomic");
struct st_events {
    struct st_event *e;
    size_t n, cap;
};
bool st_events_add(struct st_events *h, const struct st_event *e); /* false: no memory */

struct st_breach {
    enum st_promise promise;
    char why[320];
};
/* What a key holds in the end. */
struct st_end {
    bool there, known; /* known false: it could not be read */
    bool named;        /* its metadata has the id of a write */
    uint64_t id, value;
};
/* Writers raced to create one absent key; with `deleted`, it was there (by `first`) and one of them deleted
 * it meanwhile. False: a promise is broken. */
bool st_check_create(const struct st_event *e, size_t n, bool deleted, uint64_t first,
                     const struct st_end *end, struct st_breach *out) FLOE_MUST_USE;
/* Processes read a counter and replaced it by the next number. All events of one key, in any order; they are
 * sorted here. */
bool st_check_counter(struct st_event *e, size_t n, const struct st_end *end,
                      struct st_breach *out) FLOE_MUST_USE;

/* A stretch of a partition: sequence `seq + i` at offset `offset + i`. */
struct st_run {
    uint64_t offset, seq, count;
};
struct st_runs {
    struct st_run *r;
    size_t n, cap;
};
bool st_runs_add(struct st_runs *l, uint64_t offset, uint64_t seq, uint64_t count); /* joins what goes on */
/* `last` is the partition read to its end when all was over; `first` what was read meanwhile. */
bool st_check_partition(uint32_t partition, const struct st_runs *acked, const struct st_runs *first,
                        const struct st_runs *last, struct st_breach *out) FLOE_MUST_USE;

/* ---- figures ---- */

#define ST_SIZES 3
#define ST_LATENCIES_MAX 20000
struct st_latency {
    uint32_t n;
    double p50_ms, p90_ms, p99_ms, max_ms, mb_s;
};
struct st_figures {
    struct st_latency put[ST_SIZES][2], get[ST_SIZES][2]; /* by size, one and four at a time */
    uint64_t create_rounds, counter_writes, retry_rounds, late_rounds, listed_keys;
    uint64_t records_acked, records_read, kills;
    uint32_t lease_ms, failover_ms_max;
    double wall_jump_s;
    uint64_t trouble, deleted;
    double seconds;
};
extern const uint32_t st_size[ST_SIZES];
struct st_latency st_latency_of(double *ms, uint32_t n, uint64_t bytes, double seconds); /* sorts ms */

/* ---- advice.c: pure ---- */

struct st_advice {
    uint32_t linger_ms, puts_in_flight, lease_ms;
    uint64_t segment_bytes;
    double put_rate; /* 0: unlimited */
    char why_linger[160], why_puts[160], why_segment[160], why_lease[160], why_rate[160];
    double idle_dollars, busy_dollars; /* a broker and month, on AWS's prices */
};
void st_advise(struct st_advice *out, const struct st_figures *f, bool free_puts);

/* ---- the run ---- */

#define ST_STORES 2
struct st {
    struct floe_config cfg;
    struct st_client client[ST_STORES]; /* the store; a table of its own */
    struct floe_config_url url[ST_STORES];
    bool made_dir[ST_STORES]; /* file: the user's folder was not there */
    uint32_t store_count;
    char name[48]; /* selftest-<time>-<random> */
    char dir[256]; /* of children's files; empty: not made */
    double minutes;
    bool json, clean, keep_dir, tty;
    bool wrote; /* something may be there to be deleted */
    uint64_t from_us, total_us, said_us;
    const char *phase;
    uint32_t phase_number;
    struct st_promise_state promise[ST_PROMISES];
    struct st_figures figures;
    struct floe_error failed; /* why the test could not be finished */
};
#define ST_PHASES 7
void st_phase(struct st *st, uint32_t number, const char *name);
void st_progress(struct st *st, const char *fmt, ...) FLOE_PRINTF(2, 3);
/* Counts a check of the promise; with a sentence, a breach. */
void st_kept(struct st *st, enum st_promise p);
void st_broke(struct st *st, enum st_promise p, const char *fmt, ...) FLOE_PRINTF(3, 4);
/* An answer that is no success: passing trouble is nothing, nonsense breaks the promise, a refusal ends the
 * test. */
void st_refused(struct st *st, enum st_promise p, const struct floe_store_req *r);
/* The test itself cannot go on. */
void st_fail(struct st *st, const char *fmt, ...) FLOE_PRINTF(2, 3);
/* A phase goes on: nothing stopped it, no promise of the store is broken, time is left. */
bool st_goes_on(struct st *st, uint64_t until_us);
bool st_broken(const struct st *st);
const char *st_promise_name(enum st_promise p); /* "create_only" */

void st_races(struct st *st, uint32_t store, uint64_t us);
void st_retries(struct st *st, uint32_t store, uint64_t us);
void st_listing(struct st *st, uint32_t store, uint64_t us);
void st_bytes(struct st *st, uint32_t store, uint64_t us);
void st_speed(struct st *st, uint64_t us);
void st_cluster(struct st *st, uint64_t us);
/* True for a good verdict and a clean bucket. */
bool st_report(struct st *st, bool finished, bool cleaned, bool free_puts);

/* ---- setup.c ---- */

void st_make_name(struct st *st);
bool st_make_dir(struct st *st);
bool st_open(struct st *st);
/* Writes, reads, lists and deletes one object: credentials, bucket, rights. */
bool st_reach(struct st *st, uint32_t store);
/* Deletes all that the run wrote, closes the clients; true when nothing is left. */
bool st_clean_up(struct st *st);
/* Folders of earlier runs: deleted, or only counted. -1: they could not be looked for, or deleted. */
int st_leftovers(struct st *st, bool remove, struct floe_error *err);

/* ---- children.c ---- */

struct st_child {
    pid_t pid;   /* 0: none */
    int in, out; /* pipes to its stdin and from its stdout; -1: none */
    int status;  /* once it has ended */
    bool ended;
    bool done;     /* told DONE since it was told something: its end is no surprise */
    char log[320]; /* its stderr */
};
#define ST_ARGS_MAX 64
/* Starts this program with these arguments. With `pipes`, its stdin and stdout are ours. */
enum floe_err st_spawn(struct st *st, struct st_child *c, const char *const *args, const char *log_name,
                       bool pipes, struct floe_error *err) FLOE_MUST_USE;
bool st_child_poll(struct st_child *c); /* true once it has ended */
/* Sends the signal and waits so long for the end. */
bool st_child_end(struct st_child *c, int signal, uint32_t wait_ms);
bool st_child_tell(struct st_child *c, const void *p, size_t n);
/* Events of all children until `want` DONEs, or until the time; false when one ended or failed (err). */
enum floe_err st_children_read(struct st_child *const *c, uint32_t n, struct st_events *into,
                               uint32_t want_done, uint64_t until_us, struct floe_error *err) FLOE_MUST_USE;
/* The store's settings as flags, into args from *n on. `text` holds what must be written for it. */
struct st_settings {
    char text[4][1200];
    char connections[16];
};
void st_settings_args(struct st *st, struct st_settings *s, const char **args, uint32_t *n);
/* "URL/selftest-…/sub" */
void st_url_below(char out[FLOE_CONFIG_PATH_MAX + 64], const struct st *st,
                  const struct floe_config_url *base, const char *sub);
bool st_remove_tree(const char *path); /* false: something is left */

/* worker.c, load.c: what children run. argv behind the hidden word. */
#define ST_WORKERS 6
enum st_job_kind { ST_JOB_CREATE, ST_JOB_RECREATE, ST_JOB_COUNT };
struct st_job {
    uint32_t kind, round, count, workers;
    uint64_t run_us;
};
int st_worker_main(int argc, char **argv);
int st_load_main(int argc, char **argv);
int st_follow_main(int argc, char **argv);
/* "st-" and 16 hexadecimal digits; ids of writes are unique in a run. */
#define ST_ID_LENGTH 19
#define ST_ID_MAX (ST_ID_LENGTH + 1)
void st_id_text(char out[ST_ID_MAX], uint64_t id);
bool st_id_of(const char *nonce, uint64_t *id);
/* A counter's bytes: its value and its write's nonce, so that no two writes have the same bytes (and ETag).
 */
#define ST_COUNTER_MAX 64
void st_counter_text(char out[ST_COUNTER_MAX], uint64_t value, const char *nonce, struct floe_bufslice *body);
bool st_counter_of(const struct floe_buf *data, const char *nonce, uint64_t *value);
/* Sends an event to the parent; exits when it is gone. */
void st_tell(const struct st_event *e);

/* ---- relay.c ---- */

struct st_relay;
enum st_relay_mode {
    ST_RELAY_PASS,
    ST_RELAY_SWALLOW, /* what the server answers is dropped, and the connection with it */
    ST_RELAY_HOLD     /* whole requests are kept and the client's connection is closed */
};
/* A relay on loopback to an http://HOST:PORT, on the client's loop. */
enum floe_err st_relay_create(struct st_relay **out, struct floe_loop_uv *uv, const char *endpoint,
                              struct floe_error *err) FLOE_MUST_USE;
void st_relay_destroy(struct st_relay **r);
const char *st_relay_endpoint(const struct st_relay *r); /* http://127.0.0.1:PORT */
void st_relay_mode(struct st_relay *r, enum st_relay_mode mode);
/* The first status that was swallowed since the mode was set; 0: none. */
int st_relay_swallowed(const struct st_relay *r);
uint32_t st_relay_held(const struct st_relay *r);
/* Sends the held requests now, one after the other, and drops them: the lowest status of the answers, 0 when
 * there was none. Blocks. */
int st_relay_release(struct st_relay *r);

#endif
