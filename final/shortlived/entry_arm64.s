#include "go_asm.h"
#include "textflag.h"

// Where the program begins: see entry.go. The stack is as execve(2) has left it. System
// calls are made as in call_arm64.s.
TEXT _rt0_shortlived(SB), NOSPLIT|NOFRAME, $0
	// prlimit(0, RLIMIT_NOFILE, NULL, &callersFiles)
	MOVD $const_sysPrlimit, R8
	MOVD $0, R0
	MOVD $const_noFile, R1
	MOVD $0, R2
	MOVD $·callersFiles(SB), R3
	SVC

	// prlimit(0, RLIMIT_NOFILE, &{3, callersFiles.hard}, NULL)
	MOVD ·callersFiles+limit_hard(SB), R4
	MOVD R4, ·threeFiles+limit_hard(SB)
	MOVD $const_sysPrlimit, R8
	MOVD $0, R0
	MOVD $const_noFile, R1
	MOVD $·threeFiles(SB), R2
	MOVD $0, R3
	SVC

	JMP _rt0_arm64_linux(SB)
