package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/singledecree/paxos"
)

// A membership is who the members are, as one server knows it.
type membership struct {
	ID            paxos.ServerID `json:"id"` // of the server that tells it
	Listen        string         `json:"listen"`
	Cluster       string         `json:"cluster"`
	Configuration uint64         `json:"configuration"` // its number; 0: the members never changed
	change
	Quorum   string           `json:"quorum"`
	Settled  bool             `json:"settled"`          // the next change may begin, and servers that have left may be stopped
	Complete []paxos.ServerID `json:"complete"`         // the acceptors that remember all that those before remembered
	Import   *importing       `json:"import,omitempty"` // missing: this server has nothing to take over
	Left     []paxos.ServerID `json:"left,omitempty"`   // former members: their ServerIDs are finished
	Index    uint64           `json:"index"`            // of the last decision of this server
	Others   []memberStatus   `json:"others,omitempty"`
}

// A change is what can be asked for: the next members. All addresses are those of the configuration.
type change struct {
	Acceptors []paxos.ServerID          `json:"acceptors"`
	Learners  []paxos.ServerID          `json:"learners"`
	Addresses map[paxos.ServerID]string `json:"addresses"`
}

// An importing tells how far a server has taken over what other acceptors remember: see [paxos.ImportStatus].
type importing struct {
	Sources int    `json:"sources"`
	Done    int    `json:"done"`
	Records uint64 `json:"records"`
	Goal    uint64 `json:"goal"`
}

// A memberStatus is what this server knows of another member.
type memberStatus struct {
	ID    paxos.ServerID `json:"id"`
	Addr  string         `json:"addr,omitempty"`  // where this server reaches it
	Heard string         `json:"heard,omitempty"` // how long ago; missing: never
	Taken uint64         `json:"taken,omitempty"` // it has said that it has all decisions of this server up to this Index
}

// has reports whether the server is an acceptor or a learner.
func (c change) has(id paxos.ServerID) bool {
	return slices.Contains(c.Acceptors, id) || slices.Contains(c.Learners, id)
}

func (c change) members(cluster string) paxos.Members {
	return paxos.Members{Cluster: cluster, Acceptors: c.Acceptors, Learners: c.Learners, Addresses: c.Addresses}
}

// newChange returns members in the form of the API, with "none" for lists that are empty.
func newChange(m paxos.Members) change {
	c := change{Acceptors: m.Acceptors, Learners: m.Learners, Addresses: m.Addresses}
	if c.Learners == nil {
		c.Learners = []paxos.ServerID{}
	}
	if c.Addresses == nil {
		c.Addresses = map[paxos.ServerID]string{}
	}
	return c
}

// A past knows all servers that ever were members. It reads each configuration once.
type past struct {
	mu    sync.Mutex
	last  uint64 // the number of the last configuration that was read
	known map[paxos.ServerID]bool
}

