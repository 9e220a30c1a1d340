/* How busy a broker is: the share of its scarcest resource, smoothed; and what it costs when it does nothing.
 */
#include <floe/admin.h>

#include <math.h>

#define SMOOTH_US 30e6

const char *const floe_resource_names[FLOE_RESOURCES] = {"cpu", "core", "memory", "puts", "tier", "network"};

static double share(double part, double whole)
{
    return whole > 0 ? fmin(fmax(part / whole, 0), 1) : 0;
}

/* Counters never go back; a reading that does (another clock, a restarted counter) counts as nothing. */
static double grown(uint64_t now, uint64_t before)
{
    return now > before ? (double)(now - before) : 0;
}

void floe_utilisation_add(struct floe_utilisation *u, const struct floe_usage *now)
{
    const struct floe_usage last = u->last;
    u->last = *now;
    double us = grown(now->at_us, last.at_us);
    if (last.at_us == 0 || us <= 0)
        return;
    double raw[FLOE_RESOURCES] = {
        [FLOE_RES_CPU] = share(grown(now->cpu_us, last.cpu_us), us * now->cores),
        [FLOE_RES_CORE] = share(grown(now->core_cpu_us, last.core_cpu_us), us),
        [FLOE_RES_MEMORY] = share((double)now->memory, (double)now->memory_max),
        [FLOE_RES_PUTS] = share(grown(now->put_us, last.put_us), us * now->put_slots),
        [FLOE_RES_TIER] = share((double)now->tier, (double)now->tier_max),
        [FLOE_RES_NETWORK] = share(fmax(grown(now->net_in, last.net_in), grown(now->net_out, last.net_out)),
                                   us * 1e-6 * (double)now->net_max),
    };
    double weight = 1 - exp(-us / SMOOTH_US);
    u->max = 0;
    for (int i = 0; i < FLOE_RESOURCES; i++) {
        u->of[i] += weight * (raw[i] - u->of[i]);
        if (u->of[i] > u->max) {
            u->max = u->of[i];
            u->scarcest = (enum floe_resource)i;
        }
    }
}

struct floe_idle_cost floe_idle_cost(uint32_t brokers, uint32_t lease_ms)
{
    double lease_s = lease_ms / 1000.0, others = brokers > 1 ? brokers - 1 : 0;
    struct floe_idle_cost c = {
        .puts = 3 / lease_s, /* the session's renewal */
        .gets =
            4 * others / lease_s + 3 / lease_s, /* the others' records around their renewals; the catalog's */
        .lists = 4 / (3 * lease_s),             /* node records each lease time, lease shards every third */
    };
    double month = 30 * 86400.0;
    c.usd_month =
        month * ((c.puts + c.lists) * FLOE_USD_PER_1000_PUT + c.gets * FLOE_USD_PER_1000_GET) / 1000;
    return c;
}
