package paxostest

import (
	"iter"

	"github.com/singledecree/paxos"
)

// A storageSabotage breaks one thing about a storage.
type storageSabotage struct {
	name, rule string
	want       string // part of the message
	wrap       func(s closingStorage) paxos.Storage
	reopen     func(d *savedBatches) // changes a directory before it is opened
	oneDisk    bool                  // all directories are one
	hangs      bool                  // a call does not return
}

// hooks is a storage that does other than the one below it, where a function is set.
type hooks struct {
	closingStorage
	server    func() (paxos.ServerState, error)
	load      func(name string) (paxos.Record, error)
	save      func(b paxos.Batch) error
	undecided func() iter.Seq2[string, error]
	decided   func(after uint64, most int) ([]paxos.Named, error)
}

func (h *hooks) Server() (paxos.ServerState, error) {
	if h.server != nil {
		return h.server()
	}
	return h.closingStorage.Server()
}

func (h *hooks) Load(name string) (paxos.Record, error) {
	if h.load != nil {
		return h.load(name)
	}
	return h.closingStorage.Load(name)
}

func (h *hooks) Save(b paxos.Batch) error {
	if h.save != nil {
		return h.save(b)
	}
	return h.closingStorage.Save(b)
}

func (h *hooks) Undecided() iter.Seq2[string, error] {
	if h.undecided != nil {
		return h.undecided()
	}
	return h.closingStorage.Undecided()
}

func (h *hooks) Decided(after uint64, most int) ([]paxos.Named, error) {
	if h.decided != nil {
		return h.decided(after, most)
	}
	return h.closingStorage.Decided(after, most)
}

// Each of these makes a sabotage of one method.

func onServer(change func(*paxos.ServerState)) func(closingStorage) paxos.Storage {
	return func(s closingStorage) paxos.Storage {
		return &hooks{closingStorage: s, server: func() (paxos.ServerState, error) {
			state, err := s.Server()
			change(&state)
			return state, err
		}}
	}
}

func onLoad(load func(s paxos.Storage, name string) (paxos.Record, error)) func(closingStorage) paxos.Storage {
	return func(s closingStorage) paxos.Storage {
		return &hooks{closingStorage: s, load: func(name string) (paxos.Record, error) { return load(s, name) }}
	}
}

func onRecord(change func(*paxos.Record)) func(closingStorage) paxos.Storage {
	return onLoad(func(s paxos.Storage, name string) (paxos.Record, error) {
		r, err := s.Load(name)
		change(&r)
		return r, err
	})
}

func onSave(save func(s closingStorage, b paxos.Batch) error) func(closingStorage) paxos.Storage {
	return func(s closingStorage) paxos.Storage {
		return &hooks{closingStorage: s, save: func(b paxos.Batch) error { return save(s, b) }}
	}
}

func onUndecided(change func(s paxos.Storage, names []string) []string) func(closingStorage) paxos.Storage {
	return func(s closingStorage) paxos.Storage {
		return &hooks{closingStorage: s, undecided: func() iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				var names []string
				for name, err := range s.Undecided() {
					if err != nil {
						yield("", err)
						return
					}
					names = append(names, name)
				}
				for _, name := range change(s, names) {
					if !yield(name, nil) {
						return
					}
				}
			}
		}}
	}
}

func onDecided(decided func(s paxos.Storage, after uint64, most int) ([]paxos.Named, error)) func(closingStorage) paxos.Storage {
	return func(s closingStorage) paxos.Storage {
		return &hooks{closingStorage: s, decided: func(after uint64, most int) ([]paxos.Named, error) { return decided(s, after, most) }}
	}
}

// afterClose is a storage that answers with the hooks once it is closed.
func afterClose(h hooks) func(closingStorage) paxos.Storage {
	return func(s closingStorage) paxos.Storage { return &closeHooks{closingStorage: s, after: h} }
}

type closeHooks struct {
	closingStorage
	after hooks
	now   *hooks
}

func (h *closeHooks) Close() error {
	err := h.closingStorage.Close()
	h.after.closingStorage = h.closingStorage
	h.now = &h.after
	return err
}

func (h *closeHooks) current() paxos.Storage {
	if h.now != nil {
		return h.now
	}
	return h.closingStorage
}

func (h *closeHooks) Server() (paxos.ServerState, error)     { return h.current().Server() }
func (h *closeHooks) Load(name string) (paxos.Record, error) { return h.current().Load(name) }
func (h *closeHooks) Save(b paxos.Batch) error               { return h.current().Save(b) }
func (h *closeHooks) Undecided() iter.Seq2[string, error]    { return h.current().Undecided() }
func (h *closeHooks) Decided(after uint64, most int) ([]paxos.Named, error) {
	return h.current().Decided(after, most)
}
