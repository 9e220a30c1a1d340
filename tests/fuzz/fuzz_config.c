/* The broker's configuration: the bytes are the file, and up to their first line end a variable and a flag.
 * What is accepted must be in range and consistent, what is refused must say why. */
#include <floe/base/assert.h>
#include <floe/broker/config.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct floe_config *c)
{
    FLOE_ASSERT(c->listener_count >= 1 && c->listener_count <= FLOE_CONFIG_LISTENERS_MAX);
    FLOE_ASSERT(c->peer_listener < c->listener_count);
    FLOE_ASSERT(c->memory >= FLOE_CONFIG_MEMORY_MIN && c->lease_ms >= 2000 && c->lease_ms <= 600000);
    FLOE_ASSERT((c->puts_in_flight + UINT64_C(1)) * c->segment_bytes <= c->memory / 2);
    FLOE_ASSERT(c->request_bytes_max <= c->memory / 4 && c->message_bytes_max <= c->request_bytes_max);
    FLOE_ASSERT(c->put_rate >= 0 && c->data_dir[0] != '\0');
    FLOE_ASSERT(c->store.scheme == FLOE_CONFIG_S3 ? c->store.bucket[0] != '\0' : c->store.path[0] != '\0');
    for (uint32_t i = 0; i < c->listener_count; i++)
        FLOE_ASSERT(c->listeners[i].advertised || !floe_str_addr_is_wildcard(&c->listeners[i].listen));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct floe_config c;
    struct floe_error err = {.msg = ""};
    char path[40], flag[300], variable[300];
    int fd = memfd_create("config", MFD_CLOEXEC);
    FLOE_ASSERT(fd >= 0 && (size == 0 || write(fd, data, size) == (ssize_t)size));
    (void)snprintf(path, sizeof path, "--config=/proc/self/fd/%d", fd);
    const uint8_t *end = size != 0 ? memchr(data, '\n', size) : NULL;
    int n = (int)FLOE_MIN(end != NULL ? (size_t)(end - data) : size, (size_t)250);
    (void)snprintf(flag, sizeof flag, "--%.*s", n, (const char *)data);
    (void)snprintf(variable, sizeof variable, "FLOE_%.*s", n, (const char *)data);
    char *const by_file[] = {path, NULL}, *const by_flag[] = {flag, NULL}, *const env[] = {variable, NULL};
    enum floe_err e = floe_config_load(&c, 1, by_file, NULL, &err);
    FLOE_ASSERT(e != FLOE_OK || (check(&c), true));
    FLOE_ASSERT(e == FLOE_OK || err.msg[0] != '\0');
    if (floe_config_load(&c, 1, by_flag, NULL, &err) == FLOE_OK && strncmp(flag, "--config", 8) != 0)
        check(&c);
    if (floe_config_load(&c, 0, NULL, env, &err) == FLOE_OK)
        check(&c);
    (void)close(fd);
    return 0;
}
