/*
 * SHAPED -> INTEGER: walks the graph and lets every op rewrite itself with the
 * builders of quantize.h.
 *
 * Where calibration data was given and the proven range of a node's result is far
 * wider than what was seen, the result saturates at a wide margin around the seen
 * range. That is sound (the interval holds for every input), and differs from
 * the real-valued model only where an intermediate value leaves the margin.
 */
#include "Passes.h"

#include "Narrow.h"
#include "Precision.h"
#include "Quant.h"
#include "mlc/features.h"
#include "mlc/form.h"
#include "mlc/mlc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Inputs may be this much larger than what was seen in calibration, unless they are then cut off anyway. */
#define INPUT_MARGIN 2.0
/* Saturation starts at this multiple of the seen magnitude ... */
#define SATURATION_MARGIN 4.0
/* ... and only where the proven range exceeds it by this factor: below, the
 * headroom costs few bits and a clamp would cost instructions. */
#define SATURATION_GAIN 1024.0

/* Float inputs without calibration or declared format: q15.16. */
enum { DEFAULT_INTEGER_BITS = 15, DEFAULT_FRACTION_BITS = 16 };

static void *cannot(mlc_diag *diag, const mlc_node *node) {
    mlc_error_at(diag, node, "cannot be lowered to integers yet");
    mlc_note(diag, "`mlc --list-ops` shows what can");
    return NULL;
}

static double seen_magnitude(const mlc_quant *q, const mlc_value *v) {
    if (!q->seen_lo || !(q->seen_lo[v->id] <= q->seen_hi[v->id]))
        return NAN;
    return fmax(fabs(q->seen_lo[v->id]), fabs(q->seen_hi[v->id]));
}

static void set_interval(mlc_quant *q, mlc_value *v, int64_t lo, int64_t hi) {
    int64_t n = mlc_q_elements(v);
    v->lo = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    v->hi = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    for (int64_t i = 0; i < n; i++) {
        v->lo[i] = lo;
        v->hi[i] = hi;
    }
}

/* A float input in a format of its own: rounded to it. */
static void on_grid(mlc_quant *q, mlc_value *v, const mlc_input_grid *grid) {
    v->scale = grid->scale;
    v->zero = grid->zero;
    set_interval(q, v, grid->lo, grid->hi);
    int exponent;
    double *err = mlc_q_err_array(q, v),
           most = fmax((double)(grid->hi - grid->zero), (double)(grid->zero - grid->lo));
    /* Division by a scale that is no power of two is itself rounded to float. */
    double division = frexp(v->scale, &exponent) == 0.5 ? 0 : ldexp(most, -24);
    for (int64_t i = 0; i < mlc_q_elements(v); i++)
        err[i] = (0.5 + division) * v->scale;
}

/* Builders know no zero points: q - zero. */
static mlc_value *centered(mlc_quant *q, mlc_value *v) {
    mlc_value *r = mlc_q_binary(q, "Sub", v, mlc_q_scalar(q, v->zero));
    if (!r)
        return NULL;
    r->scale = v->scale;
    r->err = v->err;
    return r;
}

static bool float_input(mlc_quant *q, const mlc_value *from, mlc_value *v, const char *format) {
    int integer = DEFAULT_INTEGER_BITS, fraction = DEFAULT_FRACTION_BITS;
    double seen = seen_magnitude(q, from);
    if (format) {
        mlc_input_grid grid;
        bool given;
        if (!mlc_input_format(q->from, format, from, &grid, &given))
            return false;
        if (given) {
            on_grid(q, v, &grid);
            return true;
        }
    }
    bool on_grids = mlc_q_only_on_grids(q, from), positive = on_grids && q->seen_lo[from->id] >= 0;
    if (isfinite(seen) && seen > 0) {
        frexp(on_grids ? seen : seen * INPUT_MARGIN, &integer);
        fraction = MLC_WORK_BITS - integer;
        /* Features of very different sizes share the format: the small ones keep their digits. */
        if (fraction < MLC_WORK_FRACTION)
            fraction = MLC_WORK_FRACTION;
        if (fraction > MLC_WIDE_BITS - integer)
            fraction = MLC_WIDE_BITS - integer;
    }
    fraction += positive && integer + fraction == MLC_WORK_BITS; /* no sign */
    int64_t limit = (int64_t)1 << (integer + fraction);
    on_grid(q, v,
            &(mlc_input_grid){.scale = ldexp(1, -fraction), .lo = positive ? 0 : -limit, .hi = limit - 1});
    return true;
}

/* 64-bit inputs are bounded by 32 bits unless data says otherwise: full range
 * would leave no room for any arithmetic. */
