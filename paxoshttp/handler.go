package paxoshttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/singledecree/paxos"
)

// A Handler serves the calls of a [Server]. NewHandler makes it. It is safe for concurrent use, and has no goroutine of its own
// beside those of its requests.
type Handler struct {
	server Server
	config Config
	routes map[string]route

	mu      sync.Mutex // guards the fields below
	calls   int        // that run, beside watches
	watches int        // that run
	bodies  int        // bytes of bodies that are read or held
}

// A route is a call of the API.
type route struct {
	method string
	serve  func(w http.ResponseWriter, r *http.Request) error // an error is the answer if nothing was written
	probe  bool                                               // it may be asked with HEAD
	atOnce bool                                               // it waits for nothing, and so is never refused for want of room
	stream bool                                               // it counts as a watch
}

// reply writes an answer. A client that has gone is no error.
func reply(w http.ResponseWriter, status int, v any) {
	text := append(encode(v), '\n')
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(text)
}

// fail writes the answer to a call that failed with err and had no effect.
func fail(w http.ResponseWriter, err error) { failWith(w, newFailure(err, false)) }

func failWith(w http.ResponseWriter, f failure) {
	switch f.Code {
	case CodeBusy, CodeNotReady:
		w.Header().Set("Retry-After", "1")
	case CodeUnauthenticated:
		if w.Header().Get("WWW-Authenticate") == "" {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
	}
	reply(w, f.Code.Status(), f)
}

// stopped reports whether the Node has stopped.
func (h *Handler) stopped() bool {
	select {
	case <-h.server.Done():
		return true
	default:
		return false
	}
}

// enter counts a request. leave must be called when it ends, if there is no error.
func (h *Handler) enter(to route) (leave func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	count, most, what := &h.calls, h.config.MaxCalls, "calls"
	if to.stream {
		count, most, what = &h.watches, h.config.MaxWatches, "watches"
	}
	if *count >= most && !to.atOnce {
		return nil, fmt.Errorf("%d %s run already: %w", most, what, paxos.ErrBusy)
	}
	*count++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		*count--
	}, nil
}

// setDeadlines puts the limits of the Handler in place of those of the host's [http.Server], which would end a long call. A body
// has to come in time even if no call reads it, because the http.Server reads the rest then.
func (h *Handler) setDeadlines(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	control.SetWriteDeadline(time.Now().Add(h.config.MaxTimeout + h.config.WriteTimeout))
	if r.ContentLength != 0 {
		control.SetReadDeadline(time.Now().Add(h.config.BodyTimeout)) // until the body is read
	}
}

// allow asks the hook of the host.
func (h *Handler) allow(r *http.Request, call string, names ...paxos.NameRange) error {
	if err := h.config.Allow(r, Action{Call: call, Names: names}); err != nil {
		return refusal(err)
	}
	return nil
}

// begin returns the context of a call. It ends when the client goes, or after the time that the query allows.
func (h *Handler) begin(r *http.Request, q query) (context.Context, context.CancelFunc, error) {
	d, err := q.timeout(h.config.MaxTimeout)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), d)
	return ctx, cancel, nil
}

// body reads the body of a request, and hands it to use. Its bytes are counted until use returns.
func (h *Handler) body(w http.ResponseWriter, r *http.Request, use func([]byte) error) error {
	if err := checkContentType(r.Header.Get("Content-Type")); err != nil {
		return err
	}
	size := h.config.MaxBody
	if r.ContentLength > int64(size) {
		return tooLarge(size)
	}
	if r.ContentLength >= 0 {
		size = int(r.ContentLength)
	}
	if err := h.take(size); err != nil {
		return err
	}
	defer func() { h.take(-size) }()
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(h.config.MaxBody)))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return tooLarge(h.config.MaxBody)
	case err != nil:
		return malformed("body: %w", err)
	}
	h.take(len(text) - size)
	size = len(text)
	return use(text)
}

func tooLarge(most int) error {
	return coded(CodeTooLarge, fmt.Errorf("body: it is too large, at most %d bytes are allowed", most))
}

// take counts bytes of bodies, or gives them back.
func (h *Handler) take(bytes int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if bytes > 0 && h.bodies+bytes > h.config.MaxBodies {
		return fmt.Errorf("%d bytes of bodies are read already: %w", h.bodies, paxos.ErrBusy)
	}
	h.bodies += bytes
	return nil
}
