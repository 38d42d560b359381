// The container of fullplan_test.go once more, by hand and in C: the program
// that the benchmarks of this package measure skiff against. It makes the same
// system calls with the same arguments in the same order, which
// TestTheContainerInCMakesTheSameCalls watches; what it leaves out is all that
// skiff does to have a list of calls instead of a program.
//
//	container ROUNDS NAMESPACES [ROOT]
//
// NAMESPACES are the CLONE_NEW* flags of clone(2), as a number. With ROOT, the
// path of a root file system, a round is a container that runs its /probe;
// without, it is a child that exits at once.
//
// For each line on standard input the program does ROUNDS rounds, and then
// writes a line: the user and system time of them all, and the time of each by
// the clock, in nanoseconds. So the time that this program takes to start is in
// none of the figures.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// <sys/mount.h> has this one, but it and <linux/mount.h> cannot be included
// together before glibc 2.37.
#define MNT_DETACH 2

static int gate[2]; // the child waits at [0] until the parent writes to [1]
static int output;  // the standard output of the container
static int root;    // the root directory of the container
static int null;    // the host's /dev/null

// must ends the process when a call has failed.
static int must(const char *doing, long result)
{
	if (result >= 0)
		return result;
	perror(doing);
	_exit(127);
}

// may is must for a call that may also fail with one of two errnos.
static int may(const char *doing, long result, int fine, int also)
{
	return result < 0 && (errno == fine || errno == also) ? -1 : must(doing, result);
}

// Finding: openat2(2).

#define PATH (O_PATH | O_CLOEXEC)
#define DIRECTORY (O_PATH | O_DIRECTORY | O_CLOEXEC)
#define NO_LINKS (RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)
#define NO_MAGIC (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

static long find(int dir, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = {.flags = flags, .resolve = resolve};
	return syscall(SYS_openat2, dir, path, &how, sizeof how);
}

// point finds the place of a mount, and makes it where there is none. Only a
// place for a file is itself a file.
static int point(const char *path, int file, uint64_t resolve)
{
	int target = may(path, find(root, path, PATH, resolve), ENOENT, ENOENT);
	if (target >= 0)
		return target;
	char above[256] = ".", name[256];
	for (const char *part = path, *end; *part; part = end + (*end == '/')) {
		end = strchrnul(part, '/');
		snprintf(name, sizeof name, "%.*s", (int)(end - part), part);
		int parent = must(above, find(root, above, DIRECTORY, resolve));
		if (file && !*end)
			may(path, mknodat(parent, name, S_IFREG | 0644, 0), EEXIST, EEXIST);
		else
			may(path, mkdirat(parent, name, 0755), EEXIST, EEXIST);
		snprintf(above, sizeof above, "%.*s", (int)(end - path), path);
	}
	return must(path, find(root, path, PATH, resolve));
}

// Mounting: fsopen(2), fsconfig(2), fsmount(2), open_tree(2), move_mount(2),
// mount_setattr(2).

static int open_tree_of(int dir, const char *path, unsigned flags)
{
	return must("open_tree", syscall(SYS_open_tree, dir, path, flags | OPEN_TREE_CLOEXEC));
}

