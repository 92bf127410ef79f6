/* What the test guest's tools share: clock, random numbers, Linux native AIO without a library.
 *
 * Linked statically and run as the only programs of a busybox guest, so the system calls are made directly:
 * libaio would be one more package to fetch on a bare machine.
 */
#ifndef GUESTROOM_COMMON_H
#define GUESTROOM_COMMON_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* O_DIRECT buffers are aligned to a page. */
#define PAGE_BYTES 4096u

/* Microseconds since boot; the same clock in every process of the guest. */
static inline uint64_t now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

/* SplitMix64 (Steele, Lea, Flood 2014): one multiplication-based step, good enough to choose blocks and fill them. */
static inline uint64_t mix64(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline uint64_t next_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    return mix64(*state);
}

/* A line goes out in one write(2): the tty keeps lines of several processes apart only then. */
static inline void say(const char *line, size_t bytes)
{
    while (bytes > 0) {
        ssize_t done = write(STDOUT_FILENO, line, bytes);

        if (done < 0 && errno != EINTR && errno != EAGAIN)
            return;
        if (done > 0) {
            line += done;
            bytes -= (size_t)done;
        }
    }
}

static inline void fail(const char *what)
{
    fprintf(stderr, "@@FAIL %s: %s\n", what, strerror(errno));
    exit(1);
}

/* A whole number, else wrong usage: a mistyped option must not become a zero. */
static inline uint64_t number(const char *text, const char *name)
{
    char *end = NULL;
    uint64_t value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno || end == text || *end != '\0' || *text == '-') {
        fprintf(stderr, "@@FAIL %s is not a number: %s\n", name, text);
        exit(2);
    }
    return value;
}

static inline void *shared_zeroes(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        fail("mmap");
    return memory;
}

static inline void *zeroes(size_t count, size_t bytes)
{
    void *memory = calloc(count ? count : 1, bytes);

    if (!memory)
        fail("calloc");
    return memory;
}

static inline unsigned char *aligned(size_t bytes)
{
    void *memory = NULL;

    errno = posix_memalign(&memory, PAGE_BYTES, bytes);
    if (errno)
        fail("posix_memalign");
    memset(memory, 0x5a, bytes);
    return memory;
}

/* The device opened past the guest's page cache, and its size, cut to `span` bytes where that is not 0. */
static inline int open_device(const char *path, uint64_t span, uint64_t *bytes)
{
    int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);

    if (fd < 0)
        fail(path);
    if (ioctl(fd, BLKGETSIZE64, bytes) < 0)
        fail("BLKGETSIZE64");
    if (span && span < *bytes)
        *bytes = span;
    return fd;
}

static inline aio_context_t aio_setup(unsigned depth)
{
    aio_context_t context = 0;

    if (syscall(SYS_io_setup, depth, &context) < 0)
        fail("io_setup");
    return context;
}

static inline int aio_submit(aio_context_t context, struct iocb *request)
{
    return (int)syscall(SYS_io_submit, context, 1L, &request);
}

/* Waits for at least one request; returns how many ended. */
static inline int aio_wait(aio_context_t context, unsigned most, struct io_event *events)
{
    for (;;) {
        long ended = syscall(SYS_io_getevents, context, 1L, (long)most, events, NULL);

        if (ended >= 0)
            return (int)ended;
        if (errno != EINTR)
            fail("io_getevents");
    }
}

static inline void aio_prepare(struct iocb *request, int fd, int write, unsigned char *buffer, uint64_t bytes,
                               uint64_t offset, unsigned slot)
{
    memset(request, 0, sizeof *request);
    request->aio_fildes = (uint32_t)fd;
    request->aio_lio_opcode = write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
    request->aio_buf = (uint64_t)(uintptr_t)buffer;
    request->aio_nbytes = bytes;
    request->aio_offset = (int64_t)offset;
    request->aio_data = slot;
}

#endif
