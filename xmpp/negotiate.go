package xmpp

import (
	"context"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"mellium.im/xmlstream"
	mellium "mellium.im/xmpp"
	"mellium.im/xmpp/jid"
)

const (
	nsClient = "jabber:client"
	nsStream = "http://etherx.jabber.org/streams"
	nsBind   = "urn:ietf:params:xml:ns:xmpp-bind"
	nsSM     = "urn:xmpp:sm:3" // XEP-0198
)

// maxEarly is how many stanzas are kept that come before the session is ready. The rest is lost, as what comes to nobody is.
const maxEarly = 64

// negotiationTimeout bounds the way from the first byte to the bound resource.
const negotiationTimeout = 20 * time.Second

// resumption is what XEP-0198 needs to go on with a session over a new
// connection. The zero value resumes nothing.
type resumption struct {
	id  string // the server's name of the session; "" when it cannot be resumed
	jid string // full JID that is bound
}

// negotiated is what came out of a negotiation.
type negotiated struct {
	conn    *wire
	raw     net.Conn
	managed bool // stanzas are counted and acknowledged
	resumed bool
	handled uint32   // with resumed or refused: how many of our stanzas the server has handled
	refused bool     // the old session is gone, but handled is known
	early   []stanza // what came for the bound resource before the server answered: it counts none of that
}

// connect dials the server, logs in and binds the resource or resumes the old
// session. It updates c.session.
func (c *Client) connect(ctx context.Context) (*negotiated, error) {
	password, err := c.opt.Password(ctx) // may wait for the person
	if err != nil {
		return nil, &passwordError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, negotiationTimeout)
	defer cancel()
	conn, raw, directTLS, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	n := &negotiated{conn: conn, raw: raw}
	if err := c.negotiate(ctx, n, directTLS, c.login(password), c.bind(n)); err != nil {
		raw.Close()
		return nil, err
	}
	return n, nil
}

