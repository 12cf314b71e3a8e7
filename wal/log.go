package wal

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk"
	"github.com/singledecree/paxos/internal/lines"
)

// Options are for [Open]. The zero value of each field means its default.
type Options struct {
	// Logger gets the news for an operator: leftovers that Open dropped, and failures in the background. Nil: nothing is logged.
	// Its keys are dir, segment, offset, bytes, lines and err.
	//
	// A goroutine of its own calls it, so no Save and no background work waits for a slow Logger. At most 1,024 lines wait for it; one
	// line says how many more were lost. Open and Close wait at most 1 s for the last lines.
	Logger *slog.Logger
	// SegmentSize is the largest size of a segment in bytes: 64 KiB to 256 MiB; the default is 32 MiB. The first segments are smaller,
	// but have room for some batches at least. A batch that does not fit gets a larger segment. About two segments of space are prepared
	// in advance.
	SegmentSize int64
	// ReadOnly opens the log to look at it, and changes nothing. The right to read is enough: on a read-only mount, in a snapshot, or as
	// another user. Save fails.
	//
	// If a server has the log open, Open fails with [ErrLocked]. No server can open the log while it is open ReadOnly. Where files can't
	// be locked, Logger gets a warning: a server may run beside it.
	ReadOnly bool

	fs        disk.FS       // default: the file system of the machine
	least     int64         // bytes of the first segments: 1 MiB
	sealAfter time.Duration // a seal follows a Save after this time without another: 5 ms
	sealEvery int           // batches without a seal after which one goes with the next: 64
	hurry     time.Duration // if a segment is full within this time, the next is larger: 1 s
	eager     bool          // compaction does not wait for a time without Saves
	maxOpen   int           // most closed segments with a file descriptor: 256
	reserved  int64         // mean bytes of a batch from which the next segment is reserved, and not written: 128 KiB
	inline    bool          // no worker and no timer: the caller of work does the work; nothing seals by itself
}

const (
	defaultSegment = 32 << 20
	defaultLeast   = 1 << 20
	defaultSeal    = 5 * time.Millisecond
	defaultEvery   = 64
	defaultHurry   = time.Second

	defaultReserved = 128 << 10
)

func (o Options) withDefaults() (Options, error) {
	if o.SegmentSize == 0 {
		o.SegmentSize = defaultSegment
	}
	if o.SegmentSize < 64<<10 || o.SegmentSize > 256<<20 {
		if o.least == 0 { // otherwise it is a test
			return o, fmt.Errorf("wal: Options.SegmentSize: %d: want 64 KiB to 256 MiB, or 0 for the default", o.SegmentSize)
		}
	}
	if o.fs == nil {
		o.fs = disk.OS{}
	}
	if o.least == 0 {
		o.least = min(defaultLeast, o.SegmentSize)
	}
	if o.sealAfter == 0 {
		o.sealAfter = defaultSeal
	}
	if o.maxOpen == 0 {
		o.maxOpen = maxOpen
	}
	if o.sealEvery == 0 {
		o.sealEvery = defaultEvery
	}
	if o.reserved == 0 {
		o.reserved = defaultReserved
	}
	if o.hurry == 0 {
		o.hurry = defaultHurry
	}
	return o, nil
}

