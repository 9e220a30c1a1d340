/* What all table drivers share. */
#include <floe/table.h>

#include <stdlib.h>

void floe_table_req_fini(struct floe_table_req *r)
{
    free(r->got);
    r->got = NULL;
    r->got_n = 0;
    floe_arena_fini(&r->arena);
    r->entries = NULL;
    r->entry_count = 0;
    r->truncated = false;
    r->err = (struct floe_error){0};
    r->version[0] = '\0';
    r->first_sent_us = 0;
}
