/* The envelope of a table record: {"nonce":"<32 hex>","value":<JSON>}. See docs/formats/table-envelope.md. */
#ifndef FLOE_TABLE_ENVELOPE_H
#define FLOE_TABLE_ENVELOPE_H

#include <floe/base/buf.h>
#include <floe/table.h>

#define FLOE_TABLE_NONCE_HEX 33 /* with terminator */
/* What the envelope adds to a value, with room for a person's blanks. */
#define FLOE_TABLE_RECORD_MAX (FLOE_TABLE_VALUE_MAX + 4096)

/* A buffer with the record, or null when memory is out. */
struct floe_buf *floe_table_envelope_write(const char nonce[FLOE_TABLE_NONCE_HEX], const char *value,
                                           size_t n);

struct floe_table_record {
    char nonce[FLOE_STORE_NONCE_MAX];
    char *value; /* JSON text with terminator, from malloc */
    size_t value_n;
};
/* FLOE_ECORRUPT with a sentence that names `key`, FLOE_ENOMEM. */
enum floe_err floe_table_envelope_read(struct floe_table_record *out, const char *key,
                                       struct floe_slice bytes, struct floe_error *err) FLOE_MUST_USE;

/* True when the text is one JSON value. */
bool floe_table_json_ok(const char *text, size_t n);

#endif
