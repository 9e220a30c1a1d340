/* Subscriptions by regular expression come from anybody. The input: an expression, a newline, a name. What is
 * taken is matched, and what is matched as a whole is matched when it stands in a group. */
#include "group/consumer_int.h"

#include <floe/base/assert.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static enum regex_answer match(struct regex_code *c, struct floe_kstr name)
{
    uint64_t steps = 20000;
    enum regex_answer found = regex_match(c, name.p, (size_t)name.n, &steps);
    FLOE_ASSERT(steps <= 20000);
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const uint8_t *line = n > 0 ? memchr(data, '\n', n) : NULL;
    size_t e_n = line ? (size_t)(line - data) : n, name_n = line ? FLOE_MIN(n - e_n - 1, 249) : 0;
    char why[REGEX_WHY] = "";
    char *e = malloc(e_n + 8); /* so that what lies behind it is nobody's */
    FLOE_ASSERT(e);
    memcpy(e, data, e_n);
    struct floe_kstr expression = floe_kstr_n(e, e_n),
                     name = floe_kstr_n((const char *)(line ? line + 1 : data), name_n);
    struct regex_code *code = regex_compile(expression, why), *in_group = NULL;
    if (!code) {
        FLOE_ASSERT(why[0] != '\0' && strlen(why) < REGEX_WHY);
    } else if (match(code, name) == REGEX_YES && !memchr(e, '(', e_n) && !memchr(e, '\\', e_n)) {
        memmove(e + 3, e, e_n);
        memcpy(e, "(?:", 3);
        e[3 + e_n] = ')';
        struct floe_kstr group = floe_kstr_n(e, e_n + 4);
        in_group = regex_compile(group, why);
        FLOE_ASSERT(e_n + 4 > 4096 || (in_group && match(in_group, name) == REGEX_YES));
    }
    regex_code_free(in_group);
    regex_code_free(code);
    free(e);
    return 0;
}
