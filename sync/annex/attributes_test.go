package annex

import (
	"fmt"
	"testing"
)

// Asking for the attributes of many paths together gives what asking for each gives, also after they have changed.
func TestAttributesOfMany(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	write(t, r, ".gitattributes", "*.big annex.largefiles=anything\n", 0o644)
	write(t, r, "sub/.gitattributes", "*7.big annex.backend=SHA512E annex.numcopies=3\n", 0o644)
	var paths []string
	for i := range 1500 {
		paths = append(paths, fmt.Sprintf("sub/deep/%d.big", i), fmt.Sprintf("with\nline/%d", i))
	}
	check := func() {
		t.Helper()
		together, err := r.attrs.all(t.Context(), paths)
		if err != nil || len(together) != len(paths) {
			t.Fatalf("%d answers, %v", len(together), err)
		}
		for _, path := range paths {
			if alone, err := r.attrs.of(t.Context(), path); err != nil || alone != together[path] {
				t.Fatalf("%q has %+v, %v, and %+v among others", path, alone, err, together[path])
			}
		}
	}
	check()
	if got, err := r.attrs.of(t.Context(), "sub/deep/17.big"); err != nil || got != (fileAttributes{largefiles: "anything", backend: "SHA512E", numcopies: "3"}) {
		t.Errorf("attributes are %+v, %v", got, err)
	}
	write(t, r, "sub/.gitattributes", "*7.big annex.mincopies=2\n", 0o644)
	check()
	if got, err := r.attrs.of(t.Context(), "sub/deep/17.big"); err != nil || got != (fileAttributes{largefiles: "anything", mincopies: "2"}) {
		t.Errorf("after a change attributes are %+v, %v", got, err)
	}
}
