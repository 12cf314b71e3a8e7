package oracle

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/singledecree/paxos"
)

// A Disk is the stable storage of a server: all that a crash leaves. It is a [paxos.Storage], so that [paxos.Format] takes it.
type Disk struct {
	State   paxos.ServerState
	Records map[string]paxos.Record // by name

	decided []paxos.Named              // by Index
	ranges  map[string]paxos.NameRange // forgotten ranges, by the names of their records
}

// NewDisk returns a Disk without a byte on it.
func NewDisk() Disk { return Disk{Records: map[string]paxos.Record{}} }

// Server returns State.
func (d *Disk) Server() (paxos.ServerState, error) { return d.State, nil }

// Load returns the record of an instance. If there is none, it returns the zero Record.
func (d *Disk) Load(instance string) (paxos.Record, error) { return d.Records[instance], nil }

// Save makes b durable. An error means that b breaks a rule of [paxos.Batch], or that Indexes do not ascend.
func (d *Disk) Save(b paxos.Batch) error {
	if err := b.Check(d.State); err != nil {
		return err
	}
	if b.Server != nil {
		d.State = *b.Server
	}
	for _, drop := range b.Drop {
		maps.DeleteFunc(d.Records, func(name string, _ paxos.Record) bool { return drop.Has(name) })
		maps.DeleteFunc(d.ranges, func(name string, _ paxos.NameRange) bool { return drop.Has(name) })
		d.decided = slices.DeleteFunc(slices.Clone(d.decided), func(n paxos.Named) bool { return drop.Has(n.Instance) })
	}
	for _, rec := range b.Records {
		if old := d.Records[rec.Instance]; rec.Chosen && old.Index != rec.Index {
			if old.Chosen {
				d.decided = slices.DeleteFunc(slices.Clone(d.decided), func(n paxos.Named) bool { return n.Instance == rec.Instance })
			}
			if n := len(d.decided); n > 0 && d.decided[n-1].Index >= rec.Index {
				return fmt.Errorf("Index %d of %q after %d", rec.Index, rec.Instance, d.decided[n-1].Index)
			}
			d.decided = append(d.decided, paxos.Named{Instance: rec.Instance, Index: rec.Index})
		}
		d.Records[rec.Instance] = rec
		if names, ok := rangeOf(rec); ok && strings.HasPrefix(rec.Instance, rangeRecord) {
			if d.ranges == nil {
				d.ranges = map[string]paxos.NameRange{}
			}
			d.ranges[rec.Instance] = names
		}
	}
	return nil
}

// Undecided lists the names of the records without a decision, in byte order.
func (d *Disk) Undecided() iter.Seq2[string, error] {
	names := d.Open()
	return func(yield func(string, error) bool) {
		for _, name := range names {
			if !yield(name, nil) {
				return
			}
		}
	}
}

// Open returns the names of the records without a decision, in byte order.
func (d *Disk) Open() []string {
	names := []string{} // not nil: that would not tell
	for name, rec := range d.Records {
		if !rec.Chosen {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Decided lists at most most decided instances with an Index above after, by Index.
func (d *Disk) Decided(after uint64, most int) ([]paxos.Named, error) {
	from := sort.Search(len(d.decided), func(i int) bool { return d.decided[i].Index > after })
	return slices.Clone(d.decided[from:min(from+most, len(d.decided))]), nil
}

// Forgets reports whether the disk holds that an instance is forgotten.
func (d *Disk) Forgets(instance string) bool {
	if d.Records[instance].Acceptor.Promised.IsForgotten() {
		return true
	}
	return len(d.ranges) > 0 && !isInternal(instance) && nameSet(d.Ranges()).covers(paxos.OneName(instance))
}

// Ranges returns the ranges of names that the disk holds as forgotten, in their order.
func (d *Disk) Ranges() []paxos.NameRange {
	var all nameSet
	for _, r := range d.ranges {
		all.add(r)
	}
	return all
}
