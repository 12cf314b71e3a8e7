package wal

import (
	"iter"

	"github.com/singledecree/paxos"
)

// Undecided lists the names of the records that were not Chosen when the loop began. It holds no lock while the loop runs. The result may
// be used any number of times.
func (l *Log) Undecided() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		names, err := l.undecidedNames()
		if err != nil {
			yield("", err)
			return
		}
		for _, name := range names {
			if !yield(name, nil) {
				return
			}
		}
	}
}

func (l *Log) undecidedNames() ([]string, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return nil, errClosed
	}
	return l.index.undecidedNames(), nil
}

// Decided lists Chosen records with an Index above after, in the order of Index. It lists at most max, and none if max is not positive.
// It reads nothing from disk.
func (l *Log) Decided(after uint64, max int) ([]paxos.Named, error) {
	var p page
	p.begin(after, max, 0)
	for p.more {
		if err := l.turn(&p, after, max); err != nil {
			return nil, err
		}
	}
	return p.named, nil
}

// A page is a list of decisions that is made in pieces, between which Saves go on.
type page struct {
	named   []paxos.Named
	next    uint64 // it goes on above
	most    int    // with so many
	more    bool
	listing uint64 // index.listing, when it began
}

func (p *page) begin(after uint64, most int, listing uint64) {
	*p = page{named: p.named[:0], next: after, most: most, more: true, listing: listing}
}

// turn adds a piece to p. If a Save since the first piece has changed more than the end of the list, p begins anew: it must not have half
// of a Save.
func (l *Log) turn(p *page, after uint64, most int) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return errClosed
	}
	if p.listing != l.index.listing {
		p.begin(after, most, l.index.listing)
	}
	named, next, more := l.index.decided(p.next, p.most)
	if p.named == nil {
		p.named = named
	} else {
		p.named = append(p.named, named...)
	}
	p.next, p.most, p.more = next, p.most-len(named), more
	return nil
}

// DecidedNow is [Log.Decided]. ok is false after [Log.Close], or if Decided has to pass thousands of instances that were dropped just now.
func (l *Log) DecidedNow(after uint64, max int) (named []paxos.Named, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return nil, false
	}
	named, _, more := l.index.decided(after, max)
	if more {
		return nil, false
	}
	return named, true
}

// Stats says how large a [Log] is. Dropped instances count until they are swept, which takes about a second.
type Stats struct {
	Undecided, Decided int   // instances
	Segments           int   // files of batches; prepared ones count
	Bytes              int64 // of all segments; space prepared in advance counts, hints do not
	Live               int64 // bytes of the records that count: the latest of each instance
}

// Stats returns how large the log is now.
func (l *Log) Stats() Stats {
	l.plan.Lock()
	defer l.plan.Unlock()
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := Stats{Undecided: len(l.index.undecided), Segments: len(l.row)}
	s.Decided = int(l.index.n) - s.Undecided
	for _, f := range l.row {
		s.Bytes += f.size
		s.Live += f.live
	}
	return s
}

// Metrics returns s for a monitor, as [paxos.Metrics.All] returns the numbers of a server. The caller owns the result.
func (s Stats) Metrics() []paxos.Metric {
	gauge := func(name, unit string, value int64, help string) paxos.Metric {
		return paxos.Metric{Name: name, Unit: unit, Help: help, Values: []paxos.MetricValue{{Value: float64(value)}}}
	}
	return []paxos.Metric{
		gauge("log_decided", "", int64(s.Decided), "Decided instances in the log."),
		gauge("log_undecided", "", int64(s.Undecided), "Undecided instances in the log."),
		gauge("log_segments", "", int64(s.Segments), "Files of the log."),
		gauge("log_size", "By", s.Bytes, "Size of these files, with space that is prepared in advance."),
		gauge("log_live", "By", s.Live, "Size of the records that count; compaction removes the others."),
	}
}

// Verify reads all that the log holds, and checks every checksum of batches and records. It also checks the index, and so every hint:
// each record must be where the index says. It returns the first [*CorruptionError]. Use it on a log that is open [Options.ReadOnly].
func (l *Log) Verify() error { return l.VerifyWith(func(int64, int64) {}) }

// VerifyWith is Verify for a person who watches. It calls progress after each file, and after some thousand records. done are the bytes
// that it has checked, and all are those that it checks. It holds no lock then. If it succeeds, the last call has done == all.
func (l *Log) VerifyWith(progress func(done, all int64)) error {
	l.plan.Lock()
	row := append([]*segment{}, l.row...)
	l.plan.Unlock()
	size := l.Stats()
	done, all := int64(0), size.Bytes+size.Live
	var buf []byte
	for _, s := range row {
		scan, err := l.newScan(s, buf, nil)
		if err != nil {
			return err
		}
		buf = scan.data
		closed := *scan
		closed.segment = &segment{path: s.path, number: s.number, end: s.end, batches: s.batches}
		if err := closed.whole(func(e entry) error { return l.verifyEntry(s, e, scan.data) }); err != nil {
			return err
		}
		done += int64(len(scan.data))
		progress(min(done, all), all)
	}
	for at, end := uint32(0), uint32(1); at < end; {
		var err error
		if at, end, err = l.verifyIndex(at, &buf); err != nil {
			return err
		}
		if at < end {
			progress(min(size.Bytes+int64(float64(size.Live)*float64(at)/float64(end)), all), all)
		}
	}
	progress(all, all)
	return nil
}

// verifyIndex checks some records of the index from one on. It returns the next one, and how many there are.
func (l *Log) verifyIndex(at uint32, buf *[]byte) (next, end uint32, err error) {
	const most = 4096
	l.mu.RLock()
	defer l.mu.RUnlock()
	if end = l.index.n; end > at && end-at > most {
		end = at + most
	}
	for ; at < end; at++ {
		from := l.index.spot(at)
		if l.segments[from.segment] == nil {
			return 0, 0, l.gone(*from)
		}
		rec, err := l.read(l.segments[from.segment], *from, buf)
		if err == nil {
			err = isOf(&rec, l.index.names.text(from.name), l.segments[from.segment], *from)
		}
		if err != nil {
			return 0, 0, err
		}
	}
	return at, l.index.n, nil
}

// verifyEntry checks one entry by itself; a mark is checked with its vote. data is the segment that the entry was read with.
func (l *Log) verifyEntry(s *segment, e entry, data []byte) error {
	if !l.intact(s, e) {
		return errEntrySum
	}
	var err error
	switch e.kind {
	case kindRecord:
		_, err = parseRecord(e.payload())
	case kindMark:
		_, _, err = l.markIn(s, data, e)
	}
	return err
}
