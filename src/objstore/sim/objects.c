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
/* Equal bytes, equal version, as S3's ETag of a simple PUT. */
static void version_of(char out[FLOE_STORE_VERSION_MAX], const void *data, size_t n)
{
    snprintf(out, FLOE_STORE_VERSION_MAX, "%016llx%016llx", (unsigned long long)floe_hash64(data, n, 1),
             (unsigned long long)floe_hash64(data, n, 2));
}
struct object *floe_sim_bucket_write(struct floe_sim_bucket *b, const char *key, const void *data, size_t n,
                                     const char *nonce)
{
    size_t at;
    struct object *o;
    if (floe_sim_bucket_search(b, key, &at)) {
        o = b->obj[at];
        free((void *)(uintptr_t)o->pub.data);
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
    free(o);
}
static void bucket_destroy(void *p)
{
    struct floe_sim_bucket *b = p;
    for (size_t i = 0; i < b->n; i++)
        object_free(b->obj[i]);
    free(b->obj);
    free(b->rules);
    free(b);
}
struct floe_sim_bucket *floe_sim_bucket_create(struct floe_sim *sim)
{
    struct floe_sim_bucket *b = calloc(1, sizeof *b);
    FLOE_ASSERT(b);
    b->sim = sim;
    floe_sim_own(sim, b, bucket_destroy);
    return b;
}
const struct floe_sim_object *floe_sim_bucket_find(struct floe_sim_bucket *b, const char *key)
{
    size_t at;
    return floe_sim_bucket_search(b, key, &at) ? &b->obj[at]->pub : NULL;
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
bool floe_sim_bucket_delete(struct floe_sim_bucket *b, const char *key)
{
    size_t at;
    if (!floe_sim_bucket_search(b, key, &at))
        return false;
    object_free(b->obj[at]);
    b->n--;
    memmove(b->obj + at, b->obj + at + 1, (b->n - at) * sizeof(struct object *));
    return true;
}
void floe_sim_bucket_watch(struct floe_sim_bucket *b,
                           void (*fn)(void *user, const struct floe_sim_store_event *e), void *user)
{
    b->watch = fn;
    b->watch_user = user;
}
