/* What comes from outside into src/admin: a request line (method, space, path), and the text of a cpu.max
 * file. */
#include <floe/admin.h>
#include <floe/base/assert.h>
#include <floe/os/usage.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct floe_sample sample = {.at_us = 1, .phase = FLOE_ADMIN_SERVING};
    char *text = malloc(size + 1);
    struct floe_writer body;
    FLOE_ASSERT(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    double cores = floe_os_cpu_max(text);
    FLOE_ASSERT(cores >= 0);
    char *path = strchr(text, ' ');
    if (path != NULL)
        *path++ = '\0';
    floe_writer_init(&body, 1u << 20);
    struct floe_admin_answer a = floe_admin_handle(&sample, 2, text, path != NULL ? path : "", &body);
    FLOE_ASSERT(!body.bad && body.n > 0 && a.type != NULL);
    FLOE_ASSERT(a.status == 200 || a.status == 404 || a.status == 405);
    floe_writer_fini(&body);
    free(text);
    return 0;
}