// negotiate runs the stream features until the session is ready. mellium turns
// the end of a context into a deadline of the connection, and may do so after it
// returned; so it gets one that never ends, and the connection is closed instead.
func (c *Client) negotiate(ctx context.Context, n *negotiated, directTLS bool, features ...mellium.StreamFeature) error {
	stop := context.AfterFunc(ctx, func() { n.raw.Close() })
	defer stop()
	var state mellium.SessionState
	if directTLS {
		state = mellium.Secure
	} else {
		features = append(features, c.startTLS(ctx, n))
	}
	features = append(features, channelBindings())
	_, err := mellium.NewSession(context.WithoutCancel(ctx), c.account.Domain(), c.account, n.conn, state,
		mellium.NewNegotiator(func(*mellium.Session, *mellium.StreamConfig) mellium.StreamConfig {
			return mellium.StreamConfig{Features: features}
		}))
	if ctx.Err() != nil {
		return fmt.Errorf("negotiate the session: %w", context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("negotiate the session: %w", n.conn.cause(err))
	}
	return nil
}

// startTLS is mellium's feature with the handshake done at once, over a wire.
func (c *Client) startTLS(ctx context.Context, n *negotiated) mellium.StreamFeature {
	feature := mellium.StartTLS(c.tlsConfig())
	upgrade := feature.Negotiate
	feature.Negotiate = func(_ context.Context, s *mellium.Session, data any) (mellium.SessionState, io.ReadWriter, error) {
		mask, rw, err := upgrade(ctx, s, data)
		if err != nil {
			return 0, nil, err
		}
		conn, ok := rw.(*tls.Conn)
		if !ok {
			return 0, nil, errors.New("STARTTLS made no TLS connection")
		}
		if err := conn.HandshakeContext(ctx); err != nil {
			return 0, nil, err
		}
		n.conn = n.conn.secured(conn)
		return mask, n.conn, nil
	}
	return feature
}

// bind resumes the session that broke or binds the resource (RFC 6120 §7) and
// enables stream management. It is one feature, because mellium negotiates
// optional ones before mandatory ones, in no order.
func (c *Client) bind(n *negotiated) mellium.StreamFeature {
	return mellium.StreamFeature{
		Name:       xml.Name{Space: nsBind, Local: "bind"},
		Necessary:  mellium.Secure | mellium.Authn,
		Prohibited: mellium.Ready,
		Parse: func(_ context.Context, d *xml.Decoder, _ *xml.StartElement) (bool, any, error) {
			return true, nil, d.Skip()
		},
		Negotiate: func(_ context.Context, s *mellium.Session, _ any) (mellium.SessionState, io.ReadWriter, error) {
			_, managed := s.Feature(nsSM)
			if managed && c.session.id != "" {
				if err := c.resume(s, n); err != nil {
					return 0, nil, err
				}
				if n.resumed {
					return mellium.Ready, nil, nil
				}
			}
			c.session = resumption{}
			full, err := bindResource(s, c.opt.Resource)
			if err != nil {
				return 0, nil, err
			}
			c.session.jid = full
			if managed {
				if err := c.enable(s, n); err != nil {
					return 0, nil, err
				}
			}
			return mellium.Ready, nil, nil
		},
	}
}

// resume asks for the old session (XEP-0198 §5).
func (c *Client) resume(s *mellium.Session, n *negotiated) error {
	answer, err := n.exchangeSM(s, xml.StartElement{Name: xml.Name{Space: nsSM, Local: "resume"}, Attr: []xml.Attr{
		{Name: xml.Name{Local: "previd"}, Value: c.session.id},
		{Name: xml.Name{Local: "h"}, Value: strconv.FormatUint(uint64(c.handled.Load()), 10)},
	}})
	if err != nil {
		return err
	}
	handled, err := strconv.ParseUint(attr(answer, "h"), 10, 32)
	switch {
	case answer.Name.Local == "resumed" && err == nil:
		n.managed, n.resumed, n.handled = true, true, uint32(handled)
	case answer.Name.Local == "failed":
		n.refused, n.handled = err == nil, uint32(handled)
	default:
		return fmt.Errorf("the server answered a resumption with <%s/>", answer.Name.Local)
	}
	return nil
}

// enable turns stream management on. A server that refuses is served without.
func (c *Client) enable(s *mellium.Session, n *negotiated) error {
	answer, err := n.exchangeSM(s, xml.StartElement{Name: xml.Name{Space: nsSM, Local: "enable"}, Attr: []xml.Attr{
		{Name: xml.Name{Local: "resume"}, Value: "true"},
	}})
	if err != nil {
		return err
	}
	if answer.Name.Local != "enabled" {
		return nil
	}
	n.managed = true
	c.handled.Store(0)
	if resume := attr(answer, "resume"); resume == "true" || resume == "1" {
		c.session.id = attr(answer, "id")
	}
	return nil
}

// bindResource asks for the resource; mellium's own feature cannot.
func bindResource(s *mellium.Session, resource string) (full string, err error) {
	r := s.TokenReader()
	defer r.Close()
	w := s.TokenWriter()
	defer w.Close()
	text := xmlstream.Wrap(xmlstream.Token(xml.CharData(resource)), xml.StartElement{Name: xml.Name{Local: "resource"}})
	_, err = xmlstream.Copy(w, xmlstream.Wrap(
		xmlstream.Wrap(text, xml.StartElement{Name: xml.Name{Space: nsBind, Local: "bind"}}),
		xml.StartElement{Name: xml.Name{Space: nsClient, Local: "iq"}, Attr: []xml.Attr{
			{Name: xml.Name{Local: "type"}, Value: "set"}, {Name: xml.Name{Local: "id"}, Value: newID()},
		}}))
	if err != nil {
		return "", err
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	var answer struct {
		XMLName xml.Name
		Bind    struct {
			JID string `xml:"jid"`
		} `xml:"urn:ietf:params:xml:ns:xmpp-bind bind"`
		Error iqError `xml:"error"`
	}
	if err := xml.NewTokenDecoder(r).Decode(&answer); err != nil {
		return "", fmt.Errorf("bind the resource: %w", err)
	}
	if condition := answer.Error.condition(); condition != "" {
		return "", fmt.Errorf("bind the resource: %w", &streamError{Condition: condition})
	}
	bound, err := jid.Parse(answer.Bind.JID)
	if err != nil {
		return "", fmt.Errorf("bind the resource: %w", err)
	}
	return bound.String(), nil
}

// iqError decodes the <error/> of RFC 6120 §8.3.
type iqError struct {
	Children []struct {
		XMLName xml.Name
	} `xml:",any"`
}

func (e iqError) condition() string {
	for _, child := range e.Children {
		if child.XMLName.Local != "text" {
			return child.XMLName.Local
		}
	}
	return ""
}

// exchangeSM sends one element of XEP-0198 and reads the answer. Others may send to a resource as soon as it is bound.
func (n *negotiated) exchangeSM(s *mellium.Session, request xml.StartElement) (xml.StartElement, error) {
	r := s.TokenReader()
	defer r.Close()
	w := s.TokenWriter()
	defer w.Close()
	if _, err := xmlstream.Copy(w, xmlstream.Wrap(nil, request)); err != nil {
		return xml.StartElement{}, err
	}
	if err := w.Flush(); err != nil {
		return xml.StartElement{}, err
	}
	d := xml.NewTokenDecoder(r)
	for {
		tok, err := d.Token()
		if err != nil {
			return xml.StartElement{}, err
		}
		start, ok := tok.(xml.StartElement)
		switch {
		case !ok:
		case start.Name.Space == nsSM:
			start = start.Copy()
			return start, skip(d)
		case start.Name.Space == nsClient:
			st, err := readElement(d, start)
			if err != nil {
				return xml.StartElement{}, err
			}
			if len(n.early) < maxEarly {
				n.early = append(n.early, st)
			}
			n.conn.budget = maxNegotiation
		default:
			return xml.StartElement{}, fmt.Errorf("the server answered <%s/> with <%s/>", request.Name.Local, start.Name.Local)
		}
	}
}

func attr(start xml.StartElement, name string) string {
	for _, a := range start.Attr {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}
