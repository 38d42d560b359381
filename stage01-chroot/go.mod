module skiff.example/stage01-chroot

go 1.26.0

require (
	golang.org/x/sys v0.49.0 // indirect
	gotest.tools/v3 v3.5.2 // indirect
)
