/* Replays a corpus without libFuzzer: every seed as it is, every truncation of short ones, and a number of
 * mutations of each, drawn from a generator that is seeded with the seed's bytes. The same tree gives the
 * same inputs everywhere.
 *
 *   replay_X DIR [MUTATIONS]           all seeds of DIR (default 300 mutations each, fewer for long seeds)
 *   replay_X DIR MUTATIONS FILE N      only mutation N of that seed, as a failure names it
 */
#include <floe/base/assert.h>
#include <floe/base/crc32c.h>
#include <floe/base/rng.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEED_MAX = 4 << 20, MUTATIONS = 300, BYTES_PER_SEED = 64 << 20, TRUNCATIONS_MAX = 512 };

static char where[400] = "before the first seed";

static void tell(void)
{
    static const char intro[] = "\nfuzz: the input was ";
    ssize_t rc = write(STDERR_FILENO, intro, sizeof intro - 1);
    rc = write(STDERR_FILENO, where, strlen(where));
    rc = write(STDERR_FILENO, "\n", 1);
    (void)rc;
}

static void on_signal(int sig)
{
    tell();
    (void)signal(sig, SIG_DFL);
    (void)raise(sig);
}

/* Sanitizers end the process without a signal; they call this. */
__attribute__((weak)) void __sanitizer_set_death_callback(void (*fn)(void));

/* In a block of its own exact size, so that a read past the end is seen. */
static void run(const uint8_t *p, size_t n)
{
    uint8_t *copy = malloc(n != 0 ? n : 1);
    FLOE_ASSERT(copy != NULL);
    if (n != 0)
        memcpy(copy, p, n);
    (void)LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

/* One step: 1 to 8 edits of bytes, ranges or the length. The buffer holds cap bytes; returns the new length.
 */
static size_t mutate(uint8_t *b, size_t n, size_t cap, struct floe_rng *r)
{
    static const uint8_t nasty[] = {0, 1, 0x7f, 0x80, 0xfe, 0xff};
    for (uint64_t edits = 1 + floe_rng_below(r, 8); edits > 0; edits--) {
        size_t at = n != 0 ? (size_t)floe_rng_below(r, n) : 0;
        size_t len = n != 0 ? (size_t)floe_rng_below(r, FLOE_MIN(n - at, (size_t)64) + 1) : 0;
        switch (n != 0 ? floe_rng_below(r, 8) : 6) {
        case 0:
            b[at] ^= (uint8_t)(1U << floe_rng_below(r, 8));
            break;
        case 1:
            b[at] = nasty[floe_rng_below(r, sizeof nasty)];
            break;
        case 2: /* a length or count of four bytes, either way round */
            for (size_t i = at; i < n && i < at + 4; i++)
                b[i] = nasty[floe_rng_below(r, sizeof nasty)];
            break;
        case 3:
            n = at;
            break;
        case 4: /* cut out */
            memmove(b + at, b + at + len, n - at - len);
            n -= len;
            break;
        case 5: /* say twice */
            len = FLOE_MIN(len, cap - n);
            memmove(b + at + len, b + at, n - at);
            n += len;
            break;
        case 6: /* put random bytes in */
            len = FLOE_MIN((size_t)floe_rng_below(r, 9), cap - n);
            memmove(b + at + len, b + at, n - at);
            floe_rng_bytes(r, b + at, len);
            n += len;
            break;
        default: /* copy a range over another place */
            memmove(b + at, b + floe_rng_below(r, n - len + 1), len);
        }
    }
    return n;
}

static size_t replay(const char *dir, const char *file, size_t mutations, long only)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    FILE *f = fopen(path, "rb");
    uint8_t *seed = malloc(SEED_MAX), *b = malloc(SEED_MAX + 1024);
    FLOE_ASSERT(f != NULL && seed != NULL && b != NULL);
    size_t n = fread(seed, 1, SEED_MAX, f), runs = 0;
    (void)fclose(f);
    if (only < 0) {
        (void)snprintf(where, sizeof where, "seed %s as it is", file);
        run(seed, n);
        runs++;
        for (size_t cut = 0; cut < n && n <= TRUNCATIONS_MAX; cut++, runs++) {
            (void)snprintf(where, sizeof where, "seed %s cut to %zu bytes", file, cut);
            run(seed, cut);
        }
    }
    mutations = FLOE_MIN(mutations, BYTES_PER_SEED / (n + 1) + 1);
    uint64_t base = floe_hash64(seed, n, 0);
    for (size_t k = 0; k < mutations; k++) {
        if (only >= 0 && (long)k != only)
            continue;
        struct floe_rng r;
        floe_rng_init(&r, base + k);
        memcpy(b, seed, n);
        (void)snprintf(where, sizeof where, "seed %s, mutation %zu", file, k);
        run(b, mutate(b, n, SEED_MAX + 1024, &r));
        runs++;
    }
    free(seed);
    free(b);
    return runs;
}

static int visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(stderr, "usage: %s CORPUS-DIR [MUTATIONS [FILE N]]\n", argv[0]);
        return 2;
    }
    (void)signal(SIGABRT, on_signal);
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(tell);
    } else {
        (void)signal(SIGSEGV, on_signal);
        (void)signal(SIGBUS, on_signal);
        (void)signal(SIGFPE, on_signal);
    }
    size_t mutations = argc > 2 ? strtoul(argv[2], NULL, 10) : MUTATIONS, runs = 0;
    if (argc > 4) {
        runs = replay(argv[1], argv[3], mutations, strtol(argv[4], NULL, 10));
        printf("%zu runs\n", runs);
        return runs == 1 ? 0 : 1;
    }
    struct dirent **names;
    int n = scandir(argv[1], &names, visible, alphasort);
    if (n <= 0) {
        (void)fprintf(stderr, "no seeds in %s: a fuzz target needs at least one\n", argv[1]);
        return 1;
    }
    for (int i = 0; i < n; i++) {
        runs += replay(argv[1], names[i]->d_name, mutations, -1);
        free(names[i]);
    }
    free(names);
    printf("%d seeds, %zu runs\n", n, runs);
    return 0;
}
