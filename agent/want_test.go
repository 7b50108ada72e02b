package agent_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/config"
)

// want sets what a repository wants as git arbor want does.
func (m *machine) want(repository, what string) control.WantReply {
	m.t.Helper()
	reply, err := m.client().Want(m.t.Context(), control.WantRequest{Clone: m.dir, Repository: repository, Set: true, Want: what})
	if err != nil {
		m.t.Fatalf("%s: want %q: %v", m.name, what, err)
	}
	return reply
}

// why asks as git arbor why does, until the answer is accepted.
func (m *machine) why(file string, accept func(control.WhyReply) bool) {
	m.t.Helper()
	m.eventually("explain "+file, func() error {
		reply, err := m.client().Why(m.t.Context(), control.WhyRequest{Clone: m.dir, File: file})
		if err == nil && !accept(reply) {
			err = fmt.Errorf("it says %+v", reply)
		}
		return err
	})
}

func in(state control.WhyState) func(control.WhyReply) bool {
	return func(r control.WhyReply) bool { return r.State == state }
}

// refused checks the code of an error, and that it says what to do.
func refused(t *testing.T, err error, code string) {
	t.Helper()
	if e, ok := errors.AsType[*control.Error](err); !ok || e.Code != code || e.Fix == "" {
		t.Errorf("error %#v, want %s", err, code)
	}
}

// TestWant: what a clone is set to want is what it has at once, whoever sets it, and git-annex reads the same.
func TestWant(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	iso := noise(300_000)
	if r := b.want("", "exclude=*.iso  and\nanything"); r.Wanted != "exclude=*.iso and anything" || r.Repository != "desktop" || len(r.Problems) > 0 {
		t.Fatalf("it is set to %+v", r)
	}
	a.save("big.iso", iso)
	b.spares(1)
	b.pointer("big.iso")
	if r := b.want("", "client"); !slices.Equal(r.Groups, []string{"client"}) || r.Wanted != "standard" || r.Means == "" {
		t.Errorf("a client is set to %+v", r)
	}
	b.has("big.iso", iso)
	b.spares(0)

	a.want("desktop", "manual") // from elsewhere, and instead of client
	b.eventually("be told what it wants", func() error {
		group, err := b.tryGit("annex", "group", ".")
		if err == nil && group != "manual" {
			err = fmt.Errorf("it is in %q", group)
		}
		return err
	})
	if got := b.git("annex", "wanted", "."); got != "standard" {
		t.Errorf("git-annex says that it wants %q", got)
	}
	settled(t, ms...)
	a.save("new.iso", iso[1:])
	b.spares(1)
	b.has("big.iso", iso) // manual keeps what it has
	a.want("desktop", "nothing")
	b.spares(2)
	b.pointer("big.iso")
	a.copies("big.iso", a)
	if r := b.want("", ""); r.Wanted != "" || !slices.Equal(r.Groups, []string{"manual"}) {
		t.Errorf("with nothing set it is set to %+v", r)
	}
	only(t, a.tree(), a, b)

	a.git("annex", "groupwanted", "home", "include=*.txt")
	if r := a.want("", "home"); !slices.Equal(r.Groups, []string{"home"}) || r.Wanted != "groupwanted" || r.Means != "include=*.txt" {
		t.Errorf("in a group of one's own it is set to %+v", r)
	}
	a.git("annex", "required", ".", "include=*") // or the contents would go
	shown, err := a.client().Want(t.Context(), control.WantRequest{Clone: a.dir, Repository: a.git("config", "annex.uuid")})
	if err != nil || shown.Required != "include=*" || shown.Repository != "laptop" || shown.Wanted != "groupwanted" {
		t.Errorf("it shows %+v, %v", shown, err)
	}
	if shown = a.want("", "standard"); len(shown.Problems) != 1 {
		t.Errorf("standard without a standard group: %+v", shown)
	}
	before := shown
	for code, r := range map[string]control.WantRequest{
		"not-understood":     {Set: true, Want: "bogus=1"},
		"no-such-repository": {Set: true, Want: "nothing", Repository: "nobody"},
	} {
		r.Clone = a.dir
		_, err := a.client().Want(t.Context(), r)
		refused(t, err, code)
	}
	if shown, err = a.client().Want(t.Context(), control.WantRequest{Clone: a.dir}); err != nil || !reflect.DeepEqual(shown, before) {
		t.Errorf("what was refused has changed it: %+v, %v", shown, err)
	}
	b.sound()
}

