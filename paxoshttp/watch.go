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
	after, err := h.after(q, r, s.events)
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
	w.Header().Set(storeHeader, fmt.Sprintf("%x", status.Store))
	if err := sameStore(q, status.Store); err != nil {
		return err
	}
	if after <= status.Index && !h.stopped() {
		s.begin() // else the first error is the answer
	}
	var beats sync.WaitGroup
	defer beats.Wait()
	defer cancel()
	beats.Go(func() { s.beat(ctx, cancel, h.config.Heartbeat) })
	for learned, err := range h.server.Decisions(ctx, after, within...) {
		if more, failed := s.send(learned, err); !more {
			return failed
		}
	}
	return nil
}

// after returns the Index after which a watch goes on. A browser that connects again gives the last one that it has seen.
func (h *Handler) after(q query, r *http.Request, events bool) (uint64, error) {
	after, err := q.number("after", 10)
	if err != nil {
		return 0, err
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" && events {
		if after, err = strconv.ParseUint(last, 10, 64); err != nil {
			return 0, malformed("Last-Event-ID: %q is not an Index", shorten(last))
		}
	}
	return after, nil
}

// sameStore returns an error if the watch is to go on from an Index of another storage.
func sameStore(q query, own uint64) error {
	store, err := q.number("store", 16)
	if err != nil {
		return err
	}
	if q.values.Has("store") && store != own {
		return fmt.Errorf("store: this server has storage %x: %w", own, paxos.ErrIndex)
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

	mu    sync.Mutex // guards the fields below, as heartbeats come from a goroutine of their own
	w     http.ResponseWriter
	begun bool
	ended bool // nothing more is written
}

// begin sends the headers.
func (s *stream) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write("")
}

// write sends text at once. The caller holds mu.
func (s *stream) write(text string) error {
	if s.ended {
		return nil
	}
	if err := s.control.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if !s.begun {
		s.begun = true
		kind := "application/x-ndjson"
		if s.events {
			kind = "text/event-stream"
			text = "retry: 1000\n\n" + text
		}
		s.w.Header().Set("Content-Type", kind)
		s.w.Header().Set("X-Accel-Buffering", "no") // a proxy must not hold lines back
		s.w.WriteHeader(http.StatusOK)
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}

// beat sends signs of life until ctx ends. It ends the watch if the client does not take one.
func (s *stream) beat(ctx context.Context, cancel context.CancelFunc, every time.Duration) {
	sign := "\n"
	if s.events {
		sign = ":\n\n"
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
		s.ended = true
		return false, err
	case err != nil:
		kind, what = "failed", newFailure(err, false)
	default:
		a := newAnswer(learned.Decision, true, learned.Instance)
		a.Index = learned.Index
		what = a
	}
	text := string(encode(what)) + "\n"
	if s.events {
		text = event(kind, learned.Index, text)
	}
	return s.write(text) == nil && kind != "failed", nil
}

// event returns a server-sent event. JSON has no line end within, so its data is one line. Index 0 is none.
func event(kind string, index uint64, data string) string {
	text := ""
	if kind != "" {
		text = "event: " + kind + "\n"
	}
	if index > 0 {
		text += "id: " + strconv.FormatUint(index, 10) + "\n"
	}
	return text + "data: " + data + "\n"
}
