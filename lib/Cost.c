#include "mlc/cost.h"

static void add(mlc_work *sum, const mlc_work *w, int64_t factor) {
    sum->code += factor * w->code;
    sum->executed += factor * w->executed;
    sum->multiplications += factor * w->multiplications;
    sum->loads += factor * w->loads;
    sum->stores += factor * w->stores;
    sum->jumps += factor * w->jumps;
    sum->calls += factor * w->calls;
    sum->constants += factor * w->constants;
    sum->looped += factor * w->looped;
    sum->aside += factor * w->aside;
}

void mlc_work_add(mlc_work *sum, const mlc_work *w) {
    add(sum, w, 1);
}

void mlc_work_subtract(mlc_work *sum, const mlc_work *w) {
    add(sum, w, -1);
}

double mlc_work_ns(const mlc_work *w, const mlc_work *all) {
    int64_t others = w->executed - w->multiplications - w->loads - w->jumps;
    int64_t straight = w->executed - w->looped, program = all->executed - all->looped;
    double ns = MLC_NS_MULTIPLY * (double)w->multiplications + MLC_NS_LOAD * (double)w->loads +
                MLC_NS_OTHER * (double)others;
    if (program > MLC_CACHED_INSTRUCTIONS) /* what is too much falls on all straight-line code alike */
        ns += MLC_NS_UNCACHED * (double)straight * (double)(program - MLC_CACHED_INSTRUCTIONS) /
              (double)program;
    return ns;
}

/* Naive code becomes loops where it would come near to what the kernel takes. */
enum { MOST_NAIVE = 500000 };

bool mlc_loops_pay(int64_t instructions, char opt_level) {
    if (opt_level == '0')
        return instructions >= MOST_NAIVE;
    double uncached = MLC_NS_UNCACHED * (double)(instructions - MLC_CACHED_INSTRUCTIONS);
    return opt_level == 's' || uncached > MLC_LOOP_SHARE_DENSE * MLC_NS_MEAN * (double)instructions;
}

/* A loop takes 200 to 450 instructions: blocks of outputs, and those that are left over. */
int64_t mlc_least_dense(void) {
    return 400;
}

int64_t mlc_least_conv(char opt_level) {
    /* Several of this size are more than the cache holds, and the loop costs little. */
    return opt_level == 's' ? 500 : 5000;
}

int mlc_product_instructions(int64_t c) {
    return c == 0 ? 0 : c == 1 || c == -1 ? 1 : 3;
}