// left returns the servers that were members before c, and are not in it.
func (s *server) left(c paxos.Configuration) ([]paxos.ServerID, error) {
	p := &s.past
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		p.known = map[paxos.ServerID]bool{}
		p.add(s.config.members())
	}
	for ; p.last < c.Number; p.last++ {
		name := paxos.ConfigurationName(p.last + 1)
		rec, err := s.log.Load(name)
		if err != nil {
			return nil, err
		}
		next, err := paxos.ParseConfiguration(string(rec.Acceptor.Value))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		p.add(next.Members)
	}
	var all []paxos.ServerID
	for id := range p.known {
		if !c.Members.Has(id) {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all, nil
}

func (p *past) add(m paxos.Members) {
	for _, id := range slices.Concat(m.Acceptors, m.Learners) {
		p.known[id] = true
	}
}

// membership returns who the members are, and how far the last change is.
func (s *server) membership() (membership, error) {
	c, settled := s.node.Configuration()
	n := s.node.Status()
	for range 3 { // else it has changed in between
		if n.Configuration == c.Number && n.Settled == settled {
			break
		}
		c, settled = s.node.Configuration()
		n = s.node.Status()
	}
	left, err := s.left(c)
	if err != nil {
		return membership{}, err
	}
	m := membership{ID: n.ID, Listen: s.transport.Addr().String(), Cluster: c.Members.Cluster, Configuration: c.Number, change: newChange(c.Members), Quorum: c.Members.Quorum.String(),
		Settled: settled, Complete: complete(n, c), Import: newImporting(n.Import), Left: left, Index: n.Index}
	addrs := map[paxos.ServerID]string{}
	for _, p := range s.transport.Stats().Peers {
		addrs[p.ID] = p.Addr
	}
	for _, p := range n.Peers {
		other := memberStatus{ID: p.ID, Addr: addrs[p.ID], Taken: p.Taken}
		if p.Heard >= 0 {
			other.Heard = p.Heard.Round(time.Millisecond).String()
		}
		m.Others = append(m.Others, other)
	}
	slices.SortFunc(m.Others, func(a, b memberStatus) int { return int(a.ID) - int(b.ID) })
	return m, nil
}

// complete returns the acceptors of c that remember all that those before remembered, as far as this server knows.
func complete(n paxos.Status, c paxos.Configuration) []paxos.ServerID {
	all := []paxos.ServerID{}
	if c.Members.Position(n.ID) >= 0 && n.Import.Sources == 0 {
		all = append(all, n.ID)
	}
	for _, p := range n.Peers {
		if p.Complete {
			all = append(all, p.ID)
		}
	}
	slices.Sort(all)
	return all
}

func newImporting(s paxos.ImportStatus) *importing {
	if s.Sources == 0 {
		return nil
	}
	return &importing{s.Sources, s.Done, s.Records, s.Goal}
}

// String says how far the import is.
func (i *importing) String() string {
	return fmt.Sprintf("it has imported %d of %d decisions, and all of %d of %d servers", i.Records, i.Goal, i.Done, i.Sources)
}

// unsettled says what the configuration waits for.
func (m membership) unsettled() string {
	text := fmt.Sprintf("configuration %d is not settled: complete are servers %s of %s", m.Configuration, list(m.Complete), list(m.Acceptors))
	if m.Import != nil {
		text += fmt.Sprintf("; server %d: %s", m.ID, m.Import)
	}
	return text
}

// members answers GET /v1/members.
func (s *server) members(w http.ResponseWriter, r *http.Request) {
	if _, err := readQuery(r, "timeout"); err != nil {
		reply(w, http.StatusBadRequest, failure{Text: err.Error()})
		return
	}
	m, err := s.membership()
	if err != nil {
		reply(w, http.StatusInternalServerError, failure{Text: "members: " + err.Error()})
		return
	}
	reply(w, http.StatusOK, m)
}

// change answers POST /v1/change.
func (s *server) change(w http.ResponseWriter, r *http.Request) {
	if err := checkContentType(r.Header.Get("Content-Type")); err != nil {
		reply(w, http.StatusUnsupportedMediaType, failure{Text: err.Error()})
		return
	}
	_, ctx, cancel, err := begin(r, "timeout")
	if err != nil {
		reply(w, http.StatusBadRequest, failure{Text: err.Error()})
		return
	}
	defer cancel()
	asked, err := readChange(w, r)
	if err != nil {
		code := http.StatusBadRequest
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			code = http.StatusRequestEntityTooLarge
		}
		reply(w, code, failure{Text: err.Error()})
		return
	}
	now, _ := s.node.Configuration()
	next := asked.members(now.Members.Cluster)
	if _, err := now.Next(next); err != nil {
		reply(w, http.StatusBadRequest, failure{Text: err.Error()})
		return
	}
	if code, err := s.refuseReturn(now, next); err != nil {
		reply(w, code, failure{Text: err.Error()})
		return
	}
	decided, err := s.node.Change(ctx, next)
	if err != nil {
		// After a conflict it is known that this change was not decided.
		reply(w, statusOf(err), failure{err.Error(), paxos.Unknown(err) && !errors.Is(err, paxos.ErrConflict)})
		return
	}
	reply(w, http.StatusOK, struct {
		Configuration uint64 `json:"configuration"`
		change
	}{decided.Number, newChange(decided.Members)})
}

// refuseReturn returns an error if a member of next is one that has left. A ServerID is used once: its storage may be lost.
func (s *server) refuseReturn(now paxos.Configuration, next paxos.Members) (code int, err error) {
	left, err := s.left(now)
	if err != nil {
		return http.StatusInternalServerError, fmt.Errorf("change: %w", err)
	}
	for _, id := range left {
		if next.Has(id) {
			return http.StatusConflict, fmt.Errorf("change: server %d was a member before: its ServerID is finished, take one that was never used", id)
		}
	}
	return 0, nil
}

// settled answers GET /v1/settled.
func (s *server) settled(w http.ResponseWriter, r *http.Request) {
	s.await(w, r, s.node.Settled, func() string {
		m, err := s.membership()
		if err != nil || m.Settled {
			return ""
		}
		return m.unsettled() + ": "
	})
}

// ready answers GET /v1/ready.
func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	s.await(w, r, s.node.Ready, func() string { return "" })
}

// await answers when call returns. If it fails, why is put before its error.
func (s *server) await(w http.ResponseWriter, r *http.Request, call func(context.Context) error, why func() string) {
	_, ctx, cancel, err := begin(r, "timeout")
	if err != nil {
		reply(w, http.StatusBadRequest, failure{Text: err.Error()})
		return
	}
	defer cancel()
	if err := call(ctx); err != nil {
		reply(w, statusOf(err), failure{Text: why() + err.Error()})
		return
	}
	s.members(w, r)
}
