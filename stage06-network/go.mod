module skiff.example/stage06-network

go 1.26.0

require (
	github.com/google/nftables v0.3.0
	github.com/vishvananda/netlink v1.3.1
	golang.org/x/sys v0.49.0
	skiff.example/stage01-chroot v0.0.0
	skiff.example/stage03-cgroups v0.0.0
)

require (
	github.com/cpuguy83/go-md2man/v2 v2.0.7 // indirect
	github.com/moby/sys/user v0.5.0 // indirect
	github.com/russross/blackfriday/v2 v2.1.0 // indirect
	github.com/xrash/smetrics v0.0.0-20240521201337-686a1a2994c1 // indirect
)

require (
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/mdlayher/netlink v1.7.3-0.20250113171957-fbb4dce95f42 // indirect
	github.com/mdlayher/socket v0.5.0 // indirect
	github.com/opencontainers/runtime-spec v1.3.0 // indirect
	github.com/urfave/cli/v2 v2.27.7
	github.com/vishvananda/netns v0.0.5 // indirect
	golang.org/x/net v0.59.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	gotest.tools/v3 v3.5.2 // indirect
	skiff.example/stage02-namespaces v0.0.0
	skiff.example/stage05-images v0.0.0
)

replace (
	skiff.example/stage01-chroot => ../stage01-chroot
	skiff.example/stage02-namespaces => ../stage02-namespaces
	skiff.example/stage03-cgroups => ../stage03-cgroups
	skiff.example/stage04-overlay => ../stage04-overlay
	skiff.example/stage05-images => ../stage05-images
)
