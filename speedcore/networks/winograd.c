/* The linear maps of Winograd's F(4×4, 3×3), between images in bf16 and the 36 planes in which tiles are multiplied.

   A tile is 6×6 pixels of the image for 4×4 of the result. Polynomials are multiplied at the points 0, A, −A, B, −B and
   infinity; with A = √½ and B = √2 rounding to bf16 does least harm (1.3 % of the result's size; 2.7 % with 1 and 2).
   Images are stored as n·h·w·c, planes as 36·tile·c, filters as k·3·3·c and their planes as 36·k·c; there are at
   least 16 channels. Beyond its border an image is zero. Each map has its adjoint beside it: gradients go through that. */

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

/* All tiles of all images. Threads take rows of tiles. */

#define EACH_TILE(channels) \
    long down = (height + 3) / 4, across = (width + 3) / 4; \
    long plane = images * down * across * channels; \
    _Pragma("omp parallel for collapse(2) schedule(static)") \
    for (long n = 0; n < images; n++) \
        for (long row = 0; row < down; row++) \
            for (long column = 0; column < across; column++) \
                for (long c = 0; c < channels; c += LANES)

#define TILE(planes) ((planes) + ((n * down + row) * across + column) * channels + lanes_at(c, channels))
#define PIXEL(pixels, y, x) ((pixels) + ((n * height + (y)) * width + (x)) * channels + lanes_at(c, channels))
#define INSIDE(y, x) ((y) >= 0 && (y) < height && (x) >= 0 && (x) < width)

/* A tile of size×size pixels that begins `border` before its place, into d; zero where there is no image. */
#define READ_PIXELS(d, size, border) \
    for (int i = 0; i < (size); i++) \
        for (int j = 0; j < (size); j++) { \
            long y = 4 * row + i - (border), x = 4 * column + j - (border); \
            (d)[(size) * i + j] = INSIDE(y, x) ? load(PIXEL(image, y, x)) : (vec){0}; \
        }

/* Six rows of values, `length` long, through `map` into the planes; and the planes' columns through `map` into rows of six. */
#define ROWS_TO_PLANES(map, rows, length) \
    for (int i = 0; i < 6; i++) { \
        vec v[6]; \
        map((rows) + (length) * i, 1, v, 1); \
        for (int j = 0; j < 6; j++) store(TILE(planes) + (6 * i + j) * plane, v[j]); \
    }
#define PLANES_TO_COLUMNS(map, columns) \
    for (int j = 0; j < 6; j++) { \
        vec v[6]; \
        for (int i = 0; i < 6; i++) v[i] = load(TILE(planes) + (6 * i + j) * plane); \
        map(v, 1, (columns) + j, 6); \
    }

void image_to_planes(const bf16 *image, bf16 *planes, long images, long height, long width, long channels) {
    EACH_TILE(channels) {
        vec d[36], half[36];
        READ_PIXELS(d, 6, 1)
        for (int j = 0; j < 6; j++) evaluate(d + j, 6, half + j, 6);
        ROWS_TO_PLANES(evaluate, half, 6)
    }
}

void planes_to_image(const bf16 *planes, bf16 *image, long images, long height, long width, long channels) {
    EACH_TILE(channels) {
        vec half[24], r[4];
        PLANES_TO_COLUMNS(interpolate, half)
        for (int i = 0; i < 4; i++) {
            interpolate(half + 6 * i, 1, r, 1);
            for (int j = 0; j < 4; j++) {
                long y = 4 * row + i, x = 4 * column + j;
                if (INSIDE(y, x)) store(PIXEL(image, y, x), r[j]);
            }
        }
    }
}

void planes_to_image_adjoint(const bf16 *image, bf16 *planes, long images, long height, long width, long channels) {
    EACH_TILE(channels) {
        vec r[16], half[24];
        READ_PIXELS(r, 4, 0)
        for (int j = 0; j < 4; j++) interpolate_adjoint(r + j, 4, half + j, 4);
        ROWS_TO_PLANES(interpolate_adjoint, half, 4)
    }
}

/* Pooling on the way: of each 2×2 results the largest, and which one that was (0 to 3, the first of equals). A pooled image
   has height / 2 by width / 2 pixels: what is left over at an odd border goes into none. */

#define POOLED(pixels, y, x) ((pixels) + ((n * (height / 2) + (y)) * (width / 2) + (x)) * channels + lanes_at(c, channels))
#define EACH_POOLED \
    for (int i = 0; i < 2; i++) \
        for (int j = 0; j < 2; j++)
#define INSIDE_POOLED(y, x) ((y) < height / 2 && (x) < width / 2)

