/* Planned moves, views, and single values in the rig. */
#include "log_rig.h"

#include <floe/base/assert.h>
#include <string.h>

void rig_record(struct rig *r, uint64_t committed)
{
    FLOE_ASSERT(r->session.node <= (int32_t)RIG_NODES);
    r->w->records[r->session.node - 1] =
        (struct floe_node_info){.session = r->session, .state = FLOE_NODE_LIVE, .committed = committed};
}

bool rig_view_reaches(struct rig *r, struct floe_tp tp, int64_t hw, uint64_t us)
{
    struct floe_partition *p;
    for (uint64_t t = 0; t < us; t += 10000) {
        if (floe_log_view(r->log, &tp, &p) == FLOE_VIEW_SERVING && floe_partition_high_watermark(p) >= hw)
            return floe_partition_high_watermark(p) == hw;
        rig_run(r->w, 10000);
    }
    return false;
}

void rig_move(struct rig *from, struct rig *to, struct floe_tp tp)
{
    struct rig_lease *l = rig_lease(to->w, tp);
    struct floe_span *last = &l->spans[l->span_count - 1];
    FLOE_ASSERT(l->span_count < RIG_SPANS && floe_session_name_eq(&last->session, &from->session));
    if (last->first < from->stopped_end)
        last->end = from->stopped_end;
    else
        l->span_count--;
    l->holder = to->session;
    l->epoch++;
    l->spans[l->span_count++] = (struct floe_span){.session = to->session,
                                                   .first = floe_log_next_key(to->log),
                                                   .end = FLOE_SPAN_OPEN,
                                                   .epoch = l->epoch};
    floe_log_drop(from->log, &tp);
    rig_adopt(to);
}

struct wanted {
    int64_t offset;
    char *out;
};
static void take_value(void *user, int64_t offset, const char *value)
{
    struct wanted *w = user;
    if (offset == w->offset)
        memcpy(w->out, value, 24);
}

void rig_value(struct rig *r, struct floe_tp tp, int64_t offset, char out[24])
{
    struct wanted w = {offset, out};
    out[0] = 0;
    rig_read_all(r, tp, offset, 1u << 20, take_value, &w);
}
