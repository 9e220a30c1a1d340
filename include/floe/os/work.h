/* Worker threads for what would hold a loop up: local files, the tier's database, compression, hashing.
 *
 *  1. A job's `run` is called once on a worker; then its `done` once on the pool's loop. An accepted job
 * always gets both, in that order; `run` of jobs of one pool starts in the order of submission.
 *  2. The caller owns the job and keeps it in place until `done`. The pool touches it no more once `done` is
 *     called: it may be submitted again or freed there.
 *  3. Submitting is for the loop's thread. At most `max_jobs` are between submission and the end of `run`;
 * more are refused with FLOE_EAGAIN, and nothing is queued.
 *  4. What `run` did is visible to `done`.
 *  5. Destroying waits for the accepted jobs to run; their `done` calls are posted to the loop, which must
 * still be run (or destroyed with them undelivered).
 */
#ifndef FLOE_OS_WORK_H
#define FLOE_OS_WORK_H

#include <floe/os/loop.h>

struct floe_work;
struct floe_work_job {
    void (*run)(struct floe_work_job *job);  /* on a worker */
    void (*done)(struct floe_work_job *job); /* on the loop; null: nobody is told */
    void *user;
    struct floe_work_job *next; /* the pool's own, as is what follows */
    struct floe_task task;
};

/* Starts `threads` workers (1 to 64), named `name` (up to 15 bytes) in the process list. */
enum floe_err floe_work_create(struct floe_work **out, struct floe_loop *loop, const char *name,
                               unsigned threads, size_t max_jobs, struct floe_error *err) FLOE_MUST_USE;
/* FLOE_EAGAIN: the pool is at its limit, try again after a `done`. */
enum floe_err floe_work_submit(struct floe_work *w, struct floe_work_job *job) FLOE_MUST_USE;
/* Jobs between submission and the end of `run`. */
size_t floe_work_pending(struct floe_work *w);
void floe_work_destroy(struct floe_work **w); /* null is fine */

#endif
