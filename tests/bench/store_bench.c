/* Bare conditional PUTs and ranged GETs through a store driver: what the broker's figures are measured
 * against.
 *
 * store_bench [--dir DIR] [--size BYTES] [--jobs N] [--seconds N] [--range BYTES] [--skew BYTES] [--control]
 *             [--pass]
 * Without --dir the store is S3, from the environment that tests/support/s3server sets. Prints one line for
 * PUT and one for GET: MB/s (10^6), requests a second, p50 and p99 in ms, CPU seconds of this process a GB.
 * GETs are of whole objects, or of ranges of --range bytes, one behind the other from --skew on. With --pass
 * the bytes go on through a TCP connection to another process that takes them: the least that a broker does.
 */
#include <floe/base/assert.h>
#include <floe/objstore/file.h>
#include <floe/objstore/s3.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SAMPLES 200000

struct job {
    struct floe_store_req r;
    struct floe_bufslice body;
    uint64_t begun_us;
};
static struct {
    struct floe_loop_uv *uv;
    struct floe_loop *loop;
    struct floe_store *store;
    uint64_t size, range, skew, end_us, next, written, done, bytes;
    uint32_t jobs, open;
    bool get, control;
    char base[32];
    double *ms;
    size_t samples;
} b;

/* --pass: a thread sends what was got. */
#define PASS_MAX 16u
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct floe_buf *queue[PASS_MAX];
    uint32_t from, n;
    int fd;
    pid_t taker;
    pthread_t thread;
} pass = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .fd = -1};

static void *pass_on(void *arg)
{
    (void)arg;
    for (;;) {
        pthread_mutex_lock(&pass.lock);
        while (pass.n == 0)
            pthread_cond_wait(&pass.changed, &pass.lock);
        struct floe_buf *buf = pass.queue[pass.from];
        pthread_mutex_unlock(&pass.lock);
        for (size_t at = 0; at < buf->n;) {
            ssize_t n = send(pass.fd, buf->data + at, FLOE_MIN(buf->n - at, (size_t)1 << 20), MSG_NOSIGNAL);
            if (n <= 0)
                exit(1);
            at += (size_t)n;
        }
        floe_buf_unref(buf);
        pthread_mutex_lock(&pass.lock);
        pass.from = (pass.from + 1) % PASS_MAX;
        pass.n--;
        pthread_cond_signal(&pass.changed);
        pthread_mutex_unlock(&pass.lock);
    }
    return NULL;
}

static void pass_give(struct floe_buf *buf)
{
    pthread_mutex_lock(&pass.lock);
    while (pass.n == PASS_MAX) /* more than the jobs have: it does not come to this */
        pthread_cond_wait(&pass.changed, &pass.lock);
    pass.queue[(pass.from + pass.n++) % PASS_MAX] = floe_buf_ref(buf);
    pthread_cond_signal(&pass.changed);
    pthread_mutex_unlock(&pass.lock);
}

/* All is sent: the other process ends, the thread waits for ever. */
static void pass_end(void)
{
    pthread_mutex_lock(&pass.lock);
    while (pass.n > 0)
        pthread_cond_wait(&pass.changed, &pass.lock);
    pthread_mutex_unlock(&pass.lock);
    (void)kill(pass.taker, SIGTERM);
}

/* In a process of its own, before there are threads. */
static void taker(int listener)
{
    static uint8_t bytes[1 << 20];
    int fd = accept(listener, NULL, NULL);
    while (fd >= 0 && recv(fd, bytes, sizeof bytes, 0) > 0)
        ;
    _exit(0);
}

static void pass_open(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FLOE_ASSERT(listener >= 0 && bind(listener, (struct sockaddr *)&at, n) == 0 && listen(listener, 1) == 0 &&
                getsockname(listener, (struct sockaddr *)&at, &n) == 0);
    pass.taker = fork();
    FLOE_ASSERT(pass.taker >= 0);
    if (pass.taker == 0)
        taker(listener);
    pass.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FLOE_ASSERT(pass.fd >= 0 && connect(pass.fd, (struct sockaddr *)&at, n) == 0);
    close(listener);
}

static void next(struct job *j);

static void on_done(struct floe_store_req *r)
{
    struct job *j = r->user;
    uint64_t now = floe_loop_now_us(b.loop);
    if (r->err.code != FLOE_OK) {
        fprintf(stderr, "store_bench: %s\n", r->err.msg);
        exit(1);
    }
    if (b.samples < SAMPLES)
        b.ms[b.samples++] = (double)(now - j->begun_us) / 1000;
    b.done++;
    b.bytes += b.get ? r->data->n : b.size;
    if (b.get && pass.fd >= 0)
        pass_give(r->data);
    floe_store_req_fini(r);
    b.open--;
    next(j);
}

static void next(struct job *j)
{
    if (floe_loop_now_us(b.loop) >= b.end_us) {
        if (b.open == 0)
            floe_loop_uv_stop(b.uv);
        return;
    }
    j->r.kind = b.get ? FLOE_STORE_GET : FLOE_STORE_PUT;
    j->r.cls = b.control ? FLOE_STORE_CONTROL : FLOE_STORE_DATA;
    j->r.cond = FLOE_PUT_CREATE;
    j->r.body = &j->body;
    j->r.body_count = 1;
    j->r.length = b.get ? b.range : b.size;
    j->r.timeout_us = 60u * 1000 * 1000;
    j->r.done = on_done;
    j->r.user = j;
    snprintf(j->r.nonce, sizeof j->r.nonce, "bench");
    uint64_t n = b.next++, ranges = (b.size - b.skew) / b.range;
    if (b.get) {
        j->r.attempts = 4; /* as the broker reads */
        j->r.try_us = 2000000 + b.range / 5;
        j->r.offset = (int64_t)(b.skew + n % ranges * b.range);
        n = n / ranges % b.written;
    }
    snprintf(j->r.key, sizeof j->r.key, "%s/%020llu", b.base, (unsigned long long)n);
    j->begun_us = floe_loop_now_us(b.loop);
    b.open++;
    floe_store_submit(b.store, &j->r);
}

