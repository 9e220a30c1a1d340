/* Starts floe-proxy for a test and talks to its control port (commands: proxy/proxy.h). Asserts through
 * cmocka. */
#ifndef FLOE_TESTS_PROXY_CLIENT_H
#define FLOE_TESTS_PROXY_CLIENT_H

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct proxy {
    pid_t pid;
    char endpoint[64]; /* http://127.0.0.1:PORT, for clients */
    FILE *in, *out;
    char reply[8192];
};
/* `to`: the real endpoint, http://host:port. The binary is the build's floe-proxy. */
void proxy_start(struct proxy *p, const char *to);
void proxy_stop(struct proxy *p);
/* Sends a line, expects "ok"; gives the lines before it. */
const char *proxy_tell(struct proxy *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A counter of one line of `stats`, 0 where there is no such line: proxy_count(p, "PUT chain", "requests").
 */
uint64_t proxy_count(struct proxy *p, const char *line, const char *counter);
/* Lines of `held`. */
uint32_t proxy_held(struct proxy *p);

#endif
