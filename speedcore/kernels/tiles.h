/* The linear maps of Winograd's F(4×4, 3×3), one tile and LANES channels at a time.

   A tile is 6×6 pixels of the image for 4×4 of the result. Polynomials are multiplied at the points 0, A, −A, B, −B and
   infinity; with A = √½ and B = √2 rounding to bf16 does least harm (1.3 % of the result's size; 2.7 % with 1 and 2).
   Images are stored as height·width·channels; beyond its border an image is zero. Each map has its adjoint beside it:
   gradients go through that. */

#ifndef TILES_H
#define TILES_H

#include "lanes.h"

#define A 0.70710678f
#define B 1.41421356f

/* One dimension at a time: from values s vectors apart to values t vectors apart. */

INLINE void evaluate(const vec *d, int s, vec *v, int t) { /* six pixels at six points: Bᵀ */
    vec e = d[4 * s] - 2.0f * d[2 * s], o = A * (d[3 * s] - 2.0f * d[s]);
    vec f = d[4 * s] - 0.5f * d[2 * s], p = B * (d[3 * s] - 0.5f * d[s]);
    v[0] = d[0] - 2.5f * d[2 * s] + d[4 * s];
    v[t] = e + o;
    v[2 * t] = e - o;
    v[3 * t] = f + p;
    v[4 * t] = f - p;
    v[5 * t] = d[s] - 2.5f * d[3 * s] + d[5 * s];
}

INLINE void evaluate_adjoint(const vec *v, int s, vec *d, int t) {
    vec e = v[s] + v[2 * s], o = A * (v[s] - v[2 * s]);
    vec f = v[3 * s] + v[4 * s], p = B * (v[3 * s] - v[4 * s]);
    d[0] = v[0];
    d[t] = v[5 * s] - 2.0f * o - 0.5f * p;
    d[2 * t] = -2.5f * v[0] - 2.0f * e - 0.5f * f;
    d[3 * t] = o + p - 2.5f * v[5 * s];
    d[4 * t] = v[0] + e + f;
    d[5 * t] = v[5 * s];
}

INLINE void interpolate(const vec *m, int s, vec *y, int t) { /* six products to four pixels: Aᵀ */
    vec e = m[s] + m[2 * s], o = A * (m[s] - m[2 * s]);
    vec f = m[3 * s] + m[4 * s], p = B * (m[3 * s] - m[4 * s]);
    y[0] = m[0] + e + f;
    y[t] = o + p;
    y[2 * t] = 0.5f * e + 2.0f * f;
    y[3 * t] = 0.5f * o + 2.0f * p + m[5 * s];
}

INLINE void interpolate_adjoint(const vec *y, int s, vec *m, int t) {
    vec e = y[0] + 0.5f * y[2 * s], o = A * (y[s] + 0.5f * y[3 * s]);
    vec f = y[0] + 2.0f * y[2 * s], p = B * (y[s] + 2.0f * y[3 * s]);
    m[0] = y[0];
    m[t] = e + o;
    m[2 * t] = e - o;
    m[3 * t] = f + p;
    m[4 * t] = f - p;
    m[5 * t] = y[3 * s];
}

/* Three taps at six points, G: divided by what `evaluate` is too large by, the products of differences of the points
   (1 at 0 and infinity, −3/2 at ±A, 6 at ±B). */
INLINE void weigh(const vec *g, int s, vec *u, int t) {
    vec e = (g[0] + 0.5f * g[2 * s]) * (-2.0f / 3), o = A * (-2.0f / 3) * g[s];
    vec f = (g[0] + 2.0f * g[2 * s]) * (1.0f / 6), p = B * (1.0f / 6) * g[s];
    u[0] = g[0];
    u[t] = e + o;
    u[2 * t] = e - o;
    u[3 * t] = f + p;
    u[4 * t] = f - p;
    u[5 * t] = g[2 * s];
}

