/* Sixteen numbers at a time: in fp32 to reckon with, in bf16 where they are kept. */

#ifndef LANES_H
#define LANES_H

#include <stdint.h>
#include <string.h>

#define LANES 16
#define INLINE static inline __attribute__((always_inline))

typedef uint16_t bf16;
typedef float vec __attribute__((vector_size(4 * LANES)));
typedef uint32_t bits __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef uint8_t bytes __attribute__((vector_size(LANES)));

INLINE vec load(const bf16 *from) {
    halves h;
    memcpy(&h, from, sizeof h);
    return (vec)(__builtin_convertvector(h, bits) << 16);
}

INLINE void store(bf16 *to, vec value) { /* to the nearest, ties to even */
    bits b = (bits)value;
    halves h = __builtin_convertvector((b + 0x7fff + ((b >> 16) & 1)) >> 16, halves);
    memcpy(to, &h, sizeof h);
}

INLINE vec load_floats(const float *from) {
    vec v;
    memcpy(&v, from, sizeof v);
    return v;
}

INLINE vec choose(ints where, vec yes, vec no) { return (vec)(((ints)yes & where) | ((ints)no & ~where)); }

/* Where sixteen of `count` channels begin: the last ones overlap those before, where `count` is no multiple of 16. */
INLINE long lanes_at(long c, long count) { return c + LANES <= count ? c : count - LANES; }

#endif
