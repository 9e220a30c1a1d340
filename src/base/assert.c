#include <floe/base/assert.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void floe_assert_fail(const char *expr, const char *file, int line, const char *fn)
{
    char msg[512];
    int n = snprintf(msg, sizeof msg, "floe: assertion failed: %s (%s, %s:%d)\n", expr, fn, file, line);
    if (n > 0) {
        size_t len = FLOE_MIN((size_t)n, sizeof msg - 1);
        /* One write, no stdio: the process may be in any state. */
        ssize_t ignored = write(STDERR_FILENO, msg, len);
        (void)ignored;
    }
    abort();
}
