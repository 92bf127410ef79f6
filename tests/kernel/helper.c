/* The small real process of the differential test: it does to memory what it is told, one line a command.
 *
 * It is C and static so that its own noise stays small: no interpreter whose heap grows between two readings.
 * Regions mirror guestroom.testing's SimProcess: `small` (4 KiB pages), `huge` (MADV_HUGEPAGE), `shm` (a memfd);
 * each grows at its end, `free` takes from the end, `discard` makes holes at the start, `retouch` fills them.
 * Answers: "ok" or the errno's number. No answer while the kernel lets it sleep is an answer too.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define PAGE 4096ul
#define HUGE 2097152ul
#define SPAN (256ul << 20)
#define PIPES 64

struct region {
    char *base;
    size_t end;
};

static struct region small_pages, huge_pages, shared_pages;
static int shm_fd = -1, source_fd = -1;
static int pipes[PIPES][2];
static int pipe_count;
static int thp_always;

static char *reserve(int fd)
{
    /* One span more than needed, so that the start can be aligned to a huge page. */
    char *map = mmap(NULL, SPAN + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char *base = (char *)(((size_t)map + HUGE - 1) & ~(HUGE - 1));
    int flags = MAP_FIXED | MAP_NORESERVE | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);

    if (map == MAP_FAILED || mmap(base, SPAN, PROT_READ | PROT_WRITE, flags, fd, 0) == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return base;
}

static void fill(char *from, char *to)
{
    for (; from < to; from += PAGE)
        *(volatile char *)from = 1;
}

static int grow(struct region *region, size_t size)
{
    if (region->end + size > SPAN)
        return ENOSPC;
    fill(region->base + region->end, region->base + region->end + size);
    region->end += size;
    return 0;
}

/* What a system call does when it copies to untouched memory: the fault comes in kernel mode and cannot sleep. */
static int grow_by_syscall(struct region *region, size_t size)
{
    ssize_t got;

    if (region->end + size > SPAN)
        return ENOSPC;
    errno = 0;
    got = read(source_fd, region->base + region->end, size);
    int failed = got < 0 ? errno : (size_t)got < size ? EFAULT : 0;
    region->end += size;
    return failed;
}

static int release(struct region *region, size_t size, int from_start)
{
    char *at;

    if (size > region->end)
        size = region->end;
    if (!from_start)
        region->end -= size;
    at = from_start ? region->base : region->base + region->end;
    return madvise(at, size, region == &shared_pages ? MADV_REMOVE : MADV_DONTNEED) ? errno : 0;
}

/* One huge page at a time: the kernel gives up a longer range at its first empty part. What was a hole is written to,
 * because zero-filled pages are given back when a huge page has to be split (6.12 and later). */
static int collapse(void)
{
    int failed = 0;

    for (char *at = small_pages.base; !failed && at + HUGE <= small_pages.base + small_pages.end; at += HUGE) {
        if (thp_always)
            madvise(at, HUGE, MADV_HUGEPAGE);
        if (madvise(at, HUGE, MADV_COLLAPSE) == 0)
            fill(at, at + HUGE);
        else if (errno != EINVAL) /* EINVAL: it is empty */
            failed = errno;
        if (thp_always)
            madvise(at, HUGE, MADV_NOHUGEPAGE);
    }
    return failed;
}

static int read_file(const char *path)
{
    static char buffer[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got;

    if (fd < 0)
        return errno;
    while ((got = read(fd, buffer, sizeof buffer)) > 0)
        ;
    int failed = got < 0 ? errno : 0;
    close(fd);
    return failed;
}

/* A full pipe of 1 MiB: kernel memory that is charged to the writer and that nothing reclaims. */
static int fill_pipes(size_t size)
{
    static char page[PAGE];

    for (size_t done = 0; done < size; done += 1 << 20) {
        if (pipe_count == PIPES)
            return ENOSPC;
        if (pipe2(pipes[pipe_count], O_NONBLOCK | O_CLOEXEC))
            return errno == ENFILE ? ENOMEM : errno; /* ENFILE: its inode could not be charged (fs/pipe.c) */
        int fd = pipes[pipe_count++][1];
        if (fcntl(fd, F_SETPIPE_SZ, 1 << 20) < 0)
            return errno;
        for (int i = 0; i < 256; i++)
            if (write(fd, page, PAGE) != (ssize_t)PAGE)
                return errno;
    }
    return 0;
}

static int close_pipes(void)
{
    while (pipe_count) {
        pipe_count--;
        close(pipes[pipe_count][0]);
        close(pipes[pipe_count][1]);
    }
    return 0;
}

static struct region *pick(const char *name)
{
    return strcmp(name, "huge") == 0 ? &huge_pages : strcmp(name, "shm") == 0 ? &shared_pages : &small_pages;
}

/* Take every page this program itself will ever need now, while nothing limits it: at a limit even the answer
 * would otherwise need a page of stack and sleep. Before the regions are mapped, so that they stay untouched. */
static int settle_down(void)
{
    char stack[65536], text[64] = "";

    memset(stack, 1, sizeof stack);
    for (int i = 0; i < 2; i++)
        snprintf(text, sizeof text, "%d %s %zu\n", (int)stack[i], "ok", sizeof stack);
    int fd = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, text, sizeof text - 1) > 0)
        thp_always = strstr(text, "[always]") != NULL;
    source_fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    return source_fd < 0 || mlockall(MCL_CURRENT);
}

int main(void)
{
    static char line[4096];
    char verb[32], word[4000];

    if (settle_down())
        return 1;
    small_pages.base = reserve(-1);
    huge_pages.base = reserve(-1);
    shm_fd = memfd_create("guestroom-test", MFD_CLOEXEC);
    if (shm_fd < 0 || ftruncate(shm_fd, SPAN))
        return 1;
    shared_pages.base = reserve(shm_fd);
    /* Where huge pages are given to everybody, small ones must be asked for. Not otherwise: changing that for a part
     * splits the mapping, which at a limit fails. */
    if (thp_always) {
        madvise(small_pages.base, SPAN, MADV_NOHUGEPAGE);
        madvise(shared_pages.base, SPAN, MADV_NOHUGEPAGE);
    }
    madvise(huge_pages.base, SPAN, MADV_HUGEPAGE);
    setvbuf(stdout, NULL, _IONBF, 0);
    printf("ready\n");
    while (fgets(line, sizeof line, stdin)) {
        size_t size = 0;
        int failed = EINVAL;

        word[0] = 0;
        if (sscanf(line, "%31s %3999s %zu", verb, word, &size) < 1)
            continue;
        if (!strcmp(verb, "touch"))
            failed = grow(pick(word), size);
        else if (!strcmp(verb, "syscall"))
            failed = grow_by_syscall(pick(word), size);
        else if (!strcmp(verb, "free"))
            failed = release(pick(word), size, 0);
        else if (!strcmp(verb, "discard"))
            failed = release(pick(word), size, 1);
        else if (!strcmp(verb, "retouch"))
            fill(pick(word)->base, pick(word)->base + pick(word)->end), failed = 0;
        else if (!strcmp(verb, "collapse"))
            failed = collapse();
        else if (!strcmp(verb, "read"))
            failed = read_file(word);
        else if (!strcmp(verb, "pipes"))
            failed = fill_pipes(size);
        else if (!strcmp(verb, "unpipe"))
            failed = close_pipes();
        else if (!strcmp(verb, "exit"))
            return 0;
        if (failed)
            printf("%d\n", failed);
        else
            printf("ok\n");
    }
    return 0;
}
