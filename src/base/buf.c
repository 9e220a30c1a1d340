/* Buffers of 128 KiB and more are kept for reuse: what malloc maps and unmaps for each of them would be paid
 * again in page faults. Sizes are rounded up to eight steps a doubling, so at most an eighth is slack, and a
 * free block serves every request of its step. From 3 MiB on a step is 2 MiB, the size of a huge page: with
 * those a fresh block costs little where the kernel gives them. Where its own step has none, a request takes
 * a block of up to half more; what it does not need of that counts as held meanwhile. While few blocks are in
 * use more free ones are kept: sizes change, and those of the step that is asked for are else often gone. */
#include <floe/base/assert.h>
#include <floe/base/buf.h>

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define FLOE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FLOE_ASAN 1
#endif
#endif
#ifdef FLOE_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum { RECYCLE_MIN_LOG2 = 17, RECYCLE_MAX_LOG2 = 26, STEPS = 8 }; /* 128 KiB to 64 MiB */
enum { STEPS_UP = 8 }; /* so much larger a block may be than what asks for it */
#define HUGE_PAGE ((size_t)2 << 20)
#define HUGE_MIN ((size_t)3 << 20)
enum { CLASSES = (RECYCLE_MAX_LOG2 - RECYCLE_MIN_LOG2) * STEPS };
#define RECYCLE_MIN ((size_t)1 << RECYCLE_MIN_LOG2)
#define RECYCLE_MAX ((size_t)1 << RECYCLE_MAX_LOG2)
#define CACHE_DEFAULT ((size_t)64 << 20)

/* A free block is on the list of its class, which begins in its own first bytes: newest first. */
struct block {
    struct block *next, *prev;
    uint64_t freed; /* counts all frees */
};
static struct {
    pthread_mutex_t lock;
    struct block *free[CLASSES], *oldest[CLASSES]; /* both ends of each list */
    size_t held, limit; /* bytes on all lists and what larger blocks than needed have over; their maximum */
    size_t used;        /* bytes of blocks in use, without what they have over */
    size_t together;    /* up to which `used` and `held` let `held` pass its maximum */
    uint64_t frees;
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER, .limit = CACHE_DEFAULT};

void floe_budget_init(struct floe_budget *b, size_t limit)
{
    b->limit = limit;
    atomic_init(&b->used, 0);
    atomic_init(&b->peak, 0);
}

static void note_peak(struct floe_budget *b, size_t used)
{
    size_t peak = atomic_load_explicit(&b->peak, memory_order_relaxed);
    while (used > peak && !atomic_compare_exchange_weak_explicit(&b->peak, &peak, used, memory_order_relaxed,
                                                                 memory_order_relaxed))
        continue;
}

bool floe_budget_take(struct floe_budget *b, size_t n)
{
    size_t used = atomic_load_explicit(&b->used, memory_order_relaxed);
    do {
        if (used > b->limit || n > b->limit - used)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&b->used, &used, used + n, memory_order_relaxed,
                                                    memory_order_relaxed));
    note_peak(b, used + n);
    return true;
}

void floe_budget_force(struct floe_budget *b, size_t n)
{
    size_t used = atomic_fetch_add_explicit(&b->used, n, memory_order_relaxed);
    FLOE_ASSERT(used + n >= used);
    note_peak(b, used + n);
}

void floe_budget_give(struct floe_budget *b, size_t n)
{
    size_t used = atomic_fetch_sub_explicit(&b->used, n, memory_order_relaxed);
    FLOE_ASSERT(used >= n);
}

size_t floe_budget_used(const struct floe_budget *b)
{
    return atomic_load_explicit(&b->used, memory_order_relaxed);
}

/* The class whose blocks hold n bytes, and their size. */
static int step_of(size_t n, size_t *size)
{
    unsigned log2 = 63U - (unsigned)__builtin_clzll(n);
    size_t step = ((size_t)1 << log2) / STEPS;
    size_t over = (n - ((size_t)1 << log2) + step - 1) / step; /* 0 to STEPS; STEPS is the next doubling */
    *size = ((size_t)1 << log2) + over * step;
    return (int)((log2 - RECYCLE_MIN_LOG2) * STEPS + over);
}

