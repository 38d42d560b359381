package mount_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
)

// Whatever is asked for, the kernel shows: random lists of mounts, nested in
// each other, with random words. A failure prints the seed; SEED repeats it.

// wished is what a mount should look like in mountinfo.
type wished struct {
	flags       map[string]bool
	propagation string // "", "shared" or "unbindable"
}

// apply does one word by the book: mount(8).
func (w *wished) apply(word string) {
	switch word {
	case "ro", "nosuid", "nodev", "noexec", "nodiratime", "nosymfollow":
		w.flags[word] = true
	case "rw":
		delete(w.flags, "ro")
	case "suid", "dev", "exec", "diratime":
		delete(w.flags, "no"+word)
	case "symfollow":
		delete(w.flags, "nosymfollow")
	case "noatime", "relatime", "strictatime":
		delete(w.flags, "noatime")
		delete(w.flags, "relatime")
		if word != "strictatime" {
			w.flags[word] = true
		}
	case "private", "shared", "unbindable":
		w.propagation = strings.TrimPrefix(word, "private")
	}
}

// String is in the order in which the kernel lists them.
func (w *wished) String() string {
	list := "rw"
	if w.flags["ro"] {
		list = "ro"
	}
	for _, flag := range []string{"nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "nosymfollow"} {
		if w.flags[flag] {
			list += "," + flag
		}
	}
	return strings.TrimSpace(list + " " + w.propagation)
}

// vocabulary is what the words are drawn from.
var vocabulary = strings.Fields("ro rw nosuid suid nodev dev noexec exec nodiratime diratime nosymfollow symfollow " +
	"noatime relatime strictatime private shared unbindable defaults async loud silent")

func TestRandomMountsAreWhatIsAskedFor(t *testing.T) {
	testkit.HostUnchanged(t)
	seed := rand.Uint64()
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	random := rand.New(rand.NewPCG(seed, 0))
	host := t.TempDir()
	write(t, host+"/file", "")
	for range 30 {
		all, want := randomMounts(random, host)
		t.Run("", func(t *testing.T) {
			seen := mountinfo(t, container(t, t.TempDir(), mounts(all...)).Pid)
			for point, entry := range want {
				if got := withoutNumber(seen[point]); got != entry.String() {
					t.Errorf("SEED=%d: %s is %q, want %q\n%+v", seed, point, got, entry, all)
				}
			}
			if len(seen) != len(want)+1 {
				t.Errorf("SEED=%d: %d mounts, want %d: %v", seed, len(seen)-1, len(want), seen)
			}
		})
	}
}

// randomMounts is a list of mounts, and how they should look.
func randomMounts(random *rand.Rand, host string) (all []specs.Mount, want map[string]*wished) {
	want = map[string]*wished{}
	folders := []string{""} // where the next mount can go
	for i := range 1 + random.IntN(12) {
		at := fmt.Sprintf("%s/m%d", folders[random.IntN(len(folders))], i)
		w := &wished{flags: map[string]bool{"relatime": true}}
		var words []string
		for range random.IntN(6) {
			word := vocabulary[random.IntN(len(vocabulary))]
			words = append(words, word)
			w.apply(word)
		}
		switch random.IntN(4) {
		case 0:
			all = append(all, bind(host+"/file", at, words...))
		case 1: // nothing can be made in it: it is the host's
			all = append(all, bind(host, at, words...))
		case 2:
			all = append(all, bind(host, at, append(words, "rbind")...))
		default:
			all = append(all, tmpfs(at, words...))
			// Below a shared mount no other can be put that is unbindable.
			if !w.flags["nosymfollow"] && w.propagation != "shared" {
				folders = append(folders, at)
			}
		}
		want[at] = w
	}
	return all, want
}
