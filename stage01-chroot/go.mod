module skiff.example/stage01-chroot

go 1.26

