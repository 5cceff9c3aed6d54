/* Winograd's F(4×4, 3×3) in fp32, from images to images: maps and products of some tiles at a time, so that what lies between
   never leaves a core's own cache.

   A block of tiles is evaluated into 36 planes of tile·channel; for a strip of filters at a time these are multiplied (plane by
   plane, rows of tiles by columns of filters) and interpolated. The gradient of the images is a convolution of that of the
   results with the filters turned round. Images are stored as n·h·w·c; there are at least LANES channels on either side. */

#define FP32

#include <omp.h>

#include "tiles.h"

#define VECTORS 2
#define STRIP (VECTORS * LANES) /* columns of a product at a time */
#if LANES == 16
#define ROWS 12 /* rows of it: sums, a strip's vectors and one of the left side fit the registers */
#else
#define ROWS 6
#endif

/* A row or plane of so many floats, at least, with an odd number of cache lines: after a power of two all rows would share the
   same few places. */
INLINE long spread(long floats) { return ((floats + 15) / 16 | 1) * 16; }

INLINE long whole_vectors(long channels) { return (channels + LANES - 1) / LANES * LANES; }

INLINE long vectors_at(long from, long columns) { return columns - from > LANES ? VECTORS : 1; }

long lanes(void) { return LANES; }

long tiles_at_a_time(void) { return ROWS; }

/* One row and column of a sum's terms after the other: `next_row` floats from row to row and `next_term` from term to term on the
   left, `next` on the right. */
typedef struct {
    const float *left, *right;
    long next_row, next_term, next, terms;
} factors;

/* Some rows of a product by some vectors of columns; added to what is there, or instead of it. */
INLINE void some_rows(factors f, float *result, long next, const int added, const int rows, const int vectors) {
    vec sum[ROWS][VECTORS];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) sum[r][v] = (vec){0};
    for (long k = 0; k < f.terms; k++) {
        vec right[VECTORS];
        for (int v = 0; v < vectors; v++) right[v] = load_floats(f.right + v * LANES);
        for (int r = 0; r < rows; r++) {
            vec left = f.left[r * f.next_row] - (vec){0};
            for (int v = 0; v < vectors; v++) sum[r][v] += left * right[v];
        }
        f.left += f.next_term;
        f.right += f.next;
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) {
            float *to = result + r * next + v * LANES;
            store_floats(to, added ? load_floats(to) + sum[r][v] : sum[r][v]);
        }
}

INLINE void all_rows(factors f, long rows, float *result, long next, const int added, const int vectors) {
#define TAKE(some) \
    for (; rows >= (some); rows -= (some), f.left += (some) * f.next_row, result += (some) * next) \
        some_rows(f, result, next, added, some, vectors);
    TAKE(ROWS)
    TAKE(4)
    TAKE(2)
    TAKE(1)
#undef TAKE
}

/* The map of size×size pixels, `down` floats from row to row and `across` from column to column, to 36 planes: `evaluate`, or the
   adjoint of `interpolate`. Loops over columns and rows stay loops: unrolled, their vectors would not fit the registers. */
INLINE void to_planes(const float *from, long down, long across, const int size, float *to, long plane) {
    vec half[36];
#pragma GCC unroll 1
    for (int j = 0; j < size; j++) {
        vec d[6], v[6];
        for (int i = 0; i < size; i++) d[i] = load_floats(from + i * down + j * across);
        if (size == 6) evaluate(d, 1, v, 1);
        else interpolate_adjoint(d, 1, v, 1);
        for (int i = 0; i < 6; i++) half[i * size + j] = v[i];
    }
#pragma GCC unroll 1
    for (int i = 0; i < 6; i++) {
        vec v[6];
        if (size == 6) evaluate(half + 6 * i, 1, v, 1);
        else interpolate_adjoint(half + 4 * i, 1, v, 1);
        for (int j = 0; j < 6; j++) store_floats(to + (6 * i + j) * plane, v[j]);
    }
}

/* size×size pixels that begin `border` before a tile's place, of an image that pooling left zero but where `which` says. */
INLINE void read_sparse(const float *image, const uint8_t *which, place here, const int size, const int border, vec *pixels) {
    for (int i = 0; i < size * size; i++) pixels[i] = (vec){0};
    for (int a = -border; a < 2 + border; a++)
        for (int b = -border; b < 2 + border; b++) {
            long y = 2 * here.row + a, x = 2 * here.column + b;
            if (y < 0 || x < 0 || y >= here.height / 2 || x >= here.width / 2) continue;
            bytes narrow;
            memcpy(&narrow, POOLED_AT(which, y, x), sizeof narrow);
            ints at = widen_bytes(narrow);
            vec kept = load(POOLED_AT(image, y, x));
            for (int k = 0; k < 4; k++) {
                int i = 2 * a + k / 2 + border, j = 2 * b + k % 2 + border;
                if (i >= 0 && i < size && j >= 0 && j < size) pixels[size * i + j] = choose(at == k, kept, (vec){0});
            }
        }
}

