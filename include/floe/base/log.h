/* Process log: one line an event, human-readable or JSON, on stderr. Thread-safe; a line is one write.
 * Services log, libraries return errors. Fields are key=value pairs after the message. */
#ifndef FLOE_BASE_LOG_H
#define FLOE_BASE_LOG_H

#include <floe/base/err.h>
#include <stdbool.h>

enum floe_log_level { FLOE_LOG_ERROR, FLOE_LOG_WARN, FLOE_LOG_INFO, FLOE_LOG_DEBUG };

void floe_log_setup(enum floe_log_level level, bool json);
bool floe_log_enabled(enum floe_log_level level);
/* A hook that takes every line instead of stderr (tests, the simulator's story): "area: message", without the
 * time of day. Called under a lock: it must not log. Null restores stderr. */
void floe_log_hook(void (*fn)(void *user, enum floe_log_level level, const char *line), void *user);
/* `area` is the module's name. The message is one sentence without a full stop, values quoted where they are
 * outside input. */
void floe_log(enum floe_log_level level, const char *area, const char *fmt, ...) FLOE_PRINTF(3, 4);

#define floe_log_error(area, ...) floe_log(FLOE_LOG_ERROR, area, __VA_ARGS__)
#define floe_log_warn(area, ...) floe_log(FLOE_LOG_WARN, area, __VA_ARGS__)
#define floe_log_info(area, ...) floe_log(FLOE_LOG_INFO, area, __VA_ARGS__)
#define floe_log_debug(area, ...)                                                                            \
    do {                                                                                                     \
        if (floe_log_enabled(FLOE_LOG_DEBUG))                                                                \
            floe_log(FLOE_LOG_DEBUG, area, __VA_ARGS__);                                                     \
    } while (0)

#endif
