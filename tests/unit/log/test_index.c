/* The partition index against a plain list of entries: appends, blocks under way, lookups through pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>
#include <floe/base/rng.h>
#include <floe/log/index.h>

#include <stdio.h>
#include <stdlib.h>

#define MANY 9000u /* more than two levels of pages */

/* A bucket of index blocks: `seq` is the place in it. */
struct bucket {
    uint8_t *bytes[MANY];
    uint32_t n[MANY], count;
};
struct model {
    struct floe_index *ix;
    struct floe_index_entry e[MANY];
    uint32_t n;
    struct bucket pages;
    struct floe_rng rng;
};

static void model_init(struct model *m, uint64_t seed)
{
    memset(m, 0, sizeof *m);
    assert_int_equal(floe_index_create(&m->ix), FLOE_OK);
    floe_rng_init(&m->rng, seed);
}

static void model_fini(struct model *m)
{
    floe_index_destroy(&m->ix);
    for (uint32_t i = 0; i < m->pages.count; i++)
        free(m->pages.bytes[i]);
}

static void append(struct model *m)
{
    int64_t end = m->n ? m->e[m->n - 1].end_offset : 0;
    struct floe_index_entry e = {
        .base_offset = end + (floe_rng_below(&m->rng, 10) == 0 ? (int64_t)floe_rng_below(&m->rng, 100) : 0),
        .max_timestamp = floe_rng_below(&m->rng, 50) == 0
                             ? -1
                             : 1700000000000 + m->n * 10 - (int64_t)floe_rng_below(&m->rng, 300),
        .session = {1 + (int32_t)(m->n / 3000), 1 + (int32_t)(m->n / 1000), 77},
        .seq = m->n / 2,
        .position = floe_rng_below(&m->rng, 1u << 23),
        .length = 1 + (uint32_t)floe_rng_below(&m->rng, 1u << 20),
        .crc = (uint32_t)floe_rng_u64(&m->rng),
    };
    e.end_offset = e.base_offset + 1 + (int64_t)floe_rng_below(&m->rng, 1000);
    assert_int_equal(floe_index_append(m->ix, &e), FLOE_OK);
    m->e[m->n++] = e;
}

static void build_one(struct model *m)
{
    struct floe_writer w;
    floe_writer_init(&w, FLOE_INDEX_BLOCK_BYTES_MAX);
    struct floe_index_block b;
    assert_int_equal(floe_index_block_begin(m->ix, &w, &b), FLOE_OK);
    struct floe_index_entry where = {.session = {9, 9, 9},
                                     .seq = m->pages.count,
                                     .position = 96,
                                     .length = (uint32_t)w.n,
                                     .crc = floe_crc32c(0, w.p, w.n)};
    m->pages.bytes[m->pages.count] = w.p;
    m->pages.n[m->pages.count++] = (uint32_t)w.n;
    assert_int_equal(floe_index_block_done(m->ix, &b, &where), FLOE_OK);
}

static void page_of(const struct model *m, const struct floe_index_hit *hit, struct floe_index_page *page)
{
    struct floe_error err = {0};
    struct floe_slice s = floe_slice(m->pages.bytes[hit->entry.seq], m->pages.n[hit->entry.seq]);
    assert_int_equal(hit->entry.crc, floe_crc32c(0, s.p, s.n));
    if (floe_index_page_decode(s, page, &err) || floe_index_page_check(page, hit, &err))
        fail_msg("%s", err.msg);
}

static void same_entry(const struct floe_index_entry *a, const struct floe_index_entry *b)
{
    assert_int_equal(a->base_offset, b->base_offset);
    assert_int_equal(a->end_offset, b->end_offset);
    assert_int_equal(a->max_timestamp, b->max_timestamp);
    assert_true(floe_session_name_eq(&a->session, &b->session));
    assert_int_equal(a->seq, b->seq);
    assert_int_equal(a->position, b->position);
    assert_int_equal(a->length, b->length);
    assert_int_equal(a->crc, b->crc);
}

static void check_lookup(const struct model *m, int64_t offset)
{
    struct floe_index_hit hit;
    struct floe_index_page page;
    enum floe_err e = floe_index_lookup(m->ix, offset, &hit);
    while (!e && hit.level > 0) {
        page_of(m, &hit, &page);
        e = floe_index_page_lookup(&page, offset, &hit);
    }
    uint32_t i = 0;
    while (i < m->n && m->e[i].end_offset <= offset)
        i++;
    assert_int_equal(e, i == m->n ? FLOE_ENOTFOUND : FLOE_OK);
    if (!e)
        same_entry(&hit.entry, &m->e[i]);
}

/* First entry from `from` on with max_timestamp >= t; a page may promise one that lies before `from`: then go
 * on behind the page. */
