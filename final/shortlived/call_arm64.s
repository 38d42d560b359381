#include "textflag.h"

// func growStack()
//
// The assembler makes a function with a frame look for room first.
TEXT ·growStack(SB), 0, $40960-0
	RET

// func madvise(address, length, advice uintptr) int
//
// The kernel takes the number in X8 and the arguments from X0 on, and gives the
// result in X0: "Architecture calling conventions" in syscall(2).
TEXT ·madvise(SB), NOSPLIT, $0-32
	MOVD $233, R8
	MOVD address+0(FP), R0
	MOVD length+8(FP), R1
	MOVD advice+16(FP), R2
	SVC
	MOVD R0, ret+24(FP)
	RET
