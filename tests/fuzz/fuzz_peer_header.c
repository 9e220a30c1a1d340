/* What another broker answers: the response header, in both versions. */
#include "net/peers_int.h"

#include <floe/base/assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    int32_t correlation = n >= 4 ? (int32_t)floe_be32(data) : 0;
    for (int flexible = 0; flexible < 2; flexible++) {
        struct floe_slice body = {0};
        const char *wrong = floe_peer_strip_header(floe_slice(data, n), correlation, flexible != 0, &body);
        if (!wrong)
            FLOE_ASSERT(body.n + 4 + (size_t)flexible <= n && body.p + body.n == data + n);
        FLOE_ASSERT(floe_peer_strip_header(floe_slice(data, n), correlation ^ 1, flexible != 0, &body));
    }
    return 0;
}
