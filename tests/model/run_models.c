/* SPDX-License-Identifier: Apache-2.0 */
/* run_models.c — explores each model in each of its variants, which must find nothing; then with each of its deliberate
 * faults, which must find something. Prints how many states there were.
 *
 *   run_models [--trace] [--long] [MODEL...]
 *      --trace shows the steps that lead to what was found, --long has the variants that take minutes too */
#include <stdio.h>
#include <string.h>

#include "models.h"

static const sdm_model *const models[] = {&sdm_index_model, &sdm_pins_model, &sdm_place_model};

static bool explore_as_it_is(const sdm_model *model, bool long_form, bool trace) {
    bool right = true;
    unsigned variants = long_form ? model->variants : model->short_variants;
    for (unsigned variant = 0; variant < variants; variant++) {
        sdm_result result = sdm_explore(model, variant, 0, trace);
        printf("%s %u: %llu states, %llu steps: %s\n", model->name, variant, (unsigned long long)result.states,
               (unsigned long long)result.steps,
               result.gave_up ? "too many" : result.wrong ? result.wrong : "nothing found");
        right &= !result.gave_up && !result.wrong;
    }
    return right;
}

static bool explore_faults(const sdm_model *model, bool trace) {
    bool right = true;
    for (size_t i = 0; i < model->fault_count; i++) {
        const sdm_fault_case *fault = &model->faults[i];
        sdm_result result = sdm_explore(model, fault->variant, fault->number, trace);
        printf("%s, %s: %s (%llu states)\n", model->name, fault->what, result.wrong ? result.wrong : "NOT FOUND",
               (unsigned long long)result.states);
        right &= result.wrong != NULL;
    }
    return right;
}

int main(int count, char **arguments) {
    bool right = true, trace = false, long_form = false;
    int first = 1;
    for (; first < count && arguments[first][0] == '-'; first++) {
        if (strcmp(arguments[first], "--trace") == 0) trace = true;
        else if (strcmp(arguments[first], "--long") == 0) long_form = true;
        else return 2;
    }
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        bool wanted = first >= count;
        for (int a = first; a < count; a++) wanted |= strcmp(arguments[a], models[i]->name) == 0;
        if (!wanted) continue;
        right &= explore_as_it_is(models[i], long_form, trace);
        right &= explore_faults(models[i], trace);
    }
    return right ? 0 : 1;
}
