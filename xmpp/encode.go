package xmpp

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"strconv"
)

// Stanzas are written as bytes, not as tokens: the encoder of a session edits
// the tokens that it is given, and what was not acknowledged is sent again.

// newID returns an id that no peer can guess, for a request whose answer counts.
func newID() string { return rand.Text()[:16] }

func appendAttr(b []byte, name, value string) []byte {
	b = append(b, ' ')
	b = append(b, name...)
	b = append(b, "='"...)
	b = appendEscaped(b, value)
	return append(b, '\'')
}

func appendEscaped(b []byte, text string) []byte {
	buf := bytes.NewBuffer(b)
	_ = xml.EscapeText(buf, []byte(text)) // a bytes.Buffer takes everything
	return buf.Bytes()
}

func appendPayload(b []byte, p Payload) []byte {
	b = append(b, "<s xmlns='"+NSSignal+"'"...)
	b = appendAttr(b, "k", p.Tag)
	b = append(b, '>')
	b = base64.StdEncoding.AppendEncode(b, p.Data)
	return append(b, "</s>"...)
}

// encodePresence makes what says that we are available, to all subscribers or to
// one account.
func encodePresence(to string, priority int8, payloads []Payload) []byte {
	b := []byte("<presence")
	if to != "" {
		b = appendAttr(b, "to", to)
	}
	b = append(b, '>')
	if priority != 0 {
		b = append(b, "<priority>"...)
		b = strconv.AppendInt(b, int64(priority), 10)
		b = append(b, "</priority>"...)
	}
	for _, p := range payloads {
		b = appendPayload(b, p)
	}
	return append(b, "</presence>"...)
}

// encodeMessage makes a headline, which is for those who are online and for
// nobody's archive, or a normal message, which waits for who is not.
func encodeMessage(to, kind string, p Payload) []byte {
	b := []byte("<message")
	b = appendAttr(b, "to", to)
	b = appendAttr(b, "type", kind)
	b = append(b, '>')
	b = appendPayload(b, p)
	if kind == "headline" {
		b = append(b, "<no-store xmlns='urn:xmpp:hints'/>"...)
	} else {
		b = append(b, "<store xmlns='urn:xmpp:hints'/>"...)
	}
	return append(b, "<no-copy xmlns='urn:xmpp:hints'/></message>"...)
}

// encodeSubscription makes one of the presences of RFC 6121 §3.
func encodeSubscription(to, kind, token string) []byte {
	b := []byte("<presence")
	b = appendAttr(b, "to", to)
	b = appendAttr(b, "type", kind)
	if token == "" {
		return append(b, "/>"...)
	}
	b = append(b, "><preauth xmlns='"+nsPreauth+"'"...)
	b = appendAttr(b, "token", token)
	return append(b, "/></presence>"...)
}

func encodeIQ(kind, id, to, child string) []byte {
	b := []byte("<iq")
	b = appendAttr(b, "type", kind)
	b = appendAttr(b, "id", id)
	if to != "" {
		b = appendAttr(b, "to", to)
	}
	b = append(b, '>')
	b = append(b, child...)
	return append(b, "</iq>"...)
}

func encodeError(id, to, kind, condition string) []byte {
	return encodeIQ("error", id, to, fmt.Sprintf(
		"<error type='%s'><%s xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>", kind, condition))
}

func encodeRosterRemove(id, jid string) []byte {
	item := appendAttr([]byte("<query xmlns='"+nsRoster+"'><item"), "jid", jid)
	return encodeIQ("set", id, "", string(item)+" subscription='remove'/></query>")
}

func encodeAck(handled uint32) []byte {
	return []byte("<a xmlns='" + nsSM + "' h='" + strconv.FormatUint(uint64(handled), 10) + "'/>")
}

const (
	ackRequest    = "<r xmlns='" + nsSM + "'/>"
	rosterRequest = "<query xmlns='" + nsRoster + "'/>"
	pingRequest   = "<ping xmlns='" + nsPing + "'/>"
)

// goodbye ends the session for good. What was handled is acknowledged, or the
// server would keep it for the next login.
func goodbye(managed bool, handled uint32) []byte {
	var b []byte
	if managed {
		b = encodeAck(handled)
	}
	return append(b, "<presence type='unavailable'/></stream:stream>"...)
}
