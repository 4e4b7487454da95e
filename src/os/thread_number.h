/* SPDX-License-Identifier: Apache-2.0
 *
 * thread_number.h — the numbers behind sdi_thread_number(), for the systems that hand them to their threads.
 */
#ifndef SDI_THREAD_NUMBER_H
#define SDI_THREAD_NUMBER_H

/* The lowest number that no thread has. */
unsigned sdi_number_take(void);
void sdi_number_give_back(unsigned number);

#endif
