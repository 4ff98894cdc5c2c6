/* arena.h: what is handed out stays put and whole until it is taken back; marks, resets and sweeps
 * across chunks; a refused allocation changes nothing. Also built with the address sanitizer, under
 * which memory that is not handed out is poisoned. */
#include "arena.h"

#include <string.h>

#include "check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define IS_POISONED(p) __asan_address_is_poisoned(p)
#else
#define IS_POISONED(p) ((void)(p), true)
#endif

enum { CHUNK = 4096 };

static int64_t system_allocations(void)
{
    tt_memory m;
    mem_stats(&m);
    return m.system_allocations;
}

static int64_t system_bytes(void)
{
    tt_memory m;
    mem_stats(&m);
    return m.system_bytes;
}

/* n bytes that hold a pattern of their own. */
static unsigned char *take(arena *a, size_t n, unsigned char pattern)
{
    unsigned char *p = arena_alloc(a, n);
    CHECK(p != NULL, "%zu bytes were refused", n);
    CHECK((uintptr_t)p % TT_ALIGN == 0, "%p is not aligned", (void *)p);
    if (p != NULL) memset(p, pattern, n);
    return p;
}

static bool holds(const unsigned char *p, size_t n, unsigned char pattern)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != pattern) return false;
    }
    return true;
}

static void test_alloc(void)
{
    arena a;
    arena_init(&a, CHUNK);
    CHECK(a.used == 0 && a.capacity == 0 && a.chunks == 0, "an empty arena owns nothing");
    unsigned char *x = take(&a, 100, 1), *y = take(&a, 1, 2), *z = take(&a, 64, 3);
    unsigned char *none = arena_alloc(&a, 0), *also_none = arena_alloc(&a, 0);
    CHECK(none != NULL && none != also_none, "nothing has a place of its own too");
    CHECK(a.used == 128 + 64 + 64 + 64 + 64, "%zu bytes are in use", a.used);
    CHECK(a.chunks == 1 && a.capacity == CHUNK, "%zu chunks", a.chunks);
    CHECK(holds(x, 100, 1) && holds(y, 1, 2) && holds(z, 64, 3), "allocations overlap");
    unsigned char *large = take(&a, 10 * CHUNK, 4);
    CHECK(a.chunks == 2 && a.capacity >= 11 * CHUNK, "%zu bytes of capacity", a.capacity);
    CHECK(holds(large, 10 * CHUNK, 4) && holds(x, 100, 1), "the large one overlaps");
    CHECK(a.high_water == a.used, "%zu is the high water", a.high_water);
    arena_free(&a);
    CHECK(a.used == 0 && a.capacity == 0 && a.chunks == 0, "free left something");
}

static void test_absurd_sizes(void)
{
    arena a;
    arena_init(&a, CHUNK);
    take(&a, 10, 1);
    static const size_t sizes[] = {SIZE_MAX,
                                   SIZE_MAX - 63,
                                   SIZE_MAX / 2,
                                   PTRDIFF_MAX,
                                   (size_t)PTRDIFF_MAX - 64,
                                   (size_t)PTRDIFF_MAX - 300};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        CHECK(arena_alloc(&a, sizes[i]) == NULL, "%zu bytes were given", sizes[i]);
        CHECK(a.used == 64 && a.chunks == 1 && a.high_water == 64, "a refusal changed the arena");
    }
    arena_free(&a);
}

