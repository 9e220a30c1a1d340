#include <floe/tier/sim.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define GHOSTS_MAX 64

struct entry {
    uint64_t seq;
    bool durable;
    uint32_t head_n, n; /* n: head and body */
    uint8_t *data;
};
struct meta {
    char name[FLOE_TIER_META_NAME_MAX + 1];
    uint8_t *p;
    size_t n;
};
struct image {
    struct entry *e;
    size_t n;
    struct meta meta[FLOE_TIER_META_COUNT_MAX];
    uint32_t meta_n;
    uint64_t dropped;
    struct floe_uuid cluster;
    bool taken;
};
struct floe_sim_disk {
    struct floe_sim *sim;
    struct image image;
    struct entry *e; /* by seq */
    size_t n, cap;
    struct entry
        ghost[GHOSTS_MAX]; /* durable ones that were dropped last, in order: a drop may be forgotten */
    size_t ghost_n;
    struct meta meta[FLOE_TIER_META_COUNT_MAX];
    uint32_t meta_n;
    uint64_t dropped; /* sequence numbers below are used up */
    struct floe_uuid cluster;
    enum floe_err fail, fail_gets;
    uint64_t fail_from;
    uint64_t gets;
    uint64_t min_us, mean_us;
    struct front *open;
};

enum job_kind { JOB_PUT, JOB_GET, JOB_DROP, JOB_SCAN, JOB_META, JOB_CLOSE };
struct job {
    struct floe_list link;
    enum job_kind kind;
    struct floe_tier_op *op;
    uint64_t from, to;
    void (*each)(void *user, uint64_t seq, struct floe_slice head, struct floe_slice body);
    void (*done)(void *user, const struct floe_error *err);
    void (*closed)(void *user);
    void *user;
    char name[FLOE_TIER_META_NAME_MAX + 1];
    uint8_t *value;
    size_t value_n;
    uint64_t claimed; /* put: bytes counted against the limit */
    struct floe_error refused;
};
struct front {
    struct floe_tier base; /* first */
    struct floe_sim_disk *disk;
    struct floe_sim_node *node;
    struct floe_sim_driver driver;
    struct floe_list jobs; /* in order; the first is under way */
    /* Values that the disk did not take: told all the same, and stored with the next one. */
    struct floe_list refused;
    struct floe_sim_event ready;
    bool closing;
};

static struct front *front_of(struct floe_tier *t)
{
    return FLOE_CONTAINER(t, struct front, base);
}
static void *alloc(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    FLOE_ASSERT(p);
    return p;
}

/* The disk. */
static size_t search(const struct floe_sim_disk *d, uint64_t seq)
{
    size_t lo = 0, hi = d->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (d->e[mid].seq < seq)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}
