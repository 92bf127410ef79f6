/* verify DEPTH JOBS SPAN_BYTES RATE DEV: endless random writes to a block device, read back and compared.
 *
 * Each job owns every JOBS-th block of 4 KiB and keeps DEPTH requests in flight; about every fourth request reads
 * a block written earlier in this boot and compares all of its bytes with what was written last. Contents
 * depend on this run's salt, the block and how often it was written, so a lost write, a misplaced one, an old
 * one and a torn one are all seen. A block whose write failed is not judged until it is written again.
 *
 * Every second: "@@IO ops=N errs=N mismatch=N verified=N maxlat_ms=N": requests that ended well, requests
 * that failed, blocks with wrong contents, blocks compared, all since the start; and the longest latency of
 * a request that ended since the line before. RATE 0 means as fast as the device allows, else at most RATE
 * requests per second over all jobs.
 */
#include "common.h"
#include <sys/prctl.h>
#include <signal.h>
#include <sys/random.h>

#define BLOCK_BYTES PAGE_BYTES
#define WORDS (BLOCK_BYTES / sizeof(uint64_t))
/* One request in this many reads back. */
#define VERIFY_EVERY 4u
/* Details of the first wrong blocks are printed; after that they are only counted. */
#define SHOWN_MISMATCHES 5u
/* After a failed request: a device that fails everything must not become a busy loop. */
#define ERROR_PAUSE_US 10000u

struct tally {
    uint64_t ops, errs, mismatch, verified, maxlat_us;
};

struct slot {
    uint64_t block; /* index within the job's own blocks */
    uint64_t started_us;
    int writes;
};

struct job {
    int fd;
    unsigned depth, jobs, index;
    uint64_t salt, blocks, rate, random;
    struct tally *tally;
    aio_context_t context;
    struct iocb *requests;
    struct slot *slots;
    unsigned *free_slots, free_count;
    unsigned char *buffers;
    uint32_t *times;     /* how often each block was written; 0: not yet, or its contents are unknown */
    uint32_t *last_time; /* the newest number given out, also for writes that failed */
    unsigned char *busy;
    uint32_t *written, written_count; /* blocks that were ever written, in no order */
    uint64_t submitted, began_us;
};

static uint64_t device_block(const struct job *job, uint64_t block)
{
    return block * job->jobs + job->index;
}

static uint64_t seed_of(const struct job *job, uint64_t block, uint32_t time)
{
    return mix64(job->salt ^ mix64(device_block(job, block)) ^ ((uint64_t)time << 32 | time));
}

static void fill(uint64_t *words, uint64_t seed)
{
    for (unsigned i = 0; i < WORDS; i++)
        words[i] = next_random(&seed);
}

static int first_wrong_word(const uint64_t *words, uint64_t seed)
{
    for (unsigned i = 0; i < WORDS; i++)
        if (words[i] != next_random(&seed))
            return (int)i;
    return -1;
}

