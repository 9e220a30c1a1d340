/* Which names of topics the members' regular expressions match: found out once for each expression of a group
 * and name, kept, and shared by the members that subscribe so. A name keeps its place in the catalog, so that
 * a bit for each says it all, and only names that are new are ever looked at.
 *
 * Names are matched in the turn that asks, or later, a slice at a time. Whoever asks, this takes a tenth of
 * the core loop's time, and saves up for REGEX_BURST_US; groups take turns where several wait. Until all
 * names that there are were looked at once, an expression is not ready, and its members keep the topics that
 * they have. */
#include "consumer_int.h"

#include <floe/base/log.h>

#include <stdlib.h>

#define REGEX_SLICE_US 2000u
#define REGEX_SLICE_STEPS 50000u /* about as long */
#define REGEX_STEPS_US 25u       /* steps in a microsecond, of a simple expression */
#define REGEX_SHARE 10u          /* each microsecond of a slice is paid with so many */
#define REGEX_BURST_US 200000u   /* that may be paid afterwards */
#define REGEX_NAME_STEPS 4000u   /* of one name */
#define REGEX_STEPS_MIN 20000u   /* of all names of one expression, and for each name so many more */
#define REGEX_STEPS_NAME 256u

/* ---- expressions ----------------------------------------------------------------------------------------
 */

static uint64_t hash_of(struct floe_kstr group, struct floe_kstr e)
{
    return group_hash(group.p, (size_t)FLOE_MAX(group.n, 0)) * 31 + group_hash(e.p, (size_t)FLOE_MAX(e.n, 0));
}

struct regex *regex_find(const struct floe_groups *g, struct floe_kstr group, struct floe_kstr e)
{
    if (e.n <= 0)
        return NULL;
    for (struct floe_map_node *m = floe_map_first(&g->regexes.map, hash_of(group, e)); m;
         m = floe_map_next_same(m)) {
        struct regex *r = FLOE_MAP_ENTRY(m, struct regex, node);
        if (floe_kstr_eq(r->group, group) && floe_kstr_eq(r->text, e))
            return r;
    }
    return NULL;
}

static void regex_free(struct floe_groups *g, struct regex *r)
{
    floe_map_remove(&g->regexes.map, &r->node);
    floe_list_remove(&r->link);
    regex_code_free(r->code);
    free(r->bits);
    free(r);
}

struct regex *regex_get(struct floe_groups *g, struct floe_kstr group, struct floe_kstr e,
                        char why[REGEX_WHY])
{
    struct regex *r = regex_find(g, group, e);
    if (!r) {
        struct regex_code *code = regex_compile(e, why);
        if (!code)
            return NULL;
        r = calloc(1, sizeof *r + (size_t)FLOE_MAX(group.n, 0) + (size_t)e.n);
        FLOE_ASSERT(r && floe_map_insert(&g->regexes.map, &r->node, hash_of(group, e)));
        char *at = (char *)(r + 1);
        r->group = floe_kstr_n(at, (size_t)FLOE_MAX(group.n, 0));
        r->text = floe_kstr_n(at + r->group.n, (size_t)e.n);
        if (group.n > 0)
            memcpy(at, group.p, (size_t)group.n);
        memcpy(at + r->group.n, e.p, (size_t)e.n);
        r->code = code;
        floe_list_init(&r->link);
    }
    r->users++;
    return r;
}

void regex_put(struct floe_groups *g, struct regex *r)
{
    if (r && --r->users == 0)
        regex_free(g, r);
}

bool regex_has(const struct regex *r, uint32_t name_index)
{
    return name_index < r->seen && (r->bits[name_index / 64] >> name_index % 64 & 1) != 0;
}

/* ---- matching -------------------------------------------------------------------------------------------
 */

