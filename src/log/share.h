/* Shared reads: the store as the log's reader and followers see it. What one broker of a rack has fetched,
 * the others of that rack ask it for.
 *
 * What it is: a store driver over the log's store. A GET of a chain's object is answered from *runs*, ranges
 * of objects that are here, or on their way; what is missing is fetched, aligned to cells, from the object's
 * owner (rendezvous hashing over the live brokers of the own rack) or, when this is the owner, from the
 * store. What it is not: a judge of bytes. Whoever reads checks them, as it does the store's, and asks for
 * them `fresh` when they are wrong: then from the store.
 *
 *  1. A broker that is asked never asks another: two that take each other for the owner do not wait in a
 * ring.
 *  2. A peer that fails, is slow or refuses costs its deadline, once, and is not asked for a while; the store
 *     is read instead.
 *  3. Runs take a quarter of the cache at most (a sixteenth without others); their buffers are charged to it.
 *  4. Without another broker in the rack only last bytes (footers) are kept; everything else goes to the
 * store as it is.
 *
 * Thread: the core loop. */
#ifndef FLOE_LOG_SHARE_H
#define FLOE_LOG_SHARE_H

#include <floe/log.h>

struct floe_share;
enum floe_err floe_share_create(struct floe_share **out, struct floe_log *log) FLOE_MUST_USE;
void floe_share_destroy(struct floe_share **s);
struct floe_store *floe_share_store(struct floe_share *s);

#endif