INLINE void weigh_adjoint(const vec *u, int s, vec *g, int t) {
    vec e = (u[s] + u[2 * s]) * (-2.0f / 3), o = (u[s] - u[2 * s]) * (A * (-2.0f / 3));
    vec f = (u[3 * s] + u[4 * s]) * (1.0f / 6), p = (u[3 * s] - u[4 * s]) * (B * (1.0f / 6));
    g[0] = u[0] + e + f;
    g[t] = o + p;
    g[2 * t] = 0.5f * e + 2.0f * f + u[5 * s];
}

/* Where a tile is: its row and column in the image, and the first of its LANES channels. */
typedef struct {
    long height, width, channels, row, column, at;
} place;

#define PIXEL(pixels, y, x) ((pixels) + ((y) * here.width + (x)) * here.channels + here.at)
#define INSIDE(y, x) ((y) >= 0 && (y) < here.height && (x) >= 0 && (x) < here.width)

/* A tile of size×size pixels that begins `border` before its place; zero where there is no image. */
INLINE void read_pixels(const element *image, place here, int size, int border, vec *pixels) {
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++) {
            long y = 4 * here.row + i - border, x = 4 * here.column + j - border;
            pixels[size * i + j] = INSIDE(y, x) ? load(PIXEL(image, y, x)) : (vec){0};
        }
}

/* Images with their tiles. `which` says, of pooled ones, from where pooling took them (otherwise NULL): height and width are then
   those before pooling. */
typedef struct {
    const element *pixels;
    const uint8_t *which;
    long height, width, channels, down, across, each; /* tiles: in a column, in a row, in an image */
} images;

INLINE images images_of(const element *pixels, const uint8_t *which, long height, long width, long channels) {
    long down = (height + 3) / 4, across = (width + 3) / 4;
    return (images){pixels, which, height, width, channels, down, across, down * across};
}

/* Tile t of all tiles of all images, LANES channels from c on. */
INLINE place place_of(images of, long t, long c) {
    return (place){of.height, of.width, of.channels, t / of.across % of.down, t % of.across, lanes_at(c, of.channels)};
}

INLINE long image_size(images of, int pooled) {
    return of.channels * (pooled ? (of.height / 2) * (of.width / 2) : of.height * of.width);
}

/* Where a tile's 36 values come from on their way to the planes: the image, or (adjoint) the result, or that pooled. */
enum source { IMAGE, RESULT, POOLED };

INLINE void values_of_image(const element *image, place here, vec *value) {
    vec d[36], half[36];
    read_pixels(image, here, 6, 1, d);
    for (int j = 0; j < 6; j++) evaluate(d + j, 6, half + j, 6);
    for (int i = 0; i < 6; i++) evaluate(half + 6 * i, 1, value + 6 * i, 1);
}

INLINE void values_of_pixels(const vec *pixels, vec *value) {
    vec half[24];
    for (int j = 0; j < 4; j++) interpolate_adjoint(pixels + j, 4, half + j, 4);
    for (int i = 0; i < 6; i++) interpolate_adjoint(half + 4 * i, 1, value + 6 * i, 1);
}

/* Pooling: of each 2×2 results the largest, and which one that was (0 to 3, the first of equals). A pooled image has
   height / 2 by width / 2 pixels: what is left over at an odd border goes into none. */
#define POOLED_AT(pixels, y, x) ((pixels) + ((y) * (here.width / 2) + (x)) * here.channels + here.at)
#define EACH_POOLED \
    for (int i = 0; i < 2; i++) \
        for (int j = 0; j < 2; j++) \
            for (long y = 2 * here.row + i, x = 2 * here.column + j, once = 1; \
                 once && y < here.height / 2 && x < here.width / 2; once = 0)

INLINE void values_of_pooled(const element *image, const uint8_t *which, place here, vec *value) {
    vec pixels[16] = {{0}};
    EACH_POOLED {
        bytes narrow;
        memcpy(&narrow, POOLED_AT(which, y, x), sizeof narrow);
        ints at = widen_bytes(narrow);
        vec kept = load(POOLED_AT(image, y, x));
        for (int k = 0; k < 4; k++) pixels[8 * i + 2 * j + k / 2 * 4 + k % 2] = choose(at == k, kept, (vec){0});
    }
    values_of_pixels(pixels, value);
}

