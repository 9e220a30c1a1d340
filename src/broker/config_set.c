/* Values to fields: one parser a form, ranges from the table, then what must hold between settings. */
#include "broker/config_int.h"

#include <floe/base/assert.h>

#include <stdio.h>
#include <strings.h>

#define AUTO (-1.0)
#define RATE_ON_AWS 10.0
#define GATHER_MS_PAID 200.0 /* five PUTs a second for commits */
#define GATHER_MS_GROUP 5.0  /* for each group that commits, where they cost nothing */
#define REQUEST_BYTES_DEFAULT (UINT32_C(100) << 20)

const struct floe_config_value *floe_config_value_of(const struct floe_config_values *vs, const char *name,
                                                     const struct floe_config_setting **s)
{
    const struct floe_config_setting *found = floe_config_setting_find(name, strlen(name));
    FLOE_ASSERT(found != NULL);
    if (s != NULL)
        *s = found;
    return &vs->of[found - floe_config_settings];
}

/* The sentence for a number outside its range, in the setting's own unit. */
static enum floe_err out_of_range(const struct floe_config_setting *s, const char *value, uint64_t min,
                                  struct floe_error *err)
{
    char low[FLOE_STR_NUM], high[FLOE_STR_NUM];
    const char *unit = s->unit != NULL && s->form == FLOE_CONFIG_FORM_MS ? " milliseconds" : "";
    if (s->form == FLOE_CONFIG_FORM_SIZE || s->form == FLOE_CONFIG_FORM_BYTES) {
        (void)floe_str_size(low, min);
        (void)floe_str_size(high, s->max);
    } else {
        (void)snprintf(low, sizeof low, "%llu", (unsigned long long)min);
        (void)snprintf(high, sizeof high, "%llu", (unsigned long long)s->max);
    }
    return floe_error_set(err, FLOE_EINVAL, "\"%.64s\" is out of range: allowed is %s to %s%s", value, low,
                          high, unit);
}

static enum floe_err set_number(void *field, const struct floe_config_setting *s, const char *value,
                                uint64_t min, struct floe_error *err)
{
    uint64_t v = 0;
    enum floe_err e;
    if (s->form == FLOE_CONFIG_FORM_SIZE || s->form == FLOE_CONFIG_FORM_BYTES)
        e = floe_str_parse_size(value, &v, err);
    else if (s->form == FLOE_CONFIG_FORM_MS)
        e = floe_str_parse_duration_ms(value, &v, err);
    else if (floe_str_parse_u64(value, &v, NULL) == FLOE_OK)
        e = FLOE_OK;
    else
        e = floe_error_set(err, FLOE_EINVAL, "\"%.64s\" is not a whole number from %llu to %llu", value,
                           (unsigned long long)min, (unsigned long long)s->max);
    if (e != FLOE_OK)
        return e;
    if (v < min || v > s->max)
        return out_of_range(s, value, min, err);
    if (s->size == sizeof(uint64_t)) {
        memcpy(field, &v, sizeof v);
    } else {
        uint32_t narrow = (uint32_t)v;
        FLOE_ASSERT(s->size == sizeof narrow && narrow == v);
        memcpy(field, &narrow, sizeof narrow);
    }
    return FLOE_OK;
}

/* Index of the value among "a|b|c"; case does not count. */
static enum floe_err choose(const struct floe_config_setting *s, const char *value, int *out,
                            struct floe_error *err)
{
    int i = 0;
    for (const char *c = s->choices; *c != '\0'; i++) {
        size_t n = strcspn(c, "|");
        if (strlen(value) == n && strncasecmp(c, value, n) == 0) {
            *out = i;
            return FLOE_OK;
        }
        c += n + (c[n] == '|');
    }
    return floe_error_set(err, FLOE_EINVAL, "\"%.64s\" is not allowed: choose one of %s", value, s->choices);
}

static enum floe_err set_or_auto(double *field, const struct floe_config_setting *s, const char *value,
                                 struct floe_error *err)
{
    uint64_t v = 0;
    enum floe_err e = FLOE_OK;
    if (strcasecmp(value, "auto") == 0) {
        *field = AUTO;
        return FLOE_OK;
    }
    if (s->form == FLOE_CONFIG_FORM_MS_AUTO)
        e = floe_str_parse_duration_ms(value, &v, NULL);
    else
        e = floe_str_parse_u64(value, &v, NULL);
    if (e != FLOE_OK || v > s->max)
        return floe_error_set(
            err, FLOE_EINVAL, "\"%.64s\" is not allowed: write auto or a %s from 0 to %llu%s", value,
            s->form == FLOE_CONFIG_FORM_MS_AUTO ? "duration" : "number", (unsigned long long)s->max,
            s->form == FLOE_CONFIG_FORM_MS_AUTO ? " milliseconds, for example 200ms" : "");
    *field = (double)v;
    return FLOE_OK;
}

