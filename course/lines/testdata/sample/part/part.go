// Package part has functions that are linked in each way, and some that are not.
package part

import "os"

// Small is so small that the compiler would put it into its callers.
func Small(n int) int {
	// comments and blank lines do not count

	return n + len(os.Args)
}

// First is linked as an instance.
func First[T any](all []T) T {
	return all[0]
}

// Counter has a method that is linked, and one that is not.
type Counter struct{ n int }

// Next is linked.
func (c Counter) Next() int { return c.n + 1 }

// Unused is not.
func (c *Counter) Unused() {
	c.n = 1
}

// Literal is linked with the function in it.
func Literal() func() {
	text := `two
lines`
	return func() {
		println(text)
	}
}

func nobody() int { return 7 }
