package link

import (
	"testing"

	"github.com/git-arbor/arbor/sync/grove"
)

// The vector of docs/protocol.md.
func TestVectors(t *testing.T) {
	id, err := grove.ParseDeviceID("rkeohxlubhyzl7ks3mwtzos5olfgocn7dwkbeg7toseadnapn5oa")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := serverName(id), "2553bd9f42def9e390e7e95c3bb36344.arbor.invalid"; got != want {
		t.Errorf("name is %s, want %s", got, want)
	}
}
