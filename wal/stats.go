package wal

// Stats says how large a [Log] is.
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

// Verify reads all that the log holds, and checks every checksum of batches and records. It also checks the index, and so every hint:
// each record must be where the index says. It returns the first [*CorruptionError]. Use it on a log that is open [Options.ReadOnly].
func (l *Log) Verify() error {
	l.plan.Lock()
	row := append([]*segment{}, l.row...)
	l.plan.Unlock()
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
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	for at := range l.index.n {
		from := l.index.spot(at)
		if l.segments[from.segment] == nil {
			return l.gone(*from)
		}
		rec, err := l.read(l.segments[from.segment], *from, &buf)
		if err == nil {
			err = isOf(&rec, l.index.names.text(from.name), l.segments[from.segment], *from)
		}
		if err != nil {
			return err
		}
	}
	return nil
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
