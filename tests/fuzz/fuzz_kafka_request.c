/* A request frame (header and body): decoded within its limits; what can be read can be written, and reads
 * back the same. */
#include <floe/base/assert.h>
#include <floe/kafka/codec.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct floe_kafka_request_header h;
    struct floe_arena arena;
    struct floe_writer a, b, json;
    struct floe_error err;
    void *msg, *again;
    if (floe_kafka_request_header(floe_slice(data, size), &h, &err) != FLOE_OK || !h.known_version)
        return 0;
    floe_arena_init(&arena, (size_t)1 << 20);
    floe_writer_init(&a, (size_t)8 << 20);
    floe_writer_init(&b, (size_t)8 << 20);
    floe_writer_init(&json, (size_t)8 << 20);
    if (floe_kafka_decode(h.api->request, h.api_version, h.body, &arena, &msg, &err) == FLOE_OK) {
        FLOE_ASSERT(floe_kafka_encode(h.api->request, h.api_version, msg, &a, &err) == FLOE_OK);
        FLOE_ASSERT(a.n <= h.body.n); /* shorter where tags were unknown or at their default */
        arena.max *= 2;
        FLOE_ASSERT(floe_kafka_decode(h.api->request, h.api_version, floe_slice(a.p, a.n), &arena, &again,
                                      &err) == FLOE_OK);
        FLOE_ASSERT(floe_kafka_encode(h.api->request, h.api_version, again, &b, &err) == FLOE_OK);
        FLOE_ASSERT(floe_slice_eq(floe_slice(a.p, a.n), floe_slice(b.p, b.n)));
        FLOE_ASSERT(floe_kafka_json(h.api->request, h.api_version, msg, &json, &err) == FLOE_OK);
    }
    floe_arena_fini(&arena);
    floe_writer_fini(&a);
    floe_writer_fini(&b);
    floe_writer_fini(&json);
    return 0;
}
