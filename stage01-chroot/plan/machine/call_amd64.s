#include "textflag.h"

// func call(number, a0, a1, a2, a3, a4, a5 uintptr) uintptr
//
// The kernel takes the number in RAX and the arguments in these registers, and
// gives the result in RAX: "Architecture calling conventions" in syscall(2).
TEXT ·call(SB), NOSPLIT, $0-64
	MOVQ number+0(FP), AX
	MOVQ a0+8(FP), DI
	MOVQ a1+16(FP), SI
	MOVQ a2+24(FP), DX
	MOVQ a3+32(FP), R10
	MOVQ a4+40(FP), R8
	MOVQ a5+48(FP), R9
	SYSCALL
	MOVQ AX, ret+56(FP)
	RET

// func cloneChild(args *CloneArgs, size uintptr) uintptr
//
// In the child RAX is 0, and RSP leads to childArgs. Go's functions take their first
// argument in RAX (go.dev/s/regabi).
TEXT ·cloneChild(SB), NOSPLIT, $0-24
	MOVQ $435, AX // clone3
	MOVQ args+0(FP), DI
	MOVQ size+8(FP), SI
	SYSCALL
	TESTQ AX, AX
	JNZ parent
	MOVQ SP, AX
	MOVQ 0(AX), DX
	CALL DX
	INT $3 // it does not return
parent:
	MOVQ AX, ret+16(FP)
	RET
