// The benchmark's container by hand and in C: what skiff-oci is measured against.
// It makes the same system calls with the same arguments in the same order, and
// nothing else: no configuration is read but the bytes of its file, no plan is made,
// nothing is looked for. What a runtime takes beyond this is what it costs to be one.
//
//	container create|start ID          in a bundle
//	container run [--detach] ID
//	container exec ID PROGRAM...
//	container delete --force ID
//
// The child's list can be read beside `skiff-oci run --explain`; what the commands do
// around it, beside strace(1). TestTheContainerInCMakesTheSameCalls compares both, and
// names what this program leaves out. The names in the comments are those of package
// container in final, where it does the same.
//
// bundle.h comes from the benchmark, beside the configuration:
//
//	PROGRAM      the arguments of the program
//	HIERARCHIES  of control groups: {"key in state.json", "mount point"}, by key
//	BY_PATH      the same by path: their places in HIERARCHIES

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bundle.h"

// <sys/mount.h> has this one, but it and <linux/mount.h> cannot be included
// together before glibc 2.37.
#define MNT_DETACH 2

#define ROOT "/run/static-c" // where the containers' folders are
#define COUNT(array) (sizeof(array) / sizeof *(array))
#define EACH(i, array) (size_t i = 0; i < COUNT(array); i++)

static char *const program[] = {PROGRAM, NULL};
static const struct { const char *key, *root; } hierarchies[] = {HIERARCHIES};
static const int by_path[] = {BY_PATH};

static const char *id;                      // of the container
static char bundle[512], rootfs[600];       // absolute
static char group[COUNT(hierarchies)][512]; // the container's groups

// What child and parent share: how far the child is, the errno of what failed, and the
// child's child. It is as large as that of skiff-oci, which may also measure each step.
static struct page { int64_t step, failed, child, rest[770]; } *page;
static int in_child;

// must ends the process when a call has failed.
static int must(const char *doing, long result)
{
	if (in_child)
		page->step++;
	if (result >= 0)
		return result;
	if (in_child)
		page->failed = errno;
	else
		fprintf(stderr, "container: %s: %s\n", doing, strerror(errno));
	_exit(127);
}

// may is must for a call that may also fail with one of two errnos.
static int may(const char *doing, long result, int fine, int also)
{
	return result < 0 && (errno == fine || errno == also) ? -1 : must(doing, result);
}

// join puts two parts of a path together.
static void join(char *text, size_t size, const char *dir, const char *name)
{
	if ((size_t)snprintf(text, size, "%s%s", dir, name) >= size)
		must(dir, (errno = ENAMETOOLONG, -1));
}

// path is a path that is made of two parts. It is good until the fourth after it.
static const char *path(const char *dir, const char *name)
{
	static char text[4][700];
	static unsigned next;
	char *it = text[next++ % COUNT(text)];
	join(it, sizeof *text, dir, name);
	return it;
}

static const char *group_of(const char *key)
{
	for EACH(i, hierarchies)
		if (strcmp(hierarchies[i].key, key) == 0)
			return group[i];
	return "no such controller";
}

// Files.

// read_some reads a file that is never larger than this at once. -1: it is not there.
static int read_some(const char *name, char *text, size_t size)
{
	int fd = may(name, openat(AT_FDCWD, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC), ENOENT, ENOENT);
	if (fd < 0)
		return -1;
	int n = must(name, read(fd, text, size - 1));
	text[n] = 0;
	close(fd);
	return n;
}

// read_to_end reads what is open until nothing more comes.
static int read_to_end(int fd, char *text, size_t size)
{
	size_t n = 0;
	for (int more; (more = must("read", read(fd, text + n, size - 1 - n))) > 0;)
		n += more;
	text[n] = 0;
	return n;
}

// read_file reads a file of any size, as os.ReadFile does.
static int read_file(const char *name, int flags, char *text, size_t size)
{
	struct stat st;
	int fd = must(name, openat(AT_FDCWD, name, O_RDONLY | flags | O_CLOEXEC));
	must(name, syscall(SYS_fstat, fd, &st));
	int n = read_to_end(fd, text, size);
	close(fd);
	return n;
}

// read_control reads a file of a control group.
static int read_control(const char *name, char *text, size_t size)
{
	int fd = must(name, openat(AT_FDCWD, name, O_RDONLY | O_CLOEXEC));
	int n = read_to_end(fd, text, size);
	close(fd);
	return n;
}

static int open_control(const char *name)
{
	return must(name, openat(AT_FDCWD, name, O_WRONLY | O_APPEND | O_CLOEXEC));
}

static void write_file(const char *name, int flags, const char *text, size_t n)
{
	int fd = must(name, openat(AT_FDCWD, name, O_WRONLY | O_CREAT | flags | O_CLOEXEC, 0600));
	must(name, write(fd, text, n));
	close(fd);
}

// is_there is access(2): the faccessat of glibc makes another call.
static int is_there(const char *name) { return syscall(SYS_faccessat, AT_FDCWD, name, F_OK) == 0; }