/* As above, for a request; -1 for sizes that are not recycled. */
static int class_of(size_t n, size_t *size)
{
    if (n < RECYCLE_MIN || n > RECYCLE_MAX - RECYCLE_MAX / (2 * STEPS))
        return -1;
    return step_of(n < HUGE_MIN ? n : (n + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE, size);
}

static size_t class_size(int class)
{
    return (RECYCLE_MIN << class / STEPS) / STEPS * (size_t)(STEPS + class % STEPS);
}

/* Under the lock. */
static void block_take(struct block *b, int class)
{
    ASAN_UNPOISON_MEMORY_REGION(b, class_size(class));
    if (b->prev != NULL)
        b->prev->next = b->next;
    else
        cache.free[class] = b->next;
    if (b->next != NULL)
        b->next->prev = b->prev;
    else
        cache.oldest[class] = b->prev;
    cache.held -= class_size(class);
}

static void block_put(struct block *b, int class)
{
    *b = (struct block){.next = cache.free[class], .freed = ++cache.frees};
    if (b->next != NULL)
        b->next->prev = b;
    else
        cache.oldest[class] = b;
    cache.free[class] = b;
    cache.held += class_size(class);
    /* A use after the last reference is still found. The links stay readable for the leak checker. */
    ASAN_POISON_MEMORY_REGION(b + 1, class_size(class) - sizeof *b);
}

/* Takes the blocks that have waited longest off their lists, so that sizes which nobody asks for any more do
 * not stay: until `held` is at most `most`. The caller frees the chain outside the lock. */
static struct block *take_oldest(size_t most)
{
    struct block *chain = NULL;
    while (cache.held > most) {
        int oldest = -1;
        for (int class = 0; class < CLASSES; class ++)
            if (cache.oldest[class] != NULL &&
                (oldest < 0 || cache.oldest[class]->freed < cache.oldest[oldest]->freed))
                oldest = class;
        if (oldest < 0)
            break; /* all of it is of blocks in use */
        struct block *b = cache.oldest[oldest];
        block_take(b, oldest);
        b->next = chain;
        chain = b;
    }
    return chain;
}

/* Under the lock: how much may be held. */
static size_t allowed(void)
{
    size_t rest = cache.together > cache.used ? cache.together - cache.used : 0;
    return FLOE_MAX(cache.limit, rest);
}

static void free_chain(struct block *b)
{
    while (b != NULL) {
        struct block *next = b->next;
        free(b);
        b = next;
    }
}

static void *block_new(size_t size)
{
    if (size < HUGE_MIN)
        return malloc(size);
    void *p;
    if (posix_memalign(&p, HUGE_PAGE, size) != 0) /* aligned_alloc wants a multiple of the alignment */
        return NULL;
    (void)madvise(p, size, MADV_HUGEPAGE); /* a help where it is to be had */
    return p;
}

/* *room: what the block has. */
static void *data_alloc(size_t cap, size_t *room)
{
    size_t size;
    int class = class_of(cap, &size);
    *room = class < 0 ? cap : size;
    if (class < 0)
        return malloc(cap != 0 ? cap : 1);
    FLOE_ASSERT(class < CLASSES);
    pthread_mutex_lock(&cache.lock);
    struct block *b = NULL;
    for (int up = class; b == NULL && up <= class + STEPS_UP && up < CLASSES; up++) {
        b = cache.free[up];
        if (b == NULL)
            continue;
        block_take(b, up);
        *room = class_size(up);
        cache.held += *room - size;
    }
    cache.used += size;
    struct block *out = take_oldest(allowed());
    pthread_mutex_unlock(&cache.lock);
    free_chain(out);
    void *p = b != NULL ? (void *)b : block_new(size);
    if (p == NULL) {
        pthread_mutex_lock(&cache.lock);
        cache.used -= size;
        pthread_mutex_unlock(&cache.lock);
    }
    return p;
}

static void data_free(void *p, size_t cap, size_t room)
{
    size_t size;
    if (class_of(cap, &size) < 0) {
        free(p);
        return;
    }
    struct block *out = NULL;
    pthread_mutex_lock(&cache.lock);
    cache.held -= room - size;
    cache.used -= size;
    size_t most = allowed();
    bool kept = room <= most;
    if (kept) {
        out = take_oldest(most - room);
        kept = cache.held <= most - room;
    }
    if (kept)
        block_put(p, step_of(room, &size));
    pthread_mutex_unlock(&cache.lock);
    free_chain(out);
    if (!kept)
        free(p);
}

void floe_buf_cache_limit(size_t limit)
{
    pthread_mutex_lock(&cache.lock);
    cache.limit = limit;
    struct block *out = take_oldest(allowed());
    pthread_mutex_unlock(&cache.lock);
    free_chain(out);
}

void floe_buf_cache_together(size_t together)
{
    pthread_mutex_lock(&cache.lock);
    cache.together = together;
    struct block *out = take_oldest(allowed());
    pthread_mutex_unlock(&cache.lock);
    free_chain(out);
}

size_t floe_buf_cache_held(void)
{
    pthread_mutex_lock(&cache.lock);
    size_t held = cache.held;
    pthread_mutex_unlock(&cache.lock);
    return held;
}

/* The budget was charged by the caller. */
static struct floe_buf *create(size_t cap, struct floe_budget *budget)
{
    struct floe_buf *b = malloc(sizeof *b);
    size_t room = 0;
    void *data = b != NULL ? data_alloc(cap, &room) : NULL;
    if (data == NULL) {
        free(b);
        if (budget != NULL)
            floe_budget_give(budget, cap);
        return NULL;
    }
    atomic_init(&b->refs, 1);
    b->budget = budget;
    b->cap = cap;
    b->room = room;
    b->n = 0;
    b->data = data;
    return b;
}

struct floe_buf *floe_buf_create(size_t cap, struct floe_budget *budget)
{
    if (budget != NULL && !floe_budget_take(budget, cap))
        return NULL;
    return create(cap, budget);
}

struct floe_buf *floe_buf_create_forced(size_t cap, struct floe_budget *budget)
{
    if (budget != NULL)
        floe_budget_force(budget, cap);
    return create(cap, budget);
}

struct floe_buf *floe_buf_ref(struct floe_buf *b)
{
    uint32_t refs = atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    FLOE_ASSERT(refs > 0 && refs < UINT32_MAX);
    return b;
}

void floe_buf_unref(struct floe_buf *b)
{
    if (b == NULL)
        return;
    /* Release: what this thread did with the bytes; acquire by the last one: what all others did. */
    uint32_t refs = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel);
    FLOE_ASSERT(refs > 0);
    if (refs > 1)
        return;
    if (b->budget != NULL)
        floe_budget_give(b->budget, b->cap);
    data_free(b->data, b->cap, b->room);
    free(b);
}