INLINE void values_of(enum source source, const element *image, const uint8_t *which, place here, vec *value) {
    if (source == IMAGE) values_of_image(image, here, value);
    else if (source == POOLED) values_of_pooled(image, which, here, value);
    else {
        vec pixels[16];
        read_pixels(image, here, 4, 0, pixels);
        values_of_pixels(pixels, value);
    }
}

/* The way back, from 36 values `plane` numbers apart. */
#define COLUMNS(map, columns) \
    for (int j = 0; j < 6; j++) { \
        vec v[6]; \
        for (int i = 0; i < 6; i++) v[i] = load(values + (6 * i + j) * plane); \
        map(v, 1, (columns) + j, 6); \
    }

INLINE void store_pixels(const vec *pixels, element *image, place here) {
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            long y = 4 * here.row + i, x = 4 * here.column + j;
            if (INSIDE(y, x)) store(PIXEL(image, y, x), pixels[4 * i + j]);
        }
}

INLINE void to_result(const element *values, long plane, element *image, place here) {
    vec half[24], r[16];
    COLUMNS(interpolate, half)
    for (int i = 0; i < 4; i++) interpolate(half + 6 * i, 1, r + 4 * i, 1);
    store_pixels(r, image, here);
}

INLINE void store_largest(const vec *pixels, element *image, uint8_t *which, place here) {
    EACH_POOLED {
        const vec *corner = pixels + 8 * i + 2 * j;
        vec largest = corner[0];
        ints at = {0};
        for (int k = 1; k < 4; k++) {
            vec other = corner[k / 2 * 4 + k % 2];
            ints larger = other > largest;
            largest = choose(larger, other, largest);
            at = (at & ~larger) | (k & larger);
        }
        store(POOLED_AT(image, y, x), largest);
        bytes narrow = lowest_bytes(at);
        memcpy(POOLED_AT(which, y, x), &narrow, sizeof narrow);
    }
}

INLINE void to_pooled(const element *values, long plane, element *image, uint8_t *which, place here) {
    vec half[24], r[16];
    COLUMNS(interpolate, half)
    for (int i = 0; i < 4; i++) interpolate(half + 6 * i, 1, r + 4 * i, 1);
    store_largest(r, image, which, here);
}

/* Tiles of images overlap, so that they are added up, in fp32: `sum` has the six rows of pixels of one row of tiles, `side` across,
   with a border of one pixel to the left and above. A row of tiles is done when the next one begins: its first four rows leave,
   and the other two are what the next begins with. */
INLINE long side_of(long width) { return 4 * ((width + 3) / 4) + 2; }

INLINE void add_to_rows(const element *values, long plane, vec *sum, long side, place here) {
    vec half[36], d[6];
    if (here.column == 0) {
        long kept = here.row == 0 ? 0 : 2 * side;
        memmove(sum, sum + 4 * side, kept * sizeof *sum);
        memset(sum + kept, 0, (6 * side - kept) * sizeof *sum);
    }
    COLUMNS(evaluate_adjoint, half)
    for (int i = 0; i < 6; i++) {
        evaluate_adjoint(half + 6 * i, 1, d, 1);
        for (int j = 0; j < 6; j++) sum[i * side + 4 * here.column + j] += d[j];
    }
}

/* The rows of pixels that row `here` of tiles, of which all are added, completes: of the last one all that are left. */
INLINE void leave_rows(const vec *sum, long side, element *image, place here) {
    long top = 4 * here.row - 1, rows = here.height - 4 * here.row <= 4 ? 6 : 4;
    for (long i = 0; i < rows; i++)
        for (long x = 0; x < here.width; x++)
            if (INSIDE(top + i, x)) store(PIXEL(image, top + i, x), sum[i * side + x + 1]);
}

#endif
