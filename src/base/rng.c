#include <floe/base/assert.h>
#include <floe/base/rng.h>

#include <errno.h>
#include <sys/random.h>

static uint64_t rotl(uint64_t v, unsigned by)
{
    return v << by | v >> (64 - by);
}

/* SplitMix64, which the authors of xoshiro name for seeding it: never gives the all-zero state. */
static uint64_t splitmix(uint64_t *s)
{
    uint64_t z = *s += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

void floe_rng_init(struct floe_rng *r, uint64_t seed)
{
    for (size_t i = 0; i < 4; i++)
        r->s[i] = splitmix(&seed);
}

void floe_rng_init_os(struct floe_rng *r)
{
    size_t got = 0;
    while (got < sizeof r->s) {
        ssize_t n = getrandom((uint8_t *)r->s + got, sizeof r->s - got, 0);
        /* Only EINTR can happen before the kernel's pool is ready; anything else is a broken machine. */
        FLOE_ASSERT(n > 0 || errno == EINTR);
        if (n > 0)
            got += (size_t)n;
    }
    if ((r->s[0] | r->s[1] | r->s[2] | r->s[3]) == 0)
        floe_rng_init(r, 1);
}

uint64_t floe_rng_u64(struct floe_rng *r)
{
    uint64_t *s = r->s;
    uint64_t out = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return out;
}

uint64_t floe_rng_below(struct floe_rng *r, uint64_t n)
{
    FLOE_ASSERT(n > 0);
    /* Values below 2^64 mod n would favour small results: drawn again. */
    uint64_t skip = (0 - n) % n, v;
    do
        v = floe_rng_u64(r);
    while (v < skip);
    return v % n;
}

double floe_rng_unit(struct floe_rng *r)
{
    return (double)(floe_rng_u64(r) >> 11) * 0x1p-53;
}

void floe_rng_bytes(struct floe_rng *r, void *p, size_t n)
{
    uint8_t *to = p;
    while (n > 0) {
        uint64_t v = floe_rng_u64(r);
        size_t step = FLOE_MIN(n, sizeof v);
        memcpy(to, &v, step);
        to += step;
        n -= step;
    }
}

void floe_rng_uuid(struct floe_rng *r, struct floe_uuid *out)
{
    floe_rng_bytes(r, out->b, sizeof out->b);
    out->b[6] = (uint8_t)((out->b[6] & 0x0f) | 0x40);
    out->b[8] = (uint8_t)((out->b[8] & 0x3f) | 0x80);
}