static void test_rewind_across_chunks(void)
{
    enum { N = 40 };
    arena a;
    arena_init(&a, CHUNK);
    unsigned char *kept = take(&a, 1000, 7);
    arena_mark mark = arena_here(&a);
    size_t used = a.used;
    unsigned char *first[N];
    for (int i = 0; i < N; i++) first[i] = take(&a, 900, (unsigned char)i);
    CHECK(a.chunks > 3, "%zu chunks: the test wants several", a.chunks);
    size_t most = a.used, chunks = a.chunks;
    int64_t asked = system_allocations();
    for (int round = 0; round < 3; round++) {
        arena_rewind(&a, mark);
        CHECK(a.used == used, "%zu bytes in use, not %zu", a.used, used);
        CHECK(a.chunks == chunks, "a rewind gives no memory back");
        CHECK(holds(kept, 1000, 7), "what is older than the mark was touched");
        CHECK(IS_POISONED(first[0]) && IS_POISONED(first[N - 1]), "taken back, but not poisoned");
        for (int i = 0; i < N; i++) {
            unsigned char *again = take(&a, 900, (unsigned char)(i + round));
            CHECK(again == first[i], "allocation %d of round %d lies elsewhere", i, round);
        }
        for (int i = 0; i < N; i++)
            CHECK(holds(first[i], 900, (unsigned char)(i + round)), "%d", i);
        CHECK(a.used == most && a.high_water == most, "%zu, %zu, %zu", a.used, a.high_water, most);
    }
    CHECK(system_allocations() == asked, "the same again asked the system");
    arena_free(&a);
}

static void test_marks_nest(void)
{
    arena a;
    arena_init(&a, CHUNK);
    arena_mark empty = arena_here(&a);
    unsigned char *x = take(&a, 3000, 1);
    arena_mark outer = arena_here(&a);
    unsigned char *y = take(&a, 3000, 2);
    arena_mark inner = arena_here(&a);
    take(&a, 30000, 3);
    arena_rewind(&a, inner);
    CHECK(holds(x, 3000, 1) && holds(y, 3000, 2), "the inner mark took too much");
    unsigned char *z = take(&a, 500, 4);
    arena_rewind(&a, outer);
    CHECK(holds(x, 3000, 1) && IS_POISONED(y) && IS_POISONED(z), "the outer mark took too little");
    CHECK(take(&a, 3000, 5) == y, "the same place again");
    arena_rewind(&a, empty);
    CHECK(a.used == 0 && IS_POISONED(x), "the mark of the empty arena takes everything");
    CHECK(take(&a, 3000, 6) == x, "from the first byte on");
    arena_free(&a);
}

/* A chunk behind the mark may be too small for what comes next: it is passed over, not used up. */
static void test_chunks_that_are_too_small_are_passed_over(void)
{
    arena a;
    arena_init(&a, CHUNK);
    take(&a, CHUNK - 64, 1);
    arena_mark mark = arena_here(&a);
    take(&a, 4000, 2);
    take(&a, 20000, 3);
    arena_rewind(&a, mark);
    unsigned char *large = take(&a, 20000, 4);
    unsigned char *small = take(&a, 64, 5);
    CHECK(holds(large, 20000, 4) && holds(small, 64, 5), "they overlap");
    size_t used = a.used;
    arena_rewind(&a, mark);
    CHECK(a.used == CHUNK - 64 && used == a.used + 20032 + 64, "%zu, %zu", a.used, used);
    arena_free(&a);
}

static void test_reset_merges(void)
{
    arena a;
    arena_init(&a, CHUNK);
    int64_t asked = 0;
    size_t most = 0;
    for (int round = 0; round < 6; round++) {
        int64_t before = system_allocations();
        for (int i = 0; i < 50; i++) take(&a, (size_t)(i * 37 % 1500), (unsigned char)i);
        asked = system_allocations() - before;
        if (round == 0) {
            most = a.used;
            CHECK(a.chunks > 2 && asked == (int64_t)a.chunks, "%zu chunks", a.chunks);
        } else {
            CHECK(a.chunks == 1, "round %d has %zu chunks", round, a.chunks);
            CHECK(a.capacity >= most && a.capacity < most + CHUNK, "%zu for %zu", a.capacity, most);
            CHECK(asked == (round == 1), "round %d asked %lld times", round, (long long)asked);
        }
        CHECK(a.used == most && a.high_water == most, "the rounds are the same");
        arena_reset(&a);
        CHECK(a.used == 0 && a.high_water == most, "reset takes all back and remembers the most");
    }
    arena_free(&a);
}

