package fails_test

import (
	"os"
	"testing"
)

func TestThatPasses(t *testing.T) { t.Log("nobody reads this") }

func TestThatFails(t *testing.T) {
	t.Run("sub", func(t *testing.T) { t.Error("one is not two") })
}

func TestOfVersion1(t *testing.T) { t.Skip("needs cgroup v1 hierarchies: this machine is unified") }

func TestThatSkips(t *testing.T) { t.Skip("needs programs that are not in PATH: weather") }

func TestThatEndsTheProcess(*testing.T) { os.Exit(3) }
