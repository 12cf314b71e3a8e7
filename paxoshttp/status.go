package paxoshttp

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/singledecree/paxos"
)

// A Status is the state of a server, as the API tells it. See [paxos.Status] for the meaning of each number.
type Status struct {
	ID      paxos.ServerID `json:"id"`
	Store   string         `json:"store"` // in hexadecimal
	Members string         `json:"members"`
	// Configuration is the number of the configuration. 0: the members never changed.
	Configuration uint64     `json:"configuration,omitempty"`
	Unsettled     string     `json:"unsettled,omitempty"` // the acceptors for which the configuration waits; empty: it is settled
	Import        *Importing `json:"import,omitempty"`    // nil: this server has nothing to take over
	// Standing is the highest standing ballot that this server has promised; empty: none. Stands is how long ago this server took one
	// that it uses; empty: it has none.
	Standing    string    `json:"standing,omitempty"`
	Stands      string    `json:"stands,omitempty"`
	Boot        uint64    `json:"boot"`
	Index       uint64    `json:"index"`
	Decided     int       `json:"decided"`            // instances in the storage, if the host tells it
	Open        int       `json:"open"`               // instances that were begun and can be finished
	Orphaned    int       `json:"orphaned,omitempty"` // instances that wait for the next proposal
	Calls       int       `json:"calls"`              // calls of the Node that wait
	NoQuorum    string    `json:"noQuorum,omitempty"` // for how long no quorum has answered; empty: one answers
	StorageWait string    `json:"storageWait,omitempty"`
	Broken      []string  `json:"broken,omitempty"` // proofs that some server broke the protocol, the oldest first
	Err         string    `json:"err,omitempty"`    // why the server stopped
	Disk        int64     `json:"disk"`             // bytes of the storage, if the host tells it
	Oldest      []OpenOne `json:"oldest,omitempty"` // the open instances that are oldest, 100 at most
	Peers       []Peer    `json:"peers"`
}

// An OpenOne is an instance that has begun and of which the server knows no decision.
type OpenOne struct {
	Name     string `json:"name"`
	Age      string `json:"age"`
	Ballot   string `json:"ballot"` // the highest that this server has promised or tried; "-": none
	Calls    int    `json:"calls,omitempty"`
	Orphaned bool   `json:"orphaned,omitempty"`
}

// A Peer is the knowledge of a server about another one. Addr, Out, In and Err come from [Host].Links.
type Peer struct {
	ID      paxos.ServerID `json:"id"`
	Addr    string         `json:"addr"`
	Out     bool           `json:"out"` // connected to send,
	In      bool           `json:"in"`  // and to receive
	Heard   string         `json:"heard,omitempty"`
	Dropped uint64         `json:"dropped,omitempty"`
	Refused string         `json:"refused,omitempty"`
	Limits  string         `json:"limits,omitempty"`
	Err     string         `json:"err,omitempty"` // why Out is false
}

// An Importing tells how far a server has taken over the knowledge of other acceptors: see [paxos.ImportStatus].
type Importing struct {
	Sources int    `json:"sources"`
	Done    int    `json:"done"`
	Records uint64 `json:"records"`
	Goal    uint64 `json:"goal"`
}

// String returns the progress in words.
func (i *Importing) String() string {
	return fmt.Sprintf("it has imported %d of %d decisions, and all of %d of %d servers", i.Records, i.Goal, i.Done, i.Sources)
}

func newImporting(s paxos.ImportStatus) *Importing {
	if s.Sources == 0 {
		return nil
	}
	return &Importing{s.Sources, s.Done, s.Records, s.Goal}
}

// maxOldest is the most open instances that a Status names.
const maxOldest = 100

// newStatus returns the state of the server with the knowledge of its host.
func (h *Handler) newStatus() Status {
	n := h.server.Status()
	st := Status{ID: n.ID, Store: strconv.FormatUint(n.Store, 16), Members: n.Members, Configuration: n.Configuration, Import: newImporting(n.Import),
		Boot: n.Boot, Index: n.Index, Open: n.Open - n.Orphaned, Orphaned: n.Orphaned, Calls: n.Calls, NoQuorum: duration(n.NoQuorum), StorageWait: duration(n.StorageWait)}
	for i, open := range n.Instances {
		if i < maxOldest {
			st.Oldest = append(st.Oldest, OpenOne{open.Instance, open.Age.String(), open.Ballot.String(), open.Calls, open.Orphaned})
		}
	}
	if !n.Settled {
		c, _ := h.server.Configuration()
		st.Unsettled = fmt.Sprintf("complete are servers %s of %s", list(complete(n, c)), list(c.Members.Acceptors))
	}
	for _, proof := range n.Broken {
		st.Broken = append(st.Broken, proof.Error())
	}
	if n.Standing.Promised.Server != 0 {
		st.Standing = n.Standing.Promised.String()
	}
	if n.Standing.Ready {
		st.Stands = duration(n.Standing.Stands)
	}
	if n.Err != nil {
		st.Err = n.Err.Error()
	}
	if stored := h.config.Host.Stored; stored != nil {
		st.Decided, st.Disk = stored()
	}
	st.Peers = h.peers(n)
	return st
}

// duration returns d in words; empty: none.
func duration(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return d.String()
}

// peers returns the other servers that the host or the Node knows, in the order of their IDs.
func (h *Handler) peers(n paxos.Status) []Peer {
	all := []Peer{}
	if links := h.config.Host.Links; links != nil {
		for _, l := range links() {
			all = append(all, Peer{ID: l.ID, Addr: l.Addr, Out: l.Out, In: l.In, Err: l.Err})
		}
	}
	for _, known := range n.Peers {
		at := slices.IndexFunc(all, func(p Peer) bool { return p.ID == known.ID })
		if at < 0 {
			at = len(all)
			all = append(all, Peer{ID: known.ID})
		}
		p := &all[at]
		p.Dropped, p.Refused, p.Limits = known.Dropped, known.Refused, known.Limits
		if known.Heard >= 0 {
			p.Heard = known.Heard.Round(time.Millisecond).String()
		}
	}
	slices.SortFunc(all, func(a, b Peer) int { return compare(a.ID, b.ID) })
	return all
}

func compare(a, b paxos.ServerID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
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

// list joins the IDs of servers.
func list(ids []paxos.ServerID) string {
	if len(ids) == 0 {
		return "none"
	}
	var words []string
	for _, id := range ids {
		words = append(words, strconv.FormatUint(uint64(id), 10))
	}
	return strings.Join(words, " ")
}

// status serves GET status.
func (h *Handler) status(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.URL.RawQuery, []string{"timeout"})
	if err != nil {
		return err
	}
	if _, err := q.timeout(h.config.MaxTimeout); err != nil { // it is checked, although nothing waits
		return err
	}
	if err := h.allow(r, CallStatus); err != nil {
		return err
	}
	return h.reply(w, h.newStatus())
}
