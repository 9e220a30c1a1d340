/* A partition's checkpoint: refused, or read into a state that writes itself again and is read again. */
#include "log_rig.h"

#include <floe/base/assert.h>

#include "log/log_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct floe_checkpoint_ref REF = {{3, 4, 0x1122334455667788}, 9, true, 0};

static struct floe_partition *read_one(struct rig *r, struct floe_slice in)
{
    struct floe_tp tp = rig_tp(5, 6);
    struct floe_error err;
    struct floe_partition *p = floe_partition_create(r->log, &tp, 8);
    if (floe_checkpoint_decode(p, in, &REF, "key", &err) == FLOE_OK)
        return p;
    FLOE_ASSERT(err.msg[0]);
    floe_partition_destroy(p, FLOE_ENOTHOLDER);
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rig_world *w = rig_world_create(1);
    struct rig *r = rig_create(w, NULL);
    struct floe_partition *p = read_one(r, floe_slice(data, size));
    if (p) {
        struct floe_writer out;
        floe_writer_init(&out, 64u << 20);
        p->started_end = p->next_offset;
        FLOE_ASSERT(floe_checkpoint_encode(p, &REF.session, REF.seq, &out) == FLOE_OK);
        floe_partition_destroy(p, FLOE_ENOTHOLDER);
        p = read_one(r, floe_slice(out.p, out.n));
        FLOE_ASSERT(p);
        floe_partition_destroy(p, FLOE_ENOTHOLDER);
        floe_writer_fini(&out);
    }
    struct floe_stage_head h;
    struct floe_error err;
    (void)!floe_stage_head_decode(floe_slice(data, size), &h, &err);
    rig_free(&r);
    rig_world_destroy(&w);
    return 0;
}
