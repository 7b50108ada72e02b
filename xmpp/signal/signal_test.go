package signal_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/git-arbor/arbor/xmpp/signal"
)

const alice = "alice@example.org"

var (
	device = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	key    = signal.GroveKey{ID: [8]byte{1, 2, 3}, Secret: [32]byte{4, 5, 6}}
	older  = signal.GroveKey{ID: [8]byte{9, 9, 9}, Secret: [32]byte{8, 8, 8}}
	when   = time.UnixMilli(1764000000123)
)

func simple(body signal.Body) signal.Signal {
	return signal.Signal{Clone: "c0ffee", Epoch: 3, Seq: 9, Time: when, Body: body}
}

func bytesOf(n int) *rapid.Generator[[]byte] { return rapid.SliceOfN(rapid.Byte(), 0, n) }

func name(label string, most int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return string(rapid.SliceOfN(rapid.Byte(), 1, most).Draw(t, label)) // any bytes: names need not be UTF-8
	})
}

func hash() *rapid.Generator[signal.Hash] {
	return rapid.Custom(func(t *rapid.T) (h signal.Hash) {
		copy(h[:], rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "hash"))
		return h
	})
}

func links() *rapid.Generator[[]signal.Link] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) signal.Link {
		return signal.Link{
			Kind: name("kind", 8).Draw(t, "kind"), Addr: name("addr", 40).Draw(t, "addr"),
			Priority: rapid.IntRange(-1000, 1000).Draw(t, "priority"), HostID: string(bytesOf(16).Draw(t, "host")),
		}
	}), 0, 16)
}

func edges() *rapid.Generator[[]signal.Edge] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) signal.Edge {
		e := signal.Edge{
			From: name("from", 36).Draw(t, "from"), Kind: name("kind", 8).Draw(t, "kind"),
			Cost: rapid.Uint64().Draw(t, "cost"), Rate: rapid.Uint64().Draw(t, "rate"), RTT: rapid.Uint64().Draw(t, "rtt"),
		}
		if rapid.Bool().Draw(t, "to a remote") {
			e.From, e.To = "", e.From
		}
		return e
	}), 0, 40)
}

func vector() *rapid.Generator[signal.Vector] {
	return rapid.Custom(func(t *rapid.T) signal.Vector {
		return signal.Vector{
			Head:    string(bytesOf(30).Draw(t, "head")),
			Heads:   rapid.MapOfN(name("ref", 40), hash(), 0, 12).Draw(t, "heads"),
			Refs:    signal.Digest{1, rapid.Byte().Draw(t, "refs")},
			Annex:   hash().Draw(t, "annex"),
			Members: signal.Digest{2, rapid.Byte().Draw(t, "members")},
			Links:   links().Draw(t, "links"),
			Keys:    rapid.Uint64().Draw(t, "keys"),
			Want:    rapid.SliceOfN(name("key", 60), 0, 8).Draw(t, "want"),
			Edges:   edges().Draw(t, "edges"),
			Paused:  rapid.SliceOfN(name("paused", 60), 0, signal.MaxPaused).Draw(t, "paused"),
			Came:    rapid.SliceOfN(name("came", 200), 0, signal.MaxCame).Draw(t, "came"),
		}
	})
}

func body() *rapid.Generator[signal.Body] {
	remote := rapid.SampledFrom([]string{"", "a remote"})
	keys := rapid.SliceOfN(name("key", 80), 0, 20)
	return rapid.Custom(func(t *rapid.T) signal.Body {
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			return vector().Draw(t, "vector")
		case 1:
			return signal.Announce{
				Ref: name("ref", 40).Draw(t, "ref"), Old: hash().Draw(t, "old"), New: hash().Draw(t, "new"),
				Pack: bytesOf(5000).Draw(t, "pack"), Annex: hash().Draw(t, "annex"), AnnexPack: bytesOf(900).Draw(t, "annex pack"),
				Keys: keys.Draw(t, "keys"), Merged: rapid.SliceOfN(hash(), 0, 5).Draw(t, "merged"),
			}
		case 2:
			return signal.Have{Keys: keys.Draw(t, "keys"), Remote: remote.Draw(t, "remote")}
		case 3:
			return signal.Drop{Keys: keys.Draw(t, "keys")}
		case 4:
			return signal.DialBack{
				Ticket: signal.Ticket{1, rapid.Byte().Draw(t, "ticket")}, Service: name("service", 20).Draw(t, "service"),
				Links: links().Draw(t, "links"),
			}
		case 5:
			return signal.LogRequest{}
		case 6:
			return signal.Log{Entries: bytesOf(9000).Draw(t, "entries")}
		case 8:
			return signal.NoDialBack{Ticket: signal.Ticket{2, rapid.Byte().Draw(t, "ticket")}}
		case 7:
			return signal.Pushed{
				Remote: name("remote", 36).Draw(t, "remote"), Heads: rapid.MapOfN(name("ref", 40), hash(), 0, 12).Draw(t, "heads"),
			}
		default:
			return signal.SyncRequest{}
		}
	})
}

