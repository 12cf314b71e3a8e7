package paxostest

import (
	"iter"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/singledecree/paxos"
)

const staysRule = "the server's configuration is never taken back"

var configurationSabotages = []storageSabotage{
	{name: "Configuration is not kept", rule: "every field of the server's state survives", want: `members "1,2,3 majority(3)", boot`,
		wrap: onServer(func(s *paxos.ServerState) { s.Configuration, s.Before, s.Import = "", "", "" })},
	{name: "Before is not kept", rule: "every field of the server's state survives", want: `before "", import ""}, want {`,
		wrap: onServer(func(s *paxos.ServerState) { s.Before = "" })},
	{name: "Import is not kept", rule: "every field of the server's state survives", want: `import ""}, want {`,
		wrap: onServer(func(s *paxos.ServerState) { s.Import = "" })},
	{name: "Floor is not kept", rule: "every field of the server's state survives", want: `, want {`,
		wrap: onServer(func(s *paxos.ServerState) { s.Floor = paxos.Ballot{} })},
	{name: "Configuration may go", rule: staysRule, want: "want an error, as Configuration is gone",
		wrap: keeping(func(old, b *paxos.ServerState) bool { return b.Configuration == "" })},
	{name: "Configuration may go down", rule: staysRule, want: "want an error, as the number of Configuration goes down",
		wrap: keeping(func(old, b *paxos.ServerState) bool { return strings.Contains(b.Configuration, "\nnumber 4\n") })},
	{name: "Configuration may change", rule: staysRule, want: "want an error, as the text of Configuration changes",
		wrap: keeping(func(old, b *paxos.ServerState) bool { return strings.Contains(b.Configuration, "\naddress ") })},
	{name: "Configuration may be any text", rule: staysRule, want: "want an error, as Configuration is no text of one",
		wrap: keeping(func(old, b *paxos.ServerState) bool { return strings.HasSuffix(b.Configuration, " ") })},
	{name: "Members may be any", rule: staysRule, want: "want an error, as Members is not of Configuration",
		wrap: keeping(func(old, b *paxos.ServerState) bool {
			return b.Configuration == old.Configuration && b.Members != old.Members
		})},
	{name: "Before may come back", rule: staysRule, want: "want an error, as Before comes back",
		wrap: keeping(func(old, b *paxos.ServerState) bool {
			return b.Configuration == old.Configuration && b.Before != old.Before
		})},
	{name: "Import may go back", rule: staysRule, want: "want an error, as Import is complete no more",
		wrap: keeping(func(old, b *paxos.ServerState) bool {
			return b.Configuration == old.Configuration && b.Import != old.Import
		})},
}

// keeping wraps a storage that has already a Configuration. If changed says so, Save leaves it as it is.
func keeping(changed func(old, b *paxos.ServerState) bool) func(closingStorage) paxos.Storage {
	return onSave(func(s closingStorage, b paxos.Batch) error {
		return s.Save(rising(s, b, func(old, b *paxos.ServerState) {
			if old.Configuration != "" && changed(old, b) {
				b.Members, b.Configuration, b.Before, b.Import = old.Members, old.Configuration, old.Before, old.Import
			}
		}))
	})
}

