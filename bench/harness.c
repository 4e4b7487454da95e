/* SPDX-License-Identifier: Apache-2.0
 *
 * harness.c — see harness.h. Linux and other POSIX systems; pinning and memory figures are Linux's.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <math.h>
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

void *bench_allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
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
    char *path = bench_allocate(1, size);
    snprintf(path, size, "%s/%s", config->directory, name);
    return path;
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    (void)about;
    (void)kind;
    (void)place;
    return remove(path);
}

enum { open_folders = 8 };

char *bench_new_path(const bench_config *config, const char *name)
{
    char *path = bench_path(config, name);
    bench_require(nftw(path, remove_one, open_folders, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT,
                  "removing an old store");
    return path;
}

static uint64_t disk_bytes; /* nftw() has no pointer for its caller */

static int add_disk_bytes(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    (void)path;
    (void)place;
    if (kind == FTW_F)
        disk_bytes += (uint64_t)about->st_blocks * 512;
    return 0;
}

uint64_t bench_disk_bytes(const char *path)
{
    disk_bytes = 0;
    bench_require(nftw(path, add_disk_bytes, open_folders, FTW_PHYS) == 0, "file size");
    return disk_bytes;
}

/* Reads what is in a file, and passes over its holes, of which some systems make huge ones. */
static int read_one(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    enum { piece = 1 << 20 };
    (void)place;
    if (kind != FTW_F)
        return 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    bench_require(file >= 0, "opening for a first read");
    char *buffer = bench_allocate(1, piece);
    off_t at = lseek(file, 0, SEEK_DATA);
    while (at >= 0 && at < about->st_size) {
        ssize_t size = pread(file, buffer, piece, at);
        if (size <= 0)
            break;
        at = lseek(file, at + size, SEEK_DATA);
    }
    free(buffer);
    close(file);
    return 0;
}

void bench_read_files(const char *path)
{
    bench_require(nftw(path, read_one, open_folders, FTW_PHYS) == 0, "a first read (run W1 before it)");
}

static int drop_one(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    (void)about;
    (void)place;
    if (kind != FTW_F)
        return 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    bench_require(file >= 0 && fsync(file) == 0, "writing a file to the disk");
    bench_require(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0, "dropping a file from the cache");
    close(file);
    return 0;
}

void bench_drop_files(const char *path)
{
    bench_require(nftw(path, drop_one, open_folders, FTW_PHYS) == 0, "dropping a store from the cache");
}

uint64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
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

static uint32_t *numbers_below(size_t count, bool shuffled)
{
    uint32_t *order = bench_allocate(count, sizeof *order);
    for (size_t i = 0; i < count; i++)
        order[i] = (uint32_t)i;
    if (shuffled)
        shuffle(order, count);
    return order;
}

static bench_keys keys_in_order(const char *prefix, const uint32_t *order, size_t count)
{
    enum { digits = 10 };
    size_t longest = strlen(prefix) + digits + 1;
    bench_keys keys = {bench_allocate(count, longest), bench_allocate(count + 1, sizeof(size_t)), count};
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        keys.starts[i] = at;
        at += (size_t)snprintf(keys.text + at, longest, "%s%" PRIu32, prefix, order[i]);
    }
    keys.starts[count] = at;
    return keys;
}

bench_keys bench_keys_make(const char *prefix, size_t count, bool shuffled)
{
    uint32_t *order = numbers_below(count, shuffled);
    bench_keys keys = keys_in_order(prefix, order, count);
    free(order);
    return keys;
}

void bench_keys_free(bench_keys *keys)
{
    free(keys->text);
    free(keys->starts);
}

/* ----- Mixed workloads ----- */

/* Draws ranks below `count` as in J. Gray and others, "Quickly Generating Billion-Record Synthetic Databases", 1994. */
typedef struct zipf {
    double count, alpha, zeta, eta, second;
} zipf;

static const double zipf_theta = 0.99;

static zipf zipf_make(size_t count)
{
    double zeta = 0;
    for (size_t i = 1; i <= count; i++)
        zeta += pow(1 / (double)i, zipf_theta);
    double second = 1 + pow(0.5, zipf_theta);
    double eta = (1 - pow(2 / (double)count, 1 - zipf_theta)) / (1 - second / zeta);
    return (zipf){(double)count, 1 / (1 - zipf_theta), zeta, eta, second};
}

static double random_fraction(uint64_t *state)
{
    return (double)(bench_random(state) >> 11) * 0x1p-53;
}

static size_t zipf_rank(const zipf *shape, uint64_t *state)
{
    double u = random_fraction(state);
    if (u * shape->zeta < 1)
        return 0;
    if (u * shape->zeta < shape->second)
        return 1;
    size_t rank = (size_t)(shape->count * pow(shape->eta * u - shape->eta + 1, shape->alpha));
    return rank < (size_t)shape->count ? rank : (size_t)shape->count - 1;
}

