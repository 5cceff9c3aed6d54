/* Sixteen numbers at a time: in fp32 to reckon with, in bf16 where they are kept.

   Where FP32 is defined they are kept as they are, and eight are taken at a time unless a register holds sixteen: an `element` is
   what lies in memory. */

#ifndef LANES_H
#define LANES_H

#include <stdint.h>
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#if defined FP32 && !defined __AVX512F__ && !defined SIXTEEN /* for tests: vectors as AVX-512 has them */
#define LANES 8
#define LANE_NUMBERS {0, 1, 2, 3, 4, 5, 6, 7}
#else
#define LANES 16
#define LANE_NUMBERS {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
#endif
#define INLINE static inline __attribute__((always_inline))

typedef uint16_t bf16;
#ifdef FP32
typedef float element;
#else
typedef bf16 element;
#endif
typedef float vec __attribute__((vector_size(4 * LANES)));
typedef uint32_t bits __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef uint8_t bytes __attribute__((vector_size(LANES)));

INLINE long smaller(long a, long b) { return a < b ? a : b; }

/* Wider and narrower: one instruction each, which compilers do not find by themselves. */
INLINE bits widen(halves h) {
#ifdef __AVX512F__
    return (bits)_mm512_cvtepu16_epi32((__m256i)h);
#else
    return __builtin_convertvector(h, bits);
#endif
}

INLINE ints widen_bytes(bytes b) {
#ifdef __AVX512F__
    return (ints)_mm512_cvtepu8_epi32((__m128i)b);
#elif defined __AVX2__ && LANES == 8
    return (ints)_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)b));
#else
    return __builtin_convertvector(b, ints);
#endif
}

INLINE bytes lowest_bytes(ints v) {
#ifdef __AVX512F__
    return (bytes)_mm512_cvtepi32_epi8((__m512i)v);
#else
    return __builtin_convertvector(v, bytes);
#endif
}

INLINE vec load_floats(const float *from) {
    vec v;
    memcpy(&v, from, sizeof v);
    return v;
}

INLINE void store_floats(float *to, vec value) { memcpy(to, &value, sizeof value); }

#ifdef FP32
INLINE vec load(const float *from) { return load_floats(from); }

INLINE void store(float *to, vec value) { store_floats(to, value); }
#else
INLINE vec load(const bf16 *from) {
    halves h;
    memcpy(&h, from, sizeof h);
    return (vec)(widen(h) << 16);
}

INLINE void store(bf16 *to, vec value) { /* to the nearest, ties to even */
#ifdef __AVX512BF16__
    __m256bh h = _mm512_cvtneps_pbh((__m512)value);
#else
    bits b = (bits)value;
    halves h = __builtin_convertvector((b + 0x7fff + ((b >> 16) & 1)) >> 16, halves);
#endif
    memcpy(to, &h, sizeof h);
}
#endif

INLINE vec choose(ints where, vec yes, vec no) { return (vec)(((ints)yes & where) | ((ints)no & ~where)); }

INLINE vec at_most(float limit, vec value) { /* what is no number stays none */
#ifdef __AVX512F__
    return (vec)_mm512_min_ps(_mm512_set1_ps(limit), (__m512)value);
#else
    return choose(value > limit, (vec){0} + limit, value);
#endif
}

INLINE ints larger(ints a, ints b) {
#ifdef __AVX512F__
    return (ints)_mm512_max_epi32((__m512i)a, (__m512i)b);
#else
    return (ints)choose(a > b, (vec)a, (vec)b);
#endif
}

/* Where LANES of `count` channels begin: the last ones overlap those before, where `count` is no multiple of LANES. What is
   stored twice is the same twice; what is added up must leave out the lanes that were there `already`. */
INLINE long lanes_at(long c, long count) { return c + LANES <= count ? c : count - LANES; }

INLINE vec leave_out(vec value, long already) {
    const ints lane = LANE_NUMBERS;
    return choose(lane >= (int32_t)already, value, (vec){0});
}

#endif