var lifeSabotages = []storageSabotage{
	{name: "the last batch is lost by Close", rule: "what was saved is there when it is opened again", want: "boot 0",
		reopen: func(d *savedBatches) {
			if d.closed && len(d.batches) > 1 {
				d.batches = d.batches[:len(d.batches)-1]
			}
		}},
	{name: "opening it loses the state's numbers", rule: "what was saved is there when it is opened again", want: "boot 0",
		reopen: func(d *savedBatches) {
			for i := range d.batches {
				d.batches[i].Server = nil
				if i == 0 {
					d.batches[i].Server = &paxos.ServerState{Cluster: "paxostest"}
				}
			}
		}},
	{name: "Close writes what Save should", rule: "what was saved is there after a crash without Close", want: "rounds 0",
		reopen: func(d *savedBatches) {
			if !d.closed && len(d.batches) > 1 {
				d.batches = d.batches[:1]
			}
		}},
	{name: "a copy leads to the original", rule: "what was saved is there after a crash without Close",
		want: "which has no record", oneDisk: true},
	{name: "a drop is not recovered", rule: "any sequence of saves, crashes and restarts is kept", want: `!", which has no record`,
		reopen: func(d *savedBatches) {
			for i := range d.batches {
				for _, r := range d.batches[i].Drop { // a record of before has come back
					d.batches = slices.Insert(d.batches, i, paxos.Batch{Records: []paxos.Record{promisedRecord(r.From+"!", 1)}})
					return
				}
			}
		}},
	{name: "a Save that failed is tried again", rule: "after a Save that failed every later one fails",
		want: "the storage is dead",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			err := s.Save(b)
			if err != nil && !s.disk.closed {
				s.Storage = s.disk.storage().Storage
			}
			return err
		})},
	{name: "after an error the state is none", rule: "after a Save that failed every later one fails",
		want: "after an error, Server = ",
		wrap: afterError(func(h *hooks) {
			h.server = func() (paxos.ServerState, error) { return paxos.ServerState{}, nil }
		})},
	{name: "Server after Close", rule: "after Close every call is an error", want: "after Close, Server = ",
		wrap: afterClose(hooks{server: func() (paxos.ServerState, error) { return paxos.ServerState{}, nil }})},
	{name: "Load after Close", rule: "after Close every call is an error", want: `after Close, Load("x") = the zero Record`,
		wrap: afterClose(hooks{load: func(string) (paxos.Record, error) { return paxos.Record{}, nil }})},
	{name: "Load of an unknown name after Close", rule: "after Close every call is an error",
		want: `after Close, Load("unknown") = the zero Record`,
		wrap: afterClose(hooks{load: func(name string) (paxos.Record, error) {
			if name == "unknown" {
				return paxos.Record{}, nil
			}
			return paxos.Record{}, errDiskClosed
		}})},
	{name: "Save after Close", rule: "after Close every call is an error", want: "the storage is closed",
		wrap: afterClose(hooks{save: func(b paxos.Batch) error {
			if b.Server == nil && len(b.Records) == 0 { // an empty batch is easily forgotten
				return nil
			}
			return errDiskClosed
		}})},
	{name: "Undecided after Close", rule: "after Close every call is an error",
		want: "after Close, Undecided ends without an error",
		wrap: afterClose(hooks{undecided: func() iter.Seq2[string, error] { return func(func(string, error) bool) {} }})},
	{name: "Decided after Close", rule: "after Close every call is an error", want: "after Close, Decided(0, 10) = []",
		wrap: afterClose(hooks{decided: func(uint64, int) ([]paxos.Named, error) { return nil, nil }})},
	{name: "a list that was asked for before Close", rule: "after Close every call is an error", want: "which was called before",
		wrap: func(s closingStorage) paxos.Storage {
			return &hooks{closingStorage: s, undecided: func() iter.Seq2[string, error] {
				if s.disk.closed {
					return s.Undecided()
				}
				return func(yield func(string, error) bool) {
					if !s.disk.closed {
						s.Undecided()(yield)
					}
				}
			}}
		}},
	{name: "after an error a record is none", rule: "an error is never none", want: `= the zero Record, want {"`,
		wrap: afterError(func(h *hooks) {
			h.load = func(string) (paxos.Record, error) { return paxos.Record{}, nil }
		})},
	{name: "after an error nothing is decided", rule: "an error is never none",
		want: "after an error, Decided(0, 1000) returns 0, want 1",
		wrap: afterError(func(h *hooks) {
			h.decided = func(uint64, int) ([]paxos.Named, error) { return nil, nil }
		})},
	{name: "after an error nothing is undecided", rule: "an error is never none",
		want: `after an error, Undecided lists neither "x" nor an error`,
		wrap: afterError(func(h *hooks) {
			h.undecided = func() iter.Seq2[string, error] { return func(func(string, error) bool) {} }
		})},
	{name: "after Close a record is none", rule: "an error is never none", want: `= the zero Record, want {"`,
		wrap: afterClose(hooks{load: func(string) (paxos.Record, error) { return paxos.Record{}, nil }})},
}

// afterError is a storage that change breaks once a Save has failed.
func afterError(change func(h *hooks)) func(closingStorage) paxos.Storage {
	return func(s closingStorage) paxos.Storage {
		h := &hooks{closingStorage: s}
		h.save = func(b paxos.Batch) error {
			err := s.Save(b)
			if err != nil {
				change(h)
			}
			return err
		}
		return h
	}
}

