/* What another broker of the rack answers when it is asked for a range of an object: flags, start (8), length
 * (4), then the body of a PeerReadResponse. What counts lies inside what was asked for and inside the object.
 */
#include "log/share_int.h"

#include <floe/base/assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 13)
        return 0;
    bool tail = data[0] & 1;
    uint64_t from = floe_be64(data + 1), want = floe_be32(data + 9), size = 0;
    struct floe_slice response = floe_slice(data + 13, n - 13), got = {0};
    if (!share_answer(response, tail, from, want, &got, &size))
        return 0;
    FLOE_ASSERT(got.n > 0 && got.n <= want && got.n <= size && size <= FLOE_STORE_OBJECT_MAX);
    FLOE_ASSERT(got.p >= response.p && got.p + got.n <= response.p + response.n);
    FLOE_ASSERT(tail || (from <= size && got.n <= size - from));
    return 0;
}
