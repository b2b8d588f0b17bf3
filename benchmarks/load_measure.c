/* Clocks, CPU time, memory and percentiles for the load generator; it knows nothing of sockets. */
#include "load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static double clock_seconds(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time) != 0) fail("a measured process is gone");
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

double now_seconds(void) { return clock_seconds(CLOCK_MONOTONIC); }

/* The process CPU clock counts nanoseconds over all threads, those that have ended included; /proc/PID/stat counts 10 ms. */
double process_cpu_seconds(int pid) {
    clockid_t clock;
    if (clock_getcpuclockid(pid, &clock) != 0) fail("no process %d to measure", pid);
    return clock_seconds(clock);
}

/* Pss, so that pages shared by several server processes count once. */
static uint64_t process_bytes(int pid) {
    char path[64], line[256];
    unsigned long kilobytes = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL) fail("cannot read %s", path);
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Pss: %lu kB", &kilobytes) == 1) break;
    fclose(file);
    return (uint64_t)kilobytes * 1024;
}

void measure(const struct options *options, struct snapshot *out) {
    memset(out, 0, sizeof *out);
    for (int i = 0; i < options->pid_count; i++) {
        out->server_bytes += process_bytes(options->pids[i]);
        out->server_cpu_s += process_cpu_seconds(options->pids[i]);
    }
    out->load_cpu_s = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
    out->wall_s = now_seconds();
}

void histogram_add(struct histogram *histogram, uint64_t nanoseconds) {
    uint64_t value = nanoseconds < HISTOGRAM_STEPS ? HISTOGRAM_STEPS : nanoseconds;
    int power = 63 - __builtin_clzll(value) - 6;
    int index = power * HISTOGRAM_STEPS + (int)((value >> power) - HISTOGRAM_STEPS);
    histogram->bucket[index < HISTOGRAM_BUCKETS ? index : HISTOGRAM_BUCKETS - 1]++;
    histogram->total++;
    if (nanoseconds > histogram->max_ns) histogram->max_ns = nanoseconds;
}

/* The upper edge of the bucket that holds the quantile, but never more than the largest sample. */
double histogram_ms(const struct histogram *histogram, double quantile) {
    uint64_t rank = (uint64_t)(quantile * (double)histogram->total), seen = 0, edge_ns = 0;
    for (int i = 0; i < HISTOGRAM_BUCKETS && seen <= rank && seen < histogram->total; i++) {
        seen += histogram->bucket[i];
        edge_ns = (uint64_t)(i % HISTOGRAM_STEPS + HISTOGRAM_STEPS + 1) << (i / HISTOGRAM_STEPS);
    }
    return (double)(edge_ns < histogram->max_ns ? edge_ns : histogram->max_ns) / 1e6;
}
