package world

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/singledecree/paxos"
)

// A server is one Replica on its disk, or, while it is down, the disk alone.
type server struct {
	id       paxos.ServerID
	disk     disk
	replica  *paxos.Replica // nil: down
	life     uint64         // counts starts: what was meant for an earlier life finds nobody
	paused   bool
	inbox    []func(*paxos.Replica) // what came while it was paused
	saveTime time.Duration
	saving   *paxos.Batch // a copy of the Batch of the Save that runs
	saves    uint64       // Saves begun in this life
	out      paxos.Output
}

// newServer returns a server that is formatted, and down.
func newServer(id paxos.ServerID, m paxos.Members) (*server, error) {
	s := &server{id: id, disk: disk{records: map[string]paxos.Record{}}}
	if err := paxos.Format(&s.disk, id, m); err != nil {
		return nil, err
	}
	s.disk.state.Store = 1000 + uint64(id) // Format's is random
	return s, nil
}

func (w *World) server(id paxos.ServerID) *server {
	if id < 1 || int(id) > len(w.servers) {
		w.failf("there is no server %d", id)
		return w.servers[0]
	}
	return w.servers[id-1]
}

// Servers returns the IDs of all servers, also of those that are down.
func (w *World) Servers() (ids []paxos.ServerID) {
	for _, s := range w.servers {
		ids = append(ids, s.id)
	}
	return ids
}

// start starts s on what its disk holds.
func (w *World) start(s *server) {
	var open []string
	for name := range s.disk.Undecided() {
		open = append(open, name)
	}
	s.life++
	s.saves, s.inbox, s.paused = 0, nil, false
	r, err := paxos.NewReplica(w.now, paxos.ReplicaConfig{State: s.disk.state, Nonce: s.life<<8 | uint64(s.id), Members: w.members,
		Open: open, Limits: w.config.Limits, Timing: w.config.Timing, Seed: s.life, Trace: true})
	if err != nil {
		w.fail(err)
		return
	}
	s.replica = r
	w.note(Entry{Event: paxos.Event{Kind: Restarted, Server: s.id, Boot: s.disk.state.Boot + 1}})
	w.drain(s)
}

// Crash stops a server: all that is not on its disk is gone, and so is the Save that runs.
func (w *World) Crash(id paxos.ServerID) { w.crash(id, false) }

// CrashSaved is Crash, but what the running Save holds is on the disk, though the server never learned it.
func (w *World) CrashSaved(id paxos.ServerID) { w.crash(id, true) }

func (w *World) crash(id paxos.ServerID, durable bool) {
	s := w.server(id)
	if s.replica == nil {
		w.failf("server %d is down already", id)
		return
	}
	e := Entry{Event: paxos.Event{Kind: Crashed, Server: id}}
	if s.saving != nil {
		e.Save, e.Text = s.saves, "lost"
		if durable {
			e.Text = "durable"
			w.commit(s)
		}
	} else if durable {
		w.failf("server %d runs no Save", id)
	}
	w.note(e)
	w.down(s)
}

// down ends the life of s. Its calls end too: nobody is there to answer.
func (w *World) down(s *server) {
	s.replica, s.saving, s.inbox, s.paused = nil, nil, nil, false
	for _, c := range w.calls {
		if c.Server == s.id && !c.Ended {
			c.Ended, c.Err = true, errCrashed
		}
	}
}

var errCrashed = errors.New("the server crashed")

// Restart starts a server that is down, on its disk, as a new process.
func (w *World) Restart(id paxos.ServerID) {
	s := w.server(id)
	if s.replica != nil {
		w.failf("server %d is up already", id)
		return
	}
	w.start(s)
}

// Up reports whether a server runs.
func (w *World) Up(id paxos.ServerID) bool { return w.server(id).replica != nil }

// Pause stops a server without its knowing. What comes waits.
func (w *World) Pause(id paxos.ServerID) {
	w.server(id).paused = true
	w.note(Entry{Event: paxos.Event{Kind: Paused, Server: id}})
}

// Resume has a paused server go on: it takes what came meanwhile, in order.
func (w *World) Resume(id paxos.ServerID) {
	s := w.server(id)
	s.paused = false
	w.note(Entry{Event: paxos.Event{Kind: Resumed, Server: id}})
	inbox := s.inbox
	s.inbox = nil
	for _, f := range inbox {
		w.input(s, f)
	}
}

