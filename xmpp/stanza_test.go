package xmpp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// readAll reads stanzas until the stream ends, and returns why it did.
func readAll(t testing.TB, text string) ([]stanza, error) {
	t.Helper()
	d, err := newDecoder(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var all []stanza
	for {
		s, err := readStanza(d)
		if err != nil {
			return all, err
		}
		all = append(all, s)
	}
}

func TestReadStanza(t *testing.T) {
	all, err := readAll(t, ` <message from='a@b/c' type='headline' id='1'><s xmlns='urn:arbor:signal:1' k='t'>aGk=</s><s k='t'>aGk=</s></message>
		<presence from='a@b/c' type='subscribe'><preauth xmlns='urn:xmpp:pars:0' token='T'/><delay xmlns='urn:xmpp:delay' stamp='x'/></presence>
		<iq type='result' id='r'><query xmlns='jabber:iq:roster'><item jid='x@y' subscription='to' ask='subscribe'><group>g</group></item><other/></query></iq>
		<a xmlns='urn:xmpp:sm:3' h='17'/><r xmlns='urn:xmpp:sm:3'/>
		<iq type='error' id='e'><error type='cancel'><text>why</text><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>
		</stream:stream>`)
	if !errors.Is(err, errStreamClosed) {
		t.Errorf("the stream ended with %v", err)
	}
	for i := range all {
		all[i].Name.Space, all[i].Query.Space = "", ""
	}
	want := []stanza{
		{From: "a@b/c", Type: "headline", ID: "1", Payloads: []Payload{{"t", []byte("hi")}}},
		{From: "a@b/c", Type: "subscribe", Token: "T", Delayed: true},
		{Type: "result", ID: "r", Roster: []rosterItem{{"x@y", "to", "subscribe"}}},
		{H: 17},
		{},
		{Type: "error", ID: "e", Condition: "item-not-found"},
	}
	for i, name := range []string{"message s", "presence preauth", "iq query", "a ", "r ", "iq error"} {
		want[i].Name.Local, want[i].Query.Local, _ = strings.Cut(name, " ")
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
}

func TestReadStreamEnd(t *testing.T) {
	for text, want := range map[string]streamError{
		"<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>Replaced</text></stream:error></stream:stream>": {
			Condition: "conflict", Text: "Replaced",
		},
		"<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>[::1]:5222</see-other-host></stream:error>": {
			Condition: "see-other-host", Host: "[::1]:5222",
		},
		"<stream:error><system-shutdown/>": {Condition: "system-shutdown"},
	} {
		_, err := readAll(t, text)
		var got *streamError
		if !errors.As(err, &got) || *got != want {
			t.Errorf("%s: got %+v, want %+v", text, err, want)
		}
	}
	if _, err := readAll(t, "<message><"); err == nil || errors.Is(err, errStreamClosed) {
		t.Errorf("a broken stream ended with %v", err)
	}
}

// TestRoundTrip: what is encoded is decoded as it was.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune("aé☃'\"<>&]\t\n\r\U0001F600")), 0, 10, maxTag)
		p := Payload{text.Draw(t, "tag"), rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(t, "data")}
		token, id, address := text.Draw(t, "token"), text.Draw(t, "id"), text.Draw(t, "address")
		var b bytes.Buffer
		b.Write(encodeMessage(address, "headline", p))
		b.Write(encodePresence("", -1, []Payload{p, p}))
		b.Write(encodeSubscription(address, "subscribe", token))
		b.Write(encodeError(id, address, "cancel", "bad-request"))
		b.Write(encodeAck(1<<32 - 1))
		d, err := newDecoder(&b)
		if err != nil {
			t.Fatal(err)
		}
		var all []stanza
		for range 5 {
			s, err := readStanza(d)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
		same := func(a, b Payload) bool { return a.Tag == b.Tag && bytes.Equal(a.Data, b.Data) }
		if len(all[0].Payloads) != 1 || !same(all[0].Payloads[0], p) {
			t.Errorf("message: %+v", all[0])
		}
		if len(all[1].Payloads) != 2 || !same(all[1].Payloads[1], p) {
			t.Errorf("presence: %+v", all[1])
		}
		if all[2].Token != token || all[3].ID != id || all[3].Condition != "bad-request" || all[4].H != 1<<32-1 {
			t.Errorf("got %+v", all[2:])
		}
	})
}

func FuzzReadStanza(f *testing.F) {
	for _, s := range hostileStanzas {
		if len(s) < 10_000 {
			f.Add(s)
		}
	}
	f.Add("<stream:error><text/></stream:error>")
	f.Add("<iq><error><a><b/></a></error></iq></stream:stream>")
	f.Add("<!DOCTYPE a [<!ENTITY x 'y'>]><?pi?><!-- c --><a>&x;</a>")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := readAll(t, text)
		if err == nil {
			t.Fatal("the stream did not end")
		}
		for _, s := range all {
			if len(s.Payloads) > maxPayloads || len(s.Token) > maxToken || len(s.Roster) > maxRoster {
				t.Errorf("beyond the bounds: %+v", s)
			}
			for _, p := range s.Payloads {
				if len(p.Data) > MaxMessage || len(p.Tag) > maxTag {
					t.Errorf("a payload of %d bytes with a tag of %d", len(p.Data), len(p.Tag))
				}
			}
		}
	})
}

func FuzzValidChallenge(f *testing.F) {
	f.Add([]byte("r=abc,s=c2FsdA==,i=4096,x"))
	f.Add([]byte("r=abc,s=c2FsdA==,i=5000"))
	f.Fuzz(func(t *testing.T, challenge []byte) { validChallenge(challenge) })
}

// TestWireBudget: a server cannot make us hold more than we want to.
func TestWireBudget(t *testing.T) {
	w := &wire{r: bufio.NewReader(endless{}), budget: 1000}
	if n, err := io.Copy(io.Discard, w); n < 1000 || n > 1000+1<<16 || !errors.Is(err, errStanzaTooBig) {
		t.Errorf("read %d bytes, then %v", n, err)
	}
	if _, err := w.ReadByte(); !errors.Is(err, errStanzaTooBig) {
		t.Errorf("ReadByte returned %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
