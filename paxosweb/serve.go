package paxosweb

import (
	"encoding/json"
	"net/http"
	"path"
)

// ServeHTTP answers GET and HEAD. Only the last element of the path counts, so the prefix may stay or be stripped.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !guard(w, r, h.config.Allow) {
		return
	}
	switch _, last := path.Split(r.URL.Path); last {
	case "":
		h.mu.Lock()
		v := h.look(r.Context())
		h.mu.Unlock()
		render(w, "page.html", v)
	case "instance":
		render(w, "instance.html", h.instance(r.Context(), r.URL.Query().Get("name")))
	case "events":
		h.events(w, r)
	case "live":
		h.live(w, r)
	default:
		asset(w, r, last)
	}
}

func (h *Handler) events(w http.ResponseWriter, r *http.Request) {
	text, err := json.Marshal(TraceOf(h.server, r.URL.Query().Get("instance")))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(text)
}
