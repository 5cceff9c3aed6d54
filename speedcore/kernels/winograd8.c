/* Winograd's convolutions with planes and filters in whole numbers of 8 bits: from images to images.

   What is rounded has a scale for each tile in each of the 36 planes, or for each channel where tiles are what is added up:
   the largest becomes 127. Images are stored as n·h·w·c in bf16, with at least 16 channels on either side. */

#include <omp.h>

#include "products.h"
#include "tiles.h"

#define SCALES 48              /* of a tile's 36 planes, in whole vectors */
#define WHOLE 12582912.0f      /* 1.5·2²³: a sum with it is rounded, and its lowest bits are the whole number */

long has_dot_product(void) {
#ifdef __AVX512VNNI__
    return 1;
#else
    return 0;
#endif
}

INLINE void tile_values(enum source source, images of, long t, long c, vec *value) {
    long at = t / of.each * image_size(of, source == POOLED);
    values_of(source, of.pixels + at, source == POOLED ? of.which + at : NULL, place_of(of, t, c), value);
}

INLINE ints size_of(vec value) { return (ints)value & 0x7fffffff; } /* as bits: larger for larger ones, NaN above all */

INLINE vec steps_of(ints largest) { return choose(largest == 0, (vec){0}, 127 / (vec)largest); } /* how many are one */

/* Of each of 36 vectors the largest lane: lane i of `found` is that of the i-th. Halves change places until one is left. */
INLINE void largest_lanes(const ints *value, ints *found) {
    const ints lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    for (int from = 0; from < SCALES; from += LANES) {
        ints v[LANES];
        for (int i = 0; i < LANES; i++) v[i] = from + i < 36 ? value[from + i] : (ints){0};
#pragma GCC unroll 4
        for (int step = 1; step < LANES; step *= 2) {
            ints from_second = ((lane & step) != 0) & LANES;
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i += 2 * step)
                v[i] = larger(__builtin_shuffle(v[i], v[i + step], lane + from_second),
                              __builtin_shuffle(v[i], v[i + step], (lane ^ step) + from_second));
        }
        found[from / LANES] = v[0];
    }
}

static long round_up(long n, long to) { return (n + to - 1) / to * to; }

/* Bytes from plane to plane, an odd number of cache lines: after a power of two all 36 would share the same few places. */
long plane_bytes(long bytes) { return (round_up(bytes, 64) / 64 | 1) * 64; }

/* What one thread works in, on `tiles` tiles. */
typedef struct {
    vec *values;    /* channel / LANES · 36: of one tile */
    ints *largest;  /* the same: of all tiles so far */
    float *scale;   /* tile·SCALES */
    vec *sum;       /* of the tiles that an image's pixels take part in */
    bf16 *products; /* 36·tile·STRIP */
    uint8_t *rows;  /* 36·tile·channel */
} room;

/* Laid out from `base` on, for images of that width; returns the bytes that it takes. */
INLINE long lay_out(room *r, char *base, long tiles, long channels, long width) {
    long values = 36 * round_up(channels, LANES) * sizeof(float), at = 0;
#define TAKE(what, bytes) what = base ? (void *)(base + at) : NULL, at += (bytes)
    TAKE(r->values, values);
    TAKE(r->largest, values);
    TAKE(r->scale, tiles * SCALES * sizeof(float));
    TAKE(r->sum, 6 * side_of(width) * sizeof(vec));
    TAKE(r->products, 36 * plane_bytes(tiles * STRIP * sizeof(bf16)));
    TAKE(r->rows, 36 * plane_bytes(tiles * round_up(channels, 4)));
    return at;
}

long room_bytes(long tiles, long channels, long width) {
    room r;
    return lay_out(&r, NULL, tiles, channels, width);
}

