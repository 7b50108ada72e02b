package xmpp

import (
	"bytes"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Bounds of what waits to be sent.
const (
	maxQueued        = 1 << 20 // bytes of messages
	maxUnacked       = 4 << 20 // bytes that the server has not acknowledged
	maxSubscriptions = 256
	maxRequests      = 256      // to the server itself
	maxReplies       = 16       // to strangers; the rest is dropped
	maxBatch         = 16 << 10 // bytes written at once, if there is a choice
)

// Servers refuse more than about five subscription stanzas a minute (ejabberd's
// mod_pres_counter).
const (
	subscriptionPause = 15 * time.Second
	subscriptionBurst = 4
)

// outgoing is a stanza to be sent.
type outgoing struct {
	data  []byte
	again bool // worth sending in a new session, if the old one did not deliver it
}

// outbox is what waits to be sent and, with stream management, what the server
// has not acknowledged yet. Any goroutine puts things in; the writer of the
// session takes them out, most urgent first.
type outbox struct {
	wake chan struct{} // buffered 1: there may be something to send

	mu            sync.Mutex
	online        bool
	answerDue     bool   // the server asked how many of its stanzas were handled
	answer        uint32 // so many
	probeDue      bool   // it is to be asked the same
	urgent        []outgoing
	presence      []byte // the last value
	presenceSent  bool
	subscriptions []outgoing
	messages      []outgoing
	messageBytes  int
	replies       []outgoing

	pace       *pace
	subPace    *rate.Limiter
	managed    bool       // stanzas are kept until they are acknowledged
	unacked    []outgoing // oldest first
	written    int        // how many of them were written on this connection
	bytes      int        // of those
	acked      uint32     // number of the newest acknowledged stanza
	asked      time.Time  // when the acknowledgement was asked for that has not come; zero: none
	askedBytes int        // bytes on their way then
	pingID     string     // of the ping that asks a server without acknowledgements
}

func newOutbox(priority int8) *outbox {
	return &outbox{
		wake:     make(chan struct{}, 1),
		presence: encodePresence("", priority, nil),
		subPace:  rate.NewLimiter(rate.Every(subscriptionPause), subscriptionBurst),
	}
}

func (o *outbox) notify() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// setPresence replaces the last value.
func (o *outbox) setPresence(data []byte) {
	o.mu.Lock()
	changed := !bytes.Equal(o.presence, data)
	if changed {
		o.presence, o.presenceSent = data, false
	}
	o.mu.Unlock()
	if changed {
		o.notify()
	}
}

func (o *outbox) message(data []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.online {
		return ErrOffline
	}
	if o.messageBytes+len(data) > maxQueued {
		return ErrBusy
	}
	o.messages = append(o.messages, outgoing{data, true})
	o.messageBytes += len(data)
	o.notify()
	return nil
}

func (o *outbox) subscription(data []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.online {
		return ErrOffline
	}
	if len(o.subscriptions) >= maxSubscriptions {
		return ErrBusy
	}
	o.subscriptions = append(o.subscriptions, outgoing{data, true})
	o.notify()
	return nil
}

// request queues a stanza for the server itself.
func (o *outbox) request(data []byte) {
	o.mu.Lock()
	if len(o.urgent) < maxRequests {
		o.urgent = append(o.urgent, outgoing{data, false})
	}
	o.mu.Unlock()
	o.notify()
}

// reply queues an answer to somebody else, after everything of our own.
func (o *outbox) reply(data []byte) {
	o.mu.Lock()
	if len(o.replies) < maxReplies {
		o.replies = append(o.replies, outgoing{data, false})
	}
	o.mu.Unlock()
	o.notify()
}

// acknowledge tells the server how many of its stanzas were handled.
func (o *outbox) acknowledge(handled uint32) {
	o.mu.Lock()
	o.answerDue, o.answer = true, handled
	o.mu.Unlock()
	o.notify()
}

// begin starts a connection. A session that is resumed sends first what the
// server has not handled; a new one begins with the roster and the presence, and
// sends those messages again that the old one did not deliver. It returns false
// if the server counts stanzas that were never sent.
func (o *outbox) begin(n *negotiated, p *pace) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.online, o.managed, o.pace = true, n.managed, p
	o.answerDue, o.probeDue, o.replies, o.asked = false, false, nil, time.Time{}
	o.written, o.bytes = 0, 0
	if n.resumed {
		return o.ack(n.handled)
	}
	if n.refused {
		o.ack(n.handled) // a wrong number costs a message that comes twice
	}
	var again []outgoing
	for _, s := range o.unacked {
		if s.again {
			again = append(again, s)
			o.messageBytes += len(s.data)
		}
	}
	o.messages = append(again, o.messages...)
	o.unacked, o.acked = nil, 0
	o.presenceSent = false
	o.urgent = nil
	return true
}