static struct entry *insert(struct floe_sim_disk *d, uint64_t seq)
{
    size_t at = search(d, seq);
    FLOE_ASSERT(at == d->n || d->e[at].seq != seq);
    if (d->n == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 64;
        d->e = realloc(d->e, d->cap * sizeof *d->e);
        FLOE_ASSERT(d->e);
    }
    memmove(d->e + at + 1, d->e + at, (d->n - at) * sizeof *d->e);
    d->n++;
    return &d->e[at];
}
static void disk_put(struct floe_sim_disk *d, const struct floe_tier_op *op)
{
    struct entry *e = insert(d, op->seq);
    *e = (struct entry){
        .seq = op->seq,
        .durable = op->durable,
        .head_n = (uint32_t)op->head.n,
        .n = (uint32_t)(op->head.n + op->body.n),
        .data = alloc(op->head.n + op->body.n),
    };
    if (op->head.n)
        memcpy(e->data, op->head.p, op->head.n);
    if (op->body.n)
        memcpy(e->data + op->head.n, op->body.p, op->body.n);
}
static void remember(struct floe_sim_disk *d, const struct entry *e)
{
    if (d->ghost_n == GHOSTS_MAX) {
        free(d->ghost[0].data);
        memmove(d->ghost, d->ghost + 1, --d->ghost_n * sizeof *e);
    }
    d->ghost[d->ghost_n++] = *e;
}
/* A crash has forgotten the last drops, or has not. */
static void ghosts(struct floe_sim_disk *d, bool rise)
{
    for (size_t i = 0; i < d->ghost_n; i++) {
        if (rise)
            *insert(d, d->ghost[i].seq) = d->ghost[i];
        else
            free(d->ghost[i].data);
    }
    d->ghost_n = 0;
}
/* Takes out [from, to); returns their bytes. */
static uint64_t disk_remove(struct floe_sim_disk *d, uint64_t from, uint64_t to)
{
    size_t a = search(d, from), b = a;
    uint64_t bytes = 0;
    for (; b < d->n && d->e[b].seq < to; b++) {
        bytes += d->e[b].n;
        if (d->e[b].durable)
            remember(d, &d->e[b]);
        else
            free(d->e[b].data);
    }
    if (b < d->n)
        memmove(d->e + a, d->e + b, (d->n - b) * sizeof *d->e);
    d->n -= b - a;
    return bytes;
}
static struct meta *meta_find(struct floe_sim_disk *d, const char *name)
{
    for (uint32_t i = 0; i < d->meta_n; i++) {
        if (strcmp(d->meta[i].name, name) == 0)
            return &d->meta[i];
    }
    return NULL;
}
static void disk_meta(struct floe_sim_disk *d, const char *name, const uint8_t *p, size_t n)
{
    struct meta *m = meta_find(d, name);
    if (!m) {
        FLOE_ASSERT(d->meta_n < FLOE_TIER_META_COUNT_MAX);
        m = &d->meta[d->meta_n++];
        *m = (struct meta){0};
        snprintf(m->name, sizeof m->name, "%s", name);
    }
    free(m->p);
    m->p = alloc(n);
    if (n)
        memcpy(m->p, p, n);
    m->n = n;
}
void floe_sim_disk_wipe(struct floe_sim_disk *d)
{
    FLOE_ASSERT(!d->open);
    disk_remove(d, 0, UINT64_MAX);
    ghosts(d, false);
    for (uint32_t i = 0; i < d->meta_n; i++)
        free(d->meta[i].p);
    d->meta_n = 0;
    d->dropped = 0;
    d->cluster = (struct floe_uuid){{0}};
}
static void *copy_of(const void *p, size_t n)
{
    void *q = alloc(n);
    if (n)
        memcpy(q, p, n);
    return q;
}
static void image_drop(struct image *im)
{
    for (size_t i = 0; i < im->n; i++)
        free(im->e[i].data);
    free(im->e);
    for (uint32_t i = 0; i < im->meta_n; i++)
        free(im->meta[i].p);
    *im = (struct image){.taken = false};
}
void floe_sim_disk_snapshot(struct floe_sim_disk *d)
{
    struct image *im = &d->image;
    image_drop(im);
    im->e = copy_of(d->e, d->n * sizeof *d->e);
    im->n = d->n;
    for (size_t i = 0; i < d->n; i++)
        im->e[i].data = copy_of(d->e[i].data, d->e[i].n);
    im->meta_n = d->meta_n;
    for (uint32_t i = 0; i < d->meta_n; i++) {
        im->meta[i] = d->meta[i];
        im->meta[i].p = copy_of(d->meta[i].p, d->meta[i].n);
    }
    im->dropped = d->dropped;
    im->cluster = d->cluster;
    im->taken = true;
}
bool floe_sim_disk_restore(struct floe_sim_disk *d)
{
    struct image *im = &d->image;
    if (!im->taken)
        return false;
    floe_sim_disk_wipe(d);
    for (size_t i = 0; i < im->n; i++)
        *insert(d, im->e[i].seq) = im->e[i];
    memcpy(d->meta, im->meta, sizeof d->meta);
    d->meta_n = im->meta_n;
    d->dropped = im->dropped;
    d->cluster = im->cluster;
    im->n = im->meta_n = 0; /* moved */
    image_drop(im);
    return true;
}
static void disk_destroy(void *p)
{
    struct floe_sim_disk *d = p;
    floe_sim_disk_wipe(d);
    image_drop(&d->image);
    free(d->e);
    free(d);
}
struct floe_sim_disk *floe_sim_disk_create(struct floe_sim *sim)
{
    struct floe_sim_disk *d = alloc(sizeof *d);
    d->sim = sim;
    d->min_us = 100;
    d->mean_us = 200;
    floe_sim_own(sim, d, disk_destroy);
    return d;
}
void floe_sim_disk_fail(struct floe_sim_disk *d, enum floe_err with)
{
    d->fail = with;
}
void floe_sim_disk_fail_gets(struct floe_sim_disk *d, enum floe_err with, uint64_t from)
{
    d->fail_gets = with;
    d->fail_from = from;
}
uint64_t floe_sim_disk_gets(const struct floe_sim_disk *d)
{
    return d->gets;
}
void floe_sim_disk_speed(struct floe_sim_disk *d, uint64_t min_us, uint64_t mean_us)
{
    d->min_us = min_us || mean_us ? min_us : 100;
    d->mean_us = min_us || mean_us ? mean_us : 200;
}
size_t floe_sim_disk_entries(const struct floe_sim_disk *d, size_t *durable)
{
    *durable = 0;
    for (size_t i = 0; i < d->n; i++)
        *durable += d->e[i].durable;
    return d->n;
}

