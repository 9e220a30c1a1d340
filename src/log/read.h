/* Reads of committed data from the store: what the log's memory no longer holds.
 *
 * What it is: index lookup (old index blocks by ranged GET), ranged GETs of whole blocks, coalesced,
 * verified, read ahead, and a block cache within the cache budget. What it is not: the judge of what may be
 * read: the log gives the high watermark and has checked the offset.
 *
 *  1. floe_log_reader_read never completes from inside its call: `done` runs later, unless cancelled.
 *  2. An index that is handed in stays valid until floe_log_reader_forget(index), which answers what is open
 * on it with FLOE_ENOTHOLDER (later) and touches it no more.
 *  3. `r->driver` and `s->driver` are the reader's own meanwhile.
 *
 * Thread: the core loop.
 */
#ifndef FLOE_LOG_READ_H
#define FLOE_LOG_READ_H

#include <floe/log.h>
#include <floe/log/index.h>

struct floe_log_reader;
struct floe_log_reader_config {
    struct floe_loop *loop;
    struct floe_store *store;
    struct floe_budget
        *cache_budget; /* block cache and index blocks; evicts its own when the budget is full */
};
enum floe_err floe_log_reader_create(struct floe_log_reader **out,
                                     const struct floe_log_reader_config *cfg) FLOE_MUST_USE;
/* Frees; call-backs do not run. */
void floe_log_reader_destroy(struct floe_log_reader **rd);

/* Whole batches from the one that holds r->offset, below `high_watermark`. The log has set r->high_watermark
 * and r->log_start; offset < high_watermark. */
void floe_log_reader_read(struct floe_log_reader *rd, struct floe_index *ix, int64_t high_watermark,
                          struct floe_log_read *r);
void floe_log_reader_cancel(struct floe_log_reader *rd, struct floe_log_read *r);
/* First record at or after s->timestamp (or that of the largest) in [log_start, high_watermark). */
void floe_log_reader_seek(struct floe_log_reader *rd, struct floe_index *ix, int64_t log_start,
                          int64_t high_watermark, struct floe_log_seek *s);
void floe_log_reader_forget(struct floe_log_reader *rd, struct floe_index *ix);
/* Others need n bytes of the cache budget: the reader evicts what it has above half of it. */
void floe_log_reader_give_way(struct floe_log_reader *rd, size_t n);

#endif
