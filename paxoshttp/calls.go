package paxoshttp

import (
	"context"
	"io"
	"net/http"

	"github.com/singledecree/paxos"
)

// propose serves POST propose.
func (h *Handler) propose(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.URL.RawQuery, []string{"timeout"})
	if err != nil {
		return err
	}
	return h.body(w, r, func(body []byte) error {
		name, value, err := parseProposal(body)
		if err != nil {
			return malformed("body: %w", err)
		}
		if err := h.allow(r, CallPropose, paxos.OneName(name)); err != nil {
			return err
		}
		ctx, cancel, err := h.begin(r, q)
		if err != nil {
			return err
		}
		defer cancel()
		d, err := h.server.Propose(ctx, name, value)
		if err != nil {
			h.failWith(w, newFailure(err, paxos.Unknown(err)))
			return nil
		}
		h.replyDone(w, newAnswer(d, true, name))
		return nil
	})
}

// ask serves one of the calls that ask about a name.
func (h *Handler) ask(call string, ask func(context.Context, string) (paxos.Decision, bool, error)) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		q, err := parseQuery(r.URL.RawQuery, []string{"name", "timeout"})
		if err != nil {
			return err
		}
		name := q.values.Get("name")
		if err := h.allow(r, call, paxos.OneName(name)); err != nil {
			return err
		}
		ctx, cancel, err := h.begin(r, q)
		if err != nil {
			return err
		}
		defer cancel()
		d, ok, err := ask(ctx, name)
		if err != nil {
			return err
		}
		return h.reply(w, newAnswer(d, ok, name))
	}
}

// wait is Server.Wait with the result of Read.
func (h *Handler) wait(ctx context.Context, name string) (paxos.Decision, bool, error) {
	d, err := h.server.Wait(ctx, name)
	return d, true, err
}

// forget serves POST forget.
func (h *Handler) forget(w http.ResponseWriter, r *http.Request) error {
	if err := checkContentType(r.Header.Get("Content-Type")); err != nil {
		return err
	}
	q, err := parseQuery(r.URL.RawQuery, []string{"name", "prefix", "from", "to", "timeout"})
	if err != nil {
		return err
	}
	names, err := q.forgets()
	if err != nil {
		return err
	}
	if r.ContentLength != 0 {
		if n, _ := io.ReadFull(r.Body, make([]byte, 1)); n > 0 {
			return malformed("body: a forget has none: its names are in the query")
		}
	}
	if err := h.allow(r, CallForget, names); err != nil {
		return err
	}
	ctx, cancel, err := h.begin(r, q)
	if err != nil {
		return err
	}
	defer cancel()
	if err := h.server.Forget(ctx, names); err != nil {
		h.failWith(w, newFailure(err, paxos.Unknown(err)))
		return nil
	}
	h.replyDone(w, answer{bounds: newBounds(names)})
	return nil
}
