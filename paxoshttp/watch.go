package paxoshttp

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/singledecree/paxos"
)

// watch serves GET watch: decisions as they come, and an error when there are no more to come.
func (h *Handler) watch(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.URL.RawQuery, []string{"after", "store", "timeout"}, "prefix", "from", "to")
	if err != nil {
		return err
	}
	within, err := q.ranges()
	if err != nil {
		return err
	}
	s := &stream{w: w, control: http.NewResponseController(w), events: wantsEvents(r), timeout: h.config.WriteTimeout}
	from, err := placeOf(q, r, s.events)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	if q.values.Has("timeout") {
		d, err := q.timeout(24 * time.Hour)
		if err != nil {
			return err
		}
		ctx, cancel = context.WithTimeout(r.Context(), d)
	}
	defer cancel()
	names := within
	if len(names) == 0 {
		names = []paxos.NameRange{paxos.Prefix("")}
	}
	if err := h.allow(r, CallWatch, names...); err != nil {
		return err
	}
	status := h.server.Status()
	s.store = status.Store
	w.Header().Set(storeHeader, fmt.Sprintf("%x", s.store))
	if err := from.check(s.store); err != nil {
		return err
	}
	defer s.end()
	if from.after <= status.Index && !h.stopped() { // else the first error is the answer
		if err := s.begin(); err != nil {
			return s.answer(err)
		}
	}
	var beats sync.WaitGroup
	defer beats.Wait()
	defer cancel()
	beats.Go(func() { s.beat(ctx, cancel, h.config.Heartbeat) })
	for learned, err := range h.server.Decisions(ctx, from.after, within...) {
		if more, failed := s.send(learned, err); !more {
			return failed
		}
	}
	return nil
}

// A place is where a watch goes on.
type place struct {
	after uint64   // the Index
	of    []uint64 // the storage that has given it, each time that the request names it
}

// placeOf returns the place that a request names. A browser that connects again gives the last event that it has seen.
func placeOf(q query, r *http.Request, events bool) (p place, err error) {
	if p.after, err = q.number("after", 10); err != nil {
		return p, err
	}
	store, err := q.number("store", 16)
	if err != nil {
		return p, err
	}
	if q.values.Has("store") {
		p.of = append(p.of, store)
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" && events {
		err = p.resume(last)
	}
	return p, err
}

// resume goes on after the event with that id. An Index alone will do, but then nobody checks of which storage it is.
func (p *place) resume(id string) error {
	store, index, named := strings.Cut(id, "-")
	if !named {
		index = id
	}
	after, err := strconv.ParseUint(index, 10, 64)
	if err == nil && named {
		var of uint64
		of, err = strconv.ParseUint(store, 16, 64)
		p.of = append(p.of, of)
	}
	if err != nil {
		return malformed("Last-Event-ID: %q is not the id of an event", shorten(id))
	}
	p.after = after
	return nil
}

// check returns an error if the watch is to go on from an Index of another storage than the own one.
func (p place) check(own uint64) error {
	for _, store := range p.of {
		if store != own {
			return fmt.Errorf("store: this server has storage %x, and not %x: %w", own, store, paxos.ErrIndex)
		}
	}
	return nil
}

// wantsEvents reports whether the client accepts server-sent events.
func wantsEvents(r *http.Request) bool {
	for _, header := range r.Header.Values("Accept") {
		for each := range strings.SplitSeq(header, ",") {
			if kind, _, err := mime.ParseMediaType(each); err == nil && kind == "text/event-stream" {
				return true
			}
		}
	}
	return false
}

// A stream is the answer to a watch.
type stream struct {
	control *http.ResponseController
	events  bool          // it has server-sent events, and else lines of JSON
	timeout time.Duration // of a write
	store   uint64        // its Indexes are of it

	mu    sync.Mutex // guards the fields below, as heartbeats come from a goroutine of their own
	w     http.ResponseWriter
	begun bool
	ended error // nothing more is written, because of it
}

// begin sends the headers.
func (s *stream) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write(nil)
}

// answer returns err if it can still be the answer, and else nil.
func (s *stream) answer(err error) error {
	if s.begun {
		return nil
	}
	return err
}

// write sends text at once. After an error nothing follows, because half a line may be out. The caller holds mu.
func (s *stream) write(text []byte) error {
	if s.ended == nil {
		s.ended = s.put(text)
	}
	return s.ended
}

// put is write for a stream that goes on.
func (s *stream) put(text []byte) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if !s.begun {
		if err := s.start(); err != nil {
			return err
		}
		if s.events {
			text = append([]byte("retry: 1000\n\n"), text...)
		}
	}
	if _, err := s.w.Write(text); err != nil {
		return err
	}
	if err := s.control.Flush(); err != nil {
		return err
	}
	s.control.SetWriteDeadline(time.Time{}) // it would end a stream of HTTP/2 in a quiet time
	return nil
}

// end bounds the time in which the client has to take the end of the stream.
func (s *stream) end() { s.control.SetWriteDeadline(time.Now().Add(s.timeout)) }

// start sends the headers, unless the writer would hold lines back.
func (s *stream) start() error {
	s.w.Header().Set("Content-Type", "application/x-ndjson")
	if s.events {
		s.w.Header().Set("Content-Type", "text/event-stream")
	}
	s.w.Header().Set("X-Accel-Buffering", "no") // a proxy must not hold lines back
	err := s.control.Flush()
	if errors.Is(err, http.ErrNotSupported) {
		s.w.Header().Del("X-Accel-Buffering")
		return fmt.Errorf("watch: the http.ResponseWriter of the host is no http.Flusher: %w", err)
	}
	s.begun = true
	return err
}

// beat sends signs of life until ctx ends. It ends the watch if the client does not take one.
func (s *stream) beat(ctx context.Context, cancel context.CancelFunc, every time.Duration) {
	sign := []byte("\n")
	if s.events {
		sign = []byte(":\n\n")
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		err := s.write(sign)
		s.mu.Unlock()
		if err != nil {
			cancel()
			return
		}
	}
}

// send sends what Decisions gives. more is false if the watch has ended. failed is its error, if that can still be the answer.
func (s *stream) send(learned paxos.Learned, err error) (more bool, failed error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var forgotten *paxos.ForgottenError
	kind, what := "", any(nil)
	switch {
	case errors.As(err, &forgotten):
		kind, what = "forgotten", answer{bounds: newBounds(forgotten.Names), Index: learned.Index}
	case err != nil && !s.begun:
		s.ended = err
		return false, err
	case err != nil:
		kind, what = "failed", newFailure(err, false)
	default:
		a := newAnswer(learned.Decision, true, learned.Instance)
		a.Index = learned.Index
		what = a
	}
	text := append(encode(what), '\n')
	if s.events {
		text = event(kind, s.store, learned.Index, text)
	}
	if err := s.write(text); err != nil {
		return false, s.answer(err)
	}
	return kind != "failed", nil
}

// event returns a server-sent event. JSON has no line end within, so its data is one line. Index 0 is none. The id also names the storage:
// a browser that comes back to another server would else miss decisions there.
func event(kind string, store, index uint64, data []byte) []byte {
	text := make([]byte, 0, len(data)+64)
	if kind != "" {
		text = fmt.Appendf(text, "event: %s\n", kind)
	}
	if index > 0 {
		text = fmt.Appendf(text, "id: %x-%d\n", store, index)
	}
	text = append(append(text, "data: "...), data...)
	return append(text, '\n')
}
