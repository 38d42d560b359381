#include "go_asm.h"
#include "textflag.h"

// Where the program begins: see entry.go. The stack is as execve(2) has left it. System
// calls are made as in call_arm64.s.
TEXT _rt0_shortlived(SB), NOSPLIT|NOFRAME, $0
	// prctl(PR_GET_TIMERSLACK)
	MOVD $const_sysPrctl, R8
	MOVD $const_getTimerSlack, R0
	SVC
	MOVD R0, ·callers+limits_slack(SB)

	// prctl(PR_SET_TIMERSLACK, lateSlack)
	MOVD $const_sysPrctl, R8
	MOVD $const_setTimerSlack, R0
	MOVD $const_lateSlack, R1
	SVC

	// prlimit(0, RLIMIT_NOFILE, NULL, &callers.files)
	MOVD $const_sysPrlimit, R8
	MOVD $0, R0
	MOVD $const_noFile, R1
	MOVD $0, R2
	MOVD $·callers+limits_files(SB), R3
	SVC

	// prlimit(0, RLIMIT_NOFILE, &{3, callers.maxFiles}, NULL)
	MOVD ·callers+limits_maxFiles(SB), R4
	MOVD R4, ·threeFiles+8(SB)
	MOVD $const_sysPrlimit, R8
	MOVD $0, R0
	MOVD $const_noFile, R1
	MOVD $·threeFiles(SB), R2
	MOVD $0, R3
	SVC

	JMP _rt0_arm64_linux(SB)
