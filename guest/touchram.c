/* touchram MIB|all [HOLD_SECS]: writes to every page of that much of the guest's RAM, then gives it back to the guest.
 *
 * The host keeps the pages charged, the guest is free to use them again. Each page differs from all
 * others, so that KSM on the host can't merge them. "all" leaves 16 MiB or an eighth of what is available,
 * whichever is more, so that the guest's own OOM killer stays out of it. Prints "@@TOUCHED mib".
 */
#include "common.h"

#define MIB (1u << 20)
#define LEFT_MIB 16u

static uint64_t available_mib(void)
{
    char line[128];
    uint64_t kib = 0, left;
    FILE *file = fopen("/proc/meminfo", "re");

    if (!file)
        fail("/proc/meminfo");
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %" SCNu64 " kB", &kib) == 1)
            break;
    fclose(file);
    kib /= 1024u;
    left = kib / 8u > LEFT_MIB ? kib / 8u : LEFT_MIB;
    return kib > left ? kib - left : 0;
}

int main(int argc, char **argv)
{
    uint64_t mib, hold = 0, bytes;
    unsigned char *memory;

    if (argc < 2 || argc > 3) {
        fputs("usage: touchram MIB|all [HOLD_SECS]\n", stderr);
        return 2;
    }
    mib = strcmp(argv[1], "all") == 0 ? available_mib() : number(argv[1], "MIB");
    if (argc == 3)
        hold = number(argv[2], "HOLD_SECS");
    bytes = mib * MIB;
    if (bytes) {
        memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            fail("mmap");
        for (uint64_t at = 0; at < bytes; at += PAGE_BYTES)
            *(volatile uint64_t *)(memory + at) = mix64(at + now_us());
    }
    printf("@@TOUCHED %" PRIu64 "\n", mib);
    fflush(stdout);
    if (hold)
        sleep((unsigned)hold);
    return 0;
}
