package shortlived

// The numbers of system calls on this machine: asm/unistd.h of the kernel.

const (
	sysMadvise = 28
	sysPrctl   = 157
	sysPrlimit = 302
)
