/* What `floe segment dump` prints, as a function of bytes: for the command and for the golden files' test. */
#ifndef FLOE_CLI_SEGMENT_DUMP_H
#define FLOE_CLI_SEGMENT_DUMP_H

#include <floe/base/buf.h>
#include <floe/base/bytes.h>
#include <floe/base/err.h>

#include <jansson.h>
#include <stdio.h>

/* Describes a whole chain object. Null with `err` when nothing can be said; else the caller drops the result,
 * and *bad counts blocks whose checksum does not fit. `name` names the object in errors. */
json_t *floe_segment_describe(struct floe_slice object, const char *name, uint32_t *bad,
                              struct floe_error *err);
/* The description as lines of text. */
void floe_segment_describe_print(const json_t *description, FILE *out);

/* Gets one object (key below the prefix) from the store that the settings in argv name (`--store URL`, ...).
 * The caller drops *out. */
enum floe_err floe_segment_fetch(int argc, char **argv, const char *key, struct floe_buf **out,
                                 struct floe_error *err) FLOE_MUST_USE;

#endif
