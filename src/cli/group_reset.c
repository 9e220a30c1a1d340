/* floe group reset-offsets, as kafka-consumer-groups.sh --reset-offsets: what it would do is printed, and
 * done only with --execute. */
#include "cli/group_int.h"
#include "cli/offsets.h"
#include "cli/when.h"

#include <floe/base/assert.h>
#include <floe/base/str.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum how { TO_EARLIEST, TO_LATEST, TO_CURRENT, TO_OFFSET, SHIFT_BY, AT_TIME };
struct plan {
    const char *group;
    enum how how;
    int64_t n; /* the offset, the shift, or the time in milliseconds */
    bool execute;
};

static int64_t wall_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int take_value(const struct floe_cli_args *a, const char *flag, struct plan *p)
{
    const char *text = floe_cli_value(a, flag, 0);
    struct floe_error err;
    enum floe_err e = FLOE_OK;
    if (p->how == TO_OFFSET || p->how == SHIFT_BY)
        e = floe_str_parse_i64(text, &p->n, &err);
    else if (strcmp(flag, "to-datetime") == 0)
        e = floe_when_datetime(text, &p->n, &err);
    else if (strcmp(flag, "by-duration") == 0)
        e = floe_when_duration(text, &p->n, &err);
    if (e != FLOE_OK)
        return floe_cli_usage(a, "--%s %s", flag, err.msg);
    if (strcmp(flag, "by-duration") == 0)
        p->n = wall_ms() - p->n;
    if ((p->how == TO_OFFSET || p->how == AT_TIME) && p->n < 0)
        return floe_cli_usage(a, "--%s \"%.64s\" is before the first", flag, text);
    return FLOE_CLI_OK;
}

/* NAME or NAME:0,1,2. */
static bool topic_reads(const char *text)
{
    const char *p = strchr(text, ':');
    bool ok = *text != '\0' && p != text;
    while (ok && p != NULL) {
        char number[24];
        uint64_t v;
        size_t n = strcspn(++p, ",");
        (void)snprintf(number, sizeof number, "%.*s", (int)FLOE_MIN(n, sizeof number - 1), p);
        ok = n < sizeof number && floe_str_parse_u64(number, &v, NULL) == FLOE_OK && v <= INT32_MAX;
        p = p[n] == ',' ? p + n : NULL;
    }
    return ok;
}

static int take_plan(const struct floe_cli_args *a, struct plan *p)
{
    static const struct {
        const char *flag;
        enum how how;
    } hows[] = {{"to-earliest", TO_EARLIEST}, {"to-latest", TO_LATEST}, {"to-current", TO_CURRENT},
                {"to-offset", TO_OFFSET},     {"shift-by", SHIFT_BY},   {"to-datetime", AT_TIME},
                {"by-duration", AT_TIME}};
    const char *chosen = NULL;
    *p = (struct plan){.group = a->positional[0], .execute = floe_cli_is_set(a, "execute")};
    for (size_t i = 0; i < FLOE_COUNTOF(hows); i++) {
        if (!floe_cli_is_set(a, hows[i].flag))
            continue;
        if (chosen != NULL)
            return floe_cli_usage(a, "--%s and --%s are both given; one says where to", chosen, hows[i].flag);
        chosen = hows[i].flag;
        p->how = hows[i].how;
    }
    if (chosen == NULL)
        return floe_cli_usage(a, "where to? one of --to-earliest, --to-latest, --to-current, --to-offset, "
                                 "--shift-by, --to-datetime, --by-duration is needed");
    if (p->execute && floe_cli_is_set(a, "dry-run"))
        return floe_cli_usage(a, "--execute and --dry-run are both given");
    if (floe_cli_is_set(a, "all-topics") == floe_cli_is_set(a, "topic"))
        return floe_cli_usage(a, "either --topic NAME[:PARTITION,...] or --all-topics is needed");
    const char *topic;
    for (size_t i = 0; (topic = floe_cli_value(a, "topic", i)) != NULL; i++)
        if (!topic_reads(topic))
            return floe_cli_usage(a, "--topic \"%.249s\" is not NAME or NAME:PARTITION,...", topic);
    return p->how >= TO_OFFSET ? take_value(a, chosen, p) : FLOE_CLI_OK;
}

/* What topic_reads has let through. */
static enum floe_err add_topic(struct floe_conns *c, const char *text, struct floe_cli_tps *t,
                               struct floe_error *err)
{
    char *name = strdup(text);
    FLOE_ASSERT(name != NULL);
    char *p = strchr(name, ':');
    enum floe_err e = FLOE_OK;
    if (p == NULL)
        e = floe_cli_topic_partitions(c, name, -1, t, err);
    else
        *p++ = '\0';
    while (e == FLOE_OK && p != NULL) {
        char *next = strchr(p, ',');
        uint64_t v;
        if (next != NULL)
            *next++ = '\0';
        e = floe_str_parse_u64(p, &v, err);
        if (e == FLOE_OK)
            e = floe_cli_topic_partitions(c, name, (int32_t)v, t, err);
        p = next;
    }
    free(name);
    return e;
}

