/* cpu_count: how many CPUs this process may use. A container often allows fewer than the machine
 * has, and the system then slows all threads down if there are more threads than that. */
#define _GNU_SOURCE
#include "cpu_count.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#endif

static int affinity_count(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

#ifdef __linux__
/* The first `n` numbers of DIR/NAME, or false. "max" stands for no limit and reads as no number. */
static int read_numbers(const char *dir, const char *name, int n, double *out)
{
    char path[1024];
    int length = snprintf(path, sizeof path, "%s/%s", dir, name);
    if (length < 0 || (size_t)length >= sizeof path) return 0;
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    int got = 0;
    while (got < n && fscanf(file, "%lf", &out[got]) == 1) got++;
    fclose(file);
    return got == n;
}

/* The quota of one group in CPUs, or INFINITY. */
static double quota_of(const char *dir, int v2)
{
    double numbers[2];
    if (v2) {
        if (!read_numbers(dir, "cpu.max", 2, numbers)) return INFINITY;
    } else if (!read_numbers(dir, "cpu.cfs_quota_us", 1, numbers) ||
               !read_numbers(dir, "cpu.cfs_period_us", 1, numbers + 1)) {
        return INFINITY;
    }
    return numbers[0] > 0 && numbers[1] > 0 ? numbers[0] / numbers[1] : INFINITY;
}

/* The lowest quota from the group `path` up to the root. A container may see its own group as the
 * root while `path` is still the host's; the walk then reads only the directories that exist. */
static double quota_up(const char *mount, const char *path, int v2)
{
    char dir[768];
    int length = snprintf(dir, sizeof dir, "%s%s", mount, path);
    if (length < 0 || (size_t)length >= sizeof dir) return INFINITY;
    double lowest = INFINITY;
    size_t root = strlen(mount);
    for (;;) {
        lowest = fmin(lowest, quota_of(dir, v2));
        char *slash = strrchr(dir + root, '/');
        if (!slash) return lowest;
        *slash = '\0';
    }
}

/* Lines of /proc/self/cgroup are "ID:CONTROLLERS:PATH"; v2 has no controllers. */
static double cgroup_quota(void)
{
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (!file) return INFINITY;
    double lowest = INFINITY;
    char line[512];
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) continue;
        *controllers++ = '\0';
        *path++ = '\0';
        if (*controllers == '\0') {
            lowest = fmin(lowest, quota_up("/sys/fs/cgroup", path, 1));
        } else {
            for (char *save, *name = strtok_r(controllers, ",", &save); name;
                 name = strtok_r(NULL, ",", &save)) {
                if (strcmp(name, "cpu") == 0)
                    lowest = fmin(lowest, quota_up("/sys/fs/cgroup/cpu", path, 0));
            }
        }
    }
    fclose(file);
    return lowest;
}
#else
static double cgroup_quota(void) { return INFINITY; }
#endif

int cpu_count(void)
{
    int count = affinity_count();
    double quota = ceil(cgroup_quota());
    if (quota >= 1 && quota < count) count = (int)quota;
    return count;
}
