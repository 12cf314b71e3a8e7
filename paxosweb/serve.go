package paxosweb

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"path"
)

// policy forbids the page everything but its own style sheet, script and data.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// ServeHTTP answers GET and HEAD. Only the last element of the path counts, so the prefix may stay or be stripped.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Content-Security-Policy", policy)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	head.Set("Cross-Origin-Opener-Policy", "same-origin")
	head.Set("Cache-Control", "no-store")
	if err := h.config.Allow(r); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		head.Set("Allow", "GET, HEAD")
		http.Error(w, "this page only reads", http.StatusMethodNotAllowed)
		return
	}
	_, last := path.Split(r.URL.Path)
	switch last {
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
	case "style.css", "script.js", "icon.svg":
		asset(w, last)
	default:
		http.NotFound(w, r)
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

var assetTypes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

func asset(w http.ResponseWriter, name string) {
	text, err := fs.ReadFile(assets, "assets/"+name)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", assetTypes[path.Ext(name)])
	w.Header().Set("Cache-Control", "no-cache")
	w.Write(text)
}
