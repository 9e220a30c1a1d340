#include "cli/when.h"

#include <floe/base/assert.h>
#include <floe/base/str.h>

#include <stdbool.h>

#define DAY_MS INT64_C(86400000)

/* `n` digits at *s. */
static bool digits(const char **s, int n, int *out)
{
    int v = 0;
    for (int i = 0; i < n; i++, (*s)++) {
        if (**s < '0' || **s > '9')
            return false;
        v = v * 10 + (**s - '0');
    }
    *out = v;
    return true;
}

static bool take(const char **s, char c)
{
    if (**s != c)
        return false;
    (*s)++;
    return true;
}

/* Days from 1970-01-01 in the Gregorian calendar. */
static int64_t days(int year, int month, int day)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t y = year - 1;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return y * 365 + y / 4 - y / 100 + y / 400 + before[month - 1] + (leap && month > 2) + day - 1 - 719162;
}

static int days_in(int year, int month)
{
    if (month == 2)
        return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28;
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/* Z, +HH:MM, +HHMM or nothing; minutes east of Greenwich. */
static bool zone(const char **s, int *minutes)
{
    int h = 0, m = 0, sign;
    *minutes = 0;
    if (**s == '\0' || take(s, 'Z'))
        return true;
    sign = take(s, '+') ? 1 : take(s, '-') ? -1 : 0;
    if (sign == 0 || !digits(s, 2, &h))
        return false;
    (void)take(s, ':');
    if (!digits(s, 2, &m) || h > 18 || m > 59)
        return false;
    *minutes = sign * (h * 60 + m);
    return true;
}

static bool parse_datetime(const char *s, int64_t *ms)
{
    int year, month, day, hour = 0, minute = 0, second = 0, milli = 0, east;
    if (!digits(&s, 4, &year) || !take(&s, '-') || !digits(&s, 2, &month) || !take(&s, '-') ||
        !digits(&s, 2, &day))
        return false;
    bool timed = take(&s, 'T');
    if (timed && (!digits(&s, 2, &hour) || !take(&s, ':') || !digits(&s, 2, &minute)))
        return false;
    if (timed && take(&s, ':') && !digits(&s, 2, &second))
        return false;
    if (timed && take(&s, '.')) {
        int scale = 100, d;
        if (!digits(&s, 1, &d))
            return false;
        for (milli = d * scale; digits(&s, 1, &d);)
            milli += d * (scale /= 10);
    }
    if (!zone(&s, &east) || *s != '\0' || year < 1 || month < 1 || month > 12 || day < 1 ||
        day > days_in(year, month) || hour > 23 || minute > 59 || second > 59)
        return false;
    *ms =
        days(year, month, day) * DAY_MS + ((hour * 60 + minute - east) * 60 + second) * INT64_C(1000) + milli;
    return true;
}

enum floe_err floe_when_datetime(const char *s, int64_t *ms, struct floe_error *err)
{
    if (parse_datetime(s, ms))
        return FLOE_OK;
    return floe_error_set(
        err, FLOE_EINVAL,
        "\"%.64s\" is no date and time: write YYYY-MM-DD, or YYYY-MM-DDTHH:MM:SS, with .fff, "
        "Z or +HH:MM behind it where wanted",
        s);
}

/* The parts of PnWnDTnHnMnS, each at most once and in that order. */
static bool parse_iso(const char *s, int64_t *ms)
{
    static const struct {
        char unit;
        bool time;
        int64_t ms;
    } parts[] = {{'W', false, 7 * DAY_MS},
                 {'D', false, DAY_MS},
                 {'H', true, 3600000},
                 {'M', true, 60000},
                 {'S', true, 1000}};
    int64_t sum = 0;
    size_t next = 0;
    bool time = false, any = false;
    if (!take(&s, 'P'))
        return false;
    while (*s != '\0') {
        int64_t v = 0, frac = 0, scale = 1;
        int d;
        if (!time && take(&s, 'T')) {
            time = true;
            any = false;
        }
        if (!digits(&s, 1, &d))
            return false;
        for (v = d; digits(&s, 1, &d);)
            if ((v = v * 10 + d) > 1000000000000)
                return false;
        if (take(&s, '.'))
            for (; digits(&s, 1, &d);)
                if (scale < 1000) { /* what is below a millisecond is left out */
                    frac = frac * 10 + d;
                    scale *= 10;
                }
        while (next < FLOE_COUNTOF(parts) && (parts[next].unit != *s || parts[next].time != time))
            next++;
        if (next == FLOE_COUNTOF(parts) || (scale > 1 && *s != 'S'))
            return false;
        sum += v * parts[next].ms;
        if (scale > 1)
            sum += frac * 1000 / scale;
        s++;
        next++;
        any = true;
        if (sum < 0 || sum > INT64_C(1000000) * DAY_MS)
            return false;
    }
    *ms = sum;
    return any;
}

enum floe_err floe_when_duration(const char *s, int64_t *ms, struct floe_error *err)
{
    uint64_t v;
    if (s[0] == 'P' && parse_iso(s, ms))
        return FLOE_OK;
    if (s[0] != 'P' && floe_str_parse_duration_ms(s, &v, NULL) == FLOE_OK &&
        v <= (uint64_t)(INT64_C(1000000) * DAY_MS)) {
        *ms = (int64_t)v;
        return FLOE_OK;
    }
    return floe_error_set(err, FLOE_EINVAL, "\"%.64s\" is no duration: write P7D, PT1H30M, or 90m, 7d", s);
}
