// Command empty does nothing: what a start of a Go program takes, for bench.
package main

func main() {}
