/* SPDX-License-Identifier: Apache-2.0
 *
 * harness.h — what the benchmark programs of all systems share: the command line, clock, keys, threads and output.
 *
 * It knows no storage system. A program for one system is a table of workloads and a call of bench_main(); `run`
 * beside this file starts the programs of all systems in turns and compares what they report. To add a system, write
 * its program and name it in systems.py.
 *
 * A program is called as `PROGRAM WORKLOAD DIRECTORY SCALE`, and prints one line of JSON for each figure. SCALE 1 is
 * the size that docs/benchmarks.md describes, 0.1 a tenth of it. `PROGRAM describe` prints one line: how the system is
 * set up, and where it does less than others. A workload that the system does not have gives exit status 2. Failures
 * end the program with a message and status 1.
 *
 * Most workloads are the same code for every system in C: see engine.h.
 */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bench_config {
    const char *directory; /* where the store files are; the same for all workloads of a system */
    double scale;
    const char *workload; /* the name it was called by */
} bench_config;

typedef struct bench_workload {
    const char *name;
    void (*run)(const bench_config *config);
} bench_workload;

/* Runs the workload that the command line names. Also knows `warm DIRECTORY GIB`: touches and frees so much memory,
 * so that the pages of the workload that follows come recycled and not fresh from the host. */
int bench_main(int argc, char **argv, const char *system, const char *settings, const bench_workload *workloads,
               size_t count);

/* Prints one figure of the workload that is running. */
void bench_report(const char *metric, const char *unit, double value);

/* Ends the program when `good` is false. `what` says what was being done. */
void bench_require(bool good, const char *what);

/* Sizes of the workloads: `full` at scale 1, never less than `least`. */
size_t bench_scaled(const bench_config *config, size_t full, size_t least);

/* Zeroed memory, or the end of the program. */
void *bench_allocate(size_t count, size_t size);

/* Path of a store in the directory of the benchmark; the caller frees it. bench_new_path() removes what is there, be it
 * a file or a folder with all that is in it. */
char *bench_path(const bench_config *config, const char *name);
char *bench_new_path(const bench_config *config, const char *name);

/* What a file, or all files of a folder, take on the disk: holes do not count. */
uint64_t bench_disk_bytes(const char *path);

/* Reads a store's files once, so that a read test does not wait for the disk. */
void bench_read_files(const char *path);

/* Writes a store's files to the disk and takes them out of the page cache, as far as no map holds them. */
void bench_drop_files(const char *path);

double bench_now_seconds(void);
uint64_t bench_now_ns(void);
double bench_median(double *values, size_t count);

/* The same numbers in every program: splitmix64. */
uint64_t bench_random(uint64_t *state);

typedef struct bench_bytes {
    const void *data;
    size_t size;
} bench_bytes;

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

/* What a mixed workload does, made ahead of the clock: which key comes next, and whether it is written. Keys are
 * Zipfian with theta 0.99, as in YCSB: the n-th most popular of the records comes with a weight of 1 / n^theta, and
 * which of them that is, is scattered over all of them. */
typedef struct bench_operations {
    bench_keys keys; /* in the order of use */
    bool *writes;
} bench_operations;

bench_operations bench_operations_make(const char *prefix, size_t records, size_t count, unsigned percent_writes);
void bench_operations_free(bench_operations *operations);

/* How long single operations took: a histogram whose figures are at most 1/128 too low, and the exact maximum. It does
 * not grow, so that noting disturbs what is measured as little as can be. Each time includes one look at the clock. */
typedef struct bench_latencies bench_latencies;

bench_latencies *bench_latencies_new(void);
void bench_latencies_note(bench_latencies *latencies, uint64_t ns);

/* Reports p50, p99, p99.9 and max, with `when` and a blank before each name unless it is "", and p99.99 when `tail`.
 * Frees `latencies`. */
void bench_latencies_report(bench_latencies *latencies, const char *when, bool tail);

/* Runs `body` in `count` threads, each pinned to a processor of its own as far as there are such, and waits for all.
 * Returns the seconds from the common start to the end of the last. */
typedef void (*bench_thread_body)(void *user, unsigned thread);
double bench_threads_run(unsigned count, bench_thread_body body, void *user);

/* Figures of /proc/self/status in bytes: "VmHWM", "RssAnon", "RssFile". 0 where there is no such figure. */
uint64_t bench_memory(const char *field);

/* Forgets the peak so far, and then: the peak less what is mapped of files. */
void bench_forget_peak(void);
uint64_t bench_peak_beyond_files(void);

/* Reads the first byte of a payload and one in each 64 that follow, up to 4 KiB: what a program that uses it would at
 * least wait for. The compiler cannot leave it out. */
static inline void bench_touch(const void *payload, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)payload;
    size_t end = size < 4096 ? size : 4096;
    unsigned sum = 0;
    for (size_t i = 0; i < end; i += 64)
        sum += bytes[i];
    __asm__ volatile("" : : "r"(sum));
}

#ifdef __cplusplus
}
#endif

#endif /* BENCH_HARNESS_H */
