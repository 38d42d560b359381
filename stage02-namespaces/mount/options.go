package mount

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// The words of mount(8), "ro,nosuid,rbind", sorted into what each is for: the
// mount (mount_setattr(2)), its propagation, or the file system.

// Options is what the words of a mount's "options" mean: runtime-spec
// config.md, "Linux mount options", and mount(8).
type Options struct {
	Bind      bool // bind or rbind: show a part of the tree in a second place
	Recursive bool // rbind: with all mounts below it
	Remount   bool // change the attributes of what is mounted already

	Attributes          Attributes // of this mount
	RecursiveAttributes Attributes // of this mount and all below it (rro …)

	Propagation          uint64 // MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE or 0
	PropagationRecursive bool

	Data []string // what is meant for the file system: "size=64k", "newinstance"
}

// Attributes are MOUNT_ATTR_* to set and to clear: mount_setattr(2).
type Attributes struct{ Set, Clear uint64 }

// empty tells whether nothing is to be changed.
func (a Attributes) empty() bool { return a.Set == 0 && a.Clear == 0 }

// set adds bits to set, so that a later word beats an earlier one.
func (a *Attributes) set(bits uint64) {
	a.Set |= bits
	a.Clear &^= bits
}

// clear adds bits to clear.
func (a *Attributes) clear(bits uint64) {
	a.Clear |= bits
	a.Set &^= bits
}

// atime chooses one of the kinds of access time, which share three bits: to
// change it all of them must be cleared.
func (a *Attributes) atime(kind uint64) {
	a.Clear |= unix.MOUNT_ATTR__ATIME
	a.Set = a.Set&^unix.MOUNT_ATTR__ATIME | kind
}

// attributeWords change Attributes; each also exists with an r in front,
// which applies it to all mounts below.
var attributeWords = map[string]func(*Attributes){
	"ro":            func(a *Attributes) { a.set(unix.MOUNT_ATTR_RDONLY) },
	"rw":            func(a *Attributes) { a.clear(unix.MOUNT_ATTR_RDONLY) },
	"nosuid":        func(a *Attributes) { a.set(unix.MOUNT_ATTR_NOSUID) },
	"suid":          func(a *Attributes) { a.clear(unix.MOUNT_ATTR_NOSUID) },
	"nodev":         func(a *Attributes) { a.set(unix.MOUNT_ATTR_NODEV) },
	"dev":           func(a *Attributes) { a.clear(unix.MOUNT_ATTR_NODEV) },
	"noexec":        func(a *Attributes) { a.set(unix.MOUNT_ATTR_NOEXEC) },
	"exec":          func(a *Attributes) { a.clear(unix.MOUNT_ATTR_NOEXEC) },
	"nodiratime":    func(a *Attributes) { a.set(unix.MOUNT_ATTR_NODIRATIME) },
	"diratime":      func(a *Attributes) { a.clear(unix.MOUNT_ATTR_NODIRATIME) },
	"nosymfollow":   func(a *Attributes) { a.set(unix.MOUNT_ATTR_NOSYMFOLLOW) },
	"symfollow":     func(a *Attributes) { a.clear(unix.MOUNT_ATTR_NOSYMFOLLOW) },
	"noatime":       func(a *Attributes) { a.atime(unix.MOUNT_ATTR_NOATIME) },
	"atime":         func(a *Attributes) { a.atime(unix.MOUNT_ATTR_RELATIME) },
	"relatime":      func(a *Attributes) { a.atime(unix.MOUNT_ATTR_RELATIME) },
	"norelatime":    func(a *Attributes) { a.atime(unix.MOUNT_ATTR_STRICTATIME) },
	"strictatime":   func(a *Attributes) { a.atime(unix.MOUNT_ATTR_STRICTATIME) },
	"nostrictatime": func(a *Attributes) { a.atime(unix.MOUNT_ATTR_RELATIME) },
}

// propagationWords set how mounts made later travel between the copies of
// this mount: mount_namespaces(7), "SHARED SUBTREES".
var propagationWords = map[string]uint64{
	"shared": unix.MS_SHARED, "slave": unix.MS_SLAVE, "private": unix.MS_PRIVATE, "unbindable": unix.MS_UNBINDABLE,
}

// notYet are words of the specification that skiff does not do: better an
// error than a mount that is not what was asked for.
var notYet = map[string]bool{"idmap": true, "ridmap": true, "tmpcopyup": true}

// ParseOptions reads the words in order. A word that is not known is meant
// for the file system, as the specification says.
func ParseOptions(words []string) (Options, error) {
	var o Options
	for _, w := range words {
		if notYet[w] {
			return o, fmt.Errorf("mount option %q is not supported", w)
		}
		o.word(w)
	}
	return o, nil
}

// word applies one word.
func (o *Options) word(w string) {
	switch w {
	case "", "defaults", "async", "loud", "silent", "nomand", "nolazytime", "noiversion":
		return // what they ask for is what is there anyway
	case "bind":
		o.Bind = true
		return
	case "rbind":
		o.Bind, o.Recursive = true, true
		return
	case "remount":
		o.Remount = true
		return
	}
	if change, ok := attributeWords[w]; ok {
		change(&o.Attributes)
		return
	}
	if kind, ok := propagationWords[w]; ok {
		o.Propagation, o.PropagationRecursive = kind, false
		return
	}
	rest, ok := strings.CutPrefix(w, "r")
	if change, known := attributeWords[rest]; ok && known {
		change(&o.RecursiveAttributes)
		return
	}
	if kind, known := propagationWords[rest]; ok && known {
		o.Propagation, o.PropagationRecursive = kind, true
		return
	}
	o.Data = append(o.Data, w)
}