static int look(const char *name)
{
	struct stat st;
	return fstatat(AT_FDCWD, name, &st, 0);
}

static int look_at_link(const char *name)
{
	struct stat st;
	return fstatat(AT_FDCWD, name, &st, AT_SYMLINK_NOFOLLOW);
}

// The child's list. Finding: openat2(2).

static int root; // the root directory of the container
static int null; // the host's /dev/null, as a mount

#define PATH (O_PATH | O_CLOEXEC)
#define DIRECTORY (O_PATH | O_DIRECTORY | O_CLOEXEC)
#define NO_LINKS (RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)
#define NO_MAGIC (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

static long find(int dir, const char *name, uint64_t flags, uint64_t resolve)
{
	struct open_how how = {.flags = flags, .resolve = resolve};
	return syscall(SYS_openat2, dir, name, &how, sizeof how);
}

// point finds the place of a mount, and makes it where there is none.
static int point(const char *name, uint64_t resolve)
{
	int target = may(name, find(root, name, PATH, resolve), ENOENT, ENOENT);
	if (target >= 0)
		return target;
	char above[64] = ".", part[64];
	for (const char *begin = name, *end; *begin; begin = end + (*end == '/')) {
		end = strchrnul(begin, '/');
		int parent = must(above, find(root, above, DIRECTORY, resolve));
		snprintf(part, sizeof part, "%.*s", (int)(end - begin), begin);
		may(name, mkdirat(parent, part, 0755), EEXIST, EEXIST);
		snprintf(above, sizeof above, "%.*s", (int)(end - name), name);
	}
	return must(name, find(root, name, PATH, resolve));
}

// Mounting: fsopen(2), fsconfig(2), fsmount(2), open_tree(2), move_mount(2),
// mount_setattr(2).

