/* Error kinds: one short, prescriptive list for the whole program.
 *
 * What it is: the enum every fallible function returns, and the pair (kind, message) that crosses module
 * borders. What it is not: a wire code. Each front door has one table that maps these to its own codes.
 *
 * Rules
 *  1. Out-parameters are untouched on failure.
 *  2. FLOE_EINDETERMINATE is returned only for a conditional write that may or may not have been applied. It
 * is never turned into success or failure without reading back.
 *  3. Libraries do not log; they fill a message that names what is wrong and where. Services log.
 */
#ifndef FLOE_BASE_ERR_H
#define FLOE_BASE_ERR_H

#include <stdarg.h>

#define FLOE_MUST_USE __attribute__((warn_unused_result))
#define FLOE_PRINTF(f, a) __attribute__((format(printf, f, a)))

enum floe_err {
    FLOE_OK = 0,
    FLOE_EINDETERMINATE, /* a conditional write: applied or not, nobody knows yet */
    FLOE_ENOTFOUND,      /* the key, bucket, topic, ... is absent */
    FLOE_EEXISTS,        /* create-only write: the key is there already */
    FLOE_ECONFLICT,      /* replace-if write: another version is there */
    FLOE_EDENIED,        /* credentials or permissions */
    FLOE_EINVAL,         /* bad input from outside: configuration, wire, command line */
    FLOE_ECORRUPT,       /* stored bytes fail their checksum or cannot be what they claim to be */
    FLOE_ETOOLARGE,      /* over a stated limit, found before anything was allocated */
    FLOE_ENOMEM,         /* the memory budget is exhausted */
    FLOE_ENOSPACE,       /* disk or store is full */
    FLOE_EIO,            /* local disk or unexpected store failure, not retriable as it is */
    FLOE_ETIMEOUT,       /* deadline passed; for a write use FLOE_EINDETERMINATE */
    FLOE_EREFUSED,       /* nobody listens there: connection refused */
    FLOE_EUNAVAILABLE,   /* passing trouble, certainly not applied: retry later */
    FLOE_EUNSUPPORTED,   /* the peer, store or version cannot do this */
    FLOE_ECANCELLED,     /* the caller withdrew the operation */
    FLOE_ECLOSED,        /* the object or connection is closed */
    FLOE_EFENCED,        /* the session is over: fenced or sealed by another */
    FLOE_ELAPSED,        /* the session may not act now: its lease is not known to be alive */
    FLOE_ENOTHOLDER,     /* this session holds no lease of that partition */
    FLOE_EAGAIN,         /* not now: a queue is at its limit */
    FLOE_ERR_COUNT
};

/* Kind and human sentence. `msg` may be empty, never missing its terminator. */
struct floe_error {
    enum floe_err code;
    char msg[320];
};

/* Short lower-case name of a kind, e.g. "not found". */
const char *floe_err_name(enum floe_err e);

/* Sets kind and message; returns the kind, so that `return floe_error_set(err, ...)` reads well. `err` may be
 * null. */
enum floe_err floe_error_set(struct floe_error *err, enum floe_err code, const char *fmt, ...)
    FLOE_PRINTF(3, 4);
/* Puts "prefix: " before the message; keeps the kind. */
void floe_error_prefix(struct floe_error *err, const char *fmt, ...) FLOE_PRINTF(2, 3);

#endif
