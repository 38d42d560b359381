module skiff.example/stage03-cgroups

go 1.26

require (
	skiff.example/stage01-chroot v0.0.0
	skiff.example/stage02-namespaces v0.0.0
)

replace (
	skiff.example/stage01-chroot => ../stage01-chroot
	skiff.example/stage02-namespaces => ../stage02-namespaces
)
