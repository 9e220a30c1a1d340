/* `floe selftest`: arguments, the phases in order, and nothing left behind. */
#include "cli/selftest/selftest.h"

#include <floe/cli.h>

#include <floe/base/assert.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SAY_TTY_US (200u * 1000)
#define SAY_FILE_US (5u * 1000 * 1000)
#define SETTINGS_MAX 64

extern char **environ;

/* The settings of a store, in the order of help. */
static const char *const settings[] = {"store",     "table", "config",   "s3-endpoint",
                                       "s3-region", "s3-ca", "s3-style", "s3-connections"};

/* ---- what the phases use ---- */

void st_phase(struct st *st, uint32_t number, const char *name)
{
    st->phase = name;
    st->phase_number = number;
    st->said_us = 0;
}

static void say(struct st *st, const char *text)
{
    double gone = (double)(st_now_us() - st->from_us) / 1e6, total = (double)st->total_us / 1e6;
    (void)fprintf(stderr, "%sselftest %u/%d %-8s %3.0f s, about %.0f s to go: %s%s",
                  st->tty ? "\r\033[K" : "", st->phase_number, ST_PHASES, st->phase, gone,
                  FLOE_MAX(total - gone, 0.0), text, st->tty ? "" : "\n");
    (void)fflush(stderr);
}

void st_progress(struct st *st, const char *fmt, ...)
{
    char text[160];
    va_list ap;
    uint64_t now = st_now_us();
    if (st->said_us > 0 && now - st->said_us < (st->tty ? SAY_TTY_US : SAY_FILE_US))
        return;
    st->said_us = now;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    say(st, text);
}

void st_kept(struct st *st, enum st_promise p)
{
    st->promise[p].checks++;
}

void st_broke(struct st *st, enum st_promise p, const char *fmt, ...)
{
    struct st_promise_state *s = &st->promise[p];
    va_list ap;
    s->checks++;
    if (s->broken++ > 0)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(s->why, sizeof s->why, fmt, ap);
    va_end(ap);
    (void)fprintf(stderr, "%sselftest: %s is broken: %s\n", st->tty ? "\r\033[K" : "", st_promise_name(p),
                  s->why);
}

void st_fail(struct st *st, const char *fmt, ...)
{
    va_list ap;
    if (st->failed.code != FLOE_OK)
        return;
    st->failed.code = FLOE_EIO;
    va_start(ap, fmt);
    (void)vsnprintf(st->failed.msg, sizeof st->failed.msg, fmt, ap);
    va_end(ap);
}

void st_refused(struct st *st, enum st_promise p, const struct floe_store_req *r)
{
    enum floe_err e = r->err.code;
    if (e == FLOE_OK || st_is_trouble(e))
        return;
    if (e == FLOE_ECORRUPT || e == FLOE_EUNSUPPORTED || e == FLOE_ETOOLARGE)
        st_broke(st, e == FLOE_ECORRUPT ? ST_BYTES : p, "%s", r->err.msg);
    else
        st_fail(st, "%s", r->err.msg);
}

bool st_broken(const struct st *st)
{
    for (int i = 0; i < ST_PROMISES; i++)
        if (st->promise[i].broken > 0)
            return true;
    return false;
}

bool st_goes_on(struct st *st, uint64_t until_us)
{
    return !st_stop && st->failed.code == FLOE_OK && !st_broken(st) && st_now_us() < until_us;
}

/* ---- arguments ---- */

static const char usage[] =
    "usage: floe selftest --store URL [--table URL] [--minutes N] [--json] [settings of the store]\n"
    "       floe selftest --store URL [--table URL] --clean\n\n"
    "Tests whether a store keeps the promises that Floe is built on: races of conditional writes from "
    "several\n"
    "processes, answers that are lost, lists and reads after writes, latencies, and a small cluster under "
    "load whose\n"
    "brokers are killed. Prints a verdict, figures and settings for this store. All it writes lies below\n"
    "URL/selftest-<time>-<random>/ and is deleted in the end, also after Ctrl-C.\n\n"
    "flags:\n"
    "  --minutes N   about how long it takes (default 2; from 0.1 to 600); longer finds rarer faults\n"
    "  --json        print the result as JSON\n"
    "  --clean       only delete what earlier runs left behind (none may be running on the same URL)\n\n"
    "settings, as `floe broker` has them:\n"
    "  --store URL\n"
    "      the store to test: file:///DIR or s3://BUCKET/PREFIX; must be given; environment: FLOE_STORE\n";
