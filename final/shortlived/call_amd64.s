#include "textflag.h"

// func growStack()
//
// The assembler makes a function with a frame look for room first.
TEXT ·growStack(SB), 0, $40960-0
	RET

// func madvise(address, length, advice uintptr) int
//
// The kernel takes the number in RAX and the arguments in these registers, and
// gives the result in RAX: "Architecture calling conventions" in syscall(2).
TEXT ·madvise(SB), NOSPLIT, $0-32
	MOVQ $28, AX
	MOVQ address+0(FP), DI
	MOVQ length+8(FP), SI
	MOVQ advice+16(FP), DX
	SYSCALL
	MOVQ AX, ret+24(FP)
	RET
