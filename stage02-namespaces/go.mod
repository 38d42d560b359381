module skiff.example/stage02-namespaces

go 1.26.0

require skiff.example/stage01-chroot v0.0.0

require (
	github.com/opencontainers/runtime-spec v1.3.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace skiff.example/stage01-chroot => ../stage01-chroot