bench_operations bench_operations_make(const char *prefix, size_t records, size_t count, unsigned percent_writes)
{
    uint32_t *scattered = numbers_below(records, true);
    uint32_t *order = bench_allocate(count, sizeof *order);
    bench_operations all = {.writes = bench_allocate(count, sizeof *all.writes)};
    zipf shape = zipf_make(records);
    uint64_t state = 2;
    for (size_t i = 0; i < count; i++) {
        order[i] = scattered[zipf_rank(&shape, &state)];
        all.writes[i] = bench_random(&state) % 100 < percent_writes;
    }
    all.keys = keys_in_order(prefix, order, count);
    free(order);
    free(scattered);
    return all;
}

void bench_operations_free(bench_operations *operations)
{
    bench_keys_free(&operations->keys);
    free(operations->writes);
}

/* ----- Latencies ----- */

/* Below 2^8 ns each nanosecond has a counter; above, each power of two is cut into 2^7 of them:
 *
 *     counter of ns = (power - 7) * 128 + (the 8 highest bits of ns)       with power = floor(log2 ns) >= 7 */
enum { part_bits = 7, parts = 1 << part_bits, counters = (64 - part_bits) * parts + parts };

struct bench_latencies {
    uint64_t count, max;
    uint64_t counts[counters];
};

static size_t counter_of(uint64_t ns)
{
    unsigned power = 63 - (unsigned)__builtin_clzll(ns | parts);
    return (size_t)(power - part_bits) * parts + (size_t)(ns >> (power - part_bits));
}

static uint64_t least_of_counter(size_t counter)
{
    size_t shift = counter / parts > 0 ? counter / parts - 1 : 0;
    return (uint64_t)(counter - shift * parts) << shift;
}

bench_latencies *bench_latencies_new(void)
{
    return bench_allocate(1, sizeof(bench_latencies));
}

void bench_latencies_note(bench_latencies *latencies, uint64_t ns)
{
    latencies->counts[counter_of(ns)]++;
    latencies->count++;
    latencies->max = ns > latencies->max ? ns : latencies->max;
}

static uint64_t percentile(const bench_latencies *latencies, double part)
{
    uint64_t before = (uint64_t)((double)(latencies->count - 1) * part);
    uint64_t passed = 0;
    size_t counter = 0;
    while (passed + latencies->counts[counter] <= before)
        passed += latencies->counts[counter++];
    return least_of_counter(counter);
}

void bench_latencies_report(bench_latencies *latencies, const char *when, bool tail)
{
    static const struct {
        const char *name;
        double part;
        bool tail;
    } figures[] = {{"p50", 0.5, false}, {"p99", 0.99, false}, {"p99.9", 0.999, false}, {"p99.99", 0.9999, true}};
    const char *blank = *when != '\0' ? " " : "";
    char metric[40];
    bench_require(latencies->count > 0, "timing operations");
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        if (figures[i].tail && !tail)
            continue;
        snprintf(metric, sizeof metric, "%s%s%s", when, blank, figures[i].name);
        bench_report(metric, "ns", (double)percentile(latencies, figures[i].part));
    }
    snprintf(metric, sizeof metric, "%s%smax", when, blank);
    bench_report(metric, "ns", (double)latencies->max);
    free(latencies);
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
    member *members = bench_allocate(count, sizeof *members);
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

void bench_forget_peak(void)
{
    FILE *references = fopen("/proc/self/clear_refs", "w");
    if (references == NULL)
        return;
    fputs("5", references);
    fclose(references);
}

uint64_t bench_peak_beyond_files(void)
{
    uint64_t peak = bench_memory("VmHWM");
    uint64_t files = bench_memory("RssFile") + bench_memory("RssShmem");
    return peak > files ? peak - files : 0;
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

int bench_main(int argc, char **argv, const char *system, const char *settings, const bench_workload *workloads,
               size_t count)
{
    running_system = system;
    if (argc == 2 && strcmp(argv[1], "describe") == 0)
        return puts(settings) < 0;
    if (argc == 4 && strcmp(argv[1], "warm") == 0)
        return warm(strtod(argv[3], NULL));
    for (size_t i = 0; argc == 4 && i < count; i++) {
        if (strcmp(workloads[i].name, argv[1]) == 0) {
            bench_config config = {argv[2], strtod(argv[3], NULL), workloads[i].name};
            running_workload = workloads[i].name;
            workloads[i].run(&config);
            return 0;
        }
    }
    fprintf(stderr, "usage: %s WORKLOAD DIRECTORY SCALE | describe\nworkloads: warm", argv[0]);
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, " %s", workloads[i].name);
    fputc('\n', stderr);
    return 2;
}
