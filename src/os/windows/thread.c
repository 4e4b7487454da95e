/* SPDX-License-Identifier: Apache-2.0
 *
 * thread.c — mutexes, conditions, threads and their numbers on Windows.
 */
#include "os/windows/win.h"

#include <process.h>
#include <stdlib.h>

#include "os/thread_number.h"

_Static_assert(sizeof(SRWLOCK) <= sizeof(sdi_mutex), "sdi_mutex is too small");
_Static_assert(sizeof(CONDITION_VARIABLE) <= sizeof(sdi_condition), "sdi_condition is too small");
_Static_assert(sizeof(HANDLE) <= sizeof(sdi_thread), "sdi_thread is too small");

/* --- mutexes and conditions ------------------------------------------------------------------------------------ */

static SRWLOCK *lock_of(sdi_mutex *mutex) {
    return (SRWLOCK *)(void *)mutex->space;
}

static CONDITION_VARIABLE *condition_of(sdi_condition *condition) {
    return (CONDITION_VARIABLE *)(void *)condition->space;
}

simdrive_status sdi_mutex_init(sdi_mutex *mutex) {
    InitializeSRWLock(lock_of(mutex));
    return SIMDRIVE_OK;
}

void sdi_mutex_destroy(sdi_mutex *mutex) {
    (void)mutex;
}

void sdi_mutex_lock(sdi_mutex *mutex) {
    AcquireSRWLockExclusive(lock_of(mutex));
}

void sdi_mutex_unlock(sdi_mutex *mutex) {
    ReleaseSRWLockExclusive(lock_of(mutex));
}

simdrive_status sdi_condition_init(sdi_condition *condition) {
    InitializeConditionVariable(condition_of(condition));
    return SIMDRIVE_OK;
}

void sdi_condition_destroy(sdi_condition *condition) {
    (void)condition;
}

void sdi_condition_wait(sdi_condition *condition, sdi_mutex *mutex) {
    SleepConditionVariableSRW(condition_of(condition), lock_of(mutex), INFINITE, 0);
}

bool sdi_condition_wait_ms(sdi_condition *condition, sdi_mutex *mutex, uint32_t timeout_ms) {
    DWORD timeout = timeout_ms < INFINITE ? timeout_ms : INFINITE - 1;
    return SleepConditionVariableSRW(condition_of(condition), lock_of(mutex), timeout, 0);
}

void sdi_condition_wake_all(sdi_condition *condition) {
    WakeAllConditionVariable(condition_of(condition));
}

/* --- threads --------------------------------------------------------------------------------------------------- */

typedef struct start {
    void (*run)(void *user);
    void *user;
} start;

static unsigned __stdcall run_thread(void *argument) {
    start begin = *(start *)argument;
    free(argument);
    begin.run(begin.user);
    return 0;
}

static HANDLE *handle_of(sdi_thread *thread) {
    return (HANDLE *)(void *)thread->space;
}

simdrive_status sdi_thread_start(sdi_thread *thread, void (*run)(void *user), void *user) {
    start *argument = malloc(sizeof *argument);
    if (argument == NULL) return sdi_win_error(ERROR_OUTOFMEMORY);
    *argument = (start){.run = run, .user = user};
    uintptr_t handle = _beginthreadex(NULL, 0, run_thread, argument, 0, NULL);
    if (handle == 0) {
        free(argument);
        return sdi_win_error(ERROR_OUTOFMEMORY); /* the only reason it knows besides wrong arguments */
    }
    *handle_of(thread) = (HANDLE)handle;
    return SIMDRIVE_OK;
}

void sdi_thread_join(sdi_thread *thread) {
    WaitForSingleObject(*handle_of(thread), INFINITE);
    CloseHandle(*handle_of(thread));
}

/* --- thread numbers -------------------------------------------------------------------------------------------- */

static DWORD exit_slot = FLS_OUT_OF_INDEXES; /* its callback tells us that a thread ends */
static _Thread_local unsigned number_plus_one; /* 0: the thread has none yet */

/* Runs in the ending thread. What comes after it there and asks again gets a new number, as any thread without one. */
static void NTAPI end_of_thread(void *value) {
    if (value == NULL || exit_slot == FLS_OUT_OF_INDEXES) return; /* FlsFree() calls for live threads too */
    number_plus_one = 0;
    sdi_number_give_back((unsigned)(uintptr_t)value - 1);
}

__attribute__((constructor)) static void create_exit_slot(void) {
    exit_slot = FlsAlloc(end_of_thread);
}

/* A library that is unloaded must leave no pointer into itself behind. */
__attribute__((destructor)) static void delete_exit_slot(void) {
    DWORD slot = exit_slot;
    exit_slot = FLS_OUT_OF_INDEXES;
    if (slot != FLS_OUT_OF_INDEXES) FlsFree(slot);
}

__attribute__((noinline)) static unsigned first_number(void) {
    unsigned number = sdi_number_take();
    number_plus_one = number + 1;
    if (exit_slot != FLS_OUT_OF_INDEXES) FlsSetValue(exit_slot, (void *)((uintptr_t)number + 1));
    return number;
}

unsigned sdi_thread_number(void) {
    return number_plus_one != 0 ? number_plus_one - 1 : first_number();
}

uint64_t sdi_thread_id(void) {
    return GetCurrentThreadId();
}

void sdi_thread_yield(void) {
    SwitchToThread();
}
