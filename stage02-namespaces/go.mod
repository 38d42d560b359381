module skiff.example/stage02-namespaces

go 1.26

require (
	skiff.example/stage01-chroot v0.0.0
)

replace (
	skiff.example/stage01-chroot => ../stage01-chroot
)
