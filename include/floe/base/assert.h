/* Assertions are for our mistakes, errors for the world's. They stay on in release builds. */
#ifndef FLOE_BASE_ASSERT_H
#define FLOE_BASE_ASSERT_H

#include <stddef.h>

__attribute__((noreturn, cold)) void floe_assert_fail(const char *expr, const char *file, int line,
                                                      const char *fn);

#define FLOE_ASSERT(x)                                                                                       \
    do {                                                                                                     \
        if (__builtin_expect(!(x), 0))                                                                       \
            floe_assert_fail(#x, __FILE__, __LINE__, __func__);                                              \
    } while (0)

#define FLOE_COUNTOF(a) (sizeof(a) / sizeof((a)[0]))
#define FLOE_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define FLOE_MIN(a, b) ((a) < (b) ? (a) : (b))
#define FLOE_MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
