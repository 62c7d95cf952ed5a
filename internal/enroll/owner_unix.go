//go:build unix

package enroll

import (
	"io/fs"
	"os"
	"syscall"
)

// ours reports whether the file belongs to this user.
func ours(st fs.FileInfo) bool {
	s, ok := st.Sys().(*syscall.Stat_t)
	return ok && int64(s.Uid) == int64(os.Geteuid())
}
