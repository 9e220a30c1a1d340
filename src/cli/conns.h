/* Connections of one command to the brokers of a cluster: the one that was named, and any other that it must
 * ask, opened when first asked. Answers lie in the connection until its next call. */
#ifndef FLOE_SRC_CLI_CONNS_H
#define FLOE_SRC_CLI_CONNS_H

#include "cli/cli_int.h"
#include "cli/client.h"

#define FLOE_CLI_TIMEOUT_MS 30000

struct floe_conns;
/* Connects as --bootstrap says, and reads who is in the cluster. */
enum floe_err floe_conns_open(struct floe_conns **out, const struct floe_cli_args *a,
                              struct floe_error *err) FLOE_MUST_USE;
void floe_conns_close(struct floe_conns **c); /* null is fine */
struct floe_client *floe_conns_first(struct floe_conns *c);
size_t floe_conns_count(const struct floe_conns *c);
int32_t floe_conns_id(const struct floe_conns *c, size_t i);
/* The broker of that id. */
enum floe_err floe_conns_node(struct floe_conns *c, int32_t id, struct floe_client **out,
                              struct floe_error *err) FLOE_MUST_USE;
/* The coordinator of the group; waits for one while there is none. */
enum floe_err floe_conns_coordinator(struct floe_conns *c, const char *group, struct floe_client **out,
                                     int32_t *node, struct floe_error *err) FLOE_MUST_USE;

/* True, after a short sleep, and after two seconds a line on stderr, while an answer with this code is worth
 * another try: the error passes by itself and the command has tried for less than FLOE_CLI_TIMEOUT_MS.
 * *since_ms starts at 0. */
bool floe_cli_again(int16_t code, int64_t *since_ms);
/* A line on stderr about work that takes longer than two seconds, one every two seconds. */
struct floe_cli_progress {
    int64_t last_ms;
};
void floe_cli_progress(struct floe_cli_progress *p, const char *what, size_t done, size_t all);
/* The string in malloc'd memory; never null. */
char *floe_cli_text(struct floe_kstr s);
json_t *floe_cli_json_kstr(struct floe_kstr s);

#endif
