package overlay

// Shorten is what Prepare does on kernels before 6.7.
func Shorten(s *Stack, dir string) error { return s.shorten(dir) }
