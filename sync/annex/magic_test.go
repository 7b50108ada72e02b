package annex

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/annex/annextest"
)

// magicSamples are files of many kinds, by name.
func magicSamples(t *testing.T) map[string][]byte {
	t.Helper()
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	write := func(to func(w io.Writer) error) []byte {
		var b bytes.Buffer
		if err := to(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	picture := image.NewGray(image.Rect(0, 0, 3, 3))
	return map[string][]byte{
		"empty": nil, "text": []byte("Hello,\nthis is text.\n"), "one line": []byte("Hello"), "utf-8.txt": []byte("Grüße\n"), "latin.txt": []byte("Gr\xfc\xdfe\n"),
		"utf-16": []byte("\xff\xfeH\x00e\x00l\x00l\x00o\x00\n\x00"), "script": []byte("#!/bin/sh\necho hello\n"), "x.json": []byte(`{"a": [1, 2, "three"]}` + "\n"),
		"page": []byte("<!DOCTYPE html>\n<html><head><title>x</title></head></html>\n"), "x.xml": []byte("<?xml version=\"1.0\"?>\n<a/>\n"),
		"zeros": make([]byte, 5000), "x.pdf": []byte("%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n"), "program": program,
		"-b": []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00"), "long.txt": bytes.Repeat([]byte("All work and no play.\n"), 100_000),
		"x.png": write(func(w io.Writer) error { return png.Encode(w, picture) }), "x.jpg": write(func(w io.Writer) error { return jpeg.Encode(w, picture, nil) }),
		"x.gz": write(func(w io.Writer) error {
			z := gzip.NewWriter(w)
			_, err := io.WriteString(z, "Hello")
			return errors.Join(err, z.Close())
		}),
		"x.zip": write(func(w io.Writer) error {
			z := zip.NewWriter(w)
			f, err := z.Create("x")
			if err == nil {
				_, err = io.WriteString(f, "Hello")
			}
			return errors.Join(err, z.Close())
		}),
		"x.tar": write(func(w io.Writer) error {
			z := tar.NewWriter(w)
			err := z.WriteHeader(&tar.Header{Name: "x", Size: 5, Mode: 0o644})
			if err == nil {
				_, err = io.WriteString(z, "Hello")
			}
			return errors.Join(err, z.Close())
		}),
	}
}

// The MIME type of a file is the one that git-annex sees, of these kinds also by a newer libmagic than the one of file.
func TestMimeTypeByGitAnnex(t *testing.T) { annextest.Each(t, testMimeTypeByGitAnnex) }

func testMimeTypeByGitAnnex(t *testing.T) {
	r := newAnnex(t)
	types := make(map[string]string)
	for name, content := range magicSamples(t) {
		kind, err := magicType(t.Context(), content[:min(len(content), magicBytes)])
		if err != nil {
			t.Fatalf("%v; these tests need file (apt-get install file)", err)
		}
		types[name] = kind
		attributes := "* annex.largefiles=mimetype=" + kind + "\n"
		for _, dir := range []string{"is", "is not"} {
			dir := filepath.Join(dir, fmt.Sprintf("%x", name))
			write(t, r, filepath.Join(dir, ".gitattributes"), attributes, 0o644)
			write(t, r, filepath.Join(dir, name), string(content), 0o644)
			attributes = "* annex.largefiles=not(mimetype=" + kind + ")\n"
		}
	}
	t.Log(types)
	if kinds := slices.Compact(slices.Sorted(maps.Values(types))); len(kinds) < 10 {
		t.Errorf("%q are too few kinds", kinds)
	}
	run(t, r.git.Dir(), "git-annex", "add", "-q", ".")
	run(t, r.git.Dir(), "git", "commit", "-qm", "samples")
	annexed := strings.Split(run(t, r.git.Dir(), "git-annex", "find", "--print0", "--anything"), "\x00")
	for name, kind := range types {
		for dir, want := range map[string]bool{"is": true, "is not": false} {
			path := filepath.Join(dir, fmt.Sprintf("%x", name), name)
			if theirs := slices.Contains(annexed, path); theirs != want {
				t.Errorf("%q %s %s, but for git-annex: %v", name, dir, kind, theirs)
			}
			if ours, err := r.Large(t.Context(), path, 1); ours != want || err != nil {
				t.Errorf("%q %s %s, but Large is %v, %v", name, dir, kind, ours, err)
			}
		}
	}
}

// What the program does not say is no verdict.
func TestMimeTypeFails(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(git, filepath.Join(bin, "git")); err != nil {
		t.Fatal(err)
	}
	r := newAnnex(t)
	write(t, r, ".gitattributes", "* annex.largefiles=mimetype=text/*\n", 0o644)
	write(t, r, "f", "text\n", 0o644)
	t.Setenv("PATH", bin)
	var refused *Refused
	if _, err := r.Large(t.Context(), "f", 5); !errors.As(err, &refused) || !strings.Contains(refused.Hint, "install") {
		t.Errorf("without the program: %v", err)
	}
	for name, script := range map[string]string{"says nothing": "exit 0", "fails": "echo 'text/plain; charset=x'; exit 1", "is killed": "kill -9 $$", "hangs": "while :; do :; done"} {
		annextest.Program(t, bin, "file", "#!/bin/sh\n"+script+"\n")
		ctx, cancel := context.WithCancel(t.Context())
		if name == "hangs" {
			ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
		}
		if large, err := r.Large(ctx, "f", 5); large || err == nil || errors.As(err, &refused) {
			t.Errorf("a program that %s: %v, %v", name, large, err)
		}
		cancel()
	}
}
