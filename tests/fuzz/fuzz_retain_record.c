/* The record of a chain's floor comes from outside: what is accepted is encoded and decoded again, and must
 * be the same; its runs ascend. */
#include "retain/retain_int.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct retain_record a, b;
    struct floe_error err = {0};
    if (retain_record_decode("floor/x", (const char *)data, n, &a, &err) != FLOE_OK) {
        FLOE_ASSERT(err.msg[0] != '\0');
        return 0;
    }
    for (uint32_t i = 0; i < a.runs.n; i++) {
        const struct retain_run *v = &a.runs.v[i];
        FLOE_ASSERT(v->from < v->to && v->to <= a.known && (i == 0 || v[-1].to <= v->from));
        FLOE_ASSERT(retain_runs_find(&a.runs, v->from) == v && retain_runs_find(&a.runs, v->to - 1) == v);
    }
    char *text = retain_record_encode(&a);
    FLOE_ASSERT(text != NULL);
    FLOE_ASSERT(retain_record_decode("floor/x", text, strlen(text), &b, &err) == FLOE_OK);
    FLOE_ASSERT(a.floor == b.floor && a.known == b.known && a.runs.n == b.runs.n);
    for (uint32_t i = 0; i < a.runs.n; i++)
        FLOE_ASSERT(a.runs.v[i].from == b.runs.v[i].from && a.runs.v[i].to == b.runs.v[i].to &&
                    a.runs.v[i].pin.kind == b.runs.v[i].pin.kind &&
                    floe_uuid_eq(&a.runs.v[i].pin.topic, &b.runs.v[i].pin.topic));
    free(text);
    retain_runs_fini(&a.runs);
    retain_runs_fini(&b.runs);
    return 0;
}
