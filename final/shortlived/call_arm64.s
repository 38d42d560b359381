#include "textflag.h"

// func growStack()
//
// The assembler makes a function with a frame look for room first.
TEXT ·growStack(SB), 0, $40960-0
	RET

// func call(number, a0, a1, a2, a3 uintptr) int
//
// The kernel takes the number in X8 and the arguments from X0 on, and gives the
// result in X0: "Architecture calling conventions" in syscall(2).
TEXT ·call(SB), NOSPLIT, $0-48
	MOVD number+0(FP), R8
	MOVD a0+8(FP), R0
	MOVD a1+16(FP), R1
	MOVD a2+24(FP), R2
	MOVD a3+32(FP), R3
	SVC
	MOVD R0, ret+40(FP)
	RET
