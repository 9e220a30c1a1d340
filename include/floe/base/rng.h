/* Seeded pseudo-random numbers (xoshiro256**). Production seeds from the kernel, the simulator from its seed.
 */
#ifndef FLOE_BASE_RNG_H
#define FLOE_BASE_RNG_H

#include <floe/base/bytes.h>

struct floe_rng {
    uint64_t s[4];
};
void floe_rng_init(struct floe_rng *r, uint64_t seed);
void floe_rng_init_os(struct floe_rng *r); /* 256 bits from getrandom(2) */
uint64_t floe_rng_u64(struct floe_rng *r);
/* Uniform in [0, n); n > 0. */
uint64_t floe_rng_below(struct floe_rng *r, uint64_t n);
double floe_rng_unit(struct floe_rng *r); /* [0, 1) */
void floe_rng_bytes(struct floe_rng *r, void *p, size_t n);
void floe_rng_uuid(struct floe_rng *r, struct floe_uuid *out); /* version 4 */

#endif
