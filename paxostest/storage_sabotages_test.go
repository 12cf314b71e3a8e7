package paxostest

import (
	"cmp"
	"errors"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/singledecree/paxos"
)

var errSabotage = errors.New("sabotage")

// sabotages break each rule at least once, most of them as some implementation once did.
var sabotages = slices.Concat(recordSabotages, listSabotages, dropSabotages, forgetSabotages, serverSabotages, configurationSabotages, lifeSabotages, besideSabotages, promptSabotages)

var recordSabotages = []storageSabotage{
	{name: "a name from nowhere is listed", rule: "a new storage holds nothing",
		want: `Undecided lists "ghost", which has no record`,
		wrap: onUndecided(func(_ paxos.Storage, names []string) []string { return append(names, "ghost") })},
	{name: "none has a name", rule: "a new storage holds nothing", want: "want the zero Record",
		wrap: onLoad(func(s paxos.Storage, name string) (paxos.Record, error) {
			r, err := s.Load(name)
			r.Instance = name
			return r, err
		})},
	{name: "round 0 is taken for none", rule: "what was saved is loaded, every field", want: `Load("a vote in round 0") = `,
		wrap: onRecord(func(r *paxos.Record) {
			if r.Acceptor.Accepted.Round == 0 {
				r.Acceptor.Accepted, r.Acceptor.Value = paxos.Ballot{}, ""
			}
		})},
	{name: "a decision's promise is not kept", rule: "what was saved is loaded, every field",
		want: `Load("a decision below the promise") = `,
		wrap: onRecord(func(r *paxos.Record) {
			if r.Chosen {
				r.Acceptor.Promised = r.Acceptor.Accepted
			}
		})},
	{name: "numbers have 63 bits", rule: "what was saved is loaded, every field", want: `Load("the highest numbers") = `,
		wrap: onRecord(func(r *paxos.Record) { r.Acceptor.Promised.Round &= math.MaxInt64 })},
	{name: "a second vote is not stored", rule: "a later record replaces the earlier one of its name", want: `Load("lunch") = `,
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			b.Records = slices.DeleteFunc(slices.Clone(b.Records), func(r paxos.Record) bool {
				old, _ := s.Load(r.Instance)
				return old.Acceptor.Value != "" && !r.Chosen && old.Acceptor.Value != r.Acceptor.Value
			})
			return s.Save(b)
		})},
	{name: "the empty value is taken for none", rule: "the empty value is a value", want: `accepted - ""`,
		wrap: onRecord(func(r *paxos.Record) {
			if r.Acceptor.Value == "" {
				r.Acceptor.Accepted = paxos.Ballot{}
			}
		})},
	{name: "zeros end a name", rule: "names and values are bytes of any kind", want: `Load("`,
		wrap: onLoad(func(s paxos.Storage, name string) (paxos.Record, error) {
			r, err := s.Load(name)
			if r.Instance == "" && strings.HasSuffix(name, "\x00") {
				r, err = s.Load(strings.TrimRight(name, "\x00"))
			}
			return r, err
		})},
	{name: "values are text", rule: "names and values are bytes of any kind", want: `Load("`,
		wrap: onRecord(func(r *paxos.Record) {
			r.Acceptor.Value = paxos.Value(strings.ToValidUTF8(string(r.Acceptor.Value), "?"))
		})},
	{name: "a value has less than 1 MiB", rule: "a value of 1 MiB is saved", want: "1048576 bytes",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			for _, r := range b.Records {
				if len(r.Acceptor.Value) >= 1<<20 {
					return errSabotage
				}
			}
			return s.Save(b)
		})},
	{name: "a batch has less than 2 MiB", rule: "a batch of 4 MiB is saved", want: "Save of 4 records, the state {",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			size := 0
			for _, r := range b.Records {
				size += len(r.Acceptor.Value)
			}
			if size > 2<<20 {
				return errSabotage
			}
			return s.Save(b)
		})},
	{name: "half a batch is saved", rule: "a batch is saved whole", want: `Undecided does not list "n`,
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			b.Records = b.Records[:(len(b.Records)+1)/2]
			return s.Save(b)
		})},
	{name: "records are saved before the state", rule: "a batch is saved whole", want: `after an error, Load(`,
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			if b.Server == nil {
				return s.Save(b)
			}
			old, err := s.Server()
			if err != nil {
				return err
			}
			old.Last = max(old.Last, b.Server.Last) // the Indexes need it
			if err := s.Save(paxos.Batch{Server: &old, Drop: b.Drop, Records: b.Records}); err != nil {
				return err
			}
			return s.Save(paxos.Batch{Server: b.Server})
		})},
	{name: "half a batch is recovered", rule: "a batch is saved whole", want: `Undecided does not list "n`,
		reopen: func(d *savedBatches) {
			if n := len(d.batches); n > 0 {
				last := &d.batches[n-1]
				last.Records = last.Records[:(len(last.Records)+1)/2]
			}
		}},
	{name: "none is an error", rule: "none is not an error",
		want: `of a name that has no record: sabotage: want the zero Record and no error`,
		wrap: onLoad(func(s paxos.Storage, name string) (paxos.Record, error) {
			r, err := s.Load(name)
			if r == (paxos.Record{}) {
				err = errSabotage
			}
			return r, err
		})},
	{name: "the end of the decisions is an error", rule: "none is not an error", want: "Decided(7, 1): EOF",
		wrap: onDecided(func(s paxos.Storage, after uint64, most int) ([]paxos.Named, error) {
			named, err := s.Decided(after, most)
			if after > 0 && len(named) == 0 {
				err = io.EOF
			}
			return named, err
		})},
}

