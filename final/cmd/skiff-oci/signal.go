package main

import (
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Signals by name, as kill(1) takes them: signal(7).

// signalByName finds a signal by number or name: 15, TERM, SIGTERM.
func signalByName(text string) (syscall.Signal, bool) {
	if n, err := strconv.Atoi(text); err == nil {
		return syscall.Signal(n), n >= 0 && n <= 64 // 0 only looks whether the process is there: kill(2)
	}
	s := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(text), "SIG"))
	return s, s != 0
}
