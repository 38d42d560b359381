package commandline

import (
	"strconv"
	"time"
)

// What the command line said.

// A Context is the command line as far as it has been read. A flag that the command
// does not have is as one that was not given.
type Context struct {
	Command     string   // its name, or "" before one is known
	Args        []string // the arguments that are left: before a command is known, it is the first
	global, own []value
}

// Arg is the argument with this index, or "".
func (c *Context) Arg(i int) string {
	if i >= len(c.Args) {
		return ""
	}
	return c.Args[i]
}

// find is the flag of this name: that of the command, or else that before it.
func (c *Context) find(name string) *value {
	for _, values := range [...][]value{c.own, c.global} {
		for i := range values {
			if v := &values[i]; v.Name == name {
				return v
			}
		}
	}
	return &value{}
}

// IsSet tells whether the flag was given.
func (c *Context) IsSet(name string) bool { return c.find(name).set }

// String is the value of a flag of kind String or Word.
func (c *Context) String(name string) string { return c.find(name).text }

// Strings are the values of a flag.
func (c *Context) Strings(name string) []string { return c.find(name).texts }

// Bool is the value of a flag. What does not parse was refused before, here and
// below: no text is the zero value.
func (c *Context) Bool(name string) bool {
	b, _ := strconv.ParseBool(c.String(name))
	return b
}

// Int is the value of a flag.
func (c *Context) Int(name string) int64 {
	n, _ := strconv.ParseInt(c.String(name), 0, 64)
	return n
}

// Uint is the value of a flag.
func (c *Context) Uint(name string) uint64 {
	n, _ := strconv.ParseUint(c.String(name), 0, 64)
	return n
}

// Duration is the value of a flag.
func (c *Context) Duration(name string) time.Duration {
	d, _ := time.ParseDuration(c.String(name))
	return d
}

// Ints are the values of a flag.
func (c *Context) Ints(name string) (numbers []int64) {
	for _, text := range c.Strings(name) {
		n, _ := strconv.ParseInt(text, 0, 64)
		numbers = append(numbers, n)
	}
	return numbers
}
