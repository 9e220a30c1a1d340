/* The allocator of floe-sim: it stands in for the C library's in that program alone (not under a sanitizer,
 * which has its own). A seed makes some million small allocations, a tenth of its time with the C library's
 * calloc.
 *
 * One thread; size classes, four to each doubling; what is freed is the next of its class to be handed out,
 * and begins with bytes that no pointer has, so that what is used after its end is noticed. Nothing goes back
 * to the system but what is larger than LARGE. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define HEADER 16 /* before each block: struct head, and what keeps blocks aligned */
#define ALIGN 16u
#define LARGE (1u << 20) /* with the header */
#define SLAB (4u << 20)
#define PAGE 4096u
#define CLASSES 96
#define POISON 0xdb
#define POISONED 64 /* bytes of what is freed, behind the list's link */

struct head {
    size_t room;    /* bytes behind the header */
    uint32_t class; /* CLASSES: a mapping of its own */
    uint32_t back;  /* from the mapping's begin to the block */
};
struct spare {
    struct spare *next;
};
static struct spare *spares[CLASSES];
static uint8_t *slab, *slab_end; /* fresh, and zero */

#pragma GCC visibility push(default) /* shared libraries take these too */
void *malloc(size_t n);
void free(void *p);
void *calloc(size_t count, size_t size);
void *realloc(void *p, size_t n);
void *memalign(size_t align, size_t n);
void *aligned_alloc(size_t align, size_t n);
int posix_memalign(void **out, size_t align, size_t n);
void *valloc(size_t n);
void *pvalloc(size_t n);
size_t malloc_usable_size(void *p);
#pragma GCC visibility pop

static struct head *head_of(void *p)
{
    return (struct head *)((uint8_t *)p - HEADER);
}
/* The class of `n` bytes (1 at least) and how many it has room for. */
static uint32_t class_of(size_t n, size_t *room)
{
    if (n <= 64) {
        *room = (n + ALIGN - 1) / ALIGN * ALIGN;
        return (uint32_t)(*room / ALIGN) - 1;
    }
    uint32_t log = 63 - (uint32_t)__builtin_clzll(n - 1); /* 2^log < n <= 2^(log + 1) */
    size_t step = (size_t)1 << (log - 2), over = n - ((size_t)1 << log);
    size_t quarter = (over + step - 1) / step;
    *room = ((size_t)1 << log) + quarter * step;
    return 4 + (log - 6) * 4 + (uint32_t)quarter - 1;
}
static void *map(size_t n)
{
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}
/* Large, or aligned more than others: arenas of buffers to huge pages. */
static void *large(size_t align, size_t n)
{
    size_t all = n + HEADER + align;
    uint8_t *m = n > SIZE_MAX / 2 || align > SLAB ? NULL : map(all);
    if (!m)
        return NULL;
    size_t back = HEADER + (align - ((uintptr_t)m + HEADER) % align) % align;
    *head_of(m + back) = (struct head){.room = all - back, .class = CLASSES, .back = (uint32_t)back};
    return m + back;
}
static void *take(size_t n, bool *zero)
{
    size_t room;
    *zero = true;
    if (n > LARGE - HEADER)
        return large(ALIGN, n);
    uint32_t class = class_of(n ? n : 1, &room);
    struct spare *s = spares[class];
    if (s) {
        spares[class] = s->next;
        *zero = false;
        return s;
    }
    if ((size_t)(slab_end - slab) < room + HEADER) { /* what is left of the old one is lost */
        slab = map(SLAB);
        slab_end = slab ? slab + SLAB : NULL;
        if (!slab)
            return NULL;
    }
    uint8_t *p = slab + HEADER;
    slab += room + HEADER;
    *head_of(p) = (struct head){.room = room, .class = class};
    return p;
}
void *malloc(size_t n)
{
    bool zero;
    void *p = take(n, &zero);
    if (!p)
        errno = ENOMEM;
    return p;
}
void *calloc(size_t count, size_t size)
{
    size_t n;
    bool zero = true;
    void *p = __builtin_mul_overflow(count, size, &n) ? NULL : take(n, &zero);
    if (!p)
        errno = ENOMEM;
    else if (!zero)
        memset(p, 0, n);
    return p;
}
void free(void *p)
{
    if (!p)
        return;
    struct head *h = head_of(p);
    if (h->class == CLASSES) {
        munmap((uint8_t *)p - h->back, h->room + h->back);
        return;
    }
    memset(p, POISON, h->room < POISONED ? h->room : POISONED);
    struct spare *s = p;
    s->next = spares[h->class];
    spares[h->class] = s;
}
void *realloc(void *p, size_t n)
{
    if (!p)
        return malloc(n);
    struct head *h = head_of(p);
    if (n <= h->room)
        return p;
    void *q = malloc(n);
    if (!q)
        return NULL;
    memcpy(q, p, h->room);
    free(p);
    return q;
}
void *memalign(size_t align, size_t n)
{
    return align <= ALIGN ? malloc(n) : large(align, n);
}
void *aligned_alloc(size_t align, size_t n)
{
    return memalign(align, n);
}
int posix_memalign(void **out, size_t align, size_t n)
{
    void *p = memalign(align, n);
    if (p)
        *out = p;
    return p ? 0 : ENOMEM;
}
void *valloc(size_t n)
{
    return memalign(PAGE, n);
}
void *pvalloc(size_t n)
{
    return valloc(n);
}
size_t malloc_usable_size(void *p)
{
    return p ? head_of(p)->room : 0;
}
