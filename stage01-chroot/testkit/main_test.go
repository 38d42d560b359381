package testkit_test

import (
	"os"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.InNewNetwork(m)) }
