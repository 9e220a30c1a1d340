/* Settings for a store of these figures, and what its PUTs would cost. */
#include "cli/selftest/selftest.h"

#include <stdio.h>

/* AWS S3 Standard, us-east-1: dollars for a thousand requests. */
#define PUT_DOLLARS 0.005
#define MONTH_S (30.0 * 86400)
#define AWS_RATE 10.0  /* what put-rate=auto is there */
#define LEASE_MS 10000 /* the default */

static double dollars(double puts_a_second)
{
    return puts_a_second * MONTH_S / 1000 * PUT_DOLLARS;
}

static uint32_t rounded(double v, uint32_t step)
{
    uint32_t n = (uint32_t)((v + step / 2.0) / step);
    return n * step;
}

static void linger(struct st_advice *a, const struct st_figures *f, bool free_puts)
{
    double p50 = f->put[0][0].p50_ms, half = p50 / 2;
    if (free_puts) {
        a->linger_ms = FLOE_MAX(rounded(FLOE_MIN(half, 50.0), 5), 5u);
        (void)snprintf(a->why_linger, sizeof a->why_linger,
                       "about half of a small PUT's median (%.1f ms), at least 5: batches gather while one "
                       "is on its way",
                       p50);
    } else {
        a->linger_ms = (uint32_t)(1000 / AWS_RATE);
        (void)snprintf(
            a->why_linger, sizeof a->why_linger,
            "each PUT costs money: %.0f a second and broker are enough under load; when idle nothing waits",
            AWS_RATE);
    }
}

static void puts_in_flight(struct st_advice *a, const struct st_figures *f)
{
    const struct st_latency *one = &f->put[2][0], *four = &f->put[2][1];
    double gain = one->mb_s > 0 ? four->mb_s / one->mb_s : 4;
    a->puts_in_flight = gain < 1.3 ? 2 : gain < 3 ? 4 : 8;
    (void)snprintf(a->why_puts, sizeof a->why_puts,
                   "8 MiB PUTs moved %.0f MB/s one at a time, %.0f four at a time", one->mb_s, four->mb_s);
}

static void segment_bytes(struct st_advice *a, const struct st_figures *f)
{
    double p99 = f->put[2][1].p99_ms;
    a->segment_bytes = p99 > 4000 ? 2u << 20 : p99 > 2000 ? 4u << 20 : 8u << 20;
    (void)snprintf(a->why_segment, sizeof a->why_segment,
                   "four PUTs of 8 MiB at once: each there within %.0f ms (p99)", p99);
}

static void lease_ms(struct st_advice *a, const struct st_figures *f)
{
    double least = FLOE_MAX(f->put[0][1].p99_ms * 40, 2000.0);
    a->lease_ms = FLOE_MAX(rounded(least, 1000), (uint32_t)LEASE_MS);
    (void)snprintf(a->why_lease, sizeof a->why_lease,
                   "%s; not below %u: a third of it must do for several small PUTs (p99 %.1f ms)",
                   a->lease_ms == LEASE_MS ? "the default" : "this store is slow",
                   FLOE_MAX(rounded(least, 1000), 2000u), f->put[0][1].p99_ms);
}

void st_advise(struct st_advice *out, const struct st_figures *f, bool free_puts)
{
    *out = (struct st_advice){.put_rate = free_puts ? 0 : AWS_RATE};
    linger(out, f, free_puts);
    puts_in_flight(out, f);
    segment_bytes(out, f);
    lease_ms(out, f);
    (void)snprintf(out->why_rate, sizeof out->why_rate, "%s",
                   free_puts ? "requests to a store of your own cost nothing each"
                             : "the ceiling of the bill; full segments go past it");
    /* Idle: one renewal every third of the lease. Busy: that, and a segment every linger, as put-rate lets it
     * there. */
    double renewals = 3000.0 / out->lease_ms;
    out->idle_dollars = dollars(renewals);
    double flushes = FLOE_MIN(1000.0 / out->linger_ms, AWS_RATE);
    out->busy_dollars = dollars(renewals + flushes);
}
