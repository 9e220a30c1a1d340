/* Buffers of 128 KiB and more are runs of units in arenas, so that memory which was touched once serves sizes
 * of all kinds: a fresh page costs its clearing, on a virtual machine several times what a copy into it does.
 * A run is looked for in what was touched before, the lowest first, and only then in fresh memory. Arenas are
 * advised to have huge pages, one to a word of the bitmaps. What is free and was touched is bounded: beyond
 * that whole huge pages go back to the kernel, then parts of them. While few bytes are in use more is kept.
 */
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

#define RUN_MIN ((size_t)128 << 10)
#define RUN_MAX ((size_t)16 << 20) /* larger ones are mapped and unmapped */
#define UNIT ((size_t)32 << 10)
#define WORD ((size_t)64) /* units of a huge page, and bits of a word */
#define HUGE_PAGE (UNIT * WORD)
#define WORDS 16
#define UNITS (WORDS * WORD)
#define ARENA (HUGE_PAGE * WORDS)
#define HUGE_LIMIT ((size_t)16 << 20) /* where less may be kept, huge pages would take too much of it */
#define CACHE_DEFAULT ((size_t)64 << 20)

struct floe_buf_arena {
    struct floe_buf_arena *next;
    uint8_t *base;
    bool huge;
    size_t idle;           /* bytes of what is there and not used */
    uint64_t used[WORDS];  /* a bit for each unit */
    uint64_t there[WORDS]; /* touched, as far as is known here, and not given back */
};
static struct {
    pthread_mutex_t lock;
    struct floe_buf_arena *arenas; /* oldest first */
    size_t held, limit;            /* sum of `idle`; its maximum */
    size_t used;                   /* bytes of runs in use */
    size_t together;               /* up to which `used` and `held` let `held` pass its maximum */
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

/* The first bit in [from, to) that is set, or clear when `inverted` is all ones; else `to`. */
static size_t next_bit(const uint64_t *map, size_t from, size_t to, uint64_t inverted)
{
    while (from < to) {
        uint64_t rest = (map[from / WORD] ^ inverted) >> from % WORD;
        if (rest != 0)
            return FLOE_MIN(from + (size_t)__builtin_ctzll(rest), to);
        from = (from / WORD + 1) * WORD;
    }
    return to;
}

/* The first of n clear bits in a row, or UNITS. */
static size_t find_run(const uint64_t *map, size_t n)
{
    for (size_t at = 0; at + n <= UNITS;) {
        size_t set = next_bit(map, at, at + n, 0);
        if (set == at + n)
            return at;
        at = next_bit(map, set, UNITS, UINT64_MAX);
    }
    return UNITS;
}

/* The bits of word `w` that belong to n units from `at` on. */
static uint64_t bits_in(size_t w, size_t at, size_t n)
{
    size_t from = FLOE_MAX(at, w * WORD), to = FLOE_MIN(at + n, (w + 1) * WORD);
    return from < to ? UINT64_MAX >> (WORD - (to - from)) << from % WORD : 0;
}

/* Under the lock: brings `idle` and `held` up to date. */
static void count(struct floe_buf_arena *a)
{
    size_t units = 0;
    for (size_t w = 0; w < WORDS; w++)
        units += (size_t)__builtin_popcountll(a->there[w] & ~a->used[w]);
    cache.held -= a->idle;
    a->idle = units * UNIT;
    cache.held += a->idle;
}

/* Gives idle units of one word back to the kernel. */
static void give_back(struct floe_buf_arena *a, size_t w)
{
    uint64_t idle = a->there[w] & ~a->used[w];
    for (size_t at = 0, end; at < WORD; at = end) {
        at = next_bit(&idle, at, WORD, 0);
        end = next_bit(&idle, at, WORD, UINT64_MAX);
        if (at < end)
            (void)madvise(a->base + (w * WORD + at) * UNIT, (end - at) * UNIT, MADV_DONTNEED);
    }
    a->there[w] &= a->used[w];
}

/* Under the lock: until at most `most` is held. Whole huge pages go first, those of the youngest arenas
 * before others: what is looked for first stays. */
static void trim(size_t most)
{
    for (int whole = 1; whole >= 0 && cache.held > most; whole--) {
        for (size_t left = SIZE_MAX; left > 0 && cache.held > most;) {
            struct floe_buf_arena *last = NULL;
            size_t n = 0;
            for (struct floe_buf_arena *a = cache.arenas; a != NULL && n < left; a = a->next, n++)
                last = a;
            left = n > 0 ? n - 1 : 0;
            for (size_t w = WORDS; last != NULL && last->idle > 0 && w-- > 0 && cache.held > most;) {
                if ((last->there[w] & ~last->used[w]) == 0 || (whole && last->used[w] != 0))
                    continue;
                give_back(last, w);
                count(last);
            }
        }
    }
}

/* Under the lock: arenas of which nothing is there or used. */
static void drop_arenas(void)
{
    for (struct floe_buf_arena **at = &cache.arenas; *at != NULL;) {
        struct floe_buf_arena *a = *at;
        uint64_t any = 0;
        for (size_t w = 0; w < WORDS; w++)
            any |= a->used[w] | a->there[w];
        if (any != 0) {
            at = &a->next;
            continue;
        }
        *at = a->next;
        ASAN_UNPOISON_MEMORY_REGION(a->base, ARENA);
        free(a->base);
        free(a);
    }
}

/* Under the lock: how much may be held. */
static size_t allowed(void)
{
    size_t rest = cache.together > cache.used ? cache.together - cache.used : 0;
    return FLOE_MAX(cache.limit, rest);
}

static void trim_to_allowed(void)
{
    if (cache.held <= allowed())
        return;
    trim(allowed());
    drop_arenas();
}

static void *huge_alloc(size_t n, bool huge)
{
    void *p;
    if (posix_memalign(&p, HUGE_PAGE, n) != 0) /* aligned_alloc wants a multiple of the alignment */
        return NULL;
    (void)madvise(p, n, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE); /* a help where it is to be had */
    return p;
}

/* Under the lock. */
static struct floe_buf_arena *arena_new(void)
{
    struct floe_buf_arena *a = calloc(1, sizeof *a), **at = &cache.arenas;
    if (a == NULL)
        return NULL;
    a->huge = cache.limit >= HUGE_LIMIT;
    a->base = huge_alloc(ARENA, a->huge);
    if (a->base == NULL) {
        free(a);
        return NULL;
    }
    ASAN_POISON_MEMORY_REGION(a->base, ARENA);
    while (*at != NULL)
        at = &(*at)->next;
    return *at = a;
}

/* Where n units are free, in touched memory alone when `there`. */
static struct floe_buf_arena *find(size_t n, bool there, size_t *at)
{
    for (struct floe_buf_arena *a = cache.arenas; a != NULL; a = a->next) {
        uint64_t taken[WORDS];
        if (there && a->idle < n * UNIT)
            continue;
        for (size_t w = 0; w < WORDS; w++)
            taken[w] = a->used[w] | (there ? ~a->there[w] : 0);
        *at = find_run(taken, n);
        if (*at < UNITS)
            return a;
    }
    return NULL;
}

static size_t units_of(size_t cap)
{
#ifdef FLOE_ASAN
    cap++; /* something behind it is poisoned, then */
#endif
    return (cap + UNIT - 1) / UNIT;
}

static void *run_take(size_t cap, struct floe_buf_arena **home)
{
    size_t n = units_of(cap), at = 0;
    pthread_mutex_lock(&cache.lock);
    struct floe_buf_arena *a = find(n, true, &at);
    if (a == NULL)
        a = find(n, false, &at);
    if (a == NULL) {
        a = arena_new();
        at = 0;
    }
    void *p = NULL;
    if (a != NULL) {
        for (size_t w = at / WORD; w < WORDS; w++) {
            uint64_t bits = bits_in(w, at, n);
            FLOE_ASSERT((a->used[w] & bits) == 0);
            a->used[w] |= bits;
            a->there[w] |= bits != 0 && a->there[w] == 0 && a->huge ? UINT64_MAX : bits;
        }
        count(a);
        cache.used += n * UNIT;
        trim_to_allowed();
        p = a->base + at * UNIT;
        ASAN_UNPOISON_MEMORY_REGION(p, cap);
    }
    pthread_mutex_unlock(&cache.lock);
    *home = a;
    return p;
}

static void run_put(struct floe_buf_arena *a, const uint8_t *p, size_t cap)
{
    size_t n = units_of(cap), at = (size_t)(p - a->base) / UNIT;
    ASAN_POISON_MEMORY_REGION(p, n * UNIT); /* a use after the last reference is found */
    pthread_mutex_lock(&cache.lock);
    for (size_t w = at / WORD; w < WORDS; w++) {
        uint64_t bits = bits_in(w, at, n);
        FLOE_ASSERT((a->used[w] & bits) == bits);
        a->used[w] &= ~bits;
    }
    count(a);
    cache.used -= n * UNIT;
    trim_to_allowed();
    pthread_mutex_unlock(&cache.lock);
}

/* `room` is what was allocated, `home` the arena, if any. */
static bool data_alloc(struct floe_buf *b, size_t cap)
{
    b->home = NULL;
    b->room = cap;
    if (cap < RUN_MIN) {
        b->data = malloc(cap != 0 ? cap : 1);
    } else if (cap > RUN_MAX) {
        b->data = huge_alloc(cap, true);
    } else {
        b->room = units_of(cap) * UNIT;
        b->data = run_take(cap, &b->home);
    }
    return b->data != NULL;
}

static void data_free(struct floe_buf *b)
{
    if (b->home != NULL)
        run_put(b->home, b->data, b->cap);
    else
        free(b->data);
}

void floe_buf_cache_limit(size_t limit)
{
    pthread_mutex_lock(&cache.lock);
    cache.limit = limit;
    trim_to_allowed();
    pthread_mutex_unlock(&cache.lock);
}

void floe_buf_cache_together(size_t together)
{
    pthread_mutex_lock(&cache.lock);
    cache.together = together;
    trim_to_allowed();
    pthread_mutex_unlock(&cache.lock);
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
    if (b == NULL || !data_alloc(b, cap)) {
        free(b);
        if (budget != NULL)
            floe_budget_give(budget, cap);
        return NULL;
    }
    atomic_init(&b->refs, 1);
    b->budget = budget;
    b->cap = cap;
    b->n = 0;
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
    data_free(b);
    free(b);
}
