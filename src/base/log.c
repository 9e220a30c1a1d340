#include <floe/base/assert.h>
#include <floe/base/log.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE_MAX = 2048, LINE_MAX_BYTES = 6 * MESSAGE_MAX + 256 }; /* JSON may need six bytes for one */

static _Atomic int max_level = FLOE_LOG_INFO;
static atomic_bool as_json;
static pthread_mutex_t hook_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*hook)(void *user, enum floe_log_level level, const char *line);
static void *hook_user;
static atomic_bool hooked; /* spares the lock when there is no hook */

struct line {
    char b[LINE_MAX_BYTES];
    size_t n;
};

void floe_log_setup(enum floe_log_level level, bool json)
{
    atomic_store(&max_level, (int)level);
    atomic_store(&as_json, json);
}

bool floe_log_enabled(enum floe_log_level level)
{
    return (int)level <= atomic_load_explicit(&max_level, memory_order_relaxed);
}

void floe_log_hook(void (*fn)(void *user, enum floe_log_level level, const char *line), void *user)
{
    pthread_mutex_lock(&hook_lock);
    hook = fn;
    hook_user = user;
    atomic_store(&hooked, fn != NULL);
    pthread_mutex_unlock(&hook_lock);
}

static void put(struct line *l, const char *s, size_t n)
{
    n = FLOE_MIN(n, sizeof l->b - 1 - l->n); /* the newline always fits */
    memcpy(l->b + l->n, s, n);
    l->n += n;
}

static void puts_(struct line *l, const char *s)
{
    put(l, s, strlen(s));
}

/* Length of a well-formed UTF-8 sequence at s (1 to 4), 0 where it is not one. */
static size_t utf8_len(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] >= 0xc2 && s[0] <= 0xdf   ? 2
               : (s[0] & 0xf0) == 0xe0        ? 3
               : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                              : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

/* Control characters never reach the output: an outside string must not forge a line or a terminal code. */
static void put_escaped(struct line *l, const char *s, bool json)
{
    char tmp[8];
    while (*s != '\0') {
        unsigned char c = (unsigned char)*s;
        size_t n = utf8_len((const unsigned char *)s);
        if (n == 0) {
            puts_(l, json ? "\\ufffd" : "?");
            n = 1;
        } else if (c < 0x20 || c == 0x7f) {
            (void)snprintf(tmp, sizeof tmp, json ? "\\u%04x" : "\\x%02x", c);
            puts_(l, c == '\n' ? "\\n" : c == '\t' ? "\\t" : tmp);
        } else if (json && (c == '"' || c == '\\')) {
            put(l, "\\", 1);
            put(l, s, 1);
        } else {
            put(l, s, n);
        }
        s += n;
    }
}

static void format_line(struct line *l, enum floe_log_level level, const char *area, const char *msg)
{
    static const char *const upper[] = {"ERROR", "WARN", "INFO", "DEBUG"};
    static const char *const lower[] = {"error", "warn", "info", "debug"};
    struct timespec now = {0};
    struct tm tm;
    char at[64] = "";
    clock_gettime(CLOCK_REALTIME, &now);
    if (gmtime_r(&now.tv_sec, &tm) != NULL) {
        size_t n = strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%S", &tm);
        (void)snprintf(at + n, sizeof at - n, ".%03ldZ", now.tv_nsec / 1000000);
    }
    bool json = atomic_load(&as_json);
    puts_(l, json ? "{\"time\":\"" : "");
    puts_(l, at);
    puts_(l, json ? "\",\"level\":\"" : " ");
    puts_(l, json ? lower[level] : upper[level]);
    puts_(l, json ? "\",\"area\":\"" : " ");
    put_escaped(l, area, json);
    puts_(l, json ? "\",\"message\":\"" : ": ");
    put_escaped(l, msg, json);
    puts_(l, json ? "\"}" : "");
    l->b[l->n++] = '\n';
}

/* True when a hook took the line. It sees no time of day: a seeded run must print the same lines twice. */
static bool give_to_hook(enum floe_log_level level, const char *area, const char *msg)
{
    if (!atomic_load(&hooked))
        return false;
    char text[MESSAGE_MAX + 64];
    (void)snprintf(text, sizeof text, "%s: %s", area, msg);
    pthread_mutex_lock(&hook_lock);
    bool taken = hook != NULL;
    if (taken)
        hook(hook_user, level, text);
    pthread_mutex_unlock(&hook_lock);
    return taken;
}

void floe_log(enum floe_log_level level, const char *area, const char *fmt, ...)
{
    if (!floe_log_enabled(level))
        return;
    int saved = errno;
    char msg[MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    if (n < 0)
        (void)snprintf(msg, sizeof msg, "(message could not be formatted)");
    else if ((size_t)n >= sizeof msg)
        memcpy(msg + sizeof msg - 4, "...", 4);
    if (!give_to_hook(level, area, msg)) {
        struct line l;
        l.n = 0;
        format_line(&l, level, area, msg);
        ssize_t rc;
        do
            rc = write(STDERR_FILENO, l.b, l.n);
        while (rc < 0 && errno == EINTR);
    }
    errno = saved;
}
