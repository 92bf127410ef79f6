/* Stands for a guest where a thousand are needed: a few KiB of its own, and a page more for each SIGUSR1. */
#include <signal.h>
#include <sys/mman.h>

int main(void)
{
    sigset_t wanted;
    int number;
    char *pages = mmap(0, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    unsigned long at = 0;

    madvise(pages, 64 << 20, MADV_NOHUGEPAGE);
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGUSR1);
    sigprocmask(SIG_BLOCK, &wanted, 0);
    while (sigwait(&wanted, &number) == 0)
        /* 65 pages: more than the kernel charges ahead for one CPU, so that usage moves. */
        for (int i = 0; i < 65; i++, at += 4096)
            pages[at % (64 << 20)] = 1;
    return 0;
}
