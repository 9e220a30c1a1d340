/* floe-proxy: a pass-through HTTP/1.1 proxy before an S3 endpoint, for tests: it counts requests by method
 * and key class, and does harm by rule. One thread a connection; no TLS.
 *
 * The client is pointed at the proxy and signs the proxy's address as Host; the proxy passes Host unchanged,
 * and servers check the signature against the Host they are sent (MinIO, Ceph RGW and AWS do).
 *
 * floe-proxy --to http://HOST:PORT [--listen HOST:PORT] [--control HOST:PORT]     (loopback, port 0 by
 * default) prints "listen=HOST:PORT control=HOST:PORT" and runs until it is told "quit" or killed.
 *
 * The control port takes lines and answers each with lines, the last of which is "ok ..." or "error ...":
 *   stats                     METHOD CLASS requests=N open=N up=BYTES down=BYTES 2xx=N 4xx=N 5xx=N; a line
 * each reset                     counters to zero (not `open`) rule NAME ACTION [FIELD]  adds a rule; the
 * first rule that matches a request decides unrule NAME | clear       removes it, or all; what they hold goes
 * on held                      NAME METHOD PATH of each held request release NAME|all [N]      lets (N of)
 * the held requests go on down | up                 closes the listening port and all connections, or opens
 * it again quit ACTION: pass (count only; shields from later rules), hold (before it goes to the server),
 * hold-answer (the server has applied it), delay MS, drop (close, nothing sent), drop-answer (applied, then
 * the connection is closed), swallow (applied, never answered), status CODE (answered by the proxy),
 * apply-status CODE (applied, but CODE is answered), cut BYTES (so much of the answer's body, then close),
 * cut-up BYTES (so much of the request's body reaches the server, then both connections are closed), trickle
 * BYTES (a second, both ways), corrupt OFFSET (a byte of the answer's body is another one).
 * FIELD: method=PUT (GET, HEAD, DELETE, LIST, DELETES), class=chain, key=TEXT (anywhere in the path), skip=N
 * (lets N matches pass first), times=N (then hits so often; 0: for ever), chance=PERCENT (of what matches).
 * Classes: chain, table, history, cluster, probe, other: by the key's component of that name.
 */
#ifndef FLOE_TESTS_PROXY_H
#define FLOE_TESTS_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PROXY_HEAD_MAX (64 * 1024)
#define PROXY_PATH_MAX 4096

enum proxy_action {
    PROXY_PASS,
    PROXY_HOLD,
    PROXY_HOLD_ANSWER,
    PROXY_DELAY,
    PROXY_DROP,
    PROXY_DROP_ANSWER,
    PROXY_SWALLOW,
    PROXY_STATUS,
    PROXY_APPLY_STATUS,
    PROXY_CUT,
    PROXY_CUT_UP,
    PROXY_TRICKLE,
    PROXY_CORRUPT
};
enum proxy_class {
    CLASS_CHAIN,
    CLASS_TABLE,
    CLASS_HISTORY,
    CLASS_CLUSTER,
    CLASS_PROBE,
    CLASS_OTHER,
    CLASSES
};
enum proxy_method {
    METHOD_GET,
    METHOD_PUT,
    METHOD_HEAD,
    METHOD_DELETE,
    METHOD_LIST,
    METHOD_DELETES,
    METHOD_OTHER,
    METHODS
};

struct proxy_request {
    enum proxy_method method;
    enum proxy_class cls;
    char path[PROXY_PATH_MAX]; /* and query, as sent */
    bool head;                 /* its answer has no body */
};
struct proxy_verdict {
    enum proxy_action action;
    uint64_t arg;
    char rule[32];
};

/* rules.c: rules, counters and held requests; all thread-safe. */
void proxy_classify(struct proxy_request *r, const char *method, const char *path);
/* Counts the request as open and finds its rule. */
struct proxy_verdict proxy_begin(const struct proxy_request *r);
/* Waits until the rule lets it go. */
void proxy_hold(const struct proxy_request *r, const char *rule);
/* Counted before the client sees it, so that a client that has its answer finds it in the counters. */
void proxy_answered(const struct proxy_request *r, int status);
void proxy_bytes(const struct proxy_request *r, uint64_t up, uint64_t down);
void proxy_end(const struct proxy_request *r);
/* One control line; writes the answer. False: quit. */
bool proxy_command(char *line, FILE *out);

/* conn.c: serves one client connection until it ends; closes fd. */
void proxy_serve(int fd);
void proxy_set_target(const char *host, const char *port);

/* floe_proxy_main.c */
void proxy_listen(bool up);

#endif
