/* SPDX-License-Identifier: Apache-2.0
 *
 * progress.c — draws a bar, its percentage, the amount and the rate, at most ten times a second.
 */
#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "platform.h"

enum { REDRAW_NS = 100 * 1000 * 1000, LONGEST_BAR = 40, OTHER_COLUMNS = 50 };

static void format_bytes(char *text, size_t size, double bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    for (; bytes >= 1024 && unit + 1 < sizeof units / sizeof units[0]; unit++) bytes /= 1024;
    snprintf(text, size, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

static void format_items(char *text, size_t size, double items) {
    snprintf(text, size, "%.0f", items);
}

static unsigned bar_columns(void) {
    unsigned columns = sdi_cli_terminal_columns();
    if (columns <= OTHER_COLUMNS) return 0;
    return columns - OTHER_COLUMNS < LONGEST_BAR ? columns - OTHER_COLUMNS : LONGEST_BAR;
}

static void draw(sdi_cli_progress *progress, uint64_t now_ns) {
    char bar[LONGEST_BAR + 1], amount[32], rate[32], line[200];
    double part = progress->total == 0 ? progress->finished : (double)progress->done / (double)progress->total;
    double seconds = (double)(now_ns - progress->started_ns) / 1e9;
    unsigned columns = bar_columns();
    unsigned filled = (unsigned)(part * columns);
    memset(bar, ' ', sizeof bar);
    memset(bar, '=', filled < columns ? filled : columns);
    bar[columns] = '\0';
    void (*format)(char *text, size_t size, double number) = progress->items ? format_items : format_bytes;
    format(amount, sizeof amount, (double)progress->done);
    format(rate, sizeof rate, seconds > 0 ? (double)progress->done / seconds : 0);
    snprintf(line, sizeof line, "%-8s %3u%% %s[%s]%s %s, %s/s", progress->label, (unsigned)(part * 100),
             progress->coloured ? "\033[32m" : "", bar, progress->coloured ? "\033[0m" : "", amount, rate);
    sdi_cli_status_line(line);
    progress->drawn_ns = now_ns;
}

void sdi_cli_progress_begin(sdi_cli_progress *progress, const sdi_cli *cli, const char *label) {
    const sdi_cli_options *options = &cli->options;
    const char *no_color = getenv("NO_COLOR");
    bool wanted = options->progress == SDI_CLI_PROGRESS_ALWAYS ||
                  (options->progress == SDI_CLI_PROGRESS_AUTO && sdi_cli_terminal_draws());
    *progress = (sdi_cli_progress){
        .label = label,
        .shown = wanted && options->verbosity >= 0,
        .coloured = sdi_cli_terminal_draws() && (no_color == NULL || no_color[0] == '\0'),
        .started_ns = sdi_cli_monotonic_ns(),
    };
    sdi_cli_interrupts_catch();
    if (progress->shown) draw(progress, progress->started_ns);
}

simdrive_status sdi_cli_progress_update(void *user, uint64_t done, uint64_t total) {
    sdi_cli_progress *progress = user;
    if (sdi_cli_interrupted()) return SIMDRIVE_ERROR_CANCELLED;
    progress->total = total;
    progress->done = done < total ? done : total;
    if (!progress->shown) return SIMDRIVE_OK;
    uint64_t now_ns = sdi_cli_monotonic_ns();
    if (now_ns - progress->drawn_ns >= REDRAW_NS) draw(progress, now_ns);
    return SIMDRIVE_OK;
}

void sdi_cli_progress_end(sdi_cli_progress *progress, bool finished) {
    if (!progress->shown) return;
    if (finished) progress->done = progress->total;
    progress->finished = finished;
    draw(progress, sdi_cli_monotonic_ns());
    sdi_cli_status_line(NULL);
    progress->shown = false;
}
