/* Heads of answers that are read without libcurl: as many as follow each other in the input. */
#include "objstore/s3/s3_int.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    while (n > 0) {
        char *copy = malloc(n); /* its end is the allocation's */
        memcpy(copy, data, n);
        size_t head = s3_head_end(copy, n);
        FLOE_ASSERT(head <= n && (head == 0 || memcmp(copy + head - 4, "\r\n\r\n", 4) == 0));
        head = head ? head : n;
        struct s3_answer a = {.status = -1};
        char *exact = malloc(head);
        memcpy(exact, copy, head);
        if (s3_head_parse(&a, exact, head)) {
            FLOE_ASSERT(a.status >= 200 && a.status <= 999);
            FLOE_ASSERT(!a.has_range || (a.range_from <= a.range_to && a.range_to < a.range_size));
        } else {
            FLOE_ASSERT(a.status == -1);
        }
        free(exact);
        free(copy);
        data += head;
        n -= head;
    }
    return 0;
}
