/* cpu_count: how many CPUs this process may use. */
#ifndef TT_CPU_COUNT_H
#define TT_CPU_COUNT_H

/* The CPUs in the affinity mask, limited by the CPU quota of the process's control group (v2 or
 * v1), rounded up; at least 1. */
int cpu_count(void);

#endif
