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
	answers int        // bytes of answers that clients have not taken
}

// A route is a call of the API.
type route struct {
	method string
	serve  func(w http.ResponseWriter, r *http.Request) error // an error is the answer if nothing was written
	probe  bool                                               // it may be asked with HEAD
	atOnce bool                                               // it waits for nothing, and so is never refused for want of room
	stream bool                                               // it counts as a watch
}

// reply writes an answer of success. The error is that of an answer for which there is no room. Then nothing was written.
func (h *Handler) reply(w http.ResponseWriter, v any) error {
	text := append(encode(v), '\n')
	if err := h.take(&h.answers, len(text)); err != nil {
		return err
	}
	defer h.take(&h.answers, -len(text))
	h.send(w, http.StatusOK, text)
	return nil
}

// replyDone is reply for a call that had an effect.
func (h *Handler) replyDone(w http.ResponseWriter, v any) {
	if err := h.reply(w, v); err != nil {
		h.failWith(w, newFailure(err, true))
	}
}

// send writes the text of an answer, for which the client has its time from now on. A client that has gone is no error.
func (h *Handler) send(w http.ResponseWriter, status int, text []byte) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(h.config.WriteTimeout))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(text)
}

// fail writes the answer to a call that failed with err and had no effect.
func (h *Handler) fail(w http.ResponseWriter, err error) { h.failWith(w, newFailure(err, false)) }

func (h *Handler) failWith(w http.ResponseWriter, f failure) {
	switch f.Code {
	case CodeBusy, CodeNotReady:
		w.Header().Set("Retry-After", "1")
	case CodeUnauthenticated:
		if w.Header().Get("WWW-Authenticate") == "" {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
	}
	h.send(w, f.Code.Status(), append(encode(f), '\n'))
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
// has to come in time even if no call reads it, because the http.Server reads the rest then. An answer sets its own deadline.
func (h *Handler) setDeadlines(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	control.SetWriteDeadline(time.Now().Add(h.config.BodyTimeout + h.config.MaxTimeout + h.config.WriteTimeout))
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
	if err := h.room(&h.bodies, int(max(r.ContentLength, 0))); err != nil {
		return err
	}
	in := &counted{handler: h, from: http.MaxBytesReader(w, r.Body, int64(size))}
	defer func() { h.take(&h.bodies, -in.size) }()
	text, err := io.ReadAll(in)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return tooLarge(size)
	case errors.Is(err, paxos.ErrBusy):
		return err
	case err != nil:
		return malformed("body: %w", err)
	}
	return use(text)
}

// A counted reader counts the bytes of a body as they come, so that a body that stays away takes no room.
type counted struct {
	handler *Handler
	from    io.Reader
	size    int
}

func (c *counted) Read(into []byte) (int, error) {
	n, err := c.from.Read(into)
	if full := c.handler.take(&c.handler.bodies, n); full != nil {
		return 0, full
	}
	c.size += n
	return n, err
}

func tooLarge(most int) error {
	return coded(CodeTooLarge, fmt.Errorf("body: it is too large, at most %d bytes are allowed", most))
}

// room returns an error if so many bytes of bodies or answers do not fit now.
func (h *Handler) room(count *int, bytes int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fit(count, bytes)
}

// take counts bytes of bodies or answers, or gives them back.
func (h *Handler) take(count *int, bytes int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.fit(count, bytes); err != nil {
		return err
	}
	*count += bytes
	return nil
}

// fit is room for a caller that holds mu.
func (h *Handler) fit(count *int, bytes int) error {
	most, what := h.config.MaxBodies, "bodies"
	if count == &h.answers {
		most, what = h.config.MaxAnswers, "answers"
	}
	if bytes > 0 && *count+bytes > most {
		return fmt.Errorf("%d bytes of %s are held already: %w", *count, what, paxos.ErrBusy)
	}
	return nil
}