var listSabotages = []storageSabotage{
	{name: "a name is listed twice", rule: "Undecided lists each undecided name once", want: `twice`,
		wrap: onUndecided(func(_ paxos.Storage, names []string) []string {
			return append(names, names[min(len(names), 1):min(len(names), 2)]...)
		})},
	{name: "the last name is not listed", rule: "Undecided lists each undecided name once", want: "Undecided does not list",
		wrap: onUndecided(func(_ paxos.Storage, names []string) []string { return names[:max(len(names)-1, 0)] })},
	{name: "decisions come by name", rule: "Decided lists in the order of Index", want: "Decided(0, 1000): its ",
		wrap: onDecided(func(s paxos.Storage, after uint64, most int) ([]paxos.Named, error) {
			named, err := s.Decided(after, most)
			slices.SortFunc(named, func(a, b paxos.Named) int { return cmp.Compare(a.Instance, b.Instance) })
			return named, err
		})},
	{name: "a page begins one too early", rule: "Decided returns the page after an Index", want: "Decided(2, 1): its 1st is ",
		wrap: onDecided(func(s paxos.Storage, after uint64, most int) ([]paxos.Named, error) {
			return s.Decided(max(after, 1)-1, most)
		})},
	{name: "a page is one too long", rule: "Decided returns the page after an Index", want: "Decided(0, 1) returns 2, want 1",
		wrap: onDecided(func(s paxos.Storage, after uint64, most int) ([]paxos.Named, error) {
			return s.Decided(after, max(most, min(most, math.MaxInt-1)+min(most, 1)))
		})},
	{name: "a page is one too short", rule: "Decided returns the page after an Index", want: "returns 1, want 2",
		wrap: onDecided(func(s paxos.Storage, after uint64, most int) ([]paxos.Named, error) {
			return s.Decided(after, max(most-1, min(most, 1)))
		})},
	{name: "0 stands for all", rule: "Decided returns the page after an Index", want: "Decided(0, 0) returns 100, want 0",
		wrap: onDecided(func(s paxos.Storage, after uint64, most int) ([]paxos.Named, error) {
			if most == 0 {
				most = math.MaxInt
			}
			return s.Decided(after, most)
		})},
	{name: "more than anybody asks for is an overflow", rule: "Decided returns the page after an Index", want: "returns 0, want 100",
		wrap: onDecided(func(s paxos.Storage, after uint64, most int) ([]paxos.Named, error) {
			return s.Decided(after, max(most+1, 1)-1)
		})},
	{name: "an Index has a sign", rule: "an Index may be any number, with gaps", want: "want {",
		wrap: onDecided(func(s paxos.Storage, after uint64, most int) ([]paxos.Named, error) {
			named, err := s.Decided(after, math.MaxInt)
			slices.SortFunc(named, func(a, b paxos.Named) int { return cmp.Compare(int64(a.Index), int64(b.Index)) })
			return named[:min(len(named), most)], err
		})},
	{name: "an Index has 32 bits", rule: "an Index may be any number, with gaps", want: "index ",
		wrap: onDecided(func(s paxos.Storage, after uint64, most int) ([]paxos.Named, error) {
			named, err := s.Decided(after, most)
			for i := range named {
				named[i].Index &= math.MaxUint32
			}
			return named, err
		})},
	{name: "a gap ends a page", rule: "an Index may be any number, with gaps", want: "is missing",
		wrap: onDecided(func(s paxos.Storage, after uint64, most int) ([]paxos.Named, error) {
			named, err := s.Decided(after, most)
			for i := range named {
				if i > 0 && named[i].Index != named[i-1].Index+1 {
					return named[:i], err
				}
			}
			return named, err
		})},
	{name: "what is decided stays listed as undecided", rule: "a decision moves its name from Undecided to Decided",
		want: `Undecided lists "n0", which is decided`,
		wrap: onUndecided(func(s paxos.Storage, names []string) []string {
			named, _ := s.Decided(0, math.MaxInt)
			for _, n := range named {
				names = append(names, n.Instance)
			}
			return names
		})},
	{name: "what is beyond a table's size is lost", rule: "100,000 instances are kept", want: "returns 5000, want 9000",
		wrap: onDecided(func(s paxos.Storage, after uint64, most int) ([]paxos.Named, error) {
			return s.Decided(after, min(most, 5000))
		}),
	},
}

