module skiff.example/stage05-images

go 1.26

require (
	skiff.example/stage01-chroot v0.0.0
	skiff.example/stage02-namespaces v0.0.0
	skiff.example/stage03-cgroups v0.0.0
	skiff.example/stage04-overlay v0.0.0
)

replace (
	skiff.example/stage01-chroot => ../stage01-chroot
	skiff.example/stage02-namespaces => ../stage02-namespaces
	skiff.example/stage03-cgroups => ../stage03-cgroups
	skiff.example/stage04-overlay => ../stage04-overlay
)
