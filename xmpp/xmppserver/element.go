package xmppserver

import (
	"bytes"
	"encoding/xml"
	"slices"
	"strconv"
	"strings"
)

// Namespaces, named after the documents that define them.
const (
	nsStream     = "http://etherx.jabber.org/streams"
	nsClient     = "jabber:client"
	nsStreamErrs = "urn:ietf:params:xml:ns:xmpp-streams"
	nsStanzaErrs = "urn:ietf:params:xml:ns:xmpp-stanzas"
	nsTLS        = "urn:ietf:params:xml:ns:xmpp-tls"
	nsSASL       = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsBind       = "urn:ietf:params:xml:ns:xmpp-bind"
	nsSession    = "urn:ietf:params:xml:ns:xmpp-session" // RFC 3921, obsolete, still asked for
	nsRoster     = "jabber:iq:roster"
	nsSM         = "urn:xmpp:sm:3"      // XEP-0198
	nsPing       = "urn:xmpp:ping"      // XEP-0199
	nsDelay      = "urn:xmpp:delay"     // XEP-0203
	nsHints      = "urn:xmpp:hints"     // XEP-0334
	nsPreauth    = "urn:xmpp:pars:0"    // XEP-0379, XEP-0445
	nsInvite     = "urn:xmpp:invite"    // XEP-0401, the feature of XEP-0445
	nsRegister   = "jabber:iq:register" // XEP-0077
	nsRegFeature = "http://jabber.org/features/iq-register"
	nsDiscoInfo  = "http://jabber.org/protocol/disco#info" // XEP-0030
	nsDiscoItems = "http://jabber.org/protocol/disco#items"

	nsXML   = "http://www.w3.org/XML/1998/namespace"
	nsXMLNS = "http://www.w3.org/2000/xmlns/"
)

// maxDepth bounds the nesting of a stanza: what is read here is walked
// recursively here and in the clients it is sent to.
const maxDepth = 64

// element is an XML element with everything in it. Elements are shared between
// sessions and never changed once they are routed: with makes a copy.
type element struct {
	name xml.Name
	attr []xml.Attr // without namespace declarations
	body []any      // *element and string, in document order
}

// el makes an element; attrs are names and values in turn.
func el(space, local string, attrs ...string) *element {
	return (&element{name: xml.Name{Space: space, Local: local}}).with(attrs...)
}

// with returns a copy that has attributes replaced or, where the value is "", removed.
func (e *element) with(attrs ...string) *element {
	n := &element{name: e.name, body: e.body, attr: make([]xml.Attr, 0, len(e.attr)+len(attrs)/2)}
next:
	for _, a := range e.attr {
		for i := 0; i < len(attrs); i += 2 {
			if a.Name.Space == "" && a.Name.Local == attrs[i] {
				continue next
			}
		}
		n.attr = append(n.attr, a)
	}
	for i := 0; i < len(attrs); i += 2 {
		if attrs[i+1] != "" {
			n.attr = append(n.attr, xml.Attr{Name: xml.Name{Local: attrs[i]}, Value: attrs[i+1]})
		}
	}
	return n
}

// add appends to the content, in place, and returns e: for building only.
func (e *element) add(content ...any) *element {
	e.body = append(slices.Clip(e.body), content...)
	return e
}

func (e *element) is(space, local string) bool {
	return e.name.Space == space && e.name.Local == local
}

// get returns the value of an attribute without namespace, "" if there is none.
func (e *element) get(local string) string {
	for _, a := range e.attr {
		if a.Name.Space == "" && a.Name.Local == local {
			return a.Value
		}
	}
	return ""
}

// children returns the child elements.
func (e *element) children() []*element {
	var c []*element
	for _, n := range e.body {
		if n, ok := n.(*element); ok {
			c = append(c, n)
		}
	}
	return c
}

// child returns the first child of that name, nil if there is none; e may be nil.
func (e *element) child(space, local string) *element {
	if e == nil {
		return nil
	}
	for _, n := range e.body {
		if n, ok := n.(*element); ok && n.is(space, local) {
			return n
		}
	}
	return nil
}

