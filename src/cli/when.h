/* Points in time and lengths of time as Kafka's tools take them. Pure functions. */
#ifndef FLOE_SRC_CLI_WHEN_H
#define FLOE_SRC_CLI_WHEN_H

#include <floe/base/err.h>
#include <stdint.h>

/* YYYY-MM-DDTHH:MM[:SS[.fff]], then Z, +HH:MM, -HH:MM, +HHMM, -HHMM or nothing (UTC). Milliseconds since
 * 1970. */
enum floe_err floe_when_datetime(const char *s, int64_t *ms, struct floe_error *err) FLOE_MUST_USE;
/* PnDTnHnMnS as ISO 8601 has it (each part may be missing, weeks as PnW), or as Floe's settings: 90m, 7d. */
enum floe_err floe_when_duration(const char *s, int64_t *ms, struct floe_error *err) FLOE_MUST_USE;

#endif
