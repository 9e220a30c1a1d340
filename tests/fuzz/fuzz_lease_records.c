/* The table's records come from outside. The first byte picks the decoder; what is accepted is encoded and
 * decoded again, and must be the same. */
#include "lease/records.h"

#include <floe/base/assert.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void doc(const char *json, size_t n)
{
    struct lease_doc a, b;
    struct floe_error err = {0};
    struct floe_writer w;
    if (lease_doc_decode("lease/0000", json, n, 2, &a, &err) != FLOE_OK) {
        FLOE_ASSERT(err.msg[0] != '\0');
        return;
    }
    floe_writer_init(&w, 4 * FLOE_TABLE_VALUE_MAX);
    lease_doc_encode(&a, &w);
    FLOE_ASSERT(!w.bad);
    if (w.n <= FLOE_TABLE_VALUE_MAX) { /* a short spelling may become a longer one */
        FLOE_ASSERT(lease_doc_decode("lease/0000", (const char *)w.p, w.n, 2, &b, &err) == FLOE_OK);
        FLOE_ASSERT(a.n == b.n);
        for (uint32_t i = 0; i < a.n; i++)
            FLOE_ASSERT(floe_tp_eq(&a.entries[i].e.tp, &b.entries[i].e.tp) &&
                        a.entries[i].e.epoch == b.entries[i].e.epoch &&
                        a.entries[i].e.span_count == b.entries[i].e.span_count);
        lease_doc_fini(&b);
    }
    floe_writer_fini(&w);
    lease_doc_fini(&a);
}

static void node(const char *json, size_t n)
{
    struct lease_node_record a, b;
    struct floe_error err = {0};
    if (lease_node_decode("node/7", json, n, &a, &err) != FLOE_OK) {
        FLOE_ASSERT(err.msg[0] != '\0');
        return;
    }
    char *text = lease_node_encode(&a);
    if (text == NULL)
        return;
    FLOE_ASSERT(lease_node_decode("node/7", text, strlen(text), &b, &err) == FLOE_OK);
    FLOE_ASSERT(floe_session_name_eq(&a.info.session, &b.info.session) && a.beat == b.beat &&
                a.info.state == b.info.state && a.info.end == b.info.end);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct floe_error err;
    struct lease_ended_record ended;
    struct lease_cluster_record cluster;
    struct lease_verdict_record verdict;
    uint64_t version;
    if (n == 0)
        return 0;
    const char *json = (const char *)data + 1;
    enum floe_err ignored = FLOE_OK;
    switch (data[0] % 7) {
    case 0:
        doc(json, n - 1);
        break;
    case 1:
        node(json, n - 1);
        break;
    case 2:
        ignored = lease_ended_decode("ended/x", json, n - 1, &ended, &err);
        break;
    case 3:
        ignored = lease_catalog_decode("catalog", json, n - 1, &version, &err);
        break;
    case 4:
        ignored = lease_cluster_decode("cluster", json, n - 1, 2, &cluster, &err);
        break;
    case 6:
        ignored = lease_floor_decode("floor/x", json, n - 1, &version, &err);
        break;
    case 5:
        ignored = lease_verdict_decode("verdict/x", json, n - 1, &verdict, &err);
        break;
    }
    (void)ignored;
    return 0;
}