/* `some` tiles from `first` on, each with its scale in each plane. */
INLINE void round_tiles(enum source source, images of, long first, long some, room r) {
    long padded = round_up(of.channels, 4), plane = plane_bytes(some * padded);
    for (long t = 0; t < some; t++) {
        ints largest[36] = {{0}}, of_plane[SCALES / LANES];
        float steps[SCALES];
        for (long c = 0, k = 0; c < of.channels; c += LANES, k += 36) {
            tile_values(source, of, first + t, c, r.values + k);
            for (int p = 0; p < 36; p++) {
                ints size = size_of(r.values[k + p]);
                largest[p] = larger(largest[p], size);
                r.largest[k + p] = larger(r.largest[k + p], size);
            }
        }
        largest_lanes(largest, of_plane);
        for (int v = 0; v < SCALES / LANES; v++) {
            store_floats(steps + v * LANES, steps_of(of_plane[v]));
            store_floats(r.scale + t * SCALES + v * LANES, (vec)of_plane[v] / 127);
        }
        for (long c = 0, k = 0; c < of.channels; c += LANES, k += 36)
            for (int p = 0; p < 36; p++) {
                bytes rounded = lowest_bytes((ints)(r.values[k + p] * steps[p] + (WHOLE + 128)));
                memcpy(r.rows + p * plane + t * padded + lanes_at(c, of.channels), &rounded, sizeof rounded);
            }
    }
}

/* A strip of products back to images of `out`, from image `first` on. */
INLINE void leave(enum source target, images out, long first, long some, room r, long plane, long from, long c) {
    long size = image_size(out, target == POOLED), side = side_of(out.width);
    for (long t = 0; t < some; t++) {
        const bf16 *values = r.products + t * STRIP + from;
        place here = place_of(out, t, c);
        long at = (first + t / out.each) * size;
        bf16 *image = (bf16 *)out.pixels + at;
        if (target == RESULT) to_result(values, plane, image, here);
        else if (target == POOLED) to_pooled(values, plane, image, (uint8_t *)out.which + at, here);
        else {
            add_to_rows(values, plane, r.sum, side, here);
            if (here.column == out.across - 1) leave_rows(r.sum, side, image, here);
        }
    }
}

/* All n images, `together` of them at a time: what lies between stays in a core's own cache. `filters` is 36 times what stands
   on the right of a product, all planes one after the other. largest: 36·channel, of all tiles. */
INLINE void convolve(enum source source, enum source target, images in, right_side filters, images out, float *largest,
                     long n, char *rooms, long threads, long together) {
    long padded = round_up(in.channels, 4);
    #pragma omp parallel num_threads(threads)
    {
        room r;
        lay_out(&r, rooms + omp_get_thread_num() * room_bytes(together * in.each, in.channels, in.width), together * in.each,
                in.channels, in.width);
        memset(r.largest, 0, 36 * round_up(in.channels, LANES) * sizeof(float));
        #pragma omp for schedule(static)
        for (long first = 0; first < n; first += together) {
            long some = (n - first < together ? n - first : together) * in.each;
            long plane = plane_bytes(some * padded), next = plane_bytes(some * STRIP * sizeof(bf16)) / sizeof(bf16);
            round_tiles(source, in, first * in.each, some, r);
            for (long c = 0; c < out.channels; c += STRIP) {
                const long to[VECTORS] = {0, LANES, 2 * LANES, 3 * LANES};
                right_side right = filters;
                long vectors = strip(c, out.channels, right.at);
                for (long p = 0; p < 36; p++) {
                    left_side left = {r.rows + p * plane, r.scale + p, padded, 4, SCALES};
                    right.numbers = filters.numbers + p * padded * out.channels;
                    right.scale = filters.scale + p * out.channels;
                    right.start = filters.start + p * out.channels;
                    product(left, &right, some, r.products + p * next, STRIP, to, vectors);
                }
                for (long v = 0; v < vectors; v++) leave(target, out, first, some, r, next, to[v], right.at[v]);
            }
        }
        #pragma omp critical
        for (long c = 0, k = 0; c < in.channels; c += LANES, k += 36)
            for (int p = 0; p < 36; p++) {
                float *to = largest + p * in.channels + lanes_at(c, in.channels);
                store_floats(to, (vec)larger((ints)load_floats(to), r.largest[k + p]));
            }
    }
}

