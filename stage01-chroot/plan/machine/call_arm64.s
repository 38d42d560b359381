#include "textflag.h"

// func call(number, a0, a1, a2, a3, a4, a5 uintptr) uintptr
//
// The kernel takes the number in X8 and the arguments in X0 to X5, and gives
// the result in X0: "Architecture calling conventions" in syscall(2).
TEXT ·call(SB), NOSPLIT, $0-64
	MOVD number+0(FP), R8
	MOVD a0+8(FP), R0
	MOVD a1+16(FP), R1
	MOVD a2+24(FP), R2
	MOVD a3+32(FP), R3
	MOVD a4+40(FP), R4
	MOVD a5+48(FP), R5
	SVC
	MOVD R0, ret+56(FP)
	RET

// func cloneChild(args *CloneArgs, size uintptr) uintptr
//
// In the child X0 is 0, and SP leads to childArgs. Go's functions take their first
// argument in X0 (go.dev/s/regabi).
TEXT ·cloneChild(SB), NOSPLIT|NOFRAME, $0-24
	MOVD $435, R8 // clone3
	MOVD args+0(FP), R0
	MOVD size+8(FP), R1
	SVC
	CBNZ R0, parent
	MOVD RSP, R0
	MOVD (R0), R1
	BL (R1)
	BRK // it does not return
parent:
	MOVD R0, ret+16(FP)
	RET
