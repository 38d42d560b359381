package namespace

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// The order in which a process gets into its namespaces, by clone3(2),
// unshare(2) and setns(2). The kernel's rules are these:
//
//   - Every namespace belongs to the user namespace in which it was made:
//     user_namespaces(7). Making or joining one needs CAP_SYS_ADMIN there. So
//     a new user namespace comes before all else that is new, and a joined one
//     before what belongs to it, but after what belongs to others.
//   - A process never changes its own pid namespace, nor, with unshare(2), its
//     time namespace: its children enter. So the process clones once more.
//     setns(2) with a time namespace is different: the caller itself enters
//     at once (time_namespaces(7) asks for a process of one thread), and the
//     clone is saved.
//   - The offsets of a new time namespace are written before the first
//     process enters.
//   - The cgroup in which a process makes a cgroup namespace is the root of
//     what that shows: cgroup_namespaces(7). So that one is made late, when
//     the parent has put the process into its cgroup.

// chapter is the chapter of workshop.md that explains these steps.
const chapter = 2

// late are the kinds that are made only after the parent has put the process
// into its cgroup.
const late = unix.CLONE_NEWCGROUP

// Born returns the namespaces that the process is born with: the flags for
// launch.Options. All that are new and not late are among them, but
//
//   - none where a user namespace is joined: it must be entered before the
//     others are made, so that it owns them;
//   - none where a user namespace is new and others are joined: once in it, the
//     process has no right to join what belongs to the old one;
//   - no time namespace: clone3(2) takes that only since Linux 6.3, and could
//     not set its offsets;
//   - with a new time namespace no pid namespace: Steps clones once more, and
//     it is the second process that must be number 1. Besides, a number 1 may
//     not clone a sibling (EINVAL).
func (s *Set) Born() uintptr {
	if s.joins(unix.CLONE_NEWUSER) || s.New(unix.CLONE_NEWUSER) && len(s.joined) > 0 {
		return 0
	}
	born := s.fresh &^ (late | unix.CLONE_NEWTIME)
	if s.New(unix.CLONE_NEWTIME) {
		born &^= unix.CLONE_NEWPID
	}
	return uintptr(born)
}

// Steps adds the steps that enter the namespaces that the process was not
// born with, save the late ones. They stand before anything that changes the
// process's ids.
//
// Until it executes a program, a process that joins a pid or a user namespace
// can be neither traced nor looked into by those in there: ptrace(2).
//
// The process that comes out of a joined user namespace still has its old
// ids, which mostly mean nobody there: the caller sets them (plan.Setgroups,
// Setresgid, Setresuid), after a new one once its maps are written. When
// launch.Start has returned, a new user namespace exists, and Maps.Write may
// be called.
func (s *Set) Steps(p *plan.Plan) {
	p.Section(chapter, "namespaces")
	s.openOffsets(p)
	if s.joins(unix.CLONE_NEWPID | unix.CLONE_NEWUSER) {
		// Who is in there, and may trace what belongs to that user namespace,
		// would find a process with the host's files and user ids in it
		// (CVE-2016-9962). execve(2) ends this: the program may be looked at.
		p.Add(plan.NotDumpable())
	}
	for _, j := range s.joined {
		p.Add(plan.Setns(plan.Descriptor{Number: int(j.file.Fd()), Name: j.name}, j.flags).Doing("%s", j.doing))
	}
	rest := s.fresh &^ late &^ int(s.Born())
	if rest != 0 {
		p.Add(unshare(rest))
	}
	s.writeOffsets(p)
	// The clone for a new user namespace is for the parent, which must not
	// write maps before there is one: launch.Start returns after the clone.
	const forChildren = unix.CLONE_NEWPID | unix.CLONE_NEWTIME | unix.CLONE_NEWUSER
	if s.joins(unix.CLONE_NEWPID) || rest&forChildren != 0 {
		p.Add(plan.CloneSibling().Hint(unix.ENOMEM, "process 1 of the pid namespace has ended, and nobody can enter it any more"))
	}
}

// unshare is the step for new namespaces, with the hint for where ordinary users
// get none.
func unshare(flags int) plan.Step {
	s := plan.Unshare(flags)
	if flags&unix.CLONE_NEWUSER != 0 {
		s = s.Hint(unix.EPERM, "in a chroot nobody gets a user namespace, and an ordinary user only where the distribution allows it")
	}
	return s
}

// LateSteps adds the step for a new cgroup namespace, for when the process is
// in its cgroup.
func (s *Set) LateSteps(p *plan.Plan) {
	if s.fresh&late != 0 {
		p.Section(chapter, "a cgroup namespace")
		p.Add(plan.Unshare(s.fresh & late))
	}
}

// arrange puts what is joined into the order in which it can be joined: what
// belongs to other user namespaces, the joined user namespace, and then what
// belongs to that. An ordinary user gains the right to join the last by joining
// the user namespace; even root loses, by joining it, the right to the first.
func (s *Set) arrange() error {
	user := slices.IndexFunc(s.joined, func(j *joined) bool { return j.flags&unix.CLONE_NEWUSER != 0 })
	if user < 0 || len(s.joined) == 1 {
		return nil
	}
	for _, j := range s.joined {
		if err := j.open(); err != nil {
			return err
		}
	}
	owner := s.joined[user]
	var before, after []*joined
	for _, j := range slices.Delete(slices.Clone(s.joined), user, user+1) {
		belongs, err := j.belongsTo(owner.parts[0])
		if err != nil {
			return err
		}
		if belongs {
			after = append(after, j)
		} else {
			before = append(before, j)
		}
	}
	s.joined = slices.Concat(before, []*joined{owner}, after)
	return nil
}

// belongsTo tells whether all that j joins belongs to this user namespace or
// to one below it.
func (j *joined) belongsTo(user *os.File) (bool, error) {
	for _, part := range j.parts {
		belongs, err := ownedBelow(part, user)
		if err != nil || !belongs {
			return false, err
		}
	}
	return true, nil
}

// ownedBelow climbs from the owner of a namespace towards the initial user
// namespace: ioctl_ns(2). The kernel shows no user namespace above our own
// (EPERM), and none of those is the one that is looked for.
func ownedBelow(ns, user *os.File) (bool, error) {
	want, err := user.Stat()
	if err != nil {
		return false, fmt.Errorf("look at user namespace: %w", err)
	}
	owner, err := Relative(ns, unix.NS_GET_USERNS)
	for ; err == nil && owner != nil; owner, err = parentOf(owner) {
		is, err := owner.Stat()
		if err != nil || os.SameFile(is, want) {
			return err == nil, errors.Join(err, owner.Close())
		}
	}
	return false, err
}

// parentOf is the user namespace above one, which it closes.
func parentOf(user *os.File) (*os.File, error) {
	parent, err := Relative(user, unix.NS_GET_PARENT)
	return parent, errors.Join(err, user.Close())
}

// Relative opens the namespace that ns belongs to (unix.NS_GET_USERNS) or is
// nested in (unix.NS_GET_PARENT): ioctl_ns(2). Its Name is its identity,
// "user:[4026531837]". It is nil when that is above our own namespaces, and out
// of our sight.
func Relative(ns *os.File, request uint) (*os.File, error) {
	fd, err := unix.IoctlRetInt(int(ns.Fd()), request)
	if errors.Is(err, unix.EPERM) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find the owner or parent of namespace %q: %w", ns.Name(), err)
	}
	// An open namespace has the same link below /proc/self/fd as below ns.
	id, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("identify a namespace: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), id), nil
}
