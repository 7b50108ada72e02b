package grove_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/grove"
)

var now = time.Unix(1764000000, 0)

func device(t *testing.T) *grove.Device {
	t.Helper()
	d, err := grove.LoadDevice(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func memberOf(d *grove.Device, jid string) grove.Member {
	return grove.Member{Device: d.ID(), HPKE: [32]byte(d.HPKE().PublicKey().Bytes()), JID: jid, Resource: "arbor-1", Name: "laptop"}
}

func found(t *testing.T, d *grove.Device) (*grove.Grove, string) {
	t.Helper()
	dir := t.TempDir()
	g, err := grove.Found(dir, d, grove.Member{JID: "alice@example.org", Resource: "arbor-a", Name: "desk"}, now)
	if err != nil {
		t.Fatal(err)
	}
	return g, dir
}

// joined adds a device to g and returns its own grove.
func joined(t *testing.T, g *grove.Grove, d *grove.Device) *grove.Grove {
	t.Helper()
	if err := g.Add(memberOf(d, "bob@example.org"), now); err != nil {
		t.Fatal(err)
	}
	j, err := grove.Join(t.TempDir(), d, g.ID(), g.Marshal(), now)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func merge(t *testing.T, from, to *grove.Grove) bool {
	t.Helper()
	changed, err := to.Merge(from.Marshal(), now)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func sealKey(t *testing.T, g *grove.Grove) grove.Key {
	t.Helper()
	k, err := g.SealKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestFoundJoinRevoke(t *testing.T) {
	a, b, c := device(t), device(t), device(t)
	ga, dir := found(t, a)
	gb := joined(t, ga, b)
	gc := joined(t, ga, c)
	if !merge(t, ga, gb) || merge(t, ga, gb) || merge(t, gc, ga) {
		t.Error("Merge tells changes wrongly")
	}
	if ga.Digest() != gb.Digest() || ga.Digest() != gc.Digest() {
		t.Error("digests differ")
	}
	before := sealKey(t, ga)
	if sealKey(t, gb) != before || sealKey(t, gc) != before {
		t.Error("keys differ: adding a member needs no new one")
	}
	m, ok := gb.Member(a.ID())
	if !ok || m.JID != "alice@example.org" || m.Resource != "arbor-a" || m.Name != "desk" {
		t.Errorf("founder is %+v", m)
	}
	if err := ga.Revoke(c.ID(), now); err != nil {
		t.Fatal(err)
	}
	after := sealKey(t, ga)
	if after == before {
		t.Error("the key was not rotated")
	}
	// B was offline: it still seals with the old key, and learns the new from the log.
	if !slices.Contains(ga.OpenKeys(), before) {
		t.Error("A cannot open what B still seals")
	}
	merge(t, ga, gb)
	if sealKey(t, gb) != after {
		t.Error("B has another key")
	}
	merge(t, ga, gc)
	if _, err := gc.SealKey(); !errors.Is(err, grove.ErrNotMember) {
		t.Errorf("revoked device seals: %v", err)
	}
	if slices.Contains(gc.OpenKeys(), after) {
		t.Error("revoked device knows the new key")
	}
	if !gc.Revoked(c.ID()) || gc.Revoked(a.ID()) || gb.Revoked(device(t).ID()) {
		t.Error("Revoked is wrong")
	}
	for name, err := range map[string]error{
		"adds itself":  gc.Add(memberOf(c, "c@example.org"), now),
		"adds another": gc.Add(memberOf(device(t), "d@example.org"), now),
		"revokes":      gc.Revoke(a.ID(), now),
		"joins":        func() error { _, err := grove.Join(t.TempDir(), c, ga.ID(), ga.Marshal(), now); return err }(),
	} {
		if !errors.Is(err, grove.ErrNotMember) {
			t.Errorf("revoked device %s: %v", name, err)
		}
	}
	if err := gb.Revoke(c.ID(), now); !errors.Is(err, grove.ErrNotMember) {
		t.Errorf("revoking twice: %v", err)
	}

	again, err := grove.Open(dir, ga.ID(), a)
	if err != nil {
		t.Fatal(err)
	}
	if again.Digest() != ga.Digest() || sealKey(t, again) != after || !slices.Equal(again.OpenKeys(), ga.OpenKeys()) {
		t.Error("a restart changes the grove")
	}
	if ids, err := grove.List(dir); err != nil || !slices.Equal(ids, []grove.ID{ga.ID()}) {
		t.Errorf("List: %v, %v", ids, err)
	}
}

func TestConcurrentRotations(t *testing.T) {
	a, b, c, d := device(t), device(t), device(t), device(t)
	ga, _ := found(t, a)
	gb, gc, gd := joined(t, ga, b), joined(t, ga, c), joined(t, ga, d)
	for _, g := range []*grove.Grove{gb, gc} {
		merge(t, ga, g)
	}
	// A forgets C while B forgets D: each new key is known to one who must not have it.
	if err := ga.Revoke(c.ID(), now); err != nil {
		t.Fatal(err)
	}
	if err := gb.Revoke(d.ID(), now); err != nil {
		t.Fatal(err)
	}
	merge(t, gb, gc)
	merge(t, ga, gd)
	merge(t, ga, gb)
	merge(t, gb, ga)
	k := sealKey(t, ga)
	if sealKey(t, gb) != k {
		t.Error("A and B have different keys")
	}
	for _, g := range []*grove.Grove{gc, gd} {
		merge(t, ga, g)
		if slices.Contains(g.OpenKeys(), k) {
			t.Error("a revoked device knows the key")
		}
	}
}

func TestMergeRefuses(t *testing.T) {
	a := device(t)
	ga, _ := found(t, a)
	joined(t, ga, device(t))
	log := ga.Marshal()
	digest := ga.Digest()
	other, _ := found(t, a)
	b := device(t)
	gb := joined(t, ga, b)
	for i := range len(log) * 8 {
		if i%8 != i/8%8 { // one bit of each byte
			continue
		}
		l := bytes.Clone(log)
		l[i/8] ^= 1 << (i % 8)
		if changed, err := gb.Merge(l, now); changed {
			t.Fatalf("log with bit %d flipped changed the grove (%v)", i, err)
		}
	}
	for n := range len(log) {
		if changed, _ := gb.Merge(log[:n], now); changed {
			t.Fatalf("log cut to %d bytes changed the grove", n)
		}
	}
	if changed, err := gb.Merge(other.Marshal(), now); changed || err != nil {
		t.Errorf("log of another grove: changed %v, %v", changed, err)
	}
	for name, l := range map[string][]byte{
		"empty": nil, "garbage": []byte("garbage"), "huge": make([]byte, grove.MaxLog+1),
		"huge entry": append([]byte("arbor members 1\n"), 0xff, 0xff, 0xff, 0xff, 0),
	} {
		if _, err := gb.Merge(l, now); !errors.Is(err, grove.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if ga.Digest() != digest {
		// gb joined after log was taken; ga knows of it.
		if _, ok := ga.Member(b.ID()); !ok {
			t.Error("the grove changed")
		}
	}
	if _, err := grove.Join(t.TempDir(), a, other.ID(), log, now); err == nil {
		t.Error("joined with the log of another grove")
	}
}

func TestParts(t *testing.T) {
	a, b := device(t), device(t)
	ga, _ := found(t, a)
	gb := joined(t, ga, b)
	for range 10 {
		if err := ga.Add(memberOf(device(t), "c@example.org"), now); err != nil {
			t.Fatal(err)
		}
	}
	const most = 2000
	parts := ga.Parts(most)
	if len(parts) < 3 {
		t.Fatalf("%d parts", len(parts))
	}
	for i, p := range parts {
		if len(p) > most && i < len(parts)-1 { // the last is the key, for twelve
			t.Errorf("part %d has %d bytes", i, len(p))
		}
		if _, err := gb.Merge(p, now); err != nil {
			t.Errorf("part %d: %v", i, err)
		}
	}
	if n := len(gb.Members()); n != 12 {
		t.Errorf("%d members after all parts", n)
	}
	merge(t, gb, ga) // on the way B handed out the key itself
	merge(t, ga, gb)
	if ga.Digest() != gb.Digest() {
		t.Error("the parts are not the whole")
	}
	if whole := ga.Parts(grove.MaxLog); len(whole) != 1 || !bytes.Equal(whole[0], ga.Marshal()) {
		t.Errorf("%d parts where one is enough", len(whole))
	}
}

func TestFilesArePrivate(t *testing.T) {
	state := t.TempDir()
	d, err := grove.LoadDevice(state)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.NextEpoch(now); err != nil {
		t.Fatal(err)
	}
	g, err := grove.Found(filepath.Join(state, "groves"), d, grove.Member{JID: "a@b"}, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Invite(now); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(state, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == state {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if strings.HasPrefix(e.Name(), ".") {
			t.Errorf("temporary file %s was left", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever file was lost or is the older one after a crash, the grove opens, and its
// next change repairs it.
func TestCrash(t *testing.T) {
	for _, lost := range []string{"keys", "invitations", "lock"} {
		t.Run("without "+lost, func(t *testing.T) {
			a := device(t)
			g, dir := found(t, a)
			if err := os.Remove(filepath.Join(dir, g.ID().String(), lost)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			again, err := grove.Open(dir, g.ID(), a)
			if err != nil {
				t.Fatal(err)
			}
			if sealKey(t, again) != sealKey(t, g) {
				t.Error("the key was lost")
			}
			if err := again.Add(memberOf(device(t), "b@c"), now); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("log older than keys", func(t *testing.T) {
		a, b := device(t), device(t)
		g, dir := found(t, a)
		joined(t, g, b)
		members := filepath.Join(dir, g.ID().String(), "members")
		old, err := os.ReadFile(members)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Revoke(b.ID(), now); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(members, old, 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := grove.Open(dir, g.ID(), a)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Revoke(b.ID(), now); err != nil {
			t.Fatal(err)
		}
		if _, err := again.SealKey(); err != nil {
			t.Error(err)
		}
	})
	t.Run("damaged log", func(t *testing.T) {
		a := device(t)
		g, dir := found(t, a)
		if err := os.WriteFile(filepath.Join(dir, g.ID().String(), "members"), []byte("garbage"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := grove.Open(dir, g.ID(), a); !errors.Is(err, grove.ErrInvalid) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		if _, err := grove.Open(t.TempDir(), grove.ID{}, device(t)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
}

// Two processes use one grove: neither undoes what the other wrote.
func TestTwoProcesses(t *testing.T) {
	a := device(t)
	g, dir := found(t, a)
	second, err := grove.Open(dir, g.ID(), a)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i, each := range []*grove.Grove{g, second} {
		d := []*grove.Device{device(t), device(t), device(t)}
		wg.Go(func() {
			for _, d := range d {
				if err := each.Add(memberOf(d, "b@c"), now); err != nil {
					t.Errorf("process %d: %v", i, err)
				}
				if _, err := each.Invite(now); err != nil {
					t.Errorf("process %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	third, err := grove.Open(dir, g.ID(), a)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(third.Members()); n != 7 {
		t.Errorf("%d members, want 7", n)
	}
}

func TestLoadDevice(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "yet")
	var wg sync.WaitGroup
	ids := make([]grove.DeviceID, 8)
	for i := range ids {
		wg.Go(func() {
			d, err := grove.LoadDevice(dir)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = d.ID()
		})
	}
	wg.Wait()
	if slices.ContainsFunc(ids, func(id grove.DeviceID) bool { return id != ids[0] }) {
		t.Error("two processes made two keys")
	}
	parsed, err := grove.ParseDeviceID(strings.ToUpper(ids[0].String()))
	if err != nil || parsed != ids[0] {
		t.Errorf("ParseDeviceID: %v, %v", parsed, err)
	}
	key := filepath.Join(dir, "device.key")
	if err := os.Chmod(key, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := grove.LoadDevice(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("key that others can read: %v", err)
	}
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "garbage", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if err := os.WriteFile(key, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := grove.LoadDevice(dir); err == nil {
			t.Errorf("key %q was taken", bad)
		}
	}
}

func TestParseDeviceIDRefuses(t *testing.T) {
	good := device(t).ID().String()
	for _, bad := range []string{"", good[1:], good + "a", "1" + good[1:], good[:51] + "b", good[:51] + "\n"} {
		if id, err := grove.ParseDeviceID(bad); err == nil && id.String() != bad {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestNextEpoch(t *testing.T) {
	dir := t.TempDir()
	var last uint64
	for _, clock := range []time.Time{now, now, now.Add(time.Hour), now.Add(-time.Hour), time.Unix(-5, 0)} {
		d, err := grove.LoadDevice(dir) // as after a restart
		if err != nil {
			t.Fatal(err)
		}
		epoch, err := d.NextEpoch(clock)
		if err != nil {
			t.Fatal(err)
		}
		if epoch <= last {
			t.Errorf("epoch %d after %d", epoch, last)
		}
		last = epoch
	}
	if err := os.Remove(filepath.Join(dir, "epoch")); err != nil {
		t.Fatal(err)
	}
	d, err := grove.LoadDevice(dir)
	if err != nil {
		t.Fatal(err)
	}
	if epoch, err := d.NextEpoch(now.Add(2 * time.Hour)); err != nil || epoch <= last {
		t.Errorf("after the file was lost: %d, %v", epoch, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "epoch"), []byte("18446744073709551615"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.NextEpoch(now); err == nil {
		t.Error("an epoch after the last")
	}
}
