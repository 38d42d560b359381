// Command program uses some of package part.
package main

import (
	"fmt"

	"sample.example/part"
)

func main() {
	fmt.Println(part.Small(len("abc")), part.First([]string{"x"}), part.Counter{}.Next())
	part.Literal()()
}