void planes_to_pooled(const bf16 *planes, bf16 *image, long images, long height, long width, long channels, uint8_t *which) {
    EACH_TILE(channels) {
        vec half[24], r[16];
        PLANES_TO_COLUMNS(interpolate, half)
        for (int i = 0; i < 4; i++) interpolate(half + 6 * i, 1, r + 4 * i, 1);
        EACH_POOLED {
            long y = 2 * row + i, x = 2 * column + j;
            if (!INSIDE_POOLED(y, x)) continue;
            const vec *corner = r + 8 * i + 2 * j;
            vec largest = corner[0];
            ints at = {0};
            for (int k = 1; k < 4; k++) {
                vec other = corner[k / 2 * 4 + k % 2];
                ints larger = other > largest;
                largest = choose(larger, other, largest);
                at = (at & ~larger) | (k & larger);
            }
            store(POOLED(image, y, x), largest);
            bytes narrow = __builtin_convertvector(at, bytes);
            memcpy(POOLED(which, y, x), &narrow, sizeof narrow);
        }
    }
}

void planes_to_pooled_adjoint(const bf16 *image, bf16 *planes, long images, long height, long width, long channels,
                              const uint8_t *which) {
    EACH_TILE(channels) {
        vec r[16] = {{0}}, half[24];
        EACH_POOLED {
            long y = 2 * row + i, x = 2 * column + j;
            if (!INSIDE_POOLED(y, x)) continue;
            bytes narrow;
            memcpy(&narrow, POOLED(which, y, x), sizeof narrow);
            ints at = __builtin_convertvector(narrow, ints);
            vec value = load(POOLED(image, y, x));
            for (int k = 0; k < 4; k++) r[8 * i + 2 * j + k / 2 * 4 + k % 2] = choose(at == k, value, (vec){0});
        }
        for (int j = 0; j < 4; j++) interpolate_adjoint(r + j, 4, half + j, 4);
        ROWS_TO_PLANES(interpolate_adjoint, half, 4)
    }
}

/* Tiles overlap, so that this one adds up, in fp32, an image and 16 channels at a time. */
void image_to_planes_adjoint(const bf16 *planes, bf16 *image, long images, long height, long width, long channels) {
    long down = (height + 3) / 4, across = (width + 3) / 4, side = 4 * across + 2;
    long plane = images * down * across * channels;
    #pragma omp parallel for schedule(static)
    for (long n = 0; n < images; n++)
        for (long c = 0; c < channels; c += LANES) {
            vec sum[(4 * down + 2) * side];
            memset(sum, 0, sizeof sum);
            for (long row = 0; row < down; row++)
                for (long column = 0; column < across; column++) {
                    vec half[36], d[6];
                    PLANES_TO_COLUMNS(evaluate_adjoint, half)
                    for (int i = 0; i < 6; i++) {
                        evaluate_adjoint(half + 6 * i, 1, d, 1);
                        for (int j = 0; j < 6; j++) sum[(4 * row + i) * side + 4 * column + j] += d[j];
                    }
                }
            for (long y = 0; y < height; y++)
                for (long x = 0; x < width; x++) store(PIXEL(image, y, x), sum[(y + 1) * side + x + 1]);
        }
}

void filters_to_planes(const float *filters, bf16 *planes, long count, long channels) {
    long plane = count * channels;
    #pragma omp parallel for schedule(static)
    for (long k = 0; k < count; k++)
        for (long c = 0; c < channels; c += LANES) {
            vec g[9], half[18], u[6];
            long at = lanes_at(c, channels);
            for (int i = 0; i < 9; i++) g[i] = load_floats(filters + (9 * k + i) * channels + at);
            for (int j = 0; j < 3; j++) weigh(g + j, 3, half + j, 3);
            for (int i = 0; i < 6; i++) {
                weigh(half + 3 * i, 1, u, 1);
                for (int j = 0; j < 6; j++) store(planes + (6 * i + j) * plane + k * channels + at, u[j]);
            }
        }
}

void filters_to_planes_adjoint(const bf16 *planes, float *filters, long count, long channels) { /* adds to filters */
    long plane = count * channels;
    #pragma omp parallel for schedule(static)
    for (long k = 0; k < count; k++)
        for (long c = 0; c < channels; c += LANES) {
            vec u[6], half[18], g[3];
            long at = lanes_at(c, channels);
            for (int j = 0; j < 6; j++) {
                for (int i = 0; i < 6; i++) u[i] = load(planes + (6 * i + j) * plane + k * channels + at);
                weigh_adjoint(u, 1, half + j, 6);
            }
            for (int i = 0; i < 3; i++) {
                weigh_adjoint(half + 6 * i, 1, g, 1);
                for (int j = 0; j < 3; j++) {
                    float *to = filters + (9 * k + 3 * i + j) * channels + at;
                    store_floats(to, load_floats(to) + leave_out(g[j], c - at));
                }
            }
        }
}
