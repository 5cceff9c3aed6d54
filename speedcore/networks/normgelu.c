/* Batch-norm and GELU in one pass over values in bf16, stored as pixel·channel; at least 16 channels.

   With z = scale·x + shift, the result is z·Φ(z), its derivative Φ(z) + z·φ(z): `curve` is Φ on the way there, that derivative on
   the way back. Sums over pixels are taken for each of CHUNKS parts of the pixels, whoever works on them, so that they do not
   depend on the number of threads; within a part, 64 pixels at a time in fp32 (squares of bf16 values are added up there almost
   exactly), and those in fp64. */

#include "lanes.h"

#define CHUNKS 64
#define BLOCK 64
#define PARTS 32
#define REACH 5.5f

/* A function f with f(−z) = 1 − f(z), as f − ½: from 0 to REACH a cubic in each of PARTS, `curve[power][part]`; the last is a
   constant, and what lies beyond is that too. */
typedef struct {
    vec low[4], high[4];
} cubics;

INLINE cubics load_cubics(const float *curve) {
    cubics c;
    for (int power = 0; power < 4; power++) {
        c.low[power] = load_floats(curve + power * PARTS);
        c.high[power] = load_floats(curve + power * PARTS + LANES);
    }
    return c;
}

INLINE vec look_up(vec low, vec high, ints part) {
#ifdef __AVX512F__
    return (vec)_mm512_permutex2var_ps((__m512)low, (__m512i)part, (__m512)high);
#else
    vec found;
    for (int lane = 0; lane < LANES; lane++) {
        int at = part[lane] & (PARTS - 1); /* of what is no number, any */
        found[lane] = at < LANES ? low[at] : high[at - LANES];
    }
    return found;
#endif
}

INLINE vec value_at(cubics c, vec z) {
    ints sign = (ints)z & (ints)((bits){0} + 0x80000000u);
    vec a = at_most(PARTS - 0.5f, (vec)((ints)z ^ sign) * (PARTS / REACH));
    ints part = __builtin_convertvector(a, ints);
    vec rest = a - __builtin_convertvector(part, vec), v = look_up(c.low[3], c.high[3], part);
    for (int power = 2; power >= 0; power--) v = v * rest + look_up(c.low[power], c.high[power], part);
    return 0.5f + (vec)((ints)v ^ sign);
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

void norm_gelu(const bf16 *x, bf16 *y, const float *curve, const float *scale, const float *shift, long pixels, long channels) {
    const cubics normal = load_cubics(curve);
    #pragma omp parallel for schedule(static)
    for (long row = 0; row < pixels; row++)
        for (long c = 0; c < channels; c += LANES) {
            long at = lanes_at(c, channels);
            vec z = load_floats(scale + at) * load(x + row * channels + at) + load_floats(shift + at);
            store(y + row * channels + at, z * value_at(normal, z));
        }
}

/* The gradient of z, from that of the result. */
INLINE vec of_z(cubics derivative, const bf16 *x, const bf16 *dy, const float *scale, const float *shift, long here, vec *value, long at) {
    *value = load(x + here);
    return load(dy + here) * value_at(derivative, load_floats(scale + at) * *value + load_floats(shift + at));
}

/* Σ dz and Σ dz·(x − mean). */
void gradient_sums(const bf16 *x, double *partial, const bf16 *dy, const float *curve, const float *scale, const float *shift,
                   const float *mean, long pixels, long channels) {
    const cubics derivative = load_cubics(curve);
    TWO_SUMS(
        vec value;
        vec dz = of_z(derivative, x, dy, scale, shift, here, &value, at);
        first += dz;
        second += dz * (value - load_floats(mean + at));
    )
}

/* dx = scale·dz + constant + slope·x: what the statistics, which x made, change is linear in x. */
void norm_gelu_adjoint(const bf16 *x, const bf16 *dy, bf16 *dx, const float *curve, const float *scale, const float *shift,
                       const float *constant, const float *slope, long pixels, long channels) {
    const cubics derivative = load_cubics(curve);
    #pragma omp parallel for schedule(static)
    for (long row = 0; row < pixels; row++)
        for (long c = 0; c < channels; c += LANES) {
            long at = lanes_at(c, channels);
            long here = row * channels + at;
            vec value, dz = of_z(derivative, x, dy, scale, shift, here, &value, at);
            store(dx + here,
                  load_floats(scale + at) * dz + load_floats(constant + at) + load_floats(slope + at) * value);
        }
}
