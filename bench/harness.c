/* SPDX-License-Identifier: Apache-2.0
 *
 * harness.c — see harness.h. Linux and other POSIX systems; pinning and memory figures are Linux's.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *running_system;
static const char *running_workload;

void bench_require(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "bench: %s: %s: failed (%s)\n", running_system, what, strerror(errno));
    exit(1);
}

static void *allocate(size_t size)
{
    void *memory = malloc(size);
    bench_require(memory != NULL, "memory");
    return memory;
}

void bench_report(const char *metric, const char *unit, double value)
{
    printf("{\"system\": \"%s\", \"workload\": \"%s\", \"metric\": \"%s\", \"unit\": \"%s\", \"value\": %.9g}\n",
           running_system, running_workload, metric, unit, value);
    fflush(stdout);
}

size_t bench_scaled(const bench_config *config, size_t full, size_t least)
{
    size_t scaled = (size_t)((double)full * config->scale);
    return scaled > least ? scaled : least;
}

char *bench_path(const bench_config *config, const char *name)
{
    size_t size = strlen(config->directory) + strlen(name) + 2;
    char *path = allocate(size);
    snprintf(path, size, "%s/%s", config->directory, name);
    return path;
}

char *bench_new_path(const bench_config *config, const char *name)
{
    char *path = bench_path(config, name);
    bench_require(remove(path) == 0 || errno == ENOENT, "removing an old file");
    return path;
}

uint64_t bench_file_size(const char *path)
{
    struct stat about;
    bench_require(stat(path, &about) == 0, "file size");
    return (uint64_t)about.st_size;
}

void bench_read_file(const char *path)
{
    enum { piece = 1 << 20 };
    char *buffer = allocate(piece);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    bench_require(file >= 0, "opening for a first read (run W1 before it)");
    while (read(file, buffer, piece) > 0)
        continue;
    close(file);
    free(buffer);
}

double bench_now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

double bench_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare_doubles);
    return count % 2 == 1 ? values[count / 2] : 0.5 * (values[count / 2 - 1] + values[count / 2]);
}

uint64_t bench_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static void shuffle(uint32_t *order, size_t count)
{
    uint64_t state = 1;
    for (size_t i = count; i > 1; i--) {
        size_t j = bench_random(&state) % i;
        uint32_t swapped = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swapped;
    }
}

bench_keys bench_keys_make(const char *prefix, size_t count, bool shuffled)
{
    enum { digits = 10 };
    size_t longest = strlen(prefix) + digits + 1;
    bench_keys keys = {allocate(count * longest), allocate((count + 1) * sizeof(size_t)), count};
    uint32_t *order = allocate(count * sizeof *order);
    for (size_t i = 0; i < count; i++)
        order[i] = (uint32_t)i;
    if (shuffled)
        shuffle(order, count);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        keys.starts[i] = at;
        at += (size_t)snprintf(keys.text + at, longest, "%s%" PRIu32, prefix, order[i]);
    }
    keys.starts[count] = at;
    free(order);
    return keys;
}

void bench_keys_free(bench_keys *keys)
{
    free(keys->text);
    free(keys->starts);
}

/* ----- Threads ----- */

typedef struct crew {
    pthread_barrier_t start;
    bench_thread_body body;
    void *user;
} crew;

typedef struct member {
    pthread_t thread;
    crew *crew;
    unsigned number;
} member;

static void pin(unsigned number)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(number % (unsigned)(processors > 0 ? processors : 1), &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void *member_main(void *argument)
{
    member *self = argument;
    pin(self->number);
    pthread_barrier_wait(&self->crew->start);
    self->crew->body(self->crew->user, self->number);
    return NULL;
}

double bench_threads_run(unsigned count, bench_thread_body body, void *user)
{
    crew all = {.body = body, .user = user};
    member *members = allocate(count * sizeof *members);
    bench_require(pthread_barrier_init(&all.start, NULL, count + 1) == 0, "barrier");
    for (unsigned i = 0; i < count; i++) {
        members[i] = (member){.crew = &all, .number = i};
        bench_require(pthread_create(&members[i].thread, NULL, member_main, &members[i]) == 0, "thread");
    }
    /* The clock starts before the barrier opens: on a busy machine the opener may run last. */
    double began = bench_now_seconds();
    pthread_barrier_wait(&all.start);
    for (unsigned i = 0; i < count; i++)
        pthread_join(members[i].thread, NULL);
    double seconds = bench_now_seconds() - began;
    pthread_barrier_destroy(&all.start);
    free(members);
    return seconds;
}

/* ----- Memory ----- */

uint64_t bench_memory(const char *field)
{
    FILE *status = fopen("/proc/self/status", "r");
    if (status == NULL)
        return 0;
    char line[256];
    uint64_t kib = 0;
    size_t size = strlen(field);
    while (fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, field, size) == 0 && line[size] == ':')
            kib = strtoull(line + size + 1, NULL, 10);
    fclose(status);
    return kib * 1024;
}

static int warm(double gib)
{
    size_t size = (size_t)(gib * 1024 * 1024 * 1024);
    if (size == 0)
        return 0;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bench_require(memory != MAP_FAILED, "warming");
    for (size_t at = 0; at < size; at += 4096)
        memory[at] = 1;
    return munmap(memory, size);
}

/* ----- Command line ----- */

int bench_main(int argc, char **argv, const char *system, const bench_workload *workloads, size_t count)
{
    running_system = system;
    if (argc == 4 && strcmp(argv[1], "warm") == 0)
        return warm(strtod(argv[3], NULL));
    for (size_t i = 0; argc == 4 && i < count; i++) {
        if (strcmp(workloads[i].name, argv[1]) == 0) {
            bench_config config = {argv[2], strtod(argv[3], NULL)};
            running_workload = workloads[i].name;
            workloads[i].run(&config);
            return 0;
        }
    }
    fprintf(stderr, "usage: %s WORKLOAD DIRECTORY SCALE\nworkloads: warm", argv[0]);
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, " %s", workloads[i].name);
    fputc('\n', stderr);
    return 2;
}
