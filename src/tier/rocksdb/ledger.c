/* The tier's account of entries: see ledger.h. A size is kept as mantissa and exponent in 16 bits. */
#include "tier/rocksdb/ledger.h"

#include <floe/base/assert.h>
#include <stdlib.h>

#define PAGE 4096u
#define UNIT 64u        /* bytes */
#define NEVER 0u        /* not put so far */
#define DROPPED 0xffffu /* an exponent of 15, which no size has */

static uint16_t encode(uint64_t n)
{
    uint64_t units = n / UNIT + 1;
    uint32_t e = 0;
    while (units > 4095) {
        units = (units + 1) / 2;
        e++;
    }
    FLOE_ASSERT(e < 15); /* 4 GiB: entries are bounded far below */
    return (uint16_t)(e << 12 | units);
}

static uint64_t decode(uint16_t code)
{
    return code == DROPPED ? 0 : (uint64_t)(code & 4095u) << (code >> 12) << 6;
}

uint64_t floe_tier_ledger_charge(uint64_t n)
{
    return decode(encode(n));
}

static uint16_t *slot(const struct floe_tier_ledger *l, uint64_t seq)
{
    uint64_t page = seq / PAGE;
    if (page < l->first_page || page - l->first_page >= l->page_count)
        return NULL;
    uint16_t *sizes = l->pages[page - l->first_page];
    return sizes ? &sizes[seq % PAGE] : NULL;
}

static uint16_t *slot_make(struct floe_tier_ledger *l, uint64_t seq)
{
    uint64_t page = seq / PAGE;
    if (l->page_count == 0)
        l->first_page = l->head / PAGE;
    FLOE_ASSERT(page >= l->first_page);
    size_t at = (size_t)(page - l->first_page);
    if (at >= l->page_cap) {
        size_t cap = FLOE_MAX(l->page_cap * 2, at + 16);
        uint16_t **pages = realloc(l->pages, cap * sizeof *pages);
        if (!pages)
            return NULL;
        l->pages = pages;
        l->page_cap = cap;
    }
    while (l->page_count <= at)
        l->pages[l->page_count++] = NULL;
    if (!l->pages[at] && !(l->pages[at] = calloc(PAGE, sizeof **l->pages)))
        return NULL;
    return &l->pages[at][seq % PAGE];
}

/* Frees the pages that lie wholly below head. */
static void trim(struct floe_tier_ledger *l)
{
    size_t n = 0;
    while (n < l->page_count && (l->first_page + n + 1) * PAGE <= l->head)
        free(l->pages[n++]);
    if (n == 0)
        return;
    memmove(l->pages, l->pages + n, (l->page_count - n) * sizeof *l->pages);
    l->page_count -= n;
    l->first_page += n;
}

enum floe_err floe_tier_ledger_init(struct floe_tier_ledger *l, uint64_t first, uint64_t next, uint64_t bytes)
{
    FLOE_ASSERT(first <= next);
    if (next - first > FLOE_TIER_LEDGER_SPAN_MAX * 2)
        return FLOE_ECORRUPT;
    struct floe_tier_ledger fresh = {.head = first, .next = next};
    if (next > first) {
        uint16_t code = encode(bytes / (next - first));
        for (uint64_t seq = first; seq < next; seq++) {
            uint16_t *s = slot_make(&fresh, seq);
            if (!s) {
                floe_tier_ledger_fini(&fresh);
                return FLOE_ENOMEM;
            }
            *s = code;
        }
        fresh.bytes = decode(code) * (next - first);
    }
    *l = fresh;
    return FLOE_OK;
}

void floe_tier_ledger_fini(struct floe_tier_ledger *l)
{
    for (size_t i = 0; i < l->page_count; i++)
        free(l->pages[i]);
    free(l->pages);
    *l = (struct floe_tier_ledger){0};
}

enum floe_err floe_tier_ledger_put(struct floe_tier_ledger *l, uint64_t seq, uint64_t n)
{
    if (seq < l->head || seq == UINT64_MAX)
        return FLOE_EINVAL;
    if (seq - l->head >= FLOE_TIER_LEDGER_SPAN_MAX)
        return FLOE_ENOSPACE;
    uint16_t *s = slot_make(l, seq);
    if (!s)
        return FLOE_ENOMEM;
    if (*s != NEVER)
        return FLOE_EINVAL;
    *s = encode(n);
    l->bytes += decode(*s);
    l->next = FLOE_MAX(l->next, seq + 1);
    return FLOE_OK;
}

void floe_tier_ledger_unput(struct floe_tier_ledger *l, uint64_t seq)
{
    uint16_t *s = seq >= l->head ? slot(l, seq) : NULL;
    if (!s || *s == DROPPED)
        return; /* dropped while it was under way */
    l->bytes -= decode(*s);
    *s = NEVER;
}

void floe_tier_ledger_drop(struct floe_tier_ledger *l, uint64_t from, uint64_t to)
{
    from = FLOE_MAX(from, l->head);
    if (to > l->next && to - l->next > FLOE_TIER_AHEAD_MAX)
        to = l->next; /* "everything" */
    if (from >= to)
        return;
    bool in_front = from == l->head; /* needs no marks: the head moves past them */
    for (uint64_t seq = from; seq < to; seq++) {
        uint16_t *s = in_front ? slot(l, seq) : slot_make(l, seq);
        FLOE_ASSERT(s || in_front); /* 8 KiB: a process that cannot have them cannot go on */
        if (!s)
            continue;
        l->bytes -= decode(*s);
        *s = DROPPED;
    }
    l->next = FLOE_MAX(l->next, to);
    if (in_front)
        l->head = to;
    const uint16_t *s;
    while (l->head < l->next && (s = slot(l, l->head)) && *s == DROPPED)
        l->head++;
    trim(l);
}

bool floe_tier_ledger_has(const struct floe_tier_ledger *l, uint64_t seq)
{
    const uint16_t *s = seq >= l->head && seq < l->next ? slot(l, seq) : NULL;
    return s && *s != NEVER && *s != DROPPED;
}
