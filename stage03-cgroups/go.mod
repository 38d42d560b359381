module skiff.example/stage03-cgroups

go 1.26.0

require (
	github.com/opencontainers/runtime-spec v1.3.0
	golang.org/x/sys v0.49.0
	skiff.example/stage01-chroot v0.0.0
)

require (
	github.com/google/go-cmp v0.5.9 // indirect
	gotest.tools/v3 v3.5.2 // indirect
)

replace (
	skiff.example/stage01-chroot => ../stage01-chroot
	skiff.example/stage02-namespaces => ../stage02-namespaces
)
