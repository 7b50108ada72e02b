package xmppserver

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func TestElementIsWrittenAsItWasRead(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"<message to='a'/>", "<message to='a'/>"},
		{"<message><body>1 &lt; 2 &amp; \"x\"\r\n</body></message>", "<message><body>1 &lt; 2 &amp; &#34;x&#34;&#xA;</body></message>"},
		{"<m:message xmlns:m='jabber:client'><q xmlns='urn:a'><r/><m:s/></q></m:message>", "<message><q xmlns='urn:a'><r/><s xmlns='jabber:client'/></q></message>"},
		{"<message xml:lang='de' a=\"b'c\"/>", "<message xml:lang='de' a='b&#39;c'/>"},
		{"<message xmlns:p='urn:p' xmlns:q='urn:q' p:x='1' q:x='2' x='3'/>", "<message xmlns:n0='urn:p' n0:x='1' xmlns:n1='urn:q' n1:x='2' x='3'/>"},
		{"<message><x xmlns=''/><![CDATA[<raw>]]></message>", "<message><x xmlns=''/>&lt;raw&gt;</message>"},
	} {
		e, err := parseStanza(tc.in)
		if err != nil {
			t.Errorf("%s: %v", tc.in, err)
			continue
		}
		if got := string(e.bytes()); got != tc.want {
			t.Errorf("%s\n  got  %s\n  want %s", tc.in, got, tc.want)
		}
	}
}

func TestWithCopies(t *testing.T) {
	e := el(nsClient, "message", "to", "a", "id", "1")
	n := e.with("to", "b", "id", "").add(el(nsClient, "body"))
	if got := string(e.bytes()); got != "<message to='a' id='1'/>" {
		t.Errorf("original became %s", got)
	}
	if got := string(n.bytes()); got != "<message to='b'><body/></message>" {
		t.Errorf("copy is %s", got)
	}
}

// FuzzStanza feeds what a client may send. Whatever is taken is written so that
// it means the same to the next parser, and a fixed point.
func FuzzStanza(f *testing.F) {
	for _, s := range []string{
		"<message to='a@b/c' type='chat'><body>x</body></message>",
		"<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>",
		"<presence><priority>-1</priority><c xmlns='http://jabber.org/protocol/caps' hash='sha-1'/></presence>",
		"<message xmlns:p='urn:p' xmlns:q='urn:q' p:x='1' q:x='2' xml:lang='en'/>",
		"<message><x xmlns=''>&lt;<![CDATA[]]]]>&gt;\r\n\t</x></message>",
		"<a:b xmlns:a='http://www.w3.org/2000/xmlns/'/>",
		"<message><!-- c --></message>",
		"<message a='1' a='2'/>",
		"<:a/>", "<a:1 xmlns:a='x'/>", "<message>" + strings.Repeat("<a>", 70),
		"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseStanza(string(b))
		if err != nil {
			return
		}
		once := e.bytes()
		again, err := parseStanza(string(once))
		if err != nil {
			t.Fatalf("%q was written as %q: %v", b, once, err)
		}
		if !reflect.DeepEqual(e, again) {
			t.Fatalf("%q was written as %q", b, once)
		}
		if twice := again.bytes(); !bytes.Equal(once, twice) {
			t.Fatalf("%q, then %q", once, twice)
		}
		if e.name.Space == nsClient {
			e.with("from", "x@y/z", "to", "").bytes()
		}
		priority(e)
		preauth(e)
	})
}