static void attach(int mount, int place)
{
	must("move_mount", syscall(SYS_move_mount, mount, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}

static void set_attributes(int mount, unsigned flags, struct mount_attr attr)
{
	must("mount_setattr", syscall(SYS_mount_setattr, mount, "", flags | AT_EMPTY_PATH, &attr, sizeof attr));
}

static void fsconfig(int fs, unsigned command, const char *key, const char *value)
{
	must(key ? key : "fsconfig", syscall(SYS_fsconfig, fs, command, key, value, 0));
}

// new_mount makes a mount of a new file system. The options are pairs of key
// and value, the latter NULL where the option has none, and a last NULL.
static int new_mount(const char *type, const char *const *options, unsigned attributes)
{
	int fs = must(type, syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
	for (; options[0]; options += 2)
		fsconfig(fs, options[1] ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, options[0], options[1]);
	fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL);
	return must(type, syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes));
}

#define OPTIONS(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
#define NOSUID MOUNT_ATTR_NOSUID
#define NODEV MOUNT_ATTR_NODEV
#define NOEXEC MOUNT_ATTR_NOEXEC
#define RDONLY MOUNT_ATTR_RDONLY

static void mount_on(const char *path, const char *type, uint64_t resolve, const char *const *options, unsigned attributes)
{
	int target = point(path, 0, resolve);
	attach(new_mount(type, options, attributes), target);
}

static void mounts(void)
{
	mount_on("proc", "proc", NO_LINKS, OPTIONS("source", "proc"), NOSUID | NODEV | NOEXEC);
	mount_on("dev", "tmpfs", NO_MAGIC, OPTIONS("source", "tmpfs", "mode", "755", "size", "65536k"),
		NOSUID | MOUNT_ATTR_STRICTATIME);
	mount_on("dev/pts", "devpts", NO_MAGIC,
		OPTIONS("source", "devpts", "newinstance", NULL, "ptmxmode", "0666", "mode", "0620"), NOSUID | NOEXEC);
	mount_on("dev/shm", "tmpfs", NO_MAGIC, OPTIONS("source", "shm", "mode", "1777", "size", "65536k"),
		NOSUID | NODEV | NOEXEC);
	mount_on("dev/mqueue", "mqueue", NO_MAGIC, OPTIONS("source", "mqueue"), NOSUID | NODEV | NOEXEC);
	mount_on("sys", "sysfs", NO_LINKS, OPTIONS("source", "sysfs"), NOSUID | NODEV | NOEXEC | RDONLY);

	int hosts = point("etc/hosts", 1, NO_MAGIC);
	int mount = open_tree_of(AT_FDCWD, "/etc/hosts", OPEN_TREE_CLONE | AT_RECURSIVE);
	set_attributes(mount, 0, (struct mount_attr){.attr_set = RDONLY});
	attach(mount, hosts);
	set_attributes(mount, AT_RECURSIVE, (struct mount_attr){.propagation = MS_PRIVATE});
}

static void devices(void)
{
	static const struct { const char *name; int major, minor; } nodes[] = {
		{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
	};
	for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
		int dev = must("dev", find(root, "dev", DIRECTORY, NO_LINKS));
		may(nodes[i].name, mknodat(dev, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)),
			EEXIST, EEXIST);
	}
	static const struct { const char *target, *name; } links[] = {
		{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
		{"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
	};
	int dev = must("dev", find(root, "dev", DIRECTORY, NO_LINKS));
	for (size_t i = 0; i < sizeof links / sizeof *links; i++)
		may(links[i].name, symlinkat(links[i].target, dev, links[i].name), EEXIST, EEXIST);
}

static void read_only(const char *path)
{
	int target = may(path, find(root, path, PATH, NO_MAGIC), ENOENT, ENOENT);
	if (target < 0)
		return;
	int mount = open_tree_of(target, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE);
	set_attributes(mount, AT_RECURSIVE, (struct mount_attr){.attr_set = RDONLY});
	attach(mount, target);
}

static void mask(const char *path)
{
	int target = may(path, find(root, path, DIRECTORY, NO_MAGIC), ENOENT, ENOTDIR);
	if (target >= 0) {
		attach(new_mount("tmpfs", OPTIONS(), RDONLY | NOSUID | NODEV | NOEXEC), target);
		return;
	}
	target = may(path, find(root, path, PATH, NO_MAGIC), ENOENT, ENOENT);
	if (target < 0)
		return;
	int cover = open_tree_of(null, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
	set_attributes(cover, 0, (struct mount_attr){.attr_set = RDONLY | NOSUID | NOEXEC});
	attach(cover, target);
}

static void file_systems(const char *path)
{
	must("mount", syscall(SYS_mount, NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	root = open_tree_of(AT_FDCWD, path, OPEN_TREE_CLONE | AT_RECURSIVE);
	attach(root, must(path, find(AT_FDCWD, path, DIRECTORY, 0)));
	null = open_tree_of(AT_FDCWD, "/dev/null", 0);
	umask(0);
	mounts();
	devices();
	read_only("proc/sys");
	read_only("proc/irq");
	read_only("proc/no-such-file");
	mask("proc/cmdline");
	mask("sys/firmware");
	mask("proc/no-such-file");
	set_attributes(root, 0, (struct mount_attr){.attr_set = RDONLY});
	must("fchdir", fchdir(root));
	must("pivot_root", syscall(SYS_pivot_root, ".", "."));
	must("umount2", syscall(SYS_umount2, ".", MNT_DETACH));
	must("chdir", chdir("/"));
}

static void loopback_up(void)
{
	int sock = must("socket", socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	must("lo", ioctl(sock, SIOCSIFFLAGS, &request));
	close(sock);
}

// rights gives up root, but for two capabilities.
static void rights(void)
{
	const uint64_t kept = 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE;
	must("prlimit", syscall(SYS_prlimit64, 0, RLIMIT_CORE, &(struct rlimit){0, 0}, NULL));
	must("PR_SET_DUMPABLE", prctl(PR_SET_DUMPABLE, 0));
	must("PR_CAP_AMBIENT", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
	for (int capability = 0; capability <= CAP_CHECKPOINT_RESTORE; capability++)
		if (!(kept >> capability & 1))
			must("PR_CAPBSET_DROP", prctl(PR_CAPBSET_DROP, capability));
	must("setgroups", setgroups(2, (gid_t[]){10, 20}));
	must("PR_SET_KEEPCAPS", prctl(PR_SET_KEEPCAPS, 1));
	must("setresgid", setresgid(1000, 1000, 1000));
	must("setresuid", setresuid(1000, 1000, 1000));
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2] = {{kept, kept, kept}};
	must("capset", syscall(SYS_capset, &header, sets));
	must("PR_CAP_AMBIENT", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0));
	must("PR_SET_NO_NEW_PRIVS", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

// container is what the child does to itself.
static void container(const char *path)
{
	char go;
	close(gate[1]);
	if (must("read", read(gate[0], &go, 1)) == 0)
		_exit(127);
	must("dup3", dup3(output, 1, 0));
	must("setsid", setsid());
	loopback_up();
	file_systems(path);
	must("sethostname", sethostname("box", 3));
	must("setdomainname", setdomainname("local", 5));
	umask(022);
	rights();
	must("close_range", syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC));
	must("rt_sigprocmask", syscall(SYS_rt_sigprocmask, SIG_SETMASK, &(uint64_t){0}, NULL, 8));
	char *const arguments[] = {"probe", NULL}, *const environment[] = {"PATH=/bin", "GREETING=hello\tworld", NULL};
	must("execve", execve("/probe", arguments, environment));
}

// one_round clones a child and waits for its end.
static void one_round(uint64_t namespaces, const char *path)
{
	int pidfd, status;
	if (path)
		must("write", write(gate[1], "g", 1));
	struct clone_args args = {
		.flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND | namespaces,
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
	};
	int pid = must("clone3", syscall(SYS_clone3, &args, sizeof args));
	if (pid == 0) {
		if (path)
			container(path);
		_exit(0);
	}
	must("waitpid", waitpid(pid, &status, __WALL));
	close(pidfd);
	if (status != 0) {
		fprintf(stderr, "container: the child ended with status %#x\n", status);
		exit(1);
	}
}

static int64_t clock_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

// cpu_now is the user and system time of this process and its children.
static int64_t cpu_now(void)
{
	static const int whose[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
	int64_t microseconds = 0;
	for (int i = 0; i < 2; i++) {
		struct rusage r;
		getrusage(whose[i], &r);
		microseconds += (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000LL + r.ru_utime.tv_usec + r.ru_stime.tv_usec;
	}
	return microseconds * 1000;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fputs("usage: container ROUNDS NAMESPACES [ROOT]\n", stderr);
		return 2;
	}
	int rounds = atoi(argv[1]);
	uint64_t namespaces = strtoull(argv[2], NULL, 0);
	int64_t wall[rounds];
	must("pipe2", pipe2(gate, O_CLOEXEC));
	output = must("/dev/null", open("/dev/null", O_WRONLY | O_CLOEXEC));
	for (int c; (c = getchar()) != EOF;) {
		if (c != '\n')
			continue;
		int64_t cpu = cpu_now();
		for (int i = 0; i < rounds; i++) {
			int64_t begin = clock_now();
			one_round(namespaces, argv[3]);
			wall[i] = clock_now() - begin;
		}
		printf("%lld", (long long)(cpu_now() - cpu));
		for (int i = 0; i < rounds; i++)
			printf(" %lld", (long long)wall[i]);
		puts("");
		fflush(stdout);
	}
	return 0;
}
