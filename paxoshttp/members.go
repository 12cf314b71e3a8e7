package paxoshttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/singledecree/paxos"
)

// A Membership tells the members of a cluster, as one server knows them.
type Membership struct {
	ID            paxos.ServerID `json:"id"`               // of the server that tells it
	Listen        string         `json:"listen,omitempty"` // where the others reach it, if the host tells it
	Cluster       string         `json:"cluster"`
	Configuration uint64         `json:"configuration"` // its number; 0: the members never changed
	Change
	Quorum   string           `json:"quorum"`           // its text
	Settled  bool             `json:"settled"`          // the next change may begin, and servers that have left may be stopped
	Complete []paxos.ServerID `json:"complete"`         // the acceptors that remember all that those before remembered
	Import   *Importing       `json:"import,omitempty"` // nil: this server has nothing to take over
	Left     []paxos.ServerID `json:"left,omitempty"`   // former members, if the host tells them: their ServerIDs are finished
	Index    uint64           `json:"index"`            // of the last decision of this server
	Others   []Other          `json:"others,omitempty"` // ascending
}

// An Other is the knowledge of a server about another member.
type Other struct {
	ID    paxos.ServerID `json:"id"`
	Addr  string         `json:"addr,omitempty"`  // where this server reaches it, if the host tells it
	Heard string         `json:"heard,omitempty"` // how long ago; empty: never
	Taken uint64         `json:"taken,omitempty"` // it has said that it has all decisions of this server up to this Index
}

// Unsettled says what the configuration waits for, if it is not settled.
func (m Membership) Unsettled() string {
	text := fmt.Sprintf("configuration %d is not settled: complete are servers %s of %s", m.Configuration, list(m.Complete), list(m.Acceptors))
	if m.Import != nil {
		text += fmt.Sprintf("; server %d: %s", m.ID, m.Import)
	}
	return text
}

// A changed is the answer to a change.
type changed struct {
	Configuration uint64 `json:"configuration"`
	Change
}

// membership returns the members, and the progress of the last change.
func (h *Handler) membership() (Membership, error) {
	c, settled := h.server.Configuration()
	n := h.server.Status()
	for range 3 { // else it has changed in between
		if n.Configuration == c.Number && n.Settled == settled {
			break
		}
		c, settled = h.server.Configuration()
		n = h.server.Status()
	}
	left, err := h.left()
	if err != nil {
		return Membership{}, err
	}
	m := Membership{ID: n.ID, Cluster: c.Members.Cluster, Configuration: c.Number, Change: NewChange(c.Members), Quorum: c.Members.Clone().Quorum.String(),
		Settled: settled, Complete: complete(n, c), Import: newImporting(n.Import), Left: left, Index: n.Index}
	if listen := h.config.Host.Listen; listen != nil {
		m.Listen = listen()
	}
	addrs := map[paxos.ServerID]string{}
	if links := h.config.Host.Links; links != nil {
		for _, l := range links() {
			addrs[l.ID] = l.Addr
		}
	}
	for _, p := range n.Peers {
		other := Other{ID: p.ID, Addr: addrs[p.ID], Taken: p.Taken}
		if p.Heard >= 0 {
			other.Heard = p.Heard.Round(time.Millisecond).String()
		}
		m.Others = append(m.Others, other)
	}
	slices.SortFunc(m.Others, func(a, b Other) int { return compare(a.ID, b.ID) })
	return m, nil
}

// left returns the former members, if the host tells them.
func (h *Handler) left() ([]paxos.ServerID, error) {
	if h.config.Host.Left == nil {
		return nil, nil
	}
	left, err := h.config.Host.Left()
	if err != nil {
		return nil, fmt.Errorf("members: %w", err)
	}
	return left, nil
}

// members serves GET members.
func (h *Handler) members(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.URL.RawQuery, []string{"timeout"})
	if err != nil {
		return err
	}
	if _, err := q.timeout(h.config.MaxTimeout); err != nil { // it is checked, although nothing waits
		return err
	}
	if err := h.allow(r, CallMembers); err != nil {
		return err
	}
	return h.replyMembers(w)
}

func (h *Handler) replyMembers(w http.ResponseWriter) error {
	m, err := h.membership()
	if err != nil {
		return err
	}
	return h.reply(w, m)
}

// change serves POST change.
func (h *Handler) change(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.URL.RawQuery, []string{"timeout"})
	if err != nil {
		return err
	}
	return h.body(w, r, func(body []byte) error {
		asked, err := parseChange(body)
		if err != nil {
			return malformed("body: %w", err)
		}
		if err := h.allow(r, CallChange); err != nil {
			return err
		}
		if err := h.checkAddresses(asked); err != nil {
			return malformed("body: %w", err)
		}
		ctx, cancel, err := h.begin(r, q)
		if err != nil {
			return err
		}
		defer cancel()
		next, err := h.next(asked)
		if err != nil {
			return err
		}
		decided, err := h.server.Change(ctx, next)
		if err != nil {
			// After a conflict it is known that this change was not decided.
			h.failWith(w, newFailure(err, paxos.Unknown(err) && !errors.Is(err, paxos.ErrConflict)))
			return nil
		}
		h.replyDone(w, changed{decided.Number, NewChange(decided.Members)})
		return nil
	})
}

func (h *Handler) checkAddresses(c Change) error {
	if h.config.Host.CheckAddress == nil {
		return nil
	}
	for _, id := range slices.Concat(c.Acceptors, c.Learners) {
		if addr, ok := c.Addresses[id]; ok {
			if err := h.config.Host.CheckAddress(addr); err != nil {
				return fmt.Errorf("addresses: server %d: %w", id, err)
			}
		}
	}
	return nil
}

// next returns the members that a change asks for. It refuses what can't follow the present members, and a member that has left:
// a ServerID is used once, as its storage may be lost.
func (h *Handler) next(asked Change) (paxos.Members, error) {
	now, _ := h.server.Configuration()
	next, err := asked.members(now.Members)
	if err != nil {
		return next, err
	}
	if _, err := now.Next(next); err != nil {
		return next, coded(CodeMembers, err)
	}
	left, err := h.left()
	if err != nil {
		return next, err
	}
	for _, id := range left {
		if next.Has(id) {
			return next, coded(CodeFinished, fmt.Errorf("change: server %d was a member before: its ServerID is finished, take one that was never used", id))
		}
	}
	return next, nil
}

// settled serves GET settled.
func (h *Handler) settled(w http.ResponseWriter, r *http.Request) error {
	return h.await(w, r, CallSettled, h.server.Settled, func() string {
		m, err := h.membership()
		if err != nil || m.Settled {
			return ""
		}
		return m.Unsettled() + ": "
	})
}

// ready serves GET ready.
func (h *Handler) ready(w http.ResponseWriter, r *http.Request) error {
	return h.await(w, r, CallReady, h.server.Ready, func() string { return "" })
}

// await answers when wait returns. If it fails, why is put before its error.
func (h *Handler) await(w http.ResponseWriter, r *http.Request, call string, wait func(context.Context) error, why func() string) error {
	q, err := parseQuery(r.URL.RawQuery, []string{"timeout"})
	if err != nil {
		return err
	}
	if err := h.allow(r, call); err != nil {
		return err
	}
	ctx, cancel, err := h.begin(r, q)
	if err != nil {
		return err
	}
	defer cancel()
	if err := wait(ctx); err != nil {
		f := newFailure(err, false)
		f.Text = why() + f.Text
		h.failWith(w, f)
		return nil
	}
	return h.replyMembers(w)
}
