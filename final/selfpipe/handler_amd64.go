package selfpipe

// saRestorer says that there is a function to which the handler returns: sigreturn(2).
const saRestorer = 0x04000000
