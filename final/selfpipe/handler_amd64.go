package selfpipe

// How a handler ends on x86-64: in a function of this program, which calls sigreturn(2).

// saRestorer says that there is a function to which the handler returns: sigreturn(2).
const saRestorer = 0x04000000
