// The resources of a config.json, a fragment for each thing that can be asked
// for: what TestFilesWritten sets. First what is meant well, then what is not.

package cgroup_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
)

// resources reads resources as they stand in a config.json.
func resources(t testing.TB, text string) *specs.LinuxResources {
	t.Helper()
	var r specs.LinuxResources
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return &r
}

// told is how an error and its hint read on any machine; top is where the
// hierarchies of this one are.
func told(err error, top string) string {
	if err == nil {
		return ""
	}
	said := fmt.Sprintf("error: %v\n", err)
	if h := hint.Of(err); h != "" {
		said += "hint: " + h + "\n"
	}
	return strings.ReplaceAll(said, top, "/sys/fs/cgroup")
}

func golden(t *testing.T, got, file string) {
	t.Helper()
	testkit.Golden(t, got, file)
}

var fragments = []struct{ what, resources string }{
	{"memory: a limit, with as much swap again", `{"memory": {"limit": 536870912, "swap": 1073741824}}`},
	{"memory: a limit and no swap", `{"memory": {"limit": 536870912, "swap": 536870912}}`},
	{"memory: a limit with all the swap there is", `{"memory": {"limit": 536870912, "swap": -1}}`},
	{"memory: no limit", `{"memory": {"limit": -1}}`},
	{"memory: a reservation", `{"memory": {"reservation": 67108864}}`},
	{"memory: of kernel memory, the limit of TCP alone is left", `{"memory": {"kernel": 1048576}}`},
	{"memory: TCP buffers", `{"memory": {"kernelTCP": 1048576}}`},
	{"memory: swappiness", `{"memory": {"swappiness": 0}}`},
	{"memory: no OOM killer", `{"memory": {"disableOOMKiller": true}}`},
	{"memory: the OOM killer as ever", `{"memory": {"disableOOMKiller": false, "useHierarchy": true}}`},
	{"memory: checked before", `{"memory": {"limit": 8388608, "checkBeforeUpdate": true}}`},
	{"cpu: the default shares", `{"cpu": {"shares": 1024}}`},
	{"cpu: the least shares", `{"cpu": {"shares": 2}}`},
	{"cpu: the most shares", `{"cpu": {"shares": 262144}}`},
	{"cpu: half a processor", `{"cpu": {"quota": 50000, "period": 100000}}`},
	{"cpu: a quota without a period", `{"cpu": {"quota": 50000}}`},
	{"cpu: a period without a quota", `{"cpu": {"period": 200000}}`},
	{"cpu: no quota", `{"cpu": {"quota": -1}}`},
	{"cpu: burst", `{"cpu": {"quota": 50000, "period": 100000, "burst": 20000}}`},
	{"cpu: no burst", `{"cpu": {"burst": 0}}`},
	{"cpu: idle, where shares count for nothing", `{"cpu": {"idle": 1, "shares": 512}}`},
	{"cpu: no longer idle", `{"cpu": {"idle": 0, "shares": 512}}`},
	{"cpu: real-time", `{"cpu": {"realtimePeriod": 1000000, "realtimeRuntime": 95000}}`},
	{"cpu: which ones, and which memory nodes", `{"cpu": {"cpus": "0-1", "mems": "0"}}`},
	{"blockIO: a weight", `{"blockIO": {"weight": 500}}`},
	{"blockIO: a weight on one device", `{"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 300}]}}`},
	{"blockIO: ceilings of two devices", `{"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1048576}, {"major": 8, "minor": 16, "rate": 600}],
 "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 2097152}], "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 100}],
 "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 200}]}}`},
	{"blockIO: a ceiling taken away", `{"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 0}]}}`},
	{"pids: a limit", `{"pids": {"limit": 100}}`},
	{"pids: nobody forks", `{"pids": {"limit": 0}}`},
	{"pids: no limit", `{"pids": {"limit": -1}}`},
	{"pids: nothing said", `{"pids": {}}`},
	{"hugepageLimits", `{"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}, {"pageSize": "1GB", "limit": 0}]}`},
	{"rdma", `{"rdma": {"mlx5_0": {"hcaHandles": 3, "hcaObjects": 10000}, "rxe3": {"hcaObjects": 0}}}`},
	{"network: a class", `{"network": {"classID": 1048577}}`},
	{"network: priorities", `{"network": {"priorities": [{"name": "eth0", "priority": 500}, {"name": "eth1", "priority": 1000}]}}`},
	{"unified: files that no other part has", `{"unified": {"memory.high": "1048576", "io.latency": "8:0 target=100", "misc.max": "sev 3", "cgroup.max.depth": "2"}}`},
	{"unified: a line, a write", `{"unified": {"io.max": "8:0 rbps=1048576\n8:16 wiops=120\n", "cpuset.cpus": ""}}`},
	{"what engines send when nothing was asked for", `{"memory": {"limit": 0, "disableOOMKiller": false}, "cpu": {"shares": 0, "quota": 0, "cpus": ""}, "blockIO": {"weight": 0}, "network": {}}`},

	{"bad: less memory and swap than memory", `{"memory": {"limit": 2000, "swap": 1000}}`},
	{"bad: a sum without one of its parts", `{"memory": {"swap": 1000}}`},
	{"bad: a memory limit below -1", `{"memory": {"limit": -2}}`},
	{"bad: a huge memory limit is none", `{"memory": {"limit": 9223372036854775807}}`},
	{"bad: swappiness", `{"memory": {"swappiness": 101}}`},
	{"bad: less than is in use", `{"memory": {"limit": 4096, "checkBeforeUpdate": true}}`},
	{"bad: a quota below -1", `{"cpu": {"quota": -2}}`},
	{"bad: more burst than quota", `{"cpu": {"quota": 10000, "burst": 10001}}`},
	{"bad: huge shares are the most", `{"cpu": {"shares": 18446744073709551615}}`},
	{"bad: pids below -1", `{"pids": {"limit": -2}}`},
	{"bad: leaf weight", `{"blockIO": {"leafWeight": 10}}`},
	{"bad: a device without weight", `{"blockIO": {"weightDevice": [{"major": 8, "minor": 0}]}}`},
	{"bad: weight out of range", `{"blockIO": {"weight": 1001}}`},
	{"bad: more operations than the kernel can count", `{"blockIO": {"throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 4294967297}]}}`},
	{"bad: a minor number that would become a major one", `{"blockIO": {"throttleReadBpsDevice": [{"major": 0, "minor": 8388608, "rate": 1}]}}`},
	{"bad: a major number that would lose its upper half", `{"blockIO": {"weightDevice": [{"major": 4294967304, "minor": 0, "weight": 10}]}}`},
	{"bad: too small a weight", `{"blockIO": {"weight": 9}}`},
	{"bad: a page size that is not there", `{"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}`},
	{"bad: a page size that is a path", `{"hugepageLimits": [{"pageSize": "../2MB", "limit": 1}]}`},
	{"bad: rdma of nothing", `{"rdma": {"mlx5_0": {}}}`},
	{"bad: unified: a controller that is not there", `{"unified": {"nonsense.max": "1"}}`},
	{"bad: unified: a file that is not there", `{"unified": {"memory.nonsense": "1"}}`},
	{"bad: unified: no file of a group", `{"unified": {"memory.max/../../x": "1"}}`},
	{"bad: unified: a command", `{"unified": {"cgroup.procs": "1"}}`},
	{"bad: unified: another command", `{"unified": {"cgroup.kill": "1"}}`},
	{"bad: unified: one that freezes", `{"unified": {"cgroup.freeze": "1"}}`},
	{"bad: unified: one that makes threaded", `{"unified": {"cgroup.type": "threaded"}}`},
	{"bad: unified: one for threads", `{"unified": {"cgroup.threads": "1"}}`},
	{"bad: unified: one that hands down", `{"unified": {"cgroup.subtree_control": "+memory"}}`},
	{"bad: unified: no dot", `{"unified": {"memory": "1"}}`},
	{"bad: device rules", `{"devices": [{"allow": true, "type": "p", "access": "r"}]}`},
	{"bad: device access", `{"devices": [{"allow": true, "type": "c", "access": "rx"}]}`},
	{"bad: device number", `{"devices": [{"allow": true, "type": "c", "major": -2, "access": "r"}]}`},
	{"bad: a number that v1 takes for all devices", `{"devices": [{"allow": true, "type": "c", "major": 1, "minor": 4294967295, "access": "r"}]}`},
}
