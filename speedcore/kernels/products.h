/* Products of matrices of whole numbers of 8 bits, added up in 32, without rounding; results in bf16.

   The terms of a sum lie four by four in both matrices, as the processor's dot product takes them. Numbers on the left are
   stored 128 too large, those on the right as they are. Each row on the left and each column on the right has a scale. */

#ifndef PRODUCTS_H
#define PRODUCTS_H

#include "lanes.h"

#define STRIP 64 /* columns of a result at a time: as vectors, four */
#define VECTORS (STRIP / LANES)
#define ROWS 6 /* 24 sums and a strip's vectors fit the registers */

INLINE ints load_ints(const void *from) {
    ints v;
    memcpy(&v, from, sizeof v);
    return v;
}

/* Each lane's four bytes on the left (0 to 255) times those on the right (-128 to 127), added to its sum. */
INLINE ints dot(ints sum, ints left, ints right) {
#ifdef __AVX512VNNI__
    return (ints)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)left, (__m512i)right);
#else
    for (int k = 0; k < 4; k++) sum += ((left >> 8 * k) & 255) * ((ints)((bits)right << (24 - 8 * k)) >> 24);
    return sum;
#endif
}

/* Steps in bytes from row to row and from four to four, and in floats from one row's scale to the next. */
typedef struct {
    const uint8_t *numbers;
    const float *scale;
    long row, four, next_scale;
} left_side;

/* four·columns·4 numbers, each column's scale and where its sums start; `at`: where the strip's vectors of columns begin. */
typedef struct {
    const int8_t *numbers;
    const float *scale;
    const int32_t *start;
    long columns, fours, at[VECTORS];
} right_side;

/* The strip that begins at column `from`; returns how many vectors it has. */
INLINE long strip(long from, long columns, long *at) {
    long vectors = (columns - from + LANES - 1) / LANES;
    if (vectors > VECTORS) vectors = VECTORS;
    for (long v = 0; v < vectors; v++) at[v] = lanes_at(from + v * LANES, columns);
    return vectors;
}

/* Sums start at -128 times all that stands in their column: what the left side is too large by. */
INLINE void sums_start(const int8_t *right, long columns, long fours, const long *at, long vectors, int32_t *start) {
    for (long v = 0; v < vectors; v++) {
        ints sum = {0};
        for (long q = 0; q < fours; q++) sum = dot(sum, (ints){0} + 0x01010101, load_ints(right + 4 * (q * columns + at[v])));
        sum *= -128;
        memcpy(start + at[v], &sum, sizeof sum);
    }
}

/* Some rows of a strip; result: `next` numbers from row to row, the strip's vectors at `to`. */
INLINE void some_rows(left_side left, const right_side *right, bf16 *result, long next, const long *to,
                      const int rows, const int vectors) {
    ints sum[ROWS][VECTORS], w[VECTORS];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) sum[r][v] = load_ints(right->start + right->at[v]);
    for (long q = 0; q < right->fours; q++) {
        for (int v = 0; v < vectors; v++) w[v] = load_ints(right->numbers + 4 * (q * right->columns + right->at[v]));
        for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, left.numbers + r * left.row + q * left.four, sizeof four);
            for (int v = 0; v < vectors; v++) sum[r][v] = dot(sum[r][v], (ints){0} + four, w[v]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) {
            vec scale = left.scale[r * left.next_scale] * load_floats(right->scale + right->at[v]);
            store(result + r * next + to[v], __builtin_convertvector(sum[r][v], vec) * scale);
        }
}

INLINE void all_rows(left_side left, const right_side *right, long rows, bf16 *result, long next, const long *to,
                     const int vectors) {
    for (long done = 0; done < rows;) { /* the last ones overlap those before: the same results twice */
        long some = rows < ROWS ? 1 : ROWS, from = done + some <= rows ? done : rows - some;
        left_side rest = left;
        rest.numbers += from * left.row;
        rest.scale += from * left.next_scale;
        if (some == ROWS) some_rows(rest, right, result + from * next, next, to, ROWS, vectors);
        else some_rows(rest, right, result + from * next, next, to, 1, vectors);
        done = from + some;
    }
}

static void product(left_side left, const right_side *right, long rows, bf16 *result, long next, const long *to, long vectors) {
    switch (vectors) {
    case 1: all_rows(left, right, rows, result, next, to, 1); break;
    case 2: all_rows(left, right, rows, result, next, to, 2); break;
    case 3: all_rows(left, right, rows, result, next, to, 3); break;
    default: all_rows(left, right, rows, result, next, to, VECTORS);
    }
}

#endif
