package selfpipe

// saRestorer is 0: the kernel has a function of its own to which the handler returns.
const saRestorer = 0
