/* Images to the 36 planes of Winograd's F(4×4, 3×3), and back, in bf16 (tiles.h has the maps).

   Images are stored as n·h·w·c, planes as 36·tile·c, filters as k·3·3·c and their planes as 36·k·c; there are at least 16
   channels. Threads take rows of tiles. */

#include <omp.h>

#include "tiles.h"

#define EACH_TILE \
    long down = (height + 3) / 4, across = (width + 3) / 4; \
    long plane = images * down * across * channels; \
    _Pragma("omp parallel for collapse(2) schedule(static)") \
    for (long n = 0; n < images; n++) \
        for (long row = 0; row < down; row++) \
            for (long column = 0; column < across; column++) \
                for (long c = 0; c < channels; c += LANES)

#define HERE (place){height, width, channels, row, column, lanes_at(c, channels)}
#define IMAGE_OF(pixels) ((pixels) + n * height * width * channels)
#define POOLED_OF(pixels) ((pixels) + n * (height / 2) * (width / 2) * channels)
#define VALUES(planes) ((planes) + ((n * down + row) * across + column) * channels + lanes_at(c, channels))

INLINE void store_values(const vec *value, element *to, long plane) {
    for (int p = 0; p < 36; p++) store(to + p * plane, value[p]);
}

void image_to_planes(const element *image, element *planes, long images, long height, long width, long channels) {
    EACH_TILE {
        vec value[36];
        values_of(IMAGE, IMAGE_OF(image), NULL, HERE, value);
        store_values(value, VALUES(planes), plane);
    }
}

void planes_to_image(const element *planes, element *image, long images, long height, long width, long channels) {
    EACH_TILE to_result(VALUES(planes), plane, IMAGE_OF(image), HERE);
}

void planes_to_image_adjoint(const element *image, element *planes, long images, long height, long width, long channels) {
    EACH_TILE {
        vec value[36];
        values_of(RESULT, IMAGE_OF(image), NULL, HERE, value);
        store_values(value, VALUES(planes), plane);
    }
}

void planes_to_pooled(const element *planes, element *image, long images, long height, long width, long channels, uint8_t *which) {
    EACH_TILE to_pooled(VALUES(planes), plane, POOLED_OF(image), POOLED_OF(which), HERE);
}

void planes_to_pooled_adjoint(const element *image, element *planes, long images, long height, long width, long channels,
                              const uint8_t *which) {
    EACH_TILE {
        vec value[36];
        values_of(POOLED, POOLED_OF(image), POOLED_OF(which), HERE, value);
        store_values(value, VALUES(planes), plane);
    }
}

/* rooms: for each thread, room_floats(width). */
long room_floats(long width) { return 6 * side_of(width) * LANES; }

void image_to_planes_adjoint(const element *planes, element *image, long images, long height, long width, long channels, float *rooms,
                             long threads) {
    long down = (height + 3) / 4, across = (width + 3) / 4, side = side_of(width);
    long plane = images * down * across * channels;
    #pragma omp parallel num_threads(threads)
    {
        vec *sum = (vec *)(rooms + omp_get_thread_num() * room_floats(width));
        #pragma omp for collapse(2) schedule(static)
        for (long n = 0; n < images; n++)
            for (long c = 0; c < channels; c += LANES)
                for (long row = 0; row < down; row++) {
                    for (long column = 0; column < across; column++) add_to_rows(VALUES(planes), plane, sum, side, HERE);
                    long column = 0;
                    leave_rows(sum, side, IMAGE_OF(image), HERE);
                }
    }
}

void filters_to_planes(const float *filters, element *planes, long count, long channels) {
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

void filters_to_planes_adjoint(const element *planes, float *filters, long count, long channels) { /* adds to filters */
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
