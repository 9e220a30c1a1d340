#include <floe/os/usage.h>

#include <floe/base/bytes.h>
#include <floe/base/str.h>

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define FILE_MAX 4096

static uint64_t clock_us(clockid_t id)
{
    struct timespec t;
    return clock_gettime(id, &t) == 0 ? (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000 : 0;
}

uint64_t floe_os_clock_us(void)
{
    return clock_us(CLOCK_BOOTTIME);
}

uint64_t floe_os_cpu_us(void)
{
    return clock_us(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t floe_os_thread_cpu_us(void)
{
    return clock_us(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t floe_os_open_files(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) != 0)
        return 0;
    if (l.rlim_cur != l.rlim_max) {
        struct rlimit most = {.rlim_cur = l.rlim_max, .rlim_max = l.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &most) == 0)
            l = most;
    }
    return l.rlim_cur == RLIM_INFINITY ? 0 : l.rlim_cur;
}

/* The file's first bytes as text; empty when it cannot be read. */
static void read_text(const char *path, char out[FILE_MAX])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, FILE_MAX - 1) : 0;
    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = '\0';
}

/* Digits at *s, which moves past them and the space that follows; false when there are none. */
static bool take_number(const char **s, uint64_t *out)
{
    const char *p = *s;
    uint64_t v = 0;
    for (; *p >= '0' && *p <= '9' && v < UINT64_MAX / 100; p++)
        v = v * 10 + (uint64_t)(*p - '0');
    if (p == *s)
        return false;
    *s = *p == ' ' ? p + 1 : p;
    *out = v;
    return true;
}

uint64_t floe_os_resident(void)
{
    char text[FILE_MAX];
    uint64_t all, resident;
    read_text("/proc/self/statm", text);
    const char *p = text;
    return take_number(&p, &all) && take_number(&p, &resident) ? resident * (uint64_t)sysconf(_SC_PAGESIZE)
                                                               : 0;
}

double floe_os_cpu_max(const char *text)
{
    uint64_t quota, period;
    return take_number(&text, &quota) && take_number(&text, &period) && period > 0
               ? (double)quota / (double)period
               : 0;
}

/* The quota of the group that the process sees as its own; in a container that is the root of the tree. */
static double group_cores(void)
{
    char text[FILE_MAX], period[FILE_MAX], path[FILE_MAX];
    read_text("/proc/self/cgroup", text);
    const char *own = strstr(text, "0::/");
    if (own != NULL) {
        snprintf(path, sizeof path, "/sys/fs/cgroup%.*s/cpu.max", (int)strcspn(own + 3, "\n"), own + 3);
        read_text(path, text);
        if (text[0] == '\0')
            read_text("/sys/fs/cgroup/cpu.max", text);
        return floe_os_cpu_max(text);
    }
    read_text("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", text);
    read_text("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period);
    text[strcspn(text, "\n")] = ' ';
    snprintf(path, sizeof path, "%.40s %.40s", text[0] == '-' ? "" : text, period);
    path[strcspn(path, "\n")] = '\0';
    return floe_os_cpu_max(path);
}

double floe_os_cores(void)
{
    cpu_set_t set;
    double own = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1, group = group_cores();
    return group > 0 && group < own ? group : own;
}
