/* Answers of an S3 store: the first byte picks the kind of request, lines up to an empty one are headers, the
 * rest is the body. */
#include "objstore/s3/s3_int.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct s3_store store = {.base = {.url = "s3://b"}, .bucket = "b", .prefix = "p/"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct s3_op *op = calloc(1, sizeof *op);
    if (!op || n == 0) {
        free(op);
        return 0;
    }
    op->s = &store;
    op->kind = (enum floe_store_kind)(data[0] % 5);
    op->cond = (enum floe_store_cond)(data[0] / 8 % 3);
    op->key_count = data[0] / 64 % 2;
    op->offset = data[0] & 128 ? -16 : 0;
    op->length = 64;
    op->max_keys = 5;
    op->attempts = op->tries = op->wire_tries = 1;
    s3_answer_reset(op);
    char *copy = malloc(n);
    memcpy(copy, data + 1, n - 1);
    size_t at = 0, end = n - 1;
    while (at < end) {
        char *nl = memchr(copy + at, '\n', end - at);
        size_t line = nl ? (size_t)(nl - copy) + 1 - at : end - at;
        bool last = line <= 2;
        s3_on_header(copy + at, 1, line, op);
        at += line;
        if (last)
            break;
    }
    bool ok = s3_on_body(copy + at, 1, end - at, op) == end - at;
    s3_answer_judge(op, ok ? CURLE_OK : CURLE_WRITE_ERROR);
    if (op->err.code == FLOE_OK && op->kind == FLOE_STORE_LIST) {
        for (uint32_t i = 1; i < op->entry_count; i++)
            FLOE_ASSERT(strcmp(op->entries[i - 1].key, op->entries[i].key) < 0);
    }
    s3_answer_reset(op);
    floe_writer_fini(&op->text);
    free(copy);
    free(op);
    return 0;
}
