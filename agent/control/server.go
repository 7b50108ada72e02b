package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Bounds of what a client may do to the agent.
const (
	maxRequest    = 4 << 20 // bytes of a request's body: as many names of files as fit on a command line
	headerTimeout = 10 * time.Second
	drainTimeout  = 2 * time.Second // for requests in hand when the agent stops
)

// Serve answers on the Unix socket at socketPath until ctx ends, and then ends the requests in hand; it returns nil then.
// The caller holds the lock that makes it the only agent: a socket that is there already is stale and is replaced;
// anything that is not a socket is left alone and is an error. ready is called once the socket answers, and may be nil.
func Serve(ctx context.Context, socketPath string, a Actions, log *slog.Logger, ready func()) error {
	l, err := listen(ctx, socketPath)
	if err != nil {
		return fmt.Errorf("listen on control socket: %w", err)
	}
	server := &http.Server{
		Handler:           a.handler(),
		ReadHeaderTimeout: headerTimeout,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(l) }()
	log.Debug("control socket open", "path", socketPath)
	if ready != nil {
		ready()
	}
	select {
	case err := <-stopped:
		return fmt.Errorf("serve control socket: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if server.Shutdown(drain) != nil {
		server.Close()
	}
	if err := <-stopped; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve control socket: %w", err)
	}
	return nil
}

// listen opens the socket in a directory that only its owner may enter, which is what keeps others out.
func listen(ctx context.Context, socketPath string) (net.Listener, error) {
	dir := filepath.Dir(socketPath)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	info, err := os.Lstat(socketPath)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != os.ModeSocket:
		return nil, &Error{
			Code: "not-a-socket",
			Text: fmt.Sprintf("%s is in the way: it is not a socket", socketPath),
			Fix:  "move it away",
		}
	default:
		if err := os.Remove(socketPath); err != nil {
			return nil, err
		}
	}
	addr, release, err := shortAddr(socketPath)
	if err != nil {
		return nil, err
	}
	defer release()
	l, err := new(net.ListenConfig).Listen(ctx, "unix", addr)
	if err != nil {
		return nil, err
	}
	return &ownedListener{l.(*net.UnixListener), socketPath}, nil
}

// ownedListener removes the socket by its real path, which the address listened on may be a short form of.
type ownedListener struct {
	*net.UnixListener
	path string
}

func (l *ownedListener) Close() error {
	l.SetUnlinkOnClose(false)
	if err := os.Remove(l.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return errors.Join(err, l.UnixListener.Close())
	}
	return l.UnixListener.Close()
}

func (a Actions) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", a.status)
	mux.Handle("POST /sync", action(a.Sync))
	mux.Handle("POST /notify", action(quiet(a.Notify)))
	mux.Handle("POST /pause", action(quiet(a.Pause)))
	mux.Handle("POST /resume", action(quiet(a.Resume)))
	mux.HandleFunc("POST /get", a.get)
	mux.Handle("POST /prioritise", action(a.Prioritise))
	mux.Handle("POST /pause-files", action(a.PauseFiles))
	mux.Handle("POST /resume-files", action(a.ResumeFiles))
	mux.Handle("POST /cancel", action(a.Cancel))
	mux.Handle("POST /drop", action(a.Drop))
	mux.Handle("POST /want", action(a.Want))
	mux.Handle("POST /why", action(a.Why))
	mux.Handle("POST /map", action(a.Map))
	mux.Handle("POST /invite", action(a.Invite))
	mux.Handle("POST /forget", action(quiet(a.Forget)))
	mux.Handle("POST /reload", action(quiet(func(ctx context.Context, _ empty) error { return a.Reload(ctx) })))
	return mux
}

// empty is the body of requests and replies that say nothing.
type empty struct{}

func quiet[Req any](do func(context.Context, Req) error) func(context.Context, Req) (empty, error) {
	return func(ctx context.Context, req Req) (empty, error) { return empty{}, do(ctx, req) }
}

func (a Actions) status(w http.ResponseWriter, r *http.Request) {
	var since uint64
	if text := r.FormValue("since"); text != "" {
		var err error
		if since, err = strconv.ParseUint(text, 10, 64); err != nil {
			writeJSON(w, http.StatusBadRequest, &Error{Code: "bad-request", Text: "since is not a version"})
			return
		}
	}
	snapshot, err := a.Status(r.Context(), since)
	reply(w, r, snapshot, err)
}

// get sends each progress as soon as it is told, one on a line.
func (a Actions) get(w http.ResponseWriter, r *http.Request) {
	req, ok := read[GetRequest](w, r)
	if !ok {
		return
	}
	begun := false
	line := json.NewEncoder(w)
	err := a.Get(r.Context(), req, func(p GetProgress) error {
		begun = true
		if err := line.Encode(p); err != nil {
			return err
		}
		return http.NewResponseController(w).Flush()
	})
	if !begun {
		reply(w, r, empty{}, err)
	}
}

func action[Req, Reply any](do func(context.Context, Req) (Reply, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if req, ok := read[Req](w, r); ok {
			answer, err := do(r.Context(), req)
			reply(w, r, answer, err)
		}
	})
}

// read gives the body of a request; one that is wrong is answered.
func read[Req any](w http.ResponseWriter, r *http.Request) (req Req, ok bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err == nil && len(body) > 0 {
		err = json.Unmarshal(body, &req)
	}
	if err != nil {
		writeJSON(w, http.StatusBadRequest, &Error{Code: "bad-request", Text: "read request: " + err.Error()})
	}
	return req, err == nil
}

func reply(w http.ResponseWriter, r *http.Request, answer any, err error) {
	if err != nil {
		// Whoever still reads this has not hung up: it is the agent that ends.
		if r.Context().Err() != nil {
			writeJSON(w, http.StatusServiceUnavailable, &Error{Code: "stopping", Text: "the agent is stopping"})
			return
		}
		e, ok := errors.AsType[*Error](err)
		if !ok {
			e = &Error{Code: "failed", Text: err.Error()}
			if h, ok := errors.AsType[interface {
				error
				Hint() string
			}](err); ok {
				e.Fix = h.Hint()
			}
		}
		writeJSON(w, http.StatusUnprocessableEntity, e)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// writeJSON sends the body. A write that fails means that the client is gone, and nobody is left to be told.
func writeJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}
