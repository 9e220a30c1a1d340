/* The tier's small named values and its cluster id: one file, replaced whole (write, fsync, rename, fsync of
 * the folder), checked by a CRC. Bytes: docs/formats/tier-files.md.
 *
 * The values in memory are owned by the loop's thread; floe_tier_metas_store may run on any thread, on bytes
 * that floe_tier_metas_encode made.
 */
#ifndef FLOE_TIER_META_H
#define FLOE_TIER_META_H

#include <floe/tier.h>

struct floe_tier_meta_value {
    char name[FLOE_TIER_META_NAME_MAX + 1];
    uint8_t *p;
    size_t n;
};
struct floe_tier_metas {
    struct floe_uuid cluster; /* zero: not bound yet */
    struct floe_tier_meta_value *v;
    uint32_t n;
};
void floe_tier_metas_fini(struct floe_tier_metas *m);
struct floe_slice floe_tier_metas_get(const struct floe_tier_metas *m, const char *name);
/* Sets a value (n 0 removes it). FLOE_EINVAL, FLOE_ETOOLARGE: over a limit of tier.h; FLOE_ENOMEM. */
enum floe_err floe_tier_metas_set(struct floe_tier_metas *m, const char *name, struct floe_slice value,
                                  struct floe_error *err) FLOE_MUST_USE;
/* Appends the file's bytes to `w`. */
void floe_tier_metas_encode(const struct floe_tier_metas *m, struct floe_writer *w);
/* FLOE_ECORRUPT with what is wrong, FLOE_EUNSUPPORTED for a newer format, FLOE_ENOMEM. */
enum floe_err floe_tier_metas_decode(struct floe_tier_metas *out, struct floe_slice bytes,
                                     struct floe_error *err) FLOE_MUST_USE;

#define FLOE_TIER_META_FILE "meta"
#define FLOE_TIER_META_FILE_MAX                                                                              \
    (64 + FLOE_TIER_META_COUNT_MAX * (3 + FLOE_TIER_META_NAME_MAX + FLOE_TIER_META_VALUE_MAX))
/* Reads DIR/meta. FLOE_ENOTFOUND when there is none. Blocking. */
enum floe_err floe_tier_metas_load(struct floe_tier_metas *out, const char *dir,
                                   struct floe_error *err) FLOE_MUST_USE;
/* Replaces DIR/meta by these bytes, durably. Blocking. */
enum floe_err floe_tier_metas_store(const char *dir, struct floe_slice bytes,
                                    struct floe_error *err) FLOE_MUST_USE;

/* Sets err to the kind that an errno of the disk stands for, and a sentence "what: strerror". */
enum floe_err floe_tier_errno(struct floe_error *err, int e, const char *what, const char *path);

#endif
