package annex

import (
	"crypto/sha256"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The names and extensions are those that git-annex 10.20230126 calckey answered.
func TestKeyExtension(t *testing.T) {
	for name, want := range map[string]string{
		"a.tar.gz": ".tar.gz", "a.TXT": ".TXT", "a.abcde": "", "a.mp3.bak.old1": ".bak.old1", "x.1.2.3.4": ".3.4",
		".hidden": "", ".hidden.txt": ".txt", "..foo.bar": ".bar", "a.": "", "a..txt": ".txt", "a.longext.gz": ".gz",
		"a.gz.longext": "", "a.tar.g_z": ".tar", "a.t-x.x": ".x", "a.x.t-x": ".x", "a.txt~": "", "a.b c": "",
		"a.日": ".日", "a.日本": "", "a.éé": ".éé", "a.ééé": "", "v1.2.tar.gz": ".tar.gz", "noext": "", "dir.d/f": "",
	} {
		if got := keyExtension(name, DefaultMaxExtensionLength, defaultMaxExtensions); got != want {
			t.Errorf("keyExtension(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestHashDirs(t *testing.T) {
	for _, c := range []struct{ key, mixed, lower string }{
		{"SHA256E-s0--e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "pX/ZJ/", "f87/4d5/"},
		{"SHA256E-s1048576-S1000-C2--abcdef.txt", "2m/pJ/", "8f7/84d/"},
		{"SHA256E-s1048576--abcdef.txt", "2m/pJ/", "8f7/84d/"},
	} {
		k := mustKey(t, c.key)
		if k.HashDirMixed() != c.mixed || k.HashDirLower() != c.lower {
			t.Errorf("%s: hash directories %s and %s, want %s and %s", c.key, k.HashDirMixed(), k.HashDirLower(), c.mixed, c.lower)
		}
	}
}

func TestParseKey(t *testing.T) {
	for text, size := range map[string]int64{
		"SHA256E-s4--3a6eb079.txt": 4, "WORM-s3-m123--foo/bar": 3, "URL--file:///etc/hostname": -1,
		"SHA256E-s1048576-S1000-C2--abcdef": 1048576, "XFOO-s1--x": 1, "WORM-s3-m123--a-b--c": 3,
		"SHA256E-s1--x" + strings.Repeat(".", maxKeyExtension): 1,
	} {
		k := mustKey(t, text)
		got, known := k.Size()
		if known != (size >= 0) || known && got != size {
			t.Errorf("%s: size %d, %v", text, got, known)
		}
		if again, err := ParseKeyFile(k.File()); err != nil || again != k {
			t.Errorf("ParseKeyFile(%q) = %v, %v", k.File(), again, err)
		}
	}
	for _, text := range []string{
		"", "-", "--", "SHA256E", "SHA256E-s4", "SHA256E--", "-s4--x", "SHA256E-sx--y", "SHA256E-s--y", "SHA256E-m1-s4--x",
		"SHA256E-s4-z3--x", "SHA256E-s4-x", "SHA256E-s04--x", "SHA256E-s99999999999999999999--x", "SHA256E-s4--a\nb",
		"SHA256E-s1--x" + strings.Repeat(".", maxKeyExtension+1), "SHA256E-s1--" + strings.Repeat("a", maxKeyLength),
	} {
		if k, err := ParseKey(text); err == nil {
			t.Errorf("ParseKey(%q) = %v, want an error", text, k)
		}
	}
}

func TestKeyFile(t *testing.T) {
	for text, want := range map[string]string{
		"WORM-s3-m123--foo/bar":          "WORM-s3-m123--foo%bar",
		"URL--file:///etc/hostname":      "URL--file&c%%%etc%hostname",
		"WORM-s3-m123--a&b%c:d/e":        "WORM-s3-m123--a&ab&sc&cd%e",
		"WORM-s3-m123--&a&s&c":           "WORM-s3-m123--&aa&as&ac",
		"SHA256E-s4--3a6eb079.txt":       "SHA256E-s4--3a6eb079.txt",
		"SHA256E-s4-S2-C1--3a6eb079.txt": "SHA256E-s4-S2-C1--3a6eb079.txt",
	} {
		if got := mustKey(t, text).File(); got != want {
			t.Errorf("%s is in file %q, want %q", text, got, want)
		}
	}
}

func TestPointer(t *testing.T) {
	const text = "/annex/objects/SHA256E-s4--3a6eb079.txt"
	k := mustKey(t, "SHA256E-s4--3a6eb079.txt")
	if got := string(Pointer(k)); got != text+"\n" {
		t.Errorf("Pointer = %q", got)
	}
	for content, want := range map[string]bool{
		text + "\n": true, text: true, text + "\r\n": true, "../.git" + text: true,
		text + "\nsee /annex/ for more\n": true, text + "\nsee /annex/ for more": false, text + "\nmore\n": false, text + "\n\n": false,
		"x" + text + "x": true, "annex/objects/SHA256E-s4--3a6eb079.txt\n": false, "\n" + text + "\n": false, "": false, "\n": false,
		text + "\n" + strings.Repeat("/annex/\n", MaxPointerSize/8): false,
	} {
		if _, ok := ParsePointer([]byte(content)); ok != want {
			t.Errorf("ParsePointer(%.80q) = %v, want %v", content, ok, want)
		}
	}
}

func TestLink(t *testing.T) {
	k := mustKey(t, "SHA256E-s0--e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	want := "../../.git/annex/objects/pX/ZJ/" + k.File() + "/" + k.File()
	if got := LinkTarget("a/b/c", k); got != want {
		t.Errorf("LinkTarget = %q, want %q", got, want)
	}
	for _, target := range []string{want, want[3:], "/annex/objects/" + k.File()} {
		if got, ok := ParseLink(target); !ok || got != k {
			t.Errorf("ParseLink(%q) = %v, %v", target, got, ok)
		}
	}
	for _, target := range []string{"", "c", ".git/annex/objects/", k.File(), want + "/", strings.Repeat("../", 2000) + want} {
		if got, ok := ParseLink(target); ok {
			t.Errorf("ParseLink(%.80q) = %v", target, got)
		}
	}
}

func TestVerifiableHash(t *testing.T) {
	sum := sha256.Sum256([]byte("content"))
	k := KeyFor(sum, 7, "x.tar.gz", DefaultMaxExtensionLength)
	if got, ok := k.VerifiableHash(); !ok || got != sum {
		t.Errorf("VerifiableHash(%s) = %x, %v", k, got, ok)
	}
	for _, text := range []string{"WORM-s3-m1--x", "SHA256E-s3--abc", "SHA256E-s9-S3-C1--" + k.text[len(k.text)-71:len(k.text)-7]} {
		if _, ok := mustKey(t, text).VerifiableHash(); ok {
			t.Errorf("%s has a hash that can be verified", text)
		}
	}
}

func TestVerifier(t *testing.T) {
	for text, wants := range map[string]map[string]bool{
		"SHA256E-s3--ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad.txt": {"abc": true, "abd": false, "abcd": false, "": false},
		"MD5--900150983cd24fb0d6963f7d28e17f72":                                            {"abc": true, "abd": false},
		"SHA1E-s3--a9993e364706816aba3e25717850c26c9cd0d89d":                               {"abc": true, "ab": false},
		"WORM-s3-m1--x":                            {"abc": true, "abd": true, "ab": false},
		"URL--http&c%%example.org%":                {"abc": true, "": true},
		"SHA256E-s3000-S3-C1--ba7816bf8f01cfea414": {"abc": true},
	} {
		k := mustKey(t, text)
		for content, want := range wants {
			v := k.Verifier()
			if _, err := v.Write([]byte(content)); err != nil {
				t.Fatal(err)
			}
			if err := v.Check(); (err == nil) != want {
				t.Errorf("%s with content %q: %v", text, content, err)
			}
		}
	}
}

func TestJournalFile(t *testing.T) {
	for path, want := range map[string]string{
		"uuid.log": "uuid.log", "0ab/1cd/KEY_1.log": "0ab_1cd_KEY__1.log", "a/_/b": "a____b",
	} {
		if got := journalFile(path); got != want {
			t.Errorf("journalFile(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestMagicEncoding(t *testing.T) {
	for content, want := range map[string]string{
		"": "binary", "hello\n": "us-ascii", "h\x00llo": "binary", "h\xc3\xa9llo": "utf-8", "h\xe9llo": "iso-8859-1",
		"h\x80llo": "unknown-8bit", "\xff\xfeh\x00": "utf-16le", "\x7fELF": "binary", "cut \xc3": "utf-8", "\x1b[1m\f\b": "us-ascii",
	} {
		if got := magicEncoding([]byte(content)); got != want {
			t.Errorf("magicEncoding(%q) = %s, want %s", content, got, want)
		}
	}
}

func mustKey(t *testing.T, text string) Key {
	t.Helper()
	k, err := ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeyFileProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, err := ParseKey("WORM-s1--" + rapid.StringMatching(`[a-z&%:/]{1,40}`).Draw(t, "name"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(k.File(), "/") {
			t.Fatalf("%s is in file %q", k, k.File())
		}
		if again, err := ParseKeyFile(k.File()); err != nil || again != k {
			t.Fatalf("ParseKeyFile(%q) = %v, %v", k.File(), again, err)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"SHA256E-s4--3a6eb079.txt", "WORM-s3-m123--foo/bar", "URL--file:///etc/hostname", "A-s1-S2-C3--x", "A-s-", "-", "A-m1--&a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKey(s)
		if err != nil {
			return
		}
		if again, err := ParseKeyFile(k.File()); err != nil || again != k || k.String() != s {
			t.Errorf("%q does not survive: %v, %v", s, again, err)
		}
		if parsed, ok := ParsePointer(Pointer(k)); !ok || parsed != k {
			t.Errorf("pointer of %q is that of %v", s, parsed)
		}
		if parsed, ok := ParseLink(LinkTarget("a/b", k)); !ok || parsed != k {
			t.Errorf("link of %q is that of %v", s, parsed)
		}
		if path, ok := parseLogPath(k.logPath()); !ok || path != k {
			t.Errorf("log of %q is that of %v", s, path)
		}
		k.VerifiableHash()
		_ = k.Verifier().Check()
	})
}

func FuzzParsePointer(f *testing.F) {
	f.Add([]byte("/annex/objects/SHA256E-s4--3a6eb079.txt\n/annex/\n"))
	f.Add([]byte("/annex/objects/\r\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		if k, ok := ParsePointer(content); ok {
			if again, ok := ParsePointer(Pointer(k)); !ok || again != k {
				t.Errorf("%q names %v, whose pointer names %v", content, k, again)
			}
		}
	})
}
