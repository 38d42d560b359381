#!/bin/sh
# Installs, from Debian's packages (Ubuntu has the same), the programs that the
# tests and the benchmark use beside skiff: the tools that look at a container
# with eyes other than ours, and the runtimes and image tools of others. Only
# what is missing is installed. Without root or apt-get the missing programs
# are listed, and the exit status is 1.
#
# skiff itself needs none of them.
#
# Some of the packages come with services: docker-registry, docker.io,
# containerd, podman. The tests use none, they start daemons of their own, and
# docker's would change the host's packet filter and have it forward packets.
# So no service is started by the installation or at the next boot. Where the
# machine has a policy of its own (policy-rc.d), that decides.
set -eu

# What is needed, a program in PATH or a file, and the package that brings it.
wanted='
bash                        bash
buildah                     buildah
busybox                     busybox-static
cc                          gcc
conmon                      conmon
containerd                  containerd
containerd-shim-runc-v2     containerd
criu                        criu
crun                        crun
ctr                         containerd
diff                        diffutils
docker                      docker.io
docker-init                 docker.io
docker-registry             docker-registry
dockerd                     docker.io
findmnt                     util-linux
gcc                         gcc
/usr/include/stdio.h        libc6-dev
hostname                    hostname
ip                          iproute2
ipcmk                       util-linux
ipcs                        util-linux
ldd                         libc-bin
mke2fs                      e2fsprogs
mmdebstrap                  mmdebstrap
lsns                        util-linux
mount                       mount
musl-gcc                    musl-tools
newgidmap                   uidmap
newuidmap                   uidmap
nft                         nftables
nsenter                     util-linux
ping                        iputils-ping
podman                      podman
ps                          procps
qemu-aarch64                qemu-user
qemu-system-x86_64          qemu-system-x86
runc                        runc
script                      bsdutils
setpriv                     util-linux
setsid                      util-linux
skopeo                      skopeo
/etc/containers/policy.json golang-github-containers-common
strace                      strace
tar                         tar
umoci                       umoci
unshare                     util-linux
xz                          xz-utils
zstd                        zstd
'

# missing prints the package of everything that is not there. Programs for
# root are looked for even where PATH leaves them out.
missing() {
	PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
	echo "$wanted" | while read -r what package; do
		case $what in
		'') ;;
		/*) [ -e "$what" ] || echo "$package" ;;
		*) command -v "$what" >/dev/null || echo "$package" ;;
		esac
	done | sort -u
}

# Words of one line: package names hold neither spaces nor patterns.
packages=$(missing | tr '\n' ' ')
[ -n "$packages" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "deps: not installed, for want of root or apt-get: $packages" >&2
	exit 1
fi

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi

echo "deps: installing $packages"
export DEBIAN_FRONTEND=noninteractive
quiet='-qq -o Dpkg::Use-Pty=0'
# shellcheck disable=SC2086 # both are lists of words
{
	apt-get $quiet update
	apt-get $quiet install --yes --no-install-recommends $packages
} </dev/null >/dev/null

# disable says that no service of a package that was installed just now is to
# be started at boot: docker.socket would, and with it docker.
disable() {
	case " $packages" in *" $1 "*) ;; *) return 0 ;; esac
	command -v systemctl >/dev/null || return 0
	dpkg-query --listfiles "$1" | awk -F/ '/\/systemd\/system\/[^\/@]*\.(service|socket|timer)$/ { print $NF }' |
		xargs -r systemctl --root=/ --quiet disable
}
for package in docker.io containerd docker-registry podman; do disable "$package"; done

packages=$(missing | tr '\n' ' ')
[ -z "$packages" ] || { echo "deps: still missing after installing: $packages" >&2; exit 1; }