/* Tiles from `first` on into planes of tile·channel, of 6×6 pixels with a border, as what is convolved has, or of 4×4. The last
   vector of a row overlaps the one before, or, `apart`, is whole beside it. */
INLINE void tiles_to_planes(images of, const int pooled, const int border, const int apart, long first, long some, float *to,
                            long next, long plane) {
    const int size = border ? 6 : 4;
    for (long t = 0; t < some; t++) {
        long at = (first + t) / of.each * image_size(of, pooled);
        const float *image = of.pixels + at;
        place here = place_of(of, first + t, 0);
        long y = 4 * here.row - border, x = 4 * here.column - border;
        int whole = !pooled && INSIDE(y, x) && INSIDE(y + size - 1, x + size - 1);
        for (long c = 0; c < of.channels; c += LANES) {
            here.at = lanes_at(c, of.channels);
            float *planes = to + t * next + (apart ? c : here.at);
            if (whole) to_planes(PIXEL(image, y, x), of.width * of.channels, of.channels, size, planes, plane);
            else {
                vec pixels[36];
                if (pooled) read_sparse(image, of.which + at, here, size, border, pixels);
                else read_pixels(image, here, size, border, pixels);
                to_planes((float *)pixels, size * LANES, LANES, size, planes, plane);
            }
        }
    }
}

/* 36 products to the 4×4 pixels of a tile. */
INLINE void to_pixels(const float *values, long plane, vec *pixels) {
    vec half[24];
#pragma GCC unroll 1
    for (int j = 0; j < 6; j++) {
        vec m[6], v[4];
        for (int i = 0; i < 6; i++) m[i] = load_floats(values + (6 * i + j) * plane);
        interpolate(m, 1, v, 1);
        for (int i = 0; i < 4; i++) half[6 * i + j] = v[i];
    }
#pragma GCC unroll 1
    for (int i = 0; i < 4; i++) interpolate(half + 6 * i, 1, pixels + 4 * i, 1);
}

INLINE void leave(images out, const int pooled, long first, long some, const float *products, long plane, long from) {
    for (long t = 0; t < some; t++) {
        long at = (first + t) / out.each * image_size(out, pooled);
        place here = place_of(out, first + t, from);
        float *image = (float *)out.pixels + at;
        for (long v = 0; v < vectors_at(from, out.channels); v++) {
            vec pixels[16];
            here.at = lanes_at(from + v * LANES, out.channels);
            to_pixels(products + t * STRIP + v * LANES, plane, pixels);
            if (pooled) store_largest(pixels, image, (uint8_t *)out.which + at, here);
            else store_pixels(pixels, image, here);
        }
    }
}

/* Floats that each thread needs room for. */
long room_floats(long together, long channels) { return 36 * (spread(together * channels) + spread(together * STRIP)); }

INLINE void convolve_all(images in, const int from_pooled, const float *filters, images out, const int to_pooled, long n, float *rooms,
                         long threads, long together) {
    long tiles = n * in.each, plane = spread(together * in.channels), next = spread(together * STRIP);
    #pragma omp parallel num_threads(threads)
    {
        float *values = rooms + omp_get_thread_num() * room_floats(together, in.channels), *products = values + 36 * plane;
        #pragma omp for schedule(dynamic)
        for (long first = 0; first < tiles; first += together) {
            long some = smaller(together, tiles - first);
            const float *strip = filters;
            tiles_to_planes(in, from_pooled, 1, 0, first, some, values, in.channels, plane);
            for (long from = 0; from < out.channels; from += STRIP) {
                long width = vectors_at(from, out.channels) * LANES;
                for (int p = 0; p < 36; p++, strip += in.channels * width) {
                    factors f = {values + p * plane, strip, in.channels, 1, width, in.channels};
                    if (width == STRIP) all_rows(f, some, products + p * next, STRIP, 0, VECTORS);
                    else all_rows(f, some, products + p * next, STRIP, 0, 1);
                }
                leave(out, to_pooled, first, some, products, next, from);
            }
        }
    }
}

/* filters: as filters_to_planes makes them. Pooled ones in if there is `x_which`, out if there is `y_which`; height and width are
   those before pooling. */