var dropSabotages = []storageSabotage{
	{name: "To is dropped, too", rule: "Drop removes the names From <= name < To", want: `Load("b") = the zero Record, want {"b"`,
		wrap: onDrop(func(r *paxos.NameRange) { r.To += "\x00" })},
	{name: "From is not dropped", rule: "Drop removes the names From <= name < To", want: `Load("a") = {"a"`,
		wrap: onDrop(func(r *paxos.NameRange) { r.From += "\x00" })},
	{name: "an empty To is the end", rule: "Drop removes the names From <= name < To", want: "= the zero Record, want",
		wrap: onDrop(func(r *paxos.NameRange) {
			if r.To == "" {
				r.To = strings.Repeat("\xff", 256)
			}
		})},
	{name: "what was dropped is still listed", rule: "Drop removes the names From <= name < To",
		want: `its 1st is {"a", index 2}, want {"ba", index 6}`,
		wrap: func(s closingStorage) paxos.Storage {
			all := map[paxos.Named]bool{}
			return &hooks{closingStorage: s, decided: func(after uint64, most int) ([]paxos.Named, error) {
				named, err := s.Decided(after, most)
				for _, n := range named {
					all[n] = true
				}
				for n := range all {
					if !slices.Contains(named, n) && n.Index > after && len(named) < most {
						named = append(named, n)
					}
				}
				slices.SortFunc(named, func(a, b paxos.Named) int { return cmp.Compare(a.Index, b.Index) })
				return named, err
			}, save: func(b paxos.Batch) error {
				named, _ := s.Decided(0, math.MaxInt)
				for _, n := range named {
					all[n] = true
				}
				return s.Save(b)
			}}
		}},
	{name: "Drop comes last", rule: "Drop comes before the Records of its batch", want: `Undecided does not list "`,
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			if err := s.Save(paxos.Batch{Server: b.Server, Drop: b.Drop, Records: b.Records}); err != nil {
				return err
			}
			return s.Save(paxos.Batch{Drop: b.Drop})
		})},
	{name: "what was dropped stays away", rule: "a dropped name can come back", want: `Load("a") = the zero Record, want {"a"`,
		wrap: func(s closingStorage) paxos.Storage {
			var gone []paxos.NameRange
			return &hooks{closingStorage: s, load: func(name string) (paxos.Record, error) {
				if dropped(gone, name) {
					return paxos.Record{}, nil
				}
				return s.Load(name)
			}, save: func(b paxos.Batch) error {
				gone = append(gone, b.Drop...)
				return s.Save(b)
			}}
		}},
	{name: "a drop is forgotten", rule: "a dropped name can come back", want: `want the zero Record`,
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			b.Drop = nil
			return s.Save(b)
		})},
}