// text returns the character data directly in e; e may be nil.
func (e *element) text() string {
	if e == nil {
		return ""
	}
	var b strings.Builder
	for _, n := range e.body {
		if n, ok := n.(string); ok {
			b.WriteString(n)
		}
	}
	return b.String()
}

// bytes returns e as it is sent to a client, where jabber:client is the default namespace.
func (e *element) bytes() []byte {
	var b bytes.Buffer
	e.write(&b, nsClient)
	return b.Bytes()
}

func (e *element) write(b *bytes.Buffer, inherited string) {
	b.WriteByte('<')
	b.WriteString(e.name.Local)
	if e.name.Space != inherited {
		writeAttr(b, "xmlns", e.name.Space)
	}
	for i, a := range e.attr {
		switch a.Name.Space {
		case "":
			writeAttr(b, a.Name.Local, a.Value)
		case nsXML:
			writeAttr(b, "xml:"+a.Name.Local, a.Value)
		default:
			prefix := "n" + strconv.Itoa(i)
			writeAttr(b, "xmlns:"+prefix, a.Name.Space)
			writeAttr(b, prefix+":"+a.Name.Local, a.Value)
		}
	}
	if len(e.body) == 0 {
		b.WriteString("/>")
		return
	}
	b.WriteByte('>')
	for _, n := range e.body {
		switch n := n.(type) {
		case *element:
			n.write(b, e.name.Space)
		case string:
			escape(b, n)
		}
	}
	b.WriteString("</")
	b.WriteString(e.name.Local)
	b.WriteByte('>')
}

func writeAttr(b *bytes.Buffer, name, value string) {
	b.WriteByte(' ')
	b.WriteString(name)
	b.WriteString("='")
	escape(b, value)
	b.WriteByte('\'')
}

func escape(b *bytes.Buffer, s string) {
	_ = xml.EscapeText(b, []byte(s)) // a bytes.Buffer takes everything
}

// parseElement reads the rest of the element that start begins. What it
// returns is safe to write to other clients: encoding/xml lets through several
// things that stricter parsers end their stream for (XML 1.0, Namespaces in XML).
func parseElement(d *xml.Decoder, start xml.StartElement, depth int) (*element, error) {
	if depth > maxDepth {
		return nil, &streamError{condition: "policy-violation", text: "nested too deeply"}
	}
	e := &element{name: start.Name}
	if !ncName(start.Name.Local) || !namespace(start.Name.Space) || start.Name.Space == nsXML {
		return nil, &streamError{condition: "bad-format", text: "element name"}
	}
	for _, a := range start.Attr {
		if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
			continue
		}
		if !ncName(a.Name.Local) || !namespace(a.Name.Space) {
			return nil, &streamError{condition: "bad-format", text: "attribute name"}
		}
		for _, b := range e.attr {
			if a.Name == b.Name {
				return nil, &streamError{condition: "not-well-formed", text: "attribute given twice"}
			}
		}
		e.attr = append(e.attr, a)
	}
	for {
		tok, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			c, err := parseElement(d, tok, depth+1)
			if err != nil {
				return nil, err
			}
			e.body = append(e.body, c)
		case xml.CharData:
			e.addText(string(tok))
		case xml.EndElement:
			return e, nil
		default:
			return nil, &streamError{condition: "restricted-xml"}
		}
	}
}

// addText keeps character data as one piece, as other parsers see it.
func (e *element) addText(s string) {
	if last := len(e.body) - 1; last >= 0 {
		if before, ok := e.body[last].(string); ok {
			e.body[last] = before + s
			return
		}
	}
	if s != "" {
		e.body = append(e.body, s)
	}
}

// ncName reports whether s is an ASCII NCName. Every name of every XMPP
// extension is one; parsers disagree on the others.
func ncName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_':
		case i > 0 && ('0' <= c && c <= '9' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return s != ""
}

// namespace reports whether s can be declared as a namespace: characters of a
// URI only, since expat ends the stream for some others, and not the reserved one.
func namespace(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || strings.IndexByte("<>\"'{}|\\^`", s[i]) >= 0 {
			return false
		}
	}
	return s != nsXMLNS
}
