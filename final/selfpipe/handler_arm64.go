package selfpipe

// How a handler ends on arm64: in a function that the kernel has for that.

// saRestorer is 0: the kernel has a function of its own to which the handler returns.
const saRestorer = 0
