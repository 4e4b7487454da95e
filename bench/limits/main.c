/* SPDX-License-Identifier: Apache-2.0
 *
 * main.c — runs the rows of limits.h: engine and limit in turns, the first of them changing from round to round.
 *
 * One round to warm up goes ahead. Reported are the medians of both, and of the share of the limit that the engine
 * reaches in the same round, with its least and its most.
 */
#include "limits.h"

#include <stdlib.h>
#include <string.h>

enum { rounds = 7, rounds_of_small = 2, most_rounds = 64 };

typedef struct measured {
    double engine[most_rounds], limit[most_rounds], share[most_rounds];
    size_t count;
} measured;

static limit_rows (*const groups[])(void) = {limit_rows_of_reads, limit_rows_of_writes, limit_rows_of_syncs,
                                             limit_rows_of_opening};
enum { group_count = sizeof groups / sizeof *groups };

static const limit_row *row_called(const char *name)
{
    for (size_t i = 0; i < group_count; i++) {
        limit_rows all = groups[i]();
        for (size_t k = 0; k < all.count; k++)
            if (strcmp(all.rows[k].name, name) == 0)
                return &all.rows[k];
    }
    return NULL;
}

static void run_round(const limit_row *row, void *state, unsigned number, measured *out)
{
    double first = (number % 2 == 0 ? row->engine : row->limit)(state);
    double second = (number % 2 == 0 ? row->limit : row->engine)(state);
    double engine = number % 2 == 0 ? first : second;
    double limit = number % 2 == 0 ? second : first;
    if (number == 0)
        return;
    out->engine[out->count] = engine;
    out->limit[out->count] = limit;
    out->share[out->count++] = row->more_is_better ? engine / limit : limit / engine;
}

static void run_row(const bench_config *config)
{
    const limit_row *row = row_called(config->workload);
    unsigned wanted = config->scale < 1 ? rounds_of_small : rounds > row->least_rounds ? rounds : row->least_rounds;
    measured out = {.count = 0};
    void *state = row->begin(config);
    for (unsigned i = 0; i <= wanted; i++)
        run_round(row, state, i, &out);
    row->end(state);
    bench_report("engine", row->unit, bench_median(out.engine, out.count));
    bench_report("limit", row->unit, bench_median(out.limit, out.count));
    bench_report("share", "of the limit", bench_median(out.share, out.count)); /* sorts them */
    bench_report("least share", "of the limit", out.share[0]);
    bench_report("most share", "of the limit", out.share[out.count - 1]);
}

int main(int argc, char **argv)
{
    bench_workload all[32];
    size_t count = 0;
    for (size_t i = 0; i < group_count; i++) {
        limit_rows rows_of_group = groups[i]();
        for (size_t k = 0; k < rows_of_group.count; k++)
            all[count++] = (bench_workload){rows_of_group.rows[k].name, run_row};
    }
    all[count++] = (bench_workload){"threads", limit_scaling};
    return bench_main(argc, argv, "limits", "default options, and bare loops that do only what must be", all, count);
}
