/* The record of configurations comes from outside: what is accepted is encoded and decoded again, and must be
 * the same. */
#include "catalog/catalog_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct floe_dynamics a, b;
    struct floe_error err = {0};
    if (floe_dynamics_decode(&a, (const char *)data, n, &err) != FLOE_OK) {
        FLOE_ASSERT(err.msg[0] != '\0' && a.n == 0);
        return 0;
    }
    char *text = floe_dynamics_encode(&a);
    FLOE_ASSERT(text != NULL);
    FLOE_ASSERT(floe_dynamics_decode(&b, text, strlen(text), &err) == FLOE_OK);
    char *again = floe_dynamics_encode(&b);
    FLOE_ASSERT(again != NULL && strcmp(text, again) == 0 && b.n == a.n);
    free(again);
    free(text);
    floe_dynamics_free(&a);
    floe_dynamics_free(&b);
    return 0;
}
