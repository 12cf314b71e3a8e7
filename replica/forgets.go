package replica

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/change"
)

// Forgetting (docs/design.md#4.15). A forgotten instance has promised the greatest Ballot of all, for ever. So it is never
// decided anew, by whatever late message. Forgetting needs no agreement: it only grows, and any server may forget at any
// time what another has forgotten.
//
// One name is forgotten by its record, which keeps the promise and no value. A range of names is forgotten by one record of
// the whole range, and all records of its names are dropped in the same Save:
//
//	$forgotten/0   "job/2026-10/" "job/2026-100"
//	$forgotten/1   "tx/7/" "tx/70"
//
// Both are decided records with a new Index, so servers that were away learn of them by their pulls. The names of these
// records have no meaning on another server: a page of names has the range itself.

// rangePrefix begins the names of the records of ranges.
const rangePrefix = "$forgotten/"

func rangeName(number int) string { return rangePrefix + strconv.Itoa(number) }

// isRangeName reports whether a stored record of that name is the record of a range.
func isRangeName(name string) bool { return strings.HasPrefix(name, rangePrefix) }

// IsForgottenRange reports whether a record of that name is the record of a range of forgotten names. Its Value is the range: see
// [paxos.ParseNameRange].
func IsForgottenRange(name string) bool { return isRangeName(name) }

// rangeLine begins the line of a range in a page of names.
const rangeLine = "$forgotten "

// parseRangeLine reads the line of a range in a page of names. An instance name is none.
func parseRangeLine(line string) (names paxos.NameRange, ok bool) {
	text, ok := strings.CutPrefix(line, rangeLine)
	if !ok {
		return names, false
	}
	names, err := paxos.ParseNameRange(text)
	return names, err == nil
}

// nameLine is the line of one forgotten name in a page of names.
func nameLine(name string) string { return rangeLine + paxos.OneName(name).String() }

// isLine reports whether a page may have that line.
func isLine(line string) bool {
	if !strings.HasPrefix(line, "$") { // as nearly all
		return paxos.CheckName(line) == nil
	}
	if _, ok := parseRangeLine(line); ok {
		return true
	}
	return paxos.CheckInstance(line) == nil || change.IsConfiguration(line)
}

// ReadForgotten returns the records of the ranges of names that the server with that storage has forgotten, for [Config].
// state is the result of [paxos.Storage].Server. It loads state.Forgotten records.
func ReadForgotten(s paxos.Storage, state paxos.ServerState) (all []paxos.Record, err error) {
	for i := range int(min(state.Forgotten, maxRanges)) {
		rec, err := s.Load(rangeName(i))
		if err != nil {
			return nil, fmt.Errorf("load %q: %w", rangeName(i), err)
		}
		rec.Instance = rangeName(i)
		all = append(all, rec)
	}
	return all, nil
}

// maxRangeText is the most bytes of a range as text. That is not bounded by Limits.MaxValue.
const maxRangeText = 2*4*(paxos.MaxName+1) + 5

// maxRanges bounds the ranges that a server holds. The servers of a cluster may each be asked to forget
// [paxos.MaxForgotten] of them, and each learns the ranges of all others.
const maxRanges = 1 << 20

// forgets holds the ranges of names that this server has forgotten, durable or not.
type forgets struct {
	floor    paxos.Floor
	ranges   []paxos.NameRange // by the number of their record; empty: there is no such record
	saved    []paxos.NameRange // likewise, as its record is on the disk; all these names are forgotten for ever
	flushing []paxos.NameRange // likewise, as its record is in the Save that runs
	byFrom   map[string]int    // the number of each range in floor
	drops    []paxos.NameRange
	newest   uint64 // see last
	merged   uint64 // likewise
}

// init takes over the records that were stored: the result of ReadForgotten.
//
// Nothing tells at which Index this server forgot something in an earlier life. last is at least that.
func (f *forgets) init(stored []paxos.Record, most, last uint64) error {
	f.byFrom = map[string]int{}
	if most > 0 {
		f.newest, f.merged = last, last
	}
	if uint64(len(stored)) != most {
		return fmt.Errorf("Config.Forgotten: %d records, but ServerState.Forgotten is %d: want the result of ReadForgotten", len(stored), most)
	}
	for i, rec := range stored {
		if rec.Instance != rangeName(i) {
			return fmt.Errorf("Config.Forgotten: record %d is of %q, want %q", i, rec.Instance, rangeName(i))
		}
		var names paxos.NameRange
		if rec.Chosen {
			var err error
			if names, err = paxos.ParseNameRange(string(rec.Acceptor.Value)); err != nil || f.floor.Forget(names) != names {
				return fmt.Errorf("Config.Forgotten: record %q: %q is no range of names, or touches another", rec.Instance, rec.Acceptor.Value[:min(len(rec.Acceptor.Value), 512)])
			}
			f.byFrom[names.From] = i
		}
		f.ranges = append(f.ranges, names)
	}
	f.saved, f.flushing = slices.Clone(f.ranges), make([]paxos.NameRange, len(f.ranges))
	return nil
}

