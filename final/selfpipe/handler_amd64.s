#include "textflag.h"

// The handler of all signals, which the kernel calls with the signal's number in RDI:
// sigaction(2). It writes that to the pipe. If nobody reads, the pipe fills, and more
// signals are forgotten.
TEXT handler<>(SB), NOSPLIT, $16-0
	MOVB DI, number-1(SP)
	MOVL ·pipe(SB), DI
	LEAQ number-1(SP), SI
	MOVQ $1, DX
	MOVQ $1, AX // write
	SYSCALL
	RET

// Where the handler returns to: sigreturn(2).
TEXT restorer<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ $15, AX // rt_sigreturn
	SYSCALL
	INT $3 // it does not return

// func handlers() (handler, restorer uintptr)
TEXT ·handlers(SB), NOSPLIT, $0-16
	LEAQ handler<>(SB), AX
	MOVQ AX, handler+0(FP)
	LEAQ restorer<>(SB), AX
	MOVQ AX, restorer+8(FP)
	RET
