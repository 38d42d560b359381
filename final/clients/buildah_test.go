package clients

import "testing"

// Buildah has the runtime run the commands of a build, and watches them with
// its `state`: buildah-run(1), buildah-build(1).

func TestBuildah(t *testing.T) {
	c := newClient(t, []string{"buildah"}, stateFolder())
	c.env = append(c.env, "CONTAINERS_CONF="+c.write("containers.conf", podmanConf))
	c.argv = []string{"buildah", "--root", c.path("root"), "--runroot", c.path("run")}
	limits := []string{"--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000", "--cgroup-parent=" + c.group}
	from := append(append([]string{"from", "--tls-verify=false", "--name=work"}, limits...), c.image)
	run := func(args ...string) []string {
		return append([]string{"run", "--runtime", c.runtime, "--network=none"}, args...)
	}
	c.want("work", from...)
	defer c.succeed("rm", "--all")

	c.want("a b", run("work", "echo", "a b")...)
	c.wantStatus(7, run("work", "--", "sh", "-c", "exit 7")...)
	c.want("guest /tmp inside", run("--user=guest", "--workingdir=/tmp", "--hostname=inside", "work", "--", "sh", "-c", "echo $(id -un) $PWD $(hostname)")...)
	c.want("0000000000000000", run("--cap-drop=all", "work", "awk", "/^CapEff:/ { print $2 }", "/proc/self/status")...)
	c.want("2", run("work", "awk", "/^Seccomp:/ { print $2 }", "/proc/self/status")...)
	s := c.atTerminal(run("--terminal", "work", "sh")...)
	s.wantShell() // buildah does not follow its terminal's size
	s.wantEnd(3)

	c.succeed(run("work", "sh", "-c", "echo made > /product")...)
	c.succeed("commit", "--quiet", "work", "built")
	c.want("again", "from", "--name=again", "built")
	c.want("made", run("again", "cat", "/product")...)

	c.write("context/Containerfile", "FROM built\nRUN cat /product > /copy && id -u guest >> /copy\n")
	c.succeed(append(append([]string{"build", "--quiet", "--runtime", c.runtime, "--network=none", "--tag=twice"}, limits...), c.path("context"))...)
	c.want("third", "from", "--name=third", "twice")
	c.want("made\n1000", run("third", "cat", "/copy")...)
}