func anySignal() *rapid.Generator[signal.Signal] {
	return rapid.Custom(func(t *rapid.T) signal.Signal {
		return signal.Signal{
			Clone: name("clone", 64).Draw(t, "clone"), Epoch: rapid.Uint64().Draw(t, "epoch"),
			Seq:  rapid.Uint64Min(1).Draw(t, "seq"),
			Time: time.UnixMilli(rapid.Int64Range(0, 253402300799999).Draw(t, "time")), Body: body().Draw(t, "body"),
		}
	})
}

// same compares what was sealed with what was opened.
func same(t interface{ Fatalf(string, ...any) }, sealed, opened signal.Signal) {
	sealed.Device = [32]byte(device.Public().(ed25519.PublicKey))
	if diff := cmp.Diff(sealed, opened, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("sealed and opened differ (-sealed +opened):\n%s", diff)
	}
}

func TestSealOpenRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anySignal().Draw(t, "signal")
		sealed, err := signal.Seal(key, device, alice, s)
		if err != nil {
			t.Fatalf("Seal: %v", err)
		}
		if n := len(sealed); n < 256 || bits.OnesCount(uint(n)) != 1 || n > signal.MaxSealed {
			t.Fatalf("sealed size %d is not a power of two from 256 to %d", n, signal.MaxSealed)
		}
		opened, err := signal.Open([]signal.GroveKey{older, key}, "Alice@EXAMPLE.org", sealed)
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		same(t, s, opened)
	})
}

func TestSealDeviceRoundTrip(t *testing.T) {
	priv := hpkeKey(t, 1)
	rapid.Check(t, func(t *rapid.T) {
		s := anySignal().Draw(t, "signal")
		sealed, err := signal.SealDevice(priv.PublicKey().Bytes(), device, alice, s)
		if err != nil {
			t.Fatalf("SealDevice: %v", err)
		}
		if bits.OnesCount(uint(len(sealed))) != 1 {
			t.Fatalf("sealed size %d is not a power of two", len(sealed))
		}
		opened, err := signal.OpenDevice(priv, alice, sealed)
		if err != nil {
			t.Fatalf("OpenDevice: %v", err)
		}
		same(t, s, opened)
	})
}

