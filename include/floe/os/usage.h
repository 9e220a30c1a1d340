/* What this process takes of the machine. Any thread. */
#ifndef FLOE_OS_USAGE_H
#define FLOE_OS_USAGE_H

#include <stdint.h>

/* CLOCK_BOOTTIME, which any thread may ask. */
uint64_t floe_os_clock_us(void);
uint64_t floe_os_cpu_us(void);        /* of the process, user and system */
uint64_t floe_os_thread_cpu_us(void); /* of the calling thread */
uint64_t floe_os_resident(void);      /* bytes; 0 where the system does not say */
/* Raises the limit of open files to the most that this process may ask for; what it is now, 0: none. */
uint64_t floe_os_open_files(void);
/* Cores that the process may use: its affinity, and less where its control group (v2 or v1) has a quota. */
double floe_os_cores(void);
/* Of a cpu.max file's text ("max 100000", "150000 100000"): cores, or 0 when it sets no limit or is none.
 * Pure. */
double floe_os_cpu_max(const char *text);

#endif