static void look_at(struct floe_groups *g, struct regex *r, uint64_t *slice)
{
    const char *name = floe_catalog_name(g->cfg.catalog, r->seen)->name;
    uint64_t may = REGEX_STEPS_MIN + (r->seen + 1ull) * REGEX_STEPS_NAME - r->spent;
    uint64_t had = FLOE_MIN(may, REGEX_NAME_STEPS), left = had;
    if (r->seen / 64 == r->words) {
        uint32_t words = FLOE_MAX(2 * r->words, 4u);
        r->bits = realloc(r->bits, words * sizeof *r->bits);
        FLOE_ASSERT(r->bits);
        memset(r->bits + r->words, 0, (words - r->words) * sizeof *r->bits);
        r->words = words;
    }
    enum regex_answer found = regex_match(r->code, name, strlen(name), &left);
    r->given_up += found == REGEX_GAVE_UP;
    if (found == REGEX_YES)
        r->bits[r->seen / 64] |= 1ull << r->seen % 64;
    r->changed |= found == REGEX_YES;
    r->seen++;
    r->spent += had - left;
    *slice -= FLOE_MIN(*slice, had - left + 1);
}

static bool behind(const struct floe_groups *g, const struct regex *r)
{
    return r->seen < floe_catalog_names(g->cfg.catalog);
}

static void caught_up(struct floe_groups *g, struct regex *r)
{
    if (r->given_up > r->told)
        floe_log_warn(
            "group",
            "group %.*s: the subscription \"%.*s\" leaves out %u topics: matching their names takes "
            "too many steps",
            r->group.n, r->group.p, FLOE_MIN(r->text.n, 200), r->text.p, r->given_up);
    g->regexes.found += r->changed || !r->ready;
    r->told = r->given_up;
    r->changed = false;
    r->ready = true;
}

/* The next one's turn: not that of the group that had the last one, where another waits. */
static struct regex *next(struct floe_groups *g)
{
    struct floe_list *queue = &g->regexes.queue;
    FLOE_LIST_EACH(it, queue)
    {
        struct regex *r = FLOE_LIST_ENTRY(it, struct regex, link);
        if (group_hash(r->group.p, (size_t)r->group.n) != g->regexes.last)
            return r;
    }
    return floe_list_empty(queue) ? NULL : FLOE_LIST_ENTRY(queue->next, struct regex, link);
}

static uint64_t pause_us(const struct floe_groups *g, uint64_t now)
{
    return g->regexes.paid_us > now ? g->regexes.paid_us - now : 0;
}

static void slice(struct floe_groups *g)
{
    uint64_t from = group_now_us(g), steps = REGEX_SLICE_STEPS;
    struct regex *r;
    bool time = true;
    while (time && (r = next(g)) != NULL) {
        floe_list_remove(&r->link);
        g->regexes.last = group_hash(r->group.p, (size_t)r->group.n);
        while (behind(g, r) && (time = steps > 0 && group_now_us(g) - from < REGEX_SLICE_US))
            look_at(g, r, &steps);
        if (behind(g, r))
            floe_list_push_back(&g->regexes.queue, &r->link);
        else
            caught_up(g, r);
    }
    uint64_t now = group_now_us(g), took = FLOE_MAX(now - from, (REGEX_SLICE_STEPS - steps) / REGEX_STEPS_US);
    uint64_t saved = now - FLOE_MIN(now, REGEX_BURST_US);
    g->regexes.paid_us = FLOE_MAX(g->regexes.paid_us, saved) + took * REGEX_SHARE;
    if (!floe_list_empty(&g->regexes.queue))
        floe_timer_start(g->cfg.loop, &g->regexes.timer, FLOE_MAX(pause_us(g, now), REGEX_SLICE_US));
}

static void on_slice(struct floe_timer *t)
{
    slice(t->user);
}

void regex_look(struct floe_groups *g, struct regex *r)
{
    uint64_t now = group_now_us(g);
    if (!behind(g, r)) {
        if (!r->ready)
            caught_up(g, r); /* there is no topic at all */
        return;
    }
    if (r->link.next == NULL || floe_list_empty(&r->link))
        floe_list_push_back(&g->regexes.queue, &r->link);
    if (floe_timer_armed(&g->regexes.timer))
        return; /* others wait, too */
    if (pause_us(g, now) == 0)
        slice(g);
    else
        floe_timer_start(g->cfg.loop, &g->regexes.timer, pause_us(g, now));
}

void regexes_init(struct floe_groups *g)
{
    floe_map_init(&g->regexes.map);
    floe_list_init(&g->regexes.queue);
    floe_timer_init(&g->regexes.timer, on_slice, g);
}

void regexes_fini(struct floe_groups *g)
{
    floe_timer_stop(&g->regexes.timer);
    FLOE_ASSERT(g->regexes.map.n == 0);
    floe_map_fini(&g->regexes.map);
}
