// Package wire is what the two sides of the virtual machine say to each other:
// the host (package skiff.example/course/vm) puts an Order into the machine's
// first file system, and the guest (…/vm/guest) answers with Events, one JSON
// object a line, on the second serial port. The first belongs to the kernel.
package wire

const (
	// OrderFile is where the guest finds its Order.
	OrderFile = "/order.json"
	// ModulesDir holds the kernel's modules.
	ModulesDir = "/modules"
)

// Order says what the guest has to do.
type Order struct {
	Modules []string // files in ModulesDir, in the order in which they load
	Jobs    []Job    // programs, which run one after another
}

// Job is a program to run as root, with nothing on its standard input unless
// it has a terminal.
type Job struct {
	Name string   // what the events call it
	Args []string // the program's path and its arguments
	Dir  string   // its working directory
	Env  []string // its whole environment

	// Terminal is the size of the machine's console if the job runs on that: it
	// reads from there, and writes there instead of into events.
	Terminal *Size `json:",omitempty"`
}

// Size is that of a terminal, in characters: TIOCSWINSZ of ioctl_tty(2).
type Size struct{ Rows, Columns uint16 }

// Event is something that happened in the machine. Every job has a first event
// that names it and no more, then events with output, then one that ends it.
type Event struct {
	Job     string  `json:",omitempty"` // the job that it is about; "" is the machine itself
	Output  []byte  `json:",omitempty"` // what the job has written to its standard output and error
	Ended   bool    `json:",omitempty"` // the job has ended; of the machine: all have, and it will power off
	Status  int     `json:",omitempty"` // the exit status, or 128 and the signal's number, as a shell tells it
	Seconds float64 `json:",omitempty"` // how long the job ran, by the machine's clock
	Error   string  `json:",omitempty"` // why the job, or the machine, could not be started
}
