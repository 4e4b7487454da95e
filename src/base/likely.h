/* SPDX-License-Identifier: Apache-2.0 */
/* likely.h — what the compiler cannot know: which way a branch nearly always goes, and what is hardly ever called. */
#ifndef SDI_LIKELY_H
#define SDI_LIKELY_H

#if defined(__GNUC__)
#define SDI_OFTEN(condition) __builtin_expect(!!(condition), 1)
#define SDI_SELDOM(condition) __builtin_expect(!!(condition), 0)
#define SDI_COLD __attribute__((noinline, cold))
#else
#define SDI_OFTEN(condition) (condition)
#define SDI_SELDOM(condition) (condition)
#define SDI_COLD
#endif

#endif
