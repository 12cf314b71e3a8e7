package paxoshttp

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
)

// NewHandler returns a Handler that serves s. It asks s nothing. An error names the field of c that is out of range.
func NewHandler(s Server, c Config) (*Handler, error) {
	if v := reflect.ValueOf(s); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, errors.New("paxoshttp: Server: it is nil")
	}
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("paxoshttp: %w", err)
	}
	h := &Handler{server: s, config: c}
	h.routes = map[string]route{
		CallPropose:  {method: http.MethodPost, serve: h.propose},
		CallRead:     {method: http.MethodGet, serve: h.ask(CallRead, s.Read)},
		CallWait:     {method: http.MethodGet, serve: h.ask(CallWait, h.wait)},
		CallPeek:     {method: http.MethodGet, serve: h.ask(CallPeek, s.Peek)},
		CallWatch:    {method: http.MethodGet, serve: h.watch, stream: true},
		CallForget:   {method: http.MethodPost, serve: h.forget},
		CallMembers:  {method: http.MethodGet, serve: h.members},
		CallChange:   {method: http.MethodPost, serve: h.change},
		CallSettled:  {method: http.MethodGet, serve: h.settled},
		CallReady:    {method: http.MethodGet, serve: h.ready},
		CallStatus:   {method: http.MethodGet, serve: h.status},
		CallLivez:    {method: http.MethodGet, serve: h.livez, probe: true, atOnce: true},
		CallReadyz:   {method: http.MethodGet, serve: h.readyz, probe: true},
		CallDescribe: {method: http.MethodGet, serve: h.describe, atOnce: true},
		CallHealthz:  {method: http.MethodGet, serve: h.healthz, probe: true, atOnce: true},
	}
	return h, nil
}

// ServeHTTP answers one request. It never panics on what a client sends. A path that it does not have is answered 404 in JSON.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	h.setDeadlines(w, r)
	to, ok := h.routes[strings.TrimPrefix(r.URL.Path, "/")]
	if !ok {
		h.fail(w, coded(CodeNotFound, fmt.Errorf("%q: there is no such call", shorten(r.URL.Path))))
		return
	}
	if r.Method != to.method && !(to.probe && r.Method == http.MethodHead) {
		want := to.method
		if to.probe {
			want += ", " + http.MethodHead
		}
		w.Header().Set("Allow", want)
		h.fail(w, coded(CodeMethod, fmt.Errorf("%s: want %s", shorten(r.Method), want)))
		return
	}
	leave, err := h.enter(to)
	if err != nil {
		h.fail(w, err)
		return
	}
	defer leave()
	if err := to.serve(w, r); err != nil {
		h.fail(w, err)
	}
}