// A Log is the open storage of one server. It implements [paxos.ExpectingStorage]; its methods are safe for concurrent use. Close it after
// the Node.
//
// Its memory is about 100 bytes for each instance, plus the largest recent batch, plus at most 16 MiB of values. Those are values voted
// for and not decided yet; mostly the caller of Save has them in memory, too, and shares them.
//
// It has at most about 270 file descriptors, however many segments there are, and one more for each running Load. If the process has no
// descriptor left for a while, a Save or a Load that needs one waits. Close does not wait for one.
type Log struct {
	dir     string   // for people to read
	fs      disk.Dir // that directory, also if its name changes
	options Options
	lines   *lines.Log // to Options.Logger
	lock    io.Closer
	files   *pool     // of the segments
	short   *shortage // for errors that pass: no descriptor or memory is left
	store   uint64
	dead    atomic.Pointer[error] // why nothing more is written; nil: the log is alive

	// writing is held while the active segment is written to: by a Save or a seal.
	writing  sync.Mutex
	active   *segment
	sequence uint64 // of the next batch
	encoder  encoder
	latest   proof       // of the last batch; its sequence is zero if no open segment has one
	votes    votes       // in the active segment
	marks    []vote      // of the records of a batch
	name     []byte      // of a record, for the index
	indexes  []uint64    // of the records of a batch
	saved    time.Time   // when the last Save ended
	armed    bool        // the timer sealing is set
	resting  atomic.Bool // no Save came for restAfter, or since Open
	sealing  *time.Timer
	head     [pageSize]byte // of a seal

	proofs proofs // the file SEAL

	// mu guards the index. A Save holds it while it enters a durable batch.
	mu       sync.RWMutex
	index    index
	segments map[uint32]*segment // by number
	state    paxos.ServerState
	stateAt  spot
	closed   bool
	swept    time.Time // when the last sweep ended
	entered  uint32    // in Open: records that were read since the last sweep

	displaced map[string]spot // in Open: instances that lost their Index to another, and must still get another one

	// plan guards the list of segments. It may be taken while writing is held, and mu while plan is held.
	plan     sync.Mutex
	row      []*segment // in the order of their batches; the active segment, then the prepared one, are at the end
	replaced []*segment // segments no longer in row that are still read, until the running compaction ends
	manifest manifest
	ready    *sync.Cond // signals that a segment was prepared, or can't be
	prepared *segment   // nil: not yet
	wanted   int64      // bytes that the next segment must have room for
	scarce   bool       // there is no space: the next segment is as small as possible
	overflow int64      // bytes of the last batch that did not fit into the active segment
	long     bool       // the batches of the segment before were long
	begun    time.Time  // when the active segment became the active one
	hurried  int64      // size of the segment before, if it was full within hurry; otherwise 0
	failed   error      // why there is no prepared segment
	waited   bool       // a Save waits for a prepared segment
	stopping bool
	wake     chan struct{}
	stopped  chan struct{} // closed when the worker has ended

	// The fields below belong to the worker.
	rested time.Time // when it rested last
	rush   bool      // there is so much garbage that it does not rest

	reads sync.Pool // *[]byte
}

var _ paxos.ExpectingStorage = (*Log)(nil)

func newLog(files disk.Dir, o Options) *Log {
	l := &Log{dir: files.Path(), fs: files, options: o, lines: lines.New(o.Logger), index: index{seed: maphash.MakeSeed()}, segments: map[uint32]*segment{},
		wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	l.index.byName.Remember()
	l.short = &shortage{lines: l.lines, dir: l.dir, inline: o.inline, ended: make(chan struct{})}
	l.files = &pool{fs: files, most: o.maxOpen, short: l.short}
	l.short.spare = l.files.shrink
	l.ready = sync.NewCond(&l.plan)
	l.reads.New = func() any { return new([]byte) }
	return l
}

// Server returns the state last saved. It fails after [Log.Close].
func (l *Log) Server() (paxos.ServerState, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return paxos.ServerState{}, errClosed
	}
	return l.state, nil
}

// Load returns the record of an instance, or the zero Record if there is none. In that case it reads nothing from disk.
//
// It fails after [Log.Close]. Other errors are a [*CorruptionError] or those of the file system.
func (l *Log) Load(instance string) (paxos.Record, error) {
	l.mu.RLock()
	if l.closed {
		l.mu.RUnlock()
		return paxos.Record{}, errClosed
	}
	at, ok := l.index.findString(instance)
	if !ok {
		l.mu.RUnlock()
		return paxos.Record{}, nil
	}
	s := *l.index.spot(at)
	from := l.segments[s.segment]
	if from == nil {
		l.mu.RUnlock()
		return paxos.Record{}, l.gone(s)
	}
	from.acquire()
	l.mu.RUnlock()
	defer from.release(l.fs)

	buf := l.reads.Get().(*[]byte)
	defer l.reads.Put(buf)
	rec, err := l.read(from, s, buf)
	if err == nil {
		err = isOf(&rec, instance, from, s)
	} else if damaged, ok := err.(*CorruptionError); ok {
		damaged.Reason = fmt.Sprintf("the record of %q: %s", instance, damaged.Reason)
	}
	if err != nil {
		return paxos.Record{}, err
	}
	rec.Instance = instance
	return rec, nil
}

// Self returns l: see [paxos.PromptStorage].
func (l *Log) Self() paxos.Storage { return l }

// LoadNow answers from the index. If the instance has no record, it returns the zero Record and true. Otherwise it returns false, since
// the record is on disk.
func (l *Log) LoadNow(instance string) (rec paxos.Record, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return paxos.Record{}, false
	}
	_, known := l.index.findString(instance)
	return paxos.Record{}, !known
}

// Expect brings the entries of these names into the processor's caches, for calls of LoadNow that follow: see [paxos.ExpectingStorage].
func (l *Log) Expect(names []string) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if !l.closed {
		l.index.byName.FetchNames(l.index.seed, names)
	}
}

