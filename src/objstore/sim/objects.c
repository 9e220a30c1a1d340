#include "sim_int.h"

#include <stdio.h>
#include <stdlib.h>

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>

bool floe_sim_bucket_search(struct floe_sim_bucket *b, const char *key, size_t *at)
{
    size_t lo = 0, hi = b->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(b->obj[mid]->pub.key, key);
        if (c == 0) {
            *at = mid;
            return true;
        }
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *at = lo;
    return false;
}
static struct object *find(struct floe_sim_bucket *b, const char *key, uint64_t hash)
{
    struct floe_map_node *n = floe_map_first(&b->map, hash);
    while (n && strcmp(FLOE_CONTAINER(n, struct object, by_key)->pub.key, key) != 0)
        n = floe_map_next_same(n);
    return n ? FLOE_CONTAINER(n, struct object, by_key) : NULL;
}
static uint64_t hash_of(const char *key)
{
    return floe_hash64(key, strlen(key), 3);
}
/* Equal bytes, equal version, as S3's ETag of a simple PUT. */
static void version_of(char out[FLOE_STORE_VERSION_MAX], const void *data, size_t n)
{
    snprintf(out, FLOE_STORE_VERSION_MAX, "%016llx%016llx", (unsigned long long)floe_hash64(data, n, 1),
             (unsigned long long)floe_hash64(data, n, 2));
}
/* Only a store that answers with it remembers what lay there. */
static void keep_old(struct floe_sim_bucket *b, struct object *o)
{
    free(o->old);
    o->old = NULL;
    if (b->breaks != FLOE_SIM_GET_STALE) {
        free((void *)(uintptr_t)o->pub.data);
        return;
    }
    o->old = (uint8_t *)(uintptr_t)o->pub.data;
    o->old_n = o->pub.n;
    memcpy(o->old_version, o->pub.version, sizeof o->old_version);
    memcpy(o->old_nonce, o->pub.nonce, sizeof o->old_nonce);
}
struct object *floe_sim_bucket_write(struct floe_sim_bucket *b, const char *key, const void *data, size_t n,
                                     const char *nonce)
{
    size_t at;
    uint64_t hash = hash_of(key);
    struct object *o = find(b, key, hash);
    if (o) {
        keep_old(b, o);
    } else {
        o = calloc(1, sizeof *o);
        FLOE_ASSERT(o);
        o->pub.key = strdup(key);
        FLOE_ASSERT(o->pub.key);
        if (b->n == b->cap) {
            b->cap = b->cap ? b->cap * 2 : 256;
            b->obj = realloc(b->obj, b->cap * sizeof(struct object *));
            FLOE_ASSERT(b->obj);
        }
        if (floe_sim_bucket_search(b, key, &at) || !floe_map_insert(&b->map, &o->by_key, hash))
            FLOE_ASSERT(false);
        memmove(b->obj + at + 1, b->obj + at, (b->n - at) * sizeof(struct object *));
        b->obj[at] = o;
        b->n++;
    }
    uint8_t *copy = malloc(n ? n : 1);
    FLOE_ASSERT(copy);
    if (n)
        memcpy(copy, data, n);
    o->pub.data = copy;
    o->pub.n = n;
    o->pub.at_us = floe_sim_now_us(b->sim);
    version_of(o->pub.version, copy, n);
    snprintf(o->pub.nonce, sizeof o->pub.nonce, "%s", nonce ? nonce : "");
    return o;
}
static void object_free(struct object *o)
{
    free((void *)(uintptr_t)o->pub.key);
    free((void *)(uintptr_t)o->pub.data);
    free(o->old);
    free(o);
}
/* What was deleted, and comes again. */
struct ghost {
    struct floe_list link;
    struct floe_sim_bucket *b;
    struct floe_sim_event back;
    struct object *o;
};
static void ghost_free(struct ghost *g)
{
    floe_sim_unschedule(g->b->sim, &g->back);
    floe_list_remove(&g->link);
    object_free(g->o);
    free(g);
}
static void on_back(struct floe_sim_event *e)
{
    struct ghost *g = FLOE_CONTAINER(e, struct ghost, back);
    const struct floe_sim_object *o = &g->o->pub;
    if (!floe_sim_bucket_find(g->b, o->key)) {
        floe_sim_note(g->b->sim, NULL, "%s is there again", o->key);
        floe_sim_bucket_write(g->b, o->key, o->data, o->n, o->nonce);
    }
    ghost_free(g);
}
static void bucket_destroy(void *p)
{
    struct floe_sim_bucket *b = p;
    for (size_t i = 0; i < b->n; i++)
        object_free(b->obj[i]);
    for (struct floe_list *l; (l = floe_list_pop_front(&b->ghosts));)
        ghost_free(FLOE_LIST_ENTRY(l, struct ghost, link));
    floe_map_fini(&b->map);
    free(b->obj);
    free(b->rules);
    free(b);
}
struct floe_sim_bucket *floe_sim_bucket_create(struct floe_sim *sim)
{
    struct floe_sim_bucket *b = calloc(1, sizeof *b);
    FLOE_ASSERT(b);
    b->sim = sim;
    floe_list_init(&b->ghosts);
    floe_sim_own(sim, b, bucket_destroy);
    return b;
}
const struct floe_sim_object *floe_sim_bucket_find(struct floe_sim_bucket *b, const char *key)
{
    struct object *o = find(b, key, hash_of(key));
    return o ? &o->pub : NULL;
}
size_t floe_sim_bucket_count(struct floe_sim_bucket *b)
{
    return b->n;
}
const struct floe_sim_object *floe_sim_bucket_at(struct floe_sim_bucket *b, size_t i)
{
    FLOE_ASSERT(i < b->n);
    return &b->obj[i]->pub;
}
void floe_sim_bucket_put(struct floe_sim_bucket *b, const char *key, const void *data, size_t n,
                         const char *nonce)
{
    floe_sim_bucket_write(b, key, data, n, nonce);
}
static struct object *take_out(struct floe_sim_bucket *b, size_t at)
{
    struct object *o = b->obj[at];
    floe_map_remove(&b->map, &o->by_key);
    b->n--;
    memmove(b->obj + at, b->obj + at + 1, (b->n - at) * sizeof(struct object *));
    return o;
}
bool floe_sim_bucket_delete(struct floe_sim_bucket *b, const char *key)
{
    size_t at;
    if (!floe_sim_bucket_search(b, key, &at))
        return false;
    object_free(take_out(b, at));
    return true;
}
void floe_sim_bucket_remove(struct floe_sim_bucket *b, const char *key)
{
    size_t at;
    if (!floe_sim_bucket_breaks(b, FLOE_SIM_DELETE_RESURRECTS) || !floe_sim_bucket_search(b, key, &at)) {
        floe_sim_bucket_delete(b, key);
        return;
    }
    struct ghost *g = calloc(1, sizeof *g);
    FLOE_ASSERT(g);
    g->b = b;
    g->o = take_out(b, at);
    g->back.fn = on_back;
    floe_list_push_back(&b->ghosts, &g->link);
    floe_sim_after(b->sim, &g->back, 500000 + floe_rng_below(floe_sim_rng(b->sim), 5000000));
}
void floe_sim_bucket_watch(struct floe_sim_bucket *b,
                           void (*fn)(void *user, const struct floe_sim_store_event *e), void *user)
{
    b->watch = fn;
    b->watch_user = user;
}
