/* What members of groups keep in memory, and how much of that there may be. */
#include "group_int.h"

#include <floe/base/log.h>

#include <inttypes.h>

#define RESERVE 4 /* members that are there may grow by a quarter of the share beyond it */

void members_charge(struct floe_groups *g, size_t *charged, size_t now)
{
    FLOE_ASSERT(g->stats.member_bytes >= *charged);
    g->stats.member_bytes = g->stats.member_bytes - *charged + now;
    *charged = now;
}

static int16_t refused(struct floe_groups *g, const char *what)
{
    uint64_t now = group_now_us(g);
    if (g->full_told_us == 0 || now - g->full_told_us >= GROUP_FULL_TOLD_US) {
        g->full_told_us = FLOE_MAX(now, 1u);
        floe_log_warn("group",
                      "members of groups fill their share of the memory (%" PRIu64 " of %" PRIu64
                      " bytes): %s until some leave, or memory is raised",
                      g->stats.member_bytes, g->cfg.set.members_max, what);
    }
    return FLOE_KERR_COORDINATOR_NOT_AVAILABLE;
}

int16_t members_room(struct floe_groups *g)
{
    uint64_t max = g->cfg.set.members_max;
    return max == 0 || g->stats.member_bytes < max ? 0 : refused(g, "new ones are refused");
}

int16_t members_growth(struct floe_groups *g, size_t more)
{
    uint64_t max = g->cfg.set.members_max;
    return max == 0 || g->stats.member_bytes + more <= max + max / RESERVE
               ? 0
               : refused(g, "none may ask for more than it had");
}
