// Package hint lets an error carry advice.
//
// An error of skiff says which step failed, on what, and the kernel's reason.
// The kernel's reason is short: EPERM has a dozen causes. Where one cause is
// the usual one, the place that knows it adds a hint, and a main prints the
// hint on a line of its own below the error:
//
//	skiff: mount "proc" on "/proc": operation not permitted
//	hint: mounting needs CAP_SYS_ADMIN; run it as root
package hint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// hinted is an error with a hint. It does not change the error's text, so
// that wrapping an error twice does not repeat the advice in the middle.
type hinted struct {
	error
	hint string
}

// Unwrap makes errors.Is and errors.As see the error below the hint.
func (h hinted) Unwrap() error { return h.error }

// Add returns err with text as its hint; nil stays nil, and an empty text
// changes nothing. The hint that is nearest to the cause wins (see Of).
func Add(err error, text string) error {
	if err == nil || text == "" {
		return err
	}
	return hinted{err, text}
}

// Of returns the hint of err that was added first, which is the one nearest
// to the cause, or "" when it has none. Of an error made of several
// (errors.Join), it is that of the first one that has a hint.
func Of(err error) string {
	switch e := err.(type) {
	case nil:
		return ""
	case hinted:
		if inner := Of(e.error); inner != "" {
			return inner
		}
		return e.hint
	case interface{ Unwrap() []error }:
		for _, part := range e.Unwrap() {
			if h := Of(part); h != "" {
				return h
			}
		}
		return ""
	}
	return Of(errors.Unwrap(err))
}

// Reason is the kernel's part of an error of package os: the errno, without the
// operation and the path, which a message of ours says in its own words.
func Reason(err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// Print writes "program: err" to w and, where err has a hint, the hint on the
// next line. It is what every main does with the error that it ends with.
func Print(w io.Writer, program string, err error) {
	fmt.Fprintf(w, "%s: %v\n", program, err)
	if h := Of(err); h != "" {
		fmt.Fprintf(w, "hint: %s\n", h)
	}
}