/* The driver: jobs run one after the other, each after its time. */
static void begin(struct front *f)
{
    double u = floe_rng_unit(floe_sim_rng(f->disk->sim));
    floe_sim_after(f->disk->sim, &f->ready,
                   f->disk->min_us + (uint64_t)(-log(1.0 - u) * (double)f->disk->mean_us));
}
static void job_free(struct job *j)
{
    floe_list_remove(&j->link);
    free(j->value);
    free(j);
}
static struct job *job_add(struct front *f, enum job_kind kind)
{
    if (f->closing || !floe_sim_node_call(f->node) || floe_sim_node_dead(f->node))
        return NULL;
    struct job *j = alloc(sizeof *j);
    j->kind = kind;
    bool idle = floe_list_empty(&f->jobs);
    floe_list_push_back(&f->jobs, &j->link);
    if (idle)
        begin(f);
    return j;
}
static void run_put(struct front *f, struct job *j)
{
    struct floe_tier_op *op = j->op;
    op->err = j->refused;
    if (!op->err.code && f->disk->fail)
        floe_error_set(&op->err, f->disk->fail, "put of entry %llu: the simulated disk fails",
                       (unsigned long long)op->seq);
    if (!op->err.code && op->seq < f->disk->dropped)
        floe_error_set(&op->err, FLOE_EINVAL, "put of entry %llu: below what was dropped",
                       (unsigned long long)op->seq);
    if (!op->err.code)
        disk_put(f->disk, op);
    else
        f->base.bytes -= j->claimed;
    floe_sim_note(f->disk->sim, f->node, "tier put %llu%s -> %s", (unsigned long long)op->seq,
                  op->durable ? " durable" : "", floe_err_name(op->err.code));
}
static void run_get(struct front *f, struct floe_tier_op *op)
{
    size_t at = search(f->disk, op->seq);
    op->err = (struct floe_error){0};
    f->disk->gets++;
    if (f->disk->fail_gets && op->seq >= f->disk->fail_from) {
        floe_error_set(&op->err, f->disk->fail_gets, "get of entry %llu: the simulated disk fails",
                       (unsigned long long)op->seq);
        return;
    }
    if (at == f->disk->n || f->disk->e[at].seq != op->seq) {
        floe_error_set(&op->err, FLOE_ENOTFOUND, "entry %llu is not in the tier",
                       (unsigned long long)op->seq);
        return;
    }
    const struct entry *e = &f->disk->e[at];
    op->data = floe_buf_create_forced(e->n ? e->n : 1, op->budget);
    FLOE_ASSERT(op->data);
    memcpy(op->data->data, e->data, e->n);
    op->data->n = e->n;
    op->head_n = e->head_n;
}
static void run_scan(struct front *f, struct job *j, struct floe_error *err)
{
    for (uint64_t seq = j->from; !floe_sim_node_dead(f->node);) {
        size_t at = search(f->disk, seq);
        if (at == f->disk->n || f->disk->e[at].seq >= j->to)
            break;
        if (f->disk->fail_gets && f->disk->e[at].seq >= f->disk->fail_from) {
            floe_error_set(err, f->disk->fail_gets, "scan at entry %llu: the simulated disk fails",
                           (unsigned long long)f->disk->e[at].seq);
            break;
        }
        /* A copy: the call-back may change what lies on the disk. */
        struct entry e = f->disk->e[at];
        uint8_t *copy = alloc(e.n);
        memcpy(copy, e.data, e.n);
        j->each(j->user, e.seq, floe_slice(copy, e.head_n), floe_slice(copy + e.head_n, e.n - e.head_n));
        free(copy);
        seq = e.seq + 1;
    }
}
static void run_meta(struct front *f, struct job *j)
{
    struct floe_error err = {0};
    if (f->disk->fail) {
        floe_error_set(&err, f->disk->fail, "value \"%s\": the simulated disk fails", j->name);
        floe_list_push_back(&f->refused, &j->link);
        j->done(j->user, &err);
        return;
    }
    for (struct floe_list *n; (n = floe_list_pop_front(&f->refused));) {
        struct job *old = FLOE_LIST_ENTRY(n, struct job, link);
        disk_meta(f->disk, old->name, old->value, old->value_n);
        job_free(old);
    }
    disk_meta(f->disk, j->name, j->value, j->value_n);
    j->done(j->user, &err);
    job_free(j);
}
static void front_free(struct front *f);
static void on_ready(struct floe_sim_event *ev)
{
    struct front *f = FLOE_CONTAINER(ev, struct front, ready);
    struct job *j = FLOE_LIST_ENTRY(f->jobs.next, struct job, link);
    struct floe_error err = {0};
    floe_list_remove(&j->link);
    if (!floe_list_empty(&f->jobs))
        begin(f);
    switch (j->kind) {
    case JOB_PUT:
        run_put(f, j);
        j->op->done(j->op);
        break;
    case JOB_GET:
        run_get(f, j->op);
        j->op->done(j->op);
        break;
    case JOB_DROP:
        floe_sim_note(f->disk->sim, f->node, "tier drop %llu to %llu", (unsigned long long)j->from,
                      (unsigned long long)j->to);
        f->base.bytes -= disk_remove(f->disk, j->from, j->to);
        f->disk->dropped = FLOE_MAX(f->disk->dropped, j->to);
        break;
    case JOB_SCAN:
        run_scan(f, j, &err);
        if (!floe_sim_node_dead(f->node))
            j->done(j->user, &err);
        break;
    case JOB_META:
        run_meta(f, j);
        return;
    case JOB_CLOSE:
        ghosts(f->disk, false);
        f->disk->open = NULL;
        front_free(f);
        j->closed(j->user);
        break;
    }
    job_free(j);
}
static void op_put(struct floe_tier *t, struct floe_tier_op *op)
{
    struct front *f = front_of(t);
    struct job *j = job_add(f, JOB_PUT);
    if (!j)
        return;
    j->op = op;
    j->claimed = op->head.n + op->body.n;
    if (t->bytes + j->claimed > t->limit)
        floe_error_set(&j->refused, FLOE_ENOSPACE, "put of entry %llu: the tier is at its limit",
                       (unsigned long long)op->seq);
    t->bytes += j->claimed;
}
static void op_get(struct floe_tier *t, struct floe_tier_op *op)
{
    struct job *j = job_add(front_of(t), JOB_GET);
    if (j)
        j->op = op;
}
static void op_drop(struct floe_tier *t, uint64_t from, uint64_t to)
{
    struct job *j = job_add(front_of(t), JOB_DROP);
    if (!j)
        return;
    j->from = from;
    j->to = to;
}
static void op_scan(struct floe_tier *t, uint64_t from, uint64_t to,
                    void (*each)(void *user, uint64_t seq, struct floe_slice head, struct floe_slice body),
                    void (*done)(void *user, const struct floe_error *err), void *user)
{
    struct job *j = job_add(front_of(t), JOB_SCAN);
    if (!j)
        return;
    j->from = from;
    j->to = to;
    j->each = each;
    j->done = done;
    j->user = user;
}
static void op_meta_put(struct floe_tier *t, const char *name, struct floe_slice value,
                        void (*done)(void *user, const struct floe_error *err), void *user)
{
    FLOE_ASSERT(strlen(name) <= FLOE_TIER_META_NAME_MAX && value.n <= FLOE_TIER_META_VALUE_MAX);
    struct job *j = job_add(front_of(t), JOB_META);
    if (!j)
        return;
    snprintf(j->name, sizeof j->name, "%s", name);
    j->value = alloc(value.n);
    if (value.n)
        memcpy(j->value, value.p, value.n);
    j->value_n = value.n;
    j->done = done;
    j->user = user;
}
static struct floe_slice op_meta(struct floe_tier *t, const char *name)
{
    struct front *f = front_of(t);
    for (struct floe_list *n = f->refused.prev; n != &f->refused; n = n->prev) {
        const struct job *j = FLOE_LIST_ENTRY(n, struct job, link);
        if (strcmp(j->name, name) == 0)
            return floe_slice(j->value, j->value_n);
    }
    struct meta *m = meta_find(f->disk, name);
    return m ? floe_slice(m->p, m->n) : floe_slice(NULL, 0);
}
static void op_close(struct floe_tier *t, void (*closed)(void *user), void *user)
{
    struct front *f = front_of(t);
    struct job *j = job_add(f, JOB_CLOSE);
    if (!j)
        return;
    j->closed = closed;
    j->user = user;
    f->closing = true;
}
static const struct floe_tier_ops ops = {
    op_put, op_get, op_drop, op_scan, op_meta_put, op_meta, op_close,
};

