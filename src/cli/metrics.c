/* floe metrics list */
#include "cli/cli_int.h"

#include <floe/admin.h>

#include <stdio.h>

#define LIST_MAX (1u << 20)

static int run_list(const struct floe_cli_args *a)
{
    struct floe_writer w;
    floe_writer_init(&w, LIST_MAX);
    floe_admin_list(&w, floe_cli_is_set(a, "json"));
    (void)fwrite(w.p, 1, w.n, stdout);
    floe_writer_fini(&w);
    return FLOE_CLI_OK;
}

static const struct floe_cli_flag flags[] = {{.name = "json", .help = "print JSON"}};
const struct floe_cli_command floe_cli_metrics_list = {
    .group = "metrics",
    .verb = "list",
    .positional = "",
    .help = "show every metric that a broker serves on /metrics (--http)",
    .flags = flags,
    .flag_count = FLOE_COUNTOF(flags),
    .run = run_list,
};
