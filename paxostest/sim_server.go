package paxostest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/oracle"
	"github.com/singledecree/paxos/replica"
)

// A server is one Replica on its disk. While it is down, it is the disk alone.
type server struct {
	oracle.Server                  // an input for an earlier Life is dropped
	replica       *replica.Replica // nil: down
	paused        bool
	timed         bool // due is when its next timer is
	due           time.Duration
	inbox         []func() // inputs that came while it was paused
	saveTime      time.Duration
	loadTime      time.Duration
	reads         uint64          // Loads and Lists so far, in all lives
	loading       map[string]bool // Loads that are not answered, in this life
	failing       saveFault
	running       bool        // a Save runs
	hung          bool        // and will never end
	saving        paxos.Batch // a copy of its Batch
	state         paxos.ServerState
	saves         uint64 // Saves begun in this life
	out           replica.Output
}

// A saveFault is the fate of the next Save.
type saveFault uint8

const (
	saveWell       saveFault = iota
	saveFails                // and nothing of it is on the disk
	saveFailsAfter           // but what it holds is on the disk
	saveHangs
)

// newServer returns a server that is formatted, and down.
func newServer(id paxos.ServerID, m paxos.Members) (*server, error) {
	s := &server{Server: oracle.Server{ID: id, Disk: oracle.NewDisk()}}
	if err := paxos.Format(&s.Disk, id, m); err != nil {
		return nil, err
	}
	s.Disk.State.Store = firstStore(id) // Format's is random
	return s, nil
}

// firstStore is the Store of the storage that a server begins with.
func firstStore(id paxos.ServerID) uint64 { return 1000 + uint64(id) }

// Wipe loses the disk of a server that is down, and makes a new one for the same ServerID. An operator must never do that: the new disk
// does not hold what the server had promised. All others must refuse the server from then on, for ever.
func (w *Sim) Wipe(id paxos.ServerID) {
	s := w.server(id)
	if s.replica != nil {
		w.failf("server %d is up, and can't lose its disk", id)
		return
	}
	store := s.Disk.State.Store + 1000
	s.Disk = oracle.NewDisk()
	w.fail(paxos.Format(&s.Disk, id, w.members))
	s.Disk.State.Store = store
	w.note(Entry{Event: paxos.Event{Kind: Wiped, Server: id}})
}

// introduce makes all servers know each other's storage, as if they had met.
func (w *Sim) introduce() {
	for _, s := range w.servers {
		var peers []string
		for _, other := range w.servers {
			if other != s {
				peers = append(peers, fmt.Sprintf("%d/%x", other.ID, other.Disk.State.Store))
			}
		}
		s.Disk.State.Peers = strings.Join(peers, ",")
	}
}

func (w *Sim) server(id paxos.ServerID) *server {
	if id < 1 || int(id) > len(w.servers) {
		w.failf("there is no server %d", id)
		return w.servers[0]
	}
	return w.servers[id-1]
}

// serversIn returns the servers of a region. It is an error if there are none.
func (w *Sim) serversIn(region string) []paxos.ServerID {
	ids := w.config.Regions.Servers(region)
	if len(ids) == 0 {
		w.failf("there is no server in region %q", region)
	}
	return ids
}

// Servers returns the IDs of all servers, also of those that are down.
func (w *Sim) Servers() (ids []paxos.ServerID) {
	for _, s := range w.servers {
		ids = append(ids, s.ID)
	}
	return ids
}

// start starts s on what its disk holds.
func (w *Sim) start(s *server) {
	s.Life++
	s.saves, s.inbox, s.paused, s.failing, s.hung, s.loading = 0, nil, false, saveWell, false, map[string]bool{}
	forgotten, err := replica.ReadForgotten(&s.Disk, s.Disk.State)
	if err != nil {
		w.fail(err)
		return
	}
	r, err := replica.New(w.now, replica.Config{ID: s.ID, State: s.Disk.State, Nonce: s.Life<<8 | uint64(s.ID), Members: w.members,
		Open: s.Disk.Open(), Forgotten: forgotten, Limits: w.config.Limits, Timing: w.config.Timing, Seed: w.config.Seed<<16 + s.Life, Trace: !w.config.noLog,
		NoStanding: w.config.NoStanding})
	if err != nil {
		w.fail(err)
		return
	}
	s.replica = r
	w.note(Entry{Event: paxos.Event{Kind: Restarted, Server: s.ID, Boot: s.Disk.State.Boot + 1}})
	w.drain(s)
}

// Crash stops a server: everything that is not on its disk is lost, and so is the running Save.
func (w *Sim) Crash(id paxos.ServerID) { w.crash(id, false) }

// CrashRegion crashes the servers of a region that are up, as [Sim.Crash] does.
func (w *Sim) CrashRegion(region string) {
	for _, id := range w.serversIn(region) {
		if w.Up(id) {
			w.Crash(id)
		}
	}
}

