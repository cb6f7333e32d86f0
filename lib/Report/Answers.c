/* Which class a model's outputs speak for. */
#include "Report.h"

#include "mlc/op.h"

#include <math.h>
#include <string.h>

static int64_t elements(const mlc_value *v) {
    return mlc_shape_elements(&v->shape);
}

static bool made_by(const mlc_value *v, const char *op) {
    while (v->producer && strcmp(v->producer->op->name, op) != 0) {
        static const char *const handing_on[] = {"Reshape",   "Flatten",  "Squeeze",
                                                 "Unsqueeze", "Identity", "Cast"};
        bool same = false;
        for (size_t i = 0; i < sizeof handing_on / sizeof handing_on[0]; i++)
            same = same || strcmp(v->producer->op->name, handing_on[i]) == 0;
        if (!same)
            return false;
        v = v->producer->in[0];
    }
    return v->producer != NULL;
}

/* The output that names the class itself, else the scores; NULL: neither. */
static int answer_output(const mlc_graph *model) {
    for (int k = 0; k < model->n_outputs; k++)
        if (mlc_dtype_is_integer(model->outputs[k]->dtype) && elements(model->outputs[k]) == 1)
            return k;
    for (int k = 0; k < model->n_outputs; k++)
        if (mlc_dtype_is_float(model->outputs[k]->dtype) && elements(model->outputs[k]) > 0)
            return k;
    return -1;
}

bool mlc_decides(const mlc_graph *model, bool labelled) {
    int k = answer_output(model);
    if (k < 0)
        return false;
    const mlc_value *v = model->outputs[k];
    int64_t n = elements(v);
    if (n > MLC_MAX_CLASSES)
        return false;
    return labelled || mlc_dtype_is_integer(v->dtype) || made_by(v, n == 1 ? "Sigmoid" : "Softmax");
}

int64_t mlc_real_class(const mlc_graph *model, const double *const *out) {
    int k = answer_output(model);
    if (k < 0)
        return -1;
    const mlc_value *v = model->outputs[k];
    int64_t n = elements(v), best = 0;
    if (mlc_dtype_is_integer(v->dtype))
        return fabs(out[k][0]) < 0x1p53 ? (int64_t)rint(out[k][0]) : -1;
    if (n == 1)
        return out[k][0] >= (made_by(v, "Sigmoid") ? 0.5 : 0);
    for (int64_t i = 1; i < n; i++)
        if (out[k][i] > out[k][best])
            best = i;
    return best;
}

int64_t mlc_agreeing(const int64_t *a, const int64_t *b, int n, int64_t *of) {
    int64_t same = 0;
    *of = 0;
    for (int s = 0; s < n; s++) {
        if (a[s] < 0 || b[s] < 0)
            continue;
        ++*of;
        same += a[s] == b[s];
    }
    return same;
}