static int open_tree_of(int dir, const char *name, unsigned flags)
{
	return must("open_tree", syscall(SYS_open_tree, dir, name, flags | OPEN_TREE_CLOEXEC));
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
	must("fsconfig", syscall(SYS_fsconfig, fs, command, key, value, 0));
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

static void mount_on(const char *name, const char *type, uint64_t resolve, const char *const *options, unsigned attributes)
{
	int target = point(name, resolve);
	attach(new_mount(type, options, attributes), target);
}

static void mounts(void)
{
	mount_on("proc", "proc", NO_LINKS, OPTIONS("source", "proc"), 0);
	mount_on("dev", "tmpfs", NO_MAGIC, OPTIONS("source", "tmpfs", "mode", "755", "size", "65536k"),
		NOSUID | MOUNT_ATTR_STRICTATIME);
	mount_on("dev/pts", "devpts", NO_MAGIC,
		OPTIONS("source", "devpts", "newinstance", NULL, "ptmxmode", "0666", "mode", "0620", "gid", "5"), NOSUID | NOEXEC);
	mount_on("dev/shm", "tmpfs", NO_MAGIC, OPTIONS("source", "shm", "mode", "1777", "size", "65536k"),
		NOSUID | NODEV | NOEXEC);
	mount_on("dev/mqueue", "mqueue", NO_MAGIC, OPTIONS("source", "mqueue"), NOSUID | NODEV | NOEXEC);
	mount_on("sys", "sysfs", NO_LINKS, OPTIONS("source", "sysfs"), NOSUID | NODEV | NOEXEC | RDONLY);
}

// cgroup_mounts shows the container its groups: bind mounts on a tmpfs.
static void cgroup_mounts(void)
{
	mount_on("sys/fs/cgroup", "tmpfs", NO_MAGIC, OPTIONS("source", "tmpfs", "mode", "755"), NOSUID | NODEV | NOEXEC);
	int shelf = must("shelf", find(root, "sys/fs/cgroup", DIRECTORY, NO_MAGIC));
	for EACH(i, hierarchies) {
		const char *name = strrchr(hierarchies[i].root, '/') + 1;
		must(name, mkdirat(shelf, name, 0755));
		int place = must(name, find(shelf, name, DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS));
		int mount = open_tree_of(AT_FDCWD, group[i], OPEN_TREE_CLONE);
		set_attributes(mount, 0, (struct mount_attr){
			.attr_set = RDONLY | NOSUID | NODEV | NOEXEC, .attr_clr = MOUNT_ATTR__ATIME});
		attach(mount, place);
	}
	set_attributes(shelf, 0, (struct mount_attr){.attr_set = RDONLY});
}

static void devices(void)
{
	static const struct { const char *name; int major, minor; } nodes[] = {
		{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
	};
	for EACH(i, nodes) {
		int dev = must("dev", find(root, "dev", DIRECTORY, NO_LINKS));
		must(nodes[i].name, mknodat(dev, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
	}
	static const struct { const char *target, *name; } links[] = {
		{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
		{"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
	};
	int dev = must("dev", find(root, "dev", DIRECTORY, NO_LINKS));
	for EACH(i, links)
		may(links[i].name, symlinkat(links[i].target, dev, links[i].name), EEXIST, EEXIST);
}

static const char *const readonly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};

static void read_only(const char *name)
{
	int target = may(name, find(root, name, PATH, NO_MAGIC), ENOENT, ENOENT);
	if (target < 0)
		return;
	int mount = open_tree_of(target, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE);
	set_attributes(mount, AT_RECURSIVE, (struct mount_attr){.attr_set = RDONLY});
	attach(mount, target);
}

static const char *const masked[] = {
	"proc/acpi", "proc/asound", "proc/kcore", "proc/keys", "proc/latency_stats", "proc/timer_list",
	"proc/timer_stats", "proc/sched_debug", "sys/firmware", "proc/scsi",
};

static void mask(const char *name)
{
	int target = may(name, find(root, name, DIRECTORY, NO_MAGIC), ENOENT, ENOTDIR);
	if (target >= 0) {
		attach(new_mount("tmpfs", OPTIONS(), RDONLY | NOSUID | NODEV | NOEXEC), target);
		return;
	}
	target = may(name, find(root, name, PATH, NO_MAGIC), ENOENT, ENOENT);
	if (target < 0)
		return;
	int cover = open_tree_of(null, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
	set_attributes(cover, 0, (struct mount_attr){.attr_set = RDONLY | NOSUID | NOEXEC});
	attach(cover, target);
}

static int tasks[COUNT(by_path)]; // the ways into the groups

static void open_groups(void)
{
	for EACH(i, by_path)
		tasks[i] = must("tasks", find(AT_FDCWD, path(group[by_path[i]], "/tasks"), O_WRONLY | O_CLOEXEC, 0));
}

static void enter_groups(void)
{
	for EACH(i, by_path)
		must("tasks", write(tasks[i], "0", 1));
}

static void loopback_up(void)
{
	int sock = must("socket", socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	must("lo", ioctl(sock, SIOCSIFFLAGS, &request));
	close(sock);
}

// keyring gives the program a session keyring of its own: keyctl(2). Its possessor may
// do everything with it; the user may view, read, search and link it.
static void keyring(void)
{
	int key = must("keyring", syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, path("_ses.", id)));
	must("keyring", syscall(SYS_keyctl, KEYCTL_SETPERM, key, 0x3f1b0000));
}

// rights gives up root, but for three capabilities.
static void rights(void)
{
	const uint32_t kept = 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE | 1u << CAP_AUDIT_WRITE;
	must("prlimit", syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &(struct rlimit){1024, 1024}, NULL));
	for (int capability = 0; capability <= CAP_LAST_CAP; capability++)
		if (capability >= 32 || !(kept >> capability & 1))
			must("PR_CAPBSET_DROP", prctl(PR_CAPBSET_DROP, capability));
	must("setgroups", syscall(SYS_setgroups, 0, NULL));
	must("setresgid", setresgid(0, 0, 0));
	must("setresuid", setresuid(0, 0, 0));
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2] = {{.effective = kept, .permitted = kept}};
	must("capset", syscall(SYS_capset, &header, sets));
	must("PR_CAP_AMBIENT", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
	must("PR_SET_NO_NEW_PRIVS", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

// What parent and child have open on both sides of the clone; -1 is not there.
static int lock = -1, journal = -1;
static int gate[2];         // the child waits at [0] until the parent writes to [1]
static int alive[2];        // the child has [1] until its program runs
static int ready[2];        // create: the child writes to [1] when only its program is missing
static int fifo = -1;       // create: it waits here for start
static int reserved;        // the number that alive[1] moves to
static int report_fd = -1;  // create: the file that holds the page

// close_all_but closes all descriptors from 3 on but those, which are in order.
static void close_all_but(const int *kept, int n)
{
	unsigned first = 3;
	for (int i = 0; i < n; first = kept[i++] + 1)
		if ((unsigned)kept[i] > first)
			must("close_range", syscall(SYS_close_range, first, kept[i] - 1, 0));
	must("close_range", syscall(SYS_close_range, first, ~0u, 0));
	must("close_range", syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC));
}

static void find_program(char *const *args)
{
	must(args[0], syscall(SYS_faccessat2, AT_FDCWD, args[0], X_OK, AT_EACCESS));
}

static void working_directory(void)
{
	must("cwd", fchdir(must("cwd", find(AT_FDCWD, "/", DIRECTORY, NO_MAGIC))));
	umask(022);
}

static void execute(char *const *args)
{
	char *const environment[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", "HOME=/", NULL};
	must("rt_sigprocmask", syscall(SYS_rt_sigprocmask, SIG_SETMASK, &(uint64_t){0}, NULL, 8));
	must(args[0], execve(args[0], args, environment));
}

static void wait_for_start(void)
{
	char go;
	must("ready", write(ready[1], "r", 1));
	close(ready[1]);
	must("start", read(fifo, &go, 1));
}

// container is what the child does to itself.
static void container(int created)
{
	char go;
	in_child = 1;
	open_groups();
	enter_groups();
	must("setsid", setsid());
	loopback_up();
	must("mount", syscall(SYS_mount, NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
	root = open_tree_of(AT_FDCWD, rootfs, OPEN_TREE_CLONE | AT_RECURSIVE);
	attach(root, must("rootfs", find(AT_FDCWD, rootfs, DIRECTORY, 0)));
	null = open_tree_of(AT_FDCWD, "/dev/null", 0);
	umask(0);
	mounts();
	close(gate[1]);
	if (must("gate", read(gate[0], &go, 1)) == 0)
		_exit(127);
	close(lock);
	cgroup_mounts();
	devices();
	for EACH(i, readonly)
		read_only(readonly[i]);
	for EACH(i, masked)
		mask(masked[i]);
	set_attributes(root, 0, (struct mount_attr){.attr_set = RDONLY});
	must("fchdir", fchdir(root));
	must("pivot_root", syscall(SYS_pivot_root, ".", "."));
	must("umount2", syscall(SYS_umount2, ".", MNT_DETACH));
	must("chdir", chdir("/"));
	must("sethostname", sethostname("runc", 4));
	keyring();
	must("dup3", dup3(alive[1], reserved, O_CLOEXEC));
	if (created)
		close_all_but((int[]){ready[1], fifo, reserved}, 3);
	else
		close_all_but(&reserved, 1);
	find_program(program);
	if (created)
		may(program[0], syscall(SYS_faccessat2, AT_FDCWD, path(program[0], "/."), X_OK, AT_EACCESS), ENOTDIR, EACCES);
	working_directory();
	if (created)
		must("PR_SET_DUMPABLE", prctl(PR_SET_DUMPABLE, 0));
	rights();
	if (created)
		wait_for_start();
	execute(program);
}

// newcomer is what a process does to itself that exec brings into a container: it joins,
// and then its child, whom the new pid namespace counts, becomes the program.
static void newcomer(int container_pidfd, char *const *args)
{
	in_child = 1;
	open_groups();
	must("PR_SET_DUMPABLE", prctl(PR_SET_DUMPABLE, 0));
	must("setns", syscall(SYS_setns, container_pidfd, CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET));
	int child = must("clone", syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL));
	if (child) {
		page->child = child;
		_exit(0);
	}
	enter_groups();
	for EACH(i, by_path)
		close(tasks[i]);
	must("setsid", setsid());
	keyring();
	must("dup3", dup3(alive[1], reserved, O_CLOEXEC));
	close_all_but(&reserved, 1);
	find_program(args);
	working_directory();
	rights();
	execute(args);
}

// The parent: create and run.

static char config[8192];
static int config_size;

// locate finds the bundle, as os.Getwd does, and names what belongs to it.
static void locate(void)
{
	must(".", look("."));
	must("PWD", look(getenv("PWD")));
	join(bundle, sizeof bundle, getenv("PWD"), "");
	join(rootfs, sizeof rootfs, bundle, "/rootfs");
}

static void name_groups(void)
{
	for EACH(i, hierarchies)
		join(group[i], sizeof *group, path(hierarchies[i].root, "/static-"), id);
}

// in_folder is the path of a file in the container's folder.
static const char *in_folder(const char *name) { return path(path(ROOT "/", id), name); }

// make_folder makes the container's folder and locks it.
static void make_folder(void)
{
	if (look(ROOT) < 0) {
		must("/run", look("/run"));
		must(ROOT, mkdirat(AT_FDCWD, ROOT, 0700));
	}
	int all = must(ROOT, openat(AT_FDCWD, ROOT, O_RDONLY | O_CLOEXEC));
	must(ROOT, flock(all, LOCK_EX));
	must(id, mkdirat(AT_FDCWD, in_folder(""), 0700));
	lock = must(id, openat(AT_FDCWD, in_folder(""), O_RDONLY | O_CLOEXEC));
	must(id, flock(lock, LOCK_EX | LOCK_NB));
	close(all);
}

static void open_journal(void)
{
	char text[8192];
	struct stat st;
	journal = must("journal", openat(AT_FDCWD, in_folder("/journal"),
		O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC, 0600));
	must("journal", syscall(SYS_fstat, journal, &st));
	geteuid();
	read_to_end(journal, text, sizeof text);
}

// choose_cgroup looks where the groups can be.
static void choose_cgroup(void)
{
	char text[65536];
	read_file("/proc/self/mountinfo", 0, text, sizeof text);
	read_file("/proc/self/cgroup", 0, text, sizeof text);
	for EACH(i, hierarchies)
		must(hierarchies[i].root, look(hierarchies[i].root));
	geteuid();
	read_file("/proc/self/uid_map", 0, text, sizeof text);
	name_groups();
	is_there(group[0]);
}

// start_files makes the FIFO at which the child waits, and the report.
static void start_files(void)
{
	must("fifo", mknodat(AT_FDCWD, in_folder("/start.new"), S_IFIFO | 0600, 0));
	fifo = must("fifo", openat(AT_FDCWD, in_folder("/start.new"), O_RDWR | O_CLOEXEC));
	report_fd = must("report", openat(AT_FDCWD, in_folder("/report"), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
}

static void look_into_rootfs(const char *name, int flags)
{
	char target[128];
	int dir = must(rootfs, openat(AT_FDCWD, rootfs, DIRECTORY));
	int found = find(dir, name, PATH | flags, NO_MAGIC);
	if (found >= 0) {
		may(name, readlinkat(found, "", target, sizeof target), ENOENT, ENOENT); // no link
		close(found);
	}
	close(dir);
}

// prepare_rights is the same for what a process gives up, in the user namespace of another.
static void prepare_rights(int pid)
{
	char text[4096], name[64];
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2];
	struct rlimit limit;
	reserved = must("/dev/null", openat(AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC));
	must("capget", syscall(SYS_capget, &header, sets));
	snprintf(name, sizeof name, "/proc/%d/setgroups", pid);
	read_file(name, 0, text, sizeof text);
	read_file("/proc/sys/kernel/cap_last_cap", 0, text, sizeof text);
	must("getrlimit", syscall(SYS_getrlimit, RLIMIT_NOFILE, &limit));
	must("getrlimit", syscall(SYS_getrlimit, RLIMIT_NOFILE, &limit));
}

// prepare is what skiff-oci looks at on the host to make its plan. The answers are known
// here.
static void prepare(void)
{
	char text[128];
	look_into_rootfs("etc/passwd", 0);
	must("user namespace", readlinkat(AT_FDCWD, "/proc/self/ns/user", text, sizeof text));
	look_into_rootfs("proc", O_NOFOLLOW);
	look_into_rootfs("dev", O_NOFOLLOW);
	look_into_rootfs("sys", O_NOFOLLOW);
	must("/dev/null", look_at_link("/dev/null"));
	prepare_rights(getpid());
}
static void inherit_cpuset(const char *file)
{
	char text[4096];
	const char *from = group_of("cpuset"), *above = strrchr(from, '/');
	char parent[600];
	snprintf(parent, sizeof parent, "%.*s%s", (int)(above - from), from, file);
	int n = read_control(parent, text, sizeof text);
	int fd = open_control(path(from, file));
	must(file, write(fd, text, n));
	close(fd);
}

static void write_text(int fd, const char *text) { must(text, write(fd, text, strlen(text))); }

// allow_devices forbids all devices but those that every container has.
static void allow_devices(void)
{
	static const char *const allowed[] = {
		"c *:* m\n", "b *:* m\n", "c 1:3 rwm\n", "c 1:5 rwm\n", "c 1:7 rwm\n", "c 1:8 rwm\n", "c 1:9 rwm\n",
		"c 5:0 rwm\n", "c 5:1 rwm\n", "c 5:2 rwm\n", "c 136:* rwm\n", "c 10:200 rwm\n",
	};
	char text[4096];
	read_control(path(group_of("devices"), "/devices.list"), text, sizeof text);
	int deny = open_control(path(group_of("devices"), "/devices.deny"));
	int allow = open_control(path(group_of("devices"), "/devices.allow"));
	write_text(deny, "a\n");
	write_text(deny, "a\n");
	for EACH(i, allowed)
		write_text(allow, allowed[i]);
	close(allow);
	close(deny);
}

// make_cgroup makes the groups, after the journal says so, and sets their limits.
static void make_cgroup(void)
{
	char entry[8192];
	struct stat st;
	int n = snprintf(entry, sizeof entry, "{\"undo\":\"cgroup\",\"args\":[");
	for EACH(i, hierarchies) {
		if (is_there(group[i]))
			must(group[i], (errno = EEXIST, -1));
		n += snprintf(entry + n, sizeof entry - n, "%s\"%s\"", i ? "," : "", group[i]);
	}
	n += snprintf(entry + n, sizeof entry - n, "]}\n");
	must("journal", syscall(SYS_fstat, journal, &st));
	must("journal", write(journal, entry, n));
	for EACH(i, hierarchies)
		must(group[i], mkdirat(AT_FDCWD, group[i], 0755));
	inherit_cpuset("/cpuset.cpus");
	inherit_cpuset("/cpuset.mems");
	allow_devices();
}

// share makes the page, in the report where there is one.
static void share(void)
{
	int where = report_fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
	if (report_fd >= 0)
		must("report", ftruncate(report_fd, sizeof *page));
	page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, where, report_fd, 0);
	if (page == MAP_FAILED)
		must("page", -1);
}

// clone_child makes the child, which gets 0. No signal comes to it before it is the
// program.
static int clone_child(uint64_t namespaces, int *pidfd)
{
	uint64_t all = ~0ull, before;
	share();
	must("pipe2", pipe2(alive, O_CLOEXEC));
	must("rt_sigprocmask", syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, 8));
	struct clone_args args = {
		.flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND | namespaces,
		.pidfd = (uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
	};
	int pid = must("clone3", syscall(SYS_clone3, &args, sizeof args));
	if (pid == 0)
		return 0;
	must("rt_sigprocmask", syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, 8));
	close(alive[1]);
	return pid;
}

// start_time reads when a process was born, or 0 when it has ended: proc_pid_stat(5).
static unsigned long long start_time(int pid)
{
	char text[1024], name[64], letter;
	unsigned long long born = 0;
	snprintf(name, sizeof name, "/proc/%d/stat", pid);
	int fd = openat(AT_FDCWD, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return 0;
	int n = read(fd, text, sizeof text - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	char *after = strrchr(text, ')');
	if (!after || sscanf(after, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &letter, &born) != 2)
		return 0;
	return letter == 'Z' || letter == 'X' ? 0 : born;
}

static char state[8192];

// write_state gives the file its name when it is whole.
static void write_state(void)
{
	write_file(in_folder("/state.json.new"), O_TRUNC, state, strlen(state));
	must("state", renameat(AT_FDCWD, in_folder("/state.json.new"), AT_FDCWD, in_folder("/state.json")));
}

// date is gmtime(3) and strftime(3), which would read the machine's time zone.
static void date(char *text, size_t size, int64_t seconds)
{
	int64_t days = seconds / 86400, rest = seconds % 86400;
	int year = 1970, month = 0, leap;
	for (; days >= 365 + (leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)); year++)
		days -= 365 + leap;
	for (int length; days >= (length = month == 1 ? 28 + leap : 30 + (month + month / 7 + 1) % 2); month++)
		days -= length;
	snprintf(text, size, "%04d-%02d-%02dT%02d:%02d:%02d", year, month + 1, (int)days + 1,
		(int)(rest / 3600), (int)(rest / 60 % 60), (int)(rest % 60));
}

// remember writes the first state.
static void remember(int pid, int created)
{
	struct timespec now;
	char at[64];
	locate();
	unsigned long long born = start_time(pid);
	write_file(in_folder("/config.json"), O_EXCL, config, config_size);
	clock_gettime(CLOCK_REALTIME, &now);
	date(at, sizeof at, now.tv_sec);
	int n = snprintf(state, sizeof state,
		"{\n  \"ociVersion\": \"1.3.0\",\n  \"id\": \"%s\",\n  \"status\": \"created\",\n  \"pid\": %d,\n"
		"  \"bundle\": \"%s\",\n  \"created\": \"%s.%09ldZ\",\n  \"startTime\": %llu,\n  \"started\": %s,\n"
		"  \"rootfs\": \"%s\",\n  \"attended\": %s,\n  \"cgroupPaths\": {\n",
		id, pid, bundle, at, now.tv_nsec, born, created ? "false" : "true", rootfs, created ? "false" : "true");
	for EACH(i, hierarchies)
		n += snprintf(state + n, sizeof state - n, "    \"%s\": \"%s\"%s\n", hierarchies[i].key, group[i],
			i + 1 < COUNT(hierarchies) ? "," : "");
	snprintf(state + n, sizeof state - n, "  },\n  \"ownPids\": true,\n  \"keyring\": \"_ses.%s\"\n}\n", id);
	write_state();
}

// assemble is what create and run have in common.
static int assemble(int created, int *pidfd)
{
	locate();
	config_size = read_file("config.json", O_NONBLOCK, config, sizeof config);
	if (created)
		must("pipe2", pipe2(ready, O_CLOEXEC));
	make_folder();
	open_journal();
	must(rootfs, look(rootfs));
	choose_cgroup();
	must("pipe2", pipe2(gate, O_CLOEXEC));
	if (created)
		start_files();
	prepare();
	make_cgroup();
	int pid = clone_child(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET, pidfd);
	if (pid == 0)
		container(created);
	remember(pid, created);
	must("gate", write(gate[1], "g", 1));
	close(reserved);
	if (created)
		close(report_fd);
	close(gate[0]);
	close(gate[1]);
	return pid;
}

// failed says why the child has ended.
static void failed(void)
{
	fprintf(stderr, "container: the child failed at step %lld: %s\n", (long long)page->step, strerror(page->failed));
	exit(1);
}

// plan is from where on start may have to name the step that failed.
static const char plan[] =
	"tell the parent: ready for start\twrite(ready for start, \"r\", 1)\t7\twait for start\n"
	"tell the parent: ready for start\tclose(ready for start)\t7\twait for start\n"
	"wait for start\tread(start, \"s\", 1)\t7\twait for start\n"
	"set signal mask\trt_sigprocmask(SIG_SETMASK, [], NULL, 8)\t7\tthe program\n"
	"execute the program\texecve(...)\t7\tthe program\n";

static void create(void)
{
	int pidfd;
	char told;
	assemble(1, &pidfd);
	write_file(in_folder("/plan.txt"), O_TRUNC, plan, sizeof plan - 1);
	close(ready[1]);
	if (must("ready", read(ready[0], &told, 1)) == 0)
		failed();
	must("start", renameat(AT_FDCWD, in_folder("/start.new"), AT_FDCWD, in_folder("/start")));
	close(alive[0]);
	close(pidfd);
	munmap(page, sizeof *page);
	close(journal);
	close(lock);
	close(fifo);
	close(ready[0]);
}

// start and delete.

// read_state returns the process of the container if that lives, or 0. Nothing else of
// the state has to be known here. Where a killed command has left half a container,
// there is none.
static int read_state(void)
{
	if (read_some(in_folder("/state.json"), state, sizeof state) < 0)
		return 0;
	const char *pid = strstr(state, "\"pid\": "), *born = strstr(state, "\"startTime\": ");
	if (!pid || !born)
		must("state", (errno = EINVAL, -1));
	int process = atoi(pid + strlen("\"pid\": "));
	unsigned long long then = strtoull(born + strlen("\"startTime\": "), NULL, 10);
	return start_time(process) == then ? process : 0;
}

// paused asks whether the container is; this one never is.
static void paused(void)
{
	char text[256];
	read_some(path(group_of("freezer"), "/freezer.state"), text, sizeof text);
}

static void lock_folder(void)
{
	lock = must(id, openat(AT_FDCWD, in_folder(""), O_RDONLY | O_CLOEXEC));
	must(id, flock(lock, LOCK_EX));
}

static void start(void)
{
	int64_t report[2];
	name_groups();
	if (!read_state())
		must("state", (errno = ESRCH, -1));
	paused();
	if (!is_there(in_folder("/start")))
		must("start", (errno = ENOENT, -1));
	lock_folder();
	fifo = must("start", openat(AT_FDCWD, in_folder("/start"), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
	must("start", write(fifo, "s", 1));
	must("wait", ppoll(&(struct pollfd){.fd = fifo}, 1, NULL, NULL)); // POLLERR: nobody reads any more
	report_fd = must("report", openat(AT_FDCWD, in_folder("/report"), O_RDONLY | O_CLOEXEC));
	must("report", pread(report_fd, report, sizeof report, 0));
	close(report_fd);
	if (report[1])
		must("the child", (errno = report[1], -1));
	char *started = strstr(state, "\"started\": false");
	if (started) {
		started += strlen("\"started\": ");
		memcpy(started, "true", 4);
		memmove(started + 4, started + 5, strlen(started + 5) + 1);
	}
	write_state();
	close(fifo);
	close(lock);
}

// end kills the process and waits until it has ended.
static void end(int pid)
{
	paused();
	is_there(in_folder("/start"));
	int pidfd = may("pidfd_open", syscall(SYS_pidfd_open, pid, 0), ESRCH, ESRCH);
	if (pidfd < 0)
		return;
	if (start_time(pid))
		may("kill", syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0), ESRCH, ESRCH);
	close(pidfd);
	paused();
	pidfd = may("pidfd_open", syscall(SYS_pidfd_open, pid, 0), ESRCH, ESRCH);
	if (pidfd < 0)
		return;
	must("wait", ppoll(&(struct pollfd){.fd = pidfd, .events = POLLIN}, 1, &(struct timespec){.tv_sec = 10}, NULL));
	close(pidfd);
}

// remove_group removes a group, after making sure that it is one and not the root of a
// hierarchy. Somebody may be on his way out of it.
static void remove_group(const char *dir)
{
	struct statfs fs;
	struct statx st;
	int fd = may(dir, find(AT_FDCWD, dir, PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS), ENOENT, ENOENT);
	if (fd < 0)
		return;
	must(dir, fstatfs(fd, &fs));
	must(dir, statx(fd, "", AT_EMPTY_PATH, 0, &st));
	close(fd);
	for (int tries = 0; may(dir, unlinkat(AT_FDCWD, dir, AT_REMOVEDIR), tries < 10000 ? EBUSY : 0, ENOENT) < 0; tries++)
		if (errno == ENOENT)
			return;
		else
			usleep(100);
}

// remove_folder removes the container's folder.
static void remove_folder(void)
{
	char entries[8192];
	look_at_link("/run");
	look_at_link(ROOT);
	int above = must(ROOT, find(AT_FDCWD, ROOT, DIRECTORY, RESOLVE_NO_SYMLINKS));
	may(id, unlinkat(above, id, 0), EISDIR, EISDIR);
	int dir = must(id, find(above, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV));
	for (ssize_t n; (n = must(id, getdents64(dir, entries, sizeof entries))) > 0;)
		for (ssize_t at = 0; at < n;) {
			struct dirent64 *entry = (struct dirent64 *)(entries + at);
			at += entry->d_reclen;
			if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
				must(entry->d_name, unlinkat(dir, entry->d_name, 0));
		}
	close(dir);
	must(id, unlinkat(above, id, AT_REMOVEDIR));
	close(above);
}

// undo unmakes what is on the host, as the journal says.
static void undo(void)
{
	for EACH(i, hierarchies)
		remove_group(group[i]);
	may("journal", unlinkat(AT_FDCWD, in_folder("/journal.new"), 0), ENOENT, ENOENT);
	must("journal", unlinkat(AT_FDCWD, in_folder("/journal"), 0));
	close(journal);
	remove_folder();
	close(lock);
}

static void delete(void)
{
	struct stat st;
	name_groups();
	int pid = read_state();
	if (pid)
		end(pid);
	else if (!*state && !is_there(in_folder("")))
		return; // there is no such container
	lock_folder();
	must(id, syscall(SYS_fstat, lock, &st));
	must(id, look_at_link(in_folder("")));
	read_state();
	is_there(in_folder("/journal"));
	open_journal();
	undo();
}

// run and exec.

static int signals[2];

// hear_signals makes the pipe through which skiff-oci hears of signals. Here none is sent.
static void hear_signals(void)
{
	must("pipe2", pipe2(signals, O_CLOEXEC | O_NONBLOCK));
}

// wait_and_hear waits for a process's end or a signal.
static void wait_and_hear(int pidfd)
{
	char number[64];
	struct pollfd wait[] = {{.fd = pidfd, .events = POLLIN}, {.fd = signals[0], .events = POLLIN}};
	must("wait", ppoll(wait, COUNT(wait), NULL, NULL));
	may("signals", read(signals[0], number, sizeof number), EAGAIN, EAGAIN);
}

// wait_for waits until the program runs, and then for its end. The status is a shell's.
static int wait_for(int pid, int pidfd)
{
	char nothing[1];
	int status;
	must("alive", read(alive[0], nothing, sizeof nothing)); // end of file
	wait_and_hear(pidfd);
	must("wait", wait4(pid, &status, 0, NULL));
	if (page->failed)
		fprintf(stderr, "container: the child failed at step %lld: %s\n", (long long)page->step, strerror(page->failed));
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int run(void)
{
	int pidfd;
	hear_signals();
	int pid = assemble(0, &pidfd), status = wait_for(pid, pidfd);
	may("kill", syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0), ESRCH, ESRCH);
	close(alive[0]);
	close(pidfd);
	munmap(page, sizeof *page);
	undo();
	return status;
}

// same_namespace asks whether a process has a namespace of the container's already.
static void same_namespace(int pid, const char *kind, const char *ours)
{
	char name[64];
	snprintf(name, sizeof name, "/proc/%d/ns/%s", pid, kind);
	must(kind, look(name));
	snprintf(name, sizeof name, "/proc/thread-self/ns/%s", ours);
	must(ours, look(name));
}

// prepare_exec is what skiff-oci looks at on the host to make its plan.
static void prepare_exec(int pid, int container_pidfd)
{
	static const struct { const char *kind, *ours; } kinds[] = {
		{"user", "user"}, {"mnt", "mnt"}, {"pid", "pid_for_children"}, {"net", "net"},
		{"ipc", "ipc"}, {"uts", "uts"}, {"cgroup", "cgroup"}, {"time", "time_for_children"},
	};
	char text[4096], fdinfo[64];
	read_file(in_folder("/config.json"), O_NONBLOCK, config, sizeof config);
	snprintf(rootfs, sizeof rootfs, "/proc/%d/root", pid);
	look_into_rootfs("etc/passwd", 0);
	snprintf(fdinfo, sizeof fdinfo, "/proc/self/fdinfo/%d", container_pidfd);
	read_file(fdinfo, 0, text, sizeof text);
	for EACH(i, kinds)
		same_namespace(pid, kinds[i].kind, kinds[i].ours);
	read_file(fdinfo, 0, text, sizeof text);
	prepare_rights(pid);
}

static int exec(char *const *args)
{
	int first_pidfd, status;
	hear_signals();
	name_groups();
	int container_pid = read_state();
	if (!container_pid)
		must("state", (errno = ESRCH, -1));
	paused();
	int container_pidfd = must("pidfd_open", syscall(SYS_pidfd_open, container_pid, 0));
	if (!start_time(container_pid))
		must("state", (errno = ESRCH, -1));
	prepare_exec(container_pid, container_pidfd);
	int first = clone_child(0, &first_pidfd);
	if (first == 0)
		newcomer(container_pidfd, args);
	must("wait", wait4(first, &status, 0, NULL));
	if (page->failed)
		failed();
	int pidfd = must("pidfd_open", syscall(SYS_pidfd_open, (int)page->child, 0));
	close(first_pidfd);
	close(reserved);
	status = wait_for(page->child, pidfd);
	close(container_pidfd);
	close(alive[0]);
	close(pidfd);
	munmap(page, sizeof *page);
	return status;
}

int main(int argc, char **argv)
{
	const char *command = argc > 2 ? argv[1] : "";
	id = argv[argc - 1];
	if (strcmp(command, "create") == 0)
		create();
	else if (strcmp(command, "start") == 0)
		start();
	else if (strcmp(command, "delete") == 0)
		delete();
	else if (strcmp(command, "run") == 0 && strcmp(argv[2], "--detach") == 0) {
		create();
		start();
	} else if (strcmp(command, "run") == 0)
		return run();
	else if (strcmp(command, "exec") == 0 && argc > 3) {
		id = argv[2];
		return exec(argv + 3);
	} else {
		fputs("usage: container create|start|run|exec|delete ID\n", stderr);
		return 2;
	}
	return 0;
}
