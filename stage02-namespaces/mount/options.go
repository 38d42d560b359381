package mount

import (
	"errors"
	"slices"
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
	Remount   bool // change what is mounted already

	Attributes          Attributes // of this mount
	RecursiveAttributes Attributes // of this mount and all below it (rro …)

	// Propagation is done in the order of the words: "slave" and then
	// "shared" make a mount both, mount_namespaces(7).
	Propagation []Propagation

	IDMap          bool // idmap or ridmap: show the owners of files as an id map has them
	IDMapRecursive bool // ridmap: also in the mounts below it
	TmpCopyUp      bool // the new tmpfs holds what it covers

	// IVersion asks the file system to count the changes of each file. It is
	// the one flag that fsconfig(2) has no word for, see Root.countChanges.
	IVersion bool

	// Data is what is meant for the file system, in the words' order:
	// "size=64k", "newinstance", and the flags that the kernel knows for
	// every file system ("sync").
	Data []string
}

// A Propagation says how mounts made later travel between the copies of a
// mount: mount_namespaces(7), "SHARED SUBTREES".
type Propagation struct {
	Kind      uint64 // MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE
	Recursive bool   // also for the mounts below it
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

// meanings are such words, and what each means. A table like this is ready when the
// program starts, a map would be made then.
type meanings[Meaning any] []struct {
	word    string
	meaning Meaning
}

// find looks for a word.
func (m meanings[Meaning]) find(word string) (meaning Meaning, known bool) {
	for i := range m {
		if m[i].word == word {
			return m[i].meaning, true
		}
	}
	return meaning, false
}

// attributeWords change Attributes; each also exists with an r in front,
// which applies it to all mounts below.
var attributeWords = meanings[func(*Attributes)]{
	{"ro", func(a *Attributes) { a.set(unix.MOUNT_ATTR_RDONLY) }},
	{"rw", func(a *Attributes) { a.clear(unix.MOUNT_ATTR_RDONLY) }},
	{"nosuid", func(a *Attributes) { a.set(unix.MOUNT_ATTR_NOSUID) }},
	{"suid", func(a *Attributes) { a.clear(unix.MOUNT_ATTR_NOSUID) }},
	{"nodev", func(a *Attributes) { a.set(unix.MOUNT_ATTR_NODEV) }},
	{"dev", func(a *Attributes) { a.clear(unix.MOUNT_ATTR_NODEV) }},
	{"noexec", func(a *Attributes) { a.set(unix.MOUNT_ATTR_NOEXEC) }},
	{"exec", func(a *Attributes) { a.clear(unix.MOUNT_ATTR_NOEXEC) }},
	{"nodiratime", func(a *Attributes) { a.set(unix.MOUNT_ATTR_NODIRATIME) }},
	{"diratime", func(a *Attributes) { a.clear(unix.MOUNT_ATTR_NODIRATIME) }},
	{"nosymfollow", func(a *Attributes) { a.set(unix.MOUNT_ATTR_NOSYMFOLLOW) }},
	{"symfollow", func(a *Attributes) { a.clear(unix.MOUNT_ATTR_NOSYMFOLLOW) }},
	{"noatime", func(a *Attributes) { a.atime(unix.MOUNT_ATTR_NOATIME) }},
	{"atime", func(a *Attributes) { a.atime(unix.MOUNT_ATTR_RELATIME) }},
	{"relatime", func(a *Attributes) { a.atime(unix.MOUNT_ATTR_RELATIME) }},
	{"norelatime", func(a *Attributes) { a.atime(unix.MOUNT_ATTR_STRICTATIME) }},
	{"strictatime", func(a *Attributes) { a.atime(unix.MOUNT_ATTR_STRICTATIME) }},
	{"nostrictatime", func(a *Attributes) { a.atime(unix.MOUNT_ATTR_RELATIME) }},
}

// propagationWords are the kinds of Propagation; each also exists with an r
// in front.
var propagationWords = meanings[uint64]{
	{"shared", unix.MS_SHARED}, {"slave", unix.MS_SLAVE}, {"private", unix.MS_PRIVATE}, {"unbindable", unix.MS_UNBINDABLE},
}

// fileSystemFlags are the words that belong to no mount but to a file system,
// whatever its type, and whether they ask for more than the default. The
// kernel takes them by name: fsconfig(2), FSCONFIG_SET_FLAG.
var fileSystemFlags = meanings[bool]{
	{"sync", true},
	{"dirsync", true},
	{"lazytime", true},
	{"mand", true},
	{"async", false},
	{"nolazytime", false},
	{"nomand", false},
}

// flagWords switch one thing each.
var flagWords = meanings[func(*Options)]{
	// "silent" and "loud" are about the kernel's log. With fsopen(2) messages
	// come to the caller, who needs them for an error: there is nothing to mute.
	{"", nothing},
	{"defaults", nothing},
	{"silent", nothing},
	{"loud", nothing},

	{"bind", func(o *Options) { o.Bind = true }},
	{"rbind", func(o *Options) { o.Bind, o.Recursive = true, true }},
	{"remount", func(o *Options) { o.Remount = true }},
	{"idmap", func(o *Options) { o.IDMap, o.IDMapRecursive = true, false }},
	{"ridmap", func(o *Options) { o.IDMap, o.IDMapRecursive = true, true }},
	{"tmpcopyup", func(o *Options) { o.TmpCopyUp = true }},
	{"iversion", func(o *Options) { o.IVersion = true }},
	{"noiversion", func(o *Options) { o.IVersion = false }},
}

func nothing(*Options) {}

// ParseOptions reads the words in order. A word that is not known is meant
// for the file system, as the specification says. It fails on words that
// exclude each other.
func ParseOptions(words []string) (Options, error) {
	var o Options
	for _, w := range words {
		o.word(w)
	}
	switch {
	case o.TmpCopyUp && o.Bind:
		return o, errors.New(`options "tmpcopyup" and "bind" exclude each other`)
	case o.Remount && (o.TmpCopyUp || o.IDMap || o.IVersion):
		return o, errors.New(`option "remount" with "tmpcopyup", "idmap" or "iversion": these are for new mounts only`)
	}
	return o, nil
}

// word applies one word.
func (o *Options) word(w string) {
	rest, recursive := strings.CutPrefix(w, "r")
	if apply, known := flagWords.find(w); known {
		apply(o)
	} else if change, known := attributeWords.find(w); known {
		change(&o.Attributes)
	} else if kind, known := propagationWords.find(w); known {
		o.Propagation = append(o.Propagation, Propagation{Kind: kind})
	} else if change, known := attributeWords.find(rest); known && recursive {
		change(&o.RecursiveAttributes)
	} else if kind, known := propagationWords.find(rest); known && recursive {
		o.Propagation = append(o.Propagation, Propagation{Kind: kind, Recursive: true})
	} else {
		o.Data = append(o.Data, w)
	}
}

// notForBind is the first word that a bind mount cannot do: it shows a file
// system that is there already, and that others may use. A setting such as
// "mode=755" is only left out (ignored): mount(2) ignores the data of a bind
// mount, and engines give the same options to mounts of every kind.
func (o Options) notForBind() (word string, found bool) {
	for _, w := range o.Data {
		if more, known := fileSystemFlags.find(w); (more || !known) && !isSetting(w) {
			return w, true
		}
	}
	if o.IVersion {
		return "iversion", true
	}
	return "", false
}

// isSetting tells whether a word is a setting of a file system.
func isSetting(word string) bool { return strings.Contains(word, "=") }

// value is that of the last option "key=value" for the file system.
func (o Options) value(key string) (value string, found bool) {
	for _, w := range o.Data {
		if v, ok := strings.CutPrefix(w, key+"="); ok {
			value, found = v, true
		}
	}
	return value, found
}

// Words are all words that ParseOptions knows, sorted: those that are not meant
// for one kind of file system.
func Words() []string {
	var all []string
	for _, w := range flagWords {
		all = append(all, w.word)
	}
	for _, w := range fileSystemFlags {
		all = append(all, w.word)
	}
	for _, w := range attributeWords {
		all = append(all, w.word, "r"+w.word)
	}
	for _, w := range propagationWords {
		all = append(all, w.word, "r"+w.word)
	}
	slices.Sort(all)
	return slices.DeleteFunc(all, func(w string) bool { return w == "" })
}
