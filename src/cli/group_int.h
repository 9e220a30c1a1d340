/* What the commands about groups share. */
#ifndef FLOE_SRC_CLI_GROUP_INT_H
#define FLOE_SRC_CLI_GROUP_INT_H

#include "cli/conns.h"

/* {"group", "state", "type", "assignor", "coordinator", "members": [{"member", "instance", "client", "host",
 * "protocol", "partitions": [{"topic", "partition"}]}]} of a group of either kind; FLOE_ENOTFOUND where there
 * is none. */
enum floe_err floe_cli_group_json(struct floe_conns *c, const char *group, json_t **out,
                                  struct floe_error *err) FLOE_MUST_USE;

#endif
