/* The `s3` store driver: AWS S3, MinIO, Ceph RGW and their like, over libcurl multi on threads of its own. */
#ifndef FLOE_OBJSTORE_S3_H
#define FLOE_OBJSTORE_S3_H
#include <floe/objstore.h>

struct floe_s3_credentials {
    char access_key[129], secret_key[129], token[4097]; /* token may be empty */
};
/* Environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), then the shared files
 * (AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE, AWS_PROFILE, default ~/.aws/...). The sentence of a failure
 * says where it looked. `region` may be null; else it gets AWS_REGION, AWS_DEFAULT_REGION or the profile's
 * region when it is empty. */
enum floe_err floe_s3_credentials_load(struct floe_s3_credentials *out, char region[64],
                                       struct floe_error *err) FLOE_MUST_USE;

struct floe_store_s3_config {
    const char *bucket, *prefix; /* prefix without leading or trailing slash; may be empty */
    const char *endpoint;        /* null: AWS, derived from region; else http(s)://host[:port] */
    const char *region;          /* null: us-east-1 */
    const char *ca_file;         /* null: the system's */
    /* The bucket in the host name (what AWS wants), else in the path. Over TLS a bucket with a dot fits no
     * certificate as a host name: on AWS it goes into the path all the same. */
    bool virtual_host;
    /* SHA-256 of bodies over TLS too. Else it is signed over plain HTTP only, and there not on loopback: it
     * costs half a CPU second a GB here and as much in the store. An unsigned body carries a CRC-32C. */
    bool sign_payload_tls;
    uint32_t connections; /* data connections, 0 means 16; control requests have their own 4 */
    struct floe_s3_credentials credentials;
};
enum floe_err floe_store_s3_create(struct floe_store **out, struct floe_loop *loop,
                                   const struct floe_store_s3_config *cfg,
                                   struct floe_error *err) FLOE_MUST_USE;
#endif
