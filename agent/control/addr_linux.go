package control

import (
	"fmt"
	"os"
	"path/filepath"
)

// maxAddr is what fits the address of a Unix socket, without the final NUL (unix(7), sun_path).
const maxAddr = 107

// shortAddr returns a path for the socket that fits its address, however long socketPath is. It is good until release.
func shortAddr(socketPath string) (addr string, release func(), err error) {
	if len(socketPath) <= maxAddr {
		return socketPath, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(socketPath))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(socketPath)), func() { dir.Close() }, nil
}