static void test_sweep_keeps_what_lives(void)
{
    enum { N = 12 };
    arena a;
    arena_init(&a, CHUNK);
    int64_t before = system_bytes();
    unsigned char *p[N];
    size_t sizes[N];
    for (int i = 0; i < N;
         i++) { /* each in a chunk of its own, since a chunk is as large as those before */
        sizes[i] = a.capacity == 0 ? CHUNK : a.capacity;
        if (i > 6) sizes[i] = 100;
        p[i] = take(&a, sizes[i], (unsigned char)i);
    }
    size_t chunks = a.chunks, used = a.used;
    int outside = 0;
    arena_sweep_begin(&a);
    arena_keep(&a, NULL);
    arena_keep(&a, &outside);
    arena_keep(&a, p[2]);
    arena_keep(&a, p[4] + sizes[4] - 1); /* any byte of it will do */
    arena_sweep(&a);
    CHECK(a.chunks == 3, "%zu of %zu chunks stay: two that live and the current one", a.chunks,
          chunks);
    CHECK(holds(p[2], sizes[2], 2) && holds(p[4], sizes[4], 4), "what was kept is whole");
    CHECK(holds(p[N - 1], sizes[N - 1], N - 1), "the newest allocation stays");
    size_t gone = sizes[0] + sizes[1] + sizes[3] + sizes[5];
    CHECK(a.used <= used - gone, "%zu bytes in use, of %zu %zu went", a.used, used, gone);
    CHECK(system_bytes() - before >= (int64_t)a.capacity, "the capacity is what the system gave");
    CHECK(system_bytes() - before < (int64_t)(a.capacity + 4 * 256), "and no more");

    unsigned char *more[20]; /* it goes on, without disturbing what lives */
    for (int i = 0; i < 20; i++) more[i] = take(&a, 3000, (unsigned char)(100 + i));
    for (int i = 0; i < 20; i++) CHECK(holds(more[i], 3000, (unsigned char)(100 + i)), "%d", i);
    CHECK(holds(p[2], sizes[2], 2) && holds(p[4], sizes[4], 4), "what was kept is still whole");

    arena_sweep_begin(&a); /* nothing lives: the current chunk stays */
    arena_sweep(&a);
    CHECK(a.chunks == 1, "%zu chunks", a.chunks);
    arena_reset(&a);
    CHECK(a.used == 0, "%zu bytes in use", a.used);
    arena_free(&a);
    CHECK(system_bytes() == before, "%lld bytes were lost", (long long)(system_bytes() - before));
}

/* The shape of a loop that always holds one graph: what is live is small and young, so the arena
 * must not grow with what is dead. */
static void test_sweeping_forever_stays_small(void)
{
    arena a;
    arena_init(&a, CHUNK);
    unsigned char *live = NULL;
    size_t most[2] = {0, 0}, since = 0;
    for (int i = 0; i < 40000; i++) {
        unsigned char *young = take(&a, 1024, (unsigned char)i);
        if (live != NULL) CHECK(holds(live, 1024, (unsigned char)(i - 1)), "round %d", i);
        live = young;
        since += 1024;
        if (since >= 4 * CHUNK) {
            arena_sweep_begin(&a);
            arena_keep(&a, live);
            arena_sweep(&a);
            since = 0;
        }
        if (a.capacity > most[i >= 20000]) most[i >= 20000] = a.capacity;
    }
    CHECK(most[1] <= most[0], "from %zu to %zu bytes and growing", most[0], most[1]);
    CHECK(most[0] <= 64 * CHUNK, "%zu bytes for one live kilobyte", most[0]);
    arena_free(&a);
}

