/* SPDX-License-Identifier: Apache-2.0
 *
 * thread.c — mutexes, conditions, threads and their numbers on POSIX.
 */
#include "os/posix/posix.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "os/thread_number.h"

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(sdi_mutex), "sdi_mutex is too small");
_Static_assert(sizeof(pthread_cond_t) <= sizeof(sdi_condition), "sdi_condition is too small");
_Static_assert(sizeof(pthread_t) <= sizeof(sdi_thread), "sdi_thread is too small");

/* More than anything of ours uses; the defaults reach from 128 KiB (musl) to what `ulimit -s` happens to say. */
enum { STACK_BYTES = 2 << 20 };

/* --- mutexes and conditions ------------------------------------------------------------------------------------ */

static pthread_mutex_t *mutex_of(sdi_mutex *mutex) {
    return (pthread_mutex_t *)(void *)mutex->space;
}

static pthread_cond_t *condition_of(sdi_condition *condition) {
    return (pthread_cond_t *)(void *)condition->space;
}

/* These calls fail only when we use them wrongly. */
static void must(int error) {
    assert(error == 0);
    (void)error;
}

/* EAGAIN says of all of these that there is no room for one more. */
static simdrive_status status_of(int error) {
    if (error == 0) return SIMDRIVE_OK;
    simdrive_status status = sdi_posix_error(error);
    return error == EAGAIN ? SIMDRIVE_ERROR_NO_MEMORY : status;
}

simdrive_status sdi_mutex_init(sdi_mutex *mutex) {
    return status_of(pthread_mutex_init(mutex_of(mutex), NULL));
}

void sdi_mutex_destroy(sdi_mutex *mutex) {
    must(pthread_mutex_destroy(mutex_of(mutex)));
}

void sdi_mutex_lock(sdi_mutex *mutex) {
    must(pthread_mutex_lock(mutex_of(mutex)));
}

void sdi_mutex_unlock(sdi_mutex *mutex) {
    must(pthread_mutex_unlock(mutex_of(mutex)));
}

#if defined(__APPLE__)
static int init_condition(pthread_cond_t *condition) {
    return pthread_cond_init(condition, NULL);
}

static int wait_for(pthread_cond_t *condition, pthread_mutex_t *mutex, uint32_t timeout_ms) {
    struct timespec length = {.tv_sec = timeout_ms / 1000, .tv_nsec = (long)(timeout_ms % 1000) * 1000000};
    return pthread_cond_timedwait_relative_np(condition, mutex, &length);
}
#else
/* The monotonic clock, or setting the time would stretch or cut the wait. */
static int init_condition(pthread_cond_t *condition) {
    pthread_condattr_t attributes;
    int error = pthread_condattr_init(&attributes);
    if (error != 0) return error;
    error = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (error == 0) error = pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
    return error;
}

static int wait_for(pthread_cond_t *condition, pthread_mutex_t *mutex, uint32_t timeout_ms) {
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += timeout_ms / 1000;
    end.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000;
    }
    return pthread_cond_timedwait(condition, mutex, &end);
}
#endif

simdrive_status sdi_condition_init(sdi_condition *condition) {
    return status_of(init_condition(condition_of(condition)));
}

void sdi_condition_destroy(sdi_condition *condition) {
    must(pthread_cond_destroy(condition_of(condition)));
}

void sdi_condition_wait(sdi_condition *condition, sdi_mutex *mutex) {
    must(pthread_cond_wait(condition_of(condition), mutex_of(mutex)));
}

bool sdi_condition_wait_ms(sdi_condition *condition, sdi_mutex *mutex, uint32_t timeout_ms) {
    int error = wait_for(condition_of(condition), mutex_of(mutex), timeout_ms);
    if (error == ETIMEDOUT) return false;
    must(error);
    return true;
}

void sdi_condition_wake_all(sdi_condition *condition) {
    must(pthread_cond_broadcast(condition_of(condition)));
}

/* --- threads --------------------------------------------------------------------------------------------------- */

typedef struct start {
    void (*run)(void *user);
    void *user;
} start;

static void *run_thread(void *argument) {
    start begin = *(start *)argument;
    free(argument);
    begin.run(begin.user);
    return NULL;
}

/* The host's signals are for the host's threads. Faults stay open: they belong to the instruction that made them, and
 * blocked ones kill the process before any handler sees them. */
static void signals_not_ours(sigset_t *set) {
    static const int faults[] = {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGABRT};
    sigfillset(set);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(set, faults[i]);
}

static int create_thread(pthread_t *thread, start *argument) {
    pthread_attr_t attributes;
    sigset_t blocked;
    sigset_t before;
    int error = pthread_attr_init(&attributes);
    if (error != 0) return error;
    error = pthread_attr_setstacksize(&attributes, STACK_BYTES);
    signals_not_ours(&blocked);
    pthread_sigmask(SIG_SETMASK, &blocked, &before); /* a new thread inherits it */
    if (error == 0) error = pthread_create(thread, &attributes, run_thread, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}

simdrive_status sdi_thread_start(sdi_thread *thread, void (*run)(void *user), void *user) {
    start *argument = malloc(sizeof *argument);
    if (argument == NULL) return sdi_posix_error(ENOMEM);
    *argument = (start){.run = run, .user = user};
    int error = create_thread((pthread_t *)(void *)thread->space, argument);
    if (error == 0) return SIMDRIVE_OK;
    free(argument);
    return status_of(error);
}

void sdi_thread_join(sdi_thread *thread) {
    must(pthread_join(*(pthread_t *)(void *)thread->space, NULL));
}

/* --- thread numbers -------------------------------------------------------------------------------------------- */

static pthread_key_t exit_key; /* its destructor tells us that a thread ends */
static atomic_bool has_exit_key;

static SDI_THREAD_LOCAL unsigned number_plus_one; /* 0: the thread has none yet */

/* Runs in the ending thread. What comes after it there and asks again gets a new number, as any thread without one. */
static void end_of_thread(void *value) {
    number_plus_one = 0;
    sdi_number_give_back((unsigned)(uintptr_t)value - 1);
}

__attribute__((constructor)) static void create_exit_key(void) {
    atomic_store(&has_exit_key, pthread_key_create(&exit_key, end_of_thread) == 0);
}

/* A library that is unloaded must leave no pointer into itself behind. */
__attribute__((destructor)) static void delete_exit_key(void) {
    if (atomic_exchange(&has_exit_key, false)) pthread_key_delete(exit_key);
}

__attribute__((noinline)) static unsigned first_number(void) {
    unsigned number = sdi_number_take();
    number_plus_one = number + 1;
    if (atomic_load(&has_exit_key)) pthread_setspecific(exit_key, (void *)((uintptr_t)number + 1));
    return number;
}

unsigned sdi_thread_number(void) {
    return number_plus_one != 0 ? number_plus_one - 1 : first_number();
}

uint64_t sdi_thread_id(void) {
    return (uint64_t)(uintptr_t)pthread_self();
}

void sdi_thread_yield(void) {
    sched_yield();
}
