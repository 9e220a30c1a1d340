/* AWS's files of credentials: every byte of them is somebody else's. The input is both files, one behind the
 * other. */
#include <floe/base/assert.h>
#include <floe/objstore/s3.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *const unset[] = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
                                    "AWS_REGION", "AWS_DEFAULT_REGION"};

static int file(const char *variable, const uint8_t *data, size_t n)
{
    char path[64];
    int fd = memfd_create("credentials", 0);
    FLOE_ASSERT(fd >= 0 && write(fd, data, n) == (ssize_t)n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    setenv(variable, path, 1);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct floe_s3_credentials c = {0};
    struct floe_error err = {0};
    char region[64] = "";
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++)
        unsetenv(unset[i]);
    setenv("AWS_PROFILE", "p", 1);
    int a = file("AWS_SHARED_CREDENTIALS_FILE", data, n / 2),
        b = file("AWS_CONFIG_FILE", data + n / 2, n - n / 2);
    enum floe_err rc = floe_s3_credentials_load(&c, region, &err);
    FLOE_ASSERT(rc == FLOE_OK ? c.access_key[0] && c.secret_key[0] : err.msg[0]);
    FLOE_ASSERT(strlen(c.access_key) < sizeof c.access_key && strlen(region) < sizeof region);
    close(a);
    close(b);
    return 0;
}