static void integer_input(mlc_quant *q, const mlc_value *from, mlc_value *v) {
    int64_t lo, hi;
    mlc_dtype_range(from->dtype, &lo, &hi);
    if (from->dtype == MLC_INT64 || from->dtype == MLC_UINT64) {
        double seen = seen_magnitude(q, from) * INPUT_MARGIN;
        int64_t limit = isfinite(seen) && seen > INT32_MAX ? (int64_t)fmin(seen, 0x1p52) : INT32_MAX;
        lo = from->dtype == MLC_INT64 ? -limit - 1 : 0;
        hi = limit;
    }
    set_interval(q, v, lo, hi);
}

static bool make_inputs(mlc_quant *q, const mlc_feature_binding *binding, const char *format) {
    int64_t first = 0;
    q->quantizes = mlc_quantizes(q->from);
    if (!format)
        format = mlc_graph_property(q->from, "mlc.input_format");
    for (int k = 0; k < q->from->n_inputs; k++) {
        const mlc_value *from = q->from->inputs[k];
        mlc_value *v = mlc_graph_value(q->to, from->name);
        mlc_input_grid grid;
        v->dtype = MLC_INT64;
        v->model_dtype = from->dtype;
        v->shape = from->shape;
        v->shaped = true;
        v->dynamic_batch = from->dynamic_batch;
        if (!mlc_dtype_is_float(from->dtype) && !mlc_dtype_is_integer(from->dtype))
            return mlc_error(q->diag, "input '%s' has type %s; inputs must be numbers",
                             mlc_escape(from->name), mlc_dtype_name(from->dtype));
        if (binding) {
            set_interval(q, v, 0, 0);
            for (int64_t i = 0; i < mlc_q_elements(v); i++) {
                v->lo[i] = binding->features[first + i].lo;
                v->hi[i] = binding->features[first + i].hi;
            }
            first += mlc_q_elements(v);
        } else if (!format && mlc_find_input_grid(q->from, from, &grid)) {
            v->scale = grid.scale;
            v->zero = grid.zero;
            set_interval(q, v, grid.lo, grid.hi);
        } else if (mlc_dtype_is_float(from->dtype)) {
            if (!float_input(q, from, v, format))
                return false;
        } else {
            integer_input(q, from, v);
        }
        mlc_graph_add_input(q->to, v);
        if (q->quantizes && mlc_dtype_is_float(from->dtype)) {
            mlc_form *form = mlc_form_simple(q, v, mlc_chain_linear(q, v->scale, v->zero, 0, from->dtype));
            form->quantized = v->zero != 0 || !v->err;
            mlc_form_set(q, from, form);
        }
        if (v->zero == 0)
            q->map[from->id] = v;
        else if (!q->quantizes)
            q->map[from->id] = centered(q, v); /* else its form says what it stands for */
        if (q->seen)
            mlc_q_set_seen(q, q->map[from->id] ? q->map[from->id] : v, q->seen[from->id]);
    }
    return true;
}

/* Where `integer`, which stands for v, saturates; INFINITY: nowhere. */
static double saturation(const mlc_quant *q, const mlc_value *v, const mlc_value *integer) {
    double seen = seen_magnitude(q, v);
    if (integer->constant || !mlc_dtype_is_float(v->dtype) || !isfinite(seen))
        return INFINITY;
    double limit = fmax(seen, 1e-6) * SATURATION_MARGIN;
    return (double)mlc_q_magnitude(integer) * integer->scale < limit * SATURATION_GAIN ? INFINITY : limit;
}

/* The result saturates where its proven range is useless beside what was seen. */
static bool saturate(mlc_quant *q, const mlc_value *v) {
    mlc_value *integer = q->map[v->id];
    double limit = integer ? saturation(q, v, integer) : INFINITY;
    return !isfinite(limit) || mlc_q_bind(q, v, mlc_q_settle(q, mlc_q_saturate(q, integer, -limit, limit)));
}

mlc_value *mlc_q_settle_seen(mlc_quant *q, const mlc_value *of, mlc_value *v) {
    double limit = v ? saturation(q, of, v) : INFINITY;
    return mlc_q_settle(q, isfinite(limit) ? mlc_q_saturate(q, v, -limit, limit) : v);
}

/* Functions whose values lie between two numbers, whatever their input. */
static const struct known_range {
    const char *op;
    double lo, hi;
} known_ranges[] = {{"Sigmoid", 0, 1},   {"HardSigmoid", 0, 1}, {"Softmax", 0, 1}, {"Tanh", -1, 1},
                    {"Softsign", -1, 1}, {"Erf", -1, 1},        {"Sin", -1, 1},    {"Cos", -1, 1}};