// end stops the sending; what waits and what is unacknowledged is kept.
func (o *outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.online = false
}

// acknowledged takes the server's count of our stanzas (XEP-0198 §4). It returns
// false if the server counts stanzas that were never sent.
func (o *outbox) acknowledged(handled uint32) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = time.Time{}
	ok := o.ack(handled)
	o.notify()
	return ok
}

func (o *outbox) ack(handled uint32) bool {
	n := handled - o.acked // wraps around like the count
	if n > uint32(len(o.unacked)) {
		return false
	}
	for i, s := range o.unacked[:n] {
		if i < o.written {
			o.bytes -= len(s.data)
		}
		o.unacked[i] = outgoing{}
	}
	o.unacked = o.unacked[n:]
	o.written = max(0, o.written-int(n))
	o.acked = handled
	return true
}

// next appends to batch what may be written now. wait is the time until there
// may be more without anybody putting it in, and 0 if there is nothing else.
func (o *outbox) next(batch []byte, now time.Time) (_ []byte, wait time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.answerDue {
		batch = append(batch, encodeAck(o.answer)...)
	}
	if o.probeDue {
		batch = append(batch, ackRequest...)
	}
	o.answerDue, o.probeDue = false, false
	for len(batch) < maxBatch {
		var data []byte
		data, wait = o.nextStanza(now)
		if data == nil {
			break
		}
		batch = append(batch, data...)
	}
	if o.managed && o.written > 0 && o.asked.IsZero() {
		batch = append(batch, ackRequest...)
		o.asked, o.askedBytes = now, o.bytes
	}
	return batch, wait
}

// nextStanza takes out the most urgent stanza that may be sent now.
func (o *outbox) nextStanza(now time.Time) (data []byte, wait time.Duration) {
	if o.managed && o.written < len(o.unacked) { // of the session that was resumed
		data = o.unacked[o.written].data
		if ok, wait := o.pace.take(len(data), o.bytes, now); !ok {
			return nil, wait
		}
		o.written++
		o.bytes += len(data)
		return data, 0
	}

	if o.bytes >= maxUnacked {
		return nil, 0
	}
	presence := []outgoing{{o.presence, false}}
	var queue *[]outgoing
	switch {
	case len(o.urgent) > 0:
		queue = &o.urgent
	case !o.presenceSent:
		queue = &presence
	case len(o.subscriptions) > 0 && o.subPace.TokensAt(now) >= 1:
		queue = &o.subscriptions
	case len(o.messages) > 0:
		queue = &o.messages
	case len(o.replies) > 0:
		queue = &o.replies
	case len(o.subscriptions) > 0:
		return nil, time.Duration((1 - o.subPace.TokensAt(now)) * float64(subscriptionPause))
	default:
		return nil, 0
	}
	next := (*queue)[0]
	if ok, wait := o.pace.take(len(next.data), o.bytes, now); !ok {
		return nil, wait
	}
	*queue = (*queue)[1:]
	switch queue {
	case &presence:
		o.presenceSent = true
	case &o.subscriptions:
		o.subPace.AllowN(now, 1)
	case &o.messages:
		o.messageBytes -= len(next.data)
	}
	if o.managed {
		o.unacked = append(o.unacked, next)
		o.written++
		o.bytes += len(next.data)
	}
	return next.data, 0
}

// overdue tells when the link counts as dead because the acknowledgement that
// was asked for did not come. The bytes that were on their way then may wait at a
// server that reads slowly.
func (o *outbox) overdue(timeout time.Duration) (time.Time, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.asked.IsZero() {
		return time.Time{}, false
	}
	slow := time.Duration(o.askedBytes) * time.Second / defaultRate
	return o.asked.Add(timeout + slow), true
}

// probe asks the server for a sign of life: an acknowledgement, or the answer to
// a ping.
func (o *outbox) probe(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.managed {
		o.probeDue = true
	} else {
		o.pingID = newID()
		o.urgent = append(o.urgent, outgoing{encodeIQ("get", o.pingID, "", pingRequest), false})
	}
	o.asked, o.askedBytes = now, o.bytes
}

// answered says that the server answered the request with the id.
func (o *outbox) answered(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.managed && id == o.pingID {
		o.asked = time.Time{}
	}
}

// forget drops what was sent in a session that must not be repeated.
func (o *outbox) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unacked, o.written, o.bytes, o.acked = nil, 0, 0, 0
}
