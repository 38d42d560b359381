package shortlived

// The numbers of system calls on this machine: asm/unistd.h of the kernel.

const (
	sysMadvise = 233
	sysPrctl   = 167
	sysPrlimit = 261
)
