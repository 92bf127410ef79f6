# A boot sector that writes one byte into each page from 4 MiB to 224 MiB, says "." for each MiB on the first serial
# port, "D" when all is written and "h" for as long as it lives after that.
.code16
.globl _start
_start:
    cli
    xor %ax, %ax
    mov %ax, %ds
    lgdt table_register
    mov $0x3f8, %dx
    mov $'B', %al
    outb %al, %dx
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmp $8, $flat
.code32
flat:
    mov $16, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    in $0x92, %al               # the A20 gate
    or $2, %al
    out %al, $0x92
    mov $(4 << 20), %edi
touch:
    movb $1, (%edi)
    add $4096, %edi
    test $0xfffff, %edi
    jnz within
    mov $0x3f8, %dx
    mov $'.', %al
    outb %al, %dx
within:
    cmp $(224 << 20), %edi
    jb touch
    mov $0x3f8, %dx
    mov $'D', %al
    outb %al, %dx
alive:
    mov $0x3f8, %dx
    mov $'h', %al
    outb %al, %dx
    mov $0x1000000, %ecx
wait:
    dec %ecx
    jnz wait
    jmp alive
.align 8
table:
    .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
table_register:
    .word 23
    .long table
.org 510
.word 0xaa55