/* filters: 36·(channel / 4)·count·4, of_filter and start: 36·count. y pooled if there is room for `which`. */
void forward(const bf16 *x, const int8_t *filters, const float *of_filter, const int32_t *start, bf16 *y, uint8_t *which,
             float *largest, long n, long height, long width, long channels, long count, char *rooms, long threads, long together) {
    images in = images_of(x, NULL, height, width, channels), out = images_of(y, which, height, width, count);
    right_side right = {filters, of_filter, start, count, (channels + 3) / 4};
    if (which) convolve(IMAGE, POOLED, in, right, out, largest, n, rooms, threads, together);
    else convolve(IMAGE, RESULT, in, right, out, largest, n, rooms, threads, together);
}

/* filters: 36·(count / 4)·channel·4, of_channel and start: 36·channel. */
void backward(const bf16 *dy, const uint8_t *which, const int8_t *filters, const float *of_channel, const int32_t *start, bf16 *dx,
              float *largest, long n, long height, long width, long channels, long count, char *rooms, long threads, long together) {
    images in = images_of(dy, which, height, width, count), out = images_of(dx, NULL, height, width, channels);
    right_side right = {filters, of_channel, start, channels, (count + 3) / 4};
    if (which) convolve(POOLED, IMAGE, in, right, out, largest, n, rooms, threads, together);
    else convolve(RESULT, IMAGE, in, right, out, largest, n, rooms, threads, together);
}

/* Planes of filters, 36·count·channel, on the right of a product: fours (zero at first), and each column's scale and start.
   On the way there columns are filters, and a sum's terms channels; on the way back it is the other way round. */
void round_filters(const bf16 *planes, int8_t *fours, float *scale, int32_t *start, long count, long channels, long back) {
    long columns = back ? channels : count, quads = ((back ? count : channels) + 3) / 4;
    #pragma omp parallel for schedule(static)
    for (long p = 0; p < 36; p++) {
        const bf16 *plane = planes + p * count * channels;
        int8_t *to = fours + p * quads * columns * 4;
        float *of_column = scale + p * columns;
        for (long k = 0; !back && k < count; k++) {
            const bf16 *filter = plane + k * channels;
            ints largest = {0};
            for (long c = 0; c < channels; c += LANES) largest = larger(largest, size_of(load(filter + lanes_at(c, channels))));
            for (int lane = 0; lane < LANES; lane++) largest = larger(largest, (ints){0} + largest[lane]);
            of_column[k] = ((vec)largest)[0] / 127;
            for (long c = 0; c < channels; c += LANES) {
                long at = lanes_at(c, channels);
                bytes whole = lowest_bytes((ints)(load(filter + at) * steps_of(largest) + WHOLE));
                for (long j = 0; j < LANES; j++) to[4 * ((at + j) / 4 * count + k) + (at + j) % 4] = whole[j];
            }
        }
        for (long c = 0; back && c < channels; c += LANES) {
            long at = lanes_at(c, channels);
            ints largest = {0};
            for (long k = 0; k < count; k++) largest = larger(largest, size_of(load(plane + k * channels + at)));
            store_floats(of_column + at, (vec)largest / 127);
            for (long q = 0; q < quads; q++) {
                ints four = {0};
                for (int i = 0; i < 4 && 4 * q + i < count; i++)
                    four |= ((ints)(load(plane + (4 * q + i) * channels + at) * steps_of(largest) + WHOLE) & 255) << 8 * i;
                memcpy(to + 4 * (q * channels + at), &four, sizeof four);
            }
        }
        for (long c = 0; c < columns; c += STRIP) {
            long at[VECTORS], vectors = strip(c, columns, at);
            sums_start(to, columns, quads, at, vectors, start + p * columns);
        }
    }
}

