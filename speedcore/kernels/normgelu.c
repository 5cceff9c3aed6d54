/* Batch-norm and GELU in one pass over values in bf16 (fp32 where FP32 is defined), stored as pixel·channel; at least LANES channels.

   With z = scale·x + shift, the result is z·Φ(z), its derivative Φ(z) + z·φ(z): `curve` is Φ on the way there, that derivative on
   the way back. Sums over pixels are taken for each of CHUNKS parts of the pixels, whoever works on them, so that they do not
   depend on the number of threads; within a part, 64 pixels at a time in fp32 (squares of bf16 values are added up there almost
   exactly), and those in fp64. */

#include "lanes.h"

#define CHUNKS 64
#define BLOCK 64
#define PARTS 32
#define REACH 5.5f

#ifdef FP32
/* In fp32 either function is reckoned from erf, a quotient of polynomials in its argument's square (to 2e-7), and exp. */
typedef int function;

#define NORMAL(table) 0
#define DERIVATIVE(table) 1

INLINE vec polynomial(vec x, const float *c, const int terms) {
    vec sum = (vec){0} + c[0];
    for (int i = 1; i < terms; i++) sum = sum * x + c[i];
    return sum;
}

INLINE vec exponential(vec x) { /* of x from −87 to 0 */
    static const float c[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
    const float round = 12582912; /* 1.5·2²³: a sum with it is a whole number, in its lowest bits */
    vec whole = x * 1.44269504f + round;
    bits power = ((bits)whole + 127) << 23;
    whole -= round;
    vec rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    return (polynomial(rest, c, 6) * rest * rest + rest + 1) * (vec)power;
}

INLINE vec value_at(const function derivative, vec z) {
    static const float above[] = {-2.72614225801306e-10f, 2.77068142495902e-08f, -2.10102402082508e-06f, -5.69250639462346e-05f,
                                  -7.34990630326855e-04f, -2.95459980854025e-03f, -1.60960333262415e-02f};
    static const float below[] = {-1.45660718464996e-05f, -2.13374055278905e-04f, -1.68282697438203e-03f, -7.37332916720468e-03f,
                                  -1.42647390514189e-02f};
    ints sign = (ints)z & (ints)((bits){0} + 0x80000000u);
    vec size = at_most(13, (vec)((ints)z ^ sign)), x = at_most(4, size * 0.70710678f), square = x * x;
    vec erf = at_most(1, x * polynomial(square, above, 7) / polynomial(square, below, 5));
    erf = choose(size > 5.5f, (vec){0} + 1, erf); /* no number stays none */
    vec result = 0.5f + 0.5f * (vec)((ints)erf ^ sign);
    if (derivative) result += (vec)((ints)size ^ sign) * 0.39894228f * exponential(size * size * -0.5f);
    return result;
}
#else
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

typedef cubics function;

#define NORMAL(table) load_cubics(table)
#define DERIVATIVE(table) load_cubics(table)
#endif

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

/* Σ x and Σ x². In fp32 of what x is more than its first pixel, so that a large mean takes nothing from the variance. */
#ifdef FP32
#define PIVOT load(x + at)
#else
#define PIVOT ((vec){0})
#endif

void sums(const element *x, double *partial, long pixels, long channels) {
    TWO_SUMS(
        vec value = load(x + here) - PIVOT;
        first += value;
        second += value * value;
    )
}

void norm_gelu(const element *x, element *y, const float *curve, const float *scale, const float *shift, long pixels, long channels) {
    const function normal = NORMAL(curve);
    #pragma omp parallel for schedule(static)
    for (long row = 0; row < pixels; row++)
        for (long c = 0; c < channels; c += LANES) {
            long at = lanes_at(c, channels);
            vec z = load_floats(scale + at) * load(x + row * channels + at) + load_floats(shift + at);
            store(y + row * channels + at, z * value_at(normal, z));
        }
}

/* The gradient of z, from that of the result. */
INLINE vec of_z(const function derivative, const element *x, const element *dy, const float *scale, const float *shift, long here, vec *value, long at) {
    *value = load(x + here);
    return load(dy + here) * value_at(derivative, load_floats(scale + at) * *value + load_floats(shift + at));
}

/* Σ dz and Σ dz·(x − mean). */
void gradient_sums(const element *x, double *partial, const element *dy, const float *curve, const float *scale, const float *shift,
                   const float *mean, long pixels, long channels) {
    const function derivative = DERIVATIVE(curve);
    TWO_SUMS(
        vec value;
        vec dz = of_z(derivative, x, dy, scale, shift, here, &value, at);
        first += dz;
        second += dz * (value - load_floats(mean + at));
    )
}

/* dx = scale·dz + constant + slope·x: what the statistics, which x made, change is linear in x. */
void norm_gelu_adjoint(const element *x, const element *dy, element *dx, const float *curve, const float *scale, const float *shift,
                       const float *constant, const float *slope, long pixels, long channels) {
    const function derivative = DERIVATIVE(curve);
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
