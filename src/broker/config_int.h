/* The table of settings and the values found for them, between the sources (config.c), the table
 * (config_table.c) and the parsers of values (config_set.c). */
#ifndef FLOE_SRC_BROKER_CONFIG_INT_H
#define FLOE_SRC_BROKER_CONFIG_INT_H

#include <floe/broker/config.h>

enum floe_config_form {
    FLOE_CONFIG_FORM_TEXT,    /* char[size] */
    FLOE_CONFIG_FORM_SIZE,    /* uint64_t bytes */
    FLOE_CONFIG_FORM_MS,      /* uint32_t milliseconds */
    FLOE_CONFIG_FORM_COUNT,   /* uint32_t */
    FLOE_CONFIG_FORM_BYTES,   /* uint32_t bytes, one of Kafka's: a size */
    FLOE_CONFIG_FORM_RATE,    /* double a second, or `auto` */
    FLOE_CONFIG_FORM_MS_AUTO, /* double milliseconds, or `auto` */
    FLOE_CONFIG_FORM_BOOL,    /* bool */
    FLOE_CONFIG_FORM_CHOICE,  /* int, the index among `choices` */
    FLOE_CONFIG_FORM_SWITCH,  /* bool, the index among two `choices` */
    FLOE_CONFIG_FORM_OTHER,   /* parsed once all are known: URLs, listeners */
};
struct floe_config_setting {
    const char *name;
    enum floe_config_form form;
    size_t offset, size;  /* of the field in struct floe_config */
    const char *arg;      /* what help shows for the value; null: by its form */
    const char *def;      /* written like a value; null: none */
    const char *def_text; /* what help says instead of `def` */
    uint64_t min, max;
    const char *choices; /* "a|b" */
    const char *unit;
    const char *help; /* one sentence */
    bool repeat, secret;
};
/* In the order of help. */
extern const struct floe_config_setting floe_config_settings[];
extern const size_t floe_config_setting_count;
const struct floe_config_setting *floe_config_setting_find(const char *name, size_t n);
#define FLOE_CONFIG_SETTINGS_MAX 64
#define FLOE_CONFIG_ENV_MAX 64
void floe_config_env_name(char out[FLOE_CONFIG_ENV_MAX], const char *name);

enum floe_config_source {
    FLOE_CONFIG_FROM_DEFAULT,
    FLOE_CONFIG_FROM_FILE,
    FLOE_CONFIG_FROM_ENV,
    FLOE_CONFIG_FROM_FLAG
};
#define FLOE_CONFIG_REPEATS_MAX 16
struct floe_config_value {
    enum floe_config_source from;
    unsigned line;                          /* of the file */
    const char *v[FLOE_CONFIG_REPEATS_MAX]; /* borrowed */
    unsigned n;
};
struct floe_config_values {
    struct floe_config_value of[FLOE_CONFIG_SETTINGS_MAX]; /* by the index in the table */
    const char *file;                                      /* its path, for messages */
};
/* Puts "where: " before the error: "--listen", "FLOE_LISTEN", "floe.conf:3: listen". */
void floe_config_blame(const struct floe_config_values *vs, const struct floe_config_setting *s,
                       struct floe_error *err);

/* Turns the values into the configuration, defaults included, and checks that they fit together. */
enum floe_err floe_config_set(struct floe_config *out, const struct floe_config_values *vs,
                              uint32_t lease_ms_min, struct floe_error *err) FLOE_MUST_USE;
/* The parts that are more than a value (config_net.c). */
enum floe_err floe_config_set_urls(struct floe_config *c, const struct floe_config_values *vs,
                                   struct floe_error *err) FLOE_MUST_USE;
enum floe_err floe_config_set_listeners(struct floe_config *c, const struct floe_config_values *vs,
                                        struct floe_error *err) FLOE_MUST_USE;
const struct floe_config_value *floe_config_value_of(const struct floe_config_values *vs, const char *name,
                                                     const struct floe_config_setting **s);

#endif
