package paxostest

import (
	"fmt"
	"iter"
	"slices"
	"sort"

	"github.com/singledecree/paxos"
)

// A disk keeps saved data. It is a paxos.Storage, so that Format and others can use it.
type disk struct {
	state   paxos.ServerState
	records map[string]paxos.Record
	decided []paxos.Named // by Index
}

func (d *disk) Server() (paxos.ServerState, error) { return d.state, nil }

func (d *disk) Load(instance string) (paxos.Record, error) { return d.records[instance], nil }

func (d *disk) Save(b paxos.Batch) error {
	if err := b.Check(d.state); err != nil {
		return err
	}
	if b.Server != nil {
		d.state = *b.Server
	}
	if len(b.Drop) > 0 {
		return fmt.Errorf("the disk of a Sim can't drop records")
	}
	for _, rec := range b.Records {
		if rec.Chosen && !d.records[rec.Instance].Chosen {
			if n := len(d.decided); n > 0 && d.decided[n-1].Index >= rec.Index {
				return fmt.Errorf("Index %d of %q after %d", rec.Index, rec.Instance, d.decided[n-1].Index)
			}
			d.decided = append(d.decided, paxos.Named{Instance: rec.Instance, Index: rec.Index})
		}
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

// Decided lists what was decided, by Index: indexes is in order, since a Replica gives Indexes in order.
func (d *disk) Decided(after uint64, most int) (found []paxos.Named, err error) {
	from := sort.Search(len(d.decided), func(i int) bool { return d.decided[i].Index > after })
	return d.decided[from:min(from+most, len(d.decided))], nil
}
