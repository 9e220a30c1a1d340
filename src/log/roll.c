/* Roll-ups, the writer's side: footers of the own chain's last segments are kept, and ride along
 * (docs/formats/rollup.md). */
#include <floe/base/mutant.h>

#include "log_int.h"

void floe_roll_init(struct floe_roll *r)
{
    *r = (struct floe_roll){0};
    floe_writer_init(&r->w, FLOE_ROLLUP_MAX);
}

void floe_roll_fini(struct floe_roll *r)
{
    floe_writer_fini(&r->w);
}

bool floe_roll_block(const struct floe_roll *r, uint64_t seq, struct floe_writer *out)
{
    bool whole = seq % FLOE_ROLLUP_KEYS == 0;
    if (seq % FLOE_ROLLUP_STEP != 0)
        return false;
    uint64_t first = whole ? r->first : r->step_first;
    size_t at = whole ? 0 : r->step_at;
    if (first >= r->end || (!whole && r->w.n - at > FLOE_ROLLUP_STEP_MAX))
        return false;
    uint8_t head[FLOE_ROLLUP_HEAD_BYTES];
    floe_rollup_head(head, first, (uint32_t)(r->end - first));
    floe_write(out, head, sizeof head);
    floe_write(out, r->w.p + at, r->w.n - at);
    return true;
}

void floe_roll_note(struct floe_roll *r, uint64_t seq, struct floe_slice tail, size_t max)
{
    if (seq % FLOE_ROLLUP_KEYS == 0) {
        r->w.n = 0;
        r->first = r->end = seq + 1;
    } else if (r->end == seq && r->w.n + 4 + tail.n <= FLOE_MIN(max, (size_t)FLOE_ROLLUP_MAX)) {
        size_t n = r->w.n;
        static const uint8_t none[FLOE_SEGMENT_TRAILER_BYTES];
        if (FLOE_MUTANT(ROLLUP_FOOTER_MISSED) && seq % 3 == 1)
            tail = floe_slice(none, sizeof none);
        floe_write_le32(&r->w, (uint32_t)tail.n);
        floe_write(&r->w, tail.p, tail.n);
        if (r->w.bad) { /* out of memory: the rest is read one by one */
            r->w.bad = false;
            r->w.n = n;
        } else {
            r->end = seq + 1;
        }
    }
    if (seq % FLOE_ROLLUP_STEP == 0) {
        r->step_at = r->w.n;
        r->step_first = seq + 1;
    }
}