/* Where the inputs' errors say nothing any more, the range still does. */
static void cap_errors(mlc_quant *q, const mlc_node *node) {
    for (size_t k = 0; k < sizeof known_ranges / sizeof known_ranges[0]; k++) {
        const struct known_range *r = &known_ranges[k];
        mlc_value *v =
            node->op->domain[0] || strcmp(node->op->name, r->op) != 0 ? NULL : q->map[node->out[0]->id];
        if (!v || !v->err || v->constant)
            continue;
        double *err =
            MLC_NEW_ARRAY(q->arena, mlc_q_elements(v) + 1, double); /* others may share the old ones */
        for (int64_t i = 0; i < mlc_q_elements(v); i++) {
            double widest =
                fmax((double)v->hi[i] * v->scale, r->hi) - fmin((double)v->lo[i] * v->scale, r->lo);
            err[i] = fmin(v->err[i], widest);
        }
        v->err = err;
    }
}

bool mlc_q_rewrite(mlc_quant *q, const mlc_node *node) {
    const mlc_dot *dot = mlc_q_dot_of(q, node);
    q->dot_bits = dot ? dot->bits : 32;
    if (!node->op->quantize || !node->op->quantize(q, node))
        return false;
    cap_errors(q, node);
    for (int k = 0; k < node->n_out; k++)
        if (node->out[k] && !saturate(q, node->out[k]))
            return false;
    return true;
}

static bool rewrite_nodes(mlc_quant *q) {
    int errors = q->diag->errors;
    MLC_FOR_NODES (q->from, node) {
        bool known = true;
        for (int k = 0; k < node->n_in; k++)
            if (node->in[k] && !node->in[k]->constant && !q->map[node->in[k]->id] &&
                !q->form[node->in[k]->id])
                known = false;
        if (!known)
            continue; /* behind a reported error */
        q->node = node;
        if (q->quantizes && mlc_form_node(q, node))
            continue;
        if (!mlc_q_rewrite(q, node) && q->diag->errors == errors)
            cannot(q->diag, node);
    }
    q->node = NULL;
    return q->diag->errors == errors;
}

/* A made-up name gives way. */
static void take_name(mlc_quant *q, mlc_value *v, const char *name) {
    mlc_value *other = mlc_graph_find(q->to, name);
    if (other == v || (other && !other->producer && !other->constant))
        return; /* an input keeps its name */
    if (other)
        mlc_graph_rename(q->to, other, mlc_arena_printf(q->arena, "%s.inner.%d", name, other->id));
    mlc_graph_rename(q->to, v, name);
}

/* Every output is computed by a node of its own and carries the model's name. */
static bool make_outputs(mlc_quant *q) {
    for (int k = 0; k < q->from->n_outputs; k++) {
        const mlc_value *v = q->from->outputs[k];
        mlc_value *integer = mlc_q_value(q, v);
        if (!integer)
            return mlc_error(q->diag, "output '%s' is not computed", mlc_escape(v->name));
        bool taken = !integer->producer;
        for (int i = 0; i < q->to->n_outputs; i++)
            taken = taken || q->to->outputs[i] == integer;
        if (taken) {
            int64_t n = mlc_q_elements(integer), *index = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
            for (int64_t i = 0; i < n; i++)
                index[i] = i;
            mlc_value *in[2] = {integer, mlc_q_constant(q, index, &v->shape)};
            mlc_graph_insert(q->to, NULL, mlc_iop("Gather"), NULL, in, 2,
                             (mlc_value *[]){mlc_graph_value(q->to, NULL)}, 1);
            mlc_node *copy = q->to->last;
            mlc_value *out = copy->out[0];
            out->dtype = MLC_INT64;
            out->shape = v->shape;
            out->shaped = true;
            out->lo = integer->lo;
            out->hi = integer->hi;
            out->scale = integer->scale;
            out->err = integer->err;
            integer = out;
        }
        take_name(q, integer, v->name);
        integer->model_dtype = v->dtype;
        integer->dynamic_batch = v->dynamic_batch;
        mlc_graph_add_output(q->to, integer);
    }
    return true;
}

/* A copy of n elements, in an array of `room` and one more. */
static void *copy(mlc_arena *arena, const void *from, int n, int room, size_t size) {
    void *to = mlc_arena_array(arena, (size_t)room + 1, size);
    return from && n ? memcpy(to, from, (size_t)n * size) : to;
}

