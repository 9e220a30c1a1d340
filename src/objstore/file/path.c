/* Keys to paths and back: docs/formats/file-store.md, "Names". */
#include "file_int.h"

#include <stdio.h>

static bool literal(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '=' || c == '+' || c == '@';
}

bool file_path_add(char out[FILE_PATH_MAX], size_t *n, const char *comp, size_t comp_n, bool object)
{
    const size_t suffix_n = sizeof FILE_SUFFIX - 1;
    bool like_object =
        !object && comp_n >= suffix_n && memcmp(comp + comp_n - suffix_n, FILE_SUFFIX, suffix_n) == 0;
    size_t at = *n, start;
    if (comp_n == 0 || at + 2 > FILE_PATH_MAX)
        return false;
    out[at++] = '/';
    start = at;
    for (size_t i = 0; i < comp_n; i++) {
        bool dot = comp[i] == '.' && (i == 0 || (like_object && i == comp_n - suffix_n));
        if (at - start > FILE_COMPONENT_MAX || at + 4 > FILE_PATH_MAX)
            return false;
        if (literal(comp[i]) && !dot)
            out[at++] = comp[i];
        else
            at += (size_t)snprintf(out + at, 4, "%%%02X", (unsigned char)comp[i]);
    }
    if (at - start > FILE_COMPONENT_MAX || at + suffix_n + 1 > FILE_PATH_MAX)
        return false;
    if (object) {
        memcpy(out + at, FILE_SUFFIX, suffix_n);
        at += suffix_n;
    }
    out[at] = '\0';
    *n = at;
    return true;
}

static size_t objects_root(char out[FILE_PATH_MAX])
{
    memcpy(out, "objects", sizeof "objects");
    return sizeof "objects" - 1;
}

bool file_dir_path(char out[FILE_PATH_MAX], const char *prefix, size_t prefix_n)
{
    size_t n = objects_root(out);
    const char *end = prefix + prefix_n;
    while (prefix < end) {
        const char *slash = memchr(prefix, '/', (size_t)(end - prefix));
        if (!slash)
            break;
        if (!file_path_add(out, &n, prefix, (size_t)(slash - prefix), false))
            return false;
        prefix = slash + 1;
    }
    return true;
}

bool file_path(char out[FILE_PATH_MAX], size_t *dir_n, const char *key)
{
    if (!file_dir_path(out, key, strlen(key)))
        return false;
    const char *slash = strrchr(key, '/'), *last = slash ? slash + 1 : key;
    size_t n = strlen(out);
    *dir_n = n;
    return file_path_add(out, &n, last, strlen(last), true);
}

bool file_name_decode(char out[FILE_NAME_SIZE], bool *object, const char *name)
{
    const size_t suffix_n = sizeof FILE_SUFFIX - 1;
    size_t n = strlen(name), at = 0;
    char again[FILE_PATH_MAX];
    size_t again_n = 0;
    bool obj = n > suffix_n && memcmp(name + n - suffix_n, FILE_SUFFIX, suffix_n) == 0;
    if (n >= FILE_NAME_SIZE)
        return false;
    for (size_t i = 0, end = obj ? n - suffix_n : n; i < end;) {
        uint8_t c = (uint8_t)name[i++];
        if (c == '%') {
            char hex[3] = {0};
            if (end - i < 2)
                return false;
            memcpy(hex, name + i, 2);
            if (!floe_hex_decode(&c, hex, 1) || c == 0 || c == '/')
                return false;
            i += 2;
        }
        out[at++] = (char)c;
    }
    out[at] = '\0';
    /* Only the one spelling that we write ourselves is ours. */
    if (!file_path_add(again, &again_n, out, at, obj) || strcmp(again + 1, name) != 0)
        return false;
    *object = obj;
    return true;
}
