package link

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/git-arbor/arbor/sync/grove"
)

// Bounds of the HTTP of ServiceArbor.
const (
	httpHeaderTimeout = 10 * time.Second
	httpIdleTimeout   = 90 * time.Second
	httpMaxHeader     = 16 << 10
)

// NewHTTPClient returns a client whose requests, to any host, travel on links that
// dial makes (Node.Dial with ServiceArbor). Links are kept for 90 s. Redirects are
// not followed; bodies are for the caller to bound.
func NewHTTPClient(dial func(context.Context) (*Conn, error)) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
			Protocols:              protocols,
			DisableCompression:     true,
			MaxIdleConnsPerHost:    1,
			MaxConnsPerHost:        2,
			IdleConnTimeout:        httpIdleTimeout,
			ResponseHeaderTimeout:  3 * httpHeaderTimeout,
			MaxResponseHeaderBytes: httpMaxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type peerKey struct{}

// PeerOf returns the device at the other end of the link on which a request came, given
// the context of the request.
func PeerOf(ctx context.Context) (grove.DeviceID, bool) {
	id, ok := ctx.Value(peerKey{}).(grove.DeviceID)
	return id, ok
}

// HTTPHandler returns the Handler of ServiceArbor that serves h on each link. h finds
// out by PeerOf who asks, and bounds the bodies it reads. log may be nil.
func HTTPHandler(h http.Handler, log *slog.Logger) Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return func(ctx context.Context, c *Conn) {
		l := &oneListener{conn: c, done: make(chan struct{})}
		server := &http.Server{
			Handler:           h,
			ReadHeaderTimeout: httpHeaderTimeout,
			IdleTimeout:       httpIdleTimeout,
			MaxHeaderBytes:    httpMaxHeader,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
			BaseContext:       func(net.Listener) context.Context { return context.WithValue(ctx, peerKey{}, c.Peer) },
			ConnState: func(_ net.Conn, s http.ConnState) {
				if s == http.StateClosed || s == http.StateHijacked {
					l.end()
				}
			},
		}
		if err := server.Serve(l); !errors.Is(err, io.EOF) {
			log.Debug("serve arbor/1", "peer", c.Peer.Short(), "err", err)
		}
	}
}

// oneListener gives one connection to an http.Server and ends Serve when the server,
// with its handlers, is through with it.
type oneListener struct {
	mu   sync.Mutex
	conn net.Conn
	once sync.Once
	done chan struct{}
}

func (l *oneListener) end() { l.once.Do(func() { close(l.done) }) }

func (l *oneListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	c := l.conn
	l.conn = nil
	l.mu.Unlock()
	if c != nil {
		return c, nil
	}
	<-l.done
	return nil, io.EOF
}

func (l *oneListener) Close() error   { return nil }
func (l *oneListener) Addr() net.Addr { return &net.TCPAddr{} }
