package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"skiff.example/final/commandline"
	"skiff.example/final/container"
)

// The log that --log asks for: what engines read to learn why a command failed.
// The form of a line is that of runc, which containerd, podman and conmon parse.

// A log appends lines to a file. One without a name writes nothing.
type log struct {
	name  string
	json  bool
	debug func(format string, a ...any)
}

// logOf is the log of this command line. The file is opened for each line, so
// that no process of a container ever has it open.
func logOf(c *commandline.Context) *log {
	l := &log{name: c.String("log"), json: c.String("log-format") == "json"}
	l.debug = func(format string, a ...any) {
		if c.Bool("debug") {
			l.write("debug", fmt.Sprintf(format, a...))
		}
	}
	return l
}

// write appends a line. That it cannot be written is told where people look.
func (l *log) write(level, message string) {
	if l.name == "" {
		return
	}
	f, err := os.OpenFile(l.name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err == nil {
		defer f.Close()
		_, err = f.Write(append(l.line(level, message), '\n'))
	}
	if err != nil {
		fmt.Fprintf(standardError{}, "skiff-oci: write the log: %v\n", err)
	}
}

// line is one line of the log.
func (l *log) line(level, message string) []byte {
	now := time.Now().Format(time.RFC3339)
	if !l.json {
		return fmt.Appendf(nil, "time=%q level=%s msg=%q", now, level, message)
	}
	text, err := json.Marshal(struct {
		Level   string `json:"level"`
		Message string `json:"msg"`
		Time    string `json:"time"`
	}{level, message, now})
	if err != nil {
		return []byte(err.Error())
	}
	return text
}

// Write takes the warnings of package container, a line each: they go to standard
// error as they are, and into the log.
func (l *log) Write(text []byte) (int, error) {
	for line := range strings.Lines(string(text)) {
		l.write("warning", strings.TrimPrefix(strings.TrimSpace(line), "warning: "))
	}
	return standardError{}.Write(text)
}

// standardError is os.Stderr while there is a container: what cannot be written must not
// end this process.
type standardError struct{}

func (standardError) Write(text []byte) (int, error) {
	container.TolerateClosedPipe()
	return os.Stderr.Write(text)
}
