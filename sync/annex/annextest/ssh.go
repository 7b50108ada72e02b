package annextest

import (
	"os"
	"path/filepath"
	"testing"
)

// ssh runs the command on this machine, for the host "here" alone. git-annex has options before the host and after it.
const ssh = `#!/bin/sh
while [ "$1" != here ]; do
	[ $# -gt 0 ] || { echo "ssh: no route to host" >&2; exit 255; }
	shift
done
shift
while :; do
	case $1 in
	-S | -o) shift 2 ;;
	-*) shift ;;
	*) break ;;
	esac
done
exec sh -c "$*"
`

// SSH makes a folder of programs to be put first in PATH: an ssh that reaches this machine as the host "here", and the running program under
// names.
func SSH(t testing.TB, names ...string) (bin string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin = t.TempDir()
	Program(t, bin, "ssh", ssh)
	for _, name := range names {
		if err := os.Symlink(self, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

// Program makes a shell script a program of a folder of programs.
func Program(t testing.TB, bin, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
}
