package overlay

import (
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// The mount, as steps: fsopen(2), fsconfig(2), fsmount(2), move_mount(2). Each
// layer is a call of its own, so their number is bounded by overlayfs alone, and
// when one is refused the kernel says in words which, and why.

// option is a parameter of overlayfs; without a value it is a flag.
type option struct{ key, value string }

// options are those beside the directories. The first three parts of overlayfs
// are off, whatever the kernel's own default (distributions differ in it): each
// of them leaves in the upper directory something that is whole only together
// with a lower one, so that it would be no layer. See "redirect_dir", "metacopy",
// "index" in overlayfs.rst. For the same reason there are no data-only layers,
// datadir+: without metacopy nothing leads to them.
func (s Stack) options() []option {
	list := []option{{"redirect_dir", "nofollow"}, {"metacopy", "off"}, {"index", "off"}}
	if s.UserXattr {
		list = append(list, option{key: "userxattr"})
	}
	if s.Volatile {
		list = append(list, option{key: "volatile"})
	}
	return list
}

// Steps adds to p the steps that mount the stack on target, an absolute path.
// They change the current directory. It is an error, with numbers, if there are
// more lower directories than overlayfs takes, or with OnePage than fit.
func (s Stack) Steps(p *plan.Plan, target string) error {
	steps := s.byLayer
	if s.OnePage {
		steps = s.byPage
	}
	err := s.check()
	if !filepath.IsAbs(target) {
		err = fmt.Errorf("path is not absolute: %w", unix.EINVAL)
	}
	if err == nil {
		p.Section(chapter, "stack the layers")
		err = steps(p, target)
	}
	if err != nil {
		return fmt.Errorf("mount overlay on %q: %w", target, err)
	}
	return nil
}

// byLayer mounts layer by layer: Linux 6.8 and newer.
func (s Stack) byLayer(p *plan.Plan, target string) error {
	fs, layers := p.Register("overlay"), p.Register("layers")
	base := commonParent(s.Lower)
	p.Add(plan.Fsopen("overlay").Into(fs), plan.FsconfigString(fs, "source", "overlay"), plan.Chdir(base))
	for _, dir := range s.Lower {
		addDirectory(p, fs, "lowerdir+", base, dir)
	}
	if s.Upper != "" {
		addDirectory(p, fs, "upperdir", base, s.Upper)
		addDirectory(p, fs, "workdir", base, s.Work)
	}
	for _, o := range s.options() {
		if o.value == "" {
			p.Add(plan.FsconfigFlag(fs, o.key))
		} else {
			p.Add(plan.FsconfigString(fs, o.key, o.value))
		}
	}
	p.Add(
		plan.FsconfigCreate(fs).Doing("stack the layers").Hint(unix.EINVAL, refusedHint),
		plan.Fsmount(fs, 0).Into(layers),
		plan.Close(fs),
	)
	attach(p, layers, target)
	p.Add(plan.Close(layers))
	return nil
}

// maxValue is how long the value of an fsconfig(2) may be, in bytes, without the
// zero at its end.
const maxValue = 255

// addDirectory adds one directory of the stack, by its name as seen from base,
// where the process stands. A name that is too long, or has characters with a
// meaning of their own, is walked to: seen from there, every directory is ".".
func addDirectory(p *plan.Plan, fs plan.Register, key, base, dir string) {
	step := func(name string) plan.Step {
		return plan.FsconfigString(fs, key, name).Doing("add layer %q as %s", dir, key)
	}
	if name := below(base, dir); len(name) <= maxValue && !strings.ContainsAny(name, special) {
		p.Add(step(name))
		return
	}
	p.Add(plan.Chdir(dir), step("."), plan.Chdir(base))
}

// attach puts a mount on target.
func attach(p *plan.Plan, mounted plan.FD, target string) {
	place := p.Register("place")
	p.Add(
		plan.Openat2(plan.CWD, target, directory).Into(place).Doing("open mount point %q", target),
		plan.MoveMount(mounted, place).Doing("mount the layers on %q", target),
		plan.Close(place),
	)
}

// directory opens a directory only to mount on it.
var directory = unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC}

// commonParent is the deepest directory that all dirs are below. Names as seen
// from there are short: a store has its layers side by side.
func commonParent(dirs []string) string {
	parent := filepath.Dir(dirs[0])
	for _, dir := range dirs[1:] {
		for below(parent, dir) == dir {
			parent = filepath.Dir(parent)
		}
	}
	return parent
}

// below is dir as seen from base, if it is below it, and else dir itself. It
// never begins with "..": if base is reached by a symbolic link, its ".." is
// somewhere else.
func below(base, dir string) string {
	prefix := strings.TrimSuffix(base, "/") + "/"
	if rest, ok := strings.CutPrefix(dir, prefix); ok && rest != "" {
		return rest
	}
	return dir
}
