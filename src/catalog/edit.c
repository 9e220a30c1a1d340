/* A whole record of the table: read, changed and written back by a conditional write. */
#include "catalog/catalog_int.h"
#include <stdio.h>

#define TRIES 20 /* others write it as well */

static void on_read(struct floe_table_req *req);

void floe_record_edit(struct floe_record_edit *e)
{
    e->tries++;
    e->req = (struct floe_table_req){.kind = FLOE_TABLE_GET, .done = on_read, .user = e};
    snprintf(e->req.key, sizeof e->req.key, "%s", e->key);
    floe_table_submit(e->table, &e->req);
}

static void on_written(struct floe_table_req *req)
{
    struct floe_record_edit *e = req->user;
    e->err = req->err;
    e->written = !e->err.code;
    floe_table_req_fini(req);
    free(e->text);
    e->text = NULL;
    enum floe_err rc = e->err.code;
    /* A change may be made again. */
    if ((rc == FLOE_EEXISTS || rc == FLOE_ECONFLICT || rc == FLOE_EINDETERMINATE) && e->tries < TRIES)
        floe_record_edit(e);
    else
        e->done(e);
}

static void on_read(struct floe_table_req *req)
{
    struct floe_record_edit *e = req->user;
    char version[FLOE_TABLE_VERSION_MAX] = "";
    e->err = req->err;
    if (e->err.code == FLOE_OK) {
        struct floe_slice got = floe_slice(req->got, req->got_n);
        memcpy(version, req->version, sizeof version);
        e->text = e->change(e, &got, &e->err);
    } else if (e->err.code == FLOE_ENOTFOUND) {
        e->err = (struct floe_error){0};
        e->text = e->change(e, NULL, &e->err);
    }
    floe_table_req_fini(req);
    if (!e->text) {
        e->done(e);
        return;
    }
    e->req = (struct floe_table_req){
        .kind = FLOE_TABLE_PUT, .value = e->text, .value_n = strlen(e->text), .done = on_written, .user = e};
    snprintf(e->req.key, sizeof e->req.key, "%s", e->key);
    memcpy(e->req.if_version, version, sizeof version);
    floe_table_submit(e->table, &e->req);
}

void floe_record_edit_fini(struct floe_record_edit *e)
{
    if (e->tries > 0) {
        floe_table_cancel(e->table, &e->req);
        floe_table_req_fini(&e->req);
    }
    free(e->text);
}
