/* What clients were told and what they read: one value for each (partition, offset), for ever. */
#include <stdlib.h>

#include <floe/base/assert.h>

#include "simcluster_int.h"

uint64_t simledger_value(uint32_t sent, uint32_t index)
{
    return (uint64_t)sent * 256 + index + 1;
}
void simledger_note(struct simcluster *c, uint32_t part, int64_t offset, uint64_t value, const char *who)
{
    struct simledger *l = &c->ledger[part];
    if (offset < 0 || offset > 10000000) {
        simcluster_violation(c, 1, "partition %u: offset %lld is %s", part, (long long)offset, who);
        return;
    }
    if (offset >= l->cap) {
        int64_t cap = FLOE_MAX(l->cap * 2, offset + 1024);
        l->value = realloc(l->value, (size_t)cap * sizeof *l->value);
        FLOE_ASSERT(l->value);
        memset(l->value + l->cap, 0, (size_t)(cap - l->cap) * sizeof *l->value);
        l->cap = cap;
    }
    if (l->value[offset] && l->value[offset] != value)
        simcluster_violation(c, 1, "partition %u offset %lld: %llu:%llu is %s, %llu:%llu was known", part,
                             (long long)offset, (unsigned long long)(value - 1) / 256,
                             (unsigned long long)(value - 1) % 256, who,
                             (unsigned long long)(l->value[offset] - 1) / 256,
                             (unsigned long long)(l->value[offset] - 1) % 256);
    l->value[offset] = value;
    l->n = FLOE_MAX(l->n, offset + 1);
}
bool simvalue_parse(const uint8_t *p, int32_t n, uint32_t *sent, uint32_t *index)
{
    uint64_t v[2] = {0, 0};
    int at = 0;
    for (int32_t i = 0; i < n && p[i] != ' '; i++) {
        if (p[i] == ':' && at == 0)
            at = 1;
        else if (p[i] >= '0' && p[i] <= '9' && v[at] < UINT32_MAX)
            v[at] = v[at] * 10 + (uint64_t)(p[i] - '0');
        else
            return false;
    }
    *sent = (uint32_t)v[0];
    *index = (uint32_t)v[1];
    return at == 1;
}

static bool read_batch(struct simcluster *c, uint32_t part, struct floe_slice bytes, const char *who)
{
    struct floe_record_iter *it;
    struct floe_record r;
    struct floe_error err;
    bool ok = true;
    if (floe_record_iter_create(&it, bytes, 1 << 20, &err)) {
        simcluster_violation(c, 1, "partition %u: a batch that cannot be %s: %s", part, who, err.msg);
        return false;
    }
    while (ok && floe_record_iter_next(it, &r, &err) == FLOE_OK) {
        uint32_t sent, index;
        if (!simvalue_parse(r.value.p, r.value.n, &sent, &index) || sent >= c->sent_n) {
            simcluster_violation(c, 1, "partition %u offset %lld: what is %s was never sent", part,
                                 (long long)r.offset, who);
            ok = false;
            break;
        }
        if (c->sent[sent].state == SENT_REFUSED)
            simcluster_violation(c, 5, "partition %u offset %lld: sending %u was refused, and is %s", part,
                                 (long long)r.offset, sent, who);
        simledger_note(c, part, r.offset, simledger_value(sent, index), who);
        c->out->read++;
    }
    floe_record_iter_destroy(&it);
    return ok;
}
int64_t simledger_read(struct simcluster *c, uint32_t part, int64_t position, const uint8_t *p, size_t n,
                       const char *who)
{
    struct floe_slice rest = floe_slice(p, n), bytes;
    struct floe_batch b;
    struct floe_error err;
    enum floe_err e;
    while ((e = floe_batch_next(&rest, &b, &bytes, &err)) == FLOE_OK) {
        if (!floe_batch_crc_ok(bytes.p, &b) || b.base_offset > position ||
            floe_batch_last_offset(&b) < position) {
            simcluster_violation(c, 1, "partition %u: a batch of offsets %lld to %lld at position %lld is %s",
                                 part, (long long)b.base_offset, (long long)floe_batch_last_offset(&b),
                                 (long long)position, who);
            return -1;
        }
        if (!read_batch(c, part, bytes, who))
            return -1;
        position = floe_batch_last_offset(&b) + 1;
    }
    if (e != FLOE_ENOTFOUND) {
        simcluster_violation(c, 1, "partition %u position %lld: %s", part, (long long)position, err.msg);
        return -1;
    }
    return position;
}
