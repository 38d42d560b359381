package oci

import (
	"fmt"
	"os"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
)

// What the kernel's security modules call the container: the AppArmor profile and
// the SELinux label that take effect when it executes its program, and the label of
// its files: proc(5), /proc/PID/attr; aa_change_onexec(2), selinux(8). runtime-spec
// config.md, "apparmorProfile", "selinuxLabel"; config-linux.md, "Mount Label".

// labels are the names that are written. The zero value writes none.
type labels struct {
	proc     *hostProc
	apparmor string
	selinux  string
}

// open finds out whether the kernel has the security modules that a process's labels
// are for, and opens what they are written through. A process that would not be
// confined as it was told to be is refused, as by runc.
func (l *labels) open(process *specs.Process) error {
	profile, label := process.ApparmorProfile, process.SelinuxLabel
	const remedy = "remove it from config.json if the container can do without"
	switch {
	case profile == "" && label == "":
		return nil
	case profile != "" && profile != unconfined && !hasAppArmor():
		return hint.Add(fmt.Errorf("process.apparmorProfile %q: this kernel has no AppArmor, or it is switched off", profile), remedy)
	case label != "" && !hasSELinux():
		return hint.Add(fmt.Errorf("process.selinuxLabel %q: this kernel has no SELinux, or it is switched off", label), remedy)
	}
	if hasAppArmor() {
		l.apparmor = profile
	}
	l.selinux = label
	return l.proc.open()
}

// unconfined is the profile that confines nothing.
const unconfined = "unconfined"

// hasAppArmor tells whether profiles do anything: "Y" in a parameter of the module.
func hasAppArmor() bool {
	text, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(string(text), "Y")
}

// hasSELinux tells whether labels do anything: a policy is loaded through selinuxfs.
func hasSELinux() bool {
	var fs unix.Statfs_t
	return unix.Statfs("/sys/fs/selinux", &fs) == nil && fs.Type == unix.SELINUX_MAGIC
}

// steps adds the steps that choose what the next execve(2) makes of the process.
func (l *labels) steps(p *plan.Plan) {
	if l.apparmor == "" && l.selinux == "" {
		return
	}
	p.Section(chapter, "labels of security modules")
	if l.apparmor != "" {
		l.write(p, "apparmor/exec", "exec "+l.apparmor, "choose AppArmor profile %q", l.apparmor)
	}
	if l.selinux != "" {
		l.write(p, "exec", l.selinux, "choose SELinux label %q", l.selinux)
	}
}

// keyring adds the steps that give the label to the keys that the process makes
// until its execve(2), its session keyring among them.
func (l *labels) keyring(p *plan.Plan) {
	if l.selinux != "" {
		l.write(p, "keycreate", l.selinux, "choose SELinux label %q for keys", l.selinux)
	}
}

// write adds the steps that write one attribute of the process itself.
func (l *labels) write(p *plan.Plan, file, text, doing string, name string) {
	open, write, done := l.proc.write(p, "self/attr/"+file, text, doing, name)
	p.Add(open, write.
		Hint(unix.ENOENT, "the profile is not loaded: aa-status lists those that are").
		Hint(unix.EINVAL, "the policy that is loaded does not know it").
		Hint(unix.EACCES, "this runtime is confined itself, and may not change to it"), done)
}

// mountLabel is the label for the files of the container's file systems, where the
// kernel has use for it.
func (c *Container) mountLabel() string {
	if c.Spec.Linux.MountLabel == "" || !hasSELinux() {
		return ""
	}
	return c.Spec.Linux.MountLabel
}

// mountLabelWarning says that the label is left out: without SELinux nobody asks for
// it, and the file systems do not know the word. It confines nothing by itself, so
// that is no error, as in crun.
func (c *Container) mountLabelWarning() (warnings []string) {
	if c.Spec.Linux.MountLabel != c.mountLabel() {
		warnings = append(warnings, "linux.mountLabel is left out: this kernel has no SELinux, or it is switched off")
	}
	return warnings
}

// labelled is a mount with the label that all files in it shall have, where its file
// system takes one: the kernel's option "context". What shows the kernel itself
// (proc, sysfs, cgroups) has labels by name, the one instance of mqueue has them
// already, and a bind mount those that its files have.
func labelled(m specs.Mount, label string) specs.Mount {
	takes := label != "" && !slices.Contains([]string{"", "none", "bind", "proc", "sysfs", "cgroup", "cgroup2", "mqueue"}, m.Type) &&
		!slices.ContainsFunc(m.Options, func(o string) bool {
			return o == "bind" || o == "rbind" || o == "remount" || strings.HasPrefix(o, "context=")
		})
	if takes {
		m.Options = append(slices.Clone(m.Options), "context="+label)
	}
	return m
}
