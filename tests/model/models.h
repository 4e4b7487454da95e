/* SPDX-License-Identifier: Apache-2.0 */
/* models.h — the models that there are. Each stands beside the code that its first comment names, and that code names
 * the model: they are changed together. */
#ifndef SDM_MODELS_H
#define SDM_MODELS_H

#include "explore.h"

extern const sdm_model sdm_index_model;
extern const sdm_model sdm_pins_model;
extern const sdm_model sdm_place_model;

#endif
