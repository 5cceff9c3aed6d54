/* Batch-norm and GELU in one pass over values in bf16, stored as pixel·channel; at least 16 channels.

   With z = scale·x + shift, the result is z·Φ(z), its derivative Φ(z) + z·φ(z). Sums over pixels are taken for each of
   CHUNKS parts of the pixels, whoever works on them, so that they do not depend on the number of threads; within a part, 64
   pixels at a time in fp32 (squares of bf16 values are added up there almost exactly), and those in fp64. */

#include "lanes.h"

#define CHUNKS 64
#define BLOCK 64

INLINE vec exponential(vec v) { /* of v ≤ 0: 2 to its whole part, by its bits, times a polynomial for the rest */
    ints vanishes = v < -87.0f; /* below what fp32 holds in full */
    v = choose(vanishes, (vec){0}, v) * 1.44269504f;
    vec whole = (v + 12582912.0f) - 12582912.0f, f = v - whole;
    vec p = 1.0f + f * (0.69314718f + f * (0.24022651f + f * (0.05550411f + f * (0.00961813f + f * 0.00133336f))));
    return choose(vanishes, (vec){0}, (vec)((ints)p + (__builtin_convertvector(whole, ints) << 23)));
}

/* φ(z) and Φ(z) to 2e-7: Abramowitz and Stegun, 7.1.26. */
INLINE void normal(vec z, vec *density, vec *below) {
    ints sign = (ints)z & (ints)((bits){0} + 0x80000000u);
    vec a = (vec)((ints)z ^ sign) * 0.70710678f, t = 1.0f / (1.0f + 0.3275911f * a), e = exponential(-a * a);
    vec tail = 0.5f * e * t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    *density = 0.39894228f * e;
    *below = 0.5f + (vec)((ints)(0.5f - tail) ^ sign);
}

INLINE void add(double *total, vec value) {
    for (int lane = 0; lane < LANES; lane++) total[lane] += value[lane];
}

/* Two sums over the pixels of each channel into partial[CHUNKS][2][channels], which is zero: `terms` adds to `first` and
   `second` what the sixteen values at x[here], of channels from `at` on, give. */
#define TWO_SUMS(terms) \
    _Pragma("omp parallel for schedule(static)") \
    for (long chunk = 0; chunk < CHUNKS; chunk++) { \
        double *total = partial + chunk * 2 * channels; \
        long end = pixels * (chunk + 1) / CHUNKS; \
        for (long from = pixels * chunk / CHUNKS; from < end; from += BLOCK) \
            for (long c = 0; c < channels; c += LANES) { \
                long at = lanes_at(c, channels), to = from + BLOCK < end ? from + BLOCK : end; \
                vec first = {0}, second = {0}; \
                for (long row = from; row < to; row++) { \
                    long here = row * channels + at; \
                    terms \
                } \
                add(total + at, leave_out(first, c - at)); \
                add(total + channels + at, leave_out(second, c - at)); \
            } \
    }

/* Σ x and Σ x². */
void sums(const bf16 *x, double *partial, long pixels, long channels) {
    TWO_SUMS(
        vec value = load(x + here);
        first += value;
        second += value * value;
    )
}

void norm_gelu(const bf16 *x, bf16 *y, const float *scale, const float *shift, long pixels, long channels) {
    #pragma omp parallel for schedule(static)
    for (long row = 0; row < pixels; row++)
        for (long c = 0; c < channels; c += LANES) {
            long at = lanes_at(c, channels);
            vec density, below, z = load_floats(scale + at) * load(x + row * channels + at) + load_floats(shift + at);
            normal(z, &density, &below);
            store(y + row * channels + at, z * below);
        }
}

/* The gradient of z, from that of the result. */
INLINE vec of_z(const bf16 *x, const bf16 *dy, const float *scale, const float *shift, long here, vec *value, long at) {
    vec density, below;
    *value = load(x + here);
    vec z = load_floats(scale + at) * *value + load_floats(shift + at);
    normal(z, &density, &below);
    return load(dy + here) * (below + z * density);
}

/* Σ dz and Σ dz·(x − mean). */
void gradient_sums(const bf16 *x, double *partial, const bf16 *dy, const float *scale, const float *shift, const float *mean,
                   long pixels, long channels) {
    TWO_SUMS(
        vec value;
        vec dz = of_z(x, dy, scale, shift, here, &value, at);
        first += dz;
        second += dz * (value - load_floats(mean + at));
    )
}

/* dx = scale·dz + constant + slope·x: what the statistics, which x made, change is linear in x. */
void norm_gelu_adjoint(const bf16 *x, const bf16 *dy, bf16 *dx, const float *scale, const float *shift, const float *constant,
                       const float *slope, long pixels, long channels) {
    #pragma omp parallel for schedule(static)
    for (long row = 0; row < pixels; row++)
        for (long c = 0; c < channels; c += LANES) {
            long at = lanes_at(c, channels);
            long here = row * channels + at;
            vec value, dz = of_z(x, dy, scale, shift, here, &value, at);
            store(dx + here,
                  load_floats(scale + at) * dz + load_floats(constant + at) + load_floats(slope + at) * value);
        }
}
