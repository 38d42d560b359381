#include "go_asm.h"
#include "textflag.h"

// Where the program begins: see entry.go. The stack is as execve(2) has left it. System
// calls are made as in call_amd64.s.
TEXT _rt0_shortlived(SB), NOSPLIT|NOFRAME, $0
	// prctl(PR_GET_TIMERSLACK)
	MOVQ $const_sysPrctl, AX
	MOVQ $const_getTimerSlack, DI
	SYSCALL
	MOVQ AX, ·callers+limits_slack(SB)

	// prctl(PR_SET_TIMERSLACK, lateSlack)
	MOVQ $const_sysPrctl, AX
	MOVQ $const_setTimerSlack, DI
	MOVQ $const_lateSlack, SI
	SYSCALL

	// prlimit(0, RLIMIT_NOFILE, NULL, &callers.files)
	MOVQ $const_sysPrlimit, AX
	MOVQ $0, DI
	MOVQ $const_noFile, SI
	MOVQ $0, DX
	LEAQ ·callers+limits_files(SB), R10
	SYSCALL

	// prlimit(0, RLIMIT_NOFILE, &{3, callers.maxFiles}, NULL)
	MOVQ ·callers+limits_maxFiles(SB), AX
	MOVQ AX, ·threeFiles+8(SB)
	MOVQ $const_sysPrlimit, AX
	MOVQ $0, DI
	MOVQ $const_noFile, SI
	LEAQ ·threeFiles(SB), DX
	MOVQ $0, R10
	SYSCALL

	JMP _rt0_amd64_linux(SB)
