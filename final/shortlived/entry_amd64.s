#include "go_asm.h"
#include "textflag.h"

// Where the program begins: see entry.go. The stack is as execve(2) has left it. System
// calls are made as in call_amd64.s.
TEXT _rt0_shortlived(SB), NOSPLIT|NOFRAME, $0
	// prlimit(0, RLIMIT_NOFILE, NULL, &callersFiles)
	MOVQ $const_sysPrlimit, AX
	MOVQ $0, DI
	MOVQ $const_noFile, SI
	MOVQ $0, DX
	LEAQ ·callersFiles(SB), R10
	SYSCALL

	// prlimit(0, RLIMIT_NOFILE, &{3, callersFiles.hard}, NULL)
	MOVQ ·callersFiles+limit_hard(SB), AX
	MOVQ AX, ·threeFiles+limit_hard(SB)
	MOVQ $const_sysPrlimit, AX
	MOVQ $0, DI
	MOVQ $const_noFile, SI
	LEAQ ·threeFiles(SB), DX
	MOVQ $0, R10
	SYSCALL

	JMP _rt0_amd64_linux(SB)
