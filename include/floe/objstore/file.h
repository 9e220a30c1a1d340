/* The `file` store driver: one directory, several processes may share it.
 *
 * What it is: objects as files below DIR/objects, each with a trailer that carries version, nonce and CRC
 * (docs/formats/file-store.md). What it is not: a store for several machines; a network file system must have
 * working flock(2), link(2) and rename(2).
 *
 *  1. A write is a temporary file, fsync, then link(2) (create) or rename(2) (others, under the key's lock
 * file after the version was compared), then fsync of the folder: an object is there whole or not at all.
 *  2. A version is the content's CRC and 96 random bits: equal only for the same write.
 *  3. All file work runs on the driver's own threads, control requests on threads of their own.
 *  4. A request whose deadline passes is answered at once, even where the disk hangs; its thread goes on.
 * Closing waits for the threads.
 */
#ifndef FLOE_OBJSTORE_FILE_H
#define FLOE_OBJSTORE_FILE_H
#include <floe/objstore.h>

struct floe_store_file_config {
    const char *dir;
    uint32_t threads; /* 0 means 4 */
    bool fsync;       /* false only in tests */
};
enum floe_err floe_store_file_create(struct floe_store **out, struct floe_loop *loop,
                                     const struct floe_store_file_config *cfg,
                                     struct floe_error *err) FLOE_MUST_USE;
#endif
