/* Reader of S3's XML, see xml.h. */
#include "xml.h"

void s3_xml_init(struct s3_xml *x, const void *p, size_t n)
{
    x->p = p;
    x->end = x->p + n;
    x->bad = x->pending_end = false;
    x->depth = 0;
    x->name[0] = x->text[0] = '\0';
    x->text_n = 0;
}

static enum s3_xml_event fail(struct s3_xml *x)
{
    x->bad = true;
    return S3_XML_BAD;
}

static size_t left(const struct s3_xml *x)
{
    return (size_t)(x->end - x->p);
}

static bool at(const struct s3_xml *x, const char *s)
{
    size_t n = strlen(s);
    return left(x) >= n && memcmp(x->p, s, n) == 0;
}

/* Steps behind the next `s`; false where there is none. */
static bool skip_past(struct s3_xml *x, const char *s)
{
    const char *hit = memmem(x->p, left(x), s, strlen(s));
    if (!hit)
        return false;
    x->p = hit + strlen(s);
    return true;
}

static bool space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void put_utf8(struct s3_xml *x, uint32_t c)
{
    char b[4];
    size_t n;
    if (c < 0x80) {
        b[0] = (char)c;
        n = 1;
    } else if (c < 0x800) {
        b[0] = (char)(0xc0 | c >> 6);
        b[1] = (char)(0x80 | (c & 0x3f));
        n = 2;
    } else if (c < 0x10000) {
        b[0] = (char)(0xe0 | c >> 12);
        b[1] = (char)(0x80 | (c >> 6 & 0x3f));
        b[2] = (char)(0x80 | (c & 0x3f));
        n = 3;
    } else {
        b[0] = (char)(0xf0 | c >> 18);
        b[1] = (char)(0x80 | (c >> 12 & 0x3f));
        b[2] = (char)(0x80 | (c >> 6 & 0x3f));
        b[3] = (char)(0x80 | (c & 0x3f));
        n = 4;
    }
    if (x->text_n + n > S3_XML_TEXT_MAX) {
        x->bad = true;
        return;
    }
    memcpy(x->text + x->text_n, b, n);
    x->text_n += n;
}

static void put_byte(struct s3_xml *x, char c)
{
    if (c == '\0' || x->text_n == S3_XML_TEXT_MAX)
        x->bad = true;
    else
        x->text[x->text_n++] = c;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One entity; x->p stands on its ampersand. */
static void entity(struct s3_xml *x)
{
    static const struct {
        const char *name;
        char c;
    } known[] = {{"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}, {"&quot;", '"'}, {"&apos;", '\''}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (at(x, known[i].name)) {
            x->p += strlen(known[i].name);
            put_byte(x, known[i].c);
            return;
        }
    }
    uint32_t c = 0;
    const char *semi = memchr(x->p, ';', left(x) < 12 ? left(x) : 12);
    if (!semi || semi - x->p < 3 || x->p[1] != '#') {
        x->bad = true;
        return;
    }
    bool hex = x->p[2] == 'x';
    const char *from = x->p + (hex ? 3 : 2);
    for (const char *d = from; d < semi && c <= 0x10ffff; d++) {
        int v = digit(*d);
        if (v < 0 || v >= (hex ? 16 : 10)) {
            x->bad = true;
            return;
        }
        c = c * (hex ? 16 : 10) + (uint32_t)v;
    }
    if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
        x->bad = true;
        return;
    }
    x->p = semi + 1;
    put_utf8(x, c);
}

/* Name of an element at x->p, without its prefix; x->p ends behind it. */
static bool read_name(struct s3_xml *x)
{
    const char *from = x->p;
    while (x->p < x->end && !space(*x->p) && *x->p != '>' && *x->p != '/' && *x->p != '<') {
        if (*x->p == ':')
            from = x->p + 1;
        x->p++;
    }
    size_t n = (size_t)(x->p - from);
    if (n == 0 || n >= S3_XML_NAME_MAX || memchr(from, '\0', n))
        return false;
    memcpy(x->name, from, n);
    x->name[n] = '\0';
    return true;
}

static enum s3_xml_event open_element(struct s3_xml *x)
{
    x->p++;
    if (!read_name(x) || x->depth == S3_XML_DEPTH_MAX)
        return fail(x);
    /* Attributes are stepped over, with what their quotes hold. */
    for (char quote = 0; x->p < x->end; x->p++) {
        if (quote) {
            quote = *x->p == quote ? 0 : quote;
            continue;
        }
        if (*x->p == '"' || *x->p == '\'')
            quote = *x->p;
        else if (*x->p == '<')
            return fail(x);
        else if (*x->p == '>')
            break;
    }
    if (x->p == x->end)
        return fail(x);
    x->pending_end = x->p[-1] == '/';
    x->p++;
    memcpy(x->open[x->depth++], x->name, sizeof x->name);
    return S3_XML_START;
}

static enum s3_xml_event close_element(struct s3_xml *x)
{
    x->p += 2;
    if (!read_name(x) || x->depth == 0 || strcmp(x->open[x->depth - 1], x->name) != 0)
        return fail(x);
    while (x->p < x->end && space(*x->p))
        x->p++;
    if (x->p == x->end || *x->p != '>')
        return fail(x);
    x->p++;
    x->depth--;
    if (x->depth == 0)
        x->end = x->p; /* what follows the document is none of ours */
    return S3_XML_END;
}

static enum s3_xml_event text(struct s3_xml *x)
{
    x->text_n = 0;
    while (!x->bad && x->p < x->end) {
        if (at(x, "<![CDATA[")) {
            x->p += 9;
            const char *from = x->p;
            if (!skip_past(x, "]]>"))
                return fail(x);
            for (; from < x->p - 3; from++)
                put_byte(x, *from);
        } else if (*x->p == '<') {
            break;
        } else if (*x->p == '&') {
            entity(x);
        } else {
            put_byte(x, *x->p++);
        }
    }
    x->text[x->text_n] = '\0';
    return x->bad ? S3_XML_BAD : S3_XML_TEXT;
}

enum s3_xml_event s3_xml_next(struct s3_xml *x)
{
    if (x->bad)
        return S3_XML_BAD;
    if (x->pending_end) {
        x->pending_end = false;
        memcpy(x->name, x->open[--x->depth], sizeof x->name);
        if (x->depth == 0)
            x->end = x->p;
        return S3_XML_END;
    }
    bool begun = x->depth > 0;
    while (x->p < x->end) {
        if (at(x, "<?")) {
            if (!skip_past(x, "?>"))
                return fail(x);
        } else if (at(x, "<!--")) {
            if (!skip_past(x, "-->"))
                return fail(x);
        } else if (at(x, "</")) {
            return close_element(x);
        } else if (at(x, "<!") && !at(x, "<![CDATA[")) {
            return fail(x); /* a DTD could define entities: never */
        } else if (*x->p == '<' && !at(x, "<![CDATA[")) {
            return open_element(x);
        } else if (begun) {
            return text(x);
        } else if (space(*x->p)) {
            x->p++;
        } else {
            return fail(x);
        }
    }
    return x->depth == 0 && x->name[0] ? S3_XML_DONE : fail(x);
}
