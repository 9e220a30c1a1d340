/* A response as a client or a peer gets it: int16 key, int16 version, then header and body. */
#include <floe/base/assert.h>
#include <floe/kafka/codec.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct floe_arena arena;
    struct floe_writer a, b;
    struct floe_error err;
    struct floe_slice body;
    int32_t correlation_id;
    void *msg, *again;
    if (size < 4)
        return 0;
    const struct floe_kafka_api *api = floe_kafka_api_find((int16_t)floe_be16(data));
    int16_t version = (int16_t)floe_be16(data + 2);
    if (!api || floe_kafka_read_response_header(api, version, floe_slice(data + 4, size - 4), &correlation_id,
                                                &body, &err) != FLOE_OK)
        return 0;
    floe_arena_init(&arena, (size_t)1 << 20);
    floe_writer_init(&a, (size_t)8 << 20);
    floe_writer_init(&b, (size_t)8 << 20);
    if (floe_kafka_decode(api->response, version, body, &arena, &msg, &err) == FLOE_OK) {
        FLOE_ASSERT(floe_kafka_encode(api->response, version, msg, &a, &err) == FLOE_OK);
        FLOE_ASSERT(a.n <= body.n);
        arena.max *= 2;
        FLOE_ASSERT(floe_kafka_decode(api->response, version, floe_slice(a.p, a.n), &arena, &again, &err) ==
                    FLOE_OK);
        FLOE_ASSERT(floe_kafka_encode(api->response, version, again, &b, &err) == FLOE_OK);
        FLOE_ASSERT(floe_slice_eq(floe_slice(a.p, a.n), floe_slice(b.p, b.n)));
    }
    floe_arena_fini(&arena);
    floe_writer_fini(&a);
    floe_writer_fini(&b);
    return 0;
}
