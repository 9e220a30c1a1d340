/* Client of floe-proxy's control port. */
#include "proxy_client.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

void proxy_start(struct proxy *p, const char *to)
{
    int fds[2], port = 0, control = 0;
    char line[256] = "";
    *p = (struct proxy){0};
    assert_int_equal(pipe(fds), 0);
    p->pid = fork();
    if (p->pid == 0) {
        dup2(fds[1], 1);
        close(fds[0]);
        close(fds[1]);
        execl(FLOE_PROXY, "floe-proxy", "--to", to, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    FILE *f = fdopen(fds[0], "r");
    if (!fgets(line, sizeof line, f) ||
        sscanf(line, "listen=127.0.0.1:%d control=127.0.0.1:%d", &port, &control) != 2)
        fail_msg("floe-proxy (%s) did not start: build the target floe-proxy", FLOE_PROXY);
    fclose(f);
    snprintf(p->endpoint, sizeof p->endpoint, "http://127.0.0.1:%d", port);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    a.sin_port = htons((uint16_t)control);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    p->in = fdopen(fd, "r");
    p->out = fdopen(dup(fd), "w");
}

void proxy_stop(struct proxy *p)
{
    fclose(p->in);
    fclose(p->out);
    kill(p->pid, SIGKILL);
    waitpid(p->pid, NULL, 0);
}

const char *proxy_tell(struct proxy *p, const char *fmt, ...)
{
    char line[1024];
    size_t n = 0;
    va_list ap;
    va_start(ap, fmt);
    vfprintf(p->out, fmt, ap);
    va_end(ap);
    fputc('\n', p->out);
    fflush(p->out);
    p->reply[0] = '\0';
    while (fgets(line, sizeof line, p->in)) {
        if (strcmp(line, "ok\n") == 0)
            return p->reply;
        if (strncmp(line, "error ", 6) == 0)
            fail_msg("floe-proxy: %s", line);
        size_t k = strlen(line);
        assert_true(n + k < sizeof p->reply);
        memcpy(p->reply + n, line, k + 1);
        n += k;
    }
    fail_msg("floe-proxy closed its control port");
    return p->reply;
}

uint64_t proxy_count(struct proxy *p, const char *line, const char *counter)
{
    char name[64];
    snprintf(name, sizeof name, " %s=", counter);
    for (const char *l = proxy_tell(p, "stats"); *l; l = strchr(l, '\n') + 1) {
        const char *hit = strncmp(l, line, strlen(line)) == 0 ? strstr(l, name) : NULL;
        if (hit && hit < strchr(l, '\n'))
            return strtoull(hit + strlen(name), NULL, 10);
    }
    return 0;
}

uint32_t proxy_held(struct proxy *p)
{
    uint32_t n = 0;
    for (const char *l = proxy_tell(p, "held"); *l; l = strchr(l, '\n') + 1)
        n++;
    return n;
}
