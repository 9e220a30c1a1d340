/* What the tier costs, three ways side by side, at several batch sizes: on demand, not a test.
 *
 *   all through RocksDB   every batch is put, acks=1 with the write-ahead log, acks=all without
 *   only what needs it    acks=1 is put with the log; acks=all is put under memory pressure only (else it
 * costs nothing) bare append-only file one write(2) a batch to a file that is cut off when its segment is
 * committed
 *
 * beside RocksDB called directly. Batches of a committed segment are dropped, 32 MiB behind the newest.
 * Each case runs three times; the table has the best of each figure, since a neighbour on the machine only
 * takes away. Usage: tier_bench [FOLDER [MIB [BATCH]]], default ./tier-bench and 512. With BATCH only
 * RocksDB called directly with batches of so many bytes, once, on one line: what bench.py sets acks=1 beside.
 */
#include <floe/base/assert.h>
#include <floe/tier.h>

#include <fcntl.h>
#include <inttypes.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WINDOW                                                                                               \
    ((size_t)4 << 20) /* bytes under way: what four producers with a request of 1 MiB each have              \
                       */
#define OPS_MAX 512
#define BEHIND ((uint64_t)32 << 20)
#define SEGMENT ((uint64_t)8 << 20)

static char dir[512];
static uint8_t *body;

struct cost {
    double mb_s, cpu_s_gb, p99_us;
};

