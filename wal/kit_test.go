package wal

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk/disktest"
)

var members = paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1, 2, 3}}

const dir = "data"

func segmentPath(dir string, number uint32) string { return filepath.Join(dir, segmentName(number)) }

func hintPath(segment string) string { return hintName(segment) }

// small are options with which a few Saves fill segments, and everything happens in the goroutine of the test, in a certain
// order. A seal is written when the test says so.
func small(fs *disktest.FS) Options {
	return Options{fs: fs, least: 4 << 10, SegmentSize: 32 << 10, hurry: -1, eager: true, inline: true, sealEvery: 3, reserved: 300}
}

// created returns a file system with the storage of server 1 in it, never opened.
func created(t testing.TB) *disktest.FS {
	t.Helper()
	fs := disktest.New()
	require.NoError(t, create(fs, dir, 1, members))
	return fs
}

func openIn(t testing.TB, fs *disktest.FS) *Log {
	t.Helper()
	l, err := Open(dir, small(fs))
	require.NoError(t, err)
	return l
}

// holdSweeps makes l sweep nothing by itself, as for a while under load.
func (l *Log) holdSweeps() {
	l.resting.Store(false)
	l.swept = time.Now().Add(time.Hour)
}

// sealNow seals the log, as after a rest.
func (l *Log) sealNow(t testing.TB) {
	t.Helper()
	l.writing.Lock()
	defer l.writing.Unlock()
	require.NoError(t, l.seal())
}

func ballot(round uint64) paxos.Ballot { return paxos.Ballot{Round: round, Server: 1} }

func promised(name string, round uint64) paxos.Record {
	return paxos.Record{Instance: name, Acceptor: paxos.Acceptor{Promised: ballot(round)}}
}

func voted(name string, round uint64, v string) paxos.Record {
	return paxos.Record{Instance: name, Acceptor: paxos.Acceptor{Promised: ballot(round), Accepted: ballot(round), Value: paxos.Value(v)}}
}

func decided(name string, index uint64, v string) paxos.Record {
	r := voted(name, 1, v)
	r.Chosen, r.Index = true, index
	return r
}

// chosen returns the decision for the value that was voted for, in the ballot of the vote.
func chosen(r paxos.Record, index uint64) paxos.Record {
	r.Chosen, r.Index = true, index
	return r
}

// counted returns b with a state that says that no Index is above its Last. It is raised once, and by a lot.
func counted(l *Log, b paxos.Batch) paxos.Batch {
	state, top := l.state, uint64(0)
	if b.Server != nil {
		state = *b.Server
	}
	for _, r := range b.Records {
		top = max(top, r.Index)
	}
	if top > state.Last {
		state.Last = max(top, top+1<<20)
		b.Server = &state
	}
	return b
}

func batchOf(records ...paxos.Record) paxos.Batch { return paxos.Batch{Records: records} }

// A model is what a log should hold.
type model struct {
	state   paxos.ServerState
	records map[string]paxos.Record
}

func newModel() *model { return &model{records: map[string]paxos.Record{}} }

func (m *model) clone() *model {
	n := &model{state: m.state, records: make(map[string]paxos.Record, len(m.records))}
	for name, r := range m.records {
		n.records[name] = r
	}
	return n
}

// apply does what a Save does.
func (m *model) apply(b paxos.Batch) {
	if b.Server != nil {
		m.state = *b.Server
	}
	for _, d := range b.Drop {
		for name := range m.records {
			if d.From <= name && name < d.To {
				delete(m.records, name)
			}
		}
	}
	for _, r := range b.Records {
		m.records[r.Instance] = r
	}
}

// differs says how the storage differs from m; nil: it does not.
func (m *model) differs(s paxos.Storage) error {
	state, err := s.Server()
	if err != nil {
		return err
	}
	if state != m.state {
		return fmt.Errorf("state %+v, want %+v", state, m.state)
	}
	for name, want := range m.records {
		got, err := s.Load(name)
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("record %+v, want %+v", got, want)
		}
	}
	return m.lists(s)
}

// lists says how the lists of the storage differ from m; nil: they do not.
func (m *model) lists(s paxos.Storage) error {
	open, all := 0, 0
	for name, err := range s.Undecided() {
		if err != nil {
			return err
		}
		if r, ok := m.records[name]; !ok || r.Chosen {
			return fmt.Errorf("%q is listed as undecided", name)
		}
		open++
	}
	named, err := s.Decided(0, 1<<30)
	if err != nil {
		return err
	}
	last := uint64(0)
	for _, n := range named {
		if r, ok := m.records[n.Instance]; !ok || !r.Chosen || r.Index != n.Index || n.Index <= last {
			return fmt.Errorf("%v is listed as decided, after %d; want %+v", n, last, r)
		}
		last = n.Index
	}
	if all = open + len(named); all != len(m.records) {
		return fmt.Errorf("%d records are listed, want %d", all, len(m.records))
	}
	return nil
}