static const char usage_end[] = "\nCredentials for s3:// are taken from AWS's variables and files.\n"
                                "Exit code 0: the store is good; 1: it breaks a promise, or the test could "
                                "not be finished; 2: wrong usage.\n";

static int help(void)
{
    struct floe_writer w;
    floe_writer_init(&w, 1 << 20);
    floe_config_help_of(&w, settings + 1, FLOE_COUNTOF(settings) - 1); /* the store has no default here */
    (void)fputs(usage, stdout);
    (void)fwrite(w.p, 1, w.n, stdout);
    (void)fputs(usage_end, stdout);
    floe_writer_fini(&w);
    return FLOE_CLI_OK;
}

static int wrong(const char *fmt, ...) FLOE_PRINTF(1, 2);
static int wrong(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fprintf(stderr, "floe: selftest: ");
    (void)vfprintf(stderr, fmt, ap);
    (void)fprintf(stderr, "\nusage: see `floe selftest --help`\n");
    va_end(ap);
    return FLOE_CLI_USAGE;
}

/* Minutes with an optional fraction. */
static bool parse_minutes(const char *text, double *out)
{
    char whole[8] = "0";
    uint64_t a = 0, b = 0;
    size_t n = strcspn(text, "."), k = text[n] == '.' ? strlen(text + n + 1) : 0;
    if (n >= sizeof whole || k > 3 || (text[n] == '.' && k == 0) || (n == 0 && k == 0))
        return false;
    if (n > 0)
        memcpy(whole, text, n + 1);
    whole[n > 0 ? n : 1] = '\0';
    if (floe_str_parse_u64(whole, &a, NULL) != FLOE_OK ||
        (k > 0 && floe_str_parse_u64(text + n + 1, &b, NULL) != FLOE_OK))
        return false;
    double v = (double)a + (double)b / (k == 1 ? 10 : k == 2 ? 100 : 1000);
    if (v < 0.1 || v > 600)
        return false;
    *out = v;
    return true;
}

static bool is_setting(const char *flag, size_t n)
{
    for (size_t i = 0; i < FLOE_COUNTOF(settings); i++)
        if (strlen(settings[i]) == n && memcmp(settings[i], flag, n) == 0)
            return true;
    return false;
}

/* Takes our own flags; the others become the settings' argv. -1: go on, else the exit code. */
static int parse(struct st *st, int argc, char **argv, char **rest, int *rest_n)
{
    for (int i = 0; i < argc; i++) {
        const char *a = argv[i];
        bool minutes = strncmp(a, "--minutes", 9) == 0 && (a[9] == '\0' || a[9] == '=');
        if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0)
            return help();
        if (strcmp(a, "--json") == 0) {
            st->json = true;
        } else if (strcmp(a, "--clean") == 0) {
            st->clean = true;
        } else if (minutes) {
            const char *v = a[9] == '=' ? a + 10 : i + 1 < argc ? argv[++i] : "";
            if (!parse_minutes(v, &st->minutes))
                return wrong("--minutes \"%.32s\" is not a number from 0.1 to 600", v);
        } else if (strncmp(a, "--", 2) == 0 && is_setting(a + 2, strcspn(a + 2, "="))) {
            int n = strchr(a, '=') != NULL || i + 1 == argc ? 1 : 2;
            if (*rest_n + n > SETTINGS_MAX)
                return wrong("too many flags");
            for (int k = 0; k < n; k++)
                rest[(*rest_n)++] = argv[i + k];
            i += n - 1;
        } else {
            return wrong("\"%.64s\" is no flag of this command", a);
        }
    }
    return -1;
}

static void on_signal(int number)
{
    static const char text[] = "\nselftest: stopped at once; `floe selftest --clean` removes what is left\n";
    if (st_stop) {
        (void)!write(STDERR_FILENO, text, sizeof text - 1);
        _exit(FLOE_CLI_FAILED);
    }
    st_stop = number;
}

static void catch_signals(void)
{
    struct sigaction a = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &a, NULL);
    (void)sigaction(SIGTERM, &a, NULL);
    (void)sigaction(SIGHUP, &a, NULL);
}

/* ---- the run ---- */

