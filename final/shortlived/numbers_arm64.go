package shortlived

// The numbers of system calls on this machine: asm/unistd.h of the kernel.

const (
	sysGetdents64 = 61
	sysMadvise    = 233
	sysOpenat     = 56
	sysPrctl      = 167
	sysPrlimit    = 261
	sysClose      = 57
	sysWrite      = 64
)
