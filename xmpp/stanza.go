package xmpp

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	nsRoster  = "jabber:iq:roster"
	nsPing    = "urn:xmpp:ping" // XEP-0199
	nsDelay   = "urn:xmpp:delay"
	nsPreauth = "urn:xmpp:pars:0" // XEP-0379, XEP-0445
)

// Bounds of what is kept of one stanza. What is beyond is skipped.
const (
	maxPayloads   = 64
	maxTag        = 64
	maxToken      = 1024
	maxCondition  = 256
	maxText       = 1024
	maxRoster     = 10_000
	maxPayloadB64 = (MaxMessage + 2) / 3 * 4
)

// stanza is what this package understands of one element of the stream.
type stanza struct {
	Name  xml.Name // message, presence or iq of jabber:client; r or a of stream management
	From  string
	ID    string
	Type  string
	H     uint32   // of <a/>
	Query xml.Name // first child of an iq

	Payloads  []Payload
	Delayed   bool
	Token     string       // of <preauth/>
	Roster    []rosterItem // of an iq with a roster query
	Condition string       // of an error
}

// rosterItem is an item of RFC 6121 §2.1.2 as it was sent.
type rosterItem struct{ JID, Subscription, Ask string }

// streamError is a stream error of RFC 6120 §4.9.
type streamError struct {
	Condition string
	Text      string
	Host      string // of see-other-host
}

func (e *streamError) Error() string {
	if e.Text == "" {
		return "the server ended the session: " + e.Condition
	}
	return fmt.Sprintf("the server ended the session: %s: %s", e.Condition, e.Text)
}

var errStreamClosed = errors.New("the server closed the session")

// readStanza reads the next element at the top of the stream. Errors come only
// from the transport, from XML that is not well-formed and from the server's own
// stream errors: nothing inside a stanza is one. The package mellium uses for
// that ends the session at a stream error's name anywhere, and a peer can send one.
func readStanza(d *xml.Decoder) (stanza, error) {
	for {
		tok, err := d.Token()
		if err != nil {
			return stanza{}, err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if tok.Name == (xml.Name{Space: nsStream, Local: "error"}) {
				return stanza{}, readStreamError(d)
			}
			return readElement(d, tok)
		case xml.EndElement: // the decoder knows one element that is open: the stream
			return stanza{}, errStreamClosed
		}
	}
}

// readElement reads an element whose start was read.
func readElement(d *xml.Decoder, start xml.StartElement) (stanza, error) {
	s := stanza{Name: start.Name}
	for _, a := range start.Attr {
		if a.Name.Space != "" {
			continue
		}
		switch a.Name.Local {
		case "from":
			s.From = a.Value
		case "id":
			s.ID = a.Value
		case "type":
			s.Type = a.Value
		case "h":
			if h, err := strconv.ParseUint(a.Value, 10, 32); err == nil {
				s.H = uint32(h)
			}
		}
	}
	for {
		tok, err := d.Token()
		if err != nil {
			return stanza{}, err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if err := s.readChild(d, tok); err != nil {
				return stanza{}, err
			}
		case xml.EndElement:
			return s, nil
		}
	}
}

// readChild takes what is known from a child of the stanza, and reads to its end.
func (s *stanza) readChild(d *xml.Decoder, start xml.StartElement) error {
	if s.Query.Local == "" {
		s.Query = start.Name
	}
	switch start.Name {
	case xml.Name{Space: NSSignal, Local: "s"}:
		text, err := readText(d, maxPayloadB64)
		if err != nil {
			return err
		}
		tag := attr(start, "k")
		data, err := base64.StdEncoding.DecodeString(text)
		if err == nil && len(tag) <= maxTag && len(s.Payloads) < maxPayloads {
			s.Payloads = append(s.Payloads, Payload{Tag: tag, Data: data})
		}
		return nil
	case xml.Name{Space: nsDelay, Local: "delay"}:
		s.Delayed = true
	case xml.Name{Space: nsPreauth, Local: "preauth"}:
		if token := attr(start, "token"); len(token) <= maxToken {
			s.Token = token
		}
	case xml.Name{Space: nsRoster, Local: "query"}:
		return s.readRoster(d)
	case xml.Name{Space: nsClient, Local: "error"}:
		condition, _, err := readCondition(d)
		s.Condition = condition
		return err
	}
	return skip(d)
}

func (s *stanza) readRoster(d *xml.Decoder) error {
	for {
		tok, err := d.Token()
		if err != nil {
			return err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if tok.Name == (xml.Name{Space: nsRoster, Local: "item"}) && len(s.Roster) < maxRoster {
				s.Roster = append(s.Roster, rosterItem{
					JID: attr(tok, "jid"), Subscription: attr(tok, "subscription"), Ask: attr(tok, "ask"),
				})
			}
			if err := skip(d); err != nil {
				return err
			}
		case xml.EndElement:
			return nil
		}
	}
}

func readStreamError(d *xml.Decoder) error {
	condition, text, err := readCondition(d)
	if err != nil && condition == "" {
		return err
	}
	e := &streamError{Condition: condition, Text: text}
	if condition == "see-other-host" {
		e.Host, e.Text = text, ""
	}
	return e
}

// readCondition reads the inside of an <error/>: the first child names the
// condition, and <text/> explains it. The text of a see-other-host is its host.
func readCondition(d *xml.Decoder) (condition, text string, err error) {
	for {
		tok, err := d.Token()
		if err != nil {
			return condition, text, err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			inner, err := readText(d, maxText)
			if err != nil {
				return condition, text, err
			}
			if tok.Name.Local == "see-other-host" || tok.Name.Local == "text" && text == "" {
				text = inner
			}
			if tok.Name.Local != "text" && condition == "" && len(tok.Name.Local) <= maxCondition {
				condition = tok.Name.Local
			}
		case xml.EndElement:
			return condition, text, nil
		}
	}
}

// readText reads the text of an element to its end, without that of its
// children, and "" if it is longer than limit bytes.
func readText(d *xml.Decoder, limit int) (string, error) {
	var text []byte
	tooLong := false
	for depth := 1; depth > 0; {
		tok, err := d.Token()
		if err != nil {
			return "", err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		case xml.CharData:
			tooLong = tooLong || len(text)+len(tok) > limit
			if depth == 1 && !tooLong {
				text = append(text, tok...)
			}
		}
	}
	if tooLong {
		return "", nil
	}
	return string(text), nil
}

// skip reads to the end of an element whose start was read. Unlike
// xml.Decoder.Skip it does not recurse.
func skip(d *xml.Decoder) error {
	for depth := 1; depth > 0; {
		tok, err := d.Token()
		if err != nil {
			return err
		}
		switch tok.(type) {
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		}
	}
	return nil
}

// newDecoder reads the stream from where the negotiation stopped. It is told the
// namespaces of the header that the negotiation has read.
func newDecoder(r io.Reader) (*xml.Decoder, error) {
	const header = `<stream:stream xmlns='` + nsClient + `' xmlns:stream='` + nsStream + `'>`
	d := xml.NewDecoder(io.MultiReader(strings.NewReader(header), r))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	return d, nil
}
