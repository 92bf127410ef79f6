/* gio [-s] SECS JOBS DEPTH BLOCK_BYTES WRITE_PERCENT SPAN_BYTES DEV...: random I/O, nothing verified, as much as goes.
 *
 * Makes QEMU's overhead grow: many small writes in flight to an overlay with large clusters cost one cluster
 * each on the host. SPAN_BYTES 0 is the whole device. With -s each job begins at a random block and goes on from there
 * block by block. Ends with
 * "@@GIO ops=N errs=N secs=S iops=N maxlat_ms=N".
 */
#include "common.h"

struct tally {
    uint64_t ops, errs, maxlat_us;
};

struct load {
    unsigned depth, write_percent, sequential;
    uint64_t block_bytes, span, end_us;
};

static void run_job(const struct load *load, const char *device, uint64_t seed, struct tally *tally)
{
    uint64_t bytes = 0, blocks, block, random = mix64(seed + now_us());
    int fd = open_device(device, load->span, &bytes);
    aio_context_t context = aio_setup(load->depth);
    struct iocb *requests = zeroes(load->depth, sizeof *requests);
    struct io_event *events = zeroes(load->depth, sizeof *events);
    uint64_t *started = zeroes(load->depth, sizeof *started);
    unsigned *free_slots = zeroes(load->depth, sizeof *free_slots), free_count;
    unsigned char *buffers = aligned(load->depth * load->block_bytes);

    blocks = bytes / load->block_bytes;
    if (!blocks) {
        fprintf(stderr, "@@FAIL %s is smaller than one block\n", device);
        _exit(2);
    }
    for (free_count = 0; free_count < load->depth; free_count++)
        free_slots[free_count] = free_count;
    block = next_random(&random);
    for (;;) {
        int ended;

        while (free_count > 0 && now_us() < load->end_us) {
            unsigned slot = free_slots[--free_count];

            block = load->sequential ? block + 1 : next_random(&random);
            aio_prepare(&requests[slot], fd, next_random(&random) % 100u < load->write_percent,
                        buffers + slot * load->block_bytes, load->block_bytes,
                        block % blocks * load->block_bytes, slot);
            started[slot] = now_us();
            if (aio_submit(context, &requests[slot]) != 1) {
                tally->errs++;
                free_slots[free_count++] = slot;
                usleep(10000);
                break;
            }
        }
        if (free_count == load->depth) {
            if (now_us() >= load->end_us)
                return;
            continue;
        }
        ended = aio_wait(context, load->depth, events);
        for (int i = 0; i < ended; i++) {
            unsigned slot = (unsigned)events[i].data;
            uint64_t took = now_us() - started[slot];

            if (took > tally->maxlat_us)
                tally->maxlat_us = took;
            if (events[i].res == (int64_t)load->block_bytes)
                tally->ops++;
            else
                tally->errs++;
            free_slots[free_count++] = slot;
        }
    }
}

int main(int argc, char **argv)
{
    struct load load = { 0 };
    struct tally *tallies, all = { 0 };
    uint64_t began = now_us(), jobs, took;
    int children = 0, failed = 0, status;

    if (argc > 1 && !strcmp(argv[1], "-s")) {
        load.sequential = 1;
        argc--;
        argv++;
    }
    if (argc < 8) {
        fputs("usage: gio [-s] SECS JOBS DEPTH BLOCK_BYTES WRITE_PERCENT SPAN_BYTES DEV...\n", stderr);
        return 2;
    }
    load.end_us = began + number(argv[1], "SECS") * 1000000u;
    jobs = number(argv[2], "JOBS");
    load.depth = (unsigned)number(argv[3], "DEPTH");
    load.block_bytes = number(argv[4], "BLOCK_BYTES");
    load.write_percent = (unsigned)number(argv[5], "WRITE_PERCENT");
    load.span = number(argv[6], "SPAN_BYTES");
    if (jobs < 1 || jobs > 64 || load.depth < 1 || load.depth > 1024 || load.block_bytes < 512 ||
        load.block_bytes % 512 || load.block_bytes > 1u << 22 || load.write_percent > 100) {
        fputs("@@FAIL JOBS is 1 to 64, DEPTH 1 to 1024, BLOCK_BYTES a multiple of 512 up to 4194304, "
              "WRITE_PERCENT up to 100\n",
              stderr);
        return 2;
    }
    tallies = shared_zeroes((size_t)jobs * (size_t)(argc - 7) * sizeof *tallies);
    for (int device = 7; device < argc; device++)
        for (uint64_t job = 0; job < jobs; job++, children++) {
            pid_t child = fork();

            if (child < 0)
                fail("fork");
            if (child == 0) {
                run_job(&load, argv[device], (uint64_t)children, &tallies[children]);
                _exit(0);
            }
        }
    while (wait(&status) > 0)
        failed |= status != 0;
    for (int i = 0; i < children; i++) {
        all.ops += tallies[i].ops;
        all.errs += tallies[i].errs;
        if (tallies[i].maxlat_us > all.maxlat_us)
            all.maxlat_us = tallies[i].maxlat_us;
    }
    took = now_us() - began;
    printf("@@GIO ops=%" PRIu64 " errs=%" PRIu64 " secs=%.1f iops=%" PRIu64 " maxlat_ms=%" PRIu64 "\n", all.ops,
           all.errs, (double)took / 1e6, took ? all.ops * 1000000u / took : 0, all.maxlat_us / 1000u);
    return failed;
}
