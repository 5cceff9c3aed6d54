/* 3×3 convolutions on a processor's matrix unit (Intel AMX): products of bf16, added up in fp32.

   Images are taken 32 at a time and laid out pixel by pixel, so that a pixel of all of them is a matrix of 32 images by 32
   channels: two tiles as they stand. A tap of a filter then takes another pixel's tiles, and one beyond the border is left out
   instead of multiplied as zero. What lies between fits a core's own cache: a band of rows at a time, with a row more on either
   side. Images are stored as n·h·w·c. */

#include <omp.h>

#include "lanes.h"

#define BATCH 32 /* images at a time */
#define GROUP 32 /* channels of a tile */
#define TILE 16  /* its rows, and the columns of a product */
#define PIXEL (BATCH * GROUP)
#define SUMS (4 * TILE * TILE)
#define TAPS 9
#define STRETCH 8 /* pixels of a row at a time */

/* Pooled ones, if `which` says from where pooling took them, stand for images of twice the size that are zero elsewhere;
   `height` and `width` are of these. A band begins at row `top`. */
typedef struct {
    bf16 *pixels;
    uint8_t *which;
    long height, width, channels, groups, size, top, rows;
} images;

INLINE images images_of(const bf16 *pixels, const uint8_t *which, long height, long width, long channels) {
    long high = which ? height / 2 * 2 : height, wide = which ? width / 2 * 2 : width;
    return (images){(bf16 *)pixels, (uint8_t *)which, high, wide, channels, (channels + GROUP - 1) / GROUP,
                    high * wide * channels / (which ? 4 : 1), 0, 0};
}

/* Rows `top` to `end`, of those that there are. */
INLINE images band_of(images of, long top, long end) {
    of.top = top < 0 ? 0 : top;
    of.rows = smaller(end, of.height) - of.top;
    return of;
}

INLINE long band_values(long rows, images of) { return smaller(rows, of.height) * of.width * PIXEL; }

#ifdef __AMX_BF16__
#include <sys/syscall.h>
#include <unistd.h>

long has_matrix_unit(void) { /* Linux lets a process use it that asked */
    enum { ask = 0x1023, tiles = 18 };
    return syscall(SYS_arch_prctl, ask, tiles) == 0;
}

static void set_up(void) {
    struct {
        uint8_t palette, start, unused[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shapes = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) shapes.bytes[tile] = 64, shapes.rows[tile] = TILE;
    _tile_loadconfig(&shapes);
}

typedef __m512i group; /* 32 values in bf16 */

INLINE __m512 first_half(group g) { return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(g)), 16); }

INLINE __m512 second_half(group g) { return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(g, 1)), 16); }

INLINE group narrow(__m512 first, __m512 second) { return (group)_mm512_cvtne2ps_pbh(second, first); }

/* Which of 32 from `first` on there are of `count`: the last group of channels may be short. Sixteen take the lower half. */
INLINE uint32_t there(long first, long count) {
    return count <= first ? 0 : count - first >= GROUP ? 0xffffffffu : (1u << (count - first)) - 1;
}

/* A group of channels of one pixel; `pooled` is whether the images are. */
INLINE group values_at(images of, int pooled, long n, long y, long x, long g, uint32_t mask) {
    if (!pooled) return _mm512_maskz_loadu_epi16(mask, of.pixels + n * of.size + (y * of.width + x) * of.channels + g * GROUP);
    long at = n * of.size + (y / 2 * (of.width / 2) + x / 2) * of.channels + g * GROUP;
    __m256i corner = _mm256_maskz_loadu_epi8(mask, of.which + at);
    return _mm512_maskz_loadu_epi16(_mm256_mask_cmpeq_epi8_mask(mask, corner, _mm256_set1_epi8(y % 2 * 2 + x % 2)), of.pixels + at);
}

/* Four tiles of sums, 32 by 32 in all: two of the left matrix times two of the right. */
#define for_each_sum(what, sums) \
    what(0, sums, 64); \
    what(1, (sums) + TILE * TILE, 64); \
    what(2, (sums) + 2 * TILE * TILE, 64); \
    what(3, (sums) + 3 * TILE * TILE, 64);