static int by_value(const void *x, const void *y)
{
    double a = *(const double *)x, c = *(const double *)y;
    return (a > c) - (a < c);
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void run(struct job *jobs, uint64_t seconds)
{
    uint64_t from = floe_loop_now_us(b.loop);
    double cpu = cpu_seconds();
    b.end_us = from + seconds * 1000000;
    b.next = b.done = b.bytes = 0;
    b.samples = 0;
    for (uint32_t i = 0; i < b.jobs; i++)
        next(&jobs[i]);
    floe_loop_uv_run(b.uv);
    double s = (double)(floe_loop_now_us(b.loop) - from) / 1e6, mb = (double)b.bytes / 1e6;
    qsort(b.ms, b.samples, sizeof *b.ms, by_value);
    printf("%s size=%llu jobs=%u MB/s=%.1f req/s=%.0f p50_ms=%.2f p99_ms=%.2f cpu_s/GB=%.2f\n",
           b.get ? "GET" : "PUT", (unsigned long long)(b.get ? b.range : b.size), b.jobs, mb / s,
           (double)b.done / s, b.ms[b.samples / 2], b.ms[b.samples * 99 / 100],
           (cpu_seconds() - cpu) / (mb / 1000));
    fflush(stdout);
    if (!b.get)
        b.written = b.next;
}

static void open_store(const char *dir)
{
    struct floe_error err = {0};
    enum floe_err rc;
    if (dir) {
        struct floe_store_file_config c = {.dir = dir, .fsync = true};
        rc = floe_store_file_create(&b.store, b.loop, &c, &err);
    } else {
        struct floe_store_s3_config c = {.bucket = getenv("S3SERVER_BUCKET"),
                                         .endpoint = getenv("FLOE_S3_ENDPOINT"),
                                         .region = getenv("FLOE_S3_REGION")};
        rc = floe_s3_credentials_load(&c.credentials, NULL, &err);
        if (rc == FLOE_OK)
            rc = floe_store_s3_create(&b.store, b.loop, &c, &err);
    }
    if (rc != FLOE_OK) {
        fprintf(stderr, "store_bench: %s\n", err.msg);
        exit(1);
    }
}

static void on_closed(void *user)
{
    (void)user;
    floe_loop_uv_stop(b.uv);
}

int main(int argc, char **argv)
{
    const char *dir = NULL;
    uint64_t seconds = 5;
    struct floe_error err;
    uint8_t id[8];
    b.size = 4 << 20;
    b.jobs = 4;
    for (int i = 1; i < argc; i++) {
        const char *v = i + 1 < argc ? argv[i + 1] : "0";
        if (strcmp(argv[i], "--control") == 0)
            b.control = true;
        else if (strcmp(argv[i], "--pass") == 0)
            pass_open();
        else if (strcmp(argv[i], "--dir") == 0)
            dir = argv[++i];
        else if (strcmp(argv[i], "--size") == 0)
            b.size = strtoull(v, NULL, 10), i++;
        else if (strcmp(argv[i], "--jobs") == 0)
            b.jobs = (uint32_t)strtoull(v, NULL, 10), i++;
        else if (strcmp(argv[i], "--range") == 0)
            b.range = strtoull(v, NULL, 10), i++;
        else if (strcmp(argv[i], "--skew") == 0)
            b.skew = strtoull(v, NULL, 10), i++;
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = strtoull(v, NULL, 10), i++;
    }
    b.range = b.range ? b.range : b.size;
    FLOE_ASSERT(floe_loop_uv_create(&b.uv, &err) == FLOE_OK && b.skew + b.range <= b.size && b.size &&
                b.jobs);
    b.loop = floe_loop_uv_base(b.uv);
    floe_rng_bytes(&b.loop->rng, id, sizeof id);
    memcpy(b.base, "bench-", 6);
    floe_hex(b.base + 6, id, sizeof id);
    open_store(dir);
    struct floe_buf *buf = floe_buf_create(b.size, NULL);
    struct job *jobs = calloc(b.jobs, sizeof *jobs);
    b.ms = calloc(SAMPLES, sizeof *b.ms);
    FLOE_ASSERT(buf && jobs && b.ms);
    floe_rng_bytes(&b.loop->rng, buf->data, b.size);
    for (uint32_t i = 0; i < b.jobs; i++)
        jobs[i].body = (struct floe_bufslice){buf, buf->data, b.size};
    run(jobs, seconds);
    b.get = true;
    FLOE_ASSERT(pass.fd < 0 || pthread_create(&pass.thread, NULL, pass_on, NULL) == 0);
    run(jobs, seconds);
    if (pass.fd >= 0)
        pass_end();
    floe_store_close(b.store, on_closed, NULL);
    floe_loop_uv_run(b.uv);
    floe_loop_uv_destroy(&b.uv);
    floe_buf_unref(buf);
    free(jobs);
    free(b.ms);
    return 0;
}