// isOf returns an error unless rec, which was read at that spot, is the record that the index expects there.
func isOf(rec *paxos.Record, instance string, from *segment, s spot) error {
	if rec.Instance == instance && rec.Index == s.index {
		return nil
	}
	return &CorruptionError{from.path, int64(s.offset), fmt.Sprintf("the record of %q is not here", instance)}
}

// gone returns the error for a record that a hint listed, and that compaction did not find in the segment.
func (l *Log) gone(s spot) error {
	return &CorruptionError{l.path(segmentName(s.segment)), int64(s.offset), "no record is here, though the hint says so"}
}

// maxRead is the largest buffer that is kept for the next read.
const maxRead = 64 << 10

// read reads the record at that spot.
func (l *Log) read(from *segment, s spot, buf *[]byte) (paxos.Record, error) {
	if s.vote > 0 {
		return l.readMark(from, s, buf)
	}
	e, err := l.readEntry(from, s, kindRecord, buf)
	if err != nil {
		return paxos.Record{}, err
	}
	rec, err := parseRecord(e.payload())
	if err != nil {
		return paxos.Record{}, unread(from.path, e.offset, err)
	}
	return rec, nil
}

// readMark reads the record whose mark is at that spot.
func (l *Log) readMark(from *segment, s spot, buf *[]byte) (paxos.Record, error) {
	e, err := l.readEntry(from, s, kindMark, buf)
	if err != nil {
		return paxos.Record{}, err
	}
	m, err := parseMark(e.payload())
	if err == nil && m.offset != int64(s.place) {
		err = m.missing()
	}
	if err != nil {
		return paxos.Record{}, unread(from.path, e.offset, err)
	}
	of, err := l.readEntry(from, spot{offset: s.place, size: s.vote}, kindRecord, buf)
	if err != nil {
		return paxos.Record{}, err
	}
	rec, err := m.whole(of)
	if err != nil {
		return paxos.Record{}, unread(from.path, of.offset, err)
	}
	return rec, nil
}

// readEntry reads the entry at that spot into buf. It must be of that kind.
func (l *Log) readEntry(from *segment, s spot, kind byte, buf *[]byte) (e entry, err error) {
	b := *buf
	if cap(b) < int(s.size) {
		b = make([]byte, s.size)
	}
	b = b[:s.size]
	if cap(b) <= maxRead {
		*buf = b
	}
	if n, err := from.file.ReadAt(b, int64(s.offset)); n < len(b) {
		if errors.Is(err, io.EOF) {
			return e, &CorruptionError{from.path, int64(s.offset), "the file ends in the middle of a record"}
		}
		return e, fmt.Errorf("wal: %s: %w", from.path, err)
	}
	e, rest, err := nextEntry(b, int64(s.offset))
	if err == nil && (len(rest) > 0 || e.kind != kind || !l.intact(from, e)) {
		err = errEntrySum
	}
	if err != nil {
		return e, &CorruptionError{from.path, int64(s.offset), err.Error()}
	}
	return e, nil
}

// intact reports whether the checksum of an entry of that segment is right.
func (l *Log) intact(from *segment, e entry) bool {
	return place{l.store, uint64(from.number), uint64(e.offset)}.sum(e.bytes) == leUint32(e.bytes)
}

// die ends all writing, because of err, and returns err.
func (l *Log) die(err error) error {
	l.dead.CompareAndSwap(nil, &err)
	return err
}

// alive returns why nothing more may be written; nil: writing goes on.
func (l *Log) alive() error {
	if err := l.dead.Load(); err != nil {
		return fmt.Errorf("wal: %s: dead since a write failed: %w", l.dir, *err)
	}
	return nil
}

// linesGrace is how long Open and Close wait for the Logger.
const linesGrace = time.Second

// Close seals the log, and unlocks the directory. It waits for a running Save, and may be called more than once. From then on,
// every other method that returns an error fails.
func (l *Log) Close() error {
	defer l.lines.Wait(linesGrace) // after all locks are released
	l.short.end()
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return nil
	}
	var err error
	if !l.options.ReadOnly {
		l.stopWorker()
		l.sealing.Stop()
		if l.alive() == nil {
			err = l.seal()
		}
		if l.alive() == nil && err == nil {
			err = l.prove(l.latest, true)
		}
	}
	l.closeFiles()
	return err
}

// closeFiles releases the files and locks that Open took.
func (l *Log) closeFiles() {
	l.closeProofs()
	for _, s := range slices.Concat(l.row, l.replaced) {
		s.release(l.fs)
	}
	l.lock.Close()
	l.fs.Close()
}

// path returns the path of a file, for people to read.
func (l *Log) path(name string) string { return filepath.Join(l.dir, name) }
