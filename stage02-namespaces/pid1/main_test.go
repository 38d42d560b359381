package pid1_test

import (
	"os"
	"os/signal"
	"testing"

	"golang.org/x/sys/unix"
)

// Whoever starts the tests may ignore signals, nohup(1) and a shell's background
// jobs do, and what is ignored stays ignored across execve(2). A signal that has a
// handler becomes the default one there, which the tests begin with.
func TestMain(m *testing.M) {
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE)
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, unix.SIGINT)
	go func() {
		<-interrupted
		os.Exit(1)
	}()
	os.Exit(m.Run())
}
