/* `floe segment dump`: what a segment or seal holds, every checksum verified. */
#include "segment_dump.h"

#include <floe/cli.h>
#include <floe/objstore.h>

#include <errno.h>
#include <stdlib.h>

#define SETTINGS_MAX 64

#define TRAILER 128u /* of a file store's files: docs/formats/file-store.md */

struct options {
    const char *what; /* file, or key */
    char *settings[SETTINGS_MAX];
    int setting_n; /* more than 0: `what` is a key of a store */
    bool json, help;
};

static const char usage[] =
    "usage: floe segment dump [--json] FILE\n"
    "       floe segment dump [--json] --store URL [--s3-endpoint URL ...] KEY\n\n"
    "Prints what a segment or seal holds: its session and key, topics, blocks, batches and opaque blocks, "
    "and\n"
    "verifies every checksum. FILE is a copy of an object below chain/, `-` is standard input; KEY is its "
    "name below\n"
    "the store's prefix (chain/...). The store's settings are those of `floe broker`. Files of a file:// "
    "store\n"
    "have a header of their own: name the store, and KEY without .obj.\n\n"
    "flags:\n"
    "  --json                     print JSON\n"
    "  --store URL                read KEY from this store\n\n"
    "Exit code 0: all is right; 1: something is damaged or could not be read; 2: wrong usage.\n";

/* What is wrong with the arguments; null: nothing. */
static const char *parse(int argc, char **argv, struct options *o)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            o->json = true;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            o->help = true;
        } else if (argv[i][0] == '-' && argv[i][1] == '-') {
            int n =
                strchr(argv[i], '=') || i + 1 == argc ? 1 : 2; /* floe_config_load misses a value by itself */
            if (o->setting_n + n > SETTINGS_MAX)
                return "too many flags";
            for (int k = 0; k < n; k++)
                o->settings[o->setting_n++] = argv[i + k];
            i += n - 1;
        } else if (argv[i][0] == '-' && argv[i][1] != 0) {
            return "flags begin with two dashes";
        } else if (o->what) {
            return "one FILE or KEY at a time";
        } else {
            o->what = argv[i];
        }
    }
    if (o->help || o->what)
        return NULL;
    return o->setting_n ? "KEY is missing: which object of the store?" : "FILE is missing";
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

static int print(const struct options *o, struct floe_slice object)
{
    struct floe_error err = {0};
    uint32_t bad = 0;
    json_t *description = floe_segment_describe(object, o->what, &bad, &err);
    if (!description) {
        fprintf(stderr, "floe: segment dump: %s\n", err.msg);
        if (!o->setting_n && object.n >= TRAILER && memcmp(object.p + object.n - TRAILER, "FLOEOBJ", 7) == 0)
            fprintf(stderr,
                    "floe: this is a file of a file:// store, which adds 128 bytes to each object: "
                    "name the store, "
                    "as in `floe segment dump --store file:///DIR KEY`, with KEY as below DIR/objects "
                    "without .obj\n");
        return FLOE_CLI_FAILED;
    }
    if (o->json) {
        json_dumpf(description, stdout, JSON_INDENT(2));
        fputc('\n', stdout);
    } else {
        floe_segment_describe_print(description, stdout);
    }
    json_decref(description);
    if (bad)
        fprintf(stderr, "floe: segment dump: %s: checksums of %u blocks do not fit\n", o->what, bad);
    return bad ? FLOE_CLI_FAILED : FLOE_CLI_OK;
}

int floe_cli_segment_dump(int argc, char **argv)
{
    struct options o = {0};
    const char *wrong = parse(argc, argv, &o);
    if (wrong) {
        fprintf(stderr, "floe: segment dump: %s\nusage: see `floe segment dump --help`\n", wrong);
        return FLOE_CLI_USAGE;
    }
    if (o.help) {
        fputs(usage, stdout);
        return FLOE_CLI_OK;
    }
    struct floe_error err = {0};
    struct floe_writer file;
    struct floe_buf *object = NULL;
    int rc = FLOE_CLI_FAILED;
    floe_writer_init(&file, FLOE_STORE_OBJECT_MAX);
    enum floe_err e = o.setting_n ? floe_segment_fetch(o.setting_n, o.settings, o.what, &object, &err)
                                  : read_all(o.what, &file, &err);
    if (e)
        fprintf(stderr, "floe: segment dump: %s\n", err.msg);
    if (e == FLOE_EINVAL)
        rc = FLOE_CLI_USAGE;
    else if (!e)
        rc = print(&o, object ? floe_slice(object->data, object->n) : floe_slice(file.p, file.n));
    floe_buf_unref(object);
    floe_writer_fini(&file);
    return rc;
}
