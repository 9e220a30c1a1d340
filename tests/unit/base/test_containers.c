/* Arena, map and list. */
#include <floe_cmocka.h>

#include <floe/base/arena.h>
#include <floe/base/crc32c.h>
#include <floe/base/list.h>
#include <floe/base/map.h>
#include <floe/base/rng.h>

#include <stdlib.h>

static void arena_gives_zeroed_aligned_memory(void **state)
{
    (void)state;
    struct floe_arena a;
    floe_arena_init(&a, 10 << 20);
    for (size_t n = 0; n < 3000; n += 7) {
        uint8_t *p = floe_arena_alloc(&a, n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, n);
    }
    uint8_t *big = floe_arena_alloc(&a, 1 << 20), *small = floe_arena_alloc(&a, 8);
    assert_non_null(big);
    assert_non_null(small);
    memset(big, 1, 1 << 20);
    assert_int_equal(*small, 0);
    char *s = floe_arena_strndup(&a, "hello world", 5);
    assert_string_equal(s, "hello");
    floe_arena_fini(&a);
    floe_arena_fini(&a);
}

static void arena_keeps_its_limit(void **state)
{
    (void)state;
    struct floe_arena a;
    floe_arena_init(&a, 1024);
    assert_null(floe_arena_alloc(&a, 1025));
    assert_non_null(floe_arena_alloc(&a, 1000));
    assert_null(floe_arena_alloc(&a, 100));
    assert_non_null(floe_arena_alloc(&a, 16));
    assert_int_equal(a.used, 1024);
    assert_null(floe_arena_alloc(&a, 0));
    assert_null(floe_arena_alloc(&a, SIZE_MAX));
    assert_null(floe_arena_calloc(&a, SIZE_MAX / 2, 4));
    assert_null(floe_arena_strndup(&a, "x", SIZE_MAX));
    floe_arena_fini(&a);
}

struct entry {
    struct floe_map_node node;
    unsigned key;
    bool in;
};

static struct entry *find(struct floe_map *m, unsigned key, uint64_t hash)
{
    for (struct floe_map_node *n = floe_map_first(m, hash); n != NULL; n = floe_map_next_same(n)) {
        struct entry *e = FLOE_MAP_ENTRY(n, struct entry, node);
        if (e->key == key)
            return e;
    }
    return NULL;
}

/* Against a plain array; `bits` few: many equal hashes. */
static void run_map(uint64_t mask)
{
    enum { N = 1000 };
    static struct entry e[N];
    memset(e, 0, sizeof e);
    struct floe_map m;
    struct floe_rng rng;
    floe_map_init(&m);
    floe_rng_init(&rng, mask);
    size_t count = 0;
    assert_null(floe_map_iter(&m, NULL));
    for (unsigned step = 0; step < 20000; step++) {
        unsigned k = (unsigned)floe_rng_below(&rng, N);
        uint64_t hash = floe_hash64(&k, sizeof k, 0) & mask;
        struct entry *found = find(&m, k, hash);
        assert_ptr_equal(found, e[k].in ? &e[k] : NULL);
        if (e[k].in) {
            floe_map_remove(&m, &e[k].node);
            count--;
        } else {
            e[k].key = k;
            assert_true(floe_map_insert(&m, &e[k].node, hash));
            count++;
        }
        e[k].in = !e[k].in;
        assert_int_equal(m.n, count);
    }
    size_t seen = 0;
    for (struct floe_map_node *n = floe_map_iter(&m, NULL), *next; n != NULL; n = next) {
        next = floe_map_iter(&m, n);
        struct entry *x = FLOE_MAP_ENTRY(n, struct entry, node);
        assert_true(x->in);
        floe_map_remove(&m, n);
        x->in = false;
        seen++;
    }
    assert_int_equal(seen, count);
    assert_int_equal(m.n, 0);
    floe_map_fini(&m);
}

static void map_agrees_with_an_array(void **state)
{
    (void)state;
    run_map(UINT64_MAX);
    run_map(0x3f);
    run_map(0);
}

static void map_iterates_the_same_way_every_time(void **state)
{
    (void)state;
    enum { N = 200 };
    unsigned order[2][N];
    for (int run = 0; run < 2; run++) {
        struct floe_map m;
        floe_map_init(&m);
        struct entry *e[N];
        for (unsigned i = 0; i < N; i++) {
            void *gap = run == 1 ? malloc(i * 13 + 1) : NULL; /* other addresses */
            e[i] = calloc(1, sizeof *e[i]);
            free(gap);
            e[i]->key = i;
            assert_true(floe_map_insert(&m, &e[i]->node, floe_hash64(&i, sizeof i, 5) & 0xff));
        }
        size_t at = 0;
        for (struct floe_map_node *n = floe_map_iter(&m, NULL); n != NULL; n = floe_map_iter(&m, n))
            order[run][at++] = FLOE_MAP_ENTRY(n, struct entry, node)->key;
        assert_int_equal(at, N);
        for (unsigned i = 0; i < N; i++)
            free(e[i]);
        floe_map_fini(&m);
    }
    assert_memory_equal(order[0], order[1], sizeof order[0]);
}

struct item {
    int v;
    struct floe_list link;
};

static void lists_keep_order(void **state)
{
    (void)state;
    struct floe_list l;
    struct item it[4] = {{.v = 0}, {.v = 1}, {.v = 2}, {.v = 3}};
    floe_list_init(&l);
    assert_true(floe_list_empty(&l));
    assert_null(floe_list_pop_front(&l));
    floe_list_remove(&it[0].link); /* on no list, never initialised */
    floe_list_push_back(&l, &it[1].link);
    floe_list_push_back(&l, &it[3].link);
    floe_list_push_front(&l, &it[0].link);
    floe_list_insert_before(&it[3].link, &it[2].link);
    int want = 0;
    FLOE_LIST_EACH(n, &l)
    assert_int_equal(FLOE_LIST_ENTRY(n, struct item, link)->v, want++);
    assert_int_equal(want, 4);
    FLOE_LIST_EACH_SAFE(n, &l)
    if (FLOE_LIST_ENTRY(n, struct item, link)->v % 2 == 0)
        floe_list_remove(n);
    floe_list_remove(&it[0].link);
    assert_ptr_equal(floe_list_pop_front(&l), &it[1].link);
    assert_ptr_equal(floe_list_pop_front(&l), &it[3].link);
    assert_true(floe_list_empty(&l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_gives_zeroed_aligned_memory),
        cmocka_unit_test(arena_keeps_its_limit),
        cmocka_unit_test(map_agrees_with_an_array),
        cmocka_unit_test(map_iterates_the_same_way_every_time),
        cmocka_unit_test(lists_keep_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
