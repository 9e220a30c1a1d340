/* A frame as the network threads take it: header, body, and for Produce the check of its batches. */
#include <floe/api_kafka.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint32_t served_n;
    const struct floe_version_range *served = floe_api_served(&served_n);
    for (int peer = 0; peer < 2; peer++) {
        struct floe_error err;
        struct floe_request *rq = calloc(1, sizeof *rq);
        rq->frame = floe_buf_create_forced(n, NULL);
        memcpy(rq->frame->data, data, n); /* batches may be put right in place */
        rq->frame->n = n;
        if (floe_request_parse(rq, served, served_n, peer, &err) == FLOE_OK && !rq->unsupported)
            (void)floe_api_prepare(NULL, rq);
        floe_arena_fini(&rq->arena);
        floe_buf_unref(rq->frame);
        free(rq);
    }
    return 0;
}
