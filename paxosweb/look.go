package paxosweb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/singledecree/paxos"
)

// readTime bounds the time in which decisions are read for a look. The last Index may be one that Decisions leaves out, and then it
// waits for the next.
const readTime = 250 * time.Millisecond

// look makes a view of the server as it is now.
func (h *Handler) look(ctx context.Context) view {
	s := h.server.Status()
	c, settled := h.server.Configuration()
	v := view{Cluster: c.Members.Cluster, Server: s.ID, Boot: s.Boot, Decided: s.Index, Open: s.Open, Waiting: plural(s.Calls, "call waits", "calls wait")}
	v.Servers = h.servers(&s, &c)
	v.Headline = h.headline(&s, v.Servers)
	v.Decisions, v.Rate = h.decisions(ctx, s.Index)
	for _, o := range s.Instances {
		if len(v.Instances) == h.config.Shown {
			break
		}
		v.Instances = append(v.Instances, openView{Name: o.Instance, Age: age(o.Age), Ballot: o.Ballot.String(), Why: why(&o, &s)})
	}
	v.Members = members(&s, &c, settled)
	return v
}

// servers describes this server and all others that it knows.
func (h *Handler) servers(s *paxos.Status, c *paxos.Configuration) []serverView {
	own := serverView{ID: s.ID, State: "self", Text: "this server", Role: role(slices.Contains(c.Members.Acceptors, s.ID)), More: fmt.Sprintf("start %d", s.Boot)}
	if h.hasStopped() {
		own.State, own.Text = "refused", "has stopped"
	}
	if s.Err != nil {
		own.Text += ": " + clip(s.Err.Error(), maxShownError)
	}
	all := []serverView{own}
	for _, p := range s.Peers {
		v := serverView{ID: p.ID, Role: role(p.Votes), State: "up", Text: "connected"}
		if p.Heard >= 0 {
			v.More = fmt.Sprintf("heard %s ago, start %d", age(p.Heard), p.Boot)
		}
		switch {
		case p.Refused != "":
			v.State, v.Text = "refused", clip(p.Refused, maxShownError)
		case p.Heard < 0:
			v.State, v.Text = "silent", "not heard yet"
		case p.Heard >= h.config.Silent:
			v.State, v.Text, v.More = "silent", "silent for "+age(p.Heard), fmt.Sprintf("start %d", p.Boot)
		}
		if p.Limits != "" {
			v.More += "; " + clip(p.Limits, maxShownError)
		}
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b serverView) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

func (h *Handler) hasStopped() bool {
	select {
	case <-h.server.Done():
		return true
	default:
		return false
	}
}

// headline tells the worst first.
func (h *Handler) headline(s *paxos.Status, servers []serverView) headline {
	silent, refused := 0, 0
	for _, v := range servers {
		switch v.State {
		case "silent":
			silent++
		case "refused":
			refused++
		}
	}
	switch {
	case h.hasStopped():
		return headline{"bad", "This server has stopped."}
	case s.Counters.Faults > 0:
		return headline{"bad", "Some server broke the protocol. See the status of this server."}
	case s.NoQuorum > 0:
		return headline{"bad", "No quorum answers this server."}
	case s.StorageWait > time.Second:
		return headline{"bad", "The storage of this server does not answer."}
	case refused > 0:
		return headline{"warn", plural(refused, "server is refused.", "servers are refused.")}
	case silent > 0:
		return headline{"warn", fmt.Sprintf("A quorum answers. %s", plural(silent, "server is silent.", "servers are silent."))}
	case len(servers) == 1:
		return headline{"good", "This server is the only one."}
	}
	return headline{"good", fmt.Sprintf("All %d servers are connected.", len(servers))}
}

// decisions returns the last decisions up to that Index, the latest first, and how many come in a second. It reads so many at most,
// however many have come.
func (h *Handler) decisions(ctx context.Context, index uint64) (all []decisionView, rate string) {
	now, last := time.Now(), &h.latest
	if !last.at.IsZero() && index > last.index {
		if passed := now.Sub(last.at).Seconds(); passed > 0 {
			rate = fmt.Sprintf("%.0f a second", float64(index-last.index)/passed)
		}
	}
	if last.at.IsZero() || index != last.index || last.failed {
		last.decisions, last.failed = h.read(ctx, index)
	}
	last.index, last.at = index, now
	return last.decisions, rate
}

// read returns the last decisions. failed says that the server could not read them all.
func (h *Handler) read(ctx context.Context, index uint64) (all []decisionView, failed bool) {
	after := index - min(index, uint64(h.config.Shown))
	if index == after {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTime) // all pages share what is read
	defer cancel()
	for l, err := range h.server.Decisions(ctx, after) {
		var forgotten *paxos.ForgottenError
		switch {
		case errors.As(err, &forgotten):
			all = append(all, decisionView{Index: l.Index, Forgotten: rangeText(forgotten.Names)})
		case err != nil:
			slices.Reverse(all)
			return all, !errors.Is(err, context.DeadlineExceeded)
		default:
			all = append(all, decisionView{Index: l.Index, Name: l.Instance, Value: value(l.Value), Ballot: l.Ballot.String()})
		}
		if l.Index >= index {
			break
		}
	}
	slices.Reverse(all)
	return all, false
}