INLINE void largest_in(enum source source, images of, float *largest, long tiles) {
    for (long c = 0; c < of.channels; c += LANES) {
        ints found[36] = {{0}};
        #pragma omp parallel
        {
            ints most[36] = {{0}};
            #pragma omp for schedule(static)
            for (long t = 0; t < tiles; t++) {
                vec value[36];
                tile_values(source, of, t, c, value);
                for (int p = 0; p < 36; p++) most[p] = larger(most[p], size_of(value[p]));
            }
            #pragma omp critical
            for (int p = 0; p < 36; p++) found[p] = larger(found[p], most[p]);
        }
        for (int p = 0; p < 36; p++) store_floats(largest + p * of.channels + lanes_at(c, of.channels), (vec)found[p]);
    }
}

/* What `backward` finds on its way, where it is not needed otherwise. */
void largest_of_gradient(const bf16 *dy, const uint8_t *which, float *largest, long n, long height, long width, long count) {
    images of = images_of(dy, which, height, width, count);
    if (which) largest_in(POOLED, of, largest, n * of.each);
    else largest_in(RESULT, of, largest, n * of.each);
}

/* Tiles in fours, plane by plane tile / 4 · channel · 4, `offset` too large; steps: 36·channel, how many one is. */
INLINE void tiles_in_fours(enum source source, images of, const float *steps, uint8_t *fours, int offset, long first, long tiles) {
    long groups = (tiles + 3) / 4, plane = plane_bytes(4 * groups * of.channels);
    #pragma omp parallel for schedule(static)
    for (long g = 0; g < groups; g++)
        for (long c = 0; c < of.channels; c += LANES) {
            ints four[36];
            long at = lanes_at(c, of.channels);
            for (int p = 0; p < 36; p++) four[p] = (ints)((bits){0} + (uint32_t)offset * 0x01010101u); /* beyond the last tile all is zero */
            for (int i = 0; i < 4 && 4 * g + i < tiles; i++) {
                const ints byte = (ints)((bits){0} + (255u << 8 * i));
                vec value[36];
                tile_values(source, of, first + 4 * g + i, c, value);
                for (int p = 0; p < 36; p++) {
                    ints whole = (ints)(value[p] * load_floats(steps + p * of.channels + at) + (WHOLE + offset));
                    four[p] = (four[p] & ~byte) | (whole << 8 * i & byte);
                }
            }
            for (int p = 0; p < 36; p++) memcpy(fours + p * plane + 4 * (g * of.channels + at), &four[p], sizeof four[p]);
        }
}

/* dw: 36·count·channel, of `some` images from `first` on; a step is worth of_dy (36·count) and of_x (36·channel).
   left, right: room for the planes of either side. */
void gradient_of_filters(const bf16 *dy, const uint8_t *which, const bf16 *x, const float *dy_steps, const float *x_steps,
                         const float *of_dy, const float *of_x, bf16 *dw, uint8_t *left, uint8_t *right, long first, long some,
                         long height, long width, long channels, long count) {
    images in = images_of(x, NULL, height, width, channels), out = images_of(dy, which, height, width, count);
    long tiles = some * in.each, groups = (tiles + 3) / 4;
    if (which) tiles_in_fours(POOLED, out, dy_steps, left, 128, first * in.each, tiles);
    else tiles_in_fours(RESULT, out, dy_steps, left, 128, first * in.each, tiles);
    tiles_in_fours(IMAGE, in, x_steps, right, 0, first * in.each, tiles);
    #pragma omp parallel for collapse(2) schedule(static)
    for (long p = 0; p < 36; p++)
        for (long c = 0; c < channels; c += STRIP) {
            int32_t start[STRIP];
            left_side l = {left + p * plane_bytes(4 * groups * count), of_dy + p * count, 4, 4 * count, 1};
            right_side r = {(const int8_t *)right + p * plane_bytes(4 * groups * channels), of_x + p * channels, NULL, channels, groups};
            long vectors = strip(c, channels, r.at), base = r.at[0];
            r.start = start - base;
            sums_start(r.numbers, channels, groups, r.at, vectors, start - base);
            product(l, &r, count, dw + p * count * channels, channels, r.at, vectors);
        }
}
