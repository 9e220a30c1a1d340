/* Settings as Kafka's broker configurations show them. */
#include "broker/config_int.h"

#include <floe/base/str.h>

#include <stdio.h>
#include <string.h>

/* The index-th of "a|b". */
static const char *choice(char out[FLOE_STR_NUM], const char *choices, size_t index)
{
    for (; index > 0 && strchr(choices, '|'); index--)
        choices = strchr(choices, '|') + 1;
    (void)snprintf(out, FLOE_STR_NUM, "%.*s", (int)strcspn(choices, "|"), choices);
    return out;
}

const char *floe_config_kafka(const struct floe_config *cfg, const char *name, char out[FLOE_STR_NUM])
{
    if (strcmp(name, "log.message.timestamp.type") == 0)
        name = "message.timestamp.type";
    const struct floe_config_setting *s = floe_config_setting_find(name, strlen(name));
    if (s == NULL || strchr(name, '.') == NULL)
        return NULL;
    const char *at = (const char *)cfg + s->offset;
    uint32_t n;
    int index;
    bool on;
    switch (s->form) {
    case FLOE_CONFIG_FORM_COUNT:
    case FLOE_CONFIG_FORM_BYTES:
    case FLOE_CONFIG_FORM_MS:
        memcpy(&n, at, sizeof n);
        (void)snprintf(out, FLOE_STR_NUM, "%u", (unsigned)n);
        return out;
    case FLOE_CONFIG_FORM_BOOL:
        memcpy(&on, at, sizeof on);
        return on ? "true" : "false";
    case FLOE_CONFIG_FORM_SWITCH:
        memcpy(&on, at, sizeof on);
        return choice(out, s->choices, on);
    case FLOE_CONFIG_FORM_CHOICE:
        memcpy(&index, at, sizeof index);
        return choice(out, s->choices, (size_t)index);
    default:
        return NULL;
    }
}
