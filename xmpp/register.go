package xmpp

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"

	"mellium.im/xmlstream"
	mellium "mellium.im/xmpp"
)

const nsRegister = "jabber:iq:register" // XEP-0077

// ErrAccountExists says that somebody has the account already.
var ErrAccountExists = errors.New("the account exists already")

// errRegistered ends the negotiation of a connection that only registers.
var errRegistered = errors.New("registered")

// Register makes the account opt.JID with opt.Password in-band (XEP-0077). A
// token that is not empty is presented first (XEP-0445). The errors are
// ErrAccountExists, a *[Refused] from the server, or of the connection.
func Register(ctx context.Context, opt Options, token string) error {
	c, err := New(opt)
	if err != nil {
		return err
	}
	password, err := opt.Password(ctx)
	if err != nil {
		return &passwordError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, negotiationTimeout)
	defer cancel()
	conn, raw, directTLS, err := c.dial(ctx)
	if err != nil {
		return fmt.Errorf("register %s: %w", c.account, err)
	}
	defer raw.Close()
	err = c.negotiate(ctx, &negotiated{conn: conn, raw: raw}, directTLS, c.registration(password, token))
	switch {
	case errors.Is(err, errRegistered):
		return nil
	case err == nil:
		err = errors.New("the server offers no login")
	}
	return fmt.Errorf("register %s: %w", c.account, err)
}

// Refused is the server's answer to a request that it does not grant.
type Refused struct {
	Condition string // of RFC 6120 §8.3.3: not-allowed, forbidden, not-acceptable, ...
}

func (e *Refused) Error() string { return "the server refused: " + e.Condition }

// registration takes the place of the login: where that is offered, an account
// can be asked for, whether the server lists the feature or not.
func (c *Client) registration(password, token string) mellium.StreamFeature {
	feature := c.login(password)
	feature.Negotiate = func(_ context.Context, s *mellium.Session, _ any) (mellium.SessionState, io.ReadWriter, error) {
		if token != "" {
			preauth := xml.StartElement{Name: xml.Name{Space: nsPreauth, Local: "preauth"}, Attr: []xml.Attr{
				{Name: xml.Name{Local: "token"}, Value: token},
			}}
			if err := ask(s, xmlstream.Wrap(nil, preauth)); err != nil {
				return 0, nil, fmt.Errorf("present the token: %w", err)
			}
		}
		field := func(name, value string) xml.TokenReader {
			return xmlstream.Wrap(xmlstream.Token(xml.CharData(value)), xml.StartElement{Name: xml.Name{Local: name}})
		}
		err := ask(s, xmlstream.Wrap(
			xmlstream.MultiReader(field("username", c.account.Localpart()), field("password", password)),
			xml.StartElement{Name: xml.Name{Space: nsRegister, Local: "query"}}))
		var refused *Refused
		if errors.As(err, &refused) && refused.Condition == "conflict" {
			err = ErrAccountExists
		}
		if err != nil {
			return 0, nil, err
		}
		return 0, nil, errRegistered
	}
	return feature
}

// ask sends an iq of type set and waits for its result.
func ask(s *mellium.Session, payload xml.TokenReader) error {
	r := s.TokenReader()
	defer r.Close()
	w := s.TokenWriter()
	defer w.Close()
	_, err := xmlstream.Copy(w, xmlstream.Wrap(payload, xml.StartElement{
		Name: xml.Name{Space: nsClient, Local: "iq"}, Attr: []xml.Attr{
			{Name: xml.Name{Local: "type"}, Value: "set"}, {Name: xml.Name{Local: "id"}, Value: newID()},
		},
	}))
	if err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var answer struct {
		XMLName xml.Name
		Type    string  `xml:"type,attr"`
		Error   iqError `xml:"error"`
	}
	if err := xml.NewTokenDecoder(r).Decode(&answer); err != nil {
		return err
	}
	if answer.Type != "result" {
		return &Refused{Condition: answer.Error.condition()}
	}
	return nil
}