// some reports whether any range is forgotten.
func (f *forgets) some() bool { return len(f.byFrom) > 0 }

// seal notes that this server lives under the configuration with that number.
func (f *forgets) seal(configuration uint64) { f.floor.Seal(configuration) }

// stand notes that this server has promised a standing ballot.
func (f *forgets) stand(b paxos.Ballot) { f.floor.Stand(b) }

// promises returns what this server has promised for all instances, or for ranges of them.
func (f *forgets) promises() *paxos.Floor { return &f.floor }

// number notes the Index of a record that forgets a name, or a range.
func (f *forgets) number(index uint64, isRange bool) {
	if f.newest = index; isRange {
		f.merged = index
	}
}

// last returns the last Index at which this server has forgotten anything, and that of a range, or ones above these; 0: there is none.
func (f *forgets) last() (any, ranges uint64) { return f.newest, f.merged }

// all returns the ranges, in the order of names. The result is the caller's.
func (f *forgets) all() []paxos.NameRange { return f.floor.Ranges() }

// find returns the range that holds the instance, and the number of its record.
func (f *forgets) find(instance string) (names paxos.NameRange, number int, ok bool) {
	if names, ok = f.floor.Forgotten(instance); ok {
		number = f.byFrom[names.From]
	}
	return names, number, ok
}

// durable returns the range that holds the instance, as it is on the disk, if there is one.
func (f *forgets) durable(instance string) (names paxos.NameRange, ok bool) {
	names, number, ok := f.find(instance)
	if !ok || f.saved[number] == names {
		return names, ok
	}
	for _, e := range f.saved { // the range has grown, and that is not durable yet
		if e.Has(instance) {
			return e, true
		}
	}
	return paxos.NameRange{}, false
}

// flush notes that the record of that name is in the Save that begins, as it is now.
func (f *forgets) flush(name string) {
	if number, ok := f.numberOf(name); ok {
		f.flushing[number] = f.ranges[number]
	}
}

// flushed notes that the record of that name is durable, as it was when the Save began.
func (f *forgets) flushed(name string) {
	if number, ok := f.numberOf(name); ok {
		f.saved[number] = f.flushing[number]
	}
}

// numberOf returns the number in the name of a record.
func (f *forgets) numberOf(name string) (number int, ok bool) {
	number, err := strconv.Atoi(strings.TrimPrefix(name, rangePrefix))
	return number, err == nil && number < len(f.ranges)
}

// fits reports whether there may be one more range.
func (f *forgets) fits() bool { return len(f.byFrom) < maxRanges }

// covering returns the number of the record of the range that has all these names, if there is one.
func (f *forgets) covering(names paxos.NameRange) (number int, ok bool) {
	for i := range f.ranges {
		if f.ranges[i].Covers(names) {
			return i, true
		}
	}
	return 0, false
}

// room reports whether this server may be asked to forget these names, too.
func (f *forgets) room(names paxos.NameRange) bool { return f.floor.Room(names) }

// add forgets a range that no record covers. It returns the number of its record, which takes the place of the records
// gone. The next Save has to hold that record.
func (f *forgets) add(names paxos.NameRange) (number int, gone []int) {
	merged := f.floor.Forget(names)
	number = -1
	free := len(f.ranges)
	for i := range f.ranges {
		e := &f.ranges[i]
		switch {
		case *e == (paxos.NameRange{}):
			free = min(free, i)
			continue
		case !merged.Covers(*e):
			continue
		case number < 0:
			number = i
		default:
			gone = append(gone, i)
			f.drops = append(f.drops, paxos.OneName(rangeName(i)))
		}
		delete(f.byFrom, e.From)
		*e = paxos.NameRange{}
	}
	if number < 0 {
		number = free
	}
	if none := (paxos.NameRange{}); number == len(f.ranges) {
		f.ranges, f.saved, f.flushing = append(f.ranges, none), append(f.saved, none), append(f.flushing, none)
	}
	f.ranges[number] = merged
	f.byFrom[merged.From] = number
	f.drops = append(f.drops, names.Instances()...)
	return number, gone
}

// text returns the range of that number as text.
func (f *forgets) text(number int) paxos.Value { return paxos.Value(f.ranges[number].String()) }

// len is the number of records that there may be.
func (f *forgets) len() int { return len(f.ranges) }

// takeDrops returns what the Save that begins has to remove.
func (f *forgets) takeDrops() []paxos.NameRange {
	if len(f.drops) == 0 {
		return nil
	}
	var merged paxos.Floor // each range costs some storages a look at all names
	for _, r := range f.drops {
		merged.Forget(r)
	}
	f.drops = nil
	return merged.Ranges()
}