static void check_timestamp(const struct model *m, int64_t from, int64_t t)
{
    struct floe_index_hit hit;
    struct floe_index_page page;
    int64_t at = from;
    enum floe_err e = floe_index_lookup_timestamp(m->ix, at, t, &hit);
    while (!e && hit.level > 0) {
        int64_t page_end = hit.entry.end_offset;
        page_of(m, &hit, &page);
        if (floe_index_page_lookup_timestamp(&page, at, t, &hit) == FLOE_OK)
            continue;
        at = page_end;
        e = floe_index_lookup_timestamp(m->ix, at, t, &hit);
    }
    uint32_t i = 0;
    while (i < m->n && (m->e[i].end_offset <= from || m->e[i].max_timestamp < t))
        i++;
    assert_int_equal(e, i == m->n ? FLOE_ENOTFOUND : FLOE_OK);
    if (!e)
        same_entry(&hit.entry, &m->e[i]);
}

static void check_max(const struct model *m)
{
    struct floe_index_hit hit;
    struct floe_index_page page;
    int64_t end = floe_index_end(m->ix);
    assert_int_equal(floe_index_lookup_max_timestamp(m->ix, 0, end, &hit), FLOE_OK);
    while (hit.level > 0) {
        page_of(m, &hit, &page);
        assert_int_equal(floe_index_page_lookup_max_timestamp(&page, 0, end, &hit), FLOE_OK);
    }
    uint32_t best = 0;
    for (uint32_t i = 0; i < m->n; i++)
        if (m->e[i].max_timestamp > m->e[best].max_timestamp)
            best = i;
    same_entry(&hit.entry, &m->e[best]);
}

static void against_the_model(void **state)
{
    (void)state;
    struct model *m = malloc(sizeof *m);
    model_init(m, 11);
    assert_int_equal(floe_index_end(m->ix), 0);
    while (m->n < MANY) {
        append(m);
        /* Blocks are late at times, so that several are due at once. */
        if (floe_rng_below(&m->rng, 100) == 0)
            while (floe_index_block_due(m->ix))
                build_one(m);
        if (m->n % 1500 == 0 || m->n < 5) {
            for (int i = 0; i < 100; i++)
                check_lookup(m, (int64_t)floe_rng_below(&m->rng, (uint64_t)floe_index_end(m->ix) + 2));
            check_max(m);
        }
        assert_int_equal(floe_index_end(m->ix), m->e[m->n - 1].end_offset);
    }
    while (floe_index_block_due(m->ix))
        build_one(m);
    assert_int_equal(floe_index_start(m->ix), m->e[0].base_offset);
    assert_true(floe_index_memory(m->ix) < 1u << 20);
    for (int i = 0; i < 300; i++)
        check_timestamp(m, (int64_t)floe_rng_below(&m->rng, (uint64_t)floe_index_end(m->ix)),
                        1700000000000 + (int64_t)floe_rng_below(&m->rng, MANY * 10 + 100));
    check_timestamp(m, 0, -1);
    check_timestamp(m, 0, INT64_MAX);
    for (uint32_t i = 0; i < m->n; i += 7) {
        check_lookup(m, m->e[i].base_offset);
        check_lookup(m, m->e[i].end_offset);
    }
    model_fini(m);
    free(m);
}

