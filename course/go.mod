module skiff.example/course

go 1.26.0

// The developers' tools, so that the workspace pins their versions: make lint
// runs go tool staticcheck and go tool gofumpt.
tool (
	honnef.co/go/tools/cmd/staticcheck
	mvdan.cc/gofumpt
)

require skiff.example/stage01-chroot v0.0.0

require github.com/klauspost/compress v1.20.3

require (
	golang.org/x/mod v0.41.0
	golang.org/x/sys v0.49.0
	golang.org/x/tools v0.51.0
	gotest.tools/v3 v3.5.2
)

require (
	github.com/BurntSushi/toml v1.5.0 // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	golang.org/x/exp/typeparams v0.0.0-20231108232855-2478ac86f678 // indirect
	golang.org/x/sync v0.24.0 // indirect
	honnef.co/go/tools v0.8.2 // indirect
	mvdan.cc/gofumpt v0.12.0 // indirect
)

replace skiff.example/stage01-chroot => ../stage01-chroot
