/* The history checker of the fault tests: what the clients were told against what is there.
 *
 *   fault_check FOLDER PARTITIONS PRODUCERS [provisional] < TOPIC
 *
 * TOPIC is the whole topic as `kcat -C -f '%p %o %s\n'` prints it; FOLDER has what fault_load wrote.
 *
 * Exit 1 and a line for each of the first of these: a record that was acknowledged and is not there (lost) or
 * not at its offset (an offset used again); one that was consumed and is not there any more; one that is
 * there twice; a producer's record behind a later one of its own in the partition (reordered); a consumer's
 * position that was called out of range. With `provisional` (acks=1 across a crash) order and offsets of what
 * was acknowledged are not looked at. One line of figures goes to stdout. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 65536
#define FAULTS_TOLD 20

struct record { /* producer -1: nothing is known of the offset */
    int32_t producer;
    uint32_t seq;
};
struct partition {
    struct record *at; /* by offset */
    size_t n, cap;
    int64_t *last; /* sequence, by producer */
};
struct producer {
    uint8_t *seen; /* by sequence */
    size_t n;
};

static struct partition *partitions;
static struct producer *producers;
static int partition_count, producer_count;
static bool provisional;
static unsigned long long faults, acked, consumed, failed, there;

static void die(const char *what, const char *which)
{
    fprintf(stderr, "fault_check: %s: %s\n", what, which);
    exit(2);
}

static void fault(const char *kind, int part, int64_t offset, const char *name)
{
    if (faults++ < FAULTS_TOLD)
        printf("%s: %d/%" PRId64 " %s\n", kind, part, offset, name);
}

static void *grow(void *p, size_t *cap, size_t want, size_t size, int fill)
{
    if (want <= *cap)
        return p;
    size_t n = *cap ? *cap : 1024;
    while (n < want)
        n *= 2;
    p = realloc(p, n * size);
    if (!p)
        die("memory", "none left");
    memset((char *)p + *cap * size, fill, (n - *cap) * size);
    *cap = n;
    return p;
}

/* "partition offset producer:sequence[:...]" */
static bool parse(const char *line, int *part, int64_t *offset, struct record *r, char name[64])
{
    char text[64];
    if (sscanf(line, "%d %" SCNd64 " %63s", part, offset, text) != 3 || *part < 0 || *part >= partition_count)
        return false;
    int n = 0;
    if (sscanf(text, "%" SCNd32 ":%" SCNu32 "%n", &r->producer, &r->seq, &n) != 2 || r->producer < 0 ||
        r->producer >= producer_count) {
        r->producer = -1;
        n = (int)strlen(text);
    }
    memcpy(name, text, (size_t)n);
    name[n] = '\0';
    return true;
}

static void read_topic(void)
{
    static char line[LINE_MAX_BYTES];
    while (fgets(line, sizeof line, stdin)) {
        int part;
        int64_t offset;
        struct record r;
        char name[64];
        if (!parse(line, &part, &offset, &r, name) || r.producer < 0 || offset < 0)
            die("not a line of the topic", line);
        struct partition *p = &partitions[part];
        if ((size_t)offset < p->n)
            fault("offsets go back", part, offset, name);
        p->at = grow(p->at, &p->cap, (size_t)offset + 1, sizeof *p->at, 0xff);
        p->at[offset] = r;
        p->n = (size_t)offset + 1;
        struct producer *q = &producers[r.producer];
        q->seen = grow(q->seen, &q->n, (size_t)r.seq + 1, 1, 0);
        if (q->seen[r.seq]++)
            fault("duplicated", part, offset, name);
        if (p->last[r.producer] >= (int64_t)r.seq && !provisional)
            fault("reordered", part, offset, name);
        p->last[r.producer] = r.seq;
        there++;
    }
}

static unsigned long long compare(const char *path, bool consumer)
{
    char line[512];
    unsigned long long n = 0;
    FILE *f = fopen(path, "r");
    if (!f)
        die("cannot open", path);
    while (fgets(line, sizeof line, f)) {
        int part;
        int64_t offset;
        struct record r;
        char name[64];
        if (!strchr(line, '\n'))
            break; /* a generator that was killed writes no whole last line */
        if (!parse(line, &part, &offset, &r, name))
            die("not a line of a history", line);
        n++;
        const struct partition *p = &partitions[part];
        if (!consumer && r.producer >= 0 && (provisional || offset < 0)) {
            /* No offset: the answer to a retry said that the batch is there. */
            if (r.seq >= producers[r.producer].n || !producers[r.producer].seen[r.seq])
                fault("lost", part, offset, name);
            continue;
        }
        bool known = (size_t)offset < p->n && p->at[offset].producer >= 0;
        if (r.producer < 0)
            fault("reset", part, offset, name);
        else if (!known)
            fault(consumer ? "vanished" : "lost", part, offset, name);
        else if (p->at[offset].producer != r.producer || p->at[offset].seq != r.seq)
            fault(consumer ? "consumed, and another record is there now"
                           : "acknowledged, and another record is there now",
                  part, offset, name);
    }
    fclose(f);
    return n;
}

static unsigned long long lines(const char *path)
{
    unsigned long long n = 0;
    FILE *f = fopen(path, "r");
    if (!f)
        die("cannot open", path);
    for (int c; (c = getc(f)) != EOF;)
        n += c == '\n';
    fclose(f);
    return n;
}

int main(int argc, char **argv)
{
    char path[512];
    if (argc < 4 || (partition_count = atoi(argv[2])) <= 0 || (producer_count = atoi(argv[3])) <= 0) {
        fprintf(stderr, "usage: fault_check FOLDER PARTITIONS PRODUCERS [provisional] < TOPIC\n");
        return 2;
    }
    provisional = argc > 4 && strcmp(argv[4], "provisional") == 0;
    partitions = calloc((size_t)partition_count, sizeof *partitions);
    producers = calloc((size_t)producer_count, sizeof *producers);
    if (!partitions || !producers)
        die("memory", "none left");
    for (int i = 0; i < partition_count; i++) {
        partitions[i].last = malloc((size_t)producer_count * sizeof(int64_t));
        if (!partitions[i].last)
            die("memory", "none left");
        memset(partitions[i].last, 0xff, (size_t)producer_count * sizeof(int64_t));
    }
    read_topic();
    for (int i = 0; i < producer_count; i++) {
        snprintf(path, sizeof path, "%s/acked.%d", argv[1], i);
        acked += compare(path, false);
        snprintf(path, sizeof path, "%s/failed.%d", argv[1], i);
        failed += lines(path);
    }
    snprintf(path, sizeof path, "%s/consumed", argv[1]);
    consumed = compare(path, true);
    if (acked == 0 || consumed == 0)
        fault("nothing was acknowledged or consumed: this test showed nothing", 0, 0, "");
    printf("%llu acknowledged, %llu failed, %llu consumed, %llu there: %llu faults\n", acked, failed,
           consumed, there, faults);
    return faults ? 1 : 0;
}
