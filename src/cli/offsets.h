/* Partitions and their offsets, as the commands about groups need them. */
#ifndef FLOE_SRC_CLI_OFFSETS_H
#define FLOE_SRC_CLI_OFFSETS_H

#include "cli/conns.h"

struct floe_cli_tp {
    char *topic;
    int32_t partition, leader;
    int16_t error; /* why its offsets are not known */
    bool listed_now;
    int64_t committed;          /* -1: none */
    int64_t listed, start, end; /* -1: not known */
    int64_t target;             /* of a reset */
};
struct floe_cli_tps {
    struct floe_cli_tp *v;
    size_t n, cap;
};
void floe_cli_tps_free(struct floe_cli_tps *t);
/* The partition's entry, made where there is none. Sorting moves entries. */
struct floe_cli_tp *floe_cli_tps_add(struct floe_cli_tps *t, struct floe_kstr topic, int32_t partition);
void floe_cli_tps_sort(struct floe_cli_tps *t);

/* Adds what the group has committed. */
enum floe_err floe_cli_committed(struct floe_conns *c, const char *group, struct floe_cli_tps *t,
                                 struct floe_error *err) FLOE_MUST_USE;
/* Adds all partitions of a topic, or only sees that partition `only` (not -1) is one of them and adds it. */
enum floe_err floe_cli_topic_partitions(struct floe_conns *c, const char *topic, int32_t only,
                                        struct floe_cli_tps *t, struct floe_error *err) FLOE_MUST_USE;
/* Asks leaders for the offsets at a time (-1: the end, -2: the start) into `listed`; a partition that fails
 * for good gets its error, and -1. Wants them sorted. */
enum floe_err floe_cli_list_offsets(struct floe_conns *c, struct floe_cli_tps *t, int64_t at,
                                    struct floe_error *err) FLOE_MUST_USE;
/* Commits every target to the group, which must have no members. */
enum floe_err floe_cli_commit(struct floe_conns *c, const char *group, struct floe_cli_tps *t,
                              struct floe_error *err) FLOE_MUST_USE;

#endif