/* Phases 2 to 4, on the store and on a table of its own. */
static void test_promises(struct st *st, uint64_t us)
{
    static const struct {
        const char *name;
        void (*run)(struct st *st, uint32_t store, uint64_t us);
        uint32_t number, share; /* of a hundred */
    } phases[] = {{"races", st_races, 2, 50},
                  {"retries", st_retries, 3, 17},
                  {"lists", st_listing, 4, 20},
                  {"bytes", st_bytes, 4, 13}};
    for (uint32_t i = 0; i < st->store_count; i++)
        for (size_t p = 0; p < FLOE_COUNTOF(phases) && st_goes_on(st, UINT64_MAX); p++) {
            st_phase(st, phases[p].number, phases[p].name);
            phases[p].run(st, i, us / st->store_count * phases[p].share / 100);
        }
}

static bool all_phases(struct st *st)
{
    uint64_t cluster = FLOE_MAX(st->total_us * 33 / 100, (uint64_t)8 * 1000 * 1000) - 3u * 1000 * 1000;
    st_phase(st, 1, "reach");
    st_progress(st, "%s below %s", st->name, st->cfg.store.text);
    for (uint32_t i = 0; i < st->store_count; i++)
        if (!st_reach(st, i))
            return false;
    test_promises(st, st->total_us * 55 / 100);
    if (st_goes_on(st, UINT64_MAX)) {
        st_phase(st, 5, "speed");
        st_speed(st, st->total_us * 12 / 100);
    }
    if (st_goes_on(st, UINT64_MAX)) {
        st_phase(st, 6, "cluster");
        st_cluster(st, cluster);
    }
    return st->failed.code == FLOE_OK && !st_stop;
}

static double wall_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int run(struct st *st)
{
    struct floe_error err = {0};
    double wall = wall_s();
    st->from_us = st_now_us();
    st->total_us = (uint64_t)(st->minutes * 60e6);
    st->tty = isatty(STDERR_FILENO);
    int left = st_leftovers(st, false, &err);
    if (left > 0)
        (void)fprintf(stderr,
                      "selftest: %d earlier runs left something behind: `floe selftest --store %s --clean` "
                      "removes it\n",
                      left, st->cfg.store.text);
    bool finished = st_make_dir(st) && st_open(st) && all_phases(st);
    if (st_stop)
        st_fail(st, "stopped by signal %d", (int)st_stop);
    st_phase(st, 7, "clean");
    st_progress(st, "deleting %s", st->name);
    bool free_puts = st->client[0].s == NULL || st->client[0].s->free_puts;
    bool cleaned = st_clean_up(st);
    st->figures.seconds = (double)(st_now_us() - st->from_us) / 1e6;
    st->figures.wall_jump_s = wall_s() - wall - st->figures.seconds;
    if (st->tty)
        (void)fprintf(stderr, "\r\033[K");
    return st_report(st, finished, cleaned, free_puts) ? FLOE_CLI_OK : FLOE_CLI_FAILED;
}

static int clean(struct st *st)
{
    struct floe_error err;
    int n = st_leftovers(st, true, &err);
    if (n < 0)
        (void)fprintf(stderr, "floe: selftest: %s\n", err.msg);
    else if (n == 0)
        printf("nothing is left of earlier runs below %s\n", st->cfg.store.text);
    return n < 0 ? FLOE_CLI_FAILED : FLOE_CLI_OK;
}

int floe_cli_selftest(int argc, char **argv)
{
    static struct st st;
    char *rest[SETTINGS_MAX];
    int rest_n = 0;
    struct floe_error err;
    if (argc > 0 && strcmp(argv[0], "worker") == 0)
        return st_worker_main(argc - 1, argv + 1);
    if (argc > 0 && strcmp(argv[0], "load") == 0)
        return st_load_main(argc - 1, argv + 1);
    if (argc > 0 && strcmp(argv[0], "follow") == 0)
        return st_follow_main(argc - 1, argv + 1);
    st = (struct st){.minutes = 2};
    int rc = parse(&st, argc, argv, rest, &rest_n);
    if (rc >= 0)
        return rc;
    if (floe_config_load(&st.cfg, rest_n, rest, environ, &err) != FLOE_OK)
        return wrong("%s", err.msg);
    if (!st.cfg.store_named)
        return wrong("--store is missing: file:///DIR or s3://BUCKET/PREFIX");
    catch_signals();
    if (st.clean)
        return clean(&st);
    st_make_name(&st);
    return run(&st);
}
