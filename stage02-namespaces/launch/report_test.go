package launch_test

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
)

func TestAReportTellsOthersHowFarTheChildCame(t *testing.T) {
	report, err := os.Create(t.TempDir() + "/report")
	if err != nil {
		t.Fatal(err)
	}
	defer report.Close()
	process := start(t, exits(0, plan.Umask(0o22), plan.Chdir("/no/such/place")), launch.Options{Report: report})
	if _, err := process.Wait(); !errors.Is(err, unix.ENOENT) {
		t.Errorf("error %v", err)
	}
	if step, errno, err := launch.ReadReport(report); step != 1 || errno != unix.ENOENT || err != nil {
		t.Errorf("step %d, errno %v, error %v", step, errno, err)
	}
}

func TestExplainShowsWhatEachStepTook(t *testing.T) {
	p := &plan.Plan{}
	p.Section(1, "a mask")
	p.Add(plan.Umask(0o22))
	p.Section(2, "a session")
	p.Add(plan.Setsid(), plan.Exit(0))
	process := start(t, p, launch.Options{Timed: true})
	if _, err := process.Wait(); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	launch.Explain(&b, process.Times())
	testkit.Golden(t, regexp.MustCompile(` *\d+\.\d µs`).ReplaceAllString(b.String(), "1.0 µs"), "explain.golden")
}

func TestANestedCloneGoesOnWithThePlan(t *testing.T) {
	process := start(t, exits(9, plan.Umask(0o22), plan.CloneSibling()), launch.Options{})
	if status, err := process.Wait(); err != nil || status.ExitStatus() != 9 {
		t.Errorf("status %v, error %v", status, err)
	}
	noChildren(t)
}

func TestAFailureBeforeOrAfterANestedCloneIsReported(t *testing.T) {
	before := openDescriptors(t)
	p := exits(0, plan.Umask(0o22), plan.CloneSibling(), plan.Umask(0o22))
	for k := range p.Len() {
		process, err := launch.Start(p.Break(k), launch.Options{})
		if err == nil {
			_, err = process.Wait()
			if err := process.Close(); err != nil {
				t.Error(err)
			}
		}
		var failed *plan.Error
		if !errors.As(err, &failed) || failed.Index != k {
			t.Errorf("step %d is broken, but the error is %v", k+1, err)
		}
		noChildren(t)
	}
	if now := openDescriptors(t); now != before {
		t.Errorf("%d descriptors are open, before it were %d", now, before)
	}
}
