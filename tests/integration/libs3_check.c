/* libs3_check: reads every object of a Floe cluster with libs3 (an S3 client that is not ours) and checks it
 * against docs/formats. Prints one line of counts; exit code 0 when everything is as the documents say, 1
 * when not, 2 for wrong usage or a store that does not answer.
 *
 *   libs3_check --endpoint HOST:PORT --bucket B [--prefix P] [--partitions|--keys]     (http;
 * AWS_ACCESS_KEY_ID,
 * ...) libs3_check --object KEY FILE                                               one object, from a file
 */
#include "libs3_verify.h"

#include <jansson.h>
#include <libs3.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *endpoint, *bucket, *prefix, *key, *file;
    bool partitions, keys; /* keys: the names below chain/ with their sizes, no checks */
};
struct key {
    char *name;
    uint64_t size;
};
struct bucket {
    S3BucketContext ctx;
    struct key *keys;
    size_t n, cap;
    bool truncated;
    S3Status status;
    char details[256];
};
struct body {
    struct bucket *b;
    uint8_t *p;
    size_t n, cap;
};

static S3Status on_properties(const S3ResponseProperties *properties, void *user)
{
    (void)properties;
    (void)user;
    return S3StatusOK;
}

static void on_complete(S3Status status, const S3ErrorDetails *details, struct bucket *b)
{
    b->status = status;
    snprintf(b->details, sizeof b->details, "%s%s%s", S3_get_status_name(status),
             details && details->message ? ": " : "", details && details->message ? details->message : "");
}

static void on_list_complete(S3Status status, const S3ErrorDetails *details, void *user)
{
    on_complete(status, details, user);
}

static void on_get_complete(S3Status status, const S3ErrorDetails *details, void *user)
{
    on_complete(status, details, ((struct body *)user)->b);
}

static S3Status on_keys(int truncated, const char *next, int count, const S3ListBucketContent *contents,
                        int prefix_count, const char **prefixes, void *user)
{
    struct bucket *b = user;
    (void)next;
    (void)prefix_count;
    (void)prefixes;
    b->truncated = truncated != 0;
    for (int i = 0; i < count; i++) {
        if (b->n == b->cap) {
            b->cap = b->cap ? b->cap * 2 : 1024;
            b->keys = realloc(b->keys, b->cap * sizeof *b->keys);
        }
        if (!b->keys)
            return S3StatusAbortedByCallback;
        b->keys[b->n++] = (struct key){strdup(contents[i].key), contents[i].size};
    }
    return S3StatusOK;
}

static S3Status on_data(int size, const char *data, void *user)
{
    struct body *body = user;
    if ((size_t)size > body->cap - body->n)
        return S3StatusAbortedByCallback;
    memcpy(body->p + body->n, data, (size_t)size);
    body->n += (size_t)size;
    return S3StatusOK;
}

static bool list_all(struct bucket *b, const char *prefix)
{
    S3ListBucketHandler handler = {{on_properties, on_list_complete}, on_keys};
    do {
        char marker[1100];
        snprintf(marker, sizeof marker, "%s", b->n ? b->keys[b->n - 1].name : "");
        for (int attempt = 0; attempt < 5; attempt++) {
            S3_list_bucket(&b->ctx, prefix, marker[0] ? marker : NULL, NULL, 1000, NULL, &handler, b);
            if (!S3_status_is_retryable(b->status))
                break;
        }
    } while (b->status == S3StatusOK && b->truncated);
    return b->status == S3StatusOK;
}

static bool get(struct bucket *b, const struct key *k, struct body *body)
{
    S3GetObjectHandler handler = {{on_properties, on_get_complete}, on_data};
    S3GetConditions none = {-1, -1, NULL, NULL};
    if (body->cap < k->size + 1) {
        body->cap = k->size + 1;
        body->p = realloc(body->p, body->cap);
    }
    for (int attempt = 0; body->p && attempt < 5; attempt++) {
        body->n = 0;
        S3_get_object(&b->ctx, k->name, &none, 0, 0, NULL, &handler, body);
        if (!S3_status_is_retryable(b->status))
            break;
    }
    return body->p && b->status == S3StatusOK && body->n == k->size;
}

static bool is_json(const struct body *body)
{
    json_t *v = json_loadb((const char *)body->p, body->n, JSON_REJECT_DUPLICATES, NULL);
    bool ok = json_is_object(v);
    json_decref(v);
    return ok;
}

/* One object by the part of the cluster that it belongs to. */
static bool check_one(struct seen *seen, const char *name, const struct body *body, char why[200])
{
    if (strncmp(name, "chain/", 6) == 0)
        return verify_object(seen, name, body->p, body->n, why);
    if (strcmp(name, "cluster") == 0 || strncmp(name, "table/", 6) == 0) {
        if (is_json(body))
            return true;
        snprintf(why, 200, "%s: not a JSON object", name);
        return false;
    }
    if (strncmp(name, "probe/", 6) == 0) /* a probe that was cut short leaves these behind */
        return true;
    snprintf(why, 200, "%s: the documents know no such key", name);
    return false;
}

/* The floors first: they say which keys may be missing. */
static bool read_floors(struct bucket *b, size_t skip, struct body *body, struct seen *seen, char why[200])
{
    for (size_t i = 0; i < b->n; i++) {
        const char *name = b->keys[i].name + skip;
        if (strncmp(name, "table/floor/", 12) != 0)
            continue;
        if (!get(b, &b->keys[i], body)) {
            snprintf(why, 200, "%.80s: %.100s", name, b->details);
            return false;
        }
        json_t *v = json_loadb((const char *)body->p, body->n, JSON_REJECT_DUPLICATES, NULL);
        const json_t *floor = json_object_get(json_object_get(v, "value"), "floor");
        bool ok = verify_floor(seen, name + 12, json_is_integer(floor) ? json_integer_value(floor) : -1, why);
        json_decref(v);
        if (!ok)
            return false;
    }
    return true;
}