/* A killed process: what was under way lands or not (in order, up to some point); of what had no write-ahead
 * log, what was written before some moment (a memtable's flush) is there. */
static void on_killed(struct floe_sim_driver *d)
{
    struct front *f = FLOE_CONTAINER(d, struct front, driver);
    struct floe_sim_disk *disk = f->disk;
    struct floe_rng *rng = floe_sim_rng(disk->sim);
    bool lands = true;
    while (!floe_list_empty(&f->jobs)) {
        struct job *j = FLOE_LIST_ENTRY(f->jobs.next, struct job, link);
        lands = lands && floe_rng_below(rng, 2);
        if (lands && !disk->fail && j->kind == JOB_PUT && !j->refused.code && j->op->seq >= disk->dropped)
            disk_put(disk, j->op);
        if (lands && !disk->fail && j->kind == JOB_META)
            disk_meta(disk, j->name, j->value, j->value_n);
        job_free(j);
    }
    floe_sim_unschedule(disk->sim, &f->ready);
    size_t kept = 0, flushed = floe_rng_below(rng, disk->n + 1);
    for (size_t i = 0; i < disk->n; i++) {
        if (disk->e[i].durable || i < flushed)
            disk->e[kept++] = disk->e[i];
        else
            free(disk->e[i].data);
    }
    disk->n = kept;
    ghosts(disk, floe_rng_below(rng, 2));
    disk->open = NULL;
}
static void front_free(struct front *f)
{
    f->node = NULL;
    floe_list_remove(&f->driver.link);
}
static void front_destroy(void *p)
{
    struct front *f = p;
    while (!floe_list_empty(&f->jobs))
        job_free(FLOE_LIST_ENTRY(f->jobs.next, struct job, link));
    while (!floe_list_empty(&f->refused))
        job_free(FLOE_LIST_ENTRY(f->refused.next, struct job, link));
    floe_sim_unschedule(f->disk->sim, &f->ready);
    if (f->disk->open == f)
        f->disk->open = NULL;
    floe_list_remove(&f->driver.link);
    free(f);
}
enum floe_err floe_sim_tier_open(struct floe_tier **out, struct floe_sim_disk *d, struct floe_sim_node *n,
                                 const struct floe_uuid *cluster, uint64_t limit_bytes,
                                 struct floe_error *err)
{
    if (d->open)
        return floe_error_set(err, FLOE_EAGAIN, "the disk is open on node %s",
                              floe_sim_node_name(d->open->node));
    if (!floe_uuid_is_zero(&d->cluster) && !floe_uuid_is_zero(cluster) && !floe_uuid_eq(&d->cluster, cluster))
        return floe_error_set(err, FLOE_EINVAL, "the disk holds another cluster's tier");
    if (!floe_uuid_is_zero(cluster))
        d->cluster = *cluster;
    struct front *f = alloc(sizeof *f);
    f->base.ops = &ops;
    f->base.loop = floe_sim_node_loop(n);
    f->base.limit = limit_bytes;
    for (size_t i = 0; i < d->n; i++)
        f->base.bytes += d->e[i].n;
    f->base.next_seq = FLOE_MAX(d->dropped, d->n ? d->e[d->n - 1].seq + 1 : 0);
    f->base.first_seq = d->n ? d->e[0].seq : f->base.next_seq;
    f->disk = d;
    f->node = n;
    floe_list_init(&f->jobs);
    floe_list_init(&f->refused);
    f->ready = (struct floe_sim_event){.fn = on_ready, .node = n};
    f->driver.killed = on_killed;
    floe_sim_node_register(n, &f->driver);
    floe_sim_own(d->sim, f, front_destroy);
    d->open = f;
    *out = &f->base;
    return FLOE_OK;
}
