/* The only place that names concrete drivers. */
#include "broker/broker_int.h"
#include <errno.h>
#include <floe/base/log.h>
#include <floe/objstore/file.h>
#include <floe/objstore/s3.h>
#include <stdio.h>
#include <sys/stat.h>

#define TIER_DIR_MAX (FLOE_CONFIG_PATH_MAX + 8)
#define BASE_MIB 24 /* code, libraries, threads: what an idle broker has resident */

struct memory_shares floe_broker_memory(uint64_t memory)
{
    uint64_t mib = 1u << 20, rest = memory - FLOE_MIN(memory / 2, BASE_MIB * mib);
    struct memory_shares s = {
        .pending = rest / 5 * 2,
        .cache = rest / 5,
        .tier = FLOE_MIN(rest / 8, 64 * mib),
        .recycle = FLOE_MIN(rest / 12, 64 * mib),
        .answers = rest / 16,
        .fetch_max = FLOE_MAX(rest / 32, mib),
        .members = FLOE_MAX(rest / 16, 2 * mib),
    };
    return s;
}

static enum floe_err open_s3(struct floe_store **out, struct floe_loop *loop, const struct floe_config *cfg,
                             const struct floe_config_url *url, struct floe_error *err)
{
    char region[64];
    struct floe_store_s3_config s3 = {
        .bucket = url->bucket,
        .prefix = url->path,
        .endpoint = cfg->s3_endpoint[0] ? cfg->s3_endpoint : NULL,
        .region = region,
        .ca_file = cfg->s3_ca[0] ? cfg->s3_ca : NULL,
        .virtual_host = cfg->s3_style == FLOE_CONFIG_S3_VIRTUAL ||
                        (cfg->s3_style == FLOE_CONFIG_S3_AUTO && !cfg->s3_endpoint[0]),
        .connections = cfg->s3_connections,
    };
    snprintf(region, sizeof region, "%s", cfg->s3_region);
    enum floe_err rc = floe_s3_credentials_load(&s3.credentials, region, err);
    if (!rc && !region[0])
        snprintf(region, sizeof region, "us-east-1");
    return rc ? rc : floe_store_s3_create(out, loop, &s3, err);
}

enum floe_err floe_broker_open_store(struct floe_store **out, struct floe_loop *loop,
                                     const struct floe_config *cfg, const struct floe_config_url *url,
                                     struct floe_error *err)
{
    if (url->scheme == FLOE_CONFIG_S3)
        return open_s3(out, loop, cfg, url, err);
    struct floe_store_file_config file = {.dir = url->path, .fsync = true};
    return floe_store_file_create(out, loop, &file, err);
}

enum floe_err floe_broker_open_stores(struct broker *b, struct floe_error *err)
{
    enum floe_err rc = floe_broker_open_store(&b->store, b->loop, b->cfg, &b->cfg->store, err);
    if (!rc && !b->cfg->table_is_store)
        rc = floe_broker_open_store(&b->table_store, b->loop, b->cfg, &b->cfg->table, err);
    if (!rc)
        rc = floe_table_store_create(&b->table, b->table_store ? b->table_store : b->store, err);
    return rc;
}

static void older(struct floe_store_trouble *out, const struct floe_store_trouble *other)
{
    if (other->since_us > 0 && (out->since_us == 0 || other->since_us < out->since_us))
        *out = *other;
}

void floe_broker_trouble(const struct broker *b, struct floe_store_trouble *out)
{
    struct floe_store_trouble t = {0};
    floe_store_trouble(b->store, out);
    if (b->table_store != NULL)
        floe_store_trouble(b->table_store, &t);
    older(out, &t);
    if (b->ready) {
        floe_log_put_trouble(floe_core_log(b->core), &t);
        older(out, &t);
    }
}

static void tier_dir(const struct broker *b, char dir[TIER_DIR_MAX])
{
    snprintf(dir, TIER_DIR_MAX, "%s/tier", b->cfg->data_dir);
}

struct floe_uuid floe_broker_tier_cluster(const struct broker *b)
{
    char dir[TIER_DIR_MAX];
    tier_dir(b, dir);
    return floe_tier_rocksdb_cluster(dir);
}

enum floe_err floe_broker_open_tier(struct broker *b, struct floe_error *err)
{
    char dir[TIER_DIR_MAX], note[256] = "";
    tier_dir(b, dir);
    struct floe_tier_config tier = {.dir = dir,
                                    .cluster = b->cluster.id,
                                    .limit_bytes = b->cfg->tier_limit,
                                    .memory_bytes = floe_broker_memory(b->cfg->memory).tier};
    enum floe_err rc = floe_tier_rocksdb_open(&b->tier, b->loop, &tier, note, err);
    if (!rc && note[0])
        floe_log_warn("tier", "%s", note);
    return rc;
}
