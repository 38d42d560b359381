package rules_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Published attacks on container runtimes, each with the tests that replay it: what is
// said here to be tested must be there.

const (
	runtime   = "final/cmd/skiff-oci"
	oci       = "final/oci"
	account   = "final/engine/account"
	mounts    = "stage02-namespaces/mount"
	processes = "stage02-namespaces"
	layers    = "stage04-overlay/layer"
	images    = "stage05-images/image"
	registry  = "stage05-images/registry"
	engine    = "final/cmd/skiff"
)

var attacks = []struct {
	attack string
	dir    string
	tests  string
}{
	// Own binary, descriptors, identity.
	{"CVE-2019-5736: the runtime's binary is overwritten", runtime, "TestOurBinaryCannotBeOverwrittenThroughAContainer TestOurBinaryCannotBeOverwrittenThroughAnExec TestACreatedContainerShowsNothingOfTheRuntime"},
	{"CVE-2016-9962: who joins is looked into", runtime, "TestAnEnteringProcessCannotBeLookedInto"},
	{"CVE-2024-21626: a descriptor leads out", runtime, "TestNoDescriptorLeadsOut TestExecDoesNotStartInADirectoryOfTheHost"},
	{"CVE-2022-29162: capabilities are inheritable", runtime, "TestMust16ACapabilityThatCannotBeIsAWarning"},
	{"CVE-2022-24769, 2022-27649 to 27652, 2025-27612: so are those of exec", runtime, "TestCapabilitiesThatExecAddsAreNotInherited"},
	{"CVE-2021-43784: a length overflows", runtime, "TestLongThingsArriveWhole"},
	{"CVE-2026-30892: a user is another one", runtime, "TestEveryFormOfAUser"},
	{"CVE-2024-40635, 2026-46680: an id out of range", account, "TestANumberOutOfRangeIsNoName"},
	{"the same, of a configuration", oci, "TestAConfigurationThatCannotBeIsRefused"},
	{"CVE-2026-47262, 2024-9676: a passwd that harms its reader", account, "TestAPasswdMadeToHarmTheReader"},
	// CVE-2022-4318, 2026-15809, a line break in HOME: nothing here writes a passwd.
	{"CVE-2022-2989, 2022-2990, 2023-25173: groups of the caller stay", runtime, "TestMust20GroupsAndDescriptors"},
	{"the same, as a plan", "final/security", "TestRootKeepsNothingAcrossAChangeOfUser"},
	{"CVE-2025-23266: a hook has the image's environment", runtime, "TestAHookHasOnlyItsOwnEnvironment"},
	{"CVE-2026-57231: a variable without a value is the host's", runtime, "TestTheCallersEnvironmentStaysOutside TestExecHasNothingOfTheCallersEnvironment"},
	{"CVE-2020-14370, 2021-21334: environments of two containers mix", runtime, "TestContainersThatAreMadeAtOnceHaveTheirOwnEnvironment"},

	// A hostile root file system.
	{"CVE-2019-16884, 2019-19921, 2023-27561, 2023-28642: /proc or /sys is a link or a volume", runtime, "TestProcAndSysAreTheKernels"},
	{"the same, under layers", mounts, "TestALinkOfALayerLeadsIntoNoOtherMount TestNothingCoversProc"},
	{"CVE-2021-30465: a mount point is exchanged", mounts, "TestASwappedMountPointNeverLeadsOutside"},
	{"CVE-2024-45310, 2026-41568, 2026-55686: a folder is made through a link", mounts, "TestNoFolderIsMadeThroughASwappedLink"},
	{"the same, for the working directory", runtime, "TestTheWorkingDirectoryIsMadeInTheRoot"},
	{"CVE-2025-31133: a false /dev/null masks", mounts, "TestTheRootsOwnNullMasksNothing TestAHostWithoutANullDeviceMasksNothing"},
	{"CVE-2025-52565: another terminal under /dev/console", mounts, "TestTheConsoleIsTheTerminalWhateverTheImageHolds"},
	{"the same, for exec", runtime, "TestATerminalComesFromADevptsOrNotAtAll"},
	{"CVE-2025-52881: what is written to the kernel goes elsewhere", runtime, "TestASysctlIsNotWrittenToAFileOfTheImage"},
	{"the same, for labels", oci, "TestLabelsAreWrittenThroughTheHostsProc"},
	{"CVE-2026-41579, 2026-47766, 2026-88264, 2026-88265: /dev is a link", runtime, "TestADevOfTheImageThatLeadsOut"},
	{"the same, as mounts", mounts, "TestADevThatIsALinkIsRefused"},
	{"CVE-2023-25809: an ordinary user's groups can be changed", runtime, "TestARootlessContainerCannotChangeTheUsersGroups"},
	{"CVE-2022-0492: release_agent", "stage03-cgroups", "TestNoReleaseAgent TestTheCgroupMountIsReadOnly"},
	{"GHSA-6fw5-f8r9-fgfm: heat and power tell of others' work", oci, "TestWhatTellsOfOthersWorkIsMasked"},
	{"the cover of a masked file is the host's device", runtime, "TestTheCoverOfAMaskedFileCannotBeChanged"},

	// Unpacking, images, registries.
	{"CVE-2021-32760, 2025-47290, 2021-29136: a tar file leads out", layers, "TestAttacksStayInside TestHeadersThatAreRefused"},
	{"the same, of archives of images", images, "TestHostileArchives"},
	{"CVE-2024-3727: a digest is a path", images, "TestADigestThatIsAPathIsRefused"},
	{"CVE-2021-41190: a manifest is an index, too", images, "TestAManifestMeansOneThing"},
	{"CVE-2020-15157: a foreign host learns the password", registry, "TestAnotherHostLearnsNoPassword TestARedirectDoesNotLeadInside"},
	{"CVE-2023-25153, 2025-58183: bombs", layers, "TestBombs TestBombsInMemory"},
	{"the same, from a registry", images, "TestABombDoesNotGoOff"},
	{"the same, JSON", images, "TestJSONIsBoundedAndVerified"},
	{"CVE-2021-41103, 2024-25621: others look into the state", images, "TestOpenMakesAnEmptyLayoutThatNobodyElseCanEnter TestOpenNarrowsWhatIsTooWide"},
	{"the same, of containers", "stage04-overlay/overlay", "TestOthersCannotEnterTheWritableLayer"},
	{"CVE-2022-23648: a volume leads out of the image", images, "TestVolumesAreAbsolute"},
	{"the same, in a run", engine, "TestVolumesBelowAReadOnlyRoot"},
	{"CVE-2018-15664, 2024-23651: a copy into an image leads out of the folder it is from", "final/build", "TestASourceStaysInItsFolder TestAnArchiveIsUnpacked"},
	{"the same, in a build", engine, "TestNamesThatLeadOut"},
	{"CVE-2026-53488: a label becomes a command", engine, "TestWhatAnImageSaysAboutItself"},

	{"TIOCSTI: the caller's terminal is typed into", runtime, "TestTheCallersTerminalCannotBeTypedInto"},
	{"the chroot of chapter 1 is left", processes, "TestNoWayOut TestDescriptorsDoNotLeak TestTheHostsProcessesAreOutOfReach"},
}

// testsIn are the names of the tests of a folder.
func testsIn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(text, -1) {
			names[string(match[1])] = true
		}
	}
	return names
}

func TestEachAttackIsReplayed(t *testing.T) {
	for _, a := range attacks {
		there := testsIn(t, a.dir)
		for name := range strings.FieldsSeq(a.tests) {
			if !there[name] {
				t.Errorf("%s: %s has no %s", a.attack, a.dir, name)
			}
		}
	}
}

// Of the points in which runtimes fail, those of an OCI runtime are numbered from 1 to
// 34; each has tests that have its number in their name.
func TestEachPointOfTheRuntimeHasATest(t *testing.T) {
	numbers := map[string]bool{}
	for _, dir := range []string{runtime, oci, "final/security", "final/security/seccomp"} {
		for name := range testsIn(t, dir) {
			if points, ok := strings.CutPrefix(name, "TestMust"); ok {
				for _, number := range regexp.MustCompile(`^\d+|And(\d+)`).FindAllString(points, -1) {
					numbers[strings.TrimPrefix(number, "And")] = true
				}
			}
		}
	}
	for point := 1; point <= 34; point++ {
		if !numbers[fmt.Sprint(point)] {
			t.Errorf("point %d has no test", point)
		}
	}
}
