/* heartbeat PERIOD_MS: one line "@@HB seq uptime_ms" per period, so that the host can see the guest's vCPUs run.
 *
 * It runs at real-time priority with its memory locked: a gap then means that the vCPU stood still or the
 * serial port was not read, never that the guest itself was busy. After a gap it goes on with the next line
 * and does not send the missed ones, so the host reads the gap from uptime_ms.
 */
#include "common.h"
#include <sched.h>

int main(int argc, char **argv)
{
    struct sched_param priority = { .sched_priority = 1 };
    uint64_t period_us, due, seq = 0;

    if (argc != 2) {
        fputs("usage: heartbeat PERIOD_MS\n", stderr);
        return 2;
    }
    period_us = number(argv[1], "PERIOD_MS") * 1000u;
    if (period_us == 0) {
        fputs("@@FAIL PERIOD_MS is 0\n", stderr);
        return 2;
    }
    /* Both may be refused by a kernel without real-time group time; the heartbeat is then only less precise. */
    (void)sched_setscheduler(0, SCHED_FIFO, &priority);
    (void)mlockall(MCL_CURRENT | MCL_FUTURE);

    for (due = now_us();; seq++) {
        char line[64];
        uint64_t now = now_us();
        int bytes = snprintf(line, sizeof line, "@@HB %" PRIu64 " %" PRIu64 "\n", seq, now / 1000u);

        say(line, (size_t)bytes);
        now = now_us();
        due += period_us;
        if (due <= now)
            due = now + period_us;
        usleep((useconds_t)(due - now));
    }
}
