/* Table records come from outside: a bucket that anybody may have written to. */
#include <stdlib.h>

#include <floe/base/assert.h>

#include "table/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct floe_table_record rec = {.value = NULL};
    struct floe_error err = {0};
    enum floe_err e = floe_table_envelope_read(&rec, "key", floe_slice(data, n), &err);
    if (e == FLOE_OK) {
        FLOE_ASSERT(rec.value_n <= FLOE_TABLE_VALUE_MAX && rec.value[rec.value_n] == '\0');
        FLOE_ASSERT(rec.nonce[0] && floe_table_json_ok(rec.value, rec.value_n));
    } else {
        FLOE_ASSERT(err.code == e && err.msg[0]);
    }
    free(rec.value);
    return 0;
}
