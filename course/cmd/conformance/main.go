// Command conformance runs the OCI's validation suite against a runtime
// (package skiff.example/course/conformance) and prints a table. The result
// of skiff-oci has to be as course/conformance/expected.txt says; make
// conformance runs it in the root of the tree, as root.
//
//	go run ./course/cmd/conformance
//	go run ./course/cmd/conformance -v linux_seccomp hooks
//	go run ./course/cmd/conformance -runtime /usr/sbin/runc
//	go run ./course/cmd/conformance -compare
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"skiff.example/course/conformance"
	"skiff.example/stage01-chroot/hint"
)

// ours is the runtime that the list of expectations is for.
const ours = "skiff-oci"

func main() {
	// Ctrl-C ends the programs that run, with all that they have started.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		hint.Print(os.Stderr, "conformance", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	runtimeName := flag.String("runtime", "bin/"+ours, "the runtime: a path, or a name in PATH")
	beside := flag.Bool("compare", false, "run the suite against runc and crun too, and show all side by side")
	verbose := flag.Bool("v", false, "show everything that is wrong, not the first thing alone")
	o := conformance.Options{Jobs: 2 * runtime.NumCPU()} // they mostly wait
	flag.IntVar(&o.Jobs, "jobs", o.Jobs, "how many programs run at once")
	flag.DurationVar(&o.Timeout, "timeout", time.Minute, "how long one program may take")
	flag.Parse()
	o.Programs = flag.Args()
	if os.Geteuid() != 0 {
		return hint.Add(errors.New("the suite makes containers as root"), "sudo make conformance")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	suite, err := conformance.Build(ctx, filepath.Join(cache, "skiff"))
	if err != nil {
		return err
	}
	names := []string{*runtimeName}
	if *beside {
		names = append(names, "runc", "crun")
	}
	columns, err := runAll(ctx, suite, names, o)
	if err != nil {
		return err
	}
	if err := conformance.WriteTable(os.Stdout, columns); err != nil {
		return err
	}
	if *verbose {
		showFaults(columns)
	}
	return judge(columns, len(o.Programs) > 0)
}

// runAll runs the suite against one runtime after the other.
func runAll(ctx context.Context, suite *conformance.Suite, names []string, o conformance.Options) ([]conformance.Column, error) {
	scripts, err := os.MkdirTemp("", "skiff-conformance-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scripts)
	var columns []conformance.Column
	for _, name := range names {
		program, err := exec.LookPath(name)
		if err != nil {
			return nil, hint.Add(err, "make build builds skiff-oci, make deps installs runc and crun")
		}
		if filepath.Base(program) == "crun" {
			if program, err = conformance.WithOlderVersion(program, scripts); err != nil {
				return nil, err
			}
		}
		outcomes, err := suite.Run(ctx, program, o)
		if err != nil {
			return nil, err
		}
		columns = append(columns, conformance.Column{Runtime: filepath.Base(program), Outcomes: outcomes})
	}
	return columns, nil
}

// showFaults prints all that is wrong.
func showFaults(columns []conformance.Column) {
	for _, c := range columns {
		for _, o := range c.Outcomes {
			if faults := o.Faults(); len(faults) > 0 {
				fmt.Printf("\n%s: %s, %s\n\t%s\n", c.Runtime, o.Program, o.Took.Round(time.Millisecond), strings.Join(faults, "\n\t"))
			}
		}
	}
}

// judge fails where skiff-oci is not as listed, or worse than others.
func judge(columns []conformance.Column, only bool) error {
	if columns[0].Runtime != ours {
		return nil
	}
	problems, err := conformance.Compare(columns[0].Outcomes, only)
	if err != nil {
		return err
	}
	behind := conformance.Behind(columns)
	fmt.Println()
	for _, p := range problems {
		fmt.Println(p)
	}
	for _, line := range behind {
		fmt.Println(line)
	}
	if n := len(problems) + len(behind); n > 0 {
		return hint.Add(fmt.Errorf("%d programs have another result than they should", n),
			"a change for the better is written down, too, in course/conformance/expected.txt")
	}
	return nil
}
