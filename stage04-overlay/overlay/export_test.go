package overlay

// Shorten is what Prepare does on kernels before 6.8.
func Shorten(s *Stack, dir string) error { return s.shorten(dir) }
