/* Changes of live topics: more partitions, other configurations. The steps are op.c's; here is what the
 * record becomes. */
#include "catalog/catalog_int.h"

bool floe_topic_config_set(struct floe_topic *t, const char *name, const char *value)
{
    uint32_t i = 0;
    while (i < t->config_count && strcmp(t->configs[i].name, name) != 0)
        i++;
    if (!value && i < t->config_count) {
        free(t->configs[i].name);
        free(t->configs[i].value);
        t->configs[i] = t->configs[--t->config_count];
        return true;
    }
    if (!value)
        return true;
    char *copy = strdup(value);
    if (!copy)
        return false;
    if (i < t->config_count) {
        free(t->configs[i].value);
        t->configs[i].value = copy;
        return true;
    }
    struct floe_topic_config *more =
        i < FLOE_TOPIC_CONFIGS_MAX ? realloc(t->configs, (i + 1) * sizeof *more) : NULL;
    char *name_copy = more ? strdup(name) : NULL;
    if (more)
        t->configs = more;
    if (!name_copy) {
        free(copy);
        return false;
    }
    t->configs[t->config_count++] = (struct floe_topic_config){name_copy, copy};
    return true;
}

const char *floe_topic_config_get(const struct floe_topic *t, const char *name)
{
    for (uint32_t i = 0; i < t->config_count; i++)
        if (strcmp(t->configs[i].name, name) == 0)
            return t->configs[i].value;
    return NULL;
}

static bool same(const struct floe_topic *a, const struct floe_topic *b)
{
    if (a->partitions != b->partitions || a->config_count != b->config_count)
        return false;
    for (uint32_t i = 0; i < a->config_count; i++) {
        const char *v = floe_topic_config_get(b, a->configs[i].name);
        if (!v || strcmp(v, a->configs[i].value) != 0)
            return false;
    }
    return true;
}

enum floe_err floe_catalog_edit(struct floe_catalog_op *op, const struct floe_topic *found,
                                struct floe_error *err)
{
    bool other = op->topic && !floe_uuid_eq(&op->topic->id, &found->id);
    if (found->state != FLOE_TOPIC_LIVE || other)
        return floe_error_set(err, FLOE_ENOTFOUND, "This server does not host this topic-partition.");
    floe_topic_free(op->topic);
    op->topic = floe_topic_copy(found);
    op->partitions = found->partitions;
    if (!op->topic)
        return floe_error_set(err, FLOE_ENOMEM, "no memory to change topic '%s'", op->name);
    enum floe_err rc = op->edit.edit(op->edit.data, op->topic, op->unsure, err);
    if (rc == FLOE_OK && same(found, op->topic))
        rc = FLOE_ECANCELLED;
    FLOE_ASSERT(rc != FLOE_OK || op->topic->partitions >= found->partitions);
    return rc;
}

struct floe_catalog_op *floe_catalog_alter_topic(struct floe_catalog *c, const char *name,
                                                 const struct floe_topic_edit *edit, floe_catalog_done *done,
                                                 void *user)
{
    struct floe_catalog_op *op = floe_catalog_op_new(c, OP_ALTER, name);
    if (!op) {
        edit->free(edit->data);
        return NULL;
    }
    op->edit = *edit;
    op->done = done;
    op->user = user;
    floe_catalog_op_read(op);
    return op;
}