func hpkeKey(t *testing.T, seed byte) hpke.PrivateKey {
	t.Helper()
	priv, err := hpke.DHKEM(ecdh.X25519()).DeriveKeyPair(bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return priv
}

func TestEveryBitFlipIsRejected(t *testing.T) {
	priv := hpkeKey(t, 1)
	group, err := signal.Seal(key, device, alice, simple(signal.SyncRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	single, err := signal.SealDevice(priv.PublicKey().Bytes(), device, alice, simple(signal.SyncRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	opens := []struct {
		name   string
		sealed []byte
		open   func([]byte) error
	}{
		{"group", group, func(b []byte) error { _, err := signal.Open([]signal.GroveKey{key}, alice, b); return err }},
		{"device", single, func(b []byte) error { _, err := signal.OpenDevice(priv, alice, b); return err }},
	}
	for _, o := range opens {
		t.Run(o.name, func(t *testing.T) {
			if err := o.open(o.sealed); err != nil {
				t.Fatalf("untouched: %v", err)
			}
			for i := range len(o.sealed) * 8 {
				b := bytes.Clone(o.sealed)
				b[i/8] ^= 1 << (i % 8)
				if o.open(b) == nil {
					t.Fatalf("accepted with bit %d flipped", i)
				}
			}
			for n := range len(o.sealed) {
				if o.open(o.sealed[:n]) == nil {
					t.Fatalf("accepted when cut to %d bytes", n)
				}
			}
			if o.open(append(bytes.Clone(o.sealed), 0)) == nil {
				t.Fatal("accepted with a byte added")
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	priv := hpkeKey(t, 1)
	sealed, err := signal.Seal(key, device, alice, simple(signal.SyncRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	single, err := signal.SealDevice(priv.PublicKey().Bytes(), device, alice, simple(signal.SyncRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	otherSecret := signal.GroveKey{ID: key.ID, Secret: older.Secret}
	tests := []struct {
		name string
		open func() (signal.Signal, error)
		want error
	}{
		{"no key", func() (signal.Signal, error) { return signal.Open(nil, alice, sealed) }, signal.ErrUnknownKey},
		{"other key", func() (signal.Signal, error) { return signal.Open([]signal.GroveKey{older}, alice, sealed) }, signal.ErrUnknownKey},
		{"same id, other secret", func() (signal.Signal, error) {
			return signal.Open([]signal.GroveKey{otherSecret}, alice, sealed)
		}, signal.ErrForged},
		{"other sender", func() (signal.Signal, error) {
			return signal.Open([]signal.GroveKey{key}, "mallory@example.org", sealed)
		}, signal.ErrForged},
		{"endless sender", func() (signal.Signal, error) {
			return signal.Open([]signal.GroveKey{key}, strings.Repeat("a", 1<<16), sealed)
		}, signal.ErrMalformed},
		{"for a device", func() (signal.Signal, error) { return signal.Open([]signal.GroveKey{key}, alice, single) }, signal.ErrMalformed},
		{"for another device", func() (signal.Signal, error) {
			return signal.OpenDevice(hpkeKey(t, 2), alice, single)
		}, signal.ErrUnknownKey},
		{"for a device, other sender", func() (signal.Signal, error) {
			return signal.OpenDevice(priv, "mallory@example.org", single)
		}, signal.ErrForged},
		{"for a grove", func() (signal.Signal, error) { return signal.OpenDevice(priv, alice, sealed) }, signal.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tt.open(); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestSealRefuses(t *testing.T) {
	many := make([]string, 1025)
	for i := range many {
		many[i] = "k"
	}
	heads := map[string]signal.Hash{}
	for i := range 200 {
		heads[fmt.Sprintf("refs/heads/%d", i)] = signal.Hash{1}
	}
	tests := []struct {
		name string
		s    signal.Signal
		want error
	}{
		{"no body", simple(nil), signal.ErrMalformed},
		{"no clone", signal.Signal{Seq: 1, Time: when, Body: signal.SyncRequest{}}, signal.ErrMalformed},
		{"no sequence number", signal.Signal{Clone: "c", Time: when, Body: signal.SyncRequest{}}, signal.ErrMalformed},
		{"too many keys", simple(signal.Have{Keys: many}), signal.ErrMalformed},
		{"too much that came", simple(signal.Vector{Came: many[:signal.MaxCame+1]}), signal.ErrMalformed},
		{"empty key", simple(signal.Have{Keys: []string{""}}), signal.ErrMalformed},
		{"edge from nobody", simple(signal.Vector{Edges: []signal.Edge{{Kind: "lan"}}}), signal.ErrMalformed},
		{"edge of strangers", simple(signal.Vector{Edges: []signal.Edge{{From: "a", To: "b", Kind: "lan"}}}), signal.ErrMalformed},
		{"push to nothing", simple(signal.Pushed{Heads: map[string]signal.Hash{"refs/heads/main": {1}}}), signal.ErrMalformed},
		{"long reference", simple(signal.Announce{Ref: strings.Repeat("r", 1025)}), signal.ErrMalformed},
		{"big pack", simple(signal.Announce{Ref: "r", Pack: make([]byte, signal.MaxSealed)}), signal.ErrTooBig},
		{"big vector", simple(signal.Vector{Heads: heads}), signal.ErrTooBig},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := signal.Seal(key, device, alice, tt.s); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestFitAlwaysSeals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		refs := rapid.MapOfN(name("ref", 300), hash(), 0, 300).Draw(t, "heads")
		v := vector().Draw(t, "vector")
		v.Heads = refs
		v.Head = ""
		if len(refs) > 0 {
			v.Head = rapid.SampledFrom(slices.Sorted(maps.Keys(refs))).Draw(t, "head")
		}
		clone := name("clone", 64).Draw(t, "clone")
		fit := v.Fit(clone)
		s := signal.Signal{Clone: clone, Epoch: 1 << 63, Seq: 1 << 63, Time: when, Body: fit}
		if _, err := signal.Seal(key, device, alice, s); err != nil {
			t.Fatalf("Seal of what fits: %v", err)
		}
		if fit.Refs != v.Refs || fit.Members != v.Members || fit.Annex != v.Annex || fit.Keys != v.Keys {
			t.Fatal("a digest was lost")
		}
		if _, ok := fit.Heads[v.Head]; v.Head != "" && !ok {
			t.Fatal("the reference that HEAD points to was lost")
		}
		if len(refs) < 5 && len(v.Want) == 0 && len(v.Links) <= 4 && len(fit.Came) == 0 && len(fit.Heads) != len(refs) {
			t.Fatal("a reference was left out for no reason")
		}
	})
}

func TestRefsDigest(t *testing.T) {
	a := map[string]signal.Hash{"refs/heads/a": {1}, "refs/heads/b": {2}}
	swapped := map[string]signal.Hash{"refs/heads/a": {2}, "refs/heads/b": {1}}
	if signal.RefsDigest(a) == signal.RefsDigest(swapped) {
		t.Error("digest does not tell which reference has which hash")
	}
	const want = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" // SHA-256 of nothing
	if got := signal.RefsDigest(nil).String(); got != want {
		t.Errorf("digest of no references is %s, want %s", got, want)
	}
}

func BenchmarkSeal(b *testing.B) {
	s := simple(signal.Announce{Ref: "refs/heads/main", Pack: make([]byte, 1500)})
	for b.Loop() {
		if _, err := signal.Seal(key, device, alice, s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	sealed, err := signal.Seal(key, device, alice, simple(signal.Announce{Ref: "refs/heads/main", Pack: make([]byte, 1500)}))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := signal.Open([]signal.GroveKey{key}, alice, sealed); err != nil {
			b.Fatal(err)
		}
	}
}