// RestartRegion restarts the servers of a region that are down, as [Sim.Restart] does.
func (w *Sim) RestartRegion(region string) {
	for _, id := range w.serversIn(region) {
		if !w.Up(id) {
			w.Restart(id)
		}
	}
}

// CrashSaved is [Sim.Crash], but the contents of the running Save are on the disk. The server never learned that.
func (w *Sim) CrashSaved(id paxos.ServerID) { w.crash(id, true) }

func (w *Sim) crash(id paxos.ServerID, durable bool) {
	s := w.server(id)
	if s.replica == nil {
		w.failf("server %d is down already", id)
		return
	}
	e := Entry{Event: paxos.Event{Kind: Crashed, Server: id}}
	if s.running {
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

// down ends the life of s. Its calls end, too, without an answer.
func (w *Sim) down(s *server) {
	s.replica, s.running, s.inbox, s.paused, s.timed = nil, false, nil, false, false
	for _, c := range w.calls {
		if c.Server == s.ID && !c.Ended {
			c.Ended, c.Err, c.Took = true, errCrashed, w.now-c.Began
		}
	}
}

var errCrashed = errors.New("the server crashed")

// Restart starts a server that is down as a new process, on its disk.
func (w *Sim) Restart(id paxos.ServerID) {
	s := w.server(id)
	if s.replica != nil {
		w.failf("server %d is up already", id)
		return
	}
	w.start(s)
}

// Up reports whether a server runs.
func (w *Sim) Up(id paxos.ServerID) bool { return w.server(id).replica != nil }

// Pause stops a server for a while; the server does not notice. Its inputs wait.
func (w *Sim) Pause(id paxos.ServerID) {
	w.server(id).paused = true
	w.note(Entry{Event: paxos.Event{Kind: Paused, Server: id}})
}

// Resume ends a pause: the server takes the inputs that waited, in order.
func (w *Sim) Resume(id paxos.ServerID) {
	s := w.server(id)
	s.paused = false
	w.note(Entry{Event: paxos.Event{Kind: Resumed, Server: id}})
	inbox := s.inbox
	s.inbox = nil
	for _, f := range inbox {
		if s.replica != nil && w.err == nil {
			f()
		}
	}
}

// FailSave makes the next Save of a server fail. A failed storage is dead, and the host drops its Replica: the server is down until
// [Sim.Restart]. If durable is set, the contents of the Save are on the disk all the same: both can happen.
func (w *Sim) FailSave(id paxos.ServerID, durable bool) {
	w.server(id).failing = saveFails
	if durable {
		w.server(id).failing = saveFailsAfter
	}
}

// HangSave makes the next Save of a server never end.
func (w *Sim) HangSave(id paxos.ServerID) { w.server(id).failing = saveHangs }

// LoadTime sets how long each read of a server's disk takes from now on, of a record or of a page of decisions.
func (w *Sim) LoadTime(id paxos.ServerID, d time.Duration) { w.server(id).loadTime = d }

// SaveTime sets how long each Save of a server takes that begins from now on.
func (w *Sim) SaveTime(id paxos.ServerID, d time.Duration) { w.server(id).saveTime = d }

// Saving reports whether a Save runs on a server.
func (w *Sim) Saving(id paxos.ServerID) bool { return w.server(id).running }

// Stored returns the record of an instance on the disk of a server.
func (w *Sim) Stored(id paxos.ServerID, instance string) paxos.Record {
	return w.server(id).Disk.Records[instance]
}

// StoredState returns the ServerState on the disk of a server.
func (w *Sim) StoredState(id paxos.ServerID) paxos.ServerState { return w.server(id).Disk.State }

// Status returns the Status of a server, which must be up.
func (w *Sim) Status(id paxos.ServerID) paxos.Status { return w.server(id).replica.Status(w.now) }

// input gives f to the Replica of s, and carries out its Outputs.
func (w *Sim) input(s *server, f func(*replica.Replica)) {
	switch {
	case w.err != nil || s.replica == nil:
	case s.paused:
		life := s.Life
		s.inbox = append(s.inbox, func() {
			if s.Life == life {
				w.input(s, f)
			}
		})
	default:
		f(s.replica)
		w.drain(s)
	}
}

// drain carries out all Outputs of s.
func (w *Sim) drain(s *server) {
	out := &s.out
	for w.err == nil && s.replica != nil && s.replica.Take(out) {
		w.checkPackets(s)
		leaving := w.leave(out.Send)
		w.logEvents(s, leaving)
		if out.Save != nil {
			w.save(s, *out.Save)
		}
		w.send(out.Send, leaving)
		w.fail(w.oracle.Shown(&s.Server, out.Index))
		for _, d := range out.Done {
			w.done(s, d)
		}
		if out.Stop != nil {
			w.note(Entry{Event: paxos.Event{Kind: Stopped, Server: s.ID, Err: out.Stop}})
			w.down(s)
			return
		}
		w.look(s)
	}
	if w.err == nil && s.replica != nil && s.replica.Take(out) {
		w.failf("server %d had more to do when Take had returned false: %+v", s.ID, *out)
	}
	if s.replica != nil {
		s.due, s.timed = s.replica.Next()
	}
}

// reads decides how long the next read of a server's disk takes. It also decides whether the read sees the disk as it is when the read
// begins, or as it is when it ends.
type reads interface {
	read(s *server) (takes time.Duration, early bool)
}

// readTime returns how long the next read of s takes, and whether it sees the disk as it is when it begins.
func (w *Sim) readTime(s *server) (takes time.Duration, early bool) {
	s.reads++
	if w.reads == nil {
		return s.loadTime, false
	}
	return w.reads.read(s)
}

// look answers the questions of the Replica about its disk, at once or after the time that the disk takes.
func (w *Sim) look(s *server) {
	for _, name := range s.out.Load {
		if s.loading[name] {
			w.failf("server %d asks for %q while it waits for it", s.ID, name)
		}
		s.loading[name] = true
		if takes, _ := w.readTime(s); takes > 0 { // the time of the read does not matter: an instance that is being loaded does not change on the disk
			w.plan(event{at: w.now + takes, what: eventLoaded, server: s, life: s.Life, name: name})
			continue
		}
		w.load(s, name)
	}
	for _, ask := range s.out.List {
		p := &page{ask: ask}
		takes, early := w.readTime(s)
		if early {
			p.read(s)
		}
		if takes > 0 {
			w.plan(event{at: w.now + takes, what: eventListed, server: s, life: s.Life, page: p})
			continue
		}
		w.list(s, p)
	}
}

// A page is a question of the Replica for a page of decisions, with the answer of its disk.
type page struct {
	ask   replica.ListAsk
	names replica.Page
	early bool // it was read when it was asked for
}

func (p *page) read(s *server) {
	names, _ := replica.List(&s.Disk, p.ask)
	p.names, p.early = names, true
}

func (w *Sim) list(s *server, p *page) {
	if !p.early {
		p.read(s)
	}
	s.replica.Listed(w.now, p.ask.ID, p.names)
}

// listed ends a List.
func (w *Sim) listed(s *server, life uint64, p *page) {
	if s.Life == life {
		w.input(s, func(*replica.Replica) { w.list(s, p) })
	}
}

func (w *Sim) load(s *server, name string) {
	rec := s.Disk.Records[name]
	rec.Instance = name
	delete(s.loading, name)
	s.replica.Loaded(w.now, rec.Instance, rec)
}

// loaded ends a Load.
func (w *Sim) loaded(s *server, life uint64, name string) {
	if s.Life == life {
		w.input(s, func(*replica.Replica) { w.load(s, name) })
	}
}

// save begins a Save. The disk gets a copy of the Batch, whatever the Replica does meanwhile.
func (w *Sim) save(s *server, b paxos.Batch) {
	if s.running {
		w.failf("server %d began a Save while one runs", s.ID)
		return
	}
	for i := range b.Records {
		if s.loading[b.Records[i].Instance] {
			w.failf("server %d saves %q while it loads it", s.ID, b.Records[i].Instance)
		}
	}
	s.saving.Records = append(s.saving.Records[:0], b.Records...)
	s.saving.Drop = append(s.saving.Drop[:0], b.Drop...)
	s.saving.Server = nil
	if b.Server != nil {
		s.state = *b.Server
		s.saving.Server = &s.state
	}
	s.running = true
	s.saves++
	if w.saveBegan != nil {
		w.saveBegan(s)
	}
	if s.failing == saveHangs {
		s.failing, s.hung = saveWell, true
		return
	}
	w.plan(event{at: w.now + s.saveTime, what: eventSaved, server: s, life: s.Life, n: s.saves})
}

// saved ends a Save.
func (w *Sim) saved(s *server, life, n uint64) {
	if s.Life != life || s.saves != n || !s.running {
		return // the server has crashed since
	}
	if s.failing != saveWell {
		w.saveFailed(s)
		return
	}
	w.commit(s)
	w.input(s, func(r *replica.Replica) { r.Saved(w.now) })
}

// saveFailed makes the running Save fail: the host drops the Replica.
func (w *Sim) saveFailed(s *server) {
	e := Entry{Event: paxos.Event{Kind: SaveFailed, Server: s.ID, Save: s.saves}, Text: "lost"}
	if s.failing == saveFailsAfter {
		e.Text = "durable"
		w.commit(s)
	}
	w.note(e)
	w.down(s)
}

// commit makes the Batch of the running Save durable.
func (w *Sim) commit(s *server) {
	s.running = false
	w.fail(w.oracle.Saved(&s.Server, s.saving))
	if err := s.Disk.Save(s.saving); err != nil {
		w.fail(err)
	}
}