/* Partitions in question, with what is committed; what is committed elsewhere is dropped. */
static enum floe_err add_partitions(struct floe_conns *c, const struct floe_cli_args *a, const char *group,
                                    struct floe_cli_tps *t, struct floe_error *err)
{
    struct floe_cli_tps all = {NULL, 0, 0};
    const char *text;
    enum floe_err e = FLOE_OK;
    for (size_t i = 0; e == FLOE_OK && (text = floe_cli_value(a, "topic", i)) != NULL; i++)
        e = add_topic(c, text, t, err);
    if (e == FLOE_OK)
        e = floe_cli_committed(c, group, &all, err);
    bool every = floe_cli_is_set(a, "all-topics");
    for (size_t i = 0; e == FLOE_OK && i < all.n; i++) {
        if (all.v[i].committed < 0)
            continue;
        size_t before = t->n;
        struct floe_cli_tp *p = floe_cli_tps_add(t, floe_kstr(all.v[i].topic), all.v[i].partition);
        p->committed = all.v[i].committed;
        if (t->n > before && !every)
            free(t->v[--t->n].topic);
    }
    floe_cli_tps_free(&all);
    floe_cli_tps_sort(t);
    if (e == FLOE_OK && t->n == 0)
        e = floe_error_set(err, FLOE_ENOTFOUND, "group \"%.249s\" has committed nothing", group);
    return e;
}

/* Both ends of each, without which no offset can be judged. */
static enum floe_err add_ends(struct floe_conns *c, struct floe_cli_tps *t, struct floe_error *err)
{
    for (int64_t at = -2; at <= -1; at++) {
        enum floe_err e = floe_cli_list_offsets(c, t, at, err);
        if (e != FLOE_OK)
            return e;
        for (size_t i = 0; i < t->n; i++) {
            if (t->v[i].error != 0) {
                (void)floe_client_error(t->v[i].error, floe_kstr(NULL), err);
                floe_error_prefix(err, "%s-%d", t->v[i].topic, t->v[i].partition);
                return err->code;
            }
            *(at == -2 ? &t->v[i].start : &t->v[i].end) = t->v[i].listed;
        }
    }
    return FLOE_OK;
}

/* An offset outside of what is there becomes the nearest end, as with Kafka's tool. */
static int64_t within(const struct floe_cli_tp *p, int64_t v)
{
    int64_t to = FLOE_MAX(p->start, FLOE_MIN(p->end, v));
    if (to != v)
        (void)fprintf(stderr, "note: %s-%d: %lld is outside of %lld to %lld; taking %lld\n", p->topic,
                      p->partition, (long long)v, (long long)p->start, (long long)p->end, (long long)to);
    return to;
}

static enum floe_err set_target(const struct plan *plan, struct floe_cli_tp *p, struct floe_error *err)
{
    int64_t to = 0;
    switch (plan->how) {
    case TO_EARLIEST:
        p->target = p->start;
        break;
    case TO_LATEST:
        p->target = p->end;
        break;
    case TO_CURRENT: /* nothing committed: the end, as Kafka's tool */
        p->target = p->committed >= 0 ? within(p, p->committed) : p->end;
        break;
    case TO_OFFSET:
        p->target = within(p, plan->n);
        break;
    case SHIFT_BY:
        if (p->committed < 0)
            return floe_error_set(err, FLOE_EINVAL, "%s-%d has no committed offset that could be shifted",
                                  p->topic, p->partition);
        if (__builtin_add_overflow(p->committed, plan->n, &to))
            to = plan->n < 0 ? 0 : INT64_MAX;
        p->target = within(p, to);
        break;
    case AT_TIME: /* no record is that young: the end */
        p->target = p->error == 0 && p->listed >= 0 ? p->listed : p->end;
        break;
    }
    return FLOE_OK;
}

static enum floe_err set_targets(struct floe_conns *c, const struct plan *plan, struct floe_cli_tps *t,
                                 struct floe_error *err)
{
    enum floe_err e = add_ends(c, t, err);
    if (e == FLOE_OK && plan->how == AT_TIME)
        e = floe_cli_list_offsets(c, t, plan->n, err);
    for (size_t i = 0; e == FLOE_OK && i < t->n; i++) {
        if (plan->how == AT_TIME && t->v[i].error != 0) {
            e = floe_client_error(t->v[i].error, floe_kstr(NULL), err);
            floe_error_prefix(err, "%s-%d", t->v[i].topic, t->v[i].partition);
        } else {
            e = set_target(plan, &t->v[i], err);
        }
    }
    return e;
}

