/* `floe segment dump FILE`: what a segment or seal holds, every checksum verified. */
#include "segment_dump.h"

#include <floe/cli.h>
#include <floe/objstore.h>

#include <errno.h>
#include <stdlib.h>

struct options {
    const char *what; /* file */
    bool json, help;
};

static const char usage[] =
    "usage: floe segment dump [--json] FILE\n\n"
    "Prints what a segment or seal holds: its session and key, topics, blocks, batches and opaque blocks, "
    "and\n"
    "verifies every checksum. FILE is a copy of an object below chain/, `-` is standard input.\n\n"
    "flags:\n"
    "  --json                     print JSON\n\n"
    "Exit code 0: all is right; 1: something is damaged or could not be read; 2: wrong usage.\n";

static bool parse(int argc, char **argv, struct options *o)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            o->json = true;
        else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            o->help = true;
        else if ((argv[i][0] == '-' && argv[i][1] != 0) || o->what)
            return false;
        else
            o->what = argv[i];
    }
    return o->help || o->what;
}

static enum floe_err read_all(const char *path, struct floe_writer *w, struct floe_error *err)
{
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (!in)
        return floe_error_set(err, FLOE_ENOTFOUND, "%s: %s", path, strerror(errno));
    enum floe_err e = FLOE_OK;
    size_t n;
    do {
        uint8_t chunk[16384];
        n = fread(chunk, 1, sizeof chunk, in);
        floe_write(w, chunk, n);
    } while (n > 0 && !w->bad);
    if (ferror(in))
        e = floe_error_set(err, FLOE_EIO, "%s: %s", path, strerror(errno));
    else if (w->bad)
        e = floe_error_set(err, FLOE_ETOOLARGE, "%s: more than %u bytes are no segment", path,
                           FLOE_STORE_OBJECT_MAX);
    if (in != stdin)
        (void)fclose(in);
    return e;
}

int floe_cli_segment_dump(int argc, char **argv)
{
    struct options o = {0};
    if (!parse(argc, argv, &o)) {
        fputs(usage, stderr);
        return 2;
    }
    if (o.help) {
        fputs(usage, stdout);
        return 0;
    }
    struct floe_error err = {0};
    struct floe_writer w;
    uint32_t bad = 0;
    json_t *description = NULL;
    floe_writer_init(&w, FLOE_STORE_OBJECT_MAX);
    if (read_all(o.what, &w, &err) == FLOE_OK)
        description = floe_segment_describe(floe_slice(w.p, w.n), o.what, &bad, &err);
    if (!description) {
        fprintf(stderr, "floe: segment dump: %s\n", err.msg);
    } else if (o.json) {
        json_dumpf(description, stdout, JSON_INDENT(2));
        fputc('\n', stdout);
    } else {
        floe_segment_describe_print(description, stdout);
    }
    if (bad)
        fprintf(stderr, "floe: segment dump: %s: checksums of %u blocks do not fit\n", o.what, bad);
    int rc = description && bad == 0 ? 0 : 1;
    json_decref(description);
    floe_writer_fini(&w);
    return rc;
}
