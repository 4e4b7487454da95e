/* SPDX-License-Identifier: Apache-2.0
 *
 * larger_than_memory.h — the workloads of larger_than_memory.c, for the table in workloads.c.
 */
#ifndef BENCH_LARGER_THAN_MEMORY_H
#define BENCH_LARGER_THAN_MEMORY_H

#include "engine.h"

enum { BENCH_LARGER_MOST = 12 };

/* Fills in those that the engine has; returns how many. */
size_t bench_larger_than_memory(const bench_engine *engine, bench_workload *out);

#endif /* BENCH_LARGER_THAN_MEMORY_H */
