package paxosweb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/spacetime"
)

// parts are the parts of the page that are kept up to date, each the element of that id.
var parts = []string{"headline", "servers", "decisions", "open", "members"}

// An instanceView is the page of one instance.
type instanceView struct {
	Cluster   string
	Server    paxos.ServerID
	Name      string
	Bad       string // why the name is none
	State     string
	Value     string
	Ballot    string
	Notes     []string // they tell which events are missing in the diagram
	SVG       template.HTML
	Steps     []spacetime.Step
	HasEvents bool
}

// instance makes the page of an instance.
func (h *Handler) instance(ctx context.Context, name string) instanceView {
	c, _ := h.server.Configuration()
	v := instanceView{Cluster: c.Members.Cluster, Server: h.server.Status().ID, Name: name}
	if err := paxos.CheckInstance(name); err != nil && !isConfiguration(name) {
		v.Bad = err.Error()
		return v
	}
	v.State = "This server knows no decision."
	var forgotten *paxos.ForgottenError
	switch d, ok, err := h.server.Peek(ctx, name); {
	case errors.As(err, &forgotten):
		v.State = "Forgotten, for ever: " + rangeText(forgotten.Names)
	case err != nil && !isConfiguration(name):
		v.State = clip(err.Error(), maxShownError)
	case ok:
		v.State, v.Value, v.Ballot = "Decided", value(d.Value), d.Ballot.String()
	}
	traces, notes := h.traces(ctx, name)
	p := merge(traces)
	if v.Notes = notes; p.cut {
		v.Notes = append(v.Notes, fmt.Sprintf("There are more than %d events. The diagram shows the first.", maxPictured))
	}
	if v.HasEvents = len(p.events) > 0; v.HasEvents {
		painted := spacetime.Paint(p.lanes, p.events)
		v.SVG, v.Steps = template.HTML(painted.SVG), painted.Steps // Paint has escaped every text
	}
	return v
}

func isConfiguration(name string) bool {
	_, ok := paxos.ConfigurationNumber(name)
	return ok
}

// traces gets what all servers have noted of an instance, and says in words what is missing.
func (h *Handler) traces(ctx context.Context, name string) (all []Trace, notes []string) {
	own := TraceOf(h.server, name)
	all = append(all, own)
	notes = append(notes, own.lacks(name)...)
	if h.config.Trace == nil {
		return all, append(notes, "Only the events of this server are here. The others are not asked: see Config.Trace.")
	}
	ctx, cancel := context.WithTimeout(ctx, traceTime)
	defer cancel()
	peers := h.server.Status().Peers
	type answer struct {
		Trace
		err error
	}
	answers := make([]answer, len(peers))
	var wg sync.WaitGroup
	for i, p := range peers {
		wg.Go(func() { answers[i].Trace, answers[i].err = h.config.Trace(ctx, p.ID, name) })
	}
	wg.Wait()
	for i, a := range answers {
		switch {
		case a.err != nil:
			notes = append(notes, fmt.Sprintf("Server %d: its events are missing: %s", peers[i].ID, clip(a.err.Error(), maxShownError)))
		case a.Server != peers[i].ID:
			notes = append(notes, fmt.Sprintf("Server %d: its events are missing: server %d answered", peers[i].ID, a.Server))
		default:
			all = append(all, a.Trace)
			notes = append(notes, a.lacks(name)...)
		}
	}
	return all, notes
}

// lacks says in words what a trace may lack.
func (t *Trace) lacks(name string) (notes []string) {
	switch {
	case !t.Tracing.On && len(t.Events) == 0:
		return []string{fmt.Sprintf("Server %d keeps no events: see Node.SetTracing.", t.Server)}
	case !t.Tracing.On:
		notes = append(notes, fmt.Sprintf("Server %d keeps no events any more.", t.Server))
	case !t.Tracing.Has(name):
		notes = append(notes, fmt.Sprintf("Server %d is busy. It keeps the events of one in %d instances, and this is none of them.", t.Server, t.Tracing.OneIn))
	}
	if len(t.Events) == 0 && t.Tracing.Has(name) {
		notes = append(notes, fmt.Sprintf("Server %d has no event of this instance, or not any more.", t.Server))
	}
	if t.More {
		notes = append(notes, fmt.Sprintf("Server %d has more than %d events of this instance.", t.Server, maxTraceEvents))
	}
	return notes
}

// render makes the parts of a view.
func (v view) render() (all []part, err error) {
	for _, id := range parts {
		var b bytes.Buffer
		if err := templates.ExecuteTemplate(&b, id, v); err != nil {
			return nil, err
		}
		all = append(all, part{id, b.String()})
	}
	return all, nil
}

// live sends the parts that have changed since the last look, as server-sent events. An event is a list of parts. The first has all of
// them. It ends when the server has stopped, so that nothing waits for it then.
func (h *Handler) live(w http.ResponseWriter, r *http.Request) {
	if h.viewers.Add(1) > int64(h.config.MaxViewers) {
		h.viewers.Add(-1)
		http.Error(w, "too many pages are kept up to date", http.StatusServiceUnavailable)
		return
	}
	defer h.viewers.Add(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Time{}) // that of the request is not meant for a page that stays open
	var shown []part
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for last := false; ; {
		now, err := h.lookOnce(r.Context())
		if err != nil {
			return
		}
		var changed []part
		for i, p := range now {
			if shown == nil || shown[i] != p {
				changed = append(changed, p)
			}
		}
		shown = now
		control.SetWriteDeadline(time.Now().Add(30 * time.Second))
		if len(changed) > 0 {
			text, err := json.Marshal(changed)
			if err != nil {
				return
			}
			fmt.Fprintf(w, "data: %s\n\n", text)
		} else {
			fmt.Fprint(w, ": nothing has changed\n\n")
		}
		if control.Flush() != nil || last {
			return
		}
		select {
		case <-h.server.Done():
			last = true
			h.mu.Lock()
			h.seen = nil // it may be from before
			h.mu.Unlock()
		case <-ticks.C:
		case <-r.Context().Done():
			return
		}
	}
}

// lookOnce returns the parts as they are now. All pages share a look, so many pages cost the server no more than one.
func (h *Handler) lookOnce(ctx context.Context) ([]part, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); h.seen == nil || now.Sub(h.seenAt) >= every*9/10 {
		seen, err := h.look(ctx).render()
		if err != nil {
			return nil, err
		}
		h.seen, h.seenAt = seen, now
	}
	return slices.Clone(h.seen), nil
}