void convolve(const float *x, const uint8_t *x_which, const float *filters, float *y, uint8_t *y_which, long n, long height, long width,
              long channels, long count, float *rooms, long threads, long together) {
    images in = images_of(x, x_which, height, width, channels), out = images_of(y, y_which, height, width, count);
    if (x_which) convolve_all(in, 1, filters, out, 0, n, rooms, threads, together);
    else if (y_which) convolve_all(in, 0, filters, out, 1, n, rooms, threads, together);
    else convolve_all(in, 0, filters, out, 0, n, rooms, threads, together);
}

/* Floats of the planes of filters. */
long filters_floats(long terms, long columns) { return 36 * terms * whole_vectors(columns); }

/* Filters, 9·term·column, to what stands on the right of products: strip by strip of columns, 36·term·(column of the strip). */
void filters_to_planes(const float *filters, float *planes, long terms, long columns) {
    #pragma omp parallel for collapse(2) schedule(static)
    for (long from = 0; from < columns; from += STRIP)
        for (long k = 0; k < terms; k++) {
            long vectors = vectors_at(from, columns);
            for (long v = 0; v < vectors; v++) {
                vec g[9], half[18], u[6];
                for (int i = 0; i < 9; i++)
                    g[i] = load_floats(filters + (i * terms + k) * columns + lanes_at(from + v * LANES, columns));
                for (int j = 0; j < 3; j++) weigh(g + j, 3, half + j, 3);
                for (int i = 0; i < 6; i++) {
                    weigh(half + 3 * i, 1, u, 1);
                    for (int j = 0; j < 6; j++)
                        store_floats(planes + 36 * terms * from + (((6 * i + j) * terms + k) * vectors + v) * LANES, u[j]);
                }
            }
        }
}

/* Floats of the planes of the filters' gradient, and of both sides of the products that it is the sum of. */
long gradient_floats(long channels, long count) { return 36 * count * whole_vectors(channels); }

long side_floats(long together, long channels) { return 36 * together * spread(whole_vectors(channels)); }

/* planes: gradient_floats, zero at first; the gradient of the filters, k·3·3·c, goes to `filters`. left, right: room for the planes
   of dy and of x, `together` tiles at a time. Sums do not depend on the number of threads. */
void gradient_of_filters(const float *dy, const uint8_t *which, const float *x, float *planes, float *filters, long n, long height,
                         long width, long channels, long count, float *left, float *right, long threads, long together) {
    images in = images_of(x, NULL, height, width, channels), out = images_of(dy, which, height, width, count);
    long wide = whole_vectors(channels), next_left = spread(whole_vectors(count)), next_right = spread(wide), tiles = n * in.each;
    #pragma omp parallel num_threads(threads)
    for (long first = 0; first < tiles; first += together) {
        long some = smaller(together, tiles - first), few = 8;
        #pragma omp for schedule(dynamic)
        for (long t = 0; t < some; t += few) {
            long these = smaller(few, some - t);
            float *to = left + t * next_left;
            if (which) tiles_to_planes(out, 1, 0, 0, first + t, these, to, next_left, together * next_left);
            else tiles_to_planes(out, 0, 0, 0, first + t, these, to, next_left, together * next_left);
            tiles_to_planes(in, 0, 1, 1, first + t, these, right + t * next_right, next_right, together * next_right);
        }
        #pragma omp for collapse(2) schedule(dynamic)
        for (long p = 0; p < 36; p++)
            for (long k = 0; k < count; k += 8 * ROWS)
                for (long c = 0; c < wide; c += STRIP) {
                    factors f = {left + p * together * next_left + k, right + p * together * next_right + c, 1, next_left, next_right, some};
                    float *to = planes + (p * count + k) * wide + c;
                    if (wide - c > LANES) all_rows(f, smaller(8 * ROWS, count - k), to, wide, 1, VECTORS);
                    else all_rows(f, smaller(8 * ROWS, count - k), to, wide, 1, 1);
                }
    }
    #pragma omp parallel for schedule(static)
    for (long k = 0; k < count; k++)
        for (long c = 0; c < wide; c += LANES) {
            vec u[6], half[18], g[3];
            for (int j = 0; j < 6; j++) {
                for (int i = 0; i < 6; i++) u[i] = load_floats(planes + ((6 * i + j) * count + k) * wide + c);
                weigh_adjoint(u, 1, half + j, 6);
            }
            for (int i = 0; i < 3; i++) {
                weigh_adjoint(half + 6 * i, 1, g, 1);
                for (int j = 0; j < 3; j++)
                    store_floats(filters + (9 * k + 3 * i + j) * channels + lanes_at(c, channels), g[j]);
            }
        }
}
