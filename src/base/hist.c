#include <floe/base/hist.h>

const uint64_t floe_hist_bounds_us[FLOE_HIST_BOUNDS] = {
    500,    1000,   2500,    5000,    10000,   25000,    50000,    100000,
    250000, 500000, 1000000, 2500000, 5000000, 10000000, 15000000, 30000000};

void floe_hist_note(struct floe_hist *h, uint64_t us)
{
    unsigned i = 0;
    while (i < FLOE_HIST_BOUNDS && us > floe_hist_bounds_us[i])
        i++;
    h->counts[i]++;
    h->n++;
    h->sum_us += us;
}
