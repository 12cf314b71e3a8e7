package paxoshttp

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/singledecree/paxos"
)

// SlowDisk is the time after which healthz counts a disk that has not answered as a flaw.
const SlowDisk = 10 * time.Second

// Unhealthy says why a server is not healthy. It is empty for a healthy one. A lost quorum is a flaw, and no reason to restart a
// server: a probe that restarts takes livez.
func Unhealthy(s paxos.Status) string {
	switch n := len(s.Broken); {
	case s.Err != nil:
		return "stopped: " + s.Err.Error()
	case n > 0:
		return "the protocol was broken: " + s.Broken[n-1].Error()
	case s.StorageWait >= SlowDisk:
		return "the disk has not answered for " + s.StorageWait.Round(time.Second).String()
	case s.NoQuorum > 0:
		return "no quorum answers, for " + s.NoQuorum.Round(time.Millisecond).String()
	}
	return ""
}

// healthz serves GET healthz.
func (h *Handler) healthz(w http.ResponseWriter, r *http.Request) error {
	return h.probe(w, r, CallHealthz, func() error {
		if why := Unhealthy(h.server.Status()); why != "" {
			return coded(CodeUnhealthy, errors.New(why))
		}
		return nil
	})
}

// livez serves GET livez. It waits for nothing, not even for the loop of the Node.
func (h *Handler) livez(w http.ResponseWriter, r *http.Request) error {
	return h.probe(w, r, CallLivez, func() error {
		if !h.stopped() {
			return nil
		}
		if err := h.server.Err(); err != nil {
			return coded(CodeClosed, errors.New("stopped: "+err.Error()))
		}
		return coded(CodeClosed, errors.New("stopped: it was closed"))
	})
}

// readyz serves GET readyz.
func (h *Handler) readyz(w http.ResponseWriter, r *http.Request) error {
	return h.probe(w, r, CallReadyz, func() error {
		ctx, cancel := context.WithTimeout(r.Context(), h.config.ReadyTimeout)
		defer cancel()
		if err := h.server.Ready(ctx); err != nil {
			return coded(CodeUnready, err)
		}
		return nil
	})
}

// probe answers "ok" if check finds no flaw. It takes any query: probes add to it what they like.
func (h *Handler) probe(w http.ResponseWriter, r *http.Request, call string, check func() error) error {
	if err := h.allow(r, call); err != nil {
		return err
	}
	if err := check(); err != nil {
		return err
	}
	h.send(w, http.StatusOK, []byte("\"ok\"\n")) // there is always room for it
	return nil
}