INLINE void multiply(const bf16 *left, const bf16 *right) {
    _tile_loadd(6, right, 64);
    _tile_loadd(4, left, 64);
    _tile_loadd(7, right + TILE * GROUP, 64);
    _tile_loadd(5, left + TILE * GROUP, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

/* A band of some images: group·row·column·32·32. */
INLINE void lay(images of, int pooled, long first, long some, bf16 *pixels) {
    long plane = of.rows * of.width * PIXEL;
    for (long i = 0; i < some; i++)
        for (long y = 0; y < of.rows; y++)
            for (long x = 0; x < of.width; x++)
                for (long g = 0; g < of.groups; g++)
                    _mm512_store_si512(pixels + g * plane + (y * of.width + x) * PIXEL + i * GROUP,
                                       values_at(of, pooled, first + i, of.top + y, x, g, there(g * GROUP, of.channels)));
}

/* 32 images by 32 filters, to bf16. */
INLINE void round_sums(const float *sums, bf16 *result) {
    for (int i = 0; i < BATCH; i++) {
        const float *sum = sums + i / TILE * 2 * TILE * TILE + i % TILE * TILE;
        _mm512_store_si512(result + i * GROUP, narrow(_mm512_load_ps(sum), _mm512_load_ps(sum + TILE * TILE)));
    }
}

/* Pixels `from` to `end` of a row, of 32 images, 32 filters: the taps that fall into the image, times their tiles of the filters
   (group·tap·2). A group of channels for all of these pixels before the next: its filters stay in the nearest cache, and sums wait
   meanwhile. */
INLINE void products(const bf16 *pixels, images in, long y, long from, long end, const bf16 *filters, bf16 *result) {
    float waiting[STRETCH * SUMS] __attribute__((aligned(64)));
    long above = y > 0 ? -1 : 0, below = smaller(1, in.height - 1 - y);
    for (long g = 0; g < in.groups; g++, filters += TAPS * PIXEL)
        for (long x = from; x < end; x++) {
            float *sums = waiting + (x - from) * SUMS;
            if (g == 0) {
                _tile_zero(0);
                _tile_zero(1);
                _tile_zero(2);
                _tile_zero(3);
            } else {
                for_each_sum(_tile_loadd, sums)
            }
            long left = x > 0 ? -1 : 0, right = smaller(1, in.width - 1 - x);
            for (long i = above; i <= below; i++) {
                const bf16 *row = pixels + ((g * in.rows + y + i - in.top) * in.width + x) * PIXEL;
                for (long j = left; j <= right; j++) multiply(row + j * PIXEL, filters + (3 * i + j + 4) * PIXEL);
            }
            for_each_sum(_tile_stored, sums)
            if (g == in.groups - 1) round_sums(sums, result + (x - from) * PIXEL);
        }
}

/* A band of one group back to some images, as it is or pooled: of each 2×2 the largest, the first of equals. */
INLINE void leave(const bf16 *pixels, images of, int pooled, long g, long first, long some) {
    uint32_t mask = there(g * GROUP, of.channels);
    long step = pooled ? 2 : 1;
    for (long i = 0; i < some; i++)
        for (long y = 0; y < of.rows; y += step)
            for (long x = 0; x < of.width; x += step) {
                const bf16 *from = pixels + (y * of.width + x) * PIXEL + i * GROUP;
                long at = (first + i) * of.size + ((of.top + y) / step * (of.width / step) + x / step) * of.channels + g * GROUP;
                group value = _mm512_load_si512(from);
                if (pooled) {
                    __m512 low = first_half(value), high = second_half(value);
                    __m256i corner = _mm256_setzero_si256();
                    for (int k = 1; k < 4; k++) {
                        group other = _mm512_load_si512(from + (k / 2 * of.width + k % 2) * PIXEL);
                        __mmask16 larger_low = _mm512_cmp_ps_mask(first_half(other), low, _CMP_GT_OQ);
                        __mmask16 larger_high = _mm512_cmp_ps_mask(second_half(other), high, _CMP_GT_OQ);
                        low = _mm512_mask_mov_ps(low, larger_low, first_half(other));
                        high = _mm512_mask_mov_ps(high, larger_high, second_half(other));
                        corner = _mm256_mask_mov_epi8(corner, larger_low | (uint32_t)larger_high << 16, _mm256_set1_epi8(k));
                    }
                    value = narrow(low, high);
                    _mm256_mask_storeu_epi8(of.which + at, mask, corner);
                }
                _mm512_mask_storeu_epi16(of.pixels + at, mask, value);
            }
}

INLINE void convolve_all(images in, int from_pooled, const bf16 *filters, images out, int to_pooled, long n, long rows, bf16 *rooms,
                         long threads) {
    long result_at = band_values(rows + 2, in) * in.groups, room = result_at + band_values(rows, out);
    long stretch = in.groups > 1 ? STRETCH : 1; /* one group's sums need not wait */
    #pragma omp parallel num_threads(threads)
    {
        bf16 *pixels = rooms + omp_get_thread_num() * room, *result = pixels + result_at;
        set_up();
        #pragma omp for schedule(static)
        for (long first = 0; first < n; first += BATCH)
            for (long top = 0; top < out.height; top += rows) {
                long some = smaller(BATCH, n - first);
                images from = band_of(in, top - 1, top + rows + 1), to = band_of(out, top, top + rows);
                lay(from, from_pooled, first, some, pixels);
                for (long g = 0; g < to.groups; g++) {
                    for (long y = 0; y < to.rows; y++)
                        for (long x = 0; x < to.width; x += stretch)
                            products(pixels, from, top + y, x, smaller(x + stretch, to.width), filters + g * in.groups * TAPS * PIXEL,
                                     result + (y * to.width + x) * PIXEL);
                    leave(result, to, to_pooled, g, first, some);
                }
            }
        _tile_release();
    }
}

/* filters: (count / 32)·(channels / 32)·9·2 tiles. Pooled ones in if there is `in_which`, out if there is `out_which`; `rows` at a
   time, an even number if so. */
void convolve(const bf16 *x, const uint8_t *in_which, const bf16 *filters, bf16 *y, uint8_t *out_which, long n, long height,
              long width, long channels, long count, long rows, bf16 *rooms, long threads) {
    images in = images_of(x, in_which, height, width, channels), out = images_of(y, out_which, height, width, count);
    if (in_which) convolve_all(in, 1, filters, out, 0, n, rows, rooms, threads);
    else if (out_which) convolve_all(in, 0, filters, out, 1, n, rows, rooms, threads);
    else convolve_all(in, 0, filters, out, 0, n, rows, rooms, threads);
}

/* Filters, count·9·channels, as tiles of 16 pairs of channels by 16 filters: (count / 32)·(channels / 32)·9·2 of them. On the way
   back filters and channels change places, and taps their order. */
void round_filters(const float *filters, bf16 *tiles, long count, long channels, long back) {
    long columns = back ? channels : count, terms = back ? count : channels;
    long groups = (terms + GROUP - 1) / GROUP, strips = 2 * ((columns + GROUP - 1) / GROUP);
    const __m512i tile_row = _mm512_set_epi32(240, 224, 208, 192, 176, 160, 144, 128, 112, 96, 80, 64, 48, 32, 16, 0);
    const __m512i side_by_side = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5,
                                                  20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    #pragma omp parallel for collapse(2) schedule(static)
    for (long strip = 0; strip < strips; strip++)
        for (long g = 0; g < groups; g++)
            for (int tap = 0; tap < TAPS; tap++) {
                bf16 *tile = tiles + (((strip / 2 * groups + g) * TAPS + tap) * 2 + strip % 2) * TILE * GROUP;
                long column = strip * TILE, term = g * GROUP;
                for (long i = 0; i < TILE; i++) {
                    const float *from = filters + (back ? (term + 2 * i) * TAPS + TAPS - 1 - tap : (column + i) * TAPS + tap) * channels;
                    if (back) {
                        uint16_t mask = there(column, columns);
                        __m512 even = _mm512_maskz_loadu_ps(term + 2 * i < terms ? mask : 0, from + column);
                        __m512 odd = _mm512_maskz_loadu_ps(term + 2 * i + 1 < terms ? mask : 0, from + TAPS * channels + column);
                        _mm512_store_si512(tile + i * GROUP, _mm512_permutexvar_epi16(side_by_side, narrow(even, odd)));
                    } else {
                        uint16_t mask = column + i < columns ? 0xffff : 0;
                        __m512 low = _mm512_maskz_loadu_ps(mask & there(term, terms), from + term);
                        __m512 high = _mm512_maskz_loadu_ps(mask & there(term + LANES, terms), from + term + LANES);
                        _mm512_i32scatter_epi32(tile + 2 * i, tile_row, narrow(low, high), 4);
                    }
                }
            }
}

/* 32 images of 32 filters to two tiles: of either half of the filters, 32 images a row. */
INLINE void transpose(group *v, bf16 *tiles) {
    group w[32];
    for (int i = 0; i < 16; i++) { /* within 128 bits: pairs, fours, eights of images */
        w[2 * i] = _mm512_unpacklo_epi16(v[2 * i], v[2 * i + 1]);
        w[2 * i + 1] = _mm512_unpackhi_epi16(v[2 * i], v[2 * i + 1]);
    }
    for (int i = 0; i < 8; i++)
        for (int h = 0; h < 2; h++) {
            v[4 * i + 2 * h] = _mm512_unpacklo_epi32(w[4 * i + h], w[4 * i + 2 + h]);
            v[4 * i + 2 * h + 1] = _mm512_unpackhi_epi32(w[4 * i + h], w[4 * i + 2 + h]);
        }
    for (int i = 0; i < 4; i++)
        for (int h = 0; h < 4; h++) {
            w[8 * i + 2 * h] = _mm512_unpacklo_epi64(v[8 * i + h], v[8 * i + 4 + h]);
            w[8 * i + 2 * h + 1] = _mm512_unpackhi_epi64(v[8 * i + h], v[8 * i + 4 + h]);
        }
    for (int c = 0; c < 8; c++) { /* w[8 i + c], 128 bits j: filter 8 j + c, images 8 i and on: a 4×4 transpose of those */
        group a = _mm512_shuffle_i32x4(w[c], w[8 + c], 0x44), b = _mm512_shuffle_i32x4(w[c], w[8 + c], 0xee);
        group d = _mm512_shuffle_i32x4(w[16 + c], w[24 + c], 0x44), e = _mm512_shuffle_i32x4(w[16 + c], w[24 + c], 0xee);
        _mm512_store_si512(tiles + c * BATCH, _mm512_shuffle_i32x4(a, d, 0x88));
        _mm512_store_si512(tiles + (8 + c) * BATCH, _mm512_shuffle_i32x4(a, d, 0xdd));
        _mm512_store_si512(tiles + (16 + c) * BATCH, _mm512_shuffle_i32x4(b, e, 0x88));
        _mm512_store_si512(tiles + (24 + c) * BATCH, _mm512_shuffle_i32x4(b, e, 0xdd));
    }
}

/* 32 images of 32 channels to two tiles: of either half of the channels, a pair of images a row. */
INLINE void pair_up(const group *v, bf16 *tiles) {
    const __m512i first = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36, 4,
                                           35, 3, 34, 2, 33, 1, 32, 0), second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
    for (int pair = 0; pair < TILE; pair++) {
        _mm512_store_si512(tiles + pair * GROUP, _mm512_permutex2var_epi16(v[2 * pair], first, v[2 * pair + 1]));
        _mm512_store_si512(tiles + (TILE + pair) * GROUP, _mm512_permutex2var_epi16(v[2 * pair], second, v[2 * pair + 1]));
    }
}

/* A band of one group of channels: row·column·2 tiles, transposed or in pairs. Images beyond the last are zero. */
INLINE void lay_terms(images of, int pooled, int transposed, long g, long first, long some, bf16 *tiles) {
    uint32_t mask = there(g * GROUP, of.channels);
    for (long y = 0; y < of.rows; y++)
        for (long x = 0; x < of.width; x++, tiles += PIXEL) {
            group v[BATCH];
            for (long i = 0; i < BATCH; i++)
                v[i] = i < some ? values_at(of, pooled, first + i, of.top + y, x, g, mask) : _mm512_setzero_si512();
            if (transposed) transpose(v, tiles);
            else pair_up(v, tiles);
        }
}

/* Products of 32 filters and 32 channels for a tap (i, j), over all pixels of a band that it leaves inside, added to their sums. */
INLINE void add_products(const bf16 *left, images out, const bf16 *right, images in, long i, long j, float *sums) {
    long from = j < 0 ? 1 : 0, to = smaller(out.width, in.width - j);
    for_each_sum(_tile_loadd, sums)
    for (int line = 0; line < SUMS / LANES; line++) _mm_prefetch(sums + SUMS + line * LANES, _MM_HINT_T0); /* the next tap's */
    for (long y = 0; y < out.rows; y++) {
        long row = out.top + y + i;
        if (row < 0 || row >= in.height) continue;
        for (long x = from; x < to; x++)
            multiply(left + (y * out.width + x) * PIXEL, right + ((row - in.top) * in.width + x + j) * PIXEL);
    }
    for_each_sum(_tile_stored, sums)
}

INLINE void add_gradients(images in, images out, int pooled, float *sums, long n, long rows, bf16 *rooms, long threads) {
    long left_at = band_values(rows + 2, in) * in.groups, room = left_at + band_values(rows, out);
    #pragma omp parallel num_threads(threads)
    {
        bf16 *right = rooms + omp_get_thread_num() * room, *left = right + left_at;
        float *own = sums + omp_get_thread_num() * out.groups * in.groups * TAPS * SUMS;
        set_up();
        #pragma omp for schedule(static)
        for (long first = 0; first < n; first += BATCH)
            for (long top = 0; top < out.height; top += rows) {
                long some = smaller(BATCH, n - first);
                images x = band_of(in, top - 1, top + rows + 1), dy = band_of(out, top, top + rows);
                long plane = x.rows * x.width * PIXEL;
                for (long c = 0; c < in.groups; c++) lay_terms(x, 0, 0, c, first, some, right + c * plane);
                float *to = own;
                for (long k = 0; k < out.groups; k++) {
                    lay_terms(dy, pooled, 1, k, first, some, left);
                    for (long c = 0; c < in.groups; c++)
                        for (int tap = 0; tap < TAPS; tap++, to += SUMS)
                            add_products(left, dy, right + c * plane, x, tap / 3 - 1, tap % 3 - 1, to);
                }
            }
        _tile_release();
    }
}

/* sums: thread·(count / 32)·(channels / 32)·9·SUMS, zero at first. */
void gradient_of_filters(const bf16 *dy, const uint8_t *which, const bf16 *x, float *sums, long n, long height, long width,
                         long channels, long count, long rows, bf16 *rooms, long threads) {
    images in = images_of(x, NULL, height, width, channels), out = images_of(dy, which, height, width, count);
    if (which) add_gradients(in, out, 1, sums, n, rows, rooms, threads);
    else add_gradients(in, out, 0, sums, n, rows, rooms, threads);
}

/* The gradient of filters, count·9·channels, out of what all threads added up. */
void gather_filters(const float *sums, float *filters, long threads, long count, long channels) {
    long wide = (channels + GROUP - 1) / GROUP, pairs = (count + GROUP - 1) / GROUP * wide;
    #pragma omp parallel for schedule(static)
    for (long k = 0; k < count; k++)
        for (int tap = 0; tap < TAPS; tap++)
            for (long c = 0; c < channels; c += LANES) {
                __m512 sum = _mm512_setzero_ps();
                for (long thread = 0; thread < threads; thread++)
                    sum += _mm512_load_ps(sums + ((thread * pairs + k / GROUP * wide + c / GROUP) * TAPS + tap) * SUMS
                                          + (k % GROUP / TILE * 2 + c % GROUP / TILE) * TILE * TILE + k % TILE * TILE);
                _mm512_mask_storeu_ps(filters + (k * TAPS + tap) * channels + c, there(c, channels), sum);
            }
}

/* Values that each thread needs room for. */
long room_values(long height, long width, long channels, long in_pooled, long count, long out_pooled, long rows) {
    uint8_t is;
    images in = images_of(NULL, in_pooled ? &is : NULL, height, width, channels);
    images out = images_of(NULL, out_pooled ? &is : NULL, height, width, count);
    return band_values(rows + 2, in) * in.groups + band_values(rows, out);
}

#else
long has_matrix_unit(void) { return 0; }

long room_values(void) { return 0; }
#endif
