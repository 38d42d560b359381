#include "textflag.h"

// func growStack()
//
// The assembler makes a function with a frame look for room first.
TEXT ·growStack(SB), 0, $40960-0
	RET

// func call(number, a0, a1, a2, a3 uintptr) int
//
// The kernel takes the number in RAX and the arguments in these registers, and
// gives the result in RAX: "Architecture calling conventions" in syscall(2).
TEXT ·call(SB), NOSPLIT, $0-48
	MOVQ number+0(FP), AX
	MOVQ a0+8(FP), DI
	MOVQ a1+16(FP), SI
	MOVQ a2+24(FP), DX
	MOVQ a3+32(FP), R10
	SYSCALL
	MOVQ AX, ret+40(FP)
	RET
