#include "textflag.h"

// The handler of all signals, which the kernel calls with the signal's number in X0:
// sigaction(2). It writes that to the pipe. If nobody reads, the pipe fills, and more
// signals are forgotten. It returns to what the kernel has put into the link register.
TEXT handler<>(SB), NOSPLIT, $16-0
	MOVB R0, number-1(SP)
	MOVW ·pipe(SB), R0
	MOVD $number-1(SP), R1
	MOVD $1, R2
	MOVD $64, R8 // write
	SVC
	RET

// func handlers() (handler, restorer uintptr)
TEXT ·handlers(SB), NOSPLIT, $0-16
	MOVD $handler<>(SB), R0
	MOVD R0, handler+0(FP)
	MOVD ZR, restorer+8(FP)
	RET
