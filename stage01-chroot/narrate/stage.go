package narrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The stage of a demonstration: a temporary folder, a shell in it, and this very
// program under its name.

// A Stage is a demonstration whose commands are command lines of sh(1), in a
// temporary folder. In them this program is called by its name.
type Stage struct {
	*Demo
	Context context.Context // its end ends the command that runs
	Dir     string          // the folder
	env     []string
	death   unix.Signal // what commands get when this process ends, or 0
}

// bin is where, below the folder, this program is found by its name. ls(1) does
// not show it.
const bin = ".bin"

// NewStage makes a stage for the program called name; flags are given to it
// each time, unseen. Close must be called in the end.
func NewStage(ctx context.Context, w io.Writer, name string, flags ...string) (*Stage, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	dir, err := os.MkdirTemp("", name+"-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the demonstration: %w", err)
	}
	s := &Stage{Demo: New(w), Context: ctx, Dir: dir}
	call := fmt.Sprintf("#!/bin/sh\nexec '%s' %s \"$@\"\n", self, strings.Join(flags, " "))
	err = os.Mkdir(s.Path(bin), 0o755)
	if err == nil {
		err = os.WriteFile(s.Path(bin+"/"+name), []byte(call), 0o755)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make %s callable: %w", name, err), s.Close())
	}
	return s, nil
}

// Close removes the folder.
func (s *Stage) Close() error { return os.RemoveAll(s.Dir) }

// Path is a file in the folder.
func (s *Stage) Path(name string) string { return s.Dir + "/" + name }

// Set sets a variable for the command lines that follow.
func (s *Stage) Set(name, value string) { s.env = append(s.env, name+"="+value) }

// KillWithUs sees to it that no command outlives this process, even where that
// is killed: PR_SET_PDEATHSIG, prctl(2). The signal comes when the thread ends
// that has started the command. So the caller must stay on its thread
// (runtime.LockOSThread), and start all commands itself.
func (s *Stage) KillWithUs() { s.death = unix.SIGKILL }

// patience is how long a command that was told to end may take for it.
const patience = 10 * time.Second

// Command is a command line, not run yet. The shell has a process group of its
// own, so that Ctrl-C and a signal to this process alone come to the same: all
// that the line has started gets SIGTERM, and can clean up.
func (s *Stage) Command(line string) *exec.Cmd {
	cmd := exec.CommandContext(s.Context, "/bin/sh", "-c", line)
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: s.death}
	cmd.Cancel = func() error {
		err := unix.Kill(-cmd.Process.Pid, unix.SIGTERM)
		if errors.Is(err, unix.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	cmd.WaitDelay = patience
	cmd.Dir = s.Dir
	cmd.Env = append(append(os.Environ(), "LC_ALL=C", "PATH="+s.Path(bin)+":"+os.Getenv("PATH")), s.env...)
	return cmd
}

// Do runs a command line as it is shown; Refused one that must fail.
func (s *Stage) Do(line string)      { s.Run(line, s.Command(line)) }
func (s *Stage) Refused(line string) { s.RunRefused(line, s.Command(line)) }

// A Background is a process that a demonstration has started, and must end.
type Background struct {
	stage *Stage
	cmd   *exec.Cmd // nil when it is over, or has not begun
}

// Background starts a command in the background, and sets the variable pid to
// its process id. It shows what a shell would be told. The process that is
// started is the command itself, so it must be one program.
func (s *Stage) Background(line string) *Background {
	b := &Background{stage: s}
	if s.Err() != nil {
		return b
	}
	s.Say("$ %s & pid=$!", line)
	cmd := s.Command("exec " + line)
	if err := cmd.Start(); err != nil {
		s.Fail(fmt.Errorf("start %s: %w", line, err))
		return b
	}
	b.cmd = cmd
	s.Set("pid", fmt.Sprint(cmd.Process.Pid))
	return b
}

// Pid is the process's id, or 0 if it could not be started.
func (b *Background) Pid() int {
	if b.cmd == nil {
		return 0
	}
	return b.cmd.Process.Pid
}

// Ended waits for a process that was attacked, shows how it ended, and fails
// unless something has ended it.
func (b *Background) Ended() {
	if b.cmd == nil || b.stage.Err() != nil {
		return
	}
	b.stage.Say("$ wait $pid")
	err := b.cmd.Wait()
	b.cmd = nil
	if err == nil {
		b.stage.Fail(errors.New("the process was to be ended, and was not"))
		return
	}
	b.stage.Show(err.Error())
}

// End ends the process, if nobody else has: with SIGTERM, so that it can clean
// up, and if that does not help with SIGKILL.
func (b *Background) End() {
	if b.cmd == nil {
		return
	}
	if err := b.cmd.Process.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		b.stage.Fail(err)
	}
	impatience := time.AfterFunc(patience, func() { _ = b.cmd.Process.Kill() }) // it may have ended just now
	_ = b.cmd.Wait()                                                            // says that it was ended
	impatience.Stop()
	b.cmd = nil
}
