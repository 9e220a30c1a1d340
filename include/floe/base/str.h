/* Text that people write: numbers, sizes, durations, addresses, names, and the exact sentence when they are
 * wrong.
 *
 *  1. Parsers take the whole string: no white space around it, nothing left over, no locale.
 *  2. On failure the out-parameter is untouched and the error (FLOE_EINVAL) quotes the value, says what is
 *     allowed, and names no setting: the caller prefixes that.
 *  3. Formatting a value and parsing it again gives the same value.
 */
#ifndef FLOE_BASE_STR_H
#define FLOE_BASE_STR_H

#include <floe/base/err.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decimal digits only. */
enum floe_err floe_str_parse_u64(const char *s, uint64_t *out, struct floe_error *err) FLOE_MUST_USE;
/* Decimal digits with an optional minus. */
enum floe_err floe_str_parse_i64(const char *s, int64_t *out, struct floe_error *err) FLOE_MUST_USE;
/* true, yes, on, 1, false, no, off, 0; in any case. */
enum floe_err floe_str_parse_bool(const char *s, bool *out, struct floe_error *err) FLOE_MUST_USE;
/* Bytes: digits and an optional unit. k m g t and KiB MiB GiB TiB are powers of 1024, kB MB GB TB of 1000, b
 * or nothing is bytes; case does not count. "512MiB", "8m", "1048588". */
enum floe_err floe_str_parse_size(const char *s, uint64_t *out, struct floe_error *err) FLOE_MUST_USE;
/* Milliseconds: digits and ms, s, m (or min), h, d; no unit means milliseconds. "250ms", "10s", "7d". */
enum floe_err floe_str_parse_duration_ms(const char *s, uint64_t *out, struct floe_error *err) FLOE_MUST_USE;

#define FLOE_STR_HOST 254 /* 253 bytes of a DNS name and the terminator */
struct floe_str_addr {
    char host[FLOE_STR_HOST]; /* a name or an address; IPv6 without its brackets */
    uint16_t port;
};
/* HOST:PORT. IPv6 addresses stand in brackets: "[::1]:9092". The port is 1 to 65535. */
enum floe_err floe_str_parse_addr(const char *s, struct floe_str_addr *out,
                                  struct floe_error *err) FLOE_MUST_USE;
/* The same with port 0 allowed: the kernel chooses one. */
enum floe_err floe_str_parse_listen(const char *s, struct floe_str_addr *out,
                                    struct floe_error *err) FLOE_MUST_USE;
/* 0.0.0.0 or ::, which name no machine. */
bool floe_str_addr_is_wildcard(const struct floe_str_addr *a);

#define FLOE_STR_NUM 32 /* buffer for the two below */
/* The largest binary unit that divides the value: "512MiB", "1048588". */
const char *floe_str_size(char out[FLOE_STR_NUM], uint64_t bytes);
/* The largest unit that divides the value: "10s", "250ms". */
const char *floe_str_duration_ms(char out[FLOE_STR_NUM], uint64_t ms);
#define FLOE_STR_ADDR (FLOE_STR_HOST + 10) /* buffer for floe_str_addr, brackets and port included */
const char *floe_str_addr(char out[FLOE_STR_ADDR], const char *host, uint16_t port);

/* The candidate nearest to `name` by edit distance, for "did you mean"; null where none is near (more than a
 * third of its letters differ, and it is no beginning of it). Ties: the first. Names longer than 63 bytes
 * have no neighbour. */
const char *floe_str_nearest(const char *name, const char *const *candidates, size_t n);

/* Copies at most cap - 1 bytes and a terminator; false when it had to cut. */
bool floe_str_copy(char *out, size_t cap, const char *s);

#endif
