package testkit_test

import (
	"debug/elf"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"skiff.example/stage01-chroot/testkit"
)

func TestAProgramIsBuiltOnceAndStatic(t *testing.T) {
	program := testkit.Probe(t)
	if again := testkit.Probe(t); again != program {
		t.Errorf("built twice: %s and %s", program, again)
	}
	if name := filepath.Base(program); name != "probe" {
		t.Errorf("the program's name is %q", name)
	}
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP || segment.Type == elf.PT_DYNAMIC {
			t.Errorf("%s is not static: it has a %s segment", program, segment.Type)
		}
	}
}

// onlyBuild is how a test has a process of its own that builds and ends.
var onlyBuild = flag.Bool("only-build", false, "let TestProgramsGoWithTheProcess build and print the path")

func TestProgramsGoWithTheProcess(t *testing.T) {
	if *onlyBuild {
		fmt.Println("built", testkit.Probe(t))
		return
	}
	out, err := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-only-build").CombinedOutput()
	_, rest, found := strings.Cut(string(out), "built ")
	if err != nil || !found {
		t.Fatalf("%v\n%s", err, out)
	}
	program, _, _ := strings.Cut(rest, "\n")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(program); errors.Is(err, fs.ErrNotExist) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there", program)
		}
	}
}