func onDrop(change func(*paxos.NameRange)) func(closingStorage) paxos.Storage {
	return onSave(func(s closingStorage, b paxos.Batch) error {
		b.Drop = slices.Clone(b.Drop)
		for i := range b.Drop {
			change(&b.Drop[i])
		}
		return s.Save(b)
	})
}

var serverSabotages = []storageSabotage{
	{name: "Pulled is not kept", rule: "every field of the server's state survives",
		want: `pulled "", peers "", forgotten 0}, want {`, wrap: onServer(func(s *paxos.ServerState) { s.Pulled = "" })},
	{name: "Peers is not kept", rule: "every field of the server's state survives",
		want: `peers "", forgotten 0}, want {`, wrap: onServer(func(s *paxos.ServerState) { s.Peers = "" })},
	{name: "Forgotten is not kept", rule: "every field of the server's state survives",
		want: `forgotten 0}, want {`, wrap: onServer(func(s *paxos.ServerState) { s.Forgotten = 0 })},
	{name: "Members can't change", rule: "every field of the server's state survives", want: `members "1,2,3 majority(3)"`,
		wrap: onServer(func(s *paxos.ServerState) {
			if s.Members != "" {
				s.Members = "1,2,3 majority(3)"
			}
		})},
	{name: "a batch without Server has none", rule: "a batch without Server leaves the state as it was", want: `server 0`,
		wrap: func(s closingStorage) paxos.Storage {
			none := false
			return &hooks{closingStorage: s, save: func(b paxos.Batch) error { none = b.Server == nil; return s.Save(b) },
				server: func() (paxos.ServerState, error) {
					state, err := s.Server()
					if none {
						state = paxos.ServerState{}
					}
					return state, err
				}}
		}},
	{name: "Boot may go down", rule: "the server's state never goes down", want: "want an error, as Boot goes down",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			return s.Save(rising(s, b, func(old, b *paxos.ServerState) { b.Boot = max(b.Boot, old.Boot) }))
		})},
	{name: "Rounds may go down", rule: "the server's state never goes down", want: "want an error, as Rounds goes down",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			return s.Save(rising(s, b, func(old, b *paxos.ServerState) { b.Rounds = max(b.Rounds, old.Rounds) }))
		})},
	{name: "Last may go down", rule: "the server's state never goes down", want: "want an error, as Last goes down",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			return s.Save(rising(s, b, func(old, b *paxos.ServerState) { b.Last = max(b.Last, old.Last) }))
		})},
	{name: "Floor may go down", rule: "the server's state never goes down", want: "want an error, as Floor goes down",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			return s.Save(rising(s, b, func(old, b *paxos.ServerState) {
				if b.Floor.Less(old.Floor) {
					b.Floor = old.Floor
				}
			}))
		})},
	{name: "ID may change", rule: "the server's state never goes down", want: "want an error, as ID changes",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			return s.Save(rising(s, b, func(old, b *paxos.ServerState) { b.ID = cmp.Or(old.ID, b.ID) }))
		})},
	{name: "Store may change", rule: "the server's state never goes down", want: "want an error, as Store changes",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			return s.Save(rising(s, b, func(old, b *paxos.ServerState) { b.Store = cmp.Or(old.Store, b.Store) }))
		})},
	{name: "Cluster may change", rule: "the server's state never goes down", want: "want an error, as Cluster changes",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			return s.Save(rising(s, b, func(old, b *paxos.ServerState) { b.Cluster = cmp.Or(old.Cluster, b.Cluster) }))
		})},
	{name: "Peers may change", rule: "the server's state never goes down", want: "want an error, as a Store in Peers changes",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			return s.Save(rising(s, b, func(old, b *paxos.ServerState) {
				if len(b.Peers) == len(old.Peers) {
					b.Peers = old.Peers
				}
			}))
		})},
	{name: "Peers may be forgotten", rule: "the server's state never goes down", want: "want an error, as a Store in Peers is gone",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			return s.Save(rising(s, b, func(old, b *paxos.ServerState) {
				if len(b.Peers) < len(old.Peers) {
					b.Peers = old.Peers
				}
			}))
		})},
	{name: "the zero state changes nothing", rule: "the server's state never goes down",
		want: "want an error, as the state is gone",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			if b.Server != nil && *b.Server == (paxos.ServerState{}) {
				b.Server = nil
			}
			return s.Save(b)
		})},
	{name: "an Index may be above Last", rule: "no Index is above Last", want: "want an error, as the Index 9 is above Last, 8",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error { return s.Save(counting(s, b)) })},
	{name: "an Index may be above Last with a state", rule: "no Index is above Last", want: "want an error, as the Index 9 is above Last, 8",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			if b.Server != nil {
				b = counting(s, b)
			}
			return s.Save(b)
		})},
	{name: "an Index may be above Last without a state", rule: "no Index is above Last", want: "want an error, as the Index 9 is above Last, 8",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			if b.Server == nil {
				b = counting(s, b)
			}
			return s.Save(b)
		})},
	{name: "opening it forgets Last", rule: "no Index is above Last", want: "want an error, as the Index 9 is above Last, 8",
		wrap: func(s closingStorage) paxos.Storage {
			known := false
			return &hooks{closingStorage: s, save: func(b paxos.Batch) error {
				if known = known || b.Server != nil; !known {
					b = counting(s, b)
				}
				return s.Save(b)
			}}
		}},
	{name: "the highest Index is none", rule: "no Index is above Last", want: "want an error, as the Index 18446744073709551615 is above Last, 8",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			if slices.ContainsFunc(b.Records, func(r paxos.Record) bool { return r.Index == math.MaxUint64 }) {
				b = counting(s, b)
			}
			return s.Save(b)
		})},
	{name: "no Index may be Last", rule: "no Index is above Last", want: ", index 8}: sabotage",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			if b.Server == nil && slices.ContainsFunc(b.Records, func(r paxos.Record) bool { return r.Index == 8 }) {
				return errSabotage
			}
			return s.Save(b)
		})},
	{name: "it lives on after an Index above Last", rule: "no Index is above Last", want: "had an Index above Last: the storage is dead",
		wrap: onSave(func(s closingStorage, b paxos.Batch) error {
			if state, err := s.Server(); err == nil && counting(s, b).Server != b.Server && state.Last > 0 {
				return errSabotage
			}
			return s.Save(b)
		})},
	{name: "it looks new until a server has started", rule: "a storage is formatted once",
		want: "Format of a formatted storage: nil: want an error",
		wrap: func(s closingStorage) paxos.Storage {
			return &hooks{closingStorage: s, server: func() (paxos.ServerState, error) {
				state, err := s.Server()
				if state.Boot == 0 {
					state = paxos.ServerState{}
				}
				return state, err
			}, save: func(b paxos.Batch) error {
				return s.Save(rising(s, b, func(old, b *paxos.ServerState) { b.ID, b.Store = cmp.Or(old.ID, b.ID), cmp.Or(old.Store, b.Store) }))
			}}
		}},
	{name: "its own format leaves something out", rule: "a storage is formatted once",
		want: "a formatted storage has an ID, a Cluster, a Store and Members",
		wrap: onServer(func(s *paxos.ServerState) { s.Members = "" })},
}

// counting returns b with a Last that no Index is above, so that s does not refuse it for that.
func counting(s paxos.Storage, b paxos.Batch) paxos.Batch {
	state, err := s.Server()
	if err != nil {
		return b
	}
	return raised(state, b)
}

// rising returns b with the state changed so that s does not refuse it.
func rising(s paxos.Storage, b paxos.Batch, change func(old, b *paxos.ServerState)) paxos.Batch {
	old, err := s.Server()
	if b.Server != nil && err == nil {
		state := *b.Server
		change(&old, &state)
		b.Server = &state
	}
	return b
}
