/* CRC-32C (Castagnoli), as Kafka's batches and Floe's blocks use it: the best way that the processor has. */
#ifndef FLOE_BASE_CRC32C_H
#define FLOE_BASE_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (0 at the start) over n bytes; floe_crc32c(floe_crc32c(0, a), b) is the CRC of a then b. */
uint32_t floe_crc32c(uint32_t crc, const void *p, size_t n);
/* The same by one of the ways, for tests and for measuring: 0 tables, 1 SSE4.2, 2 AVX-512. False: this
 * processor has not what it takes. */
#define FLOE_CRC32C_WAYS 3
bool floe_crc32c_by(unsigned way, uint32_t *crc, const void *p, size_t n);
/* 64-bit hash of bytes with a seed (for tables and placement; XXH64; stable for ever, not cryptographic). */
uint64_t floe_hash64(const void *p, size_t n, uint64_t seed);

#endif
