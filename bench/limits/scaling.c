/* SPDX-License-Identifier: Apache-2.0
 *
 * scaling.c — single reads by number of threads, without and with a writer at full speed, and what the kernel counted
 * for this process meanwhile.
 *
 * Readers who stand in each other's way show in one of two places. Those who wait for a lock go to sleep: switches that
 * the thread asked for. Those who fight for a line of the cache use more processor time for a read. Switches that it
 * did not ask for are those of threads that share a processor. Threads are bound, so migrations are the way to the
 * processor at the start. The kernel's counters are the ones that `perf stat` shows; where it does not let us have
 * that of migrations, the figure is left out.
 */
#include "limits.h"

#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { reads_between_looks = 64 };

typedef struct scaling {
    limit_store of;
    unsigned readers;
    double seconds;
    _Atomic unsigned long long reads, writes;
} scaling;

static void read_until_the_end(scaling *all, unsigned thread, double stop_at)
{
    size_t at = all->of.count / 8 * thread;
    unsigned long long reads = 0;
    for (unsigned turn = 0; turn % 16 != 0 || bench_now_seconds() < stop_at; turn++) {
        if (at + reads_between_looks > all->of.count)
            at = 0;
        uint64_t sum = 0;
        for (size_t i = at; i < at + reads_between_looks; i++) {
            simdrive_entry entry = {0};
            limit_require_ok(simdrive_read(all->of.store, all->of.list[i].data, all->of.list[i].size, &entry), "read");
            sum += *(const unsigned char *)entry.data;
            simdrive_entry_release(&entry);
        }
        limit_keep(sum);
        reads += reads_between_looks;
        at += reads_between_looks;
    }
    atomic_fetch_add(&all->reads, reads);
}

static void write_until_the_end(scaling *all, double stop_at)
{
    unsigned char payload[limit_single];
    unsigned long long writes = 0;
    memset(payload, 'x', sizeof payload);
    for (; writes % 16 != 0 || bench_now_seconds() < stop_at; writes++) {
        char key[32];
        int size = snprintf(key, sizeof key, "writer-key-%llu", writes);
        limit_require_ok(simdrive_write(all->of.store, key, (size_t)size, payload, sizeof payload, NULL), "write");
    }
    all->writes = writes;
}

static void read_or_write(void *user, unsigned thread)
{
    scaling *all = user;
    double stop_at = bench_now_seconds() + all->seconds;
    if (thread == all->readers)
        write_until_the_end(all, stop_at);
    else
        read_until_the_end(all, thread, stop_at);
}

/* Migrations of all threads that this one starts; -1 where that is not to be had. */
static int open_migrations(void)
{
    struct perf_event_attr wanted = {.type = PERF_TYPE_SOFTWARE, .size = sizeof wanted, .inherit = 1,
                                     .config = PERF_COUNT_SW_CPU_MIGRATIONS};
    return (int)syscall(SYS_perf_event_open, &wanted, 0, -1, -1, 0);
}

static void report(const char *what, const char *unit, unsigned readers, bool writer, double value)
{
    char metric[64];
    snprintf(metric, sizeof metric, "%s, %u%s", what, readers, writer ? " beside a writer" : "");
    bench_report(metric, unit, value);
}

static double processor_seconds(const struct rusage *usage)
{
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec)
           + 1e-6 * (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec);
}

static void measure(scaling *all, unsigned readers, bool writer)
{
    struct rusage before, after;
    uint64_t migrations = 0;
    int counter = open_migrations();
    all->readers = readers;
    all->reads = all->writes = 0;
    getrusage(RUSAGE_SELF, &before);
    double seconds = bench_threads_run(readers + writer, read_or_write, all);
    getrusage(RUSAGE_SELF, &after);
    report("reads", "reads/s", readers, writer, (double)all->reads / seconds);
    if (writer)
        report("writes", "entries/s", readers, writer, (double)all->writes / seconds);
    report("processors used", "processors", readers, writer,
           (processor_seconds(&after) - processor_seconds(&before)) / seconds);
    report("asked for", "switches/s", readers, writer, (double)(after.ru_nvcsw - before.ru_nvcsw) / seconds);
    report("not asked for", "switches/s", readers, writer, (double)(after.ru_nivcsw - before.ru_nivcsw) / seconds);
    report("page faults", "faults/s", readers, writer, (double)(after.ru_minflt - before.ru_minflt) / seconds);
    if (counter >= 0 && read(counter, &migrations, sizeof migrations) == sizeof migrations)
        report("migrations", "migrations", readers, writer, (double)migrations);
    if (counter >= 0)
        close(counter);
}

void limit_scaling(const bench_config *config)
{
    static const unsigned numbers[] = {1, 2, 4, 8};
    scaling all = {.of = limit_store_make(config, "limits.store", "bench-key-")};
    all.seconds = config->scale < 1 ? 0.02 : 1;
    all.readers = 2;
    bench_threads_run(all.readers, read_or_write, &all); /* to warm up */
    for (size_t i = 0; i < 2 * (sizeof numbers / sizeof *numbers); i++)
        measure(&all, numbers[i / 2], i % 2 == 1);
    limit_store_free(&all.of);
}
