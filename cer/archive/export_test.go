package archive

// Header returns the header of a member, for archives that tests forge.
func Header(name string, size int64) []byte {
	h := header(name, size)
	return h[:]
}
