/* The head of an HTTP answer, from its status line to the empty line, taken strictly: what is not as RFC 9112
 * has it is no answer. For answers that libcurl does not read (direct.c). */
#include "s3_int.h"

#include <strings.h>

static bool token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool text_char(char c)
{
    unsigned char u = (unsigned char)c;
    return u == '\t' || (u >= ' ' && u != 0x7f);
}

static bool named(const char *name, size_t n, const char *what)
{
    return n == strlen(what) && strncasecmp(name, what, n) == 0;
}

/* "HTTP/1.1 206 Partial Content" */
static bool status_line(struct s3_answer *a, const char *p, size_t n)
{
    static const char version[] = "HTTP/1.1 ";
    size_t at = sizeof version - 1;
    if (n < at + 3 || memcmp(p, version, at) != 0 || (n > at + 3 && p[at + 3] != ' '))
        return false;
    for (size_t i = at; i < at + 3; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        a->status = a->status * 10 + (p[i] - '0');
    }
    for (size_t i = at + 3; i < n; i++) {
        if (!text_char(p[i]))
            return false;
    }
    return a->status >= 200; /* nobody asked for an interim answer */
}

static bool field(struct s3_answer *a, const char *p, size_t n)
{
    size_t name = 0;
    while (name < n && token_char(p[name]))
        name++;
    if (name == 0 || name == n || p[name] != ':')
        return false;
    const char *v = p + name + 1;
    n -= name + 1;
    for (size_t i = 0; i < n; i++) {
        if (!text_char(v[i]))
            return false;
    }
    for (; n > 0 && (*v == ' ' || *v == '\t'); n--)
        v++;
    while (n > 0 && (v[n - 1] == ' ' || v[n - 1] == '\t'))
        n--;
    if (named(p, name, "content-length") && a->has_length)
        return false; /* two of them: nobody knows where the body ends */
    if (named(p, name, "content-range") && a->has_range)
        return false;
    if (named(p, name, "transfer-encoding") || named(p, name, "content-encoding"))
        a->encoded = true;
    if (named(p, name, "connection") && !named(v, n, "keep-alive"))
        a->closes = true;
    s3_answer_header(a, p, name, v, n);
    return !named(p, name, "content-length") || a->has_length;
}

size_t s3_head_end(const char *p, size_t n)
{
    const char *end = memmem(p, n, "\r\n\r\n", 4);
    return end ? (size_t)(end - p) + 4 : 0;
}

bool s3_head_parse(struct s3_answer *out, const char *p, size_t n)
{
    struct s3_answer a = {.range_size = UINT64_MAX};
    const char *end = p + n;
    for (bool first = true; p < end; first = false) {
        const char *line = p, *cr = memchr(p, '\r', (size_t)(end - p));
        if (!cr || cr + 1 == end || cr[1] != '\n')
            return false;
        p = cr + 2;
        if (cr == line) { /* the empty line ends it */
            if (first || p != end)
                return false;
            *out = a;
            return true;
        }
        if (first ? !status_line(&a, line, (size_t)(cr - line)) : !field(&a, line, (size_t)(cr - line)))
            return false;
    }
    return false;
}