// TestWhy: a file's content is explained in all the states that it goes through.
func TestWhy(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	large, other := noise(8<<20), noise(300_000)
	a.save("note.txt", "a note\n")
	a.save("dir/other.bin", other)
	b.has("note.txt", "a note\n")
	b.has("dir/other.bin", other)
	settled(t, ms...)
	b.why("note.txt", in(control.WhyInGit))
	b.why("dir/other.bin", func(r control.WhyReply) bool {
		return r.State == control.WhyHere && r.Wanted && r.Size == int64(len(other)) && r.Needed == 1 && slices.Equal(r.Provable, []string{"laptop"}) &&
			reflect.DeepEqual(r.Holders, []control.Holder{{Name: "laptop", Online: true}})
	})
	for file, code := range map[string]string{"dir": "is-folder", "nothing.bin": "no-such-file"} {
		_, err := b.client().Why(t.Context(), control.WhyRequest{Clone: b.dir, File: file})
		if e, ok := errors.AsType[*control.Error](err); !ok || e.Code != code {
			t.Errorf("%s: %v", file, err)
		}
	}

	b.limit(func(l *config.Limits) { l.Down, l.LAN = 64<<10, true })
	a.save("large.bin", large)
	b.why("large.bin", func(r control.WhyReply) bool {
		return r.State == control.WhyComing && r.Bytes > 0 && reflect.DeepEqual(r.From, []control.Source{{Name: "laptop", Why: r.From[0].Why}}) && r.From[0].Why != ""
	})
	if err := b.client().Pause(t.Context(), control.PauseRequest{Clone: b.dir}); err != nil {
		t.Fatal(err)
	}
	b.why("large.bin", func(r control.WhyReply) bool { return r.State == control.WhyPaused && r.Position == 1 })
	if err := b.client().Resume(t.Context(), control.PauseRequest{Clone: b.dir}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.client().PauseFiles(t.Context(), b.named("large.bin")); err != nil {
		t.Fatal(err)
	}
	b.why("large.bin", func(r control.WhyReply) bool { return r.State == control.WhyHeld && r.Bytes > 0 })
	if _, err := b.client().ResumeFiles(t.Context(), b.named("large.bin")); err != nil {
		t.Fatal(err)
	}
	b.want("", "smallerthan=1mb")
	b.why("large.bin", func(r control.WhyReply) bool {
		return r.State == control.WhyUnwanted && !r.Wanted && len(r.Reasons) == 1 && r.Reasons[0].Term == "smallerthan=1mb" && !r.Reasons[0].Match
	})
	a.stop()
	b.want("", "")
	b.why("large.bin", func(r control.WhyReply) bool {
		return r.State == control.WhyUnreached && r.Wanted && reflect.DeepEqual(r.Holders, []control.Holder{{Name: "laptop", Note: "offline"}})
	})
	b.why("dir/other.bin", func(r control.WhyReply) bool {
		return r.State == control.WhyHere && len(r.Provable) == 0 && slices.Equal(r.Uncertain, []string{"laptop (offline)"})
	})
	b.limit(func(l *config.Limits) { *l = config.Limits{} })
	a.start()
	b.has("large.bin", large)
	settled(t, ms...)
	if reply, err := b.drop("large.bin"); err != nil || reply.Contents != 1 {
		t.Fatalf("drop: %+v, %v", reply, err)
	}
	b.why("large.bin", in(control.WhyDropped))
	b.git("annex", "required", ".", "include=dir/*")
	b.why("dir/other.bin", func(r control.WhyReply) bool { return r.Required })
}

// TestKeptFromRemote: to a remote goes what it wants, and nothing while it is not to be synced.
func TestKeptFromRemote(t *testing.T) {
	t.Parallel()
	m := newGrove(t, agent.InitOptions{}, "laptop")[0]
	m.save("first.bin", noise(150_000))
	for _, name := range []string{"cloud", "drive"} {
		m.git("annex", "initremote", name, "type=directory", "directory="+t.TempDir(), "encryption=none")
	}
	m.git("annex", "merge") // writes what is in the journal
	at := func(remote string, files ...string) {
		t.Helper()
		m.eventually(fmt.Sprintf("have put %q to %s", files, remote), func() error {
			out, err := m.tryGit("annex", "find", "--in", remote)
			if got := strings.Fields(out); err == nil && !slices.Equal(got, files) {
				err = fmt.Errorf("there are %q", got)
			}
			return err
		})
	}
	at("cloud", "first.bin")
	if r := m.want("cloud", "exclude=*.iso"); r.Repository != "cloud" || r.Wanted != "exclude=*.iso" {
		t.Fatalf("it is set to %+v", r)
	}
	m.save("big.iso", noise(160_000))
	at("drive", "big.iso", "first.bin")
	m.save("second.bin", noise(170_000))
	at("cloud", "first.bin", "second.bin")

	m.git("config", "remote.cloud.annex-sync", "false")
	m.eventually("see that the remote is not to be synced", func() error {
		r, err := m.client().Map(t.Context(), control.MapRequest{Clone: m.dir})
		if id := m.git("config", "remote.cloud.annex-uuid"); err == nil && strings.Contains(string(r.Problem), `"to":"`+id+`"`) {
			err = fmt.Errorf("the map is %s", r.Problem)
		}
		return err
	})
	m.save("third.bin", noise(180_000))
	at("drive", "big.iso", "first.bin", "second.bin", "third.bin")
	at("cloud", "first.bin", "second.bin")
	m.git("config", "remote.cloud.annex-sync", "true")
	at("cloud", "first.bin", "second.bin", "third.bin")
	m.want("cloud", "")
	at("cloud", "big.iso", "first.bin", "second.bin", "third.bin")
}