/* What a checkpoint keeps answers as the index did, blocks under way included. */
static void levels_survive_a_checkpoint(void **state)
{
    (void)state;
    struct model *m = malloc(sizeof *m);
    model_init(m, 5);
    while (m->n < 5000) {
        append(m);
        if (m->n < 4600)
            while (floe_index_block_due(m->ix))
                build_one(m);
    }
    struct floe_writer w;
    struct floe_index_block b;
    floe_writer_init(&w, FLOE_INDEX_BLOCK_BYTES_MAX);
    assert_int_equal(floe_index_block_begin(m->ix, &w, &b), FLOE_OK); /* under way, never done */
    floe_writer_fini(&w);
    floe_writer_init(&w, 1u << 24);
    assert_int_equal(floe_index_encode(m->ix, &w), FLOE_OK);
    struct floe_index *old = m->ix;
    assert_int_equal(floe_index_create(&m->ix), FLOE_OK);
    struct floe_error err = {0};
    assert_int_equal(floe_index_decode(m->ix, floe_slice(w.p, w.n), &err), FLOE_OK);
    assert_int_equal(floe_index_end(m->ix), floe_index_end(old));
    for (int i = 0; i < 200; i++)
        check_lookup(m, (int64_t)floe_rng_below(&m->rng, (uint64_t)floe_index_end(m->ix) + 2));
    while (floe_index_block_due(m->ix))
        build_one(m);
    for (uint32_t i = 0; i < m->n; i += 13)
        check_lookup(m, m->e[i].base_offset);
    floe_index_destroy(&old);
    model_fini(m);
    free(m);

    /* Cuts and flips: an error, and the index stays empty; never a crash. */
    struct floe_index *ix;
    assert_int_equal(floe_index_create(&ix), FLOE_OK);
    for (size_t n = 0; n < w.n; n += n < 200 ? 1 : 97) {
        uint8_t *cut = malloc(n ? n : 1);
        memcpy(cut, w.p, n);
        assert_int_equal(floe_index_decode(ix, floe_slice(cut, n), &err), FLOE_ECORRUPT);
        assert_int_equal(floe_index_end(ix), 0);
        free(cut);
    }
    floe_index_destroy(&ix);
    for (size_t i = 0; i < 400 * 8; i++) {
        assert_int_equal(floe_index_create(&ix), FLOE_OK);
        w.p[i / 8] ^= (uint8_t)(1 << i % 8);
        enum floe_err e = floe_index_decode(ix, floe_slice(w.p, w.n), &err);
        assert_true(e == FLOE_OK || floe_index_end(ix) == 0);
        w.p[i / 8] ^= (uint8_t)(1 << i % 8);
        floe_index_destroy(&ix);
    }
    floe_writer_fini(&w);
}

static void pages_are_checked(void **state)
{
    (void)state;
    struct model *m = malloc(sizeof *m);
    model_init(m, 3);
    while (m->n < 200)
        append(m);
    build_one(m);
    build_one(m);
    struct floe_index_page page;
    struct floe_error err = {0};
    uint8_t *p = m->pages.bytes[0];
    uint32_t n = m->pages.n[0];
    for (uint32_t i = 0; i < n * 8; i++) {
        p[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(floe_index_page_decode(floe_slice(p, n), &page, &err), FLOE_ECORRUPT);
        /* Behind the checksum: refused or in order. */
        uint32_t kept = floe_le32(p + 8);
        floe_put_le32(p + 8, floe_crc32c(floe_crc32c(0, p, 8), p + 12, n - 12));
        if (i / 8 >= 4 && floe_index_page_decode(floe_slice(p, n), &page, &err) == FLOE_OK)
            for (uint32_t k = 1; k < page.n; k++)
                assert_true(page.entries[k].base_offset >= page.entries[k - 1].end_offset);
        floe_put_le32(p + 8, kept);
        p[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (uint32_t k = 0; k < n; k++) {
        uint8_t *cut = malloc(k ? k : 1);
        memcpy(cut, p, k);
        assert_int_equal(floe_index_page_decode(floe_slice(cut, k), &page, &err), FLOE_ECORRUPT);
        free(cut);
    }
    struct floe_index_hit hit;
    assert_int_equal(floe_index_lookup(m->ix, 0, &hit), FLOE_OK);
    assert_int_equal(hit.level, 1);
    assert_int_equal(floe_index_page_decode(floe_slice(p, n), &page, &err), FLOE_OK);
    assert_int_equal(floe_index_page_check(&page, &hit, &err), FLOE_OK);
    assert_int_equal(floe_index_page_decode(floe_slice(m->pages.bytes[1], m->pages.n[1]), &page, &err),
                     FLOE_OK);
    assert_int_equal(floe_index_page_check(&page, &hit, &err), FLOE_ECORRUPT);
    model_fini(m);
    free(m);
}

static void appends_must_ascend(void **state)
{
    (void)state;
    struct floe_index *ix;
    assert_int_equal(floe_index_create(&ix), FLOE_OK);
    struct floe_index_entry e = {.base_offset = 10, .end_offset = 20, .length = 5};
    assert_int_equal(floe_index_append(ix, &e), FLOE_OK);
    e.base_offset = 19;
    e.end_offset = 30;
    assert_int_equal(floe_index_append(ix, &e), FLOE_ECORRUPT);
    e.base_offset = e.end_offset = 20;
    assert_int_equal(floe_index_append(ix, &e), FLOE_ECORRUPT);
    assert_int_equal(floe_index_end(ix), 20);
    struct floe_writer w;
    struct floe_index_block b;
    floe_writer_init(&w, 100);
    assert_false(floe_index_block_due(ix));
    assert_int_equal(floe_index_block_begin(ix, &w, &b), FLOE_ENOTFOUND);
    floe_writer_fini(&w);
    floe_index_destroy(&ix);
    assert_null(ix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_the_model),
        cmocka_unit_test(levels_survive_a_checkpoint),
        cmocka_unit_test(pages_are_checked),
        cmocka_unit_test(appends_must_ascend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
