# The guest of `multifd bench checkpoint`: no kernel, no disk, half a kilobyte. It fills a working set with text-like
# pages, and then rewrites so many of them every 10 ms; in between it sleeps, so it costs a processor nothing else.
#
# A multiboot 1 image (QEMU's -kernel, machines of the PC kind), 32-bit, flat. LoadGuest.swift has the bytes and sets
# `rate` and `pages`; `rounds` and `ready` can be read through the monitor.
#
#   as --32 -o loadguest.o loadguest.s && ld -m elf_i386 -Ttext 0x100000 -e entry -o loadguest.elf loadguest.o &&
#   objcopy -O binary -j .text loadguest.elf loadguest.bin

        .code32
        .text
        .set    WORKING_SET, 0x1000000          # 16 MiB
        .set    WORDS, 0x200000                 # 256 words of 8 bytes
        .set    STACK, 0x210000
        .set    TICK, 11932                     # of 1193182 Hz: 10 ms

image:  .long   0x1badb002, 0x00010000, -(0x1badb002 + 0x00010000)
        .long   image, image, end, end, entry
rate:   .long   0                               # pages every 10 ms
pages:  .long   16384                           # of the working set
ready:  .long   0                               # 1: the working set is filled
rounds: .long   0                               # pages rewritten so far
ticks:  .long   0

syllables:
        .ascii  "ka  to  re  mi  no  sa  lu  ve  di  po  an  er  is  th  on  ing "

        .balign 8
segments: .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
segmentsr: .word 23
        .long   segments
        .balign 8
interrupts: .skip 0x20 * 8                      # the timer's only; the processor's own would be a fault here anyway
timer:  .quad   0
interruptsr: .word 0x21 * 8 - 1
        .long   interrupts

entry:  cli
        cld
        movl    $STACK, %esp
        lgdt    segmentsr
        ljmp    $8, $1f
1:      movw    $16, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss

        movl    $WORDS, %edi                    # a word is two syllables
        xorl    %ecx, %ecx
2:      movl    %ecx, %eax
        andl    $15, %eax
        movl    syllables(, %eax, 4), %eax
        stosl
        movl    %ecx, %eax
        shrl    $4, %eax
        movl    syllables(, %eax, 4), %eax
        stosl
        incb    %cl
        jnz     2b

        movl    $0x2545f491, %ebp               # the random state
        xorl    %esi, %esi                      # the next page
        movl    pages, %ebx
3:      call    page
        decl    %ebx
        jnz     3b
        movl    $0, rounds
        movl    $1, ready

        movl    $tick, %eax                     # a 32-bit interrupt gate
        movw    %ax, timer
        movw    $8, timer + 2
        movw    $0x8e00, timer + 4
        shrl    $16, %eax
        movw    %ax, timer + 6
        lidt    interruptsr
        movb    $0x11, %al                      # both interrupt controllers, the timer at 0x20, all else masked
        outb    %al, $0x20
        outb    %al, $0xa0
        movb    $0x20, %al
        outb    %al, $0x21
        movb    $0x28, %al
        outb    %al, $0xa1
        movb    $4, %al
        outb    %al, $0x21
        movb    $2, %al
        outb    %al, $0xa1
        movb    $1, %al
        outb    %al, $0x21
        outb    %al, $0xa1
        movb    $0xfe, %al
        outb    %al, $0x21
        movb    $0xff, %al
        outb    %al, $0xa1
        movb    $0x34, %al                      # counter 0, mode 2
        outb    %al, $0x43
        movb    $TICK & 255, %al
        outb    %al, $0x40
        movb    $TICK >> 8, %al
        outb    %al, $0x40

4:      cli
        cmpl    $0, ticks
        jne     5f
        sti
        hlt
        jmp     4b
5:      decl    ticks
        sti
        movl    rate, %ebx
6:      decl    %ebx
        js      4b
        call    page
        jmp     6b

tick:   pushl   %eax
        cmpl    $16, ticks                      # what could not be kept up with is let go
        jae     7f
        incl    ticks
7:      movb    $0x20, %al
        outb    %al, $0x20
        popl    %eax
        iret

# Rewrites page %esi of the working set with 512 words at random, and goes on to the next.
page:   movl    %esi, %edi
        shll    $12, %edi
        addl    $WORKING_SET, %edi
        movl    $128, %ecx
8:      movl    %ebp, %eax                      # xorshift32: four words of its four bytes
        shll    $13, %eax
        xorl    %eax, %ebp
        movl    %ebp, %eax
        shrl    $17, %eax
        xorl    %eax, %ebp
        movl    %ebp, %eax
        shll    $5, %eax
        xorl    %eax, %ebp
        movl    %ebp, %edx
        .rept   4
        movzbl  %dl, %eax
        pushl   WORDS(, %eax, 8)
        popl    (%edi)
        pushl   WORDS + 4(, %eax, 8)
        popl    4(%edi)
        addl    $8, %edi
        shrl    $8, %edx
        .endr
        decl    %ecx
        jnz     8b
        incl    rounds
        incl    %esi
        cmpl    pages, %esi
        jb      9f
        xorl    %esi, %esi
9:      ret
        .balign 4
end:
