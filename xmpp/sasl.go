package xmpp

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"mellium.im/sasl"
	"mellium.im/xmlstream"
	mellium "mellium.im/xmpp"
)

const (
	nsSASL           = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsChannelBinding = "urn:xmpp:sasl-cb:0" // XEP-0440
)

const (
	// minIterations is what RFC 7677 §4 demands; less would let whoever sees the
	// exchange guess the password cheaply.
	minIterations = 4096
	// maxIterations keeps a server from keeping us busy for minutes.
	maxIterations = 1_000_000
)

// saslFailure is a <failure/> of RFC 6120 §6.5.
type saslFailure struct {
	Condition string
	Text      string
}

func (f *saslFailure) Error() string {
	if f.Text == "" {
		return "login refused: " + f.Condition
	}
	return fmt.Sprintf("login refused: %s: %s", f.Condition, f.Text)
}

var (
	errNoMechanism  = errors.New("the server offers no SCRAM mechanism")
	errBadChallenge = errors.New("the server sent a malformed SCRAM challenge")
)

// channelBindings learns which channel bindings the server knows (XEP-0440). It
// is never negotiated itself.
func channelBindings() mellium.StreamFeature {
	return mellium.StreamFeature{
		Name:      xml.Name{Space: nsChannelBinding, Local: "sasl-channel-binding"},
		Necessary: mellium.Secure,
		Parse: func(_ context.Context, d *xml.Decoder, start *xml.StartElement) (bool, any, error) {
			var list struct {
				Bindings []struct {
					Type string `xml:"type,attr"`
				} `xml:"urn:xmpp:sasl-cb:0 channel-binding"`
			}
			err := d.DecodeElement(&list, start)
			var types []string
			for _, b := range list.Bindings {
				types = append(types, b.Type)
			}
			return false, types, err
		},
	}
}

// login authenticates with SCRAM (RFC 5802, RFC 7677). It stands in for
// mellium's feature, which hides the condition of a failure, and takes any
// number of iterations and -PLUS where the server cannot.
func (c *Client) login(password string) mellium.StreamFeature {
	return mellium.StreamFeature{
		Name:       xml.Name{Space: nsSASL, Local: "mechanisms"},
		Necessary:  mellium.Secure,
		Prohibited: mellium.Authn,
		Parse: func(_ context.Context, d *xml.Decoder, start *xml.StartElement) (bool, any, error) {
			var list struct {
				Names []string `xml:"urn:ietf:params:xml:ns:xmpp-sasl mechanism"`
			}
			err := d.DecodeElement(&list, start)
			return true, list.Names, err
		},
		Negotiate: func(_ context.Context, s *mellium.Session, data any) (mellium.SessionState, io.ReadWriter, error) {
			offered, _ := data.([]string)
			bindings, _ := s.Feature(nsChannelBinding)
			known, _ := bindings.([]string)
			tlsState := s.ConnectionState()
			mechanism, ok := chooseMechanism(offered, known, tlsState.Version)
			if !ok {
				return 0, nil, fmt.Errorf("%w (it offers %s)", errNoMechanism, strings.Join(offered, " "))
			}
			c.log.Debug("log in", "mechanism", mechanism.Name)
			client := sasl.NewClient(mechanism,
				sasl.Credentials(func() ([]byte, []byte, []byte) {
					return []byte(c.account.Localpart()), []byte(password), nil
				}),
				sasl.RemoteMechanisms(offered...), sasl.TLSState(tlsState))
			if err := authenticate(s, client, mechanism.Name); err != nil {
				return 0, nil, err
			}
			return mellium.Authn, s.Conn(), nil
		},
	}
}

// chooseMechanism takes the strongest mechanism that works. Over TLS 1.3 -PLUS
// needs tls-exporter (RFC 9266), which servers that do not list it fail on
// although they offer -PLUS: ejabberd 23.01 does.
func chooseMechanism(offered, bindings []string, version uint16) (sasl.Mechanism, bool) {
	bind := version == tls.VersionTLS12 || slices.Contains(bindings, "tls-exporter")
	for _, m := range []sasl.Mechanism{sasl.ScramSha256Plus, sasl.ScramSha1Plus, sasl.ScramSha256, sasl.ScramSha1} {
		if strings.HasSuffix(m.Name, "-PLUS") && !bind {
			continue
		}
		if slices.Contains(offered, m.Name) {
			return m, true
		}
	}
	return sasl.Mechanism{}, false
}

// authenticate exchanges the messages of RFC 6120 §6.4. SCRAM takes one
// challenge and ends with a success that proves the server knows us too.
func authenticate(s *mellium.Session, client *sasl.Negotiator, mechanism string) error {
	_, response, err := client.Step(nil)
	if err != nil {
		return err
	}
	if err := sendSASL(s, "auth", mechanism, response); err != nil {
		return err
	}
	name, challenge, err := readSASL(s)
	if err != nil {
		return err
	}
	if name != "challenge" || !validChallenge(challenge) {
		return errBadChallenge
	}
	if _, response, err = client.Step(challenge); err != nil {
		return err
	}
	if err := sendSASL(s, "response", "", response); err != nil {
		return err
	}
	name, final, err := readSASL(s)
	if err != nil {
		return err
	}
	if name == "challenge" { // RFC 5802 lets the proof come before the success
		if _, _, err := client.Step(final); err != nil {
			return fmt.Errorf("the server could not prove that it knows the account: %w", err)
		}
		if err := sendSASL(s, "response", "", nil); err != nil {
			return err
		}
		name, _, err = readSASL(s)
		if err == nil && name != "success" {
			err = errBadChallenge
		}
		return err
	}
	if _, _, err := client.Step(final); err != nil {
		return fmt.Errorf("the server could not prove that it knows the account: %w", err)
	}
	return nil
}

// validChallenge checks a server-first-message of RFC 5802 §7. The sasl package
// takes any number of iterations and never returns from a short last field.
func validChallenge(challenge []byte) bool {
	iterations := 0
	for field := range bytes.SplitSeq(challenge, []byte{','}) {
		if len(field) < 3 || field[1] != '=' {
			return false
		}
		if field[0] == 'i' {
			n, err := strconv.Atoi(string(field[2:]))
			if err != nil {
				return false
			}
			iterations = n
		}
	}
	return iterations >= minIterations && iterations <= maxIterations
}

func sendSASL(s *mellium.Session, name, mechanism string, data []byte) error {
	start := xml.StartElement{Name: xml.Name{Space: nsSASL, Local: name}}
	if mechanism != "" {
		start.Attr = []xml.Attr{{Name: xml.Name{Local: "mechanism"}, Value: mechanism}}
	}
	text := base64.StdEncoding.EncodeToString(data)
	w := s.TokenWriter()
	defer w.Close()
	if _, err := xmlstream.Copy(w, xmlstream.Wrap(xmlstream.Token(xml.CharData(text)), start)); err != nil {
		return err
	}
	return w.Flush()
}

// readSASL reads a challenge or a success; a failure is an error.
func readSASL(s *mellium.Session) (name string, data []byte, err error) {
	r := s.TokenReader()
	defer r.Close()
	var answer struct {
		XMLName  xml.Name
		Data     string `xml:",chardata"`
		Children []struct {
			XMLName xml.Name
			Text    string `xml:",chardata"`
		} `xml:",any"`
	}
	if err := xml.NewTokenDecoder(r).Decode(&answer); err != nil {
		return "", nil, err
	}
	switch answer.XMLName {
	case xml.Name{Space: nsSASL, Local: "challenge"}, xml.Name{Space: nsSASL, Local: "success"}:
		data, err := base64.StdEncoding.DecodeString(answer.Data)
		if err != nil {
			return "", nil, errBadChallenge
		}
		return answer.XMLName.Local, data, nil
	case xml.Name{Space: nsSASL, Local: "failure"}:
		failure := &saslFailure{Condition: "undefined-condition"}
		for _, child := range answer.Children {
			if child.XMLName.Local == "text" {
				failure.Text = child.Text
			} else {
				failure.Condition = child.XMLName.Local
			}
		}
		return "", nil, failure
	}
	return "", nil, fmt.Errorf("the server answered a login with <%s/>", answer.XMLName.Local)
}