static void raise_to(uint64_t *most, uint64_t value)
{
    uint64_t seen = __atomic_load_n(most, __ATOMIC_RELAXED);

    while (seen < value && !__atomic_compare_exchange_n(most, &seen, value, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

static void count(uint64_t *counter)
{
    __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

/* A block to read back, or one to write; -1 when all that were tried are in flight. */
static int64_t choose(struct job *job, int writes)
{
    for (int tries = 0; tries < 64; tries++) {
        uint64_t block;

        if (!writes && !job->written_count)
            break;
        block = writes ? next_random(&job->random) % job->blocks
                       : job->written[next_random(&job->random) % job->written_count];
        if (!job->busy[block] && (writes || job->times[block]))
            return (int64_t)block;
    }
    return -1;
}

static int start_one(struct job *job)
{
    int writes = next_random(&job->random) % VERIFY_EVERY != 0;
    int64_t block = choose(job, writes);
    unsigned index;
    struct slot *slot;
    unsigned char *buffer;

    if (block < 0 && !writes) {
        writes = 1;
        block = choose(job, writes);
    }
    if (block < 0)
        return 0;
    index = job->free_slots[--job->free_count];
    slot = &job->slots[index];
    buffer = job->buffers + (size_t)index * BLOCK_BYTES;
    *slot = (struct slot){ .block = (uint64_t)block, .started_us = now_us(), .writes = writes };
    if (writes) {
        fill((uint64_t *)buffer, seed_of(job, slot->block, ++job->last_time[block]));
    } else {
        memset(buffer, 0, BLOCK_BYTES);
    }
    aio_prepare(&job->requests[index], job->fd, writes, buffer, BLOCK_BYTES,
                device_block(job, slot->block) * BLOCK_BYTES, index);
    job->busy[block] = 1;
    if (aio_submit(job->context, &job->requests[index]) != 1) {
        count(&job->tally->errs);
        if (writes)
            job->last_time[block]--; /* it never left */
        job->busy[block] = 0;
        job->free_slots[job->free_count++] = index;
        usleep(ERROR_PAUSE_US);
        return 0;
    }
    job->submitted++;
    return 1;
}

static void compare(struct job *job, const struct slot *slot, const unsigned char *buffer)
{
    int wrong = first_wrong_word((const uint64_t *)buffer, seed_of(job, slot->block, job->times[slot->block]));

    count(&job->tally->verified);
    if (wrong < 0)
        return;
    count(&job->tally->mismatch);
    if (__atomic_load_n(&job->tally->mismatch, __ATOMIC_RELAXED) <= SHOWN_MISMATCHES) {
        char line[96];
        int bytes = snprintf(line, sizeof line, "@@BAD offset=%" PRIu64 " byte=%u writes=%" PRIu32 "\n",
                             device_block(job, slot->block) * BLOCK_BYTES, (unsigned)wrong * 8u,
                             job->times[slot->block]);

        say(line, (size_t)bytes);
    }
    job->times[slot->block] = 0; /* counted once, judged again after the next write */
}

static void finish_one(struct job *job, const struct io_event *event)
{
    unsigned index = (unsigned)event->data;
    struct slot *slot = &job->slots[index];
    int well = event->res == (int64_t)BLOCK_BYTES;

    raise_to(&job->tally->maxlat_us, now_us() - slot->started_us);
    count(well ? &job->tally->ops : &job->tally->errs);
    if (slot->writes) {
        if (job->last_time[slot->block] == 1)
            job->written[job->written_count++] = (uint32_t)slot->block;
        job->times[slot->block] = well ? job->last_time[slot->block] : 0;
    } else if (well) {
        compare(job, slot, job->buffers + (size_t)index * BLOCK_BYTES);
    }
    job->busy[slot->block] = 0;
    job->free_slots[job->free_count++] = index;
    if (!well)
        usleep(ERROR_PAUSE_US);
}

/* How many requests this job may have sent by now; held time is not made up for, so a thaw brings no burst. */
static int may_start(struct job *job)
{
    uint64_t now = now_us(), allowed;

    if (!job->rate)
        return 1;
    allowed = (now - job->began_us) * job->rate / 1000000u;
    if (allowed > job->submitted + job->depth) {
        job->began_us = now;
        job->submitted = 0;
        return 1;
    }
    return allowed > job->submitted;
}

static void run_job(struct job *job)
{
    struct io_event *events = zeroes(job->depth, sizeof *events);

    job->context = aio_setup(job->depth);
    job->requests = zeroes(job->depth, sizeof *job->requests);
    job->slots = zeroes(job->depth, sizeof *job->slots);
    job->free_slots = zeroes(job->depth, sizeof *job->free_slots);
    job->buffers = aligned((size_t)job->depth * BLOCK_BYTES);
    job->times = zeroes(job->blocks, sizeof *job->times);
    job->last_time = zeroes(job->blocks, sizeof *job->last_time);
    job->busy = zeroes(job->blocks, 1);
    job->written = zeroes(job->blocks, sizeof *job->written);
    job->random = mix64(job->salt + job->index);
    job->began_us = now_us();
    for (job->free_count = 0; job->free_count < job->depth; job->free_count++)
        job->free_slots[job->free_count] = job->free_count;

    for (;;) {
        while (job->free_count > 0 && may_start(job) && start_one(job))
            ;
        if (job->free_count == job->depth) {
            usleep(1000);
            continue;
        }
        for (int i = 0, ended = aio_wait(job->context, job->depth, events); i < ended; i++)
            finish_one(job, &events[i]);
    }
}

static void report(struct tally *tally)
{
    char line[160];
    int bytes = snprintf(line, sizeof line,
                         "@@IO ops=%" PRIu64 " errs=%" PRIu64 " mismatch=%" PRIu64 " verified=%" PRIu64
                         " maxlat_ms=%" PRIu64 "\n",
                         __atomic_load_n(&tally->ops, __ATOMIC_RELAXED), __atomic_load_n(&tally->errs, __ATOMIC_RELAXED),
                         __atomic_load_n(&tally->mismatch, __ATOMIC_RELAXED),
                         __atomic_load_n(&tally->verified, __ATOMIC_RELAXED),
                         __atomic_exchange_n(&tally->maxlat_us, 0, __ATOMIC_RELAXED) / 1000u);

    say(line, (size_t)bytes);
}

int main(int argc, char **argv)
{
    struct job job = { 0 };
    uint64_t bytes = 0;
    int status;

    if (argc != 6) {
        fputs("usage: verify DEPTH JOBS SPAN_BYTES RATE DEV\n", stderr);
        return 2;
    }
    job.depth = (unsigned)number(argv[1], "DEPTH");
    job.jobs = (unsigned)number(argv[2], "JOBS");
    job.fd = open_device(argv[5], number(argv[3], "SPAN_BYTES"), &bytes);
    job.rate = number(argv[4], "RATE");
    if (job.depth < 1 || job.depth > 1024 || job.jobs < 1 || job.jobs > 64) {
        fputs("@@FAIL DEPTH is 1 to 1024, JOBS 1 to 64\n", stderr);
        return 2;
    }
    job.blocks = bytes / BLOCK_BYTES / job.jobs;
    if (job.blocks < 2u * job.depth) {
        fputs("@@FAIL the span is too small: it needs 2 x DEPTH x JOBS blocks of 4 KiB\n", stderr);
        return 2;
    }
    if (job.blocks > UINT32_MAX) {
        fputs("@@FAIL the span is too large: at most 2^32 blocks of 4 KiB per job\n", stderr);
        return 2;
    }
    if (job.rate)
        job.rate = job.rate / job.jobs ? job.rate / job.jobs : 1;
    if (getrandom(&job.salt, sizeof job.salt, GRND_NONBLOCK) != (ssize_t)sizeof job.salt)
        job.salt = mix64(now_us());
    job.tally = shared_zeroes(sizeof *job.tally);

    for (job.index = 0; job.index < job.jobs; job.index++) {
        pid_t child = fork();

        if (child < 0)
            fail("fork");
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            run_job(&job);
            _exit(0);
        }
    }
    for (;;) {
        sleep(1);
        report(job.tally);
        if (waitpid(-1, &status, WNOHANG) > 0) {
            fprintf(stderr, "@@FAIL a verifying job ended with status %d\n", status);
            return 1;
        }
    }
}
