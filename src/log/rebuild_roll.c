/* Rebuild: many keys' footers by one GET, where segments carry roll-ups (docs/formats/rollup.md).
 *
 * A roll-up is a shortcut, never a condition: where there is none, or it does not fit, its keys are read one
 * by one. What it says of a key is taken only by a footer that says itself that it is of that key. */
#include <floe/base/crc32c.h>
#include <floe/base/mutant.h>

#include "rebuild_int.h"

uint64_t floe_rebuild_roll_to(const struct floe_key_range *r, uint64_t seq)
{
    static const uint64_t steps[] = {FLOE_ROLLUP_KEYS, FLOE_ROLLUP_STEP};
    if (seq == r->from) /* mostly a checkpoint's, which lies in the same bytes */
        return seq + 1;
    for (size_t i = 0; i < FLOE_COUNTOF(steps); i++) {
        uint64_t carrier = seq - seq % steps[i] + steps[i];
        if (seq % steps[i] != 0 && carrier < r->to && carrier - seq > 1)
            return carrier + 1;
    }
    return seq + 1;
}

/* All its keys, one by one. */
static void one_by_one(struct floe_rebuild_get *get)
{
    floe_store_req_fini(&get->req);
    get->source->group->rolled_bytes -= get->counted;
    get->counted = 0;
    get->windows = 0;
    get->kind = FLOE_REBUILD_KEY;
    get->sent = get->ready = false;
}

/* The roll-up's bytes. What it does not hold is read one by one. */
static void open_rollup(struct floe_rebuild_get *get, struct floe_slice bytes)
{
    struct floe_error err;
    struct floe_rollup *r = &get->rolled;
    char key[FLOE_CHAIN_KEY_MAX];
    floe_chain_key(key, &get->source->session, get->end);
    bool ok = floe_crc32c(0, bytes.p, bytes.n) == get->place.crc &&
              floe_rollup_open(bytes, key, r, &err) == FLOE_OK && r->first <= get->seq &&
              get->seq < r->first + r->count;
    struct floe_rebuild_get *rest = NULL;
    if (ok && r->first + r->count < get->end && !FLOE_MUTANT(ROLLUP_REST_PASSED)) {
        rest = floe_rebuild_get_new(get->source, FLOE_REBUILD_KEY, r->first + r->count, get->end);
        ok = rest != NULL;
    }
    if (!ok) {
        one_by_one(get);
        return;
    }
    if (rest) {
        floe_list_push_back(get->link.next, &rest->link); /* behind it */
        get->end = rest->seq;
    }
    struct floe_slice before;
    for (uint64_t size; r->first < get->seq;)
        (void)floe_rollup_next(r, &before, &size);
    get->ready = true;
}

static bool find_rollup(const struct floe_segment_footer *footer, struct floe_rebuild_place *out)
{
    struct floe_segment_cursor c;
    struct floe_segment_opaque o;
    floe_segment_cursor_init(&c, footer);
    while (floe_segment_next_opaque(&c, &o))
        if (o.kind == FLOE_OPAQUE_ROLLUP && !o.has_topic && o.length <= 2 * FLOE_ROLLUP_MAX) {
            *out = (struct floe_rebuild_place){o.position, o.length, o.crc};
            return true;
        }
    return false;
}

void floe_rebuild_roll_came(struct floe_rebuild_get *get, const struct floe_segment_footer *footer)
{
    struct floe_rebuild_get *before =
        footer ? floe_rebuild_get_new(get->source, FLOE_REBUILD_KEY, get->seq, get->end - 1) : NULL;
    if (!before) {
        one_by_one(get);
        return;
    }
    floe_list_push_back(&get->link, &before->link); /* before it */
    get->kind = FLOE_REBUILD_KEY;
    get->seq = get->end - 1;
    get->ready = true;
    if (!find_rollup(footer, &before->place))
        return;
    before->kind = FLOE_REBUILD_ROLLUP;
    struct floe_buf *data = get->req.data;
    uint64_t at = get->req.size - data->n;
    if (before->place.position < at)
        return; /* to be asked for */
    before->sent = true;
    before->req.data = floe_buf_ref(data);
    open_rollup(before, floe_slice(data->data + (before->place.position - at), before->place.length));
}

bool floe_rebuild_roll_room(const struct floe_rebuild_get *get)
{
    const struct floe_rebuild *g = get->source->group;
    return get->source->gets.next == &get->link ||
           g->rolled_bytes + get->place.length <= FLOE_REBUILD_ROLLED_MAX;
}

static void on_rollup(struct floe_store_req *r)
{
    struct floe_rebuild_get *get = r->user;
    if (floe_rebuild_anew(get->source->group, r, &get->windows))
        return;
    get->active = false;
    if (r->err.code == FLOE_OK && r->data->n == get->place.length)
        open_rollup(get, floe_slice(r->data->data, r->data->n));
    else
        one_by_one(get);
    floe_rebuild_got(get);
}

void floe_rebuild_roll_send(struct floe_rebuild_get *get)
{
    get->counted = get->place.length;
    get->source->group->rolled_bytes += get->counted;
    get->req = (struct floe_store_req){.kind = FLOE_STORE_GET,
                                       .cls = FLOE_STORE_DATA,
                                       .offset = (int64_t)get->place.position,
                                       .length = get->place.length,
                                       .done = on_rollup,
                                       .user = get};
    floe_rebuild_limit(&get->req);
    floe_chain_key(get->req.key, &get->source->session, get->end);
    get->active = true;
    floe_store_submit(get->source->group->store, &get->req);
}

bool floe_rebuild_roll_deliver(struct floe_rebuild_get *get)
{
    struct floe_rebuild_source *src = get->source;
    const struct floe_uuid *cluster = &src->group->log->cfg.cluster;
    while (get->seq < get->end) {
        struct floe_slice bytes;
        uint64_t size;
        struct floe_error err = {.code = FLOE_OK};
        struct floe_segment_tail opened;
        struct floe_segment_footer footer;
        char key[FLOE_CHAIN_KEY_MAX];
        floe_chain_key(key, &src->session, get->seq);
        bool ok = floe_rollup_next(&get->rolled, &bytes, &size) &&
                  floe_segment_tail_open(bytes, size, key, &opened, &err) == FLOE_OK && !opened.need &&
                  floe_segment_footer_open(&opened, key, &footer, &err) == FLOE_OK &&
                  floe_segment_id_check(&footer.id, key, &src->session, get->seq, cluster, &err) == FLOE_OK &&
                  !footer.id.seal;
        bool passed = !ok && (FLOE_MUTANT(ROLLUP_REST_PASSED) || FLOE_MUTANT(ROLLUP_FOOTER_MISSED));
        if (!ok && !passed) {
            one_by_one(get);
            return false;
        }
        struct floe_rebuild_tail tail = {.footer = passed ? NULL : &footer, .at = UINT64_MAX};
        if (passed)
            err.code = FLOE_OK;
        get->seq++;
        floe_rebuild_deliver(src, get->seq - 1, &tail, &err);
        floe_rebuild_delivered(src);
    }
    return true;
}