/* Every pointer that is kept is looked up among the chunks. */
static void test_a_large_arena_has_few_chunks(void)
{
    enum { PIECE = 1 << 20, PIECES = 1024 };
    arena a;
    arena_init(&a, CHUNK);
    for (int i = 0; i < PIECES && arena_alloc(&a, PIECE) != NULL; i++) {}
    CHECK(a.used == (size_t)PIECES * PIECE, "%zu bytes in use", a.used);
    CHECK(a.chunks < 48, "%zu chunks for %d MiB", a.chunks, PIECES);
    arena_free(&a);
}

static void test_refused_allocations(void)
{
    arena a;
    arena_init(&a, CHUNK);
    unsigned char *x = take(&a, 2000, 1);
    arena before = a;
    tt_fail_allocation(1, 1);
    CHECK(arena_alloc(&a, 3000) == NULL, "there was no memory for a chunk");
    CHECK(memcmp(&a, &before, sizeof a) == 0, "a refusal changed the arena");
    unsigned char *y = arena_alloc(&a, 1000);
    CHECK(y != NULL, "what fits needs no new chunk");
    tt_fail_allocation(0, 0);
    CHECK(holds(x, 2000, 1), "a refusal touched what was there");

    /* The chunk that would have been good is refused, the one that will do is not. */
    take(&a, 100000, 2);
    size_t capacity = a.capacity;
    tt_fail_allocation(1, 0);
    take(&a, 5000, 3);
    tt_fail_allocation(0, 0);
    CHECK(a.capacity < capacity + 2 * CHUNK, "%zu after %zu", a.capacity, capacity);
    arena_free(&a);
}

/* Any order of calls, against a plain list of what should be there. */
static void test_random_calls(void)
{
    enum { MOST = 400, MARKS = 8 };
    static struct {
        unsigned char *p;
        size_t n;
        unsigned char pattern;
    } model[MOST];
    arena_mark marks[MARKS];
    int at[MARKS], n = 0, n_marks = 0;
    uint64_t state = 1;
    arena a;
    arena_init(&a, CHUNK);
    for (int step = 0; step < 20000; step++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        unsigned r = (unsigned)(state >> 33);
        if (r % 10 < 7 && n < MOST) {
            size_t size = r % 97 == 0 ? r % 30000 : r % 700;
            model[n].p = take(&a, size, (unsigned char)r);
            model[n].n = size;
            model[n++].pattern = (unsigned char)r;
        } else if (r % 10 == 7 && n_marks < MARKS) {
            marks[n_marks] = arena_here(&a);
            at[n_marks++] = n;
        } else if (r % 10 == 8 && n_marks > 0) {
            n_marks -= r % 3 == 0 && n_marks > 1 ? 2 : 1;
            arena_rewind(&a, marks[n_marks]);
            n = at[n_marks];
        } else if (r % 10 == 9 && (r % 50 == 9 || n == MOST)) {
            arena_reset(&a);
            n = n_marks = 0;
        }
        if (step % 50 == 0) {
            size_t used = 0;
            for (int i = 0; i < n; i++) {
                CHECK(holds(model[i].p, model[i].n, model[i].pattern), "step %d, block %d", step,
                      i);
                used += model[i].n == 0 ? TT_ALIGN : align_up(model[i].n);
            }
            CHECK(a.used == used, "step %d: %zu bytes in use, not %zu", step, a.used, used);
        }
    }
    arena_free(&a);
}

int main(void)
{
    int64_t before = system_bytes();
    test_alloc();
    test_absurd_sizes();
    test_rewind_across_chunks();
    test_marks_nest();
    test_chunks_that_are_too_small_are_passed_over();
    test_reset_merges();
    test_sweep_keeps_what_lives();
    test_sweeping_forever_stays_small();
    test_a_large_arena_has_few_chunks();
    test_refused_allocations();
    test_random_calls();
    CHECK(system_bytes() == before, "%lld bytes were lost", (long long)(system_bytes() - before));
    return check_result();
}