static void copy_seen(mlc_quant *q) {
    int n = q->n_seen, room = q->from->n_values;
    q->seen = copy(q->arena, q->seen, n, room, sizeof *q->seen);
    q->seen_all = copy(q->arena, q->seen_all, n, room, sizeof *q->seen_all);
    q->seen_lo = copy(q->arena, q->seen_lo, n, room, sizeof *q->seen_lo);
    q->seen_hi = copy(q->arena, q->seen_hi, n, room, sizeof *q->seen_hi);
    for (int i = n; i < room; i++) { /* constants */
        q->seen_all[i].all = (mlc_range){.lo = INFINITY, .hi = -INFINITY};
        q->seen_lo[i] = INFINITY;
        q->seen_hi[i] = -INFINITY;
    }
}

/* What an attempt plans differs from one to the next: so does what was seen of rescaled values. */
static void plan(mlc_quant *q, const mlc_dot *dots, int n_dots) {
    mlc_dot *own = copy(q->arena, dots, n_dots, n_dots, sizeof *dots);
    q->dots = own;
    q->n_dots = n_dots;
    mlc_q_reset_pairs(q);
    if (q->seen)
        copy_seen(q);
    mlc_q_plan(q, own, n_dots);
}

/* One attempt with the given precision of every dot product. NULL after reporting. */
mlc_graph *mlc_q_attempt(const mlc_quant *prepared, mlc_pass_context *context, const mlc_dot *dots,
                         int n_dots) {
    mlc_quant q = *prepared;
    mlc_graph *g = q.from;
    plan(&q, dots, n_dots);
    q.to = mlc_graph_create(g->arena, g->diag);
    q.to->stage = MLC_INTEGER;
    q.to->name = g->name;
    q.to->producer = g->producer;
    q.to->props = g->props;
    q.to->n_props = g->n_props;
    memcpy(q.to->sha256, g->sha256, sizeof g->sha256);
    q.map = MLC_NEW_ARRAY(g->arena, g->n_values + 1, mlc_value *);
    q.form = MLC_NEW_ARRAY(g->arena, g->n_values + 1, const mlc_form *);
    if (!make_inputs(&q, context->binding, context->options->input_format) || !rewrite_nodes(&q) ||
        !make_outputs(&q))
        return NULL;
    mlc_graph_sweep(q.to);
    context->origin = (mlc_origin){.graph = g,
                                   .integer = q.map,
                                   .saturation = q.saturation,
                                   .n_saturations = q.n_saturations,
                                   .dots = dots,
                                   .n_dots = n_dots};
    return q.to;
}

/* Bound on the work of one inference, and so on that of proving its intervals:
 * some 10 ms in the kernel. */
enum { MAX_MACS = 32 << 20 };

static bool check_size(mlc_graph *g) {
    double total = 0, most = 0;
    const mlc_node *largest = NULL;
    MLC_FOR_NODES (g, node) {
        bool conv = strcmp(node->op->name, "Conv") == 0,
             dense = strcmp(node->op->name, "Gemm") == 0 || strcmp(node->op->name, "MatMul") == 0;
        if (!conv && !dense)
            continue;
        const mlc_shape *w = &node->in[1]->shape, *x = &node->in[0]->shape;
        bool transposed = strcmp(node->op->name, "Gemm") == 0 && mlc_attr_int(node, "transA", 0);
        double inner = conv      ? (double)mlc_shape_elements(w) / (double)(w->dim[0] ? w->dim[0] : 1)
                       : x->rank ? (double)x->dim[transposed ? 0 : x->rank - 1]
                                 : 1;
        double macs = inner * (double)mlc_shape_elements(&node->out[0]->shape);
        total += macs;
        if (macs > most) {
            most = macs;
            largest = node;
        }
    }
    if (total <= MAX_MACS)
        return true;
    mlc_error_at(g->diag, largest,
                 "the model takes %.0f million multiplications, the limit is %d million; "
                 "%.0f million of them are here",
                 total / 1e6, MAX_MACS / 1000000, most / 1e6);
    return mlc_note(g->diag, "use a smaller model: one that takes 10 ms a packet cannot filter");
}

mlc_graph *mlc_pass_quantize(mlc_graph *g, mlc_pass_context *context) {
    if (!check_size(g))
        return NULL;
    mlc_quant q = {.from = g, .arena = g->arena, .diag = g->diag, .dot_bits = 32};
    if (context->calibration)
        mlc_q_observe(&q, context->calibration);
    const char *precision = context->options->precision;
    if (q.seen && precision && strcmp(precision, "32") != 0) {
        q.data = context->calibration;
        mlc_q_choose_ends(&q, context->calibration);
        mlc_q_find_pairs(&q);
    }
    mlc_dot *dots;
    int n_dots;
    if (!mlc_q_choose_precision(&q, context, &dots, &n_dots))
        return NULL;
    return mlc_q_attempt(&q, context, dots, n_dots);
}
