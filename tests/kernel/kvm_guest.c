/* The smallest KVM guest: one vCPU in flat 32-bit mode that writes one byte into each page of its RAM.
 *
 *   kvm_guest BYTES
 *
 * It says "ready" and waits for a line, runs, and prints one line for each return of KVM_RUN:
 *   done PAGES MS           the guest has touched all its RAM
 *   failed ERRNO PAGES MS   KVM_RUN returned -1
 * after a failure it waits for a line again and runs on from the same instruction; end of input ends it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define CODE 0x1000u
#define FIRST 0x100000u /* above the code and the legacy hole */

static int call(int fd, unsigned long request, void *argument, const char *what)
{
    int got = ioctl(fd, request, argument);

    if (got < 0) {
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
        exit(1);
    }
    return got;
}

static double now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

/* mov edi, FIRST; again: mov byte [edi], 1; add edi, PAGE; cmp edi, END; jb again; out 0x10, al; hlt */
static void write_code(uint8_t *at, uint32_t end)
{
    static const uint8_t code[] = {0xbf, 0, 0, 0, 0, 0xc6, 0x07, 0x01, 0x81, 0xc7, 0, 0x10, 0, 0,
                                   0x81, 0xff, 0, 0, 0, 0, 0x72, 0xef, 0xe6, 0x10, 0xf4};
    uint32_t first = FIRST;

    memcpy(at, code, sizeof code);
    memcpy(at + 1, &first, 4);
    memcpy(at + 16, &end, 4);
}

static void flat(struct kvm_segment *segment, uint8_t type, uint16_t selector)
{
    *segment = (struct kvm_segment){.base = 0, .limit = 0xffffffff, .selector = selector, .type = type,
                                    .present = 1, .db = 1, .s = 1, .g = 1};
}

int main(int count, char **arguments)
{
    uint64_t size = count > 1 ? strtoull(arguments[1], NULL, 10) : 0;
    char line[16];
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (size <= FIRST || kvm < 0) {
        fprintf(stderr, "kvm_guest BYTES, and /dev/kvm: %s\n", strerror(errno));
        return 2;
    }
    int vm = call(kvm, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
    uint8_t *ram = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    madvise(ram, size, MADV_NOHUGEPAGE); /* so that pages touched are pages charged */
    write_code(ram + CODE, (uint32_t)size);
    struct kvm_userspace_memory_region region = {.slot = 0, .memory_size = size, .userspace_addr = (uintptr_t)ram};
    call(vm, KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION");

    int vcpu = call(vm, KVM_CREATE_VCPU, NULL, "KVM_CREATE_VCPU");
    int span = call(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL, "KVM_GET_VCPU_MMAP_SIZE");
    struct kvm_run *run = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    struct kvm_sregs sregs;
    struct kvm_regs regs = {.rip = CODE, .rflags = 2};
    call(vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
    flat(&sregs.cs, 11, 8);
    flat(&sregs.ds, 3, 16);
    sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.ds;
    sregs.cr0 |= 1;
    call(vcpu, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
    call(vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");

    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        double start = now_ms();
        int got = ioctl(vcpu, KVM_RUN, NULL), why = errno;
        double took = now_ms() - start;

        call(vcpu, KVM_GET_REGS, &regs, "KVM_GET_REGS");
        uint64_t pages = regs.rdi > FIRST ? (regs.rdi - FIRST) / PAGE : 0;
        if (got < 0)
            printf("failed %d %llu %.3f\n", why, (unsigned long long)pages, took);
        else if (run->exit_reason == KVM_EXIT_IO)
            printf("done %llu %.3f\n", (unsigned long long)pages, took);
        else
            printf("exit %u %llu %.3f\n", run->exit_reason, (unsigned long long)pages, took);
        fflush(stdout);
    }
    return 0;
}