static enum floe_err set_one(struct floe_config *c, const struct floe_config_setting *s, const char *value,
                             uint64_t min, struct floe_error *err)
{
    void *field = (char *)c + s->offset;
    int choice = 0;
    bool flag = false;
    enum floe_err e = FLOE_OK;
    switch (s->form) {
    case FLOE_CONFIG_FORM_TEXT:
        if (!floe_str_copy(field, s->size, value))
            e = floe_error_set(err, FLOE_EINVAL, "\"%.32s...\" is longer than %zu bytes", value, s->size - 1);
        break;
    case FLOE_CONFIG_FORM_SIZE:
    case FLOE_CONFIG_FORM_BYTES:
    case FLOE_CONFIG_FORM_MS:
    case FLOE_CONFIG_FORM_COUNT:
        e = set_number(field, s, value, min, err);
        break;
    case FLOE_CONFIG_FORM_RATE:
    case FLOE_CONFIG_FORM_MS_AUTO:
        e = set_or_auto(field, s, value, err);
        break;
    case FLOE_CONFIG_FORM_BOOL:
        e = floe_str_parse_bool(value, &flag, err);
        *(bool *)field = flag;
        break;
    case FLOE_CONFIG_FORM_CHOICE:
        e = choose(s, value, &choice, err);
        *(int *)field = choice;
        break;
    case FLOE_CONFIG_FORM_SWITCH:
        e = choose(s, value, &choice, err);
        *(bool *)field = choice == 1;
        break;
    case FLOE_CONFIG_FORM_OTHER:
        break;
    }
    return e;
}

/* What a secret's error may say: everything but the value. */
static void hide(const struct floe_config_setting *s, struct floe_error *err)
{
    if (s->secret)
        (void)floe_error_set(err, FLOE_EINVAL, "the value is not allowed (it is a secret and not shown)");
}

static enum floe_err set_all(struct floe_config *c, const struct floe_config_values *vs,
                             uint32_t lease_ms_min, struct floe_error *err)
{
    for (size_t i = 0; i < floe_config_setting_count; i++) {
        const struct floe_config_setting *s = &floe_config_settings[i];
        const struct floe_config_value *v = &vs->of[i];
        uint64_t min = strcmp(s->name, "lease-ms") == 0 ? lease_ms_min : s->min;
        const char *value = v->n > 0 ? v->v[0] : s->def;
        if (value == NULL || s->form == FLOE_CONFIG_FORM_OTHER)
            continue;
        enum floe_err e = set_one(c, s, value, min, err);
        if (e != FLOE_OK) {
            hide(s, err);
            floe_config_blame(vs, s, err);
            return e;
        }
    }
    return FLOE_OK;
}

static enum floe_err blamed(const struct floe_config_values *vs, const char *name, struct floe_error *err)
{
    const struct floe_config_setting *s;
    (void)floe_config_value_of(vs, name, &s);
    floe_config_blame(vs, s, err);
    return FLOE_EINVAL;
}

/* Half of the memory holds requests and segments that are on their way: they must fit. */
static enum floe_err check_memory(struct floe_config *c, const struct floe_config_values *vs,
                                  struct floe_error *err)
{
    char need[FLOE_STR_NUM], have[FLOE_STR_NUM], segment[FLOE_STR_NUM];
    uint64_t in_flight = ((uint64_t)c->puts_in_flight + 1) * c->segment_bytes;
    if (in_flight > c->memory / 2) {
        (void)floe_error_set(err, FLOE_EINVAL,
                             "%s is too little for puts-in-flight %u and segment-bytes %s: at least %s",
                             floe_str_size(have, c->memory), c->puts_in_flight,
                             floe_str_size(segment, c->segment_bytes), floe_str_size(need, 2 * in_flight));
        return blamed(vs, "memory", err);
    }
    uint64_t most = c->memory / 4;
    if (c->request_bytes_max == 0)
        c->request_bytes_max = (uint32_t)FLOE_MIN((uint64_t)REQUEST_BYTES_DEFAULT, most);
    if (c->request_bytes_max > most) {
        (void)floe_error_set(err, FLOE_EINVAL, "%s is more than a quarter of memory, which is %s",
                             floe_str_size(have, c->request_bytes_max), floe_str_size(need, most));
        return blamed(vs, "socket.request.max.bytes", err);
    }
    if (c->message_bytes_max > c->request_bytes_max) {
        (void)floe_error_set(err, FLOE_EINVAL, "%s is more than socket.request.max.bytes, which is %s",
                             floe_str_size(have, c->message_bytes_max),
                             floe_str_size(need, c->request_bytes_max));
        return blamed(vs, "message.max.bytes", err);
    }
    return FLOE_OK;
}

enum floe_err floe_config_set(struct floe_config *c, const struct floe_config_values *vs,
                              uint32_t lease_ms_min, struct floe_error *err)
{
    enum floe_err e = set_all(c, vs, lease_ms_min, err);
    if (e != FLOE_OK)
        return e;
    if (c->data_dir[0] == '\0') {
        (void)floe_error_set(err, FLOE_EINVAL, "an empty name is no directory");
        return blamed(vs, "data-dir", err);
    }
    if ((e = floe_config_set_urls(c, vs, err)) != FLOE_OK)
        return e;
    if ((e = floe_config_set_listeners(c, vs, err)) != FLOE_OK)
        return e;
    if ((e = check_memory(c, vs, err)) != FLOE_OK)
        return e;
    if (c->put_rate < 0) {
        bool aws = c->store.scheme == FLOE_CONFIG_S3 &&
                   (c->s3_endpoint[0] == '\0' || strstr(c->s3_endpoint, ".amazonaws.com") != NULL);
        c->put_rate = aws ? RATE_ON_AWS : 0;
    }
    bool gather_auto = c->commit_gather_ms < 0;
    if (gather_auto)
        c->commit_gather_ms = GATHER_MS_PAID;
    c->commit_gather_group_ms = gather_auto && c->put_rate == 0 ? GATHER_MS_GROUP : c->commit_gather_ms;
    return FLOE_OK;
}
