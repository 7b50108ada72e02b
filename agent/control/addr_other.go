//go:build !linux

package control

import "fmt"

// maxAddr is what fits the address of a Unix socket, without the final NUL (unix(4) of the BSDs, sun_path).
const maxAddr = 103

// shortAddr returns a path for the socket that fits its address. It is good until release.
func shortAddr(socketPath string) (addr string, release func(), err error) {
	if len(socketPath) > maxAddr {
		return "", nil, &Error{
			Code: "path-too-long",
			Text: fmt.Sprintf("the path of the control socket is longer than %d bytes: %s", maxAddr, socketPath),
			Fix:  "set XDG_RUNTIME_DIR to a shorter path",
		}
	}
	return socketPath, func() {}, nil
}