var besideSabotages = []storageSabotage{
	{name: "a list holds a lock", rule: "a Save runs while a reader lists",
		want: "Save in a loop over Undecided does not return", hangs: true,
		wrap: func(s closingStorage) paxos.Storage {
			var mu sync.Mutex
			return &hooks{closingStorage: s, save: func(b paxos.Batch) error {
				if mu.TryLock() {
					defer mu.Unlock()
					return s.Save(b)
				}
				mu.Lock() // until the loop has ended
				defer mu.Unlock()
				return errSabotage
			}, undecided: func() iter.Seq2[string, error] {
				return func(yield func(string, error) bool) {
					mu.Lock()
					defer mu.Unlock()
					s.Undecided()(yield)
				}
			}}
		}},
	{name: "a list goes by position", rule: "a Save runs while a reader lists", want: "which was undecided all the time",
		wrap: func(s closingStorage) paxos.Storage {
			names := func() (names []string) {
				for name := range s.Undecided() {
					names = append(names, name)
				}
				return names
			}
			return &hooks{closingStorage: s, undecided: func() iter.Seq2[string, error] {
				return func(yield func(string, error) bool) {
					for i := 0; i < len(names()); i++ {
						if !yield(names()[i], nil) {
							return
						}
					}
				}
			}}
		}},
	{name: "a batch is shown record by record", rule: "readers beside a Save see what was saved", want: "one was shown too early",
		wrap: func(s closingStorage) paxos.Storage {
			read := make(chan struct{}, 1)
			return &hooks{closingStorage: s, decided: func(after uint64, most int) ([]paxos.Named, error) {
				named, err := s.Decided(after, most)
				if len(named) > 0 {
					select {
					case read <- struct{}{}:
					default:
					}
				}
				return named, err
			}, save: func(b paxos.Batch) error {
				for i, r := range b.Records {
					if err := s.Save(paxos.Batch{Server: b.Server, Records: []paxos.Record{r}}); err != nil {
						return err
					}
					if i == 1 && r.Index == 3 {
						<-read // the first decision has been seen, and so the third was before the first
					}
				}
				return s.Save(paxos.Batch{Server: b.Server})
			}}
		}},
	{name: "a reader is refused while a Save runs", rule: "calls run beside each other", want: "beside Saves: Load(",
		wrap: func(s closingStorage) paxos.Storage {
			var mu sync.Mutex
			saving, tried := false, make(chan struct{})
			return &hooks{closingStorage: s, load: func(name string) (paxos.Record, error) {
				mu.Lock()
				defer mu.Unlock()
				if saving {
					select {
					case <-tried:
					default:
						close(tried)
					}
					return paxos.Record{}, errSabotage
				}
				return s.Load(name)
			}, save: func(b paxos.Batch) error {
				if len(b.Drop) == 0 { // nobody reads yet
					return s.Save(b)
				}
				mu.Lock()
				saving = true
				mu.Unlock()
				<-tried
				return s.Save(b)
			}}
		}},
	{name: "a list is short beside Saves", rule: "calls run beside each other", want: "beside Saves: Undecided lists ",
		wrap: onUndecided(func(_ paxos.Storage, names []string) []string { return names[:min(len(names), 50)] })},
	{name: "the slices of a batch are kept", rule: "slices stay the caller's", want: "Undecided does not list ",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			err := s.Storage.Save(b)
			if err == nil {
				s.disk.batches = append(s.disk.batches, b)
			}
			return err
		}),
		reopen: func(d *savedBatches) { // an overwritten record would contradict itself
			for i := range d.batches {
				d.batches[i].Records = slices.DeleteFunc(slices.Clone(d.batches[i].Records), func(r paxos.Record) bool { return r.Index == 99 })
			}
		}},
	{name: "the state is kept by its pointer", rule: "slices stay the caller's", want: `pulled "overwritten by the caller"`,
		wrap: func(s closingStorage) paxos.Storage {
			var kept *paxos.ServerState
			return &hooks{closingStorage: s, save: func(b paxos.Batch) error { kept = b.Server; return s.Save(b) },
				server: func() (paxos.ServerState, error) {
					if kept != nil {
						return *kept, nil
					}
					return s.Server()
				}}
		}},
	{name: "a page is given twice", rule: "slices stay the caller's", want: `{"overwritten by the caller", index 99}`,
		wrap: func(s closingStorage) paxos.Storage {
			var page []paxos.Named
			return &hooks{closingStorage: s, save: func(b paxos.Batch) error { page = nil; return s.Save(b) },
				decided: func(after uint64, most int) ([]paxos.Named, error) {
					if after == 0 && most == 100 && page != nil {
						return page, nil
					}
					named, err := s.Decided(after, most)
					page = named
					return named, err
				}}
		}},
}

var forgetSabotages = []storageSabotage{
	{name: "a part of a large range is dropped", rule: "a dropped range is gone at once, however many names it has", want: `want the zero Record`,
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			b.Drop = slices.Clone(b.Drop)
			for i, r := range b.Drop {
				var names []string
				all, _ := s.Decided(0, math.MaxInt)
				for _, n := range all {
					if r.Has(n.Instance) {
						names = append(names, n.Instance)
					}
				}
				if slices.Sort(names); len(names) > 4096 {
					b.Drop[i].To = names[4096]
				}
			}
			return s.Save(b)
		})},
	{name: "a decision is never forgotten", rule: "a forgotten record takes the place of any other", want: `{"b", index 1}, want {"b", index 3}`,
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			b.Records = slices.DeleteFunc(slices.Clone(b.Records), func(r paxos.Record) bool {
				old, _ := s.Load(r.Instance)
				return old.Chosen && r.Acceptor.Promised.IsForgotten()
			})
			return s.Save(b)
		})},
	{name: "the first record of a range stays", rule: "the record of a forgotten range and its Drop are one Save", want: `{"$forgotten/0", index 30}, want {"$forgotten/0", index 31}`,
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			b.Records = slices.DeleteFunc(slices.Clone(b.Records), func(r paxos.Record) bool {
				old, _ := s.Load(r.Instance)
				return old.Chosen && old.Acceptor.Accepted.IsForgotten()
			})
			return s.Save(b)
		})},
}
