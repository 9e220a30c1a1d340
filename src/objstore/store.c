/* What all store drivers share: the life of a request's outputs, its checks, bodies that outlive a cancel. */
#include "body.h"

#include <floe/base/crc32c.h>
#include <stdlib.h>

void floe_store_req_fini(struct floe_store_req *r)
{
    floe_buf_unref(r->data);
    r->data = NULL;
    free(r->piece_crc);
    r->piece_crc = NULL;
    floe_arena_fini(&r->arena);
    r->entries = NULL;
    r->entry_count = 0;
    r->truncated = false;
    r->err = (struct floe_error){0};
    r->version[0] = r->got_nonce[0] = '\0';
    r->size = 0;
    r->sent = 0;
}

uint32_t *floe_store_pieces_new(uint64_t bytes)
{
    uint64_t n = bytes / FLOE_STORE_PIECE;
    return n > 0 ? malloc(n * sizeof(uint32_t)) : NULL;
}

void floe_store_note_pieces(uint32_t *crc, uint64_t *done, const struct floe_buf *b)
{
    for (; (*done + 1) * FLOE_STORE_PIECE <= b->n; ++*done)
        crc[*done] = floe_crc32c(0, b->data + *done * FLOE_STORE_PIECE, FLOE_STORE_PIECE);
}

bool floe_store_key_ok(const char *key, bool prefix)
{
    size_t n = strnlen(key, FLOE_STORE_KEY_MAX);
    if (n == FLOE_STORE_KEY_MAX)
        return false;
    if (n == 0)
        return prefix;
    if (key[0] == '/' || strstr(key, "//") != NULL)
        return false;
    return prefix || key[n - 1] != '/';
}

static enum floe_err check_put(const struct floe_store_req *r, struct floe_error *err)
{
    if (r->cond == FLOE_PUT_REPLACE && r->if_version[0] == '\0')
        return floe_error_set(err, FLOE_EINVAL, "PUT of \"%s\": a replace needs the version to replace",
                              r->key);
    for (const char *p = r->nonce; *p; p++) {
        if (*p <= ' ' || *p >= 0x7f)
            return floe_error_set(err, FLOE_EINVAL, "PUT of \"%s\": a nonce is printable ASCII", r->key);
    }
    return FLOE_OK;
}

enum floe_err floe_store_req_check(const struct floe_store_req *r, struct floe_error *err)
{
    FLOE_ASSERT(r->done != NULL);
    FLOE_ASSERT(memchr(r->nonce, 0, sizeof r->nonce) && memchr(r->if_version, 0, sizeof r->if_version));
    if (r->kind == FLOE_STORE_DELETE && r->key_count > 0) {
        if (r->key_count > FLOE_STORE_LIST_MAX)
            return floe_error_set(err, FLOE_ETOOLARGE, "a batch delete of %u keys: at most %u", r->key_count,
                                  FLOE_STORE_LIST_MAX);
        for (uint32_t i = 0; i < r->key_count; i++) {
            if (!floe_store_key_ok(r->keys[i], false))
                return floe_error_set(err, FLOE_EINVAL, "\"%.200s\" is not a valid key", r->keys[i]);
        }
        return FLOE_OK;
    }
    if (!floe_store_key_ok(r->key, r->kind == FLOE_STORE_LIST))
        return floe_error_set(err, FLOE_EINVAL, "\"%.200s\" is not a valid key", r->key);
    switch (r->kind) {
    case FLOE_STORE_PUT:
        return check_put(r, err);
    case FLOE_STORE_GET:
        if (r->length == 0 || r->length > FLOE_STORE_OBJECT_MAX)
            return floe_error_set(err, FLOE_ETOOLARGE, "GET of \"%s\": %llu bytes asked for, 1 to %u allowed",
                                  r->key, (unsigned long long)r->length, FLOE_STORE_OBJECT_MAX);
        if (r->offset < 0 && (r->offset == INT64_MIN || (uint64_t)-r->offset > r->length))
            return floe_error_set(err, FLOE_EINVAL, "GET of \"%s\": the last %lld bytes exceed the length",
                                  r->key, (long long)-(r->offset + 1) + 1);
        return FLOE_OK;
    case FLOE_STORE_LIST:
        if (r->max_keys == 0 || r->max_keys > FLOE_STORE_LIST_MAX)
            return floe_error_set(err, FLOE_EINVAL, "LIST of \"%s\": %u keys a page, 1 to %u allowed", r->key,
                                  r->max_keys, FLOE_STORE_LIST_MAX);
        return FLOE_OK;
    case FLOE_STORE_HEAD:
    case FLOE_STORE_DELETE:
        return FLOE_OK;
    }
    return floe_error_set(err, FLOE_EINVAL, "unknown kind of request");
}

enum floe_err floe_store_body_hold(struct floe_store_body *b, const struct floe_bufslice *slices,
                                   uint32_t count, struct floe_error *err)
{
    uint64_t n = 0, unheld = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (slices[i].n > FLOE_STORE_OBJECT_MAX - n)
            return floe_error_set(err, FLOE_ETOOLARGE, "an object of more than %u bytes",
                                  FLOE_STORE_OBJECT_MAX);
        n += slices[i].n;
        if (!slices[i].buf)
            unheld += slices[i].n;
    }
    struct floe_bufslice *own = calloc(count ? count : 1, sizeof *own);
    uint8_t *copied = unheld ? malloc(unheld) : NULL;
    if (!own || (unheld && !copied)) {
        free(own);
        free(copied);
        return floe_error_set(err, FLOE_ENOMEM, "no memory for a body of %llu bytes", (unsigned long long)n);
    }
    uint8_t *at = copied;
    for (uint32_t i = 0; i < count; i++) {
        own[i] = slices[i];
        if (own[i].buf) {
            floe_buf_ref(own[i].buf);
        } else if (own[i].n) {
            memcpy(at, own[i].p, own[i].n);
            own[i].p = at;
            at += own[i].n;
        }
    }
    *b = (struct floe_store_body){.slices = own, .count = count, .n = n, .copied = copied};
    return FLOE_OK;
}

void floe_store_body_drop(struct floe_store_body *b)
{
    for (uint32_t i = 0; i < b->count; i++)
        floe_buf_unref(b->slices[i].buf);
    free(b->slices);
    free(b->copied);
    *b = (struct floe_store_body){0};
}

char **floe_store_keys_copy(const char *const *keys, uint32_t count)
{
    size_t n = (size_t)count * sizeof(char *);
    for (uint32_t i = 0; i < count; i++)
        n += strlen(keys[i]) + 1;
    char **out = malloc(n ? n : 1);
    if (!out)
        return NULL;
    char *at = (char *)(out + count);
    for (uint32_t i = 0; i < count; i++) {
        size_t k = strlen(keys[i]) + 1;
        memcpy(at, keys[i], k);
        out[i] = at;
        at += k;
    }
    return out;
}

void floe_store_count(struct floe_store *s, enum floe_store_kind kind)
{
    _Atomic uint64_t *c[] = {[FLOE_STORE_PUT] = &s->stats.put,
                             [FLOE_STORE_GET] = &s->stats.get,
                             [FLOE_STORE_HEAD] = &s->stats.head,
                             [FLOE_STORE_LIST] = &s->stats.list,
                             [FLOE_STORE_DELETE] = &s->stats.del};
    atomic_fetch_add_explicit(c[kind], 1, memory_order_relaxed);
}
