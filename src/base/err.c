#include <floe/base/assert.h>
#include <floe/base/err.h>

#include <stdio.h>
#include <string.h>

static const char *const names[FLOE_ERR_COUNT] = {
    [FLOE_OK] = "ok",
    [FLOE_EINDETERMINATE] = "indeterminate",
    [FLOE_ENOTFOUND] = "not found",
    [FLOE_EEXISTS] = "exists",
    [FLOE_ECONFLICT] = "conflict",
    [FLOE_EDENIED] = "denied",
    [FLOE_EINVAL] = "invalid",
    [FLOE_ECORRUPT] = "corrupt",
    [FLOE_ETOOLARGE] = "too large",
    [FLOE_ENOMEM] = "out of memory",
    [FLOE_ENOSPACE] = "out of space",
    [FLOE_EIO] = "i/o error",
    [FLOE_ETIMEOUT] = "timeout",
    [FLOE_EREFUSED] = "refused",
    [FLOE_EUNAVAILABLE] = "unavailable",
    [FLOE_EUNSUPPORTED] = "unsupported",
    [FLOE_ECANCELLED] = "cancelled",
    [FLOE_ECLOSED] = "closed",
    [FLOE_EFENCED] = "fenced",
    [FLOE_ELAPSED] = "lapsed",
    [FLOE_ENOTHOLDER] = "not holder",
    [FLOE_EAGAIN] = "busy",
};

const char *floe_err_name(enum floe_err e)
{
    if ((unsigned)e >= FLOE_ERR_COUNT || names[e] == NULL)
        return "unknown";
    return names[e];
}

enum floe_err floe_error_set(struct floe_error *err, enum floe_err code, const char *fmt, ...)
{
    if (err == NULL)
        return code;
    if (strchr(fmt, '%') == NULL) { /* as the end of every iteration is told */
        size_t n = FLOE_MIN(strlen(fmt), sizeof err->msg - 1);
        memmove(err->msg, fmt, n);
        err->msg[n] = '\0';
        err->code = code;
        return code;
    }
    /* Formatted aside first: an argument may be the old message itself. */
    char msg[sizeof err->msg];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    if (n < 0)
        msg[0] = '\0';
    memcpy(err->msg, msg, sizeof msg);
    err->code = code;
    return code;
}

void floe_error_prefix(struct floe_error *err, const char *fmt, ...)
{
    if (err == NULL)
        return;
    char msg[2 * sizeof err->msg + 2];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    size_t used = n < 0 ? 0 : strlen(msg);
    if (err->msg[0] != '\0')
        (void)snprintf(msg + used, sizeof msg - used, ": %s", err->msg);
    else
        msg[used] = '\0';
    size_t n_msg = FLOE_MIN(strlen(msg), sizeof err->msg - 1); /* what is too long loses its tail */
    memcpy(err->msg, msg, n_msg);
    err->msg[n_msg] = '\0';
}
