package launch

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/plan/machine"
)

// Until its execve(2) a child is this program, and /proc/PID/exe of it leads to this
// program's file on the host. Whoever sees the child in a container with root's
// rights, or is started by the child as "#!/proc/self/exe", could keep that file open
// and overwrite it once nobody runs it any more (CVE-2019-5736). runc starts itself
// again from a read-only mount or a copy in memory, which takes a second start.
//
// Here the child lets go of the file. It moves copies of the few pages that it still
// needs, which the parent has made, to where these pages are, unmaps all others of
// the file, and then may say that it runs another one (PR_SET_MM(2const)): an empty
// file in memory that nobody can change. It has less memory, too, while it waits.

// A Shed is what a child needs for it.
type Shed struct {
	exe   *os.File
	loop  []byte // a copy of what the child needs of this program
	steps []plan.Step
}

// CanShed tells whether a child of this process can let go of its program: the
// kernel must know how (CONFIG_CHECKPOINT_RESTORE), it takes CAP_SYS_ADMIN, and memory
// that was written to may be executed, which SELinux can forbid (execmem).
func CanShed() bool {
	shedding.once.Do(func() { shedding.can = canShed() })
	return shedding.can
}

// shedding is what canShed has found out, once.
var shedding struct {
	once sync.Once
	can  bool
}

func canShed() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var has [2]unix.CapUserData
	if unix.Capget(&header, &has[0]) != nil || has[0].Effective&(1<<unix.CAP_SYS_ADMIN) == 0 {
		return false
	}
	// A kernel that knows would write to address 0.
	if !errors.Is(unix.Prctl(unix.PR_SET_MM, unix.PR_SET_MM_MAP_SIZE, 0, 0, 0), unix.EFAULT) {
		return false
	}
	page, err := unix.Mmap(-1, 0, unix.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return false
	}
	err = unix.Mprotect(page, unix.PROT_READ|unix.PROT_EXEC)
	return errors.Join(err, unix.Munmap(page)) == nil
}

// NewShed prepares it. command is what the child is called meanwhile, in
// /proc/PID/cmdline.
func NewShed(command string) (*Shed, error) {
	s := &Shed{}
	if err := s.prepare(command); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare the child to let go of this program: %w", err), s.Close())
	}
	return s, nil
}

func (s *Shed) prepare(command string) (err error) {
	if s.exe, err = sealedFile("no program yet"); err != nil {
		return err
	}
	parts, err := machine.Self()
	if err != nil {
		return err
	}
	loop := machine.Code()
	if err := s.move("loop", loop); err != nil {
		return err
	}
	for i, part := range parts {
		name := fmt.Sprintf("program_%d", i+1)
		switch {
		case part.Start <= loop.Start && loop.End() <= part.End():
			s.unmap(name+"_before_loop", machine.Part{Start: part.Start, Size: loop.Start - part.Start})
			s.unmap(name+"_after_loop", machine.Part{Start: loop.End(), Size: part.End() - loop.End()})
		default:
			s.unmap(name, part)
		}
	}
	exe := plan.Descriptor{Number: int(s.exe.Fd()), Name: "empty_file"}
	s.steps = append(s.steps, plan.SetExe(exe, command), plan.Close(exe))
	return nil
}

// move copies a part of this program, and has the child put the copy into its place.
func (s *Shed) move(name string, part machine.Part) error {
	memory, err := unix.Mmap(-1, 0, int(part.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return fmt.Errorf("map %d bytes: %w", part.Size, err)
	}
	s.loop = memory
	copy(memory, part.Bytes())
	if err := unix.Mprotect(memory, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		return fmt.Errorf("protect the copy of %s: %w", name, err)
	}
	from := plan.Memory{Name: "copy_of_" + name, Start: machine.AddressOf(memory), Size: part.Size}
	s.steps = append(s.steps, plan.MoveMemory(from, plan.Memory{Name: name, Start: part.Start, Size: part.Size}))
	return nil
}

// unmap has the child do without a part of this program.
func (s *Shed) unmap(name string, part machine.Part) {
	if part.Size > 0 {
		s.steps = append(s.steps, plan.Unmap(plan.Memory{Name: name, Start: part.Start, Size: part.Size}))
	}
}

// Steps are what the child does, before it comes to where others see it. There are
// none for a nil Shed.
func (s *Shed) Steps() []plan.Step {
	if s == nil {
		return nil
	}
	return s.steps
}

// Close gives back what the parent holds for it, once the child is there.
func (s *Shed) Close() error {
	if s == nil {
		return nil
	}
	var errs []error
	if s.exe != nil {
		errs = append(errs, s.exe.Close())
		s.exe = nil
	}
	if s.loop != nil {
		errs = append(errs, unix.Munmap(s.loop))
		s.loop = nil
	}
	return errors.Join(errs...)
}

// sealedFile makes an empty file in memory that nobody can write to: memfd_create(2),
// "File sealing" in fcntl(2).
func sealedFile(name string) (*os.File, error) {
	// Only what may be executed can be what a process runs. Before Linux 6.3, which
	// knows MFD_EXEC, all such files may be.
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, hint.Add(fmt.Errorf("make a file in memory: %w", err), "sysctl vm.memfd_noexec=2 forbids it, 1 does not")
	}
	f := os.NewFile(uintptr(fd), name)
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, errors.Join(fmt.Errorf("seal a file in memory: %w", err), f.Close())
	}
	return f, nil
}
