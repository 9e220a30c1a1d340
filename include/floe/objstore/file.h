/* The `file` store driver: one directory, create-only by link(2), fsync of file and folder; several processes
 * may share it. Keys become paths below DIR/objects; temporary files live in DIR/tmp. Versions are (inode,
 * mtime, size) or a content hash kept by the driver; a replace takes a lock file so that compare and swap are
 * one step. */
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
