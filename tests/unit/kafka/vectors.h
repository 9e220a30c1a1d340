/* Reads the tab-separated vectors of tests/golden. */
#ifndef FLOE_TEST_KAFKA_VECTORS_H
#define FLOE_TEST_KAFKA_VECTORS_H

#include <floe/base/bytes.h>
#include <stdio.h>
#include <stdlib.h>

struct vectors {
    FILE *f;
    char *line;
    size_t cap;
    char *column[8];
    int columns;
};
static inline bool vectors_open(struct vectors *v, const char *name)
{
    char path[512];
    *v = (struct vectors){0};
    snprintf(path, sizeof path, "%s/%s", FLOE_TEST_GOLDEN, name);
    v->f = fopen(path, "r");
    return v->f != NULL;
}
/* Next line's columns; false at the end, where everything is freed. */
static inline bool vectors_next(struct vectors *v)
{
    ssize_t n = getline(&v->line, &v->cap, v->f);
    if (n < 0) {
        fclose(v->f);
        free(v->line);
        return false;
    }
    v->line[strcspn(v->line, "\n")] = '\0';
    v->columns = 0;
    for (char *p = v->line; p && v->columns < 8;) {
        char *tab = strchr(p, '\t');
        if (tab)
            *tab++ = '\0';
        v->column[v->columns++] = p;
        p = tab;
    }
    return true;
}
/* The bytes of a hex column, malloc'd to their exact size so that a sanitizer sees every step past the end.
 */
static inline struct floe_slice vectors_hex(const char *hex)
{
    size_t n = strlen(hex) / 2;
    uint8_t *p = malloc(n ? n : 1);
    if (!p || !floe_hex_decode(p, hex, n)) {
        fprintf(stderr, "bad hex in a vector\n");
        abort();
    }
    return floe_slice(p, n);
}

#endif