static void print_partitions(const struct seen *seen)
{
    for (size_t i = 0; i < seen->block_n && seen->blocks[i].counted;) {
        const struct seen_block *first = &seen->blocks[i];
        uint64_t records = 0;
        int64_t end = first->base;
        for (;
             i < seen->block_n && seen->blocks[i].counted && seen->blocks[i].partition == first->partition &&
             memcmp(seen->blocks[i].topic, first->topic, 16) == 0;
             i++) {
            records += seen->blocks[i].records;
            end = seen->blocks[i].end;
        }
        for (int k = 0; k < 16; k++)
            printf("%02x", first->topic[k]);
        printf(" %" PRIu32 " start=%" PRId64 " end=%" PRId64 " records=%" PRIu64 "\n", first->partition,
               first->base, end, records);
    }
}

static int report(struct seen *seen, bool ok, const char *why, bool partitions)
{
    if (ok && partitions)
        print_partitions(seen);
    printf("segments=%" PRIu64 " seals=%" PRIu64 " orphans=%" PRIu64 " blocks=%zu batches=%" PRIu64
           " records=%" PRIu64 " batch_bytes=%" PRIu64 " opaques=%" PRIu64 " bytes=%" PRIu64 "\n",
           seen->segments, seen->seals, seen->orphans, seen->block_n, seen->batches, seen->records,
           seen->batch_bytes, seen->opaques, seen->bytes);
    if (!ok)
        fprintf(stderr, "libs3_check: %s\n", why);
    seen_free(seen);
    return ok ? 0 : 1;
}

static int check_bucket(const struct options *o)
{
    struct seen seen = {0};
    char why[200] = "", prefix[1024] = "";
    struct bucket b = {.ctx = {.hostName = o->endpoint,
                               .bucketName = o->bucket,
                               .protocol = S3ProtocolHTTP,
                               .uriStyle = S3UriStylePath,
                               .accessKeyId = getenv("AWS_ACCESS_KEY_ID"),
                               .secretAccessKey = getenv("AWS_SECRET_ACCESS_KEY")}};
    if (!b.ctx.accessKeyId || !b.ctx.secretAccessKey) {
        fprintf(stderr, "libs3_check: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY\n");
        return 2;
    }
    if (o->prefix && o->prefix[0])
        snprintf(prefix, sizeof prefix, "%s/", o->prefix);
    if (S3_initialize("floe-tests", S3_INIT_ALL, o->endpoint) != S3StatusOK || !list_all(&b, prefix)) {
        fprintf(stderr, "libs3_check: listing %s: %s\n", o->bucket, b.details);
        return 2;
    }
    struct body body = {.b = &b};
    for (size_t i = 0; o->keys && i < b.n; i++)
        printf("%s %" PRIu64 "\n", b.keys[i].name + strlen(prefix), b.keys[i].size);
    bool ok = o->keys || read_floors(&b, strlen(prefix), &body, &seen, why);
    for (size_t i = 0; ok && !o->keys && i < b.n; i++) {
        if (!get(&b, &b.keys[i], &body)) {
            fprintf(stderr, "libs3_check: %s: %s\n", b.keys[i].name, b.details);
            return 2;
        }
        ok = check_one(&seen, b.keys[i].name + strlen(prefix), &body, why);
    }
    for (size_t i = 0; i < b.n; i++)
        free(b.keys[i].name);
    free(b.keys);
    free(body.p);
    S3_deinitialize();
    return report(&seen, ok && verify_all(&seen, why), why, o->partitions);
}

static int check_file(const struct options *o)
{
    static uint8_t bytes[64u << 20];
    struct seen seen = {.alone = true};
    char why[200] = "";
    FILE *in = fopen(o->file, "rb");
    if (!in) {
        fprintf(stderr, "libs3_check: %s cannot be opened\n", o->file);
        return 2;
    }
    size_t n = fread(bytes, 1, sizeof bytes, in);
    fclose(in);
    bool ok = verify_object(&seen, o->key, bytes, n, why);
    return report(&seen, ok, why, o->partitions);
}

int main(int argc, char **argv)
{
    struct options o = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--endpoint") == 0 && i + 1 < argc)
            o.endpoint = argv[++i];
        else if (strcmp(argv[i], "--bucket") == 0 && i + 1 < argc)
            o.bucket = argv[++i];
        else if (strcmp(argv[i], "--prefix") == 0 && i + 1 < argc)
            o.prefix = argv[++i];
        else if (strcmp(argv[i], "--partitions") == 0)
            o.partitions = true;
        else if (strcmp(argv[i], "--keys") == 0)
            o.keys = true;
        else if (strcmp(argv[i], "--object") == 0 && i + 2 < argc) {
            o.key = argv[++i];
            o.file = argv[++i];
        }
    }
    if (o.file)
        return check_file(&o);
    if (!o.endpoint || !o.bucket) {
        fprintf(stderr,
                "usage: libs3_check --endpoint HOST:PORT --bucket B [--prefix P] [--partitions|--keys]\n"
                "       libs3_check --object KEY FILE\n");
        return 2;
    }
    if (strncmp(o.endpoint, "http://", 7) == 0)
        o.endpoint += 7;
    return check_bucket(&o);
}
