/* SPDX-License-Identifier: Apache-2.0
 *
 * harness.h — what the benchmark programs of all systems share: the command line, clock, keys, threads and output.
 *
 * It knows no storage system. A program for one system is a table of workloads and a call of bench_main(); `run`
 * beside this file starts the programs of all systems in turns and compares what they report. To add a system, write
 * its program and name it in the table at the top of `run`.
 *
 * A program is called as `PROGRAM WORKLOAD DIRECTORY SCALE`, and prints one line of JSON for each figure. SCALE 1 is
 * the size that docs/benchmarks.md describes, 0.1 a tenth of it. Failures end the program with a message.
 */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bench_config {
    const char *directory; /* where the store files are; the same for all workloads of a system */
    double scale;
} bench_config;

typedef struct bench_workload {
    const char *name;
    void (*run)(const bench_config *config);
} bench_workload;

/* Runs the workload that the command line names. Also knows `warm DIRECTORY GIB`: touches and frees so much memory,
 * so that the pages of the workload that follows come recycled and not fresh from the host. */
int bench_main(int argc, char **argv, const char *system, const bench_workload *workloads, size_t count);

/* Prints one figure of the workload that is running. */
void bench_report(const char *metric, const char *unit, double value);

/* Ends the program when `good` is false. `what` says what was being done. */
void bench_require(bool good, const char *what);

/* Sizes of the workloads: `full` at scale 1, never less than `least`. */
size_t bench_scaled(const bench_config *config, size_t full, size_t least);

/* Path of a file in the directory of the benchmark; the caller frees it. bench_new_path() removes an old file. */
char *bench_path(const bench_config *config, const char *name);
char *bench_new_path(const bench_config *config, const char *name);
uint64_t bench_file_size(const char *path);

/* Reads a file once, so that a read test does not wait for the disk. */
void bench_read_file(const char *path);

double bench_now_seconds(void);
double bench_median(double *values, size_t count);

/* The same numbers in every program: splitmix64. */
uint64_t bench_random(uint64_t *state);

/* Keys formatted as text ahead of the clock, laid out in the order in which they are used. */
typedef struct bench_keys {
    char *text;
    size_t *starts; /* count + 1 of them */
    size_t count;
} bench_keys;

/* `{prefix}{i}` for i below `count`, in rising or in random order. */
bench_keys bench_keys_make(const char *prefix, size_t count, bool shuffled);
void bench_keys_free(bench_keys *keys);

static inline const char *bench_key(const bench_keys *keys, size_t i, size_t *size)
{
    *size = keys->starts[i + 1] - keys->starts[i];
    return keys->text + keys->starts[i];
}

/* Runs `body` in `count` threads, each pinned to a processor of its own as far as there are such, and waits for all.
 * Returns the seconds from the common start to the end of the last. */
typedef void (*bench_thread_body)(void *user, unsigned thread);
double bench_threads_run(unsigned count, bench_thread_body body, void *user);

/* Figures of /proc/self/status in bytes: "VmHWM", "RssAnon", "RssFile". 0 where there is no such figure. */
uint64_t bench_memory(const char *field);

#endif /* BENCH_HARNESS_H */
