#include "Grid.h"

#include "Whole.h"

#include <math.h>

int64_t mlc_to_grid(mlc_dtype t, double x, int64_t zero) {
    return mlc_real_to_int(t, rint(x) + (double)zero);
}

int64_t mlc_grid_zero(const mlc_tensor *zero, int64_t k) {
    return !zero ? 0 : zero->i[mlc_shape_elements(&zero->shape) == 1 ? 0 : k];
}

double mlc_grid_scale(const mlc_tensor *scale, int64_t k) {
    return scale->f[mlc_shape_elements(&scale->shape) == 1 ? 0 : k];
}

int64_t mlc_grid_index(const mlc_shape *scale, const mlc_shape *x, int axis, int64_t block, int64_t i) {
    if (mlc_shape_elements(scale) == 1)
        return 0;
    int64_t position[MLC_MAX_RANK];
    mlc_unflatten(x, i, position);
    if (!block)
        return position[axis];
    position[axis] /= block;
    return mlc_flatten(scale, position);
}

const mlc_value *mlc_input(const mlc_node *node, int k) {
    return k < node->n_in ? node->in[k] : NULL;
}

const mlc_tensor *mlc_operand(const mlc_node *node, const mlc_tensor *const *in, int k) {
    return k < node->n_in ? in[k] : NULL;
}

bool mlc_grid_check(mlc_graph *g, const mlc_node *node, int scale, int zero, int64_t many) {
    const mlc_value *s = mlc_input(node, scale), *z = mlc_input(node, zero);
    if (!s)
        return mlc_error_at(g->diag, node, "input %d, a scale, is missing", scale);
    if (!mlc_need_float(g, node, scale))
        return false;
    const int64_t n = mlc_shape_elements(&s->shape);
    if (n != 1 && (many == 0 || n != many))
        return mlc_error_at(g->diag, node, "scale '%s' has shape %s, which does not fit", mlc_escape(s->name),
                            mlc_shape_str(g->arena, &s->shape));
    const int64_t n_zero = z ? mlc_shape_elements(&z->shape) : n;
    if (n_zero != n && n_zero != 1 && n_zero != many)
        return mlc_error_at(g->diag, node, "zero point '%s' has shape %s, its scale %s", mlc_escape(z->name),
                            mlc_shape_str(g->arena, &z->shape), mlc_shape_str(g->arena, &s->shape));
    if (z && !mlc_dtype_is_integer(z->dtype))
        return mlc_error_at(g->diag, node, "zero point '%s' is of type %s, an integer type is needed",
                            mlc_escape(z->name), mlc_dtype_name(z->dtype));
    return true;
}

bool mlc_q_grid(mlc_quant *q, const mlc_node *node, int scale, int zero, const mlc_shape *x, int axis,
                int64_t block, mlc_grid *grid) {
    const mlc_value *s = mlc_input(node, scale), *z = mlc_input(node, zero);
    if (!s->constant || (z && !z->constant))
        return mlc_error_at(q->diag, node, "'%s' is not constant; scales and zero points must be",
                            mlc_escape(s->constant ? z->name : s->name));
    *grid = (mlc_grid){.shape = {0}};
    const int64_t n_scale = mlc_shape_elements(&s->shape), n_zero = z ? mlc_shape_elements(&z->shape) : 1;
    if (block && n_scale > 1) {
        grid->shape = *x;
    } else if (n_scale > 1 || n_zero > 1) {
        grid->shape.rank = x->rank - axis;
        for (int d = 0; d < grid->shape.rank; d++)
            grid->shape.dim[d] = d == 0 ? x->dim[axis] : 1;
    }
    const int64_t n = mlc_shape_elements(&grid->shape);
    double *scales = MLC_NEW_ARRAY(q->arena, n, double);
    int64_t *zeros = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++) {
        const int64_t k = block && n_scale > 1 ? mlc_grid_index(&s->shape, x, axis, block, i) : i;
        scales[i] = mlc_grid_scale(s->constant, k);
        zeros[i] = z ? mlc_grid_zero(z->constant, k) : 0;
        if (!(scales[i] > 0) || !isfinite(1 / scales[i]))
            return mlc_error_at(q->diag, node, "scale '%s' has element %g; scales must be positive",
                                mlc_escape(s->name), scales[i]);
        if (zeros[i])
            grid->zero = zeros;
    }
    grid->scale = scales;
    return true;
}

mlc_value *mlc_q_centered(mlc_quant *q, mlc_value *v, const mlc_grid *grid) {
    return v && grid->zero ? mlc_q_sub(q, v, mlc_q_constant(q, grid->zero, &grid->shape)) : v;
}

mlc_value *mlc_q_from_grid(mlc_quant *q, mlc_value *v, const mlc_grid *grid) {
    v = mlc_q_centered(q, v, grid);
    return v ? mlc_q_mul_real(q, v, grid->scale, &grid->shape) : NULL;
}

mlc_value *mlc_q_to_grid(mlc_quant *q, mlc_value *v, const mlc_grid *grid, mlc_dtype t) {
    const int64_t n = mlc_shape_elements(&grid->shape);
    double *inverse = MLC_NEW_ARRAY(q->arena, n, double);
    for (int64_t i = 0; i < n; i++)
        inverse[i] = 1 / grid->scale[i];
    v = v ? mlc_q_mul_real(q, v, inverse, &grid->shape) : NULL;
    v = v ? mlc_q_round(q, v, MLC_ROUND_HALF_EVEN) : NULL;
    if (v && grid->zero)
        v = mlc_q_add(q, v, mlc_q_constant(q, grid->zero, &grid->shape));
    int64_t lo, hi;
    mlc_dtype_range(t, &lo, &hi);
    return v ? mlc_q_clamp(q, v, (double)lo, (double)hi) : NULL;
}
