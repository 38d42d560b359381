// Reading what words mean: sizes, numbers, and the numbers of devices (makedev(3)).

package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// unlimited is the word for no limit, which in the specification is −1.
const unlimited = "max"

// parseSize reads a number of bytes, of KiB with a k behind it, of MiB, GiB or TiB.
func parseSize(text string) (*int64, error) {
	if text == unlimited {
		none := int64(-1)
		return &none, nil
	}
	digits, shift := text, 0
	if i := strings.LastIndexAny(strings.ToLower(text), "kmgt"); i >= 0 && i == len(text)-1 {
		digits, shift = text[:i], 10*(1+strings.Index("kmgt", strings.ToLower(text[i:])))
	}
	n, err := parseNumber(digits, 1, math.MaxInt64>>shift)
	if err != nil {
		return nil, hint.Add(err, "a size is in bytes, or as in 64k, 64m, 1g, 1t; no limit is max")
	}
	n <<= shift
	return &n, nil
}

// parseNumber reads a whole number between two.
func parseNumber(text string, least, most int64) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrSyntax):
		return 0, errors.New("not a number")
	case n < least:
		return 0, fmt.Errorf("must be at least %d", least)
	case err != nil || n > most:
		return 0, fmt.Errorf("must be at most %d", most)
	}
	return n, nil
}

// blockDevice reads a device's number, or looks it up by its name in /dev.
func blockDevice(text string) (major, minor int64, err error) {
	if !strings.HasPrefix(text, "/") {
		return deviceNumber(text, 0)
	}
	var st unix.Stat_t
	if err := unix.Stat(text, &st); err != nil {
		return 0, 0, fmt.Errorf("device %q: %w", text, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, 0, hint.Add(fmt.Errorf("device %q: %w", text, unix.ENOTBLK), "those that there are: lsblk")
	}
	return int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev)), nil
}

// deviceNumber reads MAJOR:MINOR. Where least is −1, so is "*", which is all.
func deviceNumber(text string, least int64) (major, minor int64, err error) {
	front, back, found := strings.Cut(text, ":")
	if !found {
		return 0, 0, fmt.Errorf("device %q: want MAJOR:MINOR", text)
	}
	for _, part := range []struct {
		text string
		to   *int64
		most int64 // include/linux/kdev_t.h in the kernel: 12 bits and 20
	}{{front, &major, 1<<12 - 1}, {back, &minor, 1<<20 - 1}} {
		if part.text == "*" && least < 0 {
			*part.to = -1
		} else if *part.to, err = parseNumber(part.text, 0, part.most); err != nil {
			return 0, 0, fmt.Errorf("device %q: %w", text, err)
		}
	}
	return major, minor, nil
}
