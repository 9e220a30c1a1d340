/* AWS Signature Version 4: the canonical form of a request, and its signature.
 *
 * What it is: pure functions over a request's parts as they go over the wire; used to sign requests to a
 * store, and usable to verify requests that others signed. What it is not: a parser of HTTP or a builder of
 * URLs; nothing is encoded or normalised here but what the canonical form itself asks for.
 *
 *  1. Path and query are taken as sent (percent-encoded). An S3 path is never normalised.
 *  2. All headers given are signed. Names are lower-cased, values trimmed, inner runs of spaces collapsed;
 * repeated names are joined with commas.
 *  3. The query is sorted by name, then value; a name without "=" gets one.
 *  4. A signer caches the day's key; it belongs to one thread.
 *
 * Errors: FLOE_ETOOLARGE over the limits below. Source: "Create a signed AWS API request" in the IAM guide.
 */
#ifndef FLOE_NET_SIGV4_H
#define FLOE_NET_SIGV4_H

#include <floe/base/bytes.h>
#include <floe/base/err.h>

#define FLOE_SIGV4_HEADERS_MAX 64
#define FLOE_SIGV4_QUERY_MAX 64                /* parameters */
#define FLOE_SIGV4_CANONICAL_MAX (64 * 1024)   /* bytes */
#define FLOE_SIGV4_AUTHORIZATION_MAX 2048      /* bytes, with terminator */
#define FLOE_SIGV4_UNSIGNED "UNSIGNED-PAYLOAD" /* for `payload`, over TLS */

struct floe_sigv4_header {
    const char *name, *value;
};
struct floe_sigv4_request {
    const char *method;
    const char *path;  /* begins with a slash */
    const char *query; /* without "?"; null or empty where there is none */
    const struct floe_sigv4_header *headers;
    uint32_t header_count;
    const char *payload; /* SHA-256 of the body in hex, or FLOE_SIGV4_UNSIGNED */
};
struct floe_sigv4_signer {
    char access_key[129], secret_key[129], region[64], service[16];
    char day[9];     /* what `key` is for; empty before the first signature */
    uint8_t key[32]; /* derived from secret, day, region and service */
};
void floe_sigv4_signer_init(struct floe_sigv4_signer *s, const char *access_key, const char *secret_key,
                            const char *region, const char *service);
/* Writes the canonical request; `w` is the caller's, with a maximum of FLOE_SIGV4_CANONICAL_MAX. The names of
 * the signed headers ("host;x-amz-date") go to `signed_headers` of FLOE_SIGV4_AUTHORIZATION_MAX bytes. */
enum floe_err floe_sigv4_canonical(struct floe_writer *w, char *signed_headers,
                                   const struct floe_sigv4_request *r, struct floe_error *err) FLOE_MUST_USE;
/* The signature in hex (64 characters and a terminator) of a canonical request at `date`
 * ("20260309T235958Z"). */
void floe_sigv4_signature(struct floe_sigv4_signer *s, char out[65], struct floe_slice canonical,
                          const char *date);
/* The value of the Authorization header, into FLOE_SIGV4_AUTHORIZATION_MAX bytes. */
enum floe_err floe_sigv4_sign(struct floe_sigv4_signer *s, char *authorization,
                              const struct floe_sigv4_request *r, const char *date,
                              struct floe_error *err) FLOE_MUST_USE;

/* SHA-256 of bytes in pieces, in hex. */
struct floe_sha256_hex {
    char hex[65];
};
struct floe_sha256_hex floe_sigv4_hash(const struct floe_slice *pieces, size_t count);
/* Milliseconds since 1970 as "20260309T235958Z" (17 bytes with terminator). */
void floe_sigv4_date(char out[17], int64_t wall_ms);

#endif