/* A group that is not there may be given offsets; one with members may not. */
static enum floe_err see_that_it_rests(struct floe_conns *c, const char *group, struct floe_error *err)
{
    json_t *g = NULL;
    enum floe_err e = floe_cli_group_json(c, group, &g, err);
    if (e == FLOE_ENOTFOUND)
        return FLOE_OK;
    if (e != FLOE_OK)
        return e;
    const char *state = json_string_value(json_object_get(g, "state"));
    size_t members = json_array_size(json_object_get(g, "members"));
    if (state == NULL || strcmp(state, "Empty") != 0)
        e = floe_error_set(err, FLOE_EINVAL,
                           "offsets can only be reset while the group \"%.249s\" has no members; it is %s: "
                           "stop its %zu member%s first",
                           group, state != NULL ? state : "in an unknown state", members,
                           members == 1 ? "" : "s");
    json_decref(g);
    return e;
}

static void print_plan(const struct floe_cli_args *a, const struct plan *plan, const struct floe_cli_tps *t)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < t->n; i++) {
        const struct floe_cli_tp *p = &t->v[i];
        json_t *was = p->committed < 0 ? json_null() : json_integer(p->committed);
        (void)json_array_append_new(rows,
                                    json_pack("{ss si so sI}", "topic", p->topic, "partition", p->partition,
                                              "committed", was, "new_offset", (json_int_t)p->target));
        if (floe_cli_is_set(a, "json"))
            continue;
        printf("group=%s  topic=%s  partition=%d", plan->group, p->topic, p->partition);
        if (p->committed < 0)
            printf("  committed=-");
        else
            printf("  committed=%lld", (long long)p->committed);
        printf("  new-offset=%lld\n", (long long)p->target);
    }
    if (floe_cli_is_set(a, "json"))
        floe_cli_print_json(json_pack("{ss sb sO}", "group", plan->group, "executed", (int)plan->execute,
                                      "partitions", rows));
    json_decref(rows);
}

static int run_reset(const struct floe_cli_args *a)
{
    struct floe_conns *c = NULL;
    struct floe_cli_tps t = {NULL, 0, 0};
    struct floe_error err;
    struct plan plan;
    int rc = take_plan(a, &plan);
    if (rc != FLOE_CLI_OK)
        return rc;
    enum floe_err e = floe_conns_open(&c, a, &err);
    if (e == FLOE_OK)
        e = see_that_it_rests(c, plan.group, &err);
    if (e == FLOE_OK)
        e = add_partitions(c, a, plan.group, &t, &err);
    if (e == FLOE_OK)
        e = set_targets(c, &plan, &t, &err);
    if (e == FLOE_OK && plan.execute)
        e = floe_cli_commit(c, plan.group, &t, &err);
    if (e != FLOE_OK) {
        rc = floe_cli_fail(a, &err);
    } else {
        print_plan(a, &plan, &t);
        if (!plan.execute)
            (void)fprintf(stderr, "note: nothing was changed; --execute does it\n");
    }
    floe_cli_tps_free(&t);
    floe_conns_close(&c);
    return rc;
}

static const struct floe_cli_flag flags[] = {
    {.name = "topic", .arg = "NAME[:P,...]", .help = "all or some partitions of a topic", .repeat = true},
    {.name = "all-topics", .help = "every partition with a committed offset"},
    {.name = "to-earliest", .help = "the first record there is"},
    {.name = "to-latest", .help = "behind the last record"},
    {.name = "to-current", .help = "what is committed; the end where nothing is"},
    {.name = "to-offset", .arg = "N", .help = "this offset, or the nearest there is"},
    {.name = "shift-by", .arg = "N", .help = "so much on, or back where negative"},
    {.name = "to-datetime",
     .arg = "TIME",
     .help = "the first record from YYYY-MM-DD[THH:MM:SS[.fff]][Z|+HH:MM] on"},
    {.name = "by-duration", .arg = "PnDTnHnMnS", .help = "the first record from so long ago on; 90m, 7d too"},
    {.name = "dry-run", .help = "only print what would be done (so it is without --execute)"},
    {.name = "execute", .help = "do it"},
    FLOE_CLI_CLIENT_FLAGS,
};
const struct floe_cli_command floe_cli_group_reset = {
    .group = "group",
    .verb = "reset-offsets",
    .positional = "GROUP",
    .min = 1,
    .max = 1,
    .help = "set the offsets from which a group without members goes on",
    .more = "Times are UTC where they name no zone. A group that does not exist is made. Nothing is changed "
            "without --execute.",
    .flags = flags,
    .flag_count = FLOE_COUNTOF(flags),
    .run = run_reset,
};