static double clock_s(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static struct cost cost_of(double wall0, double cpu0, uint64_t bytes)
{
    double gb = (double)bytes / 1e9;
    return (struct cost){gb * 1e3 / (clock_s(CLOCK_MONOTONIC) - wall0), (cpu_s() - cpu0) / gb, 0};
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Through the tier. */
struct run {
    struct floe_loop_uv *uv;
    struct floe_tier *tier;
    size_t size;
    uint64_t count, next, done, dropped;
    bool durable, get;
    struct floe_tier_op op[OPS_MAX];
    double sent[OPS_MAX], *took;
    uint32_t in_flight;
};

static void on_op(struct floe_tier_op *op);

static void pump(struct run *r)
{
    uint32_t most = (uint32_t)FLOE_MAX(1u, FLOE_MIN(WINDOW / r->size, (size_t)OPS_MAX));
    while (r->in_flight < most && r->next < r->count) {
        struct floe_tier_op *op = &r->op[r->next % most];
        *op = (struct floe_tier_op){.seq = r->next,
                                    .head = floe_slice("0123456789012345678901234567890123456789", 40),
                                    .body = {NULL, body, r->size},
                                    .durable = r->durable,
                                    .done = on_op,
                                    .user = r};
        r->sent[r->next % most] = clock_s(CLOCK_MONOTONIC);
        r->next++;
        r->in_flight++;
        if (r->get)
            r->tier->ops->get(r->tier, op);
        else
            r->tier->ops->put(r->tier, op);
    }
}

static void on_op(struct floe_tier_op *op)
{
    struct run *r = op->user;
    if (op->err.code) {
        fprintf(stderr, "%s\n", op->err.msg);
        exit(1);
    }
    if (r->get)
        floe_buf_unref(op->data);
    r->took[r->done++] = clock_s(CLOCK_MONOTONIC) - r->sent[op - r->op];
    r->in_flight--;
    uint64_t per_segment = FLOE_MAX(1u, SEGMENT / r->size);
    if (!r->get && (r->done - r->dropped) * r->size >= BEHIND + SEGMENT) {
        r->tier->ops->drop(r->tier, r->dropped, r->dropped + per_segment);
        r->dropped += per_segment;
    }
    if (r->done == r->count)
        floe_loop_uv_stop(r->uv);
    else
        pump(r);
}

static void on_closed(void *user)
{
    floe_loop_uv_stop(user);
}

static void remove_dir(const char *path)
{
    char cmd[700];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", path);
    if (system(cmd) != 0)
        exit(1);
}

static struct floe_tier *open_tier(struct floe_loop_uv *uv)
{
    char path[600], note[256];
    struct floe_error err;
    struct floe_tier *t;
    snprintf(path, sizeof path, "%s/tier", dir);
    struct floe_tier_config cfg = {
        .dir = path, .cluster = {{1}}, .limit_bytes = (uint64_t)20 << 30, .memory_bytes = 64 << 20};
    if (floe_tier_rocksdb_open(&t, floe_loop_uv_base(uv), &cfg, note, &err)) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    return t;
}

static struct cost go(struct run *r)
{
    double wall = clock_s(CLOCK_MONOTONIC), cpu = cpu_s();
    pump(r);
    floe_loop_uv_run(r->uv);
    struct cost c = cost_of(wall, cpu, r->count * r->size);
    qsort(r->took, r->count, sizeof *r->took, by_value);
    c.p99_us = r->took[r->count * 99 / 100] * 1e6;
    return c;
}

/* Puts `bytes` of batches; with `back` it drops nothing, and what it gives is the cost of reading all back.
 */
static struct cost through_tier(size_t size, uint64_t bytes, bool durable, bool back)
{
    static struct run r;
    struct floe_error err;
    r = (struct run){.size = size, .count = bytes / size, .durable = durable};
    r.took = calloc(r.count, sizeof *r.took);
    if (!r.took || floe_loop_uv_create(&r.uv, &err))
        exit(1);
    remove_dir(dir);
    r.tier = open_tier(r.uv);
    if (back)
        r.dropped = UINT64_MAX / 2 / r.size; /* never drop */
    struct cost c = go(&r);
    if (back) {
        r.get = true;
        r.next = r.done = 0;
        c = go(&r);
    }
    r.tier->ops->close(r.tier, on_closed, r.uv);
    floe_loop_uv_run(r.uv);
    floe_loop_uv_destroy(&r.uv);
    free(r.took);
    return c;
}

/* RocksDB called by one thread, one batch a write, options as in the library's own advice for a write buffer.
 */
static struct cost bare_rocksdb(size_t size, uint64_t bytes)
{
    char path[600], *text = NULL;
    remove_dir(dir);
    mkdir(dir, 0700);
    snprintf(path, sizeof path, "%s/bare", dir);
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_compression(o, rocksdb_no_compression);
    rocksdb_options_set_disable_auto_compactions(o, 1);
    rocksdb_options_set_write_buffer_size(o, 64 << 20);
    rocksdb_writeoptions_t *w = rocksdb_writeoptions_create();
    rocksdb_t *db = rocksdb_open(o, path, &text);
    if (text)
        exit(1);
    uint64_t count = bytes / size, per = FLOE_MAX(1u, SEGMENT / size), behind = BEHIND / size;
    double wall = clock_s(CLOCK_MONOTONIC), cpu = cpu_s();
    for (uint64_t i = 0; i < count && !text; i++) {
        uint8_t key[8], from[8];
        floe_put_be64(key, i);
        rocksdb_put(db, w, (char *)key, 8, (char *)body, size, &text);
        if (!text && i % per == 0 && i >= behind + per) {
            rocksdb_writebatch_t *b = rocksdb_writebatch_create();
            floe_put_be64(from, i - behind - per);
            floe_put_be64(key, i - behind);
            rocksdb_writebatch_delete_range(b, (char *)from, 8, (char *)key, 8);
            rocksdb_write(db, w, b, &text);
            rocksdb_writebatch_destroy(b);
        }
    }
    struct cost c = cost_of(wall, cpu, count * size);
    rocksdb_close(db);
    rocksdb_writeoptions_destroy(w);
    rocksdb_options_destroy(o);
    return c;
}

static struct cost bare_file(size_t size, uint64_t bytes)
{
    char path[600];
    remove_dir(dir);
    mkdir(dir, 0700);
    snprintf(path, sizeof path, "%s/append", dir);
    int fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0600);
    uint64_t count = bytes / size, at = 0;
    double wall = clock_s(CLOCK_MONOTONIC), cpu = cpu_s();
    for (uint64_t i = 0; i < count; i++) {
        if (write(fd, body, size) != (ssize_t)size)
            exit(1);
        at += size;
        if (at >= 2 * BEHIND) { /* two files in turn would do the same: what is committed is cut off */
            if (ftruncate(fd, 0) != 0)
                exit(1);
            at = 0;
        }
    }
    struct cost c = cost_of(wall, cpu, count * size);
    close(fd);
    return c;
}

static long resident_kib(void)
{
    long pages = 0, skip;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%ld %ld", &skip, &pages) != 2)
        exit(1);
    fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void start_up(void)
{
    struct floe_loop_uv *uv;
    struct floe_error err;
    if (floe_loop_uv_create(&uv, &err))
        exit(1);
    remove_dir(dir);
    long before = resident_kib();
    for (int i = 0; i < 4; i++) {
        double t = clock_s(CLOCK_MONOTONIC);
        struct floe_tier *tier = open_tier(uv);
        double opened = clock_s(CLOCK_MONOTONIC);
        tier->ops->close(tier, on_closed, uv);
        floe_loop_uv_run(uv);
        printf("open %s: %.1f ms, close %.1f ms, resident +%ld KiB\n", i ? "again" : "first",
               (opened - t) * 1e3, (clock_s(CLOCK_MONOTONIC) - opened) * 1e3, resident_kib() - before);
    }
    floe_loop_uv_destroy(&uv);
}

#define BEST_OF(best, call)                                                                                  \
    do {                                                                                                     \
        best = call;                                                                                         \
        for (int again = 0; again < 2; again++) {                                                            \
            struct cost other = call;                                                                        \
            best.mb_s = FLOE_MAX(best.mb_s, other.mb_s);                                                     \
            best.cpu_s_gb = FLOE_MIN(best.cpu_s_gb, other.cpu_s_gb);                                         \
            best.p99_us = FLOE_MIN(best.p99_us, other.p99_us);                                               \
        }                                                                                                    \
    } while (0)

static void print(const char *name, size_t size, struct cost c)
{
    printf("%-34s %5zu KiB %8.0f MB/s %6.2f CPU s/GB", name, size >> 10, c.mb_s, c.cpu_s_gb);
    if (c.p99_us > 0)
        printf("  p99 %.0f us", c.p99_us);
    printf("\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {1 << 10, 16 << 10, 64 << 10, 256 << 10};
    snprintf(dir, sizeof dir, "%s", argc > 1 ? argv[1] : "./tier-bench");
    uint64_t mib = argc > 2 ? strtoull(argv[2], NULL, 10) : 512, bytes = FLOE_MAX(mib, 1u) << 20;
    size_t batch = argc > 3 ? strtoul(argv[3], NULL, 10) : 0, body_n = FLOE_MAX(sizes[3], batch);
    body = malloc(body_n);
    if (!body)
        return 1;
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < body_n; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        body[i] = (uint8_t)x;
    }
    if (batch) {
        struct cost c = bare_rocksdb(batch, bytes);
        printf("MB/s=%.0f cpu_s/GB=%.2f\n", c.mb_s, c.cpu_s_gb);
        goto end;
    }
    start_up();
    for (size_t i = 0; i < FLOE_COUNTOF(sizes); i++) {
        uint64_t n = i == 0 ? bytes / 4 : bytes;
        struct cost c;
        BEST_OF(c, through_tier(sizes[i], n, true, false));
        print("tier, acks=1 (write-ahead log)", sizes[i], c);
        BEST_OF(c, through_tier(sizes[i], n, false, false));
        print("tier, others (no log)", sizes[i], c);
        BEST_OF(c, through_tier(sizes[i], n, false, true));
        print("tier, read back", sizes[i], c);
        BEST_OF(c, bare_rocksdb(sizes[i], n));
        print("RocksDB called directly", sizes[i], c);
        BEST_OF(c, bare_file(sizes[i], n));
        print("bare append-only file", sizes[i], c);
    }
end:
    remove_dir(dir);
    free(body);
    return 0;
}