// SaveTime sets how long the Saves of a server take that begin from now on.
func (w *World) SaveTime(id paxos.ServerID, d time.Duration) { w.server(id).saveTime = d }

// Saving reports whether a Save runs on a server.
func (w *World) Saving(id paxos.ServerID) bool { return w.server(id).saving != nil }

// Stored returns what the disk of a server holds of an instance.
func (w *World) Stored(id paxos.ServerID, instance string) paxos.Record {
	return w.server(id).disk.records[instance]
}

// StoredState returns what the disk of a server holds of the server.
func (w *World) StoredState(id paxos.ServerID) paxos.ServerState { return w.server(id).disk.state }

// Status returns how a server is, which must be up.
func (w *World) Status(id paxos.ServerID) paxos.Status { return w.server(id).replica.Status(w.now) }

// input gives f to the Replica of s, and carries out what comes of it.
func (w *World) input(s *server, f func(*paxos.Replica)) {
	switch {
	case w.err != nil || s.replica == nil:
	case s.paused:
		s.inbox = append(s.inbox, f)
	default:
		f(s.replica)
		w.drain(s)
	}
}

// drain carries out all Outputs of s.
func (w *World) drain(s *server) {
	for w.err == nil && s.replica != nil && s.replica.Take(&s.out) {
		out := &s.out
		leaving := w.leave(out.Send)
		w.logEvents(s, leaving)
		if out.Save != nil {
			w.save(s, *out.Save)
		}
		w.dispatch(leaving)
		w.fail(w.check.shown(s, out.Index))
		for _, d := range out.Done {
			w.done(d)
		}
		if out.Stop != nil {
			w.note(Entry{Event: paxos.Event{Kind: Stopped, Server: s.id, Err: out.Stop}})
			w.down(s)
			return
		}
		for _, name := range out.Load {
			rec, _ := s.disk.Load(name)
			rec.Instance = name
			s.replica.Loaded(w.now, rec)
		}
	}
}

// save begins a Save. Its Batch is copied: that is what the disk gets, whatever the Replica does meanwhile.
func (w *World) save(s *server, b paxos.Batch) {
	if s.saving != nil {
		w.failf("server %d began a Save while one runs", s.id)
		return
	}
	b.Records = slices.Clone(b.Records)
	if b.Server != nil {
		state := *b.Server
		b.Server = &state
	}
	s.saving = &b
	s.saves++
	life, number := s.life, s.saves
	w.at(w.now+s.saveTime, func() {
		if s.life != life || s.saves != number || s.saving == nil {
			return // the server has crashed since
		}
		w.commit(s)
		w.input(s, func(r *paxos.Replica) { r.Saved(w.now) })
	})
}

// commit makes the Batch of the running Save durable.
func (w *World) commit(s *server) {
	b := *s.saving
	s.saving = nil
	w.fail(w.check.saved(s, b))
	if err := s.disk.Save(b); err != nil {
		w.fail(err)
	}
}

// A disk keeps what was saved. It is a paxos.Storage, so that Format and others can use it.
type disk struct {
	state   paxos.ServerState
	records map[string]paxos.Record
}

func (d *disk) Server() (paxos.ServerState, error) { return d.state, nil }

func (d *disk) Load(instance string) (paxos.Record, error) { return d.records[instance], nil }

func (d *disk) Save(b paxos.Batch) error {
	if b.Server != nil {
		d.state = *b.Server
	}
	if len(b.Drop) > 0 {
		return fmt.Errorf("the disk of a world can't drop records")
	}
	for _, rec := range b.Records {
		d.records[rec.Instance] = rec
	}
	return nil
}

func (d *disk) Undecided() iter.Seq2[string, error] {
	var names []string
	for name, rec := range d.records {
		if !rec.Chosen {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return func(yield func(string, error) bool) {
		for _, name := range names {
			if !yield(name, nil) {
				return
			}
		}
	}
}

func (d *disk) Decided(after uint64, most int) ([]paxos.Named, error) {
	var found []paxos.Named
	for name, rec := range d.records {
		if rec.Chosen && rec.Index > after {
			found = append(found, paxos.Named{Instance: name, Index: rec.Index})
		}
	}
	slices.SortFunc(found, func(a, b paxos.Named) int {
		if a.Index != b.Index {
			return int(a.Index) - int(b.Index)
		}
		return strings.Compare(a.Instance, b.Instance)
	})
	return found[:min(len(found), most)], nil
}
